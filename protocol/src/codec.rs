//! Messages to bytes and back.
//!
//! The format is MessagePack. A structure is a map with the names of its fields, so a reader
//! passes over fields that it does not know; a row is an array. Lengths are checked before
//! anything is allocated for them, and nesting before anything recurses.
//!
//! One message has one encoding, the one that [`encode`] makes; the decoder takes some others of
//! MessagePack's too. So what is hashed or signed is what `encode` makes of a message that was
//! decoded, never the bytes as they arrived.

mod walk;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::bounded::OVER_LIMIT;
use crate::error_code::ErrorCode;

/// Bytes that are no message of the expected kind.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// More bytes than a message of this kind may have.
    #[error("the message has {bytes} bytes, at most {bytes_max} are accepted: send less at once")]
    TooLarge {
        /// What arrived, in bytes.
        bytes: usize,
        /// The limit, in bytes.
        bytes_max: usize,
    },
    /// Something follows the message.
    #[error("{bytes} bytes follow the message: send one message at a time")]
    Trailing {
        /// How many bytes.
        bytes: usize,
    },
    /// The bytes are no such message. What they are is not repeated: it may be a token.
    #[error("the bytes are no such message: at byte {at} {what}")]
    Malformed {
        /// How many bytes had been read.
        at: usize,
        /// What is wrong there.
        what: Malformation,
    },
}

/// What is wrong with bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Malformation {
    /// They end in the middle.
    #[error("the message ends early")]
    Ends,
    /// Something of another type is expected.
    #[error("is something of another type than expected")]
    Type,
    /// It is nested more than [`CODEC_DEPTH_MAX`](crate::limits::CODEC_DEPTH_MAX) levels deep.
    #[error("it is nested too deeply")]
    Depth,
    /// A list, a row or a pattern is longer than its limit.
    #[error("is something longer than its limit")]
    Limit,
    /// A value breaks a rule of its type, or a name is not known.
    #[error("is a value that is not allowed there, or an unknown name")]
    Value,
}

impl DecodeError {
    /// The code an application matches on.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::TooLarge { .. }
            | Self::Malformed { what: Malformation::Depth | Malformation::Limit, .. } => {
                ErrorCode::TooLarge
            }
            Self::Trailing { .. } | Self::Malformed { .. } => ErrorCode::InvalidRequest,
        }
    }
}

impl Malformation {
    fn of(error: &rmp_serde::decode::Error) -> Self {
        use rmp_serde::decode::Error;
        match error {
            Error::InvalidMarkerRead(_) | Error::InvalidDataRead(_) => Self::Ends,
            Error::TypeMismatch(_) => Self::Type,
            Error::Syntax(text) if text == OVER_LIMIT => Self::Limit,
            _ => Self::Value,
        }
    }
}

/// Room for most messages, so that few are moved while they grow.
const BYTES_EXPECTED: usize = 512;

/// The bytes of `message`.
///
/// # Panics
/// When `message` cannot be encoded at all, which no type of this crate does.
pub fn encode<T: Serialize + ?Sized>(message: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(BYTES_EXPECTED);
    let mut serializer = rmp_serde::Serializer::new(&mut bytes).with_struct_map();
    #[expect(clippy::expect_used, reason = "writing to memory does not fail")]
    message.serialize(&mut serializer).expect("a message encodes");
    bytes
}

/// The message that `bytes` are, if they are at most `bytes_max` long.
///
/// # Errors
/// [`DecodeError`]; nothing of a message that is refused has had an effect.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], bytes_max: usize) -> Result<T, DecodeError> {
    if bytes.len() > bytes_max {
        return Err(DecodeError::TooLarge { bytes: bytes.len(), bytes_max });
    }
    walk::walk(bytes).map_err(|(at, what)| DecodeError::Malformed { at, what })?;
    let mut rest = bytes;
    let mut decoder = rmp_serde::Deserializer::new(&mut rest);
    let decoded = T::deserialize(&mut decoder);
    let message = decoded.map_err(|error| DecodeError::Malformed {
        at: bytes.len() - rest.len(),
        what: Malformation::of(&error),
    })?;
    if rest.is_empty() { Ok(message) } else { Err(DecodeError::Trailing { bytes: rest.len() }) }
}
