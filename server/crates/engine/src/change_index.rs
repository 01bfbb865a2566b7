//! The latest change of each row, in the order of the lane: of a whole partition, and of each
//! indexed value.
//!
//! A row has one entry in each, at its last change; writing the row moves it. A row that is gone,
//! or has left the value, leaves a tombstone until the partition's horizon passes it.

use protocol::codec;
use protocol::ids::{Birth, SeqId};
use protocol::value::Row;
use server_storage::key::{KeyReader, KeyWriter};

use crate::command::Time;
use crate::error::EngineError;
use crate::keys::{self, At, DUE, Partition};
use crate::transaction::Transaction;

/// What stands at a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChangeRecord {
    pub(crate) birth: Birth,
    /// The primary key of a row that is gone or has left.
    pub(crate) tombstone: Option<Row>,
}

/// What a tombstone says: which row, and when it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark<'a> {
    pub(crate) key: &'a Row,
    pub(crate) time: Time,
}

impl ChangeRecord {
    fn encode(&self) -> Vec<u8> {
        let record = KeyWriter::new().u64(self.birth.0.get());
        match &self.tombstone {
            None => record.finish(),
            Some(key) => record.parts(&codec::encode(key)).finish(),
        }
    }

    pub(crate) fn read(value: &[u8]) -> Result<Self, EngineError> {
        let mut reader = KeyReader::new(value);
        let birth = Birth(keys::read_seq(&mut reader)?);
        let tombstone = match reader.rest() {
            [] => None,
            key => Some(
                codec::decode(key, usize::MAX).map_err(|_| EngineError::damaged("tombstone"))?,
            ),
        };
        Ok(Self { birth, tombstone })
    }
}

/// Notes the change `seq` of the row born at `birth`.
pub(crate) fn insert(
    tx: &mut Transaction<'_>,
    partition: &Partition,
    at: At<'_>,
    seq: SeqId,
    birth: Birth,
) {
    let (family, key) = partition.change(seq, at);
    tx.insert(family, key, ChangeRecord { birth, tombstone: None }.encode());
}

/// Takes the note of a row's last change away.
pub(crate) fn remove(
    tx: &mut Transaction<'_>,
    partition: &Partition,
    at: At<'_>,
    seq: SeqId,
    birth: Birth,
) {
    let (family, key) = partition.change(seq, at);
    tx.remove(family, key, &ChangeRecord { birth, tombstone: None }.encode());
}

/// Notes that the row is gone, or has left this value, as of the change `seq`.
pub(crate) fn leave_tombstone(
    tx: &mut Transaction<'_>,
    partition: &Partition,
    at: At<'_>,
    seq: SeqId,
    birth: Birth,
    mark: &Mark<'_>,
) {
    let (family, key) = partition.change(seq, at);
    let record = ChangeRecord { birth, tombstone: Some(mark.key.clone()) };
    tx.insert(family, key, record.encode());
    let made = KeyWriter::new().i64(mark.time.0).finish();
    tx.insert(DUE, partition.tombstone_due(seq, at), made);
}

/// Takes a tombstone away, whose key of [`DUE`] and value these are.
pub(crate) fn remove_tombstone(
    tx: &mut Transaction<'_>,
    partition: &Partition,
    due_key: Vec<u8>,
    made: &[u8],
) -> Result<SeqId, EngineError> {
    let (seq, at) = partition.read_tombstone(&due_key)?;
    let (family, key) = partition.change(seq, at);
    let record = tx.get(family, &key)?.ok_or(EngineError::damaged("tombstone"))?;
    tx.remove(family, key, &record);
    tx.remove(DUE, due_key, made);
    Ok(seq)
}
