//! SQL expressions of the job, parsed by polars and proven to work row by row.

use std::collections::BTreeSet;
use std::sync::Arc;

use polars::chunked_array::cast::CastOptions;
use polars::prelude::{DataType, Expr, NULL, Operator, Schema, col, lit, when};
use polars_plan::dsl::{
    AggExpr, BooleanFunction, DataTypeExpr, FunctionExpr, ListFunction, StringFunction,
    StrptimeOptions,
};
use polars_plan::plans::{AExpr, AExprSorted, ExprToIRContext, is_elementwise_rec, to_expr_ir};
use polars_plan::prelude::Arena;
use sqlparser::dialect::GenericDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Tokenizer};

use super::size;
use crate::findings::{self, Finding};

/// An expression whose value for a row depends on that row alone.
///
/// That is a condition of the theorem: otherwise removing one user could change what another
/// user contributes (`docs/privacy.md`, Lemma 0).
#[derive(Clone, Debug)]
pub struct SqlExpression {
    /// As written in the job.
    pub text: String,
    /// The same for texts that differ in spaces, comments, the case of SQL's own words, or quotes
    /// around a lone column: what ledgers compare.
    pub normal: String,
    /// Place in the job file.
    pub span: std::ops::Range<usize>,
    /// As polars understands it. Failing casts give null, so that they become bad rows. It looks
    /// at each row, also of a column of which the file says that it is sorted.
    pub expr: Expr,
}

impl SqlExpression {
    /// Parses `text`; `key` names it in messages.
    ///
    /// # Errors
    /// Not SQL (`sql-wrong`), without a column (`sql-constant`), not row by row
    /// (`sql-not-row-by-row`), or too large (`sql-too-large`).
    pub(crate) fn parse(
        key: &str,
        text: &str,
        span: std::ops::Range<usize>,
    ) -> Result<Self, Finding> {
        size::fits(key, text).map_err(|finding| finding.at(span.clone()))?;
        // A plain word is a column, also if SQL has a use for it, as for `user`.
        let expr = if is_plain_word(text) { Ok(col(text)) } else { polars::sql::sql_expr(text) };
        let expr = expr.map_err(|e| {
            let deep = size::too_deep(key, text);
            deep.unwrap_or_else(|| wrong(key, text, &e.to_string())).at(span.clone())
        })?;
        let expr = expr.map_expr(lenient);
        if !looks_at_rows(&expr) {
            return Err(findings::sql_constant(key).at(span));
        }
        if !is_row_by_row(&expr) || has_window(text) {
            return Err(findings::sql_not_row_by_row(key).at(span));
        }
        let expr = expr.map_expr(unsorted).map_expr(with_columns);
        size::has_room(key, &expr).map_err(|finding| finding.at(span.clone()))?;
        Ok(SqlExpression { text: text.to_owned(), normal: normal_form(text), span, expr })
    }

    /// The columns that it looks at.
    pub(super) fn columns(&self) -> BTreeSet<String> {
        let name = |part: &Expr| match part {
            Expr::Column(name) => Some(name.to_string()),
            _ => None,
        };
        self.expr.into_iter().filter_map(name).collect()
    }

    /// Like [`SqlExpression::parse`], but understands `to_timestamp(seconds)` and
    /// `to_timestamp(text, 'format')` around the whole expression, which polars does not:
    /// returns what is inside, and the format if there is one.
    pub(super) fn parse_time(
        text: &str,
        span: std::ops::Range<usize>,
    ) -> Result<(Self, Option<String>), Finding> {
        size::fits("time", text).map_err(|finding| finding.at(span.clone()))?;
        let (inner, format) = unwrap_to_timestamp(text).unwrap_or((text.to_owned(), None));
        let parsed = Self::parse("time", &inner, span)?;
        Ok((SqlExpression { text: text.to_owned(), ..parsed }, format))
    }
}

fn unwrap_to_timestamp(text: &str) -> Option<(String, Option<String>)> {
    use sqlparser::ast::{Expr as Sql, FunctionArg, FunctionArgExpr, FunctionArguments, Value};
    let mut parser = Parser::new(&GenericDialect {}).try_with_sql(text).ok()?;
    let parsed = parser.parse_expr().ok()?;
    let Sql::Function(call) = parsed else { return None };
    if parser.peek_token().token != Token::EOF
        || !call.name.to_string().eq_ignore_ascii_case("to_timestamp")
    {
        return None;
    }
    let FunctionArguments::List(list) = call.args else { return None };
    let mut args = list.args.into_iter().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    let inner = args.next()??.to_string();
    let format = match args.next() {
        None => None,
        Some(Some(Sql::Value(value))) => match value.value {
            Value::SingleQuotedString(format) => Some(format),
            _ => return None,
        },
        Some(_) => return None,
    };
    args.next().is_none().then_some((inner, format))
}

fn normal_form(text: &str) -> String {
    use sqlparser::ast::Expr as Sql;
    let parsed = Parser::new(&GenericDialect {}).try_with_sql(text);
    match parsed.and_then(|mut parser| parser.parse_expr()) {
        // Also a word that SQL has a use for.
        _ if is_plain_word(text) => text.to_owned(),
        Ok(Sql::Identifier(column)) if is_plain_word(&column.value) => column.value,
        Ok(expression) => expression.to_string(),
        Err(_) => text.trim().to_owned(),
    }
}

fn is_plain_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Says what is wrong without polars' syntax trees.
fn wrong(key: &str, text: &str, cause: &str) -> Finding {
    if text.to_ascii_uppercase().contains("AT TIME ZONE") {
        return findings::sql_time_zone(key);
    }
    let is_tree = cause.contains(" { ") || cause.contains("([");
    findings::sql_wrong(key, text, &if is_tree { "a part of it is not supported" } else { cause })
}

/// Casts and times that fail give null, and so a bad row, instead of stopping the job: one user's
/// unreadable value must not decide whether there is a release.
fn lenient(expr: Expr) -> Expr {
    match expr {
        Expr::Cast { expr, dtype, options: CastOptions::Strict } => {
            Expr::Cast { expr, dtype, options: CastOptions::NonStrict }
        }
        // `DATE(x)`: polars would guess the format of texts from other rows, and takes no
        // timestamps.
        Expr::Function {
            mut input,
            function: FunctionExpr::StringExpr(StringFunction::Strptime(dtype, options)),
        } if is_guessed_date(&dtype, &options) && !input.is_empty() => Expr::Cast {
            expr: Arc::new(input.swap_remove(0)),
            dtype,
            options: CastOptions::NonStrict,
        },
        Expr::Function {
            input,
            function: FunctionExpr::StringExpr(StringFunction::Strptime(dtype, options)),
        } => {
            let options = StrptimeOptions { strict: false, ..options };
            let function = StringFunction::Strptime(dtype, options);
            Expr::Function { input, function: FunctionExpr::StringExpr(function) }
        }
        other => other,
    }
}

/// Parquet files may say that a column is sorted. polars believes it and compares some rows for
/// all, so where that is not so, one row more could change what is made of the others.
fn unsorted(expr: Expr) -> Expr {
    match expr {
        Expr::Column(_) => expr.set_sorted_flag(AExprSorted::default()),
        other => other,
    }
}

/// Division by a constant: polars multiplies a column with the reciprocal, which is off in the last
/// digit, but divides a row that is alone; and 0 − x has another sign of zero there. So the
/// constant becomes a column, too.
fn with_columns(expr: Expr) -> Expr {
    let column = |constant: Expr, other: &Expr| {
        let is_null = other.clone().is_null();
        Arc::new(when(is_null).then(lit(NULL)).otherwise(constant))
    };
    match expr {
        Expr::BinaryExpr { left, op, right } if is_otherwise_alone(op) => {
            let (left, right) = match (looks_at_rows(&left), looks_at_rows(&right)) {
                (true, false) => {
                    let right = column(Arc::unwrap_or_clone(right), &left);
                    (left, right)
                }
                (false, true) => {
                    let left = column(Arc::unwrap_or_clone(left), &right);
                    (left, right)
                }
                _ => (left, right),
            };
            Expr::BinaryExpr { left, op, right }
        }
        other => other,
    }
}

fn is_otherwise_alone(op: Operator) -> bool {
    matches!(
        op,
        Operator::RustDivide
            | Operator::TrueDivide
            | Operator::FloorDivide
            | Operator::Modulus
            | Operator::Minus
    )
}

fn is_guessed_date(dtype: &DataTypeExpr, options: &StrptimeOptions) -> bool {
    *dtype == DataTypeExpr::from(DataType::Date) && options.format.is_none()
}

fn is_row_by_row(expr: &Expr) -> bool {
    // The list of `x IN ('a', 'b')` is the same for every row. Aggregates of constants need not be:
    // some count rows.
    let expr = expr.clone().map_expr(|e| match e {
        Expr::Function {
            mut input,
            function: function @ FunctionExpr::Boolean(BooleanFunction::IsIn { .. }),
        } => {
            input.iter_mut().filter(|list| is_constant_list(list)).for_each(|l| *l = lit(NULL));
            Expr::Function { input, function }
        }
        other => other,
    });
    let looks_around = |node: &Expr| {
        // `a = ANY(b)`: polars gathers the whole column b, but only after this check. And
        // `REPLACE(a, 'x', b)` stops at a null b only where there are no other rows; a constant
        // text is split in another way where there is one row. Sums of lists are rounded, and lists
        // searched, in another way where a list of other rows has a null.
        let gathers = match node {
            Expr::Function {
                function:
                    FunctionExpr::ListExpr(
                        ListFunction::Sum | ListFunction::Mean | ListFunction::Contains { .. },
                    ),
                ..
            } => true,
            Expr::Function {
                input,
                function:
                    FunctionExpr::StringExpr(
                        StringFunction::Split(_)
                        | StringFunction::SplitN(_)
                        | StringFunction::SplitExact { .. }
                        | StringFunction::SplitRegex { .. },
                    ),
            } => !input.first().is_some_and(looks_at_rows),
            Expr::Function {
                input,
                function:
                    FunctionExpr::Boolean(BooleanFunction::IsIn { .. })
                    | FunctionExpr::StringExpr(StringFunction::Replace { .. }),
            } => input.iter().skip(1).any(looks_at_rows),
            _ => false,
        };
        gathers
            || matches!(
                node,
                // Of numbers that are none, `LEAST` depends on how many rows there are.
                Expr::Function {
                    function: FunctionExpr::MinHorizontal | FunctionExpr::MaxHorizontal,
                    ..
                } | Expr::Agg(_)
                    | Expr::Over { .. }
                    | Expr::Sort { .. }
                    | Expr::SortBy { .. }
                    | Expr::Gather { .. }
                    | Expr::Filter { .. }
                    | Expr::Slice { .. }
                    | Expr::Explode { .. }
                    | Expr::Len
                    | Expr::SubPlan(..)
                    | Expr::Selector(_)
                    | Expr::Eval { .. }
            )
    };
    if !looks_at_rows(&expr) || (&expr).into_iter().any(looks_around) {
        return false;
    }
    // For functions: polars' own classification, without a schema.
    let mut arena: Arena<AExpr> = Arena::with_capacity(16);
    let schema = Schema::default();
    let mut context = ExprToIRContext::new_no_verification(&mut arena, &schema);
    let Ok(ir) = to_expr_ir(expr, &mut context) else { return false };
    is_elementwise_rec(ir.node(), &arena)
}

/// Windows and filters of functions that are no aggregates: polars leaves these out.
fn has_window(text: &str) -> bool {
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize().unwrap_or_default();
    let words: Vec<&Token> =
        tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_))).collect();
    let opens = |token: &Token| match token {
        Token::Word(word) => {
            matches!(word.keyword, Keyword::OVER | Keyword::FILTER | Keyword::WITHIN)
                && word.quote_style.is_none()
        }
        _ => false,
    };
    words.windows(2).any(|pair| *pair[0] == Token::RParen && opens(pair[1]))
}

fn is_constant_list(expr: &Expr) -> bool {
    let Expr::Agg(AggExpr::Implode { input, .. }) = expr else { return false };
    let aggregates = |node: &Expr| matches!(node, Expr::Agg(_));
    !looks_at_rows(input) && !input.into_iter().any(aggregates)
}

fn looks_at_rows(expr: &Expr) -> bool {
    let row = |node: &Expr| {
        matches!(
            node,
            Expr::Column(_) | Expr::Len | Expr::SubPlan(..) | Expr::Selector(_) | Expr::Element
        )
    };
    expr.into_iter().any(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Option<&'static str> {
        SqlExpression::parse("amount", text, 0..1).err().map(|finding| finding.code())
    }

    #[test]
    fn accepts_expressions_of_one_row() {
        for text in [
            "amt",
            "\"Amount (CNY)\"",
            "amt * 100",
            "CAST(amt AS BIGINT)",
            "COALESCE(wallet, 'unknown')",
            "CASE WHEN kind = 'refund' THEN -amt ELSE amt END",
            "channel = 'in_store' AND amt > 5",
            "channel IN ('in_store', 'kiosk')",
            "amt BETWEEN 1 AND 5",
            "UPPER(wallet) LIKE 'A%'",
            "first || '-' || last",
            "STRPTIME(paid, '%Y-%m-%d')",
            "DATE(paid)",
            "DATE(paid, '%d.%m.%Y')",
            "ROUND(amt, 2)",
            "ABS(amt)",
            "SPLIT_PART(tag, '-', 2)",
            "(amt) + \"over\"",
            "user",
            "\"user\" IS NOT NULL",
        ] {
            assert_eq!(code(text), None, "{text}");
        }
    }

    #[test]
    fn refuses_expressions_that_look_at_other_rows() {
        for text in [
            "SUM(amt)",
            "amt - AVG(amt)",
            "COUNT(*)",
            "MAX(amt) OVER (PARTITION BY usr)",
            "ROW_NUMBER() OVER (ORDER BY amt)",
            "LAST_VALUE(amt) OVER (PARTITION BY usr)",
            "COALESCE(amt, 0)\n over w",
            "ABS(amt) FILTER (WHERE amt > 5)",
            "ARRAY_SUM(list)",
            "ARRAY_MEAN(list)",
            "ARRAY_CONTAINS(list, 2)",
            "STRING_TO_ARRAY('a-b', tag)",
            "SPLIT_PART('a-b', tag, 2)",
            "RANK() OVER (ORDER BY amt)",
            "LAG(amt) OVER (ORDER BY ts)",
            "FIRST(amt)",
            "MEDIAN(amt)",
            "amt > (SELECT 1 FROM payments)",
            "EXISTS (SELECT 1)",
            "tag = ANY(blk)",
            "tag = SOME(blk)",
            "tag <> ANY(blk)",
            "CASE WHEN tag = ANY(blk) THEN 1 ELSE 0 END",
            "COALESCE(LENGTH(tag) = ANY(LENGTH(blk)), amt > 1)",
            "tag IN (blk)",
            "TIMESTAMP(ts)",
            "DATE(MAX(ts))",
            "amt + SUM(1)",
            "amt + COUNT(1 + 1)",
            "amt * TOTAL(1)",
            "COALESCE(amt, MAX(2))",
            "wallet || STRING_AGG('a')",
            "amt + ARRAY_LENGTH(ARRAY_AGG(1))",
            "amt IN (SUM(1), 2)",
        ] {
            assert!(
                matches!(code(text), Some("sql-not-row-by-row" | "sql-wrong" | "sql-constant")),
                "{text}"
            );
        }
    }

    #[test]
    fn normal_forms_are_equal_for_one_meaning() {
        for (text, normal) in [
            ("card", "card"),
            (" \"card\" ", "card"),
            ("user", "user"),
            ("\"user\"", "user"),
            ("Card", "Card"),
            ("\"Card No\"", "\"Card No\""),
            ("card||'-'  ||day -- each day another", "card || '-' || day"),
            ("coalesce( card , 'none' )", "coalesce(card, 'none')"),
            ("cast(card as bigint)", "CAST(card AS BIGINT)"),
        ] {
            let parsed = SqlExpression::parse("user", text, 0..1).expect("parses");
            assert_eq!(parsed.normal, normal, "{text}");
        }
    }

    #[test]
    fn to_timestamp_is_unwrapped() {
        for (text, inner, format) in [
            ("to_timestamp(epoch)", "epoch", None),
            ("TO_TIMESTAMP(epoch / 1000)", "epoch / 1000", None),
            ("to_timestamp(\"Paid at\", '%d.%m.%Y')", "\"Paid at\"", Some("%d.%m.%Y")),
            ("epoch", "epoch", None),
        ] {
            let (got, got_format) = SqlExpression::parse_time(text, 0..1).expect("parses");
            let wanted = SqlExpression::parse("time", inner, 0..1).expect("parses");
            assert_eq!(got.expr, wanted.expr, "{text}");
            assert_eq!(got_format.as_deref(), format, "{text}");
        }
        assert!(SqlExpression::parse_time("to_timestamp(a, b)", 0..1).is_err());
    }

    #[test]
    fn refuses_what_is_no_expression() {
        for text in ["", "amt FROM payments", "amt; DROP TABLE x", "amt +", "nosuch(amt)", "*"] {
            assert!(code(text).is_some(), "{text}");
        }
    }
}
