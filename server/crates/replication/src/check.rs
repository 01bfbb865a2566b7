//! What must hold between the two databases at every start (INV-10): purged ≤ flushed ≤ applied ≤
//! committed.

use server_engine::ShardNumber;

use crate::error::ReplicationError;
use crate::log::LogBounds;
use crate::records::AppliedState;

/// Checks the log of a shard against its rows. Right after a start what is applied is what was
/// flushed, and the log holds the rest.
///
/// That an entry was committed is not stored; but what was applied was, so it has to be in the log,
/// up to where the log was purged. A log that ends before the rows was damaged in its middle:
/// RocksDB takes what follows damage for the end. Only right behind a snapshot from another node
/// may it end earlier, since what the snapshot has is purged after it was installed.
pub(crate) fn check_fit(
    shard: ShardNumber,
    log: &LogBounds,
    rows: &AppliedState,
) -> Result<(), ReplicationError> {
    let unfit = |why: String| Err(ReplicationError::unfit(shard, why));
    let applied = rows.index();
    let removed = log.removed.map(|id| id.index);
    if removed > applied {
        return unfit(format!(
            "the log begins behind entry {}, the rows end at {}: the rows are of an older copy, \
             restore both from one backup or another node",
            removed.unwrap_or(0),
            shown(applied)
        ));
    }
    let last = log.entries.map(|(_, last)| last).max(log.removed);
    if last.map(|id| id.index) < applied && rows.installed != rows.log_id {
        return unfit(format!(
            "the log ends at entry {}, the rows have {} applied: the log is damaged, restore both \
             from a backup or another node",
            shown(last.map(|id| id.index)),
            shown(applied)
        ));
    }
    if let Some((first, _)) = log.entries
        && first.index > removed.map_or(0, |index| index + 1)
        && Some(first.index) > applied.map(|index| index + 1)
    {
        return unfit(format!(
            "the log begins at entry {}, the rows end at {}: restore both from one backup or \
             another node",
            first.index,
            shown(applied)
        ));
    }
    Ok(())
}

fn shown(index: Option<u64>) -> String {
    index.map_or_else(|| "none".to_owned(), |index| index.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{LeaderId, LogId, NodeId};

    fn at(index: u64) -> LogId {
        LogId::new(LeaderId::new(1, NodeId(1)), index)
    }

    #[test]
    fn only_what_fits_is_gone_on_with() {
        let fits = |removed: Option<u64>, entries: Option<(u64, u64)>, rows, installed| {
            let entries = entries.map(|(first, last)| (at(first), at(last)));
            let log = LogBounds { removed: removed.map(at), entries };
            let state = AppliedState { log_id: rows, installed, ..AppliedState::default() };
            check_fit(ShardNumber(3), &log, &state).is_ok()
        };
        assert!(fits(None, None, None, None));
        assert!(fits(Some(4), Some((5, 9)), Some(at(4)), None));
        assert!(fits(Some(4), Some((5, 9)), Some(at(9)), None));
        assert!(fits(None, Some((0, 9)), None, None));
        // The rows are older than what was purged.
        assert!(!fits(Some(4), Some((5, 9)), Some(at(3)), None));
        // The log ends before the rows, which may only be behind a snapshot.
        assert!(!fits(Some(4), Some((5, 9)), Some(at(10)), None));
        assert!(!fits(Some(4), Some((5, 9)), Some(at(10)), Some(at(8))));
        assert!(!fits(None, None, Some(at(0)), None));
        assert!(fits(Some(4), Some((5, 9)), Some(at(10)), Some(at(10))));
        // What lies between the rows and the log is missing.
        assert!(!fits(Some(4), Some((7, 9)), Some(at(4)), None));
        assert!(!fits(None, Some((2, 9)), None, None));
        assert!(fits(None, Some((2, 9)), Some(at(1)), None));
    }
}
