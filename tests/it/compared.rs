//! Shares, growth and indexes, from the job to a release that is verified.

use std::sync::Arc;

use arrow::array::{
    Array, AsArray, Date32Array, DictionaryArray, Float64Array, RecordBatch, StringArray,
};
use arrow::datatypes::{Date32Type, Decimal128Type, Float64Type, Int32Type};
use arrow::util::display::array_value_to_string;
use insta::assert_snapshot;
use polars::prelude::Column;
use serde_json::{Value, json};

use crate::common::{JOB, Workshop, payments, payments_from, refused, sharp, shown};
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

/// Periods at both ends of the calendar, before or after which there is none.
#[test]
fn periods_at_the_ends_of_the_calendar_are_found() {
    let workshop = released();
    for day in [-96_465_292, -96_465_291, 95_026_236] {
        let copy = Copy::of(&workshop);
        copy.table("trend.week.parquet", |batch| {
            let weeks = batch.column_by_name("week").unwrap().as_primitive::<Date32Type>();
            let weeks = weeks.values().iter().enumerate();
            let weeks = weeks.map(|(row, week)| if row == 0 { day } else { *week });
            let weeks = Date32Array::from_iter_values(weeks);
            replaced(&batch, "week", Arc::new(weeks))
        });
        for ledger in [None, Some(workshop.path("ledger.sqlite"))] {
            let failed = copy.failed(ledger.as_deref());
            let found = &failed["lattice"];
            assert!(found.contains("`week` is outside the job's period"), "{day}: {failed:?}");
        }
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
    // Earlier releases are of no help to growth over a year where there is no time.
    let (workshop, reports) = (Workshop::new(), later_reports());
    let reports = reports.replace("[\"week\"],", "[],").replace("\"test\"", "\"latest\"");
    let yearly = reports.replace("\"payments_growth\"", "\"payments_growth_year\"");
    let text = refused(&workshop, &job(&yearly));
    assert!(text.contains("it has not exactly one key of periods"), "{text}");
}

/// The same without an index, the trend after what job `test` has released.
fn later_reports() -> String {
    REPORTS
        .replace("name     = \"trend\"", "name = \"trend\"\nprevious = \"test\"")
        .replace("base     = 2025-01-08\n", "")
        .replace(", \"payments_index\"", "")
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
    let text = job(&later_reports())
        .replace("job       = \"test\"", "job = \"later\"")
        .replace("first_day = 2025-01-01", "max_bad_share = 1\nfirst_day = 2025-01-13")
        .replace("last_day  = 2025-01-31", "last_day = 2025-02-09")
        .replace("[merchants]\n", "[merchants]\nmin_per_cell = 1\n");
    workshop.text("later.toml", &text);
    let output = workshop.discretail(&["run", "later.toml"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
    let verified = || {
        let output =
            workshop.discretail(&["verify", "releases/later", "--ledger", "ledger.sqlite"]);
        assert!(output.status.success(), "{}", shown(&workshop, &output));
        shown(&workshop, &output)
    };
    // Of payments and sales, in one week of all and in three of wallets.
    let text = verified();
    assert!(text.contains("growth of 8 cells is that of two releases"), "{text}");
    let weeks = table_of(&workshop, "later", "trend.week.parquet");
    let is_null = |column: &str| weeks.column_by_name(column).unwrap().is_null(0);
    // Of the first week, the week before is in the earlier release.
    assert!(!is_null("payments_growth") && is_null("payments_growth_unbiased"));
    let first = table_of(&workshop, "test", "trend.week.parquet");
    let number = |table: &RecordBatch, column: &str, row: usize| {
        table.column_by_name(column).unwrap().as_primitive::<Float64Type>().value(row)
    };
    let both = number(&weeks, "payments", 0) / number(&first, "payments", 1);
    assert!((number(&weeks, "payments_growth", 0) - both).abs() < 1e-12, "{both}");
    let copy = Copy::of_job(&workshop, "later");
    copy.table("trend.week.parquet", |batch| {
        let growth = batch.column_by_name("payments_growth").unwrap();
        let growth = growth.as_primitive::<Float64Type>().iter();
        let changed = growth.enumerate().map(|(row, x)| x.map(|x| x + 1e-6 * f64::from(row == 0)));
        replaced(&batch, "payments_growth", Arc::new(Float64Array::from_iter(changed)))
    });
    let failed = copy.failed(Some(&workshop.path("ledger.sqlite")));
    let what = "`payments_growth` of `trend.week.parquet` is not what both show";
    assert!(names(&failed) == "ledger" && failed["ledger"].contains(what), "{failed:?}");
    // Of the earlier one, the first week was cut, and so the second one has none before it.
    let growth = first.column_by_name("payments_growth").unwrap();
    assert_eq!(
        (0..4).map(|row| growth.is_null(row)).collect::<Vec<_>>(),
        [true, true, false, false]
    );
    let reasons = first.column_by_name("payments_growth_suppressed").unwrap();
    let reason = |row| array_value_to_string(reasons, row).unwrap();
    assert_eq!((0..4).map(reason).collect::<Vec<_>>(), ["no-period", "no-period", "", ""]);
    std::fs::remove_dir_all(workshop.path("releases/test")).unwrap();
    assert!(!verified().contains("two releases"));
}

/// Noon of the first day of January to March 2025 in Shanghai, as seconds since 1970, and the last
/// day.
const MONTHS: [(i64, &str); 3] =
    [(1_735_704_000, "01-31"), (1_738_382_400, "02-28"), (1_740_801_600, "03-31")];

#[test]
fn levels_without_time_grow_from_the_release_right_before() {
    let workshop = Workshop::new();
    let run = |month: usize| {
        let (start, last) = MONTHS[month];
        let mut table = payments_from(start);
        let users: Vec<String> = (0..table.height()).map(|n| format!("u{n}")).collect();
        table.with_column(Column::new("user".into(), users)).unwrap();
        workshop.parquet("payments.parquet", table);
        let (head, _) = JOB.split_once("[[report]]").unwrap();
        let head = head
            .replace("\"test\"", &format!("\"month-{month}\""))
            .replace("2025-01-01", &format!("2025-{:02}-01", month + 1))
            .replace("2025-01-31", &format!("2025-{last}"))
            .replace("epsilon = \"1\"", "epsilon = \"4\"")
            .replace("epsilon_max = \"4\"", "epsilon_max = \"20\"");
        let report = "[[report]]\nname = \"m\"\nlevels = [[\"wallet\"]]\nkeys = \"public\"\n\
            previous = \"latest\"\ninsights = [\"sales\", \"sales_growth\"]\n\
            bounds = { sales = \"100\" }\n";
        workshop.text("job.toml", &format!("{head}{report}"));
        let output = workshop.discretail(&["run", "job.toml"]);
        assert!(output.status.success(), "{}", shown(&workshop, &output));
        let folder = format!("releases/month-{month}");
        let output = workshop.discretail(&["verify", &folder, "--ledger", "ledger.sqlite"]);
        assert!(output.status.success(), "{}", shown(&workshop, &output));
        (
            table_of(&workshop, &format!("month-{month}"), "m.wallet.parquet"),
            shown(&workshop, &output),
        )
    };
    let no_period = |table: &RecordBatch| {
        let reasons = table.column_by_name("sales_growth_suppressed").unwrap();
        (0..3).all(|row| array_value_to_string(reasons, row).unwrap() == "no-period")
    };
    let (january, _) = run(0);
    assert!(no_period(&january));
    let (february, text) = run(1);
    assert!(text.contains("growth of 3 cells is that of two releases"), "{text}");
    let ends = ["", "_low", "_high"];
    for row in 0..3 {
        let sales = |table: &RecordBatch| {
            let column = |end| table.column_by_name(&format!("sales{end}")).unwrap().clone();
            ends.map(|end| column(end).as_primitive::<Decimal128Type>().value(row) as f64)
        };
        let [value, low, high] = sales(&february);
        let [before, before_low, before_high] = sales(&january);
        let growth = |end| february.column_by_name(&format!("sales_growth{end}")).unwrap();
        let growth = ends.map(|end| growth(end).as_primitive::<Float64Type>().value(row));
        assert!((growth[0] - value / before).abs() < 1e-12, "{growth:?}");
        // As far from nothing as the distances of both say.
        let down = (value - low).hypot(growth[1] * (before_high - before));
        let up = (high - value).hypot(growth[2] * (before - before_low));
        assert!((value - growth[1] * before - down).abs() < 1e-9 * value, "{growth:?}");
        assert!((growth[2] * before - value - up).abs() < 1e-9 * value, "{growth:?}");
    }
    // January is not the month before March.
    std::fs::remove_dir_all(workshop.path("releases/month-1")).unwrap();
    let (march, text) = run(2);
    assert!(no_period(&march) && !text.contains("two releases"), "{text}");
}
