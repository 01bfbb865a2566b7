use crate::limits::JOINED_ROWS_MAX;

/// How SQL is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What tells this node apart in `SNOWFLAKE_ID()`; 10 bits of it are used.
    pub node: u64,
    /// Bytes that all SELECTs together may take while they sort, join and group.
    pub memory_bytes_max: usize,
    /// Most SELECTs that run at the same time; the next ones wait.
    pub selects_max: usize,
    /// Most rows that all joins of a SELECT make together.
    pub joined_rows_max: usize,
    /// Most rows of an answer.
    pub answer_rows_max: usize,
    /// Most bytes of the values of an answer.
    pub answer_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            node: 0,
            memory_bytes_max: 256 * 1024 * 1024,
            selects_max: 32,
            joined_rows_max: JOINED_ROWS_MAX,
            answer_rows_max: 100_000,
            answer_bytes_max: 8 * 1024 * 1024,
        }
    }
}
