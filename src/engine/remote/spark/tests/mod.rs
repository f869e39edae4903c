//! A real cluster of two executors, and what can go wrong before and in it.
//!
//! Its streams end after five seconds, so that results are asked for again all the time. They need
//! Java and Python with Spark: `.ci/run` installs them, and sets SQL_PYTHON and the token.

pub(in crate::engine) mod servers;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;

use spark_connect_proto::execute_plan_response::ResponseType;

use super::{Client, Limits, Query, Session, Spark};
use crate::error::{Error, ErrorClass};
use servers::{Proxy, Server, kill, token, until};

/// All rows of a query, of a server that need not do what its settings say.
pub(in crate::engine) fn rows_in_spite_of_settings(
    url: &str,
    sql: &str,
) -> Result<Vec<RecordBatch>, Error> {
    let spark = Spark::of(url, None, SOON)?;
    let session = super::block_on(Session::open(spark.builder.clone(), spark.limits, &NEVER))?;
    let rows = super::block_on(Query::new(&session, &NEVER).rows(sql));
    super::block_on(session.close());
    rows.map_err(|stop| stop.into_error())
}

static NEVER: AtomicBool = AtomicBool::new(false);

/// As usual, but soon tired of waiting.
const SOON: Limits = Limits {
    quiet: Duration::from_secs(2),
    word: Duration::from_secs(2),
    patience: Duration::from_secs(10),
    chunk: Some(16 * 1024),
    ..Limits::USUAL
};

fn at(port: u16, token: &str, limits: Limits) -> Spark {
    Spark::of(&format!("sc://localhost:{port}"), Some(token), limits).expect("an address")
}

/// The code of what a client finds.
fn code<T>(result: Result<T, Error>) -> &'static str {
    result.map_or_else(|error| error.findings()[0].code(), |_| "none")
}

/// Rows in many batches and chunks.
const ROWS: i64 = 40_000;
const MANY: &str = "SELECT id, id * 7919 AS n, CAST(id AS STRING) AS t FROM range(0, 40000, 1, 8)";

/// Are they all there, each once?
fn assert_whole(batches: &[RecordBatch], what: &str) {
    let mut ids: Vec<i64> = Vec::new();
    for batch in batches {
        let column = |at: usize| batch.column(at).as_primitive::<Int64Type>().values();
        let texts = batch.column(2).as_string::<i32>();
        for (place, (id, n)) in column(0).iter().zip(column(1)).enumerate() {
            assert_eq!((*n, texts.value(place)), (id * 7919, id.to_string().as_str()), "{what}");
            ids.push(*id);
        }
    }
    ids.sort_unstable();
    assert!(ids.iter().copied().eq(0..ROWS), "{what}: {} rows", ids.len());
}

/// A query that takes half a minute, over a shuffle: SHA-256 of many numbers, by group.
const LONG: &str = "SELECT SUM(n) AS n, SUM(s) AS s, SUM(l) AS l FROM (
    SELECT id % 1000 AS k, COUNT(*) AS n, SUM(id) AS s,
      SUM(LENGTH(SHA2(SHA2(CAST(id AS STRING), 512), 512))) AS l
    FROM range(0, 12000000, 1, 48) GROUP BY id % 1000)";

fn assert_long(batches: &[RecordBatch]) {
    let numbers = |batch: &RecordBatch| -> Vec<i64> {
        batch.columns().iter().map(|column| column.as_primitive::<Int64Type>().value(0)).collect()
    };
    let rows: Vec<Vec<i64>> =
        batches.iter().filter(|batch| batch.num_rows() > 0).map(numbers).collect();
    let n = 12_000_000i64;
    assert_eq!(rows, [[n, n * (n - 1) / 2, n * 128]]);
}

/// Runs a query; when the cluster is at work on it, does something, and gives both with the time
/// that the query took from then on.
fn while_at_work<T>(
    server: &Server,
    spark: &Spark,
    cancelled: &AtomicBool,
    act: impl FnOnce() -> T,
) -> (Result<Vec<RecordBatch>, Error>, T, Duration) {
    std::thread::scope(|scope| {
        // A client is of one thread.
        let builder = (spark.builder.clone(), spark.limits);
        let query = scope.spawn(move || {
            let spark =
                Spark { builder: builder.0, limits: builder.1, session: Default::default() };
            let rows = spark.rows(LONG, cancelled);
            (rows, Instant::now())
        });
        until("tasks are done", || server.tasks_done().filter(|&done| done >= 6));
        let acted = act();
        let started = Instant::now();
        let (rows, ended) = query.join().expect("ends");
        (rows, acted, ended.saturating_duration_since(started))
    })
}

#[test]
#[ignore = "needs Spark in SQL_PYTHON and Java; .ci/run has both"]
fn spark_is_told_from_what_is_not_and_lets_in_whom_it_knows() {
    let cluster = Server::cluster();
    let look = |spark: Spark| {
        let started = Instant::now();
        let found = code(spark.rows("SELECT 1 AS one", &NEVER));
        assert!(started.elapsed() < Duration::from_secs(60), "{found}: {:?}", started.elapsed());
        found
    };
    // The first one in takes the time that a new server needs.
    assert_whole(&at(cluster.port, &token(), SOON).rows(MANY, &NEVER).expect("rows"), "first");
    assert_eq!(look(at(cluster.port, &token(), SOON)), "none");
    assert_eq!(look(at(cluster.port, "wrong", SOON)), "login-refused");
    let open = Spark::of(&format!("sc://localhost:{}", cluster.port), None, SOON);
    assert_eq!(look(open.expect("an address")), "login-refused");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("listens");
    let port = nobody.local_addr().expect("listens").port();
    drop(nobody);
    assert_eq!(look(at(port, &token(), SOON)), "server-unreachable");

    let tls = Server::start(&["tls", &cluster.port.to_string()]);
    assert_eq!(look(at(tls.port, &token(), SOON)), "server-foreign");
    let with_tls = |port: u16| {
        let url = format!("sc://localhost:{port}/;use_ssl=true");
        Spark::of(&url, Some(&token()), SOON).expect("an address")
    };
    assert_eq!(look(with_tls(tls.port)), "certificate-untrusted");
    assert_eq!(look(with_tls(cluster.port)), "server-foreign");
    // The pages of the cluster speak HTTP, but another one.
    assert_eq!(
        look(at(cluster.rest[1].parse().expect("a port"), &token(), SOON)),
        "server-foreign"
    );
}

#[test]
#[ignore = "needs Spark in SQL_PYTHON and Java; .ci/run has both"]
fn a_query_that_fails_is_named_and_not_quoted() {
    let cluster = Server::cluster();
    let spark = at(cluster.port, &token(), SOON);
    let fails = |sql: &str| {
        let error = spark.rows(sql, &NEVER).expect_err("fails");
        error.findings()[0].message().to_owned()
    };
    let failed = |what: &str| format!("the query failed: {what}");
    assert_eq!(fails("SELECT * FROM none"), failed("TABLE_OR_VIEW_NOT_FOUND (SQLSTATE 42P01)"));
    assert_eq!(fails("SELECT x FROM range(3)"), {
        failed("UNRESOLVED_COLUMN.WITH_SUGGESTION (SQLSTATE 42703)")
    });
    assert_eq!(fails("SELEC 1"), failed("PARSE_SYNTAX_ERROR (SQLSTATE 42601)"));
    let value = "SELECT CAST(CONCAT('lin-', id) AS BIGINT) AS n FROM range(3)";
    assert_eq!(fails(value), failed("CAST_INVALID_INPUT (SQLSTATE 22018)"));
    assert_eq!(
        fails("SELECT * FROM parquet.`/nowhere/lin`"),
        failed("PATH_NOT_FOUND (SQLSTATE 42K03)")
    );
    // The session is as it was.
    assert_whole(&spark.rows(MANY, &NEVER).expect("rows"), "afterwards");
}

/// Else no test would see them.
#[test]
#[ignore = "needs Spark in SQL_PYTHON and Java; .ci/run has both"]
fn batches_come_in_chunks() {
    let cluster = Server::cluster();
    let spark = at(cluster.port, &token(), SOON);
    let session = spark.session(&NEVER).expect("open");
    let chunks = super::block_on(async {
        let mut stream = session.client().execute_plan(session.request(MANY)).await.expect("runs");
        let mut chunks = Vec::new();
        while let Some(response) = stream.message().await.expect("answers") {
            if let Some(ResponseType::ArrowBatch(batch)) = response.response_type {
                chunks.push((batch.num_chunks_in_batch, batch.data.len()));
            }
        }
        chunks
    });
    let parts = chunks.iter().filter(|(of, size)| of.is_some_and(|of| of > 1) && *size <= 16 << 10);
    assert!(parts.count() > 20, "{chunks:?}");
}

#[test]
#[ignore = "needs Spark in SQL_PYTHON and Java; .ci/run has both"]
fn a_stream_that_is_cut_gives_all_rows_or_an_error() {
    let cluster = Server::cluster();
    let proxy = Proxy::before(cluster.port);
    let spark = at(proxy.port, &token(), SOON);
    assert_whole(&spark.rows(MANY, &NEVER).expect("rows"), "no cut");
    // One cut, anywhere: in a frame's header, in a message, between two.
    for after in [0, 1, 9, 10, 100, 1_000, 3_333, 16_384, 20_000, 50_001, 100_000, 250_000, 400_007]
    {
        proxy.cut_once(after);
        let rows = spark.rows(MANY, &NEVER);
        let rows = rows.unwrap_or_else(|error| panic!("cut after {after}: {error}"));
        assert_whole(&rows, &format!("cut after {after}"));
        proxy.cut_once(-1);
    }
    // The request never arrives, and the server does not know the query.
    proxy.be_deaf_once();
    assert_whole(&spark.rows(MANY, &NEVER).expect("rows"), "a lost request");
    // Each connection is cut: the result comes in parts of whole frames, of 16 KiB each, or not at
    // all.
    for (after, most) in [(0, 0), (100, 0), (60_000, ROWS), (200_000, ROWS)] {
        spark.session(&NEVER).expect("open");
        proxy.cut_each(after);
        let rows = spark.rows(MANY, &NEVER);
        proxy.cut_each(-1);
        match rows {
            Ok(rows) if most > 0 => assert_whole(&rows, &format!("all cut after {after}")),
            rows => {
                assert!(after < 60_000, "all cut after {after}");
                assert_eq!(code(rows), "server-lost", "all cut after {after}");
            }
        }
    }
    assert_whole(&spark.rows(MANY, &NEVER).expect("rows"), "afterwards");
}

#[test]
#[ignore = "needs Spark in SQL_PYTHON and Java; .ci/run has both"]
fn a_server_that_stops_answering_is_noticed() {
    let cluster = Server::cluster();
    let proxy = Proxy::before(cluster.port);
    let spark = at(proxy.port, &token(), SOON);
    // It comes back in time.
    let (rows, (), _) = while_at_work(&cluster, &spark, &NEVER, || {
        proxy.be_still(true);
        std::thread::sleep(Duration::from_secs(5));
        proxy.be_still(false);
    });
    assert_long(&rows.expect("rows"));
    // It does not.
    let (rows, (), time) = while_at_work(&cluster, &spark, &NEVER, || proxy.be_still(true));
    assert_eq!(code(rows), "server-lost");
    assert!(time < Duration::from_secs(30), "{time:?}");
    // Nor does it say anything at first.
    let quick = Limits { answer: Duration::from_secs(3), ..SOON };
    assert_eq!(code(at(proxy.port, &token(), quick).rows(MANY, &NEVER)), "server-silent");
    proxy.be_still(false);
}

#[test]
#[ignore = "needs Spark in SQL_PYTHON and Java; .ci/run has both"]
fn an_executor_that_is_killed_changes_nothing() {
    let cluster = Server::cluster();
    let spark = at(cluster.port, &token(), Limits::USUAL);
    let (rows, before, _) = while_at_work(&cluster, &spark, &NEVER, || {
        let executors = cluster.executors();
        kill(&executors[0]);
        executors
    });
    assert_eq!(before.len(), 2);
    assert_long(&rows.expect("rows"));
    until("another executor takes its place", || {
        let now = cluster.executors();
        (now.len() == 2 && now != before).then_some(())
    });
}

#[test]
#[ignore = "needs Spark in SQL_PYTHON and Java; .ci/run has both"]
fn ctrl_c_and_the_deadline_stop_the_query_on_the_server_too() {
    let cluster = Server::cluster();
    let spark = at(cluster.port, &token(), Limits::USUAL);
    let cancelled = AtomicBool::new(false);
    let (rows, (), time) =
        while_at_work(&cluster, &spark, &cancelled, || cancelled.store(true, Ordering::Relaxed));
    assert_eq!(rows.expect_err("stops").class(), ErrorClass::Cancelled);
    assert!(time < Duration::from_secs(60), "{time:?}");
    let started = Instant::now();
    until("no job runs", || cluster.tasks_done().is_none().then_some(()));
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    // As time does.
    let limits = Limits { deadline: Duration::from_secs(4), ..Limits::USUAL };
    let spark = at(cluster.port, &token(), limits);
    assert_eq!(code(spark.rows(LONG, &NEVER)), "query-endless");
    until("no job runs", || cluster.tasks_done().is_none().then_some(()));
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

#[test]
#[ignore = "needs Spark in SQL_PYTHON and Java; .ci/run has both"]
fn a_session_or_a_server_that_is_gone_is_an_error() {
    let token_is = format!("spark.connect.authenticate.token={}", token());
    let server = Server::start(&["spark", "local[2]", &token_is]);
    let spark = at(server.port, &token(), SOON);
    assert_whole(&spark.rows(MANY, &NEVER).expect("rows"), "a session");
    let session = spark.session(&NEVER).expect("open");
    super::block_on(session.client().release_session()).expect("released");
    // Not under other settings.
    assert_eq!(code(spark.rows(MANY, &NEVER)), "server-lost");
    // With settings of its own.
    assert_whole(&spark.rows(MANY, &NEVER).expect("rows"), "another session");

    let (rows, (), time) = while_at_work(&server, &spark, &NEVER, || kill(server.pid()));
    assert_eq!(code(rows), "server-lost");
    assert!(time < Duration::from_secs(30), "{time:?}");
}

/// Sail says that ANSI rules are on, and lets sums wrap.
#[test]
#[ignore = "needs Sail in SQL_PYTHON; .ci/run has it"]
fn sail_is_refused() {
    let sail = Server::start(&["sail"]);
    let spark =
        Spark::of(&format!("sc://localhost:{}", sail.port), None, SOON).expect("an address");
    assert_eq!(code(spark.rows(MANY, &NEVER)), "settings-missing");
}

#[test]
fn a_token_goes_nowhere_in_the_open() {
    let of = |url: &str| code(Spark::of(url, Some("secret"), SOON));
    assert_eq!(of("sc://spark.example:15002"), "token-in-the-open");
    assert_eq!(of("sc://spark.example:15002/;use_ssl=true"), "none");
    assert_eq!(of("sc://localhost:15002"), "none");
    assert_eq!(of("http://localhost:15002"), "value-out-of-range");
    assert_eq!(of("sc://localhost:port"), "value-out-of-range");
}
