//! What the log has of a request: its number and its code, and nothing that its user wrote.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex, OnceLock};

use protocol::error_code::ErrorCode;
use server_gateway::{Limits, SqlError};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::world::{World, token};

/// Writes every event and every span of all tests down.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

/// Is there before anything is logged: what is logged while nobody listens is switched off for the
/// whole process, and a listener that comes just then may not switch it on.
pub(crate) fn listen() {
    LOG.get_or_init(|| {
        let log = Log::default();
        tracing::subscriber::set_global_default(log.clone()).unwrap();
        log
    });
}

static LOG: OnceLock<Log> = OnceLock::new();

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut log = self.0.lock().unwrap();
        log.push_str("SPAN");
        span.record(&mut Line(&mut log));
        log.push('\n');
        Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        let mut log = self.0.lock().unwrap();
        write!(log, "{}", event.metadata().level()).unwrap();
        event.record(&mut Line(&mut log));
        log.push('\n');
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn the_log_names_the_request_and_never_what_is_in_it() {
    let world = World::with(Limits::default(), |request| async move {
        let code = ErrorCode::ALL.iter().find(|code| request.sql.starts_with(code.as_str()));
        let message = format!("refused: {} {:?}", request.sql, request);
        Err(SqlError { code: *code.unwrap(), message, retry_after: None })
    })
    .await;
    let log = LOG.get().unwrap();
    for (sql, level) in [
        ("internal", Level::ERROR),
        ("timeout", Level::WARN),
        ("quota", Level::WARN),
        ("constraint", Level::DEBUG),
        ("needs_auth", Level::DEBUG),
    ] {
        let body =
            format!(r#"{{"sql":"{sql} secret","params":["hidden",{{"bigint":"471100471100"}}]}}"#);
        let answer = world.post(&body).await;
        let number = answer.json()["error"]["request"].as_str().unwrap().to_owned();
        let text = log.0.lock().unwrap().clone();
        let line = text.lines().find(|line| line.contains("code=") && line.contains(&number));
        let line = line.unwrap();
        assert!(line.starts_with(level.as_str()) && line.contains(sql), "{line}");
        assert!(text.contains(&format!("SPAN number=\"{number}\"")), "{text}");
        let request = format!("{:?}", world.sql.asked().last().unwrap());
        assert!(!request.contains("secret") && !request.contains("hidden"), "{request}");
    }
    world.post(r#"{"sql":"hidden","secret":1}"#).await;
    world.ask(&crate::world::post(&token("hidden"), "{secret")).await;
    let text = log.0.lock().unwrap().clone();
    for never in ["secret", "hidden", "471100471100", "alice", &token("alice"), "eyJ"] {
        assert!(!text.contains(never), "{never}: {text}");
    }
}
