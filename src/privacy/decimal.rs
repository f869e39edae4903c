//! Exact decimals: budgets and amounts are never read through a float.

/// Why a text is not a decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecimalError {
    /// Nothing there, or only a sign or a point.
    NoDigits,
    /// A character that has no place in a decimal such as `-12.50` or `1e-9`.
    StrayCharacter,
    /// More than 30 digits, or an exponent beyond ±1000.
    TooLong,
}

impl std::fmt::Display for DecimalError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            DecimalError::NoDigits => "is not a number",
            DecimalError::StrayCharacter => "is not a plain decimal such as 12.5 or 1e-9",
            DecimalError::TooLong => "has too many digits",
        })
    }
}

/// mantissa · 10^exponent, exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    mantissa: i128,
    exponent: i32,
}

impl Decimal {
    const DIGITS_MAX: u32 = 30;
    const EXPONENT_MAX: i32 = 1000;

    /// mantissa · 10^exponent, as databases store decimals.
    pub fn new(mantissa: i128, exponent: i32) -> Self {
        Decimal { mantissa, exponent }
    }

    /// Reads `[+-]digits[.digits][e[+-]digits]`; no spaces, no grouping.
    ///
    /// # Errors
    /// See [`DecimalError`].
    pub fn parse(text: &str) -> Result<Self, DecimalError> {
        let (negative, rest) = split_sign(text);
        let (number, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], parse_exponent(&rest[at + 1..])?),
            None => (rest, 0),
        };
        let (mut mantissa, mut digits, mut significant) = (0i128, 0u32, 0u32);
        let mut after_point: Option<i32> = None;
        for byte in number.bytes() {
            match byte {
                b'0'..=b'9' => {
                    mantissa = mantissa * 10 + i128::from(byte - b'0');
                    digits += 1;
                    significant += u32::from(mantissa != 0);
                    after_point = after_point.map(|n| n + 1);
                    if significant > Self::DIGITS_MAX || digits > 1000 {
                        return Err(DecimalError::TooLong);
                    }
                }
                b'.' if after_point.is_none() => after_point = Some(0),
                _ => return Err(DecimalError::StrayCharacter),
            }
        }
        if digits == 0 {
            return Err(DecimalError::NoDigits);
        }
        let mantissa = if negative { -mantissa } else { mantissa };
        Ok(Decimal { mantissa, exponent: exponent - after_point.unwrap_or(0) })
    }

    /// value · 10^scale, if that is a whole number that an i128 holds.
    pub fn scaled(self, scale: u32) -> Option<i128> {
        if self.mantissa == 0 {
            return Some(0);
        }
        let exponent = self.exponent.checked_add(i32::try_from(scale).ok()?)?;
        let power = 10i128.checked_pow(exponent.unsigned_abs())?;
        if exponent >= 0 {
            self.mantissa.checked_mul(power)
        } else {
            (self.mantissa % power == 0).then(|| self.mantissa / power)
        }
    }
}

fn split_sign(text: &str) -> (bool, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    }
}

fn parse_exponent(text: &str) -> Result<i32, DecimalError> {
    let (negative, digits) = split_sign(text);
    if digits.is_empty() {
        return Err(DecimalError::NoDigits);
    }
    let mut value = 0i32;
    for byte in digits.bytes() {
        if !byte.is_ascii_digit() {
            return Err(DecimalError::StrayCharacter);
        }
        value = value * 10 + i32::from(byte - b'0');
        if value > Decimal::EXPONENT_MAX {
            return Err(DecimalError::TooLong);
        }
    }
    Ok(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_decimals_exactly() {
        for (text, scale, value) in [
            ("12.34", 2, Some(1234)),
            ("-0.01", 2, Some(-1)),
            ("+.5", 1, Some(5)),
            ("7.", 0, Some(7)),
            ("1e-9", 18, Some(1_000_000_000)),
            ("1E3", 0, Some(1000)),
            ("12.345", 2, None),
            ("12.340", 2, Some(1234)),
            ("0.000", 0, Some(0)),
            ("1e400", 0, None),
            ("0e400", 0, Some(0)),
            ("000000000000000000000000000000000000001", 0, Some(1)),
        ] {
            let decimal = Decimal::parse(text).expect("valid in this table");
            assert_eq!(decimal.scaled(scale), value, "{text} scaled by {scale}");
        }
    }

    #[test]
    fn refuses_what_is_no_decimal() {
        use DecimalError::*;
        for (text, error) in [
            ("", NoDigits),
            ("-", NoDigits),
            (".", NoDigits),
            ("1e", NoDigits),
            ("NaN", StrayCharacter),
            ("1,5", StrayCharacter),
            ("1.2.3", StrayCharacter),
            (" 1", StrayCharacter),
            ("¥5", StrayCharacter),
            ("1e99999999999", TooLong),
            ("9999999999999999999999999999999", TooLong),
        ] {
            assert_eq!(Decimal::parse(text), Err(error), "{text:?}");
        }
    }
}
