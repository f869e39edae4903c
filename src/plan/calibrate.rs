//! From bounds and shares of the budget to grids and noise.

use super::StatisticPlan;
use crate::job::{Bound, LedgerTerms, StatisticKind};
use crate::privacy::{MuSquared, NormBound, PrivacyBudget, Sensitivity, largest_loss};

/// σ is at least this many grid units, so that the grid is fine against the noise:
/// its price is less than 4e-9 above that of real Gaussian noise (Lemma 3 of `docs/privacy.md`).
const SIGMA_MIN: u64 = 1 << 16;

/// σ stays below this, so that it is exact as a float and a total with its noise fits an i64.
const SIGMA_LIMIT: f64 = (1u64 << 52) as f64;

/// Grid, bound and noise of one statistic that may cost `share`; `None` if no noise is enough.
///
/// The grid has 2^k units per count (k ≥ 16) or minor unit (k ≥ 0), with the smallest k that
/// gives σ ≥ 2¹⁶ units.
pub(super) fn statistic(
    kind: StatisticKind,
    width: usize,
    bound: Bound,
    share: MuSquared,
) -> Option<StatisticPlan> {
    let first = if kind == StatisticKind::Sales { 0 } else { 16 };
    (first..40).find_map(|grid_bits| {
        let scale = |milli: u64| {
            // Below 2⁵⁰ · 2⁴⁰; rounded down, so the bound is never above the stated one.
            u64::try_from((u128::from(milli) << grid_bits) / 1000).ok()
        };
        let bound = NormBound::new(scale(bound.norm_milli)?, scale(bound.cell_cap_milli)?)?;
        let sigma = smallest_sigma(bound.sensitivity(), share)?;
        let mu_squared = MuSquared::of_discrete_gaussian_up(bound.sensitivity(), sigma)?;
        let plan = StatisticPlan { kind, width, grid_bits, bound, sigma, mu_squared };
        (sigma >= SIGMA_MIN).then_some(plan)
    })
}

/// The smallest σ in grid units whose price is at most `share`.
fn smallest_sigma(sensitivity: Sensitivity, share: MuSquared) -> Option<u64> {
    if share == MuSquared::default() {
        return None;
    }
    let fits = |sigma: u64| {
        MuSquared::of_discrete_gaussian_up(sensitivity, sigma).is_some_and(|price| price <= share)
    };
    let guess = sensitivity.grid_units() as f64 / share.mu_up().value();
    if !(1.0..SIGMA_LIMIT).contains(&guess) {
        return None;
    }
    // The float is off by a few parts in 2⁵², and by up to 5 because noise is discrete; search the
    // whole numbers around it.
    let slack = 5 + (guess / (1u64 << 48) as f64) as u64;
    let (mut low, mut high) = ((guess as u64).saturating_sub(slack).max(1), guess as u64 + slack);
    while low < high {
        let middle = low + (high - low) / 2;
        if fits(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    fits(low).then_some(low)
}

/// What a ledger of these terms holds: δ_max is split between noise and thresholds as in a job
/// with private keys. `None` if that leaves nothing.
pub fn budget_of(terms: &LedgerTerms) -> Option<PrivacyBudget> {
    let threshold_delta = terms.delta_max.threshold_share();
    let mu_squared = largest_loss(terms.epsilon_max, terms.delta_max, threshold_delta)?;
    Some(PrivacyBudget { mu_squared, threshold_delta })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privacy::{Delta, Epsilon};

    #[test]
    fn noise_is_the_least_that_the_share_pays_for() {
        for (kind, norm_milli, share) in [
            (StatisticKind::Customers, 1_000, 1u128 << 60),
            (StatisticKind::Payments, 12_345, (1 << 55) + 12_345),
            (StatisticKind::Sales, 150_000_000, 1 << 52),
            (StatisticKind::Sales, 1_000, 1 << 58),
        ] {
            let share = MuSquared::from_units(share);
            let bound = Bound { norm_milli, cell_cap_milli: norm_milli };
            let plan = statistic(kind, 1, bound, share).expect("a plan");
            assert!(plan.mu_squared <= share);
            let less = MuSquared::of_discrete_gaussian_up(plan.bound.sensitivity(), plan.sigma - 1);
            assert!(less.expect("a price") > share);
            assert!(plan.sigma >= SIGMA_MIN);
            let natural = plan.bound.norm() as f64 / (1u64 << plan.grid_bits) as f64;
            assert!(natural <= norm_milli as f64 / 1000.0);
        }
    }

    #[test]
    fn noise_is_that_of_the_gaussian_curve() {
        // mpmath 1.3, mp.dps = 50: the largest μ with δ(ε; μ) ≤ δ by bisection, for the curve of
        // `docs/privacy.md`, Lemma 3; 1/μ.
        for (epsilon, delta, sigma) in [
            ("0.1", "1e-6", 36.304_690_426_195_8),
            ("1", "1e-6", 4.224_678_889_326_84),
            ("1", "1e-9", 5.495_266_157_238_3),
            ("4", "1e-8", 1.395_582_683_911_3),
            ("20", "1e-12", 0.404_050_532_636_854),
        ] {
            let (epsilon, delta) = (Epsilon::parse(epsilon), Delta::parse(delta));
            let (epsilon, delta) = (epsilon.expect("valid"), delta.expect("valid"));
            let share = largest_loss(epsilon, delta, Delta::ZERO).expect("something is left");
            let bound = Bound { norm_milli: 1000, cell_cap_milli: 1000 };
            let plan = statistic(StatisticKind::Customers, 1, bound, share).expect("a plan");
            let ratio = plan.to_natural(plan.sigma as f64) / sigma;
            assert!((1.0..1.0001).contains(&ratio), "{epsilon} {delta}: {ratio}");
        }
    }

    #[test]
    fn no_share_buys_no_noise() {
        let bound = Bound { norm_milli: 1000, cell_cap_milli: 1000 };
        assert_eq!(statistic(StatisticKind::Customers, 1, bound, MuSquared::default()), None);
    }
}
