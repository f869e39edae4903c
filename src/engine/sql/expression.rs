//! The job's expressions in another dialect: as much as means the same in all of them.
//!
//! What is left out can stand in a view of the table, which the job then names.

use std::collections::BTreeSet;

use sqlparser::ast::{BinaryOperator, CaseWhen, Expr, FunctionArg, FunctionArgExpr};
use sqlparser::ast::{FunctionArguments, UnaryOperator, Value};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;

use super::Dialect;
use crate::findings::{self, Finding};
use crate::job::{ColumnType, SqlExpression, TableSource};

/// An expression of the job in some dialect, and what it gives. Of a text all columns and constants
/// are such that they are compared by their bytes, and so is all that is made of them: around an
/// expression it would be too late, as databases refuse columns of two collations in one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Typed {
    pub(super) sql: String,
    /// `None`: nothing but NULL.
    pub(super) kind: Option<ColumnType>,
}

/// Writes a job's expressions in a dialect.
pub(super) struct Translator<'t> {
    pub(super) dialect: Dialect,
    pub(super) table: &'t TableSource,
    /// The columns that were met.
    pub(super) columns: BTreeSet<String>,
}

type Translated = Result<Typed, String>;

impl Translator<'_> {
    /// The expression of `key`, which must give one of `wanted`.
    ///
    /// # Errors
    /// It has a part that is not the same in all dialects, or is of another type.
    pub(super) fn expression(
        &mut self,
        key: &str,
        expression: &SqlExpression,
        wanted: &[ColumnType],
    ) -> Result<Typed, Finding> {
        let unfit = |why: String| findings::sql_unsupported(key, &why).at(expression.span.clone());
        let typed = self.parse(&expression.normal).map_err(unfit)?;
        match typed.kind {
            Some(kind) if !wanted.contains(&kind) => {
                let names: Vec<&str> = wanted.iter().map(|kind| kind.name()).collect();
                Err(unfit(format!("it is of the type {}, not {}", kind.name(), names.join(" or "))))
            }
            _ => Ok(typed),
        }
    }

    fn parse(&mut self, text: &str) -> Translated {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if text.chars().all(plain) && !text.starts_with(|c: char| c.is_ascii_digit()) {
            // A plain word is a column, also if SQL has a use for it.
            return self.column(text);
        }
        let parsed = Parser::new(&GenericDialect {}).try_with_sql(text);
        let parsed = parsed.and_then(|mut parser| parser.parse_expr());
        self.translate(&parsed.map_err(|_| "it cannot be read again".to_owned())?)
    }

    fn column(&mut self, name: &str) -> Translated {
        let plain = |c: char| c.is_alphanumeric() || "_ -()".contains(c);
        if name.is_empty() || !name.chars().all(plain) {
            return Err(format!("dialects do not agree on names such as `{name}`"));
        }
        let Some(&kind) = self.table.types.get(name) else {
            return Err(format!("`types` does not say of which type the column `{name}` is"));
        };
        self.columns.insert(name.to_owned());
        let name = self.dialect.quoted(name);
        let sql = if kind == ColumnType::Text { self.dialect.by_bytes(&name) } else { name };
        Ok(Typed { sql, kind: Some(kind) })
    }

    fn translate(&mut self, expr: &Expr) -> Translated {
        let yes = |sql: String| Ok(Typed { sql, kind: Some(ColumnType::Boolean) });
        match expr {
            Expr::Identifier(name) => self.column(&name.value),
            Expr::Nested(inner) => {
                let inner = self.translate(inner)?;
                Ok(Typed { sql: format!("({})", inner.sql), ..inner })
            }
            Expr::Value(value) => self.constant(&value.value),
            Expr::IsNull(inner) => yes(format!("({}) IS NULL", self.translate(inner)?.sql)),
            Expr::IsNotNull(inner) => yes(format!("({}) IS NOT NULL", self.translate(inner)?.sql)),
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => {
                yes(format!("NOT ({})", self.of_kind(expr, ColumnType::Boolean)?.sql))
            }
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
                let inner = self.translate(expr)?;
                let sql = match inner.kind {
                    // Of the least 64-bit number, and of those without a sign, there is no other.
                    Some(ColumnType::Integer) if !matches!(**expr, Expr::Value(_)) => {
                        self.dialect.wide(&inner.sql)
                    }
                    Some(ColumnType::Integer | ColumnType::Decimal) => inner.sql,
                    _ => return Err("only numbers can have a minus".to_owned()),
                };
                Ok(Typed { sql: format!("-({sql})"), ..inner })
            }
            Expr::BinaryOp { left, op, right } => self.operation(left, op, right),
            Expr::InList { expr, list, negated } => {
                let (value, kind) = self.known(expr)?;
                let is_constant = |item: &Expr| matches!(item, Expr::Value(_));
                if list.is_empty() || !list.iter().all(is_constant) {
                    return Err("IN needs a list of constants".to_owned());
                }
                let list = list.iter().map(|item| Ok(self.of_kind(item, kind)?.sql));
                let list = list.collect::<Result<Vec<String>, String>>()?.join(", ");
                yes(format!("({value}) {}IN ({list})", if *negated { "NOT " } else { "" }))
            }
            Expr::Between { expr, negated, low, high } => {
                let value = self.of_kind(expr, ColumnType::Integer)?.sql;
                let low = self.of_kind(low, ColumnType::Integer)?.sql;
                let high = self.of_kind(high, ColumnType::Integer)?.sql;
                let not = if *negated { "NOT " } else { "" };
                yes(format!("({value}) {not}BETWEEN ({low}) AND ({high})"))
            }
            Expr::Case { operand: None, conditions, else_result, .. } => {
                self.case(conditions, else_result.as_deref())
            }
            Expr::Function(call) if call.name.to_string().eq_ignore_ascii_case("COALESCE") => {
                let FunctionArguments::List(list) = &call.args else {
                    return Err("COALESCE needs arguments".to_owned());
                };
                let args = list.args.iter().map(|arg| match arg {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok(expr),
                    _ => Err("COALESCE needs plain arguments".to_owned()),
                });
                let args = args.collect::<Result<Vec<&Expr>, String>>()?;
                let (sql, kind) = self.alike(&args)?;
                Ok(Typed { sql: format!("COALESCE({})", sql.join(", ")), kind })
            }
            other => Err(format!("it has a part that dialects read differently: {other}")),
        }
    }

    fn constant(&mut self, value: &Value) -> Translated {
        match value {
            Value::Number(digits, _) if digits.len() <= 18 && is_digits(digits) => {
                Ok(Typed { sql: digits.clone(), kind: Some(ColumnType::Integer) })
            }
            Value::SingleQuotedString(text) => {
                // The database may have a collation for those that state none.
                let sql = self.dialect.by_bytes(&self.dialect.text(text));
                Ok(Typed { sql, kind: Some(ColumnType::Text) })
            }
            Value::Boolean(value) => {
                let sql = if *value { "TRUE" } else { "FALSE" };
                Ok(Typed { sql: sql.to_owned(), kind: Some(ColumnType::Boolean) })
            }
            Value::Null => Ok(Typed { sql: "NULL".to_owned(), kind: None }),
            other => Err(format!("it has a constant that dialects read differently: {other}")),
        }
    }

    fn operation(&mut self, left: &Expr, op: &BinaryOperator, right: &Expr) -> Translated {
        use BinaryOperator::{And, Eq, Gt, GtEq, Lt, LtEq, NotEq, Or, StringConcat};
        let boolean = Some(ColumnType::Boolean);
        let (word, kind, inner) = match op {
            And => ("AND", boolean, boolean),
            Or => ("OR", boolean, boolean),
            StringConcat => ("||", Some(ColumnType::Text), Some(ColumnType::Text)),
            Eq => ("=", boolean, None),
            NotEq => ("<>", boolean, None),
            // The order of texts is another in each collation.
            Lt => ("<", boolean, Some(ColumnType::Integer)),
            LtEq => ("<=", boolean, Some(ColumnType::Integer)),
            Gt => (">", boolean, Some(ColumnType::Integer)),
            GtEq => (">=", boolean, Some(ColumnType::Integer)),
            other => return Err(format!("dialects do not agree on `{other}`")),
        };
        let (left, right) = match inner {
            Some(kind) => (self.of_kind(left, kind)?.sql, self.of_kind(right, kind)?.sql),
            None => {
                let (sql, of) = self.alike(&[left, right])?;
                let equal = [ColumnType::Text, ColumnType::Integer, ColumnType::Boolean];
                if !of.is_some_and(|kind| equal.contains(&kind)) {
                    return Err("only texts, whole numbers and truths can be compared".to_owned());
                }
                (sql[0].clone(), sql[1].clone())
            }
        };
        Ok(Typed { sql: format!("({left}) {word} ({right})"), kind })
    }

    fn case(&mut self, conditions: &[CaseWhen], other: Option<&Expr>) -> Translated {
        let mut results: Vec<&Expr> = conditions.iter().map(|when| &when.result).collect();
        results.extend(other);
        let (values, kind) = self.alike(&results)?;
        let mut sql = "CASE".to_owned();
        for (when, value) in conditions.iter().zip(&values) {
            let condition = self.of_kind(&when.condition, ColumnType::Boolean)?.sql;
            sql += &format!(" WHEN {condition} THEN {value}");
        }
        if let (Some(_), Some(value)) = (other, values.last()) {
            sql += &format!(" ELSE {value}");
        }
        Ok(Typed { sql: sql + " END", kind })
    }

    /// Expressions of one type, or NULL.
    fn alike(&mut self, all: &[&Expr]) -> Result<(Vec<String>, Option<ColumnType>), String> {
        let mut kind = None;
        let mut texts = Vec::new();
        for expr in all {
            let typed = self.translate(expr)?;
            if kind.is_some() && typed.kind.is_some() && typed.kind != kind {
                return Err("values of two types are put together".to_owned());
            }
            kind = kind.or(typed.kind);
            texts.push(typed.sql);
        }
        Ok((texts, kind))
    }

    fn known(&mut self, expr: &Expr) -> Result<(String, ColumnType), String> {
        let typed = self.translate(expr)?;
        let kind = typed.kind.ok_or("NULL has no type")?;
        Ok((typed.sql, kind))
    }

    fn of_kind(&mut self, expr: &Expr, kind: ColumnType) -> Translated {
        let typed = self.translate(expr)?;
        if typed.kind == Some(kind) {
            return Ok(typed);
        }
        let found = typed.kind.map_or("NULL", ColumnType::name);
        Err(format!("{found} stands where all dialects need {}", kind.name()))
    }
}

fn is_digits(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn translated(text: &str) -> Result<String, String> {
        let kinds = [
            ("amt", ColumnType::Integer),
            ("kind", ColumnType::Text),
            ("channel", ColumnType::Text),
            ("price", ColumnType::Decimal),
            ("is_test", ColumnType::Boolean),
            ("user", ColumnType::Text),
            ("Amount (CNY)", ColumnType::Decimal),
        ];
        let types = kinds.iter().map(|&(name, kind)| (name.to_owned(), kind)).collect();
        let (name, places) = (vec!["t".to_owned()], BTreeMap::new());
        let table = TableSource { name, span: 0..0, types, places, server: None };
        let dialect = Dialect::Spark;
        let mut translator = Translator { dialect, table: &table, columns: BTreeSet::new() };
        translator.parse(text).map(|typed| typed.sql)
    }

    #[test]
    fn what_means_the_same_is_written_with_all_names_in_quotes() {
        for (text, wanted) in [
            ("user", "[`user`]"),
            ("amt", "`amt`"),
            ("\"Amount (CNY)\"", "`Amount (CNY)`"),
            ("channel = 'in_store'", "([`channel`]) = (['in_store'])"),
            ("channel <> 'it''s'", "([`channel`]) <> ([CAST(X'69742773' AS STRING)])"),
            (
                "CASE WHEN kind = 'refund' THEN -amt ELSE amt END",
                "CASE WHEN ([`kind`]) = (['refund']) THEN -(CAST(`amt` AS DECIMAL(38,0))) ELSE `amt` END",
            ),
            (
                "channel IN ('a', 'b') AND NOT is_test",
                "(([`channel`]) IN (['a'], ['b'])) AND (NOT (`is_test`))",
            ),
            ("COALESCE(kind, channel)", "COALESCE([`kind`], [`channel`])"),
            ("channel || '-' || kind", "(([`channel`]) || (['-'])) || ([`kind`])"),
            ("amt BETWEEN 1 AND 5", "(`amt`) BETWEEN (1) AND (5)"),
            ("kind IS NOT NULL", "([`kind`]) IS NOT NULL"),
        ] {
            // In brackets: texts by their bytes.
            let wanted = wanted.replace('[', "(").replace(']', ") COLLATE UTF8_BINARY");
            assert_eq!(translated(text), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_may_differ_is_refused() {
        for text in [
            "nosuch",
            "amt * 100",
            "amt / 2",
            "amt + 1",
            "kind < 'b'",
            "kind LIKE 'a%'",
            "UPPER(kind)",
            "CAST(kind AS BIGINT)",
            "amt = '5'",
            "price = 5",
            "amt > 1.5",
            "COALESCE(kind, 5)",
            "CASE kind WHEN 'a' THEN 1 ELSE 2 END",
            "amt IN (channel)",
            "NOT amt",
            "amt = 12345678901234567890",
            "\"a\"\"b\" = 1",
            "NULL = NULL",
        ] {
            assert!(translated(text).is_err(), "{text}: {:?}", translated(text));
        }
    }
}
