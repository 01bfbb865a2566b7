//! The functions that are offered, and those that are our own.
//!
//! A list of what is there, and not of what is not: a function that makes much of little text takes
//! memory that nobody counts.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use datafusion::arrow::compute::kernels::numeric;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use protocol::value::ColumnType;

use super::bounds::Texts;
use super::types;

/// Functions of values.
pub(super) const SCALARS: &[&str] = &[
    "abs",
    "acos",
    "asin",
    "atan",
    "atan2",
    "bit_length",
    "btrim",
    "ceil",
    "char_length",
    "character_length",
    "coalesce",
    "concat",
    "cos",
    "current_timestamp",
    "current_user",
    "date_part",
    "date_trunc",
    "degrees",
    "ends_with",
    "exp",
    "floor",
    "greatest",
    "initcap",
    "least",
    "left",
    "length",
    "ln",
    "log",
    "log10",
    "log2",
    "lower",
    "ltrim",
    "now",
    "nullif",
    "octet_length",
    "pi",
    "position",
    "pow",
    "power",
    "radians",
    "reverse",
    "right",
    "round",
    "rtrim",
    "sign",
    "signum",
    "sin",
    "split_part",
    "sqrt",
    "starts_with",
    "strpos",
    "substr",
    "substring",
    "tan",
    "trim",
    "trunc",
    "upper",
];

/// Functions of groups of rows.
pub(super) const AGGREGATES: &[&str] = &[
    "avg",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "first_value",
    "last_value",
    "max",
    "mean",
    "median",
    "min",
    "nth_value",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "sum",
    "var",
    "var_pop",
    "var_samp",
];

/// The function of this name, if it is offered.
pub(super) fn scalar(state: &SessionState, texts: &Texts, name: &str) -> Option<Arc<ScalarUDF>> {
    match name {
        "now" | "current_timestamp" => Some(ours(Fixed::new("now", ColumnType::Timestamp))),
        "current_user" => Some(ours(Fixed::new("current_user", ColumnType::Text))),
        "concat" => Some(ours(Concat::new(false, texts))),
        _ if SCALARS.contains(&name) => state.scalar_functions().get(name).cloned(),
        _ => None,
    }
}

/// `left op right` of integers, where a result out of range is an error.
pub(super) fn checked(op: Operator, left: Expr, right: Expr) -> Expr {
    call(ours(Checked::new(op)), vec![left, right])
}

/// `left || right`.
pub(super) fn joined(left: Expr, right: Expr, texts: &Texts) -> Expr {
    call(ours(Concat::new(true, texts)), vec![left, right])
}

/// The same as `expr`, and told apart from every other one with another tag.
///
/// DataFusion puts conditions on equal expressions together as if nothing were NULL: `x IN (1) AND
/// x IN (2)` becomes FALSE, and below a NOT that selects the rows where `x` is NULL.
pub(super) fn held(expr: Expr, tag: i64) -> Expr {
    let tag = Expr::Literal(ScalarValue::Int64(Some(tag)), None);
    call(ours(Held { signature: Signature::any(2, Volatility::Immutable) }), vec![expr, tag])
}

/// What was [`held`].
pub(super) fn of_held(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == HELD => args.first(),
        _ => None,
    }
}

fn call(function: Arc<ScalarUDF>, args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction { func: function, args })
}

fn ours(function: impl ScalarUDFImpl + 'static) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(function))
}

/// What is the same throughout a statement. The plan has its value in its place before it runs.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Fixed {
    name: &'static str,
    gives: ColumnType,
    signature: Signature,
}

impl Fixed {
    fn new(name: &'static str, gives: ColumnType) -> Self {
        Self { name, gives, signature: Signature::nullary(Volatility::Stable) }
    }
}

impl ScalarUDFImpl for Fixed {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(types::arrow_type(self.gives))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(DataFusionError::Internal(format!("{} is still in the plan", self.name)))
    }
}

const HELD: &str = "held";

/// See [`held`].
#[derive(Debug, PartialEq, Eq, Hash)]
struct Held {
    signature: Signature,
}

impl ScalarUDFImpl for Held {
    fn name(&self) -> &str {
        HELD
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        let of = args.first().cloned();
        of.ok_or_else(|| DataFusionError::Internal("no argument".to_owned()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let of = args.args.into_iter().next();
        of.ok_or_else(|| DataFusionError::Internal("no argument".to_owned()))
    }
}

/// Arithmetic of integers. DataFusion's own goes round at the end of the range.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    op: Operator,
    signature: Signature,
}

impl Checked {
    fn new(op: Operator) -> Self {
        let signature = Signature::exact(vec![DataType::Int64; 2], Volatility::Immutable);
        Self { op, signature }
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        match self.op {
            Operator::Plus => "checked_add",
            Operator::Minus => "checked_subtract",
            Operator::Multiply => "checked_multiply",
            Operator::Divide => "checked_divide",
            _ => "checked_remainder",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [left, right] = &*arrays else {
            return Err(DataFusionError::Internal("two arguments".to_owned()));
        };
        let result = match self.op {
            Operator::Plus => numeric::add(left, right),
            Operator::Minus => numeric::sub(left, right),
            Operator::Multiply => numeric::mul(left, right),
            Operator::Divide => numeric::div(left, right),
            _ => numeric::rem(left, right),
        };
        Ok(ColumnarValue::Array(result?))
    }
}

/// Texts one behind the other.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Concat {
    /// Whether one NULL makes the whole NULL, as in `||`. Else it is left out.
    keeps_null: bool,
    texts: Texts,
    signature: Signature,
}

impl Concat {
    fn new(keeps_null: bool, texts: &Texts) -> Self {
        let signature = Signature::variadic(vec![DataType::Utf8], Volatility::Immutable);
        Self { keeps_null, texts: texts.clone(), signature }
    }
}

impl ScalarUDFImpl for Concat {
    fn name(&self) -> &str {
        if self.keeps_null { "joined" } else { "concat" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let arrays: Vec<ArrayRef> =
            args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<_>>()?;
        let mut made = StringBuilder::new();
        for at in 0..rows {
            if self.keeps_null && arrays.iter().any(|array| array.is_null(at)) {
                made.append_null();
                continue;
            }
            let mut text = String::new();
            for array in arrays.iter().filter(|array| !array.is_null(at)) {
                text.push_str(array.as_string::<i32>().value(at));
            }
            self.texts.add(text.len())?;
            made.append_value(text);
        }
        Ok(ColumnarValue::Array(Arc::new(made.finish())))
    }
}
