//! The job's days and the local clock.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;

/// A part of the local time that levels can group by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimeKey {
    /// The calendar day.
    Day,
    /// The week, named by its Monday.
    Week,
    /// The month, named by its first day.
    Month,
    /// The quarter, named by its first day.
    Quarter,
    /// 1 for Monday to 7 for Sunday.
    Weekday,
    /// 0 to 23.
    Hour,
}

impl TimeKey {
    /// All of them.
    pub const ALL: [TimeKey; 6] = [
        TimeKey::Day,
        TimeKey::Week,
        TimeKey::Month,
        TimeKey::Quarter,
        TimeKey::Weekday,
        TimeKey::Hour,
    ];

    /// The name in job files and Parquet columns.
    pub fn name(self) -> &'static str {
        match self {
            TimeKey::Day => "day",
            TimeKey::Week => "week",
            TimeKey::Month => "month",
            TimeKey::Quarter => "quarter",
            TimeKey::Weekday => "weekday",
            TimeKey::Hour => "hour",
        }
    }
}

impl TimeKey {
    /// Is it of periods that follow each other?
    pub fn has_periods(self) -> bool {
        !matches!(self, TimeKey::Weekday | TimeKey::Hour)
    }

    /// The first day of the period of this key that holds a day; `None`: it has no periods.
    pub fn start(self, day: NaiveDate) -> Option<NaiveDate> {
        match self {
            TimeKey::Day => Some(day),
            TimeKey::Week => {
                day.checked_sub_days(Days::new(day.weekday().num_days_from_monday().into()))
            }
            TimeKey::Month => NaiveDate::from_ymd_opt(day.year(), day.month(), 1),
            TimeKey::Quarter => NaiveDate::from_ymd_opt(day.year(), day.month0() / 3 * 3 + 1, 1),
            TimeKey::Weekday | TimeKey::Hour => None,
        }
    }

    /// The start of the next period.
    pub fn next(self, start: NaiveDate) -> Option<NaiveDate> {
        match self {
            TimeKey::Day => start.checked_add_days(Days::new(1)),
            TimeKey::Week => start.checked_add_days(Days::new(7)),
            TimeKey::Month => start.checked_add_months(Months::new(1)),
            TimeKey::Quarter => start.checked_add_months(Months::new(3)),
            TimeKey::Weekday | TimeKey::Hour => None,
        }
    }

    /// The start of the period before.
    pub fn before(self, start: NaiveDate) -> Option<NaiveDate> {
        self.start(start.pred_opt()?)
    }

    /// The start of the period a year before; of days and weeks 52 weeks, so that weekdays agree.
    pub fn year_before(self, start: NaiveDate) -> Option<NaiveDate> {
        match self {
            TimeKey::Day | TimeKey::Week => start.checked_sub_days(Days::new(364)),
            TimeKey::Month | TimeKey::Quarter => start.checked_sub_months(Months::new(12)),
            TimeKey::Weekday | TimeKey::Hour => None,
        }
    }
}

/// A run of whole days in the job's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    first: NaiveDate,
    days: u32,
}

impl Period {
    /// Are all days of the time key's period that starts then among these?
    pub fn holds(self, key: TimeKey, start: NaiveDate) -> bool {
        let last = key.next(start).and_then(|next| next.pred_opt());
        self.first() <= start && last.is_some_and(|last| last <= self.last())
    }

    /// The longest period, so that hours fit a record.
    pub const DAYS_MAX: i64 = 3660;

    /// `first` to `last`, both included; `None` unless there are 1 to [`Period::DAYS_MAX`] days.
    pub fn new(first: NaiveDate, last: NaiveDate) -> Option<Self> {
        let days = (last - first).num_days() + 1;
        let ok = (1..=Self::DAYS_MAX).contains(&days);
        ok.then_some(Period { first, days: days as u32 })
    }

    /// The first day.
    pub fn first(self) -> NaiveDate {
        self.first
    }

    /// The last day.
    pub fn last(self) -> NaiveDate {
        self.day(self.days - 1)
    }

    /// How many days.
    pub fn days(self) -> u32 {
        self.days
    }

    /// The day number `index`, from 0.
    pub fn day(self, index: u32) -> NaiveDate {
        self.first + Days::new(index.into())
    }
}

/// Turns instants into local times of one zone, quickly, around one period.
///
/// Knows every change of the zone's offset from two days before the period to two days after.
#[derive(Clone, Debug)]
pub struct Clock {
    /// The period's first second by the wall clock, as if that were universal time.
    start: i64,
    /// The hours of the period by the wall clock.
    hours: u32,
    /// (first second in universal time, offset in seconds from then on), ascending.
    offsets: Vec<(i64, i32)>,
}

impl Clock {
    /// Looks the zone's changes up once.
    pub fn new(zone: Tz, period: Period) -> Self {
        let midnight = |day: NaiveDate| day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp();
        let start = midnight(period.first()) - 2 * 86_400;
        let end = midnight(period.last()) + 3 * 86_400;
        let mut offsets = vec![(i64::MIN, offset_at(zone, start))];
        // Zones change their offset at most once in a quarter of an hour.
        let mut from = start;
        while from < end {
            let to = from + 900;
            if offset_at(zone, to) != offset_at(zone, from) {
                offsets.push((first_second(zone, from, to), offset_at(zone, to)));
            }
            from = to;
        }
        Clock { start: midnight(period.first()), hours: period.days() * 24, offsets }
    }

    /// The period's first second by the wall clock, as if that were universal time.
    pub fn start(&self) -> i64 {
        self.start
    }

    /// Seconds of the period by the wall clock.
    pub fn seconds(&self) -> i64 {
        i64::from(self.hours) * 3600
    }

    /// From two days before the period to two days after: the offset in seconds from universal
    /// time, with the first second in universal time from which on it holds, ascending.
    pub fn offsets(&self) -> &[(i64, i32)] {
        &self.offsets
    }

    /// The hour of the period in which an instant (seconds since 1970 in universal time) lies.
    pub fn hour_of_instant(&self, seconds: i64) -> Option<u32> {
        let at = self.offsets.partition_point(|&(from, _)| from <= seconds);
        self.hour_of(seconds.checked_add(self.offsets[at - 1].1.into())?)
    }

    /// The hour of the period in which a wall-clock time lies.
    pub fn hour_of_local(&self, time: NaiveDateTime) -> Option<u32> {
        self.hour_of(time.and_utc().timestamp())
    }

    fn hour_of(&self, local_seconds: i64) -> Option<u32> {
        let hour = local_seconds.checked_sub(self.start)?.div_euclid(3600);
        u32::try_from(hour).ok().filter(|&hour| hour < self.hours)
    }
}

/// The first second after `from` and up to `to` that has `to`'s offset.
fn first_second(zone: Tz, from: i64, to: i64) -> i64 {
    let (mut low, mut high) = (from, to);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if offset_at(zone, middle) == offset_at(zone, to) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

fn offset_at(zone: Tz, seconds: i64) -> i32 {
    let instant = DateTime::from_timestamp(seconds, 0)
        .expect("cannot fail because periods are of calendar years 0 to 9999");
    zone.offset_from_utc_datetime(&instant.naive_utc()).fix().local_minus_utc()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    fn clock(zone: &str, first: &str, last: &str) -> Clock {
        let period = Period::new(date(first), date(last)).expect("a period");
        Clock::new(zone.parse().expect("a zone"), period)
    }

    #[test]
    fn hours_follow_daylight_saving() {
        // Berlin 2025: 30 March 02:00 becomes 03:00; 26 October 03:00 becomes 02:00.
        let spring = clock("Europe/Berlin", "2025-03-30", "2025-03-30");
        for (utc, hour) in [
            ("2025-03-29T22:59:59Z", None),
            ("2025-03-29T23:00:00Z", Some(0)),
            ("2025-03-30T00:59:59Z", Some(1)),
            ("2025-03-30T01:00:00Z", Some(3)),
            ("2025-03-30T21:59:59Z", Some(23)),
            ("2025-03-30T22:00:00Z", None),
        ] {
            let instant: DateTime<chrono::Utc> = utc.parse().expect("a time");
            assert_eq!(spring.hour_of_instant(instant.timestamp()), hour, "{utc}");
        }
        let autumn = clock("Europe/Berlin", "2025-10-26", "2025-10-26");
        for (utc, hour) in [("2025-10-26T00:30:00Z", Some(2)), ("2025-10-26T01:30:00Z", Some(2))] {
            let instant: DateTime<chrono::Utc> = utc.parse().expect("a time");
            assert_eq!(autumn.hour_of_instant(instant.timestamp()), hour, "{utc}");
        }
    }

    #[test]
    fn agrees_with_chrono_tz_over_years_and_zones() {
        for zone in ["Asia/Shanghai", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"] {
            let clock = clock(zone, "2019-01-01", "2026-12-31");
            let tz: Tz = zone.parse().expect("a zone");
            for step in 0..60_000i64 {
                let seconds = 1_546_000_000 + step * 4211;
                let local = tz
                    .from_utc_datetime(
                        &DateTime::from_timestamp(seconds, 0).expect("ok").naive_utc(),
                    )
                    .naive_local();
                assert_eq!(clock.hour_of_instant(seconds), clock.hour_of_local(local), "{zone}");
            }
        }
    }

    #[test]
    fn periods_are_limited() {
        assert!(Period::new(date("2025-01-02"), date("2025-01-01")).is_none());
        assert!(Period::new(date("2025-01-01"), date("2036-01-01")).is_none());
        assert_eq!(Period::new(date("2024-02-28"), date("2024-03-01")).map(|p| p.days()), Some(3));
    }

    #[test]
    fn absurd_times_are_outside_every_period() {
        let clock = clock("Asia/Shanghai", "2025-01-01", "2025-01-31");
        for seconds in [i64::MIN, i64::MAX, 0, -1] {
            assert_eq!(clock.hour_of_instant(seconds), None);
        }
    }
}
