//! The price of discrete Gaussian noise in μ² (Lemma 3 of `docs/privacy.md`).

use super::units::{MuSquared, Sensitivity};

/// r² of Lemma 3: noise of variance σ² costs as much as real noise of variance σ² − r².
///
/// A larger one makes the two more alike, to within 6 e^(−2π²r²) in the logarithm of every
/// probability, and costs more: μ² is larger by the factor σ²/(σ² − r²).
const ROUNDING_VARIANCE: u128 = 16;

impl MuSquared {
    /// ⌈2⁶⁰ · sensitivity²/(σ² − 16)⌉ units: the price of discrete Gaussian noise on the integers
    /// with parameter σ; both in grid units. `None` unless 4 < σ ≤ 2⁶² and the price is below 2⁶⁰.
    ///
    /// ```
    /// use discretail::privacy::{MuSquared, Sensitivity};
    ///
    /// let one = Sensitivity::new(1).expect("positive");
    /// // 1/(5² − 4²) = 1/9
    /// let price = MuSquared::of_discrete_gaussian_up(one, 5).expect("σ is above 4");
    /// assert_eq!(price.units(), (1u128 << 60).div_ceil(9));
    /// ```
    pub fn of_discrete_gaussian_up(sensitivity: Sensitivity, sigma: u64) -> Option<Self> {
        of_rounded_up(sensitivity, sigma, ROUNDING_VARIANCE)
    }
}

fn of_rounded_up(sensitivity: Sensitivity, sigma: u64, rounding: u128) -> Option<MuSquared> {
    let square = |x: u64| u128::from(x) * u128::from(x);
    let variance = square(sigma).checked_sub(rounding).filter(|&v| v > 0 && v < 1 << 124)?;
    (square(sensitivity.grid_units()) / variance < 1 << 60)
        .then(|| MuSquared::of_gaussian_up(sensitivity, variance))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privacy::delta_of;
    use std::f64::consts::PI;

    /// P[Z = k] of discrete Gaussian noise, for |k| up to 14 σ.
    fn law(sigma: u64) -> Vec<f64> {
        let most = 14 * sigma as i64;
        let variance = (sigma * sigma) as f64;
        let weights: Vec<f64> =
            (-most..=most).map(|k| (-((k * k) as f64) / (2.0 * variance)).exp()).collect();
        let sum: f64 = weights.iter().sum();
        weights.iter().map(|w| w / sum).collect()
    }

    /// The least δ at ε for noise of `sigma` on each coordinate and totals that differ by `shift`:
    /// Σ max(0, P(k) − e^ε P(k − shift)), with all k within 14 σ.
    fn exact_delta(law: &[f64], shift: &[usize], epsilon: f64) -> f64 {
        let at = |k: usize, a: usize| k.checked_sub(a).map_or(0.0, |k| law[k]);
        let sum = |p: f64, q: f64, a: usize| -> f64 {
            (0..law.len()).map(|k| (p * law[k] - epsilon.exp() * q * at(k, a)).max(0.0)).sum()
        };
        match *shift {
            [a] => sum(1.0, 1.0, a),
            [a, b] => (0..law.len()).map(|k| sum(law[k], at(k, a), b)).sum(),
            _ => panic!("one or two coordinates"),
        }
    }

    /// An upper bound on δ by Lemma 3 with r² = `rounding`, in `d` coordinates.
    fn bound(sensitivity: u64, sigma: u64, rounding: u128, d: usize, epsilon: f64) -> f64 {
        let sensitivity = Sensitivity::new(sensitivity).expect("valid");
        let mu = of_rounded_up(sensitivity, sigma, rounding).expect("a price").mu_up();
        let theta = 2.1 * (-2.0 * PI * PI * rounding as f64).exp();
        let eta = 3.0 * theta * d as f64;
        eta.exp() * delta_of(mu, (epsilon - 2.0 * eta).max(0.0))
    }

    /// Losses up to where δ is below 1e-13, at places that are no multiples of the loss's steps.
    fn losses(norm: u64, sigma: u64) -> impl Iterator<Item = f64> {
        let mu = norm as f64 / sigma as f64;
        (0..40).map(move |step| f64::from(step) * 0.19 * mu + mu * mu / 2.0)
    }

    #[test]
    fn the_exact_loss_of_one_coordinate_is_within_the_price() {
        for sigma in [5, 8, 16, 64] {
            let law = law(sigma);
            for shift in [1, 2, 8] {
                for epsilon in losses(shift, sigma) {
                    let exact = exact_delta(&law, &[shift as usize], epsilon);
                    for rounding in [1, 2, ROUNDING_VARIANCE] {
                        let bound = bound(shift, sigma, rounding, 1, epsilon);
                        let place = format!("{shift}/{sigma} at {epsilon}, r² = {rounding}");
                        assert!(exact <= bound + 1e-15, "{place}: {exact:e} > {bound:e}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_exact_loss_of_two_coordinates_is_within_the_price() {
        // Shifts whose norm is a whole number.
        for (a, b, norm) in [(3, 4, 5), (6, 8, 10), (5, 12, 13)] {
            for sigma in [5, 8, 16] {
                let law = law(sigma);
                for epsilon in losses(norm, sigma).step_by(3) {
                    let exact = exact_delta(&law, &[a, b], epsilon);
                    for rounding in [1, 2, ROUNDING_VARIANCE] {
                        let bound = bound(norm, sigma, rounding, 2, epsilon);
                        let place = format!("({a}, {b})/{sigma} at {epsilon}, r² = {rounding}");
                        assert!(exact <= bound + 1e-15, "{place}: {exact:e} > {bound:e}");
                    }
                }
            }
        }
    }

    #[test]
    fn real_noise_would_be_priced_too_low() {
        // So the slack is needed: without it the curve is exceeded by this much somewhere.
        for (shift, sigma, excess) in [(1, 5, 1.01), (1, 16, 1.003), (2, 16, 1.001)] {
            let law = law(sigma);
            let most = losses(shift, sigma)
                .map(|epsilon| {
                    let exact = exact_delta(&law, &[shift as usize], epsilon);
                    (exact / bound(shift, sigma, 0, 0, epsilon), exact)
                })
                .filter(|&(_, exact)| exact > 1e-12)
                .map(|(ratio, _)| ratio)
                .fold(0.0, f64::max);
            assert!(most > excess, "{shift}/{sigma}: {most}");
        }
    }

    #[test]
    fn a_fine_grid_costs_next_to_nothing() {
        let sensitivity = Sensitivity::new(12_345).expect("valid");
        let (real, discrete) = (
            MuSquared::of_gaussian_up(sensitivity, 1 << 32),
            MuSquared::of_discrete_gaussian_up(sensitivity, 1 << 16).expect("a price"),
        );
        assert!(discrete > real);
        assert!(discrete.value_up() / real.value_up() < 1.0 + 4e-9);
    }

    #[test]
    fn a_grid_too_coarse_has_no_price() {
        let sensitivity = Sensitivity::new(1).expect("valid");
        for sigma in [0, 1, 4, (1 << 62) + 1] {
            assert_eq!(MuSquared::of_discrete_gaussian_up(sensitivity, sigma), None, "{sigma}");
        }
        let most = Sensitivity::new(Sensitivity::LIMIT - 1).expect("valid");
        assert_eq!(MuSquared::of_discrete_gaussian_up(most, 5), None);
    }
}
