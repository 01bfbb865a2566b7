//! The server, and how it is with everything.

use std::rc::Rc;
use std::time::Duration;

use js_sys::{Array, JSON};
use sdk_core::{Client, Position, Storage};
use serde_json::json;
use tokio::sync::MutexGuard;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_futures::spawn_local;

use super::{Core, Outcome, failed};
use crate::files;
use crate::given::{Options, duration, remote_options};
use crate::objects::{Fault, number, object};
use crate::told::rows;
use crate::values::values;

/// How long it is waited for a server, unless it is said otherwise.
const WITHIN: Duration = Duration::from_secs(30);

#[wasm_bindgen]
impl Core {
    /// Has the server run a statement.
    pub async fn remote(
        &self,
        sql: String,
        params: Vec<JsValue>,
        options: Option<Options>,
    ) -> Outcome<JsValue> {
        let options = remote_options(options.as_ref())?;
        let params = values(&params)?;
        let answer = self.client.remote_with(&sql, &params, options).await.map_err(failed)?;
        let column = |column: &sdk_core::SqlColumn| {
            let kind = column.column_type.to_string().to_lowercase();
            object(&[("name", column.name.as_str().into()), ("type", kind.into())])
        };
        let [_, all] = rows(&answer.rows);
        let positions = serde_json::to_string(&answer.positions).unwrap_or_default();
        Ok(object(&[
            ("columns", answer.columns.iter().map(column).collect::<Array>().into()),
            all,
            ("rowsAffected", answer.rows_affected.map_or(JsValue::NULL, number)),
            ("positions", parsed(&positions)),
        ]))
    }

    /// Waits until the replica has come to positions that `remote` or the server's HTTP has given.
    #[wasm_bindgen(js_name = waitFor)]
    pub async fn wait_for(&self, positions: JsValue) -> Outcome<()> {
        let text = JSON::stringify(&positions).map(String::from).unwrap_or_default();
        let positions: Vec<Position> = serde_json::from_str(&text).map_err(|_| {
            Fault::new("these are no positions: give what `remote` or the server's answer has")
        })?;
        self.client.wait_for(&positions).await.map_err(failed)
    }

    /// Waits until all that was written is decided, and all that the server has is here.
    #[wasm_bindgen(js_name = waitForSync)]
    pub async fn wait_for_sync(&self, timeout_ms: Option<f64>) -> Outcome<()> {
        let within = timeout_ms.map(|millis| duration("timeout", millis)).transpose()?;
        self.client.wait_for_sync(within.unwrap_or(WITHIN)).await.map_err(failed)
    }

    /// Goes on for a while, and is then as it was before.
    #[wasm_bindgen(js_name = syncOnce)]
    pub async fn sync_once(&self, deadline_ms: f64) -> Outcome<()> {
        let deadline = duration("deadline", deadline_ms)?;
        self.client.sync_once(deadline).await.map_err(failed)
    }

    /// Ends the connection until it is resumed.
    pub fn pause(&self) {
        self.rests.update(|rests| rests + 1);
        self.client.pause();
    }

    /// Goes on: its files are opened once nobody else opens theirs. What is asked of it until then fails as
    /// before.
    pub fn resume(&self) {
        if let Some(turn) = files::try_turn() {
            self.client.resume();
            spawn_local(resumed(self.client.clone(), turn));
            return;
        }
        let (client, rests, before) =
            (self.client.clone(), Rc::clone(&self.rests), self.rests.get());
        spawn_local(async move {
            let turn = files::turn().await;
            // It may be wanted no more.
            if rests.get() == before {
                client.resume();
                resumed(client, turn).await;
            }
        });
    }

    /// Connects at once where it waits to do so.
    pub fn nudge(&self) {
        self.client.network_changed();
    }

    /// Closes the replica until it is resumed. What runs comes to its end first.
    pub async fn suspend(&self, deadline_ms: f64) -> Outcome<()> {
        let deadline = duration("deadline", deadline_ms)?;
        self.rests.update(|rests| rests + 1);
        self.client.suspend(deadline).await.map_err(failed)
    }

    /// How much room the replica takes.
    pub async fn storage(&self) -> Outcome<JsValue> {
        let found = self.client.storage().await.map_err(failed)?;
        let Storage { file, journal, free, outbox, rejections, tables, subscriptions } = found;
        let tables: Vec<_> = tables
            .iter()
            .map(|it| json!({ "name": it.name, "rows": it.rows, "bytes": it.bytes }))
            .collect();
        let subscriptions: Vec<_> = subscriptions
            .iter()
            .map(|it| json!({ "sql": it.sql, "rows": it.rows, "bytes": it.bytes }))
            .collect();
        let all = json!({
            "file": file,
            "journal": journal,
            "free": free,
            "outbox": outbox,
            "rejections": rejections,
            "tables": tables,
            "subscriptions": subscriptions,
        });
        Ok(parsed(&all.to_string()))
    }

    /// How it is with everything, without a row.
    pub async fn diagnose(&self) -> Outcome<JsValue> {
        Ok(parsed(&self.client.diagnose().await.map_err(failed)?))
    }
}

/// Nobody else has their turn before it has its files.
async fn resumed(client: Client, turn: MutexGuard<'static, ()>) {
    // What is asked after it is answered after it, whatever comes of that.
    let _ = client.answer("", 0).await;
    drop(turn);
}

/// JSON as JavaScript has it.
fn parsed(json: &str) -> JsValue {
    // It was made here.
    JSON::parse(json).unwrap_or(JsValue::NULL)
}
