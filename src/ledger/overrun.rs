//! By how much a job does not fit, in words whose rounding never suggests that it would.

use std::path::Path;

use super::number::{Round, decimal, of_delta, scaled};
use super::{Request, Terms};
use crate::error::{Error, Result};
use crate::findings::{self, Overrun};
use crate::privacy::{Delta, MuSquared, PrivacyBudget, PrivacyLoss};

/// Enough for every budget (ε ≤ 20); a larger number is shown as this one.
const SHOWN_MAX: u128 = 1 << 80;

impl Terms {
    /// Refuses what a ledger with these terms could never hold, so that none is made for it at
    /// `path`, whose terms would be fixed.
    ///
    /// # Errors
    /// Refused: the request is beyond the whole budget.
    pub fn allow(&self, request: &Request<'_>, path: &Path) -> Result<()> {
        match &overruns("", request.loss, self.budget, self.budget)[..] {
            [] => Ok(()),
            beyond => {
                let finding = findings::budget_never_enough(request.job, path, beyond);
                Err(Error::refused(finding))
            }
        }
    }
}

/// Each part of the budget that `asked` exceeds.
///
/// `whose` is empty for the population's budget, else such as ` of recipient `bank``.
pub fn overruns(
    whose: &str,
    asked: PrivacyLoss,
    left: PrivacyBudget,
    budget: PrivacyBudget,
) -> Vec<Overrun> {
    let mut found = Vec::new();
    if asked.mu_squared > left.mu_squared {
        found.push(of_mu_squared(whose, asked.mu_squared, left.mu_squared, budget.mu_squared));
    }
    if asked.threshold_delta > left.threshold_delta {
        let [asked, left, limit] =
            [asked.threshold_delta, left.threshold_delta, budget.threshold_delta]
                .map(|delta| delta.units());
        let (asked_percent, left_percent) =
            apart(u128::from(asked) * 100, u128::from(left) * 100, u128::from(limit), 6);
        found.push(Overrun {
            part: format!("the δ for thresholds{whose}"),
            asked_percent,
            left_percent,
            asked: format!("δ {}", of_delta(Delta::from_units(asked))),
            left: format!("δ {}", of_delta(Delta::from_units(left))),
            limit: of_delta(Delta::from_units(limit)),
        });
    }
    found
}

fn of_mu_squared(whose: &str, asked: MuSquared, left: MuSquared, limit: MuSquared) -> Overrun {
    let [asked, left, limit] = [asked, left, limit].map(|mu2| mu2.units().min(SHOWN_MAX));
    let (asked_percent, left_percent) = apart(asked * 100, left * 100, limit, 6);
    let one = 1 << MuSquared::FRACTION_BITS;
    let (asked, left) = apart(asked, left, one, 12);
    Overrun {
        part: format!("the budget for noise{whose}"),
        asked_percent,
        left_percent,
        asked: format!("μ² {asked}"),
        left: format!("μ² {left}"),
        limit: decimal(limit, one, 6, Round::Down),
    }
}

/// `asked / unit` rounded up and `left / unit` rounded down, with one decimal more than tells them
/// apart even when rounded towards each other and shows what is left as more than nothing, and at
/// most `most`. As asked > left, the texts always stand in that order too.
fn apart(asked: u128, left: u128, unit: u128, most: u32) -> (String, String) {
    let differ = |places: &u32| {
        let shown = left == 0 || scaled(left, unit, *places, Round::Down) > 0;
        shown && scaled(asked, unit, *places, Round::Down) > scaled(left, unit, *places, Round::Up)
    };
    let places = (0..most).find(differ).map_or(most, |places| places + 1);
    (decimal(asked, unit, places, Round::Up), decimal(left, unit, places, Round::Down))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_numbers_never_suggest_a_fit() {
        // (asked, left, unit) → as shown
        for (asked, left, unit, shown) in [
            (62, 40, 100, "0.62 > 0.4"),
            (6_200, 4_000, 100, "62 > 40"),
            (4_001, 4_000, 100, "40.01 > 40"),
            (160_000, 0, 100, "1600 > 0"),
            (1, 0, 1 << 60, "0.000001 > 0"),
            ((1 << 60) + 1, 1 << 60, 1 << 60, "1.000001 > 1"),
            (2 << 60, (2 << 60) - 1, 1 << 60, "2 > 1.999999"),
            (5, 0, 0, "5 > 0"),
            (312_600, 451, 1_000_000, "0.3126 > 0.00045"),
        ] {
            let (asked, left) = apart(asked, left, unit, 6);
            assert_eq!(format!("{asked} > {left}"), shown);
        }
    }

    #[test]
    fn largest_numbers_do_not_overflow() {
        let all = PrivacyLoss {
            mu_squared: MuSquared::from_units(u128::MAX),
            threshold_delta: Delta::from_units(u64::MAX),
        };
        let none = PrivacyBudget {
            mu_squared: MuSquared::from_units(0),
            threshold_delta: Delta::from_units(0),
        };
        assert_eq!(overruns("", all, none, none).len(), 2);
    }
}
