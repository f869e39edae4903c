//! Reading: from files to valid payments.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::ScopedJoinHandle;

use polars::prelude::{
    DataFrame, DataType, Engine, Expr, IntoLazy, LazyFrame, PlanCallback, PolarsError, Schema,
};
use polars_plan::utils::expr_to_leaf_column_names;

use super::batch::{Batch, Fault, Rows};
use super::convert::{AMOUNT_TYPES, TIME_TYPES, is_amount, is_time};
use super::quarantine::Quarantine;
use super::source::{Files, type_name};
use crate::error::{Error, Result};
use crate::findings::{self, Finding};
use crate::job::{PaymentsSource, SqlExpression};
use crate::plan::Plan;

/// How a run can be watched and stopped.
#[derive(Clone, Copy)]
pub struct ScanControl<'a> {
    /// Set to stop soon.
    pub cancelled: &'a AtomicBool,
    /// Called now and then from any thread; for the operator's terminal only.
    pub progress: &'a (dyn Fn(Progress) + Sync),
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Bytes of the files.
    Read {
        /// Read so far.
        bytes: u64,
        /// All.
        of: u64,
    },
    /// Partitions of the users.
    Fitted {
        /// Done so far.
        partitions: usize,
        /// All.
        of: usize,
    },
}

/// Payments that are ready to be read: files found, columns checked.
pub struct Scan<'p> {
    plan: &'p Plan,
    files: Files,
    table: LazyFrame,
    names: Vec<String>,
}

impl<'p> Scan<'p> {
    /// Finds the files and checks their columns against the job; reads no rows.
    ///
    /// # Errors
    /// Every fault of files, columns and types, under the line of the job that names them.
    pub fn open(plan: &'p Plan) -> Result<Scan<'p>> {
        let source = &plan.job.payments;
        let files = Files::find(source).map_err(Error::invalid_all)?;
        let table = files.scan(&source.csv);
        let schema = table.and_then(|mut table| Ok((table.collect_schema()?, table)));
        let (schema, table) = match schema {
            Ok(found) => found,
            Err(cause) => return Err(unreadable_one(&files, &cause, source)),
        };
        let mut findings = Vec::new();
        let expressions = expressions(plan);
        for (key, expression) in &expressions {
            findings.extend(check(key, expression, &schema, source, files.is_csv()));
        }
        if let Some(filter) = &source.filter {
            findings.extend(check("where", filter, &schema, source, files.is_csv()));
        }
        findings.extend(unmapped_currency(source, &schema));
        if findings.is_empty() {
            findings.extend(differing_file(&files, &table, source, &expressions));
        }
        if !findings.is_empty() {
            return Err(Error::invalid_all(findings));
        }
        let table = match &source.filter {
            Some(filter) => table.filter(filter.expr.clone()),
            None => table,
        };
        let select: Vec<Expr> =
            expressions.iter().map(|(name, e)| selected(name, e, source)).collect();
        let names = expressions.into_iter().map(|(name, _)| name).collect();
        Ok(Scan { plan, files, table: table.select(select), names })
    }

    /// Size of all files together, in bytes.
    pub fn bytes(&self) -> u64 {
        self.files.bytes
    }

    /// How many files.
    pub fn files(&self) -> usize {
        self.files.paths.len()
    }

    /// Reads everything and hands each batch of valid payments to one of `sinks`, each of which
    /// works on a thread of its own; in no particular order. Bad rows go to quarantine.
    ///
    /// # Errors
    /// A file that cannot be read to its end or changes meanwhile, too many bad rows, Ctrl-C, or
    /// what a sink returns.
    pub fn run<S>(self, control: ScanControl, sinks: Vec<S>) -> Result<()>
    where
        S: FnMut(&Batch) -> Result<()> + Send,
    {
        let job = &self.plan.job;
        let source = &job.payments;
        let mut quarantine = Quarantine::new(&source.quarantine, &job.id, self.names.clone())?;
        let meter = Meter::new(&self, control);
        let (sender, receiver) = sync_channel(sinks.len());
        let callback = PlanCallback::new(move |table: DataFrame| {
            // The receiver is gone when reading stops early: ask polars to stop too.
            Ok(sender.send(table).is_err())
        });
        let query = self.table.sink_batches(callback, false, None);
        let query = query.map_err(|cause| unreadable(&cause, source))?;
        let rows = Rows::new(self.plan, &self.names);
        let good = std::thread::scope(|scope| {
            #[expect(clippy::disallowed_methods, reason = "the one place that reads records")]
            let reader = scope.spawn(|| query.collect_with_engine(Engine::Streaming).map(drop));
            let good = take_all(receiver, &rows, &meter, &mut quarantine, sinks);
            // A reader that failed or panicked must not look like the end of the data.
            let read = reader.join();
            let good = good?;
            match read {
                Ok(Ok(())) => Ok(good),
                Ok(Err(cause)) => Err(unreadable(&cause, source)),
                Err(_) => {
                    let finding = findings::payments_unreadable("the reader failed");
                    Err(Error::invalid(finding.at(source.span.clone())))
                }
            }
        });
        // Of files that changed the reader may have said anything.
        if let Some(finding) = self.files.changed() {
            return Err(Error::invalid(finding.at(source.span.clone())));
        }
        let good = good?;
        quarantine.finish()?;
        let bad = quarantine.rows() as f64;
        if bad > source.max_bad_share * (good as f64 + bad) {
            let folder = quarantine.folder();
            return Err(Error::invalid(findings::bad_rows_too_many(source.max_bad_share, folder)));
        }
        Ok(())
    }
}

/// Spreads the tables over the sinks; returns how many rows were good.
fn take_all<S>(
    receiver: Receiver<DataFrame>,
    rows: &Rows,
    meter: &Meter,
    quarantine: &mut Quarantine,
    sinks: Vec<S>,
) -> Result<u64>
where
    S: FnMut(&Batch) -> Result<()> + Send,
{
    let (receiver, quarantine) = (Mutex::new(receiver), Mutex::new(quarantine));
    let stopped = AtomicBool::new(false);
    let source = &rows.plan().job.payments;
    let next = || lock(&receiver).recv().ok();
    let work = |mut sink: S| -> Result<u64> {
        let mut good = 0;
        while let Some(mut table) = next() {
            if stopped.load(Ordering::Relaxed) {
                break;
            }
            meter.check()?;
            let height = table.height();
            let batch =
                rows.batch(&mut table, |reason, values| lock(&quarantine).add(reason, &values));
            let batch = batch.map_err(|fault| match fault {
                Fault::Reader(cause) => unreadable(&cause, source),
                Fault::Quarantine(error) => error,
            })?;
            drop(table);
            good += batch.len() as u64;
            sink(&batch)?;
            meter.advance(height);
        }
        Ok(good)
    };
    let work = |sink: S| work(sink).inspect_err(|_| stopped.store(true, Ordering::Relaxed));
    std::thread::scope(|scope| {
        let work = &work;
        let workers: Vec<_> =
            sinks.into_iter().map(|sink| scope.spawn(move || work(sink))).collect();
        let join = |worker: ScopedJoinHandle<Result<u64>>| {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        // All are joined before the first error is returned.
        let results: Vec<Result<u64>> = workers.into_iter().map(join).collect();
        results.into_iter().sum()
    })
}

/// How far the scan is, in bytes of the files.
///
/// Parquet files say how many rows they hold, so a row stands for its share of the bytes; rows
/// that `where` leaves out are counted when the end is reached. Of other files only the end shows.
struct Meter<'a> {
    control: ScanControl<'a>,
    rows: AtomicU64,
    bytes_per_row: f64,
    bytes: u64,
}

impl<'a> Meter<'a> {
    fn new(scan: &Scan, control: ScanControl<'a>) -> Self {
        let (bytes, rows) = (scan.bytes(), scan.files.rows());
        let bytes_per_row = rows.map_or(0.0, |rows| bytes as f64 / rows.max(1) as f64);
        Meter { control, rows: AtomicU64::new(0), bytes_per_row, bytes }
    }

    fn check(&self) -> Result<()> {
        let cancelled = self.control.cancelled.load(Ordering::Relaxed);
        if cancelled { Err(Error::cancelled()) } else { Ok(()) }
    }

    fn advance(&self, rows: usize) {
        let rows = self.rows.fetch_add(rows as u64, Ordering::Relaxed) + rows as u64;
        let bytes = (rows as f64 * self.bytes_per_row) as u64;
        (self.control.progress)(Progress::Read { bytes: bytes.min(self.bytes), of: self.bytes });
    }
}

/// A lock that no holder leaves poisoned: their panic ends the run.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    matches!(dtype, DataType::String | DataType::Categorical(..) | DataType::Enum(..))
        || dtype.is_integer()
}

/// What is wrong with one expression on these columns.
fn check(
    key: &str,
    expression: &SqlExpression,
    schema: &Schema,
    source: &PaymentsSource,
    is_csv: bool,
) -> Vec<Finding> {
    // Of a text file without a header the names would be a record.
    let names = schema.iter_names().filter(|_| !is_csv);
    let known: Vec<&str> = names.map(|name| name.as_str()).collect();
    let missing: Vec<Finding> = expr_to_leaf_column_names(&expression.expr)
        .into_iter()
        .filter(|name| !schema.contains(name))
        .map(|name| findings::column_missing(key, &name, &known).at(expression.span.clone()))
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
        let finding = findings::column_type_wrong(key, &type_name(&dtype), wanted);
        return vec![finding.at(expression.span.clone())];
    }
    if key == "time" && dtype == DataType::String && source.time_format.is_none() {
        return vec![findings::time_format_missing().at(expression.span.clone())];
    }
    Vec::new()
}

fn unmapped_currency(source: &PaymentsSource, schema: &Schema) -> Option<Finding> {
    if source.currency.is_some() {
        return None;
    }
    let column = schema.iter_names().find(|name| {
        ["currency", "currency_code", "ccy"].contains(&name.to_ascii_lowercase().as_str())
    })?;
    Some(findings::currency_not_mapped(column).at(source.amount.span.clone()))
}

/// The first file whose used columns differ from the first file's.
fn differing_file(
    files: &Files,
    table: &LazyFrame,
    source: &PaymentsSource,
    expressions: &[(String, &SqlExpression)],
) -> Option<Finding> {
    let wanted = table.clone().collect_schema().ok()?;
    let filter = source.filter.iter();
    let used: Vec<_> = expressions
        .iter()
        .map(|(_, e)| *e)
        .chain(filter)
        .flat_map(|e| expr_to_leaf_column_names(&e.expr))
        .collect();
    files.paths.iter().skip(1).find_map(|path| {
        let schema = files.scan_one(path, &source.csv).and_then(|mut t| t.collect_schema());
        let schema = match schema {
            Ok(schema) => schema,
            Err(cause) => return Some(unreadable_file(path, &cause)),
        };
        used.iter().find_map(|name| {
            let (found, wanted) = (schema.get(name), wanted.get(name)?);
            if found == Some(wanted) {
                return None;
            }
            let found = found.map_or("missing".to_owned(), type_name);
            let finding = findings::schema_differs(path, name, &found, &type_name(wanted));
            Some(finding.at(source.span.clone()))
        })
    })
}

/// Names the first file that cannot be read by itself.
fn unreadable_one(files: &Files, cause: &PolarsError, source: &PaymentsSource) -> Error {
    let read = |path: &PathBuf| {
        let schema = files.scan_one(path, &source.csv).and_then(|mut t| t.collect_schema());
        schema.err().map(|cause| unreadable_file(path, &cause))
    };
    match files.paths.iter().find_map(read) {
        Some(finding) => Error::invalid(finding.at(source.span.clone())),
        None => unreadable(cause, source),
    }
}

fn unreadable_file(path: &Path, cause: &PolarsError) -> Finding {
    tracing::debug!("{cause}");
    findings::file_damaged(path, &kind_of(cause))
}

fn selected(name: &str, expression: &SqlExpression, source: &PaymentsSource) -> Expr {
    let expr = expression.expr.clone().alias(name);
    match name {
        "time" | "amount" => expr,
        _ if std::ptr::eq(expression, &source.amount) => expr,
        _ => expr.cast(DataType::String),
    }
}

/// polars' errors may quote values of records: show their kind only, all with -v.
fn unreadable(cause: &PolarsError, source: &PaymentsSource) -> Error {
    tracing::debug!("{cause}");
    Error::invalid(findings::payments_unreadable(&kind_of(cause)).at(source.span.clone()))
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
        PolarsError::ComputeError(text) if text.to_lowercase().contains("utf-8") => {
            "a text is not UTF-8".to_owned()
        }
        PolarsError::NoData(_) => "a file has no columns".to_owned(),
        _ => "a file is damaged or of another format".to_owned(),
    }
}

fn first_line(cause: &PolarsError) -> String {
    cause.to_string().lines().next().unwrap_or_default().to_owned()
}
