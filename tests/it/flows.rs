//! Where users are at home and where they pay, from the job to a release that is verified.

use std::collections::BTreeMap;

use arrow::array::{AsArray, DictionaryArray, Float64Array, StringArray};
use arrow::datatypes::{Float64Type, Int32Type};
use insta::assert_snapshot;
use polars::prelude::DataFrame;
use serde_json::{Value, json};

use crate::common::{JOB, Workshop, fitted, paid_in_turn, sharp, shown};
use crate::shared::table;
use crate::verify::{Copy, names};

const REPORT: &str = r#"
[[report]]
name     = "flows"
levels   = [["home_region", "region"], ["region"], ["home_region", "region", "week"],
  ["home_category", "region"]]
keys     = "public"
insights = ["customers", "payments", "payments_share"]
share_of = ["region"]
suppress_above = "never"
"#;

fn job(report: &str) -> String {
    fitted(sharp().replace("[merchants]\n", "[merchants]\nmin_per_cell = 1\n") + report)
}

/// Of 3,000 users two thirds are at home in the north and pay there three times, and once in the
/// south; the others pay twice in the south.
fn payments() -> DataFrame {
    let pay = |user: usize| match user % 3 {
        0 => vec![(user, "M3"), (user, "NULL")],
        _ => vec![(user, "M1"), (user, "M2"), (user, "M1"), (user, "NULL")],
    };
    paid_in_turn((0..3000).flat_map(pay))
}

fn released(report: &str) -> Workshop {
    let workshop = Workshop::new();
    workshop.parquet("payments.parquet", payments());
    workshop.text("job.toml", &job(report));
    workshop.release();
    workshop
}

/// By the texts of the first two columns, the values of another.
fn flows(workshop: &Workshop, name: &str, column: &str) -> BTreeMap<[String; 2], f64> {
    let batch = table(workshop, name);
    let text = |column: usize, row: usize| {
        let texts: &DictionaryArray<Int32Type> = batch.column(column).as_dictionary();
        texts
            .downcast_dict::<StringArray>()
            .unwrap()
            .into_iter()
            .nth(row)
            .unwrap()
            .unwrap()
            .to_owned()
    };
    let values: &Float64Array = batch.column_by_name(column).unwrap().as_primitive::<Float64Type>();
    (0..batch.num_rows()).map(|row| ([text(0, row), text(1, row)], values.value(row))).collect()
}

#[test]
fn flows_are_released_and_verified() {
    let workshop = released(REPORT);
    let near = |column: &str, expected: [f64; 4], within: f64| {
        let flows = flows(&workshop, "flows.home_region-region.parquet", column);
        let cells = ["north", "south"].map(|home| ["north", "south"].map(|to| [home, to])).concat();
        let cells: Vec<[String; 2]> = cells.iter().map(|cell| cell.map(str::to_owned)).collect();
        assert_eq!(flows.keys().cloned().collect::<Vec<_>>(), cells, "all flows, in order");
        for (value, expected) in flows.values().zip(expected) {
            assert!((value - expected).abs() < within, "{column}: {value} for {expected}");
        }
    };
    // What is allowed is eight deviations of the noise or more: one in 10¹⁴.
    near("customers", [2000.0, 2000.0, 0.0, 1000.0], 100.0);
    near("payments", [6000.0, 2000.0, 0.0, 2000.0], 300.0);
    // Of a home's payments, those in each region.
    near("payments_share", [0.75, 0.25, 0.0, 1.0], 0.1);
    // They add up to those of regions without homes.
    let whole = table(&workshop, "flows.region.parquet");
    let whole = whole.column_by_name("payments").unwrap().as_primitive::<Float64Type>();
    let flows = flows(&workshop, "flows.home_region-region.parquet", "payments");
    for (row, to) in ["north", "south"].into_iter().enumerate() {
        let sum: f64 = flows.iter().filter(|(cell, _)| cell[1] == to).map(|(_, value)| value).sum();
        let whole = whole.value(row);
        assert!((sum - whole).abs() < 1e-9 * whole, "{to}: {sum} and {whole}");
    }
}

#[test]
fn the_manifest_says_which_keys_are_homes() {
    let workshop = released(REPORT);
    let copy = Copy::of(&workshop);
    copy.manifest(|manifest| {
        let homes: Vec<&Value> = (0..4).map(|set| &manifest["key_sets"][set]["homes"]).collect();
        let region = json!({"home_region": "region"});
        assert_eq!(homes, [&region, &Value::Null, &region, &json!({"home_category": "category"})]);
        manifest["key_sets"][1]["homes"] = region.clone();
        manifest["key_sets"][3]["homes"] = json!({"home_category": "region"});
    });
    let failed = copy.failed(None);
    assert_eq!(names(&failed), "manifest");
    assert_snapshot!(failed["manifest"]);
}

/// Homes that nobody has are not there where keys are private, and sticky keys are theirs too.
#[test]
fn flows_with_private_keys_are_those_of_many() {
    let report =
        REPORT.replace("\"public\"", "\"private\"").replace("share_of = [\"region\"]\n", "");
    let report = report.replace(", \"payments_share\"", "");
    let workshop = released(&report);
    let found = flows(&workshop, "flows.home_region-region.parquet", "customers");
    let cells: Vec<String> = found.keys().map(|cell| cell.join(" to ")).collect();
    assert_eq!(cells, ["north to north", "north to south", "south to south"]);
}

#[test]
fn homes_are_columns_of_the_table_of_merchants() {
    let workshop = Workshop::new();
    let with = |levels: &str| {
        let text = JOB.replace("[\"region\", \"week\"]", levels);
        workshop.text("job.toml", &text);
        shown(&workshop, &workshop.discretail(&["check", "job.toml"]))
    };
    let mut texts = with("[\"home_regoin\", \"week\"]");
    texts += &with("[\"home\"]");
    texts += &with("[\"home_merchant\"]");
    texts += &with("[\"home_region\", \"home_region\"]");
    // One merchant is at home in each of the categories fuel and books.
    let two = |text: &str| text.replace("[merchants]\n", "[merchants]\nmin_per_cell = 2\n");
    let levels = "levels   = [[\"home_category\"]]";
    let (head, _) = JOB.split_once("\n[[report]]\nname      = \"found\"").unwrap();
    workshop.text(
        "job.toml",
        &fitted(
            two(&head.replace("levels   = [[], [\"region\", \"week\"], [\"wallet\"]]", levels)),
        ),
    );
    let run = workshop.discretail(&["run", "job.toml"]);
    assert_eq!(run.status.code(), Some(0), "{}", shown(&workshop, &run));
    let copy = Copy::of(&workshop);
    copy.manifest(|manifest| {
        let hidden = &manifest["merchant_protection"]["hidden"][0];
        assert_eq!(hidden["keys"], json!(["home_category"]));
        assert_eq!(hidden["values"], json!([["books"], ["fuel"]]));
    });
    assert_eq!(names(&copy.failed(None)), "");
    assert_snapshot!(texts);
}

/// A column of the payments goes before what would be found from them.
#[test]
fn payments_may_say_where_users_live() {
    let workshop = Workshop::new();
    let text = job(REPORT)
        .replace("wallet = \"wallet\" }", "wallet = \"wallet\", home_region = \"UPPER(wallet)\" }")
        .replace("[keys]\n", "[keys]\nhome_region = [\"ALIPAY\", \"APPLE_PAY\", \"CARD\"]\n");
    workshop.text("job.toml", &text);
    let run = workshop.discretail(&["run", "job.toml", "--accept-useless"]);
    assert_eq!(run.status.code(), Some(0), "{}", shown(&workshop, &run));
    let found = flows(&workshop, "flows.home_region-region.parquet", "customers");
    assert_eq!(found.len(), 6);
    assert!(found.keys().all(|[home, _]| ["ALIPAY", "APPLE_PAY", "CARD"].contains(&home.as_str())));
}
