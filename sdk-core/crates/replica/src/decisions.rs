//! How writes were decided that had a request: whoever asked for one and was not told finds it here.

use protocol::codec;
use protocol::ids::SeqId;
use protocol::limits::COMMIT_BYTES_MAX;
use protocol::mutation::Rejection;
use rusqlite::types::Value as Sqlite;
use rusqlite::{OptionalExtension, params};
use sdk_machine::{MutationId, Settled};

use crate::error::ReplicaError;
use crate::replica::Replica;

/// How many are kept: the last ones.
pub const DECISIONS_MAX: i64 = 1_000;

/// How a write was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It has happened. Where its lane was right after it.
    Accepted(SeqId),
    /// It has not.
    Rejected(Rejection),
    /// Nobody knows whether it has.
    Uncertain,
    /// It was taken back.
    Cancelled,
    /// It was not to wait for a connection, and there was none.
    Offline,
    /// Its rows had a time to live, which has passed.
    Expired,
}

/// Those that are stored as a word.
const WORDS: [(&str, Decision); 4] = [
    ("uncertain", Decision::Uncertain),
    ("cancelled", Decision::Cancelled),
    ("offline", Decision::Offline),
    ("expired", Decision::Expired),
];

impl From<&Settled> for Decision {
    fn from(settled: &Settled) -> Self {
        match settled {
            Settled::Accepted(seq) => Self::Accepted(*seq),
            Settled::Rejected(rejection) => Self::Rejected(rejection.clone()),
            Settled::Uncertain => Self::Uncertain,
        }
    }
}

impl Replica {
    /// How a write was decided that had a request, if it is one of the last [`DECISIONS_MAX`] that were.
    ///
    /// # Errors
    /// [`ReplicaError`] when the file cannot be read.
    pub fn decision(&self, id: MutationId) -> Result<Option<Decision>, ReplicaError> {
        let sql = "SELECT decision FROM tw_decisions WHERE id = ?1";
        let mut select = self.connection.prepare_cached(sql)?;
        let stored = select.query_row([id.0], |row| row.get(0)).optional()?;
        Ok(stored.and_then(decision))
    }

    /// A write that is in the outbox is decided, in the transaction that is open. What was decided first
    /// counts: of what was taken back, the server says that it did not happen. Where it says that it did, so
    /// it is: of a file and its copy, one may have taken back what the other one has sent.
    pub(crate) fn decide(&self, id: MutationId, decision: &Decision) -> Result<(), ReplicaError> {
        let stored = match decision {
            Decision::Accepted(seq) => {
                Sqlite::Integer(i64::try_from(seq.get()).unwrap_or(i64::MAX))
            }
            Decision::Rejected(rejection) => Sqlite::Blob(codec::encode(rejection)),
            word => {
                let word = WORDS.iter().find(|(_, decision)| decision == word);
                Sqlite::Text(word.map_or("uncertain", |(word, _)| word).to_owned())
            }
        };
        // Where nobody has requests, it ends here.
        let sql = "INSERT INTO tw_decisions (id, decision)
                   SELECT id, ?2 FROM tw_outbox WHERE id = ?1 AND requested <> 0
                   ON CONFLICT (id) DO UPDATE SET decision = excluded.decision
                   WHERE typeof(excluded.decision) = 'integer' AND typeof(decision) <> 'integer'";
        if self.connection.prepare_cached(sql)?.execute(params![id.0, stored])? > 0 {
            let old = "DELETE FROM tw_decisions
                       WHERE place <= (SELECT max(place) FROM tw_decisions) - ?1";
            self.connection.prepare_cached(old)?.execute([DECISIONS_MAX])?;
        }
        Ok(())
    }
}

/// Nothing of what cannot be read any more.
fn decision(stored: Sqlite) -> Option<Decision> {
    match stored {
        Sqlite::Integer(seq) => {
            let seq = u64::try_from(seq).ok();
            seq.and_then(|seq| SeqId::new(seq).ok()).map(Decision::Accepted)
        }
        Sqlite::Blob(bytes) => codec::decode(&bytes, COMMIT_BYTES_MAX).ok().map(Decision::Rejected),
        Sqlite::Text(text) => {
            WORDS.into_iter().find(|(word, _)| *word == text).map(|(_, decision)| decision)
        }
        _ => None,
    }
}
