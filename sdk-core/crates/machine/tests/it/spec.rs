//! The tables of `SPEC.md`.

use std::collections::{BTreeMap, BTreeSet};

const SPEC: &str = include_str!("../../SPEC.md");

/// A table: by event and state, what its cell says.
pub(crate) type Table = BTreeMap<(String, String), String>;

/// Reads the table behind `<!-- table: name -->`.
pub(crate) fn table(name: &str) -> Table {
    let mark = format!("<!-- table: {name} -->\n");
    let (_, behind) = SPEC.split_once(&mark).expect("SPEC.md has the table");
    let mut rows = behind.lines().take_while(|line| line.starts_with('|')).map(cells);
    let head = rows.next().expect("the table has a head");
    assert!(rows.next().expect("a line follows it").iter().all(|cell| cell == "---"));
    let mut table = Table::new();
    for row in rows {
        assert_eq!(row.len(), head.len(), "a cell of {:?} is missing or too much", row[0]);
        for (state, cell) in head.iter().zip(&row).skip(1) {
            let twice = table.insert((row[0].clone(), state.clone()), cell.clone());
            assert_eq!(twice, None, "{:?} is there twice", row[0]);
        }
    }
    table
}

fn cells(line: &str) -> Vec<String> {
    let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
    inner.split('|').map(|cell| cell.trim().to_owned()).collect()
}

/// Checks that the table is about these events and states and no others, and that each of its
/// cells says what `outcome` gives.
pub(crate) fn check(
    name: &str,
    events: &[&str],
    states: &[&str],
    outcome: impl Fn(&str, &str) -> String,
) {
    let table = table(name);
    let crossed = events
        .iter()
        .flat_map(|event| states.iter().map(|state| ((*event).to_owned(), (*state).to_owned())));
    let crossed: BTreeSet<_> = crossed.collect();
    let written: BTreeSet<_> = table.keys().cloned().collect();
    assert_eq!(written, crossed, "SPEC.md has every cell and no other");
    let mut wrong = Vec::new();
    for ((event, state), said) in &table {
        let done = outcome(event, state);
        if done != *said {
            wrong.push(format!("{state} × {event}: SPEC.md says {said:?}, done is {done:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} cells:\n{}", wrong.len(), wrong.join("\n"));
}
