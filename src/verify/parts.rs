//! Which files a table is in: one, or one for each value of a time key that stands in their names.

use chrono::NaiveDate;

use super::manifest::{KeySet, Manifest};

/// The key that a file's name tells: its place among the table's keys, its name, and its value.
pub(super) type NamedKey = (usize, String, NaiveDate);

/// The table of a file.
pub(super) fn table_of(file: &str) -> &str {
    file.split('/').next().unwrap_or(file)
}

/// The key that the name of a file tells, if its table has one; says what is wrong with the name.
pub(super) fn key_of(file: &str, set: &KeySet) -> Result<Option<NamedKey>, String> {
    let rest = file.strip_prefix(&set.file).unwrap_or(file);
    let Some(key) = &set.partition_by else {
        return if rest.is_empty() { Ok(None) } else { Err(format!("`{file}` is no table")) };
    };
    let value =
        rest.strip_prefix(&format!("/{key}=")).and_then(|r| r.strip_suffix("/part-0.parquet"));
    let date = value.and_then(|value| NaiveDate::parse_from_str(value, "%Y-%m-%d").ok());
    // Else a day could be written in two ways.
    let date = date.filter(|date| value == Some(&*date.to_string()));
    let place = set.keys.iter().position(|own| own == key);
    let found = place.zip(date).map(|(place, date)| Some((place, key.clone(), date)));
    found.ok_or_else(|| format!("`{file}` is no file of `{}` by its `{key}`", set.file))
}

/// What is wrong with the names of tables' files.
pub(super) fn manifest_faults(manifest: &Manifest) -> Vec<String> {
    let files = manifest.files.iter().map(|file| file.name.as_str());
    let names = files.filter_map(|file| key_of(file, manifest.key_set(table_of(file))?).err());
    let keys = manifest.key_sets.iter().filter_map(|set| {
        let key = set.partition_by.as_deref()?;
        let known = ["day", "week", "month", "quarter"].contains(&key);
        (!known).then(|| format!("`{}` is split by `{key}`, which is no period", set.file))
    });
    names.chain(keys).collect()
}
