//! Tail probabilities for tests of noise: chi², normal and Poisson.

use super::curve::tail;

/// P[|N(0,1)| > |x|].
pub(super) fn two_sided(x: f64) -> f64 {
    2.0 * tail(x.abs())
}

/// P[χ² with `k` degrees of freedom > x]: the regularized upper incomplete gamma function of k/2
/// and x/2, by its series below the mean and Lentz's continued fraction above.
pub(super) fn chi_squared_tail(x: f64, k: f64) -> f64 {
    let (a, x) = (k / 2.0, x / 2.0);
    if x <= 0.0 {
        return 1.0;
    }
    let front = (a * x.ln() - x - libm::lgamma(a)).exp();
    if x < a + 1.0 {
        let (mut term, mut sum, mut n) = (1.0 / a, 1.0 / a, a);
        while term > sum * 1e-16 {
            n += 1.0;
            term *= x / n;
            sum += term;
        }
        return (1.0 - front * sum).max(0.0);
    }
    let tiny = 1e-300;
    let mut b = x + 1.0 - a;
    let (mut c, mut d) = (1.0 / tiny, 1.0 / b);
    let mut fraction = d;
    for i in 1..100_000 {
        let i = f64::from(i);
        let an = -i * (i - a);
        b += 2.0;
        d = 1.0 / floor(an * d + b, tiny);
        c = floor(b + an / c, tiny);
        fraction *= d * c;
        if (d * c - 1.0).abs() < 1e-15 {
            break;
        }
    }
    (front * fraction).clamp(0.0, 1.0)
}

fn floor(x: f64, tiny: f64) -> f64 {
    if x.abs() < tiny { tiny } else { x }
}

/// Twice the smaller of P[Poisson(mean) ≤ n] and P[≥ n], by way of χ².
pub(super) fn poisson_two_sided(n: u64, mean: f64) -> f64 {
    let n = n as f64;
    let at_most = chi_squared_tail(2.0 * mean, 2.0 * (n + 1.0));
    let at_least = if n > 0.0 { 1.0 - chi_squared_tail(2.0 * mean, 2.0 * n) } else { 1.0 };
    (2.0 * at_most.min(at_least)).min(1.0)
}

/// The ends of the Clopper-Pearson interval for `hits` of `n`, each wrong with probability `alpha`.
pub(super) fn clopper_pearson(hits: u64, n: u64, alpha: f64) -> (f64, f64) {
    // P[Binomial(n, p) ≥ k] grows with p.
    let solve = |k: u64, wanted: f64| {
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..60 {
            let p = (low + high) / 2.0;
            if at_least(k, n, p) > wanted { high = p } else { low = p }
        }
        low
    };
    let low = if hits == 0 { 0.0 } else { solve(hits, alpha) };
    let high = if hits == n { 1.0 } else { solve(hits + 1, 1.0 - alpha) };
    (low, high)
}

/// The mean, and Student's lower bound on its expectation, wrong with probability `alpha`.
pub(super) fn student_low(values: &[f64], alpha: f64) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let (mut low, mut high) = (0.0, 1e3);
    for _ in 0..60 {
        let t = (low + high) / 2.0;
        if student_tail(t, n - 1.0) > alpha { low = t } else { high = t }
    }
    (mean, mean - high * (variance / n).sqrt())
}

/// P[t with `k` degrees of freedom > t], t ≥ 0: the density over the angle whose tangent is t/√k,
/// by Simpson's rule.
fn student_tail(t: f64, k: f64) -> f64 {
    let scale = (libm::lgamma((k + 1.0) / 2.0) - libm::lgamma(k / 2.0)).exp();
    let scale = scale / std::f64::consts::PI.sqrt();
    let (from, to) = ((t / k.sqrt()).atan(), std::f64::consts::FRAC_PI_2);
    let (steps, step) = (2_000, (to - from) / 2_000.0);
    let density = |n: i32| (from + f64::from(n) * step).cos().max(0.0).powf(k - 1.0);
    let inner = (1..steps).map(|n| density(n) * if n % 2 == 1 { 4.0 } else { 2.0 });
    scale * step / 3.0 * (density(0) + inner.sum::<f64>() + density(steps))
}

/// P[Binomial(n, p) ≥ k]: the sum of terms from k on, or one less those before, whichever are
/// fewer.
fn at_least(k: u64, n: u64, p: f64) -> f64 {
    if p <= 0.0 || p >= 1.0 {
        return if p >= 1.0 || k == 0 { 1.0 } else { 0.0 };
    }
    let log = |k: u64| {
        let (k, n) = (k as f64, n as f64);
        libm::lgamma(n + 1.0) - libm::lgamma(k + 1.0) - libm::lgamma(n - k + 1.0)
            + k * p.ln()
            + (n - k) * libm::log1p(-p)
    };
    let mean = n as f64 * p;
    let odds = p / (1.0 - p);
    if k as f64 > mean {
        let (mut term, mut sum) = (log(k).exp(), 0.0);
        for i in k..=n {
            sum += term;
            term *= (n - i) as f64 / (i + 1) as f64 * odds;
            if term < sum * 1e-17 {
                break;
            }
        }
        return sum.min(1.0);
    }
    if k == 0 {
        return 1.0;
    }
    let (mut term, mut sum) = (log(k - 1).exp(), 0.0);
    for i in (0..k).rev() {
        sum += term;
        term *= i as f64 / (n - i + 1) as f64 / odds;
        if term < sum * 1e-17 {
            break;
        }
    }
    (1.0 - sum).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tables of chi squared, the normal law, and e^-12.
    #[test]
    fn tails_are_the_known_ones() {
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9 * b.abs().max(1e-6), "{a} {b}");
        close(chi_squared_tail(3.841_458_820_694_124, 1.0), 0.05);
        close(chi_squared_tail(124.342_113_404_004, 100.0), 0.05);
        close(two_sided(1.959_963_984_540_054), 0.05);
        close(poisson_two_sided(0, 12.0), 2.0 * (-12.0f64).exp());
        let (low, high) = clopper_pearson(10, 100, 0.025);
        // R: binom.test(10, 100).
        assert!((low - 0.049_004_69).abs() < 1e-8 && (high - 0.176_222_60).abs() < 1e-8);
    }

    /// Tables of Student's law, and a mean by hand.
    #[test]
    fn means_are_bounded_by_students_law() {
        for (t, k, p) in [(1.684, 40.0, 0.05), (3.558, 39.0, 0.0005), (2.132, 4.0, 0.05)] {
            assert!((student_tail(t, k) / p - 1.0).abs() < 1e-3, "{t} {k}: {}", student_tail(t, k));
        }
        let (mean, low) = student_low(&[1.0, 2.0, 3.0, 4.0, 5.0], 0.05);
        // 3 - 2.132 · √2.5 / √5.
        assert!((mean - 3.0).abs() < 1e-12 && (low - 1.492_5).abs() < 1e-3, "{mean} {low}");
    }

    #[test]
    fn intervals_have_their_coverage() {
        for (n, p) in [(50u64, 0.1), (2_000, 0.3)] {
            let (low, high) = clopper_pearson((n as f64 * p) as u64, n, 0.01);
            let hits = (n as f64 * p) as u64;
            assert!((at_least(hits, n, low) - 0.01).abs() < 1e-9);
            assert!((1.0 - at_least(hits + 1, n, high) - 0.01).abs() < 1e-9);
        }
    }
}
