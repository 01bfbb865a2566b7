//! How the server is, for whoever starts it, watches it or sends it load. Nobody needs a token for
//! it, so it tells nothing of the inside.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::JSON;
use crate::gateway::Gateway;
use crate::ports::Readiness;

const HEALTHY: &str = concat!(r#"{"status":"ok","version":""#, env!("CARGO_PKG_VERSION"), r#""}"#);

/// The process serves.
pub(crate) async fn health() -> Response {
    ([(CONTENT_TYPE, JSON)], HEALTHY).into_response()
}

/// The server can do its work.
pub(crate) async fn ready(State(gateway): State<Arc<Gateway>>) -> Response {
    let (status, text) = match gateway.ports.health.readiness() {
        Readiness::Ready => (StatusCode::OK, r#"{"status":"ready"}"#),
        Readiness::Starting => (StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"starting"}"#),
        Readiness::Failed => (StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"failed"}"#),
        Readiness::Stopping => (StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"stopping"}"#),
    };
    (status, [(CONTENT_TYPE, JSON)], text).into_response()
}
