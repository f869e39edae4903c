//! What the fit takes where cells have scales: users of small cells have large norms there, so it
//! takes more from small cells than from large ones.

use super::correction::{Sum, group, ratios as differing};
use super::model::Report;
use super::panel::Panel;
use super::shrink::{Posterior, shrink};
use crate::plan::{EarlierGroup, Scales};

/// Relative standard deviation of how far cells of one scale change from one release to the next,
/// beside all others.
const CHANGE: f64 = 0.05;

/// Of each cell what its corrected value is to be multiplied with: so that cells of each scale have
/// about the same part of all that they had in the earlier releases which told the scales, and all
/// together what they had.
///
/// Earlier values are drawn towards each other before, as the scales were chosen by their noise,
/// too. Merchants of whom none are known are left as they are. `None`: they say nothing.
pub(super) fn ratios(
    report: &Report,
    at: (usize, usize),
    (corrected, sds): (&[f64], &[f64]),
) -> Option<Vec<f64>> {
    let known = report.plan.levels[at.0].earlier_groups(report.statistic(at).kind)?;
    of_cells((report.scales(at)?, &known), (corrected, sds), report.threads)
}

fn of_cells(
    (scales, known): (&Scales, &[EarlierGroup]),
    (corrected, sds): (&[f64], &[f64]),
    threads: usize,
) -> Option<Vec<f64>> {
    let theirs = earlier(known, scales, threads)?;
    // One more for merchants of whom nothing is known.
    let unknown = theirs.len();
    let of_cell = |cell: usize| match known[scales.group(cell)].mean() {
        Some(_) => scales.shift(cell) as usize,
        None => unknown,
    };
    let of_cell: Vec<usize> = (0..corrected.len()).map(of_cell).collect();
    let mut ours = group(corrected, sds, unknown + 1, |cell| of_cell[cell]);
    ours.truncate(unknown);
    let noise = ours.iter().fold(0.0, |noise: f64, sum| noise.hypot(sum.1));
    if all(&ours) <= 10.0 * noise {
        return None;
    }
    let growth = all(&ours) / all(&theirs);
    let grown = |&(sum, sd): &Sum| (sum * growth, (sd * growth).hypot(CHANGE * sum * growth));
    let theirs: Vec<Sum> = theirs.iter().map(grown).collect();
    let ratios = differing(&ours, &theirs).into_iter();
    let mut ratios: Vec<f64> = ratios.map(|ratio| ratio.value).collect();
    let changed: f64 = ours.iter().zip(&ratios).map(|(sum, ratio)| sum.0 * ratio).sum();
    ratios.iter_mut().for_each(|ratio| *ratio *= all(&ours) / changed);
    ratios.push(1.0);
    Some(of_cell.into_iter().map(|at| ratios[at]).collect())
}

fn all(sums: &[Sum]) -> f64 {
    sums.iter().map(|sum| sum.0).sum()
}

/// By scale, about what earlier releases had, with the standard deviation of that.
fn earlier(known: &[EarlierGroup], scales: &Scales, threads: usize) -> Option<Vec<Sum>> {
    let there = known.iter().zip(scales.shifts());
    let there: Vec<(&u8, (f64, f64))> =
        there.filter_map(|(group, shift)| Some((shift, group.mean()?))).collect();
    let (means, sds): (Vec<f64>, Vec<f64>) = there.iter().map(|(_, mean)| *mean).unzip();
    let alike = Panel::of_single_cells(there.len());
    let likely = shrink(&alike, &means, &sds, &vec![1.0; there.len()], threads);
    let mut sums = vec![(0.0, 0.0); 1 + usize::from(scales.octaves_max())];
    for ((shift, _), Posterior { mean, sd }) in there.into_iter().zip(likely) {
        let sum: &mut Sum = &mut sums[usize::from(*shift)];
        *sum = (sum.0 + mean, sum.1.hypot(sd));
    }
    (all(&sums) > 0.0).then_some(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two hundred merchants of four sizes, of which an earlier release knows all but the last
    /// `unknown`, in two weeks each; the fit leaves of each scale so much. What values are
    /// multiplied with, and what they should be.
    fn found(left: [f64; 4], unknown: usize, sd: f64) -> Option<(Vec<f64>, Vec<f64>)> {
        let shift = |merchant: usize| (merchant % 4) as u8;
        let size = |merchant: usize| 64.0 * f64::from(1 << (2 * (3 - shift(merchant))));
        let scales = Scales::with_shifts((0..200).map(shift).collect(), 2);
        let group = |merchant: usize| match merchant < 200 - unknown {
            true => EarlierGroup { sum: 2.0 * size(merchant), variance: 8.0, cells: 2.0 },
            false => EarlierGroup::default(),
        };
        let known: Vec<EarlierGroup> = (0..200).map(group).collect();
        let seen = |cell: usize| size(cell / 2) * left[usize::from(shift(cell / 2))];
        let seen: Vec<f64> = (0..400).map(seen).collect();
        let ratios = of_cells((&scales, &known), (&seen, &vec![sd; 400]), 1)?;
        let known = 400 - 2 * unknown;
        let all =
            |ratio: &dyn Fn(usize) -> f64| (0..known).map(|c| seen[c] * ratio(c)).sum::<f64>();
        let whole = all(&|_| 1.0) / all(&|cell| 1.0 / left[usize::from(shift(cell / 2))]);
        let wanted = (0..400).map(|cell| match cell < known {
            true => whole / left[usize::from(shift(cell / 2))],
            false => 1.0,
        });
        Some((ratios, wanted.collect()))
    }

    #[test]
    fn cells_of_each_scale_have_the_part_that_they_had() {
        for unknown in [0, 60] {
            let (ratios, wanted) = found([0.9, 0.8, 0.6, 0.5], unknown, 2.0).expect("they tell");
            for (cell, (ratio, wanted)) in ratios.iter().zip(&wanted).enumerate() {
                assert!((ratio / wanted - 1.0).abs() < 0.05, "{unknown} {cell}: {ratio} {wanted}");
            }
        }
    }

    #[test]
    fn merchants_of_whom_nothing_is_known_move_nothing() {
        let (ratios, _) = found([0.7; 4], 60, 2.0).expect("they tell");
        assert!(ratios.iter().all(|ratio| (ratio - 1.0).abs() < 1e-3), "{ratios:?}");
    }

    #[test]
    fn noise_tells_nothing() {
        assert!(found([0.9, 0.8, 0.6, 0.5], 0, 1e6).is_none());
        assert!(found([0.9, 0.8, 0.6, 0.5], 200, 2.0).is_none());
    }
}
