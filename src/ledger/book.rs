//! What the entries add up to: each job's state and the loss that counts. Pure.

use std::collections::BTreeMap;

use super::Request;
use super::chain::{Entry, EntryState, ReleaseMark};
use crate::privacy::{AllUnits, PrivacyBudget, PrivacyLoss};

/// What the ledger knows about one job.
#[derive(Clone, Debug)]
pub(super) struct JobRecord {
    pub(super) state: EntryState,
    /// The entry that reserved it; another number means another reservation.
    pub(super) reserved_by: i64,
    pub(super) digest: String,
    pub(super) recipient: String,
    pub(super) user: String,
    pub(super) time: Option<String>,
    pub(super) loss: PrivacyLoss,
    pub(super) all_units: AllUnits,
    pub(super) release: Option<ReleaseMark>,
    /// The entry that published it.
    pub(super) published_by: Option<i64>,
}

/// What the entries may add up to: all of them, and those of some recipients.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) total: PrivacyBudget,
    pub(super) recipients: BTreeMap<String, PrivacyBudget>,
}

/// Loss by the state of its job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Set aside; nothing is drawn yet.
    pub reserved: PrivacyLoss,
    /// Noise may have been drawn, and nothing is published.
    pub spent: PrivacyLoss,
    /// The release is on disk.
    pub published: PrivacyLoss,
}

impl Tally {
    /// All that counts.
    pub fn counted(&self) -> PrivacyLoss {
        sum(sum(self.reserved, self.spent), self.published)
    }

    /// The loss of a state that counts.
    fn of(&mut self, state: EntryState) -> Option<&mut PrivacyLoss> {
        match state {
            EntryState::Reserved => Some(&mut self.reserved),
            EntryState::Spent => Some(&mut self.spent),
            EntryState::Published => Some(&mut self.published),
            EntryState::Voided => None,
        }
    }

    fn moved(&mut self, from: Option<EntryState>, to: EntryState, loss: PrivacyLoss) {
        if let Some(part) = from.and_then(|from| self.of(from)) {
            *part = less(*part, loss);
        }
        if let Some(part) = self.of(to) {
            *part = sum(*part, loss);
        }
    }
}

/// The state after a list of entries.
#[derive(Clone, Debug)]
pub(super) struct Book {
    limits: Limits,
    total: Tally,
    recipients: BTreeMap<String, Tally>,
    last: i64,
    jobs: BTreeMap<String, JobRecord>,
}

impl Book {
    /// No entries yet.
    pub(super) fn new(limits: Limits) -> Self {
        let recipients = limits.recipients.keys().map(|name| (name.clone(), Tally::default()));
        let recipients = recipients.collect();
        Book { limits, total: Tally::default(), recipients, last: 0, jobs: BTreeMap::new() }
    }

    /// All jobs.
    pub(super) fn total(&self) -> &Tally {
        &self.total
    }

    /// The jobs of each recipient who has one or has a budget.
    pub(super) fn recipients(&self) -> &BTreeMap<String, Tally> {
        &self.recipients
    }

    /// The budget of all jobs, and that of the recipient if there is one; each with what is left.
    pub(super) fn budgets(&self, recipient: &str) -> [Option<(PrivacyBudget, PrivacyBudget)>; 2] {
        let used = self.recipients.get(recipient).copied().unwrap_or_default();
        let own = self.limits.recipients.get(recipient);
        [
            Some((self.limits.total, left(self.limits.total, &self.total))),
            own.map(|&budget| (budget, left(budget, &used))),
        ]
    }

    /// Every job that ever was reserved, by id.
    pub(super) fn jobs(&self) -> &BTreeMap<String, JobRecord> {
        &self.jobs
    }

    /// May the recipient get `loss` more?
    pub(super) fn allows(&self, recipient: &str, loss: PrivacyLoss) -> bool {
        self.budgets(recipient).into_iter().flatten().all(|(_, left)| left.allows(loss))
    }

    /// The first job that counts: all others tell users, and their periods, apart as it does
    /// (Theorem 2 of `docs/privacy.md`).
    pub(super) fn agreed(&self) -> Option<(&str, &JobRecord)> {
        let counted = self.jobs.iter().filter(|(_, record)| record.state != EntryState::Voided);
        let first = counted.min_by_key(|(_, record)| record.reserved_by);
        first.map(|(id, record)| (id.as_str(), record))
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
            user: request.user.to_owned(),
            time: request.time.clone(),
            loss: request.loss,
            all_units: request.all_units,
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
            user: record.user.clone(),
            time: record.time.clone(),
            loss: record.loss,
            all_units: record.all_units,
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
                let step = self.step(&entry.job, record, entry.state);
                if *entry != (Entry { seq: entry.seq, release: entry.release.clone(), ..step }) {
                    return Err("it differs from the reservation of its job");
                }
                record.reserved_by
            }
            _ => entry.seq,
        };
        let others = self.agreed().filter(|_| entry.state == Reserved);
        if others.is_some_and(|(_, first)| (&first.user, &first.time) != (&entry.user, &entry.time))
        {
            return Err("it tells users apart by another expression than the jobs before it");
        }
        if entry.state == Reserved && !self.allows(&entry.recipient, entry.loss) {
            return Err("it goes beyond the budget");
        }
        let from = known.map(|record| record.state);
        self.total.moved(from, entry.state, entry.loss);
        let own = self.recipients.entry(entry.recipient.clone()).or_default();
        own.moved(from, entry.state, entry.loss);
        let record = JobRecord {
            state: entry.state,
            reserved_by,
            digest: entry.digest.clone(),
            recipient: entry.recipient.clone(),
            user: entry.user.clone(),
            time: entry.time.clone(),
            loss: entry.loss,
            all_units: entry.all_units,
            release: entry.release.clone(),
            published_by: (entry.state == Published).then_some(entry.seq),
        };
        self.jobs.insert(entry.job.clone(), record);
        self.last = entry.seq;
        Ok(())
    }
}

/// The budget without what is counted.
pub(super) fn left(budget: PrivacyBudget, tally: &Tally) -> PrivacyBudget {
    let why = "cannot fail because `apply` refuses what a budget does not allow";
    let counted = tally.counted();
    PrivacyBudget {
        mu_squared: budget.mu_squared.checked_sub(counted.mu_squared).expect(why),
        threshold_delta: budget.threshold_delta.checked_sub(counted.threshold_delta).expect(why),
    }
}

fn sum(a: PrivacyLoss, b: PrivacyLoss) -> PrivacyLoss {
    a.checked_add(b).expect("cannot fail because `apply` adds only what the budget allows")
}

fn less(whole: PrivacyLoss, part: PrivacyLoss) -> PrivacyLoss {
    let why = "cannot fail because the loss was added when its job came to this state";
    PrivacyLoss {
        mu_squared: whole.mu_squared.checked_sub(part.mu_squared).expect(why),
        threshold_delta: whole.threshold_delta.checked_sub(part.threshold_delta).expect(why),
    }
}
