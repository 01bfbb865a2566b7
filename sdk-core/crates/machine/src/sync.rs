//! Questions where the server is, as the machine has them in memory.

use std::collections::BTreeMap;

use crate::time::Millis;

/// Numbers the questions of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SyncId(pub u64);

/// All questions that somebody waits for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Syncs {
    pub(crate) open: BTreeMap<SyncId, Asked>,
    pub(crate) last: u64,
}

/// How it is with a question, on this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Not yet.
    Not,
    /// It is under way.
    Sent,
    /// The server did not know. To be put again then.
    Again(Millis),
    /// It is answered.
    Answered,
}

impl Syncs {
    /// Another connection begins.
    pub(crate) fn begin_anew(&mut self) {
        self.open.values_mut().for_each(|asked| *asked = Asked::Not);
    }

    /// When one is to be put again.
    pub(crate) fn again_at(&self) -> Option<Millis> {
        let at = |asked: &Asked| match asked {
            Asked::Again(at) => Some(*at),
            _ => None,
        };
        self.open.values().filter_map(at).min()
    }
}
