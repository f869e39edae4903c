//! Parquet: one table for each level.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Float64Array, RecordBatch, StringDictionaryBuilder,
    UInt8Array,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue as FooterEntry;
use parquet::file::properties::WriterProperties;

use crate::estimate::{Column, Interval, Table, Values};
use crate::job::{Insight, Key, TimeKey};
use crate::plan::{CellKey, KeyValue, LevelPlan, Plan};

/// Version of the tables' schema, in the footer; documented in `docs/schema.md`.
const SCHEMA_VERSION: &str = "1";

/// Rows of one row group: few enough to be held while all their columns are written.
const ROW_GROUP: usize = 1 << 17;

/// Digits of money columns.
const MONEY_PRECISION: u8 = 27;

/// Writes one table, slice after slice; `guarantee` goes into the footer.
pub(super) fn write(
    plan: &Plan,
    level: &LevelPlan,
    mut slices: impl Iterator<Item = Table>,
    guarantee: &str,
    file: impl Write + Send,
) -> std::io::Result<()> {
    let batch = |table: &Table| batch(plan, level, table).map_err(std::io::Error::other);
    let first = slices.next().expect("cannot fail because an empty table is a slice too");
    let first = batch(&first)?;
    let footer = [("discretail.schema", SCHEMA_VERSION), ("discretail.guarantee", guarantee)];
    let footer = footer.map(|(key, value)| FooterEntry::new(key.to_owned(), value.to_owned()));
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by(concat!("discretail ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_key_value_metadata(Some(footer.to_vec()))
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

fn batch(plan: &Plan, level: &LevelPlan, table: &Table) -> Result<RecordBatch, ArrowError> {
    let mut columns: Vec<(Field, ArrayRef)> = Vec::new();
    for (place, key) in level.keys.iter().enumerate() {
        let array = key_column(key, &table.keys, place)?;
        columns.push((Field::new(key.name(), array.data_type().clone(), false), array));
    }
    for column in &table.columns {
        columns.extend(interval_columns(plan, column)?);
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

/// The estimate and the two ends of its interval.
fn interval_columns(plan: &Plan, column: &Column) -> Result<Vec<(Field, ArrayRef)>, ArrowError> {
    let name = &column.name;
    let names = [name.clone(), format!("{name}_low"), format!("{name}_high")];
    let arrays: [ArrayRef; 3] = match &column.values {
        Values::Counts(values) => {
            let column = |pick: fn(&Interval<f64>) -> f64| -> ArrayRef {
                Arc::new(Float64Array::from_iter_values(values.iter().map(pick)))
            };
            [column(|i| i.value), column(|i| i.low), column(|i| i.high)]
        }
        Values::Money(values) => {
            let places = plan.job.payments.money_places() as i8;
            let column = |pick: fn(&Interval<i128>) -> i128| -> Result<ArrayRef, ArrowError> {
                let values = values.iter().map(|value| value.as_ref().map(pick));
                let array = Decimal128Array::from_iter(values);
                Ok(Arc::new(array.with_precision_and_scale(MONEY_PRECISION, places)?))
            };
            [column(|i| i.value)?, column(|i| i.low)?, column(|i| i.high)?]
        }
    };
    let nullable = column.insight == Insight::AverageTicket;
    let field = |(name, array): (String, &ArrayRef)| {
        let field = Field::new(name, array.data_type().clone(), nullable);
        match array.data_type() {
            DataType::Decimal128(..) => {
                let codes: Vec<&str> =
                    plan.job.payments.currencies.iter().map(|c| c.code()).collect();
                let metadata = HashMap::from([("currency".to_owned(), codes.join(","))]);
                field.with_metadata(metadata)
            }
            _ => field,
        }
    };
    let fields: Vec<Field> = names.into_iter().zip(&arrays).map(field).collect();
    Ok(fields.into_iter().zip(arrays).collect())
}
