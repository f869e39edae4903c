//! The survey of tickets in SQL: by group of merchants and logarithm, each user's scaled down to a
//! norm of 1 (*Chosen bounds* in `docs/privacy.md`).

use super::fit::{Bounded, Fit};
use super::survey::NO_BIN;
use super::{Cte, Dialect, rows};
use crate::engine::TICKETS_MAX;
use crate::job::LOG_PARTS;
use crate::plan::{Plan, SurveyPlan, TicketPlan};

/// Writes the steps of one survey of tickets.
pub(super) struct TicketsSql<'p> {
    plan: &'p Plan,
    dialect: Dialect,
    survey: &'p SurveyPlan,
    /// Start of the steps' names.
    name: String,
    /// The columns that tell users apart.
    user: String,
}

impl<'p> TicketsSql<'p> {
    /// All of a plan.
    pub(super) fn all(plan: &'p Plan, dialect: Dialect) -> Vec<Self> {
        let surveys = plan.surveys.iter().filter(|survey| survey.ticket_groups.is_some());
        let own = |survey: &'p SurveyPlan| TicketsSql {
            plan,
            dialect,
            survey,
            name: format!("dr_t{}", survey.level + 1),
            user: rows::user(plan, dialect),
        };
        surveys.map(own).collect()
    }

    /// The level's name, and the statistic's.
    pub(super) fn names(&self) -> (&'p str, &'static str) {
        let level = &self.plan.levels[self.survey.level];
        (&level.file, level.statistics[self.survey.statistic].kind.name())
    }

    /// The step whose rows are the bins: `dr_bin`, `n_rows`, `n_users`, `n_first` and `total_1`.
    pub(super) fn result(&self) -> String {
        format!("{}_totals", self.name)
    }

    /// All steps.
    pub(super) fn ctes(&self) -> Vec<Cte> {
        let step = |ending: &str, what: &str, sql: String| {
            Cte::new(&format!("{}_{ending}", self.name), what, sql)
        };
        let fit = Fit {
            dialect: self.dialect,
            name: &self.name,
            user: &self.user,
            before: format!("{}, dr_bin, n_rows, n_place", self.user),
            bounded: vec![Bounded::new(0..1, false, self.survey.histogram)],
        };
        let mut ctes = vec![
            step("bins", "tickets by group and quarter of a logarithm; -1: none", self.bins()),
            step("cells", "(user, bin): the user's tickets", self.cells()),
            step("cut", "in grid units", self.cut()),
        ];
        ctes.extend(fit.ctes());
        ctes.push(step("totals", "bin: sums over users", self.totals(&fit)));
        ctes
    }

    fn bins(&self) -> String {
        let level = self.survey.level;
        let groups = self.plan.levels[level].tickets.as_ref().and_then(TicketPlan::merchant_groups);
        let group = match groups {
            Some(_) => format!("{} * {} + ", rows::group(level), TicketPlan::BINS),
            None => String::new(),
        };
        let (quarter, last) = (LOG_PARTS / 4, TicketPlan::BINS - 1);
        format!(
            "SELECT {},\n    CASE WHEN dr_amount > 0 THEN {group}LEAST({}, {last}) ELSE -1 END AS dr_bin\n  \
             FROM dr_payments",
            self.user,
            self.dialect.part(rows::LOG, quarter)
        )
    }

    fn cells(&self) -> String {
        let user = &self.user;
        format!(
            "SELECT {user}, dr_bin, COUNT(*) AS n_rows\n  FROM {}_bins\n  GROUP BY {user}, dr_bin",
            self.name
        )
    }

    fn cut(&self) -> String {
        let grid = 1u64 << self.survey.histogram.grid_bits;
        let count = self.dialect.integer(&format!("LEAST(n_rows, {TICKETS_MAX})"));
        let user = &self.user;
        format!(
            "SELECT {user}, dr_bin, n_rows,\n    ROW_NUMBER() OVER (PARTITION BY {user} ORDER BY dr_bin ASC) AS \
             n_place,\n    CASE WHEN dr_bin >= 0 THEN {count} * {grid} ELSE 0 END AS z1\n  FROM {}_cells",
            self.name
        )
    }

    fn totals(&self, fit: &Fit) -> String {
        let sums: Vec<String> = fit.sums().collect();
        format!(
            "SELECT CASE WHEN dr_bin >= 0 THEN CAST(dr_bin AS {}) ELSE '{NO_BIN}' END AS dr_bin,\n    \
             SUM(n_rows) AS n_rows, COUNT(*) AS n_users,\n    \
             SUM(CASE WHEN n_place = 1 THEN 1 ELSE 0 END) AS n_first,\n    {}\n  FROM {2}_fitted\n  GROUP BY \
             {2}_fitted.dr_bin",
            self.dialect.text_type(),
            sums.join(",\n    "),
            self.name
        )
    }
}
