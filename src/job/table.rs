//! Payments in a table of a database or cluster.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Server;

/// A table that holds the payments, in place of files.
#[derive(Clone, Debug)]
pub struct TableSource {
    /// The parts of its name, such as catalog, schema and table; or a format of files and their
    /// path.
    pub name: Vec<String>,
    /// Place of `table` in the job file.
    pub span: Range<usize>,
    /// What the job says of its columns: they decide what an amount or a time means.
    pub types: BTreeMap<String, ColumnType>,
    /// Places of these columns in the job file.
    pub places: BTreeMap<String, Range<usize>>,
    /// Who adds them up, if this program is to ask for it; else the user runs the SQL.
    pub server: Option<Server>,
}

impl TableSource {
    /// The most parts of a name.
    pub const PARTS_MAX: usize = 4;

    /// Formats of files that Spark reads as a table that has no name.
    pub const FORMATS: [&str; 3] = ["parquet", "delta", "orc"];

    /// The parts of a name as the job writes it; `None` if it is not made of plain words and dots,
    /// nor a format and a path in backticks.
    pub(super) fn parts(name: &str) -> Option<Vec<String>> {
        if let Some((format, rest)) = name.split_once(".`") {
            let path = rest.strip_suffix('`')?;
            // Nothing that ends a quoted name, or that a string could read otherwise.
            let plain = |c: char| c.is_ascii_alphanumeric() || " /_-.:=@+*%,".contains(c);
            let ok =
                Self::FORMATS.contains(&format) && path.contains('/') && path.chars().all(plain);
            return ok.then(|| vec![format.to_owned(), path.to_owned()]);
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let word = |part: &&str| !part.is_empty() && part.chars().all(plain);
        let parts: Vec<&str> = name.split('.').collect();
        let ok = parts.len() <= Self::PARTS_MAX && parts.iter().all(word);
        ok.then(|| parts.into_iter().map(str::to_owned).collect())
    }

    /// The name as the job writes it.
    pub fn shown(&self) -> String {
        match &self.name[..] {
            [format, path] if self.is_files() => format!("{format}.`{path}`"),
            parts => parts.join("."),
        }
    }

    /// Is it files by their path, and no table that has a name?
    pub fn is_files(&self) -> bool {
        self.name.last().is_some_and(|last| last.contains('/'))
    }
}

/// What a column of a table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// Text.
    Text,
    /// Whole numbers: an amount in minor units, a time in seconds since 1970.
    Integer,
    /// Decimals: an amount in major units.
    Decimal,
    /// True or false.
    Boolean,
    /// A day.
    Date,
    /// A date and time of day without a zone.
    Timestamp,
    /// A moment.
    Instant,
}

impl ColumnType {
    /// All of them.
    pub const ALL: [ColumnType; 7] = [
        ColumnType::Text,
        ColumnType::Integer,
        ColumnType::Decimal,
        ColumnType::Boolean,
        ColumnType::Date,
        ColumnType::Timestamp,
        ColumnType::Instant,
    ];

    /// The name in job files.
    pub fn name(self) -> &'static str {
        match self {
            ColumnType::Text => "text",
            ColumnType::Integer => "integer",
            ColumnType::Decimal => "decimal",
            ColumnType::Boolean => "boolean",
            ColumnType::Date => "date",
            ColumnType::Timestamp => "timestamp",
            ColumnType::Instant => "timestamp_tz",
        }
    }

    /// The other way.
    pub(super) fn named(name: &str) -> Option<ColumnType> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_words_and_dots_or_a_path() {
        assert_eq!(
            TableSource::parts("lake.pay_2025"),
            Some(vec!["lake".into(), "pay_2025".into()])
        );
        for name in ["", "a.", ".a", "a b", "a\"b", "a`", "a;b", "a.b.c.d.e", "é"] {
            assert_eq!(TableSource::parts(name), None, "{name}");
        }
        let table = |name: &str| {
            let name = TableSource::parts(name)?;
            let (types, places) = (BTreeMap::new(), BTreeMap::new());
            Some(TableSource { name, span: 0..0, types, places, server: None })
        };
        for name in ["parquet.`/lake/pay 2025/*`", "delta.`s3a://lake/a=1/pay.d`", "orc.`pay/x`"] {
            let table = table(name).expect("files");
            assert!(table.is_files(), "{name}");
            assert_eq!(table.shown(), name);
        }
        assert!(!table("lake.pay").expect("a table").is_files());
        for path in
            ["/a`.`b", "/a'", "/a\"", "/a\\b", "/a;b", "/a\nb", "/a--b`", "a", "", "/é", "/a$b"]
        {
            assert!(table(&format!("parquet.`{path}`")).is_none(), "{path}");
        }
        for name in ["csv.`/a`", "`/a`", "parquet.`/a", "parquet./a", "a.parquet.`/a`", ".`/a`"] {
            assert!(table(name).is_none(), "{name}");
        }
        for kind in ColumnType::ALL {
            assert_eq!(ColumnType::named(kind.name()), Some(kind));
        }
    }
}
