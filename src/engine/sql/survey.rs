//! What is asked of the payments where the job leaves bounds open, in SQL: users by norm, and how
//! far their payments are spread over cells (*Chosen bounds* in `docs/privacy.md`).

use super::cells::Cells;
use super::fit::{squares, total};
use super::roots::Roots;
use super::{Cte, Dialect};
use crate::job::Key;
use crate::plan::{Plan, SurveyPlan};

/// The bin of users whose norm is zero, who are in none.
pub(in crate::engine) const NO_BIN: &str = "none";

/// Writes the steps of the surveys of one level.
pub(super) struct SurveySql<'p> {
    plan: &'p Plan,
    dialect: Dialect,
    /// The level's surveys, in the order of the plan.
    surveys: Vec<&'p SurveyPlan>,
    cells: Cells<'p>,
}

impl<'p> SurveySql<'p> {
    /// Of the level at a place of the plan, if it has surveys of norms; `keys` are those of all
    /// levels.
    pub(super) fn new(
        plan: &'p Plan,
        place: usize,
        dialect: Dialect,
        keys: &[Key],
    ) -> Option<Self> {
        let norms = |survey: &&SurveyPlan| survey.level == place && survey.ticket_groups.is_none();
        let surveys: Vec<&SurveyPlan> = plan.surveys.iter().filter(norms).collect();
        let statistics: Vec<usize> = surveys.iter().map(|survey| survey.statistic).collect();
        let cells = || Cells::new(plan, (place, &statistics), dialect, keys);
        let own = || SurveySql { plan, dialect, cells: cells(), surveys: surveys.clone() };
        (!surveys.is_empty()).then(own)
    }

    /// The level's name.
    pub(super) fn level(&self) -> &'p str {
        &self.plan.levels[self.surveys[0].level].file
    }

    /// The step whose rows are the bins: `dr_statistic`, `dr_bin`, `n_rows`, `n_users`, `n_first`
    /// and `total_1`.
    pub(super) fn result(&self) -> String {
        format!("{}_users", self.cells.name())
    }

    /// The bins, which all levels share.
    pub(super) fn bins(dialect: Dialect) -> Cte {
        let bin = |bin: usize| {
            let last = bin + 1 == SurveyPlan::BINS;
            let (from, to) = (1u128 << bin, if last { WIDE_MAX } else { 2u128 << bin });
            vec![
                dialect.text(&bin.to_string()),
                dialect.wide_constant(from),
                dialect.wide_constant(to),
            ]
        };
        let none = vec![dialect.text(NO_BIN), dialect.wide_constant(0), dialect.wide_constant(1)];
        let rows: Vec<Vec<String>> =
            std::iter::once(none).chain((0..SurveyPlan::BINS).map(bin)).collect();
        let columns = ["dr_bin", "dr_from", "dr_to"].map(str::to_owned);
        let what = "half octaves of norms, by their squares: from 2^bin to below 2^(bin + 1)";
        Cte::new("dr_bins", what, dialect.constants(&columns, &rows))
    }

    /// All steps but that one.
    pub(super) fn ctes(&self) -> Vec<Cte> {
        let name = self.cells.name();
        let step = |ending: &str, what: &str, sql: String| {
            Cte::new(&format!("{name}_{ending}"), what, sql)
        };
        let numbers = self.surveys.iter().zip(self.cells.numbers());
        let cut = numbers.flat_map(|(survey, numbers)| {
            numbers.iter().map(|number| self.size(survey, number)).collect::<Vec<_>>()
        });
        let cut: Vec<String> = cut.collect();
        let mut ctes = self.cells.ctes("sizes of numbers, each cut to its cap", &cut);
        ctes.push(step("norms", "user: squares of the norms, and sums of sizes", self.norms()));
        let spread = (1..).zip(&self.surveys).filter(|(_, survey)| survey.spread.is_some());
        let roots = Roots {
            dialect: self.dialect,
            name,
            carried: format!("n_rows{}", self.each("t")),
            squares: self.surveys.len(),
            // That of 1 is 1.
            wanted: spread.map(|(at, _)| (at, 1)).collect(),
        };
        if !roots.wanted.is_empty() {
            ctes.extend(roots.ctes());
        }
        ctes.push(step(
            "asked",
            "(user, statistic): the norm's square; and sum over norm, which tells over how many cells",
            self.asked(),
        ));
        ctes.push(Cte::new(&self.result(), "(statistic, bin): users, and their sum", self.users()));
        ctes
    }

    /// The same column for each survey: `t` for `t1`, `t2`, ...
    fn each(&self, name: &str) -> String {
        (1..=self.surveys.len()).map(|at| format!(", {name}{at}")).collect()
    }

    /// The size of a number of a cell, cut to the job's cap.
    fn size(&self, survey: &SurveyPlan, number: &str) -> String {
        let facts = self.plan.levels[survey.level].statistics[survey.statistic].kind.facts();
        let size = if facts.signed { format!("ABS({number})") } else { number.to_owned() };
        self.dialect.integer(&format!("LEAST({size}, {})", survey.capped(i128::MAX)))
    }

    fn norms(&self) -> String {
        let mut end = 0;
        let columns = self.cells.numbers().zip(1..).map(|(numbers, at)| {
            let columns = end..end + numbers.len();
            end = columns.end;
            let wide = |column: usize| self.dialect.wide(&format!("z{}", column + 1));
            let sum: Vec<String> = columns.clone().map(wide).collect();
            let squares = squares(self.dialect, columns);
            format!(",\n    SUM({squares}) AS s{at},\n    SUM({}) AS t{at}", sum.join(" + "))
        });
        let columns: String = columns.collect();
        let (user, name) = (self.cells.user(), self.cells.name());
        let rows = match self.cells.second() {
            // Those of pairs are in the single cells, too. Where pairs are lost, none are right, as
            // the check of all rows sees.
            Some(second) => format!(
                "CASE WHEN SUM(n_with) = 2 * COUNT({second}) THEN SUM(CASE WHEN {second} IS NULL THEN n_rows \
                 ELSE 0 END) ELSE 0 END"
            ),
            None => "SUM(n_rows)".to_owned(),
        };
        format!("SELECT {user}, {rows} AS n_rows{columns}\n  FROM {name}_cut\n  GROUP BY {user}")
    }

    /// Users times statistics.
    fn asked(&self) -> String {
        let names: Vec<String> = self.surveys.iter().map(|survey| self.name_of(survey)).collect();
        let case = |values: &[Option<String>]| {
            let whens = names
                .iter()
                .zip(values)
                .filter_map(|(name, value)| Some(format!(" WHEN {name} THEN {}", value.as_ref()?)));
            let whens: String = whens.collect();
            if whens.is_empty() {
                "0".to_owned()
            } else {
                format!("CASE dr_statistic{whens} ELSE 0 END")
            }
        };
        let squares: Vec<_> = (1..=names.len()).map(|at| Some(format!("s{at}"))).collect();
        let spreads = self.surveys.iter().zip(1..).map(|(survey, at)| self.spread(survey, at));
        let spreads: Vec<_> = spreads.collect();
        let from = if spreads.iter().any(Option::is_some) { "up" } else { "norms" };
        let rows: Vec<Vec<String>> = names.iter().map(|name| vec![name.clone()]).collect();
        let all = self.dialect.constants(&["dr_statistic".to_owned()], &rows);
        format!(
            "SELECT dr_statistic, n_rows,\n    {} AS n_square,\n    {} AS n_spread\n  FROM {}_{from} CROSS JOIN \
             ({all}) dr_asked",
            case(&squares),
            self.dialect.integer(&case(&spreads)),
            self.cells.name(),
        )
    }

    /// Σ|x| / ‖x‖₂ of a user in grid units, if the survey asks for it.
    fn spread(&self, survey: &SurveyPlan, at: usize) -> Option<String> {
        let bits = survey.spread?.grid_bits;
        // What the grid has beyond 32 bits is zero.
        let (bits, rest) = (bits.min(32), bits.saturating_sub(32));
        let sum = format!("t{at} * {}", self.dialect.wide_constant(1 << bits));
        let whole = self.dialect.quotient(&sum, &format!("g{at}"));
        let most = SurveyPlan::SPREAD_MAX << bits;
        let cut = format!("LEAST({whole}, {most})");
        Some(match rest {
            0 => cut,
            rest => format!("{} * {}", self.dialect.integer(&cut), 1u64 << rest),
        })
    }

    fn users(&self) -> String {
        let name = self.cells.name();
        format!(
            "SELECT dr_statistic, dr_bin, SUM(n_rows) AS n_rows, COUNT(*) AS n_users, COUNT(*) AS n_first,\n    \
             {} AS total_1\n  FROM {name}_asked JOIN dr_bins ON n_square >= dr_from AND n_square < dr_to\n  \
             GROUP BY dr_statistic, dr_bin",
            total(self.dialect, "n_spread")
        )
    }

    /// The statistic's name as text.
    fn name_of(&self, survey: &SurveyPlan) -> String {
        let level = &self.plan.levels[survey.level];
        self.dialect.text(level.statistics[survey.statistic].kind.name())
    }
}

/// The largest number of 38 digits.
const WIDE_MAX: u128 = 10u128.pow(38) - 1;
