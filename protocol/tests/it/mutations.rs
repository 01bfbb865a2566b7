//! Mutations: the hash that chains them, and the sentences about those that were refused.

use protocol::error_code::ErrorCode;
use protocol::ids::{ColumnId, ContentHash, SchemaVersion, TableId};
use protocol::mutation::{
    Action, ColumnValue, Mutation, MutationDigest, Operation, Reason, Rejection,
};
use protocol::testing;
use protocol::value::Value;

fn insert(id: i64) -> Mutation {
    let action = Action::Insert(vec![ColumnValue(ColumnId(0), Value::Integer(id))]);
    let (table, version) = (TableId(1), SchemaVersion(1));
    Mutation { operations: vec![Operation { table, version, action, guard: None }] }
}

/// Without the chain, two copies of a replica that wrote the same mutation after different ones
/// would take each other's decision for their own.
#[test]
fn equal_mutations_after_different_ones_have_different_hashes() {
    let (one, other) = (
        ContentHash::START.then(MutationDigest::of(&insert(1))),
        ContentHash::START.then(MutationDigest::of(&insert(2))),
    );
    assert_ne!(one, other);
    assert_ne!(
        one.then(MutationDigest::of(&insert(3))),
        other.then(MutationDigest::of(&insert(3)))
    );
    assert_eq!(
        one.then(MutationDigest::of(&insert(3))),
        ContentHash::START
            .then(MutationDigest::of(&insert(1)))
            .then(MutationDigest::of(&insert(3)))
    );
}

/// The value that another program computes: SHA-256 of 16 zero bytes and of the first 16 bytes of that of the encoded mutation.
#[test]
fn the_hash_of_a_mutation_never_changes() {
    let hash = ContentHash::START.then(MutationDigest::of(&insert(1)));
    assert_eq!(hash.to_string(), "4514b5dfc865e48e297ca7521bc2631b");
}

#[test]
fn a_refusal_names_table_column_and_what_to_do() {
    let schema = testing::table();
    let column = schema.column_named("a_int").map(|column| column.id);
    let mut refusal = Rejection { operation: 0, table: schema.id, column, reason: Reason::NotNull };
    assert_eq!(
        refusal.describe(Some(&schema)),
        "test.everything, column a_int: it is NOT NULL: give it a value"
    );
    assert_eq!(refusal.code(), ErrorCode::Constraint);
    assert!(refusal.describe(None).starts_with("table number 1, column number 2: it is NOT NULL"));
    refusal.column = None;
    refusal.reason = Reason::CommitTooLarge;
    assert_eq!(
        refusal.describe(Some(&schema)),
        "test.everything: one write takes at most 1048576 bytes: split it into several"
    );
}
