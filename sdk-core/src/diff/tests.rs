use super::*;

/// Rows of a key and a value.
fn rows(rows: &[(i64, i64)]) -> Rows {
    let values = rows
        .iter()
        .map(|(key, value)| vec![Value::Integer(*key), Value::Integer(*value)])
        .collect();
    Rows::new(vec!["id".to_owned(), "value".to_owned()], values)
}

fn values(rows: &Rows) -> Vec<Vec<Value>> {
    rows.iter().map(|row| row.values().to_vec()).collect()
}

fn key() -> Vec<String> {
    vec!["id".to_owned()]
}

/// All lists of up to so many of these, each of them once or any number of times.
fn lists(of: &[(i64, i64)], most: usize, is_once: bool) -> Vec<Vec<(i64, i64)>> {
    let mut all = vec![vec![]];
    let mut last = all.clone();
    for _ in 0..most {
        let longer = |list: &Vec<(i64, i64)>| {
            let fits = |next: &&(i64, i64)| !is_once || list.iter().all(|(key, _)| *key != next.0);
            let with = |next: &(i64, i64)| [list.clone(), vec![*next]].concat();
            of.iter().filter(fits).map(with).collect::<Vec<_>>()
        };
        last = last.iter().flat_map(longer).collect();
        all.extend(last.clone());
    }
    all
}

/// Applies a difference, and counts what was made.
fn check(diff: &Diff, before: &Rows, now: &Rows) {
    let mut list = values(before);
    let mut made = 0;
    diff.apply(now, &mut list, |row| {
        made += 1;
        row.values().to_vec()
    });
    assert_eq!(list, values(now), "{diff:?}");
    assert_eq!(made, diff.inserted.len() + diff.updated.len());
    assert_eq!(before.len() - diff.removed.len(), now.len() - diff.inserted.len());
    for FromTo { from, to } in &diff.updated {
        let (old, new) = (before.values(*from), now.values(*to));
        assert!(old[0] == new[0] && old[1] != new[1], "{diff:?}");
    }
}

/// The fewest that can have moved: all but a longest part that has not.
fn fewest_moves(before: &[(i64, i64)], now: &[(i64, i64)]) -> usize {
    let at = |key: i64| before.iter().position(|(other, _)| *other == key);
    let stays: Vec<usize> = now.iter().filter_map(|(key, _)| at(*key)).collect();
    let parts = (0_u32..1 << stays.len()).filter(|part| {
        let taken: Vec<usize> = stays
            .iter()
            .enumerate()
            .filter(|(i, _)| part >> i & 1 == 1)
            .map(|(_, at)| *at)
            .collect();
        taken.is_sorted()
    });
    stays.len() - parts.map(|part| part.count_ones() as usize).max().unwrap_or(0)
}

#[test]
fn by_key_every_list_becomes_every_other_with_the_fewest_moves() {
    let lists = lists(&[(1, 0), (2, 0), (3, 0), (4, 0), (2, 1)], 4, true);
    for before in &lists {
        for now in &lists {
            let (old, new) = (rows(before), rows(now));
            let new = new.shared_with(&old);
            let diff = Diff::by_key(&old, &new, &key(), true).unwrap();
            check(&diff, &old, &new);
            assert_eq!(diff.moved.len(), fewest_moves(before, now), "{before:?} {now:?}");
            assert_eq!(diff.is_empty(), before == now);
        }
    }
}

#[test]
fn as_wholes_every_list_becomes_every_other() {
    let lists = lists(&[(1, 0), (2, 0), (1, 1)], 4, false);
    for before in &lists {
        for now in &lists {
            let (old, new) = (rows(before), rows(now));
            let new = new.shared_with(&old);
            let diff = Diff::by_rows(&old, &new);
            check(&diff, &old, &new);
            assert_eq!((diff.is_empty(), diff.updated.len()), (before == now, 0));
            // By a key that is none it says so, whatever was known.
            let is_once = |list: &[(i64, i64)]| {
                let keys: HashSet<i64> = list.iter().map(|(key, _)| *key).collect();
                keys.len() == list.len()
            };
            let is_key = is_once(now);
            if is_once(before) {
                let by_key = Diff::by_key(&old, &new, &key(), true);
                assert_eq!(by_key.is_ok(), is_key, "{before:?} {now:?}");
            }
            let by_key = Diff::by_key(&old, &new, &key(), false);
            assert!(is_key || by_key.is_err(), "{before:?} {now:?}");
        }
    }
}

#[test]
fn rows_that_are_equal_are_the_same_in_memory() {
    let old = rows(&[(1, 0), (2, 0), (3, 0), (4, 0), (5, 0)]);
    let is_same =
        |place: usize, new: &Rows, at: usize| Arc::ptr_eq(old.values(place), new.values(at));
    let new = rows(&[(1, 0), (4, 0), (2, 1), (3, 0), (6, 0), (5, 0)]).shared_with(&old);
    assert!(
        is_same(0, &new, 0) && is_same(3, &new, 1) && is_same(2, &new, 3) && is_same(4, &new, 5)
    );
    assert!(!is_same(1, &new, 2));
    let again = rows(&[(1, 0), (2, 0), (3, 0), (4, 0), (5, 0)]).shared_with(&old);
    assert!(again.is_same(&old) && again.get(0).unwrap().is_same(&old.get(0).unwrap()));
    assert!(!rows(&[(1, 0)]).shared_with(&old).is_same(&old));
}

#[test]
fn where_the_columns_are_others_all_rows_are() {
    let old = rows(&[(1, 0), (2, 0)]);
    let columns = ["value", "id", "more"].map(str::to_owned).to_vec();
    let row = |id| vec![Value::Integer(0), Value::Integer(id), Value::Null];
    let new = Rows::new(columns, vec![row(2), row(3)]).shared_with(&old);
    let diff = Diff::by_key(&old, &new, &key(), true).unwrap();
    assert_eq!((&*diff.removed, &*diff.inserted), (&[0][..], &[1][..]));
    assert_eq!(diff.updated, [FromTo { from: 1, to: 0 }]);
    assert_eq!(diff.moved, []);
    let diff = Diff::by_rows(&old, &new);
    assert_eq!((&*diff.removed, &*diff.inserted), (&[0, 1][..], &[0, 1][..]));
    let missing = Diff::by_key(&old, &new, &["other".to_owned()], true);
    assert_eq!(missing, Err(NoKey::Missing));
    let no_key = Rows::new(vec!["value".to_owned()], vec![vec![Value::Null]]);
    let diff = Diff::by_key(&no_key, &new, &key(), true).unwrap();
    assert_eq!((&*diff.removed, &*diff.inserted), (&[0][..], &[0, 1][..]));
}
