//! For tests that run in a browser: the files of the origin, and what a panic says.

use std::cell::RefCell;
use std::panic;
use std::sync::Arc;

use sdk_core::ports::Pool;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::files;

thread_local! {
    static POOL: RefCell<Option<Arc<dyn Pool>>> = const { RefCell::new(None) };
}

/// Opens the files in a directory of the origin, and adds to them where few are free. From then on, what
/// panics throws its message: nothing of this wasm may be called any more.
///
/// # Errors
/// The files cannot be used.
#[wasm_bindgen(js_name = openTestFiles)]
pub async fn open_test_files(directory: String) -> Result<(), JsValue> {
    panic::set_hook(Box::new(|panic| wasm_bindgen::throw_str(&panic.to_string())));
    let pool = files::open(&directory, None).await;
    POOL.set(Some(pool.map_err(|error| JsValue::from_str(&error.to_string()))?));
    Ok(())
}

/// The files, once they are open.
///
/// # Panics
/// They are not.
pub fn pool() -> Arc<dyn Pool> {
    POOL.with_borrow(|pool| pool.clone().expect("the files of the origin are open"))
}
