//! Work is counted, not timed.

use server_subscriptions::{ConnectionId, Settings};

use crate::world::{CONNECTION, World};

/// G2: once for all, whoever they are.
#[test]
fn a_commit_is_evaluated_and_encoded_once_for_all_who_subscribe_to_the_same() {
    let mut world = World::new(Settings::default());
    let queues: Vec<_> = (10..1_010)
        .map(|number| {
            let queue = world.connect(ConnectionId(number));
            world.subscribe_at(ConnectionId(number), 1, None, None);
            queue
        })
        .collect();
    assert_eq!(world.reads.len(), 1, "equal reads are one");
    world.settle();
    queues.iter().for_each(|queue| drop(queue.take()));
    let before = (world.queries.evaluated(), world.queries.encoded());
    world.write(1..=3, 7, 0);
    world.handle();
    assert!(queues.iter().all(|queue| queue.take().len() == 1), "everybody is told");
    let after = (world.queries.evaluated(), world.queries.encoded());
    assert_eq!((after.0 - before.0, after.1 - before.1), (1, 1));
}

/// G1: what a write costs does not depend on what it does not concern.
#[test]
fn a_write_is_held_against_the_queries_of_its_values_alone() {
    let mut world = World::new(Settings { subscriptions_max: 2_000, ..Settings::default() });
    for room in 0..1_000 {
        world.subscribe(u64::try_from(room).unwrap(), Some(room), None);
    }
    world.settle();
    world.queue.take();
    let count = |world: &mut World, room: i64| {
        let before = world.queries.evaluated();
        world.write([1], room, 0);
        world.handle();
        world.queries.evaluated() - before
    };
    assert_eq!(count(&mut world, 5), 1, "born in room 5");
    assert_eq!(count(&mut world, 6), 2, "from room 5 to room 6");
    assert_eq!(world.queue.take().len(), 3, "it entered, left and entered");
}

#[test]
fn what_was_registered_is_gone_with_its_connection() {
    let mut world = World::new(Settings::default());
    world.subscribe(1, Some(7), None);
    world.settle();
    world.worker.close(CONNECTION);
    assert_eq!(world.worker.subscriptions(), 0);
    let before = world.queries.evaluated();
    world.write([1], 7, 0);
    world.handle();
    assert_eq!(world.queries.evaluated(), before, "nobody is left to be told");
}
