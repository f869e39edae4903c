//! What is known of merchants whose values are compared, and the law of a group of them.
//!
//! Noised values differ more than true ones, and estimates that are drawn towards each other less.
//! So a group's law is the mean of what the model of cells knows of each member: a normal law
//! around its estimate. Intervals reach as far as the laws of noised values and of estimates do,
//! between which the true one lies, and are as wide as noise alone makes them. `docs/insights.md`
//! says how they cover.

use super::{View, Z95};
use crate::job::StatisticKind;

/// The value of a merchant in a cell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seller {
    /// The noised value,
    pub(super) noisy: f64,
    /// with the standard deviation of its noise,
    pub(super) noise: f64,
    /// and what makes good for the fit.
    pub(super) factor: f64,
    /// The estimate with its likely deviation.
    pub(super) mean: f64,
    pub(super) sd: f64,
    /// How much the fit takes of one cell rather than another.
    pub(super) apart: f64,
}

impl Seller {
    /// Of all cells of a level.
    pub(super) fn all(view: &View, kind: StatisticKind) -> Vec<Seller> {
        let rows: Vec<usize> = (0..view.noisy.keys.len()).collect();
        let numbers = view.numbers(kind, 0, &rows);
        let seller = |row: usize| {
            let noise = numbers.noise(row);
            let (factor, mean) = (numbers.factor(row), numbers.estimate(row));
            let (known, apart) = (numbers.sds[row], numbers.apart(row));
            let known = if known.is_finite() { known } else { noise * factor };
            let sd = known.hypot(apart * mean).max(1e-6 * noise);
            Seller { noisy: numbers.unbiased(row), noise, factor, mean, sd, apart }
        };
        rows.iter().map(|&row| seller(row)).collect()
    }

    /// The ends of the interval of its value against those of others, never without the estimate.
    fn ends(&self) -> (f64, f64) {
        let (value, sd) = (self.noisy * self.factor, self.spread());
        ((value - Z95 * sd).min(self.mean), (value + Z95 * sd).max(self.mean))
    }

    /// The deviation of its noised value, corrected, against those of others.
    fn spread(&self) -> f64 {
        let value = (self.noisy * self.factor).max(self.mean);
        (self.noise * self.factor).hypot(self.apart * value).max(self.sd)
    }
}

/// How many members of a group are above a value: the mean of that number, and its variance, at
/// values between which both are taken as straight lines.
#[derive(Clone, Debug)]
pub(super) struct Law {
    members: f64,
    /// Of a small group its members, which are looked at themselves.
    few: Vec<Seller>,
    knots: Vec<Knot>,
    /// The noised values, corrected, and the estimates, both ascending.
    others: [Vec<f64>; 2],
}

#[derive(Clone, Copy, Debug)]
struct Knot {
    at: f64,
    above: f64,
    variance: f64,
}

/// The most values at which a law is computed.
const KNOTS: usize = 512;

/// Members of a group that are counted one by one.
const FEW: usize = 64;

/// Nodes and weights by which the mean over a normal law is taken (Gauss and Hermite, five points).
const NODES: [(f64, f64); 5] = [
    (0.0, 8.0 / 15.0),
    (1.355_626_179_974_266, 0.222_075_922_005_612_6),
    (-1.355_626_179_974_266, 0.222_075_922_005_612_6),
    (2.856_970_013_872_806, 0.011_257_411_327_720_7),
    (-2.856_970_013_872_806, 0.011_257_411_327_720_7),
];

impl Law {
    /// The law of a group.
    pub(super) fn new(members: &[Seller]) -> Law {
        let around = |s: &Seller| {
            let (mean, step) = (s.mean, 0.5 * s.sd);
            (-6..=6).map(move |k| mean + f64::from(k) * step)
        };
        let mut all: Vec<f64> = members.iter().flat_map(around).collect();
        all.sort_by(f64::total_cmp);
        let last = all.len().saturating_sub(1);
        let count = all.len().min(KNOTS);
        let knot = |place: usize| {
            let at = all[if count > 1 { place * last / (count - 1) } else { 0 }];
            let (mut above, mut variance) = (0.0, 0.0);
            for member in members {
                above += member.chance_above(at);
                variance += member.variance(at);
            }
            Knot { at, above, variance }
        };
        let sorted = |value: fn(&Seller) -> f64| {
            let mut values: Vec<f64> = members.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let others = [sorted(|s| s.noisy * s.factor), sorted(|s| s.mean)];
        let few = if members.len() <= FEW { members.to_vec() } else { Vec::new() };
        let knots = (0..count).map(knot).collect();
        Law { members: members.len() as f64, few, knots, others }
    }

    /// How many are above a value, with the variance.
    fn above(&self, value: f64) -> (f64, f64) {
        if !self.few.is_empty() {
            let all = self.few.iter();
            let parts = all.map(|member| (member.chance_above(value), member.variance(value)));
            return parts.fold((0.0, 0.0), |(a, b), (above, variance)| (a + above, b + variance));
        }
        let next = self.knots.partition_point(|knot| knot.at < value);
        let Some(right) = self.knots.get(next) else { return (0.0, 0.0) };
        let Some(left) = next.checked_sub(1).map(|place| self.knots[place]) else {
            return if right.at > value {
                (self.members, 0.0)
            } else {
                (right.above, right.variance)
            };
        };
        let share = (value - left.at) / (right.at - left.at);
        let between = |a: f64, b: f64| a + share * (b - a);
        (between(left.above, right.above), between(left.variance, right.variance))
    }

    /// The place of a member from the top, as a part of the group, itself counted half: 0 would be
    /// above all, 1 below all. With the ends of its interval.
    pub(super) fn position(&self, own: &Seller) -> (f64, f64, f64) {
        let place = |value: f64| {
            let (above, variance) = self.above(value);
            let others = (above - own.chance_above(value)).clamp(0.0, self.members - 1.0);
            ((others + 0.5) / self.members, (variance - own.variance(value)).max(0.0))
        };
        // Of noised values, and of estimates.
        let raw = |value: f64| {
            let count = |(values, own): (&Vec<f64>, f64)| {
                let above = values.len() - values.partition_point(|other| *other <= value);
                (above as f64 - f64::from(u8::from(own > value)) + 0.5) / self.members
            };
            let owns = [own.noisy * own.factor, own.mean];
            [0, 1].map(|law: usize| count((&self.others[law], owns[law])))
        };
        let at = |(node, weight): (f64, f64)| weight * place(own.mean + node * own.sd).0;
        let within = |place: f64| place.clamp(0.5 / self.members, 1.0 - 0.5 / self.members);
        let middle = within(NODES.into_iter().map(at).sum());
        // Places are whole, so half of one is added where others are in doubt.
        let doubt = |variance: f64| {
            let sd = variance.sqrt();
            (Z95 * sd + 0.5 * (2.0 * sd).min(1.0)) / self.members
        };
        let (low, high) = own.ends();
        let (best, worst) = (place(high), place(low));
        let first = raw(high).into_iter().fold(best.0, f64::min);
        let last = raw(low).into_iter().fold(worst.0, f64::max);
        let up = (middle - first).max(0.0).hypot(doubt(best.1));
        let down = (last - middle).max(0.0).hypot(doubt(worst.1));
        (middle, within(middle - up), within(middle + down))
    }

    /// The value that this part of the group does not exceed, with the ends of its interval.
    pub(super) fn quantile(&self, part: f64) -> (f64, f64, f64) {
        // Half of the member that is the first not below it.
        let member = (part * self.members).ceil();
        let target = self.members - (member - 0.5);
        let value = self.first(|knot| knot.above - target);
        let low = self.first(|knot| knot.above - Z95 * knot.variance.sqrt() - target);
        let high = self.last(|knot| knot.above + Z95 * knot.variance.sqrt() - target);
        let raw = self.others.each_ref().map(|values| values[member as usize - 1]);
        let low = raw.into_iter().fold(low.min(value), f64::min);
        (value, low, raw.into_iter().fold(high.max(value), f64::max))
    }

    /// The value that this part of noised values does not exceed.
    pub(super) fn noised_quantile(&self, part: f64) -> f64 {
        self.others[0][(part * self.members).ceil() as usize - 1]
    }

    /// The first value at which something is no more above zero.
    fn first(&self, excess: impl Fn(&Knot) -> f64) -> f64 {
        let place = self.knots.iter().position(|knot| excess(knot) <= 0.0);
        self.crossing(place.unwrap_or(self.knots.len() - 1), excess)
    }

    /// The last value at which it is not below zero.
    fn last(&self, excess: impl Fn(&Knot) -> f64) -> f64 {
        let place = self.knots.iter().rposition(|knot| excess(knot) >= 0.0);
        let place = place.map_or(0, |place| (place + 1).min(self.knots.len() - 1));
        self.crossing(place, excess)
    }

    /// Where it crosses zero before a knot.
    fn crossing(&self, place: usize, excess: impl Fn(&Knot) -> f64) -> f64 {
        let right = &self.knots[place];
        let Some(left) = place.checked_sub(1).map(|before| &self.knots[before]) else {
            return right.at;
        };
        let (a, b) = (excess(left), excess(right));
        let share = if a - b > 0.0 { (a / (a - b)).clamp(0.0, 1.0) } else { 1.0 };
        left.at + share * (right.at - left.at)
    }
}

impl Seller {
    /// How many members of a group are above a value, with the ends of the interval; `doubt` is
    /// what is doubtful of all their values together.
    pub(super) fn count_above(members: &[Seller], value: f64, doubt: f64) -> (f64, f64, f64) {
        let count = |value: f64| members.iter().map(|s| s.chance_above(value)).sum::<f64>();
        let raw = |of: fn(&Seller) -> f64| members.iter().filter(|s| of(s) > value).count() as f64;
        let (middle, sd) =
            (count(value), members.iter().map(|s| s.variance(value)).sum::<f64>().sqrt());
        let others = [raw(|s| s.noisy * s.factor), raw(|s| s.mean)];
        let shifted = [1.0 - Z95 * doubt, 1.0 + Z95 * doubt].map(|part| count(value * part));
        let all = others.into_iter().chain(shifted);
        let (first, last) =
            all.fold((middle, middle), |(least, most), own| (own.min(least), own.max(most)));
        // Numbers are whole, so half of one is added where members are in doubt.
        let more = Z95 * sd + 0.5 * (2.0 * sd).min(1.0);
        let low = middle - (middle - first).hypot(more);
        let high = middle + (last - middle).hypot(more);
        (middle, low.max(0.0), high.min(members.len() as f64))
    }

    fn chance_above(&self, value: f64) -> f64 {
        above((self.mean - value) / self.sd)
    }

    /// Of whether it is above a value, if only its noise told.
    fn variance(&self, value: f64) -> f64 {
        let chance = above((self.mean - value) / self.spread());
        chance * (1.0 - chance)
    }
}

/// The chance of a normal law to be below so many deviations.
fn above(deviations: f64) -> f64 {
    0.5 * libm::erfc(-deviations * std::f64::consts::FRAC_1_SQRT_2)
}
