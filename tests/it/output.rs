//! Standard output that cannot be written: a full disk is told of, a closed pipe is not. And what a
//! terminal is sent.

use std::fs::OpenOptions;
use std::process::{Output, Stdio};

use insta::assert_snapshot;

use crate::common::{JOB, Workshop, command, payments_from, shown};

/// Standard output is a disk without room.
fn onto_a_full_disk(workshop: &Workshop, args: &[&str]) -> Output {
    let full = OpenOptions::new().write(true).open("/dev/full").expect("opens");
    command(workshop.folder.path()).args(args).stdout(full).output().expect("starts")
}

#[test]
fn every_command_tells_of_output_that_cannot_be_written() {
    let workshop = Workshop::new();
    workshop.parquet("tried.parquet", payments_from(1_735_704_060));
    let plain = workshop.discretail(&["plan", "job.toml"]);
    assert!(plain.status.success(), "{}", shown(&workshop, &plain));
    let init = ["ledger", "init", "other.sqlite", "--population", "people"];
    let budget = ["--epsilon-max", "4", "--delta-max", "1e-5"];
    let init = [&init[..], &budget].concat();
    let mut texts = String::new();
    for args in [
        &["--help"][..],
        &["--version"],
        &["sample", "demo", "--payments", "100"],
        &["sample", "more", "--payments", "100", "--json"],
        &["check", "job.toml"],
        &["check", "job.toml", "--json"],
        &["plan", "job.toml"],
        &["plan", "job.toml", "--json"],
        &["plan", "job.toml", "--try", "tried.parquet"],
        // The release is there, and the same job again only prints.
        &["run", "job.toml"],
        &["run", "job.toml", "--json"],
        &["verify", "releases/test"],
        &["verify", "releases/test", "--json"],
        &["audit", "releases/test"],
        &["report", "releases/test", "--output", "page.html"],
        &init,
        &["ledger", "show", "ledger.sqlite"],
        &["ledger", "verify", "ledger.sqlite"],
        &["ledger", "verify", "ledger.sqlite", "--json"],
    ] {
        let output = onto_a_full_disk(&workshop, args);
        let said = shown(&workshop, &output);
        assert_eq!(output.status.code(), Some(3), "{args:?}: {said}");
        assert!(said.contains("error[output-not-writable]"), "{args:?}: {said}");
        if args[0] == "run" || args == ["check", "job.toml"] {
            texts += &said;
        }
    }
    assert_snapshot!(texts);
    let verify = ["verify", "releases/test", "--ledger", "ledger.sqlite"];
    let verified = workshop.discretail(&verify);
    assert!(verified.status.success(), "{}", shown(&workshop, &verified));
    // What is wrong anyway is told as ever, by the exit code too.
    let missing = onto_a_full_disk(&workshop, &["check", "nothing.toml", "--json"]);
    assert_eq!(missing.status.code(), Some(2), "{}", shown(&workshop, &missing));
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let workshop = Workshop::new();
    for args in [&["plan", "job.toml"][..], &["plan", "job.toml", "--json"], &["--help"]] {
        let mut child = command(workshop.folder.path());
        let child = child.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().expect("starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("ends");
        let said = shown(&workshop, &output);
        assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {said}");
    }
}

/// A setting of the reader that it stops at, in the way in which it would at a mistake of ours.
#[test]
fn a_bug_is_told_as_json_too() {
    let workshop = Workshop::new();
    for args in [&["run", "job.toml", "--json"][..], &["run", "job.toml", "--json", "-v"]] {
        let mut command = command(workshop.folder.path());
        let command = command.env("POLARS_ROW_GROUP_PREFETCH_SIZE", "none").args(args);
        let output = command.output().expect("starts");
        let said = shown(&workshop, &output);
        assert_eq!(output.status.code(), Some(3), "{said}");
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect(&said);
        assert_eq!(told["findings"][0]["code"], "bug-found", "{said}");
        assert_eq!(told["status"], "environment", "{said}");
        assert!(said.contains("builder.rs"), "{said}");
    }
}

/// They tell of polars' own future, and their texts are not ours.
#[test]
fn deprecations_of_polars_are_shown_with_v_only() {
    let workshop = Workshop::new();
    workshop.text("payments.csv", "user,merchant,time,amount,wallet\nu1,M1,2025-01-05,1.50,card\n");
    let job = JOB
        .replace("\"payments.parquet\"", "\"payments.csv\"")
        .replace("time = \"time\"", "time = \"CAST(time AS TIMESTAMP)\"");
    workshop.text("job.toml", &job);
    let said = |args: &[&str]| {
        let output = workshop.discretail(args);
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let quiet = said(&["run", "job.toml"]);
    assert!(!quiet.contains("eprecat"), "{quiet}");
    let verbose = said(&["-v", "run", "job.toml"]);
    assert!(verbose.contains("eprecat"), "{verbose}");
}

/// What a command prints on a terminal, with these variables of the environment.
fn on_a_terminal(workshop: &Workshop, command: &str, variables: &[(&str, &str)]) -> String {
    let program = format!("'{}' {command}", env!("CARGO_BIN_EXE_discretail"));
    let mut script = std::process::Command::new("script");
    script.args(["-qec", &program, "/dev/null"]).current_dir(workshop.folder.path());
    script.env_remove("NO_COLOR").env("TERM", "xterm").envs(variables.iter().copied());
    let output = script.stdin(Stdio::null()).output().expect("starts");
    String::from_utf8(output.stdout).expect("text")
}

/// Nothing but what was asked for, with colours where they are taken.
#[test]
fn a_terminal_is_sent_what_it_can_show() {
    let workshop = Workshop::new();
    let said = on_a_terminal(&workshop, "check job.toml", &[]);
    let plain = String::from_utf8(workshop.discretail(&["check", "job.toml"]).stdout).unwrap();
    assert!(!said.contains("tracing"), "{said}");
    assert!(said.replace("\r\n", "\n").ends_with(&plain), "{said:?} {plain:?}");
    let failing = |variables: &[(&str, &str)]| {
        let said = on_a_terminal(&workshop, "check nothing.toml", variables);
        assert!(said.contains("job-unreadable"), "{said}");
        said
    };
    assert!(failing(&[]).contains("\x1b[1m"));
    assert!(failing(&[("NO_COLOR", "")]).contains("\x1b[1m"));
    assert!(!failing(&[("NO_COLOR", "1")]).contains("\x1b[1m"));
    assert!(!failing(&[("TERM", "dumb")]).contains('\x1b'));
}
