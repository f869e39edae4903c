//! The price of a release, computed anew from its manifest.
//!
//! A second way to the numbers of `docs/privacy.md`: μ² by multiplication and search where the
//! plan divides, the conversion by an integral, tails by a continued fraction.
//! All that depends on how losses are counted is in this file.

use super::manifest::{Event, Manifest};

/// Binary digits of μ² after the point.
const FRACTION_BITS: u32 = 60;

/// δ is counted in units of 10⁻¹⁸.
const DELTA_UNITS: f64 = 1e18;

/// Room for the last digits of floats that are there for reading only; budgets are integers.
const READING: f64 = 1e-12;

/// Which μ² are not those of their bounds and noise, and which sums are not sums.
pub(super) fn price_faults(manifest: &Manifest) -> Vec<String> {
    let mut faults: Vec<String> = manifest.mechanisms.iter().filter_map(event_fault).collect();
    let claimed = &manifest.parameters;
    let sum = manifest
        .mechanisms
        .iter()
        .try_fold(0u128, |sum, event| sum.checked_add(units(event.norm_bound, event.sigma)?));
    match sum {
        Some(sum) if claimed.mu_squared_units == sum.to_string() => {
            let value = sum as f64 / (1u64 << FRACTION_BITS) as f64;
            faults.extend(reading("mu", claimed.mu, value.sqrt()));
            faults.extend(reading("rho", claimed.rho, value / 2.0));
        }
        Some(sum) => faults.push(format!(
            "the mechanisms cost mu^2 {sum} units, the manifest says {}",
            claimed.mu_squared_units
        )),
        None => faults.push("the mechanisms have no finite price".to_owned()),
    }
    let parts: Option<Vec<u64>> = private_levels(manifest)
        .map(|event| delta_units(event.threshold_delta.unwrap_or(f64::NAN)))
        .collect();
    let sum = parts.map(|parts| parts.iter().map(|&part| u128::from(part)).sum::<u128>());
    if sum.is_none() || sum != delta_units(claimed.threshold_delta).map(u128::from) {
        let delta = claimed.threshold_delta;
        faults.push(format!("the thresholds' deltas do not add up to {delta:e}"));
    }
    faults
}

/// Why ε and δ do not hold at this price, and which thresholds are too low for their δ.
pub(super) fn guarantee_faults(manifest: &Manifest) -> Vec<String> {
    let mut faults: Vec<String> = private_levels(manifest).filter_map(threshold_fault).collect();
    let claimed = &manifest.parameters;
    let sane = |x: f64, most: f64| x.is_finite() && 0.0 < x && x <= most;
    let whole = claimed.mu_squared_units.parse::<u128>();
    let (Ok(mu_squared), true, true) =
        (whole, sane(claimed.epsilon, 20.0), sane(claimed.delta, 0.01))
    else {
        faults.push("epsilon, delta or mu^2 is no number in its range".to_owned());
        return faults;
    };
    if !manifest.variant.starts_with("Gaussian differential privacy") {
        faults.push(format!("this program knows nothing of `{}`", manifest.variant));
        return faults;
    }
    let mu_squared = mu_squared as f64 / (1u64 << FRACTION_BITS) as f64;
    // Lemma 4: thresholds cost δ_T, and ε by −ln(1 − δ_T) for a user who is removed.
    let epsilon = claimed.epsilon + (-claimed.threshold_delta).ln_1p();
    let left = claimed.delta - claimed.threshold_delta;
    // The integral is good to ten digits.
    let needed = gaussian_delta(mu_squared.sqrt(), epsilon) * (1.0 - 1e-9);
    if needed > left || needed.is_nan() || left.is_nan() {
        faults.push(format!(
            "at epsilon {} the noise needs delta {needed:.3e}, but {left:.3e} is left for it",
            claimed.epsilon
        ));
    }
    faults
}

fn event_fault(event: &Event) -> Option<String> {
    let what = format!("`{}` of `{}`", event.statistic, event.file);
    if !event.mechanism.starts_with("discrete Gaussian") {
        return Some(format!("{what}: this program cannot price `{}`", event.mechanism));
    }
    if event.cell_cap == 0 || event.cell_cap > event.norm_bound {
        return Some(format!("{what}: the cell cap is not within the norm bound"));
    }
    let Some(price) = units(event.norm_bound, event.sigma) else {
        return Some(format!("{what}: no noise"));
    };
    (event.mu_squared_units != price.to_string()).then(|| {
        format!("{what} costs mu^2 {price} units, the manifest says {}", event.mu_squared_units)
    })
}

/// One event of each level with private keys: the one that its threshold looks at.
fn private_levels(manifest: &Manifest) -> impl Iterator<Item = &Event> {
    let private = manifest.key_sets.iter().filter(|set| set.selection != "public");
    private.filter_map(|set| manifest.event(&set.file, "customers"))
}

/// Lemma 4: a cell of one user alone, which counts at most v, must not reach T but with δ/K.
fn threshold_fault(event: &Event) -> Option<String> {
    let (Some(threshold), Some(delta), Some(cells)) =
        (event.threshold, event.threshold_delta, event.cells_max)
    else {
        return Some(format!("`{}` has private keys, but no threshold", event.file));
    };
    let most = event.grid_units_per_unit.min(event.cell_cap);
    // The discrete law's tail at n is at most the normal law's at n − 1.
    let distance = threshold as f64 - most as f64 - 1.0;
    let shown = f64::from(cells) * upper_tail(distance / event.sigma as f64);
    (shown > delta || delta.is_nan()).then(|| {
        format!("`{}`: its threshold lets {shown:.3e} through, more than {delta:.3e}", event.file)
    })
}

/// The least number u of units of 2⁻⁶⁰ with u·(σ² − 16) ≥ C²·2⁶⁰ (Lemma 3); `None` without noise.
fn units(norm: u64, sigma: u64) -> Option<u128> {
    let square = |x: u64| u128::from(x) * u128::from(x);
    let variance = square(sigma).checked_sub(16)?;
    let wanted = product(square(norm), 1 << FRACTION_BITS);
    let enough = |units: u128| product(units, variance) >= wanted;
    let (mut low, mut high) = (0u128, 1u128 << 120);
    if !enough(high) {
        return None;
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if enough(middle) { high = middle } else { low = middle + 1 }
    }
    Some(low)
}

/// a·b, high half first, so that products compare as numbers.
fn product(a: u128, b: u128) -> (u128, u128) {
    let halves = |x: u128| (x >> 64, x & u128::from(u64::MAX));
    let ((a1, a0), (b1, b0)) = (halves(a), halves(b));
    let (low, cross, other, high) = (a0 * b0, a1 * b0, a0 * b1, a1 * b1);
    let (cross1, cross0) = halves(cross);
    let (other1, other0) = halves(other);
    let middle = (low >> 64) + cross0 + other0;
    (high + cross1 + other1 + (middle >> 64), (middle << 64) | (low & u128::from(u64::MAX)))
}

/// The whole number of units of a δ, if it is one.
fn delta_units(delta: f64) -> Option<u64> {
    let near = (delta * DELTA_UNITS).round();
    if !(0.0..=DELTA_UNITS).contains(&near) {
        return None;
    }
    let near = near as u64;
    #[expect(clippy::float_cmp, reason = "the manifest has the float nearest to the units")]
    let same = |units: &u64| *units as f64 / DELTA_UNITS == delta;
    [near, near.saturating_sub(1), near + 1].into_iter().find(same)
}

/// δ of μ-Gaussian-DP at ε: φ(a) ∫ e^(−t²/2) e^(−at) (1 − e^(−μt)) dt over t > 0, with
/// a = ε/μ − μ/2; the difference of two normal tails, so that nothing cancels. Simpson's rule.
fn gaussian_delta(mu: f64, epsilon: f64) -> f64 {
    const STEPS: u32 = 8000;
    let a = epsilon / mu - mu / 2.0;
    // Beyond, the integrand is below e^-40 of its largest.
    let end = 40.0 / a.max(1.0);
    let value = |t: f64| (-t * t / 2.0 - a * t).exp() * -(-mu * t).exp_m1();
    let step = end / f64::from(STEPS);
    let weight = |n: u32| if n == 0 || n == STEPS { 1.0 } else { 2.0 + 2.0 * f64::from(n % 2) };
    let sum: f64 = (0..=STEPS).map(|n| weight(n) * value(f64::from(n) * step)).sum();
    (-a * a / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * sum * step / 3.0
}

/// P[N(0,1) ≥ x] for x ≥ 2 by its continued fraction; 1, which is safe, below.
fn upper_tail(x: f64) -> f64 {
    if x < 2.0 || x.is_nan() {
        return 1.0;
    }
    let fraction = (1..=200).rev().fold(x, |rest, step| x + f64::from(step) / rest);
    (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() / fraction
}

/// A float that says again what the integers say.
fn reading(name: &str, claimed: f64, value: f64) -> Option<String> {
    let close = (claimed - value).abs() <= READING * value;
    (!close).then(|| format!("`{name}` is {claimed}, but mu^2 makes it {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By Python's integers: -(-(c*c << 60) // (s*s - 16)).
    #[test]
    fn prices_are_exact() {
        for (norm, sigma, price) in [
            (1, 5, 128_102_389_400_760_776),
            (196_608, 3_296_371, 4_101_379_355_200_528),
            (30_000, 502_987, 4_101_367_900_778_468),
            ((1 << 48) - 1, (1 << 52) - 1, 4_503_599_627_370_467),
        ] {
            assert_eq!(units(norm, sigma), Some(price), "{norm} {sigma}");
        }
        assert_eq!(units(1, 4), None);
        assert_eq!(units(1, 0), None);
    }

    #[test]
    fn products_carry() {
        assert_eq!(product(u128::MAX, u128::MAX), (u128::MAX - 1, 1));
        assert_eq!(product(1 << 127, 4), (2, 0));
        assert_eq!(product(u128::MAX, 1), (0, u128::MAX));
    }

    /// mpmath 1.3, mp.dps = 30: erfc(x/sqrt(2))/2
    #[test]
    fn tails_are_the_normal_ones() {
        for (x, tail) in [
            (2.0, 0.022_750_131_948_179_21),
            (5.0, 2.866_515_718_791_939e-7),
            (8.0, 6.220_960_574_271_784e-16),
        ] {
            assert!((upper_tail(x) / tail - 1.0).abs() < 1e-12, "{x}: {}", upper_tail(x));
        }
        for x in [1.9, f64::NAN, f64::NEG_INFINITY] {
            assert!(upper_tail(x) >= 1.0);
        }
    }

    /// Two ways to one number: the integral here, scaled tails in `privacy`.
    #[test]
    fn conversion_agrees_with_the_plan() {
        for (mu_squared, epsilon) in [(0.0462, 1.0), (0.001, 0.1), (2.0, 8.0), (0.45, 4.0)] {
            let mu = crate::privacy::MuSquared::floor_from(mu_squared).mu_up();
            let plan = crate::privacy::delta_of(mu, epsilon);
            let own = gaussian_delta(mu_squared.sqrt(), epsilon);
            assert!((own / plan - 1.0).abs() < 1e-9, "{mu_squared} {epsilon}: {own} {plan}");
        }
    }

    #[test]
    fn deltas_are_whole_units() {
        assert_eq!(delta_units(2.25e-7), Some(225_000_000_000));
        assert_eq!(delta_units(0.0), Some(0));
        assert_eq!(delta_units(1e-18), Some(1));
        assert_eq!(delta_units(4.499_999_999_999_999e-3), Some(4_499_999_999_999_999));
        for wrong in [1.5e-18, -1e-9, f64::NAN, f64::INFINITY] {
            assert_eq!(delta_units(wrong), None);
        }
    }
}
