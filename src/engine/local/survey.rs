//! One user after the other: norms and spreads, for the bounds that the job leaves open.

use super::cells::CellFinder;
use super::partition::Users;
use super::record::Record;
use super::totals::Sums;
use super::users::UserLevels;
use crate::engine::{ExactSurveys, SurveyTotals, TICKETS_MAX};
use crate::error::Result;
use crate::job::ticket_log;
use crate::plan::{Gaussian, Norms, Plan, SurveyPlan, TicketPlan};

/// Counts users by norm; one for each thread.
pub(super) struct Surveyor<'p> {
    plan: &'p Plan,
    users: UserLevels<'p>,
    counts: Vec<Counts>,
    /// For each survey that counts tickets, its place in the plan and what it has counted.
    tickets: Vec<(usize, Tickets<'p>)>,
}

/// What one survey of tickets has counted so far.
struct Tickets<'p> {
    plan: &'p TicketPlan,
    mechanism: Gaussian,
    /// The tickets of the user at hand by bin, and the bins that have some.
    own: Vec<u32>,
    met: Vec<u32>,
    /// In grid units.
    totals: Vec<i128>,
}

impl<'p> Tickets<'p> {
    fn new(plan: &'p Plan, survey: &SurveyPlan) -> Option<Self> {
        let tickets = plan.levels[survey.level].tickets.as_ref()?;
        let bins = survey.bins();
        Some(Tickets {
            plan: tickets,
            mechanism: survey.histogram,
            own: vec![0; bins],
            met: Vec::new(),
            totals: vec![0; bins],
        })
    }

    fn add(&mut self, record: &Record) {
        if record.amount <= 0 {
            return;
        }
        let group = self.plan.group_of(record.merchant);
        let bin = group * TicketPlan::BINS + TicketPlan::bin(ticket_log(record.amount));
        if self.own[bin] == 0 {
            self.met.push(bin as u32);
        }
        self.own[bin] = (self.own[bin] + 1).min(TICKETS_MAX);
    }

    /// Fits the user at hand into the norm of 1 (Lemma 1 of `docs/privacy.md`), and forgets them.
    fn finish_user(&mut self) {
        let Gaussian { grid_bits, bound, .. } = self.mechanism;
        let grid = |count: u32| i64::from(count) << grid_bits;
        let square = |&bin: &u32| u128::from(grid(self.own[bin as usize]) as u64).pow(2);
        let fit = bound.fit(self.met.iter().map(square).sum());
        for bin in self.met.drain(..) {
            let count = std::mem::take(&mut self.own[bin as usize]);
            self.totals[bin as usize] += i128::from(fit.apply(grid(count)));
        }
    }
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
            tickets: {
                let surveys = plan.surveys.iter().enumerate();
                let asked = surveys.filter(|(_, survey)| survey.ticket_groups.is_some());
                asked.filter_map(|(at, survey)| Some((at, Tickets::new(plan, survey)?))).collect()
            },
        }
    }

    /// All threads together.
    pub(super) fn merge(plan: &Plan, surveyors: Vec<Self>) -> ExactSurveys {
        let total = |(place, survey): (usize, &SurveyPlan)| {
            if survey.ticket_groups.is_some() {
                let mut totals = vec![0; survey.bins()];
                let tickets = surveyors.iter().flat_map(|surveyor| &surveyor.tickets);
                for (_, tickets) in tickets.filter(|(at, _)| *at == place) {
                    totals.iter_mut().zip(&tickets.totals).for_each(|(all, own)| *all += own);
                }
                return SurveyTotals::of_tickets(&totals);
            }
            let mut users = [0; SurveyPlan::BINS];
            let mut spread = 0;
            for counts in surveyors.iter().map(|surveyor| &surveyor.counts[place]) {
                users.iter_mut().zip(counts.users).for_each(|(all, own)| *all += own);
                spread += counts.spread;
            }
            SurveyTotals::new(&users, spread, survey)
        };
        let surveys = plan.surveys.iter().enumerate().map(total).collect();
        ExactSurveys { surveys, round: Vec::new() }
    }
}

impl Users for Surveyor<'_> {
    fn add(&mut self, records: &[Record]) -> Result<()> {
        for (_, tickets) in &mut self.tickets {
            records.iter().for_each(|record| tickets.add(record));
        }
        self.users.add(records)
    }

    fn finish_user(&mut self) -> Result<()> {
        self.tickets.iter_mut().for_each(|(_, tickets)| tickets.finish_user());
        let (plan, counts) = (self.plan, &mut self.counts);
        self.users.finish(|place, level| {
            for (survey, counts) in plan.surveys.iter().zip(&mut *counts) {
                if survey.level != place || survey.ticket_groups.is_some() {
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
        })
    }
}
