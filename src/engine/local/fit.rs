//! One user after the other: cells, cap, fit, sum.

use std::cmp::Reverse;

use super::cells::{CellFinder, LevelIndex};
use super::record::Record;
use super::totals::Sums;
use crate::job::StatisticKind;
use crate::plan::{Plan, Selection, StatisticPlan};

/// Fits users and adds them up; one for each thread.
pub(super) struct Fitter<'p> {
    plan: &'p Plan,
    finder: &'p CellFinder<'p>,
    levels: Vec<LevelFit>,
    /// Kept between users, so that no user costs an allocation.
    scratch: Scratch,
}

#[derive(Default)]
struct Scratch {
    /// The ticket bin of each of some records; refunds have none.
    bins: Vec<Option<u8>>,
    capped: Vec<Capped>,
}

/// One level: the totals so far, and the cells of the user at hand.
struct LevelFit {
    sums: Sums,
    /// Ticket bins of this level's histogram; 0 if it has none.
    bins: usize,
    /// For each place, where in `cells` it would be; not valid unless that cell says so.
    row_of: Vec<u32>,
    cells: Vec<UserCell>,
    /// `bins` numbers for each of the user's cells, in the order in which they were met.
    tickets: Vec<u32>,
}

/// One user's cell of one level.
#[derive(Clone, Copy)]
struct UserCell {
    /// Where the cell is in the totals.
    place: u32,
    /// Where its tickets are.
    row: u32,
    payments: u64,
    /// An i128, so that no order of payments can overflow.
    sales: i128,
}

impl<'p> Fitter<'p> {
    pub(super) fn new(plan: &'p Plan, finder: &'p CellFinder<'p>) -> Self {
        let level = |index: &LevelIndex| {
            let sums = Sums::new(index);
            let row_of = vec![0; sums.cells()];
            let histogram = index.plan.position(StatisticKind::TicketHistogram);
            let bins = histogram.map_or(0, |at| index.plan.statistics[at].width);
            LevelFit { sums, bins, row_of, cells: Vec::new(), tickets: Vec::new() }
        };
        let levels = finder.levels.iter().map(level).collect();
        Fitter { plan, finder, levels, scratch: Scratch::default() }
    }

    pub(super) fn into_sums(self) -> Vec<Sums> {
        self.levels.into_iter().map(|level| level.sums).collect()
    }

    /// Adds some payments of the user at hand to that user's cells.
    pub(super) fn add(&mut self, records: &[Record]) {
        let edges = &self.plan.job.payments.ticket_edges;
        let bin = |r: &Record| (r.amount >= 0).then(|| ticket_bin(edges, r.amount));
        self.scratch.bins.clear();
        if self.levels.iter().any(|level| level.bins > 0) {
            self.scratch.bins.extend(records.iter().map(bin));
        }
        for (place, level) in self.levels.iter_mut().enumerate() {
            for (at, record) in records.iter().enumerate() {
                let row = level.row(self.finder.cell(place, record));
                let cell = &mut level.cells[row];
                cell.payments += u64::from(record.amount >= 0);
                cell.sales += i128::from(record.amount);
                if level.bins > 0
                    && let Some(bin) = self.scratch.bins[at]
                {
                    let count = &mut level.tickets[row * level.bins + usize::from(bin)];
                    // What would not fit is beyond every cap.
                    *count = count.saturating_add(1);
                }
            }
        }
    }

    /// Fits the cells of the user at hand into each bound and adds them to the totals.
    pub(super) fn finish_user(&mut self) {
        for (level, index) in self.levels.iter_mut().zip(&self.finder.levels) {
            // cells: one for each cell that the user touched
            if let Selection::Threshold { cells_max, .. } = index.plan.selection {
                keep_most_visited(&mut level.cells, cells_max as usize, index, &level.sums);
                level.cells.iter().for_each(|cell| level.sums.keep(cell.place));
            }
            for (statistic, columns) in index.plan.statistics.iter().zip(index.plan.columns()) {
                level.fit(statistic, columns.start, &mut self.scratch.capped);
            }
            level.cells.clear();
            level.tickets.clear();
        }
    }
}

/// The bin of a payment: how many edges are not above its amount.
fn ticket_bin(edges: &[i64], amount: i64) -> u8 {
    // At most 31 edges.
    edges.partition_point(|&edge| edge <= amount) as u8
}

impl LevelFit {
    /// Where the user's cell is in `cells`.
    fn row(&mut self, cell: u64) -> usize {
        let place = self.sums.place(cell);
        if place as usize >= self.row_of.len() {
            self.row_of.resize(place as usize + 1, 0);
        }
        let row = self.row_of[place as usize] as usize;
        if self.cells.get(row).is_some_and(|cell| cell.place == place) {
            return row;
        }
        let row = self.cells.len();
        self.row_of[place as usize] = row as u32;
        self.cells.push(UserCell { place, row: row as u32, payments: 0, sales: 0 });
        self.tickets.resize(self.tickets.len() + self.bins, 0);
        row
    }

    /// Caps, fits and adds one statistic of the user's cells (Lemma 1 of `docs/privacy.md`).
    ///
    /// Numbers that are zero stay zero and are left out.
    fn fit(&mut self, plan: &StatisticPlan, column: usize, capped: &mut Vec<Capped>) {
        capped.clear();
        let mut squares = 0u128;
        let mut put = |place: u32, column: usize, value: i128| {
            let value = plan.bound.cap(value, plan.grid_bits);
            squares += u128::from(value.unsigned_abs()).pow(2);
            capped.push(Capped { place, column: column as u32, value });
        };
        for cell in &self.cells {
            match plan.kind {
                StatisticKind::Customers => put(cell.place, column, 1),
                StatisticKind::Payments => put(cell.place, column, cell.payments.into()),
                StatisticKind::Sales => put(cell.place, column, cell.sales),
                StatisticKind::TicketHistogram => {
                    let tickets = &self.tickets[cell.row as usize * self.bins..][..self.bins];
                    for (bin, &count) in tickets.iter().enumerate().filter(|&(_, &n)| n > 0) {
                        put(cell.place, column + bin, count.into());
                    }
                }
            }
        }
        let fit = plan.bound.fit(squares);
        for number in &*capped {
            self.sums.add(number.place, number.column as usize, fit.apply(number.value));
        }
    }
}

/// One number of a user after the cap, and where it goes.
struct Capped {
    place: u32,
    column: u32,
    value: i64,
}

/// Keeps the cells with most payments, of equals the first by key: a rule that looks at nothing
/// but this user's own payments.
fn keep_most_visited(cells: &mut Vec<UserCell>, most: usize, index: &LevelIndex, sums: &Sums) {
    if cells.len() > most {
        cells.sort_by_cached_key(|c| (Reverse(c.payments), index.key(sums.number(c.place))));
        cells.truncate(most);
    }
}
