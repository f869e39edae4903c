//! Cells that are hidden because they would tell of too few merchants: is nothing shown of them,
//! and is no other cell hidden for that?
//!
//! How many merchants a cell has says the public table of merchants, which no release holds; so the
//! cells are taken from the manifest.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int32Type;
use serde::Deserialize;

use super::lattice::{Faults, KeyCell, key_cell};
use super::manifest::Manifest;
use super::parts::table_of;

/// The least number of registered merchants, and the cells that are hidden for it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Merchants {
    pub(super) min_per_cell: u32,
    /// Cells that are hidden by noised values, too.
    pub(super) dominance: Option<Dominance>,
    pub(super) hidden: Vec<Hidden>,
    /// By insight the edges of the bands in which some of these are told.
    #[serde(default)]
    pub(super) bands: BTreeMap<String, Vec<String>>,
}

/// A rule on dominance.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Dominance {
    pub(super) top: u32,
    pub(super) share: f64,
    pub(super) by: String,
    /// The level that tells how much each merchant has.
    pub(super) judged_by: String,
}

/// The cells of a table that are hidden: some of its keys, and values of them.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Hidden {
    pub(super) file: String,
    pub(super) keys: Vec<String>,
    pub(super) values: BTreeSet<Vec<String>>,
    /// Those of them that may be told in bands.
    #[serde(default)]
    pub(super) in_bands: BTreeSet<Vec<String>>,
}

impl Manifest {
    /// The cells of a table that are hidden, if there are any.
    pub(super) fn hidden(&self, file: &str) -> Option<&Hidden> {
        self.merchant_protection.iter().flat_map(|m| &m.hidden).find(|hidden| hidden.file == file)
    }
}

/// What the manifest says of hidden cells that cannot be.
pub(super) fn manifest_faults(manifest: &Manifest) -> Vec<String> {
    let mut faults = dominance_faults(manifest);
    let Some(merchants) = &manifest.merchant_protection else { return faults };
    if merchants.min_per_cell < 2 {
        faults.push("it protects merchants, but cells of one may be shown".to_owned());
    }
    faults.extend(bands_faults(manifest, &merchants.bands));
    for hidden in &merchants.hidden {
        let file = &hidden.file;
        let known = |key: &String| manifest.key_set(file).is_some_and(|set| set.keys.contains(key));
        let whole = |values: &Vec<String>| values.len() == hidden.keys.len();
        if !hidden.keys.iter().all(known) || !hidden.values.iter().all(whole) {
            faults.push(format!("the hidden cells of `{file}` are not told by its keys"));
        }
        if !hidden.in_bands.is_subset(&hidden.values) {
            faults.push(format!("cells of `{file}` are told in bands that are not hidden"));
        }
        let source = manifest.source(file);
        if manifest.hidden(source).map(|other| &other.values) != Some(&hidden.values) {
            faults
                .push(format!("`{file}` hides other cells than `{source}`, whose values it shows"));
        }
    }
    for set in manifest.key_sets.iter().filter(|set| manifest.hidden(&set.file).is_none()) {
        if manifest.hidden(manifest.source(&set.file)).is_some() {
            faults.push(format!("`{}` shows what another table hides", set.file));
        }
    }
    faults
}

/// What it says of bands that cannot be: each edge is at least twice the one before, and tables
/// have bands of what has edges.
fn bands_faults(manifest: &Manifest, bands: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let mut faults = Vec::new();
    if bands.len() > 1 {
        faults.push("bands of several insights tell of each other".to_owned());
    }
    for (insight, edges) in bands {
        let numbers: Vec<f64> = edges.iter().filter_map(|edge| edge.parse().ok()).collect();
        let wide = numbers.windows(2).all(|pair| pair[1] >= 2.0 * pair[0]);
        let first = numbers.first().is_some_and(|first| *first > 0.0);
        if !BANDED.contains(&insight.as_str()) || numbers.len() != edges.len() || !wide || !first {
            faults.push(format!("the bands of `{insight}` are none, or narrow"));
        }
    }
    for set in manifest.key_sets.iter().filter(|set| !set.bands.is_empty()) {
        let known = set.bands.iter().all(|insight| bands.contains_key(insight));
        if !known || set.selection != "public" || set.unshown {
            faults.push(format!("`{}` has bands of which no edges are known", set.file));
        }
    }
    faults
}

/// What can be told in bands.
const BANDED: [&str; 3] = ["payments", "sales", "gross"];

/// Is this what some bands next to each other are called?
fn is_band(text: &str, edges: &[String]) -> bool {
    let place = |edge: &str| edges.iter().position(|own| own == edge);
    match text.split_once(" to ") {
        Some((from, to)) => place(from).zip(place(to)).is_some_and(|(from, to)| from < to),
        None => {
            let end = text.strip_prefix("below ").or(text.strip_suffix(" and more"));
            end.is_some_and(|edge| place(edge).is_some())
        }
    }
}

/// What it says of dominance that cannot be: levels that are measured and not shown are those that
/// name merchants, and there for that alone.
fn dominance_faults(manifest: &Manifest) -> Vec<String> {
    let mut faults = Vec::new();
    let rule = manifest.merchant_protection.as_ref().and_then(|m| m.dominance.as_ref());
    for set in &manifest.key_sets {
        let (file, named) = (&set.file, set.keys.iter().any(|key| key == "merchant"));
        if set.unshown != (named && rule.is_some()) {
            let text = "is not shown, and judges no dominance, or names merchants and is shown";
            faults.push(format!("`{file}` {text}"));
        }
        if set.unshown && manifest.files.iter().any(|own| table_of(&own.name) == file) {
            faults.push(format!("`{file}` is not to be shown, and is in `files`"));
        }
    }
    let Some(rule) = rule else { return faults };
    if rule.top < 1 || !(0.0..1.0).contains(&rule.share) || rule.share <= 0.0 {
        faults.push("its rule on dominance is of nobody, or of no share".to_owned());
    }
    let judge = manifest.key_set(&rule.judged_by).filter(|set| set.unshown);
    if judge.is_none() || manifest.event(&rule.judged_by, &rule.by).is_none() {
        let (file, by) = (&rule.judged_by, &rule.by);
        faults
            .push(format!("`{file}` cannot judge dominance by `{by}`, of which it tells nothing"));
    }
    faults
}

/// The rows of a batch that are not hidden, with their numbers in the table, of which the first is
/// `first`. Finds faults of the others.
pub(super) fn shown(
    name: &str,
    batch: RecordBatch,
    manifest: &Manifest,
    first: u64,
    faults: &mut Faults,
) -> (RecordBatch, Vec<u64>) {
    let hidden = manifest.hidden(name);
    let public = manifest.key_set(name).is_some_and(|set| set.selection == "public");
    let keys = manifest.key_set(name).map_or(0, |set| set.keys.len());
    let mut shown = Vec::with_capacity(batch.num_rows());
    for (row, place) in (0..batch.num_rows()).zip(first..) {
        let is_hidden =
            hidden.is_some_and(|hidden| hidden.values.contains(&cell(&batch, hidden, row)));
        shown.push(!is_hidden);
        if is_hidden && !public {
            let text = "is of few merchants, of which not even the key may be shown";
            faults.add(place, format!("the row {text}"));
        }
        let banded = |column: usize| {
            let hidden = hidden.filter(|hidden| in_bands(&batch, hidden, row))?;
            let schema = batch.schema();
            let insight = schema.field(column).name().strip_suffix("_band")?;
            let set = manifest.key_set(&hidden.file)?;
            let own = set.bands.iter().any(|own| own == insight);
            manifest.merchant_protection.as_ref()?.bands.get(insight).filter(|_| own)
        };
        let told = |column: usize| match banded(column) {
            Some(edges) => {
                let text = text(batch.column(column), row);
                text.is_some_and(|text| !is_band(text, edges))
            }
            None => tells(&batch, column, row),
        };
        if is_hidden && (keys..batch.num_columns()).any(told) {
            faults.add(place, "it shows something of too few merchants".to_owned());
        }
        if !is_hidden
            && (keys..batch.num_columns()).any(|column| for_merchants(&batch, column, row))
        {
            let text = "it is hidden for its merchants, which the manifest does not say";
            faults.add(place, text.to_owned());
        }
    }
    let places =
        (first..).zip(&shown).filter(|(_, shown)| **shown).map(|(place, _)| place).collect();
    let shown = BooleanArray::from(shown);
    let why = "cannot fail because there is one answer for each row";
    (filter_record_batch(&batch, &shown).expect(why), places)
}

/// May it be told in bands?
fn in_bands(batch: &RecordBatch, hidden: &Hidden, row: usize) -> bool {
    !hidden.in_bands.is_empty() && hidden.in_bands.contains(&cell(batch, hidden, row))
}

/// The texts of a row's keys that tell merchants apart.
fn cell(batch: &RecordBatch, hidden: &Hidden, row: usize) -> Vec<String> {
    let text = |key: &String| match key_cell(batch.column_by_name(key)?, row) {
        KeyCell::Text(text) => Some(text),
        KeyCell::Number(_) => None,
    };
    hidden.keys.iter().filter_map(text).collect()
}

/// Is there anything but the worst grade and the reason in this place?
fn tells(batch: &RecordBatch, column: usize, row: usize) -> bool {
    let (schema, array) = (batch.schema(), batch.column(column));
    let name = schema.field(column).name();
    if name.ends_with("_grade") {
        return text(array, row) != Some("D");
    }
    if name.ends_with("_suppressed") {
        return text(array, row) != Some("merchants");
    }
    array.is_valid(row)
}

fn for_merchants(batch: &RecordBatch, column: usize, row: usize) -> bool {
    let schema = batch.schema();
    let reason = schema.field(column).name().ends_with("_suppressed");
    reason && text(batch.column(column), row) == Some("merchants")
}

fn text(array: &dyn Array, row: usize) -> Option<&str> {
    let texts = array.as_dictionary::<Int32Type>();
    let values = texts.values().as_string::<i32>();
    texts.is_valid(row).then(|| values.value(texts.keys().value(row) as usize))
}
