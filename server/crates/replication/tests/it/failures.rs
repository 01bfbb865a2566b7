//! A disk fails, and works again: the node mends itself.

use std::sync::Arc;
use std::time::Duration;

use server_replication::{Health, Node};
use server_storage::faulty::Fault;

use crate::world::{Dice, Disks, Writer, define, notes, ports, runtime, settings, soon};

async fn healthy(node: &Node) {
    let deadline = soon();
    while node.health().values().any(|health| *health != Health::Running) {
        assert!(tokio::time::Instant::now() < deadline, "stuck: {:?}", node.health());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// INV-1, INV-2, and INV-8 as far as it is the server's: whatever fails once, everybody gets their
/// answer in the end, and nothing is lost or doubled.
#[test]
fn a_node_mends_itself_after_a_failure_of_a_disk() {
    seeds::for_each("disk-failures", 4, |seed| {
        let mut dice = Dice::new(seed);
        let runtime = runtime();
        let disks = Disks::new();
        let writers = Writer::some(6);
        runtime.block_on(async {
            let node = Node::start(settings(), ports(Arc::new(disks.clone())).0).await.unwrap();
            node.ready().await.unwrap();
            define(&node, notes()).await;
            for round in 1..4 {
                let disk = if dice.below(2) == 0 { &disks.log } else { &disks.rows };
                let faults = [Fault::Write, Fault::Persist, Fault::Get, Fault::Scan];
                let fault = faults[usize::try_from(dice.below(4)).unwrap()];
                disk.fail(fault, 1 + dice.below(60));
                let all = Writer::run_all(&writers, &node, round * 10);
                tokio::time::timeout(Duration::from_secs(60), all).await.expect("not stuck");
            }
            healthy(&node).await;
            node.ready().await.unwrap();
            Writer::check(&writers, &node);
            // What was to fail may only fail now.
            let _ = node.stop().await;
        });
    });
}

/// A full disk is waited out.
#[test]
fn writes_go_on_once_there_is_room_again() {
    let runtime = runtime();
    let disks = Disks::new();
    let writers = Writer::some(4);
    runtime.block_on(async {
        let node = Node::start(settings(), ports(Arc::new(disks.clone())).0).await.unwrap();
        node.ready().await.unwrap();
        define(&node, notes()).await;
        Writer::run_all(&writers, &node, 5).await;
        for disk in [&disks.log, &disks.rows] {
            disk.limit(0);
            let all = Writer::run_all(&writers, &node, i64::MAX);
            tokio::time::timeout(Duration::from_millis(300), all).await.expect_err("it is full");
            assert!(node.health().values().any(|health| *health != Health::Running));
            disk.limit(usize::MAX);
            let known = Writer::most(&writers);
            let all = Writer::run_all(&writers, &node, known + 5);
            tokio::time::timeout(Duration::from_secs(60), all).await.expect("not stuck");
        }
        Writer::check(&writers, &node);
        node.stop().await.unwrap();
    });
}
