//! What each user has in each cell of a level, in SQL.

use super::numbers::Numbers;
use super::{Cte, Dialect, calendar};
use crate::findings::{self, Finding};
use crate::job::Key;
use crate::plan::{LevelPlan, Plan, Selection};

/// Writes the steps from payments to a row for each user and cell.
pub(super) struct Cells<'p> {
    plan: &'p Plan,
    level: &'p LevelPlan,
    dialect: Dialect,
    /// Start of the steps' names.
    name: String,
    /// `dr_user`, and `dr_unit` if the unit is within a period.
    user: String,
    /// The level's keys as columns of `dr_payments`, in its order.
    keys: Vec<String>,
    /// Those of the statistics that are asked for.
    numbers: Vec<Numbers>,
}

impl<'p> Cells<'p> {
    /// Of some statistics, by their places, of the level at a place of the plan; `keys` are those
    /// of all levels.
    ///
    /// # Errors
    /// Keys and statistics that have no SQL yet.
    pub(super) fn new(
        plan: &'p Plan,
        (place, statistics): (usize, &[usize]),
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
        let kinds = statistics.iter().map(|&at| level.statistics[at].kind);
        let numbers = kinds.map(|kind| Numbers::new(plan, level, kind, dialect));
        Ok(Cells {
            plan,
            level,
            dialect,
            name: format!("dr_l{}", place + 1),
            user: if has_unit { "dr_user, dr_unit" } else { "dr_user" }.to_owned(),
            keys: level.keys.iter().map(column).collect(),
            numbers: numbers.collect::<Result<_, _>>()?,
        })
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
        let name = |ending: &str| format!("{}_{ending}", self.name);
        let mut ctes =
            vec![Cte::new(&name("cells"), "(user, cell): what the user has there", self.cells())];
        ctes.extend(self.look_back());
        ctes.push(Cte::new(&name("cut"), what, self.cut(cut)));
        ctes
    }

    /// The columns of `NAME_cut` before the numbers.
    pub(super) fn before(&self) -> String {
        format!("{}, n_rows, n_place", self.user_and_keys())
    }

    /// The most cells of a user that count, if that is limited.
    pub(super) fn cells_max(&self) -> Option<u32> {
        match self.level.selection {
            Selection::Public => None,
            Selection::Threshold { cells_max, .. } => Some(cells_max),
        }
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

    fn cut(&self, columns: &[String]) -> String {
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
