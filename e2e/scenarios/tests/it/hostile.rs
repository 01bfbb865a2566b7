//! What somebody sends who wants to do harm, to the real server: each request has an answer, and
//! the server is as it was.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use e2e_harness::{Client, Home, Refusal, Role};
use serde_json::json;

/// By so many bytes the process may grow over all of them. The bounds on what runs at once allow
/// more; what would be kept of each request, or one statement without a bound, shows.
const GROWTH_MAX: u64 = 512 << 20;

/// How long one request may take. The server gives up a statement before.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// Of a body with more bytes, a client that sends all of it may not see the answer.
const READ_ON_MAX: usize = 4 << 20;

const SETTINGS: &str = "[sql]\nstatement_seconds = 2\nmemory_bytes_max = 67108864\n";

#[test]
fn hostile_requests_have_answers_and_do_no_harm() {
    let home = Home::with_settings(SETTINGS);
    // What takes too long or too much is told, and is no alarm.
    home.allow("code=timeout");
    home.allow("code=quota");
    let mut server = home.start();
    home.admin().ok("CREATE NAMESPACE app");
    home.admin().ok("CREATE USER TABLE app.t (id BIGINT PRIMARY KEY, a BIGINT, body TEXT)");
    let mallory = home.client("mallory", Role::User).within(ANSWER_WITHIN);
    for start in (0..2_000).step_by(500) {
        let rows: Vec<String> =
            (start..start + 500).map(|id| format!("({id}, {id}, 'row {id}')")).collect();
        mallory.ok(&format!("INSERT INTO app.t VALUES {}", rows.join(", ")));
    }
    // What is loaded once is loaded by then.
    mallory.ok("SELECT COUNT(*) FROM app.t");
    let (id, before) = (server.id(), server.memory_bytes());

    let statements =
        statements().into_iter().map(|sql| json!({ "sql": sql }).to_string().into_bytes());
    let requests: Vec<Vec<u8>> = bodies().into_iter().chain(statements).collect();
    let streams = streams(&mallory);
    assert!(requests.len() + streams.len() >= 1_000, "{} requests", requests.len());
    let mut harm: Vec<String> =
        requests.iter().filter_map(|body| check_answer(&mallory, body).err()).collect();
    harm.extend(streams.iter().filter_map(|bytes| check_stream(&mallory, bytes).err()));
    assert!(harm.is_empty(), "{harm:#?}");

    assert!(server.is_running() && server.id() == id, "the server has ended");
    assert_eq!(mallory.get("/ready").unwrap().0, 200);
    assert_eq!(mallory.rows("SELECT COUNT(*) FROM app.t"), ["2000"]);
    mallory.ok("INSERT INTO app.t VALUES (5000, 1, 'still here')");
    let growth = server.memory_bytes().saturating_sub(before);
    assert!(growth < GROWTH_MAX, "the server has grown by {} MiB", growth >> 20);
    assert_eq!(server.term().code, Some(0));
}

/// Whatever is sent has an answer that is ours: rows, or a code and a sentence.
fn check_answer(client: &Client, body: &[u8]) -> Result<(), String> {
    let head = || String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
    let (status, text) = match client.post(body) {
        Ok(answer) => answer,
        // It is answered before it is sent, and then read on for a while only.
        Err(_) if body.len() > READ_ON_MAX => return Ok(()),
        Err(why) => return Err(format!("no answer to {}: {why}", head())),
    };
    if status == 200 {
        return Ok(());
    }
    let refusal = Refusal::read(status, &text);
    let is_ours = refusal.code != "internal" && status != 500 && refusal.message.len() < 2_000;
    if is_ours { Ok(()) } else { Err(format!("{}: {refusal:?}", head())) }
}

/// Bodies that are short and no request.
const NO_REQUESTS: [&str; 30] = [
    "",
    " ",
    "{",
    "}",
    "[]",
    "null",
    "1",
    "\"x\"",
    "{}",
    "{\"sql\":}",
    "{\"sql\":1}",
    "{\"sql\":null}",
    "{\"sql\":[\"SELECT 1\"]}",
    "{\"sql\":\"SELECT 1\"",
    "nul",
    "{\"sql\":\"SELECT 1\",\"sql\":\"SELECT 2\"}",
    "{\"sql\":\"SELECT 1\"}{}",
    "{\"sql\":\"SELECT 1\",\"other\":1}",
    "{\"sql\":\"\\u0000\"}",
    "{\"sql\":\"\\ud800\"}",
    "{\"sql\":\"SELECT 1\",\"params\":{}}",
    "{\"sql\":\"SELECT 1\",\"params\":[[1]]}",
    "{\"sql\":\"SELECT $1\",\"params\":[{\"bytes\":\"%%%\"}]}",
    "{\"sql\":\"SELECT $1\",\"params\":[{\"bigint\":\"1e400\"}]}",
    "{\"sql\":\"SELECT $1\",\"params\":[{\"bigint\":\"1\",\"bytes\":\"\"}]}",
    "{\"sql\":\"SELECT $1\",\"params\":[1e999999999]}",
    "{\"sql\":\"SELECT $1\",\"params\":[NaN]}",
    "{\"sql\":\"SELECT 1\",\"request_id\":\"x\"}",
    "{\"sql\":\"SELECT 1\",\"request_id\":7}",
    "{\"sql\":\"SELECT 1\",\"request_id\":\"00000000000000000000000000000000\"}",
];

/// Bodies that are no request, or only just.
fn bodies() -> Vec<Vec<u8>> {
    let valid = br#"{"sql":"SELECT a FROM app.t WHERE id = $1","params":[7]}"#.to_vec();
    let mut bodies: Vec<Vec<u8>> = NO_REQUESTS.map(|text| text.as_bytes().to_vec()).to_vec();
    for depth in [50, 200, 10_000, 1_000_000] {
        bodies
            .push(format!("{{\"sql\":\"SELECT 1\",\"params\":{}", "[".repeat(depth)).into_bytes());
        bodies.push("{\"a\":".repeat(depth).into_bytes());
    }
    for count in [1_000, 60_000, 70_000, 500_000] {
        bodies
            .push(json!({ "sql": "SELECT 1", "params": vec![1; count] }).to_string().into_bytes());
    }
    for bytes in [100_000, 1_900_000, 3_000_000, 20_000_000] {
        bodies.push(json!({ "sql": "x".repeat(bytes) }).to_string().into_bytes());
        bodies.push(
            json!({ "sql": "SELECT a FROM app.t WHERE body = $1", "params": ["x".repeat(bytes)] })
                .to_string()
                .into_bytes(),
        );
        let digits = "9".repeat(bytes);
        bodies.push(format!("{{\"sql\":\"SELECT $1\",\"params\":[{digits}]}}").into_bytes());
    }
    for bytes in [
        &b"{\"sql\":\"\xff\xfe\"}"[..],
        b"{\"sql\":\"SELECT '\xc3\x28'\"}",
        b"\x00\x00",
        b"\xef\xbb\xbf{}",
    ] {
        bodies.push(bytes.to_vec());
    }
    // One byte of a valid request is another, or gone.
    for place in 0..valid.len() {
        for byte in [0, b'"', b'{', b'}', b'\\', b'\'', b'(', b';', 0x80, 0xff] {
            let mut body = valid.clone();
            body[place] = byte;
            bodies.push(body);
        }
        bodies.push(valid[..place].to_vec());
        bodies.push([&valid[..place], &valid[place + 1..]].concat());
    }
    bodies
}

/// Statements that are too deep, too long, too wide, or take too much.
fn statements() -> Vec<String> {
    let mut statements = Vec::new();
    for count in [10, 30, 60, 100, 1_000, 3_000, 10_000, 30_000, 100_000] {
        let repeat = |text: &str| text.repeat(count);
        let joined = |text: &str, with: &str| vec![text; count].join(with);
        statements.extend([
            format!("SELECT {}1{}", repeat("("), repeat(")")),
            format!("SELECT a FROM app.t WHERE {}a = 1{}", repeat("("), repeat(")")),
            format!("SELECT a FROM app.t WHERE {}TRUE", repeat("NOT ")),
            format!("SELECT {}1", repeat("- ")),
            format!("SELECT {} FROM app.t", joined("a", " + ")),
            format!("SELECT a FROM app.t WHERE {}", joined("a = 1", " OR ")),
            format!("SELECT a FROM app.t WHERE {}", joined("a = 1", " AND ")),
            format!("SELECT a FROM app.t WHERE a {}", joined("IS NULL", " ")),
            format!("SELECT {}", joined("'x'", " || ")),
            joined("SELECT 1", " UNION ALL "),
            joined("SELECT a FROM app.t", " INTERSECT "),
            format!("{}1{}", repeat("SELECT * FROM ("), repeat(") x")),
            format!("SELECT {}1{}", repeat("(SELECT "), repeat(")")),
            format!("SELECT {}1{}", repeat("CASE WHEN TRUE THEN "), repeat(" END")),
            format!("SELECT {}a{} FROM app.t", repeat("ABS("), repeat(")")),
            format!("SELECT a FROM app.t WHERE a IN ({})", joined("1", ", ")),
            format!("SELECT {}", joined("1", ", ")),
            format!("SELECT * FROM {}", joined("app.t", ", ")),
            format!("SELECT * FROM app.t {}", joined("JOIN app.t USING (id)", " ")),
            format!("INSERT INTO app.t VALUES {}", joined("(1, 1, 'x')", ", ")),
            format!("INSERT INTO app.t (id) VALUES {}", joined("(1)", ", ")),
            format!("UPDATE app.t SET {}", joined("a = 1", ", ")),
            format!("UPDATE app.t SET a = {}", joined("a", " + ")),
            format!("DELETE FROM app.t WHERE {}", joined("a IS NULL", " AND NOT ")),
            format!("SELECT a FROM app.t ORDER BY {}", joined("a", ", ")),
            format!("SELECT a FROM app.t GROUP BY {}", joined("a", ", ")),
            format!("WITH {} SELECT 1", joined("x AS (SELECT 1)", ", ")),
            format!("SELECT 1{}", repeat("::BIGINT")),
            format!("SELECT '{}'", repeat("\\'")),
            format!("SELECT a FROM app.t WHERE body LIKE '{}'", repeat("%_")),
            format!("SELECT a.{} FROM app.t a", joined("a", ".")),
            format!("EXECUTE AS USER 'x' {}", repeat("EXECUTE AS USER 'x' ")),
            format!("/*{}", repeat("/*")),
            repeat(";"),
            repeat("SELECT 1;"),
        ]);
    }
    statements.extend(HUNGRY.map(str::to_owned));
    statements
}

/// They would take memory or time without end.
const HUNGRY: [&str; 16] = [
    "SELECT COUNT(*) FROM app.t a, app.t b, app.t c",
    "SELECT * FROM app.t a, app.t b, app.t c",
    "SELECT a.body || b.body || c.body FROM app.t a, app.t b, app.t c ORDER BY 1",
    "SELECT DISTINCT a.body || b.body FROM app.t a, app.t b",
    "SELECT a.a, b.a, COUNT(*) FROM app.t a, app.t b, app.t c GROUP BY a.a, b.a",
    "SELECT a.a FROM app.t a CROSS JOIN app.t b CROSS JOIN app.t c CROSS JOIN app.t d ORDER BY a.a",
    "SELECT REPEAT('x', 2000000000)",
    "SELECT REPEAT(body, 100000000) FROM app.t",
    "SELECT LPAD('x', 2000000000, 'y')",
    "SELECT * FROM generate_series(1, 1000000000000)",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT COUNT(*) FROM r",
    "SELECT STRING_AGG(a.body, b.body) FROM app.t a, app.t b, app.t c",
    "SELECT ARRAY_AGG(a.body) FROM app.t a, app.t b, app.t c",
    "UPDATE app.t SET body = REPEAT('x', 1000000000)",
    "DELETE FROM app.t WHERE id IN (SELECT a.id FROM app.t a, app.t b, app.t c WHERE a.id < 0)",
    "COPY app.t TO '/tmp/tidewire-hostile'",
];

/// Bytes that are no HTTP, or only just.
fn streams(client: &Client) -> Vec<Vec<u8>> {
    let token = client.token();
    let mut streams: Vec<Vec<u8>> = [
        "\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\0\0\0\0\r\n\r\n",
        "POST /v1/sql HTTP/1.1\r\n\r\n",
        "POST /v1/sql HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "POST /v1/sql HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "POST /v1/sql HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "POST /v1/sql HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        "PUT /v1/sql HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        "GET /v1/sql HTTP/1.1\r\nHost: x\r\n\r\n", "GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    for count in [10, 100, 10_000] {
        let lines = "X-Header: value\r\n".repeat(count);
        streams.push(format!("GET /health HTTP/1.1\r\nHost: x\r\n{lines}\r\n").into_bytes());
        let long = "a".repeat(count * 100);
        streams.push(format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes());
        streams.push(
            format!(
                "POST /v1/sql HTTP/1.1\r\nAuthorization: Bearer {long}\r\nContent-Length: 0\r\n\r\n"
            )
            .into_bytes(),
        );
    }
    for scheme in ["Basic", "bearer", "Bearer  ", "Bearer\t", ""] {
        let head =
            format!("POST /v1/sql HTTP/1.1\r\nHost: x\r\nAuthorization: {scheme} {token}\r\n");
        let body = "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
        streams.push(format!("{head}{body}").into_bytes());
    }
    streams
}

/// Whatever bytes come, the connection is answered or closed. What follows is ended by us: a
/// request that is not whole is waited for.
fn check_stream(client: &Client, bytes: &[u8]) -> Result<(), String> {
    let mut stream = TcpStream::connect(client.address()).unwrap();
    stream.set_read_timeout(Some(ANSWER_WITHIN)).unwrap();
    stream.set_write_timeout(Some(ANSWER_WITHIN)).unwrap();
    // It may be closed before all has arrived.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(100)]);
    if let Err(error) = stream.read_to_end(&mut answer)
        && error.kind() != std::io::ErrorKind::ConnectionReset
    {
        return Err(format!("{head}: the connection stays open: {error}"));
    }
    let answer = String::from_utf8_lossy(&answer);
    if answer.starts_with("HTTP/1.1 500") { Err(format!("{head}: {answer}")) } else { Ok(()) }
}
