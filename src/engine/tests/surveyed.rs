//! What surveys have counted elsewhere, from rows that are made up by hand; `elsewhere` makes them
//! in real databases.

use std::os::unix::fs::PermissionsExt;

use polars::prelude::{DataFrame, ParquetWriter, df};
use tempfile::TempDir;

use crate::engine::ExactSurveys;
use crate::engine::given::Given;
use crate::engine::sql::{Dialect, Query};
use crate::fixture::Market;
use crate::plan::{Plan, SurveyPlan, TicketPlan};

const LEVEL: &str = "r0.region";

/// A row of the result but for its query: level, keys, counts and totals.
#[derive(Clone)]
struct Row {
    level: &'static str,
    keys: [Option<String>; 2],
    counts: [Option<i64>; 3],
    totals: [Option<i64>; 3],
}

fn plan() -> Plan {
    let table = "table = \"lake.payments\"\ntypes = { user = \"text\", merchant = \"text\", time = \
                 \"integer\", amount = \"integer\", wallet = \"text\" }";
    let report = "levels = [[\"region\"]]\nkeys = \"public\"\n\
                  insights = [\"customers\", \"payments\", \"ticket_quantiles\"]";
    let changes = [("files = [\"payments.parquet\"]", table)];
    Market::new(&[]).try_plan_changed(&changes, &[report.to_owned()]).expect("a good job")
}

fn bin(statistic: &str, bin: &str, counts: [i64; 3], total: i64) -> Row {
    Row {
        level: LEVEL,
        keys: [Some(statistic.to_owned()), Some(bin.to_owned())],
        counts: counts.map(Some),
        totals: [Some(total), None, None],
    }
}

/// In grid units of the survey of a statistic.
fn grid(plan: &Plan, statistic: &str, of: impl Fn(&SurveyPlan) -> u32) -> i64 {
    let is_it =
        |survey: &&SurveyPlan| plan.levels[0].statistics[survey.statistic].kind.name() == statistic;
    1 << of(plan.surveys.iter().find(is_it).expect("asked"))
}

/// A good result of 5 users with 12 payments.
fn result(plan: &Plan) -> Vec<Row> {
    let spread = grid(plan, "payments", |s| s.spread.expect("asked").grid_bits);
    let ticket = grid(plan, "ticket_logs", |s| s.histogram.grid_bits);
    let all = Row {
        level: "rows",
        keys: [None, None],
        counts: [13, 5, 12].map(Some),
        totals: [0, 1, 0].map(Some),
    };
    // The second group of tickets begins after the first one's bins.
    let second = (TicketPlan::BINS + 36).to_string();
    vec![
        all,
        bin("customers", "0", [5, 3, 3], 0),
        bin("customers", "1", [7, 2, 2], 0),
        bin("payments", "none", [1, 1, 1], 0),
        bin("payments", "5", [11, 4, 4], 5 * spread + 1),
        bin("ticket_logs", "none", [3, 2, 2], 0),
        bin("ticket_logs", "36", [5, 3, 3], 2 * ticket),
        bin("ticket_logs", &second, [4, 2, 0], ticket + 1),
    ]
}

fn table(query: &Query, rows: &[Row]) -> DataFrame {
    let key = |at: usize| rows.iter().map(|row| row.keys[at].clone()).collect::<Vec<_>>();
    let count = |at: usize| rows.iter().map(|row| row.counts[at]).collect::<Vec<_>>();
    let total = |at: usize| rows.iter().map(|row| row.totals[at]).collect::<Vec<_>>();
    df!(
        "plan" => vec![query.plan.clone(); rows.len()],
        "level" => rows.iter().map(|row| row.level).collect::<Vec<_>>(),
        "key_1" => key(0),
        "key_2" => key(1),
        "n_rows" => count(0),
        "n_users" => count(1),
        "n_first" => count(2),
        "total_1" => total(0),
        "total_2" => total(1),
        "total_3" => total(2),
    )
    .expect("a table")
}

/// The surveys of these rows, or what is said of them.
fn surveys(plan: &Plan, rows: &[Row]) -> Result<ExactSurveys, String> {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("surveys.parquet");
    let query = Query::next(plan, Dialect::DuckDb).expect("all of it has SQL");
    let file = std::fs::File::create(&path).expect("creates");
    ParquetWriter::new(file).finish(&mut table(&query, rows)).expect("writes");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("sets");
    Given { path: &path }.asked(plan).map_err(|error| {
        let finding = &error.findings()[0];
        let text = format!("{}: {}", finding.code(), finding.message());
        text.replace(&path.display().to_string(), "FILE")
    })
}

#[test]
fn a_good_result_is_what_it_says() {
    let plan = plan();
    let found = surveys(&plan, &result(&plan)).expect("good");
    let by_name = |name: &str| {
        let named =
            |survey: &&SurveyPlan| plan.levels[0].statistics[survey.statistic].kind.name() == name;
        let at = plan.surveys.iter().position(|survey| named(&survey)).expect("asked");
        let bits = plan.surveys[at].histogram.grid_bits;
        let totals = &found.surveys[at];
        let shown = totals.histogram.iter().enumerate().filter(|(_, total)| **total != 0);
        let shown: Vec<(usize, f64)> =
            shown.map(|(bin, &total)| (bin, total as f64 / (1u64 << bits) as f64)).collect();
        (shown, totals.spread, totals.histogram.len())
    };
    let spread = grid(&plan, "payments", |s| s.spread.expect("asked").grid_bits);
    assert_eq!(by_name("customers"), (vec![(0, 3.0), (1, 2.0)], None, 64));
    assert_eq!(by_name("payments"), (vec![(5, 4.0)], Some(5 * spread + 1), 64));
    let (tickets, none, bins) = by_name("ticket_logs");
    assert_eq!((tickets[0], tickets[1].0), ((36, 2.0), 100));
    assert_eq!((none, bins), (None, 3 * TicketPlan::BINS));
}

#[test]
fn results_of_surveys_that_cannot_be_are_refused() {
    let plan = plan();
    let good = result(&plan);
    let with = |at: usize, change: &dyn Fn(&mut Row)| {
        let mut rows = good.clone();
        change(&mut rows[at]);
        rows
    };
    let key = |at: usize, place: usize, text: Option<&str>| {
        with(at, &|row| row.keys[place] = text.map(str::to_owned))
    };
    let count = |at: usize, place: usize, more: i64| {
        with(at, &|row| row.counts[place] = row.counts[place].map(|count| count + more))
    };
    let total = |at: usize, total: i64| with(at, &|row| row.totals[0] = Some(total));
    let spread = grid(&plan, "payments", |s| s.spread.expect("asked").grid_bits);
    let ticket = grid(&plan, "ticket_logs", |s| s.histogram.grid_bits);
    let tables = [
        ("no count", good[1..].to_vec()),
        ("two counts", [&good[..1], &good].concat()),
        ("a survey missing", good[..5].to_vec()),
        ("a bin twice", [&good[..], &good[1..2]].concat()),
        ("no norm twice", [&good[..], &good[3..4]].concat()),
        ("an unknown level", with(1, &|row| row.level = "r0.all")),
        ("an unknown statistic", key(1, 0, Some("sales"))),
        ("no statistic", key(1, 0, None)),
        ("an unknown bin", key(1, 1, Some("64"))),
        ("an odd bin", key(1, 1, Some("00"))),
        ("an unknown bin of tickets", key(6, 1, Some("192"))),
        ("no bin", key(1, 1, None)),
        ("a count missing", with(1, &|row| row.counts[1] = None)),
        ("a sum missing", with(1, &|row| row.totals[0] = None)),
        ("a number too many", with(1, &|row| row.totals[1] = Some(0))),
        ("rows lost", count(2, 0, -1)),
        ("rows of tickets lost", count(5, 0, -1)),
        ("users lost", with(1, &|row| row.counts = [5, 2, 2].map(Some))),
        ("users of tickets lost", count(6, 2, -1)),
        ("users counted elsewhere", count(1, 2, -1)),
        ("more users than rows", with(4, &|row| row.counts = [3, 4, 4].map(Some))),
        ("nobody", with(4, &|row| row.counts = [11, 0, 0].map(Some))),
        ("a spread that nobody asked for", total(1, 1)),
        ("a spread of no norm", total(3, 1)),
        ("too small a spread", total(4, 4 * spread - 1)),
        ("too large a spread", total(4, 32 * spread + 1)),
        ("tickets of payments that are none", total(5, 1)),
        ("too many tickets", total(6, 3 * ticket + 1)),
        ("tickets below zero", total(6, -1)),
        ("another session", with(0, &|row| row.totals[1] = Some(0))),
        ("other types", with(0, &|row| row.totals[2] = Some(1))),
    ];
    let mut text = String::new();
    for (what, rows) in tables {
        let said = surveys(&plan, &rows).expect_err(what);
        text += &format!("{what}\n    {said}\n");
    }
    insta::assert_snapshot!(text);
}

/// The result of one query is not that of the other.
#[test]
fn totals_are_no_surveys() {
    let plan = plan();
    let settled = Plan { surveys: Vec::new(), ..plan.clone() };
    let query = |plan: &Plan| Query::next(plan, Dialect::DuckDb).expect("has SQL").plan;
    let totals = Query::new(&settled, Dialect::DuckDb).expect("has SQL").plan;
    assert_eq!(query(&settled), totals);
    assert_ne!(query(&plan), totals);
}
