//! What a release has asked of the users' norms, and of which bounds it says that nobody knows what
//! they take.

use std::collections::BTreeSet;

use super::manifest::{Event, Manifest};

/// Statistics of which a user has at most 1 in each number of each cell, so that no norm is above
/// what cells allow.
const OF_USERS: [&str; 7] = [
    "customers",
    "visit_classes",
    "recency_histogram",
    "new_returning",
    "retention_cohort",
    "diffusion",
    "diffusion_year",
];

/// Surveys are of the statistics that charge more than their price, once each, and count users
/// of norms in 64 bins, or a sum to which one user adds at most 8, or tickets in 64 bins a
/// group, of each user within a norm of 1.
pub(super) fn manifest_faults(manifest: &Manifest) -> Vec<String> {
    let mut faults = unknown_faults(manifest);
    faults.extend(grid_fault(manifest));
    faults.extend(manifest.mechanisms.iter().filter_map(|event| scale_fault(manifest, event)));
    let surveys = || manifest.surveys.iter().map(|s| (s.file.as_str(), s.statistic.as_str()));
    let charged = manifest.mechanisms.iter().filter(|event| event.charged_units.is_some());
    let charged: BTreeSet<(&str, &str)> =
        charged.map(|event| (event.file.as_str(), event.statistic.as_str())).collect();
    let known: BTreeSet<(&str, &str)> = surveys().collect();
    if known.len() < manifest.surveys.len() {
        faults.push("a statistic has two surveys".to_owned());
    }
    for (file, statistic) in charged.difference(&known) {
        faults.push(format!("`{statistic}` of `{file}` has no survey for its bound"));
    }
    for (file, statistic) in surveys() {
        if manifest.event(file, statistic).is_none() {
            faults.push(format!("`{statistic}` of `{file}` has a survey, but no mechanism"));
        }
    }
    for survey in &manifest.surveys {
        let what = format!("the survey of `{}` of `{}`", survey.statistic, survey.file);
        let mut counts: Vec<&str> = survey.mechanisms.iter().map(|m| &*m.counts).collect();
        counts.sort_unstable();
        counts.dedup();
        if counts.len() < survey.mechanisms.len() {
            faults.push(format!("{what} counts something twice"));
        }
        for event in &survey.mechanisms {
            let (most, values) = match event.counts.as_str() {
                "norms" => (1, 64),
                "spread" => (8, 1),
                // A whole number of groups.
                "tickets" => (1, event.values.len().max(1).next_multiple_of(64)),
                other => {
                    faults.push(format!("{what} counts `{other}`"));
                    continue;
                }
            };
            if event.sensitivity != event.grid_units_per_unit.saturating_mul(most) {
                faults.push(format!("{what}: a user moves `{}` by {most}", event.counts));
            }
            if event.values.len() != values {
                faults.push(format!("{what}: `{}` has no {values} values", event.counts));
            }
        }
    }
    faults
}

/// Grids have a whole power of two of units each: any value is on a grid of none, and any noise is
/// infinite there.
fn grid_fault(manifest: &Manifest) -> Option<String> {
    let surveys = manifest.surveys.iter().flat_map(|survey| &survey.mechanisms);
    let rounds = manifest.discoveries.iter().flat_map(|discovery| &discovery.rounds);
    let all = manifest.mechanisms.iter().map(|event| event.grid_units_per_unit);
    let all = all.chain(surveys.map(|event| event.grid_units_per_unit));
    let all = all.chain(rounds.map(|round| round.grid_units_per_unit));
    let odd = { all }.find(|grid| !grid.is_power_of_two());
    odd.map(|grid| format!("a mechanism has {grid} grid units a unit, which is no power of two"))
}

/// Statistics of one number a cell, whose cells may have scales.
const SCALED: [&str; 6] = ["customers", "gross", "payments", "refunds", "sales", "visits"];

/// Why the cells of a statistic cannot have the scales that are said of them: scales follow from
/// values of earlier releases, at levels of public cells of merchants and times, and the bound from
/// a survey of numbers at these scales, which has a spread.
fn scale_fault(manifest: &Manifest, event: &Event) -> Option<String> {
    let octaves = event.octaves_max?;
    let set = manifest.key_set(&event.file);
    let is_public = set.is_some_and(|set| {
        set.selection == "public" && set.homes.is_empty() && set.pairs.is_none()
    });
    let mut surveys = manifest.surveys.iter();
    let asked = surveys.any(|survey| {
        (&survey.file, &survey.statistic) == (&event.file, &event.statistic)
            && survey.mechanisms.iter().any(|m| m.counts == "spread")
    });
    let fits = (1..=8).contains(&octaves)
        && SCALED.contains(&event.statistic.as_str())
        && is_public
        && asked
        && !manifest.estimates_from.is_empty();
    let what = format!("`{}` of `{}`", event.statistic, event.file);
    (!fits).then(|| format!("{what} cannot have cells whose noise differs by {octaves} octaves"))
}

/// What a bound takes is unknown if neither a survey of this release nor one of an earlier release
/// tells it. Of numbers of users a bound may be so large that it takes nothing; how many public
/// cells there are the manifest does not say.
fn unknown_faults(manifest: &Manifest) -> Vec<String> {
    let asked = manifest.surveys.iter().map(|survey| (&survey.file, &survey.statistic));
    let earlier = manifest.bounds_from.iter().map(|bound| (&bound.file, &bound.statistic));
    let told: BTreeSet<(&String, &String)> = asked.chain(earlier).collect();
    let fault = |event: &Event| {
        let told = told.contains(&(&event.file, &event.statistic));
        let what = format!("what the bound of `{}` of `{}` takes", event.statistic, event.file);
        if told && event.takes_unknown {
            return Some(format!("{what} is said to be unknown, but there is a survey of it"));
        }
        let of_users = OF_USERS.contains(&event.statistic.as_str());
        (!told && !event.takes_unknown && !of_users)
            .then(|| format!("{what} is not said to be unknown, but there is no survey of it"))
    };
    manifest.mechanisms.iter().filter_map(fault).collect()
}
