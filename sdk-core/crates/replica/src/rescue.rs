//! A damaged replica is replaced: what was written and can still be read goes into a new one, and
//! everything else is loaded again.
//!
//! The new one is somebody else to servers. So what may have left the device is uncertain, and kept
//! as that; the rest waits to be sent, as before. Nothing is sent twice, and nothing that can be read
//! is lost.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use protocol::codec;
use protocol::ids::{ClientId, TableId};
use protocol::limits::FRAME_BYTES_MAX;
use protocol::mutation::{Mutation, MutationDigest};
use protocol::schema::TableSchema;
use rusqlite::types::Value as Sqlite;
use rusqlite::{Connection, ErrorCode, Row, params, params_from_iter};
use sdk_machine::{MutationId, Settled, StoredSubscription};

use crate::error::ReplicaError;
use crate::outbox::{decode, decode_content};
use crate::place::Place;
use crate::replica::{Replica, connect};
use crate::rows::Left;
use crate::{stored, writers};

/// How long it is waited for somebody who has the old file.
const WAIT: Duration = Duration::from_millis(100);

/// What became of a damaged replica.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rescued {
    /// Where it is now, for whoever wants to look at it: local tables of the application are in there.
    /// The next damaged one takes its place. In a browser it is not kept.
    pub set_aside: Option<PathBuf>,
    /// How many writes wait to be sent, as before.
    pub waiting: usize,
    /// How many may have left the device: they are kept as rejections that are `uncertain`.
    pub uncertain: usize,
    /// How many rejections were kept.
    pub rejections: usize,
    /// How many writes and rejections are known to have been there and could not be read.
    pub lost: usize,
    /// Whether there may have been more of them.
    pub may_miss_some: bool,
}

impl Replica {
    /// Opens the file, or makes it; then `fresh` is who it is. One that is damaged is set aside and
    /// replaced, under that identity.
    ///
    /// # Errors
    /// As [`Replica::open`].
    pub fn open_or_rebuild(
        place: impl Into<Place>,
        fresh: ClientId,
    ) -> Result<(Self, Option<Rescued>), ReplicaError> {
        let place = place.into();
        match Self::open(place.clone(), fresh) {
            Err(ReplicaError::Damaged) => {
                Self::rebuild(place, fresh).map(|(it, by)| (it, Some(by)))
            }
            opened => opened.map(|replica| (replica, None)),
        }
    }

    /// Sets the file aside, whether it can be opened or not, and makes another one of what can be read
    /// of it. When this is cut short, the next [`Replica::open_or_rebuild`] goes on.
    ///
    /// # Errors
    /// As [`Replica::open`].
    pub fn rebuild(
        place: impl Into<Place>,
        fresh: ClientId,
    ) -> Result<(Self, Rescued), ReplicaError> {
        let place = place.into();
        let files = place.take()?;
        if !files.put_away()? {
            let replica = Self::at(&place, Some(files), fresh)?;
            let rescued = Rescued::as_in(&replica)?;
            return Ok((replica, rescued));
        }
        let mut rebuilt = Self::at(&place.at(files.rebuilt()), None, fresh)?;
        let unread = Cell::new(false);
        let mut rescued = match connect(&place.at(files.damaged())) {
            Ok(old) => {
                old.busy_timeout(WAIT)?;
                let old = Damaged { old, unread: &unread };
                rebuilt.transaction(|rebuilt| old.rescue(rebuilt))?
            }
            Err(error) => {
                unread.set(unread.get() || !matches!(error, ReplicaError::Damaged));
                Rescued { may_miss_some: true, ..Rescued::default() }
            }
        };
        // Where the damaged one is not kept, what could not be read for another reason is still in there.
        if unread.get() && !place.is_file() {
            let why = "what was written cannot be read at the moment: it is tried again";
            return Err(ReplicaError::File(why.to_owned()));
        }
        // Only one file is given another name, so that has to have everything.
        rebuilt.close_into_one_file()?;
        rescued.set_aside = files.replace()?;
        Ok((Self::at(&place, Some(files), fresh)?, rescued))
    }
}

impl Rescued {
    /// What a replica has that has taken the place of a damaged one before.
    fn as_in(replica: &Replica) -> Result<Self, ReplicaError> {
        let kept = replica.rejections(0, usize::MAX)?;
        let uncertain = kept.iter().filter(|it| it.rejection.is_none()).count();
        Ok(Self {
            waiting: replica.pending()?.len(),
            uncertain,
            rejections: kept.len() - uncertain,
            may_miss_some: true,
            ..Self::default()
        })
    }
}

/// A write, as the old file has it.
struct Written {
    lane: String,
    place: Option<i64>,
    digest: [u8; 16],
    /// All of [`WRITTEN`].
    columns: Vec<Sqlite>,
}

/// One of its operations: its place, the table, the key, what it does.
type Stored = (i64, u32, Sqlite, Vec<u8>);

const WRITTEN: [&str; 9] =
    ["id", "lane", "place", "digest", "written_at", "bytes", "queue", "expires_at", "online"];

/// What was taken back has no content to lose.
const UNDECIDED: &str = "(SELECT * FROM tw_outbox WHERE cancelled IS NULL)";

/// The first format with requests.
const REQUESTS_SINCE: i64 = 9;

/// How those are decided is kept.
const REQUESTED: &str = "(SELECT id FROM tw_outbox WHERE requested <> 0)";

const REJECTED: [&str; 8] =
    ["id", "lane", "written_at", "content", "verdict", "place", "queue", "server"];

/// The old file. Whatever cannot be read of it is not there.
struct Damaged<'u> {
    old: Connection,
    /// Something could not be read for another reason than damage.
    unread: &'u Cell<bool>,
}

impl Damaged<'_> {
    /// What was read, if it was.
    fn read<T>(&self, read: rusqlite::Result<T>) -> Option<T> {
        let error = match read {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let is_other = matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::SystemIoFailure
                    | ErrorCode::OutOfMemory
                    | ErrorCode::CannotOpen
                    | ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::DiskFull
            )
        );
        self.unread.set(self.unread.get() || is_other);
        None
    }

    fn rescue(&self, into: &mut Replica) -> Result<Rescued, ReplicaError> {
        let (written, has_all_written) = self.by_id(UNDECIDED, &WRITTEN, written);
        let (rejected, has_all_rejected) = self.by_id("tw_rejected", &REJECTED, columns);
        let mut rescued =
            Rescued { may_miss_some: !has_all_written || !has_all_rejected, ..Rescued::default() };
        self.tables(into)?;
        self.subscriptions(into)?;
        self.notes(into, &written)?;
        for columns in rejected.into_values() {
            let is_readable = matches!(&columns[3], Sqlite::Blob(it) if decode_content(it).is_ok());
            if is_readable {
                insert(&into.connection, "tw_rejected", &REJECTED, columns)?;
                rescued.rejections += 1;
            } else {
                rescued.lost += 1;
            }
        }
        let last = "UPDATE tw_replica SET last_rejected =
                    max(last_rejected, coalesce((SELECT max(place) FROM tw_rejected), 0))";
        into.connection.execute(last, [])?;
        if self.has_requests() {
            rescued.may_miss_some |= !self.requests(into)?;
        }
        self.writes(into, written, &mut rescued)?;
        Ok(rescued)
    }

    fn writes(
        &self,
        into: &mut Replica,
        written: BTreeMap<i64, Written>,
        rescued: &mut Rescued,
    ) -> Result<(), ReplicaError> {
        // Where that cannot be read, anything may have left the device.
        let sent = writers::sent(&self.old).ok();
        let requested = match self.has_requests() {
            true => self.by_id(REQUESTED, &["id"], |_| Ok(())).0,
            false => BTreeMap::new(),
        };
        let mut left = Left::default();
        for (id, one) in written {
            let Some(operations) = self.operations(id, one.digest) else {
                rescued.lost += 1;
                continue;
            };
            let is_sent = one.place.is_some_and(|place| match &sent {
                Some(sent) => sent.get(&one.lane).is_some_and(|last| place <= *last),
                None => true,
            });
            insert(&into.connection, "tw_outbox", &WRITTEN, one.columns)?;
            if requested.contains_key(&id) {
                let sql = "UPDATE tw_outbox SET requested = 1 WHERE id = ?1";
                into.connection.prepare_cached(sql)?.execute([id])?;
            }
            let names = ["mutation", "place", "table_id", "key", "operation"];
            for (place, table, key, operation) in operations {
                if into.tables.get(TableId(table)).is_ok() {
                    left.changed(TableId(table));
                }
                let table = Sqlite::Integer(i64::from(table));
                let (place, operation) = (Sqlite::Integer(place), Sqlite::Blob(operation));
                let values = vec![Sqlite::Integer(id), place, table, key, operation];
                insert(&into.connection, "tw_operations", &names, values)?;
            }
            if is_sent {
                into.settle(MutationId(id), &Settled::Uncertain, &mut left)?;
                rescued.uncertain += 1;
            } else {
                rescued.waiting += 1;
            }
        }
        into.with_rows(&mut left, |rows| rows.finish())
    }

    /// Whether the old file is of a format that has them.
    fn has_requests(&self) -> bool {
        let format = self.old.query_row("PRAGMA user_version", [], |row| row.get(0));
        self.read(format).is_some_and(|format: i64| format >= REQUESTS_SINCE)
    }

    /// What was done once stays known: else it would be done once more when it is asked for again. Says
    /// whether that is so for all of it.
    fn requests(&self, into: &Replica) -> Result<bool, ReplicaError> {
        let names = ["place", "client", "number", "mutation", "rows_affected", "returned", "call"];
        let place = |row: &Row<'_>| row.get::<_, i64>(0);
        let request = |row: &Row<'_>| {
            let asked = (row.get(1)?, row.get(2)?);
            Ok((asked, (row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?)))
        };
        let (requests, has_all) = self.by_key("tw_requests", &names, 1, place, request);
        let insert = "INSERT OR IGNORE INTO tw_requests
                      (place, client, number, mutation, rows_affected, returned, call)
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        for (place, (asked, given)) in requests {
            let (client, number): (String, i64) = asked;
            let (mutation, affected, returned, call): Given = given;
            into.connection
                .prepare_cached(insert)?
                .execute(params![place, client, number, mutation, affected, returned, call])?;
        }
        let decision = |row: &Row<'_>| Ok((row.get(1)?, row.get(2)?));
        let (decisions, _) = self.by_id("tw_decisions", &["id", "place", "decision"], decision);
        for (id, (place, decision)) in decisions {
            let (place, decision): (i64, Sqlite) = (place, decision);
            into.connection
                .prepare_cached("INSERT OR IGNORE INTO tw_decisions VALUES (?1, ?2, ?3)")?
                .execute(params![place, id, decision])?;
        }
        // No other one is given an id that is known here.
        let last = "UPDATE tw_replica SET last_mutation =
                    max(last_mutation, coalesce((SELECT max(mutation) FROM tw_requests), 0),
                        coalesce((SELECT max(id) FROM tw_decisions), 0))";
        into.connection.execute(last, [])?;
        Ok(has_all)
    }

    /// What a write does, if that is still what was written.
    fn operations(&self, id: i64, digest: [u8; 16]) -> Option<Vec<Stored>> {
        let sql = "SELECT place, table_id, key, operation FROM tw_operations WHERE mutation = ?1
                   ORDER BY place";
        let mut select = self.read(self.old.prepare(sql))?;
        let stored = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
        let all: rusqlite::Result<Vec<Stored>> =
            self.read(select.query_map([id], stored))?.collect();
        let all = self.read(all)?;
        let operations = all.iter().map(|(.., bytes)| decode(bytes).ok()).collect::<Option<_>>()?;
        (MutationDigest::of(&Mutation { operations }).0 == digest).then_some(all)
    }

    /// Tables as the server has described them.
    fn tables(&self, into: &mut Replica) -> Result<(), ReplicaError> {
        let (schemas, _) = self.by_id("tw_tables", &["id", "schema"], |row| row.get(1));
        for bytes in schemas.into_values() {
            let bytes: Vec<u8> = bytes;
            let schema = codec::decode::<TableSchema>(&bytes, FRAME_BYTES_MAX).ok();
            if let Some(schema) = schema.filter(|schema| schema.check().is_ok()) {
                into.tables.ensure(&into.connection, &schema)?;
            }
        }
        into.making.know(&into.tables);
        Ok(())
    }

    /// What was subscribed to is subscribed to again, and nothing of it is here.
    fn subscriptions(&self, into: &Replica) -> Result<(), ReplicaError> {
        for old in stored::subscriptions(&self.old).unwrap_or_default() {
            let anew = StoredSubscription {
                known: None,
                floor: None,
                missing: old.fetch_last,
                ready: false,
                resetting: false,
                ..old
            };
            stored::put_subscription(&into.connection, &anew)?;
        }
        Ok(())
    }

    /// What else is known, and numbers that are not to be given twice.
    fn notes(&self, into: &Replica, written: &BTreeMap<i64, Written>) -> Result<(), ReplicaError> {
        let sql = "SELECT synced_at, clock_ahead, last_mutation, last_rejected FROM tw_replica";
        let notes = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
        let notes: (Option<i64>, Option<i64>, i64, i64) =
            self.read(self.old.query_row(sql, [], notes)).unwrap_or_default();
        let (synced_at, clock_ahead, last_mutation, last_rejected) = notes;
        let seen = written.iter().map(|(id, one)| one.place.map_or(*id, |place| place.max(*id)));
        let last_mutation = seen.chain([last_mutation]).max();
        into.connection.execute(
            "UPDATE tw_replica SET synced_at = ?1, clock_ahead = ?2, last_mutation = ?3,
             last_rejected = ?4",
            params![synced_at, clock_ahead, last_mutation, last_rejected],
        )?;
        Ok(())
    }

    /// Rows by their ids: see [`Damaged::by_key`].
    fn by_id<T>(
        &self,
        table: &str,
        names: &[&str],
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> (BTreeMap<i64, T>, bool) {
        self.by_key(table, names, 1, |row| row.get(0), read)
    }

    /// Rows by their key, the first `columns` that are named, as many as can be read: from both ends,
    /// since some may be missing between. Says whether that is all of them.
    fn by_key<K: Ord, T>(
        &self,
        table: &str,
        names: &[&str],
        columns: usize,
        key: impl Fn(&Row<'_>) -> rusqlite::Result<K>,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> (BTreeMap<K, T>, bool) {
        let mut all = BTreeMap::new();
        let mut some = |direction: &str| -> rusqlite::Result<bool> {
            let order: Vec<_> =
                names[..columns].iter().map(|it| format!("{it} {direction}")).collect();
            let (names, order) = (names.join(", "), order.join(", "));
            let mut select =
                self.old.prepare(&format!("SELECT {names} FROM {table} ORDER BY {order}"))?;
            let (mut rows, mut is_whole) = (select.query([])?, true);
            while let Some(row) = rows.next()? {
                match (key(row), read(row)) {
                    (Ok(id), Ok(value)) => drop(all.insert(id, value)),
                    _ => is_whole = false,
                }
            }
            Ok(is_whole)
        };
        let is_whole = match self.read(some("ASC")) {
            Some(is_whole) => is_whole,
            None => {
                self.read(some("DESC"));
                false
            }
        };
        (all, is_whole)
    }
}

/// What a request has given, and the hash of what it was.
type Given = (Option<i64>, Option<i64>, Option<Vec<u8>>, Option<Vec<u8>>);

fn written(row: &Row<'_>) -> rusqlite::Result<Written> {
    Ok(Written {
        lane: row.get("lane")?,
        place: row.get("place")?,
        digest: row.get("digest")?,
        columns: columns(row)?,
    })
}

/// All columns that were asked for.
fn columns(row: &Row<'_>) -> rusqlite::Result<Vec<Sqlite>> {
    (0..row.as_ref().column_count()).map(|place| row.get(place)).collect()
}

fn insert(
    connection: &Connection,
    table: &str,
    names: &[&str],
    values: Vec<Sqlite>,
) -> Result<(), ReplicaError> {
    let places: Vec<String> = (1..=names.len()).map(|place| format!("?{place}")).collect();
    let (names, places) = (names.join(", "), places.join(", "));
    let sql = format!("INSERT INTO {table} ({names}) VALUES ({places})");
    connection.prepare_cached(&sql)?.execute(params_from_iter(values))?;
    Ok(())
}
