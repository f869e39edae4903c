//! Bounds that the job leaves open are found by the run.

use insta::assert_snapshot;
use serde_json::Value;

use crate::common::{JOB, Workshop, payments_from, shown};
use crate::crash::events;

/// The job without any bound of its first report, and with one of two of the second.
pub(crate) fn open() -> String {
    let without = JOB
        .replace("bounds   = { customers = \"3\", payments = \"10\", sales = \"500.00\" }\n", "")
        .replace(
            "bounds    = { customers = \"2\", sales = \"300\" }",
            "bounds    = { sales = \"300\" }",
        );
    without.replace("cells_max = 8", "cells_max = 8\ncell_caps = { sales = \"200\" }")
}

fn run(workshop: &Workshop, args: &[&str]) -> String {
    format!("$ discretail {}\n{}", args.join(" "), shown(workshop, &workshop.discretail(args)))
}

fn manifest(workshop: &Workshop) -> Value {
    let bytes = std::fs::read(workshop.path("releases/test/manifest.json")).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn open_bounds_are_planned_run_and_verified() {
    let workshop = Workshop::new();
    workshop.text("job.toml", &open());
    let mut texts = run(&workshop, &["plan", "job.toml"]);
    texts += &run(&workshop, &["run", "job.toml"]);
    texts += &run(&workshop, &["verify", "releases/test", "--ledger", "ledger.sqlite"]);
    // Rows of private keys and the grid of chosen bounds differ from run to run.
    let lines: Vec<&str> =
        texts.lines().filter(|line| !line.starts_with("lattice    ok")).collect();
    assert_eq!(lines.len(), texts.lines().count() - 1);
    assert_snapshot!(lines.join("\n"));
    let manifest = manifest(&workshop);
    let surveys = manifest["surveys"].as_array().unwrap();
    // Two levels' customers, three levels' payments and sales, two private levels' customers: a
    // level of one cell needs no survey of customers.
    assert_eq!(surveys.len(), 2 + 3 + 3 + 2);
    let found = |file: &str, statistic: &str| {
        let events = manifest["mechanisms"].as_array().unwrap().iter();
        let mut of = events.filter(|e| e["file"] == file && e["statistic"] == statistic);
        let event = of.next().unwrap();
        event["norm_bound"].as_f64().unwrap() / event["grid_units_per_unit"].as_f64().unwrap()
    };
    assert!((found("market.all.parquet", "customers") - 1.0).abs() < 1e-9);
    assert!((1.0..=8.0f64.sqrt()).contains(&found("found.merchant.parquet", "customers")));
    assert!((found("found.merchant.parquet", "sales") - 30_000.0).abs() < 1.0);
}

#[test]
fn what_stated_bounds_take_is_asked_planned_and_verified() {
    let workshop = Workshop::new();
    let bounds = "bounds   = { customers = \"3\", payments = \"10\", sales = \"500.00\" }\n";
    workshop.text("job.toml", &JOB.replace(bounds, &format!("{bounds}survey = true\n")));
    let plan = run(&workshop, &["plan", "job.toml"]);
    assert!(plan.contains("what stated ones take is found, from noised histograms"), "{plan}");
    // Of the second report, whose bounds nothing is asked of.
    assert!(plan.contains("What the stated bounds of customers, sales take from heavy users"));
    let texts = run(&workshop, &["run", "job.toml"]);
    assert!(texts.contains("exit: 0"), "{texts}");
    let verified = run(&workshop, &["verify", "releases/test", "--ledger", "ledger.sqlite"]);
    assert!(verified.contains("exit: 0"), "{verified}");
    let manifest = manifest(&workshop);
    let surveys = manifest["surveys"].as_array().unwrap();
    let asked = |file: &str| surveys.iter().filter(|survey| survey["file"] == file).count();
    // A level of one cell needs no survey of customers.
    assert_eq!((asked("market.all.parquet"), asked("found.merchant.parquet")), (2, 0));
    let events = manifest["mechanisms"].as_array().unwrap();
    let of = |file: &str, statistic: &str| {
        events.iter().find(|e| e["file"] == file && e["statistic"] == statistic).unwrap()
    };
    let event = of("market.all.parquet", "payments");
    let [norm, unit] =
        ["norm_bound", "grid_units_per_unit"].map(|key| event[key].as_f64().unwrap());
    assert_eq!((norm / unit).to_string(), "10");
    assert_eq!(event["takes_unknown"], Value::Null);
    assert_eq!(of("found.merchant.parquet", "sales")["takes_unknown"], true);
    // Without bounds there is nothing to ask.
    let public = "keys     = \"public\"";
    workshop.text("idle.toml", &open().replace(public, &format!("{public}\nsurvey = true")));
    let idle = run(&workshop, &["check", "idle.toml"]);
    assert!(idle.contains("`survey` is stated, but nothing looks at it"), "{idle}");
}

#[test]
fn surveys_of_users_within_a_month_are_verified() {
    let workshop = Workshop::new();
    let job = open()
        .replace("\"user\"\nepsilon", "\"user-week\"\nepsilon")
        .replace("[], [\"region\"", "[\"region\"");
    workshop.text(
        "job.toml",
        &job.replace("[\"wallet\"]]", "[\"wallet\", \"week\"]]")
            .replace("[[\"merchant\"]", "[[\"merchant\", \"day\"]"),
    );
    let output = workshop.discretail(&["run", "job.toml"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
    let args = ["verify", "releases/test", "--ledger", "ledger.sqlite"];
    let output = workshop.discretail(&args);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
    assert_eq!(manifest(&workshop)["privacy_unit"]["composed"]["periods"], 5);
}

/// Each change of a survey in the manifest is found, by the price or by what a survey is.
#[test]
fn edited_surveys_are_found() {
    let workshop = Workshop::new();
    workshop.text("job.toml", &open());
    assert!(workshop.discretail(&["run", "job.toml"]).status.success());
    let whole = manifest(&workshop);
    let edits: [fn(&mut Value); 10] = [
        |m| m["surveys"][0]["mechanisms"][0]["sigma"] = 1_000_000.into(),
        |m| m["surveys"][0]["mechanisms"][0]["sensitivity"] = 1.into(),
        |m| m["surveys"][0]["mechanisms"][0]["mu_squared_units"] = "1".into(),
        |m| m["surveys"][0]["mechanisms"][0]["counts"] = "users".into(),
        |m| m["surveys"][0]["mechanisms"][0]["mechanism"] = "none".into(),
        |m| m["surveys"][0]["mechanisms"][0]["values"] = serde_json::json!([1, 2]),
        |m| m["surveys"][0]["statistic"] = "sales".into(),
        |m| m["surveys"] = serde_json::json!([]),
        |m| m["mechanisms"][1]["charged_units"] = "5".into(),
        |m| m["mechanisms"][1]["takes_unknown"] = true.into(),
    ];
    let mut texts = String::new();
    for (place, edit) in edits.iter().enumerate() {
        let mut manifest = whole.clone();
        edit(&mut manifest);
        workshop.text("releases/test/manifest.json", &manifest.to_string());
        let output = workshop.discretail(&["verify", "releases/test"]);
        assert_eq!(output.status.code(), Some(1), "edit {place}");
        let shown = shown(&workshop, &output);
        // Prices follow from the noise; the first words of faults say enough.
        let faults = shown.lines().filter(|line| line.contains("failed") || line.starts_with("  "));
        texts += &format!("edit {place}\n{}\n", faults.collect::<Vec<_>>().join("\n"));
    }
    assert!(texts.contains("has no survey for its bound"), "{texts}");
    assert!(texts.contains("charged less than it costs"), "{texts}");
    assert!(texts.contains("takes is said to be unknown, but there is a survey of it"), "{texts}");
}

/// A job of the next month that takes its bounds from the first one's surveys.
pub(crate) fn next() -> String {
    let job = open().replace("\"test\"", "\"next\"").replace("2025-01-", "2025-02-");
    let job = job
        .replace("2025-02-31", "2025-02-28")
        .replace("\"market\"", "\"market\"\nprevious = \"test\"");
    job.replace("\"payments.parquet\"", "\"february.parquet\"")
}

/// With payments in February too.
pub(crate) fn two_months() -> Workshop {
    let workshop = Workshop::new();
    workshop.parquet("february.parquet", payments_from(1_738_382_400));
    workshop
}

#[test]
fn bounds_of_an_earlier_release_cost_nothing() {
    let workshop = two_months();
    workshop.text("job.toml", &open());
    workshop.text("next.toml", &next());
    // Not released yet.
    let mut texts = run(&workshop, &["plan", "next.toml"]);
    assert!(workshop.discretail(&["run", "job.toml"]).status.success());
    let planned: Value =
        serde_json::from_slice(&workshop.discretail(&["plan", "next.toml", "--json"]).stdout)
            .unwrap();
    let bounds = planned["statistics"].as_array().unwrap();
    let open = bounds.iter().filter(|s| s["norm_bound"].is_null());
    // Those of the other report, which names no job.
    assert_eq!(open.count(), 2);
    // Sixty users are few, and the first release has shown it.
    texts += &run(&workshop, &["run", "next.toml", "--accept-useless"]);
    texts += &run(&workshop, &["run", "next.toml"]);
    let output = workshop.discretail(&["verify", "releases/next", "--ledger", "ledger.sqlite"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
    let bytes = std::fs::read(workshop.path("releases/next/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(manifest["bounds_from"].as_array().unwrap().len(), 8);
    // The three public tables; private keys that were shown are no sample of all.
    let from = manifest["estimates_from"].as_array().unwrap();
    assert!(from.iter().all(|entry| entry["job"] == "test"), "{from:?}");
    assert_eq!(from.len(), 3);
    assert_eq!(manifest["surveys"].as_array().unwrap().len(), 2);

    let wrong = [
        ("2025-02-28", "2025-05-28"),
        ("\"test\"", "\"next\""),
        ("2025-02-01", "2024-12-31"),
        ("[], [\"region\", \"week\"], [\"wallet\"]", "[\"category\"]"),
        ("\"user\"\nepsilon", "\"user-year\"\nepsilon"),
    ];
    for (from, to) in wrong {
        let job = next().replace("\"next\"", "\"other\"").replace(from, to);
        workshop.text("other.toml", &job);
        texts += &run(&workshop, &["plan", "other.toml"]);
    }
    // The first release is gone; what was released with its bounds is still known.
    std::fs::remove_dir_all(workshop.path("releases/test")).unwrap();
    texts += &run(&workshop, &["run", "next.toml"]);
    assert_snapshot!(texts);
}

/// Killed between the folder and its entry, with the earlier release gone since: the plan of the
/// next run cannot take bounds from it, so has another price than the one that was paid.
#[test]
fn a_paid_release_is_published_though_the_earlier_one_is_gone() {
    let workshop = two_months();
    workshop.text("job.toml", &open());
    workshop.text("next.toml", &next());
    for job in ["job.toml", "next.toml"] {
        let output = workshop.discretail(&["run", job, "--accept-useless"]);
        assert!(output.status.success(), "{}", shown(&workshop, &output));
    }
    let raw = rusqlite::Connection::open(workshop.path("ledger.sqlite")).unwrap();
    let sql = "SELECT sql FROM sqlite_schema WHERE name = 'entry_no_delete'";
    let trigger: String = raw.query_row(sql, [], |row| row.get(0)).unwrap();
    raw.execute_batch(&format!(
        "DROP TRIGGER entry_no_delete;
         DELETE FROM entry WHERE job = 'next' AND event = 'published'; {trigger}"
    ))
    .unwrap();
    std::fs::remove_dir_all(workshop.path("releases/test")).unwrap();
    let output = workshop.discretail(&["run", "next.toml"]);
    let said = shown(&workshop, &output);
    assert!(output.status.success() && said.contains("was released before"), "{said}");
    assert_eq!(events(&workshop.path("ledger.sqlite"), "next"), ["reserved", "spent", "published"]);
}

/// The same text works for the first month and the next: it names no job.
#[test]
fn the_latest_release_that_fits_is_found() {
    let workshop = two_months();
    let latest = |job: &str| job.replace("previous = \"test\"", "previous = \"latest\"");
    let first = open().replace("\"market\"", "\"market\"\nprevious = \"latest\"");
    let named = |job: &str, id: &str| latest(job).replacen("\"next\"", &format!("{id:?}"), 1);
    let said = |job: &str| {
        workshop.text("job.toml", job);
        let shown = run(&workshop, &["plan", "job.toml"]);
        let lines = shown.lines().filter(|l| l.contains("report market"));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    let run = |job: &str| {
        workshop.text("job.toml", job);
        let output = workshop.discretail(&["run", "job.toml", "--accept-useless"]);
        assert!(output.status.success(), "{}", shown(&workshop, &output));
    };
    let used = |folder: &str| {
        let bytes = std::fs::read(workshop.path(&format!("{folder}/manifest.json"))).unwrap();
        let manifest: Value = serde_json::from_slice(&bytes).unwrap();
        let from = manifest["estimates_from"].as_array().into_iter().flatten();
        from.map(|entry| entry["job"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut texts = said(&first);
    run(&first);
    // Its own release is not earlier than itself.
    texts += &said(&first);
    assert!(used("releases/test").is_empty());
    run(&named(&next(), "second"));
    assert_eq!(used("releases/second"), ["test"; 3]);
    let output = workshop.discretail(&["verify", "releases/second", "--ledger", "ledger.sqlite"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
    let march = next().replace("2025-02-28", "2025-03-31").replace("2025-02-", "2025-03-");
    // The later period goes before, and the one before it if that does not fit.
    texts += &said(&named(&march.replace("2025-03-01", "2025-01-25"), "long"));
    texts += &said(&named(&march, "third"));
    // Its bounds are those that the first has told, as the second took them over: no report pays
    // for surveys every other month.
    let planned = workshop.discretail(&["plan", "job.toml", "--json"]);
    let planned: Value = serde_json::from_slice(&planned.stdout).unwrap();
    let of_market = planned["statistics"].as_array().unwrap().iter();
    let mut of_market = of_market.filter(|s| s["file"].as_str().unwrap().starts_with("market."));
    assert!(of_market.all(|statistic| statistic["norm_bound"].is_number()));
    // What the second took when it was reserved, whatever has been released since.
    run(&named(&next().replace("2025-02-01", "2025-01-30"), "overlap"));
    texts += &said(&named(&next(), "second"));
    // A release that is gone is passed over; one that was changed is not.
    std::fs::remove_dir_all(workshop.path("releases/second")).unwrap();
    texts += &said(&named(&march, "third"));
    workshop.text("releases/overlap/manifest.json", "{}");
    workshop.text("job.toml", &named(&march, "third"));
    let output = workshop.discretail(&["plan", "job.toml"]);
    assert_eq!(output.status.code(), Some(2));
    texts += &shown(&workshop, &output);
    assert_snapshot!(texts);
}
