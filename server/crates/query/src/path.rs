//! Which part of a table a condition leaves to be read: some keys, some indexed values, or all.

use protocol::ids::ColumnId;
use protocol::predicate::{CompareOp, Operand, Predicate};
use protocol::schema::TableSchema;
use protocol::value::{Row, Value};
use server_engine::{SCANNED_VALUES_MAX, ScannedRange};

/// Where the rows that meet a condition can lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// Under these primary keys.
    Keys(Vec<Row>),
    /// In this part of the partition.
    Range(ScannedRange),
}

/// The smallest part that has all rows of `schema` that meet `predicate`.
pub(crate) fn path(schema: &TableSchema, predicate: &Predicate) -> Path {
    let mut conjuncts = Vec::new();
    flatten(predicate, &mut conjuncts);
    if let Some(keys) = combinations(&schema.primary_key, &conjuncts) {
        return Path::Keys(keys);
    }
    for index in &schema.indexes {
        if let Some(values) = combinations(&index.columns, &conjuncts) {
            return Path::Range(ScannedRange::Index { index: index.id, values });
        }
    }
    Path::Range(ScannedRange::Partition)
}

/// Whether the condition says which keys it is about, and nothing else.
pub(crate) fn is_about_keys(schema: &TableSchema, predicate: &Predicate) -> bool {
    let mut conjuncts = Vec::new();
    flatten(predicate, &mut conjuncts);
    let is_of_key =
        |part: &&Predicate| fixed(part).is_some_and(|(id, _)| schema.primary_key.contains(&id));
    conjuncts.iter().all(is_of_key) && combinations(&schema.primary_key, &conjuncts).is_some()
}

fn flatten<'p>(predicate: &'p Predicate, conjuncts: &mut Vec<&'p Predicate>) {
    match predicate {
        Predicate::And(parts) => parts.iter().for_each(|part| flatten(part, conjuncts)),
        other => conjuncts.push(other),
    }
}

/// The column that a condition fixes, and to which values.
fn fixed(predicate: &Predicate) -> Option<(ColumnId, &[Value])> {
    match predicate {
        Predicate::Compare { column, op: CompareOp::Equal, operand: Operand::Value(value) } => {
            Some((*column, std::slice::from_ref(value)))
        }
        Predicate::In { column, values } => Some((*column, values)),
        _ => None,
    }
}

/// All combinations of values to which `columns` are fixed, each once; `None` when one of them is
/// not, or there are too many.
fn combinations(columns: &[ColumnId], conjuncts: &[&Predicate]) -> Option<Vec<Row>> {
    let mut rows = vec![Row::default()];
    for column in columns {
        // Of two conditions on one column either does: the rows are held against both.
        let mut fixing = conjuncts.iter().filter_map(|part| fixed(part));
        let (_, values) = fixing.find(|(id, _)| id == column)?;
        let mut values: Vec<&Value> = values.iter().filter(|value| !value.is_null()).collect();
        values.sort();
        values.dedup();
        if values.len() * rows.len() > SCANNED_VALUES_MAX {
            return None;
        }
        let extended = |row: &Row| -> Vec<Row> {
            let with = |value: &&Value| row.iter().chain([*value]).cloned().collect();
            values.iter().map(with).collect()
        };
        rows = rows.iter().flat_map(extended).collect();
    }
    Some(rows)
}
