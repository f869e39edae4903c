//! By how much a job does not fit, in words whose rounding never suggests that it would.

use crate::findings::Overrun;
use crate::privacy::{MuSquared, PrivacyBudget, PrivacyLoss};

/// Enough for every budget (ε ≤ 20); a larger number is shown as this one.
const SHOWN_MAX: u128 = 1 << 80;

/// Each part of the budget that `asked` exceeds.
pub(super) fn overruns(
    asked: PrivacyLoss,
    left: PrivacyBudget,
    budget: PrivacyBudget,
) -> Vec<Overrun> {
    let mut found = Vec::new();
    if asked.mu_squared > left.mu_squared {
        found.push(of_mu_squared(asked.mu_squared, left.mu_squared, budget.mu_squared));
    }
    if asked.threshold_delta > left.threshold_delta {
        let [asked, left, limit] =
            [asked.threshold_delta, left.threshold_delta, budget.threshold_delta]
                .map(|delta| delta.units());
        let (asked_percent, left_percent) =
            apart(u128::from(asked) * 100, u128::from(left) * 100, u128::from(limit), 6);
        found.push(Overrun {
            part: "the δ for thresholds",
            asked_percent,
            left_percent,
            asked: format!("δ {}", scientific(asked)),
            left: format!("δ {}", scientific(left)),
            limit: scientific(limit),
        });
    }
    found
}

fn of_mu_squared(asked: MuSquared, left: MuSquared, limit: MuSquared) -> Overrun {
    let [asked, left, limit] = [asked, left, limit].map(|mu2| mu2.units().min(SHOWN_MAX));
    let (asked_percent, left_percent) = apart(asked * 100, left * 100, limit, 6);
    let one = 1 << MuSquared::FRACTION_BITS;
    let (asked, left) = apart(asked, left, one, 12);
    Overrun {
        part: "the budget for noise",
        asked_percent,
        left_percent,
        asked: format!("μ² {asked}"),
        left: format!("μ² {left}"),
        limit: decimal(limit, one, 6, Round::Down),
    }
}

#[derive(Clone, Copy)]
enum Round {
    Up,
    Down,
}

/// `asked / unit` rounded up and `left / unit` rounded down, with one decimal more than tells them
/// apart even when rounded towards each other, and at most `most`. As asked > left, the texts
/// always stand in that order too.
fn apart(asked: u128, left: u128, unit: u128, most: u32) -> (String, String) {
    let differ = |places: &u32| {
        scaled(asked, unit, *places, Round::Down) > scaled(left, unit, *places, Round::Up)
    };
    let places = (0..most).find(differ).map_or(most, |places| places + 1);
    (decimal(asked, unit, places, Round::Up), decimal(left, unit, places, Round::Down))
}

/// `number / unit · 10^places`, rounded as told; number ≤ 100 · 2⁸⁰ and places ≤ 6, or number ≤
/// 2⁸⁰ and places ≤ 12, so nothing overflows.
fn scaled(number: u128, unit: u128, places: u32, round: Round) -> u128 {
    let shifted = number * 10u128.pow(places);
    match round {
        Round::Up => shifted.div_ceil(unit.max(1)),
        Round::Down => shifted / unit.max(1),
    }
}

fn decimal(number: u128, unit: u128, places: u32, round: Round) -> String {
    let scaled = scaled(number, unit, places, round);
    let one = 10u128.pow(places);
    let width = places as usize;
    let text = format!("{}.{:0width$}", scaled / one, scaled % one);
    let text = if places == 0 { format!("{scaled}") } else { text };
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// Units of 10⁻¹⁸ in scientific notation, exactly: 1_500_000_000 is `1.5e-9`.
fn scientific(units: u64) -> String {
    if units == 0 {
        return "0".to_owned();
    }
    let digits = units.to_string();
    let exponent = digits.len() as i32 - 1 - 18;
    let (first, rest) = digits.split_at(1);
    match rest.trim_end_matches('0') {
        "" => format!("{first}e{exponent}"),
        rest => format!("{first}.{rest}e{exponent}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privacy::Delta;

    #[test]
    fn delta_is_shown_exactly() {
        for (units, text) in [
            (0, "0"),
            (1, "1e-18"),
            (1_500_000_000, "1.5e-9"),
            (10_000_000_000_000_000, "1e-2"),
            (10_000_000_000_000_001, "1.0000000000000001e-2"),
        ] {
            assert_eq!(scientific(units), text);
        }
    }

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
        assert_eq!(overruns(all, none, none).len(), 2);
    }
}
