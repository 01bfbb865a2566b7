//! What a failing disk, another program, and a second owner leave of it.

use sdk_replica::{Replica, ReplicaError};

use crate::world::{CLIENT, Place, batch, known, message, messages, put, put_lane, rows, step};

#[test]
fn a_step_that_fails_leaves_nothing_and_can_be_done_again() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let before = replica.load().unwrap();
    // A subscription that is not known, behind writes that are good.
    let good = batch(1, &[7], vec![message(3, 7, "three")]);
    let bad = batch(9, &[8], vec![message(4, 7, "four")]);
    let failed = replica.apply(&step(vec![put_lane(9), good.clone(), bad]));
    assert!(matches!(failed, Err(ReplicaError::Inconsistent(_))), "{failed:?}");
    assert_eq!(rows(&replica, "SELECT id FROM chat.messages"), ["1", "2"]);
    assert_eq!(replica.load().unwrap(), before);
    replica.apply(&step(vec![put_lane(9), good])).unwrap();
    assert_eq!(rows(&replica, "SELECT id FROM chat.messages"), ["1", "2", "3"]);
}

#[test]
fn a_full_disk_is_told_and_passes() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let many: Vec<_> = (10..2_000).map(|id| message(id, 7, &"x".repeat(500))).collect();
    let births: Vec<u64> = (10..2_000).collect();
    let large = step(vec![batch(1, &births, many)]);
    replica.limit_pages(Some(40));
    assert!(matches!(replica.apply(&large), Err(ReplicaError::DiskFull)));
    assert_eq!(rows(&replica, "SELECT count(*) FROM chat.messages"), ["2"]);
    replica.limit_pages(None);
    replica.apply(&large).unwrap();
    assert_eq!(rows(&replica, "SELECT count(*) FROM chat.messages"), ["1992"]);
}

#[test]
fn other_programs_read_and_do_not_write() {
    let place = Place::new();
    let replica = place.with_messages();
    let other = place.connect();
    let count = |sql: &str| other.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM chat__messages WHERE room = 7"), 1);
    for sql in [
        "INSERT INTO chat__messages (id) VALUES (9)",
        "UPDATE chat__messages SET body = 'x'",
        "DELETE FROM chat__messages",
        "REPLACE INTO chat__messages (id) VALUES (1)",
    ] {
        let refused = other.execute(sql, []).unwrap_err().to_string();
        assert!(refused.contains("tidewire_writes"), "{sql}: {refused}");
    }
    drop(other);
    assert_eq!(rows(&replica, "SELECT id, body FROM chat.messages"), ["1 one", "2 two"]);
}

#[test]
fn one_process_writes() {
    let place = Place::new();
    let replica = place.open();
    let second = Replica::open(&place, CLIENT);
    assert!(matches!(second, Err(ReplicaError::InUse)), "{second:?}");
    drop(replica);
    place.open();
}

/// S5: older code refuses a newer file, and does not damage it.
#[test]
fn a_file_of_a_later_version_is_left_alone() {
    let place = Place::new();
    drop(place.open());
    let other = place.connect();
    other.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(other);
    let refused = Replica::open(&place, CLIENT).unwrap_err();
    assert!(matches!(refused, ReplicaError::TooNew { found: 99, .. }), "{refused}");
}

/// A file as each format before has left it is opened, with all that is in it.
#[test]
fn a_file_of_an_earlier_version_is_brought_along() {
    let place = Place::new();
    let other = place.connect();
    other.execute_batch(include_str!("../../sql/001_init.sql")).unwrap();
    let sql = "INSERT INTO tw_replica (client, last_set) VALUES (?1, 0)";
    other.execute(sql, [CLIENT.as_bytes()]).unwrap();
    other.execute_batch("CREATE TABLE mine (a); PRAGMA user_version = 1").unwrap();
    drop(other);
    let fresh = protocol::ids::ClientId::from_bytes([8; 16]);
    let mut replica = Replica::open(&place, fresh).unwrap();
    assert_eq!(replica.client(), CLIENT);
    assert_eq!(rows(&replica, "SELECT count(*) FROM mine"), ["0"]);
    assert_eq!(replica.synced_at().unwrap(), None);
    for at in [70, 90, 80] {
        replica.note_synced(at).unwrap();
    }
    drop(replica);
    assert_eq!(place.open().synced_at().unwrap(), Some(90), "it never goes back");
}

#[test]
fn who_it_is_stays_and_the_file_is_private() {
    let place = Place::new();
    drop(place.open());
    let other = protocol::ids::ClientId::from_bytes([8; 16]);
    assert_eq!(Replica::open(&place, other).unwrap().client(), CLIENT);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(place.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
    }
}

#[test]
fn a_file_that_is_no_database_is_damaged() {
    let place = Place::new();
    drop(place.open());
    place.put("", &[1; 8_192]);
    let refused = Replica::open(&place, CLIENT).unwrap_err();
    assert!(matches!(refused, ReplicaError::Damaged), "{refused}");
    let _ = put(1, known(messages(), &[1]));
}
