//! How concentrated a cell is on few merchants: the sum of squared shares (Herfindahl 1950,
//! Hirschman 1964), from noised values, whose squares are too large by the variance of their noise.

use super::sellers::Seller;
use super::{Estimate, Interval, Z95};

/// The points of a cell with a single merchant.
const POINTS: f64 = 10_000.0;

/// Shown only if the sum of noised values is this many standard deviations of its noise.
const SIGNAL_MIN: f64 = 5.0;

/// Sums over the merchants of a cell, of values z with noise of deviations s.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    count: f64,
    /// Of z, s², z², and of s⁴, z s², z² s².
    sum: f64,
    noise: f64,
    squares: f64,
    noise_squares: f64,
    mixed: f64,
    mixed_squares: f64,
}

impl Sums {
    fn new(values: impl Iterator<Item = (f64, f64)>) -> Sums {
        let mut sums = Sums::default();
        for (value, sd) in values {
            let variance = sd * sd;
            sums.count += 1.0;
            sums.sum += value;
            sums.noise += variance;
            sums.squares += value * value;
            sums.noise_squares += variance * variance;
            sums.mixed += value * variance;
            sums.mixed_squares += value * value * variance;
        }
        sums
    }

    /// Without bias: the sum of squares, and the square of the sum.
    fn parts(&self) -> (f64, f64) {
        (self.squares - self.noise, self.sum * self.sum - self.noise)
    }

    /// Parts of a whole that are as equal as can be, and as unequal.
    fn within(&self, share: f64, signed: bool) -> f64 {
        let share = share.max(1.0 / self.count);
        if signed { share } else { share.min(1.0) }
    }

    /// The variance that noise gives to (sum of squares) − h · (square of the sum), which is a
    /// quadratic form of the noised values; the part that is linear in them, without bias.
    fn variance(&self, h: f64) -> f64 {
        let pairs = (1.0 - 2.0 * h) * self.noise_squares + h * h * self.noise * self.noise;
        let total = self.sum * self.sum * self.noise;
        let linear = self.mixed_squares - 2.0 * h * self.sum * self.mixed + h * h * total;
        4.0 * (linear - pairs).max(0.0) + 2.0 * pairs
    }
}

/// The concentration of a cell on its merchants; nothing where noise drowns their sum.
pub(super) fn concentration(sellers: &[&Seller], signed: bool) -> Estimate<Option<f64>> {
    let own = Sums::new(sellers.iter().map(|s| (s.noisy * s.factor, s.noise * s.factor)));
    let noised = Sums::new(sellers.iter().map(|s| (s.noisy, s.noise)));
    let strong = |sums: &Sums| sums.sum >= SIGNAL_MIN * sums.noise.sqrt();
    let mut found = Estimate { interval: Interval::NOTHING, unbiased: None, sd: None };
    if strong(&noised) {
        let (squares, square) = noised.parts();
        let share = squares / square;
        found.unbiased = Some(POINTS * share);
        found.sd = Some(POINTS * noised.variance(share).sqrt() / square);
    }
    // Of what each may be, by the model: its square is that of the estimate, and the variance.
    let known = Sums::new(sellers.iter().map(|s| (s.mean, s.sd)));
    if !strong(&own) || known.sum <= 0.0 {
        return found;
    }
    let whole = known.sum * known.sum + known.noise;
    let (low, high) = interval(&own, &taken(sellers), signed);
    let value = ((known.squares + known.noise) / whole).clamp(low, high);
    let [value, low, high] = [value, low, high].map(|x| Some(POINTS * x));
    found.interval = Interval { value, low, high };
    found
}

/// Sums of the second, third and fourth power of estimates, each times the relative variance of
/// what the fit takes of one merchant rather than another, with the estimates' sum.
struct Taken {
    powers: [f64; 3],
    sum: f64,
}

fn taken(sellers: &[&Seller]) -> Taken {
    let power = |n| sellers.iter().map(|s| s.apart.powi(2) * s.mean.powi(n)).sum();
    Taken { powers: [power(2), power(3), power(4)], sum: sellers.iter().map(|s| s.mean).sum() }
}

impl Taken {
    fn variance(&self, h: f64) -> f64 {
        let [two, three, four] = self.powers;
        let all = h * self.sum;
        4.0 * (four - 2.0 * all * three + all * all * two).max(0.0)
    }
}

/// All h for which (sum of squares) − h · (square of the sum) may be nothing: as Fieller (1954)
/// has it for ratios of normal values.
fn interval(own: &Sums, fit: &Taken, signed: bool) -> (f64, f64) {
    let (squares, square) = own.parts();
    let may_be =
        |h: f64| (squares - h * square).abs() <= Z95 * (own.variance(h) + fit.variance(h)).sqrt();
    let centre = own.within(squares / square, signed);
    let most = if signed { centre.max(1.0) } else { 1.0 };
    let end = |far: f64| {
        let (mut near, mut far) = (centre, far);
        if may_be(far) {
            return far;
        }
        for _ in 0..60 {
            let middle = 0.5 * (near + far);
            if may_be(middle) { near = middle } else { far = middle }
        }
        far
    };
    (end(1.0 / own.count), end(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seller(noisy: f64, noise: f64) -> Seller {
        Seller { noisy, noise, factor: 1.0, mean: noisy, sd: noise, apart: 0.0 }
    }

    fn of(values: &[f64], noise: f64) -> Estimate<Option<f64>> {
        let sellers: Vec<Seller> = values.iter().map(|&value| seller(value, noise)).collect();
        concentration(&sellers.iter().collect::<Vec<_>>(), false)
    }

    #[test]
    fn squares_lose_what_noise_adds() {
        let sharp = of(&[500.0, 300.0, 100.0, 100.0], 1e-9);
        assert!((sharp.unbiased.expect("strong") - 3600.0).abs() < 1e-6);
        let Interval { value, low, high } = sharp.interval;
        for end in [value, low, high] {
            assert!((end.expect("shown") - 3600.0).abs() < 1e-3);
        }
        // (360000 − 4 · 400) / (1000² − 4 · 400)
        let noised = of(&[500.0, 300.0, 100.0, 100.0], 20.0).unbiased.expect("strong");
        assert!((noised - 1e4 * 358_400.0 / 998_400.0).abs() < 1e-6, "{noised}");
    }

    #[test]
    fn what_noise_drowns_is_not_shown() {
        assert_eq!(of(&[5.0, -3.0, 1.0, 1.0], 2.0).unbiased, None);
        assert_eq!(of(&[5.0, -3.0, 1.0, 1.0], 2.0).interval, Interval::NOTHING);
        // Never less than equal parts have, nor more than one merchant.
        let equal = of(&[100.0; 4], 15.0).interval;
        assert!(equal.low.expect("shown") >= 2500.0 && equal.value.expect("shown") >= 2500.0);
        let one = of(&[400.0, 0.0, 0.0, 1.0], 15.0).interval;
        assert!(one.high.expect("shown") <= 10_000.0);
    }

    /// What the fit takes of one and not of another widens the interval where shares differ.
    #[test]
    fn what_is_doubtful_between_merchants_widens() {
        let width = |apart: f64| {
            let sellers: Vec<Seller> =
                [900.0, 50.0, 50.0].map(|v| Seller { apart, ..seller(v, 1.0) }).to_vec();
            let interval = concentration(&sellers.iter().collect::<Vec<_>>(), false).interval;
            interval.high.expect("shown") - interval.low.expect("shown")
        };
        assert!(width(0.1) > 5.0 * width(0.0), "{} {}", width(0.1), width(0.0));
    }
}
