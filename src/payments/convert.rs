//! Columns of a batch into users, hours and minor units.

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

    /// The hour of the period in which row `row` lies.
    pub(super) fn hour(&self, row: usize, clock: &Clock) -> Result<u32, Reason> {
        let hour = match &self.values {
            TimeValues::Ticks { ticks, per_second, zoned } => {
                let seconds = ticks.get(row).ok_or(Reason::TimeUnreadable)?.div_euclid(*per_second);
                self.hour_of(seconds, *zoned, clock)
            }
            TimeValues::Days(days) => {
                let days = days.get(row).ok_or(Reason::TimeUnreadable)?;
                days.checked_mul(86_400).and_then(|seconds| self.wall_clock(seconds, clock))
            }
            TimeValues::Seconds(seconds) => {
                let seconds = seconds.get(row).filter(|s| s.is_finite());
                // Saturates far outside every period.
                clock.hour_of_instant(seconds.ok_or(Reason::TimeUnreadable)?.floor() as i64)
            }
            TimeValues::Text { texts, format, zoned } => {
                let text = texts.get(row).ok_or(Reason::TimeUnreadable)?.trim();
                let (seconds, zoned) = parse(text, format, *zoned).ok_or(Reason::TimeUnreadable)?;
                self.hour_of(seconds, zoned, clock)
            }
        };
        hour.ok_or(Reason::TimeOutsidePeriod)
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

    /// The amount of row `row` in minor units of a currency with `places` decimal places.
    pub(super) fn minor(&self, row: usize, places: u32) -> Result<i64, Reason> {
        let minor = match self {
            AmountColumn::Minor(values) => values.get(row).map(|v| amount::within(v.into())),
            AmountColumn::Decimal(values, scale) => {
                values.get(row).map(|value| amount::of_decimal(value, *scale, places))
            }
            AmountColumn::Double(values) => {
                values.get(row).map(|value| amount::of_f64(value, places))
            }
            AmountColumn::Single(values) => {
                values.get(row).map(|value| amount::of_f32(value, places))
            }
            AmountColumn::Text(values, sign) => {
                values.get(row).map(|value| amount::of_text(value, places, *sign))
            }
        };
        minor.unwrap_or(Err(Reason::AmountUnreadable))
    }
}
