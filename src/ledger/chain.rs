//! Rows and their hashes. Every row's hash covers all its fields and the hash before it, back to
//! the terms, so an edited, inserted or removed row shows.
//!
//! Cutting off the newest entries does not show: that needs a witness outside the file, such as
//! the published releases, or a hash that was noted elsewhere ([`super::Report::place_of`]).

use std::path::Path;

use rusqlite::{Connection, Row, params};
use sha2::{Digest, Sha256};

use super::book::Limits;
use super::file::unreadable;
use super::terms::RecipientTerms;
use crate::error::{Error, Result};
use crate::findings;
use crate::privacy::{AllUnits, Delta, MuSquared, PrivacyBudget, PrivacyLoss};

/// What an entry says about its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryState {
    /// Its loss is set aside; nothing is drawn yet.
    Reserved,
    /// Its noise may have been drawn.
    Spent,
    /// Its release is on disk.
    Published,
    /// Its reservation was given back.
    Voided,
}

impl EntryState {
    const ALL: [EntryState; 4] =
        [EntryState::Reserved, EntryState::Spent, EntryState::Published, EntryState::Voided];

    /// The name in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            EntryState::Reserved => "reserved",
            EntryState::Spent => "spent",
            EntryState::Published => "published",
            EntryState::Voided => "voided",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// Where a release is, and the digest of its manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReleaseMark {
    pub(super) folder: String,
    pub(super) digest: String,
}

/// One step of one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) seq: i64,
    pub(super) state: EntryState,
    pub(super) job: String,
    pub(super) digest: String,
    pub(super) recipient: String,
    pub(super) user: String,
    pub(super) time: Option<String>,
    pub(super) loss: PrivacyLoss,
    pub(super) all_units: AllUnits,
    pub(super) release: Option<ReleaseMark>,
}

/// The row of `terms`, field by field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TermsRow {
    pub(super) population: String,
    pub(super) unit: String,
    pub(super) neighbours: String,
    pub(super) epsilon_max: String,
    pub(super) delta_max: String,
    pub(super) budget_mu_squared: String,
    pub(super) budget_threshold_delta: i64,
    pub(super) conversion: String,
    pub(super) recipients: String,
}

impl TermsRow {
    /// What the entries may add up to, if the fields are numbers.
    pub(super) fn limits(&self) -> Option<Limits> {
        let total = PrivacyBudget {
            mu_squared: MuSquared::from_units(self.budget_mu_squared.parse().ok()?),
            threshold_delta: Delta::stored(self.budget_threshold_delta.try_into().ok()?)?,
        };
        let recipients = RecipientTerms::read_all(&self.recipients)?;
        let recipients = recipients.into_iter().map(|terms| (terms.name, terms.budget)).collect();
        Some(Limits { total, recipients })
    }

    pub(super) fn hash(&self) -> String {
        hash_of(
            "discretail ledger 5: terms",
            &[
                Some(&self.population),
                Some(&self.unit),
                Some(&self.neighbours),
                Some(&self.epsilon_max),
                Some(&self.delta_max),
                Some(&self.budget_mu_squared),
                Some(&self.budget_threshold_delta.to_string()),
                Some(&self.conversion),
                Some(&self.recipients),
            ],
        )
    }

    pub(super) fn insert(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection.execute(
            "INSERT INTO terms (population, unit, neighbours, epsilon_max, delta_max,
                 budget_mu_squared, budget_threshold_delta, conversion, recipients, hash)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                self.population,
                self.unit,
                self.neighbours,
                self.epsilon_max,
                self.delta_max,
                self.budget_mu_squared,
                self.budget_threshold_delta,
                self.conversion,
                self.recipients,
                self.hash(),
            ],
        )?;
        Ok(())
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<(Self, String)> {
        let terms = TermsRow {
            population: row.get("population")?,
            unit: row.get("unit")?,
            neighbours: row.get("neighbours")?,
            epsilon_max: row.get("epsilon_max")?,
            delta_max: row.get("delta_max")?,
            budget_mu_squared: row.get("budget_mu_squared")?,
            budget_threshold_delta: row.get("budget_threshold_delta")?,
            conversion: row.get("conversion")?,
            recipients: row.get("recipients")?,
        };
        Ok((terms, row.get("hash")?))
    }
}

/// A row of `entry` as it is stored; the hash is over these texts, not over what they mean.
struct EntryRow {
    seq: i64,
    event: String,
    job: String,
    digest: String,
    recipient: String,
    user: String,
    time: Option<String>,
    mu_squared: String,
    threshold_delta: i64,
    periods: i64,
    mu_squared_all: String,
    folder: Option<String>,
    release_digest: Option<String>,
    previous: String,
}

impl EntryRow {
    fn of(entry: &Entry, previous: &str) -> Self {
        EntryRow {
            seq: entry.seq,
            event: entry.state.name().to_owned(),
            job: entry.job.clone(),
            digest: entry.digest.clone(),
            recipient: entry.recipient.clone(),
            user: entry.user.clone(),
            time: entry.time.clone(),
            mu_squared: entry.loss.mu_squared.units().to_string(),
            threshold_delta: stored(entry.loss.threshold_delta),
            periods: entry.all_units.periods.into(),
            mu_squared_all: entry.all_units.mu_squared.units().to_string(),
            folder: entry.release.as_ref().map(|release| release.folder.clone()),
            release_digest: entry.release.as_ref().map(|release| release.digest.clone()),
            previous: previous.to_owned(),
        }
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<(Self, String)> {
        let entry = EntryRow {
            seq: row.get("seq")?,
            event: row.get("event")?,
            job: row.get("job")?,
            digest: row.get("digest")?,
            recipient: row.get("recipient")?,
            user: row.get("user")?,
            time: row.get("time")?,
            mu_squared: row.get("mu_squared")?,
            threshold_delta: row.get("threshold_delta")?,
            periods: row.get("periods")?,
            mu_squared_all: row.get("mu_squared_all")?,
            folder: row.get("folder")?,
            release_digest: row.get("release_digest")?,
            previous: row.get("previous")?,
        };
        Ok((entry, row.get("hash")?))
    }

    fn hash(&self) -> String {
        hash_of(
            "discretail ledger 5: entry",
            &[
                Some(&self.seq.to_string()),
                Some(&self.event),
                Some(&self.job),
                Some(&self.digest),
                Some(&self.recipient),
                Some(&self.user),
                self.time.as_deref(),
                Some(&self.mu_squared),
                Some(&self.threshold_delta.to_string()),
                Some(&self.periods.to_string()),
                Some(&self.mu_squared_all),
                self.folder.as_deref(),
                self.release_digest.as_deref(),
                Some(&self.previous),
            ],
        )
    }

    /// What the texts mean, or `None` if they mean nothing to this version.
    fn entry(self) -> Option<Entry> {
        let release = match (self.folder, self.release_digest) {
            (Some(folder), Some(digest)) => Some(ReleaseMark { folder, digest }),
            (None, None) => None,
            _ => return None,
        };
        Some(Entry {
            seq: self.seq,
            state: EntryState::parse(&self.event)?,
            job: self.job,
            digest: self.digest,
            recipient: self.recipient,
            user: self.user,
            time: self.time,
            loss: PrivacyLoss {
                mu_squared: MuSquared::from_units(self.mu_squared.parse().ok()?),
                threshold_delta: Delta::stored(self.threshold_delta.try_into().ok()?)?,
            },
            all_units: AllUnits {
                periods: self.periods.try_into().ok()?,
                mu_squared: MuSquared::from_units(self.mu_squared_all.parse().ok()?),
            },
            release,
        })
    }
}

/// All rows, each hash checked.
pub(super) struct Chain {
    pub(super) terms: TermsRow,
    pub(super) limits: Limits,
    pub(super) entries: Vec<Entry>,
    /// Of the terms, then of each entry.
    pub(super) hashes: Vec<String>,
}

impl Chain {
    /// Reads and checks everything; a ledger has a few rows for each job, so this is cheap.
    ///
    /// # Errors
    /// SQLite cannot read it, or a hash, a number or a meaning is wrong (refused).
    pub(super) fn read(connection: &Connection, path: &Path) -> Result<Self> {
        let sqlite = |cause: rusqlite::Error| unreadable(path, &cause);
        let (terms, limits, mut head) = read_terms(connection, path)?;
        let mut hashes = vec![head.clone()];
        let mut entries: Vec<Entry> = Vec::new();
        let mut statement =
            connection.prepare("SELECT * FROM entry ORDER BY seq").map_err(sqlite)?;
        let mut rows = statement.query([]).map_err(sqlite)?;
        while let Some(row) = rows.next().map_err(sqlite)? {
            let seq = entries.last().map_or(1, |entry| entry.seq + 1);
            let broken = |why: &str| broken_entry(path, seq, why);
            let (row, hash) =
                EntryRow::read(row).map_err(|_| broken("a field has the wrong type"))?;
            if row.seq != seq {
                return Err(broken("it is missing"));
            }
            if row.hash() != hash {
                return Err(broken("its content does not match its hash"));
            }
            if row.previous != head {
                return Err(broken("it does not continue the row before it"));
            }
            entries.push(row.entry().ok_or_else(|| broken("its content has no known meaning"))?);
            hashes.push(hash.clone());
            head = hash;
        }
        Ok(Chain { terms, limits, entries, hashes })
    }

    /// The newest hash, which stands for every row.
    pub(super) fn head(&self) -> &str {
        self.hashes.last().expect("cannot fail because the terms have a hash")
    }

    /// Writes `entry` as the newest; the caller's transaction holds the write lock since before
    /// this chain was read.
    pub(super) fn append(&self, connection: &Connection, entry: &Entry) -> rusqlite::Result<()> {
        let row = EntryRow::of(entry, self.head());
        connection.execute(
            "INSERT INTO entry (seq, event, job, digest, recipient, user, time, mu_squared,
                 threshold_delta, periods, mu_squared_all, folder, release_digest, previous, hash)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            params![
                row.seq,
                row.event,
                row.job,
                row.digest,
                row.recipient,
                row.user,
                row.time,
                row.mu_squared,
                row.threshold_delta,
                row.periods,
                row.mu_squared_all,
                row.folder,
                row.release_digest,
                row.previous,
                row.hash(),
            ],
        )?;
        Ok(())
    }
}

fn read_terms(connection: &Connection, path: &Path) -> Result<(TermsRow, Limits, String)> {
    let sqlite = |cause: rusqlite::Error| unreadable(path, &cause);
    let broken =
        |why: &str| Error::refused(findings::ledger_chain_broken(path, "its row of terms", why));
    let mut statement = connection.prepare("SELECT * FROM terms").map_err(sqlite)?;
    let mut rows = statement.query([]).map_err(sqlite)?;
    let row = rows.next().map_err(sqlite)?.ok_or_else(|| broken("it is missing"))?;
    let (terms, hash) = TermsRow::read(row).map_err(|_| broken("a field has the wrong type"))?;
    if terms.hash() != hash {
        return Err(broken("its content does not match its hash"));
    }
    let limits = terms.limits().ok_or_else(|| broken("its budgets are no numbers"))?;
    if rows.next().map_err(sqlite)?.is_some() {
        return Err(broken("there is a second one"));
    }
    Ok((terms, limits, hash))
}

/// The refusal of a ledger whose entry `seq` cannot be right.
pub(super) fn broken_entry(path: &Path, seq: i64, why: &str) -> Error {
    Error::refused(findings::ledger_chain_broken(path, &format!("entry {seq}"), why))
}

/// A δ as SQLite stores it.
pub(super) fn stored(delta: Delta) -> i64 {
    i64::try_from(delta.units()).expect("cannot fail because δ is at most 1, which is 10¹⁸ units")
}

/// SHA-256 of the label and the fields: each is a 0 byte if absent, else a 1 byte, the length in
/// bytes (8 bytes, little-endian) and the text, so that no two lists have the same encoding.
fn hash_of(label: &str, fields: &[Option<&str>]) -> String {
    let mut hasher = Sha256::new();
    for field in std::iter::once(&Some(label)).chain(fields) {
        match field {
            None => hasher.update([0]),
            Some(text) => {
                hasher.update([1]);
                hasher.update((text.len() as u64).to_le_bytes());
                hasher.update(text.as_bytes());
            }
        }
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
