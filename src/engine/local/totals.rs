//! Running totals of one level: dense where keys are public, found by a map else.

use std::collections::hash_map::Entry;
use std::hint::black_box;
use std::ops::Range;

use super::cells::LevelIndex;
use super::record::QuickMap;
use super::stop::Stop;
use crate::engine::{LevelTotals, clamp_total};
use crate::error::{Error, Result};
use crate::findings;
use crate::plan::{CellKey, LevelPlan};

/// Totals in grid units: `width` numbers a cell, side by side.
///
/// The numbers have 32 bits, so that a cell's lie in one or two lines of the processor's cache. The
/// few that outgrow them are carried: a bin of tickets at 2^16 grid units a payment after 32,768
/// payments, which costs nothing beside adding those up.
pub(super) struct Sums {
    width: usize,
    /// `None`: a cell's place is its number.
    found: Option<Found>,
    values: Vec<i32>,
    /// What no longer fitted 32 bits, by place in `values`.
    carried: QuickMap<usize, i128>,
}

/// Cells that get their keys between two looks at Ctrl-C.
const CELLS_AT_ONCE: usize = 1 << 16;

/// The cells of a private level, in the order in which they were met.
#[derive(Default)]
struct Found {
    places: QuickMap<u64, u32>,
    /// The number of each cell, and whether some user keeps it.
    cells: Vec<(u64, bool)>,
}

impl Sums {
    pub(super) fn new(index: &LevelIndex) -> Self {
        Sums::of_width(index, index.asked.width())
    }

    /// With so many numbers a cell.
    pub(super) fn of_width(index: &LevelIndex, width: usize) -> Self {
        Sums {
            width,
            found: index.public.is_none().then(Found::default),
            values: vec![0; index.public.unwrap_or(0) * width],
            carried: QuickMap::default(),
        }
    }

    /// Finds places of cells, but adds nothing up.
    pub(super) fn places_only(index: &LevelIndex) -> Self {
        Sums::of_width(index, 0)
    }

    /// Asks the memory for columns of cells that will be added to soon, given by number.
    ///
    /// All at once: one after the other, each would be waited for. Changes nothing.
    pub(super) fn touch(&self, numbers: impl Iterator<Item = (u64, usize)>) {
        if self.found.is_none() {
            let value = |at: usize| self.values.get(at).copied().unwrap_or(0);
            let pair = |(cell, column)| {
                let start = cell as usize * self.width;
                value(start) ^ value(start + column)
            };
            black_box(numbers.map(pair).fold(0, |all, pair| all ^ pair));
        }
    }

    /// The place of a cell, a new one if it is found for the first time.
    ///
    /// # Errors
    /// There are more private cells than places.
    pub(super) fn place(&mut self, cell: u64) -> Result<u32> {
        let Some(found) = &mut self.found else {
            // Public levels have at most `Plan::CELLS_MAX` cells.
            return Ok(cell as u32);
        };
        match found.places.entry(cell) {
            Entry::Occupied(known) => Ok(*known.get()),
            Entry::Vacant(new) => {
                let place = u32::try_from(found.cells.len())
                    .map_err(|_| Error::invalid(findings::keys_too_many()))?;
                found.cells.push((cell, false));
                self.values.resize(self.values.len() + self.width, 0);
                Ok(*new.insert(place))
            }
        }
    }

    /// The number of the cell at a place.
    pub(super) fn number(&self, place: u32) -> u64 {
        self.found.as_ref().map_or(place.into(), |found| found.cells[place as usize].0)
    }

    /// Some user keeps the cell at `place`: it holds payments (Lemma 4 of `docs/privacy.md`).
    pub(super) fn keep(&mut self, place: u32) {
        if let Some(found) = &mut self.found {
            found.cells[place as usize].1 = true;
        }
    }

    /// Adds to number `column` of the cell at `place`.
    #[inline]
    pub(super) fn add(&mut self, place: u32, column: usize, value: i64) {
        self.add_at(place as usize * self.width + column, value);
    }

    #[inline]
    fn add_at(&mut self, at: usize, value: i64) {
        let sum = &mut self.values[at];
        match i64::from(*sum).checked_add(value).map(i32::try_from) {
            Some(Ok(both)) => *sum = both,
            _ => self.carry(at, value),
        }
    }

    #[cold]
    fn carry(&mut self, at: usize, value: i64) {
        let sum = std::mem::take(&mut self.values[at]);
        *self.carried.entry(at).or_default() += i128::from(sum) + i128::from(value);
    }

    /// Adds the totals of another thread.
    ///
    /// # Errors
    /// As [`Sums::place`].
    pub(super) fn merge(&mut self, other: Sums) -> Result<()> {
        let width = self.width;
        // To each place of `other` its place here.
        let mut to: Vec<usize> = (0..other.values.len() / width).collect();
        for (from, (cell, kept)) in other.found.into_iter().flat_map(|f| f.cells).enumerate() {
            let place = self.place(cell)?;
            to[from] = place as usize;
            if kept {
                self.keep(place);
            }
        }
        for (values, &place) in other.values.chunks_exact(width).zip(&to) {
            let values = values.iter().enumerate();
            values.for_each(|(column, &value)| self.add_at(place * width + column, value.into()));
        }
        for (from, value) in other.carried {
            *self.carried.entry(to[from / width] * width + from % width).or_default() += value;
        }
        Ok(())
    }

    /// Keys in place of numbers, and each statistic's columns in one piece; public cells in the
    /// order of their numbers.
    ///
    /// # Errors
    /// Ctrl-C: there may be millions of cells.
    pub(super) fn resolve(
        self,
        index: &LevelIndex,
        columns: impl Iterator<Item = Range<usize>>,
        stop: &Stop,
    ) -> Result<LevelTotals> {
        let cells = match &self.found {
            None => self.values.len() / self.width,
            Some(found) => found.cells.len(),
        };
        let mut named = Vec::with_capacity(cells);
        for place in 0..cells {
            if place % CELLS_AT_ONCE == 0 {
                stop.check()?;
            }
            match self.found.as_ref().map(|found| found.cells[place]) {
                None => named.push((index.key(place as u64), place)),
                Some((cell, true)) => named.push((index.key(cell), place)),
                Some((_, false)) => {}
            }
        }
        if self.found.is_some() {
            named.sort();
        }
        let (keys, places): (Vec<CellKey>, Vec<usize>) = named.into_iter().unzip();
        let total = |at: usize| {
            let carried = self.carried.get(&at).copied().unwrap_or(0);
            clamp_total(i128::from(self.values[at]) + carried)
        };
        // statistic → cell after cell → its numbers
        let sums = columns.map(|columns| {
            stop.check()?;
            let cells = places.iter().flat_map(|place| columns.clone().map(move |c| (place, c)));
            Ok(cells.map(|(place, column)| total(place * self.width + column)).collect())
        });
        let sums = sums.collect::<Result<_>>()?;
        Ok(LevelTotals { keys, sums })
    }

    /// Bytes that a public level of `cells` cells takes for each thread.
    pub(super) fn bytes(level: &LevelPlan, cells: u64) -> u64 {
        cells * (level.width() * size_of::<i32>()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums() -> Sums {
        Sums { width: 2, found: None, values: vec![0; 4], carried: QuickMap::default() }
    }

    fn totals(sums: &Sums) -> Vec<i128> {
        let carried = |at| sums.carried.get(&at).copied().unwrap_or(0);
        let values = sums.values.iter().enumerate();
        values.map(|(at, &value)| i128::from(value) + carried(at)).collect()
    }

    #[test]
    fn totals_beyond_32_and_64_bits_are_exact() {
        let (mut one, mut other) = (sums(), sums());
        for _ in 0..5 {
            one.add(1, 0, i64::MAX);
            one.add(0, 1, i64::MIN);
            other.add(1, 0, i64::MAX - 7);
            other.add(0, 0, 3);
        }
        let small = [i32::MAX, 1, -2, i32::MIN, i32::MIN, 1 << 30, 1 << 30];
        small.into_iter().for_each(|value| one.add(1, 1, value.into()));
        let (max, small) = (i128::from(i64::MAX), small.map(i128::from).iter().sum());
        assert_eq!(totals(&one), [0, 5 * i128::from(i64::MIN), 5 * max, small]);
        one.merge(other).expect("places");
        assert_eq!(totals(&one), [15, 5 * i128::from(i64::MIN), 10 * max - 35, small]);
    }
}
