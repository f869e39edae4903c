//! How much memory estimates take.

use crate::plan::{CellSpace, LevelPlan, Plan};

/// Bytes for each cell of the level at hand while its model is made, beside noised values and
/// estimates: the panel, and what goes in and out of the model of one statistic. Measured: 130 to 180.
const MODEL: u64 = 180;

/// Bytes in which tables are written, whatever their size.
const WRITING: u64 = 96 << 20;

/// The least memory in which a plan's tables can be estimated and written, in bytes; private cells,
/// which nobody knows before, not counted.
pub fn memory_least(plan: &Plan) -> u64 {
    let cells = |level: &LevelPlan| level.cells.count(&plan.job).unwrap_or(0) as u64;
    // Noised values and estimates, of 64 bits each, and their standard deviations of 32.
    let numbers = |level: &LevelPlan| (16 * level.width() + 4 * level.statistics.len()) as u64;
    let held = |level: &LevelPlan| {
        cells(level) * (CellSpace::key_bytes(level.keys.len()) + numbers(level))
    };
    let earlier = |level: &LevelPlan| level.earlier.as_ref().map_or(0, |e| e.cells.keys.len());
    let modelled = |level: &LevelPlan| (cells(level) + earlier(level) as u64) * MODEL;
    plan.levels.iter().map(held).sum::<u64>()
        + plan.levels.iter().map(modelled).max().unwrap_or(0)
        + WRITING
}
