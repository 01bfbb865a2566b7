//! Statements on a live connection.

use std::sync::Arc;
use std::time::Duration;

use protocol::error_code::ErrorCode;
use protocol::frame::v1::{ClientFrame, ServerFrame, Sql, SqlOutcome};
use protocol::ids::{Epoch, RequestId, RequestNumber, SeqId};
use protocol::limits::CONNECTION_STATEMENTS_MAX;
use protocol::value::{ColumnType, Row, Value};
use server_gateway::{Limits, Param, Position, SqlAnswer, SqlColumn, SqlError};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::socket::{Live, quiet};
use crate::world::{World, one_row, patiently};

fn sql(request: u64, text: &str) -> Sql {
    Sql {
        request: RequestNumber(request),
        sql: text.to_owned(),
        params: vec![],
        request_id: None,
        timeout_ms: None,
    }
}

/// The pieces of the next answer, which is all that comes.
async fn answer(live: &mut Live, request: u64) -> Vec<SqlOutcome> {
    let mut pieces = Vec::new();
    loop {
        let ServerFrame::SqlResult(result) = live.next().await else { panic!("no result") };
        assert_eq!(result.request, RequestNumber(request));
        let is_last = !matches!(result.outcome, SqlOutcome::Rows(_));
        pieces.push(result.outcome);
        if is_last {
            return pieces;
        }
    }
}

async fn code(live: &mut Live, request: u64) -> ErrorCode {
    match &*answer(live, request).await {
        [.., SqlOutcome::Failed(failed)] => failed.code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_statement_is_run_as_over_http() {
    let world = World::new(quiet()).await;
    let (mut live, _) = Live::open(&world).await;
    let all = Sql {
        params: vec![
            Value::Null,
            Value::Boolean(true),
            Value::Integer(i64::MIN),
            Value::double(0.1).unwrap(),
            Value::text("ü").unwrap(),
            Value::Bytes(vec![0, 255]),
            Value::Uuid([0xab; 16]),
        ],
        request_id: Some(RequestId::from_bytes([9; 16])),
        timeout_ms: Some(5_000),
        ..sql(3, "INSERT …")
    };
    let before = Instant::now();
    live.send(ClientFrame::Sql(all)).await;
    let [SqlOutcome::Done(done)] = &*answer(&mut live, 3).await else { panic!("not done") };
    assert_eq!(done.rows_affected, Some(1));
    let asked = world.sql.asked().remove(0);
    assert_eq!((asked.caller.user.as_str(), &*asked.sql), ("alice", "INSERT …"));
    assert_eq!(asked.request_id, Some(RequestId::from_bytes([9; 16])));
    assert!(asked.deadline <= before + Duration::from_secs(10), "its own time, not the longest");
    let text = |text: &str| Param::Text(text.to_owned());
    let number = |text: &str| Param::Number(text.to_owned());
    assert!(
        asked.params
            == [
                Param::Null,
                Param::Boolean(true),
                number("-9223372036854775808"),
                number("0.1"),
                text("ü"),
                Param::Bytes(vec![0, 255]),
                text("abababab-abab-abab-abab-abababababab"),
            ]
    );
}

fn rows(count: i64, bytes: usize) -> SqlAnswer {
    let column = |name: &str, column_type| SqlColumn { name: name.to_owned(), column_type };
    let row = |id| -> Row {
        [Value::Integer(id), Value::text("x".repeat(bytes)).unwrap()].into_iter().collect()
    };
    SqlAnswer {
        columns: vec![column("id", ColumnType::BigInt), column("body", ColumnType::Text)],
        rows: (0..count).map(row).collect(),
        rows_affected: None,
        positions: vec![Position {
            lane: "user/alice".parse().unwrap(),
            epoch: Epoch::from_bytes([1; 16]),
            seq: SeqId::new(5).unwrap(),
        }],
    }
}

#[tokio::test]
async fn rows_come_in_pieces_when_there_is_room() {
    let limits = Limits { socket_queue_bytes_max: 1 << 20, ..quiet() };
    let world = World::with(limits, |request| async move {
        Ok(match &*request.sql {
            "none" => rows(0, 0),
            "many" => rows(25_000, 0),
            _ => rows(300, 100_000),
        })
    })
    .await;
    let (mut live, _) = Live::open(&world).await;
    live.send(ClientFrame::Sql(sql(1, "none"))).await;
    let pieces = answer(&mut live, 1).await;
    let [SqlOutcome::Rows(none), SqlOutcome::Done(done)] = &*pieces else { panic!("{pieces:?}") };
    assert_eq!((none.columns.len(), none.rows.len(), done.positions.len()), (2, 0, 1));

    live.send(ClientFrame::Sql(sql(2, "many"))).await;
    let pieces = answer(&mut live, 2).await;
    let mut ids = Vec::new();
    for (place, piece) in pieces.iter().enumerate() {
        if let SqlOutcome::Rows(piece) = piece {
            assert_eq!(piece.columns.len(), if place == 0 { 2 } else { 0 });
            ids.extend(piece.rows.iter().map(|row| row.0[0].clone()));
        }
    }
    assert!(pieces.len() > 3, "{} pieces", pieces.len());
    assert_eq!(ids, (0..25_000).map(Value::Integer).collect::<Vec<_>>());

    // Thirty megabytes, of which one waits at most, and a piece.
    live.send(ClientFrame::Sql(sql(3, "large"))).await;
    let queue = world.live.queue();
    let ServerFrame::SqlResult(_) = live.next().await else { panic!("no result") };
    let mut count = 1;
    loop {
        assert!(queue.waiting() <= (1 << 20) + (1 << 18), "{} bytes wait", queue.waiting());
        let ServerFrame::SqlResult(result) = live.next().await else { panic!("no result") };
        count += 1;
        if let SqlOutcome::Done(_) = result.outcome {
            break;
        }
    }
    assert!(count > 100, "{count} pieces");
}

#[tokio::test]
async fn what_cannot_be_is_said_with_its_number_and_the_connection_goes_on() {
    let limits = Limits { sql_bytes_max: 1_000, params_max: 2, ..quiet() };
    let world = World::with(limits, |request| async move {
        match &*request.sql {
            "wide" => {
                let column = SqlColumn { name: "a".to_owned(), column_type: ColumnType::Int };
                Ok(SqlAnswer { columns: vec![column; 257], ..SqlAnswer::default() })
            }
            "large" => Ok(rows(2, 3_000_000)),
            "panic" => panic!("it has a defect"),
            "not" => Err(SqlError {
                code: ErrorCode::NotFound,
                message: "there is none".to_owned(),
                retry_after: None,
            }),
            _ => Ok(one_row()),
        }
    })
    .await;
    let (mut live, _) = Live::open(&world).await;
    for (request, text, expected) in [
        (1, "wide", ErrorCode::TooLarge),
        (2, "large", ErrorCode::TooLarge),
        (3, "panic", ErrorCode::Internal),
        (4, "not", ErrorCode::NotFound),
        (5, &*"x".repeat(1_001), ErrorCode::TooLarge),
    ] {
        live.send(ClientFrame::Sql(sql(request, text))).await;
        assert_eq!(code(&mut live, request).await, expected, "{text}");
    }
    let many = Sql { params: vec![Value::Null; 3], ..sql(6, "x") };
    live.send(ClientFrame::Sql(many)).await;
    assert_eq!(code(&mut live, 6).await, ErrorCode::TooLarge);
    live.send(ClientFrame::Sql(sql(7, "well"))).await;
    assert!(matches!(&*answer(&mut live, 7).await, [SqlOutcome::Done(_)]));
}

#[tokio::test]
async fn so_many_run_at_once_and_one_goes_on_when_its_client_has_gone() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let world = World::with(quiet(), move |_| {
        let held = Arc::clone(&held);
        async move {
            let _ = held.acquire().await.unwrap();
            Ok(one_row())
        }
    })
    .await;
    let (mut live, _) = Live::open(&world).await;
    let most = CONNECTION_STATEMENTS_MAX as u64;
    for request in 1..=most + 1 {
        live.send(ClientFrame::Sql(sql(request, "waits"))).await;
    }
    assert_eq!(code(&mut live, most + 1).await, ErrorCode::Overloaded);
    assert_eq!(world.sql.asked().len(), CONNECTION_STATEMENTS_MAX);
    drop(live);
    gate.add_permits(1_000);
    // Their places are free again, and so is the gateway.
    let (mut live, _) = Live::open(&world).await;
    patiently(async {
        live.send(ClientFrame::Sql(sql(1, "well"))).await;
        assert!(matches!(&*answer(&mut live, 1).await, [SqlOutcome::Done(_)]));
    })
    .await;
}

/// It holds a place that others want.
#[tokio::test]
async fn an_answer_that_is_not_taken_in_time_ends_the_connection() {
    let limits = Limits {
        socket_queue_bytes_max: 1 << 16,
        write_timeout: Duration::from_millis(400),
        requests_max: 1,
        ..quiet()
    };
    let world = World::with(limits, |_| async move { Ok(rows(300, 100_000)) }).await;
    let (mut live, _) = Live::open(&world).await;
    live.send(ClientFrame::Sql(sql(1, "large"))).await;
    // A piece now and then is not enough.
    let mut pieces = 0;
    while let Some(frame) = live.next_if_any().await {
        match frame {
            ServerFrame::SqlResult(_) => pieces += 1,
            ServerFrame::Goodbye(goodbye) => assert_eq!(goodbye.code, ErrorCode::Timeout),
            other => panic!("{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(pieces < 120, "{pieces} pieces");
    world.is_well().await;
}

#[tokio::test]
async fn a_stop_waits_for_the_answer() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let mut world = World::with(quiet(), move |_| {
        let held = Arc::clone(&held);
        async move {
            let _ = held.acquire().await.unwrap();
            Ok(one_row())
        }
    })
    .await;
    let (mut live, _) = Live::open(&world).await;
    live.send(ClientFrame::Sql(sql(1, "waits"))).await;
    patiently(async {
        while world.sql.asked().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    world.stop();
    gate.add_permits(1);
    assert!(matches!(&*answer(&mut live, 1).await, [SqlOutcome::Done(_)]));
    live.ends_with(ErrorCode::Offline).await;
    drop(live);
    patiently(world.returned()).await;
}
