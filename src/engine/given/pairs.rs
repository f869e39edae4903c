//! Users of pairs: as many as their single values say.

use std::collections::HashMap;

use crate::job::Key;
use crate::plan::{CellKey, KeyValue, LevelPlan};

/// Of each single value in how many pairs its users are, by its own row and by those of its pairs.
#[derive(Default)]
pub(super) struct Pairs {
    said: HashMap<CellKey, i128>,
    found: HashMap<CellKey, i128>,
}

impl Pairs {
    /// Adds the row of a single value.
    pub(super) fn add_single(&mut self, key: CellKey, pairs: i64) -> Result<(), &'static str> {
        match self.said.insert(key, pairs.into()) {
            None => Ok(()),
            Some(_) => Err("a cell is there twice"),
        }
    }

    /// Adds the users of a pair.
    pub(super) fn add(&mut self, level: &LevelPlan, key: &CellKey, users: i64) {
        let with = level.keys.iter().position(|key| key.pairs_of().is_some());
        let Some((with, column)) = with.zip(level.keys.iter().find_map(Key::pairs_of)) else {
            return;
        };
        let is_first = |key: &Key| matches!(key, Key::MerchantAttribute(name) if name == column);
        let first = level.keys.iter().position(is_first);
        let first = first.expect("cannot fail because the plan checked it");
        for value in [first, with] {
            let mut single = key.clone();
            single[first] = key[value].clone();
            single[with] = no_second();
            *self.found.entry(single).or_default() += i128::from(users);
        }
    }

    /// Is every user in every pair?
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let found = |key| self.found.get(key).copied().unwrap_or(0);
        let whole = self.said.iter().all(|(key, &said)| found(key) == said);
        match whole && self.found.keys().all(|key| self.said.contains_key(key)) {
            true => Ok(()),
            false => Err("the users of pairs are not those of their single values"),
        }
    }
}

/// In place of the second of a pair, where the row is of a single value.
pub(super) fn no_second() -> KeyValue {
    KeyValue::Number(0)
}

#[cfg(test)]
mod tests {
    use super::super::cells::Cells;
    use super::super::{Counts, Row};
    use crate::fixture::Market;
    use crate::plan::Plan;

    /// A row of regions and months: key, payments, users, first ones, and its total.
    type Line = ([Option<&'static str>; 3], [i64; 3], i64);

    fn check(plan: &Plan, lines: &[Line]) -> Result<(), &'static str> {
        let level = &plan.levels[0];
        let grid = 1i64 << level.statistics[0].noise.grid_bits;
        let mut all = Cells::default();
        for (keys, [rows, users, first], total) in lines {
            let is_pair = keys[1].is_some();
            let row = Row {
                level: &level.file,
                keys: keys.to_vec(),
                rows: *rows,
                users: *users,
                first: *first,
                totals: vec![Some(if is_pair { total * grid } else { *total }), None, None],
            };
            all.add(plan, level, &row)?;
        }
        let counts = Row {
            level: "rows",
            keys: vec![None; 3],
            rows: 9,
            users: 3,
            first: 9,
            totals: vec![Some(0), Some(1), Some(0)],
        };
        all.check(&Counts::new(&counts)?)
    }

    /// In January three users pay in R0, two of them in R1 too, and one of these in R2; in February
    /// one pays in R0.
    const GOOD: [Line; 7] = [
        ([Some("R0"), None, Some("0")], [3, 0, 3], 3),
        ([Some("R1"), None, Some("0")], [3, 0, 0], 3),
        ([Some("R2"), None, Some("0")], [2, 0, 0], 2),
        ([Some("R0"), None, Some("1")], [1, 0, 0], 0),
        ([Some("R0"), Some("R1"), Some("0")], [4, 2, 0], 2),
        ([Some("R0"), Some("R2"), Some("0")], [3, 1, 0], 1),
        ([Some("R1"), Some("R2"), Some("0")], [3, 1, 0], 1),
    ];

    #[test]
    fn pairs_that_are_lost_or_there_twice_are_seen() {
        let report = "levels = [[\"region\", \"with_region\", \"month\"]]\nkeys = \"public\"\n\
                      insights = [\"customers\"]\nbounds = { customers = 9 }";
        let plan = Market::new(&[]).plan(&[report.to_owned()]);
        assert_eq!(check(&plan, &GOOD), Ok(()));
        let users = Err("the users of pairs are not those of their single values");
        for pair in 4..7 {
            let without: Vec<Line> = [&GOOD[..pair], &GOOD[pair + 1..]].concat();
            assert_eq!(check(&plan, &without), users, "{pair}");
        }
        assert_eq!(check(&plan, &GOOD[..4]), users, "all of them");
        // One user of a pair is lost, or there twice; or of another pair, or another month.
        for (pair, users_of) in [(4, 1), (4, 3), (5, 2)] {
            let mut lines = GOOD;
            lines[pair].1[1] = users_of;
            lines[pair].2 = users_of;
            assert_eq!(check(&plan, &lines), users, "{pair}");
        }
        let mut lines = GOOD;
        lines[5].0[2] = Some("1");
        assert_eq!(check(&plan, &lines), users);
        let mut lines = GOOD;
        lines[6].0 = [Some("R0"), Some("R1"), Some("1")];
        assert_eq!(check(&plan, &lines), users);
        // A single value, too.
        let twice: Vec<Line> = [&GOOD[..], &GOOD[3..4]].concat();
        assert_eq!(check(&plan, &twice), Err("a cell is there twice"));
    }
}
