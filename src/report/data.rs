//! The tables of a release as JSON columns, for the page.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type};
use serde_json::{Value, json};

use super::numbers::write_rounded;
use crate::release::{count_rows, files_of, read_table};

type Result<T> = std::result::Result<T, String>;

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
pub(super) fn tables(folder: &Path, manifest: &Value, most: usize) -> Result<String> {
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
        texts[place] = table(folder, manifest, names[place], left)?;
        left = left.saturating_sub(texts[place].len());
    }
    Ok(texts.join(",\n"))
}

/// One table, or its rows only if it takes more than `most` bytes.
fn table(folder: &Path, manifest: &Value, name: &str, most: usize) -> Result<String> {
    let set = key_set(manifest, name).expect("cannot fail because it is a table");
    let rows = count_rows(folder, manifest, name)?;
    let keys: Vec<&str> =
        set["keys"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let level = if keys.is_empty() { "all".to_owned() } else { keys.join("-") };
    let report = name.strip_suffix(&format!(".{level}.parquet")).unwrap_or(name);
    let mut head = json!({
        "report": report, "level": level, "file": name, "rows": rows, "selection": set["selection"],
    })
    .to_string();
    head.pop();
    let (mut key_columns, mut columns, mut full) = (Vec::new(), Vec::new(), false);
    read_table(folder, manifest, name, |batch| {
        if columns.is_empty() {
            let schema = batch.schema();
            let (key_fields, values) = schema.fields().split_at(keys.len());
            key_columns = key_fields.iter().map(|field| Keys::new(field)).collect();
            columns = Numbers::all(values);
        }
        key_columns.iter_mut().try_for_each(|column| column.add(batch))?;
        columns.iter_mut().try_for_each(|column| column.add(batch))?;
        let sizes = key_columns.iter().map(Keys::size).chain(columns.iter().map(Numbers::size));
        full = sizes.sum::<usize>() > most;
        Ok(!full)
    })?;
    if full {
        return Ok(format!("{head},\"left_out\":true,\"keys\":[],\"columns\":[]}}"));
    }
    let keys: Vec<String> = key_columns.iter().map(Keys::json).collect();
    let columns: Vec<String> = columns.iter().map(Numbers::json).collect();
    Ok(format!("{head},\"keys\":[{}],\"columns\":[{}]}}", keys.join(","), columns.join(",\n")))
}

/// A key: its distinct values in the order in which rows have them, and a place in them for each row.
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

    fn size(&self) -> usize {
        self.values.len() + self.codes.len()
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let texts = column(batch, &self.name, &DataType::Utf8)?;
        let texts = texts.as_string::<i32>();
        for row in 0..texts.len() {
            let (next, text) = (self.places.len(), texts.value(row));
            let place = match self.places.get(text) {
                Some(&place) => place,
                None => {
                    self.places.insert(text.to_owned(), next);
                    comma(&mut self.values);
                    self.values.push_str(&Value::from(text).to_string());
                    next
                }
            };
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
}

impl Numbers {
    /// One for each column that has an interval.
    fn all(fields: &[std::sync::Arc<Field>]) -> Vec<Numbers> {
        let named = |name: String| fields.iter().any(|field| *field.name() == name);
        let whole = fields.iter().filter(|field| named(format!("{}_low", field.name())));
        whole
            .map(|field| Numbers {
                name: field.name().clone(),
                currency: field.metadata().get("currency").cloned(),
                values: Default::default(),
                grades: String::new(),
                suppressed: named(format!("{}_suppressed", field.name())),
                reasons: Vec::new(),
                codes: String::new(),
            })
            .collect()
    }

    fn size(&self) -> usize {
        let values: usize = self.values.iter().map(String::len).sum();
        values + self.grades.len() + self.codes.len()
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let name = &self.name;
        let numbers = ["", "_low", "_high"].map(|suffix| floats(batch, &format!("{name}{suffix}")));
        let [x, low, high] = numbers;
        let (x, low, high) = (x?, low?, high?);
        let grades = column(batch, &format!("{name}_grade"), &DataType::Utf8)?;
        let grades = grades.as_string::<i32>();
        for row in 0..x.len() {
            self.values.iter_mut().for_each(comma);
            let of = |column: &ArrayRef| {
                let column = column.as_primitive::<Float64Type>();
                (!column.is_null(row)).then(|| column.value(row)).filter(|v| v.is_finite())
            };
            match (of(&x), of(&low), of(&high)) {
                (Some(x), Some(low), Some(high)) => {
                    write_rounded([x, low, high], self.values.each_mut());
                }
                _ => self.values.iter_mut().for_each(|text| text.push_str("null")),
            }
            self.grades.push_str(grades.value(row));
        }
        self.add_reasons(batch)
    }

    fn add_reasons(&mut self, batch: &RecordBatch) -> Result<()> {
        if !self.suppressed {
            return Ok(());
        }
        let texts = column(batch, &format!("{}_suppressed", self.name), &DataType::Utf8)?;
        let texts = texts.as_string::<i32>();
        for row in 0..texts.len() {
            comma(&mut self.codes);
            let code = (!texts.is_null(row)).then(|| {
                let known = self.reasons.iter().position(|reason| reason == texts.value(row));
                known.unwrap_or_else(|| {
                    self.reasons.push(texts.value(row).to_owned());
                    self.reasons.len() - 1
                })
            });
            let code = code.map_or(-1, |code| code as i64);
            write!(self.codes, "{code}").expect("cannot fail because a string takes all");
        }
        Ok(())
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
        text + "}"
    }
}

fn comma(text: &mut String) {
    if !text.is_empty() {
        text.push(',');
    }
}

fn floats(batch: &RecordBatch, name: &str) -> Result<ArrayRef> {
    column(batch, name, &DataType::Float64)
}

fn column(batch: &RecordBatch, name: &str, wanted: &DataType) -> Result<ArrayRef> {
    let column = batch.column_by_name(name).ok_or_else(|| format!("it has no column `{name}`"))?;
    cast(column, wanted).map_err(|e| e.to_string())
}
