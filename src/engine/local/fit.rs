//! One user after the other: cells, cap, fit, sum.

use std::collections::HashMap;

use super::records::{Record, Records};
use super::totals::{CellCode, Sums};
use crate::job::StatisticKind;
use crate::plan::{CellKey, CellSpace, KeyValue, LevelPlan, Plan, Selection};

/// How records find the cells of one level.
pub(super) struct LevelIndex<'p> {
    cells: &'p CellSpace,
    /// Groups of merchant codes; `None`: each code is its own group.
    merchant_group: Option<&'p [u32]>,
    hour_group: &'p [u32],
    /// Groups of codes of the rest.
    rest_group: Vec<u32>,
    /// Values of the merchant groups if there is no registry.
    found_merchants: Vec<Vec<KeyValue>>,
    rest_values: Vec<Vec<KeyValue>>,
    /// For a public level, its number of cells.
    pub(super) public_cells: Option<usize>,
    pub(super) public_keys: Vec<CellKey>,
    statistics: usize,
}

impl<'p> LevelIndex<'p> {
    pub(super) fn new(plan: &'p Plan, level: &'p LevelPlan, records: &Records) -> Self {
        let cells = &level.cells;
        let public = level.selection == Selection::Public;
        let public_keys = if public { cells.public_keys(&plan.job) } else { None };
        // The combinations of the rest, as values of this level's columns.
        let places: Vec<usize> = cells
            .rest
            .iter()
            .map(|name| {
                let column = plan.columns.iter().position(|column| column == name);
                column.unwrap_or(plan.columns.len())
            })
            .collect();
        let values = |codes: &[u32]| -> Vec<KeyValue> {
            let text = |&p: &usize| records.columns[p].texts()[codes[p] as usize].clone();
            places.iter().map(|place| KeyValue::Text(text(place))).collect()
        };
        let mut rest_values =
            if public { cells.public_rest(&plan.job).unwrap_or_default() } else { Vec::new() };
        let mut known: HashMap<Vec<KeyValue>, u32> = rest_values.iter().cloned().zip(0..).collect();
        let rest_group = records
            .rest
            .iter()
            .map(|codes| {
                *known.entry(values(codes)).or_insert_with_key(|values| {
                    rest_values.push(values.clone());
                    rest_values.len() as u32 - 1
                })
            })
            .collect();
        let found = records.merchants.texts().iter();
        let per_merchant = cells.merchants.as_ref().filter(|g| !g.group_of.is_empty());
        LevelIndex {
            cells,
            merchant_group: per_merchant.map(|grouping| &grouping.group_of[..]),
            hour_group: &cells.times.group_of,
            rest_group,
            found_merchants: found.map(|text| vec![KeyValue::Text(text.clone())]).collect(),
            rest_values,
            public_cells: public_keys.as_ref().map(Vec::len),
            public_keys: public_keys.unwrap_or_default(),
            statistics: level.statistics.len(),
        }
    }

    fn code(&self, record: &Record) -> CellCode {
        let merchant = match (self.merchant_group, &self.cells.merchants) {
            (Some(groups), _) => groups[record.merchant as usize],
            (None, Some(_)) => 0,
            (None, None) => record.merchant,
        };
        let time = self.hour_group[record.hour as usize];
        CellCode { merchant, time, rest: self.rest_group[record.rest as usize] }
    }

    /// The place of a cell of a public level.
    pub(super) fn place(&self, code: CellCode) -> usize {
        let times = self.cells.times.groups.len();
        let rest = self.rest_values.len();
        (code.merchant as usize * times + code.time as usize) * rest + code.rest as usize
    }

    /// What a cell is called.
    pub(super) fn key(&self, code: CellCode) -> CellKey {
        let merchant = match &self.cells.merchants {
            Some(grouping) => &grouping.groups[code.merchant as usize],
            None => &self.found_merchants[code.merchant as usize],
        };
        let time = &self.cells.times.groups[code.time as usize];
        self.cells.key(merchant, time, &self.rest_values[code.rest as usize])
    }

    pub(super) fn empty_sums(&self) -> Sums {
        Sums::new(self.statistics, self.public_cells)
    }
}

/// One user's cell of one level.
#[derive(Clone, Copy)]
struct UserCell {
    code: CellCode,
    payments: u64,
    /// An i128, so that no order of payments can overflow.
    sales: i128,
}

impl UserCell {
    fn value(self, kind: StatisticKind) -> i128 {
        match kind {
            StatisticKind::Customers => 1,
            StatisticKind::Payments => self.payments.into(),
            StatisticKind::Sales => self.sales,
        }
    }
}

/// Fits users and adds them up; one for each thread.
pub(super) struct Fitter<'p> {
    plan: &'p Plan,
    indexes: &'p [LevelIndex<'p>],
    sums: Vec<Sums>,
    /// Kept between users, so that no user costs an allocation.
    coded: Vec<(CellCode, i64)>,
    cells: Vec<UserCell>,
    capped: Vec<i64>,
}

impl<'p> Fitter<'p> {
    pub(super) fn new(plan: &'p Plan, indexes: &'p [LevelIndex<'p>]) -> Self {
        let sums = indexes.iter().map(LevelIndex::empty_sums).collect();
        Fitter { plan, indexes, sums, coded: vec![], cells: vec![], capped: vec![] }
    }

    pub(super) fn into_sums(self) -> Vec<Sums> {
        self.sums
    }

    /// Adds all payments of one user, at every level.
    pub(super) fn add_user(&mut self, records: &[Record]) {
        for (place, level) in self.plan.levels.iter().enumerate() {
            let index = &self.indexes[place];
            self.gather(index, records);
            // cells: one for each cell that the user touched
            if let Selection::Threshold { cells_max, .. } = level.selection {
                keep_most_visited(&mut self.cells, cells_max as usize, index);
            }
            for (statistic, plan) in level.statistics.iter().enumerate() {
                let values = self.cells.iter().map(|cell| cell.value(plan.kind));
                self.capped.clear();
                self.capped.extend(values.map(|value| plan.bound.cap(value, plan.grid_bits)));
                let squares = self.capped.iter().map(|&z| u128::from(z.unsigned_abs()).pow(2));
                let fit = plan.bound.fit(squares.sum());
                for (cell, &capped) in self.cells.iter().zip(&self.capped) {
                    let value = fit.apply(capped);
                    self.sums[place].add(index, cell.code, statistic, value);
                }
            }
        }
    }

    fn gather(&mut self, index: &LevelIndex, records: &[Record]) {
        self.coded.clear();
        self.coded.extend(records.iter().map(|record| (index.code(record), record.amount)));
        self.coded.sort_unstable_by_key(|&(code, _)| code);
        self.cells.clear();
        for run in self.coded.chunk_by(|a, b| a.0 == b.0) {
            self.cells.push(UserCell {
                code: run[0].0,
                payments: run.iter().filter(|(_, amount)| *amount >= 0).count() as u64,
                sales: run.iter().map(|&(_, amount)| i128::from(amount)).sum(),
            });
        }
    }
}

/// Keeps the cells with most payments, of equals the first by key: a rule that looks at nothing
/// but this user's own payments.
fn keep_most_visited(cells: &mut Vec<UserCell>, most: usize, index: &LevelIndex) {
    if cells.len() > most {
        cells.sort_by_cached_key(|cell| (std::cmp::Reverse(cell.payments), index.key(cell.code)));
        cells.truncate(most);
    }
}
