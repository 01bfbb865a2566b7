//! The demo with the web chat: it runs until somebody ends it, or is checked.

use std::io::IsTerminal;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e_harness::{Page, ask};

use crate::open::{AWAY, Note, keep_running};
use crate::web::{PEOPLE, Site, paths};
use crate::{Outcome, signals};

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Starts everything, says where it is, and waits until somebody ends it.
pub(crate) fn run(built: &Path, port: Option<u16>, note: &Path) -> Outcome {
    let (mut site, server) = Site::start(built, port)?;
    // Ctrl-C is heard by the server, too, which is then asked a second time.
    site.home.allow("asked a second time to stop");
    let noted = Note::of(&site.home);
    noted.write(note)?;
    println!("The chat is at {}, on an empty directory.\n", site.page_at);
    for user in PEOPLE {
        println!("  as {user:<21} {}", site.page_of(user));
    }
    println!("  in another terminal      cargo xtask demo --as bob");
    println!("  ends the server          kill -9 {}", server.id());
    println!("                           it is started again after {} seconds", AWAY.as_secs());
    println!("  stops everything         Ctrl-C\n");
    open_browser(&site.page_of(PEOPLE[0]));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| keep_running(&site.home, server, &is_over));
        while !signals::is_over() && site.sign_in.is_running() {
            std::thread::sleep(LOOK_EVERY);
        }
        is_over.store(true, Ordering::SeqCst);
    });
    noted.remove(note)?;
    if signals::is_over() {
        return Ok(());
    }
    Err("what signs people in has ended: start the demo anew".into())
}

/// Opens a page for whoever sits before the screen. Where there is none, the address is printed.
#[expect(clippy::disallowed_methods, reason = "the system says there whether there is a screen")]
fn open_browser(url: &str) {
    let is_seen =
        ["DISPLAY", "WAYLAND_DISPLAY"].into_iter().any(|it| std::env::var_os(it).is_some());
    if !is_seen || !std::io::stdout().is_terminal() {
        return;
    }
    for program in ["xdg-open", "chromium", "firefox"] {
        let mut browser = Command::new(program);
        browser.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if browser.spawn().is_ok() {
            return;
        }
    }
}

/// Holds everything against what a browser wants of it. Then `play`, if there is such a program,
/// plays a conversation in one: it is told where the page is.
pub(crate) fn check(built: &Path, play: &[String]) -> Outcome {
    let (site, server) = Site::start(built, None)?;
    println!("\nThe web chat is at {}.\n", site.page_at);
    check_files(&site)?;
    check_sign_in(&site)?;
    if let [program, arguments @ ..] = play {
        println!("Two people open it in a browser.");
        let mut command = Command::new(program);
        command.args(arguments).env("TIDEWIRE_DEMO_URL", &site.page_at);
        let status = command.status()?;
        if !status.success() {
            return Err(format!("the conversation in the browser has failed: {status}").into());
        }
    } else {
        println!("No browser opens it: there is no Chromium, or nothing to play.");
    }
    let Site { sign_in, home, .. } = site;
    drop(sign_in);
    let ended = server.term();
    drop(home);
    if ended.code != Some(0) {
        return Err(format!("the server did not stop: {}", ended.told).into());
    }
    Ok(())
}

fn check_files(site: &Site) -> Outcome {
    let types = [
        (".html", "text/html"),
        (".js", "text/javascript"),
        (".css", "text/css"),
        (".wasm", "application/wasm"),
        (".webmanifest", "application/manifest+json"),
        (".json", "application/json"),
    ];
    let paths = paths(&site.home.folder("web"))?;
    for path in &paths {
        let page = ask(&format!("{}{path}", site.page_at), &[], None);
        expect(page.status == 200 && !page.body.is_empty(), path, &page)?;
        let kind = types.iter().find(|(ending, _)| path.ends_with(ending));
        let is_right = kind.is_none_or(|(_, kind)| page.header("content-type") == Some(kind));
        expect(is_right && page.header("content-security-policy").is_some(), path, &page)?;
    }
    if !paths.iter().any(|path| path.ends_with(".wasm")) {
        return Err("the app has no WebAssembly in it: was it built by `cargo xtask web`?".into());
    }
    let page = ask(&format!("{}/", site.page_at), &[("Accept", "text/html")], None);
    expect(page.status == 200 && page.header("content-type") == Some("text/html"), "/", &page)?;
    println!("All {} files are served, with the right types.", paths.len());
    Ok(())
}

fn check_sign_in(site: &Site) -> Outcome {
    let (at, origin) = (&site.sign_in_at, &site.page_at);
    let headers = [("Content-Type", "application/json"), ("Origin", origin.as_str())];
    let page = ask(&format!("{at}/sign-in"), &headers, Some(r#"{"name": "Alice"}"#));
    let (user, session) = (page.json()["user"].clone(), page.json()["session"].clone());
    let is_right = page.header("access-control-allow-origin") == Some(origin) && user == "alice";
    expect(is_right && page.status == 200, "/sign-in", &page)?;
    let session = format!("Bearer {}", session.as_str().unwrap_or_default());
    let page = ask(&format!("{at}/token"), &[("Authorization", &session)], None);
    let token = page.json()["token"].as_str().unwrap_or_default().to_owned();
    expect(page.status == 200, "/token", &page)?;
    let alice = site.home.admin().with_token(&token);
    let count = |table: &str| -> Outcome<i64> {
        let counted = alice.run(&format!("SELECT count(*) AS n FROM {table}"));
        let rows = counted.map_err(|error| format!("alice cannot read {table}: {error:?}"))?.rows;
        let n = &rows[0][0];
        Ok(n.as_str().and_then(|n| n.parse().ok()).or_else(|| n.as_i64()).unwrap_or_default())
    };
    let (messages, likes) = (count("chat.messages")?, count("chat.likes")?);
    if messages == 0 || messages != likes {
        return Err(format!("there are {messages} messages and {likes} rows of likes").into());
    }
    println!("Alice has signed in. Her token reads the {messages} messages that are there.");
    Ok(())
}

fn expect(is_right: bool, what: &str, page: &Page) -> Outcome {
    if is_right {
        return Ok(());
    }
    Err(format!("{what} is not answered as it should be: {page:?}").into())
}
