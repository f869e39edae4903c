//! The release that a job takes the place of, as payments came in late or were corrected
//! (`revises`).

use std::collections::BTreeSet;

use super::earlier::{NOT_PUBLISHED, not_under_way, published, reserved_by};
use crate::error::{Error, Result as Outcome};
use crate::findings::{self, Finding};
use crate::job::{EarlierJob, Job};
use crate::ledger::Report;
use crate::release::standing;

/// The job that is revised with the digest of its release's manifest: it is published in the same
/// ledger for the same recipient, is about the same people and days, and nobody has revised it
/// before.
pub(super) fn revised(
    job: &Job,
    revises: &EarlierJob,
    ledger: &Report,
    remarks: &mut BTreeSet<String>,
) -> Result<(String, String), Finding> {
    let unusable = |why: &str| findings::revises_unusable(&revises.job, why);
    if revises.job == job.id {
        return Err(unusable("it is this job: give this one an id of its own"));
    }
    let (folder, digest) = published(revises, ledger).ok_or_else(|| unusable(NOT_PUBLISHED))?;
    let moved = "its release is not where it was published, or not what it was";
    let earlier = standing(folder, digest).ok_or_else(|| unusable(moved))?;
    let entry = ledger.job(&revises.job);
    let recipient = entry.map_or("", |entry| &entry.recipient);
    let published_by = entry.and_then(|entry| entry.published_by).unwrap_or_default();
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
    let (mut newer, mut gone) = (None, None);
    for other in ledger.jobs.iter().filter(|other| other.id != job.id) {
        not_under_way(job, other, reserved_by(job, ledger), findings::revision_under_way)?;
        let Some((folder, digest)) = other.folder.as_ref().zip(other.release_digest.as_ref())
        else {
            continue;
        };
        match standing(folder, digest) {
            Some(known) if known.revises.as_deref() == Some(&*revises.job) => {
                newer = Some(&other.id);
            }
            Some(_) => {}
            None if other.recipient == job.recipient && other.reserved_by > published_by => {
                gone = Some(&other.id);
            }
            None => {}
        }
    }
    if let Some(newer) = newer {
        return Err(unusable(&format!("job `{newer}` has revised it since")));
    }
    remarks.extend(gone.map(|gone| {
        format!(
            "whether job `{gone}` has revised job `{}` cannot be known, as its release is not where the ledger says",
            revises.job
        )
    }));
    Ok((revises.job.clone(), digest.clone()))
}

/// The same when the job is reserved: of two that were begun at once, the one that came later finds
/// the other one under way or published.
///
/// # Errors
/// Refused: another job revises the same release, or may.
pub(super) fn still_newest(job: &Job, ledger: &Report) -> Outcome<()> {
    let Some(revises) = &job.revises else { return Ok(()) };
    let newest = revised(job, revises, ledger, &mut BTreeSet::new());
    newest.map(drop).map_err(|finding| Error::refused(finding.at(revises.span.clone())))
}
