//! What is between a request's bytes and a port, and back.

pub(crate) mod health;
pub(crate) mod observe;
pub(crate) mod sql;

mod answer;
mod body;
pub(crate) mod statement;

use axum::http::HeaderValue;

/// The type of everything that is answered.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
