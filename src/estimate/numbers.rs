//! The numbers of a statistic as tables show them: estimates in intervals, and noised values.

use super::model::{Model, parts};
use super::values::{Estimate, Interval, Values};
use super::{View, Z95};
use crate::job::StatisticKind;
use crate::plan::{LevelPlan, StatisticPlan};

/// One number of a statistic, of some cells.
pub(super) struct Numbers<'e> {
    pub(super) rows: &'e [usize],
    pub(super) statistic: &'e StatisticPlan,
    pub(super) model: &'e Model,
    /// In grid units.
    noisy: Vec<i64>,
    /// In the model's parts of a unit.
    estimates: Vec<i64>,
    /// Of the estimates, where the model has them.
    pub(super) sds: Vec<f64>,
    /// About how many users the cells have; empty if nothing tells.
    users: Vec<f64>,
}

/// What counts users of a level's cells: customers, else payments.
fn users_of(level: &LevelPlan) -> Option<StatisticKind> {
    let kinds = [StatisticKind::Customers, StatisticKind::Payments];
    kinds.into_iter().find(|&kind| level.position(kind).is_some())
}

impl View<'_> {
    pub(super) fn numbers<'e>(
        &'e self,
        kind: StatisticKind,
        bin: usize,
        rows: &'e [usize],
    ) -> Numbers<'e> {
        let place = self.level.position(kind);
        let place = place.expect("cannot fail because insights name their needs");
        let (statistic, model) = (&self.level.statistics[place], &self.models[place]);
        let of = |values: &[i64]| -> Vec<i64> {
            rows.iter().map(|&row| values[row * statistic.width + bin]).collect()
        };
        let sd = |&row: &usize| model.sds.get(row).map_or(f64::NAN, |&sd| sd.into());
        let mut numbers = Numbers {
            rows,
            statistic,
            model,
            noisy: of(&self.noisy.values[place]),
            estimates: of(&model.estimates),
            sds: rows.iter().map(sd).collect(),
            users: Vec::new(),
        };
        numbers.users = self.users(&numbers);
        numbers
    }

    /// About how many users have something of these numbers: customers, else payments; of refunds
    /// as many as tickets would make as much.
    fn users(&self, numbers: &Numbers) -> Vec<f64> {
        let statistic = numbers.statistic;
        let own = || (0..numbers.rows.len()).map(|row| numbers.estimate(row));
        if statistic.kind.is_of_users() || statistic.width > 1 {
            return own().collect();
        }
        let of = |kind: StatisticKind| {
            let estimates = &self.models[self.level.position(kind)?].estimates;
            let value = |&row: &usize| estimates[row] as f64 / parts(kind);
            Some(numbers.rows.iter().map(value).collect::<Vec<f64>>())
        };
        let all = users_of(self.level).and_then(of);
        let tickets = || of(StatisticKind::Payments).zip(of(StatisticKind::Sales));
        match (all, statistic.kind) {
            (Some(all), StatisticKind::Refunds) => match tickets() {
                Some((payments, sales)) => {
                    let some = payments.iter().zip(&sales).zip(own());
                    let users = some.map(|((n, sales), own)| own * n / sales.max(1.0));
                    users.zip(all).map(|(users, all)| users.min(all)).collect()
                }
                None => all,
            },
            (Some(all), _) => all,
            (None, kind) if kind.is_count() => own().collect(),
            (None, _) => Vec::new(),
        }
    }
}

impl Numbers<'_> {
    /// The standard deviation of the noise of a row, in natural units.
    pub(super) fn noise(&self, row: usize) -> f64 {
        self.statistic.noise.sd() * self.model.scale(self.rows[row])
    }

    /// What the model multiplies the noised value of a row with.
    pub(super) fn factor(&self, row: usize) -> f64 {
        self.model.correction.factor(self.rows[row])
    }

    /// The noised value of a row, in natural units.
    pub(super) fn unbiased(&self, row: usize) -> f64 {
        self.statistic.noise.to_natural(self.noisy[row] as f64) * self.model.scale(self.rows[row])
    }

    /// The estimate of a row, in natural units.
    pub(super) fn estimate(&self, row: usize) -> f64 {
        self.estimates[row] as f64 / parts(self.statistic.kind)
    }

    /// The estimate of a row with an interval around its noised value as the model corrects it,
    /// never without the estimate.
    fn interval(&self, row: usize) -> Interval<f64> {
        let (value, centre) = (self.estimate(row), self.unbiased(row) * self.factor(row));
        let most = centre.max(value);
        let half = self.model.half(self.statistic, self.rows[row], most);
        let half = half.hypot(Z95 * self.chance(row) * most);
        Interval { value, low: (centre - half).min(value), high: (centre + half).max(value) }
    }

    /// Relative standard deviation of what the fit leaves of a row, as it has the users that it has
    /// and not others: *Intervals* in `docs/privacy.md`.
    pub(super) fn chance(&self, row: usize) -> f64 {
        // Values of one cell's users differ as exponential ones do, if they are not all 1.
        let square = if self.statistic.kind.is_of_users() { 1.0 } else { 2.0 };
        let users = self.users.get(row).copied().unwrap_or(f64::INFINITY);
        (self.model.correction.uneven * square / users.max(1.0)).sqrt()
    }

    /// Relative standard deviation of what a row is multiplied with beside others.
    pub(super) fn margin(&self, row: usize) -> f64 {
        self.model.correction.margin_sd(self.rows[row])
    }

    /// Relative deviation of what a row has against others, but for noise.
    pub(super) fn apart(&self, row: usize) -> f64 {
        self.model.correction.apart().hypot(self.margin(row)).hypot(self.chance(row))
    }

    pub(super) fn counts(&self) -> Values {
        let estimate = |row: usize| {
            let sd = self.noise(row);
            let Interval { value, low, high } = self.interval(row);
            let (value, low, high) = (Some(value), Some(low.max(0.0)), Some(high));
            let interval = Interval { value, low, high };
            Estimate { interval, unbiased: Some(self.unbiased(row)), sd: Some(sd) }
        };
        Values::Counts((0..self.rows.len()).map(estimate).collect())
    }

    pub(super) fn money(&self) -> Values {
        let estimate = |row: usize| {
            let shift = self.model.scales.as_ref().map_or(0, |s| s.shift(self.rows[row]));
            let grid = 1i128 << (self.statistic.noise.grid_bits + shift);
            let sd = Some(self.noise(row).ceil() as i128);
            // Rounded to minor units; the interval outward.
            let Interval { low, high, .. } = self.interval(row);
            let low = if self.statistic.kind.facts().signed { low } else { low.max(0.0) };
            let interval = Interval {
                value: Some(self.estimates[row].into()),
                low: Some(low.floor() as i128),
                high: Some(high.ceil() as i128),
            };
            let unbiased = Some((i128::from(self.noisy[row]) + grid / 2).div_euclid(grid));
            Estimate { interval, unbiased, sd }
        };
        Values::Money((0..self.rows.len()).map(estimate).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::estimate;
    use crate::fixture::{DAYS, Market, Row, settled};
    use crate::mechanism::{RunKey, add_noise};

    /// Users with one to sixty payments, fewer by a power the more, all anywhere: a day of a
    /// merchant has some twenty of them.
    fn market() -> Market {
        let mut state = 7u64;
        let mut any = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let payments = |user: u32| (6_000.0 / f64::from(user + 1)).powf(0.8).min(60.0) as u32;
        let users = (0..6_000).flat_map(|user| std::iter::repeat_n(user, payments(user) as usize));
        let row = |user: u32| Row {
            user,
            merchant: any(10) as u32,
            minute: any(u64::from(DAYS) * 1440 - 120) as u32,
            amount: 100 + any(900) as i64,
            wallet: 0,
        };
        Market::new(&users.map(row).collect::<Vec<Row>>())
    }

    #[test]
    fn intervals_know_that_cells_have_these_users_and_not_others() {
        let market = market();
        let mut plan = market.plan(&["levels = [[\"merchant\", \"day\"]]\nkeys = \"public\"\n\
             insights = [\"customers\", \"payments\", \"sales\"]\nsurvey = true\n\
             bounds = { customers = 2, payments = 2, sales = 12 }\nsuppress_above = \"never\""
            .to_owned()]);
        let exact = market.plan(&["levels = [[\"merchant\", \"day\"]]\nkeys = \"public\"\n\
             insights = [\"customers\", \"payments\", \"sales\"]\n\
             bounds = { customers = 100, payments = 100, sales = 1000 }"
            .to_owned()]);
        let truth = market.local(&exact, 2);
        let (_, settled, totals) = settled(&market.engine(2, 3), &plan);
        plan = settled;
        // Hardly any noise.
        plan.levels[0].statistics.iter_mut().for_each(|statistic| statistic.noise.sigma = 1 << 7);
        let noisy = add_noise(&plan, totals, RunKey::frozen([4; 32]), 2).expect("draws");
        let estimates = estimate(&plan, noisy, 2);
        let level = &plan.levels[0];
        let view = View {
            plan: &plan,
            level,
            shown: &level.tables[0],
            noisy: &estimates.totals.levels[0],
            models: &estimates.models[0],
        };
        let rows: Vec<usize> = (0..view.noisy.keys.len()).collect();
        let customers = view.numbers(StatisticKind::Customers, 0, &rows);
        for kind in [StatisticKind::Customers, StatisticKind::Payments, StatisticKind::Sales] {
            let numbers = view.numbers(kind, 0, &rows);
            let place = level.position(kind).expect("asked for");
            let noise = exact.levels[0].statistics[place].noise;
            let truth = &truth.levels[0].sums[place];
            let truth = |row: usize| noise.to_natural(truth[row] as f64);
            let corrected = |row: usize| numbers.unbiased(row) * numbers.factor(row);
            let sum = |of: &dyn Fn(usize) -> f64| rows.iter().map(|&row| of(row)).sum::<f64>();
            // Without what all cells have in common.
            let common = sum(&truth) / sum(&corrected);
            let held = |apart: &dyn Fn(usize) -> f64| {
                let value = |row: usize| common * corrected(row);
                let off = |row: usize| (value(row) - truth(row)).abs();
                let near = |&&row: &&usize| off(row) <= Z95 * apart(row) * value(row);
                rows.iter().filter(near).count() as f64 / rows.len() as f64
            };
            let (by_users, alike) =
                (held(&|row| numbers.apart(row)), held(&|_| numbers.model.correction.apart()));
            // Of money, laws know roughly how far heavy users are spread (`plan::spread`).
            let least = if kind.is_money() { 0.7 } else { 0.92 };
            let what = format!("{kind:?}: {by_users}, {alike}");
            assert!((least..0.99).contains(&by_users) && alike < 0.7, "{what}");
            // Users who are all 1 differ less than those of whom each has as exponential laws say.
            let square = if kind == StatisticKind::Customers { 1.0 } else { 2.0 };
            let (uneven, users) = (numbers.model.correction.uneven, &customers);
            assert!(uneven > 0.0);
            for &row in &rows {
                let chance = (uneven * square / users.estimate(row).max(1.0)).sqrt();
                assert!((numbers.chance(row) - chance).abs() < 1e-12, "{what}");
                let (high, centre) = (numbers.interval(row).high, corrected(row));
                assert!(high > centre * (1.0 + Z95 * chance) * (1.0 - 1e-12), "{what}");
            }
        }
    }
}
