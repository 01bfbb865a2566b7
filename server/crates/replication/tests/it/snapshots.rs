//! Rows on their way to another node: in bounded memory, and through power cuts.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use server_replication::transport::memory::Switchboard;
use server_replication::{Disk, Health, Node, Ports, Settings};
use server_storage::faulty::Fault;

use crate::world::{
    Dice, Directory, Disks, NOTES, Told, Writer, check_sums, define, insert, lane, notes, ports,
    rows, runtime, settings, shard_of, soon, write,
};

async fn join(
    board: &Switchboard,
    disk: Arc<dyn Disk>,
    settings: Settings,
) -> (Arc<Node>, Arc<Told>) {
    let (line, connect) = board.line();
    let (ports, told) = ports(disk);
    let node = Node::start(settings, Ports { transport: line, ..ports }).await.unwrap();
    connect(&node);
    (node, told)
}

/// Bytes that are resident in memory.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// A node gets all rows of another one, and the process grows by less than 64 MiB meanwhile.
fn transfer(directory: &Path, megabytes: u64) -> u64 {
    let runtime = runtime();
    runtime.block_on(async {
        let board = Switchboard::default();
        let settings = Settings { log_bytes_max: 1, log_bytes_kept: 0, ..settings() };
        let disk = |name: &str| Directory(&directory.join(name)).disk();
        std::fs::create_dir_all(directory.join("first")).unwrap();
        std::fs::create_dir_all(directory.join("second")).unwrap();
        let (first, _) = join(&board, disk("first"), settings.clone()).await;
        first.ready().await.unwrap();
        define(&first, notes()).await;
        // Not compressible, as a picture is not.
        let mut dice = Dice::new(megabytes);
        for id in 0..megabytes * 8 {
            let body: String = (0..128 * 1024)
                .map(|_| char::from(b' ' + u8::try_from(dice.below(90)).unwrap()))
                .collect();
            write(&first, "ann", id, insert(i64::try_from(id).unwrap(), &body)).await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;

        let (second, _) = join(&board, disk("second"), Settings { found: false, ..settings }).await;
        let (before, most) = (resident(), Arc::new(AtomicU64::new(0)));
        let over = Arc::new(AtomicBool::new(false));
        let watch = std::thread::spawn({
            let (most, over) = (Arc::clone(&most), Arc::clone(&over));
            move || {
                while !over.load(Ordering::Relaxed) {
                    most.fetch_max(resident(), Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        });
        let voters = BTreeSet::from([first.id(), second.id()]);
        let shard = shard_of(&first, "ann");
        first.set_voters(shard, &voters).await.unwrap();
        over.store(true, Ordering::Relaxed);
        watch.join().unwrap();
        let grown = most.load(Ordering::Relaxed).saturating_sub(before);
        let state = |node: &Node| node.read(shard, |view, _| view.sum().unwrap()).unwrap();
        assert_eq!(state(&first), state(&second));
        // It has been told of the table by the snapshot alone.
        let is_known = second.read(shard, |view, _| view.table(&lane("ann"), NOTES).is_ok());
        assert!(is_known.unwrap());
        grown
    })
}

/// The bound of the design, on as many megabytes as are asked for.
#[test]
fn rows_are_sent_in_bounded_memory() {
    seeds::for_each("snapshot-memory", 1, |seed| {
        // The first one is short.
        let megabytes = if seed == 0 { 16 } else { 500 };
        let directory = tempfile::tempdir().unwrap();
        let grown = transfer(directory.path(), megabytes);
        println!("{megabytes} MB of rows were sent: grown by {} MiB", grown >> 20);
        assert!(grown < 64 << 20, "grown by {grown} bytes");
    });
}

/// Lets something fail while a snapshot is received or installed. Counts in `between` when that is
/// the removal of the log that it replaces.
fn break_it(disks: &Disks, told: &Told, dice: &mut Dice, between: &Arc<AtomicU64>) {
    match dice.below(3) {
        0 => disks.rows.fail(Fault::Write, 1 + dice.below(8)),
        1 => disks.rows.fail(Fault::Persist, 1 + dice.below(3)),
        _ => {
            let (log, between) = (disks.log.clone(), Arc::clone(between));
            *told.at_install.lock().unwrap() = Some(Box::new(move || {
                log.fail(Fault::Write, 1);
                between.fetch_add(1, Ordering::Relaxed);
            }));
        }
    }
}

/// INV-6 and INV-10: the power of the receiver is cut anywhere, also between the switch to the
/// received rows and the removal of the log they replace.
#[test]
fn a_power_cut_while_a_snapshot_is_installed_is_nothing() {
    let between = Arc::new(AtomicU64::new(0));
    seeds::for_each("install-cuts", 2, |seed| {
        let mut dice = Dice::new(seed);
        let runtime = runtime();
        let settings = Settings { log_bytes_max: 1, log_bytes_kept: 0, ..settings() };
        let board = Switchboard::default();
        let writers = Writer::some(3);
        let mut disks = Disks::new();
        runtime.block_on(async {
            let (first, _) = join(&board, Arc::new(Disks::new()), settings.clone()).await;
            first.ready().await.unwrap();
            define(&first, notes()).await;
            let joining = Settings { found: false, ..settings.clone() };
            let (mut second, mut told) =
                join(&board, Arc::new(disks.clone()), joining.clone()).await;
            let shard = shard_of(&first, "u0");
            let learners = BTreeSet::from([second.id()]);
            for round in 1..6 {
                board.cut(second.id());
                Writer::run_all(&writers, &first, round * 5).await;
                tokio::time::sleep(3 * settings.tend_every).await;
                Writer::run_all(&writers, &first, round * 5 + 2).await;
                if round == 1 {
                    // From now on it is sent everything, as a node that has no vote.
                    first.add_learners(shard, &learners).await.unwrap();
                }
                break_it(&disks, &told, &mut dice, &between);
                board.heal(second.id());
                let limit =
                    tokio::time::Instant::now() + Duration::from_millis(200 + dice.below(100));
                while tokio::time::Instant::now() < limit
                    && second.health().get(&shard) == Some(&Health::Running)
                {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                disks =
                    disks.cut(&mut |count| usize::try_from(dice.below(count as u64 + 1)).unwrap());
                let _ = second.stop().await;
                drop(second);
                check_sums(&disks);
                (second, told) = join(&board, Arc::new(disks.clone()), joining.clone()).await;
            }
            let at = |node: &Node| node.read(shard, |view, at| (at, view.sum().unwrap())).unwrap();
            let deadline = soon();
            while at(&second) != at(&first) {
                assert!(tokio::time::Instant::now() < deadline, "it is stuck");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert_eq!(rows(&first, "u0").unwrap(), rows(&second, "u0").unwrap());
            Writer::check(&writers, &second);
            first.stop().await.unwrap();
            second.stop().await.unwrap();
        });
        runtime.shutdown_timeout(Duration::from_secs(30));
        check_sums(&disks);
    });
    let between = between.load(Ordering::Relaxed);
    println!("{between} cuts were between a switch and the removal of the log");
    assert!(between > 0);
}
