//! Subscriptions.

use sdk_core::{Error, ErrorCode, Subscription, Verdict};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use super::{Core, Outcome, told};
use crate::given::{Options, subscribe_options, whole};
use crate::told::{object, view};
use crate::values::values;

#[wasm_bindgen]
impl Core {
    /// Keeps rows on this device. Done when that is stored.
    pub async fn subscribe(
        &self,
        handle: String,
        sql: String,
        params: Vec<JsValue>,
        options: Option<Options>,
    ) -> Outcome<JsValue> {
        let (params, options) = (values(&params)?, subscribe_options(options.as_ref())?);
        let subscription = self.client.subscribe(&sql, &params, options).await.map_err(told)?;
        self.events.borrow_mut().tell_subscription(&handle, &subscription);
        let now = view(&subscription);
        self.subscriptions.borrow_mut().insert(handle, subscription);
        Ok(now)
    }

    /// Done when its rows are here.
    pub async fn ready(&self, handle: String) -> Outcome<()> {
        self.subscription(&handle)?.ready().await.map_err(told)
    }

    /// Lets so many more rows come, that were born before those which are here.
    #[wasm_bindgen(js_name = loadOlder)]
    pub fn load_older(&self, handle: &str, rows: f64) -> Outcome<()> {
        let rows = whole("the number of rows", rows)?;
        self.subscription(handle)?.load_older(rows);
        Ok(())
    }

    /// Loads it anew.
    pub fn reset(&self, handle: &str) -> Outcome<()> {
        self.subscription(handle)?.reset();
        Ok(())
    }

    /// Compares it with the server.
    pub async fn verify(&self, handle: String) -> Outcome<JsValue> {
        let verdict = match self.subscription(&handle)?.verify().await.map_err(told)? {
            Verdict::Equal { .. } => "same",
            Verdict::Different(_) => "different",
            Verdict::Expiring => "unknown",
        };
        Ok(object(&[("verdict", verdict.into())]))
    }

    /// Nobody asks for it any more: it is kept for its time to live.
    pub fn release(&self, handle: &str) {
        self.events.borrow_mut().forget(handle);
        self.subscriptions.borrow_mut().remove(handle);
    }

    /// It goes, and its rows go.
    pub fn unsubscribe(&self, handle: &str) {
        self.events.borrow_mut().forget(handle);
        if let Some(subscription) = self.subscriptions.borrow_mut().remove(handle) {
            subscription.unsubscribe();
        }
    }
}

impl Core {
    fn subscription(&self, handle: &str) -> Outcome<Subscription> {
        self.subscriptions.borrow().get(handle).cloned().ok_or_else(|| {
            let message = "the subscription was released: subscribe again".to_owned();
            told(Error::Asked { code: ErrorCode::NotFound, message })
        })
    }
}
