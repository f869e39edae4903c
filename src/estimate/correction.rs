//! What the fit takes from heavy users, put back: by the surveys of norms, and by coarser levels,
//! from which it takes less.

mod ratios;
mod since;
mod uneven;

use ratios::ratios;

pub(super) use ratios::Ratio;
pub(super) use uneven::Finer;

use super::model::{Model, Report};
use super::reconcile::Coarse;
use super::scaled;
use crate::job::StatisticKind;
use crate::plan::{LEFT_MIN, between};

/// What noised values are multiplied with.
#[derive(Clone, Debug)]
pub(super) struct Correction {
    /// The same for all cells,
    factor: f64,
    /// and, unless empty, one for each beside,
    margins: Vec<f32>,
    /// with the variance of its logarithm.
    margin_variances: Vec<f32>,
    /// The same by the scales of cells, which other releases do not share.
    by_scale: Vec<f32>,
    /// Relative standard deviation of `factor`, which all cells share.
    common: f64,
    /// How much the share that the fit takes differs between cells.
    between: f64,
    /// How much the share that it leaves differs between users
    /// ([`Retained::uneven`](crate::plan::Retained::uneven)).
    pub(super) uneven: f64,
}

impl Default for Correction {
    fn default() -> Self {
        Correction {
            factor: 1.0,
            margins: Vec::new(),
            margin_variances: Vec::new(),
            by_scale: Vec::new(),
            common: 0.0,
            between: 0.0,
            uneven: 0.0,
        }
    }
}

/// A sum with the standard deviation of its noise.
pub(super) type Sum = (f64, f64);

impl Correction {
    /// The correction of a statistic at a level that splits `coarse`, whose corrections are known.
    ///
    /// For what adds up: the sum of all cells becomes that of the coarser level whose sum has least
    /// noise, then, key by key, sums by the key's values are drawn towards those of coarser levels
    /// with that key, as far as noise allows, and by a finer level if there is none. For all else,
    /// what the statistic's survey says.
    pub(super) fn new(
        report: &Report,
        at: (usize, usize),
        (coarse, finer): (&[Coarse], &[Finer]),
        models: &[Vec<Model>],
    ) -> Correction {
        let kind = report.statistic(at).kind;
        let mut own = Correction { between: between(kind), ..Correction::default() };
        // Of private keys those that are hidden are missing.
        let is_public = report.plan.levels[at.0].is_public();
        let left = || group(&whole(report, at), &noise(report, at), 1, |_| 0)[0];
        let known =
            report.plan.retained(at.0, at.1, is_public.then(left), report.since(at, models));
        if let Some(known) = known {
            own.factor = (1.0 / known.share).clamp(1.0, factor_max(report, at));
            // What the factor may not make good for.
            own.common = known.doubt.hypot(1.0 / known.share / own.factor - 1.0);
            own.uneven = known.uneven;
        }
        if kind.facts().adds_up {
            own.rake(report, at, (coarse, known.is_some()), models);
            own.even(report, at, (coarse, finer));
        }
        own.by_scale(report, at);
        own
    }

    /// Relative standard deviation of what is right for a cell: that of the factor, and how much
    /// the fit takes here rather than there.
    pub(super) fn doubt(&self) -> f64 {
        self.common.hypot(self.apart())
    }

    /// The part of it that cells do not have in common.
    pub(super) fn apart(&self) -> f64 {
        self.between * (1.0 - 1.0 / self.factor)
    }

    /// The same of what a cell is multiplied with beside, its scale's factor with it.
    pub(super) fn margin_sd(&self, cell: usize) -> f64 {
        self.margin_variances.get(cell).map_or(0.0, |&variance| f64::from(variance).sqrt())
    }

    /// No level has less in all than the fit has left of it at another: raises what is below that,
    /// as with bounds that a job states, of which no survey tells what they take. Levels have
    /// public keys.
    pub(super) fn lift(
        report: &Report,
        kind: StatisticKind,
        levels: &[usize],
        models: &mut [Vec<Model>],
    ) {
        let place = |&level: &usize| Some((level, report.plan.levels[level].position(kind)?));
        let known: Vec<((usize, usize), Sum)> = levels
            .iter()
            .filter_map(place)
            .map(|at| (at, group(&whole(report, at), &noise(report, at), 1, |_| 0)[0]))
            .collect();
        let least = known.iter().map(|(_, (sum, sd))| sum - 3.0 * sd).fold(0.0, f64::max);
        let least = least * slack(kind);
        for ((level, place), (sum, sd)) in known {
            let own = &mut models[level][place].correction;
            if sum > 10.0 * sd && sum * own.factor < least {
                own.factor = least / sum;
                // It was cut by more than anybody knows.
                own.common = own.common.max(UNKNOWN);
            }
        }
    }

    /// What the noised value of a cell is multiplied with.
    pub(super) fn factor(&self, cell: usize) -> f64 {
        self.factor_but_scale(cell) * self.by_scale.get(cell).map_or(1.0, |&factor| factor.into())
    }

    /// The same but for its scale.
    pub(super) fn factor_but_scale(&self, cell: usize) -> f64 {
        self.factor * self.margins.get(cell).map_or(1.0, |&factor| factor.into())
    }

    /// Noised values of all cells, corrected.
    pub(super) fn apply(&self, mut noisy: Vec<f64>) -> Vec<f64> {
        noisy.iter_mut().enumerate().for_each(|(cell, y)| *y *= self.factor(cell));
        noisy
    }

    fn rake(
        &mut self,
        report: &Report,
        at: (usize, usize),
        (coarse, surveyed): (&[Coarse], bool),
        models: &[Vec<Model>],
    ) {
        let statistic = report.statistic(at);
        let (noisy, noise_sds) = (whole(report, at), noise(report, at));
        let own = group(&noisy, &noise_sds, 1, |_| 0)[0];
        if own.0 <= 10.0 * own.1 {
            // Mostly noise.
            return;
        }
        let known = coarse.iter().filter_map(|coarse| {
            let place = report.plan.levels[coarse.level].position(statistic.kind)?;
            let at = (coarse.level, place);
            let correction = &models[coarse.level][place].correction;
            let values = correction.apply(whole(report, at));
            Some(Known {
                coarse,
                values,
                sds: noise(report, at).iter().map(|sd| sd * correction.factor).collect(),
                doubt: correction.common,
            })
        });
        let known: Vec<Known> = known.collect();
        // The survey and the coarser level that is known best say something of the factor; weighed
        // by inverse variances. What several levels say has too much in common.
        let told = known.iter().filter_map(|Known { values, sds, doubt, .. }| {
            let (sum, noise) = group(values, sds, 1, |_| 0)[0];
            let theirs = (noise / sum).powi(2) + doubt.powi(2) + (own.1 / own.0).powi(2);
            // A sum cannot be less than what the fit has left of it here; one that is must have
            // been cut by far more than its survey tells.
            let possible = sum / own.0 > slack(statistic.kind) - 3.0 * theirs.sqrt();
            (sum > 0.0 && theirs < 0.04 && possible).then_some((sum / own.0, theirs))
        });
        if let Some((factor, theirs)) = told.min_by(|a, b| a.1.total_cmp(&b.1)) {
            let own = if surveyed { self.common.powi(2) } else { f64::INFINITY };
            let weight = 1.0 / (1.0 + theirs / own.max(1e-9));
            self.factor += weight * (factor - self.factor);
            // The same heavy users make both wrong, so that deviations add up.
            self.common = weight * theirs.sqrt() + (1.0 - weight) * self.common;
        }
        self.factor = self.factor.clamp(1.0, factor_max(report, at));
        let mut done: Vec<&str> = Vec::new();
        for Known { coarse, values, sds, .. } in &known {
            for (key, values_of) in report.margins(coarse.level) {
                if !done.contains(&key) {
                    let of_cell = |cell: usize| values_of[coarse.cells[cell] as usize] as usize;
                    let count = values_of.iter().max().map_or(0, |&last| last as usize + 1);
                    let theirs = group(values, sds, count, |cell| values_of[cell] as usize);
                    let corrected = self.apply(noisy.clone());
                    let sds: Vec<f64> = noise_sds.iter().map(|sd| sd * self.factor).collect();
                    let ours = group(&corrected, &sds, count, of_cell);
                    // What levels have in all is told from above.
                    if let Some(theirs) = as_large(&theirs, &ours) {
                        let taken = 1.0 - 1.0 / self.factor;
                        self.multiply(&ratios(&ours, &theirs, taken), &noisy, of_cell);
                    }
                    done.push(key);
                }
            }
        }
    }

    /// Makes good for what the fit takes from cells of one scale rather than another; the sum of
    /// all stays as it is. Money is not touched: tickets would follow what earlier releases made
    /// of both sales and payments (`docs/benchmarks.md`), so there is only more doubt.
    fn by_scale(&mut self, report: &Report, at: (usize, usize)) {
        if report.scales(at).is_none() {
            return;
        }
        if report.statistic(at).kind.is_money() {
            self.between *= 1.25;
            return;
        }
        let corrected = self.apply(whole(report, at));
        let sds = noise(report, at).into_iter().enumerate();
        let sds: Vec<f64> = sds.map(|(cell, sd)| sd * self.factor(cell)).collect();
        let taken = 1.0 - 1.0 / self.factor;
        let ratios = scaled::ratios(report, at, (&corrected, &sds), taken).unwrap_or_default();
        self.scale(&ratios);
    }

    /// Multiplies cells with what their scales tell, and is as unsure of each as that is.
    fn scale(&mut self, ratios: &[Ratio]) {
        self.by_scale = ratios.iter().map(|ratio| ratio.value as f32).collect();
        self.margin_variances.resize(ratios.len().max(self.margin_variances.len()), 0.0);
        let variances = self.margin_variances.iter_mut().zip(ratios);
        variances.for_each(|(variance, ratio)| *variance += ratio.variance as f32);
    }

    /// Multiplies cells, whose noised values these are, by no more than [`MOST`]; the sum of all
    /// stays what it is.
    fn multiply(&mut self, ratios: &[Ratio], noisy: &[f64], of_cell: impl Fn(usize) -> usize) {
        if ratios.iter().all(|ratio| *ratio == Ratio::ONE) {
            return;
        }
        let before = self.apply(noisy.to_vec());
        let factor = |cell: usize| ratios[of_cell(cell)].value.clamp(1.0 / MOST, MOST);
        let after: f64 = before.iter().enumerate().map(|(cell, y)| y * factor(cell)).sum();
        let scale = before.iter().sum::<f64>() / after;
        if !(scale.is_finite() && scale > 0.0) {
            return;
        }
        self.margins.resize(noisy.len(), 1.0);
        self.margin_variances.resize(noisy.len(), 0.0);
        for cell in 0..noisy.len() {
            self.margins[cell] *= (factor(cell) * scale) as f32;
            self.margin_variances[cell] += ratios[of_cell(cell)].variance as f32;
        }
    }
}

/// No cell is moved by more than this factor for one reason.
const MOST: f64 = 2.0;

/// A coarser level.
struct Known<'c> {
    coarse: &'c Coarse,
    /// Its noised values, corrected.
    values: Vec<f64>,
    /// Standard deviations of their noise.
    sds: Vec<f64>,
    /// Relative standard deviation that they have in common.
    doubt: f64,
}

/// Relative standard deviation of a factor that is only known to be too small.
const UNKNOWN: f64 = 0.15;

/// The most that noised values are multiplied with for all cells alike. Bounds that the run chooses
/// take no more; of stated ones a survey may say that they take nearly all.
fn factor_max(report: &Report, (level, statistic): (usize, usize)) -> f64 {
    const STATED: f64 = 50.0;
    let mut surveys = report.plan.surveys.iter();
    let stated = surveys.any(|s| (s.level, s.statistic) == (level, statistic) && !s.is_choice());
    if stated { STATED } else { 1.0 / LEFT_MIN }
}

/// What of a sum at one level must be there at another: all of what only adds up. Refunds may be
/// cut at one and not at the other, but they are few.
fn slack(kind: StatisticKind) -> f64 {
    if kind.facts().signed { 0.9 } else { 1.0 }
}

/// The standard deviations of the noise of [`whole`].
fn noise(report: &Report, at: (usize, usize)) -> Vec<f64> {
    let numbers = (report.statistic(at).width as f64).sqrt();
    report.noise_sds(at).into_iter().map(|one| one * numbers).collect()
}

/// The noised values of a statistic, all its numbers of a cell together.
fn whole(report: &Report, at: (usize, usize)) -> Vec<f64> {
    let width = report.statistic(at).width;
    let mut sums = report.noisy(at, 0);
    for bin in 1..width {
        sums.iter_mut().zip(report.noisy(at, bin)).for_each(|(sum, y)| *sum += y);
    }
    sums
}

/// Sums that come to as much in all as others do; `None` if they do not come to anything.
fn as_large(sums: &[Sum], others: &[Sum]) -> Option<Vec<Sum>> {
    let all = |sums: &[Sum]| sums.iter().map(|sum| sum.0).sum::<f64>();
    let scale = all(others) / all(sums);
    let scaled = |&(sum, sd): &Sum| (sum * scale, sd * scale);
    (scale.is_finite() && scale > 0.0).then(|| sums.iter().map(scaled).collect())
}

/// Sums by group, of values with noise of `sds`.
pub(super) fn group(
    values: &[f64],
    sds: &[f64],
    groups: usize,
    of: impl Fn(usize) -> usize,
) -> Vec<Sum> {
    let mut sums = vec![(0.0, 0.0); groups];
    for (cell, (value, sd)) in values.iter().zip(sds).enumerate() {
        let sum = &mut sums[of(cell)];
        *sum = (sum.0 + value, sum.1 + sd * sd);
    }
    sums.into_iter().map(|(sum, variance)| (sum, variance.sqrt())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_below_zero_are_made_as_large_as_none() {
        let ours = [(60.0, 1.0), (40.0, 1.0)];
        assert_eq!(
            as_large(&[(3.0, 0.5), (1.0, 0.5)], &ours),
            Some(vec![(75.0, 12.5), (25.0, 12.5)])
        );
        for noise in [[(-3.0, 2.0), (1.0, 2.0)], [(2.0, 2.0), (-2.0, 2.0)]] {
            assert_eq!(as_large(&noise, &ours), None);
        }
    }

    #[test]
    fn what_is_unsure_of_a_scale_is_unsure_of_its_cells() {
        let mut own = Correction { factor: 2.0, ..Correction::default() };
        own.scale(&[Ratio { value: 1.1, variance: 0.09 }, Ratio { value: 0.9, variance: 0.16 }]);
        assert!((own.factor(0) - 2.2).abs() < 1e-6 && (own.factor(1) - 1.8).abs() < 1e-6);
        let sds = [own.margin_sd(0), own.margin_sd(1)];
        assert!((sds[0] - 0.3).abs() < 1e-6 && (sds[1] - 0.4).abs() < 1e-6, "{sds:?}");
        // Beside what is unsure of its margins.
        own.scale(&[Ratio { value: 1.0, variance: 0.16 }, Ratio::ONE]);
        assert!(
            (own.margin_sd(0) - 0.5).abs() < 1e-6 && (own.factor_but_scale(0) - 2.0).abs() < 1e-6
        );
        own.scale(&[]);
        assert!((own.margin_sd(0) - 0.5).abs() < 1e-6 && (own.factor(0) - 2.0).abs() < 1e-6);
    }

    #[test]
    fn what_the_fit_takes_is_put_back() {
        use crate::estimate::estimate;
        use crate::fixture::{Market, Row};
        use crate::mechanism::{RunKey, add_noise};
        // 2,000 users; at merchants R1 they buy four times as often, so that the bound takes more.
        let row = |n: u32| {
            let merchant = [0, 3, 1, 1, 4, 4, 1, 4][n as usize % 8];
            let (user, minute) = (n * 31 % 2000, n * 7 % 100_000);
            Row { user, merchant, minute, amount: 1_000, wallet: 0 }
        };
        let rows: Vec<Row> = (0..40_000).map(row).collect();
        let market = Market::new(&rows);
        let plan = market.plan(&["levels = [[], [\"region\"], [\"merchant\", \"month\"]]\n\
            keys = \"public\"\ninsights = [\"payments\"]\nbounds = { payments = [60, 50, 5] }"
            .to_owned()]);
        let totals = market.local(&plan, 1);
        let noisy = add_noise(&plan, totals, RunKey::frozen([1; 32]), 1).expect("draws");
        let estimates = estimate(&plan, noisy, 1);
        let model = &estimates.models[2][0];
        let found: i64 = model.estimates.iter().sum();
        let share = found as f64 / 1024.0 / rows.len() as f64;
        assert!((0.95..1.05).contains(&share), "{share}");
        assert!(model.correction.factor > 1.2, "{}", model.correction.factor);
        assert!(model.correction.doubt() > 0.02);
    }

    /// 2,000 users with 20 payments each, of whom a bound of 5 leaves a small part.
    #[test]
    fn what_stated_bounds_take_is_found_if_asked() {
        use crate::estimate::estimate;
        use crate::fixture::{Market, Row, settled};
        use crate::mechanism::{RunKey, add_noise};
        use crate::privacy::{Delta, largest_loss};
        let row = |n: u32| {
            let (user, minute) = (n % 2000, n * 7 % 100_000);
            Row { user, merchant: n % 5, minute, amount: 1_000, wallet: 0 }
        };
        let rows: Vec<Row> = (0..40_000).map(row).collect();
        let market = Market::new(&rows);
        let report = |more: &str| {
            format!(
                "levels = [[\"region\", \"month\"]]\nkeys = \"public\"\ninsights = [\"payments\"]\n\
                 bounds = {{ payments = 5 }}\n{more}"
            )
        };
        let found = |plan: &crate::plan::Plan| {
            let (_, plan, totals) = settled(&market.engine(1, 3), plan);
            let noisy = add_noise(&plan, totals, RunKey::frozen([1; 32]), 1).expect("draws");
            let estimates = estimate(&plan, noisy, 1);
            let noised: i64 = estimates.totals.levels[0].values[0].iter().sum();
            let noise = plan.levels[0].statistics[0].noise;
            let correction = estimates.models[0][0].correction.clone();
            (noise, noise.to_natural(noised as f64) / rows.len() as f64, correction)
        };
        let (asked, silent) = (market.plan(&[report("survey = true")]), market.plan(&[report("")]));
        assert!(!asked.is_open(0, 0) && !asked.takes_unknown(0, 0) && silent.takes_unknown(0, 0));
        assert!(asked.surveys.len() == 1 && silent.surveys.is_empty());
        let (noise, left, correction) = found(&asked);
        // The bound is as stated, and the price with the survey's is the job's, but for noise that
        // is a whole number of grid units.
        assert_eq!(noise, asked.levels[0].statistics[0].noise);
        assert!((noise.to_natural(noise.bound.norm() as f64) - 5.0).abs() < 1e-3);
        let [own, other] = [&asked, &silent].map(|plan| plan.loss.mu_squared);
        let privacy = &asked.job.privacy;
        let most = largest_loss(privacy.epsilon, privacy.delta, Delta::ZERO).expect("enough");
        assert!(own <= most && other <= most, "{own:?} {other:?} {most:?}");
        let [own, other] = [own, other].map(|price| price.mu_up().value());
        assert!((own / other - 1.0).abs() < 1e-6, "{own} {other}");
        assert!(left < 0.7, "{left}");
        let off = (left * correction.factor - 1.0).abs();
        assert!(off < 1.96 * correction.doubt() && off < 0.3, "{off} {correction:?}");
        let (_, left, correction) = found(&silent);
        assert!(left < 0.7 && correction.factor < 1.01, "{left} {correction:?}");
    }
}
