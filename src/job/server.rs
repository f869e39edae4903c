//! Who adds up the payments of a table, where this program is to ask for it by itself.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Dialect;

/// A cluster or database that is asked.
#[derive(Clone, Debug)]
pub enum Server {
    /// A Spark cluster, by Spark Connect.
    Spark(SparkServer),
    /// A database, by a driver of ADBC.
    Adbc(AdbcServer),
}

impl Server {
    /// The name of the engine in job files, and of the feature with which it is built.
    pub fn engine(&self) -> &'static str {
        match self {
            Server::Spark(_) => "spark",
            Server::Adbc(_) => "adbc",
        }
    }

    /// What it understands.
    pub fn dialect(&self) -> Dialect {
        match self {
            Server::Spark(_) => Dialect::Spark,
            Server::Adbc(adbc) => adbc.dialect,
        }
    }

    /// The place in the job file that names it.
    pub fn span(&self) -> Range<usize> {
        match self {
            Server::Spark(spark) => spark.span.clone(),
            Server::Adbc(adbc) => adbc.span.clone(),
        }
    }
}

/// A Spark cluster.
#[derive(Clone, Debug)]
pub struct SparkServer {
    /// Where: `sc://host:port`, perhaps with parameters as Spark writes them, but no token.
    pub url: String,
    /// Place of `url` in the job file.
    pub span: Range<usize>,
}

impl SparkServer {
    /// The environment variable that holds the token, if the server asks for one.
    pub const TOKEN: &str = "DISCRETAIL_SPARK_TOKEN";
}

/// A database.
#[derive(Clone, Debug)]
pub struct AdbcServer {
    /// The driver: a name, or the path of its library or manifest.
    pub driver: String,
    /// The function that starts the driver, where its name does not tell.
    pub entrypoint: Option<String>,
    /// What the driver is told, by its own names of options.
    pub options: BTreeMap<String, Setting>,
    /// What the database understands.
    pub dialect: Dialect,
    /// Place of `driver` in the job file.
    pub span: Range<usize>,
    /// Place of `options`, or of `driver` if there are none.
    pub options_span: Range<usize>,
}

/// The value of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// As the job file has it.
    Stated(String),
    /// That of an environment variable, when the job is run.
    Environment(String),
}

impl Setting {
    /// What such values start with in job files, before the variable's name.
    pub(super) const ENVIRONMENT: &str = "env:";

    /// As the job file writes it; `None` if what stands for a variable is not written as the names
    /// of variables are, in capitals, and so may be the secret itself.
    pub(super) fn parse(text: &str) -> Option<Setting> {
        let Some(name) = text.strip_prefix(Self::ENVIRONMENT) else {
            return Some(Setting::Stated(text.to_owned()));
        };
        let of_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let starts = name.starts_with(|c: char| of_name(c) && !c.is_ascii_digit());
        (starts && name.chars().all(of_name)).then(|| Setting::Environment(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_have_names_in_capitals() {
        for name in ["PGPASSWORD", "A", "_1"] {
            let setting = Some(Setting::Environment(name.to_owned()));
            assert_eq!(Setting::parse(&format!("env:{name}")), setting);
        }
        for name in [
            "",
            "1",
            "a",
            "hunter2",
            "Pass",
            "A B",
            " A",
            "A-B",
            "$A",
            "ü",
            "postgresql://me:pw@host/db",
        ] {
            assert_eq!(Setting::parse(&format!("env:{name}")), None, "{name}");
        }
        for text in ["", "a", "ENV:A", " env:A"] {
            assert_eq!(Setting::parse(text), Some(Setting::Stated(text.to_owned())));
        }
    }
}
