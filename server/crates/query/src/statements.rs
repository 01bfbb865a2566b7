//! Statements as they were parsed, by their text: an application sends a few texts again and again,
//! and parsing one costs more than running it.

use std::fmt;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::limits::{STATEMENT_BYTES_KEPT_MAX, STATEMENTS_BYTES_MAX};
use crate::statement::Parsed;

/// About how many bytes a parsed statement takes for each byte of its text.
const BYTES_PER_BYTE: u64 = 256;

/// How many statements are expected, which is no limit.
const EXPECTED: usize = 256;

/// The statements that are kept. What they mean depends on nothing but their text: tables, rights
/// and parameters are looked at when they run.
pub(crate) struct Statements(Cache<Box<str>, Arc<Parsed>, Bytes>);

#[derive(Clone)]
struct Bytes;

impl Weighter<Box<str>, Arc<Parsed>> for Bytes {
    fn weight(&self, text: &Box<str>, _: &Arc<Parsed>) -> u64 {
        1_024 + BYTES_PER_BYTE * text.len() as u64
    }
}

impl Statements {
    pub(crate) fn new() -> Self {
        Self(Cache::with_weighter(EXPECTED, STATEMENTS_BYTES_MAX, Bytes))
    }

    /// The statement that this text is, if it is kept.
    pub(crate) fn get(&self, text: &str) -> Option<Arc<Parsed>> {
        self.0.get(text)
    }

    /// Keeps a statement, and lets go of those that are asked for least.
    pub(crate) fn keep(&self, text: &str, parsed: &Arc<Parsed>) {
        // Longer ones have their values in them, and are not sent again.
        if text.len() <= STATEMENT_BYTES_KEPT_MAX {
            self.0.insert(text.into(), Arc::clone(parsed));
        }
    }
}

impl fmt::Debug for Statements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statements").field("bytes", &self.0.weight()).finish_non_exhaustive()
    }
}
