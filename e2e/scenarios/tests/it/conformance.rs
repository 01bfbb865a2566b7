//! The scripts of `e2e/conformance`, replayed by the Rust SDK. What a step is, its README says.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use sdk_core::{
    Change, Client, Error, Mutation, MutationState, Rejection, SignOut, SubscribeOptions,
    Subscription, Value,
};
use serde::Deserialize;
use serde_json::Value as Json;

use crate::sdk::{World, soon, tick};

const WITHIN: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    about: String,
    tables: Vec<String>,
    steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    Subscribe(Subscribe),
    LoadOlder(Named),
    Unsubscribe(Named),
    Execute(Write),
    Batch(Write),
    Transaction(Write),
    Insert(ByKey),
    Update(ByKey),
    Delete(ByKey),
    Expect(Shown),
    Shows(Shown),
    Server(Server),
    State(State),
    Pending(Counted),
    Synced(Device),
    Rejections(Counted),
    Retry(Device),
    Discard(Device),
    Offline(Device),
    Online(Device),
    Suspend(Device),
    Wake(Device),
    Restart(Device),
    SignOut(Leaving),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Device {
    client: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subscribe {
    client: String,
    sql: String,
    #[serde(default)]
    params: Vec<Json>,
    fetch_last: Option<u64>,
    name: Option<String>,
}

/// A subscription, or a part of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    client: String,
    name: String,
    #[serde(default)]
    rows: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Write {
    client: String,
    #[serde(default)]
    sql: String,
    #[serde(default)]
    params: Vec<Json>,
    #[serde(default)]
    statements: Vec<Statement>,
    name: Option<String>,
    error: Option<String>,
    #[serde(default)]
    rollback: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    sql: String,
    #[serde(default)]
    params: Vec<Json>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ByKey {
    client: String,
    table: String,
    #[serde(default)]
    key: BTreeMap<String, Json>,
    #[serde(default)]
    values: BTreeMap<String, Json>,
    name: Option<String>,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shown {
    client: String,
    sql: String,
    #[serde(default)]
    params: Vec<Json>,
    rows: Vec<Vec<Json>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Server {
    user: String,
    sql: String,
    rows: Option<Vec<Vec<Json>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    name: String,
    is: String,
    code: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Counted {
    client: String,
    #[serde(default)]
    count: usize,
    #[serde(default)]
    codes: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Leaving {
    client: String,
    data: String,
    #[serde(default)]
    discard_pending: bool,
    error: Option<String>,
}

/// What a script has, as far as it has come.
struct Replay {
    world: World,
    clients: BTreeMap<String, Client>,
    subscriptions: BTreeMap<(String, String), Subscription>,
    mutations: BTreeMap<String, Mutation>,
    is_alone: bool,
}

#[tokio::test]
async fn every_script_is_replayed() {
    replay(false).await;
}

/// As browsers have it.
#[tokio::test]
async fn every_script_is_replayed_through_one_connection() {
    replay(true).await;
}

async fn replay(is_alone: bool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|file| file.extension().is_some_and(|it| it == "json")).collect();
    files.sort();
    assert!(files.len() > 9, "{files:?}");
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let script: Script = serde_json::from_slice(&std::fs::read(&file).unwrap())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!script.about.is_empty(), "{name}");
        let mut replay = Replay {
            world: World::without_tables(),
            clients: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            mutations: BTreeMap::new(),
            is_alone,
        };
        script.tables.iter().for_each(|sql| drop(replay.world.admin.ok(sql)));
        for (place, step) in script.steps.iter().enumerate() {
            let place = format!("{name}, step {}: {step:?}", place + 1);
            soon(replay.step(step, &place)).await;
        }
        for client in replay.clients.into_values() {
            soon(client.close()).await;
        }
    }
}

impl Replay {
    /// The client of a device, which is opened when it is not.
    async fn client(&mut self, device: &str) -> Client {
        if let Some(client) = self.clients.get(device) {
            return client.clone();
        }
        let user = device.split('-').next().unwrap_or(device);
        let config = match self.world.config(user, device) {
            config if self.is_alone => config.with_one_connection(),
            config => config,
        };
        let client = Client::open(config).await.unwrap();
        self.clients.insert(device.to_owned(), client.clone());
        client
    }

    async fn step(&mut self, step: &Step, place: &str) {
        match step {
            Step::Subscribe(subscribe) => self.subscribe(subscribe, place).await,
            Step::LoadOlder(Named { client, name, rows }) => {
                self.subscriptions[&(client.clone(), name.clone())].load_older(*rows);
            }
            Step::Unsubscribe(Named { client, name, .. }) => {
                let ended = self.subscriptions.remove(&(client.clone(), name.clone()));
                ended.expect(place).unsubscribe();
            }
            Step::Execute(write) | Step::Batch(write) | Step::Transaction(write) => {
                self.write(step, write, place).await;
            }
            Step::Insert(write) | Step::Update(write) | Step::Delete(write) => {
                self.by_key(step, write, place).await;
            }
            Step::Expect(shown) => self.shown(shown, true, place).await,
            Step::Shows(shown) => self.shown(shown, false, place).await,
            Step::Server(Server { user, sql, rows }) => {
                let http = self.world.home.client(user, e2e_harness::Role::User);
                let answer = http.ok(sql);
                if let Some(rows) = rows {
                    let there: Vec<_> = answer.rows.iter().map(|row| texts(row)).collect();
                    let rows: Vec<_> = rows.iter().map(|row| texts(row)).collect();
                    assert_eq!(there, rows, "{place}");
                }
            }
            Step::State(state) => self.state(state, place).await,
            Step::Pending(Counted { client, count, .. }) => {
                let pending = self.client(client).await.pending().await.expect(place);
                assert_eq!(pending.count(), *count, "{place}");
            }
            Step::Synced(Device { client }) => {
                self.client(client).await.wait_for_sync(WITHIN).await.expect(place);
            }
            Step::Rejections(Counted { client, codes, .. }) => {
                let client = self.client(client).await;
                while codes_of(&client.rejections().await.expect(place)) != *codes {
                    tick().await;
                }
            }
            Step::Retry(Device { client }) => {
                let client = self.client(client).await;
                let first = client.rejections().await.expect(place)[0].id;
                client.retry(first).await.expect(place);
            }
            Step::Discard(Device { client }) => {
                let client = self.client(client).await;
                let first = client.rejections().await.expect(place)[0].id;
                client.discard(first).await.expect(place);
            }
            Step::Offline(Device { client }) => self.client(client).await.pause(),
            Step::Online(Device { client }) | Step::Wake(Device { client }) => {
                self.client(client).await.resume();
            }
            Step::Suspend(Device { client }) => {
                self.client(client).await.suspend(WITHIN).await.expect(place);
            }
            Step::Restart(Device { client }) => {
                self.client(client).await.close().await;
                self.clients.remove(client);
            }
            Step::SignOut(leaving) => self.sign_out(leaving, place).await,
        }
    }

    async fn subscribe(&mut self, asked: &Subscribe, place: &str) {
        let Subscribe { client: device, sql, params, fetch_last, name } = asked;
        let client = self.client(device).await;
        let options = fetch_last.map_or_else(SubscribeOptions::default, SubscribeOptions::last);
        let subscription = client.subscribe(sql, &values(params), options).await.expect(place);
        if client.status().word != sdk_core::StatusWord::Paused {
            subscription.ready().await.expect(place);
        }
        if let Some(name) = name {
            self.subscriptions.insert((device.clone(), name.clone()), subscription);
        }
    }

    async fn write(&mut self, step: &Step, write: &Write, place: &str) {
        let client = self.client(&write.client).await;
        let params: Vec<_> = write.statements.iter().map(|one| values(&one.params)).collect();
        let statements: Vec<_> = write
            .statements
            .iter()
            .zip(&params)
            .map(|(one, params)| (&*one.sql, &params[..]))
            .collect();
        let done = match step {
            Step::Batch(_) => client.batch(&statements).await,
            Step::Transaction(_) => {
                let done = client.transaction(async |transaction| {
                    for (sql, params) in &statements {
                        transaction.execute(sql, params).await?;
                    }
                    match write.rollback {
                        true => {
                            Err(Error::Value("the application has thought better of it".to_owned()))
                        }
                        false => Ok(()),
                    }
                });
                let done = done.await.map(|((), mutation)| mutation);
                if write.rollback {
                    assert!(matches!(done, Err(Error::Value(_))), "{place}");
                    return;
                }
                done
            }
            _ => client.execute(&write.sql, &values(&write.params)).await,
        };
        self.written(done, write.name.as_ref(), write.error.as_ref(), place);
    }

    async fn by_key(&mut self, step: &Step, write: &ByKey, place: &str) {
        let client = self.client(&write.client).await;
        let named = |values: &BTreeMap<String, Json>| -> Vec<(String, Value)> {
            values.iter().map(|(name, json)| (name.clone(), value(json))).collect()
        };
        let (key, values) = (named(&write.key), named(&write.values));
        let key: Vec<_> = key.iter().map(|(name, value)| (&**name, value.clone())).collect();
        let values: Vec<_> = values.iter().map(|(name, value)| (&**name, value.clone())).collect();
        let done = match step {
            Step::Insert(_) => client.insert(&write.table, &values).await,
            Step::Update(_) => {
                let changes: Vec<_> =
                    values.into_iter().map(|(name, value)| (name, Change::Set(value))).collect();
                client.update(&write.table, &key, &changes).await
            }
            _ => client.delete(&write.table, &key).await,
        };
        self.written(done, write.name.as_ref(), write.error.as_ref(), place);
    }

    fn written(
        &mut self,
        done: Result<Mutation, Error>,
        name: Option<&String>,
        error: Option<&String>,
        place: &str,
    ) {
        match (done, error) {
            (Ok(mutation), None) => {
                self.mutations.extend(name.map(|name| (name.clone(), mutation)));
            }
            (Err(refused), Some(code)) => assert_eq!(refused.code().as_str(), code, "{place}"),
            (Ok(_), Some(_)) => panic!("{place} is done"),
            (Err(refused), None) => panic!("{place}: {refused}"),
        }
    }

    async fn shown(&mut self, shown: &Shown, sooner_or_later: bool, place: &str) {
        let client = self.client(&shown.client).await;
        let expected: Vec<_> = shown.rows.iter().map(|row| texts(row)).collect();
        loop {
            let rows = client.query(&shown.sql, &values(&shown.params)).await.expect(place);
            let rows: Vec<Vec<String>> =
                rows.iter().map(|row| row.values().iter().map(text).collect()).collect();
            if rows == expected {
                return;
            }
            assert!(sooner_or_later, "{place} shows {rows:?}");
            tick().await;
        }
    }

    async fn state(&mut self, state: &State, place: &str) {
        let mutation = &self.mutations[&state.name];
        loop {
            let (word, code) = match mutation.state() {
                MutationState::Local => ("local", None),
                MutationState::Queued => ("queued", None),
                MutationState::Sent => ("sent", None),
                MutationState::Accepted { .. } => ("accepted", None),
                MutationState::Rejected { code, .. } => ("rejected", Some(code)),
                MutationState::Expired => ("expired", None),
                MutationState::Stuck => ("stuck", None),
                MutationState::Uncertain => ("uncertain", None),
                other => panic!("{place}: {other:?}"),
            };
            if word == state.is {
                let code = code.map(|code| code.as_str().to_owned());
                assert_eq!(code, state.code, "{place}");
                return;
            }
            assert!(["queued", "sent"].contains(&word), "{place}: it is {word}");
            tick().await;
        }
    }

    async fn sign_out(&mut self, leaving: &Leaving, place: &str) {
        let data = match &*leaving.data {
            "keep" => SignOut::Keep,
            "wipe" => SignOut::Wipe,
            other => panic!("{place}: {other}"),
        };
        let done = self.client(&leaving.client).await.sign_out(data, leaving.discard_pending).await;
        match (done, &leaving.error) {
            (Ok(()), None) => drop(self.clients.remove(&leaving.client)),
            (Err(error), Some(code)) => assert_eq!(error.code().as_str(), code, "{place}"),
            (done, _) => panic!("{place}: {done:?}"),
        }
    }
}

fn codes_of(rejections: &[Rejection]) -> Vec<String> {
    let code = |rejection: &Rejection| match &rejection.state {
        MutationState::Rejected { code, .. } => code.as_str().to_owned(),
        other => format!("{other:?}").to_lowercase(),
    };
    rejections.iter().map(code).collect()
}

fn values(all: &[Json]) -> Vec<Value> {
    all.iter().map(value).collect()
}

fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Number(number) => Value::Integer(number.as_i64().expect("a whole number")),
        Json::String(text) => Value::text(text.as_str()).unwrap(),
        other => panic!("no value of a script: {other}"),
    }
}

/// A row, as texts: the server writes large numbers as such.
fn texts(row: &[Json]) -> Vec<String> {
    let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    row.iter().map(text).collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Text(text) => text.to_string(),
        other => format!("{other:?}"),
    }
}
