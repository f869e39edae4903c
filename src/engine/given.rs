//! The engine that computes nothing: totals that the plan's SQL has given elsewhere.
//!
//! The file must be of this very plan, complete, and not contradict itself or the bounds: users
//! were fitted elsewhere, and the noise is worth what these totals are. Whether the query was run
//! on the right table only its operator knows. `docs/sql.md` tells the file column by column.

mod batch;
mod paying;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use polars::prelude::{DataFrame, DataType, Int64Chunked, ParquetReader, SerReader, StringChunked};

use paying::Paying;

use super::sql::{Dialect, Query, ROWS, dialect_of, key_value};
use super::surveyed::Surveyed;
use super::{Engine, ExactSurveys, ExactTotals, LevelTotals, Settle, TOTAL_MAX};
use crate::error::{Error, Result};
use crate::findings::{self, Finding, TotalsOf};
use crate::job::{Job, Key};
use crate::plan::{CellKey, KeyValue, LevelPlan, Plan};

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
        let mut levels: Vec<Cells> = plan.levels.iter().map(|_| Cells::default()).collect();
        let counts = self.each_row(plan, tables, |row| {
            let place = plan.levels.iter().position(|level| level.file == row.level);
            let place = place.ok_or("it has a level that the job has not")?;
            levels[place].add(plan, &plan.levels[place], row)
        })?;
        let mut totals = Vec::new();
        for (cells, level) in levels.into_iter().zip(&plan.levels) {
            cells.check(&counts).map_err(|why| self.unfit(why))?;
            cells.paying.check(level).map_err(|why| self.unfit(why))?;
            let cells = cells.into_totals(&plan.job, level).map_err(|why| self.unfit(why))?;
            totals.push(cells.with_always(level));
        }
        let plan = Plan { totals_from: Some(self.query.dialect.name()), ..plan.clone() };
        Ok((plan, ExactTotals { levels: totals }))
    }

    /// Checks all that can be checked, and gives what surveys have counted.
    fn surveys(&self, plan: &Plan, tables: &[Table]) -> Result<ExactSurveys> {
        let mut surveys = Surveyed::new(plan);
        let counts = self.each_row(plan, tables, |row| surveys.add(row))?;
        surveys.finish(&counts).map_err(|why| self.unfit(why))
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
        if counts.bad as f64 > source.max_bad_share * (counts.good as f64 + counts.bad as f64) {
            return invalid(findings::totals_rows_bad(source.max_bad_share));
        }
        if counts.good == 0 {
            let (first, last) = (source.period.first(), source.period.last());
            return invalid(findings::rows_all_left_out(&first, &last));
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
    /// What the surveys of a plan have counted, from the result of their query: on the command line
    /// no file takes that way, as two queries would have to be run while the ledger waits.
    #[cfg(test)]
    pub(super) fn surveys(&self, plan: &Plan) -> Result<ExactSurveys> {
        let tables = self.tables()?;
        let query = self.query(&tables, |dialect| Query::surveys(plan, dialect))?;
        self.answer(&query).surveys(plan, &tables)
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

/// The cells of one level, as they come in.
#[derive(Default)]
struct Cells {
    /// Payments and refunds, before some cells of private keys are dropped.
    rows: i128,
    /// Users, each counted in one cell.
    first: i128,
    /// The most users of one cell.
    users: i64,
    /// Those that some user keeps.
    totals: HashMap<CellKey, Vec<i64>>,
    /// Those that none keeps, to see that none comes twice.
    dropped: HashSet<CellKey>,
    /// Whether users of cells have paid, where they also count by the period before.
    paying: Paying,
}

impl Cells {
    fn add(
        &mut self,
        plan: &Plan,
        level: &LevelPlan,
        row: &Row,
    ) -> std::result::Result<(), &'static str> {
        let key = key_of(plan, level, &row.keys).ok_or("a cell has a key that the job has not")?;
        let second = level.keys.iter().position(|key| key.pairs_of().is_some());
        if second.is_some_and(|second| key[second] == no_second()) {
            return self.add_single(row);
        }
        if second.is_some() && row.first != 0 {
            return Err("a pair counts users that single values count");
        }
        let paying = row.users.min(row.rows);
        let all_pay = paying == row.users && row.rows > 0;
        let counted = 0 <= row.first && row.first <= paying;
        if !counted || !(all_pay || Paying::may_be_fewer(level)) {
            return Err("the counts of a cell do not agree");
        }
        self.paying.add(level, &key, row);
        let (own, others) = row.totals.split_at(level.width());
        let own: Option<Vec<i64>> = own.iter().copied().collect();
        let own = own.filter(|_| others.iter().all(Option::is_none));
        let own = own.ok_or("a cell has too few numbers, or too many")?;
        for (statistic, columns) in level.statistics.iter().zip(level.columns()) {
            let users = if statistic.kind.compares() { row.users } else { paying };
            let most = i128::from(users) * i128::from(statistic.noise.bound.cell_cap());
            let most = most.min(TOTAL_MAX.into());
            let least = if statistic.kind.facts().signed { -most } else { 0 };
            if own[columns].iter().any(|&total| !(least..=most).contains(&i128::from(total))) {
                return Err("a total is beyond what its users can come to");
            }
        }
        // Those of pairs are in single values.
        self.rows += if second.is_some() { 0 } else { i128::from(row.rows) };
        self.first += i128::from(row.first);
        self.users = self.users.max(row.users);
        let twice = if row.users > 0 {
            self.dropped.contains(&key) || self.totals.insert(key, own).is_some()
        } else {
            self.totals.contains_key(&key) || !self.dropped.insert(key)
        };
        if twice { Err("a cell is there twice") } else { Ok(()) }
    }

    /// Adds the row of a single value, where cells are pairs: it has payments and users, so that
    /// all are counted, and no totals.
    fn add_single(&mut self, row: &Row) -> std::result::Result<(), &'static str> {
        let counted = row.users == 0 && 0 <= row.first && row.first <= row.rows && row.rows > 0;
        let [own, others @ ..] = &row.totals[..] else { return Err("a cell has too few numbers") };
        if !counted || *own != Some(0) || others.iter().any(Option::is_some) {
            return Err("the counts of a cell do not agree");
        }
        self.rows += i128::from(row.rows);
        self.first += i128::from(row.first);
        Ok(())
    }

    /// Is every payment, and every user, in this level once?
    fn check(&self, counts: &Counts) -> std::result::Result<(), &'static str> {
        if self.rows != i128::from(counts.good) {
            return Err("the rows of a level are not all rows");
        }
        if self.first != i128::from(counts.users) || self.users > counts.users {
            return Err("the users of a level are not all users");
        }
        Ok(())
    }

    fn into_totals(
        mut self,
        job: &Job,
        level: &LevelPlan,
    ) -> std::result::Result<LevelTotals, &'static str> {
        let cells: Vec<(CellKey, Vec<i64>)> = if level.is_public() {
            if !self.dropped.is_empty() {
                return Err("a cell has no users");
            }
            let zeros = vec![0; level.width()];
            let keys = level.cells.public_keys(job).expect("the job checked it");
            let total = |key: CellKey| {
                let own = self.totals.remove(&key);
                (key, own.unwrap_or_else(|| zeros.clone()))
            };
            let cells = keys.into_iter().map(total).collect();
            if !self.totals.is_empty() {
                return Err("a cell has a key that the job has not");
            }
            cells
        } else {
            self.totals.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect()
        };
        let sums = level.columns().map(|columns| {
            cells.iter().flat_map(|(_, own)| own[columns.clone()].iter().copied()).collect()
        });
        let sums = sums.collect();
        Ok(LevelTotals { keys: cells.into_iter().map(|(key, _)| key).collect(), sums })
    }
}

/// In place of the second of a pair, where the row is of a single value.
fn no_second() -> KeyValue {
    KeyValue::Number(0)
}

/// The key of a cell; `None` if it is none of the job's.
fn key_of(plan: &Plan, level: &LevelPlan, texts: &[Option<&str>]) -> Option<CellKey> {
    let (own, others) = texts.split_at_checked(level.keys.len())?;
    if others.iter().any(Option::is_some) {
        return None;
    }
    let value = |(key, text): (&Key, &Option<&str>)| {
        if text.is_none() && key.pairs_of().is_some() {
            return Some(no_second());
        }
        let text = text.filter(|text| is_listed(&plan.job, key, text))?;
        key_value(plan, key, text)
    };
    level.keys.iter().zip(own).map(value).collect()
}

/// Is a text one of the values that the job lists for a key, if it lists any?
fn is_listed(job: &Job, key: &Key, text: &str) -> bool {
    let within = |values: &Vec<String>| values.binary_search_by(|v| v.as_str().cmp(text)).is_ok();
    let of_merchants = |column: Option<&str>| {
        let values = job.registry.as_ref().zip(column).and_then(|(r, name)| r.attributes.get(name));
        values.is_some_and(|values| values.iter().any(|value| value == text))
    };
    match key {
        Key::Time(_) => true,
        Key::Merchant => job.registry.as_ref().is_none_or(|registry| within(&registry.ids)),
        Key::MerchantAttribute(name) => of_merchants(Some(name)),
        Key::Home(_) => of_merchants(key.home_of()),
        Key::With(_) => of_merchants(key.pairs_of()),
        Key::Column(name) => job.key_sets.get(name).is_none_or(within),
        Key::Currency => job.payments.currencies.iter().any(|currency| currency.code() == text),
    }
}
