//! From the first start to the end of a process, and what it says when it cannot start.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use e2e_harness::{Ended, Failure, Home, Role, ask};
use serde_json::json;

fn with_notes(home: &Home) {
    home.admin().ok("CREATE NAMESPACE app");
    home.admin().ok("CREATE USER TABLE app.notes (id BIGINT PRIMARY KEY, body TEXT)");
}

/// Checks that it ended by itself, with an error that says this.
fn check_refused(ended: &Ended, told: &str) {
    assert!(ended.told.contains(told), "not {told:?}, but {}", ended.told);
    assert_eq!(ended.code, Some(1), "{}", ended.told);
}

#[test]
fn a_stop_is_clean_and_the_next_start_has_everything() {
    let home = Home::new();
    let server = home.start();
    with_notes(&home);
    let ann = home.client("ann", Role::User);
    ann.ok("INSERT INTO app.notes VALUES (1, 'here')");
    let ended = server.term();
    assert_eq!(ended.code, Some(0), "{}", ended.told);

    let server = home.start();
    assert_eq!(ann.rows("SELECT id, body FROM app.notes"), ["1 here"]);
    server.signal("INT");
    let mut server = server;
    assert_eq!(server.wait().code, Some(0));
}

#[test]
fn a_stop_answers_what_is_running() {
    let home = Home::new();
    let server = home.start();
    with_notes(&home);
    let mut answered = 0;
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let ann = home.client("ann", Role::User);
                scope.spawn(move || {
                    let mut known = Vec::new();
                    for number in 0.. {
                        let id = writer * 100_000 + number;
                        match ann.run(&format!("INSERT INTO app.notes VALUES ({id}, 'x')")) {
                            Ok(_) => known.push(id),
                            Err(Failure::Unanswered(_)) => return known,
                            Err(Failure::Refused(refusal)) => {
                                assert_eq!(refusal.code, "overloaded", "{refusal:?}");
                                return known;
                            }
                        }
                    }
                    known
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(300));
        let ended = server.term();
        assert_eq!(ended.code, Some(0), "{}", ended.told);
        for writer in writers {
            answered += writer.join().unwrap().len();
        }
    });
    let server = home.start();
    // Each one that ran was answered, so there is none beyond.
    let rows = home.client("ann", Role::User).rows("SELECT COUNT(*) FROM app.notes");
    assert_eq!(rows, [answered.to_string()]);
    drop(server);
}

#[test]
fn a_second_process_leaves_the_first_one_alone() {
    let home = Home::new();
    let server = home.start();
    let url = home.admin().address();
    check_refused(&home.start_refused(), "another process uses the data");
    assert_eq!(home.admin().address(), url);
    home.admin().ok("CREATE NAMESPACE app");
    drop(server);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let home = Home::new();
    let server = home.start();
    let address = home.admin().address();
    let other = Home::new();
    let arguments = ["serve", "--listen", &address, "--data"];
    let output = other.command(&arguments, &other.data());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(&address) && told.contains("--listen"), "{told}");
    drop(server);
}

#[test]
fn health_and_readiness_are_told_without_a_token() {
    let home = Home::new();
    let server = home.start();
    let nobody = home.admin().with_token("");
    let (status, text) = nobody.get("/health").unwrap();
    assert_eq!(status, 200);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&text).unwrap(),
        json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")})
    );
    assert_eq!(nobody.get("/ready").unwrap(), (200, r#"{"status":"ready"}"#.to_owned()));
    drop(server);
}

#[test]
fn a_request_asked_again_after_a_restart_has_its_first_answer() {
    let home = Home::new();
    let server = home.start();
    with_notes(&home);
    let ann = home.client("ann", Role::User);
    let (id, other) = ("00000000000000000000000000000001", "00000000000000000000000000000002");
    let sql = "INSERT INTO app.notes VALUES ($1, $2)";
    let params = [json!(1), json!("once")];
    let first = ann.request(id, sql, &params).unwrap();
    assert_eq!(first.rows_affected, Some(1));
    server.kill9();

    let server = home.start();
    assert_eq!(ann.request(id, sql, &params).unwrap(), first);
    assert_eq!(ann.rows("SELECT id, body FROM app.notes"), ["1 once"]);
    // The same id for something else, and the same statement under another id.
    for (id, sql, params, code) in
        [(id, sql, [json!(2), json!("other")], "conflict"), (other, sql, params, "constraint")]
    {
        match ann.request(id, sql, &params) {
            Err(Failure::Refused(refusal)) => assert_eq!(refusal.code, code, "{refusal:?}"),
            other => panic!("{other:?}"),
        }
    }
    drop(server);
}

#[test]
fn a_first_start_that_is_killed_at_any_moment_is_repeated() {
    for step in 0..8 {
        let home = Home::new();
        let starting = home.launch();
        std::thread::sleep(Duration::from_millis(step * 40));
        starting.kill9();
        let server = home.start();
        with_notes(&home);
        let ann = home.client("ann", Role::User);
        ann.ok("INSERT INTO app.notes VALUES (1, 'x')");
        assert_eq!(ann.rows("SELECT COUNT(*) FROM app.notes"), ["1"]);
        drop(server);
    }
}

#[test]
fn tokens_stay_good_over_restarts_and_are_of_one_data_directory() {
    let home = Home::new();
    drop(home.start());
    let before = home.admin();
    let server = home.start();
    before.ok("CREATE NAMESPACE app");
    let other = Home::new();
    drop(other.start());
    let stranger = before.with_token(other.admin().token());
    stranger.refused("CREATE NAMESPACE other", "needs_auth");
    drop(server);
}

#[test]
fn a_damaged_key_or_version_is_refused_and_stays() {
    let home = Home::new();
    drop(home.start());
    for (name, damaged, told) in [
        ("key", "", "is damaged"),
        ("key", "deadbeef\n", "is damaged"),
        ("version", "2\n", "start a later server"),
        ("version", "what\n", "is damaged"),
    ] {
        let file = home.data().join(name);
        let whole = fs::read(&file).unwrap();
        fs::write(&file, damaged).unwrap();
        check_refused(&home.start_refused(), told);
        assert_eq!(fs::read_to_string(&file).unwrap(), damaged);
        fs::write(&file, whole).unwrap();
    }
    let key = home.data().join("key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    check_refused(&home.start_refused(), "chmod 600");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    drop(home.start());
}

#[test]
fn what_is_missing_after_a_bad_restore_is_named() {
    let home = Home::new();
    drop(home.start());
    for name in ["key", "log", "rows", "version"] {
        let (place, aside) = (home.data().join(name), home.data().with_file_name("aside"));
        fs::rename(&place, &aside).unwrap();
        let ended = home.start_refused();
        check_refused(&ended, name);
        check_refused(&ended, "restore");
        assert!(!place.exists(), "{name} was made anew");
        fs::rename(&aside, &place).unwrap();
    }
    drop(home.start());
}

#[test]
fn a_damaged_database_is_refused() {
    let home = Home::new();
    let server = home.start();
    with_notes(&home);
    home.client("ann", Role::User).ok("INSERT INTO app.notes VALUES (1, 'x')");
    assert_eq!(server.term().code, Some(0));
    for name in ["log", "rows"] {
        let folder = home.data().join(name);
        let manifest = files(&folder).into_iter().find(|name| name.starts_with("MANIFEST"));
        let manifest = folder.join(manifest.unwrap());
        let whole = fs::read(&manifest).unwrap();
        let mut damaged = whole.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0xff;
        fs::write(&manifest, damaged).unwrap();
        check_refused(&home.start_refused(), "cannot be opened");
        fs::write(&manifest, whole).unwrap();
    }
    drop(home.start());
}

#[test]
fn a_server_whose_data_goes_away_under_it_ends_and_says_so() {
    let home = Home::with_settings("[storage]\nlog_bytes_max = 1048576\nlog_bytes_kept = 0\n");
    home.allow("a shard failed, and is opened anew");
    home.allow("a shard is down");
    home.allow("a shard has failed");
    home.allow("the server stops");
    home.allow("a request has failed");
    home.allow("is gone");
    // A statement may be waiting for the shard that has just failed.
    home.allow("requests still run at the end of the shutdown");
    let mut server = home.start();
    with_notes(&home);
    let ann = home.client("ann", Role::User);
    fs::remove_dir_all(home.data().join("rows")).unwrap();
    // Until its log is to be made shorter, and the rows written out for that.
    let large = "x".repeat(100_000);
    for id in 0..10_000 {
        let sql = "INSERT INTO app.notes VALUES ($1, $2)";
        if !server.is_running() || ann.with(sql, &[json!(id), json!(large)]).is_err() {
            break;
        }
    }
    let ended = server.wait();
    check_refused(&ended, "is gone");
    check_refused(&home.start_refused(), "rows is missing");
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn settings_that_are_wrong_are_named() {
    for (text, told) in [
        ("[shards]\nuser = 0\n", "shards.user is 0"),
        ("[storage]\nblock_cash_bytes = 1\n", "block_cash_bytes"),
        ("[log]\nlevel = \"loud\"\n", "level"),
        ("[sql\n", "settings.toml"),
        ("[files]\nfolder = \"nowhere\"\n", "the files in nowhere cannot be served"),
        ("[files]\nfolder = \".\"\nconnect = [\"*\"]\n", "\"*\" is no origin"),
    ] {
        let home = Home::with_settings(text);
        check_refused(&home.start_refused(), told);
        assert!(!home.data().exists(), "{text}");
    }
}

#[test]
fn a_web_application_is_served_beside_the_api() {
    let mut home = Home::new();
    let web = home.folder("web");
    fs::create_dir(&web).unwrap();
    fs::write(web.join("app.js"), "script").unwrap();
    home.set(&format!("[files]\nfolder = {web:?}\nconnect = [\"https://sign-in.example\"]\n"));
    let _server = home.start();
    let at = format!("http://{}", home.admin().address());
    let page = ask(&format!("{at}/app.js"), &[], None);
    assert_eq!((page.status, &*page.body), (200, &b"script"[..]));
    assert_eq!(page.header("content-type"), Some("text/javascript"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("connect-src 'self' https://sign-in.example;"), "{policy}");
    assert_eq!(ask(&format!("{at}/key"), &[], None).status, 404);
    with_notes(&home);
}

#[test]
fn shards_are_fixed_by_the_first_start() {
    let home = Home::with_settings("[shards]\nuser = 2\nshared = 1\n");
    drop(home.start());
    fs::write(home.data().with_file_name("settings.toml"), "").unwrap();
    check_refused(&home.start_refused(), "set it to 2");
}

#[test]
fn a_log_can_be_json() {
    let home = Home::with_settings("[log]\nformat = \"json\"\n");
    let ended = home.start().term();
    for line in ended.told.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    assert!(ended.told.contains("\"ready\""), "{}", ended.told);
}

#[test]
fn the_command_line_runs_a_statement_and_shows_what_comes_of_it() {
    let home = Home::new();
    let server = home.start();
    with_notes(&home);
    let url = format!("http://{}", home.admin().address());
    let run = |user: &str, sql: &str, more: &[&str]| {
        let arguments = ["sql", "-c", sql, "--url", &url, "--as", user];
        let output = home.command(&[&arguments[..], more, &["--data"]].concat(), &home.data());
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let insert = "INSERT INTO app.notes VALUES (7, 'tide'), (12, NULL)";
    assert_eq!(run("ann", insert, &[]), (Some(0), "2 rows changed\n".to_owned(), String::new()));
    let select = "SELECT id, body FROM app.notes ORDER BY id";
    let table = "id | body\n---+-----\n 7 | tide\n12 | NULL\n2 rows\n";
    assert_eq!(run("ann", select, &[]).1, table);
    assert!(run("ann", select, &["--json"]).1.contains(r#"["7","tide"]"#));
    let (code, out, told) = run("ann", "SELECT id FROM app.nothing", &[]);
    assert_eq!((code, &*out), (Some(1), ""));
    assert!(told.contains("not_found: "), "{told}");
    let output =
        home.command(&["sql", "-c", "SELECT 1", "--token", "x", "--url"], Path::new("https://x"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no TLS"));
    drop(server);
}
