//! The norm bound that makes the whole error least, from a noised histogram of norms.
//!
//! Post-processing: whatever it answers is valid. The rule is written in *Chosen bounds* of
//! `docs/privacy.md`.

use super::law::{believed, likeliest};
use super::spread::Spread;
use super::tail::{Possible, Seen};

/// Points at which a bin's users are thought to be, at most.
const POINTS: usize = 8;

/// The users' norms of one statistic, as far as a survey tells.
#[derive(Clone, Debug)]
pub(super) struct NormLaw {
    /// Norm and number of users, norms ascending.
    pub(super) points: Vec<(f64, f64)>,
    /// Σ|x|/‖x‖₂ of a user by norm.
    pub(super) spread: Spread,
    /// Standard deviation of the noise of a bin.
    pub(super) noise: f64,
    /// By bin its norms, with the shares of the bin's users that have them; empty without a survey.
    pub(super) bins: Vec<Vec<(f64, f64)>>,
    /// How many users there may be in the bins,
    pub(super) laws: Vec<Possible>,
    /// the first of which count as seen.
    pub(super) shown: usize,
}

/// What is known of norms beforehand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// About where the norms are, in half octaves.
    pub(super) peak: f64,
    /// No norm is larger.
    pub(super) most: f64,
    /// Of counts the norm of one; norms then are roots of whole numbers times that.
    pub(super) unit: Option<f64>,
    /// No user is spread over more cells than the square of this.
    pub(super) spread: f64,
}

impl NormLaw {
    /// From noised numbers of users by bin, with the standard deviation of the noise, and the
    /// noised sum of spreads with its own (`None`: spreads are norms).
    pub(super) fn new(
        seen: &[f64],
        noise: f64,
        spread: Option<(f64, f64)>,
        expected: Expected,
    ) -> NormLaw {
        // Bins that nobody can be in hold noise alone.
        let possible = |bin: usize| (bin as f64 / 2.0).exp2() <= expected.most;
        let count = (0..seen.len()).take_while(|&bin| possible(bin)).count().max(1);
        let mut whole = seen.to_vec();
        whole[count..].fill(0.0);
        let (law, users) = likeliest(&whole, noise, expected.peak);
        let wide = law.no_narrower_than_a_bin();
        let norms = |bin: usize| {
            let points = points_of(bin, expected);
            let part = |&(_, from, to): &(f64, f64, f64)| wide.between(from, to).max(1e-12);
            let all: f64 = points.iter().map(part).sum();
            points.iter().map(|point| (point.0, part(point) / all)).collect::<Vec<(f64, f64)>>()
        };
        let bins: Vec<Vec<(f64, f64)>> = (0..count).map(norms).collect();
        let guess = |bin: usize| believed(users * law.bin(bin), seen[bin], noise);
        let guess: Vec<f64> = (0..count).map(guess).collect();
        let (points, laws) = (Vec::new(), Vec::new());
        let mut own = NormLaw { points, spread: Spread::Norm, noise, bins, laws, shown: 0 };
        let mean = spread.map(|(sum, sd)| {
            // What was measured as far as noise allows, else about 2.
            let (seen, variance) = (sum / users, (sd / users).powi(2));
            ((seen + 2.0 * variance) / (1.0 + variance)).max(1.0)
        });
        own.take(&guess, mean, expected);
        let sizes: Vec<f64> = (0..count).map(|bin| own.mean(bin, |norm| own.size(norm))).collect();
        let (bins, guess, sizes) = (&seen[..count], &guess[..], &sizes[..]);
        let heavy = 2.0 * own.quantile(0.95).log2();
        let (expected_peak, once) = (expected.peak, mean.is_none());
        let known = Seen { bins, sd: noise, guess, sizes, heavy, expected_peak, once };
        (own.laws, own.shown) = known.possible();
        let all = |bin: usize| own.laws.iter().map(|law| law.weight * law.users[bin]).sum();
        let users: Vec<f64> = (0..count).map(all).collect();
        own.take(&users, mean, expected);
        own
    }

    /// Takes these users by bin, and spreads that have this mean.
    fn take(&mut self, users: &[f64], mean: Option<f64>, expected: Expected) {
        let of_bin = |(bin, users): (&Vec<(f64, f64)>, &f64)| {
            bin.iter().map(|(norm, share)| (*norm, users * share)).collect::<Vec<_>>()
        };
        self.points = self.bins.iter().zip(users).flat_map(of_bin).collect();
        self.spread = self.spread_of(mean, expected.unit, expected.spread);
    }

    /// From norms, ascending, with their users, and the mean of spreads (`None`: spreads are
    /// norms), of counts or money.
    pub(super) fn expected(
        points: Vec<(f64, f64)>,
        (mean, counts): (Option<f64>, bool),
        noise: f64,
    ) -> NormLaw {
        let (bins, laws) = (Vec::new(), Vec::new());
        let mut own = NormLaw { points, spread: Spread::Norm, noise, bins, laws, shown: 0 };
        own.spread = own.spread_of(mean, counts.then_some(1.0), f64::MAX);
        own
    }

    fn spread_of(&self, mean: Option<f64>, unit: Option<f64>, most: f64) -> Spread {
        match (mean, unit) {
            (None, _) => Spread::Norm,
            (Some(mean), Some(unit)) => Spread::of_counts(&self.points, mean, (unit, most)),
            (Some(mean), None) => Spread::of_money(&self.points, mean, (self.quantile(0.5), most)),
        }
    }

    /// The mean over the users of a bin.
    fn mean(&self, bin: usize, of: impl Fn(f64) -> f64) -> f64 {
        self.bins[bin].iter().map(|&(norm, share)| share * of(norm)).sum()
    }

    /// Σ|x| of all users.
    pub(super) fn total(&self) -> f64 {
        self.points.iter().map(|&(norm, users)| users * self.size(norm)).sum()
    }

    /// Σ|x| of a user with this norm.
    pub(super) fn size(&self, norm: f64) -> f64 {
        norm * self.spread.at(norm)
    }

    /// Of it, what the fit into a bound takes.
    pub(super) fn lost(&self, norm: f64, bound: f64) -> f64 {
        self.size(norm) * (1.0 - bound / norm).max(0.0)
    }

    /// Users, at least 1.
    pub(super) fn users(&self) -> f64 {
        self.points.iter().map(|(_, users)| users).sum::<f64>().max(1.0)
    }

    /// Cells of all users together, at least 1.
    pub(super) fn cells(&self) -> f64 {
        let cells = |&(norm, users): &(f64, f64)| users * self.spread.at(norm).powi(2);
        self.points.iter().map(cells).sum::<f64>().max(1.0)
    }

    /// The norm that `share` of the users do not exceed.
    pub(super) fn quantile(&self, share: f64) -> f64 {
        let wanted = share * self.users();
        let mut below = 0.0;
        let reached = |&&(_, users): &&(f64, f64)| {
            below += users;
            below >= wanted
        };
        self.points.iter().find(reached).map_or(1.0, |&(norm, _)| norm)
    }
}

/// Counts in the first bins are few: of so many bins the points are the roots of whole numbers.
const EXACT: usize = 6;

/// Norms of a bin, each with the half octaves of a law that are counted there.
fn points_of(bin: usize, expected: Expected) -> Vec<(f64, f64, f64)> {
    let most = expected.most;
    if expected.unit == Some(1.0) && bin < EXACT {
        let possible = |k: &u32| *k == 1 << bin || f64::from(*k) <= most * most + 0.5;
        let norms = (1u32 << bin..2 << bin).filter(possible).map(f64::from);
        return norms.map(|k| (k.sqrt(), (k - 0.5).log2(), (k + 0.5).log2())).collect();
    }
    let edge = |part: usize| bin as f64 + part as f64 / POINTS as f64;
    let norm = |part: usize| ((edge(part) + 0.5 / POINTS as f64) / 2.0).exp2().min(most);
    (0..POINTS).map(|part| (norm(part), edge(part), edge(part + 1))).collect()
}

/// The bound C that makes the expected error least, Σ over cells of E|bias + noise|: the fit takes
/// the share λ = Σ|x|(1 − C/‖x‖)₊ / Σ|x| of each cell's value, and noise has the standard deviation
/// z·C. Of the cells' values the mean is known, and about how they vary. C is at least the norm of
/// a fifth of the users, below which only the noise would be small.
pub(super) fn norm_bound(law: &NormLaw, z: f64, cells: f64) -> f64 {
    norm_bound_of(law, z, cells, &CELL_SIZES.map(|size| (size, 1.0)))
}

/// The same of cells whose values against their mean, where they are scaled, and scales are these.
pub(super) fn norm_bound_of(law: &NormLaw, z: f64, cells: f64, sizes: &[(f64, f64)]) -> f64 {
    const FLOOR: f64 = 0.2;
    let total = law.total();
    let cost = |bound: f64| {
        let lost = |&(norm, users): &(f64, f64)| users * law.lost(norm, bound);
        let lost: f64 = law.points.iter().map(lost).sum();
        let noise = z * bound;
        let error =
            |&(size, scale): &(f64, f64)| mean_noised_size(lost / cells * size, noise) * scale;
        sizes.iter().map(error).sum::<f64>()
    };
    let candidates = law.points.iter().map(|&(norm, _)| norm);
    let best = candidates.filter(|_| total > 0.0).min_by(|&a, &b| cost(a).total_cmp(&cost(b)));
    best.unwrap_or(1.0).max(law.quantile(FLOOR))
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
pub(super) mod tests {
    use super::*;
    use crate::plan::SurveyPlan;

    const MONEY: Expected = Expected { peak: 20.0, most: f64::MAX, unit: None, spread: f64::MAX };
    const COUNTS: Expected =
        Expected { peak: 4.0, most: f64::MAX, unit: Some(1.0), spread: f64::MAX };

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
            let (right, found) = (known.retained(64.0, None).share, law.retained(64.0, None));
            let off = (found.share - right).abs();
            assert!(off < most && off < 2.0 * found.doubt, "{right} {found:?}");
            assert!(found.doubt < 0.05, "{found:?}");
        }
    }

    /// Noise of a normal law, nearly: sums of twelve numbers of a generator (splitmix64).
    pub(in crate::plan) fn normal_noise(bins: &mut [f64], sd: f64, mut state: u64) {
        let mut uniform = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
        };
        bins.iter_mut().for_each(|bin| {
            *bin += sd * ((0..12).map(|_| uniform()).sum::<f64>() - 6.0);
        });
    }

    /// A user of norm 2^12 or more weighs as much as a thousand usual ones, and there are none;
    /// noise of 87 users in each bin must not be taken for some, nor for what is sure.
    #[test]
    fn noise_in_far_bins_is_not_what_the_fit_has_taken() {
        let mut exact = histogram(40_000.0, 2.5, 1.2);
        (14..18).for_each(|bin| exact[bin] += 10.0);
        let spread = Some((70_000.0, 1.0));
        let few = Expected { spread: 15f64.sqrt(), ..COUNTS };
        let right = NormLaw::new(&exact, 1e-6, spread, few).retained(32.0, None).share;
        assert!((0.85..0.99).contains(&right), "{right}");
        let (mut off, mut held) = (0.0, 0);
        for seed in 0..40 {
            let mut bins = exact.clone();
            normal_noise(&mut bins, 87.0, seed);
            let found =
                NormLaw::new(&bins, 87.0, Some((70_000.0, 1400.0)), few).retained(32.0, None);
            let error = (right / found.share - 1.0).abs();
            assert!(error < 0.12, "{seed}: {found:?} for {right}");
            off += error / 40.0;
            held += usize::from(error < 1.96 * found.doubt);
        }
        assert!(off < 0.04, "{off}");
        assert!(held >= 36, "{held}");
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

    /// Of 40,000 users nobody has a norm beyond 2^7, where noise of 5.5 deviations, a thousand
    /// users, would have more than all of them.
    #[test]
    fn no_noise_of_a_single_bin_makes_the_bound() {
        const SD: f64 = 190.0;
        let exact = histogram(40_000.0, 3.2, 1.0);
        let bound = |bins: &[f64]| {
            let law = NormLaw::new(bins, SD, Some((60_000.0, 10.0 * SD)), COUNTS);
            norm_bound(&law, 60.0, 1.0)
        };
        let usual = bound(&exact);
        for bin in 14..SurveyPlan::BINS {
            let mut bins = exact.clone();
            bins[bin] += 5.5 * SD;
            let found = bound(&bins);
            assert!(found < 2.0 * usual, "{bin}: {found} in place of {usual}");
        }
    }
}
