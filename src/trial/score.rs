//! How far values are from the truth: of one release, then over several.
//!
//! The figures are defined in *Trying a job* of `docs/accuracy.md`.

use crate::estimate::Interval;

/// Where classes of sizes begin, by exact customers; cells of none are in no class.
pub(super) const CLASSES: [f64; 5] = [1.0, 20.0, 50.0, 150.0, 500.0];

/// How many classes there are.
pub(super) const COUNT: usize = CLASSES.len();

/// The class of a cell with so many customers.
pub(super) fn class_of(customers: f64) -> Option<usize> {
    CLASSES.iter().rposition(|&least| customers >= least)
}

/// One number of one cell, as it is and as a release has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Compared {
    /// Exact customers of the cell.
    pub(super) customers: f64,
    pub(super) truth: f64,
    /// What its error counts in sums over cells: 1, or what a ratio is divided by.
    pub(super) weight: f64,
    pub(super) estimate: Option<Interval<f64>>,
    pub(super) noised: Option<f64>,
    /// Would the release show the estimate?
    pub(super) shown: bool,
}

/// Adds up the errors of one insight at one level in one release.
#[derive(Clone, Debug, Default)]
pub(super) struct Scorer {
    estimate: Errors,
    noised: Errors,
    /// Numbers with intervals, and how many of these hold the truth; by class, and of all.
    intervals: [Share; COUNT],
    all_intervals: Share,
    shown: Share,
}

/// Errors of one kind of value.
#[derive(Clone, Debug, Default)]
struct Errors {
    /// Relative, by class.
    relative: [Vec<f32>; COUNT],
    error: f64,
    size: f64,
}

impl Errors {
    fn add(&mut self, of: &Compared, value: f64) {
        let error = (value - of.truth).abs();
        self.error += of.weight * error;
        self.size += of.weight * of.truth.abs();
        // Of nothing there is no part.
        if let Some(class) = class_of(of.customers).filter(|_| of.truth.abs() > 0.0) {
            self.relative[class].push((error / of.truth.abs()) as f32);
        }
    }

    fn score(self) -> ErrorScore {
        let by_class = self.relative.map(|errors| median(errors).map(f64::from));
        ErrorScore { by_class, wape: (self.size > 0.0).then(|| self.error / self.size) }
    }
}

/// A part of a number of things.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) part: u64,
    pub(super) of: u64,
}

impl Share {
    pub(super) fn add(&mut self, is: bool) {
        self.of += 1;
        self.part += u64::from(is);
    }

    pub(super) fn sum(all: &[Share]) -> Share {
        Share { part: all.iter().map(|s| s.part).sum(), of: all.iter().map(|s| s.of).sum() }
    }

    pub(super) fn value(self) -> Option<f64> {
        (self.of > 0).then(|| self.part as f64 / self.of as f64)
    }
}

/// Errors of one release.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct ErrorScore {
    /// Median relative error by class.
    pub(super) by_class: [Option<f64>; COUNT],
    /// Sum of errors over all cells against the sum of values.
    pub(super) wape: Option<f64>,
}

/// Figures of one insight at one level in one release.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Score {
    pub(super) estimate: ErrorScore,
    pub(super) noised: ErrorScore,
    /// Share of intervals that hold the truth: by class, and of all.
    pub(super) covered: [Option<f64>; COUNT],
    pub(super) all_covered: Option<f64>,
    /// Share of estimates that are shown.
    pub(super) shown: Option<f64>,
}

impl Scorer {
    pub(super) fn add(&mut self, of: &Compared) {
        if let Some(Interval { value, low, high }) = of.estimate {
            self.estimate.add(of, value);
            // Floats of whole numbers, and ratios of them.
            let room = 1e-9 * of.truth.abs();
            let holds = low - room <= of.truth && of.truth <= high + room;
            self.all_intervals.add(holds);
            if let Some(class) = class_of(of.customers) {
                self.intervals[class].add(holds);
            }
        }
        if let Some(value) = of.noised {
            self.noised.add(of, value);
        }
        self.shown.add(of.shown);
    }

    pub(super) fn score(self) -> Score {
        Score {
            estimate: self.estimate.score(),
            noised: self.noised.score(),
            covered: self.intervals.map(Share::value),
            all_covered: self.all_intervals.value(),
            shown: self.shown.value(),
        }
    }
}

/// The middle one; of an even number the mean of the middle two.
fn median(mut values: Vec<f32>) -> Option<f32> {
    if values.is_empty() {
        return None;
    }
    let (is_even, middle) = (values.len().is_multiple_of(2), values.len() / 2);
    let (below, &mut upper, _) = values.select_nth_unstable_by(middle, f32::total_cmp);
    let lower = below.iter().copied().max_by(f32::total_cmp).filter(|_| is_even);
    Some((lower.unwrap_or(upper) + upper) / 2.0)
}

/// A figure over several releases.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// In the middle.
    pub middle: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

impl Spread {
    pub(super) fn times(self, factor: f64) -> Spread {
        let Spread { middle, least, most } = self;
        Spread { middle: middle * factor, least: least * factor, most: most * factor }
    }

    /// Of those releases that have the figure.
    pub(super) fn of(values: impl IntoIterator<Item = Option<f64>>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().flatten().collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0;
        Some(Spread { middle, least, most })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(customers: f64, truth: f64, value: f64, half: f64, noised: f64) -> Compared {
        let estimate = Some(Interval { value, low: value - half, high: value + half });
        Compared {
            customers,
            truth,
            weight: 1.0,
            estimate,
            noised: Some(noised),
            shown: half < value,
        }
    }

    fn scored(cells: &[Compared]) -> Score {
        let mut scorer = Scorer::default();
        cells.iter().for_each(|cell| scorer.add(cell));
        scorer.score()
    }

    fn near(found: Option<f64>, wanted: f64) -> bool {
        // Relative errors are kept in 32 bits.
        found.is_some_and(|found| (found - wanted).abs() < 1e-6)
    }

    #[test]
    fn classes_begin_where_they_say() {
        let of = [0.0, 1.0, 19.0, 20.0, 49.0, 50.0, 149.0, 150.0, 499.0, 500.0, 1e9];
        let classes = of.map(class_of);
        let wanted = [None, Some(0), Some(0), Some(1), Some(1), Some(2), Some(2), Some(3), Some(3)];
        assert_eq!(classes[..9], wanted);
        assert_eq!(classes[9..], [Some(4), Some(4)]);
    }

    #[test]
    fn errors_are_those_of_hand_made_cells() {
        let score = scored(&[
            // Empty: 2 off of nothing; no class.
            compared(0.0, 0.0, 2.0, 3.0, -4.0),
            // Of 20 to 50 customers: 10 %, 50 % and 20 % off; noised values 20 %, 100 % and 20 %.
            compared(20.0, 100.0, 110.0, 5.0, 120.0),
            compared(30.0, 40.0, 60.0, 25.0, 0.0),
            compared(49.0, 50.0, 40.0, 10.0, 60.0),
            // Of 500 and more, two: 1 % and 3 %.
            compared(500.0, 1000.0, 990.0, 20.0, 1010.0),
            compared(700.0, 1000.0, 1030.0, 20.0, 1010.0),
        ]);
        let [_, small, _, _, large] = score.estimate.by_class;
        assert!(near(small, 0.2) && near(large, 0.02), "{:?}", score.estimate);
        assert!(near(score.noised.by_class[1], 0.2) && near(score.noised.by_class[4], 0.01));
        for class in [0, 2, 3] {
            assert_eq!((score.estimate.by_class[class], score.covered[class]), (None, None));
        }
        // 2 + 10 + 20 + 10 + 10 + 30 and 4 + 20 + 40 + 10 + 10 + 10, of 2190.
        assert!(near(score.estimate.wape, 82.0 / 2190.0), "{:?}", score.estimate);
        assert!(near(score.noised.wape, 94.0 / 2190.0), "{:?}", score.noised);
        assert!(near(score.covered[1], 2.0 / 3.0) && near(score.covered[4], 0.5));
        assert!(near(score.all_covered, 4.0 / 6.0) && near(score.shown, 5.0 / 6.0));
    }

    #[test]
    fn what_is_not_there_counts_nowhere() {
        let none = Compared {
            estimate: None,
            noised: None,
            shown: false,
            ..compared(9.0, 5.0, 1.0, 0.0, 1.0)
        };
        let score = scored(&[none]);
        assert_eq!((score.estimate, score.noised), (ErrorScore::default(), ErrorScore::default()));
        assert_eq!((score.all_covered, score.shown), (None, Some(0.0)));
        // Nothing to be a part of: no relative error, but an error of the sum.
        let score = scored(&[compared(9.0, 0.0, 1.0, 2.0, 1.0), compared(9.0, 4.0, 4.0, 2.0, 4.0)]);
        assert_eq!(
            score.estimate,
            ErrorScore { by_class: [Some(0.0), None, None, None, None], wape: Some(0.25) }
        );
    }

    #[test]
    fn ratios_count_by_what_they_are_divided_by() {
        let cell =
            |weight: f64, value: f64| Compared { weight, ..compared(9.0, 10.0, value, 1.0, value) };
        let score = scored(&[cell(3.0, 11.0), cell(1.0, 14.0)]);
        assert!(near(score.estimate.wape, 7.0 / 40.0), "{:?}", score.estimate);
    }

    #[test]
    fn the_middle_of_several_is_with_the_ends() {
        let spread = |values: &[f64]| Spread::of(values.iter().copied().map(Some));
        assert_eq!(spread(&[]), None);
        assert_eq!(Spread::of([None, Some(2.0)]), spread(&[2.0]));
        assert_eq!(spread(&[5.0, 1.0, 2.0]), Some(Spread { middle: 2.0, least: 1.0, most: 5.0 }));
        assert_eq!(spread(&[5.0, 1.0]), Some(Spread { middle: 3.0, least: 1.0, most: 5.0 }));
        assert_eq!((median(vec![]), median(vec![3.0, 1.0])), (None, Some(2.0)));
        assert_eq!(median(vec![9.0, 3.0, 1.0]), Some(3.0));
    }
}
