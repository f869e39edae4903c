//! The cells of a level as series over time: what estimates borrow strength along.

use std::collections::HashMap;

use crate::job::{Job, Key, TimeKey};
use crate::plan::{CellKey, KeyValue, LevelPlan};

/// The cells of one level, in the order of series and of time within each.
pub(super) struct Panel {
    /// The place of each cell in the level's noised totals; behind them, those of earlier releases'
    /// cells, one release after the other.
    pub(super) cells: Vec<u32>,
    /// How many of these are the level's own.
    pub(super) own: usize,
    /// Where each series starts in `cells`, and the end of the last.
    pub(super) starts: Vec<u32>,
    /// The time of each of `cells`, in steps of the time key.
    pub(super) times: Vec<u32>,
    /// Ways to group series that are alike: for each the group of every series, from 0 on. No group
    /// has series of several currencies.
    pub(super) groupings: Vec<Vec<u32>>,
    /// The currency of each series, from 0 on; 0 of all if levels have no such key.
    pub(super) currencies: Vec<u32>,
}

impl Panel {
    /// Series are cells that differ in time alone, by the finest key that is a point in time; they
    /// are alike if they share a key, or a public attribute of their merchant. Cells of earlier
    /// releases come before those of later ones and of this one: by their time, or if the level has
    /// none, so many periods before; those that do not are left out, as a week that the end of a
    /// month cuts is told by what the month after has of it.
    pub(super) fn new(job: &Job, level: &LevelPlan, keys: &[CellKey]) -> Panel {
        let time = time_key(&level.keys);
        let dates = |key: &Key| matches!(key, Key::Time(time) if time.has_periods());
        let parts: Vec<usize> =
            (0..level.keys.len()).filter(|&part| !dates(&level.keys[part])).collect();
        let mut known: HashMap<Vec<&KeyValue>, u32, foldhash::fast::FixedState> =
            HashMap::default();
        let mut place = Vec::with_capacity(keys.len());
        let mut firsts = Vec::new();
        let earlier = level.earlier.iter().map(|earlier| &earlier.cells.keys[..]);
        let before = level.periods_before(job.payments.period);
        let before = std::iter::once(0).chain(before.into_iter().map(|periods| -periods));
        let (own, mut start) = (keys.len(), 0);
        let mut first: Option<i32> = None;
        for (keys, before) in std::iter::once(keys).chain(earlier).zip(before) {
            let step = |key: &CellKey| time.map_or(before, |(p, time)| step_of(&key[p], time));
            for (cell, key) in (start..).zip(keys) {
                let at = step(key);
                if first.is_some_and(|first| at >= first) {
                    continue;
                }
                let next = known.len() as u32;
                let series =
                    *known.entry(parts.iter().map(|&part| &key[part]).collect()).or_insert(next);
                if series == next {
                    firsts.push(key);
                }
                place.push((series, at, cell));
            }
            start += keys.len() as u32;
            first = keys.iter().map(step).chain(first).min();
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
            own,
            times: place.iter().map(|&(_, at, _)| (at - earliest) as u32).collect(),
            starts,
            groupings: groupings(job, level, &parts, &firsts),
            currencies: currencies(level, &firsts),
        }
    }

    /// So many series of one cell each, all alike.
    pub(super) fn of_single_cells(count: usize) -> Panel {
        let places = 0..count as u32;
        Panel {
            cells: places.collect(),
            own: count,
            starts: (0..=count as u32).collect(),
            times: vec![0; count],
            groupings: Vec::new(),
            currencies: vec![0; count],
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

/// The currency of each of these cells.
pub(super) fn currencies(
    level: &LevelPlan,
    keys: &[impl std::borrow::Borrow<CellKey>],
) -> Vec<u32> {
    match level.keys.iter().position(|key| *key == Key::Currency) {
        Some(part) => numbered(keys.iter().map(|key| &key.borrow()[part])).0,
        None => vec![0; keys.len()],
    }
}

/// Values by number, from 0 on, and how many there are.
fn numbered<V: Eq + std::hash::Hash>(values: impl Iterator<Item = V>) -> (Vec<u32>, usize) {
    let mut known: HashMap<V, u32> = HashMap::new();
    let number = |value: V| {
        let next = known.len() as u32;
        *known.entry(value).or_insert(next)
    };
    let numbers = values.map(number).collect();
    (numbers, known.len())
}

fn groupings(job: &Job, level: &LevelPlan, parts: &[usize], firsts: &[&CellKey]) -> Vec<Vec<u32>> {
    let mut all = Vec::new();
    let currencies = currencies(level, firsts);
    let mut add = |value: &dyn Fn(&CellKey) -> KeyValue| {
        let values = firsts.iter().zip(&currencies).map(|(key, currency)| (value(key), currency));
        let (groups, count) = numbered(values);
        // A group of its own for nearly each series, or one for all, says nothing.
        if count > 1 && count * 3 <= firsts.len() {
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
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::fixture::Market;
    use crate::plan::{Earlier, EarlierCells};

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

    fn date(text: &str) -> chrono::NaiveDate {
        text.parse().expect("a date")
    }

    fn earlier(first: &str, last: &str, keys: Vec<CellKey>) -> Earlier {
        let days = (date(first), date(last));
        let cells = EarlierCells { days, keys, statistics: BTreeMap::new() };
        Earlier { from: (first.to_owned(), String::new()), cells: Arc::new(cells) }
    }

    #[test]
    fn cells_of_earlier_releases_come_before_those_of_later_ones() {
        let mut plan = Market::new(&[]).plan(&[
            "levels = [[\"week\", \"wallet\"], [\"wallet\"]]\nkeys = \"public\"\n\
             insights = [\"customers\"]"
                .to_owned(),
        ]);
        let of = |weeks: &[&str], wallets: &[&str]| -> Vec<CellKey> {
            let key = |(week, wallet): (&&str, &&str)| -> CellKey {
                [KeyValue::Date(date(week)), KeyValue::Text((*wallet).into())].into()
            };
            weeks
                .iter()
                .flat_map(|week| wallets.iter().map(move |wallet| key((week, wallet))))
                .collect()
        };
        // The job's first week is cut by the new year, as the release before it has it, too; that
        // one's first week is cut as well. Of w1 the oldest has nothing.
        plan.levels[0].earlier = vec![
            earlier(
                "2024-12-17",
                "2024-12-31",
                of(&["2024-12-16", "2024-12-23", "2024-12-30"], &["w0", "w1"]),
            ),
            earlier(
                "2024-12-02",
                "2024-12-16",
                of(&["2024-12-02", "2024-12-09", "2024-12-16"], &["w0"]),
            ),
        ];
        let keys = plan.levels[0].cells.public_keys(&plan.job).expect("public");
        let panel = Panel::new(&plan.job, &plan.levels[0], &keys);
        assert_eq!(panel.series(), 3);
        let all: Vec<CellKey> = keys
            .iter()
            .chain(plan.levels[0].earlier.iter().flat_map(|e| &e.cells.keys))
            .cloned()
            .collect();
        let lengths: Vec<(String, usize, u32)> = (0..3)
            .map(|series| {
                let cells = panel.range(series);
                let keys = panel.cells[cells.clone()].iter().map(|&cell| &all[cell as usize]);
                let weeks: Vec<&KeyValue> = keys.clone().map(|key| &key[0]).collect();
                assert!(weeks.is_sorted_by(|a, b| a < b), "{weeks:?}");
                assert!(panel.times[cells.clone()].windows(2).all(|t| t[1] == t[0] + 1));
                let names: std::collections::BTreeSet<&KeyValue> =
                    keys.map(|key| &key[1]).collect();
                (format!("{names:?}"), cells.len(), panel.times[cells.start])
            })
            .collect();
        let name = |wallet: &str| format!("{{Text({wallet:?})}}");
        assert_eq!(
            lengths,
            [(name("w0"), 18 + 4, 0), (name("w1"), 18 + 2, 2), (name("w2"), 18, 4)]
        );

        // Without a key of time each release is as many times before as there are periods between.
        let wallets = |names: &[&str]| {
            names.iter().map(|w| -> CellKey { [KeyValue::Text((*w).into())].into() }).collect()
        };
        plan.levels[1].earlier = vec![
            earlier("2024-09-03", "2024-12-31", wallets(&["w0", "w1"])),
            earlier("2023-12-31", "2024-04-28", wallets(&["w0"])),
        ];
        let keys = plan.levels[1].cells.public_keys(&plan.job).expect("public");
        let panel = Panel::new(&plan.job, &plan.levels[1], &keys);
        assert_eq!(panel.starts, [0, 3, 5, 6]);
        assert_eq!(panel.cells, [5, 3, 0, 4, 1, 2]);
        assert_eq!(panel.times, [0, 2, 3, 2, 3, 3]);
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
