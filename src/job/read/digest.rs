//! What a job asks for, in one number.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use toml::de::{DeTable, DeValue};

use crate::job::raw::decimal_text;
use crate::privacy::Decimal;

/// Keys that no release depends on: where things are put, and which file keeps account.
const PLACES: [&str; 3] = ["releases", "payments.quarantine", "ledger.file"];

/// Keys whose values are decimals, however they are spelled, and what the names of others begin
/// with. A key that a user names is below `payments.columns` or `keys`, so never one of these.
const DECIMALS: [&str; 4] =
    ["privacy.epsilon", "privacy.delta", "ledger.epsilon_max", "ledger.delta_max"];
const BOUNDS: [&str; 2] = ["report.bounds.", "report.cell_caps."];

/// Files by name, of which `./a` is `a`.
const FILES: [&str; 2] = ["payments.files", "merchants.files"];

/// More places than any decimal of a job has.
const PLACES_MAX: u32 = 18;

/// SHA-256 of the content in a canonical form: comments, spaces, order of keys, [`PLACES`] and
/// spellings of [`DECIMALS`], [`BOUNDS`] and [`FILES`] do not count. Two jobs of one digest ask for
/// the same release, as the second is answered with that of the first.
pub(super) fn digest(table: &DeTable) -> String {
    let mut canonical = String::new();
    write_table(table, "", &mut canonical);
    Sha256::digest(canonical.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes the table that stands at `path`; items of lists stand where their list does.
fn write_table(table: &DeTable, path: &str, out: &mut String) {
    let sorted: BTreeMap<_, _> =
        table.iter().map(|(key, value)| (key.get_ref().as_ref(), value)).collect();
    out.push('{');
    for (key, value) in sorted {
        let at = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        if !PLACES.contains(&&*at) {
            out.push_str(&format!("{key:?}:"));
            write_value(value.get_ref(), &at, out);
            out.push(',');
        }
    }
    out.push('}');
}

fn write_value(value: &DeValue, path: &str, out: &mut String) {
    if let Some(number) = decimal(value, path) {
        // No other value begins so.
        out.push_str(&format!("#{number}"));
        return;
    }
    match value {
        DeValue::Table(table) => write_table(table, path, out),
        DeValue::Array(array) => {
            out.push('[');
            for value in array.iter() {
                write_value(value.get_ref(), path, out);
                out.push(',');
            }
            out.push(']');
        }
        DeValue::String(text) if FILES.contains(&path) => {
            out.push_str(&format!("{:?}", without_dots(text)));
        }
        DeValue::String(text) => out.push_str(&format!("{text:?}")),
        DeValue::Integer(number) => out.push_str(&number.to_string()),
        DeValue::Float(number) => out.push_str(number.as_str()),
        DeValue::Boolean(value) => out.push_str(&value.to_string()),
        DeValue::Datetime(value) => out.push_str(&value.to_string()),
    }
}

fn without_dots(mut name: &str) -> &str {
    // `.//a` is not `/a`.
    while let Some(rest) = name.strip_prefix("./").filter(|rest| !rest.starts_with('/')) {
        name = rest;
    }
    name
}

/// The number at a place where a job has a decimal, in units of its last possible place.
fn decimal(value: &DeValue, path: &str) -> Option<i128> {
    let is_decimal = DECIMALS.contains(&path) || BOUNDS.iter().any(|start| path.starts_with(start));
    let text = decimal_text(value).filter(|_| is_decimal)?;
    Decimal::parse(text).ok()?.scaled(PLACES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = r#"
job = "a"
recipient = "r"
releases = "out"
[payments]
files = ["pay/*.parquet", "./more.parquet"]
quarantine = "bad"
where = "x = '1'"
columns = { user = "u", epsilon = "1", releases = "out" }
ticket_edges = [10, "20"]
[merchants]
files = "m.csv"
[keys]
file = ["1", "2"]
[privacy]
unit = "user"
epsilon = "1"
delta = "1e-9"
[ledger]
file = "l.sqlite"
population = "p"
epsilon_max = 4
delta_max = "1e-8"
[[report]]
name = "n"
levels = [["file"], []]
cells_max = 8
insights = ["customers"]
bounds = { customers = [3, "4.50"], sales = "1" }
suppress_above = "50%"
weights = [1, 2]
"#;

    fn of(text: &str) -> String {
        digest(DeTable::parse(text).expect("is TOML").get_ref())
    }

    fn changed(from: &str, to: &str) -> String {
        assert_eq!(JOB.matches(from).count(), 1, "{from}");
        of(&JOB.replace(from, to))
    }

    #[test]
    fn places_and_spellings_do_not_count() {
        for (from, to) in [
            ("releases = \"out\"\n", "releases = \"../elsewhere\"\n"),
            ("releases = \"out\"\n", ""),
            ("\"bad\"", "\"worse\""),
            ("\"l.sqlite\"", "\"/home/me/l.sqlite\""),
            ("\nepsilon = \"1\"", "\nepsilon = 1.0"),
            ("\nepsilon = \"1\"", "\nepsilon = \"1.000\""),
            ("\"1e-9\"", "0.000000001"),
            ("epsilon_max = 4", "epsilon_max = \"4.0\""),
            ("delta_max = \"1e-8\"", "delta_max = \"10e-9\""),
            ("[3, \"4.50\"]", "[\"3.0\", 4.5]"),
            ("sales = \"1\"", "sales = 1.00"),
            ("./more.parquet", "more.parquet"),
            ("pay/*.parquet", "././pay/*.parquet"),
            ("\"m.csv\"", "\"./m.csv\""),
            ("[privacy]\nunit = \"user\"\n", "[privacy]\n# The user.\nunit   = \"user\"\n"),
        ] {
            assert_eq!(of(JOB), changed(from, to), "{from} -> {to}");
        }
    }

    /// Names that users give, and all that has a part in what is released.
    #[test]
    fn all_else_counts() {
        for (from, to) in [
            ("job = \"a\"", "job = \"b\""),
            ("recipient = \"r\"", "recipient = \"s\""),
            ("pay/*.parquet", "paid/*.parquet"),
            ("./more.parquet", "/more.parquet"),
            ("./more.parquet", ".//more.parquet"),
            ("'1'", "'1.0'"),
            ("epsilon = \"1\", ", "epsilon = \"1.0\", "),
            ("releases = \"out\" }", "releases = \"in\" }"),
            ("\"20\"", "\"21\""),
            ("[\"1\", \"2\"]", "[\"1.0\", \"2\"]"),
            ("file = [\"1\", \"2\"]", "file = [\"1\"]"),
            ("\nepsilon = \"1\"", "\nepsilon = \"1.000001\""),
            ("\"1e-9\"", "\"1.000000001e-9\""),
            ("epsilon_max = 4", "epsilon_max = 5"),
            ("delta_max = \"1e-8\"", "delta_max = \"2e-8\""),
            ("population = \"p\"", "population = \"q\""),
            ("[3, \"4.50\"]", "[4.5, 3]"),
            ("[3, \"4.50\"]", "[3, \"4.51\"]"),
            ("sales = \"1\"", "gross = \"1\""),
            ("cells_max = 8", "cells_max = 9"),
            ("\"50%\"", "\"51%\""),
            ("[1, 2]", "[1, 3]"),
            ("levels = [[\"file\"], []]", "levels = [[], [\"file\"]]"),
        ] {
            assert_ne!(of(JOB), changed(from, to), "{from} -> {to}");
        }
        // A number is no text of its digits.
        let of_text = |text: &str| of(&format!("[privacy]\nepsilon = {text}"));
        assert_ne!(of_text("\"1\""), of_text("\"#1000000000000000000\""));
    }
}
