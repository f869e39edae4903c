//! Rates, such as shares of customers: each cell's is drawn towards that of its series, of a series
//! towards its group's and what series of its size have, and of a group towards that of all.

use super::panel::Panel;

/// A noised numerator and a denominator whose ratio is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pair {
    pub(super) top: f64,
    pub(super) bottom: f64,
    /// Variances of their noise, and its covariance.
    pub(super) top_variance: f64,
    pub(super) bottom_variance: f64,
    pub(super) covariance: f64,
}

impl Pair {
    /// A part and the rest of a whole, with independent noise: the share is wanted.
    pub(super) fn share((part, part_variance): (f64, f64), (rest, variance): (f64, f64)) -> Pair {
        Pair {
            top: part,
            bottom: part + rest,
            top_variance: part_variance,
            bottom_variance: part_variance + variance,
            covariance: part_variance,
        }
    }

    fn plus(self, other: Pair) -> Pair {
        Pair {
            top: self.top + other.top,
            bottom: self.bottom + other.bottom,
            top_variance: self.top_variance + other.top_variance,
            bottom_variance: self.bottom_variance + other.bottom_variance,
            covariance: self.covariance + other.covariance,
        }
    }

    /// How far the numerator is from `rate` of the denominator, and the variance of that: its mean
    /// is nothing if the rate is right.
    fn distance(self, rate: f64) -> (f64, f64) {
        let distance = self.top - rate * self.bottom;
        let variance =
            self.top_variance - 2.0 * rate * self.covariance + rate.powi(2) * self.bottom_variance;
        (distance, variance.max(0.0))
    }
}

/// What rates can be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) low: f64,
    pub(super) high: f64,
    /// Variances between units, least and most.
    pub(super) between: (f64, f64),
    /// By about how much those of units differ that are e times as large.
    pub(super) slope: f64,
}

impl Range {
    /// Of shares.
    pub(super) const SHARES: Range =
        Range { low: 0.0, high: 1.0, between: (1e-5, 0.1), slope: 0.2 };

    /// Of what some have more than others, of all.
    pub(super) const BALANCES: Range =
        Range { low: -1.0, high: 1.0, between: (1e-5, 0.4), slope: 0.4 };

    /// Of mean logarithms, where 1 is `parts` units.
    pub(super) fn logs(parts: f64) -> Range {
        let between = (1e-5 * parts * parts, parts * parts);
        Range { low: -2.5 * parts, high: 2.5 * parts, between, slope: 0.2 * parts }
    }
}

/// A rate with its standard deviation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate {
    pub(super) mean: f64,
    pub(super) sd: f64,
}

/// The rates of a level's cells, whose denominators are about `sizes`.
pub(super) fn drawn(panel: &Panel, cells: &[Pair], sizes: &[f64], range: Range) -> Vec<Rate> {
    let count = cells.len();
    // Behind the level's own cells are those of earlier releases.
    let of_series = |series: usize| {
        panel.range(series).map(|place| panel.cells[place] as usize).filter(|&cell| cell < count)
    };
    let series = || (0..panel.series()).map(of_series);
    let sum = |cells: &mut dyn Iterator<Item = Unit>| cells.fold(Unit::default(), Unit::plus);
    let unit = |cell: usize| Unit { pair: cells[cell], size: sizes[cell].max(0.0) };
    let by_series: Vec<Unit> = series().map(|mut own| sum(&mut own.by_ref().map(unit))).collect();
    let all = sum(&mut by_series.iter().copied());
    let whole = all.size.max(1.0);
    let mean = (all.pair.top / all.pair.bottom.max(1.0)).clamp(range.low, range.high);
    let sd = (all.pair.distance(mean).1.sqrt() / whole).min((range.high - range.low) / 2.0);
    let mut of_series = vec![Rate { mean, sd }; by_series.len()];
    if let Some(groups) = best(panel, &by_series, mean) {
        let groups_count = groups.iter().max().map_or(0, |&last| last as usize + 1);
        let mut by_group = vec![Unit::default(); groups_count];
        for (&group, &unit) in groups.iter().zip(&by_series) {
            by_group[group as usize] = by_group[group as usize].plus(unit);
        }
        let rates = towards(&by_group, &vec![Rate { mean, sd }; groups_count], range);
        of_series = groups.iter().map(|&group| rates[group as usize]).collect();
    }
    let of_series = towards(&by_series, &by_size(&by_series, &of_series, range), range);
    let mut priors = vec![Rate { mean, sd }; count];
    let mut alone = vec![false; count];
    for (cells, rate) in series().zip(of_series) {
        let is_alone = cells.clone().count() == 1;
        cells.for_each(|cell| (priors[cell], alone[cell]) = (rate, is_alone));
    }
    let own: Vec<Unit> = (0..count).map(unit).collect();
    let mut rates = towards(&own, &priors, range);
    // A series of one cell is that cell: it must not be seen twice.
    let places = (0..count).filter(|&cell| alone[cell]);
    places.for_each(|cell| rates[cell] = priors[cell]);
    rates
}

/// Some cells together.
#[derive(Clone, Copy, Debug, Default)]
struct Unit {
    pair: Pair,
    /// About their denominators.
    size: f64,
}

impl Unit {
    fn plus(self, other: Unit) -> Unit {
        Unit { pair: self.pair.plus(other.pair), size: self.size + other.size }
    }
}

/// Posterior rates of units, each from its own prior; how far units are from their priors is
/// learned from all of them.
fn towards(units: &[Unit], priors: &[Rate], range: Range) -> Vec<Rate> {
    let between = between(units, priors, range);
    let posterior = |(unit, prior): (&Unit, &Rate)| {
        let (distance, variance) = unit.pair.distance(prior.mean);
        let own = between + prior.sd.powi(2);
        let total = variance + unit.size.powi(2) * own;
        if total <= 0.0 {
            return Rate { mean: prior.mean, sd: own.sqrt() };
        }
        let mean = prior.mean + own * unit.size * distance / total;
        Rate { mean: mean.clamp(range.low, range.high), sd: (own * variance / total).sqrt() }
    };
    units.iter().zip(priors).map(posterior).collect()
}

/// Priors of units with what those of their size have: large units lead the rate of a group, and
/// small ones may have others. Distances from priors, in numerators, are fitted by least squares
/// with a + c·(ln size − its mean), each weighed by its noise and by how far rates differ beside.
fn by_size(units: &[Unit], priors: &[Rate], range: Range) -> Vec<Rate> {
    /// Smaller units are mostly noise, whatever they are.
    const LEAST: f64 = 5.0;
    let all: f64 = units.iter().map(|unit| unit.size).sum();
    if units.len() < 3 || all <= 0.0 {
        return priors.to_vec();
    }
    let log = |unit: &Unit| unit.size.max(LEAST).ln();
    let middle = units.iter().map(|unit| unit.size * log(unit)).sum::<f64>() / all;
    let own = 1.0 / range.slope.powi(2);
    let mut found = priors.to_vec();
    for _ in 0..3 {
        let between = between(units, &found, range);
        // Normal equations of both, symmetric.
        let (mut aa, mut ac, mut cc, mut ay, mut cy) = (own, 0.0, own, 0.0, 0.0);
        for (unit, prior) in units.iter().zip(priors) {
            let (distance, variance) = unit.pair.distance(prior.mean);
            let weight = 1.0 / (variance + unit.size.powi(2) * between).max(1e-12);
            let (one, other) = (unit.size, unit.size * (log(unit) - middle));
            aa += weight * one * one;
            ac += weight * one * other;
            cc += weight * other * other;
            ay += weight * one * distance;
            cy += weight * other * distance;
        }
        let det = aa * cc - ac * ac;
        let (a, c) = ((cc * ay - ac * cy) / det, (aa * cy - ac * ay) / det);
        for ((unit, prior), found) in units.iter().zip(priors).zip(&mut found) {
            let z = log(unit) - middle;
            let variance = (cc - 2.0 * z * ac + z * z * aa) / det;
            let mean = (prior.mean + a + c * z).clamp(range.low, range.high);
            *found = Rate { mean, sd: prior.sd.hypot(variance.max(0.0).sqrt()) };
        }
    }
    found
}

/// The variance of rates around their priors, by moments: with it, squares of distances are as
/// large as expected, each against its own variance, so that large units count no more than
/// small ones which are known as well (Paule and Mandel 1982).
fn between(units: &[Unit], priors: &[Rate], range: Range) -> f64 {
    let distance = |(unit, prior): (&Unit, &Rate)| {
        let (distance, variance) = unit.pair.distance(prior.mean);
        (distance.powi(2), variance, unit.size.powi(2))
    };
    let distances = units.iter().zip(priors).map(distance);
    let told: Vec<(f64, f64, f64)> = distances.filter(|(_, _, size)| *size > 0.0).collect();
    let differ = |between: f64| {
        let square =
            |(square, variance, size): &(f64, f64, f64)| square / (variance + size * between);
        told.iter().map(square).sum::<f64>() > told.len() as f64
    };
    let (mut low, mut high) = range.between;
    for _ in 0..30 {
        let middle = (low * high).sqrt();
        if differ(middle) { low = middle } else { high = middle }
    }
    low
}

/// The grouping whose groups differ most in their rates, if groups differ by more than noise.
fn best<'p>(panel: &'p Panel, series: &[Unit], mean: f64) -> Option<&'p Vec<u32>> {
    let gain = |groups: &Vec<u32>| {
        let count = groups.iter().max().map_or(0, |&last| last as usize + 1);
        let mut sums = vec![Unit::default(); count];
        for (&group, &unit) in groups.iter().zip(series) {
            sums[group as usize] = sums[group as usize].plus(unit);
        }
        let square = |unit: &Unit| {
            let (distance, variance) = unit.pair.distance(mean);
            if variance > 0.0 { distance.powi(2) / variance - 1.0 } else { 0.0 }
        };
        sums.iter().map(square).sum::<f64>() / count.max(1) as f64
    };
    let gains = panel.groupings.iter().map(|groups| (gain(groups), groups));
    gains.filter(|(gain, _)| *gain > 1.0).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, g)| g)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(series: usize, groups: u32) -> Panel {
        Panel {
            cells: (0..series as u32).collect(),
            own: series,
            starts: (0..=series as u32).collect(),
            times: vec![0; series],
            groupings: vec![(0..series as u32).map(|s| s % groups).collect()],
            currencies: vec![0; series],
        }
    }

    /// Noise whose deviation is 1, as a law of its own would not be.
    fn noise(place: usize) -> f64 {
        ((place * 7919 % 101) as f64 / 100.0 - 0.5) * 12f64.sqrt()
    }

    #[test]
    fn shares_are_drawn_to_those_of_their_group() {
        let share = |place: usize| if place.is_multiple_of(2) { 0.2 } else { 0.6 };
        let sizes = vec![50.0; 200];
        let cells = |sd: f64| -> Vec<Pair> {
            let cell = |place: usize| {
                let part = 50.0 * share(place) + sd * noise(place);
                let rest = 50.0 * (1.0 - share(place)) + sd * noise(place + 31);
                Pair::share((part, sd * sd), (rest, sd * sd))
            };
            (0..200).map(cell).collect()
        };
        for (sd, most) in [(0.1, 0.01), (10.0, 0.06), (30.0, 0.15)] {
            let found = drawn(&panel(200, 2), &cells(sd), &sizes, Range::SHARES);
            let error = |(place, rate): (usize, &Rate)| (rate.mean - share(place)).abs();
            let mean = found.iter().enumerate().map(error).sum::<f64>() / 200.0;
            assert!(mean < most, "{sd}: {mean}");
            assert!(found.iter().all(|rate| (0.0..=1.0).contains(&rate.mean) && rate.sd < 0.4));
        }
    }

    #[test]
    fn small_units_unlike_large_ones_tell_how_far_rates_differ() {
        // Forty large units are alike; of two hundred small ones every other is not.
        let is_other = |place: usize| place >= 40 && place.is_multiple_of(2);
        let share = |place: usize| if is_other(place) { 0.9 } else { 0.1 };
        let size = |place: usize| if place < 40 { 4_000.0 } else { 80.0 };
        let sizes: Vec<f64> = (0..240).map(size).collect();
        let cell = |place: usize| {
            let part = size(place) * share(place) + 30.0 * noise(place);
            let rest = size(place) * (1.0 - share(place)) + 30.0 * noise(place + 31);
            Pair::share((part, 900.0), (rest, 900.0))
        };
        let cells: Vec<Pair> = (0..240).map(cell).collect();
        let found = drawn(&panel(240, 1), &cells, &sizes, Range::SHARES);
        let error = |place: usize| (found[place].mean - share(place)).abs();
        let mean = |of: &dyn Fn(usize) -> f64| {
            (0..240).filter(|&place| is_other(place)).map(of).sum::<f64>() / 100.0
        };
        let held = |place: usize| f64::from(error(place) < 1.96 * found[place].sd);
        let (error, held) = (mean(&error), mean(&held));
        assert!(error < 0.5 && held > 0.5, "{error} {held}");
        // Noise of large ones is small.
        assert!(found[..40].iter().all(|rate| (rate.mean - 0.1).abs() < 0.03), "{found:?}");
    }

    #[test]
    fn rates_that_go_with_size_are_followed() {
        // From 0.6 of the largest down to 0.15 of the smallest, most of them in the noise.
        let size = |place: usize| 20.0 * (f64::from(place as u32) / 40.0).exp();
        let share = |place: usize| 0.15 + 0.45 * place as f64 / 240.0;
        let sizes: Vec<f64> = (0..240).map(size).collect();
        let cell = |place: usize| {
            let part = size(place) * share(place) + 30.0 * noise(place);
            let rest = size(place) * (1.0 - share(place)) + 30.0 * noise(place + 31);
            Pair::share((part, 900.0), (rest, 900.0))
        };
        let cells: Vec<Pair> = (0..240).map(cell).collect();
        let found = drawn(&panel(240, 1), &cells, &sizes, Range::SHARES);
        let off = |place: usize| found[place].mean - share(place);
        let bias = (0..80).map(off).sum::<f64>() / 80.0;
        assert!(bias.abs() < 0.06, "{bias}");
        let held = (0..80).filter(|&place| off(place).abs() < 1.96 * found[place].sd).count();
        assert!(held >= 72, "{held}");
    }

    #[test]
    fn nothing_is_a_share_too() {
        let found = drawn(&panel(3, 1), &[Pair::default(); 3], &[0.0; 3], Range::SHARES);
        assert!(found.iter().all(|rate| rate.mean.is_finite() && rate.sd.is_finite()));
        let empty = Panel::of_single_cells(0);
        assert_eq!(drawn(&empty, &[], &[], Range::SHARES), []);
    }
}
