//! Whose SQL a plan is written in.

/// Whose SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// DuckDB, from 1.4 on.
    DuckDb,
    /// Apache Spark, from 4.0 on; Databricks, EMR.
    Spark,
    /// PostgreSQL, from 14 on.
    PostgreSql,
    /// Snowflake. Never run against the service.
    Snowflake,
    /// BigQuery. Never run against the service.
    BigQuery,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Dialect; 5] = [
        Dialect::DuckDb,
        Dialect::Spark,
        Dialect::PostgreSql,
        Dialect::Snowflake,
        Dialect::BigQuery,
    ];

    /// The name on the command line, in results and in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Dialect::DuckDb => "duckdb",
            Dialect::Spark => "spark",
            Dialect::PostgreSql => "postgresql",
            Dialect::Snowflake => "snowflake",
            Dialect::BigQuery => "bigquery",
        }
    }

    /// The other way.
    pub fn named(name: &str) -> Option<Dialect> {
        Self::ALL.into_iter().find(|dialect| dialect.name() == name)
    }

    /// Has its SQL been run against the real thing, by the tests?
    pub fn is_tested(self) -> bool {
        matches!(self, Dialect::DuckDb | Dialect::Spark | Dialect::PostgreSql)
    }
}
