//! Reading: from files to valid payments.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::sync_channel;

use polars::prelude::{
    DataFrame, DataType, Engine, Expr, IntoLazy, LazyFrame, PlSmallStr, PlanCallback, PolarsError,
    Schema,
};
use polars_plan::utils::expr_to_leaf_column_names;

use super::batch::{Batch, Rows};
use super::columns;
use super::convert::{AMOUNT_TYPES, TIME_TYPES, is_amount, is_time};
use super::parts::{PartReader, parts};
use super::progress::{Meter, ScanControl};
use super::quarantine::{Quarantine, Reason};
use super::sinks::{Counts, Intake};
use super::source::{Files, type_name};
use crate::error::{Error, Result};
use crate::findings::{self, Columns, Finding};
use crate::job::{PaymentsSource, SqlExpression};
use crate::parallel::lock;
use crate::plan::Plan;

/// Payments that are ready to be read: files found, columns checked.
pub struct Scan<'p> {
    plan: &'p Plan,
    files: Files,
    /// All columns of all files.
    table: LazyFrame,
    /// Which rows are wanted,
    filter: Option<Expr>,
    /// and what of each.
    select: Vec<Expr>,
    names: Vec<String>,
    /// The columns of the files that are needed for it.
    used: Vec<PlSmallStr>,
}

impl<'p> Scan<'p> {
    /// Finds the files and checks their columns against the job; reads no rows.
    ///
    /// # Errors
    /// Every fault of files, columns and types, under the line of the job that names them.
    pub fn open(plan: &'p Plan) -> Result<Scan<'p>> {
        let source = &plan.job.payments;
        if let Some(table) = &source.table {
            let finding = findings::totals_missing(&table.shown()).at(table.span.clone());
            return Err(Error::invalid(finding));
        }
        let files = Files::find(source).map_err(Error::invalid_all)?;
        let odd = columns::unreadable(&files);
        if !odd.is_empty() {
            let odd = odd.into_iter().map(|finding| finding.at(source.span.clone()));
            return Err(Error::invalid_all(odd.collect()));
        }
        let table = files.scan(&source.csv);
        let schema = match table.and_then(|mut table| table.collect_schema()) {
            Ok(schema) => schema,
            Err(cause) => return Err(unreadable_one(&files, &cause, source)),
        };
        let values = columns::of_values(&schema);
        let mut findings = Vec::new();
        let expressions = expressions(plan);
        let known = columns::nameable(&files, &schema, source);
        for (key, expression) in &expressions {
            findings.extend(check(key, expression, &values, source, &known));
        }
        if let Some(filter) = &source.filter {
            findings.extend(check("where", filter, &values, source, &known));
        }
        if !matches!(known, Columns::Named(_)) {
            // All that are missing are so for the same reason.
            let mut first = true;
            let mut is_first = || std::mem::take(&mut first);
            findings.retain(|finding: &Finding| finding.code() != "column-missing" || is_first());
        }
        findings.extend(columns::unmapped_currency(source, &schema, None));
        let used = used_columns(source, &expressions);
        if findings.is_empty() {
            findings = columns::differing(&files, &schema, &used, source);
            findings.extend(columns::twice(&files, &used, source));
        }
        if !findings.is_empty() {
            return Err(Error::invalid_all(findings));
        }
        let table = files.scan_used(&used, source).map_err(|cause| unreadable(&cause, source))?;
        let decoded = |e: &SqlExpression| columns::decoded(e.expr.clone(), &schema);
        let filter = source.filter.as_ref().map(decoded);
        let select = expressions.iter().map(|(name, e)| selected(name, decoded(e))).collect();
        let names = expressions.into_iter().map(|(name, _)| name).collect();
        Ok(Scan { plan, files, table, filter, select, names, used })
    }

    /// Size of all files together, in bytes.
    pub fn bytes(&self) -> u64 {
        self.files.bytes
    }

    /// How many files.
    pub fn files(&self) -> usize {
        self.files.paths.len()
    }

    /// Reads everything in about `memory` bytes and hands each batch of valid payments to one of
    /// `sinks`, each of which works on a thread of its own; in no particular order. Bad rows go to
    /// quarantine.
    ///
    /// # Errors
    /// A file that cannot be read to its end or changes meanwhile, too many bad rows, Ctrl-C, or
    /// what a sink returns.
    pub fn run<S>(self, control: ScanControl, memory: u64, sinks: Vec<S>) -> Result<()>
    where
        S: FnMut(&Batch) -> Result<()> + Send,
    {
        let job = &self.plan.job;
        let source = &job.payments;
        let mut quarantine = Quarantine::new(&source.quarantine, &job.id, self.names.clone())?;
        let groups = self.files.row_groups(&self.used);
        let meter = Meter::new(control, self.bytes(), groups.as_deref());
        let rows = Rows::new(self.plan, &self.names);
        let parts = groups.and_then(|groups| parts(&groups, memory, sinks.len()));
        let intake = Intake { rows: &rows, meter: &meter, quarantine: &mut quarantine, sinks };
        let counts = match parts {
            Some(parts) => {
                let reader = PartReader::new(&self.files.paths, parts, |path| {
                    self.files.scan_one(path, &source.csv)
                });
                let next = || match reader.next(|table| self.wanted(table))? {
                    Ok(table) => Some(table.map_err(|cause| unreadable(&cause, source))),
                    Err(_) => Some(Err(reader_failed(source))),
                };
                intake.take_all(next)
            }
            None => self.stream(intake),
        };
        // Of files that changed the reader may have said anything.
        if let Some(finding) = self.files.changed() {
            return Err(Error::invalid(finding.at(source.span.clone())));
        }
        let Counts { rows, good } = counts?;
        quarantine.finish()?;
        let bad = quarantine.rows() as f64;
        if bad > source.max_bad_share * (good as f64 + bad) {
            let most = quarantine.most().map_or("", Reason::text);
            let (share, file) = (source.max_bad_share, quarantine.file());
            let finding = findings::bad_rows_too_many(share, most, file);
            return Err(Error::invalid(finding.at(source.span.clone())));
        }
        if rows > 0 && good == 0 {
            let (first, last) = (source.period.first(), source.period.last());
            let finding = findings::rows_all_left_out(&first, &last).at(source.span.clone());
            return Err(Error::invalid(finding));
        }
        Ok(())
    }

    /// Of a table of payments, the rows and columns that the job wants.
    fn wanted(&self, table: LazyFrame) -> LazyFrame {
        let table = match &self.filter {
            Some(filter) => table.filter(filter.clone()),
            None => table,
        };
        table.select(&self.select)
    }

    /// Reads all files by one query on all threads.
    fn stream<S: FnMut(&Batch) -> Result<()> + Send>(&self, intake: Intake<S>) -> Result<Counts> {
        let source = &self.plan.job.payments;
        let (sender, receiver) = sync_channel(intake.sinks.len());
        let callback = PlanCallback::new(move |table: DataFrame| {
            // The receiver is gone when reading stops early: ask polars to stop too.
            Ok(sender.send(table).is_err())
        });
        let query = self.wanted(self.table.clone()).sink_batches(callback, false, None);
        let query = query.map_err(|cause| unreadable(&cause, source))?;
        std::thread::scope(|scope| {
            #[expect(clippy::disallowed_methods, reason = "reads records, in `payments`")]
            let reader = scope.spawn(|| query.collect_with_engine(Engine::Streaming).map(drop));
            let receiver = Mutex::new(receiver);
            let next = move || lock(&receiver).recv().ok().map(Ok);
            let counts = intake.take_all(next);
            // A reader that failed or panicked must not look like the end of the data.
            let read = reader.join();
            let counts = counts?;
            match read {
                Ok(Ok(())) => Ok(counts),
                Ok(Err(cause)) => Err(unreadable(&cause, source)),
                Err(_) => Err(reader_failed(source)),
            }
        })
    }
}

/// The expressions of a record, with the names of their columns.
fn expressions(plan: &Plan) -> Vec<(String, &SqlExpression)> {
    let source = &plan.job.payments;
    let mut all = vec![
        ("user".to_owned(), &source.user),
        ("time".to_owned(), &source.time),
        ("amount".to_owned(), &source.amount),
    ];
    all.extend(source.merchant.as_ref().map(|e| ("merchant".to_owned(), e)));
    all.extend(source.currency.as_ref().map(|e| ("currency".to_owned(), e)));
    for (name, expression) in &source.columns {
        if plan.columns.contains(name) {
            all.push((name.clone(), expression));
        }
    }
    all
}

fn is_text_like(dtype: &DataType) -> bool {
    *dtype == DataType::String || dtype.is_integer()
}

/// What is wrong with one expression on these columns.
fn check(
    key: &str,
    expression: &SqlExpression,
    schema: &Schema,
    source: &PaymentsSource,
    known: &Columns,
) -> Vec<Finding> {
    let missing: Vec<Finding> = expr_to_leaf_column_names(&expression.expr)
        .into_iter()
        .filter(|name| !schema.contains(name))
        .map(|name| findings::column_missing(key, &name, known).at(expression.span.clone()))
        .collect();
    if !missing.is_empty() {
        return missing;
    }
    // On a table of these columns without rows, so that no message can quote one.
    let none = DataFrame::empty_with_schema(schema).lazy();
    #[expect(clippy::disallowed_methods, reason = "a table without rows")]
    let typed = none.select([expression.expr.clone().alias("x")]).collect();
    let dtype = match typed.as_ref().map(|table| table.schema().get("x").cloned()) {
        Ok(dtype) => dtype.unwrap_or(DataType::Null),
        Err(cause) => {
            let cause = first_line(cause);
            return vec![findings::expression_unfit(key, &cause).at(expression.span.clone())];
        }
    };
    let (fits, wanted) = match key {
        "time" => (is_time(&dtype), TIME_TYPES),
        "amount" => (is_amount(&dtype), AMOUNT_TYPES),
        "where" => (dtype == DataType::Boolean, "true or false"),
        "user" | "merchant" => (is_text_like(&dtype), "text or a whole number"),
        _ => (is_text_like(&dtype) || dtype == DataType::Boolean, "text or a whole number"),
    };
    if !fits {
        let finding =
            findings::column_type_wrong(key, &type_name(&dtype), wanted, dtype == DataType::Binary);
        return vec![finding.at(expression.span.clone())];
    }
    if key == "time" && dtype == DataType::String && source.time_format.is_none() {
        return vec![findings::time_format_missing().at(expression.span.clone())];
    }
    Vec::new()
}

/// The columns of the files that a job needs.
fn used_columns(
    source: &PaymentsSource,
    expressions: &[(String, &SqlExpression)],
) -> Vec<PlSmallStr> {
    let all = expressions.iter().map(|(_, e)| *e).chain(&source.filter);
    all.flat_map(|e| expr_to_leaf_column_names(&e.expr)).collect()
}

/// Names the first file that cannot be read by itself.
fn unreadable_one(files: &Files, cause: &PolarsError, source: &PaymentsSource) -> Error {
    let read = |path: &PathBuf| {
        let schema = files.schema(path, source);
        schema.err().map(|cause| unreadable_file(path, &cause))
    };
    match files.paths.iter().find_map(read) {
        Some(finding) => Error::invalid(finding.at(source.span.clone())),
        None => unreadable(cause, source),
    }
}

pub(super) fn unreadable_file(path: &Path, cause: &PolarsError) -> Finding {
    tracing::debug!("{cause}");
    findings::file_damaged(path, &kind_of(cause))
}

fn selected(name: &str, expr: Expr) -> Expr {
    let expr = expr.alias(name);
    match name {
        "time" | "amount" => expr,
        _ => expr.cast(DataType::String),
    }
}

/// polars' errors may quote values of records: show their kind only, all with -v.
pub(super) fn unreadable(cause: &PolarsError, source: &PaymentsSource) -> Error {
    tracing::debug!("{cause}");
    Error::invalid(findings::payments_unreadable(&kind_of(cause)).at(source.span.clone()))
}

/// The reader panicked; polars has no error for some damaged files.
fn reader_failed(source: &PaymentsSource) -> Error {
    Error::invalid(findings::payments_unreadable("the reader failed").at(source.span.clone()))
}

fn kind_of(cause: &PolarsError) -> String {
    match cause {
        PolarsError::ColumnNotFound(_) => "a column is missing".to_owned(),
        PolarsError::IO { error, .. } => match error.kind() {
            std::io::ErrorKind::Other => "a file is damaged or cut off".to_owned(),
            kind => kind.to_string(),
        },
        PolarsError::SchemaMismatch(_) | PolarsError::SchemaFieldNotFound(_) => {
            "the files' columns differ".to_owned()
        }
        PolarsError::ComputeError(text) if text.contains("found more fields than") => {
            "a line of a CSV file has more fields than its first line".to_owned()
        }
        PolarsError::NoData(_) => "a file has no columns".to_owned(),
        other if says_utf8(other) => "a text is not UTF-8".to_owned(),
        _ => "a file is damaged or of another format".to_owned(),
    }
}

/// Errors of texts are of several kinds, perhaps with a context, and write it in two ways.
fn says_utf8(cause: &PolarsError) -> bool {
    let text = cause.to_string().to_lowercase();
    text.contains("utf-8") || text.contains("utf8")
}

fn first_line(cause: &PolarsError) -> String {
    cause.to_string().lines().next().unwrap_or_default().to_owned()
}
