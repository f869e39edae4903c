//! Who is protected: a user, or a user within a calendar period.

use chrono::{Datelike, NaiveDate};
use chrono_tz::Tz;

use super::{Key, Period, TimeKey};

/// Who is protected: all payments of a user, or those within one period of the job's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrivacyUnit {
    /// All payments of a user.
    User,
    /// A user's payments of one day.
    UserDay,
    /// A user's payments of one week, Monday to Sunday.
    UserWeek,
    /// A user's payments of one calendar month.
    UserMonth,
    /// A user's payments of one quarter.
    UserQuarter,
    /// A user's payments of one year.
    UserYear,
}

impl PrivacyUnit {
    /// All of them.
    pub const ALL: [PrivacyUnit; 6] = [
        PrivacyUnit::User,
        PrivacyUnit::UserDay,
        PrivacyUnit::UserWeek,
        PrivacyUnit::UserMonth,
        PrivacyUnit::UserQuarter,
        PrivacyUnit::UserYear,
    ];

    /// The name in job files.
    pub fn name(self) -> &'static str {
        match self {
            PrivacyUnit::User => "user",
            PrivacyUnit::UserDay => "user-day",
            PrivacyUnit::UserWeek => "user-week",
            PrivacyUnit::UserMonth => "user-month",
            PrivacyUnit::UserQuarter => "user-quarter",
            PrivacyUnit::UserYear => "user-year",
        }
    }

    /// The other way.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|unit| unit.name() == name)
    }

    /// The name in ledgers and manifests: periods begin at midnight of a time zone.
    pub fn label(self, zone: Tz) -> String {
        match self {
            PrivacyUnit::User => self.name().to_owned(),
            _ => format!("{} {}", self.name(), zone.name()),
        }
    }

    /// For each day of `period` the number of the unit's period that it lies in, from 0.
    pub fn periods(self, period: Period) -> Vec<u32> {
        let mut starts = Vec::new();
        for day in 0..period.days() {
            starts.push(self.start(period.day(day)));
        }
        let mut number = 0;
        let mut numbers = vec![0; starts.len()];
        for day in 1..starts.len() {
            number += u32::from(starts[day] != starts[day - 1]);
            numbers[day] = number;
        }
        numbers
    }

    /// Whether cells with these keys lie within one of the unit's periods each.
    pub fn holds_cells(self, keys: &[Key]) -> bool {
        use TimeKey::{Day, Month, Quarter, Week};
        let within: &[TimeKey] = match self {
            PrivacyUnit::User => return true,
            PrivacyUnit::UserDay => &[Day],
            PrivacyUnit::UserWeek => &[Day, Week],
            PrivacyUnit::UserMonth => &[Day, Month],
            PrivacyUnit::UserQuarter | PrivacyUnit::UserYear => &[Day, Month, Quarter],
        };
        keys.iter().any(|key| matches!(key, Key::Time(time) if within.contains(time)))
    }

    /// Something that is the same for all days of one period, and never for days of two.
    fn start(self, day: NaiveDate) -> (i32, u32) {
        match self {
            PrivacyUnit::User => (0, 0),
            PrivacyUnit::UserDay => (day.year(), day.ordinal()),
            PrivacyUnit::UserWeek => (day.iso_week().year(), day.iso_week().week()),
            PrivacyUnit::UserMonth => (day.year(), day.month()),
            PrivacyUnit::UserQuarter => (day.year(), day.month0() / 3),
            PrivacyUnit::UserYear => (day.year(), 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counted by hand: 28 December 2024 is a Saturday.
    #[test]
    fn periods_are_those_of_the_calendar() {
        let day = |y, m, d| NaiveDate::from_ymd_opt(y, m, d).expect("a day");
        let period = Period::new(day(2024, 12, 28), day(2025, 4, 2)).expect("a period");
        let last = |unit: PrivacyUnit| unit.periods(period)[95];
        let lasts = PrivacyUnit::ALL.map(last);
        assert_eq!(period.days(), 96);
        assert_eq!(lasts, [0, 95, 14, 4, 2, 1]);
        assert_eq!(PrivacyUnit::UserWeek.periods(period)[..10], [0, 0, 1, 1, 1, 1, 1, 1, 1, 2]);
        assert_eq!(PrivacyUnit::UserYear.periods(period)[..6], [0, 0, 0, 0, 1, 1]);
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for unit in PrivacyUnit::ALL {
            assert_eq!(PrivacyUnit::named(unit.name()), Some(unit));
        }
        assert_eq!(PrivacyUnit::named("month"), None);
        assert_eq!(PrivacyUnit::User.label(Tz::Asia__Shanghai), "user");
        assert_eq!(PrivacyUnit::UserDay.label(Tz::Asia__Shanghai), "user-day Asia/Shanghai");
    }

    /// A level's cells within a period by its keys are so by its groups of hours too.
    #[test]
    fn cells_lie_within_the_periods_that_their_keys_say() {
        let day = |y, m, d| NaiveDate::from_ymd_opt(y, m, d).expect("a day");
        let period = Period::new(day(2024, 1, 1), day(2026, 12, 31)).expect("a period");
        let unit_of_key = |key: TimeKey| match key {
            TimeKey::Day => Some(PrivacyUnit::UserDay),
            TimeKey::Week => Some(PrivacyUnit::UserWeek),
            TimeKey::Month => Some(PrivacyUnit::UserMonth),
            TimeKey::Quarter => Some(PrivacyUnit::UserQuarter),
            TimeKey::Weekday | TimeKey::Hour => None,
        };
        for unit in PrivacyUnit::ALL {
            for key in TimeKey::ALL {
                let Some(groups) = unit_of_key(key).map(|unit| unit.periods(period)) else {
                    assert_eq!(unit.holds_cells(&[Key::Time(key)]), unit == PrivacyUnit::User);
                    continue;
                };
                let periods = unit.periods(period);
                let pairs = groups.windows(2).zip(periods.windows(2));
                let within = pairs.fold(true, |all, (g, p)| all && (g[0] != g[1] || p[0] == p[1]));
                assert_eq!(unit.holds_cells(&[Key::Time(key)]), within, "{unit:?} {key:?}");
            }
            assert_eq!(unit.holds_cells(&[Key::Merchant]), unit == PrivacyUnit::User);
        }
    }
}
