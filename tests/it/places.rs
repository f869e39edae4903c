//! What is written, and where: nothing into a release, and nothing over other files.

use std::os::unix::fs::symlink;

use insta::assert_snapshot;

use crate::common::{Workshop, payments_from, shown};

#[test]
fn nothing_is_written_into_a_release_or_over_other_files() {
    let workshop = Workshop::new();
    workshop.release();
    let job = std::fs::read_to_string(workshop.path("job.toml")).unwrap();
    let ledger = std::fs::read(workshop.path("ledger.sqlite")).unwrap();
    workshop.text("next.toml", &job.replace("\"test\"", "\"next\""));
    workshop.parquet("tried.parquet", payments_from(1_735_704_060));
    symlink(workshop.path("releases/test"), workshop.path("link")).unwrap();
    std::fs::create_dir(workshop.path("mine")).unwrap();
    workshop.text("mine/audit.html", "<!DOCTYPE html>\n<html lang=\"en\">my own");
    std::fs::create_dir(workshop.path("tables")).unwrap();
    std::fs::copy(workshop.path("payments.parquet"), workshop.path("tables/audit.parquet"))
        .unwrap();

    let (report, audit) = (["report", "releases/test"], ["audit", "releases/test"]);
    let report = |output| [&report[..], &["--output", output]].concat();
    let audit = |out| [&audit[..], &["--out", out]].concat();
    let tried = |out| vec!["plan", "job.toml", "--out", out, "--try", "tried.parquet"];
    let init = ["ledger", "init", "releases/test/l.sqlite", "--population", "people"];
    let init = [&init[..], &["--epsilon-max", "4", "--delta-max", "1e-5"]].concat();
    let (within, foreign) = ("output-in-release", "output-foreign");
    let mut texts = String::new();
    for (args, code) in [
        (report("releases/test/manifest.json"), within),
        (report("releases/test/other.html"), within),
        (report("releases/test/deep/report.html"), within),
        (report("link/other.html"), within),
        (report("job.toml"), foreign),
        (report("ledger.sqlite"), foreign),
        (report("payments.parquet"), foreign),
        (audit("releases/test"), within),
        (audit("releases/test/deep"), within),
        (audit("link"), within),
        (audit("mine"), foreign),
        (audit("tables"), foreign),
        (vec!["audit", "next.toml", "--out", "releases/test"], within),
        (tried("releases/test/page.html"), within),
        (tried("job.toml"), foreign),
        (vec!["run", "next.toml", "--out", "releases/test/next"], within),
        (vec!["sample", "releases/test/demo", "--payments", "100"], within),
        (init, within),
    ] {
        let output = workshop.discretail(&args);
        let said = shown(&workshop, &output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(&format!("error[{code}]")), "{args:?}: {said}");
        if [report("job.toml"), audit("releases/test")].contains(&args) {
            texts += &said;
        }
    }
    assert_snapshot!(texts);
    assert!(job == std::fs::read_to_string(workshop.path("job.toml")).unwrap());
    assert!(ledger == std::fs::read(workshop.path("ledger.sqlite")).unwrap());
    workshop.release();
}

#[test]
fn what_is_ours_is_made_anew() {
    let workshop = Workshop::new();
    workshop.release();
    for args in [
        ["report", "releases/test", "--output", "releases/test/report.html"],
        ["report", "releases/test", "--output", "link/report.html"],
        ["report", "releases/test", "--output", "page.html"],
        ["audit", "releases/test", "--out", "evidence"],
    ] {
        if args[3] == "link/report.html" {
            symlink(workshop.path("releases/test"), workshop.path("link")).unwrap();
        }
        for _ in 0..2 {
            let output = workshop.discretail(&args);
            assert!(output.status.success(), "{}", shown(&workshop, &output));
        }
    }
    // Unchanged, as the page is a function of tables and manifest.
    workshop.release();
}

/// The ledger holds where a release is.
#[test]
fn a_release_that_was_moved_is_found_by_a_link() {
    let workshop = Workshop::new();
    workshop.release();
    std::fs::rename(workshop.path("releases"), workshop.path("moved")).unwrap();
    let missing = workshop.discretail(&["run", "job.toml"]);
    assert_eq!(missing.status.code(), Some(1));
    assert_snapshot!(shown(&workshop, &missing));
    symlink(workshop.path("moved"), workshop.path("releases")).unwrap();
    workshop.release();
}
