//! The same integers from the printed SQL, run in real databases and clusters, as from the
//! definition.
//!
//! They need Python with the engines: `.ci/run` installs them and sets SQL_PYTHON.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
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
use crate::engine::{Engine, ExactSurveys, ExactTotals, SurveyTotals};
use crate::error::Result;
use crate::payments::ScanControl;
use crate::plan::{Plan, Survey};

/// A process that runs SQL.
struct Elsewhere {
    child: Child,
    /// Gone when it is to end.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
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
        let mut elsewhere = Elsewhere { child, input, output };
        assert_eq!(elsewhere.answer(), "ready");
        elsewhere
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("answers");
        line.trim().to_owned()
    }

    fn run(&mut self, sql: &str, payments: &Path, out: &Path) -> String {
        let task = serde_json::json!({ "sql": sql, "payments": payments, "out": out });
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

/// The totals of an engine, or the code of what it finds.
fn totals(engine: &dyn Engine, plan: &Plan) -> std::result::Result<ExactTotals, &'static str> {
    let totals = engine.totals(plan, &mut no_surveys);
    totals.map(|(_, totals)| totals).map_err(|error| error.findings()[0].code())
}

/// A case that is run in two places.
struct Compared<'a> {
    case: &'a Case,
    dialect: Dialect,
    elsewhere: &'a mut Elsewhere,
    folder: TempDir,
}

impl Compared<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Compares the totals; gives whether there were any, and not the same refusal twice.
    fn totals(&mut self) -> std::result::Result<bool, TestCaseError> {
        let (case, folder) = (self.case, self.folder.path());
        case.write(folder);
        let (plan, table) = (case.plan(folder, false), case.plan(folder, true));
        let control = ScanControl { cancelled: &NEVER, progress: &|_| {} };
        let wanted = totals(&Reference { control }, &plan);
        let given = self.given(&table)?;
        self.same(given, wanted)
    }

    /// The totals of a plan on the table.
    fn given(
        &mut self,
        plan: &Plan,
    ) -> std::result::Result<std::result::Result<ExactTotals, &'static str>, TestCaseError> {
        let query = Query::new(plan, self.dialect).expect("all of it has SQL");
        let out = self.run(&query)?;
        Ok(totals(&Given { path: &out }, plan))
    }

    /// Runs a query; gives where its result is.
    fn run(&mut self, query: &Query) -> std::result::Result<PathBuf, TestCaseError> {
        let (payments, out) = (self.path("payments.parquet"), self.path("totals.parquet"));
        let said = self.elsewhere.run(query.text(), &payments, &out);
        prop_assert!(said == "ok", "{said}\n{}", query.text());
        Ok(out)
    }

    fn same(
        &self,
        given: std::result::Result<ExactTotals, &'static str>,
        wanted: std::result::Result<ExactTotals, &'static str>,
    ) -> std::result::Result<bool, TestCaseError> {
        if given.as_ref().err() == Some(&"rows-missing") {
            // Of files, it is the run that refuses a table of which `where` leaves nothing.
            let wanted = wanted.expect("nothing is wrong with no rows");
            let sums = wanted.levels.iter().flat_map(|level| level.sums.iter().flatten());
            prop_assert!(sums.into_iter().all(|&sum| sum == 0), "{}", self.case.text(true));
            return Ok(false);
        }
        prop_assert!(
            given == wanted,
            "{:?} {:?}\n{}\n{}",
            given.as_ref().err(),
            wanted.as_ref().err(),
            self.case.text(true),
            differences(given.as_ref().ok(), wanted.as_ref().ok())
        );
        Ok(wanted.is_ok())
    }

    /// Compares what surveys count, and the totals by the bounds that follow; gives whether there
    /// were any.
    fn surveys(&mut self) -> std::result::Result<bool, TestCaseError> {
        let (case, folder) = (self.case, self.folder.path());
        case.write(folder);
        let (plan, table) = (case.plan(folder, false), case.plan(folder, true));
        if plan.surveys.is_empty() {
            return Ok(false);
        }
        let control = ScanControl { cancelled: &NEVER, progress: &|_| {} };
        let mut counted = None;
        let wanted = Reference { control }.totals(&plan, &mut |surveys| {
            counted = Some(surveys.clone());
            Ok(plan.clone().settle(noiseless(surveys)))
        });
        let query = Query::surveys(&table, self.dialect).expect("all of it has SQL");
        let out = self.run(&query)?;
        let given = Given { path: &out }.surveys(&table);
        let given = given.map_err(|error| error.findings()[0].code());
        let Some(counted) = counted.filter(|_| given.as_ref().err() != Some(&"rows-missing"))
        else {
            prop_assert!(given.is_err(), "{}", case.text(true));
            return Ok(false);
        };
        prop_assert!(
            given.as_ref() == Ok(&counted),
            "{:?}\n{}\n{}\n{}",
            given.as_ref().err(),
            case.text(true),
            query.text(),
            differing_surveys(given.as_ref().ok(), &counted)
        );
        let wanted = wanted.map(|(_, totals)| totals).map_err(|error| error.findings()[0].code());
        let given = self.given(&table.clone().settle(noiseless(counted)))?;
        self.same(given, wanted)
    }
}

/// What surveys would say without noise.
fn noiseless(surveys: ExactSurveys) -> Vec<Survey> {
    let one = |SurveyTotals { histogram, spread }| Survey { histogram, spread };
    surveys.surveys.into_iter().map(one).collect()
}

/// Where surveys of made-up payments differ.
fn differing_surveys(given: Option<&ExactSurveys>, wanted: &ExactSurveys) -> String {
    let Some(given) = given else { return String::new() };
    let pairs = given.surveys.iter().zip(&wanted.surveys).enumerate();
    let different = pairs.filter(|(_, (given, wanted))| given != wanted);
    let text = |(at, (given, wanted)): (usize, (&SurveyTotals, &SurveyTotals))| {
        format!(
            "{at}: {:?} {:?}\n{:?}\n{:?}\n",
            given.spread, wanted.spread, given.histogram, wanted.histogram
        )
    };
    different.map(text).collect()
}

/// Where totals of made-up payments differ.
fn differences(given: Option<&ExactTotals>, wanted: Option<&ExactTotals>) -> String {
    let Some((given, wanted)) = given.zip(wanted) else { return String::new() };
    let mut text = String::new();
    for (given, wanted) in given.levels.iter().zip(&wanted.levels) {
        text += &format!("{} {} cells\n", given.keys.len(), wanted.keys.len());
        for (statistic, (given, wanted)) in given.sums.iter().zip(&wanted.sums).enumerate() {
            let differ = given.iter().zip(wanted).enumerate().filter(|(_, (g, w))| g != w);
            text += &differ.map(|d| format!("{statistic} {d:?}\n")).collect::<String>();
        }
    }
    text
}

/// Runs so many cases of each kind in an engine; of half as many more bounds are open.
fn agrees(engine: &str, dialect: Dialect, cases: u32) {
    let cases = std::env::var("SQL_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(cases);
    let mut elsewhere = Elsewhere::start(engine, &[]);
    let (mut all, mut had) = (0, 0);
    for kind in Kind::ALL {
        for (open, cases) in [(false, cases), (true, cases.div_ceil(2))] {
            let compared = agrees_on((kind, open), dialect, &mut elsewhere, cases);
            assert!(compared > 0 || cases < 10, "no {kind:?} had payments");
            (all, had) = (all + cases, had + compared);
        }
    }
    assert!(had * 2 > all, "{had} of {all} cases had payments");
}

/// Runs cases of a kind; gives how many there were that had payments.
fn agrees_on(
    (kind, open): (Kind, bool),
    dialect: Dialect,
    elsewhere: &mut Elsewhere,
    cases: u32,
) -> u32 {
    let elsewhere = std::cell::RefCell::new(elsewhere);
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 60, ..Config::default() };
    let compared = std::cell::Cell::new(0);
    let tested = TestRunner::new(config).run(&case_of(kind), |case| {
        let case = if open { case.open() } else { case };
        let folder = TempDir::new().expect("a folder");
        let elsewhere = &mut elsewhere.borrow_mut();
        let mut both = Compared { case: &case, dialect, elsewhere, folder };
        let any = if open { both.surveys()? } else { both.totals()? };
        compared.set(compared.get() + u32::from(any));
        Ok(())
    });
    tested.unwrap_or_else(|error| panic!("{error}"));
    compared.get()
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

/// A session without ANSI rules, or of another zone, says so.
#[test]
#[ignore = "needs Spark in SQL_PYTHON and Java; .ci/run has both"]
fn spark_with_other_settings_is_refused() {
    let case = case().new_tree(&mut TestRunner::deterministic()).expect("a case").current();
    for settings in [[("SPARK_ANSI", "false")], [("SPARK_ZONE", "Europe/Berlin")]] {
        let mut elsewhere = Elsewhere::start("spark", &settings);
        let folder = TempDir::new().expect("a folder");
        case.write(folder.path());
        let plan = case.plan(folder.path(), true);
        let query = Query::new(&plan, Dialect::Spark).expect("all of it has SQL");
        let out = folder.path().join("totals");
        let payments = folder.path().join("payments.parquet");
        assert_eq!(elsewhere.run(query.text(), &payments, &out), "ok");
        let given = totals(&Given { path: &out }, &plan);
        assert_eq!(given.err(), Some("totals-session"), "{settings:?}");
    }
}
