//! The body of a request, read within its bounds: what is beyond them is never in memory.

use std::future::poll_fn;
use std::pin::Pin;

use axum::body::{Body, HttpBody};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use protocol::error_code::ErrorCode;
use tokio::time::timeout;

use crate::error::Refusal;
use crate::limits::Limits;

/// What is reserved for a body on the word of its head alone, in bytes.
const RESERVED_BYTES_MAX: usize = 16 * 1024;

/// Refuses a body that is not JSON. This also keeps web pages out that have not asked first.
pub(super) fn check_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let named = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = named.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let told = "send the statement as JSON, with `Content-Type: application/json`";
        return Err(Refusal::invalid(told).with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        let told = "send the body as it is, without `Content-Encoding`";
        return Err(Refusal::invalid(told).with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    Ok(())
}

/// Refuses a body whose head says that it is too long.
pub(super) fn check_length(body: &Body, limits: &Limits) -> Result<(), Refusal> {
    let max = u64::try_from(limits.body_bytes_max).unwrap_or(u64::MAX);
    if body.size_hint().lower() > max { Err(too_large(limits)) } else { Ok(()) }
}

/// All of a body.
pub(super) async fn read(body: Body, limits: &Limits) -> Result<Vec<u8>, Refusal> {
    timeout(limits.body_read_timeout, read_all(body, limits)).await.unwrap_or_else(|_| {
        let told = format!(
            "the body was not there within {} ms: nothing has been run, send it again",
            limits.body_read_timeout.as_millis()
        );
        let refusal = Refusal::new(ErrorCode::Timeout, told);
        Err(refusal.with_status(StatusCode::REQUEST_TIMEOUT).closing())
    })
}

async fn read_all(mut body: Body, limits: &Limits) -> Result<Vec<u8>, Refusal> {
    let told = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut whole = Vec::with_capacity(told.min(RESERVED_BYTES_MAX));
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|_| {
            Refusal::invalid("the body ends in its middle or is not well-formed").closing()
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > limits.body_bytes_max - whole.len() {
            return Err(too_large(limits));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole)
}

fn too_large(limits: &Limits) -> Refusal {
    let max = limits.body_bytes_max;
    let told = format!("a body has at most {max} bytes: send the work in several requests");
    Refusal::new(ErrorCode::TooLarge, told).closing()
}
