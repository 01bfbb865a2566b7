//! What a statement is: our own constructs are parsed here, the rest by the parser of DataFusion.

mod alter;
mod create;
mod dialect;
mod tokens;

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;
use protocol::ids::{Name, TableName, TenantId};

pub(crate) use self::alter::{AlterTable, Alteration};
pub(crate) use self::create::{ColumnWritten, CreateTable, DefaultWritten, KindWritten};
pub(crate) use self::tokens::Tokens;
use crate::error::SqlError;
use crate::limits::{NESTING_MAX, QUERY_TOKENS_MAX};

/// A statement, and whom it is to run as.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) execute_as: Option<TenantId>,
    pub(crate) statement: Statement,
    /// How many parameters it uses: `$1` to this one.
    pub(crate) params: usize,
}

/// What there is to do.
#[derive(Debug)]
pub(crate) enum Statement {
    CreateNamespace { name: Name, if_not_exists: bool },
    DropNamespace { name: Name, if_exists: bool },
    CreateTable(Box<CreateTable>),
    DropTable { name: TableName, if_exists: bool },
    AlterTable(Box<AlterTable>),
    KillLiveQuery { id: String },
    Insert(Box<ast::Insert>),
    Update(Box<ast::Update>),
    Delete(Box<ast::Delete>),
    Query(Box<ast::Query>),
}

/// Parses one statement that was read by [`read`].
///
/// # Errors
/// [`SqlError`] says where it is not understood, or what is not offered.
pub(crate) fn parse(Tokens { tokens, params, .. }: Tokens) -> Result<Parsed, SqlError> {
    let count = tokens.len();
    // A bracket may take two steps down.
    let parser = Parser::new(&dialect::Sql).with_recursion_limit(2 * NESTING_MAX);
    let mut words = Words(parser.with_tokens_with_locations(tokens));
    let execute_as = words.execute_as()?;
    let in_brackets = execute_as.is_some() && words.0.consume_token(&Token::LParen);
    let statement = words.statement()?;
    if in_brackets {
        words.expect(&Token::RParen)?;
    }
    if matches!(statement, Statement::Query(_)) && count > QUERY_TOKENS_MAX {
        return Err(SqlError::too_large(format!(
            "the query has {count} words and signs, at most {QUERY_TOKENS_MAX} are taken: ask for \
             less at once"
        )));
    }
    let has_semicolon = words.0.consume_token(&Token::SemiColon);
    match words.0.peek_token().token {
        Token::EOF => Ok(Parsed { execute_as, statement, params }),
        _ if has_semicolon => {
            Err(SqlError::unsupported("a request has one statement: send the others by themselves"))
        }
        _ => Err(words.unexpected("the end of the statement")),
    }
}

/// The words and signs of a statement, which are bounded from here on.
///
/// # Errors
/// [`SqlError`] says where it is not understood, or which bound it exceeds.
pub(crate) fn read(sql: &str) -> Result<Tokens, SqlError> {
    tokens::read(&dialect::Sql, sql)
}

/// The rest of a statement.
struct Words<'a>(Parser<'a>);

impl Words<'_> {
    fn execute_as(&mut self) -> Result<Option<TenantId>, SqlError> {
        if !self.take(&["EXECUTE", "AS", "USER"]) {
            return Ok(None);
        }
        match self.0.next_token().token {
            Token::SingleQuotedString(user) => {
                TenantId::new(&user).map(Some).map_err(|e| SqlError::invalid(e.to_string()))
            }
            _ => {
                Err(SqlError::invalid("write the user in single quotes: EXECUTE AS USER 'alice' …"))
            }
        }
    }

    fn statement(&mut self) -> Result<Statement, SqlError> {
        if self.take(&["CREATE", "NAMESPACE"]) {
            let if_not_exists = self.take(&["IF", "NOT", "EXISTS"]);
            let name = Name::new_namespace(&self.identifier("the name of a namespace")?)
                .map_err(|error| SqlError::new(error.code(), error.to_string()))?;
            return Ok(Statement::CreateNamespace { name, if_not_exists });
        }
        if self.take(&["DROP", "NAMESPACE"]) {
            let if_exists = self.take(&["IF", "EXISTS"]);
            let name = self.name("the name of a namespace")?;
            return Ok(Statement::DropNamespace { name, if_exists });
        }
        if self.take(&["DROP", "TABLE"]) {
            let if_exists = self.take(&["IF", "EXISTS"]);
            return Ok(Statement::DropTable { name: self.table_name()?, if_exists });
        }
        if self.take(&["KILL", "LIVE", "QUERY"]) {
            return match self.0.next_token().token {
                Token::SingleQuotedString(id) => Ok(Statement::KillLiveQuery { id }),
                _ => Err(SqlError::invalid(
                    "write its id of system.live_queries in single quotes: KILL LIVE QUERY '1-1'",
                )),
            };
        }
        if let Some(table) = create::table(self)? {
            return Ok(Statement::CreateTable(Box::new(table)));
        }
        if let Some(altered) = alter::table(self)? {
            return Ok(Statement::AlterTable(Box::new(altered)));
        }
        self.of_sql()
    }

    /// A statement that SQL itself has.
    fn of_sql(&mut self) -> Result<Statement, SqlError> {
        let is_offered = ["INSERT", "UPDATE", "DELETE", "SELECT", "WITH", "VALUES"];
        let first = self.0.peek_token().token;
        let is_query = first == Token::LParen;
        if !is_query && !is_offered.iter().any(|word| is_word(&first, word)) {
            return Err(match first {
                Token::EOF | Token::SemiColon => SqlError::invalid("the statement is empty"),
                Token::Word(word) => SqlError::unsupported(format!(
                    "{} statements are not offered: there are CREATE and DROP of NAMESPACE and \
                     TABLE, ALTER TABLE, INSERT, UPDATE, DELETE, SELECT, EXECUTE AS USER, and KILL LIVE QUERY",
                    cut(&word.value.to_uppercase())
                )),
                _ => self.unexpected("a statement"),
            });
        }
        match self.0.parse_statement().map_err(parser_error)? {
            ast::Statement::Insert(insert) => Ok(Statement::Insert(Box::new(insert))),
            ast::Statement::Update(update) => Ok(Statement::Update(Box::new(update))),
            ast::Statement::Delete(delete) => Ok(Statement::Delete(Box::new(delete))),
            ast::Statement::Query(query) => Ok(Statement::Query(query)),
            _ => Err(SqlError::unsupported("this statement is not offered")),
        }
    }

    /// Passes over these words, if they come next.
    fn take(&mut self, words: &[&str]) -> bool {
        let is_next = (0..words.len())
            .all(|place| is_word(&self.0.peek_nth_token(place).token, words[place]));
        if is_next {
            for _ in words {
                self.0.next_token();
            }
        }
        is_next
    }

    fn expect(&mut self, token: &Token) -> Result<(), SqlError> {
        if self.0.consume_token(token) { Ok(()) } else { Err(self.unexpected(&token.to_string())) }
    }

    /// An identifier as its text: lower case, unless it is quoted.
    fn identifier(&mut self, what: &str) -> Result<String, SqlError> {
        match self.0.peek_token().token {
            Token::Word(word) => {
                self.0.next_token();
                let is_quoted = word.quote_style.is_some();
                Ok(if is_quoted { word.value } else { word.value.to_lowercase() })
            }
            _ => Err(self.unexpected(what)),
        }
    }

    fn name(&mut self, what: &str) -> Result<Name, SqlError> {
        let text = self.identifier(what)?;
        Name::new(&text).map_err(|error| SqlError::new(error.code(), error.to_string()))
    }

    fn table_name(&mut self) -> Result<TableName, SqlError> {
        let namespace = self.name("a table, written namespace.table")?;
        if !self.0.consume_token(&Token::Period) {
            return Err(SqlError::invalid(format!(
                "write the table with its namespace: namespace.{namespace}"
            )));
        }
        Ok(TableName { namespace, table: self.name("the name of a table")? })
    }

    fn unexpected(&self, wanted: &str) -> SqlError {
        let found = self.0.peek_token();
        let place = found.span.start;
        let found = match &found.token {
            Token::EOF => "the end".to_owned(),
            token => cut(&token.to_string()),
        };
        SqlError::invalid(format!(
            "line {}, column {}: here is {found} where {wanted} is expected",
            place.line, place.column
        ))
    }
}

fn is_word(token: &Token, text: &str) -> bool {
    matches!(token, Token::Word(word)
        if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text))
}

/// So much of what somebody wrote as belongs in a sentence.
pub(crate) fn cut(text: &str) -> String {
    let mut cut: String = text.chars().take(60).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}

pub(crate) fn parser_error(error: ParserError) -> SqlError {
    match error {
        ParserError::RecursionLimitExceeded => SqlError::too_large(format!(
            "the statement is nested more than {NESTING_MAX} levels deep: flatten it"
        )),
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => {
            let text: String = text.chars().take(300).collect();
            SqlError::invalid(format!("the statement is not understood: {text}"))
        }
    }
}
