//! What rounds that look for keys have counted elsewhere, from rows that are made up by hand;
//! `elsewhere` makes them in real databases.

use std::os::unix::fs::PermissionsExt;

use polars::prelude::{DataFrame, ParquetWriter, df};
use tempfile::TempDir;

use crate::engine::given::Given;
use crate::engine::sql::{Dialect, Query, key_value};
use crate::engine::{Engine, LevelTotals};
use crate::error::Result;
use crate::fixture::Market;
use crate::plan::{CellKey, Plan};

/// A row of the result but for its query: level, keys, counts and totals.
#[derive(Clone)]
struct Row {
    level: &'static str,
    keys: [Option<&'static str>; 3],
    counts: [Option<i64>; 3],
    totals: [Option<i64>; 3],
}

/// A level of which all cells are hidden but those of R0 and a.
fn plan() -> Plan {
    let table = "table = \"lake.payments\"\ntypes = { user = \"text\", merchant = \"text\", time = \
                 \"integer\", amount = \"integer\", wallet = \"text\" }";
    let report = "levels = [[\"region\", \"kind\", \"month\"]]\nkeys = \"discovered\"\ncells_max = 2\n\
                  insights = [\"customers\"]\nbounds = { customers = 1 }";
    let changes = [("files = [\"payments.parquet\"]", table), ("ticket_groups = \"region\"\n", "")];
    Market::with_kinds().try_plan_changed(&changes, &[report.to_owned()]).expect("a good job")
}

fn cell(keys: [&'static str; 3], counts: [i64; 3], total: i64) -> Row {
    Row {
        level: "r0.region-kind-month",
        keys: keys.map(Some),
        counts: counts.map(Some),
        totals: [Some(total), None, None],
    }
}

/// A good result of 5 users with 12 payments, of a plan whose keys are not found yet: one of them
/// pays in a hidden cell alone, and one in more cells than count.
fn round(plan: &Plan) -> Vec<Row> {
    let round = plan.levels[0].round().expect("it has one");
    let (one, half) = (round.each(1), round.each(2));
    assert!(one > half && half > one / 2);
    vec![
        all(),
        cell(["R0", "a", "0"], [6, 3, 3], 2 * one + half),
        cell(["R0", "a", "1"], [3, 2, 1], 2 * half),
        cell(["R0", "a", "2"], [1, 0, 0], 0),
        cell(["R1", "b", "0"], [2, 0, 1], 0),
    ]
}

fn all() -> Row {
    Row {
        level: "rows",
        keys: [None; 3],
        counts: [13, 5, 12].map(Some),
        totals: [0, 1, 0].map(Some),
    }
}

/// The same of the next round, where the first cell is found.
fn second(plan: &Plan) -> Vec<Row> {
    let one = plan.levels[0].round().expect("it has one").each(1);
    vec![
        all(),
        cell(["R0", "a", "0"], [6, 0, 2], 0),
        cell(["R0", "a", "1"], [3, 2, 2], 2 * one),
        cell(["R0", "a", "2"], [1, 0, 0], 0),
        cell(["R1", "b", "0"], [2, 0, 1], 0),
    ]
}

/// The same of the totals, where the first cell was found alone.
fn totals(plan: &Plan) -> Vec<Row> {
    let grid = 1 << plan.levels[0].statistics[0].noise.grid_bits;
    vec![
        all(),
        cell(["R0", "a", "0"], [6, 3, 3], 3 * grid),
        cell(["R0", "a", "1"], [3, 0, 1], 0),
        cell(["R0", "a", "2"], [1, 0, 0], 0),
        cell(["R1", "b", "0"], [2, 0, 1], 0),
    ]
}

/// The plan after a round that finds these cells.
fn found(plan: Plan, keys: &[[&str; 3]]) -> Plan {
    let key = |texts: &[&str; 3]| -> CellKey {
        let keys = plan.levels[0].keys.iter().zip(texts);
        keys.map(|(key, text)| key_value(&plan, key, text).expect("a value")).collect()
    };
    let cells = keys.iter().map(key).collect();
    plan.discover(vec![cells])
}

/// The plan after all rounds, of which the first has found one cell.
fn sought() -> Plan {
    found(found(found(plan(), &[["R0", "a", "0"]]), &[]), &[])
}

fn table(query: &Query, rows: &[Row]) -> DataFrame {
    let key = |at: usize| rows.iter().map(|row| row.keys[at]).collect::<Vec<_>>();
    let count = |at: usize| rows.iter().map(|row| row.counts[at]).collect::<Vec<_>>();
    let total = |at: usize| rows.iter().map(|row| row.totals[at]).collect::<Vec<_>>();
    df!(
        "plan" => vec![query.plan.clone(); rows.len()],
        "level" => rows.iter().map(|row| row.level).collect::<Vec<_>>(),
        "key_1" => key(0),
        "key_2" => key(1),
        "key_3" => key(2),
        "n_rows" => count(0),
        "n_users" => count(1),
        "n_first" => count(2),
        "total_1" => total(0),
        "total_2" => total(1),
        "total_3" => total(2),
    )
    .expect("a table")
}

/// The cells of these rows, or what is said of them: of what the plan asks next.
fn cells(plan: &Plan, rows: &[Row]) -> std::result::Result<LevelTotals, String> {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("totals.parquet");
    let query = Query::next(plan, Dialect::DuckDb).expect("all of it has SQL");
    let file = std::fs::File::create(&path).expect("creates");
    ParquetWriter::new(file).finish(&mut table(&query, rows)).expect("writes");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("sets");
    let given = Given { path: &path };
    let levels: Result<Vec<LevelTotals>> = match plan.is_seeking() {
        true => given.asked(plan).map(|asked| {
            assert!(asked.surveys.is_empty());
            asked.round
        }),
        false => {
            given.totals(plan, &mut |_| panic!("all is known")).map(|(_, totals)| totals.levels)
        }
    };
    let only = |levels: Vec<LevelTotals>| <[LevelTotals; 1]>::try_from(levels).ok().expect("one");
    levels.map(|levels| only(levels).into_iter().next().expect("one")).map_err(|error| {
        let finding = &error.findings()[0];
        let text = format!("{}: {}", finding.code(), finding.message());
        text.replace(&path.display().to_string(), "FILE")
    })
}

#[test]
fn a_good_result_is_what_it_says() {
    let plan = plan();
    let rows = round(&plan);
    let LevelTotals { keys, sums } = cells(&plan, &rows).expect("good");
    // In the order of keys, and no cell that nobody keeps.
    let months: Vec<String> = keys.iter().map(|key| format!("{:?}", key[2])).collect();
    assert_eq!(months, ["Date(2025-01-01)", "Date(2025-02-01)"]);
    assert_eq!(sums, [[rows[1].totals[0].expect("it has one"), rows[2].totals[0].expect("too")]]);
    // What is found is in no further round.
    let next = found(plan, &[["R0", "a", "0"]]);
    let rows = second(&next);
    let LevelTotals { keys, sums } = cells(&next, &rows).expect("good");
    assert_eq!((keys.len(), sums), (1, vec![vec![rows[2].totals[0].expect("it has one")]]));
    // And alone in the totals.
    let sought = sought();
    let LevelTotals { keys, sums } = cells(&sought, &totals(&sought)).expect("good");
    assert_eq!(keys, sought.levels[0].always);
    assert_eq!(sums, [[3 << sought.levels[0].statistics[0].noise.grid_bits]]);
}

#[test]
fn a_cell_that_was_found_is_shown_without_payments() {
    let sought = sought();
    let rows = [all(), cell(["R0", "a", "1"], [12, 0, 5], 0)];
    let LevelTotals { keys, sums } = cells(&sought, &rows).expect("good");
    assert_eq!((keys, sums), (sought.levels[0].always.clone(), vec![vec![0]]));
}

#[test]
fn results_of_rounds_that_cannot_be_are_refused() {
    let plan = plan();
    let good = round(&plan);
    let with = |at: usize, change: &dyn Fn(&mut Row)| {
        let mut rows = good.clone();
        change(&mut rows[at]);
        rows
    };
    let count = |at: usize, place: usize, more: i64| {
        with(at, &|row| row.counts[place] = row.counts[place].map(|count| count + more))
    };
    let total = |at: usize, total: i64| with(at, &|row| row.totals[0] = Some(total));
    let next = plan.levels[0].round().expect("it has one");
    let (one, half) = (next.each(1), next.each(2));
    let tables = [
        ("no count", good[1..].to_vec()),
        ("two counts", [&good[..1], &good].concat()),
        ("a cell missing", good[..4].to_vec()),
        ("a cell twice", [&good[..], &good[1..2]].concat()),
        ("a cell that nobody keeps twice", [&good[..], &good[3..4]].concat()),
        ("an unknown level", with(1, &|row| row.level = "r0.all")),
        ("an unknown region", with(1, &|row| row.keys[0] = Some("R9"))),
        ("an unknown month", with(1, &|row| row.keys[2] = Some("4"))),
        ("no month", with(1, &|row| row.keys[2] = None)),
        ("a count missing", with(1, &|row| row.counts[1] = None)),
        ("a sum missing", with(1, &|row| row.totals[0] = None)),
        ("a number too many", with(1, &|row| row.totals[1] = Some(0))),
        ("rows lost", count(1, 0, -1)),
        ("rows of a hidden cell lost", count(4, 0, -1)),
        ("users lost", count(1, 2, -1)),
        ("users counted twice", count(2, 2, 1)),
        ("users first where others are", with(2, &|row| row.counts = [3, 2, 3].map(Some))),
        ("users first where nobody keeps the cell", count(3, 2, 1)),
        ("more users than rows", with(2, &|row| row.counts = [1, 2, 1].map(Some))),
        ("users below zero", with(3, &|row| row.counts = [1, -1, 0].map(Some))),
        (
            "more users of a cell than there are",
            with(1, &|row| (row.counts[1], row.totals[0]) = (Some(6), Some(6 * one))),
        ),
        ("users of a hidden cell", count(4, 1, 1)),
        ("a sum of a hidden cell", total(4, half)),
        ("more of a hidden cell than rows", count(4, 2, 2)),
        ("too small a sum", total(1, 3 * half - 1)),
        ("too large a sum", total(1, 3 * one + 1)),
        ("a sum below zero", total(3, -1)),
        ("another session", with(0, &|row| row.totals[1] = Some(0))),
        ("other types", with(0, &|row| row.totals[2] = Some(1))),
    ];
    let mut text = String::new();
    let mut refuse = |plan: &Plan, what: &str, rows: &[Row]| {
        let said = cells(plan, rows).err().expect(what);
        text += &format!("{what}\n    {said}\n");
    };
    for (what, rows) in tables {
        refuse(&plan, what, &rows);
    }
    // What was found is counted again, or what was not.
    let next = found(plan.clone(), &[["R0", "a", "0"]]);
    refuse(&next, "users of a cell that is found", &good);
    let sought = sought();
    let grid = 1 << sought.levels[0].statistics[0].noise.grid_bits;
    let with = |at: usize, counts: [i64; 3], total: i64| {
        let mut rows = totals(&sought);
        (rows[at].counts, rows[at].totals[0]) = (counts.map(Some), Some(total));
        rows
    };
    refuse(&sought, "users of a cell that is not found", &with(2, [3, 2, 1], 2 * grid));
    refuse(&sought, "a total of a cell that is not found", &with(2, [3, 0, 1], 1));
    refuse(&sought, "nobody in a cell that is found", &with(1, [6, 0, 3], 0));
    insta::assert_snapshot!(text);
}

/// The result of one query is not that of another, even if nothing was found in between.
#[test]
fn rounds_are_told_apart() {
    let mut plan = plan();
    let mut queries = Vec::new();
    while plan.is_seeking() {
        queries.push(Query::next(&plan, Dialect::DuckDb).expect("has SQL").plan);
        plan = found(plan, &[]);
    }
    queries.push(Query::next(&plan, Dialect::DuckDb).expect("has SQL").plan);
    queries.sort();
    queries.dedup();
    assert_eq!(queries.len(), 4);
}
