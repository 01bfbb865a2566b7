//! What enters the Raft log.

use protocol::codec;
use protocol::ids::{
    ClientId, ContentHash, Epoch, Lane, MutationNumber, RequestId, SeqId, TableId, TenantId,
};
use protocol::mutation::{Operation, Rejection};
use protocol::schema::TableSchema;
use serde::{Deserialize, Serialize};

use crate::access::Actor;
use crate::error::EngineError;
use crate::slot::Slot;

/// The version of [`Entry`]. A cluster writes the one that all its nodes know.
const VERSION: u8 = 1;

/// A point in time, in microseconds since 1970-01-01T00:00:00Z. It comes with the log or from the
/// caller; the engine has no clock.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Time(pub i64);

/// One entry of the log: what is applied in one atomic batch.
///
/// A field that is not known is refused here, as nowhere else: another node would not pass over it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    version: u8,
    /// The leader's clock when it was proposed.
    pub time: Time,
    /// Applied one after another; none has an effect on whether another is.
    pub commands: Vec<Command>,
}

/// A command as an entry has it: encoded once, where it arrives, and only copied from then on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedCommand(Vec<u8>);

/// Something to do, decided by what the log has before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Founds the shard. Nothing else happens before.
    Found {
        /// The slots that lie in it.
        slots: Vec<Slot>,
        /// The epoch of all lanes.
        epoch: Epoch,
    },
    /// Replaces the history of all lanes.
    NewEpoch(Epoch),
    /// Describes a table, new or changed.
    Define(Box<TableSchema>),
    /// Ends a table. Its rows go with [`Command::Sweep`].
    Drop(TableId),
    /// Row operations that the server planned.
    Write(Write),
    /// A client's mutations.
    Mutate(Mutate),
    /// A client knows its decisions up to a number.
    Confirm(Confirm),
    /// Removes expired rows of a slot.
    Expire {
        /// The slot.
        slot: Slot,
        /// At most so many.
        rows_max: u32,
    },
    /// Removes the oldest tombstones of a partition, of its rows and of its indexed values alike.
    Retire {
        /// The lane of the partition.
        lane: Lane,
        /// Its table.
        table: TableId,
        /// Up to and with this position.
        through: SeqId,
    },
    /// Forgets clients of a slot that have been silent, and answers that are kept no longer.
    Forget {
        /// The slot.
        slot: Slot,
        /// Clients last heard of before.
        silent_since: Time,
        /// At most so many of each.
        count_max: u32,
    },
    /// Removes rows of a table that was dropped.
    Sweep {
        /// The table.
        table: TableId,
        /// At most so many.
        rows_max: u32,
    },
}

/// Row operations that the server planned for a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Write {
    /// The lane of all its tables.
    pub lane: Lane,
    /// Who writes.
    pub actor: Actor,
    /// What is done. A guard that fails leaves everything as it was, and the statement is planned
    /// again.
    pub operations: Vec<Operation>,
    /// Under which its answer is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
}

/// A write that can be asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Its identity, of this user in this lane.
    pub id: RequestId,
    /// A hash of the statement and its parameters, by which another use of the id is noticed.
    pub hash: ContentHash,
    /// How many rows the statement says that it changed.
    pub rows: u64,
}

/// Mutations of one client, in the order in which it wrote them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutate {
    /// The lane.
    pub lane: Lane,
    /// Who writes.
    pub actor: Actor,
    /// The client's identity.
    pub client: ClientId,
    /// Since when it has that identity.
    pub client_since: Time,
    /// The lane's epoch as the client knows it.
    pub epoch: Epoch,
    /// The number of the first mutation.
    pub first: MutationNumber,
    /// The chained hash before it.
    pub previous: ContentHash,
    /// The mutations.
    pub mutations: Vec<Numbered>,
    /// Up to where the client knows the decisions.
    pub confirmed: MutationNumber,
}

/// A mutation with the hash that it had when it arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Numbered {
    /// The chained hash after it.
    pub hash: ContentHash,
    /// What it does, with defaults filled in; `None` when the client has taken it back.
    pub operations: Option<Vec<Operation>>,
}

/// A client knows its decisions up to a number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirm {
    /// The lane.
    pub lane: Lane,
    /// The user.
    pub user: TenantId,
    /// The client's identity.
    pub client: ClientId,
    /// The lane's epoch as the client knows it.
    pub epoch: Epoch,
    /// The number.
    pub confirmed: MutationNumber,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It happened, or had happened before.
    Done,
    /// A statement happened, now or when the same request came first.
    Written {
        /// The epoch of the lane.
        epoch: Epoch,
        /// The lane's last change right after it.
        seq: SeqId,
        /// How many rows it changed.
        rows: u64,
    },
    /// The statement did not happen, and never will.
    Rejected(Rejection),
    /// The statement did not happen: a row is not as it was when it was planned.
    GuardFailed,
    /// The request id was used for another statement.
    RequestReused,
    /// The mutations were decided, or had been, except the last `left` of them. Decisions reach the
    /// client with the lane's feed.
    Mutated {
        /// How many were not decided.
        left: u32,
        /// Why they were not.
        stopped: Option<Undecided>,
    },
    /// A description that cannot replace the one there is.
    SchemaRefused,
    /// Something was removed.
    Removed {
        /// How much.
        count: u64,
        /// Whether as much again may be left.
        more: bool,
    },
    /// The entry has done enough before it: propose it again.
    Later,
    /// It was written under a schema that this shard has not been told yet: propose it again.
    SchemaBehind,
    /// The lane is another user's.
    Forbidden,
    /// The lane or slot is not in this shard.
    WrongShard,
}

/// Why a mutation was not decided. None of these is an answer to the mutation itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undecided {
    /// This number comes first.
    Expected(MutationNumber),
    /// The number was given to other content, or is confirmed already.
    Forked,
    /// The lane has another epoch.
    Epoch,
    /// The identity is older than what the server remembers.
    UnknownClient,
    /// Too many decisions wait to be confirmed.
    WindowFull,
    /// The entry has done enough before it.
    Later,
    /// It was written under a schema that this shard has not been told yet.
    SchemaBehind,
}

impl Command {
    /// The bytes that it has in an entry.
    pub fn encode(&self) -> EncodedCommand {
        EncodedCommand(codec::encode(self))
    }

    /// The lane that it is about, if it is about a single one.
    pub fn lane(&self) -> Option<&Lane> {
        match self {
            Self::Write(Write { lane, .. })
            | Self::Mutate(Mutate { lane, .. })
            | Self::Confirm(Confirm { lane, .. })
            | Self::Retire { lane, .. } => Some(lane),
            Self::Found { .. }
            | Self::NewEpoch(_)
            | Self::Define(_)
            | Self::Drop(_)
            | Self::Expire { .. }
            | Self::Forget { .. }
            | Self::Sweep { .. } => None,
        }
    }
}

impl EncodedCommand {
    /// How many bytes it takes in an entry.
    #[expect(clippy::len_without_is_empty, reason = "no command is empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl Entry {
    /// An entry of this version.
    pub fn new(time: Time, commands: Vec<Command>) -> Self {
        Self { version: VERSION, time, commands }
    }

    /// The same as [`Entry::new`] and [`Entry::encode`], of commands that are encoded already: the
    /// leader knows how large each is, and does not encode it twice.
    pub fn pack<'c>(
        time: Time,
        commands: impl ExactSizeIterator<Item = &'c EncodedCommand>,
    ) -> Vec<u8> {
        let mut bytes = Self::new(time, Vec::new()).encode();
        // The commands come last, so an entry without any ends with the head of an empty list.
        bytes.pop();
        push_list_head(&mut bytes, commands.len());
        for command in commands {
            bytes.extend(&command.0);
        }
        bytes
    }

    /// The bytes that the log keeps. Whoever proposes them refuses more than
    /// [`ENTRY_BYTES_MAX`](crate::ENTRY_BYTES_MAX): a command can take more here than it took when
    /// it arrived.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// The entry that `bytes` of the log are.
    ///
    /// # Errors
    /// [`EngineError::UnknownEntry`] for what this version does not know: the group must stop.
    pub fn decode(bytes: &[u8]) -> Result<Self, EngineError> {
        match codec::decode::<Self>(bytes, usize::MAX) {
            Ok(entry) if entry.version == VERSION => Ok(entry),
            _ => Err(EngineError::UnknownEntry),
        }
    }
}

/// What MessagePack writes before the elements of a list.
fn push_list_head(bytes: &mut Vec<u8>, length: usize) {
    const SHORT: u8 = 0x90;
    const OF_16_BITS: u8 = 0xdc;
    const OF_32_BITS: u8 = 0xdd;
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..16), _) => bytes.push(SHORT | length),
        (_, Ok(length)) => {
            bytes.push(OF_16_BITS);
            bytes.extend(length.to_be_bytes());
        }
        _ => {
            bytes.push(OF_32_BITS);
            // No memory holds as many commands as would not fit.
            bytes.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        }
    }
}
