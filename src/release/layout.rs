//! Which files a table is in: one, or one for each value of a time key, as Hive names them:
//! `REPORT.LEVEL.parquet/month=2025-01-01/part-0.parquet`. The key then stands in the name alone.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Date32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Fields, Schema};
use chrono::NaiveDate;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use serde_json::Value;

use super::digest_of_file;
use crate::plan::{KeyValue, LevelPlan, TablePlan};

/// The name of a table's files in their folders.
const PART: &str = "part-0.parquet";

/// The files of a table with the value of its time key that each holds; `None`: all rows.
pub(super) fn files(level: &LevelPlan, table: &TablePlan) -> Vec<(String, Option<KeyValue>)> {
    let file = format!("{}.parquet", table.file);
    let Some(place) = table.partition else { return vec![(file, None)] };
    let key = table.keys[place].name();
    let part = |value: KeyValue| {
        let KeyValue::Date(start) = &value else { return None };
        Some((format!("{file}/{key}={start}/{PART}"), Some(value)))
    };
    level.times(&table.keys[place]).into_iter().filter_map(part).collect()
}

/// Is it the name of a file within the release's folder?
pub(super) fn is_within(name: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    name.split('/').all(plain) && !name.contains('\\')
}

/// A file of a table, with the time key and its value that its name tells.
struct Part {
    name: String,
    key: Option<(usize, String, NaiveDate)>,
}

/// Has `take` look at the rows of a released table, with all its keys, after its digests were
/// compared, until it has seen enough; at least at one batch, which may be empty.
///
/// # Errors
/// A file is not the one of the manifest, or cannot be read; or what `take` says.
pub fn read_table(
    folder: &Path,
    manifest: &Value,
    table: &str,
    mut take: impl FnMut(&RecordBatch) -> Result<bool, String>,
) -> Result<(), String> {
    let entries = manifest["files"].as_array().map_or(&[][..], Vec::as_slice);
    for part in parts(manifest, table)? {
        let (name, path) = (&part.name, folder.join(&part.name));
        let entry = entries.iter().find(|entry| entry["name"] == **name);
        let digest = digest_of_file(&path).ok();
        if entry.is_none_or(|entry| entry["sha256"].as_str() != digest.as_deref()) {
            return Err(format!("`{name}` is not what was released"));
        }
        let mut read = || {
            let file = File::open(&path).map_err(|e| e.to_string())?;
            let table =
                ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| e.to_string())?;
            let empty = RecordBatch::new_empty(table.schema().clone());
            let empty = part.whole(empty).map_err(|e| e.to_string())?;
            Ok(take(&empty)? && part.read(table, &mut take)?)
        };
        if !read().map_err(|why: String| format!("`{name}`: {why}"))? {
            break;
        }
    }
    Ok(())
}

/// The files of a released table, of which several threads may read some columns each.
pub struct TableFiles {
    files: Vec<(PathBuf, Part, ArrowReaderMetadata)>,
}

impl TableFiles {
    /// Looks at what the files say of themselves.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn open(folder: &Path, manifest: &Value, table: &str) -> Result<TableFiles, String> {
        let open = |part: Part| {
            let path = folder.join(&part.name);
            let metadata =
                Part::metadata(&path).map_err(|why| format!("`{}`: {why}", part.name))?;
            Ok((path, part, metadata))
        };
        let files = parts(manifest, table)?.into_iter().map(open);
        Ok(TableFiles { files: files.collect::<Result<_, String>>()? })
    }

    /// How many rows they have together.
    pub fn rows(&self) -> i64 {
        let rows =
            |(.., file): &(_, _, ArrowReaderMetadata)| file.metadata().file_metadata().num_rows();
        self.files.iter().map(rows).sum()
    }

    /// The table's columns, with all its keys.
    ///
    /// # Errors
    /// Two columns have one name.
    pub fn fields(&self) -> Result<Fields, String> {
        let (_, part, file) = &self.files[0];
        let empty = RecordBatch::new_empty(file.schema().clone());
        let whole = part.whole(empty).map_err(|e| format!("`{}`: {e}", part.name))?;
        Ok(whole.schema().fields().clone())
    }

    /// Has `take` look at some columns, so many rows at once, until it has seen enough.
    ///
    /// # Errors
    /// A file cannot be read; or what `take` says.
    pub fn read(
        &self,
        columns: &[String],
        rows: usize,
        mut take: impl FnMut(&RecordBatch) -> Result<bool, String>,
    ) -> Result<(), String> {
        for (path, part, metadata) in &self.files {
            let mut read = || {
                // Each reader has a place of its own in the file.
                let file = File::open(path).map_err(|e| e.to_string())?;
                let table =
                    ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone());
                let names = columns.iter().map(String::as_str);
                let wanted = ProjectionMask::columns(table.parquet_schema(), names);
                let table = table.with_projection(wanted).with_batch_size(rows);
                part.read(table, &mut take)
            };
            if !read().map_err(|why| format!("`{}`: {why}", part.name))? {
                break;
            }
        }
        Ok(())
    }
}

/// The names of a table's files.
pub fn files_of<'m>(manifest: &'m Value, table: &'m str) -> impl Iterator<Item = &'m str> {
    let entries = manifest["files"].as_array().map_or(&[][..], Vec::as_slice);
    let names = entries.iter().filter_map(|entry| entry["name"].as_str());
    names.filter(move |name| name.split('/').next() == Some(table))
}

fn parts(manifest: &Value, table: &str) -> Result<Vec<Part>, String> {
    let sets = manifest["key_sets"].as_array().map_or(&[][..], Vec::as_slice);
    let set = sets.iter().find(|set| set["file"] == table);
    let keys = set.and_then(|set| set["keys"].as_array()).map_or(&[][..], Vec::as_slice);
    let part = |name: &str| {
        let Some((_, rest)) = name.split_once('/') else {
            return Some(Part { name: name.to_owned(), key: None });
        };
        let (key, value) = rest.split_once('/')?.0.split_once('=')?;
        let place = keys.iter().position(|own| own == key)?;
        let key = (place, key.to_owned(), value.parse().ok()?);
        is_within(name).then(|| Part { name: name.to_owned(), key: Some(key) })
    };
    let parts: Option<Vec<Part>> = files_of(manifest, table).map(part).collect();
    let parts = parts.filter(|parts| !parts.is_empty());
    parts.ok_or_else(|| format!("`{table}` is not what was released"))
}

impl Part {
    fn metadata(path: &Path) -> Result<ArrowReaderMetadata, String> {
        let file = File::open(path).map_err(|e| e.to_string())?;
        ArrowReaderMetadata::load(&file, ArrowReaderOptions::default()).map_err(|e| e.to_string())
    }

    fn read(
        &self,
        table: ParquetRecordBatchReaderBuilder<File>,
        take: &mut impl FnMut(&RecordBatch) -> Result<bool, String>,
    ) -> Result<bool, String> {
        for batch in table.build().map_err(|e| e.to_string())? {
            let batch = batch.map_err(|e| e.to_string())?;
            if !take(&self.whole(batch).map_err(|e| e.to_string())?)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// With the key that the name tells, in its place.
    fn whole(&self, batch: RecordBatch) -> Result<RecordBatch, arrow::error::ArrowError> {
        let Some((place, key, start)) = &self.key else { return Ok(batch) };
        let days = start.to_epoch_days();
        let column = Arc::new(Date32Array::from(vec![days; batch.num_rows()]));
        let mut fields = batch.schema().fields().to_vec();
        let mut columns = batch.columns().to_vec();
        let place = (*place).min(columns.len());
        fields.insert(place, Arc::new(Field::new(key, DataType::Date32, false)));
        columns.insert(place, column);
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
    }
}
