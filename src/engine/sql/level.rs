//! One level in SQL: users' cells, cut and fitted, and their sums (Lemmas 1 and 2 of
//! `docs/privacy.md`).

use super::cells::Cells;
use super::fit::{Bounded, Fit};
use super::{Cte, Dialect};
use crate::job::Key;
use crate::plan::{LevelPlan, Plan, StatisticPlan};

/// Writes the steps of one level.
pub(super) struct LevelSql<'p> {
    level: &'p LevelPlan,
    dialect: Dialect,
    cells: Cells<'p>,
}

impl<'p> LevelSql<'p> {
    /// The level at a place of the plan; `keys` are those of all levels.
    pub(super) fn new(plan: &'p Plan, place: usize, dialect: Dialect, keys: &[Key]) -> Self {
        let level = &plan.levels[place];
        let all: Vec<usize> = (0..level.statistics.len()).collect();
        LevelSql { level, dialect, cells: Cells::new(plan, (place, &all), dialect, keys) }
    }

    /// The step whose rows are the level's cells: the keys, `n_rows`, `n_users`, `n_first` and
    /// `total_1`, ...
    pub(super) fn result(&self) -> String {
        format!("{}_totals", self.cells.name())
    }

    /// The keys as columns, in the order of the level.
    pub(super) fn keys(&self) -> &[String] {
        self.cells.keys()
    }

    /// All steps.
    pub(super) fn ctes(&self) -> Vec<Cte> {
        let bounded = self.level.statistics.iter().zip(self.level.columns());
        let bounded = bounded.map(|(statistic, columns)| {
            Bounded::new(columns, statistic.kind.facts().signed, statistic.noise)
        });
        let fit = Fit {
            dialect: self.dialect,
            name: self.cells.name(),
            user: self.cells.user(),
            before: self.cells.before(),
            bounded: bounded.collect(),
        };
        let numbers = self.level.statistics.iter().zip(self.cells.numbers());
        let cut = numbers.flat_map(|(statistic, numbers)| {
            numbers.iter().map(|number| self.in_grid(statistic, number))
        });
        let cut: Vec<String> = cut.collect();
        let mut ctes = self.cells.ctes("in grid units, each number cut to its cap", &cut);
        ctes.extend(fit.ctes());
        ctes.push(Cte::new(&self.result(), "cell: sums over users", self.totals(&fit)));
        ctes
    }

    /// A number of a cell in grid units, cut to ± the cap.
    fn in_grid(&self, statistic: &StatisticPlan, number: &str) -> String {
        let (cap, bits) = (statistic.noise.bound.cell_cap(), statistic.noise.grid_bits);
        // More units than fit the cap are as good as this many.
        let units = cap.div_ceil(1 << bits);
        let cut = |value: &str, most: u64| match statistic.kind.facts().signed {
            true => format!("GREATEST(LEAST({value}, {most}), -{most})"),
            false => format!("LEAST({value}, {most})"),
        };
        let grid = format!("{} * {}", self.dialect.integer(&cut(number, units)), 1u64 << bits);
        if units << bits == cap { grid } else { cut(&grid, cap) }
    }

    fn totals(&self, fit: &Fit) -> String {
        let users = match (self.cells.kept(), self.cells.second()) {
            (Some(kept), _) => format!("SUM(CASE WHEN {kept} THEN 1 ELSE 0 END)"),
            (None, Some(second)) => format!("SUM(CASE WHEN {second} IS NULL THEN 0 ELSE 1 END)"),
            (None, None) => "COUNT(*)".to_owned(),
        };
        let mut columns: Vec<String> = self.keys().to_vec();
        columns.push("SUM(n_rows) AS n_rows".to_owned());
        columns.push(format!("{users} AS n_users"));
        columns.push("SUM(CASE WHEN n_place = 1 THEN 1 ELSE 0 END) AS n_first".to_owned());
        columns.extend(fit.sums().map(|sum| {
            match (self.cells.second(), sum.rsplit_once(" AS ")) {
                // In place of a total, of which a single value has none.
                (Some(second), Some((sum, name))) => {
                    format!("CASE WHEN {second} IS NULL THEN SUM(n_with) ELSE {sum} END AS {name}")
                }
                _ => sum,
            }
        }));
        let by = match self.keys() {
            // Without a row there is no cell.
            [] => "HAVING COUNT(*) > 0".to_owned(),
            keys => format!("GROUP BY {}", keys.join(", ")),
        };
        format!("SELECT {}\n  FROM {}_fitted\n  {by}", columns.join(",\n    "), fit.name)
    }
}
