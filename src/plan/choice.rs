//! The norm bound that makes the whole error least, from a noised histogram of norms.
//!
//! Post-processing: whatever it answers is valid. The rule is written in *Chosen bounds* of
//! `docs/privacy.md`.

use std::sync::LazyLock;

use super::SurveyPlan;

/// Points at which a bin's users are thought to be.
const POINTS: usize = 4;

/// Standard deviations by which a bin must differ from the fitted law to count as it is.
const DIFFERENT: f64 = 3.0;

/// The users' norms of one statistic, as far as a survey tells.
#[derive(Clone, Debug)]
pub(super) struct NormLaw {
    /// Norm and number of users, norms ascending.
    points: Vec<(f64, f64)>,
    /// Σ|x|/‖x‖₂ of a user; `None`: as large as the norm.
    spread: Option<f64>,
    /// Fewer users than these cannot be told from noise.
    doubt: f64,
}

impl NormLaw {
    /// From noised numbers of users by bin, with the standard deviation of the noise, and the
    /// noised sum of spreads with its own. `whole`: norms are roots of whole numbers.
    pub(super) fn new(bins: &[f64], sd: f64, spread: Option<(f64, f64)>, whole: bool) -> NormLaw {
        let (fitted, total) = fit(bins);
        // A bin is believed as far as it differs from the fitted law by more than noise does.
        let believed = |(&seen, law): (&f64, f64)| {
            let difference = seen - law;
            let trust = 1.0 - (DIFFERENT * sd / difference).powi(2);
            (law + difference * trust.max(0.0)).max(0.0)
        };
        let users: Vec<f64> = bins.iter().zip(fitted).map(believed).collect();
        let point = |bin: usize, place: usize| {
            let exact = whole && bin == 0;
            let half_octaves = bin as f64 + (place as f64 + 0.5) / POINTS as f64;
            if exact { 1.0 } else { (half_octaves / 2.0).exp2() }
        };
        let points = users.iter().enumerate().flat_map(|(bin, users)| {
            (0..POINTS).map(move |place| (point(bin, place), users / POINTS as f64))
        });
        // The spread is between 1 and its cap; without noise what was measured, else about 2.
        let spread = spread.map(|(sum, sd)| {
            let (seen, variance) = (sum / total, (sd / total).powi(2));
            ((seen + 2.0 * variance) / (1.0 + variance)).clamp(1.0, SurveyPlan::SPREAD_MAX as f64)
        });
        NormLaw { points: points.collect(), spread, doubt: sd }
    }

    /// Users, at least 1.
    pub(super) fn users(&self) -> f64 {
        self.points.iter().map(|(_, users)| users).sum::<f64>().max(1.0)
    }

    /// Cells of all users together, at least 1.
    pub(super) fn cells(&self) -> f64 {
        let cells = |&(norm, users): &(f64, f64)| users * self.spread_at(norm).powi(2);
        self.points.iter().map(cells).sum::<f64>().max(1.0)
    }

    fn spread_at(&self, norm: f64) -> f64 {
        self.spread.unwrap_or(norm)
    }

    /// The norm that `share` of the users do not exceed.
    fn quantile(&self, share: f64) -> f64 {
        let wanted = share * self.users();
        let mut below = 0.0;
        let reached = |&&(_, users): &&(f64, f64)| {
            below += users;
            below >= wanted
        };
        self.points.iter().find(reached).map_or(1.0, |&(norm, _)| norm)
    }
}

/// The bound C that makes least what the fit takes from heavy users, Σ Σ|x|·(1 − C/‖x‖)₊, plus what
/// the noise of standard deviation z·C adds in so many cells, 0.8·z·C each, and what C costs for
/// nothing if the heaviest users of the histogram are noise; but at least the norm of 40 % of the
/// users, below which only the noise would be small.
pub(super) fn norm_bound(law: &NormLaw, z: f64, cells: f64) -> f64 {
    const MEAN_SIZE_OF_NOISE: f64 = 0.8;
    const FLOOR: f64 = 0.4;
    let cost = |bound: f64| {
        let lost = |&(norm, users): &(f64, f64)| {
            let size = norm * law.spread_at(norm);
            users * size * (1.0 - bound / norm).max(0.0)
        };
        let noise = MEAN_SIZE_OF_NOISE * z * cells + law.doubt * law.spread_at(bound);
        law.points.iter().map(lost).sum::<f64>() + noise * bound
    };
    // The cost is linear between the points.
    let candidates = law.points.iter().map(|&(norm, _)| norm);
    let best = candidates.min_by(|&a, &b| cost(a).total_cmp(&cost(b))).unwrap_or(1.0);
    best.max(law.quantile(FLOOR))
}

/// The law that fits the histogram best, in users by bin, and its users, at least 1: normal in the
/// logarithm of the norm, with a width of its own on each side of the peak, as many users have
/// little and few have much, or the other way.
///
/// Least squares over the peak and both widths; the number of users follows. Bins that hold noise
/// alone then hardly count, however many there are.
fn fit(bins: &[f64]) -> (Vec<f64>, f64) {
    let mut best = (f64::NEG_INFINITY, &[][..], 1.0);
    for (law, square) in &*LAWS {
        let both: f64 = law.iter().zip(bins).map(|(p, n)| p * n).sum();
        // Of Σ(n − Np)², what the best N = both/square takes away.
        let gain = both.max(0.0).powi(2) / square;
        if best.1.is_empty() || gain > best.0 {
            best = (gain, &law[..], both.max(0.0) / square);
        }
    }
    let (_, law, users) = best;
    (law.iter().map(|p| p * users).collect(), users.max(1.0))
}

/// All laws that are tried, each with Σ p².
static LAWS: LazyLock<Vec<(Vec<f64>, f64)>> = LazyLock::new(|| {
    let with_square = |law: Vec<f64>| {
        let square = law.iter().map(|p| p * p).sum();
        (law, square)
    };
    laws(SurveyPlan::BINS).map(with_square).collect()
});

/// Shares of bins of width 1 from 0 on; what lies outside is in the first or last.
fn laws(bins: usize) -> impl Iterator<Item = Vec<f64>> {
    const WIDTHS: [f64; 9] = [0.1, 0.3, 0.6, 1.0, 1.5, 2.2, 3.2, 4.5, 6.5];
    const STEPS: usize = 4;
    // For each peak and width, the normal law below the edge between two bins.
    let below = move |peak: f64, width: f64| {
        let root = width * std::f64::consts::SQRT_2;
        let edges = (0..=bins).map(|edge| 0.5 * libm::erfc((peak - edge as f64) / root));
        edges.collect::<Vec<f64>>()
    };
    let peaks = (0..bins * STEPS).map(|step| (step as f64 + 0.5) / STEPS as f64);
    peaks.flat_map(move |peak| {
        let normal: Vec<Vec<f64>> = WIDTHS.iter().map(|&width| below(peak, width)).collect();
        let pairs = (0..WIDTHS.len()).flat_map(|l| (0..WIDTHS.len()).map(move |r| (l, r)));
        let pairs: Vec<Vec<f64>> = pairs
            .map(|(l, r)| {
                let (left, right) = (WIDTHS[l], WIDTHS[r]);
                // Both halves meet at the peak with the same density.
                let at = |edge: usize| match edge {
                    0 => 0.0,
                    _ if edge == bins => 1.0,
                    _ if (edge as f64) < peak => 2.0 * left / (left + right) * normal[l][edge],
                    _ => 1.0 - 2.0 * right / (left + right) * (1.0 - normal[r][edge]),
                };
                (0..bins).map(|bin| at(bin + 1) - at(bin)).collect()
            })
            .collect();
        pairs
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Norms of `users` users, log-normal with median 2^`mean` and a deviation of `width` octaves.
    fn histogram(users: f64, mean: f64, width: f64) -> Vec<f64> {
        let below = |bin: usize| {
            let distance = (2.0 * mean - bin as f64) / (2.0 * width);
            if bin == 0 { 0.0 } else { 0.5 * libm::erfc(distance / std::f64::consts::SQRT_2) }
        };
        (0..SurveyPlan::BINS).map(|bin| users * (below(bin + 1) - below(bin))).collect()
    }

    /// Noise whose bins are all within one deviation, as a law of its own would not be.
    fn noised(mut bins: Vec<f64>, sd: f64) -> Vec<f64> {
        for (place, bin) in bins.iter_mut().enumerate() {
            *bin += sd * ((place * 7919 % 64) as f64 / 16.0 - 2.0);
        }
        bins
    }

    /// What a bound costs against the best one, for the exact law and by the definition.
    fn excess(users: f64, mean: f64, width: f64, spread: f64, weight: f64, own: f64) -> f64 {
        let quantiles = (0..20_000).map(|i| (f64::from(i) + 0.5) / 20_000.0);
        let norms: Vec<f64> = quantiles
            .map(|q| {
                // Bisection of the normal law.
                let (mut low, mut high) = (-8.0, 8.0);
                for _ in 0..40 {
                    let middle: f64 = (low + high) / 2.0;
                    let below = 0.5 * libm::erfc(-middle / std::f64::consts::SQRT_2);
                    if below < q { low = middle } else { high = middle }
                }
                (mean + width * low).exp2()
            })
            .collect();
        let cost = |bound: f64| {
            let lost = norms.iter().map(|r| r * spread * (1.0 - bound / r).max(0.0));
            lost.sum::<f64>() * users / 20_000.0 + 0.8 * weight * bound
        };
        let bounds = (0..400).map(|i| (f64::from(i) / 20.0).exp2());
        let best = bounds.min_by(|a, b| cost(*a).total_cmp(&cost(*b))).expect("some");
        cost(own) / cost(best.max(mean.exp2() * (-0.2533 * width).exp2()))
    }

    #[test]
    fn bounds_are_near_the_best() {
        for (users, mean, width, sd) in [
            (100_000.0, 3.0, 1.0, 150.0),
            (100_000.0, 12.0, 1.5, 150.0),
            (2_500.0, 10.0, 1.2, 50.0),
            (4_000_000.0, 8.0, 0.7, 200.0),
        ] {
            for weight in [0.05, 0.2, 0.5] {
                let bins = noised(histogram(users, mean, width), sd);
                let spread = users * 2.0;
                let law = NormLaw::new(&bins, sd, Some((spread, 10.0 * sd)), false);
                // z · cells, against the number of users.
                let own = norm_bound(&law, 1.0, weight * users);
                let excess = excess(users, mean, width, 2.0, weight * users, own);
                assert!(excess < 1.15, "{users} {mean} {weight}: {own} costs {excess}");
            }
        }
    }

    #[test]
    fn noise_far_out_is_not_taken_for_heavy_users() {
        let bins = noised(histogram(3_000.0, 4.0, 0.8), 60.0);
        let law = NormLaw::new(&bins, 60.0, Some((6_000.0, 500.0)), true);
        assert!((law.users() / 3_000.0 - 1.0).abs() < 0.2, "{}", law.users());
        assert!(law.quantile(0.99) < 200.0);
    }

    #[test]
    fn heavy_users_that_show_are_believed() {
        let mut bins = noised(histogram(100_000.0, 3.0, 0.5), 100.0);
        bins[30] += 2_000.0;
        let law = NormLaw::new(&bins, 100.0, Some((200_000.0, 500.0)), true);
        let heavy: f64 = law.points.iter().filter(|(r, _)| *r > 30_000.0).map(|(_, n)| n).sum();
        assert!((1_700.0..2_300.0).contains(&heavy), "{heavy}");
    }

    #[test]
    fn nothing_but_noise_still_gives_a_bound() {
        for bins in [vec![0.0; 64], vec![-50.0; 64], noised(vec![0.0; 64], 100.0)] {
            let law = NormLaw::new(&bins, 100.0, Some((-300.0, 500.0)), true);
            let bound = norm_bound(&law, 10.0, 100.0);
            assert!(bound.is_finite() && bound >= 1.0, "{bound}");
            assert!(law.cells() >= 1.0 && law.users() >= 1.0);
        }
    }
}
