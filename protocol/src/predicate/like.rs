use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::LIKE_PATTERN_BYTES_MAX;

/// A `LIKE` pattern: `%` stands for any text, `_` for one character (a Unicode scalar value), and
/// `\` before one of `%`, `_`, `\` for that character itself. Case matters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LikePattern {
    text: String,
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
    /// A `\` before anything but `%`, `_`, `\`.
    #[error("in a LIKE pattern \\ stands before %, _ or \\: write \\\\ for a \\ itself")]
    Escape,
    /// U+0000, which no text contains.
    #[error("a LIKE pattern must not contain U+0000")]
    Nul,
}

/// One element of a pattern.
#[derive(Clone, Copy, PartialEq)]
enum Element {
    AnyText,
    AnyCharacter,
    Character(char),
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
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            if character == '\\' && !matches!(characters.next(), Some('%' | '_' | '\\')) {
                return Err(LikePatternError::Escape);
            }
        }
        Ok(Self { text })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether all of `text` fits the pattern.
    ///
    /// Matching is greedy with one place to come back to: only the last `%` can need more
    /// characters, since an earlier one has already found its shortest fit. So it takes at most
    /// pattern × text steps (the usual iterative wildcard match; see Kirk J. Krauss, "Matching
    /// Wildcards: An Algorithm", 2008).
    pub fn matches(&self, text: &str) -> bool {
        let mut pattern = self.text.as_str();
        let mut rest = text;
        let mut retry: Option<(&str, &str)> = None;
        loop {
            let fits = match next_element(pattern) {
                Some((Element::AnyText, behind)) => {
                    pattern = behind;
                    retry = Some((behind, rest));
                    continue;
                }
                Some((element, behind)) => {
                    let mut characters = rest.chars();
                    let character = characters.next();
                    let fits = match element {
                        Element::Character(wanted) => character == Some(wanted),
                        _ => character.is_some(),
                    };
                    if fits {
                        pattern = behind;
                        rest = characters.as_str();
                        continue;
                    }
                    false
                }
                None => rest.is_empty(),
            };
            if fits {
                return true;
            }
            // Let the last `%` take one character more.
            let Some((behind, from)) = retry else { return false };
            let mut characters = from.chars();
            if characters.next().is_none() {
                return false;
            }
            pattern = behind;
            rest = characters.as_str();
            retry = Some((behind, rest));
        }
    }
}

/// The first element of a valid pattern, and the pattern behind it.
fn next_element(pattern: &str) -> Option<(Element, &str)> {
    let mut characters = pattern.chars();
    let element = match characters.next()? {
        '%' => Element::AnyText,
        '_' => Element::AnyCharacter,
        '\\' => Element::Character(characters.next()?),
        other => Element::Character(other),
    };
    Some((element, characters.as_str()))
}

impl TryFrom<String> for LikePattern {
    type Error = LikePatternError;

    fn try_from(text: String) -> Result<Self, LikePatternError> {
        Self::new(text)
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
            ("%", "anything\nat all"),
            ("abc", "abc"),
            ("a%", "abc"),
            ("%c", "abc"),
            ("%b%", "abc"),
            ("a%b%c", "a1b2b3c"),
            ("_b_", "abc"),
            ("_", "😀"),
            ("%_", "x"),
            ("%%%", "x"),
            ("\\%", "%"),
            ("\\_\\\\", "_\\"),
            ("%ab%ab", "abab"),
            ("%aab", "aaaab"),
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
        assert!(LikePattern::new("%".repeat(1024)).is_ok());
        assert_eq!(LikePattern::new("%".repeat(1025)), Err(LikePatternError::Long { bytes: 1025 }));
    }
}
