//! Ten devices write while networks break in either direction, programs are killed and stand still:
//! afterwards every outbox empties and every device has what the server has, within 30 seconds. What each
//! has seen meanwhile is held against what it may see, and against what it had seen before it was killed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use e2e_harness::{Client as Http, Home, Proxy, Role, Server};
use sdk_core::{
    Client, Config, ResultState, Rows, StatusWord, SubscribeOptions, Subscription, Value,
};
use tokio::select;
use tokio::time::{MissedTickBehavior, interval};

use crate::kills::Dice;
use crate::processes::{Process, be, heard, program, say};
use crate::sdk::texts;

const DEVICES: usize = 10;

/// How long things are broken.
const BROKEN: Duration = Duration::from_secs(8);

/// How long a network is broken, and how long a program stands still, at most.
const CUT_MAX_MS: u64 = 10_000;
const STILL_MAX_MS: u64 = 2_000;

/// All is well so long after the last fault, at the latest.
const WELL_WITHIN: Duration = Duration::from_secs(30);

/// What a run takes at most in all.
const DONE_WITHIN: Duration = Duration::from_secs(40);

/// Between two writes of a device: 40 a second in all.
const EVERY: Duration = Duration::from_millis(250);

/// What a run writes at least. It is 320 where nothing stands still, and fewer where other things run.
const WRITTEN_MIN: u64 = 100;

const TABLES: [&str; 3] = [
    "CREATE NAMESPACE app",
    // A row of each device: how often it has written, of which other device it had read how much, and
    // which pair it has written along.
    "CREATE SHARED TABLE app.marks (id BIGINT PRIMARY KEY, n BIGINT, saw BIGINT, saw_n BIGINT, \
     pair BIGINT) WITH (ACCESS_LEVEL = WRITE)",
    // Two rows each, which are always written together. Who has written them and when is one column,
    // since of two columns each may be of another writer.
    "CREATE SHARED TABLE app.pairs (id BIGINT PRIMARY KEY, tag BIGINT) WITH (ACCESS_LEVEL = WRITE)",
];

const MARKS: &str = "SELECT id, n, saw, saw_n, pair FROM app.marks ORDER BY id";
const PAIRS: &str = "SELECT id, tag FROM app.pairs ORDER BY id";

/// Both as of one moment.
const BOTH: &str = "SELECT id, NULL AS tag, n, saw, saw_n, pair FROM app.marks \
                    UNION ALL SELECT id, tag, 0, 0, 0, 0 FROM app.pairs ORDER BY id";

const WRITE_MARK: &str =
    "UPDATE app.marks SET n = $2, saw = $3, saw_n = $4, pair = $5 WHERE id = $1";
const WRITE_PAIR: &str = "UPDATE app.pairs SET tag = $2 WHERE id IN ($1, $1 + 1)";

fn tag(writer: i64, n: i64) -> i64 {
    n * 100 + writer
}

/// What a device has of both tables at one moment. They are two subscriptions of one lane, so what is
/// written in one batch comes to both in one step.
#[derive(Default)]
struct Moment {
    marks: Vec<[i64; 5]>,
    pairs: Vec<[i64; 2]>,
}

impl Moment {
    fn of(rows: &Rows) -> Self {
        let mut moment = Self::default();
        for row in rows.iter() {
            match row.get("tag").unwrap() {
                Some(tag) => moment.pairs.push([row.get("id").unwrap(), tag]),
                None => moment.marks.push(mark(row)),
            }
        }
        moment
    }

    /// How often each device has written.
    fn written(&self) -> BTreeMap<i64, i64> {
        self.marks.iter().map(|[id, n, ..]| (*id, *n)).collect()
    }

    /// What is wrong with it alone, if something is.
    fn wrong(&self) -> Option<String> {
        let now = self.written();
        // What somebody had read when he wrote this is there, too.
        let unseen = self.marks.iter().find(|[.., saw, saw_n, _]| now.get(saw) < Some(saw_n));
        if let Some(mark) = unseen {
            return Some(format!("{mark:?} had seen more of another one: {now:?}"));
        }
        for pair in self.pairs.chunks(2) {
            let [[id, written], [next, same]] = *pair else {
                return Some(format!("one row of two: {pair:?}"));
            };
            if id % 2 != 0 || next != id + 1 || written != same {
                return Some(format!("half of what was written together: {pair:?}"));
            }
            let (writer, n) = (written % 100, written / 100);
            if now.get(&writer) < Some(&n) {
                return Some(format!("the pair {id} of {writer} at {n} without its mark: {now:?}"));
            }
            // Whoever has written last what his mark names has written it together with the mark.
            let mark = self.marks.iter().find(|[by, .., named]| (*by, *named) == (writer, id));
            if let Some([_, now, ..]) = mark.filter(|[_, now, ..]| *now > n) {
                return Some(format!("the mark of {writer} at {now} without its pair: {pair:?}"));
            }
        }
        None
    }
}

fn mark(row: sdk_core::Row<'_>) -> [i64; 5] {
    ["id", "n", "saw", "saw_n", "pair"].map(|it| row.get(it).unwrap())
}

/// What a device has seen so far of each: how often it had written.
#[derive(Clone, Debug, Default, PartialEq)]
struct Seen(BTreeMap<i64, i64>);

impl Seen {
    /// Looks at a moment after those before. Says what is wrong with it, if something is.
    fn look(&mut self, moment: &Moment) -> Option<String> {
        let wrong = self.back(moment).or_else(|| moment.wrong());
        self.0 = moment.written();
        wrong
    }

    /// What was seen and is not any more.
    fn back(&self, moment: &Moment) -> Option<String> {
        let now = moment.written();
        let (id, before) = self.0.iter().find(|(id, before)| now.get(id) < Some(before))?;
        Some(format!("{id} was at {before}, and is at {:?}", now.get(id)))
    }
}

/// What a device has seen, and what it was told that it has written: beside its replica, so that it is
/// still known when the process is killed. Whoever starts devices begins it.
struct Kept {
    file: PathBuf,
    seen: RefCell<Seen>,
}

impl Kept {
    fn begin(file: &Path) {
        std::fs::write(file, "").unwrap();
    }

    fn open(file: PathBuf) -> Self {
        let text = std::fs::read_to_string(&file).unwrap();
        let numbers = |line: &str| -> Option<(i64, i64)> {
            let (id, n) = line.split_once(' ')?;
            Some((id.parse().ok()?, n.parse().ok()?))
        };
        let seen = text.lines().map(|line| numbers(line).expect("two numbers")).collect();
        Self { file, seen: RefCell::new(Seen(seen)) }
    }

    /// What is to be seen from now on.
    fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    fn keep(&self, more: &BTreeMap<i64, i64>) {
        let mut seen = self.seen.borrow_mut();
        let before = seen.clone();
        for (id, n) in more {
            let kept = seen.0.entry(*id).or_default();
            *kept = *n.max(kept);
        }
        if *seen != before {
            // It is killed at any time, and has one or the other then.
            let next = self.file.with_extension("next");
            let lines: String = seen.0.iter().map(|(id, n)| format!("{id} {n}\n")).collect();
            std::fs::write(&next, lines).unwrap();
            std::fs::rename(&next, &self.file).unwrap();
        }
    }
}

/// The file of what a device keeps, by the folder of its replica.
fn beside(folder: &Path) -> PathBuf {
    folder.with_extension("seen")
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
    // Half of them as browsers do it.
    let is_odd = number.parse::<u64>().unwrap() % 2 == 1;
    let config = if is_odd { config.with_one_connection() } else { config };
    let kept = Kept::open(beside(Path::new(directory)));
    let client = Client::open(config).await.unwrap();
    let mut subscriptions = Vec::new();
    for table in ["app.marks", "app.pairs"] {
        let sql = format!("SELECT * FROM {table}");
        let subscription = client.subscribe(&sql, &[], SubscribeOptions::default()).await.unwrap();
        subscriptions.push(subscription);
    }
    select! {
        wrong = look(&client, &kept) => say(&format!("wrong {wrong}")),
        wrong = write(&client, &subscriptions, &kept, number.parse().unwrap()) => {
            say(&format!("wrong {wrong}"));
        }
    }
    std::future::pending().await
}

/// Looks at all that the device has, and goes on where it was killed. Ends with what is wrong.
async fn look(client: &Client, kept: &Kept) -> String {
    let (mut watch, mut seen) = (client.watch(BOTH, &[]).unwrap(), kept.seen());
    loop {
        let result = watch.next().await.expect("the client lives");
        match result.error {
            None => {
                let moment = Moment::of(&result.rows);
                let is_whole = matches!(result.state, ResultState::Live | ResultState::Behind);
                // Tables that are still loaded are not of one moment: what was there stays, no more.
                let wrong = if is_whole { seen.look(&moment) } else { seen.back(&moment) };
                if let Some(wrong) = wrong {
                    return wrong;
                }
                kept.keep(&seen.0);
            }
            // Before the server has said so there is no table.
            Some(_) if seen.0.is_empty() => {}
            Some(error) => return format!("what was there is not: {error}"),
        }
    }
}

/// Writes until it is told to stop, and then says what it has whenever it is asked. Ends with what is
/// wrong.
async fn write(
    client: &Client,
    subscriptions: &[Subscription],
    kept: &Kept,
    number: i64,
) -> String {
    let mut lines = heard();
    let mut dice = Dice::new(u64::from(std::process::id()));
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // What is not here yet would not be written along.
    for subscription in subscriptions {
        if let Err(error) = subscription.ready().await {
            return format!("it has nothing to write: {error}");
        }
    }
    while lines.try_recv().is_err() {
        ticks.tick().await;
        let before = match read(client, kept).await {
            Ok(marks) => marks,
            Err(wrong) => return wrong,
        };
        let [_, n, ..] = before.iter().find(|[id, ..]| *id == number).expect("its own mark");
        let (n, other) = (n + 1, before[usize::try_from(dice.below(before.len() as u64)).unwrap()]);
        let [saw, saw_n, ..] = other;
        let saw_n = if saw == number { 0 } else { saw_n };
        // Each pair is written by two devices.
        let pair = (number + i64::try_from(dice.below(2)).unwrap()) % 10 * 2;
        let mark = [number, n, saw, saw_n, pair].map(Value::Integer);
        let pair = [pair, tag(number, n)].map(Value::Integer);
        let both = [(WRITE_MARK, &mark[..]), (WRITE_PAIR, &pair[..])];
        if let Err(error) = client.batch(&both).await {
            return format!("it cannot write: {error}");
        }
        kept.keep(&BTreeMap::from([(number, n)]));
        say("wrote");
        // What is written is read, at once and from now on.
        if let Err(wrong) = read(client, kept).await {
            return wrong;
        }
    }
    loop {
        say(&state(client).await);
        match lines.recv().await.as_deref() {
            Some("digests") => say(&digests(subscriptions).await),
            Some(_) => {}
            None => return "nobody listens".to_owned(),
        }
    }
}

/// The marks as they are now, or what is wrong with them after all that was written and seen.
async fn read(client: &Client, kept: &Kept) -> Result<Vec<[i64; 5]>, String> {
    let mut seen = kept.seen();
    let rows = client.query(MARKS, &[]).await.map_err(|error| format!("cannot read: {error}"))?;
    let moment = Moment { marks: rows.iter().map(mark).collect(), pairs: Vec::new() };
    seen.look(&moment).map_or(Ok(moment.marks), Err)
}

/// Whether nothing waits to be sent, and all that it has.
async fn state(client: &Client) -> String {
    let pending = client.pending().await.map_or(usize::MAX, |pending| pending.count());
    let is_live = client.status().word == StatusWord::Connected;
    let mut all = Vec::new();
    for sql in [MARKS, PAIRS] {
        all.extend(client.query(sql, &[]).await.map(|rows| texts(&rows)).unwrap_or_default());
    }
    format!("{} {}", u8::from(pending == 0 && is_live), all.join("|"))
}

/// What comes of comparing it with the server.
async fn digests(subscriptions: &[Subscription]) -> String {
    let mut verdicts = Vec::new();
    for subscription in subscriptions {
        verdicts.push(subscription.verify().await);
    }
    format!("{verdicts:?}")
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
    /// They end before their folders go.
    devices: Vec<Process>,
    server: Option<Server>,
    home: Home,
    proxies: Vec<Proxy>,
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
            admin.ok(&format!("INSERT INTO app.marks VALUES ({number}, 0, {number}, 0, 0)"));
        }
        let pairs: Vec<_> = (0..2 * DEVICES).map(|id| format!("({id}, 0)")).collect();
        admin.ok(&format!("INSERT INTO app.pairs VALUES {}", pairs.join(", ")));
        let wrote = Arc::<AtomicU64>::default();
        let proxies: Vec<_> = (0..DEVICES).map(|_| Proxy::to(&admin.address())).collect();
        let device = |(number, proxy): (usize, &Proxy)| {
            let token = home.client(&format!("u{number}"), Role::User).token().to_owned();
            let folder = home.folder(&format!("device-{number}"));
            Kept::begin(&beside(&folder));
            let command = format!("{number} ws://{} {token} {}", proxy.address(), folder.display());
            let test = "liveness::after_any_faults_all_outboxes_empty_and_all_have_the_same";
            Process::start(test, command, &wrote)
        };
        let devices = proxies.iter().enumerate().map(device).collect();
        Self { devices, server: Some(server), home, proxies, wrote }
    }

    /// Breaks something, and says what is to be mended. What stands still may be killed: what is started
    /// then does not stand still, and does not mind that it is let go on.
    #[expect(clippy::disallowed_methods, reason = "how long something stays broken")]
    fn fault(&mut self, dice: &mut Dice) -> Option<Fault> {
        let place = usize::try_from(dice.below(DEVICES as u64)).unwrap();
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
                let mut device = self.devices.remove(place);
                let told = device.kill();
                assert!(told.is_empty(), "{}: {told:?}", device.command);
                self.devices.insert(place, device.again(&self.wrote));
                return None;
            }
            _ => {
                self.server.take().unwrap().kill9();
                self.server = Some(self.home.start());
                return None;
            }
        };
        self.set(&what, true);
        let stands_still = matches!(what, What::Device(_) | What::Server);
        let longest = if stands_still { STILL_MAX_MS } else { CUT_MAX_MS };
        Some(Fault { until: Instant::now() + Duration::from_millis(dice.below(longest)), what })
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
    let begun = Instant::now();
    let mut world = World::new();
    let mut dice = Dice::new(seed);
    let (breaking, mut count) = (Instant::now(), 0);
    let mut faults: Vec<Fault> = Vec::new();
    while breaking.elapsed() < BROKEN {
        std::thread::sleep(Duration::from_millis(dice.below(800)));
        for fault in faults.extract_if(.., |fault| fault.until <= Instant::now()) {
            world.set(&fault.what, false);
        }
        faults.extend(world.fault(&mut dice));
        count += 1;
    }
    for fault in faults {
        world.set(&fault.what, false);
    }
    let waited = well_again(&mut world);
    let (wrote, took) = (world.wrote.load(Ordering::SeqCst), begun.elapsed());
    println!(
        "run {seed}: {wrote} were written through {count} faults, all the same and the digests equal \
         after {:.1} s, {:.1} s in all",
        waited.as_secs_f64(),
        took.as_secs_f64()
    );
    assert!(waited < WELL_WITHIN, "run {seed}: it took {waited:?}");
    assert!(took < DONE_WITHIN, "run {seed}: it took {took:?} in all");
    assert!(wrote > WRITTEN_MIN, "run {seed}: only {wrote} were written");
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
            break;
        }
        assert!(begun.elapsed() < 2 * WELL_WITHIN, "{expected} is not what they have: {said:?}");
        std::thread::sleep(Duration::from_millis(50));
        for (device, said) in world.devices.iter_mut().zip(&mut said) {
            device.tell("?");
            *said = device.hear();
        }
    }
    world.devices.iter_mut().for_each(|device| device.tell("digests"));
    for device in &mut world.devices {
        let equal = [DEVICES, 2 * DEVICES].map(|rows| format!("Ok(Equal {{ rows: {rows} }})"));
        assert_eq!(device.hear(), format!("[{}]", equal.join(", ")), "{}", device.command);
    }
    begun.elapsed()
}

fn there(server: &Http) -> String {
    [MARKS, PAIRS].iter().flat_map(|sql| server.rows(sql)).collect::<Vec<_>>().join("|")
}

/// What this would overlook is worth nothing.
#[test]
fn what_must_not_be_seen_is_noticed() {
    let is_wrong = |seen: &Seen, marks: &[[i64; 5]], pairs: &[[i64; 2]]| {
        seen.clone().look(&Moment { marks: marks.to_vec(), pairs: pairs.to_vec() }).is_some()
    };
    let mut seen = Seen::default();
    let marks = [[1, 5, 2, 3, 0], [2, 3, 2, 0, 2]];
    let pairs = [[0, tag(1, 5)], [1, tag(1, 5)], [2, tag(2, 3)], [3, tag(2, 3)]];
    assert_eq!(seen.look(&Moment { marks: marks.to_vec(), pairs: pairs.to_vec() }), None);
    assert!(!is_wrong(&seen, &marks, &pairs));
    assert!(!is_wrong(&seen, &[[1, 6, 2, 3, 2], marks[1]], &pairs), "2 has written over it");

    assert!(is_wrong(&seen, &[[1, 4, 2, 3, 0], marks[1]], &[]), "1 goes back");
    assert!(is_wrong(&seen, &[[1, 7, 2, 3, 0]], &[]), "2 is gone");
    assert!(is_wrong(&seen, &[[1, 7, 2, 9, 0], [2, 8, 2, 0, 0]], &[]), "1 had seen more of 2");

    let with = |row: usize, by: i64, n: i64| {
        let mut pairs = pairs;
        pairs[row][1] = tag(by, n);
        pairs
    };
    assert!(is_wrong(&seen, &marks, &with(3, 2, 4)), "half a pair");
    assert!(is_wrong(&seen, &marks, &pairs[1..]), "half a pair is gone");
    let mut ahead = with(2, 1, 6);
    ahead[3] = [3, tag(1, 6)];
    assert!(is_wrong(&seen, &marks, &ahead), "a pair without its mark");
    assert!(!is_wrong(&seen, &[[1, 6, 2, 3, 2], marks[1]], &ahead), "both together");
    assert!(is_wrong(&seen, &[[1, 6, 2, 3, 0], marks[1]], &pairs), "a mark without its pair");
}

#[test]
fn what_was_seen_is_kept_for_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let file = beside(&folder.path().join("device-0"));
    Kept::begin(&file);
    let kept = Kept::open(file.clone());
    assert_eq!(kept.seen(), Seen::default());
    kept.keep(&BTreeMap::from([(1, 5), (2, 3)]));
    kept.keep(&BTreeMap::from([(1, 4), (2, 6)]));
    assert_eq!(Kept::open(file).seen().0, BTreeMap::from([(1, 5), (2, 6)]));
}
