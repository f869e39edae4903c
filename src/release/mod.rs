//! The release: the only place that writes what leaves the building.

mod beside;
mod budget;
mod composed;
mod discovery;
mod earlier;
mod folder;
mod layout;
mod manifest;
mod merchants;
mod pairs;
mod place;
mod series;
mod status;
mod surveys;
mod tables;
mod unshown;
mod values;

pub use beside::sweep;
pub use budget::InLedger;
pub use earlier::{ReleasedSurveys, released_surveys, shown_keys};
pub use folder::{Draft, is_complete, may_be_at, page_fits, publishable, read, write_page};
use folder::{digest_of, digest_of_file};
pub use layout::{TableFiles, files_of, read_table};
use manifest::Manifest;
pub use manifest::Parameters;
pub use place::{begins_with, outside_releases, place_of_page};

pub use series::Series;
pub use status::{Standing, standing};
pub use values::released_values;

use std::io::Write;
use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::estimate::{Estimates, KnownEstimates};
use crate::findings;
use crate::plan::{LevelPlan, Plan, TablePlan};

/// Writes the tables into a draft, on some threads; nothing is visible at the release's folder
/// until [`Unsealed::seal`] and [`Draft::publish`]. Estimates that are not private are marked so in
/// every file. `in_ledger` is what the ledger's jobs come to, with this one; `None`: there is none,
/// in tests.
///
/// # Errors
/// The disk is full or not writable.
pub fn write<'d>(
    estimates: &Estimates,
    in_ledger: Option<InLedger>,
    draft: &'d Draft,
    threads: usize,
) -> Result<Unsealed<'d>> {
    let mut manifest = Manifest::new(estimates.plan(), in_ledger, estimates.is_private())?;
    write_tables(estimates, threads, &mut manifest, |name, content| {
        draft.write(name, |file| content(file))?;
        digest_of_file(&draft.path(name))
    })?;
    Ok(Unsealed { manifest, draft })
}

/// Of a value with its interval, and of a key, on the disk: they are compressed, but noise is not
/// compressed by much.
const VALUE_BYTES: u64 = 32;
const KEY_BYTES: u64 = 8;

/// The footer of a file.
const FILE_BYTES: u64 = 1 << 14;

/// Keys of payments are not known beforehand.
const PRIVATE_BYTES: u64 = 1 << 20;

/// About how many bytes all tables will take, by the plan alone: at most of public keys, at least
/// of others.
pub fn bytes(plan: &Plan) -> u64 {
    let of_table = |level: &LevelPlan, table: &TablePlan| {
        let values = table.insights.len().max(level.width()) as u64;
        let row = values * VALUE_BYTES + table.keys.len() as u64 * KEY_BYTES;
        let cells = match level.is_public() {
            true => level.public_cells(&plan.job).saturating_mul(row),
            false => PRIVATE_BYTES.saturating_add(level.always.len() as u64 * row),
        };
        let files = layout::files(level, table).len() as u64;
        cells.saturating_add(files * FILE_BYTES)
    };
    let shown = plan.levels.iter().filter(|level| !level.unshown);
    let tables =
        shown.flat_map(|level| level.tables.iter().map(move |table| of_table(level, table)));
    tables.fold(0, u64::saturating_add)
}

/// The names of all files of a plan's release, of which the page's is `page`.
pub fn files(plan: &Plan, page: &str) -> Vec<String> {
    let shown = plan.levels.iter().filter(|level| !level.unshown);
    let tables = shown.flat_map(|level| level.tables.iter().map(move |table| (level, table)));
    let names = tables.flat_map(|(level, table)| layout::files(level, table));
    let names = names.map(|(name, _)| name);
    names.chain([page.to_owned(), MANIFEST.to_owned()]).collect()
}

const MANIFEST: &str = "manifest.json";

/// What writes one file.
type Content<'a> = &'a dyn Fn(&mut (dyn Write + Send)) -> std::io::Result<()>;

/// Has `put` write each table and give its digest, for the manifest.
fn write_tables(
    estimates: &Estimates,
    threads: usize,
    manifest: &mut Manifest,
    mut put: impl FnMut(&str, Content) -> Result<String>,
) -> Result<()> {
    let plan = estimates.plan();
    for (place, level) in plan.levels.iter().enumerate().filter(|(_, level)| !level.unshown) {
        for (shown, table) in level.tables.iter().enumerate() {
            let file = format!("{}.parquet", table.file);
            let footer = manifest.guarantee(&file);
            let shown = estimates.table(place, shown);
            let by_value = table.partition.map(|key| shown.rows_by(key)).unwrap_or_default();
            for (name, value) in layout::files(level, table) {
                // Each period has its file, with or without rows.
                let rows = value.as_ref().map_or(shown.rows(), |value| {
                    by_value.get(value).map_or(&[][..], Vec::as_slice)
                });
                let slices = shown.slices(rows);
                let content = |file: &mut (dyn Write + Send)| {
                    tables::write(plan, table, &slices, &footer, threads, file)
                };
                manifest.add_file(&name, put(&name, &content)?);
            }
        }
    }
    Ok(())
}

/// The tables and the manifest of a release as bytes in memory, from estimates whose noise is
/// known: each of them is marked as not private, and none reaches a disk here.
///
/// # Errors
/// Environment: opendp refuses to price the plan, or a table cannot be encoded.
pub fn render(estimates: &KnownEstimates) -> Result<Vec<(String, Vec<u8>)>> {
    let failed = |e| Error::environment(findings::release_not_writable(Path::new("memory"), &e));
    let mut files = Vec::new();
    let estimates = estimates.marked();
    let mut manifest = Manifest::new(estimates.plan(), None, estimates.is_private())?;
    write_tables(estimates, 1, &mut manifest, |name, content| {
        let mut bytes = Vec::new();
        content(&mut bytes).map_err(failed)?;
        let digest = digest_of(&bytes);
        files.push((name.to_owned(), bytes));
        Ok(digest)
    })?;
    let mut bytes = Vec::new();
    manifest.write(&mut bytes).map_err(failed)?;
    files.push((MANIFEST.to_owned(), bytes));
    Ok(files)
}

/// A release whose tables are written and whose manifest is not.
#[must_use = "a release without a manifest is none"]
pub struct Unsealed<'d> {
    manifest: Manifest,
    draft: &'d Draft,
}

impl Unsealed<'_> {
    /// Where the tables are.
    pub fn folder(&self) -> &Path {
        self.draft.folder()
    }

    /// The manifest as it stands, as who reads it later will have it: by way of its text, as
    /// numbers that are read may differ in their last digit from those that were written.
    pub fn manifest(&self) -> Value {
        let text = serde_json::to_vec(&self.manifest);
        let text = text.expect("cannot fail because all its keys are texts");
        serde_json::from_slice(&text).expect("cannot fail because it was just written")
    }

    /// Adds a page that was made of tables and manifest, and writes the manifest.
    ///
    /// # Errors
    /// The disk is full or not writable.
    pub fn seal(mut self, page_name: &str, page: &str) -> Result<()> {
        self.draft.write(page_name, |file| file.write_all(page.as_bytes()))?;
        self.manifest.add_file(page_name, digest_of(page.as_bytes()));
        self.draft.write(MANIFEST, |file| self.manifest.write(file))
    }
}
