//! `CREATE TABLE`, with what only Tidewire has.

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::tokenizer::Token;
use protocol::ids::{Name, TableName};
use protocol::schema::AccessLevel;
use protocol::value::ColumnType;

use super::{Words, cut, is_word, parser_error};
use crate::error::SqlError;

/// A table as it was written.
#[derive(Debug)]
pub(crate) struct CreateTable {
    pub(crate) name: TableName,
    pub(crate) if_not_exists: bool,
    pub(crate) kind: KindWritten,
    pub(crate) columns: Vec<ColumnWritten>,
    pub(crate) primary_key: Vec<Name>,
    pub(crate) indexes: Vec<Vec<Name>>,
    pub(crate) ttl_seconds: Option<u32>,
    pub(crate) access: Option<AccessLevel>,
    pub(crate) owner_column: Option<Name>,
}

/// Which kind of table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KindWritten {
    User,
    Shared,
    Stream,
}

/// A column as it was written.
#[derive(Debug)]
pub(crate) struct ColumnWritten {
    pub(crate) name: Name,
    pub(crate) column_type: ColumnType,
    pub(crate) not_null: bool,
    pub(crate) default: Option<DefaultWritten>,
    pub(crate) merge_add: bool,
}

/// A default, before it has the type of its column.
#[derive(Debug)]
pub(crate) struct DefaultWritten(pub(crate) ast::Expr);

/// What SQL has and a table cannot declare, because it would not be enforced.
const NOT_ENFORCED: [(&str, &str); 7] = [
    (
        "UNIQUE",
        "only the primary key is unique: make the column part of it, or check in the application",
    ),
    ("CHECK", "rows are not checked against expressions: check them before they are written"),
    (
        "FOREIGN",
        "a replica holds a part of the rows, so references between tables are not enforced",
    ),
    (
        "REFERENCES",
        "a replica holds a part of the rows, so references between tables are not enforced",
    ),
    ("CONSTRAINT", "constraints other than PRIMARY KEY and NOT NULL are not enforced"),
    ("GENERATED", "generated columns are not offered: compute the value where it is written"),
    ("COLLATE", "text is compared by its bytes, everywhere"),
];

/// The table, if that is what comes next.
pub(super) fn table(words: &mut Words<'_>) -> Result<Option<CreateTable>, SqlError> {
    use KindWritten::{Shared, Stream, User};
    let kind = [("USER", User), ("SHARED", Shared), ("STREAM", Stream)];
    let written = kind.into_iter().find(|(word, _)| words.take(&["CREATE", word, "TABLE"]));
    if written.is_none() && !words.take(&["CREATE", "TABLE"]) {
        return Ok(None);
    }
    let if_not_exists = words.take(&["IF", "NOT", "EXISTS"]);
    let mut table = CreateTable {
        name: words.table_name()?,
        if_not_exists,
        kind: Shared,
        columns: Vec::new(),
        primary_key: Vec::new(),
        indexes: Vec::new(),
        ttl_seconds: None,
        access: None,
        owner_column: None,
    };
    words.expect(&Token::LParen)?;
    loop {
        element(words, &mut table)?;
        if !words.0.consume_token(&Token::Comma) {
            break;
        }
    }
    words.expect(&Token::RParen)?;
    let of_option = options(words, &mut table)?;
    table.kind = match (written.map(|(_, kind)| kind), of_option) {
        (Some(kind), Some(other)) if kind != other => {
            return Err(SqlError::invalid("the kind of the table is given twice, and differs"));
        }
        (kind, other) => kind.or(other).unwrap_or(Shared),
    };
    Ok(Some(table))
}

/// A column, `PRIMARY KEY (…)` or `INDEX (…)`.
fn element(words: &mut Words<'_>, table: &mut CreateTable) -> Result<(), SqlError> {
    refuse_constraints(words, true)?;
    if words.take(&["PRIMARY", "KEY"]) {
        let key = columns(words)?;
        return primary_key(table, key);
    }
    let is_index = is_word(&words.0.peek_token().token, "INDEX")
        && words.0.peek_nth_token(1).token == Token::LParen;
    if is_index {
        words.take(&["INDEX"]);
        table.indexes.push(columns(words)?);
        return Ok(());
    }
    let (column, is_key) = column(words)?;
    if is_key {
        primary_key(table, vec![column.name.clone()])?;
    }
    table.columns.push(column);
    Ok(())
}

/// A column, and whether it says that it is the primary key.
pub(super) fn column(words: &mut Words<'_>) -> Result<(ColumnWritten, bool), SqlError> {
    let name = words.name("the name of a column")?;
    let column_type = column_type(words, &name)?;
    let mut column =
        ColumnWritten { name, column_type, not_null: false, default: None, merge_add: false };
    let mut is_key = false;
    loop {
        refuse_constraints(words, false)?;
        if words.take(&["NOT", "NULL"]) {
            column.not_null = true;
        } else if words.take(&["PRIMARY", "KEY"]) {
            if is_key {
                return Err(key_twice());
            }
            (column.not_null, is_key) = (true, true);
        } else if words.take(&["DEFAULT"]) {
            let expression = words.0.parse_expr().map_err(parser_error)?;
            column.default = Some(DefaultWritten(expression));
        } else if words.take(&["MERGE", "ADD"]) {
            column.merge_add = true;
        } else if !words.take(&["NULL"]) {
            break;
        }
    }
    Ok((column, is_key))
}

fn primary_key(table: &mut CreateTable, key: Vec<Name>) -> Result<(), SqlError> {
    if !table.primary_key.is_empty() {
        return Err(key_twice());
    }
    table.primary_key = key;
    Ok(())
}

fn key_twice() -> SqlError {
    SqlError::invalid(
        "the primary key is declared twice: write PRIMARY KEY (a, b) for one of two columns",
    )
}

fn columns(words: &mut Words<'_>) -> Result<Vec<Name>, SqlError> {
    words.expect(&Token::LParen)?;
    let mut columns = vec![words.name("the name of a column")?];
    while words.0.consume_token(&Token::Comma) {
        columns.push(words.name("the name of a column")?);
    }
    words.expect(&Token::RParen)?;
    Ok(columns)
}

fn column_type(words: &mut Words<'_>, column: &Name) -> Result<ColumnType, SqlError> {
    let written = words.identifier("the type of a column")?;
    let known = |name: &str| {
        ColumnType::ALL.into_iter().find(|known| known.to_string().eq_ignore_ascii_case(name))
    };
    let column_type = match &*written {
        "integer" => Some(ColumnType::Int),
        "bool" => Some(ColumnType::Boolean),
        "double" => {
            words.take(&["PRECISION"]);
            Some(ColumnType::Double)
        }
        other => known(other),
    };
    column_type.ok_or_else(|| {
        let advice = match &*written {
            "varchar" | "char" | "character" | "string" | "clob" => "write TEXT",
            "blob" | "bytea" | "binary" | "varbinary" => "write BYTES",
            "float" | "real" | "float8" => "write DOUBLE",
            "decimal" | "numeric" => "write BIGINT and store the number in its smallest unit",
            "smallint" | "tinyint" => "write INT",
            "serial" | "bigserial" => "write BIGINT DEFAULT SNOWFLAKE_ID()",
            "date" | "time" | "datetime" | "timestamptz" => "write TIMESTAMP",
            _ => "there are BOOLEAN, INT, BIGINT, DOUBLE, TEXT, BYTES, JSON, TIMESTAMP and UUID",
        };
        let written = cut(&written.to_uppercase());
        SqlError::unsupported(format!(
            "column {column}: the type {written} is not offered: {advice}"
        ))
    })
}

/// `at_start` of an element the word may be the name of a column, whose type then follows.
fn refuse_constraints(words: &Words<'_>, at_start: bool) -> Result<(), SqlError> {
    let next = words.0.peek_token().token;
    let behind = words.0.peek_nth_token(1).token;
    for (word, reason) in NOT_ENFORCED {
        let is_column = at_start
            && matches!(behind, Token::Word(_))
            && !matches!(word, "FOREIGN" | "CONSTRAINT");
        if is_word(&next, word) && !is_column {
            return Err(SqlError::unsupported(format!("{word} is refused: {reason}")));
        }
    }
    Ok(())
}

/// `WITH (…)`. Returns the kind of the table, if it is given there.
fn options(
    words: &mut Words<'_>,
    table: &mut CreateTable,
) -> Result<Option<KindWritten>, SqlError> {
    if !words.take(&["WITH"]) {
        return Ok(None);
    }
    let mut kind = None;
    let mut seen = Vec::new();
    words.expect(&Token::LParen)?;
    loop {
        let option = words.identifier("an option")?;
        words.expect(&Token::Eq)?;
        let value = match words.0.next_token().token {
            Token::Word(word) => word.value,
            Token::SingleQuotedString(text) | Token::Number(text, false) => text,
            _ => {
                return Err(SqlError::invalid(format!(
                    "option {}: a value is missing",
                    cut(&option)
                )));
            }
        };
        if seen.contains(&option) {
            return Err(SqlError::invalid(format!("option {} is given twice", cut(&option))));
        }
        self::option(table, &mut kind, &option, &value)?;
        seen.push(option);
        if !words.0.consume_token(&Token::Comma) {
            break;
        }
    }
    words.expect(&Token::RParen)?;
    Ok(kind)
}

fn option(
    table: &mut CreateTable,
    kind: &mut Option<KindWritten>,
    option: &str,
    value: &str,
) -> Result<(), SqlError> {
    let wrong = |may_be: &str| {
        let (option, value) = (option.to_uppercase(), cut(value));
        SqlError::invalid(format!("{option} is {may_be}, and not {value}"))
    };
    match option {
        "type" => {
            *kind = Some(match &*value.to_uppercase() {
                "USER" => KindWritten::User,
                "SHARED" => KindWritten::Shared,
                "STREAM" => KindWritten::Stream,
                _ => return Err(wrong("USER, SHARED or STREAM")),
            });
        }
        "ttl_seconds" => {
            let seconds = value.parse().map_err(|_| wrong("a number of seconds"))?;
            table.ttl_seconds = Some(seconds);
        }
        "access_level" => {
            table.access = Some(match &*value.to_uppercase() {
                "PRIVATE" => AccessLevel::Private,
                "READ" => AccessLevel::Read,
                "WRITE" => AccessLevel::Write,
                _ => return Err(wrong("PRIVATE, READ or WRITE")),
            });
        }
        "owner_column" => {
            let name = Name::new(&value.to_lowercase());
            table.owner_column = Some(name.map_err(|_| wrong("the name of a column"))?);
        }
        other => {
            return Err(SqlError::unsupported(format!(
                "there is no option {}: there are TYPE, TTL_SECONDS, ACCESS_LEVEL and OWNER_COLUMN",
                cut(&other.to_uppercase())
            )));
        }
    }
    Ok(())
}
