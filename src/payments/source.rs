//! Which files there are, and polars' view of them.

use std::path::{Path, PathBuf};

use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::reader::{FileReader, SerializedFileReader};
use polars::prelude::{DataType, LazyFrame, PlSmallStr, PolarsResult, SchemaRef};

use super::find::{each_once, expand};
use super::unread::unreadable_file;
use crate::findings::{self, Finding};
use crate::job::{CsvDialect, Format, Layout, PaymentsSource, hive_names, is_compressed, scan};

/// The files of a job, all of one format, in a fixed order.
pub(super) struct Files {
    pub(super) paths: Vec<PathBuf>,
    pub(super) bytes: u64,
    format: Format,
    /// Size and time of last change of each of `paths`, when they were found.
    states: Vec<State>,
}

/// A row group of a Parquet file.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowGroup {
    pub(super) rows: u64,
    /// What the columns that are read take in memory, at most: of every row a text's view or a
    /// decimal, and the pages that texts stay in.
    pub(super) bytes: u64,
}

impl RowGroup {
    /// `None` if the file says odd numbers.
    fn new(group: &RowGroupMetaData, columns: &[PlSmallStr]) -> Option<RowGroup> {
        let rows = u64::try_from(group.num_rows()).ok()?;
        let read = group.columns().iter().filter(|column| {
            let path = column.column_path().parts();
            columns.iter().any(|name| path.first().is_some_and(|part| part == name.as_str()))
        });
        let bytes = |column: &ColumnChunkMetaData| {
            let pages = u64::try_from(column.uncompressed_size()).ok()?;
            rows.checked_mul(VALUE_BYTES)?.checked_add(pages)
        };
        Some(RowGroup { rows, bytes: read.map(bytes).sum::<Option<u64>>()? })
    }
}

/// Bytes of a text's view, or of a decimal.
const VALUE_BYTES: u64 = 16;

/// Size and time of last change.
type State = (u64, Option<std::time::SystemTime>);

impl Files {
    /// Expands the job's patterns and folders.
    pub(super) fn find(source: &PaymentsSource) -> Result<Files, Vec<Finding>> {
        let mut findings = Vec::new();
        let mut paths = Vec::new();
        for pattern in &source.patterns {
            match expand(pattern, source.format) {
                Ok(found) => paths.extend(found),
                Err(finding) => findings.push(finding),
            }
        }
        each_once(&mut paths);
        let mut states = Vec::new();
        for path in &paths {
            match std::fs::File::open(path).and_then(|file| file.metadata()) {
                Ok(meta) if meta.len() == 0 => findings.push(findings::file_empty(path)),
                Ok(meta) => states.push((meta.len(), meta.modified().ok())),
                Err(_) if path.is_symlink() && !path.exists() => {
                    let cause = "it is a link to something that is not there";
                    findings.push(findings::file_unreadable(path, &cause));
                }
                Err(e) => findings.push(findings::file_unreadable(path, &e)),
            }
        }
        let mut format = source.format;
        for path in &paths {
            let this = source.format.or_else(|| Format::of(path));
            match (format, this) {
                (_, None | Some(Format::Csv)) if is_compressed(path) => {
                    findings.push(findings::file_compressed(path));
                }
                (_, None) => findings.push(findings::format_unclear(path)),
                (Some(first), Some(this)) if first != this => {
                    findings.push(findings::formats_mixed(path));
                }
                _ => format = this,
            }
        }
        match format {
            Some(format) if findings.is_empty() => {
                let bytes = states.iter().map(|(bytes, _)| bytes).sum();
                if let Some(path) = other_folders(&paths).filter(|_| format != Format::Csv) {
                    return Err(vec![findings::folders_differ(path).at(source.span.clone())]);
                }
                Ok(Files { paths, bytes, format, states })
            }
            _ => Err(findings.into_iter().map(|f| f.at(source.span.clone())).collect()),
        }
    }

    /// The first file that is not what it was when it was found.
    pub(super) fn changed(&self) -> Option<Finding> {
        let differs = |(path, state): &(&PathBuf, &State)| {
            let now = std::fs::metadata(path).map(|meta| (meta.len(), meta.modified().ok()));
            now.ok().as_ref() != Some(*state)
        };
        let (path, _) = self.paths.iter().zip(&self.states).find(differs)?;
        Some(findings::file_changed(path))
    }

    /// The row groups of each file, with what `columns` take; `None` if the files are not Parquet.
    pub(super) fn row_groups(&self, columns: &[PlSmallStr]) -> Option<Vec<Vec<RowGroup>>> {
        if self.format != Format::Parquet {
            return None;
        }
        let file = |path: &PathBuf| {
            let reader = SerializedFileReader::new(std::fs::File::open(path).ok()?).ok()?;
            let groups = reader.metadata().row_groups().iter();
            groups.map(|group| RowGroup::new(group, columns)).collect()
        };
        self.paths.iter().map(file).collect()
    }

    /// The columns of all files, if they have those of the first.
    pub(super) fn all_columns(&self, source: &PaymentsSource) -> PolarsResult<SchemaRef> {
        match self.numbered(source) {
            Some(schema) => Ok(schema),
            None => scan(&self.paths, self.format, &source.csv, true)?.collect_schema(),
        }
    }

    /// The columns of one file, and those that its folders give.
    pub(super) fn schema(&self, path: &Path, source: &PaymentsSource) -> PolarsResult<SchemaRef> {
        match self.numbered(source) {
            Some(schema) => Ok(schema),
            None => self.scan_one(path, &source.csv)?.collect_schema(),
        }
    }

    /// One file, to find the one that differs.
    pub(super) fn scan_one(&self, path: &Path, csv: &CsvDialect) -> PolarsResult<LazyFrame> {
        scan(std::slice::from_ref(&path.to_owned()), self.format, csv, true)
    }

    /// The columns of text without a header: those that the job names. Its first line is a record,
    /// which must not decide on others (Lemma 0).
    fn numbered(&self, source: &PaymentsSource) -> Option<SchemaRef> {
        let text = |(name, _): (String, usize)| (name.into(), DataType::String);
        let named = self.is_without_header(source).then(|| source.numbered_columns())?;
        Some(SchemaRef::new(named.into_iter().map(text).collect()))
    }

    /// Are they text whose first line is a record?
    pub(super) fn is_without_header(&self, source: &PaymentsSource) -> bool {
        self.is_csv() && !source.csv.header
    }

    /// How the files are written.
    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// Where `used` columns stand in each text file.
    pub(super) fn layouts(
        &self,
        used: &[PlSmallStr],
        source: &PaymentsSource,
    ) -> Result<Vec<Layout>, Finding> {
        if self.is_without_header(source) {
            let named = source.numbered_columns().into_iter().map(|(name, at)| (name.into(), at));
            let wanted: Vec<(PlSmallStr, usize)> =
                named.filter(|(name, _)| used.contains(name)).collect();
            let layout = |_| Layout { width: None, wanted: wanted.clone() };
            return Ok(self.paths.iter().map(layout).collect());
        }
        let layout = |path: &PathBuf| {
            let schema = self.schema(path, source).map_err(|e| unreadable_file(path, &e))?;
            let used = schema.iter_names().enumerate().filter(|(_, name)| used.contains(name));
            let wanted = used.map(|(at, name)| (name.clone(), at)).collect();
            Ok(Layout { width: Some(schema.len()), wanted })
        };
        self.paths.iter().map(layout).collect()
    }

    /// The fields of a text file's first line, which may be a record.
    pub(super) fn first_line(&self, path: &Path, csv: &CsvDialect) -> Option<Vec<String>> {
        csv.first_line(std::fs::File::open(path).ok()?)
    }

    /// Are they text?
    pub(super) fn is_csv(&self) -> bool {
        self.format == Format::Csv
    }

    /// All files as one table, where some may have columns that the job does not use.
    ///
    /// Of text and IPC files polars takes these only if it leaves out some of the first file it
    /// sees: that is one that has some, if there is any.
    pub(super) fn scan_used(
        &self,
        used: &[PlSmallStr],
        source: &PaymentsSource,
    ) -> PolarsResult<LazyFrame> {
        let has_others = |path: &PathBuf| {
            let schema = self.schema(path, source);
            schema.is_ok_and(|schema| schema.iter_names().any(|name| !used.contains(name)))
        };
        let mut paths = self.paths.clone();
        if self.format != Format::Parquet
            && let Some(at) = paths.iter().position(has_others)
        {
            paths.swap(0, at);
        }
        scan(&paths, self.format, &source.csv, true)
    }
}

/// The first file whose folders give other columns than those of the first file.
fn other_folders(paths: &[PathBuf]) -> Option<&Path> {
    let names = |path: &Path| {
        let mut names = hive_names(path);
        names.sort();
        names
    };
    let first = names(paths.first()?);
    paths.iter().map(PathBuf::as_path).find(|path| names(path) != first)
}

/// What a message calls a type.
pub(super) fn type_name(dtype: &DataType) -> String {
    let name = match dtype {
        DataType::Null => "empty in every row",
        DataType::Boolean => "true or false",
        DataType::String => "text",
        DataType::Binary => "bytes",
        DataType::Float16 => "a 16-bit float",
        DataType::Float32 => "a 32-bit float",
        DataType::Float64 => "a 64-bit float",
        DataType::Date => "a date",
        DataType::Time => "a time of day",
        DataType::Datetime(_, None) => "a timestamp without a zone",
        DataType::Datetime(_, Some(zone)) => return format!("a timestamp with the zone {zone}"),
        DataType::Duration(_) => "a duration",
        DataType::Enum(..) => "an enum",
        DataType::Categorical(..) => "text with a dictionary",
        DataType::List(_) => "a list",
        DataType::Decimal(precision, scale) => return format!("a decimal({precision}, {scale})"),
        other => {
            let name = format!("{other}");
            return match (name.strip_prefix('i'), name.strip_prefix('u')) {
                (Some(bits), _) if other.is_integer() => format!("a {bits}-bit whole number"),
                (_, Some(bits)) if other.is_integer() => {
                    format!("an unsigned {bits}-bit whole number")
                }
                _ => format!("a nested or odd type ({name})"),
            };
        }
    };
    name.to_owned()
}
