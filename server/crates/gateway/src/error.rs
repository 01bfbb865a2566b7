//! Why there is no answer, and what is said instead.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use protocol::error_code::ErrorCode;
use protocol::frame::v1::Goodbye;
use serde::Serialize;
use thiserror::Error;

use crate::http::JSON;
use crate::limits::KEY_BYTES_MIN;

/// Why a statement has no answer. Both are sent to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlError {
    /// The code to match on.
    pub code: ErrorCode,
    /// A sentence that says what to do. It never has another tenant's data in it.
    pub message: String,
    /// When to ask again, where that is known.
    pub retry_after: Option<Duration>,
}

/// Why there is no [`SigningKey`](crate::SigningKey).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It could be guessed.
    #[error("the key has {bytes} bytes: use at least {KEY_BYTES_MIN} random ones")]
    Short {
        /// How many it has.
        bytes: usize,
    },
}

/// Why there are no [`Files`](crate::Files).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FilesError {
    /// What should be a folder is none, or cannot be read.
    #[error("the files in {} cannot be served: {error}", folder.display())]
    Folder {
        /// What was named.
        folder: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// What pages should be able to connect to is no origin.
    #[error("{given:?} is no origin: write it as https://host or wss://host:port")]
    Origin {
        /// What was given.
        given: String,
    },
}

/// A request that is refused, or has failed. It becomes a response without a body, which
/// `http/observe.rs` fills in when it knows the request's number.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: ErrorCode,
    message: Cow<'static, str>,
    retry_after: Option<Duration>,
    /// The rest of the request has not been read and shall not be.
    closes: bool,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        let (status, message) = (status(code), message.into());
        Self { status, code, message, retry_after: None, closes: false }
    }

    pub(crate) fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidRequest, message)
    }

    pub(crate) fn needs_auth(message: &'static str) -> Self {
        Self::new(ErrorCode::NeedsAuth, message)
    }

    pub(crate) fn internal() -> Self {
        Self::new(
            ErrorCode::Internal,
            "the server has a defect: its log has the details under this request's number, \
             please report it",
        )
    }

    pub(crate) fn overloaded(message: impl Into<Cow<'static, str>>) -> Self {
        let told = Self::new(ErrorCode::Overloaded, message);
        Self { retry_after: Some(crate::limits::RETRY_AFTER), ..told }
    }

    /// With the status that HTTP has for it, where that is not the one of the code.
    pub(crate) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    pub(crate) fn closing(self) -> Self {
        Self { closes: true, ..self }
    }

    pub(crate) fn code(&self) -> ErrorCode {
        self.code
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The same, on a live connection.
    pub(crate) fn goodbye(self) -> Goodbye {
        let millis = |after: Duration| u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        Goodbye {
            code: self.code,
            message: self.message.into_owned(),
            retry_after_ms: self.retry_after.map(millis),
        }
    }

    /// What the client gets. The headers that are there already stay.
    pub(crate) fn fill(&self, number: &str, response: &mut Response) {
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, JSON);
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.closes {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let seconds = self.retry_after.map_or(1, whole_seconds);
        if self.code == ErrorCode::Overloaded || self.retry_after.is_some() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        *response.status_mut() = self.status;
        *response.body_mut() = Body::from(self.json(number));
    }

    /// The body of the answer.
    pub(crate) fn json(&self, number: &str) -> Vec<u8> {
        let millis = |after: Duration| u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        let error = Described {
            code: self.code.as_str(),
            message: &self.message,
            documentation: self.code.documentation(),
            retry: self.code.may_retry(),
            retry_after_ms: self.retry_after.map(millis),
            request: number,
        };
        // Text and numbers always become JSON.
        serde_json::to_vec(&Answer { error }).unwrap_or_default()
    }
}

/// Seconds for a header that knows no smaller unit, never none at all.
fn whole_seconds(after: Duration) -> u64 {
    after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0)).max(1)
}

impl From<SqlError> for Refusal {
    fn from(error: SqlError) -> Self {
        Self { retry_after: error.retry_after, ..Self::new(error.code, error.message) }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    error: Described<'a>,
}

#[derive(Serialize)]
struct Described<'a> {
    code: &'a str,
    message: &'a str,
    documentation: String,
    retry: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    request: &'a str,
}

/// The status that goes with a code.
fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::NeedsAuth => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::AlreadyExists
        | ErrorCode::Conflict
        | ErrorCode::Constraint
        | ErrorCode::SchemaMismatch => StatusCode::CONFLICT,
        ErrorCode::InvalidRequest | ErrorCode::Unsupported => StatusCode::BAD_REQUEST,
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Quota => StatusCode::INSUFFICIENT_STORAGE,
        ErrorCode::Timeout => StatusCode::GATEWAY_TIMEOUT,
        // A code of later says nothing about whose fault it is.
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
