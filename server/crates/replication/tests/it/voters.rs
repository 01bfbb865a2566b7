//! A server of three nodes: what they hold is the same, whoever leads and however they got it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use server_engine::{ContentSum, Outcome, ShardNumber};
use server_replication::transport::memory::Switchboard;
use server_replication::{Disk, Node, Ports, ProposeError, Settings};

use crate::world::{
    self, Disks, Told, count_up, define, insert, notes, ports, rows, runtime, settings, shard_of,
    soon, statement,
};

/// A node, and what it has said and stands on.
pub(crate) struct Member {
    pub(crate) node: Arc<Node>,
    pub(crate) told: Arc<Told>,
    pub(crate) disks: Disks,
}

pub(crate) async fn join(board: &Switchboard, disks: Disks, settings: Settings) -> Member {
    let (line, connect) = board.line();
    let disk: Arc<dyn Disk> = Arc::new(disks.clone());
    let (ports, told) = ports(disk);
    let node = Node::start(settings, Ports { transport: line, ..ports }).await.unwrap();
    connect(&node);
    Member { node, told, disks }
}

/// Three nodes; the first one has founded the server, and all are voters of every shard.
pub(crate) async fn three(board: &Switchboard, settings: &Settings) -> Vec<Member> {
    let mut members = Vec::new();
    for number in 0..3 {
        let settings = Settings { found: number == 0, ..settings.clone() };
        members.push(join(board, Disks::new(), settings).await);
    }
    let founder = &members[0].node;
    founder.ready().await.unwrap();
    define(founder, notes()).await;
    let voters: BTreeSet<_> = members.iter().map(|member| member.node.id()).collect();
    for shard in founder.placement().shards() {
        founder.set_voters(shard, &voters).await.unwrap();
        // A second time is nothing.
        founder.set_voters(shard, &voters).await.unwrap();
    }
    members
}

pub(crate) fn state(node: &Node, shard: ShardNumber) -> (Option<u64>, ContentSum) {
    node.read(shard, |view, index| (index, view.sum().unwrap())).unwrap()
}

/// Waits until all have applied as much as the first, and checks that they hold the same (INV-6).
async fn check_equal(members: &[&Member], shard: ShardNumber) -> ContentSum {
    let states = || -> Vec<_> { members.iter().map(|m| state(&m.node, shard)).collect() };
    let mut found = states();
    eventually(|| {
        found = states();
        found.iter().all(|(index, _)| *index == found[0].0)
    })
    .await;
    assert!(found.iter().all(|state| *state == found[0]), "{found:?}");
    let expected = rows(&members[0].node, "ann").unwrap();
    for member in members {
        assert_eq!(rows(&member.node, "ann").unwrap(), expected);
    }
    found[0].1
}

/// Checks that what two of them were told of the same entries is the same, SeqIds and all.
fn check_told(members: &[&Member]) {
    let first = members[0].told.commits.lock().unwrap().clone();
    for member in &members[1..] {
        let other = member.told.commits.lock().unwrap();
        let common = other.iter().filter_map(|(at, commits)| Some((at, commits, first.get(at)?)));
        let mut count = 0;
        for (at, commits, expected) in common {
            assert_eq!(format!("{commits:?}"), format!("{expected:?}"), "{at:?}");
            count += 1;
        }
        assert!(count > 0, "they have applied the same entries");
    }
}

pub(crate) async fn eventually(mut holds: impl FnMut() -> bool) {
    let deadline = world::soon();
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "it does not come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The one of `members` that leads, once there is one.
pub(crate) async fn leader<'m>(members: &[&'m Member], shard: ShardNumber) -> &'m Member {
    eventually(|| members.iter().any(|member| member.node.is_leader(shard))).await;
    members.iter().find(|member| member.node.is_leader(shard)).unwrap()
}

/// Writes through whoever of `members` leads, and asks again where that has changed.
pub(crate) async fn write_some(members: &[&Member], first: i64, count: i64) {
    for id in first..first + count {
        let number = u64::try_from(id).unwrap();
        for (request, action) in [(2 * number, insert(id, "in")), (2 * number + 1, count_up(id))] {
            let command = statement("ann", request, action);
            let shard = shard_of(&members[0].node, "ann");
            loop {
                let leading = leader(members, shard).await;
                match leading.node.propose(shard, &command, soon()).await {
                    Ok(Outcome::Written { .. }) => break,
                    Err(ProposeError::NotLeader { .. } | ProposeError::Unknown) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

/// All but one.
pub(crate) fn others<'m>(members: &[&'m Member], one: &Member) -> Vec<&'m Member> {
    members.iter().copied().filter(|member| member.node.id() != one.node.id()).collect()
}

/// Writes without whoever is cut off, until whoever leads then can only send them the rows.
pub(crate) async fn leave_behind(others: &[&Member], shard: ShardNumber) {
    write_some(others, 10, 20).await;
    eventually(|| others.iter().all(|member| member.node.log_bytes(shard) == 0)).await;
}

/// INV-6, in real groups: through a change of leader, and back.
#[test]
fn three_nodes_hold_the_same_after_a_change_of_leader() {
    let runtime = runtime();
    runtime.block_on(async {
        let board = Switchboard::default();
        let members = three(&board, &settings()).await;
        let all: Vec<&Member> = members.iter().collect();
        let shard = shard_of(&members[0].node, "ann");
        let old = leader(&all, shard).await;
        write_some(&[old], 0, 20).await;
        let before = check_equal(&all, shard).await;

        board.cut(old.node.id());
        let others = others(&all, old);
        write_some(&others, 20, 20).await;
        let after = check_equal(&others, shard).await;
        assert_ne!(before, after);
        assert_eq!(state(&old.node, shard).1, before, "it was cut off");

        board.heal(old.node.id());
        let all = [others[0], others[1], old];
        assert_eq!(check_equal(&all, shard).await, after);
        check_told(&all);
        assert!(members.iter().all(|m| m.told.skipped.lock().unwrap().is_empty()));
        let (rows, seq) = rows(&old.node, "ann").unwrap();
        assert_eq!(rows, (0..40).map(|id| (id, 1)).collect::<Vec<_>>());
        assert_eq!(seq.get(), 80, "each change has taken one SeqId");
    });
}

/// INV-6 and INV-10: a node that was away for longer than the log is kept gets the rows instead,
/// and holds the same, also after its power was cut.
#[test]
fn a_node_that_gets_a_snapshot_holds_the_same() {
    let runtime = runtime();
    runtime.block_on(async {
        let board = Switchboard::default();
        let settings = Settings { log_bytes_max: 1, log_bytes_kept: 0, ..settings() };
        let mut members = three(&board, &settings).await;
        let shard = shard_of(&members[0].node, "ann");
        {
            let all: Vec<&Member> = members.iter().collect();
            write_some(&all, 0, 10).await;
            check_equal(&all, shard).await;
        }
        let away = members.iter().position(|member| !member.node.is_leader(shard)).unwrap();
        board.cut(members[away].node.id());
        let others: Vec<&Member> =
            members.iter().enumerate().filter(|(at, _)| *at != away).map(|(_, m)| m).collect();
        leave_behind(&others, shard).await;
        write_some(&others, 30, 5).await;

        board.heal(members[away].node.id());
        let all = [others[0], others[1], &members[away]];
        check_equal(&all, shard).await;
        let told = &members[away].told;
        eventually(|| told.skipped.lock().unwrap().iter().any(|(of, _)| *of == shard)).await;
        write_some(&all, 35, 5).await;
        check_equal(&all, shard).await;

        let id = members[away].node.id();
        let old = members.remove(away);
        let disks = old.disks.cut(&mut |_| 0);
        old.node.stop().await.unwrap_err();
        let back = join(&board, disks, Settings { found: false, ..settings.clone() }).await;
        assert_eq!(back.node.id(), id);
        let others: Vec<&Member> = members.iter().collect();
        check_equal(&[others[0], others[1], &back], shard).await;
        let (rows, _) = rows(&back.node, "ann").unwrap();
        assert_eq!(rows, (0..40).map(|id| (id, 1)).collect::<Vec<_>>());
    });
}
