//! The cells of a level as series over time: what estimates borrow strength along.

use std::collections::HashMap;

use crate::job::{Job, Key, TimeKey};
use crate::plan::{CellKey, KeyValue, LevelPlan};

/// The cells of one level, in the order of series and of time within each.
pub(super) struct Panel {
    /// The place of each cell in the level's noised totals; behind them, that of an earlier
    /// release's.
    pub(super) cells: Vec<u32>,
    /// Where each series starts in `cells`, and the end of the last.
    pub(super) starts: Vec<u32>,
    /// The time of each of `cells`, in steps of the time key.
    pub(super) times: Vec<u32>,
    /// Ways to group series that are alike: for each the group of every series, from 0 on.
    pub(super) groupings: Vec<Vec<u32>>,
}

impl Panel {
    /// Series are cells that differ in time alone, by the finest key that is a point in time; they
    /// are alike if they share a key, or a public attribute of their merchant. Cells of an earlier
    /// release come before those of this one: by their time, or if the level has none, as one time
    /// before; those that do not are left out.
    pub(super) fn new(job: &Job, level: &LevelPlan, keys: &[CellKey]) -> Panel {
        let time = time_key(&level.keys);
        let dates = |key: &Key| matches!(key, Key::Time(time) if time.has_periods());
        let parts: Vec<usize> =
            (0..level.keys.len()).filter(|&part| !dates(&level.keys[part])).collect();
        let mut known: HashMap<Vec<&KeyValue>, u32, foldhash::fast::FixedState> =
            HashMap::default();
        let mut place = Vec::with_capacity(keys.len());
        let mut firsts = Vec::new();
        let earlier = level.earlier.iter().flat_map(|earlier| &earlier.cells.keys);
        let step = |key: &CellKey| time.map(|(part, time)| step_of(&key[part], time));
        let first = keys.iter().filter_map(step).min();
        for (cell, key) in keys.iter().chain(earlier).enumerate() {
            let at = step(key).unwrap_or(i32::from(cell < keys.len()));
            if cell >= keys.len() && first.is_some_and(|first| at >= first) {
                continue;
            }
            let next = known.len() as u32;
            let series =
                *known.entry(parts.iter().map(|&part| &key[part]).collect()).or_insert(next);
            if series == next {
                firsts.push(key);
            }
            place.push((series, at, cell as u32));
        }
        place.sort_unstable();
        let mut starts = vec![0];
        starts.extend(
            (1..place.len() as u32).filter(|&i| place[i as usize].0 != place[i as usize - 1].0),
        );
        starts.push(place.len() as u32);
        if place.is_empty() {
            starts.pop();
        }
        let earliest = place.iter().map(|&(_, at, _)| at).min().unwrap_or(0);
        Panel {
            cells: place.iter().map(|&(_, _, cell)| cell).collect(),
            times: place.iter().map(|&(_, at, _)| (at - earliest) as u32).collect(),
            starts,
            groupings: groupings(job, level, &parts, &firsts),
        }
    }

    /// Number of series.
    pub(super) fn series(&self) -> usize {
        self.starts.len() - 1
    }

    /// The places of a series in `cells`.
    pub(super) fn range(&self, series: usize) -> std::ops::Range<usize> {
        self.starts[series] as usize..self.starts[series + 1] as usize
    }
}

/// The finest key that is a point in time, and its place.
fn time_key(keys: &[Key]) -> Option<(usize, TimeKey)> {
    let dates = keys.iter().enumerate().filter_map(|(part, key)| match key {
        Key::Time(time) if time.has_periods() => Some((part, *time)),
        _ => None,
    });
    dates.min_by_key(|&(_, time)| time)
}

/// Steps since a day long ago.
fn step_of(value: &KeyValue, time: TimeKey) -> i32 {
    use chrono::Datelike;
    let KeyValue::Date(date) = value else { return 0 };
    let months = date.year() * 12 + date.month0() as i32;
    match time {
        TimeKey::Week => date.to_epoch_days() / 7,
        TimeKey::Month => months,
        TimeKey::Quarter => months / 3,
        _ => date.to_epoch_days(),
    }
}

fn groupings(job: &Job, level: &LevelPlan, parts: &[usize], firsts: &[&CellKey]) -> Vec<Vec<u32>> {
    let mut all = Vec::new();
    let mut add = |value: &dyn Fn(&CellKey) -> KeyValue| {
        let mut known: HashMap<KeyValue, u32> = HashMap::new();
        let group = |key: &&CellKey| {
            let next = known.len() as u32;
            *known.entry(value(key)).or_insert(next)
        };
        let groups: Vec<u32> = firsts.iter().map(group).collect();
        // A group of its own for nearly each series, or one for all, says nothing.
        if known.len() > 1 && known.len() * 3 <= firsts.len() {
            all.push(groups);
        }
    };
    for &part in parts {
        add(&|key| key[part].clone());
    }
    let merchant = level.keys.iter().position(|key| *key == Key::Merchant);
    if let (Some(part), Some(registry)) = (merchant, &job.registry) {
        for values in registry.attributes.values() {
            add(&|key| {
                let KeyValue::Text(id) = &key[part] else { return KeyValue::Number(0) };
                let code = registry.ids.binary_search_by(|other| other.as_str().cmp(id));
                KeyValue::Text(code.map_or("", |code| values[code].as_str()).into())
            });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Market;

    #[test]
    fn series_are_cells_that_differ_in_time_alone() {
        let plan = Market::new(&[]).plan(&[
            "levels = [[\"week\", \"merchant\", \"weekday\"], [\"merchant\", \"region\"], [\"month\"]]\n\
             keys = \"public\"\ninsights = [\"customers\"]"
                .to_owned(),
        ]);
        let panel = |level: usize| {
            let level = &plan.levels[level];
            let keys = level.cells.public_keys(&plan.job).expect("public");
            (Panel::new(&plan.job, level, &keys), keys)
        };
        let (weekly, keys) = panel(0);
        assert_eq!(weekly.series(), 10 * 7);
        for series in 0..weekly.series() {
            let cells: Vec<usize> =
                weekly.range(series).map(|place| weekly.cells[place] as usize).collect();
            assert!(cells.iter().all(|&cell| keys[cell][1..] == keys[cells[0]][1..]));
            assert!(cells.is_sorted_by(|&a, &b| keys[a][0] < keys[b][0]));
        }
        assert!(weekly.times.iter().all(|&time| time < 18));
        // By merchant, weekday and the merchants' region.
        let sizes: Vec<u32> =
            weekly.groupings.iter().map(|g| g.iter().max().map_or(0, |last| last + 1)).collect();
        assert_eq!(sizes, [10, 7, 3]);
        let (merchants, _) = panel(1);
        // Each merchant is a series; regions group them, merchants would be groups of one.
        assert_eq!((merchants.series(), merchants.groupings.len()), (10, 2));
        let (months, _) = panel(2);
        assert_eq!((months.series(), months.groupings.len()), (1, 0));
        assert_eq!(months.times, [0, 1, 2, 3]);
    }

    #[test]
    fn a_level_without_cells_has_no_series() {
        let plan = Market::new(&[])
            .plan(&["levels = [[\"merchant\"]]\nkeys = \"private\"\ninsights = [\"customers\"]"
                .to_owned()]);
        let panel = Panel::new(&plan.job, &plan.levels[0], &[]);
        assert_eq!((panel.series(), panel.groupings.len()), (0, 0));
    }
}
