//! What is stated and nothing looks at: no file, or no report of another section.

use std::collections::BTreeMap;
use std::path::Path;

use super::Reader;
use super::payments::Facts;
use crate::findings;
use crate::job::raw::{Placed, Section};
use crate::job::{Format, Key, Report, StatisticKind};

impl Reader<'_> {
    /// Refuses `csv` where the job says that no file is text. Of folders and patterns only the
    /// files tell, when they are found.
    pub(super) fn refuse_csv(
        &self,
        section: &Section,
        files: Option<&[Placed<String>]>,
        format: Option<Format>,
    ) {
        let other = |format: Option<Format>| format.is_some_and(|format| format != Format::Csv);
        let endings = |files: &[Placed<String>]| {
            // An empty list is that of a table, for which `csv` is refused elsewhere.
            let ending = |file: &Placed<String>| Format::of(Path::new(&file.value));
            !files.is_empty() && files.iter().all(|file| other(ending(file)))
        };
        let none = match section.has("format") {
            true => other(format),
            false => files.is_some_and(endings),
        };
        if section.has("csv") && !section.has("table") && none {
            self.idle(section, "csv", findings::CSV_FILES);
        }
    }

    /// Refuses values of columns that no level has as a key, as nothing would be left out for want
    /// of one of them, and edges of tickets that no report shows.
    pub(super) fn refuse_idle(
        &self,
        reports: Option<&[Report]>,
        facts: &Facts,
        key_sets: &BTreeMap<String, Placed<Vec<String>>>,
    ) {
        // Of reports that cannot be read nobody knows what they look at.
        let Some(reports) = reports else { return };
        let keys = || reports.iter().flat_map(|report| &report.levels).flat_map(|l| &l.keys);
        let is_key =
            |name: &String| keys().any(|key| matches!(key, Key::Column(own) if own == name));
        let known = key_sets.iter().filter(|(name, _)| facts.columns.contains(name));
        for (name, set) in known.filter(|(name, _)| !is_key(name)) {
            let what = format!("levels by `{name}` (`where` picks payments)");
            let finding = findings::key_idle(&format!("keys.{name}"), &what);
            self.faults.add(finding.at(set.span.clone()));
        }
        let mut insights = reports.iter().flat_map(|report| &report.insights);
        if let Some(span) = &facts.ticket_edges
            && !insights.any(|i| i.statistics().contains(&StatisticKind::TicketHistogram))
        {
            let finding = findings::key_idle("ticket_edges", "`ticket_histogram`");
            self.faults.add(finding.at(span.clone()));
        }
    }
}
