//! Noise for what the surveys of a plan count.

use super::{RunKey, failed, gaussian};
use crate::engine::{ExactSurveys, SurveyTotals};
use crate::error::Result;
use crate::plan::{CellKey, Gaussian, KeyValue, Plan, Survey, SurveyPlan, TicketPlan};

/// Adds noise to what the surveys of a plan count.
///
/// What is released: of each survey the users of each bin and the sum of their spreads, plus
/// discrete Gaussian noise of its σ grid units, independently; or tickets by group and logarithm,
/// of each user within a norm of 1. Price: μ² = 1/(σ² − 16) of users, and
/// [`SurveyPlan::SPREAD_MAX`]²/(σ² − 16) of spreads, in natural units. Units: grid units. Before:
/// each user is in at most one bin of a survey of norms, and the ledger has spent the price.
/// Errors: σ is out of range, or the counts are none of this plan. Source: *Chosen bounds* and
/// Lemma 3 of `docs/privacy.md`.
pub fn noise_surveys(plan: &Plan, exact: ExactSurveys, key: &RunKey) -> Result<Vec<Survey>> {
    let fits = |(plan, exact): (&SurveyPlan, &SurveyTotals)| {
        exact.histogram.len() == plan.bins() && exact.spread.is_some() == plan.spread.is_some()
    };
    if plan.surveys.len() != exact.surveys.len()
        || !plan.surveys.iter().zip(&exact.surveys).all(fits)
    {
        return Err(failed("the surveys are none of this plan"));
    }
    let one = |(survey, exact): (&SurveyPlan, SurveyTotals)| {
        let level = &plan.levels[survey.level];
        let kind = level.statistics[survey.statistic].kind.name();
        let noised = |name: &str, mechanism: Gaussian, exact: &[i64]| {
            // Names of statistics have no spaces.
            let key = key.statistic(&level.file, &format!("{kind} {name}"));
            let bins = (0..exact.len()).map(|bin| match survey.ticket_groups {
                None => Box::new([KeyValue::Number(bin as u8)]) as _,
                Some(_) => {
                    // At most 200 groups of 64 bins.
                    let (group, bin) = (bin / TicketPlan::BINS, bin % TicketPlan::BINS);
                    Box::new([KeyValue::Number(group as u8), KeyValue::Number(bin as u8)]) as _
                }
            });
            let bins: Vec<CellKey> = bins.collect();
            gaussian::release(&key, &bins, exact, mechanism.sigma).map_err(|cause| failed(&cause))
        };
        let name = if survey.ticket_groups.is_some() { "tickets" } else { "norms" };
        let histogram = noised(name, survey.histogram, &exact.histogram)?;
        let spread = match survey.spread.zip(exact.spread) {
            Some((mechanism, exact)) => Some(noised("spread", mechanism, &[exact])?[0]),
            None => None,
        };
        Ok(Survey { histogram, spread })
    };
    plan.surveys.iter().zip(exact.surveys).map(one).collect()
}
