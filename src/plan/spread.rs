//! Over how many cells the payments of users are spread, by their norm, where it is measured in the
//! mean of all users only.

use super::SurveyPlan;

/// Σ|x|/‖x‖₂ of users by their norm: the root of the number of cells, where all are equal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Spread {
    /// The norm itself: users count once in each cell.
    Norm,
    /// Of counts: two payments of a user are in the same cell with this probability. A user with n
    /// of them then has a norm of √(n + n(n − 1)·same).
    Counts {
        /// The probability.
        same: f64,
        /// The norm of one payment.
        unit: f64,
        /// No spread is larger.
        most: f64,
    },
    /// Of money: a power of the norm.
    Money {
        /// Norm and spread at it.
        at: (f64, f64),
        /// The power.
        slope: f64,
        /// No spread is larger.
        most: f64,
    },
}

/// Of money, spreads of mean 1.2 are the same for all users; those of mean 2.4 and more grow with
/// this power of the norm. Measured on made-up and real payments, at levels of 12 to 2,800 cells.
const SLOPE: f64 = 0.25;
const EVEN: f64 = 1.2;

impl Spread {
    /// Of counts, so that the users of these norms have this mean, as far as it was measured.
    /// `unit` is the norm of one.
    pub(super) fn of_counts(points: &[(f64, f64)], mean: f64, (unit, most): (f64, f64)) -> Spread {
        let with = |log: f64| Spread::Counts { same: log.exp(), unit, most };
        // Less often in the same cell: spread further.
        with(root((0.0, -14.0), |log| with(log).mean(points) < mean))
    }

    /// Of money, with the norm of a usual user.
    pub(super) fn of_money(points: &[(f64, f64)], mean: f64, (usual, most): (f64, f64)) -> Spread {
        let slope = SLOPE * (mean / EVEN).log2().clamp(0.0, 1.0);
        let with = |log: f64| Spread::Money { at: (usual, log.exp()), slope, most };
        with(root((-3.0, 3.0), |log| with(log).mean(points) < mean))
    }

    /// That of users with this norm.
    pub(super) fn at(&self, norm: f64) -> f64 {
        match *self {
            Spread::Norm => norm,
            Spread::Counts { same, unit, most } => {
                let norm = (norm / unit).max(1.0);
                let other = 1.0 - same;
                let payments =
                    ((other * other + 4.0 * same * norm * norm).sqrt() - other) / (2.0 * same);
                (payments / norm).clamp(1.0, most.max(1.0))
            }
            Spread::Money { at: (usual, spread), slope, most } => {
                (spread * (norm / usual).powf(slope)).clamp(1.0, most.max(1.0))
            }
        }
    }

    /// The mean over users, each as a survey measures it.
    fn mean(&self, points: &[(f64, f64)]) -> f64 {
        let users: f64 = points.iter().map(|(_, users)| users).sum();
        let measured = |norm: f64| self.at(norm).min(SurveyPlan::SPREAD_MAX as f64);
        let sum: f64 = points.iter().map(|&(norm, users)| users * measured(norm)).sum();
        sum / users.max(1.0)
    }
}

/// Where `is_before` ends to be true between two numbers; one of them, if it does not.
fn root((mut low, mut high): (f64, f64), is_before: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if is_before(middle) { low = middle } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_have_the_mean_that_was_measured() {
        let points: Vec<(f64, f64)> =
            (0..30).map(|n| ((f64::from(n) / 4.0).exp2(), 100.0 / f64::from(n + 1))).collect();
        for mean in [1.0, 1.1, 1.5, 2.0] {
            for spread in [
                Spread::of_counts(&points, mean, (1.0, f64::MAX)),
                Spread::of_counts(&points, mean, (0.5, f64::MAX)),
                Spread::of_money(&points, mean, (4.0, f64::MAX)),
            ] {
                assert!((spread.mean(&points) - mean).abs() < 0.01, "{mean} {spread:?}");
            }
        }
        // Nobody is spread over more cells than there are.
        for spread in [
            Spread::of_counts(&points, 3.0, (1.0, 1.5)),
            Spread::of_money(&points, 3.0, (4.0, 1.5)),
        ] {
            assert!(points.iter().all(|&(norm, _)| (1.0..=1.5).contains(&spread.at(norm))));
        }
    }

    #[test]
    fn counts_are_spread_as_payments_that_meet() {
        // Of four payments two at a time meet once in three pairs: √(4 + 12/3) = √8.
        let spread = Spread::Counts { same: 1.0 / 3.0, unit: 1.0, most: f64::MAX };
        assert!((spread.at(8f64.sqrt()) - 4.0 / 8f64.sqrt()).abs() < 1e-12);
        assert!((spread.at(1.0) - 1.0).abs() < 1e-12);
        // Many payments: the root of three.
        assert!((spread.at(1e6) - 3f64.sqrt()).abs() < 1e-3);
    }
}
