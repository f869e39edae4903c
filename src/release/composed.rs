//! What the manifest says of all units of a user together.

use serde::Serialize;

use crate::plan::Composed;

/// The guarantee for all payments of a user, where the unit is a user within a period.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ComposedEntry {
    periods: u32,
    mu_squared_units: String,
    threshold_delta: f64,
    threshold_delta_units: String,
    epsilon: f64,
    delta: f64,
    delta_units: String,
}

impl ComposedEntry {
    pub(super) fn new(composed: Composed) -> Self {
        ComposedEntry {
            periods: composed.periods,
            mu_squared_units: composed.loss.mu_squared.units().to_string(),
            threshold_delta: composed.loss.threshold_delta.value(),
            threshold_delta_units: composed.loss.threshold_delta.units().to_string(),
            epsilon: composed.epsilon,
            delta: composed.delta.value(),
            delta_units: composed.delta.units().to_string(),
        }
    }
}
