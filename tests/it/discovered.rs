//! Keys that rounds discover, from the job to a release that is verified.

use insta::assert_snapshot;
use polars::prelude::DataFrame;
use serde_json::json;

use crate::common::{Workshop, fitted, paid_in_turn, sharp, shown};
use crate::shared::{table, table_of};
use crate::verify::{Copy, names};

const REPORT: &str = r#"[[report]]
name     = "found"
levels   = [["home_region", "merchant"], ["wallet", "week"]]
keys     = "discovered"
insights = ["customers", "sales"]
"#;

/// A job with this report, of an ε with which rounds see some hundred users.
fn job(report: &str) -> String {
    fitted(sharp() + report)
}

/// Of 3,000 users each pays at home, in the north or the south, and a third in M2, which is in the
/// north, too; one of each region pays at "NULL" as well. A lone user's cell is found with at most
/// the probability that the thresholds leave, 1e-6 a release.
fn payments() -> DataFrame {
    let pay = |user: usize| {
        let home = if user.is_multiple_of(2) { "M1" } else { "M3" };
        let mut own = vec![(user, home), (user, home), (user, home)];
        own.extend(user.is_multiple_of(3).then_some((user, "M2")));
        own.extend((user < 2).then_some((user, "NULL")));
        own
    };
    paid_in_turn((0..3000).flat_map(pay))
}

fn workshop(report: &str) -> Workshop {
    let workshop = Workshop::new();
    workshop.parquet("payments.parquet", payments());
    workshop.text("job.toml", &job(report));
    workshop
}

fn run(workshop: &Workshop, args: &[&str]) -> String {
    format!("$ discretail {}\n{}", args.join(" "), shown(workshop, &workshop.discretail(args)))
}

const VERIFY: [&str; 4] = ["verify", "releases/test", "--ledger", "ledger.sqlite"];

#[test]
fn keys_of_many_users_are_discovered_and_what_is_there_is_measured() {
    let workshop = workshop(REPORT);
    let mut texts = String::new();
    for args in [&["plan", "job.toml"][..], &["run", "job.toml"], &["run", "job.toml"], &VERIFY] {
        texts += &run(&workshop, args);
    }
    // From the north to M1 and M2, from the south to M3 and M2, and not to where one is.
    assert_eq!(table(&workshop, "found.home_region-merchant.parquet").num_rows(), 4);
    // Payments come in four weeks of the month.
    assert_eq!(table(&workshop, "found.wallet-week.parquet").num_rows(), 4);
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\d+ values", "N values");
    settings.bind(|| assert_snapshot!(texts));
}

#[test]
fn rounds_that_are_not_what_they_should_be_are_found() {
    let workshop = workshop(REPORT);
    assert!(workshop.discretail(&["run", "job.toml"]).status.success());
    let failed = |change: &dyn Fn(&mut serde_json::Value)| {
        let copy = Copy::of(&workshop);
        copy.manifest(|manifest| change(manifest));
        copy.failed(None)
    };
    let mut texts = String::new();
    let mut tell = |checks: &str, change: &dyn Fn(&mut serde_json::Value)| {
        let failed = failed(change);
        assert!(checks.split(' ').all(|check| names(&failed).contains(check)), "{failed:?}");
        for (check, text) in failed.iter().filter(|(check, _)| **check != "footer") {
            texts += &format!("{check}: {text}\n");
        }
    };
    let round = |manifest: &mut serde_json::Value, field: &str, value: serde_json::Value| {
        manifest["discoveries"][0]["rounds"][2][field] = value;
    };
    tell("lattice", &|m| round(m, "found", json!(100)));
    tell("guarantee", &|m| round(m, "threshold", json!(1000)));
    tell("price", &|m| round(m, "mu_squared_units", json!("17")));
    tell("price", &|m| round(m, "sigma", json!(1u64 << 40)));
    tell("price", &|m| round(m, "threshold_delta_units", json!("1")));
    tell("manifest", &|m| round(m, "sensitivity", json!(5)));
    tell("manifest", &|m| {
        round(m, "sensitivity", json!(0));
        round(m, "grid_units_per_unit", json!(0));
    });
    tell("manifest", &|m| m["discoveries"][0]["cells_max"] = json!(0));
    tell("manifest", &|m| m["discoveries"][0]["cells_max"] = json!(u32::MAX));
    tell("lattice", &|m| {
        (0..2).for_each(|n| m["discoveries"][0]["rounds"][n]["found"] = json!(1u64 << 63));
    });
    tell("lattice", &|m| round(m, "found", serde_json::Value::Null));
    tell("manifest", &|m| m["discoveries"][1]["file"] = json!("other.parquet"));
    tell("manifest", &|m| m["discoveries"][0]["rounds"] = json!([]));
    tell("manifest", &|m| m["discoveries"][1] = m["discoveries"][0].clone());
    tell("manifest", &|m| m["key_sets"][0]["selection"] = json!("public"));
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\d{5,}", "N");
    settings.bind(|| assert_snapshot!(texts));
    // Grids that are whole, but too coarse, and one that is none.
    for (grid, fault) in [(1 << 15, "a user has a norm of 1"), (98_304, "no power of two")] {
        let other = failed(&|m| {
            round(m, "grid_units_per_unit", json!(grid));
            round(m, "sensitivity", json!(grid));
        });
        assert!(other["manifest"].contains(fault), "{other:?}");
    }
    // Keys of an earlier release make more rows than were found, and not fewer.
    let kept = |found: u64| {
        failed(&|m| {
            m["key_sets"][0]["keys_from"] = json!([{ "job": "none", "manifest_sha256": "0" }]);
            round(m, "found", json!(found));
        })
    };
    assert!(kept(100)["lattice"].contains("but rounds have found"));
    assert!(!kept(0).contains_key("lattice"));
}

/// Cells of too few merchants are in no round, and where dominance hides some, nobody is told how
/// many were found.
#[test]
fn hidden_merchants_are_not_told_of() {
    const CELLS: &str = "\n[[report]]\nname = \"found\"\nlevels = [[\"region\", \"category\"]]\n\
        keys = \"discovered\"\ninsights = [\"payments\"]\n";
    const JUDGE: &str = "\n[[report]]\nname = \"judge\"\nlevels = [[\"merchant\"]]\n\
        keys = \"public\"\ninsights = [\"payments\"]\n";
    let rule = "dominance = { top = 2, share = \"60%\", by = \"payments\" }";
    // Two merchants of fuel in the north are too few, and another cell there would tell of them.
    // Where two merchants may not have 60 % of a cell, more are hidden.
    for (line, more, told) in [("", "", true), (rule, JUDGE, false)] {
        let workshop = crate::merchants::workshop(line);
        let job = std::fs::read_to_string(workshop.path("job.toml")).unwrap();
        workshop.text("job.toml", &format!("{job}{CELLS}{more}"));
        let ran = workshop.discretail(&["run", "job.toml"]);
        assert_eq!(ran.status.code(), Some(0), "{}", shown(&workshop, &ran));
        let verified = workshop.discretail(&VERIFY);
        assert_eq!(verified.status.code(), Some(0), "{}", shown(&workshop, &verified));
        let rows = table(&workshop, "found.region-category.parquet").num_rows();
        assert!(if told { rows == 4 } else { rows < 4 }, "{rows}");
        let text = std::fs::read_to_string(workshop.path("releases/test/manifest.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
        let rounds = manifest["discoveries"][0]["rounds"].as_array().unwrap();
        assert!(rounds.iter().all(|round| round["found"].is_null() != told));
    }
}

/// A part of δ that three rounds cannot share evenly, in each of seven levels.
#[test]
fn rounds_take_all_of_the_thresholds_delta() {
    let keys = ["merchant", "week", "wallet", "category", "region", "month", "day"];
    let levels = keys.map(|key| format!("[\"{key}\"]")).join(", ");
    let levels = format!("levels   = [{levels}]\n");
    let report = REPORT.lines().filter(|line| !line.starts_with("levels"));
    let report: Vec<&str> = report.collect();
    let workshop = workshop(&format!("{}\n{levels}", report.join("\n")));
    let ran = workshop.discretail(&["run", "job.toml"]);
    assert_eq!(ran.status.code(), Some(0), "{}", shown(&workshop, &ran));
    let verified = workshop.discretail(&VERIFY);
    assert_eq!(verified.status.code(), Some(0), "{}", shown(&workshop, &verified));
}

/// Units within a month: the price over all of a user's months counts rounds, too.
#[test]
fn rounds_count_for_each_month_of_a_user() {
    let report = REPORT.replace("[\"home_region\", \"merchant\"]", "[\"merchant\", \"month\"]");
    let workshop = workshop(&report);
    let job = job(&report).replace("unit    = \"user\"", "unit    = \"user-month\"");
    workshop.text(
        "job.toml",
        &job.replace("2025-01-31", "2025-02-28").replace(", \"week\"", ", \"day\""),
    );
    let ran = workshop.discretail(&["run", "job.toml"]);
    assert_eq!(ran.status.code(), Some(0), "{}", shown(&workshop, &ran));
    let verified = workshop.discretail(&VERIFY);
    assert_eq!(verified.status.code(), Some(0), "{}", shown(&workshop, &verified));
    let copy = Copy::of(&workshop);
    copy.manifest(|m| {
        let composed = &mut m["privacy_unit"]["composed"]["mu_squared_units"];
        let units: u128 = composed.as_str().unwrap().parse().unwrap();
        *composed = json!((units / 2).to_string());
    });
    assert!(names(&copy.failed(None)).contains("guarantee"));
}

/// Keys that a release has discovered stay: the next one shows them without a look. Without them it
/// finds some of two cells of 1,354 users, which are five deviations below the threshold, with a
/// chance of 10⁻⁶.
#[test]
fn discovered_keys_can_be_kept() {
    let workshop = workshop(REPORT);
    assert!(workshop.discretail(&["run", "job.toml"]).status.success());
    let again = job(REPORT).replace("\"test\"", "\"again\"").replace("\"8\"", "\"0.005\"");
    workshop.text("none.toml", &again.replace("\"again\"", "\"none\""));
    workshop.text("again.toml", &format!("{again}keys_from = [\"test\"]\n"));
    for job in ["none.toml", "again.toml"] {
        let ran = workshop.discretail(&["run", job]);
        assert_eq!(ran.status.code(), Some(0), "{}", shown(&workshop, &ran));
    }
    let found = "found.home_region-merchant.parquet";
    assert_eq!(table_of(&workshop, "none", found).num_rows(), 0);
    assert_eq!(table_of(&workshop, "again", found).num_rows(), 4);
    let verified = workshop.discretail(&["verify", "releases/again", "--ledger", "ledger.sqlite"]);
    assert_eq!(verified.status.code(), Some(0), "{}", shown(&workshop, &verified));
}

#[test]
fn what_cannot_be_discovered_is_told() {
    let workshop = workshop(REPORT);
    let mut texts = String::new();
    for report in [
        format!("{REPORT}discovery = \"100%\"\n"),
        format!("{REPORT}discovery = \"much\"\ncells_max = 0\n"),
        format!("{REPORT}error = {{ customers = \"5%\" }}\n"),
        REPORT.replace("discovered", "private") + "discovery = \"50%\"\n",
        REPORT.replace("discovered", "found"),
        format!("{REPORT}previous = \"latest\"\n"),
        REPORT.replace("\"home_region\", \"merchant\"", "\"category\", \"with_category\""),
    ] {
        workshop.text("job.toml", &job(&report));
        texts += &run(&workshop, &["check", "job.toml"]);
    }
    let table = job(REPORT).replace("files     = [\"payments.parquet\"]", "table     = \"payments\"\ntypes = { user = \"text\", merchant = \"text\", time = \"integer\", amount = \"integer\", wallet = \"text\" }");
    workshop.text("job.toml", &table);
    texts += &run(&workshop, &["plan", "job.toml", "--sql", "duckdb"]);
    // A server can be asked several times.
    let asked = table.replace("table     =", "engine = \"adbc\"\ntable     =");
    workshop.text("job.toml", &(asked + "[adbc]\ndriver = \"duckdb\"\n"));
    texts += &run(&workshop, &["check", "job.toml"]);
    assert_snapshot!(texts);
}
