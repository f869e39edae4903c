//! When people pay: hours, weekdays, Spring Festival. Local time is Asia/Shanghai.

use std::ops::Range;

use super::market::{CATEGORIES, Category};
use super::random::{AliasTable, hash, unit_interval};

/// 2025-01-01 00:00 in Asia/Shanghai, in seconds since 1970-01-01 UTC.
pub(super) const START_SECONDS: i64 = 1_735_660_800;
/// The first day is a Wednesday; Monday is 0.
const FIRST_WEEKDAY: usize = 2;
/// Days from the start to Spring Festival: 2025-01-29, 2026-02-17, 2027-02-06.
const FESTIVALS: [i64; 3] = [28, 412, 766];
/// How far chance moves a day of a category, as a share of its payments.
const DAY_TO_DAY: f64 = 0.08;
/// Seconds of an hour, the length of a slot.
pub(super) const SLOT_SECONDS: i64 = 3_600;

/// How the payments of the period spread over its hours.
///
/// Slots are the hours of the period, in order; payments are numbered in order of slots.
pub(super) struct Rhythm {
    /// The number of payments before each slot, and in the end all of them.
    before: Vec<u64>,
    key: u64,
    present: Vec<bool>,
}

impl Rhythm {
    /// Spreads `payments` over `days`; `present` says which categories have merchants.
    pub(super) fn new(seed: u64, days: u32, payments: u64, present: Vec<bool>) -> Self {
        let key = hash(seed, 4);
        let slots = days as usize * 24;
        let mut total = 0.0;
        let mut totals = vec![0.0];
        for slot in 0..slots {
            total += slot_weights(key, slot, &present).iter().sum::<f64>();
            totals.push(total);
        }
        let before =
            totals.iter().map(|part| (payments as f64 * (part / total)).round() as u64).collect();
        Rhythm { before, key, present }
    }

    /// The slots that hold payments number `wanted`, each with its count, in order.
    pub(super) fn slots(&self, wanted: Range<u64>) -> impl Iterator<Item = (usize, u64)> {
        let first = self.before.partition_point(|&before| before <= wanted.start) - 1;
        self.before[first..]
            .windows(2)
            .zip(first..)
            .take_while(move |(bounds, _)| bounds[0] < wanted.end)
            .map(move |(bounds, slot)| {
                (slot, bounds[1].min(wanted.end) - bounds[0].max(wanted.start))
            })
            .filter(|&(_, count)| count > 0)
    }

    /// Draws the category of a visit in the slot; closed categories are never drawn.
    pub(super) fn categories(&self, slot: usize) -> AliasTable {
        AliasTable::new(&slot_weights(self.key, slot, &self.present))
    }
}

/// How many visits each category has in a slot, relative.
fn slot_weights(key: u64, slot: usize, present: &[bool]) -> [f64; CATEGORIES.len()] {
    let (day, hour) = (slot / 24, slot % 24);
    std::array::from_fn(|index| {
        let category = &CATEGORIES[index];
        let hours: f64 = category.hours.iter().map(|&share| f64::from(share)).sum();
        let share = f64::from(category.hours[hour]) / hours;
        let present = f64::from(u8::from(present[index]));
        let luck = unit_interval(hash(key, (day * CATEGORIES.len() + index) as u64));
        let chance = 1.0 + DAY_TO_DAY * (2.0 * luck - 1.0);
        let calendar = weekday(category, day) * season(category, day);
        present * category.visits * share * calendar * chance
    })
}

/// The factor of a weekday: Saturdays and Sundays differ, and Fridays halfway.
fn weekday(category: &Category, day: usize) -> f64 {
    match (FIRST_WEEKDAY + day) % 7 {
        4 => (1.0 + category.weekend) / 2.0,
        5 | 6 => category.weekend,
        _ => 1.0,
    }
}

/// The factor of the season: people shop before Spring Festival and travel in it.
fn season(category: &Category, day: usize) -> f64 {
    let after = FESTIVALS.map(|festival| day as i64 - festival);
    if after.iter().any(|days| (-14..-1).contains(days)) {
        category.before_festival
    } else if after.iter().any(|days| (-1..7).contains(days)) {
        category.in_festival
    } else {
        1.0
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Datelike, NaiveDate, Weekday};

    use super::*;

    #[test]
    fn the_start_is_a_wednesday_midnight_in_shanghai() {
        let start = NaiveDate::from_ymd_opt(2025, 1, 1).expect("a date");
        let local = DateTime::from_timestamp(START_SECONDS + 8 * 3_600, 0).expect("a time");
        assert_eq!(local.naive_utc(), start.and_hms_opt(0, 0, 0).expect("a time"));
        assert_eq!(start.weekday(), Weekday::Wed);
        for (year, month, day, festival) in [(2025, 1, 29, 0), (2026, 2, 17, 1), (2027, 2, 6, 2)] {
            let date = NaiveDate::from_ymd_opt(year, month, day).expect("a date");
            assert_eq!((date - start).num_days(), FESTIVALS[festival]);
        }
    }

    #[test]
    fn slots_of_chunks_add_up_to_all_payments() {
        let rhythm = Rhythm::new(1, 9, 10_000, vec![true; CATEGORIES.len()]);
        let mut counts = vec![0; 9 * 24];
        for start in (0..10_000).step_by(700) {
            let end = (start + 700).min(10_000);
            let slots: Vec<_> = rhythm.slots(start..end).collect();
            assert_eq!(slots.iter().map(|slot| slot.1).sum::<u64>(), end - start);
            slots.iter().for_each(|&(slot, count)| counts[slot] += count);
        }
        let whole: Vec<u64> = rhythm.before.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(counts, whole);
    }

    #[test]
    fn fewer_payments_than_slots_still_find_their_slots() {
        let rhythm = Rhythm::new(1, 90, 3, vec![true; CATEGORIES.len()]);
        let slots: Vec<_> = (0..3).flat_map(|i| rhythm.slots(i..i + 1)).collect();
        assert_eq!(slots.iter().map(|slot| slot.1).sum::<u64>(), 3);
    }

    #[test]
    fn cinemas_fill_in_the_festival_and_on_weekends() {
        let cinemas = CATEGORIES.iter().position(|c| c.slug == "cinemas").expect("listed");
        let at = |day: usize| slot_weights(1, day * 24 + 19, &[true; CATEGORIES.len()])[cinemas];
        assert!(at(30) > 2.0 * at(0));
        assert!(at(3) > 1.5 * at(0));
    }
}
