//! Ceilings that a guarantee sets for attacks, and bounds from counts. Plain formulas of the
//! literature, apart from the plan's arithmetic.

/// P[N(0,1) > x].
pub(super) fn tail(x: f64) -> f64 {
    libm::erfc(x * std::f64::consts::FRAC_1_SQRT_2) / 2.0
}

/// The x with P[N(0,1) > x] = p.
pub(super) fn quantile(p: f64) -> f64 {
    let (mut low, mut high) = (-40.0, 40.0);
    for _ in 0..200 {
        let middle = (low + high) / 2.0;
        if tail(middle) > p { low = middle } else { high = middle }
    }
    high
}

/// The most true alarms of any test with `alarms` false ones, under (ε, δ): min(e^ε α + δ,
/// 1 − e^-ε (1 − δ − α)).
pub(super) fn power(epsilon: f64, delta: f64, alarms: f64) -> f64 {
    let rising = epsilon.exp() * alarms + delta;
    let falling = 1.0 - (-epsilon).exp() * (1.0 - delta - alarms);
    rising.min(falling).clamp(0.0, 1.0)
}

/// The most true alarms of any test with `alarms` false ones, under μ-GDP: Φ(Φ⁻¹(α) + μ).
pub(super) fn power_gdp(mu: f64, alarms: f64) -> f64 {
    tail(quantile(alarms) - mu)
}

/// δ of μ-GDP at ε.
pub(super) fn delta(mu: f64, epsilon: f64) -> f64 {
    let (x, y) = (epsilon / mu, mu / 2.0);
    tail(x - y) - epsilon.exp() * tail(x + y)
}

/// ε of μ-GDP at δ.
pub(super) fn epsilon(mu: f64, wanted: f64) -> f64 {
    let (mut low, mut high) = (0.0, 100.0);
    if mu <= 0.0 || delta(mu, low) <= wanted {
        return 0.0;
    }
    for _ in 0..200 {
        let middle = (low + high) / 2.0;
        if delta(mu, middle) > wanted { low = middle } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_the_known_ones() {
        assert!((quantile(0.05) - 1.644_853_626_951_472).abs() < 1e-12);
        // mpmath, 50 digits: δ of μ = 1/2 at ε = 1.
        assert!((delta(0.5, 1.0) - 0.006_829_594_983).abs() < 1e-11);
        assert!((epsilon(0.5, delta(0.5, 1.0)) - 1.0).abs() < 1e-9);
        assert!((power(1.0, 1e-6, 0.01) - 0.027_183_818).abs() < 1e-6);
        assert!((power(1.0, 0.0, 0.9) - (1.0 - 0.1 / 1f64.exp())).abs() < 1e-12);
        // No test beats chance without loss.
        assert!((power_gdp(0.0, 0.01) - 0.01).abs() < 1e-12);
    }
}
