//! What signs people in to the web chat, as a page asks it, with the real server behind it.

use std::net::TcpListener;
use std::time::Duration;

use e2e_harness::{Chat, ChatCommand, Failure, Home, Page, Server, ask, chat, sign_in};

const ORIGIN: &str = "http://chat.example";

struct World {
    sign_in: Option<Chat>,
    url: String,
    arguments: Vec<&'static str>,
    _server: Server,
    // Read last: its log is checked when it is dropped.
    home: Home,
}

impl World {
    fn new(arguments: &[&'static str]) -> Self {
        let home = Home::new();
        let server = home.start();
        home.keep_port();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = free.local_addr().unwrap().to_string();
        drop(free);
        let url = format!("http://{listen}");
        let arguments = arguments.to_vec();
        let mut world = Self { sign_in: None, url, arguments, _server: server, home };
        world.start();
        world
    }

    fn start(&mut self) {
        // The one before has the port until it is gone.
        drop(self.sign_in.take());
        let (data, folder) = (self.home.data(), self.home.folder("sign-in"));
        let address = self.home.admin().address();
        let listen = self.url.trim_start_matches("http://");
        let mut command = sign_in(&address, &data, &folder, listen);
        command.args(["--origin", ORIGIN]).args(&self.arguments);
        let mut started = Chat::spawn(command, |_| {});
        started.until("chat-signin is ready at ");
        self.sign_in = Some(started);
    }

    fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Page {
        ask(&format!("{}{path}", self.url), headers, Some(body))
    }

    /// Signs in. Gives the session.
    fn begin(&self, name: &str) -> String {
        let body = format!("{{\"name\": \"{name}\"}}");
        let page = self.post("/sign-in", &[("Content-Type", "application/json")], &body);
        assert_eq!(page.status, 200, "{page:?}");
        assert_eq!(page.json()["user"], name.to_lowercase());
        page.json()["session"].as_str().unwrap().to_owned()
    }

    fn token(&self, session: &str) -> Page {
        let bearer = format!("Bearer {session}");
        ask(&format!("{}/token", self.url), &[("Authorization", &bearer)], None)
    }
}

fn code(page: &Page) -> String {
    page.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn who_has_signed_in_has_tokens_that_the_server_takes_and_no_more() {
    let mut world = World::new(&["--seed"]);
    let session = world.begin("Ann-1");
    let page = world.token(&session);
    assert_eq!(page.header("cache-control"), Some("no-store"));
    let token = page.json()["token"].as_str().unwrap().to_owned();
    let ann = world.home.admin().with_token(&token);
    ann.run("INSERT INTO chat.messages (room, body) VALUES ('lobby', 'hello')").unwrap();
    let told = ann.run("SELECT author FROM chat.messages WHERE body = 'hello'").unwrap();
    assert_eq!(told.rows, [["ann-1"]]);
    let refused = ann.run("CREATE TABLE chat.x (id INT PRIMARY KEY)").unwrap_err();
    assert!(matches!(refused, Failure::Refused(it) if it.code == "forbidden"));

    // A restart signs nobody out, and the conversation is there once.
    world.start();
    assert_eq!(world.token(&session).status, 200);
    let count = "SELECT count(*) AS n FROM chat.messages";
    let counted = ann.run(count).unwrap().rows;
    assert_eq!(counted, [["41"]]);
    let likes = "SELECT m.id FROM chat.messages m JOIN chat.likes l ON l.message = m.id";
    assert_eq!(ann.run(likes).unwrap().rows.len(), 40);

    let bearer = format!("Bearer {session}");
    assert_eq!(world.post("/sign-out", &[("Authorization", &bearer)], "").status, 204);
    let over = world.token(&session);
    assert_eq!((over.status, &*code(&over)), (401, "needs_auth"));
    assert_eq!(over.header("www-authenticate"), Some("Bearer"));
    assert_eq!(world.post("/sign-out", &[], "").status, 204);
}

#[test]
fn a_token_ends_soon_and_another_one_is_given() {
    let world = World::new(&["--token-seconds", "1"]);
    let session = world.begin("ann");
    let first = world.token(&session).json()["token"].as_str().unwrap().to_owned();
    std::thread::sleep(Duration::from_millis(2_100));
    let ann = world.home.admin().with_token(&first);
    let refused = ann.run("SELECT name FROM chat.rooms").unwrap_err();
    assert!(matches!(refused, Failure::Refused(it) if it.code == "needs_auth"));
    let next = world.token(&session).json()["token"].as_str().unwrap().to_owned();
    assert_ne!(next, first);
}

#[test]
fn what_is_no_name_or_comes_from_elsewhere_is_refused() {
    let world = World::new(&[]);
    let json = ("Content-Type", "application/json");
    for body in ["", "{}", "[]", r#"{"name": ""}"#, r#"{"name": "a b"}"#, r#"{"name": "zoë"}"#] {
        let page = world.post("/sign-in", &[json], body);
        assert_eq!((page.status, &*code(&page)), (400, "invalid_request"), "{body}");
    }
    let long = format!("{{\"name\": \"{}\"}}", "a".repeat(2_000));
    assert_eq!(world.post("/sign-in", &[json], &long).status, 400);
    // A form of another site is no JSON, so a browser asks before it sends one.
    let form = world.post("/sign-in", &[("Content-Type", "text/plain")], r#"{"name": "ann"}"#);
    assert_eq!(form.status, 400);
    for token in ["", "x", &"x".repeat(4_000)] {
        assert_eq!(world.token(token).status, 401, "{token}");
    }
    let allowed = |origin: &str| {
        let page = world.post("/sign-in", &[json, ("Origin", origin)], r#"{"name": "ann"}"#);
        page.header("access-control-allow-origin").map(str::to_owned)
    };
    assert_eq!(allowed(ORIGIN).as_deref(), Some(ORIGIN));
    assert_eq!(allowed("http://elsewhere.example"), None);
}

#[test]
fn who_is_mentioned_hears_of_it() {
    let world = World::new(&[]);
    let (address, data) = (world.home.admin().address(), world.home.data());
    let open = |user: &str| {
        let folder = world.home.folder(user);
        Chat::spawn(chat(ChatCommand::Open, user, &address, &data, &folder), |_| {})
    };
    let (mut ann, mut bob) = (open("ann"), open("bob"));
    bob.until("* connected");
    ann.enter("@bob hello");
    bob.until("* ann mentioned you in lobby: @bob hello");
    ann.leave();
    bob.leave();
    // Whoever has the message can like it.
    let admin = world.home.admin();
    let likes = "SELECT l.n FROM chat.messages m JOIN chat.likes l ON l.message = m.id";
    assert_eq!(admin.run(likes).unwrap().rows, [["0"]]);
}
