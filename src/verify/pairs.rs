//! Cells that are pairs: is each there once, and is its lift that of the cells by which it is
//! judged?

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Float64Type;

use super::lattice::{Faults, KeyCell, key_cell};
use super::manifest::{KeySet, Manifest, Pairs};

/// Room for products of floats.
const CLOSE: f64 = 1e-9;

/// A cell by the names of its keys.
type Cell = BTreeMap<String, KeyCell>;

/// What the manifest says of pairs that cannot be.
pub(super) fn manifest_faults(manifest: &Manifest) -> Vec<String> {
    let mut faults = Vec::new();
    for set in &manifest.key_sets {
        let Some(pairs) = &set.pairs else { continue };
        let file = &set.file;
        let has = |key: &String| set.keys.contains(key);
        if pairs.key != format!("with_{}", pairs.of) || !has(&pairs.key) || !has(&pairs.of) {
            faults.push(format!("`{file}` has not the keys of its pairs"));
        }
        let others =
            [(&pairs.singles, &[&pairs.key][..]), (&pairs.whole, &[&pairs.key, &pairs.of])];
        for (judge, without) in others {
            let Some(judge) = judge else { continue };
            let mut wanted: Vec<&String> =
                set.keys.iter().filter(|k| !without.contains(k)).collect();
            wanted.sort_unstable();
            let right = |other: &KeySet| {
                let mut keys: Vec<&String> = other.keys.iter().collect();
                keys.sort_unstable();
                keys == wanted
            };
            if !manifest.key_set(judge).is_some_and(right) {
                faults
                    .push(format!("`{file}` judges its pairs by `{judge}`, which has other keys"));
            }
        }
    }
    faults
}

/// Pairs, and the cells by which they are judged, of all tables.
#[derive(Default)]
pub(super) struct Judged {
    /// Of tables by which others are judged, the noised customers of their cells.
    customers: BTreeMap<String, BTreeMap<Cell, f64>>,
    /// Of pairs with lifts, table, row, cell, and noised customers and lift.
    lifts: Vec<(String, u64, Cell, [f64; 2])>,
}

impl Judged {
    /// Adds rows of a table, the first of which has the number `first`; finds pairs that are not in
    /// order.
    pub(super) fn add(
        &mut self,
        name: &str,
        batch: &RecordBatch,
        manifest: &Manifest,
        first: u64,
        faults: &mut Faults,
    ) {
        let Some(set) = manifest.key_set(name) else { return };
        let judges =
            |pairs: &Pairs| [&pairs.singles, &pairs.whole].map(|t| t.as_deref() == Some(name));
        let mut all = manifest.key_sets.iter().filter_map(|set| set.pairs.as_ref());
        let is_judge = all.any(|pairs| judges(pairs).contains(&true));
        if set.pairs.is_none() && !is_judge {
            return;
        }
        let numbers = |column: &str| -> Vec<Option<f64>> {
            let column = batch
                .column_by_name(column)
                .filter(|c| c.as_any().is::<arrow::array::Float64Array>());
            let values = column.map(|column| column.as_primitive::<Float64Type>().iter().collect());
            values.unwrap_or_else(|| vec![None; batch.num_rows()])
        };
        let (customers, lifts) = (numbers("customers_unbiased"), numbers("lift_unbiased"));
        for row in 0..batch.num_rows() {
            let part =
                |(key, name): (usize, &String)| (name.clone(), key_cell(batch.column(key), row));
            let cell: Cell = set.keys.iter().enumerate().map(part).collect();
            if let Some(pairs) = &set.pairs {
                let [one, other] = [&pairs.of, &pairs.key].map(|key| cell.get(key));
                if one >= other {
                    let text = "a pair has not its smaller value first".to_owned();
                    faults.add(first + row as u64, text);
                }
            }
            if let Some((customers, lift)) = customers[row].zip(lifts[row]) {
                self.lifts.push((
                    name.to_owned(),
                    first + row as u64,
                    cell.clone(),
                    [customers, lift],
                ));
            }
            if let Some(customers) = customers[row].filter(|_| is_judge) {
                self.customers.entry(name.to_owned()).or_default().insert(cell, customers);
            }
        }
    }

    /// Lifts that are not what their cells say, as far as these are in the tables: once a table.
    pub(super) fn faults(&self, manifest: &Manifest) -> Vec<String> {
        let mut faults: BTreeMap<&String, u64> = BTreeMap::new();
        for (name, row, cell, [customers, lift]) in &self.lifts {
            let pairs = manifest.key_set(name).and_then(|set| set.pairs.as_ref());
            let expected = pairs.and_then(|pairs| self.expected(pairs, cell));
            let Some(expected) = expected else { continue };
            // What is no number fails too.
            if (lift * expected - customers).abs() <= CLOSE * (customers.abs() + expected.abs()) {
                continue;
            }
            faults.entry(name).or_insert(*row);
        }
        let text = |(name, row)| {
            format!(
                "`{name}` row {row}: `lift_unbiased` is not what the customers of its cells say"
            )
        };
        faults.into_iter().map(text).collect()
    }

    /// Users of both of a pair if one said nothing of the other, by noised values.
    fn expected(&self, pairs: &Pairs, cell: &Cell) -> Option<f64> {
        let (singles, whole) = (
            self.customers.get(pairs.singles.as_ref()?)?,
            self.customers.get(pairs.whole.as_ref()?)?,
        );
        let mut one = cell.clone();
        let second = one.remove(&pairs.key)?;
        let mut other = one.clone();
        other.insert(pairs.of.clone(), second);
        let (first, second) = (singles.get(&one)?, singles.get(&other)?);
        one.remove(&pairs.of);
        Some(first * second / whole.get(&one)?)
    }
}
