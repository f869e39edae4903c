//! A release from the outside: what `verify` checks, and what overlaps with earlier releases.

use std::path::Path;

use serde_json::Value;

use super::row::{Row, Verdict};
use crate::error::Result;
use crate::findings;
use crate::ledger::{EntryState, Report};
use crate::verify::{Check, Outcome, verify};

/// What each check of `verify` claims.
const CLAIMS: [(&str, &str); 8] = [
    ("manifest", "each table has its keys and mechanisms, and nothing is left unprotected"),
    ("files", "the files are those of the manifest, and nothing else is there"),
    ("price", "the price of each mechanism and their sum are right"),
    ("guarantee", "epsilon and delta hold at that price, and thresholds are high enough"),
    ("schema", "every figure of every table is covered by a mechanism"),
    ("footer", "footers say what the manifest says"),
    ("lattice", "noised values lie on their grid, estimates in their intervals, rows in order"),
    ("ledger", "the chain is whole and holds this release at this price"),
];

/// Checks by name that are not held against a release whose noise is known.
const MARKED: [&str; 2] = ["manifest", "footer"];

/// All checks of a release that stands in a folder.
pub(super) fn rows(folder: &Path, ledger: Option<&Path>) -> Result<Vec<Row>> {
    let checks = verify(folder, ledger)?.checks;
    let mut rows: Vec<Row> = checks.iter().map(row).collect();
    rows.push(overlap(folder, ledger));
    Ok(rows)
}

/// The same for the files of a replay, which are marked as not private; of these, not the checks
/// that find just that.
pub(super) fn replay_rows(folder: &Path) -> Result<Vec<Row>> {
    let checks = verify(folder, None)?.checks;
    let wanted = |check: &&Check| !MARKED.contains(&check.name) && check.name != "ledger";
    Ok(checks.iter().filter(wanted).map(row).collect())
}

fn row(check: &Check) -> Row {
    let claim = CLAIMS.iter().find(|(name, _)| *name == check.name).map_or("", |(_, claim)| claim);
    let (verdict, figure) = match &check.outcome {
        Outcome::Held(text) => (Verdict::NotRefuted, text.clone()),
        Outcome::Failed(faults) => (Verdict::Refuted, faults.join("; ")),
        Outcome::NotDone(why) => (Verdict::NotApplicable, why.clone()),
    };
    Row {
        check: "static",
        what: claim.to_owned(),
        method: format!("check `{}` of verify, whose arithmetic is its own", check.name),
        verdict,
        figure,
        confidence: 1.0,
        reference: "docs/verify.md",
    }
}

/// Tables of earlier releases of the same population whose days and keys are those of this one:
/// their noise can be averaged, and the ledger's sum must hold for all of them.
fn overlap(folder: &Path, ledger: Option<&Path>) -> Row {
    let what = "releases of the same population that overlap are paid for together";
    let open = |why: &str| Row::open("static", what, why, "docs/ledger.md");
    let Some(path) = ledger else { return open("give --ledger") };
    // Why it cannot be read says the row of the ledger.
    let Ok(report) = Report::read(path) else { return open("the ledger cannot be read") };
    let Some(own) = manifest(folder) else { return open("the manifest cannot be read") };
    let published = report.jobs.iter().filter(|job| job.state == EntryState::Published);
    let others = published.filter(|job| Some(&*job.id) != own["job"]["id"].as_str());
    let (mut jobs, mut tables, mut gone) = (0, 0, 0);
    for job in others {
        let Some(other) = job.folder.as_deref().and_then(manifest) else {
            gone += 1;
            continue;
        };
        let same = overlapping(&own, &other);
        jobs += usize::from(same > 0);
        tables += same;
    }
    let counted = report.total.tally.counted();
    let fits = report.total.budget.is_none_or(|budget| {
        budget.mu_squared >= counted.mu_squared && budget.threshold_delta >= counted.threshold_delta
    });
    let faults = if fits { vec![] } else { vec!["the ledger's jobs exceed its budget".to_owned()] };
    let gone = match gone {
        0 => String::new(),
        1 => "; 1 release is gone".to_owned(),
        _ => format!("; {gone} releases are gone"),
    };
    Row::exact(
        "static",
        what,
        "days and keys of each table against those of other releases; the ledger's sum over all jobs",
        &faults,
        format!(
            "{} of {} overlap, all within one budget{gone}",
            findings::counted(tables, "table"),
            findings::counted(jobs, "other release")
        ),
        "docs/privacy.md, Theorem 2",
    )
}

fn manifest(folder: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(folder.join("manifest.json")).ok()?).ok()
}

/// How many tables have the same keys, over days that overlap.
fn overlapping(own: &Value, other: &Value) -> usize {
    let day = |of: &Value, name: &str| of["job"][name].as_str().unwrap_or_default().to_owned();
    let apart = day(own, "last_day") < day(other, "first_day")
        || day(other, "last_day") < day(own, "first_day");
    let keys = |of: &Value| -> Vec<Vec<String>> {
        let set = |set: &Value| {
            let keys = set["keys"].as_array().into_iter().flatten();
            let mut keys: Vec<String> =
                keys.filter_map(|k| k.as_str().map(str::to_owned)).collect();
            keys.sort_unstable();
            keys
        };
        of["key_sets"].as_array().into_iter().flatten().map(set).collect()
    };
    let theirs = keys(other);
    if apart { 0 } else { keys(own).iter().filter(|keys| theirs.contains(keys)).count() }
}
