//! What the user at hand spends in a period against another one.

use super::cells::LevelIndex;
use crate::job::{StatisticKind, change_class};

/// Of one level, the cells in which the user counts, each with its class: those where they paid in
/// this period or in the one with which it is compared.
#[derive(Default)]
pub(super) struct UserChanges {
    /// By statistic, in the order of the plan.
    found: Vec<(StatisticKind, Vec<(u32, usize)>)>,
    /// The user's cells with what they spent there, those of one series next to each other, in the
    /// order of time.
    order: Vec<Spent>,
}

#[derive(Clone, Copy)]
struct Spent {
    series: u64,
    time: usize,
    cell: u64,
    amount: i128,
}

impl UserChanges {
    /// The cells of a statistic, which have numbers of 32 bits, as public ones have.
    pub(super) fn of(&self, kind: StatisticKind) -> &[(u32, usize)] {
        self.found.iter().find(|(own, _)| *own == kind).map_or(&[], |(_, cells)| cells)
    }

    /// Finds them; `cells` are the numbers of all the user's cells, with what they spent there.
    pub(super) fn find(&mut self, index: &LevelIndex, cells: impl Iterator<Item = (u64, i128)>) {
        let UserChanges { found, order } = self;
        if index.asked.changes.is_empty() {
            return;
        }
        let spent = |(cell, amount)| {
            let (series, time) = index.series_and_time(cell);
            Spent { series, time, cell, amount }
        };
        order.clear();
        order.extend(cells.map(spent));
        order.sort_unstable_by_key(|spent| (spent.series, spent.time));
        found.resize_with(index.asked.changes.len(), || (StatisticKind::Diffusion, Vec::new()));
        for ((kind, changes), (own, found)) in index.asked.changes.iter().zip(found) {
            *own = *kind;
            found.clear();
            for series in order.chunk_by(|a, b| a.series == b.series) {
                let at = |time: usize| series.binary_search_by_key(&time, |spent| spent.time);
                for spent in series {
                    if let Some(then) = changes.before(spent.time) {
                        let before = at(then).map_or(0, |place| series[place].amount);
                        found.push((spent.cell as u32, change_class(before, spent.amount)));
                    }
                    // Who was there and is no longer has no cell now.
                    if let Some(later) = changes.after(spent.time)
                        && at(later).is_err()
                    {
                        let cell = index.at_time(spent.cell, later);
                        found.push((cell as u32, change_class(spent.amount, 0)));
                    }
                }
            }
        }
    }
}
