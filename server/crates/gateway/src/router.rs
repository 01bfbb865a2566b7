//! Every route on one page.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Router, middleware};
use protocol::error_code::ErrorCode;

use crate::error::Refusal;
use crate::files;
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
        .fallback(other_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&gateway), observe))
        .with_state(gateway)
}

/// What is no path of the API is a file, where files are served.
async fn other_path(
    State(gateway): State<Arc<Gateway>>,
    request: Request,
) -> Result<Response, Refusal> {
    match &gateway.files {
        Some(files) => files.answer(request).await,
        None => Err(files::nothing()),
    }
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
