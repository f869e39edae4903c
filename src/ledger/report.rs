//! What a ledger says: accounts and jobs, for people and for `verify`.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::book::{self, Tally};
use super::chain::{Chain, EntryState};
use super::terms::Terms;
use super::{Book, file, read, schema};
use crate::error::{Error, Result};
use crate::findings;
use crate::plan::Composed;
use crate::privacy::{AllUnits, Delta, PrivacyBudget, PrivacyLoss, epsilon_held};

/// Everything in a ledger, checked.
#[derive(Clone, Debug)]
pub struct Report {
    /// What it was made with, and what its jobs have decided since.
    pub terms: Terms,
    /// How its budget was made from ε and δ.
    pub conversion: String,
    /// The neighbour relation.
    pub neighbours: String,
    /// All jobs together.
    pub total: Account,
    /// Each recipient who has a job or a budget, by name.
    pub recipients: Vec<(String, Account)>,
    /// Each job that ever was reserved, by the place of its first entry.
    pub jobs: Vec<JobEntry>,
    /// The hash of the terms, then of each entry. The last one, the head, stands for all rows.
    pub hashes: Vec<String>,
}

/// A budget, if there is one, and what was taken from it.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    /// The limit.
    pub budget: Option<PrivacyBudget>,
    /// The losses.
    pub tally: Tally,
}

impl Account {
    /// The budget without what is counted.
    pub fn left(&self) -> Option<PrivacyBudget> {
        self.budget.map(|budget| book::left(budget, &self.tally))
    }
}

/// One job as the ledger knows it.
#[derive(Clone, Debug)]
pub struct JobEntry {
    /// The entry that reserved it.
    pub reserved_by: i64,
    /// The entry that published its release.
    pub published_by: Option<i64>,
    /// The job's id.
    pub id: String,
    /// SHA-256 of the job's content.
    pub digest: String,
    /// Who gets the release.
    pub recipient: String,
    /// The expression that tells users apart.
    pub user: String,
    /// How times are read, where the unit lies within a period.
    pub time: Option<String>,
    /// How far it came.
    pub state: EntryState,
    /// Its price.
    pub loss: PrivacyLoss,
    /// What it is for all units of a user.
    pub all_units: AllUnits,
    /// Where its release was put.
    pub folder: Option<PathBuf>,
    /// SHA-256 of the release's manifest.
    pub release_digest: Option<String>,
}

impl Report {
    /// Reads and checks the whole ledger.
    ///
    /// # Errors
    /// Refused: an entry was edited. Invalid: there is no such file. Environment: it is no ledger
    /// or cannot be read.
    pub fn read(path: &Path) -> Result<Report> {
        let path = there(path)?;
        let connection = file::open_to_read(&path)?;
        let (chain, book) = read(&connection, &path)?;
        Ok(Report::of(chain, &book))
    }

    /// As [`Report::read`], and checks besides what no budget rests on: the database's own
    /// structure, its tables and triggers, the form of digests. Says what held.
    ///
    /// # Errors
    /// As [`Report::read`]; refused also if one of these is not as it was made.
    pub fn verify(path: &Path) -> Result<Report> {
        let path = there(path)?;
        let connection = file::open_to_read(&path)?;
        // Rows first: who edited one should read of it, and not of the trigger in its way.
        let (chain, book) = read(&connection, &path)?;
        let broken = |place: &str, why: &str| {
            Err(Error::refused(findings::ledger_chain_broken(&path, place, why)))
        };
        for entry in &chain.entries {
            let release = entry.release.as_ref().map_or(&entry.digest, |mark| &mark.digest);
            if !is_digest(&entry.digest) || !is_digest(release) {
                return broken(&format!("entry {}", entry.seq), "a digest is no SHA-256");
            }
        }
        as_made(&connection, &path)?;
        let sqlite = |cause: rusqlite::Error| file::unreadable(&path, &cause);
        let sound = integrity(&connection).map_err(sqlite)?;
        if sound != "ok" {
            return broken("its pages", &sound);
        }
        Ok(Report::of(chain, &book))
    }

    pub(super) fn of(chain: Chain, book: &Book) -> Report {
        let account = |(name, tally): (&String, &Tally)| {
            let budget = chain.limits.recipients.get(name).copied();
            (name.clone(), Account { budget, tally: *tally })
        };
        let recipients = book.recipients().iter().map(account).collect();
        let jobs = book.jobs().iter().map(|(id, record)| JobEntry {
            reserved_by: record.reserved_by,
            published_by: record.published_by,
            id: id.clone(),
            digest: record.digest.clone(),
            recipient: record.recipient.clone(),
            user: record.user.clone(),
            time: record.time.clone(),
            state: record.state,
            loss: record.loss,
            all_units: record.all_units,
            folder: record.release.as_ref().map(|mark| PathBuf::from(&mark.folder)),
            release_digest: record.release.as_ref().map(|mark| mark.digest.clone()),
        });
        let mut jobs: Vec<JobEntry> = jobs.collect();
        jobs.sort_by_key(|job| job.reserved_by);
        let terms = Terms::of(&chain.terms).expect("cannot fail because the chain has read them");
        Report {
            terms: Terms {
                user: book.agreed().map(|(_, first)| first.user.clone()),
                time: book.agreed().and_then(|(_, first)| first.time.clone()),
                ..terms
            },
            conversion: chain.terms.conversion.clone(),
            neighbours: chain.terms.neighbours.clone(),
            total: Account { budget: Some(chain.limits.total), tally: *book.total() },
            recipients,
            jobs,
            hashes: chain.hashes,
        }
    }

    /// The hash that stands for every row.
    pub fn head(&self) -> &str {
        self.hashes.last().expect("cannot fail because the terms have a hash")
    }

    /// How many entries.
    pub fn entries(&self) -> usize {
        self.hashes.len() - 1
    }

    /// The entry that had the hash `head` (0: the terms): up to there, nothing was rewritten since
    /// `head` was noted. `None`: something was, or entries were cut off.
    pub fn place_of(&self, head: &str) -> Option<usize> {
        self.hashes.iter().position(|hash| hash == head)
    }

    /// What all jobs that were ever reserved come to, also those that gave it back, but no more
    /// than the budget: that a job stopped may tell of payments, so releases state this.
    pub fn ever_taken(&self) -> Option<PrivacyLoss> {
        let most = self.total.budget?;
        let mut jobs = self.jobs.iter();
        let all = jobs.try_fold(PrivacyLoss::default(), |all, job| all.checked_add(job.loss));
        let most =
            PrivacyLoss { mu_squared: most.mu_squared, threshold_delta: most.threshold_delta };
        let all = all.unwrap_or(most);
        Some(PrivacyLoss {
            mu_squared: all.mu_squared.min(most.mu_squared),
            threshold_delta: all.threshold_delta.min(most.threshold_delta),
        })
    }

    /// What all jobs that count come to for all payments of a user: the most periods of a job, the
    /// sum of their losses (Lemma 5 of `docs/privacy.md`), and ε at δ_max times the periods. `None`
    /// if there is no such δ.
    pub fn composed(&self) -> Option<Composed> {
        self.composed_of(|job| job.state != EntryState::Voided)
    }

    /// The same of all jobs that were ever reserved, as in [`Report::ever_taken`].
    pub fn ever_composed(&self) -> Option<Composed> {
        self.composed_of(|_| true)
    }

    fn composed_of(&self, counts: impl Fn(&JobEntry) -> bool) -> Option<Composed> {
        let (mut loss, mut periods) = (PrivacyLoss::default(), 0);
        for job in self.jobs.iter().filter(|job| counts(job)) {
            let AllUnits { periods: own, mu_squared } = job.all_units;
            let threshold_delta = job.loss.threshold_delta.times(own)?;
            loss = loss.checked_add(PrivacyLoss { mu_squared, threshold_delta })?;
            periods = periods.max(own);
        }
        let delta = Delta::parse(&self.terms.delta_max).ok()?.times(periods)?;
        Some(Composed { periods, loss, delta, epsilon: epsilon_held(loss, delta)? })
    }

    /// The job with this id.
    pub fn job(&self, id: &str) -> Option<&JobEntry> {
        self.jobs.iter().find(|job| job.id == id)
    }
}

/// The ledger's path.
///
/// # Errors
/// Invalid: there is no such file. Environment: nobody can tell.
pub(super) fn there(path: &Path) -> Result<PathBuf> {
    let path = file::locate(path)?;
    if !file::exists(&path)? {
        return Err(Error::invalid(findings::ledger_missing(&path)));
    }
    Ok(path)
}

/// Refuses a ledger with tables, indexes or triggers that are not those it was made with. Runs ask
/// too, so that nothing is charged to a ledger that no release could be verified against.
pub(super) fn as_made(connection: &Connection, path: &Path) -> Result<()> {
    match schema::altered(connection).map_err(|cause| file::unreadable(path, &cause))? {
        Some(name) => Err(Error::refused(findings::ledger_structure_altered(path, &name))),
        None => Ok(()),
    }
}

fn integrity(connection: &Connection) -> rusqlite::Result<String> {
    connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
}

fn is_digest(text: &str) -> bool {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == 64 && text.bytes().all(hex)
}
