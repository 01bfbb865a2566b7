//! What must not hold up whoever mends or closes a node, and what must not be mended in haste.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use protocol::ids::SchemaVersion;
use server_engine::{Command, Commit, ShardNumber};
use server_replication::transport::memory::Switchboard;
use server_replication::{Databases, Disk, Node, Observer, Ports, Settings};
use server_storage::StorageError;
use server_storage::faulty::Fault;
use tokio::time::Instant;

use crate::voters::{Member, eventually, leader, leave_behind, others, three, write_some};
use crate::world::{
    Disks, define, insert, notes, ports, runtime, settings, shard_of, start, statement, write,
};

fn within(millis: u64) -> Instant {
    Instant::now() + Duration::from_millis(millis)
}

/// Starts to write to a table in a version that nobody defines, and to wait for that.
async fn wait_for_tables(node: &Arc<Node>) {
    let mut command = statement("ann", 1_000_000, insert(1_000_000, ""));
    if let Command::Write(write) = &mut command {
        write.operations[0].version = SchemaVersion(2);
    }
    let node = Arc::clone(node);
    tokio::spawn(async move {
        let shard = shard_of(&node, "ann");
        node.propose(shard, &command, within(20_000)).await
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
}

/// A client that waits for long does not keep the databases open for as long.
#[test]
fn who_waits_for_tables_holds_up_nobody() {
    let runtime = runtime();
    runtime.block_on(async {
        let disks = Disks::new();
        let node = start(Arc::new(disks.clone()), settings()).await;
        wait_for_tables(&node).await;
        let begun = Instant::now();
        disks.rows.fail(Fault::Write, 1);
        write(&node, "ann", 3, insert(3, "x")).await;
        assert!(begun.elapsed() < Duration::from_secs(5), "mended after {:?}", begun.elapsed());
        wait_for_tables(&node).await;
        node.stop().await.unwrap();
        assert!(disks.rows.open().is_ok(), "still open after a stop");
    });
}

/// A stop waits for who opens the databases at that moment, and closes them.
#[test]
fn a_stop_waits_for_a_restart() {
    struct Slow(Disks, AtomicBool, AtomicBool);
    impl Disk for Slow {
        fn open(&self) -> Result<Databases, StorageError> {
            if !self.1.load(Ordering::SeqCst) {
                return self.0.open();
            }
            self.2.store(true, Ordering::SeqCst);
            let opened = self.0.open();
            std::thread::sleep(Duration::from_millis(500));
            self.2.store(false, Ordering::SeqCst);
            opened
        }
    }
    let runtime = runtime();
    runtime.block_on(async {
        let disks = Disks::new();
        let disk = Arc::new(Slow(disks.clone(), AtomicBool::new(false), AtomicBool::new(false)));
        let given: Arc<dyn Disk> = Arc::<Slow>::clone(&disk);
        let node = start(given, settings()).await;
        disk.1.store(true, Ordering::SeqCst);
        disks.rows.fail(Fault::Write, 1);
        let command = statement("ann", 2, insert(2, "x"));
        let answer = node.propose(shard_of(&node, "ann"), &command, within(50)).await;
        assert!(answer.is_err());
        eventually(|| disk.2.load(Ordering::SeqCst)).await;
        node.stop().await.unwrap();
        assert!(!disk.2.load(Ordering::SeqCst), "they are being opened");
        assert!(disks.rows.open().is_ok() && disks.log.open().is_ok(), "still open after a stop");
    });
}

/// A change of members that a leader has begun before it was cut off is answered when it gets the
/// rows of another one, though openraft has forgotten it.
#[test]
fn a_change_of_members_is_answered() {
    let runtime = runtime();
    runtime.block_on(async {
        let board = Switchboard::default();
        let settings = Settings { log_bytes_max: 1, log_bytes_kept: 0, ..settings() };
        let members = three(&board, &settings).await;
        let all: Vec<&Member> = members.iter().collect();
        let shard = shard_of(&members[0].node, "ann");
        let old = leader(&all, shard).await;
        write_some(&[old], 0, 5).await;
        let id = old.node.id();
        board.cut(id);
        let others = others(&all, old);
        let two = BTreeSet::from([id, others[0].node.id()]);
        let node = Arc::clone(&old.node);
        let change = tokio::spawn(async move { node.set_voters(shard, &two).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        leave_behind(&others, shard).await;
        board.heal(id);
        let answer = tokio::time::timeout(Duration::from_secs(20), change).await;
        assert!(answer.expect("somebody answers").unwrap().is_err());
    });
}

/// What fails again and again is tried less and less often.
#[test]
fn what_always_panics_is_not_tried_all_the_time() {
    #[derive(Default)]
    struct Panics(AtomicBool, AtomicU64);
    impl Observer for Panics {
        fn applied(&self, _: ShardNumber, _: u64, commits: Vec<Commit>) {
            if self.0.load(Ordering::SeqCst) && !commits.is_empty() {
                self.1.fetch_add(1, Ordering::SeqCst);
                panic!("always");
            }
        }

        fn skipped(&self, _: ShardNumber, _: u64) {}
    }
    let runtime = runtime();
    runtime.block_on(async {
        let observer = Arc::<Panics>::default();
        let (ports, _) = ports(Arc::new(Disks::new()));
        let given: Arc<dyn Observer> = Arc::<Panics>::clone(&observer);
        let node = Node::start(settings(), Ports { observer: given, ..ports }).await.unwrap();
        node.ready().await.unwrap();
        define(&node, notes()).await;
        write(&node, "ann", 1, insert(1, "x")).await;
        observer.0.store(true, Ordering::SeqCst);
        let limit = within(2_000);
        let mut number = 2;
        while Instant::now() < limit {
            let action = insert(i64::try_from(number).unwrap(), "x");
            let command = statement("ann", number, action);
            number += 1;
            let _ = node.propose(shard_of(&node, "ann"), &command, within(50)).await;
        }
        let panics = observer.1.load(Ordering::SeqCst);
        assert!((2..9).contains(&panics), "{panics} times in two seconds");
        observer.0.store(false, Ordering::SeqCst);
        write(&node, "ann", 1_000_000, insert(1_000_000, "x")).await;
        node.stop().await.unwrap();
    });
}
