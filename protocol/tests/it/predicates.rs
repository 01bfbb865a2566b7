//! The typed form of a WHERE clause: what it accepts, says, and emits. That it selects what SQLite
//! selects is tested in `e2e/differential`.

use protocol::ids::ColumnId;
use protocol::limits::{
    IN_LIST_MAX, PREDICATE_DEPTH_MAX, PREDICATE_LIKES_MAX, PREDICATE_NODES_MAX,
    PREDICATE_VALUES_MAX,
};
use protocol::predicate::{CompareOp, LikePattern, Operand, Predicate, PredicateError, Truth};
use protocol::testing;
use protocol::value::{Value, ValueRef};

/// Columns of the table of [`testing::table`].
const ID: ColumnId = ColumnId(0);
const BOOLEAN: ColumnId = ColumnId(1);
const INT: ColumnId = ColumnId(2);
const BIGINT: ColumnId = ColumnId(3);
const DOUBLE: ColumnId = ColumnId(4);
const TEXT: ColumnId = ColumnId(5);
const JSON: ColumnId = ColumnId(7);
const OTHER_INT: ColumnId = ColumnId(11);

fn compare(column: ColumnId, op: CompareOp, value: Value) -> Predicate {
    Predicate::Compare { column, op, operand: Operand::Value(value) }
}

fn columns(left: ColumnId, right: ColumnId) -> Predicate {
    Predicate::Compare { column: left, op: CompareOp::Less, operand: Operand::Column(right) }
}

fn like(column: ColumnId, pattern: &str) -> Predicate {
    Predicate::Like { column, pattern: LikePattern::new(pattern).unwrap() }
}

/// A list of distinct numbers.
fn list(count: usize) -> Predicate {
    let values = (0..count).map(|number| Value::Integer(number.try_into().unwrap())).collect();
    Predicate::In { column: INT, values }
}

fn refused(predicate: &Predicate) -> String {
    predicate.check(&testing::table()).unwrap_err().to_string()
}

#[test]
fn a_comparison_is_of_one_type_and_names_the_column_when_it_is_not() {
    let table = testing::table();
    for predicate in [
        compare(INT, CompareOp::Less, Value::Null),
        columns(INT, BIGINT),
        columns(INT, OTHER_INT),
        Predicate::IsNull(JSON),
        like(TEXT, "%"),
        list(IN_LIST_MAX),
    ] {
        assert_eq!(predicate.check(&table), Ok(()), "{predicate:?}");
    }
    for (predicate, told) in [
        (Predicate::IsNull(ColumnId(99)), "the table has no column number 99"),
        (
            compare(INT, CompareOp::Equal, Value::Integer(1 << 40)),
            "column a_int: 1099511627776 does not fit INT: declare the column BIGINT",
        ),
        (
            compare(BOOLEAN, CompareOp::Equal, Value::Integer(1)),
            "column a_boolean: the column is BOOLEAN, the value is an integer: write a value of \
             the column's type",
        ),
        (
            columns(INT, DOUBLE),
            "a_int and a_double are of different types, and a comparison converts nothing",
        ),
        (
            compare(JSON, CompareOp::Equal, Value::text("{}").unwrap()),
            "column a_json is JSON: only IS NULL and IS NOT NULL can be asked of it",
        ),
        (like(JSON, "%"), "column a_json is JSON: LIKE is for TEXT"),
        (list(0), "column a_int: IN takes 1 to 1000 values, here are 0"),
        (list(IN_LIST_MAX + 1), "column a_int: IN takes 1 to 1000 values, here are 1001"),
    ] {
        assert_eq!(refused(&predicate), told);
    }
}

#[test]
fn a_predicate_keeps_within_its_limits() {
    let table = testing::table();
    let parts = |count: usize| Predicate::Or(vec![Predicate::IsNull(INT); count]);
    assert_eq!(parts(PREDICATE_NODES_MAX - 1).check(&table), Ok(()));
    assert_eq!(parts(PREDICATE_NODES_MAX).check(&table), Err(PredicateError::Nodes));

    let likes = |count: usize| Predicate::Or(vec![like(TEXT, "%"); count]);
    assert_eq!(likes(PREDICATE_LIKES_MAX).check(&table), Ok(()));
    assert_eq!(likes(PREDICATE_LIKES_MAX + 1).check(&table), Err(PredicateError::Likes));

    let nested = |levels: usize| {
        (1..levels).fold(Predicate::IsNull(INT), |inner, _| Predicate::Not(Box::new(inner)))
    };
    assert_eq!(nested(PREDICATE_DEPTH_MAX).check(&table), Ok(()));
    assert_eq!(nested(PREDICATE_DEPTH_MAX + 1).check(&table), Err(PredicateError::Depth));

    let lists = |count: usize| Predicate::And(vec![list(IN_LIST_MAX); count]);
    assert_eq!(lists(PREDICATE_VALUES_MAX / IN_LIST_MAX).check(&table), Ok(()));
    let over = lists(PREDICATE_VALUES_MAX / IN_LIST_MAX + 1);
    assert_eq!(over.check(&table), Err(PredicateError::Values));
}

#[test]
fn a_null_makes_a_comparison_unknown() {
    let null = |_| ValueRef::Null;
    let one = |_| ValueRef::Integer(1);
    let equal_to_null = compare(ID, CompareOp::Equal, Value::Null);
    assert_eq!(equal_to_null.evaluate(&null), Truth::Unknown);
    assert_eq!(equal_to_null.evaluate(&one), Truth::Unknown);
    assert_eq!(Predicate::IsNull(ID).evaluate(&null), Truth::True);
    assert_eq!(Predicate::IsNull(ID).evaluate(&one), Truth::False);

    let list = |values: &[Value]| Predicate::In { column: ID, values: values.to_vec() };
    let (first, second) = (Value::Integer(1), Value::Integer(2));
    assert_eq!(list(&[second.clone(), Value::Null]).evaluate(&one), Truth::Unknown);
    assert_eq!(list(&[Value::Null, first]).evaluate(&one), Truth::True);
    assert_eq!(list(&[second]).evaluate(&one), Truth::False);
    assert_eq!(list(&[Value::Null]).evaluate(&null), Truth::Unknown);
}

#[test]
fn logic_is_three_valued() {
    use Truth::{False, True, Unknown};
    let row = |_| ValueRef::Null;
    let constant = Predicate::Constant;
    for (left, right, and, or) in [
        (False, False, False, False),
        (False, Unknown, False, Unknown),
        (False, True, False, True),
        (Unknown, Unknown, Unknown, Unknown),
        (Unknown, True, Unknown, True),
        (True, True, True, True),
    ] {
        for parts in [vec![constant(left), constant(right)], vec![constant(right), constant(left)]]
        {
            assert_eq!(Predicate::And(parts.clone()).evaluate(&row), and, "{parts:?}");
            assert_eq!(Predicate::Or(parts.clone()).evaluate(&row), or, "{parts:?}");
        }
    }
    for (truth, not) in [(False, True), (Unknown, Unknown), (True, False)] {
        assert_eq!(Predicate::Not(Box::new(constant(truth))).evaluate(&row), not);
    }
    assert_eq!(Predicate::And(vec![]).evaluate(&row), True);
    assert_eq!(Predicate::Or(vec![]).evaluate(&row), False);
    assert!(True.is_true() && !Unknown.is_true() && !False.is_true());
}

#[test]
fn emitted_sql_binds_every_value() {
    let predicate = Predicate::And(vec![
        Predicate::Not(Box::new(Predicate::IsNull(JSON))),
        Predicate::between(INT, Value::Integer(1), Value::Integer(2)),
        Predicate::Or(vec![like(TEXT, "a\\%%"), columns(INT, BIGINT), Predicate::Or(vec![])]),
        Predicate::In { column: BOOLEAN, values: vec![Value::Boolean(true), Value::Null] },
    ]);
    let sql = predicate.to_sql(&testing::table());
    assert_eq!(
        sql.text,
        "(NOT ([a_json] IS NULL) AND ([a_int] >= ?1 AND [a_int] <= ?2) AND ([a_text] LIKE ?3 \
         ESCAPE '\\' OR [a_int] < [a_bigint] OR 0) AND [a_boolean] IN (?4, ?5))"
    );
    assert_eq!(
        sql.parameters,
        [
            Value::Integer(1),
            Value::Integer(2),
            Value::text("a\\%%").unwrap(),
            Value::Boolean(true),
            Value::Null,
        ]
    );
}
