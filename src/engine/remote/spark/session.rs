//! One session on the server: its settings belong to it, so a query of another session would be
//! another query.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use spark_connect_core::channel::PARAM_SESSION_ID;
use spark_connect_core::{
    ChannelBuilder, ExecutePlanResponseReattachableIterator as Execution, RetryPolicy,
    SparkConnectClient, SparkError,
};
use spark_connect_proto::config_request::operation::OpType;
use spark_connect_proto::config_request::{Get, Operation, Set};
use spark_connect_proto::execute_plan_request::RequestOption;
use spark_connect_proto::execute_plan_request::request_option::RequestOption as Chosen;
use spark_connect_proto::interrupt_request::{Interrupt, InterruptType};
use spark_connect_proto::{
    ConfigRequest, ConfigResponse, ExecutePlanRequest, InterruptRequest, KeyValue, Plan,
    ReattachOptions, Relation, ResultChunkingOptions, Sql, UserContext, plan, relation,
};

use super::fault::{self, Fault};
use super::{Late, Limits, NAME, reach, shown, within};
use crate::error::{Error, Result};
use crate::findings;

/// What the SQL needs of its session.
const SETTINGS: [(&str, &str); 2] =
    [("spark.sql.ansi.enabled", "true"), ("spark.sql.session.timeZone", "UTC")];

/// A session, and the connection by which it is reached.
pub(super) struct Session {
    pub(super) limits: Limits,
    builder: ChannelBuilder,
    client: Mutex<Arc<SparkConnectClient>>,
    /// The session's id here.
    id: String,
    /// Its id on the server, from the first answer on: a new one would be of another session.
    server: OnceLock<String>,
}

impl Session {
    /// Finds the server, opens a session and sets it.
    pub(super) async fn open(
        mut builder: ChannelBuilder,
        limits: Limits,
        cancelled: &AtomicBool,
    ) -> Result<Session> {
        reach::listens(&builder, limits.reach, cancelled).await?;
        let client =
            dial(&builder).await.map_err(|cause| fault::error(&cause, &shown(&builder)))?;
        let id = client.session_id().to_owned();
        // For further connections.
        builder.set(PARAM_SESSION_ID, &id);
        let client = Mutex::new(Arc::new(client));
        let session = Session { limits, builder, client, id, server: OnceLock::new() };
        let first = within(limits.answer, cancelled, session.config(get())).await;
        session.answer(first).await?;
        let pair = |&(key, value): &(&str, &str)| KeyValue {
            key: key.to_owned(),
            value: Some(value.to_owned()),
        };
        let set = OpType::Set(Set { pairs: SETTINGS.iter().map(pair).collect(), ..Set::default() });
        let set = within(limits.answer, cancelled, session.config(set)).await;
        session.answer(set).await?;
        let read = within(limits.answer, cancelled, session.config(get())).await;
        let read = session.answer(read).await?;
        for (key, value) in SETTINGS {
            let is = |pair: &KeyValue| pair.key == key && pair.value.as_deref() == Some(value);
            if !read.pairs.iter().any(is) {
                let missing = format!("{key} = {value}");
                return Err(Error::invalid(findings::settings_missing(&missing)));
            }
        }
        Ok(session)
    }

    /// An answer to one of the first calls, or what to tell.
    async fn answer(
        &self,
        given: std::result::Result<Told<ConfigResponse>, Late>,
    ) -> Result<ConfigResponse> {
        match given {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(cause)) => Err(reach::first_answer(&self.builder, &cause)),
            Err(Late::Cancelled) => Err(Error::cancelled()),
            Err(Late::Time) => {
                let seconds = self.limits.answer.as_secs();
                Err(Error::environment(findings::server_silent(&self.shown(), seconds)))
            }
        }
    }

    pub(super) fn client(&self) -> Arc<SparkConnectClient> {
        Arc::clone(&self.client.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A new connection, to the same session.
    pub(super) async fn redial(&self) {
        match dial(&self.builder).await {
            Ok(client) => {
                *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(client);
            }
            Err(cause) => fault::log(&cause),
        }
    }

    /// As messages name the server.
    pub(super) fn shown(&self) -> String {
        shown(&self.builder)
    }

    /// Is what comes from this session, and from no later one of the same name?
    pub(super) fn is_same(&self, id: &str, server: &str) -> bool {
        id == self.id && self.server.get_or_init(|| server.to_owned()) == server
    }

    /// Is the server there?
    pub(super) async fn word(&self, cancelled: &AtomicBool) -> Result<bool> {
        match within(self.limits.word, cancelled, self.config(get())).await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(cause)) if Fault::of(&cause) == Fault::Passing => Ok(false),
            Ok(Err(cause)) => Err(fault::error(&cause, &self.shown())),
            Err(Late::Time) => Ok(false),
            Err(Late::Cancelled) => Err(Error::cancelled()),
        }
    }

    async fn config(&self, operation: OpType) -> Told<ConfigResponse> {
        let request = ConfigRequest {
            session_id: self.id.clone(),
            client_observed_server_side_session_id: self.server.get().cloned(),
            user_context: Some(self.user()),
            client_type: Some(NAME.to_owned()),
            operation: Some(Operation { op_type: Some(operation) }),
        };
        let response = self.client().config(request).await.map_err(Box::new)?;
        if !self.is_same(&response.session_id, &response.server_side_session_id) {
            return Err(Box::new(changed()));
        }
        Ok(response)
    }

    fn user(&self) -> UserContext {
        let user_id = self.builder.user_id().unwrap_or(NAME).to_owned();
        UserContext { user_name: user_id.clone(), user_id, ..UserContext::default() }
    }

    /// The query as the server takes it; its result can be asked for again after a pause, and
    /// batches may come in chunks.
    pub(super) fn request(&self, sql: &str) -> ExecutePlanRequest {
        let sql = Sql { query: sql.to_owned(), ..Sql::default() };
        let relation =
            Relation { rel_type: Some(relation::RelType::Sql(sql)), ..Relation::default() };
        let chunks = ResultChunkingOptions {
            allow_arrow_batch_chunking: true,
            preferred_arrow_chunk_size: self.limits.chunk,
        };
        let options = [
            Chosen::ReattachOptions(ReattachOptions { reattachable: true }),
            Chosen::ResultChunkingOptions(chunks),
        ];
        let option = |chosen| RequestOption { request_option: Some(chosen) };
        ExecutePlanRequest {
            session_id: self.id.clone(),
            client_observed_server_side_session_id: self.server.get().cloned(),
            user_context: Some(self.user()),
            plan: Some(Plan { op_type: Some(plan::OpType::Root(relation)) }),
            client_type: Some(NAME.to_owned()),
            request_options: options.into_iter().map(option).collect(),
            ..ExecutePlanRequest::default()
        }
    }

    /// Lets go of a query; of one that has not ended, stops it there too.
    pub(super) async fn part(&self, execution: &Execution, is_done: bool) {
        let client = self.client();
        let parting = async {
            if !is_done {
                let request = InterruptRequest {
                    session_id: self.id.clone(),
                    client_observed_server_side_session_id: self.server.get().cloned(),
                    user_context: Some(self.user()),
                    client_type: Some(NAME.to_owned()),
                    interrupt_type: InterruptType::OperationId.into(),
                    interrupt: Some(Interrupt::OperationId(execution.operation_id().to_owned())),
                };
                client.interrupt(request).await.map_err(Box::new)?;
            }
            let release = execution.create_release_request(true).await;
            client.release_execute(release).await.map_err(Box::new)
        };
        match tokio::time::timeout(self.limits.parting, parting).await {
            Ok(Ok(_)) => {}
            Ok(Err(cause)) => fault::log(&cause),
            Err(_) => tracing::debug!("Spark does not answer that a query is let go of"),
        }
    }

    /// Lets go of the session.
    pub(super) async fn close(&self) {
        let client = self.client();
        let closing = tokio::time::timeout(self.limits.parting, client.release_session());
        if let Ok(Err(cause)) = closing.await {
            fault::log(&cause);
        }
    }
}

/// What the server tells, or its error.
type Told<T> = std::result::Result<T, Box<SparkError>>;

/// A client that retries nothing by itself, as it would do so for ten minutes.
async fn dial(builder: &ChannelBuilder) -> Told<SparkConnectClient> {
    let mut client = SparkConnectClient::connect(builder).await.map_err(Box::new)?;
    client.set_retry_policy(RetryPolicy::no_retries());
    Ok(client)
}

fn get() -> OpType {
    OpType::Get(Get { keys: SETTINGS.iter().map(|&(key, _)| key.to_owned()).collect() })
}

/// The error that a server sends, too, when it notices.
pub(super) fn changed() -> SparkError {
    let mut cause = SparkError::connect_msg("the server-side session id is another");
    cause.error_class = "INVALID_HANDLE.SESSION_CHANGED".to_owned();
    cause
}
