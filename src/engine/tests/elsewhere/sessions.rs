//! What sessions of databases may be set to, by the environment or the job, and what their columns
//! may hold: the totals are the same, or refused.

use super::databases::{ask, change, duckdb, one, postgresql_agrees, server, with_remote};
use super::*;
use crate::engine::given::Answer;
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

/// A database without an encoding gives bytes as they are.
#[test]
#[ignore = "needs a PostgreSQL server, its driver, and psycopg in SQL_PYTHON; .ci/run has them"]
fn texts_of_a_postgresql_that_are_not_utf_8_are_refused() {
    let (_folder, plan) = one();
    let elsewhere = Elsewhere::start("postgresql", &[]);
    let there = server(Dialect::PostgreSql, &[("uri", &elsewhere.address)]);
    change(&there, "CREATE DATABASE raw ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
        .expect("makes a database");
    let raw = format!("{}raw", elsewhere.address.strip_suffix("postgres").expect("its database"));
    let raw = server(Dialect::PostgreSql, &[("uri", &raw)]);
    let query = Query::new(&plan, Dialect::PostgreSql).expect("all of it has SQL");
    let answer = Answer {
        query: &query,
        of: TotalsOf::Table("payments"),
    };
    let asked = |text: &str| {
        let sql = format!("SELECT CAST({text} AS TEXT) AS plan");
        let rows = with_remote(&plan, &raw, &NEVER, |remote| remote.rows(&sql));
        let rows = rows.expect("a driver").expect("rows");
        answer.totals_of(&plan, &rows).err().expect("it is refused").to_string()
    };
    assert!(asked("chr(233)").contains("a text is not UTF-8"), "{}", asked("chr(233)"));
    assert!(!asked("chr(101)").contains("a text is not UTF-8"), "{}", asked("chr(101)"));
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
