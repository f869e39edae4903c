//! Statistics that look at other days of a user than those of a cell, in SQL: who is new, who comes
//! again, who was last there when.

use super::cells::Cells;
use super::{Cte, calendar};
use crate::job::{Key, TimeKey};

impl Cells<'_> {
    /// Where it counts who is new: has the user come in the days before the cell, at the same
    /// place?
    pub(super) fn look_back(&self) -> Vec<Cte> {
        let Some(look_back) = &self.level.look_back else { return Vec::new() };
        let own: String = self.places().map(|key| format!(", {key}")).collect();
        let same: String = self.places().map(|key| format!(" AND d.{key} = c.{key}")).collect();
        let (start, days) = (self.first_day("c."), look_back.days());
        let cells = self.prefixed("c.");
        let seen = format!("SELECT DISTINCT dr_user{own}, dr_day\n  FROM {}", self.source());
        let back = format!(
            "SELECT {cells},\n    MAX({start}) AS n_start,\n    MAX(CASE WHEN d.dr_day < {start} AND d.dr_day \
             >= {start} - {days} THEN 1 ELSE 0 END) AS n_back\n  FROM {0}_cells c JOIN {0}_seen d ON d.dr_user = c.dr_user{same}\n  \
             GROUP BY {cells}",
            self.name,
        );
        let name = |ending: &str| format!("{}_{ending}", self.name);
        let mut ctes = vec![
            Cte::new(&name("seen"), "days on which a user was somewhere", seen),
            Cte::new(&name("back"), "did the user come in the days before the cell?", back),
        ];
        ctes.extend(self.again(&cells, &same));
        ctes
    }

    /// Where cohorts count: does the user come to the same place so many periods later?
    fn again(&self, cells: &str, same: &str) -> Option<Cte> {
        let cohorts = self.level.cohorts.as_ref()?;
        let time = self.time()?;
        let came = |periods: usize| {
            let then = format!("d.{time} = c.{time} + {periods}");
            format!(",\n    MAX(CASE WHEN {then} THEN 1 ELSE 0 END) AS n_came{periods}")
        };
        let came: String = (1..=cohorts.most()).map(came).collect();
        let again = format!(
            "SELECT {cells}{came}\n  FROM {0}_cells c JOIN {0}_cells d ON d.dr_user = c.dr_user{same}\n    AND \
             d.{time} >= c.{time} AND d.{time} <= c.{time} + {1}\n  GROUP BY {cells}",
            self.name,
            cohorts.most(),
        );
        let what = "does the user come again, so many periods after the cell?";
        Some(Cte::new(&format!("{}_again", self.name), what, again))
    }

    /// The keys that are no times, as columns.
    fn places(&self) -> impl Iterator<Item = &String> {
        let keys = self.level.keys.iter().zip(&self.keys);
        keys.filter(|(key, _)| !matches!(key, Key::Time(_))).map(|(_, column)| column)
    }

    /// The column of a level's first key of time.
    pub(super) fn time(&self) -> Option<&String> {
        let mut keys = self.level.keys.iter().zip(&self.keys);
        keys.find(|(key, _)| matches!(key, Key::Time(_))).map(|(_, column)| column)
    }

    /// The level's keys of time, with their columns.
    fn times(&self) -> impl Iterator<Item = (TimeKey, &String)> {
        self.level.keys.iter().zip(&self.keys).filter_map(|(key, column)| match key {
            Key::Time(key) => Some((*key, column)),
            _ => None,
        })
    }

    /// The first day of a cell within the period.
    fn first_day(&self, prefix: &str) -> String {
        let period = self.plan.job.payments.period;
        let first = |(key, column)| calendar::first_day(key, &format!("{prefix}{column}"), period);
        let times: Vec<String> = self.times().map(first).collect();
        match &times[..] {
            [one] => format!("({one})"),
            many => format!("GREATEST({})", many.join(", ")),
        }
    }

    /// The last day of a cell within the period.
    pub(super) fn last_day(&self) -> String {
        let period = self.plan.job.payments.period;
        let is_part = |key| matches!(key, TimeKey::Weekday | TimeKey::Hour);
        let ends = self.times().filter(|(key, _)| !is_part(*key));
        let ends = ends.map(|(key, column)| calendar::last_day(key, column, period));
        let ends: Vec<String> = ends.chain([(period.days() - 1).to_string()]).collect();
        let last = match &ends[..] {
            [one] => one.clone(),
            many => format!("LEAST({})", many.join(", ")),
        };
        match self.times().find(|(key, _)| *key == TimeKey::Weekday) {
            None => last,
            Some((_, weekday)) => calendar::last_weekday(weekday, &last, period),
        }
    }
}
