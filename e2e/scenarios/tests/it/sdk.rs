//! The Rust SDK on the real server, over a network that breaks: what applications are promised.

use std::time::Duration;

use e2e_harness::{Client as Http, Home, Proxy, Role, Server};
use sdk_core::{
    Client, Config, ErrorCode, ResultState, StatusWord, SubscribeOptions, SubscriptionState, Value,
    Watch,
};
use tempfile::TempDir;
use tokio::time::timeout;

/// Longer than anything takes. What takes longer hangs.
const WITHIN: Duration = Duration::from_secs(60);

pub(crate) async fn soon<T>(happens: impl Future<Output = T>) -> T {
    timeout(WITHIN, happens).await.expect("it hangs")
}

/// A server behind a network, and a place for replicas.
pub(crate) struct World {
    pub(crate) proxy: Proxy,
    pub(crate) admin: Http,
    pub(crate) ann: Http,
    pub(crate) server: Option<Server>,
    replicas: TempDir,
    // Read last: its log is checked when it is dropped.
    pub(crate) home: Home,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_settings("")
    }

    pub(crate) fn with_settings(settings: &str) -> Self {
        let world = Self::on(Home::with_settings(settings));
        for sql in [
            "CREATE USER TABLE app.notes (id BIGINT PRIMARY KEY, room BIGINT, body TEXT, \
             extra TEXT, INDEX (room))",
            "CREATE USER TABLE app.marks (room BIGINT PRIMARY KEY, at BIGINT)",
            "CREATE SHARED TABLE app.board (id BIGINT PRIMARY KEY, room BIGINT, body TEXT, \
             INDEX (room)) WITH (ACCESS_LEVEL = WRITE)",
            "CREATE STREAM TABLE app.hints (id BIGINT PRIMARY KEY, body TEXT) \
             WITH (TTL_SECONDS = 2)",
        ] {
            world.admin.ok(sql);
        }
        world
    }

    /// One with no table but those of the server.
    pub(crate) fn without_tables() -> Self {
        Self::on(Home::new())
    }

    fn on(home: Home) -> Self {
        let server = home.start();
        let admin = home.admin();
        admin.ok("CREATE NAMESPACE app");
        let proxy = Proxy::to(&admin.address());
        let ann = home.client("ann", Role::User);
        let replicas = TempDir::new().unwrap();
        Self { proxy, admin, ann, server: Some(server), replicas, home }
    }

    /// A client of a user, through the network.
    pub(crate) async fn client(&self, user: &str) -> Client {
        self.client_of(user, user).await
    }

    /// A client of a user on a device of its own.
    pub(crate) async fn client_of(&self, user: &str, device: &str) -> Client {
        Client::open(self.config(user, device)).await.unwrap()
    }

    pub(crate) fn config(&self, user: &str, device: &str) -> Config {
        let token = self.home.client(user, Role::User).token().to_owned();
        let directory = self.replicas.path().join(device);
        Config::new(format!("ws://{}", self.proxy.address()), user, directory, move || {
            let token = token.clone();
            async move { Ok(token) }
        })
    }

    /// Where the replicas of a device are.
    pub(crate) fn replicas(&self, device: &str) -> std::path::PathBuf {
        self.replicas.path().join(device)
    }

    /// Ends the server as a power cut does, and starts it again.
    pub(crate) fn kill_and_start(&mut self) {
        self.server.take().unwrap().kill9();
        self.server = Some(self.home.start());
        self.proxy.lead_to(&self.admin.address());
    }
}

/// The rows of a local query, each as one text.
pub(crate) async fn rows(client: &Client, sql: &str) -> Vec<String> {
    texts(&client.query(sql, &[]).await.unwrap())
}

pub(crate) fn texts(rows: &sdk_core::Rows) -> Vec<String> {
    let shown = |value: &Value| match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Text(text) => text.to_string(),
        other => format!("{other:?}"),
    };
    rows.iter().map(|row| row.values().iter().map(shown).collect::<Vec<_>>().join(" ")).collect()
}

/// Waits until a watched query gives these rows, all of them live.
async fn until(watch: &mut Watch, expected: &[&str]) {
    soon(async {
        loop {
            let result = watch.next().await.expect("the client lives");
            assert_eq!(result.error, None);
            if texts(&result.rows) == expected && result.state == ResultState::Live {
                return;
            }
        }
    })
    .await;
}

async fn until_status(client: &Client, word: StatusWord) {
    use futures::StreamExt;
    let mut statuses = client.statuses();
    soon(async { while statuses.next().await.expect("the client lives").word != word {} }).await;
}

/// M3, R6: tables by the name that the server has for them; own writes are read.
#[tokio::test]
async fn what_one_writes_the_other_sees() {
    let world = World::new();
    let (ann, bob) = (world.client("ann").await, world.client("bob").await);
    let sql = "SELECT * FROM app.board WHERE room = $1";
    let room = [Value::Integer(7)];
    let mut watches = Vec::new();
    for client in [&ann, &bob] {
        let subscription = client.subscribe(sql, &room, SubscribeOptions::default()).await.unwrap();
        soon(subscription.ready()).await.unwrap();
        watches.push(client.watch("SELECT id, body FROM app.board ORDER BY _seq", &[]).unwrap());
    }
    let values = [Value::Integer(1), Value::text("hello").unwrap()];
    let insert = "INSERT INTO app.board VALUES ($1, 7, $2)";
    let answer = soon(ann.remote(insert, &values)).await.unwrap();
    assert_eq!(answer.rows_affected, Some(1));
    soon(ann.wait_for(&answer.positions)).await.unwrap();
    assert_eq!(rows(&ann, "SELECT body FROM app.board").await, ["hello"], "own writes are read");
    for watch in &mut watches {
        until(watch, &["1 hello"]).await;
    }
    soon(bob.remote("UPDATE app.board SET body = 'hi' WHERE id = 1", &[])).await.unwrap();
    soon(bob.remote("INSERT INTO app.board VALUES (2, 8, 'elsewhere')", &[])).await.unwrap();
    for watch in &mut watches {
        until(watch, &["1 hi"]).await;
    }
    soon(bob.remote("UPDATE app.board SET room = 8 WHERE id = 1", &[])).await.unwrap();
    for watch in &mut watches {
        until(watch, &[]).await;
    }
    let rows = soon(ann.remote("SELECT id, room, body FROM app.board ORDER BY id", &[])).await;
    assert_eq!(texts(&rows.unwrap().rows), ["1 8 hi", "2 8 elsewhere"]);
}

/// R1, R2, M2: rows are there at once, offline too, and join with local tables.
#[tokio::test]
async fn offline_and_after_a_restart_everything_is_there() {
    let mut world = World::new();
    let sql = "SELECT * FROM app.notes";
    world.ann.ok("INSERT INTO app.notes VALUES (1, 7, 'one', 'x'), (2, 8, 'two', 'x')");
    let client = world.client("ann").await;
    let subscription = client.subscribe(sql, &[], SubscribeOptions::default()).await.unwrap();
    soon(subscription.ready()).await.unwrap();
    client.execute("CREATE TABLE drafts (room INTEGER PRIMARY KEY, body TEXT)", &[]).await.unwrap();
    client.execute("INSERT INTO drafts VALUES (7, 'later')", &[]).await.unwrap();
    soon(client.close()).await;
    assert!(client.query("SELECT 1", &[]).await.is_err());

    world.proxy.close();
    let client = world.client("ann").await;
    let local =
        "SELECT n.body, d.body FROM app.notes n LEFT JOIN drafts d USING (room) ORDER BY id";
    assert_eq!(rows(&client, local).await, ["one later", "two NULL"]);
    let mut watch = client.watch("SELECT id FROM app.notes ORDER BY id", &[]).unwrap();
    let first = soon(watch.next()).await.unwrap();
    assert_eq!((texts(&first.rows).len(), first.state), (2, ResultState::Behind));
    let subscription = client.subscribe(sql, &[], SubscribeOptions::default()).await.unwrap();
    soon(subscription.ready()).await.unwrap();
    assert_eq!(subscription.state(), SubscriptionState::Behind);

    world.ann.ok("DELETE FROM app.notes WHERE id = 1");
    world.ann.ok("INSERT INTO app.notes VALUES (3, 7, 'three', 'x')");
    world.kill_and_start();
    client.network_changed();
    until(&mut watch, &["2", "3"]).await;
    assert_eq!(subscription.state(), SubscriptionState::Live);
}

/// R8, E5, E6: the window grows, one query is one subscription, and is loaded anew alone.
#[tokio::test]
async fn the_last_rows_and_older_ones() {
    let world = World::new();
    let values: Vec<_> = (1..=500).map(|id| format!("({id}, {}, 'n', 'x')", id % 2)).collect();
    world.ann.ok(&format!("INSERT INTO app.notes VALUES {}", values.join(", ")));
    let client = world.client("ann").await;
    let sql = "SELECT id, body FROM app.notes WHERE room = 1";
    let last = client.subscribe(sql, &[], SubscribeOptions::last(10)).await.unwrap();
    soon(last.ready()).await.unwrap();
    assert_eq!(rows(&client, "SELECT count(*), min(id) FROM app.notes").await, ["10 481"]);
    let mut watch = client.watch("SELECT count(*), min(id) FROM app.notes", &[]).unwrap();
    until(&mut watch, &["10 481"]).await;
    last.load_older(20);
    until(&mut watch, &["30 441"]).await;
    assert_eq!(last.progress().fraction, Some(1.0));
    // Asked for twice, it is one, and the wider window counts.
    let all = client.subscribe(sql, &[], SubscribeOptions::default()).await.unwrap();
    soon(all.ready()).await.unwrap();
    assert_eq!(rows(&client, "SELECT count(*), min(id) FROM app.notes").await, ["250 1"]);
    all.reset();
    until(&mut watch, &["250 1"]).await;
    all.unsubscribe();
    soon(async {
        while watch.next().await.is_some_and(|result| texts(&result.rows) != ["0 NULL"]) {}
    })
    .await;
}

#[tokio::test]
async fn a_statement_over_a_cut_is_answered_and_done_once() {
    let world = World::new();
    let client = world.client("ann").await;
    for id in 1..=20 {
        // The answer, or something before it, is lost.
        world.proxy.cut_after(id * 7 % 90);
        let sql = "INSERT INTO app.notes VALUES ($1, 7, 'x', 'x')";
        let params = [Value::Integer(i64::try_from(id).unwrap())];
        let remote = client.remote(sql, &params);
        let nudged = async {
            loop {
                tick().await;
                client.network_changed();
            }
        };
        let answer = tokio::select! {
            answer = remote => answer,
            () = nudged => unreachable!(),
        };
        assert_eq!(answer.unwrap().rows_affected, Some(1), "{id}");
    }
    assert_eq!(world.ann.rows("SELECT COUNT(*) FROM app.notes"), ["20"]);
}

/// Q3: the thing, its cause, and a code.
#[tokio::test]
async fn what_the_server_refuses_is_told_with_its_code() {
    let world = World::new();
    let client = world.client("ann").await;
    for (sql, code) in [
        ("SELECT * FROM app.absent", ErrorCode::NotFound),
        ("SELECT absent FROM app.notes", ErrorCode::NotFound),
        ("SELECT * FROM app.notes ORDER BY id", ErrorCode::Unsupported),
        ("SELECT * FROM app.notes WHERE room = 'seven'", ErrorCode::InvalidRequest),
    ] {
        let options = SubscribeOptions::default();
        let subscription = client.subscribe(sql, &[], options).await.unwrap();
        let refused = soon(subscription.ready()).await.unwrap_err();
        assert_eq!(refused.code(), code, "{sql}: {refused}");
        assert_eq!(subscription.state(), SubscriptionState::Refused);
    }
    let refused = soon(client.remote("SELECT * FROM app.absent", &[])).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::NotFound);
    let local = client.query("SELECT * FROM app.absent", &[]).await.unwrap_err();
    assert_eq!(local.code(), ErrorCode::NotFound, "{local}");
    // Nothing else is disturbed.
    assert_eq!(client.status().word, StatusWord::Connected);
}

/// R7: all subscriptions see a commit together, and a catch-up is one step.
#[tokio::test]
async fn a_commit_over_several_subscriptions_is_seen_at_once() {
    let world = World::new();
    let client = world.client("ann").await;
    for sql in ["SELECT * FROM app.notes WHERE room = 7", "SELECT * FROM app.notes WHERE room = 8"]
    {
        let subscription = client.subscribe(sql, &[], SubscribeOptions::default()).await.unwrap();
        soon(subscription.ready()).await.unwrap();
    }
    world.ann.ok("INSERT INTO app.notes VALUES (1, 7, 'a', 'x'), (2, 7, 'b', 'x')");
    let mut watch = client
        .watch("SELECT count(*) FILTER (WHERE room = 7), count(*) FROM app.notes", &[])
        .unwrap();
    until(&mut watch, &["2 2"]).await;
    // The two rows change rooms together, again and again, also while the connection is cut.
    let writer = world.home.client("ann", Role::User);
    let moves = std::thread::spawn(move || {
        for round in 0..60 {
            let room = 7 + round % 2;
            writer.ok(&format!("UPDATE app.notes SET room = {} WHERE id >= 1", 15 - room));
        }
    });
    while !moves.is_finished() {
        tokio::time::sleep(Duration::from_millis(7)).await;
        world.proxy.cut();
        client.network_changed();
        let result = client.query("SELECT count(DISTINCT room), count(*) FROM app.notes", &[]);
        assert_eq!(texts(&result.await.unwrap()), ["1 2"], "half a commit");
    }
    moves.join().unwrap();
    client.network_changed();
    until(&mut watch, &["2 2"]).await;
}

#[tokio::test]
async fn rows_expire_by_themselves() {
    let world = World::new();
    let client = world.client("ann").await;
    let sql = "SELECT * FROM app.hints";
    let hints = client.subscribe(sql, &[], SubscribeOptions::default()).await.unwrap();
    soon(hints.ready()).await.unwrap();
    let mut watch = client.watch("SELECT id FROM app.hints", &[]).unwrap();
    world.ann.ok("INSERT INTO app.hints VALUES (1, 'x')");
    until(&mut watch, &["1"]).await;
    // No server is needed for that.
    world.proxy.close();
    world.proxy.cut();
    soon(async { while watch.next().await.is_some_and(|result| !result.rows.is_empty()) {} }).await;
}

/// O1, P3: the status says how it is, and whoever comes to the front is connected at once.
#[tokio::test]
async fn a_dead_network_is_noticed_and_a_pause_is_one() {
    let world = World::with_settings("[live]\nkeep_alive_seconds = 1\n");
    let client = world.client("ann").await;
    until_status(&client, StatusWord::Connected).await;
    world.proxy.swallow(true);
    until_status(&client, StatusWord::Offline).await;
    assert_eq!(client.status().reason.unwrap().code, ErrorCode::Timeout);
    world.proxy.swallow(false);
    world.proxy.cut();
    client.foreground();
    until_status(&client, StatusWord::Connected).await;
    client.pause();
    until_status(&client, StatusWord::Paused).await;
    assert_eq!(rows(&client, "SELECT 1").await, ["1"]);
    client.resume();
    until_status(&client, StatusWord::Connected).await;
    soon(client.close()).await;
    assert_eq!(client.status().word, StatusWord::Closed);
}

/// Z1: by whose token it is.
#[tokio::test]
async fn two_devices_of_one_user_and_no_row_of_another() {
    let world = World::new();
    let one = world.client_of("ann", "phone").await;
    let two = world.client_of("ann", "laptop").await;
    let bob = world.client("bob").await;
    let mut watches = Vec::new();
    for client in [&one, &two, &bob] {
        let subscription = client
            .subscribe("SELECT * FROM app.marks", &[], SubscribeOptions::default())
            .await
            .unwrap();
        soon(subscription.ready()).await.unwrap();
        watches.push(client.watch("SELECT room, at FROM app.marks", &[]).unwrap());
    }
    soon(one.remote("INSERT INTO app.marks VALUES (7, 100)", &[])).await.unwrap();
    soon(bob.remote("INSERT INTO app.marks VALUES (8, 200)", &[])).await.unwrap();
    until(&mut watches[0], &["7 100"]).await;
    until(&mut watches[1], &["7 100"]).await;
    until(&mut watches[2], &["8 200"]).await;
    let second = Client::open(world.config("ann", "phone")).await.unwrap_err();
    assert_eq!(second.code(), ErrorCode::LeaderChanged, "{second}");
}

pub(crate) async fn tick() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}
