//! The norm bound that makes the whole error least, from a noised histogram of norms.
//!
//! Post-processing: whatever it answers is valid. The rule is written in *Chosen bounds* of
//! `docs/privacy.md`.

use super::SurveyPlan;
use super::law::{believed, fit};

/// Points at which a bin's users are thought to be.
const POINTS: usize = 8;

/// How wrong a law is apart from noise: its relative deviation at a bin.
const MISFIT: f64 = 0.3;

/// What the heaviest users have, against all, in the first half octave of their norms; and what is
/// left of that in the next. Such users are in made-up and real payments, hidden by noise as they
/// are few.
const HEAVY: (f64, f64) = (0.02, 0.8);

/// The share of what the fit takes that a law of norms may be wrong by: where spreads are norms,
/// and where they are measured in all only.
const INEXACT: (f64, f64) = (0.12, 0.3);

/// The users' norms of one statistic, as far as a survey tells.
#[derive(Clone, Debug)]
pub(super) struct NormLaw {
    /// Norm and number of users, norms ascending.
    points: Vec<(f64, f64)>,
    /// Σ|x|/‖x‖₂ of a user is the norm over the first number, to the power of the second.
    spread: (f64, f64),
    /// Fewer users than these cannot be told from noise.
    doubt: f64,
    /// What is thought of the users of each bin, heavy ones among them; empty without a survey.
    bins: Vec<Bin>,
}

/// The users whose norms are in one bin of a survey.
#[derive(Clone, Debug)]
struct Bin {
    /// Norms, with the shares of the bin's users that have them.
    points: Vec<(f64, f64)>,
    /// Their number as the law has it, as was seen, and as is thought of it: mean and variance.
    fitted: f64,
    seen: f64,
    users: (f64, f64),
}

impl Bin {
    /// The mean over its users.
    fn mean(&self, of: impl Fn(f64) -> f64) -> f64 {
        self.points.iter().map(|&(norm, share)| share * of(norm)).sum()
    }
}

/// The share of all that users have which the fit leaves, about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retained {
    /// The share.
    pub share: f64,
    /// Its relative standard deviation: what users do that noise hides, and how wrong laws are.
    pub doubt: f64,
}

/// What is known of norms beforehand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// About where the norms are, in half octaves.
    pub(super) peak: f64,
    /// No norm is larger.
    pub(super) most: f64,
    /// Norms are roots of whole numbers, and no user is spread over more cells than their norm
    /// says.
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
        let (mut points, mut bins) = (Vec::new(), Vec::new());
        for (bin, &seen) in seen.iter().enumerate().filter(|&(bin, _)| possible(bin)) {
            let parts: Vec<f64> = (0..POINTS)
                .map(|part| {
                    let edge = |part: usize| bin as f64 + part as f64 / POINTS as f64;
                    law.between(edge(part), edge(part + 1)).max(1e-12)
                })
                .collect();
            let (fitted, whole) = (users * law.bin(bin), parts.iter().sum::<f64>());
            let here = believed(fitted, seen, sd);
            let point = |(place, part): (usize, f64)| {
                let exact = expected.counts && bin == 0;
                let half_octaves = bin as f64 + (place as f64 + 0.5) / POINTS as f64;
                let norm = if exact { 1.0 } else { (half_octaves / 2.0).exp2() };
                (norm.min(expected.most), part / whole)
            };
            let own: Vec<(f64, f64)> = parts.into_iter().enumerate().map(point).collect();
            points.extend(own.iter().map(|&(norm, share)| (norm, here * share)));
            bins.push(Bin { points: own, fitted, seen, users: (here, 0.0) });
        }
        let mut own = NormLaw { points, spread: (1.0, 1.0), doubt: sd, bins };
        if let Some((sum, sum_sd)) = spread {
            // The mean: what was measured as far as noise allows, else about 2.
            let (seen, variance) = (sum / users, (sum_sd / users).powi(2));
            let mean = (seen + 2.0 * variance) / (1.0 + variance);
            own.spread = own.spread_of(mean, if expected.counts { 1.0 } else { own.quantile(0.1) });
        }
        own.weigh();
        own
    }

    /// What is thought of the users of each bin: the law with how wrong it may be, and what the
    /// heaviest may have, against what was seen; a normal law that ends at zero.
    fn weigh(&mut self) {
        let (total, heavy) = (self.total(), self.quantile(0.95));
        let mut bins = std::mem::take(&mut self.bins);
        for bin in &mut bins {
            let norm = bin.mean(|norm| norm);
            let half_octaves = 2.0 * (norm / heavy).log2();
            let hidden = match half_octaves {
                below if below < -1.0 => 0.0,
                above => HEAVY.0 * HEAVY.1.powf(above.max(0.0)) * total / self.size(norm),
            };
            let (law, noise) = ((MISFIT * bin.fitted).hypot(hidden), self.doubt);
            let variance = 1.0 / (law.max(1e-9).powi(-2) + noise.max(1e-9).powi(-2));
            let mean = bin.fitted + variance / noise.max(1e-9).powi(2) * (bin.seen - bin.fitted);
            bin.users = above_zero(mean, variance.sqrt());
        }
        self.bins = bins;
    }

    /// From norms, ascending, with their users, and the mean of spreads (`None`: spreads are
    /// norms).
    pub(super) fn expected(points: Vec<(f64, f64)>, spread: Option<f64>, doubt: f64) -> NormLaw {
        let mut own = NormLaw { points, spread: (1.0, 1.0), doubt, bins: Vec::new() };
        if let Some(mean) = spread {
            own.spread = own.spread_of(mean, own.quantile(0.1));
        }
        own
    }

    /// Σ|x| of all users.
    pub(super) fn total(&self) -> f64 {
        self.points.iter().map(|&(norm, users)| users * self.size(norm)).sum()
    }

    /// Σ|x| of a user with this norm.
    fn size(&self, norm: f64) -> f64 {
        norm * self.spread_at(norm)
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
        let lost = |norm: f64| self.size(norm) * (1.0 - bound / norm).max(0.0);
        let (all, gone, noise) = if self.bins.is_empty() {
            let sum = |of: &dyn Fn(f64) -> f64| -> f64 {
                self.points.iter().map(|&(norm, users)| users * of(norm)).sum()
            };
            let hidden = self.doubt * lost(self.quantile(0.95));
            (sum(&|norm| self.size(norm)), sum(&lost), hidden)
        } else {
            let sum = |of: &dyn Fn(f64) -> f64| -> f64 {
                self.bins.iter().map(|bin| bin.users.0 * bin.mean(of)).sum()
            };
            // Half of it bins have in common, as the tail is heavier in all or in none.
            let sd = |bin: &Bin| bin.users.1.sqrt() * bin.mean(lost);
            let together = self.bins.iter().map(sd).sum::<f64>().powi(2);
            let apart: f64 = self.bins.iter().map(|bin| sd(bin).powi(2)).sum();
            (sum(&|norm| self.size(norm)), sum(&lost), ((together + apart) / 2.0).sqrt())
        };
        if all <= 0.0 {
            return Retained { share: 1.0, doubt: 1.0 };
        }
        let (share, noise) = (1.0 - gone / all, noise / all);
        let inexact = if self.spread == (1.0, 1.0) { INEXACT.0 } else { INEXACT.1 };
        Retained { share, doubt: noise.hypot(inexact * (1.0 - share)).min(1.0) }
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
    let total = law.total();
    let cost = |bound: f64| {
        let lost =
            |&(norm, users): &(f64, f64)| users * law.size(norm) * (1.0 - bound / norm).max(0.0);
        let lost: f64 = law.points.iter().map(lost).sum();
        let noise = z * bound;
        spread_of_sizes(|size| mean_noised_size(lost / cells * size, noise)) * cells
            + law.doubt * law.spread_at(bound) * bound
    };
    let candidates = law.points.iter().map(|&(norm, _)| norm);
    let best = candidates.filter(|_| total > 0.0).min_by(|&a, &b| cost(a).total_cmp(&cost(b)));
    best.unwrap_or(1.0).max(law.quantile(FLOOR))
}

/// Mean and variance of a normal law that is cut at zero.
fn above_zero(mean: f64, sd: f64) -> (f64, f64) {
    // From here on nothing is left to tell.
    let start = (-mean / sd).min(30.0);
    let density = (-start * start / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let hazard = density / (0.5 * libm::erfc(start / std::f64::consts::SQRT_2));
    let left = (1.0 + start * hazard - hazard * hazard).max(0.0);
    ((mean + sd * hazard).max(0.0), sd * sd * left)
}

/// Values of cells against their mean: of a log-normal law with deviation 1.5, which is about that
/// of payments over merchants.
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

    /// Norms of users by quantile, log-normal with median 2^`mean` and a deviation of `width`
    /// octaves.
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

    /// A thousand users of a million with thirty times the payments: three deviations in each of
    /// six bins, which one bin alone cannot tell from noise.
    #[test]
    fn heavy_users_that_noise_hides_are_reckoned_with() {
        let mut exact = histogram(1_000_000.0, 3.0, 1.0);
        (13..19).for_each(|bin| exact[bin] += 170.0);
        for (sd, most) in [(60.0, 0.015), (300.0, 0.04)] {
            let known = NormLaw::new(&exact, 1e-6, Some((1_500_000.0, 1.0)), COUNTS);
            let law =
                NormLaw::new(&noised(exact.clone(), sd), sd, Some((1_500_000.0, 500.0)), COUNTS);
            let (right, found) = (known.retained(64.0).share, law.retained(64.0));
            let off = (found.share - right).abs();
            assert!(off < most && off < 2.0 * found.doubt, "{right} {found:?}");
            assert!(found.doubt < 0.05, "{found:?}");
        }
    }

    #[test]
    fn laws_that_end_at_zero_have_known_moments() {
        // Of the normal law cut at its mean: √(2/π) and 1 − 2/π.
        let (mean, variance) = above_zero(0.0, 2.0);
        let half = std::f64::consts::FRAC_2_PI;
        assert!((mean - 2.0 * half.sqrt()).abs() < 1e-12, "{mean}");
        assert!((variance - 4.0 * (1.0 - half)).abs() < 1e-12, "{variance}");
        let (mean, variance) = above_zero(10.0, 1.0);
        assert!((mean - 10.0).abs() < 1e-9 && (variance - 1.0).abs() < 1e-9);
        let (mean, variance) = above_zero(-50.0, 1.0);
        assert!((0.0..0.1).contains(&mean) && (0.0..0.1).contains(&variance));
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
