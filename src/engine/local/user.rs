//! One user's cells at one level: payments add up in them, statistics take their numbers from them.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::cells::LevelIndex;
use super::changes::UserChanges;
use super::discover::Counting;
use super::extras::Extras;
use super::totals::Sums;
use crate::error::Result;
use crate::job::{StatisticKind, visit_class};
use crate::plan::{Pairs, Scales, Selection};

/// The cells of the user at hand at one level.
pub(super) struct UserCells<'p> {
    /// Of each statistic whose cells have scales, these.
    scales: &'p BTreeMap<StatisticKind, Scales>,
    /// Ticket bins of this level's histogram; 0 if it has none.
    pub(super) bins: usize,
    cells: Vec<UserCell>,
    /// Finds a place in `cells`; small enough for the processor's first cache.
    rows: Rows,
    /// `bins` numbers for each of the user's cells, in the order in which they were met. Those that
    /// [`UserCell::bins`] does not name are left from earlier users.
    tickets: Vec<u32>,
    /// The largest of the user's numbers of tickets, and the sum of their squares.
    most_tickets: u32,
    ticket_squares: u64,
    /// Cells that make pairs, kept between users; see [`LevelIndex::single`].
    singles: Vec<(u64, u32)>,
    extras: Extras,
    changes: UserChanges,
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

/// One payment or refund, as far as cells look at it.
#[derive(Clone, Copy)]
pub(super) struct Paid {
    pub(super) amount: i64,
    /// Its ticket bin.
    pub(super) bin: usize,
    /// From the period's first day on.
    pub(super) day: usize,
    /// Its logarithm against what is usual.
    pub(super) log: i64,
}

impl<'p> UserCells<'p> {
    /// With `bins` ticket bins, and the scales of a level.
    pub(super) fn new(
        extras: Extras,
        bins: usize,
        scales: &'p BTreeMap<StatisticKind, Scales>,
    ) -> Self {
        UserCells {
            scales,
            bins,
            extras,
            changes: UserChanges::default(),
            cells: Vec::new(),
            rows: Rows::new(),
            tickets: Vec::new(),
            singles: Vec::new(),
            most_tickets: 0,
            ticket_squares: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        self.cells.clear();
        self.extras.clear();
        (self.most_tickets, self.ticket_squares) = (0, 0);
    }

    /// Shows the user's numbers of one statistic: the cell's place, the bin, and the value in
    /// counts or minor units, at the cell's scale if it has one. Numbers of a histogram that are
    /// zero are left out.
    #[inline]
    pub(super) fn numbers(&self, kind: StatisticKind, mut show: impl FnMut(u32, usize, i128)) {
        match self.scales.get(&kind) {
            None => self.unscaled(kind, show),
            Some(scales) => self.unscaled(kind, |place, bin, number| {
                show(place, bin, scales.times(place as usize, number));
            }),
        }
    }

    #[inline]
    fn unscaled(&self, kind: StatisticKind, mut show: impl FnMut(u32, usize, i128)) {
        let extras = &self.extras;
        match kind {
            StatisticKind::Customers => self.each(show, |_| 1),
            StatisticKind::Payments => self.each(show, |cell| cell.payments.into()),
            StatisticKind::Sales => self.each(show, |cell| cell.sales),
            StatisticKind::Gross => self.each(show, |cell| cell.sales + extras.refunds(cell.row)),
            StatisticKind::Refunds => self.each(show, |cell| extras.refunds(cell.row)),
            StatisticKind::Visits => self.each(show, |cell| extras.visits(cell.row).into()),
            StatisticKind::TicketLogs => self.each(show, |cell| extras.log(cell.row).into()),
            StatisticKind::NewReturning => {
                let shown =
                    self.cells.iter().filter_map(|c| Some((c.place, extras.returns(c.row)?)));
                shown.for_each(|(place, returns)| show(place, usize::from(returns), 1));
            }
            StatisticKind::Cohorts => {
                for cell in &self.cells {
                    let mut bits = extras.cohort(cell.row);
                    while bits != 0 {
                        show(cell.place, bits.trailing_zeros() as usize, 1);
                        bits &= bits - 1;
                    }
                }
            }
            StatisticKind::Recency => {
                let class = |cell: &UserCell| extras.recency(cell.row);
                self.cells.iter().for_each(|cell| show(cell.place, class(cell), 1));
            }
            StatisticKind::Diffusion | StatisticKind::DiffusionYear => {
                self.changes.of(kind).iter().for_each(|&(place, class)| show(place, class, 1));
            }
            StatisticKind::VisitClasses => {
                let class = |cell: &UserCell| visit_class(extras.visits(cell.row));
                self.cells.iter().for_each(|cell| show(cell.place, class(cell), 1));
            }
            StatisticKind::TicketHistogram => {
                for cell in &self.cells {
                    self.tickets(cell).for_each(|(bin, count)| show(cell.place, bin, count.into()));
                }
            }
        }
    }

    /// Shows the one number of each cell.
    #[inline]
    fn each(&self, mut show: impl FnMut(u32, usize, i128), number: impl Fn(&UserCell) -> i128) {
        self.cells.iter().for_each(|cell| show(cell.place, 0, number(cell)));
    }

    /// The largest of those numbers and the sum of their squares; `None` if one has over 32 bits.
    #[inline]
    pub(super) fn size(&self, kind: StatisticKind) -> Option<(u64, u128)> {
        if kind == StatisticKind::TicketHistogram {
            // Known already, and these are many.
            return Some((self.most_tickets.into(), self.ticket_squares.into()));
        }
        let (mut all, mut largest, mut squares) = (0, 0, 0);
        self.numbers(kind, |_, _, number| {
            let size = number.unsigned_abs();
            let low = u64::from(size as u32);
            all |= size;
            largest = low.max(largest);
            squares += u128::from(low * low);
        });
        u32::try_from(all).ok().map(|_| (largest, squares))
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
    pub(super) fn add(&mut self, place: u32, Paid { amount, bin, day, log }: Paid) {
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

    /// Once all payments of the user are in: puts pairs in place of cells, with nothing but
    /// customers in them. No more can be added then.
    ///
    /// # Errors
    /// As [`Sums::place`].
    pub(super) fn pair_up(
        &mut self,
        pairs: &Pairs,
        index: &LevelIndex,
        sums: &mut Sums,
    ) -> Result<()> {
        let single = |cell: &UserCell| index.single(pairs, sums.number(cell.place));
        self.singles.clear();
        self.singles.extend(self.cells.iter().map(single));
        self.singles.sort_unstable();
        self.cells.clear();
        for alike in self.singles.chunk_by(|a, b| a.0 == b.0) {
            for (at, &(common, first)) in alike.iter().enumerate() {
                for &(_, second) in &alike[at + 1..] {
                    let place = sums.place(index.pair(pairs, common, first, second))?;
                    let (slot, row) = (u32::MAX, self.cells.len() as u32);
                    self.cells.push(UserCell { place, slot, row, bins: 0, payments: 0, sales: 0 });
                }
            }
        }
        Ok(())
    }

    /// Once all payments of the user are in: puts the cells where the user is at home. No more can
    /// be added then.
    ///
    /// # Errors
    /// As [`Sums::place`].
    pub(super) fn move_home(
        &mut self,
        index: &LevelIndex,
        sums: &mut Sums,
        homes: &[u32],
    ) -> Result<()> {
        for cell in &mut self.cells {
            cell.place = sums.place(index.at_home(sums.number(cell.place), homes))?;
        }
        Ok(())
    }

    /// After that, drops the cells of a private level that do not count, and those of one whose
    /// keys are discovered by what is `counting`.
    pub(super) fn finish(
        &mut self,
        index: &LevelIndex,
        sums: &mut Sums,
        counting: Option<&mut Counting>,
    ) {
        self.extras.find_times(index, self.cells.iter().map(|cell| sums.number(cell.place)));
        let spent = self.cells.iter().map(|cell| (sums.number(cell.place), cell.sales));
        self.changes.find(index, spent);
        let most = match (&index.asked.selection, counting) {
            (Selection::Threshold { cells_max, .. }, _) => *cells_max as usize,
            (_, Some(counting)) => {
                self.cells.retain(|cell| counting.counts(cell.place, index, sums));
                self.count_tickets();
                counting.most()
            }
            _ => return,
        };
        self.keep_most_visited(most, index, sums);
        self.cells.iter().for_each(|cell| sums.keep(cell.place));
    }

    /// How many cells the user has.
    pub(super) fn count(&self) -> usize {
        self.cells.len()
    }

    /// Keeps the cells with most payments, of equals the first by key: a rule that looks at nothing
    /// but this user's own payments.
    fn keep_most_visited(&mut self, most: usize, index: &LevelIndex, sums: &Sums) {
        if self.cells.len() <= most {
            return;
        }
        self.cells.sort_by_cached_key(|c| (Reverse(c.payments), index.key(sums.number(c.place))));
        self.cells.truncate(most);
        self.count_tickets();
    }

    /// The size of the numbers of tickets anew, once cells are dropped.
    fn count_tickets(&mut self) {
        let kept = self.cells.iter().flat_map(|cell| self.tickets(cell));
        let (largest, squares) = kept.fold((0, 0u64), |(largest, squares), (_, count)| {
            (count.max(largest), squares.saturating_add(u64::from(count).pow(2)))
        });
        (self.most_tickets, self.ticket_squares) = (largest, squares);
    }
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
