//! From text to tokens, with the bounds that keep everything behind it from growing.

use std::collections::{BTreeSet, HashSet};

use datafusion::sql::sqlparser::dialect::Dialect;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::{is_word, parser_error};
use crate::error::SqlError;
use crate::limits::{
    DOUBLING_MAX, EXPRESSION_TOKENS_MAX, NESTING_MAX, PARAMS_MAX, QUICK_NESTING_MAX,
    QUICK_TOKENS_MAX, SET_OPERATIONS_MAX, SQL_BYTES_MAX,
};

/// The words and signs of a statement.
#[derive(Debug)]
pub(crate) struct Tokens {
    pub(super) tokens: Vec<TokenWithSpan>,
    /// How many parameters it uses.
    pub(super) params: usize,
    /// How deep its brackets go.
    nesting: usize,
}

impl Tokens {
    /// Whether parsing takes no longer than anybody else can wait. Parsers go back and try again,
    /// and with nested brackets that adds up.
    pub(crate) fn are_quick(&self) -> bool {
        self.tokens.len() <= QUICK_TOKENS_MAX && self.nesting <= QUICK_NESTING_MAX
    }
}

pub(super) fn read(dialect: &dyn Dialect, sql: &str) -> Result<Tokens, SqlError> {
    if sql.len() > SQL_BYTES_MAX {
        return Err(SqlError::too_large(format!(
            "the statement has {} bytes, at most {SQL_BYTES_MAX} are taken: send values as \
             parameters, and many rows in several statements",
            sql.len()
        )));
    }
    let tokens = Tokenizer::new(dialect, sql).tokenize_with_location();
    let mut tokens = tokens.map_err(|error| parser_error(ParserError::from(error)))?;
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
    drop_brackets_of_current_user(&mut tokens);
    let nesting = check_depth(&tokens)?;
    let is_any = |token: &TokenWithSpan, words: &[&str]| {
        words.iter().any(|word| is_word(&token.token, word))
    };
    let doubling = ["CASE", "BETWEEN", "COALESCE", "NULLIF", "NVL", "IFNULL"];
    if tokens.iter().filter(|token| is_any(token, &doubling)).count() > DOUBLING_MAX {
        return Err(SqlError::too_large(format!(
            "the statement has more than {DOUBLING_MAX} CASE, BETWEEN, COALESCE and NULLIF: use \
             comparisons, or several statements"
        )));
    }
    let sets = ["UNION", "EXCEPT", "INTERSECT", "MINUS"];
    if tokens.iter().filter(|token| is_any(token, &sets)).count() > SET_OPERATIONS_MAX {
        return Err(SqlError::too_large(format!(
            "the statement has more than {SET_OPERATIONS_MAX} UNION, EXCEPT and INTERSECT: send \
             several statements"
        )));
    }
    let params = params(&tokens)?;
    Ok(Tokens { tokens, params, nesting })
}

/// `CURRENT_USER()` is `CURRENT_USER`, which the parser knows without brackets alone.
fn drop_brackets_of_current_user(tokens: &mut Vec<TokenWithSpan>) {
    let is_called = |three: &[TokenWithSpan]| {
        is_word(&three[0].token, "CURRENT_USER")
            && three[1].token == Token::LParen
            && three[2].token == Token::RParen
    };
    let places = tokens.windows(3).enumerate().filter(|(_, three)| is_called(three));
    let brackets: HashSet<usize> = places.flat_map(|(place, _)| [place + 1, place + 2]).collect();
    let mut place = 0;
    tokens.retain(|_| {
        place += 1;
        !brackets.contains(&(place - 1))
    });
}

/// Refuses what would become too deep a tree. Only a comma or a closing bracket ends a chain of
/// operators, so the tokens since the last one, of all open brackets, bound the depth. Returns how
/// deep the brackets go.
fn check_depth(tokens: &[TokenWithSpan]) -> Result<usize, SqlError> {
    let mut open = vec![0_usize];
    let (mut sum, mut deepest) = (0, 0);
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                if open.len() > NESTING_MAX {
                    return Err(parser_error(ParserError::RecursionLimitExceeded));
                }
                deepest = deepest.max(open.len());
                open.push(0);
            }
            Token::RParen | Token::RBracket | Token::RBrace if open.len() > 1 => {
                sum -= open.pop().unwrap_or_default();
            }
            Token::Comma => {
                if let Some(here) = open.last_mut() {
                    sum -= std::mem::take(here);
                }
            }
            _ => {
                if let Some(here) = open.last_mut() {
                    *here += 1;
                    sum += 1;
                }
            }
        }
        // A bracket that is closed is still one operand of its chain.
        if sum > EXPRESSION_TOKENS_MAX {
            return Err(SqlError::too_large(format!(
                "an expression of the statement has more than {EXPRESSION_TOKENS_MAX} parts: use \
                 IN for many values, or several statements"
            )));
        }
    }
    Ok(deepest)
}

/// How many parameters are used. They are numbered without a hole.
fn params(tokens: &[TokenWithSpan]) -> Result<usize, SqlError> {
    let mut numbers = BTreeSet::new();
    for token in tokens {
        let Token::Placeholder(text) = &token.token else { continue };
        let number = text.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
        match number {
            Some(number @ 1..=PARAMS_MAX) => numbers.insert(number),
            _ => return Err(SqlError::invalid("parameters are written $1, $2, and so on")),
        };
    }
    match numbers.last() {
        Some(last) if *last != numbers.len() => Err(SqlError::invalid(format!(
            "the statement uses ${last}, and not all parameters before it: number them from $1 on"
        ))),
        _ => Ok(numbers.len()),
    }
}
