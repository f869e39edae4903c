//! Levels that several reports ask for are measured, priced and chosen once, and shown in all.

use std::collections::BTreeMap;

use arrow::array::{Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::util::display::array_value_to_string;
use insta::assert_snapshot;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use crate::common::{JOB, Workshop, shown};
use crate::verify::{Copy, names, with_float};

const REPORTS: &str = r#"
[[report]]
name     = "market"
levels   = [[], ["region", "week"]]
keys     = "public"
insights = ["customers"]
bounds   = { customers = "3" }

[[report]]
name     = "counts"
levels   = [["week", "region"], ["wallet"]]
keys     = "public"
insights = ["customers", "payments"]
bounds   = { customers = "3", payments = "10" }

[[report]]
name      = "found"
levels    = [["merchant"]]
keys      = "private"
insights  = ["customers"]
bounds    = { customers = "2" }

[[report]]
name      = "merchants"
levels    = [["merchant"]]
keys      = "private"
insights  = ["customers", "sales"]
bounds    = { customers = "2", sales = "300" }
"#;

fn released() -> Workshop {
    let workshop = Workshop::new();
    let (head, _) = JOB.split_once("[[report]]").unwrap();
    workshop.text("job.toml", &format!("{head}{REPORTS}"));
    let output = workshop.discretail(&["run", "job.toml"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
    workshop
}

/// A table of the release.
pub(crate) fn table(workshop: &Workshop, name: &str) -> RecordBatch {
    table_of(workshop, "test", name)
}

pub(crate) fn table_of(workshop: &Workshop, job: &str, name: &str) -> RecordBatch {
    let file = std::fs::File::open(workshop.path(&format!("releases/{job}/{name}"))).unwrap();
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let schema = builder.schema().clone();
    let batches: Vec<RecordBatch> = builder.build().unwrap().map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

/// The texts of `columns` by those of `keys`.
fn by_key(batch: &RecordBatch, keys: [&str; 2]) -> BTreeMap<[String; 2], Vec<String>> {
    let text = |name: &str, row| array_value_to_string(batch.column_by_name(name).unwrap(), row);
    let columns = ["", "_low", "_high", "_grade", "_unbiased", "_sd"];
    let row = |row: usize| {
        let values = columns.map(|suffix| text(&format!("customers{suffix}"), row).unwrap());
        (keys.map(|key| text(key, row).unwrap()), values.to_vec())
    };
    (0..batch.num_rows()).map(row).collect()
}

#[test]
fn two_reports_show_the_same_values_for_one_price() {
    let workshop = released();
    let plan = workshop.discretail(&["plan", "job.toml"]);
    assert_snapshot!(shown(&workshop, &plan));
    let (one, other) = (
        table(&workshop, "market.region-week.parquet"),
        table(&workshop, "counts.week-region.parquet"),
    );
    let keys = ["region", "week"];
    assert_eq!(by_key(&one, keys), by_key(&other, keys));
    // Each in the order of its own keys.
    let weeks = other.column_by_name("week").unwrap().clone();
    let week = |row| array_value_to_string(&weeks, row).unwrap();
    assert!((1..weeks.len()).all(|row| week(row - 1) <= week(row)));
    assert_eq!(one.column(0).len(), weeks.len());

    let bytes = std::fs::read(workshop.path("releases/test/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&bytes).unwrap();
    let events = manifest["mechanisms"].as_array().unwrap();
    let named = |event: &Value| format!("{} {}", event["file"], event["statistic"]);
    let found: Vec<String> = events.iter().map(named).map(|name| name.replace('"', "")).collect();
    assert_eq!(
        found,
        [
            "market.all.parquet customers",
            "market.region-week.parquet customers",
            "market.region-week.parquet payments",
            "counts.wallet.parquet customers",
            "counts.wallet.parquet payments",
            "found.merchant.parquet customers",
            "found.merchant.parquet sales",
        ]
    );
    let output = workshop.discretail(&["verify", "releases/test", "--ledger", "ledger.sqlite"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
}

#[test]
fn what_is_shared_must_be_the_same() {
    let workshop = released();
    let failed = |change: &dyn Fn(&Copy)| {
        let copy = Copy::of(&workshop);
        change(&copy);
        copy.failed(None)
    };
    // As if noise had been drawn twice for the price of one.
    let twice = failed(&|copy| {
        copy.table("counts.week-region.parquet", |batch| {
            with_float(&batch, "customers_unbiased", |x| x + 1.0)
        });
    });
    assert_eq!(names(&twice), "lattice", "{twice:?}");
    assert!(twice["lattice"].contains("has not the values of `market.region-week.parquet`"));

    let values_of = |place: usize, value: Value| {
        failed(&move |copy| {
            copy.manifest(|manifest| manifest["key_sets"][place]["values_of"] = value.clone());
        })
    };
    // The table of the second place shows values of the third.
    let none = values_of(2, Value::Null);
    assert_eq!(names(&none), "manifest schema", "{none:?}");
    let others = values_of(2, json!("market.all.parquet"));
    assert!(others["manifest"].contains("whose cells are others"), "{others:?}");
    let own = values_of(3, json!("market.region-week.parquet"));
    assert!(own["manifest"].contains("whose cells are others"), "{own:?}");
    let chain = values_of(2, json!("counts.week-region.parquet"));
    assert!(chain["manifest"].contains("which has none of its own"), "{chain:?}");
    // Private keys chosen once are charged once, and not for nothing.
    let apart = values_of(5, Value::Null);
    assert!(apart["manifest"].contains("no mechanism"), "{apart:?}");
}
