//! A look at a message before it is decoded, without recursion: how deep it is nested, and whether
//! its text is UTF-8. The decoder itself recurses, and takes text that is not UTF-8 for bytes.
//!
//! The format is that of the MessagePack specification.

use super::Malformation;
use crate::limits::CODEC_DEPTH_MAX;

/// Walks over one message at the beginning of `bytes`.
///
/// # Errors
/// Where it stopped, in bytes, and why.
pub(super) fn walk(bytes: &[u8]) -> Result<(), (usize, Malformation)> {
    let mut walker = Walker { bytes, at: 0 };
    // How many elements are missing on each level that is open.
    let mut missing = [0_u64; CODEC_DEPTH_MAX];
    let mut depth = 0;
    loop {
        let elements = walker.element().map_err(|what| (walker.at, what))?;
        if elements > 0 {
            let level = missing.get_mut(depth).ok_or((walker.at, Malformation::Depth))?;
            *level = elements;
            depth += 1;
            continue;
        }
        // Something is whole; with it may be what it is the last element of.
        loop {
            let Some(level) = depth.checked_sub(1).and_then(|last| missing.get_mut(last)) else {
                return Ok(());
            };
            *level -= 1;
            if *level > 0 {
                break;
            }
            depth -= 1;
        }
    }
}

struct Walker<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Walker<'_> {
    /// Passes over one element, or over the head of one that has elements; says how many follow.
    fn element(&mut self) -> Result<u64, Malformation> {
        let marker = self.number(1)?;
        match marker {
            0x80..=0x8f => return Ok(2 * (marker & 0x0f)),
            0x90..=0x9f => return Ok(marker & 0x0f),
            0xa0..=0xbf => self.text(marker & 0x1f)?,
            0xc1 => return Err(Malformation::Type),
            0xc4..=0xc6 => {
                let length = self.number(1 << (marker - 0xc4))?;
                self.skip(length)?;
            }
            // An extension has its type, a byte, before its bytes.
            0xc7..=0xc9 => {
                let length = self.number(1 << (marker - 0xc7))?;
                self.skip(1 + length)?;
            }
            0xd4..=0xd8 => self.skip(1 + (1 << (marker - 0xd4)))?,
            0xca => self.skip(4)?,
            0xcb => self.skip(8)?,
            0xcc..=0xcf => self.skip(1 << (marker - 0xcc))?,
            0xd0..=0xd3 => self.skip(1 << (marker - 0xd0))?,
            0xd9..=0xdb => {
                let length = self.number(1 << (marker - 0xd9))?;
                self.text(length)?;
            }
            0xdc..=0xdd => return self.number(2 << (marker - 0xdc)),
            0xde..=0xdf => return Ok(2 * self.number(2 << (marker - 0xde))?),
            // nil, the booleans, and the small numbers are one byte.
            _ => {}
        }
        Ok(0)
    }

    fn number(&mut self, bytes: u64) -> Result<u64, Malformation> {
        Ok(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn text(&mut self, bytes: u64) -> Result<(), Malformation> {
        std::str::from_utf8(self.take(bytes)?).map(drop).map_err(|_| Malformation::Value)
    }

    fn skip(&mut self, bytes: u64) -> Result<(), Malformation> {
        self.take(bytes).map(drop)
    }

    fn take(&mut self, bytes: u64) -> Result<&[u8], Malformation> {
        let length = usize::try_from(bytes).map_err(|_| Malformation::Ends)?;
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = rest.get(..length).ok_or(Malformation::Ends)?;
        self.at += length;
        Ok(taken)
    }
}
