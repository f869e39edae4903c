//! Cohorts: who is new, and who of them comes again, from the job to a release that is verified.

use insta::assert_snapshot;
use polars::prelude::DataFrame;
use serde_json::{Value, json};

use crate::common::{Workshop, fitted, paid, refused, sharp};
use crate::verify::{Copy, names, with_float};

const REPORTS: &str = r#"
[[report]]
name      = "stays"
levels    = [["region", "week"]]
keys      = "public"
insights  = ["customers", "retention_cohort", "retention_rate"]
look_back = 5
bounds    = { customers = "3", retention_cohort = "3" }
suppress_above = "never"

[[report]]
name      = "found"
levels    = [["merchant", "week"]]
keys      = "private"
insights  = ["retention_cohort"]
look_back = 5
"#;

fn job() -> String {
    fitted(sharp() + REPORTS)
}

/// At one merchant in each region 400 users who come in the week of 6 January, of whom a quarter
/// comes again in the next week, and the others in that after it.
fn payments() -> DataFrame {
    let mut rows = Vec::new();
    for (merchant, user) in ["M1", "M3"].into_iter().flat_map(|m| (0..400i64).map(move |u| (m, u)))
    {
        for day in [6, if user % 4 == 0 { 13 } else { 20 }] {
            // From noon of 1 January in Shanghai on.
            let time = 1_735_704_000 + 86_400 * (day - 1 + user % 7);
            rows.push((format!("{merchant}-{user}"), merchant, time, 900));
        }
    }
    paid(rows)
}

fn released() -> Workshop {
    let workshop = Workshop::new();
    workshop.parquet("payments.parquet", payments());
    workshop.text("job.toml", &job());
    workshop.release();
    workshop
}

#[test]
fn those_who_come_again_are_released_as_far_as_the_period_can_tell() {
    let workshop = released();
    let table = workshop.table("stays.region-week");
    let texts = |name: &str| -> Vec<String> {
        let column = table.column(name).unwrap();
        let text = |row| column.get(row).unwrap().to_string().replace('"', "");
        (0..table.height()).map(text).collect()
    };
    let reasons = |name: &str| texts(&format!("{name}_suppressed"));
    // Weeks from 30 December, of which the first and the last are cut; two regions.
    let told = |all: [&'static str; 5]| all.repeat(2);
    let back = "look-back";
    assert_eq!(reasons("retention_cohort_0"), told([back, "null", "null", "null", "null"]));
    let ahead = "look-ahead";
    assert_eq!(reasons("retention_cohort_1"), told([back, "null", "null", ahead, ahead]));
    assert_eq!(reasons("retention_cohort_2"), told([back, "null", ahead, ahead, ahead]));
    assert_eq!(reasons("retention_rate_2")[..2], [back, "null"]);
    assert_eq!(reasons("retention_rate_2")[2..5], [ahead; 3]);
    // The noised values are those of the payments, but for six deviations of the noise: of ten
    // values, one is beyond in 2 of 10⁸ runs.
    let number = |name: &str, row| table.column(name).unwrap().f64().unwrap().get(row).unwrap();
    for row in [1, 6] {
        for (name, truth) in [
            ("retention_cohort_0", 400.0),
            ("retention_cohort_1", 100.0),
            ("retention_cohort_2", 300.0),
            ("retention_rate_1", 0.25),
            ("retention_rate_2", 0.75),
        ] {
            let off = (number(&format!("{name}_unbiased"), row) - truth).abs();
            assert!(off < 6.0 * number(&format!("{name}_sd"), row), "{name} {row}: {off}");
            let (low, high) =
                (number(&format!("{name}_low"), row), number(&format!("{name}_high"), row));
            assert!(
                low <= number(name, row) && number(name, row) <= high && high - low < 0.5 * truth
            );
        }
    }
}

#[test]
fn changed_cohorts_are_found() {
    let workshop = released();
    let failed = |copy: Copy| {
        let failed = copy.failed(None);
        format!("{}: {}", names(&failed), failed.into_values().collect::<Vec<_>>().join("; "))
    };
    let claim = |value: Value| {
        let copy = Copy::of(&workshop);
        copy.manifest(|manifest| manifest["key_sets"][0]["look_back"] = value);
        failed(copy)
    };
    assert!(claim(json!(6)).starts_with("footer: "));
    assert!(claim(Value::Null).contains("it tells who is new, and not in how many days"));
    let float = |column: &str, change: fn(f64) -> f64| {
        let copy = Copy::of(&workshop);
        copy.table("stays.region-week.parquet", |batch| {
            // The second row is the first whose cohort is known.
            let later = batch.slice(1, batch.num_rows() - 1);
            let changed = with_float(&later, column, change);
            arrow::compute::concat_batches(&batch.schema(), [&batch.slice(0, 1), &changed]).unwrap()
        });
        failed(copy)
    };
    let ratio = "`retention_rate_1` is not the ratio that it should be";
    assert!(float("retention_rate_1_unbiased", |x| x + 0.01).contains(ratio));
    assert!(float("retention_rate_1", |x| x + 0.001).contains(ratio));
    let grid = "`retention_cohort_2_unbiased` is not on its grid";
    assert!(float("retention_cohort_2_unbiased", |x| x + 1e-7).contains(grid));
}

#[test]
fn levels_that_cannot_show_cohorts_are_told_why() {
    let check = |levels: &str| {
        let text = job().replace("[[\"region\", \"week\"]]", levels);
        refused(&Workshop::new(), &text)
    };
    let texts = ["[[\"region\"]]", "[[\"week\", \"day\"]]", "[[\"month\"]]"].map(check);
    assert_snapshot!(texts.join("\n"));
}
