//! Tables and queries: overlapping projections, predicates, ranges of an index.

use std::sync::Arc;

use protocol::frame::v1::AllowedTable;
use protocol::ids::{ColumnId, IndexId, Lane, SchemaVersion, TableId};
use protocol::mutation::{Action, ColumnValue};
use protocol::predicate::{CompareOp, Operand, Predicate, Truth};
use protocol::schema::{AccessLevel, Column, Index, MergeRule, Sharing, TableKind, TableSchema};
use protocol::value::{ColumnType, Row, Value};
use server_subscriptions::Asked;

/// SHARED, with an index on `g`.
pub(crate) const T: TableId = TableId(70);
/// SHARED, in the lane of `T`.
pub(crate) const U: TableId = TableId(71);
/// USER.
pub(crate) const M: TableId = TableId(72);

pub(crate) const ID: ColumnId = ColumnId(0);
pub(crate) const G: ColumnId = ColumnId(1);
pub(crate) const A: ColumnId = ColumnId(2);
pub(crate) const B: ColumnId = ColumnId(3);
/// By which what clients have written is told apart.
pub(crate) const MARK: ColumnId = ColumnId(4);

/// All columns, in their order.
pub(crate) const COLUMNS: [(ColumnId, &str); 5] =
    [(ID, "id"), (G, "g"), (A, "a"), (B, "b"), (MARK, "mark")];

pub(crate) const USER: &str = "ann";

pub(crate) fn table(id: TableId) -> TableSchema {
    let (name, kind, indexes) = match id {
        T => ("app.t", shared(), vec![Index { id: IndexId(1), columns: vec![G] }]),
        U => ("app.u", shared(), vec![]),
        _ => ("app.m", TableKind::User, vec![]),
    };
    let column = |(id, name): (ColumnId, &str)| Column {
        id,
        name: name.parse().unwrap(),
        column_type: ColumnType::BigInt,
        not_null: id == ID,
        default: None,
        merge: if id == B { MergeRule::Add } else { MergeRule::Last },
    };
    TableSchema {
        id,
        name: name.parse().unwrap(),
        version: SchemaVersion(1),
        kind,
        columns: COLUMNS.map(column).into(),
        primary_key: vec![ID],
        indexes,
        ttl_seconds: None,
    }
}

/// What a client is told of them.
pub(crate) fn all() -> Vec<AllowedTable> {
    [T, U, M].map(|id| AllowedTable { table: table(id), writable: true }).into()
}

fn shared() -> TableKind {
    TableKind::Shared(Sharing { access: AccessLevel::Write, owner_column: None })
}

pub(crate) fn lane_of(table: TableId) -> Lane {
    match table {
        M => format!("user/{USER}").parse().unwrap(),
        _ => "shared/app".parse().unwrap(),
    }
}

/// Texts that a client subscribes with. Two of them mean the same.
pub(crate) const TEXTS: &[&str] = &[
    "t where a > 0",
    "t where g in (1, 2): g, b",
    "t",
    "all of t",
    "t where g = 1: b",
    "t where g = 1 and a > 0: a",
    "u where b < 2: b",
    "m",
];

/// What a text means.
pub(crate) fn asked(text: &str) -> Asked {
    let compare = |column, op, value| {
        let operand = Operand::Value(Value::Integer(value));
        Predicate::Compare { column, op, operand }
    };
    let all = Predicate::Constant(Truth::True);
    let in_1 = compare(G, CompareOp::Equal, 1);
    let (id, predicate, columns) = match text {
        "t" | "all of t" => (T, all, vec![G, A, B]),
        "t where a > 0" => (T, compare(A, CompareOp::Greater, 0), vec![A]),
        "t where g = 1: b" => (T, in_1, vec![B]),
        "t where g = 1 and a > 0: a" => {
            (T, Predicate::And(vec![in_1, compare(A, CompareOp::Greater, 0)]), vec![A])
        }
        "t where g in (1, 2): g, b" => {
            let values = vec![Value::Integer(1), Value::Integer(2)];
            (T, Predicate::In { column: G, values }, vec![G, B])
        }
        "u where b < 2: b" => (U, compare(B, CompareOp::Less, 2), vec![B]),
        "m" => (M, all, vec![G, A, B]),
        other => panic!("{other} is no query"),
    };
    let schema = Arc::new(table(id));
    let range = Asked::range_of(&schema, &predicate);
    Asked { lane: lane_of(id), schema, range, predicate, columns: Some(columns) }
}

/// Whether a whole row of a table is selected.
pub(crate) fn selects(predicate: &Predicate, row: &Row) -> bool {
    predicate.evaluate(&|column| row[usize::from(column.0)].as_ref()).is_true()
}

/// Some columns of a whole row.
pub(crate) fn project(row: &Row, columns: &[ColumnId]) -> Row {
    columns.iter().map(|column| row[usize::from(column.0)].clone()).collect()
}

/// The primary key of the row that an operation names.
pub(crate) fn key_of(action: &Action) -> Row {
    match action {
        Action::Insert(values) | Action::Upsert(values) => {
            values.iter().take(1).map(|ColumnValue(_, value)| value.clone()).collect()
        }
        Action::Patch { key, .. } | Action::Delete { key } => key.clone(),
    }
}
