//! What a release says of itself: provisional or final, over which days, in place of which other
//! one.

use std::path::Path;

use super::earlier::manifest;

/// What the manifest of a release says of its payments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// `provisional` or `final`.
    pub status: String,
    /// The job whose release it takes the place of.
    pub revises: Option<String>,
    /// Whose payments.
    pub population: String,
    /// First and last day, as manifests write them.
    pub days: (String, String),
    /// Of which time zone.
    pub timezone: String,
}

/// What the release in `folder` says, if its manifest is the one with this digest.
pub fn standing(folder: &Path, manifest_digest: &str) -> Option<Standing> {
    let manifest = manifest(folder, manifest_digest).ok()?;
    let text = |name: &str| Some(manifest["job"][name].as_str()?.to_owned());
    Some(Standing {
        // Before there was a status, every release was final.
        status: text("status").unwrap_or_else(|| "final".to_owned()),
        revises: manifest["job"]["revises"]["job"].as_str().map(str::to_owned),
        population: text("population")?,
        days: (text("first_day")?, text("last_day")?),
        timezone: text("timezone")?,
    })
}
