//! The same integers from the printed SQL, run in real databases and clusters, as from the
//! definition.
//!
//! They need Python with the engines: `.ci/run` installs them and sets SQL_PYTHON.

#[cfg(feature = "spark")]
mod clusters;
#[cfg(feature = "adbc")]
mod databases;
#[cfg(feature = "adbc")]
mod sessions;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use tempfile::TempDir;

use super::case::{Case, Kind, case, case_of};
use crate::engine::given::Given;
use crate::engine::reference::Reference;
use crate::engine::sql::{Dialect, Query};
use crate::engine::{Engine, ExactSurveys, ExactTotals, LevelTotals, Settle};
use crate::error::Result;
use crate::fixture::noiseless;
use crate::payments::ScanControl;
use crate::plan::Plan;

/// A process that runs SQL.
struct Elsewhere {
    child: Child,
    /// Gone when it is to end.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// Where others can ask it, if they can.
    address: String,
}

impl Elsewhere {
    fn start(engine: &str, settings: &[(&str, &str)]) -> Elsewhere {
        let python =
            std::env::var("SQL_PYTHON").expect("SQL_PYTHON names a Python with the engines");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sql/engines.py");
        let mut child = Command::new(python)
            .args([script, engine])
            .envs(settings.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("starts");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let mut elsewhere = Elsewhere { child, input, output, address: String::new() };
        let answer = elsewhere.answer();
        elsewhere.address = answer.strip_prefix("ready").expect("starts").trim().to_owned();
        elsewhere
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("answers");
        line.trim().to_owned()
    }

    fn run(&mut self, sql: &str, payments: &Path, out: &Path) -> String {
        self.ask(&serde_json::json!({ "sql": sql, "payments": payments, "out": out }))
    }

    fn ask(&mut self, task: &serde_json::Value) -> String {
        let input = self.input.as_mut().expect("it has not ended");
        writeln!(input, "{task}").expect("takes tasks");
        self.answer()
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        // It ends with its input.
        self.input = None;
        let _ = self.child.wait();
    }
}

static NEVER: AtomicBool = AtomicBool::new(false);

fn no_surveys(_: ExactSurveys) -> Result<Plan> {
    panic!("all bounds are stated")
}

/// Totals, or the code of what was found.
type Totals = std::result::Result<ExactTotals, &'static str>;

/// The totals of an engine.
fn totals(engine: &dyn Engine, plan: &Plan) -> Totals {
    let totals = engine.totals(plan, &mut no_surveys);
    totals.map(|(_, totals)| totals).map_err(|error| error.findings()[0].code())
}

/// What was found of a case: what was asked first, if keys are discovered or bounds are open, and
/// the totals by what follows from that without noise.
struct Found {
    asked: Vec<ExactSurveys>,
    totals: Totals,
}

impl Found {
    fn of<E>(
        plan: &Plan,
        engine: impl FnOnce(Settle) -> std::result::Result<Result<ExactTotals>, E>,
    ) -> std::result::Result<Found, E> {
        let (mut asked, mut plan) = (Vec::new(), plan.clone());
        let totals = engine(&mut |exact| {
            plan = noiseless(&plan, &exact);
            asked.push(exact);
            Ok(plan.clone())
        })?;
        let totals = totals.map_err(|error| error.findings()[0].code());
        Ok(Found { asked, totals })
    }
}

/// An engine's totals of a plan whose payments are in `payments.parquet` of a folder.
type Asked<'a> =
    dyn Fn(&Path, &Plan, Settle) -> std::result::Result<Result<ExactTotals>, TestCaseError> + 'a;

/// Compares a case; gives whether there were any totals, and not the same refusal twice.
fn compare(case: &Case, engine: &Asked) -> std::result::Result<bool, TestCaseError> {
    let folder = TempDir::new().expect("a folder");
    let folder = folder.path();
    case.write(folder);
    let plan = case.plan(folder, false);
    let control = ScanControl { cancelled: &NEVER, progress: &|_| {} };
    let wanted = Found::of(&plan, |settle| {
        Ok::<_, TestCaseError>(Reference { control }.totals(&plan, settle).map(|found| found.1))
    })?;
    let plan = case.plan(folder, true);
    let given = Found::of(&plan, |settle| engine(folder, &plan, settle))?;
    if given.totals.as_ref().err() == Some(&"rows-missing") {
        // Of files, it is the run that refuses a table of which `where` leaves nothing.
        let wanted = wanted.totals.expect("nothing is wrong with no rows");
        let sums = wanted.levels.iter().flat_map(|level| level.sums.iter().flatten());
        prop_assert!(sums.into_iter().all(|&sum| sum == 0), "{}", case.text(true));
        return Ok(false);
    }
    prop_assert!(
        given.asked == wanted.asked,
        "{}\n{}",
        case.text(true),
        differing_looks(&given.asked, &wanted.asked)
    );
    prop_assert!(
        given.totals == wanted.totals,
        "{:?} {:?}\n{}\n{}",
        given.totals.as_ref().err(),
        wanted.totals.as_ref().err(),
        case.text(true),
        differing_totals(given.totals.as_ref().ok(), wanted.totals.as_ref().ok())
    );
    Ok(wanted.totals.is_ok())
}

/// The totals of the printed queries, run by somebody who hands their results back.
fn by_hand(
    (folder, plan): (&Path, &Plan),
    settle: Settle,
    dialect: Dialect,
    elsewhere: &mut Elsewhere,
) -> std::result::Result<Result<ExactTotals>, TestCaseError> {
    let (payments, out) = (folder.join("payments.parquet"), folder.join("totals.parquet"));
    let mut run = |query: &Query| {
        let said = elsewhere.run(query.text(), &payments, &out);
        prop_assert!(said == "ok", "{said}\n{}", query.text());
        Ok(Given { path: &out })
    };
    let mut plan = plan.clone();
    while !plan.is_settled() {
        let given = run(&Query::next(&plan, dialect).expect("all of it has SQL"))?;
        match given.asked(&plan).and_then(&mut *settle) {
            Ok(next) => plan = next,
            Err(error) => return Ok(Err(error)),
        }
    }
    let given = run(&Query::new(&plan, dialect).expect("all of it has SQL"))?;
    Ok(given.totals(&plan, &mut no_surveys).map(|(_, totals)| totals))
}

/// Where looks at made-up payments differ.
fn differing_looks(given: &[ExactSurveys], wanted: &[ExactSurveys]) -> String {
    let mut text = format!("{} {} looks\n", given.len(), wanted.len());
    for (given, wanted) in given.iter().zip(wanted) {
        text += &differing_levels(&given.round, &wanted.round);
        for (at, (given, wanted)) in given.surveys.iter().zip(&wanted.surveys).enumerate() {
            if given != wanted {
                text += &format!(
                    "{at}: {:?} {:?}\n{:?}\n{:?}\n",
                    given.spread, wanted.spread, given.histogram, wanted.histogram
                );
            }
        }
    }
    text
}

/// Where totals of made-up payments differ.
fn differing_totals(given: Option<&ExactTotals>, wanted: Option<&ExactTotals>) -> String {
    let both = given.zip(wanted);
    both.map_or(String::new(), |(given, wanted)| differing_levels(&given.levels, &wanted.levels))
}

fn differing_levels(given: &[LevelTotals], wanted: &[LevelTotals]) -> String {
    let mut text = String::new();
    for (given, wanted) in given.iter().zip(wanted) {
        text += &format!("{} {} cells\n", given.keys.len(), wanted.keys.len());
        for (statistic, (given, wanted)) in given.sums.iter().zip(&wanted.sums).enumerate() {
            let differ = given.iter().zip(wanted).enumerate().filter(|(_, (g, w))| g != w);
            text += &differ.map(|d| format!("{statistic} {d:?}\n")).collect::<String>();
        }
    }
    text
}

fn agrees(engine: &str, dialect: Dialect, cases: u32) {
    let elsewhere = std::cell::RefCell::new(Elsewhere::start(engine, &[]));
    agree(cases, &|folder, plan, settle| {
        by_hand((folder, plan), settle, dialect, &mut elsewhere.borrow_mut())
    });
}

/// Compares so many cases of each kind; of half as many more bounds are open.
fn agree(cases: u32, engine: &Asked) {
    let cases = std::env::var("SQL_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(cases);
    let (mut all, mut had) = (0, 0);
    for kind in Kind::ALL {
        for (open, cases) in [(false, cases), (true, cases.div_ceil(2))] {
            let compared = agree_on((kind, open), cases, engine);
            assert!(compared > 0 || cases < 10, "no {kind:?} had payments");
            (all, had) = (all + cases, had + compared);
        }
    }
    // Of few, by chance, few have some.
    assert!(had * 2 > all || (all < 20 && had > 0), "{had} of {all} cases had payments");
}

/// Compares cases of a kind; gives how many there were that had payments.
fn agree_on((kind, open): (Kind, bool), cases: u32, engine: &Asked) -> u32 {
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 60, ..Config::default() };
    let compared = std::cell::Cell::new(0);
    let tested = TestRunner::new(config).run(&case_of(kind), |case| {
        let case = if open { case.open() } else { case };
        let any = compare(&case, engine)?;
        compared.set(compared.get() + u32::from(any));
        Ok(())
    });
    tested.unwrap_or_else(|error| panic!("{error}"));
    compared.get()
}

/// Of the cases that look for keys, some have cells that are hidden and in no round.
#[test]
fn some_cells_that_are_looked_for_are_hidden() {
    let mut runner = TestRunner::deterministic();
    let hidden = (0..60).filter(|_| {
        let case = case_of(Kind::Discovered).new_tree(&mut runner).expect("a case").current();
        let folder = TempDir::new().expect("a folder");
        case.write(folder.path());
        let plan = case.plan(folder.path(), false);
        plan.levels.iter().any(|level| level.hidden.contains(&true))
    });
    let hidden = hidden.count();
    assert!((3..30).contains(&hidden), "{hidden}");
}

#[test]
#[ignore = "needs DuckDB in SQL_PYTHON; .ci/run has it"]
fn duckdb_and_reference_agree_to_the_last_unit() {
    agrees("duckdb", Dialect::DuckDb, 40);
}

#[test]
#[ignore = "needs Spark in SQL_PYTHON and Java; .ci/run has both"]
fn spark_and_reference_agree_to_the_last_unit() {
    agrees("spark", Dialect::Spark, 3);
}

#[test]
#[ignore = "needs psycopg in SQL_PYTHON and a PostgreSQL server; .ci/run has both"]
fn postgresql_and_reference_agree_to_the_last_unit() {
    agrees("postgresql", Dialect::PostgreSql, 15);
}

/// Numbers of cells are cut alike where surveys look at them: else the second cell, of a quarter of
/// the first, would seem small beside it.
#[test]
#[ignore = "needs DuckDB in SQL_PYTHON; .ci/run has it"]
fn duckdb_cuts_what_surveys_see_of_large_cells_as_the_reference_does() {
    let elsewhere = std::cell::RefCell::new(Elsewhere::start("duckdb", &[]));
    let spreads = std::cell::RefCell::new(Vec::new());
    let compared = compare(&Case::rich(), &|folder, plan, settle| {
        let bits = plan.surveys[0].spread.expect("it is asked").grid_bits;
        let mut settle = |exact: ExactSurveys| {
            let spread = exact.surveys[0].spread.expect("it is asked");
            spreads.borrow_mut().push(spread as f64 / (1u64 << bits) as f64);
            settle(exact)
        };
        by_hand((folder, plan), &mut settle, Dialect::DuckDb, &mut elsewhere.borrow_mut())
    });
    assert!(compared.expect("they agree"), "there are payments");
    // Two equal cells; four to one would be 5 / sqrt(17).
    let spread = spreads.take()[0];
    assert!((spread - 2f64.sqrt()).abs() < 0.01, "{spread}");
}

/// White space is blank, and what is made of the letters that would name it is not, where the
/// server takes a `\` in the query for itself.
#[test]
#[ignore = "needs Spark in SQL_PYTHON and Java; .ci/run has both"]
fn spark_that_reads_texts_as_they_stand_and_reference_agree() {
    let case =
        Case::of_users(&["\\u2003", "0ADF0", "u9", "\\", "\u{2003}\t\u{85}", " ", "u1", "u2"]);
    for literals in ["true", "false"] {
        let elsewhere = Elsewhere::start("spark", &[("SPARK_LITERALS", literals)]);
        let elsewhere = std::cell::RefCell::new(elsewhere);
        let compared = compare(&case, &|folder, plan, settle| {
            let totals =
                by_hand((folder, plan), settle, Dialect::Spark, &mut elsewhere.borrow_mut())?;
            let grid = plan.levels[0].statistics[0].noise.grid_bits;
            let users = |found: &ExactTotals| found.levels[0].sums[0].iter().sum::<i64>() >> grid;
            prop_assert!(totals.as_ref().is_ok_and(|found| users(found) == 6), "{literals}");
            Ok(totals)
        });
        assert!(compared.expect("they agree"), "there are payments");
    }
}

/// Spark takes in texts of any bytes. As keys, none of which is listed, they could not be read when
/// they come back, nor could all others.
#[test]
#[ignore = "needs Spark in SQL_PYTHON and Java; .ci/run has both"]
fn rows_of_a_spark_whose_keys_are_not_utf_8_are_bad() {
    let case = Case::of_users(&["u1", "u2", "u3", "u4"]);
    let (folder, mut elsewhere) =
        (TempDir::new().expect("a folder"), Elsewhere::start("spark", &[]));
    case.write(folder.path());
    let text = case.text(true);
    let listed = text.find("[keys]").expect("keys are listed")..text.find("[privacy]").expect("is");
    let text = text.replace(&text[listed], "").replace(
        "levels = [[\"wallet\"]]\nkeys = \"public\"",
        "levels = [[\"wallet\", \"merchant\"]]\nkeys = \"private\"\ncells_max = 2",
    );
    let plan = |share: &str| {
        let text = text.replace("max_bad_share = 1", &format!("max_bad_share = {share}"));
        crate::job::Job::parse(&text, folder.path()).and_then(Plan::new).expect("a plan")
    };
    let there = |name: &str| folder.path().join(name);
    let all = "`user`, merchant, time, amount, wallet, currency, channel, refund, number";
    let garbled = |column: &str| {
        let of_bytes = format!("CAST(X'636166E9' AS STRING) AS {column}");
        format!("SELECT {} FROM payments", all.replace(column, &of_bytes))
    };
    let sql = format!(
        "SELECT {all} FROM payments UNION ALL ({}) UNION ALL ({})",
        garbled("wallet"),
        garbled("merchant")
    );
    assert_eq!(elsewhere.run(&sql, &there("payments.parquet"), &there("garbled")), "ok");
    let mut added_up = |plan: &Plan, payments: &str| {
        let query = Query::new(plan, Dialect::Spark).expect("all of it has SQL");
        let out = there("totals");
        assert_eq!(elsewhere.run(query.text(), &there(payments), &out), "ok");
        totals(&Given { path: &out }, plan)
    };
    let sound = added_up(&plan("1"), "payments.parquet").expect("totals");
    assert!(sound.levels[0].keys.len() == 1);
    assert!(added_up(&plan("1"), "garbled").is_ok_and(|found| found == sound));
    assert_eq!(added_up(&plan("0.5"), "garbled").err(), Some("totals-rows-bad"));
}

/// A session without ANSI rules, or of another zone, says so; and a column with a collation of its
/// own is of another type there.
#[test]
#[ignore = "needs Spark in SQL_PYTHON and Java; .ci/run has both"]
fn spark_with_other_settings_is_refused() {
    let case = case().new_tree(&mut TestRunner::deterministic()).expect("a case").current();
    let settings = [
        ([("SPARK_ANSI", "false")], "totals-session"),
        ([("SPARK_ZONE", "Europe/Berlin")], "totals-session"),
        ([("SPARK_COLLATION", "UTF8_LCASE")], "totals-types"),
    ];
    for (settings, code) in settings {
        let mut elsewhere = Elsewhere::start("spark", &settings);
        let folder = TempDir::new().expect("a folder");
        case.write(folder.path());
        let plan = case.plan(folder.path(), true);
        let query = Query::new(&plan, Dialect::Spark).expect("all of it has SQL");
        let out = folder.path().join("totals");
        let payments = folder.path().join("payments.parquet");
        assert_eq!(elsewhere.run(query.text(), &payments, &out), "ok");
        let given = totals(&Given { path: &out }, &plan);
        assert_eq!(given.err(), Some(code), "{settings:?}");
    }
}
