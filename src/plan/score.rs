//! Which private keys are shown: a score of all noised values of a cell against a threshold.

use super::StatisticPlan;
use crate::job::StatisticKind;
use crate::privacy::{Delta, tail_quantile};

/// A weighted sum of a cell's noised values, and what it must reach.
///
/// Several statistics tell more about how many users a cell has than customers alone; as they are
/// released anyway, that costs nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Score {
    /// One weight for each statistic of the level, in its order; 0 leaves it out.
    pub weights: Vec<u64>,
    /// In units of the weighted sum.
    pub threshold: i64,
}

/// Weights are this many steps fine for the statistic with the largest σ.
const FINE: u64 = 4;

/// Randomized rounding moves no value further than this, but with a probability below 2⁻¹⁸⁰.
const ROUNDING: u64 = 64;

/// One statistic's part in a score.
#[derive(Clone, Copy, Debug)]
struct Term {
    weight: u64,
    /// The most that one user adds to one cell, in grid units.
    most: u64,
    sigma: u64,
}

impl Score {
    /// The score whose threshold a user's own cells pass with probability at most `delta`.
    ///
    /// What: statistic j has a weight in proportion to a_j/σ_j with a_j from [`part`], and
    /// T = Σ w v + ⌈z √Σ w²σ²⌉ + 64 Σ w with v the most that one user counts in one cell and z the
    /// normal quantile of `delta`/`cells_max`. Units: the weights are whole numbers for grid
    /// units. Before: the engine keeps at most `cells_max` cells of a user. Source: Lemma 4 of
    /// `docs/privacy.md`.
    pub(super) fn new(statistics: &[StatisticPlan], delta: Delta, cells_max: u32) -> Self {
        let weighed = statistics.iter().filter(|s| part(s.kind) > 0);
        let largest = weighed.map(|s| s.noise.sigma).max().unwrap_or(1);
        let term = |s: &StatisticPlan| Term {
            // Below 2⁵⁷: σ is below 2⁵².
            weight: (FINE * part(s.kind) * largest).div_ceil(s.noise.sigma),
            most: most(s),
            sigma: s.noise.sigma,
        };
        let terms: Vec<Term> = statistics.iter().map(term).collect();
        let threshold = threshold(&terms, share_of(delta, cells_max));
        Score { weights: terms.iter().map(|term| term.weight).collect(), threshold }
    }

    /// Whether a cell with these values, one for each weight, is shown.
    pub fn is_reached(&self, values: impl Iterator<Item = i64>) -> bool {
        // Weights are below 2⁴¹ and values below 2⁶³.
        let score: i128 =
            self.weights.iter().zip(values).map(|(&w, y)| i128::from(w) * i128::from(y)).sum();
        score >= i128::from(self.threshold)
    }

    /// How many users reach the threshold without noise, if their values are those for which the
    /// weights were made: a customer each, of the rest `part` of the bound, as customers are.
    pub fn typical_users(&self, statistics: &[StatisticPlan]) -> f64 {
        let customers = statistics.iter().find(|s| s.kind == StatisticKind::Customers);
        let share = customers.map_or(1.0, |s| most(s) as f64 / s.noise.bound.norm() as f64);
        let value = |s: &StatisticPlan| {
            let relative = part(s.kind) as f64 / part(StatisticKind::Customers) as f64;
            (share * relative * s.noise.bound.norm() as f64).min(most(s) as f64)
        };
        let weighed = self.weights.iter().zip(statistics);
        self.threshold as f64 / weighed.map(|(&w, s)| w as f64 * value(s)).sum::<f64>()
    }
}

/// Quarters of a typical user's value in a cell against the norm bound, where customers have 4.
///
/// Bounds hold nearly all of the heavy users' norms, so a typical user is farther below them the
/// more the statistic is skewed. The weights are best where this is right, and valid anyway.
fn part(kind: StatisticKind) -> u64 {
    kind.facts().score_part
}

/// The most that one user adds to one cell, in grid units.
fn most(statistic: &StatisticPlan) -> u64 {
    let cap = statistic.noise.bound.cell_cap();
    match statistic.kind.facts().one_hot {
        true => cap.min(1 << statistic.noise.grid_bits),
        false => cap,
    }
}

/// What one of `cells` cells in which one user alone has `most` grid units, with noise of σ units,
/// reaches with probability at most `delta` for all of them (Lemma 4 of `docs/privacy.md`).
pub(super) fn threshold_of_one(most: u64, sigma: u64, delta: Delta, cells: u32) -> i64 {
    threshold(&[Term { weight: 1, most, sigma }], share_of(delta, cells))
}

/// The share of δ for each of so many cells. The nearest float may lie above δ; the next one down
/// does not, by 2⁻⁵⁴ of it and more.
fn share_of(delta: Delta, cells: u32) -> f64 {
    (delta.value().next_down() / f64::from(cells)).next_down()
}

/// The threshold that one user's cell reaches with at most this probability.
fn threshold(terms: &[Term], probability: f64) -> i64 {
    let square = |t: &Term| (u128::from(t.weight) * u128::from(t.sigma)).pow(2);
    // Weight times σ is below 2⁵⁷.
    let variance: u128 = terms.iter().map(square).sum();
    let spread = variance.isqrt() + 1;
    let noise = (tail_quantile(probability) * (spread as f64).next_up()).next_up().ceil();
    let sure: i128 =
        terms.iter().map(|t| i128::from(t.weight) * i128::from(t.most + ROUNDING)).sum();
    let threshold = sure + noise as i128;
    i64::try_from(threshold).expect("cannot fail because z is at most 40 and C below 2^48")
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn term(weight: u64, most: u64, sigma: u64) -> Term {
        Term { weight, most, sigma }
    }

    /// P[Z ≥ n] of the discrete Gaussian for n from −`far` on, by summation from the end.
    fn tails(sigma: u64, far: i64) -> Vec<f64> {
        let weight = |x: i64| (-(x as f64).powi(2) / (2.0 * (sigma as f64).powi(2))).exp();
        let mut tails: Vec<f64> = (-far..=far).map(weight).collect();
        let mut sum = 0.0;
        for tail in tails.iter_mut().rev() {
            sum += *tail;
            *tail = sum;
        }
        tails.iter().map(|tail| tail / sum).collect()
    }

    /// The exact probability that a cell of one user, at the most in all statistics, is shown.
    fn shown(terms: &[Term], threshold: i64) -> f64 {
        let (last, others) = terms.split_last().expect("a term");
        let far = |t: &Term| 12 * t.sigma as i64;
        let tail = tails(last.sigma, far(last));
        let last_tail = |needed: i64| {
            // Σ w (v + z) ≥ T is shown: the traps are a > here and a T that v is left out of.
            let needed = needed - last.weight as i64 * last.most as i64;
            let least = needed.div_euclid(last.weight as i64)
                + i64::from(needed.rem_euclid(last.weight as i64) > 0);
            let place = least + far(last);
            tail.get(place.max(0) as usize).copied().unwrap_or(0.0)
        };
        let laws: Vec<Vec<f64>> = others
            .iter()
            .map(|t| {
                let tails = tails(t.sigma, far(t));
                let next = tails.iter().skip(1).chain([&0.0]);
                tails.iter().zip(next).map(|(a, b)| a - b).collect()
            })
            .collect();
        let mut sums = vec![(threshold, 1.0)];
        for (law, t) in laws.iter().zip(others) {
            let step = |&(needed, p): &(i64, f64)| {
                let value = |place: usize| t.most as i64 + place as i64 - far(t);
                let rest = move |place: usize| needed - t.weight as i64 * value(place);
                law.iter().enumerate().map(move |(place, q)| (rest(place), p * q))
            };
            sums = sums.iter().flat_map(step).collect();
        }
        sums.iter().map(|&(needed, p)| p * last_tail(needed)).sum()
    }

    /// Exact enumeration of the law, with ≥ as cells are selected (opendp #2922 bounds >).
    #[test]
    fn a_cell_of_one_user_is_shown_with_at_most_its_probability() {
        for probability in [1e-3, 4.5e-7, 2e-11] {
            for (terms, tight) in [
                (&[term(1, 65536, 400_000)][..], 0.99),
                (&[term(3, 7, 100_000)], 0.99),
                (&[term(15, 900, 5000), term(8, 3000, 9000)], 0.8),
                (&[term(20, 5, 30), term(9, 8, 70), term(4, 30, 150)], 0.0),
                (&[term(1, 5, 30), term(90, 8, 7), term(4, 30, 150)], 0.0),
            ] {
                let threshold = threshold(terms, probability);
                let exact = shown(terms, threshold);
                assert!(exact <= probability, "{terms:?}: {exact:e} > {probability:e}");
                assert!(exact >= tight * probability, "{terms:?} wastes: {exact:e}");
            }
        }
    }

    /// The enumeration finds thresholds that are too low.
    #[test]
    fn a_threshold_that_forgets_a_part_shows_more() {
        let terms = [term(15, 9000, 5000), term(8, 3000, 9000)];
        let right = threshold(&terms, 1e-9);
        for wrong in [right - 15 * 9000, threshold(&terms, 5e-9)] {
            assert!(shown(&terms, wrong) > 1e-9);
        }
    }

    /// mpmath 1.3, mp.dps = 50: sum(w*(v+64)) + z*sqrt(sum(w²σ²)) with z the root of
    /// log(erfc(z/sqrt(2))/2) - log(mpf(delta)/K).
    #[test]
    fn thresholds_are_the_known_ones() {
        for (terms, probability, known) in [
            (&[term(8, 150_000, 3_000_000)][..], 4.5e-10 / 20.0, 159_279_011.045_030_16),
            (
                &[
                    term(92, 65_536, 263_000),
                    term(11, 655_360, 2_300_000),
                    term(8, 150_000, 3_100_000),
                ],
                4.5e-10 / 20.0,
                297_023_468.002_605_3,
            ),
            (
                &[
                    term(97, 65_536, 200_003),
                    term(13, 655_360, 2_000_003),
                    term(8, 1_500_000, 4_800_001),
                    term(0, 1, 900),
                ],
                2.25e-7 / 5.0,
                295_612_078.577_090_6,
            ),
        ] {
            let own = threshold(terms, probability) as f64;
            assert!(own >= known && own <= known * (1.0 + 1e-10) + 100.0, "{own} {known}");
        }
    }

    #[test]
    fn scores_add_up_without_overflow() {
        let score = Score { weights: vec![1 << 40, 3, 0], threshold: 10 };
        let reached = |values: [i64; 3]| score.is_reached(values.into_iter());
        assert!(reached([0, 4, -9]) && reached([i64::MAX, i64::MIN, 0]));
        assert!(!reached([0, 3, i64::MAX]) && !reached([-1, i64::MAX / (1 << 30), 0]));
        let exact = Score { weights: vec![2, 5], threshold: 10 };
        assert!(exact.is_reached([0, 2].into_iter()) && !exact.is_reached([2, 1].into_iter()));
    }
}
