//! Shares, growth and indexes, from the job to a release that is verified.

use std::sync::Arc;

use arrow::array::{Array, AsArray, DictionaryArray, Float64Array, StringArray};
use arrow::datatypes::{Float64Type, Int32Type};
use arrow::util::display::array_value_to_string;
use insta::assert_snapshot;
use polars::prelude::Column;
use serde_json::{Value, json};

use crate::common::{Workshop, payments, refused, sharp, shown};
use crate::shared::table_of;
use crate::verify::{Copy, names, replaced};

const REPORTS: &str = r#"
[[report]]
name     = "shares"
levels   = [["region", "wallet"], ["wallet"]]
keys     = "public"
insights = ["payments", "payments_share", "sales_share", "sales"]
share_of = "wallet"
bounds   = { payments = "1", sales = "100" }

[[report]]
name     = "trend"
levels   = [["week"], ["wallet", "week"]]
keys     = "public"
insights = ["payments", "sales", "payments_growth", "sales_growth", "payments_index"]
base     = 2025-01-08
bounds   = { payments = "1", sales = "100" }
suppress_above = "never"
"#;

fn job(reports: &str) -> String {
    sharp() + reports
}

fn released() -> Workshop {
    let workshop = Workshop::new();
    // A user for each payment, so that noise is small and leaves nothing to chance.
    let mut table = payments();
    let users: Vec<String> = (0..table.height()).map(|n| format!("u{n}")).collect();
    table.with_column(Column::new("user".into(), users)).unwrap();
    workshop.parquet("payments.parquet", table);
    let text = job(REPORTS).replace("[merchants]\n", "[merchants]\nmin_per_cell = 1\n");
    workshop.text("job.toml", &text);
    let output = workshop.discretail(&["run", "job.toml"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
    workshop
}

#[test]
fn comparisons_are_released_and_verified() {
    let workshop = released();
    let output = workshop.discretail(&["verify", "releases/test", "--ledger", "ledger.sqlite"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
    let failed = |table: &str, column: &str, change: fn(f64) -> f64| {
        let copy = Copy::of(&workshop);
        copy.table(table, |batch| {
            let values = batch.column_by_name(column).unwrap().as_primitive::<Float64Type>();
            let changed = Float64Array::from_iter(values.iter().map(|x| x.map(change)));
            replaced(&batch, column, Arc::new(changed))
        });
        let failed = copy.failed(None);
        format!("{}: {}\n", names(&failed), failed.into_values().collect::<Vec<_>>().join("; "))
    };
    let claim = |change: &dyn Fn(&mut Value)| {
        let copy = Copy::of(&workshop);
        copy.manifest(change);
        let failed = copy.failed(None);
        format!("{}: {}\n", names(&failed), failed.into_values().collect::<Vec<_>>().join("; "))
    };
    let reasons = |change: fn(Option<&str>) -> Option<&'static str>| {
        let (copy, column) = (Copy::of(&workshop), "payments_growth_suppressed");
        copy.table("trend.week.parquet", |batch| {
            let texts = batch.column_by_name(column).unwrap().as_dictionary::<Int32Type>();
            let texts = texts.downcast_dict::<StringArray>().unwrap();
            let changed: DictionaryArray<Int32Type> = texts.into_iter().map(change).collect();
            replaced(&batch, column, Arc::new(changed))
        });
        let failed = copy.failed(None);
        format!("{}: {}\n", names(&failed), failed.into_values().collect::<Vec<_>>().join("; "))
    };
    // Which of its cells a fault is found in first is left to chance.
    for (found, what) in [
        (
            failed("shares.wallet.parquet", "payments_share_unbiased", |x| x * 1.1),
            "`payments_share_unbiased` do not add up to one",
        ),
        (
            failed("shares.region-wallet.parquet", "sales_share_unbiased", |x| 1.0 - x),
            "`sales_share_unbiased` is not its part of the whole",
        ),
        (
            failed("trend.week.parquet", "payments_growth_unbiased", |x| x + 0.01),
            "`payments_growth_unbiased` is not what its cells say",
        ),
        (
            failed("trend.week.parquet", "payments_index_unbiased", |x| x / 100.0),
            "`payments_index_unbiased` is not what its cells say",
        ),
        (
            claim(&|m| m["key_sets"][0]["share_of"] = json!([])),
            "is a share of what the manifest does not say",
        ),
        (
            claim(&|m| m["key_sets"][2]["base"] = Value::Null),
            "`payments_index` is against a cell that is not in the table",
        ),
        (
            reasons(|reason| reason.map(|_| "error")),
            "`payments_growth` is hidden for its error in place of its period",
        ),
        (
            reasons(|_| Some("no-period")),
            "`payments_growth` is said to have no period to be compared with, but has one",
        ),
        (
            reasons(|reason| reason.map(|_| "because")),
            "`payments_growth` is hidden for a reason that is unknown",
        ),
    ] {
        assert!(found.starts_with("lattice: ") && found.contains(what), "{what}: {found}");
    }
}

#[test]
fn levels_that_cannot_carry_a_comparison_are_told_why() {
    let check = |from: &str, to: &str| {
        let workshop = Workshop::new();
        let text = job(REPORTS).replace("[merchants]\n", "[merchants]\nmin_per_cell = 1\n");
        assert!(text.contains(from), "{from}");
        refused(&workshop, &text.replace(from, to))
    };
    let texts = [
        check("share_of = \"wallet\"\n", ""),
        check("[\"wallet\"]]", "[\"region\"]]"),
        check("share_of = \"wallet\"", "share_of = [\"wallet\", \"region\"]"),
        check("[\"week\"],", "[\"hour\"],"),
        check("[\"week\"],", "[],"),
        check("[\"week\"],", "[\"week\", \"month\"],"),
        check("base     = 2025-01-08\n", ""),
        check("base     = 2025-01-08", "base = 2024-12-31"),
        check("base     = 2025-01-08", "base = 2025-02-01"),
        check("\"payments_growth\"", "\"payments_growth_year\""),
        check("\"payments_share\", \"sales_share\", ", ""),
        check(", \"payments_index\"", ""),
        check("insights = [\"payments\", \"payments_share\"", "insights = [\"payments_shares\""),
    ];
    assert_snapshot!(texts.join("\n"));
}

#[test]
fn shares_of_private_keys_are_refused() {
    let workshop = Workshop::new();
    let text = job(REPORTS).replace("keys     = \"public\"", "keys = \"private\"");
    workshop.text("job.toml", &text);
    let output = workshop.discretail(&["check", "job.toml"]);
    assert_snapshot!(shown(&workshop, &output));
}

#[test]
fn growth_goes_on_where_an_earlier_release_ends() {
    let workshop = released();
    let reports = REPORTS
        .replace("name     = \"trend\"", "name = \"trend\"\nprevious = \"test\"")
        .replace("base     = 2025-01-08\n", "")
        .replace(", \"payments_index\"", "");
    let text = job(&reports)
        .replace("job       = \"test\"", "job = \"later\"")
        .replace("first_day = 2025-01-01", "max_bad_share = 1\nfirst_day = 2025-01-13")
        .replace("last_day  = 2025-01-31", "last_day = 2025-02-09")
        .replace("[merchants]\n", "[merchants]\nmin_per_cell = 1\n");
    workshop.text("later.toml", &text);
    let output = workshop.discretail(&["run", "later.toml"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
    let output = workshop.discretail(&["verify", "releases/later", "--ledger", "ledger.sqlite"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
    let weeks = table_of(&workshop, "later", "trend.week.parquet");
    let is_null = |column: &str| weeks.column_by_name(column).unwrap().is_null(0);
    // Of the first week, the week before is in the earlier release.
    assert!(!is_null("payments_growth") && is_null("payments_growth_unbiased"));
    let first = table_of(&workshop, "test", "trend.week.parquet");
    // Of the earlier one, the first week was cut, and so the second one has none before it.
    let growth = first.column_by_name("payments_growth").unwrap();
    assert_eq!(
        (0..4).map(|row| growth.is_null(row)).collect::<Vec<_>>(),
        [true, true, false, false]
    );
    let reasons = first.column_by_name("payments_growth_suppressed").unwrap();
    let reason = |row| array_value_to_string(reasons, row).unwrap();
    assert_eq!((0..4).map(reason).collect::<Vec<_>>(), ["no-period", "no-period", "", ""]);
}
