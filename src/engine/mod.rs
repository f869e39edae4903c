//! Engines: from payments to exact totals.
//!
//! Every engine computes the same integers: per level and statistic, each user's vector over the
//! cells is capped, fitted into its bound and added up (Lemma 1 of `docs/privacy.md`). The result
//! is sensitive: it cannot be serialised or shown, and only `mechanism` takes it.

pub mod given;
pub mod local;
pub mod reference;
pub mod remote;
pub mod sql;
mod surveyed;
#[cfg(test)]
mod tests;

use crate::error::Result;
use crate::plan::{CellKey, LevelPlan, Plan, StatisticPlan, SurveyPlan};

/// Computes the exact totals of a plan.
pub trait Engine {
    /// Reads all payments of the plan's job, once, and fits every user; gives the plan by which it
    /// did so too. As long as the plan is not settled, `settle` is called with what it asks first:
    /// rounds that look for keys, one after the other, then what the surveys count. It must give
    /// the plan with what follows. From the first call on Ctrl-C is not heard, as noise has been
    /// paid for.
    ///
    /// # Errors
    /// Whatever reading can find, what `settle` finds, or Ctrl-C.
    fn totals(&self, plan: &Plan, settle: Settle) -> Result<(Plan, ExactTotals)>;
}

/// From what is asked first to the plan with what follows from it.
pub type Settle<'a> = &'a mut dyn FnMut(ExactSurveys) -> Result<Plan>;

/// Sums of fitted contributions: sensitive, never leaves the process.
#[derive(Clone, PartialEq, Eq)]
pub struct ExactTotals {
    pub(crate) levels: Vec<LevelTotals>,
}

impl std::fmt::Debug for ExactTotals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ExactTotals(sensitive)")
    }
}

/// What a plan asks before users are fitted: sensitive, never leaves the process.
#[derive(Clone, PartialEq, Eq)]
pub struct ExactSurveys {
    /// What the surveys count, in the order of the plan; nothing as long as keys are looked for.
    pub(crate) surveys: Vec<SurveyTotals>,
    /// Of each level that has a round to run, in the order of the plan, its users by cell.
    pub(crate) round: Vec<LevelTotals>,
}

impl std::fmt::Debug for ExactSurveys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ExactSurveys(sensitive)")
    }
}

/// What one survey counts, in grid units.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SurveyTotals {
    /// Users, or their tickets, by bin.
    pub(crate) histogram: Vec<i64>,
    /// Σ of their spreads, where the plan asks for it.
    pub(crate) spread: Option<i64>,
}

impl SurveyTotals {
    fn new(users: &[u64], spread: i128, plan: &SurveyPlan) -> Self {
        let grid = |users: &u64| clamp_total(i128::from(*users) << plan.histogram.grid_bits);
        SurveyTotals {
            histogram: users.iter().map(grid).collect(),
            spread: plan.spread.map(|_| clamp_total(spread)),
        }
    }

    /// Of tickets, in grid units.
    fn of_tickets(totals: &[i128]) -> Self {
        let histogram = totals.iter().map(|&total| clamp_total(total)).collect();
        SurveyTotals { histogram, spread: None }
    }
}

/// More tickets of a user in one bin of a survey are not counted, so that all squares fit 128 bits.
const TICKETS_MAX: u32 = 1 << 16;

/// A total cut to ±2⁶², so that noise cannot take it beyond an i64. A cut, not an error: an error
/// would tell that somebody made the total so large (Lemma 2 of `docs/privacy.md`).
fn clamp_total(total: i128) -> i64 {
    const LIMIT: i128 = TOTAL_MAX as i128;
    total.clamp(-LIMIT, LIMIT) as i64
}

/// The largest total.
const TOTAL_MAX: i64 = 1 << 62;

/// The totals of one level.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct LevelTotals {
    /// The cells of `sums`: of a public level all its cells in the plan's order, else those that
    /// hold payments or are always shown, ascending.
    pub(crate) keys: Vec<CellKey>,
    /// For each statistic of the level's plan, its totals in grid units: cell after cell, of each
    /// its `width` numbers.
    pub(crate) sums: Vec<Vec<i64>>,
}

impl LevelTotals {
    /// With zeros for cells that are always shown and hold no payments: that they hold none must
    /// not show.
    fn with_always(self, level: &LevelPlan) -> LevelTotals {
        let missing = level.always.iter().filter(|key| self.keys.binary_search(key).is_err());
        let missing: Vec<CellKey> = missing.cloned().collect();
        if missing.is_empty() {
            return self;
        }
        let found = self.keys.len();
        let mut cells: Vec<(CellKey, usize)> =
            self.keys.into_iter().chain(missing).zip(0..).collect();
        cells.sort();
        let column = |(sums, statistic): (Vec<i64>, &StatisticPlan)| -> Vec<i64> {
            let (zeros, width) = (vec![0; statistic.width], statistic.width);
            let numbers = |&(_, at): &(CellKey, usize)| match at {
                at if at < found => sums[at * width..][..width].to_vec(),
                _ => zeros.clone(),
            };
            cells.iter().flat_map(numbers).collect()
        };
        let sums = self.sums.into_iter().zip(&level.statistics).map(column).collect();
        LevelTotals { keys: cells.into_iter().map(|(key, _)| key).collect(), sums }
    }
}
