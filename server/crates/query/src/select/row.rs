//! Expressions over one row, for what a statement that writes computes.

use std::cell::Cell;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::common::TableReference;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, ExprSchemable};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::sql::planner::{PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast;
use protocol::literal::Literal;
use protocol::schema::{Column, TableSchema};
use protocol::value::{ColumnType, Row, Value};

use super::answer::Values;
use super::bounds::Texts;
use super::provider::Names;
use super::types::{self, Builders};
use super::{Select, prepare, typed};
use crate::constant::Binding;
use crate::error::SqlError;
use crate::request::ResultColumn;

/// An expression over the rows of one table, and the column that takes its value.
#[derive(Debug)]
pub(crate) struct RowExpression {
    compiled: Compiled,
    column: Column,
    gives: ResultColumn,
}

/// A condition on the rows of one table.
#[derive(Debug)]
pub(crate) struct RowCondition {
    parts: Vec<Compiled>,
}

#[derive(Debug)]
struct Compiled {
    physical: Arc<dyn PhysicalExpr>,
    arrow: SchemaRef,
    types: Vec<ColumnType>,
    gives: ColumnType,
    texts: Texts,
}

impl RowExpression {
    /// # Errors
    /// [`SqlError`], when it cannot be computed of a row or gives what the column does not take.
    pub(crate) fn new(
        select: &Select,
        schema: &TableSchema,
        expr: &ast::Expr,
        binding: &Binding<'_>,
        column: &Column,
    ) -> Result<Self, SqlError> {
        let compiled = Compiled::new(select, schema, expr, binding)?;
        let (wanted, given) = (column.column_type, compiled.gives);
        let is_text = |t| matches!(t, ColumnType::Text | ColumnType::Json | ColumnType::Uuid);
        let fits = wanted == given
            || (wanted.is_number() && given.is_number())
            || (is_text(wanted) && is_text(given));
        if !fits {
            return Err(SqlError::invalid(format!(
                "column {} is {wanted}, and what is computed for it {given}",
                column.name
            )));
        }
        let gives = ResultColumn { name: column.name.to_string(), column_type: given };
        Ok(Self { compiled, column: column.clone(), gives })
    }

    /// The value for a row with all columns of the table.
    pub(crate) fn value(&self, row: &Row) -> Result<Value, SqlError> {
        let array = self.compiled.evaluate(row)?;
        let value = Values::new(&array, &self.gives)?.get(0)?;
        let number;
        let text;
        let literal = match (self.column.column_type, &value) {
            (ColumnType::Double, Value::Integer(value)) => {
                number = value.to_string();
                Some(Literal::Number(&number))
            }
            (ColumnType::Int | ColumnType::BigInt, Value::Double(value)) => {
                // A whole DOUBLE is that whole number; any other is refused, and never rounded.
                let value = value.get();
                number =
                    if value.fract() == 0.0 { format!("{value:.0}") } else { value.to_string() };
                Some(Literal::Number(&number))
            }
            (ColumnType::Json | ColumnType::Uuid, Value::Text(value)) => Some(Literal::Text(value)),
            (ColumnType::Text, Value::Uuid(uuid)) => {
                text = protocol::literal::uuid_text(*uuid);
                Some(Literal::Text(&text))
            }
            _ => None,
        };
        let refused =
            |code, why: String| SqlError::new(code, format!("column {}: {why}", self.column.name));
        let value = match literal {
            Some(literal) => {
                let value = self.column.column_type.value_of(literal);
                value.map_err(|error| refused(error.code(), error.to_string()))?
            }
            None => value,
        };
        let admitted = self.column.column_type.admit(value.as_ref());
        admitted.map_err(|error| refused(error.code(), error.to_string()))?;
        Ok(value)
    }
}

impl RowCondition {
    /// All of `exprs` together.
    ///
    /// # Errors
    /// [`SqlError`], when one of them is no condition on a row.
    pub(crate) fn new(
        select: &Select,
        schema: &TableSchema,
        exprs: &[&ast::Expr],
        binding: &Binding<'_>,
    ) -> Result<Self, SqlError> {
        let part = |expr: &&ast::Expr| {
            let compiled = Compiled::new(select, schema, expr, binding)?;
            if compiled.gives == ColumnType::Boolean {
                return Ok(compiled);
            }
            Err(SqlError::invalid("a condition is a BOOLEAN, and not another value"))
        };
        Ok(Self { parts: exprs.iter().map(part).collect::<Result<_, _>>()? })
    }

    /// Whether a row with all columns of the table meets it.
    pub(crate) fn holds(&self, row: &Row) -> Result<bool, SqlError> {
        for part in &self.parts {
            let array = part.evaluate(row)?;
            let values: Option<&BooleanArray> = array.as_boolean_opt();
            let is_true = values.is_some_and(|values| values.iter().next() == Some(Some(true)));
            if !is_true {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Compiled {
    fn new(
        select: &Select,
        schema: &TableSchema,
        expr: &ast::Expr,
        binding: &Binding<'_>,
    ) -> Result<Self, SqlError> {
        let expr = prepare::expression(expr, binding.params)?;
        let arrow = types::schema(&schema.columns);
        let name = &schema.name;
        let table = TableReference::partial(name.namespace.as_str(), name.table.as_str());
        let rows = DFSchema::try_from_qualified_schema(table, &arrow)?;
        let texts = Texts::default();
        let names = Names { state: &select.state, texts: &texts, tables: None };
        let planner = SqlToRel::new_with_options(&names, select.parser_options());
        let expr = planner.sql_to_expr(expr, &rows, &mut PlannerContext::new())?;
        expr.apply(|part| {
            Ok(match part {
                Expr::AggregateFunction(_) | Expr::WindowFunction(_) => {
                    return Err(super::failure::through(SqlError::unsupported(
                        "a function of several rows is not offered here",
                    )));
                }
                _ => TreeNodeRecursion::Continue,
            })
        })?;
        let tags = Cell::new(0);
        let (now, user) = (binding.now, binding.user);
        let fixed = typed::Fixed { now, user, tags: &tags, texts: &texts };
        let expr = typed::expression(expr, &rows, fixed)?;
        let field = expr.to_field(&rows)?.1;
        let gives = match field.data_type() {
            // NULL by itself.
            DataType::Null => Some(ColumnType::Text),
            _ => types::type_of(&field),
        };
        let gives = gives.ok_or_else(|| {
            SqlError::unsupported("an expression gives what no column can hold: use CAST")
        })?;
        // Some functions only exist as what they are simplified to.
        let schema_of_rows = Arc::new(rows.clone());
        let context = SimplifyContext::builder().with_schema(schema_of_rows).build();
        let simplifier = ExprSimplifier::new(context);
        let expr = simplifier.coerce(expr, &rows)?;
        let expr = simplifier.simplify(expr)?;
        let physical = select.state.create_physical_expr(expr, &rows)?;
        let types = schema.columns.iter().map(|column| column.column_type).collect();
        Ok(Self { physical, arrow, types, gives, texts })
    }

    fn evaluate(&self, row: &Row) -> Result<ArrayRef, SqlError> {
        let mut builders = Builders::new(Arc::clone(&self.arrow), self.types.iter().copied());
        builders.push(row.iter().map(Value::as_ref))?;
        let batch: RecordBatch = builders.finish()?;
        self.texts.clear();
        Ok(self.physical.evaluate(&batch)?.into_array(1)?)
    }
}
