//! Columns of a batch into hours and minor units.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
use polars::prelude::{
    Column, DataType, Float32Chunked, Float64Chunked, Int64Chunked, Int128Chunked, PolarsResult,
    StringChunked, TimeUnit,
};

use super::amount;
use super::quarantine::Reason;
use crate::job::{Clock, Zoneless};

/// A column that holds times, one row at a time.
pub(super) struct TimeColumn {
    values: TimeValues,
    zoneless: Zoneless,
}

enum TimeValues {
    /// Units since 1970; `zoned`: in universal time, else by the wall clock.
    Ticks { ticks: Int64Chunked, per_second: i64, zoned: bool },
    /// Days since 1970, local.
    Days(Int64Chunked),
    /// Seconds since 1970 in universal time, perhaps with a fraction.
    Seconds(Float64Chunked),
    /// Text in a stated format.
    Text { texts: StringChunked, format: String, zoned: bool },
}

/// What `time` may be, in words.
pub(super) const TIME_TYPES: &str = "a timestamp, a date, a number of seconds, or text";

/// Can a column of this type hold times?
pub(super) fn is_time(dtype: &DataType) -> bool {
    let text = matches!(dtype, DataType::String | DataType::Date | DataType::Datetime(..));
    text || dtype.is_integer() || dtype.is_float()
}

impl TimeColumn {
    pub(super) fn new(
        column: &Column,
        format: Option<&str>,
        zoneless: Zoneless,
    ) -> PolarsResult<Self> {
        let values = match column.dtype() {
            DataType::Datetime(unit, zone) => TimeValues::Ticks {
                ticks: column.cast(&DataType::Int64)?.i64()?.clone(),
                per_second: match unit {
                    TimeUnit::Nanoseconds => 1_000_000_000,
                    TimeUnit::Microseconds => 1_000_000,
                    TimeUnit::Milliseconds => 1_000,
                },
                zoned: zone.is_some(),
            },
            DataType::Date => {
                let days = column.cast(&DataType::Int32)?.cast(&DataType::Int64)?;
                TimeValues::Days(days.i64()?.clone())
            }
            DataType::String => {
                let format = format.unwrap_or_default().to_owned();
                // `%z` and its kin, and `%s`, fix the instant.
                let zoned = ["%z", "%:z", "%::z", "%#z", "%s", "%+"];
                let zoned = zoned.iter().any(|mark| format.contains(mark));
                TimeValues::Text { texts: column.str()?.clone(), format, zoned }
            }
            dtype if dtype.is_float() => {
                TimeValues::Seconds(column.cast(&DataType::Float64)?.f64()?.clone())
            }
            _ => TimeValues::Ticks {
                ticks: column.cast(&DataType::Int64)?.i64()?.clone(),
                per_second: 1,
                zoned: true,
            },
        };
        Ok(TimeColumn { values, zoneless })
    }

    /// The hour of the period in which each row lies.
    pub(super) fn hours(&self, clock: &Clock, verdicts: &mut Verdicts) -> Vec<u32> {
        let inside = |hour: Option<u32>| hour.ok_or(Verdict::LeftOut);
        let unreadable = Reason::TimeUnreadable;
        match &self.values {
            TimeValues::Ticks { ticks, per_second, zoned } => {
                let ticks = ticks.iter();
                // The divisors that occur, by name: a division by a constant is quicker.
                match per_second {
                    1_000_000_000 => verdicts.each(ticks, unreadable, |_, t| {
                        inside(self.hour_of(t.div_euclid(1_000_000_000), *zoned, clock))
                    }),
                    1_000_000 => verdicts.each(ticks, unreadable, |_, t| {
                        inside(self.hour_of(t.div_euclid(1_000_000), *zoned, clock))
                    }),
                    _ => verdicts.each(ticks, unreadable, |_, t| {
                        inside(self.hour_of(t.div_euclid(*per_second), *zoned, clock))
                    }),
                }
            }
            TimeValues::Days(days) => verdicts.each(days.iter(), unreadable, |_, days| {
                let seconds = days.checked_mul(86_400);
                inside(seconds.and_then(|seconds| self.wall_clock(seconds, clock)))
            }),
            TimeValues::Seconds(seconds) => {
                verdicts.each(seconds.iter(), unreadable, |_, seconds| {
                    if !seconds.is_finite() {
                        return Err(unreadable.into());
                    }
                    // Saturates far outside every period.
                    inside(clock.hour_of_instant(seconds.floor() as i64))
                })
            }
            TimeValues::Text { texts, format, zoned } => {
                verdicts.each(texts.iter(), unreadable, |_, text| {
                    let parsed = parse(text.trim(), format, *zoned);
                    let (seconds, zoned) = parsed.ok_or(unreadable)?;
                    inside(self.hour_of(seconds, zoned, clock))
                })
            }
        }
    }

    fn hour_of(&self, seconds: i64, zoned: bool, clock: &Clock) -> Option<u32> {
        if zoned || self.zoneless == Zoneless::Utc {
            clock.hour_of_instant(seconds)
        } else {
            self.wall_clock(seconds, clock)
        }
    }

    fn wall_clock(&self, seconds: i64, clock: &Clock) -> Option<u32> {
        clock.hour_of_local(DateTime::from_timestamp(seconds, 0)?.naive_utc())
    }
}

/// Seconds since 1970, and whether they are of universal time.
fn parse(text: &str, format: &str, zoned: bool) -> Option<(i64, bool)> {
    if zoned {
        let instant = DateTime::parse_from_str(text, format).map(|t| t.timestamp());
        let instant = instant.or_else(|_| {
            // `%s` alone has no offset, but is universal time.
            NaiveDateTime::parse_from_str(text, format).map(|t| t.and_utc().timestamp())
        });
        return Some((instant.ok()?, true));
    }
    let local = NaiveDateTime::parse_from_str(text, format)
        .or_else(|_| NaiveDate::parse_from_str(text, format).map(|d| d.and_time(NaiveTime::MIN)));
    Some((local.ok()?.and_utc().timestamp(), false))
}

/// A column that holds amounts, one row at a time.
pub(super) enum AmountColumn {
    Minor(Int64Chunked),
    Decimal(Int128Chunked, usize),
    Double(Float64Chunked),
    Single(Float32Chunked),
    Text(StringChunked, char),
}

/// What `amount` may be, in words.
pub(super) const AMOUNT_TYPES: &str =
    "whole minor units, or decimals, floats or text in major units";

/// Can a column of this type hold amounts?
pub(super) fn is_amount(dtype: &DataType) -> bool {
    let decimal = matches!(dtype, DataType::Decimal(..) | DataType::String);
    decimal || dtype.is_integer() || matches!(dtype, DataType::Float32 | DataType::Float64)
}

impl AmountColumn {
    pub(super) fn new(column: &Column, sign: char) -> PolarsResult<Self> {
        Ok(match column.dtype() {
            DataType::Decimal(_, scale) => {
                AmountColumn::Decimal(column.decimal()?.physical().clone(), *scale)
            }
            DataType::Float64 => AmountColumn::Double(column.f64()?.clone()),
            DataType::Float32 => AmountColumn::Single(column.f32()?.clone()),
            DataType::String => AmountColumn::Text(column.str()?.clone(), sign),
            DataType::UInt64 => {
                // What an i64 cannot hold is as far beyond the cap as its largest number.
                let minor = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
                AmountColumn::Minor(column.u64()?.iter().map(|v| v.map(minor)).collect())
            }
            _ => AmountColumn::Minor(column.cast(&DataType::Int64)?.i64()?.clone()),
        })
    }

    /// Each row's amount in minor units of its currency, which has `places` decimal places.
    pub(super) fn minor(&self, places: impl Fn(usize) -> u32, verdicts: &mut Verdicts) -> Vec<i64> {
        let unreadable = Reason::AmountUnreadable;
        match self {
            AmountColumn::Minor(values) => {
                verdicts.each(values.iter(), unreadable, |_, v| amount::within(v.into()))
            }
            AmountColumn::Decimal(values, scale) => {
                verdicts.each(values.iter(), unreadable, |row, value| {
                    amount::of_decimal(value, *scale, places(row))
                })
            }
            AmountColumn::Double(values) => {
                verdicts.each(values.iter(), unreadable, |row, v| amount::of_f64(v, places(row)))
            }
            AmountColumn::Single(values) => {
                verdicts.each(values.iter(), unreadable, |row, v| amount::of_f32(v, places(row)))
            }
            AmountColumn::Text(values, sign) => {
                verdicts.each(values.iter(), unreadable, |row, text| {
                    amount::of_text(text, places(row), *sign)
                })
            }
        }
    }
}

/// What becomes of each row of a batch.
pub(super) struct Verdicts {
    rows: Vec<Verdict>,
}

/// What becomes of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A valid payment.
    Good,
    /// Left out, as if `where` did it: of another time or currency than the job is about.
    LeftOut,
    /// For the quarantine.
    Bad(Reason),
}

impl From<Reason> for Verdict {
    fn from(reason: Reason) -> Verdict {
        Verdict::Bad(reason)
    }
}

impl Verdicts {
    pub(super) fn new(rows: usize) -> Self {
        Verdicts { rows: vec![Verdict::Good; rows] }
    }

    pub(super) fn rows(&self) -> &[Verdict] {
        &self.rows
    }

    /// A row that is left out has no faults; of others the first fault counts.
    pub(super) fn set(&mut self, row: usize, verdict: Verdict) {
        if self.rows[row] == Verdict::Good || verdict == Verdict::LeftOut {
            self.rows[row] = verdict;
        }
    }

    /// What else is found out about the row does not count: none of its fields can be trusted.
    pub(super) fn overrule(&mut self, row: usize, reason: Reason) {
        self.rows[row] = Verdict::Bad(reason);
    }

    /// Converts a column; a row that is null or cannot be converted is bad or left out, and holds
    /// nothing.
    pub(super) fn each<V, T: Default, E: Into<Verdict> + From<Reason>>(
        &mut self,
        values: impl Iterator<Item = Option<V>>,
        missing: Reason,
        convert: impl Fn(usize, V) -> Result<T, E>,
    ) -> Vec<T> {
        let convert = |(row, value): (usize, Option<V>)| {
            let converted = value.ok_or(missing.into()).and_then(|value| convert(row, value));
            converted.unwrap_or_else(|why: E| {
                self.set(row, why.into());
                T::default()
            })
        };
        values.enumerate().map(convert).collect()
    }
}
