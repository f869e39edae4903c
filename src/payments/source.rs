//! Which files there are, and polars' view of them.

use std::io::Read;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::reader::{FileReader, SerializedFileReader};
use polars::prelude::{
    ArrowSchema, CsvReadOptions, DataType, DslBuilder, ExtraColumnsPolicy, HiveOptions, IpcReader,
    IpcScanOptions, LazyFrame, MissingColumnsPolicy, ParquetOptions, ParquetReader, PlRefPath,
    PlSmallStr, PolarsResult, ScanSources, Schema, SchemaRef, SerReader, UnifiedScanArgs,
};

use super::find::{each_once, expand};
use crate::findings::{self, Finding};
use crate::job::{CsvDialect, Format, PaymentsSource};

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

    /// The columns of one file, and those that its folders give.
    pub(super) fn schema(&self, path: &Path, source: &PaymentsSource) -> PolarsResult<SchemaRef> {
        self.scan_one(path, &source.csv)?.collect_schema()
    }

    /// The columns that a file says it has, before polars takes them for its own; none of text.
    pub(super) fn arrow_schema(&self, path: &Path) -> PolarsResult<Arc<ArrowSchema>> {
        let file = std::fs::File::open(path)?;
        match self.format {
            Format::Parquet => ParquetReader::new(file).schema(),
            Format::Ipc => IpcReader::new(file).schema(),
            Format::Csv => Ok(Arc::default()),
        }
    }

    /// The fields of a text file's first line, which may be a record.
    pub(super) fn first_line(&self, path: &Path, csv: &CsvDialect) -> Option<Vec<String>> {
        csv.first_line(std::fs::File::open(path).ok()?)
    }

    /// Are they text?
    pub(super) fn is_csv(&self) -> bool {
        self.format == Format::Csv
    }

    /// All files as one table, with the columns of the first.
    pub(super) fn scan(&self, csv: &CsvDialect) -> PolarsResult<LazyFrame> {
        scan(&self.paths, self.format, csv)
    }

    /// The same, where other files may have columns that the job does not use.
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
        scan(&paths, self.format, &source.csv)
    }

    /// One file, to find the one that differs.
    pub(super) fn scan_one(&self, path: &Path, csv: &CsvDialect) -> PolarsResult<LazyFrame> {
        scan(std::slice::from_ref(&path.to_owned()), self.format, csv)
    }
}

/// Does a file start as those of gzip, zlib and zstd do? What cannot be read is told elsewhere.
fn is_compressed(path: &Path) -> bool {
    let mut start = [0; 4];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
    let known = [[0x1f, 0x8b], [0x78, 0x01], [0x78, 0x5e], [0x78, 0x9c], [0x78, 0xda]];
    read.is_ok() && (known.contains(&[start[0], start[1]]) || start == [0x28, 0xb5, 0x2f, 0xfd])
}

fn scan(paths: &[PathBuf], format: Format, csv: &CsvDialect) -> PolarsResult<LazyFrame> {
    // Folders such as `month=2025-01` give columns. They stay text: a type guessed from all
    // folders would let one user's folder rename everybody's keys.
    let names = paths.iter().flat_map(|path| hive_names(path));
    let schema: Schema = names.map(|name| (name.into(), DataType::String)).collect();
    let schema = (!schema.is_empty()).then(|| SchemaRef::new(schema));
    let hive = HiveOptions { schema, try_parse_dates: false, ..HiveOptions::new_enabled() };
    let paths = paths.iter().map(|path| PlRefPath::try_from_path(path));
    let sources = ScanSources::Paths(paths.collect::<PolarsResult<Vec<_>>>()?.into());
    // Columns that the job does not use may come and go: `columns` looks at those that it uses.
    let args = UnifiedScanArgs {
        hive_options: hive,
        glob: false,
        missing_columns_policy: MissingColumnsPolicy::Insert,
        extra_columns_policy: ExtraColumnsPolicy::Ignore,
        ..Default::default()
    };
    // Which rows are read follows from the rows, not from what a file says of them elsewhere
    // (Lemma 0). The rest of that is in `job::sql`.
    let table = match format {
        Format::Parquet => {
            let options = ParquetOptions { use_statistics: false, ..Default::default() };
            DslBuilder::scan_parquet(sources, options, args)
        }
        Format::Ipc => {
            let options = IpcScanOptions { record_batch_statistics: false, ..Default::default() };
            DslBuilder::scan_ipc(sources, options, args)
        }
        // All columns are text, so that no amount passes through a float on its way.
        Format::Csv => {
            let options = CsvReadOptions::default()
                .with_infer_schema_length(Some(0))
                .with_infer_schema_files(NonZeroUsize::MIN)
                .with_has_header(csv.header)
                .map_parse_options(|options| {
                    options.with_separator(csv.separator).with_quote_char(csv.quote)
                });
            let args = UnifiedScanArgs { hive_options: HiveOptions::new_disabled(), ..args };
            DslBuilder::scan_csv(sources, options, args)
        }
    };
    Ok(table?.build().into())
}

/// The names of `name=value` in a file's folders.
pub(super) fn hive_names(path: &Path) -> Vec<String> {
    let folders = path.parent().into_iter().flat_map(Path::components);
    let name = |folder: std::path::Component| {
        let (name, _) = folder.as_os_str().to_str()?.split_once('=')?;
        Some(name.to_owned())
    };
    folders.filter_map(name).collect()
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
