use super::{Operand, Predicate, Truth};
use crate::ids::ColumnId;
use crate::schema::TableSchema;
use crate::value::Value;

/// A predicate as SQL for a replica, which is SQLite: text with `?1`, `?2`, … and their values.
///
/// Text comparisons rely on SQLite's BINARY collation, `LIKE` on a case-sensitive `like` function;
/// the replica has both. BOOLEAN values are bound as 0 and 1, UUIDs as lower-case text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PredicateSql {
    /// The condition, to be put behind WHERE.
    pub text: String,
    /// What to bind, in order.
    pub parameters: Vec<Value>,
}

impl Predicate {
    /// The SQL of this predicate on `table`, which must have passed [`Predicate::check`].
    ///
    /// # Panics
    /// When the predicate names a column that `table` does not have.
    pub fn to_sql(&self, table: &TableSchema) -> PredicateSql {
        let mut sql = PredicateSql { text: String::new(), parameters: Vec::new() };
        sql.push(self, table);
        sql
    }
}

impl PredicateSql {
    fn push(&mut self, predicate: &Predicate, table: &TableSchema) {
        match predicate {
            Predicate::Constant(truth) => self.text.push_str(match truth {
                Truth::True => "1",
                Truth::False => "0",
                Truth::Unknown => "NULL",
            }),
            Predicate::Compare { column, op, operand } => {
                self.push_column(*column, table);
                for part in [" ", op.symbol(), " "] {
                    self.text.push_str(part);
                }
                match operand {
                    Operand::Value(value) => self.push_value(value.clone()),
                    Operand::Column(right) => self.push_column(*right, table),
                }
            }
            Predicate::IsNull(column) => {
                self.push_column(*column, table);
                self.text.push_str(" IS NULL");
            }
            Predicate::In { column, values } => {
                self.push_column(*column, table);
                self.text.push_str(" IN (");
                self.push_joined(values, ", ", |sql, value| sql.push_value(value.clone()));
                self.text.push(')');
            }
            Predicate::Like { column, pattern } => {
                self.push_column(*column, table);
                self.text.push_str(" LIKE ");
                #[expect(clippy::expect_used, reason = "a pattern is text without U+0000")]
                self.push_value(Value::text(pattern.as_str()).expect("a pattern is text"));
                self.text.push_str(" ESCAPE '\\'");
            }
            Predicate::Not(inner) => {
                self.text.push_str("NOT (");
                self.push(inner, table);
                self.text.push(')');
            }
            Predicate::And(parts) => self.push_parts(parts, " AND ", "1", table),
            Predicate::Or(parts) => self.push_parts(parts, " OR ", "0", table),
        }
    }

    fn push_parts(&mut self, parts: &[Predicate], word: &str, empty: &str, table: &TableSchema) {
        if parts.is_empty() {
            self.text.push_str(empty);
            return;
        }
        self.text.push('(');
        self.push_joined(parts, word, |sql, part| sql.push(part, table));
        self.text.push(')');
    }

    fn push_joined<T>(&mut self, items: &[T], word: &str, mut push: impl FnMut(&mut Self, &T)) {
        for (position, item) in items.iter().enumerate() {
            if position > 0 {
                self.text.push_str(word);
            }
            push(self, item);
        }
    }

    fn push_column(&mut self, id: ColumnId, table: &TableSchema) {
        #[expect(clippy::expect_used, reason = "the predicate was checked against this table")]
        let column = table.column(id).expect("a checked predicate names columns of its table");
        // A name may be a keyword. In double quotes SQLite would take one that it does not know for
        // a string; in brackets it is an error.
        self.text.push('[');
        self.text.push_str(column.name.as_str());
        self.text.push(']');
    }

    fn push_value(&mut self, value: Value) {
        self.parameters.push(value);
        self.text.push('?');
        self.text.push_str(&self.parameters.len().to_string());
    }
}
