//! One query, from its request to its last row.
//!
//! A server ends its streams after a while, and connections break; both look like the end of the
//! result. So only `ResultComplete` is: until it comes, the rest is asked for, from the last
//! response that was taken. If the server has forgotten the query, it is run anew and all rows of
//! the first time are thrown away; that is safe, as the query only reads, and no rows of two times
//! are put together.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use spark_connect_core::ExecutePlanResponseReattachableIterator as Execution;
use spark_connect_core::SparkError;
use spark_connect_proto::ExecutePlanResponse;
use spark_connect_proto::execute_plan_response::ResponseType;

use super::batches::{Batches, Unfit};
use super::fault::{self, Fault};
use super::session::{self, Session};
use super::{Late, within};
use crate::error::Error;
use crate::findings::{self, Finding};

/// How often a query is run anew.
const ANEW_MAX: u32 = 4;
/// How often a connection may break, in all.
const BREAKS_MAX: u32 = 200;
/// How often a stream may end without a word before the next one, one after the other.
const EMPTY_MAX: u32 = 1_000;
/// The waits between requests that gave nothing: from the first to the last, twice as long each.
const WAIT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// After so long without a response the stream is asked for again, even if the server is there.
const STALE: Duration = Duration::from_secs(300);

/// A query that runs.
pub(super) struct Query<'s> {
    session: &'s Session,
    cancelled: &'s AtomicBool,
    started: Instant,
    /// When the server last said anything.
    heard: Instant,
    /// Responses so far.
    responses: u64,
    breaks: u32,
    /// Streams without a response, one after the other.
    empty: u32,
}

/// Why there are no rows.
pub(super) struct Stop {
    error: Error,
    is_of_the_query: bool,
}

impl Stop {
    /// Is it the query that cannot be run, and not its connection?
    pub(super) fn is_of_the_query(&self) -> bool {
        self.is_of_the_query
    }

    pub(super) fn into_error(self) -> Error {
        self.error
    }

    fn trouble(finding: Finding) -> Stop {
        Error::environment(finding).into()
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop { error, is_of_the_query: false }
    }
}

/// How a stream ended.
enum End {
    /// With the last row.
    Complete,
    /// There is more: the server wants to be asked again.
    Pause,
    /// The connection broke.
    Broken(Box<SparkError>),
    /// Nothing comes any more.
    Silent,
    /// The server does not know the query.
    Forgotten,
}

impl<'s> Query<'s> {
    pub(super) fn new(session: &'s Session, cancelled: &'s AtomicBool) -> Query<'s> {
        let now = Instant::now();
        Query { session, cancelled, started: now, heard: now, responses: 0, breaks: 0, empty: 0 }
    }

    /// All rows of the query.
    pub(super) async fn rows(mut self, sql: &str) -> Result<Vec<RecordBatch>, Stop> {
        for _ in 0..=ANEW_MAX {
            let execution = Execution::new(self.session.request(sql));
            let ended = self.follow(&execution).await;
            self.session.part(&execution, matches!(ended, Ok(Some(_)))).await;
            if let Some(batches) = ended? {
                return Ok(batches);
            }
            tracing::info!("Spark has forgotten the query; it is run anew");
        }
        Err(Stop::trouble(findings::server_lost(&self.session.shown(), "it forgets the query")))
    }

    /// All rows of one execution; `None`: the server does not know it any more.
    async fn follow(&mut self, execution: &Execution) -> Result<Option<Vec<RecordBatch>>, Stop> {
        let mut batches = Batches::default();
        let (mut is_first, mut wait) = (true, WAIT.0);
        loop {
            let before = self.responses;
            let end = self.stream(execution, is_first, &mut batches).await?;
            is_first = false;
            match end {
                End::Complete => return batches.finish().map(Some).map_err(unfit),
                End::Forgotten => return Ok(None),
                End::Pause => self.heard = Instant::now(),
                End::Broken(cause) => {
                    fault::log(&cause);
                    self.breaks += 1;
                }
                End::Silent => self.session.redial().await,
            }
            if self.responses > before {
                (self.empty, wait) = (0, WAIT.0);
            } else {
                self.empty += 1;
                self.pause(wait).await?;
                wait = WAIT.1.min(wait * 2);
            }
            let limits = self.session.limits;
            let lost = |why| Stop::trouble(findings::server_lost(&self.session.shown(), why));
            if self.heard.elapsed() > limits.patience {
                return Err(lost("it does not answer any more"));
            }
            if self.breaks > BREAKS_MAX || self.empty > EMPTY_MAX {
                return Err(lost("the connection breaks again and again"));
            }
            tracing::debug!("the rest of the result is asked for");
        }
    }

    /// Asks for the result, or the rest of it, and takes what comes.
    async fn stream(
        &mut self,
        execution: &Execution,
        is_first: bool,
        batches: &mut Batches,
    ) -> Result<End, Stop> {
        let client = self.session.client();
        let call = async {
            let given = if is_first {
                client.execute_plan(execution.request().clone()).await
            } else {
                client.reattach_execute(execution.create_reattach_request().await).await
            };
            given.map_err(Box::new)
        };
        let mut stream = match self.listen(call).await? {
            Some(Ok(stream)) => stream,
            Some(Err(cause)) => return self.end_of(cause),
            None => return Ok(End::Silent),
        };
        loop {
            match self.listen(stream.message()).await? {
                Some(Ok(Some(response))) => {
                    self.take(&response, execution.operation_id(), batches)?;
                    execution.set_last_response_id(&response).await;
                    if execution.is_completed().await {
                        return Ok(End::Complete);
                    }
                }
                Some(Ok(None)) => return Ok(End::Pause),
                Some(Err(status)) => {
                    return self.end_of(Box::new(SparkError::from_grpc_status(status)));
                }
                None => return Ok(End::Silent),
            }
        }
    }

    fn take(
        &mut self,
        response: &ExecutePlanResponse,
        operation: &str,
        batches: &mut Batches,
    ) -> Result<(), Stop> {
        self.heard = Instant::now();
        self.responses += 1;
        let counts = match &response.response_type {
            Some(ResponseType::ArrowBatch(_) | ResponseType::ResultComplete(_)) => true,
            // Words on the progress may come without their origin.
            _ => !response.server_side_session_id.is_empty(),
        };
        if counts && !self.session.is_same(&response.session_id, &response.server_side_session_id) {
            return Err(fault::error(&session::changed(), &self.session.shown()).into());
        }
        if counts && response.operation_id != operation {
            return Err(unfit("it is of another query"));
        }
        match &response.response_type {
            Some(ResponseType::ArrowBatch(batch)) => batches.add(batch).map_err(unfit),
            _ => Ok(()),
        }
    }

    /// What a call gives; `None` if the server is not there any more, or forgets to answer.
    async fn listen<F: Future>(&mut self, call: F) -> Result<Option<F::Output>, Stop> {
        let limits = self.session.limits;
        let mut call = pin!(call);
        let began = Instant::now();
        loop {
            let left = limits.deadline.saturating_sub(self.started.elapsed());
            if left.is_zero() {
                let seconds = limits.deadline.as_secs();
                return Err(Stop::trouble(findings::query_endless(seconds)));
            }
            match within(limits.quiet.min(left), self.cancelled, call.as_mut()).await {
                Ok(given) => return Ok(Some(given)),
                Err(Late::Cancelled) => return Err(Error::cancelled().into()),
                Err(Late::Time) if left <= limits.quiet => continue,
                Err(Late::Time) => {}
            }
            if !self.session.word(self.cancelled).await? {
                return Ok(None);
            }
            self.heard = Instant::now();
            if began.elapsed() > STALE {
                return Ok(None);
            }
        }
    }

    /// What to do after an error.
    fn end_of(&self, cause: Box<SparkError>) -> Result<End, Stop> {
        match Fault::of(&cause) {
            Fault::Passing => Ok(End::Broken(cause)),
            Fault::Forgotten => {
                fault::log(&cause);
                Ok(End::Forgotten)
            }
            known => {
                let error = fault::error(&cause, &self.session.shown());
                Err(Stop { error, is_of_the_query: known == Fault::Query })
            }
        }
    }

    async fn pause(&self, wait: Duration) -> Result<(), Stop> {
        match within(wait, self.cancelled, std::future::pending::<()>()).await {
            Err(Late::Cancelled) => Err(Error::cancelled().into()),
            _ => Ok(()),
        }
    }
}

fn unfit(why: Unfit) -> Stop {
    Stop::trouble(findings::result_unfit(why))
}
