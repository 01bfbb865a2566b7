//! Bytes from somebody who means harm: an error, without a panic and without much memory.

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use protocol::codec::{DecodeError, Malformation, decode, encode};
use protocol::error_code::ErrorCode;
use protocol::frame::v1::{MESSAGE_NAME_BYTES_MAX, Received, read_client, read_server};
use protocol::ids::{ClientId, ColumnId, Lane, Name, SeqId};
use protocol::limits::{
    COLUMNS_MAX, FRAME_BYTES_MAX, IN_LIST_MAX, LIKE_PATTERN_BYTES_MAX, PREDICATE_DEPTH_MAX,
    PREDICATE_NODES_MAX,
};
use protocol::predicate::{LikePattern, Predicate};
use protocol::schema::TableSchema;
use protocol::testing;
use protocol::value::{Row, Value};
use serde::de::DeserializeOwned;

fn refused<T: DeserializeOwned>(bytes: &[u8]) -> DecodeError {
    match decode::<T>(bytes, FRAME_BYTES_MAX) {
        Ok(_) => panic!("{bytes:02x?} was accepted"),
        Err(error) => error,
    }
}

fn malformed(at: usize, what: Malformation) -> DecodeError {
    DecodeError::Malformed { at, what }
}

#[test]
fn a_message_over_its_limit_is_not_looked_at() {
    let refused = decode::<Value>(&[0xc1; 11], 10);
    assert_eq!(refused, Err(DecodeError::TooLarge { bytes: 11, bytes_max: 10 }));
}

#[test]
fn what_is_no_value_is_refused() {
    for (bytes, error) in [
        (&b"\xcb\x7f\xf8\0\0\0\0\0\0"[..], malformed(9, Malformation::Value)),
        (b"\xcb\xff\xf0\0\0\0\0\0\0", malformed(9, Malformation::Value)),
        (b"\xa3a\0b", malformed(4, Malformation::Value)),
        (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", malformed(9, Malformation::Value)),
        (b"\x90", malformed(1, Malformation::Value)),
        (b"\xd4\x01\0", malformed(3, Malformation::Value)),
        (b"\xd8\x020123456789abcdef", malformed(2, Malformation::Value)),
        (b"\xc0\xc0", DecodeError::Trailing { bytes: 1 }),
        (b"", malformed(0, Malformation::Ends)),
        (b"\xa2a", malformed(1, Malformation::Ends)),
        (b"\xc1", malformed(1, Malformation::Type)),
    ] {
        assert_eq!(refused::<Value>(bytes), error, "{bytes:02x?}");
    }
}

#[test]
fn a_message_that_is_refused_is_not_repeated() {
    for secret in [&b"\xa7Asecret"[..], b"\x81\xa7Asecret\x01"] {
        for told in [
            refused::<Name>(secret).to_string() + &refused::<Lane>(secret).to_string(),
            refused::<Predicate>(secret).to_string() + &refused::<TableSchema>(secret).to_string(),
        ] {
            assert!(!told.contains("secret"), "{told}");
        }
    }
}

#[test]
fn lists_end_where_no_table_or_predicate_goes_on() {
    let row = |count: usize| encode(&vec![Value::Null; count]);
    assert_eq!(decode::<Row>(&row(COLUMNS_MAX), FRAME_BYTES_MAX).unwrap().len(), COLUMNS_MAX);
    assert_eq!(refused::<Row>(&row(COLUMNS_MAX + 1)), malformed(260, Malformation::Limit));
    let list = |count: usize| {
        encode(&Predicate::In { column: ColumnId(0), values: vec![Value::Null; count] })
    };
    assert!(decode::<Predicate>(&list(IN_LIST_MAX), FRAME_BYTES_MAX).is_ok());
    assert_eq!(refused::<Predicate>(&list(IN_LIST_MAX + 1)).code(), ErrorCode::TooLarge);
    let like = encode(&"a".repeat(LIKE_PATTERN_BYTES_MAX + 1));
    assert_eq!(refused::<LikePattern>(&like).code(), ErrorCode::TooLarge);
    let parts = |count: usize| encode(&Predicate::Or(vec![Predicate::IsNull(ColumnId(0)); count]));
    assert!(decode::<Predicate>(&parts(PREDICATE_NODES_MAX), FRAME_BYTES_MAX).is_ok());
    refused::<Predicate>(&parts(PREDICATE_NODES_MAX + 1));
}

#[test]
fn text_is_utf_8() {
    for text in [&b"\xa2\xff\xff"[..], b"\xd9\x02\xc3\x28", b"\x92\x01\xa1\x80"] {
        let refused = refused::<Value>(text);
        let expected = malformed(text.len(), Malformation::Value);
        assert_eq!(refused, expected, "{text:02x?}");
    }
    assert_eq!(decode::<Value>(b"\xc4\x02\xff\xff", 10), Ok(Value::Bytes(vec![0xff, 0xff])));
}

#[test]
fn an_announced_length_costs_nothing_until_the_bytes_are_there() {
    for bytes in [
        &b"\xdd\xff\xff\xff\xff"[..],
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
    ] {
        refused::<Value>(bytes);
        refused::<Vec<Value>>(bytes);
        refused::<Predicate>(bytes);
    }
}

#[test]
fn positions_and_names_are_checked_as_they_arrive() {
    refused::<SeqId>(&encode(&(1_u64 << 53)));
    refused::<Lane>(&encode("user/"));
    refused::<Name>(&encode("A"));
    refused::<ClientId>(&encode(&Value::Bytes(vec![0; 15])));
}

/// What takes the most levels of MessagePack.
fn nested(levels: usize) -> Predicate {
    let leaf = Predicate::In { column: ColumnId(0), values: vec![Value::Null] };
    (1..levels).fold(leaf, |inner, _| Predicate::And(vec![inner]))
}

/// The decoder counts levels of lists and maps, and not of a case in a case in a case: a chain of
/// NOT once ended the process.
#[test]
fn nesting_ends_before_the_stack_does() {
    let deepest = nested(PREDICATE_DEPTH_MAX);
    deepest.check(&testing::table()).unwrap();
    let bytes = encode(&deepest);
    assert_eq!(decode::<Predicate>(&bytes, bytes.len()), Ok(deepest));

    let is_too_deep = |bytes: &[u8]| {
        for error in [refused::<Predicate>(bytes), refused::<Value>(bytes)] {
            let too_deep =
                matches!(error, DecodeError::Malformed { what: Malformation::Depth, .. });
            assert!(too_deep, "{error}");
            assert_eq!(error.code(), ErrorCode::TooLarge);
        }
    };
    is_too_deep(&encode(&nested(1_000)));
    is_too_deep(&[0x91; 100_000]);
    is_too_deep(&b"\x81\xa3not".repeat(200_000));
    is_too_deep(&b"\x81\x05".repeat(500_000));
    is_too_deep(&b"\xdc\0\x01".repeat(300_000));
    is_too_deep(&b"\xdf\0\0\0\x01\xc0".repeat(150_000));
}

#[test]
fn fields_of_a_later_version_are_passed_over() {
    let table = testing::table();
    let mut bytes = encode(&table);
    // A map of up to 15 fields says how many in its first byte.
    assert_eq!(bytes[0] & 0xf0, 0x80, "a table is a small map");
    bytes[0] += 1;
    bytes.extend(encode("field_of_a_later_version"));
    bytes.extend(encode(&vec![Value::Null, Value::Bytes(vec![1; 100])]));
    assert_eq!(decode::<TableSchema>(&bytes, bytes.len()), Ok(table));
}

/// What a mutator does to the bytes of a valid message.
#[derive(Clone, Debug)]
enum Mutation {
    Flip(prop::sample::Index, u8),
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Cut(prop::sample::Index),
    Repeat(prop::sample::Index, prop::sample::Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => (index(), any::<u8>()).prop_map(|(at, byte)| Mutation::Flip(at, byte)),
        1 => (index(), any::<u8>()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        1 => index().prop_map(Mutation::Remove),
        1 => index().prop_map(Mutation::Cut),
        1 => (index(), index()).prop_map(|(from, to)| Mutation::Repeat(from, to)),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation) {
    if bytes.is_empty() {
        return;
    }
    match mutation {
        Mutation::Flip(at, byte) => *at.get_mut(bytes) ^= byte,
        Mutation::Insert(at, byte) => bytes.insert(at.index(bytes.len()), *byte),
        Mutation::Remove(at) => drop(bytes.remove(at.index(bytes.len()))),
        Mutation::Cut(at) => bytes.truncate(at.index(bytes.len())),
        Mutation::Repeat(from, to) => {
            let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
            bytes.extend_from_within(from.min(to)..from.max(to));
        }
    }
}

/// Decodes; where that succeeds after all, the message is a sound one: it reads back, and the
/// checks of it do not panic.
fn survives<T>(bytes: &[u8], check: impl Fn(&T)) -> TestCaseResult
where
    T: DeserializeOwned + serde::Serialize + PartialEq + std::fmt::Debug,
{
    if let Ok(message) = decode::<T>(bytes, FRAME_BYTES_MAX) {
        check(&message);
        let again = encode(&message);
        prop_assert_eq!(decode::<T>(&again, FRAME_BYTES_MAX), Ok(message));
    }
    Ok(())
}

/// The same for a frame, read as a connection reads it.
fn frame_survives<F>(
    bytes: &[u8],
    read: impl Fn(&[u8]) -> Result<Received<F>, DecodeError>,
) -> TestCaseResult
where
    F: serde::Serialize + PartialEq + std::fmt::Debug,
{
    match read(bytes) {
        Ok(Received::Known(frame)) => {
            let again = encode(&frame);
            prop_assert_eq!(read(&again), Ok(Received::Known(frame)));
        }
        Ok(Received::Unknown { name }) => prop_assert!(name.len() <= MESSAGE_NAME_BYTES_MAX),
        Err(_) => {}
    }
    Ok(())
}

#[test]
fn mutated_messages_do_no_harm() {
    let table = testing::table();
    let messages = (testing::predicate(&table), testing::row(&table));
    let frames = (testing::client_frame(), testing::server_frame());
    let strategy = (messages, frames, prop::collection::vec(mutation(), 1..5));
    seeds::check("decode", 5_000, &strategy, |((predicate, row), (client, server), mutations)| {
        let mut bytes =
            [encode(&predicate), encode(&row), encode(&table), encode(&client), encode(&server)];
        for bytes in &mut bytes {
            mutations.iter().for_each(|mutation| mutate(bytes, mutation));
        }
        survives::<Predicate>(&bytes[0], |predicate| {
            if predicate.check(&table).is_ok() {
                let row = |_| protocol::value::ValueRef::Null;
                let _: protocol::predicate::Truth = predicate.evaluate(&row);
                let _: protocol::predicate::PredicateSql = predicate.to_sql(&table);
            }
        })?;
        survives::<Row>(&bytes[1], |row| {
            for (value, column) in row.iter().zip(&table.columns) {
                let _: Result<(), _> = column.column_type.admit(value.as_ref());
            }
        })?;
        survives::<TableSchema>(&bytes[2], |table| {
            let _: Result<(), _> = table.check();
        })?;
        frame_survives(&bytes[3], read_client)?;
        frame_survives(&bytes[4], read_server)
    });
}
