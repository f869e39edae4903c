//! One user after the other: cap, fit, sum.

use super::cells::CellFinder;
use super::partition::Users;
use super::record::Record;
use super::totals::Sums;
use super::users::{UserLevel, UserLevels};
use crate::error::Result;
use crate::plan::{Plan, StatisticPlan};

/// Fits users and adds them up; one for each thread.
pub(super) struct Fitter<'p> {
    plan: &'p Plan,
    users: UserLevels<'p>,
    /// Kept between users.
    capped: Vec<Capped>,
}

/// One number of a user after the cap, and where it goes.
struct Capped {
    place: u32,
    column: u32,
    value: i64,
}

impl<'p> Fitter<'p> {
    pub(super) fn new(plan: &'p Plan, finder: &'p CellFinder<'p>) -> Self {
        let sums = finder.levels.iter().map(|index| Some(Sums::new(index)));
        Fitter { plan, users: UserLevels::new(plan, finder, sums), capped: Vec::new() }
    }

    pub(super) fn into_sums(self) -> Vec<Sums> {
        self.users.into_sums().collect()
    }
}

impl Users for Fitter<'_> {
    fn add(&mut self, records: &[Record]) -> Result<()> {
        self.users.add(records)
    }

    /// Fits the cells of the user at hand into each bound and adds them to the totals.
    fn finish_user(&mut self) -> Result<()> {
        let (plan, capped) = (self.plan, &mut self.capped);
        self.users.finish(|place, level| {
            let plan = &plan.levels[place];
            for (statistic, columns) in plan.statistics.iter().zip(plan.columns()) {
                fit(level, statistic, columns.start, capped);
            }
        })
    }
}

/// Caps, fits and adds one statistic of the user's cells (Lemma 1 of `docs/privacy.md`).
fn fit(level: &mut UserLevel, plan: &StatisticPlan, column: usize, capped: &mut Vec<Capped>) {
    let UserLevel { sums, user, .. } = level;
    let noise = plan.noise;
    let size = user.size(plan.kind);
    if size.is_some_and(|(largest, squares)| noise.bound.keeps(largest, squares, noise.grid_bits)) {
        // Most users: neither cap nor fit changes anything.
        user.numbers(plan.kind, |place, bin, value| {
            sums.add(place, column + bin, (value as i64) << noise.grid_bits);
        });
        return;
    }
    capped.clear();
    let mut squares = 0u128;
    user.numbers(plan.kind, |place, bin, value| {
        let value = noise.bound.cap(value, noise.grid_bits);
        squares += u128::from(value.unsigned_abs()).pow(2);
        capped.push(Capped { place, column: (column + bin) as u32, value });
    });
    let fit = noise.bound.fit(squares);
    for number in &*capped {
        sums.add(number.place, number.column as usize, fit.apply(number.value));
    }
}
