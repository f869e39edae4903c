//! What a user sees of each verb, and what a release holds.

use insta::{Settings, assert_snapshot};
use parquet::file::reader::{FileReader, SerializedFileReader};
use polars::prelude::{ParquetReader, SerReader};

use crate::common::{JOB, Workshop, payments, shown};

fn run(workshop: &Workshop, args: &[&str]) -> String {
    shown(workshop, &workshop.discretail(args))
}

/// Hides the digests of released files, since their noise is random.
fn hidden() -> Settings {
    let mut settings = Settings::clone_current();
    settings.add_filter(r#""sha256": "[0-9a-f]{64}""#, r#""sha256": "DIGEST""#);
    settings
}

/// All files under the workshop, in order.
fn files(workshop: &Workshop) -> Vec<String> {
    let pattern = format!("{}/**/*", workshop.folder.path().display());
    let paths = glob::glob(&pattern).unwrap().map(|path| path.unwrap());
    let name = |path: std::path::PathBuf| {
        path.strip_prefix(workshop.folder.path()).unwrap().display().to_string()
    };
    paths.filter(|path| path.is_file()).map(name).collect()
}

/// How long a run took, and each of its steps, depends on the payments.
#[test]
fn a_release_tells_no_time() {
    let workshop = Workshop::new();
    let of_2000 = std::time::UNIX_EPOCH + std::time::Duration::from_secs(946_684_800);
    let modified = |path: &std::path::Path| path.metadata().unwrap().modified().unwrap();
    assert!(workshop.discretail(&["run", "job.toml"]).status.success());
    let folder = workshop.path("releases/test");
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let paths: Vec<_> = files.chain([folder.clone()]).collect();
    assert!(paths.len() > 7, "{paths:?}");
    for path in &paths {
        assert_eq!(modified(path), of_2000, "{}", path.display());
    }
}

#[test]
fn help_of_the_program_and_of_each_verb() {
    let workshop = Workshop::empty();
    for verb in [
        "",
        "sample",
        "check",
        "plan",
        "run",
        "verify",
        "audit",
        "report",
        "ledger",
        "ledger init",
        "ledger show",
        "ledger verify",
        "ledger void",
    ] {
        let args: Vec<&str> = verb.split_whitespace().chain(["--help"]).collect();
        assert_snapshot!(format!("help_{}", verb.replace(' ', "_")), run(&workshop, &args));
    }
}

#[test]
fn wrong_arguments_are_exit_2() {
    let workshop = Workshop::empty();
    let mut texts = String::new();
    for args in [
        &["rum", "job.toml"][..],
        &["run"],
        &["run", "job.toml", "--ouT", "x"],
        &["plan", "--try", "payments", "job.toml"],
    ] {
        texts += &run(&workshop, args);
    }
    assert_snapshot!(texts);
}

#[test]
fn paths_that_are_not_there_are_exit_2() {
    let workshop = Workshop::new();
    let mut texts = String::new();
    for args in [
        &["ledger", "show", "nope"][..],
        &["ledger", "verify", "nope"],
        &["ledger", "verify", "nope", "--head", "abc"],
        &["ledger", "void", "nope", "test"],
        &["verify", "nope"],
        &["report", "nope"],
        &["report", "."],
        &["audit", "nope"],
    ] {
        texts += &run(&workshop, args);
    }
    let named = JOB
        .replacen("recipient", "revises = \"first\"\nrecipient", 1)
        .replace("cells_max = 8", "cells_max = 8\nkeys_from = [\"first\", \"second\"]")
        .replace("name     = \"market\"", "name     = \"market\"\nprevious = \"first\"");
    workshop.text("job.toml", &named);
    texts += &run(&workshop, &["check", "job.toml"]);
    assert_snapshot!(texts);
    workshop.text("job.toml", JOB);
    run(&workshop, &["run", "job.toml"]);
    let text = run(&workshop, &["verify", "releases/test", "--ledger", "nope"]);
    assert!(text.contains("exit: 2") && text.contains("ledger-missing"), "{text}");
}

#[test]
fn check_and_plan_tell_the_price_and_write_nothing() {
    let workshop = Workshop::new();
    let before = files(&workshop);
    assert_snapshot!("check", run(&workshop, &["check", "job.toml"]));
    assert_snapshot!("check_json", run(&workshop, &["check", "job.toml", "--json"]));
    assert_snapshot!("plan", run(&workshop, &["plan", "job.toml"]));
    assert_snapshot!("plan_json", run(&workshop, &["plan", "job.toml", "--json"]));
    assert_eq!(files(&workshop), before);
}

/// Whatever tables and statistics are called.
#[test]
fn plan_keeps_its_columns() {
    let workshop = Workshop::new();
    let job = JOB
        .replace("\"found\"", "\"what-merchants-and-wallets-have-of-it\"")
        .replace(
            "\"payments\", \"sales\", \"average_ticket\"]",
            "\"visit_classes\", \"ticket_histogram\"]",
        )
        .replace(
            "payments = \"10\", sales = \"500.00\"",
            "visit_classes = 3, ticket_histogram = 10",
        )
        .replace("[privacy]", "[expect]\nusers = 20000\npayments = 400000\n\n[privacy]");
    workshop.text("job.toml", &job);
    assert_snapshot!(run(&workshop, &["plan", "job.toml"]));
}

#[test]
fn plan_needs_no_payments() {
    let workshop = Workshop::new();
    std::fs::remove_file(workshop.path("payments.parquet")).unwrap();
    let output = workshop.discretail(&["plan", "job.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&workshop, &output));
}

#[test]
fn a_job_is_released_once() {
    let workshop = Workshop::new();
    let mut texts = run(&workshop, &["run", "job.toml"]);
    let ledger = std::fs::read(workshop.path("ledger.sqlite")).unwrap();
    let manifest = std::fs::read(workshop.path("releases/test/manifest.json")).unwrap();
    texts += &run(&workshop, &["run", "job.toml"]);
    texts += &run(&workshop, &["run", "job.toml", "--force", "--json"]);
    // The answer needs no payments.
    std::fs::remove_file(workshop.path("payments.parquet")).unwrap();
    texts += &run(&workshop, &["run", "job.toml"]);
    assert!(ledger == std::fs::read(workshop.path("ledger.sqlite")).unwrap(), "charged twice");
    assert!(manifest == std::fs::read(workshop.path("releases/test/manifest.json")).unwrap());
    texts += &run(&workshop, &["plan", "job.toml"]);
    assert_snapshot!("released", texts);
    assert_snapshot!("files", files(&workshop).join("\n"));
}

#[test]
fn an_id_stands_for_one_content() {
    let workshop = Workshop::new();
    run(&workshop, &["run", "job.toml"]);
    let ledger = std::fs::read(workshop.path("ledger.sqlite")).unwrap();
    workshop.text("job.toml", &JOB.replace("cells_max = 8", "cells_max = 9"));
    let mut texts = run(&workshop, &["run", "job.toml"]);
    let last = |text: String| text.lines().rev().nth(1).unwrap().to_owned() + "\n";
    texts += &last(run(&workshop, &["plan", "job.toml"]));
    texts += &run(&workshop, &["run", "job.toml", "--force", "--json"]);
    // Comments, places and spellings are no content.
    workshop.text("job.toml", &format!("# The same.\n{JOB}"));
    texts += &run(&workshop, &["run", "job.toml"]);
    let own = workshop.path("ledger.sqlite").display().to_string();
    let same = JOB
        .replace("epsilon = \"1\"", "epsilon = 1.0")
        .replace("\"payments.parquet\"", "\"./payments.parquet\"")
        .replace("timezone ", "quarantine = \"bad\"\ntimezone ")
        .replace("\"ledger.sqlite\"", &format!("{own:?}"))
        .replace("[payments]", "releases = \"elsewhere\"\n[payments]");
    workshop.text("job.toml", &same);
    texts += &run(&workshop, &["run", "job.toml"]);
    assert!(ledger == std::fs::read(workshop.path("ledger.sqlite")).unwrap());
    assert_snapshot!(texts);
}

#[test]
fn a_ledger_refuses_what_does_not_fit() {
    let workshop = Workshop::new();
    // The job alone is dearer than its ledger.
    workshop.text("job.toml", &JOB.replace("epsilon_max = \"4\"", "epsilon_max = \"0.5\""));
    let mut texts = run(&workshop, &["plan", "job.toml"]);
    texts += &run(&workshop, &["run", "job.toml"]);
    assert!(!workshop.path("releases").exists());
    // Its terms are not fixed by a job that could never be in it.
    assert!(!workshop.path("ledger.sqlite").exists());
    workshop.text("job.toml", JOB);
    texts += &run(&workshop, &["run", "job.toml"]);
    // Other terms than the ledger was made with.
    let other = JOB.replace("epsilon_max = \"4\"", "epsilon_max = \"8\"");
    workshop.text("job.toml", &other.replace("\"people\"", "\"others\""));
    texts += &run(&workshop, &["run", "job.toml"]);
    texts += &run(&workshop, &["plan", "job.toml"]);
    assert_snapshot!(texts);
}

#[test]
fn a_budget_is_used_up() {
    let workshop = Workshop::new();
    let terms = JOB.replace("epsilon_max = \"4\"", "epsilon_max = \"1.2\"");
    workshop.text("job.toml", &terms);
    assert_eq!(workshop.discretail(&["run", "job.toml"]).status.code(), Some(0));
    workshop.text("next.toml", &terms.replace("\"test\"", "\"next\""));
    let output = workshop.discretail(&["run", "next.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!workshop.path("releases/next").exists());
    assert_snapshot!(shown(&workshop, &output));
}

#[test]
fn a_folder_is_replaced_by_force_only() {
    let workshop = Workshop::new();
    std::fs::create_dir_all(workshop.path("releases/test")).unwrap();
    workshop.text("releases/test/precious.txt", "mine");
    let mut texts = run(&workshop, &["run", "job.toml"]);
    assert!(workshop.path("releases/test/precious.txt").exists());
    assert!(!workshop.path("ledger.sqlite").exists(), "charged for nothing");
    // Neither somebody's files nor another job's release are replaced.
    texts += &run(&workshop, &["run", "job.toml", "--force"]);
    workshop.text("releases/test/manifest.json", r#"{"job":{"id":"other"}}"#);
    texts += &run(&workshop, &["run", "job.toml", "--force"]);
    assert!(workshop.path("releases/test/precious.txt").exists());
    assert!(!workshop.path("ledger.sqlite").exists(), "charged for nothing");
    workshop.text("releases/test/manifest.json", r#"{"job":{"id":"test"}}"#);
    texts += &run(&workshop, &["run", "job.toml", "--force"]);
    assert!(!workshop.path("releases/test/precious.txt").exists());
    assert_snapshot!(texts);
}

#[test]
fn out_names_the_folder() {
    let workshop = Workshop::new();
    let mut texts = run(&workshop, &["run", "job.toml", "--out", "elsewhere/deep", "--json"]);
    assert!(workshop.path("elsewhere/deep/manifest.json").exists());
    assert!(!workshop.path("releases").exists());
    texts += &run(&workshop, &["run", "job.toml", "--json"]);
    // Where it stands already.
    texts += &run(&workshop, &["run", "job.toml", "--out", "elsewhere/deep"]);
    texts += &run(&workshop, &["run", "job.toml", "--out", "other"]);
    assert!(!workshop.path("other").exists());
    std::fs::remove_dir_all(workshop.path("elsewhere")).unwrap();
    texts += &run(&workshop, &["run", "job.toml"]);
    assert_snapshot!(texts);
}

#[test]
fn errors_as_json_have_codes_and_places() {
    let workshop = Workshop::new();
    workshop
        .text("job.toml", &JOB.replace("\"CNY\"", "\"RMB\"").replace("\"user\"\n", "\"day\"\n"));
    assert_snapshot!(run(&workshop, &["check", "job.toml", "--json"]));
}

#[test]
fn the_job_file_is_there() {
    let workshop = Workshop::new();
    let mut texts = run(&workshop, &["run", "nothing.toml"]);
    texts += &run(&workshop, &["check", "."]);
    texts += &run(&workshop, &["plan", "payments.parquet"]);
    assert_snapshot!(texts);
}

#[test]
fn a_sample_fills_an_empty_folder() {
    let workshop = Workshop::empty();
    let args = ["sample", "demo", "--payments", "2000", "--merchants", "5", "--days", "7"];
    let mut texts = run(&workshop, &args);
    texts += &run(&workshop, &args);
    texts += &run(&workshop, &["sample", "x", "--payments", "0", "--days", "4000"]);
    for threads in ["0", "20000"] {
        texts += &run(&workshop, &["sample", "x", "--threads", threads]);
    }
    workshop.text("taken", "");
    texts += &run(&workshop, &["sample", "taken"]);
    assert_snapshot!(texts);
}

#[test]
fn the_release_has_a_stable_schema_and_says_its_guarantee() {
    let workshop = Workshop::new();
    run(&workshop, &["run", "job.toml"]);
    let mut texts = String::new();
    for name in files(&workshop).iter().filter(|n| n.starts_with("releases/")) {
        if !name.ends_with(".parquet") {
            continue;
        }
        let open = || std::fs::File::open(workshop.path(name)).unwrap();
        let table = ParquetReader::new(open()).finish().unwrap();
        let public = name.contains("market.");
        let rows = if public { table.height().to_string() } else { "some".to_owned() };
        texts += &format!("{name}: {rows} rows\n");
        for column in table.columns() {
            texts += &format!("  {}: {}\n", column.name(), column.dtype());
        }
        let reader = SerializedFileReader::new(open()).unwrap();
        let footer = reader.metadata().file_metadata();
        for entry in footer.key_value_metadata().unwrap() {
            if entry.key.starts_with("discretail.") {
                texts += &format!("  [{}] {}\n", entry.key, entry.value.as_deref().unwrap_or(""));
            }
        }
        texts += &format!("  written by {}\n", footer.created_by().unwrap_or(""));
    }
    assert_snapshot!("schema", texts);
    let manifest = std::fs::read_to_string(workshop.path("releases/test/manifest.json")).unwrap();
    hidden().bind(|| assert_snapshot!("manifest", manifest));
}

#[test]
fn no_token_is_ever_shown() {
    let workshop = Workshop::new();
    let tokens = payments();
    let tokens = tokens.column("user").unwrap().str().unwrap();
    let mut texts = run(&workshop, &["-v", "run", "job.toml"]);
    texts += &run(&workshop, &["-v", "run", "job.toml"]);
    for token in tokens.iter().flatten() {
        // As a word: `u05` is not in `0u05f`, a part of a digest.
        let words = texts.split(|c: char| !c.is_ascii_alphanumeric());
        assert!(!words.into_iter().any(|word| word == token), "{texts}");
    }
}
