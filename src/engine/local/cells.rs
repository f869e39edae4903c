//! How records find the cells of each level.

use std::collections::HashMap;

use super::record::{Codes, Record};
use crate::error::{Error, Result};
use crate::findings;
use crate::plan::{CellKey, CellSpace, KeyValue, LevelPlan, Pairs, Plan, Selection};

/// The cells of one level, numbered: ((home · merchants + merchant) · times + time) · rests + rest.
///
/// Records find the cells of the first home, as a user's home is known only when all of their
/// payments are in; then [`LevelIndex::at_home`] moves them. Where cells are pairs, records find
/// those of single groups in place of them, which [`LevelIndex::pair`] then puts together.
pub(super) struct LevelIndex<'p> {
    /// The level as it was before rounds and surveys.
    pub(super) asked: &'p LevelPlan,
    cells: &'p CellSpace,
    merchants: u64,
    times: u64,
    rests: u64,
    /// Of each key that tells where users are at home, its place among the plan's.
    homes: Vec<usize>,
    /// Values of the merchant groups if there is no registry.
    found_merchants: Vec<Vec<KeyValue>>,
    rest_values: Vec<Vec<KeyValue>>,
    /// How many cells there are, if the level is public: all its numbers.
    pub(super) public: Option<usize>,
}

impl<'p> LevelIndex<'p> {
    /// Has it keys that tell where users are at home?
    pub(super) fn has_homes(&self) -> bool {
        !self.homes.is_empty()
    }

    /// The cell of a user with these homes, by the plan's keys, in place of that of the first home.
    pub(super) fn at_home(&self, cell: u64, homes: &[u32]) -> u64 {
        let home = self.cells.home_number(self.homes.iter().map(|&place| homes[place]));
        home * self.merchants * self.times * self.rests + cell
    }

    /// Of the cell of a single group, at a level of pairs, what it has in common with those that it
    /// makes pairs with, and the group's place among theirs.
    pub(super) fn single(&self, pairs: &Pairs, cell: u64) -> (u64, u32) {
        let (whole, rest) = (cell / self.rests, cell % self.rests);
        let (family, place) = pairs.family((whole / self.times) as u32);
        ((u64::from(family) * self.times + whole % self.times) * self.rests + rest, place)
    }

    /// The cell of a pair, from what [`LevelIndex::single`] says of both; the first has the smaller
    /// place.
    pub(super) fn pair(&self, pairs: &Pairs, common: u64, first: u32, second: u32) -> u64 {
        let (whole, rest) = (common / self.rests, common % self.rests);
        let pair = pairs.number((whole / self.times) as u32, first, second);
        (u64::from(pair) * self.times + whole % self.times) * self.rests + rest
    }

    /// The pairs that are cells, if they are.
    pub(super) fn pairs(&self) -> Option<&'p Pairs> {
        self.cells.pairs.as_ref()
    }

    /// A cell without its time, as a number of its own; and the time's.
    pub(super) fn series_and_time(&self, cell: u64) -> (u64, usize) {
        let (whole, rest) = (cell / self.rests, cell % self.rests);
        let (merchant, time) = (whole / self.times, whole % self.times);
        (merchant * self.rests + rest, time as usize)
    }

    /// The cell of the same series at another time.
    pub(super) fn at_time(&self, cell: u64, time: usize) -> u64 {
        let (series, rest) = (cell / self.rests / self.times, cell % self.rests);
        (series * self.times + time as u64) * self.rests + rest
    }

    /// What a cell is called.
    pub(super) fn key(&self, cell: u64) -> CellKey {
        let (group, time) = (cell / self.rests / self.times, cell / self.rests % self.times);
        let (home, merchant) = (group / self.merchants, group % self.merchants);
        let home = self.cells.home_values(home);
        let merchant = match self.cells.sellers() {
            Some(groups) => &groups[merchant as usize],
            None => &self.found_merchants[merchant as usize],
        };
        let time = &self.cells.times.groups[time as usize];
        self.cells.key(&home, merchant, time, &self.rest_values[(cell % self.rests) as usize])
    }
}

/// For every level, what each part of a record adds to the number of its cell.
///
/// Side by side for all levels, since a record needs all of them at once.
pub(super) struct CellFinder<'p> {
    pub(super) levels: Vec<LevelIndex<'p>>,
    codes: &'p Codes,
    by_merchant: Vec<u64>,
    by_slot: Vec<u64>,
    by_rest: Vec<u64>,
}

impl<'p> CellFinder<'p> {
    /// Once all payments are read and `codes` is complete.
    pub(super) fn new(plan: &'p Plan, codes: &'p Codes) -> Result<Self> {
        let found = Found::new(plan, codes);
        let count = plan.levels.len();
        let mut finder = CellFinder {
            levels: Vec::with_capacity(count),
            codes,
            by_merchant: vec![0; found.merchants * count],
            by_slot: vec![0; codes.slots.hours.len() * count],
            by_rest: vec![0; found.rest.len() * count],
        };
        for (place, level) in plan.levels.iter().enumerate() {
            let (index, rest_groups) = found.level(plan, level);
            let cells = index
                .merchants
                .checked_mul(index.times)
                .and_then(|cells| cells.checked_mul(index.rests))
                .and_then(|cells| cells.checked_mul(index.cells.home_count()));
            // Those that records find first have numbers of 32 bits, as public ones.
            let singles = index.cells.merchants.as_ref().filter(|_| index.pairs().is_some());
            let singles = singles.map_or(0, |grouping| grouping.groups.len() as u128);
            let singles = singles * u128::from(index.times) * u128::from(index.rests);
            if cells.is_none() || singles > u128::from(u32::MAX) {
                return Err(Error::invalid(findings::keys_too_many()));
            }
            let per_merchant = index.times * index.rests;
            for merchant in 0..found.merchants {
                let group = match &index.cells.merchants {
                    Some(grouping) => grouping.group_of.get(merchant).copied().unwrap_or(0),
                    None => merchant as u32,
                };
                finder.by_merchant[merchant * count + place] = u64::from(group) * per_merchant;
            }
            for (slot, &hour) in codes.slots.hours.iter().enumerate() {
                let group = index.cells.times.group_of[hour];
                finder.by_slot[slot * count + place] = u64::from(group) * index.rests;
            }
            for (rest, group) in rest_groups.into_iter().enumerate() {
                finder.by_rest[rest * count + place] = group.into();
            }
            finder.levels.push(index);
        }
        Ok(finder)
    }

    /// The day of a record; see [`Slots::day`](super::record::Slots::day).
    pub(super) fn day(&self, record: &Record) -> usize {
        self.codes.slots.day(record)
    }

    /// Appends the numbers of a record's cells, at one level after the other.
    pub(super) fn cells(&self, record: &Record, cells: &mut Vec<u64>) {
        let count = self.levels.len();
        let (slot, rest) = self.codes.slots.split(record);
        let by_merchant = &self.by_merchant[record.merchant as usize * count..][..count];
        let by_slot = &self.by_slot[slot * count..][..count];
        let by_rest = &self.by_rest[rest * count..][..count];
        let parts = by_merchant.iter().zip(by_slot).zip(by_rest);
        cells.extend(parts.map(|((merchant, slot), rest)| merchant + slot + rest));
    }
}

/// The values that the payments held.
struct Found {
    /// How many codes of merchants there may be.
    merchants: usize,
    merchant_texts: Vec<KeyValue>,
    /// By code, the values of the plan's columns and of the currency.
    rest: Vec<Vec<KeyValue>>,
}

impl Found {
    fn new(plan: &Plan, codes: &Codes) -> Self {
        let merchant_texts: Vec<KeyValue> =
            codes.merchants.values().into_iter().map(KeyValue::Text).collect();
        let registered = plan.job.registry.as_ref().map(|registry| registry.ids.len());
        let columns: Vec<_> = codes.columns.iter().map(|column| column.values()).collect();
        let texts = |combination: &[u32]| -> Vec<KeyValue> {
            let pairs = combination.iter().zip(&columns);
            pairs.map(|(&code, texts)| KeyValue::Text(texts[code as usize].clone())).collect()
        };
        Found {
            // Without registry and merchants every record has merchant 0.
            merchants: registered.unwrap_or(merchant_texts.len().max(1)),
            merchant_texts,
            rest: codes.rest.values().iter().map(|combination| texts(combination)).collect(),
        }
    }

    /// The index of one level, and the group of each code of the rest.
    fn level<'p>(&self, plan: &'p Plan, level: &'p LevelPlan) -> (LevelIndex<'p>, Vec<u32>) {
        let cells = &level.cells;
        let public = level.selection == Selection::Public;
        let places: Vec<usize> = cells
            .rest
            .iter()
            .map(|name| {
                let column = plan.columns.iter().position(|column| column == name);
                column.unwrap_or(plan.columns.len())
            })
            .collect();
        let mut rest_values =
            if public { cells.public_rest(&plan.job).unwrap_or_default() } else { Vec::new() };
        let mut known: HashMap<Vec<KeyValue>, u32> = rest_values.iter().cloned().zip(0..).collect();
        let group = |all: &Vec<KeyValue>| {
            let values: Vec<KeyValue> = places.iter().map(|&place| all[place].clone()).collect();
            *known.entry(values).or_insert_with_key(|values| {
                rest_values.push(values.clone());
                rest_values.len() as u32 - 1
            })
        };
        let groups = self.rest.iter().map(group).collect();
        let all_homes = plan.homes();
        let homes = cells.homes.iter().filter_map(|home| {
            all_homes.iter().position(|other| other.attribute == home.attribute)
        });
        let merchants = cells.sellers().map_or(self.merchant_texts.len(), <[_]>::len);
        let index = LevelIndex {
            asked: level,
            cells,
            merchants: merchants as u64,
            homes: homes.collect(),
            times: cells.times.groups.len() as u64,
            rests: rest_values.len().max(1) as u64,
            found_merchants: match cells.merchants {
                Some(_) => Vec::new(),
                None => self.merchant_texts.iter().map(|text| vec![text.clone()]).collect(),
            },
            rest_values,
            public: public.then(|| level.public_cells(&plan.job) as usize),
        };
        (index, groups)
    }
}
