//! Which table a statement means, and what its columns are called there.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast;
use protocol::error_code::ErrorCode;
use protocol::ids::{Lane, Name, TableName};
use protocol::schema::{Column, ColumnDefault, TableKind, TableSchema};
use protocol::value::Value;
use server_engine::{Actor, Catalog, may_read, may_write};

use crate::constant::{Binding, Constant};
use crate::error::SqlError;
use crate::statement::cut;

/// The namespace of what the server itself keeps.
pub(crate) const SYSTEM: &str = "system";

/// A table that a statement writes or subscribes to.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) schema: TableSchema,
    /// The lane of the actor's rows.
    pub(crate) lane: Lane,
    /// What the statement calls it, besides its name.
    alias: Option<String>,
}

/// A table that the actor may not see and one that does not exist are the same to him.
pub(crate) fn not_found(name: &str) -> SqlError {
    SqlError::new(
        ErrorCode::NotFound,
        format!("there is no table {name} that you may read: check its spelling, or create it"),
    )
}

/// The lanes that `actor` may have written with this statement, whatever has become of its table.
pub(crate) fn lanes(statement: &impl ast::Visit, actor: &Actor) -> Vec<Lane> {
    let first = ast::visit_relations(statement, |name| ControlFlow::Break(table_name(name)));
    let ControlFlow::Break(Ok(name)) = first else { return Vec::new() };
    vec![Lane::User(actor.user.clone()), Lane::Shared(name.namespace)]
}

/// The table with this name, if `actor` may read it.
pub(crate) fn find<'c>(
    catalog: &'c Catalog,
    name: &TableName,
    actor: &Actor,
) -> Result<&'c TableSchema, SqlError> {
    let table = catalog.named(name).map(server_engine::Table::schema);
    let table = table.filter(|schema| may_read(schema, &schema.lane(&actor.user), actor));
    table.ok_or_else(|| not_found(&name.to_string()))
}

impl Target {
    /// The table that `actor` wants to write.
    pub(crate) fn find(
        catalog: &Catalog,
        name: &ast::ObjectName,
        alias: Option<&ast::Ident>,
        actor: &Actor,
    ) -> Result<Self, SqlError> {
        let name = table_name(name)?;
        let schema = find(catalog, &name, actor)?;
        let lane = schema.lane(&actor.user);
        if name.namespace.as_str() == SYSTEM {
            return Err(SqlError::forbidden(format!("{name} is written by the server alone")));
        }
        if !may_write(schema, &lane, actor) {
            return Err(SqlError::forbidden(format!(
                "{name} has ACCESS_LEVEL READ: role user may not write it"
            )));
        }
        Ok(Self { schema: schema.clone(), lane, alias: alias.map(text) })
    }

    /// The table that `actor` wants to be told the rows of.
    pub(crate) fn readable(
        catalog: &Catalog,
        name: &ast::ObjectName,
        alias: Option<&ast::Ident>,
        actor: &Actor,
    ) -> Result<Self, SqlError> {
        let name = table_name(name)?;
        if name.namespace.as_str() == SYSTEM {
            let told = format!("{name} is not offered as a subscription: ask for it with SQL");
            return Err(SqlError::unsupported(told));
        }
        let schema = find(catalog, &name, actor)?;
        let lane = schema.lane(&actor.user);
        Ok(Self { schema: schema.clone(), lane, alias: alias.map(text) })
    }

    /// Whether the statement means this table by `name`.
    pub(crate) fn is_called(&self, name: &ast::ObjectName) -> Result<(), SqlError> {
        let mut parts: Vec<ast::Ident> = idents(name)?.into_iter().cloned().collect();
        let any = self.schema.columns.first().map_or("", |column| column.name.as_str());
        parts.push(ast::Ident::with_quote('"', any));
        self.column(&parts).map(drop)
    }

    /// The column that `parts` name: `column`, `table.column` or `namespace.table.column`.
    pub(crate) fn column(&self, parts: &[ast::Ident]) -> Result<&Column, SqlError> {
        let parts: Vec<String> = parts.iter().map(text).collect();
        let name = &self.schema.name;
        let is_here = match &*parts {
            [_] => true,
            [table, _] => match &self.alias {
                Some(alias) => alias == table,
                None => name.table.as_str() == table,
            },
            [namespace, table, _] => {
                self.alias.is_none()
                    && name.namespace.as_str() == namespace
                    && name.table.as_str() == table
            }
            _ => false,
        };
        let written = || cut(&parts.join("."));
        let column = parts.last().filter(|_| is_here);
        let column = column.and_then(|column| self.schema.column_named(column));
        column.ok_or_else(|| {
            let table = &self.schema.name;
            SqlError::new(ErrorCode::NotFound, format!("{table} has no column {}", written()))
        })
    }

    /// What the engine stores in a column that a new row does not name.
    pub(crate) fn default(
        &self,
        column: &Column,
        binding: &Binding<'_>,
    ) -> Result<Value, SqlError> {
        let owner = match &self.schema.kind {
            TableKind::Shared(sharing) => sharing.owner_column,
            TableKind::User | TableKind::Stream => None,
        };
        match &column.default {
            _ if owner == Some(column.id) => {
                Constant::Text(binding.user.as_str()).value(column, binding)
            }
            Some(ColumnDefault::Value(value)) => Ok(value.clone()),
            Some(ColumnDefault::Now) => Ok(Value::Integer(binding.now.0)),
            Some(ColumnDefault::CurrentUser) => {
                Constant::Text(binding.user.as_str()).value(column, binding)
            }
            Some(ColumnDefault::SnowflakeId | ColumnDefault::UuidV7) | None => Ok(Value::Null),
        }
    }

    /// The same expression with every column by its name alone, whatever the statement calls the
    /// table.
    pub(crate) fn bare(&self, expression: &ast::Expr) -> Result<ast::Expr, SqlError> {
        let mut bare = expression.clone();
        let visited = ast::visit_expressions_mut(&mut bare, |part| {
            if let ast::Expr::CompoundIdentifier(parts) = part {
                match self.column(parts) {
                    Ok(column) => {
                        let name = ast::Ident::with_quote('"', column.name.as_str());
                        *part = ast::Expr::Identifier(name);
                    }
                    Err(error) => return ControlFlow::Break(error),
                }
            }
            ControlFlow::Continue(())
        });
        match visited {
            ControlFlow::Continue(()) => Ok(bare),
            ControlFlow::Break(error) => Err(error),
        }
    }

    /// The column that an assignment or a column list names.
    pub(crate) fn column_named(&self, name: &ast::ObjectName) -> Result<&Column, SqlError> {
        match &*idents(name)? {
            [column] => self.column(&[(*column).clone()]),
            parts => self.column(&parts.iter().map(|part| (*part).clone()).collect::<Vec<_>>()),
        }
    }
}

/// The text of an identifier: lower case, unless it is quoted.
pub(crate) fn text(ident: &ast::Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

fn idents(name: &ast::ObjectName) -> Result<Vec<&ast::Ident>, SqlError> {
    let parts: Option<Vec<_>> = name.0.iter().map(ast::ObjectNamePart::as_ident).collect();
    parts.ok_or_else(|| SqlError::unsupported("a function cannot stand for a name"))
}

/// The table that `name` is.
pub(crate) fn table_name(name: &ast::ObjectName) -> Result<TableName, SqlError> {
    let parts: Vec<String> = idents(name)?.into_iter().map(text).collect();
    let [namespace, table] = &*parts else {
        return Err(SqlError::invalid(format!(
            "{}: write the table with its namespace: namespace.table",
            cut(&parts.join("."))
        )));
    };
    match (Name::new(namespace), Name::new(table)) {
        (Ok(namespace), Ok(table)) => Ok(TableName { namespace, table }),
        // What cannot be a name is none that exists.
        _ => Err(not_found(&cut(&format!("{namespace}.{table}")))),
    }
}
