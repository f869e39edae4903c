//! The tables, and the marks by which a file is known as a ledger of this version.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::Connection;

use super::file::unreadable;
use crate::error::{Error, Result};
use crate::findings;

/// Marks the SQLite file as ours: the letters `dRet`.
const APPLICATION_ID: i32 = 0x6452_6574;

/// The schema below. Any change to it, or to what a field means, needs the next number.
const VERSION: i32 = 5;

/// Entries are appended and never edited; the triggers stop accidents, the hashes (`chain.rs`)
/// show what gets past them.
const TABLES: &str = "
CREATE TABLE terms (
    population             TEXT NOT NULL,
    unit                   TEXT NOT NULL,
    neighbours             TEXT NOT NULL,
    epsilon_max            TEXT NOT NULL,
    delta_max              TEXT NOT NULL,
    budget_mu_squared      TEXT NOT NULL,    -- units of 2^-60, decimal
    budget_threshold_delta INTEGER NOT NULL, -- units of 1e-18
    conversion             TEXT NOT NULL,    -- how the budget follows from epsilon and delta
    recipients             TEXT NOT NULL,    -- JSON list: the budgets of some recipients
    hash                   TEXT NOT NULL
) STRICT;

CREATE TABLE entry (
    seq             INTEGER PRIMARY KEY,
    event           TEXT NOT NULL CHECK (event IN ('reserved', 'spent', 'published', 'voided')),
    job             TEXT NOT NULL,
    digest          TEXT NOT NULL,    -- sha-256 of the job's content
    recipient       TEXT NOT NULL,
    user            TEXT NOT NULL,    -- the SQL expression that tells users apart
    time            TEXT,             -- how times are read, of units within periods
    mu_squared      TEXT NOT NULL,    -- units of 2^-60, decimal
    threshold_delta INTEGER NOT NULL, -- units of 1e-18
    periods         INTEGER NOT NULL, -- the most privacy units of one user
    mu_squared_all  TEXT NOT NULL,    -- of all units of a user, as mu_squared
    folder          TEXT,             -- of the release, once published
    release_digest  TEXT,
    previous        TEXT NOT NULL,    -- hash of the entry before, or of the terms
    hash            TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX entry_once ON entry (job, event) WHERE event IN ('spent', 'published');

CREATE TRIGGER terms_once BEFORE INSERT ON terms WHEN EXISTS (SELECT 1 FROM terms)
BEGIN SELECT RAISE(ABORT, 'a ledger has one row of terms'); END;
CREATE TRIGGER terms_no_update BEFORE UPDATE ON terms
BEGIN SELECT RAISE(ABORT, 'the terms of a ledger never change'); END;
CREATE TRIGGER terms_no_delete BEFORE DELETE ON terms
BEGIN SELECT RAISE(ABORT, 'the terms of a ledger never change'); END;

CREATE TRIGGER entry_in_order BEFORE INSERT ON entry
WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM entry)
BEGIN SELECT RAISE(ABORT, 'entries are only appended'); END;
CREATE TRIGGER entry_no_update BEFORE UPDATE ON entry
BEGIN SELECT RAISE(ABORT, 'entries are never edited'); END;
CREATE TRIGGER entry_no_delete BEFORE DELETE ON entry
BEGIN SELECT RAISE(ABORT, 'entries are never deleted'); END;
";

/// Makes the tables and the marks; the caller's transaction makes it all or nothing.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(TABLES)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", VERSION)
}

/// A table, index or trigger that is not as [`create`] makes it, by name; `None` if all are.
pub(super) fn altered(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let fresh = Connection::open_in_memory()?;
    create(&fresh)?;
    let (ours, theirs) = (parts(&fresh)?, parts(connection)?);
    let differs = ours
        .iter()
        .chain(&theirs)
        .find(|(name, sql)| ours.get(*name) != Some(*sql) || theirs.get(*name) != Some(*sql));
    Ok(differs.map(|(name, _)| name.clone()))
}

/// Every table, index and trigger by name, with the SQL that made it.
fn parts(connection: &Connection) -> rusqlite::Result<BTreeMap<String, Option<String>>> {
    let mut query = connection.prepare("SELECT name, sql FROM sqlite_schema")?;
    query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Refuses a file that is not a ledger of this version.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<()> {
    let mark = |name: &str| -> Result<i32> {
        connection
            .pragma_query_value(None, name, |row| row.get(0))
            .map_err(|cause| unreadable(path, &cause))
    };
    if mark("application_id")? != APPLICATION_ID {
        let cause = "it is not a ledger of discretail";
        return Err(Error::environment(findings::ledger_unreadable(path, &cause)));
    }
    let version = mark("user_version")?;
    if version != VERSION {
        return Err(Error::environment(findings::ledger_version_unknown(path, version, VERSION)));
    }
    Ok(())
}
