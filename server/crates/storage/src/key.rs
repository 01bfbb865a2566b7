//! Keys whose order as bytes is the order of what they are made of.
//!
//! A key is a sequence of parts. Every part says where it ends, either by its fixed size or by a
//! mark that sorts before anything else that could follow, so parts never run into each other and
//! a key that is a prefix of others selects exactly those.
//!
//! | part | bytes |
//! | --- | --- |
//! | unsigned | big-endian |
//! | signed | big-endian, sign bit flipped |
//! | floating-point | IEEE 754 bits; all flipped where negative, else the sign bit |
//! | text | UTF-8, then `00`; U+0000 is in no text |
//! | bytes | `00` becomes `00 ff`, then `00 01` |

use thiserror::Error;

/// Builds a key part by part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyWriter {
    key: Vec<u8>,
}

/// Takes a key apart, in the order in which it was built.
#[derive(Clone, Copy, Debug)]
pub struct KeyReader<'a> {
    rest: &'a [u8],
}

/// A key that was not built the way it is read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a stored key is not made as it should be")]
pub struct KeyError;

const BYTES_ESCAPE: u8 = 0xff;
const BYTES_END: u8 = 0x01;

impl KeyWriter {
    /// An empty key.
    pub fn new() -> Self {
        // What most keys take, so that they grow in place.
        Self { key: Vec::with_capacity(64) }
    }

    /// Appends one byte.
    #[must_use]
    pub fn u8(mut self, number: u8) -> Self {
        self.key.push(number);
        self
    }

    /// Appends a 16-bit number.
    #[must_use]
    pub fn u16(mut self, number: u16) -> Self {
        self.key.extend(number.to_be_bytes());
        self
    }

    /// Appends a 32-bit number.
    #[must_use]
    pub fn u32(mut self, number: u32) -> Self {
        self.key.extend(number.to_be_bytes());
        self
    }

    /// Appends a 64-bit number.
    #[must_use]
    pub fn u64(mut self, number: u64) -> Self {
        self.key.extend(number.to_be_bytes());
        self
    }

    /// Appends a signed 64-bit number.
    #[must_use]
    pub fn i64(self, number: i64) -> Self {
        self.u64(number.cast_unsigned() ^ (1 << 63))
    }

    /// Appends a floating-point number.
    ///
    /// # Panics
    /// For NaN, which has no order.
    #[must_use]
    pub fn f64(self, number: f64) -> Self {
        assert!(!number.is_nan(), "NaN has no order");
        let bits = number.to_bits();
        self.u64(if number.is_sign_negative() { !bits } else { bits ^ (1 << 63) })
    }

    /// Appends 16 bytes.
    #[must_use]
    pub fn array(mut self, bytes: &[u8; 16]) -> Self {
        self.key.extend(bytes);
        self
    }

    /// Appends a text.
    ///
    /// # Panics
    /// When U+0000 is in it, which would end it early.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        assert!(!text.contains('\0'), "U+0000 is in no text");
        self.key.extend(text.as_bytes());
        self.key.push(0);
        self
    }

    /// Appends bytes of any length.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        for byte in bytes {
            self.key.push(*byte);
            if *byte == 0 {
                self.key.push(BYTES_ESCAPE);
            }
        }
        self.key.extend([0, BYTES_END]);
        self
    }

    /// Appends parts that another writer has built.
    #[must_use]
    pub fn parts(mut self, parts: &[u8]) -> Self {
        self.key.extend(parts);
        self
    }

    /// The key.
    pub fn finish(self) -> Vec<u8> {
        self.key
    }
}

impl<'a> KeyReader<'a> {
    /// Reads `key` from its beginning.
    pub fn new(key: &'a [u8]) -> Self {
        Self { rest: key }
    }

    /// Takes one byte.
    ///
    /// # Errors
    /// Here and below: [`KeyError`] when no such part follows.
    pub fn u8(&mut self) -> Result<u8, KeyError> {
        self.take().map(u8::from_be_bytes)
    }

    /// Takes a 16-bit number.
    ///
    /// # Errors
    /// See [`KeyReader::u8`].
    pub fn u16(&mut self) -> Result<u16, KeyError> {
        self.take().map(u16::from_be_bytes)
    }

    /// Takes a 32-bit number.
    ///
    /// # Errors
    /// See [`KeyReader::u8`].
    pub fn u32(&mut self) -> Result<u32, KeyError> {
        self.take().map(u32::from_be_bytes)
    }

    /// Takes a 64-bit number.
    ///
    /// # Errors
    /// See [`KeyReader::u8`].
    pub fn u64(&mut self) -> Result<u64, KeyError> {
        self.take().map(u64::from_be_bytes)
    }

    /// Takes a signed 64-bit number.
    ///
    /// # Errors
    /// See [`KeyReader::u8`].
    pub fn i64(&mut self) -> Result<i64, KeyError> {
        self.u64().map(|bits| (bits ^ (1 << 63)).cast_signed())
    }

    /// Takes a floating-point number.
    ///
    /// # Errors
    /// See [`KeyReader::u8`].
    pub fn f64(&mut self) -> Result<f64, KeyError> {
        let bits = self.u64()?;
        Ok(f64::from_bits(if bits >> 63 == 1 { bits ^ (1 << 63) } else { !bits }))
    }

    /// Takes 16 bytes.
    ///
    /// # Errors
    /// See [`KeyReader::u8`].
    pub fn array(&mut self) -> Result<[u8; 16], KeyError> {
        self.take()
    }

    /// Takes a text.
    ///
    /// # Errors
    /// See [`KeyReader::u8`].
    pub fn text(&mut self) -> Result<&'a str, KeyError> {
        let end = self.rest.iter().position(|byte| *byte == 0).ok_or(KeyError)?;
        let text = std::str::from_utf8(&self.rest[..end]).map_err(|_| KeyError)?;
        self.rest = &self.rest[end + 1..];
        Ok(text)
    }

    /// Takes bytes of any length.
    ///
    /// # Errors
    /// See [`KeyReader::u8`].
    pub fn bytes(&mut self) -> Result<Vec<u8>, KeyError> {
        let mut bytes = Vec::new();
        loop {
            match self.u8()? {
                0 => match self.u8()? {
                    BYTES_END => return Ok(bytes),
                    BYTES_ESCAPE => bytes.push(0),
                    _ => return Err(KeyError),
                },
                byte => bytes.push(byte),
            }
        }
    }

    /// What has not been taken.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`KeyError`] when something is left.
    pub fn finish(self) -> Result<(), KeyError> {
        if self.rest.is_empty() { Ok(()) } else { Err(KeyError) }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], KeyError> {
        let (part, rest) = self.rest.split_first_chunk::<N>().ok_or(KeyError)?;
        self.rest = rest;
        Ok(*part)
    }
}
