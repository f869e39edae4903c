//! Estimates of all statistics of a report: what the fit took is put back, values are drawn towards
//! what cells like them have, and levels are made to add up.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::correction::{Correction, Finer};
use super::earlier::in_order;
use super::joint::Observed;
use super::panel::{Panel, currencies};
use super::rates::{self, Pair, Range, Rate};
use super::reconcile::{self, Coarse, Values};
use super::season::{RATIOS_DIFFER, TIMES_DIFFER, seasons};
use super::shrink::{Drawn, Shift, shrink};
use super::{Z95, bins, lift, limits};
use crate::job::{Expected, LOG_PARTS, StatisticKind};
use crate::mechanism::NoisyTotals;
use crate::parallel;
use crate::plan::{CellKey, LevelPlan, Plan, Scales, StatisticPlan, Told};

/// What is known of one statistic of one level, beside its noised values.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    /// The estimates, as whole numbers of [`parts`]: cell after cell, of each its numbers.
    pub(super) estimates: Vec<i64>,
    /// Standard deviation of each estimate, in natural units; of statistics with one number a cell.
    pub(super) sds: Vec<f32>,
    /// What noised values are multiplied with to make good for what the fit takes.
    pub(super) correction: Correction,
    /// The scales of its cells, if they have any.
    pub(super) scales: Option<Scales>,
    /// Of visit classes, the share of customers that came twice or more; of users who spend more or
    /// less than before, by how much more of all the former are; of logarithms of tickets, their
    /// mean.
    pub(super) rates: Vec<Rate>,
}

/// Estimates of counts are multiples of 1/1024, so that sums of floats are exact; money is in whole
/// minor units.
pub(super) fn parts(kind: StatisticKind) -> f64 {
    if kind.is_count() { 1024.0 } else { 1.0 }
}

impl Model {
    /// Half the width of the 95 % interval around a noised value of the cell, for an estimate of
    /// `value`, both after the correction and in natural units.
    pub(super) fn half(&self, statistic: &StatisticPlan, cell: usize, value: f64) -> f64 {
        Z95 * self.deviation(statistic, cell, value)
    }

    /// The standard deviation of the corrected noised value of a cell that has about `value`.
    fn deviation(&self, statistic: &StatisticPlan, cell: usize, value: f64) -> f64 {
        let doubt = self.correction.doubt().hypot(self.correction.margin_sd(cell));
        self.noise(statistic, cell).hypot(doubt * value)
    }

    fn noise(&self, statistic: &StatisticPlan, cell: usize) -> f64 {
        statistic.noise.sd() * self.scale(cell) * self.correction.factor(cell)
    }

    /// The scale of a cell.
    pub(super) fn scale(&self, cell: usize) -> f64 {
        self.scales.as_ref().map_or(1.0, |scales| scales.scale(cell))
    }
}

/// The models of all statistics of all levels.
pub(super) fn models(plan: &Plan, totals: &NoisyTotals, threads: usize) -> Vec<Vec<Model>> {
    let of_level = |level: &LevelPlan| -> Vec<Model> {
        let scales = level.statistics.iter().map(|s| level.scales.get(&s.kind).cloned());
        scales.map(|scales| Model { scales, ..Model::default() }).collect()
    };
    let mut models: Vec<Vec<Model>> = plan.levels.iter().map(of_level).collect();
    for levels in plan.groups() {
        Report { plan, totals, threads, levels }.fill(&mut models);
    }
    models
}

/// One report, or several that share levels: levels that may add up.
pub(super) struct Report<'p> {
    pub(super) plan: &'p Plan,
    pub(super) totals: &'p NoisyTotals,
    pub(super) threads: usize,
    /// Places of its levels in the plan.
    pub(super) levels: Vec<usize>,
}

impl Report<'_> {
    fn fill(&self, models: &mut [Vec<Model>]) {
        let towers = self.towers();
        // From few cells to many, as corrections use those of coarser levels.
        for (level, coarse) in &towers {
            let finer = towers.iter().filter_map(|(fine, coarse)| {
                Some((*fine, coarse.iter().find(|coarse| coarse.level == *level)?))
            });
            let finer: Vec<Finer> = finer.collect();
            for place in 0..models[*level].len() {
                let at = (*level, place);
                models[*level][place].correction =
                    Correction::new(self, at, (coarse, &finer), models);
            }
        }
        let public: Vec<usize> = self
            .levels
            .iter()
            .copied()
            .filter(|&level| self.plan.levels[level].is_public())
            .collect();
        for kind in StatisticKind::ALL.into_iter().filter(|kind| kind.facts().adds_up) {
            Correction::lift(self, kind, &public, models);
        }
        let mut owned = Owned::new();
        // From many cells to few: what no finer level has made add up is a leaf's.
        for (level, coarse) in towers.into_iter().rev() {
            self.fill_level(level, coarse, &mut owned, models);
        }
    }

    /// Each level with the coarser ones that it splits, both from few cells to many.
    fn towers(&self) -> Vec<(usize, Vec<Coarse>)> {
        let mut order = self.levels.clone();
        order.sort_by_key(|&level| self.totals.levels[level].keys.len());
        let within = |fine: usize, level: usize| {
            let (fine, coarse) = (&self.plan.levels[fine], &self.plan.levels[level]);
            let cells = fine.cells_of(coarse, &self.plan.job)?;
            Some(Coarse { level, cells, owned: true })
        };
        let tower = |(place, &level): (usize, &usize)| {
            (level, order[..place].iter().filter_map(|&coarse| within(level, coarse)).collect())
        };
        order.iter().enumerate().map(tower).collect()
    }

    /// The estimates of a level, and of the coarser ones that add up from it. Customers of cells do
    /// not add up to those of larger ones, so each level has its own.
    fn fill_level(
        &self,
        level: usize,
        mut coarse: Vec<Coarse>,
        owned: &mut Owned,
        models: &mut [Vec<Model>],
    ) {
        let statistics = &self.plan.levels[level].statistics;
        if statistics.iter().all(|s| s.kind.facts().adds_up && owned.contains(&(level, s.kind))) {
            return;
        }
        let keys = &self.totals.levels[level].keys;
        let panel = Panel::new(&self.plan.job, &self.plan.levels[level], keys);
        let mut known: BTreeMap<StatisticKind, Vec<f64>> = BTreeMap::new();
        for (place, statistic) in statistics.iter().enumerate() {
            let (at, facts) = ((level, place), statistic.kind.facts());
            if facts.adds_up && owned.contains(&(level, statistic.kind)) {
                continue;
            }
            let coarse = if facts.adds_up { &mut coarse[..] } else { &mut [] };
            for coarse in coarse.iter_mut() {
                let has = self.plan.levels[coarse.level].position(statistic.kind).is_some();
                coarse.owned = has && owned.insert((coarse.level, statistic.kind));
            }
            let coarse = &*coarse;
            let from = match facts.expected {
                Expected::Season => &[][..],
                Expected::Per(kinds) => kinds,
                Expected::Share(whole) => {
                    self.shares(at, whole, coarse, models);
                    if statistic.kind == StatisticKind::VisitClasses {
                        models[level][place].rates = self.repeat_rates(&panel, at, models);
                    }
                    if statistic.kind.compares() {
                        models[level][place].rates = self.balances(&panel, at, models);
                    }
                    continue;
                }
                Expected::Mean(of) => {
                    models[level][place].rates = self.means(&panel, at, of, models);
                    models[level][place].estimates = vec![0; self.totals.levels[level].keys.len()];
                    continue;
                }
            };
            let pairs = lift::unrelated(self, level, models);
            let from = from.iter().find_map(|kind| known.get(kind)).or(pairs.as_ref());
            let from = from.map(Vec::as_slice);
            let seen = self.observed(&panel, at);
            let (mut own, earlier) = self.modelled(&panel, at, &seen, from, models);
            self.limit_visits(at, &mut own, models);
            let first = [&own.means[..], &earlier].concat();
            if let Some(both) = self.joined(&panel, at, (&seen, &first), models) {
                let (own, _) = self.modelled(&panel, at, &both, from, models);
                self.settle(at, coarse, own, models);
                // Payments follow from what customers say alone, as they are in the other.
                known.insert(statistic.kind, first);
                continue;
            }
            let own = self.settle(at, coarse, own, models);
            known.insert(statistic.kind, [own, earlier].concat());
        }
    }

    /// Names of a level's keys with, for each cell, the number of the key's value.
    pub(super) fn margins(&self, level: usize) -> impl Iterator<Item = (&str, Vec<u32>)> {
        let keys = &self.totals.levels[level].keys;
        self.plan.levels[level].keys.iter().enumerate().map(move |(part, key)| {
            let mut known = HashMap::new();
            let number = |cell: &CellKey| {
                let next = known.len() as u32;
                *known.entry(cell[part].clone()).or_insert(next)
            };
            (key.name(), keys.iter().map(number).collect())
        })
    }

    pub(super) fn statistic(&self, (level, place): (usize, usize)) -> &StatisticPlan {
        &self.plan.levels[level].statistics[place]
    }

    /// The noised values of one number of a statistic, in natural units.
    pub(super) fn noisy(&self, (level, place): (usize, usize), bin: usize) -> Vec<f64> {
        let statistic = self.statistic((level, place));
        let values = self.totals.levels[level].values[place].iter();
        let values = values.skip(bin).step_by(statistic.width);
        let scales = self.scales((level, place));
        let natural = |(cell, &grid): (usize, &i64)| {
            let scale = scales.map_or(1.0, |scales| scales.scale(cell));
            statistic.noise.to_natural(grid as f64) * scale
        };
        values.enumerate().map(natural).collect()
    }

    /// The scales of a statistic's cells, if they have any.
    pub(super) fn scales(&self, (level, place): (usize, usize)) -> Option<&Scales> {
        self.plan.levels[level].scales.get(&self.statistic((level, place)).kind)
    }

    /// The standard deviation of the noise of one number of a statistic, by cell.
    pub(super) fn noise_sds(&self, at: (usize, usize)) -> Vec<f64> {
        let (level, statistic) = (&self.plan.levels[at.0], self.statistic(at));
        let cells = 0..self.totals.levels[at.0].keys.len();
        cells.map(|cell| level.noise_sd(statistic, cell)).collect()
    }

    /// What the values of a level's cells most likely are by what is seen of them, never much
    /// further from the noised ones than their interval reaches; and what those of earlier
    /// releases were, as `known` must have them too.
    fn modelled(
        &self,
        panel: &Panel,
        at: (usize, usize),
        seen: &Observed,
        known: Option<&[f64]>,
        models: &[Vec<Model>],
    ) -> (Values, Vec<f64>) {
        let (model, statistic) = (&models[at.0][at.1], self.statistic(at));
        let level = &self.plan.levels[at.0];
        let noisy = self.noisy(at, 0);
        let count = noisy.len();
        let factors = self.factors(panel, at, &model.correction);
        let Observed { values: ordered, sds } = seen;
        let expected = match known {
            Some(known) => {
                let mean = known.iter().sum::<f64>() / known.len().max(1) as f64;
                let floor = (mean * 1e-3).max(1e-9);
                let known = in_order(panel, known).into_iter().map(|value| value.max(floor));
                let known: Vec<f64> = known.collect();
                match level.earlier.is_empty() {
                    true => known,
                    // Payments for each customer, and tickets, may be others than they were.
                    false => seasons(panel, &seen.times(&factors), &known, RATIOS_DIFFER),
                }
            }
            None => {
                let same = vec![1.0; ordered.len()];
                seasons(panel, &seen.times(&factors), &same, TIMES_DIFFER)
            }
        };
        // What the fit has left of it.
        let expected: Vec<f64> =
            expected.iter().zip(&factors).map(|(a, factor)| a / factor).collect();
        // The model knows no values below zero; where refunds prevail it is of these.
        let sign = if ordered.iter().sum::<f64>() < 0.0 { -1.0 } else { 1.0 };
        let turned: Vec<f64> = ordered.iter().map(|y| sign * y).collect();
        let posterior = shrink(panel, &turned, sds, &expected, self.threads);
        let (mut values, mut earlier) = (Values::zeros(count), vec![0.0; level.earlier_cells()]);
        let posterior = posterior.into_iter().zip(factors);
        for (&cell, (Drawn { own, shifts }, factor)) in panel.cells.iter().zip(posterior) {
            let (place, mean) = (cell as usize, own.mean);
            if place >= count {
                earlier[place - count] = sign * mean * factor;
                continue;
            }
            let (value, mean) = (noisy[place] * factor, sign * mean * factor);
            let reach = REACH * model.half(statistic, place, value.max(mean));
            let least = if statistic.kind.facts().signed { f64::MIN } else { 0.0 };
            values.means[place] = mean.clamp(value - reach, value + reach).max(least);
            // Where the model was held back, it is not what says how sure the value is.
            let held = (values.means[place] - mean).abs() > 0.0;
            let noise = model.noise(statistic, place);
            values.variances[place] = if held { noise } else { own.sd * factor }.powi(2);
            let moved = |Shift { with, by }| Shift { with, by: by.abs() * factor };
            values.shifts[place] = if held { Default::default() } else { shifts.map(moved) };
        }
        (values, earlier)
    }

    /// Makes the leaf's values agree with those of coarser levels, and writes down all of them; the
    /// leaf's values.
    fn settle(
        &self,
        at: (usize, usize),
        coarse: &[Coarse],
        mut own: Values,
        models: &mut [Vec<Model>],
    ) -> Vec<f64> {
        let statistic = self.statistic(at);
        let signed = statistic.kind.facts().signed;
        let (estimates, sums) = self.reconciled(at, 0, coarse, &mut own, signed, models);
        models[at.0][at.1].sds = own.sds().map(|sd| sd as f32).collect();
        let known = estimates.iter().map(|&e| e as f64 / parts(statistic.kind)).collect();
        models[at.0][at.1].estimates = estimates;
        for (level, place, sums) in sums {
            let (model, statistic) = (&models[level][place], self.statistic((level, place)));
            let sd = |cell: usize| model.noise(statistic, cell) as f32;
            let sds = (0..sums.len()).map(sd).collect();
            models[level][place].sds = sds;
            models[level][place].estimates = sums;
        }
        known
    }

    /// One number of an additive statistic: the leaf's estimates, and those of the levels that add
    /// up from it.
    fn reconciled(
        &self,
        at: (usize, usize),
        bin: usize,
        coarse: &[Coarse],
        own: &mut Values,
        signed: bool,
        models: &[Vec<Model>],
    ) -> (Vec<i64>, Vec<Filled>) {
        let kind = self.statistic(at).kind;
        let place = |level: usize| self.plan.levels[level].position(kind);
        let coarse: Vec<(&Coarse, usize)> =
            coarse.iter().filter_map(|c| Some((c, place(c.level)?))).collect();
        let target = |&(coarse, place): &(&Coarse, usize)| {
            let (model, statistic) =
                (&models[coarse.level][place], self.statistic((coarse.level, place)));
            if !coarse.owned {
                let estimates = model.estimates.iter().skip(bin).step_by(statistic.width);
                let means = estimates.map(|&e| e as f64 / parts(kind)).collect::<Vec<f64>>();
                return Values { means, ..Values::zeros(model.estimates.len() / statistic.width) };
            }
            let means = model.correction.apply(self.noisy((coarse.level, place), bin));
            let variance =
                |(cell, &mean): (usize, &f64)| model.deviation(statistic, cell, mean).powi(2);
            let variances = means.iter().enumerate().map(variance).collect();
            Values { means, variances, shifts: Vec::new() }
        };
        let targets: Vec<Values> = coarse.iter().map(target).collect();
        let groups: Vec<&Coarse> = coarse.iter().map(|(coarse, _)| *coarse).collect();
        reconcile::agree(own, &groups, targets, models[at.0][at.1].correction.doubt(), signed);
        let held = coarse.iter().rev().find(|(coarse, _)| !coarse.owned);
        let held = held.map(|&(coarse, place)| {
            let width = self.statistic((coarse.level, place)).width;
            let estimates = models[coarse.level][place].estimates.iter();
            (coarse, estimates.skip(bin).step_by(width).copied().collect::<Vec<i64>>())
        });
        let held = held.as_ref().map(|(coarse, estimates)| (*coarse, &estimates[..]));
        let estimates = reconcile::whole(&own.means, parts(kind), held, signed);
        let owned = coarse.iter().filter(|(coarse, _)| coarse.owned);
        let sums = owned
            .map(|(coarse, place)| {
                let cells = self.totals.levels[coarse.level].keys.len();
                (coarse.level, *place, coarse.sums(&estimates, cells))
            })
            .collect();
        (estimates, sums)
    }

    /// Of a statistic that is signed, its mean for each unit of `of`, whose estimates are known.
    fn means(
        &self,
        panel: &Panel,
        at: (usize, usize),
        of: StatisticKind,
        models: &[Vec<Model>],
    ) -> Vec<Rate> {
        let noise = self.statistic(at).noise.sd();
        let tops = self.noisy(at, 0);
        let Some(place) = self.plan.levels[at.0].position(of) else { return Vec::new() };
        let counted = &models[at.0][place];
        // What the fit has left of them, as it takes about as much from the sums.
        let left = |cell: usize| 1.0 / counted.correction.factor(cell);
        let estimates = counted.estimates.iter().enumerate();
        let sizes: Vec<f64> = estimates.map(|(c, &e)| e as f64 / parts(of) * left(c)).collect();
        let sd = |cell: usize| counted.sds.get(cell).map_or(0.0, |&sd| f64::from(sd) * left(cell));
        let pair = |cell: usize| Pair {
            top: tops[cell],
            bottom: sizes[cell],
            top_variance: noise.powi(2),
            bottom_variance: sd(cell).powi(2),
            covariance: 0.0,
        };
        let cells: Vec<Pair> = (0..tops.len()).map(pair).collect();
        rates::drawn(panel, &cells, &sizes, Range::logs(LOG_PARTS as f64))
    }

    /// The estimates of all numbers of a statistic, each of which is a share of `whole`.
    fn shares(
        &self,
        at: (usize, usize),
        whole: StatisticKind,
        coarse: &[Coarse],
        models: &mut [Vec<Model>],
    ) {
        let statistic = *self.statistic(at);
        let level = &self.plan.levels[at.0];
        let keys = &self.totals.levels[at.0].keys;
        // Where nothing can be told of the days before or after, nothing is expected.
        let is_known = |cell: usize, bin: usize| {
            !(statistic.kind.looks_back() || statistic.kind.compares())
                || level.tells(statistic.kind, &keys[cell], bin) == Told::Whole
        };
        let whole = level.position(whole).map(|place| (place, parts(whole)));
        let known = |bin: usize| -> Option<Vec<f64>> {
            let (place, parts) = whole?;
            let estimates = models[at.0][place].estimates.iter().enumerate();
            let value =
                |(cell, &e): (usize, &i64)| e as f64 / parts * f64::from(is_known(cell, bin));
            Some(estimates.map(value).collect())
        };
        let mut columns: Vec<Filled> = Vec::new();
        let width = statistic.width;
        let model = &models[at.0][at.1];
        let half = |cell: usize, value: f64| model.half(&statistic, cell, value);
        let currencies = currencies(level, keys);
        let one = |bin: usize| {
            let noisy = model.correction.apply(self.noisy(at, bin));
            let mut own = bins::drawn(&noisy, known(bin).as_deref(), &currencies, half);
            self.reconciled(at, bin, coarse, &mut own, false, models)
        };
        for first in (0..width).step_by(BINS_AT_ONCE) {
            let bins = first..width.min(first + BINS_AT_ONCE);
            let found = parallel::map(bins.clone(), self.threads, one);
            for (bin, (estimates, sums)) in bins.zip(found) {
                let all = std::iter::once((at.0, at.1, estimates)).chain(sums);
                for (place, (level, statistic, estimates)) in all.enumerate() {
                    if columns.len() == place {
                        columns.push((level, statistic, vec![0; estimates.len() * width]));
                    }
                    let numbers = columns[place].2.iter_mut().skip(bin).step_by(width);
                    numbers.zip(estimates).for_each(|(number, estimate)| *number = estimate);
                }
            }
        }
        for (level, place, mut estimates) in columns {
            limits::limit_cohorts(&statistic, &mut estimates);
            models[level][place].estimates = estimates;
        }
    }
}

/// Levels with those of their statistics whose estimates are sums of a finer level's.
type Owned = BTreeSet<(usize, StatisticKind)>;

/// A level, the place of a statistic there, and its estimates.
type Filled = (usize, usize, Vec<i64>);

/// Bins that are estimated at the same time: what they take meanwhile is within what the model of
/// one statistic may take ([`memory`](super::memory)).
const BINS_AT_ONCE: usize = 4;

/// An estimate is never further from the noised value than this many times half its 95 % interval,
/// whatever the model says: no cell is sacrificed to the others (limited translation: Efron and
/// Morris 1972).
const REACH: f64 = 1.5;
