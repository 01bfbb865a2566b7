//! What an application may do, and what nobody but the SDK may.
//!
//! Two lines of defence. Each replicated table has triggers that call a function which only the SDK
//! registers: for any other program a write fails, and reading works. The same function tells the
//! triggers who writes, so that what an application does is noted and what the server says is not.
//! And every connection has an authorizer, which SQLite asks while it prepares a statement.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use protocol::predicate::{LikePattern, LikePatternError};
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::functions::FunctionFlags;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::types::ValueRef;

use crate::error::{ReplicaError, told};
use crate::names::rewrite;

/// The function that the triggers of replicated tables call. It gives 0 where the SDK writes;
/// otherwise an application does, and it is how its statement makes a row that is not here: see
/// [`INSERTS`].
pub(crate) const WRITES: &str = "tidewire_writes";

/// The view of what waits to be sent.
pub(crate) const PENDING: &str = "tw_pending";

/// What it reads of the tables behind it.
const BEHIND_PENDING: [(&str, &[&str]); 4] = [
    ("tw_operations", &["table_id", "key", "mutation"]),
    ("tw_tables", &["id", "name"]),
    ("tw_outbox", &["id", "lane", "place"]),
    ("tw_writers", &["lane", "sent_id", "stuck"]),
];

/// It is to be a new one. From this number on: where the server has one with its key, that one is
/// changed; each such statement of a transaction has a number of its own.
pub(crate) const INSERTS: i64 = 1;

/// The SDK itself is at work.
const OURS: i64 = 0;

/// The columns that the SDK adds to a replicated table and does not show.
pub(crate) const HIDDEN: &[&str] = &["_set", "_expires"];

/// The SQLite names of the replicated tables, for all connections.
pub(crate) type Replicated = Arc<RwLock<BTreeSet<String>>>;

/// What is allowed on a connection just then, and what was seen of it.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    replicated: Replicated,
    /// Who is at work: what [`WRITES`] gives.
    who: Arc<AtomicI64>,
    /// Whether SAVEPOINT, RELEASE and ROLLBACK TO are allowed.
    has_savepoints: Arc<AtomicBool>,
    /// What was seen of the application's last statement.
    seen: Arc<Mutex<Seen>>,
    /// The tables that triggers of the application have ever written: of some, such as those
    /// without row ids, SQLite tells nobody when they change.
    by_triggers: Arc<Mutex<BTreeSet<String>>>,
}

/// What the authorizer has seen of a statement.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// The tables that it reads.
    reads: BTreeSet<String>,
    /// The tables that it writes: an unconditional DELETE tells nobody else.
    writes: BTreeSet<String>,
    /// The columns of replicated tables that it sets.
    sets: BTreeSet<(String, String)>,
    /// The functions that it calls.
    calls: BTreeSet<String>,
    /// Whether it makes, changes or drops a table, index, view or trigger.
    is_ddl: bool,
    /// Why it was refused.
    refused: Option<String>,
}

/// Why columns of the SDK are not for INSERT.
pub(crate) const NOT_WRITTEN: &str = "columns that begin with _ are of the SDK, and not written";

const OUR_NAMES: &str = "names that begin with tw_ are the SDK's: choose another";

/// Pragmas that only tell something.
const PRAGMAS: &[&str] = &[
    "table_info",
    "table_xinfo",
    "table_list",
    "index_list",
    "index_info",
    "index_xinfo",
    "database_list",
    "compile_options",
    "data_version",
    "user_version",
    "encoding",
];

impl Guard {
    pub(crate) fn new(replicated: Replicated) -> Self {
        Self {
            replicated,
            who: Arc::new(AtomicI64::new(OURS)),
            has_savepoints: Arc::default(),
            seen: Arc::default(),
            by_triggers: Arc::default(),
        }
    }

    /// Watches over a connection. Until it is said otherwise the SDK is at work.
    pub(crate) fn install(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        let flags = FunctionFlags::SQLITE_UTF8;
        let who = Arc::clone(&self.who);
        connection
            .create_scalar_function(WRITES, 0, flags, move |_| Ok(who.load(Ordering::Relaxed)))?;
        like(connection)?;
        let guard = self.clone();
        connection.authorizer(Some(move |context: AuthContext<'_>| guard.decide(&context)))
    }

    /// Lets an application's statement be prepared and run.
    pub(crate) fn as_app<T>(
        &self,
        how: i64,
        work: impl FnOnce() -> Result<T, ReplicaError>,
    ) -> Result<T, ReplicaError> {
        *lock(&self.seen) = Seen::default();
        self.who.store(how, Ordering::Relaxed);
        let done = work();
        self.who.store(OURS, Ordering::Relaxed);
        match lock(&self.seen).refused.take() {
            Some(told) if done.is_err() => Err(ReplicaError::Refused(told)),
            _ => done,
        }
    }

    /// What was seen of the application's statement.
    pub(crate) fn seen(&self) -> Seen {
        lock(&self.seen).clone()
    }

    /// A statement was prepared before, and this was seen then.
    pub(crate) fn recall(&self, seen: &Seen) {
        lock(&self.seen).clone_from(seen);
    }

    /// The tables that were read since the application's statement was prepared.
    pub(crate) fn reads(&self) -> BTreeSet<String> {
        lock(&self.seen).reads.clone()
    }

    /// The tables that it writes.
    pub(crate) fn writes(&self) -> BTreeSet<String> {
        lock(&self.seen).writes.clone()
    }

    /// Whether it makes, changes or drops a table, index, view or trigger.
    pub(crate) fn is_ddl(&self) -> bool {
        lock(&self.seen).is_ddl
    }

    /// The columns of replicated tables that it sets, by an UPDATE or an upsert.
    pub(crate) fn sets(&self) -> BTreeSet<(String, String)> {
        lock(&self.seen).sets.clone()
    }

    /// Whether it calls this function.
    pub(crate) fn calls(&self, function: &str) -> bool {
        lock(&self.seen).calls.contains(function)
    }

    /// Allows statements about savepoints from now on, or not.
    pub(crate) fn allow_savepoints(&self, is_allowed: bool) {
        self.has_savepoints.store(is_allowed, Ordering::Relaxed);
    }

    /// The tables that triggers write.
    pub(crate) fn by_triggers(&self) -> BTreeSet<String> {
        lock(&self.by_triggers).clone()
    }

    fn note_trigger(&self, action: &AuthAction<'_>) {
        if let AuthAction::Insert { table_name }
        | AuthAction::Update { table_name, .. }
        | AuthAction::Delete { table_name } = action
        {
            lock(&self.by_triggers).insert(table_name.to_ascii_lowercase());
        }
    }

    pub(crate) fn is_replicated(&self, table: &str) -> bool {
        let replicated = self.replicated.read().unwrap_or_else(PoisonError::into_inner);
        replicated.contains(&table.to_ascii_lowercase())
    }

    /// An application's statement, as it is prepared.
    pub(crate) fn rewrite(&self, sql: &str) -> String {
        let replicated = self.replicated.read().unwrap_or_else(PoisonError::into_inner);
        rewrite(sql, &replicated)
    }

    fn decide(&self, context: &AuthContext<'_>) -> Authorization {
        // A common table expression says its name as a view does, so a name alone proves little.
        let by_app = match context.accessor {
            Some(name) if name.eq_ignore_ascii_case(PENDING) => {
                if self.is_of_pending(&context.action) {
                    return Authorization::Allow;
                }
                false
            }
            Some(name) if begins(name, "tw_capture_") => {
                if self.is_of_capture(&context.action) {
                    return Authorization::Allow;
                }
                false
            }
            accessor => accessor.is_some(),
        };
        if self.who.load(Ordering::Relaxed) == OURS && !by_app {
            return Authorization::Allow;
        }
        if is_ddl(&context.action) {
            lock(&self.seen).is_ddl = true;
        }
        match self.refusal(&context.action, by_app) {
            Verdict::Allow if by_app => {
                self.note_trigger(&context.action);
                Authorization::Allow
            }
            Verdict::Allow => Authorization::Allow,
            Verdict::Hide => Authorization::Ignore,
            Verdict::Refuse(told) => {
                lock(&self.seen).refused = Some(told);
                Authorization::Deny
            }
        }
    }

    /// What the view of what waits does: it reads the tables behind it.
    fn is_of_pending(&self, action: &AuthAction<'_>) -> bool {
        let AuthAction::Read { table_name, column_name } = action else { return false };
        let is_it = |(table, columns): &(&str, &[&str])| {
            table == table_name && (column_name.is_empty() || columns.contains(column_name))
        };
        let is_it = BEHIND_PENDING.iter().any(is_it);
        if is_it {
            lock(&self.seen).reads.insert(PENDING.to_owned());
        }
        is_it
    }

    /// What a trigger that captures does: it inserts into a log, which nothing but a trigger could
    /// under such a name, and reads the row.
    fn is_of_capture(&self, action: &AuthAction<'_>) -> bool {
        match action {
            AuthAction::Insert { table_name } => begins(table_name, "tw_log_"),
            AuthAction::Read { table_name, column_name } => {
                column_name.starts_with('_') && self.is_replicated(table_name)
            }
            _ => false,
        }
    }

    /// `by_app`: a trigger or view of the application wants it.
    fn refusal(&self, action: &AuthAction<'_>, by_app: bool) -> Verdict {
        match action {
            AuthAction::Read { table_name, column_name } => self.read(table_name, column_name),
            AuthAction::Function { function_name } => {
                lock(&self.seen).calls.insert(function_name.to_ascii_lowercase());
                Verdict::Allow
            }
            AuthAction::Select | AuthAction::Recursive => Verdict::Allow,
            AuthAction::Savepoint { .. } if self.has_savepoints.load(Ordering::Relaxed) => {
                Verdict::Allow
            }
            AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => refuse(
                "transactions are the SDK's, each statement is one: use `batch` or `transaction`"
                    .to_owned(),
            ),
            AuthAction::Attach { .. } | AuthAction::Detach { .. } => refuse(
                "ATTACH, DETACH and VACUUM are not offered: a replica is one file".to_owned(),
            ),
            AuthAction::Pragma { pragma_name, pragma_value } => {
                let pragma = pragma_name.to_ascii_lowercase();
                // What `table_info` is asked about comes as a value, too.
                let is_asked = pragma.starts_with("table_") || pragma.starts_with("index_");
                let sets = pragma_value.is_some() && !is_asked;
                match PRAGMAS.contains(&&*pragma) && !sets {
                    true => Verdict::Allow,
                    false => refuse(format!("PRAGMA {pragma_name} is not offered")),
                }
            }
            // An index or trigger of the application on a replicated table is its own affair.
            AuthAction::CreateIndex { index_name: name, table_name }
            | AuthAction::CreateTrigger { trigger_name: name, table_name } => {
                match is_ours(name) || is_ours(table_name) {
                    true => refuse(OUR_NAMES.to_owned()),
                    false => Verdict::Allow,
                }
            }
            AuthAction::DropIndex { index_name: name, .. }
            | AuthAction::DropTrigger { trigger_name: name, .. }
            | AuthAction::CreateView { view_name: name }
            | AuthAction::DropView { view_name: name }
            | AuthAction::Reindex { index_name: name }
            | AuthAction::CreateTable { table_name: name }
            | AuthAction::CreateVtable { table_name: name, .. } => match is_ours(name) {
                true => refuse(OUR_NAMES.to_owned()),
                false => Verdict::Allow,
            },
            AuthAction::Update { table_name, column_name } => {
                self.updated(table_name, column_name, by_app)
            }
            AuthAction::Insert { table_name } | AuthAction::Delete { table_name } => {
                self.written(table_name, by_app)
            }
            AuthAction::DropTable { table_name }
            | AuthAction::DropVtable { table_name, .. }
            | AuthAction::AlterTable { table_name, .. }
            | AuthAction::Analyze { table_name } => match self.is_replicated(table_name) {
                true => refuse(format!(
                    "{} is replicated: the server says what it is like",
                    told(table_name)
                )),
                false => self.written(table_name, by_app),
            },
            other => refuse(format!("{other:?} is not offered in a replica")),
        }
    }

    fn read(&self, table: &str, column: &str) -> Verdict {
        // Of a table behind a view that no column is wanted of, SQLite says no column, and that the
        // statement wants it.
        if column.is_empty() && BEHIND_PENDING.iter().any(|(behind, _)| *behind == table) {
            lock(&self.seen).reads.insert(PENDING.to_owned());
            return Verdict::Allow;
        }
        if is_ours(table) && !table.eq_ignore_ascii_case(PENDING) {
            return refuse(format!("{table} is the SDK's own: it is not read"));
        }
        lock(&self.seen).reads.insert(table.to_ascii_lowercase());
        let is_hidden = HIDDEN.contains(&&*column.to_ascii_lowercase());
        match is_hidden && self.is_replicated(table) {
            true => Verdict::Hide,
            false => Verdict::Allow,
        }
    }

    fn updated(&self, table: &str, column: &str, by_app: bool) -> Verdict {
        if self.is_replicated(table) {
            if column.starts_with('_') {
                return refuse(format!("{column} is the SDK's own: it is not written"));
            }
            let set = (table.to_ascii_lowercase(), column.to_ascii_lowercase());
            lock(&self.seen).sets.insert(set);
        }
        self.written(table, by_app)
    }

    fn written(&self, table: &str, by_app: bool) -> Verdict {
        if is_ours(table) {
            return refuse(format!("{table} is the SDK's own: it is not written"));
        }
        if by_app && self.is_replicated(table) {
            let name = told(table);
            return refuse(format!(
                "{name} is replicated: a trigger writes local tables, write it by a statement"
            ));
        }
        lock(&self.seen).writes.insert(table.to_ascii_lowercase());
        Verdict::Allow
    }
}

enum Verdict {
    Allow,
    /// Reads as NULL.
    Hide,
    Refuse(String),
}

fn refuse(told: String) -> Verdict {
    Verdict::Refuse(told)
}

fn is_ddl(action: &AuthAction<'_>) -> bool {
    matches!(
        action,
        AuthAction::CreateIndex { .. }
            | AuthAction::CreateTable { .. }
            | AuthAction::CreateTrigger { .. }
            | AuthAction::CreateView { .. }
            | AuthAction::CreateVtable { .. }
            | AuthAction::DropIndex { .. }
            | AuthAction::DropTable { .. }
            | AuthAction::DropTrigger { .. }
            | AuthAction::DropView { .. }
            | AuthAction::DropVtable { .. }
            | AuthAction::AlterTable { .. }
            | AuthAction::Reindex { .. }
            | AuthAction::Analyze { .. }
    )
}

fn is_ours(name: &str) -> bool {
    begins(name, "tw_")
}

fn begins(name: &str, with: &str) -> bool {
    name.get(..with.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(with))
}

/// `"x"` is a name, and never a text because there is no such name.
pub(crate) fn strict_quotes(connection: &Connection) -> rusqlite::Result<()> {
    for option in [DbConfig::SQLITE_DBCONFIG_DQS_DML, DbConfig::SQLITE_DBCONFIG_DQS_DDL] {
        connection.set_db_config(option, false)?;
    }
    Ok(())
}

/// `LIKE` as everywhere in Tidewire: by characters with their case, with `\` as escape.
fn like(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    for arguments in [2, 3] {
        connection.create_scalar_function("like", arguments, flags, |context| {
            let pattern = context.get_or_create_aux(0, pattern)?;
            if context.len() == 3 && context.get::<Option<String>>(2)?.as_deref() != Some("\\") {
                let told = "LIKE takes ESCAPE '\\' and no other";
                return Err(rusqlite::Error::UserFunctionError(told.into()));
            }
            Ok(match (&*pattern, text(context.get_raw(1))) {
                (Some(pattern), Some(text)) => Some(pattern.matches(&text)),
                _ => None,
            })
        })?;
    }
    Ok(())
}

fn pattern(value: ValueRef<'_>) -> Result<Option<LikePattern>, LikePatternError> {
    text(value).map(LikePattern::new).transpose()
}

/// A value as text; nothing where it is NULL, or bytes.
fn text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null | ValueRef::Blob(_) => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
