//! By what sums of one level differ from those of another, as far as noise tells.

use super::Sum;

/// A ratio that cells are multiplied with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::estimate) struct Ratio {
    pub(in crate::estimate) value: f64,
    /// The variance of its logarithm.
    pub(in crate::estimate) variance: f64,
}

impl Ratio {
    pub(super) const ONE: Ratio = Ratio { value: 1.0, variance: 0.0 };

    pub(super) fn times(self, other: Ratio) -> Ratio {
        Ratio { value: self.value * other.value, variance: self.variance + other.variance }
    }

    pub(super) fn to_the(self, power: f64) -> Ratio {
        Ratio { value: self.value.powf(power), variance: power * power * self.variance }
    }
}

/// How far ratios differ beside noise, as a deviation of their logarithms, is thought to be about
/// this beforehand, if they differ, where the fit takes such a share of what is multiplied: the
/// scale of a half-Cauchy law.
pub(super) fn usual(taken: f64) -> f64 {
    const OF_TAKEN: f64 = 0.3;
    const LEAST: f64 = 0.005;
    (OF_TAKEN * taken).max(LEAST)
}

/// The chance that they differ at all, beforehand.
const DIFFER: f64 = 0.5;

/// Ratios of their sums to ours, which are as large in all: the logarithm of each drawn towards 0
/// by its noise against how far they differ beside, of which each deviation counts as it is likely;
/// `taken` is what the fit takes of what is multiplied.
pub(super) fn ratios(ours: &[Sum], theirs: &[Sum], taken: f64) -> Vec<Ratio> {
    let log = |(own, their): (&Sum, &Sum)| {
        // What is mostly noise says nothing.
        let is_seen = |sum: &Sum| sum.0 > 4.0 * sum.1;
        let variance = (own.1 / own.0).powi(2) + (their.1 / their.0).powi(2);
        (is_seen(own) && is_seen(their)).then(|| ((their.0 / own.0).ln(), variance.max(1e-12)))
    };
    let logs: Vec<Option<(f64, f64)>> = ours.iter().zip(theirs).map(log).collect();
    if logs.iter().flatten().count() < 2 {
        return vec![Ratio::ONE; ours.len()];
    }
    let apart = deviations(&logs, usual(taken));
    let mean = |of: &dyn Fn(f64) -> f64| apart.iter().map(|(sd, p)| p * of(sd * sd)).sum::<f64>();
    let drawn = |log: &Option<(f64, f64)>| match *log {
        Some((log, variance)) => {
            let part = mean(&|between| between / (between + variance));
            let spread = mean(&|between| (between / (between + variance) - part).powi(2));
            let variance = part * variance + spread * log * log;
            Ratio { value: (part * log).exp(), variance }
        }
        None => Ratio { value: 1.0, variance: mean(&|between| between.min(1.0)) },
    };
    logs.iter().map(drawn).collect()
}

/// How far ratios may differ beside their noise, with how likely that is.
fn deviations(logs: &[Option<(f64, f64)>], usual: f64) -> Vec<(f64, f64)> {
    const FIRST: f64 = 0.002;
    const STEP: f64 = 1.25;
    let known = |sd: f64| {
        let one = |(log, variance): &(f64, f64)| {
            let variance = variance + sd * sd;
            -(variance.ln() + log * log / variance) / 2.0
        };
        logs.iter().flatten().map(one).sum::<f64>()
    };
    // Points are the farther apart the larger they are.
    let prior = |sd: f64| sd / (1.0 + (sd / usual).powi(2));
    let tried = || (0..33).map(|step| FIRST * STEP.powi(step));
    let whole = tried().map(prior).sum::<f64>();
    let mut all: Vec<(f64, f64)> = vec![(0.0, known(0.0) + (1.0 - DIFFER).ln())];
    all.extend(tried().map(|sd| (sd, known(sd) + (DIFFER * prior(sd) / whole).ln())));
    let best = all.iter().map(|(_, log)| *log).fold(f64::NEG_INFINITY, f64::max);
    all.iter_mut().for_each(|(_, log)| *log = (*log - best).exp());
    let sum: f64 = all.iter().map(|(_, p)| p).sum();
    all.iter_mut().for_each(|(_, p)| *p /= sum);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::shrink::tests::noise;

    #[test]
    fn what_noise_may_be_is_not_followed() {
        let (mut moved, mut place) = (0.0, 0);
        let mut sum = |sd: f64| {
            place += 1;
            (1_000.0 + sd * noise(place), sd)
        };
        for _ in 0..50 {
            let ours: Vec<Sum> = (0..12).map(|_| sum(60.0)).collect();
            let theirs: Vec<Sum> = (0..12).map(|_| sum(40.0)).collect();
            let found = ratios(&ours, &theirs, 0.3);
            moved += found.iter().map(|ratio| ratio.value.ln().abs()).sum::<f64>() / 600.0;
        }
        // Noise alone moves each ratio by 0.058 on average.
        assert!(moved < 0.015, "{moved}");
        assert_eq!(ratios(&[(100.0, 1.0)], &[(50.0, 1.0)], 0.3), [Ratio::ONE]);
        assert!(ratios(&[], &[], 0.3).is_empty());
    }

    #[test]
    fn what_the_fit_takes_little_of_differs_little() {
        let mut place = 0;
        let mut sum = |sd: f64| {
            place += 1;
            (1_000.0 + sd * noise(place), sd)
        };
        let sums: Vec<(Sum, Sum)> = (0..200).map(|_| (sum(60.0), sum(40.0))).collect();
        let moved = |taken: f64| {
            let of = |five: &[(Sum, Sum)]| {
                let (ours, theirs): (Vec<Sum>, Vec<Sum>) = five.iter().copied().unzip();
                ratios(&ours, &theirs, taken).iter().map(|r| r.value.ln().abs()).sum::<f64>()
            };
            sums.chunks(5).map(of).sum::<f64>() / 200.0
        };
        let [little, much] = [moved(0.05), moved(0.5)];
        assert!(little < 0.7 * much, "{little} {much}");
    }

    #[test]
    fn ratios_that_differ_by_more_are_drawn_by_their_noise() {
        let mut ours = vec![(1_000.0, 10.0); 8];
        let mut theirs = ours.clone();
        theirs[0].0 = 500.0;
        theirs[1].0 = 1_300.0;
        // Mostly noise, and hardly any.
        (ours[2], theirs[2]) = ((1_000.0, 300.0), (500.0, 10.0));
        (ours[3], theirs[3]) = ((1_000.0, 150.0), (500.0, 10.0));
        let found = ratios(&ours, &theirs, 1.0 / 3.0);
        let sds: Vec<f64> = found.iter().map(|ratio| ratio.variance.sqrt()).collect();
        let found: Vec<f64> = found.iter().map(|ratio| ratio.value).collect();
        assert!((found[0] - 0.5).abs() < 0.01 && (found[1] - 1.3).abs() < 0.01, "{found:?}");
        assert!((found[2] - 1.0).abs() < 1e-9 && (0.5..0.7).contains(&found[3]), "{found:?}");
        assert!(found[4..].iter().all(|ratio| (ratio - 1.0).abs() < 0.001), "{found:?}");
        // As unsure as its noise leaves it; of what is mostly noise, as ratios differ.
        assert!((sds[0] - 0.01f64.hypot(0.02)).abs() < 0.001, "{sds:?}");
        assert!((0.1..0.15).contains(&sds[3]) && (0.15..0.5).contains(&sds[2]), "{sds:?}");
    }
}
