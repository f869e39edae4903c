//! What users spend against another period: which periods of a level are compared.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use super::cell_times::CellTimes;
use super::compared::{period_key, period_of_times};
use super::shared::asking;
use super::{CellSpace, KeyValue};
use crate::findings::{self, Finding};
use crate::job::{Job, Key, Level, PrivacyUnit, Report, StatisticKind};

/// Of each time of a level the one with which it is compared.
#[derive(Clone, Debug)]
pub struct Changes {
    times: CellTimes,
    /// `None` where one of both is not wholly within the job's days.
    before: Vec<Option<usize>>,
    /// Of each time the one that is compared with it.
    after: Vec<Option<usize>>,
}

impl Changes {
    /// Of all statistics of a level that compare.
    pub(super) fn all(
        job: &Job,
        level: &Level,
        cells: &CellSpace,
    ) -> BTreeMap<StatisticKind, Changes> {
        let kinds = level.bounds.keys().copied().filter(|kind| kind.compares());
        kinds.map(|kind| (kind, Changes::new(job, level, cells, kind))).collect()
    }

    fn new(job: &Job, level: &Level, cells: &CellSpace, kind: StatisticKind) -> Changes {
        let times = CellTimes::new(&level.keys, cells);
        let period = job.payments.period;
        let mut before = vec![None; times.count()];
        if let Some((place, key)) = period_of_times(&level.keys) {
            let whole = |start: &NaiveDate| period.holds(key, *start);
            let then = |time: usize| {
                let start = key.start(period.day(times.first_day(time))).filter(whole)?;
                let then = match kind {
                    StatisticKind::DiffusionYear => key.year_before(start),
                    _ => key.before(start),
                };
                times.with(time, place, KeyValue::Date(then.filter(whole)?))
            };
            before = (0..times.count()).map(then).collect();
        }
        let mut after = vec![None; times.count()];
        for (time, then) in before.iter().enumerate() {
            // No two periods have the same one a period, or a year, before.
            then.iter().for_each(|&then: &usize| after[then] = Some(time));
        }
        Changes { times, before, after }
    }

    /// With which time a time is compared.
    pub fn before(&self, time: usize) -> Option<usize> {
        self.before[time]
    }

    /// Which time is compared with a time.
    pub fn after(&self, time: usize) -> Option<usize> {
        self.after[time]
    }

    /// The time of a cell.
    pub fn time_of(&self, cell: &[KeyValue]) -> usize {
        self.times.of(cell)
    }

    /// The share of times that are compared with another one.
    pub(super) fn known_share(&self) -> f64 {
        let known = self.before.iter().flatten().count();
        // A level with none is refused.
        known.max(1) as f64 / self.before.len().max(1) as f64
    }

    /// Is a cell compared with another one?
    pub fn is_known(&self, cell: &[KeyValue]) -> bool {
        self.before[self.time_of(cell)].is_some()
    }
}

/// Why a level cannot compare what users spend, if it has to.
pub(super) fn unfit(
    job: &Job,
    tables: &[(&Report, &Level)],
    changes: &BTreeMap<StatisticKind, Changes>,
) -> Vec<Finding> {
    let fault = |(&kind, changes): (&StatisticKind, &Changes)| {
        let (report, level) = asking(tables, kind);
        let asked = report.insights.iter().filter(|insight| insight.statistics().contains(&kind));
        let names: Vec<&str> = asked.map(|insight| insight.name()).collect();
        let (why, hint) = why_unfit(job, report, level, &names, (kind, changes))?;
        let finding = findings::insight_unfit(&names.join("` and `"), &level.name(), &why, &hint);
        Some(finding.at(level.span.clone()))
    };
    changes.iter().filter_map(fault).collect()
}

fn why_unfit(
    job: &Job,
    report: &Report,
    level: &Level,
    insights: &[&str],
    (kind, changes): (StatisticKind, &Changes),
) -> Option<(String, String)> {
    let of_years = kind == StatisticKind::DiffusionYear;
    let growth = if of_years { "customers_growth_year" } else { "customers_growth" };
    let fault = |why: &str, hint: &str| Some((why.to_owned(), hint.to_owned()));
    if job.privacy.unit != PrivacyUnit::User {
        let hint = format!(
            "set `unit = \"user\"`, or leave `{}` out; or ask for `{growth}`, which compares cells",
            insights.join("` and `")
        );
        return fault(
            "with a unit within a period, who paid in the other one is another unit",
            &hint,
        );
    }
    if !report.selection.is_public() {
        let why = "users also count where they pay no longer, which no private key may tell";
        let column = |key: &Key| matches!(key, Key::Column(_));
        let columns: Vec<&str> =
            level.keys.iter().filter(|key| column(key)).map(Key::name).collect();
        let stated = match &columns[..] {
            [] => String::new(),
            _ => format!(", and the values of `{}` in [keys]", columns.join("` and `")),
        };
        return fault(why, &format!("write `keys = \"public\"`{stated}"));
    }
    let Some((_, time)) = period_key(&level.keys) else {
        let why = "it has not exactly one key of periods that follow each other";
        return fault(why, "keep one of the keys day, week, month and quarter, or add one");
    };
    if changes.before.iter().any(Option::is_some) {
        return None;
    }
    let (days, name) = (job.payments.period.days(), time.name());
    if of_years {
        let why = format!("the job's {days} days hold no whole {name} and the one a year before");
        let shorter: Vec<&str> =
            insights.iter().map(|name| name.trim_end_matches("_year")).collect();
        let hint = format!(
            "let the job's days hold a whole {name} and the one a year before, or ask for `{}`",
            shorter.join("` and `")
        );
        return fault(&why, &hint);
    }
    let why = format!("the job's {days} days hold no whole {name} and the one before");
    fault(&why, "let the job have more days, or use a shorter key")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Market;
    use crate::plan::LevelPlan;

    fn plan(keys: &str, insight: &str, changes: &[(&str, &str)]) -> Result<LevelPlan, String> {
        plan_with(keys, insight, changes, "public")
    }

    fn plan_with(
        keys: &str,
        insight: &str,
        changes: &[(&str, &str)],
        selection: &str,
    ) -> Result<LevelPlan, String> {
        let text =
            format!("levels = [[{keys}]]\nkeys = \"{selection}\"\ninsights = [\"{insight}\"]\n");
        let changes = [changes, &[("ticket_groups = \"region\"\n", "")]].concat();
        let plan = Market::new(&[]).try_plan_changed(&changes, &[text]);
        let fault = |error: crate::error::Error| error.findings()[0].to_string();
        plan.map(|mut plan| plan.levels.remove(0)).map_err(fault)
    }

    fn periods(level: &LevelPlan) -> Vec<(usize, usize)> {
        let (_, changes) = level.changes.iter().next().expect("asked");
        let times = 0..changes.before.len();
        let pairs: Vec<(usize, usize)> =
            times.filter_map(|time| Some((changes.before(time)?, time))).collect();
        for &(before, time) in &pairs {
            assert_eq!(changes.after(before), Some(time));
        }
        assert_eq!(changes.after.iter().flatten().count(), pairs.len());
        pairs
    }

    const LONGER: (&str, &str) = ("2025-04-30", "2026-03-15");

    #[test]
    fn whole_periods_are_compared_with_the_one_before() {
        // January to April 2025.
        let level = plan("\"region\", \"month\"", "diffusion_index", &[]).expect("a plan");
        assert_eq!(periods(&level), [(0, 1), (1, 2), (2, 3)]);
        // January is compared with nothing: of its three classes nothing is told.
        assert!((level.told_width(StatisticKind::Diffusion, 3) - 2.25).abs() < 1e-12);
        // The first week and the last one are cut.
        let level = plan("\"week\"", "diffusion_classes", &[]).expect("a plan");
        assert_eq!(periods(&level), (1..16).map(|week| (week, week + 1)).collect::<Vec<_>>());
        // At the same hours.
        let level = plan("\"hour\", \"month\"", "diffusion_index", &[]).expect("a plan");
        let (_, changes) = level.changes.iter().next().expect("asked");
        let key = |hour, month: &str| {
            [KeyValue::Number(hour), KeyValue::Date(month.parse().expect("a day"))]
        };
        for hour in 0..24 {
            let time = changes.time_of(&key(hour, "2025-03-01"));
            assert_eq!(changes.before(time), Some(changes.time_of(&key(hour, "2025-02-01"))));
            assert!(!changes.is_known(&key(hour, "2025-01-01")));
        }
    }

    #[test]
    fn periods_are_compared_with_those_a_year_before() {
        // Until 15 March 2026: the last month is cut.
        let level = plan("\"month\"", "diffusion_index_year", &[LONGER]).expect("a plan");
        assert_eq!(periods(&level), [(0, 12), (1, 13)]);
        // Days 52 weeks before.
        let level = plan("\"day\"", "diffusion_index_year", &[LONGER]).expect("a plan");
        assert_eq!(periods(&level), (364..439).map(|day| (day - 364, day)).collect::<Vec<_>>());
    }

    #[test]
    fn levels_that_cannot_compare_are_found() {
        let monthly: &[(&str, &str)] = &[("unit = \"user\"", "unit = \"user-month\"")];
        for (keys, insight, changes, why) in [
            ("\"region\"", "diffusion_index", &[][..], "exactly one key"),
            ("\"month\", \"week\"", "diffusion_classes", &[], "exactly one key"),
            ("\"month\"", "diffusion_index", monthly, "is another unit"),
            ("\"month\"", "diffusion_index_year", monthly, "`customers_growth_year`"),
            ("\"month\"", "diffusion_index_year", &[], "ask for `diffusion_index`"),
            ("\"quarter\"", "diffusion_index", &[], "no whole quarter and the one before"),
        ] {
            let fault = plan(keys, insight, changes).err().unwrap_or_default();
            assert!(fault.contains(why), "{keys} {insight}: {fault}");
        }
        assert!(plan("\"quarter\"", "diffusion_index", &[LONGER]).is_ok());
        let private = plan_with("\"month\"", "diffusion_index", &[], "private");
        assert!(private.err().unwrap_or_default().contains("pay no longer"));
    }
}
