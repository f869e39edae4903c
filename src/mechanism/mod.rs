//! The mechanism: noise, and the choice of private keys. The only module that names opendp, and
//! the only one that can make [`NoisyTotals`].

mod gaussian;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

pub use gaussian::opendp_epsilon;

use crate::engine::{ExactTotals, LevelTotals};
use crate::error::{Error, Result};
use crate::findings;
use crate::job::StatisticKind;
use crate::plan::{CellKey, Plan, Selection};

/// Noised statistics: released, so anything may be computed from them.
#[derive(Clone, Debug)]
pub struct NoisyTotals {
    /// In the order of the plan's levels.
    pub levels: Vec<NoisyLevel>,
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
/// cell, independently; cells with private keys only if their noised customers reach the
/// threshold. Price: μ² = bound²/(σ² − 16) each, added up, and the thresholds' δ (Theorem 1 of
/// `docs/privacy.md`). Units: grid units. Before: the engine has fitted every user into the bound
/// of each statistic, and the ledger has spent the price. Errors: opendp refuses to sample.
/// Source: Lemma 3 of `docs/privacy.md`.
pub fn add_noise(plan: &Plan, totals: ExactTotals, threads: usize) -> Result<NoisyTotals> {
    let mut levels = totals.levels;
    let mut tasks = Vec::new();
    for (level, totals) in levels.iter_mut().enumerate() {
        for (statistic, sums) in std::mem::take(&mut totals.sums).into_iter().enumerate() {
            tasks.extend(chunks(sums).enumerate().map(|(n, sums)| (level, statistic, n, sums)));
        }
    }
    // Each task is one run of a measurement, with noise of its own.
    let next = AtomicUsize::new(0);
    let (sender, receiver) = channel();
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            let (sender, tasks, next) = (sender.clone(), &tasks, &next);
            scope.spawn(move || {
                while let Some((level, statistic, n, sums)) =
                    tasks.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let sigma = plan.levels[*level].statistics[*statistic].sigma;
                    let noisy = gaussian::release(sums, sigma);
                    if sender.send((*level, *statistic, *n, noisy)).is_err() {
                        break;
                    }
                }
            });
        }
    });
    drop(sender);
    let mut results: Vec<_> = receiver.into_iter().collect();
    if results.len() < tasks.len() {
        return Err(Error::environment(findings::mechanism_failed("a thread stopped")));
    }
    results.sort_by_key(|&(level, statistic, n, _)| (level, statistic, n));
    let mut values: Vec<Vec<Vec<i64>>> =
        plan.levels.iter().map(|level| vec![Vec::new(); level.statistics.len()]).collect();
    for (level, statistic, _, noisy) in results {
        let noisy = noisy.map_err(|e| Error::environment(findings::mechanism_failed(&e)))?;
        values[level][statistic].extend(noisy);
    }
    let levels = levels.into_iter().zip(values).zip(&plan.levels).map(
        |((LevelTotals { keys, .. }, values), level)| match level.selection {
            Selection::Public => NoisyLevel { keys, values },
            Selection::Threshold { threshold, .. } => {
                let customers = level
                    .position(StatisticKind::Customers)
                    .expect("cannot fail because the plan adds customers to private levels");
                let widths = level.statistics.iter().map(|s| s.width).collect();
                select(keys, values, widths, customers, threshold)
            }
        },
    );
    Ok(NoisyTotals { levels: levels.collect() })
}

/// Cells of one run of the measurement: enough to keep all threads busy.
const CHUNK: usize = 4096;

fn chunks(sums: Vec<i64>) -> impl Iterator<Item = Vec<i64>> {
    let mut rest = sums.into_iter();
    std::iter::from_fn(move || {
        let chunk: Vec<i64> = rest.by_ref().take(CHUNK).collect();
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// Drops the cells whose noised customers are below the threshold.
fn select(
    keys: Vec<CellKey>,
    values: Vec<Vec<i64>>,
    widths: Vec<usize>,
    customers: usize,
    threshold: i64,
) -> NoisyLevel {
    let shown: Vec<bool> = values[customers].iter().map(|&value| value >= threshold).collect();
    let kept = |(column, width): (Vec<i64>, usize)| -> Vec<i64> {
        let cells = column.chunks_exact(width).zip(&shown).filter(|&(_, &shown)| shown);
        cells.flat_map(|(numbers, _)| numbers).copied().collect()
    };
    let keys = keys.into_iter().zip(&shown).filter_map(|(k, &shown)| shown.then_some(k)).collect();
    NoisyLevel { keys, values: values.into_iter().zip(widths).map(kept).collect() }
}
