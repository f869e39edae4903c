//! Shares of customers: each cell's is drawn towards that of its series, of a series towards its
//! group's, and of a group towards that of all.

use super::panel::Panel;

/// What is known of two numbers of a cell that make up a whole: `part` of it, and the `rest`, with
/// independent noise.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Halves {
    pub(super) part: f64,
    pub(super) rest: f64,
    /// Variances of their noise.
    pub(super) part_variance: f64,
    pub(super) rest_variance: f64,
}

impl Halves {
    fn plus(self, other: Halves) -> Halves {
        Halves {
            part: self.part + other.part,
            rest: self.rest + other.rest,
            part_variance: self.part_variance + other.part_variance,
            rest_variance: self.rest_variance + other.rest_variance,
        }
    }

    /// How far `part` is from the share `rate` of the whole, and the variance of that: its mean is
    /// nothing if the share is right.
    fn distance(self, rate: f64) -> (f64, f64) {
        let distance = (1.0 - rate) * self.part - rate * self.rest;
        let variance =
            (1.0 - rate).powi(2) * self.part_variance + rate.powi(2) * self.rest_variance;
        (distance, variance)
    }

    fn sum(self) -> f64 {
        self.part + self.rest
    }
}

/// A share with its standard deviation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate {
    pub(super) mean: f64,
    pub(super) sd: f64,
}

/// The shares of a level's cells, whose wholes are about `sizes`.
pub(super) fn drawn(panel: &Panel, cells: &[Halves], sizes: &[f64]) -> Vec<Rate> {
    let count = cells.len();
    // Behind the level's own cells are those of an earlier release.
    let of_series = |series: usize| {
        panel.range(series).map(|place| panel.cells[place] as usize).filter(|&cell| cell < count)
    };
    let series = || (0..panel.series()).map(of_series);
    let sum = |cells: &mut dyn Iterator<Item = Unit>| cells.fold(Unit::default(), Unit::plus);
    let unit = |cell: usize| Unit { halves: cells[cell], size: sizes[cell].max(0.0) };
    let by_series: Vec<Unit> = series().map(|mut own| sum(&mut own.by_ref().map(unit))).collect();
    let all = sum(&mut by_series.iter().copied());
    let whole = all.size.max(1.0);
    let mean = (all.halves.part / all.halves.sum().max(1.0)).clamp(0.0, 1.0);
    let sd = (all.halves.distance(mean).1.sqrt() / whole).min(0.5);
    let mut of_series = vec![Rate { mean, sd }; by_series.len()];
    if let Some(groups) = best(panel, &by_series, mean) {
        let groups_count = groups.iter().max().map_or(0, |&last| last as usize + 1);
        let mut by_group = vec![Unit::default(); groups_count];
        for (&group, &unit) in groups.iter().zip(&by_series) {
            by_group[group as usize] = by_group[group as usize].plus(unit);
        }
        let rates = towards(&by_group, &vec![Rate { mean, sd }; groups_count]);
        of_series = groups.iter().map(|&group| rates[group as usize]).collect();
    }
    let of_series = towards(&by_series, &of_series);
    let mut priors = vec![Rate { mean, sd }; count];
    let mut alone = vec![false; count];
    for (cells, rate) in series().zip(of_series) {
        let is_alone = cells.clone().count() == 1;
        cells.for_each(|cell| (priors[cell], alone[cell]) = (rate, is_alone));
    }
    let own: Vec<Unit> = (0..count).map(unit).collect();
    let mut rates = towards(&own, &priors);
    // A series of one cell is that cell: it must not be seen twice.
    let places = (0..count).filter(|&cell| alone[cell]);
    places.for_each(|cell| rates[cell] = priors[cell]);
    rates
}

/// Some cells together.
#[derive(Clone, Copy, Debug, Default)]
struct Unit {
    halves: Halves,
    /// About their whole.
    size: f64,
}

impl Unit {
    fn plus(self, other: Unit) -> Unit {
        Unit { halves: self.halves.plus(other.halves), size: self.size + other.size }
    }
}

/// Posterior shares of units, each from its own prior; how far units are from their priors is
/// learned from all of them.
fn towards(units: &[Unit], priors: &[Rate]) -> Vec<Rate> {
    // Of squares of distances, what noise does not explain: the variance of shares.
    let mut between = 0.01;
    for _ in 0..10 {
        let (mut over, mut sizes) = (0.0, 0.0);
        for (unit, prior) in units.iter().zip(priors) {
            let (distance, variance) = unit.halves.distance(prior.mean);
            let square = unit.size.powi(2);
            let weight = square / (variance + square * between).max(1e-100).powi(2);
            over += weight * (distance.powi(2) - variance);
            sizes += weight * square;
        }
        between = (over / sizes.max(f64::MIN_POSITIVE)).clamp(1e-5, 0.1);
    }
    let posterior = |(unit, prior): (&Unit, &Rate)| {
        let (distance, variance) = unit.halves.distance(prior.mean);
        let own = between + prior.sd.powi(2);
        let total = variance + unit.size.powi(2) * own;
        if total <= 0.0 {
            return Rate { mean: prior.mean, sd: own.sqrt() };
        }
        let mean = prior.mean + own * unit.size * distance / total;
        Rate { mean: mean.clamp(0.0, 1.0), sd: (own * variance / total).sqrt() }
    };
    units.iter().zip(priors).map(posterior).collect()
}

/// The grouping whose groups differ most in their shares, if groups differ by more than noise.
fn best<'p>(panel: &'p Panel, series: &[Unit], mean: f64) -> Option<&'p Vec<u32>> {
    let gain = |groups: &Vec<u32>| {
        let count = groups.iter().max().map_or(0, |&last| last as usize + 1);
        let mut sums = vec![Unit::default(); count];
        for (&group, &unit) in groups.iter().zip(series) {
            sums[group as usize] = sums[group as usize].plus(unit);
        }
        let square = |unit: &Unit| {
            let (distance, variance) = unit.halves.distance(mean);
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
            starts: (0..=series as u32).collect(),
            times: vec![0; series],
            groupings: vec![(0..series as u32).map(|s| s % groups).collect()],
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
        let cells = |sd: f64| -> Vec<Halves> {
            let cell = |place: usize| Halves {
                part: 50.0 * share(place) + sd * noise(place),
                rest: 50.0 * (1.0 - share(place)) + sd * noise(place + 31),
                part_variance: sd * sd,
                rest_variance: sd * sd,
            };
            (0..200).map(cell).collect()
        };
        for (sd, most) in [(0.1, 0.01), (10.0, 0.06), (30.0, 0.15)] {
            let found = drawn(&panel(200, 2), &cells(sd), &sizes);
            let error = |(place, rate): (usize, &Rate)| (rate.mean - share(place)).abs();
            let mean = found.iter().enumerate().map(error).sum::<f64>() / 200.0;
            assert!(mean < most, "{sd}: {mean}");
            assert!(found.iter().all(|rate| (0.0..=1.0).contains(&rate.mean) && rate.sd < 0.4));
        }
    }

    #[test]
    fn nothing_is_a_share_too() {
        let found = drawn(&panel(3, 1), &[Halves::default(); 3], &[0.0; 3]);
        assert!(found.iter().all(|rate| rate.mean.is_finite() && rate.sd.is_finite()));
        let empty = Panel { cells: vec![], starts: vec![0], times: vec![], groupings: vec![] };
        assert_eq!(drawn(&empty, &[], &[]), []);
    }
}
