//! What a job takes from earlier releases of its ledger: keys that they have shown (`keys_from`), and
//! bounds and values (`previous`).

use std::path::PathBuf;
use std::sync::Arc;

use super::revision::revised;
use crate::error::{Error, Result};
use crate::findings::{self, Finding};
use crate::job::{EarlierJob, Key, Report as JobReport};
use crate::ledger::{EntryState, Report};
use crate::plan::{Earlier, LevelPlan, Plan};
use crate::release::{released_surveys, released_values, shown_keys};

/// Has the plan's private levels show the keys of the jobs that they name, come what may, and takes
/// bounds that are open from the surveys of the job that their report names; and checks the job that
/// it revises.
///
/// # Errors
/// Invalid: a job is not published in the plan's ledger, its release is not as it was, or has no
/// such keys, or no survey of any open bound of the report. Refused or environment: the ledger is broken or cannot be read.
pub(super) fn use_earlier(plan: &mut Plan) -> Result<()> {
    let reports = &plan.job.reports;
    let none = |report: &JobReport| report.keys_from.is_empty() && report.previous.is_none();
    if reports.iter().all(none) && plan.job.revises.is_none() {
        return Ok(());
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
    for report in plan.job.reports.clone() {
        if let Some(previous) = &report.previous
            && let Err(finding) = adopt_bounds(plan, &report.name, previous, &ledger)
        {
            faults.push(finding.at(previous.span.clone()));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(Error::invalid_all(faults)) }
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

pub(super) const NOT_PUBLISHED: &str = "it is not published in the job's ledger";

/// The folder of an earlier release and the digest of its manifest.
pub(super) fn published<'l>(
    from: &EarlierJob,
    ledger: &'l Report,
) -> Option<(&'l PathBuf, &'l String)> {
    let job = ledger.job(&from.job).filter(|job| job.state == EntryState::Published)?;
    Some((job.folder.as_ref()?, job.release_digest.as_ref()?))
}

fn adopt_bounds(
    plan: &mut Plan,
    report: &str,
    previous: &EarlierJob,
    ledger: &Report,
) -> std::result::Result<(), Finding> {
    let unusable = |why: &str| findings::previous_unusable(&previous.job, why);
    let Some((folder, digest)) = published(previous, ledger) else {
        return Err(unusable(NOT_PUBLISHED));
    };
    let released = released_surveys(folder, digest).map_err(|why| unusable(&why))?;
    let unit = plan.job.privacy.unit.label(plan.job.payments.zone);
    if released.unit != unit {
        return Err(unusable(&format!("its unit is {}, not {unit}", released.unit)));
    }
    let period = plan.job.payments.period;
    if released.first_day >= period.first() {
        return Err(unusable("its period does not begin before this one"));
    }
    let days = period.days();
    // Norms grow with the period; a month may have 28 days or 31.
    if released.days.abs_diff(days) * 4 > days {
        let shown = released.days;
        return Err(unusable(&format!("its period has {shown} days, and this one {days}")));
    }
    let from = (previous.job.clone(), digest.clone());
    let bounds = plan.adopt(report, released.surveys, &from);
    let codes: Vec<&str> = plan.job.payments.currencies.iter().map(|c| c.code()).collect();
    let (codes, places) = (codes.join(","), plan.job.payments.money_places());
    let mut values = 0;
    for level in plan.levels.iter_mut().filter(|l| l.is_of(report) && l.is_public()) {
        let cells = released_values(folder, digest, level, (&codes, places))
            .map_err(|why| unusable(&why))?;
        let cells = cells.filter(|cells| !cells.statistics.is_empty());
        values += usize::from(cells.is_some());
        let with = |cells| Earlier { from: from.clone(), cells: Arc::new(cells) };
        level.earlier = cells.map(with);
    }
    if bounds + values == 0 {
        return Err(unusable(
            "it has no table with the same keys, and no survey of a bound that is open here",
        ));
    }
    Ok(())
}
