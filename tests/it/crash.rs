//! Runs that are killed, stopped, or raced: what is released is charged, and nothing is lost.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use sha2::{Digest, Sha256};

use crate::common::{Workshop, command, shown};
use crate::faults::{signal, wait_until};

/// A job on sample data that takes a moment.
pub(crate) const JOB: &str = r#"version   = 1
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

pub(crate) fn workshop(payments: &str) -> Workshop {
    let workshop = Workshop::empty();
    let made = workshop.discretail(&["sample", "demo", "--payments", payments]);
    assert!(made.status.success(), "{}", shown(&workshop, &made));
    workshop
}

pub(crate) fn job(workshop: &Workshop, id: &str, epsilon_max: &str) -> String {
    let file = format!("{id}.toml");
    workshop.text(&file, &JOB.replace("JOB", id).replace("EPSILON_MAX", epsilon_max));
    file
}

/// The same job, whose bounds the run chooses: it pays before a whole pass over the users.
pub(crate) fn open_job(workshop: &Workshop, id: &str, epsilon_max: &str) -> String {
    let file = job(workshop, id, epsilon_max);
    let text = std::fs::read_to_string(workshop.path(&file)).expect("reads");
    workshop.text(&file, &without_bounds(&text));
    file
}

/// The same job, whose keys rounds discover: it pays before the first of four passes.
pub(crate) fn discovered_job(workshop: &Workshop, id: &str, epsilon_max: &str) -> String {
    let file = open_job(workshop, id, epsilon_max);
    let text = std::fs::read_to_string(workshop.path(&file)).expect("reads");
    workshop.text(&file, &text.replace("keys     = \"public\"", "keys     = \"discovered\""));
    file
}

/// The text of a job without its lines of bounds.
pub(crate) fn without_bounds(job: &str) -> String {
    let lines = job.lines().filter(|line| !line.starts_with("bounds"));
    lines.map(|line| format!("{line}\n")).collect()
}

pub(crate) fn start(workshop: &Workshop, job: &str) -> Child {
    let mut run = command(workshop.folder.path());
    run.args(["run", job]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts")
}

/// The events of a job in the ledger, in their order.
pub(crate) fn events(ledger: &Path, job: &str) -> Vec<String> {
    if !ledger.exists() {
        return Vec::new();
    }
    // A killed run may have left a journal, which the first reader rolls back.
    let connection =
        Connection::open_with_flags(ledger, OpenFlags::SQLITE_OPEN_READ_WRITE).expect("opens");
    connection.busy_timeout(Duration::from_secs(10)).expect("waits");
    let mut query = connection
        .prepare("SELECT event FROM entry WHERE job = ?1 ORDER BY seq")
        .expect("the table is there");
    let rows = query.query_map([job], |row| row.get(0)).expect("reads");
    rows.collect::<Result<_, _>>().expect("texts")
}

/// What must hold of a job however its run ended, and of its next run: released and charged once,
/// or refused with a word on what to do. Returns the events after that run.
pub(crate) fn settle(workshop: &Workshop, id: &str, file: &str, ledger: &str) -> Vec<String> {
    let path = workshop.path(ledger);
    let folder = workshop.path("releases").join(id);
    if path.exists() {
        let verified = workshop.discretail(&["ledger", "verify", ledger]);
        assert!(verified.status.success(), "{id}: {}", shown(workshop, &verified));
    }
    let before = events(&path, id);
    if folder.exists() {
        assert!(before.contains(&"spent".to_owned()), "{id}: released, not charged");
    }
    let again = workshop.discretail(&["run", file]);
    let left = std::fs::read_dir(workshop.path("releases")).into_iter().flatten();
    let left = left.map(|entry| entry.expect("reads").file_name());
    let digest = Sha256::digest(id);
    let digest: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().contains(&digest)).collect();
    assert!(left.is_empty(), "{id}: drafts of dead runs: {left:?}");
    let after = events(&path, id);
    assert!(after.starts_with(&before), "{id}: an entry was lost");
    assert_eq!(after.iter().filter(|event| *event == "spent").count(), 1, "{id}: {after:?}");
    match again.status.code() {
        Some(0) => {
            assert!(after.ends_with(&["spent".to_owned(), "published".to_owned()]));
            let folder = folder.display().to_string();
            let verified = workshop.discretail(&["verify", &folder, "--ledger", ledger]);
            assert!(verified.status.success(), "{id}: {}", shown(workshop, &verified));
        }
        Some(1) => {
            assert!(!folder.exists(), "{id}: a release that nobody answers for");
            let said = shown(workshop, &again);
            assert!(said.contains("error[job-spent]"), "{id}: {said}");
            assert_eq!(after.last().map(String::as_str), Some("spent"), "{id}: {after:?}");
        }
        _ => panic!("{id}: {}", shown(workshop, &again)),
    }
    after
}

/// A random number below `limit`, uniform but for a part in 2³².
fn random_below(limit: u32) -> u32 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("random bytes");
    (u64::from_le_bytes(bytes) % u64::from(limit.max(1))) as u32
}

/// 200 runs, each killed at a random time of its life, while three others go on.
#[test]
fn killed_runs_never_release_what_is_not_charged() {
    let workshop = workshop("20000");
    let first = job(&workshop, "first", "20");
    let started = Instant::now();
    assert!(start(&workshop, &first).wait().expect("ends").success());
    // Four at once take longer; what is killed too late has ended, which is a case too.
    let span = u32::try_from(started.elapsed().as_micros()).expect("a short run") * 2;
    let kill = |id: String| {
        let file = job(&workshop, &id, "20");
        let mut run = start(&workshop, &file);
        std::thread::sleep(Duration::from_micros(random_below(span).into()));
        run.kill().expect("kills");
        run.wait().expect("ends");
        settle(&workshop, &id, &file, "ledger.sqlite")
    };
    let batch =
        |thread: u32| -> Vec<_> { (0..50).map(|n| kill(format!("kill-{thread}-{n}"))).collect() };
    let outcomes: Vec<Vec<String>> = std::thread::scope(|scope| {
        let batch = &batch;
        let threads: Vec<_> = (0..4).map(|n| scope.spawn(move || batch(n))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    assert_eq!(outcomes.len(), 200);
    let released = outcomes.iter().filter(|events| events.ends_with(&["published".to_owned()]));
    let released = released.count();
    eprintln!("{released} of 200 killed runs are released in the end");
    assert!(released > 0, "some kill comes before the budget is spent");
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

/// ε_max 0.11 fits one job of ε 0.1, and no second one.
#[test]
fn of_two_jobs_for_one_budget_one_is_released() {
    let workshop = workshop("20000");
    for round in 0..10 {
        let ledger = format!("ledger-{round}.sqlite");
        let files = ["a", "b"].map(|name| {
            let id = format!("two-{round}-{name}");
            let file = job(&workshop, &id, "0.11");
            let text = std::fs::read_to_string(workshop.path(&file)).expect("reads");
            workshop.text(&file, &text.replace("ledger.sqlite", &ledger));
            file
        });
        let mut runs = files.each_ref().map(|file| start(&workshop, file));
        let mut codes = runs.each_mut().map(|run| run.wait().expect("ends").code());
        codes.sort_unstable();
        assert_eq!(codes, [Some(0), Some(1)], "round {round}");
        let verified = workshop.discretail(&["ledger", "verify", &ledger]);
        assert!(verified.status.success(), "{}", shown(&workshop, &verified));
    }
    let folders = std::fs::read_dir(workshop.path("releases")).expect("a folder").count();
    assert_eq!(folders, 10);
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
    let ninth = job(&workshop, "eight-8", "0.2");
    let plan = workshop.discretail(&["plan", &ninth, "--json"]);
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
    wait_until(|| !events(&ledger, "stopped").is_empty());
    signal(&run, "-INT");
    assert_eq!(run.wait().expect("ends").code(), Some(130));
    assert_eq!(events(&ledger, "stopped"), ["reserved", "voided"]);
    assert!(!workshop.path("releases").join("stopped").exists());
    let again = workshop.discretail(&["run", &file]);
    assert!(again.status.success(), "{}", shown(&workshop, &again));
}

/// strace holds the run when it has moved the old release away, and the new one is not there.
#[test]
fn a_run_killed_while_it_replaces_a_release_loses_none() {
    let strace = |args: &[&str]| {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null"]).args(args);
        strace
    };
    if !strace(&["true"]).output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: there is no strace here, or it may not trace");
        return;
    }
    let workshop = Workshop::new();
    let (target, ledger) = (workshop.path("releases/test"), workshop.path("ledger.sqlite"));
    std::fs::create_dir_all(&target).expect("makes it");
    const OLD: &str = r#"{"job":{"id":"test"}}"#;
    workshop.text("releases/test/manifest.json", OLD);
    // The first rename of that very path is followed by 10 seconds of nothing, which strace waits
    // for whatever happens.
    let calls = "?rename,?renameat,?renameat2";
    let held = format!("inject={calls}:delay_exit=10000000");
    let place = target.display().to_string();
    let mut run = strace(&["-P", &place, "-e", &format!("trace={calls}"), "-e", &held]);
    run.arg(command(workshop.folder.path()).get_program()).args(["run", "job.toml", "--force"]);
    run.current_dir(&workshop.folder).stdout(Stdio::null()).stderr(Stdio::null());
    let mut run = run.spawn().expect("starts");
    wait_until(|| !target.exists());
    let traced = format!("/proc/{0}/task/{0}/children", run.id());
    let traced = std::fs::read_to_string(traced).expect("tells children");
    let killed = Command::new("kill").arg("-KILL").args(traced.split_whitespace()).status();
    assert!(killed.expect("kill").success());
    run.wait().expect("ends");
    assert!(!target.exists(), "the run was not killed in time");
    assert_eq!(events(&ledger, "test"), ["reserved", "spent"]);
    let again = workshop.discretail(&["run", "job.toml"]);
    let said = shown(&workshop, &again);
    assert!(again.status.code() == Some(1) && said.contains("error[job-spent]"), "{said}");
    assert_eq!(std::fs::read_to_string(target.join("manifest.json")).expect("is back"), OLD);
    assert_eq!(std::fs::read_dir(workshop.path("releases")).expect("lists").count(), 1);
}
