//! The file: created whole or not at all, opened with the durability that a ledger needs.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::chain::TermsRow;
use super::schema;
use crate::error::{Error, Result};
use crate::findings;

/// How long to wait for another process; its changes take milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The path as SQLite must see it: never one of its special names, such as `:memory:`; and never a
/// link, as all who use the ledger, by whatever path, must find the same journal and the same
/// locks beside it.
///
/// # Errors
/// Environment: it names a folder, or is a link to nothing. A ledger that was there is then gone,
/// and must not begin anew.
pub(super) fn locate(path: &Path) -> Result<PathBuf> {
    let Some(name) = path.file_name() else {
        let cause = "the path names a folder";
        return Err(Error::environment(findings::ledger_unreadable(path, &cause)));
    };
    if !path.is_symlink() {
        return Ok(folder_of(path).join(name));
    }
    path.canonicalize().map_err(|cause| {
        Error::environment(match (cause.kind(), std::fs::read_link(path)) {
            (io::ErrorKind::NotFound, Ok(target)) => findings::ledger_link_broken(path, &target),
            _ => findings::ledger_unreadable(path, &cause),
        })
    })
}

/// Is there a ledger? An environment error if it was there and is gone.
pub(super) fn exists(path: &Path) -> Result<bool> {
    let is_there = |path: &Path| {
        path.try_exists()
            .map_err(|cause| Error::environment(findings::ledger_unreadable(path, &cause)))
    };
    // The journal first: it is made after the ledger, so seeing it and then no ledger means that
    // the ledger was removed. SQLite would replay such a journal into a new file.
    let mut journal = OsString::from(path);
    journal.push("-journal");
    let had_journal = is_there(Path::new(&journal))?;
    let there = is_there(path)?;
    if had_journal && !there {
        let cause = "the ledger is gone, but a journal of it is there; restore the ledger";
        return Err(Error::environment(findings::ledger_unreadable(path, &cause)));
    }
    Ok(there)
}

/// Makes a ledger that holds `terms` and no entry; `false` if another process was first, whose
/// ledger stays.
///
/// The file gets its name only once it is whole, so that an empty or half-made ledger is never
/// taken for a new one. A kill in between leaves a `.discretail-ledger-…` file without meaning.
pub(super) fn create(path: &Path, terms: &TermsRow) -> Result<bool> {
    let folder = folder_of(path);
    if !folder.is_dir() {
        return Err(Error::environment(findings::ledger_folder_missing(path, &folder)));
    }
    let unwritable_io =
        |cause: io::Error| Error::environment(findings::ledger_not_writable(path, &cause));
    // Mode 0600, which the journals of SQLite take over. As a path and not an open file: closing
    // a file drops every lock that this process has on it, those of SQLite too.
    let unnamed = tempfile::Builder::new()
        .prefix(".discretail-ledger-")
        .tempfile_in(&folder)
        .map_err(unwritable_io)?
        .into_temp_path();
    fill(&unnamed, terms).map_err(|cause| unwritable(path, &cause))?;
    match unnamed.persist_noclobber(path) {
        Ok(()) => sync_folder(&folder).map(|()| true).map_err(unwritable_io),
        Err(lost) if lost.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(failed) => Err(unwritable_io(failed.error)),
    }
}

fn fill(path: &Path, terms: &TermsRow) -> rusqlite::Result<()> {
    let mut connection = connect(path)?;
    make_durable(&connection)?;
    let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    schema::create(&change)?;
    terms.insert(&change)?;
    change.commit()?;
    connection.close().map_err(|(_, cause)| cause)
}

/// Opens an existing ledger for changes.
pub(super) fn open_to_write(path: &Path) -> Result<Connection> {
    let connection = connect(path).map_err(|cause| unreadable(path, &cause))?;
    schema::check(&connection, path)?;
    refuse_read_only(&connection, path)?;
    make_durable(&connection).map_err(|cause| unwritable(path, &cause))?;
    Ok(connection)
}

/// Opens an existing ledger for a look. SQLite may still undo a change that a crash cut short.
pub(super) fn open_to_read(path: &Path) -> Result<Connection> {
    let connection = connect(path).map_err(|cause| unreadable(path, &cause))?;
    schema::check(&connection, path)?;
    connection.pragma_update(None, "query_only", true).map_err(|cause| unreadable(path, &cause))?;
    Ok(connection)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // Never creates: a ledger that vanished must not come back empty.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// SQLite falls back to reading when it may not write; say so before any work is done.
pub(super) fn refuse_read_only(connection: &Connection, path: &Path) -> Result<()> {
    if connection.is_readonly("main").map_err(|cause| unreadable(path, &cause))? {
        let cause = "the file is read-only";
        return Err(Error::environment(findings::ledger_not_writable(path, &cause)));
    }
    Ok(())
}

/// A commit that returned survives a power cut. `EXTRA` is `FULL` and a sync of the folder after
/// the journal is removed; with `FULL` the journal could come back and undo the commit.
fn make_durable(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "DELETE")?;
    connection.pragma_update(None, "synchronous", "EXTRA")?;
    connection.pragma_update(None, "fullfsync", true)
}

/// An error of SQLite while reading.
pub(super) fn unreadable(path: &Path, cause: &rusqlite::Error) -> Error {
    Error::environment(match cause.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            findings::ledger_busy(path, BUSY_TIMEOUT.as_secs())
        }
        // Even reading writes, when a change that was cut short must be undone first.
        Some(ErrorCode::ReadOnly | ErrorCode::DiskFull) => {
            findings::ledger_not_writable(path, cause)
        }
        _ => findings::ledger_unreadable(path, cause),
    })
}

/// An error of SQLite while changing the ledger; the change did not happen.
pub(super) fn unwritable(path: &Path, cause: &rusqlite::Error) -> Error {
    match cause.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase,
        ) => unreadable(path, cause),
        _ => Error::environment(findings::ledger_not_writable(path, cause)),
    }
}

pub(super) fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}
