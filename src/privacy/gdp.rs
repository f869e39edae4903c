//! Between μ-Gaussian differential privacy and (ε, δ): Balle and Wang 2018, Theorem 8; Dong, Roth
//! and Su 2022, Corollary 2.13 (`docs/privacy.md`, *From μ to ε and δ*). All rounded against us.

use std::f64::consts::FRAC_1_SQRT_2;

use super::units::{Delta, Epsilon, Mu, MuSquared, PrivacyLoss};

/// Room, relative, for the two or three roundings of an argument: 2⁻⁵⁰, that is 8 roundings.
const ARGUMENT: f64 = 1.0 / (1u64 << 50) as f64;

/// Room, relative, for `libm::erfc`, `libm::exp`, their product and a difference: 2⁻⁴⁸, that is 32
/// roundings. Over 40,000 random arguments each, erfc was off by at most 3.4 roundings and exp by
/// 1.2 (against mpmath at 40 digits), which makes 9 in all.
const FUNCTION: f64 = 1.0 / (1u64 << 48) as f64;

/// Room, relative, that ε and δ leave for their own roundings; what δ leaves also covers the 2⁻¹⁴⁹
/// of Lemma 3 of `docs/privacy.md`.
const PARAMETER: f64 = 1.0 / (1u64 << 49) as f64;

/// The bisections end when the interval has no float left inside; 200 halvings do that.
const HALVINGS: usize = 200;

/// An upper bound on P[N(0,1) > x].
fn tail_up(x: f64) -> f64 {
    let z = x * FRAC_1_SQRT_2;
    // The last term: erfc loses its relative precision below the normal floats.
    libm::erfc(z - z.abs() * ARGUMENT) / 2.0 * (1.0 + FUNCTION) + f64::MIN_POSITIVE
}

/// A lower bound on P[N(0,1) > x].
fn tail_down(x: f64) -> f64 {
    let z = x * FRAC_1_SQRT_2;
    let tail = libm::erfc(z + z.abs() * ARGUMENT) / 2.0 * (1.0 - FUNCTION);
    if tail > 1e-290 { tail } else { 0.0 }
}

/// An upper bound on how often a guess whether a user is in the data is right, of a release that is
/// μ-GDP but for thresholds' `delta`, where a coin would be right half of the time: Φ(μ/2) + δ/2
/// (`docs/privacy.md`, *From μ to ε and δ*).
///
/// ```
/// use discretail::privacy::right_guess_up;
///
/// // Φ(1/2) = 0.69146.
/// assert!((right_guess_up(1.0, 0.0) - 0.691_462_461_3).abs() < 1e-10);
/// assert!(right_guess_up(0.0, 0.0) >= 0.5);
/// // Two such releases, which add up to μ = √2.
/// assert!((right_guess_up(2.0f64.sqrt(), 0.0) - 0.760_249_938_9).abs() < 1e-10);
/// ```
pub fn right_guess_up(mu: f64, delta: f64) -> f64 {
    // One minus a tail that is rounded down; the last term covers the roundings of this sum, and
    // the 2⁻¹⁴⁹ of Lemma 3.
    (1.0 - tail_down(mu / 2.0) + delta / 2.0 + 4.0 * f64::EPSILON).min(1.0)
}

/// An upper bound on δ at `epsilon` ≥ 0 for a μ-GDP mechanism:
/// Q(ε/μ − μ/2) − e^ε Q(ε/μ + μ/2), with the normal tail Q.
///
/// The first term is rounded up and the second down. Digits that cancel between them are thereby
/// lost on the safe side, and they are few: with a = ε/μ − μ/2 the result is about a/μ times
/// smaller than its terms, so it is too large by less than 2⁻⁴⁶ (1 + a²) (1 + a/μ) of itself:
/// 10⁻⁸ where μ ≥ 10⁻³ and δ ≥ 10⁻¹².
///
/// ```
/// use discretail::privacy::{MuSquared, delta_of};
///
/// // μ = 1/2 at ε = 1: δ = Q(1.75) − e · Q(2.25) = 0.04006 − 2.71828 · 0.01222.
/// let mu = MuSquared::from_units(1 << 58).mu_up();
/// assert!((delta_of(mu, 1.0) - 0.006_829_6).abs() < 1e-7);
/// ```
pub fn delta_of(mu: Mu, epsilon: f64) -> f64 {
    let mu = mu.value();
    if mu <= 0.0 {
        return 0.0;
    }
    let (x, y) = (epsilon / mu, mu / 2.0);
    let room = (x + y) * ARGUMENT;
    let first = tail_up(x - y - room);
    // Beyond, e^ε is not finite; leaving the term out rounds up.
    let second = if epsilon < 700.0 {
        libm::exp(epsilon) * (1.0 - FUNCTION) * tail_down(x + y + room)
    } else {
        0.0
    };
    (first - second).min(1.0)
}

/// An upper bound on ε at `delta` > 0 for a μ-GDP mechanism.
pub fn epsilon_of(mu: Mu, delta: f64) -> f64 {
    let (mut low, mut high) = (0.0f64, 1.0f64);
    while delta_of(mu, high) > delta {
        high *= 2.0;
    }
    for _ in 0..HALVINGS {
        let middle = low + (high - low) / 2.0;
        if delta_of(mu, middle) > delta {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The largest Σ μ² for which a job keeps (ε, δ) when its thresholds may show a new key with
/// probability `threshold_delta`; rounded down.
///
/// The thresholds cost twice: their δ comes off `delta`, and ε is lowered by
/// −ln(1 − threshold_delta) for the direction in which a user is removed (Lemma 4 of
/// `docs/privacy.md`). Returns `None` if nothing is left.
pub fn largest_loss(epsilon: Epsilon, delta: Delta, threshold_delta: Delta) -> Option<MuSquared> {
    let delta = gaussian_delta(delta, threshold_delta)?;
    // −ln(1−x) ≤ 2x for x ≤ 1/2.
    let epsilon = epsilon.value() * (1.0 - PARAMETER) - 2.0 * threshold_delta.value();
    if epsilon <= 0.0 {
        return None;
    }
    let fits = |units| delta_of(MuSquared::from_units(units).mu_up(), epsilon) <= delta;
    // μ = 10 has ε above 20 at every δ that can be stated.
    let (mut low, mut high) = (0, 100 << MuSquared::FRACTION_BITS);
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        if fits(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low > 0).then_some(MuSquared::from_units(low))
}

/// An upper bound on the ε that `loss` has at `delta`, thresholds included; `None` if they use
/// all of it.
pub fn epsilon_held(loss: PrivacyLoss, delta: Delta) -> Option<f64> {
    let rest = gaussian_delta(delta, loss.threshold_delta)?;
    let epsilon = epsilon_of(loss.mu_squared.mu_up(), rest) + 2.0 * loss.threshold_delta.value();
    Some(epsilon * (1.0 + PARAMETER / 4.0))
}

/// The part of δ that the noise may use, rounded down.
fn gaussian_delta(delta: Delta, threshold_delta: Delta) -> Option<f64> {
    let rest = delta.checked_sub(threshold_delta)?.value() * (1.0 - PARAMETER);
    (rest > 0.0).then_some(rest)
}

/// The smallest z, rounded up, with P[N(0,1) > z] ≤ `probability`.
pub fn tail_quantile(probability: f64) -> f64 {
    let (mut low, mut high) = (0.0f64, 40.0f64);
    for _ in 0..HALVINGS {
        let z = low + (high - low) / 2.0;
        if tail_up(z) <= probability {
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

    fn parsed(epsilon: &str, delta: &str) -> (Epsilon, Delta) {
        (Epsilon::parse(epsilon).expect("valid"), Delta::parse(delta).expect("valid"))
    }

    fn loss(epsilon: &str, delta: &str, share: bool) -> MuSquared {
        let (epsilon, delta) = parsed(epsilon, delta);
        let threshold = if share { delta.threshold_share() } else { Delta::ZERO };
        largest_loss(epsilon, delta, threshold).expect("something is left")
    }

    /// μ² = 4^`exponent`, exactly.
    fn mu_of_power(exponent: i32) -> Mu {
        MuSquared::from_units(1 << (60 + 2 * exponent)).mu_up()
    }

    /// mpmath 1.3 with mp.dps = 50; μ = 2^exponent, a = ε/μ − μ/2, b = ε/μ + μ/2 and
    /// `erfc(a/sqrt(2))/2 - exp(e)*erfc(b/sqrt(2))/2`. Columns: exponent, ε (exact), δ.
    const CURVE: [(i32, f64, f64); 25] = [
        (-20, 2.562_999_725_341_797e-6, 1.053_111_548_816_439_8e-9),
        (-20, 4.231_929_779_052_734e-6, 8.973_307_058_083_351e-13),
        (-20, 5.424_022_674_560_547e-6, 1.022_461_062_288_861e-15),
        (-10, 0.002_624_511_718_75, 1.079_800_780_894_122_1e-6),
        (-10, 0.004_333_496_093_75, 9.208_577_039_171_74e-10),
        (-10, 0.005_554_199_218_75, 1.049_908_826_461_143_7e-12),
        (-10, 0.006_591_796_875, 1.030_382_110_703_100_3e-15),
        (-6, 0.078_125, 8.685_896_414_482_126e-10),
        (-6, 0.095_703_125, 1.155_907_480_773_212_6e-12),
        (-3, 0.132_812_5, 0.009_854_244_754_439_382),
        (-3, 0.671_875, 1.169_631_201_896_693_7e-9),
        (-3, 0.812_5, 1.107_972_950_616_169_6e-12),
        (-3, 0.937_5, 8.204_514_328_753_11e-16),
        (-1, 0.906_25, 0.010_623_962_538_434_749),
        (-1, 2.906_25, 1.041_837_463_388_977_8e-9),
        (-1, 3.437_5, 1.173_132_463_508_279_5e-12),
        (0, 2.312_5, 0.010_130_564_473_161_227),
        (0, 6.187_5, 9.220_320_728_970_661e-10),
        (0, 7.25, 9.225_406_100_036_735e-13),
        (0, 8.187_5, 8.407_743_721_263_637e-16),
        (2, 16.5, 0.010_150_406_067_779_472),
        (2, 26.25, 1.139_529_822_347_570_3e-6),
        (2, 31.5, 8.346_721_604_327_934e-10),
        (2, 35.5, 1.116_673_758_938_501_2e-12),
        (2, 39.25, 9.330_069_651_976_624e-16),
    ];

    #[test]
    fn delta_is_the_curve_from_above() {
        for (exponent, epsilon, delta) in CURVE {
            let got = delta_of(mu_of_power(exponent), epsilon);
            let room = if exponent < -10 { 1e-6 } else { 1e-8 };
            assert!(got >= delta, "2^{exponent} {epsilon}: {got:e} below {delta:e}");
            assert!(got <= delta * (1.0 + room), "2^{exponent} {epsilon}: {got:e}, {delta:e}");
        }
    }

    /// In the middle, where an argument needs no room, that of the functions is left: half of 2⁻⁴⁸
    /// for each of two tails and of an exponential.
    #[test]
    fn both_terms_of_delta_are_rounded_against_us() {
        for exponent in [-6, -8, -10] {
            let mu = 2f64.powi(exponent);
            let epsilon = mu * mu / 2.0;
            let plain = 0.5 - libm::exp(epsilon) * libm::erfc(mu * FRAC_1_SQRT_2) / 2.0;
            let room = (delta_of(mu_of_power(exponent), epsilon) - plain) / FUNCTION;
            assert!((1.25..2.0).contains(&room), "2^{exponent}: {room}");
        }
    }

    #[test]
    fn a_right_guess_counts_the_thresholds_too() {
        // Φ(1/2), and what a key alone gives away.
        let (both, noise) = (right_guess_up(1.0, 1e-3), right_guess_up(1.0, 0.0));
        assert!(both >= 0.691_462_461_274_013_1 + 5e-4 && both < noise + 5e-4 + 1e-12, "{both}");
        assert!((right_guess_up(0.0, 1e-3) - 0.5005).abs() < 1e-12);
    }

    /// What δ leaves covers the roundings of δ itself, and 2⁻¹⁴⁹.
    #[test]
    fn the_noise_has_less_than_thresholds_leave() {
        for (delta, thresholds) in
            [("1e-15", 0), ("1e-9", 0), ("0.01", 0), ("1e-6", 450_000_000_000)]
        {
            let delta = Delta::parse(delta).expect("valid");
            let left = gaussian_delta(delta, Delta::from_units(thresholds)).expect("some");
            let most = (delta.units() - thresholds) as f64 / 1e18;
            assert!(left <= most * (1.0 - PARAMETER / 2.0), "{delta} {thresholds}");
            assert!(left >= most * (1.0 - PARAMETER * 2.0) && most - left > 2f64.powi(-149));
        }
    }

    #[test]
    fn epsilon_is_the_inverse_from_above() {
        for (exponent, epsilon, delta) in CURVE {
            let got = epsilon_of(mu_of_power(exponent), delta);
            assert!(got >= epsilon * (1.0 - 1e-15), "2^{exponent} {delta:e}: {got} < {epsilon}");
            assert!(got <= epsilon * (1.0 + 1e-6), "2^{exponent} {delta:e}: {got}, {epsilon}");
            assert!(delta_of(mu_of_power(exponent), got) <= delta);
        }
    }

    #[test]
    fn the_largest_loss_is_the_optimum_from_below() {
        // mpmath as above: the largest μ with δ(ε; μ) ≤ δ by bisection to 45 digits; μ².
        for (epsilon, delta, mu_squared) in [
            ("0.000001", "1e-15", 3.413_889_271_349_122e-14),
            ("0.000001", "1e-2", 0.000_628_413_642_227_974_2),
            ("0.01", "1e-9", 4.756_694_091_710_734e-6),
            ("0.1", "1e-6", 0.000_758_707_757_054_792_9),
            ("1", "1e-6", 0.056_028_963_825_260_68),
            ("1", "1e-9", 0.033_114_830_490_173_31),
            ("1", "1e-12", 0.023_253_093_737_121_002),
            ("4", "1e-8", 0.513_439_002_065_617_7),
            ("20", "1e-12", 6.125_317_893_829_034),
            ("20", "1e-2", 20.525_184_461_461_48),
        ] {
            let got = loss(epsilon, delta, false).units() as f64 / (1u64 << 60) as f64;
            assert!(got <= mu_squared, "{epsilon} {delta}: {got} above {mu_squared}");
            assert!(got >= mu_squared * (1.0 - 1e-4), "{epsilon} {delta}: {got}, {mu_squared}");
        }
    }

    #[test]
    fn what_a_job_may_lose_is_held() {
        for (epsilon, delta) in [("0.01", "1e-9"), ("1", "1e-9"), ("3", "1e-6"), ("20", "1e-12")] {
            for share in [false, true] {
                let (e, d) = parsed(epsilon, delta);
                let threshold_delta = if share { d.threshold_share() } else { Delta::ZERO };
                let loss = PrivacyLoss { mu_squared: loss(epsilon, delta, share), threshold_delta };
                let held = epsilon_held(loss, d).expect("thresholds leave a part");
                // Both round against us, by different steps.
                assert!((held / e.value() - 1.0).abs() < 1e-9, "{held} {epsilon}");
                let all = PrivacyLoss { threshold_delta: d, ..loss };
                assert_eq!(epsilon_held(all, d), None);
            }
        }
    }

    #[test]
    fn the_curve_is_monotone() {
        let mu = |step: u128| MuSquared::from_units(step << 52).mu_up();
        for step in 1..400 {
            for epsilon in [0.0, 0.1, 1.0, 5.0, 20.0] {
                assert!(delta_of(mu(step), epsilon) <= delta_of(mu(step + 1), epsilon));
                let farther = delta_of(mu(step), epsilon + 0.01);
                assert!(farther <= delta_of(mu(step), epsilon));
            }
            assert!(epsilon_of(mu(step), 1e-9) < epsilon_of(mu(step + 1), 1e-9));
        }
        for pair in ["0.5", "1", "1.000001", "2"].windows(2) {
            assert!(loss(pair[0], "1e-9", false) < loss(pair[1], "1e-9", false));
        }
        assert!(loss("1", "1e-9", false) < loss("1", "2e-9", false));
    }

    #[test]
    fn extremes_are_bounds_still() {
        assert!(delta_of(mu_of_power(0), 1e6) <= f64::MIN_POSITIVE);
        assert!(delta_of(mu_of_power(-30), 20.0) <= f64::MIN_POSITIVE);
        assert!(delta_of(MuSquared::from_units(1 << 80).mu_up(), 1.0) <= 1.0);
        assert!(delta_of(MuSquared::default().mu_up(), 0.0) <= 0.0);
    }

    #[test]
    fn thresholds_leave_less_for_the_noise() {
        assert!(loss("1", "1e-9", true) < loss("1", "1e-9", false));
        let (epsilon, delta) = parsed("0.000001", "0.01");
        assert_eq!(largest_loss(epsilon, delta, delta.threshold_share()), None);
    }

    #[test]
    fn tails_are_the_normal_ones_from_both_sides() {
        // mpmath 1.3, mp.dps = 50, as the nearest float: erfc(x/sqrt(2))/2
        for (x, tail) in [
            (-3.0, 0.998_650_101_968_369_9),
            (-0.5, 0.691_462_461_274_013_1),
            (0.25, 0.401_293_674_317_076_3),
            (1.0, 0.158_655_253_931_457_05),
            (2.5, 0.006_209_665_325_776_135),
            (4.0, 3.167_124_183_311_992_4e-5),
            (6.5, 4.016_000_583_859_118e-11),
            (9.0, 1.128_588_405_953_840_5e-19),
            (20.0, 2.753_624_118_606_233_7e-89),
            (36.0, 4.182_624_065_797_283e-284),
        ] {
            let (up, down) = (tail_up(x), tail_down(x));
            assert!(down <= tail && tail <= up, "{x}: {down:e} {tail:e} {up:e}");
            assert!(up - down <= tail * 1e-11, "{x}: {down:e} {up:e}");
        }
        assert!(tail_up(40.0) > 0.0 && tail_down(40.0) <= 0.0);
    }

    #[test]
    fn tail_quantile_is_the_normal_one() {
        // mpmath 1.3, mp.dps = 50: sqrt(2)*erfinv(1-2*mpf('1e-9')) and the same with 0.025
        assert!((tail_quantile(1e-9) - 5.997_807_015_007_686).abs() < 1e-8);
        assert!((tail_quantile(0.025) - 1.959_963_984_540_054).abs() < 1e-8);
        assert!(tail_quantile(0.025) >= 1.959_963_984_540_054);
        for probability in (1..300).map(|n| 0.5 * 0.9f64.powi(n)) {
            let z = tail_quantile(probability);
            let before = z.next_down();
            assert!(tail_up(z) <= probability && tail_up(before) > probability, "{probability}");
        }
    }

    /// How many users a cell needs for its key to be shown grows with z/μ: the quantile of the
    /// thresholds' δ over the noise that the rest of δ allows.
    #[test]
    fn the_best_split_of_delta_is_near_its_share() {
        for epsilon in ["0.1", "0.5", "1", "4"] {
            for (delta, cells) in
                [("1e-6", 1.0), ("1e-6", 256.0), ("1e-9", 8.0), ("1e-9", 1000.0), ("1e-12", 32.0)]
            {
                let (epsilon, delta) = (Epsilon::parse(epsilon), Delta::parse(delta));
                let (epsilon, delta) = (epsilon.unwrap(), delta.unwrap());
                let needed = |part: Delta| {
                    let loss = largest_loss(epsilon, delta, part).expect("something is left");
                    tail_quantile(part.value() / cells) / loss.mu_up().value()
                };
                let of = |percent: u64| Delta::from_units(delta.units() / 100 * percent);
                let best = (1..100).min_by(|&a, &b| needed(of(a)).total_cmp(&needed(of(b))));
                let best = best.unwrap();
                assert!((30..=55).contains(&best), "{epsilon} {delta} {cells}: {best} %");
                // And flat: its share asks for little more.
                assert!(needed(delta.threshold_share()) < needed(of(best)) * 1.004);
            }
        }
    }
}
