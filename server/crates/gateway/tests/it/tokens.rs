//! Who may come in, and what the others are told.

use std::sync::atomic::Ordering;

use protocol::ids::TenantId;
use server_gateway::{KeyError, Limits, Role, SigningKey};

use crate::world::{KEY, NOW, World, forged, post};

const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// What the gateway says to a token.
async fn told(world: &World, token: &str) -> (u16, String) {
    let answer = world.ask(&post(token, r#"{"sql":"x"}"#)).await;
    if answer.status == 200 {
        return (200, String::new());
    }
    assert_eq!(answer.code(), "needs_auth");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    let message = answer.message();
    assert!(!answer.body.contains("tests, with"), "{message}");
    assert!(token.len() < 20 || !answer.body.contains(token), "{message}");
    (answer.status, message)
}

fn claims(more: &str) -> String {
    format!(r#"{{"sub":"alice","exp":{}{more}}}"#, NOW + 60)
}

#[tokio::test]
async fn a_caller_is_whom_the_token_names() {
    let world = World::new(Limits::default()).await;
    for role in Role::ALL {
        let user = TenantId::new("zoë of 5 \"x\"").unwrap();
        let token = SigningKey::new(KEY).unwrap().sign(&user, role, NOW + 1, NOW);
        assert_eq!(told(&world, &token).await.0, 200);
        let asked = world.sql.asked();
        let caller = &asked.last().unwrap().caller;
        assert_eq!((&caller.user, caller.role), (&user, role));
    }
    for (role, written) in [
        (Role::User, ""),
        (Role::Service, r#","role":"service""#),
        (Role::Admin, r#","role":"admin""#),
    ] {
        let token = forged(HS256, &claims(&format!(r#"{written},"iat":7,"other":[1]"#)), KEY);
        assert_eq!(told(&world, &token).await.0, 200);
        assert_eq!(world.sql.asked().last().unwrap().caller.role, role);
    }
}

#[tokio::test]
async fn a_token_that_is_not_exactly_right_is_refused_with_what_to_do() {
    let world = World::new(Limits::default()).await;
    let ok = claims("");
    let good = forged(HS256, &ok, KEY);
    let (rest, _) = good.rsplit_once('.').unwrap();
    let none = forged(r#"{"alg":"none"}"#, &ok, KEY);
    let unsigned = format!("{}.", none.rsplit_once('.').unwrap().0);
    let cases = [
        (forged(HS256, &ok, b"another key of 32 bytes and more"), "this server's key"),
        (format!("{rest}.AAAA"), "this server's key"),
        (none, "cannot be read"),
        (unsigned, "cannot be read"),
        (forged(r#"{"alg":"HS512"}"#, &ok, KEY), "HS256"),
        (forged(r#"{"alg":"HS384"}"#, &ok, KEY), "HS256"),
        (forged(r#"{"alg":"RS256"}"#, &ok, KEY), "HS256"),
        (forged(r#"{"alg":"hs256"}"#, &ok, KEY), "cannot be read"),
        (forged("{}", &ok, KEY), "cannot be read"),
        (forged(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, &ok, KEY), "crit"),
        (forged(HS256, r#"{"sub":"alice"}"#, KEY), "`exp`"),
        (forged(HS256, r#"{"sub":"alice","exp":null}"#, KEY), "`exp`"),
        (forged(HS256, r#"{"sub":"alice","exp":"2099-01-01"}"#, KEY), "cannot be read"),
        (forged(HS256, r#"{"sub":"alice","exp":-1}"#, KEY), "expired"),
        (forged(HS256, r#"{"sub":"alice","exp":1,"exp":9999999999}"#, KEY), "cannot be read"),
        (forged(HS256, &claims(r#","nbf":1800000061"#), KEY), "not valid yet"),
        (forged(HS256, &claims(r#","role":"root""#), KEY), "`role`"),
        (forged(HS256, &claims(r#","role":"""#), KEY), "`role`"),
        (forged(HS256, &claims(r#","role":7"#), KEY), "cannot be read"),
        (forged(HS256, &claims(r#","aud":"other""#), KEY), "aud"),
        (forged(HS256, &claims(r#","aud":["other"]"#), KEY), "aud"),
        (forged(HS256, &claims(r#","aud":7"#), KEY), "aud"),
        (forged(HS256, r#"{"exp":1900000000}"#, KEY), "`sub`"),
        (forged(HS256, r#"{"sub":"","exp":1900000000}"#, KEY), "`sub`"),
        (forged(HS256, r#"{"sub":"a\nb","exp":1900000000}"#, KEY), "`sub`"),
        (forged(HS256, "[]", KEY), "cannot be read"),
        (
            forged(HS256, &format!(r#"{{"exp":1900000000,"sub":"{}"}}"#, "a".repeat(129)), KEY),
            "`sub`",
        ),
        (forged(HS256, &claims(&format!(r#","x":"{}""#, "a".repeat(4_000))), KEY), "longer"),
        ("garbage".to_owned(), "cannot be read"),
        ("..".to_owned(), "cannot be read"),
        (String::new(), "Authorization"),
        (format!("{good}.x"), "cannot be read"),
    ];
    for (token, expected) in &cases {
        let (status, message) = told(&world, token).await;
        assert_eq!(status, 401, "{token}");
        assert!(message.contains(expected), "{token}: {message}");
    }
    assert_eq!(world.sql.asked(), [], "nobody came in");
    assert_eq!(told(&world, &good).await.0, 200);
}

#[tokio::test]
async fn a_token_ends_with_its_last_second_by_the_clock_of_the_port() {
    let world = World::new(Limits::default()).await;
    let early = forged(HS256, &claims(r#","nbf":1800000060"#), KEY);
    assert_eq!(told(&world, &early).await.0, 200, "clocks differ a little");
    let fraction = forged(HS256, r#"{"sub":"alice","exp":1800000060.5}"#, KEY);
    let whole = forged(HS256, &claims(""), KEY);
    world.clock.0.store(NOW + 59, Ordering::Relaxed);
    assert_eq!(told(&world, &whole).await.0, 200);
    world.clock.0.store(NOW + 60, Ordering::Relaxed);
    let (status, message) = told(&world, &whole).await;
    assert_eq!((status, message.contains("get a new one")), (401, true), "{message}");
    assert_eq!(told(&world, &fraction).await.0, 200);
    world.clock.0.store(NOW + 61, Ordering::Relaxed);
    assert_eq!(told(&world, &fraction).await.0, 401);
}

#[tokio::test]
async fn there_is_one_header_with_the_token_and_its_scheme_is_bearer() {
    let world = World::new(Limits::default()).await;
    let token = crate::world::token("alice");
    let with = |headers: &str| {
        format!(
            "POST /v1/sql HTTP/1.1\r\nHost: x\r\n{headers}Content-Type: application/json\r\n\
             Content-Length: 11\r\n\r\n{{\"sql\":\"x\"}}"
        )
    };
    for bad in [
        String::new(),
        format!("Authorization: {token}\r\n"),
        format!("Authorization: Basic {token}\r\n"),
        "Authorization: Bearer\r\n".to_owned(),
        format!("Authorization: Bearer {token}\u{e9}\r\n"),
        format!("Authorization: Bearer {token}\r\nAuthorization: Bearer {token}\r\n"),
    ] {
        let answer = world.ask(with(&bad).as_bytes()).await;
        assert_eq!((answer.status, answer.code()), (401, "needs_auth".to_owned()), "{bad}");
    }
    for good in [
        format!("authorization: bearer {token}\r\n"),
        format!("Authorization: BEARER  {token} \r\n"),
    ] {
        assert_eq!(world.ask(with(&good).as_bytes()).await.status, 200, "{good}");
    }
}

#[test]
fn a_key_is_long_enough_and_shows_nothing_of_itself() {
    for short in [0, 31] {
        assert_eq!(SigningKey::new(&KEY[..short]).unwrap_err(), KeyError::Short { bytes: short });
    }
    let key = SigningKey::new(KEY).unwrap();
    assert_eq!(format!("{key:?}"), "SigningKey");
    assert_eq!(
        key.sign(&TenantId::new("alice").unwrap(), Role::Admin, 2, 1),
        forged(
            r#"{"typ":"JWT","alg":"HS256"}"#,
            r#"{"sub":"alice","role":"admin","iat":1,"exp":2}"#,
            KEY
        )
    );
}
