//! What the ledger says of a release.

use std::path::Path;

use super::Outcome;
use super::manifest::Manifest;
use crate::error::{ErrorClass, Result};
use crate::ledger::{EntryState, Report};

/// Is the release the published one of its job, at its price, in a ledger that holds together?
///
/// # Errors
/// Environment: the ledger cannot be read.
pub(super) fn check(folder: &Path, manifest: &Manifest, ledger: Option<&Path>) -> Result<Outcome> {
    let Some(path) = ledger else {
        let why = "without --ledger nothing shows that this manifest is the one released";
        return Ok(Outcome::NotDone(why.to_owned()));
    };
    let report = match Report::verify(path) {
        Ok(report) => report,
        Err(error) if error.class() == ErrorClass::Refused => {
            let faults = error.findings().iter().map(|finding| finding.message().to_owned());
            return Ok(Outcome::Failed(faults.collect()));
        }
        Err(error) => return Err(error),
    };
    let id = &manifest.job.id;
    let Some(job) = report.job(id) else {
        return Ok(Outcome::Failed(vec![format!(
            "the ledger `{}` has no job `{id}`, so nothing was charged for it there",
            path.display()
        )]));
    };
    let mut faults = Vec::new();
    if job.state != EntryState::Published {
        faults.push(format!("job `{id}` is {} and not published", job.state.name()));
    }
    let delta = (manifest.parameters.threshold_delta * 1e18).round() as u64;
    let charged = job.loss.mu_squared.units().to_string();
    let terms = &report.terms;
    let unit = &manifest.privacy_unit;
    let user = unit.same_user_as.as_ref().unwrap_or(&unit.user);
    let composed = unit.composed.as_ref();
    let (periods, all_periods) = composed
        .map_or((1, &manifest.parameters.mu_squared_units), |c| (c.periods, &c.mu_squared_units));
    for (what, kept, claimed) in [
        ("recipient", &job.recipient, &manifest.job.recipient),
        ("job digest", &job.digest, &manifest.job.digest),
        ("population", &terms.population, &manifest.job.population),
        ("privacy unit", &terms.unit, &unit.unit),
        ("user", &job.user, user),
        ("mu^2 in units", &charged, &manifest.parameters.mu_squared_units),
        ("periods of a user", &job.all_units.periods.to_string(), &periods.to_string()),
        ("mu^2 of all of them", &job.all_units.mu_squared.units().to_string(), all_periods),
        (
            "delta of thresholds in units",
            &job.loss.threshold_delta.units().to_string(),
            &delta.to_string(),
        ),
    ] {
        if kept != claimed {
            faults.push(format!("{what}: {kept} in the ledger, {claimed} in the manifest"));
        }
    }
    let keys_from = manifest.key_sets.iter().flat_map(|set| &set.keys_from);
    for from in keys_from.chain(&manifest.bounds_from) {
        let earlier = report.job(&from.job).filter(|earlier| earlier.reserved_by < job.reserved_by);
        let digest = earlier.and_then(|earlier| earlier.release_digest.as_ref());
        if digest != Some(&from.manifest_sha256) {
            faults.push(format!("no job `{}` released what it is named for", from.job));
        }
    }
    if let Some(digest) = &job.release_digest
        && *digest != manifest.digest
    {
        faults.push("the manifest is not the one that was released: other digest".to_owned());
    }
    if !faults.is_empty() {
        return Ok(Outcome::Failed(faults));
    }
    let here = folder.canonicalize().ok();
    let place = match &job.folder {
        Some(folder) if here.as_ref() == Some(folder) => "",
        _ => ", then in another folder",
    };
    Ok(Outcome::Held(format!("published at this price with this manifest{place}; chain whole")))
}
