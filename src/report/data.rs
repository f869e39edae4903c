//! The tables of a release as JSON columns, for the page.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, Float64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type};
use serde_json::{Value, json};

use super::numbers::write_rounded;
use crate::parallel;
use crate::release::{TableFiles, files_of};

type Result<T> = std::result::Result<T, String>;

/// Rows that are made text at once.
const ROWS_AT_ONCE: usize = 1 << 13;

/// The tables' names and digests, as the manifest has them; the page itself is none.
pub(super) fn files(manifest: &Value) -> Vec<Value> {
    let all = manifest["files"].as_array().map_or(&[][..], Vec::as_slice);
    let is_table = |file: &&Value| table_of(file).is_some_and(|t| key_set(manifest, t).is_some());
    all.iter().filter(is_table).cloned().collect()
}

/// The table of a file: those of one whose rows are split stand in a folder of its name.
fn table_of(file: &Value) -> Option<&str> {
    file["name"].as_str()?.split('/').next()
}

fn key_set<'m>(manifest: &'m Value, table: &str) -> Option<&'m Value> {
    manifest["key_sets"].as_array()?.iter().find(|set| set["file"] == table)
}

/// All tables, smallest first until `most` bytes are full, in the manifest's order. Those that have
/// no room are named with their rows only.
pub(super) fn tables(
    folder: &Path,
    manifest: &Value,
    most: usize,
    threads: usize,
) -> Result<String> {
    let all = files(manifest);
    let mut names: Vec<&str> = all.iter().filter_map(table_of).collect();
    names.dedup();
    let mut sizes = Vec::new();
    for (place, table) in names.iter().enumerate() {
        let mut size = 0;
        for name in files_of(manifest, table) {
            let file = std::fs::metadata(folder.join(name));
            size += file.map_err(|e| format!("`{name}`: {e}"))?.len();
        }
        sizes.push((size, place));
    }
    sizes.sort_unstable();
    let mut texts = vec![String::new(); names.len()];
    let mut left = most;
    for (_, place) in sizes {
        texts[place] = table(folder, manifest, names[place], left, threads)?;
        left = left.saturating_sub(texts[place].len());
    }
    Ok(texts.join(",\n"))
}

/// One table, or its rows only if it takes more than `most` bytes.
fn table(
    folder: &Path,
    manifest: &Value,
    name: &str,
    most: usize,
    threads: usize,
) -> Result<String> {
    let set = key_set(manifest, name).expect("cannot fail because it is a table");
    let files = TableFiles::open(folder, manifest, name)?;
    let rows = files.rows();
    let keys: Vec<&str> =
        set["keys"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let level = if keys.is_empty() { "all".to_owned() } else { keys.join("-") };
    let report = name.strip_suffix(&format!(".{level}.parquet")).unwrap_or(name);
    let mut head = json!({
        "report": report, "level": level, "file": name, "rows": rows, "selection": set["selection"],
        "look_back": set["look_back"], "above": set["above"], "share_of": set["share_of"],
    })
    .to_string();
    head.pop();
    let fields = files.fields()?;
    let (key_fields, value_fields) = fields.split_at(keys.len().min(fields.len()));
    let numbers = Numbers::all(value_fields, &set["bands"]);
    let source = PageTable { files, size: AtomicUsize::new(0), most };
    let columns = parallel::map(0..key_fields.len() + numbers.len(), threads, |place| match place
        .checked_sub(key_fields.len())
    {
        None => source.read(Keys::new(&key_fields[place])),
        Some(place) => source.read(numbers[place].clone()),
    });
    let columns: Option<Vec<String>> = columns.into_iter().collect::<Result<_>>()?;
    let Some(columns) = columns else {
        return Ok(format!("{head},\"left_out\":true,\"keys\":[],\"columns\":[]}}"));
    };
    let (keys, columns) = columns.split_at(key_fields.len());
    Ok(format!("{head},\"keys\":[{}],\"columns\":[{}]}}", keys.join(","), columns.join(",\n")))
}

/// A table, of which each thread reads some columns.
struct PageTable {
    files: TableFiles,
    /// Bytes of all columns so far, and how many there may be.
    size: AtomicUsize,
    most: usize,
}

/// A column of the page, made of some columns of a table, batch after batch.
trait PageColumn {
    /// Names of the table's columns.
    fn sources(&self) -> Vec<String>;
    fn add(&mut self, batch: &RecordBatch) -> Result<()>;
    fn size(&self) -> usize;
    fn json(&self) -> String;
}

impl PageTable {
    /// One column of the page; `None` if all of them together have no room.
    fn read(&self, mut column: impl PageColumn) -> Result<Option<String>> {
        let mut full = false;
        self.files.read(&column.sources(), ROWS_AT_ONCE, |batch| {
            let before = column.size();
            column.add(batch)?;
            let added = column.size() - before;
            full = self.size.fetch_add(added, Ordering::Relaxed) + added > self.most;
            Ok(!full)
        })?;
        Ok((!full).then(|| column.json()))
    }
}

/// A key: its distinct values in the order in which rows have them, and a place in them for each
/// row.
struct Keys {
    name: String,
    kind: &'static str,
    places: BTreeMap<String, usize>,
    values: String,
    codes: String,
}

impl Keys {
    fn new(field: &Field) -> Keys {
        let kind = match field.data_type() {
            DataType::Date32 => "date",
            DataType::UInt8 => "number",
            _ => "text",
        };
        let (values, codes) = (String::new(), String::new());
        Keys { name: field.name().clone(), kind, places: BTreeMap::new(), values, codes }
    }

    /// The place of a value, a new one if it is met for the first time.
    fn place(&mut self, text: &str) -> usize {
        let next = self.places.len();
        if let Some(&place) = self.places.get(text) {
            return place;
        }
        self.places.insert(text.to_owned(), next);
        comma(&mut self.values);
        self.values.push_str(&Value::from(text).to_string());
        next
    }
}

impl PageColumn for Keys {
    fn sources(&self) -> Vec<String> {
        vec![self.name.clone()]
    }

    fn size(&self) -> usize {
        self.values.len() + self.codes.len()
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let texts = texts(batch, &self.name)?;
        let names = texts.values().as_string::<i32>();
        // Of each text of this batch its place among all.
        let mut places: Vec<Option<usize>> = vec![None; names.len()];
        for row in 0..texts.len() {
            let code = texts.key(row).ok_or_else(|| format!("`{}` has no value", self.name))?;
            let place = *places[code].get_or_insert_with(|| self.place(names.value(code)));
            comma(&mut self.codes);
            write!(self.codes, "{place}").expect("cannot fail because a string takes all");
        }
        Ok(())
    }

    fn json(&self) -> String {
        let (name, kind) = (Value::from(self.name.as_str()), self.kind);
        let (values, codes) = (&self.values, &self.codes);
        format!("{{\"name\":{name},\"kind\":\"{kind}\",\"values\":[{values}],\"codes\":[{codes}]}}")
    }
}

/// An estimate with its interval, grade and the reason if it is not shown.
#[derive(Clone)]
struct Numbers {
    name: String,
    /// Of money: in which currency.
    currency: Option<String>,
    /// The estimate, and the ends of its interval.
    values: [String; 3],
    grades: String,
    suppressed: bool,
    reasons: Vec<String>,
    codes: String,
    /// Are hidden cells told in bands?
    told: bool,
    bands: Vec<String>,
    band_codes: String,
}

impl Numbers {
    /// One for each column that has an interval.
    fn all(fields: &[std::sync::Arc<Field>], told: &Value) -> Vec<Numbers> {
        let told = told.as_array().map_or(&[][..], Vec::as_slice);
        let named = |name: String| fields.iter().any(|field| *field.name() == name);
        let whole = fields.iter().filter(|field| named(format!("{}_low", field.name())));
        whole
            .map(|field| Numbers {
                name: field.name().clone(),
                currency: field.metadata().get("currency").cloned(),
                values: Default::default(),
                grades: String::new(),
                suppressed: named(format!("{}_suppressed", field.name())),
                told: told.iter().any(|insight| insight == field.name()),
                bands: Vec::new(),
                band_codes: String::new(),
                reasons: Vec::new(),
                codes: String::new(),
            })
            .collect()
    }

    fn add_reasons(&mut self, batch: &RecordBatch) -> Result<()> {
        let texts = texts(batch, &format!("{}_suppressed", self.name))?;
        add_codes(&texts, &mut self.reasons, &mut self.codes);
        Ok(())
    }

    fn add_bands(&mut self, batch: &RecordBatch) -> Result<()> {
        let texts = texts(batch, &format!("{}_band", self.name))?;
        add_codes(&texts, &mut self.bands, &mut self.band_codes);
        Ok(())
    }
}

impl PageColumn for Numbers {
    fn sources(&self) -> Vec<String> {
        let suffixes = ["", "_low", "_high", "_grade"].into_iter();
        let suffixes = suffixes.chain(self.suppressed.then_some("_suppressed"));
        let suffixes = suffixes.chain(self.told.then_some("_band"));
        suffixes.map(|suffix| format!("{}{suffix}", self.name)).collect()
    }

    fn size(&self) -> usize {
        let values: usize = self.values.iter().map(String::len).sum();
        values + self.grades.len() + self.codes.len() + self.band_codes.len()
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let name = &self.name;
        let numbers = ["", "_low", "_high"].map(|suffix| floats(batch, &format!("{name}{suffix}")));
        let [x, low, high] = numbers;
        let (x, low, high) = (x?, low?, high?);
        let grades = texts(batch, &format!("{name}_grade"))?;
        let names = grades.values().as_string::<i32>();
        for row in 0..x.len() {
            self.values.iter_mut().for_each(comma);
            let of = |column: &Float64Array| {
                (!column.is_null(row)).then(|| column.value(row)).filter(|v| v.is_finite())
            };
            match (of(&x), of(&low), of(&high)) {
                (Some(x), Some(low), Some(high)) => {
                    write_rounded([x, low, high], self.values.each_mut());
                }
                _ => self.values.iter_mut().for_each(|text| text.push_str("null")),
            }
            self.grades.push_str(grades.key(row).map_or("", |code| names.value(code)));
        }
        if self.told {
            self.add_bands(batch)?;
        }
        if self.suppressed { self.add_reasons(batch) } else { Ok(()) }
    }

    fn json(&self) -> String {
        let [x, low, high] = &self.values;
        let (name, currency) = (Value::from(self.name.as_str()), json!(self.currency));
        let grades = Value::from(self.grades.as_str());
        let mut text = format!("{{\"name\":{name},\"currency\":{currency},\"x\":[{x}],");
        write!(text, "\"low\":[{low}],\"high\":[{high}],\"grades\":{grades}")
            .expect("cannot fail because a string takes all");
        if !self.reasons.is_empty() {
            let (reasons, codes) = (json!(self.reasons), &self.codes);
            write!(text, ",\"reasons\":{reasons},\"suppressed\":[{codes}]")
                .expect("cannot fail because a string takes all");
        }
        if !self.bands.is_empty() {
            let (bands, codes) = (json!(self.bands), &self.band_codes);
            write!(text, ",\"bands\":{bands},\"told\":[{codes}]")
                .expect("cannot fail because a string takes all");
        }
        text + "}"
    }
}

/// Writes the places of texts in a list of all that were met; of none, -1.
fn add_codes(texts: &DictionaryArray<Int32Type>, known: &mut Vec<String>, codes: &mut String) {
    let names = texts.values().as_string::<i32>();
    for row in 0..texts.len() {
        comma(codes);
        let Some(code) = texts.key(row) else {
            codes.push_str("-1");
            continue;
        };
        let place = known.iter().position(|own| own == names.value(code));
        let code = place.unwrap_or_else(|| {
            known.push(names.value(code).to_owned());
            known.len() - 1
        });
        write!(codes, "{code}").expect("cannot fail because a string takes all");
    }
}

fn comma(text: &mut String) {
    if !text.is_empty() {
        text.push(',');
    }
}

fn floats(batch: &RecordBatch, name: &str) -> Result<Float64Array> {
    Ok(column(batch, name, &DataType::Float64)?.as_primitive().clone())
}

/// A column as text, which has few distinct values.
fn texts(batch: &RecordBatch, name: &str) -> Result<DictionaryArray<Int32Type>> {
    let texts = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    Ok(column(batch, name, &texts)?.as_dictionary().clone())
}

fn column(batch: &RecordBatch, name: &str, wanted: &DataType) -> Result<ArrayRef> {
    let column = batch.column_by_name(name).ok_or_else(|| format!("it has no column `{name}`"))?;
    cast(column, wanted).map_err(|e| e.to_string())
}
