//! Which files are a job's own payments, by whatever name.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use super::find::{each_once, expand, identity};
use crate::job::PaymentsSource;

/// Of the files of `tried`, those that are files of `own`: the same file behind another path, link
/// or mount, or a copy, which has the same size and bytes.
///
/// Own files are only opened where sizes are the same, and what is in them stays here. Files that
/// are not there, or that may not be read, are none; a part of a file, or its rows in another form,
/// cannot be told.
pub fn own_files(own: &PaymentsSource, tried: &PaymentsSource) -> Vec<PathBuf> {
    let own = found(own);
    let is_own = |path: &PathBuf| own.iter().any(|own| same(own, path).unwrap_or(false));
    found(tried).into_iter().filter(is_own).collect()
}

fn found(source: &PaymentsSource) -> Vec<PathBuf> {
    let of_pattern = |pattern: &PathBuf| expand(pattern, source.format).unwrap_or_default();
    let mut paths: Vec<PathBuf> = source.patterns.iter().flat_map(of_pattern).collect();
    each_once(&mut paths);
    paths
}

fn same(one: &Path, other: &Path) -> std::io::Result<bool> {
    let (a, b) = (std::fs::metadata(one)?, std::fs::metadata(other)?);
    if identity(&a) == identity(&b) {
        return Ok(true);
    }
    // Empty files hold nobody.
    if a.len() != b.len() || a.len() == 0 {
        return Ok(false);
    }
    let open =
        |path: &Path| Ok::<_, std::io::Error>(BufReader::with_capacity(1 << 16, File::open(path)?));
    let (mut one, mut other) = (open(one)?, open(other)?);
    let (mut a, mut b) = ([0; 1 << 13], [0; 1 << 13]);
    loop {
        let (read_a, read_b) = (fill(&mut one, &mut a)?, fill(&mut other, &mut b)?);
        if a[..read_a] != b[..read_b] {
            return Ok(false);
        }
        if read_a == 0 {
            return Ok(true);
        }
    }
}

/// As much as there is, up to the whole of `bytes`.
fn fill(file: &mut impl Read, bytes: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read(&mut bytes[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn files_are_the_same_by_inode_or_by_bytes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let write = |name: &str, bytes: &[u8]| {
            File::create(path(name)).and_then(|mut file| file.write_all(bytes)).expect("writes");
        };
        let long: Vec<u8> = (0..100_000u32).map(|at| (at % 251) as u8).collect();
        let mut changed = long.clone();
        changed[99_999] ^= 1;
        write("own", &long);
        write("copy", &long);
        write("changed", &changed);
        write("shorter", &long[1..]);
        write("empty", &[]);
        write("empty too", &[]);
        std::os::unix::fs::symlink(path("own"), path("link")).expect("links");
        std::fs::hard_link(path("own"), path("hard")).expect("links");
        let is = |one: &str, other: &str| same(&path(one), &path(other)).ok();
        for other in ["own", "copy", "link", "hard"] {
            assert_eq!(is("own", other), Some(true), "{other}");
        }
        for other in ["changed", "shorter", "empty"] {
            assert_eq!(is("own", other), Some(false), "{other}");
        }
        assert_eq!(is("empty", "empty too"), Some(false));
        assert_eq!(is("own", "nowhere"), None);
    }
}
