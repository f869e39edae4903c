//! Merchants among others, from the job to a release that is verified.

use std::sync::Arc;

use arrow::array::{AsArray, DictionaryArray, Float64Array, StringArray};
use arrow::datatypes::{Float64Type, Int32Type};
use insta::assert_snapshot;
use polars::prelude::DataFrame;
use serde_json::{Value, json};

use crate::common::{Workshop, fitted, refused, sharp, shown};
use crate::report::data;
use crate::shared::table_of;
use crate::verify::{Copy, names, replaced};

const REPORT: &str = r#"
[[report]]
name      = "shops"
levels    = [["category", "month"], ["merchant", "month"]]
keys      = "public"
insights  = ["payments", "payments_concentration", "payments_rank", "payments_peer_benchmark"]
peers     = "category"
peers_min = 4
bounds    = { payments = "1" }
"#;

const ALL: &str = "[\"payments\", \"payments_concentration\", \"payments_rank\", \
                   \"payments_peer_benchmark\"]";

fn job(report: &str) -> String {
    fitted(sharp() + report)
}

/// Nine shops for food, of which the first has most, five for books, and two for fuel.
fn registry() -> DataFrame {
    let category = |n: usize| ["food", "books", "fuel"][usize::from(n > 8) + usize::from(n > 13)];
    polars::df!(
        "merchant_id" => (0..16).map(|n| format!("M{n:02}")).collect::<Vec<_>>(),
        "region" => (0..16).map(|n| ["north", "south"][n % 2]).collect::<Vec<_>>(),
        "category" => (0..16).map(category).collect::<Vec<_>>(),
    )
    .unwrap()
}

/// Of the nth shop 40 (n + 1) payments, and 4000 more of the first, each of a user of its own.
fn payments() -> DataFrame {
    let mut shops: Vec<usize> = (0..16).flat_map(|n| vec![n; 40 * (n + 1)]).collect();
    shops.extend(vec![0; 4000]);
    let count = shops.len();
    polars::df!(
        "user" => (0..count).map(|n| format!("u{n}")).collect::<Vec<_>>(),
        "merchant" => shops.iter().map(|n| format!("M{n:02}")).collect::<Vec<_>>(),
        "time" => (0..count as i64).map(|n| 1_735_704_000 + n % 700 * 3600).collect::<Vec<_>>(),
        "amount" => vec![1000i64; count],
        "wallet" => vec!["card"; count],
    )
    .unwrap()
}

fn released() -> Workshop {
    let workshop = Workshop::empty();
    workshop.parquet("merchants.parquet", registry());
    workshop.parquet("payments.parquet", payments());
    workshop.text("job.toml", &job(REPORT));
    let output = workshop.discretail(&["run", "job.toml"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
    workshop
}

/// A column of words in a table of the release; of none, `-`.
fn words(workshop: &Workshop, table: &str, column: &str) -> Vec<String> {
    let batch = table_of(workshop, "test", table);
    let values = batch.column_by_name(column).unwrap().as_dictionary::<Int32Type>().clone();
    let names = values.values().as_string::<i32>().clone();
    let text = |code: Option<i32>| code.map_or("-".to_owned(), |c| names.value(c as usize).into());
    values.keys().iter().map(text).collect()
}

#[test]
fn the_page_says_the_bands_of_the_tables() {
    let workshop = released();
    let page = std::fs::read_to_string(workshop.path("releases/test/report.html")).unwrap();
    let data = data(&page);
    let mut said = 0;
    for (file, insight) in [
        ("shops.category-month.parquet", "payments_concentration"),
        ("shops.merchant-month.parquet", "payments_rank"),
    ] {
        let tables = data["tables"].as_array().unwrap();
        let table = tables.iter().find(|table| table["file"] == file).unwrap();
        let columns = table["columns"].as_array().unwrap();
        let column = columns.iter().find(|column| column["name"] == insight).unwrap();
        for (row, word) in words(&workshop, file, &format!("{insight}_band")).iter().enumerate() {
            let code = column["band"][row].as_i64().unwrap();
            let text =
                column["bands"].get(code as usize).map_or("-", |text| text.as_str().unwrap());
            let unsure = word == "unsure" && text.starts_with("unsure, ") && text.contains(" to ");
            assert!(text == word || unsure, "{file} {row}: {text} and not {word}");
            said += usize::from(word != "-");
        }
    }
    assert!(said > 5, "{said}");
}

#[test]
fn merchants_are_compared_and_the_release_is_verified() {
    let workshop = released();
    let output = workshop.discretail(&["verify", "releases/test", "--ledger", "ledger.sqlite"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
    let texts = |table: &str, column: &str| words(&workshop, table, column).join(", ");
    let [cells, shops] = ["shops.category-month.parquet", "shops.merchant-month.parquet"];
    // Books, food, fuel: shares of nearly equal shops; one with more than half; two. The noise, of
    // less than one payment, is forty times smaller than what would change a band.
    assert_eq!(texts(cells, "payments_concentration_band"), "high, high, -");
    assert_eq!(texts(cells, "payments_concentration_suppressed"), "-, -, peers");
    let bands = texts(shops, "payments_rank_band");
    assert!(bands.starts_with("top 10 %, "), "{bands}");
    assert!(bands.ends_with(", -, -") && bands.contains("rest"), "{bands}");
    let manifest = std::fs::read(workshop.path("releases/test/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["key_sets"][0]["peers"], json!({"min": 4, "merchants_of": shops}));
    assert_eq!(manifest["key_sets"][1]["peers"], json!({"min": 4, "alike_in": ["category"]}));
}

#[test]
fn what_cannot_be_is_found() {
    let workshop = released();
    let failed = |copy: Copy| {
        let failed = copy.failed(None);
        format!("{}: {}", names(&failed), failed.into_values().collect::<Vec<_>>().join("; "))
    };
    let changed = |table: &str, column: &str, change: fn(f64) -> f64| {
        let copy = Copy::of(&workshop);
        copy.table(table, |batch| {
            let values = batch.column_by_name(column).unwrap().as_primitive::<Float64Type>();
            let changed = Float64Array::from_iter(values.iter().map(|x| x.map(change)));
            replaced(&batch, column, Arc::new(changed))
        });
        failed(copy)
    };
    let claim = |change: &dyn Fn(&mut Value)| {
        let copy = Copy::of(&workshop);
        copy.manifest(change);
        failed(copy)
    };
    let band = || {
        let copy = Copy::of(&workshop);
        copy.table("shops.category-month.parquet", |batch| {
            let column = batch.column_by_name("payments_concentration_band").unwrap();
            let column = column.as_dictionary::<Int32Type>();
            let keys = column.keys().iter().map(|key| key.map(|_| 0)).collect();
            let names = Arc::new(StringArray::from(vec!["low"]));
            let low = DictionaryArray::<Int32Type>::try_new(keys, names).unwrap();
            replaced(&batch, "payments_concentration_band", Arc::new(low))
        });
        failed(copy)
    };
    let shops = "shops.merchant-month.parquet";
    for (found, what) in [
        (
            band(),
            "lattice: `shops.category-month.parquet` row 1: `payments_concentration_band` is not",
        ),
        (
            changed(shops, "payments_rank_high", |x| x + 1.0),
            "`payments_rank` is beyond its first or last band",
        ),
        (
            changed(shops, "payments_peer_benchmark_p75", |_| 0.0),
            "`payments_peer_benchmark_p75` is below the quarter before it",
        ),
        (
            claim(&|m| m["key_sets"][1]["peers"] = Value::Null),
            "`payments_rank` is of merchants of whom the manifest says nothing",
        ),
        (
            claim(&|m| {
                m["key_sets"][0]["peers"]["merchants_of"] = json!("shops.category-month.parquet")
            }),
            "says that merchants are named by a table without them",
        ),
        (
            claim(&|m| m["key_sets"][1]["peers"]["min"] = json!(2)),
            "compares merchants with fewer than two others",
        ),
    ] {
        assert!(found.contains(what), "{what}: {found}");
    }
}

#[test]
fn jobs_that_cannot_compare_merchants_are_told_why() {
    let check = |from: &str, to: &str| {
        let workshop = Workshop::empty();
        workshop.parquet("merchants.parquet", registry());
        workshop.parquet("payments.parquet", payments());
        let text = job(REPORT);
        assert!(text.contains(from), "{from}");
        refused(&workshop, &text.replace(from, to))
    };
    let texts = [
        check("peers     = \"category\"\n", ""),
        check("peers     = \"category\"", "peers = [\"category\", \"town\"]"),
        check("peers_min = 4", "peers_min = 2"),
        check("peers_min = 4", "peers_min = 10"),
        check(
            "peers     = \"category\"\npeers_min = 4",
            "peers = [\"category\", \"region\"]\npeers_min = 6",
        ),
        check("[\"category\", \"month\"]", "[\"category\", \"week\"]"),
        check("keys      = \"public\"", "keys = \"private\""),
        check(", \"payments_rank\", \"payments_peer_benchmark\"", ""),
        check(ALL, "[\"payments_rank\"]"),
        check(ALL, "[\"payments_concentration\"]"),
    ];
    assert_snapshot!(texts.join("\n"));
}
