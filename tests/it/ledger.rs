//! `discretail ledger`: what a user sees of each verb, and that no edit by hand goes unseen.

use std::path::Path;

use discretail::ledger::{Hold, Ledger, Request, Reservation};
use discretail::privacy::{AllUnits, Delta, MuSquared, PrivacyLoss};
use insta::{Settings, assert_snapshot};
use rusqlite::{Connection, OptionalExtension};
use serde_json::{Value, json};

use crate::common::{JOB, Workshop, fitted, shown};

const INIT: [&str; 9] = [
    "ledger",
    "init",
    "ledger.sqlite",
    "--population",
    "people",
    "--epsilon-max",
    "4",
    "--delta-max",
    "1e-5",
];

fn run(workshop: &Workshop, args: &[&str]) -> String {
    format!("$ discretail {}\n{}", args.join(" "), shown(workshop, &workshop.discretail(args)))
}

/// Hides what noise makes random: digests of manifests, and with them the heads.
fn hidden() -> Settings {
    let mut settings = Settings::clone_current();
    settings.add_filter(r"\b[0-9a-f]{64}\b", "HASH");
    settings
}

fn head(workshop: &Workshop) -> String {
    let shown = workshop.discretail(&["ledger", "show", "ledger.sqlite", "--json"]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    shown["head"].as_str().unwrap().to_owned()
}

/// A reservation as a killed run leaves it.
fn reserve(path: &Path, job: &str) {
    reserve_as(path, job, &"d".repeat(64));
}

fn reserve_as(path: &Path, job: &str, digest: &str) -> Ledger {
    let mut ledger = Ledger::open_to_change(path).unwrap();
    let loss = PrivacyLoss {
        mu_squared: MuSquared::from_units(1 << 50),
        threshold_delta: Delta::parse("1e-9").unwrap(),
    };
    let all_units = AllUnits { periods: 1, mu_squared: loss.mu_squared };
    let request =
        Request { job, digest, recipient: "press", user: "user", time: None, loss, all_units };
    assert_eq!(ledger.reserve(&request).unwrap(), Reservation::Granted);
    ledger
}

#[test]
fn plan_says_what_the_ledger_knows_of_the_job() {
    let workshop = Workshop::new();
    let path = workshop.path("ledger.sqlite");
    assert!(workshop.discretail(&INIT).status.success());
    let plan = || -> Value {
        let output = workshop.discretail(&["plan", "job.toml", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let mut texts = String::new();
    let mut tell = |state: &str, fits: bool| {
        let plan = plan();
        assert_eq!((&plan["state"], &plan["fits"]), (&json!(state), &json!(fits)));
        let text = String::from_utf8(workshop.discretail(&["plan", "job.toml"]).stdout).unwrap();
        let folder = workshop.folder.path().display().to_string();
        texts += &(text.lines().last().unwrap().replace(&folder, "FOLDER") + "\n");
    };
    tell("new", true);
    reserve(&path, "test");
    tell("content-differs", true);
    assert!(workshop.discretail(&["ledger", "void", "ledger.sqlite", "test"]).status.success());
    let digest = plan()["digest"].as_str().unwrap().to_owned();
    let mut ledger = reserve_as(&path, "test", &digest);
    tell("reserved", true);
    ledger.void("test").unwrap();
    assert!(workshop.discretail(&["run", "job.toml"]).status.success());
    tell("published", true);
    workshop.text("job.toml", &JOB.replace("cells_max = 8", "cells_max = 9"));
    tell("content-differs", true);
    assert_snapshot!(texts);
}

#[test]
fn the_life_of_a_ledger() {
    let workshop = Workshop::new();
    let ledger = "ledger.sqlite";
    let recipients = ["--recipient", "partner=2,1e-6", "--recipient", "press=0.5,1e-7"];
    let mut texts = run(&workshop, &[&INIT[..], &recipients].concat());
    texts += &run(&workshop, &["ledger", "show", ledger]);
    texts += &run(&workshop, &["plan", "job.toml"]);
    texts += &run(&workshop, &["run", "job.toml"]);
    reserve(&workshop.path(ledger), "dead");
    texts += &run(&workshop, &["ledger", "show", ledger]);
    texts += &run(&workshop, &["ledger", "show", ledger, "--json"]);
    texts += &run(&workshop, &["ledger", "verify", ledger]);
    texts += &run(&workshop, &["ledger", "void", ledger, "dead"]);
    texts += &run(&workshop, &["ledger", "void", ledger, "dead"]);
    texts += &run(&workshop, &["ledger", "void", ledger, "test"]);
    texts += &run(&workshop, &["ledger", "void", ledger, "unknown", "--json"]);
    reserve(&workshop.path(ledger), "dead");
    texts += &run(&workshop, &["ledger", "void", ledger, "dead", "--json"]);
    texts += &run(&workshop, &["ledger", "show", ledger]);
    hidden().bind(|| assert_snapshot!(texts));
}

/// What an SQLite shell leaves in a ledger is told before anything is charged, as no release could
/// be verified against it; without it the job runs.
#[test]
fn a_ledger_of_another_structure_is_charged_nothing() {
    let workshop = Workshop::new();
    assert!(workshop.discretail(&INIT).status.success());
    let raw = Connection::open(workshop.path("ledger.sqlite")).unwrap();
    raw.execute_batch("ANALYZE").unwrap();
    let mut texts = run(&workshop, &["plan", "job.toml"]);
    texts += &run(&workshop, &["run", "job.toml"]);
    texts += &run(&workshop, &["ledger", "verify", "ledger.sqlite"]);
    let entries = |raw: &Connection| -> i64 {
        raw.query_row("SELECT count(*) FROM entry", [], |row| row.get(0)).unwrap()
    };
    assert_eq!((entries(&raw), workshop.path("releases").exists()), (0, false));
    raw.execute_batch("DROP TABLE sqlite_stat1; DROP TABLE sqlite_stat4").unwrap();
    workshop.release();
    assert_eq!(entries(&raw), 3);
    assert_snapshot!(texts);
}

/// A job with another `user` expression is refused, unless it says that it names the same people.
#[test]
fn jobs_of_one_ledger_tell_users_apart_in_one_way() {
    let workshop = Workshop::new();
    let job = |id: &str, user: &str| {
        let text = JOB.replace("\"test\"", &format!("\"{id}\""));
        let text = text.replace("user = \"user\"", &format!("user = '{user}'"));
        workshop.text("job.toml", &text);
        text
    };
    let agreed = |user: &str| format!("[ledger]\nsame_user_as = \"{user}\"");
    job("test", "\"user\"");
    assert!(workshop.discretail(&["run", "job.toml"]).status.success());
    let text = job("split", "\"user\" || wallet");
    let mut texts = run(&workshop, &["plan", "job.toml"]);
    texts += &run(&workshop, &["run", "job.toml"]);
    workshop.text("job.toml", &text.replace("[ledger]", &agreed("1")));
    texts += &run(&workshop, &["check", "job.toml"]);
    let text = job("same", "upper( \"user\" )");
    workshop.text("job.toml", &text.replace("[ledger]", &agreed("user")));
    texts += &run(&workshop, &["run", "job.toml"]);
    assert_snapshot!(texts);
    let manifest = workshop.path("releases/same/manifest.json");
    let text = std::fs::read_to_string(manifest).unwrap();
    assert!(text.contains(r#""user": "upper(\"user\")""#), "{text}");
    assert!(text.contains(r#""same_user_as": "user""#), "{text}");
    for (user, code) in [("user", 0), ("me", 1)] {
        let text =
            text.replace(r#""same_user_as": "user""#, &format!("\"same_user_as\": \"{user}\""));
        workshop.text("releases/same/manifest.json", &text);
        let args = ["verify", "releases/same", "--ledger", "ledger.sqlite"];
        let output = workshop.discretail(&args);
        assert_eq!(output.status.code(), Some(code), "{}", shown(&workshop, &output));
        let found = shown(&workshop, &output).contains("user: user in the ledger, me in");
        assert_eq!(found, code == 1);
    }
}

#[test]
fn a_recipient_gets_no_more_than_its_budget() {
    let workshop = Workshop::new();
    let made = workshop.discretail(&[&INIT[..], &["--recipient", "partner=0.5,1e-6"]].concat());
    assert!(made.status.success(), "{}", shown(&workshop, &made));
    let mut texts = run(&workshop, &["plan", "job.toml"]);
    let plan = workshop.discretail(&["plan", "job.toml", "--json"]);
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    assert_eq!(plan["exceeds"], json!(["the budget for noise of recipient `partner`"]));
    assert_eq!(plan["fits"], false);
    texts += &run(&workshop, &["run", "job.toml"]);
    assert!(!workshop.path("releases").exists());
    // Another recipient is held by the total alone.
    workshop.text("job.toml", &JOB.replace("\"partner\"", "\"press\""));
    texts += &run(&workshop, &["run", "job.toml", "--json"]);
    assert_snapshot!(texts);
}

/// Reservations of runs that are no more: what is said of them gives them back.
#[test]
fn reservations_of_the_dead_are_named_where_they_stand_in_the_way() {
    let workshop = Workshop::new();
    let path = workshop.path("ledger.sqlite");
    assert!(workshop.discretail(&INIT).status.success());
    // Of the job's id, for other content.
    reserve(&path, "test");
    let mut texts = run(&workshop, &["run", "job.toml"]);
    let plan = run(&workshop, &["plan", "job.toml"]);
    texts += &(plan.lines().rev().nth(1).unwrap().to_owned() + "\n");
    assert!(workshop.discretail(&["ledger", "void", "ledger.sqlite", "test"]).status.success());
    // Of the budget; one of them is of a run that goes on.
    let take = |job: &str, share: u128| {
        let mut ledger = Ledger::open_to_change(&path).unwrap();
        let left = ledger.left().unwrap().mu_squared.units();
        let mu_squared = MuSquared::from_units(left / share);
        let loss = PrivacyLoss { mu_squared, ..PrivacyLoss::default() };
        let all_units = AllUnits { periods: 1, mu_squared: loss.mu_squared };
        let (digest, recipient, user) = (&*"d".repeat(64), "press", "user");
        let request = Request { job, digest, recipient, user, time: None, loss, all_units };
        assert_eq!(ledger.reserve(&request).unwrap(), Reservation::Granted);
    };
    take("going", 2);
    let going = Hold::take(&path, "going").unwrap();
    take("dead", 1);
    texts += &run(&workshop, &["run", "job.toml"]);
    drop(going);
    texts += &run(&workshop, &["run", "job.toml"]);
    hidden().bind(|| assert_snapshot!(texts));
    for job in ["dead", "going"] {
        assert!(workshop.discretail(&["ledger", "void", "ledger.sqlite", job]).status.success());
    }
    assert!(workshop.discretail(&["run", "job.toml"]).status.success());
}

#[test]
fn a_ledger_is_made_once_and_well() {
    let workshop = Workshop::new();
    let mut texts = String::new();
    for more in [
        &["--recipient", "a=1,1e-6", "--recipient", "a=2,1e-6"][..],
        &["--recipient", "a=1"],
        &["--recipient", "a b=1,1e-6"],
        &["--recipient", "a=0,1e-6"],
        &["--recipient", "a=1,2"],
        &["--recipient", "a=4.1,1e-6"],
        &["--recipient", "a=4,1e-4"],
        &["--epsilon-max", "x"],
    ] {
        texts += &run(&workshop, &[&INIT[..], more].concat());
    }
    assert!(!workshop.path("ledger.sqlite").exists());
    texts += &run(&workshop, &[&INIT[..], &["--json"]].concat());
    texts += &run(&workshop, &INIT);
    texts += &run(&workshop, &["ledger", "show", "nothing.sqlite"]);
    texts += &run(&workshop, &["ledger", "show", "job.toml"]);
    texts += &run(&workshop, &["ledger", "verify", "payments.parquet", "--json"]);
    hidden().bind(|| assert_snapshot!(texts));
}

#[test]
fn a_noted_head_shows_what_was_cut_off() {
    let workshop = Workshop::new();
    let ledger = "ledger.sqlite";
    assert!(workshop.discretail(&INIT).status.success());
    let terms = head(&workshop);
    assert!(workshop.discretail(&["run", "job.toml"]).status.success());
    let noted = head(&workshop);
    let copy = std::fs::read(workshop.path(ledger)).unwrap();
    let mut texts = run(&workshop, &["ledger", "verify", ledger, "--head", &terms]);
    texts += &run(&workshop, &["ledger", "verify", ledger, "--head", &noted]);
    workshop.text("next.toml", &JOB.replace("\"test\"", "\"next\""));
    assert!(workshop.discretail(&["run", "next.toml"]).status.success());
    texts += &run(&workshop, &["ledger", "verify", ledger, "--head", &noted]);
    let newest = head(&workshop);
    // The older copy is put back: whole in itself, but not what it was.
    let mut file = std::fs::File::create(workshop.path(ledger)).unwrap();
    std::io::Write::write_all(&mut file, &copy).unwrap();
    drop(file);
    texts += &run(&workshop, &["ledger", "verify", ledger]);
    texts += &run(&workshop, &["ledger", "verify", ledger, "--head", &newest]);
    let unknown = "a".repeat(64);
    texts += &run(&workshop, &["ledger", "verify", ledger, "--head", &unknown, "--json"]);
    hidden().bind(|| assert_snapshot!(texts));
}

/// The names of a table's columns.
fn columns(raw: &Connection, table: &str) -> Vec<String> {
    let sql = format!("SELECT name FROM pragma_table_info('{table}')");
    let mut statement = raw.prepare(&sql).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(|name| name.unwrap()).collect()
}

/// New values for a field, as SQL over the old one; those that change nothing do not count.
fn edits(column: &str, table: &str, row: i64) -> Vec<String> {
    let mut edits: Vec<String> = [
        format!("{column} || '0'"),
        format!("{column} || ' '"),
        format!("'0' || {column}"),
        format!("upper({column})"),
        format!("substr({column}, 1, length({column}) - 1)"),
        format!("substr({column}, 2)"),
        "''".to_owned(),
        "'0'".to_owned(),
        "'voided'".to_owned(),
        "'reserved'".to_owned(),
        format!("{column} + 1"),
        format!("{column} - 1"),
        format!("-{column}"),
        "0".to_owned(),
        "NULL".to_owned(),
    ]
    .into();
    // What stands in another row, as a swap would put there.
    for other in (1..=6).filter(|other| table == "entry" && *other != row) {
        edits.push(format!("(SELECT {column} FROM {table} WHERE rowid = {other})"));
    }
    edits
}

/// Every column of every row gets every value of [`edits`] that SQLite takes. Each is found by
/// `ledger verify`, with its row; and by the next run, of the same job and of another.
#[test]
fn every_edit_of_a_field_is_found() {
    let workshop = Workshop::new();
    let recipients = ["--recipient", "partner=2,1e-6"];
    assert!(workshop.discretail(&[&INIT[..], &recipients].concat()).status.success());
    assert!(workshop.discretail(&["run", "job.toml"]).status.success());
    workshop.text("next.toml", &JOB.replace("\"test\"", "\"next\""));
    let path = workshop.path("ledger.sqlite");
    reserve(&path, "dead");
    assert!(workshop.discretail(&["ledger", "void", "ledger.sqlite", "dead"]).status.success());
    reserve(&path, "dead");
    let (copy, mut found, mut ran) = (std::fs::read(&path).unwrap(), 0, 0);
    let raw = Connection::open(&path).unwrap();
    let fields: Vec<(&str, i64, String)> = [("terms", 1), ("entry", 6)]
        .iter()
        .flat_map(|&(table, rows)| {
            let columns = columns(&raw, table);
            (1..=rows)
                .flat_map(move |row| columns.clone().into_iter().map(move |c| (table, row, c)))
        })
        .collect();
    drop(raw);
    assert_eq!(fields.len(), 10 + 6 * 15);
    for (table, row, column) in &fields {
        let mut first = true;
        for value in edits(column, table, *row) {
            if !edit(&path, &copy, table, *row, column, &value) {
                continue;
            }
            let error = discretail::ledger::Report::verify(&path).unwrap_err();
            let finding = &error.findings()[0];
            assert_eq!(finding.code(), "ledger-chain-broken", "{table} {row} {column} {value}");
            found += 1;
            // The binary says the same; once a field, as a process takes a while.
            if std::mem::take(&mut first) {
                for args in [
                    &["ledger", "verify", "ledger.sqlite"][..],
                    &["run", "job.toml"],
                    &["run", "next.toml"],
                ] {
                    let output = workshop.discretail(args);
                    let said = shown(&workshop, &output);
                    assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
                    let place = match *table {
                        "terms" => "its row of terms".to_owned(),
                        // A row that got another number is missed where it was.
                        _ if column == "seq" => "entry ".to_owned(),
                        _ => format!("entry {row}:"),
                    };
                    assert!(said.contains(&format!("altered at {place}")), "{args:?}: {said}");
                    ran += 1;
                }
            }
        }
    }
    assert!(!workshop.path("releases/next").exists());
    eprintln!("{found} edits of {} fields", fields.len());
    assert!(found >= 500, "{found}");
    assert_eq!(ran, 3 * fields.len());
}

/// Puts the ledger back and changes one field, guards off; `false` if SQLite does not take the
/// value or nothing changed.
fn edit(path: &Path, copy: &[u8], table: &str, row: i64, column: &str, value: &str) -> bool {
    let mut file = std::fs::File::create(path).unwrap();
    std::io::Write::write_all(&mut file, copy).unwrap();
    drop(file);
    let raw = Connection::open(path).unwrap();
    let guards = "PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY;
        DROP TRIGGER terms_no_update; DROP TRIGGER entry_no_update; DROP INDEX entry_once;
        PRAGMA ignore_check_constraints = ON";
    raw.execute_batch(guards).unwrap();
    let shown = |row: i64| {
        let sql = format!("SELECT quote({column}) FROM {table} WHERE rowid = {row}");
        raw.query_row(&sql, [], |row| row.get::<_, String>(0)).optional().unwrap()
    };
    let before = shown(row);
    let changed =
        raw.execute(&format!("UPDATE {table} SET {column} = {value} WHERE rowid = {row}"), []);
    changed.is_ok() && shown(row) != before
}

/// Of units within a period: a job that reads times otherwise is refused, unless it says that they
/// are the same.
#[test]
fn jobs_of_one_ledger_put_payments_into_periods_in_one_way() {
    let workshop = Workshop::new();
    let job = |id: &str, lines: &str, time: &str| {
        let job = JOB.replace("unit    = \"user\"", "unit    = \"user-week\"");
        let job = job.split("[[report]]\nname      = \"found\"").next().unwrap();
        let job = job.replace("[[], [\"region\", \"week\"], [\"wallet\"]]", "[[\"week\"]]");
        let job = job.replace("\"test\"", &format!("\"{id}\""));
        let job = job.replace("[payments]", &format!("[payments]\n{lines}"));
        let job = fitted(job.replace("time = \"time\"", &format!("time = {time}")));
        workshop.text("job.toml", &job);
        job
    };
    job("test", "", "\"time\"");
    let output = workshop.discretail(&["run", "job.toml"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
    // Spaces and quotes are no difference; days later, a zone and a format are.
    job("quoted", "", "'to_timestamp( \"time\" )'");
    let mut texts = run(&workshop, &["plan", "job.toml"]);
    job("later", "", "\"time + 86400\"");
    texts += &run(&workshop, &["plan", "job.toml"]);
    texts += &run(&workshop, &["run", "job.toml"]);
    job("zone", "times_without_zone = \"utc\"", "\"time\"");
    texts += &run(&workshop, &["run", "job.toml"]);
    let text = job("format", "time_format = \"%s\"", "\"CAST(time AS TEXT)\"");
    texts += &run(&workshop, &["run", "job.toml"]);
    workshop.text("job.toml", &text.replace("[ledger]", "[ledger]\nsame_time_as = \"time\""));
    texts += &run(&workshop, &["run", "job.toml"]);
    let show = run(&workshop, &["ledger", "show", "ledger.sqlite"]);
    texts += show.lines().find(|line| line.starts_with("times")).unwrap();
    assert_snapshot!(texts);
    let text = std::fs::read_to_string(workshop.path("releases/format/manifest.json")).unwrap();
    assert!(text.contains(r#""time": "CAST(time AS TEXT), format %s""#), "{text}");
    for (time, code) in [("time", 0), ("noon", 1)] {
        let (from, to) = (r#""same_time_as": "time""#, format!("\"same_time_as\": \"{time}\""));
        workshop.text("releases/format/manifest.json", &text.replace(from, &to));
        let args = ["verify", "releases/format", "--ledger", "ledger.sqlite"];
        let output = workshop.discretail(&args);
        assert_eq!(output.status.code(), Some(code), "{}", shown(&workshop, &output));
        let found = shown(&workshop, &output).contains("time: time in the ledger, noon in");
        assert_eq!(found, code == 1);
    }
}

/// A job whose unit is a user within a week, from its ledger to its verification.
#[test]
fn users_within_a_week() {
    let workshop = Workshop::new();
    let job = JOB.replace("unit    = \"user\"", "unit    = \"user-week\"");
    workshop.text("job.toml", &job);
    let mut texts = run(&workshop, &["check", "job.toml"]);
    let job = job.replace("[[], [\"region\", \"week\"], [\"wallet\"]]", "[[\"region\", \"week\"]]");
    workshop.text("job.toml", &job.replace("[[\"merchant\"], [", "[[\"merchant\", \"day\"], ["));
    for unit in ["week", "user-week", "user-week Nowhere", "user-week Asia/Tokyo"] {
        texts += &run(&workshop, &[&INIT[..], &["--unit", unit]].concat());
    }
    texts += &run(&workshop, &["plan", "job.toml"]);
    std::fs::remove_file(workshop.path("ledger.sqlite")).unwrap();
    texts += &run(&workshop, &[&INIT[..], &["--unit", "user-week Asia/Shanghai"]].concat());
    texts += &run(&workshop, &["plan", "job.toml"]);
    texts += &run(&workshop, &["run", "job.toml"]);
    texts += &run(&workshop, &["ledger", "show", "ledger.sqlite"]);
    texts += &run(&workshop, &["verify", "releases/test", "--ledger", "ledger.sqlite"]);
    hidden().bind(|| assert_snapshot!(texts));
}
