//! What the tables of an earlier release say of cells: noised values that later estimates go by,
//! and estimates that later ones are compared with.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, Int32Type, UInt8Type};
use chrono::NaiveDate;
use serde_json::Value;

use super::earlier::manifest;
use super::read_table;
use crate::job::StatisticKind;
use crate::plan::{CellKey, EarlierCells, EarlierEstimate, EarlierValues, KeyValue, LevelPlan};

/// The noised values and the estimates of the tables that have a level's keys, with public keys,
/// for the level's own statistics of one number a cell; `None` if the release has no such table.
/// Money must be in the same `currencies`, by code, and with as many places.
///
/// # Errors
/// The release is not the one whose manifest has this digest, or cannot be read; says why.
pub fn released_values(
    folder: &Path,
    manifest_digest: &str,
    level: &LevelPlan,
    currencies: (&str, u32),
) -> Result<Option<EarlierCells>, String> {
    let manifest = manifest(folder, manifest_digest)?;
    let names: Vec<&str> = level.keys.iter().map(|key| key.name()).collect();
    let kinds = level.statistics.iter().filter(|s| s.width == 1).map(|s| s.kind);
    let kinds: Vec<StatisticKind> = kinds.collect();
    let day = |name: &str| manifest["job"][name].as_str()?.parse::<NaiveDate>().ok();
    let days = day("first_day").zip(day("last_day")).ok_or("its manifest has no days")?;
    let mut found: Option<EarlierCells> = None;
    for file in tables_of(&manifest, &names) {
        let cells = read((folder, &manifest, &file), &names, &kinds, currencies, days)?;
        match &mut found {
            None => found = Some(cells),
            // Another report's view of the same cells.
            Some(known) if known.keys == cells.keys => {
                for (kind, values) in cells.statistics {
                    known.statistics.entry(kind).or_insert(values);
                }
            }
            Some(_) => {}
        }
    }
    Ok(found)
}

/// The files of the tables with these keys, in any order, all public.
fn tables_of(manifest: &Value, names: &[&str]) -> Vec<String> {
    let mut wanted = names.to_vec();
    wanted.sort_unstable();
    let same = |set: &&Value| {
        let keys = set["keys"].as_array().map_or(&[][..], Vec::as_slice);
        let mut keys: Vec<&str> = keys.iter().filter_map(Value::as_str).collect();
        keys.sort_unstable();
        keys == wanted && set["selection"] == "public" && set["unshown"] != true
    };
    let sets = manifest["key_sets"].as_array().map_or(&[][..], Vec::as_slice);
    sets.iter().filter(same).filter_map(|set| Some(set["file"].as_str()?.to_owned())).collect()
}

fn read(
    (folder, manifest, table): (&Path, &Value, &str),
    names: &[&str],
    kinds: &[StatisticKind],
    currencies: (&str, u32),
    days: (NaiveDate, NaiveDate),
) -> Result<EarlierCells, String> {
    let mut keys: Vec<CellKey> = Vec::new();
    let mut texts: HashSet<Arc<str>> = HashSet::new();
    let mut columns: BTreeMap<StatisticKind, [Vec<f64>; 5]> = BTreeMap::new();
    read_table(folder, manifest, table, |batch| {
        let mut of_row = |row: usize| -> Result<CellKey, String> {
            let value = |name: &&str| key_value(batch, name, row, &mut texts);
            names
                .iter()
                .map(value)
                .collect::<Option<_>>()
                .ok_or("its keys are of other types".into())
        };
        for row in 0..batch.num_rows() {
            keys.push(of_row(row)?);
        }
        for &kind in kinds {
            let of = |suffix: &str| numbers(batch, &format!("{}{suffix}", kind.name()), currencies);
            let [x, noised, sd, low, high] = SUFFIXES.map(of);
            let all = || Some([x?, noised?, sd?, low?, high?]);
            if let Some(all) = all() {
                let known = columns.entry(kind).or_default();
                known.iter_mut().zip(all).for_each(|(known, more)| known.extend(more));
            }
        }
        Ok(true)
    })?;
    let count = keys.len();
    // Rows stand in the order of the table's keys, which may be another than this level's.
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| keys[a].cmp(&keys[b]));
    columns.retain(|_, [x, ..]| x.len() == count);
    // Cells of too few merchants have no noised values.
    order.retain(|&row| columns.values().all(|[_, noised, ..]| !noised[row].is_nan()));
    if order.is_empty() {
        return Ok(EarlierCells { days, keys: Vec::new(), statistics: BTreeMap::new() });
    }
    let whole = columns.into_iter();
    let statistics = whole.map(|(kind, [x, noised, sd, low, high])| {
        // Estimates have put back what the fit took; those that are not shown tell nothing. Where
        // cells had scales, it took more of some than of others.
        let mut sums: BTreeMap<u64, Shown> = BTreeMap::new();
        let mut all = Shown::default();
        for row in (0..count).filter(|&row| !x[row].is_nan()) {
            let one = Shown { x: x[row], noised: noised[row], variance: sd[row].powi(2) };
            all.add(&one);
            sums.entry(sd[row].to_bits()).or_default().add(&one);
        }
        let factor = |row: usize| {
            let same = sums.get(&sd[row].to_bits()).and_then(|sum| sum.factor(10.0));
            same.or(all.factor(0.0)).unwrap_or(1.0)
        };
        let of = |column: &[f64]| order.iter().map(|&row| column[row] * factor(row)).collect();
        let estimate = |&row: &usize| {
            let (value, low, high) = (x[row], low[row], high[row]);
            (!value.is_nan()).then_some(EarlierEstimate { value, low, high })
        };
        let shown = order.iter().map(estimate).collect();
        (kind, EarlierValues { values: of(&noised), sds: of(&sd), shown })
    });
    let statistics = statistics.collect();
    let keys = order.iter().map(|&row| keys[row].clone()).collect();
    Ok(EarlierCells { days, keys, statistics })
}

/// The columns of a statistic that are read: estimates, noised values, deviations of the noise, and
/// the ends of intervals.
const SUFFIXES: [&str; 5] = ["", "_unbiased", "_sd", "_low", "_high"];

/// Sums over cells that are shown.
#[derive(Clone, Copy, Debug, Default)]
struct Shown {
    x: f64,
    noised: f64,
    variance: f64,
}

impl Shown {
    fn add(&mut self, other: &Shown) {
        self.x += other.x;
        self.noised += other.noised;
        self.variance += other.variance;
    }

    /// What estimates have put back; `None` where the sum is not more than so many deviations of
    /// its noise.
    fn factor(&self, deviations: f64) -> Option<f64> {
        let is_seen = self.noised > deviations * self.variance.sqrt();
        is_seen.then(|| (self.x / self.noised).clamp(1.0, 4.0))
    }
}

/// Each text is kept once, in `texts`.
fn key_value(
    batch: &RecordBatch,
    name: &str,
    row: usize,
    texts: &mut HashSet<Arc<str>>,
) -> Option<KeyValue> {
    let column = batch.column_by_name(name)?;
    Some(match column.data_type() {
        DataType::Date32 => {
            let days = column.as_primitive::<Date32Type>().value(row);
            KeyValue::Date(NaiveDate::from_epoch_days(days)?)
        }
        DataType::UInt8 => KeyValue::Number(column.as_primitive::<UInt8Type>().value(row)),
        DataType::Dictionary(..) => {
            let column = column.as_dictionary_opt::<Int32Type>()?;
            let code = usize::try_from(column.keys().value(row)).ok()?;
            let text = column.values().as_string_opt::<i32>()?.value(code);
            KeyValue::Text(match texts.get(text) {
                Some(known) => Arc::clone(known),
                None => {
                    let new: Arc<str> = text.into();
                    texts.insert(Arc::clone(&new));
                    new
                }
            })
        }
        _ => return None,
    })
}

/// A column of counts, or of money in these currencies and places, in natural units, with NaN where
/// it shows nothing; `None` if it is neither.
fn numbers(batch: &RecordBatch, name: &str, (codes, places): (&str, u32)) -> Option<Vec<f64>> {
    let schema = batch.schema();
    let field = schema.field_with_name(name).ok()?;
    let column = batch.column_by_name(name)?;
    match column.data_type() {
        DataType::Float64 => {
            let counts = column.as_primitive::<Float64Type>();
            Some(counts.iter().map(|count| count.unwrap_or(f64::NAN)).collect())
        }
        DataType::Decimal128(_, scale)
            if i64::from(*scale) == i64::from(places)
                && field.metadata().get("currency").is_some_and(|own| own == codes) =>
        {
            let money = column.as_primitive::<Decimal128Type>();
            Some(money.iter().map(|minor| minor.map_or(f64::NAN, |m| m as f64)).collect())
        }
        _ => None,
    }
}
