//! Files beside the API: what is in the folder and nothing else, as browsers want it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use server_gateway::{Files, FilesError, Limits};
use tempfile::TempDir;

use crate::world::{Answer, World};

const FOREVER: &str = "public, max-age=31536000, immutable";

/// A web application, beside something that is nobody's business.
fn application() -> TempDir {
    let around = TempDir::new().unwrap();
    let folder = around.path().join("web");
    fs::create_dir_all(folder.join("assets")).unwrap();
    fs::create_dir_all(folder.join(".git")).unwrap();
    for (name, text) in [
        ("../secret", "secret"),
        ("index.html", "<p>page"),
        ("sw.js", "worker"),
        ("manifest.webmanifest", "{}"),
        ("assets/app-1a2b3c4d.js", "script"),
        ("assets/app-1a2b3c4d.js.br", "small"),
        ("assets/core-1a2b3c4d.wasm", "wasm"),
        ("a b.css", "style"),
        (".env", "secret"),
        (".git/config", "secret"),
        ("real", "real"),
        ("odd.js", "odd"),
    ] {
        fs::write(folder.join(name), text).unwrap();
    }
    symlink(folder.join("../secret"), folder.join("link")).unwrap();
    symlink("..", folder.join("up")).unwrap();
    symlink(folder.join("../secret"), folder.join("odd.js.gz")).unwrap();
    symlink("real", folder.join("inside")).unwrap();
    around
}

async fn world(around: &TempDir) -> World {
    let connect = ["https://sign-in.example".to_owned()];
    let files = Files::open(&around.path().join("web"), &connect).unwrap();
    World::with_files(Limits::default(), files).await
}

async fn get(world: &World, path: &str, headers: &str) -> Answer {
    world.ask(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes()).await
}

#[tokio::test]
async fn a_file_has_the_type_and_the_policy_that_a_browser_wants() {
    let around = application();
    let world = world(&around).await;
    for (path, content_type, body, kept) in [
        ("/", "text/html", "<p>page", "no-cache"),
        ("/index.html", "text/html", "<p>page", "no-cache"),
        ("/sw.js", "text/javascript", "worker", "no-cache"),
        ("/manifest.webmanifest", "application/manifest+json", "{}", "no-cache"),
        ("/assets/app-1a2b3c4d.js", "text/javascript", "script", FOREVER),
        ("/assets/core-1a2b3c4d.wasm?x=/../y", "application/wasm", "wasm", FOREVER),
        ("/a%20b.css", "text/css", "style", "no-cache"),
        ("/inside", "application/octet-stream", "real", "no-cache"),
    ] {
        let answer = get(&world, path, "").await;
        assert_eq!((answer.status, &*answer.body), (200, body), "{path}");
        assert_eq!(answer.header("content-type"), Some(content_type), "{path}");
        assert_eq!(answer.header("cache-control"), Some(kept), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("script-src 'self' 'wasm-unsafe-eval';"), "{policy}");
        assert!(policy.contains("connect-src 'self' https://sign-in.example;"), "{policy}");
    }
    assert_eq!(world.sql.asked(), [], "nobody has reached a port");
}

#[tokio::test]
async fn what_is_not_in_the_folder_is_not_there() {
    let around = application();
    let world = world(&around).await;
    for path in [
        "/../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/%2e%2e%2fsecret",
        "/assets/../../secret",
        "/assets/%2E%2E/%2E%2E/secret",
        "/..%5csecret",
        "/%252e%252e/secret",
        "//secret",
        "/%2fetc/passwd",
        "//etc/passwd",
        "/etc/passwd",
        "/link",
        "/up/secret",
        "/up",
        "/sw.js%00.html",
        "/.env",
        "/.git/config",
        "/%2egit/config",
        "/assets",
        "/assets/",
        "/assets/app-1a2b3c4d",
        "/nothing.js",
        "/index.html/x",
        "/%ff",
        "/v1",
        "/v1/sq",
    ] {
        for accept in ["", "Accept: */*\r\n"] {
            let answer = get(&world, path, accept).await;
            assert_eq!((answer.status, &*answer.code()), (404, "not_found"), "{path}");
        }
        // Of what is hidden there is no page either.
        let answer = get(&world, path, "Accept: text/html\r\n").await;
        assert!(!answer.body.contains("secret") || answer.status == 404, "{path}: {answer:?}");
    }
    let whole = "GET http://x/../secret HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_eq!(world.ask(whole.as_bytes()).await.status, 404);
    // What would be sent in its place leads out of the folder.
    assert_eq!(get(&world, "/odd.js", "Accept-Encoding: gzip\r\n").await.status, 404);
}

#[tokio::test]
async fn a_place_within_the_application_is_its_page_where_a_page_is_wanted() {
    let around = application();
    let world = world(&around).await;
    let browser = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";
    for path in ["/rooms/lobby", "/rooms/", "/rooms?as=alice"] {
        let answer = get(&world, path, browser).await;
        assert_eq!((answer.status, &*answer.body), (200, "<p>page"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
        assert_eq!(get(&world, path, "Accept: application/json\r\n").await.status, 404);
    }
    for path in ["/v1/rooms", "/rooms/a.js", "/.git/x", "/../rooms", "//rooms"] {
        assert_eq!(get(&world, path, browser).await.code(), "not_found", "{path}");
    }
}

#[tokio::test]
async fn a_file_that_a_browser_has_is_not_sent_again() {
    let around = application();
    let world = world(&around).await;
    let first = get(&world, "/sw.js", "").await;
    let tag = format!("If-None-Match: {}\r\n", first.header("etag").unwrap());
    let since = format!("If-Modified-Since: {}\r\n", first.header("last-modified").unwrap());
    for condition in [&tag, &since] {
        let again = get(&world, "/sw.js", condition).await;
        assert_eq!((again.status, &*again.body), (304, ""), "{condition}");
        assert_eq!(again.header("cache-control"), Some("no-cache"));
    }
    fs::write(around.path().join("web/sw.js"), "another worker").unwrap();
    let changed = get(&world, "/sw.js", &tag).await;
    assert_eq!((changed.status, &*changed.body), (200, "another worker"));
}

#[tokio::test]
async fn a_file_is_sent_small_or_in_part_where_that_is_wanted() {
    let around = application();
    let world = world(&around).await;
    let script = "/assets/app-1a2b3c4d.js";
    let small = get(&world, script, "Accept-Encoding: gzip, br\r\n").await;
    assert_eq!((small.header("content-encoding"), &*small.body), (Some("br"), "small"));
    assert_eq!(small.header("content-type"), Some("text/javascript"));
    assert_eq!(small.header("vary"), Some("accept-encoding"));
    let part = get(&world, script, "Range: bytes=1-3\r\n").await;
    assert_eq!((part.status, &*part.body), (206, "cri"));
    assert_eq!(get(&world, script, "Range: bytes=9-\r\n").await.status, 416);

    let mut client = world.connect().await;
    let head = format!("HEAD {script} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    client.send(head.as_bytes()).await;
    let told = client.rest().await;
    assert!(told.starts_with("HTTP/1.1 200") && told.ends_with("\r\n\r\n"), "{told}");
    assert!(told.contains("content-length: 6\r\n"), "{told}");
}

#[tokio::test]
async fn the_api_comes_before_files_and_alone_takes_what_is_sent() {
    let around = application();
    let web = around.path().join("web");
    fs::create_dir(web.join("v1")).unwrap();
    for name in ["health", "ready", "v1/sql", "v1/more"] {
        fs::write(web.join(name), "a file").unwrap();
    }
    let world = world(&around).await;
    assert!(get(&world, "/health", "").await.body.contains("\"ok\""));
    assert!(get(&world, "/ready", "").await.body.contains("\"ready\""));
    assert_eq!(get(&world, "/v1/sql", "").await.status, 405);
    assert_eq!(get(&world, "/v1/more", "").await.status, 404);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "x"] {
        let request = format!("{method} /sw.js HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(world.ask(request.as_bytes()).await.code(), "not_found", "{method}");
    }
    world.is_well().await;
}

#[tokio::test]
async fn a_long_file_comes_as_it_is_over_one_connection() {
    let around = application();
    let long = "0123456789abcdef".repeat(20_000);
    fs::write(around.path().join("web/long.txt"), &long).unwrap();
    let world = world(&around).await;
    let mut client = world.connect().await;
    for _ in 0..3 {
        client.send(b"GET /long.txt HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(client.answer().await.unwrap().body, long);
    }
}

#[tokio::test]
async fn without_a_folder_there_are_no_files() {
    let world = World::new(Limits::default()).await;
    let answer = get(&world, "/", "Accept: text/html\r\n").await;
    assert_eq!((answer.status, &*answer.code()), (404, "not_found"));
    assert_eq!(answer.header("content-security-policy"), None);
}

#[test]
fn what_cannot_be_served_is_said_at_the_start() {
    let around = application();
    let web = around.path().join("web");
    for folder in [Path::new("nowhere"), &web.join("index.html")] {
        let error = Files::open(folder, &[]).unwrap_err();
        assert!(matches!(error, FilesError::Folder { .. }), "{error}");
        assert!(error.to_string().contains(&*folder.to_string_lossy()), "{error}");
    }
    let more = ["https://a.example; script-src *".to_owned()];
    let error = Files::open(&web, &more).unwrap_err();
    assert!(error.to_string().contains("is no origin"), "{error}");
}
