//! How each database or cluster writes what the plan's SQL needs.
//!
//! Only what means the same in all of them is used besides: no dates, no time zones, no order of
//! texts, no float that is added up, no sum that can overflow.

use std::fmt::Write;

use crate::job::{ColumnType, Dialect};

impl Dialect {
    /// A name; those that hold a quote of some dialect are refused before.
    pub(super) fn quoted(self, name: &str) -> String {
        match self {
            Dialect::Spark | Dialect::BigQuery => format!("`{name}`"),
            _ => format!("\"{name}\""),
        }
    }

    /// A text. What some dialect may read otherwise is written in hexadecimal.
    pub(super) fn text(self, text: &str) -> String {
        let plain = |c: char| c.is_alphanumeric() || " _-.,:/()&+#@".contains(c);
        if text.chars().all(plain) {
            return format!("'{text}'");
        }
        let hex = text.bytes().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02X}").expect("cannot fail because it is a string");
            hex
        });
        match self {
            Dialect::DuckDb => format!("decode(from_hex('{hex}'))"),
            Dialect::Spark => format!("CAST(X'{hex}' AS STRING)"),
            Dialect::PostgreSql => format!("convert_from(decode('{hex}', 'hex'), 'UTF8')"),
            Dialect::Snowflake => format!("HEX_DECODE_STRING('{hex}')"),
            Dialect::BigQuery => format!("SAFE_CONVERT_BYTES_TO_STRING(FROM_HEX('{hex}'))"),
        }
    }

    /// Is a text, which is not null, made of white space alone?
    pub(super) fn is_blank(self, text: &str) -> String {
        let points = (0..=0x3000).filter_map(char::from_u32).filter(|c| c.is_whitespace());
        let spaces = match self {
            // What a `\` means there is a setting, and chr knows none from U+0100 on.
            Dialect::Spark => self.text(&points.collect::<String>()),
            Dialect::Snowflake | Dialect::BigQuery => {
                let escapes: String = points.map(|c| format!("\\u{:04X}", c as u32)).collect();
                format!("'{escapes}'")
            }
            Dialect::DuckDb | Dialect::PostgreSql => {
                let each: Vec<String> = points.map(|c| format!("chr({})", c as u32)).collect();
                format!("({})", each.join(" || "))
            }
        };
        format!("TRANSLATE({text}, {spaces}, '') = ''")
    }

    /// May a text, which is not null, be of bytes that are no UTF-8, and is it? Only Spark takes
    /// them in; a key that comes back so cannot be read, nor can all others with it.
    pub(super) fn is_garbled(self, text: &str) -> Option<String> {
        (self == Dialect::Spark).then(|| format!("NOT is_valid_utf8({text})"))
    }

    /// The same text, which from here on is another than one of other bytes, whatever collation its
    /// column has: a collation that finds users alike would add them up as one.
    pub(super) fn by_bytes(self, text: &str) -> String {
        match self {
            // Not by a cast, which keeps the column's.
            Dialect::DuckDb | Dialect::PostgreSql => format!("({text}) COLLATE \"C\""),
            Dialect::Spark => format!("({text}) COLLATE UTF8_BINARY"),
            Dialect::Snowflake => format!("COLLATE({text}, 'utf8')"),
            // Takes away what there is; texts without are compared by their bytes.
            Dialect::BigQuery => format!("COLLATE({text}, '')"),
        }
    }

    /// A text by which texts are in the order of their bytes, whatever their collation.
    pub(super) fn in_order(self, text: &str) -> String {
        match self {
            Dialect::DuckDb | Dialect::Spark => format!("hex({text})"),
            Dialect::PostgreSql => {
                format!("encode(convert_to({text}, 'UTF8'), 'hex') COLLATE \"C\"")
            }
            Dialect::Snowflake => format!("HEX_ENCODE({text})"),
            Dialect::BigQuery => format!("TO_HEX(CAST({text} AS BYTES))"),
        }
    }

    /// The type of texts.
    pub(super) fn text_type(self) -> &'static str {
        match self {
            Dialect::DuckDb | Dialect::Snowflake => "VARCHAR",
            Dialect::Spark | Dialect::BigQuery => "STRING",
            Dialect::PostgreSql => "TEXT",
        }
    }

    /// The type of 64-bit whole numbers.
    pub(super) fn integer_type(self) -> &'static str {
        match self {
            Dialect::BigQuery => "INT64",
            _ => "BIGINT",
        }
    }

    /// The type of whole numbers of up to 37 digits at least.
    fn wide_type(self) -> &'static str {
        match self {
            Dialect::DuckDb => "HUGEINT",
            Dialect::Spark => "DECIMAL(38,0)",
            Dialect::PostgreSql => "NUMERIC",
            Dialect::Snowflake => "NUMBER(38,0)",
            Dialect::BigQuery => "BIGNUMERIC",
        }
    }

    fn double_type(self) -> &'static str {
        match self {
            Dialect::PostgreSql => "DOUBLE PRECISION",
            Dialect::BigQuery => "FLOAT64",
            _ => "DOUBLE",
        }
    }

    /// As a wide number.
    pub(super) fn wide(self, value: &str) -> String {
        format!("CAST({value} AS {})", self.wide_type())
    }

    /// A constant as a wide number.
    pub(super) fn wide_constant(self, value: u128) -> String {
        self.wide(&format!("'{value}'"))
    }

    /// As a 64-bit whole number.
    pub(super) fn integer(self, value: &str) -> String {
        format!("CAST({value} AS {})", self.integer_type())
    }

    /// As a float: for first guesses at roots, which whole numbers then correct.
    pub(super) fn double(self, value: &str) -> String {
        format!("CAST({value} AS {})", self.double_type())
    }

    /// A decimal in units of 10^-places; NULL if it is no whole number of them, or beyond ± the
    /// limit, which is below 10^12.
    pub(super) fn units(self, value: &str, places: u32, limit: i64) -> String {
        let name = if self == Dialect::BigQuery { "NUMERIC" } else { "DECIMAL" };
        let cast = if self == Dialect::DuckDb { "TRY_CAST" } else { "CAST" };
        let exact = format!("{cast}({value} AS {name}(20,{places}))");
        let within = |value: &str| format!("{value} >= -{limit} AND {value} <= {limit}");
        let (first, then) = match self {
            // The limit may be too large for the value's own type, and so may the rounded value.
            Dialect::DuckDb => (format!("TRY({exact} = {value})"), within(&exact)),
            _ => (within(value), format!("{exact} = {value}")),
        };
        let units = self.integer(&format!("{exact} * {}", 10i64.pow(places)));
        format!("CASE WHEN {first} THEN CASE WHEN {then} THEN {units} END END")
    }

    /// The whole part of a quotient of wide numbers, the first not below zero, the second above it.
    pub(super) fn quotient(self, a: &str, b: &str) -> String {
        match self {
            Dialect::DuckDb => format!("({a}) // ({b})"),
            Dialect::Spark => format!("({a}) div ({b})"),
            Dialect::PostgreSql | Dialect::BigQuery => format!("DIV({a}, {b})"),
            // Its division rounds; that of a multiple is exact.
            Dialect::Snowflake => format!("(({a}) - MOD({a}, {b})) / ({b})"),
        }
    }

    /// The same of 64-bit numbers, by a constant.
    pub(super) fn part(self, a: &str, b: i64) -> String {
        match self {
            Dialect::PostgreSql => format!("({a}) / {b}"),
            _ => self.integer(&self.quotient(a, &b.to_string())),
        }
    }

    /// An exact sum of 64-bit numbers below 10^18, as a wide number.
    pub(super) fn sum(self, value: &str) -> String {
        match self {
            // Wide by themselves.
            Dialect::DuckDb | Dialect::PostgreSql | Dialect::Snowflake => format!("SUM({value})"),
            Dialect::Spark => format!("SUM(CAST({value} AS DECIMAL(18,0)))"),
            Dialect::BigQuery => format!("SUM({})", self.wide(value)),
        }
    }

    /// Seconds since 1970 of a column: in universal time, or by the wall clock for a time without a
    /// zone. Parts of a second are cut off, of times before 1970 too.
    pub(super) fn seconds(self, value: &str, kind: ColumnType) -> String {
        let whole = |parts: &str, of: i64| {
            let whole = self.part(&format!("{parts} - MOD({parts}, {of})"), of);
            format!("{whole} - CASE WHEN MOD({parts}, {of}) < 0 THEN 1 ELSE 0 END")
        };
        let micros = |micros: &str| whole(micros, 1_000_000);
        match (self, kind) {
            // One that has no sign may be too large: a bad row, and no fault of all.
            (Dialect::DuckDb, ColumnType::Integer) => format!("TRY_CAST({value} AS BIGINT)"),
            (_, ColumnType::Integer) => self.integer(value),
            (Dialect::DuckDb, ColumnType::Date) => {
                format!("DATEDIFF('day', DATE '1970-01-01', {value}) * 86400")
            }
            (Dialect::DuckDb, ColumnType::Timestamp) => {
                let plain = format!("CAST({value} AS TIMESTAMP)");
                // Of nanoseconds that cast may round up, to the next day.
                let nanos = format!("epoch_ns(CAST({value} AS TIMESTAMP_NS))");
                format!(
                    "CASE WHEN typeof({value}) <> 'TIMESTAMP_NS' THEN {} WHEN isfinite({plain}) THEN {} END",
                    micros(&format!("epoch_us({plain})")),
                    whole(&nanos, 1_000_000_000)
                )
            }
            (Dialect::DuckDb, _) => micros(&format!("epoch_us({value})")),
            (Dialect::Spark, ColumnType::Date) => format!("unix_date({value}) * 86400L"),
            (Dialect::Spark, _) => micros(&format!("unix_micros(CAST({value} AS TIMESTAMP))")),
            (Dialect::PostgreSql, ColumnType::Date) => {
                finite(value, &(self.integer(&format!("{value} - DATE '1970-01-01'")) + " * 86400"))
            }
            (Dialect::PostgreSql, _) => {
                finite(value, &self.integer(&format!("FLOOR(EXTRACT(EPOCH FROM {value}))")))
            }
            (Dialect::Snowflake, ColumnType::Date) => {
                format!("DATEDIFF(day, DATE '1970-01-01', {value}) * 86400")
            }
            (Dialect::Snowflake, _) => {
                format!("FLOOR(DATE_PART(epoch_microsecond, {value}) / 1000000)")
            }
            (Dialect::BigQuery, ColumnType::Date) => format!("UNIX_DATE({value}) * 86400"),
            (Dialect::BigQuery, ColumnType::Timestamp) => {
                format!("UNIX_SECONDS(TIMESTAMP({value}, 'UTC'))")
            }
            (Dialect::BigQuery, _) => format!("UNIX_SECONDS({value})"),
        }
    }

    /// A table of constants, each row of `rows` with one value for each of `columns`.
    pub(super) fn constants(self, columns: &[String], rows: &[Vec<String>]) -> String {
        let row = |values: &Vec<String>| format!("({})", values.join(", "));
        if self == Dialect::BigQuery {
            let first = columns.iter().zip(&rows[0]).map(|(name, v)| format!("{v} AS {name}"));
            let first = format!("STRUCT({})", first.collect::<Vec<_>>().join(", "));
            // One value in brackets alone would be no row.
            let rest = rows[1..].iter().map(|values| format!("STRUCT{}", row(values)));
            let all: Vec<String> = std::iter::once(first).chain(rest).collect();
            return format!("SELECT * FROM UNNEST([\n    {}])", all.join(",\n    "));
        }
        let all: Vec<String> = rows.iter().map(row).collect();
        let columns = columns.join(", ");
        format!("SELECT * FROM (VALUES\n    {}) AS dr_t ({columns})", all.join(",\n    "))
    }

    /// Are the settings as the SQL needs them? Known to the session only.
    pub(in crate::engine) fn is_set(self) -> &'static str {
        match self {
            // With ANSI rules a text beside a number is read as a whole one, else as a float.
            Dialect::Spark => "current_timezone() = 'UTC' AND typeof(1 + '1') = 'bigint'",
            // By another one texts are other ones there, and not UTF-8 here.
            Dialect::PostgreSql => "current_setting('client_encoding') = 'UTF8'",
            _ => "TRUE",
        }
    }

    /// Has the database the encoding that the SQL needs? In PostgreSQL it may have another one, in
    /// which not all of the characters are that are white space.
    pub(super) fn is_utf8(self) -> &'static str {
        match self {
            Dialect::PostgreSql => "getdatabaseencoding() = 'UTF8'",
            _ => "TRUE",
        }
    }

    /// What must be set before, as statements.
    pub(crate) fn settings(self) -> &'static [&'static str] {
        match self {
            Dialect::Spark => {
                &["SET spark.sql.ansi.enabled = true", "SET spark.sql.session.timeZone = UTC"]
            }
            Dialect::PostgreSql => &["SET client_encoding = 'UTF8'"],
            _ => &[],
        }
    }
}

/// In PostgreSQL, of a time that is not `infinity`, on which sums fail: NULL, a bad row.
fn finite(value: &str, seconds: &str) -> String {
    format!("CASE WHEN isfinite({value}) THEN {seconds} END")
}
