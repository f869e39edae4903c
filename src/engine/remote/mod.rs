//! The engine that has the plan's SQL run where the payments are.
//!
//! A `Client` sends the query of [`super::sql`] and brings its rows; they are checked as totals
//! that come in a file (`engine::given`). What a server says in words may quote records, so it is
//! logged and never part of a message.

#[cfg(feature = "adbc")]
mod adbc;
#[cfg(feature = "spark")]
pub(super) mod spark;
#[cfg(feature = "adbc")]
mod spill;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::RecordBatch;

use super::given::Answer;
use super::sql::Query;
use super::{Engine, ExactTotals, Settle};
use crate::error::{Error, Result};
use crate::findings::{self, TotalsOf};
use crate::job::{Server, TableSource};
use crate::plan::Plan;

/// A database or cluster that runs the plan's SQL.
pub(crate) trait Client {
    /// All rows that a query gives, in the order of arrival. Ends within seconds when `cancelled`,
    /// and stops the query there too.
    ///
    /// # Errors
    /// No connection, a query that fails (`query-failed`), or Ctrl-C.
    fn rows(&self, sql: &str, cancelled: &AtomicBool) -> Result<Vec<RecordBatch>>;
}

/// The run that asks.
#[derive(Clone, Copy)]
pub struct Asker<'a> {
    /// Set to stop soon.
    pub cancelled: &'a AtomicBool,
    /// Where a database of this process may write what does not fit in memory, in a folder of its
    /// own.
    pub spill_folder: &'a Path,
    /// Takes what the user is to know at once.
    pub note: &'a dyn Fn(&str),
}

/// The engine that has the plan's SQL run where the payments are.
pub struct Remote<'a> {
    client: Box<dyn Client>,
    table: &'a TableSource,
    server: &'a Server,
    asker: Asker<'a>,
    pauses: [Duration; 3],
}

impl<'a> Remote<'a> {
    /// The engine for a table and its server. Connects to nothing yet.
    ///
    /// # Errors
    /// This program was built without it, or lacks a secret, a driver or a folder.
    pub fn new(table: &'a TableSource, server: &'a Server, asker: Asker<'a>) -> Result<Remote<'a>> {
        let client = client(server, asker.spill_folder).map_err(|error| placed(error, server))?;
        Ok(Remote { client, table, server, asker, pauses: PAUSES })
    }

    /// Asks for no row of the table, with the columns that the job needs, and for their types:
    /// before anything is charged.
    ///
    /// # Errors
    /// All of the plan that has no SQL; no connection, no table, another column, or of another
    /// type.
    pub fn is_there(&self, plan: &Plan) -> Result<()> {
        let query = Query::next(plan, self.server.dialect())?;
        let unreadable = |error: Error| match error.findings() {
            [finding] if finding.code() == "query-failed" => {
                let why = finding.message().split_once(": ").map_or("", |(_, why)| why);
                let finding = findings::table_unreadable(&self.table.shown(), why);
                Error::invalid(finding.at(self.table.span.clone()))
            }
            _ => error,
        };
        let rows = self.rows(&query.look()).map_err(unreadable)?;
        let table = self.table.shown();
        Answer { query: &query, of: TotalsOf::Table(&table) }.check_look(plan, &rows)
    }

    pub(super) fn rows(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        let rows = self.client.rows(sql, self.asker.cancelled);
        if self.asker.cancelled.load(Ordering::Relaxed) {
            return Err(Error::cancelled());
        }
        rows.map_err(|error| placed(error, self.server))
    }

    /// What a query brings. Where the price `is_paid`, Ctrl-C is not heard, and if the connection
    /// is lost, the query is sent again after a while, as giving up would lose the price. Not so if
    /// what comes back is not whole: single payments could decide that, and which try counts must
    /// not depend on them.
    fn ask<T>(
        &self,
        query: &Query,
        is_paid: bool,
        take: impl Fn(&Answer, &[RecordBatch]) -> Result<T>,
    ) -> Result<T> {
        let table = self.table.shown();
        let answer = Answer { query, of: TotalsOf::Table(&table) };
        if !is_paid {
            return take(&answer, &self.rows(query.text())?);
        }
        let ask = || {
            let rows = self.client.rows(query.text(), &NEVER);
            take(&answer, &rows.map_err(|error| placed(error, self.server))?)
        };
        let mut tried = ask();
        for pause in self.pauses {
            let Some(code) = tried.as_ref().err().and_then(passing) else { break };
            (self.asker.note)(&format!(
                "no rows came ({code}), and the price is paid: the query is sent again in {} seconds",
                pause.as_secs()
            ));
            std::thread::sleep(pause);
            tried = ask();
        }
        tried
    }
}

static NEVER: AtomicBool = AtomicBool::new(false);

/// The code of an error of the connection, which the same query may not meet again.
fn passing(error: &Error) -> Option<&'static str> {
    const PASSING: [&str; 3] = ["server-unreachable", "server-silent", "server-lost"];
    let code = error.findings().first()?.code();
    PASSING.contains(&code).then_some(code)
}

/// How long to wait before the query is sent again, once the price is paid.
const PAUSES: [Duration; 3] =
    [Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(120)];

impl Engine for Remote<'_> {
    fn totals(&self, plan: &Plan, settle: Settle) -> Result<(Plan, ExactTotals)> {
        let dialect = self.server.dialect();
        let (mut plan, mut is_paid) = (plan.clone(), false);
        while !plan.is_settled() {
            let query = Query::next(&plan, dialect)?;
            let asked = self.ask(&query, is_paid, |answer, rows| answer.asked_of(&plan, rows))?;
            let what = if plan.is_seeking() { "looked for keys" } else { "surveyed" };
            tracing::info!("users {what}");
            plan = settle(asked)?;
            is_paid = true;
        }
        let query = Query::next(&plan, dialect)?;
        self.ask(&query, is_paid, |answer, rows| answer.totals_of(&plan, rows))
    }
}

/// What speaks with a server.
#[cfg_attr(not(feature = "adbc"), expect(unused_variables, reason = "only databases write files"))]
fn client(server: &Server, spill_folder: &Path) -> Result<Box<dyn Client>> {
    let built: Option<Box<dyn Client>> = match server {
        #[cfg(feature = "adbc")]
        Server::Adbc(adbc) => Some(Box::new(adbc::Adbc::new(adbc, spill_folder)?)),
        #[cfg(not(feature = "adbc"))]
        Server::Adbc(_) => None,
        #[cfg(feature = "spark")]
        Server::Spark(spark) => Some(Box::new(spark::Spark::new(spark)?)),
        #[cfg(not(feature = "spark"))]
        Server::Spark(_) => None,
    };
    built.ok_or_else(|| Error::invalid(findings::engine_not_built(server.engine())))
}

/// Shown where the job names the server, unless it is about another place.
fn placed(error: Error, server: &Server) -> Error {
    let at = |finding: findings::Finding| match finding.span() {
        None => finding.at(server.span()),
        Some(_) => finding,
    };
    if error.class() == crate::error::ErrorClass::Cancelled { error } else { error.map(at) }
}
