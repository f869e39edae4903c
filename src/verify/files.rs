//! Are the files of a release those of its manifest, byte for byte, and no others?

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::manifest::Manifest;

/// The files whose digest is right, and what is wrong with the rest.
pub(super) fn compare(folder: &Path, manifest: &Manifest) -> (Vec<String>, Vec<String>) {
    let (mut sound, mut faults) = (Vec::new(), Vec::new());
    let mut there: BTreeMap<OsString, bool> = BTreeMap::new();
    if let Err(cause) = list(folder, None, manifest, &mut there) {
        faults.push(format!("the folder cannot be listed: {cause}"));
    }
    there.remove(&OsString::from("manifest.json"));
    for file in &manifest.files {
        let name = &file.name;
        match there.remove(&OsString::from(name)) {
            None => faults.push(format!("`{name}` is missing")),
            Some(false) => faults.push(format!("`{name}` is no plain file")),
            Some(true) => match digest_of(&folder.join(name)) {
                Ok(digest) if digest == file.sha256 => sound.push(name.clone()),
                Ok(_) => faults.push(format!("`{name}` is not what was released: other digest")),
                Err(cause) => faults.push(format!("`{name}` cannot be read: {cause}")),
            },
        }
    }
    for name in there.into_keys() {
        faults.push(format!("`{}` is no part of the release", name.display()));
    }
    (sound, faults)
}

/// All that is in a folder, by its name within the release: is it a plain file? Folders in which
/// the manifest has files are looked into.
fn list(
    folder: &Path,
    within: Option<&OsString>,
    manifest: &Manifest,
    there: &mut BTreeMap<OsString, bool>,
) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)?.flatten() {
        let mut name = within.cloned().unwrap_or_default();
        if within.is_some() {
            name.push("/");
        }
        name.push(entry.file_name());
        // Of a link, its own type: a file elsewhere is no part of the release.
        let kind = entry.file_type()?;
        let start = format!("{}/", name.display());
        if kind.is_dir() && manifest.files.iter().any(|file| file.name.starts_with(&start)) {
            list(&entry.path(), Some(&name), manifest, there)?;
        } else {
            there.insert(name, kind.is_file());
        }
    }
    Ok(())
}

pub(super) fn digest_of(path: &Path) -> std::io::Result<String> {
    let (mut file, mut hasher) = (std::fs::File::open(path)?, Sha256::new());
    let mut block = vec![0; 1 << 16];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hex(hasher)),
            read => hasher.update(&block[..read]),
        }
    }
}

/// SHA-256 in hex.
pub(super) fn digest(bytes: &[u8]) -> String {
    hex(Sha256::new_with_prefix(bytes))
}

fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
