//! Insights that compare a cell with others: can a level carry them?

use std::collections::BTreeSet;

use chrono::NaiveDate;

use super::peers;
use crate::findings::{self, Finding};
use crate::job::{Comparison, Insight, Job, Key, Level, Report, TimeKey};

/// The key of a level whose periods follow one another, with its place; `None` if there is none or
/// several.
pub fn period_key(keys: &[Key]) -> Option<(usize, TimeKey)> {
    let mut found = keys.iter().enumerate().filter_map(|(place, key)| match key {
        Key::Time(time) if time.has_periods() => Some((place, *time)),
        _ => None,
    });
    found.next().filter(|_| found.next().is_none())
}

/// The same key, with its place among the keys of time, which is that among the values of a time.
pub fn period_of_times(keys: &[Key]) -> Option<(usize, TimeKey)> {
    let (place, key) = period_key(keys)?;
    let is_time = |key: &&Key| matches!(key, Key::Time(_));
    Some((keys[..place].iter().filter(is_time).count(), key))
}

/// What is wrong with the tables of a level.
pub(super) fn table_faults(
    job: &Job,
    tables: &[(&Report, &Level)],
    files: &mut BTreeSet<String>,
) -> Vec<Finding> {
    let faults = |&(report, level): &(&Report, &Level)| {
        let mut faults: Vec<_> = super::name_clashes(report, level, files).into_iter().collect();
        faults.extend(unfit(job, report, level));
        // Once a report.
        let first = report.levels.first().is_some_and(|first| first.span == level.span);
        faults.extend(first.then(|| idle(report)).into_iter().flatten());
        faults.extend(first.then(|| peers::unseen(report, level)).into_iter().flatten());
        faults.extend(peers::bare(report, level));
        faults
    };
    tables.iter().flat_map(faults).collect()
}

/// What is wrong with the comparisons of a level.
fn unfit(job: &Job, report: &Report, level: &Level) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen = Vec::new();
    for insight in &report.insights {
        let Some((comparison, kind)) = insight.compared() else { continue };
        if !insight.is_at(&level.keys) {
            continue;
        }
        // One finding for all that fail for the same reason.
        if seen.contains(&comparison) {
            continue;
        }
        seen.push(comparison);
        let fault = match comparison {
            Comparison::Share => share_fault(report, level),
            Comparison::Growth => growth_fault(report, level),
            Comparison::GrowthYear => year_fault(job, report, level),
            Comparison::Index => index_fault(job, report, level),
            Comparison::Concentration => peers::concentration_fault(job, report, level),
            Comparison::Above => peers::above_fault(job, report, level, kind),
            Comparison::Rank | Comparison::Benchmark => peers::peers_fault(job, report),
        };
        if let Some((why, hint)) = fault {
            let base = report.base.as_ref().filter(|_| comparison == Comparison::Index);
            let base = base.filter(|_| period_key(&level.keys).is_some());
            let span = base.map_or(&level.span, |(_, span)| span);
            let finding = findings::insight_unfit(insight.name(), &level.name(), &why, &hint);
            findings.push(finding.at(span.clone()));
        }
    }
    findings
}

/// Why a level cannot carry an insight, and what to do.
pub(super) type Fault = Option<(String, String)>;

pub(super) fn fault(why: impl Into<String>, hint: impl Into<String>) -> Fault {
    Some((why.into(), hint.into()))
}

fn share_fault(report: &Report, level: &Level) -> Fault {
    let Some((keys, _)) = &report.share_of else {
        let why = "the report does not say over which keys shares add up to one";
        return fault(why, "add `share_of = \"wallet\"`, or another key of the level");
    };
    if !report.selection.is_public() {
        let why = "keys that are not shown would be missing in what is divided by";
        return fault(why, "write `keys = \"public\"`, and the values of its columns in [keys]");
    }
    let missing = keys.iter().find(|name| level.keys.iter().all(|key| key.name() != *name))?;
    fault(
        format!("it has no key `{missing}` to share out"),
        "put levels without that key in a report of their own, without shares",
    )
}

const PERIODS: &str = "add one of the keys day, week, month and quarter";

fn growth_fault(report: &Report, level: &Level) -> Fault {
    let times = level.keys.iter().any(|key| matches!(key, Key::Time(_)));
    match period_key(&level.keys) {
        Some(_) => None,
        None if !times && !report.previous.is_empty() => None,
        None if times => {
            fault("it has not exactly one key of periods that follow each other", PERIODS)
        }
        None => fault(
            "it has no periods that follow each other, and the report no earlier release",
            format!("{PERIODS}, or name an earlier job with `previous`"),
        ),
    }
}

fn year_fault(job: &Job, report: &Report, level: &Level) -> Fault {
    let Some((_, time)) = period_key(&level.keys) else {
        return fault("it has not exactly one key of periods that follow each other", PERIODS);
    };
    let period = job.payments.period;
    let whole = |start: &NaiveDate| {
        let before = time.year_before(*start);
        period.holds(time, *start) && before.is_some_and(|before| period.holds(time, before))
    };
    // An earlier release may have what the job's own days have not.
    if !report.previous.is_empty() || starts(job, time).any(|start| whole(&start)) {
        return None;
    }
    let (days, name) = (period.days(), time.name());
    fault(
        format!("the job's {days} days hold no whole {name} and the one a year before"),
        format!(
            "let the job's days hold a whole {name} and the one a year before, name an earlier job \
             that has it with `previous`, or ask for growth against the period before"
        ),
    )
}

fn index_fault(job: &Job, report: &Report, level: &Level) -> Fault {
    let Some((_, time)) = period_key(&level.keys) else {
        return fault("it has not exactly one key of periods that follow each other", PERIODS);
    };
    let (period, name) = (job.payments.period, time.name());
    let whole: Vec<NaiveDate> = starts(job, time).filter(|&s| period.holds(time, s)).collect();
    let Some((base, _)) = report.base else {
        let first = whole.first().map_or(period.first(), |first| *first);
        return fault("the report has no base period", format!("add `base = {first}`"));
    };
    if time.start(base).is_some_and(|start| period.holds(time, start)) {
        return None;
    }
    let distance = |start: &&NaiveDate| (**start - base).num_days().abs();
    let why = format!("the {name} of its base {base} is not wholly within the job's days");
    match whole.iter().min_by_key(distance) {
        Some(nearest) => fault(why, format!("write `base = {nearest}`, the nearest whole {name}")),
        None => fault(why, format!("the job's days hold no whole {name}: use a shorter key")),
    }
}

/// Starts of the periods that the job's days touch.
fn starts(job: &Job, time: TimeKey) -> impl Iterator<Item = NaiveDate> {
    let period = job.payments.period;
    std::iter::successors(time.start(period.first()), move |start| time.next(*start))
        .take_while(move |start| *start <= period.last())
}

/// Keys of a report that none of its insights looks at.
fn idle(report: &Report) -> Vec<Finding> {
    let has = |wanted: Comparison| {
        let of = |i: &Insight| i.compared().is_some_and(|(comparison, _)| comparison == wanted);
        report.insights.iter().any(of)
    };
    let share_of = report.share_of.as_ref().filter(|_| !has(Comparison::Share));
    let base = report.base.as_ref().filter(|_| !has(Comparison::Index));
    let share_of = share_of.map(|(_, span)| {
        let what = "customers_share, payments_share, gross_share and sales_share";
        findings::key_idle("share_of", what).at(span.clone())
    });
    let base = base.map(|(_, span)| {
        let what = "customers_index, payments_index, gross_index and sales_index";
        findings::key_idle("base", what).at(span.clone())
    });
    share_of.into_iter().chain(base).chain(peers::idle(report)).collect()
}
