//! `ALTER TABLE` beside others who change the same, and before all have heard of it.

use std::sync::Arc;
use std::time::Duration;

use protocol::error_code::ErrorCode;
use protocol::ids::{ColumnId, SchemaVersion};
use protocol::limits::COLUMNS_MAX;
use protocol::schema::{Column, TableSchema};
use server_engine::Command;
use server_query::Shards;

use crate::world::{World, admin, user};

async fn world() -> World {
    let world = World::new().await;
    world.ok(&admin(), "CREATE NAMESPACE app").await;
    world.ok(&admin(), "CREATE USER TABLE app.t (id INT PRIMARY KEY, a INT)").await;
    world.ok(&user("ann"), "INSERT INTO app.t VALUES (1, 1)").await;
    world
}

fn table(world: &World) -> TableSchema {
    let catalog = world.memory.catalog();
    catalog.named(&"app.t".parse().unwrap()).unwrap().schema().clone()
}

fn names(schema: &TableSchema) -> Vec<String> {
    schema.columns.iter().map(|column| column.name.to_string()).collect()
}

/// Another node has its own latch. What it has defined first stands.
#[tokio::test]
async fn a_change_that_another_node_has_made_first_is_not_lost() {
    let world = world().await;
    let memory = Arc::clone(&world.memory);
    let mut others = table(&world);
    others.version = SchemaVersion(2);
    let (id, name) = (ColumnId(2), "theirs".parse().unwrap());
    others.columns.push(Column { id, name, ..others.columns[1].clone() });
    let mut define = Some(Command::Define(Box::new(others)));
    *world.memory.before.lock().unwrap() = Some(Box::new(move |_| {
        if let Some(define) = define.take() {
            memory.apply(define);
        }
        Ok(())
    }));
    world.ok(&admin(), "ALTER TABLE app.t ADD COLUMN ours INT DEFAULT 3").await;
    let schema = table(&world);
    assert_eq!(schema.version, SchemaVersion(3));
    assert_eq!(names(&schema), ["id", "a", "theirs", "ours"]);
    assert_eq!(schema.columns[3].id, ColumnId(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_changes_at_the_same_time_all_happen_and_a_table_does_not_grow_without_end() {
    let world = Arc::new(world().await);
    let added: Vec<_> = (0..COLUMNS_MAX)
        .map(|number| {
            let world = Arc::clone(&world);
            let sql = format!("ALTER TABLE app.t ADD COLUMN c{number} INT");
            tokio::spawn(async move { world.run(&admin(), &sql).await })
        })
        .collect();
    let mut refused = Vec::new();
    for one in added {
        refused.extend(one.await.unwrap().err().map(|error| error.code));
    }
    assert_eq!(refused, [ErrorCode::TooLarge; 2], "two columns were there before");
    let schema = table(&world);
    assert_eq!(schema.columns.len(), COLUMNS_MAX);
    assert_eq!(schema.version.0 as usize, 1 + COLUMNS_MAX - 2);
    world.ok(&admin(), "ALTER TABLE app.t DROP COLUMN a").await;
    world.ok(&admin(), "ALTER TABLE app.t ADD COLUMN last INT").await;
    assert_eq!(table(&world).columns.last().unwrap().id, ColumnId(256));
}

/// A shard that has not heard of the column would say NULL of rows that have its default.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_waits_for_a_shard_to_hear_of_a_column() {
    let world = world().await;
    for sql in ["SELECT b FROM app.t WHERE id = 1", "UPDATE app.t SET a = b WHERE b = 9"] {
        world.ok(&admin(), "ALTER TABLE app.t DROP COLUMN IF EXISTS b").await;
        world.memory.hold_catalog_of_readers(true);
        world.ok(&admin(), "ALTER TABLE app.t ADD COLUMN b INT NOT NULL DEFAULT 9").await;
        let told = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            world.memory.hold_catalog_of_readers(false);
        };
        let ann = user("ann");
        let (answer, ()) = tokio::join!(world.run(&ann, sql), told);
        let answer = answer.unwrap();
        assert!(answer.rows.len() == 1 || answer.rows_affected == Some(1), "{sql}: {answer:?}");
        let nine = protocol::value::Value::Integer(9);
        assert!(answer.rows.iter().all(|row| row[0] == nine), "{sql}: {answer:?}");
    }
}

/// Whoever subscribes to all columns subscribes to the same after they have changed.
#[tokio::test]
async fn all_columns_mean_all_of_them_whatever_they_become() {
    let world = world().await;
    let meant = async |sql: &str| world.sql.subscription(user("ann"), sql, &[]).await.unwrap();
    let (all, one) = ("SELECT * FROM app.t", "SELECT a FROM app.t");
    let before = [meant(all).await.columns, meant(one).await.columns];
    world.ok(&admin(), "ALTER TABLE app.t ADD COLUMN b INT").await;
    assert_eq!([meant(all).await.columns, meant(one).await.columns], before);
    assert_eq!(before, [None, Some(vec![ColumnId(1)])]);
}
