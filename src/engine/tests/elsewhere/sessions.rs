//! What sessions of databases may be set to, by the environment or the job, and what their columns
//! may hold: the totals are the same, or refused.

use super::databases::{
    ENDLESS, WHOLE, ask, change, duckdb, found, one, one_with, postgresql_agrees, server,
    with_remote,
};
use super::*;
use crate::engine::given::Answer;
use crate::error::ErrorClass;
use crate::findings::TotalsOf;

/// The environment, the address or the server's own settings may ask for another encoding, by which
/// texts of the query would be other ones, and keys no UTF-8.
#[test]
#[ignore = "needs a PostgreSQL server, its driver, and psycopg in SQL_PYTHON; .ci/run has them"]
fn a_postgresql_that_is_to_speak_another_encoding_and_reference_agree() {
    postgresql_agrees(2, &[], "?client_encoding=LATIN1");
}

#[test]
#[ignore = "needs psycopg in SQL_PYTHON and a PostgreSQL server; .ci/run has both"]
fn a_query_in_another_encoding_of_a_postgresql_is_refused() {
    let mut elsewhere = Elsewhere::start("postgresql", &[("POSTGRESQL_ENCODING", "LATIN1")]);
    let (folder, plan) = one();
    let query = Query::new(&plan, Dialect::PostgreSql).expect("all of it has SQL");
    let out = folder.path().join("totals.parquet");
    let payments = folder.path().join("payments.parquet");
    assert_eq!(elsewhere.run(query.text(), &payments, &out), "ok");
    assert_eq!(totals(&Given { path: &out }, &plan).err(), Some("totals-session"));
}

/// Drivers give bytes as they are, and a database may hold others than it should.
#[test]
#[ignore = "needs a PostgreSQL server, its driver, and psycopg in SQL_PYTHON; .ci/run has them"]
fn texts_of_a_postgresql_that_are_not_utf_8_are_refused() {
    let (_folder, plan) = one();
    let elsewhere = Elsewhere::start("postgresql", &[]);
    let there = server(Dialect::PostgreSql, &[("uri", &elsewhere.address)]);
    change(&there, "CREATE CAST (bytea AS text) WITHOUT FUNCTION").expect("makes a cast");
    let query = Query::new(&plan, Dialect::PostgreSql).expect("all of it has SQL");
    let answer = Answer { query: &query, of: TotalsOf::Table("payments") };
    let asked = |bytes: &str| {
        let sql = format!("SELECT CAST(CAST('{bytes}' AS bytea) AS text) AS plan");
        let rows = with_remote(&plan, &there, &NEVER, |remote| remote.rows(&sql));
        let rows = rows.expect("a driver").expect("rows");
        answer.totals_of(&plan, &rows).map(|_| ()).expect_err("it is refused").to_string()
    };
    assert!(asked("\\xe9").contains("a text is not UTF-8"), "{}", asked("\\xe9"));
    assert!(!asked("\\xc3a9").contains("a text is not UTF-8"), "{}", asked("\\xc3a9"));
}

#[test]
#[ignore = "needs DuckDB's library; .ci/run has it"]
fn a_duckdb_of_another_order_and_reference_agree() {
    agree(6, &|folder, plan, settle| {
        let path = duckdb(folder);
        let orders = [("default_order", "desc"), ("default_null_order", "nulls_first")];
        let options: Vec<_> = orders.into_iter().chain([("path", &*path)]).collect();
        Ok(ask(plan, &server(Dialect::DuckDb, &options), settle))
    });
}

/// Of times of nanoseconds parts of a second are cut off too, and never rounded up to the next one,
/// which may be of another day.
#[test]
#[ignore = "needs DuckDB in SQL_PYTHON; .ci/run has it"]
fn duckdb_cuts_nanoseconds_off() {
    // Times before those that nanoseconds reach are outside every period.
    const LATER: &str = "SELECT * REPLACE (make_timestamp_ns(1000 * epoch_us(GREATEST(time, \
                         TIMESTAMP '1700-01-01')) + 999999999) AS time) FROM payments";
    let elsewhere = std::cell::RefCell::new(Elsewhere::start("duckdb", &[]));
    let config = Config { cases: 16, failure_persistence: None, ..Config::default() };
    let timed = |case: &Case| case.text(true).contains("time = \"timestamp\"");
    let cases = case().prop_filter("other times", timed);
    let tested = TestRunner::new(config).run(&cases, |case| {
        let any = compare(&case, &|folder, plan, settle| {
            let (payments, later) = (folder.join("payments.parquet"), folder.join("later.parquet"));
            let said = elsewhere.borrow_mut().run(LATER, &payments, &later);
            prop_assert!(said == "ok", "{said}");
            std::fs::rename(later, payments).expect("takes its place");
            by_hand((folder, plan), settle, Dialect::DuckDb, &mut elsewhere.borrow_mut())
        });
        any.map(|_| ())
    });
    tested.unwrap_or_else(|error| panic!("{error}"));
}

/// Totals of what a query makes of the payments of a DuckDB.
fn totals_of(folder: &Path, plan: &Plan, sql: &str) -> Result<ExactTotals> {
    let path = folder.join("payments.duckdb").display().to_string();
    let options = [("path", &*path), ("access_mode", "READ_WRITE")];
    let payments = folder.join("payments.parquet");
    let create = format!(
        "CREATE OR REPLACE TABLE payments AS {}",
        sql.replace("FROM payments", &format!("FROM read_parquet('{}')", payments.display()))
    );
    change(&server(Dialect::DuckDb, &options), &create).expect("makes a table");
    ask(plan, &server(Dialect::DuckDb, &[("path", &path)]), &mut no_surveys)
}

/// Seconds without a sign reach beyond those with one.
#[test]
#[ignore = "needs DuckDB's library; .ci/run has it"]
fn times_that_are_too_large_are_bad_rows_of_a_duckdb() {
    let (folder, case) = one_with(WHOLE);
    let folder = folder.path();
    let plan = case.plan(folder, true);
    let unsigned = |time: &str| format!("SELECT * REPLACE ({time} AS time) FROM payments");
    let whole = unsigned("CAST(GREATEST(time, 0) AS UBIGINT)");
    let before = totals_of(folder, &plan, &whole).expect("totals");
    let with = format!("{whole} UNION ALL {}", unsigned("CAST('9223372036854775808' AS UBIGINT)"));
    assert!(totals_of(folder, &plan, &with).expect("totals") == before);
    let strict = case.plan_with(folder, true, ("max_bad_share = 1", "max_bad_share = 0.4"));
    let refused = found(totals_of(folder, &strict, &with));
    assert_eq!(refused, (ErrorClass::Invalid, "totals-rows-bad"));
}

/// A type of many places has no room for the largest amount that a payment may have.
#[test]
#[ignore = "needs DuckDB's library; .ci/run has it"]
fn amounts_of_many_places_are_added_up_in_a_duckdb() {
    let (folder, case) = one_with("amount = \"decimal\"");
    let folder = folder.path();
    let plan = case.plan(folder, true);
    let amounts = |kind: &str| {
        let fits = "CASE WHEN ABS(amount) < 100000000 THEN amount END";
        let sql = format!("SELECT * REPLACE (CAST({fits} AS {kind}) AS amount) FROM payments");
        // The next larger amount of two places is beyond the type.
        let last = format!(
            "SELECT * REPLACE (CAST('99999999.999' AS {kind}) AS amount) FROM payments LIMIT 5"
        );
        totals_of(folder, &plan, &format!("{sql} UNION ALL ({last})"))
    };
    let few = amounts("DECIMAL(30,3)").expect("totals");
    assert!(amounts("DECIMAL(38,30)").expect("totals") == few);
}

/// Before the query, which would fail: a number has no collation, and not all of white space is in
/// every encoding.
#[test]
#[ignore = "needs DuckDB's library; .ci/run has it"]
fn numbers_that_are_said_to_be_texts_are_told_by_a_look_at_a_duckdb() {
    let (folder, case) = one_with(WHOLE);
    let plan = case.plan(folder.path(), true);
    let numbers = "SELECT * REPLACE (1 AS merchant) FROM payments";
    let refused = found(totals_of(folder.path(), &plan, numbers));
    assert_eq!(refused, (ErrorClass::Invalid, "totals-types"));
}

#[test]
#[ignore = "needs a PostgreSQL server, its driver, and psycopg in SQL_PYTHON; .ci/run has them"]
fn other_types_and_encodings_are_told_by_a_look_at_a_postgresql() {
    let (_folder, plan) = one();
    let elsewhere = Elsewhere::start("postgresql", &[]);
    let there = |database: &str| {
        let address = elsewhere.address.strip_suffix("postgres").expect("its database");
        server(Dialect::PostgreSql, &[("uri", &format!("{address}{database}"))])
    };
    let five = format!("{ENDLESS} generate_series(CAST(1 AS BIGINT), CAST(5 AS BIGINT)) t(i)");
    let numbers = five.replace("CAST('M0' AS TEXT)", "1");
    change(&there("postgres"), &numbers).expect("makes a view");
    let refused = found(ask(&plan, &there("postgres"), &mut no_surveys));
    assert_eq!(refused, (ErrorClass::Invalid, "totals-types"));
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let create = format!(
            "CREATE DATABASE \"{encoding}\" ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"
        );
        change(&there("postgres"), &create).expect("makes a database");
        change(&there(encoding), &five).expect("makes a view");
        let refused = found(ask(&plan, &there(encoding), &mut no_surveys));
        assert_eq!(refused, (ErrorClass::Invalid, "encoding-unfit"), "{encoding}");
    }
}
