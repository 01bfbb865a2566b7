//! The chat of `examples/chat`, as people use it: real processes, which are killed, on the real
//! server, which is killed too.

use std::path::PathBuf;
use std::process::Command;

use e2e_harness::{Chat, ChatCommand, Client, Home, Server, chat};

struct World {
    address: String,
    _notifier: Chat,
    server: Option<Server>,
    // Read last: its log is checked when it is dropped.
    home: Home,
}

impl World {
    fn new() -> Self {
        let home = Home::new();
        let server = Some(home.start());
        home.keep_port();
        let address = home.admin().address();
        let (data, folder) = (home.data(), home.folder("service"));
        let made = chat(ChatCommand::Setup, "root", &address, &data, &folder).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let notify = chat(ChatCommand::Notify, "notifier", &address, &data, &folder);
        Self { address, _notifier: Chat::spawn(notify, |_| {}), server, home }
    }

    /// Opens the chat of a user on a device.
    fn open(&self, user: &str, device: &str) -> Chat {
        let command = self.command(user, device);
        Chat::spawn(command, |_| {})
    }

    fn command(&self, user: &str, device: &str) -> Command {
        let folder = self.home.folder(device);
        chat(ChatCommand::Open, user, &self.address, &self.home.data(), &folder)
    }

    fn http(&self, user: &str) -> Client {
        self.home.client(user, e2e_harness::Role::User)
    }

    fn kill(&mut self) {
        self.server.take().unwrap().kill9();
    }

    fn start(&mut self) {
        self.server = Some(self.home.start());
    }

    /// The file of the only replica of a device.
    fn file(&self, device: &str) -> PathBuf {
        let files = std::fs::read_dir(self.home.folder(device)).unwrap();
        let mut files = files.map(|file| file.unwrap().path());
        files.find(|file| file.extension().is_some_and(|end| end == "sqlite")).unwrap()
    }
}

/// The program of that name, as anybody would ask it.
fn sqlite3(file: &PathBuf, sql: &str) -> Result<String, String> {
    let output = Command::new("sqlite3").arg(file).arg(sql).output();
    let output = output.expect("there is the program sqlite3: apt-get install sqlite3");
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned())
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

fn said(messages: &[(&str, &str)]) -> Vec<String> {
    messages.iter().map(|(author, body)| format!("[lobby] {author}: {body}")).collect()
}

#[test]
fn two_people_chat_through_kills_of_everything() {
    let mut world = World::new();
    let (mut alice, mut bob) = (world.open("alice", "a"), world.open("bob", "b"));
    alice.until("* connected");
    bob.until("* connected");
    alice.enter("one");
    bob.until("[lobby] alice: one");
    bob.enter("two");
    alice.until("[lobby] bob: two");
    bob.until("[lobby] bob: two");
    world.kill();
    alice.until("* offline");
    // Said without a server, it waits, and the history is there.
    alice.enter("three");
    alice.until("* waiting: three");
    assert_eq!(alice.messages(), said(&[("alice", "one"), ("bob", "two")]));
    bob.kill9();
    let mut bob = world.open("bob", "b");
    bob.until("[lobby] bob: two");
    assert_eq!(bob.messages(), said(&[("alice", "one"), ("bob", "two")]));
    world.start();
    bob.until("[lobby] alice: three");
    alice.until("* sent: three");
    bob.enter("/offline");
    bob.until("* paused");
    alice.until("[lobby] alice: three");
    alice.enter("four");
    alice.until("[lobby] alice: four");
    bob.enter("five");
    bob.enter("/online");
    alice.until("[lobby] bob: five");
    bob.until("[lobby] bob: five");
    let all = said(&[
        ("alice", "one"),
        ("bob", "two"),
        ("alice", "three"),
        ("alice", "four"),
        ("bob", "five"),
    ]);
    assert_eq!(alice.messages(), all);
    assert_eq!(bob.messages(), all);
    for chat in [alice, bob] {
        let told = chat.leave();
        let is_wrong = |line: &String| line.contains("not said") || line.contains("no table");
        assert!(!told.iter().any(is_wrong), "{told:?}");
    }
}

/// Must show 8: what is said offline is shown, waits through the end of the program, and is sent once.
#[test]
fn what_is_said_offline_waits_and_is_sent() {
    let mut world = World::new();
    let (mut alice, mut bob) = (world.open("alice", "a"), world.open("bob", "b"));
    alice.until("* connected");
    bob.until("* connected");
    alice.enter("before");
    alice.until("[lobby] alice: before");
    world.kill();
    alice.until("* offline");
    alice.enter("one");
    alice.until("* waiting: one");
    alice.enter("/show");
    alice.until("~ [lobby] alice: one");
    alice.kill9();
    // Another program, which has never seen a server.
    let mut alice = world.open("alice", "a");
    alice.until("* waiting: one");
    alice.enter("two");
    alice.until("* waiting: two");
    let told = alice.leave();
    for body in ["one", "two"] {
        let kept = format!("* [lobby] {body}: is sent when the chat is opened again");
        assert!(told.contains(&kept), "{told:?}");
    }
    world.start();
    let mut alice = world.open("alice", "a");
    alice.until("[lobby] alice: two");
    bob.until("[lobby] alice: two");
    let all = said(&[("alice", "before"), ("alice", "one"), ("alice", "two")]);
    assert_eq!(alice.messages(), all);
    assert_eq!(bob.messages(), all);
    for chat in [alice, bob] {
        let told = chat.leave();
        assert!(!told.iter().any(|line| line.contains("not said")), "{told:?}");
    }
}

/// M1: what the server has is in a file that any program can read, and only Tidewire can write.
#[test]
fn any_program_reads_the_file_and_none_writes_it() {
    let mut world = World::new();
    let mut alice = world.open("alice", "a");
    alice.until("* connected");
    alice.kill9();
    world.http("bob").ok("INSERT INTO chat.messages (room, body) VALUES ('lobby', 'by SQL')");
    world.kill();
    world.start();
    let mut alice = world.open("alice", "a");
    alice.until("[lobby] bob: by SQL");
    alice.kill9();
    let file = world.file("a");
    let read = "SELECT author, body FROM chat__messages WHERE room = 'lobby'";
    assert_eq!(sqlite3(&file, read).unwrap(), "bob|by SQL");
    for write in [
        "DELETE FROM chat__messages",
        "UPDATE chat__messages SET body = 'mine'",
        "INSERT INTO chat__messages (id, room, body) VALUES ('x', 'lobby', 'mine')",
    ] {
        let refused = sqlite3(&file, write).unwrap_err();
        assert!(refused.contains("tidewire_"), "{write}: {refused}");
    }
    assert_eq!(sqlite3(&file, read).unwrap(), "bob|by SQL");
}

#[test]
fn mentions_unread_drafts_and_who_is_typing() {
    let world = World::new();
    let (mut alice, mut bob) = (world.open("alice", "a"), world.open("bob", "b"));
    let mut carol = world.open("carol", "c");
    for chat in [&mut alice, &mut bob, &mut carol] {
        chat.until("* connected");
    }
    bob.enter("/join harbour");
    bob.until("* joined harbour");
    bob.enter("hello");
    bob.until("[harbour] bob: hello");
    bob.enter("/join lobby");
    bob.until("* joined lobby");
    bob.until("* joined lobby");
    alice.enter("/draft not yet");
    bob.until("* alice is typing");
    alice.enter("@bob, are you here?");
    bob.until("* alice mentioned you in lobby: @bob, are you here?");
    bob.until("[lobby] alice: @bob, are you here?");
    // What is written and not sent is on all devices of the one who writes it.
    alice.enter("/draft see you");
    let mut tablet = world.open("alice", "tablet");
    tablet.until("* not sent yet, as a draft: see you");
    // Bob has been in the harbour, so what is said there is unread.
    carol.enter("/join harbour");
    carol.enter("is anybody here?");
    bob.until("* 1 unread in harbour");
    bob.enter("/join harbour");
    bob.until("[harbour] carol: is anybody here?");
    carol.until("[harbour] carol: is anybody here?");
    // Up to where he has read is on all his devices.
    let marks = "SELECT room FROM chat.read_marks ORDER BY room";
    let read = || world.http("bob").rows(marks) == ["harbour", "lobby"];
    assert!((0..600).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        read()
    }));
    // Who leaves at once loses nothing of what he is writing.
    carol.enter("/draft till tomorrow");
    let told = carol.leave();
    assert!(!told.iter().any(|line| line.contains("mentioned")), "{told:?}");
    assert_eq!(world.http("carol").rows("SELECT body FROM chat.drafts"), ["till tomorrow"]);
    for chat in [alice, bob, tablet] {
        // What is not a status or a message is something wrong.
        let told = chat.leave();
        let is_known = |line: &String| {
            let known = [
                "joined",
                "behind",
                "connect",
                "unread",
                "typing",
                "draft",
                "mentioned",
                "sent",
                "waiting",
            ];
            line.starts_with('[') || known.iter().any(|known| line.contains(known))
        };
        assert!(told.iter().all(is_known), "{told:?}");
    }
}

/// R8: the last 50, and older ones when somebody looks for them.
#[test]
fn the_last_messages_come_first_and_older_ones_when_asked_for() {
    let world = World::new();
    let values: Vec<_> = (1..=120).map(|number| format!("('lobby', 'number {number}')")).collect();
    let insert = format!("INSERT INTO chat.messages (room, body) VALUES {}", values.join(", "));
    world.http("bob").ok(&insert);
    let mut alice = world.open("alice", "a");
    alice.until("[lobby] bob: number 120");
    let all: Vec<_> = (1..=120).map(|number| format!("[lobby] bob: number {number}")).collect();
    assert_eq!(alice.messages(), all[70..]);
    alice.enter("/older 20");
    alice.until("[lobby] bob: number 51");
    assert_eq!(alice.messages(), all[50..]);
    alice.enter("/older");
    alice.until("[lobby] bob: number 50");
    world.http("bob").ok("INSERT INTO chat.messages (room, body) VALUES ('lobby', 'new')");
    alice.until("[lobby] bob: new");
    assert_eq!(alice.messages().len(), 121);
    alice.leave();
}

#[test]
fn what_is_wrong_is_said_and_ends_nothing() {
    let world = World::new();
    let mut alice = world.open("alice", "a");
    alice.until("* connected");
    alice.enter("/jion harbour");
    alice.until("* there is no /jion");
    alice.enter("/older some");
    alice.until("* /older takes a number");
    let second = world.command("alice", "a").output().unwrap();
    let told = String::from_utf8(second.stderr).unwrap();
    assert!(!second.status.success() && told.contains("another process"), "{told}");
    let mut bob = world.command("bob", "b");
    std::fs::write(world.home.folder("b").join("bob.token"), "no token").unwrap();
    bob.stdin(std::process::Stdio::piped());
    let mut bob = Chat::spawn(bob, |_| {});
    bob.until("* needs_auth: ");
    bob.enter("unheard");
    // A device that has never been connected knows no table.
    bob.until("* not said: unheard: there is no table chat.messages here");
    bob.leave();
    alice.enter("and on it goes");
    alice.until("[lobby] alice: and on it goes");
    alice.leave();
}
