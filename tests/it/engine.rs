//! The engine in the real binary: files that are damaged or change, memory that runs out, Ctrl-C.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use insta::assert_snapshot;

use crate::common::{JOB, Workshop, command, shown};
use crate::crash::{events, job, open_job, settle, start, workshop};
use crate::faults::{signal, wait_until};

const LEDGER: &str = "ledger.sqlite";

/// So many payments that not all of them fit in the least memory.
const MANY: &str = "3000000";

/// The least memory, on as many threads as every machine can have.
const LITTLE: [&str; 4] = ["--memory", "512MiB", "--threads", "2"];

/// Nothing was released, and what was reserved was given back.
fn nothing_happened(workshop: &Workshop, id: &str) {
    let events = events(&workshop.path(LEDGER), id);
    let free = events.chunks(2).all(|pair| pair == ["reserved", "voided"]);
    assert!(free, "{events:?}");
    let releases = workshop.path("releases");
    let left = std::fs::read_dir(releases).map_or(0, Iterator::count);
    assert_eq!(left, 0, "something is left in the folder of releases");
}

#[test]
fn a_damaged_page_ends_the_run() {
    let workshop = Workshop::new();
    let whole = std::fs::read(workshop.path("payments.parquet")).unwrap();
    // The pages come first, the footer last: it is whole, so the fault shows while reading.
    let mut damaged = whole.clone();
    damaged[whole.len() / 8..whole.len() / 2].fill(0xA5);
    std::io::Write::write_all(
        &mut std::fs::File::create(workshop.path("payments.parquet")).unwrap(),
        &damaged,
    )
    .unwrap();
    let output = workshop.discretail(&["run", "job.toml"]);
    let all_at_once = shown(&workshop, &output);
    let output = workshop.discretail(&[&["run", "job.toml"][..], &LITTLE].concat());
    assert_eq!(shown(&workshop, &output), all_at_once, "in parts");
    assert_snapshot!(all_at_once);
    nothing_happened(&workshop, "test");
}

#[test]
fn a_file_that_changes_ends_the_run() {
    let workshop = workshop(MANY);
    let file = job(&workshop, "changed", "4");
    let run = start(&workshop, &file);
    wait_until(|| !events(&workshop.path(LEDGER), "changed").is_empty());
    // The run has just reserved, and reads for a second.
    let payments = std::fs::read_dir(workshop.path("demo/payments")).unwrap().next().unwrap();
    std::fs::OpenOptions::new()
        .append(true)
        .open(payments.unwrap().path())
        .and_then(|mut file| std::io::Write::write_all(&mut file, b"more"))
        .unwrap();
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", shown(&workshop, &output));
    nothing_happened(&workshop, "changed");
}

/// polars maps the file: where its end is gone, the system sends SIGBUS.
#[test]
fn a_file_that_is_cut_off_while_it_is_read_ends_the_run() {
    let workshop = workshop(MANY);
    let file = job(&workshop, "cut", "4");
    let payments = std::fs::read_dir(workshop.path("demo/payments")).unwrap().next().unwrap();
    let payments = payments.unwrap().path();
    let whole = std::fs::read(&payments).unwrap();
    let mut run = command(workshop.folder.path());
    let run = run.args(["run", &file, "--threads", "1"]).stderr(Stdio::piped()).spawn().unwrap();
    wait_until(|| !events(&workshop.path(LEDGER), "cut").is_empty());
    signal(&run, "-STOP");
    let cut = std::fs::OpenOptions::new().write(true).open(&payments).unwrap();
    cut.set_len(whole.len() as u64 / 2).unwrap();
    signal(&run, "-CONT");
    let output = run.wait_with_output().unwrap();
    // Of a file that is cut off before polars has mapped it the footer is gone.
    let said = shown(&workshop, &output);
    let codes = ["file-cut-short", "file-changed", "file-damaged", "payments-unreadable"];
    assert!(codes.iter().any(|code| said.contains(&format!("error[{code}]"))), "{said}");
    assert!(matches!(output.status.code(), Some(2 | 3)), "{said}");
    assert!(!workshop.path("releases/cut").exists());
    std::io::Write::write_all(&mut std::fs::File::create(&payments).unwrap(), &whole).unwrap();
    settle(&workshop, "cut", &file, LEDGER);
}

/// As above, but sent by hand, so that it comes while the file is mapped.
#[test]
fn a_sigbus_ends_the_run_with_a_message() {
    let workshop = workshop(MANY);
    let file = job(&workshop, "cut", "4");
    let mut texts = String::new();
    for json in [&[][..], &["--json"]] {
        let mut run = command(workshop.folder.path());
        run.args(["run", &file]).args(json).stdout(Stdio::piped()).stderr(Stdio::piped());
        let run = run.spawn().unwrap();
        // The second run takes over what the first one has reserved.
        wait_until(|| {
            let maps = std::fs::read_to_string(format!("/proc/{}/maps", run.id()));
            let reserved = !events(&workshop.path(LEDGER), "cut").is_empty();
            reserved && maps.unwrap_or_default().contains("demo/payments/")
        });
        signal(&run, "-BUS");
        texts += &shown(&workshop, &run.wait_with_output().unwrap());
    }
    assert_snapshot!(texts);
    assert_eq!(events(&workshop.path(LEDGER), "cut"), ["reserved"]);
    settle(&workshop, "cut", &file, LEDGER);
}

#[test]
fn sizes_and_threads_are_checked() {
    let workshop = Workshop::new();
    let mut texts = String::new();
    for arguments in [
        ["--memory", "100MiB"],
        ["--memory", "much"],
        ["--memory", "-1GiB"],
        ["--threads", "0"],
        ["--threads", "1e3"],
    ] {
        let output = workshop.discretail(&[&["run", "job.toml"][..], &arguments].concat());
        texts += &format!("=== {}\n{}", arguments.join(" "), shown(&workshop, &output));
    }
    assert_snapshot!(texts);
    nothing_happened(&workshop, "test");
}

/// A record has 32 bits for its hour and its wallet: of ten years 17 are the hour's.
#[test]
fn more_combinations_of_keys_than_records_hold_end_the_run() {
    let workshop = Workshop::new();
    let rows = (1 << 15) + 1;
    let start = 1_735_704_000_i64;
    let payments = polars::df!(
        "user" => (0..rows).map(|row| format!("u{row}")).collect::<Vec<String>>(),
        "merchant" => vec!["M1"; rows],
        "time" => (0..rows as i64).map(|row| start + row).collect::<Vec<i64>>(),
        "amount" => vec![100_i64; rows],
        "wallet" => (0..rows).map(|row| format!("w{row}")).collect::<Vec<String>>(),
    );
    workshop.parquet("payments.parquet", payments.unwrap());
    let job = JOB
        .replace("last_day  = 2025-01-31", "last_day  = 2034-12-31")
        .replace(r#"[["merchant"], ["wallet", "day"]]"#, r#"[["wallet", "day", "hour"]]"#);
    let public = job.find("[[report]]\nname     = \"market\"").unwrap();
    let private = job.find("[[report]]\nname      = \"found\"").unwrap();
    let job = job.replace(&job[public..private], "");
    let keys = job.find("[keys]").unwrap();
    let privacy = job.find("[privacy]").unwrap();
    workshop.text("job.toml", &job.replace(&job[keys..privacy], ""));
    let output = workshop.discretail(&["run", "job.toml"]);
    assert_snapshot!(shown(&workshop, &output));
    nothing_happened(&workshop, "test");
}

/// Two million cells of 19 numbers: noised values and estimates take more than the least memory.
#[test]
fn tables_that_memory_cannot_hold_are_refused_before_anything_is_charged() {
    let workshop = Workshop::new();
    let wallets: Vec<String> = (0..3_000).map(|i| format!("{i:04}")).collect();
    let job = JOB
        .replace(r#"["alipay", "apple_pay", "card"]"#, &format!("{wallets:?}"))
        .replace(r#"[[], ["region", "week"], ["wallet"]]"#, r#"[["wallet", "day", "hour"]]"#)
        .replace(r#""sales", "average_ticket"]"#, r#""ticket_histogram"]"#)
        .replace(r#", sales = "500.00" }"#, r#", ticket_histogram = "10" }"#);
    workshop.text("job.toml", &job);
    let output = workshop.discretail(&[&["run", "job.toml"][..], &LITTLE].concat());
    assert_eq!(output.status.code(), Some(2));
    assert_snapshot!(shown(&workshop, &output));
    nothing_happened(&workshop, "test");
    assert!(!workshop.path(LEDGER).exists());
}

#[test]
fn the_spill_folder_is_there_and_writable() {
    let workshop = Workshop::new();
    let output = workshop.discretail(&["run", "job.toml", "--spill-dir", "missing"]);
    assert_snapshot!(shown(&workshop, &output));
    nothing_happened(&workshop, "test");
}

/// A file of the run may not grow beyond half a MiB, as if the disk were full.
#[test]
fn a_full_spill_disk_ends_the_run() {
    let workshop = workshop(MANY);
    let file = job(&workshop, "full", "4");
    let binary = command(workshop.folder.path()).get_program().to_owned();
    let mut limited = Command::new("sh");
    let script = format!(
        "trap '' XFSZ; ulimit -f 1024; exec \"$0\" run {file} {} --spill-dir .",
        LITTLE.join(" ")
    );
    limited.arg("-c").arg(script).arg(binary).current_dir(workshop.folder.path());
    let output = limited.output().unwrap();
    assert_snapshot!(shown(&workshop, &output));
    nothing_happened(&workshop, "full");
}

#[test]
fn a_spill_folder_may_vanish_and_nothing_survives_in_it() {
    let workshop = workshop(MANY);
    let file = job(&workshop, "vanished", "4");
    let folder = workshop.path("spill");
    std::fs::create_dir(&folder).unwrap();
    let mut run = command(workshop.folder.path());
    run.args(["run", &file, "--spill-dir", "spill"]).args(LITTLE);
    run.stdout(Stdio::null()).stderr(Stdio::null());
    let mut run = run.spawn().unwrap();
    // Once the spill file is open it has no name, so the folder is empty and can go.
    wait_until(|| {
        let pid = run.id().to_string();
        let files = std::fs::read_dir(Path::new("/proc").join(pid).join("fd"));
        let names =
            files.into_iter().flatten().flatten().filter_map(|fd| fd.path().read_link().ok());
        names.into_iter().any(|name| name.starts_with(&folder))
    });
    std::fs::remove_dir(&folder).expect("an empty folder");
    assert!(run.wait().unwrap().success());
    assert_eq!(events(&workshop.path(LEDGER), "vanished"), ["reserved", "spent", "published"]);
}

/// Stopped at twenty moments after the reservation, spread over most of what a whole run takes.
#[test]
fn ctrl_c_at_any_moment_leaves_nothing_behind() {
    stop_at_many_moments(job);
}

/// The same where the run pays before its second pass: what was paid for is released.
#[test]
fn ctrl_c_at_any_moment_leaves_nothing_behind_where_bounds_are_open() {
    stop_at_many_moments(open_job);
}

fn stop_at_many_moments(write: fn(&Workshop, &str, &str) -> String) {
    let workshop = workshop(MANY);
    let whole = write(&workshop, "whole", "20");
    let started = Instant::now();
    assert!(workshop.discretail(&[&["run", &whole][..], &LITTLE].concat()).status.success());
    let time = started.elapsed();
    std::fs::remove_dir_all(workshop.path("releases")).unwrap();
    let mut stopped = 0;
    for moment in 0..20 {
        let id = format!("stopped-{moment}");
        let file = write(&workshop, &id, "20");
        let run = start_in_little_memory(&workshop, &file);
        wait_until(|| !events(&workshop.path(LEDGER), &id).is_empty());
        std::thread::sleep(time * moment / 30);
        signal(&run, "-INT");
        let output = run.wait_with_output().unwrap();
        match output.status.code() {
            Some(130) => {
                stopped += 1;
                nothing_happened(&workshop, &id);
            }
            Some(0) => std::fs::remove_dir_all(workshop.path("releases")).unwrap(),
            _ => panic!("{id}: {}", shown(&workshop, &output)),
        }
    }
    assert!(stopped >= 5, "only {stopped} of 20 runs were stopped");
}

/// All payments are of one user, so in one partition. (That the flag is looked at between blocks of
/// that user's records is tested in `engine::local`; here it may be heard before the first one.)
#[test]
fn ctrl_c_is_heard_within_a_user_with_all_payments() {
    let workshop = workshop(MANY);
    let file = job(&workshop, "one-user", "20");
    let text = std::fs::read_to_string(workshop.path(&file)).unwrap();
    workshop.text(&file, &text.replace(r#"user = "user_token""#, r#"user = "currency""#));
    let mut run = command(workshop.folder.path());
    run.args(["run", &file, "-v", "--threads", "1"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut run = run.spawn().unwrap();
    let mut log = BufReader::new(run.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(log.any(|line| line.contains("payments read in")), "the run never came so far");
    signal(&run, "-STOP");
    signal(&run, "-INT");
    signal(&run, "-CONT");
    let rest: Vec<String> = log.collect();
    assert_eq!(run.wait().unwrap().code(), Some(130), "{rest:?}");
    nothing_happened(&workshop, "one-user");
}

fn start_in_little_memory(workshop: &Workshop, file: &str) -> Child {
    let mut run = command(workshop.folder.path());
    let run = run.args(["run", file]).args(LITTLE).stdout(Stdio::null()).stderr(Stdio::piped());
    run.spawn().unwrap()
}

/// A run with open bounds that has paid for its surveys and has all users yet to fit, held there.
fn paid_and_held(workshop: &Workshop, id: &str) -> (String, Child) {
    let file = open_job(workshop, id, "20");
    let run = start_in_little_memory(workshop, &file);
    let has_paid = || events(&workshop.path(LEDGER), id).last().is_some_and(|e| e == "spent");
    wait_until(has_paid);
    signal(&run, "-STOP");
    assert!(has_paid(), "the run was too fast to be held");
    (file, run)
}

#[test]
fn ctrl_c_is_not_heard_once_the_price_is_paid() {
    let workshop = workshop(MANY);
    let (_, run) = paid_and_held(&workshop, "paid");
    signal(&run, "-INT");
    signal(&run, "-CONT");
    let output = run.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", shown(&workshop, &output));
    assert_eq!(events(&workshop.path(LEDGER), "paid"), ["reserved", "spent", "published"]);
}

/// The spill file is cut off after the surveys: what they told may be known, so it is paid for.
#[test]
fn a_spill_that_fails_after_the_survey_stays_charged() {
    let workshop = workshop(MANY);
    let (file, run) = paid_and_held(&workshop, "failed");
    let open = std::fs::read_dir(format!("/proc/{}/fd", run.id())).unwrap();
    let spills = open.map(|fd| fd.unwrap().path()).filter(|fd| {
        // A file without a name on this machine's temporary folder.
        let name = fd.read_link().unwrap_or_default().display().to_string();
        name.starts_with(&std::env::temp_dir().display().to_string()) && name.ends_with("(deleted)")
    });
    let spills: Vec<_> = spills.collect();
    assert_eq!(spills.len(), 1, "the spill file");
    std::fs::OpenOptions::new().write(true).open(&spills[0]).unwrap().set_len(0).unwrap();
    signal(&run, "-CONT");
    let output = run.wait_with_output().unwrap();
    let folder = std::env::temp_dir().display().to_string();
    let mut texts = shown(&workshop, &output).replace(&folder, "TEMPORARY");
    assert_eq!(events(&workshop.path(LEDGER), "failed"), ["reserved", "spent"]);
    texts += &shown(&workshop, &workshop.discretail(&["run", &file]));
    assert_eq!(events(&workshop.path(LEDGER), "failed"), ["reserved", "spent"]);
    assert!(!workshop.path("releases/failed").exists());
    assert_snapshot!(texts);
}
