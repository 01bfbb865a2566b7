use protocol::literal::{Literal, uuid_text};
use protocol::predicate::PredicateSql;
use protocol::schema::{Column, TableSchema};
use protocol::value::{ColumnType, Row, Value};
use rusqlite::types::{Value as SqliteValue, ValueRef as SqliteRef};
use rusqlite::{Connection, params_from_iter};

/// A SQLite database with one table, made as a replica makes it: STRICT, BINARY, no conversion.
pub(crate) struct Sqlite {
    connection: Connection,
    table: String,
}

impl Sqlite {
    /// Without a table.
    pub(crate) fn empty() -> Self {
        let connection = Connection::open_in_memory().unwrap();
        // A replica brings a `like` of its own. Here SQLite's own one judges, told to mind the case.
        connection.execute_batch("PRAGMA case_sensitive_like = ON").unwrap();
        Self { connection, table: String::new() }
    }

    pub(crate) fn with_rows(schema: &TableSchema, rows: &[Row]) -> Self {
        let connection = Self::empty().connection;
        let columns: Vec<String> = schema
            .columns
            .iter()
            .map(|column| format!("\"{}\" {}", column.name, storage_class(column.column_type)))
            .collect();
        let table = schema.name.in_replica();
        let create = format!("CREATE TABLE {table} ({}) STRICT", columns.join(", "));
        connection.execute_batch(&create).unwrap();
        let marks = vec!["?"; columns.len()].join(", ");
        let mut insert =
            connection.prepare(&format!("INSERT INTO {table} VALUES ({marks})")).unwrap();
        for row in rows {
            insert.execute(params_from_iter(row.iter().map(to_sqlite))).unwrap();
        }
        drop(insert);
        Self { connection, table }
    }

    /// The ids of the rows that satisfy a predicate, ascending.
    pub(crate) fn select(&self, predicate: &PredicateSql) -> Vec<i64> {
        let PredicateSql { text, parameters } = predicate;
        let sql = format!("SELECT id FROM {} WHERE {text} ORDER BY id", self.table);
        let mut select = self.connection.prepare(&sql).unwrap();
        let parameters = params_from_iter(parameters.iter().map(to_sqlite));
        select.query_map(parameters, |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    /// Whether a text fits a pattern.
    pub(crate) fn like(&self, text: &str, pattern: &str) -> bool {
        let sql = "SELECT ?1 LIKE ?2 ESCAPE '\\'";
        self.connection.query_row(sql, [text, pattern], |row| row.get(0)).unwrap()
    }

    /// All values of a column, as SQLite orders them.
    pub(crate) fn column_in_order(&self, column: &Column) -> Vec<Value> {
        let sql = format!("SELECT \"{0}\" FROM {1} ORDER BY \"{0}\"", column.name, self.table);
        let mut select = self.connection.prepare(&sql).unwrap();
        let mut rows = select.query([]).unwrap();
        let mut values = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            values.push(from_sqlite(column.column_type, row.get_ref(0).unwrap()));
        }
        values
    }
}

fn storage_class(column_type: ColumnType) -> &'static str {
    match column_type {
        ColumnType::Boolean | ColumnType::Int | ColumnType::BigInt | ColumnType::Timestamp => {
            "INTEGER"
        }
        ColumnType::Double => "REAL",
        ColumnType::Text | ColumnType::Json | ColumnType::Uuid => "TEXT",
        ColumnType::Bytes => "BLOB",
    }
}

fn to_sqlite(value: &Value) -> SqliteValue {
    match value {
        Value::Null => SqliteValue::Null,
        Value::Boolean(value) => SqliteValue::Integer((*value).into()),
        Value::Integer(value) => SqliteValue::Integer(*value),
        Value::Double(value) => SqliteValue::Real(value.get()),
        Value::Text(value) => SqliteValue::Text(value.to_string()),
        Value::Bytes(value) => SqliteValue::Blob(value.clone()),
        Value::Uuid(value) => SqliteValue::Text(uuid_text(*value)),
    }
}

fn from_sqlite(column_type: ColumnType, value: SqliteRef<'_>) -> Value {
    match (column_type, value) {
        (_, SqliteRef::Null) => Value::Null,
        (ColumnType::Boolean, SqliteRef::Integer(value)) => Value::Boolean(value == 1),
        (_, SqliteRef::Integer(value)) => Value::Integer(value),
        (_, SqliteRef::Real(value)) => Value::double(value).unwrap(),
        (column_type, SqliteRef::Text(text)) => {
            column_type.value_of(Literal::Text(std::str::from_utf8(text).unwrap())).unwrap()
        }
        (_, SqliteRef::Blob(bytes)) => Value::Bytes(bytes.to_vec()),
    }
}
