//! Amounts into minor units, exactly, or the reason why not.

use crate::privacy::Decimal;

use super::{AMOUNT_MAX, Reason};

/// A decimal in major units, such as `12.34`; `sign` is its decimal sign.
pub(super) fn of_text(text: &str, places: u32, sign: char) -> Result<i64, Reason> {
    let text = text.trim();
    if sign == '.' {
        of_plain(text, places)
    } else if text.contains('.') {
        Err(Reason::AmountUnreadable)
    } else {
        of_plain(&text.replace(sign, "."), places)
    }
}

/// value · 10^-scale in major units, as databases store decimals.
pub(super) fn of_decimal(value: i128, scale: usize, places: u32) -> Result<i64, Reason> {
    let exponent = i32::try_from(scale).map_err(|_| Reason::AmountUnreadable)?;
    of_exact(Decimal::new(value, -exponent), places)
}

/// A float in major units that is within a millionth of a minor unit of a whole number of them,
/// or whose shortest decimal form is one.
pub(super) fn of_f64(value: f64, places: u32) -> Result<i64, Reason> {
    let minor = value * 10f64.powi(places as i32);
    let whole = minor.round();
    if whole.abs() <= AMOUNT_MAX as f64 && (minor - whole).abs() <= 1e-6 {
        return within(whole as i128);
    }
    // Large floats are further apart than that: 1234567890.12 is no whole number of cents.
    of_plain(&value.to_string(), places)
}

/// A 32-bit float whose shortest decimal form is a whole number of minor units, if its neighbours
/// are not further away than one: 200000.01 is stored as 200000.02, so nobody knows what it was.
pub(super) fn of_f32(value: f32, places: u32) -> Result<i64, Reason> {
    let minor = of_plain(&value.to_string(), places)?;
    let apart = f64::from(value.abs().next_up() - value.abs());
    let is_exact = apart * 10f64.powi(places as i32) <= 1.0;
    if is_exact { Ok(minor) } else { Err(Reason::AmountUnreadable) }
}

/// Minor units as they are.
pub(super) fn within(minor: i128) -> Result<i64, Reason> {
    let cap = i128::from(AMOUNT_MAX);
    let fits = (-cap..=cap).contains(&minor);
    if fits { Ok(minor as i64) } else { Err(Reason::AmountTooLarge) }
}

fn of_plain(text: &str, places: u32) -> Result<i64, Reason> {
    of_exact(Decimal::parse(text).map_err(|_| Reason::AmountUnreadable)?, places)
}

fn of_exact(major: Decimal, places: u32) -> Result<i64, Reason> {
    within(major.scaled(places).ok_or(Reason::AmountUnreadable)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_is_read_exactly() {
        for (text, places, sign, minor) in [
            ("12.34", 2, '.', Some(1234)),
            ("-0.01", 2, '.', Some(-1)),
            (" 7 ", 2, '.', Some(700)),
            ("12,34", 2, ',', Some(1234)),
            ("12.34", 2, ',', None),
            ("12,34", 2, '.', None),
            ("12.345", 2, '.', None),
            ("1234", 0, '.', Some(1234)),
            ("1234.5", 0, '.', None),
            ("1.234", 3, '.', Some(1234)),
            ("10000000000.00", 2, '.', Some(AMOUNT_MAX)),
            ("10000000000.01", 2, '.', None),
            ("", 2, '.', None),
            ("12 CNY", 2, '.', None),
        ] {
            assert_eq!(of_text(text, places, sign).ok(), minor, "{text:?}");
        }
    }

    #[test]
    fn floats_are_read_exactly_or_refused() {
        for (value, places, minor) in [
            (12.34, 2, Some(1234)),
            (-0.01, 2, Some(-1)),
            (0.1 + 0.2, 2, Some(30)),
            (1_234_567_890.12, 2, Some(123_456_789_012)),
            (12.345, 2, None),
            (0.010_001, 2, None),
            (f64::NAN, 2, None),
            (f64::INFINITY, 2, None),
            (1e300, 2, None),
            (5.0, 0, Some(5)),
        ] {
            assert_eq!(of_f64(value, places).ok(), minor, "{value}");
        }
        assert_eq!(of_f32(12.34, 2), Ok(1234));
        assert_eq!(of_f32(12.345, 2), Err(Reason::AmountUnreadable));
        assert_eq!(of_f32(131_071.99, 2), Ok(13_107_199));
        assert_eq!(of_f32(-16_777_215.0, 0), Ok(-16_777_215));
        for (value, places) in [(200_000.01, 2), (131_072.0, 2), (-16_777_216.0, 0), (16_384.0, 3)]
        {
            assert_eq!(of_f32(value, places), Err(Reason::AmountUnreadable), "{value}");
        }
    }

    #[test]
    fn what_is_too_large_is_told_from_what_is_no_amount() {
        assert_eq!(of_text("10000000000.01", 2, '.'), Err(Reason::AmountTooLarge));
        assert_eq!(of_text("12.345", 2, '.'), Err(Reason::AmountUnreadable));
        assert_eq!(of_decimal(AMOUNT_MAX as i128 + 1, 2, 2), Err(Reason::AmountTooLarge));
        assert_eq!(of_f64(-1e13, 2), Err(Reason::AmountTooLarge));
        assert_eq!(of_f32(1e13, 2), Err(Reason::AmountTooLarge));
    }

    proptest! {
        #[test]
        fn every_whole_number_of_minor_units_survives_a_float(
            minor in -AMOUNT_MAX..=AMOUNT_MAX, places in 0u32..4,
        ) {
            let text = Decimal::new(minor.into(), -(places as i32));
            prop_assert_eq!(text.scaled(places), Some(i128::from(minor)));
            let float = minor as f64 / 10f64.powi(places as i32);
            prop_assert_eq!(of_f64(float, places), Ok(minor));
            prop_assert_eq!(of_decimal(minor.into(), places as usize, places), Ok(minor));
        }

        #[test]
        fn a_short_float_gives_what_was_written_or_is_refused(
            minor in -20_000_000i64..=20_000_000, places in 0u32..4,
        ) {
            let float = minor as f64 / 10f64.powi(places as i32);
            let read = of_f32(float as f32, places);
            prop_assert!(read == Ok(minor) || read == Err(Reason::AmountUnreadable));
            // 2^23 are too many for no number of places.
            prop_assert!(read.is_ok() || minor.abs() >= 1 << 23);
        }
    }
}
