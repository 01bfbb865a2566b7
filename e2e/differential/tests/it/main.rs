//! One predicate, several judges. The live engine evaluates it on values, the replica asks SQLite, the
//! server the engine or DataFusion;
//! they must select the same rows, or a row would come and go depending on who was asked.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod judge;
mod server;

use proptest::collection::vec;
use proptest::prelude::*;
use protocol::ids::ColumnId;
use protocol::predicate::Predicate;
use protocol::testing;
use protocol::value::{Row, Value, ValueRef};

use judge::Sqlite;
use server::Server;

/// Gives the rows of a table keys of their own.
fn numbered(mut rows: Vec<Row>) -> Vec<Row> {
    for (number, row) in rows.iter_mut().enumerate() {
        row.0[0] = Value::Integer(i64::try_from(number).unwrap());
    }
    rows
}

/// The ids of the rows that satisfy a predicate, as the live engine sees it.
fn selected(rows: &[Row], predicate: &Predicate) -> Vec<i64> {
    let satisfies = |row: &Row| {
        let value = |id: ColumnId| -> ValueRef<'_> { row[usize::from(id.0)].as_ref() };
        predicate.evaluate(&value).is_true()
    };
    (0_i64..).zip(rows).filter(|(_, row)| satisfies(row)).map(|(id, _)| id).collect()
}

#[test]
fn sqlite_selects_what_the_live_engine_selects() {
    let table = testing::table();
    let strategy = (vec(testing::row(&table), 1..20), vec(testing::predicate(&table), 1..6));
    seeds::check("predicates", 2_000, &strategy, |(rows, predicates)| {
        let rows = numbered(rows);
        let sqlite = Sqlite::with_rows(&table, &rows);
        for predicate in predicates {
            prop_assert_eq!(predicate.check(&table), Ok(()));
            let selected = selected(&rows, &predicate);
            let sql = predicate.to_sql(&table);
            prop_assert_eq!(sqlite.select(&sql), selected, "{}", sql.text);
        }
        Ok(())
    });
}

#[test]
fn the_server_selects_what_the_live_engine_selects() {
    let table = testing::table();
    let strategy = (vec(testing::row(&table), 1..20), vec(testing::predicate(&table), 1..12));
    seeds::check("server-predicates", 30, &strategy, |(rows, predicates)| {
        let rows = numbered(rows);
        let server = Server::with_rows(&table, &rows);
        for predicate in predicates {
            let selected = selected(&rows, &predicate);
            let (sql, [engine, datafusion]) = server.select(&predicate);
            prop_assert_eq!(&engine, &selected, "pushed down: {}", &sql);
            prop_assert_eq!(&datafusion, &selected, "left to DataFusion: {}", &sql);
        }
        Ok(())
    });
}

#[test]
fn sqlite_matches_the_patterns_that_the_live_engine_matches() {
    let sqlite = Sqlite::empty();
    let strategy = (testing::pattern(), testing::text(), testing::text(), testing::text());
    seeds::check("like", 20_000, &strategy, |(pattern, start, middle, end)| {
        for text in [format!("{start}{middle}{end}"), start, middle] {
            let matched = sqlite.like(&text, pattern.as_str());
            prop_assert_eq!(pattern.matches(&text), matched, "{:?} on {:?}", &pattern, text);
        }
        Ok(())
    });
}

#[test]
fn sqlite_keeps_every_value_and_orders_it_alike() {
    let table = testing::table();
    seeds::check("values", 1_000, &vec(testing::row(&table), 1..20), |rows| {
        let rows = numbered(rows);
        let sqlite = Sqlite::with_rows(&table, &rows);
        for (position, column) in table.columns.iter().enumerate() {
            let mut values: Vec<&Value> = rows.iter().map(|row| &row[position]).collect();
            values.sort();
            prop_assert_eq!(
                sqlite.column_in_order(column),
                values.into_iter().cloned().collect::<Vec<_>>(),
                "{}",
                &column.name
            );
        }
        Ok(())
    });
}
