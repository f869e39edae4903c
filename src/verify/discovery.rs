//! Rounds that found keys: their price, and whether a user's own cells could have passed.

use std::collections::BTreeSet;

use super::manifest::{Discovery, Manifest, Round};
use super::price::{delta_units, upper_tail};

/// More cells of a user never count.
const CELLS_MAX: u32 = 1_000_000;

/// Up to so many cells of a user each number is tried.
const TRIED: u32 = 4096;

/// Counts have at least so many grid units.
const GRID_MIN: u64 = 1 << 16;

/// Tables have rounds if and only if their keys are discovered.
pub(super) fn manifest_faults(manifest: &Manifest) -> Vec<String> {
    let named: BTreeSet<&str> = manifest.discoveries.iter().map(|d| d.file.as_str()).collect();
    let mut faults = Vec::new();
    if named.len() < manifest.discoveries.len() {
        faults.push("a table has two lists of rounds that find its keys".to_owned());
    }
    // Tables that show the same values find their keys once.
    let sets = manifest.key_sets.iter().filter(|set| set.values_of.is_none());
    let discovered: BTreeSet<&str> =
        sets.filter(|set| set.selection == "discovered").map(|set| set.file.as_str()).collect();
    for file in discovered.difference(&named) {
        faults.push(format!("`{file}` has keys that are discovered, but no rounds"));
    }
    for file in named.difference(&discovered) {
        faults.push(format!("`{file}` has rounds, but its keys are not discovered"));
    }
    faults.extend(manifest.discoveries.iter().flat_map(round_faults));
    faults
}

fn round_faults(discovery: &Discovery) -> Vec<String> {
    let mut faults = Vec::new();
    if !(1..=CELLS_MAX).contains(&discovery.cells_max) {
        let most = discovery.cells_max;
        faults.push(format!("in rounds of `{}` {most} cells of a user count", discovery.file));
    }
    if discovery.rounds.is_empty() {
        faults.push(format!("`{}` has no round that could find keys", discovery.file));
    }
    for (round, what) in named(discovery) {
        let grid = round.grid_units_per_unit;
        if round.sensitivity != grid || !grid.is_power_of_two() || grid < GRID_MIN {
            faults.push(format!("{what}: a user has a norm of 1"));
        }
    }
    faults
}

fn named(discovery: &Discovery) -> impl Iterator<Item = (&Round, String)> {
    let file = &discovery.file;
    let rounds = discovery.rounds.iter().zip(1..);
    rounds.map(move |(round, number)| (round, format!("round {number} of `{file}`")))
}

/// All rounds of a release.
pub(super) fn rounds(manifest: &Manifest) -> impl Iterator<Item = (&Round, String)> {
    manifest.discoveries.iter().flat_map(named)
}

/// The same, each with the table whose keys it found.
pub(super) fn rounds_of_tables(manifest: &Manifest) -> impl Iterator<Item = (&str, &Round)> {
    manifest.discoveries.iter().flat_map(|d| d.rounds.iter().map(|round| (d.file.as_str(), round)))
}

/// The thresholds' δ of all rounds, each in units; `None` for one that is no number.
pub(super) fn deltas(manifest: &Manifest) -> impl Iterator<Item = Option<u64>> {
    rounds(manifest)
        .map(|(round, _)| delta_units(&round.threshold_delta_units, round.threshold_delta))
}

/// Rounds in which a user's own cells are found with more than δ: with k of them each has at most
/// 1/√k of the user, and rounding at random moves it by 64 at most.
pub(super) fn threshold_faults(manifest: &Manifest, slack: f64) -> Vec<String> {
    let fault = |(discovery, (round, what)): (&Discovery, (&Round, String))| {
        let one = round.grid_units_per_unit as f64;
        let of = |weight: u32, cells: u32| {
            let above = round.threshold as f64 - one / f64::from(weight).sqrt() - 64.0;
            f64::from(cells) * upper_tail(above / round.sigma as f64)
        };
        // Of more cells each has no more than that many have.
        let few = discovery.cells_max.min(TRIED);
        let all = (1..=few).map(|cells| of(cells, cells)).chain([of(few, discovery.cells_max)]);
        let delta = round.threshold_delta;
        // What is no number is no less.
        let shown = { all }.fold(0.0, |most: f64, p| if p <= most { most } else { p });
        let fits = shown <= delta * (1.0 + slack);
        (!fits).then(|| {
            format!("{what}: its threshold lets {shown:.3e} through, more than {delta:.3e}")
        })
    };
    // Others are faults of the manifest.
    let sane = manifest.discoveries.iter().filter(|d| (1..=CELLS_MAX).contains(&d.cells_max));
    let all = sane.flat_map(|d| named(d).map(move |round| (d, round)));
    all.filter_map(fault).collect()
}

/// A table whose keys are discovered has a row for each cell that was found, and for those that
/// earlier releases have shown; but where dominance hides cells.
pub(super) fn row_fault(manifest: &Manifest, name: &str, rows: u64) -> Option<String> {
    let source = manifest.source(name);
    let discovery = manifest.discoveries.iter().find(|discovery| discovery.file == source)?;
    let dominance = manifest.merchant_protection.as_ref().and_then(|m| m.dominance.as_ref());
    if dominance.is_some() {
        return None;
    }
    let each = discovery.rounds.iter().map(|round| round.found);
    let Some(found) = { each }.try_fold(0u64, |sum, found| sum.checked_add(found?)) else {
        return Some("it is not said how many cells rounds have found".to_owned());
    };
    let kept = manifest.key_set(name).is_some_and(|set| !set.keys_from.is_empty());
    let fits = rows == found || kept && rows > found;
    (!fits).then(|| format!("it has {rows} rows, but rounds have found {found} cells"))
}
