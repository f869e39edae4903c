//! Running totals of one level: dense where keys are public, a map else.

use std::collections::HashMap;

use super::fit::LevelIndex;
use crate::engine::{LevelTotals, clamp_total};

/// A cell by the codes of its three parts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct CellCode {
    pub(super) merchant: u32,
    pub(super) time: u32,
    pub(super) rest: u32,
}

/// Totals in grid units: `statistics` numbers a cell, side by side.
pub(super) struct Sums {
    statistics: usize,
    cells: Cells,
    /// 128 bits: 2⁶⁴ users of 2⁴⁸ units each fit.
    values: Vec<i128>,
}

enum Cells {
    /// A cell's place is computed.
    Dense,
    /// A cell's place is looked up.
    Found(HashMap<CellCode, usize>),
}

impl Sums {
    pub(super) fn new(statistics: usize, public_cells: Option<usize>) -> Self {
        let cells = match public_cells {
            Some(_) => Cells::Dense,
            None => Cells::Found(HashMap::new()),
        };
        let values = vec![0; public_cells.unwrap_or(0) * statistics];
        Sums { statistics, cells, values }
    }

    pub(super) fn add(&mut self, index: &LevelIndex, code: CellCode, statistic: usize, value: i64) {
        let place = match &mut self.cells {
            Cells::Dense => index.place(code),
            Cells::Found(places) => place_of(places, code, &mut self.values, self.statistics),
        };
        self.values[place * self.statistics + statistic] += i128::from(value);
    }

    pub(super) fn merge(mut self, other: Sums) -> Sums {
        match (&mut self.cells, other.cells) {
            (Cells::Found(places), Cells::Found(others)) => {
                for (code, from) in others {
                    let to = place_of(places, code, &mut self.values, self.statistics);
                    for statistic in 0..self.statistics {
                        let value = other.values[from * self.statistics + statistic];
                        self.values[to * self.statistics + statistic] += value;
                    }
                }
            }
            _ => {
                for (sum, value) in self.values.iter_mut().zip(other.values) {
                    *sum += value;
                }
            }
        }
        self
    }

    /// Keys in place of codes.
    pub(super) fn resolve(self, index: &LevelIndex) -> LevelTotals {
        let column = |places: &[usize], statistic: usize| {
            let sums = places.iter().map(|place| self.values[place * self.statistics + statistic]);
            sums.map(clamp_total).collect()
        };
        let (keys, places) = match &self.cells {
            Cells::Dense => (index.public_keys.clone(), (0..index.public_keys.len()).collect()),
            Cells::Found(places) => {
                let named = places.iter().map(|(&code, &place)| (index.key(code), place));
                let mut named: Vec<_> = named.collect();
                named.sort();
                named.into_iter().unzip::<_, _, Vec<_>, Vec<_>>()
            }
        };
        let sums = (0..self.statistics).map(|statistic| column(&places, statistic)).collect();
        LevelTotals { keys, sums }
    }
}

fn place_of(
    places: &mut HashMap<CellCode, usize>,
    code: CellCode,
    values: &mut Vec<i128>,
    statistics: usize,
) -> usize {
    let next = places.len();
    *places.entry(code).or_insert_with(|| {
        values.resize(values.len() + statistics, 0);
        next
    })
}
