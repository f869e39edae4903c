//! What the fit takes where cells have scales: users of small cells have large norms there, so it
//! takes more from small cells than from large ones.

use super::correction::{Sum, drawn, group};
use super::model::Report;
use super::panel::Panel;
use super::shrink::{Posterior, shrink};
use crate::plan::Scales;

/// Relative standard deviation of how far cells of one scale change from one release to the next,
/// beside all others.
const CHANGE: f64 = 0.05;

/// What corrected values are to be multiplied with, by the scale of their cell.
pub(super) struct ByScale {
    /// Of each cell the place of its scale,
    pub(super) of_cell: Vec<usize>,
    /// and by that the ratio.
    pub(super) ratios: Vec<f64>,
}

impl ByScale {
    /// So that cells of each scale have about the same part of all that they had in the earlier
    /// release which told the scales, and all together what they had.
    ///
    /// The earlier release's values are drawn towards each other before, as the scales were chosen
    /// by their noise, too. `None`: it says nothing.
    pub(super) fn new(
        report: &Report,
        at: (usize, usize),
        (corrected, sds): (&[f64], &[f64]),
    ) -> Option<ByScale> {
        let scales = report.scales(at)?;
        let theirs = earlier(report, at, scales)?;
        let of_cell = (0..corrected.len()).map(|cell| scales.shift(cell) as usize);
        let of_cell: Vec<usize> = of_cell.collect();
        let ours = group(corrected, sds, theirs.len(), |cell| of_cell[cell]);
        let noise = ours.iter().fold(0.0, |noise: f64, sum| noise.hypot(sum.1));
        if all(&ours) <= 10.0 * noise {
            return None;
        }
        let growth = all(&ours) / all(&theirs);
        let grown = |&(sum, sd): &Sum| (sum * growth, (sd * growth).hypot(CHANGE * sum * growth));
        let theirs: Vec<Sum> = theirs.iter().map(grown).collect();
        let mut ratios = drawn(&ours, &theirs);
        let changed: f64 = ours.iter().zip(&ratios).map(|(sum, ratio)| sum.0 * ratio).sum();
        ratios.iter_mut().for_each(|ratio| *ratio *= all(&ours) / changed);
        Some(ByScale { of_cell, ratios })
    }
}

fn all(sums: &[Sum]) -> f64 {
    sums.iter().map(|sum| sum.0).sum()
}

/// By scale, about what the earlier release had, with the standard deviation of that.
fn earlier(report: &Report, at: (usize, usize), scales: &Scales) -> Option<Vec<Sum>> {
    let (level, kind) = (&report.plan.levels[at.0], report.statistic(at).kind);
    let known = level.earlier_groups(kind)?;
    let there = known.iter().zip(scales.shifts());
    let there: Vec<(&u8, (f64, f64))> =
        there.filter_map(|(group, shift)| Some((shift, group.mean()?))).collect();
    let (means, sds): (Vec<f64>, Vec<f64>) = there.iter().map(|(_, mean)| *mean).unzip();
    let alike = Panel::of_single_cells(there.len());
    let likely = shrink(&alike, &means, &sds, &vec![1.0; there.len()], report.threads);
    let mut sums = vec![(0.0, 0.0); 1 + usize::from(scales.octaves_max())];
    for ((shift, _), Posterior { mean, sd }) in there.into_iter().zip(likely) {
        let sum: &mut Sum = &mut sums[usize::from(*shift)];
        *sum = (sum.0 + mean, sum.1.hypot(sd));
    }
    (all(&sums) > 0.0).then_some(sums)
}
