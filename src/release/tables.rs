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
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue as FooterEntry;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use crate::estimate::{Column, Estimate, Grade, Interval, Reason, Table, Values};
use crate::job::{Key, TimeKey};
use crate::plan::{BAND_SUFFIX, CellKey, KeyValue, Plan, TablePlan, VALUE_SUFFIXES};

/// Version of the tables' schema, in the footer; documented in `docs/schema.md`.
const SCHEMA_VERSION: &str = "3";

/// Rows of one row group: few enough to be held while all their columns are written.
const ROW_GROUP: usize = 1 << 15;

/// Digits of money columns.
const MONEY_PRECISION: u8 = 27;

/// Writes one table, slice after slice; `guarantee` goes into the footer.
pub(super) fn write(
    plan: &Plan,
    shown: &TablePlan,
    mut slices: impl Iterator<Item = Table>,
    guarantee: &str,
    file: impl Write + Send,
) -> std::io::Result<()> {
    let batch = |table: &Table| batch(plan, shown, table).map_err(std::io::Error::other);
    let first = slices.next().expect("cannot fail because an empty table is a slice too");
    let first = batch(&first)?;
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
        .set_max_row_group_row_count(Some(ROW_GROUP))
        .build();
    let mut writer = ArrowWriter::try_new(file, first.schema(), Some(properties))?;
    writer.write(&first)?;
    for table in slices {
        writer.write(&batch(&table)?)?;
    }
    writer.close()?;
    Ok(())
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
        Key::Time(TimeKey::Weekday | TimeKey::Hour) => {
            Arc::new(UInt8Array::from_iter(values.map(|value| match value {
                KeyValue::Number(number) => Some(*number),
                _ => None,
            })))
        }
        Key::Time(_) => Arc::new(Date32Array::from_iter(values.map(|value| match value {
            KeyValue::Date(date) => Some(date.to_epoch_days()),
            _ => None,
        }))),
        Key::Merchant | Key::MerchantAttribute(_) | Key::Column(_) | Key::Currency => {
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

/// An insight's columns: the estimate, the ends of its interval, its grade, why it is not shown; then the
/// noised value and the standard deviation of its noise.
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
    Ok(columns.chain(band_column(column)).collect())
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
