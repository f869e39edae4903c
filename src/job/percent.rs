//! Shares as jobs write them, such as "12.5%".

use crate::privacy::Decimal;

/// A share above zero, exact to a millionth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent {
    millionths: u32,
}

impl Percent {
    /// What may be written, to complete "must be ...".
    pub const RULE: &str = "a percentage such as \"5%\", from 0.0001% to 1000%";

    /// Reads `12.5%`; at most four places.
    pub fn parse(text: &str) -> Option<Percent> {
        let number = text.strip_suffix('%')?.trim_end();
        let millionths = Decimal::parse(number).ok()?.scaled(4)?;
        let millionths = u32::try_from(millionths).ok()?;
        (1..=10_000_000).contains(&millionths).then_some(Percent { millionths })
    }

    /// The share in millionths.
    pub fn millionths(self) -> u32 {
        self.millionths
    }

    /// The share, 1 for all.
    pub fn value(self) -> f64 {
        f64::from(self.millionths) / 1e6
    }
}

impl std::fmt::Display for Percent {
    /// As [`Percent::parse`] reads it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, rest) = (self.millionths / 10_000, self.millionths % 10_000);
        match rest {
            0 => write!(f, "{whole}%"),
            _ => write!(f, "{whole}.{}%", format!("{rest:04}").trim_end_matches('0')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Percent;

    #[test]
    fn percentages_are_read_exactly() {
        let value = |text: &str| Percent::parse(text).map(|percent| percent.value());
        assert_eq!(value("50%"), Some(0.5));
        assert_eq!(value("12.5 %"), Some(0.125));
        assert_eq!(value("0.0001%"), Some(0.000_001));
        assert_eq!(value("1000%"), Some(10.0));
        for text in ["50%", "12.5%", "0.0001%", "3.0405%"] {
            assert_eq!(Percent::parse(text).expect("valid").to_string(), text);
        }
        for wrong in ["", "%", "5", "0%", "-1%", "0.00001%", "1000.1%", "5%%", "five%"] {
            assert_eq!(value(wrong), None, "{wrong}");
        }
    }
}
