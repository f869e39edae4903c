//! What a run asks before users are fitted, noised: rounds that look for keys, and surveys.

use super::{CellKey, Plan, RunKey, failed, noise_column, noise_surveys};
use crate::engine::{ExactSurveys, LevelTotals};
use crate::error::Result;
use crate::plan::{LevelPlan, Round};

/// The plan with what follows from what it has asked: the cells that a round has found, or bounds.
///
/// What is released of a round: the cells whose users, plus discrete Gaussian noise of its σ grid
/// units, reach its threshold. Price: μ² = 1/(σ² − 16), and its δ. Before: each user has a norm of
/// at most 1 over the cells of a round, and the ledger has spent the price. Errors: σ is out of
/// range, or the totals are none of this plan. Source: *Discovered keys* of `docs/privacy.md`; for
/// surveys see [`noise_surveys`].
pub fn settle(plan: &Plan, exact: ExactSurveys, key: &RunKey, threads: usize) -> Result<Plan> {
    if !plan.is_seeking() {
        return Ok(plan.clone().settle(noise_surveys(plan, exact, key)?));
    }
    let seeking = plan.levels.iter().filter_map(|level| Some((level, level.round()?)));
    if seeking.clone().count() != exact.round.len() {
        return Err(failed("the round is none of this plan"));
    }
    let found = seeking.zip(exact.round);
    let found = found.map(|(level, totals)| find(level, totals, key, threads));
    Ok(plan.clone().discover(found.collect::<Result<_>>()?))
}

/// The cells of a level that its round finds.
fn find(
    (level, round): (&LevelPlan, &Round),
    LevelTotals { keys, sums }: LevelTotals,
    key: &RunKey,
    threads: usize,
) -> Result<Vec<CellKey>> {
    let [exact] = &sums[..] else { return Err(failed("a round counts users alone")) };
    // The same cell would get the same noise.
    if exact.len() != keys.len() || !keys.is_sorted_by(|a, b| a < b) {
        return Err(failed("the round is none of this plan"));
    }
    let done = level.discovery().map_or(0, |discovery| discovery.done());
    // Names of statistics have no spaces.
    let key = key.statistic(&level.file, &format!("customers round {}", done + 1));
    let noisy = noise_column((round.noise.sigma, 1), &key, &keys, exact, threads);
    let noisy = noisy.map_err(|cause| failed(&cause))?;
    let reached = keys.into_iter().zip(noisy).filter(|(_, noisy)| *noisy >= round.threshold);
    Ok(reached.map(|(key, _)| key).collect())
}
