//! What a run finds that came after one that did not end well, or beside one that goes on: by which
//! way the ledger is reached, what was reserved, what is paid and not recorded.

use std::os::unix::fs::symlink;
use std::process::Stdio;

use insta::assert_snapshot;
use rusqlite::Connection;

use crate::common::{Workshop, command, shown};
use crate::crash::{events, job, open_job, settle, start};
use crate::faults::{LEDGER, Reader, kill, prepared, signal, stopped, wait_until};

/// A job over some days that goes by the latest release there is.
fn latest_job(workshop: &Workshop, id: &str, days: [&str; 2]) -> String {
    let file = open_job(workshop, id, "20");
    let text = std::fs::read_to_string(workshop.path(&file)).unwrap();
    let text = text.replace("2025-01-01", days[0]).replace("2025-03-31", days[1]);
    // Else noise would drown it, by what the release before says.
    let text = text.replace("\"0.1\"", "\"1\"").replace(", \"category\", \"week\"", "");
    workshop.text(&file, &(text + "previous = \"latest\"\n"));
    file
}

const JANUARY: [&str; 2] = ["2025-01-01", "2025-01-31"];
const FEBRUARY: [&str; 2] = ["2025-02-01", "2025-02-28"];

fn run(workshop: &Workshop, args: &[&str], code: i32) -> String {
    let output = workshop.discretail(args);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {}", shown(workshop, &output));
    shown(workshop, &output)
}

/// The prices of a job's reservations, in their order.
fn prices(workshop: &Workshop, id: &str) -> Vec<String> {
    let ledger = Connection::open(workshop.path(LEDGER)).unwrap();
    let sql = "SELECT mu_squared FROM entry WHERE job = ?1 AND event = 'reserved' ORDER BY seq";
    let mut query = ledger.prepare(sql).unwrap();
    let rows = query.query_map([id], |row| row.get(0)).unwrap();
    rows.map(|row| row.unwrap()).collect()
}

/// Locks are beside the ledger itself, by whatever link it is reached.
#[test]
fn a_run_is_seen_by_whatever_path_the_ledger_is_reached() {
    let workshop = prepared();
    for (place, target) in [("a", "../ledger.sqlite"), ("b", "../a/link.sqlite")] {
        std::fs::create_dir(workshop.path(place)).unwrap();
        symlink(target, workshop.path(place).join("link.sqlite")).unwrap();
    }
    let [january, february] = [("january", JANUARY), ("february", FEBRUARY)].map(|(id, days)| {
        let file = latest_job(&workshop, id, days);
        let text = std::fs::read_to_string(workshop.path(&file)).unwrap();
        let place = if id == "january" { "a" } else { "b" };
        workshop.text(&file, &text.replace(LEDGER, &format!("{place}/link.sqlite")));
        file
    });
    let mut going = stopped(&workshop, "january", || start(&workshop, &january));
    for ledger in [LEDGER, "a/link.sqlite", "b/link.sqlite"] {
        let said = run(&workshop, &["ledger", "void", ledger, "january"], 1);
        assert!(said.contains("error[job-under-way]"), "{said}");
    }
    let said = shown(&workshop, &workshop.discretail(&["run", &february]));
    assert!(said.contains("error[earlier-under-way]: job `january`"), "{said}");
    assert!(events(&workshop.path(LEDGER), "february").is_empty());
    signal(&going, "-CONT");
    assert!(going.wait().expect("ends").success());
    settle(&workshop, "january", &january, LEDGER);
    settle(&workshop, "february", &february, LEDGER);
    // A link to nothing is no ledger that is yet to be made.
    symlink("gone.sqlite", workshop.path("broken.sqlite")).unwrap();
    let text = std::fs::read_to_string(workshop.path(&january)).unwrap();
    workshop.text("job.toml", &text.replace("a/link.sqlite", "broken.sqlite"));
    let mut texts = run(&workshop, &["run", "job.toml"], 3);
    texts += &run(&workshop, &["ledger", "show", "broken.sqlite"], 3);
    assert!(!workshop.path("gone.sqlite").exists());
    assert_snapshot!(texts);
}

/// The price of a reservation was reckoned from a release that is not there any more.
#[test]
fn what_a_dead_run_reserved_at_another_price_is_reserved_anew() {
    let workshop = prepared();
    let january = latest_job(&workshop, "january", JANUARY);
    run(&workshop, &["run", &january], 0);
    let february = latest_job(&workshop, "february", FEBRUARY);
    let going = stopped(&workshop, "february", || start(&workshop, &february));
    let releases = workshop.path("releases");
    std::fs::rename(releases.join("january"), workshop.path("moved")).unwrap();
    // Not as long as that run goes on.
    let said = run(&workshop, &["run", &february], 1);
    assert!(said.contains("error[job-under-way]"), "{said}");
    assert_eq!(events(&workshop.path(LEDGER), "february"), ["reserved"]);
    kill(going);
    let plan = run(&workshop, &["plan", &february], 0);
    assert!(plan.contains("`run` takes that over, or reserves it anew"), "{plan}");
    let after = settle(&workshop, "february", &february, LEDGER);
    assert_eq!(after, ["reserved", "voided", "reserved", "spent", "published"]);
    let prices = prices(&workshop, "february");
    assert_ne!(prices[0], prices[1], "the release that was moved makes no difference");
    let shown = run(&workshop, &["ledger", "show", LEDGER, "--json"], 0);
    assert!(shown.contains(r#""reserved":{"mu_squared_units":"0","threshold_delta_units":"0"}"#));
}

/// Where locks are not seen, the run that has lost its reservation draws no noise, however the
/// other one ended.
#[test]
fn a_run_whose_reservation_was_made_anew_draws_no_noise() {
    let workshop = prepared();
    let january = latest_job(&workshop, "january", JANUARY);
    run(&workshop, &["run", &january], 0);
    let february = latest_job(&workshop, "february", FEBRUARY);
    let mut lost = stopped(&workshop, "february", || start(&workshop, &february));
    std::fs::rename(workshop.path("releases/january"), workshop.path("moved")).unwrap();
    std::fs::remove_file(workshop.path(".ledger.sqlite.february.lock")).unwrap();
    run(&workshop, &["run", &february], 0);
    signal(&lost, "-CONT");
    assert_eq!(lost.wait().expect("ends").code(), Some(1));
    let after = settle(&workshop, "february", &february, LEDGER);
    assert_eq!(after, ["reserved", "voided", "reserved", "spent", "published"]);
}

/// The release is whole and paid, and the ledger cannot be written: the run says so, and the next
/// one records it. Without the folder's name it cannot be found, and nothing else is advised first.
#[test]
fn a_release_whose_entry_failed_is_recorded_by_the_next_run() {
    let workshop = prepared();
    for round in 0..40 {
        let id = format!("busy-{round}");
        let file = job(&workshop, &id, "20");
        let out = format!("elsewhere/{id}");
        let mut first = command(workshop.folder.path());
        first.args(["run", &file, "--out", &out]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let first = first.spawn().expect("starts");
        let reader = Reader::open(&workshop);
        wait_until(|| ["spent", "published"].iter().any(|state| reader.holds(&id, state)));
        if events(&workshop.path(LEDGER), &id).len() == 3 {
            reader.release();
            first.wait_with_output().expect("ends");
            continue;
        }
        // The reader goes on for longer than the run waits.
        let output = first.wait_with_output().expect("ends");
        assert_eq!(output.status.code(), Some(3), "{}", shown(&workshop, &output));
        let mut texts = shown(&workshop, &output);
        reader.release();
        let manifest = workshop.path(&out).join("manifest.json");
        let before = std::fs::read(&manifest).unwrap();
        texts += &run(&workshop, &["run", &file], 1);
        assert_eq!(events(&workshop.path(LEDGER), &id), ["reserved", "spent"]);
        texts += &run(&workshop, &["run", &file, "--out", &out], 0);
        assert_eq!(before, std::fs::read(&manifest).unwrap());
        assert_eq!(events(&workshop.path(LEDGER), &id), ["reserved", "spent", "published"]);
        run(&workshop, &["verify", &out, "--ledger", LEDGER], 0);
        assert_snapshot!(texts.replace(&id, "JOB"));
        return;
    }
    panic!("no run of 40 was held between its release and its entry");
}

/// As `nohup` has it of hanging up, and a script of Ctrl-C for what runs beside it.
#[test]
fn signals_that_are_ignored_at_the_start_stop_nothing() {
    for (name, sent) in [("HUP", "-HUP"), ("INT", "-INT")] {
        let workshop = prepared();
        let file = job(&workshop, "ignoring", "20");
        let binary = command(workshop.folder.path()).get_program().to_owned();
        let mut run = stopped(&workshop, "ignoring", || {
            let mut shell = std::process::Command::new("sh");
            let script = format!("trap '' {name}; exec \"$0\" run \"$1\"");
            shell.arg("-c").arg(script).arg(&binary).arg(&file).current_dir(&workshop.folder);
            shell.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts")
        });
        signal(&run, sent);
        signal(&run, "-CONT");
        assert_eq!(run.wait().expect("ends").code(), Some(0), "{name}");
        // The other ones are heard as ever.
        let heard = job(&workshop, "hearing", "20");
        let mut run = stopped(&workshop, "hearing", || start(&workshop, &heard));
        signal(&run, sent);
        signal(&run, "-CONT");
        assert_eq!(run.wait().expect("ends").code(), Some(130), "{name}");
        assert_eq!(events(&workshop.path(LEDGER), "hearing"), ["reserved", "voided"]);
    }
}

/// An older ledger is put back: its newest release is the only sign of it.
#[test]
fn a_release_that_the_ledger_does_not_know_is_not_replaced() {
    let workshop = Workshop::new();
    let init = ["ledger", "init", LEDGER, "--population", "people"];
    run(&workshop, &[&init[..], &["--epsilon-max", "4", "--delta-max", "1e-5"]].concat(), 0);
    let older = std::fs::read(workshop.path(LEDGER)).unwrap();
    run(&workshop, &["run", "job.toml"], 0);
    let newest = std::fs::read(workshop.path(LEDGER)).unwrap();
    let manifest = std::fs::read(workshop.path("releases/test/manifest.json")).unwrap();
    let put_back = |ledger: &[u8]| {
        let mut file = std::fs::File::create(workshop.path(LEDGER)).unwrap();
        std::io::Write::write_all(&mut file, ledger).unwrap();
    };
    put_back(&older);
    let mut texts = run(&workshop, &["run", "job.toml"], 1);
    texts += &run(&workshop, &["run", "job.toml", "--force"], 1);
    // Nor if it is not whole, or of a job that was changed since.
    std::fs::remove_file(workshop.path("releases/test/report.html")).unwrap();
    let text = std::fs::read_to_string(workshop.path("job.toml")).unwrap();
    workshop.text("job.toml", &text.replace("cells_max = 8", "cells_max = 9"));
    run(&workshop, &["run", "job.toml", "--force"], 1);
    assert!(events(&workshop.path(LEDGER), "test").is_empty(), "charged for nothing");
    assert!(manifest == std::fs::read(workshop.path("releases/test/manifest.json")).unwrap());
    assert_snapshot!(texts);
    put_back(&newest);
    run(&workshop, &["ledger", "verify", LEDGER], 0);
    // Over other people the same id is another job.
    let others = text.replace("\"people\"", "\"others\"").replace(LEDGER, "others.sqlite");
    workshop.text("job.toml", &others);
    run(&workshop, &["run", "job.toml"], 2);
    run(&workshop, &["run", "job.toml", "--force"], 0);
}
