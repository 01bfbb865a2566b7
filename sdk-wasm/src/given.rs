//! Objects of JavaScript that are given to the core.

use std::time::Duration;

use js_sys::{Function, JsString, Object, Promise};
use sdk_core::{
    Change, Expect, MutationId, OnReject, RemoteOptions, Request, Statement, SubscribeOptions,
    Value, WriteOptions,
};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};

use crate::objects::Fault;
use crate::values::value;

#[wasm_bindgen]
extern "C" {
    /// How a replica is opened.
    pub type Config;

    #[wasm_bindgen(method, getter, structural)]
    pub(crate) fn servers(this: &Config) -> Vec<JsString>;
    #[wasm_bindgen(method, getter, structural)]
    pub(crate) fn user(this: &Config) -> String;
    #[wasm_bindgen(method, getter, structural)]
    pub(crate) fn name(this: &Config) -> Option<String>;
    #[wasm_bindgen(method, getter, structural)]
    pub(crate) fn directory(this: &Config) -> Option<String>;
    #[wasm_bindgen(method, getter, structural, js_name = appVersion)]
    pub(crate) fn app_version(this: &Config) -> Option<u32>;
    #[wasm_bindgen(method, getter, structural, js_name = verifyEveryMs)]
    pub(crate) fn verify_every_ms(this: &Config) -> JsValue;
    #[wasm_bindgen(method, getter, structural, js_name = stallAfterMs)]
    pub(crate) fn stall_after_ms(this: &Config) -> Option<f64>;

    /// Who has opened it.
    pub type Host;

    #[wasm_bindgen(method, structural, catch)]
    pub(crate) fn token(this: &Host) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, structural, catch)]
    pub(crate) fn emit(this: &Host, events: &JsValue) -> Result<(), JsValue>;
    #[wasm_bindgen(method, getter, structural)]
    pub(crate) fn log(this: &Host) -> Option<Function>;

    /// One statement.
    pub type Given;

    #[wasm_bindgen(method, getter, structural)]
    pub(crate) fn sql(this: &Given) -> Option<String>;
    #[wasm_bindgen(method, getter, structural)]
    pub(crate) fn query(this: &Given) -> Option<String>;
    #[wasm_bindgen(method, getter, structural)]
    pub(crate) fn params(this: &Given) -> Option<Vec<JsValue>>;
    #[wasm_bindgen(method, getter, structural)]
    pub(crate) fn insert(this: &Given) -> Option<String>;
    #[wasm_bindgen(method, getter, structural)]
    pub(crate) fn update(this: &Given) -> Option<String>;
    #[wasm_bindgen(method, getter, structural)]
    pub(crate) fn delete(this: &Given) -> Option<String>;
    #[wasm_bindgen(method, getter, structural)]
    pub(crate) fn expect(this: &Given) -> Option<String>;
    #[wasm_bindgen(method, getter, structural)]
    pub(crate) fn key(this: &Given) -> JsValue;
    #[wasm_bindgen(method, getter, structural)]
    pub(crate) fn values(this: &Given) -> JsValue;
    #[wasm_bindgen(method, getter, structural)]
    pub(crate) fn set(this: &Given) -> JsValue;
    #[wasm_bindgen(method, getter, structural)]
    pub(crate) fn add(this: &Given) -> JsValue;

    /// How something is written.
    pub type Options;

    #[wasm_bindgen(method, getter, structural)]
    pub(crate) fn online(this: &Options) -> Option<bool>;
    #[wasm_bindgen(method, getter, structural)]
    pub(crate) fn queue(this: &Options) -> Option<String>;
    #[wasm_bindgen(method, getter, structural, js_name = onReject)]
    pub(crate) fn on_reject(this: &Options) -> Option<String>;
    #[wasm_bindgen(method, getter, structural)]
    pub(crate) fn unchanged(this: &Options) -> Option<bool>;
    #[wasm_bindgen(method, getter, structural)]
    pub(crate) fn replaces(this: &Options) -> Option<f64>;
    #[wasm_bindgen(method, getter, structural, js_name = fetchLast)]
    pub(crate) fn fetch_last(this: &Options) -> Option<f64>;
    #[wasm_bindgen(method, getter, structural, js_name = batchRows)]
    pub(crate) fn batch_rows(this: &Options) -> Option<f64>;
    #[wasm_bindgen(method, getter, structural, js_name = ttlMs)]
    pub(crate) fn ttl_ms(this: &Options) -> Option<f64>;
    #[wasm_bindgen(method, getter, structural, js_name = timeoutMs)]
    pub(crate) fn timeout_ms(this: &Options) -> Option<f64>;
    #[wasm_bindgen(method, getter, structural, js_name = requestId)]
    pub(crate) fn request_id(this: &Options) -> Option<Vec<u8>>;
    #[wasm_bindgen(method, getter, structural)]
    pub(crate) fn request(this: &Options) -> Option<Asked>;

    /// Which call of whom it is.
    pub(crate) type Asked;

    #[wasm_bindgen(method, getter, structural)]
    pub(crate) fn client(this: &Asked) -> String;
    #[wasm_bindgen(method, getter, structural)]
    pub(crate) fn number(this: &Asked) -> f64;
    #[wasm_bindgen(method, getter, structural)]
    pub(crate) fn answered(this: &Asked) -> f64;
}

/// Columns with their values, in the order in which they were given.
pub(crate) type Columns = Vec<(String, Value)>;

/// What is done in a transaction.
#[derive(Debug)]
pub(crate) enum Work {
    Statement(Statement),
    Query { sql: String, params: Vec<Value> },
}

/// What is done in a transaction, as it was given.
pub(crate) fn work(given: &Given) -> Result<Work, Fault> {
    match given.query() {
        Some(sql) => Ok(Work::Query { sql, params: params(given)? }),
        None => Ok(Work::Statement(statement(given)?)),
    }
}

fn params(given: &Given) -> Result<Vec<Value>, Fault> {
    given.params().unwrap_or_default().iter().map(value).collect()
}

/// A statement, as it was given.
pub(crate) fn statement(given: &Given) -> Result<Statement, Fault> {
    if let Some(sql) = given.sql() {
        return Ok(Statement::Sql { sql, params: params(given)? });
    }
    if let Some(table) = given.insert() {
        return Ok(Statement::Insert { table, values: columns(&given.values())? });
    }
    let key = columns(&given.key())?;
    if let Some(table) = given.update() {
        let set = columns(&given.set())?.into_iter().map(|(name, it)| (name, Change::Set(it)));
        let add = columns(&given.add())?.into_iter().map(|(name, it)| (name, Change::Add(it)));
        return Ok(Statement::Update { table, key, changes: set.chain(add).collect() });
    }
    if let Some(table) = given.delete() {
        return Ok(Statement::Delete { table, key });
    }
    match given.expect() {
        Some(table) => Ok(Statement::Expect { table, key, values: columns(&given.values())? }),
        None => Err(Fault::new(
            "a statement has sql, insert, update, delete or expect: give one of them",
        )),
    }
}

fn columns(object: &JsValue) -> Result<Columns, Fault> {
    let Some(object) = object.dyn_ref::<Object>() else { return Ok(Vec::new()) };
    let entry = |entry: JsValue| {
        let entry = js_sys::Array::from(&entry);
        Ok((entry.get(0).as_string().unwrap_or_default(), value(&entry.get(1))?))
    };
    Object::entries(object).iter().map(entry).collect()
}

/// How something is written.
pub(crate) fn write_options(given: Option<&Options>) -> Result<WriteOptions, Fault> {
    let mut options = WriteOptions::default();
    let Some(given) = given else { return Ok(options) };
    options.online = given.online().unwrap_or(false);
    options.queue = given.queue();
    options.on_reject = match given.on_reject().as_deref() {
        None | Some("continue") => OnReject::Continue,
        Some("hold") => OnReject::Hold,
        Some(other) => {
            return Err(Fault::new(format!("onReject is \"continue\" or \"hold\", not {other:?}")));
        }
    };
    if given.unchanged() == Some(true) {
        options.expect = Expect::Unchanged;
    }
    options.replaces = given.replaces().map(mutation_id).transpose()?;
    options.request = request(Some(given))?;
    Ok(options)
}

/// Which call of whom it is, if that is said.
pub(crate) fn request(given: Option<&Options>) -> Result<Option<Request>, Fault> {
    let Some(asked) = given.and_then(Options::request) else { return Ok(None) };
    let number = whole("the number of a request", asked.number())?;
    let answered = whole("answered", asked.answered())?;
    Ok(Some(Request { client: asked.client(), number, answered }))
}

/// How a statement is sent to the server.
pub(crate) fn remote_options(given: Option<&Options>) -> Result<RemoteOptions, Fault> {
    let Some(given) = given else { return Ok(RemoteOptions::default()) };
    let timeout = given.timeout_ms().map(|millis| duration("timeout", millis)).transpose()?;
    let sixteen = |id: Vec<u8>| {
        let told = |id: Vec<u8>| Fault::new(format!("requestId has 16 bytes, not {}", id.len()));
        <[u8; 16]>::try_from(id).map_err(told)
    };
    let request_id = given.request_id().map(sixteen).transpose()?;
    Ok(RemoteOptions { timeout, request_id })
}

/// The id of a write.
pub(crate) fn mutation_id(id: f64) -> Result<MutationId, Fault> {
    let id = whole("the id of a write", id)?;
    Ok(MutationId(i64::try_from(id).unwrap_or(i64::MAX)))
}

/// How something is subscribed to.
pub(crate) fn subscribe_options(given: Option<&Options>) -> Result<SubscribeOptions, Fault> {
    let Some(given) = given else { return Ok(SubscribeOptions::default()) };
    let fetch_last = given.fetch_last().map(|rows| whole("fetchLast", rows)).transpose()?;
    let batch_rows = given.batch_rows().map(|rows| whole("batchRows", rows)).transpose()?;
    let batch_rows = batch_rows.map(|rows| u32::try_from(rows).unwrap_or(u32::MAX));
    let ttl = given.ttl_ms().map(|ttl| duration("ttl", ttl)).transpose()?;
    Ok(SubscribeOptions { fetch_last, batch_rows, ttl })
}

/// A number that counts something.
pub(crate) fn whole(name: &str, number: f64) -> Result<u64, Fault> {
    match number.fract() == 0.0 && (0.0..=9e15).contains(&number) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is whole and not negative"
        )]
        true => Ok(number as u64),
        false => Err(Fault::new(format!("{name} is a whole number from 0 on, not {number}"))),
    }
}

/// A time in milliseconds.
pub(crate) fn duration(name: &str, millis: f64) -> Result<Duration, Fault> {
    Duration::try_from_secs_f64(millis / 1_000.0)
        .map_err(|_| Fault::new(format!("{name} is a time in milliseconds, not {millis}")))
}
