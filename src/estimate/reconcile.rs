//! Levels that add up: the cells of a fine level are moved until they agree with coarser ones, each
//! level by as much as its noise allows; coarser ones are then their sums.

use std::collections::HashMap;

use super::shrink::Shift;

/// A level that adds up from a finer one.
pub(super) struct Coarse {
    /// Its place in the plan.
    pub(super) level: usize,
    /// Of each cell of the finer level, the cell here.
    pub(super) cells: Vec<u32>,
    /// Are its estimates sums of this finer level's? Else another one's, which this one must match.
    pub(super) owned: bool,
}

impl Coarse {
    /// Sums of the finer level's estimates.
    pub(super) fn sums(&self, estimates: &[i64], cells: usize) -> Vec<i64> {
        let mut sums = vec![0; cells];
        for (&cell, estimate) in self.cells.iter().zip(estimates) {
            sums[cell as usize] += estimate;
        }
        sums
    }
}

/// Means and variances of the cells of a level.
pub(super) struct Values {
    pub(super) means: Vec<f64>,
    pub(super) variances: Vec<f64>,
    /// What cells are wrong by together, beside.
    pub(super) shifts: Vec<[Shift; 2]>,
}

impl Values {
    pub(super) fn zeros(cells: usize) -> Values {
        let shifts = vec![Default::default(); cells];
        Values { means: vec![0.0; cells], variances: vec![0.0; cells], shifts }
    }

    /// Standard deviations of the cells.
    pub(super) fn sds(&self) -> impl Iterator<Item = f64> {
        let squares =
            |shifts: &[Shift; 2]| shifts.iter().map(|shift| shift.by.powi(2)).sum::<f64>();
        self.variances.iter().zip(&self.shifts).map(move |(v, shifts)| (v + squares(shifts)).sqrt())
    }

    /// Of each cell the covariance with the sum that it is a part of.
    fn covariances(&self, coarse: &Coarse) -> Vec<f64> {
        let mut own = self.variances.clone();
        for kind in 0..2 {
            let moved = |place: usize| self.shifts[place][kind];
            let mut sums: HashMap<(u32, u32), f64> = HashMap::new();
            for (place, &cell) in coarse.cells.iter().enumerate() {
                let Shift { with, by } = moved(place);
                if by > 0.0 {
                    *sums.entry((cell, with)).or_default() += by;
                }
            }
            for (place, &cell) in coarse.cells.iter().enumerate() {
                let Shift { with, by } = moved(place);
                own[place] += by * sums.get(&(cell, with)).unwrap_or(&0.0);
            }
        }
        own
    }
}

/// Moves the cells of a fine level towards what coarser ones (from few cells to many) say of their
/// sums: first down, each level weighed against the fine one by inverse variances; then up again,
/// so that the coarsest, whose noise is least, are met best. What a sum must move by is shared
/// among its cells by their covariances with it. `doubt` is the relative deviation that cells of a
/// sum have in common beside.
pub(super) fn agree(
    fine: &mut Values,
    coarse: &[&Coarse],
    mut targets: Vec<Values>,
    doubt: f64,
    signed: bool,
) {
    let coarse: Vec<Split> = coarse
        .iter()
        .zip(&targets)
        .map(|(&coarse, target)| Split::new(fine, coarse, target.means.len()))
        .collect();
    for (split, target) in coarse.iter().zip(&mut targets) {
        for (cell, mean) in split.sums(&fine.means).into_iter().enumerate() {
            let variance = split.variances[cell] + (doubt * mean).powi(2);
            let theirs = target.variances[cell];
            // Where both differ by more than either allows, it is the model of cells that is wrong.
            let apart = (mean - target.means[cell]).powi(2);
            let variance =
                variance * (apart / (4.0 * (theirs + variance)).max(f64::MIN_POSITIVE)).max(1.0);
            let own = if theirs + variance > 0.0 { theirs / (theirs + variance) } else { 0.0 };
            target.means[cell] += own * (mean - target.means[cell]);
            if !signed {
                target.means[cell] = target.means[cell].max(0.0);
            }
        }
        split.meet(&mut fine.means, &target.means, signed);
    }
    for (split, target) in coarse.iter().zip(&targets).rev() {
        split.meet(&mut fine.means, &target.means, signed);
    }
    // What other levels' estimates are made of must be met to the last digit. Where there are
    // several, each moves what the ones before have met, but less each time.
    let held: Vec<(&Split, &[f64])> = coarse
        .iter()
        .zip(&targets)
        .filter(|(split, _)| !split.coarse.owned)
        .map(|(split, target)| (split, &target.means[..]))
        .collect();
    for _ in 0..ROUNDS {
        held.iter().for_each(|(split, targets)| split.meet(&mut fine.means, targets, signed));
        if held.len() < 2 || held.iter().all(|(split, targets)| split.met(&fine.means, targets)) {
            break;
        }
    }
}

/// How often levels that must be met are met one after the other.
const ROUNDS: usize = 20;

/// A coarser level, with what is known of sums of the finer one's cells.
struct Split<'c> {
    coarse: &'c Coarse,
    /// Of each cell of the finer level, the covariance with its sum.
    covariances: Vec<f64>,
    /// Of sums.
    variances: Vec<f64>,
    counts: Vec<f64>,
}

impl Split<'_> {
    fn new<'c>(fine: &Values, coarse: &'c Coarse, cells: usize) -> Split<'c> {
        let covariances = fine.covariances(coarse);
        let (variances, counts) = (vec![0.0; cells], vec![0.0; cells]);
        let mut own = Split { coarse, covariances, variances, counts };
        own.variances = own.sums(&own.covariances);
        own.counts = own.sums(&vec![1.0; coarse.cells.len()]);
        own
    }

    fn sums(&self, values: &[f64]) -> Vec<f64> {
        let mut sums = vec![0.0; self.counts.len()];
        self.coarse.cells.iter().zip(values).for_each(|(&cell, v)| sums[cell as usize] += v);
        sums
    }

    /// Are all sums as near to `targets` as rounding to whole numbers needs?
    fn met(&self, means: &[f64], targets: &[f64]) -> bool {
        self.sums(means).iter().zip(targets).all(|(sum, target)| (sum - target).abs() < 1e-4)
    }

    /// Moves cells until their sums are `targets`; cells of counts stay at zero or above.
    fn meet(&self, means: &mut [f64], targets: &[f64], signed: bool) {
        // What cells at zero could not give is asked of the others.
        for _ in 0..if signed { 1 } else { 4 } {
            let sums = self.sums(means);
            for (place, &cell) in self.coarse.cells.iter().enumerate() {
                let cell = cell as usize;
                let (mean, variance) = (sums[cell], self.variances[cell]);
                let move_by = targets[cell] - mean;
                let moved = if variance > 0.0 {
                    means[place] + move_by * self.covariances[place] / variance
                } else if mean > 0.0 {
                    means[place] * targets[cell] / mean
                } else {
                    means[place] + move_by / self.counts[cell]
                };
                means[place] = if signed { moved } else { moved.max(0.0) };
            }
        }
        if signed {
            return;
        }
        // The rest in proportion.
        let sums = self.sums(means);
        for (place, &cell) in self.coarse.cells.iter().enumerate() {
            let mean = sums[cell as usize];
            if mean > 0.0 {
                means[place] *= targets[cell as usize] / mean;
            }
        }
    }
}

/// Values as whole numbers of parts of a unit. With a level that they must match and its own whole
/// numbers, what is left after rounding goes to the largest cells of each sum.
pub(super) fn whole(
    means: &[f64],
    parts: f64,
    held: Option<(&Coarse, &[i64])>,
    signed: bool,
) -> Vec<i64> {
    // Noised totals are below 2⁶³ of units that are no smaller.
    let mut whole: Vec<i64> = means.iter().map(|m| (m * parts).round() as i64).collect();
    let Some((held, targets)) = held else { return whole };
    let sums = held.sums(&whole, targets.len());
    let mut left: Vec<i64> = targets.iter().zip(sums).map(|(target, sum)| target - sum).collect();
    let mut order: Vec<usize> = (0..whole.len()).collect();
    order.sort_by_key(|&place| std::cmp::Reverse(whole[place]));
    for place in order {
        let left = &mut left[held.cells[place] as usize];
        // Counts stay at zero or above.
        let change = if signed { *left } else { (*left).max(-whole[place]) };
        whole[place] += change;
        *left -= change;
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coarse(cells: &[u32], owned: bool) -> Coarse {
        Coarse { level: 0, cells: cells.to_vec(), owned }
    }

    fn values(means: &[f64], variance: f64) -> Values {
        let (cells, means) = (means.len(), means.to_vec());
        Values { means, variances: vec![variance; cells], ..Values::zeros(cells) }
    }

    #[test]
    fn sums_that_are_known_are_met() {
        let (pairs, all) = (coarse(&[0, 0, 1, 1], true), coarse(&[0; 4], true));
        let mut fine = values(&[10.0, 20.0, 5.0, 5.0], 4.0);
        let targets = vec![values(&[60.0], 1e-9), values(&[45.0, 15.0], 1e-6)];
        agree(&mut fine, &[&all, &pairs], targets, 0.0, false);
        assert!((fine.means[0] + fine.means[1] - 45.0).abs() < 1e-3, "{:?}", fine.means);
        assert!((fine.means.iter().sum::<f64>() - 60.0).abs() < 1e-6, "{:?}", fine.means);
    }

    #[test]
    fn sums_weigh_by_their_noise() {
        let all = coarse(&[0, 0], true);
        let mut fine = values(&[10.0, 10.0], 2.0);
        agree(&mut fine, &[&all], vec![values(&[24.0], 4.0)], 0.0, false);
        // Both sums have a variance of 4.
        assert!((fine.means[0] - 11.0).abs() < 1e-9, "{:?}", fine.means);
        // A model that is far from a sum with little noise gives way.
        let mut fine = values(&[10.0, 10.0], 2.0);
        agree(&mut fine, &[&all], vec![values(&[2_000.0], 4.0)], 0.0, false);
        assert!((990.0..1001.0).contains(&fine.means[0]), "{:?}", fine.means);
    }

    #[test]
    fn what_cells_are_wrong_by_together_does_not_average_out() {
        let all = coarse(&[0; 100], true);
        let sum = |with: [u32; 2], by: f64| {
            let mut fine = values(&[10.0; 100], 1.0);
            let shift = |cell: usize| [Shift { with: with[cell / 50], by }, Shift::default()];
            fine.shifts = (0..50).map(shift).chain((50..100).map(shift)).collect();
            assert!(fine.sds().all(|sd| (sd - 1f64.hypot(by)).abs() < 1e-9));
            agree(&mut fine, &[&all], vec![values(&[960.0], 900.0)], 0.0, false);
            fine.means.iter().sum::<f64>()
        };
        // Variances of 100, 100 + 2·50² and 100 + 100² against 900.
        for (found, variance) in
            [(sum([0, 1], 0.0), 100.0), (sum([0, 1], 1.0), 5_100.0), (sum([7, 7], 1.0), 10_100.0)]
        {
            let own = 960.0 + 40.0 * 900.0 / (900.0 + variance);
            assert!((found - own).abs() < 1e-6, "{found} for {own}");
        }
    }

    #[test]
    fn cells_that_are_wrong_together_move_most() {
        let all = coarse(&[0; 4], true);
        let mut fine = values(&[10.0; 4], 1.0);
        fine.shifts[2..].fill([Shift::default(), Shift { with: 3, by: 30.0 }]);
        agree(&mut fine, &[&all], vec![values(&[60.0], 1e-9)], 0.0, false);
        // Of 20 by covariances of 1 and 1 + 30·60 each.
        assert!((fine.means[0] - 10.0 - 20.0 / 3604.0).abs() < 1e-6, "{:?}", fine.means);
        assert!((fine.means[2] - 10.0 - 20.0 * 1801.0 / 3604.0).abs() < 1e-6, "{:?}", fine.means);
    }

    #[test]
    fn counts_stay_above_zero_and_money_need_not() {
        let all = coarse(&[0, 0], true);
        let change = |signed| {
            let mut fine = values(&[1.0, 30.0], 9.0);
            agree(&mut fine, &[&all], vec![values(&[11.0], 1e-9)], 0.0, signed);
            fine.means
        };
        let counts = change(false);
        assert!(counts[0].abs() < 1e-9 && (counts[1] - 11.0).abs() < 1e-6, "{counts:?}");
        let money = change(true);
        assert!((money[0] + 9.0).abs() < 1e-6 && (money[1] - 20.0).abs() < 1e-6, "{money:?}");
    }

    /// Three regions and four weekdays, of which others' sums are known, where cells differ in how
    /// far they can be moved.
    #[test]
    fn levels_that_do_not_split_each_other_are_both_met() {
        let cells = 0..12u32;
        let regions = coarse(&cells.clone().map(|cell| cell / 4).collect::<Vec<_>>(), false);
        let days = coarse(&cells.clone().map(|cell| cell % 4).collect::<Vec<_>>(), false);
        let exact = |means: &[f64]| values(means, 0.0);
        for signed in [false, true] {
            let mut fine = Values {
                means: cells.clone().map(|cell| f64::from(cell * 7 % 5)).collect(),
                variances: cells.clone().map(|cell| f64::from(1 + cell * cell % 13)).collect(),
                ..Values::zeros(12)
            };
            let wanted = (vec![20.0, 9.0, 31.0], vec![18.0, 2.0, 25.0, 15.0]);
            let targets = vec![exact(&wanted.0), exact(&wanted.1)];
            agree(&mut fine, &[&regions, &days], targets, 0.0, signed);
            for (level, wanted) in [(&regions, wanted.0), (&days, wanted.1)] {
                let sums = Split::new(&fine, level, wanted.len()).sums(&fine.means);
                let off = |(sum, wanted): (&f64, f64)| (sum - wanted).abs();
                let most = sums.iter().zip(wanted).map(off).fold(0.0, f64::max);
                assert!(most < 1e-3, "{signed}: {most} of {:?}", fine.means);
            }
            assert!(signed || fine.means.iter().all(|&mean| mean >= 0.0), "{:?}", fine.means);
        }
    }

    #[test]
    fn whole_numbers_of_a_held_level_come_out() {
        let held = coarse(&[0, 1, 0, 1, 0, 0], false);
        let means = [0.4, 7.0 / 3.0, 0.4, 2.0 / 3.0, 0.4, 0.8];
        let found = whole(&means, 1.0, Some((&held, &[2, 3])), false);
        assert_eq!(held.sums(&found, 2), [2, 3]);
        assert_eq!(whole(&means, 10.0, None, false), [4, 23, 4, 7, 4, 8]);
    }

    #[test]
    fn cells_of_nothing_still_add_up() {
        let all = coarse(&[0, 0, 0], false);
        for (target, signed) in [(7.0, false), (0.0, false), (-5.0, true)] {
            let mut fine = values(&[0.0; 3], 0.0);
            agree(&mut fine, &[&all], vec![values(&[target], 0.0)], 0.0, signed);
            let held = [(target * 1024.0) as i64];
            let found = whole(&fine.means, 1024.0, Some((&all, &held)), signed);
            assert_eq!(found.iter().sum::<i64>(), held[0]);
            assert!(signed || found.iter().all(|&cell| cell >= 0), "{found:?}");
        }
        // What no rounding explains is taken from the largest, never below zero.
        let found = whole(&[5.0, 2.0, 0.0], 1.0, Some((&all, &[1])), false);
        assert_eq!(found, [0, 1, 0]);
    }
}
