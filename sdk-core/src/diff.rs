//! What is new in a result, against another one.
//!
//! Where both begin and end with the same rows, and most often they do, only what lies between is
//! looked at. There, rows are found again by their keys. Those that are here and there have moved only
//! where they are not in the order in which they were: all but a longest part that is.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use protocol::value::Value;

use crate::rows::{Row, Rows};

/// What has changed in a result since the one that the same watcher was given before. All places count
/// from 0, and all lists are in ascending order of the places.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diff {
    /// The result before: no rows at first.
    pub before: Rows,
    /// The columns by whose values a row is known. Without any, a row that changes is another one.
    pub key: Vec<String>,
    /// The places, in the result before, of rows that are not here any more.
    pub removed: Vec<usize>,
    /// The places of rows that were not there before.
    pub inserted: Vec<usize>,
    /// Rows with the same key as before and other values. They may have moved, too.
    pub updated: Vec<FromTo>,
    /// Rows that are not in the order in which they were: as few as can be. Rows that merely make room
    /// for others have not moved.
    pub moved: Vec<FromTo>,
}

/// Where a row was and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FromTo {
    /// Its place in the result before.
    pub from: usize,
    /// Its place in this result.
    pub to: usize,
}

/// Why there is no difference by a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoKey {
    /// A column of it is not in the result.
    Missing,
    /// Two rows have the same.
    Twice,
}

impl Diff {
    /// Whether the rows and their order are those before.
    pub fn is_empty(&self) -> bool {
        let Self { removed, inserted, updated, moved, .. } = self;
        removed.is_empty() && inserted.is_empty() && updated.is_empty() && moved.is_empty()
    }

    /// Brings a list up to date that has an item for each row of the result before: afterwards it has
    /// one for each row of `rows`, the result that this difference came with. `make` is called for rows
    /// that are inserted or updated; all other items stay as they are. A list of another length is made
    /// anew.
    pub fn apply<T>(&self, rows: &Rows, list: &mut Vec<T>, mut make: impl FnMut(Row<'_>) -> T) {
        if list.len() != self.before.len() {
            *list = rows.iter().map(make).collect();
            return;
        }
        let mut make_at = |place: usize| rows.get(place).map(&mut make);
        let mut old: Vec<Option<T>> = list.drain(..).map(Some).collect();
        let mut new: Vec<Option<T>> = (0..rows.len()).map(|_| None).collect();
        for place in &self.removed {
            old[*place] = None;
        }
        for FromTo { from, to } in &self.moved {
            new[*to] = old[*from].take();
        }
        for place in &self.inserted {
            new[*place] = make_at(*place);
        }
        let mut stay = old.into_iter().flatten();
        for item in new.iter_mut().filter(|item| item.is_none()) {
            *item = stay.next();
        }
        for FromTo { to, .. } in &self.updated {
            new[*to] = make_at(*to);
        }
        list.extend(new.into_iter().flatten());
    }

    /// By the values of these columns. `is_known`: in `before` no two rows have the same.
    pub(crate) fn by_key(
        before: &Rows,
        now: &Rows,
        key: &[String],
        is_known: bool,
    ) -> Result<Self, NoKey> {
        let places = places(now, key).ok_or(NoKey::Missing)?;
        let Some(old_places) = places_before(before, key, &places) else {
            let no_rows = Rows::default();
            let mut all = Self::by_key(&no_rows, now, key, true)?;
            (all.removed, all.before) = ((0..before.len()).collect(), before.clone());
            return Ok(all);
        };
        let middle = Middle::of(before, now);
        let mut found = middle.found(Some(&old_places), Some(&places)).ok_or(NoKey::Twice)?;
        found.key = key.to_vec();
        let of = |place: usize| Key { values: now.values(place), places: Some(&places) };
        // Those outside are as they were, and differ from each other if they did.
        let outside = || (0..middle.begin).chain(middle.new_end..now.len()).map(of);
        let is_twice = if is_known {
            let new: HashSet<Key<'_>> = found.inserted.iter().map(|place| of(*place)).collect();
            !new.is_empty() && outside().any(|key| new.contains(&key))
        } else {
            let mut all: HashSet<Key<'_>> = (middle.begin..middle.new_end).map(of).collect();
            !outside().all(|key| all.insert(key))
        };
        if is_twice { Err(NoKey::Twice) } else { Ok(found) }
    }

    /// By all values: of rows that are equal, the first is the first again.
    pub(crate) fn by_rows(before: &Rows, now: &Rows) -> Self {
        if before.columns() != now.columns() {
            let (removed, inserted) = ((0..before.len()).collect(), (0..now.len()).collect());
            return Self { before: before.clone(), removed, inserted, ..Self::default() };
        }
        let found = Middle::of(before, now).found(None, None);
        // Rows may be there twice, so there is always something found.
        found.unwrap_or_default()
    }
}

/// Where the columns of a key are.
fn places(rows: &Rows, key: &[String]) -> Option<Vec<usize>> {
    key.iter().map(|name| rows.columns().iter().position(|column| column == name)).collect()
}

/// The same for the result before, which may have had other columns, or no rows.
fn places_before(before: &Rows, key: &[String], now: &[usize]) -> Option<Vec<usize>> {
    match before.is_empty() {
        true => Some(now.to_vec()),
        false => places(before, key),
    }
}

/// The values of some columns of a row, or of all.
struct Key<'a> {
    values: &'a [Value],
    places: Option<&'a [usize]>,
}

impl Key<'_> {
    fn values(&self) -> impl Iterator<Item = &Value> {
        let count = self.places.map_or(self.values.len(), <[usize]>::len);
        (0..count).map(|at| &self.values[self.places.map_or(at, |places| places[at])])
    }
}

impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.values().eq(other.values())
    }
}

impl Eq for Key<'_> {}

impl Hash for Key<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.values().for_each(|value| value.hash(state));
    }
}

/// What lies between the rows that are the same at the begin and at the end of two results.
struct Middle<'a> {
    before: &'a Rows,
    now: &'a Rows,
    is_same_columns: bool,
    begin: usize,
    old_end: usize,
    new_end: usize,
}

impl<'a> Middle<'a> {
    fn of(before: &'a Rows, now: &'a Rows) -> Self {
        let is_same_columns = before.columns() == now.columns();
        let (old, new) = (before.len(), now.len());
        let is_same = |old: usize, new: usize| {
            is_same_columns && Arc::ptr_eq(before.values(old), now.values(new))
        };
        let most = old.min(new);
        let begin = (0..most).take_while(|place| is_same(*place, *place)).count();
        let end = (1..=most - begin).take_while(|back| is_same(old - back, new - back)).count();
        Self { before, now, is_same_columns, begin, old_end: old - end, new_end: new - end }
    }

    /// What became of the rows of it. `None` where two have the same key, if they have one.
    fn found(&self, old_key: Option<&[usize]>, new_key: Option<&[usize]>) -> Option<Diff> {
        let mut old: HashMap<Key<'_>, VecDeque<usize>> = HashMap::new();
        for place in self.begin..self.old_end {
            let key = Key { values: self.before.values(place), places: old_key };
            old.entry(key).or_default().push_back(place);
        }
        if new_key.is_some() && old.values().any(|places| places.len() > 1) {
            return None;
        }
        let mut diff = Diff { before: self.before.clone(), ..Diff::default() };
        let (mut stays, mut seen) = (Vec::new(), HashSet::new());
        for to in self.begin..self.new_end {
            let key = || Key { values: self.now.values(to), places: new_key };
            if new_key.is_some() && !seen.insert(key()) {
                return None;
            }
            match old.get_mut(&key()).and_then(VecDeque::pop_front) {
                Some(from) => stays.push(FromTo { from, to }),
                None => diff.inserted.push(to),
            }
        }
        diff.removed = old.into_values().flatten().collect();
        diff.removed.sort_unstable();
        let is_other = |FromTo { from, to }: &FromTo| {
            !self.is_same_columns || self.before.values(*from) != self.now.values(*to)
        };
        diff.updated = stays.iter().copied().filter(is_other).collect();
        let in_order = longest_in_order(&stays);
        diff.moved =
            stays.into_iter().zip(in_order).filter(|(_, is)| !is).map(|(s, _)| s).collect();
        Some(diff)
    }
}

/// Which of them belong to a longest part that is in the order in which it was.
fn longest_in_order(stays: &[FromTo]) -> Vec<bool> {
    // Of all parts of one length, that which ends first; and what is before each in its part.
    let (mut ends, mut before) = (Vec::<usize>::new(), vec![usize::MAX; stays.len()]);
    for (at, stay) in stays.iter().enumerate() {
        let length = ends.partition_point(|end| stays[*end].from < stay.from);
        if length > 0 {
            before[at] = ends[length - 1];
        }
        match ends.get_mut(length) {
            Some(end) => *end = at,
            None => ends.push(at),
        }
    }
    let mut is_in_order = vec![false; stays.len()];
    let mut next = ends.last().copied();
    while let Some(at) = next {
        is_in_order[at] = true;
        next = before.get(at).copied().filter(|before| *before != usize::MAX);
    }
    is_in_order
}

#[cfg(test)]
mod tests;
