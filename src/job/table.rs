//! Payments in a table of a database or cluster.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Server;

/// A table that holds the payments, in place of files.
#[derive(Clone, Debug)]
pub struct TableSource {
    /// The parts of its name, such as catalog, schema and table.
    pub name: Vec<String>,
    /// Place of `table` in the job file.
    pub span: Range<usize>,
    /// What the job says of its columns: they decide what an amount or a time means.
    pub types: BTreeMap<String, ColumnType>,
    /// Who adds them up, if this program is to ask for it; else the user runs the SQL.
    pub server: Option<Server>,
}

impl TableSource {
    /// The most parts of a name.
    pub const PARTS_MAX: usize = 4;

    /// The parts of a name as the job writes it; `None` if it is not made of plain words and dots.
    pub(super) fn parts(name: &str) -> Option<Vec<String>> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let word = |part: &&str| !part.is_empty() && part.chars().all(plain);
        let parts: Vec<&str> = name.split('.').collect();
        let ok = parts.len() <= Self::PARTS_MAX && parts.iter().all(word);
        ok.then(|| parts.into_iter().map(str::to_owned).collect())
    }

    /// The name as the job writes it.
    pub fn shown(&self) -> String {
        self.name.join(".")
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
    fn names_are_plain_words_and_dots() {
        assert_eq!(
            TableSource::parts("lake.pay_2025"),
            Some(vec!["lake".into(), "pay_2025".into()])
        );
        for name in ["", "a.", ".a", "a b", "a\"b", "a`", "a;b", "a.b.c.d.e", "é"] {
            assert_eq!(TableSource::parts(name), None, "{name}");
        }
        for kind in ColumnType::ALL {
            assert_eq!(ColumnType::named(kind.name()), Some(kind));
        }
    }
}
