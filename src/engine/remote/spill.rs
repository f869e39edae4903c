//! The folder of a database that runs inside this process, for what its memory does not hold.

use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What the names of such folders start with.
const PREFIX: &str = "discretail-duckdb-";

/// How often what somebody else was quicker with is tried again.
const TRIES: usize = 16;

/// A folder that nobody else may enter, gone with this value.
pub(super) struct SpillFolder {
    path: PathBuf,
    /// Locked while this process lives, by which others see that the folder is in use.
    _lock: File,
}

impl SpillFolder {
    /// Makes one within a folder, and removes those there of processes that were killed.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn new(within: &Path) -> io::Result<SpillFolder> {
        for _ in 0..TRIES {
            let owner = Permissions::from_mode(0o700);
            let mut builder = tempfile::Builder::new();
            let made = builder.prefix(PREFIX).permissions(owner).tempdir_in(within)?;
            // Until it is locked, another process may take it for one that was left behind.
            let lock = match File::open(made.path()) {
                Err(cause) if cause.kind() == ErrorKind::NotFound => continue,
                opened => opened?,
            };
            let locked = lock.try_lock();
            if matches!(locked, Err(TryLockError::WouldBlock)) || !is_at(&lock, made.path()) {
                continue;
            }
            // Where nothing can be locked, nothing is seen to be left behind, either.
            if locked.is_ok() {
                remove_abandoned(within, lock.metadata()?.uid());
            }
            return Ok(SpillFolder { path: made.keep(), _lock: lock });
        }
        Err(io::Error::other("every new folder is taken at once"))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SpillFolder {
    fn drop(&mut self) {
        // A query that was left behind makes no more files where it does not find the folder, but
        // for those that it had begun with.
        let moved = self.path.with_extension("gone");
        let moved = fs::rename(&self.path, &moved).map(|()| moved);
        let path = moved.as_ref().unwrap_or(&self.path);
        for _ in 0..TRIES {
            match fs::remove_dir_all(path) {
                Err(cause) if cause.kind() != ErrorKind::NotFound => {
                    tracing::debug!("{}: {cause}", path.display());
                }
                _ => return,
            }
        }
    }
}

/// Is a file or folder that is open the one at this path?
fn is_at(open: &File, path: &Path) -> bool {
    let same = |(one, other): (fs::Metadata, fs::Metadata)| {
        (one.dev(), one.ino()) == (other.dev(), other.ino())
    };
    open.metadata().ok().zip(fs::symlink_metadata(path).ok()).is_some_and(same)
}

/// Is it a name that this program gives: the prefix, six letters or digits, and perhaps the ending
/// of what is being removed?
fn is_own_name(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else { return false };
    let rest = rest.strip_suffix(".gone").unwrap_or(rest);
    rest.len() == 6 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Removes folders of this user that have such a name, that nobody else may enter and that no
/// process has locked.
fn remove_abandoned(within: &Path, user: u32) {
    for entry in fs::read_dir(within).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_own = |found: fs::Metadata| {
            found.is_dir() && found.uid() == user && found.mode() & 0o777 == 0o700
        };
        let is_one = entry.file_name().to_str().is_some_and(is_own_name)
            && fs::symlink_metadata(&path).is_ok_and(is_own);
        let Some(lock) = is_one.then(|| File::open(&path).ok()).flatten() else { continue };
        if lock.try_lock().is_ok() && is_at(&lock, &path) {
            match fs::remove_dir_all(&path) {
                Ok(()) => tracing::info!("{} was left behind, and is removed", path.display()),
                Err(cause) => tracing::debug!("{}: {cause}", path.display()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tempfile::TempDir;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("reads");
        let name = |entry: io::Result<fs::DirEntry>| entry.expect("reads").file_name();
        let mut names: Vec<String> =
            entries.map(|entry| name(entry).into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }

    #[test]
    fn folders_of_killed_processes_are_removed_and_no_others() {
        let home = TempDir::new().expect("a folder");
        let at = |name: &str| home.path().join(name);
        let live = SpillFolder::new(home.path()).expect("a folder");
        File::create(live.path().join("payments")).expect("writes");
        let mode = fs::metadata(live.path()).expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        for name in ["discretail-duckdb-Killed", "discretail-duckdb-k1lled.gone"] {
            fs::create_dir_all(at(name).join("more")).expect("makes");
            File::create(at(name).join("more/payments")).expect("writes");
            fs::set_permissions(at(name), Permissions::from_mode(0o700)).expect("sets");
        }
        // What is none of these folders stays, and what a link names.
        File::create(at("discretail-duckdb-fileab")).expect("writes");
        for name in ["discretail-duckdb-results", "discretail-duckdb-Others"] {
            fs::create_dir(at(name)).expect("makes");
            File::create(at(name).join("mine")).expect("writes");
        }
        fs::set_permissions(at("discretail-duckdb-results"), Permissions::from_mode(0o700))
            .expect("sets");
        fs::create_dir(at("discretail-other")).expect("makes");
        File::create(at("discretail-other/mine")).expect("writes");
        std::os::unix::fs::symlink(at("discretail-other"), at("discretail-duckdb-linkab"))
            .expect("links");
        let before = names(home.path());
        let next = SpillFolder::new(home.path()).expect("a folder");
        let mut wanted = before;
        wanted.retain(|name| !name.to_lowercase().contains("lled"));
        let mut found = names(home.path());
        let own = next.path().file_name().expect("a name").to_str().expect("UTF-8");
        found.retain(|name| name != own);
        assert_eq!(found, wanted);
        assert_eq!(names(live.path()), ["payments"]);
        assert_eq!(names(&at("discretail-other")), ["mine"]);
        drop((live, next));
        let left = [
            "discretail-duckdb-Others",
            "discretail-duckdb-fileab",
            "discretail-duckdb-linkab",
            "discretail-duckdb-results",
            "discretail-other",
        ];
        assert_eq!(names(home.path()), left);
    }

    /// As a DuckDB that does not hear of Ctrl-C.
    #[test]
    fn a_folder_in_which_somebody_still_writes_is_gone_too() {
        let home = TempDir::new().expect("a folder");
        for _ in 0..20 {
            let folder = SpillFolder::new(home.path()).expect("a folder");
            let (path, ended) = (folder.path().to_owned(), AtomicBool::new(false));
            std::thread::scope(|scope| {
                let writer = scope.spawn(|| {
                    let mut made = 0u32;
                    while !ended.load(Ordering::Relaxed) {
                        made += u32::from(File::create(path.join(made.to_string())).is_ok());
                    }
                    made
                });
                while names(&path).len() < 50 {
                    std::thread::yield_now();
                }
                drop(folder);
                let left = names(home.path());
                ended.store(true, Ordering::Relaxed);
                assert!(writer.join().expect("ends") >= 50);
                assert!(left.is_empty(), "{left:?}");
            });
        }
    }

    /// Each of many that start at once has a folder, whatever the others clean up.
    #[test]
    fn processes_that_start_at_once_leave_each_other_alone() {
        let home = TempDir::new().expect("a folder");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..40 {
                        let folder = SpillFolder::new(home.path()).expect("a folder");
                        File::create(folder.path().join("payments")).expect("writes");
                        assert_eq!(names(folder.path()), ["payments"]);
                    }
                });
            }
        });
        assert!(names(home.path()).is_empty());
    }
}
