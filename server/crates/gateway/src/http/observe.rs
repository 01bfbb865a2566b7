//! What surrounds every request: its number, the end of a panic, and the log.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use protocol::error_code::ErrorCode;

use crate::error::Refusal;
use crate::gateway::{Gateway, Number};

/// Gives the request its number, and an error the body and the line in the log that name it.
pub(crate) async fn observe(
    State(gateway): State<Arc<Gateway>>,
    mut request: Request,
    next: Next,
) -> Response {
    let number = gateway.numbers.next();
    request.extensions_mut().insert(number.clone());
    let answered = without_panic(next.run(request)).await;
    let mut response = answered.unwrap_or_else(|_| Refusal::internal().into_response());
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        note(&refusal, &number);
        refusal.fill(&number.0, &mut response);
    }
    response
}

/// Writes down a request without an answer. The sentence is for who asked: it may quote SQL.
fn note(refusal: &Refusal, number: &Number) {
    let (request, code, status) = (&*number.0, refusal.code(), refusal.status().as_u16());
    if refusal.code() == ErrorCode::Internal {
        tracing::error!(request, %code, status, "a request has failed: this is a defect");
    } else if refusal.status().is_server_error() {
        tracing::warn!(request, %code, status, "a request has failed");
    } else {
        tracing::debug!(request, %code, status, "a request was refused");
    }
}

/// A panic happened, and the panic hook has told about it.
pub(crate) struct Panicked;

/// Runs `work`. A panic ends it, and nothing else: what it held is dropped, and no lock of ours is
/// held across it.
pub(crate) async fn without_panic<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut work = pin!(work);
    poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context)));
        polled.map_or_else(|_| Poll::Ready(Err(Panicked)), |poll| poll.map(Ok))
    })
    .await
    .inspect_err(|_| tracing::error!("a request's handler panicked: this is a defect, report it"))
}
