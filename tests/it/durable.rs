//! What is written through to the disk, and in which order: a power cut must not take a release
//! whose price is recorded as published, nor a ledger.

use std::path::Path;
use std::process::Command;

use crate::common::{JOB, Workshop, command, shown};

/// Stands before the C library and notes each file or folder that is written through, with whether
/// what is watched was there by then. SQLite and the standard library call these two.
const NOTES: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void note(int fd) {
    char link[64], path[4096], line[4200];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return;
    path[length] = 0;
    const char *there = access(getenv("WATCHED"), F_OK) == 0 ? "after" : "before";
    int size = snprintf(line, sizeof line, "%s %s\n", there, path);
    int log = open(getenv("NOTES"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (write(log, line, size) != size) abort();
    close(log);
}

int fsync(int fd) { note(fd); return syscall(SYS_fsync, fd); }
int fdatasync(int fd) { note(fd); return syscall(SYS_fdatasync, fd); }
"#;

/// What a command has written through, in its order: whether `watched` was there, and its path.
fn written_through(workshop: &Workshop, args: &[&str], watched: &Path) -> Vec<(bool, String)> {
    workshop.text("notes.c", NOTES);
    let (source, library) = (workshop.path("notes.c"), workshop.path("notes.so"));
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source);
    assert!(compiler.status().expect("a C compiler, as for SQLite").success());
    let notes = workshop.path("notes.txt");
    let mut run = command(workshop.folder.path());
    run.args(args).env("LD_PRELOAD", library).env("NOTES", &notes).env("WATCHED", watched);
    let output = run.output().unwrap();
    assert!(output.status.success(), "{}", shown(workshop, &output));
    let text = std::fs::read_to_string(notes).unwrap();
    let line = |line: &str| {
        let (there, path) = line.split_once(' ').unwrap();
        (there == "after", path.to_owned())
    };
    text.lines().map(line).collect()
}

#[test]
fn a_release_is_on_disk_before_it_is_recorded_as_published() {
    let workshop = Workshop::new();
    let job = JOB.replacen("[[], [\"region\", \"week\"], [\"wallet\"]]", "[[\"week\"]]", 1);
    let job = job.replacen("insights =", "partition_by = \"week\"\ninsights =", 1);
    workshop.text("job.toml", &job);
    let release = workshop.folder.path().canonicalize().unwrap().join("releases/test");
    let notes = written_through(&workshop, &["run", "job.toml"], &release);
    let place = |is_there: bool, is_it: &dyn Fn(&str) -> bool| {
        notes.iter().rposition(|(there, path)| *there == is_there && is_it(path))
    };
    // Each file and each folder in the draft, before it is moved to its place.
    let parent = release.parent().unwrap().to_str().unwrap().to_owned();
    let draft = format!("{parent}/.discretail-");
    let mut names = vec![String::new()];
    let mut folders = vec![release.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            names.push(format!("/{}", path.strip_prefix(&release).unwrap().display()));
            folders.extend(path.is_dir().then_some(path));
        }
    }
    assert!(names.len() > 12, "{names:?}");
    for name in names {
        let is_it = |path: &str| {
            let rest = path.strip_prefix(&draft);
            rest.is_some_and(|rest| rest.find('/').map_or("", |at| &rest[at..]) == name)
        };
        assert!(place(false, &is_it).is_some(), "`{name}` of {notes:?}");
    }
    // Then the folder that it was moved to, and only then the ledger.
    let moved = notes.iter().position(|(there, path)| *there && *path == parent);
    let moved = moved.expect("the folder of releases is written through");
    let recorded = notes.iter().position(|(there, path)| *there && path.contains("ledger.sqlite"));
    assert!(recorded.is_some_and(|recorded| moved < recorded), "{notes:?}");
}

#[test]
fn a_ledger_is_on_disk_under_its_name() {
    let workshop = Workshop::new();
    let folder = workshop.folder.path().canonicalize().unwrap();
    let ledger = folder.join("ledger.sqlite");
    let terms = ["--population", "people", "--epsilon-max", "4", "--delta-max", "1e-5"];
    let init = [&["ledger", "init", "ledger.sqlite"][..], &terms].concat();
    let notes = written_through(&workshop, &init, &ledger);
    let is_folder = |path: &str| Path::new(path) == folder;
    assert!(notes.iter().any(|(there, path)| *there && is_folder(path)), "{notes:?}");
    let is_draft = |path: &str| path.contains("/.discretail-ledger-");
    assert!(notes.iter().any(|(there, path)| !there && is_draft(path)), "{notes:?}");
}
