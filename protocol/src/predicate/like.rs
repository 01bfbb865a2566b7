use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use crate::bounded::OVER_LIMIT;
use crate::error_code::ErrorCode;
use crate::limits::{LIKE_PATTERN_BYTES_MAX, LIKE_SEGMENT_CHARACTERS_MAX};

/// A `LIKE` pattern: `%` stands for any text, `_` for one character (a Unicode scalar value), and
/// `\` before one of `%`, `_`, `\` for that character itself. Case matters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(into = "String")]
pub struct LikePattern {
    text: String,
    /// What lies between the `%`, in order; empty ones in the middle are left out.
    segments: Vec<Segment>,
    /// Whether the pattern begins, and ends, with `%`.
    open_start: bool,
    open_end: bool,
}

/// Text that is no pattern. What engines disagree about is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LikePatternError {
    /// It is longer than [`LIKE_PATTERN_BYTES_MAX`].
    #[error("a LIKE pattern has at most {LIKE_PATTERN_BYTES_MAX} bytes, this one {bytes}")]
    Long {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A part with `_` in it is longer than [`LIKE_SEGMENT_CHARACTERS_MAX`].
    #[error(
        "between two % of a LIKE pattern are at most {LIKE_SEGMENT_CHARACTERS_MAX} characters \
         where one of them is _"
    )]
    LongSegment,
    /// A `\` before anything but `%`, `_`, `\`.
    #[error("in a LIKE pattern \\ stands before %, _ or \\: write \\\\ for a \\ itself")]
    Escape,
    /// U+0000, which no text contains.
    #[error("a LIKE pattern must not contain U+0000")]
    Nul,
}

/// What a pattern asks for without a gap.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Segment {
    /// This very text.
    Literal(String),
    /// These characters, where `None` is any one.
    Masked(Vec<Option<char>>),
}

impl LikePattern {
    /// Accepts `text` as a pattern.
    ///
    /// # Errors
    /// [`LikePatternError`].
    pub fn new(text: impl Into<String>) -> Result<Self, LikePatternError> {
        let text = text.into();
        if text.len() > LIKE_PATTERN_BYTES_MAX {
            return Err(LikePatternError::Long { bytes: text.len() });
        }
        if text.contains('\0') {
            return Err(LikePatternError::Nul);
        }
        let mut parts = vec![Vec::new()];
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            let element = match character {
                '%' => {
                    parts.push(Vec::new());
                    continue;
                }
                '_' => None,
                '\\' => match characters.next() {
                    Some(escaped @ ('%' | '_' | '\\')) => Some(escaped),
                    _ => return Err(LikePatternError::Escape),
                },
                other => Some(other),
            };
            if let Some(part) = parts.last_mut() {
                part.push(element);
            }
        }
        let is_open = |part: Option<&Vec<_>>| parts.len() > 1 && part.is_some_and(Vec::is_empty);
        let (open_start, open_end) = (is_open(parts.first()), is_open(parts.last()));
        let filled = parts.into_iter().filter(|part| !part.is_empty());
        let segments = filled.map(Segment::new).collect::<Result<_, _>>()?;
        Ok(Self { text, segments, open_start, open_end })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether all of `text` fits the pattern.
    ///
    /// The first and the last part are held against the ends of the text; each part between is
    /// taken where it first fits, which leaves the most room for those behind it. So every
    /// character of the text is looked at a bounded number of times, whatever the pattern.
    pub fn matches(&self, text: &str) -> bool {
        let mut rest = text;
        let mut middle = self.segments.as_slice();
        if !self.open_start {
            let Some((first, others)) = middle.split_first() else { return rest.is_empty() };
            let Some(behind) = first.strip_from_start(rest) else { return false };
            (rest, middle) = (behind, others);
            if middle.is_empty() && !self.open_end {
                // The only part reaches from end to end, unless a % lies behind it.
                return rest.is_empty();
            }
        }
        if !self.open_end
            && let Some((last, others)) = middle.split_last()
        {
            let Some(before) = last.strip_from_end(rest) else { return false };
            (rest, middle) = (before, others);
        }
        middle.iter().all(|segment| match segment.behind_first_fit(rest) {
            Some(behind) => {
                rest = behind;
                true
            }
            None => false,
        })
    }
}

impl LikePatternError {
    /// The code an application matches on.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Long { .. } | Self::LongSegment => ErrorCode::TooLarge,
            Self::Escape | Self::Nul => ErrorCode::InvalidRequest,
        }
    }
}

impl Segment {
    fn new(elements: Vec<Option<char>>) -> Result<Self, LikePatternError> {
        if let Some(literal) = elements.iter().copied().collect::<Option<String>>() {
            return Ok(Self::Literal(literal));
        }
        if elements.len() > LIKE_SEGMENT_CHARACTERS_MAX {
            return Err(LikePatternError::LongSegment);
        }
        Ok(Self::Masked(elements))
    }

    fn strip_from_start<'text>(&self, text: &'text str) -> Option<&'text str> {
        match self {
            Self::Literal(literal) => text.strip_prefix(literal.as_str()),
            Self::Masked(elements) => {
                let mut characters = text.chars();
                let fits = elements.iter().all(|element| fits(*element, characters.next()));
                fits.then_some(characters.as_str())
            }
        }
    }

    fn strip_from_end<'text>(&self, text: &'text str) -> Option<&'text str> {
        match self {
            Self::Literal(literal) => text.strip_suffix(literal.as_str()),
            Self::Masked(elements) => {
                let mut characters = text.chars();
                let fits =
                    elements.iter().rev().all(|element| fits(*element, characters.next_back()));
                fits.then_some(characters.as_str())
            }
        }
    }

    /// What lies behind the first place where this part fits.
    ///
    /// Literal text is found by the standard library's two-way search, in linear time. Otherwise
    /// bit i of `state` says that the last i + 1 characters fit the first i + 1 elements, so one
    /// shift takes all beginnings a character further (the Shift-And algorithm: R. Baeza-Yates and
    /// G. Gonnet, "A New Approach to Text Searching", 1992).
    fn behind_first_fit<'text>(&self, text: &'text str) -> Option<&'text str> {
        let elements = match self {
            Self::Literal(literal) => {
                return text.split_once(literal.as_str()).map(|(_, rest)| rest);
            }
            Self::Masked(elements) => elements,
        };
        let mask_of = |wanted: Option<char>| -> u64 {
            let fitting = (0..).zip(elements).filter(|(_, element)| fits(**element, wanted));
            fitting.map(|(bit, _)| 1 << bit).sum()
        };
        let mut named: Vec<char> = elements.iter().copied().flatten().collect();
        named.sort_unstable();
        named.dedup();
        let masks: Vec<u64> = named.iter().map(|character| mask_of(Some(*character))).collect();
        // Of a character that no element names, only the places of `_` fit.
        let mask_of_others =
            (0..).zip(elements).filter(|(_, e)| e.is_none()).map(|(bit, _)| 1_u64 << bit).sum();
        let last = 1_u64 << (elements.len() - 1);
        let mut state = 0_u64;
        for (position, character) in text.char_indices() {
            let place = named.binary_search(&character);
            state = ((state << 1) | 1) & place.map_or(mask_of_others, |place| masks[place]);
            if state & last != 0 {
                return Some(&text[position + character.len_utf8()..]);
            }
        }
        None
    }
}

fn fits(element: Option<char>, character: Option<char>) -> bool {
    character.is_some() && (element.is_none() || element == character)
}

impl<'de> Deserialize<'de> for LikePattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(|error| match error.code() {
            ErrorCode::TooLarge => D::Error::custom(OVER_LIMIT),
            _ => D::Error::custom(error),
        })
    }
}

impl From<LikePattern> for String {
    fn from(pattern: LikePattern) -> Self {
        pattern.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_matches_all_of_the_text_and_case_matters() {
        let yes = [
            ("", ""),
            ("%", ""),
            ("%%", ""),
            ("%", "anything\nat all"),
            ("abc", "abc"),
            ("a%", "abc"),
            ("%c", "abc"),
            ("%b%", "abc"),
            ("a%b%c", "a1b2b3c"),
            ("_b_", "abc"),
            ("_", "😀"),
            ("%_", "x"),
            ("_%", "x"),
            ("%%%", "x"),
            ("\\%", "%"),
            ("\\_\\\\", "_\\"),
            ("%ab%ab", "abab"),
            ("%aab", "aaaab"),
            ("%a_b%", "aaxaab"),
            ("%_😀_%", "é😀é"),
            ("a%a", "aa"),
            ("%__%_", "xyz"),
        ];
        let no = [
            ("", "a"),
            ("ABC", "abc"),
            ("a%", "ba"),
            ("_", ""),
            ("_", "ab"),
            ("\\%", "a"),
            ("%ab%ab", "ab"),
            ("%_b", "b"),
            ("é", "e\u{301}"),
            ("a%a", "a"),
            ("ab%ba", "aba"),
            ("%__%_", "xy"),
        ];
        for (pattern, text) in yes {
            assert!(LikePattern::new(pattern).unwrap().matches(text), "{pattern:?} {text:?}");
        }
        for (pattern, text) in no {
            assert!(!LikePattern::new(pattern).unwrap().matches(text), "{pattern:?} {text:?}");
        }
    }

    #[test]
    fn what_engines_read_differently_is_refused() {
        for pattern in ["\\", "a\\", "\\a", "%\\"] {
            assert_eq!(LikePattern::new(pattern), Err(LikePatternError::Escape), "{pattern:?}");
        }
        assert_eq!(LikePattern::new("\0"), Err(LikePatternError::Nul));
    }

    #[test]
    fn a_pattern_keeps_within_what_is_matched_in_linear_time() {
        let long = LikePattern::new("%".repeat(1025));
        assert_eq!(long, Err(LikePatternError::Long { bytes: 1025 }));
        assert!(LikePattern::new("a".repeat(1024)).is_ok());
        assert_eq!(LikePattern::new("_".repeat(65)), Err(LikePatternError::LongSegment));
        let full = LikePattern::new(format!("%{}_%{}_%", "a".repeat(63), "b".repeat(63))).unwrap();
        assert!(full.matches(&format!("{}xy{}z", "a".repeat(70), "b".repeat(63))));
        assert!(!full.matches(&format!("{}xy{}", "a".repeat(70), "b".repeat(63))));
    }
}
