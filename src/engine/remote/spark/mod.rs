//! A Spark cluster, by the protocol of Spark Connect.
//!
//! Thin on purpose: one session, settings that are read back, one query at a time. A result counts
//! only if the server says that it is complete (`query`), its rows are those that were sent
//! (`batches`), and all of it came from one session (`session`).

mod batches;
mod fault;
mod query;
mod reach;
mod session;
#[cfg(test)]
pub(in crate::engine) mod tests;

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int32Type;
use spark_connect_core::channel::{PARAM_TOKEN, PARAM_USER_AGENT, PARAM_USER_ID};
use spark_connect_core::{ChannelBuilder, block_on};

use super::Client;
use crate::error::{Error, Result};
use crate::findings;
use crate::job::{Dialect, SparkServer};
use query::Query;
use session::Session;

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// For a connection and its certificate.
    reach: Duration,
    /// For the first answer: a server that has just been started takes a while.
    answer: Duration,
    /// After so long without a word about the query, the server is asked whether it is there.
    quiet: Duration,
    /// For the answer to that.
    word: Duration,
    /// After so long without any word from the server, the query is given up.
    patience: Duration,
    /// For a whole query.
    deadline: Duration,
    /// For stopping a query and letting go of a session when there is nothing more to win.
    parting: Duration,
    /// How many bytes of a batch come at once; `None`: as the server likes.
    chunk: Option<i64>,
}

impl Limits {
    /// Those of all runs.
    const USUAL: Limits = Limits {
        reach: Duration::from_secs(8),
        answer: Duration::from_secs(30),
        quiet: Duration::from_secs(20),
        word: Duration::from_secs(10),
        patience: Duration::from_secs(60),
        deadline: Duration::from_secs(24 * 3600),
        parting: Duration::from_secs(5),
        chunk: None,
    };
}

/// A server of Spark Connect; nothing is asked of it before the first query.
pub(super) struct Spark {
    builder: ChannelBuilder,
    limits: Limits,
    /// The one that is open, until it is lost.
    session: Mutex<Option<Arc<Session>>>,
}

/// Who we are, in the server's logs.
const NAME: &str = "discretail";

/// A sum that no 64-bit number holds: under ANSI rules an error.
const OVERFLOW: &str = "SELECT CAST('9223372036854775807' AS BIGINT) + dr_one AS dr_sum
FROM (SELECT CAST(1 AS BIGINT) AS dr_one)";

impl Spark {
    /// The server that a job names.
    pub(super) fn new(server: &SparkServer) -> Result<Spark> {
        let token = std::env::var(SparkServer::TOKEN).ok().filter(|token| !token.is_empty());
        Spark::of(&server.url, token.as_deref(), Limits::USUAL)
    }

    /// A server at `sc://host:port`, with parameters as Spark's own clients take them.
    fn of(url: &str, token: Option<&str>, limits: Limits) -> Result<Spark> {
        let mut builder = ChannelBuilder::parse(url).map_err(|cause| {
            // It quotes the address, in which there may be a token.
            tracing::debug!("{}", cause.message());
            let rule = "an address of Spark Connect, such as \"sc://host:15002/;use_ssl=true\"";
            Error::invalid(findings::value_out_of_range("url", "the address", rule))
        })?;
        if let Some(token) = token {
            builder.set(PARAM_TOKEN, token);
        }
        // A session is of its user, in all calls.
        if builder.user_id().is_none() {
            builder.set(PARAM_USER_ID, NAME);
        }
        builder.set(PARAM_USER_AGENT, NAME);
        if builder.token().is_some() && !builder.use_ssl() && !builder.is_loopback() {
            return Err(Error::invalid(findings::token_in_the_open(&shown(&builder))));
        }
        Ok(Spark { builder, limits, session: Mutex::default() })
    }

    /// The session, once it is open and keeps what the SQL needs.
    fn session(&self, cancelled: &AtomicBool) -> Result<Arc<Session>> {
        let mut open = self.open();
        if let Some(session) = &*open {
            return Ok(Arc::clone(session));
        }
        let session = block_on(Session::open(self.builder.clone(), self.limits, cancelled))?;
        if let Err(error) = keeps_settings(&session, cancelled) {
            block_on(session.close());
            return Err(error);
        }
        Ok(Arc::clone(open.insert(Arc::new(session))))
    }

    fn open(&self) -> MutexGuard<'_, Option<Arc<Session>>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does the server do what its settings say? Some read them back and do not.
fn keeps_settings(session: &Session, cancelled: &AtomicBool) -> Result<()> {
    let missing = |what| Err(Error::invalid(findings::settings_missing(what)));
    let is_set =
        format!("SELECT CASE WHEN {} THEN 1 ELSE 0 END AS dr_set", Dialect::Spark.is_set());
    let batches = match block_on(Query::new(session, cancelled).rows(&is_set)) {
        Ok(batches) => batches,
        Err(stop) if stop.is_of_the_query() => return missing("ANSI rules and UTC"),
        Err(stop) => return Err(stop.into_error()),
    };
    let ones = |batch: &RecordBatch| {
        let column = batch.column(0).as_primitive_opt::<Int32Type>()?;
        Some(column.values().to_vec())
    };
    let ones: Option<Vec<Vec<i32>>> = batches.iter().map(ones).collect();
    if ones.map(|ones| ones.concat()) != Some(vec![1]) {
        return missing("ANSI rules and UTC");
    }
    match block_on(Query::new(session, cancelled).rows(OVERFLOW)) {
        Ok(_) => missing("an error for a sum that overflows"),
        Err(stop) if stop.is_of_the_query() => Ok(()),
        Err(stop) => Err(stop.into_error()),
    }
}

/// As messages name a server.
fn shown(builder: &ChannelBuilder) -> String {
    format!("Spark at {}", builder.endpoint())
}

impl Client for Spark {
    fn rows(&self, sql: &str, cancelled: &AtomicBool) -> Result<Vec<RecordBatch>> {
        let session = self.session(cancelled)?;
        block_on(Query::new(&session, cancelled).rows(sql)).map_err(|stop| {
            // The next query begins anew, with a connection and settings of its own.
            if !stop.is_of_the_query() {
                block_on(session.close());
                *self.open() = None;
            }
            stop.into_error()
        })
    }
}

impl Drop for Spark {
    fn drop(&mut self) {
        if let Some(session) = self.open().take() {
            block_on(session.close());
        }
    }
}

/// Why nothing came.
enum Late {
    Time,
    Cancelled,
}

/// What a future gives, unless it takes too long or Ctrl-C comes first.
async fn within<F: Future>(
    limit: Duration,
    cancelled: &AtomicBool,
    future: F,
) -> std::result::Result<F::Output, Late> {
    let mut future = std::pin::pin!(future);
    let started = Instant::now();
    loop {
        if let Ok(given) = tokio::time::timeout(TICK, future.as_mut()).await {
            return Ok(given);
        }
        if cancelled.load(Ordering::Relaxed) {
            return Err(Late::Cancelled);
        }
        if started.elapsed() > limit {
            return Err(Late::Time);
        }
    }
}

/// How often Ctrl-C is asked for.
const TICK: Duration = Duration::from_millis(100);
