//! Files whose columns differ, or cannot be read: unused ones do not matter, others are named.

use std::fs::File;
use std::sync::Arc;

use arrow::array::{ArrayRef, IntervalDayTimeArray, ListArray, RecordBatch, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, IntervalDayTime, Schema};
use insta::assert_snapshot;
use parquet::arrow::ArrowWriter;
use polars::prelude::{DataFrame, FrozenCategories, IntoColumn, NamedFrom, Series, TimeUnit};

use crate::bad_input::refused;
use crate::common::{JOB, Workshop, command, payments, registry, shown};
use crate::sources::{
    SHANGHAI, base, ipc, job_with, majors, rows, text, times, totals, with as with_column,
};

/// The first and the second half of the rows.
fn halves() -> [DataFrame; 2] {
    [rows().head(Some(500)), rows().slice(500, 700)]
}

fn with(table: &DataFrame, column: Series) -> DataFrame {
    let mut table = table.clone();
    with_column(&mut table, column);
    table
}

fn two(first: &str, second: &str) -> String {
    JOB.replace("\"payments.parquet\"", &format!("\"{first}\", \"{second}\""))
}

#[test]
fn unused_columns_may_differ() {
    let base = base();
    let [first, second] = halves();
    let text = with(&first, Series::new("note".into(), vec!["a"; 500]));
    let number = with(&second, Series::new("note".into(), vec![1i64; 700]));
    let turned = second.select(["amount", "wallet", "time", "merchant", "user"]).unwrap();
    for (name, first, second) in [
        ("further in the second", &first, &number),
        ("further in the first", &text, &second),
        ("another type", &text, &number),
        ("another order", &first, &turned),
    ] {
        let workshop = Workshop::new();
        workshop.parquet("a.parquet", first.clone());
        workshop.parquet("b.parquet", second.clone());
        assert!(totals(&workshop, &two("a.parquet", "b.parquet")) == base, "Parquet, {name}");
        ipc(&workshop.path("a.arrow"), first.clone());
        ipc(&workshop.path("b.arrow"), second.clone());
        assert!(totals(&workshop, &two("a.arrow", "b.arrow")) == base, "IPC, {name}");
    }
}

/// No message names a text that an enum lists, as whoever wrote it may have taken it from records.
#[test]
fn enums_that_list_other_texts_are_told() {
    let [first, second] = halves();
    let listed = |table: &DataFrame, texts: &[&str]| {
        let list = FrozenCategories::new(texts.iter().copied()).unwrap();
        let dtype = polars::prelude::DataType::from_frozen_categories(list);
        let wallets = table.column("wallet").unwrap().as_materialized_series();
        with(table, wallets.cast(&dtype).unwrap())
    };
    let base = base();
    let wallets = ["alipay", "apple_pay", "card"];
    let a = listed(&first, &wallets);
    let mut texts = String::new();
    for (second, is_same) in [
        (listed(&second, &wallets), true),
        (listed(&second, &["card", "apple_pay", "alipay"]), false),
        (listed(&second, &["alipay", "apple_pay", "card", "cash"]), false),
        (second.clone(), false),
    ] {
        let workshop = Workshop::new();
        workshop.parquet("a.parquet", a.clone());
        workshop.parquet("b.parquet", second.clone());
        ipc(&workshop.path("a.arrow"), a.clone());
        ipc(&workshop.path("b.arrow"), second);
        for ending in ["parquet", "arrow"] {
            let job = two(&format!("a.{ending}"), &format!("b.{ending}"));
            if is_same {
                assert!(totals(&workshop, &job) == base, "{ending}");
            } else {
                texts += &refused(&workshop, &job);
            }
        }
    }
    assert!(!texts.contains("cash"), "{texts}");
    assert_snapshot!(texts);
}

/// Columns of some rows as lines of text, with a header.
fn csv(table: &DataFrame, columns: &[&str], separator: &str) -> String {
    let column = |name: &&str| match *name {
        "time" => times(table, SHANGHAI, "%Y-%m-%d %H:%M:%S"),
        "amount" => majors(table, '.'),
        "note" | "Note" => vec!["12".to_owned(); table.height()],
        name => text(table, name),
    };
    let values: Vec<Vec<String>> = columns.iter().map(column).collect();
    let mut lines = columns.join(separator) + "\n";
    for row in 0..table.height() {
        let fields: Vec<&str> = values.iter().map(|values| values[row].as_str()).collect();
        lines += &(fields.join(separator) + "\n");
    }
    lines
}

const ALL: [&str; 5] = ["user", "merchant", "time", "amount", "wallet"];

fn csv_job(lines: &str) -> String {
    job_with(&format!("{lines}\ntime_format = \"%Y-%m-%d %H:%M:%S\""))
        .replace("\"payments.parquet\"", "\"a.csv\", \"b.csv\"")
}

#[test]
fn columns_of_text_files_are_found_by_name() {
    let base = base();
    let [first, second] = halves();
    let turned = ["amount", "wallet", "time", "merchant", "user"];
    let more = ["user", "note", "merchant", "time", "amount", "wallet", "Note"];
    for (one, other) in [(&ALL[..], &turned[..]), (&ALL, &more), (&more, &turned)] {
        let workshop = Workshop::new();
        workshop.text("a.csv", &csv(&first, one, ","));
        workshop.text("b.csv", &csv(&second, other, ","));
        assert!(totals(&workshop, &csv_job("")) == base, "{one:?}, {other:?}");
    }
}

#[test]
fn text_files_that_differ_in_a_used_column_are_named() {
    let [first, second] = halves();
    let whole = csv(&second, &ALL, ",");
    let headless = whole.split_once('\n').unwrap().1;
    let workshop = Workshop::new();
    workshop.text("a.csv", &csv(&first, &ALL, ","));
    let mut texts = String::new();
    for (name, other) in [
        ("without amounts", csv(&second, &["user", "merchant", "time", "wallet"], ",")),
        ("another separator", csv(&second, &ALL, ";")),
        ("no header", headless.to_owned()),
        (
            "two of one name",
            csv(&second, &["user", "merchant", "time", "amount", "amount", "wallet"], ","),
        ),
        ("currencies", whole.replacen("wallet", "wallet,ccy", 1)),
    ] {
        workshop.text("b.csv", &other);
        texts += &format!("=== {name}\n{}", refused(&workshop, &csv_job("")));
    }
    assert!(!texts.contains("u2"), "a record is quoted");
    assert_snapshot!(texts);
}

/// Also where the first line is a record, as the file has no header.
#[test]
fn columns_that_text_files_lack_are_told_and_no_record() {
    let table = rows();
    let whole = csv(&table, &ALL, ",");
    let headless = whole.split_once('\n').unwrap().1;
    let workshop = Workshop::new();
    workshop.text("b.csv", "user\n");
    let mut texts = String::new();
    for (name, first, lines) in [
        ("another name", whole.replacen("wallet", "walet", 1), ""),
        ("another separator", csv(&table, &ALL, ";"), ""),
        ("no header", headless.to_owned(), ""),
        ("no header, as stated", headless.to_owned(), "csv = { header = false }"),
    ] {
        workshop.text("a.csv", &first);
        texts += &format!("=== {name}\n{}", refused(&workshop, &csv_job(lines)));
    }
    for user in text(&table, "user") {
        assert!(!texts.contains(&user), "a record is quoted");
    }
    assert_snapshot!(texts);
}

#[test]
fn every_file_is_looked_at_for_currencies() {
    let [first, second] = halves();
    let euro = with(&second, Series::new("currency".into(), vec!["EUR"; 700]));
    let workshop = Workshop::new();
    workshop.parquet("a.parquet", first.clone());
    workshop.parquet("b.parquet", euro.clone());
    ipc(&workshop.path("a.arrow"), first);
    ipc(&workshop.path("b.arrow"), euro);
    let mut texts = String::new();
    for (a, b) in [("a.parquet", "b.parquet"), ("a.arrow", "b.arrow")] {
        texts += &refused(&workshop, &two(a, b));
    }
    assert_snapshot!(texts);
}

#[test]
fn units_of_timestamps_are_told_apart() {
    let [first, second] = halves();
    let stamped = |table: &DataFrame, unit| {
        let ticks = table.column("time").unwrap().i64().unwrap() * 1_000;
        with(table, ticks.into_datetime(unit, None).into_column().take_materialized_series())
    };
    let workshop = Workshop::new();
    workshop.parquet("a.parquet", stamped(&first, TimeUnit::Microseconds));
    workshop.parquet("b.parquet", stamped(&second, TimeUnit::Nanoseconds));
    assert_snapshot!(refused(&workshop, &two("a.parquet", "b.parquet")));
}

/// The common payments with one column more, written by the arrow crate.
fn arrow_file(workshop: &Workshop, field: Field, column: ArrayRef) {
    let texts = |name: &str| -> ArrayRef { Arc::new(StringArray::from(text(&payments(), name))) };
    let mut fields: Vec<Field> =
        ["user", "merchant", "wallet"].map(|name| Field::new(name, DataType::Utf8, true)).into();
    let mut columns: Vec<ArrayRef> = ["user", "merchant", "wallet"].map(texts).into();
    for name in ["time", "amount"] {
        fields.push(Field::new(name, DataType::Utf8, true));
        let table = payments();
        let numbers = table.column(name).unwrap().i64().unwrap().into_no_null_iter();
        columns.push(Arc::new(StringArray::from_iter_values(numbers.map(|n| n.to_string()))));
    }
    fields.push(field);
    columns.push(column);
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
    let file = File::create(workshop.path("payments.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, schema, None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// polars would panic.
#[test]
fn columns_that_cannot_be_read_are_named_even_if_no_one_uses_them() {
    let uuids: ArrayRef = Arc::new(StringArray::from(vec!["{}"; 1200]));
    let json = Field::new("note", DataType::Utf8, true)
        .with_metadata([("ARROW:extension:name".to_owned(), "arrow.json".to_owned())].into());
    let items = Field::new("item", DataType::Utf8, true).with_metadata(json.metadata().clone());
    let lists = ListArray::new(
        Arc::new(items),
        OffsetBuffer::from_lengths(vec![1; 1200]),
        uuids.clone(),
        None,
    );
    let spans = IntervalDayTimeArray::from(vec![IntervalDayTime::new(1, 0); 1200]);
    let mut texts = String::new();
    for (field, column) in [
        (json, uuids),
        (
            Field::new("notes", arrow::array::Array::data_type(&lists).clone(), true),
            Arc::new(lists),
        ),
        (Field::new("span", arrow::array::Array::data_type(&spans).clone(), true), Arc::new(spans)),
    ] as [(Field, ArrayRef); 3]
    {
        let workshop = Workshop::new();
        arrow_file(&workshop, field, column);
        texts += &refused(&workshop, JOB);
    }
    assert_snapshot!(texts);
}

/// polars has no name for the first, and cannot read rows of the second.
#[test]
fn ipc_files_with_columns_that_cannot_be_read_are_named() {
    let mut texts = String::new();
    for bytes in [
        &include_bytes!("files/run_end_encoded.arrow")[..],
        include_bytes!("files/wide_decimal.arrow"),
    ] {
        let workshop = Workshop::new();
        let file = File::create(workshop.path("payments.arrow")).unwrap();
        std::io::Write::write_all(&mut &file, bytes).unwrap();
        texts += &refused(&workshop, &JOB.replace("payments.parquet", "payments.arrow"));
    }
    assert_snapshot!(texts);
}

/// Else the numbers would be others where the job is called by its whole path.
#[test]
fn columns_are_no_folders_above_the_job() {
    let workshop = Workshop::new();
    workshop.parquet("wallet=card/payments.parquet", rows());
    workshop.parquet("wallet=card/merchants.parquet", registry());
    workshop.text("wallet=card/job.toml", JOB);
    let folder = workshop.path("wallet=card");
    let whole = folder.join("job.toml").display().to_string();
    let texts =
        [(&folder, "job.toml"), (&workshop.folder.path().to_owned(), &whole)].map(|(at, job)| {
            let output = command(at).args(["run", job]).output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{}", shown(&workshop, &output));
            shown(&workshop, &output)
        });
    assert!(texts.iter().all(|text| text.contains("error[column-twice]")), "{texts:?}");
    assert_snapshot!(texts[0]);
}

/// A part of the payments would be in no folder of the others' kind.
#[test]
fn folders_give_all_files_the_same_columns() {
    let workshop = Workshop::new();
    workshop.parquet("all/wallet=card/a.parquet", rows());
    workshop.parquet("all/wallet=card/day=1/b.parquet", rows());
    assert_snapshot!(refused(&workshop, &JOB.replace("payments.parquet", "all")));
}

/// Bytes that are no text, such as those of UUIDs, are no damage.
#[test]
fn bytes_are_text_if_the_job_says_so() {
    let users = text(&rows(), "user");
    let bytes: Vec<&[u8]> = users.iter().map(String::as_bytes).collect();
    let workshop = Workshop::new();
    workshop.parquet("payments.parquet", with(&rows(), Series::new("user".into(), bytes)));
    let cast = JOB.replace("user = \"user\"", "user = 'CAST(\"user\" AS VARCHAR)'");
    assert!(totals(&workshop, &cast) == base());
    let mut texts = refused(&workshop, JOB);
    let odd: Vec<&[u8]> = vec![b"\xff\xfe"; users.len()];
    workshop.parquet("payments.parquet", with(&rows(), Series::new("user".into(), odd)));
    workshop.text("job.toml", &cast);
    let output = workshop.discretail(&["run", "job.toml"]);
    assert!(!workshop.path("releases").exists());
    texts += &shown(&workshop, &output);
    assert_snapshot!(texts);
}

#[test]
fn compressed_text_is_told_from_text_with_a_header() {
    let workshop = Workshop::new();
    // The first bytes of gzip, zlib and zstd.
    let starts: [&[u8]; 3] = [b"\x1f\x8b\x08\x00rest", b"\x78\x9crest", b"\x28\xb5\x2f\xfdrest"];
    let mut texts = String::new();
    for (start, name) in starts.into_iter().zip(["a.csv.gz", "a.csv", "a.csv.zst"]) {
        let file = File::create(workshop.path(name)).unwrap();
        std::io::Write::write_all(&mut &file, start).unwrap();
        for line in ["", "format = \"csv\""] {
            let job = job_with(line).replace("payments.parquet", name);
            texts += &refused(&workshop, &job);
        }
    }
    assert_snapshot!(texts);
}
