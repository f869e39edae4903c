//! Tables in folders, one file for each value of a time key: released, verified and read again.

use std::path::Path;

use insta::assert_snapshot;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{Workshop, fitted, sharp, shown};
use discretail::verify::{Outcome, verify};

const REPORT: &str = r#"
[[report]]
name         = "market"
levels       = [["region", "week"], ["week"]]
keys         = "public"
insights     = ["customers", "payments", "payments_growth"]
partition_by = "week"
bounds       = { customers = "3", payments = "10" }
suppress_above = "never"

[[report]]
name         = "found"
levels       = [["merchant", "week"], ["wallet"]]
keys         = "private"
insights     = ["customers"]
partition_by = "week"
bounds       = { customers = "2" }
"#;

fn job(name: &str, report: &str) -> String {
    let head = sharp().replace("[merchants]\n", "[merchants]\nmin_per_cell = 1\n");
    fitted(head.replace("\"test\"", &format!("\"{name}\"")) + report)
}

fn run(workshop: &Workshop, name: &str, report: &str) {
    run_job(workshop, &job(name, report));
}

fn run_job(workshop: &Workshop, text: &str) {
    workshop.text("job.toml", text);
    let output = workshop.discretail(&["run", "job.toml"]);
    assert!(output.status.success(), "{}", shown(workshop, &output));
}

fn verified(workshop: &Workshop, name: &str) {
    let release = format!("releases/{name}");
    let output = workshop.discretail(&["verify", &release, "--ledger", "ledger.sqlite"]);
    assert!(output.status.success(), "{}", shown(workshop, &output));
}

/// All files of a folder, by their names within it.
fn files(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            names.extend(files(&entry.path()).iter().map(|file| format!("{name}/{file}")));
        } else {
            names.push(name);
        }
    }
    names.sort();
    names
}

fn copied(from: &Path, to: &Path) {
    for name in files(from) {
        std::fs::create_dir_all(to.join(&name).parent().unwrap()).unwrap();
        std::fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

fn faults(folder: &Path) -> String {
    let checks = verify(folder, None).unwrap().checks.into_iter();
    let failed = checks.filter_map(|check| match check.outcome {
        Outcome::Failed(faults) => Some(format!("{}: {}", check.name, faults.join("; "))),
        _ => None,
    });
    failed.collect::<Vec<_>>().join("\n")
}

/// Files that their owner alone may read are of no use to those who get the release.
#[test]
fn all_may_read_a_release_whatever_the_umask() {
    use std::os::unix::fs::PermissionsExt;
    let workshop = Workshop::new();
    workshop.text("job.toml", &job("shut", REPORT));
    let ran = std::process::Command::new("sh")
        .args(["-c", "umask 077 && exec \"$0\" run job.toml", env!("CARGO_BIN_EXE_discretail")])
        .current_dir(workshop.folder.path())
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", shown(&workshop, &ran));
    let release = workshop.path("releases/shut");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&release), 0o755);
    for name in files(&release) {
        assert_eq!(mode(&release.join(&name)), 0o644, "{name}");
        assert_eq!(mode(release.join(&name).parent().unwrap()), 0o755, "{name}");
    }
}

#[test]
fn each_period_has_a_file_and_the_release_is_verified() {
    let workshop = Workshop::new();
    run(&workshop, "test", REPORT);
    verified(&workshop, "test");
    let all = files(&workshop.path("releases/test"));
    assert_snapshot!(all.join("\n"));
    // The page is made of all files again, and says the same.
    let page = std::fs::read(workshop.path("releases/test/report.html")).unwrap();
    let output = workshop.discretail(&["report", "releases/test", "--output", "page.html"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
    assert!(page == std::fs::read(workshop.path("page.html")).unwrap());
}

/// Values and keys of an earlier release come from all its files, as from one.
#[test]
fn earlier_releases_are_read_from_folders() {
    let workshop = Workshop::new();
    run(&workshop, "test", REPORT);
    let later = REPORT
        .replace("name         = \"market\"", "name = \"market\"\nprevious = \"test\"")
        .replace("name         = \"found\"", "name = \"found\"\nkeys_from = \"test\"");
    let later = job("later", &later)
        .replace("first_day = 2025-01-01", "max_bad_share = 1\nfirst_day = 2025-01-13")
        .replace("last_day  = 2025-01-31", "last_day = 2025-02-09");
    run_job(&workshop, &later);
    verified(&workshop, "later");
    let manifest = std::fs::read(workshop.path("releases/later/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let from: Vec<&Value> =
        manifest["estimates_from"].as_array().unwrap().iter().map(|e| &e["file"]).collect();
    assert_eq!(from, ["market.region-week.parquet", "market.week.parquet"]);
    assert_eq!(manifest["key_sets"][2]["keys_from"][0]["job"], json!("test"));
}

#[test]
fn files_that_are_elsewhere_changed_or_too_many_are_found() {
    let workshop = Workshop::new();
    run(&workshop, "test", REPORT);
    let release = workshop.path("releases/test");
    let first = "market.week.parquet/week=2025-01-06/part-0.parquet";
    let changed = |change: &dyn Fn(&Path)| {
        let copy = TempDir::new().unwrap();
        copied(&release, copy.path());
        change(copy.path());
        faults(copy.path())
    };
    let renamed = |folder: &Path, from: &str, to: &str| {
        std::fs::create_dir_all(folder.join(to).parent().unwrap()).unwrap();
        std::fs::rename(folder.join(from), folder.join(to)).unwrap();
    };
    let claim = |folder: &Path, change: &dyn Fn(&mut Value)| {
        let path = folder.join("manifest.json");
        let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(&mut manifest);
        let file = std::fs::File::create(path).unwrap();
        serde_json::to_writer(file, &manifest).unwrap();
    };
    let other = "market.week.parquet/week=2025-01-07/part-0.parquet";
    let moved = |folder: &Path| {
        renamed(folder, first, other);
        claim(folder, &|manifest| {
            for file in manifest["files"].as_array_mut().unwrap() {
                if file["name"] == first {
                    file["name"] = json!(other);
                }
            }
        });
    };
    for (found, what) in [
        (changed(&|_| ()), ""),
        (changed(&|folder| std::fs::remove_file(folder.join(first)).unwrap()), "is missing"),
        (
            changed(&|folder| {
                std::fs::copy(folder.join(first), folder.join("market.week.parquet/extra"))
                    .unwrap();
            }),
            "`market.week.parquet/extra` is no part of the release",
        ),
        (changed(&|folder| renamed(folder, first, other)), "is no part of the release"),
        // Under the name of another day, a week is none that begins on a Monday.
        (changed(&moved), "`week` is outside the job's period"),
        (
            changed(&|folder| {
                claim(folder, &|manifest| manifest["key_sets"][0]["partition_by"] = Value::Null);
            }),
            "is no table",
        ),
        (
            changed(&|folder| {
                claim(folder, &|manifest| {
                    manifest["key_sets"][0]["partition_by"] = json!("region");
                });
            }),
            "is split by `region`, which is no period",
        ),
    ] {
        assert!(found.contains(what) && found.is_empty() == what.is_empty(), "{what}: {found}");
    }
}

#[test]
fn a_key_that_splits_nothing_is_refused() {
    let check = |to: &str| {
        let workshop = Workshop::new();
        workshop
            .text("job.toml", &job("test", &REPORT.replace("\"week\"\nbounds       = { c", to)));
        let output = workshop.discretail(&["check", "job.toml"]);
        assert_eq!(output.status.code(), Some(2), "{to}: {}", shown(&workshop, &output));
        shown(&workshop, &output).replace("exit: 2\n--- stdout\n--- stderr\n", "")
    };
    let texts = ["\"month\"", "\"hour\"", "\"region\""]
        .map(|key| check(&format!("{key}\nbounds       = {{ c")));
    assert_snapshot!(texts.join("\n"));
}
