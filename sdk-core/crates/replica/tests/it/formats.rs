//! S5: files as each released format has left them are opened, with all that is in them.

use std::time::Duration;

use protocol::frame::v1::AllowedTable;
use protocol::ids::{ContentHash, Epoch, MutationNumber, SchemaHash};
use protocol::mutation::MutationDigest;
use rusqlite::config::DbConfig;
use sdk_machine::{MutationId, StoredSchema, StoredWriter, SubscriptionId, Write};
use sdk_replica::{Idle, OnReject, Replica, ReplicaError, Request, WriteOptions};

use crate::sending::{rejected, settle};
use crate::world::{CLIENT, Place, execute, lane, posts, rows, step, with, write};

/// The fixtures, from this format on.
const FIRST: u32 = 2;
const FIXTURES: [&[u8]; 8] = [
    include_bytes!("../fixtures/format_2.sqlite"),
    include_bytes!("../fixtures/format_3.sqlite"),
    include_bytes!("../fixtures/format_4.sqlite"),
    include_bytes!("../fixtures/format_5.sqlite"),
    include_bytes!("../fixtures/format_6.sqlite"),
    include_bytes!("../fixtures/format_7.sqlite"),
    include_bytes!("../fixtures/format_8.sqlite"),
    include_bytes!("../fixtures/format_9.sqlite"),
];

pub(crate) fn copy(place: &Place, format: u32) {
    let at = usize::try_from(format - FIRST).unwrap();
    place.put("", FIXTURES[at]);
}

fn open(place: &Place) -> Replica {
    Replica::open(place, protocol::ids::ClientId::from_bytes([8; 16])).unwrap()
}

/// A replica on a copy of the fixture.
fn opened(place: &Place, format: u32) -> Replica {
    copy(place, format);
    open(place)
}

fn is_whole(place: &Place) {
    let other = place.connect();
    let check: String = other.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let write = other.execute("INSERT INTO chat__messages (id) VALUES (9)", []);
    assert!(write.unwrap_err().to_string().contains("tidewire_writes"));
}

/// No file of the first format is kept. The second one added a column and nothing else, and made replicated
/// tables as the first did: without that column its file is one of the first.
#[test]
fn a_file_of_the_first_format_is_brought_to_the_present_one() {
    let place = Place::new();
    copy(&place, 2);
    let before = place.connect();
    let first = "ALTER TABLE tw_replica DROP COLUMN synced_at; PRAGMA user_version = 1";
    before.execute_batch(first).unwrap();
    drop(before);
    let mut replica = open(&place);
    assert_eq!((replica.client(), replica.synced_at().unwrap()), (CLIENT, None));
    assert_eq!(replica.load().unwrap().subscriptions.len(), 3);
    let all = "SELECT body, _seq FROM chat.messages ORDER BY id";
    assert_eq!(rows(&replica, all), ["one 5", "two 6"]);
    replica.note_synced(91).unwrap();
    write(&mut replica, "UPDATE chat.messages SET body = 'mine' WHERE id = 1").unwrap();
    drop(replica);
    is_whole(&place);
    let replica = place.open();
    assert_eq!(rows(&replica, all), ["mine 5", "two 6"]);
    assert_eq!((replica.synced_at().unwrap(), replica.pending().unwrap().len()), (Some(91), 1));
}

#[test]
fn a_file_of_the_second_format_is_written_as_a_new_one() {
    let place = Place::new();
    let mut replica = opened(&place, 2);
    assert_eq!((replica.client(), replica.synced_at().unwrap()), (CLIENT, Some(90)));
    assert_eq!(replica.load().unwrap().subscriptions.len(), 3);
    assert_eq!(rows(&replica, "SELECT body FROM bodies"), ["one", "two"]);
    write(&mut replica, "UPDATE chat.messages SET body = 'mine' WHERE id = 1").unwrap();
    write(&mut replica, "INSERT INTO chat.messages (id, body) VALUES (3, 'new')").unwrap();
    write(&mut replica, "DELETE FROM chat.marks").unwrap();
    execute(&mut replica, "UPDATE drafts SET body = 'now'", &[]).unwrap();
    drop(replica);
    is_whole(&place);
    let mut replica = place.open();
    let all = "SELECT body, _seq FROM chat.messages ORDER BY id";
    assert_eq!(rows(&replica, all), ["mine 5", "two 6", "new NULL"]);
    assert_eq!(rows(&replica, "SELECT body FROM drafts"), ["now"]);
    for mutation in replica.pending().unwrap() {
        replica.cancel(mutation.id).unwrap().unwrap();
    }
    assert_eq!(rows(&replica, all), ["one 5", "two 6"]);
    assert_eq!(rows(&replica, "SELECT count(*) FROM chat.marks"), ["1"]);
}

#[test]
fn a_file_of_the_third_format_has_what_waits() {
    let place = Place::new();
    let mut replica = opened(&place, 3);
    let all = "SELECT body, _seq FROM chat.messages ORDER BY id";
    assert_eq!(rows(&replica, all), ["mine 5", "new NULL"]);
    let waits = "SELECT \"table\", key, mutation FROM tw_pending ORDER BY mutation";
    assert_eq!(
        rows(&replica, waits),
        ["chat.messages 1 1", "chat.messages 2 3", "chat.messages 3 4"]
    );
    assert_eq!(replica.clock_ahead().unwrap(), Some(-5));
    // What is sent needs what that format did not store.
    let outbox = replica.load().unwrap().outbox;
    assert_eq!(outbox.len(), 4);
    for stored in outbox.iter().filter(|stored| !stored.is_cancelled) {
        let mutation = replica.mutation(stored.id).unwrap().unwrap();
        assert_eq!(stored.digest, MutationDigest::of(&mutation));
    }
    write(&mut replica, "UPDATE chat.messages SET body = body || '!'").unwrap();
    for mutation in replica.pending().unwrap() {
        replica.cancel(mutation.id).unwrap().unwrap();
    }
    assert_eq!(rows(&replica, all), ["one 5", "two 6"]);
    drop(replica);
    is_whole(&place);
}

#[test]
fn a_file_of_the_fourth_format_has_what_was_sent() {
    let place = Place::new();
    let mut replica = opened(&place, 4);
    let all = "SELECT body, _seq FROM chat.messages ORDER BY id";
    assert_eq!(rows(&replica, all), ["mine 5", "new NULL"]);
    let waits = "SELECT key, mutation, state FROM tw_pending ORDER BY mutation";
    assert_eq!(rows(&replica, waits), ["1 1 sent", "2 3 sent", "3 4 queued"]);
    let stored = replica.load().unwrap();
    assert_eq!((stored.since, &stored.writers[..]), (Some(77), &[sent_writer()][..]));
    let is_cancelled: Vec<_> = stored.outbox.iter().map(|one| one.is_cancelled).collect();
    assert_eq!(is_cancelled, [false, true, false, false]);
    write(&mut replica, "UPDATE chat.messages SET body = body || '!'").unwrap();
    let mut numbered: Vec<_> = replica.load().unwrap().outbox.iter().map(|it| it.place.0).collect();
    numbered.dedup();
    assert_eq!(numbered, [1, 2, 3, 4, 5]);
    drop(replica);
    is_whole(&place);
}

#[test]
fn a_file_of_the_fifth_format_has_what_is_held_back_and_what_was_rejected() {
    let place = Place::new();
    let mut replica = opened(&place, 5);
    let all = "SELECT body, _seq FROM chat.messages ORDER BY id";
    assert_eq!(rows(&replica, all), ["mine 5", "new NULL", "held NULL"]);
    let waits = "SELECT key, mutation, state FROM tw_pending ORDER BY mutation";
    assert_eq!(rows(&replica, waits), ["1 1 stuck", "2 3 sent", "3 4 queued", "7 6 queued"]);
    let stored = replica.load().unwrap();
    assert_eq!((stored.writers[0].stuck, stored.schema), (Some(MutationId(1)), None));
    let rejections = replica.rejections(0, 9).unwrap();
    assert_eq!((rejections.len(), rejections[0].id), (1, MutationId(5)));
    assert_eq!(replica.let_go().unwrap(), []);
    assert!(replica.discard(MutationId(5)).unwrap());
    let free = replica.let_go().unwrap();
    assert_eq!((free.len(), free[0].id, free[0].place.0), (1, MutationId(6), 7));
    drop(replica);
    is_whole(&place);
}

#[test]
fn a_file_of_the_sixth_format_knows_what_nobody_asks_for() {
    let place = Place::new();
    let replica = opened(&place, 6);
    assert_eq!(replica.idle().unwrap(), [idle()]);
    assert_eq!(replica.rejections(0, usize::MAX).unwrap().len(), 1);
    drop(replica);
    is_whole(&place);
    let place = Place::new();
    let before = opened(&place, 5).idle().unwrap();
    assert_eq!((before[0].ttl, before[0].idle), (None, Duration::ZERO));
}

/// S5: an application that was taken back to an older version, or an older tab.
#[test]
fn a_file_of_a_later_format_is_refused_and_stays_as_it_is() {
    for journal in ["WAL", "DELETE"] {
        let place = Place::new();
        drop(place.with_messages());
        let later = place.connect();
        later.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
        let changes = format!(
            "PRAGMA journal_mode = {journal}; PRAGMA user_version = 999; CREATE TABLE tw_later (a)"
        );
        later.execute_batch(&changes).unwrap();
        drop(later);
        let before = place.contents();
        assert_eq!(before.len(), if journal == "WAL" { 2 } else { 1 }, "it and its journal");
        let refused = Replica::open_or_rebuild(&place, CLIENT).unwrap_err();
        let known = i64::try_from(Replica::FORMAT).unwrap();
        let is_it = matches!(refused, ReplicaError::TooNew { found: 999, known: k } if k == known);
        assert!(is_it, "{refused:?}");
        assert!(before == place.contents(), "something was written to it ({journal})");
    }
}

fn idle() -> Idle {
    let (ttl, idle) = (Some(Duration::from_secs(60)), Duration::from_millis(1_500));
    Idle { id: SubscriptionId(1), ttl, idle }
}

#[test]
fn a_file_of_the_seventh_format_has_the_tables_of_the_server() {
    let place = Place::new();
    let mut replica = opened(&place, 7);
    assert_eq!(replica.load().unwrap().schema, Some(SCHEMA));
    let all = "SELECT body, _seq FROM chat.messages ORDER BY id";
    assert_eq!(rows(&replica, all), ["mine 5", "new NULL", "held NULL"]);
    write(&mut replica, "INSERT INTO forum.posts (body) VALUES ('never subscribed')").unwrap();
    let gone = execute(&mut replica, "DELETE FROM chat.messages", &[]).unwrap_err();
    assert!(matches!(gone, ReplicaError::Gone(_)), "{gone}");
    drop(replica);
    is_whole(&place);
}

const SCHEMA: StoredSchema =
    StoredSchema { version: SchemaHash::from_bytes([6; 16]), revision: u64::MAX };

fn sent_writer() -> StoredWriter {
    let number = |number| MutationNumber::new(number).unwrap();
    StoredWriter {
        lane: lane(),
        client: CLIENT,
        since: 77,
        epoch: Some(Epoch::from_bytes([9; 16])),
        settled: number(0),
        settled_hash: ContentHash::START,
        sent: number(3),
        sent_place: sdk_machine::Place(3),
        sent_elsewhere: sdk_machine::Place(0),
        confirmed: number(0),
        stuck: None,
    }
}

/// What was sent under another identity than the present one was not stored before: all may have been.
#[test]
fn a_file_of_the_eighth_format_knows_what_was_sent_to_another_history() {
    let elsewhere = |replica: &mut Replica| replica.load().unwrap().writers[0].sent_elsewhere.0;
    let place = Place::new();
    assert_eq!(elsewhere(&mut opened(&place, 8)), 2);
    is_whole(&place);
    let place = Place::new();
    assert_eq!(elsewhere(&mut opened(&place, 7)), 0);
    let place = Place::new();
    copy(&place, 7);
    let before = place.connect();
    before.execute("UPDATE tw_writers SET client = ?1", [[6; 16]]).unwrap();
    drop(before);
    assert_eq!(elsewhere(&mut open(&place)), 3);
}

fn asked() -> Request {
    Request { client: "tab".to_owned(), number: 3, answered: 2 }
}

#[test]
fn a_file_of_the_ninth_format_knows_what_was_done() {
    let place = Place::new();
    let replica = opened(&place, 9);
    assert!(replica.answer("tab", 3).unwrap().is_some());
    drop(replica);
    is_whole(&place);
    let place = Place::new();
    let mut replica = opened(&place, 8);
    assert_eq!(replica.answer("tab", 3).unwrap(), None);
    // What waits was written without a request, so nobody asks how it was decided.
    let first = replica.pending().unwrap()[0].id;
    replica.cancel(first).unwrap().unwrap();
    assert_eq!(replica.decision(first).unwrap(), None);
}

/// How the present fixture was made: `TIDEWIRE_FIXTURE=path` makes it anew.
#[test]
fn the_fixture_is_made_so() {
    let place = Place::new();
    let mut replica = place.with_messages();
    write(&mut replica, "UPDATE chat.messages SET body = 'mine' WHERE id = 1").unwrap();
    let gone = write(&mut replica, "INSERT INTO chat.messages (id) VALUES (4)").unwrap();
    write(&mut replica, "DELETE FROM chat.messages WHERE id = 2").unwrap();
    write(&mut replica, "INSERT INTO chat.messages (id, body) VALUES (3, 'new')").unwrap();
    replica.cancel(gone).unwrap().unwrap();
    replica.note_clock(-5).unwrap();
    let mut in_queue = |sql: &str| {
        let (queue, on_reject) = (Some("room".to_owned()), OnReject::Hold);
        let options = WriteOptions { queue, on_reject, ..WriteOptions::default() };
        with(&mut replica, options, sql).unwrap().id.unwrap()
    };
    let rejected_one = in_queue("INSERT INTO chat.messages (id, body) VALUES (6, 'refused')");
    in_queue("INSERT INTO chat.messages (id, body) VALUES (7, 'held')");
    let stuck = StoredWriter {
        stuck: Some(MutationId(1)),
        sent_elsewhere: sdk_machine::Place(2),
        ..sent_writer()
    };
    let settled = rejected();
    let writes =
        vec![settle(rejected_one, settled), Write::PutWriter(Box::new(stuck)), Write::PutSince(77)];
    replica.apply(&step(writes)).unwrap();
    replica.note_idle(&[idle()]).unwrap();
    write(&mut replica, "CREATE TABLE drafts (body)");
    let options = WriteOptions { request: Some(asked()), ..WriteOptions::default() };
    with(&mut replica, options, "INSERT INTO drafts VALUES ('asked for')").unwrap();
    let tables = vec![AllowedTable { table: posts(), writable: true }];
    replica.apply(&step(vec![Write::PutSchema { schema: SCHEMA, tables }])).unwrap();
    drop(replica);
    is_whole(&place);
    #[expect(clippy::disallowed_methods, reason = "somebody who makes a fixture says where")]
    if let Some(path) = std::env::var_os("TIDEWIRE_FIXTURE") {
        std::fs::write(path, place.bytes("")).unwrap();
    }
}
