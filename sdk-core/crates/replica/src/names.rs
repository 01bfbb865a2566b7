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

/// The SQLite name of a table.
pub(crate) fn sqlite_name(namespace: &str, table: &str) -> String {
    format!("{namespace}__{table}")
}

/// A name in double quotes.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Space,
    Word,
    /// In double quotes, brackets or backticks.
    Quoted,
    Text,
    Number,
    Parameter,
    Sign,
}

#[derive(Clone, Copy, Debug)]
struct Token<'a> {
    kind: Kind,
    text: &'a str,
}

impl Token<'_> {
    fn is_name(&self) -> bool {
        matches!(self.kind, Kind::Word | Kind::Quoted)
    }

    fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }

    /// The name that it is, without quotes. SQLite compares ASCII letters without their case.
    fn name(&self) -> String {
        let inner = |open: char, close: char| {
            let rest = self.text.strip_prefix(open)?;
            // It may end where the statement does.
            Some(rest.strip_suffix(close).unwrap_or(rest))
        };
        let name = match (inner('"', '"'), inner('`', '`'), inner('[', ']')) {
            (Some(name), ..) => name.replace("\"\"", "\""),
            (_, Some(name), _) => name.replace("``", "`"),
            (.., Some(name)) => name.to_owned(),
            _ => self.text.to_owned(),
        };
        name.to_ascii_lowercase()
    }
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
                if place.begins_element && !has_returning && !has_alias(&tokens, end) {
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

/// The next token that says something, from this place on.
fn follows<'t, 'a>(tokens: &'t [Token<'a>], from: usize) -> Option<(usize, &'t Token<'a>)> {
    let rest = tokens.get(from..)?;
    let place = rest.iter().position(|token| token.kind != Kind::Space)?;
    Some((from + place, &rest[place]))
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
        (self.begins_element, self.is_behind_on, self.last) = (false, false, None);
    }

    fn pass(&mut self, token: &Token<'a>) {
        if token.kind == Kind::Space {
            return;
        }
        let last = self.last.replace(*token);
        let was = |word: &str| last.is_some_and(|last| last.is_word(word));
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

/// Whether the statement that makes a trigger, as the file has it, makes one that runs after a
/// change. Without a word it runs before.
pub(crate) fn is_after(create_trigger: &str) -> bool {
    let tokens = tokens(create_trigger);
    let mut said = tokens.iter().filter(|token| token.kind != Kind::Space);
    // CREATE TRIGGER name …
    said.nth(3).is_some_and(|token| token.is_word("AFTER"))
}

/// Whether a statement changes a row that is there where it would make one: `REPLACE INTO`,
/// `INSERT OR REPLACE`, `ON CONFLICT … DO UPDATE`.
pub(crate) fn is_upsert(sql: &str) -> bool {
    let tokens = tokens(sql);
    let said: Vec<_> = tokens.iter().filter(|token| token.kind != Kind::Space).collect();
    said.windows(2).any(|two| {
        (two[0].is_word("REPLACE") && two[1].is_word("INTO"))
            || (two[0].is_word("DO") && two[1].is_word("UPDATE"))
    })
}

/// Where a statement inserts, as far as its text says it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Insertion {
    /// The SQLite name of the table.
    pub(crate) table: String,
    /// The columns that it names.
    pub(crate) columns: Columns,
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
    let (table, end) = ends.get(into + 1)?;
    let (mut list_at, mut at) = (*end, into + 2);
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
    Some(Insertion { table: table.name(), columns })
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
    let first = tokens.iter().find(|token| token.kind != Kind::Space);
    let words = ["SAVEPOINT", "RELEASE", "ROLLBACK"];
    first.is_some_and(|first| words.iter().any(|word| first.is_word(word)))
}

fn tokens(sql: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = sql;
    while !rest.is_empty() {
        let (kind, length) = token(rest);
        let (text, behind) = rest.split_at(length);
        tokens.push(Token { kind, text });
        rest = behind;
    }
    tokens
}

/// The kind and the bytes of the token that `text`, which is not empty, begins with.
fn token(text: &str) -> (Kind, usize) {
    let bytes = text.as_bytes();
    match bytes[0] {
        b'-' if bytes.get(1) == Some(&b'-') => {
            (Kind::Space, text.find('\n').map_or(text.len(), |at| at + 1))
        }
        b'/' if bytes.get(1) == Some(&b'*') => {
            (Kind::Space, text[2..].find("*/").map_or(text.len(), |at| at + 4))
        }
        b' ' | b'\t' | b'\n' | b'\r' | b'\x0c' => (Kind::Space, 1),
        b'\'' => (Kind::Text, until(text, '\'')),
        b'"' => (Kind::Quoted, until(text, '"')),
        b'`' => (Kind::Quoted, until(text, '`')),
        b'[' => (Kind::Quoted, text.find(']').map_or(text.len(), |at| at + 1)),
        b'?' => (Kind::Parameter, 1 + count(&text[1..], |c| c.is_ascii_digit())),
        b'$' | b':' | b'@' | b'#' if text[1..].starts_with(is_word) => {
            (Kind::Parameter, 1 + count(&text[1..], is_word))
        }
        b'0'..=b'9' => (Kind::Number, number(text)),
        b'.' if bytes.get(1).is_some_and(u8::is_ascii_digit) => (Kind::Number, number(text)),
        b'x' | b'X' if bytes.get(1) == Some(&b'\'') => (Kind::Text, 1 + until(&text[1..], '\'')),
        _ if text.starts_with(is_word) => (Kind::Word, count(text, is_word)),
        _ => (Kind::Sign, text.chars().next().map_or(1, char::len_utf8)),
    }
}

/// Letters, digits, `_`, `$`, and everything that is not ASCII, as SQLite has it.
fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()
}

fn count(text: &str, is_part: impl Fn(char) -> bool) -> usize {
    text.find(|c| !is_part(c)).unwrap_or(text.len())
}

/// A number, with what belongs to it: `1.5e-3`, `0xff`, `1_000`.
fn number(text: &str) -> usize {
    let mut length = 0;
    let mut before = ' ';
    for c in text.chars() {
        let is_sign =
            matches!(c, '+' | '-') && matches!(before, 'e' | 'E') && !text.starts_with("0x");
        if !(c.is_ascii_alphanumeric() || c == '.' || c == '_' || is_sign) {
            break;
        }
        before = c;
        length += 1;
    }
    length
}

/// The bytes up to the closing quote. Two of them are one in the text.
fn until(text: &str, quote: char) -> usize {
    let mut rest = 1;
    while let Some(at) = text[rest..].find(quote) {
        let end = rest + at + 1;
        if !text[end..].starts_with(quote) {
            return end;
        }
        rest = end + 1;
    }
    text.len()
}

#[cfg(test)]
mod tests;
