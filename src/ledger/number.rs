//! Budgets and losses as decimals, with the direction of rounding named.

use crate::privacy::{Delta, MuSquared};

/// Which way a shown number may be off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// Never below the true one: for what is used.
    Up,
    /// Never above the true one: for what is left.
    Down,
}

/// A μ² of at most 2²⁰, to six decimals.
pub fn of_mu_squared(mu_squared: MuSquared, round: Round) -> String {
    let units = mu_squared.units().min(1 << 80);
    decimal(units, 1 << MuSquared::FRACTION_BITS, 6, round)
}

/// `number / unit · 10^places`, rounded as told; number ≤ 100 · 2⁸⁰ and places ≤ 6, or number ≤
/// 2⁸⁰ and places ≤ 12, so nothing overflows.
pub(super) fn scaled(number: u128, unit: u128, places: u32, round: Round) -> u128 {
    let shifted = number * 10u128.pow(places);
    match round {
        Round::Up => shifted.div_ceil(unit.max(1)),
        Round::Down => shifted / unit.max(1),
    }
}

pub(super) fn decimal(number: u128, unit: u128, places: u32, round: Round) -> String {
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

/// A δ in scientific notation, exactly: 1_500_000_000 units are `1.5e-9`.
pub fn of_delta(delta: Delta) -> String {
    let units = delta.units();
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

    #[test]
    fn delta_is_shown_exactly() {
        for (units, text) in [
            (0, "0"),
            (1, "1e-18"),
            (1_500_000_000, "1.5e-9"),
            (10_000_000_000_000_000, "1e-2"),
            (10_000_000_000_000_001, "1.0000000000000001e-2"),
        ] {
            assert_eq!(of_delta(Delta::from_units(units)), text);
        }
    }

    #[test]
    fn mu_squared_is_rounded_as_told() {
        let one = 1u128 << 60;
        for (units, up, down) in [
            (0, "0", "0"),
            (one, "1", "1"),
            (one + 1, "1.000001", "1"),
            (one - 1, "1", "0.999999"),
            (one / 2, "0.5", "0.5"),
            (1, "0.000001", "0"),
        ] {
            let mu_squared = MuSquared::from_units(units);
            assert_eq!(of_mu_squared(mu_squared, Round::Up), up);
            assert_eq!(of_mu_squared(mu_squared, Round::Down), down);
        }
    }
}
