//! What users spend against another period, in SQL: a user counts where they have paid, and also
//! where they have paid in the period before alone.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::cells::Cells;
use super::numbers::Numbers;
use super::{Cte, calendar};
use crate::job::{FLAT_PARTS, StatisticKind};
use crate::plan::{LevelPlan, Plan, period_key, period_of_times};

/// With which periods those of a level are compared, by the numbers that stand for them.
#[derive(Debug, PartialEq)]
pub(super) struct Compared {
    kind: StatisticKind,
    /// From one period to that which is compared with it.
    step: usize,
    /// The periods before; there is no other between them.
    before: RangeInclusive<usize>,
}

impl Compared {
    /// Of those of some statistics that compare.
    pub(super) fn all(
        plan: &Plan,
        level: &LevelPlan,
        kinds: impl Iterator<Item = StatisticKind>,
    ) -> Vec<Compared> {
        kinds.filter_map(|kind| Compared::new(plan, level, kind)).collect()
    }

    fn new(plan: &Plan, level: &LevelPlan, kind: StatisticKind) -> Option<Compared> {
        let changes = level.changes.get(&kind)?;
        let (place, key) = period_of_times(&level.keys)?;
        let values = calendar::values(key, plan.job.payments.period);
        let times = &level.cells.times.groups;
        let number = |time: usize| values.binary_search(&times[time][place]).ok();
        let pair = |time: usize| Some((number(changes.before(time)?)?, number(time)?));
        let pairs: Vec<(usize, usize)> = (0..times.len()).filter_map(pair).collect();
        let (before, after) = *pairs.first()?;
        let step = after - before;
        let befores: BTreeSet<usize> = pairs.iter().map(|(before, _)| *before).collect();
        let before = *befores.first()?..=*befores.last()?;
        // The SQL moves each of them by the same step.
        let alike = pairs.iter().all(|(before, after)| *after == before + step);
        assert!(alike && befores.len() == before.clone().count(), "periods follow one another");
        Some(Compared { kind, step, before })
    }

    /// The column of what was spent then; null where the user has not paid.
    fn then(&self) -> String {
        format!("n_then{}", self.step)
    }
}

impl Cells<'_> {
    /// The key whose periods are compared, as a column.
    fn period(&self) -> Option<&String> {
        period_key(&self.level.keys).map(|(place, _)| &self.keys[place])
    }

    /// Where periods are compared: the user's cells, also those in which they count by the period
    /// before alone, with nothing in them.
    pub(super) fn counted(&self) -> Option<Cte> {
        let period = self.period().filter(|_| !self.compared.is_empty())?;
        let at = |step: usize, column: &str| {
            format!("MAX(CASE WHEN dr_step = {step} THEN {column} END)")
        };
        let own = |column: String| format!("COALESCE({}, 0) AS {column}", at(0, &column));
        let numbers: Vec<String> =
            std::iter::once("n_rows".to_owned()).chain(self.sums().map(|(name, _)| name)).collect();
        let carried: String = numbers.iter().map(|column| format!(", c.{column}")).collect();
        let then = |c: &Compared| format!("{} AS {}", at(c.step, "n_sales"), c.then());
        let columns: Vec<String> =
            numbers.into_iter().map(own).chain(self.compared.iter().map(then)).collect();
        let moved = |c: &Compared| {
            let (first, last) = (c.before.start(), c.before.end());
            format!(
                "\n      OR (s.dr_step = {} AND c.{period} >= {first} AND c.{period} <= {last})",
                c.step
            )
        };
        let moved: String = self.compared.iter().map(moved).collect();
        let steps = std::iter::once(0).chain(self.compared.iter().map(|c| c.step));
        let steps: Vec<Vec<String>> = steps.map(|step| vec![step.to_string()]).collect();
        let steps = self.dialect.constants(&["dr_step".to_owned()], &steps);
        let key = |key: &String| match key == period {
            true => format!(", c.{key} + s.dr_step AS {key}"),
            false => format!(", c.{key}"),
        };
        let keys: String = self.keys.iter().map(key).collect();
        let by = self.prefixed("");
        let sql = format!(
            "SELECT {by},\n    {}\n  FROM (SELECT {}{keys}, s.dr_step{carried}\n    FROM {}_cells c \
             CROSS JOIN ({steps}) s\n    WHERE s.dr_step = 0{moved}) dr_all\n  GROUP BY {by}",
            columns.join(",\n    "),
            self.user().replace("dr_u", "c.dr_u"),
            self.name,
        );
        let what = "(user, cell) as before, and where the user has paid so many periods before";
        Some(Cte::new(&format!("{}_counted", self.name), what, sql))
    }

    /// The numbers of a statistic where other ones may compare: nothing where the user has not
    /// paid.
    pub(super) fn only_paid(&self, kind: StatisticKind, numbers: Numbers) -> Numbers {
        if kind.compares() || self.compared.is_empty() {
            return numbers;
        }
        let paid = |number: &String| format!("CASE WHEN c.n_rows > 0 THEN {number} ELSE 0 END");
        Numbers { numbers: numbers.numbers.iter().map(paid).collect(), ..numbers }
    }

    /// Does the user spend more, as much or less than before? None of it where a period is not
    /// whole, and where the user has paid in neither.
    pub(super) fn changed(&self, kind: StatisticKind) -> Vec<String> {
        let compared = self.compared.iter().find(|compared| compared.kind == kind);
        let Some((compared, period)) = compared.zip(self.period()) else { return Vec::new() };
        let (first, last) = (compared.before.start(), compared.before.end());
        let known = format!(
            "c.{period} >= {} AND c.{period} <= {} AND (c.n_rows > 0 OR c.{} IS NOT NULL)",
            first + compared.step,
            last + compared.step,
            compared.then(),
        );
        let (now, then) = ("c.n_sales", format!("COALESCE(c.{}, 0)", compared.then()));
        let larger = format!("GREATEST(ABS({now}), ABS({then}))");
        // More or less by enough is so to the sign.
        let classes = [
            format!("({now} - {then}) * {FLAT_PARTS} > {larger}"),
            format!("ABS({now} - {then}) * {FLAT_PARTS} <= {larger}"),
            format!("({then} - {now}) * {FLAT_PARTS} > {larger}"),
        ];
        classes.map(|is| format!("CASE WHEN {known} AND {is} THEN 1 ELSE 0 END")).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Market;
    use crate::plan::Changes;

    /// What the SQL says of periods, and what the plan says of each time.
    #[test]
    fn periods_are_compared_as_the_plan_has_it() {
        // From Saturday 28 December 2024 to Wednesday 15 April 2026.
        for (keys, insight, step, before) in [
            ("\"day\"", "diffusion_index", 1, 0..=472),
            ("\"day\"", "diffusion_index_year", 364, 0..=109),
            ("\"weekday\", \"day\"", "diffusion_index_year", 364, 0..=109),
            ("\"week\"", "diffusion_index", 1, 1..=66),
            ("\"week\", \"weekday\"", "diffusion_index_year", 52, 1..=15),
            ("\"hour\", \"month\"", "diffusion_index", 1, 1..=14),
            ("\"month\"", "diffusion_index_year", 12, 1..=3),
            ("\"quarter\", \"weekday\"", "diffusion_index", 1, 1..=4),
            ("\"quarter\"", "diffusion_index_year", 4, 1..=1),
        ] {
            let text = format!(
                "levels = [[\"wallet\", {keys}]]\nkeys = \"public\"\ninsights = [\"{insight}\"]"
            );
            let plan = Market::new(&[]).plan_days("2024-12-28", "2026-04-15", &[text]);
            let plan = plan.expect("a plan");
            let level = &plan.levels[0];
            let kind = level.statistics[0].kind;
            let compared = Compared::all(&plan, level, std::iter::once(kind)).remove(0);
            check(&plan, level, &compared, &level.changes[&kind]);
            assert_eq!(compared, Compared { kind, step, before }, "{keys}");
        }
    }

    fn check(plan: &Plan, level: &LevelPlan, compared: &Compared, changes: &Changes) {
        let (place, key) = period_of_times(&level.keys).expect("it has one");
        let values = calendar::values(key, plan.job.payments.period);
        let number = |time: usize| {
            let value = &level.cells.times.groups[time][place];
            values.iter().position(|known| known == value).expect("it is in the period")
        };
        for time in 0..level.cells.times.groups.len() {
            let own = number(time);
            let after = compared.before.contains(&own).then_some(own + compared.step);
            assert_eq!(changes.after(time).map(number), after, "{compared:?} {time}");
            let range =
                compared.before.start() + compared.step..=compared.before.end() + compared.step;
            let before = range.contains(&own).then(|| own - compared.step);
            assert_eq!(changes.before(time).map(number), before, "{compared:?} {time}");
        }
    }
}
