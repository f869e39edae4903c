//! What the manifest says of the ledger's budget.

use serde::Serialize;

use crate::plan::{Composed, Plan};
use crate::privacy::{PrivacyBudget, PrivacyLoss, epsilon_held};

/// What the ledger's jobs come to when a job has been reserved, with that one. It follows from
/// jobs, and from no payment.
#[derive(Clone, Copy, Debug)]
pub struct InLedger {
    /// All that was ever reserved, also what was given back, and no more than may be taken.
    pub taken: PrivacyLoss,
    /// What may be taken.
    pub limit: PrivacyBudget,
    /// The guarantee of all of it for all payments of a user, where the unit is within a period.
    pub composed: Option<Composed>,
}

/// The budget of the ledger's population.
#[derive(Clone, Debug, Serialize)]
pub(super) struct BudgetEntry {
    /// What all jobs together may come to.
    epsilon_max: f64,
    delta_max: f64,
    delta_max_units: String,
    /// What they come to so far, also those that stopped: ε at `delta_max`, never below the true
    /// one.
    epsilon: f64,
    /// Σ μ² in units of 2⁻⁶⁰, so far and at most.
    mu_squared_units: String,
    mu_squared_units_max: String,
    /// δ of thresholds in units of 10⁻¹⁸, so far and at most.
    threshold_delta: f64,
    threshold_delta_units: String,
    threshold_delta_units_max: String,
}

impl BudgetEntry {
    /// `None`: all of δ is for thresholds, so no ε is left to state.
    pub(super) fn new(plan: &Plan, InLedger { taken, limit, .. }: InLedger) -> Option<BudgetEntry> {
        let terms = &plan.job.ledger;
        let epsilon_max = terms.epsilon_max.value();
        Some(BudgetEntry {
            epsilon_max,
            delta_max: terms.delta_max.value(),
            delta_max_units: terms.delta_max.units().to_string(),
            // What the limits allow is within ε; the way back rounds up.
            epsilon: epsilon_held(taken, terms.delta_max)?.min(epsilon_max),
            mu_squared_units: taken.mu_squared.units().to_string(),
            mu_squared_units_max: limit.mu_squared.units().to_string(),
            threshold_delta: taken.threshold_delta.value(),
            threshold_delta_units: taken.threshold_delta.units().to_string(),
            threshold_delta_units_max: limit.threshold_delta.units().to_string(),
        })
    }
}
