//! Running totals of one level: dense where keys are public, a map else.

use std::collections::HashMap;

use super::fit::LevelIndex;
use crate::engine::LevelTotals;
use crate::error::{Error, Result};
use crate::findings;
use crate::plan::LevelPlan;

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
    values: Vec<i64>,
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

    pub(super) fn add(
        &mut self,
        index: &LevelIndex,
        code: CellCode,
        statistic: usize,
        value: i64,
        level: &LevelPlan,
    ) -> Result<()> {
        let place = match &mut self.cells {
            Cells::Dense => index.place(code),
            Cells::Found(places) => place_of(places, code, &mut self.values, self.statistics),
        };
        add(&mut self.values[place * self.statistics + statistic], value, level, statistic)
    }

    pub(super) fn merge(mut self, other: Sums, level: &LevelPlan) -> Result<Sums> {
        match (&mut self.cells, other.cells) {
            (Cells::Found(places), Cells::Found(others)) => {
                for (code, from) in others {
                    let to = place_of(places, code, &mut self.values, self.statistics);
                    for statistic in 0..self.statistics {
                        let value = other.values[from * self.statistics + statistic];
                        let sum = &mut self.values[to * self.statistics + statistic];
                        add(sum, value, level, statistic)?;
                    }
                }
            }
            _ => {
                for (place, &value) in other.values.iter().enumerate() {
                    add(&mut self.values[place], value, level, place % self.statistics)?;
                }
            }
        }
        Ok(self)
    }

    /// Keys in place of codes.
    pub(super) fn resolve(self, index: &LevelIndex) -> LevelTotals {
        let column = |places: &[usize], statistic: usize| {
            places.iter().map(|place| self.values[place * self.statistics + statistic]).collect()
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
    values: &mut Vec<i64>,
    statistics: usize,
) -> usize {
    let next = places.len();
    *places.entry(code).or_insert_with(|| {
        values.resize(values.len() + statistics, 0);
        next
    })
}

/// Totals stay below 2⁶², so that noise cannot take them beyond an i64.
const TOTAL_LIMIT: u64 = 1 << 62;

fn add(sum: &mut i64, value: i64, level: &LevelPlan, statistic: usize) -> Result<()> {
    match sum.checked_add(value).filter(|total| total.unsigned_abs() < TOTAL_LIMIT) {
        Some(total) => {
            *sum = total;
            Ok(())
        }
        None => {
            let kind = level.statistics[statistic].kind.name();
            Err(Error::invalid(findings::total_overflow(&level.file, kind)))
        }
    }
}
