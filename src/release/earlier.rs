//! What an earlier release has made public: the keys that it has shown, and what its surveys said.

use std::collections::BTreeSet;
use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int32Type;
use chrono::NaiveDate;
use serde::Deserialize;
use serde_json::Value;

use super::series::Series;
use super::{digest_of, read_table};
use crate::job::TimeKey;
use crate::plan::{KeyValue, ReleasedSurvey, Survey};

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
    let manifest = manifest(folder, manifest_digest)?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut found = None;
    for set in list(&manifest["key_sets"]) {
        let file = set["file"].as_str().unwrap_or_default();
        let keys = list(&set["keys"]);
        let keys = keys.iter().filter_map(Value::as_str).filter(|key| !is_time(key));
        let other = keys.collect::<BTreeSet<_>>() != names.iter().copied().collect();
        if other || set["unshown"] == true {
            continue;
        }
        let rows = read((folder, &manifest, file), names)?;
        found.get_or_insert_with(BTreeSet::new).extend(rows);
    }
    Ok(found)
}

/// The surveys of an earlier release, and what must be the same for them to be used.
#[derive(Clone, Debug)]
pub struct ReleasedSurveys {
    /// The privacy unit, as manifests have it.
    pub unit: String,
    /// The first day of its period.
    pub first_day: NaiveDate,
    /// Days of its period.
    pub days: u32,
    /// The time zone of its days.
    pub timezone: String,
    /// What it counts; `None` if it was made before manifests said so.
    pub series: Option<Series>,
    /// The job whose release it takes the place of.
    pub revises: Option<String>,
    /// One for each statistic of a table whose bound was open.
    pub surveys: Vec<ReleasedSurvey>,
}

/// What the surveys of a release said.
///
/// # Errors
/// The release is not the one whose manifest has this digest, or cannot be read; says why.
pub fn released_surveys(folder: &Path, manifest_digest: &str) -> Result<ReleasedSurveys, String> {
    let manifest = manifest(folder, manifest_digest)?;
    let read = || {
        let day = |name: &str| manifest["job"][name].as_str()?.parse::<NaiveDate>().ok();
        let days = (day("last_day")? - day("first_day")?).num_days() + 1;
        let surveys = manifest["surveys"].as_array().map_or(&[][..], Vec::as_slice);
        Some(ReleasedSurveys {
            unit: manifest["privacy_unit"]["unit"].as_str()?.to_owned(),
            first_day: day("first_day")?,
            days: u32::try_from(days).ok()?,
            timezone: manifest["job"]["timezone"].as_str()?.to_owned(),
            series: match &manifest["series"] {
                Value::Null => None,
                series => Some(Series::deserialize(series).ok()?),
            },
            revises: manifest["job"]["revises"]["job"].as_str().map(str::to_owned),
            surveys: {
                // What was counted of tickets tells no norms.
                let tickets = |s: &&Value| s["mechanisms"][0]["counts"] == "tickets";
                let fit = |s: &&Value| {
                    !tickets(s) && !has_scales(&manifest, s) && !is_discovered(&manifest, s)
                };
                let norms = surveys.iter().filter(fit);
                norms.map(|s| survey(&manifest, s)).collect::<Option<_>>()?
            },
        })
    };
    read().ok_or_else(|| "its manifest has no surveys that can be read".to_owned())
}

/// Was it asked of numbers at scales of their cells, which no other release has?
fn has_scales(manifest: &Value, survey: &Value) -> bool {
    let events = manifest["mechanisms"].as_array().map_or(&[][..], Vec::as_slice);
    let same = |key: &str, event: &Value| event[key] == survey[key];
    let mut events = events.iter().filter(|e| same("file", e) && same("statistic", e));
    events.any(|event| !event["octaves_max"].is_null())
}

/// Was it asked of cells that rounds had found, which are others each time?
fn is_discovered(manifest: &Value, survey: &Value) -> bool {
    let sets = manifest["key_sets"].as_array().map_or(&[][..], Vec::as_slice);
    let own = |set: &&Value| set["file"] == survey["file"];
    sets.iter().find(own).is_some_and(|set| set["selection"] == "discovered")
}

fn survey(manifest: &Value, survey: &Value) -> Option<ReleasedSurvey> {
    let sets = manifest["key_sets"].as_array()?;
    let set = sets.iter().find(|set| set["file"] == survey["file"])?;
    let keys = set["keys"].as_array()?.iter().map(|key| key.as_str().map(str::to_owned));
    let mut keys: Vec<String> = keys.collect::<Option<_>>()?;
    keys.sort_unstable();
    let mechanism = |name: &str| {
        let event = survey["mechanisms"].as_array()?.iter().find(|m| m["counts"] == name)?;
        let grid = event["grid_units_per_unit"].as_u64().filter(|grid| grid.is_power_of_two())?;
        let values = event["values"].as_array()?.iter().map(Value::as_i64);
        let values: Vec<i64> = values.collect::<Option<_>>()?;
        Some(((grid.ilog2(), event["sigma"].as_u64()?), values))
    };
    let (histogram, counts) = mechanism("norms")?;
    let (spread, sum) = mechanism("spread").unzip();
    let result = Survey { histogram: counts, spread: sum.and_then(|sum| sum.first().copied()) };
    let statistic = survey["statistic"].as_str()?.to_owned();
    Some(ReleasedSurvey { keys, statistic, histogram, spread, result })
}

/// The manifest of a release, if it is the one that was released.
pub(super) fn manifest(folder: &Path, digest: &str) -> Result<Value, String> {
    let path = folder.join("manifest.json");
    let bytes = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    if digest_of(&bytes) != digest {
        return Err("its manifest is not the one that was released".to_owned());
    }
    serde_json::from_slice(&bytes).map_err(|e| e.to_string())
}

fn is_time(key: &str) -> bool {
    TimeKey::ALL.iter().any(|time| time.name() == key)
}

fn read(
    (folder, manifest, table): (&Path, &Value, &str),
    names: &[&str],
) -> Result<BTreeSet<Vec<KeyValue>>, String> {
    let mut rows = BTreeSet::new();
    read_table(folder, manifest, table, |batch| {
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
        let columns = columns.ok_or_else(|| "its keys are no texts".to_owned())?;
        rows.extend(
            (0..batch.num_rows()).map(|row| columns.iter().map(|c| c[row].clone()).collect()),
        );
        Ok(true)
    })?;
    Ok(rows)
}
