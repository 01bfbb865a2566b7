//! Which tables there are: said in `hello`, taken as a whole, and never taken back.

use protocol::frame::v1::{AllowedTable, Schema, ServerFrame};
use protocol::ids::{SchemaHash, TableId};
use sdk_machine::{Event, Instruction, Phase, Write};

use crate::client::{Client, born, delta, kinds, messages, subscribed};

/// Tables of these numbers.
pub(crate) fn tables(ids: &[u32]) -> Vec<AllowedTable> {
    let table = |id: &u32| {
        let mut table = messages();
        table.id = TableId(*id);
        table.name = format!("chat.t{id}").parse().unwrap();
        AllowedTable { table, writable: true }
    };
    ids.iter().map(table).collect()
}

/// A whole description in one piece.
pub(crate) fn whole(revision: u64, ids: &[u32]) -> ServerFrame {
    ServerFrame::Schema(Schema::pieces(revision, tables(ids)).remove(0))
}

/// The same in two.
fn halves(revision: u64, ids: &[u32]) -> [ServerFrame; 2] {
    let whole = Schema::pieces(revision, tables(ids)).remove(0);
    let (first, rest) = whole.tables.split_at(1);
    [(first, false), (rest, true)].map(|(tables, end)| {
        ServerFrame::Schema(Schema { tables: tables.to_vec(), end, ..whole.clone() })
    })
}

fn known(client: &Client) -> Vec<u32> {
    client.replica.tables().unwrap_or_default().iter().map(|it| it.table.id.0).collect()
}

fn version(ids: &[u32]) -> Option<SchemaHash> {
    Some(Schema::pieces(1, tables(ids))[0].version)
}

#[test]
fn hello_says_which_description_is_held_and_how_old_the_application_is() {
    let mut client = Client::new();
    let hello = client.open();
    assert_eq!((hello.schema, hello.app_version), (None, 7));
    client.frame(whole(1, &[1, 2]));
    client.disconnected();
    assert_eq!(client.open().schema, version(&[1, 2]));
    client.crash();
    assert_eq!(client.open().schema, version(&[1, 2]), "it is stored");
}

/// Nothing of it is stored before the last piece, and all of it in one step.
#[test]
fn a_description_is_taken_as_a_whole() {
    let mut client = Client::new();
    client.open();
    let [first, last] = halves(1, &[1, 2, 3]);
    assert_eq!(client.frame(first.clone()), []);
    assert_eq!(client.replica.tables(), None);
    let applied = client.frame(last.clone());
    let [Instruction::Apply(step)] = &applied[..] else { panic!("{applied:?}") };
    assert!(matches!(&step.writes[..], [Write::PutSchema { .. }]), "{step:?}");
    assert_eq!(known(&client), [1, 2, 3]);

    // A half is worth nothing on another connection.
    client.frame(halves(2, &[1, 2, 3, 4])[0].clone());
    client.disconnected();
    assert_eq!(client.open().schema, version(&[1, 2, 3]));
    client.frame(whole(2, &[7]));
    assert_eq!(known(&client), [7]);
}

/// Another node may not have heard of a change yet that this client has heard of.
#[test]
fn an_older_description_changes_nothing() {
    let mut client = Client::new();
    client.open();
    client.frame(whole(5, &[1, 2]));
    assert_eq!(client.frame(whole(4, &[1])), []);
    assert_eq!(known(&client), [1, 2]);
    client.crash();
    assert_eq!(client.open().schema, version(&[1, 2]));
    assert_eq!(client.frame(whole(4, &[1])), []);
    // As old, for who has other rights by now.
    assert_eq!(kinds(&client.frame(whole(5, &[1]))), ["apply"]);
    assert_eq!(known(&client), [1]);
    assert_eq!(client.frame(whole(5, &[1])), [], "told twice");
    assert_eq!(kinds(&client.frame(whole(6, &[]))), ["apply"]);
    assert_eq!(known(&client).len(), 0);
}

#[test]
fn it_may_come_between_the_parts_of_a_commit() {
    let (mut client, _) = Client::live();
    client.frame(delta(1, 10, 11, false, vec![born(11)]));
    client.frame(whole(1, &[1]));
    client.frame(delta(1, 10, 11, true, vec![]));
    assert_eq!((client.position(), known(&client).len()), (Some(11), 1));
}

#[test]
fn what_contradicts_itself_ends_the_connection() {
    let mut twice = tables(&[1, 2]);
    twice[1].table.name = twice[0].table.name.clone();
    let mut wrong = tables(&[1]);
    wrong[0].table.primary_key.clear();
    let [first, _] = halves(1, &[1, 2]);
    let piece = |tables| ServerFrame::Schema(Schema::pieces(1, tables).remove(0));
    for frames in [
        vec![piece(twice)],
        vec![piece(wrong)],
        vec![first.clone(), whole(2, &[1])],
        vec![first.clone(), first],
    ] {
        let mut client = Client::new();
        client.open();
        let done: Vec<_> = frames.into_iter().map(|frame| kinds(&client.frame(frame))).collect();
        assert_eq!(done.last().unwrap()[..], ["hangup"]);
        assert_eq!(client.machine.phase(), Phase::Waiting);
        assert_eq!(client.replica.tables(), None);
    }
}

#[test]
fn nothing_waits_for_it() {
    let mut client = Client::new();
    client.subscribe(crate::client::last_four());
    client.open();
    client.frame(halves(1, &[1, 2])[0].clone());
    assert_eq!(kinds(&client.frame(subscribed(1, 1))), ["apply"]);
    client.event(Event::Pause);
    assert_eq!(client.replica.tables(), None);
}
