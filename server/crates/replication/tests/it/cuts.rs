//! The power is cut, and what was not synced of either database is gone.

use std::sync::Arc;
use std::time::Duration;

use server_replication::{Node, Settings};

use crate::world::{Dice, Disks, Writer, check_sums, define, notes, ports, runtime, settings};

/// One life of a node: it is cut off its power after a while, which may be while it starts.
fn live(
    disks: &Disks,
    settings: &Settings,
    writers: &[Writer],
    micros: u64,
    dice: &mut Dice,
) -> Disks {
    let runtime = runtime();
    let next = runtime.block_on(async {
        let work = async {
            let node =
                Node::start(settings.clone(), ports(Arc::new(disks.clone())).0).await.unwrap();
            node.ready().await.unwrap();
            define(&node, notes()).await;
            Writer::check(writers, &node);
            Writer::run_all(writers, &node, i64::MAX).await;
        };
        tokio::select! {
            () = work => unreachable!("they never have enough"),
            () = tokio::time::sleep(Duration::from_micros(micros)) => {}
        }
        disks.cut(&mut |count| usize::try_from(dice.below(count as u64 + 1)).unwrap())
    });
    runtime.shutdown_timeout(Duration::from_secs(30));
    check_sums(&next);
    next
}

/// INV-1, INV-2 and INV-10 on one node: no acknowledged write is lost, none happens twice, and each
/// start finds two databases that fit.
#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged() {
    seeds::for_each("power-cuts", 4, |seed| {
        let mut dice = Dice::new(seed);
        // Sometimes the log is made shorter all the time.
        let log_bytes_max = [1, 4096, u64::MAX][usize::try_from(seed % 3).unwrap()];
        let tend_every = Duration::from_millis(1 + dice.below(8));
        let settings = Settings { log_bytes_max, log_bytes_kept: 0, tend_every, ..settings() };
        let writers = Writer::some(8);
        let mut disks = Disks::new();
        for _ in 0..5 {
            let micros = dice.below(40_000);
            disks = live(&disks, &settings, &writers, micros, &mut dice);
        }
        let runtime = runtime();
        runtime.block_on(async {
            let node = Node::start(settings, ports(Arc::new(disks)).0).await.unwrap();
            node.ready().await.unwrap();
            define(&node, notes()).await;
            Writer::run_all(&writers, &node, 20).await;
            Writer::check(&writers, &node);
            node.stop().await.unwrap();
        });
    });
}
