//! What the text of a statement says, where nobody else would say it.

use crate::names::sqlite_name;
use crate::tokens::{Kind, Token, follows, tokens};

/// The SQLite name of the table that a subscription is to, as far as its text says it: the one
/// behind FROM.
pub fn subscribed_table(sql: &str) -> Option<String> {
    let tokens = tokens(sql);
    let from = tokens.iter().position(|token| token.is_word("FROM"))?;
    let (at, namespace) = follows(&tokens, from + 1).filter(|(_, name)| name.is_name())?;
    let (dot, _) = follows(&tokens, at + 1).filter(|(_, dot)| dot.text == ".")?;
    let (_, table) = follows(&tokens, dot + 1).filter(|(_, table)| table.is_name())?;
    Some(sqlite_name(&namespace.name(), &table.name()))
}

/// A statement without what may be somebody's: a `?` in place of each value, and no comment.
pub fn without_values(sql: &str) -> String {
    let word = |token: &Token<'_>| match token.kind {
        Kind::Space => " ".to_owned(),
        Kind::Text | Kind::Number => "?".to_owned(),
        _ => token.text.to_owned(),
    };
    tokens(sql).iter().map(word).collect()
}

/// Whether the statement that makes a trigger, as the file has it, makes one that runs after a
/// change. Without a word it runs before.
pub(crate) fn is_after(create_trigger: &str) -> bool {
    let tokens = tokens(create_trigger);
    let mut said = tokens.iter().filter(|token| token.kind != Kind::Space);
    // CREATE TRIGGER name …
    said.nth(3).is_some_and(|token| token.is_word("AFTER"))
}

/// Where a statement inserts, as far as its text says it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Insertion {
    /// The SQLite name of the table.
    pub(crate) table: String,
    /// The columns that it names.
    pub(crate) columns: Columns,
    /// Whether it changes a row that is there where it would make one: `REPLACE INTO`,
    /// `INSERT OR REPLACE`, `ON CONFLICT … DO UPDATE`.
    pub(crate) is_upsert: bool,
}

/// Which columns an INSERT gives values to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Columns {
    /// These, in lower case.
    Named(Vec<String>),
    /// All, since it names none: a list of them could stand here, in bytes from the beginning.
    All(usize),
}

/// The INSERT that a rewritten statement is, if it is one.
pub(crate) fn insertion(sql: &str) -> Option<Insertion> {
    let mut end = 0;
    let ends: Vec<(Token<'_>, usize)> = tokens(sql)
        .into_iter()
        .filter_map(|token| {
            end += token.text.len();
            (token.kind != Kind::Space).then_some((token, end))
        })
        .skip_while(|(token, _)| token.text == ";")
        .collect();
    let verbs = ["INSERT", "REPLACE", "WITH"];
    ends.first().filter(|(first, _)| verbs.iter().any(|verb| first.is_word(verb)))?;
    let mut depth = 0_usize;
    let into = ends.iter().position(|(token, _)| {
        match token.text {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && token.is_word("INTO")
    })?;
    // `main` is the one database there is.
    let has_database = ends.get(into + 2).is_some_and(|(token, _)| token.text == ".");
    let place = if has_database { into + 3 } else { into + 1 };
    let (table, end) = ends.get(place)?;
    let (mut list_at, mut at) = (*end, place + 1);
    if ends.get(at).is_some_and(|(token, _)| token.is_word("AS")) {
        list_at = ends.get(at + 1)?.1;
        at += 2;
    }
    let columns = match ends.get(at) {
        Some((token, _)) if token.text == "(" => {
            let rest = ends[at + 1..].iter().take_while(|(token, _)| token.text != ")");
            let names = rest.filter(|(token, _)| token.text != ",");
            Columns::Named(names.map(|(token, _)| token.name()).collect())
        }
        Some((token, _)) if token.is_word("DEFAULT") => Columns::Named(Vec::new()),
        _ => Columns::All(list_at),
    };
    let is_upsert = ends.windows(2).any(|two| {
        let (first, second) = (two[0].0, two[1].0);
        (first.is_word("REPLACE") && second.is_word("INTO"))
            || (first.is_word("DO") && second.is_word("UPDATE"))
    });
    Some(Insertion { table: table.name(), columns, is_upsert })
}

/// Whether a trigger can keep those behind it from running, and not the change: `RAISE(IGNORE)`.
pub(crate) fn ignores(create_trigger: &str) -> bool {
    let tokens = tokens(create_trigger);
    let said: Vec<_> = tokens.iter().filter(|token| token.kind != Kind::Space).collect();
    said.windows(3).any(|three| {
        three[0].is_word("RAISE") && three[1].text == "(" && three[2].is_word("IGNORE")
    })
}

/// Whether a statement is about savepoints.
pub(crate) fn is_of_savepoints(sql: &str) -> bool {
    let tokens = tokens(sql);
    let first = tokens.iter().find(|token| token.kind != Kind::Space && token.text != ";");
    let words = ["SAVEPOINT", "RELEASE", "ROLLBACK"];
    first.is_some_and(|first| words.iter().any(|word| first.is_word(word)))
}

#[cfg(test)]
mod tests;
