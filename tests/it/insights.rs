//! Every insight, from the job to a table that is verified.

use std::fs::File;

use arrow::datatypes::DataType;
use insta::assert_snapshot;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use polars::prelude::{ParquetReader, SerReader};
use serde_json::{Value, json};

use crate::common::{JOB, Workshop, shown};
use crate::verify::{Copy, names};

/// The first report with these insights and bounds that the run chooses.
fn job(insights: &str) -> String {
    let job = JOB
        .replace("bounds   = { customers = \"3\", payments = \"10\", sales = \"500.00\" }\n", "")
        .replace("bounds    = { customers = \"2\", sales = \"300\" }\n", "");
    let insights = format!("insights = [{insights}]");
    job.replace(
        "insights = [\"customers\", \"payments\", \"sales\", \"average_ticket\"]",
        &insights,
    )
    .replace("insights  = [\"customers\", \"sales\"]", &insights)
}

/// Names and types of the columns of a table.
fn columns(workshop: &Workshop, table: &str) -> String {
    let file = File::open(workshop.path(&format!("releases/test/{table}"))).unwrap();
    let schema = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().schema().clone();
    let line = |(name, kind, null): (&str, &DataType, bool)| {
        format!("{name}: {kind}{}\n", if null { ", nullable" } else { "" })
    };
    let fields = schema.fields().iter().filter(|field| {
        !["_low", "_high", "_grade", "_suppressed", "_unbiased", "_sd"]
            .iter()
            .any(|end| field.name().ends_with(end))
    });
    fields.map(|field| line((field.name(), field.data_type(), field.is_nullable()))).collect()
}

const ALL: &str = "\"customers\", \"payments\", \"gross\", \"refunds\", \"refund_rate\", \"sales\", \
                   \"average_ticket\", \"spend_per_customer\", \"visits\", \"visits_per_customer\", \
                   \"visit_classes\", \"repeat_rate\", \"ticket_quantiles\", \"ticket_histogram\"";

#[test]
fn all_insights_are_released_and_verified() {
    let workshop = Workshop::new();
    let groups = "files = [\"merchants.parquet\"]\nticket_groups = \"category\"";
    workshop.text("job.toml", &job(ALL).replace("files = [\"merchants.parquet\"]", groups));
    let run = workshop.discretail(&["run", "job.toml"]);
    assert_eq!(run.status.code(), Some(0), "{}", shown(&workshop, &run));
    let verified = workshop.discretail(&["verify", "releases/test", "--ledger", "ledger.sqlite"]);
    assert_eq!(verified.status.code(), Some(0), "{}", shown(&workshop, &verified));
    assert_snapshot!(columns(&workshop, "market.region-week.parquet"));
}

/// The section `[merchants]` of the job.
const REGISTRY: &str = "files = [\"merchants.parquet\"]";

#[test]
fn new_and_returning_customers_are_released_where_the_period_can_tell() {
    let workshop = Workshop::new();
    let text = job("\"new_customers\", \"returning_customers\"")
        .replace(
            "levels   = [[], [\"region\", \"week\"], [\"wallet\"]]",
            "levels   = [[\"region\", \"week\"]]\nlook_back = 10",
        )
        .replace("[\"merchant\"], [\"wallet\", \"day\"]", "[\"wallet\", \"day\"]")
        .replace("keys      = \"private\"", "keys      = \"private\"\nlook_back = 3")
        .replace(REGISTRY, &format!("{REGISTRY}\nmin_per_cell = 1"));
    workshop.text("job.toml", &text);
    let run = workshop.discretail(&["run", "job.toml"]);
    assert_eq!(run.status.code(), Some(0), "{}", shown(&workshop, &run));
    let verified = workshop.discretail(&["verify", "releases/test", "--ledger", "ledger.sqlite"]);
    assert_eq!(verified.status.code(), Some(0), "{}", shown(&workshop, &verified));
    let table = File::open(workshop.path("releases/test/market.region-week.parquet")).unwrap();
    let table = ParquetReader::new(table).finish().unwrap();
    let hidden: Vec<bool> = (0..table.height())
        .map(|row| {
            let reason = table.column("new_customers_suppressed").unwrap().get(row).unwrap();
            reason.to_string().contains("look-back")
        })
        .collect();
    // Weeks from 30 December, of which those before the 11th day cannot tell; two regions.
    assert_eq!(hidden, [true, true, false, false, false].repeat(2));
    // How many days tell who is new, say manifest and footers alike.
    for (days, failed) in [(json!(11), "footer"), (Value::Null, "footer schema")] {
        let copy = Copy::of(&workshop);
        copy.manifest(|manifest| {
            assert_eq!(manifest["key_sets"][0]["look_back"], 10);
            manifest["key_sets"][0]["look_back"] = days;
        });
        assert_eq!(names(&copy.failed(None)), failed);
    }
}

#[test]
fn days_since_the_last_visit_are_released_in_the_classes_of_each_level() {
    let workshop = Workshop::new();
    let text = job("\"recency_histogram\"")
        .replace("[\"region\", \"week\"]", "[\"region\", \"month\"]")
        .replace("[\"wallet\", \"day\"]", "[\"wallet\", \"weekday\"]");
    workshop.text("job.toml", &text);
    let run = workshop.discretail(&["run", "job.toml"]);
    assert_eq!(run.status.code(), Some(0), "{}", shown(&workshop, &run));
    let verified = workshop.discretail(&["verify", "releases/test", "--ledger", "ledger.sqlite"]);
    assert_eq!(verified.status.code(), Some(0), "{}", shown(&workshop, &verified));
    assert_snapshot!(
        ["market.all.parquet", "market.region-month.parquet", "found.wallet-weekday.parquet"]
            .map(|table| columns(&workshop, table))
            .join("\n")
    );
    workshop.text("job.toml", &job("\"recency_histogram\""));
    assert_snapshot!(
        "weeks_have_one_class",
        shown(&workshop, &workshop.discretail(&["check", "job.toml"]))
    );
}

#[test]
fn insights_that_a_level_cannot_carry_are_found() {
    let workshop = Workshop::new();
    let text = job("\"new_customers\"").replace("unit    = \"user\"", "unit    = \"user-month\"");
    workshop.text("job.toml", &text);
    assert_snapshot!(shown(&workshop, &workshop.discretail(&["check", "job.toml"])));
}

#[test]
fn tickets_need_one_currency_and_a_column_of_groups() {
    let workshop = Workshop::new();
    let text = job("\"ticket_quantiles\"")
        .replace("currency  = \"CNY\"", "currency  = [\"CNY\", \"JPY\"]")
        .replace(
            "files = [\"merchants.parquet\"]",
            "files = [\"merchants.parquet\"]\nticket_groups = \"kind\"",
        );
    workshop.text("job.toml", &text);
    assert_snapshot!(shown(&workshop, &workshop.discretail(&["check", "job.toml"])));
}

#[test]
fn ratios_alone_are_released_and_verified() {
    let workshop = Workshop::new();
    workshop.text("job.toml", &job("\"refund_rate\", \"repeat_rate\", \"visits_per_customer\""));
    let run = workshop.discretail(&["run", "job.toml"]);
    assert_eq!(run.status.code(), Some(0), "{}", shown(&workshop, &run));
    let verified = workshop.discretail(&["verify", "releases/test"]);
    assert_eq!(verified.status.code(), Some(0), "{}", shown(&workshop, &verified));
    assert_snapshot!(columns(&workshop, "found.merchant.parquet"));
}
