//! Expressions that give null, and so a bad row, where polars would give a wrong number or fail for
//! all rows.

use polars::prelude::{
    ChunkExpandAtIndex, Column, DataType, Expr, Field, Float64Chunked, Int64Chunked, IntoColumn,
    NULL, NewChunkedArray, Operator, PolarsResult, Schema, TimeUnit, UnknownKind, lit, when,
};
use polars_plan::dsl::{FunctionExpr, PowFunction, StringFunction, StructFunction};

/// The same expression on these columns.
///
/// - Sums, differences and products of whole numbers are computed in 64 bits, whatever their
///   columns have, and are null if they do not fit: polars computes them in the bits of the
///   columns, and drops what does not fit.
/// - Decimals are null that have too many digits, or are divided by zero.
/// - Times that no calendar has are null where something is made of them: polars cannot write them.
/// - Parts of a text with a length below zero are null.
/// - Powers are the same for one row as among others (Lemma 0).
pub(super) fn sound(expr: Expr, schema: &Schema) -> Expr {
    if is_column(&expr) {
        return expr;
    }
    let computes = (&expr).into_iter().any(|part| is_computed(part, schema));
    expr.map_expr(|part| {
        let part = of_calendar(part, schema);
        if computes && type_of(&part, schema) == Some(DataType::UInt64) && !is_bare(&part) {
            // With numbers that have a sign they would be made floats.
            return part.cast(DataType::Int64);
        }
        match &part {
            Expr::BinaryExpr { left, op, right } => {
                let types = [left, right].map(|expr| type_of(expr, schema));
                let has = |rule: fn(&DataType) -> bool| {
                    types.iter().flatten().filter(|t| rule(t)).count()
                };
                match checked(*op) {
                    Some(checked) if has(is_whole) == 2 && has_column(&part) => {
                        whole((**left).clone(), &[(**right).clone()], move |values| {
                            checked(values[0], values[1])
                        })
                    }
                    _ if has(DataType::is_decimal) > 0 => within_digits(part, schema),
                    _ => part,
                }
            }
            Expr::Function { input, function } => match function {
                FunctionExpr::Negate if are_whole(input, schema) => {
                    whole(input[0].clone(), &[], |values| values[0].checked_neg())
                }
                FunctionExpr::Abs if are_whole(input, schema) => {
                    whole(input[0].clone(), &[], |values| values[0].checked_abs())
                }
                FunctionExpr::Pow(PowFunction::Generic) if are_whole(input, schema) => {
                    whole(input[0].clone(), &input[1..], |values| {
                        values[0].checked_pow(u32::try_from(values[1]).ok()?)
                    })
                }
                FunctionExpr::Pow(PowFunction::Generic) if has_column(&input[1]) => {
                    let dtype = type_of(&part, schema).unwrap_or(DataType::Float64);
                    power(&input[0], &input[1]).cast(dtype)
                }
                FunctionExpr::StringExpr(function) => match length_of(function) {
                    Some(at) if at < input.len() => of_length(part, at),
                    _ => part,
                },
                _ => part,
            },
            _ => part,
        }
    })
}

/// A column that is nested and that the expression does not take one field of: polars may end the
/// whole program on its rows.
pub(super) fn nested(expr: &Expr, schema: &Schema) -> Option<String> {
    if is_column(expr) {
        return None;
    }
    let is_nested = |part: &&Expr| match column_of(part) {
        Some(name) => matches!(schema.get(name), Some(DataType::Struct(_))),
        None => false,
    };
    let fields = |part: &Expr| match part {
        Expr::Function {
            input,
            function: FunctionExpr::StructExpr(StructFunction::FieldByName(_)),
        } => input.iter().filter(is_nested).count(),
        _ => 0,
    };
    let columns = |part: &&Expr| matches!(part, Expr::Column(_)) && is_nested(part);
    let taken: usize = expr.into_iter().map(fields).sum();
    let all: Vec<&Expr> = expr.into_iter().filter(columns).collect();
    (all.len() > taken).then(|| all.first().and_then(|part| column_of(part)).map(str::to_owned))?
}

/// The name of a column, of which it may have been said that it is in no order.
fn column_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Column(name) => Some(name),
        Expr::Cast { expr, .. } => column_of(expr),
        Expr::Function { input, function: FunctionExpr::SetSortedFlag(_) } => column_of(&input[0]),
        _ => None,
    }
}

fn is_column(expr: &Expr) -> bool {
    match expr {
        Expr::Column(_) => true,
        Expr::Function { input, function: FunctionExpr::SetSortedFlag(_) } => is_column(&input[0]),
        _ => false,
    }
}

fn has_column(expr: &Expr) -> bool {
    expr.into_iter().any(|part| matches!(part, Expr::Column(_)))
}

/// A column of which nothing has been said yet.
fn is_bare(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(_))
}

/// Is it arithmetic that is checked?
fn is_computed(part: &Expr, schema: &Schema) -> bool {
    match part {
        Expr::BinaryExpr { left, op, right } => {
            checked(*op).is_some() && are_whole(&[(**left).clone(), (**right).clone()], schema)
        }
        Expr::Function {
            input,
            function:
                FunctionExpr::Negate | FunctionExpr::Abs | FunctionExpr::Pow(PowFunction::Generic),
        } => are_whole(input, schema),
        _ => false,
    }
}

/// `None` of what cannot be computed, which is told elsewhere.
fn type_of(expr: &Expr, schema: &Schema) -> Option<DataType> {
    expr.to_field(schema).ok().map(|field| field.dtype().clone())
}

fn is_whole(dtype: &DataType) -> bool {
    dtype.is_integer() || matches!(dtype, DataType::Unknown(UnknownKind::Int(_)))
}

fn are_whole(input: &[Expr], schema: &Schema) -> bool {
    let whole = |expr: &Expr| type_of(expr, schema).is_some_and(|dtype| is_whole(&dtype));
    input.iter().all(whole) && input.iter().any(has_column)
}

fn checked(op: Operator) -> Option<fn(i64, i64) -> Option<i64>> {
    match op {
        Operator::Plus => Some(i64::checked_add),
        Operator::Minus => Some(i64::checked_sub),
        Operator::Multiply => Some(i64::checked_mul),
        _ => None,
    }
}

/// A function of whole numbers, row by row; null where one of them is, or is beyond 64 bits.
fn whole(
    first: Expr,
    others: &[Expr],
    function: impl Fn(&[i64]) -> Option<i64> + Send + Sync + 'static,
) -> Expr {
    let values = move |columns: &mut [Column]| {
        let numbers = |column: &Column| -> PolarsResult<Int64Chunked> {
            Ok(column.cast(&DataType::Int64)?.i64()?.clone())
        };
        let rows = columns.iter().map(Column::len).find(|&rows| rows != 1).unwrap_or(1);
        let mut inputs = Vec::new();
        for column in columns.iter() {
            let numbers = numbers(column)?;
            let is_alone = numbers.len() == 1 && rows != 1;
            inputs.push(if is_alone { numbers.new_from_index(0, rows) } else { numbers });
        }
        let mut iters: Vec<_> = inputs.iter().map(Int64Chunked::iter).collect();
        let mut row = Vec::with_capacity(iters.len());
        let value = |_| {
            row.clear();
            row.extend(iters.iter_mut().filter_map(|values| values.next().flatten()));
            if row.len() == inputs.len() { function(&row) } else { None }
        };
        let found: Vec<Option<i64>> = (0..rows).map(value).collect();
        Ok(Int64Chunked::from_slice_options(columns[0].name().clone(), &found).into_column())
    };
    let typed =
        |_: &Schema, fields: &[Field]| Ok(Field::new(fields[0].name().clone(), DataType::Int64));
    first.map_many(values, others, typed)
}

/// A power, row by row: where there is one row, polars takes roots and products in its place.
fn power(base: &Expr, exponent: &Expr) -> Expr {
    let powers = |columns: &mut [Column]| {
        let numbers = |column: &Column| -> PolarsResult<Float64Chunked> {
            Ok(column.cast(&DataType::Float64)?.f64()?.clone())
        };
        let (base, exponent) = (numbers(&columns[0])?, numbers(&columns[1])?);
        // A constant.
        let base = match base.len() {
            1 => base.new_from_index(0, exponent.len()),
            _ => base,
        };
        let power = |(base, exponent): (Option<f64>, Option<f64>)| Some(base?.powf(exponent?));
        let found: Vec<Option<f64>> = base.iter().zip(exponent.iter()).map(power).collect();
        Ok(Float64Chunked::from_slice_options(columns[0].name().clone(), &found).into_column())
    };
    let typed =
        |_: &Schema, fields: &[Field]| Ok(Field::new(fields[0].name().clone(), DataType::Float64));
    base.clone().map_many(powers, std::slice::from_ref(exponent), typed)
}

/// Of decimals: null beyond the digits that the result has, and where zero divides.
fn within_digits(part: Expr, schema: &Schema) -> Expr {
    let scale = match type_of(&part, schema) {
        Some(DataType::Decimal(_, scale)) => scale,
        _ => 0,
    };
    let Expr::BinaryExpr { left, op, right } = part else { return part };
    let arithmetic = matches!(
        op,
        Operator::Plus
            | Operator::Minus
            | Operator::Multiply
            | Operator::RustDivide
            | Operator::TrueDivide
            | Operator::FloorDivide
            | Operator::Modulus
    );
    if !arithmetic {
        return Expr::BinaryExpr { left, op, right };
    }
    // Decimals have 38 digits.
    let most = 9.0 * 10f64.powi(37 - i32::try_from(scale).unwrap_or(37));
    let float = |expr: &Expr| expr.clone().cast(DataType::Float64);
    let divides = !matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply);
    let tried = match divides {
        // No more digits than what is divided has.
        true if op == Operator::Modulus => float(&left),
        _ => Expr::BinaryExpr { left: float(&left).into(), op, right: float(&right).into() },
    };
    let mut fits = tried.clone().lt_eq(lit(most)).and(tried.gt_eq(lit(-most)));
    if divides {
        fits = fits.and(float(&right).neq(lit(0.0)));
    }
    // A constant stays one, of whichever type it is taken to be.
    let fitting = |expr: &Expr| match has_column(expr) {
        true => when(fits.clone()).then(expr.clone()).otherwise(lit(NULL)),
        false => expr.clone(),
    };
    Expr::BinaryExpr { left: fitting(&left).into(), op, right: fitting(&right).into() }
}

/// The same of times and days that a calendar has, if something is made of such. Comparisons can do
/// with others.
fn of_calendar(part: Expr, schema: &Schema) -> Expr {
    let known = |expr: &std::sync::Arc<Expr>| in_calendar((**expr).clone(), schema).into();
    match part {
        Expr::Cast { expr, dtype, options } => Expr::Cast { expr: known(&expr), dtype, options },
        Expr::BinaryExpr { left, op: op @ (Operator::Plus | Operator::Minus), right } => {
            Expr::BinaryExpr { left: known(&left), op, right: known(&right) }
        }
        Expr::Function { input, function }
            if !matches!(function, FunctionExpr::SetSortedFlag(_)) =>
        {
            let input = input.into_iter().map(|expr| in_calendar(expr, schema)).collect();
            Expr::Function { input, function }
        }
        other => other,
    }
}

/// Times and days of the years 1 to 9999, if that is what these are; null for others.
fn in_calendar(part: Expr, schema: &Schema) -> Expr {
    // From 1970, in days.
    const FIRST: i64 = -719_162;
    const LAST: i64 = 2_932_896;
    let (ticks, per_day) = match type_of(&part, schema) {
        Some(DataType::Datetime(TimeUnit::Milliseconds, _)) => (DataType::Int64, 86_400_000),
        Some(DataType::Datetime(TimeUnit::Microseconds, _)) => (DataType::Int64, 86_400_000_000),
        Some(DataType::Date) => (DataType::Int32, 1),
        _ => return part,
    };
    let ticks = part.clone().cast(ticks);
    let known = ticks.clone().gt_eq(lit(FIRST * per_day)).and(ticks.lt(lit((LAST + 1) * per_day)));
    when(known).then(part).otherwise(lit(NULL))
}

/// Which argument is a length.
fn length_of(function: &StringFunction) -> Option<usize> {
    match function {
        StringFunction::Slice => Some(2),
        StringFunction::PadStart { .. } | StringFunction::PadEnd { .. } => Some(1),
        _ => None,
    }
}

/// Null if the argument at this place is below zero.
fn of_length(part: Expr, at: usize) -> Expr {
    let Expr::Function { mut input, function } = part else { return part };
    if !has_column(&input[at]) {
        return Expr::Function { input, function };
    }
    let below = input[at].clone().lt(lit(0));
    input[at] = when(below.clone()).then(lit(0)).otherwise(input[at].clone());
    when(below).then(lit(NULL)).otherwise(Expr::Function { input, function })
}

#[cfg(test)]
mod tests {
    use polars::prelude::{DataFrame, Engine, IntoLazy, NamedFrom, Series};

    use super::*;
    use crate::job::SqlExpression;

    const STAMP: DataType = DataType::Datetime(TimeUnit::Microseconds, None);

    /// In microseconds from 1970, when the year 1 begins and 9999 ends.
    const FIRST: i64 = -719_162 * 86_400_000_000;
    const LAST: i64 = 2_932_897 * 86_400_000_000;

    /// Whole numbers of every width, decimals, timestamps, days and texts.
    fn table() -> DataFrame {
        let whole = |name: &str, values: &[i64], dtype| {
            Series::new(name.into(), values).cast(&dtype).expect("fits").into_column()
        };
        let long = [i64::MAX, i64::MIN, 1 << 62, 3, -1, 0];
        let decimal = |name: &str, values: [&str; 6]| {
            let texts = Series::new(name.into(), values);
            texts.cast(&DataType::Decimal(38, 2)).expect("decimals").into_column()
        };
        let nines = format!("{}.99", "9".repeat(36));
        let stamps = [i64::MAX, i64::MIN, 0, 1, 1_735_812_000_000_000, -1];
        let columns = vec![
            whole("a", &[127, -128, 100, 1, 0, -1], DataType::Int8),
            whole("b", &[32_767, -32_768, 500, 1, 0, -1], DataType::Int16),
            whole("c", &[30_000_000, i64::from(i32::MIN), 7, 1, 0, -1], DataType::Int32),
            whole("n", &long, DataType::Int64),
            whole("u", &[500, 0, 4_294_967_295, 1, 2, 3], DataType::UInt32),
            Series::new("v".into(), [u64::MAX, 0, 1, 2, 3, 1 << 63]).into_column(),
            decimal("d", ["2.00", &nines, "0.00", "1.50", "-2.00", "0.01"]),
            decimal("e", ["2.00", "100.00", "0.00", "0.50", "0.00", "1.00"]),
            whole("t", &stamps, STAMP),
            whole("day", &[i64::from(i32::MAX), 0, 1, 2, 20_000, -3], DataType::Date),
            // The first and the last day of years that have four digits, and those beside them.
            whole("edge", &[-719_163, -719_162, 2_932_896, 2_932_897, 0, 1], DataType::Date),
            whole("tick", &[FIRST - 1, FIRST, LAST - 1, LAST, 0, 1], STAMP),
            Series::new("s".into(), ["abc"; 6]).into_column(),
        ];
        DataFrame::new(6, columns).expect("a table")
    }

    /// The values of an expression, which must be the same for each row alone.
    fn values(text: &str) -> String {
        let table = table();
        let expr = SqlExpression::parse("amount", text, 0..1).expect("parses").expr;
        let expr = sound(expr, table.schema());
        let on = |table: &DataFrame, engine| {
            let query =
                table.clone().lazy().select([expr.clone().cast(DataType::String).alias("x")]);
            #[expect(clippy::disallowed_methods, reason = "a test's table")]
            let found = query.collect_with_engine(engine).expect(text).unwrap_single();
            let column = found.column("x").expect("asked").str().expect("text").clone();
            let text = |value: Option<&str>| value.unwrap_or("-").to_owned();
            column.iter().map(text).collect::<Vec<_>>()
        };
        let all = on(&table, Engine::InMemory);
        assert_eq!(on(&table, Engine::Streaming), all, "{text}");
        let alone: Vec<String> =
            (0..6).flat_map(|row| on(&table.slice(row, 1), Engine::InMemory)).collect();
        assert_eq!(alone, all, "{text}");
        all.join(" ")
    }

    #[test]
    fn whole_numbers_that_do_not_fit_are_null() {
        for (text, wanted) in [
            ("a * 100", "12700 -12800 10000 100 0 -100"),
            ("b * 100", "3276700 -3276800 50000 100 0 -100"),
            ("100 * c", "3000000000 -214748364800 700 100 0 -100"),
            ("c + c", "60000000 -4294967296 14 2 0 -2"),
            ("-u", "-500 0 -4294967295 -1 -2 -3"),
            ("0 - b", "-32767 32768 -500 -1 0 1"),
            ("u - 600", "-100 -600 4294966695 -599 -598 -597"),
            ("ABS(a)", "127 128 100 1 0 1"),
            ("n * 100", "- - - 300 -100 0"),
            ("n * n", "- - - 9 1 0"),
            ("n + n", "- - - 6 -2 0"),
            ("-n", "-9223372036854775807 - -4611686018427387904 -3 1 0"),
            ("v + 1", "- 1 2 3 4 -"),
            ("n * 2 - n", "- - - 3 -1 0"),
            ("POW(a, 2)", "16129 16384 10000 1 0 1"),
            ("POW(a, a)", "- - - 1 1 -"),
            ("CASE WHEN a > 0 THEN -u ELSE u END", "-500 0 -4294967295 -1 2 3"),
            ("CASE WHEN a > 0 THEN -v ELSE v END", "- 0 -1 -2 3 -"),
            ("CAST(a * 100 AS TEXT)", "12700 -12800 10000 100 0 -100"),
            ("a + 1 > 100", "true false true false false false"),
            // Alone, a column is what it is.
            ("v", "18446744073709551615 0 1 2 3 9223372036854775808"),
        ] {
            assert_eq!(values(text), wanted, "{text}");
        }
    }

    #[test]
    fn rows_on_which_polars_fails_are_null() {
        for text in ["d * d", "d * 100", "d + d"] {
            let values = values(text);
            let nulls: Vec<bool> = values.split(' ').map(|value| value == "-").collect();
            assert_eq!(nulls, [false, true, false, false, false, false], "{text}: {values}");
        }
        let ratio = values("d / e");
        assert_eq!(
            ratio.split(' ').map(|v| v == "-").collect::<Vec<_>>()[2..5],
            [true, false, true]
        );
        assert!(ratio.starts_with("1."), "{ratio}");
        let years = values("STRFTIME(t, '%Y')");
        assert_eq!(years, "- - 1970 1970 2025 1969");
        assert!(values("CAST(t AS VARCHAR)").starts_with("- - 1970-01-01"));
        assert!(values("CAST(CAST(n AS TIMESTAMP) AS VARCHAR)").starts_with("- - "));
        assert_eq!(values("STRFTIME(day, '%Y')"), "- 1970 1970 1970 2024 1969");
        for column in ["edge", "tick"] {
            let years = values(&format!("STRFTIME({column}, '%Y')"));
            assert_eq!(years, "- 0001 9999 - 1970 1970", "{column}");
        }
        assert_eq!(values("SUBSTRING(s, 1, a)"), "abc - abc a  -");
        let padded = values("LPAD(s, a, 'x')");
        let nulls: Vec<bool> = padded.split(' ').map(|value| value == "-").collect();
        assert_eq!(nulls, [false, true, false, false, false, true], "{padded}");
    }

    #[test]
    fn fields_of_nested_columns_are_named() {
        let inner = Field::new("x".into(), DataType::Int64);
        let schema: Schema =
            [("r".into(), DataType::Struct(vec![inner])), ("n".into(), DataType::Int64)]
                .into_iter()
                .collect();
        for (text, found) in [
            ("SQRT(r)", Some("r")),
            ("n + r", Some("r")),
            ("CASE WHEN r IS NULL THEN 1 ELSE r.x END", Some("r")),
            ("r.x + n", None),
            ("r", None),
            ("n + 1", None),
        ] {
            let expr = SqlExpression::parse("amount", text, 0..1).expect("parses").expr;
            assert_eq!(nested(&expr, &schema).as_deref(), found, "{text}");
        }
    }
}
