//! What each user has in each cell of a level, in SQL.

use super::changes::Compared;
use super::numbers::Numbers;
use super::{Cte, Dialect, rows};
use crate::job::Key;
use crate::plan::{LevelPlan, Plan, Selection};

/// Writes the steps from payments to a row for each user and cell.
pub(super) struct Cells<'p> {
    pub(super) plan: &'p Plan,
    pub(super) level: &'p LevelPlan,
    pub(super) dialect: Dialect,
    /// Start of the steps' names.
    pub(super) name: String,
    /// `dr_user`, and `dr_unit` if the unit is within a period.
    user: String,
    /// The level's keys as columns of `dr_payments`, in its order.
    pub(super) keys: Vec<String>,
    /// Which periods are compared, by those of the statistics that do so.
    pub(super) compared: Vec<Compared>,
    /// Those of the statistics that are asked for.
    numbers: Vec<Numbers>,
}

impl<'p> Cells<'p> {
    /// Of some statistics, by their places, of the level at a place of the plan; `keys` are those
    /// of all levels.
    pub(super) fn new(
        plan: &'p Plan,
        (place, statistics): (usize, &[usize]),
        dialect: Dialect,
        keys: &[Key],
    ) -> Self {
        let level = &plan.levels[place];
        let column = |key: &Key| {
            let at = keys.iter().position(|known| known == key);
            format!("dr_k{}", at.expect("cannot fail because all levels' keys are there") + 1)
        };
        let kinds = || statistics.iter().map(|&at| level.statistics[at].kind);
        let mut cells = Cells {
            plan,
            level,
            dialect,
            name: format!("dr_l{}", place + 1),
            user: rows::user(plan, dialect),
            keys: level.keys.iter().map(column).collect(),
            compared: Compared::all(plan, level, kinds()),
            numbers: Vec::new(),
        };
        let numbers = |kind| {
            let numbers = cells.only_paid(kind, Numbers::new(&cells, place, kind));
            if level.scales.contains_key(&kind) { numbers.scaled(place, kind) } else { numbers }
        };
        cells.numbers = kinds().map(numbers).collect();
        cells
    }

    /// Start of the steps' names.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The columns that tell users apart.
    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// The keys as columns, in the order of the level.
    pub(super) fn keys(&self) -> &[String] {
        &self.keys
    }

    /// Of each statistic asked for its numbers, as SQL for [`Cells::ctes`].
    pub(super) fn numbers(&self) -> impl Iterator<Item = &[String]> {
        self.numbers.iter().map(|numbers| &numbers.numbers[..])
    }

    /// The steps; the last one is `NAME_cut`, with the user, the keys, `n_rows`, the cell's place
    /// among the user's, `n_place`, and `z1`, `z2`, ...: what `cut` makes of the numbers.
    pub(super) fn ctes(&self, what: &str, cut: &[String]) -> Vec<Cte> {
        let step = |ending: &str, what: &str, sql: String| {
            Cte::new(&format!("{}_{ending}", self.name), what, sql)
        };
        let mut ctes = Vec::new();
        ctes.extend(
            self.at_home().map(|sql| step("paid", "payments by where the user is at home", sql)),
        );
        ctes.push(step("cells", "(user, cell): what the user has there", self.cells()));
        ctes.extend(self.look_back());
        ctes.extend(
            self.pairs().map(|sql| step("pairs", "(user, cell) as before, and (user, pair)", sql)),
        );
        ctes.extend(self.counted());
        ctes.extend(self.known());
        ctes.push(step("cut", what, self.cut(cut)));
        ctes
    }

    /// The columns of `NAME_cut` before the numbers.
    pub(super) fn before(&self) -> String {
        let counts = if self.level.is_discovered() { ", n_counts" } else { "" };
        let with = if self.second().is_some() { ", n_with" } else { "" };
        format!("{}, n_rows, n_place{counts}{with}", self.user_and_keys())
    }

    /// The most cells of a user that count, if that is limited.
    fn cells_max(&self) -> Option<u32> {
        match &self.level.selection {
            Selection::Public => None,
            Selection::Threshold { cells_max, .. } => Some(*cells_max),
            Selection::Discovered(rounds) => self.level.round().map(|_| rounds.cells_max),
        }
    }

    /// When a row of `NAME_cut` counts; `None`: always.
    pub(super) fn kept(&self) -> Option<String> {
        let counts = self.level.is_discovered().then(|| "n_counts = 1".to_owned());
        let most = self.cells_max().map(|most| format!("n_place <= {most}"));
        counts.into_iter().chain(most).reduce(|counts, most| format!("{counts} AND {most}"))
    }

    /// The key of the second of a pair as a column, if cells are pairs. It is null in rows that are
    /// of a single cell, which are kept for the check of all rows.
    pub(super) fn second(&self) -> Option<&String> {
        let mut keys = self.level.keys.iter().zip(&self.keys);
        keys.find(|(key, _)| key.pairs_of().is_some()).map(|(_, column)| column)
    }

    /// Columns that tell a user's cells apart, each with a comma before it but the first.
    fn user_and_keys(&self) -> String {
        let keys: String = self.keys.iter().map(|key| format!(", {key}")).collect();
        format!("{}{keys}", self.user)
    }

    /// The same of the table with this letter, and without the second of a pair.
    pub(super) fn prefixed(&self, prefix: &str) -> String {
        let single = self.keys.iter().filter(|key| Some(*key) != self.second());
        let keys: String = single.map(|key| format!(", {prefix}{key}")).collect();
        self.user.replace("dr_u", &format!("{prefix}dr_u")) + &keys
    }

    /// Where payments stand.
    pub(super) fn source(&self) -> String {
        let has_home = self.level.keys.iter().any(|key| key.home_of().is_some());
        if has_home { format!("{}_paid", self.name) } else { "dr_payments".to_owned() }
    }

    /// Payments at which the user's home stands in place of the merchant's value.
    fn at_home(&self) -> Option<String> {
        let mut columns = self.user.replace("dr_u", "p.dr_u") + ", p.dr_amount, p.dr_day";
        let own = self.numbers.iter().flat_map(|numbers| &numbers.columns);
        columns += &own.map(|column| format!(", p.{column}")).collect::<String>();
        let mut joins = String::new();
        for (key, column) in self.level.keys.iter().zip(&self.keys) {
            if key.pairs_of().is_some() {
                continue;
            }
            let Some(_) = key.home_of() else {
                columns += &format!(", p.{column}");
                continue;
            };
            let same = self.user.split(", ").map(|user| format!("h_{column}.{user} = p.{user}"));
            let same = same.collect::<Vec<_>>().join(" AND ");
            joins += &format!("\n    JOIN {} h_{column} ON {same}", rows::home(column));
            columns += &format!(", h_{column}.{column}");
        }
        (!joins.is_empty()).then(|| format!("SELECT {columns}\n  FROM dr_payments p{joins}"))
    }

    /// What is added up over a user's payments in a cell beside their number, with names.
    pub(super) fn sums(&self) -> impl Iterator<Item = (String, String)> {
        let payments = "SUM(CASE WHEN dr_amount >= 0 THEN 1 ELSE 0 END)".to_owned();
        let mut sums = vec![("n_payments".to_owned(), payments)];
        for (name, sql) in self.numbers.iter().flat_map(|numbers| &numbers.sums) {
            if !sums.iter().any(|(known, _)| known == name) {
                sums.push((name.clone(), sql.clone()));
            }
        }
        sums.into_iter()
    }

    fn cells(&self) -> String {
        let mut columns = vec!["COUNT(*) AS n_rows".to_owned()];
        columns.extend(self.sums().map(|(name, sql)| format!("{sql} AS {name}")));
        let by = self.prefixed("");
        format!(
            "SELECT {by},\n    {}\n  FROM {}\n  GROUP BY {by}",
            columns.join(",\n    "),
            self.source()
        )
    }

    /// If cells are pairs: those of single values, with `n_pair` 0, and each two of a user that
    /// differ in this value alone, the smaller one first, with 1. `n_with` is in how many pairs a
    /// single one should be, counted apart from them, so that pairs that are lost are seen.
    fn pairs(&self) -> Option<String> {
        let second = self.second()?;
        let column = self.level.keys.iter().find_map(Key::pairs_of)?;
        let is_first = |key: &Key| matches!(key, Key::MerchantAttribute(name) if name == column);
        let first = self.level.keys.iter().position(is_first);
        let first = &self.keys[first.expect("cannot fail because the plan checked it")];
        let single = self.prefixed("c.");
        let null = format!("CAST(NULL AS {})", self.dialect.text_type());
        let others = self.keys.iter().filter(|&key| key != first && key != second);
        let both: Vec<String> =
            self.user.split(", ").map(str::to_owned).chain(others.cloned()).collect();
        let same: String =
            both.iter().map(|column| format!("d.{column} = c.{column} AND ")).collect();
        let within: Vec<String> = both.iter().map(|column| format!("c.{column}")).collect();
        let with = format!("COUNT(*) OVER (PARTITION BY {}) - 1", within.join(", "));
        let order = |letter: char| self.dialect.in_order(&format!("{letter}.{first}"));
        let (name, one, other) = (&self.name, order('c'), order('d'));
        Some(format!(
            "SELECT {single}, {null} AS {second}, c.n_rows, 0 AS n_pair,\n    {with} AS n_with\n  FROM \
             {name}_cells c\n  UNION ALL\n  SELECT {single}, d.{first} AS {second}, c.n_rows + \
             d.n_rows AS n_rows, 1 AS n_pair,\n    0 AS n_with\n  FROM {name}_cells c JOIN {name}_cells d ON {same}{one} < {other}"
        ))
    }

    /// The place of a cell among the user's: those with most payments first, of equals the first by
    /// key; where keys are discovered, those that count before all others. Where their number is
    /// not limited, only which one is first is looked at; the user has paid there, as the period
    /// before one in which they only count comes first.
    fn place(&self) -> String {
        if self.keys.is_empty() {
            return "1".to_owned();
        }
        let order = self.level.keys.iter().zip(&self.keys).map(|(key, column)| match key {
            Key::Time(_) => format!("c.{column}"),
            _ => self.dialect.in_order(&format!("c.{column}")),
        });
        let counts = self.level.is_discovered().then(|| "c.n_counts DESC".to_owned());
        let most = self.cells_max().map(|_| "c.n_payments DESC".to_owned());
        let single = self.second().map(|_| "c.n_pair ASC".to_owned());
        let before = counts.into_iter().chain(most).chain(single);
        // Said of each, as what an order is without it may be a setting.
        let order: Vec<String> = before.chain(order.map(|key| format!("{key} ASC"))).collect();
        let user = self.user.replace("dr_u", "c.dr_u");
        format!("ROW_NUMBER() OVER (PARTITION BY {user} ORDER BY {})", order.join(", "))
    }

    fn cut(&self, columns: &[String]) -> String {
        let named = columns.iter().zip(1..).map(|(sql, at)| format!("{sql} AS z{at}"));
        let named = named.collect::<Vec<_>>().join(",\n    ");
        let all: String = self.keys.iter().map(|key| format!(", c.{key}")).collect();
        let all = format!("{}{all}", self.user.replace("dr_u", "c.dr_u"));
        let (step, join) = match (self.second(), &self.compared[..]) {
            (Some(_), _) => ("pairs", "JOIN"),
            (None, []) if self.level.is_discovered() => ("known", "JOIN"),
            (None, []) => ("cells", "JOIN"),
            // Of cells with payments alone there is more.
            (None, _) => ("counted", "LEFT JOIN"),
        };
        let mut from = format!("{}_{step} c", self.name);
        let more = [
            ("back", "b", self.level.look_back.is_some()),
            ("again", "a", self.level.cohorts.is_some()),
        ];
        for (step, letter, _) in more.iter().filter(|(_, _, is_there)| *is_there) {
            let same = self.keys.iter().map(|key| format!(" AND {letter}.{key} = c.{key}"));
            let same: String = same.collect();
            from += &format!(
                "\n    {join} {}_{step} {letter} ON {letter}.dr_user = c.dr_user{same}",
                self.name
            );
        }
        let counts = match self.second() {
            Some(_) => " c.n_with,",
            None if self.level.is_discovered() => " c.n_counts,",
            None => "",
        };
        let cut = format!(
            "SELECT {all}, c.n_rows,{counts}\n    {} AS n_place,\n    {named}\n  FROM {from}",
            self.place()
        );
        let Some(kept) = self.kept() else { return cut };
        // The rows of cells that do not count are kept for the check of all rows.
        let own = |at: usize| format!("CASE WHEN {kept} THEN z{at} ELSE 0 END AS z{at}");
        let own: Vec<String> = (1..=columns.len()).map(own).collect();
        format!("SELECT {},\n    {}\n  FROM ({cut}) dr_all", self.before(), own.join(",\n    "))
    }
}
