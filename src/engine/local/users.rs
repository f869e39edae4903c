//! The user at hand: payments to cells, at every level.

use super::cells::{CellFinder, LevelIndex};
use super::discover::Counting;
use super::extras::Extras;
use super::homes::Homes;
use super::record::Record;
use super::totals::Sums;
use super::user::{Paid, UserCells};
use crate::error::Result;
use crate::job::{StatisticKind, centred_log, ticket_log};
use crate::plan::{LevelPlan, Plan};

/// So many that the memory can be asked for all their totals at once, and few enough for the
/// processor's first cache.
const RECORDS_AT_ONCE: usize = 64;

/// The cells of the user at hand, at every level.
pub(super) struct UserLevels<'p> {
    finder: &'p CellFinder<'p>,
    edges: &'p [i64],
    /// Does some level count visits?
    visits: bool,
    /// Does some level add up logarithms of tickets?
    logs: bool,
    homes: Homes<'p>,
    /// `None`: not looked at.
    levels: Vec<Option<UserLevel<'p>>>,
    /// Kept between users, so that no user costs an allocation.
    scratch: Scratch,
}

#[derive(Default)]
struct Scratch {
    /// The ticket bin of each of some records; of a refund the first, where it does not count.
    bins: Vec<usize>,
    /// Their days, where some level counts visits.
    days: Vec<usize>,
    /// The logarithms of their tickets, where some level adds them up.
    logs: Vec<i64>,
    /// The numbers of their cells, at one level after the other.
    cells: Vec<u64>,
}

/// One level: the totals so far, and the cells of the user at hand.
pub(super) struct UserLevel<'p> {
    pub(super) sums: Sums,
    pub(super) user: UserCells<'p>,
    /// The first ticket bin's column in the totals.
    tickets_at: usize,
    /// By merchant, the logarithm of a usual ticket; one for all if there is only one.
    usual: Vec<i64>,
    /// Which cells count, where keys are discovered.
    counting: Option<Counting<'p>>,
}

impl<'p> UserLevels<'p> {
    /// With the places and totals of each level that is looked at.
    pub(super) fn new(
        plan: &'p Plan,
        finder: &'p CellFinder<'p>,
        sums: impl Iterator<Item = Option<Sums>>,
    ) -> Self {
        UserLevels::with(plan, finder, sums, false)
    }

    /// Of levels of which nothing but where users have how many payments is looked at.
    pub(super) fn of_payments(
        plan: &'p Plan,
        finder: &'p CellFinder<'p>,
        sums: impl Iterator<Item = Option<Sums>>,
    ) -> Self {
        UserLevels::with(plan, finder, sums, true)
    }

    fn with(
        plan: &'p Plan,
        finder: &'p CellFinder<'p>,
        sums: impl Iterator<Item = Option<Sums>>,
        payments_only: bool,
    ) -> Self {
        let level = |(place, (index, sums)): (usize, (&LevelIndex<'p>, Option<Sums>))| {
            let histogram = index.asked.position(StatisticKind::TicketHistogram);
            let columns = histogram.and_then(|at| index.asked.columns().nth(at));
            let columns = columns.filter(|_| !payments_only).unwrap_or(0..0);
            let extras = match payments_only {
                true => Extras::default(),
                false => Extras::new(plan, index.asked),
            };
            sums.map(|sums| UserLevel {
                sums,
                user: UserCells::new(extras, columns.len(), &index.asked.scales),
                tickets_at: columns.start,
                // Surveys tell what is usual, and rounds which cells there are.
                usual: usual(plan, &plan.levels[place]),
                counting: Counting::new(&plan.levels[place]),
            })
        };
        let levels = finder.levels.iter().zip(sums).enumerate().map(level).collect();
        let edges = &plan.job.payments.ticket_edges;
        let visits = plan.counts_visits() && !payments_only;
        let logs = !payments_only && plan.levels.iter().any(|level| level.tickets.is_some());
        let (homes, scratch) = (Homes::new(plan), Scratch::default());
        UserLevels { finder, edges, visits, logs, homes, levels, scratch }
    }

    /// Adds some payments of the user at hand to that user's cells.
    ///
    /// # Errors
    /// As [`Sums::place`].
    pub(super) fn add(&mut self, records: &[Record]) -> Result<()> {
        let Scratch { bins, days, logs, cells } = &mut self.scratch;
        let width = self.levels.len();
        self.homes.add(records);
        for records in records.chunks(RECORDS_AT_ONCE) {
            bins.clear();
            bins.extend(records.iter().map(|record| ticket_bin(self.edges, record.amount)));
            days.clear();
            if self.visits {
                days.extend(records.iter().map(|record| self.finder.day(record)));
            }
            logs.clear();
            if self.logs {
                logs.extend(records.iter().map(|record| ticket_log(record.amount)));
            }
            cells.clear();
            records.iter().for_each(|record| self.finder.cells(record, cells));
            for (place, level) in self.levels.iter_mut().enumerate() {
                let Some(level) = level else { continue };
                let cells =
                    cells.iter().copied().skip(place).step_by(width).zip(bins.iter().copied());
                level.touch(cells.clone());
                for (at, (record, (cell, bin))) in records.iter().zip(cells).enumerate() {
                    let day = days.get(at).copied().unwrap_or(0);
                    let log = logs.get(at).map_or(0, |&log| level.centred(log, record.merchant));
                    level.add(cell, Paid { amount: record.amount, bin, day, log })?;
                }
            }
        }
        Ok(())
    }

    /// Shows each level, with its place, once cells are pairs, where they are, and where the user
    /// is at home, and those that do not count are gone; then forgets the user.
    ///
    /// # Errors
    /// As [`Sums::place`].
    pub(super) fn finish(&mut self, mut show: impl FnMut(usize, &mut UserLevel)) -> Result<()> {
        let homes = self.homes.settle();
        for (place, index) in self.finder.levels.iter().enumerate() {
            let Some(level) = &mut self.levels[place] else { continue };
            if let Some(pairs) = index.pairs() {
                level.user.pair_up(pairs, index, &mut level.sums)?;
            }
            if index.has_homes() {
                level.user.move_home(index, &mut level.sums, homes)?;
            }
            level.user.finish(index, &mut level.sums, level.counting.as_mut());
            show(place, level);
            level.user.clear();
        }
        Ok(())
    }

    pub(super) fn into_sums(self) -> impl Iterator<Item = Sums> {
        self.levels.into_iter().flatten().map(|level| level.sums)
    }
}

/// The bin of a payment: how many edges are not above its amount.
fn ticket_bin(edges: &[i64], amount: i64) -> usize {
    edges.partition_point(|&edge| edge <= amount)
}

impl UserLevel<'_> {
    /// Asks the memory for what payments in these cells and bins will be added to.
    fn touch(&self, cells: impl Iterator<Item = (u64, usize)>) {
        let column = |bin| if self.user.bins > 0 { self.tickets_at + bin } else { 0 };
        self.sums.touch(cells.map(|(cell, bin)| (cell, column(bin))));
    }

    /// A logarithm against what is usual.
    fn centred(&self, log: i64, merchant: u32) -> i64 {
        let usual = self.usual.get(merchant as usize).or(self.usual.first());
        usual.map_or(0, |&usual| centred_log(log, usual))
    }

    fn add(&mut self, cell: u64, paid: Paid) -> Result<()> {
        self.user.add(self.sums.place(cell)?, paid);
        Ok(())
    }
}

/// By merchant, the logarithm of a usual ticket at a level; one if it is the same for all.
fn usual(plan: &Plan, level: &LevelPlan) -> Vec<i64> {
    let Some(tickets) = &level.tickets else { return Vec::new() };
    let merchants = match &plan.job.registry {
        Some(registry) if tickets.groups() > 1 => registry.ids.len() as u32,
        _ => 1,
    };
    (0..merchants).map(|merchant| tickets.usual(tickets.group_of(merchant))).collect()
}
