//! What all series together have at a time.

use super::joint::Observed;
use super::panel::Panel;

/// Times differ by about a quarter: the variance of that.
pub(super) const TIMES_DIFFER: f64 = 0.06;

/// What else is known of cells misses times by about a tenth: the variance of that.
pub(super) const RATIOS_DIFFER: f64 = 0.01;

/// What is expected of cells among each other, with what all series together have at their time: as
/// much more or less than `expected` of all of them, drawn to what they have at all times by noise
/// against how far times `differ`.
pub(super) fn seasons(panel: &Panel, seen: &Observed, expected: &[f64], differ: f64) -> Vec<f64> {
    let times = panel.times.iter().max().map_or(0, |&last| last as usize + 1);
    let mut sums = vec![Time::default(); times];
    for (cell, &time) in panel.times.iter().enumerate() {
        let sum = &mut sums[time as usize];
        sum.values += seen.values[cell];
        sum.squares += seen.sds[cell].powi(2);
        sum.expected += expected[cell];
    }
    let mean_of = |weight: &dyn Fn(&Time) -> f64| {
        let all = sums.iter().filter(|time| time.expected > 0.0);
        let all = all.map(|time| (time.ratio(), time.expected * weight(time)));
        let (sum, weights) = all.fold((0.0, 0.0), |(sum, all), (y, w)| (sum + w * y, all + w));
        sum / f64::max(weights, f64::MIN_POSITIVE)
    };
    // Where a release has no such statistic, the noise is so large that it counts for nothing.
    let first = mean_of(&|time| 1.0 / time.variance());
    let mean = mean_of(&|time| 1.0 / (time.variance() + differ * first * first));
    let season = |time: &Time| {
        if mean <= 0.0 || time.expected <= 0.0 {
            return 1.0;
        }
        let variance = time.variance() / (mean * mean);
        ((time.ratio() / mean * differ + variance) / (differ + variance)).max(0.05)
    };
    let seasons: Vec<f64> = sums.iter().map(season).collect();
    expected.iter().zip(&panel.times).map(|(a, &time)| a * seasons[time as usize]).collect()
}

/// All series at one time.
#[derive(Clone, Copy, Debug, Default)]
struct Time {
    values: f64,
    /// Variance of their sum's noise.
    squares: f64,
    expected: f64,
}

impl Time {
    fn ratio(&self) -> f64 {
        self.values / self.expected
    }

    /// Of the ratio, by noise.
    fn variance(&self) -> f64 {
        self.squares / self.expected.powi(2)
    }
}

#[cfg(test)]
mod tests {
    use super::super::shrink::tests::panel;
    use super::*;

    #[test]
    fn times_are_told_by_what_is_seen_of_them() {
        let panel = panel(50, 4);
        let of_time = [60.0, 100.0, 140.0, 100.0];
        let noisy: Vec<f64> = (0..200).map(|cell| of_time[cell % 4]).collect();
        let found = |values: &[f64], sds: &[f64]| {
            let seen = Observed { values: values.to_vec(), sds: sds.to_vec() };
            seasons(&panel, &seen, &[1.0; 200], TIMES_DIFFER)
        };
        let all = found(&noisy, &[1.0; 200]);
        for (cell, season) in all.iter().enumerate() {
            assert!((season - of_time[cell % 4] / 100.0).abs() < 0.01, "{cell}: {season}");
        }
        // Where a release has no such statistic, it is a usual time, and the others stay as they
        // are.
        let mut blind = noisy.clone();
        let mut sds = vec![1.0; 200];
        for cell in (0..200).step_by(4) {
            (blind[cell], sds[cell]) = (0.0, 1e6);
        }
        let without = found(&blind, &sds);
        let mean = 340.0 / 3.0;
        for (cell, season) in without.iter().enumerate() {
            let wanted = if cell.is_multiple_of(4) { 1.0 } else { of_time[cell % 4] / mean };
            assert!((season - wanted).abs() < 0.01, "{cell}: {season}");
        }
        // A time of much noise is drawn to the others.
        let sds: Vec<f64> = (0..200).map(|cell| if cell % 4 == 2 { 1e3 } else { 1.0 }).collect();
        let drawn = found(&noisy, &sds)[2];
        assert!((1.0..1.1).contains(&drawn), "{drawn}");
    }
}
