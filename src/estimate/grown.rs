//! An estimate for each unit of one that an earlier release has shown, from what both show.

use super::{Interval, Values, View};
use crate::job::StatisticKind;
use crate::plan::EarlierEstimate;

/// An estimate of this release with its interval, as tables show it, in natural units.
pub(super) fn as_shown(view: &View, kind: StatisticKind, row: usize) -> Option<Interval<f64>> {
    let rows = [row];
    let numbers = view.numbers(kind, 0, &rows);
    let values = if kind.is_money() { numbers.money() } else { numbers.counts() };
    let Interval { value, low, high } = match &values {
        Values::Counts(values) | Values::Positions(values) => values[0].interval,
        Values::Money(values) => {
            let Interval { value, low, high } = values[0].interval;
            let [value, low, high] = [value, low, high].map(|minor| minor.map(|x| x as f64));
            Interval { value, low, high }
        }
    };
    Some(Interval { value: value?, low: low?, high: high? })
}

/// The ratio of two estimates, with an interval from theirs; `None` if there may be nothing to
/// divide by.
///
/// Distances from estimates to the ends of their intervals are put together as deviations are
/// (MOVER: Zou and Donner 2008): the ends are the ratios r at which top − r·bottom is as far from
/// nothing as the distances of both say. They are taken to be independent.
pub(super) fn ratio(top: Interval<f64>, bottom: &EarlierEstimate) -> Option<Interval<f64>> {
    if bottom.low <= 0.0 {
        return None;
    }
    let Interval { value, low, high } = top;
    Some(Interval {
        value: value / bottom.value,
        low: least((value, low), bottom),
        high: -least((-value, -high), bottom),
    })
}

/// The lower end for a top of `value` that may be as little as `low`.
fn least((value, low): (f64, f64), bottom: &EarlierEstimate) -> f64 {
    let down = value - low;
    // (top − r·bottom)² = down² + (r·side)², a quadratic in r. Where r is above zero, r·bottom is
    // largest at the upper end, else at the lower one.
    let is_above = low > 0.0;
    let side = if is_above { bottom.high - bottom.value } else { bottom.value - bottom.low };
    let root = ((down * bottom.value).powi(2) + side.powi(2) * (value * value - down * down))
        .max(0.0)
        .sqrt();
    if is_above {
        // The upper end may be twice the estimate or more, so this way of two.
        (value * value - down * down) / (value * bottom.value + root)
    } else {
        (value * bottom.value - root) / (bottom.value.powi(2) - side.powi(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(top: [f64; 3], bottom: [f64; 3]) -> Option<[f64; 3]> {
        let [low, value, high] = top;
        let [least, known, most] = bottom;
        let bottom = EarlierEstimate { value: known, low: least, high: most };
        let found = ratio(Interval { value, low, high }, &bottom)?;
        Some([found.low, found.value, found.high])
    }

    #[test]
    fn ends_are_as_far_as_both_distances_say() {
        let tops = [[90.0, 120.0, 130.0], [0.0, 20.0, 130.0], [120.0, 120.0, 130.0]];
        let signed = [[-50.0, 20.0, 130.0], [-90.0, -20.0, 0.0], [-90.0, -50.0, -10.0]];
        let bottoms = [[80.0, 100.0, 110.0], [1.0, 100.0, 100.0], [100.0, 100.0, 900.0]];
        for [low, value, high] in tops.into_iter().chain(signed) {
            for [least, known, most] in bottoms {
                let found = of([low, value, high], [least, known, most]).expect("above zero");
                let [lower, middle, upper] = found;
                assert!((middle - value / known).abs() < 1e-12);
                assert!(lower <= middle && middle <= upper, "{found:?}");
                // r·bottom is furthest up where the one end of bottom is, or the other.
                let far = |r: f64, end: f64| (r * (end - known)).abs();
                let up = far(lower, if lower > 0.0 { most } else { least });
                let down = far(upper, if upper > 0.0 { least } else { most });
                let off = value - lower * known - (value - low).hypot(up);
                assert!(off.abs() < 1e-9, "{found:?}: {off}");
                let off = upper * known - value - (high - value).hypot(down);
                assert!(off.abs() < 1e-9, "{found:?}: {off}");
            }
        }
    }

    #[test]
    fn a_sure_denominator_scales_the_interval() {
        assert_eq!(of([80.0, 100.0, 150.0], [50.0; 3]), Some([1.6, 2.0, 3.0]));
        assert_eq!(of([0.0; 3], [50.0; 3]), Some([0.0; 3]));
    }

    #[test]
    fn nothing_is_divided_by_what_may_be_nothing() {
        assert_eq!(of([80.0, 100.0, 150.0], [0.0, 50.0, 90.0]), None);
        assert!(of([80.0, 100.0, 150.0], [0.001, 50.0, 90.0]).is_some());
    }
}
