//! What can go wrong, for applications.

use protocol::error_code::ErrorCode;
use protocol::frame::v1::SqlFailed;
use sdk_machine::{AskError, Refusal};
use sdk_replica::ReplicaError;
use thiserror::Error;

use crate::sync::Unsynced;

/// Why something was not done. The text is a sentence for people; match on [`Error::code`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// The client is closed.
    #[error("the client is closed: open another one")]
    Closed,
    /// A setting cannot be.
    #[error("{0}")]
    Config(String),
    /// The server has said so.
    #[error("{message}")]
    Server {
        /// What to match on.
        code: ErrorCode,
        /// What is wrong and what to do.
        message: String,
        /// When to ask again, in milliseconds, where the server has said so.
        retry_after_ms: Option<u64>,
    },
    /// No answer came in time.
    #[error("{0}")]
    Timeout(&'static str),
    /// Not all was here and decided in time.
    #[error("{0}")]
    Unsynced(Box<Unsynced>),
    /// What was asked for cannot be sent.
    #[error("{message}")]
    Asked {
        /// What to match on.
        code: ErrorCode,
        /// What is wrong and what to do.
        message: String,
    },
    /// The replica on this device has said so.
    #[error("{message}")]
    Replica {
        /// What to match on.
        code: ErrorCode,
        /// What is wrong and what to do.
        message: String,
    },
    /// What was named as the key of a watch is none: the query gives no such column, or two rows with
    /// the same values in them.
    #[error("{0}")]
    Key(String),
    /// A value is not what was asked for.
    #[error("{0}")]
    Value(String),
}

impl Error {
    /// The code to match on, the same in every SDK.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Closed | Self::Config(_) | Self::Key(_) | Self::Value(_) => {
                ErrorCode::InvalidRequest
            }
            Self::Timeout(_) | Self::Unsynced(_) => ErrorCode::Timeout,
            Self::Server { code, .. } | Self::Asked { code, .. } | Self::Replica { code, .. } => {
                *code
            }
        }
    }

    /// Where the code is explained.
    pub fn documentation(&self) -> String {
        self.code().documentation()
    }
}

impl From<ReplicaError> for Error {
    fn from(error: ReplicaError) -> Self {
        Self::Replica { code: error.code(), message: error.to_string() }
    }
}

impl From<AskError> for Error {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Closed => Self::Closed,
            error => Self::Asked { code: error.code(), message: error.to_string() },
        }
    }
}

impl From<SqlFailed> for Error {
    fn from(failed: SqlFailed) -> Self {
        let SqlFailed { code, message, retry_after_ms } = failed;
        Self::Server { code, message, retry_after_ms }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let Refusal { code, message } = refusal;
        Self::Server { code, message, retry_after_ms: None }
    }
}
