//! Payments in a table: the query is printed, its result comes back. The results here are made up
//! by hand; `engine::tests::elsewhere` makes them in real databases.

use std::os::unix::fs::PermissionsExt;

use insta::assert_snapshot;
use polars::prelude::{Column, DataFrame, df};
use serde_json::Value;

use crate::common::{JOB, Workshop, shown};

/// [`JOB`] on a table, with a level of public keys and one of private ones.
fn job() -> String {
    let (head, _) = JOB.split_once("[[report]]").unwrap();
    let head = head.replace(
        "files     = [\"payments.parquet\"]",
        "table     = \"lake.payments\"\ntypes     = { user = \"text\", merchant = \"text\", time = \"integer\", \
         amount = \"integer\", wallet = \"text\" }",
    );
    head + "[[report]]\nname = \"market\"\nlevels = [[\"wallet\", \"week\"]]\nkeys = \"public\"\n\
            insights = [\"customers\"]\nbounds = { customers = 1 }\n\n[[report]]\nname = \"found\"\n\
            levels = [[\"merchant\"]]\nkeys = \"private\"\ncells_max = 2\ninsights = [\"customers\", \"sales\"]\n\
            bounds = { customers = 1, sales = 100 }\n"
}

fn workshop() -> Workshop {
    let workshop = Workshop::new();
    workshop.text("job.toml", &job());
    workshop
}

fn query(workshop: &Workshop) -> String {
    let output = workshop.discretail(&["plan", "--sql", "duckdb", "job.toml"]);
    assert!(output.status.success(), "{}", shown(workshop, &output));
    String::from_utf8(output.stdout).unwrap()
}

/// A good result of 5 users' 10 payments.
fn result(workshop: &Workshop) -> DataFrame {
    let query = query(workshop);
    let plan = query.split_once("'duckdb:").unwrap().1;
    let plan = format!("duckdb:{}", plan.split_once('\'').unwrap().0);
    let row = |n: i64| Some(n);
    df!(
        "plan" => vec![plan; 6],
        "level" => ["rows", "market.wallet-week", "market.wallet-week", "found.merchant", "found.merchant",
            "found.merchant"],
        "key_1" => [None, Some("alipay"), Some("card"), Some("M1"), Some("M2"), Some("NULL")],
        "key_2" => [None, Some("0"), Some("4"), None, None, None],
        "n_rows" => [12i64, 6, 4, 7, 2, 1],
        "n_users" => [5i64, 4, 2, 4, 1, 0],
        "n_first" => [10i64, 3, 2, 4, 1, 0],
        "total_1" => [0i64, 4, 2, 4, 1, 0],
        "total_2" => [row(1), None, None, row(100), row(-5), row(0)],
        "total_3" => [row(0), None, None, None, None, None],
    )
    .unwrap()
}

/// Writes a result so that nobody else can read it.
fn put(workshop: &Workshop, name: &str, table: DataFrame) {
    workshop.parquet(name, table);
    mode(workshop, name, 0o600);
}

fn mode(workshop: &Workshop, name: &str, mode: u32) {
    let mode = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(workshop.path(name), mode).unwrap();
}

/// A table with one value changed.
fn with(mut table: DataFrame, column: &str, row: usize, value: Option<&str>) -> DataFrame {
    let old = table.column(column).unwrap().clone();
    let texts = old.cast(&polars::prelude::DataType::String).unwrap();
    let mut texts: Vec<Option<String>> =
        texts.str().unwrap().iter().map(|text| text.map(str::to_owned)).collect();
    texts[row] = value.map(str::to_owned);
    let new = Column::new(column.into(), texts).cast(old.dtype()).unwrap();
    table.with_column(new).unwrap();
    table
}

fn run(workshop: &Workshop, totals: &str) -> (Option<i32>, Vec<String>) {
    let output = workshop.discretail(&["run", "--totals", totals, "--json", "job.toml"]);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = said["findings"].as_array().cloned().unwrap_or_default();
    let texts = findings.iter().map(|finding| {
        format!("{}: {}", finding["code"].as_str().unwrap(), finding["message"].as_str().unwrap())
    });
    let folder = workshop.folder.path().display().to_string();
    let texts = texts.map(|text| text.replace(&folder, "FOLDER"));
    (output.status.code(), texts.collect())
}

#[test]
fn a_result_that_comes_back_is_released() {
    let workshop = workshop();
    put(&workshop, "totals.parquet", result(&workshop));
    assert_eq!(run(&workshop, "totals.parquet"), (Some(0), vec![]));
    let manifest = std::fs::read(workshop.path("releases/test/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(
        manifest["totals_from"],
        serde_json::json!({ "sql": "duckdb", "table": "lake.payments" })
    );
    let verified = workshop.discretail(&["verify", "releases/test", "--ledger", "ledger.sqlite"]);
    assert!(verified.status.success(), "{}", shown(&workshop, &verified));
    // Again, without a look at the totals; and the table's query is not in the release.
    std::fs::remove_file(workshop.path("totals.parquet")).unwrap();
    assert_eq!(run(&workshop, "totals.parquet").0, Some(0));
}

#[test]
fn a_folder_of_files_is_one_result() {
    let workshop = workshop();
    let all = result(&workshop);
    std::fs::create_dir(workshop.path("totals")).unwrap();
    workshop.parquet("totals/part-0.parquet", all.slice(0, 2));
    workshop.parquet("totals/part-1.parquet", all.slice(2, 4));
    workshop.text("totals/_SUCCESS", "");
    mode(&workshop, "totals", 0o750);
    assert!(run(&workshop, "totals").1[0].starts_with("totals-not-secret"));
    mode(&workshop, "totals", 0o700);
    assert_eq!(run(&workshop, "totals"), (Some(0), vec![]));
}

#[test]
fn results_that_cannot_be_are_refused_and_cost_nothing() {
    let workshop = workshop();
    let good = result(&workshop);
    let one =
        |column: &str, row: usize, value: Option<&str>| with(good.clone(), column, row, value);
    let tables = [
        ("no rows", good.slice(0, 0)),
        ("no count", good.slice(1, 5)),
        ("two counts", good.slice(0, 1).vstack(&good).unwrap()),
        ("a cell twice", good.vstack(&good.slice(1, 1)).unwrap()),
        ("a dropped cell twice", good.vstack(&good.slice(5, 1)).unwrap()),
        ("a level that is cut off", good.slice(0, 4)),
        ("a level missing", good.slice(0, 3)),
        ("another plan", with(good.slice(0, 1), "plan", 0, Some("duckdb:00"))),
        ("another dialect", with(good.slice(0, 1), "plan", 0, Some("oracle:00"))),
        ("two plans", one("plan", 3, Some("duckdb:00"))),
        ("a column missing", good.drop("total_3").unwrap()),
        ("a column too many", good.hstack(&[Column::new("more".into(), [0i64; 6])]).unwrap()),
        ("a column of another type", one("n_rows", 0, None).drop("n_rows").unwrap()),
        ("a count missing", one("n_rows", 1, None)),
        ("a total missing", one("total_1", 1, None)),
        ("a total too many", one("total_2", 1, Some("1"))),
        ("an unknown level", one("level", 1, Some("market.all"))),
        ("an unknown key", one("key_1", 1, Some("cash"))),
        ("an unknown week", one("key_2", 2, Some("5"))),
        ("an odd week", one("key_2", 2, Some("+4"))),
        ("a key missing", one("key_2", 1, None)),
        ("a key too many", one("key_2", 3, Some("0"))),
        ("an unknown merchant", one("key_1", 3, Some("M9"))),
        ("rows lost", one("n_rows", 1, Some("5"))),
        ("rows counted twice", one("n_rows", 4, Some("4"))),
        ("users lost", one("n_first", 1, Some("2"))),
        ("users counted twice", one("n_first", 4, Some("2"))),
        ("more users than there are", one("n_users", 3, Some("6"))),
        ("a public cell of nobody", one("n_users", 2, Some("0"))),
        ("a total below zero", one("total_1", 1, Some("-1"))),
        ("a total of nobody", one("total_1", 5, Some("1"))),
        ("a total too large", one("total_2", 4, Some("999999999999999"))),
        ("bad rows", one("total_1", 0, Some("2"))),
        ("more rows than there are", one("n_rows", 0, Some("9"))),
        ("another session", one("total_2", 0, Some("0"))),
        ("other types", one("total_3", 0, Some("5"))),
    ];
    let mut text = String::new();
    for (what, table) in tables {
        put(&workshop, "totals.parquet", table);
        let (code, findings) = run(&workshop, "totals.parquet");
        assert_eq!(code, Some(2), "{what}: {findings:?}");
        text += &format!("{what}\n    {}\n", findings.join("\n    "));
    }
    assert_snapshot!(text);
    let ledger = workshop.discretail(&["ledger", "show", "ledger.sqlite", "--json"]);
    let ledger: Value = serde_json::from_slice(&ledger.stdout).unwrap();
    assert_eq!(ledger["jobs"][0]["state"], "voided", "{ledger}");
    put(&workshop, "totals.parquet", good);
    assert_eq!(run(&workshop, "totals.parquet"), (Some(0), vec![]));
}

#[test]
fn a_result_without_rows_is_no_release() {
    let workshop = workshop();
    let none = |rows: &str| {
        let counts = with(result(&workshop).slice(0, 1), "n_rows", 0, Some(rows));
        with(with(counts, "n_users", 0, Some("0")), "n_first", 0, Some("0"))
    };
    for (rows, code) in [("0", "rows-missing"), ("7", "rows-all-left-out")] {
        put(&workshop, "totals.parquet", none(rows));
        let (exit, findings) = run(&workshop, "totals.parquet");
        assert_eq!(exit, Some(2));
        assert!(findings[0].starts_with(code), "{findings:?}");
    }
}

#[test]
fn a_result_that_others_may_read_is_refused() {
    let workshop = workshop();
    put(&workshop, "totals.parquet", result(&workshop));
    for open in [0o640, 0o604, 0o602, 0o610] {
        mode(&workshop, "totals.parquet", open);
        assert!(run(&workshop, "totals.parquet").1[0].starts_with("totals-not-secret"), "{open:o}");
    }
    workshop.text("broken.parquet", "PAR1 broken PAR1");
    mode(&workshop, "broken.parquet", 0o600);
    std::fs::create_dir(workshop.path("empty")).unwrap();
    mode(&workshop, "empty", 0o700);
    for path in ["broken.parquet", "nosuch.parquet", "empty"] {
        let (code, findings) = run(&workshop, path);
        assert_eq!(code, Some(2));
        assert!(findings[0].starts_with("totals-unreadable"), "{path}: {findings:?}");
    }
}

#[test]
fn files_and_tables_are_not_mixed_up() {
    let workshop = workshop();
    let table = workshop.discretail(&["run", "job.toml"]);
    let mut text = shown(&workshop, &table);
    let types = job().replace("types     =", "format = \"csv\"\nfiles = [\"a\"]\ntypes =");
    workshop.text("job.toml", &types.replace("\"lake.payments\"", "\"lake.\""));
    text += &shown(&workshop, &workshop.discretail(&["check", "job.toml"]));
    workshop.text("job.toml", &job().replace("amount = \"integer\"", "amount = \"money\""));
    text += &shown(&workshop, &workshop.discretail(&["check", "job.toml"]));
    workshop.text("job.toml", &JOB.replace("timezone", "types = { a = \"text\" }\ntimezone"));
    text += &shown(&workshop, &workshop.discretail(&["check", "job.toml"]));
    workshop.text("job.toml", JOB);
    text += &shown(&workshop, &workshop.discretail(&["plan", "--sql", "spark", "job.toml"]));
    text += &shown(&workshop, &workshop.discretail(&["run", "--totals", "nosuch", "job.toml"]));
    text += &shown(&workshop, &workshop.discretail(&["plan", "--sql", "oracle", "job.toml"]));
    assert_snapshot!(text);
}

#[test]
fn what_has_no_sql_is_shown_under_its_line() {
    let workshop = workshop();
    let job = job()
        .replace("timezone ", "where = \"wallet LIKE 'a%'\"\ntimezone ")
        .replace("amount = \"amount\"", "amount = \"CAST(price AS BIGINT)\"")
        .replace("amount = \"integer\"", "price = \"decimal\"")
        .replace("bounds = { customers = 1 }", "");
    workshop.text("job.toml", &job);
    let output = workshop.discretail(&["plan", "--sql", "spark", "job.toml"]);
    assert_snapshot!(shown(&workshop, &output));
}

/// Not only where the query is asked for, but before anything is charged.
#[test]
fn every_verb_says_what_has_no_sql() {
    let workshop = workshop();
    let job = job()
        .replace("timezone ", "where = \"wallet LIKE 'a%'\"\ntimezone ")
        .replace("insights = [\"customers\"]", "insights = [\"customers\", \"ticket_quantiles\"]")
        .replace("bounds = { customers = 1 }", "");
    workshop.text("job.toml", &job);
    workshop.text("totals.parquet", "");
    let args: [&[&str]; 4] = [
        &["check", "--json", "job.toml"],
        &["plan", "--json", "job.toml"],
        &["run", "--json", "job.toml"],
        &["run", "--json", "--totals", "totals.parquet", "job.toml"],
    ];
    for args in args {
        let output = workshop.discretail(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let codes = said["findings"].as_array().unwrap().iter().map(|finding| &finding["code"]);
        let codes: Vec<&Value> = codes.collect();
        let wanted = ["bound-open", "bound-open", "bound-open", "sql-unsupported"];
        assert_eq!(codes, wanted, "{args:?}: {said}");
    }
    assert!(!workshop.path("ledger.sqlite").exists());
}

/// The expressions are this program's there, so what has no SQL elsewhere is no matter.
#[test]
fn a_job_on_a_table_can_be_tried_on_files() {
    let workshop = workshop();
    let job = job().replace("bounds = { customers = 1 }", "");
    workshop.text("job.toml", &job);
    let output =
        workshop.discretail(&["plan", "job.toml", "--runs", "1", "--try", "payments.parquet"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
}

#[test]
fn more_merchants_than_a_query_can_list_are_refused() {
    let workshop = workshop();
    let ids: Vec<String> = (0..50_001).map(|merchant| format!("M{merchant}")).collect();
    workshop.parquet("merchants.parquet", df!("merchant_id" => ids).unwrap());
    let output = workshop.discretail(&["plan", "--sql", "spark", "job.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(shown(&workshop, &output).contains("error[sql-merchants-too-many]"));
}

/// An audit makes payments up, so it needs no table.
#[test]
fn a_job_on_a_table_can_be_audited() {
    let workshop = workshop();
    let output = workshop.discretail(&["audit", "--quick", "job.toml"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
}
