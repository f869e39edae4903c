//! The mechanism: noise, and the choice of private keys. The only module that names opendp, and
//! the only one that can make [`NoisyTotals`].

mod discovery;
mod gaussian;
mod keys;
mod known;
mod sampler;
mod survey;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_frozen;
#[cfg(test)]
mod tests_law;
#[cfg(test)]
mod tests_sampler;

pub use discovery::settle;
pub use gaussian::opendp_epsilon;
pub use keys::RunKey;
pub use known::{
    Call, KnownKey, KnownTotals, add_known_noise, noise_surveys_known, settle_known, without_noise,
};
pub use survey::noise_surveys;

use crate::engine::{ExactTotals, LevelTotals};
use crate::error::{Error, Result};
use crate::findings;
use crate::parallel;
use crate::plan::{CellKey, LevelPlan, Plan, Score, Selection, StatisticPlan};
use keys::StatisticKey;

/// Noised statistics: released, so anything may be computed from them.
#[derive(Clone, Debug)]
pub struct NoisyTotals {
    /// In the order of the plan's levels.
    pub levels: Vec<NoisyLevel>,
    frozen: bool,
}

impl NoisyTotals {
    /// Whether the noise is secret; not so if it came from a key of the tests.
    pub fn is_private(&self) -> bool {
        !self.frozen
    }
}

/// The noised statistics of one level.
#[derive(Clone, Debug)]
pub struct NoisyLevel {
    /// The cells that are shown.
    pub keys: Vec<CellKey>,
    /// For each statistic of the level's plan, the noised values in grid units: cell after cell,
    /// of each its `width` numbers.
    pub values: Vec<Vec<i64>>,
}

/// Adds noise to all totals and selects the private keys.
///
/// What is released: for each statistic, total + discrete Gaussian noise of σ grid units in every
/// cell, independently; cells with private keys only if the weighted sum of their noised values
/// reaches the threshold. The noise of a cell follows from the run key, the statistic and the cell
/// alone. Price: μ² = bound²/(σ² − 16) each, added up, and the thresholds' δ (Theorem 1 of
/// `docs/privacy.md`). Units: grid units. Before: the engine has fitted every user into the bound
/// of each statistic, and the ledger has spent the price. Errors: σ is out of range, or the totals
/// are none of this plan. Source: Lemma 3 of `docs/privacy.md`.
pub fn add_noise(
    plan: &Plan,
    totals: ExactTotals,
    key: RunKey,
    threads: usize,
) -> Result<NoisyTotals> {
    let frozen = key.is_frozen();
    let (levels, _) = noise_all(plan, totals, &key, threads)?;
    Ok(NoisyTotals { levels: shown(plan, levels), frozen })
}

/// Adds noise to all totals, before private keys are selected; says which measurements did so.
fn noise_all(
    plan: &Plan,
    totals: ExactTotals,
    key: &RunKey,
    threads: usize,
) -> Result<(Vec<NoisyLevel>, Vec<Call>)> {
    if !plan.is_settled() || !are_of(plan, &totals) {
        return Err(failed("the totals are none of this plan"));
    }
    let (mut levels, mut calls) = (Vec::with_capacity(plan.levels.len()), Vec::new());
    for (level, LevelTotals { keys, sums }) in plan.levels.iter().zip(totals.levels) {
        let mut values = Vec::with_capacity(sums.len());
        for (statistic, exact) in level.statistics.iter().zip(sums) {
            let key = key.statistic(&level.file, statistic.kind.name());
            let column = (statistic.noise.sigma, statistic.width);
            let noisy = noise_column(column, &key, &keys, &exact, threads);
            values.push(noisy.map_err(|cause| failed(&cause))?);
            calls.push(Call {
                file: level.file.clone(),
                statistic: statistic.kind.name(),
                sigma: statistic.noise.sigma,
                sensitivity: statistic.noise.bound.sensitivity().grid_units(),
                public_cells: level.is_public().then_some(keys.len()),
            });
        }
        levels.push(NoisyLevel { keys, values });
    }
    Ok((levels, calls))
}

/// What totals of public cells take while noise is added, in bytes: exact ones, each statistic's
/// until it is noised, and noised ones.
pub fn memory(plan: &Plan) -> u64 {
    let of_level = |level: &LevelPlan| level.public_cells(&plan.job) * level.width() as u64 * 8;
    let of_statistic = |level: &LevelPlan| {
        let widest = level.statistics.iter().map(|statistic| statistic.width).max();
        level.public_cells(&plan.job) * widest.unwrap_or(0) as u64 * 8
    };
    let twice = plan.levels.iter().map(of_statistic).max().unwrap_or(0);
    plan.levels.iter().map(of_level).sum::<u64>() + plan.key_bytes() + twice
}

/// Of noised values of all cells those that are shown.
fn shown(plan: &Plan, levels: Vec<NoisyLevel>) -> Vec<NoisyLevel> {
    let one = |(noisy, level): (NoisyLevel, &LevelPlan)| match &level.selection {
        Selection::Public => noisy,
        Selection::Threshold { score, .. } => {
            let widths: Vec<usize> = level.statistics.iter().map(|s| s.width).collect();
            select(noisy.keys, noisy.values, &widths, score, &level.always)
        }
        // Rounds have found its keys.
        Selection::Discovered(_) => noisy,
    };
    levels.into_iter().zip(&plan.levels).map(one).collect()
}

fn failed(cause: &str) -> Error {
    Error::environment(findings::mechanism_failed(cause))
}

/// Has each statistic a total for each cell, and is no cell there twice? The same cell would get
/// the same noise.
fn are_of(plan: &Plan, totals: &ExactTotals) -> bool {
    plan.levels.len() == totals.levels.len()
        && plan.levels.iter().zip(&totals.levels).all(|(level, totals)| {
            let whole = |(sums, plan): (&Vec<i64>, &StatisticPlan)| {
                sums.len() == totals.keys.len() * plan.width
            };
            let sums = totals.sums.iter().zip(&level.statistics).all(whole);
            // Public cells are a product of distinct values.
            let keys = match level.selection {
                Selection::Public => true,
                Selection::Threshold { .. } => totals.keys.is_sorted_by(|a, b| a < b),
                // All of them, and no others, are shown.
                Selection::Discovered(_) => totals.keys == level.always,
            };
            sums && keys && totals.sums.len() == level.statistics.len()
        })
}

/// The noised values of one statistic with noise of σ, of `width` numbers a cell.
///
/// They go to a column of their own, so that no exact one is
/// left where a chunk fails.
fn noise_column(
    (sigma, width): (u64, usize),
    key: &StatisticKey,
    keys: &[CellKey],
    exact: &[i64],
    threads: usize,
) -> std::result::Result<Vec<i64>, String> {
    let mut noisy = vec![0; exact.len()];
    let numbers = CHUNK * width;
    let exact = keys.chunks(CHUNK).zip(exact.chunks(numbers));
    let chunks = noisy.chunks_mut(numbers).zip(exact).map(|(noisy, (cells, totals))| Chunk {
        key,
        sigma,
        cells,
        totals,
        noisy,
    });
    noise_chunks(chunks.collect(), threads)?;
    Ok(noisy)
}

/// Some cells of one statistic: one run of a measurement.
struct Chunk<'a> {
    key: &'a StatisticKey,
    sigma: u64,
    cells: &'a [CellKey],
    totals: &'a [i64],
    noisy: &'a mut [i64],
}

/// Cells of one run of a measurement: enough to keep all threads busy, and to make what the
/// measurement itself costs small.
const CHUNK: usize = 4096;

/// Noises every chunk; opendp's objects stay in their thread.
fn noise_chunks(chunks: Vec<Chunk<'_>>, threads: usize) -> std::result::Result<(), String> {
    let noise = |chunk: Chunk<'_>| {
        let noisy = gaussian::release(chunk.key, chunk.cells, chunk.totals, chunk.sigma)?;
        chunk.noisy.copy_from_slice(&noisy);
        Ok(())
    };
    parallel::map(chunks.into_iter(), threads, noise).into_iter().collect()
}

/// Drops the cells whose noised values do not reach the score's threshold, but for those that are
/// always shown.
///
/// A statistic of several numbers a cell has no weight; the first of them stands for it.
fn select(
    keys: Vec<CellKey>,
    values: Vec<Vec<i64>>,
    widths: &[usize],
    score: &Score,
    always: &[CellKey],
) -> NoisyLevel {
    let first = |cell: usize| values.iter().zip(widths).map(move |(v, width)| v[cell * width]);
    let is_shown = |(cell, key): (usize, &CellKey)| {
        score.is_reached(first(cell)) || always.binary_search(key).is_ok()
    };
    let shown: Vec<bool> = keys.iter().enumerate().map(is_shown).collect();
    let kept = |(column, &width): (Vec<i64>, &usize)| -> Vec<i64> {
        let cells = column.chunks_exact(width).zip(&shown).filter(|&(_, &shown)| shown);
        cells.flat_map(|(numbers, _)| numbers).copied().collect()
    };
    let keys = keys.into_iter().zip(&shown).filter_map(|(k, &shown)| shown.then_some(k)).collect();
    NoisyLevel { keys, values: values.into_iter().zip(widths).map(kept).collect() }
}
