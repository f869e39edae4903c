//! Between ρ-zCDP and (ε, δ): Canonne, Kamath and Steinke 2020, Proposition 12 (`docs/privacy.md`,
//! *From ρ to ε and δ*). Every result is rounded against us.

use super::units::{Delta, Epsilon, MuSquared, Rho};

/// Covers the float error of one evaluation below: its terms are under 10³ in size and each is
/// correct to 2⁻⁵², so the logarithm is off by less than 2⁻³⁸.
const INFLATION: f64 = 1.0 + 1.0 / (1u64 << 30) as f64;

/// The bisections end when the interval has no float left inside; 200 halvings do that.
const HALVINGS: usize = 200;

/// An upper bound on δ at `epsilon` for a ρ-zCDP mechanism:
/// inf over α > 1 of e^((α−1)(αρ−ε)) / (α−1) · (1 − 1/α)^α.
///
/// Every α gives a valid bound, so the search for the best one needs no proof.
pub fn delta_of(rho: Rho, epsilon: f64) -> f64 {
    let rho = rho.value();
    if rho <= 0.0 {
        return 0.0;
    }
    // The derivative in α of the logarithm is (2α−1)ρ − ε + ln(1 − 1/α), which increases.
    let (mut low, mut high) = (1.0 + 1e-9, (epsilon + 1.0) / (2.0 * rho) + 2.0);
    for _ in 0..HALVINGS {
        let alpha = low + (high - low) / 2.0;
        if (2.0 * alpha - 1.0) * rho - epsilon + (-1.0 / alpha).ln_1p() < 0.0 {
            low = alpha;
        } else {
            high = alpha;
        }
    }
    let alpha = high;
    let log = (alpha - 1.0) * (alpha * rho - epsilon) - (alpha - 1.0).ln()
        + alpha * (-1.0 / alpha).ln_1p();
    (log.exp() * INFLATION).min(1.0)
}

/// An upper bound on ε at `delta` for a ρ-zCDP mechanism.
pub fn epsilon_of(rho: Rho, delta: f64) -> f64 {
    let (mut low, mut high) = (0.0f64, 1.0f64);
    while delta_of(rho, high) > delta {
        high *= 2.0;
    }
    for _ in 0..HALVINGS {
        let middle = low + (high - low) / 2.0;
        if delta_of(rho, middle) > delta {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The largest Σ μ² for which the Gaussian part of a job keeps (ε, δ) when its thresholds may
/// show a new key with probability `threshold_delta`; rounded down.
///
/// The thresholds cost twice: their δ comes off `delta`, and ε is lowered by
/// −ln(1 − threshold_delta) for the direction in which a user is removed (Lemma 4 of
/// `docs/privacy.md`). Returns `None` if nothing is left.
pub fn largest_loss(epsilon: Epsilon, delta: Delta, threshold_delta: Delta) -> Option<MuSquared> {
    let gaussian_delta = delta.checked_sub(threshold_delta)?.value().next_down();
    // −ln(1−x) ≤ 2x for x ≤ 1/2.
    let epsilon = (epsilon.value() - 2.0 * threshold_delta.value()).next_down();
    if gaussian_delta <= 0.0 || epsilon <= 0.0 {
        return None;
    }
    let (mut low, mut high) = (0.0f64, 100.0f64);
    for _ in 0..HALVINGS {
        let middle = low + (high - low) / 2.0;
        let rho = MuSquared::floor_from(2.0 * middle).rho_up();
        if delta_of(rho, epsilon) <= gaussian_delta {
            low = middle;
        } else {
            high = middle;
        }
    }
    let loss = MuSquared::floor_from(2.0 * low);
    (loss > MuSquared::default()).then_some(loss)
}

/// The smallest z, rounded up, with P[N(0,1) > z] ≤ `probability`.
pub fn tail_quantile(probability: f64) -> f64 {
    let (mut low, mut high) = (0.0f64, 40.0f64);
    for _ in 0..HALVINGS {
        let z = low + (high - low) / 2.0;
        if libm::erfc(z / std::f64::consts::SQRT_2) / 2.0 * INFLATION <= probability {
            high = z;
        } else {
            low = z;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(epsilon: &str, delta: &str, share: bool) -> MuSquared {
        let (epsilon, delta) = (Epsilon::parse(epsilon), Delta::parse(delta));
        let (epsilon, delta) = (epsilon.expect("valid"), delta.expect("valid"));
        let threshold = if share { delta.threshold_share() } else { Delta::ZERO };
        largest_loss(epsilon, delta, threshold).expect("something is left")
    }

    #[test]
    fn matches_the_published_table() {
        // ρ for L2 sensitivity 1 by the same formula, as tabulated to four places.
        for (epsilon, delta, rho) in [
            ("0.5", "1e-6", 0.0066),
            ("1", "1e-6", 0.0244),
            ("1", "1e-10", 0.0132),
            ("4", "1e-8", 0.233),
            ("8", "1e-6", 1.052),
        ] {
            let got = loss(epsilon, delta, false).value_up() / 2.0;
            assert!((got / rho - 1.0).abs() < 0.01, "{epsilon} {delta}: {got} against {rho}");
        }
    }

    #[test]
    fn conversion_and_its_inverse_agree_and_round_against_us() {
        for (epsilon, delta) in [("0.01", "1e-9"), ("1", "1e-9"), ("3", "1e-6"), ("20", "1e-12")] {
            let rho = loss(epsilon, delta, false).rho_up();
            let (e, d) = (Epsilon::parse(epsilon), Delta::parse(delta));
            let (e, d) = (e.expect("valid").value(), d.expect("valid").value());
            assert!(delta_of(rho, e) <= d);
            assert!(epsilon_of(rho, d) <= e);
            assert!(epsilon_of(rho, d) >= e * (1.0 - 1e-6), "nothing is wasted");
        }
    }

    #[test]
    fn thresholds_leave_less_for_the_noise() {
        assert!(loss("1", "1e-9", true) < loss("1", "1e-9", false));
    }

    #[test]
    fn tail_quantile_is_the_normal_one() {
        // mpmath 1.3, mp.dps = 50: sqrt(2)*erfinv(1-2*mpf('1e-9')) and the same with 0.025
        assert!((tail_quantile(1e-9) - 5.997_807_015_007_686).abs() < 1e-8);
        assert!((tail_quantile(0.025) - 1.959_963_984_540_054).abs() < 1e-8);
        assert!(tail_quantile(0.025) >= 1.959_963_984_540_054);
    }
}
