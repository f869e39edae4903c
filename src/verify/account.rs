//! What the ledger says of a release.

use std::path::Path;

use super::manifest::Manifest;
use super::{Outcome, grown};
use crate::error::{ErrorClass, Result};
use crate::ledger::{EntryState, JobEntry, Report, Terms};

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
    let mut faults = differences(job, &report.terms, manifest);
    let budget = manifest.budget.iter();
    faults.extend(budget.flat_map(|budget| super::budget::differences(budget, &report)));
    if job.state != EntryState::Published {
        faults.push(format!("job `{id}` is {} and not published", job.state.name()));
    }
    let keys_from = manifest.key_sets.iter().flat_map(|set| &set.keys_from);
    let bounds_from = manifest.bounds_from.iter().map(|bound| &bound.from);
    let estimates_from = manifest.estimates_from.iter().map(|estimates| &estimates.from);
    let named = keys_from.chain(bounds_from).chain(estimates_from);
    for from in named.chain(&manifest.job.revises) {
        let before = |by: i64| by < job.reserved_by;
        let earlier = report.job(&from.job).filter(|j| j.published_by.is_some_and(before));
        let digest = earlier.and_then(|earlier| earlier.release_digest.as_ref());
        if digest != Some(&from.manifest_sha256) {
            let what = "had not published what it is named for when this one was reserved";
            faults.push(format!("job `{}` {what}", from.job));
        }
    }
    if let Some(digest) = &job.release_digest
        && *digest != manifest.digest
    {
        faults.push("the manifest is not the one that was released: other digest".to_owned());
    }
    let (growths, wrong) = grown::check(folder, manifest, &report);
    faults.extend(wrong);
    if !faults.is_empty() {
        return Ok(Outcome::Failed(faults));
    }
    let here = folder.canonicalize().ok();
    let place = match &job.folder {
        Some(folder) if here.as_ref() == Some(folder) => "",
        _ => ", then in another folder",
    };
    let growths = match growths {
        0 => String::new(),
        count => format!("; growth of {count} cells is that of two releases"),
    };
    Ok(Outcome::Held(format!(
        "published at this price with this manifest{place}; chain whole{growths}"
    )))
}

/// What the manifest and the ledger say otherwise of the job.
fn differences(job: &JobEntry, terms: &Terms, manifest: &Manifest) -> Vec<String> {
    let unit = &manifest.privacy_unit;
    let user = unit.same_user_as.as_ref().unwrap_or(&unit.user);
    let none = "none".to_owned();
    let time = unit.same_time_as.as_ref().or(unit.time.as_ref()).unwrap_or(&none);
    let [of_one, thresholds, periods, of_all] = [
        job.loss.mu_squared.units().to_string(),
        job.loss.threshold_delta.units().to_string(),
        job.all_units.periods.to_string(),
        job.all_units.mu_squared.units().to_string(),
    ];
    let claimed = &manifest.parameters;
    let mut pairs = vec![
        ("recipient", &job.recipient, &manifest.job.recipient),
        ("job digest", &job.digest, &manifest.job.digest),
        ("population", &terms.population, &manifest.job.population),
        ("privacy unit", &terms.unit, &unit.unit),
        ("user", &job.user, user),
        ("time", job.time.as_ref().unwrap_or(&none), time),
        ("mu^2 in units", &of_one, &claimed.mu_squared_units),
        ("delta of thresholds in units", &thresholds, &claimed.threshold_delta_units),
    ];
    let (claimed_periods, claimed_of_all) = match &unit.composed {
        Some(all) => (all.periods.to_string(), &all.mu_squared_units),
        None => ("1".to_owned(), &claimed.mu_squared_units),
    };
    // Where δ times the periods is no δ any more, the manifest says nothing of all of them.
    if unit.composed.is_some() || unit.unit == "user" {
        pairs.push(("periods of a user", &periods, &claimed_periods));
        pairs.push(("mu^2 of all of them", &of_all, claimed_of_all));
    }
    let differs = pairs.into_iter().filter(|(_, kept, claimed)| kept != claimed);
    let fault =
        |(what, kept, claimed)| format!("{what}: {kept} in the ledger, {claimed} in the manifest");
    differs.map(fault).collect()
}
