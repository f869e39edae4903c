//! Customers that come for the first time: what a level looks back on.

use std::ops::Range;

use super::cell_times::CellTimes;
use super::shared::asking;
use super::{CellSpace, KeyValue};
use crate::findings::{self, Finding};
use crate::job::{Insight, Job, Key, Level, PrivacyUnit, Report};

/// The days before each cell that tell whether a customer is new there.
#[derive(Clone, Debug)]
pub struct LookBack {
    times: CellTimes,
    /// How many days.
    days: u32,
}

impl LookBack {
    /// Of a level that tells who is new.
    pub(super) fn new(level: &Level, cells: &CellSpace) -> Option<LookBack> {
        let asked = level.bounds.keys().any(|kind| kind.looks_back());
        asked.then(|| LookBack { times: CellTimes::new(&level.keys, cells), days: level.look_back })
    }

    /// How many days.
    pub fn days(&self) -> u32 {
        self.days
    }

    /// The days, from the period's first, in which a customer of that time must not have been to be
    /// new; `None` if the period does not hold all of them.
    pub fn window(&self, time: usize) -> Option<Range<u32>> {
        let start = self.times.first_day(time);
        start.checked_sub(self.days).map(|first| first..start)
    }

    /// The most days that some cell has before it.
    fn most(&self) -> u32 {
        (0..self.times.count()).map(|time| self.times.first_day(time)).max().unwrap_or(0)
    }

    /// How many times the level has.
    pub(super) fn times(&self) -> usize {
        self.times.count()
    }

    /// The time of a cell.
    pub fn time_of(&self, cell: &[KeyValue]) -> usize {
        self.times.of(cell)
    }

    /// Does the period hold all days before the cell that tell?
    pub fn is_known(&self, cell: &[KeyValue]) -> bool {
        self.window(self.time_of(cell)).is_some()
    }
}

/// Why a level cannot tell new customers from returning ones, if it has to.
pub(super) fn unfit(
    job: &Job,
    tables: &[(&Report, &Level)],
    look_back: Option<&LookBack>,
) -> Option<Finding> {
    let mut all = tables.iter().flat_map(|(_, level)| level.bounds.keys().copied());
    let asked = all.find(|kind| kind.looks_back())?;
    let (report, level) = asking(tables, asked);
    let (days, most) = (job.payments.period.days(), look_back?.most());
    let times = level.keys.iter().filter_map(|key| match key {
        Key::Time(time) => Some(*time),
        _ => None,
    });
    let new = |insight: &&Insight| insight.statistics().contains(&asked);
    let insight = report.insights.iter().find(new).map_or("new_customers", |found| found.name());
    let fault = |why: &str, hint: &str| findings::insight_unfit(insight, &level.name(), why, hint);
    let back = level.look_back;
    Some(if job.privacy.unit != PrivacyUnit::User {
        let why = "with a unit within a period, who came before is another unit";
        fault(why, "set `unit = \"user\"`, or leave it out").at(level.span.clone())
    } else if times.clone().count() == 0 || times.clone().any(|time| !time.has_periods()) {
        let why = "only days, weeks, months and quarters have days before them";
        fault(why, "add one of the keys day, week, month and quarter, and no weekday or hour")
            .at(level.span.clone())
    } else if back > most {
        let (longest, hint) = match most {
            0 => ("any".to_owned(), "use a shorter key, or let the job begin earlier".to_owned()),
            _ => {
                let hint =
                    format!("set `look_back` to {most} or less, or let the job begin earlier");
                (format!("more than {most}"), hint)
            }
        };
        let why = format!(
            "it looks back {back} days, and of the job's {days} no cell has {longest} before it"
        );
        fault(&why, &hint).at(report.look_back.clone().unwrap_or(level.span.clone()))
    } else {
        return None;
    })
}

#[cfg(test)]
mod tests {
    use crate::fixture::Market;

    #[test]
    fn windows_end_before_the_cell_and_lie_in_the_period() {
        let plan =
            Market::new(&[]).plan(&["levels = [[\"region\", \"month\"]]\nkeys = \"public\"\n\
             look_back = 40\ninsights = [\"new_customers\"]"
                .to_owned()]);
        let look_back = plan.levels[0].look_back.as_ref().expect("asked");
        // January to April 2025.
        let windows: Vec<_> = (0..4).map(|time| look_back.window(time)).collect();
        assert_eq!(windows, [None, None, Some(19..59), Some(50..90)]);
        let keys = plan.levels[0].cells.public_keys(&plan.job).expect("public");
        let known: Vec<bool> = keys.iter().map(|key| look_back.is_known(key)).collect();
        assert_eq!(known, [false, false, true, true].repeat(3));
    }

    #[test]
    fn levels_that_cannot_tell_are_found() {
        let market = Market::new(&[]);
        let plan = |levels: &str, more: &str| {
            market.try_plan(&[format!(
                "levels = {levels}\nkeys = \"public\"\ninsights = [\"new_customers\"]\n{more}"
            )])
        };
        // The largest that fits is that of the last month, which begins on the 91st day.
        assert!(plan("[[\"month\"]]", "look_back = 90").is_ok());
        for (levels, more, hint) in [
            ("[[\"region\"]]", "", "no weekday or hour"),
            ("[[\"week\", \"hour\"]]", "", "no weekday or hour"),
            ("[[\"month\"]]", "look_back = 91", "set `look_back` to 90 or less"),
            ("[[\"week\"]]", "look_back = 120", "set `look_back` to 117 or less"),
        ] {
            let error = plan(levels, more).expect_err(levels);
            let finding = &error.findings()[0];
            assert_eq!(finding.code(), "insight-unfit", "{levels} {more}");
            let said = finding.next_step().unwrap_or_default();
            assert!(said.contains(hint), "{levels} {more}: {said}");
        }
    }
}
