//! SQL as SQLite cuts it into tokens.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
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
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
}

impl Token<'_> {
    pub(crate) fn is_name(&self) -> bool {
        matches!(self.kind, Kind::Word | Kind::Quoted)
    }

    pub(crate) fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }

    /// The name that it is, without quotes. SQLite compares ASCII letters without their case.
    pub(crate) fn name(&self) -> String {
        let inner = |open: char, close: char| {
            let rest = self.text.strip_prefix(open)?;
            // It may end where the statement does.
            Some(rest.strip_suffix(close).unwrap_or(rest))
        };
        if let Some(name) = inner('\'', '\'') {
            // SQLite takes a text for a name where one has to be.
            return name.replace("''", "'").to_ascii_lowercase();
        }
        let name = match (inner('"', '"'), inner('`', '`'), inner('[', ']')) {
            (Some(name), ..) => name.replace("\"\"", "\""),
            (_, Some(name), _) => name.replace("``", "`"),
            (.., Some(name)) => name.to_owned(),
            _ => self.text.to_owned(),
        };
        name.to_ascii_lowercase()
    }
}

/// The next token that says something, from this place on.
pub(crate) fn follows<'t, 'a>(
    tokens: &'t [Token<'a>],
    from: usize,
) -> Option<(usize, &'t Token<'a>)> {
    let rest = tokens.get(from..)?;
    let place = rest.iter().position(|token| token.kind != Kind::Space)?;
    Some((from + place, &rest[place]))
}

pub(crate) fn tokens(sql: &str) -> Vec<Token<'_>> {
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
        // SQLite passes over the mark that some put before a text.
        _ if text.starts_with('\u{feff}') => (Kind::Space, '\u{feff}'.len_utf8()),
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
