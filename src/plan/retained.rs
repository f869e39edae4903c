//! What the fit into a bound leaves of all that users have, by a survey of their norms.
//!
//! Post-processing: whatever it answers is valid. The rule is written in *Correction* of
//! `docs/privacy.md`.

use super::choice::NormLaw;
use super::spread::Spread;
use super::tail::Possible;

/// The share of what the fit takes that a law of norms may be wrong by: where spreads are norms,
/// and where they are measured in all only.
const INEXACT: (f64, f64) = (0.2, 0.3);

/// Two-sided 95 % quantile of the normal law: what can be lies within so many deviations.
const WITHIN: f64 = 1.96;

/// The share of all that users have which the fit leaves, about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retained {
    /// The share.
    pub share: f64,
    /// Its relative standard deviation: what users do that noise hides, where in the bins of a
    /// survey they are, and how wrong laws are.
    pub doubt: f64,
    /// How much the shares of single users differ: their variance against the square of their mean,
    /// each user weighed by what they have.
    pub uneven: f64,
}

/// A noised sum of what the fit has left, with the standard deviation of its noise.
pub type Left = (f64, f64);

/// Σ|x|, and what the fit leaves of it.
type Pair = (f64, f64);

/// What may be: the share that the fit leaves, with how likely that is.
type Share = (f64, f64);

/// By bin, of one user: Σ|x|, and what the fit leaves of it.
struct Sizes {
    all: Vec<f64>,
    left: Vec<f64>,
}

impl Sizes {
    /// Of these users by bin.
    fn of(&self, users: &[f64]) -> Pair {
        let sum = |of: &[f64]| users.iter().zip(of).map(|(users, x)| users * x).sum();
        (sum(&self.all), sum(&self.left))
    }
}

impl NormLaw {
    /// Σ|x| of all users after the fit into a bound, against before: the median of what may be.
    ///
    /// Of users who count once in each cell, what is left in all tells where in the bins they are.
    pub(super) fn retained(&self, bound: f64, left: Option<Left>) -> Retained {
        if self.laws.is_empty() {
            return self.retained_of_points(bound);
        }
        let left = left.filter(|_| self.spread == Spread::Norm);
        let sizes = self.leaning(bound, 0.0);
        let mut shares = match left {
            Some(left) => self.fitting(bound, left),
            None => self.laws.iter().map(|law| (share(sizes.of(&law.users)), law.weight)).collect(),
        };
        shares.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut below = 0.0;
        let half = |&&(_, weight): &&Share| {
            below += weight;
            below >= 0.5
        };
        let median = shares.iter().find(half).or(shares.last()).map_or(1.0, |(share, _)| *share);
        let apart = |(share, weight): &Share| weight * (share / median).ln().powi(2);
        let apart: f64 = shares.iter().map(apart).sum();
        let mean = |bin: usize| self.laws.iter().map(|law| law.weight * law.users[bin]).sum();
        let users: Vec<f64> = (0..self.bins.len()).map(mean).collect();
        // Of bins that count as seen, the noise.
        let lost = |bin: usize| sizes.all[bin] - sizes.left[bin];
        let squares: f64 = (0..self.shown).map(|bin| lost(bin).powi(2)).sum();
        let noise = self.noise * squares.sqrt() / sizes.of(&users).0.max(1e-9);
        let sd = apart.sqrt().hypot(noise);
        let inexact = if left.is_some() { 0.0 } else { self.inexact(median) };
        let ends = match left {
            Some(left) => self.places(bound, &users, sizes.of(&users), self.told_sd(&sizes, left)),
            None => {
                let (least, most) = self.extremes(bound, &users);
                (median / least - 1.0).max(1.0 - median / most) / WITHIN
            }
        };
        let points = self.bins.iter().zip(&users).flat_map(|(bin, users)| {
            bin.iter().map(move |&(norm, share)| (norm, users.max(0.0) * share))
        });
        let uneven = self.uneven(bound, points);
        // Users may all be at one end, from which noise then leads on.
        Retained { share: median, doubt: sd.hypot(inexact).max(sd + ends).min(1.0), uneven }
    }

    /// How much the shares differ that the fit leaves of users, of whom so many have each norm.
    fn uneven(&self, bound: f64, points: impl Iterator<Item = (f64, f64)>) -> f64 {
        let (mut all, mut left, mut squares) = (0.0, 0.0, 0.0);
        for (norm, users) in points {
            let (size, share) = (users * self.size(norm), (bound / norm).min(1.0));
            all += size;
            left += size * share;
            squares += size * share * share;
        }
        if left > 0.0 { (all * squares / (left * left) - 1.0).max(0.0) } else { 0.0 }
    }

    /// The same of points that are as many as they are.
    fn retained_of_points(&self, bound: f64) -> Retained {
        let lost = |&(norm, users): &(f64, f64)| users * self.lost(norm, bound);
        let (all, gone) = (self.total(), self.points.iter().map(lost).sum::<f64>());
        if all <= 0.0 {
            return Retained { share: 1.0, doubt: 1.0, uneven: 0.0 };
        }
        let hidden = self.noise * self.lost(self.quantile(0.95), bound);
        let share = 1.0 - gone / all;
        let doubt = (hidden / all).hypot(self.inexact(share)).min(1.0);
        Retained { share, doubt, uneven: self.uneven(bound, self.points.iter().copied()) }
    }

    /// How wrong laws may be that leave this share.
    fn inexact(&self, share: f64) -> f64 {
        let part = if self.spread == Spread::Norm { INEXACT.0 } else { INEXACT.1 };
        part * (1.0 - share)
    }

    /// By bin, where its users are rather at its upper end than laws say (`lean` > 0), or at its
    /// lower one: e^lean times as many at the one as at the other.
    fn leaning(&self, bound: f64, lean: f64) -> Sizes {
        let of_bin = |bin: &Vec<(f64, f64)>| {
            let last = (bin.len() - 1).max(1) as f64;
            let (mut users, mut all, mut left) = (0.0, 0.0, 0.0);
            for (place, &(norm, share)) in bin.iter().enumerate() {
                // At most 1, so that nothing overflows.
                let weight = share * (lean * (place as f64 / last - 0.5) - lean.abs() / 2.0).exp();
                let size = self.size(norm);
                users += weight;
                all += weight * size;
                left += weight * (size - self.lost(norm, bound));
            }
            (all / users, left / users)
        };
        let (all, left) = self.bins.iter().map(of_bin).unzip();
        Sizes { all, left }
    }

    /// By how much what laws say of a sum may be off: its noise, that of bins that count as seen,
    /// and a share of it that is the laws' own.
    fn told_sd(&self, sizes: &Sizes, (left, sd): Left) -> f64 {
        const INEXACT_SUM: f64 = 0.005;
        let seen: f64 = sizes.left[..self.shown].iter().map(|left| left * left).sum();
        sd.hypot(self.noise * seen.sqrt()).hypot(INEXACT_SUM * left)
    }

    /// Shares by all laws, with users at all places in bins, each as likely as what is left in all
    /// makes it.
    fn fitting(&self, bound: f64, left: Left) -> Vec<Share> {
        /// A sum that no law fits by fewer standard deviations tells as much less.
        const FAR: f64 = 2.0;
        // Dense around none; the last ones have nearly all of a bin at one end.
        let leans = (-48..=48).map(|step: i32| (f64::from(step) / 12.0).sinh());
        let mut tried = Vec::new();
        for lean in leans {
            let sizes = self.leaning(bound, lean);
            let sd = self.told_sd(&sizes, left);
            // Beforehand by a Cauchy law, whose density falls faster than steps grow.
            let prior = -(1.0 + lean * lean / 4.0).ln() / 2.0;
            for Possible { weight, users } in &self.laws {
                let of = sizes.of(users);
                tried.push((share(of), weight.ln() + prior, ((of.1 - left.0) / sd).powi(2)));
            }
        }
        let near = tried.iter().map(|(_, _, off)| *off).fold(f64::INFINITY, f64::min);
        let wider = (near / (FAR * FAR)).max(1.0);
        let log = |&(share, log, off): &(f64, f64, f64)| (share, log - off / wider / 2.0);
        let best = tried.iter().map(|t| log(t).1).fold(f64::NEG_INFINITY, f64::max);
        let mut shares: Vec<Share> = tried.iter().map(log).collect();
        shares.iter_mut().for_each(|(_, weight)| *weight = (*weight - best).exp());
        let all: f64 = shares.iter().map(|(_, weight)| weight).sum();
        shares.iter_mut().for_each(|(_, weight)| *weight /= all);
        shares
    }

    /// The least and the largest share that the fit may leave of so many users by bin, wherever in
    /// their bins they are.
    fn extremes(&self, bound: f64, users: &[f64]) -> (f64, f64) {
        let sum = |end: &dyn Fn(&[Pair]) -> Pair| {
            let at = |(bin, users): (&Vec<Pair>, &f64)| {
                let (norm, _) = end(bin);
                let size = self.size(norm);
                (users.max(0.0) * size, users.max(0.0) * (size - self.lost(norm, bound)))
            };
            let bins = self.bins.iter().zip(users).map(at);
            bins.fold((0.0, 0.0), |sum, x| (sum.0 + x.0, sum.1 + x.1))
        };
        let (first, last) = (sum(&|bin| bin[0]), sum(&|bin| bin[bin.len() - 1]));
        (share(last), share(first))
    }

    /// Relative deviation of the share that the fit leaves of so many users by bin, as those of a
    /// bin may be at any of its points, or at either of its ends, whatever those of others do; but
    /// what is left in all is known to a deviation.
    fn places(&self, bound: f64, users: &[f64], (all, left): Pair, sd: f64) -> f64 {
        let deviation = |of: &dyn Fn(&[Pair]) -> Vec<Pair>| {
            // Relative variances of what is left and of the share, and their covariance.
            let (mut of_left, mut of_share, mut both) = (0.0, 0.0, 0.0);
            for (bin, users) in self.bins.iter().zip(users) {
                let at = |(norm, _): Pair| {
                    let (users, size) = (users.max(0.0), self.size(norm));
                    (users * size / all, users * (size - self.lost(norm, bound)) / left)
                };
                let points: Vec<Pair> = of(bin).into_iter().map(at).collect();
                let mean = |of: &dyn Fn(&Pair) -> f64| {
                    points.iter().map(of).sum::<f64>() / points.len() as f64
                };
                let (mean_all, mean_left) = (mean(&|p| p.0), mean(&|p| p.1));
                let apart = |p: &Pair| (p.1 - mean_left, (p.1 - mean_left) - (p.0 - mean_all));
                of_left += mean(&|p| apart(p).0.powi(2));
                of_share += mean(&|p| apart(p).1.powi(2));
                both += mean(&|p| apart(p).0 * apart(p).1);
            }
            let told = (sd / left).powi(2);
            (of_share - both * both / (of_left + told)).max(0.0).sqrt()
        };
        let anywhere = deviation(&<[Pair]>::to_vec);
        TOGETHER * anywhere.max(deviation(&|bin| vec![bin[0], bin[bin.len() - 1]]))
    }
}

/// What places in several bins may have in common makes the deviation larger by so much.
const TOGETHER: f64 = 1.25;

/// What is left of all; the fit leaves something.
fn share((all, left): Pair) -> f64 {
    if all > 0.0 { (left / all).clamp(0.01, 1.0) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::SurveyPlan;
    use crate::plan::choice::Expected;
    use crate::plan::choice::tests::normal_noise;

    /// What the correction of made-up surveys does.
    #[derive(Debug, Default)]
    struct Found {
        /// Mean errors of corrected and of noised sums, against the exact one.
        off: f64,
        noised_off: f64,
        /// How many intervals of corrected sums hold the exact one.
        held: usize,
    }

    const SEEDS: u64 = 30;

    /// Users by their norm squared, with Σ|x| of each and the sum of their spreads if it is
    /// measured; bins have noise of `sd`, sums of `sum_sd`, of which `told` says if they tell
    /// something.
    fn tried(
        users: &[(u32, f64, f64)],
        (bound, spread): (f64, Option<f64>),
        most: f64,
        (sd, sum_sd): (f64, f64),
        told: bool,
    ) -> Found {
        // Of payments no norm is too large.
        let most_norm = if spread.is_some() { f64::MAX } else { most };
        let expected = Expected { peak: 4.0, most: most_norm, unit: Some(1.0), spread: most };
        let sum = |of: &dyn Fn(f64) -> f64| -> f64 {
            users.iter().map(|&(squared, size, n)| n * size * of(f64::from(squared).sqrt())).sum()
        };
        let (all, left) = (sum(&|_| 1.0), sum(&|norm| (bound / norm).min(1.0)));
        let mut found = Found::default();
        for seed in 0..SEEDS {
            let mut bins = vec![0.0; SurveyPlan::BINS];
            users.iter().for_each(|&(squared, _, n)| bins[squared.ilog2() as usize] += n);
            normal_noise(&mut bins, sd, seed);
            let mut noised = [left];
            normal_noise(&mut noised, sum_sd, 1000 + seed);
            let [noised] = noised;
            let law = NormLaw::new(&bins, sd, spread.map(|sum| (sum, 8.0 * sd)), expected);
            let Retained { share, doubt, .. } =
                law.retained(bound, told.then_some((noised, sum_sd)));
            let corrected = noised / share;
            let half = WITHIN * corrected * doubt.hypot(sum_sd / noised);
            found.off += (corrected - all).abs() / all / SEEDS as f64;
            found.noised_off += (noised - all).abs() / all / SEEDS as f64;
            found.held += usize::from((corrected - all).abs() <= half);
        }
        found
    }

    /// Customers of three months, of nine or 90 days, of weeks, and at 48 merchants: users who are
    /// in so many cells each.
    #[test]
    fn norms_of_few_fixed_values_are_found_by_what_is_left() {
        let all = |cells: u32| vec![(cells, 2_500.0)];
        let months = |two: f64| vec![(1, 300.0), (2, two), (3, 2_500.0 - two)];
        let weeks = (1..=13).map(|k| (k, 40.0 + 1.3f64.powi(k as i32) * 30.0)).collect();
        for (users, most) in [
            (months(100.0), 3u32),
            (months(1_200.0), 3),
            (months(2_400.0), 3),
            (all(4), 9),
            (all(5), 48),
            (all(7), 48),
            (all(12), 13),
            (all(31), 90),
            (weeks, 13),
        ] {
            let users: Vec<(u32, f64, f64)> =
                users.into_iter().map(|(cells, n)| (cells, f64::from(cells), n)).collect();
            for bound in [1.0, 1.4, 1.7, 2.3, 3.4] {
                for noise in [(10.0, 20.0), (40.0, 30.0)] {
                    let most = f64::from(most).sqrt();
                    let found = tried(&users, (bound, None), most, noise, true);
                    let what = format!("{users:?} in {bound}, {noise:?}: {found:?}");
                    assert!(found.held * 10 >= SEEDS as usize * 9, "{what}");
                    // A bin's mean may be one norm's or that of several. So no sum is worse than
                    // the noised one by more than this, which itself is up to 0.82 off.
                    assert!(found.off < 0.05, "{what}");
                }
            }
        }
    }

    /// Bad for what is said of users in many bins: all of a bin at its lower end, in the middle, or
    /// at its upper end; and light users at the lower ends, heavy ones at the upper.
    #[test]
    fn one_number_of_cells_in_each_bin_is_within_what_is_doubted() {
        // In the last one, the worst that was thought of, deviations are a little too small.
        for (cells, tenths) in [
            ([1u32, 2, 4, 8, 16], 9),
            ([1, 3, 6, 12, 24], 9),
            ([1, 3, 7, 15, 31], 9),
            ([1, 2, 4, 15, 31], 8),
        ] {
            let users = |&k: &u32| (k, f64::from(k), 1_250.0 / f64::from(k).sqrt());
            let users: Vec<(u32, f64, f64)> = cells.iter().map(users).collect();
            for bound in [1.0, 1.7, 2.3, 3.4] {
                for noise in [(10.0, 20.0), (40.0, 30.0)] {
                    let found = tried(&users, (bound, None), 31f64.sqrt(), noise, true);
                    let what = format!("{users:?} in {bound}, {noise:?}: {found:?}");
                    assert!(found.held * 10 >= SEEDS as usize * tenths, "{what}");
                }
            }
        }
    }

    /// Of payments nothing but the survey tells where in a bin users are.
    #[test]
    fn fixed_numbers_of_payments_are_within_what_is_doubted() {
        for payments in [1u32, 2, 3, 5, 7, 12] {
            // In as many cells, and all in one.
            for (squared, spread) in
                [(payments, f64::from(payments).sqrt()), (payments * payments, 1.0)]
            {
                let users = [(squared, f64::from(payments), 2_500.0)];
                for part in [0.5, 0.97] {
                    let bound = (part * f64::from(squared).sqrt()).max(1.0);
                    let sum = Some(2_500.0 * spread);
                    let found = tried(&users, (bound, sum), 4.0, (20.0, 30.0), false);
                    let what = format!("{payments} of norm² {squared} in {bound}: {found:?}");
                    assert!(found.held * 10 >= SEEDS as usize * 9, "{what}");
                }
            }
        }
    }

    #[test]
    fn shares_of_users_differ_as_far_as_their_norms_do() {
        // Of half of what all have the fit leaves all, of the other half a half: with a mean of 3/4
        // and a mean square of 5/8.
        let shares = |points: Vec<(f64, f64)>, bound: f64| {
            NormLaw::expected(points, (None, false), 0.0).retained(bound, None)
        };
        let found = shares(vec![(1.0, 8.0), (2.0, 2.0)], 1.0);
        assert!((found.share - 0.75).abs() < 1e-12 && (found.uneven - 1.0 / 9.0).abs() < 1e-12);
        // All alike.
        assert!(shares(vec![(2.0, 4.0)], 1.0).uneven.abs() < 1e-12);
        assert!(shares(vec![(1.0, 8.0), (2.0, 2.0)], 2.0).uneven.abs() < 1e-12);
    }
}
