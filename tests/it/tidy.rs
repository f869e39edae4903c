//! Rules of this repository that a compiler does not check.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(root().join(path)).expect("reads")
}

/// All Rust files of `src`, with their text.
fn sources() -> Vec<(String, String)> {
    let (mut folders, mut files) = (vec![root().join("src")], Vec::<PathBuf>::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("reads") {
            let path = entry.expect("reads").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    let name = |path: &Path| path.strip_prefix(root()).expect("inside").display().to_string();
    files.iter().map(|path| (name(path), read(path))).collect()
}

/// The code of a file: no comments, and nothing from its tests on.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

fn is_test(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|file| file.starts_with("tests"))
}

/// The codes of all findings.
fn codes() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for (name, text) in sources().into_iter().filter(|(n, _)| n.starts_with("src/findings/")) {
        for call in text.split("Finding::new(").skip(1) {
            let literal =
                call.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
            let code = literal.unwrap_or_else(|| panic!("{name}: a code must be a literal"));
            let kebab = |c: char| c.is_ascii_lowercase() || c == '-';
            let words = code.split('-').all(|word| !word.is_empty());
            assert!(code.chars().all(kebab) && words, "{name}: `{code}` is not kebab-case");
            codes.insert(code.to_owned());
        }
    }
    codes
}

#[test]
fn every_code_of_a_finding_is_documented() {
    let codes = codes();
    let text = read("docs/errors.md");
    let headings: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let distinct: BTreeSet<String> = headings.iter().map(|&h| h.to_owned()).collect();
    assert_eq!(headings.len(), distinct.len(), "docs/errors.md has a heading twice");
    assert_eq!(codes, distinct, "left: codes in src/findings; right: docs/errors.md");
}

/// Of these, the cause cannot be brought about from outside.
const UNTESTED: [&str; 4] = [
    // OpenDP refuses no plan that was made.
    "mechanism-failed",
    // The operating system has random bits.
    "randomness-missing",
    // The program that runs can be started, and signals can be listened to.
    "restart-failed",
    "signals-refused",
];

#[test]
fn every_code_of_a_finding_is_met_by_a_test() {
    let mut texts: Vec<String> = Vec::new();
    for (name, text) in sources() {
        let own = text.split_once("#[cfg(test)]\nmod tests {").map(|(_, tests)| tests.to_owned());
        let whole = is_test(&name) || name.contains("/tests/");
        texts.extend(if whole { Some(text) } else { own });
    }
    for place in ["tests/it", "tests/it/snapshots"] {
        for entry in std::fs::read_dir(root().join(place)).expect("reads") {
            let path = entry.expect("reads").path();
            if path.is_file() && !path.ends_with("tidy.rs") {
                texts.push(read(path));
            }
        }
    }
    // Whole words, as `budget-too-small` is in `ledger-budget-too-small`.
    let is_between = |c: char| !c.is_ascii_lowercase() && c != '-';
    let met: BTreeSet<&str> = texts.iter().flat_map(|text| text.split(is_between)).collect();
    let unmet: Vec<String> =
        codes().into_iter().filter(|code| !met.contains(code.as_str())).collect();
    assert_eq!(unmet, UNTESTED, "left: codes that no test or snapshot has");
}

#[test]
fn files_are_short_enough_to_read() {
    for (name, text) in sources().iter().filter(|(name, _)| !is_test(name)) {
        let lines = text.lines().count();
        assert!(lines <= 500, "{name} has {lines} lines, more than 500");
    }
}

/// rustfmt sees to code, but not to comments.
#[test]
fn comments_fit_the_page() {
    for (name, text) in sources() {
        for (at, line) in text.lines().enumerate() {
            let fits = !line.trim_start().starts_with("//") || line.chars().count() <= 100;
            assert!(fits, "{name}:{}: a comment beyond 100 characters", at + 1);
        }
    }
}

#[test]
fn the_lock_file_has_one_polars_arrow_and_parquet() {
    let lock = read("Cargo.lock");
    for package in ["polars", "polars-core", "arrow", "arrow-array", "parquet"] {
        let entry = format!("name = \"{package}\"");
        let found = lock.lines().filter(|line| *line == entry).count();
        assert_eq!(found, 1, "versions of {package} in Cargo.lock");
    }
}

#[test]
fn every_dependency_has_a_reason() {
    let manifest = read("Cargo.toml");
    let section = manifest.split("\n[dependencies]\n").nth(1).expect("has dependencies");
    let section = section.split("\n[").next().expect("has a first part");
    let lines: Vec<&str> = section.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let starts = line.starts_with(|c: char| c.is_ascii_lowercase()) && line.contains(" = ");
        let has_reason = at > 0 && lines[at - 1].starts_with('#');
        assert!(!starts || has_reason, "Cargo.toml: no reason above `{line}`");
    }
}

/// The stations of a run; each uses only those before it.
const STATIONS: [&str; 16] = [
    "findings",
    "error",
    "privacy",
    "job",
    "plan",
    "payments",
    "engine",
    "mechanism",
    "estimate",
    "release",
    "report",
    "trial",
    "ledger",
    "verify",
    "audit",
    "commands",
];

#[test]
fn stations_use_only_earlier_ones() {
    for (name, text) in sources() {
        let station = name["src/".len()..].split(['/', '.']).next().unwrap_or_default();
        let Some(own) = STATIONS.iter().position(|&s| s == station) else { continue };
        for used in code(&text).split("crate::").skip(1) {
            let used = used.split(|c: char| !c.is_ascii_lowercase()).next().unwrap_or_default();
            let place = STATIONS.iter().position(|&s| s == used);
            // The audit makes twins.
            let twins = station == "audit" && used == "sample";
            let outside = ["cli", "console", "sample"].contains(&used) && station != "commands";
            let outside = outside && !twins;
            let later = place.is_some_and(|place| place > own);
            assert!(!later && !outside, "{name} uses `crate::{used}`, a later station");
        }
    }
}

/// Else a mistake in the plan's arithmetic would be confirmed by itself.
#[test]
fn verify_shares_no_arithmetic_with_what_it_checks() {
    for (name, text) in sources().iter().filter(|(name, _)| name.starts_with("src/verify/")) {
        for used in code(text).split("crate::").skip(1) {
            let used = used.split(|c: char| !c.is_ascii_lowercase()).next().unwrap_or_default();
            let allowed = ["error", "findings", "ledger"].contains(&used);
            assert!(allowed, "{name} uses `crate::{used}`");
        }
    }
}

/// Known noise is for the audit alone, and none for trials, whatever types would let through.
#[test]
fn known_noise_is_named_by_the_audit_only() {
    let homes = ["src/mechanism/", "src/estimate/mod.rs", "src/release/mod.rs", "src/audit/"];
    for (name, text) in sources().iter().filter(|(name, _)| !name.starts_with("src/mechanism/")) {
        let none = code(text).contains("without_noise");
        assert!(!none || name == "src/trial/truth.rs", "{name} adds no noise");
    }
    for (name, text) in sources() {
        let known = ["KnownKey", "KnownTotals", "KnownEstimates", "add_known_noise", ".marked()"]
            .into_iter()
            .find(|word| code(&text).contains(word));
        let home = homes.iter().any(|home| name.starts_with(home));
        assert!(known.is_none() || home, "{name} names {known:?}");
    }
    assert!(code(&read("src/audit/subject.rs")).contains("KnownKey"));
}

/// Nothing opens a job's payments in an audit: the plan that its engines get is a twin's.
#[test]
fn the_audit_reads_payments_of_twins_only() {
    for (name, text) in sources().iter().filter(|(name, _)| name.starts_with("src/audit/")) {
        for word in ["Scan::", "LazyFrame", "scan_parquet", "payments.patterns"] {
            let tests = is_test(name);
            assert!(tests || !code(text).contains(word), "{name} has {word}");
        }
    }
}

/// What is used of opendp: its measurement, privacy map and conversion. None of its thresholds,
/// trees, selections or bounded metrics, whose traps `docs/reliability.md` lists.
const OPENDP: [&str; 8] = [
    "combinators::ConcentratedMeasure",
    "core::{Function, Measurement}",
    "domains::{AtomDomain, VectorDomain}",
    "error::Error",
    "error::ErrorVariant",
    "measurements::make_gaussian",
    "measures::ZeroConcentratedDivergence",
    "metrics::L2Distance",
];

#[test]
fn the_mechanism_names_only_the_opendp_items_in_use() {
    let mut named = BTreeSet::new();
    for (_, text) in sources().iter().filter(|(name, _)| name.starts_with("src/mechanism/")) {
        for rest in code(text).split("opendp::").skip(1) {
            named.insert(rest.split([';', ')']).next().unwrap_or_default().to_owned());
        }
    }
    assert_eq!(named, OPENDP.map(str::to_owned).into());
}

/// A page that names a test which is gone would have a claim without one.
#[test]
fn tests_that_the_docs_name_are_there() {
    let mut files: Vec<String> = sources().into_iter().map(|(_, text)| text).collect();
    for entry in std::fs::read_dir(root().join("tests/it")).expect("reads") {
        let path = entry.expect("reads").path();
        if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(read(path));
        }
    }
    // `plan::span::tests` is a module in `src/plan/span.rs`, `ledger::tests::racing_*` are
    // functions of one.
    let is_there = |name: &str| match name.rsplit_once("::") {
        _ if name.contains('/') => root().join(name).exists(),
        Some((path, last)) => {
            let path = format!("src/{}", path.replace("::", "/"));
            let homes = [format!("{path}.rs"), format!("{path}/mod.rs")];
            let homes: Vec<String> =
                homes.iter().filter(|home| root().join(home).exists()).map(read).collect();
            let last = last.trim_end_matches('*');
            homes.iter().any(|text| {
                text.contains(&format!("mod {last}")) || text.contains(&format!("fn {last}"))
            })
        }
        None => {
            let test = format!("fn {}", name.trim_end_matches('*'));
            files.iter().any(|text| text.contains(&test))
        }
    };
    let named = |text: &str| -> Vec<String> {
        text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let mut count = 0;
    for row in read("docs/reliability.md").lines().filter(|line| line.starts_with("| ")) {
        for name in named(row.split(" | ").nth(1).unwrap_or_default()) {
            assert!(is_there(&name), "docs/reliability.md names the test `{name}`");
            count += 1;
        }
    }
    assert!(count > 30, "{count}");
    for (page, least) in [("docs/audit.md", 4), ("docs/merchants.md", 2)] {
        let text = read(page);
        let tests = named(&text).into_iter().filter(|name| {
            let words = name.trim_end_matches('*').split('_');
            let plain = name.chars().all(|c| c.is_ascii_lowercase() || "_*".contains(c));
            name.contains("::tests") || name.starts_with("tests/") || plain && words.count() > 4
        });
        let mut count = 0;
        for name in tests {
            assert!(is_there(&name), "{page} names the test `{name}`");
            count += 1;
        }
        assert!(count >= least, "{page}: {count}");
    }
}

#[test]
fn only_the_mechanism_knows_opendp_and_only_the_console_prints() {
    for (name, text) in sources().iter().filter(|(name, _)| !is_test(name)) {
        let code = code(text);
        let opendp = code.contains("opendp::") || code.contains("use opendp");
        assert!(!opendp || name.starts_with("src/mechanism/"), "{name} names opendp");
        for output in ["println!", "eprintln!", "print!(", "dbg!"] {
            assert!(!code.contains(output), "{name} has {output}");
        }
        let streams = code.contains("io::stdout()") || code.contains("io::stderr()");
        assert!(!streams || name == "src/console.rs", "{name} opens a standard stream");
    }
}

/// Files of `src` whose code has one of some words.
fn with_any(words: &[&str]) -> Vec<String> {
    let has = |(_, text): &(String, String)| words.iter().any(|word| code(text).contains(word));
    let own = |(name, _): &(String, String)| {
        !is_test(name) && !name.contains("/tests/") && name != "src/fixture.rs"
    };
    sources().into_iter().filter(own).filter(has).map(|(name, _)| name).collect()
}

/// Records are opened by `payments`; what else reads tables has no payments of a job in them:
/// made-up ones, the table of merchants and the list of files, totals, releases.
#[test]
fn only_payments_open_records() {
    let readers = [
        "ParquetRecordBatchReaderBuilder",
        "ParquetReader",
        "IpcReader",
        "CsvReader",
        "LazyFrame::scan",
        "scan_parquet",
        "LazyCsvReader",
    ];
    let found = with_any(&readers);
    let beside = [
        "src/audit/one_run.rs",
        "src/audit/pack.rs",
        "src/engine/given.rs",
        "src/job/files.rs",
        "src/release/layout.rs",
        "src/verify/table.rs",
    ];
    let others = found.iter().filter(|name| !name.starts_with("src/payments/"));
    assert_eq!(others.collect::<Vec<_>>(), beside);
}

/// What is written is durable and private where it must be: by drafts of releases, ledgers, the
/// quarantine and the engine's spill. Samples and audits write made-up payments.
#[test]
fn few_files_of_code_write() {
    let words = ["File::create", "OpenOptions", "NamedTempFile", "tempfile()", "tempfile_in"];
    let writers = [
        "src/audit/mod.rs",
        "src/audit/one_run.rs",
        "src/audit/pack.rs",
        "src/audit/side.rs",
        "src/audit/twin.rs",
        "src/engine/local/spill.rs",
        "src/ledger/file.rs",
        "src/ledger/hold.rs",
        "src/payments/quarantine.rs",
        "src/release/folder.rs",
        "src/sample/mod.rs",
        "src/sample/writer.rs",
    ];
    assert_eq!(with_any(&words), writers);
}
