//! What the entries add up to: each job's state and the loss that counts. Pure.

use std::collections::BTreeMap;

use super::Request;
use super::chain::{Entry, EntryState, ReleaseMark};
use crate::privacy::{PrivacyBudget, PrivacyLoss};

/// What the ledger knows about one job.
#[derive(Clone, Debug)]
pub(super) struct JobRecord {
    pub(super) state: EntryState,
    /// The entry that reserved it; another number means another reservation.
    pub(super) reserved_by: i64,
    pub(super) digest: String,
    pub(super) recipient: String,
    pub(super) loss: PrivacyLoss,
    pub(super) release: Option<ReleaseMark>,
}

/// The state after a list of entries.
#[derive(Clone, Debug)]
pub(super) struct Book {
    budget: PrivacyBudget,
    counted: PrivacyLoss,
    last: i64,
    jobs: BTreeMap<String, JobRecord>,
}

impl Book {
    /// No entries yet.
    pub(super) fn new(budget: PrivacyBudget) -> Self {
        Book { budget, counted: PrivacyLoss::default(), last: 0, jobs: BTreeMap::new() }
    }

    /// The limit on [`Book::counted`].
    pub(super) fn budget(&self) -> PrivacyBudget {
        self.budget
    }

    /// The loss of all jobs that are reserved, spent or published.
    pub(super) fn counted(&self) -> PrivacyLoss {
        self.counted
    }

    /// The budget without what is counted.
    pub(super) fn left(&self) -> PrivacyBudget {
        let (limit, used) = (self.budget, self.counted);
        let why = "cannot fail because `apply` refuses what the budget does not allow";
        PrivacyBudget {
            mu_squared: limit.mu_squared.checked_sub(used.mu_squared).expect(why),
            threshold_delta: limit.threshold_delta.checked_sub(used.threshold_delta).expect(why),
        }
    }

    /// The loss counted if `loss` is added, or `None` if the budget does not allow it.
    pub(super) fn with(&self, loss: PrivacyLoss) -> Option<PrivacyLoss> {
        self.counted.checked_add(loss).filter(|sum| self.budget.allows(*sum))
    }

    /// The job's last known state; `None` if it was never reserved.
    pub(super) fn job(&self, id: &str) -> Option<&JobRecord> {
        self.jobs.get(id)
    }

    /// The entry that would reserve `request`.
    pub(super) fn reservation(&self, request: &Request<'_>) -> Entry {
        Entry {
            seq: self.last + 1,
            state: EntryState::Reserved,
            job: request.job.to_owned(),
            digest: request.digest.to_owned(),
            recipient: request.recipient.to_owned(),
            loss: request.loss,
            release: None,
        }
    }

    /// The entry that would move the job of `record` to `state`.
    pub(super) fn step(&self, id: &str, record: &JobRecord, state: EntryState) -> Entry {
        Entry {
            seq: self.last + 1,
            state,
            job: id.to_owned(),
            digest: record.digest.clone(),
            recipient: record.recipient.clone(),
            loss: record.loss,
            release: None,
        }
    }

    /// Takes in the next entry, or says why it cannot be the next one.
    pub(super) fn apply(&mut self, entry: &Entry) -> Result<(), &'static str> {
        use EntryState::{Published, Reserved, Spent, Voided};
        if entry.release.is_some() != (entry.state == Published) {
            return Err("a release belongs to a published job, and to no other");
        }
        let known = self.jobs.get(&entry.job);
        match (known.map(|record| record.state), entry.state) {
            (None | Some(Voided), Reserved)
            | (Some(Reserved), Spent | Voided)
            | (Some(Spent), Published) => {}
            _ => return Err("its job was not in a state that this step can follow"),
        }
        let reserved_by = match known {
            Some(record) if entry.state != Reserved => {
                if (&record.digest, &record.recipient, record.loss)
                    != (&entry.digest, &entry.recipient, entry.loss)
                {
                    return Err("it differs from the reservation of its job");
                }
                record.reserved_by
            }
            _ => entry.seq,
        };
        match entry.state {
            Reserved => {
                self.counted = self.with(entry.loss).ok_or("it goes beyond the budget")?;
            }
            Voided => self.counted = self.without(entry.loss),
            Spent | Published => {}
        }
        let record = JobRecord {
            state: entry.state,
            reserved_by,
            digest: entry.digest.clone(),
            recipient: entry.recipient.clone(),
            loss: entry.loss,
            release: entry.release.clone(),
        };
        self.jobs.insert(entry.job.clone(), record);
        self.last = entry.seq;
        Ok(())
    }

    fn without(&self, loss: PrivacyLoss) -> PrivacyLoss {
        let why = "cannot fail because a reservation's loss was added before";
        let counted = self.counted;
        PrivacyLoss {
            mu_squared: counted.mu_squared.checked_sub(loss.mu_squared).expect(why),
            threshold_delta: counted.threshold_delta.checked_sub(loss.threshold_delta).expect(why),
        }
    }
}
