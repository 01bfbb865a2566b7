//! The bounds of the live engine, and what happens at each.

use server_engine::CatchUpLimits;

/// What a worker may use. The values of [`Settings::default`] are those of a server; tests make
/// them small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many bytes may wait for a connection. A commit that does not fit makes its feed lagging:
    /// it goes on from storage when half of them have gone out.
    pub queue_bytes_max: usize,
    /// How many commits a held feed keeps until its read is done. One more, and what was read is of
    /// less use: a batch is dropped, a resume needs another round.
    pub held_commits_max: usize,
    /// Most rows of one batch of a load.
    pub batch_rows_max: u32,
    /// About how many bytes of rows one batch has.
    pub batch_bytes_max: usize,
    /// How many rows one batch looks at, so that a predicate that meets few gives the snapshot back.
    pub batch_examined_max: usize,
    /// The most of one piece of a resume.
    pub piece: CatchUpLimits,
    /// A resume that has read more changes than this, and than a quarter of the rows that its
    /// subscriptions lie in, becomes a load: a load goes on where it was cut, and so always ends.
    pub resume_changes_max: usize,
    /// A resume that was cut so often becomes a load.
    pub resume_cuts_max: u8,
    /// Most subscriptions of one connection; the next one is refused.
    pub subscriptions_max: usize,
    /// Most lanes of one connection; a subscription in a further one is refused.
    pub lanes_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            queue_bytes_max: 4 << 20,
            held_commits_max: 1024,
            batch_rows_max: 2_000,
            batch_bytes_max: 256 << 10,
            batch_examined_max: 20_000,
            piece: CatchUpLimits { changes: 2_000, bytes: 256 << 10 },
            resume_changes_max: 20_000,
            resume_cuts_max: 2,
            subscriptions_max: protocol::limits::CONNECTION_SUBSCRIPTIONS_MAX,
            lanes_max: protocol::limits::CONNECTION_LANES_MAX,
        }
    }
}

/// Most values by which one query is found through an equality. One with more is tried for every
/// change of its partition.
pub(crate) const HASHED_VALUES_MAX: usize = 32;
