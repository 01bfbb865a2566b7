//! `namespace.table` → `namespace__table`, by the token rules of SQLite.
//!
//! SQLite would read `chat.messages` as the table `messages` of a database `chat`, and there is one
//! database. So names of replicated tables are rewritten before a statement is prepared, and
//! nothing else is touched: not text, not comments, and no table that is not replicated.
//!
//! A table without an alias gets its bare name as one, so that `messages.id` works as it does on
//! the server; not in a statement with RETURNING, which does not know the alias. `$1` becomes `?1`:
//! for SQLite the first would be a name.

use std::collections::BTreeSet;

use crate::tokens::{Kind, Token, follows, tokens};

/// The SQLite name of a table.
pub(crate) fn sqlite_name(namespace: &str, table: &str) -> String {
    format!("{namespace}__{table}")
}

/// A name in double quotes.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The statement as it is prepared. `known` has the SQLite names of the replicated tables.
pub(crate) fn rewrite(sql: &str, known: &BTreeSet<String>) -> String {
    let tokens = tokens(sql);
    let has_returning = tokens.iter().any(|token| token.is_word("RETURNING"));
    let mut out = String::with_capacity(sql.len() + 32);
    let mut place = Place::default();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if let Some(table) = table(&tokens, at, known) {
            let Table { name, bare, end } = table;
            let is_column = follows(&tokens, end).is_some_and(|(_, next)| next.text == ".");
            // Elsewhere it is a column of a table that has the name of a namespace.
            let is_table = is_column || place.is_of_table();
            if is_table && is_column && !has_returning && !place.begins_element {
                out.push_str(&quoted(&bare));
            } else if is_table {
                out.push_str(&quoted(&name));
                let takes_alias = place.begins_element || place.is_target;
                if takes_alias && !has_returning && !has_alias(&tokens, end) {
                    out.push_str(" AS ");
                    out.push_str(&quoted(&bare));
                }
            } else {
                out.extend(tokens[at..end].iter().map(|token| token.text));
            }
            place.passed_name();
            at = end;
            continue;
        }
        match token.text.strip_prefix('$') {
            Some(digits) if is_number(digits) => {
                out.push('?');
                out.push_str(digits);
            }
            _ => out.push_str(token.text),
        }
        place.pass(token);
        at += 1;
    }
    out
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

struct Table {
    name: String,
    bare: String,
    /// The token behind it.
    end: usize,
}

/// The replicated table that begins at this token, if one does. What is a part of a longer name
/// (`other.chat.messages`) is none.
fn table(tokens: &[Token<'_>], at: usize, known: &BTreeSet<String>) -> Option<Table> {
    let first = tokens.get(at).filter(|token| token.is_name())?;
    let before = tokens[..at].iter().rev().find(|token| token.kind != Kind::Space);
    if before.is_some_and(|before| before.text == ".") {
        return None;
    }
    let (dot_at, _) = follows(tokens, at + 1).filter(|(_, dot)| dot.text == ".")?;
    let (table_at, table) = follows(tokens, dot_at + 1).filter(|(_, table)| table.is_name())?;
    let (namespace, bare) = (first.name(), table.name());
    let name = sqlite_name(&namespace, &bare);
    known.contains(&name).then_some(Table { name, bare, end: table_at + 1 })
}

/// Words that can stand behind a table and are no alias of it.
const NO_ALIAS: &[&str] = &[
    "WHERE",
    "JOIN",
    "LEFT",
    "RIGHT",
    "FULL",
    "INNER",
    "OUTER",
    "CROSS",
    "NATURAL",
    "ON",
    "USING",
    "GROUP",
    "ORDER",
    "LIMIT",
    "OFFSET",
    "HAVING",
    "WINDOW",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "INDEXED",
    "NOT",
    "RETURNING",
    "SET",
    "VALUES",
    "SELECT",
    "DEFAULT",
    "WITH",
];

fn has_alias(tokens: &[Token<'_>], end: usize) -> bool {
    let Some((_, next)) = follows(tokens, end) else { return false };
    next.kind == Kind::Quoted
        || next.kind == Kind::Text
        || (next.kind == Kind::Word && !NO_ALIAS.iter().any(|word| next.is_word(word)))
}

/// Words behind which a table is named, wherever they stand.
const BEFORE_TABLE: &[&str] = &[
    "FROM",
    "JOIN",
    "INTO",
    "UPDATE",
    // UPDATE OR …
    "ABORT",
    "FAIL",
    "IGNORE",
    "REPLACE",
    "ROLLBACK",
    "IN",
    "TABLE",
    "EXISTS",
    "REFERENCES",
    "ANALYZE",
    "REINDEX",
];

/// Where in a statement the next name would stand.
#[derive(Default)]
struct Place<'a> {
    /// Whether the brackets that are open are in a FROM clause.
    open: Vec<bool>,
    is_from: bool,
    /// At the beginning of an element of a FROM clause.
    begins_element: bool,
    /// Where the table is named that a statement writes; not within a trigger, where it has no alias.
    is_target: bool,
    is_create: bool,
    /// The last token that said something; none behind a name.
    last: Option<Token<'a>>,
    /// In CREATE INDEX or CREATE TRIGGER, whose first ON is before a table.
    awaits_on: bool,
    is_behind_on: bool,
}

impl<'a> Place<'a> {
    /// Whether a table is named here.
    fn is_of_table(&self) -> bool {
        let is_behind = |last: Token<'_>| BEFORE_TABLE.iter().any(|word| last.is_word(word));
        self.begins_element || self.is_behind_on || self.last.is_some_and(is_behind)
    }

    fn passed_name(&mut self) {
        (self.begins_element, self.is_behind_on) = (false, false);
        (self.is_target, self.last) = (false, None);
    }

    fn pass(&mut self, token: &Token<'a>) {
        if token.kind == Kind::Space {
            return;
        }
        let last = self.last.replace(*token);
        let was = |word: &str| last.is_some_and(|last| last.is_word(word));
        self.is_create |= token.is_word("CREATE");
        let or_what = ["ABORT", "FAIL", "IGNORE", "REPLACE", "ROLLBACK"];
        let writes = token.is_word("INTO")
            || token.is_word("UPDATE")
            || (token.is_word("FROM") && was("DELETE"))
            || (was("OR") && or_what.iter().any(|word| token.is_word(word)));
        self.is_target = writes && !self.is_create;
        self.is_behind_on = self.awaits_on && token.is_word("ON");
        self.awaits_on &= !self.is_behind_on;
        self.begins_element = match token.text {
            "(" => {
                // FROM (a, b), and FROM (SELECT …), which says so itself.
                let begins = self.begins_element;
                self.open.push(self.is_from);
                self.is_from = begins;
                begins
            }
            ")" => {
                self.is_from = self.open.pop().unwrap_or(false);
                false
            }
            "," => self.is_from,
            ";" => {
                *self = Self::default();
                false
            }
            // IS DISTINCT FROM compares two values.
            _ if token.is_word("FROM") && was("DISTINCT") => {
                self.last = None;
                false
            }
            _ if token.is_word("FROM") => {
                // DELETE takes an alias only with AS, and RETURNING not at all.
                self.is_from = !was("DELETE");
                self.is_from
            }
            _ if token.is_word("JOIN") => self.is_from,
            _ => {
                let creates = was("CREATE") || was("UNIQUE");
                self.awaits_on |= creates && (token.is_word("INDEX") || token.is_word("TRIGGER"));
                let ends = ["WHERE", "GROUP", "ORDER", "LIMIT", "HAVING", "WINDOW", "UNION"];
                let others = ["EXCEPT", "INTERSECT", "SELECT", "SET", "VALUES", "RETURNING"];
                if ends.iter().chain(&others).any(|word| token.is_word(word)) {
                    self.is_from = false;
                }
                false
            }
        };
    }
}

#[cfg(test)]
mod tests;
