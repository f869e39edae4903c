//! Late data: provisional and final releases, and which one takes the place of which.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::common::{JOB, Workshop, shown};
use crate::verify::{Copy, names};

/// [`JOB`] under another id, with more lines at its top.
fn job(id: &str, lines: &str) -> String {
    JOB.replace("job       = \"test\"", &format!("job = \"{id}\"\n{lines}"))
        .replace("epsilon = \"1\"", "epsilon = \"0.5\"")
}

fn run(workshop: &Workshop, id: &str, lines: &str) {
    workshop.text("job.toml", &job(id, lines));
    let output = workshop.discretail(&["run", "job.toml"]);
    assert!(output.status.success(), "{}", shown(workshop, &output));
}

fn manifest(workshop: &Workshop, id: &str) -> Value {
    let bytes = std::fs::read(workshop.path(&format!("releases/{id}/manifest.json"))).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn a_later_job_says_which_release_it_revises() {
    let workshop = Workshop::new();
    run(&workshop, "test", "status = \"provisional\"");
    run(&workshop, "corrected", "revises = \"test\"");
    assert_eq!(manifest(&workshop, "test")["job"]["status"], "provisional");
    let corrected = manifest(&workshop, "corrected");
    assert_eq!(corrected["job"]["status"], "final");
    assert_eq!(corrected["job"]["revises"]["job"], "test");

    let ledger = workshop.discretail(&["ledger", "show", "ledger.sqlite"]);
    let text = shown(&workshop, &ledger);
    let jobs: String =
        text.lines().skip_while(|line| !line.starts_with("job ")).collect::<Vec<_>>().join("\n");
    assert_snapshot!(jobs);
    let json = workshop.discretail(&["ledger", "show", "ledger.sqlite", "--json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["jobs"][0]["status"], "provisional");
    assert_eq!(json["jobs"][1]["revises"], "test");
    let args = ["verify", "releases/corrected", "--ledger", "ledger.sqlite"];
    assert!(workshop.discretail(&args).status.success());

    // A release that is not there any more has no status.
    std::fs::remove_dir_all(workshop.path("releases/test")).unwrap();
    let json = workshop.discretail(&["ledger", "show", "ledger.sqlite", "--json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["jobs"][0]["status"], Value::Null);
}

#[test]
fn only_the_newest_release_of_the_same_days_can_be_revised() {
    let workshop = Workshop::new();
    run(&workshop, "test", "status = \"provisional\"");
    run(&workshop, "newer", "revises = \"test\"");
    let other = |lines: &str, from: &str, to: &str| {
        workshop.text("job.toml", &job("late", lines).replace(from, to));
        let output = workshop.discretail(&["check", "job.toml"]);
        assert_eq!(output.status.code(), Some(2));
        shown(&workshop, &output)
    };
    let texts = [
        other("status = \"draft\"", "", ""),
        other("revises = \"nobody\"", "", ""),
        other("revises = \"late\"", "", ""),
        other("revises = \"test\"", "", ""),
        other("revises = \"newer\"", "2025-01-31", "2025-01-30"),
        other("revises = \"newer\"", "\"partner\"", "\"somebody\""),
        other("revises = \"newer\"", "Asia/Shanghai", "Asia/Tokyo"),
    ];
    assert_snapshot!(texts.join("\n"));
    // The same with another population, which is another ledger's.
    let people = other("revises = \"newer\"", "\"people\"", "\"others\"");
    assert!(people.contains("its population is people, not others"), "{people}");
}

#[test]
fn a_false_status_or_revision_is_found() {
    let workshop = Workshop::new();
    run(&workshop, "before", "status = \"provisional\"");
    run(&workshop, "test", "revises = \"before\"");
    let ledger = workshop.path("ledger.sqlite");
    let failed = |change: &dyn Fn(&mut Value)| {
        let copy = Copy::of(&workshop);
        copy.manifest(change);
        copy.failed(Some(&ledger))
    };
    let status = failed(&|m| m["job"]["status"] = json!("provisional"));
    assert_eq!(names(&status), "footer ledger", "{status:?}");
    let unknown = failed(&|m| m["job"]["status"] = json!("draft"));
    assert_eq!(names(&unknown), "footer ledger manifest", "{unknown:?}");
    let itself = failed(&|m| m["job"]["revises"]["job"] = json!("test"));
    assert_eq!(names(&itself), "ledger manifest", "{itself:?}");
    let other = failed(&|m| m["job"]["revises"]["job"] = json!("nobody"));
    assert!(other["ledger"].contains("job `nobody` had not published"), "{other:?}");
}
