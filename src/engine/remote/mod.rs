//! The engine that has the plan's SQL run where the payments are.
//!
//! A [`Client`] sends the query of [`super::sql`] and brings its rows; they are checked as totals
//! that come in a file (`engine::given`). What a server says in words may quote records, so it is
//! logged and never part of a message.

#[cfg(feature = "adbc")]
mod adbc;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};

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

/// The engine that has the plan's SQL run where the payments are.
pub struct Remote<'a> {
    client: Box<dyn Client>,
    table: &'a TableSource,
    server: &'a Server,
    /// Set to stop soon.
    cancelled: &'a AtomicBool,
}

impl<'a> Remote<'a> {
    /// The engine for a table and its server. Connects to nothing yet.
    ///
    /// # Errors
    /// This program was built without it, or lacks a secret or a driver.
    pub fn new(
        table: &'a TableSource,
        server: &'a Server,
        cancelled: &'a AtomicBool,
    ) -> Result<Remote<'a>> {
        let client = client(server).map_err(|error| placed(error, server))?;
        Ok(Remote { client, table, server, cancelled })
    }

    /// Asks for no row of the table, with the columns that the job needs: before anything is
    /// charged.
    ///
    /// # Errors
    /// All of the plan that has no SQL; no connection, no table, another column.
    pub fn is_there(&self, plan: &Plan) -> Result<()> {
        let query = Query::new(plan, self.server.dialect())?;
        let unreadable = |error: Error| match error.findings() {
            [finding] if finding.code() == "query-failed" => {
                let why = finding.message().split_once(": ").map_or("", |(_, why)| why);
                let finding = findings::table_unreadable(&self.table.shown(), why);
                Error::invalid(finding.at(self.table.span.clone()))
            }
            _ => error,
        };
        self.rows(&query.look()).map_err(unreadable)?;
        Ok(())
    }

    pub(super) fn rows(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        let rows = self.client.rows(sql, self.cancelled);
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(Error::cancelled());
        }
        rows.map_err(|error| placed(error, self.server))
    }
}

impl Engine for Remote<'_> {
    fn totals(&self, plan: &Plan, _: Settle) -> Result<(Plan, ExactTotals)> {
        let query = Query::new(plan, self.server.dialect())?;
        let batches = self.rows(query.text())?;
        let table = self.table.shown();
        Answer { query: &query, of: TotalsOf::Table(&table) }.totals_of(plan, &batches)
    }
}

/// What speaks with a server.
fn client(server: &Server) -> Result<Box<dyn Client>> {
    let built: Option<Box<dyn Client>> = match server {
        #[cfg(feature = "adbc")]
        Server::Adbc(adbc) => Some(Box::new(adbc::Adbc::new(adbc)?)),
        #[cfg(not(feature = "adbc"))]
        Server::Adbc(_) => None,
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
