//! How much room a replica takes, and what takes it.

use sdk_replica::ReplicaError;

use crate::world::{Eyes, Place, execute, rows, write};

#[test]
fn what_takes_room_is_told() {
    let place = Place::new();
    let mut replica = place.with_messages();
    execute(&mut replica, "CREATE TABLE drafts (id INTEGER PRIMARY KEY, body TEXT)", &[]).unwrap();
    let body = "x".repeat(1_000);
    for id in 0..300 {
        let insert = format!("INSERT INTO drafts VALUES ({id}, '{body}')");
        execute(&mut replica, &insert, &[]).unwrap();
    }
    let before = Eyes::of(&replica).on(&mut replica).storage(|| true).unwrap();
    let names: Vec<_> = before.tables.iter().map(|it| (&*it.name, it.rows)).collect();
    let messages = rows(&replica, "SELECT count(*) FROM chat.messages")[0].parse().unwrap();
    assert_eq!(names, [("drafts", 300), ("chat.messages", messages)]);
    assert!(before.tables[0].bytes > 300_000, "{before:?}");
    assert!(before.file + before.journal > before.tables[0].bytes);
    let held: Vec<_> = before.subscriptions.values().copied().collect();
    assert_eq!((held.len(), held[0].rows), (1, messages));
    assert!(0 < held[0].bytes && held[0].bytes <= before.tables[1].bytes, "{before:?}");

    for id in 0..100 {
        let insert =
            format!("INSERT INTO chat.messages (id, body) VALUES ({}, '{body}')", 1_000 + id);
        write(&mut replica, &insert).unwrap();
    }
    let after = Eyes::of(&replica).on(&mut replica).storage(|| true).unwrap();
    assert!(after.outbox > before.outbox + 100_000, "{after:?}");
    assert!(after.tables.iter().any(|it| it.name == "chat.messages" && it.rows == messages + 100));
    assert_eq!(after.subscriptions.values().map(|it| it.rows).sum::<u64>(), messages, "not held");
    execute(&mut replica, "DELETE FROM drafts", &[]).unwrap();
    let freed = Eyes::of(&replica).on(&mut replica).storage(|| true).unwrap();
    assert!(freed.free > 250_000 || freed.file < after.file, "{freed:?}");
    let ended = Eyes::of(&replica).on(&mut replica).storage(|| false);
    assert!(matches!(ended, Ok(_) | Err(ReplicaError::Interrupted)));
}
