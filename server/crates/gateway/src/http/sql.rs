//! `POST /v1/sql`: runs a statement.
//!
//! Checks go from cheap to dear: who asks, what the head says, whether there is room, the body,
//! its form; then the statement runs. It runs in a task of its own, and goes on when the client
//! has gone: a write that is proposed cannot be taken back, its answer is kept for whoever asks
//! again with its request id, and a port need not be right at every point where it could be
//! dropped. Its deadline and its place among the requests at once bound what that costs.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use protocol::error_code::ErrorCode;
use tokio::select;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};
use tracing::Instrument;

use super::observe::without_panic;
use super::statement::Statement;
use super::{JSON, answer, body};
use crate::auth::Caller;
use crate::error::Refusal;
use crate::gateway::{Gateway, Number};
use crate::limits::DEADLINE_GRACE;
use crate::ports::{SqlAnswer, SqlRequest};

pub(crate) async fn sql(
    State(gateway): State<Arc<Gateway>>,
    Extension(number): Extension<Number>,
    request: Request,
) -> Result<Response, Refusal> {
    let headers = request.headers();
    let caller = gateway.ports.key.caller(headers, gateway.ports.clock.now_seconds())?;
    body::check_type(headers)?;
    body::check_length(request.body(), &gateway.limits)?;
    let place = Arc::clone(&gateway.requests).try_acquire_owned().map_err(|_| {
        Refusal::overloaded("as many requests are under way as are allowed: ask again shortly")
    })?;
    let read = body::read(request.into_body(), &gateway.limits).await?;
    let span = tracing::info_span!("request", number = &*number.0);
    let work = async move {
        let run = without_panic(run(&gateway, caller, read));
        let json = run.await.unwrap_or_else(|_| Err(Refusal::internal()))?;
        Ok(Written { json, _place: place })
    };
    let written = tokio::spawn(work.instrument(span)).await.unwrap_or_else(|_| {
        // The runtime ends, and the process with it.
        Err(Refusal::internal())
    })?;
    Ok(([(CONTENT_TYPE, JSON)], Body::from(Bytes::from_owner(written))).into_response())
}

/// From the bytes of a body to those of the answer.
async fn run(gateway: &Gateway, caller: Caller, body: Vec<u8>) -> Result<Vec<u8>, Refusal> {
    let statement = Statement::parse(&body, &gateway.limits)?;
    drop(body);
    let deadline = Instant::now() + gateway.limits.statement_timeout;
    let Statement { sql, params, request_id } = statement;
    let request = SqlRequest { caller, sql, params, request_id, deadline };
    let answer = ask(gateway, request, deadline).await?;
    answer::encode(&answer).map_err(|_| {
        tracing::error!("an answer does not match its own columns: this is a defect, report it");
        Refusal::internal()
    })
}

/// Asks the port, for as long as somebody may wait for it.
pub(crate) async fn ask(
    gateway: &Gateway,
    request: SqlRequest,
    deadline: Instant,
) -> Result<SqlAnswer, Refusal> {
    let mut given_up = gateway.given_up.clone();
    select! {
        biased;
        answered = gateway.ports.sql.run(request) => Ok(answered?),
        () = sleep_until(deadline + DEADLINE_GRACE) => Err(Refusal::new(
            ErrorCode::Timeout,
            "the statement took too long: a read can be repeated, a write may have happened, so \
             repeat it with the same request_id",
        )),
        _ = given_up.wait_for(|given_up| *given_up) => Err(Refusal::new(
            ErrorCode::Timeout,
            "the server stops before the statement has ended: a write may have happened, so \
             repeat it with the same request_id when the server is back",
        )),
    }
}

/// The bytes of an answer. They keep their place among the requests at once until the operating
/// system has them, because until then they take memory.
struct Written {
    json: Vec<u8>,
    _place: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Written {
    fn as_ref(&self) -> &[u8] {
        &self.json
    }
}
