//! The law that most likely is behind a noised histogram of norms or tickets.

use std::sync::LazyLock;

use super::SurveyPlan;

/// Standard deviations by which a bin must differ from the fitted law to count as it is. Noise does
/// so in one of a million jobs with twenty surveys of 64 bins: a few users far out, of whom each
/// has more than all others together, would make a bound that leaves nothing but noise.
const DIFFERENT: f64 = 6.0;

/// A bin is believed as far as it differs from the fitted law by more than noise does.
pub(super) fn believed(fitted: f64, seen: f64, sd: f64) -> f64 {
    let difference = seen - fitted;
    let trust = (1.0 - (DIFFERENT * sd / difference).powi(4)).max(0.0);
    (fitted + difference * trust).max(0.0)
}

/// Noised numbers by bin without what looks like noise alone.
pub(super) fn smoothed(bins: &[f64], sd: f64, expected_peak: f64) -> Vec<f64> {
    let (law, all) = likeliest(bins, sd, expected_peak);
    let number = |(bin, &seen): (usize, &f64)| believed(all * law.bin(bin), seen, sd);
    bins.iter().enumerate().map(number).collect()
}

/// A law of norms in half octaves: normal, with a width of its own on each side of the peak, as
/// many users have little and few have much, or the other way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Law {
    peak: f64,
    left: f64,
    right: f64,
}

impl Law {
    /// The share below.
    fn below(self, x: f64) -> f64 {
        let half = |width: f64, distance: f64| {
            // Both halves meet at the peak with the same density.
            let weight = width / (self.left + self.right);
            weight * libm::erfc(distance / (width * std::f64::consts::SQRT_2))
        };
        match x {
            _ if x < self.peak => half(self.left, self.peak - x),
            _ => 1.0 - half(self.right, x - self.peak),
        }
    }

    /// The same with widths of at least a bin: narrower ones tell nothing of where in a bin users
    /// are.
    pub(super) fn no_narrower_than_a_bin(self) -> Law {
        Law { left: self.left.max(1.0), right: self.right.max(1.0), ..self }
    }

    pub(super) fn between(self, low: f64, high: f64) -> f64 {
        self.below(high) - self.below(low)
    }

    /// The share of a bin of a survey; what lies outside is in the first or last.
    pub(super) fn bin(self, bin: usize) -> f64 {
        let low = if bin == 0 { 0.0 } else { self.below(bin as f64) };
        let high = if bin + 1 == SurveyPlan::BINS { 1.0 } else { self.below((bin + 1) as f64) };
        high - low
    }
}

/// The most likely law of a noised histogram, and its users, at least 1.
///
/// Least squares over the peak and both widths, with a prior for each; the number of users follows.
/// Bins that hold noise alone then hardly count, however many there are.
pub(super) fn likeliest(bins: &[f64], sd: f64, expected_peak: f64) -> (Law, f64) {
    let weighed = |tried: &'static Tried| (tried.likelihood(bins, sd, expected_peak), tried);
    let first = (f64::NEG_INFINITY, &LAWS[0]);
    let best = LAWS.iter().map(weighed).fold(first, |a, b| if b.0 > a.0 { b } else { a });
    (best.1.law, (best.1.both(bins).max(0.0) / best.1.square).max(1.0))
}

/// Shares by bin of the laws that are most likely, at most so many, each with the logarithm of how
/// likely it was beforehand.
pub(super) fn likely(
    bins: &[f64],
    sd: f64,
    expected_peak: f64,
    most: usize,
) -> Vec<(f64, &'static [f64])> {
    let weighed = |tried: &'static Tried| (tried.likelihood(bins, sd, expected_peak), tried);
    let mut laws: Vec<(f64, &Tried)> = LAWS.iter().map(weighed).collect();
    laws.sort_by(|a, b| b.0.total_cmp(&a.0));
    laws.truncate(most);
    laws.into_iter().map(|(_, tried)| (tried.prior(expected_peak), &tried.shares[..])).collect()
}

/// A law with its shares by bin and Σ of their squares.
struct Tried {
    law: Law,
    shares: Vec<f64>,
    square: f64,
}

impl Tried {
    /// Σ of products with the bins.
    fn both(&self, bins: &[f64]) -> f64 {
        self.shares.iter().zip(bins).map(|(p, n)| p * n).sum()
    }

    /// The logarithm of how likely the law is beforehand.
    fn prior(&self, expected_peak: f64) -> f64 {
        // Half octaves: of the peak against what is expected, and of widths by their logarithm.
        const PEAK_SD: f64 = 8.0;
        const WIDTH: f64 = 2.0;
        let distance = (self.law.peak - expected_peak) / PEAK_SD;
        let (left, right) = ((self.law.left / WIDTH).log2(), (self.law.right / WIDTH).log2());
        -(distance * distance + left * left + right * right) / 2.0
    }

    /// The logarithm of how likely the law is, given the bins, but for what all laws have.
    fn likelihood(&self, bins: &[f64], sd: f64, expected_peak: f64) -> f64 {
        // Of Σ(n − Np)², what the best N = both/square takes away.
        let gain = self.both(bins).max(0.0).powi(2) / self.square;
        gain / (2.0 * sd * sd) + self.prior(expected_peak)
    }
}

/// All laws that are tried.
static LAWS: LazyLock<Vec<Tried>> = LazyLock::new(|| {
    const WIDTHS: [f64; 9] = [0.1, 0.3, 0.6, 1.0, 1.5, 2.2, 3.2, 4.5, 6.5];
    const STEPS: usize = 4;
    let mut laws = Vec::new();
    for peak in (0..SurveyPlan::BINS * STEPS).map(|step| (step as f64 + 0.5) / STEPS as f64) {
        for left in WIDTHS {
            for right in WIDTHS {
                let law = Law { peak, left, right };
                let shares: Vec<f64> = (0..SurveyPlan::BINS).map(|bin| law.bin(bin)).collect();
                let square = shares.iter().map(|p| p * p).sum();
                laws.push(Tried { law, shares, square });
            }
        }
    }
    laws
});
