//! Which private keys are shown: those whose values together reach a threshold.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Decimal128Type, Float64Type};

use super::lattice::Faults;
use super::manifest::Manifest;

/// Rows of private keys reach their threshold, where all that the score looks at is shown.
pub(super) fn check_score(
    name: &str,
    batch: &RecordBatch,
    manifest: &Manifest,
    first: u64,
    faults: &mut Faults,
) {
    let Some(threshold) = manifest.events(name).find_map(|event| event.threshold) else { return };
    let mut scores = vec![0i128; batch.num_rows()];
    for event in manifest.events(name) {
        let weight = i128::from(event.score_weight.unwrap_or_default());
        let grid = event.grid_units_per_unit;
        if weight == 0 {
            continue;
        }
        let Some(values) = batch.column_by_name(&format!("{}_unbiased", event.statistic)) else {
            return;
        };
        for (row, score) in scores.iter_mut().enumerate() {
            let units = if event.statistic == "sales" {
                let minor = values.as_primitive::<Decimal128Type>().value(row);
                // Rounded to whole minor units, unless the grid is as coarse: the most it was.
                minor.saturating_mul(grid.into()).saturating_add((grid / 2).into())
            } else {
                (values.as_primitive::<Float64Type>().value(row) * grid as f64) as i128
            };
            *score = score.saturating_add(units.saturating_mul(weight));
        }
    }
    for (score, place) in scores.into_iter().zip(first..) {
        if score < i128::from(threshold) {
            faults.add(place, "its values together do not reach the threshold".to_owned());
        }
    }
}
