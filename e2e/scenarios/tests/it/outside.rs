//! A project of somebody else, outside of this repository: the lines of the SDK's README, and no
//! compiler but that of C.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use e2e_harness::{Home, Role};

/// Longer than anything takes. What takes longer hangs.
const WITHIN: Duration = Duration::from_secs(60);

/// What the README does not show: how an application begins.
const MAIN: &str = r#"
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let (server, token) = (arguments.next().unwrap(), arguments.next().unwrap());
    if let Err(error) = show(&server, token).await {
        println!("failed: {error}");
    }
}
"#;

/// The code of the README, and what it depends on, with the path to the SDK.
fn project(root: &Path) -> (String, String) {
    let readme = std::fs::read_to_string(root.join("sdk-core/README.md")).unwrap();
    let block = |language: &str| {
        let (_, rest) = readme.split_once(&format!("```{language}\n")).unwrap();
        rest.split_once("```").unwrap().0.to_owned()
    };
    let dependencies = block("toml").replace("../tidewire", &root.display().to_string());
    let manifest = format!(
        "[package]\nname = \"outside\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n{dependencies}\n\
         [workspace]\n"
    );
    (manifest, block("rust,no_run") + MAIN)
}

/// Where cargo builds, beside what it has built for the tests, so that it is quick the next time.
fn target() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let folder = this.ancestors().find(|folder| folder.ends_with("debug")).unwrap();
    folder.with_file_name("outside")
}

#[test]
fn the_lines_of_the_readme_run_in_a_project_of_their_own() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let home = Home::new();
    let server = home.start();
    let admin = home.admin();
    for sql in [
        "CREATE NAMESPACE chat",
        "CREATE SHARED TABLE chat.messages (id BIGINT PRIMARY KEY, room BIGINT, author TEXT, \
         body TEXT) WITH (ACCESS_LEVEL = WRITE, OWNER_COLUMN = author)",
    ] {
        admin.ok(sql);
    }
    let (alice, bob) = (home.client("alice", Role::User), home.client("bob", Role::User));
    bob.ok("INSERT INTO chat.messages (id, room, body) VALUES (1, 7, 'hello'), (2, 8, 'not here')");

    let folder = home.folder("outside");
    std::fs::create_dir_all(folder.join("src")).unwrap();
    let (manifest, main) = project(root);
    std::fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    std::fs::write(folder.join("src/main.rs"), main).unwrap();
    // So that it needs no network: what is in it is here.
    std::fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--offline"]).current_dir(&folder);
    cargo.env("CARGO_TARGET_DIR", target()).env("CXX", "/nonexistent").env("CMAKE", "/nonexistent");
    assert!(cargo.status().unwrap().success(), "it does not build");

    let mut outside = Command::new(target().join("debug/outside"));
    outside.arg(format!("ws://{}", admin.address())).arg(alice.token()).current_dir(&folder);
    let mut running = KillAtEnd(outside.stdout(Stdio::piped()).spawn().unwrap());
    let (told, lines) = channel();
    let out = running.0.stdout.take().unwrap();
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let _ = told.send(line);
        }
    });
    let first = lines.recv_timeout(WITHIN);
    bob.ok("INSERT INTO chat.messages (id, room, body) VALUES (3, 7, 'again')");
    let mut more = Vec::new();
    while !more.iter().any(|line| line == "bob: again") {
        match lines.recv_timeout(WITHIN) {
            Ok(line) => more.push(line),
            Err(error) => panic!("{error}, after {first:?} and {more:?}"),
        }
    }
    assert_eq!(first.as_deref(), Ok("bob: hello"));
    assert!(!more.iter().any(|line| line.contains("not here")), "{more:?}");
    drop(running);
    server.kill9();
}

struct KillAtEnd(Child);

impl Drop for KillAtEnd {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
