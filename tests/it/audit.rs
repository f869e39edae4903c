//! `discretail audit`: the real binary, on a job and on releases.

use std::path::Path;

use insta::assert_snapshot;
use polars::prelude::{ParquetReader, SerReader};
use serde_json::Value;

use crate::common::{JOB, Workshop, shown};

fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    // How many private keys are shown is random.
    settings
        .add_filter(r"\d+ rows in order; \d+ noised values", "N rows in order; M noised values");
    settings.add_filter(r"\d+ rows in order; \d+ values", "N rows in order; M values");
    settings
}

fn rows(output: &std::process::Output) -> Vec<Value> {
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    json["rows"].as_array().expect("rows").clone()
}

/// What stands in the folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("lists");
    let mut names: Vec<String> =
        entries.map(|e| e.expect("lists").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The payments and the ledger are not even there: an audit of a job cannot need them, and leaves
/// nothing but its evidence.
#[test]
fn a_job_is_audited_without_its_payments() {
    let workshop = Workshop::new();
    std::fs::remove_file(workshop.path("payments.parquet")).unwrap();
    let output = workshop.discretail(&["audit", "job.toml", "--users", "5000"]);
    settings().bind(|| assert_snapshot!(shown(&workshop, &output)));
    assert_eq!(names(workshop.folder.path()), ["job.toml", "merchants.parquet", "releases"]);
    let folder = workshop.path("releases/test.audit");
    assert_eq!(names(&folder), ["audit.html", "audit.parquet"]);

    let file = std::fs::File::open(folder.join("audit.parquet")).unwrap();
    let table = ParquetReader::new(file).finish().unwrap();
    let columns: Vec<String> = table.get_column_names().iter().map(ToString::to_string).collect();
    assert_eq!(
        columns,
        ["check", "what", "method", "verdict", "figure", "confidence", "reference"]
    );
    let text = std::fs::read_to_string(folder.join("audit.html")).unwrap();
    let verdict = text.find("Not refuted: none of").expect("a verdict");
    assert!(verdict < text.find("<h2>").expect("a check"), "the verdict comes first");
    for outside in ["http:", "https:", "src=", "@import", "<script", "verified", "anonym"] {
        assert!(!text.contains(outside), "the page has `{outside}`");
    }
}

/// Payments that are there are left alone: a file that no reader could open does not matter.
#[test]
fn the_payments_of_a_job_are_never_opened() {
    let workshop = Workshop::new();
    workshop.text("payments.parquet", "no table at all");
    let output = workshop.discretail(&["audit", "job.toml", "--json"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
    assert!(rows(&output).iter().all(|row| row["verdict"] != "refuted"));
    let run = workshop.discretail(&["run", "job.toml"]);
    assert_eq!(run.status.code(), Some(2), "the file cannot be opened, as `run` finds");
}

#[test]
fn a_job_that_asks_too_much_is_refuted() {
    let workshop = Workshop::new();
    let job = JOB.replace("epsilon = \"1\"", "epsilon = \"12\"");
    let job = job.replace("epsilon_max = \"4\"", "epsilon_max = \"11\"");
    workshop.text("job.toml", &job.replace("sales = \"300\"", "sales = \"312.75\""));
    let output = workshop.discretail(&["audit", "job.toml", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let refuted: Vec<String> = rows(&output)
        .iter()
        .filter(|row| row["verdict"] == "refuted")
        .map(|row| row["figure"].to_string())
        .collect();
    let folder = workshop.folder.path().display().to_string();
    let error = String::from_utf8_lossy(&output.stderr).replace(&folder, "FOLDER");
    assert_snapshot!(format!("{}\n{error}", refuted.join("\n")));
}

#[test]
fn a_release_is_audited_from_the_outside() {
    let workshop = Workshop::new();
    let second = JOB.replace("\"test\"", "\"other\"").replace("[\"wallet\"]]", "[\"category\"]]");
    workshop.text("other.toml", &second);
    for job in ["job.toml", "other.toml"] {
        let output = workshop.discretail(&["run", job]);
        assert!(output.status.success(), "{}", shown(&workshop, &output));
    }
    let args = ["audit", "releases/test", "--ledger", "ledger.sqlite"];
    let mut texts = shown(&workshop, &workshop.discretail(&args));
    let (of_release, of_job) = ("releases/test.release-audit", "releases/test.audit");
    assert_eq!(names(&workshop.path(of_release)), ["audit.html", "audit.parquet"]);
    // The job's own evidence stands beside it, and neither replaces the other.
    let evidence = std::fs::read(workshop.path(of_release).join("audit.parquet")).unwrap();
    let output = workshop.discretail(&["audit", "job.toml"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
    assert_eq!(names(&workshop.path(of_job)), ["audit.html", "audit.parquet"]);
    assert!(evidence == std::fs::read(workshop.path(of_release).join("audit.parquet")).unwrap());
    // A value that no mechanism makes, with nothing else changed.
    workshop.text("releases/other/market.all.parquet", "no table");
    let args = ["audit", "releases/other", "--out", "evidence"];
    texts += &shown(&workshop, &workshop.discretail(&args));
    texts += &shown(&workshop, &workshop.discretail(&["audit", "nowhere"]));
    // A folder that is no release gets no evidence.
    texts += &shown(&workshop, &workshop.discretail(&["audit", "releases"]));
    assert!(!workshop.path("releases.release-audit").exists());
    // What would have no effect.
    for argument in ["--full", "--quick", "--users=5000", "--threads=1"] {
        let output = workshop.discretail(&["audit", "releases/test", argument]);
        let said = shown(&workshop, &output);
        assert!(
            said.starts_with("exit: 2\n") && said.contains("error[audit-argument-idle]"),
            "{said}"
        );
    }
    texts += &shown(&workshop, &workshop.discretail(&["audit", "job.toml", "--ledger", "no"]));
    // A file where the folder should be.
    let args = ["audit", "releases/test", "--out", "job.toml"];
    texts += &shown(&workshop, &workshop.discretail(&args));
    let page = std::fs::read_to_string(workshop.path("evidence/audit.html")).unwrap();
    assert!(page.contains("class=\"verdict bad\">Refuted"), "{page}");
    settings().bind(|| assert_snapshot!(texts));
}

/// What is exact holds, and the program was started and read wherever that is tried. Rows that go
/// by chance are not held here: they have a rate of false alarms (`docs/audit.md`).
#[test]
fn a_full_audit_starts_the_program_and_refutes_nothing_that_is_exact() {
    let workshop = Workshop::new();
    let output = workshop.discretail(&["audit", "job.toml", "--full", "--json"]);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", shown(&workshop, &output));
    let mut rows = rows(&output);
    rows.retain(|row| row["check"] != "checklist");
    for row in &rows {
        let by_chance = row["confidence"].as_f64().expect("a number") < 1.0;
        assert!(by_chance || row["verdict"] != "refuted", "{row:#}");
        assert_ne!(row["figure"], "there is no program to start");
    }
    let ended = "the program stopped with";
    assert!(!output.stdout.windows(ended.len()).any(|text| text == ended.as_bytes()));
    let count = |check: &str| rows.iter().filter(|row| row["check"] == check).count();
    let counts = ["static", "noise", "black box", "attacks", "side channels"].map(count);
    assert_eq!(counts, [7, 6, 7, 5, 4]);
}
