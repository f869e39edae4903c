//! What the fit takes where cells have scales: users of small cells have large norms there, so it
//! takes more from small cells than from large ones.

use super::correction::{Ratio, Sum, group};
use super::model::Report;
use super::panel::Panel;
use super::shrink::shrink;
use crate::plan::{EarlierGroup, Scales};

/// Relative standard deviation of how far cells of one scale change from one release to the next,
/// beside all others and beside what their merchants tell of it.
const CHANGE: f64 = 0.05;

/// By how much the logarithm of what the fit leaves of cells of one scale differs from that of all
/// (standard deviation), for each part that it takes of all.
const UNEVEN: f64 = 0.3;

/// Of each cell what its corrected value is to be multiplied with: so that cells of each scale are
/// nearer to the part of all that they had in the earlier releases which told the scales, and all
/// together have what they had; `taken` is the share that the fit takes.
///
/// Earlier values are drawn towards each other before, as the scales were chosen by their noise,
/// too. Merchants of whom none are known are left as they are. `None`: there are no scales.
pub(super) fn ratios(
    report: &Report,
    at: (usize, usize),
    values: (&[f64], &[f64]),
    taken: f64,
) -> Option<Vec<Ratio>> {
    let known = report.plan.levels[at.0].earlier_groups(report.statistic(at).kind)?;
    Some(of_cells((report.scales(at)?, &known), values, taken, report.threads))
}

fn of_cells(
    (scales, known): (&Scales, &[EarlierGroup]),
    (corrected, sds): (&[f64], &[f64]),
    taken: f64,
    threads: usize,
) -> Vec<Ratio> {
    let now = group(corrected, sds, known.len(), |cell| scales.group(cell));
    let before = earlier(known, threads);
    let both = now.iter().zip(&before);
    let there = scales.shifts().iter().zip(both);
    let there: Vec<(u8, Merchant)> = there
        .filter_map(|(&shift, (&now, &before))| Some((shift, Merchant { now, before: before? })))
        .collect();
    let of_scale = |scale: u8| there.iter().filter(move |(shift, _)| *shift == scale);
    let told: Vec<Option<(f64, f64)>> =
        (0..=scales.octaves_max()).map(|scale| change(of_scale(scale).map(|(_, m)| m))).collect();
    let (all, weights) =
        told.iter().flatten().fold((0.0, 0.0), |(all, weights), (log, variance)| {
            (all + log / variance, weights + 1.0 / variance)
        });
    let between = (UNEVEN * taken).powi(2);
    let untold = Ratio { value: 1.0, variance: between };
    let drawn = |&(log, variance): &(f64, f64)| {
        let part = between / (between + variance);
        let log = (part * (log - all / weights)).clamp(-taken, taken);
        Ratio { value: log.exp(), variance: part * variance }
    };
    let mut ratios: Vec<Ratio> =
        told.iter().map(|told| told.as_ref().map_or(untold, drawn)).collect();
    let sum = |factor: &dyn Fn(u8) -> f64| -> f64 {
        there.iter().map(|(shift, merchant)| merchant.now.0 * factor(*shift)).sum()
    };
    let changed = sum(&|_| 1.0) / sum(&|shift| ratios[usize::from(shift)].value);
    let changed = if changed.is_finite() && changed > 0.0 { changed } else { 1.0 };
    ratios.iter_mut().for_each(|ratio| ratio.value *= changed);
    let of_cell = |cell: usize| match before[scales.group(cell)] {
        Some(_) => ratios[scales.shift(cell) as usize],
        None => untold,
    };
    (0..corrected.len()).map(of_cell).collect()
}

/// What a merchant has, and about what it had in earlier releases.
struct Merchant {
    now: Sum,
    before: Sum,
}

/// The logarithm of what merchants had for each part that they have, with its variance: of noise,
/// and of how differently they have changed, by moments. `None`: they are mostly noise, or too few
/// to tell.
fn change<'m>(merchants: impl Iterator<Item = &'m Merchant> + Clone) -> Option<(f64, f64)> {
    let sum = |of: fn(&Merchant) -> Sum| {
        let add = |all: Sum, one: Sum| (all.0 + one.0, all.1.hypot(one.1));
        merchants.clone().map(of).fold((0.0, 0.0), add)
    };
    let (now, before) = (sum(|merchant| merchant.now), sum(|merchant| merchant.before));
    let others = merchants.clone().count().checked_sub(1).filter(|&others| others > 0)? as f64;
    if now.0 <= 4.0 * now.1 || before.0 <= 4.0 * before.1 {
        return None;
    }
    let growth = now.0 / before.0;
    let square = |Merchant { now, before }: &Merchant| {
        (now.0 - growth * before.0).powi(2) - now.1.powi(2) - (growth * before.1).powi(2)
    };
    let own = merchants.map(square).sum::<f64>().max(0.0) * (others + 1.0) / others;
    let noise = (now.1 / now.0).powi(2) + (before.1 / before.0).powi(2);
    Some((-growth.ln(), noise + own / now.0.powi(2) + CHANGE.powi(2)))
}

/// By merchant, about what cells had in earlier releases, with the standard deviation of that.
fn earlier(known: &[EarlierGroup], threads: usize) -> Vec<Option<Sum>> {
    let there: Vec<Option<Sum>> = known.iter().map(EarlierGroup::mean).collect();
    let (means, sds): (Vec<f64>, Vec<f64>) = there.iter().flatten().copied().unzip();
    let alike = Panel::of_single_cells(means.len());
    let likely = shrink(&alike, &means, &sds, &vec![1.0; means.len()], threads);
    let mut likely = likely.into_iter().map(|drawn| (drawn.own.mean, drawn.own.sd));
    there.into_iter().map(|mean| mean.and_then(|_| likely.next())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two hundred merchants of four sizes in two weeks each, as an earlier release knows all but
    /// the last `unknown`; of each there is now so much times what there was.
    fn found(now: &dyn Fn(usize) -> f64, unknown: usize, sd: f64, taken: f64) -> Vec<Ratio> {
        let shift = |merchant: usize| (merchant % 4) as u8;
        let size = |merchant: usize| 64.0 * f64::from(1 << (2 * (3 - shift(merchant))));
        let scales = Scales::with_shifts((0..200).map(shift).collect(), 2);
        let group = |merchant: usize| match merchant < 200 - unknown {
            true => EarlierGroup { sum: 2.0 * size(merchant), variance: 8.0, cells: 2.0 },
            false => EarlierGroup::default(),
        };
        let known: Vec<EarlierGroup> = (0..200).map(group).collect();
        let seen = |cell: usize| size(cell / 2) * now(cell / 2);
        let seen: Vec<f64> = (0..400).map(seen).collect();
        let ratios = of_cells((&scales, &known), (&seen, &vec![sd; 400]), taken, 1);
        // All of known merchants together keep what they have.
        let of_known = |ratio: &dyn Fn(usize) -> f64| -> f64 {
            (0..400 - 2 * unknown).map(|cell| seen[cell] * ratio(cell)).sum()
        };
        let (before, after) = (of_known(&|_| 1.0), of_known(&|cell| ratios[cell].value));
        assert!((after - before).abs() <= 1e-6 * before.abs(), "{before} {after}");
        ratios
    }

    /// Cells of merchants of each size.
    fn value(ratios: &[Ratio], scale: usize) -> f64 {
        ratios[2 * scale].value
    }

    #[test]
    fn cells_of_each_scale_come_near_to_the_part_that_they_had() {
        let left = |merchant: usize| [0.9, 0.8, 0.6, 0.5][merchant % 4];
        for unknown in [0, 60] {
            let ratios = found(&left, unknown, 2.0, 0.4);
            // How far scales may differ is 0.12, how far they change 0.05.
            let part = 0.12f64.powi(2) / (0.12f64.powi(2) + CHANGE.powi(2));
            let moved = (value(&ratios, 3) / value(&ratios, 0)).ln();
            assert!((moved - part * (0.9f64 / 0.5).ln()).abs() < 0.01, "{unknown}: {moved}");
            let sd = ratios[0].variance.sqrt();
            assert!((sd - part.sqrt() * CHANGE).abs() < 0.002, "{unknown}: {sd}");
            let rest = ratios[400 - 2 * unknown..].iter();
            rest.for_each(|ratio| {
                assert_eq!((ratio.value, ratio.variance.sqrt()), (1.0, UNEVEN * 0.4));
            });
        }
    }

    #[test]
    fn what_merchants_change_is_not_what_the_fit_takes() {
        // Of the smallest merchants four have thirty times what they had.
        let opened = |merchant: usize| if merchant % 4 == 3 && merchant < 16 { 30.0 } else { 1.0 };
        let ratios = found(&opened, 0, 2.0, 0.2);
        for scale in 0..4 {
            assert!((value(&ratios, scale) - 1.0).abs() < 0.05, "{:?}", ratios[2 * scale]);
        }
        // As unsure as if nothing were known of them.
        assert!(ratios[6].variance > 0.9 * (UNEVEN * 0.2).powi(2), "{:?}", ratios[6]);
        assert!(ratios[0].variance < 0.5 * (UNEVEN * 0.2).powi(2), "{:?}", ratios[0]);
    }

    #[test]
    fn no_scale_is_moved_by_more_than_the_fit_takes() {
        let grown = |merchant: usize| if merchant % 4 == 3 { 20.0 } else { 1.0 };
        for taken in [0.0, 0.05, 0.2] {
            let ratios = found(&grown, 0, 2.0, taken);
            let moved = (value(&ratios, 0) / value(&ratios, 3)).ln();
            assert!((0.0..=2.0 * taken + 1e-9).contains(&moved), "{taken}: {moved}");
        }
    }

    #[test]
    fn merchants_of_whom_nothing_is_known_move_nothing() {
        let ratios = found(&|_| 0.7, 60, 2.0, 0.3);
        assert!(ratios.iter().all(|ratio| (ratio.value - 1.0).abs() < 1e-3));
    }

    #[test]
    fn noise_tells_nothing() {
        let left = |merchant: usize| [0.9, 0.8, 0.6, 0.5][merchant % 4];
        for (unknown, sd) in [(0, 1e6), (200, 2.0)] {
            let ratios = found(&left, unknown, sd, 0.3);
            let untold = Ratio { value: 1.0, variance: (UNEVEN * 0.3).powi(2) };
            assert!(ratios.iter().all(|ratio| *ratio == untold), "{:?}", ratios[0]);
        }
    }
}
