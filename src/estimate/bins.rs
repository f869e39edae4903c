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
