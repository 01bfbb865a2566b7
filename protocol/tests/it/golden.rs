//! The exact bytes of everything that is sent or stored. A line of these files may be added, and
//! never changed: devices in the field have written those bytes.
//!
//! A line is `name: hexadecimal bytes`. To add the lines of new samples, run the tests once with
//! `TIDEWIRE_GOLDEN=add` in the environment.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write};
use std::path::Path;

use protocol::codec::{decode, encode};
use protocol::error_code::ErrorCode;
use protocol::ids::{
    Basis, Birth, ClientId, ColumnId, ContentHash, Epoch, Floor, IndexId, Lane, MutationNumber,
    Name, SchemaVersion, SeqId, TableId,
};
use protocol::mutation::{
    Action, ColumnChange, ColumnValue, Decision, Guard, Mutation, MutationDigest, Operation,
    Reason, Rejection, RowKey, Verdict,
};
use protocol::predicate::{CompareOp, LikePattern, Operand, Predicate, Truth};
use protocol::schema::{
    AccessLevel, Column, ColumnDefault, Index, MergeRule, Sharing, TableKind, TableSchema,
};
use protocol::value::{ColumnType, Row, RowRef, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) struct Golden {
    file: &'static str,
    known: BTreeMap<String, String>,
    added: Vec<String>,
}

impl Golden {
    pub(crate) fn read(file: &'static str) -> Self {
        let text = std::fs::read_to_string(Self::path(file)).unwrap_or_default();
        let known = text
            .lines()
            .map(|line| line.split_once(": ").expect("a golden line is `name: hex`"))
            .map(|(name, hex)| (name.to_owned(), hex.to_owned()))
            .collect();
        Self { file, known, added: Vec::new() }
    }

    fn path(file: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1").join(file)
    }

    /// Holds `message` against its golden bytes, both ways.
    pub(crate) fn sample<T: Serialize + DeserializeOwned + PartialEq + Debug>(
        &mut self,
        name: &str,
        message: &T,
    ) {
        let bytes = encode(message);
        let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        assert_eq!(&decode::<T>(&bytes, bytes.len()).unwrap(), message, "{name} reads back");
        match self.known.remove(name) {
            Some(known) => assert_eq!(hex, known, "{name} in {}", self.file),
            None => self.added.push(format!("{name}: {hex}\n")),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the one switch of this test")]
    pub(crate) fn finish(self) {
        let gone: Vec<_> = self.known.into_keys().collect();
        assert!(gone.is_empty(), "{} has bytes that nobody writes any more: {gone:?}", self.file);
        if std::env::var_os("TIDEWIRE_GOLDEN").is_some_and(|mode| mode == "add") {
            let path = Self::path(self.file);
            let old = std::fs::read_to_string(&path).unwrap_or_default();
            std::fs::write(path, old + &self.added.concat()).unwrap();
        } else {
            assert!(self.added.is_empty(), "not in {}: {:?}", self.file, self.added);
        }
    }
}

fn seq(number: u64) -> SeqId {
    SeqId::new(number).unwrap()
}

#[test]
fn ids_keep_their_bytes() {
    let mut golden = Golden::read("ids.hex");
    golden.sample("seq-id", &seq(1 << 40));
    golden.sample("seq-id-max", &SeqId::MAX);
    golden.sample("birth", &Birth(seq(7)));
    golden.sample("floor-complete", &Floor::COMPLETE);
    golden.sample("mutation-number", &MutationNumber::new(300).unwrap());
    golden.sample("lane-user", &"user/alice".parse::<Lane>().unwrap());
    golden.sample("lane-shared", &"shared/chat".parse::<Lane>().unwrap());
    golden.sample("client-id", &ClientId::from_bytes(*b"0123456789abcdef"));
    golden.sample("epoch", &Epoch::from_bytes([0xff; 16]));
    golden.sample("basis", &Basis::from_bytes([0; 16]));
    golden.sample("table-id", &TableId(70_000));
    golden.sample("schema-version", &SchemaVersion(1));
    for code in ErrorCode::ALL {
        golden.sample(&format!("error-code-{code}"), code);
    }
    golden.finish();
}

#[test]
fn values_keep_their_bytes() {
    let mut golden = Golden::read("values.hex");
    golden.sample("null", &Value::Null);
    golden.sample("false", &Value::Boolean(false));
    golden.sample("true", &Value::Boolean(true));
    for number in [0, -1, 127, -32, 128, -33, 1 << 31, i64::MIN, i64::MAX] {
        golden.sample(&format!("integer{number:+}"), &Value::Integer(number));
    }
    for number in [0.0, 1.0, -0.1, 5e-324, f64::MAX] {
        golden.sample(&format!("double{number:+e}"), &Value::double(number).unwrap());
    }
    golden.sample("text-empty", &Value::text("").unwrap());
    golden.sample("text", &Value::text("é😀").unwrap());
    golden.sample("text-long", &Value::text("x".repeat(40)).unwrap());
    golden.sample("bytes-empty", &Value::Bytes(vec![]));
    golden.sample("bytes", &Value::Bytes(vec![0, 255]));
    golden.sample("uuid", &Value::Uuid(*b"0123456789abcdef"));
    let row: Row = [
        Value::Null,
        Value::Boolean(true),
        Value::Integer(i64::MIN),
        Value::Integer(300),
        Value::double(-0.1).unwrap(),
        Value::text("é😀").unwrap(),
        Value::Bytes(vec![0, 255]),
        Value::Uuid(*b"0123456789abcdef"),
    ]
    .into_iter()
    .collect();
    golden.sample("row-of-all-kinds", &row);
    let bytes = encode(&row);
    assert_eq!(RowRef::read(&bytes).unwrap().to_row(), row, "a row is read where it lies, too");
    assert_eq!(RowRef::read(&bytes[..bytes.len() - 1]), None);
    golden.sample("row", &Row(vec![Value::Integer(1), Value::Null, Value::text("hi").unwrap()]));
    golden.finish();
}

fn column(id: u16, name: &str, column_type: ColumnType) -> Column {
    let (id, name) = (ColumnId(id), Name::new(name).unwrap());
    Column { id, name, column_type, not_null: false, default: None, merge: MergeRule::Last }
}

#[test]
fn schemas_keep_their_bytes() {
    let mut golden = Golden::read("schemas.hex");
    let messages = TableSchema {
        id: TableId(3),
        name: "chat.messages".parse().unwrap(),
        version: SchemaVersion(2),
        kind: TableKind::Shared(Sharing {
            access: AccessLevel::Write,
            owner_column: Some(ColumnId(3)),
        }),
        columns: vec![
            Column {
                not_null: true,
                default: Some(ColumnDefault::UuidV7),
                ..column(1, "id", ColumnType::Uuid)
            },
            column(2, "room", ColumnType::BigInt),
            column(3, "author", ColumnType::Text),
            Column {
                default: Some(ColumnDefault::Value(Value::text("…").unwrap())),
                ..column(4, "body", ColumnType::Text)
            },
            Column { default: Some(ColumnDefault::Now), ..column(5, "at", ColumnType::Timestamp) },
            Column { merge: MergeRule::Add, ..column(6, "likes", ColumnType::Int) },
            column(7, "extra", ColumnType::Json),
            column(8, "image", ColumnType::Bytes),
            column(9, "weight", ColumnType::Double),
            column(10, "hidden", ColumnType::Boolean),
        ],
        primary_key: vec![ColumnId(1)],
        indexes: vec![Index { id: IndexId(1), columns: vec![ColumnId(2), ColumnId(5)] }],
        ttl_seconds: Some(60),
    };
    messages.check().unwrap();
    golden.sample("shared", &messages);
    let kinds = [
        ("user", TableKind::User, None),
        ("stream", TableKind::Stream, Some(1)),
        (
            "shared-private",
            TableKind::Shared(Sharing { access: AccessLevel::Private, owner_column: None }),
            None,
        ),
        (
            "shared-read",
            TableKind::Shared(Sharing { access: AccessLevel::Read, owner_column: None }),
            None,
        ),
    ];
    for (name, kind, ttl_seconds) in kinds {
        let columns = vec![
            Column {
                not_null: true,
                default: Some(ColumnDefault::SnowflakeId),
                ..column(1, "id", ColumnType::BigInt)
            },
            Column {
                default: Some(ColumnDefault::CurrentUser),
                ..column(2, "by", ColumnType::Text)
            },
        ];
        let table = TableSchema { kind, ttl_seconds, columns, indexes: vec![], ..messages.clone() };
        table.check().unwrap();
        golden.sample(name, &table);
    }
    golden.finish();
}

#[test]
fn predicates_keep_their_bytes() {
    let mut golden = Golden::read("predicates.hex");
    let id = ColumnId(2);
    for (name, truth) in [("false", Truth::False), ("null", Truth::Unknown), ("true", Truth::True)]
    {
        golden.sample(name, &Predicate::Constant(truth));
    }
    for (name, op) in [
        ("equal", CompareOp::Equal),
        ("not-equal", CompareOp::NotEqual),
        ("less", CompareOp::Less),
        ("less-or-equal", CompareOp::LessOrEqual),
        ("greater", CompareOp::Greater),
        ("greater-or-equal", CompareOp::GreaterOrEqual),
    ] {
        let operand = Operand::Value(Value::Integer(7));
        golden.sample(name, &Predicate::Compare { column: id, op, operand });
    }
    let operand = Operand::Column(ColumnId(300));
    golden.sample("columns", &Predicate::Compare { column: id, op: CompareOp::Equal, operand });
    golden.sample("is-null", &Predicate::IsNull(id));
    let values = vec![Value::Integer(1), Value::Null];
    golden.sample("in", &Predicate::In { column: id, values });
    let pattern = LikePattern::new("a\\%%").unwrap();
    golden.sample("like", &Predicate::Like { column: id, pattern });
    golden.sample("between", &Predicate::between(id, Value::Integer(1), Value::Integer(2)));
    golden.sample(
        "nested",
        &Predicate::Or(vec![
            Predicate::Not(Box::new(Predicate::IsNull(id))),
            Predicate::And(vec![]),
        ]),
    );
    golden.finish();
}

#[test]
fn mutations_keep_their_bytes() {
    let mut golden = Golden::read("mutations.hex");
    let column = |number, value| ColumnValue(ColumnId(number), value);
    let key: Row = [Value::Integer(7)].into_iter().collect();
    let row = || vec![column(0, Value::Integer(7)), column(2, Value::Null)];
    let add = ColumnChange::Add(column(3, Value::Integer(-1)));
    let set = ColumnChange::Set(column(1, Value::text("a").unwrap()));
    let patch = Action::Patch { key: key.clone(), changes: vec![set, add] };
    let operation = |action, guard| {
        let (table, version) = (TableId(3), SchemaVersion(2));
        Operation { table, version, action, guard }
    };
    let mut sample = |name: &str, action, guard| {
        let mutation = Mutation { operations: vec![operation(action, guard)] };
        golden.sample(name, &mutation);
        golden.sample(
            &format!("{name}-hash"),
            &ContentHash::START.then(MutationDigest::of(&mutation)),
        );
    };
    sample("insert", Action::Insert(row()), Some(Guard::Absent));
    sample("upsert", Action::Upsert(row()), None);
    sample("patch", patch, Some(Guard::Values(row())));
    sample("delete", Action::Delete { key: key.clone() }, Some(Guard::Unchanged(seq(9))));

    let reasons = [
        Reason::DuplicateKey,
        Reason::RowMissing,
        Reason::GuardFailed,
        Reason::NotNull,
        Reason::Value,
        Reason::Sum,
        Reason::NotAdded,
        Reason::ColumnTwice,
        Reason::KeyIncomplete,
        Reason::KeyChanged,
        Reason::KeyTooLarge,
        Reason::RowTooLarge,
        Reason::CommitTooLarge,
        Reason::TableUnknown,
        Reason::ColumnUnknown,
        Reason::LaneOfTable,
        Reason::Forbidden,
        Reason::NotOwner,
        Reason::Cancelled,
    ];
    for reason in reasons {
        golden.sample(&format!("reason-{reason:?}"), &reason);
    }
    let hash = ContentHash::from_bytes([7; 16]);
    let keys = vec![RowKey { table: TableId(3), key }];
    let accepted = Decision { hash, verdict: Verdict::Accepted, seq: seq(5), keys };
    golden.sample("accepted", &accepted);
    let (table, reason) = (TableId(3), Reason::NotNull);
    let rejection = Rejection { operation: 1, table, column: Some(ColumnId(2)), reason };
    let verdict = Verdict::Rejected(rejection);
    golden.sample("rejected", &Decision { hash, verdict, seq: seq(5), keys: vec![] });
    golden.finish();
}
