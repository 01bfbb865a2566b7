//! Every route on one page.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::routing::{get, post};
use axum::{Router, middleware};
use protocol::error_code::ErrorCode;

use crate::error::Refusal;
use crate::gateway::Gateway;
use crate::http::health::{health, ready};
use crate::http::observe::observe;
use crate::http::sql::sql;
use crate::socket::upgrade::sync;

pub(crate) fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/v1/sql", post(sql))
        .route("/v1/sync", get(sync))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&gateway), observe))
        .with_state(gateway)
}

async fn unknown_path(State(_): State<Arc<Gateway>>) -> Refusal {
    Refusal::new(
        ErrorCode::NotFound,
        "there is nothing at this path: POST /v1/sql runs a statement, GET /v1/sync is a live \
         connection, GET /health and GET /ready tell how the server is",
    )
}

/// The header `Allow`, which says which one is right, comes from the router.
async fn wrong_method(method: Method) -> Refusal {
    let told = if method == Method::OPTIONS {
        "requests of web pages from another origin are not offered: put the page and the server \
         behind one origin"
    } else {
        "this path has another method: the header Allow names it"
    };
    Refusal::new(ErrorCode::Unsupported, told).with_status(StatusCode::METHOD_NOT_ALLOWED)
}
