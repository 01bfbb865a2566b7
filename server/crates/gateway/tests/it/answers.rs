//! Rows become JSON exactly: byte for byte, in every type.

use protocol::ids::{Epoch, Lane, SeqId};
use protocol::timestamp::{MICROS_MAX, MICROS_MIN};
use protocol::value::{ColumnType, Row, Value};
use server_gateway::{Limits, Position, SqlAnswer, SqlColumn};

use crate::world::World;

fn column(name: &str, column_type: ColumnType) -> SqlColumn {
    SqlColumn { name: name.to_owned(), column_type }
}

/// The body for one column with these values.
async fn body(column_type: ColumnType, values: Vec<Value>) -> (u16, String) {
    let answer = SqlAnswer {
        columns: vec![column("c", column_type)],
        rows: values.into_iter().map(|value| Row(vec![value])).collect(),
        ..SqlAnswer::default()
    };
    let world = World::with(Limits::default(), move |_| {
        let answer = answer.clone();
        async { Ok(answer) }
    })
    .await;
    let answer = world.post(r#"{"sql":"x"}"#).await;
    (answer.status, answer.body)
}

async fn check(column_type: ColumnType, values: Vec<Value>, expected: &str) {
    let expected = format!(
        r#"{{"columns":[{{"name":"c","type":"{column_type}"}}],"rows":{expected},"positions":[]}}"#
    );
    assert_eq!(body(column_type, values).await, (200, expected));
}

#[tokio::test]
async fn values_are_written_by_the_type_of_their_column() {
    use ColumnType::{BigInt, Boolean, Bytes, Double, Int, Json, Text, Timestamp, Uuid};
    let integers = |all: &[i64]| all.iter().map(|it| Value::Integer(*it)).collect::<Vec<_>>();
    let text = |it: &str| Value::text(it).unwrap();
    let double = |it: f64| Value::double(it).unwrap();
    for column_type in ColumnType::ALL {
        check(column_type, vec![Value::Null], "[[null]]").await;
        check(column_type, Vec::new(), "[]").await;
    }
    check(Boolean, vec![Value::Boolean(true), Value::Boolean(false)], "[[true],[false]]").await;
    check(
        Int,
        integers(&[i32::MIN.into(), 0, i32::MAX.into()]),
        "[[-2147483648],[0],[2147483647]]",
    )
    .await;
    let extremes =
        r#"[["-9223372036854775808"],["0"],["9007199254740993"],["9223372036854775807"]]"#;
    check(BigInt, integers(&[i64::MIN, 0, (1 << 53) + 1, i64::MAX]), extremes).await;
    let doubles = [0.0, 1.5, -0.1, 1e300, f64::MIN_POSITIVE, f64::MAX].map(double).to_vec();
    let written =
        "[[0.0],[1.5],[-0.1],[1e+300],[2.2250738585072014e-308],[1.7976931348623157e+308]]";
    check(Double, doubles, written).await;
    let odd = text("a\"b\\c/\n\r\t\u{1}\u{7f}\u{2028}é😀");
    let escaped = "[[\"a\\\"b\\\\c/\\n\\r\\t\\u0001\u{7f}\u{2028}é😀\"],[\"\"]]";
    check(Text, vec![odd, text("")], escaped).await;
    check(Json, vec![text(r#"{ "a": [1.0, "x"]}"#)], r#"[["{ \"a\": [1.0, \"x\"]}"]]"#).await;
    let bytes: Vec<_> = [&b""[..], b"\0", b"\xff\xfe", b"abc", b"\xfb\xef\xbe\xff"]
        .map(|it| Value::Bytes(it.into()))
        .into();
    check(Bytes, bytes, r#"[[""],["AA=="],["//4="],["YWJj"],["++++/w=="]]"#).await;
    let times = integers(&[MICROS_MIN, 0, 1_500_000, -1, MICROS_MAX]);
    let written = r#"[["0001-01-01T00:00:00Z"],["1970-01-01T00:00:00Z"],["1970-01-01T00:00:01.5Z"],["1969-12-31T23:59:59.999999Z"],["9999-12-31T23:59:59.999999Z"]]"#;
    check(Timestamp, times, written).await;
    let id = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0, 1, 2, 3, 4, 5, 0xfe, 0xff];
    check(Uuid, vec![Value::Uuid(id)], r#"[["01234567-89ab-cdef-0001-02030405feff"]]"#).await;
}

#[tokio::test]
async fn an_answer_has_what_its_statement_gives() {
    let answer = SqlAnswer {
        columns: vec![column("id", ColumnType::Int), column("a \"b\"", ColumnType::Text)],
        rows: vec![
            Row(vec![Value::Integer(1), Value::Null]),
            Row(vec![Value::Integer(2), Value::text("x").unwrap()]),
        ],
        rows_affected: Some(u64::MAX),
        positions: vec![
            Position {
                lane: "user/al\"ice".parse::<Lane>().unwrap(),
                epoch: Epoch::from_bytes([0xab; 16]),
                seq: SeqId::MAX,
            },
            Position {
                lane: "shared/chat".parse::<Lane>().unwrap(),
                epoch: Epoch::from_bytes([0; 16]),
                seq: SeqId::ZERO,
            },
        ],
    };
    let world = World::with(Limits::default(), move |request| {
        let empty = SqlAnswer {
            rows_affected: (request.sql == "ddl").then_some(0),
            ..SqlAnswer::default()
        };
        let answer = if request.sql == "all" { answer.clone() } else { empty };
        async { Ok(answer) }
    })
    .await;
    let all = world.post(r#"{"sql":"all"}"#).await;
    assert_eq!(
        all.body,
        r#"{"columns":[{"name":"id","type":"INT"},{"name":"a \"b\"","type":"TEXT"}],"rows":[[1,null],[2,"x"]],"rows_affected":18446744073709551615,"positions":[{"lane":"user/al\"ice","epoch":"abababababababababababababababab","seq":9007199254740991},{"lane":"shared/chat","epoch":"00000000000000000000000000000000","seq":0}]}"#
    );
    assert_eq!(all.header("content-type"), Some("application/json"));
    let ddl = world.post(r#"{"sql":"ddl"}"#).await;
    assert_eq!(ddl.body, r#"{"rows_affected":0,"positions":[]}"#);
    assert_eq!(world.post(r#"{"sql":"nothing"}"#).await.body, r#"{"positions":[]}"#);
}

#[tokio::test]
async fn rows_that_do_not_match_their_columns_are_a_defect_and_not_an_answer() {
    for (column_type, value) in [
        (ColumnType::Int, Value::text("x").unwrap()),
        (ColumnType::Text, Value::Integer(1)),
        (ColumnType::Timestamp, Value::Integer(i64::MAX)),
        (ColumnType::Boolean, Value::Bytes(vec![1])),
    ] {
        let (status, body) = body(column_type, vec![value]).await;
        assert_eq!((status, body.contains("\"internal\"")), (500, true), "{body}");
    }
    let ragged = |row: Vec<Value>, columns: Vec<SqlColumn>| SqlAnswer {
        columns,
        rows: vec![Row(row)],
        ..SqlAnswer::default()
    };
    let one = column("c", ColumnType::Int);
    for answer in [
        ragged(Vec::new(), vec![one.clone()]),
        ragged(vec![Value::Null, Value::Null], vec![one]),
        ragged(vec![Value::Null], Vec::new()),
    ] {
        let world = World::with(Limits::default(), move |_| {
            let answer = answer.clone();
            async { Ok(answer) }
        })
        .await;
        assert_eq!(world.post(r#"{"sql":"x"}"#).await.code(), "internal");
    }
}
