//! The scripts of `tests/slt`: statements, and what comes of them.
//!
//! ```text
//! as alice                 who asks, and as which role: user, unless it is given
//! ok 2                     the next statement succeeds, and changes two rows
//! INSERT …
//!
//! error constraint: …      it fails with this code, and this is part of its sentence
//! INSERT …
//!
//! rows                     it gives these rows, in this order (`sorted`: in any)
//! SELECT …
//! ----
//! 1|text|NULL
//! ```
//! `pass 60` lets a minute pass. A statement goes to the next empty line. `$1` and the rest stand behind `with`, as JSON would
//! have them.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use protocol::literal::uuid_text;
use protocol::timestamp;
use protocol::value::{ColumnType, Value};
use server_engine::{Actor, Role};
use server_query::{Answer, Param, SqlError};

use crate::world::{World, request};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_script_runs_as_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt");
    let mut scripts: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    assert!(scripts.len() >= 5, "the scripts are where they are looked for");
    let mut failures = Vec::new();
    for script in scripts {
        let name = script.file_name().unwrap().to_string_lossy().into_owned();
        failures.extend(run(&name, &std::fs::read_to_string(&script).unwrap()).await);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What was found that is not as the script says.
async fn run(name: &str, script: &str) -> Vec<String> {
    let mut failures = Vec::new();
    let world = World::new().await;
    let mut actor = actor("root admin");
    let mut lines = script.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let place = format!("{name}:{}", number + 1);
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(who) = line.strip_prefix("as ") {
            actor = self::actor(who);
            continue;
        }
        if let Some(seconds) = line.strip_prefix("pass ") {
            world.memory.pass(Duration::from_secs(seconds.parse().unwrap()));
            continue;
        }
        let mut params = Vec::new();
        let mut sql = String::new();
        let mut expected = Vec::new();
        let mut is_sql = true;
        for (_, line) in lines.by_ref().take_while(|(_, line)| !line.trim().is_empty()) {
            if line == "----" {
                is_sql = false;
            } else if !is_sql {
                expected.push(line.to_owned());
            } else if let Some(values) = line.strip_prefix("with ") {
                params = values.split(" ; ").map(param).collect();
            } else {
                writeln!(sql, "{line}").unwrap();
            }
        }
        let answer = world.sql.run(request(&actor, &sql, &params)).await;
        if let Err(found) = check(line, answer, expected) {
            failures.push(format!("{place}: {found}"));
        }
    }
    failures
}

/// Holds an answer against the line before its statement.
fn check(
    line: &str,
    answer: Result<Answer, SqlError>,
    mut expected: Vec<String>,
) -> Result<(), String> {
    let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
    let is_right = match (kind, &answer) {
        ("ok", Ok(answer)) => {
            let rows = answer.rows_affected.unwrap_or_default().to_string();
            rest.is_empty() || rest == rows
        }
        ("rows" | "sorted", Ok(answer)) => {
            let mut rows = texts(answer);
            if kind == "sorted" {
                rows.sort();
                expected.sort();
            }
            rows == expected && (rest.is_empty() || rest == columns(answer))
        }
        ("error", Err(error)) => {
            let (code, part) = rest.split_once(": ").unwrap_or((rest, ""));
            error.code.as_str() == code && error.message.contains(part)
        }
        _ => false,
    };
    if is_right {
        return Ok(());
    }
    Err(match answer {
        Ok(answer) => {
            let (columns, rows) = (columns(&answer), texts(&answer));
            format!("{:?} rows changed, {columns}: {rows:#?}", answer.rows_affected)
        }
        Err(error) => format!("{}: {error}", error.code),
    })
}

fn actor(who: &str) -> Actor {
    let (name, role) = who.split_once(' ').unwrap_or((who, "user"));
    let role = match role {
        "user" => Role::User,
        "service" => Role::Service,
        "admin" => Role::Admin,
        other => panic!("no role {other}"),
    };
    Actor { user: name.parse().unwrap(), role }
}

fn param(text: &str) -> Param {
    match text.trim() {
        "null" => Param::Null,
        "true" => Param::Boolean(true),
        "false" => Param::Boolean(false),
        text => match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
            Some(text) => Param::Text(text.to_owned()),
            None => Param::Number(text.to_owned()),
        },
    }
}

fn columns(answer: &Answer) -> String {
    let column =
        |column: &server_query::ResultColumn| format!("{} {}", column.name, column.column_type);
    answer.columns.iter().map(column).collect::<Vec<_>>().join(", ")
}

/// The rows as text, with `|` between values.
fn texts(answer: &Answer) -> Vec<String> {
    let value = |(value, column): (&Value, &server_query::ResultColumn)| match value {
        Value::Null => "NULL".to_owned(),
        Value::Boolean(value) => value.to_string(),
        Value::Integer(micros) if column.column_type == ColumnType::Timestamp => {
            timestamp::format(*micros).unwrap()
        }
        Value::Integer(number) => number.to_string(),
        Value::Double(number) => format!("{:?}", number.get()),
        Value::Text(text) => text.to_string(),
        Value::Bytes(bytes) => format!("{bytes:02x?}"),
        Value::Uuid(bytes) => uuid_text(*bytes),
    };
    let row = |row: &protocol::value::Row| {
        row.iter().zip(&answer.columns).map(value).collect::<Vec<_>>().join("|")
    };
    answer.rows.iter().map(row).collect()
}
