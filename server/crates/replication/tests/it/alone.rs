//! A node that is alone: starts, writes, tables, the log.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use protocol::ids::SchemaVersion;
use protocol::mutation::Action;
use protocol::value::Row;
use server_engine::{Command, LAYOUT, Outcome};
use server_replication::{
    Databases, Disk, Health, LOG_LAYOUT, META, Node, ProposeError, ReplicationError, Settings,
};
use server_storage::{RocksOptions, RocksStore, StorageError, Store};
use tokio::time::Instant;

use crate::world::{
    self, Directory, Disks, NOTES, Writer, count_up, define, insert, notes, ports, rows, runtime,
    settings, shard_of, soon, start, statement, write,
};

#[test]
fn what_was_written_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    for life in 0..3_u32 {
        let runtime = runtime();
        runtime.block_on(async {
            let node = start(Directory(directory.path()).disk(), settings()).await;
            for id in life * 10..life * 10 + 10 {
                write(&node, "ann", u64::from(id), insert(id.into(), "hello")).await;
            }
            let (rows, seq) = rows(&node, "ann").unwrap();
            let all: Vec<(i64, i64)> = (0..i64::from(life) * 10 + 10).map(|id| (id, 0)).collect();
            assert_eq!(rows, all);
            assert_eq!(seq.get(), all.len() as u64);
            if life == 1 {
                node.stop().await.unwrap();
            }
        });
        runtime.shutdown_timeout(Duration::from_secs(10));
    }
}

#[test]
fn the_numbers_of_shards_are_fixed_at_the_first_start() {
    let runtime = runtime();
    runtime.block_on(async {
        let disks = Disks::new();
        let many = Settings { user_shards: 65, ..settings() };
        let refused = Node::start(many, ports(Arc::new(disks.clone())).0).await.unwrap_err();
        assert_eq!(refused, ReplicationError::ShardsRange { max: 64 });
        start(Arc::new(disks.clone()), settings()).await.stop().await.unwrap();
        let more = Settings { user_shards: 2, ..settings() };
        let refused = Node::start(more, ports(Arc::new(disks.clone())).0).await.unwrap_err();
        assert_eq!(refused, ReplicationError::Shards { kind: "user", found: 1, wanted: 2 });
        start(Arc::new(disks), settings()).await.stop().await.unwrap();
    });
}

/// INV-10: databases of two nodes, or of two moments, are refused.
#[test]
fn databases_that_do_not_fit_are_refused() {
    let runtime = runtime();
    runtime.block_on(async {
        let (ours, theirs) = (Disks::new(), Disks::new());
        for disks in [&ours, &theirs] {
            start(Arc::new(disks.clone()), settings()).await.stop().await.unwrap();
        }
        let empty = Disks::new();
        for (log, rows) in [(&ours, &theirs), (&empty, &ours)] {
            let mixed = Disks { log: log.log.clone(), rows: rows.rows.clone(), ..Disks::new() };
            let refused = Node::start(settings(), ports(Arc::new(mixed)).0).await.unwrap_err();
            assert!(matches!(refused, ReplicationError::Unfit { .. }), "{refused}");
        }
        // The rows are gone, and the log has only what came after an earlier state of them.
        let short = Settings { log_bytes_max: 1, log_bytes_kept: 0, ..settings() };
        let node = start(Arc::new(ours.clone()), short).await;
        Writer::run_all(&Writer::some(2), &node, 10).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        node.stop().await.unwrap();
        let old = Disks { log: ours.log.clone(), ..Disks::new() };
        let refused = Node::start(settings(), ports(Arc::new(old)).0).await.unwrap_err();
        assert!(matches!(refused, ReplicationError::Unfit { .. }), "{refused}");
    });
}

/// Two databases of which the log counts its syncs.
struct Counting<'a> {
    directory: &'a Path,
}

impl Counting<'_> {
    fn open(&self) -> (Arc<dyn Disk>, Arc<RocksStore>) {
        struct Given(Databases);
        impl Disk for Given {
            fn open(&self) -> Result<Databases, StorageError> {
                Ok(self.0.clone())
            }
        }
        let options = RocksOptions { statistics: true, ..RocksOptions::default() };
        let open = |name, layout| RocksStore::open(&self.directory.join(name), layout, &options);
        let (log, rows) = (open("log", LOG_LAYOUT), open("rows", LAYOUT));
        let log = Arc::new(log.unwrap());
        let rows: Arc<dyn Store> = Arc::new(rows.unwrap());
        let store: Arc<dyn Store> = Arc::<RocksStore>::clone(&log);
        (Arc::new(Given(Databases { log: store, rows })), log)
    }
}

/// One sync is for everybody who waits, and there is at least one before an answer.
#[test]
fn commands_that_wait_share_a_sync() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = runtime();
    runtime.block_on(async {
        let (disk, log) = Counting { directory: directory.path() }.open();
        let node = start(disk, settings()).await;
        // Other shards may still be told of the table meanwhile.
        let mut syncs = 0;
        for number in 1_000_000..1_000_020_u32 {
            let before = log.journal_syncs();
            write(&node, "ann", number.into(), insert(number.into(), "")).await;
            syncs = log.journal_syncs() - before;
            assert!(syncs > 0, "it was acknowledged and not synced");
            if syncs == 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(syncs, 1, "one command, one sync");

        let before = log.journal_syncs();
        let mut tasks = tokio::task::JoinSet::new();
        for id in 0..512_u32 {
            let node = Arc::clone(&node);
            tasks.spawn(async move {
                write(&node, "ann", id.into(), insert(id.into(), "hello")).await;
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        let syncs = log.journal_syncs() - before;
        assert!((1..256).contains(&syncs), "{syncs} syncs for 512 commands");
    });
}

#[test]
fn who_cannot_be_served_is_told_so() {
    let runtime = runtime();
    runtime.block_on(async {
        let node = start(Arc::new(Disks::new()), settings()).await;
        let shard = shard_of(&node, "ann");
        let large = statement("ann", 1, insert(1, &"x".repeat(20 << 20)));
        let answer = node.propose(shard, &large, soon()).await;
        assert!(matches!(answer, Err(ProposeError::TooLarge { .. })), "{answer:?}");

        let (late, command) = (Instant::now(), statement("ann", 2, insert(2, "")));
        // It may be known by then.
        let answer = node.propose(shard, &command, late).await;
        if answer == Err(ProposeError::Expired) {
            let rows = rows(&node, "ann").unwrap().0;
            assert!(rows.is_empty(), "it never will be");
        }

        // More than may wait: some are refused at once, the others are written.
        let mut tasks = tokio::task::JoinSet::new();
        let body: Arc<str> = "y".repeat(400_000).into();
        for id in 10..150_u32 {
            let (node, body) = (Arc::clone(&node), Arc::clone(&body));
            tasks.spawn(async move {
                let command = statement("ann", id.into(), insert(id.into(), &body));
                node.propose(shard, &command, soon()).await
            });
        }
        let (mut written, mut refused) = (0, 0);
        while let Some(answer) = tasks.join_next().await {
            match answer.unwrap() {
                Ok(Outcome::Written { .. }) => written += 1,
                Err(ProposeError::Overloaded) => refused += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(written > 0 && refused > 0, "{written} written, {refused} refused");
        write(&node, "ann", 1_000, insert(1_000, "it goes on")).await;
        node.stop().await.unwrap();
        let answer = node.propose(shard, &command, Instant::now()).await;
        assert_eq!(answer, Err(ProposeError::Unavailable));
    });
}

/// An entry leaves some of its commands to the next one, and their authors do not notice.
#[test]
fn what_an_entry_leaves_is_proposed_again() {
    let runtime = runtime();
    runtime.block_on(async {
        let node = start(Arc::new(Disks::new()), settings()).await;
        let body = "z".repeat(400_000);
        for id in 0..20_u32 {
            write(&node, "ann", id.into(), insert(id.into(), &body)).await;
        }
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..200_u32 {
            let node = Arc::clone(&node);
            tasks.spawn(async move {
                let action = count_up((number % 20).into());
                let command = statement("ann", 1_000 + u64::from(number), action);
                node.propose(shard_of(&node, "ann"), &command, soon()).await
            });
        }
        while let Some(done) = tasks.join_next().await {
            let answer = done.unwrap();
            assert!(matches!(answer, Ok(Outcome::Written { .. })), "{answer:?}");
        }
        let (rows, seq) = rows(&node, "ann").unwrap();
        assert_eq!(rows, (0..20).map(|id| (id, 10)).collect::<Vec<_>>());
        assert_eq!(seq.get(), 220);
        node.stop().await.unwrap();
    });
}

/// A table is defined in one shard, and every shard is told of it; also of its end, and also when
/// it was not running at the time.
#[test]
fn every_shard_is_told_of_tables() {
    let runtime = runtime();
    runtime.block_on(async {
        let disks = Disks::new();
        let node = start(Arc::new(disks.clone()), settings()).await;
        let shard = shard_of(&node, "ann");
        // In a version that no shard knows, and then knows.
        let mut next = notes();
        next.version = SchemaVersion(2);
        let mut command = statement("ann", 1, insert(1, ""));
        if let Command::Write(write) = &mut command {
            write.operations[0].version = SchemaVersion(2);
        }
        let short = Instant::now() + Duration::from_millis(100);
        let answer = node.propose(shard, &command, short).await;
        assert_eq!(answer, Err(ProposeError::SchemaBehind));
        let waits = tokio::spawn({
            let (node, command) = (Arc::clone(&node), command.clone());
            async move { node.propose(shard, &command, soon()).await }
        });
        define(&node, next).await;
        assert!(matches!(waits.await.unwrap(), Ok(Outcome::Written { .. })));

        let dropped = node.propose(META, &Command::Drop(NOTES), soon()).await;
        assert_eq!(dropped, Ok(Outcome::Done));
        let is_gone = |node: &Node| {
            let gone = node.read(shard, |view, _| view.table(&world::lane("ann"), NOTES).is_err());
            gone.unwrap()
        };
        while !is_gone(&node) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        node.stop().await.unwrap();
        let node = Node::start(settings(), ports(Arc::new(disks)).0).await.unwrap();
        node.ready().await.unwrap();
        assert!(is_gone(&node));
        node.stop().await.unwrap();
    });
}

/// What has ended is removed by the server itself, on the leader's clock.
#[test]
fn what_has_ended_is_removed() {
    let runtime = runtime();
    runtime.block_on(async {
        let sweep_every = Duration::from_millis(20);
        let mut settings = Settings { sweep_every, ..settings() };
        settings.retention.tombstones_micros = 0;
        let node = start(Arc::new(Disks::new()), settings).await;
        write(&node, "ann", 1, insert(1, "")).await;
        let delete = Action::Delete { key: Row(vec![protocol::value::Value::Integer(1)]) };
        write(&node, "ann", 2, delete).await;
        let shard = shard_of(&node, "ann");
        let tombstones = || {
            let lane = world::lane("ann");
            node.read(shard, |view, _| view.partition(&lane, NOTES).unwrap().tombstones).unwrap()
        };
        let deadline = soon();
        while tombstones() > 0 {
            assert!(Instant::now() < deadline, "nobody removes it");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(node.health().values().all(|health| *health == Health::Running));
        node.stop().await.unwrap();
    });
}
