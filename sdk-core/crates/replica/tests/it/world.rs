//! Tables and subscriptions to test with, and a file for them.

use protocol::ids::{
    Basis, Birth, ClientId, ColumnId, Epoch, Floor, IndexId, Lane, Name, SchemaVersion, SeqId,
    TableId, TenantId,
};
use protocol::predicate::{Predicate, Truth};
use protocol::schema::{
    AccessLevel, Column, ColumnDefault, Index, MergeRule, Sharing, TableKind, TableSchema,
};
use protocol::value::{ColumnType, Row, Value};
use sdk_machine::{Known, SqlText, Step, StoredLane, StoredSubscription, SubscriptionId, Write};
use sdk_replica::{
    Changed, Committed, Executed, MutationId, Replica, ReplicaError, ResultRow, WriteOptions,
    Writer,
};

pub(crate) use crate::place::{Eyes, Place, query};

pub(crate) const CLIENT: ClientId = ClientId::from_bytes([7; 16]);

pub(crate) fn lane() -> Lane {
    "user/alice".parse().unwrap()
}

pub(crate) fn seq(number: u64) -> SeqId {
    SeqId::new(number).unwrap()
}

pub(crate) fn birth(number: u64) -> Birth {
    Birth(seq(number))
}

pub(crate) fn column(id: u16, name: &str, column_type: ColumnType) -> Column {
    Column {
        id: ColumnId(id),
        name: Name::new(name).unwrap(),
        column_type,
        not_null: false,
        default: None,
        merge: MergeRule::Last,
    }
}

/// `chat.messages (id, room, body, extra)`, with an index on the room.
pub(crate) fn messages() -> TableSchema {
    let mut id = column(1, "id", ColumnType::BigInt);
    id.not_null = true;
    TableSchema {
        id: TableId(64),
        name: "chat.messages".parse().unwrap(),
        version: SchemaVersion(1),
        kind: TableKind::User,
        columns: vec![
            id,
            column(2, "room", ColumnType::Int),
            column(3, "body", ColumnType::Text),
            column(4, "extra", ColumnType::Text),
        ],
        primary_key: vec![ColumnId(1)],
        indexes: vec![Index { id: IndexId(1), columns: vec![ColumnId(2)] }],
        ttl_seconds: None,
    }
}

/// `chat.marks (user, room, at)`, with a key of two columns, of which the rows expire.
pub(crate) fn marks() -> TableSchema {
    let mut user = column(1, "user", ColumnType::Text);
    let mut room = column(2, "room", ColumnType::Int);
    (user.not_null, room.not_null) = (true, true);
    TableSchema {
        id: TableId(65),
        name: "chat.marks".parse().unwrap(),
        version: SchemaVersion(1),
        kind: TableKind::Stream,
        columns: vec![user, room, column(3, "at", ColumnType::Timestamp)],
        primary_key: vec![ColumnId(2), ColumnId(1)],
        indexes: vec![],
        ttl_seconds: Some(60),
    }
}

/// `chat.counters (id, likes MERGE ADD, mean MERGE ADD, name)`.
pub(crate) fn counters() -> TableSchema {
    let mut table = messages();
    (table.id, table.name) = (TableId(66), "chat.counters".parse().unwrap());
    table.indexes.clear();
    let mut likes = column(2, "likes", ColumnType::Int);
    let mut mean = column(3, "mean", ColumnType::Double);
    (likes.merge, mean.merge) = (MergeRule::Add, MergeRule::Add);
    table.columns.splice(1.., [likes, mean, column(4, "name", ColumnType::Text)]);
    table
}

/// `chat.posts`, which all write: an id that comes by itself, an author who owns the row, a body
/// that must be, a time, a kind, and a value of each type that may be wrong.
pub(crate) fn posts() -> TableSchema {
    let mut table = messages();
    (table.id, table.name) = (TableId(67), "forum.posts".parse().unwrap());
    let sharing = Sharing { access: AccessLevel::Write, owner_column: Some(ColumnId(2)) };
    table.kind = TableKind::Shared(sharing);
    table.indexes.clear();
    let mut id = column(1, "id", ColumnType::Uuid);
    (id.not_null, id.default) = (true, Some(ColumnDefault::UuidV7));
    let mut body = column(3, "body", ColumnType::Text);
    body.not_null = true;
    let mut at = column(4, "at", ColumnType::Timestamp);
    at.default = Some(ColumnDefault::Now);
    let mut kind = column(5, "kind", ColumnType::Text);
    kind.default = Some(ColumnDefault::Value(Value::text("plain").unwrap()));
    table.columns = vec![
        id,
        column(2, "author", ColumnType::Text),
        body,
        at,
        kind,
        column(6, "is_open", ColumnType::Boolean),
        column(7, "content", ColumnType::Json),
        column(8, "weight", ColumnType::Double),
        column(9, "size", ColumnType::Int),
        column(10, "file", ColumnType::Bytes),
    ];
    table
}

pub(crate) fn all_columns(table: TableSchema) -> Known {
    let columns: Vec<u16> = table.columns.iter().map(|column| column.id.0).collect();
    known(table, &columns)
}

pub(crate) fn known(table: TableSchema, columns: &[u16]) -> Known {
    Known {
        basis: Basis::from_bytes([1; 16]),
        lane: lane(),
        table,
        columns: columns.iter().map(|column| ColumnId(*column)).collect(),
        predicate: Predicate::Constant(Truth::True),
    }
}

pub(crate) fn stored(id: u32, known: Option<Known>) -> StoredSubscription {
    StoredSubscription {
        id: SubscriptionId(id),
        texts: vec![SqlText {
            sql: format!("SELECT … {id}"),
            params: vec![Value::Integer(-1), Value::text("é").unwrap(), Value::Null],
        }],
        fetch_last: Some(u64::MAX),
        batch_rows: Some(100),
        known,
        floor: Some(Floor(seq(3))),
        missing: Some(0),
        ready: true,
        resetting: false,
    }
}

pub(crate) fn put(id: u32, known: Known) -> Write {
    Write::PutSubscription(Box::new(stored(id, Some(known))))
}

pub(crate) fn message(id: i64, room: i64, body: &str) -> Row {
    [Value::Integer(id), Value::Integer(room), Value::text(body).unwrap(), Value::Null]
        .into_iter()
        .collect()
}

pub(crate) fn batch(id: u32, births: &[u64], rows: Vec<Row>) -> Write {
    Write::Batch {
        subscription: SubscriptionId(id),
        births: births.iter().map(|number| birth(*number)).collect(),
        rows,
        expiries: vec![],
    }
}

pub(crate) fn put_lane(at: u64) -> Write {
    let epoch = Epoch::from_bytes([9; 16]);
    Write::PutLane(StoredLane { lane: lane(), epoch, seq: seq(at), cut: 1 })
}

pub(crate) fn step(writes: Vec<Write>) -> Step {
    Step { writes, synced: false }
}

impl Place {
    /// What its files have, by the ends of their names: those that have something, and that stay when the
    /// process is gone.
    pub(crate) fn contents(&self) -> Vec<(String, Vec<u8>)> {
        let ends = self.ends().into_iter().filter(|end| end != "-shm");
        let mut all: Vec<_> = ends.map(|end| (end.clone(), self.bytes(&end))).collect();
        all.retain(|(_, bytes)| !bytes.is_empty());
        all
    }

    pub(crate) fn open(&self) -> Replica {
        Replica::open(self, CLIENT).unwrap()
    }

    /// With the table of messages, all of whose rows subscription 1 has.
    pub(crate) fn with_messages(&self) -> Replica {
        let mut replica = self.open();
        let rows = vec![message(1, 7, "one"), message(2, 8, "two")];
        let writes = vec![put(1, known(messages(), &[1, 2, 3, 4])), batch(1, &[5, 6], rows)];
        replica.apply(&step(writes)).unwrap();
        replica
    }
}

/// The rows of a query, each as one text.
pub(crate) fn rows(replica: &Replica, sql: &str) -> Vec<String> {
    let result = query(replica, sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let shown = |value: &Value| match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Text(text) => text.to_string(),
        other => format!("{other:?}"),
    };
    let shown = |row: &ResultRow| row.iter().map(shown).collect::<Vec<_>>().join(" ");
    result.rows.iter().map(shown).collect()
}

/// Alice, at a time.
pub(crate) fn writer() -> Writer {
    Writer { user: TenantId::new("alice").unwrap(), now: 1_800_000_000_000_000 }
}

/// What came of a statement.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) rows_affected: u64,
    pub(crate) rows: Vec<ResultRow>,
    pub(crate) mutation: Option<MutationId>,
    pub(crate) changed: Changed,
}

/// Runs a statement of the application.
pub(crate) fn execute(
    replica: &mut Replica,
    sql: &str,
    params: &[Value],
) -> Result<Done, ReplicaError> {
    let (Executed { rows_affected, rows, .. }, committed) =
        replica.execute(writer(), sql, params)?;
    let mutation = committed.id;
    let changed = committed.changed;
    Ok(Done { rows_affected, rows, mutation, changed })
}

/// A statement that can be.
pub(crate) fn write(replica: &mut Replica, sql: &str) -> Option<MutationId> {
    let done = execute(replica, sql, &[]);
    done.unwrap_or_else(|error| panic!("{sql}: {error}")).mutation
}

/// Runs a statement with options.
pub(crate) fn with(
    replica: &mut Replica,
    options: WriteOptions,
    sql: &str,
) -> Result<Committed, ReplicaError> {
    let mut transaction = replica.begin(writer())?;
    transaction.set_options(options)?;
    transaction.end_with_a_failure();
    transaction.execute(sql, &[])?;
    transaction.commit()
}
