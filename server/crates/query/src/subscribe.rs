//! The SQL of a subscription: `SELECT columns FROM namespace.table [WHERE …]`.
//!
//! It is held against every change of its table, so it says nothing but which rows and which
//! columns. What more SQL has is for the replica, which takes all of it; here it is refused by its
//! name.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    self, Expr, GroupByExpr, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr,
    TableFactor,
};
use protocol::ids::{ColumnId, Lane};
use protocol::predicate::{Predicate, Truth};
use protocol::schema::{ColumnDefault, TableSchema};
use server_engine::{Actor, Catalog};

use crate::compile::{Compiler, NotTyped};
use crate::constant::{Binding, function_of};
use crate::error::SqlError;
use crate::statement::{Statement, cut};
use crate::table::Target;

/// What a subscription asks for, with names found and values bound.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscribed {
    /// The lane of the rows.
    pub lane: Lane,
    /// Their table.
    pub schema: Arc<TableSchema>,
    /// Which rows.
    pub predicate: Predicate,
    /// Which columns, in their order in the statement, each once; `None` for `*`, which is all of
    /// them, whatever they become.
    pub columns: Option<Vec<ColumnId>>,
}

const FORM: &str = "a subscription is SELECT columns FROM namespace.table [WHERE …]";

/// What `statement` subscribes `actor` to.
///
/// # Errors
/// [`SqlError`] names the construct that a subscription cannot have, or the table or column that
/// is not there.
pub(crate) fn compile(
    catalog: &Catalog,
    statement: &Statement,
    actor: &Actor,
    binding: Binding<'_>,
) -> Result<Subscribed, SqlError> {
    let Statement::Query(query) = statement else {
        return Err(SqlError::unsupported(FORM));
    };
    let select = plain(query)?;
    let target = target(catalog, select, actor)?;
    let columns = columns(&target, &select.projection)?;
    let predicate = match &select.selection {
        None => Predicate::Constant(Truth::True),
        Some(condition) => predicate(&target, condition, binding)?,
    };
    let Target { schema, lane, .. } = target;
    Ok(Subscribed { lane, schema: Arc::new(schema), predicate, columns })
}

fn refused(construct: &str) -> SqlError {
    SqlError::unsupported(format!(
        "{construct} cannot be in a subscription: {FORM}; leave the rest to the query on the replica"
    ))
}

/// The SELECT that a query is, if it is nothing else.
fn plain(query: &Query) -> Result<&Select, SqlError> {
    let select = match &*query.body {
        SetExpr::Select(select) => select,
        SetExpr::SetOperation { op, .. } => return Err(refused(&op.to_string())),
        SetExpr::Values(_) => return Err(refused("VALUES")),
        _ => return Err(refused("a query in brackets")),
    };
    let is_grouped = match &select.group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(by, modifiers) => !by.is_empty() || !modifiers.is_empty(),
    };
    let has_joins = select.from.len() > 1 || select.from.iter().any(|from| !from.joins.is_empty());
    let constructs = [
        (query.with.is_some(), "WITH"),
        (query.order_by.is_some(), "ORDER BY"),
        (query.limit_clause.is_some(), "LIMIT or OFFSET (fetch_last takes the last rows)"),
        (query.fetch.is_some(), "FETCH"),
        (select.distinct.is_some(), "DISTINCT"),
        (is_grouped, "GROUP BY"),
        (select.having.is_some(), "HAVING"),
        (!select.named_window.is_empty(), "WINDOW"),
        (has_joins, "a join"),
    ];
    if let Some((_, construct)) = constructs.iter().find(|(is_there, _)| *is_there) {
        return Err(refused(construct));
    }
    // Whatever else the parser knows: what is left over when the known parts are put together.
    let written = query.to_string();
    let known = Some(&select.projection)
        .zip(select.from.first())
        .map(|(items, from)| shown(items, &from.relation, select.selection.as_ref()));
    if known.as_deref() == Some(&*written) { Ok(select) } else { Err(SqlError::unsupported(FORM)) }
}

fn shown(items: &[SelectItem], from: &TableFactor, selection: Option<&Expr>) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    let condition = selection.map_or_else(String::new, |condition| format!(" WHERE {condition}"));
    format!("SELECT {} FROM {from}{condition}", items.join(", "))
}

fn target(catalog: &Catalog, select: &Select, actor: &Actor) -> Result<Target, SqlError> {
    let relation = select.from.first().map(|from| &from.relation);
    let Some(TableFactor::Table { name, alias, .. }) = relation else {
        return Err(refused("what stands behind FROM"));
    };
    let plain = match alias {
        None => name.to_string(),
        Some(alias) if alias.columns.is_empty() => format!("{name} {alias}"),
        Some(_) => return Err(refused("an alias with columns")),
    };
    let is_plain = relation.is_some_and(|relation| {
        let written = relation.to_string();
        written == plain || written == plain.replacen(' ', " AS ", 1)
    });
    if !is_plain {
        return Err(refused("what stands behind the table"));
    }
    Target::readable(catalog, name, alias.as_ref().map(|alias| &alias.name), actor)
}

fn columns(target: &Target, items: &[SelectItem]) -> Result<Option<Vec<ColumnId>>, SqlError> {
    let (mut columns, mut has_all) = (Vec::new(), false);
    for item in items {
        let named = match item {
            SelectItem::Wildcard(options) if options.to_string().is_empty() => {
                has_all = true;
                continue;
            }
            SelectItem::QualifiedWildcard(kind, options) if options.to_string().is_empty() => {
                let SelectItemQualifiedWildcardKind::ObjectName(name) = kind else {
                    return Err(refused(&cut(&item.to_string())));
                };
                target.is_called(name)?;
                has_all = true;
                continue;
            }
            SelectItem::UnnamedExpr(Expr::Identifier(ident)) => {
                target.column(std::slice::from_ref(ident))?.id
            }
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => target.column(parts)?.id,
            SelectItem::UnnamedExpr(expression) => {
                return Err(refused(&format!("the expression {}", cut(&expression.to_string()))));
            }
            SelectItem::ExprWithAlias { .. } | SelectItem::ExprWithAliases { .. } => {
                return Err(refused("AS"));
            }
            SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => {
                return Err(refused("what stands behind *"));
            }
        };
        if !columns.contains(&named) {
            columns.push(named);
        }
    }
    Ok((!has_all).then_some(columns))
}

fn predicate(
    target: &Target,
    condition: &Expr,
    binding: Binding<'_>,
) -> Result<Predicate, SqlError> {
    refuse_what_changes(condition)?;
    match Compiler::new(target, binding).predicate(condition) {
        Ok(predicate) => Ok(predicate),
        Err(NotTyped::Wrong(error)) => Err(error),
        Err(NotTyped::Construct(construct)) => Err(refused(&construct)),
    }
}

/// A function that gives another value each time would make another subscription of it each time
/// that it is resumed.
fn refuse_what_changes(condition: &Expr) -> Result<(), SqlError> {
    let found = ast::visit_expressions(condition, |expression| match expression {
        Expr::Function(function) => match function_of(function) {
            Some(ColumnDefault::CurrentUser) => ControlFlow::Continue(()),
            _ => ControlFlow::Break(cut(&function.to_string())),
        },
        _ => ControlFlow::Continue(()),
    });
    match found {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(function) => {
            Err(refused(&format!("the function {function} (give its value as a parameter)")))
        }
    }
}
