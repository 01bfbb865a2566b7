//! What only the device can give when it writes: defaults, ids, the time, who writes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use protocol::generated::{Snowflakes, uuid_v7};
use protocol::ids::{ColumnId, TableId, TenantId};
use protocol::schema::{ColumnDefault, TableKind};
use protocol::value::Value;
use rusqlite::Connection;
use rusqlite::functions::{Context, FunctionFlags};

use crate::guard::lock;
use crate::surroundings::DEFAULT;
use crate::table::Tables;
use crate::values::owned;

/// The function `SNOWFLAKE_ID()`, as SQLite calls it.
pub(crate) const SNOWFLAKE: &str = "snowflake_id";

/// Why it is not for tables that others write, too: two devices may get the same one.
pub(crate) const NO_SNOWFLAKE: &str = "SNOWFLAKE_ID() on a device is only for tables of its user, since two devices may get the same \
     one: use UUID_V7()";

/// The functions that whoever writes has, and whoever reads has not.
pub(crate) const FUNCTIONS: [&str; 4] = ["now", SNOWFLAKE, "uuid_v7", "current_user"];

/// Who writes, and when.
#[derive(Clone, Debug)]
pub struct Writer {
    /// The user whose replica it is.
    pub user: TenantId,
    /// The time, as far as possible by the server's clock, in microseconds since 1970, UTC.
    pub now: i64,
}

/// What functions and defaults are made of. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Making(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    writer: Option<Writer>,
    snowflakes: Snowflakes,
    /// Whether the table is its user's own, and the default.
    defaults: BTreeMap<(TableId, ColumnId), (bool, ColumnDefault)>,
}

type Made = rusqlite::Result<Value>;
type Function = fn(&mut Inner) -> Made;

impl Making {
    /// Registers the functions.
    pub(crate) fn install(connection: &Connection) -> rusqlite::Result<Self> {
        let node = getrandom::u64().unwrap_or_default();
        let inner =
            Inner { writer: None, snowflakes: Snowflakes::new(node), defaults: BTreeMap::new() };
        let making = Self(Arc::new(Mutex::new(inner)));
        let functions: [Function; 4] =
            [Inner::now, Inner::snowflake, Inner::uuid_v7, Inner::current_user];
        for (name, function) in FUNCTIONS.into_iter().zip(functions) {
            let inner = Arc::clone(&making.0);
            connection.create_scalar_function(name, 0, FLAGS, move |_| {
                function(&mut lock(&inner)).map(owned)
            })?;
        }
        let inner = Arc::clone(&making.0);
        connection.create_scalar_function(DEFAULT, 2, FLAGS, move |context| {
            lock(&inner).default(context).map(owned)
        })?;
        Ok(making)
    }

    /// The tables are these from now on.
    pub(crate) fn know(&self, tables: &Tables) {
        let mut inner = lock(&self.0);
        inner.defaults.clear();
        for (id, table) in &tables.0 {
            let is_own = !matches!(table.schema.kind, TableKind::Shared(_));
            for column in &table.schema.columns {
                if let Some(default) = table.default_of(column.id) {
                    inner.defaults.insert((*id, column.id), (is_own, default));
                }
            }
        }
    }

    /// Who writes from now on; triggers of the application may ask in a step of the server, too.
    pub(crate) fn begin(&self, writer: &Writer) {
        lock(&self.0).writer = Some(writer.clone());
    }
}

const FLAGS: FunctionFlags = FunctionFlags::SQLITE_UTF8;

impl Inner {
    fn writer(&self) -> rusqlite::Result<&Writer> {
        self.writer.as_ref().ok_or_else(|| failed("nobody writes"))
    }

    fn now(&mut self) -> Made {
        Ok(Value::Integer(self.writer()?.now))
    }

    fn snowflake(&mut self) -> Made {
        let now = self.writer()?.now;
        Ok(Value::Integer(self.snowflakes.next(now)))
    }

    fn uuid_v7(&mut self) -> Made {
        let mut random = [0; 16];
        getrandom::fill(&mut random)
            .map_err(|_| failed("the system gives no random numbers: try again"))?;
        Ok(Value::Uuid(uuid_v7(self.writer()?.now, random)))
    }

    fn current_user(&mut self) -> Made {
        Value::text(self.writer()?.user.as_str()).map_err(|_| failed("the user has no name"))
    }

    fn default(&mut self, context: &Context<'_>) -> Made {
        let column = (TableId(context.get(0)?), ColumnId(context.get(1)?));
        let Some((is_own, default)) = self.defaults.get(&column).cloned() else {
            // It has none any more.
            return Ok(Value::Null);
        };
        match default {
            ColumnDefault::Value(value) => Ok(value),
            ColumnDefault::Now => self.now(),
            ColumnDefault::SnowflakeId if !is_own => Err(failed(NO_SNOWFLAKE)),
            ColumnDefault::SnowflakeId => self.snowflake(),
            ColumnDefault::UuidV7 => self.uuid_v7(),
            ColumnDefault::CurrentUser => self.current_user(),
        }
    }
}

fn failed(told: &'static str) -> rusqlite::Error {
    rusqlite::Error::UserFunctionError(told.into())
}
