//! Writing under fire: others write in between, answers are lost, shards are behind.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use protocol::error_code::ErrorCode;
use protocol::ids::RequestId;
use protocol::value::Value;
use server_query::{Param, ShardError};
use tokio::task::JoinSet;

use crate::world::{World, admin, request, user};

async fn counters() -> Arc<World> {
    let world = World::new().await;
    world.ok(&admin(), "CREATE NAMESPACE app").await;
    let table = "CREATE USER TABLE app.counters (id INT PRIMARY KEY, n BIGINT NOT NULL DEFAULT 0,
                 added BIGINT NOT NULL DEFAULT 0 MERGE ADD, note TEXT)";
    world.ok(&admin(), table).await;
    world.ok(&user("ann"), "INSERT INTO app.counters (id) VALUES (1), (2)").await;
    Arc::new(world)
}

async fn number(world: &World, sql: &str) -> i64 {
    let answer = world.ok(&user("ann"), sql).await;
    match answer.rows[0][0] {
        Value::Integer(number) => number,
        ref other => panic!("{other:?}"),
    }
}

/// Runs a statement so many times, by so many at once.
async fn many(world: &Arc<World>, sql: &'static str, writers: usize, times: usize) {
    let mut tasks = JoinSet::new();
    for _ in 0..writers {
        let world = Arc::clone(world);
        tasks.spawn(async move {
            for _ in 0..times {
                let answer = world.ok(&user("ann"), sql).await;
                assert_eq!(answer.rows_affected, Some(1));
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_updates_of_one_row_lose_none_and_starve_nobody() {
    let world = counters().await;
    many(&world, "UPDATE app.counters SET n = n + 1 WHERE id = 1", 16, 20).await;
    assert_eq!(number(&world, "SELECT n FROM app.counters WHERE id = 1").await, 320);
    // By another path to the row, and with an expression of its own.
    many(&world, "UPDATE app.counters SET n = (n * 2 - n) + 1 WHERE n >= 320", 8, 10).await;
    assert_eq!(number(&world, "SELECT n FROM app.counters WHERE id = 1").await, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_depend_on_the_row_is_never_planned_twice() {
    let world = counters().await;
    let before = world.memory.proposed.load(Ordering::SeqCst);
    many(&world, "UPDATE app.counters SET added = added + 1, note = 'x' WHERE id = 1", 8, 20).await;
    assert_eq!(world.memory.proposed.load(Ordering::SeqCst) - before, 160);
    assert_eq!(number(&world, "SELECT added FROM app.counters WHERE id = 1").await, 160);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_upserts_of_one_key_count_each() {
    let world = counters().await;
    let sql = "INSERT INTO app.counters (id, n) VALUES (9, 1)
               ON CONFLICT (id) DO UPDATE SET n = counters.n + EXCLUDED.n";
    many(&world, sql, 8, 10).await;
    assert_eq!(number(&world, "SELECT n FROM app.counters WHERE id = 9").await, 80);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_goes_in_between_is_not_changed_nor_counted() {
    let world = counters().await;
    let memory = Arc::clone(&world.memory);
    let deleted = {
        // The delete is a command of somebody else, decided right before the update.
        let plan = "DELETE FROM app.counters WHERE id = 1";
        let (tx, rx) = std::sync::mpsc::channel();
        *memory.before.lock().unwrap() = Some(Box::new(move |command| {
            tx.send(command.clone()).unwrap();
            Err(ShardError::Expired)
        }));
        world.run(&user("ann"), plan).await.unwrap_err();
        *memory.before.lock().unwrap() = None;
        rx.try_iter().next().unwrap()
    };
    for (sql, rows) in [
        ("UPDATE app.counters SET note = 'x' WHERE id = 1", 0),
        ("UPDATE app.counters SET n = n + 1 WHERE id IN (1, 2)", 1),
    ] {
        world.run(&user("ann"), "INSERT INTO app.counters (id) VALUES (1)").await.ok();
        let (memory, deleted) = (Arc::clone(&world.memory), deleted.clone());
        let mut first = true;
        *world.memory.before.lock().unwrap() = Some(Box::new(move |_| {
            if std::mem::take(&mut first) {
                memory.apply(deleted.clone());
            }
            Ok(())
        }));
        let answer = world.ok(&user("ann"), sql).await;
        *world.memory.before.lock().unwrap() = None;
        assert_eq!(answer.rows_affected, Some(rows), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_asked_again_has_the_first_answer_and_one_effect() {
    let world = counters().await;
    let ask = |number: u8, sql: &str| {
        let mut request = request(&user("ann"), sql, &[]);
        request.id = Some(RequestId::from_bytes([number; 16]));
        world.sql.run(request)
    };
    let insert = "INSERT INTO app.counters (id) VALUES (7)";
    let first = ask(1, insert).await.unwrap();
    assert_eq!(ask(1, insert).await.unwrap(), first);
    let update = "UPDATE app.counters SET n = n + 1 WHERE id = 7";
    let first = ask(2, update).await.unwrap();
    assert_eq!((first.rows_affected, ask(2, update).await.unwrap()), (Some(1), first.clone()));
    assert_eq!(number(&world, "SELECT n FROM app.counters WHERE id = 7").await, 1);
    // Nothing was there the first time, and nothing is changed the second.
    let none = "UPDATE app.counters SET n = 5 WHERE id = 8";
    assert_eq!(ask(3, none).await.unwrap().rows_affected, Some(0));
    world.ok(&user("ann"), "INSERT INTO app.counters (id) VALUES (8)").await;
    assert_eq!(ask(3, none).await.unwrap().rows_affected, Some(0));
    assert_eq!(number(&world, "SELECT n FROM app.counters WHERE id = 8").await, 0);
    // What failed stays failed.
    let fails = "INSERT INTO app.counters (id) VALUES (7)";
    assert_eq!(ask(4, fails).await.unwrap_err().code, ErrorCode::Constraint);
    world.ok(&user("ann"), "DELETE FROM app.counters WHERE id = 7").await;
    assert_eq!(ask(4, fails).await.unwrap_err().code, ErrorCode::Constraint);
    assert_eq!(ask(4, insert).await.unwrap_err().code, ErrorCode::Constraint, "the same statement");
    assert_eq!(ask(4, update).await.unwrap_err().code, ErrorCode::Conflict, "another one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_written_statement_that_could_not_be_planned_again_is_not_reported_as_failed() {
    let world = counters().await;
    let ask = || {
        let sql = "UPDATE app.counters SET n = n + 9223372036854775807 WHERE id = 1";
        let mut request = request(&user("ann"), sql, &[]);
        request.id = Some(RequestId::from_bytes([1; 16]));
        world.sql.run(request)
    };
    let first = ask().await.unwrap();
    assert_eq!(ask().await.unwrap(), first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_has_its_first_answer_though_its_table_is_gone_by_then() {
    let world = counters().await;
    world.ok(&admin(), "CREATE SHARED TABLE app.board (id INT PRIMARY KEY, n INT)").await;
    let ask = |number: u8, sql: &str| {
        let mut request = request(&admin(), sql, &[]);
        request.id = Some(RequestId::from_bytes([number; 16]));
        world.sql.run(request)
    };
    let statements = [
        "INSERT INTO app.counters (id) VALUES (1)",
        "UPDATE app.counters AS c SET n = c.n + 1 WHERE c.id = 1",
        "INSERT INTO app.board VALUES (1, 1) ON CONFLICT (id) DO NOTHING",
        "DELETE FROM app.board WHERE n = 1",
    ];
    let mut first = Vec::new();
    for (number, sql) in (1..).zip(statements) {
        first.push(ask(number, sql).await.unwrap());
    }
    world.ok(&admin(), "DROP TABLE app.counters").await;
    world.ok(&admin(), "DROP TABLE app.board").await;
    for ((number, sql), first) in (1..).zip(statements).zip(first) {
        assert_eq!(ask(number, sql).await.unwrap(), first, "{sql}");
        assert_eq!(ask(number + 100, sql).await.unwrap_err().code, ErrorCode::NotFound, "{sql}");
    }
    let other = "INSERT INTO app.counters (id) VALUES (2)";
    assert_eq!(ask(1, other).await.unwrap_err().code, ErrorCode::NotFound, "another statement");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_failure_is_told_before_the_first_try_is_decided() {
    let world = counters().await;
    world.ok(&user("ann"), "UPDATE app.counters SET n = 2 WHERE id <= 2").await;
    let sql = "UPDATE app.counters SET added = added + 1 WHERE 10 / n = 5";
    let ask = || {
        let mut request = request(&user("ann"), sql, &[]);
        request.id = Some(RequestId::from_bytes([1; 16]));
        world.sql.run(request)
    };
    // The first try is in the log, and no answer comes.
    let (log, logged) = std::sync::mpsc::channel();
    *world.memory.before.lock().unwrap() = Some(Box::new(move |command| {
        log.send(command.clone()).unwrap();
        Err(ShardError::Unknown)
    }));
    assert_eq!(ask().await.unwrap_err().code, ErrorCode::Timeout);
    // By now it could not be planned again.
    *world.memory.before.lock().unwrap() = None;
    world.ok(&user("ann"), "INSERT INTO app.counters (id, n) VALUES (3, 0)").await;
    assert_eq!(world.run(&user("ann"), sql).await.unwrap_err().code, ErrorCode::Constraint);
    // It is decided before whatever is proposed from now on.
    let memory = Arc::clone(&world.memory);
    *world.memory.before.lock().unwrap() = Some(Box::new(move |_| {
        for command in logged.try_iter() {
            memory.apply(command);
        }
        Ok(())
    }));
    assert_eq!(ask().await.unwrap().rows_affected, Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_asks_again_waits_for_the_first_try_that_still_runs() {
    let world = counters().await;
    world.ok(&user("ann"), "UPDATE app.counters SET n = 2 WHERE id <= 2").await;
    let ask = |world: &Arc<World>| {
        let sql = "UPDATE app.counters SET added = added + 1 WHERE 10 / n = 5";
        let mut request = request(&user("ann"), sql, &[]);
        request.id = Some(RequestId::from_bytes([1; 16]));
        let world = Arc::clone(world);
        tokio::spawn(async move { world.sql.run(request).await })
    };
    // The first try is planned, and does not get on.
    let (begun, begins) = std::sync::mpsc::channel();
    let (go, goes) = std::sync::mpsc::channel();
    let mut is_first = true;
    *world.memory.before.lock().unwrap() = Some(Box::new(move |_| {
        if std::mem::take(&mut is_first) {
            begun.send(()).unwrap();
            goes.recv().unwrap();
        }
        Ok(())
    }));
    let first = ask(&world);
    tokio::task::spawn_blocking(move || begins.recv().unwrap()).await.unwrap();
    // Now it could not be planned again.
    world.ok(&user("ann"), "INSERT INTO app.counters (id, n) VALUES (3, 0)").await;
    let second = ask(&world);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!second.is_finished());
    go.send(()).unwrap();
    let first = first.await.unwrap().unwrap();
    assert_eq!((first.rows_affected, second.await.unwrap().unwrap()), (Some(2), first.clone()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_that_comes_again_means_what_it_means_then() {
    let world = counters().await;
    let (insert, select) =
        ("INSERT INTO app.counters VALUES ($1, 5)", "SELECT * FROM app.counters");
    let ask = |actor, number: &str| {
        let params = [Param::Number(number.to_owned())];
        world.sql.run(request(&actor, insert, &params))
    };
    let refused = ask(user("ann"), "10").await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidRequest, "four columns: {refused:?}");
    assert_eq!(world.ok(&user("ann"), select).await.columns.len(), 4);
    world.ok(&admin(), "DROP TABLE app.counters").await;
    world.ok(&admin(), "CREATE USER TABLE app.counters (n INT, id INT PRIMARY KEY)").await;
    for number in ["10", "11"] {
        let answer = ask(user("bob"), number).await;
        // The second value is the key by now.
        assert_eq!(answer.is_ok(), number == "10", "{answer:?}");
    }
    assert_eq!(world.ok(&user("ann"), select).await.rows.len(), 0, "they are of bob");
    let as_bob = "EXECUTE AS USER 'bob' SELECT n FROM app.counters";
    for actor in [admin(), user("ann"), admin()] {
        let answer = world.run(&actor, as_bob).await;
        match answer {
            Ok(answer) => assert_eq!(answer.rows[0][0], Value::Integer(10)),
            Err(error) => assert_eq!((error.code, actor), (ErrorCode::Forbidden, user("ann"))),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_outcome_is_told_as_such() {
    let world = counters().await;
    for (error, code) in [
        (ShardError::Unknown, ErrorCode::Timeout),
        (ShardError::Expired, ErrorCode::Timeout),
        (ShardError::Overloaded, ErrorCode::Overloaded),
        (ShardError::Unavailable, ErrorCode::Overloaded),
        (ShardError::TooLarge, ErrorCode::TooLarge),
        (ShardError::Failed, ErrorCode::Internal),
    ] {
        *world.memory.before.lock().unwrap() = Some(Box::new(move |_| Err(error.clone())));
        let failed = world.run(&user("ann"), "INSERT INTO app.counters (id) VALUES (5)").await;
        assert_eq!(failed.unwrap_err().code, code);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_waits_for_a_shard_to_hear_of_its_table() {
    let world = counters().await;
    world.memory.hold_catalog_of_readers(true);
    world.ok(&admin(), "CREATE USER TABLE app.late (id INT PRIMARY KEY)").await;
    let told = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        world.memory.hold_catalog_of_readers(false);
    };
    let (ann, late) = (user("ann"), "DELETE FROM app.late WHERE id = 1");
    let (answer, ()) = tokio::join!(world.run(&ann, late), told);
    assert_eq!(answer.unwrap().rows_affected, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_in_line_beyond_the_deadline() {
    let world = counters().await;
    // Every guard fails, because the row changes before each decision.
    let memory = Arc::clone(&world.memory);
    let (tx, rx) = std::sync::mpsc::channel();
    *memory.before.lock().unwrap() = Some(Box::new(move |command| {
        tx.send(command.clone()).unwrap();
        Ok(())
    }));
    world.ok(&user("ann"), "UPDATE app.counters SET added = added + 1 WHERE id = 1").await;
    let touch = rx.try_iter().next().unwrap();
    *memory.before.lock().unwrap() = {
        let memory = Arc::clone(&memory);
        Some(Box::new(move |_| {
            memory.apply(touch.clone());
            Ok(())
        }))
    };
    let mut late = request(&user("ann"), "UPDATE app.counters SET n = n + 1 WHERE id = 1", &[]);
    late.deadline = tokio::time::Instant::now() + Duration::from_millis(200);
    let late = tokio::time::timeout(Duration::from_secs(20), world.sql.run(late)).await.unwrap();
    assert_eq!(late.unwrap_err().code, ErrorCode::Timeout);
    *memory.before.lock().unwrap() = None;
    world.ok(&user("ann"), "UPDATE app.counters SET n = n + 1 WHERE id = 1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_point_write_reads_a_few_keys_whatever_else_is_in_the_table() {
    let world = counters().await;
    let table = "CREATE USER TABLE app.many (id INT PRIMARY KEY, room INT, INDEX (room))";
    world.ok(&admin(), table).await;
    for start in (0..10_000).step_by(1_000) {
        let rows: Vec<String> =
            (start..start + 1_000).map(|id| format!("({id}, {})", id / 10)).collect();
        let insert = format!("INSERT INTO app.many VALUES {}", rows.join(", "));
        world.ok(&user("ann"), &insert).await;
    }
    for (sql, rows, keys) in [
        ("UPDATE app.many SET room = 1 WHERE id = 5000", 1, 5),
        ("DELETE FROM app.many WHERE id IN (17, 4711, 12345)", 2, 14),
        ("UPDATE app.many SET room = room WHERE room = 700 AND id > 7004", 5, 25),
        ("DELETE FROM app.many WHERE room IN (800, 801)", 20, 50),
    ] {
        world.memory.take_keys_read();
        let answer = world.ok(&user("ann"), sql).await;
        assert_eq!(answer.rows_affected, Some(rows), "{sql}");
        let read = world.memory.take_keys_read();
        assert!(read <= keys, "{sql}: {read} keys");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_parameter_has_one_value_and_every_value_a_use() {
    let world = counters().await;
    let ask = |sql: &str, count: usize| {
        let params = vec![Param::Number("1".to_owned()); count];
        world.sql.run(request(&user("ann"), sql, &params))
    };
    let two = "UPDATE app.counters SET n = $2 WHERE id = $1";
    assert_eq!(ask(two, 2).await.unwrap().rows_affected, Some(1));
    for (sql, count) in
        [(two, 0), (two, 1), (two, 3), ("DELETE FROM app.counters WHERE id = $2", 2)]
    {
        let refused = ask(sql, count).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidRequest, "{sql} with {count}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_created_at_once_have_numbers_of_their_own() {
    let world = counters().await;
    let mut tasks = JoinSet::new();
    for number in 0..20 {
        let world = Arc::clone(&world);
        tasks.spawn(async move {
            // Two of each name.
            let sql = format!("CREATE TABLE app.t{} (id INT PRIMARY KEY)", number / 2);
            world.run(&admin(), &sql).await.map(drop).map_err(|error| error.code)
        });
    }
    let mut refused = 0;
    while let Some(done) = tasks.join_next().await {
        match done.unwrap() {
            Ok(()) => {}
            Err(ErrorCode::AlreadyExists) => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(refused, 10);
    let answer =
        world.ok(&admin(), "SELECT COUNT(*) FROM system.tables WHERE name LIKE 't%'").await;
    assert_eq!(answer.rows[0][0], Value::Integer(10));
}
