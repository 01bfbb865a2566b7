//! What a table may be, and what its author is told when it may not.

use protocol::ids::{ColumnId, IndexId, Lane, Name, TenantId};
use protocol::limits::{COLUMNS_MAX, INDEXES_MAX, KEY_COLUMNS_MAX, TTL_SECONDS_MAX};
use protocol::schema::{
    AccessLevel, ColumnDefault, Index, MergeRule, SchemaError, Sharing, TableKind, TableSchema,
};
use protocol::testing;
use protocol::value::{ColumnType, Value};

/// Columns of the table of [`testing::table`].
const ID: ColumnId = ColumnId(0);
const BOOLEAN: ColumnId = ColumnId(1);
const INT: ColumnId = ColumnId(2);
const TEXT: ColumnId = ColumnId(5);
const JSON: ColumnId = ColumnId(7);

fn refused(change: impl FnOnce(&mut TableSchema)) -> SchemaError {
    let mut table = testing::table();
    change(&mut table);
    table.check().unwrap_err()
}

fn accepted(change: impl FnOnce(&mut TableSchema)) {
    let mut table = testing::table();
    change(&mut table);
    table.check().unwrap();
}

fn set_default(table: &mut TableSchema, column: ColumnId, default: ColumnDefault) {
    table.columns[usize::from(column.0)].default = Some(default);
}

#[test]
fn columns_are_counted_and_differ() {
    assert_eq!(refused(|table| table.columns.clear()), SchemaError::Columns(0));
    let add = |table: &mut TableSchema, until: usize| {
        for number in table.columns.len()..until {
            let mut column = table.columns[2].clone();
            column.id = ColumnId(number.try_into().unwrap());
            column.name = Name::new(&format!("column_{number}")).unwrap();
            table.columns.push(column);
        }
    };
    accepted(|table| add(table, COLUMNS_MAX));
    assert_eq!(refused(|table| add(table, COLUMNS_MAX + 1)), SchemaError::Columns(257));
    let twice = refused(|table| table.columns[3].name = table.columns[2].name.clone());
    assert_eq!(twice.to_string(), "column a_int is declared twice: rename one of them");
    let twice = refused(|table| table.columns[3].id = table.columns[2].id);
    assert!(matches!(twice, SchemaError::ColumnTwice(_)));
}

#[test]
fn a_primary_key_identifies_a_row() {
    assert_eq!(refused(|table| table.primary_key.clear()), SchemaError::PrimaryKey);
    assert_eq!(refused(|table| table.primary_key = vec![ID, ID]), SchemaError::KeyColumns);
    assert_eq!(refused(|table| table.primary_key = vec![ColumnId(99)]), SchemaError::KeyColumns);
    let nullable = refused(|table| table.primary_key = vec![INT]);
    assert_eq!(nullable.to_string(), "column a_int is in the primary key: it must be NOT NULL");
    let json = refused(|table| {
        table.columns[usize::from(JSON.0)].not_null = true;
        table.primary_key = vec![JSON];
    });
    assert!(json.to_string().contains("a_json is JSON, which has no order"), "{json}");
    let long = |table: &mut TableSchema| {
        table.columns.iter_mut().for_each(|column| column.not_null = true);
        let ordered = table.columns.iter().filter(|column| column.column_type.is_ordered());
        table.primary_key = ordered.map(|column| column.id).collect();
    };
    assert_eq!(refused(long), SchemaError::PrimaryKey);
    accepted(|table| {
        long(table);
        table.primary_key.truncate(KEY_COLUMNS_MAX);
    });
}

#[test]
fn an_index_has_a_number_and_ordered_columns() {
    let index = |id, columns: &[ColumnId]| Index { id: IndexId(id), columns: columns.to_vec() };
    accepted(|table| table.indexes = vec![index(1, &[INT, TEXT]), index(2, &[TEXT, INT])]);
    for indexes in [vec![index(1, &[INT]), index(1, &[TEXT])], vec![index(1, &[])]] {
        assert_eq!(refused(|table| table.indexes = indexes), SchemaError::Index);
    }
    let twice = vec![index(1, &[INT, INT])];
    assert_eq!(refused(|table| table.indexes = twice), SchemaError::KeyColumns);
    let json = vec![index(1, &[INT, JSON])];
    assert!(matches!(refused(|table| table.indexes = json), SchemaError::Unordered { .. }));
    let many = |count: usize| -> Vec<Index> {
        (0..count).map(|id| index(id.try_into().unwrap(), &[INT])).collect()
    };
    accepted(|table| table.indexes = many(INDEXES_MAX));
    assert_eq!(refused(|table| table.indexes = many(17)), SchemaError::Indexes(17));
}

#[test]
fn a_default_is_of_its_columns_type() {
    let by_type = [
        (ColumnDefault::Now, ColumnType::Timestamp),
        (ColumnDefault::SnowflakeId, ColumnType::BigInt),
        (ColumnDefault::UuidV7, ColumnType::Uuid),
        (ColumnDefault::CurrentUser, ColumnType::Text),
    ];
    for (default, fits) in by_type {
        for column in testing::table().columns {
            let mut table = testing::table();
            set_default(&mut table, column.id, default.clone());
            assert_eq!(table.check().is_ok(), column.column_type == fits, "{default:?}");
        }
    }
    accepted(|table| set_default(table, INT, ColumnDefault::Value(Value::Integer(1))));
    let null = ColumnDefault::Value(Value::Null);
    accepted(|table| set_default(table, INT, null.clone()));
    assert!(matches!(refused(|table| set_default(table, ID, null)), SchemaError::NullDefault(_)));
    let wrong =
        refused(|table| set_default(table, INT, ColumnDefault::Value(Value::Boolean(true))));
    assert_eq!(
        wrong.to_string(),
        "the default of column a_int: the column is INT, the value is a boolean: write a value of \
         the column's type"
    );
}

#[test]
fn only_numbers_are_added_up_and_never_in_a_key() {
    let merge = |column: ColumnId| {
        move |table: &mut TableSchema| {
            table.columns[usize::from(column.0)].merge = MergeRule::Add;
        }
    };
    accepted(merge(INT));
    assert!(matches!(refused(merge(BOOLEAN)), SchemaError::Merge(_)));
    assert!(matches!(refused(merge(ID)), SchemaError::Merge(_)));
}

#[test]
fn rows_expire_where_the_kind_of_the_table_says_so() {
    let shared = TableKind::Shared(Sharing { access: AccessLevel::Read, owner_column: None });
    for (kind, ttl_seconds, expected) in [
        (TableKind::User, None, Ok(())),
        (TableKind::User, Some(1), Err(SchemaError::TtlOfUserTable)),
        (TableKind::Stream, None, Err(SchemaError::Ttl)),
        (TableKind::Stream, Some(0), Err(SchemaError::Ttl)),
        (TableKind::Stream, Some(TTL_SECONDS_MAX), Ok(())),
        (TableKind::Stream, Some(TTL_SECONDS_MAX + 1), Err(SchemaError::Ttl)),
        (shared.clone(), None, Ok(())),
        (shared.clone(), Some(1), Ok(())),
        (shared, Some(0), Err(SchemaError::Ttl)),
    ] {
        let table = TableSchema { kind, ttl_seconds, ..testing::table() };
        assert_eq!(table.check(), expected, "{:?} {:?}", table.kind, table.ttl_seconds);
    }
}

#[test]
fn an_owner_column_holds_the_writers_id_and_nothing_else_sets_it() {
    let owned_by = |column: ColumnId| {
        let access = AccessLevel::Write;
        TableKind::Shared(Sharing { access, owner_column: Some(column) })
    };
    accepted(|table| table.kind = owned_by(TEXT));
    for column in [INT, ColumnId(99)] {
        assert_eq!(refused(|table| table.kind = owned_by(column)), SchemaError::OwnerColumn);
    }
    let with_default = refused(|table| {
        table.kind = owned_by(TEXT);
        set_default(table, TEXT, ColumnDefault::CurrentUser);
    });
    assert_eq!(with_default, SchemaError::OwnerColumn);
}

#[test]
fn a_device_knows_the_lane_of_a_row_from_the_schema_alone() {
    let alice = TenantId::new("alice").unwrap();
    let mut table = testing::table();
    assert_eq!(table.lane(&alice), Lane::User(alice.clone()));
    table.kind = TableKind::Stream;
    assert_eq!(table.lane(&alice), Lane::User(alice.clone()));
    table.kind = TableKind::Shared(Sharing { access: AccessLevel::Read, owner_column: None });
    assert_eq!(table.lane(&alice).to_string(), "shared/test");
    assert_eq!(table.name.in_replica(), "test__everything");
    assert_eq!(table.column_named("a_int").map(|column| column.id), Some(INT));
    assert_eq!(table.column_named("missing"), None);
}
