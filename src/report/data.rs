//! The tables of a release as JSON columns, for the page.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, Float64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type};
use serde_json::{Value, json};

use super::numbers::write_rounded;
use crate::job::Insight;
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
    bands: Option<Bands>,
}

/// What a column says of its cells in bands.
#[derive(Clone)]
struct Bands {
    /// The upper ends of the bands in which intervals are, with their names; `None`: it is cells
    /// that are hidden which are told in bands.
    of_intervals: Option<&'static [(f64, &'static str)]>,
    texts: Vec<String>,
    codes: String,
}

impl Bands {
    /// Those of a column, if it has some; `told`: of hidden cells.
    fn new(name: &str, told: bool) -> Option<Bands> {
        let insight = Insight::all().find(|insight| insight.name() == name);
        let of_intervals = insight.and_then(Insight::bands);
        let some = told || of_intervals.is_some();
        some.then(|| Bands { of_intervals, texts: Vec::new(), codes: String::new() })
    }

    /// The words of the table; of an interval in several bands with the first and the last of them,
    /// by its own ends and not by those that the page rounds.
    fn add(&mut self, words: &DictionaryArray<Int32Type>, low: &Float64Array, high: &Float64Array) {
        let names = words.values().as_string::<i32>();
        for row in 0..words.len() {
            let word = words.key(row).map(|code| names.value(code));
            let of = |end: f64| self.of_intervals?.iter().find(|(to, _)| end <= *to);
            let text = match (word, of(low.value(row)), of(high.value(row))) {
                (Some(word), Some((_, first)), Some((_, last))) if first != last => {
                    Some(Cow::Owned(format!("{word}, {first} to {last}")))
                }
                _ => word.map(Cow::Borrowed),
            };
            add_code(text.as_deref(), &mut self.texts, &mut self.codes);
        }
    }
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
                bands: Bands::new(field.name(), told.iter().any(|t| t == field.name()))
                    .filter(|_| named(format!("{}_band", field.name()))),
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
}

impl PageColumn for Numbers {
    fn sources(&self) -> Vec<String> {
        let suffixes = ["", "_low", "_high", "_grade"].into_iter();
        let suffixes = suffixes.chain(self.suppressed.then_some("_suppressed"));
        let suffixes = suffixes.chain(self.bands.is_some().then_some("_band"));
        suffixes.map(|suffix| format!("{}{suffix}", self.name)).collect()
    }

    fn size(&self) -> usize {
        let values: usize = self.values.iter().map(String::len).sum();
        let bands = self.bands.as_ref().map_or(0, |bands| bands.codes.len());
        values + self.grades.len() + self.codes.len() + bands
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
        if let Some(bands) = &mut self.bands {
            bands.add(&texts(batch, &format!("{}_band", self.name))?, &low, &high);
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
        if let Some(Bands { of_intervals, texts, codes }) = &self.bands
            && !texts.is_empty()
        {
            let (bands, which) =
                (json!(texts), if of_intervals.is_some() { "band" } else { "told" });
            write!(text, ",\"bands\":{bands},\"{which}\":[{codes}]")
                .expect("cannot fail because a string takes all");
        }
        text + "}"
    }
}

/// Writes the places of texts in a list of all that were met; of none, -1.
fn add_codes(texts: &DictionaryArray<Int32Type>, known: &mut Vec<String>, codes: &mut String) {
    let names = texts.values().as_string::<i32>();
    for row in 0..texts.len() {
        add_code(texts.key(row).map(|code| names.value(code)), known, codes);
    }
}

/// The same of one text.
fn add_code(text: Option<&str>, known: &mut Vec<String>, codes: &mut String) {
    comma(codes);
    let Some(text) = text else {
        codes.push_str("-1");
        return;
    };
    let place = known.iter().position(|own| own == text);
    let code = place.unwrap_or_else(|| {
        known.push(text.to_owned());
        known.len() - 1
    });
    write!(codes, "{code}").expect("cannot fail because a string takes all");
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

#[cfg(test)]
mod tests {
    use arrow::datatypes::Int32Type;

    use super::*;

    /// What the page says of a cell with this band and interval in the table.
    fn said(name: &str, word: Option<&str>, ends: [f64; 2]) -> Option<String> {
        let words: DictionaryArray<Int32Type> = [word].into_iter().collect();
        let mut bands = Bands::new(name, false)?;
        let [low, high] = ends.map(|end| Float64Array::from(vec![end]));
        bands.add(&words, &low, &high);
        bands.texts.pop()
    }

    #[test]
    fn bands_are_those_of_the_table_however_ends_are_rounded() {
        let of = |name: &str, word, low, high| said(name, Some(word), [low, high]);
        // Rounded outward it would begin at 0.25, and so in the band before.
        let top = Some("top 50 %".to_owned());
        assert_eq!(of("payments_rank", "top 50 %", 0.250_52, 0.4595), top);
        let high = Some("high".to_owned());
        assert_eq!(of("customers_concentration", "high", 1800.92, 2124.3), high);
        let unsure = Some("unsure, top 50 % to rest".to_owned());
        assert_eq!(of("payments_rank", "unsure", 0.250_52, 0.5001), unsure);
        let unsure = Some("unsure, low to high".to_owned());
        assert_eq!(of("sales_concentration", "unsure", 1000.0, 1800.1), unsure);
        assert_eq!(said("payments_rank", None, [0.0, 0.0]), None);
        // Others have none of their own.
        assert!(Bands::new("payments", false).is_none() && Bands::new("payments", true).is_some());
    }
}
