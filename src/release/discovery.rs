//! How keys are chosen, in the manifest, and the rounds that found them.

use serde::Serialize;

use super::manifest::MECHANISM;
use crate::plan::{LevelPlan, Plan, Round, Selection};

/// The rounds that found the keys of one table.
#[derive(Clone, Debug, Serialize)]
pub(super) struct DiscoveryEntry {
    file: String,
    /// The most cells of one user that count in a round.
    cells_max: u32,
    rounds: Vec<RoundEntry>,
}

/// One round: users of norm 1, and the cells that have reached its threshold.
#[derive(Clone, Debug, Serialize)]
struct RoundEntry {
    mechanism: &'static str,
    grid_units_per_unit: u64,
    sensitivity: u64,
    sigma: u64,
    mu_squared_units: String,
    threshold: i64,
    threshold_delta: f64,
    threshold_delta_units: String,
    /// How many cells it has found, that no round before had; not where cells are hidden by what
    /// noised values say of merchants, as the number would tell of hidden ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<u64>,
}

impl DiscoveryEntry {
    /// `None` if keys are not discovered.
    pub(super) fn new(plan: &Plan, level: &LevelPlan) -> Option<DiscoveryEntry> {
        let round = |round: &Round| RoundEntry {
            mechanism: MECHANISM,
            grid_units_per_unit: 1 << round.noise.grid_bits,
            sensitivity: round.noise.bound.sensitivity().grid_units(),
            sigma: round.noise.sigma,
            mu_squared_units: round.noise.mu_squared.units().to_string(),
            threshold: round.threshold,
            threshold_delta: round.delta.value(),
            threshold_delta_units: round.delta.units().to_string(),
            found: round.found.filter(|_| plan.dominance().is_none()),
        };
        level.discovery().map(|discovery| DiscoveryEntry {
            file: format!("{}.parquet", level.file),
            cells_max: discovery.cells_max,
            rounds: discovery.rounds.iter().map(round).collect(),
        })
    }
}

/// Of each level whose keys are discovered.
pub(super) fn discoveries(plan: &Plan) -> Vec<DiscoveryEntry> {
    plan.levels.iter().filter_map(|level| DiscoveryEntry::new(plan, level)).collect()
}

/// How the keys of a level are chosen, and where they come from.
pub(super) fn selection(plan: &Plan, level: &LevelPlan) -> (&'static str, String) {
    let origin = match level.selection {
        Selection::Public => {
            let registry = plan.job.registry.as_ref().map(|registry| registry.file.as_str());
            let registry = registry.map_or(String::new(), |file| format!(", the table {file}"));
            format!("the job's period and [keys]{registry}")
        }
        Selection::Threshold { .. } => {
            "keys of the data whose noised values together reach a threshold".to_owned()
        }
        Selection::Discovered(_) => {
            "keys of the data whose noised users reached the threshold of a round".to_owned()
        }
    };
    (level.selection.name(), origin)
}
