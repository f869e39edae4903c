//! What users have now against what they had when an earlier release asked how large norms are.
//! Source: *Correction* in `docs/privacy.md`.

use super::{Sum, group, noise, whole};
use crate::estimate::model::{Model, Report};
use crate::job::StatisticKind;
use crate::plan::Since;

impl Report<'_> {
    /// What a statistic has for each customer now and then, if an earlier release's survey tells
    /// what the fit takes of it; customers are those of the level that has fewest cells. `None`
    /// where that is not known.
    pub(super) fn since(&self, at: (usize, usize), models: &[Vec<Model>]) -> Option<Since> {
        let from = self.plan.adopted_from(at.0, at.1)?;
        let place = |level: usize| self.plan.levels[level].position(StatisticKind::Customers);
        let customers = |&level: &usize| Some((level, place(level)?));
        let base = self.levels.iter().filter_map(customers);
        let base = base.min_by_key(|(level, _)| self.totals.levels[*level].keys.len())?;
        if base == at {
            return None;
        }
        let correction = &models[base.0][base.1].correction;
        let sds: Vec<f64> = noise(self, base).iter().map(|sd| sd * correction.factor).collect();
        let now = Some((
            group(&whole(self, at), &noise(self, at), 1, |_| 0)[0],
            group(&correction.apply(whole(self, base)), &sds, 1, |_| 0)[0],
        ));
        let then = self.earlier_sum(at, from).zip(self.earlier_sum(base, from));
        let one = |level: usize| self.plan.levels[level].keys.is_empty();
        if then.is_none() && !one(base.0) {
            // A survey counts users, and not those of each cell.
            return None;
        }
        let more = !self.plan.levels[at.0].is_public() && !one(at.0);
        let kind = self.statistic(at).kind;
        let once = kind.is_of_users() || kind == StatisticKind::Visits;
        Some(Since { now: now.and_then(each)?, then: then.and_then(each), more, once })
    }

    /// All of a statistic in an earlier release.
    fn earlier_sum(&self, at: (usize, usize), from: &(String, String)) -> Option<Sum> {
        let mut earlier = self.plan.levels[at.0].earlier.iter();
        let cells = &earlier.find(|earlier| earlier.from == *from)?.cells;
        let known = cells.statistics.get(&self.statistic(at).kind)?;
        Some(group(&known.values, &known.sds, 1, |_| 0)[0])
    }
}

/// What there is of the one for each of the other, with its relative standard deviation; `None` if
/// one is mostly noise.
fn each((own, customers): (Sum, Sum)) -> Option<(f64, f64)> {
    let relative = |(sum, sd): Sum| (sd < sum.abs() / 4.0).then(|| sd / sum.abs());
    Some((own.0.abs() / customers.0, relative(own)?.hypot(relative(customers)?)))
}
