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
    match std::fs::read_dir(folder) {
        Err(cause) => faults.push(format!("the folder cannot be listed: {cause}")),
        Ok(entries) => {
            for entry in entries.flatten() {
                // Of a link, its own type: a file elsewhere is no part of the release.
                let plain = entry.file_type().is_ok_and(|kind| kind.is_file());
                there.insert(entry.file_name(), plain);
            }
        }
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

fn digest_of(path: &Path) -> std::io::Result<String> {
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
