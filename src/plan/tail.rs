//! Which numbers of users by norm a noised histogram leaves possible, and how likely each is.
//!
//! Bins that show far above the noise count as seen. What lies beyond them goes on as they do: on
//! a logarithmic scale a parabola, that bends down by much, little or not at all. Where hardly any
//! bin shows, laws of the whole histogram take its place. Beside that there may be a class of few
//! users of large norms, hidden by noise. The less of Σ|x| those far out have, the likelier.

use super::law::{believed, likely};

/// A bin shows if it is so many standard deviations of noise above zero.
const SHOWN: f64 = 8.0;

/// So many bins before the last that shows tell how the tail begins, but none before the peak,
/// where numbers bend down whatever the tail does;
const BACK: usize = 3;

/// a tail need not be nearer to these than this share of them.
const MISFIT: f64 = 0.1;

/// Tails: how fast they begin to fall (the logarithm of users, for each bin),
const SLOPES: std::ops::RangeInclusive<i32> = -6..=22;
/// and how much they bend down, with how likely that is beforehand.
const BENDS: [(f64, f64); 12] = [
    (0.0, 1.0),
    (0.02, 1.0),
    (0.05, 1.0),
    (0.08, 1.0),
    (0.12, 1.0),
    (0.18, 1.0),
    (0.25, 1.0),
    (0.4, 1.0),
    (0.6, 1.0),
    (1.0, 1.0),
    (1.7, 1.0),
    (2.5, 1.0),
];

/// Hidden classes: what they have of Σ|x|, and how likely that is beforehand;
const CLASSES: [(f64, f64); 5] =
    [(0.0, 0.25), (0.005, 0.2), (0.015, 0.25), (0.04, 0.2), (0.1, 0.1)];

/// how many half octaves above the norm that 95 % of the users do not exceed,
const PLACES: [f64; 6] = [3.0, 6.0, 9.0, 12.0, 15.0, 18.0];

/// and over how many they are spread.
const CLASS_WIDTH: f64 = 2.0;

/// From so many half octaves above the norm of 95 % on, users are expected to have about this share
/// of Σ|x|, by an exponential law.
const FAR: (f64, f64) = (8.0, 0.08);

/// Laws that are less likely than the best one by more than this do not count.
const UNLIKELY: f64 = 10.0;

/// Laws of the whole histogram that are looked at.
const WHOLE: usize = 300;

/// What is known of users by bin; only bins that anybody can be in.
pub(super) struct Seen<'s> {
    /// Noised.
    pub(super) bins: &'s [f64],
    /// Standard deviation of the noise.
    pub(super) sd: f64,
    /// A first guess.
    pub(super) guess: &'s [f64],
    /// Σ|x| of a user in each.
    pub(super) sizes: &'s [f64],
    /// In half octaves: the norm that 95 % do not exceed, and about where norms are expected.
    pub(super) heavy: f64,
    pub(super) expected_peak: f64,
    /// Does a user count once in each cell? Then few have most of nothing.
    pub(super) once: bool,
}

/// What may be.
#[derive(Clone, Debug)]
pub(super) struct Possible {
    /// How likely; of all together 1.
    pub(super) weight: f64,
    /// Users by bin.
    pub(super) users: Vec<f64>,
}

/// A form of the part of the histogram that is not taken as seen.
struct Form {
    /// Users by bin, up to a factor.
    users: Vec<f64>,
    /// The logarithm of how likely it is beforehand.
    prior: f64,
}

/// A form with its factor and a hidden class.
struct Tried {
    log: f64,
    users: Vec<f64>,
}

impl Seen<'_> {
    /// What may be, and how many bins from the first on are taken as seen.
    pub(super) fn possible(&self) -> (Vec<Possible>, usize) {
        let shown = self.shown();
        let first = self.peak().filter(|_| shown > 0).unwrap_or(0);
        let from = shown.saturating_sub(BACK + 1).max(first);
        let forms = if shown > 0 { self.tails(shown) } else { self.whole() };
        let mut tried: Vec<Tried> = Vec::new();
        for (class, prior) in self.classes() {
            tried.extend(self.with_class(&forms, &class, prior, (from, shown)));
        }
        self.weigh(tried, shown)
    }

    /// How many bins count as seen: those up to the last of those that show, one after the other
    /// from the largest on; none if the largest does not show.
    fn shown(&self) -> usize {
        let shows = |&bin: &usize| self.bins[bin] > SHOWN * self.sd;
        let Some(peak) = self.peak() else { return 0 };
        (peak..self.bins.len()).take_while(shows).last().map_or(0, |last| last + 1)
    }

    /// The bin with most users.
    fn peak(&self) -> Option<usize> {
        (0..self.guess.len()).max_by(|&a, &b| self.guess[a].total_cmp(&self.guess[b]))
    }

    /// Tails after the bins that count as seen.
    fn tails(&self, shown: usize) -> Vec<Form> {
        let last = shown as f64 - 1.0;
        let tail = |slope: f64, bend: f64| -> Vec<f64> {
            let at = |bin: usize| {
                let steps = bin as f64 - last;
                let log = -slope * steps - bend * steps * steps / 2.0;
                // No tail rises much again.
                if steps > 0.0 { log.min(0.5).exp() } else { log.exp() }
            };
            (0..self.bins.len()).map(at).collect()
        };
        let all = SLOPES.flat_map(|slope| BENDS.map(|bend| (f64::from(slope) / 10.0, bend)));
        all.map(|(slope, (bend, prior))| Form { users: tail(slope, bend), prior: prior.ln() })
            .collect()
    }

    /// Laws of the whole histogram.
    fn whole(&self) -> Vec<Form> {
        let laws = likely(self.bins, self.sd, self.expected_peak, WHOLE).into_iter();
        let bins = self.bins.len();
        laws.map(|(prior, shares)| Form { users: shares[..bins].to_vec(), prior }).collect()
    }

    /// Users of hidden classes by bin, and the logarithm of how likely each is beforehand.
    fn classes(&self) -> Vec<(Vec<f64>, f64)> {
        let total = self.sum(self.guess);
        let mut classes = Vec::new();
        for (share, prior) in CLASSES.into_iter().filter(|(share, _)| *share == 0.0 || !self.once) {
            if share == 0.0 {
                classes.push((vec![0.0; self.bins.len()], prior.ln()));
                continue;
            }
            for place in PLACES {
                let at = |bin: usize| {
                    let distance = (bin as f64 - self.heavy - place) / CLASS_WIDTH;
                    (-distance * distance / 2.0).exp()
                };
                let form: Vec<f64> = (0..self.bins.len()).map(at).collect();
                // Not where nobody can be.
                if form.iter().sum::<f64>() > 1e-6 {
                    let users = share * total / self.sum(&form);
                    let prior = (prior / PLACES.len() as f64).ln();
                    classes.push((form.iter().map(|part| users * part).collect(), prior));
                }
            }
        }
        classes
    }

    /// The forms beside a hidden class, each as large as the bins `from` a place on make likeliest.
    fn with_class(
        &self,
        forms: &[Form],
        class: &[f64],
        prior: f64,
        (from, shown): (usize, usize),
    ) -> Vec<Tried> {
        let precision = |bin: usize| {
            let misfit = if bin < shown { MISFIT * self.bins[bin].max(0.0) } else { 0.0 };
            1.0 / (self.sd * self.sd + misfit * misfit)
        };
        let precisions: Vec<f64> = (from..self.bins.len()).map(precision).collect();
        let rest: Vec<f64> = self.bins.iter().zip(class).map(|(n, c)| n - c).collect();
        let weighed = |a: &[f64], b: &[f64]| -> f64 {
            a[from..].iter().zip(&b[from..]).zip(&precisions).map(|((a, b), p)| a * b * p).sum()
        };
        let all = weighed(&rest, &rest);
        let of_form = |form: &Form| {
            let both = weighed(&form.users, &rest).max(0.0);
            let factor = both / weighed(&form.users, &form.users).max(f64::MIN_POSITIVE);
            ((factor * both - all) / 2.0 + form.prior + prior, factor)
        };
        let logs: Vec<(f64, f64)> = forms.iter().map(of_form).collect();
        let best = logs.iter().map(|(log, _)| *log).fold(f64::NEG_INFINITY, f64::max);
        let likely = logs.into_iter().zip(forms).filter(|((log, _), _)| *log > best - UNLIKELY);
        likely
            .map(|((log, factor), form)| {
                let all = form.users.iter().zip(class).map(|(n, class)| factor * n + class);
                Tried { log, users: all.collect() }
            })
            .collect()
    }

    /// Weights, with what is expected of heavy users; bins that count as seen, and those that
    /// differ from all that may be by more than noise does, as they are.
    fn weigh(&self, mut tried: Vec<Tried>, shown: usize) -> (Vec<Possible>, usize) {
        for Tried { log, users } in &mut tried {
            for (bin, users) in users.iter_mut().enumerate().take(shown) {
                *users = self.settled(bin);
            }
            let far = (0..users.len()).filter(|&bin| bin as f64 > self.heavy + FAR.0);
            let far: f64 = far.map(|bin| users[bin] * self.sizes[bin]).sum();
            *log -= far / self.sum(users) / FAR.1;
        }
        let best = tried.iter().map(|t| t.log).fold(f64::NEG_INFINITY, f64::max);
        tried.retain(|t| t.log > best - UNLIKELY);
        let all: f64 = tried.iter().map(|t| (t.log - best).exp()).sum();
        let weighed = |Tried { log, users }| Possible { weight: (log - best).exp() / all, users };
        let mut laws: Vec<Possible> = tried.into_iter().map(weighed).collect();
        for bin in shown..self.bins.len() {
            let mean: f64 = laws.iter().map(|law| law.weight * law.users[bin]).sum();
            let more = believed(mean, self.bins[bin], self.sd) - mean;
            laws.iter_mut().for_each(|law| law.users[bin] = (law.users[bin] + more).max(0.0));
        }
        (laws, shown)
    }

    /// Users of a bin that counts as seen; of one with few before the peak, the guess.
    fn settled(&self, bin: usize) -> f64 {
        if self.bins[bin] > SHOWN * self.sd { self.bins[bin] } else { self.guess[bin] }
    }

    /// Σ|x|, above zero.
    fn sum(&self, users: &[f64]) -> f64 {
        let sum: f64 = users.iter().zip(self.sizes).map(|(n, size)| n * size).sum();
        sum.max(1e-9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of forty thousand users whose norms are a power law, at most 300: how much of Σ|x| beyond
    /// the bins that show is found there, on average over some noise, as a share of what is there.
    fn found(exponent: f64, sd: f64) -> f64 {
        const PEAK: usize = 6;
        let above = |norm: f64| if norm > 300.0 { 0.0 } else { (norm / 8.0).powf(-exponent) };
        let edge = |bin: usize| (bin as f64 / 2.0).exp2();
        // Few have less than 8, as chance makes some lighter than others.
        let users = |bin: usize| {
            let steps = PEAK.saturating_sub(bin) as f64;
            let from = bin.max(PEAK);
            40_000.0 * (above(edge(from)) - above(edge(from + 1))) * (-0.5 * steps * steps).exp()
        };
        let users: Vec<f64> = (0..40).map(|bin| users(bin).max(0.0)).collect();
        let sizes: Vec<f64> = (0..40).map(|bin| edge(bin) * 2f64.powf(0.25)).collect();
        let (mut known, mut there) = (0.0, 0.0);
        for seed in 0..20 {
            let noise = |bin: usize| ((bin + 40 * seed) * 7919 % 101) as f64 / 100.0 - 0.5;
            let bins: Vec<f64> = users
                .iter()
                .enumerate()
                .map(|(bin, n)| n + sd * noise(bin) * 12f64.sqrt())
                .collect();
            let seen = Seen {
                bins: &bins,
                sd,
                guess: &users,
                sizes: &sizes,
                heavy: 6.0 + 2.0 * 20f64.powf(1.0 / exponent).log2(),
                expected_peak: 6.0,
                once: false,
            };
            let (laws, shown) = seen.possible();
            let beyond = |users: &[f64]| -> f64 {
                users.iter().zip(&sizes).skip(shown).map(|(n, size)| n * size).sum()
            };
            known += laws.iter().map(|law| law.weight * beyond(&law.users)).sum::<f64>();
            there += beyond(&users);
        }
        known / there
    }

    #[test]
    fn power_laws_go_on_beyond_the_few_bins_that_show() {
        for exponent in [1.6, 2.2, 3.0] {
            for sd in [300.0, 523.0, 800.0] {
                let share = found(exponent, sd);
                assert!((0.7..1.3).contains(&share), "{exponent} {sd}: {share}");
            }
        }
    }
}
