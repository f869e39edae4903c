//! Ratios of two statistics, and shares of one.

use super::{Estimate, Interval, Numbers, Values, Z95};

/// A ratio of noised values is shown only if its denominator is this many standard deviations of
/// its noise.
pub(super) const SIGNAL_MIN: f64 = 5.0;

/// A ratio is estimated where its denominator is estimated to be this much, in counts or minor
/// units.
pub(super) const LEAST: f64 = 0.5;

/// Relative standard deviation of what one user or payment has, about that of log-normal tickets
/// with a deviation of 0.8: a mean of n varies by this over √n from cell to cell.
const EACH: f64 = 1.0;

/// A ratio by cell, in natural units; `None` where there is nothing to divide by.
pub(super) type Ratios = Vec<Estimate<Option<f64>>>;

/// What one statistic is for each unit of another: the ratio of the estimates, `None` where nothing
/// to divide by is estimated. The interval is Fieller's where the noised denominator is at least
/// five standard deviations of its noise, else that of the estimates, with how much a mean of so
/// few differs from that of cells alike; both with what is doubtful of the corrections. Beside it
/// the ratio of noised values, with its standard deviation, where the denominator is that strong.
pub(super) fn ratio(top: &Numbers, bottom: &Numbers) -> Ratios {
    let range = range(top.statistic.kind.facts().signed);
    ratio_in(top, bottom, &|_| range)
}

fn ratio_in(top: &Numbers, bottom: &Numbers, of_row: &dyn Fn(usize) -> Ends) -> Ratios {
    let doubt = top.model.correction.doubt().hypot(bottom.model.correction.doubt());
    doubtful(top, bottom, (doubt, of_row))
}

/// The least and the most that something can be.
pub(super) type Ends = (f64, f64);

/// What ratios can be of statistics that may be below zero, or not.
pub(super) fn range(signed: bool) -> Ends {
    (if signed { f64::NEG_INFINITY } else { 0.0 }, f64::INFINITY)
}

/// Share of new customers who come again in a period: of two numbers of one statistic, of which the
/// fit takes alike, but for what differs from cell to cell. No more than all of them come again.
pub(super) fn retention_rate(again: &Numbers, new: &Numbers) -> Ratios {
    let apart = new.model.correction.apart();
    let rates = doubtful(again, new, (apart.hypot(apart), &|_| (0.0, 1.0))).into_iter();
    rates.map(|rate| within(rate, 0.0, 1.0)).collect()
}

/// Visits for each customer, of cells with so many days: whoever is a customer came on one of them
/// at least, and on no more than all.
pub(super) fn visits_per_customer(visits: &Numbers, customers: &Numbers, days: &[f64]) -> Ratios {
    let ratios = ratio_in(visits, customers, &|row| (1.0, days[row])).into_iter().zip(days);
    ratios.map(|(ratio, &days)| within(ratio, 1.0, days)).collect()
}

/// An estimate and its interval as far as they can be. What is noised stays as it is.
pub(super) fn within(
    estimate: Estimate<Option<f64>>,
    least: f64,
    most: f64,
) -> Estimate<Option<f64>> {
    let Interval { value, low, high } = estimate.interval;
    let clamp = |end: Option<f64>| end.map(|end| end.clamp(least, most));
    let interval = Interval { value: clamp(value), low: clamp(low), high: clamp(high) };
    Estimate { interval, ..estimate }
}

/// The interval of a noised value: what noise has put beyond what can be is moved there, and not
/// only cut, as it would be the narrower the more absurd it is.
pub(super) fn moved(noised: Interval<f64>, (least, most): Ends) -> Interval<f64> {
    let Interval { value, low, high } = noised;
    Interval { value, low: low.min(most - (value - low)), high: high.max(least + (high - value)) }
}

fn doubtful(
    top: &Numbers,
    bottom: &Numbers,
    (common, of_row): (f64, &dyn Fn(usize) -> Ends),
) -> Ratios {
    let each = if bottom.statistic.kind.is_count() { EACH } else { 0.0 };
    let ratio = |row: usize| {
        let noise = (top.noise(row), bottom.noise(row));
        let noisy = (top.unbiased(row), bottom.unbiased(row));
        let correction = top.factor(row) / bottom.factor(row);
        let sds = (top.sds[row], bottom.sds[row]);
        let raw = fieller((noisy.0, noise.0), (noisy.1, noise.1), 0.0);
        let doubt = common.hypot(top.margin(row)).hypot(bottom.margin(row));
        let unsure = doubt.hypot(top.chance(row)).hypot(bottom.chance(row));
        let raw =
            raw.map(|(interval, sd)| (scaled(interval, correction, unsure), interval.value, sd));
        let range = of_row(row);
        let (top, bottom) = (top.estimate(row), bottom.estimate(row));
        let estimate = (bottom >= LEAST).then(|| {
            let value = top / bottom;
            let rest = (each / bottom.sqrt()).hypot(doubt);
            let Interval { low, high, .. } = match &raw {
                Some((interval, _, _)) => moved(*interval, range),
                None => moved(modelled(value, (sds.0 / bottom, rest), sds.1 / bottom), range),
            };
            let low = low.max(range.0);
            Interval { value, low: low.min(value), high: high.max(value) }
        });
        let (unbiased, sd) = raw.map(|(_, value, sd)| (value, sd)).unzip();
        shown(estimate, unbiased, sd)
    };
    (0..top.rows.len()).map(ratio).collect()
}

/// The interval of a ratio of estimates: `own` is the deviation of what is divided, in units of the
/// ratio, `rest` that of all else and `bottom` that of what is divided by, both relative.
///
/// What is divided by may be a small part of its estimate, but not below zero: its law is
/// log-normal, with the estimate for a mean. Distances to the ends are put together as deviations
/// are (MOVER: Zou and Donner 2008).
fn modelled(value: f64, (own, rest): (f64, f64), bottom: f64) -> Interval<f64> {
    const MOST: f64 = 2.0;
    let rest = Z95 * own.hypot(value * rest.min(MOST));
    let variance = bottom.min(MOST).powi(2).ln_1p();
    let end = |deviations: f64| (deviations * variance.sqrt() + variance / 2.0).exp_m1();
    let (less, more) = (rest.hypot(value * end(-Z95).min(0.0)), rest.hypot(value * end(Z95)));
    let (below, above) = if value < 0.0 { (more, less) } else { (less, more) };
    Interval { value, low: value - below, high: value + above }
}

/// Share of customers that came twice or more: of all but the first class in all classes.
///
/// The estimate is drawn towards that of cells alike; the interval is Fieller's where the noised
/// number of customers is at least five standard deviations of its noise, else that of the
/// estimate.
pub(super) fn repeat_rate(classes: &[Numbers]) -> Ratios {
    let Some((once, more)) = classes.split_first() else { return Vec::new() };
    let rate = |row: usize| {
        let (one, many) = (once.noise(row).powi(2), once.noise(row).powi(2) * more.len() as f64);
        let part: f64 = more.iter().map(|class| class.unbiased(row)).sum();
        let whole = part + once.unbiased(row);
        let raw = fieller((part, many.sqrt()), (whole, (one + many).sqrt()), many);
        let estimated: f64 = classes.iter().map(|class| class.estimate(row)).sum();
        let own = once.model.rates.get(once.rows[row]);
        let estimate = own.filter(|_| estimated >= LEAST).map(|rate| {
            let Interval { low, high, .. } = match &raw {
                Some((interval, _)) => moved(*interval, (0.0, 1.0)),
                None => {
                    let half = Z95 * rate.sd;
                    Interval { value: rate.mean, low: rate.mean - half, high: rate.mean + half }
                }
            };
            let value = rate.mean;
            Interval { value, low: low.clamp(0.0, value), high: high.clamp(value, 1.0) }
        });
        let (unbiased, sd) = raw.map(|(interval, sd)| (interval.value, sd)).unzip();
        shown(estimate, unbiased, sd)
    };
    (0..once.rows.len()).map(rate).collect()
}

/// Users who spend more than in another period against those who spend less: 100 if as many, 200 if
/// all spend more, 0 if all spend less.
///
/// As [`repeat_rate`]; the noise of the difference of two classes and that of the sum of all three
/// are independent.
pub(super) fn diffusion_index([up, flat, down]: &[Numbers; 3]) -> Ratios {
    let index = |row: usize| {
        let noise = up.noise(row);
        let [more, same, less] = [up, flat, down].map(|class| class.unbiased(row));
        let whole = (more + same + less, noise * 3f64.sqrt());
        let raw = fieller((more - less, noise * 2f64.sqrt()), whole, 0.0);
        let estimated: f64 = [up, flat, down].iter().map(|class| class.estimate(row)).sum();
        let own = up.model.rates.get(up.rows[row]);
        let estimate = own.filter(|_| estimated >= LEAST).map(|balance| {
            let (value, half) = (balance.mean, Z95 * balance.sd);
            let (low, high) = match &raw {
                Some((interval, _)) => {
                    let interval = moved(*interval, (-1.0, 1.0));
                    (interval.low, interval.high)
                }
                None => (value - half, value + half),
            };
            let index = |balance: f64| 100.0 + 100.0 * balance;
            Interval {
                value: index(value),
                low: index(low.clamp(-1.0, value)),
                high: index(high.clamp(value, 1.0)),
            }
        });
        let unbiased = raw.map(|(interval, sd)| (100.0 + 100.0 * interval.value, 100.0 * sd));
        let (unbiased, sd) = unbiased.unzip();
        shown(estimate, unbiased, sd)
    };
    (0..up.rows.len()).map(index).collect()
}

/// An estimate that may be none.
pub(super) fn shown(
    estimate: Option<Interval<f64>>,
    unbiased: Option<f64>,
    sd: Option<f64>,
) -> Estimate<Option<f64>> {
    let interval = Interval {
        value: estimate.map(|i| i.value),
        low: estimate.map(|i| i.low),
        high: estimate.map(|i| i.high),
    };
    Estimate { interval, unbiased, sd }
}

/// As money: rounded to minor units, intervals outward.
pub(super) fn money(ratios: Ratios) -> Values {
    let money = |e: Estimate<Option<f64>>| Estimate {
        interval: Interval {
            value: e.interval.value.map(|x| x.round() as i128),
            low: e.interval.low.map(|x| x.floor() as i128),
            high: e.interval.high.map(|x| x.ceil() as i128),
        },
        unbiased: e.unbiased.map(|x| x.round() as i128),
        sd: e.sd.map(|x| x.ceil() as i128),
    };
    Values::Money(ratios.into_iter().map(money).collect())
}

/// An interval times a factor that is only known to a relative deviation of `doubt`.
fn scaled(interval: Interval<f64>, factor: f64, doubt: f64) -> Interval<f64> {
    let value = interval.value * factor;
    let more = Z95 * doubt * value;
    let wider = |end: f64| (end * factor - value).hypot(more);
    Interval { value, low: value - wider(interval.low), high: value + wider(interval.high) }
}

/// Fieller 1954 for normal errors, from values with their standard deviations and covariance: all
/// ratios r for which top − r·bottom may be nothing. And the ratio's own standard deviation, by the
/// delta method.
pub(super) fn fieller(
    (top, top_sd): (f64, f64),
    (bottom, bottom_sd): (f64, f64),
    covariance: f64,
) -> Option<(Interval<f64>, f64)> {
    if bottom < SIGNAL_MIN * bottom_sd {
        return None;
    }
    let ratio = top / bottom;
    // (top − r·bottom)² ≤ 1.96² (v − 2rc + r²w), a quadratic in r. Its leading part is above zero,
    // as (1.96/5)² is below one, so the interval is bounded.
    let z = Z95.powi(2);
    let square = bottom.powi(2) - z * bottom_sd.powi(2);
    let centre = (top * bottom - z * covariance) / square;
    let end = (top.powi(2) - z * top_sd.powi(2)) / square;
    let half = (centre.powi(2) - end).max(0.0).sqrt();
    let variance = top_sd.powi(2) - 2.0 * ratio * covariance + (ratio * bottom_sd).powi(2);
    let sd = variance.max(0.0).sqrt() / bottom;
    Some((Interval { value: ratio, low: centre - half, high: centre + half }, sd))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratio_without_noise_in_the_denominator_is_a_scaled_interval() {
        let (interval, sd) =
            fieller((10_000.0, 100.0), (50.0, 1e-9), 0.0).expect("a strong denominator");
        let Interval { value, low, high } = interval;
        assert_eq!([value, low, high, sd].map(|x| x.round() as i64), [200, 196, 204, 2]);
    }

    #[test]
    fn ratio_is_hidden_where_the_denominator_is_noise() {
        assert_eq!(fieller((10_000.0, 100.0), (4.9, 1.0), 0.0), None);
        assert_eq!(fieller((10_000.0, 100.0), (-50.0, 1.0), 0.0), None);
        assert!(fieller((10_000.0, 100.0), (5.0, 1.0), 0.0).is_some());
    }

    #[test]
    fn noise_in_the_denominator_widens_the_interval() {
        let (sharp, _) = fieller((10_000.0, 100.0), (50.0, 0.1), 0.0).expect("shown");
        let (blurred, _) = fieller((10_000.0, 100.0), (50.0, 8.0), 0.0).expect("shown");
        assert!(blurred.high - blurred.low > 2.0 * (sharp.high - sharp.low));
    }

    /// All of the denominator's noise is in the numerator: a share of 1 is one without doubt, and
    /// one of 3/4 has the deviation of (1/4)·3σ against (3/4)·σ.
    #[test]
    fn noise_that_both_have_cancels_out() {
        let (interval, sd) = fieller((80.0, 2.0), (80.0, 2.0), 4.0).expect("shown");
        assert!((interval.low - 1.0).abs() < 1e-9 && (interval.high - 1.0).abs() < 1e-9);
        assert!(sd < 1e-9);
        let (_, sd) = fieller((60.0, 3f64.sqrt()), (80.0, 2.0), 3.0).expect("shown");
        let known = (3.0 * 0.25f64.powi(2) + 0.75f64.powi(2)).sqrt() / 80.0;
        assert!((sd - known).abs() < 1e-12, "{sd} {known}");
    }

    #[test]
    fn what_is_divided_by_may_be_far_below_its_estimate() {
        // Of a sure denominator as of normal errors.
        let Interval { low, high, .. } = modelled(100.0, (0.0, 0.2), 0.0);
        assert!((low - 60.8).abs() < 0.01 && (high - 139.2).abs() < 0.01, "{low} {high}");
        // A log-normal denominator with a mean of 1 and a deviation of 0.6 is between 0.289 and
        // 2.544 with 95 %.
        let Interval { low, high, .. } = modelled(100.0, (0.0, 0.0), 0.6);
        assert!((low - 39.3).abs() < 0.1 && (high - 346.1).abs() < 0.5, "{low} {high}");
        // Both, where refunds prevail.
        let Interval { low, high, .. } = modelled(-100.0, (30.0, 0.4), 0.6);
        let wanted = (-100.0 * (1.0 + 0.98f64.hypot(2.461)), -100.0 * (1.0 - 0.98f64.hypot(0.607)));
        assert!((low - wanted.0).abs() < 1.0 && (high - wanted.1).abs() < 1.0, "{low} {high}");
        // What is divided is estimated to be nothing, and may be something.
        let Interval { low, high, .. } = modelled(0.0, (0.5, 0.2), 0.6);
        assert!((low + 0.98).abs() < 0.001 && (high - 0.98).abs() < 0.001, "{low} {high}");
    }

    #[test]
    fn what_noise_has_put_beyond_what_can_be_is_moved_and_not_cut() {
        let of = |value: f64, half: f64, range: Ends| {
            let own = Interval { value, low: value - half, high: value + half };
            let Interval { low, high, .. } = moved(own, range);
            (low, high)
        };
        // Below, within and above; an end within stays.
        assert_eq!(of(-0.75, 0.5, (1.0, 31.0)), (-1.25, 1.5));
        assert_eq!(of(2.0, 0.5, (1.0, 31.0)), (1.5, 2.5));
        assert_eq!(of(1.25, 0.5, (1.0, 31.0)), (0.75, 1.75));
        assert_eq!(of(1.75, 0.25, (0.0, 1.0)), (0.75, 2.0));
        assert_eq!(of(-3.0, 0.5, range(true)), (-3.5, -2.5));
        assert_eq!(of(-3.0, 0.5, range(false)), (-3.5, 0.5));
    }

    #[test]
    fn doubt_widens_an_interval() {
        let interval = Interval { value: 100.0, low: 97.0, high: 104.0 };
        assert_eq!(scaled(interval, 2.0, 0.0), Interval { value: 200.0, low: 194.0, high: 208.0 });
        let wide = scaled(interval, 2.0, 0.1);
        assert!(wide.low < 161.0 && wide.high > 239.0, "{wide:?}");
    }
}
