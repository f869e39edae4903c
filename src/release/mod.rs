//! The release: the only place that writes what leaves the building.

mod earlier;
mod folder;
mod manifest;
mod merchants;
mod status;
mod tables;
mod values;

pub use earlier::{released_surveys, shown_keys};
pub use folder::{Draft, is_complete, is_of_job, publishable};
use folder::{digest_of, digest_of_file};
use manifest::Manifest;
pub use manifest::Parameters;

pub use status::{Standing, standing};
pub use values::released_values;

use std::io::Write;
use std::path::Path;

use crate::error::{Error, Result};
use crate::estimate::{Estimates, KnownEstimates};
use crate::findings;
use crate::plan::{Composed, Plan};

/// Writes the tables and the manifest into a draft; nothing is visible at the release's folder
/// until [`Draft::publish`]. Estimates that are not private are marked so in every file.
/// `in_ledger` is what the ledger's jobs come to for all payments of a user, where units are within
/// periods.
///
/// # Errors
/// The disk is full or not writable.
pub fn write(
    plan: &Plan,
    estimates: &Estimates,
    in_ledger: Option<Composed>,
    draft: &Draft,
) -> Result<()> {
    write_files(plan, estimates, in_ledger, |name, content| {
        draft.write(name, |file| content(file))?;
        digest_of_file(&draft.path(name))
    })
}

/// What writes one file.
type Content<'a> = &'a dyn Fn(&mut (dyn Write + Send)) -> std::io::Result<()>;

/// Has `put` write each file and give its digest; the manifest comes last.
fn write_files(
    plan: &Plan,
    estimates: &Estimates,
    in_ledger: Option<Composed>,
    mut put: impl FnMut(&str, Content) -> Result<String>,
) -> Result<()> {
    let mut manifest = Manifest::new(plan, in_ledger, estimates.is_private())?;
    for (place, level) in plan.levels.iter().enumerate() {
        for (shown, table) in level.tables.iter().enumerate() {
            let name = format!("{}.parquet", table.file);
            let footer = manifest.guarantee();
            let slices = || estimates.slices(place, shown);
            let digest = put(&name, &|file| tables::write(plan, table, slices(), &footer, file))?;
            manifest.add_file(&name, digest);
        }
    }
    put("manifest.json", &|file| manifest.write(file)).map(drop)
}

/// The files of a release as bytes in memory, from estimates whose noise is known: each of them is
/// marked as not private, and none reaches a disk here.
///
/// # Errors
/// Environment: opendp refuses to price the plan, or a table cannot be encoded.
pub fn render(plan: &Plan, estimates: &KnownEstimates) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    write_files(plan, estimates.marked(), None, |name, content| {
        let mut bytes = Vec::new();
        content(&mut bytes).map_err(|e| {
            Error::environment(findings::release_not_writable(Path::new("memory"), &e))
        })?;
        let digest = digest_of(&bytes);
        files.push((name.to_owned(), bytes));
        Ok(digest)
    })?;
    Ok(files)
}
