//! Pairs of categories and their lifts, from the job to a release that is verified.

use std::sync::Arc;

use arrow::array::{AsArray, DictionaryArray, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{Float64Type, Int32Type};
use insta::assert_snapshot;
use polars::prelude::DataFrame;
use serde_json::{Value, json};

use crate::common::{Workshop, fitted, paid_in_turn, sharp, shown};
use crate::shared::table;
use crate::verify::{Copy, names, replaced};

const REPORT: &str = r#"
[[report]]
name     = "basket"
levels   = [[], ["category"], ["category", "with_category"]]
keys     = "public"
insights = ["customers", "lift", "payments"]
suppress_above = "never"
"#;

fn job(report: &str) -> String {
    fitted(sharp().replace("[merchants]\n", "[merchants]\nmin_per_cell = 1\n") + report)
}

/// Of 4,000 users a quarter pay for food and fuel, a quarter for food and books, half for books
/// alone.
fn payments() -> DataFrame {
    let pay = |user: usize| match user % 4 {
        0 => vec![(user, "M1"), (user, "M2"), (user, "M2")],
        1 => vec![(user, "M3"), (user, "NULL")],
        _ => vec![(user, "NULL")],
    };
    paid_in_turn((0..4000).flat_map(pay))
}

fn released() -> Workshop {
    let workshop = Workshop::new();
    workshop.parquet("payments.parquet", payments());
    workshop.text("job.toml", &job(REPORT));
    workshop.release();
    workshop
}

fn texts(batch: &RecordBatch, name: &str) -> Vec<String> {
    let texts: &DictionaryArray<Int32Type> = batch.column_by_name(name).unwrap().as_dictionary();
    let texts = texts.downcast_dict::<StringArray>().unwrap();
    texts.into_iter().map(|text| text.unwrap().to_owned()).collect()
}

fn numbers(batch: &RecordBatch, name: &str) -> Vec<Option<f64>> {
    batch.column_by_name(name).unwrap().as_primitive::<Float64Type>().iter().collect()
}

const PAIRS: &str = "basket.category-with_category.parquet";

#[test]
fn pairs_are_released_and_verified() {
    let workshop = released();
    let batch = table(&workshop, PAIRS);
    let pairs: Vec<String> = texts(&batch, "category")
        .into_iter()
        .zip(texts(&batch, "with_category"))
        .map(|(one, other)| format!("{one} with {other}"))
        .collect();
    assert_eq!(pairs, ["books with food", "books with fuel", "food with fuel"]);
    let near = |name: &str, expected: [f64; 3], within: f64| {
        for (value, expected) in numbers(&batch, name).into_iter().zip(expected) {
            let value = value.unwrap();
            assert!((value - expected).abs() < within, "{name}: {value} for {expected}");
        }
    };
    // Of 4,000 users 2,000 pay for food, 3,000 for books and 1,000 for fuel. What is allowed is 13
    // deviations of the noise or more, which is never.
    near("customers", [1000.0, 0.0, 1000.0], 60.0);
    near("lift", [1000.0 / 1500.0, 0.0, 2.0], 0.15);
    near("lift_unbiased", [1000.0 / 1500.0, 0.0, 2.0], 0.15);
    let (lows, highs) = (numbers(&batch, "lift_low"), numbers(&batch, "lift_high"));
    assert!(lows.iter().zip(&highs).all(|(low, high)| low.unwrap() >= 0.0 && low < high));
    // Payments stand where cells are no pairs.
    assert!(batch.column_by_name("payments").is_none());
    let singles = table(&workshop, "basket.category.parquet");
    assert!(
        singles.column_by_name("payments").is_some() && singles.column_by_name("lift").is_none()
    );
}

#[test]
fn lifts_are_those_of_the_cells_that_are_named() {
    let workshop = released();
    let failed = |change: &dyn Fn(&Copy)| {
        let copy = Copy::of(&workshop);
        change(&copy);
        let failed = copy.failed(None);
        format!("{}: {}\n", names(&failed), failed.into_values().collect::<Vec<_>>().join("; "))
    };
    let values = |table: &'static str, column: &'static str| {
        failed(&|copy| {
            copy.table(table, |batch| {
                let values = numbers(&batch, column).into_iter().map(|x| Some(x? * 1.25 + 1e-9));
                replaced(&batch, column, Arc::new(Float64Array::from_iter(values)))
            });
        })
    };
    let claim = |change: &dyn Fn(&mut Value)| failed(&|copy| copy.manifest(|m| change(m)));
    let mut texts = values(PAIRS, "lift_unbiased");
    texts += &values("basket.category.parquet", "customers_unbiased");
    texts += &claim(&|m| m["key_sets"][2]["pairs"]["singles"] = json!("basket.all.parquet"));
    texts += &claim(&|m| m["key_sets"][2]["pairs"]["whole"] = json!("nothing.parquet"));
    texts += &claim(&|m| m["key_sets"][2]["pairs"]["of"] = json!("region"));
    texts += &failed(&|copy| {
        copy.table(PAIRS, |batch| {
            let other = batch.column_by_name("with_category").unwrap().clone();
            replaced(&batch, "category", other)
        });
    });
    // Values of cells are on a grid, and rows are in order, so other checks fail too.
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"row \d+", "row N");
    settings.bind(|| assert_snapshot!(texts));
}

#[test]
fn levels_that_cannot_be_of_pairs_are_found() {
    let workshop = Workshop::new();
    let check = |change: &dyn Fn(String) -> String| {
        workshop.text("job.toml", &change(job(REPORT)));
        shown(&workshop, &workshop.discretail(&["check", "job.toml"]))
    };
    let levels = |levels: &str| {
        check(&|job| job.replace("[[], [\"category\"], [\"category\", \"with_category\"]]", levels))
    };
    let mut texts = levels("[[], [\"category\"], [\"with_category\"]]");
    texts += &levels("[[\"category\", \"with_category\", \"week\"], [\"week\"]]");
    texts += &levels("[[], [\"category\"]]");
    texts += &levels("[[\"merchant\", \"category\", \"with_category\"]]");
    texts += &levels("[[\"category\", \"with_category\", \"region\", \"with_region\"]]");
    texts += &levels("[[\"category\", \"with_categry\"]]");
    texts += &check(&|job| job.replace("\"public\"", "\"private\""));
    texts +=
        &check(&|job| job.replace("[\"customers\", \"lift\", \"payments\"]", "[\"payments\"]"));
    texts += &check(&|job| job.replace("[\"customers\", \"lift\", \"payments\"]", "[\"lift\"]"));
    assert_snapshot!(texts);
}

/// Pairs within regions that tell of too few merchants are hidden, with the keys of both.
#[test]
fn pairs_of_few_merchants_are_hidden() {
    let workshop = Workshop::new();
    let report =
        REPORT.replace("[]", "[\"region\"]").replace("[\"category\"", "[\"region\", \"category\"");
    // One merchant each: nothing but regions would be left.
    let text = job(&report).replace("min_per_cell = 1", "min_per_cell = 2");
    workshop.text("job.toml", &text);
    let output = workshop.discretail(&["check", "job.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        shown(&workshop, &output)
            .contains("basket.region-category-with_category would show nothing")
    );
    let text = job(REPORT).replace("min_per_cell = 1", "min_per_cell = 2");
    workshop.text(
        "job.toml",
        &text.replace("\"category\"", "\"region\"").replace("with_category", "with_region"),
    );
    let run = workshop.discretail(&["run", "job.toml"]);
    assert_eq!(run.status.code(), Some(0), "{}", shown(&workshop, &run));
    assert_eq!(table(&workshop, "basket.region-with_region.parquet").num_rows(), 1);
}
