//! Merchants among their peers: positions, quarters of a group, and concentrations of cells.

use std::collections::{BTreeMap, HashMap};

use super::concentration::concentration;
use super::ratio::{Ratios, money};
use super::sellers::{Law, Seller};
use super::{Estimate, Interval, Values, View, Z95};
use crate::job::{Comparison, Insight, Key, StatisticKind};
use crate::plan::{KeyValue, LevelPlan, TablePlan};

/// The quarters of a group that are told, with the ends of their columns' names.
pub(super) const QUARTERS: [(f64, &str); 3] = [(0.25, "p25"), (0.5, "p50"), (0.75, "p75")];

/// The ends of the names of their columns.
pub(super) fn names() -> Vec<String> {
    QUARTERS.iter().map(|(_, name)| (*name).to_owned()).collect()
}

/// What a table takes for each cell while it compares merchants.
pub(super) fn bytes(level: &LevelPlan) -> u64 {
    let columns = |insight: &Insight| match insight.compared() {
        Some((Comparison::Benchmark, _)) => QUARTERS.len(),
        Some((comparison, _)) => usize::from(comparison.needs_peers()),
        None => 0,
    };
    let of_table = |table: &TablePlan| table.insights.iter().map(columns).sum::<usize>();
    let most = level.tables.iter().map(of_table).max().unwrap_or(0);
    let found = most * size_of::<Estimate<Option<f64>>>();
    // Beside the values themselves, merchants, the law of a group and places.
    if most == 0 { 0 } else { (found + 3 * size_of::<Seller>()) as u64 }
}

/// What the cells of a level say of merchants, row by row.
pub(super) struct Peers {
    found: BTreeMap<(Comparison, StatisticKind), Vec<Ratios>>,
    /// Rows of which nothing is told, as there are too few merchants.
    few: Vec<bool>,
}

const NOTHING: Estimate<Option<f64>> =
    Estimate { interval: Interval::NOTHING, unbiased: None, sd: None };

impl Peers {
    /// Looks at all cells of a table, and at those of the level that names their merchants.
    pub(super) fn new(view: &View, named: Option<&View>) -> Peers {
        let asked = view.shown.insights.iter().filter_map(|insight| insight.compared());
        let asked: Vec<(Comparison, StatisticKind)> =
            asked.filter(|(comparison, _)| comparison.needs_peers()).collect();
        let mut own = Peers { found: BTreeMap::new(), few: Vec::new() };
        if asked.is_empty() {
            return own;
        }
        let rows = view.noisy.keys.len();
        let groups = named.map_or_else(|| peers(view), |named| merchants(view, named));
        own.few = vec![true; rows];
        for &row in groups.iter().flat_map(|group| &group.rows) {
            own.few[row] = false;
        }
        for what in asked {
            let parts = if what.0 == Comparison::Benchmark { QUARTERS.len() } else { 1 };
            let mut found = vec![vec![NOTHING; rows]; parts];
            let sellers = Seller::all(named.unwrap_or(view), what.1);
            let doubt = named.unwrap_or(view).doubt(what.1);
            for group in &groups {
                let members: Vec<Seller> = group.cells.iter().map(|&cell| sellers[cell]).collect();
                let least = view.shown.above.get(&what.1).copied();
                fill(&mut found, (what.0, what.1, least), (group, &members), doubt);
            }
            own.found.insert(what, found);
        }
        own
    }

    /// Of some rows the values of an insight, for each of its columns.
    pub(super) fn values(
        &self,
        (comparison, kind): (Comparison, StatisticKind),
        rows: &[usize],
    ) -> Vec<Values> {
        let of_rows = |all: &Ratios| rows.iter().map(|&row| all[row]).collect::<Ratios>();
        let shown = |all: &Ratios| match comparison {
            Comparison::Rank => Values::Positions(of_rows(all)),
            Comparison::Benchmark if kind.is_money() => money(of_rows(all)),
            _ => Values::Counts(of_rows(all)),
        };
        self.found[&(comparison, kind)].iter().map(shown).collect()
    }

    /// Is a row told nothing, as there are too few merchants?
    pub(super) fn are_few(&self, row: usize) -> bool {
        self.few[row]
    }
}

/// Merchants that are looked at together, as cells of the level that names them, and the rows that
/// are told of it: each of them, or the one cell in which they lie.
#[derive(Default)]
struct Group {
    cells: Vec<usize>,
    rows: Vec<usize>,
}

/// Cells of merchants that are alike, at the same time and with the same other keys.
fn peers(view: &View) -> Vec<Group> {
    let keys = &view.level.keys;
    let Some(groups) = view.shown.peers.as_ref().and_then(|peers| peers.groups.as_ref()) else {
        return Vec::new();
    };
    let Some(merchant) = keys.iter().position(|key| *key == Key::Merchant) else {
        return Vec::new();
    };
    let is_rest =
        |place: &usize| !matches!(keys[*place], Key::Merchant | Key::MerchantAttribute(_));
    let places: Vec<usize> = (0..keys.len()).filter(is_rest).collect();
    let mut found: HashMap<(u32, Vec<KeyValue>), Group> = HashMap::new();
    for (row, key) in view.noisy.keys.iter().enumerate() {
        if let Some(group) = groups.group(&key[merchant]) {
            let rest = places.iter().map(|&place| key[place].clone()).collect();
            let group = found.entry((group, rest)).or_default();
            group.cells.push(row);
            group.rows.push(row);
        }
    }
    found.into_values().collect()
}

/// The cells of merchants that lie in each cell.
fn merchants(view: &View, named: &View) -> Vec<Group> {
    let least = view.shown.peers.as_ref().map_or(0, |peers| peers.least as usize);
    let places = named.level.cells_of(view.level, &view.plan.job).unwrap_or_default();
    let mut groups: Vec<Group> = Vec::new();
    groups.resize_with(view.noisy.keys.len(), Group::default);
    for (cell, place) in places.into_iter().enumerate() {
        groups[place as usize].cells.push(cell);
    }
    for (row, group) in groups.iter_mut().enumerate() {
        group.rows.push(row);
    }
    groups.retain(|group| group.cells.len() >= least);
    groups
}

/// Writes down what is told of a group; `doubt` is what is doubtful of all its values together.
fn fill(
    found: &mut [Ratios],
    (comparison, kind, least): (Comparison, StatisticKind, Option<i64>),
    (group, members): (&Group, &[Seller]),
    doubt: f64,
) {
    let signed = kind.facts().signed;
    let shown = |(value, low, high): (f64, f64, f64)| Estimate {
        interval: Interval { value: Some(value), low: Some(low), high: Some(high) },
        ..NOTHING
    };
    match comparison {
        Comparison::Rank => {
            let law = Law::new(members);
            for (&row, member) in group.rows.iter().zip(members) {
                found[0][row] = shown(law.position(member));
            }
        }
        Comparison::Above => {
            let Some(least) = least else { return };
            // Counts are whole.
            let least = least as f64 - if kind.is_count() { 0.5 } else { 0.0 };
            let count = shown(Seller::count_above(members, least, doubt));
            group.rows.iter().for_each(|&row| found[0][row] = count);
        }
        Comparison::Benchmark => {
            let law = Law::new(members);
            let noise: f64 = members.iter().map(|s| s.noise * s.factor).sum();
            for ((part, _), column) in QUARTERS.into_iter().zip(found) {
                let (value, low, high) = law.quantile(part);
                // Smaller things than noise are not seen through it.
                if value.abs() * (members.len() as f64) < noise {
                    continue;
                }
                // By how much noise has moved it, is what the model thinks.
                let more = (Z95 * doubt * value).hypot(value - law.noised_quantile(part));
                let least = if signed { f64::MIN } else { 0.0 };
                let value = value.max(least);
                let low = (value - (value - low).hypot(more)).max(least);
                let estimate = shown((value, low, value + (high - value).hypot(more)));
                group.rows.iter().for_each(|&row| column[row] = estimate);
            }
        }
        _ => {
            let members: Vec<&Seller> = members.iter().collect();
            let estimate = concentration(&members, signed);
            group.rows.iter().for_each(|&row| found[0][row] = estimate);
        }
    }
}
