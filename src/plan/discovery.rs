//! Keys that are the finding: rounds that look for cells with many users, before anything is
//! measured in them (DP-SIPS: Swanberg, Desfontaines and Haney 2023, arXiv:2301.01998).
//!
//! Each round spends more than the one before, and looks at what is not found yet, so that users of
//! well-known cells have more weight left for others. Source: *Discovered keys* in
//! `docs/privacy.md`.

use super::{CellKey, Gaussian, LevelPlan, Plan, Selection, StatisticPlan, score};
use crate::job::{Level, PartitionSelection, Report, StatisticKind};
use crate::privacy::{Delta, MuSquared};

/// The rounds of one level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// One after the other.
    pub rounds: Vec<Round>,
    /// The most cells of one user that count in a round.
    pub cells_max: u32,
}

/// One round: users, each with a norm of 1 over all their cells, and what a cell must reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// Its mechanism.
    pub noise: Gaussian,
    /// In grid units.
    pub threshold: i64,
    /// Probability that a cell of one user alone is found, over all their cells.
    pub delta: Delta,
    /// How many cells it has found, once it has been run.
    pub found: Option<u64>,
}

/// Hundredths of μ² and δ that the rounds before the last one take.
const EARLIER_SHARES: [u128; 2] = [5, 20];

impl Discovery {
    /// Rounds for `share` of μ² and `delta`, or `None` if no noise is enough.
    pub(super) fn new(share: MuSquared, delta: Delta, cells_max: u32) -> Option<Discovery> {
        // Below 2⁷⁰ · 2⁷. The last round takes all that is left.
        let parts = |all: u128| {
            let [first, second] = EARLIER_SHARES.map(|hundredths| all * hundredths / 100);
            [first, second, all - first - second]
        };
        let shares = parts(share.units()).map(MuSquared::from_units);
        let deltas = parts(delta.units().into()).map(|units| Delta::from_units(units as u64));
        let round = |(share, delta): (MuSquared, Delta)| {
            let noise = Gaussian::new(false, (1000, 1000), share)?;
            let threshold = threshold(noise, delta, cells_max)?;
            Some(Round { noise, threshold, delta, found: None })
        };
        let rounds = shares.into_iter().zip(deltas).map(round).collect::<Option<_>>()?;
        Some(Discovery { rounds, cells_max })
    }

    /// The round that is next; `None`: all are done.
    pub fn next(&self) -> Option<&Round> {
        self.rounds.iter().find(|round| round.found.is_none())
    }

    /// How many rounds are done.
    pub fn done(&self) -> usize {
        self.rounds.iter().take_while(|round| round.found.is_some()).count()
    }

    /// What its rounds cost.
    pub fn mu_squared(&self) -> MuSquared {
        MuSquared::from_units(self.rounds.iter().map(|r| r.noise.mu_squared.units()).sum())
    }
}

impl Round {
    /// About how many users with `cells` cells each a cell must have, to be found without noise.
    pub fn users(&self, cells: f64) -> f64 {
        self.noise.to_natural(self.threshold as f64) * cells.sqrt()
    }

    /// What each of a user's cells has of the round: 1/√k of k cells, fitted as all statistics are.
    pub fn each(&self, cells: usize) -> i64 {
        each(self.noise, cells as u64)
    }
}

fn each(noise: Gaussian, cells: u64) -> i64 {
    let one = 1i64 << noise.grid_bits;
    let squares = u128::from(cells) * u128::from(one.unsigned_abs()).pow(2);
    noise.bound.fit(squares).apply(one)
}

/// What a user's own cells reach with probability at most `delta`, however many of them there are:
/// the largest over k of 1/√k and the noise that one of k cells goes beyond with `delta`/k.
fn threshold(noise: Gaussian, delta: Delta, cells_max: u32) -> Option<i64> {
    /// Of more cells each has next to nothing, and all of them count as `cells_max`.
    const TRIED: u32 = 256;
    if delta == Delta::ZERO {
        return None;
    }
    let of = |cells: u32, as_many: u32| {
        let most = each(noise, cells.into()).unsigned_abs();
        score::threshold_of_one(most, noise.sigma, delta, as_many)
    };
    let few = (1..=cells_max.min(TRIED)).map(|cells| of(cells, cells));
    let many = (cells_max > TRIED).then(|| of(TRIED, cells_max));
    few.chain(many).max()
}

impl LevelPlan {
    /// The rounds that look for its keys, if they are discovered.
    pub fn discovery(&self) -> Option<&Discovery> {
        match &self.selection {
            Selection::Discovered(discovery) => Some(discovery),
            _ => None,
        }
    }

    /// Does a user's cell with this key count, where keys are discovered? In rounds those that are
    /// not found yet, but for cells that are hidden as they tell of too few merchants, which is
    /// public; then those that were found.
    pub(crate) fn counts(&self, key: &CellKey) -> bool {
        let found = self.always.binary_search(key).is_ok();
        if self.round().is_some() { !found && !self.is_hidden(key) } else { found }
    }

    /// Are its keys discovered?
    pub fn is_discovered(&self) -> bool {
        self.discovery().is_some()
    }

    /// The round that is next at this level.
    pub fn round(&self) -> Option<&Round> {
        self.discovery().and_then(Discovery::next)
    }

    /// The level with its next round as the only statistic: users of norm 1.
    fn of_round(&self) -> Option<LevelPlan> {
        let noise = self.round()?.noise;
        let kind = StatisticKind::Customers;
        let users = StatisticPlan { kind, width: 1, noise, charge: noise.mu_squared };
        let (look_back, cohorts, recency, tickets) = (None, None, None, None);
        let statistics = vec![users];
        Some(LevelPlan { statistics, look_back, cohorts, recency, tickets, ..self.clone() })
    }
}

impl Plan {
    /// Are there rounds to be run, before bounds are asked for and users are fitted?
    pub fn is_seeking(&self) -> bool {
        self.levels.iter().any(|level| level.round().is_some())
    }

    /// The levels that have a round, with the next one as their only statistic: what it asks are
    /// their totals.
    pub(crate) fn of_round(&self) -> Plan {
        let levels = self.levels.iter().filter_map(LevelPlan::of_round).collect();
        Plan { levels, surveys: Vec::new(), ..self.clone() }
    }

    /// The plan after the rounds of another one of the same job, with what these have found.
    #[must_use]
    pub(crate) fn with_keys_of(mut self, other: &Plan) -> Plan {
        for (own, other) in self.levels.iter_mut().zip(&other.levels) {
            if own.is_discovered() {
                own.selection = other.selection.clone();
                own.always.clone_from(&other.always);
            }
        }
        self
    }

    /// The plan after a round of each level that has one, in their order, with the cells that were
    /// found: from now on they are always shown.
    ///
    /// A function of noised values and public facts. What it costs stays as it was.
    #[must_use]
    pub fn discover(mut self, found: Vec<Vec<CellKey>>) -> Plan {
        let seeking = self.levels.iter_mut().filter(|level| level.round().is_some());
        for (level, found) in seeking.zip(found) {
            if let Selection::Discovered(discovery) = &mut level.selection
                && let Some(round) = discovery.rounds.iter_mut().find(|r| r.found.is_none())
            {
                round.found = Some(found.len() as u64);
            }
            level.always.extend(found);
            level.always.sort();
            level.always.dedup();
        }
        self
    }
}

/// Of what each statistic of a level may cost: what all rounds of the level do, and what is left
/// for each statistic.
pub(super) fn split(report: &Report, level: &Level, share: MuSquared) -> (MuSquared, MuSquared) {
    let PartitionSelection::Discovered { share: part, .. } = report.selection else {
        return (MuSquared::default(), share);
    };
    // Below 2⁷⁰ · 10⁶.
    let rounds = share.units() * u128::from(part.millionths()) / 1_000_000;
    let rest = MuSquared::from_units(share.units() - rounds);
    (MuSquared::from_units(rounds * level.bounds.len() as u128), rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Market;

    fn plan(more: &str) -> Plan {
        Market::new(&[]).plan(&[format!(
            "levels = [[\"merchant\"], [\"wallet\", \"week\"]]\nkeys = \"discovered\"\n\
             insights = [\"customers\", \"payments\"]\n{more}"
        )])
    }

    fn tail(x: f64) -> f64 {
        libm::erfc(x / std::f64::consts::SQRT_2) / 2.0
    }

    /// The normal part of Lemma 4, for users with any number of cells; the most likely number uses
    /// nearly all of δ.
    #[test]
    fn a_user_of_any_number_of_cells_passes_with_at_most_delta() {
        for (most, delta) in
            [(1, "4e-7"), (2, "3.1e-15"), (7, "1e-9"), (256, "4e-7"), (5_000, "1.234567e-8")]
        {
            let share = MuSquared::from_units((1 << 55) + 17);
            let delta = Delta::parse(delta).expect("valid");
            let found = Discovery::new(share, delta, most).expect("rounds");
            let mut whole = 0;
            for round in &found.rounds {
                let sigma = round.noise.sigma as f64;
                let one = (1u64 << round.noise.grid_bits) as f64;
                let of = |cells: u32| {
                    let each = round.each(cells as usize) as f64;
                    assert!(each <= one / f64::from(cells).sqrt());
                    f64::from(cells) * tail((round.threshold as f64 - each - 64.0) / sigma)
                };
                let largest = (1..=most).map(of).fold(0.0, f64::max);
                let delta = round.delta.value();
                assert!(largest <= delta * (1.0 + 1e-9), "{most}: {largest:e} for {delta:e}");
                // Of more cells than are tried, the bound is that of as many.
                let tight = if most > 256 { 0.5 } else { 0.99 };
                assert!(largest > tight * delta, "{most}: {largest:e} for {delta:e}");
                whole += round.delta.units();
            }
            assert_eq!(whole, delta.units());
            assert!(found.mu_squared() <= share);
        }
    }

    /// Three rounds at each level take their share, and all together what a job of its kind may.
    #[test]
    fn rounds_take_their_share_of_the_price() {
        let of = |share: &str| plan(&format!("discovery = \"{share}\""));
        for (share, part) in [("20%", 0.2), ("75%", 0.75), ("99%", 0.99)] {
            let plan = of(share);
            for (place, level) in plan.levels.iter().enumerate() {
                let rounds = level.discovery().expect("discovered");
                let prices = rounds.rounds.iter().map(|r| r.noise.mu_squared.units() as f64);
                let prices: Vec<f64> = prices.collect();
                let rounds: f64 = prices.iter().sum();
                let found = rounds / (rounds + plan.measured(place).units() as f64);
                assert!((found - part).abs() < 1e-3, "{found}");
                assert!((prices[0] / rounds - 0.05).abs() < 1e-3);
                assert!((prices[2] / rounds - 0.75).abs() < 1e-3);
            }
            let of_levels = |plan: &Plan| plan.loss.mu_squared.units() as f64;
            let private = plan.loss.threshold_delta;
            let thresholds = Market::new(&[]).plan(&[
                "levels = [[\"merchant\"], [\"wallet\", \"week\"]]\nkeys = \"private\"\n\
                 insights = [\"customers\", \"payments\"]"
                    .to_owned(),
            ]);
            assert_eq!(private, thresholds.loss.threshold_delta);
            // Within what whole numbers of σ cost.
            assert!((of_levels(&plan) / of_levels(&thresholds) - 1.0).abs() < 1e-4);
        }
    }

    #[test]
    fn what_rounds_find_is_always_shown() {
        use crate::plan::KeyValue;
        let cell = |name: &str| -> CellKey { Box::new([KeyValue::Text(name.into())]) };
        let mut plan = plan("");
        assert!(plan.is_seeking() && !plan.is_settled());
        for (round, names) in [vec!["M3", "M1"], vec![], vec!["M2"]].into_iter().enumerate() {
            assert_eq!(plan.levels[0].discovery().expect("discovered").done(), round);
            plan = plan.discover(vec![names.into_iter().map(cell).collect(), Vec::new()]);
        }
        assert!(!plan.is_seeking());
        assert_eq!(plan.levels[0].always, ["M1", "M2", "M3"].map(cell));
        let found = |round: &Round| round.found;
        let rounds = &plan.levels[0].discovery().expect("discovered").rounds;
        assert_eq!(rounds.iter().map(found).collect::<Vec<_>>(), [Some(2), Some(0), Some(1)]);
    }
}
