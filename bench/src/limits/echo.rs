//! A bare axum server that takes the same bytes and gives the same bytes.

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;

/// What it answers: as long as the answer to an INSERT.
const ANSWER: &str = r#"{"rows_affected":1,"positions":[{"lane":"user/u0","epoch":"00112233445566778899aabbccddeeff","seq":12345}]}"#;

/// Serves until it is ended.
pub(crate) fn serve() -> Result<()> {
    let answer = |body: Bytes| async move {
        drop(body);
        ([("content-type", "application/json")], ANSWER)
    };
    super::serve(Router::new().route("/v1/sql", post(answer)))
}
