//! `discretail report RELEASE`

use serde_json::json;

use super::{Failure, threads};
use crate::cli::ReportArgs;
use crate::console;
use crate::release;
use crate::report::page;

/// The page's name is the result.
pub(super) fn report(args: &ReportArgs) -> Result<(), Failure> {
    let manifest = release::read(&args.release)?;
    let page = page(&args.release, &manifest, threads(None))?;
    release::write_page(&args.output, &page)?;
    let name = args.output.display().to_string();
    console::result(&match args.json {
        true => json!({"status": "written", "file": name, "bytes": page.len()}).to_string(),
        false => name,
    });
    Ok(())
}
