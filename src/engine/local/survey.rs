//! One user after the other: norms and spreads, for the bounds that the job leaves open.

use super::cells::CellFinder;
use super::partition::Users;
use super::record::Record;
use super::totals::Sums;
use super::users::UserLevels;
use crate::engine::{ExactSurveys, SurveyTotals};
use crate::error::Result;
use crate::plan::{Norms, Plan, SurveyPlan};

/// Counts users by norm; one for each thread.
pub(super) struct Surveyor<'p> {
    plan: &'p Plan,
    users: UserLevels<'p>,
    counts: Vec<Counts>,
}

/// What one survey has counted so far.
#[derive(Clone)]
struct Counts {
    users: [u64; SurveyPlan::BINS],
    /// In grid units.
    spread: i128,
}

impl<'p> Surveyor<'p> {
    pub(super) fn new(plan: &'p Plan, finder: &'p CellFinder<'p>) -> Self {
        let asked = |place: usize| plan.surveys.iter().any(|survey| survey.level == place);
        let indices = finder.levels.iter().enumerate();
        let sums = indices.map(|(place, index)| asked(place).then(|| Sums::places_only(index)));
        let counts = Counts { users: [0; SurveyPlan::BINS], spread: 0 };
        Surveyor {
            plan,
            users: UserLevels::new(plan, finder, sums),
            counts: vec![counts; plan.surveys.len()],
        }
    }

    /// All threads together.
    pub(super) fn merge(plan: &Plan, surveyors: Vec<Self>) -> ExactSurveys {
        let total = |(place, survey): (usize, &SurveyPlan)| {
            let mut users = [0; SurveyPlan::BINS];
            let mut spread = 0;
            for counts in surveyors.iter().map(|surveyor| &surveyor.counts[place]) {
                users.iter_mut().zip(counts.users).for_each(|(all, own)| *all += own);
                spread += counts.spread;
            }
            SurveyTotals::new(&users, spread, survey)
        };
        ExactSurveys { surveys: plan.surveys.iter().enumerate().map(total).collect() }
    }
}

impl Users for Surveyor<'_> {
    fn add(&mut self, records: &[Record]) -> Result<()> {
        self.users.add(records)
    }

    fn finish_user(&mut self) {
        let (plan, counts) = (self.plan, &mut self.counts);
        self.users.finish(|place, level| {
            for (survey, counts) in plan.surveys.iter().zip(&mut *counts) {
                if survey.level != place {
                    continue;
                }
                let mut norms = Norms::default();
                let kind = plan.levels[place].statistics[survey.statistic].kind;
                level.user.numbers(kind, |_, _, value| norms.add(survey.capped(value)));
                if let Some(bin) = norms.bin() {
                    counts.users[bin] += 1;
                }
                if let Some(spread) = survey.spread {
                    counts.spread += i128::from(norms.spread(spread.grid_bits));
                }
            }
        });
    }
}
