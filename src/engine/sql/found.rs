//! Which cells of a user count where keys are discovered, in SQL (Lemma 6 of `docs/privacy.md`): in
//! a round those that are not found yet, then those that were.

use std::collections::BTreeMap;

use super::cells::Cells;
use super::{Cte, time_values};
use crate::job::Key;
use crate::plan::{CellKey, KeyValue};

/// A list of cells, by the keys that tell them from others.
struct Listed {
    name: String,
    /// By which it is joined.
    letter: char,
    what: &'static str,
    /// The keys as columns.
    keys: Vec<String>,
    /// Their values, as the dialect writes them.
    rows: Vec<Vec<String>>,
}

impl Listed {
    /// Where the one cell without keys is, or none, there is nothing to join.
    fn is_joined(&self) -> bool {
        !self.keys.is_empty() && !self.rows.is_empty()
    }

    fn join(&self) -> String {
        let Listed { name, letter, .. } = self;
        let same = self.keys.iter().map(|key| format!("{letter}.{key} = c.{key}"));
        let same = same.collect::<Vec<_>>().join(" AND ");
        let join = || format!("\n    LEFT JOIN {name} {letter} ON {same}");
        self.is_joined().then(join).unwrap_or_default()
    }

    /// Does it hold the cell at hand? `None`: it holds none.
    fn holds(&self) -> Option<String> {
        self.rows.first()?;
        let first = self.keys.first();
        Some(first.map_or("1 = 1".to_owned(), |key| format!("{}.{key} IS NOT NULL", self.letter)))
    }
}

impl Cells<'_> {
    /// Where keys are discovered: the user's cells, with `n_counts`, which is 1 if they count.
    pub(super) fn known(&self) -> Vec<Cte> {
        if !self.level.is_discovered() {
            return Vec::new();
        }
        let mut lists = self.found();
        let (what, listed, others) = match self.level.round() {
            Some(_) => {
                lists.push(self.hidden());
                ("(user, cell) as before, and 1 unless it is found already, or hidden", 0, 1)
            }
            None => ("(user, cell) as before, and 1 if it is found", 1, 0),
        };
        let holds: Vec<String> = lists.iter().filter_map(Listed::holds).collect();
        let counts = match &holds[..] {
            [] => others.to_string(),
            holds => format!("CASE WHEN {} THEN {listed} ELSE {others} END", holds.join(" OR ")),
        };
        let joins: String = lists.iter().map(Listed::join).collect();
        let known =
            format!("SELECT c.*, {counts} AS n_counts\n  FROM {}_cells c{joins}", self.name);
        let lists = lists.into_iter().filter(Listed::is_joined).map(|list| {
            Cte::new(&list.name, list.what, self.dialect.constants(&list.keys, &list.rows))
        });
        lists.chain([Cte::new(&format!("{}_known", self.name), what, known)]).collect()
    }

    /// The cells that are found: once for all times where they are at every one, else one by one.
    fn found(&self) -> Vec<Listed> {
        let is_time = |place: &usize| matches!(self.level.keys[*place], Key::Time(_));
        let all: Vec<usize> = (0..self.keys.len()).collect();
        let series: Vec<usize> = all.iter().copied().filter(|place| !is_time(place)).collect();
        let mut by_series: BTreeMap<Vec<&KeyValue>, Vec<&CellKey>> = BTreeMap::new();
        for cell in &self.level.always {
            let values = series.iter().map(|&place| &cell[place]).collect();
            by_series.entry(values).or_default().push(cell);
        }
        let times = self.level.cells.times.groups.len();
        let is_whole = |cells: &Vec<&CellKey>| times > 1 && cells.len() == times;
        let whole = by_series.iter().filter(|(_, cells)| is_whole(cells));
        let whole = whole.map(|(values, _)| values.clone()).collect();
        let single = by_series.values().filter(|cells| !is_whole(cells)).flatten();
        let single = single.map(|cell| cell.iter().collect()).collect();
        vec![
            self.listed(("found", 'f', "cells that are found"), &all, single),
            self.listed(("always", 'a', "those that are found at all times"), &series, whole),
        ]
    }

    /// The cells that are hidden, whatever their times and other keys.
    fn hidden(&self) -> Listed {
        let (names, groups) = self.level.hidden_groups();
        let place = |name: &&str| self.level.keys.iter().position(|key| key.name() == *name);
        let places: Vec<usize> = names.iter().filter_map(place).collect();
        let rows = groups.iter().map(|group| group.iter().collect()).collect();
        self.listed(("hidden", 'h', "cells that tell of too few merchants"), &places, rows)
    }

    /// A list of cells by the keys at these places.
    fn listed(
        &self,
        (ending, letter, what): (&str, char, &'static str),
        places: &[usize],
        cells: Vec<Vec<&KeyValue>>,
    ) -> Listed {
        let times = places.iter().map(|&place| match &self.level.keys[place] {
            Key::Time(key) => time_values(self.plan, *key),
            _ => Vec::new(),
        });
        let times: Vec<Vec<KeyValue>> = times.collect();
        let value = |(value, times): (&KeyValue, &Vec<KeyValue>)| match value {
            KeyValue::Text(text) => self.dialect.text(text),
            time => {
                let number = times.binary_search(time);
                number.expect("cannot fail because cells are of the job's days").to_string()
            }
        };
        let row = |cell: Vec<&KeyValue>| cell.into_iter().zip(&times).map(value).collect();
        let name = format!("{}_{ending}", self.name);
        let keys = places.iter().map(|&place| self.keys[place].clone()).collect();
        Listed { name, letter, what, keys, rows: cells.into_iter().map(row).collect() }
    }
}
