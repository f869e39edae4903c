//! Is a release what it claims to be? Checked from the outside, with arithmetic of its own: it
//! uses neither the plan nor the code that made the release.
//!
//! Needs no payments and no job file. `docs/verify.md` says what each check shows and what none
//! can show.

mod account;
mod budget;
mod classes;
mod compared;
mod composed;
mod discovery;
mod files;
mod grown;
mod lattice;
mod manifest;
mod merchants;
mod pairs;
mod parts;
mod peers;
mod price;
mod ratios;
mod score;
mod shared;
mod surveys;
mod table;

use std::path::Path;

use crate::error::{Error, Result};
use crate::findings::{self, counted};
use manifest::{Manifest, PAGE};

/// What became of the checks of one release.
#[derive(Clone, Debug)]
pub struct Verification {
    /// The job's id and its recipient, as the manifest has them; empty if it cannot be read.
    pub job: String,
    /// In the order of `docs/verify.md`.
    pub checks: Vec<Check>,
}

/// One check.
#[derive(Clone, Debug)]
pub struct Check {
    /// A word for it, as in `docs/verify.md`.
    pub name: &'static str,
    /// What came out.
    pub outcome: Outcome,
}

/// What came out of a check.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It held; says how much was looked at.
    Held(String),
    /// It did not; one sentence for each fault.
    Failed(Vec<String>),
    /// It could not be done; says why.
    NotDone(String),
}

impl Verification {
    /// Did no check fail?
    pub fn held(&self) -> bool {
        !self.checks.iter().any(|check| matches!(check.outcome, Outcome::Failed(_)))
    }
}

/// Checks the release in `folder`, and what the `ledger` says of it.
///
/// # Errors
/// Invalid: the folder or the ledger is not there. Environment: the ledger cannot be read. A broken
/// one is a failed check.
pub fn verify(folder: &Path, ledger: Option<&Path>) -> Result<Verification> {
    if !folder.is_dir() {
        return Err(Error::invalid(findings::release_not_there(folder)));
    }
    let mut checks = Vec::new();
    let manifest = match Manifest::read(&folder.join("manifest.json")) {
        Ok(manifest) => manifest,
        Err(why) => {
            checks.push(Check { name: "manifest", outcome: Outcome::Failed(vec![why]) });
            return Ok(Verification { job: String::new(), checks });
        }
    };
    checks.push(check("manifest", manifest.faults(), || {
        let tables = tables_of(&manifest).len();
        format!("version 1; {} with keys and mechanisms", counted(tables, "table"))
    }));
    let (sound, faults) = files::compare(folder, &manifest);
    checks.push(check("files", faults, || {
        let files = counted(sound.len(), "file");
        format!("{files} with the digests of the manifest, and nothing else")
    }));
    checks.push(check("price", price::price_faults(&manifest), || {
        let surveys = manifest.surveys.iter().map(|survey| survey.mechanisms.len());
        let first = surveys.sum::<usize>() + discovery::rounds(&manifest).count();
        let count = manifest.mechanisms.len() + first;
        format!("mu^2 of {} and their sum", counted(count, "mechanism"))
    }));
    let mut faults = price::guarantee_faults(&manifest);
    faults.extend(composed::faults(&manifest));
    faults.extend(budget::faults(&manifest));
    checks.push(check("guarantee", faults, || {
        let parameters = &manifest.parameters;
        format!("epsilon {} and delta {:e} hold", parameters.epsilon, parameters.delta)
    }));
    checks.extend(tables(folder, &manifest, &sound));
    checks.push(Check { name: "ledger", outcome: account::check(folder, &manifest, ledger)? });
    let job = format!("{} for {}", manifest.job.id, manifest.job.recipient);
    Ok(Verification { job, checks })
}

/// The checks of what the tables hold; only tables whose digest is right are opened.
fn tables(folder: &Path, manifest: &Manifest, sound: &[String]) -> Vec<Check> {
    let (mut schema, mut footer, mut lattice) = (Vec::new(), Vec::new(), Vec::new());
    let mut seen = lattice::Seen::default();
    let (mut count, mut files) = (0, 0);
    for (name, parts) in tables_of(manifest) {
        let (mut all, mut whole) = (Vec::new(), true);
        for file in &parts {
            if !sound.iter().any(|sound| sound == file) {
                whole = false;
                continue;
            }
            files += 1;
            let key = manifest.key_set(name).and_then(|set| parts::key_of(file, set).ok()?);
            match table::Table::open(&folder.join(file), key) {
                Err(why) => schema.push(format!("`{file}` cannot be read: {why}")),
                Ok(table) => {
                    footer.extend(table::footer_faults(file, &table, manifest));
                    let faults = table::schema_faults((name, file), &table, manifest);
                    if faults.is_empty() {
                        all.push(table);
                    }
                    schema.extend(faults);
                }
            }
        }
        count += usize::from(!all.is_empty());
        // Cells look at cells in other files of their table.
        if whole && all.len() == parts.len() {
            lattice.extend(lattice::faults(name, all, manifest, &mut seen));
        }
    }
    lattice.extend(seen.pairs.faults(manifest));
    if files == 0 {
        let why = "no table has the digest of the manifest";
        let not_done = |name| Check { name, outcome: Outcome::NotDone(why.to_owned()) };
        return ["schema", "footer", "lattice"].map(not_done).into();
    }
    vec![
        check("schema", schema, || format!("columns and types of {}", counted(count, "table"))),
        check("footer", footer, || {
            format!("{} with what the manifest says", counted(files, "footer"))
        }),
        check("lattice", lattice, || seen.to_string()),
    ]
}

/// The tables with their files, in the order of the manifest.
fn tables_of(manifest: &Manifest) -> Vec<(&str, Vec<&str>)> {
    let mut tables: Vec<(&str, Vec<&str>)> = Vec::new();
    for file in manifest.files.iter().map(|file| file.name.as_str()).filter(|name| *name != PAGE) {
        let table = parts::table_of(file);
        match tables.iter_mut().find(|(name, _)| *name == table) {
            Some((_, files)) => files.push(file),
            None => tables.push((table, vec![file])),
        }
    }
    tables
}

fn check(name: &'static str, faults: Vec<String>, held: impl FnOnce() -> String) -> Check {
    let outcome = if faults.is_empty() { Outcome::Held(held()) } else { Outcome::Failed(faults) };
    Check { name, outcome }
}
