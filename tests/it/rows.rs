//! Rows stand alone (Lemma 0), whatever a file says of itself.

use std::fs::File;
use std::path::Path;

use arrow::array::{ArrayRef, DictionaryArray, RecordBatch, StringArray};
use arrow::datatypes::Int32Type;
use parquet::arrow::ArrowWriter;
use parquet::basic::Type;
use parquet::column::writer::ColumnCloseResult;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::statistics::Statistics;
use parquet::file::writer::SerializedFileWriter;
use polars::prelude::{DataFrame, IntoColumn, IpcWriter, NamedFrom, SerWriter, Series};
use polars::series::IsSorted;

use crate::common::{JOB, Workshop, payments};
use crate::sources::{rows, text, totals};

/// The common payments with a score of each, in no order.
fn scored() -> DataFrame {
    let mut table = payments();
    let scores: Vec<i64> = (0..table.height() as i64).map(|i| i * 7 % 11).collect();
    table.with_column(Series::new("score".into(), scores).into_column()).unwrap();
    table
}

/// Writes the file at `path` anew, of which column `score` is said to be in order and all 200.
fn lie(path: &Path, descending: bool) {
    let from = File::open(path).unwrap();
    let reader = SerializedFileReader::new(from.try_clone().unwrap()).unwrap();
    let meta = reader.metadata();
    let schema = meta.file_metadata().schema_descr().root_schema_ptr();
    let columns = meta.file_metadata().schema_descr().columns();
    let score = columns.iter().position(|column| column.name() == "score").unwrap();
    let order = SortingColumn { column_idx: score as i32, descending, nulls_first: false };
    let properties = WriterProperties::builder()
        .set_sorting_columns(Some(vec![order]))
        .set_key_value_metadata(meta.file_metadata().key_value_metadata().cloned())
        .build();
    let lies = path.with_extension("lies");
    let file = File::create(&lies).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, properties.into()).unwrap();
    for group in meta.row_groups() {
        let mut to = writer.next_row_group().unwrap();
        for column in group.columns() {
            let mut metadata = column.clone();
            if metadata.column_descr().name() == "score" {
                assert_eq!(metadata.column_type(), Type::INT64);
                let all_200 = Statistics::int64(Some(200), Some(200), None, Some(0), false);
                metadata = metadata.into_builder().set_statistics(all_200).build().unwrap();
            }
            let close = ColumnCloseResult {
                bytes_written: column.compressed_size() as u64,
                rows_written: group.num_rows() as u64,
                metadata,
                bloom_filter: None,
                column_index: None,
                offset_index: None,
            };
            to.append_column(&from, close).unwrap();
        }
        to.close().unwrap();
    }
    writer.close().unwrap();
    std::fs::rename(lies, path).unwrap();
    let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    let group = reader.metadata().row_group(0);
    assert!(group.sorting_columns().is_some() && group.column(score).statistics().is_some());
}

/// Jobs whose cells, and whose choice of rows, hang on the score.
fn jobs() -> [String; 3] {
    let by_score = "wallet = \"CASE WHEN score > 5 THEN 'card' WHEN score <= 2 THEN 'alipay' ELSE wallet END\"";
    let chosen = |rule: &str| JOB.replace("[payments]", &format!("[payments]\nwhere = \"{rule}\""));
    [
        JOB.replace("wallet = \"wallet\"", by_score),
        chosen("score < 6 AND score <> 3"),
        chosen("score BETWEEN 3 AND 8"),
    ]
}

/// Else one payment more could move where polars looks, and so other users' payments.
#[test]
fn what_a_file_says_of_its_order_and_extremes_is_not_believed() {
    for job in jobs() {
        let workshop = Workshop::new();
        workshop.parquet("payments.parquet", scored());
        let honest = totals(&workshop, &job);
        for descending in [false, true] {
            lie(&workshop.path("payments.parquet"), descending);
            assert!(totals(&workshop, &job) == honest, "Parquet, {descending}: {job}");
        }
        let mut table = scored();
        let mut score = table.column("score").unwrap().as_materialized_series().clone();
        score.set_sorted_flag(IsSorted::Ascending);
        table.with_column(score.into_column()).unwrap();
        let file = File::create(workshop.path("payments.arrow")).unwrap();
        let mut writer = IpcWriter::new(file).with_record_batch_statistics(true);
        writer.finish(&mut table).unwrap();
        let job = job.replace("payments.parquet", "payments.arrow");
        assert!(totals(&workshop, &job) == honest, "IPC: {job}");
    }
}

/// The first text that a file has would be 0, the next one 1: a payment more at the beginning would
/// change all others.
#[test]
fn texts_with_a_dictionary_are_their_texts() {
    let table = rows();
    let texts = |name: &str| match name {
        "user" | "merchant" | "wallet" => text(&table, name),
        _ => {
            let numbers = table.column(name).unwrap().i64().unwrap().into_no_null_iter();
            numbers.map(|number| number.to_string()).collect()
        }
    };
    let names = ["user", "merchant", "time", "amount", "wallet"];
    let write = |workshop: &Workshop, array: &dyn Fn(Vec<String>) -> ArrayRef| {
        let columns = names.map(|name| (name, array(texts(name))));
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let file = File::create(workshop.path("payments.parquet")).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    };
    let (plain, coded) = (Workshop::new(), Workshop::new());
    write(&plain, &|texts| std::sync::Arc::new(StringArray::from(texts)));
    write(&coded, &|texts| {
        let codes: DictionaryArray<Int32Type> = texts.iter().map(String::as_str).collect();
        std::sync::Arc::new(codes)
    });
    let job = JOB
        .replace("amount = \"amount\"", "amount = \"CAST(amount AS BIGINT)\"")
        .replace("time = \"time\"", "time = \"to_timestamp(CAST(time AS BIGINT))\"")
        .replace(
            "[payments]",
            "[payments]\nwhere = \"CAST(amount AS BIGINT) > 700 AND wallet > 'b'\"",
        );
    assert!(job.matches("CAST").count() == 3, "{job}");
    assert!(totals(&plain, &job) == totals(&coded, &job));
}
