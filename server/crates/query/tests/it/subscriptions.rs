//! Which SQL is a subscription, what it means, and what is said about all other.

use protocol::error_code::ErrorCode;
use protocol::ids::{ColumnId, Lane};
use protocol::predicate::{CompareOp, Operand, Predicate, Truth};
use protocol::value::Value;
use server_engine::Actor;
use server_query::{Param, SqlError, Subscribed};

use crate::world::{World, admin, user};

async fn world() -> World {
    let world = World::new().await;
    for sql in [
        "CREATE NAMESPACE app",
        "CREATE USER TABLE app.notes (id BIGINT PRIMARY KEY, room INT, body TEXT, mixed TEXT, \
         at TIMESTAMP)",
        "CREATE SHARED TABLE app.open (id BIGINT PRIMARY KEY, body TEXT) \
         WITH (ACCESS_LEVEL = READ)",
        "CREATE SHARED TABLE app.secret (id BIGINT PRIMARY KEY, body TEXT)",
    ] {
        world.ok(&admin(), sql).await;
    }
    world
}

async fn ask(world: &World, actor: Actor, sql: &str) -> Result<Subscribed, SqlError> {
    world.sql.subscription(actor, sql, &[]).await
}

async fn meant(world: &World, sql: &str) -> Subscribed {
    ask(world, user("alice"), sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
}

fn room_is(number: i64) -> Predicate {
    let operand = Operand::Value(Value::Integer(number));
    Predicate::Compare { column: ColumnId(1), op: CompareOp::Equal, operand }
}

#[tokio::test]
async fn columns_and_conditions_are_found_by_every_name_they_have() {
    let world = world().await;
    let all = meant(&world, "SELECT * FROM app.notes").await;
    assert_eq!(all.lane, "user/alice".parse::<Lane>().unwrap());
    assert_eq!(all.predicate, Predicate::Constant(Truth::True));
    assert_eq!(all.columns, None);
    for (sql, columns) in [
        ("SELECT body, id FROM app.notes WHERE room = 7", Some(&[2, 0][..])),
        ("select notes.body, app.notes.id from app.notes where notes.room = 7;", Some(&[2, 0])),
        ("SELECT n.body, n.id FROM app.notes AS n WHERE 7 = n.room", Some(&[2, 0])),
        ("SELECT n.body, n.id FROM app.notes n WHERE (((room = 7)))", Some(&[2, 0])),
        ("SELECT body, id, body, BODY FROM app.notes WHERE room = 7", Some(&[2, 0])),
        ("SELECT \"mixed\" FROM app.notes WHERE room = 7", Some(&[3])),
        ("SELECT body, * FROM app.notes WHERE room = 7", None),
        ("SELECT notes.* FROM app.notes WHERE room = 7", None),
        ("SELECT app.notes.* FROM app.notes WHERE room = 7", None),
        ("SELECT n.* FROM app.notes n WHERE room = 7", None),
    ] {
        let meant = meant(&world, sql).await;
        assert_eq!(meant.predicate, room_is(7), "{sql}");
        let columns: Option<Vec<_>> =
            columns.map(|columns| columns.iter().map(|column| ColumnId(*column)).collect());
        assert_eq!(meant.columns, columns, "{sql}");
    }
}

#[tokio::test]
async fn parameters_and_the_user_are_bound() {
    let world = world().await;
    let sql = "SELECT * FROM app.notes WHERE room = $1 AND body = CURRENT_USER()";
    let params = [Param::Number("7".to_owned())];
    let bound = world.sql.subscription(user("alice"), sql, &params).await.unwrap();
    let operand = Operand::Value(Value::text("alice").unwrap());
    let body = Predicate::Compare { column: ColumnId(2), op: CompareOp::Equal, operand };
    assert_eq!(bound.predicate, Predicate::And(vec![room_is(7), body]));

    let refused = world.sql.subscription(user("alice"), sql, &[]).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidRequest, "{refused}");
    let wrong = [Param::Text("seven".to_owned())];
    let refused = world.sql.subscription(user("alice"), sql, &wrong).await.unwrap_err();
    assert!(refused.message.contains("room"), "the column is named: {refused}");
}

/// A parameter is copied each time it is used, and kept.
#[tokio::test]
async fn the_values_of_a_condition_are_bounded() {
    let world = world().await;
    let list = vec!["$1"; 1_000].join(", ");
    let likes = |count| vec!["mixed LIKE $1"; count].join(" OR ");
    for (sql, bytes, is_taken) in [
        (format!("SELECT * FROM app.notes WHERE body IN ({list})"), 65, true),
        (format!("SELECT * FROM app.notes WHERE body IN ({list})"), 66, false),
        (format!("SELECT * FROM app.notes WHERE body IN ({list})"), 1_000_000, false),
        (format!("SELECT * FROM app.notes WHERE body IN ({list}) OR {}", likes(8)), 65, true),
        (format!("SELECT * FROM app.notes WHERE body IN ({list}) OR {}", likes(9)), 65, false),
        ("SELECT * FROM app.notes WHERE body = $1".to_owned(), 65_536, true),
        ("SELECT * FROM app.notes WHERE body = $1".to_owned(), 65_537, false),
        ("SELECT * FROM app.notes WHERE body = $1 OR mixed = $1".to_owned(), 40_000, false),
        ("SELECT * FROM app.notes WHERE body BETWEEN $1 AND $1".to_owned(), 40_000, false),
    ] {
        let params = [Param::Text("x".repeat(bytes))];
        let asked = world.sql.subscription(user("alice"), &sql, &params).await;
        let code = asked.err().map(|error| error.code);
        assert_eq!(
            code,
            (!is_taken).then_some(ErrorCode::TooLarge),
            "{bytes} in {}",
            &sql[..60.min(sql.len())]
        );
    }
}

#[tokio::test]
async fn what_a_subscription_cannot_say_is_refused_by_its_name() {
    let world = world().await;
    for (sql, named) in [
        ("SELECT DISTINCT body FROM app.notes", "DISTINCT"),
        ("SELECT room, count(*) FROM app.notes GROUP BY room", "GROUP BY"),
        ("SELECT * FROM app.notes GROUP BY ALL", "GROUP BY"),
        ("SELECT id FROM app.notes HAVING id > 1", "HAVING"),
        ("SELECT * FROM app.notes ORDER BY id", "ORDER BY"),
        ("SELECT * FROM app.notes LIMIT 5", "LIMIT"),
        ("SELECT * FROM app.notes OFFSET 5", "OFFSET"),
        ("SELECT * FROM app.notes FETCH FIRST 5 ROWS ONLY", "FETCH"),
        ("WITH x AS (SELECT 1) SELECT * FROM app.notes", "WITH"),
        ("SELECT * FROM app.notes UNION SELECT * FROM app.notes", "UNION"),
        ("SELECT * FROM app.notes, app.open", "join"),
        ("SELECT * FROM app.notes JOIN app.open USING (id)", "join"),
        ("SELECT * FROM (SELECT * FROM app.notes) n", "FROM"),
        ("(SELECT * FROM app.notes)", "brackets"),
        ("SELECT * FROM app.notes AS n (a, b)", "alias"),
        ("SELECT * FROM app.notes TABLESAMPLE (5)", "behind the table"),
        ("VALUES (1)", "VALUES"),
        ("SELECT id + 1 FROM app.notes", "id + 1"),
        ("SELECT upper(body) FROM app.notes", "upper(body)"),
        ("SELECT body AS b FROM app.notes", "AS"),
        ("SELECT 1 FROM app.notes", "1"),
        ("SELECT 1", "namespace.table"),
        ("SELECT * FROM app.notes WHERE length(body) > 3", "length(body)"),
        ("SELECT * FROM app.notes WHERE room + 1 = 2", "room + 1"),
        ("SELECT * FROM app.notes WHERE id IN (SELECT id FROM app.open)", "SELECT id FROM"),
        ("SELECT * FROM app.notes WHERE EXISTS (SELECT 1 FROM app.open)", "EXISTS"),
        ("SELECT * FROM app.notes WHERE body ILIKE 'a%'", "ILIKE"),
        ("SELECT * FROM app.notes WHERE at > NOW()", "NOW()"),
        ("SELECT * FROM app.notes WHERE id = SNOWFLAKE_ID()", "SNOWFLAKE_ID()"),
        ("SELECT * FROM system.tables", "system.tables"),
        ("DELETE FROM app.notes", "SELECT"),
        ("CREATE NAMESPACE x", "SELECT"),
    ] {
        let refused = ask(&world, user("alice"), sql).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Unsupported, "{sql}: {refused}");
        assert!(refused.message.contains(named), "{sql}: {refused}");
    }
}

#[tokio::test]
async fn what_is_not_there_and_what_may_not_be_read_are_the_same() {
    let world = world().await;
    let told = |error: SqlError, name: &str| error.message.replace(name, "X");
    let secret = ask(&world, user("alice"), "SELECT * FROM app.secret").await.unwrap_err();
    let absent = ask(&world, user("alice"), "SELECT * FROM app.absent").await.unwrap_err();
    assert_eq!(secret.code, ErrorCode::NotFound);
    assert_eq!(
        (secret.code, told(secret, "app.secret")),
        (absent.code, told(absent, "app.absent"))
    );
    let service = Actor { role: server_engine::Role::Service, ..user("worker") };
    assert!(ask(&world, service, "SELECT * FROM app.secret").await.is_ok());
    let column = ask(&world, user("alice"), "SELECT nope FROM app.notes").await.unwrap_err();
    assert_eq!(column.code, ErrorCode::NotFound);
    assert!(column.message.contains("nope"), "{column}");
}

#[tokio::test]
async fn a_service_subscribes_as_a_user_and_nobody_else_does() {
    let world = world().await;
    let sql = "EXECUTE AS USER 'bob' (SELECT * FROM app.notes)";
    let service = Actor { role: server_engine::Role::Service, ..user("worker") };
    let meant = ask(&world, service, sql).await.unwrap();
    assert_eq!(meant.lane, "user/bob".parse::<Lane>().unwrap());
    let refused = ask(&world, user("alice"), sql).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Forbidden);
}
