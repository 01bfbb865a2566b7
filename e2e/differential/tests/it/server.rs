use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocol::ids::{Epoch, Lane};
use protocol::literal::uuid_text;
use protocol::predicate::{Operand, Predicate, Truth};
use protocol::schema::TableSchema;
use protocol::value::{ColumnType, Row, Value};
use server_engine::{
    Actor, Catalog, Command, Entry, LAYOUT, Outcome, Role, SLOTS, Shard, ShardNumber, Slot, Stores,
    Time, View,
};
use server_query::{Param, Request, Settings, ShardError, Shards, Sql};
use server_storage::{MemoryStore, Store};
use tokio::runtime::Runtime;
use tokio::time::Instant;

const SHARD: ShardNumber = ShardNumber(0);
const NOW: Time = Time(1_800_000_000_000_000);

/// The SQL of a server, over an engine in memory with one table.
pub(crate) struct Server {
    runtime: Runtime,
    table: TableSchema,
    /// What the engine can evaluate, it does.
    pushing: Sql,
    /// DataFusion evaluates everything.
    leaving: Sql,
}

impl Server {
    pub(crate) fn with_rows(table: &TableSchema, rows: &[Row]) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let memory: Arc<dyn Shards> = Arc::new(Memory::new());
        let sql = || Sql::new(Arc::clone(&memory), &Settings::default()).unwrap();
        let (pushing, leaving) = (sql(), sql().without_push_down());
        let server = Self { runtime, table: table.clone(), pushing, leaving };
        let deadline = || Instant::now() + Duration::from_secs(60);
        server.runtime.block_on(async { server.pushing.found(deadline()).await }).unwrap();
        server.run(&server.pushing, Role::Admin, "CREATE NAMESPACE test", vec![]);
        let columns = table.columns.iter().map(|column| {
            let key = if column.not_null { " PRIMARY KEY" } else { "" };
            format!("{} {}{key}", column.name, column.column_type)
        });
        let columns = columns.collect::<Vec<_>>().join(", ");
        let create = format!("CREATE USER TABLE {} ({columns}, INDEX (a_int))", table.name);
        server.run(&server.pushing, Role::Admin, &create, vec![]);
        for row in rows {
            let marks = (1..=row.len()).map(|number| format!("${number}"));
            let marks = marks.collect::<Vec<_>>().join(", ");
            let params = table.columns.iter().zip(row.iter());
            let params = params.map(|(column, value)| param(column.column_type, value)).collect();
            let insert = format!("INSERT INTO {} VALUES ({marks})", table.name);
            server.run(&server.pushing, Role::User, &insert, params);
        }
        server
    }

    /// The ids of the rows that satisfy a predicate, ascending: as the engine evaluates it, and as
    /// DataFusion does.
    pub(crate) fn select(&self, predicate: &Predicate) -> (String, [Vec<i64>; 2]) {
        let mut emitted = Emitted { table: &self.table, text: String::new(), params: Vec::new() };
        emitted.push(predicate);
        let Emitted { text, params, .. } = emitted;
        let sql = format!("SELECT id FROM {} WHERE {text} ORDER BY id", self.table.name);
        let ids = [&self.pushing, &self.leaving]
            .map(|judge| self.run(judge, Role::User, &sql, params.clone()));
        (sql, ids)
    }

    fn run(&self, judge: &Sql, role: Role, sql: &str, params: Vec<Param>) -> Vec<i64> {
        let actor = Actor { user: "alice".parse().unwrap(), role };
        let answer = self.runtime.block_on(async {
            let deadline = Instant::now() + Duration::from_secs(60);
            let sql = sql.to_owned();
            judge.run(Request { actor, sql, params, id: None, deadline }).await
        });
        let answer = answer.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let id = |row: &Row| match &row[0] {
            Value::Integer(id) => *id,
            other => panic!("{other:?}"),
        };
        answer.rows.iter().map(id).collect()
    }
}

fn param(column_type: ColumnType, value: &Value) -> Param {
    match value {
        Value::Null => Param::Null,
        Value::Boolean(value) => Param::Boolean(*value),
        Value::Integer(number) => Param::Number(number.to_string()),
        Value::Double(number) => Param::Number(format!("{:?}", number.get())),
        Value::Text(text) => Param::Text(text.to_string()),
        Value::Bytes(bytes) => Param::Bytes(bytes.clone()),
        // In the other spelling.
        Value::Uuid(uuid) if column_type == ColumnType::Uuid => {
            Param::Text(uuid_text(*uuid).to_uppercase())
        }
        Value::Uuid(_) => panic!("a UUID in a {column_type} column"),
    }
}

/// A predicate as SQL of the server.
struct Emitted<'a> {
    table: &'a TableSchema,
    text: String,
    params: Vec<Param>,
}

impl Emitted<'_> {
    fn push(&mut self, predicate: &Predicate) {
        match predicate {
            Predicate::Constant(Truth::True) => self.text.push_str("TRUE"),
            Predicate::Constant(Truth::False) => self.text.push_str("FALSE"),
            Predicate::Constant(Truth::Unknown) => self.text.push_str("NULL"),
            Predicate::Compare { column, op, operand } => {
                self.column(*column);
                for part in [" ", op.symbol(), " "] {
                    self.text.push_str(part);
                }
                match operand {
                    Operand::Value(value) => self.value(*column, value),
                    Operand::Column(other) => self.column(*other),
                }
            }
            Predicate::IsNull(column) => {
                self.column(*column);
                self.text.push_str(" IS NULL");
            }
            Predicate::In { column, values } => {
                self.column(*column);
                self.text.push_str(" IN ");
                self.list(values, ", ", "NULL", |emitted, value| emitted.value(*column, value));
            }
            Predicate::Like { column, pattern } => {
                self.column(*column);
                self.text.push_str(" LIKE ");
                self.value(*column, &Value::text(pattern.as_str()).unwrap());
            }
            Predicate::Not(inner) => {
                self.text.push_str("NOT ");
                self.list(std::slice::from_ref(&**inner), "", "", Self::push);
            }
            Predicate::And(parts) => self.list(parts, " AND ", "TRUE", Self::push),
            Predicate::Or(parts) => self.list(parts, " OR ", "FALSE", Self::push),
        }
    }

    fn list<T>(&mut self, items: &[T], word: &str, none: &str, push: impl Fn(&mut Self, &T)) {
        self.text.push('(');
        for (number, item) in items.iter().enumerate() {
            self.text.push_str(if number > 0 { word } else { "" });
            push(self, item);
        }
        self.text.push_str(if items.is_empty() { none } else { "" });
        self.text.push(')');
    }

    fn column(&mut self, id: protocol::ids::ColumnId) {
        self.text.push_str(self.table.column(id).unwrap().name.as_str());
    }

    fn value(&mut self, column: protocol::ids::ColumnId, value: &Value) {
        let column_type = self.table.column(column).unwrap().column_type;
        self.params.push(param(column_type, value));
        self.text.push_str(&format!("${}", self.params.len()));
    }
}

#[derive(Debug)]
struct Memory {
    store: MemoryStore,
    shard: Mutex<Shard>,
}

impl Memory {
    fn new() -> Self {
        let store = MemoryStore::new(LAYOUT);
        let stores = Arc::new(Stores::open(&store).unwrap());
        let shard = Shard::open(&*store.snapshot(), SHARD, stores).unwrap();
        let memory = Self { store, shard: Mutex::new(shard) };
        let slots = (0..SLOTS).map(|slot| Slot::new(slot).unwrap()).collect();
        memory.apply(Command::Found { slots, epoch: Epoch::from_bytes([7; 16]) });
        memory
    }

    fn apply(&self, command: Command) -> Outcome {
        let mut shard = self.shard.lock().unwrap();
        let entry = Entry::new(NOW, vec![command]);
        let mut applied = shard.apply(&*self.store.snapshot(), &entry).unwrap();
        self.store.write(std::mem::take(&mut applied.batch)).unwrap();
        applied.outcomes.remove(0)
    }
}

impl Shards for Memory {
    fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(self.shard.lock().unwrap().catalog())
    }

    fn read(&self, _: &Lane, look: &mut dyn FnMut(View<'_>)) -> Result<(), ShardError> {
        let snapshot = self.store.snapshot();
        look(View::new(&*snapshot, &self.catalog(), SHARD, NOW));
        Ok(())
    }

    fn propose(
        &self,
        command: Command,
        _: Instant,
    ) -> Pin<Box<dyn Future<Output = Result<Outcome, ShardError>> + Send + '_>> {
        Box::pin(async move { Ok(self.apply(command)) })
    }

    fn now(&self) -> Time {
        NOW
    }
}
