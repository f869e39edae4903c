//! Users who count in a cell and have not paid there, but in a period with which it is compared.

use std::collections::HashMap;

use super::Row;
use crate::job::Key;
use crate::plan::{CellKey, Changes, LevelPlan};

/// Payments and users of the cells of a level that compares periods.
#[derive(Default)]
pub(super) struct Paying {
    cells: HashMap<CellKey, (i64, i64)>,
}

impl Paying {
    /// May fewer users have paid in a cell than count there?
    pub(super) fn may_be_fewer(level: &LevelPlan) -> bool {
        !level.changes.is_empty()
    }

    /// Adds a cell.
    pub(super) fn add(&mut self, level: &LevelPlan, key: &CellKey, row: &Row) {
        if Paying::may_be_fewer(level) {
            self.cells.insert(key.clone(), (row.rows, row.users));
        }
    }

    /// Can all users of each cell have paid there, or before?
    pub(super) fn check(&self, level: &LevelPlan) -> Result<(), &'static str> {
        for (key, (rows, users)) in &self.cells {
            let before = level.changes.values().filter_map(|changes| before(level, key, changes));
            let before = before.filter_map(|key| self.cells.get(&key));
            let all: i128 = before.map(|(rows, _)| i128::from(*rows)).sum();
            if i128::from(*users) > i128::from(*rows) + all {
                return Err("users of a cell have paid neither there nor before");
            }
        }
        Ok(())
    }
}

/// The cell with which one is compared.
fn before(level: &LevelPlan, key: &CellKey, changes: &Changes) -> Option<CellKey> {
    let mut values = level.cells.times.groups[changes.before(changes.time_of(key))?].iter();
    let keys = level.keys.iter().zip(key);
    keys.map(|(key, value)| match key {
        Key::Time(_) => values.next().cloned(),
        _ => Some(value.clone()),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Cells;
    use super::Row;
    use crate::fixture::Market;
    use crate::plan::Plan;

    /// What is said of cells of wallets and months: key, payments, users, first ones, and totals in
    /// whole users.
    fn said(plan: &Plan, cells: &[([&str; 2], [i64; 3], [i64; 4])]) -> Result<(), &'static str> {
        let level = &plan.levels[0];
        let grid = level.statistics.iter().zip(level.columns());
        let grid = grid.flat_map(|(s, columns)| columns.map(|_| 1i64 << s.noise.grid_bits));
        let grid: Vec<i64> = grid.collect();
        let mut all = Cells::default();
        for (keys, [rows, users, first], totals) in cells {
            let totals = totals.iter().zip(&grid).map(|(total, grid)| Some(total * grid));
            let row = Row {
                level: &level.file,
                keys: keys.iter().map(|&key| Some(key)).collect(),
                rows: *rows,
                users: *users,
                first: *first,
                totals: totals.collect(),
            };
            all.add(plan, level, &row)?;
        }
        all.paying.check(level)
    }

    #[test]
    fn users_of_cells_have_paid_there_or_before() {
        let plan = Market::new(&[]).plan(&["levels = [[\"wallet\", \"month\"]]\n\
             keys = \"public\"\ninsights = [\"customers\", \"diffusion_classes\"]\n\
             bounds = { customers = 1, diffusion = 1 }"
            .to_owned()]);
        // In January three users pay five times; one of them stays in February, and one comes.
        let good = [
            (["w0", "0"], [5, 3, 3], [3, 0, 0, 0]),
            (["w0", "1"], [2, 4, 1], [2, 1, 1, 2]),
            (["w0", "2"], [0, 2, 0], [0, 0, 0, 2]),
            (["w1", "2"], [1, 1, 0], [1, 1, 0, 0]),
        ];
        assert_eq!(said(&plan, &good), Ok(()));
        let with = |at: usize, counts: [i64; 3], totals: [i64; 4]| {
            let mut cells = good;
            (cells[at].1, cells[at].2) = (counts, totals);
            said(&plan, &cells)
        };
        let counts = Err("the counts of a cell do not agree");
        let neither = Err("users of a cell have paid neither there nor before");
        let beyond = Err("a total is beyond what its users can come to");
        assert_eq!(with(1, [2, 7, 1], [2, 1, 1, 2]), Ok(()));
        // More than have paid in January and February, or, in March, in February.
        assert_eq!(with(1, [2, 8, 1], [2, 1, 1, 2]), neither);
        assert_eq!(with(2, [0, 3, 0], [0, 0, 0, 2]), neither);
        // Nobody paid there in February.
        assert_eq!(with(3, [1, 2, 0], [1, 1, 0, 0]), neither);
        // January has no month before it.
        assert_eq!(with(0, [2, 3, 2], [2, 0, 0, 0]), neither);
        assert_eq!(with(2, [0, 2, 1], [0, 0, 0, 2]), counts);
        assert_eq!(with(2, [-1, 2, 0], [0, 0, 0, 2]), counts);
        // Customers are of those who have paid.
        assert_eq!(with(2, [0, 2, 0], [1, 0, 0, 2]), beyond);
        assert_eq!(with(2, [0, 2, 0], [0, 0, 0, 3]), beyond);
    }

    /// Of other levels no cell is without payments, or has more users than these.
    #[test]
    fn users_of_cells_that_are_not_compared_have_paid_there() {
        let plan = Market::new(&[]).plan(&["levels = [[\"wallet\", \"month\"]]\n\
             keys = \"public\"\ninsights = [\"customers\", \"new_customers\"]\nlook_back = 30\n\
             bounds = { customers = 1, new_returning = 1 }"
            .to_owned()]);
        let one = |counts: [i64; 3]| said(&plan, &[(["w0", "1"], counts, [0, 0, 0, 0])]);
        assert_eq!(one([2, 2, 1]).map_err(|_| ()), Ok(()));
        for counts in [[0, 0, 0], [0, 1, 0], [1, 2, 1]] {
            assert_eq!(one(counts), Err("the counts of a cell do not agree"), "{counts:?}");
        }
    }
}
