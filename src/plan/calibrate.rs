//! From bounds and shares of the budget to grids and noise.

use crate::job::LedgerTerms;
use crate::privacy::{MuSquared, NormBound, PrivacyBudget, Sensitivity, largest_loss};

/// σ is at least this many grid units, so that the grid is fine against the noise:
/// its price is less than 4e-9 above that of real Gaussian noise (Lemma 3 of `docs/privacy.md`).
const SIGMA_MIN: u64 = 1 << 16;

/// σ stays below this, so that it is exact as a float and a total with its noise fits an i64.
const SIGMA_LIMIT: f64 = (1u64 << 52) as f64;

/// One mechanism: integers of a grid, plus discrete Gaussian noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gaussian {
    /// Grid units per count or minor unit, as a power of two.
    pub grid_bits: u32,
    /// One user's norm and cell cap, in grid units.
    pub bound: NormBound,
    /// Standard deviation of the noise, in grid units.
    pub sigma: u64,
    /// bound²/(σ² − 16), rounded up (Lemma 3 of `docs/privacy.md`).
    pub mu_squared: MuSquared,
}

impl Gaussian {
    /// With a norm bound and a cell cap in thousandths of a unit and as little noise as `share`
    /// pays for; `None` if no noise is enough.
    ///
    /// The grid has 2^k units per count (k ≥ 16) or minor unit (k ≥ 0), with the smallest k that
    /// gives σ ≥ 2¹⁶ units.
    pub(super) fn new(
        is_money: bool,
        (norm_milli, cell_cap_milli): (u64, u64),
        share: MuSquared,
    ) -> Option<Gaussian> {
        let first = if is_money { 0 } else { 16 };
        (first..40).find_map(|grid_bits| {
            let scale = |milli: u64| {
                // Below 2⁵⁰ · 2⁴⁰; rounded down, so the bound is never above the stated one.
                u64::try_from((u128::from(milli) << grid_bits) / 1000).ok()
            };
            let bound = NormBound::new(scale(norm_milli)?, scale(cell_cap_milli)?)?;
            let sigma = smallest_sigma(bound.sensitivity(), share)?;
            let mu_squared = MuSquared::of_discrete_gaussian_up(bound.sensitivity(), sigma)?;
            (sigma >= SIGMA_MIN).then_some(Gaussian { grid_bits, bound, sigma, mu_squared })
        })
    }

    /// Grid units to counts or minor units.
    pub fn to_natural(self, grid: f64) -> f64 {
        grid / (1u64 << self.grid_bits) as f64
    }

    /// The standard deviation of the noise, in counts or minor units.
    pub fn sd(self) -> f64 {
        self.to_natural(self.sigma as f64)
    }
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
    use crate::job::StatisticKind;
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
            let money = kind == StatisticKind::Sales;
            let plan = Gaussian::new(money, (norm_milli, norm_milli), share).expect("a plan");
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
            let plan = Gaussian::new(false, (1000, 1000), share).expect("a plan");
            let ratio = plan.sd() / sigma;
            assert!((1.0..1.0001).contains(&ratio), "{epsilon} {delta}: {ratio}");
        }
    }

    #[test]
    fn no_share_buys_no_noise() {
        assert_eq!(Gaussian::new(false, (1000, 1000), MuSquared::default()), None);
    }
}
