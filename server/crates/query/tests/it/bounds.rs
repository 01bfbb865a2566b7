//! Statements that are too much of something: a clear answer each, and nothing else happens.

use protocol::error_code::ErrorCode;
use server_query::{Answer, Param, Settings, SqlError};

use crate::world::{World, admin, request, user};

/// A runtime as the server has it.
fn on_server_threads(test: impl Future<Output = ()> + Send + 'static) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime =
        runtime.worker_threads(2).thread_stack_size(server_query::STACK_BYTES).enable_all();
    let runtime = runtime.build().unwrap();
    // This thread is not one of them.
    runtime.block_on(runtime.spawn(test)).unwrap();
}

async fn world() -> World {
    with(&Settings::default()).await
}

async fn with(settings: &Settings) -> World {
    let world = World::with(settings).await;
    world.ok(&admin(), "CREATE NAMESPACE app").await;
    let table = "CREATE USER TABLE app.t (id INT PRIMARY KEY, a INT, b TEXT, c BOOLEAN)";
    world.ok(&admin(), table).await;
    world.ok(&user("ann"), "INSERT INTO app.t VALUES (1, 1, 'x', TRUE)").await;
    world
}

async fn run(world: &World, sql: &str) -> Result<Answer, SqlError> {
    // On a thread of the runtime, as the server does.
    let request = request(&user("ann"), sql, &[]);
    world.sql.run(request).await
}

fn repeat(part: &str, times: usize, between: &str) -> String {
    vec![part; times].join(between)
}

#[test]
fn what_is_too_deep_or_too_long_is_refused_whatever_it_is_made_of() {
    on_server_threads(async {
        let world = world().await;
        for size in [20, 100, 3_000, 30_000] {
            let nested = |open: &str, close: &str| {
                format!("{}1{}", repeat(open, size, ""), repeat(close, size, ""))
            };
            let statements = [
                format!("SELECT {}", nested("(", ")")),
                format!("SELECT {}", nested("abs(", ")")),
                format!("SELECT {}", nested("coalesce(1, ", ")")),
                format!("SELECT * FROM {}", nested("(app.t JOIN ", ")")),
                format!("SELECT * FROM {}app.t{}", repeat("(", size, ""), repeat(")", size, "")),
                format!("SELECT {}", repeat("1", size, ", ")),
                format!("SELECT {}", repeat("1", size, " + ")),
                format!("SELECT {}", repeat("1", size, "||")),
                format!("SELECT {} TRUE", repeat("NOT", size, " ")),
                format!("SELECT {}1", repeat("-", size, " ")),
                format!("SELECT 1{}", repeat(" IS NULL", size, "")),
                format!("SELECT 1{}", repeat("::INT", size, "")),
                format!("SELECT {}", nested("CASE WHEN TRUE THEN ", " END")),
                format!("SELECT {}", nested("(SELECT ", ")")),
                repeat("SELECT 1", size, " UNION "),
                repeat("SELECT 1, 2", size, " UNION ALL "),
                format!("SELECT * FROM {}", repeat("app.t", size, " JOIN ")),
                format!("SELECT 1 FROM {}", repeat("app.t", size, ", ")),
                format!("SELECT 1 FROM app.t WHERE {}", repeat("a = 1", size, " OR ")),
                format!("SELECT 1 FROM app.t WHERE {}", repeat("b LIKE '%x%'", size, " AND ")),
                format!("UPDATE app.t SET a = {}", repeat("a", size, " + ")),
                format!("DELETE FROM app.t WHERE {}", repeat("c", size, " AND ")),
                format!("DELETE FROM app.t WHERE {} c", repeat("NOT", size, " ")),
                format!("INSERT INTO app.t (id) VALUES ({})", nested("(", ")")),
                format!("SELECT '{}", repeat("''", size, "")),
                format!("SELECT {}", repeat("[", size, "")),
                format!("SELECT {}", repeat("/*", size, "")),
                format!("WITH {} SELECT 1", repeat("x AS (SELECT 1)", size, ", ")),
                format!("CREATE TABLE app.x (id INT DEFAULT {})", nested("(", ")")),
                format!("EXECUTE AS USER 'x' {}", repeat("(", size, "")),
            ];
            for sql in statements {
                let start: String = sql.chars().take(60).collect();
                match run(&world, &sql).await {
                    Ok(_) => assert!(size <= 100, "{start}"),
                    Err(error) => assert!(
                        matches!(
                            error.code,
                            ErrorCode::TooLarge
                                | ErrorCode::InvalidRequest
                                | ErrorCode::Unsupported
                                | ErrorCode::Forbidden
                                | ErrorCode::Constraint
                        ),
                        "{start}: {error:?}"
                    ),
                }
            }
        }
        let rows = world.ok(&user("ann"), "SELECT a FROM app.t").await.rows;
        assert_eq!(rows.len(), 1, "nothing was changed");
    });
}

#[test]
fn definitions_of_definitions_do_not_grow_without_a_bound() {
    on_server_threads(async {
        let world = world().await;
        let mut with = "WITH d0 AS (SELECT * FROM app.t)".to_owned();
        for level in 1..40 {
            let below = level - 1;
            with.push_str(&format!(", d{level} AS (SELECT x.* FROM d{below} x, d{below} y)"));
        }
        let refused = run(&world, &format!("{with} SELECT count(*) FROM d39")).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::TooLarge);
        let few = "WITH a AS (SELECT id FROM app.t), b AS (SELECT x.id FROM a x, a y)
                   SELECT count(*) FROM b, b AS c";
        assert_eq!(run(&world, few).await.unwrap().rows.len(), 1);
    });
}

#[test]
fn lists_may_be_long_where_they_are_flat() {
    on_server_threads(async {
        let world = world().await;
        let rows: Vec<String> = (10..5_010).map(|id| format!("({id}, -1)")).collect();
        let insert = format!("INSERT INTO app.t (id, a) VALUES {}", rows.join(", "));
        assert_eq!(run(&world, &insert).await.unwrap().rows_affected, Some(5_000));
        let ids: Vec<String> = (0..1_000).map(|id| id.to_string()).collect();
        let select = format!("SELECT count(*) FROM app.t WHERE id IN ({})", ids.join(", "));
        assert_eq!(run(&world, &select).await.unwrap().rows.len(), 1);
        let rows: Vec<String> = (0..10_001).map(|id| format!("({id})")).collect();
        let insert = format!("INSERT INTO app.t (id) VALUES {}", rows.join(", "));
        assert_eq!(run(&world, &insert).await.unwrap_err().code, ErrorCode::TooLarge);
        let long = format!("SELECT '{}'", "x".repeat(300_000));
        assert_eq!(run(&world, &long).await.unwrap_err().code, ErrorCode::TooLarge);
        // As a parameter it may be.
        let text = Param::Text("x".repeat(300_000));
        let insert = request(&user("ann"), "INSERT INTO app.t (id, b) VALUES (0, $1)", &[text]);
        assert_eq!(world.sql.run(insert).await.unwrap().rows_affected, Some(1));
        let text = Param::Text("x".repeat(600_000));
        let insert = request(&user("ann"), "INSERT INTO app.t (id, b) VALUES (2, $1)", &[text]);
        assert_eq!(world.sql.run(insert).await.unwrap_err().code, ErrorCode::TooLarge);
    });
}

#[test]
fn more_rows_than_one_statement_changes_are_refused_before_anything_happens() {
    on_server_threads(async {
        let world = world().await;
        for start in [1_000, 6_000] {
            let rows: Vec<String> = (start..start + 5_000).map(|id| format!("({id})")).collect();
            let insert = format!("INSERT INTO app.t (id) VALUES {}", rows.join(", "));
            run(&world, &insert).await.unwrap();
        }
        for sql in ["UPDATE app.t SET a = 7", "DELETE FROM app.t"] {
            assert_eq!(run(&world, sql).await.unwrap_err().code, ErrorCode::TooLarge, "{sql}");
        }
        let update = "UPDATE app.t SET a = 7 WHERE id < 6000";
        assert_eq!(run(&world, update).await.unwrap().rows_affected, Some(5_001));
    });
}

#[test]
fn subqueries_in_subqueries_are_bounded_wherever_they_come_from() {
    on_server_threads(async {
        let world = world().await;
        let nested = |depth: usize| {
            let (open, close) = (repeat("(SELECT max(a) + ", depth, ""), ") ".repeat(depth));
            format!("{open}1{}", close.replace(')', "FROM app.t)"))
        };
        run(&world, &format!("SELECT {}", nested(8))).await.unwrap();
        let within = |what: &str| format!("SELECT a FROM app.t WHERE a IN {what}");
        let exists = repeat("(SELECT a FROM app.t WHERE EXISTS ", 8, "");
        let mut with = "WITH d0 AS (SELECT a FROM app.t)".to_owned();
        for number in 1..10 {
            let before = number - 1;
            with += &format!(", d{number} AS (SELECT (SELECT max(a) FROM d{before}) AS a)");
        }
        for sql in [
            format!("SELECT {}", nested(9)),
            format!("SELECT {}", nested(30)),
            within(&format!("(SELECT {})", nested(8))),
            format!("SELECT 1 FROM app.t WHERE EXISTS {exists}(SELECT 1){}", ")".repeat(8)),
            format!("{with} SELECT * FROM d9"),
        ] {
            let refused = run(&world, &sql).await.unwrap_err();
            assert_eq!(refused.code, ErrorCode::TooLarge, "{sql}: {refused:?}");
        }
    });
}

#[test]
fn what_a_query_makes_of_few_rows_is_bounded() {
    on_server_threads(async {
        let settings = Settings { joined_rows_max: 1_100_000, ..Settings::default() };
        let world = with(&settings).await;
        let rows: Vec<String> = (2..1_001).map(|id| format!("({id}, 1, NULL, NULL)")).collect();
        world.ok(&user("ann"), &format!("INSERT INTO app.t VALUES {}", rows.join(", "))).await;
        for sql in [
            "SELECT count(*) FROM app.t x, app.t y, app.t z",
            "SELECT sum(x.a + z.a) FROM app.t x JOIN app.t y ON x.a = y.a JOIN app.t z ON y.a = z.a",
        ] {
            let refused = run(&world, sql).await.unwrap_err();
            assert_eq!(refused.code, ErrorCode::TooLarge, "{sql}: {refused:?}");
        }
        // Conditions that nothing meets.
        for condition in ["x.id + y.id + z.id < 0", "x.a = y.a AND y.a = z.a AND x.id + z.id < 0"] {
            let sql = format!("SELECT count(*) FROM app.t x, app.t y, app.t z WHERE {condition}");
            let mut late = request(&user("ann"), &sql, &[]);
            late.deadline = tokio::time::Instant::now() + std::time::Duration::from_millis(300);
            let late = world.sql.run(late).await.unwrap_err();
            assert_eq!(late.code, ErrorCode::Timeout, "{sql}: {late:?}");
        }
        let long = format!("CAST(x.id AS TEXT) || CAST(y.id AS TEXT) || '{}'", "z".repeat(40));
        for (sql, expected) in [
            ("SELECT count(*) FROM app.t x, app.t y".to_owned(), 1_000_000),
            // Forty megabytes of text, and never much of it at once.
            (format!("SELECT max(length({long})) FROM app.t x JOIN app.t y ON x.a = y.a"), 48),
            (format!("SELECT count(*) FROM app.t x, app.t y WHERE {long} LIKE '11_z%'"), 20),
        ] {
            let fine = run(&world, &sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
            assert_eq!(fine.rows[0][0], protocol::value::Value::Integer(expected), "{sql}");
        }
    });
}

#[test]
fn what_expressions_put_together_is_bounded_for_all_of_them() {
    on_server_threads(async {
        let world = world().await;
        let b = Param::Text("b".repeat(80_000));
        let fill = "UPDATE app.t SET b = $1 WHERE id = 1";
        world.sql.run(request(&user("ann"), fill, &[b])).await.unwrap();
        // Each of them is fine: 0.8 megabytes.
        let one = |number: usize| format!("length(concat('{number}', {}))", repeat("b", 10, ", "));
        let few: Vec<String> = (0..5).map(one).collect();
        run(&world, &format!("SELECT {} FROM app.t", few.join(", "))).await.unwrap();
        let many: Vec<String> = (0..25).map(one).collect();
        let long = format!("length(concat({}))", repeat("b", 14, ", "));
        for sql in [
            format!("SELECT {} FROM app.t", many.join(", ")),
            format!("UPDATE app.t SET a = {} WHERE id = 1", many.join(" + ")),
            format!("SELECT {long} FROM app.t"),
        ] {
            let refused = run(&world, &sql).await.unwrap_err();
            assert_eq!(refused.code, ErrorCode::TooLarge, "{refused:?}");
        }
    });
}
