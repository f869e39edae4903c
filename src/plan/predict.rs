//! How far a plan's values will be from the truth, before anything is spent.
//!
//! From public facts, what the job says of public knowledge (`[expect]`), and earlier releases;
//! never from the payments. The formulas are in *Predicted errors* of `docs/accuracy.md`.

use super::choice::{NormLaw, mean_noised_size, norm_bound, spread_of_sizes};
use super::most::Most;
use super::{Plan, StatisticPlan, expected, survey};
use crate::job::StatisticKind;
use crate::privacy::{MuSquared, PrivacyLoss, epsilon_held};

/// What is expected of one statistic of one level, errors against what they are errors of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// Who says how large values are.
    pub basis: Basis,
    /// The norm bound in natural units; of an open one that which the run is expected to choose.
    pub norm_bound: f64,
    /// Standard deviation of the noise in natural units.
    pub noise_sd: f64,
    /// What all cells hold together, in natural units.
    pub total: f64,
    /// Expected error of the sum of all noised values.
    pub of_total: f64,
    /// Expected error of the noised value of a cell of mean size.
    pub of_cell: f64,
    /// Expected sum of the absolute errors of noised values, against the sum of values (WAPE).
    pub noised: f64,
    /// The same of estimates, about; they can be better.
    pub estimated: f64,
}

/// Who says how large values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// An earlier release, or the run's own surveys.
    Released,
    /// The job's `[expect]`.
    Expected,
}

impl Basis {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Basis::Released => "released",
            Basis::Expected => "expected",
        }
    }
}

/// What is known of one statistic of one level.
pub(super) struct Known {
    basis: Basis,
    /// `None`: what a bound takes is not known.
    law: Option<NormLaw>,
    total: f64,
    cells: f64,
    /// Numbers in all cells, but for those that the job's days do not tell.
    numbers: f64,
    bound: Bound,
    /// Whether the run knows what its bound takes.
    surveyed: bool,
    /// See [`between`].
    between: f64,
}

/// A norm bound as far as it is known beforehand.
enum Bound {
    Fixed(f64),
    /// Chosen for the noise, at most this.
    Chosen(f64),
}

impl Plan {
    /// What is expected of a statistic with public keys; `None` where neither an earlier release
    /// nor the job says how large values are.
    pub fn predicted(&self, level: usize, statistic: usize) -> Option<Prediction> {
        let charge = self.levels[level].statistics[statistic].charge;
        self.known(level, statistic)?.predicted(charge)
    }

    /// Statistics whose noised values will be further from the truth, in all, than nothing would
    /// be: the places of level and statistic, with the prediction.
    pub fn useless(&self) -> Vec<(usize, usize, Prediction)> {
        let places = (0..self.levels.len()).flat_map(|level| {
            (0..self.levels[level].statistics.len()).map(move |statistic| (level, statistic))
        });
        places
            .filter_map(|(level, statistic)| {
                let prediction = self.predicted(level, statistic)?;
                (prediction.noised > 1.0).then_some((level, statistic, prediction))
            })
            .collect()
    }

    /// About the ε of a job of the same shape whose statistic is expected to be of use.
    pub fn epsilon_of_use(&self, level: usize, statistic: usize) -> Option<f64> {
        let known = self.known(level, statistic)?;
        let charge = self.levels[level].statistics[statistic].charge;
        // In sixty-fourths of the price.
        let times = |price: MuSquared, factor: u32| {
            let units = price.units().checked_mul(u128::from(factor))?;
            Some(MuSquared::from_units(units / 64))
        };
        let useful = |factor: u32| {
            let prediction = times(charge, factor).and_then(|charge| known.predicted(charge));
            prediction.is_some_and(|p| p.noised <= 1.0)
        };
        let (mut low, mut high) = (64u32, 1u32 << 24);
        if !useful(high) {
            return None;
        }
        while high - low > 1 {
            let middle = low.midpoint(high);
            if useful(middle) { high = middle } else { low = middle }
        }
        let loss = PrivacyLoss { mu_squared: times(self.loss.mu_squared, high)?, ..self.loss };
        epsilon_held(loss, self.job.privacy.delta).filter(|epsilon| *epsilon <= 20.0)
    }

    pub(super) fn known(&self, level: usize, statistic: usize) -> Option<Known> {
        let plan = &self.levels[level];
        let StatisticPlan { kind, noise, width, .. } = plan.statistics[statistic];
        let cells = plan.cells.count(&self.job).filter(|_| plan.is_public())? as f64;
        // Logarithms of either sign add up to nothing against which an error could be large.
        if kind == StatisticKind::TicketLogs {
            return None;
        }
        let open = self.is_open(level, statistic);
        let surveys = self.surveys.iter().chain(self.adopted.iter().map(|a| &a.survey));
        let survey = surveys.clone().find(|s| (s.level, s.statistic) == (level, statistic));
        // What norms are at scales of cells is known after the run only, so predictions are those
        // of the same noise in all cells.
        let told = survey.and_then(|s| if s.unit.is_some() { s.plain.as_deref() } else { Some(s) });
        let told = told.filter(|survey| survey.result.is_some());
        let law = told.map(|told| survey::norms_of(kind, told, Most::of(&self.job, plan, kind)));
        // The latest that tells.
        let earlier = plan.earlier.iter().find_map(|e| e.cells.statistics.get(&kind));
        let earlier = earlier.map(|earlier| earlier.values.iter().sum::<f64>());
        let doubt = survey.map_or(0.0, |s| s.histogram.sd());
        let guess = expected::expected(self, plan, kind, doubt);
        let released = earlier.or_else(|| law.as_ref().map(NormLaw::total));
        let (total, basis) = match (released, &guess) {
            (Some(total), _) => (total, Basis::Released),
            (None, Some((_, total))) => (*total, Basis::Expected),
            (None, None) => return None,
        };
        let law = law.or(guess.map(|(law, _)| law));
        let norm = noise.to_natural(noise.bound.norm() as f64);
        let bound = match open {
            true => Bound::Chosen(Most::of(&self.job, plan, kind).norm),
            false => Bound::Fixed(norm),
        };
        // The run cannot be told beforehand what it will choose.
        if matches!(bound, Bound::Chosen(_)) && law.is_none() {
            return None;
        }
        let numbers = cells * plan.told_width(kind, width);
        let (total, surveyed) = (total.max(1.0), survey.is_some());
        let between = between(kind);
        Some(Known { basis, law, total, cells, numbers, bound, surveyed, between })
    }
}

impl Known {
    /// What is expected if the statistic's noise may cost this.
    pub(super) fn predicted(&self, charge: MuSquared) -> Option<Prediction> {
        let z = 1.0 / charge.mu_up().value();
        let norm_bound = match (&self.bound, &self.law) {
            (Bound::Fixed(norm), _) => *norm,
            (Bound::Chosen(most), Some(law)) => norm_bound(law, z, self.numbers).min(*most),
            (Bound::Chosen(_), None) => return None,
        };
        let (share, doubt) = self.law.as_ref().map_or((1.0, 0.0), |law| {
            let retained = law.retained(norm_bound, None);
            (retained.share, retained.doubt)
        });
        let noise_sd = z * norm_bound;
        let (total, cells) = (self.total, self.numbers);
        let mean = total / cells;
        let lost = (1.0 - share) * mean;
        let noised = self.mean_over_cells(|size| mean_noised_size(lost * size, noise_sd));
        let estimated = match self.surveyed {
            // The fit's part is put back, as far as surveys tell (*Estimates* in
            // `docs/privacy.md`).
            true => {
                let share = share.max(LEFT_MIN);
                let doubt = doubt.hypot(self.between * (1.0 - share)) * HALF_NORMAL * mean;
                self.best_error(mean, noise_sd / share).hypot(doubt)
            }
            false => self.best_error(mean, noise_sd).hypot(lost).min(noised),
        };
        Some(Prediction {
            basis: self.basis,
            norm_bound,
            noise_sd,
            total,
            of_total: mean_noised_size(lost * cells, noise_sd * cells.sqrt()) / total,
            of_cell: mean_noised_size(lost, noise_sd) / mean,
            noised: noised / mean,
            estimated: estimated / mean,
        })
    }
}

impl Known {
    /// The mean over cells of what depends on their size; one cell is as large as itself.
    fn mean_over_cells(&self, of: impl Fn(f64) -> f64) -> f64 {
        if self.cells > 1.0 { spread_of_sizes(of) } else { of(1.0) }
    }

    /// [`best_error`], where there are several cells.
    fn best_error(&self, mean: f64, sd: f64) -> f64 {
        if self.cells > 1.0 { best_error(mean, sd) } else { HALF_NORMAL * sd }
    }
}

/// E|X| of a normal X with deviation 1.
const HALF_NORMAL: f64 = 0.797_884_560_802_865_4;

/// How much the share that the fit takes differs between cells, against what it takes in all: so
/// that intervals cover on made-up and real payments (`docs/benchmarks.md`).
pub fn between(kind: StatisticKind) -> f64 {
    if kind.is_count() { 0.17 } else { 0.20 }
}

/// The fit is not thought to leave less than this share.
pub const LEFT_MIN: f64 = 0.25;

/// E|θ − E(θ|y)| for y = θ + noise of deviation `sd`, where θ is log-normal with this mean and the
/// deviation 1.5: the error of the best estimate that knows no more of a cell than its noised
/// value.
fn best_error(mean: f64, sd: f64) -> f64 {
    const WIDTH: f64 = 1.5;
    // In units of the noise: by logarithm up to a quarter, then in quarters. Far from zero the
    // prior says nothing.
    const STEP: f64 = 0.25;
    const SMALL: i32 = 20;
    const FAR: f64 = 24.0;
    let mean = mean / sd;
    let below = |x: f64| {
        let z = ((x / mean).ln() + WIDTH * WIDTH / 2.0) / WIDTH;
        0.5 * libm::erfc(-z / std::f64::consts::SQRT_2)
    };
    let least = (mean / 1e3).min(STEP / 2.0);
    let small = (0..SMALL).map(|n| least * (STEP / least).powf(f64::from(n) / f64::from(SMALL)));
    let edges: Vec<f64> = small.chain((1..=128).map(|n| f64::from(n) * STEP)).collect();
    let parts =
        edges.windows(2).map(|edge| ((edge[0] * edge[1]).sqrt(), below(edge[1]) - below(edge[0])));
    let parts: Vec<(f64, f64)> = std::iter::once((0.0, below(least))).chain(parts).collect();
    let estimate = |y: f64| {
        let (mut top, mut bottom) = (0.0, 0.0);
        for (value, weight) in &parts {
            let likely = weight * (-(y - value).powi(2) / 2.0).exp();
            (top, bottom) = (top + likely * value, bottom + likely);
        }
        top / bottom.max(f64::MIN_POSITIVE)
    };
    let steps: Vec<(f64, f64)> =
        (-8..=8).map(|step| f64::from(step) / 2.0).map(|e| (e, (-e * e / 2.0f64).exp())).collect();
    let all: f64 = steps.iter().map(|(_, weight)| weight).sum();
    let error = |theta: f64| {
        let errors = steps.iter().map(|(e, w)| w * (estimate(theta + e) - theta).abs());
        errors.sum::<f64>() / all
    };
    let near = parts.iter().filter(|(value, _)| *value < FAR);
    let near: f64 = near.map(|(value, weight)| weight * error(*value)).sum();
    let far = 1.0 - below(FAR);
    (near + far * HALF_NORMAL) * sd
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_estimates_are_no_worse_than_noise_or_a_constant() {
        // 1.09: E|θ − mean| over the mean, of the log-normal law of deviation 1.5; its cells are
        // coarse.
        for (mean, sd) in [(1.0, 0.001), (1.0, 0.1), (1.0, 1.0), (1.0, 10.0), (1.0, 1e4)] {
            let error = best_error(mean, sd);
            assert!(error <= 1.001 * HALF_NORMAL * sd, "{sd}: {error}");
            assert!(error <= 1.15, "{sd}: {error}");
        }
        // Small noise stays as it is; large noise says nothing.
        assert!(best_error(1.0, 0.001) > 0.75 * 0.001);
        assert!(best_error(1.0, 1e4) > 0.6);
    }
}
