//! Ratios of two statistics.

use super::{Estimate, Interval, Numbers, Values, Z95};

/// A ratio of noised values is shown only if its denominator is this many standard deviations of its
/// noise.
const SIGNAL_MIN: f64 = 5.0;

/// Sales per payment, in minor units: the ratio of the estimates, `None` where no payments are
/// estimated. The interval is Fieller's where the noised number of payments is at least five standard
/// deviations of its noise, else that of the estimates. Beside it the ratio of noised values, with its
/// standard deviation, where payments are that strong.
pub(super) fn average_ticket(sales: &Numbers, payments: &Numbers) -> Values {
    let (sales_sd, payments_sd) = (sales.noise(), payments.noise());
    let doubt = sales.model.correction.doubt().hypot(payments.model.correction.doubt());
    let ratio = |row: usize| {
        let (noisy_sales, noisy_payments) = (sales.unbiased(row), payments.unbiased(row));
        let correction = sales.factor(row) / payments.factor(row);
        let (top, bottom) = (sales.sds[row], payments.sds[row]);
        let raw = fieller((noisy_sales, sales_sd), (noisy_payments, payments_sd));
        let raw =
            raw.map(|(interval, sd)| (scaled(interval, correction, doubt), interval.value, sd));
        let (sales, payments) = (sales.estimate(row), payments.estimate(row));
        let estimate = (payments >= 0.5).then(|| {
            let value = sales / payments;
            let relative = (top / sales.abs().max(1.0)).hypot(bottom / payments);
            let half = Z95 * value.abs() * relative.min(2.0);
            let Interval { low, high, .. } = match &raw {
                Some((interval, _, _)) => *interval,
                None => Interval { value, low: value - half, high: value + half },
            };
            Interval { value, low: low.min(value), high: high.max(value) }
        });
        let (unbiased, sd) = raw.map(|(_, value, sd)| (value, sd)).unzip();
        Estimate {
            interval: Interval {
                value: estimate.map(|i| i.value.round() as i128),
                low: estimate.map(|i| i.low.floor() as i128),
                high: estimate.map(|i| i.high.ceil() as i128),
            },
            unbiased: unbiased.map(|value| value.round() as i128),
            sd: sd.map(|sd| sd.ceil() as i128),
        }
    };
    Values::Money((0..sales.rows.len()).map(ratio).collect())
}

/// An interval times a factor that is only known to a relative deviation of `doubt`.
fn scaled(interval: Interval<f64>, factor: f64, doubt: f64) -> Interval<f64> {
    let value = interval.value * factor;
    let more = Z95 * doubt * value;
    let wider = |end: f64| (end * factor - value).hypot(more);
    Interval { value, low: value - wider(interval.low), high: value + wider(interval.high) }
}

/// Fieller 1954 for independent normal errors, from values and their standard deviations; and the
/// ratio's own standard deviation, by the delta method.
fn fieller(
    (top, top_sd): (f64, f64),
    (bottom, bottom_sd): (f64, f64),
) -> Option<(Interval<f64>, f64)> {
    if bottom < SIGNAL_MIN * bottom_sd {
        return None;
    }
    let ratio = top / bottom;
    // At most (1.96/5)², so the interval is bounded.
    let g = (Z95 * bottom_sd / bottom).powi(2);
    let centre = ratio / (1.0 - g);
    let spread = (top_sd.powi(2) * (1.0 - g) + (ratio * bottom_sd).powi(2)).sqrt();
    let half = Z95 / (bottom * (1.0 - g)) * spread;
    let sd = top_sd.hypot(ratio * bottom_sd) / bottom;
    Some((Interval { value: ratio, low: centre - half, high: centre + half }, sd))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratio_without_noise_in_the_denominator_is_a_scaled_interval() {
        let (interval, sd) =
            fieller((10_000.0, 100.0), (50.0, 1e-9)).expect("a strong denominator");
        let Interval { value, low, high } = interval;
        assert_eq!([value, low, high, sd].map(|x| x.round() as i64), [200, 196, 204, 2]);
    }

    #[test]
    fn ratio_is_hidden_where_the_denominator_is_noise() {
        assert_eq!(fieller((10_000.0, 100.0), (4.9, 1.0)), None);
        assert_eq!(fieller((10_000.0, 100.0), (-50.0, 1.0)), None);
        assert!(fieller((10_000.0, 100.0), (5.0, 1.0)).is_some());
    }

    #[test]
    fn noise_in_the_denominator_widens_the_interval() {
        let (sharp, _) = fieller((10_000.0, 100.0), (50.0, 0.1)).expect("shown");
        let (blurred, _) = fieller((10_000.0, 100.0), (50.0, 8.0)).expect("shown");
        assert!(blurred.high - blurred.low > 2.0 * (sharp.high - sharp.low));
    }

    #[test]
    fn doubt_widens_an_interval() {
        let interval = Interval { value: 100.0, low: 97.0, high: 104.0 };
        assert_eq!(scaled(interval, 2.0, 0.0), Interval { value: 200.0, low: 194.0, high: 208.0 });
        let wide = scaled(interval, 2.0, 0.1);
        assert!(wide.low < 161.0 && wide.high > 239.0, "{wide:?}");
    }
}
