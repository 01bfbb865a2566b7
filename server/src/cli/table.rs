//! An answer as a table for people.

use serde_json::Value;

/// How wide a column is made. A wider cell stands out of it.
const PADDED_MAX: usize = 100;

/// Shows an answer: its rows, or how many a write has changed.
pub(super) fn show(answer: &Value) -> String {
    let Some(columns) = answer["columns"].as_array() else {
        let affected = answer["rows_affected"].as_u64().unwrap_or_default();
        return format!("{} changed", count(affected));
    };
    let rows = answer["rows"].as_array().map_or(&[][..], Vec::as_slice);
    let head: Vec<String> = columns.iter().map(|column| cell(&column["name"])).collect();
    let is_number: Vec<bool> = columns.iter().map(|column| is_number(&column["type"])).collect();
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.as_array().map_or(Vec::new(), |row| row.iter().map(cell).collect()))
        .collect();
    let width = |column: usize| {
        let of = |line: &Vec<String>| line.get(column).map_or(0, |cell| cell.chars().count());
        cells.iter().chain([&head]).map(of).max().unwrap_or(0).min(PADDED_MAX)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |line: &[String]| {
        let padded = line.iter().zip(&widths).zip(&is_number).map(|((cell, width), number)| {
            if *number { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        padded.collect::<Vec<_>>().join(" | ").trim_end().to_owned()
    };
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let mut lines = vec![line(&head), rule.join("-+-")];
    lines.extend(cells.iter().map(|cells| line(cells)));
    lines.push(count(rows.len() as u64));
    lines.join("\n")
}

fn count(rows: u64) -> String {
    if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") }
}

fn is_number(column_type: &Value) -> bool {
    matches!(column_type.as_str(), Some("INT" | "BIGINT" | "DOUBLE"))
}

/// A value in one line, so that nothing it has in it moves the cursor.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::String(text) => {
            let escape = |c: char| match c.is_control() {
                true => c.escape_default().to_string(),
                false => c.to_string(),
            };
            text.chars().map(escape).collect()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_are_aligned_and_null_is_shown() {
        let answer = json!({
            "columns": [{"name": "id", "type": "BIGINT"}, {"name": "body", "type": "TEXT"}],
            "rows": [["7", "a\u{1b}[2J\nb"], ["12345", null]],
            "positions": [],
        });
        let shown =
            "   id | body\n------+--------------\n    7 | a\\u{1b}[2J\\nb\n12345 | NULL\n2 rows";
        assert_eq!(show(&answer), shown);
    }

    #[test]
    fn a_write_says_how_many_rows_it_changed() {
        assert_eq!(show(&json!({"rows_affected": 1, "positions": []})), "1 row changed");
        assert_eq!(show(&json!({"columns": [], "rows": []})).lines().last(), Some("0 rows"));
    }
}
