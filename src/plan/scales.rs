//! Scales of cells: less noise where values are small and more where they are large, at the same
//! price. Source: *Scales of cells* in `docs/privacy.md`.

use super::{KeyValue, LevelPlan, Plan};
use crate::job::{Job, StatisticKind};

/// The scale of each cell of one statistic of one level: 2^-shift, the same for all cells of a
/// group of merchants.
///
/// A user's number in a cell is multiplied with 2^shift before the fit, and the noised sum with
/// 2^-shift after the noise, which is post-processing.
#[derive(Clone, Debug, PartialEq)]
pub struct Scales {
    /// By group of merchants, in the order of cells.
    shifts: Vec<u8>,
    /// Cells of one group.
    each: usize,
    /// What is known of values: see [`Scales::sizes`].
    sizes: Vec<(f64, f64)>,
}

/// What earlier releases say of a statistic's cells of a group of merchants.
#[derive(Clone, Copy, Debug, Default)]
pub struct EarlierGroup {
    /// The sum of their noised values, in natural units,
    pub sum: f64,
    /// the variance of its noise,
    pub variance: f64,
    /// and how many cells that is.
    pub cells: f64,
}

impl EarlierGroup {
    /// The mean of its cells with the standard deviation of its noise; `None`: none are known.
    pub fn mean(&self) -> Option<(f64, f64)> {
        (self.cells > 0.0).then(|| (self.sum / self.cells, self.variance.sqrt() / self.cells))
    }
}

impl Scales {
    /// The largest shift: noise of one cell is at most so many octaves above that of another.
    pub const SHIFT_MAX: u8 = 8;

    /// Parts of the law of sizes that is told to who chooses bounds.
    const SIZES: usize = 24;

    /// Scales in proportion to the `exponent`th power of what an earlier release says of a group's
    /// cells on average, and no less than half the deviation of its noise, in whole octaves.
    /// `None`: it says nothing of the statistic, or all cells have the same scale.
    pub(super) fn new(
        level: &LevelPlan,
        job: &Job,
        kind: StatisticKind,
        exponent: f64,
    ) -> Option<Scales> {
        // Logarithms of tickets are measured against payments.
        if !Scales::can_have(level, kind) || level.tickets.is_some() {
            return None;
        }
        let cells = usize::try_from(level.cells.count(job)?).ok()?;
        let known = level.earlier_groups(kind)?;
        let groups = known.len();
        let all = known.iter().fold(EarlierGroup::default(), |all, group| EarlierGroup {
            sum: all.sum + group.sum,
            variance: all.variance + group.variance,
            cells: all.cells + group.cells,
        });
        let (usual, noise) = all.mean()?;
        if usual <= 10.0 * noise {
            return None;
        }
        // Merchants that were not there before are as large as others.
        let size = |group: &EarlierGroup| {
            group.mean().map_or(usual, |(mean, noise)| mean.max(0.5 * noise))
        };
        let sizes: Vec<f64> = known.iter().map(size).collect();
        let largest = sizes.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        let shift = |size: &f64| {
            let octaves = (exponent * libm::log2(largest / size)).round();
            octaves.clamp(0.0, Scales::SHIFT_MAX.into()) as u8
        };
        let shifts: Vec<u8> = sizes.iter().map(shift).collect();
        let differ = shifts.iter().any(|shift| *shift != shifts[0]);
        let parts = parts(&sizes, &shifts);
        differ.then_some(Scales { shifts, each: cells / groups, sizes: parts })
    }

    /// Can cells of a statistic have scales? They must be known by merchant and time, and have one
    /// number.
    fn can_have(level: &LevelPlan, kind: StatisticKind) -> bool {
        use StatisticKind::{Customers, Gross, Payments, Refunds, Sales, Visits};
        level.is_public()
            && level.cells.homes.is_empty()
            && level.cells.pairs.is_none()
            && [Customers, Payments, Sales, Gross, Refunds, Visits].contains(&kind)
    }

    /// The group of merchants of the cell at a place.
    pub fn group(&self, place: usize) -> usize {
        place / self.each
    }

    /// By how many octaves the numbers of the cell at a place are moved.
    pub fn shift(&self, place: usize) -> u32 {
        self.shifts[self.group(place)].into()
    }

    /// By group of merchants.
    pub fn shifts(&self) -> &[u8] {
        &self.shifts
    }

    /// The largest shift.
    pub fn octaves_max(&self) -> u8 {
        self.shifts.iter().copied().max().unwrap_or(0)
    }

    /// What noise and noised values of the cell at a place are multiplied with.
    pub fn scale(&self, place: usize) -> f64 {
        (-f64::from(self.shift(place))).exp2()
    }

    /// A user's number of the cell at a place, as the fit looks at it.
    #[inline]
    pub fn times(&self, place: usize, number: i128) -> i128 {
        // Numbers are sums of fewer than 2³² amounts of 64 bits.
        number << self.shift(place)
    }

    /// Values of cells against their mean, as the fit looks at them, each with the cells' scale and
    /// how many cells of all are like that.
    pub(super) fn sizes(&self) -> &[(f64, f64)] {
        &self.sizes
    }

    /// What one count is for a user's norm, over all that users have: the root of the mean square.
    pub(super) fn unit(&self) -> f64 {
        let (mut squares, mut all) = (0.0, 0.0);
        for (size, scale) in &self.sizes {
            squares += size / scale;
            all += size * scale;
        }
        (squares / all).sqrt()
    }
}

/// Groups in parts of equal number, from small values to large ones: mean value against that of all
/// and mean scale, where values are scaled.
fn parts(sizes: &[f64], shifts: &[u8]) -> Vec<(f64, f64)> {
    let of = |(size, shift): (&f64, &u8)| {
        let scale = (-f64::from(*shift)).exp2();
        (size / scale, scale)
    };
    let mut all: Vec<(f64, f64)> = sizes.iter().zip(shifts).map(of).collect();
    all.sort_by(|a, b| (a.0 * a.1).total_cmp(&(b.0 * b.1)));
    let mean = all.iter().map(|(size, _)| size).sum::<f64>() / all.len() as f64;
    let part = |part: &[(f64, f64)]| {
        let count = part.len() as f64;
        let (size, scale) = part.iter().fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        (size / count / mean, scale / count)
    };
    all.chunks(all.len().div_ceil(Scales::SIZES).max(1)).map(part).collect()
}

#[cfg(test)]
impl Scales {
    /// These shifts, of merchants with so many cells each.
    pub(crate) fn with_shifts(shifts: Vec<u8>, each: usize) -> Scales {
        Scales { sizes: parts(&vec![1.0; shifts.len()], &shifts), shifts, each }
    }
}

#[cfg(test)]
impl Plan {
    /// The plan with scales of any kind, for tests of what comes after.
    pub(crate) fn with_scales(mut self, seed: usize) -> Plan {
        for (place, level) in self.levels.iter_mut().enumerate() {
            let groups = level.cells.sellers().map_or(0, <[_]>::len);
            let kinds = level.statistics.iter().map(|statistic| statistic.kind);
            let kinds = kinds.filter(|&kind| groups > 1 && Scales::can_have(level, kind));
            for kind in kinds.collect::<Vec<StatisticKind>>() {
                let any = |group: usize| (seed + place + kind as usize + group * group) * 7919;
                let shift =
                    |group: usize| (any(group) % (1 + usize::from(Scales::SHIFT_MAX))) as u8;
                let shifts: Vec<u8> = (0..groups).map(shift).collect();
                let cells = level.cells.count(&self.job).expect("keys are public") as usize;
                level.scales.insert(kind, Scales::with_shifts(shifts, cells / groups));
            }
        }
        self
    }
}

impl LevelPlan {
    /// What earlier releases say of a statistic by group of merchants, in the order of cells;
    /// `None` if nothing. Merchants that are no longer there are left out.
    pub fn earlier_groups(&self, kind: StatisticKind) -> Option<Vec<EarlierGroup>> {
        let mut known = vec![EarlierGroup::default(); self.cells.sellers()?.len()];
        let releases = self.earlier.iter().map(|earlier| &earlier.cells);
        let releases =
            releases.filter_map(|cells| Some((&cells.keys, cells.statistics.get(&kind)?)));
        let mut count = 0;
        for (keys, values) in releases {
            count += 1;
            for ((key, value), sd) in keys.iter().zip(&values.values).zip(&values.sds) {
                let group = self.cells.merchant_group(key);
                if let Some(group) = group.and_then(|at| known.get_mut(at)) {
                    group.sum += value;
                    group.variance += sd.powi(2);
                    group.cells += 1.0;
                }
            }
        }
        (count > 0).then_some(known)
    }

    /// By how many octaves numbers of a statistic are moved in the cell with this key.
    pub fn shift_of(&self, kind: StatisticKind, key: &[KeyValue]) -> u32 {
        let Some(scales) = self.scales.get(&kind) else { return 0 };
        let group = self.cells.merchant_group(key);
        group.map_or(0, |group| scales.shifts[group].into())
    }
}

impl Plan {
    /// Gives the cells of a report's levels the scales that values of an earlier release tell, of
    /// statistics whose bounds are open: they are then surveyed anew, as no earlier survey knows
    /// norms of numbers at these scales.
    pub fn scale(&mut self, report: &str) {
        let reports = self.job.reports.iter();
        let exponent = reports.clone().find(|own| own.name == report).map(|own| own.cell_scales);
        let Some(exponent) = exponent.filter(|exponent| *exponent > 0.0) else { return };
        // A query by hand takes one look, so nothing can be asked before.
        if self.job.payments.table.as_ref().is_some_and(|table| table.server.is_none()) {
            return;
        }
        // Merchants are judged by sums of the same noise.
        let judges = self.dominance().map(|(_, place)| place).into_iter();
        let judges: Vec<(usize, usize)> = judges.chain(self.dominance_by_time()).collect();
        for survey in &mut self.surveys {
            let level = &mut self.levels[survey.level];
            let judges = judges.contains(&(survey.level, survey.statistic));
            if !level.is_of(report) || !survey.may_be_scaled() || judges {
                continue;
            }
            let kind = level.statistics[survey.statistic].kind;
            if let Some(scales) = Scales::new(level, &self.job, kind, exponent)
                && let Some(scaled) = survey.scaled(scales.unit())
            {
                *survey = scaled;
                level.scales.insert(kind, scales);
            }
        }
        self.loss.mu_squared = self.charged();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::fixture::Market;
    use crate::plan::{CellKey, Earlier, EarlierCells, EarlierValues};

    const REPORT: &str = "levels = [[\"merchant\", \"month\"], [\"region\"], [\"month\"]]\n\
        keys = \"public\"\ninsights = [\"payments\", \"sales\"]\nprevious = \"before\"";

    /// A plan whose earlier release has these payments, by merchant and month, give or take a noise
    /// of `sd`.
    fn plan(report: &str, sd: f64, payments: impl Fn(usize) -> f64) -> Plan {
        let mut plan = Market::new(&[]).plan(&[report.to_owned()]);
        let keys = plan.levels[0].cells.public_keys(&plan.job).expect("public");
        let group = |key: &CellKey| plan.levels[0].cells.merchant_group(key).expect("a merchant");
        let values: Vec<f64> = keys.iter().map(|key| payments(group(key))).collect();
        let (sds, shown) = (vec![sd; values.len()], vec![None; values.len()]);
        let values = EarlierValues { values, sds, shown };
        let days = (plan.job.payments.period.first(), plan.job.payments.period.last());
        let statistics = [(StatisticKind::Payments, values)].into();
        let cells = Arc::new(EarlierCells { days, keys, statistics });
        let from = ("before".to_owned(), "digest".to_owned());
        plan.levels[0].earlier = vec![Earlier { from, cells }];
        plan.scale("r0");
        plan
    }

    fn shifts(plan: &Plan) -> Option<Vec<u8>> {
        Some(plan.levels[0].scales.get(&StatisticKind::Payments)?.shifts().to_vec())
    }

    #[test]
    fn noise_grows_with_a_power_of_earlier_values() {
        let halves = format!("{REPORT}\ncell_scales = 0.5");
        let found = plan(&halves, 1.0, |merchant| 4096.0 / f64::from(1 << merchant));
        assert_eq!(shifts(&found), Some(vec![0, 1, 1, 2, 2, 3, 3, 4, 4, 5]));
        let scales = &found.levels[0].scales[&StatisticKind::Payments];
        // Merchant 3 has a quarter of the noise of merchant 0, in each of its four months.
        let scale: Vec<f64> = (11..17).map(|cell| scales.scale(cell)).collect();
        assert_eq!(scale, [0.5, 0.25, 0.25, 0.25, 0.25, 0.25]);
        let statistic = &found.levels[0].statistics[0];
        let noise = |cell| found.levels[0].noise_sd(statistic, cell);
        assert!((noise(12) * 4.0 - noise(0)).abs() < 1e-9 * noise(0));
        let default = plan(REPORT, 1.0, |merchant| 4096.0 / f64::from(1 << merchant));
        assert_eq!(shifts(&default), Some(vec![0, 0, 1, 1, 1, 1, 2, 2, 2, 2]));
        // Half the deviation of a mean of four cells is 64, a sixty-fourth of the largest.
        let noisy = plan(&halves, 256.0, |merchant| if merchant < 9 { 4096.0 } else { -50.0 });
        assert_eq!(shifts(&noisy), Some([vec![0; 9], vec![3]].concat()));
        let wide = format!("{REPORT}\ncell_scales = 1");
        let wide = plan(&wide, 1e-6, |merchant| if merchant == 5 { 1e9 } else { 1.0 });
        assert_eq!(shifts(&wide).expect("they differ")[4..6], [Scales::SHIFT_MAX, 0]);
    }

    #[test]
    fn what_tells_nothing_leaves_cells_as_they_are() {
        let of = |merchant: usize| 4096.0 / f64::from(1 << merchant);
        assert_eq!(shifts(&plan(&format!("{REPORT}\ncell_scales = 0"), 1.0, of)), None);
        assert_eq!(shifts(&plan(REPORT, 1.0, |_| 70.0)), None);
        // All of it within ten deviations of noise.
        assert_eq!(shifts(&plan(REPORT, 1e4, of)), None);
        let stated = format!("{REPORT}\nbounds = {{ payments = 5 }}");
        assert_eq!(shifts(&plan(&stated, 1.0, of)), None);
        let capped = format!("{REPORT}\ncell_caps = {{ payments = 5 }}");
        assert_eq!(shifts(&plan(&capped, 1.0, of)), None);
        let logs = REPORT.replace("\"sales\"", "\"ticket_quantiles\"");
        assert_eq!(shifts(&plan(&logs, 1.0, of)), None);
    }

    #[test]
    fn scales_cost_nothing() {
        let found = plan(REPORT, 1.0, |merchant| 4096.0 / f64::from(1 << merchant));
        let before = Market::new(&[]).plan(&[REPORT.to_owned()]);
        assert!(found.loss.mu_squared <= before.loss.mu_squared);
        // In parts of the price.
        let [found, before] = [found, before].map(|plan| plan.loss.mu_squared.units() as f64);
        assert!(1.0 - found / before < 1e-6, "{found} {before}");
    }

    #[test]
    fn merchants_without_earlier_values_are_as_large_as_others() {
        let mut found = plan(&format!("{REPORT}\ncell_scales = 0.5"), 1.0, |merchant| {
            if merchant == 0 { 16_000.0 } else { 10.0 }
        });
        let level = &mut found.levels[0];
        let cells = Arc::make_mut(&mut level.earlier[0].cells);
        cells.keys.truncate(36);
        let scales = Scales::new(level, &found.job, StatisticKind::Payments, 0.5).expect("differ");
        // A ninth of 16,090 is a ninth of the largest; others a sixteen-hundredth.
        assert_eq!(scales.shifts(), [0, 5, 5, 5, 5, 5, 5, 5, 5, 2]);
    }
}
