//! What a unit within a period means for users as a whole.

use super::{LevelPlan, Plan};
use crate::job::PrivacyUnit;
use crate::privacy::{Delta, MuSquared, PrivacyLoss, epsilon_held};

/// The guarantee for all payments of a user, where the unit is a user within a period.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Composed {
    /// Periods of the job's days: the most units of one user.
    pub periods: u32,
    /// Σ of the losses of a user's units.
    pub loss: PrivacyLoss,
    /// The job's δ for each period.
    pub delta: Delta,
    /// ε of `loss` at `delta`.
    pub epsilon: f64,
}

impl Composed {
    /// What: μ² times P for levels whose cells lie within a period each, times P² for others;
    /// thresholds' δ and δ times P, the number of periods. Source: Lemma 5 of `docs/privacy.md`.
    /// `None` if the unit is a user anyway, or if no δ below 1 is left.
    pub fn of(plan: &Plan) -> Option<Composed> {
        let periods = plan.unit_periods();
        if plan.job.privacy.unit == PrivacyUnit::User {
            return None;
        }
        let of_level = |level: &LevelPlan| {
            let within = plan.job.privacy.unit.holds_cells(&level.keys);
            let factor = u128::from(periods).pow(if within { 1 } else { 2 });
            let sum: u128 = level.statistics.iter().map(|s| s.mu_squared.units()).sum();
            sum.checked_mul(factor)
        };
        let mu_squared: Option<u128> = plan
            .levels
            .iter()
            .map(of_level)
            .try_fold(0, |sum: u128, units| sum.checked_add(units?));
        let times = |delta: Delta| {
            let units = delta.units().checked_mul(periods.into())?;
            (units < 1_000_000_000_000_000_000).then_some(Delta::from_units(units))
        };
        let threshold_delta = times(plan.loss.threshold_delta)?;
        let loss = PrivacyLoss { mu_squared: MuSquared::from_units(mu_squared?), threshold_delta };
        let delta = times(plan.job.privacy.delta)?;
        Some(Composed { periods, loss, delta, epsilon: epsilon_held(loss, delta)? })
    }
}
