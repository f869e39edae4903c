//! The keys that an earlier release has shown, which makes them public.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int32Type;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use super::digest_of_file;
use crate::job::TimeKey;
use crate::plan::KeyValue;

/// The distinct values of the keys `names` in the tables of a release that have these keys, in any
/// order, and perhaps keys of time; `None` if no table has. All of them are texts.
///
/// # Errors
/// The release is not the one whose manifest has this digest, or cannot be read; says why.
pub fn shown_keys(
    folder: &Path,
    manifest_digest: &str,
    names: &[&str],
) -> Result<Option<BTreeSet<Vec<KeyValue>>>, String> {
    let text = |cause: &dyn std::fmt::Display| cause.to_string();
    let path = folder.join("manifest.json");
    let bytes = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    if digest_of_file(&path).ok().as_deref() != Some(manifest_digest) {
        return Err("its manifest is not the one that was released".to_owned());
    }
    let manifest: Value = serde_json::from_slice(&bytes).map_err(|e| text(&e))?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut found = None;
    for set in list(&manifest["key_sets"]) {
        let file = set["file"].as_str().unwrap_or_default();
        let keys = list(&set["keys"]);
        let keys = keys.iter().filter_map(Value::as_str).filter(|key| !is_time(key));
        if keys.collect::<BTreeSet<_>>() != names.iter().copied().collect() {
            continue;
        }
        let entry = list(&manifest["files"]).into_iter().find(|entry| entry["name"] == file);
        let digest = digest_of_file(&folder.join(file)).ok();
        if entry.is_none_or(|entry| entry["sha256"].as_str() != digest.as_deref()) {
            return Err(format!("`{file}` is not what was released"));
        }
        let rows = read(&folder.join(file), names).map_err(|e| format!("`{file}`: {e}"))?;
        found.get_or_insert_with(BTreeSet::new).extend(rows);
    }
    Ok(found)
}

fn is_time(key: &str) -> bool {
    TimeKey::ALL.iter().any(|time| time.name() == key)
}

fn read(path: &Path, names: &[&str]) -> Result<BTreeSet<Vec<KeyValue>>, String> {
    let text = |cause: &dyn std::fmt::Display| cause.to_string();
    let file = File::open(path).map_err(|e| text(&e))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| text(&e))?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), names.iter().copied());
    let batches = builder.with_projection(mask).build().map_err(|e| text(&e))?;
    let mut rows = BTreeSet::new();
    for batch in batches {
        let batch = batch.map_err(|e| text(&e))?;
        let column = |name: &&str| {
            let column = batch.column_by_name(name)?.as_dictionary_opt::<Int32Type>()?;
            let values = column.values().as_string_opt::<i32>()?;
            let value = |row: usize| KeyValue::Text(values.value(row).into());
            let row = |row: usize| {
                (!column.is_null(row)).then(|| value(column.keys().value(row) as usize))
            };
            (0..column.len()).map(row).collect::<Option<Vec<KeyValue>>>()
        };
        let columns: Option<Vec<Vec<KeyValue>>> = names.iter().map(column).collect();
        let columns = columns.ok_or("its keys are no texts")?;
        rows.extend(
            (0..batch.num_rows()).map(|row| columns.iter().map(|c| c[row].clone()).collect()),
        );
    }
    Ok(rows)
}
