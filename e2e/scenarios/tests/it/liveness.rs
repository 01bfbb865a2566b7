//! Ten devices write while networks break in either direction, programs are killed and stand still:
//! afterwards every outbox empties and every device has what the server has, within 30 seconds. What each
//! has seen meanwhile is held against what it may see.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use e2e_harness::{Client as Http, Home, Proxy, Role, Server};
use sdk_core::{Client, Config, Rows, StatusWord, SubscribeOptions, Value};
use tokio::select;
use tokio::time::{MissedTickBehavior, interval};

use crate::kills::Dice;
use crate::processes::{Process, be, heard, program, say};
use crate::sdk::texts;

const DEVICES: usize = 10;

/// How long things are broken.
const BROKEN: Duration = Duration::from_secs(8);

/// All is well so long after the last fault, at the latest.
const WELL_WITHIN: Duration = Duration::from_secs(30);

/// Between two writes of a device: 40 a second in all.
const EVERY: Duration = Duration::from_millis(250);

const TABLES: [&str; 3] = [
    "CREATE NAMESPACE app",
    // A row of each device: how often it has written, and of which other device it had read how much.
    "CREATE SHARED TABLE app.marks (id BIGINT PRIMARY KEY, n BIGINT, saw BIGINT, saw_n BIGINT) \
     WITH (ACCESS_LEVEL = WRITE)",
    // Two rows each, which are always written together.
    "CREATE SHARED TABLE app.pairs (id BIGINT PRIMARY KEY, tag TEXT) WITH (ACCESS_LEVEL = WRITE)",
];

const MARKS: &str = "SELECT id, n, saw, saw_n FROM app.marks ORDER BY id";
const PAIRS: &str = "SELECT id, tag FROM app.pairs ORDER BY id";

/// What a device has seen so far of each other: how often it had written.
#[derive(Default)]
struct Seen(BTreeMap<i64, i64>);

impl Seen {
    /// Looks at marks, all of one moment. Says what is wrong with them, if something is.
    fn look(&mut self, marks: &[[i64; 4]]) -> Option<String> {
        let now: BTreeMap<i64, i64> = marks.iter().map(|[id, n, ..]| (*id, *n)).collect();
        for (id, before) in &self.0 {
            if now.get(id) < Some(before) {
                return Some(format!("{id} was at {before}, and is at {:?}", now.get(id)));
            }
        }
        // What somebody had read when he wrote this is there, too.
        for [id, _, saw, saw_n] in marks {
            if *saw_n > 0 && now.get(saw) < Some(saw_n) {
                return Some(format!(
                    "{id} had seen {saw} at {saw_n}: it is at {:?}",
                    now.get(saw)
                ));
            }
        }
        self.0 = now;
        None
    }
}

/// What is wrong with pairs.
fn wrong_pairs(rows: &Rows) -> Option<String> {
    let all: Vec<(i64, String)> =
        rows.iter().map(|row| (row.get("id").unwrap(), row.get("tag").unwrap())).collect();
    let half = all.chunks(2).find(|pair| match pair {
        [(id, tag), (next, same)] => id % 2 != 0 || *next != id + 1 || tag != same,
        _ => true,
    });
    half.map(|pair| format!("half of what was written together: {pair:?}"))
}

fn marks(rows: &Rows) -> Vec<[i64; 4]> {
    let read = |row: sdk_core::Row<'_>| ["id", "n", "saw", "saw_n"].map(|it| row.get(it).unwrap());
    rows.iter().map(read).collect()
}

/// A device: number, server, token, directory.
async fn device(command: &str) {
    let [number, server, token, directory] = *command.split(' ').collect::<Vec<_>>().as_slice()
    else {
        panic!("not a device: {command}");
    };
    let token = token.to_owned();
    let config = Config::new(server, format!("u{number}"), directory, move || {
        let token = token.clone();
        async move { Ok(token) }
    });
    let client = Client::open(config).await.unwrap();
    for table in ["app.marks", "app.pairs"] {
        let sql = format!("SELECT * FROM {table}");
        client.subscribe(&sql, &[], SubscribeOptions::default()).await.unwrap();
    }
    // They look at different moments, so each has what it has seen.
    let look_at_marks = async {
        let (mut watch, mut seen) = (client.watch(MARKS, &[]).unwrap(), Seen::default());
        loop {
            let result = watch.next().await.expect("the client lives");
            // Before the server has said so there is no table.
            let wrong = result.error.is_none().then(|| seen.look(&marks(&result.rows))).flatten();
            if let Some(wrong) = wrong {
                break wrong;
            }
        }
    };
    let look_at_pairs = async {
        let mut watch = client.watch(PAIRS, &[]).unwrap();
        loop {
            let result = watch.next().await.expect("the client lives");
            let wrong = result.error.is_none().then(|| wrong_pairs(&result.rows)).flatten();
            if let Some(wrong) = wrong {
                break wrong;
            }
        }
    };
    select! {
        wrong = look_at_marks => say(&format!("wrong {wrong}")),
        wrong = look_at_pairs => say(&format!("wrong {wrong}")),
        wrong = write(&client, number.parse().unwrap()) => say(&format!("wrong {wrong}")),
    }
    std::future::pending().await
}

/// Writes until it is told to stop, and then says what it has whenever it is asked. Ends with what is
/// wrong.
async fn write(client: &Client, number: i64) -> String {
    let mut lines = heard();
    let mut dice = Dice::new(u64::from(std::process::id()));
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while lines.try_recv().is_err() {
        ticks.tick().await;
        let Ok(rows) = client.query(MARKS, &[]).await else { continue };
        let before = marks(&rows);
        let Some([_, n, ..]) = before.iter().find(|[id, ..]| *id == number) else { continue };
        let (n, other) = (n + 1, before[usize::try_from(dice.below(before.len() as u64)).unwrap()]);
        let [saw, saw_n, ..] = other;
        let saw_n = if saw == number { 0 } else { saw_n };
        let values = [number, n, saw, saw_n].map(Value::Integer);
        let pair = i64::try_from(2 * dice.below(20)).unwrap();
        let tag = Value::text(format!("{number}/{n}")).unwrap();
        let pair = [Value::Integer(pair), tag];
        let both = [
            ("UPDATE app.marks SET n = $2, saw = $3, saw_n = $4 WHERE id = $1", &values[..]),
            ("UPDATE app.pairs SET tag = $2 WHERE id IN ($1, $1 + 1)", &pair[..]),
        ];
        if let Err(error) = client.batch(&both).await {
            return format!("it cannot write: {error}");
        }
        say("wrote");
        // What is written is read, at once and from now on.
        let Ok(rows) = client.query(MARKS, &[]).await else { continue };
        let after = marks(&rows);
        if after.iter().find(|[id, ..]| *id == number).is_none_or(|[_, now, ..]| *now < n) {
            return format!("{n} was written, and is not read: {after:?}");
        }
    }
    loop {
        let pending = client.pending().await.map_or(usize::MAX, |pending| pending.count());
        let is_live = client.status().word == StatusWord::Connected;
        let mut all = Vec::new();
        for sql in [MARKS, PAIRS] {
            all.extend(client.query(sql, &[]).await.map(|rows| texts(&rows)).unwrap_or_default());
        }
        say(&format!("{} {}", u8::from(pending == 0 && is_live), all.join("|")));
        if lines.recv().await.is_none() {
            return "nobody listens".to_owned();
        }
    }
}

/// Must show 4 of offline writes; X2, X3: all comes to rest in every run, and nobody has seen what must not
/// be.
#[test]
fn after_any_faults_all_outboxes_empty_and_all_have_the_same() {
    if let Some(command) = program() {
        be(device(&command));
    }
    // Five runs go at a time: most of each is waiting.
    seeds::for_each("liveness", 1, |seed| {
        std::thread::scope(|scope| {
            (5 * seed..5 * seed + 5).for_each(|run| drop(scope.spawn(move || broken(run))));
        });
    });
}

/// What is broken, and until when.
struct Fault {
    until: Instant,
    what: What,
}

enum What {
    /// A network, in one direction or both.
    Up(usize),
    Down(usize),
    Both(usize),
    /// A program stands still.
    Device(usize),
    Server,
}

struct World {
    server: Option<Server>,
    home: Home,
    proxies: Vec<Proxy>,
    devices: Vec<Process>,
    wrote: Arc<AtomicU64>,
}

impl World {
    fn new() -> Self {
        let home = Home::new();
        let server = home.start();
        home.keep_port();
        let admin = home.admin();
        TABLES.iter().for_each(|sql| drop(admin.ok(sql)));
        for number in 0..DEVICES {
            admin.ok(&format!("INSERT INTO app.marks VALUES ({number}, 0, {number}, 0)"));
        }
        let pairs: Vec<_> = (0..40).map(|id| format!("({id}, 'first')")).collect();
        admin.ok(&format!("INSERT INTO app.pairs VALUES {}", pairs.join(", ")));
        let wrote = Arc::<AtomicU64>::default();
        let proxies: Vec<_> = (0..DEVICES).map(|_| Proxy::to(&admin.address())).collect();
        let device = |(number, proxy): (usize, &Proxy)| {
            let token = home.client(&format!("u{number}"), Role::User).token().to_owned();
            let folder = home.folder(&format!("device-{number}"));
            let command = format!("{number} ws://{} {token} {}", proxy.address(), folder.display());
            let test = "liveness::after_any_faults_all_outboxes_empty_and_all_have_the_same";
            Process::start(test, command, &wrote)
        };
        let devices = proxies.iter().enumerate().map(device).collect();
        Self { server: Some(server), home, proxies, devices, wrote }
    }

    /// Breaks something, and says what is to be mended.
    #[expect(clippy::disallowed_methods, reason = "how long something stays broken")]
    fn fault(&mut self, dice: &mut Dice) -> Option<Fault> {
        let place = usize::try_from(dice.below(DEVICES as u64)).unwrap();
        let until = Instant::now() + Duration::from_millis(dice.below(10_000));
        let what = match dice.below(10) {
            0 | 1 => What::Up(place),
            2 | 3 => What::Down(place),
            4 => What::Both(place),
            5 => What::Device(place),
            6 => What::Server,
            7 => {
                self.proxies[place].cut();
                return None;
            }
            8 => {
                let mut device = self.devices.swap_remove(place);
                let told = device.kill();
                assert!(told.is_empty(), "{}: {told:?}", device.command);
                self.devices.push(device.again(&self.wrote));
                return None;
            }
            _ => {
                self.server.take().unwrap().kill9();
                self.server = Some(self.home.start());
                return None;
            }
        };
        self.set(&what, true);
        Some(Fault { until, what })
    }

    fn set(&self, what: &What, is_broken: bool) {
        let signal = if is_broken { "STOP" } else { "CONT" };
        match what {
            What::Up(place) => self.proxies[*place].hold_up(is_broken),
            What::Down(place) => self.proxies[*place].hold_down(is_broken),
            What::Both(place) => {
                self.proxies[*place].hold_up(is_broken);
                self.proxies[*place].hold_down(is_broken);
            }
            What::Device(place) => self.devices[*place].signal(signal),
            What::Server => self.server.as_ref().unwrap().signal(signal),
        }
    }
}

#[expect(clippy::print_stdout, reason = "whoever runs the soak wants the figures")]
#[expect(clippy::disallowed_methods, reason = "how long it takes is promised")]
fn broken(seed: u64) {
    let mut world = World::new();
    let mut dice = Dice::new(seed);
    let begun = Instant::now();
    let mut faults: Vec<Fault> = Vec::new();
    while begun.elapsed() < BROKEN {
        std::thread::sleep(Duration::from_millis(dice.below(800)));
        for fault in faults.extract_if(.., |fault| fault.until <= Instant::now()) {
            world.set(&fault.what, false);
        }
        // One that stands still is not killed meanwhile: it would be another one that goes on.
        if !faults.iter().any(|fault| matches!(fault.what, What::Device(_) | What::Server)) {
            faults.extend(world.fault(&mut dice));
        }
    }
    for fault in faults {
        world.set(&fault.what, false);
    }
    let waited = well_again(&mut world);
    println!(
        "run {seed}: {} were written, all the same after {:.1} s",
        world.wrote.load(Ordering::SeqCst),
        waited.as_secs_f64()
    );
    assert!(waited < WELL_WITHIN, "run {seed}: it took {waited:?}");
}

/// Waits until all have sent what they had and have what the server has.
#[expect(clippy::disallowed_methods, reason = "how long it takes is promised")]
fn well_again(world: &mut World) -> Duration {
    let begun = Instant::now();
    for device in &mut world.devices {
        device.check();
        device.tell("stop");
    }
    let mut said: Vec<String> = world.devices.iter_mut().map(Process::hear).collect();
    let admin = world.home.admin();
    loop {
        let expected = format!("1 {}", there(&admin));
        for (device, said) in world.devices.iter().zip(&said) {
            assert!(!said.starts_with("wrong"), "{}: {said}", device.command);
        }
        if said.iter().all(|said| *said == expected) {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < 2 * WELL_WITHIN, "{expected} is not what they have: {said:?}");
        std::thread::sleep(Duration::from_millis(50));
        for (device, said) in world.devices.iter_mut().zip(&mut said) {
            device.tell("?");
            *said = device.hear();
        }
    }
}

fn there(server: &Http) -> String {
    [MARKS, PAIRS].iter().flat_map(|sql| server.rows(sql)).collect::<Vec<_>>().join("|")
}

/// What this would overlook is worth nothing.
#[test]
fn what_must_not_be_seen_is_noticed() {
    let mut seen = Seen::default();
    assert_eq!(seen.look(&[[1, 5, 2, 3], [2, 3, 2, 0]]), None);
    assert_eq!(seen.look(&[[1, 6, 2, 3], [2, 3, 2, 0]]), None);
    assert!(seen.look(&[[1, 5, 2, 3], [2, 3, 2, 0]]).is_some(), "1 goes back");
    assert!(seen.look(&[[1, 7, 2, 3]]).is_some(), "2 is gone");
    assert!(seen.look(&[[1, 7, 2, 9], [2, 8, 2, 0]]).is_some(), "1 had seen more of 2");
}
