//! What tables show of a cell: estimates with intervals, noised values, and grades.

/// The values of one insight, by cell.
#[derive(Clone, Debug)]
pub enum Values {
    /// Numbers of users, payments or days, and ratios of such.
    Counts(Vec<Estimate<Option<f64>>>),
    /// Money in minor units.
    Money(Vec<Estimate<Option<i128>>>),
    /// Places in an order, from 0 for the first to 1 for the last.
    Positions(Vec<Estimate<Option<f64>>>),
}

impl Values {
    /// Number of cells.
    pub(super) fn len(&self) -> usize {
        match self {
            Values::Counts(values) | Values::Positions(values) => values.len(),
            Values::Money(values) => values.len(),
        }
    }

    /// Half the width of a cell's interval against its estimate, or how far it goes from there
    /// towards zero if that is more, if it is shown; of positions the width against all that there
    /// are.
    pub(super) fn relative_error(&self, row: usize) -> Option<f64> {
        match self {
            Values::Counts(values) => values[row].relative_error(),
            Values::Money(values) => values[row].relative_error(),
            Values::Positions(values) => values[row].width(),
        }
    }

    /// A cell's grade.
    pub fn grade(&self, row: usize) -> Grade {
        Grade::of(self.relative_error(row))
    }

    /// Leaves nothing of a cell.
    pub(super) fn hide_all(&mut self, row: usize) {
        self.hide(row);
        match self {
            Values::Counts(values) | Values::Positions(values) => {
                (values[row].unbiased, values[row].sd) = (None, None);
            }
            Values::Money(values) => (values[row].unbiased, values[row].sd) = (None, None),
        }
    }

    /// Leaves the noised value of a cell alone.
    pub(super) fn hide(&mut self, row: usize) {
        match self {
            Values::Counts(values) | Values::Positions(values) => {
                values[row].interval = Interval::NOTHING;
            }
            Values::Money(values) => values[row].interval = Interval::NOTHING,
        }
    }
}

/// An estimate, and the noised value beside it that no model has touched; what is not shown is
/// `None`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate<T> {
    /// The estimate, and the ends of its 95 % interval.
    pub interval: Interval<T>,
    /// The noised value: unbiased but for the fit.
    pub unbiased: T,
    /// The standard deviation of its noise.
    pub sd: T,
}

/// An estimate with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval<T> {
    /// The estimate.
    pub value: T,
    /// Lower end.
    pub low: T,
    /// Upper end.
    pub high: T,
}

impl<T> Interval<Option<T>> {
    /// Of an estimate that is not shown.
    pub(super) const NOTHING: Self = Interval { value: None, low: None, high: None };
}

/// How far an estimate can be trusted, by half the width of its interval against itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    /// At most 5 %.
    A,
    /// At most 15 %.
    B,
    /// At most 50 %.
    C,
    /// More, or no estimate.
    D,
}

impl Grade {
    /// All grades, best first.
    pub const ALL: [Grade; 4] = [Grade::A, Grade::B, Grade::C, Grade::D];

    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Grade::A => "A",
            Grade::B => "B",
            Grade::C => "C",
            Grade::D => "D",
        }
    }

    fn of(relative_error: Option<f64>) -> Grade {
        match relative_error {
            Some(r) if r <= 0.05 => Grade::A,
            Some(r) if r <= 0.15 => Grade::B,
            Some(r) if r <= 0.5 => Grade::C,
            _ => Grade::D,
        }
    }
}

impl Estimate<Option<f64>> {
    pub(super) fn relative_error(&self) -> Option<f64> {
        let Interval { value, low, high } = self.interval;
        Some(relative(value?, low?, high?))
    }

    fn width(&self) -> Option<f64> {
        Some(self.interval.high? - self.interval.low?)
    }
}

impl Estimate<Option<i128>> {
    pub(super) fn relative_error(&self) -> Option<f64> {
        let Interval { value, low, high } = self.interval;
        Some(relative(value? as f64, low? as f64, high? as f64))
    }
}

/// An estimate at the upper end of its interval, where noise has taken much away, is as unsure as
/// all of what lies below it.
fn relative(value: f64, low: f64, high: f64) -> f64 {
    let below = if value < 0.0 { high - value } else { value - low };
    below.max((high - low) / 2.0) / value.abs()
}
