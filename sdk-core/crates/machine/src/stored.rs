//! What the replica keeps for the machine.

use protocol::frame::v1::Subscribed;
use protocol::ids::{
    Basis, ClientId, ColumnId, ContentHash, Epoch, Floor, Lane, MutationNumber, SchemaHash, SeqId,
};
use protocol::mutation::{MutationDigest, Rejection};
use protocol::predicate::Predicate;
use protocol::schema::{ColumnDefault, TableSchema};
use protocol::value::Value;

/// Numbers the subscriptions of a replica. The replica keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionId(pub u32);

/// Everything that a machine starts from. Staged pieces are none of it: whoever opens a replica
/// drops them, since the connection that they came on is gone.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Which replica it is.
    pub client: ClientId,
    /// How far it is, in each lane.
    pub lanes: Vec<StoredLane>,
    /// What it subscribes to.
    pub subscriptions: Vec<StoredSubscription>,
    /// When a server first heard of the replica: microseconds since 1970, UTC.
    pub since: Option<i64>,
    /// Where it has sent something.
    pub writers: Vec<StoredWriter>,
    /// Which description of tables it has stored, if one.
    pub schema: Option<StoredSchema>,
    /// What was written and is not decided, in the order of their places. What the host holds back is
    /// not here.
    pub outbox: Vec<StoredMutation>,
}

/// A description of the tables, by what tells it from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredSchema {
    /// Which it is.
    pub version: SchemaHash,
    /// One with a lower number is older.
    pub revision: u64,
}

/// Names a mutation on this device, as long as the replica exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MutationId(pub i64);

/// Where a mutation stands in the order in which those of its lane are sent: its id, unless the host has
/// held it back; then it stands behind all that were there when the host let it go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place(pub i64);

/// How far what was written in a lane is sent and decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredWriter {
    /// The lane.
    pub lane: Lane,
    /// The identity under which mutations are numbered there.
    pub client: ClientId,
    /// When it was drawn: microseconds since 1970, UTC, by a server's clock.
    pub since: i64,
    /// The history of the lane in which its numbers hold, once it is known.
    pub epoch: Option<Epoch>,
    /// Up to where its mutations are decided.
    pub settled: MutationNumber,
    /// The chained hash after that one.
    pub settled_hash: ContentHash,
    /// Up to where they may have left the device.
    pub sent: MutationNumber,
    /// The last that may have left it, under whatever identity.
    pub sent_place: Place,
    /// The last that was sent to another history of the lane, under another identity.
    pub sent_elsewhere: Place,
    /// Up to where they were decided when the replica was last known to survive a power cut.
    pub confirmed: MutationNumber,
    /// The one that could not be delivered, and for which the lane waits.
    pub stuck: Option<MutationId>,
}

/// A mutation that is not decided, without what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMutation {
    /// Which.
    pub id: MutationId,
    /// Where it stands.
    pub place: Place,
    /// Its lane.
    pub lane: Lane,
    /// What it is.
    pub digest: MutationDigest,
    /// About how many bytes it takes in a frame.
    pub bytes: usize,
    /// It was taken back before it was sent.
    pub is_cancelled: bool,
}

/// What became of a mutation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It happened. Where the lane was right after it.
    Accepted(SeqId),
    /// It did not happen.
    Rejected(Rejection),
    /// A copy of this replica has sent it, and the server does not know any more what became of it;
    /// or the server has forgotten the client, or was restored twice, and may have done it in between.
    Uncertain,
}

/// The frontier of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLane {
    /// The lane.
    pub lane: Lane,
    /// The epoch of the frontier.
    pub epoch: Epoch,
    /// Everything that concerns its subscriptions is applied up to here.
    pub seq: SeqId,
    /// How many connections in a row have begun to catch up and were cut before the end.
    pub cut: u8,
}

/// A subscription.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredSubscription {
    /// Its number.
    pub id: SubscriptionId,
    /// Every text that is known to mean it, at least one. The first is sent.
    pub texts: Vec<SqlText>,
    /// How many rows it wants in all, the last born ones; all without.
    pub fetch_last: Option<u64>,
    /// Most rows of one batch; as the server likes without.
    pub batch_rows: Option<u32>,
    /// What the server says it is, once it has.
    pub known: Option<Known>,
    /// Down to where it is loaded; nothing is without.
    pub floor: Option<Floor>,
    /// How many of the wanted rows are not loaded yet; all that there are without.
    pub missing: Option<u64>,
    /// All rows that it wants have been here once. Since then it is never shown as half loaded.
    pub ready: bool,
    /// It is loaded anew, and the rows it had before are ghosts until that is done.
    pub resetting: bool,
}

impl StoredSubscription {
    /// Whether all rows that it wants are loaded.
    pub fn is_complete(&self) -> bool {
        self.floor.is_some_and(|floor| floor == Floor::COMPLETE || self.missing == Some(0))
    }

    /// The lane of its table, once it is known.
    pub fn lane(&self) -> Option<&Lane> {
        self.known.as_ref().map(|known| &known.lane)
    }
}

/// SQL, with a value for each `$n` of it.
#[derive(Clone, Debug, PartialEq)]
pub struct SqlText {
    /// The SQL.
    pub sql: String,
    /// The values.
    pub params: Vec<Value>,
}

/// What the server says that a subscription is.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// What it means.
    pub basis: Basis,
    /// The lane of its table.
    pub lane: Lane,
    /// The table.
    pub table: TableSchema,
    /// The columns that rows carry, in their order.
    pub columns: Vec<ColumnId>,
    /// Which rows it selects.
    pub predicate: Predicate,
}

impl Known {
    /// Whether what is held of a subscription, as `before` describes it, can go on under this
    /// description: it means the same, of the same table in the same version or a later one.
    ///
    /// A server may not have come to a version that another one has told of. What it says of rows
    /// cannot be taken for what they are by then.
    pub(crate) fn goes_on_from(&self, before: &Self) -> bool {
        let (now, then) = (&self.table, &before.table);
        let has_same_rows = self.basis == before.basis
            && self.lane == before.lane
            && now.id == then.id
            && now.primary_key == then.primary_key;
        has_same_rows
            && (now.version > then.version
                || (now.version == then.version && self.columns == before.columns))
    }

    /// What the rows that are held have in the columns that `before` did not know: their constant
    /// default. Whoever has written something else there since is told behind this description.
    pub fn filled_since(&self, before: &Self) -> Vec<(ColumnId, Value)> {
        if self.basis != before.basis {
            return Vec::new();
        }
        let is_new = |id: &&ColumnId| !before.columns.contains(id);
        let filled = self.columns.iter().filter(is_new).map(|id| {
            let column = self.table.column(*id);
            match column.and_then(|column| column.default.as_ref()) {
                Some(ColumnDefault::Value(value)) => (*id, value.clone()),
                _ => (*id, Value::Null),
            }
        });
        filled.collect()
    }
}

impl From<Subscribed> for Known {
    fn from(subscribed: Subscribed) -> Self {
        let Subscribed { basis, lane, table, columns, predicate, .. } = subscribed;
        Self { basis, lane, table, columns, predicate }
    }
}
