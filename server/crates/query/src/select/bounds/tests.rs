use std::time::Duration;

use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::physical_plan::collect;
use datafusion::prelude::{SessionConfig, SessionContext};
use protocol::error_code::ErrorCode;

use super::*;

/// Two tables of ten rows.
fn context() -> SessionContext {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    for table in ["a", "b"] {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..10));
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values(["x"; 10]));
        let columns = [("x", Arc::clone(&numbers)), ("y", numbers), ("t", texts)];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        context.register_batch(table, batch).unwrap();
    }
    context
}

#[tokio::test]
async fn a_condition_looks_at_the_clock_and_changes_nothing_whatever_the_join() {
    let (context, texts) = (context(), Texts::default());
    for sql in [
        "SELECT a.y, b.y FROM a JOIN b ON a.x + b.x < 5",
        "SELECT a.y FROM a JOIN b ON a.x = b.x AND a.x + b.y < 5",
        "SELECT a.y, b.y FROM a LEFT JOIN b ON a.x < b.x AND b.y > 7",
        "SELECT a.y, b.y FROM a FULL JOIN b ON a.x = b.x AND a.y + b.y > 7",
        "SELECT y FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE b.x < a.x)",
        "SELECT y FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.x = a.x AND b.y + a.y > 7)",
    ] {
        // A join runs once.
        let plan = async || context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        let bounded = async |until| bound_joins(plan().await, 1_000, until, &texts).unwrap();
        let run = async |plan| collect(plan, context.task_ctx()).await.map_err(SqlError::from);
        let expected = run(plan().await).await.unwrap();
        let fine = run(bounded(Instant::now() + Duration::from_secs(60)).await).await.unwrap();
        let shown = |batches: &[RecordBatch]| pretty_format_batches(batches).unwrap().to_string();
        assert_eq!(shown(&fine), shown(&expected), "{sql}");
        let late = run(bounded(Instant::now()).await).await;
        assert_eq!(late.unwrap_err().code, ErrorCode::Timeout, "{sql}");
    }
}

#[tokio::test]
async fn rows_may_be_long_where_text_of_a_table_is_read() {
    let context = context();
    for (sql, expected) in [
        ("SELECT x FROM a WHERE y > 5", false),
        ("SELECT count(*) FROM a, b", false),
        ("SELECT x FROM a WHERE t LIKE '%x'", true),
        ("SELECT max(c) FROM (SELECT x, concat('y', x) AS c FROM a) p JOIN b ON b.x = p.x", true),
        ("SELECT x FROM a WHERE x IN (SELECT x FROM b WHERE t = 'x')", true),
    ] {
        let plan = context.sql(sql).await.unwrap().into_optimized_plan().unwrap();
        assert_eq!(has_long_rows(&plan).unwrap(), expected, "{sql}");
    }
}
