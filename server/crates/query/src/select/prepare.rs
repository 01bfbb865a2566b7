//! A query as it was parsed, before DataFusion plans it: what is not offered is refused here by its
//! name, and parameters become what they stand for.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, ObjectName, Query, Select, SelectItem, SetExpr, Statement,
    TableFactor, UnaryOperator, Value, ValueWithSpan, VisitMut, VisitorMut,
};

use crate::error::SqlError;
use crate::limits::{ANSWER_COLUMNS_MAX, PARAM_BYTES_MAX, RELATIONS_MAX, WITH_REFERENCES_MAX};
use crate::request::Param;
use crate::statement::cut;

/// A query ready to be planned.
pub(super) fn query(mut query: Query, params: &[Param]) -> Result<Query, SqlError> {
    name_columns(&mut query.body);
    visit(&mut query, params)?;
    Ok(query)
}

/// An expression ready to be planned.
pub(super) fn expression(expr: &Expr, params: &[Param]) -> Result<Expr, SqlError> {
    let mut expr = expr.clone();
    visit(&mut expr, params)?;
    Ok(expr)
}

fn visit(node: &mut impl VisitMut, params: &[Param]) -> Result<(), SqlError> {
    match node.visit(&mut Visitor { params, relations: 0, by_one_word: 0, bytes: 0 }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// What is computed is called as it was written, and not as DataFusion would call it.
fn name_columns(body: &mut SetExpr) {
    let mut body = body;
    let select = loop {
        match body {
            SetExpr::Select(select) => break select,
            SetExpr::Query(inner) => body = &mut inner.body,
            SetExpr::SetOperation { left, .. } => body = left,
            _ => return,
        }
    };
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) = item
            && !matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
        {
            let alias = Ident::with_quote('"', cut(&expr.to_string()));
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
    }
    // Of two that are written alike, the second one would be refused for the name.
    let (mut seen, mut numbers) = (HashSet::<String>::new(), HashMap::<String, usize>::new());
    for item in &mut select.projection {
        if let SelectItem::ExprWithAlias { alias, .. } = item {
            let name = alias.value.clone();
            while alias.quote_style.is_some() && seen.contains(&alias.value) {
                // Those below are taken, so none of them is tried again.
                let number = numbers.entry(name.clone()).or_insert(1);
                *number += 1;
                alias.value = format!("{name} {number}");
            }
            seen.insert(alias.value.clone());
        }
    }
}

struct Visitor<'p> {
    params: &'p [Param],
    /// How many tables were named, and how many of those by one word, as what WITH defines is.
    relations: usize,
    by_one_word: usize,
    /// What parameters have become.
    bytes: usize,
}

type Flow = ControlFlow<SqlError>;

fn refuse(construct: &str) -> Flow {
    Flow::Break(SqlError::unsupported(format!("{construct} is not offered")))
}

/// Refuses the first construct that is there.
fn refuse_first(constructs: &[(bool, &str)]) -> Flow {
    match constructs.iter().find(|(is_there, _)| *is_there) {
        Some((_, construct)) => refuse(construct),
        None => Flow::Continue(()),
    }
}

impl VisitorMut for Visitor<'_> {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &mut Query) -> Flow {
        let defined = query.with.iter().flat_map(|with| &with.cte_tables);
        let mut names = defined.map(|table| &table.alias.name.value);
        refuse_first(&[
            // It would be found by the name of a table in a namespace.
            (names.any(|name| name.contains('.')), "a name with a dot in WITH"),
            (query.with.as_ref().is_some_and(|with| with.recursive), "WITH RECURSIVE"),
            (query.fetch.is_some(), "FETCH: write LIMIT; FETCH"),
            (!query.locks.is_empty(), "FOR UPDATE"),
            (query.for_clause.is_some(), "FOR"),
            (query.settings.is_some(), "SETTINGS"),
            (query.format_clause.is_some(), "FORMAT"),
            (!query.pipe_operators.is_empty(), "|>"),
        ])?;
        let mut bodies = vec![&*query.body];
        while let Some(body) = bodies.pop() {
            match body {
                SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) => {}
                SetExpr::SetOperation { left, right, .. } => bodies.extend([&**left, &**right]),
                SetExpr::Table(_) => return refuse("TABLE"),
                SetExpr::Insert(_)
                | SetExpr::Update(_)
                | SetExpr::Delete(_)
                | SetExpr::Merge(_) => return refuse("a statement that writes inside of a query"),
            }
        }
        Flow::Continue(())
    }

    fn pre_visit_statement(&mut self, _: &mut Statement) -> Flow {
        refuse("a statement inside of a query")
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> Flow {
        let is_wildcard = |item: &&SelectItem| matches!(item, SelectItem::Wildcard(_));
        let wildcards = select.projection.iter().filter(is_wildcard).count();
        refuse_first(&[
            (select.projection.len() > ANSWER_COLUMNS_MAX, "an answer of more than 1,000 columns"),
            (wildcards > 1, "more than one *"),
            (select.into.is_some(), "SELECT INTO"),
            (select.top.is_some(), "TOP"),
            (!select.lateral_views.is_empty(), "LATERAL VIEW"),
            (select.prewhere.is_some(), "PREWHERE"),
            (!select.connect_by.is_empty(), "CONNECT BY"),
            (!select.cluster_by.is_empty(), "CLUSTER BY"),
            (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
            (!select.sort_by.is_empty(), "SORT BY"),
            (select.value_table_mode.is_some(), "SELECT AS"),
        ])
    }

    fn pre_visit_relation(&mut self, name: &mut ObjectName) -> Flow {
        self.relations += 1;
        self.by_one_word += usize::from(name.0.len() == 1);
        let (count, most) = match self.relations > RELATIONS_MAX {
            true => ("tables", RELATIONS_MAX),
            false if self.by_one_word > WITH_REFERENCES_MAX => {
                ("uses of what WITH defines", WITH_REFERENCES_MAX)
            }
            false => return Flow::Continue(()),
        };
        let told = format!("a query has at most {most} {count}: ask in several queries");
        Flow::Break(SqlError::too_large(told))
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> Flow {
        match factor {
            TableFactor::Table { args, version, sample, partitions, with_ordinality, .. } => {
                refuse_first(&[
                    (args.is_some(), "a function in FROM"),
                    (version.is_some(), "a version of a table"),
                    (sample.is_some(), "TABLESAMPLE"),
                    (!partitions.is_empty(), "PARTITION"),
                    (*with_ordinality, "WITH ORDINALITY"),
                ])
            }
            TableFactor::Derived { sample, lateral, .. } => {
                refuse_first(&[(sample.is_some(), "TABLESAMPLE"), (*lateral, "LATERAL")])
            }
            TableFactor::NestedJoin { .. } => Flow::Continue(()),
            _ => refuse("a function in FROM"),
        }
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> Flow {
        // The smallest BIGINT is the only whole number that is one only with its sign.
        if let Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } = expr
            && let Expr::Value(ValueWithSpan { value: Value::Number(text, _), .. }) = &mut **inner
            && text == "9223372036854775808"
        {
            text.insert(0, '-');
            *expr = (**inner).clone();
        }
        // The planner looks at the types below a NOT, before a literal there has that of its column.
        if let Expr::UnaryOp { op: UnaryOperator::Not, expr: inner } = expr {
            let left = Box::new(Expr::Nested(inner.clone()));
            let right = Box::new(Expr::Value(Value::Boolean(false).into()));
            *expr = Expr::BinaryOp { left, op: BinaryOperator::Eq, right };
        }
        match expr {
            Expr::ILike { .. } => refuse("ILIKE"),
            Expr::SimilarTo { .. } => refuse("SIMILAR TO"),
            Expr::RLike { .. } => refuse("RLIKE"),
            Expr::Like { any: true, .. } => refuse("LIKE ANY"),
            Expr::AnyOp { .. } => refuse("ANY"),
            Expr::AllOp { .. } => refuse("ALL"),
            Expr::Collate { .. } => refuse("COLLATE"),
            Expr::AtTimeZone { .. } => refuse("AT TIME ZONE"),
            Expr::InUnnest { .. } => refuse("UNNEST"),
            Expr::Array(_) => refuse("ARRAY"),
            Expr::Struct { .. } | Expr::Dictionary(_) | Expr::Map(_) => refuse("a struct"),
            Expr::Tuple(_) => refuse("a row of values as one value"),
            Expr::Lambda(_) => refuse("a lambda"),
            _ => Flow::Continue(()),
        }
    }

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> Flow {
        let value = &mut value.value;
        let named = match value {
            Value::Placeholder(name) => Some(name.clone()),
            _ => None,
        };
        if let Some(name) = named {
            let number = name.strip_prefix('$').and_then(|digits| digits.parse().ok());
            let place = number.and_then(|number: usize| number.checked_sub(1));
            match place.and_then(|place| self.params.get(place)) {
                Some(param) => {
                    self.bytes += match param {
                        Param::Text(text) | Param::Number(text) => text.len(),
                        Param::Bytes(bytes) => bytes.len(),
                        Param::Null | Param::Boolean(_) => 0,
                    };
                    if self.bytes > PARAM_BYTES_MAX {
                        let told = format!(
                            "the parameters of a query have at most {PARAM_BYTES_MAX} bytes, each \
                             as often as it is used: use them less often"
                        );
                        return Flow::Break(SqlError::too_large(told));
                    }
                    *value = literal(param);
                }
                None => return Flow::Break(SqlError::invalid(format!("{name} has no value"))),
            }
        }
        match value {
            Value::Number(text, _) => check_number(text),
            Value::EscapedStringLiteral(text)
            | Value::UnicodeStringLiteral(text)
            | Value::NationalStringLiteral(text) => {
                *value = Value::SingleQuotedString(std::mem::take(text));
                Flow::Continue(())
            }
            Value::DollarQuotedString(text) => {
                *value = Value::SingleQuotedString(std::mem::take(&mut text.value));
                Flow::Continue(())
            }
            Value::SingleQuotedString(_)
            | Value::HexStringLiteral(_)
            | Value::Boolean(_)
            | Value::Null => Flow::Continue(()),
            _ => Flow::Break(SqlError::unsupported("write text as '…' and bytes as X'…'")),
        }
    }
}

fn literal(param: &Param) -> Value {
    match param {
        Param::Null => Value::Null,
        Param::Boolean(value) => Value::Boolean(*value),
        Param::Number(text) => Value::Number(text.clone(), false),
        Param::Text(text) => Value::SingleQuotedString(text.clone()),
        Param::Bytes(bytes) => {
            Value::HexStringLiteral(bytes.iter().fold(String::new(), |mut digits, byte| {
                let _ = write!(digits, "{byte:02x}");
                digits
            }))
        }
    }
}

/// A whole number is a BIGINT, any other the nearest DOUBLE.
fn check_number(text: &str) -> Flow {
    let is_whole = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if is_whole && text.parse::<i64>().is_err() {
        return Flow::Break(SqlError::invalid(format!(
            "{} is not exactly a BIGINT: write it with a decimal point, to accept the nearest DOUBLE",
            cut(text)
        )));
    }
    if text.parse::<f64>().is_ok_and(f64::is_finite) {
        return Flow::Continue(());
    }
    Flow::Break(SqlError::invalid(format!("{} is not a number in the range of DOUBLE", cut(text))))
}
