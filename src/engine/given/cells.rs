//! The cells of one level, from rows to totals.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::pairs::{Pairs, no_second};
use super::paying::Paying;
use super::{Counts, Row};
use crate::engine::sql::key_value;
use crate::engine::{LevelTotals, TOTAL_MAX};
use crate::job::{Job, Key};
use crate::plan::{CellKey, LevelPlan, Plan, StatisticPlan};

/// The cells of one level, as they come in.
#[derive(Default)]
pub(super) struct Cells {
    /// Payments and refunds, before some cells of private keys are dropped.
    rows: i128,
    /// Users, each counted in one cell.
    first: i128,
    /// The most users of one cell.
    users: i64,
    /// Those that some user keeps.
    totals: HashMap<CellKey, Vec<i64>>,
    /// Those that none keeps, to see that none comes twice.
    dropped: HashSet<CellKey>,
    /// Whether users of cells have paid, where they also count by the period before.
    pub(super) paying: Paying,
    /// Whether users of pairs are those of single values, where cells are pairs.
    pairs: Pairs,
}

impl Cells {
    pub(super) fn add(
        &mut self,
        plan: &Plan,
        level: &LevelPlan,
        row: &Row,
    ) -> Result<(), &'static str> {
        let key = key_of(plan, level, &row.keys).ok_or("a cell has a key that the job has not")?;
        let second = level.keys.iter().position(|key| key.pairs_of().is_some());
        if second.is_some_and(|second| key[second] == no_second()) {
            return self.add_single(key, row);
        }
        if second.is_some() && row.first != 0 {
            return Err("a pair counts users that single values count");
        }
        if !counts_agree(level, &key, row) {
            return Err("the counts of a cell do not agree");
        }
        self.paying.add(level, &key, row);
        self.pairs.add(level, &key, row.users);
        let (own, others) = row.totals.split_at(level.width());
        let own: Option<Vec<i64>> = own.iter().copied().collect();
        let own = own.filter(|_| others.iter().all(Option::is_none));
        let own = own.ok_or("a cell has too few numbers, or too many")?;
        for (statistic, columns) in level.statistics.iter().zip(level.columns()) {
            let (least, most) = limits(level, statistic, row);
            if own[columns].iter().any(|&total| !(least..=most).contains(&i128::from(total))) {
                return Err("a total is beyond what its users can come to");
            }
        }
        // Those of pairs are in single values.
        self.rows += if second.is_some() { 0 } else { i128::from(row.rows) };
        self.first += i128::from(row.first);
        self.users = self.users.max(row.users);
        let twice = if row.users > 0 {
            self.dropped.contains(&key) || self.totals.insert(key, own).is_some()
        } else {
            self.totals.contains_key(&key) || !self.dropped.insert(key)
        };
        if twice { Err("a cell is there twice") } else { Ok(()) }
    }

    /// Adds the row of a single value, where cells are pairs: it has payments and users, so that
    /// all are counted, and in place of a total in how many pairs these users are.
    fn add_single(&mut self, key: CellKey, row: &Row) -> Result<(), &'static str> {
        let counted = row.users == 0 && 0 <= row.first && row.first <= row.rows && row.rows > 0;
        let [Some(pairs), others @ ..] = &row.totals[..] else {
            return Err("a cell has too few numbers, or too many");
        };
        if !counted || others.iter().any(Option::is_some) {
            return Err("the counts of a cell do not agree");
        }
        self.pairs.add_single(key, *pairs)?;
        self.rows += i128::from(row.rows);
        self.first += i128::from(row.first);
        Ok(())
    }

    /// Is every payment, and every user, in this level once, and in all of their pairs?
    pub(super) fn check(&self, counts: &Counts) -> Result<(), &'static str> {
        if self.rows != i128::from(counts.good) {
            return Err("the rows of a level are not all rows");
        }
        if self.first != i128::from(counts.users) || self.users > counts.users {
            return Err("the users of a level are not all users");
        }
        self.pairs.check()
    }

    pub(super) fn into_totals(
        mut self,
        job: &Job,
        level: &LevelPlan,
    ) -> Result<LevelTotals, &'static str> {
        let cells: Vec<(CellKey, Vec<i64>)> = if level.is_public() {
            if !self.dropped.is_empty() {
                return Err("a cell has no users");
            }
            let zeros = vec![0; level.width()];
            let keys = level.cells.public_keys(job).expect("the job checked it");
            let total = |key: CellKey| {
                let own = self.totals.remove(&key);
                (key, own.unwrap_or_else(|| zeros.clone()))
            };
            let cells = keys.into_iter().map(total).collect();
            if !self.totals.is_empty() {
                return Err("a cell has a key that the job has not");
            }
            cells
        } else {
            self.totals.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect()
        };
        let sums = level.columns().map(|columns| {
            cells.iter().flat_map(|(_, own)| own[columns.clone()].iter().copied()).collect()
        });
        let sums = sums.collect();
        Ok(LevelTotals { keys: cells.into_iter().map(|(key, _)| key).collect(), sums })
    }
}

/// Can a cell have these payments, users and first users?
fn counts_agree(level: &LevelPlan, key: &CellKey, row: &Row) -> bool {
    let paying = row.users.min(row.rows);
    let all_pay = paying == row.users && row.rows > 0;
    if !level.is_discovered() {
        let counted = 0 <= row.first && row.first <= paying;
        return counted && (all_pay || Paying::may_be_fewer(level));
    }
    // Who has no cell that counts is counted where none of them does. In a round all may have
    // others with more payments.
    let (is_cut, counts) = (level.round().is_some(), level.counts(key));
    let users = if counts { is_cut || row.users > 0 } else { row.users == 0 };
    let most = if counts { row.users } else { row.rows };
    users && all_pay && 0 <= row.first && row.first <= most
}

/// What a number of a cell is at least and at most, in grid units.
fn limits(level: &LevelPlan, statistic: &StatisticPlan, row: &Row) -> (i128, i128) {
    let users = if statistic.kind.compares() { row.users } else { row.users.min(row.rows) };
    let of_all = |each: i128| (i128::from(users) * each).min(TOTAL_MAX.into());
    let most = of_all(statistic.noise.bound.cell_cap().into());
    let least = match level.discovery().zip(level.round()) {
        // Each has as much in each of at most so many cells.
        Some((discovery, round)) => of_all(round.each(discovery.cells_max as usize).into()),
        None if statistic.kind.facts().signed => -most,
        None => 0,
    };
    (least, most)
}

/// The key of a cell; `None` if it is none of the job's.
fn key_of(plan: &Plan, level: &LevelPlan, texts: &[Option<&str>]) -> Option<CellKey> {
    let (own, others) = texts.split_at_checked(level.keys.len())?;
    if others.iter().any(Option::is_some) {
        return None;
    }
    let value = |(key, text): (&Key, &Option<&str>)| {
        if text.is_none() && key.pairs_of().is_some() {
            return Some(no_second());
        }
        let text = text.filter(|text| is_listed(&plan.job, key, text))?;
        key_value(plan, key, text)
    };
    level.keys.iter().zip(own).map(value).collect()
}

/// Is a text one of the values that the job lists for a key, if it lists any?
fn is_listed(job: &Job, key: &Key, text: &str) -> bool {
    let within = |values: &Vec<String>| values.binary_search_by(|v| v.as_str().cmp(text)).is_ok();
    let of_merchants = |column: Option<&str>| {
        let values = job.registry.as_ref().zip(column).and_then(|(r, name)| r.attributes.get(name));
        values.is_some_and(|values| values.iter().any(|value| value == text))
    };
    match key {
        Key::Time(_) => true,
        Key::Merchant => job.registry.as_ref().is_none_or(|registry| within(&registry.ids)),
        Key::MerchantAttribute(name) => of_merchants(Some(name)),
        Key::Home(_) => of_merchants(key.home_of()),
        Key::With(_) => of_merchants(key.pairs_of()),
        Key::Column(name) => job.key_sets.get(name).is_none_or(within),
        Key::Currency => job.payments.currencies.iter().any(|currency| currency.code() == text),
    }
}
