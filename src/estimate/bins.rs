//! Histograms: each bin is drawn towards its share of all payments.

use super::Z95;
use super::reconcile::Values;

/// One bin of all cells, of which `known` says how many payments they have in all: drawn from the
/// noised number towards the share that the bin has in all cells together, the more the less cells
/// differ in it. Never further from the noised number than its interval reaches (`half`).
pub(super) fn drawn(
    noisy: &[f64],
    known: Option<&[f64]>,
    half: impl Fn(usize, f64) -> f64,
) -> Values {
    let size = |cell: usize| known.map_or(1.0, |known| known[cell].max(0.0));
    let whole: f64 = (0..noisy.len()).map(size).sum();
    let share = (noisy.iter().sum::<f64>() / whole.max(f64::MIN_POSITIVE)).max(0.0);
    let expected = |cell: usize| share * size(cell);
    // Of (y − m)², what noise does not explain, against m²: the relative variance between cells.
    let noise = |cell: usize| (half(cell, 0.0) / Z95).powi(2);
    let (mut over, mut squares) = (0.0, 0.0);
    for (cell, y) in noisy.iter().enumerate() {
        over += (y - expected(cell)).powi(2) - noise(cell);
        squares += expected(cell).powi(2);
    }
    let between = (over / squares.max(f64::MIN_POSITIVE)).clamp(0.0025, 4.0);
    let mut values = Values::zeros(noisy.len());
    for (cell, &y) in noisy.iter().enumerate() {
        let prior = between * expected(cell).powi(2);
        let own = prior / (prior + noise(cell));
        let mean = expected(cell) + own * (y - expected(cell));
        let reach = half(cell, y.max(mean));
        values.means[cell] = mean.clamp(y - reach, y + reach).max(0.0);
        values.variances[cell] = own * noise(cell);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_drawn_to_their_share_as_far_as_noise_goes() {
        let payments = [100.0, 200.0, 400.0, 800.0];
        // A quarter of all payments, but for the last cell.
        let noisy = [26.0, 49.0, 101.0, 160.0];
        let sharp = drawn(&noisy, Some(&payments), |_, _| 0.01);
        assert!(sharp.means.iter().zip(noisy).all(|(x, y)| (x - y).abs() < 0.02));
        let blurred = drawn(&noisy, Some(&payments), |_, _| 60.0);
        let share = 336.0 / 1500.0;
        for (found, payments) in blurred.means.iter().zip(payments) {
            assert!((found - share * payments).abs() < 0.15 * share * payments, "{found}");
        }
    }

    #[test]
    fn bins_are_not_below_zero() {
        let found = drawn(&[-30.0, -20.0, 5.0], None, |_, _| 10.0);
        assert!(found.means.iter().all(|&x| x >= 0.0), "{:?}", found.means);
    }
}
