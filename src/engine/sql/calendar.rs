//! Calendar keys as whole numbers that follow from the day: no dialect's dates are used.

use chrono::{Datelike, NaiveDate};

use super::Dialect;
use crate::job::{Period, PrivacyUnit, TimeKey};
use crate::plan::KeyValue;

/// The values of a time key in the job's period, by the number that stands for each in the SQL: of
/// periods from the first one on, of weekdays and hours the number itself.
pub(super) fn values(key: TimeKey, period: Period) -> Vec<KeyValue> {
    match key {
        TimeKey::Weekday => (0..=7).map(KeyValue::Number).collect(),
        TimeKey::Hour => (0..24).map(KeyValue::Number).collect(),
        _ => {
            let days = (0..period.days()).filter_map(|day| key.start(period.day(day)));
            let mut starts: Vec<NaiveDate> = days.collect();
            starts.dedup();
            starts.into_iter().map(KeyValue::Date).collect()
        }
    }
}

/// The first number that is a value: there is no weekday 0.
pub(super) fn first_value(key: TimeKey) -> usize {
    usize::from(key == TimeKey::Weekday)
}

/// The number of a time key, from `dr_day` (0 for the period's first) and `dr_hour` of the day.
pub(super) fn number(dialect: Dialect, key: TimeKey, period: Period) -> String {
    let monday = i64::from(period.first().weekday().num_days_from_monday());
    match key {
        TimeKey::Day => "dr_day".to_owned(),
        TimeKey::Week => dialect.part(&format!("dr_day + {monday}"), 7),
        TimeKey::Weekday => format!("MOD(dr_day + {monday}, 7) + 1"),
        TimeKey::Hour => "dr_hour".to_owned(),
        TimeKey::Month | TimeKey::Quarter => {
            let start = |day: u32| key.start(period.day(day));
            by_steps("dr_day", &steps(period, |day, before| start(day) != start(before)))
        }
    }
}

/// The first day within the period of what the number of a time key stands for.
pub(super) fn first_day(key: TimeKey, number: &str, period: Period) -> String {
    let monday = period.first().weekday().num_days_from_monday();
    match key {
        TimeKey::Week => format!("GREATEST({number} * 7 - {monday}, 0)"),
        TimeKey::Month | TimeKey::Quarter => {
            let start = |day: u32| key.start(period.day(day));
            let steps = steps(period, |day, before| start(day) != start(before));
            let whens = steps.iter().enumerate();
            let whens: String =
                whens.map(|(at, day)| format!(" WHEN {number} = {} THEN {day}", at + 1)).collect();
            if whens.is_empty() { "0".to_owned() } else { format!("CASE{whens} ELSE 0 END") }
        }
        TimeKey::Day | TimeKey::Weekday | TimeKey::Hour => number.to_owned(),
    }
}

/// The last day of what the number of a time key stands for, which may be after the period.
pub(super) fn last_day(key: TimeKey, number: &str, period: Period) -> String {
    let monday = period.first().weekday().num_days_from_monday();
    match key {
        TimeKey::Week => format!("{number} * 7 + {}", 6 - monday),
        TimeKey::Month | TimeKey::Quarter => {
            let start = |day: u32| key.start(period.day(day));
            let steps = steps(period, |day, before| start(day) != start(before));
            let whens = steps.iter().enumerate();
            let whens: String =
                whens.map(|(at, day)| format!(" WHEN {number} = {at} THEN {}", day - 1)).collect();
            let last = period.days() - 1;
            if whens.is_empty() { last.to_string() } else { format!("CASE{whens} ELSE {last} END") }
        }
        TimeKey::Day | TimeKey::Weekday | TimeKey::Hour => number.to_owned(),
    }
}

/// The last day up to `day` that is such a weekday, 1 for Mondays.
pub(super) fn last_weekday(weekday: &str, day: &str, period: Period) -> String {
    let monday = period.first().weekday().num_days_from_monday();
    format!("{day} - MOD({day} + {} - {weekday}, 7)", monday + 8)
}

/// The number of the privacy unit's period, from `dr_day`; `None` if a unit is all payments of a
/// user.
pub(super) fn unit(dialect: Dialect, unit: PrivacyUnit, period: Period) -> Option<String> {
    Some(match unit {
        PrivacyUnit::User => return None,
        PrivacyUnit::UserDay => "dr_day".to_owned(),
        PrivacyUnit::UserWeek => number(dialect, TimeKey::Week, period),
        PrivacyUnit::UserMonth | PrivacyUnit::UserQuarter | PrivacyUnit::UserYear => {
            let periods = unit.periods(period);
            let differs = |day: u32, before: u32| periods[day as usize] != periods[before as usize];
            by_steps("dr_day", &steps(period, differs))
        }
    })
}

/// The days that differ from the day before them.
fn steps(period: Period, differs: impl Fn(u32, u32) -> bool) -> Vec<u32> {
    (1..period.days()).filter(|&day| differs(day, day - 1)).collect()
}

/// How many of `steps`, ascending, are not above a value.
fn by_steps(value: &str, steps: &[u32]) -> String {
    let whens = steps.iter().enumerate();
    let whens: String =
        whens.map(|(number, step)| format!(" WHEN {value} < {step} THEN {number}")).collect();
    if whens.is_empty() { "0".to_owned() } else { format!("CASE{whens} ELSE {} END", steps.len()) }
}
