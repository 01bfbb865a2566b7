//! Transactions of the application: any SQL on local and replicated tables, and what of it is to be
//! sent.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;

use protocol::ids::{ColumnId, Lane, TableId, TableName};
use protocol::schema::TableKind;
use protocol::value::{Row, Value};
use rusqlite::{Statement, params_from_iter};
use sdk_machine::{MutationId, StoredMutation};

use crate::allowed::Allowed;
use crate::capture::{Capture, is_in};
use crate::changed::{Changed, ChangedRows};
use crate::error::ReplicaError;
use crate::functions::{NO_SNOWFLAKE, SNOWFLAKE, Writer};
use crate::guard::{Guard, INSERTS, NOT_WRITTEN, PENDING};
use crate::local::check_schema;
use crate::options::{Expect, WriteOptions};
use crate::outbox::{self, Added, Adding, Draft, OutboxSize};
use crate::pending::TakenBack;
use crate::reader::{QueryResult, ResultRow, query, rows_of, while_wanted};
use crate::ready::Ready;
use crate::rebase;
use crate::rejected::DealtWith;
use crate::replica::Replica;
use crate::requests::Answer;
use crate::said::{Columns, Insertion, insertion, is_of_savepoints};
use crate::sets::SetId;
use crate::table::Table;
use crate::values::Bound;

/// What came of a statement.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Executed {
    /// How many rows it has written.
    pub rows_affected: u64,
    /// The names of the columns that RETURNING gives.
    pub columns: Vec<String>,
    /// What it gives.
    pub rows: Vec<ResultRow>,
}

/// What came of a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// What was written; nothing where it wrote local tables alone, or changed nothing.
    pub id: Option<MutationId>,
    /// What is to be sent: it is held back without.
    pub mutation: Option<StoredMutation>,
    /// What it has changed.
    pub changed: Changed,
    /// What waited, and was taken back for it.
    pub taken_back: Option<TakenBack>,
}

/// A transaction of the application. Dropping it undoes it.
pub struct Transaction<'r> {
    pub(crate) replica: &'r mut Replica,
    pub(crate) writer: Writer,
    options: WriteOptions,
    taken_back: Option<TakenBack>,
    /// Whether it goes on when a statement has failed.
    goes_on: bool,
    /// The replicated tables that it may have written.
    tables: BTreeSet<TableId>,
    /// Where all of it is, and by which table.
    pub(crate) lane: Option<(Lane, String)>,
    /// What was rejected, and is written again.
    pub(crate) again: Vec<Draft>,
    /// Which call its request is, and what it has given.
    call: Option<[u8; 16]>,
    given: Executed,
    /// As it was before.
    outbox: OutboxSize,
    /// See [`Capture`].
    upserts: Vec<BTreeSet<ColumnId>>,
    set: BTreeMap<TableId, BTreeSet<ColumnId>>,
    /// All tables that it may have written, by their SQLite names.
    written: BTreeSet<String>,
    has_direct: bool,
    is_schema: bool,
    is_open: bool,
    is_wanted: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl Replica {
    /// Begins a transaction. It goes on when a statement has failed, and has savepoints.
    ///
    /// # Errors
    /// [`ReplicaError`] when the file cannot be written.
    pub fn begin(&mut self, writer: Writer) -> Result<Transaction<'_>, ReplicaError> {
        self.forget_touched();
        #[cfg(feature = "testing")]
        self.feel_full();
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        self.making.begin(&writer);
        self.guard.allow_savepoints(true);
        let outbox = self.outbox;
        Ok(Transaction {
            replica: self,
            writer,
            options: WriteOptions::default(),
            taken_back: None,
            again: Vec::new(),
            call: None,
            given: Executed::default(),
            outbox,
            goes_on: true,
            tables: BTreeSet::new(),
            lane: None,
            upserts: Vec::new(),
            set: BTreeMap::new(),
            written: BTreeSet::new(),
            has_direct: false,
            is_schema: false,
            is_open: true,
            is_wanted: Arc::new(|| true),
        })
    }

    /// Runs one statement in a transaction of its own.
    ///
    /// # Errors
    /// [`ReplicaError`] says what is wrong with it; nothing of it was done.
    pub fn execute(
        &mut self,
        writer: Writer,
        sql: &str,
        params: &[Value],
    ) -> Result<(Executed, Committed), ReplicaError> {
        let mut transaction = self.begin(writer)?;
        transaction.end_with_a_failure();
        let executed = transaction.execute(sql, params)?;
        Ok((executed, transaction.commit()?))
    }
}

impl Transaction<'_> {
    /// How it is done, said before its first statement: that finds the rows without what waited and is
    /// replaced.
    ///
    /// # Errors
    /// [`ReplicaError`] where that cannot be, and for a write to replace that is not there, or may have left
    /// the device. [`ReplicaError::AlreadyDone`] where its request was done: [`Replica::answer`] has what it
    /// has given.
    pub fn set_options(&mut self, options: WriteOptions) -> Result<(), ReplicaError> {
        options.check()?;
        self.replica.check_request(options.request.as_ref())?;
        if let Some(replaced) = options.replaces
            && !self.replica.is_rejected(replaced)?
        {
            let taken_back = self.replica.take_back_unsent(replaced)?;
            self.taken_back = Some(taken_back.ok_or(ReplicaError::NoSuchRejection)?);
        }
        self.options = options;
        Ok(())
    }

    /// Which call its request is: a hash of what is to be done, for whoever asks again.
    pub fn set_call(&mut self, call: [u8; 16]) {
        self.call = Some(call);
    }

    /// What its request has given: it is stored with that. Without, that is nothing.
    pub fn set_given(&mut self, given: Executed) {
        self.given = given;
    }

    /// It is dropped when a statement fails, so it needs no savepoints and has none.
    pub fn end_with_a_failure(&mut self) {
        self.goes_on = false;
        self.replica.guard.allow_savepoints(false);
    }

    /// As soon as this says no, a statement ends with [`ReplicaError::Interrupted`]; where it writes,
    /// the transaction has ended with it. It is asked often.
    pub fn while_wanted(&mut self, is_wanted: impl Fn() -> bool + Send + Sync + 'static) {
        self.is_wanted = Arc::new(is_wanted);
    }

    /// Runs a statement. When it fails nothing of it was done, and the transaction goes on.
    ///
    /// # Errors
    /// [`ReplicaError`] says what is wrong with it.
    pub fn execute(&mut self, sql: &str, params: &[Value]) -> Result<Executed, ReplicaError> {
        self.check_open()?;
        // SQLite undoes less of some statements, and nothing of one that we find fault with later.
        let is_of_savepoints = self.goes_on && is_of_savepoints(sql);
        let is_undone = self.goes_on && !is_of_savepoints;
        if is_undone {
            self.replica.connection.execute_batch("SAVEPOINT tw_statement")?;
        }
        let done = self.run(sql, params);
        if is_undone && !self.replica.connection.is_autocommit() {
            let end = match &done {
                Ok(_) => "RELEASE tw_statement",
                Err(_) => "ROLLBACK TO tw_statement; RELEASE tw_statement",
            };
            self.replica.connection.execute_batch(end)?;
        }
        if is_of_savepoints && self.again.is_empty() && self.is_untouched()? {
            self.lane = None;
        }
        match done {
            // A statement that was stopped has ended it.
            Err(ReplicaError::Interrupted) => Err(ReplicaError::Interrupted),
            done => self.check_open().and(done),
        }
    }

    /// Whether nothing of a replicated table is written or expected, or not any more.
    fn is_untouched(&self) -> Result<bool, ReplicaError> {
        let (connection, tables) = (&self.replica.connection, &self.replica.tables);
        let mut logs = vec!["tw_log_direct".to_owned()];
        for id in &self.tables {
            logs.push(tables.get(*id)?.log());
        }
        for log in logs {
            let sql = format!("SELECT 1 FROM {log} LIMIT 1");
            if connection.prepare_cached(&sql)?.exists([])? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn run(&mut self, sql: &str, params: &[Value]) -> Result<Executed, ReplicaError> {
        let ready = match self.replica.ready.get(sql) {
            Some(ready) => ready,
            None => Arc::new(self.taken_apart(sql)?),
        };
        let how = self.how(&ready);
        self.replica.may_replace(&ready.sql);
        let replica = &mut *self.replica;
        let (guard, mut lane) = (replica.guard.clone(), self.lane.clone());
        let is_wanted = Arc::clone(&self.is_wanted);
        let (columns, rows, count) = while_wanted(
            &mut replica.connection,
            move || is_wanted(),
            |connection| {
                guard.as_app(how, || {
                    let (mut fresh, mut kept);
                    let statement: &mut Statement<'_> = match &ready.seen {
                        Some(seen) => {
                            guard.recall(seen);
                            kept = connection.prepare_cached(&ready.sql)?;
                            &mut kept
                        }
                        None => {
                            fresh = connection.prepare(&ready.sql)?;
                            &mut fresh
                        }
                    };
                    let writes = guard.writes();
                    let is_written = |table: &&Table| writes.contains(&table.name);
                    for table in replica.tables.0.values().filter(is_written) {
                        check_table(&replica.allowed, table, &self.writer, &mut lane)?;
                        check_columns(table, &guard)?;
                        check_snowflake(table, guard.calls(SNOWFLAKE))?;
                    }
                    let bound = params_from_iter(params.iter().map(Bound));
                    // Of a statement that gives rows, all of it is done when the last was asked for.
                    let (columns, rows) = rows_of(statement, bound, Default::default())?;
                    Ok((columns, rows, connection.changes()))
                })
            },
        )?;
        let is_ddl = guard.is_ddl();
        if is_ddl {
            check_schema(&replica.connection, &guard, &replica.tables)?;
            replica.forget_statements();
        }
        self.is_schema |= is_ddl;
        // What the schema is like that this transaction has made is known when it is done. What writes
        // nothing may be allowed here and not in another one.
        if ready.seen.is_none() && !self.is_schema && !guard.writes().is_empty() {
            let (text, upsert) = (ready.sql.clone(), ready.upsert.clone());
            replica.ready.keep(sql, Ready { sql: text, upsert, seen: Some(guard.seen()) });
        }
        self.lane = lane;
        for (name, column) in guard.sets() {
            if let Some(table) = replica.tables.named(&name) {
                let set = self.set.entry(table.schema.id).or_default();
                set.extend(table.column(&column).map(|column| column.id));
            }
        }
        let written = guard.writes();
        let tables = written.iter().filter_map(|name| replica.tables.named(name));
        self.tables.extend(tables.map(|table| table.schema.id));
        // SQLite counts rows, and says the last count again where a statement has none.
        let counts = !is_ddl && !written.is_empty();
        self.written.extend(written);
        Ok(Executed { rows_affected: if counts { count } else { 0 }, columns, rows })
    }

    /// How the statement makes rows.
    fn how(&mut self, ready: &Ready) -> i64 {
        let Some(named) = &ready.upsert else { return INSERTS };
        self.upserts.push(named.clone());
        INSERTS + i64::try_from(self.upserts.len()).unwrap_or(i64::MAX - INSERTS)
    }

    /// The statement as it is prepared. An INSERT into a replicated table that names no columns means
    /// those of the server.
    fn taken_apart(&self, sql: &str) -> Result<Ready, ReplicaError> {
        let mut sql = self.replica.guard.rewrite(sql);
        let ready = |sql, upsert| Ready { sql, upsert, seen: None };
        let Some(Insertion { table, columns, is_upsert }) = insertion(&sql) else {
            return Ok(ready(sql, None));
        };
        let Some(table) = self.replica.tables.named(&table) else { return Ok(ready(sql, None)) };
        let all: Vec<ColumnId> = table.schema.columns.iter().map(|column| column.id).collect();
        let named = match columns {
            Columns::All(list_at) => {
                sql.insert_str(list_at, &format!(" ({})", table.names(&all).join(", ")));
                all.into_iter().collect()
            }
            Columns::Named(names) if names.iter().any(|name| name.starts_with('_')) => {
                return Err(ReplicaError::Refused(NOT_WRITTEN.to_owned()));
            }
            Columns::Named(names) => names
                .iter()
                .map(|name| table.column(name).map(|column| column.id))
                .collect::<Result<BTreeSet<_>, _>>()?,
        };
        Ok(ready(sql, is_upsert.then_some(named)))
    }

    /// Reads, with what this transaction has written.
    ///
    /// # Errors
    /// [`ReplicaError`] says what is wrong with the query.
    pub fn query(&mut self, sql: &str, params: &[Value]) -> Result<QueryResult, ReplicaError> {
        self.check_open()?;
        let (guard, is_wanted) = (&self.replica.guard, Arc::clone(&self.is_wanted));
        while_wanted(
            &mut self.replica.connection,
            move || is_wanted(),
            |connection| query(connection, guard, (sql, params, Default::default())),
        )
    }

    /// An operation on a row that is not here. When the application has ended that row there is
    /// nothing to be done.
    pub(crate) fn direct(&mut self, table: &Table, draft: &Draft) -> Result<(), ReplicaError> {
        if self.options.expect == Expect::Unchanged {
            return Err(ReplicaError::NothingExpected(table.schema.name.to_string()));
        }
        let connection = &self.replica.connection;
        let was_here = is_in(connection, &table.sql.is_logged, &draft.key)?;
        if was_here || outbox::is_deleted(connection, &table.schema, &draft.key)? {
            return Ok(());
        }
        self.note(table, draft)
    }

    /// Notes what is in no log of a table.
    pub(crate) fn note(&mut self, table: &Table, draft: &Draft) -> Result<(), ReplicaError> {
        outbox::add_direct(&self.replica.connection, draft)?;
        check_table(&self.replica.allowed, table, &self.writer, &mut self.lane)?;
        self.has_direct = true;
        Ok(())
    }

    /// The table with this name, which is about to be written.
    pub(crate) fn table(&mut self, name: &str) -> Result<Table, ReplicaError> {
        self.check_open()?;
        let in_replica = name.parse::<TableName>().ok().map(|name| name.in_replica());
        let found = in_replica.and_then(|name| self.replica.tables.named(&name));
        let table = found.ok_or_else(|| ReplicaError::NoSuchTable(name.to_owned()))?.clone();
        check_table(&self.replica.allowed, &table, &self.writer, &mut self.lane.clone())?;
        Ok(table)
    }

    /// Ends it: all of it is there, and what is to be sent waits.
    ///
    /// # Errors
    /// [`ReplicaError`] says what it must not have done; nothing of it is done.
    pub fn commit(mut self) -> Result<Committed, ReplicaError> {
        self.check_open()?;
        let (drafts, unseen) = self.drafts()?;
        let replaced = self.deal_with_replaced()?;
        let added = match self.lane.clone() {
            Some((lane, _)) if !drafts.is_empty() => {
                Some(self.add(&lane, &drafts, &unseen, replaced.as_ref())?)
            }
            _ => None,
        };
        if let Some(request) = &self.options.request {
            let (id, executed) = (added.as_ref().map(|it| it.id), std::mem::take(&mut self.given));
            self.replica.keep_answer(request, self.call, &Answer::Wrote { id, executed })?;
        }
        self.replica.read_touched();
        self.replica.connection.prepare_cached("COMMIT")?.execute([])?;
        self.is_open = false;
        let mut changed = self.replica.changed(self.is_schema);
        // Of some SQLite tells nothing; of those that are replicated it tells all.
        for table in std::mem::take(&mut self.written) {
            if self.replica.tables.named(&table).is_none() {
                changed.tables.entry(table).or_insert_with(|| {
                    self.replica.journal.note_remains();
                    ChangedRows::All
                });
            }
        }
        let taken_back = self.taken_back.take();
        if added.is_some() || taken_back.is_some() {
            changed.all_of(PENDING);
        }
        let Some(added) = added else {
            return Ok(Committed { changed, taken_back, ..Committed::default() });
        };
        self.replica.outbox.count(&added);
        Ok(Committed { id: Some(added.id), mutation: added.stored, changed, taken_back })
    }

    /// What it replaces is dealt with, also where nothing is to be sent: it takes the place of that, and
    /// a queue waits for it.
    fn deal_with_replaced(&mut self) -> Result<Option<DealtWith>, ReplicaError> {
        let Some(replaced) = self.options.replaces.filter(|_| self.taken_back.is_none()) else {
            return Ok(None);
        };
        let dealt_with = self.replica.deal_with(replaced)?;
        dealt_with.ok_or(ReplicaError::NoSuchRejection).map(Some)
    }

    /// Stores what it has done, to be sent. No log has the image of the `unseen` rows.
    fn add(
        &mut self,
        lane: &Lane,
        drafts: &[Draft],
        unseen: &[Draft],
        replaced: Option<&DealtWith>,
    ) -> Result<Added, ReplicaError> {
        let WriteOptions { queue, online, request, .. } = self.options.clone();
        let requested = request.is_some();
        let taken_back = self.taken_back.as_ref().and_then(|it| it.queue.clone());
        let queue = queue.or_else(|| replaced.and_then(|it| it.queue.clone())).or(taken_back);
        let is_held = self.replica.has_to_wait(queue.as_deref(), drafts, replaced)?;
        if is_held && online {
            return Err(ReplicaError::WouldWait);
        }
        let (written_at, expires_at) = (self.writer.now, self.expires_at(drafts)?);
        let queue = queue.as_deref();
        let adding = Adding { lane, written_at, queue, expires_at, online, is_held, requested };
        let Replica { connection, tables, outbox, .. } = &*self.replica;
        for Draft { operation, key } in unseen {
            rebase::keep_image(connection, tables.get(operation.table)?, key)?;
        }
        let added = outbox::add(connection, *outbox, &adding, drafts)?;
        // What is held back of a row folds on what goes before it.
        let is_in_front = replaced.is_some() && outbox.held > 0;
        for Draft { operation, key } in if is_in_front { drafts } else { unseen } {
            rebase::row(connection, tables.get(operation.table)?, key)?;
        }
        Ok(added)
    }

    /// When it is of no use any more: rows of STREAM tables have their time.
    fn expires_at(&self, drafts: &[Draft]) -> Result<Option<i64>, ReplicaError> {
        let mut first = None;
        for draft in drafts {
            let schema = &self.replica.tables.get(draft.operation.table)?.schema;
            let ttl = schema.ttl_seconds.filter(|_| schema.kind == TableKind::Stream);
            let Some(ttl) = ttl else { return Ok(None) };
            let at = self.writer.now.saturating_add(i64::from(ttl) * 1_000_000);
            first = Some(first.map_or(at, |first: i64| first.min(at)));
        }
        Ok(first)
    }

    /// What it has done, as operations: first those on rows that were not here. And those on rows that
    /// are perhaps here, and of which no log has an image.
    fn drafts(&self) -> Result<(Vec<Draft>, Vec<Draft>), ReplicaError> {
        let connection = &self.replica.connection;
        let (mut drafts, mut expected) = (Vec::new(), Vec::new());
        if self.has_direct {
            let noted = outbox::take_direct(connection, &self.replica.tables)?;
            (expected, drafts) = noted.into_iter().partition(|it| it.operation.guard.is_some());
        }
        let (sets, known) = (&self.replica.sets, &self.replica.known);
        let columns = |set: SetId| sets.columns(set, known);
        let is_guarded = self.options.expect == Expect::Unchanged;
        let unchanged = is_guarded.then_some(&columns as &dyn Fn(SetId) -> Vec<ColumnId>);
        let none = BTreeSet::new();
        for id in &self.tables {
            let (table, upserts) = (self.replica.tables.get(*id)?, &self.upserts);
            let set = self.set.get(id).unwrap_or(&none);
            let now = self.writer.now;
            let capture = Capture { connection, table, upserts, set, now, unchanged };
            drafts.extend(capture.take()?);
        }
        let row = |draft: &Draft| (draft.operation.table, draft.key.clone());
        let seen: HashSet<(TableId, Row)> = drafts.iter().map(row).collect();
        let unseen = self.again.iter().chain(&expected);
        let unseen = unseen.filter(|draft| !seen.contains(&row(draft))).cloned().collect();
        drafts.extend(self.again.iter().cloned());
        outbox::guard(&mut drafts, &expected);
        Ok((drafts, unseen))
    }

    /// A statement may have ended it.
    fn check_open(&self) -> Result<(), ReplicaError> {
        match self.replica.connection.is_autocommit() {
            true => Err(ReplicaError::RolledBack),
            false => Ok(()),
        }
    }
}

impl fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("tables", &self.tables).finish_non_exhaustive()
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        self.replica.guard.allow_savepoints(false);
        if self.is_open {
            self.replica.outbox = self.outbox;
            // It may have been rolled back already.
            let _ = self.replica.connection.execute_batch("ROLLBACK");
        }
    }
}

/// Whether its user may write a table, and together with what was written before.
pub(crate) fn check_table(
    allowed: &Allowed,
    table: &Table,
    writer: &Writer,
    lane: &mut Option<(Lane, String)>,
) -> Result<(), ReplicaError> {
    allowed.check_writable(table)?;
    let name = table.schema.name.to_string();
    let its = table.schema.lane(&writer.user);
    match lane {
        Some((lane, first)) if *lane != its => {
            Err(ReplicaError::TwoLanes { first: first.clone(), second: name })
        }
        Some(_) => Ok(()),
        None => {
            *lane = Some((its, name));
            Ok(())
        }
    }
}

/// A column that the server has dropped is still there, for views of the application.
fn check_columns(table: &Table, guard: &Guard) -> Result<(), ReplicaError> {
    for (name, column) in guard.sets() {
        if name == table.name {
            table.column(&column)?;
        }
    }
    Ok(())
}

fn check_snowflake(table: &Table, is_called: bool) -> Result<(), ReplicaError> {
    match (&table.schema.kind, is_called) {
        (TableKind::Shared(_), true) => Err(ReplicaError::Refused(NO_SNOWFLAKE.to_owned())),
        _ => Ok(()),
    }
}
