//! Reading: from files to valid payments.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};

use polars::prelude::{
    Column, DataFrame, DataType, Engine, Expr, IntoLazy, LazyFrame, PlanCallback, PolarsError,
    PolarsResult, Schema, StringChunked,
};
use polars_plan::utils::expr_to_leaf_column_names;

use super::Payment;
use super::convert::{AMOUNT_TYPES, AmountColumn, TIME_TYPES, TimeColumn, is_amount, is_time};
use super::quarantine::{Quarantine, Reason};
use super::source::{Files, type_name};
use crate::error::{Error, Result};
use crate::findings::{self, Finding};
use crate::job::{Clock, PaymentsSource, SqlExpression, minor_places};
use crate::plan::Plan;

/// Rows that polars hands over at once.
const BATCH_ROWS: NonZeroUsize = NonZeroUsize::new(64 * 1024).expect("cannot fail: not zero");

/// How a scan can be watched and stopped.
#[derive(Clone, Copy)]
pub struct ScanControl<'a> {
    /// Set to stop soon.
    pub cancelled: &'a AtomicBool,
    /// Called after each batch. Takes nothing: row counts are sensitive.
    pub tick: &'a dyn Fn(),
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

    /// Reads everything and calls `sink` for each valid payment, in no particular order. Bad rows
    /// go to quarantine.
    ///
    /// # Errors
    /// A file that cannot be read to its end, too many bad rows, Ctrl-C, or what `sink` returns.
    pub fn run(
        self,
        control: ScanControl,
        mut sink: impl FnMut(Payment<'_>) -> Result<()>,
    ) -> Result<()> {
        let job = &self.plan.job;
        let source = &job.payments;
        let mut quarantine = Quarantine::new(&source.quarantine, &job.id, self.names.clone())?;
        let (sender, receiver) = sync_channel(2);
        let callback = PlanCallback::new(move |batch: DataFrame| {
            // The receiver is gone when reading stops early: ask polars to stop too.
            Ok(sender.send(batch).is_err())
        });
        let query = self.table.sink_batches(callback, false, Some(BATCH_ROWS));
        let query = query.map_err(|cause| unreadable(&cause, source))?;
        let rows = Rows::new(self.plan, &self.names);
        std::thread::scope(|scope| {
            #[expect(clippy::disallowed_methods, reason = "the one place that reads records")]
            let reader = scope.spawn(|| query.collect_with_engine(Engine::Streaming).map(drop));
            let good = rows.read_all(receiver, control, &mut quarantine, &mut sink);
            // A reader that failed or panicked must not look like the end of the data.
            let read = reader.join();
            let good = good?;
            match read {
                Ok(Ok(())) => {}
                Ok(Err(cause)) => return Err(unreadable(&cause, source)),
                Err(_) => {
                    let finding = findings::payments_unreadable("the reader failed");
                    return Err(Error::invalid(finding.at(source.span.clone())));
                }
            }
            quarantine.finish()?;
            let bad = quarantine.rows() as f64;
            if bad > source.max_bad_share * (good as f64 + bad) {
                let folder = quarantine.folder();
                let finding = findings::bad_rows_too_many(source.max_bad_share, folder);
                return Err(Error::invalid(finding));
            }
            Ok(())
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

/// What is needed to turn rows into payments.
struct Rows<'p> {
    plan: &'p Plan,
    names: &'p [String],
    clock: Clock,
    /// Places by currency code, for rows that say theirs.
    places: HashMap<&'static str, u32>,
    merchant_codes: HashMap<&'p str, u32>,
}

/// The columns of one batch.
struct Batch {
    user: StringChunked,
    time: TimeColumn,
    amount: AmountColumn,
    merchant: Option<StringChunked>,
    currency: Option<StringChunked>,
    rest: Vec<StringChunked>,
}

impl<'p> Rows<'p> {
    fn new(plan: &'p Plan, names: &'p [String]) -> Self {
        let source = &plan.job.payments;
        let registry = plan.job.registry.iter();
        Rows {
            plan,
            names,
            clock: Clock::new(source.zone, source.period),
            places: source.currencies.iter().map(|&c| (c.code(), minor_places(c))).collect(),
            merchant_codes: registry
                .flat_map(|r| r.ids.iter().map(String::as_str).zip(0..))
                .collect(),
        }
    }

    /// Reads all batches; returns how many rows were good.
    fn read_all(
        &self,
        receiver: Receiver<DataFrame>,
        control: ScanControl,
        quarantine: &mut Quarantine,
        sink: &mut impl FnMut(Payment<'_>) -> Result<()>,
    ) -> Result<u64> {
        let mut good = 0;
        for mut frame in receiver {
            if control.cancelled.load(Ordering::Relaxed) {
                return Err(Error::cancelled());
            }
            frame.rechunk_mut();
            let batch = self.batch(&frame).map_err(|e| unreadable(&e, &self.plan.job.payments))?;
            let mut rest: Vec<&str> = Vec::with_capacity(batch.rest.len() + 1);
            for row in 0..frame.height() {
                rest.clear();
                match self.payment(&batch, row, &mut rest) {
                    Ok(Some((user, merchant, merchant_code, hour, amount))) => {
                        good += 1;
                        let rest = &rest[..];
                        sink(Payment { user, merchant, merchant_code, hour, amount, rest })?;
                    }
                    Ok(None) => {}
                    Err(reason) => quarantine.add(reason, &self.texts(&frame, row))?,
                }
            }
            (control.tick)();
        }
        Ok(good)
    }

    fn batch(&self, frame: &DataFrame) -> PolarsResult<Batch> {
        let source = &self.plan.job.payments;
        let text = |name: &str| Ok(frame.column(name)?.str()?.clone());
        let optional = |name: &str, wanted: bool| wanted.then(|| text(name)).transpose();
        let format = source.time_format.as_deref();
        Ok(Batch {
            user: text("user")?,
            time: TimeColumn::new(frame.column("time")?, format, source.zoneless)?,
            amount: AmountColumn::new(frame.column("amount")?, source.csv.decimal)?,
            merchant: optional("merchant", source.merchant.is_some())?,
            currency: optional("currency", source.currency.is_some())?,
            rest: self.plan.columns.iter().map(|n| text(n)).collect::<PolarsResult<_>>()?,
        })
    }

    /// One row: user, merchant, its code, hour, amount; `None` if its currency does not count.
    #[expect(clippy::type_complexity, reason = "the fields of a Payment but one")]
    fn payment<'b>(
        &self,
        batch: &'b Batch,
        row: usize,
        rest: &mut Vec<&'b str>,
    ) -> std::result::Result<Option<(&'b str, &'b str, u32, u32, i64)>, Reason> {
        let source = &self.plan.job.payments;
        let mut places = minor_places(source.currencies[0]);
        let mut code = None;
        if let Some(currencies) = &batch.currency {
            let text = not_blank(currencies.get(row)).ok_or(Reason::CurrencyMissing)?;
            match self.places.get(text) {
                Some(&own) => places = own,
                None => return Ok(None),
            }
            code = Some(text);
        }
        let user = not_blank(batch.user.get(row)).ok_or(Reason::UserMissing)?;
        let (mut merchant, mut merchant_code) = ("", 0);
        if let Some(merchants) = &batch.merchant {
            merchant = not_blank(merchants.get(row)).ok_or(Reason::MerchantMissing)?;
            if self.plan.job.registry.is_some() {
                let found = self.merchant_codes.get(merchant);
                merchant_code = *found.ok_or(Reason::MerchantUnknown)?;
            }
        }
        let hour = batch.time.hour(row, &self.clock)?;
        let amount = batch.amount.minor(row, places)?;
        for (name, column) in self.plan.columns.iter().zip(&batch.rest) {
            let value = column.get(row).ok_or(Reason::KeyMissing)?;
            let listed = self.plan.job.key_sets.get(name);
            if listed.is_some_and(|set| set.binary_search_by(|v| v.as_str().cmp(value)).is_err()) {
                return Err(Reason::KeyUnknown);
            }
            rest.push(value);
        }
        rest.extend(code);
        // At most 10¹² · 10⁴.
        let amount = amount * 10i64.pow(source.money_places() - places);
        Ok(Some((user, merchant, merchant_code, hour, amount)))
    }

    /// The values of a bad row, as text.
    fn texts(&self, frame: &DataFrame, row: usize) -> Vec<String> {
        let text = |column: Option<&Column>| {
            let value = column.and_then(|c| c.get(row).ok());
            value.map_or(String::new(), |value| value.str_value().into_owned())
        };
        self.names.iter().map(|name| text(frame.column(name).ok())).collect()
    }
}

fn not_blank(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.trim().is_empty())
}
