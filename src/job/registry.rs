//! The public table of merchants.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use polars::prelude::{Column, DataFrame, DataType, IntoLazy, PolarsResult, SchemaRef, col};

use super::files::{is_compressed, odd_columns, scan};
use super::text::{LINE, Layout, LineFault, Marks, without_header};
use super::{Bands, CsvDialect, Format, Percent, StatisticKind};
use crate::findings::{self, Finding};

/// Public facts about merchants: their ids, and for each attribute one value a merchant.
#[derive(Clone, Debug)]
pub struct Registry {
    /// The file as the job names it.
    pub file: String,
    /// Ids, ascending; a merchant's code is its place here.
    pub ids: Vec<String>,
    /// Values by attribute, in the order of `ids`; only attributes that levels use.
    pub attributes: BTreeMap<String, Vec<String>>,
    /// The attribute by which tickets are alike; its values are in `attributes`.
    pub ticket_groups: Option<String>,
    /// Registered merchants that a cell has at least, as far as the job says.
    pub min_per_cell: Option<(u32, Range<usize>)>,
    /// When few merchants have too much of a cell for it to be shown; `None`: the job does not say.
    pub dominance: Option<Dominance>,
    /// In which bands cells are told that are hidden for their merchants; `None`: in none.
    pub bands: Option<Bands>,
    /// Place of `files` in the job file.
    pub span: Range<usize>,
    /// Names of all columns but the id, for messages.
    pub columns: Vec<String>,
}

/// Cells are hidden of which few merchants may have more than a share, by noised values.
#[derive(Clone, Debug)]
pub struct Dominance {
    /// How many merchants together.
    pub top: u32,
    /// What they may have of a cell at most, below 1.
    pub share: Percent,
    /// Of what: customers, payments, gross or sales.
    pub by: StatisticKind,
    /// Its place in the job file.
    pub span: Range<usize>,
}

impl Registry {
    /// The most values of the attribute by which tickets are alike.
    pub const TICKET_GROUPS_MAX: usize = 200;

    /// Opens the table and says which columns it has; reads no rows yet.
    ///
    /// # Errors
    /// Cannot be read, or lacks the column `id`.
    pub(super) fn columns(
        path: &Path,
        shown: &str,
        format: Format,
        id: &str,
    ) -> Result<Vec<String>, Finding> {
        let invalid = |why: &str| findings::registry_invalid(shown, why);
        if path.is_dir() {
            return Err(invalid("is a folder, and must be one file"));
        }
        if format == Format::Csv && is_compressed(path) {
            return Err(invalid("is compressed: unpack it, or write it as Parquet"));
        }
        if let Some((name, what)) = odd_columns(path, format).into_iter().next() {
            let name = name.map_or("a column".to_owned(), |name| format!("the column `{name}`"));
            let why = format!("has {name}, which is {what} and cannot be read: write it without");
            return Err(invalid(&why));
        }
        let schema = schema(path, format).map_err(|e| invalid(&format!("cannot be read: {e}")))?;
        let line = std::fs::File::open(path).ok().filter(|_| format == Format::Csv);
        let mut line =
            line.and_then(|file| CsvDialect::DEFAULT.first_line(file)).unwrap_or_default();
        line.sort();
        // polars would give the second another name and read the first.
        if let Some(twice) = line.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(invalid(&format!("has two columns `{}`", twice[0])));
        }
        let mut names: Vec<String> = schema.iter_names().map(ToString::to_string).collect();
        let Some(at) = names.iter().position(|name| name == id) else {
            return Err(invalid(&format!("has no column `{id}`, only: {}", names.join(", "))));
        };
        names.remove(at);
        Ok(names)
    }

    /// Reads the ids and the `attributes` that levels use.
    ///
    /// # Errors
    /// Cannot be read, has an empty value, or names a merchant twice.
    pub(super) fn read(
        path: &Path,
        shown: &str,
        format: Format,
        id: &str,
        columns: Vec<String>,
        attributes: &[String],
    ) -> Result<Registry, Finding> {
        let invalid = |why: &str| findings::registry_invalid(shown, why);
        let wanted = std::iter::once(id).chain(attributes.iter().map(String::as_str));
        let select: Vec<_> = wanted.map(|name| col(name).cast(DataType::String)).collect();
        let table = match format {
            Format::Csv => lines(path).map_err(|why| invalid(&why))?.lazy().select(select),
            _ => scan(&[path.to_owned()], format, &CsvDialect::DEFAULT, false)
                .map_err(|e| invalid(&format!("cannot be read: {e}")))?
                .select(select),
        };
        #[expect(clippy::disallowed_methods, reason = "a public table, not payments")]
        let table = table.collect().map_err(|e| invalid(&format!("cannot be read: {e}")))?;
        let table = table.lazy().sort([id], Default::default());
        #[expect(clippy::disallowed_methods, reason = "a public table, not payments")]
        let table = table.collect().map_err(|e| invalid(&format!("cannot be sorted: {e}")))?;

        let ids =
            texts(table.column(id).ok()).ok_or_else(|| invalid(&format!("has an empty `{id}`")))?;
        if ids.is_empty() {
            return Err(invalid("has no rows"));
        }
        if let Some(twice) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(invalid(&format!("names the merchant `{}` twice", twice[0])));
        }
        let mut values = BTreeMap::new();
        for name in attributes {
            let column = texts(table.column(name).ok())
                .ok_or_else(|| invalid(&format!("has an empty `{name}`")))?;
            values.insert(name.clone(), column);
        }
        let (file, ticket_groups) = (shown.to_owned(), None);
        Ok(Registry {
            file,
            ids,
            attributes: values,
            ticket_groups,
            columns,
            min_per_cell: None,
            dominance: None,
            bands: None,
            span: 0..0,
        })
    }
}

fn schema(path: &Path, format: Format) -> PolarsResult<SchemaRef> {
    scan(&[path.to_owned()], format, &CsvDialect::DEFAULT, false)?.collect_schema()
}

/// A whole text file, or what is wrong with it.
fn lines(path: &Path) -> Result<DataFrame, String> {
    let unread = |e: &dyn std::fmt::Display| format!("cannot be read: {e}");
    let mut bytes = std::fs::read(path).map_err(|e| unread(&e))?;
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    let schema = schema(path, Format::Csv).map_err(|e| unread(&e))?;
    let marks = Marks::of(&CsvDialect::DEFAULT);
    let mut records = marks.records(&bytes, true);
    without_header(&mut bytes, &mut records);
    let wanted = schema.iter_names().cloned().zip(0..).collect();
    let layout = Layout { width: Some(schema.len()), wanted };
    let table = marks.table(&bytes, &records, &layout).map_err(|e| unread(&e))?;
    let faults = table.column(LINE).and_then(Column::u8).map_err(|e| unread(&e))?;
    let fault = |(row, code): (usize, Option<u8>)| Some((row, LineFault::of(code?)?));
    let found = faults.iter().enumerate().find_map(fault);
    match found {
        Some((row, fault)) => {
            let what = match fault {
                LineFault::Quotes => "has a quote that is neither closed nor doubled",
                LineFault::Long => "has more fields than the first line",
                LineFault::NotText => "is not UTF-8",
            };
            Err(format!("cannot be read: record {} after the first line {what}", row + 1))
        }
        None => Ok(table),
    }
}

/// The column's texts, or `None` if one is missing or blank.
fn texts(column: Option<&Column>) -> Option<Vec<String>> {
    let texts = column?.str().ok()?;
    texts.iter().map(|text| text.filter(|t| !t.trim().is_empty()).map(str::to_owned)).collect()
}
