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
        let (statistic, model) = (self.statistic(at), &models[at.0][at.1]);
        let classes: Vec<Vec<f64>> = (0..statistic.width).map(|bin| self.noisy(at, bin)).collect();
        let noise = statistic.noise.sd().powi(2);
        let pair = |cell: usize| {
            let part = classes[1..].iter().map(|class| class[cell]).sum();
            let part_noise = noise * (statistic.width - 1) as f64;
            Pair::share((part, part_noise), (classes[0][cell], noise))
        };
        let cells: Vec<Pair> = (0..classes[0].len()).map(pair).collect();
        rates::drawn(panel, &cells, &left_of_classes(statistic, model), Range::SHARES)
    }

    /// Of users who spend more, as much or less than before, by how much more of all the first are
    /// than the last.
    pub(super) fn balances(
        &self,
        panel: &Panel,
        at: (usize, usize),
        models: &[Vec<Model>],
    ) -> Vec<Rate> {
        let (statistic, model) = (self.statistic(at), &models[at.0][at.1]);
        let [up, flat, down] = [0, 1, 2].map(|class| self.noisy(at, class));
        let noise = statistic.noise.sd().powi(2);
        let (level, keys) = (&self.plan.levels[at.0], &self.totals.levels[at.0].keys);
        let pair = |cell: usize| {
            // Where nothing is compared there is nothing to learn from.
            if level.tells(statistic.kind, &keys[cell], 0) != Told::Whole {
                return Pair::default();
            }
            // What the first and the last have of noise they have in common with all, once with
            // each sign.
            Pair {
                top: up[cell] - down[cell],
                bottom: up[cell] + flat[cell] + down[cell],
                top_variance: 2.0 * noise,
                bottom_variance: 3.0 * noise,
                covariance: 0.0,
            }
        };
        let cells: Vec<Pair> = (0..up.len()).map(pair).collect();
        rates::drawn(panel, &cells, &left_of_classes(statistic, model), Range::BALANCES)
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
