//! The user at hand: payments to cells, at every level.

use std::cmp::Reverse;

use super::cells::{CellFinder, LevelIndex};
use super::extras::Extras;
use super::record::Record;
use super::totals::Sums;
use crate::error::Result;
use crate::job::{StatisticKind, centred_log, ticket_log, visit_class};
use crate::plan::{LevelPlan, Plan, Selection};

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
    /// `None`: not looked at.
    levels: Vec<Option<UserLevel>>,
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
pub(super) struct UserLevel {
    pub(super) sums: Sums,
    pub(super) user: UserCells,
    /// The first ticket bin's column in the totals.
    tickets_at: usize,
    /// By merchant, the logarithm of a usual ticket; one for all if there is only one.
    usual: Vec<i64>,
}

/// The cells of the user at hand at one level.
pub(super) struct UserCells {
    /// Ticket bins of this level's histogram; 0 if it has none.
    bins: usize,
    cells: Vec<UserCell>,
    /// Finds a place in `cells`; small enough for the processor's first cache.
    rows: Rows,
    /// `bins` numbers for each of the user's cells, in the order in which they were met. Those that
    /// [`UserCell::bins`] does not name are left from earlier users.
    tickets: Vec<u32>,
    /// The largest of the user's numbers of tickets, and the sum of their squares.
    most_tickets: u32,
    ticket_squares: u64,
    extras: Extras,
}

/// One user's cell of one level.
#[derive(Clone, Copy)]
struct UserCell {
    /// Where the cell is in the totals.
    place: u32,
    /// Where [`Rows`] knows it.
    slot: u32,
    /// Where its tickets are.
    row: u32,
    /// Which of its tickets are not zero; at most 32 bins.
    bins: u32,
    payments: u64,
    /// An i128, so that no order of payments can overflow.
    sales: i128,
}

impl<'p> UserLevels<'p> {
    /// With the places and totals of each level that is looked at.
    pub(super) fn new(
        plan: &'p Plan,
        finder: &'p CellFinder<'p>,
        sums: impl Iterator<Item = Option<Sums>>,
    ) -> Self {
        let level = |(place, (index, sums)): (usize, (&LevelIndex, Option<Sums>))| {
            let histogram = index.plan.position(StatisticKind::TicketHistogram);
            let columns = histogram.and_then(|at| index.plan.columns().nth(at)).unwrap_or(0..0);
            sums.map(|sums| UserLevel {
                sums,
                user: UserCells::new(Extras::new(plan, index.plan), columns.len()),
                tickets_at: columns.start,
                // The finder's levels may be from before surveys had told what is usual.
                usual: usual(plan, &plan.levels[place]),
            })
        };
        let levels = finder.levels.iter().zip(sums).enumerate().map(level).collect();
        let edges = &plan.job.payments.ticket_edges;
        let visits = plan.counts_visits();
        let logs = plan.levels.iter().any(|level| level.tickets.is_some());
        UserLevels { finder, edges, visits, logs, levels, scratch: Scratch::default() }
    }

    /// Adds some payments of the user at hand to that user's cells.
    ///
    /// # Errors
    /// As [`Sums::place`].
    pub(super) fn add(&mut self, records: &[Record]) -> Result<()> {
        let Scratch { bins, days, logs, cells } = &mut self.scratch;
        let width = self.levels.len();
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

    /// Shows each level, with its place, once the cells that do not count are gone; then forgets
    /// the user.
    pub(super) fn finish(&mut self, mut show: impl FnMut(usize, &mut UserLevel)) {
        for (place, index) in self.finder.levels.iter().enumerate() {
            let Some(level) = &mut self.levels[place] else { continue };
            let UserLevel { sums, user, .. } = level;
            let numbers = user.cells.iter().map(|cell| sums.number(cell.place));
            user.extras.find_new(index, numbers);
            if let Selection::Threshold { cells_max, .. } = index.plan.selection {
                level.user.keep_most_visited(cells_max as usize, index, &level.sums);
                level.user.cells.iter().for_each(|cell| level.sums.keep(cell.place));
            }
            show(place, level);
            level.user.clear();
        }
    }

    pub(super) fn into_sums(self) -> impl Iterator<Item = Sums> {
        self.levels.into_iter().flatten().map(|level| level.sums)
    }
}

/// The bin of a payment: how many edges are not above its amount.
fn ticket_bin(edges: &[i64], amount: i64) -> usize {
    edges.partition_point(|&edge| edge <= amount)
}

impl UserLevel {
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

/// One payment or refund, as far as cells look at it.
#[derive(Clone, Copy)]
struct Paid {
    amount: i64,
    /// Its ticket bin.
    bin: usize,
    /// From the period's first day on.
    day: usize,
    /// Its logarithm against what is usual.
    log: i64,
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

impl UserCells {
    /// With `bins` ticket bins.
    fn new(extras: Extras, bins: usize) -> Self {
        UserCells {
            bins,
            extras,
            cells: Vec::new(),
            rows: Rows::new(),
            tickets: Vec::new(),
            most_tickets: 0,
            ticket_squares: 0,
        }
    }

    fn clear(&mut self) {
        self.cells.clear();
        self.extras.clear();
        (self.most_tickets, self.ticket_squares) = (0, 0);
    }

    /// Shows the user's numbers of one statistic: the cell's place, the bin, and the value in
    /// counts or minor units. Numbers of a histogram that are zero are left out.
    #[inline]
    pub(super) fn numbers(&self, kind: StatisticKind, mut show: impl FnMut(u32, usize, i128)) {
        match kind {
            StatisticKind::Customers => self.cells.iter().for_each(|cell| show(cell.place, 0, 1)),
            StatisticKind::Payments => {
                self.cells.iter().for_each(|cell| show(cell.place, 0, cell.payments.into()));
            }
            StatisticKind::Sales => {
                self.cells.iter().for_each(|cell| show(cell.place, 0, cell.sales));
            }
            StatisticKind::Gross => {
                let gross = |cell: &UserCell| cell.sales + self.extras.refunds(cell.row);
                self.cells.iter().for_each(|cell| show(cell.place, 0, gross(cell)));
            }
            StatisticKind::Refunds => {
                self.cells
                    .iter()
                    .for_each(|cell| show(cell.place, 0, self.extras.refunds(cell.row)));
            }
            StatisticKind::Visits => {
                self.cells
                    .iter()
                    .for_each(|cell| show(cell.place, 0, self.extras.visits(cell.row).into()));
            }
            StatisticKind::TicketLogs => {
                self.cells
                    .iter()
                    .for_each(|cell| show(cell.place, 0, self.extras.log(cell.row).into()));
            }
            StatisticKind::NewReturning => {
                let shown =
                    self.cells.iter().filter_map(|c| Some((c.place, self.extras.returns(c.row)?)));
                shown.for_each(|(place, returns)| show(place, usize::from(returns), 1));
            }
            StatisticKind::VisitClasses => {
                let class = |cell: &UserCell| visit_class(self.extras.visits(cell.row));
                self.cells.iter().for_each(|cell| show(cell.place, class(cell), 1));
            }
            StatisticKind::TicketHistogram => {
                for cell in &self.cells {
                    self.tickets(cell).for_each(|(bin, count)| show(cell.place, bin, count.into()));
                }
            }
        }
    }

    /// The largest of those numbers and the sum of their squares; `None` if they are very large.
    pub(super) fn size(&self, kind: StatisticKind) -> Option<(u64, u128)> {
        match kind {
            StatisticKind::Customers | StatisticKind::VisitClasses => {
                Some((1, self.cells.len() as u128))
            }
            StatisticKind::Gross => size(
                self.cells.iter().map(|c| (c.sales + self.extras.refunds(c.row)).unsigned_abs()),
            ),
            StatisticKind::Refunds => {
                size(self.cells.iter().map(|c| self.extras.refunds(c.row).unsigned_abs()))
            }
            StatisticKind::NewReturning => {
                let known = self
                    .cells
                    .iter()
                    .filter(|cell| self.extras.returns(cell.row).is_some())
                    .count();
                Some((known.min(1) as u64, known as u128))
            }
            StatisticKind::TicketLogs => {
                size(self.cells.iter().map(|c| self.extras.log(c.row).unsigned_abs().into()))
            }
            StatisticKind::Visits => {
                size(self.cells.iter().map(|c| self.extras.visits(c.row).into()))
            }
            StatisticKind::Payments => size(self.cells.iter().map(|c| c.payments.into())),
            StatisticKind::Sales => size(self.cells.iter().map(|c| c.sales.unsigned_abs())),
            StatisticKind::TicketHistogram => {
                Some((self.most_tickets.into(), self.ticket_squares.into()))
            }
        }
    }

    /// The bins in which a cell of the user has tickets, and how many.
    fn tickets(&self, cell: &UserCell) -> impl Iterator<Item = (usize, u32)> {
        let tickets = &self.tickets[cell.row as usize * self.bins..][..self.bins];
        let mut bins = cell.bins;
        std::iter::from_fn(move || {
            let bin = bins.trailing_zeros() as usize;
            let count = *tickets.get(bin)?;
            bins &= bins - 1;
            Some((bin, count))
        })
    }

    /// Adds a payment in the cell at `place`.
    fn add(&mut self, place: u32, Paid { amount, bin, day, log }: Paid) {
        let row = self.row(place);
        let cell = &mut self.cells[row];
        cell.sales += i128::from(amount);
        self.extras.add(row, amount, day, log);
        if amount < 0 {
            return;
        }
        cell.payments += 1;
        if self.bins > 0 {
            let count = &mut self.tickets[row * self.bins + bin];
            let before = if cell.bins & 1 << bin == 0 { 0 } else { *count };
            cell.bins |= 1 << bin;
            // What would not fit is beyond every cap.
            *count = before.saturating_add(1);
            self.most_tickets = self.most_tickets.max(*count);
            // (n + 1)² is n² + 2n + 1.
            self.ticket_squares = self.ticket_squares.saturating_add(2 * u64::from(before) + 1);
        }
    }

    /// Where the user's cell is in `cells`.
    fn row(&mut self, place: u32) -> usize {
        let slot = match self.rows.find(place, &self.cells) {
            Ok(row) => return row,
            Err(slot) => slot,
        };
        // A user has no more cells than there are places, which are numbers of 32 bits.
        let row = self.cells.len();
        self.cells.push(UserCell { place, slot, row: row as u32, bins: 0, payments: 0, sales: 0 });
        self.rows.put(&mut self.cells);
        self.extras.push();
        if self.tickets.len() < self.cells.len() * self.bins {
            self.tickets.resize(self.cells.len() * self.bins, 0);
        }
        row
    }

    /// Keeps the cells with most payments, of equals the first by key: a rule that looks at nothing
    /// but this user's own payments.
    fn keep_most_visited(&mut self, most: usize, index: &LevelIndex, sums: &Sums) {
        if self.cells.len() <= most {
            return;
        }
        self.cells.sort_by_cached_key(|c| (Reverse(c.payments), index.key(sums.number(c.place))));
        self.cells.truncate(most);
        let kept = self.cells.iter().flat_map(|cell| self.tickets(cell));
        let (largest, squares) = kept.fold((0, 0u64), |(largest, squares), (_, count)| {
            (count.max(largest), squares.saturating_add(u64::from(count).pow(2)))
        });
        (self.most_tickets, self.ticket_squares) = (largest, squares);
    }
}

/// The largest of some numbers and the sum of their squares; `None` if one has over 32 bits.
fn size(mut numbers: impl Iterator<Item = u128>) -> Option<(u64, u128)> {
    numbers.try_fold((0u64, 0u128), |(largest, squares), number| {
        let number = u32::try_from(number).ok()?.into();
        Some((largest.max(number), squares + u128::from(number * number)))
    })
}

/// Finds the cells of the user at hand by place: open addressing with linear probes.
///
/// Never emptied: what is left from earlier users does not match what [`UserCell::slot`] says.
struct Rows {
    /// A power of two of them, at least twice as many as the user has cells.
    slots: Vec<u32>,
}

impl Rows {
    fn new() -> Self {
        Rows { slots: vec![0; 64] }
    }

    /// The row of a place in `cells`, or else the slot where it belongs.
    fn find(&self, place: u32, cells: &[UserCell]) -> std::result::Result<usize, u32> {
        let mask = self.slots.len() - 1;
        // Multiplied by 2^32 over the golden ratio, so that neighbours land far apart.
        let hash = u64::from(place.wrapping_mul(0x9E37_79B9));
        let mut slot = ((hash * self.slots.len() as u64) >> 32) as usize;
        loop {
            let row = self.slots[slot] as usize;
            match cells.get(row) {
                Some(cell) if cell.slot as usize == slot => {
                    if cell.place == place {
                        return Ok(row);
                    }
                }
                _ => return Err(slot as u32),
            }
            slot = (slot + 1) & mask;
        }
    }

    /// Takes note of the last of `cells`.
    fn put(&mut self, cells: &mut [UserCell]) {
        let Some((last, before)) = cells.split_last_mut() else { return };
        self.slots[last.slot as usize] = before.len() as u32;
        if cells.len() * 2 <= self.slots.len() {
            return;
        }
        self.slots = vec![0; self.slots.len() * 2];
        for row in 0..cells.len() {
            let (before, rest) = cells.split_at_mut(row);
            if let Err(slot) = self.find(rest[0].place, before) {
                rest[0].slot = slot;
                self.slots[slot as usize] = row as u32;
            }
        }
    }
}
