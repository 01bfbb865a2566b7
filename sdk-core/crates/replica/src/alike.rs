//! Whether a query on the replica gives the rows that a subscription selects, so that its predicate
//! says which changes concern the query.

use protocol::literal::{Literal, uuid_text};
use protocol::predicate::Predicate;
use protocol::schema::TableSchema;
use protocol::value::{ColumnType, Value};

use crate::tokens::{Kind, Token, tokens};

/// Whether a query is the SQL of a subscription, with nothing more behind it than ORDER BY or LIMIT:
/// then what it gives follows from the rows that the subscription's predicate selects.
pub fn selects_like(query: &str, subscription: &str) -> bool {
    let (query, subscription) = (said(query), said(subscription));
    let Some(rest) = query.get(subscription.len()..) else { return false };
    let is_same = |(one, other): (&Token<'_>, &Token<'_>)| one.text == other.text;
    let begins_alike = query.iter().zip(&subscription).all(is_same);
    let ends_so = rest.first().is_none_or(|next| next.is_word("ORDER") || next.is_word("LIMIT"));
    // A query within it may look at other rows.
    let has_query = |token: &Token<'_>| token.is_word("SELECT") || token.is_word("VALUES");
    begins_alike && ends_so && !rest.iter().any(has_query)
}

/// Whether SQLite compares with the constants of a text as the predicate does that the server has
/// made of it. To the server a text is a time, or a UUID however it is written, where it stands beside
/// such a column; to SQLite a text is a text.
pub fn means_the_same(
    sql: &str,
    params: &[Value],
    predicate: &Predicate,
    table: &TableSchema,
) -> bool {
    let has = |wanted: ColumnType| {
        let of = |id| table.column(id).map(|column| column.column_type);
        predicate.columns().into_iter().any(|id| of(id).is_none_or(|is| is == wanted))
    };
    let (has_time, has_uuid) = (has(ColumnType::Timestamp), has(ColumnType::Uuid));
    if !has_time && !has_uuid {
        return true;
    }
    let is_other = |text: &str| {
        let as_type = |of: ColumnType| of.value_of(Literal::Text(text)).ok();
        let is_time = has_time && as_type(ColumnType::Timestamp).is_some();
        let uuid = as_type(ColumnType::Uuid).filter(|_| has_uuid);
        is_time
            || uuid.is_some_and(|uuid| !matches!(uuid, Value::Uuid(id) if uuid_text(id) == text))
    };
    let in_params = params.iter().any(|value| matches!(value, Value::Text(text) if is_other(text)));
    let in_sql = said(sql).into_iter().filter(|token| token.kind == Kind::Text).any(|token| {
        // No time and no UUID has a quote in it.
        is_other(token.text.trim_matches('\''))
    });
    !in_params && !in_sql
}

/// What a statement says: no spaces, no comments, and nothing that ends it.
fn said(sql: &str) -> Vec<Token<'_>> {
    let mut said = tokens(sql);
    said.retain(|token| token.kind != Kind::Space);
    while said.last().is_some_and(|token| token.text == ";") {
        said.pop();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::ids::{ColumnId, Name, SchemaVersion, TableId};
    use protocol::predicate::{CompareOp, Operand};
    use protocol::schema::{Column, MergeRule, TableKind};

    const WANTED: &str = "SELECT * FROM chat.messages WHERE room = $1";

    #[test]
    fn a_query_is_that_of_a_subscription_and_an_order() {
        for alike in [
            "SELECT * FROM chat.messages WHERE room = $1",
            "SELECT *\n FROM chat.messages /* mine */ WHERE room = $1 ;",
            "SELECT * FROM chat.messages WHERE room = $1 ORDER BY _seq IS NULL, _seq DESC",
            "SELECT * FROM chat.messages WHERE room = $1 limit 10 OFFSET 3",
        ] {
            assert!(selects_like(alike, WANTED), "{alike}");
        }
        for other in [
            "SELECT * FROM chat.messages WHERE room",
            "SELECT id FROM chat.messages WHERE room = $1",
            "SELECT * FROM chat.messages WHERE room = $1 OR id = 3",
            "SELECT * FROM chat.messages WHERE room = $1 + 1",
            "SELECT * FROM chat.messages WHERE room = $1 UNION SELECT * FROM chat.messages",
            "SELECT * FROM chat.messages WHERE room = $1 GROUP BY id ORDER BY id",
            "SELECT * FROM chat.messages WHERE room = $1 ORDER BY (SELECT count(*) FROM a.b)",
            "SELECT * FROM chat.messages WHERE room = $1 LIMIT (VALUES (1))",
            "SELECT * FROM chat.messages",
        ] {
            assert!(!selects_like(other, WANTED), "{other}");
        }
        assert!(!selects_like("SELECT * FROM a.b, a.c", "SELECT * FROM a.b"));
        assert!(!selects_like("SELECT * FROM a.b JOIN a.c", "SELECT * FROM a.b"));
    }

    #[test]
    fn a_text_beside_a_time_or_a_uuid_is_another_thing_to_sqlite() {
        let alike = |column_type, sql: &str, params: &[Value]| {
            let column = Column {
                id: ColumnId(1),
                name: Name::new("a").unwrap(),
                column_type,
                not_null: false,
                default: None,
                merge: MergeRule::Last,
            };
            let table = TableSchema {
                id: TableId(64),
                name: "chat.messages".parse().unwrap(),
                version: SchemaVersion(1),
                kind: TableKind::User,
                columns: vec![column],
                primary_key: vec![ColumnId(1)],
                indexes: vec![],
                ttl_seconds: None,
            };
            let operand = Operand::Value(Value::Null);
            let op = CompareOp::Less;
            let predicate = Predicate::Compare { column: ColumnId(1), op, operand };
            means_the_same(sql, params, &predicate, &table)
        };
        let text = |text: &str| Value::text(text).unwrap();
        let (lower, upper) =
            ("01234567-89ab-cdef-0123-456789abcdef", "01234567-89AB-cdef-0123-456789abcdef");
        assert!(alike(ColumnType::Timestamp, "a < 5 AND b = 'open'", &[text("x")]));
        assert!(!alike(ColumnType::Timestamp, "a < '2026-01-31 12:00:00'", &[]));
        assert!(!alike(ColumnType::Timestamp, "a < $1", &[text("2026-01-31T12:00:00Z")]));
        assert!(alike(ColumnType::Text, "a < '2026-01-31 12:00:00'", &[text(upper)]));
        assert!(alike(ColumnType::Uuid, &format!("a = '{lower}'"), &[Value::Uuid([1; 16])]));
        assert!(!alike(ColumnType::Uuid, &format!("a = '{upper}'"), &[]));
        assert!(!alike(ColumnType::Uuid, "a = $1", &[text(upper)]));
    }
}
