use std::time::Duration;

use protocol::error_code::ErrorCode;
use thiserror::Error;

/// Why a statement has no result: a code to match on, and a sentence for people, which never has
/// another tenant's data or the inside of the server in it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct SqlError {
    /// The code.
    pub code: ErrorCode,
    /// The sentence.
    pub message: String,
    /// When to ask again, where that is known.
    pub retry_after: Option<Duration>,
}

impl SqlError {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidRequest, message)
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Unsupported, message)
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Forbidden, message)
    }

    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::TooLarge, message)
    }
}
