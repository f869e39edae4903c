//! One level in SQL: users' cells, cut and fitted, and their sums (Lemmas 1 and 2 of
//! `docs/privacy.md`).

use super::numbers::Numbers;
use super::{Cte, Dialect, calendar};
use crate::engine::TOTAL_MAX;
use crate::findings::{self, Finding};
use crate::job::Key;
use crate::plan::{LevelPlan, Plan, Selection, StatisticPlan};

/// Writes the steps of one level.
pub(super) struct LevelSql<'p> {
    plan: &'p Plan,
    level: &'p LevelPlan,
    dialect: Dialect,
    /// Start of the steps' names.
    name: String,
    /// `dr_user`, and `dr_unit` if the unit is within a period.
    user: String,
    /// The level's keys as columns of `dr_payments`, in its order.
    keys: Vec<String>,
    numbers: Vec<Numbers>,
}

impl<'p> LevelSql<'p> {
    /// The level at a place of the plan; `keys` are those of all levels.
    ///
    /// # Errors
    /// Keys and statistics that have no SQL yet.
    pub(super) fn new(
        plan: &'p Plan,
        place: usize,
        dialect: Dialect,
        keys: &[Key],
    ) -> Result<Self, Finding> {
        let level = &plan.levels[place];
        if let Some(key) = level.keys.iter().find(|key| !has_sql(key)) {
            let finding = findings::sql_missing(key.name(), &level.file);
            return Err(finding.at(level.span.clone()));
        }
        let column = |key: &Key| {
            let at = keys.iter().position(|known| known == key);
            format!("dr_k{}", at.expect("cannot fail because all levels' keys are there") + 1)
        };
        let period = plan.job.payments.period;
        let has_unit = calendar::unit(dialect, plan.job.privacy.unit, period).is_some();
        let numbers = level.statistics.iter();
        let numbers = numbers.map(|statistic| Numbers::new(plan, level, statistic.kind, dialect));
        Ok(LevelSql {
            plan,
            level,
            dialect,
            name: format!("dr_l{}", place + 1),
            user: if has_unit { "dr_user, dr_unit" } else { "dr_user" }.to_owned(),
            keys: level.keys.iter().map(column).collect(),
            numbers: numbers.collect::<Result<_, _>>()?,
        })
    }

    /// The step whose rows are the level's cells: the keys, `n_rows`, `n_users`, `n_first` and
    /// `total_1`, ...
    pub(super) fn result(&self) -> String {
        format!("{}_totals", self.name)
    }

    /// The keys as columns, in the order of the level.
    pub(super) fn keys(&self) -> &[String] {
        &self.keys
    }

    /// All steps.
    pub(super) fn ctes(&self) -> Vec<Cte> {
        let step = |ending: &str, what: &str, sql: String| {
            Cte::new(&format!("{}_{ending}", self.name), what, sql)
        };
        let mut ctes = Vec::new();
        ctes.push(step("cells", "(user, cell): what the user has there", self.cells()));
        ctes.extend(self.look_back());
        ctes.push(step("cut", "in grid units, each number cut to its cap", self.cut()));
        ctes.push(step("norms", "squares of the user's norms", self.norms()));
        ctes.push(step("roots", "about the norms of who is beyond a bound", self.roots()));
        ctes.push(step("better", "the same to one unit", self.better()));
        ctes.push(step("up", "norms rounded up", self.up()));
        ctes.push(step("fitted", "the user's numbers within the bounds", self.fitted()));
        ctes.push(step("totals", "cell: sums over users", self.totals()));
        ctes
    }

    /// Columns that tell a user's cells apart, each with a comma before it but the first.
    fn user_and_keys(&self) -> String {
        let keys: String = self.keys.iter().map(|key| format!(", {key}")).collect();
        format!("{}{keys}", self.user)
    }

    fn cells(&self) -> String {
        let mut columns = vec!["COUNT(*) AS n_rows".to_owned()];
        let payments = "SUM(CASE WHEN dr_amount >= 0 THEN 1 ELSE 0 END)".to_owned();
        let mut sums = vec![("n_payments".to_owned(), payments)];
        for (name, sql) in self.numbers.iter().flat_map(|numbers| &numbers.sums) {
            if !sums.iter().any(|(known, _)| known == name) {
                sums.push((name.clone(), sql.clone()));
            }
        }
        columns.extend(sums.iter().map(|(name, sql)| format!("{sql} AS {name}")));
        let by = self.user_and_keys();
        format!(
            "SELECT {by},\n    {}\n  FROM dr_payments\n  GROUP BY {by}",
            columns.join(",\n    ")
        )
    }

    /// Where it counts who is new: has the user come in the days before the cell, at the same
    /// place?
    fn look_back(&self) -> Vec<Cte> {
        let Some(look_back) = &self.level.look_back else { return Vec::new() };
        let pairs = self.level.keys.iter().zip(&self.keys);
        let places = pairs.filter(|(key, _)| !matches!(key, Key::Time(_)));
        let places: Vec<&String> = places.map(|(_, column)| column).collect();
        let own: String = places.iter().map(|key| format!(", {key}")).collect();
        let same: String = places.iter().map(|key| format!(" AND d.{key} = c.{key}")).collect();
        let (start, days) = (self.first_day("c."), look_back.days());
        let cells = |prefix: &str| {
            let keys = self.keys.iter().map(|key| format!(", {prefix}{key}"));
            format!("{prefix}dr_user{}", keys.collect::<String>())
        };
        let seen = format!("SELECT DISTINCT dr_user{own}, dr_day\n  FROM dr_payments");
        let back = format!(
            "SELECT {},\n    MAX({start}) AS n_start,\n    MAX(CASE WHEN d.dr_day < {start} AND d.dr_day \
             >= {start} - {days} THEN 1 ELSE 0 END) AS n_back\n  FROM {}_cells c JOIN {}_seen d ON d.dr_user = c.dr_user{same}\n  \
             GROUP BY {}",
            cells("c."),
            self.name,
            self.name,
            cells("c."),
        );
        let name = |ending: &str| format!("{}_{ending}", self.name);
        vec![
            Cte::new(&name("seen"), "days on which a user was somewhere", seen),
            Cte::new(&name("back"), "did the user come in the days before the cell?", back),
        ]
    }

    /// The first day of a cell within the period.
    fn first_day(&self, prefix: &str) -> String {
        let period = self.plan.job.payments.period;
        let times = self.level.keys.iter().zip(&self.keys).filter_map(|(key, column)| match key {
            Key::Time(key) => Some(calendar::first_day(*key, &format!("{prefix}{column}"), period)),
            _ => None,
        });
        let times: Vec<String> = times.collect();
        match &times[..] {
            [one] => format!("({one})"),
            many => format!("GREATEST({})", many.join(", ")),
        }
    }

    /// The most cells of a user that count, if that is limited.
    fn cells_max(&self) -> Option<u32> {
        match self.level.selection {
            Selection::Public => None,
            Selection::Threshold { cells_max, .. } => Some(cells_max),
        }
    }

    /// The place of a cell among the user's: those with most payments first, of equals the first by
    /// key. Of public keys only which one is first is looked at.
    fn place(&self) -> String {
        if self.keys.is_empty() {
            return "1".to_owned();
        }
        let order = self.level.keys.iter().zip(&self.keys).map(|(key, column)| match key {
            Key::Time(_) => format!("c.{column}"),
            _ => self.dialect.in_order(&format!("c.{column}")),
        });
        let most = self.cells_max().map(|_| "c.n_payments DESC".to_owned());
        let order: Vec<String> = most.into_iter().chain(order).collect();
        let user = self.user.replace("dr_u", "c.dr_u");
        format!("ROW_NUMBER() OVER (PARTITION BY {user} ORDER BY {})", order.join(", "))
    }

    fn cut(&self) -> String {
        let mut columns = Vec::new();
        for (statistic, numbers) in self.level.statistics.iter().zip(&self.numbers) {
            for number in &numbers.numbers {
                columns.push(self.in_grid(statistic, number));
            }
        }
        let named = columns.iter().zip(1..).map(|(sql, at)| format!("{sql} AS z{at}"));
        let named = named.collect::<Vec<_>>().join(",\n    ");
        let all: String = self.keys.iter().map(|key| format!(", c.{key}")).collect();
        let all = format!("{}{all}", self.user.replace("dr_u", "c.dr_u"));
        let mut from = format!("{}_cells c", self.name);
        if self.level.look_back.is_some() {
            let same: String = self.keys.iter().map(|k| format!(" AND b.{k} = c.{k}")).collect();
            from += &format!(" JOIN {}_back b ON b.dr_user = c.dr_user{same}", self.name);
        }
        let cut = format!(
            "SELECT {all}, c.n_rows,\n    {} AS n_place,\n    {named}\n  FROM {from}",
            self.place()
        );
        let Some(most) = self.cells_max() else { return cut };
        // The rows of cells that do not count are kept for the check of all rows.
        let kept =
            |at: usize| format!("CASE WHEN n_place <= {most} THEN z{at} ELSE 0 END AS z{at}");
        let kept: Vec<String> = (1..=columns.len()).map(kept).collect();
        format!(
            "SELECT {}, n_rows, n_place,\n    {}\n  FROM ({cut}) dr_all",
            self.user_and_keys(),
            kept.join(",\n    ")
        )
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

    /// All columns before the numbers.
    fn before(&self) -> String {
        format!("{}, n_rows, n_place", self.user_and_keys())
    }

    /// The columns `z1`, `z2`, ... of all numbers.
    fn zs(&self) -> String {
        (1..=self.level.width()).map(|at| format!(", z{at}")).collect()
    }

    /// The same column for each statistic: `s` for `s1`, `s2`, ...
    fn each(&self, name: &str) -> String {
        (1..=self.numbers.len()).map(|at| format!(", {name}{at}")).collect()
    }

    /// A column for each statistic, made from its place and whether it is beyond its bound.
    fn for_each(&self, made: impl Fn(usize, String) -> String) -> String {
        let column = |(statistic, at): (&StatisticPlan, usize)| {
            let norm = u128::from(statistic.noise.bound.norm());
            let beyond = format!("s{at} > {}", self.dialect.wide_constant(norm * norm));
            format!(",\n    {}", made(at, beyond))
        };
        self.level.statistics.iter().zip(1..).map(column).collect()
    }

    fn norms(&self) -> String {
        let squares = self.level.columns().zip(1..).map(|(columns, at)| {
            let wide = |column: usize| self.dialect.wide(&format!("z{}", column + 1));
            let square = |column: usize| format!("{0} * {0}", wide(column));
            let squares: Vec<String> = columns.map(square).collect();
            let (squares, user) = (squares.join(" + "), &self.user);
            format!(",\n    SUM({squares}) OVER (PARTITION BY {user}) AS s{at}")
        });
        let squares: String = squares.collect();
        format!("SELECT {}{}{squares}\n  FROM {}_cut", self.before(), self.zs(), self.name)
    }

    /// ⌊√S⌋ by floats, off by the more the larger it is.
    fn roots(&self) -> String {
        let one = self.dialect.wide("1");
        let roots = self.for_each(|at, beyond| {
            let root = format!("FLOOR(SQRT({}))", self.dialect.double(&format!("s{at}")));
            format!("CASE WHEN {beyond} THEN {} ELSE {one} END AS r{at}", self.dialect.wide(&root))
        });
        let (before, zs, squares) = (self.before(), self.zs(), self.each("s"));
        format!("SELECT {before}{zs}{squares}{roots}\n  FROM {}_norms", self.name)
    }

    /// A step of Newton's: what is missing to S is exact, as it is of whole numbers.
    fn better(&self) -> String {
        let one = self.dialect.wide("1");
        let better = self.for_each(|at, beyond| {
            let missing = self.dialect.double(&format!("s{at} - r{at} * r{at}"));
            let root = self.dialect.double(&format!("r{at}"));
            let step = self.dialect.wide(&format!("FLOOR({missing} / (2 * {root}))"));
            format!("CASE WHEN {beyond} THEN r{at} + {step} ELSE {one} END AS b{at}")
        });
        let (before, zs, squares) = (self.before(), self.zs(), self.each("s"));
        format!("SELECT {before}{zs}{squares}{better}\n  FROM {}_roots", self.name)
    }

    /// g = ⌈√S⌉, the least of the numbers around whose square is not below S.
    fn up(&self) -> String {
        let one = self.dialect.wide("1");
        let up = self.for_each(|at, beyond| {
            let below = |root: &str| format!("CASE WHEN {root} * {root} < s{at} THEN 1 ELSE 0 END");
            let [less, same, more] =
                [format!("(b{at} - 1)"), format!("b{at}"), format!("(b{at} + 1)")];
            let sum = [below(&less), below(&same), below(&more)].join(" + ");
            let root = self.dialect.wide(&format!("b{at} - 1 + {sum}"));
            format!("CASE WHEN {beyond} THEN {root} ELSE {one} END AS g{at}")
        });
        let (before, zs, squares) = (self.before(), self.zs(), self.each("s"));
        format!("SELECT {before}{zs}{squares}{up}\n  FROM {}_better", self.name)
    }

    /// y = z within the bound, else z·C/g without its fraction.
    fn fitted(&self) -> String {
        let mut fitted = String::new();
        let statistics = self.level.statistics.iter().zip(self.level.columns()).zip(1..);
        for ((statistic, columns), at) in statistics {
            let norm = statistic.noise.bound.norm();
            let beyond = self.dialect.wide_constant(u128::from(norm) * u128::from(norm));
            for column in columns {
                let z = format!("z{}", column + 1);
                let size = |value: &str| {
                    let wide = self.dialect.wide(value);
                    let product = format!("{wide} * {}", self.dialect.wide_constant(norm.into()));
                    let root = format!("g{at}");
                    self.dialect.integer(&self.dialect.quotient(&product, &root))
                };
                let below = match statistic.kind.facts().signed {
                    true => format!(" WHEN {z} < 0 THEN -{}", size(&format!("-{z}"))),
                    false => String::new(),
                };
                fitted += &format!(
                    ",\n    CASE WHEN s{at} <= {beyond} THEN {z}{below} ELSE {} END AS y{}",
                    size(&z),
                    column + 1
                );
            }
        }
        format!("SELECT {}{fitted}\n  FROM {}_up", self.before(), self.name)
    }

    fn totals(&self) -> String {
        let total = |at: usize| {
            let sum = self.dialect.sum(&format!("y{at}"));
            format!("LEAST(GREATEST({sum}, -{TOTAL_MAX}), {TOTAL_MAX}) AS total_{at}")
        };
        let users = match self.cells_max() {
            Some(most) => format!("SUM(CASE WHEN n_place <= {most} THEN 1 ELSE 0 END)"),
            None => "COUNT(*)".to_owned(),
        };
        let mut columns: Vec<String> = self.keys.clone();
        columns.push("SUM(n_rows) AS n_rows".to_owned());
        columns.push(format!("{users} AS n_users"));
        columns.push("SUM(CASE WHEN n_place = 1 THEN 1 ELSE 0 END) AS n_first".to_owned());
        columns.extend((1..=self.level.width()).map(total));
        let by = match &self.keys[..] {
            // Without a row there is no cell.
            [] => "HAVING COUNT(*) > 0".to_owned(),
            keys => format!("GROUP BY {}", keys.join(", ")),
        };
        format!("SELECT {}\n  FROM {}_fitted\n  {by}", columns.join(",\n    "), self.name)
    }
}

/// Has a key SQL? Names each kind of key, so that a new one is not forgotten.
fn has_sql(key: &Key) -> bool {
    match key {
        Key::Merchant | Key::MerchantAttribute(_) | Key::Time(_) => true,
        Key::Column(_) | Key::Currency => true,
        // They rest on all payments of a user.
        Key::Home(_) | Key::With(_) => false,
    }
}
