//! Subscriptions.

use sdk_core::{Error, ErrorCode, Subscription, Verdict};
use tokio::sync::watch;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_futures::spawn_local;

use super::{Core, Outcome, failed};
use crate::given::{Options, subscribe_options, whole};
use crate::objects::object;
use crate::told::view;
use crate::values::values;

/// A subscription, as soon as it is stored. What is wanted of it before that is done then.
pub(super) type Here = watch::Receiver<Option<Subscription>>;

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
        let (stored, here) = watch::channel(None);
        self.subscriptions.borrow_mut().insert(handle.clone(), here);
        let subscription = match self.client.subscribe(&sql, &params, options).await {
            Ok(subscription) => subscription,
            Err(error) => {
                self.subscriptions.borrow_mut().remove(&handle);
                return Err(failed(error));
            }
        };
        // It may be released by now.
        if self.subscriptions.borrow().contains_key(&handle) {
            self.events.borrow_mut().tell_subscription(&handle, &subscription);
        }
        let now = view(&subscription);
        stored.send_replace(Some(subscription));
        Ok(now)
    }

    /// Done when its rows are here.
    pub async fn ready(&self, handle: String) -> Outcome<()> {
        self.subscription(&handle).await?.ready().await.map_err(failed)
    }

    /// Lets so many more rows come, that were born before those which are here.
    #[wasm_bindgen(js_name = loadOlder)]
    pub fn load_older(&self, handle: &str, rows: f64) -> Outcome<()> {
        let rows = whole("the number of rows", rows)?;
        when_here(self.here(handle)?, move |subscription| subscription.load_older(rows));
        Ok(())
    }

    /// Loads it anew.
    pub fn reset(&self, handle: &str) -> Outcome<()> {
        when_here(self.here(handle)?, |subscription| subscription.reset());
        Ok(())
    }

    /// Compares it with the server.
    pub async fn verify(&self, handle: String) -> Outcome<JsValue> {
        let subscription = self.subscription(&handle).await?;
        let verdict = match subscription.verify().await.map_err(failed)? {
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
        let here = self.subscriptions.borrow_mut().remove(handle);
        if let Some(here) = here {
            when_here(here, Subscription::unsubscribe);
        }
    }
}

impl Core {
    fn here(&self, handle: &str) -> Outcome<Here> {
        self.subscriptions.borrow().get(handle).cloned().ok_or_else(released)
    }

    async fn subscription(&self, handle: &str) -> Outcome<Subscription> {
        let mut here = self.here(handle)?;
        let stored = here.wait_for(Option::is_some).await.map_err(|_| released())?;
        stored.clone().ok_or_else(released)
    }
}

/// Does something with a subscription, now or when it is stored.
fn when_here(mut here: Here, work: impl FnOnce(Subscription) + 'static) {
    let stored = here.borrow().clone();
    match stored {
        Some(subscription) => work(subscription),
        None => spawn_local(async move {
            let stored = here.wait_for(Option::is_some).await;
            // Otherwise it could not be stored, and whoever wanted it knows.
            if let Some(subscription) = stored.ok().and_then(|stored| stored.clone()) {
                work(subscription);
            }
        }),
    }
}

fn released() -> JsValue {
    let message = "the subscription was released: subscribe again".to_owned();
    failed(Error::Asked { code: ErrorCode::NotFound, message })
}
