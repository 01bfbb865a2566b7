//! `ALTER TABLE`: one column comes or goes.

use datafusion::sql::sqlparser::tokenizer::Token;
use protocol::ids::{Name, TableName};

use super::{ColumnWritten, Words, create};
use crate::error::SqlError;

/// A change of a table as it was written.
#[derive(Debug)]
pub(crate) struct AlterTable {
    pub(crate) name: TableName,
    pub(crate) alteration: Alteration,
}

/// What is changed.
#[derive(Debug)]
pub(crate) enum Alteration {
    AddColumn { column: Box<ColumnWritten>, if_not_exists: bool },
    DropColumn { name: Name, if_exists: bool },
}

const POSSIBLE: &str = "ALTER TABLE does one of two things: ADD COLUMN name TYPE [NOT NULL] \
                        [DEFAULT …] [MERGE ADD], or DROP COLUMN name";

/// The change, if that is what comes next.
pub(super) fn table(words: &mut Words<'_>) -> Result<Option<AlterTable>, SqlError> {
    if !words.take(&["ALTER", "TABLE"]) {
        return Ok(None);
    }
    let name = words.table_name()?;
    let alteration = if words.take(&["ADD", "COLUMN"]) {
        add_column(words)?
    } else if words.take(&["DROP", "COLUMN"]) {
        let if_exists = words.take(&["IF", "EXISTS"]);
        Alteration::DropColumn { name: words.name("the name of a column")?, if_exists }
    } else {
        return Err(SqlError::unsupported(POSSIBLE));
    };
    if words.0.peek_token().token == Token::Comma {
        return Err(SqlError::unsupported(format!(
            "{POSSIBLE}; a second change is a statement of its own"
        )));
    }
    Ok(Some(AlterTable { name, alteration }))
}

fn add_column(words: &mut Words<'_>) -> Result<Alteration, SqlError> {
    let if_not_exists = words.take(&["IF", "NOT", "EXISTS"]);
    let (column, is_key) = create::column(words)?;
    if is_key {
        return Err(SqlError::unsupported(
            "the primary key is declared with its table: rows lie by it, and none is rewritten",
        ));
    }
    Ok(Alteration::AddColumn { column: Box::new(column), if_not_exists })
}
