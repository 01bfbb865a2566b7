//! Ten devices write offline and come back all at once: what the server has then is what was decided, in
//! its order, and every device has the same.

use std::collections::BTreeMap;

use futures::future::join_all;
use sdk_core::{Client, ErrorCode, Mutation, MutationState, SubscribeOptions, Value, Verdict};

use crate::kills::Dice;
use crate::sdk::{World, rows, soon, texts, tick};

const TABLE: &str = "CREATE SHARED TABLE app.posts (id BIGINT PRIMARY KEY, body TEXT, \
                     likes BIGINT DEFAULT 0 MERGE ADD) WITH (ACCESS_LEVEL = WRITE)";

const ALL: &str = "SELECT id, body, likes FROM app.posts ORDER BY id";

/// Rows that all devices change; more of their own are inserted.
const SHARED: i64 = 60;

/// Those of them that are deleted. All others stay, to show what became of what was written to them.
const MORTAL: i64 = 10;

const DEVICES: i64 = 10;

/// What a device has done to a row.
#[derive(Clone, Debug)]
enum Did {
    Insert(String),
    Body(String),
    Like,
    Delete,
}

/// What a device has done to which row, and what becomes of it.
struct Done {
    id: i64,
    did: Did,
    mutation: Mutation,
}

/// One device writes, and does not know of the others. `None` where the device itself has no such row.
async fn write(client: &Client, device: i64, number: i64, dice: &mut Dice) -> Option<Done> {
    let mut one_of = |rows: i64| i64::try_from(dice.below(rows.unsigned_abs())).unwrap();
    let (shared, mortal) = (one_of(SHARED), one_of(MORTAL));
    let body = format!("{device}/{number}");
    let (id, did) = match dice.below(10) {
        0..4 => (1_000 + device * 100_000 + number, Did::Insert(body)),
        4..7 => (shared, Did::Body(body)),
        7..9 => (shared, Did::Like),
        _ => (mortal, Did::Delete),
    };
    let id_value = Value::Integer(id);
    let (sql, params) = match &did {
        Did::Insert(body) => {
            let sql = "INSERT INTO app.posts (id, body) VALUES ($1, $2)";
            (sql, vec![id_value, Value::text(body.as_str()).unwrap()])
        }
        Did::Body(body) => {
            let sql = "UPDATE app.posts SET body = $2 WHERE id = $1";
            (sql, vec![id_value, Value::text(body.as_str()).unwrap()])
        }
        Did::Like => ("UPDATE app.posts SET likes = likes + 1 WHERE id = $1", vec![id_value]),
        Did::Delete => ("DELETE FROM app.posts WHERE id = $1", vec![id_value]),
    };
    let mutation = client.execute(sql, &params).await.unwrap();
    mutation.id().is_some().then_some(Done { id, did, mutation })
}

/// The rows as an application has them that does in order what was decided, and which of them were not
/// there for what was rejected.
fn expected(all: &[Done]) -> (Vec<String>, Vec<i64>) {
    let mut rows: BTreeMap<i64, (String, i64)> =
        (0..SHARED).map(|id| (id, ("first".to_owned(), 0))).collect();
    let (mut decided, mut rejected): (BTreeMap<u64, Vec<&Done>>, Vec<i64>) = Default::default();
    for done in all {
        match done.mutation.state() {
            MutationState::Accepted { seq } => decided.entry(seq).or_default().push(done),
            // The row was deleted before it was changed.
            MutationState::Rejected { code: ErrorCode::NotFound, .. } => rejected.push(done.id),
            other => panic!("{:?} of {} is {other:?}", done.did, done.id),
        }
    }
    // Those with the place of another one have changed nothing, and so do not here.
    for Done { id, did, .. } in decided.into_values().flatten() {
        match did {
            Did::Insert(body) => {
                assert!(rows.insert(*id, (body.clone(), 0)).is_none(), "{id} is there twice");
            }
            Did::Body(body) => rows.get_mut(id).expect("it is there").0.clone_from(body),
            Did::Like => rows.get_mut(id).expect("it is there").1 += 1,
            // A row that is gone is deleted once more.
            Did::Delete => drop(rows.remove(id)),
        }
    }
    // What has gone never comes back.
    let there: Vec<_> = rejected.iter().filter(|id| rows.contains_key(id)).collect();
    assert!(there.is_empty(), "writes to {there:?} were rejected, and they are there");
    assert!(rows.range(..SHARED).count() >= 40, "too little is left to compare");
    (rows.iter().map(|(id, (body, likes))| format!("{id} {body} {likes}")).collect(), rejected)
}

/// Must show 2 of offline writes.
#[test]
fn what_ten_devices_wrote_offline_is_decided_once_and_everywhere() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    seeds::for_each("offline-devices", 1, |seed| {
        let writes = if seed == 0 { 60 } else { 1_000 };
        runtime.block_on(all_at_once(seed, writes));
    });
}

async fn all_at_once(seed: u64, writes: i64) {
    let mut world = World::new();
    world.admin.ok(TABLE);
    let values: Vec<_> = (0..SHARED).map(|id| format!("({id}, 'first')")).collect();
    world.admin.ok(&format!("INSERT INTO app.posts (id, body) VALUES {}", values.join(", ")));
    let mut clients = Vec::new();
    for device in 0..DEVICES {
        let client = world.client_of(&format!("u{}", device % 5), &format!("d{device}")).await;
        let all = "SELECT * FROM app.posts";
        let all = client.subscribe(all, &[], SubscribeOptions::default()).await.unwrap();
        soon(all.ready()).await.unwrap();
        client.pause();
        clients.push((client, all));
    }
    let mut done = Vec::new();
    for (device, (client, _)) in (0..).zip(&clients) {
        let mut dice = Dice::new(seed * 100 + u64::try_from(device).unwrap());
        let (mut written, mut numbers) = (0, 0..);
        while written < writes {
            let one = write(client, device, numbers.next().unwrap(), &mut dice).await;
            written += i64::from(one.is_some());
            done.extend(one);
        }
    }
    clients.iter().for_each(|(client, _)| client.resume());
    join_all(clients.iter().map(|(client, _)| decided(client))).await;
    let (expected, rejected) = expected(&done);
    let there = soon(clients[0].0.remote(ALL, &[])).await.unwrap();
    assert_eq!(texts(&there.rows), expected, "the server");
    for (client, all) in &clients {
        soon(async {
            while rows(client, ALL).await != expected {
                tick().await
            }
        })
        .await;
        let verdict = soon(all.verify()).await.unwrap();
        assert_eq!(verdict, Verdict::Equal { rows: expected.len().try_into().unwrap() });
    }
    let rejected = rejected.len();
    assert!((1..done.len() / 2).contains(&rejected), "{rejected} of {} were rejected", done.len());
    world.server.take();
}

/// Waits until nothing waits, however long that takes as long as something moves.
async fn decided(client: &Client) {
    let mut left = usize::MAX;
    while left > 0 {
        let now = soon(async {
            loop {
                let now = client.pending().await.unwrap().count();
                if now < left {
                    return now;
                }
                tick().await;
            }
        });
        left = now.await;
    }
}
