//! The norm bound that makes the whole error least, from a noised histogram of norms.
//!
//! Post-processing: whatever it answers is valid. The rule is written in *Chosen bounds* of
//! `docs/privacy.md`.

use std::sync::LazyLock;

use super::SurveyPlan;

/// Points at which a bin's users are thought to be.
const POINTS: usize = 8;

/// Standard deviations by which a bin must differ from the fitted law to count as it is: more than
/// noise does in any of the bins.
const DIFFERENT: f64 = 4.5;

/// The users' norms of one statistic, as far as a survey tells.
#[derive(Clone, Debug)]
pub(super) struct NormLaw {
    /// Norm and number of users, norms ascending.
    points: Vec<(f64, f64)>,
    /// Σ|x|/‖x‖₂ of a user is the norm over the first number, to the power of the second.
    spread: (f64, f64),
    /// Fewer users than these cannot be told from noise.
    doubt: f64,
}

/// The share of all that users have which the fit leaves, about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retained {
    /// The share.
    pub share: f64,
    /// Its relative standard deviation, as far as the law of norms is right: what as many users do as
    /// one bin's noise, where the heaviest are thought to be.
    pub likely: f64,
    /// And if it is not: what users do that noise hides in bins above the bound, up to four times that.
    pub at_most: f64,
}

/// What is known of norms beforehand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// About where the norms are, in half octaves.
    pub(super) peak: f64,
    /// No norm is larger.
    pub(super) most: f64,
    /// Norms are roots of whole numbers, and no user is spread over more cells than their norm says.
    pub(super) counts: bool,
}

impl NormLaw {
    /// From noised numbers of users by bin, with the standard deviation of the noise, and the
    /// noised sum of spreads with its own (`None`: spreads are norms).
    pub(super) fn new(
        bins: &[f64],
        sd: f64,
        spread: Option<(f64, f64)>,
        expected: Expected,
    ) -> NormLaw {
        // Bins that nobody can be in hold noise alone.
        let possible = |bin: usize| (bin as f64 / 2.0).exp2() <= expected.most;
        let seen: Vec<f64> =
            (0..bins.len()).map(|bin| if possible(bin) { bins[bin] } else { 0.0 }).collect();
        let (law, users) = fit(&seen, sd, expected.peak);
        let mut points = Vec::new();
        for (bin, &seen) in seen.iter().enumerate().filter(|&(bin, _)| possible(bin)) {
            let parts: Vec<f64> = (0..POINTS)
                .map(|part| {
                    let edge = |part: usize| bin as f64 + part as f64 / POINTS as f64;
                    law.between(edge(part), edge(part + 1)).max(1e-12)
                })
                .collect();
            let (fitted, whole) = (users * law.bin(bin), parts.iter().sum::<f64>());
            // A bin is believed as far as it differs from the fitted law by more than noise does.
            let difference = seen - fitted;
            let trust = (1.0 - (DIFFERENT * sd / difference).powi(2)).max(0.0);
            let here = (fitted + difference * trust).max(0.0);
            for (place, part) in parts.into_iter().enumerate() {
                let exact = expected.counts && bin == 0;
                let half_octaves = bin as f64 + (place as f64 + 0.5) / POINTS as f64;
                let norm = if exact { 1.0 } else { (half_octaves / 2.0).exp2() };
                points.push((norm.min(expected.most), here * part / whole));
            }
        }
        let mut own = NormLaw { points, spread: (1.0, 1.0), doubt: sd };
        if let Some((sum, sum_sd)) = spread {
            // The mean: what was measured as far as noise allows, else about 2.
            let (seen, variance) = (sum / users, (sum_sd / users).powi(2));
            let mean = (seen + 2.0 * variance) / (1.0 + variance);
            own.spread = own.spread_of(mean, if expected.counts { 1.0 } else { own.quantile(0.1) });
        }
        own
    }

    /// From norms, ascending, with their users, and the mean of spreads (`None`: spreads are norms).
    pub(super) fn expected(points: Vec<(f64, f64)>, spread: Option<f64>, doubt: f64) -> NormLaw {
        let mut own = NormLaw { points, spread: (1.0, 1.0), doubt };
        if let Some(mean) = spread {
            own.spread = own.spread_of(mean, own.quantile(0.1));
        }
        own
    }

    /// Σ|x| of all users.
    pub(super) fn total(&self) -> f64 {
        self.points.iter().map(|&(norm, users)| users * norm * self.spread_at(norm)).sum()
    }

    /// The power between 0 and 1 by which spreads grow with norms from `start` on, so that they are
    /// `mean` in the mean.
    fn spread_of(&self, mean: f64, start: f64) -> (f64, f64) {
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..30 {
            let power = (low + high) / 2.0;
            let guess = NormLaw { spread: (start, power), ..self.clone() };
            let sum: f64 = guess.points.iter().map(|&(r, n)| n * guess.spread_at(r)).sum();
            if sum < mean * self.users() { low = power } else { high = power }
        }
        (start, low)
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
        let (start, power) = self.spread;
        // Beyond its cap nothing was measured; for customers spreads are norms.
        let most = if power < 1.0 { SurveyPlan::SPREAD_MAX as f64 } else { f64::MAX };
        (norm / start).max(1.0).powf(power).min(most)
    }

    /// Σ|x| of all users after the fit into a bound, against before.
    pub(super) fn retained(&self, bound: f64) -> Retained {
        let size = |norm: f64| norm * self.spread_at(norm);
        let all: f64 = self.points.iter().map(|&(norm, users)| users * size(norm)).sum();
        let left = |&(norm, users): &(f64, f64)| users * size(norm) * (bound / norm).min(1.0);
        let left: f64 = self.points.iter().map(left).sum();
        if all <= 0.0 {
            return Retained { share: 1.0, likely: 1.0, at_most: 1.0 };
        }
        let lost = |norm: f64| size(norm) * (1.0 - bound / norm).max(0.0);
        let likely = self.doubt * lost(self.quantile(0.95)) / all;
        // A third of the users that one bin hides, as bins are seen together.
        let most = self.points.last().map_or(0.0, |&(norm, _)| norm);
        let bins = (1..=4).map(|half_octaves| bound * f64::from(half_octaves).exp2().sqrt());
        let hidden: f64 = bins.filter(|norm| *norm <= most).map(|norm| lost(norm).powi(2)).sum();
        let at_most = 0.35 * self.doubt * hidden.sqrt() / all;
        Retained { share: left / all, likely: likely.min(1.0), at_most: at_most.min(1.0) }
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

/// The bound C that makes the expected error least, Σ over cells of E|bias + noise|: the fit takes
/// the share λ = Σ|x|(1 − C/‖x‖)₊ / Σ|x| of each cell's value, and noise has the standard deviation
/// z·C. Of the cells' values the mean is known, and about how they vary. The heaviest users, who
/// cannot be told from noise, are not believed in; and C is at least the norm of a fifth of the
/// users, below which only the noise would be small.
pub(super) fn norm_bound(law: &NormLaw, z: f64, cells: f64) -> f64 {
    const FLOOR: f64 = 0.2;
    let size = |norm: f64| norm * law.spread_at(norm);
    let total: f64 = law.points.iter().map(|&(norm, users)| users * size(norm)).sum();
    let cost = |bound: f64| {
        let lost = |&(norm, users): &(f64, f64)| users * size(norm) * (1.0 - bound / norm).max(0.0);
        let lost: f64 = law.points.iter().map(lost).sum();
        let noise = z * bound;
        spread_of_sizes(|size| mean_noised_size(lost / cells * size, noise)) * cells
            + law.doubt * law.spread_at(bound) * bound
    };
    let candidates = law.points.iter().map(|&(norm, _)| norm);
    let best = candidates.filter(|_| total > 0.0).min_by(|&a, &b| cost(a).total_cmp(&cost(b)));
    best.unwrap_or(1.0).max(law.quantile(FLOOR))
}

/// Values of cells against their mean: of a log-normal law with deviation 1.5, which is about that of
/// payments over merchants.
const CELL_SIZES: [f64; 8] = [0.03, 0.09, 0.17, 0.30, 0.50, 0.86, 1.60, 4.45];

/// The mean over cells of what depends on their size.
pub(super) fn spread_of_sizes(of: impl Fn(f64) -> f64) -> f64 {
    CELL_SIZES.iter().map(|&size| of(size)).sum::<f64>() / CELL_SIZES.len() as f64
}

/// E|bias + noise| for normal noise.
pub(super) fn mean_noised_size(bias: f64, sd: f64) -> f64 {
    let t = bias / sd;
    let half = std::f64::consts::FRAC_2_PI.sqrt();
    sd * (half * (-t * t / 2.0).exp() + t * libm::erf(t / std::f64::consts::SQRT_2))
}

/// A law of norms in half octaves: normal, with a width of its own on each side of the peak, as many
/// users have little and few have much, or the other way.
#[derive(Clone, Copy, Debug)]
struct Law {
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

    fn between(self, low: f64, high: f64) -> f64 {
        self.below(high) - self.below(low)
    }

    /// The share of a bin of a survey; what lies outside is in the first or last.
    fn bin(self, bin: usize) -> f64 {
        let low = if bin == 0 { 0.0 } else { self.below(bin as f64) };
        let high = if bin + 1 == SurveyPlan::BINS { 1.0 } else { self.below((bin + 1) as f64) };
        high - low
    }
}

/// The most likely law of a noised histogram, and its users, at least 1.
///
/// Least squares over the peak and both widths, with a prior for each; the number of users follows.
/// Bins that hold noise alone then hardly count, however many there are.
fn fit(bins: &[f64], sd: f64, expected_peak: f64) -> (Law, f64) {
    // Half octaves: of the peak against what is expected, and of widths by their logarithm.
    const PEAK_SD: f64 = 8.0;
    const WIDTH: f64 = 2.0;
    let squared = |x: f64| x * x;
    let mut best = (f64::NEG_INFINITY, LAWS[0].law, 1.0);
    for Tried { law, shares, square } in &*LAWS {
        let both: f64 = shares.iter().zip(bins).map(|(p, n)| p * n).sum();
        // Of Σ(n − Np)², what the best N = both/square takes away.
        let gain = both.max(0.0).powi(2) / square;
        let prior = squared((law.peak - expected_peak) / PEAK_SD)
            + squared((law.left / WIDTH).log2())
            + squared((law.right / WIDTH).log2());
        let likely = gain / (2.0 * sd * sd) - prior / 2.0;
        if likely > best.0 {
            best = (likely, *law, both.max(0.0) / square);
        }
    }
    let (_, law, users) = best;
    (law, users.max(1.0))
}

/// A law with its shares by bin and Σ of their squares.
struct Tried {
    law: Law,
    shares: Vec<f64>,
    square: f64,
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

#[cfg(test)]
mod tests {
    use super::*;

    const MONEY: Expected = Expected { peak: 20.0, most: f64::MAX, counts: false };
    const COUNTS: Expected = Expected { peak: 4.0, most: f64::MAX, counts: true };

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

    /// Norms of users by quantile, log-normal with median 2^`mean` and a deviation of `width` octaves.
    fn norms(mean: f64, width: f64) -> Vec<f64> {
        let quantile = |q: f64| {
            // Bisection of the normal law.
            let (mut low, mut high) = (-8.0, 8.0);
            for _ in 0..40 {
                let middle: f64 = (low + high) / 2.0;
                let below = 0.5 * libm::erfc(-middle / std::f64::consts::SQRT_2);
                if below < q { low = middle } else { high = middle }
            }
            (mean + width * low).exp2()
        };
        (0..20_000).map(|i| quantile((f64::from(i) + 0.5) / 20_000.0)).collect()
    }

    #[test]
    fn bounds_are_near_the_best() {
        for (users, mean, width, sd) in [
            (100_000.0, 3.0, 1.0, 150.0),
            (100_000.0, 12.0, 1.5, 150.0),
            (2_500.0, 10.0, 1.2, 50.0),
            (4_000_000.0, 8.0, 0.7, 200.0),
        ] {
            let norms = norms(mean, width);
            let spread = |r: &f64| (r / norms[2000]).max(1.0).powf(0.3);
            let each = users / norms.len() as f64;
            let sum = norms.iter().map(spread).sum::<f64>() * each;
            for weight in [0.05, 0.2, 0.5] {
                // By the definition: z · cells of this weight against the number of users.
                let cost = |bound: f64| {
                    let lost = norms.iter().map(|r| r * spread(r) * (1.0 - bound / r).max(0.0));
                    let each_cell = lost.sum::<f64>() * each / (weight * users);
                    let errors = CELL_SIZES.map(|size| mean_noised_size(each_cell * size, bound));
                    errors.iter().sum::<f64>()
                };
                let bounds = (0..400).map(|i| cost((f64::from(i) / 20.0).exp2().max(norms[4000])));
                let best = bounds.fold(f64::MAX, f64::min);
                let bins = noised(histogram(users, mean, width), sd);
                let law = NormLaw::new(&bins, sd, Some((sum, 10.0 * sd)), MONEY);
                let own = norm_bound(&law, 1.0, weight * users);
                let excess = cost(own) / best;
                assert!(excess < 1.2, "{users} {mean} {weight}: {own} costs {excess}");
            }
        }
    }

    #[test]
    fn noise_far_out_is_not_taken_for_heavy_users() {
        let bins = noised(histogram(3_000.0, 4.0, 0.8), 60.0);
        let law = NormLaw::new(&bins, 60.0, Some((6_000.0, 500.0)), COUNTS);
        assert!((law.users() / 3_000.0 - 1.0).abs() < 0.2, "{}", law.users());
        assert!(law.quantile(0.99) < 200.0);
    }

    #[test]
    fn heavy_users_that_show_are_believed() {
        let mut bins = noised(histogram(100_000.0, 3.0, 0.5), 100.0);
        bins[30] += 2_000.0;
        let law = NormLaw::new(&bins, 100.0, Some((200_000.0, 500.0)), COUNTS);
        let heavy: f64 = law.points.iter().filter(|(r, _)| *r > 30_000.0).map(|(_, n)| n).sum();
        assert!((1_700.0..2_300.0).contains(&heavy), "{heavy}");
    }

    #[test]
    fn nothing_but_noise_still_gives_a_bound() {
        for bins in [vec![0.0; 64], vec![-50.0; 64], noised(vec![0.0; 64], 100.0)] {
            let law = NormLaw::new(&bins, 100.0, Some((-300.0, 500.0)), COUNTS);
            let bound = norm_bound(&law, 10.0, 100.0);
            assert!(bound.is_finite() && bound >= 1.0, "{bound}");
            assert!(law.cells() >= 1.0 && law.users() >= 1.0);
        }
    }
}
