//! Late data: provisional and final releases, and which one takes the place of which.

use std::process::Stdio;

use discretail::ledger::{Hold, Ledger, Report, Request, Reservation};
use discretail::privacy::AllUnits;
use insta::assert_snapshot;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::common::{JOB, Workshop, command, shown};
use crate::crash::events;
use crate::faults::wait_until;
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

/// Both have looked at what there is before either is reserved.
#[test]
fn of_two_revisions_at_once_one_is_released() {
    let workshop = Workshop::new();
    run(&workshop, "test", "status = \"provisional\"");
    let ledger = Connection::open(workshop.path("ledger.sqlite")).unwrap();
    let mut newest = "test".to_owned();
    for round in 0..3 {
        let ids = ["b", "c"].map(|name| format!("{name}{round}"));
        for id in &ids {
            let text = job(id, &format!("revises = \"{newest}\""));
            workshop.text(&format!("{id}.toml"), &text.replace("\"0.5\"", "\"0.2\""));
        }
        ledger.execute_batch("BEGIN IMMEDIATE").unwrap();
        let runs = ids.each_ref().map(|id| {
            let mut run = command(workshop.folder.path());
            run.args(["run", &format!("{id}.toml")]).stdout(Stdio::piped()).stderr(Stdio::piped());
            run.spawn().expect("starts")
        });
        for id in &ids {
            let lock = workshop.path(&format!(".ledger.sqlite.{id}.lock"));
            wait_until(|| lock.exists());
        }
        ledger.execute_batch("COMMIT").unwrap();
        let ends = runs.map(|run| run.wait_with_output().expect("ends"));
        let [b, c] = ends.each_ref().map(|end| end.status.success());
        assert_ne!(b, c, "{}", ends.each_ref().map(|end| shown(&workshop, end)).join("\n"));
        let (won, lost) = if b { (0, 1) } else { (1, 0) };
        let said = shown(&workshop, &ends[lost]);
        let since = format!("job `{}` has revised it since", ids[won]);
        let under_way = format!("error[earlier-under-way]: job `{}`", ids[won]);
        assert!(said.contains(&since) || said.contains(&under_way), "{said}");
        assert_eq!(events(&workshop.path("ledger.sqlite"), &ids[lost]), ["reserved", "voided"]);
        let again = workshop.discretail(&["run", &format!("{}.toml", ids[lost])]);
        assert!(shown(&workshop, &again).contains(&since), "{}", shown(&workshop, &again));
        newest.clone_from(&ids[won]);
    }
}

/// The one that was reserved before may not see the other: so a run that comes back is reserved
/// after it.
#[test]
fn a_revision_that_was_killed_sees_what_is_under_way_since() {
    let workshop = Workshop::new();
    run(&workshop, "test", "status = \"provisional\"");
    let path = workshop.path("ledger.sqlite");
    workshop.text("job.toml", &job("killed", "revises = \"test\""));
    let plan = workshop.discretail(&["plan", "job.toml", "--json"]);
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    // That of the same job under another id.
    let price = Report::read(&path).unwrap().job("test").unwrap().loss;
    let (killed, other) = (plan["digest"].as_str().unwrap().to_owned(), "d".repeat(64));
    for (job, digest) in [("killed", &killed), ("other", &other)] {
        let (loss, all_units) = (price, AllUnits::default());
        let (user, recipient, time) = ("user", "partner", None);
        let request = Request { job, digest, recipient, user, time, loss, all_units };
        let reserved = Ledger::open_to_change(&path).unwrap().reserve(&request).unwrap();
        assert_eq!(reserved, Reservation::Granted);
    }
    let under_way = Hold::take(&path, "other").unwrap();
    let output = workshop.discretail(&["run", "job.toml"]);
    assert_eq!(output.status.code(), Some(1), "{}", shown(&workshop, &output));
    assert_snapshot!(shown(&workshop, &output));
    assert_eq!(events(&path, "killed"), ["reserved", "voided"]);
    drop(under_way);
    let output = workshop.discretail(&["run", "job.toml"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
}

/// As one is that was killed between its folder and its entry: payments that came in since have no
/// part in it, and it is charged once, though another revision was published meanwhile.
#[test]
fn a_revision_that_was_paid_is_published_as_it_was_made() {
    let workshop = Workshop::new();
    run(&workshop, "test", "status = \"provisional\"");
    let path = workshop.path("ledger.sqlite");
    let before = std::fs::read(&path).unwrap();
    run(&workshop, "killed", "revises = \"test\"");
    let report = Report::read(&path).unwrap();
    let (entry, manifest) = (report.job("killed").unwrap(), manifest(&workshop, "killed"));
    std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), &before).unwrap();
    let request = Request {
        job: "killed",
        digest: &entry.digest,
        recipient: "partner",
        user: "user",
        time: None,
        loss: entry.loss,
        all_units: entry.all_units,
    };
    let mut ledger = Ledger::open_to_change(&path).unwrap();
    assert_eq!(ledger.reserve(&request).unwrap(), Reservation::Granted);
    ledger.spend("killed").unwrap();
    drop(ledger);
    run(&workshop, "other", "revises = \"test\"");
    workshop.parquet("payments.parquet", crate::common::payments().head(Some(700)));
    let bytes = std::fs::read(workshop.path("releases/killed/manifest.json")).unwrap();
    run(&workshop, "killed", "revises = \"test\"");
    assert!(bytes == std::fs::read(workshop.path("releases/killed/manifest.json")).unwrap());
    assert_eq!(events(&path, "killed"), ["reserved", "spent", "published"]);
    assert_eq!(Report::read(&path).unwrap().job("killed").unwrap().loss, entry.loss);
    assert_eq!(manifest["job"]["revises"]["job"], "test");
    let args = ["verify", "releases/killed", "--ledger", "ledger.sqlite"];
    let output = workshop.discretail(&args);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
}

/// The ledger does not hold what a release revises; its manifest does.
#[test]
fn a_release_is_not_revised_where_a_later_one_is_gone() {
    let workshop = Workshop::new();
    run(&workshop, "earlier", "status = \"provisional\"");
    run(&workshop, "test", "status = \"provisional\"");
    run(&workshop, "newer", "revises = \"test\"");
    // What was published before has not revised it.
    std::fs::remove_dir_all(workshop.path("releases/earlier")).unwrap();
    std::fs::rename(workshop.path("releases/newer"), workshop.path("moved")).unwrap();
    workshop.text("job.toml", &job("late", "revises = \"test\""));
    let output = workshop.discretail(&["run", "job.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert_snapshot!(shown(&workshop, &output));
    std::fs::create_dir(workshop.path("releases/newer")).unwrap();
    let manifest = |folder: &str| workshop.path(folder).join("manifest.json");
    std::fs::copy(manifest("moved"), manifest("releases/newer")).unwrap();
    let output = workshop.discretail(&["run", "job.toml"]);
    assert!(shown(&workshop, &output).contains("job `newer` has revised it since"));
    assert!(events(&workshop.path("ledger.sqlite"), "late").is_empty());
    workshop.text("job.toml", &job("late", "revises = \"newer\""));
    let output = workshop.discretail(&["check", "job.toml"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
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
