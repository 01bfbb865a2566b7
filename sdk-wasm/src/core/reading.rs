//! Reading.

use sdk_core::WatchOptions;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use super::{Core, Outcome, failed};
use crate::objects::object;
use crate::told::rows;
use crate::values::values;

#[wasm_bindgen]
impl Core {
    /// Reads the replica, once.
    pub async fn query(&self, sql: String, params: Vec<JsValue>) -> Outcome<JsValue> {
        let params = values(&params)?;
        let found = self.client.query(&sql, &params).await.map_err(failed)?;
        Ok(object(&rows(&found)))
    }

    /// Reads the replica, and again whenever that may give something else.
    pub fn watch(
        &self,
        handle: &str,
        sql: &str,
        params: Vec<JsValue>,
        key: Option<Vec<String>>,
    ) -> Outcome<()> {
        let options = WatchOptions { key: key.unwrap_or_default() };
        let watch = self.client.watch_with(sql, &values(&params)?, options).map_err(failed)?;
        self.events.borrow_mut().tell_results(handle, watch);
        Ok(())
    }

    /// Nobody wants to know it any more.
    pub fn unwatch(&self, handle: &str) {
        self.events.borrow_mut().forget(handle);
    }
}
