//! What a job takes from earlier releases of its ledger: keys that they have shown (`keys_from`),
//! and bounds and values (`previous`).

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{Days, NaiveDate};

use super::revision::revised;
use crate::console;
use crate::error::{Error, Result};
use crate::findings::{self, Finding};
use crate::job::{EarlierJob, Job, Key, Report as JobReport, StatisticKind};
use crate::ledger::{EntryState, Hold, JobEntry, Report};
use crate::plan::{Earlier, LevelPlan, Plan, Scales};
use crate::release::{ReleasedSurveys, released_surveys, released_values, shown_keys};

/// Takes what the plan needs of earlier releases, and then splits its budget by the errors that
/// reports ask for, which may rest on them.
///
/// # Errors
/// Those of [`take_earlier`] and of [`Plan::aim`].
pub(super) fn use_earlier(plan: &mut Plan) -> Result<()> {
    let mut remarks = BTreeSet::new();
    let taken = take_earlier(plan, &mut remarks);
    for remark in remarks {
        console::note(&format!("note: {remark}"));
    }
    taken?;
    plan.aim()
}

/// Has the plan's private levels show the keys of the jobs that they name, come what may, and takes
/// bounds that are open from the surveys of the jobs that their report names; and checks the job
/// that it revises. Remarks on what is not used, or may be of other payments.
///
/// # Errors
/// Invalid: a job is not published in the plan's ledger, its release is not as it was, or has no
/// such keys, or no survey of any open bound of the report. Refused: another run must end first.
/// Refused or environment: the ledger is broken or cannot be read.
fn take_earlier(plan: &mut Plan, remarks: &mut BTreeSet<String>) -> Result<()> {
    let reports = &plan.job.reports;
    let none = |report: &JobReport| report.keys_from.is_empty() && report.previous.is_empty();
    if reports.iter().all(none) && plan.job.revises.is_none() {
        return Ok(());
    }
    let named = |report: &JobReport| {
        !report.keys_from.is_empty() || report.previous.iter().any(|p| !p.is_latest())
    };
    let names_jobs = plan.job.revises.is_some() || reports.iter().any(named);
    if !plan.job.ledger.file.exists() {
        // The first job makes the ledger, so it can name no other.
        return if names_jobs { Err(Error::invalid_all(no_ledger(plan))) } else { Ok(()) };
    }
    let ledger = Report::read(&plan.job.ledger.file)?;
    let mut faults = Vec::new();
    if let Some(revises) = plan.job.revises.clone() {
        match revised(&plan.job, &revises, &ledger) {
            Ok(release) => plan.revises = Some(release),
            Err(finding) => faults.push(finding.at(revises.span)),
        }
    }
    for level in &mut plan.levels {
        // Reports that share a level name the same jobs.
        let report = plan.job.reports.iter().find(|report| level.is_of(&report.name));
        for from in report.map_or(&[][..], |report| &report.keys_from) {
            // Once for all levels.
            if let Err(finding) = keep_level(level, from, &ledger)
                && faults.iter().all(|known: &Finding| known.message() != finding.message())
            {
                faults.push(finding.at(from.span.clone()));
            }
        }
    }
    let mut done = BTreeSet::new();
    for report in plan.job.reports.clone() {
        let adopted = adopt(plan, &report, &ledger, (&mut done, remarks));
        faults.extend(adopted.err().into_iter().flatten());
    }
    match faults.iter().find(|fault| fault.code() != "earlier-under-way") {
        Some(_) => Err(Error::invalid_all(faults)),
        // Nothing is to be mended but to run the job again.
        None => faults.into_iter().next().map_or(Ok(()), |fault| Err(Error::refused(fault))),
    }
}

/// Of each earlier job that is named, that there is no ledger to look it up in.
fn no_ledger(plan: &Plan) -> Vec<Finding> {
    const WHY: &str = "the job's ledger is not there";
    let mut faults = Vec::new();
    let job = &plan.job;
    faults.extend(
        job.revises.iter().map(|r| findings::revises_unusable(&r.job, WHY).at(r.span.clone())),
    );
    for report in &job.reports {
        let keys = report.keys_from.iter();
        faults.extend(keys.map(|k| findings::keys_from_unusable(&k.job, WHY).at(k.span.clone())));
        let previous = report.previous.iter().filter(|previous| !previous.is_latest());
        faults
            .extend(previous.map(|p| findings::previous_unusable(&p.job, WHY).at(p.span.clone())));
    }
    faults
}

fn keep_level(
    level: &mut LevelPlan,
    from: &EarlierJob,
    ledger: &Report,
) -> std::result::Result<(), Finding> {
    let names: Vec<&str> =
        level.keys.iter().filter(|key| !matches!(key, Key::Time(_))).map(Key::name).collect();
    let unusable = |why: &str| findings::keys_from_unusable(&from.job, why);
    let Some((folder, digest)) = published(from, ledger) else {
        return Err(unusable(NOT_PUBLISHED));
    };
    let keys = shown_keys(folder, digest, &names).map_err(|why| unusable(&why))?;
    let none = || unusable(&format!("none of its tables has the keys {}", names.join(", ")));
    let keys = keys.ok_or_else(none)?;
    if !level.keep(&keys) {
        return Err(unusable(&format!("they make more than {} cells", Plan::CELLS_MAX)));
    }
    level.keys_from.push((from.job.clone(), digest.clone()));
    Ok(())
}

/// Of which levels the noise of cells differs by what earlier releases say of them.
pub(super) fn scale_lines(plan: &Plan) -> impl Iterator<Item = String> {
    let line = |level: &LevelPlan| {
        let one = |(kind, scales): (&StatisticKind, &Scales)| {
            format!("{} by {}", kind.name(), scales.octaves_max())
        };
        let all: Vec<String> = level.scales.iter().map(one).collect();
        format!(
            "Noise in cells of {} grows with what they held before, by so many octaves at most: {} \
             (`cell_scales`).",
            level.file,
            all.join(", ")
        )
    };
    plan.levels.iter().filter(|level| !level.scales.is_empty()).map(line)
}

pub(super) const NOT_PUBLISHED: &str = "it is not published in the job's ledger";

/// The folder of an earlier release and the digest of its manifest.
pub(super) fn published<'l>(
    from: &EarlierJob,
    ledger: &'l Report,
) -> Option<(&'l PathBuf, &'l String)> {
    let job = ledger.job(&from.job).filter(|job| job.state == EntryState::Published)?;
    Some((job.folder.as_ref()?, job.release_digest.as_ref()?))
}

/// Takes bounds and values from the jobs that a report names, or from the latest that fit; but
/// values not for the levels of reports that are `done`, as reports that share one name the same.
fn adopt(
    plan: &mut Plan,
    report: &JobReport,
    ledger: &Report,
    (done, remarks): (&mut BTreeSet<usize>, &mut BTreeSet<String>),
) -> std::result::Result<(), Vec<Finding>> {
    let Some(first) = report.previous.first() else { return Ok(()) };
    let fault = |finding: Finding| vec![finding.at(first.span.clone())];
    let own = |(_, level): &(usize, &LevelPlan)| level.is_of(&report.name) && level.is_public();
    let levels = plan.levels.iter().enumerate().filter(own).map(|(place, _)| place);
    let levels: Vec<usize> = levels.filter(|place| done.insert(*place)).collect();
    if first.is_latest() {
        let releases = latest(plan, ledger, remarks).map_err(fault)?;
        for release in &releases {
            let unusable = |why: String| fault(findings::previous_unusable(release.job, &why));
            release.values(plan, &levels, false).map_err(unusable)?;
        }
        // Whose cells have scales by these values needs a survey of its own.
        plan.scale(&report.name);
        for release in &releases {
            release.bounds(plan, &report.name);
        }
        return Ok(());
    }
    let mut faults = Vec::new();
    let mut unusable = |job: &EarlierJob, why: &str| {
        faults.push(findings::previous_unusable(&job.job, why).at(job.span.clone()));
    };
    let mut releases = Vec::new();
    for job in &report.previous {
        match named(plan, job, ledger) {
            Ok(release) => {
                // Its author may know that they are the same, if written otherwise.
                remarks.extend(release.others(&plan.job).map(|why| {
                    format!(
                        "`previous` names job `{}`, which may have counted other payments: {why}",
                        job.job
                    )
                }));
                releases.push((job, release));
            }
            Err(why) => unusable(job, &why),
        }
    }
    releases.sort_by_key(|(_, release)| Reverse(release.released.first_day));
    let mut after: Option<&Release> = None;
    let mut used = Vec::new();
    for (job, release) in &releases {
        if let Some(after) = after.filter(|after| release.last_day() >= after.released.first_day) {
            unusable(job, &format!("its period overlaps that of job `{}`", after.job));
            continue;
        }
        after = Some(release);
        match release.values(plan, &levels, true) {
            Ok(()) => used.push((job, release)),
            Err(why) => unusable(job, &why),
        }
    }
    plan.scale(&report.name);
    for (job, release) in used {
        let bounds = release.bounds(plan, &report.name);
        let from = |level: &LevelPlan| level.earlier.iter().any(|e| e.from.0 == job.job);
        if bounds == 0 && !plan.levels.iter().any(|l| l.is_of(&report.name) && from(l)) {
            unusable(job, IDLE);
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

const IDLE: &str = "it has no table with the same keys, and no survey of a bound that is open here";

/// The release of a job that a report names.
fn named<'l>(
    plan: &Plan,
    job: &'l EarlierJob,
    ledger: &'l Report,
) -> std::result::Result<Release<'l>, String> {
    let (folder, digest) = published(job, ledger).ok_or(NOT_PUBLISHED)?;
    let released = released_surveys(folder, digest)?;
    match misfit(plan, &released) {
        Some(why) => Err(why),
        None => Ok(Release { job: &job.job, folder, digest, released }),
    }
}

/// The releases that fit, those of the latest periods first, of those of one period the one first
/// that was published last. Values come from as many of them as may tell some; each bound from the
/// first that has a survey of it, as a release that took its bounds itself has none. A first job
/// has no release before it, and goes without.
///
/// A release whose folder is gone is passed over with a remark, as old ones may be deleted; one
/// that was changed, or cannot be looked at, is a mistake. So is, without a word, one whose place
/// another one has taken, and with a remark what has counted other payments.
fn latest<'l>(
    plan: &Plan,
    ledger: &'l Report,
    remarks: &mut BTreeSet<String>,
) -> std::result::Result<Vec<Release<'l>>, Finding> {
    let before = reserved_by(&plan.job, ledger);
    let (mut found, mut gone, mut others) = (Vec::new(), Vec::new(), Vec::new());
    let mut revised = BTreeSet::new();
    for entry in &ledger.jobs {
        let published = entry.published_by.filter(|seq| *seq < before);
        // What another recipient was given is not for this one's budget to pay.
        let published = published.filter(|_| entry.recipient == plan.job.recipient);
        let (Some(_), Some(folder), Some(digest)) =
            (published, &entry.folder, &entry.release_digest)
        else {
            if goes_on(&plan.job, entry, before) {
                return Err(findings::earlier_under_way(&entry.id));
            }
            continue;
        };
        let unusable = |why: &str| findings::previous_unusable(&entry.id, why);
        // What cannot be looked at may well be there.
        let there = folder.try_exists();
        if !there.map_err(|cause| unusable(&format!("{}: {cause}", folder.display())))? {
            gone.push(&entry.id);
            continue;
        }
        let released = released_surveys(folder, digest).map_err(|why| unusable(&why))?;
        revised.extend(released.revises.clone());
        if misfit(plan, &released).is_none() {
            let order = (released.first_day, published);
            found.push((order, Release { job: &entry.id, folder, digest, released }));
        }
    }
    found.retain(|(_, release)| !revised.contains(release.job));
    found.retain(|(_, release)| match release.others(&plan.job) {
        Some(why) => {
            others.push((release.job, why));
            false
        }
        None => true,
    });
    if let [.., last] = &gone[..] {
        let count = findings::counted(gone.len(), "release");
        remarks.insert(format!(
            "\"latest\" passes over {count} not where the ledger says, the last of them of job `{last}`"
        ));
    }
    if let [.., (last, why)] = &others[..] {
        let count = findings::counted(others.len(), "release");
        remarks.insert(format!(
            "\"latest\" passes over {count} of other payments, the last of them of job `{last}`: {why}"
        ));
    }
    found.sort_by_key(|(order, _)| Reverse(*order));
    Ok(found.into_iter().map(|(_, release)| release).collect())
}

/// The entry that reserved the job, after all others if there is none: a job that is run again
/// takes what it took when it was reserved.
pub(super) fn reserved_by(job: &Job, ledger: &Report) -> i64 {
    let own = ledger.job(&job.id).filter(|own| own.state != EntryState::Voided);
    own.map_or(i64::MAX, |own| own.reserved_by)
}

/// Does a run of another job of the recipient go on that was reserved before an entry? Whether it
/// ends before this one begins hangs on how long it takes, and so on payments: that must not decide
/// what this one goes by.
pub(super) fn goes_on(own: &Job, other: &JobEntry, before: i64) -> bool {
    other.id != own.id
        && other.recipient == own.recipient
        && other.reserved_by < before
        && matches!(other.state, EntryState::Reserved | EntryState::Spent)
        && Hold::is_taken(&own.ledger.file, &other.id).unwrap_or(true)
}

/// Why a release can tell nothing of the plan's period, if so.
fn misfit(plan: &Plan, released: &ReleasedSurveys) -> Option<String> {
    let unit = plan.job.privacy.unit.label(plan.job.payments.zone);
    if released.unit != unit {
        return Some(format!("its unit is {}, not {unit}", released.unit));
    }
    let currency = released.series.as_ref().and_then(|series| series.other_currency(&plan.job));
    if currency.is_some() {
        return currency;
    }
    let period = plan.job.payments.period;
    if released.first_day >= period.first() {
        return Some("its period does not begin before this one".to_owned());
    }
    let days = period.days();
    // Norms grow with the period; a month may have 28 days or 31.
    let unlike = released.days.abs_diff(days) * 4 > days;
    unlike.then(|| format!("its period has {} days, and this one {days}", released.days))
}

/// A release of the ledger.
#[derive(Debug)]
struct Release<'l> {
    job: &'l str,
    folder: &'l Path,
    digest: &'l str,
    released: ReleasedSurveys,
}

impl Release<'_> {
    /// Its job, and its manifest's digest.
    fn origin(&self) -> (String, String) {
        (self.job.to_owned(), self.digest.to_owned())
    }

    /// How its payments differ from those of a job, whatever the days, as far as its manifest
    /// tells.
    fn others(&self, job: &Job) -> Option<String> {
        let (theirs, ours) = (&*self.released.timezone, job.payments.zone.name());
        let zone = || format!("its time zone is {theirs}, not {ours}");
        let payments = self.released.series.as_ref().and_then(|s| s.other_payments(job));
        payments.or_else(|| (theirs != ours).then(zone))
    }

    fn last_day(&self) -> NaiveDate {
        self.released.first_day + Days::new(u64::from(self.released.days).saturating_sub(1))
    }

    /// Gives its surveys for bounds of a report that are open; how many.
    fn bounds(&self, plan: &mut Plan, report: &str) -> usize {
        plan.adopt(report, self.released.surveys.clone(), &self.origin())
    }

    /// Gives its values to some levels, each of which may know what later releases said of it. It
    /// is passed over if these overlap it, or are as many as may be, or would have too many cells
    /// with it, which is a mistake where it is `named`.
    fn values(
        &self,
        plan: &mut Plan,
        levels: &[usize],
        named: bool,
    ) -> std::result::Result<(), String> {
        let codes: Vec<&str> = plan.job.payments.currencies.iter().map(|c| c.code()).collect();
        let (codes, places) = (codes.join(","), plan.job.payments.money_places());
        for &place in levels {
            let level = &mut plan.levels[place];
            let overlaps = |after: &Earlier| after.cells.days.0 <= self.last_day();
            if level.earlier.len() == EarlierJob::VALUES_MAX
                || level.earlier.last().is_some_and(overlaps)
            {
                continue;
            }
            let cells = released_values(self.folder, self.digest, level, (&codes, places))?;
            let Some(cells) = cells.filter(|cells| !cells.statistics.is_empty()) else { continue };
            if (level.earlier_cells() + cells.keys.len()) as u128 <= Plan::CELLS_MAX {
                level.earlier.push(Earlier { from: self.origin(), cells: Arc::new(cells) });
            } else if named {
                let most = Plan::CELLS_MAX;
                return Err(format!("with those after it, it has more than {most} cells"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Market;

    /// A month of 31 days tells of one of 28; one of the same days, or of many more, does not.
    #[test]
    fn releases_of_other_periods_and_units_tell_nothing() {
        let report = "levels = [[]]\nkeys = \"public\"\ninsights = [\"payments\"]\n\
                      bounds = { payments = 8 }";
        let days = ("2025-02-01", "2025-02-28");
        let plan = Market::new(&[]).plan_days(days.0, days.1, &[report.to_owned()]).expect("good");
        let said = |unit: &str, first_day: &str, days: u32| {
            let released = ReleasedSurveys {
                unit: unit.to_owned(),
                first_day: first_day.parse().expect("a day"),
                days,
                timezone: "Europe/Berlin".to_owned(),
                series: None,
                revises: None,
                surveys: Vec::new(),
            };
            misfit(&plan, &released)
        };
        for (unit, first_day, days, fits) in [
            ("user", "2025-01-01", 31, true),
            ("user", "2025-01-31", 28, true),
            ("user", "2025-02-01", 28, false),
            ("user", "2025-03-01", 28, false),
            ("user", "2025-01-01", 35, true),
            ("user", "2025-01-01", 36, false),
            ("user", "2025-01-01", 21, true),
            ("user", "2025-01-01", 20, false),
            ("user-month Europe/Berlin", "2025-01-01", 31, false),
        ] {
            let said = said(unit, first_day, days);
            assert_eq!(said.is_none(), fits, "{unit} {first_day} {days}: {said:?}");
        }
    }
}
