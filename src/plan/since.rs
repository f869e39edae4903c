//! What the fit takes now, by a survey that an earlier release has asked: users may have more each
//! than they had then.
//!
//! Post-processing: whatever it answers is valid. The rule is written in *Correction* of
//! `docs/privacy.md`.

use super::choice::NormLaw;
use super::retained::Retained;

/// What users have since a survey was asked; each value with its relative standard deviation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Since {
    /// What the fit has left for each customer now.
    pub now: (f64, f64),
    /// What each had then, before the fit; `None`: as much as the survey says.
    pub then: Option<(f64, f64)>,
    /// Are cells missing of which it is known now, so that there is more than that?
    pub more: bool,
    /// Does a user count once a cell or a day at most? Who has much then hardly has more.
    pub once: bool,
}

/// By how much norms change between releases, as a logarithm: the scale of a Cauchy law.
const USUAL: f64 = 0.1;

/// How far what is known of sums may be off beside noise: of those of a release, and by a survey.
const INEXACT: (f64, f64) = (0.03, 0.05);

/// The share of what the fit takes that it may be off by, where nothing tells of a change.
const UNKNOWN: f64 = 0.3;

impl NormLaw {
    /// As [`NormLaw::retained`], with norms of users of whom each has as much more as customers
    /// have; with a doubt for that it has changed at all.
    pub(super) fn retained_since(&self, bound: f64, since: Option<Since>) -> Retained {
        let before = self.retained(bound, None);
        let known = since.and_then(|since| Some((since, self.growth(since)?)));
        let Some((Since { more, once, .. }, (wanted, sd))) = known else {
            let doubt = before.doubt.hypot(UNKNOWN * (1.0 - before.share)).min(1.0);
            return Retained { doubt, ..before };
        };
        let tried = (-32..=32).map(|step: i32| {
            let log = f64::from(step) / 20.0;
            let share = self.grown(log.exp()).retained(bound, None).share.ln();
            let off = (wanted - log - share) / sd;
            let off = if more { off.max(0.0) } else { off };
            (log, share, -off * off / 2.0 - (1.0 + (log / USUAL).powi(2)).ln())
        });
        let tried: Vec<(f64, f64, f64)> = tried.collect();
        let best = tried.iter().map(|(.., weight)| *weight).fold(f64::NEG_INFINITY, f64::max);
        let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
            tried.iter().map(|&(log, share, weight)| (weight - best).exp() * of(log, share)).sum()
        };
        let all = sum(&|_, _| 1.0);
        let [log, share] = [sum(&|log, _| log) / all, sum(&|_, share| share) / all];
        let noise = (sum(&|_, other| (other - share).powi(2)) / all).sqrt();
        let changed = (share - before.share.ln()) / 2.0;
        if once {
            return Retained { doubt: before.doubt.hypot(changed).min(1.0), ..before };
        }
        let now = self.grown(log.exp()).retained(bound, None);
        let doubt = now.doubt.hypot(noise).hypot(changed).min(1.0);
        Retained { share: share.exp(), doubt, ..now }
    }

    /// The same users, of whom each has so many times as much, spread as such users are.
    fn grown(&self, times: f64) -> NormLaw {
        let grown = |norm: f64| {
            let wanted = times * self.size(norm);
            // Norms grow by no more than sums, and by no less than their roots.
            let (mut low, mut high) = (times.sqrt().min(times), times.sqrt().max(times));
            for _ in 0..12 {
                let middle = f64::midpoint(low, high);
                let before = self.size(middle * norm) < wanted;
                if before { low = middle } else { high = middle }
            }
            high * norm
        };
        let of = |points: &Vec<(f64, f64)>| {
            points.iter().map(|&(norm, part)| (grown(norm), part)).collect::<Vec<_>>()
        };
        NormLaw {
            points: of(&self.points),
            bins: self.bins.iter().map(of).collect(),
            ..self.clone()
        }
    }

    /// The logarithm of what is left for each customer now, against all that one had then, with its
    /// standard deviation.
    fn growth(&self, Since { now, then, .. }: Since) -> Option<(f64, f64)> {
        let (then, inexact) = match then {
            Some(then) => (then, INEXACT.0),
            None => (self.each(), INEXACT.1),
        };
        let log = (now.0 / then.0).ln();
        log.is_finite().then(|| (log, now.1.hypot(then.1).hypot(inexact)))
    }

    /// Σ|x| of a user on average, with its relative standard deviation, by what laws say.
    fn each(&self) -> (f64, f64) {
        let mean = self.total() / self.users();
        let sizes: Vec<f64> = self
            .bins
            .iter()
            .map(|bin| bin.iter().map(|&(norm, share)| share * self.size(norm)).sum())
            .collect();
        let apart = |users: &[f64]| {
            let all: f64 = users.iter().zip(&sizes).map(|(users, size)| users * size).sum();
            (all / users.iter().sum::<f64>().max(1.0) / mean - 1.0).powi(2)
        };
        let apart: f64 = self.laws.iter().map(|law| law.weight * apart(&law.users)).sum();
        let seen: f64 = sizes.iter().take(self.shown).map(|size| (size - mean).powi(2)).sum();
        (mean, apart.sqrt().hypot(self.noise * seen.sqrt() / (mean * self.users())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::SurveyPlan;
    use crate::plan::choice::Expected;
    use crate::plan::choice::tests::normal_noise;

    /// Users with 2 to 20 payments, all in a cell, as a survey of `sd` shows them.
    fn users() -> Vec<(f64, f64)> {
        (2..=20).map(|n| (f64::from(n), 3_000.0 / f64::from(n * n).sqrt())).collect()
    }

    fn law(sd: f64) -> NormLaw {
        let mut bins = vec![0.0; SurveyPlan::BINS];
        users().iter().for_each(|&(norm, n)| bins[(norm * norm).log2() as usize] += n);
        normal_noise(&mut bins, sd, 5);
        let all: f64 = users().iter().map(|(_, n)| n).sum();
        let expected = Expected { peak: 4.0, most: f64::MAX, unit: Some(1.0), spread: 4.0 };
        NormLaw::new(&bins, sd, Some((all, 8.0 * sd)), expected)
    }

    /// Σ|x| for each user, all and what the fit leaves, once each has so many times as much.
    fn sums(times: f64, bound: f64) -> (f64, f64) {
        let sum = |of: &dyn Fn(f64) -> f64| users().iter().map(|&(x, n)| n * of(x)).sum::<f64>();
        let all = sum(&|x| times * x) / sum(&|_| 1.0);
        (all, sum(&|x| (times * x).min(bound)) / sum(&|_| 1.0))
    }

    #[test]
    fn norms_grow_with_what_users_have() {
        let (bound, law) = (10.0, law(10.0));
        for times in [0.5, 1.0, 1.8, 3.0] {
            let ((then, _), (all, left)) = (sums(1.0, bound), sums(times, bound));
            for then in [Some((then, 0.01)), None] {
                let since = Since { now: (left, 0.01), then, more: false, once: false };
                let found = law.retained_since(bound, Some(since));
                let off = (left / found.share / all).ln();
                let message = format!("{times} {then:?}: {off} {found:?} {}", left / all);
                let still = (left / law.retained(bound, None).share / all).ln().abs();
                assert!(off.abs() < 0.5 * still + 0.05, "{still} {message}");
                assert!(off.abs() < 1.96 * found.doubt, "{message}");
            }
        }
    }

    #[test]
    fn a_change_is_doubted_as_far_as_it_goes() {
        let (bound, law) = (10.0, law(10.0));
        let doubt = |times: f64| {
            let ((then, _), (_, left)) = (sums(1.0, bound), sums(times, bound));
            let since =
                Since { now: (left, 0.01), then: Some((then, 0.01)), more: false, once: false };
            law.retained_since(bound, Some(since)).doubt
        };
        let [same, more, most] = [1.0, 1.8, 3.0].map(doubt);
        assert!(same < more && more < most && most > same + 0.05, "{same} {more} {most}");
        // Who counts once a day may have more, but those who have much do not.
        let ((then, _), (_, left)) = (sums(1.0, bound), sums(3.0, bound));
        let since = Since { now: (left, 0.01), then: Some((then, 0.01)), more: false, once: true };
        let (known, once) = (law.retained(bound, None), law.retained_since(bound, Some(since)));
        assert!(
            (once.share - known.share).abs() < 1e-12 && once.doubt > known.doubt + 0.05,
            "{once:?}"
        );
        // Nothing is known of a change.
        let unknown = law.retained_since(bound, None);
        assert!(
            (known.share - unknown.share).abs() < 1e-12 && known.doubt < unknown.doubt,
            "{unknown:?}"
        );
    }

    #[test]
    fn where_cells_are_missing_there_may_be_more_but_no_less() {
        let (bound, law) = (10.0, law(10.0));
        let share = |times: f64, there: f64| {
            let ((then, _), (_, left)) = (sums(1.0, bound), sums(times, bound));
            let now = (there * left, 0.01);
            let since = Since { now, then: Some((then, 0.01)), more: true, once: false };
            law.retained_since(bound, Some(since)).share
        };
        let known = law.retained(bound, None).share;
        assert!((share(1.0, 0.4) / known - 1.0).abs() < 0.05, "{} {known}", share(1.0, 0.4));
        assert!(share(3.0, 0.9) < 0.85 * known, "{} {known}", share(3.0, 0.9));
    }
}
