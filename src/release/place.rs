//! Where nothing may be written: in releases, and over files that are not ours.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::findings;

/// How pages of releases and of trials begin.
const PAGES: [&str; 2] = [
    "<!doctype html>\n<!-- A release of discretail.",
    "<!doctype html>\n<!-- A trial of discretail.",
];

/// May something be put at `path`? A release stays as it was made: with a file more, it is not what
/// was published.
///
/// # Errors
/// Invalid: it is a release, or lies within one.
pub fn outside_releases(path: &Path) -> Result<()> {
    match release_around(path) {
        Some(release) => Err(Error::invalid(findings::output_in_release(path, &release))),
        None => Ok(()),
    }
}

/// May a page be written to `path`? That of the release in `own` may be made anew in its place.
///
/// # Errors
/// Invalid: it lies within a release otherwise, or there is something that is no page of ours.
pub fn place_of_page(path: &Path, own: Option<(&Path, &str)>) -> Result<()> {
    let is_own = own.is_some_and(|(release, name)| real(path) == real(&release.join(name)));
    if !is_own {
        outside_releases(path)?;
    }
    if path.is_file() && !begins_with(path, &PAGES) {
        return Err(Error::invalid(findings::output_foreign(path, "page of a release or a trial")));
    }
    Ok(())
}

/// Does a file begin with one of these texts?
pub fn begins_with(path: &Path, texts: &[&str]) -> bool {
    let most = texts.iter().map(|text| text.len()).max().unwrap_or(0) as u64;
    let mut start = Vec::new();
    let file = std::fs::File::open(path);
    let read = file.and_then(|file| file.take(most).read_to_end(&mut start));
    read.is_ok() && texts.iter().any(|text| start.starts_with(text.as_bytes()))
}

/// The release that `path` is, or lies in, whether it is there yet or not.
fn release_around(path: &Path) -> Option<PathBuf> {
    let is_release = |folder: &&Path| {
        let manifest = std::fs::read(folder.join("manifest.json")).ok();
        let manifest = manifest.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        manifest.is_some_and(|manifest: serde_json::Value| {
            manifest["job"]["id"].is_string() && manifest["files"].is_array()
        })
    };
    real(path).ancestors().find(is_release).map(Path::to_owned)
}

/// The path without links, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = path.ancestors().find_map(|part| Some((part, part.canonicalize().ok()?)));
    match there {
        Some((part, real)) => match path.strip_prefix(part) {
            Ok(rest) if !rest.as_os_str().is_empty() => real.join(rest),
            _ => real,
        },
        None => path,
    }
}
