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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Market;
    use crate::plan::KeyValue;

    fn plan() -> Plan {
        Market::new(&[]).plan(&["levels = [[\"merchant\"]]\nkeys = \"discovered\"\n\
            insights = [\"customers\"]\nbounds = { customers = 2 }"
            .to_owned()])
    }

    fn cells(count: usize) -> Vec<CellKey> {
        let cell = |n: usize| -> CellKey { Box::new([KeyValue::Text(format!("M{n:06}").into())]) };
        (0..count).map(cell).collect()
    }

    fn asked(keys: Vec<CellKey>, sums: Vec<i64>) -> ExactSurveys {
        ExactSurveys { surveys: Vec::new(), round: vec![LevelTotals { keys, sums: vec![sums] }] }
    }

    /// With the noise known, totals that reach the threshold by nothing, or miss it by one.
    #[test]
    fn cells_are_found_from_the_threshold_on_and_each_round_has_noise_of_its_own() {
        let (mut plan, key) = (plan(), RunKey::frozen([3; 32]));
        let mut noises: Vec<Vec<i64>> = Vec::new();
        for number in 1..=3 {
            let (keys, round) = (cells(40), *plan.levels[0].round().expect("a round"));
            let own = key.statistic(&plan.levels[0].file, &format!("customers round {number}"));
            let drawn = noise_column((round.noise.sigma, 1), &own, &keys, &vec![0; 40], 1);
            let drawn = drawn.expect("draws");
            let missing = |(at, noise): (usize, &i64)| round.threshold - noise - (at as i64 % 2);
            let sums = drawn.iter().enumerate().map(missing).collect();
            let before = plan.levels[0].always.len();
            plan = settle(&plan, asked(keys, sums), &key, 2).expect("noise");
            let discovery = plan.levels[0].discovery().expect("discovered");
            assert_eq!(discovery.rounds[number - 1].found, Some(20));
            assert_eq!(discovery.done(), number);
            // The same cells each time here, which an engine would have left out.
            assert_eq!(
                (before, plan.levels[0].always.len()),
                (if number > 1 { 20 } else { 0 }, 20)
            );
            assert!(noises.iter().all(|other| other != &drawn));
            noises.push(drawn);
        }
        assert!(plan.is_settled());
    }

    #[test]
    fn what_is_none_of_the_plan_is_refused() {
        let (plan, key) = (plan(), RunKey::frozen([3; 32]));
        let mut twice = cells(3);
        twice[1] = twice[0].clone();
        for exact in [
            asked(cells(3), vec![0; 2]),
            asked(twice, vec![0; 3]),
            ExactSurveys { surveys: Vec::new(), round: Vec::new() },
        ] {
            let error = settle(&plan, exact, &key, 1).expect_err("other totals");
            assert!(error.findings()[0].message().contains("none of this plan"));
        }
    }
}
