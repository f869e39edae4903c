//! Keys that earlier releases have shown, for reports that say so (`keys_from`).

use crate::error::{Error, Result};
use crate::findings::{self, Finding};
use crate::job::{Key, KeysFrom};
use crate::ledger::{EntryState, Report};
use crate::plan::{LevelPlan, Plan};
use crate::release::shown_keys;

/// Has the plan's private levels show the keys of the jobs that they name, come what may.
///
/// # Errors
/// Invalid: a job is not published in the plan's ledger, its release is not as it was, or has no
/// such keys. Refused or environment: the ledger is broken or cannot be read.
pub(super) fn keep_keys(plan: &mut Plan) -> Result<()> {
    if plan.job.reports.iter().all(|report| report.keys_from.is_empty()) {
        return Ok(());
    }
    let ledger = Report::read(&plan.job.ledger.file)?;
    let mut faults = Vec::new();
    for level in &mut plan.levels {
        let report = plan.job.reports.iter().find(|report| report.name == level.report);
        for from in report.map_or(&[][..], |report| &report.keys_from) {
            // Once for all levels.
            if let Err(finding) = keep_level(level, from, &ledger)
                && faults.iter().all(|known: &Finding| known.message() != finding.message())
            {
                faults.push(finding.at(from.span.clone()));
            }
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(Error::invalid_all(faults)) }
}

fn keep_level(
    level: &mut LevelPlan,
    from: &KeysFrom,
    ledger: &Report,
) -> std::result::Result<(), Finding> {
    let names: Vec<&str> =
        level.keys.iter().filter(|key| !matches!(key, Key::Time(_))).map(Key::name).collect();
    let unusable = |why: &str| findings::keys_from_unusable(&from.job, why);
    let job = ledger.job(&from.job).filter(|job| job.state == EntryState::Published);
    let published = job.and_then(|job| Some((job.folder.as_ref()?, job.release_digest.as_ref()?)));
    let Some((folder, digest)) = published else {
        return Err(unusable("it is not published in the job's ledger"));
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
