//! Reading: from files to valid payments.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc::sync_channel;

use polars::prelude::{
    DataFrame, DataType, Engine, Expr, IntoLazy, LazyFrame, PlSmallStr, PlanCallback, PolarsError,
    Schema, col,
};
use polars_plan::utils::expr_to_leaf_column_names;

use super::batch::{Batch, Rows};
use super::columns;
use super::convert::{AMOUNT_TYPES, TIME_TYPES, is_amount, is_time};
use super::lines::LineReader;
use super::parts::{Part, PartReader, parts};
use super::progress::{Meter, ScanControl};
use super::quarantine::{Quarantine, Reason};
use super::sinks::{Counts, Intake};
use super::sound::{nested, sound};
use super::source::{Files, type_name};
use super::unread::{Unread, refusal, unreadable, unreadable_file};
use crate::caught::caught;
use crate::error::{Error, Result};
use crate::findings::{self, Columns, Finding};
use crate::job::{LINE, PaymentsSource, SqlExpression};
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
        if let Some(at) = source.csv_at.clone().filter(|_| !files.is_csv()) {
            let finding = findings::key_idle("csv", findings::CSV_FILES).at(at);
            return Err(Error::invalid(finding));
        }
        let odd = columns::unreadable(&files);
        if !odd.is_empty() {
            let odd = odd.into_iter().map(|finding| finding.at(source.span.clone()));
            return Err(Error::invalid_all(odd.collect()));
        }
        let schema = match files.all_columns(source) {
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
            findings.extend(columns::too_wide(&files, &used, source));
            findings.extend(columns::above(&files, &used, source));
        }
        if !findings.is_empty() {
            return Err(refusal(findings));
        }
        let table = files.scan_used(&used, source).map_err(|cause| unreadable(&cause, source))?;
        let on_values =
            |e: &SqlExpression| columns::decoded(sound(e.expr.clone(), &values), &schema);
        let filter = source.filter.as_ref().map(on_values);
        let select = expressions.iter().map(|(name, e)| selected(name, on_values(e))).collect();
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
            Some(parts) => self.read_parts(parts, intake),
            None if self.files.is_csv() => self.read_lines(intake),
            None => self.stream(intake),
        };
        // Of files that changed the reader may have said anything.
        if let Some(finding) = self.files.changed() {
            return Err(Error::invalid(finding.at(source.span.clone())));
        }
        let Counts { rows, good } = counts?;
        quarantine.finish()?;
        if source.too_many_bad(good, quarantine.rows()) {
            let most = quarantine.most().map_or("", Reason::text);
            let (share, file) = (source.max_bad_share(), quarantine.file());
            let finding = findings::bad_rows_too_many(share, most, file);
            return Err(Error::invalid(finding.at(source.span.clone())));
        }
        if rows > 0 && good == 0 {
            let (first, last) = (source.period.first(), source.period.last());
            let finding = match quarantine.most() {
                Some(most) => findings::rows_all_bad(Some((most.text(), quarantine.file()))),
                None => findings::rows_all_left_out(&first, &last),
            };
            return Err(Error::invalid(finding.at(source.span.clone())));
        }
        Ok(())
    }

    /// Of a table of payments, the rows and columns that the job wants.
    fn wanted(&self, table: LazyFrame) -> LazyFrame {
        let table = match &self.filter {
            // Of a line that cannot be trusted, no field can.
            Some(filter) if self.files.is_csv() => {
                table.filter(filter.clone().or(col(LINE).is_not_null()))
            }
            Some(filter) => table.filter(filter.clone()),
            None => table,
        };
        let line = self.files.is_csv().then(|| col(LINE));
        table.select(self.select.iter().cloned().chain(line).collect::<Vec<_>>())
    }

    fn read_parts<S>(&self, parts: Vec<Part>, intake: Intake<S>) -> Result<Counts>
    where
        S: FnMut(&Batch) -> Result<()> + Send,
    {
        let reader = PartReader::new(&self.files.paths, parts, |path| {
            self.files.scan_one(path, &self.plan.job.payments.csv)
        });
        let next = || {
            let table = reader.next(|table| self.wanted(table))?;
            Some(table.map_err(|unread| self.told(unread)))
        };
        intake.take_all(next)
    }

    fn read_lines<S>(&self, intake: Intake<S>) -> Result<Counts>
    where
        S: FnMut(&Batch) -> Result<()> + Send,
    {
        let source = &self.plan.job.payments;
        let layouts = self.files.layouts(&self.used, source).map_err(|f| refusal(vec![f]))?;
        let reader = LineReader::new(&source.csv, &self.files.paths, layouts);
        let next = || {
            let table = reader.next(|table| self.wanted(table))?;
            Some(table.map_err(|unread| self.told(unread)))
        };
        intake.take_all(next)
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
        let (counts, read) = std::thread::scope(|scope| {
            #[expect(clippy::disallowed_methods, reason = "reads records, in `payments`")]
            let read = || query.collect_with_engine(Engine::Streaming).map(drop);
            let reader = scope.spawn(|| caught(read));
            let receiver = Mutex::new(receiver);
            let next = move || lock(&receiver).recv().ok().map(Ok);
            let counts = intake.take_all(next);
            // A reader that failed or panicked must not look like the end of the data.
            (counts, reader.join())
        });
        let counts = counts?;
        match read {
            Ok(Some(Ok(()))) => Ok(counts),
            Ok(Some(Err(cause))) => Err(self.told(Unread::Cause(cause))),
            _ => Err(self.told(Unread::Panic)),
        }
    }

    /// Says what could not be read: a file, or an expression if there is one that cannot be
    /// computed for some row of files that can be read.
    fn told(&self, unread: Unread) -> Error {
        let source = &self.plan.job.payments;
        if unread.may_be_of_an_expression()
            && let Some((key, span)) = self.failing()
        {
            if let Unread::Cause(cause) = &unread {
                tracing::debug!("{cause}");
            }
            return Error::invalid(findings::expression_failed(key).at(span));
        }
        unread.told(source)
    }

    /// The first expression without which the files could be read, and its place.
    fn failing(&self) -> Option<(&str, Range<usize>)> {
        let source = &self.plan.job.payments;
        let used: BTreeSet<&PlSmallStr> = self.used.iter().collect();
        let used = used.into_iter().cloned().map(col).collect();
        if !self.reads(None, used) {
            return None;
        }
        if let (Some(filter), Some(e)) = (&self.filter, &source.filter)
            && !self.reads(None, vec![filter.clone()])
        {
            return Some(("where", e.span.clone()));
        }
        let expressions = expressions(self.plan);
        let failing = |select: &Expr| !self.reads(self.filter.as_ref(), vec![select.clone()]);
        let at = self.select.iter().position(failing)?;
        Some((&self.names[at], expressions[at].1.span.clone()))
    }

    /// Can all rows be read, if only these are computed?
    fn reads(&self, filter: Option<&Expr>, select: Vec<Expr>) -> bool {
        let source = &self.plan.job.payments;
        let choose = |table: LazyFrame| {
            let table = filter.map_or(table.clone(), |filter| table.filter(filter.clone()));
            table.select(select.clone())
        };
        if self.files.is_csv() {
            let Ok(layouts) = self.files.layouts(&self.used, source) else { return false };
            let reader = LineReader::new(&source.csv, &self.files.paths, layouts);
            return std::iter::from_fn(|| reader.next(choose)).all(|table| table.is_ok());
        }
        let groups = self.files.row_groups(&self.used);
        if let Some(parts) = groups.and_then(|groups| parts(&groups, 0, 1)) {
            let scan = |path: &PathBuf| self.files.scan_one(path, &source.csv);
            let reader = PartReader::new(&self.files.paths, parts, scan);
            let mut tables = std::iter::from_fn(|| reader.next(choose));
            return tables.all(|table| table.is_ok());
        }
        let callback = PlanCallback::new(|_: DataFrame| Ok(false));
        let read = caught(|| {
            let query = choose(self.table.clone()).sink_batches(callback, false, None)?;
            #[expect(clippy::disallowed_methods, reason = "reads records, in `payments`")]
            query.collect_with_engine(Engine::Streaming).map(drop)
        });
        matches!(read, Some(Ok(())))
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
    if let Some(name) = nested(&expression.expr, schema) {
        let cause = format!("`{name}` has fields: name one, as in {name}.field");
        return vec![findings::expression_unfit(key, &cause).at(expression.span.clone())];
    }
    // On a table of these columns without rows, so that no message can quote one.
    let none = DataFrame::empty_with_schema(schema).lazy();
    #[expect(clippy::disallowed_methods, reason = "a table without rows")]
    let typed =
        caught(|| none.select([sound(expression.expr.clone(), schema).alias("x")]).collect());
    let unfit =
        |cause: String| vec![findings::expression_unfit(key, &cause).at(expression.span.clone())];
    let dtype = match typed {
        Some(Ok(table)) => table.schema().get("x").cloned().unwrap_or(DataType::Null),
        Some(Err(cause)) => return unfit(first_line(&cause)),
        None => return unfit("a part of it does not go with the types of its columns".to_owned()),
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
        Some(finding) => refusal(vec![finding.at(source.span.clone())]),
        None => unreadable(cause, source),
    }
}

fn selected(name: &str, expr: Expr) -> Expr {
    let expr = expr.alias(name);
    match name {
        "time" | "amount" => expr,
        _ => expr.cast(DataType::String),
    }
}

fn first_line(cause: &PolarsError) -> String {
    cause.to_string().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use crate::fixture::Market;

    /// Of a hundred rows as many as the job allows are bad, and one more; no share is rounded.
    #[test]
    fn a_share_of_bad_rows_is_what_the_job_says() {
        let market = Market::new(&[]);
        for percent in 1..100u64 {
            let share = format!("currency = \"EUR\"\nmax_bad_share = 0.{percent:02}");
            let changes = [("currency = \"EUR\"", &*share), ("ticket_groups = \"region\"\n", "")];
            let report = "levels = [[]]\nkeys = \"public\"\ninsights = [\"payments\"]".to_owned();
            let plan = market.try_plan_changed(&changes, &[report]).expect("a good job");
            let source = &plan.job.payments;
            assert!(!source.too_many_bad(100 - percent, percent), "{percent}");
            assert!(source.too_many_bad(100 - percent, percent + 1), "{percent}");
            // One row more of a million times as many.
            let (good, bad) = ((100 - percent) * 1_000_000, percent * 1_000_000);
            assert!(!source.too_many_bad(good, bad) && source.too_many_bad(good - 1, bad + 1));
        }
    }
}
