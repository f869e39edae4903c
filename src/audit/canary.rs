//! Black box: releases with and without one user who does as much as the bounds allow, or as little as
//! can be. Each release has a key of its own from the operating system, so they are independent by
//! construction, and each is a release with or without that user: nothing is assumed of other users.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::law::clopper_pearson;
use super::row::{Row, Verdict};
use super::subject::Subject;
use super::twin::{Twin, TwinPayment};
use super::{Claim, curve};
use crate::engine::{ExactSurveys, ExactTotals, LevelTotals, SurveyTotals};
use crate::error::Result;
use crate::mechanism::NoisyTotals;
use crate::payments::AMOUNT_MAX;
use crate::plan::{LevelPlan, Plan, Selection, Survey};

/// Releases of each profile, half of them with the user.
pub(super) const RELEASES: usize = 100_000;
/// Values that all releases of a profile may hold together.
const VALUES_MAX: usize = 600_000_000;
/// Chance that the bounds which are told are beyond the truth.
const TOLD: f64 = 0.05;
/// Chance of a false alarm of each of the tests that refute; there are four.
const ALARM: f64 = 0.001;

const PAPERS: &str =
    "Dong, Roth and Su 2022; Nasr et al. 2023, arXiv:2302.07956; Zanella-Beguelin et al. 2023";

/// An empirical trade-off: false and true alarms.
pub(super) type Curve = Vec<(f64, f64)>;

/// One user, and what a release holds of them.
pub(super) struct Canary {
    name: &'static str,
    with: ExactTotals,
    without: ExactTotals,
    surveys: Option<(ExactSurveys, ExactSurveys)>,
    plan: Plan,
    /// For each statistic, then each mechanism of a survey: what the user adds over σ, number by number.
    signals: Vec<Vec<f64>>,
    sigmas: Vec<f64>,
}

/// One release, as an attacker looks at it: of each mechanism the part along what the user adds, in
/// standard deviations.
pub(super) type Seen = Vec<f32>;

/// All tests of releases with and without a user.
pub(super) fn rows(
    subject: &dyn Subject,
    twin: &Twin,
    plan: &Plan,
    releases: usize,
) -> Result<(Vec<Row>, Curve)> {
    let claim = Claim::of(plan);
    let mut rows = Vec::new();
    let full =
        Canary::new("with all statistics at their bounds", subject, twin, plan, &everything)?;
    let (with, without) = full.releases(subject, releases)?;
    let (own, points) = full.rows(&with, &without, claim);
    rows.extend(own);
    let light = Canary::new("with one payment", subject, twin, plan, &one_payment)?;
    let (with, without) = light.releases(subject, releases)?;
    rows.push(light.searched(&with, &without, claim));
    Ok((rows, points))
}

/// So many cells, so often and so much, that all statistics are at their bounds.
fn everything(twin: &Twin, user: &Arc<str>, cells: usize) -> Vec<TwinPayment> {
    let pay = |n: usize| {
        let second = n as i64 * (86_400 + 3_661);
        (0..3).map(move |_| twin.world.pay(user, n, second, AMOUNT_MAX))
    };
    (0..cells).flat_map(pay).collect()
}

fn one_payment(twin: &Twin, user: &Arc<str>, _: usize) -> Vec<TwinPayment> {
    vec![twin.world.pay(user, 1, 40_000, 1)]
}

type Payments<'a> = &'a dyn Fn(&Twin, &Arc<str>, usize) -> Vec<TwinPayment>;

impl Canary {
    fn new(
        name: &'static str,
        subject: &dyn Subject,
        twin: &Twin,
        plan: &Plan,
        payments: Payments,
    ) -> Result<Canary> {
        let user: Arc<str> = "canary".into();
        // As few cells as bring customers to their bound, since each is noised in every release.
        let mut cells = 8;
        loop {
            let canary = Canary::of(name, subject, twin, plan, &payments(twin, &user, cells))?;
            let next = (2 * cells).min(1_024);
            let values: usize = canary.signals.iter().map(Vec::len).sum();
            if canary.is_full() || next == cells || values * RELEASES * 2 > VALUES_MAX {
                return Ok(canary);
            }
            cells = next;
        }
    }

    /// The user with these payments.
    pub(super) fn of(
        name: &'static str,
        subject: &dyn Subject,
        twin: &Twin,
        plan: &Plan,
        payments: &[TwinPayment],
    ) -> Result<Canary> {
        let run = |payments: &[TwinPayment]| -> Result<(ExactTotals, Option<ExactSurveys>)> {
            twin.write(payments.iter())?;
            let mut surveys = None;
            let (_, totals) = subject.totals(twin, twin.plan(), &mut |exact| {
                surveys = Some(exact);
                Ok(plan.clone())
            })?;
            Ok((totals, surveys))
        };
        let ((with, surveys), (without, none)) = (run(payments)?, run(&[])?);
        // All keys are shown: which ones are is what thresholds' delta is for.
        let mut plan = plan.clone();
        plan.levels.iter_mut().for_each(|level| level.selection = Selection::Public);
        let (with, without) = own_cells(&plan, with, &without);
        let (mut signals, mut sigmas) = (Vec::new(), Vec::new());
        let both = with.levels.iter().zip(&without.levels).zip(&plan.levels);
        for ((with, without), level) in both {
            for (row, statistic) in level.statistics.iter().enumerate() {
                let sigma = statistic.noise.sigma as f64;
                let pairs = with.sums[row].iter().zip(&without.sums[row]);
                signals.push(pairs.map(|(a, b)| (a - b) as f64 / sigma).collect());
                sigmas.push(sigma);
            }
        }
        let surveys = surveys.zip(none);
        if let Some((with, without)) = &surveys {
            for ((with, without), survey) in
                with.surveys.iter().zip(&without.surveys).zip(&plan.surveys)
            {
                let pairs = numbers(with).into_iter().zip(numbers(without));
                let scales = survey.mechanisms().map(|(_, m)| m.sigma as f64);
                for ((with, without), sigma) in pairs.zip(scales) {
                    signals.push(
                        with.iter().zip(&without).map(|(a, b)| (a - b) as f64 / sigma).collect(),
                    );
                    sigmas.push(sigma);
                }
            }
        }
        Ok(Canary { name, with, without, surveys, plan, signals, sigmas })
    }

    /// Is each statistic within a thousandth of its bound?
    fn is_full(&self) -> bool {
        let bounds = self.plan.levels.iter().flat_map(|level| &level.statistics);
        bounds.zip(&self.signals).all(|(statistic, signal)| {
            norm(signal) * statistic.noise.sigma as f64
                > 0.999 * statistic.noise.bound.norm() as f64
        })
    }

    /// Releases with the user and without, half of them each, seen as an attacker sees them.
    pub(super) fn releases(
        &self,
        subject: &dyn Subject,
        most: usize,
    ) -> Result<(Vec<Seen>, Vec<Seen>)> {
        let values: usize = self.signals.iter().map(Vec::len).sum();
        let count = most.min(VALUES_MAX / values.max(1)) / 2;
        Ok((self.many(subject, count, true)?, self.many(subject, count, false)?))
    }

    fn many(&self, subject: &dyn Subject, count: usize, present: bool) -> Result<Vec<Seen>> {
        let next = AtomicUsize::new(0);
        let work = || -> Result<Vec<Seen>> {
            let mut all = Vec::new();
            while next.fetch_add(1, Ordering::Relaxed) < count {
                let totals = if present { &self.with } else { &self.without };
                let surveys =
                    self.surveys.as_ref().map(|(a, b)| if present { a } else { b }.clone());
                let (noisy, surveys) = subject.release(&self.plan, totals.clone(), surveys)?;
                all.push(self.seen(&noisy, &surveys));
            }
            Ok(all)
        };
        let parts: Result<Vec<Vec<Seen>>> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..subject.threads().max(1)).map(|_| scope.spawn(work)).collect();
            let join = |t: std::thread::ScopedJoinHandle<'_, _>| {
                t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            threads.into_iter().map(join).collect()
        });
        Ok(parts?.into_iter().flatten().collect())
    }

    fn seen(&self, noisy: &NoisyTotals, surveys: &[Survey]) -> Seen {
        let totals = noisy.levels.iter().flat_map(|level| level.values.iter().cloned());
        let surveys = surveys.iter().flat_map(|survey| {
            std::iter::once(survey.histogram.clone())
                .chain(survey.spread.map(|spread| vec![spread]))
        });
        let along = |((values, signal), sigma): ((Vec<i64>, &Vec<f64>), &f64)| {
            let norm = norm(signal);
            let product: f64 = values.iter().zip(signal).map(|(&v, s)| v as f64 / sigma * s).sum();
            if norm > 0.0 { (product / norm) as f32 } else { 0.0 }
        };
        totals.chain(surveys).zip(&self.signals).zip(&self.sigmas).map(along).collect()
    }

    /// The likelihood ratio of independent normal values, in standard deviations.
    fn score(&self, seen: &Seen) -> f64 {
        let norms = self.signals.iter().map(|signal| norm(signal));
        let (mut sum, mut square) = (0.0, 0.0);
        for (&value, norm) in seen.iter().zip(norms) {
            sum += f64::from(value) * norm;
            square += norm * norm;
        }
        sum / square.sqrt()
    }

    /// The plan with all keys shown.
    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The cells of the user, with the user in them.
    pub(super) fn with(&self) -> &ExactTotals {
        &self.with
    }

    /// What an attacker makes of each release.
    pub(super) fn scores(&self, seen: &[Seen]) -> Vec<f64> {
        seen.iter().map(|seen| self.score(seen)).collect()
    }

    fn rows(&self, with: &[Seen], without: &[Seen], claim: Claim) -> (Vec<Row>, Curve) {
        let attained = self.signals.iter().map(|s| norm(s).powi(2)).sum::<f64>().sqrt();
        let (with, without) = (self.scores(with), self.scores(without));
        let (told, sure) =
            (mean_difference(&with, &without, TOLD), mean_difference(&with, &without, ALARM));
        let epsilon = |mu: f64| curve::epsilon(mu, claim.delta);
        let share = epsilon(told) / claim.epsilon;
        let count = with.len() + without.len();
        let mut rows = vec![row(
            "an attacker who knows all other users learns no more than mu allows",
            &format!(
                "likelihood ratio over {count} releases with or without a user {}; difference of means",
                self.name
            ),
            sure > claim.mu,
            format!(
                "mu at least {told:.4} at 95 %, {attained:.4} by design, claimed {:.4}; as epsilon at delta {:e}: \
                 at least {:.3} of {} ({:.0} %)",
                claim.mu,
                claim.delta,
                epsilon(told),
                claim.epsilon,
                100.0 * share
            ),
        )];
        let light = |alpha: f64| threshold(&with, &without, alpha, claim.delta);
        let (light_told, light_sure) = (light(TOLD), light(ALARM));
        rows.push(row(
            "the same without the normal law: true and false alarms of the best threshold",
            "threshold chosen on half of the releases, Clopper-Pearson intervals of both alarms on the rest",
            light_sure.0 > claim.mu || light_sure.1 > claim.epsilon,
            format!(
                "mu at least {:.4} at 95 %; epsilon without any curve at least {:.3} at delta {:e}",
                light_told.0, light_told.1, claim.delta
            ),
        ));
        (rows, trade_off(&with, &without))
    }

    /// The best linear look at all mechanisms, found on half of the releases and tried on the rest: noise
    /// that mechanisms share would fall out of it.
    fn searched(&self, with: &[Seen], without: &[Seen], claim: Claim) -> Row {
        let (first, second) = (with.len() / 2, without.len() / 2);
        let direction = best_direction(&with[..first], &without[..second]);
        let look = |seen: &Seen| -> f64 {
            seen.iter().zip(&direction).map(|(&v, d)| f64::from(v) * d).sum()
        };
        let scores = |seen: &[Seen]| -> Vec<f64> { seen.iter().map(look).collect() };
        let (with, without) = (scores(&with[first..]), scores(&without[second..]));
        let attained = self.signals.iter().map(|s| norm(s).powi(2)).sum::<f64>().sqrt();
        let (told, sure) =
            (mean_difference(&with, &without, TOLD), mean_difference(&with, &without, ALARM));
        row(
            "no combination of statistics tells more of a light user than mu allows",
            &format!(
                "the best linear combination of all mechanisms, found on half of the releases with and \
                 without a user {}, tried on the rest",
                self.name
            ),
            sure > claim.mu,
            format!(
                "mu at least {told:.4} at 95 %, {attained:.4} by design, claimed {:.4}",
                claim.mu
            ),
        )
    }
}

fn row(what: &str, method: &str, refuted: bool, figure: String) -> Row {
    Row {
        check: "black box",
        what: what.to_owned(),
        method: method.to_owned(),
        verdict: if refuted { Verdict::Refuted } else { Verdict::NotRefuted },
        figure,
        confidence: 1.0 - ALARM,
        reference: PAPERS,
    }
}

fn norm(signal: &[f64]) -> f64 {
    signal.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// The numbers of a survey, mechanism by mechanism.
fn numbers(survey: &SurveyTotals) -> Vec<Vec<i64>> {
    let spread = survey.spread.map(|spread| vec![spread]);
    std::iter::once(survey.histogram.clone()).chain(spread).collect()
}

/// Of both totals the cells in which they differ: other cells tell nothing, as noise is independent.
fn own_cells(plan: &Plan, with: ExactTotals, without: &ExactTotals) -> (ExactTotals, ExactTotals) {
    let level = |((with, without), plan): ((&LevelTotals, &LevelTotals), &LevelPlan)| {
        let known: std::collections::BTreeMap<_, usize> = without.keys.iter().zip(0..).collect();
        let mut own =
            LevelTotals { keys: Vec::new(), sums: vec![Vec::new(); plan.statistics.len()] };
        let mut less = own.clone();
        for (at, key) in with.keys.iter().enumerate() {
            let mut pairs = Vec::new();
            for (row, statistic) in plan.statistics.iter().enumerate() {
                let width = statistic.width;
                let mine = with.sums[row][at * width..][..width].to_vec();
                let before =
                    known.get(key).map(|&at| without.sums[row][at * width..][..width].to_vec());
                pairs.push((mine, before.unwrap_or_else(|| vec![0; width])));
            }
            if pairs.iter().any(|(mine, before)| mine != before) {
                own.keys.push(key.clone());
                less.keys.push(key.clone());
                for (row, (mine, before)) in pairs.into_iter().enumerate() {
                    own.sums[row].extend(mine);
                    less.sums[row].extend(before);
                }
            }
        }
        (own, less)
    };
    let pairs = with.levels.iter().zip(&without.levels).zip(&plan.levels).map(level);
    let (own, less): (Vec<LevelTotals>, Vec<LevelTotals>) = pairs.unzip();
    (ExactTotals { levels: own }, ExactTotals { levels: less })
}

fn mean_and_variance(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0))
}

/// A lower bound on μ: the difference of means over the common standard deviation, less what chance
/// makes of it. Wrong with probability `alpha`, for normal values.
fn mean_difference(with: &[f64], without: &[f64], alpha: f64) -> f64 {
    let ((a, va), (b, vb)) = (mean_and_variance(with), mean_and_variance(without));
    let (n, m) = (with.len() as f64, without.len() as f64);
    let d = (a - b) / f64::max((va + vb) / 2.0, f64::MIN_POSITIVE).sqrt();
    let error = (1.0 / n + 1.0 / m + d * d / (2.0 * (n + m))).sqrt();
    d - curve::quantile(alpha) * error
}

/// Lower bounds on μ and on ε at `delta`, by one threshold that the first half of releases chooses and the
/// second half tries. Wrong with probability `alpha`, whatever the law.
fn threshold(with: &[f64], without: &[f64], alpha: f64, delta: f64) -> (f64, f64) {
    let (mut a, second_a) = (with[..with.len() / 2].to_vec(), &with[with.len() / 2..]);
    let (mut b, second_b) = (without[..without.len() / 2].to_vec(), &without[without.len() / 2..]);
    a.sort_by(f64::total_cmp);
    b.sort_by(f64::total_cmp);
    let inside = |p: f64| p.clamp(1e-4, 1.0 - 1e-4);
    let n = a.len() as f64;
    let sd = |p: f64| (p * (1.0 - p) / n).sqrt();
    let worth = |from: f64| {
        let (hit, alarm) = (inside(share(&a, from)), inside(share(&b, from)));
        curve::quantile(inside(alarm + 2.0 * sd(alarm)))
            - curve::quantile(inside(hit - 2.0 * sd(hit)))
    };
    let candidates = (1..200).map(|n| a[n * (a.len() - 1) / 200]);
    let best = candidates.max_by(|x, y| worth(*x).total_cmp(&worth(*y))).unwrap_or(0.0);
    let count = |values: &[f64]| values.iter().filter(|&&v| v >= best).count() as u64;
    let (hit, _) = clopper_pearson(count(second_a), second_a.len() as u64, alpha / 2.0);
    let (_, alarm) = clopper_pearson(count(second_b), second_b.len() as u64, alpha / 2.0);
    let mu = curve::quantile(alarm) - curve::quantile(hit);
    (mu, ((hit - delta) / alarm).ln().max(0.0))
}

/// How many of `with` are found by the threshold that has `rate` of false alarms in `without`, and of how many.
pub(super) fn score_shares(with: &[f64], without: &[f64], rate: f64) -> (u64, u64) {
    let mut sorted = without.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = ((1.0 - rate) * sorted.len() as f64).ceil() as usize;
    let from = sorted.get(at).copied().unwrap_or(f64::INFINITY);
    (with.iter().filter(|&&v| v >= from).count() as u64, with.len() as u64)
}

/// The share of sorted values from `from` on.
fn share(values: &[f64], from: f64) -> f64 {
    (values.len() - values.partition_point(|&v| v < from)) as f64 / values.len() as f64
}

/// The inverse covariance times the difference of means: the best linear look, by Gauss elimination. A
/// millionth is added to the diagonal, so that shared noise shows as very much, not as a division by zero.
fn best_direction(with: &[Seen], without: &[Seen]) -> Vec<f64> {
    let width = with.first().map_or(0, Vec::len);
    let means = |seen: &[Seen]| -> Vec<f64> {
        let n = seen.len() as f64;
        (0..width).map(|i| seen.iter().map(|s| f64::from(s[i])).sum::<f64>() / n).collect()
    };
    let (a, b) = (means(with), means(without));
    let mut matrix = vec![vec![0.0; width + 1]; width];
    for (seen, means) in [(with, &a), (without, &b)] {
        let n = (with.len() + without.len()) as f64;
        for one in seen {
            let centred: Vec<f64> = one.iter().zip(means).map(|(&v, m)| f64::from(v) - m).collect();
            for (i, x) in centred.iter().enumerate() {
                matrix[i].iter_mut().zip(&centred).for_each(|(cell, y)| *cell += x * y / n);
            }
        }
    }
    for (i, row) in matrix.iter_mut().enumerate() {
        row[i] += 1e-6;
        row[width] = a[i] - b[i];
    }
    solve(matrix)
}

/// Solves a positive definite system, given with its right side as the last column.
fn solve(mut matrix: Vec<Vec<f64>>) -> Vec<f64> {
    let width = matrix.len();
    for pivot in 0..width {
        let row = matrix[pivot].clone();
        for other in matrix.iter_mut().skip(pivot + 1) {
            let factor = other[pivot] / row[pivot];
            other.iter_mut().zip(&row).for_each(|(cell, own)| *cell -= factor * own);
        }
    }
    let mut solution = vec![0.0; width];
    for at in (0..width).rev() {
        let known: f64 = (at + 1..width).map(|i| matrix[at][i] * solution[i]).sum();
        solution[at] = (matrix[at][width] - known) / matrix[at][at];
    }
    solution
}

/// False and true alarms of thresholds all along the score.
fn trade_off(with: &[f64], without: &[f64]) -> Curve {
    let sorted = |values: &[f64]| {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        values
    };
    let (with, without) = (sorted(with), sorted(without));
    let ends = (0..=200).map(|n| without[n * (without.len() - 1) / 200]);
    let mut points: Curve = ends.map(|from| (share(&without, from), share(&with, from))).collect();
    points.push((0.0, 0.0));
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}
