//! Who runs a job: a lock beside the ledger that ends with its process, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::file;
use crate::error::{Error, Result};
use crate::findings;

/// The right to run one job, or to void it. One process has it; dropping it gives it back.
///
/// It keeps two runs of a job from reading the payments twice, and `ledger void` from a run that
/// is going on. Privacy does not rest on it: [`super::Ledger::spend`] lets one grant through.
/// Where the file system knows no locks, or keeps them to one machine, others are not seen.
#[derive(Debug)]
pub struct Hold {
    path: PathBuf,
    /// Locked; `None` if the file system knows no locks.
    file: Option<File>,
}

impl Hold {
    /// Takes the job `id` of the ledger at `ledger`, which need not exist yet.
    ///
    /// # Errors
    /// Refused: another process has it. Environment: the ledger's folder is missing or cannot be
    /// written.
    pub fn take(ledger: &Path, id: &str) -> Result<Hold> {
        let ledger = file::locate(ledger)?;
        let folder = file::folder_of(&ledger);
        if !folder.is_dir() {
            return Err(Error::environment(findings::ledger_folder_missing(&ledger, &folder)));
        }
        let unwritable = |cause: std::io::Error| {
            Error::environment(findings::ledger_not_writable(&ledger, &cause))
        };
        let path = lock_of(&ledger, id);
        loop {
            let mut options = OpenOptions::new();
            let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
            let file = options.open(&path).map_err(unwritable)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::refused(findings::job_under_way(id, &ledger)));
                }
                Err(TryLockError::Error(cause)) if cause.kind() == ErrorKind::Unsupported => {
                    return Ok(Hold { path, file: None });
                }
                Err(TryLockError::Error(cause)) => return Err(unwritable(cause)),
            }
            // The one before may have removed the file between opening and locking it.
            if is_at(&file, &path) {
                return Ok(Hold { path, file: Some(file) });
            }
        }
    }

    /// Has a process of this machine the job?
    ///
    /// # Errors
    /// Environment: nobody can tell.
    pub fn is_taken(ledger: &Path, id: &str) -> Result<bool> {
        let ledger = file::locate(ledger)?;
        let unreadable = |cause: std::io::Error| {
            Error::environment(findings::ledger_unreadable(&ledger, &cause))
        };
        let file = match File::open(lock_of(&ledger, id)) {
            Ok(file) => file,
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(false),
            Err(cause) => return Err(unreadable(cause)),
        };
        // Shared, so that two that ask do not see each other.
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(cause)) if cause.kind() == ErrorKind::Unsupported => Ok(false),
            Err(TryLockError::Error(cause)) => Err(unreadable(cause)),
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // While it is locked, so that nobody can lock a file that is about to go.
        if self.file.as_ref().is_none_or(|file| is_at(file, &self.path)) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The lock file of a job; `ledger` is where the ledger really is.
fn lock_of(ledger: &Path, id: &str) -> PathBuf {
    let name = ledger.file_name().unwrap_or_default().to_string_lossy();
    file::folder_of(ledger).join(format!(".{name}.{id}.lock"))
}

/// Is `file` what stands at `path`?
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(own), Ok(there)) => (own.dev(), own.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_and_nothing_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = folder.path().join("ledger.sqlite");
        let hold = Hold::take(&ledger, "a").unwrap();
        let error = Hold::take(&ledger, "a").unwrap_err();
        assert_eq!(error.findings()[0].code(), "job-under-way");
        let taken = |job| Hold::is_taken(&ledger, job).unwrap();
        assert!(taken("a") && !taken("b"));
        let other = Hold::take(&ledger, "b").unwrap();
        drop(hold);
        drop(Hold::take(&ledger, "a").unwrap());
        drop(other);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_lock_file_of_the_dead_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = folder.path().join("ledger.sqlite");
        File::create(folder.path().join(".ledger.sqlite.a.lock")).unwrap();
        assert!(!Hold::is_taken(&ledger, "a").unwrap());
        drop(Hold::take(&ledger, "a").unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    /// Eight threads pass the lock around; each is alone while it has it.
    #[test]
    fn holders_never_meet() {
        use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
        let folder = tempfile::tempdir().unwrap();
        let ledger = folder.path().join("ledger.sqlite");
        let (inside, turns) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while turns.load(SeqCst) < 2000 {
                        let Ok(_hold) = Hold::take(&ledger, "a") else { continue };
                        assert_eq!(inside.fetch_add(1, SeqCst), 0);
                        turns.fetch_add(1, SeqCst);
                        // Long enough for another to come, if one can.
                        std::thread::sleep(std::time::Duration::from_micros(100));
                        inside.fetch_sub(1, SeqCst);
                    }
                });
            }
        });
    }
}
