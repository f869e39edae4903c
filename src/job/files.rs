//! polars' view of files, of payments and of the table of merchants.

use std::io::Read;
use std::num::NonZeroUsize;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use polars::prelude::{
    ArrowDataType, ArrowSchema, CsvReadOptions, DataType, DslBuilder, ExtraColumnsPolicy,
    HiveOptions, IpcReader, IpcScanOptions, LazyFrame, MissingColumnsPolicy, ParquetOptions,
    ParquetReader, PlRefPath, PolarsResult, ScanSources, Schema, SchemaRef, SerReader, TimeZone,
    UnifiedScanArgs,
};

use super::{CsvDialect, Format};
use crate::caught::caught;

/// Files as one table, with the columns of the first.
///
/// `folders`: those such as `month=2025-01` give columns. These stay text: a type guessed from all
/// folders would let one user's folder rename everybody's keys.
pub(crate) fn scan(
    paths: &[PathBuf],
    format: Format,
    csv: &CsvDialect,
    folders: bool,
) -> PolarsResult<LazyFrame> {
    let hive = if folders && format != Format::Csv {
        let names = paths.iter().flat_map(|path| hive_names(path));
        let schema: Schema = names.map(|name| (name.into(), DataType::String)).collect();
        let schema = (!schema.is_empty()).then(|| SchemaRef::new(schema));
        HiveOptions { schema, try_parse_dates: false, ..HiveOptions::new_enabled() }
    } else {
        HiveOptions::new_disabled()
    };
    let paths = paths.iter().map(|path| PlRefPath::try_from_path(path));
    let sources = ScanSources::Paths(paths.collect::<PolarsResult<Vec<_>>>()?.into());
    // Columns that the job does not use may come and go: `payments::columns` looks at those that it
    // uses.
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
        // All columns are text, so that no amount passes through a float on its way. Only the names
        // are read so: rows are by `job::text`.
        Format::Csv => {
            let options = CsvReadOptions::default()
                .with_infer_schema_length(Some(0))
                .with_infer_schema_files(NonZeroUsize::MIN)
                .with_has_header(csv.header)
                .map_parse_options(|options| {
                    options.with_separator(csv.separator).with_quote_char(csv.quote)
                });
            DslBuilder::scan_csv(sources, options, args)
        }
    };
    Ok(table?.build().into())
}

/// The names of `name=value` in a file's folders.
pub(crate) fn hive_names(path: &Path) -> Vec<String> {
    let folders = path.parent().into_iter().flat_map(Path::components);
    folders.filter_map(hive_name).collect()
}

/// The names of `name=value` in the whole path of a folder.
pub(crate) fn hive_names_above(folder: &Path) -> Vec<String> {
    // The folder that no name stands for is the one we are in.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let whole = std::path::absolute(folder).unwrap_or_default();
    whole.components().filter_map(hive_name).collect()
}

/// As polars reads them.
fn hive_name(folder: Component) -> Option<String> {
    let (name, value) = folder.as_os_str().to_str()?.split_once('=')?;
    (!value.contains(['=', '*'])).then(|| name.to_owned())
}

/// Does a file start as those of gzip, zlib and zstd do? What cannot be read is told elsewhere.
pub(crate) fn is_compressed(path: &Path) -> bool {
    let mut start = [0; 4];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
    let known = [[0x1f, 0x8b], [0x78, 0x01], [0x78, 0x5e], [0x78, 0x9c], [0x78, 0xda]];
    read.is_ok() && (known.contains(&[start[0], start[1]]) || start == [0x28, 0xb5, 0x2f, 0xfd])
}

/// The columns that a file says it has, before polars takes them for its own; none of text. `None`:
/// there is a type that polars does not even have a name for.
fn arrow_schema(path: &Path, format: Format) -> Option<PolarsResult<Arc<ArrowSchema>>> {
    let schema = || {
        let file = std::fs::File::open(path)?;
        match format {
            Format::Parquet => ParquetReader::new(file).schema(),
            Format::Ipc => IpcReader::new(file).schema(),
            Format::Csv => Ok(Arc::default()),
        }
    };
    caught(schema)
}

/// The columns of which polars has no type, with words for it. It looks at all columns, used or
/// not, and would panic.
pub(crate) fn odd_columns(path: &Path, format: Format) -> Vec<(Option<String>, String)> {
    match arrow_schema(path, format) {
        None => vec![(None, "run-end encoded or a view of lists".to_owned())],
        // What cannot be read at all is told by whoever reads it.
        Some(Err(_)) => Vec::new(),
        Some(Ok(schema)) => {
            let odd = schema
                .iter_values()
                .filter_map(|field| Some((Some(field.name.to_string()), odd_type(&field.dtype)?)));
            odd.collect()
        }
    }
}

/// The first of these columns that polars cannot read rows of.
pub(crate) fn wide_decimal(
    path: &Path,
    format: Format,
    is_used: impl Fn(&str) -> bool,
) -> Option<String> {
    let schema = arrow_schema(path, format)?.ok()?;
    let is_wide = |dtype: &ArrowDataType| {
        matches!(dtype, ArrowDataType::Decimal256(..))
            || matches!(dtype, ArrowDataType::Decimal(precision, _) if *precision > 38)
    };
    let wide = schema.iter_values().find(|field| is_used(&field.name) && is_wide(&field.dtype))?;
    Some(wide.name.to_string())
}

/// The words for a type that polars does not have, anywhere in this one.
fn odd_type(dtype: &ArrowDataType) -> Option<String> {
    match dtype {
        ArrowDataType::Extension(extension) => Some(format!("the extension {}", extension.name)),
        ArrowDataType::Interval(_) => Some("an interval".to_owned()),
        ArrowDataType::Union(_) => Some("a union".to_owned()),
        ArrowDataType::Float16 => Some("a 16-bit float".to_owned()),
        ArrowDataType::UInt128 => Some("an unsigned 128-bit whole number".to_owned()),
        ArrowDataType::Unknown => Some("a type without a name".to_owned()),
        ArrowDataType::Timestamp(_, Some(zone)) => {
            let known = TimeZone::opt_try_new(Some(zone.clone())).is_ok();
            (!known).then(|| format!("a timestamp with the zone {zone}"))
        }
        ArrowDataType::List(field)
        | ArrowDataType::LargeList(field)
        | ArrowDataType::FixedSizeList(field, _)
        | ArrowDataType::Map(field, _) => odd_type(&field.dtype),
        ArrowDataType::Struct(fields) => fields.iter().find_map(|field| odd_type(&field.dtype)),
        ArrowDataType::Dictionary(_, values, _) => odd_type(values),
        _ => None,
    }
}
