//! Is a column of the type that the job says? Amounts and times would mean something else.

use super::Dialect;
use crate::job::ColumnType;

impl Dialect {
    /// Is a column of another type than the job says? Asks for the type, not for a row's value,
    /// except in BigQuery, which tells types only by how it writes values.
    pub(super) fn is_other_type(self, column: &str, kind: ColumnType) -> String {
        let found = match self {
            Dialect::DuckDb | Dialect::Spark => format!("typeof({column})"),
            Dialect::PostgreSql => format!("CAST(pg_typeof({column}) AS TEXT)"),
            Dialect::Snowflake => format!("SYSTEM$TYPEOF({column})"),
            Dialect::BigQuery => {
                let shown = format!("FORMAT('%T', {column})");
                let pattern = shown_as(kind);
                return format!(
                    "{column} IS NOT NULL AND NOT REGEXP_CONTAINS({shown}, r'''{pattern}''')"
                );
            }
        };
        let names = match self {
            Dialect::DuckDb => in_duckdb(kind),
            Dialect::Spark => in_spark(kind),
            Dialect::PostgreSql => in_postgresql(kind),
            Dialect::Snowflake | Dialect::BigQuery => in_snowflake(kind),
        };
        let unlike = |name: &&str| format!("{found} NOT LIKE '{name}'");
        names.iter().map(unlike).collect::<Vec<_>>().join(" AND ")
    }
}

fn in_duckdb(kind: ColumnType) -> &'static [&'static str] {
    match kind {
        ColumnType::Text => &["VARCHAR"],
        ColumnType::Integer => &[
            "TINYINT",
            "SMALLINT",
            "INTEGER",
            "BIGINT",
            "UTINYINT",
            "USMALLINT",
            "UINTEGER",
            "UBIGINT",
        ],
        ColumnType::Decimal => &["DECIMAL(%"],
        ColumnType::Boolean => &["BOOLEAN"],
        ColumnType::Date => &["DATE"],
        ColumnType::Timestamp => &["TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"],
        ColumnType::Instant => &["TIMESTAMP WITH TIME ZONE"],
    }
}

fn in_spark(kind: ColumnType) -> &'static [&'static str] {
    match kind {
        ColumnType::Text => &["string"],
        ColumnType::Integer => &["tinyint", "smallint", "int", "bigint"],
        ColumnType::Decimal => &["decimal(%"],
        ColumnType::Boolean => &["boolean"],
        ColumnType::Date => &["date"],
        ColumnType::Timestamp => &["timestamp_ntz"],
        ColumnType::Instant => &["timestamp"],
    }
}

fn in_postgresql(kind: ColumnType) -> &'static [&'static str] {
    match kind {
        ColumnType::Text => &["text", "character varying"],
        ColumnType::Integer => &["smallint", "integer", "bigint"],
        ColumnType::Decimal => &["numeric"],
        ColumnType::Boolean => &["boolean"],
        ColumnType::Date => &["date"],
        ColumnType::Timestamp => &["timestamp without time zone"],
        ColumnType::Instant => &["timestamp with time zone"],
    }
}

fn in_snowflake(kind: ColumnType) -> &'static [&'static str] {
    match kind {
        ColumnType::Text => &["VARCHAR%"],
        ColumnType::Integer => &["NUMBER(%,0)%"],
        ColumnType::Decimal => &["NUMBER(%"],
        ColumnType::Boolean => &["BOOLEAN%"],
        ColumnType::Date => &["DATE%"],
        ColumnType::Timestamp => &["TIMESTAMP_NTZ%"],
        ColumnType::Instant => &["TIMESTAMP_LTZ%", "TIMESTAMP_TZ%"],
    }
}

/// How BigQuery writes a value, as a pattern.
fn shown_as(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Text => "^[\"']",
        ColumnType::Integer => "^-?[0-9]+$",
        ColumnType::Decimal => "^(BIG)?NUMERIC ",
        ColumnType::Boolean => "^(true|false)$",
        ColumnType::Date => "^DATE ",
        ColumnType::Timestamp => "^DATETIME ",
        ColumnType::Instant => "^TIMESTAMP ",
    }
}
