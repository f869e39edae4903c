//! The two tables as Arrow columns and Parquet pages.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, DictionaryArray, Int64Array, PrimitiveArray, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::datatypes::{
    ArrowDictionaryKeyType, DataType, Field, Int32Type, Schema, SchemaRef, TimeUnit, UInt8Type,
};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowRowGroupWriterFactory, ArrowWriter, ArrowWriterOptions, compute_leaves,
};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::Result;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::TypePtr;

use super::market::{CATEGORIES, CHANNELS, INSTITUTIONS, REGIONS, WALLETS};
use super::merchants::{Merchants, merchant_id};
use super::visits::Visits;

/// Up to this many users a dictionary of tokens is smaller than the tokens themselves.
const TOKEN_DICTIONARY_MAX: u64 = 50_000;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// Turns visits into Parquet column chunks; shared by all threads.
pub(super) struct Encoder {
    schema: SchemaRef,
    root: TypePtr,
    properties: Arc<WriterProperties>,
    factory: ArrowRowGroupWriterFactory,
    merchant_ids: ArrayRef,
    currencies: ArrayRef,
    wallets: ArrayRef,
    institutions: ArrayRef,
    channels: ArrayRef,
    regions: ArrayRef,
}

/// One row group, encoded and compressed.
pub(super) struct RowGroup {
    pub(super) rows: u64,
    columns: Vec<ArrowColumnChunk>,
}

impl Encoder {
    /// An encoder for payments of so many users and merchants.
    pub(super) fn new(users: u64, merchants: usize) -> Result<Self> {
        let schema = payments_schema();
        let root = ArrowSchemaConverter::new().convert(&schema)?.root_schema_ptr();
        let properties = Arc::new(
            properties()
                .set_column_dictionary_enabled("user_token".into(), users <= TOKEN_DICTIONARY_MAX)
                .set_column_dictionary_enabled("paid_at".into(), false)
                .set_column_encoding("paid_at".into(), Encoding::DELTA_BINARY_PACKED)
                .build(),
        );
        // The factory keeps the schema and the properties, not the file.
        let nowhere =
            SerializedFileWriter::new(std::io::sink(), Arc::clone(&root), Arc::clone(&properties))?;
        let factory = ArrowRowGroupWriterFactory::new(&nowhere, Arc::clone(&schema));
        Ok(Encoder {
            schema,
            root,
            properties,
            factory,
            merchant_ids: strings((0..merchants).map(merchant_id)),
            currencies: strings(["CNY"]),
            wallets: strings(WALLETS.iter().map(|wallet| wallet.name)),
            institutions: strings((1..=INSTITUTIONS).map(|number| format!("BANK{number:03}"))),
            channels: strings(CHANNELS),
            regions: strings(REGIONS.iter().map(|region| region.code)),
        })
    }

    /// A new file of payments.
    pub(super) fn file<W: Write + Send>(&self, sink: W) -> Result<SerializedFileWriter<W>> {
        SerializedFileWriter::new(sink, Arc::clone(&self.root), Arc::clone(&self.properties))
    }

    /// Encodes and compresses; this is where most of the time goes.
    pub(super) fn encode(&self, visits: Visits) -> Result<RowGroup> {
        let rows = visits.user_token.len();
        let columns: [ArrayRef; 9] = [
            hex_strings(&visits.user_token),
            dictionary::<Int32Type>(visits.merchant, &self.merchant_ids),
            Arc::new(TimestampMicrosecondArray::from(visits.paid_at).with_timezone("UTC")),
            Arc::new(Int64Array::from(visits.amount_minor)),
            dictionary::<UInt8Type>(vec![0; rows], &self.currencies),
            dictionary::<UInt8Type>(visits.wallet, &self.wallets),
            dictionary::<UInt8Type>(visits.institution, &self.institutions),
            dictionary::<UInt8Type>(visits.channel, &self.channels),
            dictionary::<UInt8Type>(visits.terminal_region, &self.regions),
        ];
        let mut chunks = Vec::with_capacity(columns.len());
        let writers = self.factory.create_column_writers(0)?;
        for ((mut writer, column), field) in
            writers.into_iter().zip(&columns).zip(self.schema.fields())
        {
            for leaf in compute_leaves(field, column)? {
                writer.write(&leaf)?;
            }
            chunks.push(writer.close()?);
        }
        Ok(RowGroup { rows: rows as u64, columns: chunks })
    }
}

impl RowGroup {
    /// Appends the row group to a file.
    pub(super) fn write_to<W: Write + Send>(
        self,
        file: &mut SerializedFileWriter<W>,
    ) -> Result<()> {
        let mut group = file.next_row_group()?;
        for column in self.columns {
            column.append_to_row_group(&mut group)?;
        }
        group.close()?;
        Ok(())
    }
}

/// Writes the public registry, sorted by `merchant_id`.
pub(super) fn write_registry<W: Write + Send>(sink: W, merchants: &Merchants) -> Result<()> {
    let list = merchants.list();
    let category = |index: u8| &CATEGORIES[usize::from(index)];
    let columns = [
        ("merchant_id", strings((0..list.len()).map(merchant_id))),
        ("name", strings(list.iter().map(|merchant| merchant.name()))),
        ("category", strings(list.iter().map(|merchant| category(merchant.category).slug))),
        ("mcc", strings(list.iter().map(|merchant| category(merchant.category).mcc))),
        ("region", strings(list.iter().map(|m| REGIONS[usize::from(m.region)].code))),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, column)| (name, column, false)),
    )?;
    // Plain Parquet types only, so that readers do not see Arrow's.
    let options = ArrowWriterOptions::new()
        .with_properties(properties().build())
        .with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(sink, batch.schema(), options)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}

/// What both tables share.
fn properties() -> parquet::file::properties::WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Chunk)
}

/// The columns of payments, in their order.
fn payments_schema() -> SchemaRef {
    let words = |key: DataType| DataType::Dictionary(Box::new(key), Box::new(DataType::Utf8));
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let fields = [
        ("user_token", DataType::Utf8),
        ("merchant_id", words(DataType::Int32)),
        ("paid_at", time),
        ("amount", DataType::Int64),
        ("currency", words(DataType::UInt8)),
        ("wallet", words(DataType::UInt8)),
        ("institution", words(DataType::UInt8)),
        ("channel", words(DataType::UInt8)),
        ("terminal_region", words(DataType::UInt8)),
    ];
    let fields = fields.map(|(name, kind)| Field::new(name, kind, false));
    Arc::new(Schema::new(fields.to_vec()))
}

fn strings<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(words))
}

fn dictionary<K>(keys: Vec<K::Native>, words: &ArrayRef) -> ArrayRef
where
    K: ArrowPrimitiveType + ArrowDictionaryKeyType,
    PrimitiveArray<K>: From<Vec<K::Native>>,
{
    Arc::new(DictionaryArray::<K>::new(PrimitiveArray::from(keys), Arc::clone(words)))
}

/// Each token as 16 hex digits.
fn hex_strings(tokens: &[u64]) -> ArrayRef {
    let mut digits = Vec::with_capacity(tokens.len() * 16);
    for token in tokens {
        digits.extend((0..16).rev().map(|place| HEX[(token >> (4 * place)) as usize & 15]));
    }
    let offsets = OffsetBuffer::from_repeated_length(16, tokens.len());
    Arc::new(StringArray::new(offsets, Buffer::from_vec(digits), None))
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;

    use super::*;

    #[test]
    fn tokens_are_sixteen_hex_digits() {
        let array = hex_strings(&[0, u64::MAX, 0x0123_4567_89ab_cdef]);
        let words: Vec<_> = array.as_string::<i32>().iter().flatten().collect();
        assert_eq!(words, ["0000000000000000", "ffffffffffffffff", "0123456789abcdef"]);
    }
}
