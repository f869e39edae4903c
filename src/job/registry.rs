//! The public table of merchants.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use polars::prelude::{
    Column, DataType, IntoLazy, LazyCsvReader, LazyFileListReader, LazyFrame, PlRefPath,
    ScanArgsParquet, UnifiedScanArgs, col,
};

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
        let schema = scan(path, format)
            .and_then(|mut table| table.collect_schema())
            .map_err(|e| invalid(&format!("cannot be read: {e}")))?;
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
        #[expect(clippy::disallowed_methods, reason = "a public table, not payments")]
        let table = scan(path, format)
            .and_then(|table| table.select(select).collect())
            .map_err(|e| invalid(&format!("cannot be read: {e}")))?;
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

fn scan(path: &Path, format: Format) -> polars::prelude::PolarsResult<LazyFrame> {
    let path = PlRefPath::new(path.to_string_lossy());
    match format {
        Format::Parquet => LazyFrame::scan_parquet(path, ScanArgsParquet::default()),
        Format::Ipc => LazyFrame::scan_ipc(path, Default::default(), UnifiedScanArgs::default()),
        Format::Csv => LazyCsvReader::new(path).with_infer_schema_length(Some(0)).finish(),
    }
}

/// The column's texts, or `None` if one is missing or blank.
fn texts(column: Option<&Column>) -> Option<Vec<String>> {
    let texts = column?.str().ok()?;
    texts.iter().map(|text| text.filter(|t| !t.trim().is_empty()).map(str::to_owned)).collect()
}
