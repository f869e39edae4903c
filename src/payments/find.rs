//! Which files a job's names, patterns and folders mean.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::fs::{Metadata, metadata, read_dir};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use glob::Pattern;

use crate::findings::{self, Finding};
use crate::job::{Format, hive_names};

/// The files that a name, pattern or folder of the job means.
///
/// A folder means all files in it and in its folders that are not hidden and have a known ending,
/// or all if the job states the format. A folder that a pattern matches is one, too.
pub(super) fn expand(pattern: &Path, format: Option<Format>) -> Result<Vec<PathBuf>, Finding> {
    let text = pattern.to_string_lossy();
    if text.contains("://") {
        return Err(findings::path_not_local(pattern));
    }
    if let Some(e) = metadata(pattern).err().filter(|e| e.kind() == ErrorKind::PermissionDenied) {
        return Err(findings::file_unreadable(pattern, &e));
    }
    let matched = match is_there(pattern) {
        true => vec![pattern.to_owned()],
        false => matches(pattern, &text)?,
    };
    let mut found = Vec::new();
    let mut odd = None;
    for path in matched {
        let before = found.len();
        match metadata(&path) {
            Ok(state) if state.is_dir() => found.extend(in_folder(&path, format)?),
            Ok(state) if !state.is_file() => {}
            // A link to nothing too, so that nothing is left out without a word.
            _ => found.push(path.clone()),
        }
        if found.len() == before {
            odd.get_or_insert(path);
        }
    }
    match odd {
        _ if !found.is_empty() => Ok(found),
        Some(path) => Err(findings::files_odd(pattern, &path, oddity(&path))),
        None => Err(findings::files_missing(pattern)),
    }
}

/// The same file by several paths is one, which counts once. The path that gives most columns
/// stays, of these the one with fewest folders, of these the first.
pub(super) fn each_once(paths: &mut Vec<PathBuf>) {
    paths.sort();
    paths.dedup();
    let rank = |path: &Path| (Reverse(hive_names(path).len()), path.components().count());
    let mut order: Vec<usize> = (0..paths.len()).collect();
    order.sort_by_key(|&at| rank(&paths[at]));
    let mut seen = HashSet::new();
    let mut stays = vec![true; paths.len()];
    for at in order {
        // What cannot be looked at is told when it is opened.
        stays[at] = metadata(&paths[at]).map_or(true, |state| seen.insert(identity(&state)));
    }
    let mut stays = stays.into_iter();
    paths.retain(|_| stays.next().unwrap_or(true));
}

/// A link is there, also if what it leads to is not.
fn is_there(path: &Path) -> bool {
    path.exists() || path.is_symlink()
}

/// Device and inode: links and mounts lead to the same.
pub(super) fn identity(state: &Metadata) -> (u64, u64) {
    (state.dev(), state.ino())
}

/// Why there is nothing to read behind a path.
fn oddity(path: &Path) -> &'static str {
    match path.is_dir() {
        true => {
            "a folder without files that have a known ending and are not hidden (`.` or `_` before \
             their names or those of their folders)"
        }
        false => "neither a file nor a folder",
    }
}

/// What a pattern matches: files, folders and others.
fn matches(pattern: &Path, text: &str) -> Result<Vec<PathBuf>, Finding> {
    let wrong = |e: &glob::PatternError| findings::pattern_wrong(pattern, e);
    Pattern::new(text).map_err(|e| wrong(&e))?;
    let mut reached = vec![PathBuf::new()];
    let mut parts = pattern.components().peekable();
    while let Some(part) = parts.next() {
        let name = part.as_os_str().to_string_lossy();
        let mut next = Vec::new();
        if name == "**" {
            for folder in reached {
                walk(&folder, &mut next, &mut Vec::new())?;
            }
        } else if matches!(part, Component::Normal(_)) && name.contains(['*', '?', '[']) {
            let rule = Pattern::new(&name).map_err(|e| wrong(&e))?;
            for folder in reached {
                // What is there under just this name is meant, also if it has a star.
                if is_there(&folder.join(part)) {
                    next.push(folder.join(part));
                    continue;
                }
                for (path, name) in entries(&folder)? {
                    // A star means no hidden name, but `_*` does.
                    let spelt = !is_hidden(&name) || is_hidden(rule.as_str());
                    if spelt && rule.matches(&name) {
                        next.push(path);
                    }
                }
            }
        } else {
            next.extend(reached.into_iter().map(|folder| folder.join(part)));
        }
        // What the next part is looked for in must be a folder.
        match parts.peek() {
            Some(_) => next.retain(|path| path.is_dir()),
            None => next.retain(|path| is_there(path)),
        }
        reached = next;
    }
    Ok(reached)
}

fn in_folder(folder: &Path, format: Option<Format>) -> Result<Vec<PathBuf>, Finding> {
    let mut files = Vec::new();
    walk(folder, &mut Vec::new(), &mut files)?;
    files.retain(|path| format.is_some() || Format::of(path).is_some());
    files.retain(|path| path.is_file() || !path.exists());
    Ok(files)
}

/// A folder and all folders in it, each once, with what else is in them; nothing that is hidden.
///
/// Links come last, so that a folder is known by its own name where it has one here, and none is
/// followed to a folder that was walked before: there are links to folders that they are in.
fn walk(
    folder: &Path,
    folders: &mut Vec<PathBuf>,
    others: &mut Vec<PathBuf>,
) -> Result<(), Finding> {
    let mut seen = HashSet::new();
    let mut left = vec![folder.to_owned()];
    let mut links = Vec::new();
    while let Some(folder) = left.pop().or_else(|| links.pop()) {
        let state = metadata(at(&folder)).map_err(|e| findings::file_unreadable(&folder, &e))?;
        if !seen.insert(identity(&state)) {
            continue;
        }
        for (path, name) in entries(&folder)? {
            match path.is_dir() {
                _ if is_hidden(&name) => {}
                true if path.is_symlink() => links.push(path),
                true => left.push(path),
                false => others.push(path),
            }
        }
        folders.push(folder);
    }
    Ok(())
}

/// What is in a folder, with names; nothing if it is none.
fn entries(folder: &Path) -> Result<Vec<(PathBuf, String)>, Finding> {
    let listed = read_dir(at(folder)).and_then(|entries| {
        let entry = |entry: std::io::Result<std::fs::DirEntry>| {
            let name = entry?.file_name();
            Ok((folder.join(&name), name.to_string_lossy().into_owned()))
        };
        entries.map(entry).collect::<std::io::Result<Vec<_>>>()
    });
    let mut listed = match listed {
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Vec::new(),
        listed => listed.map_err(|e| findings::file_unreadable(folder, &e))?,
    };
    listed.sort();
    Ok(listed)
}

/// The folder that no name stands for is the one we are in.
fn at(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

/// As Hive, Spark and Arrow hide files and folders: unfinished ones, and what tells of others.
fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder with files of these names.
    fn with(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for name in names {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("makes folders");
            std::fs::File::create(path).expect("creates");
        }
        folder
    }

    /// What patterns mean, below the folder.
    fn found(folder: &Path, patterns: &[&str]) -> Vec<String> {
        let expanded = |pattern: &&str| expand(&folder.join(pattern), None).expect("files");
        let mut paths: Vec<PathBuf> = patterns.iter().flat_map(expanded).collect();
        each_once(&mut paths);
        let short = |path: PathBuf| {
            let short = path.strip_prefix(folder).expect("is below").to_owned();
            short.to_string_lossy().into_owned()
        };
        paths.into_iter().map(short).collect()
    }

    #[test]
    fn a_file_by_many_paths_is_one() {
        let folder = with(&["a/x.parquet", "a/y.parquet", "b/z.parquet"]);
        let path = |name: &str| folder.path().join(name);
        symlink("a", path("latest")).expect("links");
        symlink("x.parquet", path("a/w.parquet")).expect("links");
        symlink("..", path("b/up")).expect("links");
        symlink(".", path("b/here")).expect("links");
        std::fs::hard_link(path("a/y.parquet"), path("b/hard.parquet")).expect("links");
        let found = |patterns: &[&str]| found(folder.path(), patterns);
        let all = ["a/w.parquet", "a/y.parquet", "b/z.parquet"];
        for patterns in [
            &[""][..],
            &["a", "b"],
            &["a", "b/../a", "b"],
            &["**/*.parquet"],
            &["*/*.parquet"],
            &["**"],
            &["*"],
            &["a/*", "b/**/*"],
            &["", "latest", "a/x.parquet"],
        ] {
            assert_eq!(found(patterns), all, "{patterns:?}");
        }
        assert_eq!(found(&["latest"]), ["latest/w.parquet", "latest/y.parquet"]);
        assert_eq!(found(&["**/latest/y*"]), ["latest/y.parquet"]);
        assert_eq!(found(&["a/x.parquet", "a/../a/x.parquet"]), ["a/x.parquet"]);
    }

    #[test]
    fn the_path_that_gives_most_columns_stays() {
        let folder = with(&["h/month=1/x.parquet"]);
        symlink("month=1", folder.path().join("h/latest")).expect("links");
        for patterns in [&["h"][..], &["h/latest", "h/month=1"], &["h/*/*.parquet"]] {
            assert_eq!(found(folder.path(), patterns), ["h/month=1/x.parquet"], "{patterns:?}");
        }
    }

    #[test]
    fn what_is_hidden_is_read_only_where_the_job_spells_it_out() {
        let folder = with(&[
            "f/a.parquet",
            "f/_b.parquet",
            "f/.c.parquet",
            "f/_temporary/0/d.parquet",
            "f/.stage/e.parquet",
            "f/g=1/_h/i.parquet",
            "g/j.parquet",
            "g/README",
        ]);
        let found = |patterns: &[&str]| found(folder.path(), patterns);
        for pattern in ["f", "f/**/*.parquet", "f/*", "f/**", "**/a*", "*/a.parquet", "f/a.parquet"]
        {
            assert_eq!(found(&[pattern]), ["f/a.parquet"], "{pattern}");
        }
        for (pattern, file) in [
            // The README is of no known format.
            ("g", "g/j.parquet"),
            ("f/_b.parquet", "f/_b.parquet"),
            ("f/_[ab].*", "f/_b.parquet"),
            ("f/.*.parquet", "f/.c.parquet"),
            ("f/_temporary", "f/_temporary/0/d.parquet"),
            ("f/_temporary/*/*.parquet", "f/_temporary/0/d.parquet"),
            ("f/_t*", "f/_temporary/0/d.parquet"),
            ("f/.stage/*", "f/.stage/e.parquet"),
            ("**/_h/*", "f/g=1/_h/i.parquet"),
        ] {
            assert_eq!(found(&[pattern]), [file], "{pattern}");
        }
    }

    #[test]
    fn stars_in_names_are_names_first() {
        let folder = with(&["a*.parquet", "ab.parquet", "c[1]/x.parquet", "c1/y.parquet"]);
        assert_eq!(found(folder.path(), &["a*.parquet"]), ["a*.parquet"]);
        assert_eq!(found(folder.path(), &["c[1]"]), ["c[1]/x.parquet"]);
        assert!(expand(&folder.path().join("c[1]/y*"), None).is_err());
    }
}
