//! Numbers as short as their intervals allow.

use std::fmt::Write;

/// Writes an estimate and the ends of its interval as JSON numbers, each to about a hundredth of
/// the interval's width: the estimate rounded, the ends outward. All three are finite.
pub(super) fn write_rounded([x, low, high]: [f64; 3], into: [&mut String; 3]) {
    let width = high - low;
    // Of an interval without width, six digits of the value.
    let step = if width > 0.0 { width / 100.0 } else { x.abs() / 1e6 };
    let places = if step > 0.0 { -step.log10().floor() as i32 } else { 0 };
    let places = places.clamp(-15, 9);
    let power = 10f64.powi(places.abs());
    // A power below one is no float, so its inverse is.
    let scaled = |value: f64| if places < 0 { value / power } else { value * power };
    let [first, second, third] = into;
    write(scaled(x).round(), places, first);
    write(scaled(low).floor(), places, second);
    write(scaled(high).ceil(), places, third);
}

/// `scaled` in units of 10^-places.
fn write(scaled: f64, places: i32, into: &mut String) {
    let scaled = scaled as i128;
    // Whole numbers are written in a fraction of the time that floats take.
    let (sign, size) = (if scaled < 0 { "-" } else { "" }, scaled.unsigned_abs());
    let written = match u32::try_from(places) {
        _ if size == 0 => write!(into, "0"),
        Err(_) => write!(into, "{sign}{size}e{}", -places),
        Ok(0) => write!(into, "{sign}{size}"),
        Ok(places) => {
            let (power, width) = (10u128.pow(places), places as usize);
            let written = write!(into, "{sign}{}.{:0width$}", size / power, size % power);
            into.truncate(into.trim_end_matches('0').trim_end_matches('.').len());
            written
        }
    };
    written.expect("cannot fail because a string takes all");
}

#[cfg(test)]
mod tests {
    use super::write_rounded;

    fn check(values: [f64; 3]) -> String {
        let mut texts = [String::new(), String::new(), String::new()];
        let [a, b, c] = &mut texts;
        write_rounded(values, [a, b, c]);
        let numbers = texts.each_ref().map(|text| text.parse::<f64>().expect("a number"));
        let step = (values[2] - values[1]) / 100.0;
        assert!(numbers[1] <= values[1] && values[2] <= numbers[2], "{values:?} {texts:?}");
        for (shown, value) in numbers.iter().zip(values) {
            assert!((shown - value).abs() <= step.max(value.abs() * 1e-6), "{values:?} {texts:?}");
        }
        texts.join(" ")
    }

    #[test]
    fn numbers_are_as_short_as_their_intervals_allow() {
        let rows = [
            [1837.8, 1658.7, 2070.8],
            [1_834_810.84, 1_634_810.84, 2_034_999.99],
            [0.123_456, 0.1, 0.15],
            [-3.0, -4.5, -1.25],
            [0.0, 0.0, 12.0],
            [5.25, 5.25, 5.25],
            [0.0, 0.0, 0.0],
            [4e17, 3e17, 5e17],
        ];
        let texts = [
            "1838 1658 2071",
            "1835e3 1634e3 2035e3",
            "0.1235 0.1 0.15",
            "-3 -4.5 -1.25",
            "0 0 12",
            "5.25 5.25 5.25",
            "0 0 0",
            "400e15 300e15 500e15",
        ];
        assert_eq!(rows.map(check), texts);
    }
}
