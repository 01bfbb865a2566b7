//! Messages to bytes and back.
//!
//! The format is MessagePack. A structure is a map with the names of its fields, so a reader
//! passes over fields that it does not know; a row is an array. Lengths are checked before
//! anything is allocated for them, and nesting before anything recurses.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::limits::CODEC_DEPTH_MAX;

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
    /// The bytes are no such message.
    #[error("the bytes are not a valid message: {reason}")]
    Malformed {
        /// What the decoder stumbled over.
        reason: String,
    },
}

/// The bytes of `message`.
///
/// # Panics
/// When `message` cannot be encoded at all, which no type of this crate does.
pub fn encode<T: Serialize + ?Sized>(message: &T) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "writing to memory does not fail")]
    rmp_serde::to_vec_named(message).expect("a message encodes")
}

/// The message that `bytes` are, if they are at most `bytes_max` long.
///
/// # Errors
/// [`DecodeError`]; nothing of a message that is refused has had an effect.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], bytes_max: usize) -> Result<T, DecodeError> {
    if bytes.len() > bytes_max {
        return Err(DecodeError::TooLarge { bytes: bytes.len(), bytes_max });
    }
    let mut rest = bytes;
    let mut decoder = rmp_serde::Deserializer::new(&mut rest);
    decoder.set_max_depth(CODEC_DEPTH_MAX);
    let message = T::deserialize(&mut decoder).map_err(|error| {
        let reason = error.to_string().chars().take(200).collect();
        DecodeError::Malformed { reason }
    })?;
    if rest.is_empty() { Ok(message) } else { Err(DecodeError::Trailing { bytes: rest.len() }) }
}
