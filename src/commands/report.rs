//! `discretail report RELEASE`

use std::path::Path;

use serde_json::{Value, json};

use super::{Failure, threads};
use crate::cli::ReportArgs;
use crate::console;
use crate::error::{Error, Result};
use crate::findings;
use crate::ledger::{EntryState, Report as Ledger};
use crate::release::{self, standing};
use crate::report::{FILE, page};

/// The page's name is the result.
pub(super) fn report(args: &ReportArgs) -> std::result::Result<(), Failure> {
    let manifest = release::read(&args.release)?;
    release::place_of_page(&args.output, Some((&args.release, FILE)))?;
    if let Some(ledger) = &args.ledger {
        is_published(&args.release, &manifest, ledger)?;
    }
    let page = page(&args.release, &manifest, threads(None))?;
    release::write_page(&args.output, &page)?;
    let name = args.output.display().to_string();
    let text = match args.json {
        true => json!({"status": "written", "file": name, "bytes": page.len()}).to_string(),
        false => name,
    };
    Ok(console::result_of("the page is written", &text)?)
}

/// The manifest is the one that the ledger has of its job.
fn is_published(folder: &Path, manifest: &Value, ledger: &Path) -> Result<()> {
    let ledger = Ledger::read(ledger)?;
    let job = ledger.job(manifest["job"]["id"].as_str().unwrap_or_default());
    let job = job.filter(|job| job.state == EntryState::Published);
    let same = job.and_then(|job| standing(folder, job.release_digest.as_ref()?));
    match same {
        Some(_) => Ok(()),
        None => Err(Error::refused(findings::release_not_verified(folder, &["ledger"]))),
    }
}
