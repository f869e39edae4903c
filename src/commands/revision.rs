//! The release that a job takes the place of, as payments came in late or were corrected
//! (`revises`).

use super::earlier::{NOT_PUBLISHED, goes_on, published, reserved_by};
use crate::error::{Error, Result};
use crate::findings::{self, Finding};
use crate::job::{EarlierJob, Job};
use crate::ledger::Report;
use crate::plan::Plan;
use crate::release::standing;

/// The job that is revised with the digest of its release's manifest: it is published in the same
/// ledger for the same recipient, is about the same people and days, and nobody has revised it
/// before.
pub(super) fn revised(
    job: &Job,
    revises: &EarlierJob,
    ledger: &Report,
) -> std::result::Result<(String, String), Finding> {
    let unusable = |why: &str| findings::revises_unusable(&revises.job, why);
    if revises.job == job.id {
        return Err(unusable("it is this job: give this one an id of its own"));
    }
    let (folder, digest) = published(revises, ledger).ok_or_else(|| unusable(NOT_PUBLISHED))?;
    let moved = "its release is not where it was published, or not what it was";
    let earlier = standing(folder, digest).ok_or_else(|| unusable(moved))?;
    let recipient = ledger.job(&revises.job).map_or("", |entry| &entry.recipient);
    let period = job.payments.period;
    let days = (period.first().to_string(), period.last().to_string());
    let zone = job.payments.zone.name();
    let differs = [
        ("recipient", recipient, &*job.recipient),
        ("population", &*earlier.population, &*job.ledger.population),
        ("first day", &*earlier.days.0, &*days.0),
        ("last day", &*earlier.days.1, &*days.1),
        ("time zone", &*earlier.timezone, zone),
    ];
    if let Some((what, theirs, ours)) = differs.into_iter().find(|(_, theirs, ours)| theirs != ours)
    {
        return Err(unusable(&format!("its {what} is {theirs}, not {ours}")));
    }
    // A chain of revisions has no branches, so that everybody finds the newest.
    let since = ledger.job(&revises.job).and_then(|entry| entry.published_by);
    let mut unknown = None;
    for other in ledger.jobs.iter().filter(|other| other.published_by > since) {
        let (Some(folder), Some(digest)) = (&other.folder, &other.release_digest) else { continue };
        match standing(folder, digest) {
            _ if other.id == job.id || other.recipient != job.recipient => {}
            Some(known) if known.revises.as_deref() == Some(&*revises.job) => {
                return Err(unusable(&format!("job `{}` has revised it since", other.id)));
            }
            Some(_) => {}
            None => unknown = Some(findings::revises_unknown(&revises.job, &other.id, folder)),
        }
    }
    unknown.map_or(Ok((revises.job.clone(), digest.clone())), Err)
}

/// Sees to it that a job is the only one to revise what it revises: asked before it is reserved, so
/// that it waits at no entry, and when it is. Of two that are run at once, the one that was
/// reserved later finds the other under way, or published.
///
/// # Errors
/// Refused: a run that may revise the same goes on. Invalid: the release cannot be revised, or not
/// any more. Refused or environment: the ledger is broken or cannot be read.
pub(super) fn revises_alone(plan: &Plan) -> Result<()> {
    let Some(revises) = &plan.job.revises else { return Ok(()) };
    loop {
        let ledger = Report::read(&plan.job.ledger.file)?;
        let own = reserved_by(&plan.job, &ledger);
        // The ledger does not say what a job revises before its release is there.
        if let Some(other) = ledger.jobs.iter().find(|other| goes_on(&plan.job, other, own)) {
            let finding = findings::revision_under_way(&other.id);
            return Err(Error::refused(finding.at(revises.span.clone())));
        }
        // One that did not go on any more may have published in between.
        if Report::read(&plan.job.ledger.file)?.head() == ledger.head() {
            let found = revised(&plan.job, revises, &ledger);
            return found.map(drop).map_err(|f| Error::invalid(f.at(revises.span.clone())));
        }
    }
}
