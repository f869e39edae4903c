//! Ratios of two noised statistics.

use super::{Interval, Values, Z95};
use crate::plan::Gaussian;

/// A ratio is shown only if its denominator is this many standard deviations of its noise.
const SIGNAL_MIN: f64 = 5.0;

/// Sales per payment, in minor units, with Fieller's interval; `None` where the noised number of
/// payments is below five standard deviations of its noise.
pub(super) fn average_ticket(
    (sales_noise, sales): (Gaussian, Vec<i64>),
    (payments_noise, payments): (Gaussian, Vec<i64>),
) -> Values {
    let sales_sd = sales_noise.to_natural(sales_noise.sigma as f64);
    let payments_sd = payments_noise.to_natural(payments_noise.sigma as f64);
    let pairs = sales.into_iter().zip(payments);
    let ratio = |(sales, payments): (i64, i64)| {
        let sales = sales_noise.to_natural(sales as f64);
        let payments = payments_noise.to_natural(payments as f64);
        fieller(sales, sales_sd, payments, payments_sd)
    };
    Values::Money(pairs.map(ratio).collect())
}

/// Fieller 1954 for independent normal errors.
fn fieller(top: f64, top_sd: f64, bottom: f64, bottom_sd: f64) -> Option<Interval<i128>> {
    if bottom < SIGNAL_MIN * bottom_sd {
        return None;
    }
    let ratio = top / bottom;
    // At most (1.96/5)², so the interval is bounded.
    let g = (Z95 * bottom_sd / bottom).powi(2);
    let centre = ratio / (1.0 - g);
    let spread = (top_sd.powi(2) * (1.0 - g) + (ratio * bottom_sd).powi(2)).sqrt();
    let half = Z95 / (bottom * (1.0 - g)) * spread;
    Some(Interval {
        value: ratio.round() as i128,
        low: (centre - half).floor() as i128,
        high: (centre + half).ceil() as i128,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratio_without_noise_in_the_denominator_is_a_scaled_interval() {
        let interval = fieller(10_000.0, 100.0, 50.0, 1e-9).expect("a strong denominator");
        assert_eq!(interval, Interval { value: 200, low: 196, high: 204 });
    }

    #[test]
    fn ratio_is_hidden_where_the_denominator_is_noise() {
        assert_eq!(fieller(10_000.0, 100.0, 4.9, 1.0), None);
        assert_eq!(fieller(10_000.0, 100.0, -50.0, 1.0), None);
        assert!(fieller(10_000.0, 100.0, 5.0, 1.0).is_some());
    }

    #[test]
    fn noise_in_the_denominator_widens_the_interval() {
        let sharp = fieller(10_000.0, 100.0, 50.0, 0.1).expect("shown");
        let blurred = fieller(10_000.0, 100.0, 50.0, 8.0).expect("shown");
        assert!(blurred.high - blurred.low > 2 * (sharp.high - sharp.low));
    }
}
