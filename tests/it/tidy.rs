//! The habits of the project, as tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// All Rust files below `src`, by their path there.
fn sources() -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    for path in glob::glob(&format!("{}/src/**/*.rs", root().display())).expect("a pattern") {
        let path = path.expect("readable");
        let name = path.strip_prefix(root().join("src")).expect("below src").to_owned();
        files.insert(name, read(&path));
    }
    assert!(files.len() > 40, "the pattern finds the sources");
    files
}

/// The text without its tests.
fn product(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

#[test]
fn every_code_is_documented_and_every_heading_is_a_code() {
    let mut codes = BTreeSet::new();
    for (name, text) in sources() {
        if !name.starts_with("findings") {
            continue;
        }
        for call in text.split("Finding::new(").skip(1) {
            if let Some(code) = call.trim_start().strip_prefix('"') {
                codes.insert(code.split('"').next().unwrap_or_default().to_owned());
            }
        }
    }
    let headings: BTreeSet<String> = read("docs/errors.md")
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(str::to_owned)
        .collect();
    assert_eq!(codes, headings);
    for code in codes {
        assert!(code.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{code}");
    }
}

#[test]
fn files_are_short() {
    for (name, text) in sources() {
        let lines = product(&text).lines().count();
        let test =
            name.components().any(|part| part.as_os_str().to_string_lossy().contains("test"));
        assert!(test || lines <= 500, "{} has {lines} lines", name.display());
    }
}

#[test]
fn stations_use_only_those_before_them() {
    let order = [
        "privacy",
        "job",
        "plan",
        "payments",
        "engine",
        "mechanism",
        "estimate",
        "release",
        "ledger",
        "sample",
        "commands",
    ];
    for (name, text) in sources() {
        let first = name.components().next().expect("a name").as_os_str().to_string_lossy();
        let station = first.trim_end_matches(".rs").to_owned();
        let Some(place) = order.iter().position(|s| *s == station) else { continue };
        for later in &order[place + 1..] {
            let used = product(&text).contains(&format!("crate::{later}"));
            let test = name.to_string_lossy().contains("test");
            assert!(test || !used, "{} uses {later}", name.display());
        }
    }
}

#[test]
fn some_names_have_one_home() {
    for (name, text) in sources() {
        let text = product(&text);
        let has = |needle: &str| {
            text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(needle))
        };
        assert!(name.starts_with("mechanism") || !has("opendp::"), "{}", name.display());
        assert!(name == Path::new("console.rs") || !has("std::io::stdout"), "{}", name.display());
        assert!(!has("println!"), "{} prints", name.display());
    }
}

#[test]
fn large_libraries_are_there_once() {
    let lock = read("Cargo.lock");
    for name in ["polars", "polars-core", "arrow-array", "parquet", "opendp", "rusqlite"] {
        let count = lock.matches(&format!("name = \"{name}\"\n")).count();
        assert_eq!(count, 1, "{name}");
    }
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest = read("Cargo.toml");
    let mut section = "";
    let mut before = "";
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        }
        let entry = line.split_once(" = ").is_some_and(|(name, _)| {
            !name.starts_with([' ', '#']) && section.ends_with("dependencies]")
        });
        // Several of one purpose may stand below one reason.
        if entry {
            let reason = before.starts_with('#') || before.split_once(" = ").is_some();
            assert!(reason, "no reason for {line}");
        }
        before = line;
    }
}

#[test]
fn architecture_is_short_and_the_sample_small() {
    assert!(read("ARCHITECTURE.md").lines().count() < 200);
    let mut bytes = 0;
    for name in ["data/merchants.parquet", "data/payments/part-00000.parquet", "data/README.md"] {
        bytes += std::fs::metadata(root().join(name)).expect("committed").len();
    }
    assert!(bytes < 2 << 20, "{bytes} bytes of sample data");
}
