//! Random values, rows, predicates and frames for property tests: few different ones, so that they
//! meet, and among them those at which engines differ.

mod frames;

pub use frames::{client_frame, server_frame};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::ids::{ColumnId, IndexId, Name, SchemaVersion, TableId, TableName};
use crate::predicate::{CompareOp, LikePattern, Operand, Predicate, Truth};
use crate::schema::{Column, Index, MergeRule, TableKind, TableSchema};
use crate::timestamp;
use crate::value::{ColumnType, Row, Value};

/// A USER table `test.everything` with a key `id` and two columns of every type, `a_int` and
/// `b_int` and so on, and an index on the first INT.
///
/// # Panics
/// Never, unless a limit is lowered.
pub fn table() -> TableSchema {
    let column = |number: usize, name: &str, column_type, not_null| Column {
        id: ColumnId(id(number)),
        name: expect(Name::new(name)),
        column_type,
        not_null,
        default: None,
        merge: MergeRule::Last,
    };
    let mut columns = vec![column(0, "id", ColumnType::BigInt, true)];
    for side in ["a", "b"] {
        for column_type in ColumnType::ALL {
            let name = format!("{side}_{}", column_type.to_string().to_lowercase());
            columns.push(column(columns.len(), &name, column_type, false));
        }
    }
    let schema = TableSchema {
        id: TableId(1),
        name: expect("test.everything".parse::<TableName>()),
        version: SchemaVersion(1),
        kind: TableKind::User,
        columns,
        primary_key: vec![ColumnId(0)],
        indexes: vec![Index { id: IndexId(1), columns: vec![ColumnId(2)] }],
        ttl_seconds: None,
    };
    expect(schema.check());
    schema
}

/// A value of a type, or NULL.
pub fn value(column_type: ColumnType) -> BoxedStrategy<Value> {
    let value = match column_type {
        ColumnType::Boolean => any::<bool>().prop_map(Value::Boolean).boxed(),
        ColumnType::Int => integer(&[i32::MIN.into(), -1, 0, 1, 2, i32::MAX.into()]),
        // Neighbours above 2^53 are one number to who compares them as floating-point.
        ColumnType::BigInt => {
            let above = (1 << 53) + 1;
            integer(&[i64::MIN, -1, 0, 1, 2, above - 1, above, i32::MAX.into(), i64::MAX])
        }
        ColumnType::Timestamp => {
            let now = 1_769_860_800_000_000;
            integer(&[timestamp::MICROS_MIN, -1, 0, 1, now, timestamp::MICROS_MAX])
        }
        ColumnType::Double => {
            let numbers = [f64::MIN, -1.0, -5e-324, -0.0, 0.0, 5e-324, 1.0, 0.1, 0.1 + 0.2, 0.3];
            let large = [9_007_199_254_740_992.0, f64::MAX];
            select([&numbers[..], &large[..]].concat())
                .prop_map(|number| expect(Value::double(number)))
                .boxed()
        }
        ColumnType::Text => text().prop_map(|text| expect(Value::text(text))).boxed(),
        ColumnType::Bytes => {
            vec(select(vec![0, 1, b'a', 255]), 0..3).prop_map(Value::Bytes).boxed()
        }
        ColumnType::Json => select(vec!["null", "{}", "{\"a\": 1}", "\"a\"", "[1,  2]"])
            .prop_map(|text| expect(Value::text(text)))
            .boxed(),
        ColumnType::Uuid => {
            let uuids = [[0; 16], [0x9f; 16], [0xa0; 16], [255; 16], *b"0123456789abcdef"];
            select(uuids.to_vec()).prop_map(Value::Uuid).boxed()
        }
    };
    prop_oneof![1 => Just(Value::Null), 6 => value].boxed()
}

/// A row of `table`: a value for every column, in their order.
pub fn row(table: &TableSchema) -> BoxedStrategy<Row> {
    table
        .columns
        .iter()
        .map(|column| {
            let value = value(column.column_type);
            let not_null = column.not_null;
            value.prop_filter("NOT NULL", move |value| !(not_null && value.is_null())).boxed()
        })
        .collect::<Vec<_>>()
        .prop_map(Row)
        .boxed()
}

/// A predicate that fits `table`, of up to about 16 parts.
pub fn predicate(table: &TableSchema) -> BoxedStrategy<Predicate> {
    comparison(table)
        .prop_recursive(4, 16, 3, |inner| {
            prop_oneof![
                inner.clone().prop_map(|inner| Predicate::Not(Box::new(inner))),
                vec(inner.clone(), 0..4).prop_map(Predicate::And),
                vec(inner, 0..4).prop_map(Predicate::Or),
            ]
        })
        .boxed()
}

fn comparison(table: &TableSchema) -> BoxedStrategy<Predicate> {
    let columns = table.columns.clone();
    let others = columns.clone();
    (select(columns), 0..10_u8)
        .prop_flat_map(move |(column, form)| one_comparison(&column, &others, form))
        .boxed()
}

fn one_comparison(column: &Column, others: &[Column], form: u8) -> BoxedStrategy<Predicate> {
    let (id, column_type) = (column.id, column.column_type);
    let ordered = column_type.is_ordered();
    match form {
        0 => select(vec![Truth::False, Truth::Unknown, Truth::True])
            .prop_map(Predicate::Constant)
            .boxed(),
        1 if column_type == ColumnType::Text => {
            pattern().prop_map(move |pattern| Predicate::Like { column: id, pattern }).boxed()
        }
        2..=3 if ordered => vec(value(column_type), 1..4)
            .prop_map(move |values| Predicate::In { column: id, values })
            .boxed(),
        4 if ordered => (value(column_type), value(column_type))
            .prop_map(move |(low, high)| Predicate::between(id, low, high))
            .boxed(),
        5 if ordered => {
            let comparable = |other: &&Column| {
                other.column_type == column_type
                    || matches!(
                        (other.column_type, column_type),
                        (ColumnType::Int, ColumnType::BigInt)
                            | (ColumnType::BigInt, ColumnType::Int)
                    )
            };
            let ids: Vec<_> = others.iter().filter(comparable).map(|other| other.id).collect();
            compare(id, select(ids).prop_map(Operand::Column).boxed())
        }
        6..=9 if ordered => compare(id, value(column_type).prop_map(Operand::Value).boxed()),
        _ => Just(Predicate::IsNull(id)).boxed(),
    }
}

fn compare(column: ColumnId, operand: BoxedStrategy<Operand>) -> BoxedStrategy<Predicate> {
    let ops = [
        CompareOp::Equal,
        CompareOp::NotEqual,
        CompareOp::Less,
        CompareOp::LessOrEqual,
        CompareOp::Greater,
        CompareOp::GreaterOrEqual,
    ];
    (select(ops.to_vec()), operand)
        .prop_map(move |(op, operand)| Predicate::Compare { column, op, operand })
        .boxed()
}

/// Patterns over the letters of [`text`].
pub fn pattern() -> BoxedStrategy<LikePattern> {
    let parts = prop_oneof![
        3 => select(vec!["%", "_"]),
        2 => select(vec!["a", "A", "b", "é", "😀", "\n", "\\%", "\\_", "\\\\"]),
    ];
    vec(parts, 0..8).prop_map(|parts| expect(LikePattern::new(parts.concat()))).boxed()
}

/// Short texts over few letters: both cases, what LIKE treats as special, an accent in its two
/// spellings, the last character of the basic plane and one behind it.
pub fn text() -> BoxedStrategy<String> {
    let letters = ["a", "A", "b", "%", "_", "\\", "é", "e\u{301}", "\u{ffff}", "😀", "\n", " "];
    vec(select(letters.to_vec()), 0..8).prop_map(|letters| letters.concat()).boxed()
}

fn integer(numbers: &[i64]) -> BoxedStrategy<Value> {
    select(numbers.to_vec()).prop_map(Value::Integer).boxed()
}

fn id(number: usize) -> u16 {
    expect(u16::try_from(number))
}

fn expect<T, E: std::fmt::Debug>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("a test's own value is wrong: {error:?}"),
    }
}
