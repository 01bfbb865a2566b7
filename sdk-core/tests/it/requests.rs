//! INV-12: who has called and was not answered asks again, and it is done once. The answer is lost here by
//! closing the client and looking at nothing that it gave.

use futures::StreamExt;
use sdk_core::{Answer, Client, ErrorCode, Mutation, MutationState, Request, Value, WriteOptions};

use crate::fake::{Device, Fake, soon};
use crate::sending::{begun, decided, live, mutate, number};

const RETURNING: &str = "INSERT INTO app.notes (id, body) VALUES ($1, 'mine') RETURNING id, body";

fn request(number: u64) -> Request {
    Request { client: "a tab".to_owned(), number, answered: 0 }
}

fn asked(number: u64) -> WriteOptions {
    WriteOptions { request: Some(request(number)), ..WriteOptions::default() }
}

async fn insert(client: &Client, id: i64, options: WriteOptions) -> Mutation {
    client.execute_with(RETURNING, &[Value::Integer(id)], options).await.unwrap()
}

/// What a request has given, if it was a write.
async fn wrote(client: &Client, number: u64) -> Mutation {
    match client.answer("a tab", number).await.unwrap() {
        Some(Answer::Wrote(mutation)) => mutation,
        other => panic!("{number}: {other:?}"),
    }
}

/// A client that has the table, whose server is not reached.
async fn alone(fake: &Fake, device: &Device) -> Client {
    let (client, ..) = begun(fake, device).await;
    soon(client.close()).await;
    device.open("ws://127.0.0.1:9").await
}

fn is_cancelled(state: &MutationState) -> bool {
    matches!(state, MutationState::Rejected { code: ErrorCode::Cancelled, .. })
}

#[tokio::test]
async fn a_write_that_is_asked_for_again_is_done_once_and_gives_the_same() {
    let (fake, device) = (Fake::new().await, Device::new());
    let client = alone(&fake, &device).await;
    let first = insert(&client, 7, asked(1)).await;
    let again = insert(&client, 7, asked(1)).await;
    soon(client.close()).await;
    let client = device.open(&fake.url()).await;
    let later = insert(&client, 7, asked(1)).await;
    for other in [again, later, wrote(&client, 1).await] {
        assert_eq!((other.id(), other.rows_affected()), (first.id(), 1));
        assert_eq!((other.rows(), other.rows().len()), (first.rows(), 1));
        assert_eq!(other.state(), MutationState::Queued);
    }
    assert_eq!(client.pending().await.unwrap().count(), 1);
    // What is told of it is told to whoever has asked again.
    let again = wrote(&client, 1).await;
    let (mut session, _) = live(&fake).await;
    let (sent, _) = mutate(&mut session).await;
    assert_eq!((sent.first, sent.mutations.len()), (number(1), 1));
    let mut states = again.states();
    soon(async { while states.next().await.unwrap() != MutationState::Sent {} }).await;
}

#[tokio::test]
async fn how_a_write_was_decided_is_found_by_who_was_not_told() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (client, mut session, _) = begun(&fake, &device).await;
    let accepted = insert(&client, 7, asked(1)).await;
    let (sent, hash) = mutate(&mut session).await;
    session.send(decided(sent.client, (10, 11), 1, hash, true)).await;
    soon(accepted.decided()).await.unwrap();
    let rejected = insert(&client, 8, asked(2)).await;
    let (sent, hash) = mutate(&mut session).await;
    session.send(decided(sent.client, (11, 11), 2, hash, false)).await;
    soon(rejected.decided()).await.unwrap();
    let nobodys = insert(&client, 9, WriteOptions::default()).await;
    let (sent, hash) = mutate(&mut session).await;
    session.send(decided(sent.client, (11, 12), 3, hash, true)).await;
    soon(nobodys.decided()).await.unwrap();
    soon(client.close()).await;
    let client = device.open("ws://127.0.0.1:9").await;
    let [accepted, rejected, nobodys] = [accepted, rejected, nobodys].map(|it| it.id().unwrap());
    let found = client.mutation(accepted).await.unwrap().unwrap();
    assert_eq!(found.state(), MutationState::Accepted { seq: 11 });
    assert_eq!(wrote(&client, 1).await.state(), found.state());
    assert!(client.mutation(nobodys).await.unwrap().is_none());
    // Also when somebody else has dealt with it.
    let before = wrote(&client, 2).await.state();
    assert!(matches!(before, MutationState::Rejected { code: ErrorCode::Constraint, .. }));
    assert!(client.discard(rejected).await.unwrap());
    assert_eq!(wrote(&client, 2).await.state(), before);
    let taken = insert(&client, 10, asked(3)).await;
    assert!(taken.cancel().await.unwrap());
    assert!(is_cancelled(&wrote(&client, 3).await.state()));
}

#[tokio::test]
async fn what_is_retried_discarded_or_taken_back_is_so_once() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (client, mut session, _) = begun(&fake, &device).await;
    for id in [7, 8] {
        insert(&client, id, WriteOptions::default()).await;
        let (sent, hash) = mutate(&mut session).await;
        let at = u64::try_from(id).unwrap() - 6;
        session.send(decided(sent.client, (10, 10), at, hash, false)).await;
        soon(async {
            while client.rejections().await.unwrap().len() < usize::try_from(at).unwrap() {}
        })
        .await;
    }
    soon(client.close()).await;
    let client = device.open("ws://127.0.0.1:9").await;
    let ids: Vec<_> = client.rejections().await.unwrap().iter().map(|it| it.id).collect();
    let retried = client.retry_with(ids[0], Some(request(1))).await.unwrap();
    assert!(client.discard_with(ids[1], Some(request(2))).await.unwrap());
    let taken = insert(&client, 9, asked(3)).await.id().unwrap();
    assert!(client.cancel_with(taken, Some(request(4))).await.unwrap());
    soon(client.close()).await;
    let client = device.open("ws://127.0.0.1:9").await;
    let again = client.retry_with(ids[0], Some(request(1))).await.unwrap();
    assert_eq!(again.id(), retried.id());
    assert!(client.discard_with(ids[1], Some(request(2))).await.unwrap());
    assert!(client.cancel_with(taken, Some(request(4))).await.unwrap());
    assert!(matches!(client.answer("a tab", 4).await.unwrap(), Some(Answer::Done)));
    assert_eq!(client.pending().await.unwrap().count(), 1);
    // What was not done is not said to be; and without the request it is not there any more.
    assert!(!client.discard(ids[1]).await.unwrap());
    assert!(!client.discard_with(ids[1], Some(request(5))).await.unwrap());
    assert!(!client.cancel_with(taken, Some(request(5))).await.unwrap());
    assert!(client.answer("a tab", 5).await.unwrap().is_none());
    // A number is one call.
    let mixed = [
        client.discard_with(ids[1], Some(request(1))).await.unwrap_err(),
        client.cancel_with(taken, Some(request(3))).await.unwrap_err(),
        client.retry_with(ids[0], Some(request(2))).await.unwrap_err(),
    ];
    assert!(mixed.iter().all(|error| error.code() == ErrorCode::InvalidRequest), "{mixed:?}");
}

/// An application that has begun to count again is told, and does not lose what it writes.
#[tokio::test]
async fn another_call_by_the_same_request_is_refused() {
    let (fake, device) = (Fake::new().await, Device::new());
    let client = alone(&fake, &device).await;
    let first = insert(&client, 7, asked(1)).await;
    let second = insert(&client, 8, asked(2)).await.id().unwrap();
    client.cancel_with(second, Some(request(3))).await.unwrap();
    let body = |text| vec![("body".to_owned(), sdk_core::Change::Set(Value::text(text).unwrap()))];
    let update = |text, number| {
        let key = vec![("id".to_owned(), Value::Integer(7))];
        let table = "app.notes".to_owned();
        let update = sdk_core::Statement::Update { table, key, changes: body(text) };
        client.write(vec![update], asked(number))
    };
    update("one", 4).await.unwrap();
    soon(client.close()).await;
    let client = device.open("ws://127.0.0.1:9").await;
    let update = |text, number| {
        let key = vec![("id".to_owned(), Value::Integer(7))];
        let table = "app.notes".to_owned();
        let update = sdk_core::Statement::Update { table, key, changes: body(text) };
        client.write(vec![update], asked(number))
    };
    let others = [
        client.execute_with(RETURNING, &[Value::Integer(9)], asked(1)).await.unwrap_err(),
        client.execute_with("DELETE FROM app.notes", &[], asked(1)).await.unwrap_err(),
        client.cancel_with(first.id().unwrap(), Some(request(3))).await.unwrap_err(),
        update("two", 4).await.unwrap_err(),
        update("one", 1).await.unwrap_err(),
    ];
    assert!(others.iter().all(|it| it.code() == ErrorCode::InvalidRequest), "{others:?}");
    assert_eq!(insert(&client, 7, asked(1)).await.id(), first.id());
    assert!(client.cancel_with(second, Some(request(3))).await.unwrap());
    update("one", 4).await.unwrap();
    assert_eq!(client.pending().await.unwrap().count(), 2);
}

#[tokio::test]
async fn a_transaction_is_committed_once() {
    let (fake, device) = (Fake::new().await, Device::new());
    let client = alone(&fake, &device).await;
    let insert = async |tx: sdk_core::Transaction| {
        tx.execute(RETURNING, &[Value::Integer(7)]).await?;
        tx.execute("UPDATE app.notes SET body = 'x'", &[]).await
    };
    let given_up = client.transaction_with(asked(1), async |tx| {
        insert(tx).await?;
        Err::<(), _>(sdk_core::Error::Closed)
    });
    given_up.await.unwrap_err();
    assert!(client.answer("a tab", 1).await.unwrap().is_none());
    let (_, mutation) = client.transaction_with(asked(1), insert).await.unwrap();
    soon(client.close()).await;
    let client = device.open("ws://127.0.0.1:9").await;
    let options = WriteOptions { online: true, ..asked(1) };
    let again = client.transaction_with(options, insert).await.unwrap_err();
    assert_eq!(again.code(), ErrorCode::Conflict);
    let wrote = wrote(&client, 1).await;
    assert_eq!((wrote.id(), wrote.rows_affected()), (mutation.id(), 4));
    assert_eq!(client.pending().await.unwrap().count(), 1);
}

/// It was done while there was a connection, and is asked for again when there is none.
#[tokio::test]
async fn what_was_not_to_wait_gives_what_it_gave() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (client, mut session, _) = begun(&fake, &device).await;
    let online = WriteOptions { online: true, ..asked(1) };
    let first = insert(&client, 7, online.clone()).await;
    let (sent, hash) = mutate(&mut session).await;
    session.send(decided(sent.client, (10, 11), 1, hash, true)).await;
    soon(first.decided()).await.unwrap();
    soon(client.close()).await;
    let client = device.open("ws://127.0.0.1:9").await;
    let again = insert(&client, 7, online).await;
    assert_eq!((again.id(), again.state()), (first.id(), MutationState::Accepted { seq: 11 }));
    let other = WriteOptions { online: true, ..asked(2) };
    let refused = client.execute_with(RETURNING, &[Value::Integer(8)], other).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Offline);
    assert!(client.answer("a tab", 2).await.unwrap().is_none());
}

#[tokio::test]
async fn who_is_not_there_any_more_is_forgotten() {
    let (fake, device) = (Fake::new().await, Device::new());
    let client = alone(&fake, &device).await;
    insert(&client, 7, asked(1)).await;
    let other = Request { client: "another".to_owned(), ..request(1) };
    let other = WriteOptions { request: Some(other), ..WriteOptions::default() };
    insert(&client, 8, other).await;
    client.keep_requests(&["another".to_owned()]).await.unwrap();
    assert!(client.answer("a tab", 1).await.unwrap().is_none());
    assert!(client.answer("another", 1).await.unwrap().is_some());
    assert_eq!(client.pending().await.unwrap().count(), 2);
}
