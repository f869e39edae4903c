//! What the manifest says of values that tell nothing.

use serde::Serialize;

use crate::plan::{LevelPlan, Plan, Prediction};

/// A statistic of which noised values were expected to be further from the truth, in all, than
/// zeros.
#[derive(Clone, Debug, Serialize)]
pub(super) struct UselessEntry {
    file: String,
    statistic: &'static str,
    /// The sum of absolute errors against the sum of values.
    predicted_wape: f64,
}

/// Estimates of a table are shown if half their interval is at most this share of them.
#[derive(Clone, Debug, Serialize)]
pub(super) struct SuppressionEntry {
    file: String,
    relative_error_max: f64,
}

impl UselessEntry {
    /// Of the places of level and statistic, with the prediction.
    pub(super) fn new(
        plan: &Plan,
        (level, statistic, prediction): &(usize, usize, Prediction),
    ) -> UselessEntry {
        let level = &plan.levels[*level];
        UselessEntry {
            file: format!("{}.parquet", level.file),
            statistic: level.statistics[*statistic].kind.name(),
            predicted_wape: prediction.noised,
        }
    }
}

impl SuppressionEntry {
    /// Of each table of a level.
    pub(super) fn of(level: &LevelPlan) -> impl Iterator<Item = SuppressionEntry> {
        let tables = level.tables.iter().filter(|_| !level.unshown);
        tables.filter_map(|table| {
            let relative_error_max = table.suppress_above?.value();
            Some(SuppressionEntry { file: format!("{}.parquet", table.file), relative_error_max })
        })
    }
}
