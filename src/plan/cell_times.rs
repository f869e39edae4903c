//! When the cells of a level begin and end.

use super::{CellSpace, KeyValue, LevelPlan};
use crate::job::Key;

/// The days of the cells of a level, by their time.
#[derive(Clone, Debug)]
pub(super) struct CellTimes {
    /// Of each time of the level, its first and its last day in the period.
    days: Vec<(u32, u32)>,
    /// The times' values, ascending.
    times: Vec<Vec<KeyValue>>,
    /// Places of the time keys among the level's keys.
    places: Vec<usize>,
}

impl CellTimes {
    pub(super) fn new(keys: &[Key], cells: &CellSpace) -> CellTimes {
        let times = cells.times.groups.clone();
        let mut days = vec![(u32::MAX, 0); times.len()];
        for (hour, &time) in cells.times.group_of.iter().enumerate() {
            let ((first, last), day) = (&mut days[time as usize], hour as u32 / 24);
            (*first, *last) = ((*first).min(day), (*last).max(day));
        }
        let is_time = |&place: &usize| matches!(keys[place], Key::Time(_));
        let places = (0..keys.len()).filter(is_time).collect();
        CellTimes { days, times, places }
    }

    /// How many times there are.
    pub(super) fn count(&self) -> usize {
        self.times.len()
    }

    /// The time of a cell.
    pub(super) fn of(&self, cell: &[KeyValue]) -> usize {
        let value: Vec<KeyValue> = self.places.iter().map(|&place| cell[place].clone()).collect();
        self.times.binary_search(&value).unwrap_or(0)
    }

    /// The time that is like another one but for the `place`th of its values, if there is one.
    pub(super) fn with(&self, time: usize, place: usize, value: KeyValue) -> Option<usize> {
        let mut values = self.times[time].clone();
        values[place] = value;
        self.times.binary_search(&values).ok()
    }

    /// The first day of a time, from the period's first on.
    pub(super) fn first_day(&self, time: usize) -> u32 {
        self.days[time].0
    }

    /// The last day of a time, from the period's first on.
    pub(super) fn last_day(&self, time: usize) -> u32 {
        self.days[time].1
    }

    /// Days from the first to the last of the longest time.
    pub(super) fn longest(&self) -> u32 {
        self.days.iter().map(|(first, last)| last - first + 1).max().unwrap_or(0)
    }
}

impl LevelPlan {
    /// How many of the job's days each of these cells has: a Monday's are all Mondays.
    pub fn days_of<'k>(&self, cells: impl Iterator<Item = &'k [KeyValue]>) -> Vec<f64> {
        let times = CellTimes::new(&self.keys, &self.cells);
        let (mut days, mut last) = (vec![0.0; times.count()], vec![None; times.count()]);
        for (hour, &time) in self.cells.times.group_of.iter().enumerate() {
            if last[time as usize].replace(hour / 24) != Some(hour / 24) {
                days[time as usize] += 1.0;
            }
        }
        cells.map(|cell| days[times.of(cell)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::CellTimes;
    use crate::fixture::Market;

    #[test]
    fn cells_have_their_days_in_the_period() {
        let times = |levels: &str| {
            let text = format!("levels = {levels}\nkeys = \"public\"\ninsights = [\"payments\"]");
            let plan = Market::new(&[]).plan(&[text]);
            let level = &plan.levels[0];
            let times = CellTimes::new(&level.keys, &level.cells);
            let keys = level.cells.public_keys(&plan.job).expect("public");
            let all: Vec<_> =
                (0..times.count()).map(|t| (times.first_day(t), times.last_day(t))).collect();
            (all, keys.iter().map(|key| times.of(key)).collect::<Vec<_>>(), times.longest())
        };
        // January to April 2025; three regions.
        let months = vec![(0, 30), (31, 58), (59, 89), (90, 119)];
        assert_eq!(times("[[\"region\", \"month\"]]"), (months, [0, 1, 2, 3].repeat(3), 31));
        assert_eq!(times("[[]]"), (vec![(0, 119)], vec![0], 120));
        // 1 January is a Wednesday: Mondays are from the sixth day on.
        let (weekdays, _, longest) = times("[[\"weekday\"]]");
        assert_eq!((weekdays[0], weekdays[2], longest), ((5, 117), (0, 119), 120));
    }
}
