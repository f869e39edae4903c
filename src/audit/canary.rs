//! Black box: releases with and without one user who does as much as the bounds allow, or as little
//! as can be. Each release has a key of its own from the operating system, so they are independent
//! by construction, and each is a release with or without that user: nothing is assumed of other
//! users.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::power::{best_direction, mean_difference, threshold, trade_off};
use super::row::{Row, Verdict};
use super::subject::Subject;
use super::twin::{DAY, Twin, TwinPayment};
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
pub(super) const TOLD: f64 = 0.05;
/// Chance of a false alarm of each of the tests that refute; there are three here, and up to five
/// in `one_run`.
pub(super) const ALARM: f64 = 0.0003;

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
    /// For each statistic, then each mechanism of a survey: what the user adds over σ, number by
    /// number.
    signals: Vec<Vec<f64>>,
    sigmas: Vec<f64>,
    /// The level of each of them.
    levels: Vec<usize>,
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
    let light = Canary::new("with one payment and one refund", subject, twin, plan, &one_payment)?;
    let (with, without) = light.releases(subject, releases)?;
    rows.push(light.searched(&with, &without, claim));
    Ok((rows, points))
}

/// So many cells, so often and so much, that all statistics are at their bounds: over the whole
/// period, so that there are days before to look back on; in each cell on several days, with
/// payments in most and refunds in some, but never as much of both.
fn everything(twin: &Twin, user: &Arc<str>, cells: usize) -> Vec<TwinPayment> {
    let days = twin.world.days();
    let pay = |n: usize| {
        // Steps of the golden section come back to no day before all are used.
        let first = (n as f64 * 0.618_034).fract() * days as f64;
        let amount = if n % 4 == 3 { -AMOUNT_MAX } else { AMOUNT_MAX };
        let second = move |visit: i64| (first as i64 + visit) * DAY + 3_600 * (n as i64 % 20);
        (0..12).map(move |count| twin.world.pay(user, n, second(count / 4), amount))
    };
    (0..cells).flat_map(pay).collect()
}

/// As little as can be, of each sign.
fn one_payment(twin: &Twin, user: &Arc<str>, _: usize) -> Vec<TwinPayment> {
    let refund = (twin.world.days() - 1) * DAY;
    vec![twin.world.pay(user, 1, 40_000, 1), twin.world.pay(user, 2, refund, -1)]
}

/// The plan, where keys are discovered with the cells that a round finds of these payments alone:
/// else a user would count only where others do.
fn with_own_cells(
    subject: &dyn Subject,
    twin: &Twin,
    plan: &Plan,
    payments: &[TwinPayment],
) -> Result<Plan> {
    let open = twin.plan();
    if !open.is_seeking() {
        return Ok(plan.clone());
    }
    let (mut own, mut cells) = (plan.clone(), Vec::new());
    twin.write(payments.iter())?;
    subject.totals(twin, open, &mut |exact| {
        if !exact.round.is_empty() {
            cells = exact.round.into_iter().map(|level| level.keys).collect();
            return Ok(open.clone().with_keys_of(plan));
        }
        Ok(plan.clone())
    })?;
    let seeking = own.levels.iter_mut().filter(|level| level.is_discovered());
    for (level, cells) in seeking.zip(cells) {
        level.always.extend(cells);
        level.always.sort();
        level.always.dedup();
    }
    Ok(own)
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
        let plan = &with_own_cells(subject, twin, plan, payments)?;
        let run = |payments: &[TwinPayment]| -> Result<(ExactTotals, Option<ExactSurveys>)> {
            twin.write(payments.iter())?;
            let mut surveys = None;
            let (_, totals) = subject.totals(twin, twin.plan(), &mut |exact| {
                if !exact.round.is_empty() {
                    return Ok(twin.plan().clone().with_keys_of(plan));
                }
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
        let (mut signals, mut sigmas, mut levels) = (Vec::new(), Vec::new(), Vec::new());
        let both = with.levels.iter().zip(&without.levels).zip(&plan.levels);
        for (place, ((with, without), level)) in both.enumerate() {
            for (row, statistic) in level.statistics.iter().enumerate() {
                let sigma = statistic.noise.sigma as f64;
                let pairs = with.sums[row].iter().zip(&without.sums[row]);
                signals.push(pairs.map(|(a, b)| (a - b) as f64 / sigma).collect());
                sigmas.push(sigma);
                levels.push(place);
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
                    levels.push(survey.level);
                }
            }
        }
        Ok(Canary { name, with, without, surveys, plan, signals, sigmas, levels })
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

    /// The likelihood ratio of independent normal values, in standard deviations, of the mechanisms
    /// of some levels.
    pub(super) fn score(&self, seen: &Seen, is_wanted: &dyn Fn(usize) -> bool) -> f64 {
        let norms = self.signals.iter().map(|signal| norm(signal));
        let (mut sum, mut square) = (0.0, 0.0);
        for ((&value, norm), &level) in seen.iter().zip(norms).zip(&self.levels) {
            if is_wanted(level) {
                sum += f64::from(value) * norm;
                square += norm * norm;
            }
        }
        // A user whom some levels say nothing of.
        sum / square.sqrt().max(f64::MIN_POSITIVE)
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
    fn scores(&self, seen: &[Seen]) -> Vec<f64> {
        seen.iter().map(|seen| self.score(seen, &|_| true)).collect()
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

    /// The best linear look at all mechanisms, found on half of the releases and tried on the rest:
    /// noise that mechanisms share would fall out of it.
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

pub(super) fn row(what: &str, method: &str, refuted: bool, figure: String) -> Row {
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

/// Of both totals the cells in which they differ: other cells tell nothing, as noise is
/// independent.
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
