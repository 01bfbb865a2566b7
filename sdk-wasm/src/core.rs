//! What is called.

mod opening;
mod reading;
mod subscribing;
mod syncing;
mod transaction;
mod writing;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use sdk_core::{Client, Error};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use self::subscribing::Here;
use self::transaction::Begun;
use crate::events::Events;
use crate::objects::failure;

/// A client that is open. What is given by a handle is the caller's to name, differently each time.
#[derive(Debug)]
#[wasm_bindgen]
pub struct Core {
    client: Client,
    /// How often it was to end its connection, or let go of its file.
    rests: Rc<Cell<u64>>,
    events: RefCell<Events>,
    subscriptions: RefCell<HashMap<String, Here>>,
    transactions: RefCell<HashMap<String, Begun>>,
}

/// What was done, or why it was not: what JavaScript gets.
type Outcome<T> = Result<T, JsValue>;

fn failed(error: impl Into<Error>) -> JsValue {
    failure(&error.into())
}
