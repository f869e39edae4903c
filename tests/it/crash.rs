//! Runs that are killed, stopped, or raced: what is released is charged, and nothing is lost.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use crate::common::{Workshop, command, shown};

/// A job on sample data that takes a moment.
const JOB: &str = r#"version   = 1
job       = "JOB"
recipient = "partner"
[payments]
files     = ["demo/payments/*.parquet"]
timezone  = "Asia/Shanghai"
first_day = 2025-01-01
last_day  = 2025-03-31
currency  = "CNY"
columns   = { user = "user_token", merchant = "merchant_id", time = "paid_at", amount = "amount", currency = "currency" }
[merchants]
files = ["demo/merchants.parquet"]
[privacy]
unit    = "user"
epsilon = "0.1"
delta   = "1e-9"
[ledger]
file        = "ledger.sqlite"
population  = "people"
epsilon_max = "EPSILON_MAX"
delta_max   = "1e-7"
[[report]]
name     = "market"
levels   = [["region", "category", "week"]]
keys     = "public"
insights = ["customers", "payments", "sales"]
bounds   = { customers = "4", payments = "10", sales = "1500" }
"#;

fn workshop(payments: &str) -> Workshop {
    let workshop = Workshop::empty();
    let made = workshop.discretail(&["sample", "demo", "--payments", payments]);
    assert!(made.status.success(), "{}", shown(&workshop, &made));
    workshop
}

fn job(workshop: &Workshop, id: &str, epsilon_max: &str) -> String {
    let file = format!("{id}.toml");
    workshop.text(&file, &JOB.replace("JOB", id).replace("EPSILON_MAX", epsilon_max));
    file
}

fn start(workshop: &Workshop, job: &str) -> Child {
    let mut run = command(workshop.folder.path());
    run.args(["run", job]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts")
}

/// The events of a job in the ledger, in their order.
fn events(ledger: &Path, job: &str) -> Vec<String> {
    if !ledger.exists() {
        return Vec::new();
    }
    // A killed run may have left a journal, which the first reader rolls back.
    let connection =
        Connection::open_with_flags(ledger, OpenFlags::SQLITE_OPEN_READ_WRITE).expect("opens");
    let mut query = connection
        .prepare("SELECT event FROM entry WHERE job = ?1 ORDER BY seq")
        .expect("the table is there");
    let rows = query.query_map([job], |row| row.get(0)).expect("reads");
    rows.collect::<Result<_, _>>().expect("texts")
}

#[test]
fn killed_runs_never_release_what_is_not_charged() {
    let workshop = workshop("150000");
    let ledger = workshop.path("ledger.sqlite");
    let first = job(&workshop, "first", "20");
    let started = Instant::now();
    assert!(start(&workshop, &first).wait().expect("ends").success());
    let whole = started.elapsed();
    let mut released = 0;
    for kill in 0..60u32 {
        let id = format!("kill-{kill}");
        let file = job(&workshop, &id, "20");
        let mut run = start(&workshop, &file);
        std::thread::sleep(whole * kill / 55);
        run.kill().expect("kills");
        run.wait().expect("ends");
        let folder = workshop.path("releases").join(&id);
        let before = events(&ledger, &id);
        if folder.exists() {
            assert!(before.contains(&"spent".to_owned()), "{id}: released, not charged");
        }
        // The next run of the same job releases, answers with the release, or says what to do.
        let again = workshop.discretail(&["run", &file]);
        let after = events(&ledger, &id);
        match again.status.code() {
            Some(0) => {
                assert!(folder.join("manifest.json").exists());
                assert!(after.ends_with(&["spent".to_owned(), "published".to_owned()]));
                released += 1;
            }
            Some(1) => {
                assert!(!folder.exists(), "{id}: a release that nobody answers for");
                assert_eq!(after, ["reserved", "spent"], "{}", shown(&workshop, &again));
            }
            _ => panic!("{}", shown(&workshop, &again)),
        }
        assert!(after.starts_with(&before), "{id}: an entry was lost");
    }
    assert!(released > 0, "some kill comes before the budget is spent");
    // The whole chain still holds.
    let plan = workshop.discretail(&["plan", &first]);
    assert!(plan.status.success(), "{}", shown(&workshop, &plan));
}

#[test]
fn of_two_runs_of_one_job_one_draws_noise() {
    let workshop = workshop("50000");
    for round in 0..5 {
        let id = format!("race-{round}");
        let file = job(&workshop, &id, "4");
        let mut runs = [start(&workshop, &file), start(&workshop, &file)];
        let codes = runs.each_mut().map(|run| run.wait().expect("ends").code());
        assert!(codes.contains(&Some(0)), "{codes:?}");
        assert!(codes.iter().all(|code| matches!(code, Some(0..=2))), "{codes:?}");
        let spent = events(&workshop.path("ledger.sqlite"), &id);
        assert_eq!(spent.iter().filter(|event| *event == "spent").count(), 1, "{spent:?}");
        let again = workshop.discretail(&["run", &file]);
        assert!(again.status.success(), "{}", shown(&workshop, &again));
    }
}

#[test]
fn eight_jobs_at_once_stay_within_the_budget() {
    let workshop = workshop("20000");
    // Each job costs ε 0.1; together they may cost ε 0.2, about three of them in μ².
    let files: Vec<String> = (0..8).map(|n| job(&workshop, &format!("eight-{n}"), "0.2")).collect();
    let mut runs: Vec<Child> = files.iter().map(|file| start(&workshop, file)).collect();
    let codes: Vec<_> = runs.iter_mut().map(|run| run.wait().expect("ends").code()).collect();
    let released = codes.iter().filter(|code| **code == Some(0)).count();
    assert!(codes.iter().all(|code| matches!(code, Some(0 | 1))), "{codes:?}");
    assert!((1..8).contains(&released), "{codes:?}");
    let plan = workshop.discretail(&["plan", &files[0], "--json"]);
    let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).expect("JSON");
    // Nothing is left for another, and nothing was overdrawn: `left` is computed with checks.
    assert_eq!(plan["fits"], false, "{plan}");
    let folders = std::fs::read_dir(workshop.path("releases")).expect("a folder").count();
    assert_eq!(folders, released);
}

#[test]
fn ctrl_c_gives_the_budget_back_and_leaves_nothing() {
    let workshop = workshop("2000000");
    let file = job(&workshop, "stopped", "4");
    let mut run = start(&workshop, &file);
    let ledger = workshop.path("ledger.sqlite");
    // Reading starts after the reservation.
    let started = Instant::now();
    while events(&ledger, "stopped").is_empty() && started.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(2));
    }
    let pid = run.id().to_string();
    let sent = std::process::Command::new("kill").args(["-INT", &pid]).status().expect("kill");
    assert!(sent.success());
    assert_eq!(run.wait().expect("ends").code(), Some(130));
    assert_eq!(events(&ledger, "stopped"), ["reserved", "voided"]);
    assert!(!workshop.path("releases").join("stopped").exists());
    let again = workshop.discretail(&["run", &file]);
    assert!(again.status.success(), "{}", shown(&workshop, &again));
}
