//! The release that a job takes the place of, as payments came in late or were corrected
//! (`revises`).

use super::earlier::{NOT_PUBLISHED, published};
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
) -> Result<(String, String), Finding> {
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
    let others = ledger.jobs.iter().filter(|other| other.id != job.id);
    let newer = others.filter_map(|other| {
        let known = standing(other.folder.as_ref()?, other.release_digest.as_ref()?)?;
        (known.revises.as_deref() == Some(&*revises.job)).then_some(&other.id)
    });
    if let Some(newer) = newer.last() {
        return Err(unusable(&format!("job `{newer}` has revised it since")));
    }
    Ok((revises.job.clone(), digest.clone()))
}
