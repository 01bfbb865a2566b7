//! Devices that are processes of their own, and are killed like the server while all of them
//! write: no device shows what never was, and in the end each has what the server has (INV-8).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use e2e_harness::{Client as Http, Home, Role};
use sdk_core::{Client, Config, ResultState, Rows, StatusWord, SubscribeOptions, Value, Watch};
use tokio::select;

use crate::kills::Dice;
use crate::processes::{Process, WITHIN, be, heard, program, say};
use crate::sdk::texts;

/// Pairs of rows; the two of a pair are always written together.
const PAIRS: u64 = 40;

/// All devices are live so long after the last fault, at the latest.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

const TABLES: [&str; 3] = [
    "CREATE NAMESPACE app",
    "CREATE SHARED TABLE app.pairs (id BIGINT PRIMARY KEY, n BIGINT, tag TEXT) \
     WITH (ACCESS_LEVEL = WRITE)",
    "CREATE USER TABLE app.notes (id BIGINT PRIMARY KEY, n BIGINT, tag TEXT)",
];

const PAIRS_SQL: &str = "SELECT id, n, tag FROM app.pairs ORDER BY id";
const NOTES_SQL: &str = "SELECT id, n, tag FROM app.notes ORDER BY id";

/// Key, number and tag of a row. By the tag, one that never was is known.
type Shown = (i64, i64, String);

fn shown(rows: &Rows) -> Vec<Shown> {
    let read = |row: sdk_core::Row<'_>| {
        (row.get("id").unwrap(), row.get("n").unwrap(), row.get("tag").unwrap())
    };
    rows.iter().map(read).collect()
}

fn pair_tag(id: i64, n: i64) -> String {
    format!("pair {}/{n}", id / 2)
}

fn note_tag(user: &str, n: i64) -> String {
    format!("{user}/{n}")
}

/// What is wrong with pairs that are shown, if something is.
fn wrong_pairs(rows: &[Shown]) -> Option<String> {
    let torn = rows.iter().find(|(id, n, tag)| *tag != pair_tag(*id, *n));
    let half = rows.chunks(2).find(|pair| match pair {
        [(id, n, _), (next, same, _)] => (id % 2, *next, *same) != (0, id + 1, *n),
        _ => true,
    });
    let torn = torn.map(|row| format!("no such row was ever written: {row:?}"));
    torn.or_else(|| half.map(|pair| format!("half a commit: {pair:?}")))
}

/// The same for notes.
fn wrong_notes(user: &str, rows: &[Shown]) -> Option<String> {
    let wrong = rows.iter().find(|(_, n, tag)| *tag != note_tag(user, *n));
    wrong.map(|row| format!("not of {user}: {row:?}"))
}

/// By which the same rows are known.
fn digest(pairs: &[String], notes: &[String]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (pairs, notes).hash(&mut hasher);
    hasher.finish()
}

#[test]
fn what_never_was_is_noticed() {
    // A device comes here, and stays.
    if let Some(device) = program() {
        be(Device::run(&device));
    }
    let row = |id, n, tag: &str| (id, n, tag.to_owned());
    let good = [
        row(2, 7, "pair 1/7"),
        row(3, 7, "pair 1/7"),
        row(8, 1, "pair 4/1"),
        row(9, 1, "pair 4/1"),
    ];
    assert_eq!(wrong_pairs(&good), None);
    assert_eq!(wrong_pairs(&[]), None);
    for (rows, told) in [
        (&good[..1], "half a commit"),
        (&good[1..3], "half a commit"),
        (&[good[0].clone(), row(3, 8, "pair 1/8")], "half a commit"),
        (&[good[0].clone(), row(3, 7, "pair 1/6")], "no such row"),
    ] {
        let wrong = wrong_pairs(rows).expect("something is wrong");
        assert!(wrong.contains(told), "{wrong}");
    }
    assert_eq!(wrong_notes("u1", &[row(1, 7, "u1/7")]), None);
    assert!(wrong_notes("u1", &[row(1, 7, "u2/7")]).is_some());
}

/// What runs in a process of its own: it writes, and looks at everything that it shows.
struct Device {
    user: String,
    number: i64,
    client: Client,
}

impl Device {
    /// It is told: user, number, server, token, directory.
    async fn run(device: &str) {
        let [user, number, server, token, directory] =
            *device.split(' ').collect::<Vec<_>>().as_slice()
        else {
            panic!("not a device: {device}");
        };
        let token = token.to_owned();
        let config = Config::new(server, user, directory, move || {
            let token = token.clone();
            async move { Ok(token) }
        });
        // Half of them as browsers do it.
        let is_odd = number.parse::<u64>().unwrap() % 2 == 1;
        let config = if is_odd { config.with_one_connection() } else { config };
        let client = Client::open(config).await.unwrap();
        for table in ["app.pairs", "app.notes"] {
            let sql = format!("SELECT * FROM {table}");
            let options = SubscribeOptions { batch_rows: Some(7), ..SubscribeOptions::default() };
            client.subscribe(&sql, &[], options).await.unwrap();
        }
        let device = Self { user: user.to_owned(), number: number.parse().unwrap(), client };
        let pairs = device.client.watch(PAIRS_SQL, &[]).unwrap();
        let notes = device.client.watch(NOTES_SQL, &[]).unwrap();
        select! {
            wrong = device.look(pairs, wrong_pairs) => say(&format!("wrong {wrong}")),
            wrong = device.look(notes, |rows| wrong_notes(&device.user, rows)) => {
                say(&format!("wrong {wrong}"));
            }
            () = device.obey() => {}
        }
    }

    /// Looks at all results, until one is wrong.
    async fn look(&self, mut watch: Watch, wrong: impl Fn(&[Shown]) -> Option<String>) -> String {
        while let Some(result) = watch.next().await {
            assert_eq!(result.error, None);
            // A load that is not over has some rows and not others.
            if [ResultState::Loading, ResultState::Cached].contains(&result.state) {
                continue;
            }
            if let Some(wrong) = wrong(&shown(&result.rows)) {
                return format!("while {:?}: {wrong}", result.state);
            }
        }
        "the client has closed".to_owned()
    }

    /// Writes until it is told to stop, and then says what it has whenever it is asked.
    async fn obey(&self) {
        let mut lines = heard();
        let mut dice = Dice::new(u64::from(std::process::id()));
        let mut round = 0;
        while lines.try_recv().is_err() {
            round += 1;
            self.write(&mut dice, round).await;
        }
        loop {
            let is_ready = self.client.status().word == StatusWord::Connected;
            let (pairs, notes) = (self.rows(PAIRS_SQL).await, self.rows(NOTES_SQL).await);
            let digest = digest(&pairs, &notes);
            say(&format!("{} {digest}", if is_ready { "ready" } else { "waits" }));
            if lines.recv().await.is_none() {
                return;
            }
        }
    }

    async fn rows(&self, sql: &str) -> Vec<String> {
        // Before the first answer of the server there is no table.
        self.client.query(sql, &[]).await.map(|rows| texts(&rows)).unwrap_or_default()
    }

    async fn write(&self, dice: &mut Dice, round: i64) {
        let pair = i64::try_from(dice.below(PAIRS)).unwrap();
        // Nobody else writes this number.
        let n =
            i64::from(std::process::id()) * 1_000_000 + self.number * 100_000_000_000_000 + round;
        let tag = Value::text(pair_tag(2 * pair, n)).unwrap();
        let (first, n_value) = (Value::Integer(2 * pair), Value::Integer(n));
        let (sql, params) = match dice.below(6) {
            0 => ("DELETE FROM app.pairs WHERE id IN ($1, $1 + 1)", vec![first]),
            1 | 2 => (
                "INSERT INTO app.pairs (id, n, tag) VALUES ($1, $2, $3), ($1 + 1, $2, $3) \
                 ON CONFLICT (id) DO UPDATE SET n = $2, tag = $3",
                vec![first, n_value, tag],
            ),
            3 => (
                "UPDATE app.pairs SET n = $2, tag = $3 WHERE id IN ($1, $1 + 1)",
                vec![first, n_value, tag],
            ),
            kind => (
                if kind == 4 {
                    "INSERT INTO app.notes (id, n, tag) VALUES ($1, $2, $3) \
                     ON CONFLICT (id) DO UPDATE SET n = $2, tag = $3"
                } else {
                    "DELETE FROM app.notes WHERE id = $1 AND n <> $2 AND tag <> $3"
                },
                vec![first, n_value, Value::text(note_tag(&self.user, n)).unwrap()],
            ),
        };
        // Where there is no answer, it may have happened, which is no matter here.
        if self.client.remote(sql, &params).await.is_ok() {
            say("wrote");
        }
    }
}

fn start(command: String, wrote: &Arc<AtomicU64>) -> Process {
    Process::start("devices::what_never_was_is_noticed", command, wrote)
}

fn number(device: &Process) -> u64 {
    device.command.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Asks a device what it has: whether it is live, and the digest.
fn ask(device: &mut Process) -> (bool, u64) {
    device.tell("?");
    let line = device.hear();
    let (word, digest) = line.split_once(' ').unwrap();
    assert!(["ready", "waits"].contains(&word), "device {}: {line}", device.command);
    (word == "ready", digest.parse().unwrap())
}

struct Numbers {
    devices: u64,
    server_kills: u64,
    device_kills: u64,
}

#[test]
fn after_kills_of_server_and_devices_all_have_the_same() {
    seeds::for_each("device-kills", 1, |seed| {
        // In a plain test run it is small.
        let small = Numbers { devices: 4, server_kills: 2, device_kills: 8 };
        let large = Numbers { devices: 20, server_kills: 50, device_kills: 200 };
        kills(seed, if seed == 0 { &small } else { &large });
    });
}

#[expect(clippy::print_stdout, reason = "whoever runs the soak wants the figures")]
fn kills(seed: u64, numbers: &Numbers) {
    let home = Home::new();
    let mut server = home.start();
    home.keep_port();
    let admin = home.admin();
    TABLES.iter().for_each(|sql| drop(admin.ok(sql)));
    let wrote = Arc::<AtomicU64>::default();
    let user = |number: u64| format!("u{}", number % 4);
    let users: Vec<Http> = (0..4).map(|number| home.client(&user(number), Role::User)).collect();
    let mut devices: Vec<Process> = (0..numbers.devices)
        .map(|number| {
            let token = of_device(&users, number).token();
            let folder = home.folder(&format!("device-{number}"));
            let server = format!("ws://{}", admin.address());
            let device = format!("{} {number} {server} {token} {}", user(number), folder.display());
            start(device, &wrote)
        })
        .collect();
    let mut dice = Dice::new(seed);
    let wait_for = |more: u64| {
        let target = wrote.load(Ordering::SeqCst) + more;
        let looks = WITHIN.as_millis() / LOOK_EVERY.as_millis();
        for _ in 0..looks {
            if wrote.load(Ordering::SeqCst) >= target {
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        panic!("the devices get no answers");
    };
    for _ in 0..numbers.server_kills {
        for _ in 0..numbers.device_kills / numbers.server_kills {
            wait_for(1 + dice.below(20));
            let place = usize::try_from(dice.below(numbers.devices)).unwrap();
            let mut device = devices.swap_remove(place);
            device.check();
            assert_eq!(device.kill(), [""; 0]);
            devices.push(device.again(&wrote));
        }
        wait_for(1 + dice.below(50));
        server.kill9();
        std::thread::sleep(Duration::from_millis(dice.below(200)));
        server = home.start();
    }
    let written = wrote.load(Ordering::SeqCst);
    let waited = all_the_same(&users, &mut devices);
    println!(
        "{} kills of the server, {} of {} devices, {written} statements answered: all live and \
         the same after {:.1} s",
        numbers.server_kills,
        numbers.device_kills,
        numbers.devices,
        waited.as_secs_f64()
    );
    assert!(waited < READY_WITHIN, "they were live after {waited:?} only");
}

/// Waits until all devices are live, with what the server has.
#[expect(clippy::disallowed_methods, reason = "how long it takes is promised")]
fn all_the_same(users: &[Http], devices: &mut [Process]) -> Duration {
    let started = std::time::Instant::now();
    for device in &mut *devices {
        device.check();
        // The first line ends what it writes, as soon as that has an answer.
        device.tell("stop");
    }
    for device in &mut *devices {
        let line = device.hear();
        assert!(!line.starts_with("wrong"), "device {}: {line}", device.command);
    }
    loop {
        let is_same = |device: &mut Process| {
            let server = of_device(users, number(device));
            let expected = digest(&server.rows(PAIRS_SQL), &server.rows(NOTES_SQL));
            ask(device) == (true, expected)
        };
        if devices.iter_mut().all(is_same) {
            return started.elapsed();
        }
        assert!(started.elapsed() < WITHIN, "they do not come to have the same");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The user of a device, at the server.
fn of_device(users: &[Http], number: u64) -> &Http {
    &users[usize::try_from(number).unwrap() % users.len()]
}
