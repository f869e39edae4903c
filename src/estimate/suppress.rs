//! Which estimates are not shown: those whose interval is too wide, and those of too few merchants.
//!
//! Looks at estimates and public facts alone, so it is post-processing. Levels add up before
//! anything is left out.

use super::Column;
use crate::job::Percent;

/// Why an estimate is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its interval is wider against it than the report's `suppress_above` allows, or there is
    /// nothing to estimate it from.
    Error,
    /// The period does not hold the whole period after the cell in which customers are looked for
    /// again.
    LookAhead,
    /// The period does not hold all days before the cell that tell whether a customer is new.
    LookBack,
    /// It would tell of too few merchants, alone or with other cells.
    Merchants,
    /// Its period or the one that it is compared with is not known as a whole.
    NoPeriod,
    /// There are fewer merchants to compare than the report's `peers_min`.
    Peers,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Reason; 6] = [
        Reason::Error,
        Reason::LookAhead,
        Reason::LookBack,
        Reason::Merchants,
        Reason::NoPeriod,
        Reason::Peers,
    ];

    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Error => "error",
            Reason::LookAhead => "look-ahead",
            Reason::LookBack => "look-back",
            Reason::Merchants => "merchants",
            Reason::NoPeriod => "no-period",
            Reason::Peers => "peers",
        }
    }
}

/// Hides estimates with a relative error above `limit`, if there is one, or with none.
pub(super) fn by_error(column: &mut Column, limit: Option<Percent>) {
    for (row, suppressed) in column.suppressed.iter_mut().enumerate() {
        let shown = |error: f64| limit.is_none_or(|limit| error <= limit.value());
        if suppressed.is_none() && !column.values.relative_error(row).is_some_and(shown) {
            column.values.hide(row);
            *suppressed = Some(Reason::Error);
        }
    }
}

/// Hides cells that tell of too few merchants, with their noised values.
pub(super) fn by_merchants(column: &mut Column, hidden: impl Fn(usize) -> bool) {
    for (row, suppressed) in column.suppressed.iter_mut().enumerate() {
        if hidden(row) {
            column.values.hide_all(row);
            *suppressed = Some(Reason::Merchants);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Estimate, Interval, Values};
    use super::*;
    use crate::job::Insight;

    fn column(values: Values) -> Column {
        let suppressed = vec![None; values.len()];
        Column {
            insight: Insight::Sales,
            name: "sales".to_owned(),
            values,
            suppressed,
            bands: None,
        }
    }

    fn reasons(column: &Column) -> Vec<&str> {
        column.suppressed.iter().map(|reason| reason.map_or("", Reason::name)).collect()
    }

    fn estimate<T>(value: T, low: T, high: T, noised: T) -> Estimate<Option<T>> {
        let interval = Interval { value: Some(value), low: Some(low), high: Some(high) };
        Estimate { interval, unbiased: Some(noised), sd: None }
    }

    #[test]
    fn wide_intervals_are_hidden_and_noised_values_stay() {
        // Half the interval: exactly a half, a little more, of nothing, of a negative value; and
        // estimates at the ends that are away from zero, and at that towards it.
        let values = vec![
            estimate(100.0, 50.0, 150.0, 99.0),
            estimate(100.0, 49.0, 150.0, 99.0),
            estimate(0.0, 0.0, 0.0, -3.0),
            estimate(-100.0, -120.0, -80.0, -99.0),
            estimate(100.0, 0.0, 100.0, -150.0),
            estimate(-100.0, -100.0, -49.0, -40.0),
            estimate(100.0, 100.0, 190.0, 160.0),
        ];
        let mut counts = column(Values::Counts(values));
        by_error(&mut counts, Percent::parse("50%"));
        assert_eq!(reasons(&counts), ["", "error", "error", "", "error", "error", ""]);
        let Values::Counts(values) = &counts.values else { panic!("counts") };
        assert_eq!(values[1].interval, Interval::NOTHING);
        assert_eq!(values[1].unbiased, Some(99.0));
        assert_eq!(values[0].interval.value, Some(100.0));
    }

    #[test]
    fn without_a_limit_only_what_is_not_there_is_hidden() {
        let mut absent = estimate(7, 0, 900, 7i128);
        absent.interval = Interval::NOTHING;
        let mut money = column(Values::Money(vec![estimate(7, 0, 900, 7), absent]));
        by_error(&mut money, None);
        assert_eq!(reasons(&money), ["", "error"]);
    }
}
