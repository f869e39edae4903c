//! Parquet: one table for each level.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, DictionaryArray, Float64Array, Int32Array, RecordBatch,
    StringArray, StringDictionaryBuilder, UInt8Array,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, compute_leaves};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue as FooterEntry;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use crate::estimate::{Column, Estimate, Grade, Interval, Reason, Slices, Table, Values};
use crate::job::{Bands, Key};
use crate::parallel;
use crate::plan::{BAND_SUFFIX, CellKey, KeyValue, Plan, TablePlan, VALUE_SUFFIXES};

/// Version of the tables' schema, in the footer; documented in `docs/schema.md`.
const SCHEMA_VERSION: &str = "3";

/// Slices of one row group: few enough to be held while all their columns are written.
const ROW_GROUP: usize = 16;

/// Slices that are made at the same time: they take several times what becomes of them.
const SLICES_AT_ONCE: usize = 8;

/// Digits of money columns.
const MONEY_PRECISION: u8 = 27;

/// Writes one table, on some threads; `guarantee` goes into the footer.
pub(super) fn write(
    plan: &Plan,
    shown: &TablePlan,
    slices: &Slices,
    guarantee: &str,
    threads: usize,
    file: impl Write + Send,
) -> std::io::Result<()> {
    let batch = |place| batch(plan, shown, &slices.get(place));
    let first = batch(0).map_err(std::io::Error::other)?;
    let footer = [("discretail.schema", SCHEMA_VERSION), ("discretail.guarantee", guarantee)];
    let footer = footer.map(|(key, value)| FooterEntry::new(key.to_owned(), value.to_owned()));
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by(concat!("discretail ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_key_value_metadata(Some(footer.to_vec()))
        // What a column says, it says itself; the footer adds nothing.
        .set_statistics_enabled(EnabledStatistics::None)
        // Noised values seldom repeat.
        .set_dictionary_enabled(false)
        .build();
    let writer = ArrowWriter::try_new(file, first.schema(), Some(properties))?;
    let (mut writer, columns) = writer.into_serialized_writer()?;
    if first.num_rows() > 0 {
        for (group, start) in (0..slices.count()).step_by(ROW_GROUP).enumerate() {
            let places = start..slices.count().min(start + ROW_GROUP);
            let batches: Result<Vec<RecordBatch>, ArrowError> =
                parallel::map(places, threads.min(SLICES_AT_ONCE), batch).into_iter().collect();
            let batches = batches.map_err(std::io::Error::other)?;
            let columns = columns.create_column_writers(group)?;
            let chunks =
                parallel::map(columns.into_iter().enumerate(), threads, |(place, writer)| {
                    chunk(&batches, place, writer)
                });
            let mut group = writer.next_row_group()?;
            for chunk in chunks {
                chunk?.append_to_row_group(&mut group)?;
            }
            group.close()?;
        }
    }
    writer.close()?;
    Ok(())
}

/// One column of a row group.
fn chunk(
    batches: &[RecordBatch],
    place: usize,
    mut writer: ArrowColumnWriter,
) -> parquet::errors::Result<ArrowColumnChunk> {
    for batch in batches {
        for leaf in compute_leaves(batch.schema_ref().field(place), batch.column(place))? {
            writer.write(&leaf)?;
        }
    }
    writer.close()
}

fn batch(plan: &Plan, shown: &TablePlan, table: &Table) -> Result<RecordBatch, ArrowError> {
    let mut columns: Vec<(Field, ArrayRef)> = Vec::new();
    let keys = shown.keys.iter().enumerate();
    // The file's name tells that of a partition.
    for (place, key) in keys.filter(|(place, _)| shown.partition != Some(*place)) {
        let array = key_column(key, &table.keys, place)?;
        columns.push((Field::new(key.name(), array.data_type().clone(), false), array));
    }
    for column in &table.columns {
        columns.extend(value_columns(plan, shown, column)?);
    }
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
}

/// The column of the key at `place`; its type follows from the key, never from the values.
fn key_column(key: &Key, keys: &[CellKey], place: usize) -> Result<ArrayRef, ArrowError> {
    let values = keys.iter().map(|key| &key[place]);
    Ok(match key {
        Key::Time(time) if !time.has_periods() => {
            Arc::new(UInt8Array::from_iter(values.map(|value| match value {
                KeyValue::Number(number) => Some(*number),
                _ => None,
            })))
        }
        Key::Time(_) => Arc::new(Date32Array::from_iter(values.map(|value| match value {
            KeyValue::Date(date) => Some(date.to_epoch_days()),
            _ => None,
        }))),
        Key::Merchant
        | Key::MerchantAttribute(_)
        | Key::Home(_)
        | Key::With(_)
        | Key::Column(_)
        | Key::Currency => {
            let mut builder = StringDictionaryBuilder::<Int32Type>::new();
            for value in values {
                match value {
                    KeyValue::Text(text) => builder.append_value(text),
                    _ => builder.append_null(),
                }
            }
            Arc::new(builder.finish())
        }
    })
}

/// An insight's columns: the estimate, the ends of its interval, its grade, why it is not shown;
/// then the noised value and the standard deviation of its noise.
fn value_columns(
    plan: &Plan,
    shown: &TablePlan,
    column: &Column,
) -> Result<Vec<(Field, ArrayRef)>, ArrowError> {
    let hidden = reasons(&column.suppressed);
    let grades = grades((0..column.suppressed.len()).map(|row| column.values.grade(row)));
    let arrays: [ArrayRef; 7] = match &column.values {
        Values::Counts(values) | Values::Positions(values) => {
            let floats = |pick: fn(&Estimate<Count>) -> Count| -> ArrayRef {
                Arc::new(Float64Array::from_iter(values.iter().map(pick)))
            };
            [
                floats(|e| e.interval.value),
                floats(|e| e.interval.low),
                floats(|e| e.interval.high),
                grades,
                hidden,
                floats(|e| e.unbiased),
                floats(|e| e.sd),
            ]
        }
        Values::Money(values) => {
            let places = plan.job.payments.money_places() as i8;
            let money = |pick: fn(&Estimate<Money>) -> Money| -> Result<ArrayRef, ArrowError> {
                let array = Decimal128Array::from_iter(values.iter().map(pick));
                Ok(Arc::new(array.with_precision_and_scale(MONEY_PRECISION, places)?))
            };
            [
                money(|e| e.interval.value)?,
                money(|e| e.interval.low)?,
                money(|e| e.interval.high)?,
                grades,
                hidden,
                money(|e| e.unbiased)?,
                money(|e| e.sd)?,
            ]
        }
    };
    let field = |(suffix, array): (&str, ArrayRef)| {
        let (name, data_type) = (format!("{}{suffix}", column.name), array.data_type().clone());
        let nullable = match suffix {
            "_grade" => false,
            "_unbiased" | "_sd" => shown.may_hide || column.insight.is_ratio(),
            _ => true,
        };
        let money = matches!(data_type, DataType::Decimal128(..));
        let field = Field::new(name, data_type, nullable);
        let field = if money { with_currency(field, plan) } else { field };
        (field, array)
    };
    let columns = VALUE_SUFFIXES.into_iter().zip(arrays).map(field);
    Ok(columns.chain(band_column(column)).chain(told_column(plan, column)).collect())
}

/// In which band the whole interval is, or that it is in several; null where nothing is shown.
fn band_column(column: &Column) -> Option<(Field, ArrayRef)> {
    let bands = column.insight.bands()?;
    let (Values::Counts(values) | Values::Positions(values)) = &column.values else { return None };
    let band_of = |end: f64| bands.iter().position(|(last, _)| end <= *last);
    let code = |estimate: &Estimate<Count>| {
        let Interval { low, high, .. } = estimate.interval;
        let (low, high) = (band_of(low?)?, band_of(high?)?);
        Some(if low == high { low } else { bands.len() } as i32)
    };
    let codes: Int32Array = values.iter().map(code).collect();
    let names = bands.iter().map(|(_, name)| *name).chain([UNSURE]);
    let names = Arc::new(StringArray::from_iter_values(names));
    let why = "cannot fail because bands are places in the list of all";
    let array: ArrayRef = Arc::new(DictionaryArray::<Int32Type>::try_new(codes, names).expect(why));
    let name = format!("{}{BAND_SUFFIX}", column.name);
    Some((Field::new(name, array.data_type().clone(), true), array))
}

/// The bands in which cells are told that are hidden for their merchants. A dictionary that holds
/// all that there can be.
fn told_column(plan: &Plan, column: &Column) -> Option<(Field, ArrayRef)> {
    let (told, kind) = (column.bands.as_ref()?, column.insight.banded()?);
    let edges = plan.job.registry.as_ref()?.bands.as_ref()?.edges.get(&kind)?;
    let places = if kind.is_money() { plan.job.payments.money_places() } else { 0 };
    let runs: Vec<_> = Bands::runs(edges).collect();
    let code = |run| runs.iter().position(|own| *own == run).map(|place| place as i32);
    let codes: Int32Array = told.iter().map(|told| told.and_then(code)).collect();
    let names = runs.iter().map(|&run| Bands::name(edges, run, places));
    let names = Arc::new(StringArray::from_iter_values(names));
    let why = "cannot fail because bands are places in the list of all";
    let array: ArrayRef = Arc::new(DictionaryArray::<Int32Type>::try_new(codes, names).expect(why));
    let name = format!("{}{BAND_SUFFIX}", column.name);
    Some((Field::new(name, array.data_type().clone(), true), array))
}

/// The band of what may be in several.
const UNSURE: &str = "unsure";

type Count = Option<f64>;
type Money = Option<i128>;

fn with_currency(field: Field, plan: &Plan) -> Field {
    let codes: Vec<&str> = plan.job.payments.currencies.iter().map(|c| c.code()).collect();
    field.with_metadata(HashMap::from([("currency".to_owned(), codes.join(","))]))
}

/// Grades as a dictionary that holds all of them, whichever occur.
fn grades(grades: impl Iterator<Item = Grade>) -> ArrayRef {
    let codes: Int32Array = grades.map(|grade| grade as i32).collect::<Vec<i32>>().into();
    let names = StringArray::from_iter_values(Grade::ALL.map(Grade::name));
    let why = "cannot fail because grades are places in the list of all";
    Arc::new(DictionaryArray::<Int32Type>::try_new(codes, Arc::new(names)).expect(why))
}

/// Why estimates are not shown, null where they are; a dictionary that holds all reasons.
fn reasons(reasons: &[Option<Reason>]) -> ArrayRef {
    let codes: Int32Array =
        reasons.iter().map(|reason| reason.map(|reason| reason as i32)).collect();
    let names = StringArray::from_iter_values(Reason::ALL.map(Reason::name));
    let why = "cannot fail because reasons are places in the list of all";
    Arc::new(DictionaryArray::<Int32Type>::try_new(codes, Arc::new(names)).expect(why))
}
