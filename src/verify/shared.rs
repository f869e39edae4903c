//! Values that several tables show, for one price: they must be the same, cell by cell.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type};

use super::files::digest;
use super::lattice::{Faults, key_cell};
use super::manifest::Manifest;

/// Of each column of noised values, by the table of its mechanism, a sum over its cells that does
/// not depend on their order: of 128 bits of the digest of a cell's keys and its value.
#[derive(Default)]
pub(super) struct Shared(BTreeMap<(String, String), Sums>);

/// By the table that shows the column.
type Sums = BTreeMap<String, u128>;

impl Shared {
    /// Adds rows of a table, if another one shows its values too.
    pub(super) fn add(&mut self, name: &str, batch: &RecordBatch, manifest: &Manifest) {
        let source = manifest.source(name);
        let others = manifest.key_sets.iter().any(|set| set.values_of.as_deref() == Some(source));
        let Some(set) = manifest.key_set(name).filter(|_| others) else { return };
        let mut keys: Vec<(&String, usize)> = set.keys.iter().zip(0..).collect();
        keys.sort_unstable();
        let cell = |row: usize| {
            let part = |&(_, place): &(&String, usize)| key_cell(batch.column(place), row);
            keys.iter().map(part).collect::<Vec<_>>()
        };
        for field in batch.schema().fields() {
            let Some(insight) = field.name().strip_suffix("_unbiased") else { continue };
            let statistic = super::table::insight_of(insight);
            if manifest.event(name, statistic).is_none() {
                continue;
            }
            let sums = self.0.entry((source.to_owned(), insight.to_owned())).or_default();
            let sum = sums.entry(name.to_owned()).or_default();
            for row in 0..batch.num_rows() {
                let text = format!("{:?} {}", cell(row), value(batch, field.name(), row));
                let half = u128::from_str_radix(&digest(text.as_bytes())[..32], 16);
                *sum = sum.wrapping_add(half.unwrap_or_default());
            }
        }
    }

    /// Finds columns of a table that are not those of the tables before it.
    pub(super) fn compare(&self, name: &str, manifest: &Manifest, faults: &mut Faults) {
        let source = manifest.source(name);
        for ((table, insight), sums) in &self.0 {
            let Some(own) = sums.get(name).filter(|_| table == source) else { continue };
            if let Some((other, _)) = sums.iter().find(|(_, sum)| *sum != own) {
                let text = format!("`{insight}_unbiased` has not the values of `{other}`");
                faults.add(0, text);
            }
        }
    }
}

/// Exact.
fn value(batch: &RecordBatch, name: &str, row: usize) -> String {
    let column = batch.column_by_name(name);
    let column = column.expect("cannot fail because the schema has the field");
    match column.data_type() {
        _ if column.is_null(row) => "hidden".to_owned(),
        DataType::Float64 => {
            let bits = column.as_primitive::<Float64Type>().value(row).to_bits();
            format!("{bits:x}")
        }
        _ => column.as_primitive::<Decimal128Type>().value(row).to_string(),
    }
}
