//! What ends a group, and what must not outlive it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use protocol::ids::Epoch;
use server_engine::{Command, Commit, Outcome, ShardNumber};
use server_replication::transport::memory::Switchboard;
use server_replication::{Disk, META, Node, Observer, Ports, ProposeError, Settings};
use server_storage::StorageError;
use server_storage::faulty::Fault;
use tokio::time::Instant;

use crate::voters::{
    Member, eventually, join, leader, leave_behind, others, state, three, write_some,
};
use crate::world::{
    Disks, define, insert, notes, ports, rows, runtime, settings, shard_of, soon, start, statement,
    write,
};

fn within(millis: u64) -> Instant {
    Instant::now() + Duration::from_millis(millis)
}

/// Holds up or ends what applies entries.
#[derive(Default)]
struct InTheWay {
    /// Whether entries are held up. No time is the right one on every machine, so they are until
    /// somebody says otherwise.
    is_closed: Mutex<bool>,
    opened: Condvar,
    panics: AtomicBool,
    held_up: AtomicUsize,
    applied: AtomicUsize,
    skipped: AtomicUsize,
}

impl Observer for InTheWay {
    fn applied(&self, _: ShardNumber, _: u64, _: Vec<Commit>) {
        assert!(!self.panics.swap(false, Ordering::SeqCst), "on request");
        let is_closed = self.is_closed.lock().unwrap();
        self.held_up.fetch_add(usize::from(*is_closed), Ordering::SeqCst);
        // Otherwise what this thread was to run next would be held up as well, and nobody else runs it.
        tokio::task::block_in_place(|| {
            drop(self.opened.wait_while(is_closed, |is_closed| *is_closed).unwrap());
        });
        self.applied.fetch_add(1, Ordering::SeqCst);
    }

    fn skipped(&self, _: ShardNumber, _: u64) {
        self.skipped.fetch_add(1, Ordering::SeqCst);
    }
}

impl InTheWay {
    fn close(&self) {
        *self.is_closed.lock().unwrap() = true;
    }

    fn open(&self) {
        *self.is_closed.lock().unwrap() = false;
        self.opened.notify_all();
    }

    fn open_in(self: &Arc<Self>, millis: u64) {
        let this = Arc::clone(self);
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(millis));
            this.open();
        });
    }

    async fn has_held_one_up(&self) {
        while self.held_up.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn observed(disks: &Disks, observer: &Arc<InTheWay>) -> Arc<Node> {
    let (ports, _) = ports(Arc::new(disks.clone()));
    let observer: Arc<dyn Observer> = Arc::<InTheWay>::clone(observer);
    let node = Node::start(settings(), Ports { observer, ..ports }).await.unwrap();
    node.ready().await.unwrap();
    define(&node, notes()).await;
    write(&node, "ann", 1, insert(1, "x")).await;
    node
}

/// openraft ends without what applies its entries. If that went on, it would write behind the back
/// of the group that is started next.
#[test]
fn nothing_is_applied_after_a_stop() {
    let runtime = runtime();
    runtime.block_on(async {
        let (disks, observer) = (Disks::new(), Arc::<InTheWay>::default());
        let node = observed(&disks, &observer).await;
        observer.close();
        let command = statement("ann", 2, insert(2, "x"));
        let answer = node.propose(shard_of(&node, "ann"), &command, within(1_000)).await;
        assert_eq!(answer, Err(ProposeError::Unknown));
        observer.has_held_one_up().await;
        observer.open_in(400);
        node.stop().await.unwrap();
        let at_stop = observer.applied.load(Ordering::SeqCst);
        drop(disks.rows.open().expect("it is closed"));
        drop(disks.log.open().expect("it is closed"));
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert_eq!(observer.applied.load(Ordering::SeqCst), at_stop);
    });
}

/// A panic where entries are applied is a failure like any other.
#[test]
fn a_panic_is_mended() {
    let runtime = runtime();
    runtime.block_on(async {
        let (disks, observer) = (Disks::new(), Arc::<InTheWay>::default());
        let node = observed(&disks, &observer).await;
        observer.panics.store(true, Ordering::SeqCst);
        for number in 2..5_u32 {
            write(&node, "ann", number.into(), insert(number.into(), "x")).await;
        }
        let (rows, seq) = rows(&node, "ann").unwrap();
        assert_eq!((rows.len(), seq.get()), (4, 4));
        node.stop().await.unwrap();
    });
}

/// What is closed stays closed, also while something was to be opened anew.
#[test]
fn a_stop_while_a_disk_fails_is_one() {
    struct Refusing(Disks, AtomicBool);
    impl Disk for Refusing {
        fn open(&self) -> Result<server_replication::Databases, StorageError> {
            if self.1.load(Ordering::SeqCst) {
                return Err(StorageError::Io { detail: "not now".to_owned() });
            }
            self.0.open()
        }
    }
    let runtime = runtime();
    runtime.block_on(async {
        let disks = Disks::new();
        let disk = Arc::new(Refusing(disks.clone(), AtomicBool::new(false)));
        let given: Arc<dyn Disk> = Arc::<Refusing>::clone(&disk);
        let node = start(given, settings()).await;
        disk.1.store(true, Ordering::SeqCst);
        disks.rows.fail(Fault::Write, 1);
        let command = statement("ann", 1, insert(1, "x"));
        let answer = node.propose(shard_of(&node, "ann"), &command, within(300)).await;
        assert!(answer.is_err());
        // Until it is let go of, and is to be opened.
        eventually(|| disks.rows.open().is_ok()).await;
        node.stop().await.unwrap();
        disk.1.store(false, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(1000)).await;
        assert!(node.read(META, |_, _| ()).is_err(), "it was opened again");
        drop(disks.rows.open().expect("it is closed"));
        assert!(node.ready().await.is_err());
    });
}

/// A leader that was cut off gets the rows of the next one. Whom it owed an answer is told that it
/// does not know, and when it leads again it takes writes.
#[test]
fn a_leader_that_gets_a_snapshot_goes_on_proposing() {
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
        let pending = statement("ann", 100_000, insert(100_000, "pending"));
        let answer = old.node.propose(shard, &pending, within(100)).await;
        assert_eq!(answer, Err(ProposeError::Unknown));
        let others = others(&all, old);
        leave_behind(&others, shard).await;
        board.heal(id);
        eventually(|| old.told.skipped.lock().unwrap().iter().any(|(of, _)| *of == shard)).await;
        let deadline = soon();
        while !old.node.is_leader(shard) {
            assert!(Instant::now() < deadline, "it is not elected");
            let _ = old.node.elect(shard).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        write_some(&all, 40, 5).await;
    });
}

/// What is stored of a leader and of commits is of an earlier life. Who has heard nobody since is
/// not ready.
#[test]
fn who_has_heard_nobody_is_not_ready() {
    let runtime = runtime();
    runtime.block_on(async {
        let board = Switchboard::default();
        let mut members = three(&board, &settings()).await;
        let shard = shard_of(&members[0].node, "ann");
        {
            let all: Vec<&Member> = members.iter().collect();
            write_some(&all, 0, 10).await;
            let at = |member: &Member| state(&member.node, shard).0;
            eventually(|| all.iter().all(|m| at(m) == at(all[0]))).await;
        }
        for leads in [false, true] {
            let at = members.iter().position(|m| m.node.is_leader(shard) == leads).unwrap();
            let gone = members.remove(at);
            let applied = state(&gone.node, shard).0;
            board.cut(gone.node.id());
            let disks = gone.disks.cut(&mut |count| count / 2);
            let _ = gone.node.stop().await;
            let back = join(&board, disks, Settings { found: false, ..settings() }).await;
            let ready = tokio::time::timeout(Duration::from_millis(800), back.node.ready()).await;
            assert!(ready.is_err(), "it cannot know");
            board.heal(back.node.id());
            back.node.ready().await.unwrap();
            assert!(state(&back.node, shard).0 >= applied);
            members.push(back);
            let all: Vec<&Member> = members.iter().collect();
            leader(&all, shard).await;
        }
    });
}

/// What was in the log may happen, whatever comes of the log: nobody is told that it did not.
#[test]
fn what_was_logged_may_have_happened() {
    let runtime = runtime();
    runtime.block_on(async {
        let board = Switchboard::default();
        let members = three(&board, &settings()).await;
        let all: Vec<&Member> = members.iter().collect();
        let shard = shard_of(&members[0].node, "ann");
        let old = leader(&all, shard).await;
        write_some(&[old], 0, 5).await;
        board.cut(old.node.id());
        let pending = tokio::spawn({
            let node = Arc::clone(&old.node);
            async move {
                node.propose(shard, &statement("ann", 9_999, insert(9_999, "x")), soon()).await
            }
        });
        let others: Vec<&Member> =
            all.iter().copied().filter(|m| m.node.id() != old.node.id()).collect();
        write_some(&others, 10, 5).await;
        board.heal(old.node.id());
        assert_eq!(pending.await.unwrap(), Err(ProposeError::Unknown));
    });
}

/// Nor when the disk of the log fails under it.
#[test]
fn what_fails_while_it_is_logged_may_have_happened() {
    let runtime = runtime();
    runtime.block_on(async {
        let disks = Disks::new();
        let node = start(Arc::new(disks.clone()), settings()).await;
        write(&node, "ann", 1, insert(1, "x")).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        disks.log.fail(Fault::Persist, 1);
        let command = statement("ann", 2, insert(2, "x"));
        let answer = node.propose(shard_of(&node, "ann"), &command, soon()).await;
        assert_eq!(answer, Err(ProposeError::Unknown));
        write(&node, "ann", 2, insert(2, "x")).await;
        assert_eq!(rows(&node, "ann").unwrap().1.get(), 2);
        node.stop().await.unwrap();
    });
}

/// A leader that was started again is ready when its rows have all that was committed.
#[test]
fn a_leader_whose_rows_are_behind_is_not_ready() {
    let runtime = runtime();
    runtime.block_on(async {
        let (disks, observer) = (Disks::new(), Arc::<InTheWay>::default());
        let node = observed(&disks, &observer).await;
        for number in 2..5_u32 {
            write(&node, "ann", number.into(), insert(number.into(), "x")).await;
        }
        let disks = disks.cut(&mut |_| 0);
        let _ = node.stop().await;
        observer.close();
        observer.open_in(400);
        let (ports, _) = ports(Arc::new(disks));
        let observer: Arc<dyn Observer> = Arc::<InTheWay>::clone(&observer);
        let node = Node::start(settings(), Ports { observer, ..ports }).await.unwrap();
        node.ready().await.unwrap();
        assert_eq!(rows(&node, "ann").unwrap().1.get(), 4);
    });
}

/// Who is told that it expired can rely on it.
#[test]
fn what_was_withdrawn_is_never_written() {
    let runtime = runtime();
    runtime.block_on(async {
        let (disks, observer) = (Disks::new(), Arc::<InTheWay>::default());
        let node = observed(&disks, &observer).await;
        let shard = shard_of(&node, "ann");
        observer.close();
        let first = tokio::spawn({
            let node = Arc::clone(&node);
            async move { node.propose(shard, &statement("ann", 2, insert(2, "x")), soon()).await }
        });
        // Otherwise the next one could be proposed with it.
        observer.has_held_one_up().await;
        let command = statement("ann", 3, insert(3, "x"));
        let answer = node.propose(shard, &command, within(100)).await;
        assert_eq!(answer, Err(ProposeError::Expired));
        observer.open();
        assert!(first.await.unwrap().is_ok());
        write(&node, "ann", 4, insert(4, "x")).await;
        let ids: Vec<i64> = rows(&node, "ann").unwrap().0.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, [1, 2, 4]);
        node.stop().await.unwrap();
    });
}

/// A quiet lane has no commit by which a feed would notice that its history was replaced.
#[test]
fn who_follows_a_shard_is_told_that_its_history_was_replaced() {
    let runtime = runtime();
    runtime.block_on(async {
        let observer = Arc::<InTheWay>::default();
        let node = observed(&Disks::new(), &observer).await;
        let before = observer.skipped.load(Ordering::SeqCst);
        let command = Command::NewEpoch(Epoch::from_bytes([9; 16]));
        let outcome = node.propose(shard_of(&node, "ann"), &command, within(5_000)).await;
        assert_eq!(outcome.unwrap(), Outcome::Done);
        assert_eq!(observer.skipped.load(Ordering::SeqCst), before + 1);
        node.stop().await.unwrap();
    });
}
