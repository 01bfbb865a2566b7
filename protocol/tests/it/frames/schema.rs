//! What tables there are: the frames, and how they are cut into pieces.

use protocol::codec::encode;
use protocol::frame::v1::{
    AllowedTable, ClientFrame, Hello, Received, Schema, ServerFrame, read_server,
};
use protocol::ids::{ColumnId, Name, SchemaHash, SchemaVersion, TableId};
use protocol::limits::{SCHEMA_PIECE_BYTES, SCHEMA_TABLES_MAX, SERVER_FRAME_BYTES_MAX};
use protocol::schema::{Column, ColumnDefault, MergeRule, TableKind, TableSchema};
use protocol::value::{ColumnType, Value};

use super::is_bounded;

fn version() -> SchemaHash {
    SchemaHash::from_bytes([0x5c; 16])
}

/// A client that holds a description, of an application that says how old it is.
pub(super) fn hello() -> Hello {
    Hello { schema: Some(version()), app_version: 7, ..super::hello() }
}

pub(super) fn server_frames() -> Vec<(&'static str, ServerFrame)> {
    let none = Schema { version: version(), revision: 1, tables: vec![], end: true };
    let tables = vec![table(1, 0, true), table(2, 0, false)];
    let piece = Schema { revision: 300, tables, end: false, ..none.clone() };
    vec![("schema-none", ServerFrame::Schema(none)), ("schema-piece", ServerFrame::Schema(piece))]
}

/// A table whose description takes at least so many bytes.
fn table(id: u32, bytes: usize, writable: bool) -> AllowedTable {
    let column = |id, column_type, not_null, default| Column {
        id: ColumnId(id),
        name: Name::new(&format!("c{id}")).unwrap(),
        column_type,
        not_null,
        default,
        merge: MergeRule::Last,
    };
    let text = (bytes > 0).then(|| ColumnDefault::Value(Value::text("x".repeat(bytes)).unwrap()));
    let table = TableSchema {
        id: TableId(id),
        name: format!("app.t{id}").parse().unwrap(),
        version: SchemaVersion(1),
        kind: TableKind::User,
        columns: vec![
            column(0, ColumnType::BigInt, true, None),
            column(1, ColumnType::Text, false, text),
        ],
        primary_key: vec![ColumnId(0)],
        indexes: vec![],
        ttl_seconds: None,
    };
    AllowedTable { table, writable }
}

#[test]
fn a_client_that_says_nothing_new_says_it_as_before() {
    let (plain, known) = (super::hello(), hello());
    let grown = encode(&ClientFrame::Hello(known)).len();
    let bytes = encode(&ClientFrame::Hello(plain)).len();
    assert_eq!(grown - bytes, 7 + 18 + 12 + 1, "both fields are left out where they say nothing");
}

#[test]
fn tables_are_bounded() {
    let mut small = table(1, 0, true);
    small.table.columns.truncate(1);
    is_bounded(SCHEMA_TABLES_MAX, read_server, |count| {
        let tables = vec![small.clone(); count];
        ServerFrame::Schema(Schema { version: version(), revision: 1, tables, end: true })
    });
}

/// Each piece fits a frame, the last says that it is, and together they are all tables in order.
#[test]
fn a_large_description_goes_in_pieces_that_fit() {
    // Room for one more, and not for two.
    let room = 5 * encode(&table(1, 10, true)).len() / 2;
    let sizes = [10, SCHEMA_PIECE_BYTES - room, 10, 2 * SCHEMA_PIECE_BYTES, 10, 10];
    let tables: Vec<_> =
        (1..).zip(sizes).map(|(id, bytes)| table(id, bytes, id % 2 == 0)).collect();
    let pieces = Schema::pieces(9, tables.clone());
    assert_eq!(pieces.iter().map(|piece| piece.tables.len()).collect::<Vec<_>>(), [2, 1, 1, 2]);
    let ends: Vec<_> = pieces.iter().map(|piece| piece.end).collect();
    assert_eq!(ends, [false, false, false, true]);
    let mut all = Vec::new();
    for piece in pieces {
        assert_eq!(
            (piece.revision, piece.version),
            (9, Schema::pieces(1, tables.clone())[0].version)
        );
        let bytes = encode(&ServerFrame::Schema(piece.clone()));
        assert!(bytes.len() <= SERVER_FRAME_BYTES_MAX);
        let read = read_server(&bytes).unwrap();
        assert_eq!(read, Received::Known(ServerFrame::Schema(piece.clone())));
        all.extend(piece.tables);
    }
    assert_eq!(all, tables);
}

#[test]
fn a_version_says_all_that_differs() {
    let version = |tables| Schema::pieces(1, tables)[0].version;
    let one = version(vec![table(1, 0, true)]);
    assert_eq!(one, version(vec![table(1, 0, true)]));
    assert_ne!(one, version(vec![table(1, 0, false)]), "whether it may be written");
    assert_ne!(one, version(vec![table(1, 1, true)]), "what it has");
    assert_ne!(one, version(vec![table(1, 0, true), table(2, 0, true)]));
    assert_ne!(one, version(vec![]));
    let none = Schema::pieces(1, vec![]);
    assert!(none.len() == 1 && none[0].end && none[0].tables.is_empty());
}
