//! One user after the other: which cells have many of them, where keys are discovered.

use super::cells::{CellFinder, LevelIndex};
use super::partition::Users;
use super::record::Record;
use super::totals::Sums;
use super::users::UserLevels;
use crate::error::Result;
use crate::job::StatisticKind;
use crate::plan::{LevelPlan, Plan};

/// Adds up one round of each level that has one; one for each thread.
pub(super) struct Discoverer<'p> {
    plan: &'p Plan,
    users: UserLevels<'p>,
}

impl<'p> Discoverer<'p> {
    pub(super) fn new(plan: &'p Plan, finder: &'p CellFinder<'p>) -> Self {
        let levels = finder.levels.iter().zip(&plan.levels);
        let sums = levels.map(|(index, level)| level.round().map(|_| Sums::of_width(index, 1)));
        Discoverer { plan, users: UserLevels::of_payments(plan, finder, sums) }
    }

    /// Of the levels that have a round, in the order of the plan.
    pub(super) fn into_sums(self) -> Vec<Sums> {
        self.users.into_sums().collect()
    }
}

impl Users for Discoverer<'_> {
    fn add(&mut self, records: &[Record]) -> Result<()> {
        self.users.add(records)
    }

    /// Each of the user's cells gets as much, together a norm of 1.
    fn finish_user(&mut self) -> Result<()> {
        let plan = self.plan;
        self.users.finish(|place, level| {
            let Some(round) = plan.levels[place].round() else { return };
            let (sums, user) = (&mut level.sums, &level.user);
            let each = round.each(user.count());
            user.numbers(StatisticKind::Customers, |place, _, _| sums.add(place, 0, each));
        })
    }
}

/// Which cells of a level with discovered keys count: see [`LevelPlan::counts`].
pub(super) struct Counting<'p> {
    level: &'p LevelPlan,
    is_seeking: bool,
    /// By place, whether the cell counts; `None`: not looked up yet.
    known: Vec<Option<bool>>,
}

impl<'p> Counting<'p> {
    /// `None` if keys are not discovered.
    pub(super) fn new(level: &'p LevelPlan) -> Option<Self> {
        let is_seeking = level.round().is_some();
        level.discovery().map(|_| Counting { level, is_seeking, known: Vec::new() })
    }

    /// Does the cell at a place count?
    pub(super) fn counts(&mut self, place: u32, index: &LevelIndex, sums: &Sums) -> bool {
        if self.is_seeking && self.level.always.is_empty() && self.level.hidden.is_empty() {
            return true;
        }
        let at = place as usize;
        if self.known.len() <= at {
            self.known.resize(at + 1, None);
        }
        let level = self.level;
        *self.known[at].get_or_insert_with(|| level.counts(&index.key(sums.number(place))))
    }

    /// The most cells of a user that count.
    pub(super) fn most(&self) -> usize {
        let of_round = self.level.discovery().filter(|_| self.is_seeking);
        of_round.map_or(usize::MAX, |discovery| discovery.cells_max as usize)
    }
}
