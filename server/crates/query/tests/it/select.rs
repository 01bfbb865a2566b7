//! What a SELECT costs, sees at once, and leaves behind.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use protocol::error_code::ErrorCode;
use protocol::value::{Row, Value};
use server_engine::Actor;
use server_query::{Answer, Param, Settings, SqlError};
use tokio::time::Instant;

use crate::world::{World, admin, request, user};

async fn world(settings: &Settings) -> World {
    let world = World::with(settings).await;
    world.ok(&admin(), "CREATE NAMESPACE app").await;
    world
        .ok(
            &admin(),
            "CREATE USER TABLE app.notes (id BIGINT PRIMARY KEY, room INT, body TEXT, INDEX (room))",
        )
        .await;
    world
}

/// Rows 0 to `rows` of alice, each tenth one in a room.
async fn fill(world: &World, rows: usize) {
    for start in (0..rows).step_by(5_000) {
        let values: Vec<_> = (start..rows.min(start + 5_000))
            .map(|id| format!("({id}, {}, 'note {id}')", id / 10))
            .collect();
        let sql = format!("INSERT INTO app.notes VALUES {}", values.join(", "));
        world.ok(&user("alice"), &sql).await;
    }
    world.memory.take_keys_read();
}

fn integers(answer: &Answer) -> Vec<i64> {
    let first = |row: &Row| match &row[0] {
        Value::Integer(number) => *number,
        other => panic!("{other:?}"),
    };
    answer.rows.iter().map(first).collect()
}

/// Waits until nothing but the test holds the shards.
async fn until_nobody_reads(world: &World) {
    for _ in 0..1_000 {
        if world.memory.reading.load(Ordering::SeqCst) == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("a thread still reads");
}

#[test]
fn a_query_reads_no_more_than_it_needs() {
    seeds::for_each("select-reads", 1, |seed| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(reads_no_more(if seed == 0 { 100_000 } else { 1_000_000 }));
    });
}

async fn reads_no_more(rows_there: usize) {
    let world = world(&Settings::default()).await;
    fill(&world, rows_there).await;
    let alice = user("alice");
    for (sql, rows, keys_max) in [
        // Three of the keys say where the lane lies.
        ("SELECT * FROM app.notes WHERE id = 77777", 1, 5),
        ("SELECT body FROM app.notes WHERE 5 = id AND body LIKE 'note%'", 1, 5),
        ("SELECT id FROM app.notes WHERE id = 5 AND room = 7", 0, 5),
        ("SELECT id FROM app.notes WHERE id IN (1, 2, 3, 2000000)", 3, 24),
        ("SELECT n.id FROM (SELECT id, body FROM app.notes) n WHERE n.id = 5", 1, 5),
        ("SELECT id FROM app.notes WHERE room = 77", 10, 30),
        ("SELECT id FROM app.notes WHERE room IN (77, 78) AND body LIKE '%1'", 2, 50),
        ("SELECT id FROM app.notes LIMIT 10", 10, 20),
        ("SELECT id FROM app.notes WHERE body LIKE '%9' LIMIT 10", 10, 200),
        ("SELECT id + 1 FROM app.notes WHERE id + 1 > 5 LIMIT 10", 10, 100),
        ("SELECT 1 FROM app.notes WHERE FALSE", 0, 0),
    ] {
        let answer = world.ok(&alice, sql).await;
        let keys = world.memory.take_keys_read();
        assert_eq!(answer.rows.len(), rows, "{sql}");
        assert!(keys <= keys_max, "{sql}: {keys} keys");
    }
    let answer = world.ok(&alice, "SELECT count(*) FROM app.notes WHERE body LIKE '%7'").await;
    assert_eq!(integers(&answer), [i64::try_from(rows_there / 10).unwrap()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_sees_a_lane_at_one_moment() {
    let world = Arc::new(world(&Settings::default()).await);
    let alice = user("alice");
    world.ok(&alice, "INSERT INTO app.notes VALUES (1, 0, 'a'), (2, 0, 'b')").await;
    let writer = {
        let (world, alice) = (Arc::clone(&world), alice.clone());
        tokio::spawn(async move {
            for room in 1..200 {
                world.ok(&alice, &format!("UPDATE app.notes SET room = {room}")).await;
            }
        })
    };
    let mut seen = 0;
    while !writer.is_finished() || seen == 0 {
        let sql = "SELECT count(*) FROM app.notes a, app.notes b WHERE a.room <> b.room";
        assert_eq!(integers(&world.ok(&alice, sql).await), [0]);
        seen += 1;
    }
    writer.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_takes_too_long_ends_and_leaves_no_thread() {
    let world = world(&Settings { memory_bytes_max: 1 << 30, ..Settings::default() }).await;
    fill(&world, 5_000).await;
    let alice = user("alice");
    let sql = "SELECT count(*) FROM app.notes a, app.notes b, app.notes c \
               WHERE a.id + b.id + c.id = 3";
    let mut late = request(&alice, sql, &[]);
    late.deadline = Instant::now() + Duration::from_millis(300);
    assert_eq!(world.sql.run(late).await.unwrap_err().code, ErrorCode::Timeout);
    until_nobody_reads(&world).await;

    let given_up = world.sql.run(request(&alice, sql, &[]));
    assert!(tokio::time::timeout(Duration::from_millis(300), given_up).await.is_err());
    until_nobody_reads(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_and_the_memory_for_it_are_bounded() {
    let settings = Settings {
        answer_rows_max: 1_000,
        answer_bytes_max: 20_000,
        memory_bytes_max: 100_000,
        ..Settings::default()
    };
    let world = world(&settings).await;
    fill(&world, 5_000).await;
    let failed =
        async |sql: &str| -> SqlError { world.run(&user("alice"), sql).await.unwrap_err() };
    let error = failed("SELECT id FROM app.notes").await;
    assert_eq!(error.code, ErrorCode::TooLarge, "{error}");
    assert!(error.message.contains("LIMIT"), "{error}");
    let error = failed("SELECT id, body, body, body FROM app.notes LIMIT 900").await;
    assert_eq!(error.code, ErrorCode::InvalidRequest, "{error}");
    let error = failed("SELECT id, body, body AS b, body AS c FROM app.notes LIMIT 900").await;
    assert_eq!(error.code, ErrorCode::TooLarge, "{error}");
    let error = failed("SELECT body, count(*) FROM app.notes GROUP BY body").await;
    assert_eq!(error.code, ErrorCode::Quota, "{error}");
    world.ok(&user("alice"), "SELECT id FROM app.notes LIMIT 1000").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_queries_than_may_run_wait_or_are_turned_away() {
    let world = Arc::new(world(&Settings { selects_max: 1, ..Settings::default() }).await);
    fill(&world, 3_000).await;
    let queries: Vec<_> = (0..30)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                let sql = "SELECT count(*) FROM app.notes a, app.notes b WHERE a.id + b.id = 9";
                world.run(&user("alice"), sql).await
            })
        })
        .collect();
    let (mut answered, mut refused) = (0, 0);
    for query in queries {
        match query.await.unwrap() {
            Ok(_) => answered += 1,
            Err(error) => {
                assert_eq!(error.code, ErrorCode::Overloaded);
                assert!(error.retry_after.is_some());
                refused += 1;
            }
        }
    }
    assert!(answered >= 9, "{answered} ran");
    assert!(refused > 0, "none was turned away");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_its_shard_hears_of_later_is_waited_for() {
    let world = Arc::new(world(&Settings::default()).await);
    world.memory.hold_catalog_of_readers(true);
    world.ok(&admin(), "CREATE USER TABLE app.late (id INT PRIMARY KEY)").await;
    let query = {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.run(&user("alice"), "SELECT id FROM app.late").await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!query.is_finished());
    world.memory.hold_catalog_of_readers(false);
    assert_eq!(query.await.unwrap().unwrap().rows.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_keep_their_text_and_columns_their_names() {
    let world = world(&Settings::default()).await;
    let alice = user("alice");
    let run = async |sql: &str, params: &[Param]| world.sql.run(request(&alice, sql, params)).await;
    let bytes = Param::Bytes(vec![0, 255]);
    let number = |text: &str| Param::Number(text.to_owned());
    let answer = run("SELECT $1, $2 AS b, 1 + 1", &[bytes, number("-9223372036854775808")]).await;
    let answer = answer.unwrap();
    assert_eq!(answer.rows[0][0], Value::Bytes(vec![0, 255]));
    assert_eq!(answer.rows[0][1], Value::Integer(i64::MIN));
    let names: Vec<_> = answer.columns.iter().map(|column| &*column.name).collect();
    assert_eq!(names, ["$1", "b", "1 + 1"]);
    for (sql, params) in [
        ("SELECT $2", vec![Param::Null]),
        ("SELECT 1", vec![Param::Null]),
        ("SELECT $1", vec![number("9223372036854775808")]),
        ("SELECT $1", vec![number("1e999")]),
    ] {
        let error = run(sql, &params).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidRequest, "{sql}: {error}");
    }
    let text = Param::Text("a\0b".to_owned());
    let error = run("SELECT $1", &[text]).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Constraint, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_may_be_computed_of_the_row() {
    let world = world(&Settings::default()).await;
    let alice: Actor = user("alice");
    world.ok(&alice, "INSERT INTO app.notes VALUES (1, 2, 'a'), (2, 2147483647, 'b')").await;
    world.ok(&alice, "UPDATE app.notes SET room = room * 2 + id WHERE id % 2 = 1").await;
    world.ok(&alice, "UPDATE app.notes SET body = upper(body) || '!' WHERE length(body) = 1").await;
    let rows = world.ok(&alice, "SELECT room, body FROM app.notes WHERE id = 1").await.rows;
    assert_eq!(rows[0].0, [Value::Integer(5), Value::text("A!").unwrap()]);
    for (sql, code) in [
        ("UPDATE app.notes SET room = room * 2 WHERE id = 2", ErrorCode::Constraint),
        ("UPDATE app.notes SET room = room / (id - 2) WHERE id = 2", ErrorCode::Constraint),
        ("UPDATE app.notes SET room = length(body) || 'x'", ErrorCode::InvalidRequest),
        ("UPDATE app.notes SET room = nothing + 1", ErrorCode::NotFound),
        ("UPDATE app.notes SET room = count(*) + 1", ErrorCode::Unsupported),
        ("UPDATE app.notes SET room = abs((SELECT 1))", ErrorCode::Unsupported),
        ("DELETE FROM app.notes WHERE room + 1 = 'x'", ErrorCode::InvalidRequest),
        ("DELETE FROM app.notes WHERE id IN (SELECT id FROM app.notes)", ErrorCode::Unsupported),
    ] {
        let error = world.run(&alice, sql).await.unwrap_err();
        assert_eq!(error.code, code, "{sql}: {error}");
    }
}
