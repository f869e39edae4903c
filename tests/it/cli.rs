//! What a user types and sees: help, check, plan, run, and the release that comes out.

use std::path::Path;

use insta::assert_snapshot;
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::common::{JOB, Workshop, shown};

#[test]
fn help_is_worth_reading() {
    let workshop = Workshop::empty();
    for verb in ["", "sample", "check", "plan", "run"] {
        let args: &[&str] = if verb.is_empty() { &["--help"] } else { &[verb, "--help"] };
        assert_snapshot!(format!("help_{verb}"), shown(&workshop, &workshop.discretail(args)));
    }
}

#[test]
fn check_and_plan_tell_what_a_job_would_do_and_write_nothing() {
    let workshop = Workshop::new();
    // Neither opens payments.
    std::fs::remove_file(workshop.path("payments.parquet")).expect("removes");
    for args in [
        &["check", "job.toml"][..],
        &["check", "job.toml", "--json"],
        &["plan", "job.toml"],
        &["plan", "job.toml", "--json"],
    ] {
        let name = args.join("_").replace(".toml", "").replace("--", "");
        assert_snapshot!(name, shown(&workshop, &workshop.discretail(args)));
    }
    let files = std::fs::read_dir(workshop.folder.path()).expect("a folder").count();
    assert_eq!(files, 2, "the job and the table of merchants");
}

#[test]
fn a_job_is_released_once_and_then_found_again() {
    let workshop = Workshop::new();
    let first = workshop.discretail(&["run", "job.toml"]);
    assert_snapshot!("run_first", shown(&workshop, &first));
    let ledger = std::fs::read(workshop.path("ledger.sqlite")).expect("a ledger");
    // The same content, written otherwise, and with other payments.
    workshop
        .text("job.toml", &format!("# a remark\n{}", JOB.replace("version   = 1", "version=1")));
    std::fs::remove_file(workshop.path("payments.parquet")).expect("removes");
    let second = workshop.discretail(&["run", "job.toml"]);
    assert_snapshot!("run_second", shown(&workshop, &second));
    let json = workshop.discretail(&["run", "job.toml", "--json"]);
    assert_snapshot!("run_json", shown(&workshop, &json));
    assert!(ledger == std::fs::read(workshop.path("ledger.sqlite")).expect("a ledger"));
}

#[test]
fn runs_that_are_refused_say_why() {
    let workshop = Workshop::new();
    assert!(workshop.discretail(&["run", "job.toml"]).status.success());
    let try_job = |name: &str, text: String| {
        workshop.text("other.toml", &text);
        assert_snapshot!(name, shown(&workshop, &workshop.discretail(&["run", "other.toml"])));
    };
    try_job("refused_other_content", JOB.replace("\"partner\"", "\"another\""));
    let second = JOB.replace("\"test\"", "\"second\"");
    let dear = second.replace("epsilon = \"1\"", "epsilon = \"4\"").replace("1e-6", "1e-5");
    try_job("refused_over_budget", dear);
    try_job("refused_other_terms", second.replace("epsilon_max = \"4\"", "epsilon_max = \"8\""));
    assert!(!workshop.path("releases/second").exists());
    // A release that was changed is not handed out again.
    workshop.text("releases/test/manifest.json", "{}");
    let gone = workshop.discretail(&["run", "job.toml"]);
    assert_snapshot!("refused_release_changed", shown(&workshop, &gone));
}

#[test]
fn a_release_folder_is_not_overwritten_without_force() {
    let workshop = Workshop::new();
    std::fs::create_dir_all(workshop.path("mine")).expect("makes");
    workshop.text("mine/notes.txt", "keep me");
    let out = ["run", "job.toml", "--out", "mine"];
    assert_snapshot!("out_exists", shown(&workshop, &workshop.discretail(&out)));
    assert!(!workshop.path("ledger.sqlite").exists(), "nothing is charged");
    let forced = workshop.discretail(&["run", "job.toml", "--out", "mine", "--force"]);
    assert_snapshot!("out_forced", shown(&workshop, &forced));
    assert!(workshop.path("mine/manifest.json").exists());
    assert!(!workshop.path("mine/notes.txt").exists());
    let left: Vec<_> = std::fs::read_dir(workshop.folder.path())
        .expect("a folder")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn errors_are_json_where_a_machine_reads() {
    let workshop = Workshop::new();
    workshop.text("job.toml", &JOB.replace("epsilon = \"1\"", "epsilon = \"0\""));
    let output = workshop.discretail(&["check", "job.toml", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_snapshot!(serde_json::to_string_pretty(&json).expect("text"), @r#"
    {
      "findings": [
        {
          "code": "privacy-parameter-invalid",
          "hint": "write a plain decimal in quotes, such as epsilon = \"1\" and delta = \"1e-9\"",
          "message": "`epsilon` = 0 must be a decimal of at least 0.000001 and at most 20",
          "place": {
            "column": 11,
            "line": 21
          }
        }
      ],
      "status": "invalid"
    }
    "#);
}

#[test]
fn sample_refuses_a_folder_that_holds_something() {
    let workshop = Workshop::new();
    let output = workshop.discretail(&["sample", ".", "--payments", "10"]);
    assert_snapshot!("sample_refused", shown(&workshop, &output));
}

/// Names, types and nullability of a table's columns, and its number of rows.
fn schema(path: &Path) -> String {
    let file = std::fs::File::open(path).expect("opens");
    let reader = SerializedFileReader::new(file).expect("a Parquet file");
    let metadata = reader.metadata().file_metadata();
    let mut lines = Vec::new();
    for entry in metadata.key_value_metadata().into_iter().flatten() {
        if entry.key.starts_with("discretail") {
            lines.push(format!("{}: {}", entry.key, entry.value.as_deref().unwrap_or_default()));
        }
    }
    let mut table = polars::prelude::LazyFrame::scan_parquet(
        polars::prelude::PlRefPath::try_from_path(path).expect("a path"),
        polars::prelude::ScanArgsParquet::default(),
    )
    .expect("scans");
    let schema = table.collect_schema().expect("a schema");
    lines.extend(schema.iter().map(|(name, dtype)| format!("{name}: {dtype:?}")));
    lines.join("\n")
}

#[test]
fn tables_have_their_documented_form() {
    let workshop = Workshop::new();
    assert!(workshop.discretail(&["run", "job.toml"]).status.success());
    for table in
        ["market.all", "market.region-week", "market.wallet", "found.merchant", "found.wallet-day"]
    {
        let path = workshop.path(&format!("releases/test/{table}.parquet"));
        assert_snapshot!(format!("schema_{table}"), schema(&path));
    }
    let manifest = std::fs::read_to_string(workshop.path("releases/test/manifest.json"));
    insta::with_settings!({filters => vec![(r#""sha256": "[0-9a-f]{64}""#, r#""sha256": "...""#)]}, {
        assert_snapshot!("manifest", manifest.expect("a manifest"));
    });
}

/// Public levels have all their rows, in the order of keys, whatever the payments.
#[test]
fn rows_of_public_levels_follow_from_the_job() {
    let workshop = Workshop::new();
    assert!(workshop.discretail(&["run", "job.toml"]).status.success());
    let count = |table: &str| {
        let path = workshop.path(&format!("releases/test/{table}.parquet"));
        let reader = SerializedFileReader::new(std::fs::File::open(path).expect("opens"));
        reader.expect("a Parquet file").metadata().file_metadata().num_rows()
    };
    // January 2025 touches five weeks; two regions; three wallets.
    assert_eq!(
        [count("market.all"), count("market.region-week"), count("market.wallet")],
        [1, 10, 3]
    );
}
