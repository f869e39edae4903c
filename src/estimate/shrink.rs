//! Empirical Bayes: what a cell's value most likely is, given its noised value, those of the same
//! series at other times, and those of all other series.
//!
//! The model: θ = a·u·(1 + d). `a` is what is expected of the cell; `u` a factor of the series,
//! drawn from a law that all series share and that is found from them (a mixture of normal laws on
//! a grid of sizes, as NPMLE: Koenker and Mizera 2014); `d` a normal deviation that fades over
//! time. The noised value is θ plus normal noise of known size. Given a component of the mixture
//! all of it is linear, so the rest is a Kalman filter and smoother. Source: *Estimates* in
//! `docs/privacy.md`.

use super::filter::{Filter, Rhythm};
use super::panel::Panel;
use crate::parallel;

/// Components of the law of u, from the smallest size to the largest; the first is zero.
const COMPONENTS: usize = 40;

/// Steps of expectation maximization for the weights of the components.
const STEPS: usize = 60;

/// So many series, spread evenly, with so many cells of the release's own tell the law.
const SAMPLE_SERIES: usize = 2_000;
const SAMPLE_CELLS: usize = 10_000;

/// What the law is smoothed with, as so many series that are spread over all components.
const SMOOTHING: f64 = 2.0;

/// Relative standard deviation of a group's scale that moves nothing.
const SURE: f64 = 0.005;

/// A value with its standard deviation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Posterior {
    pub(super) mean: f64,
    pub(super) sd: f64,
}

/// What a cell's value most likely is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Drawn {
    /// Given how large values of its group are.
    pub(super) own: Posterior,
    /// How it moves with what is thought of that: with its group, and with its currency.
    pub(super) shifts: [Shift; 2],
}

/// How a value moves together with those of the same number.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Shift {
    pub(super) with: u32,
    /// For one standard deviation.
    pub(super) by: f64,
}

/// The law of the factor u of a series.
#[derive(Clone, Debug)]
struct Mixture {
    sizes: Vec<f64>,
    /// Relative width of each component: they overlap.
    width: f64,
    weights: Vec<f64>,
}

/// What is known of the cells of a level, in the order of the panel's.
struct Seen<'s> {
    panel: &'s Panel,
    /// Noised values,
    signal: Vec<f64>,
    /// and what to expect of cells among each other; both in standard deviations of a cell's noise.
    expected: Vec<f64>,
    /// The series that tell the law.
    sample: Vec<usize>,
    threads: usize,
}

/// What most likely are the values behind `noisy`, with noise of `sds`, if `expected` (above zero)
/// says what to expect of cells among each other; all in the order of the panel's cells.
pub(super) fn shrink(
    panel: &Panel,
    noisy: &[f64],
    sds: &[f64],
    expected: &[f64],
    threads: usize,
) -> Vec<Drawn> {
    let in_noise = |values: &[f64]| -> Vec<f64> {
        values.iter().zip(sds).map(|(value, sd)| value / sd).collect()
    };
    let (signal, expected) = (in_noise(noisy), in_noise(expected));
    let seen = Seen { panel, signal, expected, sample: sample(panel), threads };
    let groupings = std::iter::once(&panel.currencies).chain(&panel.groupings);
    let fits = groupings.map(|grouping| (Fit::new(&seen, group_scale(&seen, grouping)), grouping));
    let best = fits.max_by(|a, b| a.0.likely.total_cmp(&b.0.likely));
    let (best, groups) = best.expect("cannot fail because there is the grouping of all");
    let fit = best.tuned(&seen);
    let drawn = |series: usize| fit.drawn(&seen, series, groups[series]);
    let parts = parallel::map(0..panel.series(), threads, drawn);
    let back = |(Drawn { own, shifts }, sd): (Drawn, &f64)| {
        let own = Posterior { mean: own.mean * sd, sd: own.sd * sd };
        Drawn { own, shifts: shifts.map(|shift| Shift { by: shift.by * sd, ..shift }) }
    };
    parts.into_iter().flatten().zip(sds).map(back).collect()
}

/// Every nth series.
fn sample(panel: &Panel) -> Vec<usize> {
    let each = panel.own.div_ceil(panel.series().max(1)).max(1);
    let count = SAMPLE_SERIES.min(SAMPLE_CELLS / each).max(1);
    (0..panel.series()).step_by(panel.series().div_ceil(count).max(1)).collect()
}

/// What values of a series' group come to for each that is expected.
#[derive(Clone, Copy, Debug)]
struct Scale {
    factor: f64,
    /// Relative standard deviations: of what its group alone is wrong by, and all of its currency.
    sds: [f64; 2],
}

/// By series, the scale of its group, drawn towards that of all series of its currency where the
/// group's noise is large.
fn group_scale(seen: &Seen, groups: &[u32]) -> Vec<Scale> {
    let count = groups.iter().max().map_or(0, |&last| last as usize + 1);
    // Σ a·y and Σ a²: cells with much noise, or of which nothing is known, count for little.
    let mut sums = vec![(0.0, 0.0); count];
    for (series, &group) in groups.iter().enumerate() {
        let sum = &mut sums[group as usize];
        for cell in seen.panel.range(series) {
            let (a, y) = (seen.expected[cell], seen.signal[cell]);
            *sum = (sum.0 + a * y, sum.1 + a * a);
        }
    }
    let currencies = &seen.panel.currencies;
    let mut currency_of = vec![0; count];
    groups.iter().zip(currencies).for_each(|(&group, &own)| currency_of[group as usize] = own);
    let of_currency = |currency: u32| {
        let own = sums.iter().zip(&currency_of).filter(|(_, own)| **own == currency);
        let all = own.fold((0.0, 0.0), |a, (b, _)| (a.0 + b.0, a.1 + b.1));
        // Where all is noise, as if it were one deviation of it.
        let sum = f64::max(all.0, f64::sqrt(all.1));
        Scale { factor: sum / all.1.max(f64::MIN_POSITIVE), sds: [0.0, f64::sqrt(all.1) / sum] }
    };
    let last = currencies.iter().max().map_or(0, |&last| last);
    let wholes: Vec<Scale> = (0..=last).map(of_currency).collect();
    let of_group = |(&(both, squares), &currency): (&(f64, f64), &u32)| {
        let whole = wholes[currency as usize];
        // Groups differ by about a half.
        let variance = 1.0 / (whole.factor * whole.factor * squares);
        let ratio = both / (whole.factor * squares);
        let drawn = f64::max((ratio * 0.25 + variance) / (0.25 + variance), 0.05);
        let of_whole = whole.sds[1] * variance / (0.25 + variance);
        let own = (0.25 * variance / (0.25 + variance)).sqrt();
        Scale { factor: whole.factor * drawn, sds: [own, of_whole].map(|sd| sd / drawn) }
    };
    let scales: Vec<Scale> = sums.iter().zip(&currency_of).map(of_group).collect();
    groups.iter().map(|&group| scales[group as usize]).collect()
}

/// The model of one grouping.
struct Fit {
    /// By series, what `expected` is multiplied with.
    scale: Vec<Scale>,
    law: Mixture,
    rhythm: Rhythm,
    /// Logarithm of the likelihood of the sample.
    likely: f64,
}

impl Fit {
    /// The model with a usual rhythm.
    fn new(seen: &Seen, scale: Vec<Scale>) -> Fit {
        let law = Mixture::flat(seen, &scale);
        let one_time = seen.sample.iter().all(|&series| seen.panel.range(series).len() < 2);
        let rhythm = Rhythm { size: if one_time { 0.0 } else { 0.15 }, memory: 0.5 };
        let flat = Fit { scale, law, rhythm, likely: f64::NEG_INFINITY };
        flat.learned(rhythm, seen)
    }

    /// What is expected of the cells of a series.
    fn expected(&self, seen: &Seen, series: usize) -> Vec<f64> {
        let expected = &seen.expected[seen.panel.range(series)];
        expected.iter().map(|a| a * self.scale[series].factor).collect()
    }

    /// The model with another rhythm, and the law and likelihood that go with it.
    fn learned(&self, rhythm: Rhythm, seen: &Seen) -> Fit {
        let of_sample = |place: usize| {
            let series = seen.sample[place];
            let cells = seen.panel.range(series);
            let mut filter = Filter::new(&seen.panel.times[cells.clone()]);
            let (signal, expected) = (&seen.signal[cells], self.expected(seen, series));
            let likely = |size: &f64| filter.run(signal, &expected, *size, self.law.width, rhythm);
            self.law.sizes.iter().map(likely).collect::<Vec<f64>>()
        };
        let likely = parallel::map(0..seen.sample.len(), seen.threads, of_sample);
        let (law, likely) = self.law.clone().learn(&likely);
        Fit { scale: self.scale.clone(), law, rhythm, likely }
    }

    /// The model with the rhythm that makes the sample most likely.
    fn tuned(self, seen: &Seen) -> Fit {
        if self.rhythm.size <= 0.0 {
            return self;
        }
        let mut best = self;
        let mut climb = |change: &dyn Fn(Rhythm) -> Option<Rhythm>| {
            while let Some(rhythm) = change(best.rhythm) {
                let next = best.learned(rhythm, seen);
                if next.likely <= best.likely {
                    break;
                }
                best = next;
            }
        };
        let sized = |factor: f64| {
            move |rhythm: Rhythm| {
                let size = rhythm.size * factor;
                (0.01..2.0).contains(&size).then_some(Rhythm { size, ..rhythm })
            }
        };
        climb(&sized(2.0));
        climb(&sized(0.5));
        const MEMORIES: [f64; 6] = [0.0, 0.5, 0.8, 0.92, 0.97, 0.99];
        let longer = |rhythm: Rhythm| {
            let memory = MEMORIES.into_iter().find(|&memory| memory > rhythm.memory)?;
            Some(Rhythm { memory, ..rhythm })
        };
        let shorter = |rhythm: Rhythm| {
            let memory = MEMORIES.into_iter().rfind(|&memory| memory < rhythm.memory)?;
            Some(Rhythm { memory, ..rhythm })
        };
        climb(&longer);
        climb(&shorter);
        climb(&sized(1.4));
        climb(&sized(0.7));
        best
    }

    /// What the values of one series most likely are, in standard deviations of the noise.
    fn drawn(&self, seen: &Seen, series: usize, group: u32) -> Vec<Drawn> {
        let (expected, sds) = (self.expected(seen, series), self.scale[series].sds);
        let own = self.posterior(seen, series, &expected);
        let sd = f64::hypot(sds[0], sds[1]);
        let moved = if sd > SURE {
            // No further than twice as large, as the model is not linear.
            let factor = 1.0 + sd.min(1.0);
            let larger: Vec<f64> = expected.iter().map(|a| a * factor).collect();
            self.posterior(seen, series, &larger)
        } else {
            own.clone()
        };
        let drawn = |(own, moved): (Posterior, Posterior)| {
            let shift =
                |with, of: f64| Shift { with, by: (moved.mean - own.mean) * of / sd.max(SURE) };
            let currency = seen.panel.currencies[series];
            Drawn { own, shifts: [shift(group, sds[0]), shift(currency, sds[1])] }
        };
        own.into_iter().zip(moved).map(drawn).collect()
    }

    fn posterior(&self, seen: &Seen, series: usize, expected: &[f64]) -> Vec<Posterior> {
        let cells = seen.panel.range(series);
        let filter = &mut Filter::new(&seen.panel.times[cells.clone()]);
        let signal = &seen.signal[cells];
        let law = &self.law;
        let likely: Vec<f64> = law
            .sizes
            .iter()
            .map(|&size| filter.run(signal, expected, size, law.width, self.rhythm))
            .collect();
        let weights = law.given(&likely);
        // Σ p, Σ pθ and Σ p(θ² + var).
        let mut sums = vec![(0.0, 0.0); signal.len()];
        for (&size, weight) in law.sizes.iter().zip(weights) {
            if weight > 1e-6 {
                filter.run(signal, expected, size, law.width, self.rhythm);
                filter.smooth(expected, size, self.rhythm, |cell, value| {
                    let square = value.mean.powi(2) + value.sd.powi(2);
                    sums[cell].0 += weight * value.mean;
                    sums[cell].1 += weight * square;
                });
            }
        }
        let posterior = |(mean, square): (f64, f64)| Posterior {
            mean,
            sd: (square - mean * mean).max(0.0).sqrt(),
        };
        sums.into_iter().map(posterior).collect()
    }
}

impl Mixture {
    /// All sizes that the sample may have, each as likely.
    fn flat(seen: &Seen, scale: &[Scale]) -> Mixture {
        let (mut largest, mut sharpest): (f64, f64) = (4.0, 1.0);
        for &series in &seen.sample {
            let cells = seen.panel.range(series);
            let own = |cell: usize| seen.expected[cell] * scale[series].factor;
            let square: f64 = cells.clone().map(|cell| own(cell).powi(2)).sum();
            let both: f64 = cells.map(|cell| own(cell) * seen.signal[cell]).sum();
            largest = largest.max(both / square - 2.0 / square.sqrt());
            sharpest = sharpest.min(1.0 / square.sqrt());
        }
        // Sizes that are far below the noise cannot be told from each other.
        let largest = largest.min(1e5) * 1.2;
        let smallest = (sharpest / 4.0).clamp(largest * 1e-6, 0.2);
        let steps = (COMPONENTS - 2) as f64;
        let step = (largest / smallest).ln() / steps;
        let size = |place: usize| match place {
            0 => 0.0,
            place => smallest * (step * (place - 1) as f64).exp(),
        };
        Mixture {
            sizes: (0..COMPONENTS).map(size).collect(),
            width: 0.5 * step,
            weights: vec![1.0 / COMPONENTS as f64; COMPONENTS],
        }
    }

    /// The weights that make a sample most likely, of which each series has these logarithms of
    /// likelihoods by component; and the logarithm of the sample's likelihood then.
    fn learn(mut self, sample: &[Vec<f64>]) -> (Mixture, f64) {
        let count = sample.len() as f64;
        let tops: Vec<f64> =
            sample.iter().map(|l| l.iter().copied().fold(f64::NEG_INFINITY, f64::max)).collect();
        let relative: Vec<Vec<f64>> = sample
            .iter()
            .zip(&tops)
            .map(|(l, top)| l.iter().map(|l| (l - top).exp()).collect())
            .collect();
        let mut likely = 0.0;
        self.weights.fill(1.0 / COMPONENTS as f64);
        for _ in 0..STEPS {
            likely = tops.iter().sum();
            let mut next = vec![SMOOTHING / COMPONENTS as f64; COMPONENTS];
            for series in &relative {
                let whole: f64 = series.iter().zip(&self.weights).map(|(l, w)| l * w).sum();
                likely += whole.ln();
                for ((next, l), w) in next.iter_mut().zip(series).zip(&self.weights) {
                    *next += l * w / whole;
                }
            }
            self.weights = next.into_iter().map(|sum| sum / (count + SMOOTHING)).collect();
        }
        (self, likely)
    }

    /// The weights given a series' logarithms of likelihoods.
    fn given(&self, likely: &[f64]) -> Vec<f64> {
        let top = likely.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let both: Vec<f64> =
            likely.iter().zip(&self.weights).map(|(l, w)| (l - top).exp() * w).collect();
        let whole: f64 = both.iter().sum();
        both.into_iter().map(|p| p / whole).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Noise that is spread about like the normal law, the same every time.
    pub(in crate::estimate) fn noise(place: usize) -> f64 {
        let uniform = |step: usize| {
            // Steele, Lea and Flood 2014: SplitMix.
            let mut z = (place * 12 + step + 1) as u64;
            z = z.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z >> 11) as f64 / (1u64 << 53) as f64
        };
        (0..12).map(uniform).sum::<f64>() - 6.0
    }

    pub(in crate::estimate) fn panel(series: usize, times: usize) -> Panel {
        Panel {
            cells: (0..(series * times) as u32).collect(),
            own: series * times,
            starts: (0..=series as u32).map(|place| place * times as u32).collect(),
            times: (0..series).flat_map(|_| 0..times as u32).collect(),
            groupings: vec![(0..series as u32).map(|place| place % 2).collect()],
            currencies: vec![0; series],
        }
    }

    pub(in crate::estimate) fn error(values: impl Iterator<Item = f64>, truth: &[f64]) -> f64 {
        values.zip(truth).map(|(value, truth)| (value - truth).abs()).sum::<f64>()
            / truth.len() as f64
    }

    /// Series of very different sizes, of two kinds.
    pub(in crate::estimate) fn truth(series: usize, times: usize) -> Vec<f64> {
        let size = |place: usize| (1.0 + (place * 31 % 100) as f64 / 25.0).exp2() * 8.0;
        let kind = |place: usize| if place.is_multiple_of(2) { 1.0 } else { 4.0 };
        let at = |time: usize| 1.0 + 0.1 * (time as f64 / 3.0).sin();
        (0..series).flat_map(|s| (0..times).map(move |t| size(s) * kind(s) * at(t))).collect()
    }

    #[test]
    fn values_far_above_the_noise_stay() {
        for times in [1, 6] {
            let (panel, truth) = (panel(50, times), truth(50, times));
            let found =
                shrink(&panel, &truth, &vec![0.01; truth.len()], &vec![1.0; truth.len()], 2);
            for (found, truth) in found.iter().zip(&truth) {
                assert!((found.own.mean / truth - 1.0).abs() < 1e-3, "{found:?} {truth}");
            }
        }
    }

    #[test]
    fn values_in_the_noise_are_drawn_to_those_like_them() {
        for (times, least) in [(1, 0.75), (12, 0.45)] {
            let (panel, truth) = (panel(400, times), truth(400, times));
            let sd = 60.0;
            let noisy: Vec<f64> =
                truth.iter().enumerate().map(|(place, x)| x + sd * noise(place)).collect();
            let found = shrink(&panel, &noisy, &vec![sd; truth.len()], &vec![1.0; truth.len()], 2);
            let own = error(found.iter().map(|p| p.own.mean), &truth);
            let raw = error(noisy.iter().copied(), &truth);
            assert!(own < least * raw, "{times}: {own} against {raw}");
            // Deviations say how far off estimates are.
            let off = found.iter().zip(&truth).map(|(p, x)| ((p.own.mean - x) / p.own.sd).powi(2));
            let off = off.sum::<f64>() / truth.len() as f64;
            assert!((0.5..2.0).contains(&off), "{times}: {off}");
        }
    }

    /// Of one in four series money is another, of which a ticket is a tenth.
    #[test]
    fn currencies_are_not_drawn_to_each_other() {
        let (mut panel, payments) = (panel(200, 4), truth(200, 4));
        panel.currencies = (0..200).map(|series| u32::from(series % 4 == 3)).collect();
        // The best grouping does not tell them apart, but for what panels see to.
        panel.groupings =
            vec![(0..200).map(|s| s % 2 + 2 * panel.currencies[s as usize]).collect()];
        let ticket = |cell: usize| if cell / 4 % 4 == 3 { 5.0 } else { 50.0 };
        let sales = |cell: usize| payments[cell] * ticket(cell);
        let share = |panel: &Panel, sd: f64| {
            let noisy: Vec<f64> = (0..800).map(|cell| sales(cell) + sd * noise(cell)).collect();
            let found = shrink(panel, &noisy, &[sd; 800], &payments, 2);
            let other = (0..800).filter(|cell| cell / 4 % 4 == 3);
            let sums = other.fold((0.0, 0.0), |(own, truth), cell| {
                (own + found[cell].own.mean, truth + sales(cell))
            });
            sums.0 / sums.1
        };
        // Else they are taken for dear sales of which noise hides most.
        let mixed =
            Panel { currencies: vec![0; 200], groupings: Vec::new(), ..self::panel(200, 4) };
        let (told, mixed) = (share(&panel, 20_000.0), share(&mixed, 20_000.0));
        assert!((0.7..1.5).contains(&told) && mixed > 2.5, "{told} {mixed}");
    }

    /// Of one in ten series all values together are three deviations of their noise, and a quarter
    /// of what others like them have: by how much their sum is wrong is what shifts say.
    #[test]
    fn values_of_a_group_are_as_unsure_as_their_scale() {
        let own = |cell: usize| cell / 2 % 10 == 9;
        let value = |cell: usize| if own(cell) { 25.0 } else { 100.0 };
        let panel = Panel {
            groupings: vec![(0..200).map(|series| u32::from(series % 10 == 9)).collect()],
            ..self::panel(200, 2)
        };
        let sum = |values: &dyn Fn(usize) -> f64| (0..400).filter(|&c| own(c)).map(values).sum();
        let (truth, sd): (f64, f64) = (sum(&value), 50.0);
        let (mut off, mut own_off, mut told) = (0.0, 0.0, 0.0);
        for run in 0..30 {
            let noisy: Vec<f64> =
                (0..400).map(|cell| value(cell) + sd * noise(cell + 400 * run)).collect();
            let found = shrink(&panel, &noisy, &[sd; 400], &[1.0; 400], 2);
            let error: f64 = sum(&|cell| found[cell].own.mean) - truth;
            off += error.powi(2) / 30.0;
            own_off += sum(&|cell| found[cell].own.sd.powi(2)) / 30.0;
            told += sum(&|cell| found[cell].shifts[0].by).powi(2) / 30.0;
            told += sum(&|cell| found[cell].shifts[1].by).powi(2) / 30.0;
        }
        let (off, own_off, told) = (off.sqrt(), own_off.sqrt(), told.sqrt());
        assert!(
            off > 2.0 * own_off && (0.5..2.0).contains(&(told / off)),
            "{off} {own_off} {told}"
        );
    }

    #[test]
    fn noise_alone_gives_next_to_nothing() {
        let panel = panel(300, 4);
        let noisy: Vec<f64> = (0..1200).map(|place| 10.0 * noise(place)).collect();
        let found = shrink(&panel, &noisy, &vec![10.0; 1200], &vec![1.0; 1200], 1);
        assert!(found.iter().all(|p| p.own.mean.abs() < 10.0 && p.own.sd.is_finite()));
        assert!(error(found.iter().map(|p| p.own.mean), &vec![0.0; 1200]) < 2.0);
    }

    #[test]
    fn a_single_cell_and_no_cells_are_fine() {
        let one = shrink(&panel(1, 1), &[500.0], &[10.0], &[1.0], 1);
        assert!((one[0].own.mean - 500.0).abs() < 5.0, "{one:?}");
        assert!(shrink(&panel(0, 1), &[], &[], &[], 1).is_empty());
    }
}
