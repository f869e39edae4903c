//! Rates of classes of users: of all, who came twice or more, and who spends more rather than less.

use super::model::{Model, Report, parts};
use super::panel::Panel;
use super::rates::{self, Pair, Range, Rate};
use crate::plan::{StatisticPlan, Told};

impl Report<'_> {
    /// Of visit classes, the shares of customers that came twice or more.
    pub(super) fn repeat_rates(
        &self,
        panel: &Panel,
        at: (usize, usize),
        models: &[Vec<Model>],
    ) -> Vec<Rate> {
        let width = self.statistic(at).width;
        self.of_classes(panel, at, models, Range::SHARES, |_, classes, noise| {
            let part = classes[1..].iter().sum();
            Pair::share((part, noise * (width - 1) as f64), (classes[0], noise))
        })
    }

    /// Of users who spend more, as much or less than before, by how much more of all the first are
    /// than the last.
    pub(super) fn balances(
        &self,
        panel: &Panel,
        at: (usize, usize),
        models: &[Vec<Model>],
    ) -> Vec<Rate> {
        let kind = self.statistic(at).kind;
        let (level, keys) = (&self.plan.levels[at.0], &self.totals.levels[at.0].keys);
        self.of_classes(panel, at, models, Range::BALANCES, |cell, classes, noise| {
            // Where nothing is compared there is nothing to learn from.
            if level.tells(kind, &keys[cell], 0) != Told::Whole {
                return Pair::default();
            }
            // What the first and the last have of noise they have in common with all, once with
            // each sign.
            Pair {
                top: classes[0] - classes[2],
                bottom: classes.iter().sum(),
                top_variance: 2.0 * noise,
                bottom_variance: 3.0 * noise,
                covariance: 0.0,
            }
        })
    }

    /// Rates of what `pair` makes of each cell's noised classes and the variance of their noise.
    fn of_classes(
        &self,
        panel: &Panel,
        at: (usize, usize),
        models: &[Vec<Model>],
        range: Range,
        pair: impl Fn(usize, &[f64], f64) -> Pair,
    ) -> Vec<Rate> {
        let (statistic, model) = (self.statistic(at), &models[at.0][at.1]);
        let classes: Vec<Vec<f64>> = (0..statistic.width).map(|bin| self.noisy(at, bin)).collect();
        let noise = statistic.noise.sd().powi(2);
        let of = |cell: usize| -> Vec<f64> { classes.iter().map(|class| class[cell]).collect() };
        let cells = 0..classes[0].len();
        let pairs: Vec<Pair> = cells.map(|cell| pair(cell, &of(cell), noise)).collect();
        rates::drawn(panel, &pairs, &left_of_classes(statistic, model), range)
    }
}

/// Of each cell what the fit has left of the users that are estimated, in all classes.
fn left_of_classes(statistic: &StatisticPlan, model: &Model) -> Vec<f64> {
    let left = |(cell, classes): (usize, &[i64])| {
        let whole = classes.iter().sum::<i64>() as f64 / parts(statistic.kind);
        whole / model.correction.factor(cell)
    };
    model.estimates.chunks_exact(statistic.width).enumerate().map(left).collect()
}
