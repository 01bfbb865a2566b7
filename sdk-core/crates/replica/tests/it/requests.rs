//! INV-12: a call that is asked for again is done once, and gives the same.

use protocol::value::Value;
use sdk_machine::{Settled, Write};
use sdk_replica::{
    Answer, Committed, DECISIONS_MAX, Decision, Executed, MutationId, REQUEST_CLIENTS_MAX,
    REQUESTS_MAX, Replica, ReplicaError, Request, WriteOptions,
};

use crate::sending::{apply, rejected, settle, writer as writer_of};
use crate::world::{CLIENT, Place, rows, seq, step, with, write, writer};

const INSERT: &str = "INSERT INTO chat.messages (id, body) VALUES (9, 'mine') RETURNING id, body";

fn request(number: u64) -> Request {
    Request { client: "tab".to_owned(), number, answered: 0 }
}

fn asked(request: Request) -> WriteOptions {
    WriteOptions { request: Some(request), ..WriteOptions::default() }
}

/// As the client does it: a statement, and what it gives.
fn ask(
    replica: &mut Replica,
    options: WriteOptions,
    sql: &str,
) -> Result<(Executed, Committed), ReplicaError> {
    let mut transaction = replica.begin(writer())?;
    transaction.set_options(options)?;
    let executed = transaction.execute(sql, &[])?;
    transaction.set_given(executed.clone());
    Ok((executed, transaction.commit()?))
}

fn given(replica: &Replica, number: u64) -> Option<Answer> {
    replica.answer("tab", number).unwrap()
}

fn is_done_already<T: std::fmt::Debug>(done: Result<T, ReplicaError>) {
    assert!(matches!(done, Err(ReplicaError::AlreadyDone)), "{done:?}");
}

fn accepted(number: u64) -> Settled {
    Settled::Accepted(seq(number))
}

/// One that waits, and has a request.
fn waits(replica: &mut Replica, number: u64) -> MutationId {
    let sql = format!("INSERT INTO chat.messages (id) VALUES ({})", 1_000 + number);
    ask(replica, asked(request(number)), &sql).unwrap().1.id.unwrap()
}

#[test]
fn what_was_done_is_not_done_again_and_gives_the_same() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let (executed, committed) = ask(&mut replica, asked(request(1)), INSERT).unwrap();
    assert_eq!(executed.rows[0].to_vec(), [Value::Integer(9), Value::text("mine").unwrap()]);
    let answer = Answer::Wrote { id: committed.id, executed };
    assert_eq!(given(&replica, 1), Some(answer.clone()));
    is_done_already(ask(&mut replica, asked(request(1)), "DELETE FROM chat.messages"));
    drop(replica);
    let mut replica = place.open();
    assert_eq!(given(&replica, 1), Some(answer));
    is_done_already(ask(&mut replica, asked(request(1)), "DELETE FROM chat.messages"));
    assert_eq!(rows(&replica, "SELECT count(*) FROM chat.messages"), ["3"]);
    assert_eq!(replica.pending().unwrap().len(), 1);
    // Another one of the same client, and the same of another client, are others.
    let other = Request { client: "other".to_owned(), ..request(1) };
    for request in [request(2), other] {
        ask(&mut replica, asked(request), "UPDATE chat.messages SET room = room + 1").unwrap();
    }
    assert_eq!(replica.pending().unwrap().len(), 3);
}

#[test]
fn what_stays_on_the_device_is_done_once_too() {
    let place = Place::new();
    let mut replica = place.with_messages();
    write(&mut replica, "CREATE TABLE counts (n)");
    let sql = "INSERT INTO counts VALUES (1), (2) RETURNING n, NULL, 0.5, x'00ff'";
    let (executed, committed) = ask(&mut replica, asked(request(1)), sql).unwrap();
    assert_eq!((executed.rows.len(), committed.id), (2, None));
    assert_eq!(given(&replica, 1), Some(Answer::Wrote { id: None, executed }));
    is_done_already(ask(&mut replica, asked(request(1)), sql));
    // So is what changes nothing, since later it might.
    let nothing = "UPDATE counts SET n = 3 WHERE n = 9";
    ask(&mut replica, asked(request(2)), nothing).unwrap();
    assert!(given(&replica, 2).is_some());
    assert_eq!(replica.outbox_bytes(), 0, "it takes no room of what waits");
    assert_eq!(rows(&replica, "SELECT n FROM counts"), ["1", "2"]);
}

/// A reader sees what is stored before each commit: the record is in the transaction of its effect, or there
/// would be a moment with one of the two.
#[test]
fn a_request_is_stored_with_its_effect_or_not_at_all() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let commits = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let seen = std::sync::Arc::clone(&commits);
    replica.before_commits(move || {
        seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    });
    let commits = || commits.load(std::sync::atomic::Ordering::Relaxed);
    let first = waits(&mut replica, 1);
    assert_eq!(commits(), 1);
    replica.cancel_as(first, Some(&Decision::Cancelled), Some(&request(2))).unwrap().unwrap();
    assert_eq!(commits(), 2);
    let refused = waits(&mut replica, 3);
    apply(&mut replica, vec![settle(refused, rejected())]);
    assert_eq!(commits(), 4, "how it was decided is stored with that it was");
    assert!(replica.discard_once(refused, Some(&request(4))).unwrap());
    assert_eq!(commits(), 5);
    assert!((1..5).all(|number| given(&replica, number).is_some()));
}

#[test]
fn nothing_is_stored_of_what_failed_or_was_given_up() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let twice = "INSERT INTO chat.messages (id) VALUES (1)";
    assert!(ask(&mut replica, asked(request(1)), twice).is_err());
    let mut transaction = replica.begin(writer()).unwrap();
    transaction.set_options(asked(request(1))).unwrap();
    transaction.execute("DELETE FROM chat.messages", &[]).unwrap();
    drop(transaction);
    replica.limit_pages(Some(1));
    let large =
        format!("INSERT INTO chat.messages (id, body) VALUES (5, '{}')", "x".repeat(90_000));
    let full = ask(&mut replica, asked(request(1)), &large);
    assert!(matches!(full, Err(ReplicaError::DiskFull)), "{full:?}");
    replica.limit_pages(None);
    assert_eq!(given(&replica, 1), None);
    assert!(replica.discard_once(MutationId(99), Some(&request(1))).is_ok_and(|it| !it));
    assert_eq!(given(&replica, 1), None, "what was not there may be there later");
    ask(&mut replica, asked(request(1)), INSERT).unwrap();
    assert!(given(&replica, 1).is_some());
}

#[test]
fn a_transaction_with_savepoints_is_stored_when_it_is_committed() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let mut transaction = replica.begin(writer()).unwrap();
    transaction.set_options(asked(request(1))).unwrap();
    for sql in ["SAVEPOINT a", "DELETE FROM chat.messages", "ROLLBACK TO a", "RELEASE a"] {
        transaction.execute(sql, &[]).unwrap();
    }
    let failed = transaction.execute("INSERT INTO chat.messages (id) VALUES (1)", &[]);
    assert!(failed.is_err());
    transaction.execute("UPDATE chat.messages SET body = 'x' WHERE id = 1", &[]).unwrap();
    let committed = transaction.commit().unwrap();
    let answer = Answer::Wrote { id: committed.id, executed: Executed::default() };
    assert_eq!((committed.id.is_some(), given(&replica, 1)), (true, Some(answer)));
}

#[test]
fn what_was_answered_is_forgotten_and_so_is_who_has_gone() {
    let place = Place::new();
    let mut replica = place.with_messages();
    for number in 1..5 {
        waits(&mut replica, number);
    }
    let other = Request { client: "other".to_owned(), ..request(1) };
    let update = "UPDATE chat.messages SET room = room + 1";
    ask(&mut replica, asked(other), update).unwrap();
    ask(&mut replica, asked(Request { answered: 4, ..request(5) }), update).unwrap();
    let known: Vec<u64> = (0..6).filter(|it| given(&replica, *it).is_some()).collect();
    assert_eq!(known, [4, 5]);
    assert!(replica.answer("other", 1).unwrap().is_some());
    replica.keep_requests(&["other".to_owned(), "third".to_owned()]).unwrap();
    assert!((0..6).all(|number| given(&replica, number).is_none()));
    assert!(replica.answer("other", 1).unwrap().is_some());
    replica.keep_requests(&[]).unwrap();
    assert_eq!(replica.answer("other", 1).unwrap(), None);
}

/// Its rows are data of the application: what is left of them in the journal goes as that of other rows.
#[test]
fn what_returning_gave_leaves_nothing_in_the_file() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let secret = "SELECT 'a secret of whoever asked' AS secret";
    ask(&mut replica, asked(request(1)), secret).unwrap();
    let is_there = || {
        let has_it = |bytes: &[u8]| bytes.windows(8).any(|window| window == b"a secret");
        place.contents().iter().any(|(_, bytes)| has_it(bytes))
    };
    assert!(is_there());
    let options = asked(Request { answered: 2, ..request(2) });
    ask(&mut replica, options, "UPDATE chat.messages SET room = 1").unwrap();
    replica.tidy().unwrap();
    assert!(!is_there());
}

#[test]
fn a_request_says_what_it_is() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let named = |client: &str| Request { client: client.to_owned(), ..request(1) };
    for wrong in [
        named(""),
        named(&"x".repeat(65)),
        Request { answered: 2, ..request(1) },
        request(REQUESTS_MAX),
        Request { answered: u64::MAX, ..request(u64::MAX) },
    ] {
        let refused = ask(&mut replica, asked(wrong.clone()), INSERT).unwrap_err();
        assert_eq!(refused.code().as_str(), "invalid_request", "{wrong:?}: {refused}");
    }
    ask(&mut replica, asked(named(&"x".repeat(64))), INSERT).unwrap();
    let many = "WITH RECURSIVE n AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM n LIMIT 20)
                SELECT hex(zeroblob(500000)) FROM n";
    let refused = ask(&mut replica, asked(request(7)), many);
    assert!(matches!(refused, Err(ReplicaError::TooLarge(_))), "{refused:?}");
}

#[test]
fn how_a_write_was_decided_is_found_if_it_had_a_request() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let ids: Vec<_> = (1..6).map(|number| waits(&mut replica, number)).collect();
    let nobodys = write(&mut replica, "INSERT INTO chat.messages (id) VALUES (99)").unwrap();
    let taken = [Decision::Cancelled, Decision::Expired, Decision::Offline];
    apply(
        &mut replica,
        vec![
            settle(ids[0], accepted(70)),
            settle(ids[1], rejected()),
            Write::Settle { id: nobodys, settled: accepted(71) },
        ],
    );
    replica.cancel_as(ids[2], Some(&taken[1]), None).unwrap().unwrap();
    replica.cancel_as(ids[3], Some(&taken[2]), None).unwrap().unwrap();
    // Of this one the server has to say whether it has it.
    replica.cancel_as(ids[4], None, None).unwrap().unwrap();
    drop(replica);
    let mut replica = place.open();
    let decision = |replica: &Replica, place: usize| replica.decision(ids[place]).unwrap();
    assert_eq!(decision(&replica, 0), Some(Decision::Accepted(seq(70))));
    let Some(Decision::Rejected(why)) = decision(&replica, 1) else { panic!() };
    assert_eq!(Settled::Rejected(why), rejected());
    assert_eq!(decision(&replica, 2), Some(Decision::Expired));
    assert_eq!(decision(&replica, 3), Some(Decision::Offline));
    assert_eq!(decision(&replica, 4), None);
    assert_eq!(replica.decision(nobodys).unwrap(), None);
    // What the server says of what was taken back changes nothing, but where nothing was said.
    apply(&mut replica, vec![settle(ids[3], rejected()), settle(ids[4], Settled::Uncertain)]);
    assert_eq!(decision(&replica, 3), Some(Decision::Offline));
    assert_eq!(decision(&replica, 4), Some(Decision::Uncertain));
    // Nor that it was dealt with.
    assert!(replica.discard(ids[1]).unwrap());
    assert!(matches!(decision(&replica, 1), Some(Decision::Rejected(_))));
}

/// Of a file and its copy, one takes back what the other one has sent.
#[test]
fn what_has_happened_has_although_it_was_taken_back_here() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let ids: Vec<_> = (1..4).map(|number| waits(&mut replica, number)).collect();
    for id in &ids[..2] {
        replica.cancel_as(*id, Some(&Decision::Cancelled), None).unwrap().unwrap();
    }
    apply(&mut replica, vec![settle(ids[0], accepted(70)), settle(ids[1], Settled::Uncertain)]);
    assert_eq!(replica.decision(ids[0]).unwrap(), Some(Decision::Accepted(seq(70))));
    assert_eq!(replica.decision(ids[1]).unwrap(), Some(Decision::Cancelled));
}

#[test]
fn a_request_whose_rows_cannot_be_read_was_done() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let (_, committed) = ask(&mut replica, asked(request(1)), INSERT).unwrap();
    drop(replica);
    let other = place.connect();
    other.execute("UPDATE tw_requests SET returned = x'ffffff'", []).unwrap();
    drop(other);
    let mut replica = place.open();
    let executed = Executed { rows_affected: 1, ..Executed::default() };
    assert_eq!(given(&replica, 1), Some(Answer::Wrote { id: committed.id, executed }));
    is_done_already(ask(&mut replica, asked(request(1)), INSERT));
}

/// Nobody may ever say who has gone. Whoever asks again has done something lately.
#[test]
fn the_clients_that_came_last_are_known() {
    let place = Place::new();
    let mut replica = place.with_messages();
    write(&mut replica, "CREATE TABLE counts (n)");
    let ask_as = |replica: &mut Replica, client: i64, number| {
        let request = Request { client: format!("tab {client}"), number, answered: 0 };
        ask(replica, asked(request), "INSERT INTO counts VALUES (1)").unwrap();
    };
    ask_as(&mut replica, 0, 1);
    ask_as(&mut replica, 1, 1);
    ask_as(&mut replica, 2, 1);
    // The first one goes on.
    ask_as(&mut replica, 0, 2);
    for client in 3..=REQUEST_CLIENTS_MAX + 1 {
        ask_as(&mut replica, client, 1);
    }
    let is_known =
        |client: i64, number| replica.answer(&format!("tab {client}"), number).unwrap().is_some();
    assert!(is_known(0, 1) && is_known(0, 2), "all of one that is there");
    assert!(!is_known(1, 1) && !is_known(2, 1));
    assert!((3..=REQUEST_CLIENTS_MAX + 1).all(|client| is_known(client, 1)));
}

#[test]
fn what_takes_the_place_of_another_one_is_done_once() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let first = waits(&mut replica, 1);
    let options = WriteOptions { replaces: Some(first), ..asked(request(2)) };
    let (_, committed) = ask(&mut replica, options.clone(), INSERT).unwrap();
    assert_eq!(replica.decision(first).unwrap(), Some(Decision::Cancelled));
    is_done_already(ask(&mut replica, options, INSERT));
    // So is what was rejected and is written again.
    let second = committed.id.unwrap();
    apply(&mut replica, vec![settle(second, rejected())]);
    let options = WriteOptions { replaces: Some(second), ..asked(request(3)) };
    let retry = |replica: &mut Replica| {
        let mut transaction = replica.begin(writer())?;
        transaction.set_options(options.clone())?;
        transaction.write_again(second)?;
        transaction.commit()
    };
    let again = retry(&mut replica).unwrap().id;
    is_done_already(retry(&mut replica));
    let Some(Answer::Wrote { id, .. }) = given(&replica, 3) else { panic!() };
    assert_eq!(id, again);
}

#[test]
fn what_was_taken_back_or_discarded_for_a_request_is_so_once() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let (first, second) = (waits(&mut replica, 1), waits(&mut replica, 2));
    let cancelled = Some(&Decision::Cancelled);
    replica.cancel_as(first, cancelled, Some(&request(3))).unwrap().unwrap();
    assert_eq!(given(&replica, 3), Some(Answer::Done(first)));
    is_done_already(replica.cancel_as(second, cancelled, Some(&request(3))));
    apply(&mut replica, vec![settle(second, rejected())]);
    assert!(replica.discard_once(second, Some(&request(4))).unwrap());
    is_done_already(replica.discard_once(second, Some(&request(4))));
    assert_eq!(given(&replica, 4), Some(Answer::Done(second)));
    // What was done already is not there to be taken back, and nothing is stored of that.
    assert_eq!(replica.cancel_as(first, cancelled, Some(&request(5))).unwrap(), None);
    assert_eq!(given(&replica, 5), None);
}

#[test]
fn the_last_decisions_are_kept_and_those_of_another_write_are_not_found() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let count = u64::try_from(DECISIONS_MAX).unwrap() + 5;
    let ids: Vec<_> = (0..count).map(|number| waits(&mut replica, number)).collect();
    let settled = ids.iter().map(|id| settle(*id, accepted(70))).collect();
    replica.apply(&step(settled)).unwrap();
    let known = ids.iter().filter(|id| replica.decision(**id).unwrap().is_some());
    assert_eq!(known.count(), 1_000);
    assert_eq!(replica.decision(ids[4]).unwrap(), None);
    // A power cut may take a write, and not what a copy of this file was told of another one.
    drop(replica);
    let next = ids.last().unwrap().0 + 1;
    let other = place.connect();
    other.execute("INSERT INTO tw_decisions (id, decision) VALUES (?1, 7)", [next]).unwrap();
    drop(other);
    let mut replica = place.open();
    assert!(replica.decision(MutationId(next)).unwrap().is_some());
    assert_eq!(
        with(&mut replica, asked(request(count)), INSERT).unwrap().id,
        Some(MutationId(next))
    );
    assert_eq!(replica.decision(MutationId(next)).unwrap(), None);
}

/// A rescued write waits or is uncertain, and must not be written again by whoever asks again.
#[test]
fn what_is_rescued_is_not_done_again() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let ids: Vec<_> = (1..4).map(|number| waits(&mut replica, number)).collect();
    let sent = Write::PutWriter(Box::new(writer_of(ids[1].0)));
    apply(&mut replica, vec![settle(ids[0], accepted(70)), sent]);
    let before: Vec<_> = (1..4).map(|number| given(&replica, number)).collect();
    drop(replica);
    let (mut replica, rescued) = Replica::rebuild(&place, CLIENT).unwrap();
    assert_eq!((rescued.waiting, rescued.uncertain, rescued.may_miss_some), (1, 1, false));
    assert_eq!((1..4).map(|number| given(&replica, number)).collect::<Vec<_>>(), before);
    is_done_already(ask(&mut replica, asked(request(3)), "DELETE FROM chat.messages"));
    assert_eq!(replica.decision(ids[0]).unwrap(), Some(Decision::Accepted(seq(70))));
    assert_eq!(replica.decision(ids[1]).unwrap(), Some(Decision::Uncertain));
    replica.cancel(ids[2]).unwrap().unwrap();
    assert_eq!(replica.decision(ids[2]).unwrap(), Some(Decision::Cancelled));
    assert!(waits(&mut replica, 4) > ids[2]);
}
