//! The price of a release, computed anew from its manifest.
//!
//! A second way to the numbers of `docs/privacy.md`: μ² by multiplication and search where the
//! plan divides, the conversion by a search over another variable, tails by a continued fraction.
//! All that depends on how losses are counted is in this file.

use super::discovery;
use super::manifest::{Event, Manifest, Round, Survey};

/// Binary digits of μ² after the point.
const FRACTION_BITS: u32 = 60;

/// δ is counted in units of 10⁻¹⁸.
const DELTA_UNITS: f64 = 1e18;

/// Room for the last digits of floats that are there for reading only; budgets are integers.
const READING: f64 = 1e-12;

/// Room for the errors of the conversions here, as a part of δ; their tests hold them to a fifth of
/// it.
const CONVERSION: f64 = 1e-8;

/// How a release counts its losses, by the `variant` of its manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accounting {
    /// μ² = C²/σ², converted by way of ρ = μ²/2.
    Concentrated,
    /// μ² = C²/(σ² − 16), as of real noise that was rounded at random; the Gaussian curve.
    Gaussian,
}

impl Accounting {
    pub(super) fn of(manifest: &Manifest) -> Option<Accounting> {
        let named = |name: &str| manifest.variant.starts_with(name);
        if named("zero-concentrated differential privacy") {
            Some(Accounting::Concentrated)
        } else if named("Gaussian differential privacy") {
            Some(Accounting::Gaussian)
        } else {
            None
        }
    }

    /// What the grid takes from the variance that protects, in grid units squared.
    fn lost_variance(self) -> u128 {
        match self {
            Accounting::Concentrated => 0,
            Accounting::Gaussian => 16,
        }
    }

    /// Why μ² in units does not hold this ε at δ, of which thresholds use the second part.
    pub(super) fn epsilon_fault(
        self,
        mu_squared: u128,
        epsilon: f64,
        (delta, thresholds): (f64, f64),
    ) -> Option<String> {
        // Lemma 4: thresholds cost δ_T, and ε by −ln(1 − δ_T) for a user who is removed.
        let left = delta - thresholds;
        let mu_squared = mu_squared as f64 / (1u64 << FRACTION_BITS) as f64;
        let needed = self.delta(mu_squared, epsilon + (-thresholds).ln_1p());
        // A claim may be the very ε of a search, so the last digits of δ need room.
        let most = left * (1.0 + CONVERSION);
        (needed > most || needed.is_nan() || most.is_nan()).then(|| {
            format!(
                "at epsilon {epsilon} the noise needs delta {needed:.6e}, but {left:.6e} is left"
            )
        })
    }

    /// The δ that is needed at ε.
    fn delta(self, mu_squared: f64, epsilon: f64) -> f64 {
        match self {
            Accounting::Concentrated => zcdp_delta(mu_squared / 2.0, epsilon),
            Accounting::Gaussian => gaussian_delta(mu_squared.sqrt(), epsilon),
        }
    }
}

/// Which μ² are not those of their bounds and noise, and which sums are not sums.
pub(super) fn price_faults(manifest: &Manifest) -> Vec<String> {
    let Some(accounting) = Accounting::of(manifest) else {
        return vec![format!("this program knows nothing of `{}`", manifest.variant)];
    };
    let lost = accounting.lost_variance();
    let events = &manifest.mechanisms;
    let surveys = || manifest.surveys.iter().flat_map(|survey| &survey.mechanisms);
    let mut faults: Vec<String> = events.iter().filter_map(|e| event_fault(e, lost)).collect();
    faults.extend(manifest.surveys.iter().flat_map(|survey| survey_faults(survey, lost)));
    faults.extend(discovery::rounds(manifest).filter_map(|round| round_fault(round, lost)));
    let claimed = &manifest.parameters;
    // What is asked first is charged what it costs.
    let first = |lost: u128| {
        let surveys = surveys().map(move |event| units(event.sensitivity, event.sigma, lost));
        let rounds = discovery::rounds(manifest);
        surveys.chain(rounds.map(move |(round, _)| units(round.sensitivity, round.sigma, lost)))
    };
    let real = |lost: u128| {
        let prices = events.iter().map(|event| units(event.norm_bound, event.sigma, lost));
        prices.chain(first(lost)).try_fold(0u128, |sum, price| sum.checked_add(price?))
    };
    if let (Some(discrete), Some(whole), Some(real)) =
        (&claimed.discreteness_units, real(lost), real(0))
        && *discrete != (whole - real).to_string()
    {
        faults.push(format!("the grid costs {} of these units, not {discrete}", whole - real));
    }
    let sum = events.iter().map(charge).chain(first(lost));
    let sum = { sum }.try_fold(0u128, |sum, price| sum.checked_add(price?));
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
        .map(|event| {
            let units = event.threshold_delta_units.as_deref().unwrap_or_default();
            delta_units(units, event.threshold_delta.unwrap_or(f64::NAN))
        })
        .chain(discovery::deltas(manifest))
        .collect();
    let sum = parts.map(|parts| parts.iter().map(|&part| u128::from(part)).sum::<u128>());
    let delta = claimed.threshold_delta;
    let whole = delta_units(&claimed.threshold_delta_units, delta).map(u128::from);
    if sum.is_none() || sum != whole {
        faults.push(format!("the thresholds' deltas do not add up to {delta:e}"));
    }
    faults
}

/// Why ε and δ do not hold at this price, and which thresholds are too low for their δ.
pub(super) fn guarantee_faults(manifest: &Manifest) -> Vec<String> {
    let threshold = |level: &Event| threshold_fault(level, manifest);
    let mut faults: Vec<String> = private_levels(manifest).filter_map(threshold).collect();
    faults.extend(discovery::threshold_faults(manifest, CONVERSION));
    let claimed = &manifest.parameters;
    let sane = |x: f64, most: f64| x.is_finite() && 0.0 < x && x <= most;
    let whole = claimed.mu_squared_units.parse::<u128>();
    let delta = delta_units(&claimed.delta_units, claimed.delta).is_some();
    let (Ok(mu_squared), true, true) =
        (whole, sane(claimed.epsilon, 20.0), delta && sane(claimed.delta, 0.01))
    else {
        faults.push("epsilon, delta or mu^2 is no number in its range".to_owned());
        return faults;
    };
    let Some(accounting) = Accounting::of(manifest) else {
        faults.push(format!("this program knows nothing of `{}`", manifest.variant));
        return faults;
    };
    let deltas = (claimed.delta, claimed.threshold_delta);
    let epsilons = [Some(claimed.epsilon), claimed.epsilon_held].into_iter().flatten();
    faults.extend(epsilons.filter_map(|e| accounting.epsilon_fault(mu_squared, e, deltas)));
    faults
}

fn event_fault(event: &Event, lost_variance: u128) -> Option<String> {
    let what = format!("`{}` of `{}`", event.statistic, event.file);
    if !event.mechanism.starts_with("discrete Gaussian") {
        return Some(format!("{what}: this program cannot price `{}`", event.mechanism));
    }
    if event.cell_cap == 0 || event.cell_cap > event.norm_bound {
        return Some(format!("{what}: the cell cap is not within the norm bound"));
    }
    if event.sensitivity.is_some_and(|sensitivity| sensitivity != event.norm_bound) {
        return Some(format!("{what}: the sensitivity is not the norm bound"));
    }
    let Some(price) = units(event.norm_bound, event.sigma, lost_variance) else {
        return Some(format!("{what}: no noise"));
    };
    if event.mu_squared_units != price.to_string() {
        let claimed = &event.mu_squared_units;
        return Some(format!("{what} costs mu^2 {price} units, the manifest says {claimed}"));
    }
    (charge(event) < Some(price)).then(|| format!("{what} is charged less than it costs"))
}

/// What the budget pays for a statistic, in units of μ²: its price, or more.
pub(super) fn charge(event: &Event) -> Option<u128> {
    event.charged_units.as_ref().unwrap_or(&event.mu_squared_units).parse().ok()
}

fn survey_faults(survey: &Survey, lost_variance: u128) -> Vec<String> {
    let mut faults = Vec::new();
    for event in &survey.mechanisms {
        let what = format!("`{}` of `{}` of `{}`", event.counts, survey.statistic, survey.file);
        let price = units(event.sensitivity, event.sigma, lost_variance);
        match price.filter(|_| event.mechanism.starts_with("discrete Gaussian")) {
            None => faults.push(format!("{what}: this program cannot price it")),
            Some(price) if price.to_string() != event.mu_squared_units => {
                let claimed = &event.mu_squared_units;
                faults
                    .push(format!("{what} costs mu^2 {price} units, the manifest says {claimed}"));
            }
            Some(_) => {}
        }
    }
    faults
}

fn round_fault((round, what): (&Round, String), lost_variance: u128) -> Option<String> {
    let price = units(round.sensitivity, round.sigma, lost_variance);
    match price.filter(|_| round.mechanism.starts_with("discrete Gaussian")) {
        None => Some(format!("{what}: this program cannot price it")),
        Some(price) => (price.to_string() != round.mu_squared_units).then(|| {
            let claimed = &round.mu_squared_units;
            format!("{what} costs mu^2 {price} units, the manifest says {claimed}")
        }),
    }
}

/// One event of each level with private keys; all have the same threshold.
fn private_levels(manifest: &Manifest) -> impl Iterator<Item = &Event> {
    let private = manifest.key_sets.iter().filter(|set| set.selection == "private");
    // Tables that show the same values choose their keys once.
    let private = private.filter(|set| set.values_of.is_none());
    private.filter_map(|set| manifest.events(&set.file).next())
}

/// Lemma 4: the score of a cell of one user alone, who counts at most v in each statistic, must not
/// reach T but with δ/K.
fn threshold_fault(level: &Event, manifest: &Manifest) -> Option<String> {
    let file = &level.file;
    let (Some(threshold), Some(delta), Some(cells)) =
        (level.threshold, level.threshold_delta, level.cells_max)
    else {
        return Some(format!("`{file}` has private keys, but no threshold"));
    };
    let (mut sure, mut variance) = (0i128, 0.0);
    for event in manifest.events(file) {
        let weight = event.score_weight.unwrap_or_default();
        let most = match &event.statistic[..] {
            "customers" => event.grid_units_per_unit.min(event.cell_cap),
            "ticket_histogram" if weight > 0 => {
                return Some(format!("`{file}`: its score looks at several bins"));
            }
            _ => event.cell_cap,
        };
        // Rounding at random moves a value by 64 at most.
        sure += i128::from(weight) * (i128::from(most) + 64);
        variance += (weight as f64 * event.sigma as f64).powi(2);
    }
    let distance = (i128::from(threshold) - sure) as f64;
    let shown = f64::from(cells) * upper_tail(distance / variance.sqrt());
    (shown > delta * (1.0 + CONVERSION) || shown.is_nan() || delta.is_nan())
        .then(|| format!("`{file}`: its threshold lets {shown:.3e} through, more than {delta:.3e}"))
}

/// The least number u of units of 2⁻⁶⁰ with u·(σ² − lost) ≥ C²·2⁶⁰; `None` without noise.
fn units(norm: u64, sigma: u64, lost: u128) -> Option<u128> {
    let square = |x: u64| u128::from(x) * u128::from(x);
    let wanted = product(square(norm), 1 << FRACTION_BITS);
    let variance = square(sigma).checked_sub(lost)?;
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

/// The units of 10⁻¹⁸ of a δ up to 1; `None` unless the float for reading is the nearest to it.
pub(super) fn delta_units(units: &str, reading: f64) -> Option<u64> {
    let units: u64 = units.parse().ok()?;
    let float = units as f64 / DELTA_UNITS;
    #[expect(clippy::float_cmp, reason = "the manifest has the float of this very division")]
    let same = float == reading;
    (same && units <= 10u64.pow(18)).then_some(units)
}

/// An upper bound on δ at ε for ρ-zCDP: the least of e^((α−1)(αρ−ε)) / (α−1) · (1 − 1/α)^α over
/// α = 1 + e^t (Canonne, Kamath and Steinke 2020, Proposition 12). Every α is valid.
fn zcdp_delta(rho: f64, epsilon: f64) -> f64 {
    let log = |t: f64| {
        let alpha = 1.0 + t.exp();
        (alpha - 1.0) * (alpha * rho - epsilon) - t - alpha * (1.0 / (alpha - 1.0)).ln_1p()
    };
    let points = (-400..=600).map(|step| f64::from(step) / 20.0);
    let best = points.min_by(|a, b| log(*a).total_cmp(&log(*b))).unwrap_or_default();
    let (mut low, mut high) = (best - 0.05, best + 0.05);
    for _ in 0..100 {
        let (a, b) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
        if log(a) < log(b) { high = b } else { low = a }
    }
    log(low).exp()
}

/// δ at ε of μ-Gaussian DP: Q(a) − e^ε Q(b) with a = ε/μ − μ/2, b = ε/μ + μ/2 (Balle and Wang 2018,
/// Theorem 8). As e^ε φ(b) = φ(a), it is φ(a) times a difference of Mills ratios.
fn gaussian_delta(mu: f64, epsilon: f64) -> f64 {
    let (a, b) = (epsilon / mu - mu / 2.0, epsilon / mu + mu / 2.0);
    density(a) * (mills(a) - mills(b))
}

/// P[N(0,1) ≥ x].
pub(super) fn upper_tail(x: f64) -> f64 {
    if x < 0.0 { 1.0 - upper_tail(-x) } else { density(x) * mills(x) }
}

/// The normal density.
fn density(x: f64) -> f64 {
    (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// P[N(0,1) ≥ x] / φ(x): by its continued fraction far out, by the power series of the rest near
/// the middle, by symmetry on the left.
fn mills(x: f64) -> f64 {
    if x < 0.0 {
        return 1.0 / density(x) - mills(-x);
    }
    if x >= 3.0 {
        return 1.0 / (1..=200).rev().fold(x, |rest, step| x + f64::from(step) / rest);
    }
    // Φ(x) − 1/2 = φ(x) · (x + x³/3 + x⁵/(3·5) + ...)
    let (mut term, mut sum) = (x, x);
    for step in 1..100 {
        term *= x * x / f64::from(2 * step + 1);
        sum += term;
    }
    0.5 / density(x) - sum
}

/// A float that says again what the integers say.
fn reading(name: &str, claimed: f64, value: f64) -> Option<String> {
    let close = (claimed - value).abs() <= READING * value;
    (!close).then(|| format!("`{name}` is {claimed}, but mu^2 makes it {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By Python's integers: -(-(c*c << 60) // (s*s - lost)).
    #[test]
    fn prices_are_exact() {
        for (norm, sigma, lost, price) in [
            (1, 1, 0, 1 << 60),
            (1, 2, 0, 1 << 58),
            (1, 3, 0, 128_102_389_400_760_776),
            (196_608, 3_296_371, 0, 4_101_379_355_194_489),
            (30_000, 502_987, 0, 4_101_367_900_519_089),
            ((1 << 48) - 1, (1 << 52) - 1, 0, 4_503_599_627_370_467),
            (1, 5, 16, 128_102_389_400_760_776),
            (196_608, 3_296_371, 16, 4_101_379_355_200_528),
        ] {
            assert_eq!(units(norm, sigma, lost), Some(price), "{norm} {sigma} {lost}");
        }
        for (sigma, lost) in [(0, 0), (4, 16), (3, 16)] {
            assert_eq!(units(1, sigma, lost), None);
        }
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
            (-3.0, 0.998_650_101_968_369_9),
            (0.0, 0.5),
            (1.9, 0.028_716_559_816_001_8),
            (2.0, 0.022_750_131_948_179_21),
            (2.5, 0.006_209_665_325_776_135),
            (3.0, 0.001_349_898_031_630_094_5),
            (5.0, 2.866_515_718_791_939e-7),
            (8.0, 6.220_960_574_271_784e-16),
        ] {
            assert!((upper_tail(x) / tail - 1.0).abs() < 1e-12, "{x}: {}", upper_tail(x));
        }
        assert!(upper_tail(-1e18) >= 1.0 && upper_tail(f64::NAN).is_nan());
    }

    /// mpmath 1.3, mp.dps = 40: Q(e/m-m/2) - exp(e)*Q(e/m+m/2) with Q(x) = erfc(x/sqrt(2))/2
    #[test]
    fn the_gaussian_curve_is_the_known_one() {
        for (epsilon, mu, delta) in [
            (1.0, 0.2, 1.754_633_331_896_232_7e-8),
            (1.0, 0.236, 9.403_388_888_085_44e-7),
            (1e-6, 1e-5, 3.509_355_066_707_848e-6),
            (20.0, 4.0, 7.289_775_286_878_226e-4),
            (0.1, 3.0, 0.859_586_379_215_022_9),
            (8.0, 1.5, 5.336_763_400_246_518e-7),
        ] {
            let own = gaussian_delta(mu, epsilon);
            assert!((own / delta - 1.0).abs() < CONVERSION / 5.0, "{epsilon} {mu}: {own}");
        }
    }

    /// mpmath 1.3, mp.dps = 40: the same formula at the root of its derivative.
    #[test]
    fn the_concentrated_conversion_is_the_known_one() {
        for (mu_squared, epsilon, delta) in [
            (0.0462, 1.0, 5.435_807_834_865_11e-7),
            (0.001, 0.1, 2.489_151_938_412_919e-5),
            (2.0, 8.0, 4.345_341_516_648_45e-7),
            (0.45, 4.0, 5.426_267_692_268_03e-9),
        ] {
            let own = zcdp_delta(mu_squared / 2.0, epsilon);
            assert!((own / delta - 1.0).abs() < CONVERSION / 5.0, "{mu_squared} {epsilon}: {own}");
        }
    }

    #[test]
    fn deltas_are_whole_units() {
        for (units, reading) in [
            ("225000000000", 2.25e-7),
            ("0", 0.0),
            ("1", 1e-18),
            ("4499999999999999", 4.499_999_999_999_999e-3),
            ("1000000000000000000", 1.0),
            // Both have the float nearest to 79/10000.
            ("7900000000000000", 0.0079),
            ("7900000000000001", 0.0079),
        ] {
            assert_eq!(delta_units(units, reading), units.parse().ok(), "{units}");
        }
        for (units, reading) in [
            ("225000000001", 2.25e-7),
            ("1000000000000000001", 1.0),
            ("2000000000000000000", 2.0),
            ("-1", -1e-18),
            ("1.5", 1.5e-18),
            ("0", f64::NAN),
            ("", 0.0),
        ] {
            assert_eq!(delta_units(units, reading), None, "{units}");
        }
    }
}
