//! What the fit takes of one group rather than another where no coarser level tells: by a finer
//! level, of which it takes more, and of the same. Source: *Correction* in `docs/privacy.md`.

use super::ratios::{Ratio, ratios};
use super::{Correction, group, noise, whole};
use crate::estimate::model::Report;
use crate::estimate::reconcile::Coarse;
use crate::job::Key;

/// What the finer level shows is not carried further than this power of it.
const POWER_MAX: f64 = 1.0;

/// A level that splits another one: its place in the plan, and its cells there.
pub(in crate::estimate) type Finer<'f> = (usize, &'f Coarse);

impl Correction {
    /// Key by key of those that no coarser level has: of values of which the fit at a finer level
    /// leaves less than of others, against here, it has left less here, too. Logarithms of what is
    /// left are taken to be in proportion, as they are of all cells together; the sum of these
    /// stays what it is.
    pub(super) fn even(
        &mut self,
        report: &Report,
        at: (usize, usize),
        (coarse, finer): (&[Coarse], &[Finer]),
    ) {
        let statistic = report.statistic(at);
        let place = |level: usize| report.plan.levels[level].position(statistic.kind);
        let keys = |level: usize| report.plan.levels[level].keys.iter().map(Key::name);
        let told = coarse.iter().filter(|coarse| place(coarse.level).is_some());
        let told: Vec<&str> = told.flat_map(|coarse| keys(coarse.level)).collect();
        // Of private keys those that are hidden are missing.
        let is_public = |level: usize| report.plan.levels[level].is_public();
        if !is_public(at.0) || keys(at.0).all(|key| told.contains(&key)) {
            return;
        }
        // Bins of many numbers follow payments.
        if statistic.width > 1 || self.factor <= 1.0 {
            return;
        }
        let (own, sds) = (whole(report, at), noise(report, at));
        let all = |values: &[f64], sds: &[f64]| {
            let sum = group(values, sds, 1, |_| 0)[0];
            // Else it is mostly noise.
            (sum.0 > 10.0 * sum.1).then_some(sum.0)
        };
        let Some(sum) = all(&own, &sds) else { return };
        let left =
            finer.iter().filter(|(level, _)| is_public(*level)).filter_map(|(level, split)| {
                let at = (*level, place(*level)?);
                let (values, sds) = (whole(report, at), noise(report, at));
                Some((all(&values, &sds)? / sum, split, values, sds))
            });
        let Some((left, split, finer, finer_sds)) =
            left.filter(|(left, ..)| *left < 1.0).min_by(|a, b| a.0.total_cmp(&b.0))
        else {
            return;
        };
        // What the finer level would have left, were it the same share of all.
        let mut expected: Vec<f64> = own.iter().map(|y| y * left).collect();
        let sds: Vec<f64> = sds.iter().map(|sd| sd * left).collect();
        let mut all_keys = vec![Ratio::ONE; own.len()];
        for (_, values) in report.margins(at.0).filter(|(key, _)| !told.contains(key)) {
            let count = values.iter().max().map_or(0, |&last| last as usize + 1);
            let of_cell = |cell: usize| values[cell] as usize;
            let ours = group(&expected, &sds, count, of_cell);
            let theirs =
                group(&finer, &finer_sds, count, |cell| of_cell(split.cells[cell] as usize));
            let found = ratios(&ours, &theirs, 1.0 - left);
            for (cell, ratio) in all_keys.iter_mut().enumerate() {
                *ratio = ratio.times(found[of_cell(cell)]);
                expected[cell] *= found[of_cell(cell)].value;
            }
        }
        let power = (self.factor.ln() / -left.ln()).min(POWER_MAX);
        let factors = all_keys.into_iter().map(|ratio| ratio.to_the(-power));
        self.multiply(&factors.collect::<Vec<_>>(), &own, |cell| cell);
    }
}

#[cfg(test)]
mod tests {
    use crate::estimate::estimate;
    use crate::fixture::{Market, Row};
    use crate::mechanism::{RunKey, add_noise};

    /// By region, sales as one factor corrects them and as this does, to the exact ones; if 1,000
    /// users pay 12 times each at a region's merchants. Of a fifth of them each has a size of 0.3,
    /// 0.6, 1, 2 and 4, which tells with the region what one spends. Bounds are of the region and
    /// of the merchant by month.
    fn corrected(bounds: [u32; 2], spends: impl Fn(u32, f64) -> f64) -> [[f64; 3]; 2] {
        let row = |n: u32| {
            let (user, time) = (n % 3_000, n / 3_000);
            let (region, kind) = (user % 3, user / 3);
            let amount = spends(region, [0.3, 0.6, 1.0, 2.0, 4.0][kind as usize % 5]) / 12.0;
            // At one to three merchants of the region.
            let merchant = region + 3 * (time * kind % (1 + kind % 3));
            let minute = time * 14_000 + kind % 900;
            Row { user, merchant, minute, amount: amount.round() as i64, wallet: 0 }
        };
        let rows: Vec<Row> = (0..36_000).map(row).collect();
        let market = Market::new(&rows);
        let [coarse, fine] = bounds;
        let plan = market.plan(&[format!(
            "levels = [[], [\"region\"], [\"merchant\", \"month\"]]\nkeys = \"public\"\n\
             insights = [\"sales\"]\nbounds = {{ sales = [9000, {coarse}, {fine}] }}"
        )]);
        let totals = market.local(&plan, 1);
        let noisy = add_noise(&plan, totals, RunKey::frozen([1; 32]), 1).expect("draws");
        let estimates = estimate(&plan, noisy, 1);
        let correction = &estimates.models[1][0].correction;
        let noised = &estimates.totals.levels[1];
        let noise = estimates.plan.levels[1].statistics[0].noise;
        let left = [0, 1, 2].map(|region| {
            assert!(format!("{:?}", noised.keys[region]).contains(&format!("R{region}")));
            let here = rows.iter().filter(|row| row.user as usize % 3 == region);
            let exact: f64 = here.map(|row| row.amount as f64).sum();
            noise.to_natural(noised.values[0][region] as f64) / exact
        });
        let corrected = |region: usize| left[region] * correction.factor(region);
        [left.map(|left| left * correction.factor), [0, 1, 2].map(corrected)]
    }

    fn furthest(found: [f64; 3]) -> f64 {
        found.into_iter().map(|share| share.ln().abs()).fold(0.0, f64::max)
    }

    #[test]
    fn what_is_taken_where_users_spend_much_is_put_back() {
        let spends = |region, size| if region == 0 { 60_000.0 * size } else { 15_000.0 * size };
        let [before, after] = corrected([1200, 100], spends);
        let message = format!("{before:?} {after:?}");
        assert!(before[0] < 0.95 && before[1] > 1.1 && before[2] > 1.1, "{message}");
        assert!(furthest(after) < 0.7 * furthest(before), "{message}");
    }

    #[test]
    fn what_the_finer_level_cannot_tell_is_not_moved_far() {
        // Those who spend much spend the same, and are more at one region than at another.
        let same = |region: u32, size: f64| {
            if size > [0.3, 0.6, 1.0][region as usize] { 60_000.0 } else { 9_000.0 }
        };
        // All spend about the bound at one region.
        let about = |region, size| if region == 0 { 29_000.0 } else { 15_000.0 * size };
        let alike = |_, size| 40_000.0 * size;
        let found =
            [corrected([300, 60], same), corrected([300, 60], about), corrected([300, 60], alike)];
        for [before, after] in found {
            assert!(furthest(after) < furthest(before) + 0.03, "{before:?} {after:?}");
        }
        // Those who spend much spend the same, and the others more at one region than at another,
        // up to the bound: it goes the wrong way, but not far.
        let others = |region: u32, size: f64| {
            if size > 0.6 { 60_000.0 } else { 9_000.0 * f64::from(1 + region) }
        };
        let [before, after] = corrected([300, 60], others);
        assert!(furthest(after) < furthest(before) + 0.07, "{before:?} {after:?}");
    }
}
