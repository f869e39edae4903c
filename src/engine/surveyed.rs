//! What a plan's surveys have counted elsewhere: from the rows of their query to exact surveys.

use std::collections::BTreeSet;

use super::given::{Counts, Row};
use super::sql::NO_BIN;
use super::{ExactSurveys, SurveyTotals, clamp_total};
use crate::plan::{Plan, SurveyPlan};

/// The bins of all surveys, as they come in.
pub(super) struct Surveyed<'p> {
    plan: &'p Plan,
    surveys: Vec<Bins>,
}

/// The bins of one survey.
struct Bins {
    /// By bin users; of tickets none.
    users: Vec<u64>,
    /// By bin tickets, in grid units; of users none.
    tickets: Vec<i128>,
    /// Σ of the users' spreads, in grid units.
    spread: i128,
    /// The bins that have come; that of no norm is the last.
    met: BTreeSet<usize>,
    /// All payments and refunds, and all users.
    rows: i128,
    first: i128,
}

impl<'p> Surveyed<'p> {
    pub(super) fn new(plan: &'p Plan) -> Self {
        let bins = |survey: &SurveyPlan| Bins {
            users: vec![0; survey.bins()],
            tickets: vec![0; survey.bins()],
            spread: 0,
            met: BTreeSet::new(),
            rows: 0,
            first: 0,
        };
        Surveyed { plan, surveys: plan.surveys.iter().map(bins).collect() }
    }

    /// Takes a row, other than that of all rows.
    pub(super) fn add(&mut self, row: &Row) -> Result<(), &'static str> {
        let unknown = "it has a survey that the job has not";
        let [Some(statistic), Some(bin)] = row.keys[..] else { return Err(unknown) };
        let is_it = |survey: &SurveyPlan| {
            let level = &self.plan.levels[survey.level];
            level.file == row.level && level.statistics[survey.statistic].kind.name() == statistic
        };
        let place = self.plan.surveys.iter().position(is_it).ok_or(unknown)?;
        let (survey, bins) = (&self.plan.surveys[place], &mut self.surveys[place]);
        let bin = bin_of(survey, bin).ok_or("it has a bin that no survey has")?;
        bins.add(survey, row, bin)
    }

    /// All of them, if each payment and each user is in each once.
    pub(super) fn finish(self, counts: &Counts) -> Result<ExactSurveys, &'static str> {
        if self.surveys.iter().any(|bins| bins.rows != i128::from(counts.good)) {
            return Err("the rows of a survey are not all rows");
        }
        if self.surveys.iter().any(|bins| bins.first != i128::from(counts.users)) {
            return Err("the users of a survey are not all users");
        }
        let surveys = self.surveys.iter().zip(&self.plan.surveys);
        let surveys = surveys.map(|(bins, plan)| match plan.ticket_groups {
            Some(_) => SurveyTotals::of_tickets(&bins.tickets),
            None => SurveyTotals::new(&bins.users, bins.spread, plan),
        });
        Ok(ExactSurveys { surveys: surveys.collect(), round: Vec::new() })
    }
}

impl Bins {
    fn add(&mut self, survey: &SurveyPlan, row: &Row, bin: usize) -> Result<(), &'static str> {
        let [Some(total), ref others @ ..] = row.totals[..] else {
            return Err("a bin has too few numbers");
        };
        if others.iter().any(Option::is_some) {
            return Err("a bin has too many numbers");
        }
        if !self.met.insert(bin) {
            return Err("a bin is there twice");
        }
        let each_once = survey.ticket_groups.is_some() || row.first == row.users;
        let counted = 0 <= row.first && row.first <= row.users && row.users <= row.rows;
        if row.users == 0 || !counted || !each_once {
            return Err("the counts of a bin do not agree");
        }
        let (least, most) = if bin < survey.bins() { limits(survey) } else { (0, 0) };
        let of_all = |each: u64| i128::from(clamp_total(i128::from(row.users) * i128::from(each)));
        if !(of_all(least)..=of_all(most)).contains(&i128::from(total)) {
            return Err("a sum is beyond what its users can come to");
        }
        match (self.tickets.get_mut(bin), survey.ticket_groups) {
            (Some(tickets), Some(_)) => *tickets = total.into(),
            (Some(_), None) => self.users[bin] = row.users as u64,
            (None, _) => {}
        }
        self.spread += i128::from(total);
        self.rows += i128::from(row.rows);
        self.first += i128::from(row.first);
        Ok(())
    }
}

/// What each user of a bin adds to its sum, at least and at most, in grid units.
fn limits(survey: &SurveyPlan) -> (u64, u64) {
    match (survey.ticket_groups, survey.spread) {
        (Some(_), _) => (0, survey.histogram.bound.norm()),
        // Sums are whole numbers and not below the norm, so not below the norm rounded up.
        (None, Some(spread)) => (1 << spread.grid_bits, SurveyPlan::SPREAD_MAX << spread.grid_bits),
        (None, None) => (0, 0),
    }
}

/// The bin of a name; that of no norm is after all others.
fn bin_of(survey: &SurveyPlan, name: &str) -> Option<usize> {
    if name == NO_BIN {
        return Some(survey.bins());
    }
    let bin: usize = name.parse().ok()?;
    (bin < survey.bins() && bin.to_string() == name).then_some(bin)
}
