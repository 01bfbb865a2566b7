//! What a body may say, what of it reaches the port, and what an error looks like.

use std::time::Duration;

use protocol::error_code::ErrorCode;
use protocol::ids::RequestId;
use server_gateway::{Limits, Param, Readiness, SqlError};

use crate::world::{World, head, post, token};

#[tokio::test]
async fn a_statement_reaches_the_port_as_it_was_written() {
    let world = World::new(Limits::default()).await;
    let body = r#" {"request_id":"000102030405060708090A0B0C0D0E0F","params":[null, true,false,
        1, -0.50e+3, 9007199254740993, 1.10, "a\"\u00e9\n", {"bytes":"AP8="}, {"bytes":""},
        {"bigint":"-9223372036854775808"}, "[1]" ],"sql":"SELECT \"x\" WHERE a = $1"} "#;
    let answer = world.post(body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let asked = world.sql.asked();
    assert_eq!(asked[0].sql, "SELECT \"x\" WHERE a = $1");
    let number = |text: &str| Param::Number(text.to_owned());
    let expected = [
        Param::Null,
        Param::Boolean(true),
        Param::Boolean(false),
        number("1"),
        number("-0.50e+3"),
        number("9007199254740993"),
        number("1.10"),
        Param::Text("a\"é\n".to_owned()),
        Param::Bytes(vec![0, 255]),
        Param::Bytes(Vec::new()),
        number("-9223372036854775808"),
        Param::Text("[1]".to_owned()),
    ];
    assert!(asked[0].params == expected);
    let id = RequestId::from_bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
    assert_eq!(asked[0].request_id, Some(id));

    world.post(r#"{"sql":"y","params":null,"request_id":null}"#).await;
    let bare = &world.sql.asked()[1];
    assert!(bare.params.is_empty() && bare.request_id.is_none());
}

#[tokio::test]
async fn a_body_that_is_not_well_formed_is_refused_with_its_place() {
    let world = World::new(Limits::default()).await;
    let deep = format!(r#"{{"sql":"x","params":[{}1{}]}}"#, "[".repeat(50_000), "]".repeat(50_000));
    let deeper = "[".repeat(100_000);
    let number = format!(r#"{{"sql":"x","params":[{}]}}"#, "1".repeat(1_025));
    let unknown = format!(r#"{{"sql":"x","{}":1}}"#, "a".repeat(5_000));
    for (body, expected) in [
        ("", "not JSON"),
        ("{", "not JSON"),
        (r#"{"sql":"x"} {}"#, "not JSON"),
        (r#"{"sql":"x",}"#, "not JSON"),
        ("[]", "must be {\"sql\""),
        ("null", "must be {\"sql\""),
        ("{}", "missing field `sql`"),
        (r#"{"sql":7}"#, "column 8"),
        (r#"{"sql":null}"#, "column 11"),
        (r#"{"sql":"x","sql":"y"}"#, "duplicate field `sql`"),
        (r#"{"sql":"x","params":[1],"params":[2]}"#, "duplicate field `params`"),
        (r#"{"sql":"x","database":"y"}"#, "unknown field `database`"),
        (&unknown, "unknown field"),
        (r#"{"sql":"x","params":{"a":1}}"#, "`params` must be a list"),
        (r#"{"sql":"x","params":"a"}"#, "`params` must be a list"),
        (r#"{"sql":"x","params":[1,[2]]}"#, "parameter $2: a list"),
        (r#"{"sql":"x","params":[{}]}"#, "parameter $1: an object"),
        (r#"{"sql":"x","params":[1,2,{"date":"x"}]}"#, "parameter $3: an object"),
        (r#"{"sql":"x","params":[{"bytes":"","bytes":""}]}"#, "parameter $1: an object"),
        (r#"{"sql":"x","params":[{"bytes":"","bigint":"1"}]}"#, "parameter $1: an object"),
        (r#"{"sql":"x","params":[{"bytes":7}]}"#, "parameter $1: an object"),
        (r#"{"sql":"x","params":[{"bytes":"AP8"}]}"#, "parameter $1: `bytes`"),
        (r#"{"sql":"x","params":[{"bytes":"_w=="}]}"#, "parameter $1: `bytes`"),
        (r#"{"sql":"x","params":[{"bigint":"9223372036854775808"}]}"#, "$1: `bigint`"),
        (r#"{"sql":"x","params":[{"bigint":"+1"}]}"#, "$1: `bigint`"),
        (r#"{"sql":"x","params":[{"bigint":"1.0"}]}"#, "$1: `bigint`"),
        (r#"{"sql":"x","params":[{"bigint":""}]}"#, "$1: `bigint`"),
        (r#"{"sql":"x","params":["\ud800"]}"#, "parameter $1:"),
        (r#"{"sql":"x","params":[NaN]}"#, "not JSON"),
        (r#"{"sql":"x","params":[01]}"#, "not JSON"),
        (r#"{"sql":"x","request_id":"7"}"#, "32 hexadecimal digits"),
        (r#"{"sql":"x","request_id":"+00102030405060708090a0b0c0d0eff"}"#, "32 hexadecimal"),
        (&deep, "parameter $1: a list"),
        (&deeper, "must be {\"sql\""),
        (&number, "1024 characters"),
    ] {
        let answer = world.post(body).await;
        let start: String = body.chars().take(80).collect();
        assert_eq!((answer.status, &*answer.code()), (400, "invalid_request"), "{start}");
        let message = answer.message();
        assert!(message.contains(expected), "{start}: {message}");
        assert!(message.chars().count() < 400, "{start}: {message}");
    }
    let mut latin = head(&token("alice"), 11).into_bytes();
    latin.extend_from_slice(b"{\"sql\":\"\xe9\"}");
    let answer = world.ask(&latin).await;
    assert_eq!(answer.code(), "invalid_request");
    assert!(answer.message().contains("UTF-8 at byte 8"), "{}", answer.message());
    assert_eq!(world.sql.asked(), []);
}

#[tokio::test]
async fn a_statement_is_bounded() {
    let limits = Limits { sql_bytes_max: 10, params_max: 3, ..Limits::default() };
    let world = World::new(limits).await;
    for (body, status) in [
        (r#"{"sql":"1234567890"}"#, 200),
        (r#"{"sql":"12345678901"}"#, 413),
        (r#"{"sql":"1","params":[1,2,3]}"#, 200),
        (r#"{"sql":"1","params":[1,2,3,4]}"#, 413),
    ] {
        let answer = world.post(body).await;
        assert_eq!(answer.status, status, "{body}");
        if status == 413 {
            assert_eq!(answer.code(), "too_large");
            assert!(answer.message().contains("at most"), "{}", answer.message());
        }
    }
}

#[tokio::test]
async fn every_code_has_its_status_and_says_whether_to_ask_again() {
    let world = World::with(Limits::default(), |request| async move {
        let code = ErrorCode::ALL.iter().find(|code| code.as_str() == request.sql);
        Err(SqlError {
            code: *code.unwrap(),
            message: format!("{} \"quoted\"", request.sql),
            retry_after: request.params.first().map(|_| Duration::from_millis(1_500)),
        })
    })
    .await;
    for code in ErrorCode::ALL {
        let status = match code.as_str() {
            "needs_auth" => 401,
            "forbidden" => 403,
            "not_found" => 404,
            "already_exists" | "conflict" | "constraint" | "schema_mismatch" => 409,
            "invalid_request" | "unsupported" => 400,
            "too_large" => 413,
            "overloaded" => 503,
            "quota" => 507,
            "timeout" => 504,
            _ => 500,
        };
        let answer = world.post(&format!(r#"{{"sql":"{code}"}}"#)).await;
        assert_eq!((answer.status, &*answer.code()), (status, code.as_str()));
        let error = &answer.json()["error"];
        assert_eq!(error["message"], format!("{code} \"quoted\""));
        assert_eq!(error["retry"], code.may_retry());
        assert_eq!(error.get("retry_after_ms"), None);
        let once = (*code == ErrorCode::Overloaded).then_some("1");
        assert_eq!(answer.header("retry-after"), once, "{code}");
        let asks = (*code == ErrorCode::NeedsAuth).then_some("Bearer");
        assert_eq!(answer.header("www-authenticate"), asks);

        let later = world.post(&format!(r#"{{"sql":"{code}","params":[1]}}"#)).await;
        assert_eq!(later.json()["error"]["retry_after_ms"], 1_500);
        assert_eq!(later.header("retry-after"), Some("2"));
    }
}

#[tokio::test]
async fn requests_have_numbers_of_their_own() {
    let world = World::new(Limits::default()).await;
    let mut numbers = Vec::new();
    for _ in 0..3 {
        let answer = world.post("{}").await;
        numbers.push(answer.json()["error"]["request"].as_str().unwrap().to_owned());
    }
    let parts: Vec<_> = numbers.iter().map(|number| number.split_once('-').unwrap()).collect();
    assert!(parts.iter().all(|part| part.0 == parts[0].0 && part.0.len() == 8), "{numbers:?}");
    assert_eq!(parts.iter().map(|part| part.1).collect::<Vec<_>>(), ["1", "2", "3"]);
    let other = World::new(Limits::default()).await.post("{}").await;
    let number = other.json()["error"]["request"].as_str().unwrap().to_owned();
    assert!(!numbers.contains(&number), "{number}");
}

#[tokio::test]
async fn what_is_not_offered_is_answered_like_everything_else() {
    let world = World::new(Limits::default()).await;
    let json = "Content-Type: application/json\r\n";
    for (line, headers, status, code, allow) in [
        ("GET /v1/sql", json, 405, "unsupported", Some("POST")),
        ("PUT /v1/sql", json, 405, "unsupported", Some("POST")),
        ("OPTIONS /v1/sql", "", 405, "unsupported", Some("POST")),
        ("BREW /v1/sql", "", 405, "unsupported", Some("POST")),
        ("POST /health", json, 405, "unsupported", Some("GET,HEAD")),
        ("GET /", "", 404, "not_found", None),
        ("POST /v1/sql/", json, 404, "not_found", None),
        ("GET /v1/%2e%2e/health", "", 404, "not_found", None),
        ("OPTIONS *", "", 404, "not_found", None),
    ] {
        let request = format!("{line} HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        let answer = world.ask(request.as_bytes()).await;
        assert_eq!((answer.status, &*answer.code()), (status, code), "{line}");
        assert_eq!(answer.header("allow"), allow, "{line}");
    }
    let ok = String::from_utf8(post(&token("alice"), r#"{"sql":"x"}"#)).unwrap();
    for (kind, status) in [
        ("Content-Type: application/json; charset=utf-8", 200),
        ("content-type: Application/JSON", 200),
        ("Content-Type: text/plain", 415),
        ("Content-Type: application/jsonx", 415),
        ("X: y", 415),
        ("Content-Type: application/json\r\nContent-Encoding: gzip", 415),
        ("Content-Type: application/json\r\nContent-Encoding: identity", 200),
    ] {
        let request = ok.replace("Content-Type: application/json", kind);
        let answer = world.ask(request.as_bytes()).await;
        assert_eq!(answer.status, status, "{kind}");
        assert!(status == 200 || answer.code() == "invalid_request");
    }
    for (path, status) in [("/health", "200"), ("/nothing", "404"), ("/v1/sql", "405")] {
        let mut client = world.connect().await;
        let request = format!("HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        client.send(request.as_bytes()).await;
        let said = client.rest().await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{said}");
        assert!(said.ends_with("\r\n\r\n"), "a HEAD has no body: {said}");
    }
}

#[tokio::test]
async fn health_is_for_everybody_and_tells_nothing_of_the_inside() {
    let world = World::new(Limits::default()).await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    for readiness in [Readiness::Starting, Readiness::Ready, Readiness::Failed, Readiness::Stopping]
    {
        *world.health.0.lock().unwrap() = readiness;
        let answer = world.ask(get("/health").as_bytes()).await;
        assert_eq!((answer.status, &*answer.body), (200, r#"{"status":"ok","version":"0.1.0"}"#));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let ready = world.ask(get("/ready").as_bytes()).await;
        let expected = match readiness {
            Readiness::Ready => (200, r#"{"status":"ready"}"#),
            Readiness::Starting => (503, r#"{"status":"starting"}"#),
            Readiness::Failed => (503, r#"{"status":"failed"}"#),
            Readiness::Stopping => (503, r#"{"status":"stopping"}"#),
        };
        assert_eq!((ready.status, &*ready.body), expected);
    }
}
