//! The release: the only place that writes what leaves the building.

mod earlier;
mod folder;
mod manifest;
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

use crate::error::Result;
use crate::estimate::Estimates;
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
    let mut manifest = Manifest::new(plan, in_ledger, estimates.is_private())?;
    for (place, level) in plan.levels.iter().enumerate() {
        for (shown, table) in level.tables.iter().enumerate() {
            let name = format!("{}.parquet", table.file);
            let footer = manifest.guarantee();
            let slices = estimates.slices(place, shown);
            draft.write(&name, |file| tables::write(plan, table, slices, &footer, file))?;
            manifest.add_file(&name, digest_of_file(&draft.path(&name))?);
        }
    }
    draft.write("manifest.json", |file| manifest.write(file))
}
