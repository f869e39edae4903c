//! Histograms: each bin is drawn towards its share of all payments.

use super::Z95;
use super::reconcile::Values;

/// One bin of all cells, of which `known` says how many payments they have in all: drawn from the
/// noised number towards the share that the bin has in all cells of the same currency together, the
/// more the less cells differ in it. Never further from the noised number than its interval reaches
/// (`half`).
pub(super) fn drawn(
    noisy: &[f64],
    known: Option<&[f64]>,
    currencies: &[u32],
    half: impl Fn(usize, f64) -> f64,
) -> Values {
    let mut values = Values::zeros(noisy.len());
    let last = currencies.iter().max().map_or(0, |&last| last);
    for currency in 0..=last {
        let cells = (0..noisy.len()).filter(|&cell| currencies[cell] == currency);
        fill(&mut values, &cells.collect::<Vec<_>>(), noisy, known, &half);
    }
    values
}

/// Those of some cells.
fn fill(
    values: &mut Values,
    cells: &[usize],
    noisy: &[f64],
    known: Option<&[f64]>,
    half: &impl Fn(usize, f64) -> f64,
) {
    let size = |cell: usize| known.map_or(1.0, |known| known[cell].max(0.0));
    let whole: f64 = cells.iter().map(|&cell| size(cell)).sum();
    let seen: f64 = cells.iter().map(|&cell| noisy[cell]).sum();
    let share = (seen / whole.max(f64::MIN_POSITIVE)).max(0.0);
    let expected = |cell: usize| share * size(cell);
    // Of (y − m)², what noise does not explain, against m²: the relative variance between cells.
    let noise = |cell: usize| (half(cell, 0.0) / Z95).powi(2);
    let (mut over, mut squares) = (0.0, 0.0);
    for &cell in cells {
        over += (noisy[cell] - expected(cell)).powi(2) - noise(cell);
        squares += expected(cell).powi(2);
    }
    let between = (over / squares.max(f64::MIN_POSITIVE)).clamp(0.0025, 4.0);
    for &cell in cells {
        let y = noisy[cell];
        let prior = between * expected(cell).powi(2);
        let own = prior / (prior + noise(cell));
        let mean = expected(cell) + own * (y - expected(cell));
        let reach = half(cell, y.max(mean));
        values.means[cell] = mean.clamp(y - reach, y + reach).max(0.0);
        values.variances[cell] = own * noise(cell);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_drawn_to_their_share_as_far_as_noise_goes() {
        let payments = [100.0, 200.0, 400.0, 800.0];
        // A quarter of all payments, but for the last cell.
        let noisy = [26.0, 49.0, 101.0, 160.0];
        let sharp = drawn(&noisy, Some(&payments), &[0; 4], |_, _| 0.01);
        assert!(sharp.means.iter().zip(noisy).all(|(x, y)| (x - y).abs() < 0.02));
        let blurred = drawn(&noisy, Some(&payments), &[0; 4], |_, _| 60.0);
        let share = 336.0 / 1500.0;
        for (found, payments) in blurred.means.iter().zip(payments) {
            assert!((found - share * payments).abs() < 0.15 * share * payments, "{found}");
        }
    }

    #[test]
    fn bins_of_currencies_have_shares_of_their_own() {
        let payments = [100.0, 200.0, 400.0, 800.0];
        let noisy = [51.0, 19.0, 199.0, 82.0];
        let found = drawn(&noisy, Some(&payments), &[0, 1, 0, 1], |_, _| 60.0);
        for (found, share) in found.means.iter().zip(payments).zip([0.5, 0.1, 0.5, 0.1]) {
            assert!((found.0 / found.1 / share - 1.0).abs() < 0.1, "{found:?} {share}");
        }
    }

    #[test]
    fn bins_are_not_below_zero() {
        let found = drawn(&[-30.0, -20.0, 5.0], None, &[0; 3], |_, _| 10.0);
        assert!(found.means.iter().all(|&x| x >= 0.0), "{:?}", found.means);
    }
}
