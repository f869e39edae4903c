//! The same integers from databases that the engine `adbc` asks, as from the definition; and what
//! it says of databases that it cannot ask.
//!
//! Drivers are looked for in the folders of ADBC_DRIVER_PATH: DuckDB's library `libduckdb.so`, and
//! `libadbc_driver_postgresql.so`.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use super::*;
use crate::engine::remote::{Asker, Remote};
use crate::error::ErrorClass;
use crate::job::{AdbcServer, Server, Setting};

pub(super) fn server(dialect: Dialect, options: &[(&str, &str)]) -> Server {
    let driver = match dialect {
        Dialect::DuckDb => "duckdb",
        _ => "adbc_driver_postgresql",
    };
    let options: BTreeMap<String, Setting> =
        options.iter().map(|&(name, text)| (name.into(), Setting::Stated(text.into()))).collect();
    Server::Adbc(AdbcServer {
        driver: driver.to_owned(),
        entrypoint: None,
        options,
        dialect,
        span: 0..1,
        options_span: 2..3,
    })
}

pub(super) fn with_remote<T>(
    plan: &Plan,
    server: &Server,
    cancelled: &AtomicBool,
    what: impl FnOnce(&Remote) -> T,
) -> Result<T> {
    let table = plan.job.payments.table.as_ref().expect("it has a table");
    let spill_folder = &std::env::temp_dir();
    let asker = Asker { cancelled, spill_folder, note: &|_| {} };
    Remote::new(table, server, asker).map(|remote| what(&remote))
}

/// Looks at the table, then adds it up.
pub(super) fn ask(plan: &Plan, server: &Server, settle: Settle) -> Result<ExactTotals> {
    let asked = with_remote(plan, server, &NEVER, |remote| {
        remote.is_there(plan)?;
        remote.totals(plan, settle)
    });
    asked?.map(|(plan, totals)| {
        assert_eq!(plan.totals_from, Some(server.dialect().name()));
        totals
    })
}

/// Has a database do what gives no rows that matter.
pub(super) fn change(server: &Server, sql: &str) -> Result<()> {
    let plan = one().1;
    with_remote(&plan, server, &NEVER, |remote| remote.rows(sql).map(|_| ()))?
}

/// A job has times and amounts that are whole numbers.
pub(super) const WHOLE: &str = "time = \"integer\", amount = \"integer\"";

/// A folder with the payments of a case, which always is the same, and its plan: times and amounts
/// are whole numbers, and some payment counts.
pub(super) fn one() -> (TempDir, Plan) {
    let (folder, case) = one_with(WHOLE);
    let plan = case.plan(folder.path(), true);
    (folder, plan)
}

/// The first case whose job has this text, of which some payment counts, with a folder of its
/// payments.
pub(super) fn one_with(wanted: &str) -> (TempDir, Case) {
    let mut runner = TestRunner::deterministic();
    loop {
        let case = case().new_tree(&mut runner).expect("a case").current();
        if !case.text(true).contains(wanted) {
            continue;
        }
        let folder = TempDir::new().expect("a folder");
        case.write(folder.path());
        let control = ScanControl { cancelled: &NEVER, progress: &|_| {} };
        let found = totals(&Reference { control }, &case.plan(folder.path(), false));
        let counts = |totals: ExactTotals| {
            totals.levels.iter().any(|level| level.sums.iter().flatten().any(|&sum| sum > 0))
        };
        if found.is_ok_and(counts) {
            return (folder, case);
        }
    }
}

/// A database file with a table of what a folder has.
pub(super) fn duckdb(folder: &Path) -> String {
    let path = folder.join("payments.duckdb").display().to_string();
    let payments = folder.join("payments.parquet");
    let writing = server(Dialect::DuckDb, &[("path", &path), ("access_mode", "READ_WRITE")]);
    let create = format!("CREATE TABLE payments AS FROM read_parquet('{}')", payments.display());
    change(&writing, &create).expect("makes a table");
    path
}

#[test]
#[ignore = "needs DuckDB's library; .ci/run has it"]
fn a_duckdb_that_is_asked_and_reference_agree_to_the_last_unit() {
    agree(15, &|folder, plan, settle| {
        let path = duckdb(folder);
        Ok(ask(plan, &server(Dialect::DuckDb, &[("path", &path)]), settle))
    });
}

#[test]
#[ignore = "needs a PostgreSQL server, its driver, and psycopg in SQL_PYTHON; .ci/run has them"]
fn a_postgresql_that_is_asked_and_reference_agree_to_the_last_unit() {
    postgresql_agrees(6, &[], "");
}

/// So many cases in a server of its own, which `settings` change, at its address with these words.
pub(super) fn postgresql_agrees(cases: u32, settings: &[(&str, &str)], words: &str) {
    let elsewhere = std::cell::RefCell::new(Elsewhere::start("postgresql", settings));
    let address = format!("{}{words}", elsewhere.borrow().address);
    let server = server(Dialect::PostgreSql, &[("uri", &address)]);
    agree(cases, &|folder, plan, settle| {
        let task = serde_json::json!({ "payments": folder.join("payments.parquet") });
        let said = elsewhere.borrow_mut().ask(&task);
        prop_assert!(said == "ok", "{said}");
        Ok(ask(plan, &server, settle))
    });
}

/// Texts are told apart by their bytes, whatever the collations of columns or of the database: the
/// cases have users, keys and constants that differ in case only, and columns of two collations in
/// one expression.
#[test]
#[ignore = "needs DuckDB's library; .ci/run has it"]
fn a_duckdb_that_finds_texts_alike_and_reference_agree() {
    let texts = [
        ("user", "NOCASE"),
        ("merchant", "NOCASE.NOACCENT"),
        ("wallet", "NOCASE"),
        ("currency", "NOCASE"),
        ("channel", "NOCASE.NOACCENT"),
    ];
    let alike = |(name, how)| format!("\"{name}\" COLLATE {how} AS \"{name}\"");
    let alike = texts.map(alike).join(", ");
    agree(12, &|folder, plan, settle| {
        let path = folder.join("payments.duckdb").display().to_string();
        let options = [("path", &*path), ("access_mode", "READ_WRITE")];
        let payments = folder.join("payments.parquet");
        let create = format!(
            "CREATE TABLE payments AS SELECT * REPLACE ({alike}) FROM read_parquet('{}')",
            payments.display()
        );
        change(&server(Dialect::DuckDb, &options), &create).expect("makes a table");
        let reading = [("path", &*path), ("default_collation", "nocase")];
        Ok(ask(plan, &server(Dialect::DuckDb, &reading), settle))
    });
}

#[test]
#[ignore = "needs a PostgreSQL server, its driver, and psycopg in SQL_PYTHON; .ci/run has them"]
fn a_postgresql_that_finds_texts_alike_and_reference_agree() {
    // Texts are alike where only case or accents differ, or only case, in every other column.
    let collations = ("POSTGRESQL_COLLATIONS", "und-u-ks-level1 und-u-ks-level2");
    postgresql_agrees(6, &[collations], "");
}

#[test]
#[ignore = "needs a PostgreSQL server, its driver, and psycopg in SQL_PYTHON; .ci/run has them"]
fn times_without_an_end_are_bad_rows_of_a_postgresql() {
    let mut elsewhere = Elsewhere::start("postgresql", &[]);
    let server = server(Dialect::PostgreSql, &[("uri", &elsewhere.address.clone())]);
    for kind in ["timestamp", "timestamp_tz", "date"] {
        let (folder, case) = one_with(&format!("time = \"{kind}\""));
        let plan = case.plan(folder.path(), true);
        let task = serde_json::json!({ "payments": folder.path().join("payments.parquet") });
        assert_eq!(elsewhere.ask(&task), "ok");
        let before = ask(&plan, &server, &mut no_surveys).expect("totals");
        change(&server, "CREATE TABLE endless AS SELECT * FROM payments").expect("copies");
        for end in ["infinity", "-infinity"] {
            change(&server, &format!("UPDATE endless SET \"time\" = '{end}'")).expect("changes");
            change(&server, "INSERT INTO payments SELECT * FROM endless").expect("adds");
        }
        change(&server, "DROP TABLE endless").expect("ends");
        let after = ask(&plan, &server, &mut no_surveys).expect("totals");
        assert!(after == before, "{kind}");
        let strict =
            case.plan_with(folder.path(), true, ("max_bad_share = 1", "max_bad_share = 0.5"));
        let refused = found(ask(&strict, &server, &mut no_surveys));
        assert_eq!(refused, (ErrorClass::Invalid, "totals-rows-bad"), "{kind}");
    }
}

/// What is found, and its class.
pub(super) fn found<T>(outcome: Result<T>) -> (ErrorClass, &'static str) {
    let error = outcome.err().expect("it is refused");
    (error.class(), error.findings()[0].code())
}

#[test]
#[ignore = "needs DuckDB's library; .ci/run has it"]
fn a_duckdb_that_cannot_be_asked_is_told_apart() {
    let (folder, case) = one_with(WHOLE);
    let plan = case.plan(folder.path(), true);
    let missing = folder.path().join("nosuch.duckdb").display().to_string();
    let outcome = ask(&plan, &server(Dialect::DuckDb, &[("path", &missing)]), &mut no_surveys);
    // Its path is what the job says.
    let error = outcome.expect_err("it is refused");
    assert_eq!(error.findings()[0].span(), Some(2..3));
    assert_eq!(found::<()>(Err(error)), (ErrorClass::Environment, "server-unreachable"));
    assert!(!Path::new(&missing).exists(), "it is not made");
    let path = duckdb(folder.path());
    let writing = server(Dialect::DuckDb, &[("path", &path), ("access_mode", "READ_WRITE")]);
    let reading = server(Dialect::DuckDb, &[("path", &path)]);
    assert!(ask(&plan, &reading, &mut no_surveys).is_ok());
    assert_eq!(
        found(change(&reading, "DROP TABLE payments")),
        (ErrorClass::Environment, "query-failed")
    );
    // An error that comes with the rows.
    assert_eq!(
        found(change(&reading, "SELECT error(CAST(i AS VARCHAR)) FROM range(3) t(i)")),
        (ErrorClass::Environment, "query-failed")
    );
    for (kind, is_whole) in
        [("UHUGEINT", false), ("HUGEINT", false), ("DOUBLE", false), ("UBIGINT", true)]
    {
        let create = format!(
            "CREATE TABLE \"{kind}\" AS SELECT * REPLACE (CAST(ABS(amount) AS {kind}) AS amount) FROM \
             payments WHERE amount > {}",
            i64::MIN
        );
        change(&writing, &create).expect("makes a table");
        let plan = case.plan_with(folder.path(), true, ("\"payments\"", &format!("\"{kind}\"")));
        let outcome = ask(&plan, &reading, &mut no_surveys);
        match is_whole {
            true => assert!(outcome.is_ok(), "{kind}"),
            false => assert_eq!(found(outcome), (ErrorClass::Invalid, "totals-types"), "{kind}"),
        }
    }
    change(&writing, "DELETE FROM payments").expect("changes");
    change(&writing, "ALTER TABLE payments ALTER amount TYPE BIGINT").expect("changes");
    assert_eq!(found(ask(&plan, &reading, &mut no_surveys)), (ErrorClass::Invalid, "rows-missing"));
    change(&writing, "ALTER TABLE payments DROP channel").expect("changes");
    assert_eq!(
        found(ask(&plan, &reading, &mut no_surveys)),
        (ErrorClass::Invalid, "table-unreadable")
    );
    change(&writing, "DROP TABLE payments").expect("changes");
    assert_eq!(
        found(ask(&plan, &reading, &mut no_surveys)),
        (ErrorClass::Invalid, "table-unreadable")
    );
}

#[test]
#[ignore = "needs a PostgreSQL server, its driver, and psycopg in SQL_PYTHON; .ci/run has them"]
fn a_postgresql_that_cannot_be_asked_is_told_apart() {
    let (folder, plan) = one();
    let mut elsewhere = Elsewhere::start("postgresql", &[]);
    let address = elsewhere.address.clone();
    let at = |address: &str| server(Dialect::PostgreSql, &[("uri", address)]);
    assert_eq!(
        found(ask(&plan, &at(&address), &mut no_surveys)),
        (ErrorClass::Invalid, "table-unreadable")
    );
    let task = serde_json::json!({ "payments": folder.path().join("payments.parquet") });
    assert_eq!(elsewhere.ask(&task), "ok");
    assert!(ask(&plan, &at(&address), &mut no_surveys).is_ok());
    let wrong = address.replace(":secret@", ":wrong@");
    assert_eq!(
        found(ask(&plan, &at(&wrong), &mut no_surveys)),
        (ErrorClass::Environment, "login-refused")
    );
    let none = format!("{}nosuch", address.strip_suffix("postgres").expect("its database"));
    assert_eq!(
        found(ask(&plan, &at(&none), &mut no_surveys)),
        (ErrorClass::Environment, "server-unreachable")
    );
    drop(elsewhere);
    assert_eq!(
        found(ask(&plan, &at(&address), &mut no_surveys)),
        (ErrorClass::Environment, "server-unreachable")
    );
}

#[test]
fn a_driver_or_a_secret_that_is_not_there_is_named() {
    let (folder, plan) = one();
    let asked = |server: AdbcServer| with_remote(&plan, &Server::Adbc(server), &NEVER, |_| ());
    let none = |server: AdbcServer| found(asked(server));
    let Server::Adbc(good) = server(Dialect::DuckDb, &[]) else { unreachable!("it is") };
    let text = folder.path().join("libtext.so");
    std::os::unix::fs::symlink(folder.path().join("payments.parquet"), &text).expect("links");
    for driver in ["no-such-driver", "/no/such/libdriver.so", &text.display().to_string()] {
        let server = AdbcServer { driver: driver.to_owned(), ..good.clone() };
        assert_eq!(none(server), (ErrorClass::Environment, "driver-unusable"), "{driver}");
    }
    let secret = Setting::Environment("NO_SUCH_VARIABLE_OF_DISCRETAIL".to_owned());
    let options = BTreeMap::from([("password".to_owned(), secret)]);
    let server = AdbcServer { options, ..good };
    let error = asked(server).expect_err("it is refused");
    assert_eq!(error.findings()[0].span(), Some(2..3), "under the options");
    assert_eq!(found::<()>(Err(error)), (ErrorClass::Invalid, "secret-missing"));
}

/// Cancels after a while; gives how long it took from then.
fn stopped(plan: &Plan, server: &Server) -> Duration {
    let cancelled = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let work = scope.spawn(|| {
            let outcome = with_remote(plan, server, &cancelled, |remote| {
                remote.totals(plan, &mut no_surveys)
            });
            assert_eq!(found(outcome.expect("a driver")), (ErrorClass::Cancelled, "cancelled"));
        });
        std::thread::sleep(Duration::from_secs(2));
        assert!(!work.is_finished());
        cancelled.store(true, std::sync::atomic::Ordering::Relaxed);
        let started = Instant::now();
        work.join().expect("it is cancelled");
        started.elapsed()
    })
}

/// A table that has no end, as far as anybody can wait.
pub(super) const ENDLESS: &str = "CREATE VIEW payments AS SELECT CAST('u' AS TEXT) AS \"user\", CAST('M0' AS TEXT) \
                       AS merchant, i AS \"time\", i AS amount, CAST('w0' AS TEXT) AS wallet, CAST('EUR' AS TEXT) \
                       AS currency, CAST('shop' AS TEXT) AS channel, TRUE AS refund, i AS number FROM ";

#[test]
#[ignore = "needs DuckDB's library; .ci/run has it"]
fn ctrl_c_stops_the_query_of_a_duckdb() {
    let (folder, plan) = one();
    let path = folder.path().join("endless.duckdb").display().to_string();
    let writing = server(Dialect::DuckDb, &[("path", &path), ("access_mode", "READ_WRITE")]);
    change(&writing, &format!("{ENDLESS} range(1000000000000) t(i)")).expect("makes a view");
    let took = stopped(&plan, &server(Dialect::DuckDb, &[("path", &path)]));
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
#[ignore = "needs a PostgreSQL server, its driver, and psycopg in SQL_PYTHON; .ci/run has them"]
fn ctrl_c_stops_the_query_of_a_postgresql() {
    let (_folder, plan) = one();
    let elsewhere = Elsewhere::start("postgresql", &[]);
    let server = server(Dialect::PostgreSql, &[("uri", &elsewhere.address)]);
    let series = "generate_series(CAST(1 AS BIGINT), CAST(1000000000000 AS BIGINT)) t(i)";
    change(&server, &format!("{ENDLESS} {series}")).expect("makes a view");
    let took = stopped(&plan, &server);
    assert!(took < Duration::from_secs(4), "{took:?}");
    // The server has no query any more, but for this very one.
    let busy = "CREATE TABLE busy AS SELECT 1 / (CASE WHEN COUNT(*) = 1 THEN 1 ELSE 0 END) AS one FROM \
                pg_stat_activity WHERE state = 'active' AND backend_type IN ('client backend', 'parallel worker')";
    change(&server, busy).expect("only this one");
}

/// Its driver tells of it while rows are read, as of a connection that breaks.
#[test]
#[ignore = "needs a PostgreSQL server, its driver, and psycopg in SQL_PYTHON; .ci/run has them"]
fn a_query_that_a_postgresql_gives_up_is_no_lost_connection() {
    let (_folder, plan) = one();
    let elsewhere = Elsewhere::start("postgresql", &[]);
    let at = |address: &str| server(Dialect::PostgreSql, &[("uri", address)]);
    let series = "generate_series(CAST(1 AS BIGINT), CAST(1000000000000 AS BIGINT)) t(i)";
    change(&at(&elsewhere.address), &format!("{ENDLESS} {series}")).expect("makes a view");
    let hasty = format!("{}?options=-c%20statement_timeout%3D700", elsewhere.address);
    let asked = |server: Server| {
        with_remote(&plan, &server, &NEVER, |remote| remote.totals(&plan, &mut no_surveys))
    };
    let outcome = asked(at(&hasty)).expect("a driver");
    assert_eq!(found(outcome), (ErrorClass::Environment, "query-failed"));
    // A row that cannot be, after some that can.
    let late = "SELECT 1 / (100000 - i) AS one FROM generate_series(1, 200000) t(i)";
    let rows = with_remote(&plan, &at(&elsewhere.address), &NEVER, |remote| remote.rows(late));
    assert_eq!(found(rows.expect("a driver")), (ErrorClass::Environment, "query-failed"));
}

/// The price is paid before the totals are asked for.
#[test]
#[ignore = "needs DuckDB's library; .ci/run has it"]
fn ctrl_c_is_not_heard_by_a_duckdb_once_the_price_is_paid() {
    let (folder, case) = one_with("");
    let case = case.open();
    let plan = case.plan(folder.path(), true);
    let server = server(Dialect::DuckDb, &[("path", &duckdb(folder.path()))]);
    let cancelled = AtomicBool::new(false);
    let asked = with_remote(&plan, &server, &cancelled, |remote| {
        remote.totals(&plan, &mut |exact| {
            cancelled.store(true, std::sync::atomic::Ordering::Relaxed);
            Ok(noiseless(&plan, &exact))
        })
    });
    let (settled, totals) = asked.expect("a driver").expect("totals");
    let control = ScanControl { cancelled: &NEVER, progress: &|_| {} };
    let files = case.plan(folder.path(), false);
    let wanted = Reference { control }
        .totals(&files, &mut |exact| Ok(noiseless(&files, &exact)))
        .expect("totals");
    assert!(settled.is_settled() && totals == wanted.1);
}

#[test]
#[ignore = "needs a PostgreSQL server, its driver, and psycopg in SQL_PYTHON; .ci/run has them"]
fn a_postgresql_that_goes_down_is_lost_and_refuses_nothing() {
    let (_folder, plan) = one();
    let elsewhere = Elsewhere::start("postgresql", &[]);
    let server = server(Dialect::PostgreSql, &[("uri", &elsewhere.address)]);
    let series = "generate_series(CAST(1 AS BIGINT), CAST(1000000000000 AS BIGINT)) t(i)";
    change(&server, &format!("{ENDLESS} {series}")).expect("makes a view");
    std::thread::scope(|scope| {
        let work = scope.spawn(|| {
            let asked =
                with_remote(&plan, &server, &NEVER, |remote| remote.totals(&plan, &mut no_surveys));
            found(asked.expect("a driver"))
        });
        std::thread::sleep(Duration::from_secs(2));
        assert!(!work.is_finished());
        drop(elsewhere);
        assert_eq!(work.join().expect("ends"), (ErrorClass::Environment, "server-lost"));
    });
}

/// Sorts more than 100 MB.
const LARGE: &str = "SELECT SUM(n * (i % 2)) AS n FROM (SELECT i, ROW_NUMBER() OVER (ORDER BY hash(i), i) AS n \
                     FROM range(6000000) t(i)) dr_sorted";

#[test]
#[ignore = "needs DuckDB's library; .ci/run has it"]
fn what_a_duckdb_does_not_hold_is_where_nobody_else_may_look() {
    let (folder, plan) = one();
    let path = duckdb(folder.path());
    let spill = folder.path().join("spill");
    std::fs::create_dir(&spill).expect("makes a folder");
    let table = plan.job.payments.table.as_ref().expect("it has a table");
    let own = folder.path().join("own").display().to_string();
    let files = |folder: &Path| -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
    };
    let (mut seen, mut own_seen) = (0, 0);
    for stated in [None, Some(("temp_directory", &*own))] {
        let options = [("path", &*path), ("memory_limit", "60MB"), ("threads", "2")];
        let options: Vec<(&str, &str)> = options.into_iter().chain(stated).collect();
        let server = server(Dialect::DuckDb, &options);
        std::thread::scope(|scope| {
            let work = scope.spawn(|| {
                let asker = Asker { cancelled: &NEVER, spill_folder: &spill, note: &|_| {} };
                Remote::new(table, &server, asker)?.rows(LARGE)
            });
            while !work.is_finished() {
                for made in files(&spill) {
                    let spilled = files(&made).len();
                    let Ok(found) = std::fs::metadata(&made) else { continue };
                    assert_eq!(found.permissions().mode() & 0o777, 0o700);
                    assert!(stated.is_none(), "another folder is stated");
                    seen += spilled;
                }
                own_seen += files(Path::new(&own)).len();
                assert!(!Path::new(&format!("{path}.tmp")).exists(), "it writes beside its file");
                std::thread::sleep(Duration::from_millis(5));
            }
            work.join().expect("ends").expect("rows");
        });
        assert!(files(&spill).is_empty(), "it is gone with the run");
    }
    assert!(seen > 0 && own_seen > 0, "{seen} {own_seen}");
}
