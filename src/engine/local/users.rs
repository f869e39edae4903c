//! The user at hand: payments to cells, at every level.

use std::cmp::Reverse;

use super::cells::{CellFinder, LevelIndex};
use super::record::Record;
use super::totals::Sums;
use crate::error::Result;
use crate::job::StatisticKind;
use crate::plan::{Plan, Selection};

/// So many that the memory can be asked for all their totals at once, and few enough for the
/// processor's first cache.
const RECORDS_AT_ONCE: usize = 64;

/// The cells of the user at hand, at every level.
pub(super) struct UserLevels<'p> {
    finder: &'p CellFinder<'p>,
    edges: &'p [i64],
    /// `None`: not looked at.
    levels: Vec<Option<UserLevel>>,
    /// Kept between users, so that no user costs an allocation.
    scratch: Scratch,
}

#[derive(Default)]
struct Scratch {
    /// The ticket bin of each of some records; of a refund the first, where it does not count.
    bins: Vec<usize>,
    /// The numbers of their cells, at one level after the other.
    cells: Vec<u64>,
}

/// One level: the totals so far, and the cells of the user at hand.
pub(super) struct UserLevel {
    pub(super) sums: Sums,
    /// Ticket bins of this level's histogram; 0 if it has none.
    bins: usize,
    /// The first bin's column in the totals.
    tickets_at: usize,
    cells: Vec<UserCell>,
    /// Finds a place in `cells`; small enough for the processor's first cache.
    rows: Rows,
    /// `bins` numbers for each of the user's cells, in the order in which they were met.
    tickets: Vec<u32>,
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
        let level = |(index, sums): (&LevelIndex, Option<Sums>)| {
            let histogram = index.plan.position(StatisticKind::TicketHistogram);
            let columns = histogram.and_then(|at| index.plan.columns().nth(at)).unwrap_or(0..0);
            sums.map(|sums| UserLevel {
                sums,
                bins: columns.len(),
                tickets_at: columns.start,
                cells: Vec::new(),
                rows: Rows::new(),
                tickets: Vec::new(),
            })
        };
        let levels = finder.levels.iter().zip(sums).map(level).collect();
        let edges = &plan.job.payments.ticket_edges;
        UserLevels { finder, edges, levels, scratch: Scratch::default() }
    }

    /// Adds some payments of the user at hand to that user's cells.
    ///
    /// # Errors
    /// As [`Sums::place`].
    pub(super) fn add(&mut self, records: &[Record]) -> Result<()> {
        let Scratch { bins, cells } = &mut self.scratch;
        let width = self.levels.len();
        for records in records.chunks(RECORDS_AT_ONCE) {
            bins.clear();
            bins.extend(records.iter().map(|record| ticket_bin(self.edges, record.amount)));
            cells.clear();
            records.iter().for_each(|record| self.finder.cells(record, cells));
            for (place, level) in self.levels.iter_mut().enumerate() {
                let Some(level) = level else { continue };
                let cells =
                    cells.iter().copied().skip(place).step_by(width).zip(bins.iter().copied());
                level.touch(cells.clone());
                for (record, (cell, bin)) in records.iter().zip(cells) {
                    level.add(cell, record.amount, bin)?;
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
            if let Selection::Threshold { cells_max, .. } = index.plan.selection {
                keep_most_visited(&mut level.cells, cells_max as usize, index, &level.sums);
                level.cells.iter().for_each(|cell| level.sums.keep(cell.place));
            }
            show(place, level);
            level.cells.clear();
            level.tickets.clear();
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
    /// Shows the user's numbers of one statistic: the cell's place, the bin, and the value in
    /// counts or minor units. Numbers of a histogram that are zero are left out.
    pub(super) fn numbers(&self, kind: StatisticKind, mut show: impl FnMut(u32, usize, i128)) {
        for cell in &self.cells {
            match kind {
                StatisticKind::Customers => show(cell.place, 0, 1),
                StatisticKind::Payments => show(cell.place, 0, cell.payments.into()),
                StatisticKind::Sales => show(cell.place, 0, cell.sales),
                StatisticKind::TicketHistogram => {
                    let tickets = &self.tickets[cell.row as usize * self.bins..][..self.bins];
                    let mut bins = cell.bins;
                    while bins != 0 {
                        let bin = bins.trailing_zeros() as usize;
                        show(cell.place, bin, tickets[bin].into());
                        bins &= bins - 1;
                    }
                }
            }
        }
    }

    /// Asks the memory for what payments in these cells and bins will be added to.
    fn touch(&self, cells: impl Iterator<Item = (u64, usize)>) {
        let column = |bin| if self.bins > 0 { self.tickets_at + bin } else { 0 };
        self.sums.touch(cells.map(|(cell, bin)| (cell, column(bin))));
    }

    fn add(&mut self, cell: u64, amount: i64, bin: usize) -> Result<()> {
        let row = self.row(cell)?;
        let cell = &mut self.cells[row];
        cell.sales += i128::from(amount);
        if amount < 0 {
            return Ok(());
        }
        cell.payments += 1;
        if self.bins > 0 {
            cell.bins |= 1 << bin;
            let count = &mut self.tickets[row * self.bins + bin];
            // What would not fit is beyond every cap.
            *count = count.saturating_add(1);
        }
        Ok(())
    }

    /// Where the user's cell is in `cells`.
    fn row(&mut self, cell: u64) -> Result<usize> {
        let place = self.sums.place(cell)?;
        let slot = match self.rows.find(place, &self.cells) {
            Ok(row) => return Ok(row),
            Err(slot) => slot,
        };
        // A user has no more cells than there are places, which are numbers of 32 bits.
        let row = self.cells.len();
        self.cells.push(UserCell { place, slot, row: row as u32, bins: 0, payments: 0, sales: 0 });
        self.rows.put(&mut self.cells);
        self.tickets.resize(self.tickets.len() + self.bins, 0);
        Ok(row)
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

/// Keeps the cells with most payments, of equals the first by key: a rule that looks at nothing
/// but this user's own payments.
fn keep_most_visited(cells: &mut Vec<UserCell>, most: usize, index: &LevelIndex, sums: &Sums) {
    if cells.len() > most {
        cells.sort_by_cached_key(|c| (Reverse(c.payments), index.key(sums.number(c.place))));
        cells.truncate(most);
    }
}
