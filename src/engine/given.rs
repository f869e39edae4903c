//! The engine that computes nothing: totals that the plan's SQL has given elsewhere.
//!
//! The file must be of this very plan, complete, and not contradict itself or the bounds: users
//! were fitted elsewhere, and the noise is worth what these totals are. Whether the query was run
//! on the right table only its operator knows. `docs/sql.md` tells the file column by column.

mod batch;
mod cells;
mod pairs;
mod paying;

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use polars::prelude::{DataFrame, DataType, Int64Chunked, ParquetReader, SerReader, StringChunked};

use cells::Cells;

use super::sql::{Dialect, Query, ROWS, dialect_of};
use super::surveyed::Surveyed;
use super::{Engine, ExactSurveys, ExactTotals, LevelTotals, Settle};
use crate::error::{Error, Result};
use crate::findings::{self, Finding, TotalsOf};
use crate::plan::Plan;

/// Totals from a file, or a folder of files.
pub struct Given<'a> {
    /// Where they are.
    pub path: &'a Path,
}

impl Engine for Given<'_> {
    fn totals(&self, plan: &Plan, _: Settle) -> Result<(Plan, ExactTotals)> {
        let tables = self.tables()?;
        let query = self.query(&tables, |dialect| Query::new(plan, dialect))?;
        self.answer(&query).totals(plan, &tables)
    }
}

/// What has come back of a query.
pub(super) struct Answer<'a> {
    pub(super) query: &'a Query,
    /// As messages name it.
    pub(super) of: TotalsOf<'a>,
}

impl Answer<'_> {
    fn unfit(&self, why: &str) -> Error {
        Error::invalid(findings::totals_unfit(self.of, why))
    }

    /// Checks all that can be checked, and gives the totals.
    fn totals(&self, plan: &Plan, tables: &[Table]) -> Result<(Plan, ExactTotals)> {
        let levels = self.levels(plan, tables)?.into_iter().zip(&plan.levels);
        let levels = levels.map(|(totals, level)| totals.with_always(level)).collect();
        let plan = Plan { totals_from: Some(self.query.dialect.name()), ..plan.clone() };
        Ok((plan, ExactTotals { levels }))
    }

    /// Checks all that can be checked, and gives what the plan asks first.
    fn asked(&self, plan: &Plan, tables: &[Table]) -> Result<ExactSurveys> {
        if plan.is_seeking() {
            let round = self.levels(&plan.of_round(), tables)?;
            return Ok(ExactSurveys { surveys: Vec::new(), round });
        }
        let mut surveys = Surveyed::new(plan);
        let counts = self.each_row(plan, tables, |row| surveys.add(row))?;
        surveys.finish(&counts).map_err(|why| self.unfit(why))
    }

    /// The totals of cells that have rows, or, with public keys, of all.
    fn levels(&self, plan: &Plan, tables: &[Table]) -> Result<Vec<LevelTotals>> {
        let mut levels: Vec<Cells> = plan.levels.iter().map(|_| Cells::default()).collect();
        let counts = self.each_row(plan, tables, |row| {
            let place = plan.levels.iter().position(|level| level.file == row.level);
            let place = place.ok_or("it has a level that the job has not")?;
            levels[place].add(plan, &plan.levels[place], row)
        })?;
        let totals = levels.into_iter().zip(&plan.levels).map(|(cells, level)| {
            cells.check(&counts)?;
            cells.paying.check(level)?;
            cells.into_totals(&plan.job, level)
        });
        totals.collect::<std::result::Result<_, _>>().map_err(|why| self.unfit(why))
    }

    /// Gives every row to `add` but that of all rows; checks that one, and gives it.
    fn each_row<'t>(
        &self,
        plan: &Plan,
        tables: &'t [Table],
        mut add: impl FnMut(&Row<'t>) -> std::result::Result<(), &'static str>,
    ) -> Result<Counts> {
        let all = tables.iter().flat_map(|table| (0..table.height()).map(move |at| (table, at)));
        let mut counts = None;
        for (table, at) in all {
            let row = table.row(at).ok_or_else(|| self.unfit("a value is missing"))?;
            if row.level != ROWS {
                add(&row).map_err(|why| self.unfit(why))?;
            } else if counts.replace(Counts::new(&row).map_err(|why| self.unfit(why))?).is_some() {
                return Err(self.unfit("it counts all rows twice"));
            }
        }
        let counts = counts.ok_or_else(|| self.unfit("it does not count all rows"))?;
        self.check_counts(plan, &counts)?;
        Ok(counts)
    }

    /// What a scan of files would have refused, and what the query says of itself.
    fn check_counts(&self, plan: &Plan, counts: &Counts) -> Result<()> {
        let source = &plan.job.payments;
        let invalid = |finding: Finding| Err(Error::invalid(finding.at(source.span.clone())));
        if !counts.is_set {
            let settings = self.query.dialect.settings().join("; ");
            return Err(Error::invalid(findings::totals_session(self.of, &settings)));
        }
        if counts.types != 0 {
            return Err(Error::invalid_all(self.other_types(plan, counts.types)));
        }
        if counts.rows == 0 {
            return invalid(findings::rows_missing(source.filter.is_some()));
        }
        // None is below zero (`Counts::new`).
        if source.too_many_bad(counts.good.unsigned_abs(), counts.bad.unsigned_abs()) {
            return invalid(findings::totals_rows_bad(source.max_bad_share()));
        }
        if counts.good == 0 {
            let (first, last) = (source.period.first(), source.period.last());
            return invalid(match counts.bad {
                0 => findings::rows_all_left_out(&first, &last),
                _ => findings::rows_all_bad(None),
            });
        }
        Ok(())
    }

    /// The columns that are not what the job says, each under its entry. The last bit stands for
    /// all further ones.
    fn other_types(&self, plan: &Plan, bits: i64) -> Vec<Finding> {
        let source = &plan.job.payments;
        let table = source.table.as_ref().expect("cannot fail because its query has columns");
        let is_other = |at: usize| bits >> at.min(50) & 1 == 1;
        let columns = self.query.columns.iter().enumerate().filter(|(at, _)| is_other(*at));
        let finding = |(_, name): (usize, &String)| {
            let kind = table.types.get(name).map_or("", |kind| kind.name());
            let span = table.places.get(name).unwrap_or(&source.span);
            findings::totals_types(self.of, name, kind).at(span.clone())
        };
        columns.map(finding).collect()
    }
}

impl Given<'_> {
    /// What a plan asks first, from the result of that query: on the command line no file takes
    /// that way, as several queries would have to be run while the ledger waits.
    #[cfg(test)]
    pub(super) fn asked(&self, plan: &Plan) -> Result<ExactSurveys> {
        let tables = self.tables()?;
        let query = self.query(&tables, |dialect| Query::next(plan, dialect))?;
        self.answer(&query).asked(plan, &tables)
    }

    fn answer<'a>(&'a self, query: &'a Query) -> Answer<'a> {
        Answer { query, of: TotalsOf::File(self.path) }
    }

    fn tables(&self) -> Result<Vec<Table>> {
        let tables = self.read()?;
        let tables = tables.iter().map(Table::new).collect::<std::result::Result<_, _>>();
        tables.map_err(|why| self.unfit(why))
    }

    fn unfit(&self, why: &str) -> Error {
        Error::invalid(findings::totals_unfit(TotalsOf::File(self.path), why))
    }

    /// All tables, if nobody but their owner can have read them.
    fn read(&self) -> Result<Vec<DataFrame>> {
        let unreadable =
            |cause: &dyn std::fmt::Display| findings::totals_unreadable(self.path, cause);
        let found = std::fs::metadata(self.path).map_err(|e| Error::invalid(unreadable(&e)))?;
        // A folder that nobody else may enter keeps its files, whatever their own modes are.
        if found.permissions().mode() & 0o077 != 0 {
            return Err(Error::invalid(findings::totals_not_secret(self.path)));
        }
        let files = if found.is_dir() {
            let files = parquet_files(self.path).map_err(|e| Error::invalid(unreadable(&e)))?;
            if files.is_empty() {
                return Err(Error::invalid(unreadable(&"the folder holds no Parquet file")));
            }
            files
        } else {
            vec![self.path.to_owned()]
        };
        let read = |path: &PathBuf| {
            let file = File::open(path).map_err(|e| Error::invalid(unreadable(&e)))?;
            ParquetReader::new(file).finish().map_err(|cause| {
                // What the reader says may quote values.
                tracing::debug!("{cause}");
                Error::invalid(unreadable(&"it is not Parquet, or cut off"))
            })
        };
        files.iter().map(read).collect()
    }

    /// The query of which all rows say that they are its result.
    fn query(&self, tables: &[Table], write: impl Fn(Dialect) -> Result<Query>) -> Result<Query> {
        let mut origins = tables.iter().flat_map(|table| table.plan.iter());
        let first = origins.next().flatten().ok_or_else(|| self.unfit("it has no rows"))?;
        if origins.any(|origin| origin != Some(first)) {
            return Err(self.unfit("its rows are of several plans"));
        }
        let another = || Error::invalid(findings::totals_of_another_plan(self.path));
        let query = write(dialect_of(first).ok_or_else(another)?)?;
        let (keys, totals) = query.width;
        let same = |table: &Table| table.keys.len() == keys && table.totals.len() == totals;
        if query.plan != first || !tables.iter().all(same) {
            return Err(another());
        }
        Ok(query)
    }
}

/// The Parquet files of a folder, as Spark writes them; names with a dot or `_` before are its own.
fn parquet_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let shown = name.is_some_and(|name| !name.starts_with(['.', '_']));
        if shown && path.extension().is_some_and(|ending| ending == "parquet") && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// A file's columns.
struct Table {
    plan: StringChunked,
    level: StringChunked,
    keys: Vec<StringChunked>,
    /// `n_rows`, `n_users`, `n_first`.
    numbers: Vec<Int64Chunked>,
    totals: Vec<Int64Chunked>,
}

/// A row of the result.
pub(super) struct Row<'t> {
    pub(super) level: &'t str,
    pub(super) keys: Vec<Option<&'t str>>,
    pub(super) rows: i64,
    pub(super) users: i64,
    pub(super) first: i64,
    pub(super) totals: Vec<Option<i64>>,
}

impl Table {
    fn new(frame: &DataFrame) -> std::result::Result<Table, &'static str> {
        let text = |name: &str| -> Option<StringChunked> {
            let column = frame.column(name).ok()?;
            // A column that is empty in every row may have no type.
            let texts = column.cast(&DataType::String).ok()?;
            Some(texts.str().ok()?.clone())
        };
        let number = |name: &str| -> Option<Int64Chunked> {
            let column = frame.column(name).ok()?;
            let whole = column.dtype().is_integer() || column.dtype() == &DataType::Null;
            let numbers = column.strict_cast(&DataType::Int64).ok().filter(|_| whole)?;
            Some(numbers.i64().ok()?.clone())
        };
        Table::of_columns(frame.width(), text, number)
    }

    /// From the columns of `width` that have these names: texts, and whole numbers.
    fn of_columns(
        width: usize,
        text: impl Fn(&str) -> Option<StringChunked>,
        number: impl Fn(&str) -> Option<Int64Chunked>,
    ) -> std::result::Result<Table, &'static str> {
        let missing = "a column is missing or of another type";
        let keys = (1..).map_while(|at| text(&format!("key_{at}")));
        let totals = (1..).map_while(|at| number(&format!("total_{at}")));
        let (keys, totals): (Vec<_>, Vec<_>) = (keys.collect(), totals.collect());
        if width != 5 + keys.len() + totals.len() {
            return Err("it has other columns than the query gives");
        }
        let numbers = ["n_rows", "n_users", "n_first"].into_iter().map(number);
        Ok(Table {
            plan: text("plan").ok_or(missing)?,
            level: text("level").ok_or(missing)?,
            keys,
            numbers: numbers.collect::<Option<_>>().ok_or(missing)?,
            totals,
        })
    }

    fn height(&self) -> usize {
        self.plan.len()
    }

    fn row(&self, at: usize) -> Option<Row<'_>> {
        Some(Row {
            level: self.level.get(at)?,
            keys: self.keys.iter().map(|column| column.get(at)).collect(),
            rows: self.numbers[0].get(at)?,
            users: self.numbers[1].get(at)?,
            first: self.numbers[2].get(at)?,
            totals: self.totals.iter().map(|column| column.get(at)).collect(),
        })
    }
}

/// All rows, counted apart from the levels.
pub(super) struct Counts {
    rows: i64,
    pub(super) good: i64,
    bad: i64,
    pub(super) users: i64,
    is_set: bool,
    /// A bit for each column of another type.
    types: i64,
}

impl Counts {
    fn new(row: &Row) -> std::result::Result<Counts, &'static str> {
        let [Some(bad), Some(is_set), Some(types), rest @ ..] = &row.totals[..] else {
            return Err("the counts of all rows are not whole");
        };
        let (bad, types) = (*bad, *types);
        let counts = Counts {
            rows: row.rows,
            good: row.first,
            bad,
            users: row.users,
            is_set: *is_set == 1,
            types,
        };
        let empty = row.keys.iter().all(Option::is_none) && rest.iter().all(Option::is_none);
        let none = [counts.good, bad, counts.users, types].iter().all(|&count| count >= 0);
        let within = counts.good.checked_add(bad).is_some_and(|both| both <= counts.rows);
        let users = counts.users <= counts.good && (counts.users > 0) == (counts.good > 0);
        if empty && none && within && users {
            Ok(counts)
        } else {
            Err("the counts of all rows do not agree")
        }
    }
}
