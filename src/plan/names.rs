//! Names of files and columns.

use std::collections::BTreeSet;

use crate::findings;
use crate::job::{Level, Report};

/// The file name of a level's table, without ending.
pub(super) fn file_name(report: &Report, level: &Level) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    format!("{}.{}", report.name, level.name()).chars().map(plain).collect()
}

/// The longest name of a table's file, or of its folder; file systems take 255 bytes, endings among
/// them.
const NAME_MAX: usize = 240;

/// What the names of an insight's columns in tables end in: the estimate, the ends of its
/// interval, its grade, why it is not shown, the noised value and the standard deviation of its
/// noise.
pub const VALUE_SUFFIXES: [&str; 7] =
    ["", "_low", "_high", "_grade", "_suppressed", "_unbiased", "_sd"];

/// What the name of the column of an insight's band ends in, after those of [`VALUE_SUFFIXES`].
pub const BAND_SUFFIX: &str = "_band";

/// A level whose file or columns another one has already.
pub(super) fn name_clashes(
    report: &Report,
    level: &Level,
    files: &mut BTreeSet<String>,
) -> Option<findings::Finding> {
    let file = file_name(report, level);
    let clash = level.keys.iter().find(|key| {
        report.insights.iter().any(|insight| {
            let rest = key.name().strip_prefix(insight.name());
            let banded = insight.bands().is_some() || insight.banded().is_some();
            let suffix =
                |rest: &str| VALUE_SUFFIXES.contains(&rest) || banded && rest == BAND_SUFFIX;
            rest.is_some_and(|rest| insight.has_parts() || suffix(rest))
        })
    });
    if let Some(key) = clash {
        return Some(findings::duplicate("the column", key.name()).at(level.span.clone()));
    }
    if file.len() > NAME_MAX {
        let length = format!("{} letters long", file.len());
        let rule = "at most 240: give the report or a column a shorter name";
        let finding = findings::value_out_of_range("the table's name", &length, rule);
        return Some(finding.at(level.span.clone()));
    }
    let finding = findings::duplicate("the file", &file).at(level.span.clone());
    (!files.insert(file)).then_some(finding)
}
