//! The columns of all files: which cannot be read, and where files differ.

use std::path::Path;

use polars::prelude::{DataType, Expr, Field, PlSmallStr, Schema, TimeUnit};

use super::source::{Files, type_name};
use crate::findings::{self, Columns, Finding};
use crate::job::{PaymentsSource, hive_names_above, odd_columns, wide_decimal};

/// The columns of which polars has no type, of the first file with such.
pub(super) fn unreadable(files: &Files) -> Vec<Finding> {
    let of_file = |path: &Path| -> Vec<Finding> {
        let odd = odd_columns(path, files.format()).into_iter();
        let told = |(name, what): (Option<String>, String)| match name {
            Some(name) => findings::column_unreadable(&name, &what, path),
            None => findings::columns_unreadable(&what, path),
        };
        odd.map(told).collect()
    };
    files.paths.iter().map(|path| of_file(path)).find(|found| !found.is_empty()).unwrap_or_default()
}

/// The first `used` column whose type polars knows, but cannot read.
pub(super) fn too_wide(
    files: &Files,
    used: &[PlSmallStr],
    source: &PaymentsSource,
) -> Option<Finding> {
    let is_used = |name: &str| used.iter().any(|used| used == name);
    files.paths.iter().find_map(|path| {
        let name = wide_decimal(path, files.format(), is_used)?;
        let what = "a decimal of more than 38 digits";
        Some(findings::column_unreadable(&name, what, path).at(source.span.clone()))
    })
}

/// The columns as expressions see them: what has a dictionary is what its codes stand for.
pub(super) fn of_values(schema: &Schema) -> Schema {
    let value = |(name, dtype): (&PlSmallStr, &DataType)| {
        (name.clone(), decoded_type(dtype).unwrap_or_else(|| dtype.clone()))
    };
    schema.iter().map(value).collect()
}

/// An expression on the values of these columns. polars casts a text that has a dictionary to
/// numbers by its code, which follows from the rows before; and compares by it, too (Lemma 0).
pub(super) fn decoded(expr: Expr, schema: &Schema) -> Expr {
    expr.map_expr(|part| {
        let dtype = match &part {
            Expr::Column(name) => schema.get(name).and_then(decoded_type),
            _ => None,
        };
        if let Some(dtype) = dtype { part.cast(dtype) } else { part }
    })
}

/// The type without dictionaries, if it has any.
fn decoded_type(dtype: &DataType) -> Option<DataType> {
    match dtype {
        DataType::Categorical(..) | DataType::Enum(..) => Some(DataType::String),
        DataType::List(inner) => Some(DataType::List(decoded_type(inner)?.into())),
        DataType::Struct(fields) if fields.iter().any(|f| decoded_type(&f.dtype).is_some()) => {
            let field = |field: &Field| {
                let dtype = decoded_type(&field.dtype).unwrap_or_else(|| field.dtype.clone());
                Field::new(field.name.clone(), dtype)
            };
            Some(DataType::Struct(fields.iter().map(field).collect()))
        }
        _ => None,
    }
}

/// What is wrong with the columns of files other than the first, whose columns are `wanted`: the
/// first file whose `used` columns are others, and the first with currencies that nobody maps.
pub(super) fn differing(
    files: &Files,
    wanted: &Schema,
    used: &[PlSmallStr],
    source: &PaymentsSource,
) -> Vec<Finding> {
    for path in files.paths.iter().skip(1) {
        let schema = match files.schema(path, source) {
            Ok(schema) => schema,
            Err(cause) => return vec![super::unread::unreadable_file(path, &cause)],
        };
        let mut found: Vec<Finding> =
            unmapped_currency(source, &schema, Some(path)).into_iter().collect();
        let differs = |name: &&PlSmallStr| schema.get(name) != wanted.get(name);
        if let Some(name) = used.iter().find(differs) {
            let is_one_field = files.is_csv() && schema.len() == 1 && wanted.len() > 1;
            let (here, there) = (schema.get(name), wanted.get(name));
            let finding = match enums(here, there) {
                Some(same_texts) => findings::enums_differ(path, name, same_texts),
                None => {
                    let (here, there) = differing_types(here, there);
                    findings::schema_differs(path, name, &here, &there, is_one_field)
                }
            };
            found.push(finding.at(source.span.clone()));
        }
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}

/// The first `used` column that stands twice in a text file: polars would give the second another
/// name and read the first.
pub(super) fn twice(
    files: &Files,
    used: &[PlSmallStr],
    source: &PaymentsSource,
) -> Option<Finding> {
    if !files.is_csv() || !source.csv.header {
        return None;
    }
    files.paths.iter().find_map(|path| {
        let line = files.first_line(path, &source.csv).unwrap_or_default();
        let times = |name: &PlSmallStr| line.iter().filter(|field| *field == name.as_str()).count();
        let name = used.iter().find(|name| times(name) > 1)?;
        Some(findings::column_twice(name, path).at(source.span.clone()))
    })
}

/// The first `used` column that a folder above the job is called after. Whether files can see that
/// depends on how the job file is named.
pub(super) fn above(
    files: &Files,
    used: &[PlSmallStr],
    source: &PaymentsSource,
) -> Option<Finding> {
    let above = hive_names_above(&source.folder);
    let name = used.iter().find(|name| above.iter().any(|above| above == name.as_str()))?;
    let finding = findings::column_above(name).at(source.span.clone());
    (!files.is_csv()).then_some(finding)
}

/// The columns that a message may name.
///
/// Of a text file that has no header though the job says so, the first line is a record. A record
/// has a time, with three digits at least.
pub(super) fn nameable<'a>(
    files: &Files,
    schema: &'a Schema,
    source: &PaymentsSource,
) -> Columns<'a> {
    let names: Vec<&str> = schema.iter_names().map(PlSmallStr::as_str).collect();
    if files.is_without_header(source) {
        return Columns::Numbered;
    }
    if !files.is_csv() {
        return Columns::Named(names);
    }
    let is_name = |name: &&str| {
        let name = name.trim();
        let starts_well = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
        starts_well && name.chars().filter(|c| c.is_numeric()).count() < 3
    };
    match names.len() {
        1 => Columns::OneOfText(source.csv.separator.into()),
        _ if !names.iter().all(is_name) => Columns::PerhapsRecord,
        _ => Columns::Named(names),
    }
}

/// Are two types the same but for the texts that enums list? Tells whether the texts are the same,
/// too, and only their order is not.
///
/// No message names such a text: whoever wrote the file may have taken them from records.
fn enums(here: Option<&DataType>, there: Option<&DataType>) -> Option<bool> {
    match (here?, there?) {
        (DataType::Enum(here, _), DataType::Enum(there, _)) => {
            let [mut here, mut there] = [here, there].map(|of| {
                let texts = of.categories().values_iter();
                texts.map(str::to_owned).collect::<Vec<_>>()
            });
            here.sort_unstable();
            there.sort_unstable();
            Some(here == there)
        }
        // Within lists and fields.
        (here, there) => {
            let decoded = decoded_type(here)?;
            (Some(decoded) == decoded_type(there) && has_enum(here) && has_enum(there))
                .then_some(false)
        }
    }
}

fn has_enum(dtype: &DataType) -> bool {
    match dtype {
        DataType::Enum(..) => true,
        DataType::List(inner) => has_enum(inner),
        DataType::Struct(fields) => fields.iter().any(|field| has_enum(&field.dtype)),
        _ => false,
    }
}

/// Words for two types that tell them apart.
fn differing_types(here: Option<&DataType>, there: Option<&DataType>) -> (String, String) {
    let plain = |dtype: Option<&DataType>| dtype.map_or("missing".to_owned(), type_name);
    if plain(here) != plain(there) {
        return (plain(here), plain(there));
    }
    let exact = |dtype: Option<&DataType>| match dtype {
        Some(DataType::Datetime(unit, _)) => {
            let unit = match unit {
                TimeUnit::Nanoseconds => "nanoseconds",
                TimeUnit::Microseconds => "microseconds",
                TimeUnit::Milliseconds => "milliseconds",
            };
            format!("{} in {unit}", plain(dtype))
        }
        Some(other) => format!("{} ({other})", plain(dtype)),
        None => plain(dtype),
    };
    (exact(here), exact(there))
}

/// A column of currencies that the job does not map, of the file at `path` or of the first.
pub(super) fn unmapped_currency(
    source: &PaymentsSource,
    schema: &Schema,
    path: Option<&Path>,
) -> Option<Finding> {
    if source.currency.is_some() {
        return None;
    }
    let column = schema.iter_names().find(|name| {
        ["currency", "currency_code", "ccy"].contains(&name.to_ascii_lowercase().as_str())
    })?;
    Some(findings::currency_not_mapped(column, path).at(source.amount.span.clone()))
}
