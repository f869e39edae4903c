//! The ledger: which jobs have spent, or may yet spend, how much of a population's budget.
//!
//! One SQLite file, appended to and never edited. A job goes none → reserved → spent → published,
//! or reserved → voided, after which its id is free again. Each step is one transaction that
//! reads and checks the whole ledger under the write lock, so of two processes one wins. What is
//! reserved, spent or published counts; a crash may cost budget, it never costs privacy. There is
//! no time column: outputs do not depend on the clock.

mod book;
mod chain;
mod file;
mod hold;
mod number;
mod overrun;
mod report;
mod schema;
mod terms;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior};

use crate::error::{Error, Result};
use crate::findings::{self, Finding};
use crate::privacy::{AllUnits, PrivacyBudget, PrivacyLoss};
pub use book::Tally;
use book::{Book, JobRecord};
pub use chain::EntryState;
use chain::{Chain, Entry, ReleaseMark};
pub use hold::Hold;
pub use number::{Round, of_delta, of_mu_squared};
pub use overrun::overruns;
pub use report::{Account, JobEntry, Report};
pub use terms::{RecipientTerms, Terms};

/// A job's wish to cost `loss`.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The job's id, which means one content for ever.
    pub job: &'a str,
    /// SHA-256 of the job's content, in hex.
    pub digest: &'a str,
    /// Who gets the release.
    pub recipient: &'a str,
    /// The SQL expression that tells users apart, as all jobs of the ledger agree to write it.
    pub user: &'a str,
    /// How it reads times, as all jobs of the ledger agree to write it, where the unit lies within
    /// a period.
    pub time: Option<String>,
    /// What the job will cost.
    pub loss: PrivacyLoss,
    /// What it is for all units of a user.
    pub all_units: AllUnits,
}

/// The answer to a [`Request`] that is not refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reservation {
    /// Reserved now, or by an earlier run of the same content that stopped before it spent.
    Granted,
    /// An earlier run may have drawn noise and published nothing: never draw again for this id.
    Spent {
        /// What it was charged, which its release states if there is one.
        loss: PrivacyLoss,
    },
    /// Released before; nothing is charged.
    Published {
        /// Where the release was put.
        folder: PathBuf,
        /// The digest that was recorded with it.
        release_digest: String,
    },
}

/// The durable odometer of one population.
#[derive(Debug)]
pub struct Ledger {
    connection: Connection,
    path: PathBuf,
    /// The reservations that this process may spend, by job; see [`Ledger::spend`].
    granted: BTreeMap<String, i64>,
}

impl Ledger {
    /// Opens the ledger for changes; the first run makes it, with mode 0600.
    ///
    /// The budget in force is the one stored by the first run; that of `terms` is for that run.
    ///
    /// # Errors
    /// Refused: its terms or its units differ from those of `terms`, an entry was edited, or its
    /// tables or triggers are others than it was made with.
    /// Environment: the folder is missing, the file is no ledger, cannot be read or written, or
    /// stays locked.
    pub fn open_or_create(path: &Path, terms: &Terms) -> Result<Ledger> {
        let path = file::locate(path)?;
        if !file::exists(&path)? {
            file::create(&path, &terms.row())?;
        }
        Self::checked(file::open_to_write(&path)?, path, terms)
    }

    /// Opens the ledger for a look; `None` if there is no file yet. Changes fail.
    ///
    /// # Errors
    /// As [`Ledger::open_or_create`], but a file that may not be written is no error.
    pub fn open(path: &Path, terms: &Terms) -> Result<Option<Ledger>> {
        let path = file::locate(path)?;
        if !file::exists(&path)? {
            return Ok(None);
        }
        Self::checked(file::open_to_read(&path)?, path, terms).map(Some)
    }

    /// Makes a ledger with mode 0600.
    ///
    /// # Errors
    /// Invalid: there is a file already. Environment: the folder is missing or cannot be written.
    pub fn create(path: &Path, terms: &Terms) -> Result<()> {
        let path = file::locate(path)?;
        if file::exists(&path)? || !file::create(&path, &terms.row())? {
            return Err(Error::invalid(findings::ledger_exists(&path)));
        }
        Ok(())
    }

    /// Opens a ledger for changes, whatever its terms.
    ///
    /// # Errors
    /// Refused: an entry was edited. Invalid: there is no such file. Environment: as
    /// [`Ledger::open_or_create`].
    pub fn open_to_change(path: &Path) -> Result<Ledger> {
        let path = report::there(path)?;
        let connection = file::open_to_write(&path)?;
        read(&connection, &path)?;
        Ok(Ledger { connection, path, granted: BTreeMap::new() })
    }

    fn checked(connection: Connection, path: PathBuf, terms: &Terms) -> Result<Ledger> {
        let (chain, book) = read(&connection, &path)?;
        terms.compare(&chain.terms, &path)?;
        if let Some(user) = &terms.user {
            same_units(&book, user, terms.time.as_deref(), &path)?;
        }
        report::as_made(&connection, &path)?;
        Ok(Ledger { connection, path, granted: BTreeMap::new() })
    }

    /// Everything in the ledger, checked.
    ///
    /// # Errors
    /// Refused: an entry was edited. Environment: the file cannot be read.
    pub fn report(&self) -> Result<Report> {
        let (chain, book) = read(&self.connection, &self.path)?;
        Ok(Report::of(chain, &book))
    }

    /// The same as it was when the job was reserved that this process has a grant for: what came
    /// since may hang on how long runs took, and so on payments.
    ///
    /// # Errors
    /// As [`Ledger::report`].
    pub fn report_when_reserved(&self, job: &str) -> Result<Report> {
        let mut chain = Chain::read(&self.connection, &self.path)?;
        let own = self.granted.get(job).copied().unwrap_or(i64::MAX);
        chain.entries.retain(|entry| entry.seq <= own);
        chain.hashes.truncate(chain.entries.len() + 1);
        let book = book_of(&chain, &self.path)?;
        Ok(Report::of(chain, &book))
    }

    /// The loss that counts: of every job that is reserved, spent or published.
    ///
    /// # Errors
    /// Refused: an entry was edited. Environment: the file cannot be read.
    pub fn spent(&self) -> Result<PrivacyLoss> {
        Ok(read(&self.connection, &self.path)?.1.total().counted())
    }

    /// What a next job may cost, as far as all recipients together are concerned.
    ///
    /// # Errors
    /// As [`Ledger::spent`].
    pub fn left(&self) -> Result<PrivacyBudget> {
        let (chain, book) = read(&self.connection, &self.path)?;
        Ok(book::left(chain.limits.total, book.total()))
    }

    /// The recipient's own budget and what is left of it; `None` if the ledger gives it none.
    ///
    /// # Errors
    /// As [`Ledger::spent`].
    pub fn recipient_left(&self, name: &str) -> Result<Option<(PrivacyBudget, PrivacyBudget)>> {
        let [_, own] = read(&self.connection, &self.path)?.1.budgets(name);
        Ok(own)
    }

    /// What [`Ledger::reserve`] would answer of a job that is spent or published; `None` of any
    /// other. Changes nothing.
    ///
    /// # Errors
    /// Refused: the id has other content, or an entry was edited. Environment: the file cannot be
    /// read.
    pub fn earlier(&self, request: &Request<'_>) -> Result<Option<Reservation>> {
        let (_, book) = read(&self.connection, &self.path)?;
        match book.job(request.job) {
            Some(known) if matches!(known.state, EntryState::Spent | EntryState::Published) => {
                if !is_same(known, request) {
                    let finding = findings::job_content_differs(request.job, &self.path);
                    return Err(Error::refused(finding));
                }
                Ok(Some(answer(known)))
            }
            _ => Ok(None),
        }
    }

    /// Sets the job's loss aside, before its payments are read.
    ///
    /// # Errors
    /// Refused: the id has other content, the budget does not allow it, the ledger's jobs tell
    /// users, or their periods, apart by another expression, or an entry was edited.
    /// Environment: the file cannot be read or written.
    pub fn reserve(&mut self, request: &Request<'_>) -> Result<Reservation> {
        let (path, id) = (&self.path, request.job);
        let (reservation, seq) = change(&mut self.connection, path, |book| match book.job(id) {
            Some(known) if known.state != EntryState::Voided => {
                if !is_same(known, request) {
                    return Err(Error::refused(match known.state {
                        EntryState::Reserved => findings::job_reserved_otherwise(id, path),
                        _ => findings::job_content_differs(id, path),
                    }));
                }
                Ok((None, (answer(known), known.reserved_by)))
            }
            _ => {
                let entry = grant(book, request, path)?;
                let seq = entry.seq;
                Ok((Some(entry), (Reservation::Granted, seq)))
            }
        })?;
        if reservation == Reservation::Granted {
            self.granted.insert(id.to_owned(), seq);
        }
        Ok(reservation)
    }

    /// Marks the job's loss as spent. Draw no noise before this returns.
    ///
    /// Of several processes that hold a grant for the job, one gets through. A grant is for one
    /// reservation: if that was voided and the id reserved again, perhaps with another loss, it
    /// does not count any more.
    ///
    /// # Errors
    /// Refused: [`Ledger::reserve`] did not grant it to this process, or the grant was voided, or
    /// another process was first. Environment: the file cannot be read or written; draw no noise.
    pub fn spend(&mut self, job: &str) -> Result<()> {
        let granted = self.granted.get(job).copied();
        self.step(job, |record, path| match record.map(|r| (r.state, Some(r.reserved_by))) {
            Some((EntryState::Reserved, seq)) if seq == granted => Ok((EntryState::Spent, None)),
            Some((EntryState::Spent, _)) => Err(findings::job_spent(job, path)),
            Some((EntryState::Published, _)) => Err(findings::job_published(job, path)),
            _ => Err(findings::job_not_reserved(job, path)),
        })
    }

    /// Records the release, once its files are on disk.
    ///
    /// # Errors
    /// Refused: the job is not spent, or published before. Invalid: the folder's name is not
    /// UTF-8. Environment: the file cannot be read or written.
    pub fn publish(&mut self, job: &str, folder: &Path, release_digest: &str) -> Result<()> {
        let Some(name) = folder.to_str() else {
            return Err(Error::invalid(findings::release_folder_not_text(folder)));
        };
        let mark = ReleaseMark { folder: name.to_owned(), digest: release_digest.to_owned() };
        self.step(job, |record, path| match record.map(|record| record.state) {
            Some(EntryState::Spent) => Ok((EntryState::Published, Some(mark))),
            Some(EntryState::Published) => Err(findings::job_published(job, path)),
            _ => Err(findings::job_not_spent(job, path)),
        })
    }

    /// Gives a reservation back: the one granted to this process, else whichever there is.
    ///
    /// # Errors
    /// Refused: the job is not reserved (any more). Environment: the file cannot be read or
    /// written.
    pub fn void(&mut self, job: &str) -> Result<()> {
        let granted = self.granted.get(job).copied();
        self.step(job, |record, path| match record.map(|r| (r.state, r.reserved_by)) {
            Some((EntryState::Reserved, seq)) if granted.is_none_or(|own| own == seq) => {
                Ok((EntryState::Voided, None))
            }
            Some((EntryState::Spent, _)) => Err(findings::job_spent(job, path)),
            Some((EntryState::Published, _)) => Err(findings::job_published(job, path)),
            _ => Err(findings::job_not_reserved(job, path)),
        })
    }

    /// Moves a known job to its next state; the grant, if any, has then served.
    fn step(
        &mut self,
        job: &str,
        next: impl FnOnce(Option<&JobRecord>, &Path) -> Step,
    ) -> Result<()> {
        let path = &self.path;
        change(&mut self.connection, path, |book| {
            let record = book.job(job);
            let (state, release) = next(record, path).map_err(Error::refused)?;
            let record = record.expect("cannot fail because no step follows from nothing");
            Ok((Some(Entry { release, ..book.step(job, record, state) }), ()))
        })?;
        self.granted.remove(job);
        Ok(())
    }
}

/// The state that a job goes to, with its release if it is published; or why it may not.
type Step = std::result::Result<(EntryState, Option<ReleaseMark>), Finding>;

/// Every row, checked, and what the rows add up to.
fn read(connection: &Connection, path: &Path) -> Result<(Chain, Book)> {
    let chain = Chain::read(connection, path)?;
    let book = book_of(&chain, path)?;
    Ok((chain, book))
}

fn book_of(chain: &Chain, path: &Path) -> Result<Book> {
    let mut book = Book::new(chain.limits.clone());
    for entry in &chain.entries {
        book.apply(entry).map_err(|why| chain::broken_entry(path, entry.seq, why))?;
    }
    Ok(book)
}

/// One transaction: takes the write lock, reads, decides, appends at most one entry.
fn change<T>(
    connection: &mut Connection,
    path: &Path,
    decide: impl FnOnce(&Book) -> Result<(Option<Entry>, T)>,
) -> Result<T> {
    let sqlite = |cause: rusqlite::Error| file::unwritable(path, &cause);
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sqlite)?;
    let (chain, mut book) = read(&transaction, path)?;
    let (entry, said) = decide(&book)?;
    if let Some(entry) = &entry {
        book.apply(entry).expect("cannot fail because `decide` makes only steps that can follow");
        chain.append(&transaction, entry).map_err(sqlite)?;
    }
    transaction.commit().map_err(sqlite)?;
    Ok(said)
}

/// Refuses a job that tells units apart by other expressions than the jobs that count.
fn same_units(book: &Book, user: &str, time: Option<&str>, path: &Path) -> Result<()> {
    let Some((job, kept)) = book.agreed() else { return Ok(()) };
    if kept.user != user {
        return Err(Error::refused(findings::ledger_users_differ(path, (job, &kept.user), user)));
    }
    let (kept, time) = (kept.time.as_deref().unwrap_or_default(), time.unwrap_or_default());
    if kept != time {
        return Err(Error::refused(findings::ledger_times_differ(path, (job, kept), time)));
    }
    Ok(())
}

/// The entry that reserves `request`, if the budget allows it.
fn grant(book: &Book, request: &Request<'_>, path: &Path) -> Result<Entry> {
    same_units(book, request.user, request.time.as_deref(), path)?;
    if !book.allows(request.recipient, request.loss) {
        let own = format!(" of recipient `{}`", request.recipient);
        let budgets = ["", &own].into_iter().zip(book.budgets(request.recipient));
        let overruns: Vec<_> = budgets
            .filter_map(|(whose, budget)| budget.map(|budget| (whose, budget)))
            .flat_map(|(whose, (limit, left))| overrun::overruns(whose, request.loss, left, limit))
            .collect();
        let idle = idle(book, request, path);
        return Err(Error::refused(findings::budget_exceeded(request.job, path, &overruns, &idle)));
    }
    Ok(book.reservation(request))
}

/// Of which jobs that stand in the way, as they are reserved, does no run go on that is seen?
fn idle<'b>(book: &'b Book, request: &Request<'_>, path: &Path) -> Vec<&'b str> {
    let in_all = book.budgets("")[0].is_some_and(|(_, left)| !left.allows(request.loss));
    let stands = |(id, record): &(&String, &JobRecord)| {
        record.state == EntryState::Reserved
            && *id != request.job
            && (in_all || record.recipient == request.recipient)
            && !Hold::is_taken(path, id).unwrap_or(true)
    };
    book.jobs().iter().filter(stands).map(|(id, _)| &**id).collect()
}

/// The same content; and while nothing is spent also the same price, which may depend on the
/// version of this program.
fn is_same(known: &JobRecord, request: &Request<'_>) -> bool {
    known.digest == request.digest
        && (known.state != EntryState::Reserved
            || (known.loss == request.loss && known.recipient == request.recipient))
}

fn answer(known: &JobRecord) -> Reservation {
    match &known.release {
        Some(release) => Reservation::Published {
            folder: PathBuf::from(&release.folder),
            release_digest: release.digest.clone(),
        },
        None if known.state == EntryState::Reserved => Reservation::Granted,
        None => Reservation::Spent { loss: known.loss },
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_chain;
#[cfg(test)]
mod tests_file;
