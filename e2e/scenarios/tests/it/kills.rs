//! `kill -9` under writers who repeat each request until its answer is known: nothing that was
//! acknowledged is lost, and nothing happens twice (INV-1, INV-2).

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use e2e_harness::{Client, Home, Role, Server};
use server_engine::{LAYOUT, Shard, Stores, recount};
use server_replication::Placement;
use server_storage::{RocksOptions, RocksStore, Store};

/// The shards of a server by default.
const SHARDS: (u16, u16) = (4, 2);

/// How many users the writers are.
const USERS: usize = 3;

/// Before a request is repeated, and how often it is. A server that stays away for longer is gone.
const REPEAT_AFTER: Duration = Duration::from_millis(5);
const REPEATS_MAX: usize = 20_000;

/// The row that all write.
const HOT: i64 = 0;

const TABLES: [&str; 4] = [
    "CREATE NAMESPACE app",
    "CREATE USER TABLE app.notes (id BIGINT PRIMARY KEY, n BIGINT NOT NULL DEFAULT 0, \
     added BIGINT NOT NULL DEFAULT 0 MERGE ADD)",
    "CREATE SHARED TABLE app.totals (id BIGINT PRIMARY KEY, n BIGINT NOT NULL DEFAULT 0, \
     added BIGINT NOT NULL DEFAULT 0 MERGE ADD) WITH (ACCESS_LEVEL = WRITE)",
    "CREATE STREAM TABLE app.events (id BIGINT PRIMARY KEY, n BIGINT NOT NULL DEFAULT 0, \
     added BIGINT NOT NULL DEFAULT 0 MERGE ADD) WITH (TTL_SECONDS = 86400)",
];

/// What a writer knows to have happened.
#[derive(Clone, Debug, Default)]
struct Known {
    /// How often its own row was counted up, and the one that all write.
    own: i64,
    hot: i64,
    notes: BTreeSet<i64>,
    totals: BTreeSet<i64>,
    events: BTreeSet<i64>,
}

struct Writer {
    number: i64,
    seed: u64,
    client: Client,
    known: Mutex<Known>,
}

/// All of them, and what they share.
struct Writers {
    writers: Vec<Writer>,
    answers: AtomicU64,
    stop: AtomicBool,
}

/// Ends the writers also when the test fails, which waits for them.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Writer {
    /// The key of the row that this writer alone counts up.
    fn own(&self) -> i64 {
        1 + self.number
    }

    fn user(&self) -> usize {
        user_of(self.number)
    }

    /// Runs a statement, which must change one row, and repeats it until that is known.
    fn write(&self, statement: u64, sql: &str) {
        let id = format!("{:08x}{:08x}{statement:016x}", self.seed, self.number);
        for _ in 0..REPEATS_MAX {
            match self.client.request(&id, sql, &[]) {
                Ok(answer) => {
                    assert_eq!(answer.rows_affected, Some(1), "{sql}");
                    assert_eq!(answer.positions.len(), 1, "{sql}");
                    return;
                }
                Err(failure) if failure.may_retry() => std::thread::sleep(REPEAT_AFTER),
                Err(failure) => panic!("{sql}: {failure}"),
            }
        }
        panic!("{sql}: there is no answer");
    }

    fn run(&self, shared: &Writers) {
        let mut dice = Dice::new(self.seed ^ u64::try_from(self.number + 1).unwrap() << 32);
        let own = self.own();
        self.write(0, &format!("INSERT INTO app.notes (id) VALUES ({own})"));
        self.known.lock().unwrap().notes.insert(own);
        for statement in 1.. {
            if shared.stop.load(Ordering::SeqCst) {
                return;
            }
            self.step(statement, &mut dice);
            shared.answers.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn step(&self, statement: u64, dice: &mut Dice) {
        let own = self.own();
        let fresh = (1 + self.number) * 1_000_000 + i64::try_from(statement).unwrap();
        let update = |table: &str, id: i64| {
            let sql =
                format!("UPDATE app.{table} SET n = n + 1, added = added + 1 WHERE id = {id}");
            self.write(statement, &sql);
        };
        let insert = |table: &str| {
            self.write(statement, &format!("INSERT INTO app.{table} (id) VALUES ({fresh})"));
        };
        let delete = |table: &str, id: i64| {
            self.write(statement, &format!("DELETE FROM app.{table} WHERE id = {id}"));
        };
        let known = self.known.lock().unwrap().clone();
        let first = |ids: &BTreeSet<i64>| ids.iter().copied().find(|id| *id != own);
        match (dice.below(8), first(&known.notes), first(&known.totals)) {
            (0 | 1, ..) => {
                update("totals", HOT);
                self.known.lock().unwrap().hot += 1;
            }
            (2, ..) => {
                insert("notes");
                self.known.lock().unwrap().notes.insert(fresh);
            }
            (3, ..) => {
                insert("totals");
                self.known.lock().unwrap().totals.insert(fresh);
            }
            (4, ..) => {
                insert("events");
                self.known.lock().unwrap().events.insert(fresh);
            }
            (5, Some(id), _) => {
                // Not known to be there any more: whether it is, is not known for a while.
                self.known.lock().unwrap().notes.remove(&id);
                delete("notes", id);
            }
            (6, _, Some(id)) => {
                self.known.lock().unwrap().totals.remove(&id);
                delete("totals", id);
            }
            _ => {
                update("notes", own);
                self.known.lock().unwrap().own += 1;
            }
        }
    }
}

impl Writers {
    fn new(home: &Home, seed: u64, count: i64) -> Self {
        let clients: Vec<Client> =
            (0..USERS).map(|user| home.client(&format!("u{user}"), Role::User)).collect();
        let writer = |number: i64| Writer {
            number,
            seed,
            client: clients[user_of(number)].clone(),
            known: Mutex::default(),
        };
        let writers = (0..count).map(writer).collect();
        Self { writers, answers: AtomicU64::new(0), stop: AtomicBool::new(false) }
    }

    fn known(&self) -> Vec<Known> {
        self.writers.iter().map(|writer| writer.known.lock().unwrap().clone()).collect()
    }

    /// Waits until so many more statements are answered.
    fn wait_for(&self, more: u64) {
        let target = self.answers.load(Ordering::SeqCst) + more;
        for _ in 0..REPEATS_MAX {
            if self.answers.load(Ordering::SeqCst) >= target {
                return;
            }
            assert!(!self.stop.load(Ordering::SeqCst), "a writer has failed");
            std::thread::sleep(REPEAT_AFTER);
        }
        panic!("the writers get no answers");
    }

    /// Checks that what was known before a kill is there after it, while they go on.
    fn check_nothing_is_lost(&self, before: &[Known]) {
        for user in 0..USERS {
            let notes = rows(self, user, "notes");
            let events: BTreeSet<i64> =
                rows(self, user, "events").iter().map(|row| row[0]).collect();
            for (writer, known) in self.writers.iter().zip(before).filter(|(w, _)| w.user() == user)
            {
                let lost: Vec<_> = known.events.difference(&events).collect();
                assert!(lost.is_empty(), "acknowledged, and not there: {lost:?}");
                if known.notes.contains(&writer.own()) {
                    let own = notes.iter().find(|row| row[0] == writer.own());
                    let own = own.unwrap_or_else(|| panic!("row {} is lost", writer.own()));
                    assert!(own[1] >= known.own && own[2] >= known.own, "{own:?}: {}", known.own);
                }
            }
        }
        let hot = before.iter().map(|known| known.hot).sum();
        let row = rows(self, 0, "totals").into_iter().find(|row| row[0] == HOT).unwrap();
        assert!(row[1] >= hot && row[2] >= hot, "{row:?}, and {hot} were acknowledged");
    }

    /// Checks that what is there is what happened, exactly, when all is answered.
    fn check_all(&self) {
        let known = self.known();
        for user in 0..USERS {
            let of_user = || self.writers.iter().zip(&known).filter(|(w, _)| w.user() == user);
            let counted = |id: i64| {
                let own = of_user().find(|(writer, _)| writer.own() == id);
                own.map_or(0, |(_, known)| known.own)
            };
            let expected = |ids: BTreeSet<i64>| -> Vec<[i64; 3]> {
                ids.into_iter().map(|id| [id, counted(id), counted(id)]).collect()
            };
            let notes = of_user().flat_map(|(_, known)| known.notes.clone()).collect();
            assert_eq!(rows(self, user, "notes"), expected(notes));
            let events = of_user().flat_map(|(_, known)| known.events.clone()).collect();
            assert_eq!(rows(self, user, "events"), expected(events));
        }
        let hot = known.iter().map(|known| known.hot).sum();
        let ids: BTreeSet<i64> = known.iter().flat_map(|known| known.totals.clone()).collect();
        let mut totals = vec![[HOT, hot, hot]];
        totals.extend(ids.into_iter().map(|id| [id, 0, 0]));
        assert_eq!(rows(self, 0, "totals"), totals);
    }
}

fn user_of(writer: i64) -> usize {
    usize::try_from(writer).unwrap() % USERS
}

/// All rows of a table as a user sees them.
fn rows(writers: &Writers, user: usize, table: &str) -> Vec<[i64; 3]> {
    let client = &writers.writers[user].client;
    let answer = client.ok(&format!("SELECT id, n, added FROM app.{table} ORDER BY id"));
    let number = |value: &serde_json::Value| value.as_str().unwrap().parse().unwrap();
    answer.rows.iter().map(|row| [number(&row[0]), number(&row[1]), number(&row[2])]).collect()
}

#[test]
fn a_kill_loses_nothing_that_was_acknowledged_and_doubles_nothing() {
    seeds::for_each("kills", 1, |seed| {
        // In a plain test run it is small.
        let (kills, writers) = if seed == 0 { (3, 8) } else { (10, 32) };
        let home = Home::new();
        let mut server = Some(home.start());
        for sql in TABLES {
            home.admin().ok(sql);
        }
        home.admin().ok(&format!("INSERT INTO app.totals (id) VALUES ({HOT})"));
        let writers = Arc::new(Writers::new(&home, seed, writers));
        let mut dice = Dice::new(seed);
        std::thread::scope(|scope| {
            let stop = StopAtEnd(&writers.stop);
            for writer in &writers.writers {
                let writers = &writers;
                scope.spawn(move || {
                    let failed = StopAtEnd(&writers.stop);
                    writer.run(writers);
                    drop(failed);
                });
            }
            for _ in 0..kills {
                kill_and_restart(&home, &writers, &mut server, &mut dice);
            }
            drop(stop);
        });
        writers.check_all();
        server.take().unwrap().kill9();
        drop(home.start());
        let server = home.start();
        writers.check_all();
        server.kill9();
        check_sums(&home.data());
    });
}

fn kill_and_restart(home: &Home, writers: &Writers, server: &mut Option<Server>, dice: &mut Dice) {
    writers.wait_for(20 + dice.below(150));
    std::thread::sleep(Duration::from_millis(dice.below(30)));
    let known = writers.known();
    server.take().unwrap().kill9();
    if dice.below(3) == 0 {
        // Also while it starts.
        let starting = home.launch();
        std::thread::sleep(Duration::from_millis(dice.below(300)));
        starting.kill9();
    }
    *server = Some(home.start());
    writers.check_nothing_is_lost(&known);
}

/// Checks that the rows have the sum that was kept over them.
fn check_sums(data: &Path) {
    let store = RocksStore::open(&data.join("rows"), LAYOUT, &RocksOptions::default()).unwrap();
    let stores = Arc::new(Stores::open(&store).unwrap());
    let snapshot = store.snapshot();
    for shard in Placement::new(SHARDS.0, SHARDS.1).unwrap().shards() {
        let opened = Shard::open(&*snapshot, shard, Arc::clone(&stores)).unwrap();
        let counted = recount(&*snapshot, &opened).unwrap();
        assert_eq!(counted, opened.sum(), "{shard:?}");
    }
}

/// Chance that a seed decides. What runs at the same time does not come out the same twice all the
/// same: a seed says when something is killed, not what else happens then.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number below `end`. (xorshift64*, Vigna 2016)
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }
}
