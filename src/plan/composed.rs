//! What a unit within a period means for users as a whole.

use super::{LevelPlan, Plan, unit_periods};
use crate::findings::{self, Finding};
use crate::job::{Job, Level, PrivacyUnit, Report};
use crate::privacy::{AllUnits, Delta, MuSquared, PrivacyLoss, epsilon_held};

/// The guarantee for all payments of a user, where the unit is a user within a period: of one job,
/// or of all jobs of a ledger.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Composed {
    /// Periods of the job's days: the most units of one user. Of several jobs, the largest.
    pub periods: u32,
    /// Σ of the losses of a user's units.
    pub loss: PrivacyLoss,
    /// The δ of the job, or the ledger's, for each period.
    pub delta: Delta,
    /// ε of `loss` at `delta`.
    pub epsilon: f64,
}

impl Composed {
    /// What: μ² times P for levels whose cells lie within a period each, times P² for others;
    /// thresholds' δ and δ times P, the number of periods. Source: Lemma 5 of `docs/privacy.md`.
    /// `None` if the unit is a user anyway, or if no δ below 1 is left.
    pub fn of(plan: &Plan) -> Option<Composed> {
        if plan.job.privacy.unit == PrivacyUnit::User {
            return None;
        }
        let AllUnits { periods, mu_squared } = plan.all_units();
        let threshold_delta = plan.loss.threshold_delta.times(periods)?;
        let loss = PrivacyLoss { mu_squared, threshold_delta };
        let delta = plan.job.privacy.delta.times(periods)?;
        Some(Composed { periods, loss, delta, epsilon: epsilon_held(loss, delta)? })
    }
}

impl Plan {
    /// What the job costs for all privacy units of a user together.
    pub fn all_units(&self) -> AllUnits {
        let periods = self.unit_periods();
        let of_level = |level: &LevelPlan| {
            let within = self.job.privacy.unit.holds_cells(&level.keys);
            let factor = u128::from(periods).pow(if within { 1 } else { 2 });
            // μ² is below 2⁹, of 2⁶⁰ units, and periods are at most 3,660.
            let rounds = level.discovery().map_or(0, |d| d.mu_squared().units());
            factor * (rounds + level.statistics.iter().map(|s| s.charge.units()).sum::<u128>())
        };
        // All units of a user may be in one bin of a survey.
        let surveys: u128 = self.surveys.iter().map(|s| s.mu_squared().units()).sum();
        let units =
            self.levels.iter().map(of_level).sum::<u128>() + surveys * u128::from(periods).pow(2);
        AllUnits { periods, mu_squared: MuSquared::from_units(units) }
    }
}

/// Customers of cells that span periods of the privacy unit would be units, not users.
pub(super) fn customers_of_several_periods(
    job: &Job,
    tables: &[(&Report, &Level)],
) -> Option<Finding> {
    let unit = job.privacy.unit;
    let counts = |(_, level): &&(&Report, &Level)| level.bounds.keys().any(|k| k.facts().one_hot);
    let (_, level) = tables.iter().find(counts)?;
    let spans = unit_periods(job) > 1 && !unit.holds_cells(&level.keys);
    let finding = || findings::unit_across_periods(&level.name(), unit.name());
    spans.then(|| finding().at(level.span.clone()))
}
