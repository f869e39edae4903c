//! The heavy stage of a plan as one SQL query, for where the payments are.
//!
//! The query computes the same integers as the other engines; what it prints per cell is as
//! sensitive as the payments. `docs/sql.md` tells its result column by column.

mod calendar;
mod cells;
mod changes;
mod dialect;
mod expression;
mod fit;
mod found;
mod level;
mod numbers;
mod roots;
mod rows;
mod survey;
#[cfg(test)]
mod tests;
mod tickets;
mod times;
mod types;

use std::fmt::Write;

use sha2::{Digest, Sha256};

use level::LevelSql;
use rows::{BAD, GOOD, Rows};
pub(super) use survey::NO_BIN;
use survey::SurveySql;
use tickets::TicketsSql;

use crate::error::{Error, Result};
use crate::findings::{self, Finding};
pub use crate::job::Dialect;
use crate::job::{Key, StatisticKind, TimeKey};
use crate::plan::{Discovery, KeyValue, LevelPlan, Plan, Scales};

/// The heavy stage of a plan in some dialect.
#[derive(Clone, Debug)]
pub struct Query {
    /// Whose SQL it is.
    pub dialect: Dialect,
    /// What every row of the result says of its origin: the dialect and the SHA-256 of the query.
    pub plan: String,
    /// How many keys, and how many totals, each row of the result has.
    pub(super) width: (usize, usize),
    /// The columns that the query looks at, in the order of the bits by which it tells that they
    /// are of another type than the job says.
    pub(super) columns: Vec<String>,
    /// Which bits these are, as the dialect writes it.
    types: String,
    /// The table, as the dialect writes it.
    table: String,
    text: String,
}

/// What the query of the totals says that it is; others are asked before.
const HEAVY_STAGE: &str = "heavy stage";

/// What stands for the origin until it is known: no name, and no text as it is written, holds it.
const ORIGIN: &str = "\u{1}";

/// The name of the row that counts all rows; levels have a dot in theirs.
pub(super) const ROWS: &str = "rows";

/// How many totals that row has.
const COUNTS: usize = 3;

/// The most merchants that a query can list.
pub const MERCHANTS_MAX: usize = 50_000;

impl Query {
    /// Writes the query of the totals.
    ///
    /// # Errors
    /// All that keeps the plan from being one: the payments are in files, keys are looked for, a
    /// bound is open, an expression that dialects do not agree on.
    pub fn new(plan: &Plan, dialect: Dialect) -> Result<Query> {
        Ok(Parts::new(plan, dialect, true)?.totals(HEAVY_STAGE))
    }

    /// Writes the query of what the plan asks next: of each level that has a round its users by
    /// cell, or, once all keys are found, users by bins of the surveys, or, once bounds are known,
    /// the totals.
    ///
    /// # Errors
    /// As of the totals, but that keys are looked for and bounds are open.
    pub fn next(plan: &Plan, dialect: Dialect) -> Result<Query> {
        let rounds = plan.levels.iter().filter(|level| level.round().is_some());
        let done = rounds.filter_map(LevelPlan::discovery).map(Discovery::done).next();
        Ok(match done {
            Some(done) => {
                let what = format!("search for keys, round {},", done + 1);
                Parts::new(&plan.of_round(), dialect, false)?.totals(&what)
            }
            None if plan.is_settled() => Query::new(plan, dialect)?,
            None => Parts::new(plan, dialect, false)?.surveys(),
        })
    }

    /// Is there SQL for the plan, if its payments are in a table? Keys may be looked for and bounds
    /// be open where a server is asked, as it can be asked several times.
    ///
    /// # Errors
    /// As of [`Query::new`]: what it finds is the same in every dialect.
    pub fn check(plan: &Plan) -> Result<()> {
        match &plan.job.payments.table {
            Some(table) => {
                let asked = table.server.as_ref();
                let dialect = asked.map_or(Dialect::DuckDb, |server| server.dialect());
                Parts::new(plan, dialect, asked.is_none()).map(|_| ())
            }
            None => Ok(()),
        }
    }

    /// The query as text, with comments.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A query that reads no row, and fails where the table or a column that this one looks at is
    /// not there. It tells which columns are of another type than the job says, with which this one
    /// may fail before it can tell, and whether the database has another encoding than it needs.
    pub(super) fn look(&self) -> String {
        let columns = self.columns.iter().map(|name| self.dialect.quoted(name));
        let columns: Vec<String> =
            std::iter::once("1 AS dr_look".to_owned()).chain(columns).collect();
        let none = format!("SELECT {} FROM {} WHERE 1 = 0", columns.join(", "), self.table);
        // Nobody has seen what others say of the type of a value that is not there.
        if !self.dialect.is_tested() {
            return none;
        }
        let encoding = format!("CASE WHEN {} THEN 0 ELSE 1 END", self.dialect.is_utf8());
        format!(
            "SELECT {} AS dr_types, {} AS dr_encoding\n  FROM (SELECT 1 AS dr_one) dr_first LEFT JOIN ({none}) \
             dr_none ON 1 = 1",
            self.dialect.integer(&self.types),
            self.dialect.integer(&encoding)
        )
    }
}

/// What a plan's queries are made of.
struct Parts<'p> {
    plan: &'p Plan,
    dialect: Dialect,
    rows: Rows<'p>,
    levels: Vec<LevelSql<'p>>,
    surveys: Vec<SurveySql<'p>>,
    tickets: Vec<TicketsSql<'p>>,
}

impl<'p> Parts<'p> {
    /// Finds all that keeps the plan from being queries, or, `at_once`, a single one.
    fn new(plan: &'p Plan, dialect: Dialect, at_once: bool) -> Result<Self> {
        let source = &plan.job.payments;
        let Some(table) = &source.table else {
            return Err(Error::invalid(findings::table_missing().at(source.span.clone())));
        };
        let mut findings = if at_once { asked_before(plan) } else { Vec::new() };
        if table.is_files() && dialect != Dialect::Spark {
            let why = "only Spark reads files by their path";
            findings.push(findings::sql_unsupported("table", why).at(table.span.clone()));
        }
        if let Some(registry) = &plan.job.registry
            && registry.ids.len() > MERCHANTS_MAX
        {
            let finding = findings::sql_merchants_too_many(registry.ids.len(), MERCHANTS_MAX);
            findings.push(finding.at(registry.span.clone()));
        }
        let keys = keys_of(plan);
        let numbers = merchant_numbers(plan, at_once);
        let rows = Rows::new(plan, table, dialect, keys.clone(), numbers);
        let rows = rows.map_err(|found| findings.extend(found)).ok();
        let places = 0..plan.levels.len();
        let levels = places.clone().map(|place| LevelSql::new(plan, place, dialect, &keys));
        let surveys = places.filter_map(|place| SurveySql::new(plan, place, dialect, &keys));
        match rows {
            Some(rows) if findings.is_empty() => Ok(Parts {
                plan,
                dialect,
                rows,
                levels: levels.collect(),
                surveys: surveys.collect(),
                tickets: TicketsSql::all(plan, dialect),
            }),
            _ => Err(Error::invalid_all(findings)),
        }
    }

    fn totals(self, what: &str) -> Query {
        let keys = self.levels.iter().map(|level| level.keys().len()).max().unwrap_or(0);
        let totals = self.plan.levels.iter().map(|level| level.width()).max().unwrap_or(0);
        let width = (keys, totals.max(COUNTS));
        let ctes = self.levels.iter().flat_map(LevelSql::ctes).collect();
        let cells = self.levels.iter().zip(&self.plan.levels);
        let cells = cells.map(|(level, planned)| cells_rows(self.dialect, width, level, planned));
        let cells = cells.collect();
        self.query(what, width, ctes, cells)
    }

    fn surveys(self) -> Query {
        let width = (2, COUNTS);
        let ctes = std::iter::once(SurveySql::bins(self.dialect));
        let ctes = ctes.chain(self.surveys.iter().flat_map(SurveySql::ctes));
        let ctes = ctes.chain(self.tickets.iter().flat_map(TicketsSql::ctes)).collect();
        let users = self.surveys.iter().map(|survey| {
            let statistic = "dr_statistic".to_owned();
            bin_rows(self.dialect, width, survey.level(), statistic, &survey.result())
        });
        let tickets = self.tickets.iter().map(|tickets| {
            let (level, statistic) = tickets.names();
            let statistic = self.dialect.text(statistic);
            bin_rows(self.dialect, width, level, statistic, &tickets.result())
        });
        let rows = users.chain(tickets).collect();
        self.query("first look", width, ctes, rows)
    }

    /// A query of these steps, after those of all rows, and of these parts, after that of all rows.
    fn query(self, what: &str, width: (usize, usize), own: Vec<Cte>, parts: Vec<String>) -> Query {
        let Parts { plan, dialect, rows, .. } = self;
        let mut ctes = rows.ctes();
        ctes.extend(counts(plan, dialect));
        ctes.extend(own);
        let steps: Vec<String> = ctes.iter().map(Cte::text).collect();
        let parts: Vec<String> = std::iter::once(rows_row(dialect, width)).chain(parts).collect();
        let body = format!("WITH{}\n{}\n", steps.join(",\n"), parts.join("\nUNION ALL\n"));
        let mut text = header(plan, dialect, what) + &body;
        let digest = Sha256::digest(text.as_bytes());
        let mut origin = format!("{}:", dialect.name());
        for byte in digest {
            write!(origin, "{byte:02x}").expect("cannot fail because it is a string");
        }
        text = text.replace(ORIGIN, &origin);
        let (types, table) = (rows.other_types(), rows.table());
        Query { dialect, plan: origin, width, columns: rows.into_columns(), types, table, text }
    }
}

/// What a single query cannot do, as it has to be asked before: look for keys, and for bounds.
fn asked_before(plan: &Plan) -> Vec<Finding> {
    let open = plan.surveys.iter().filter(|survey| survey.result.is_none());
    let open = open.map(|survey| {
        let level = &plan.levels[survey.level];
        let kind = level.statistics[survey.statistic].kind;
        let finding = match survey.ticket_groups {
            Some(_) => findings::tickets_open(&level.file),
            None if survey.is_choice() => findings::bound_open(kind.name(), &level.file),
            None => findings::survey_asked(&level.file),
        };
        finding.at(level.span.clone())
    });
    let seeking = plan.levels.iter().filter(|level| level.round().is_some());
    let seeking = seeking.map(|l| findings::keys_not_sought(&l.file).at(l.span.clone()));
    let mut findings: Vec<Finding> = open.chain(seeking).collect();
    // `survey = true` asks one of each statistic.
    findings.dedup();
    findings
}

/// What levels need to know of merchants, as numbers: by which tickets are alike, before usual ones
/// are known, then the usual ones; and by what numbers are multiplied where cells have scales.
fn merchant_numbers(plan: &Plan, at_once: bool) -> Vec<(String, Vec<i64>)> {
    let of_level = |(place, level): (usize, &LevelPlan)| {
        let tickets = level.tickets.as_ref()?;
        let groups = tickets.merchant_groups()?.iter();
        Some(match at_once {
            true => {
                (rows::usual(place), groups.map(|&group| tickets.usual(group as usize)).collect())
            }
            false => (rows::group(place), groups.map(|&group| group.into()).collect()),
        })
    };
    let scales = |(place, level): (usize, &'_ LevelPlan)| -> Vec<(String, Vec<i64>)> {
        let Some(grouping) = &level.cells.merchants else { return Vec::new() };
        let of_kind = |(&kind, scales): (&StatisticKind, &Scales)| {
            let of_merchant = |&group: &u32| 1 << scales.shifts()[group as usize];
            (rows::scale(place, kind), grouping.group_of.iter().map(of_merchant).collect())
        };
        level.scales.iter().map(of_kind).collect()
    };
    let levels = || plan.levels.iter().enumerate();
    levels().filter_map(of_level).chain(levels().flat_map(scales)).collect()
}

/// The dialect that the origin of a result names.
pub(super) fn dialect_of(origin: &str) -> Option<Dialect> {
    Dialect::named(origin.split_once(':')?.0)
}

/// The value that the SQL writes as `text` for a key; `None` if there is none such.
pub(super) fn key_value(plan: &Plan, key: &Key, text: &str) -> Option<KeyValue> {
    let Key::Time(time) = key else { return Some(KeyValue::Text(text.into())) };
    let number: usize = text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()))?;
    let values = time_values(plan, *time);
    values.get(number).filter(|_| number >= calendar::first_value(*time)).cloned()
}

/// The values of a time key by their numbers in the SQL.
pub(super) fn time_values(plan: &Plan, key: TimeKey) -> Vec<KeyValue> {
    calendar::values(key, plan.job.payments.period)
}

/// One step of a query.
pub(super) struct Cte {
    name: String,
    what: String,
    sql: String,
}

impl Cte {
    fn new(name: &str, what: &str, sql: String) -> Cte {
        Cte { name: name.to_owned(), what: what.to_owned(), sql }
    }

    fn text(&self) -> String {
        format!("\n-- {}\n{} AS (\n  {}\n)", self.what, self.name, self.sql)
    }
}

/// The distinct keys of all levels.
fn keys_of(plan: &Plan) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    for key in plan.levels.iter().flat_map(|level| &level.keys) {
        if !keys.contains(key) {
            keys.push(key.clone());
        }
    }
    keys
}

fn header(plan: &Plan, dialect: Dialect, what: &str) -> String {
    let job = &plan.job;
    let tested = if dialect.is_tested() { "" } else { "; NOT TESTED against the service" };
    let mut text = format!(
        "-- The {what} of job {} ({}{tested}), job digest {}.\n\
         -- Its result is as sensitive as the payments: it has no noise yet.",
        job.id,
        dialect.name(),
        job.digest
    );
    text += match what {
        HEAVY_STAGE => {
            " Write it as Parquet that nobody\n\
             -- else can read, hand it to `discretail run --totals FILE JOB`, then delete it.\n"
        }
        _ => "\n",
    };
    for statement in dialect.settings() {
        text += &format!("-- Needs, in the same session: {statement};\n");
    }
    text
}

/// All rows and users, counted apart from the levels.
fn counts(plan: &Plan, dialect: Dialect) -> [Cte; 2] {
    let count = |verdict: u8| {
        format!("COALESCE(SUM(CASE WHEN dr_verdict = {verdict} THEN 1 ELSE 0 END), 0)")
    };
    let counts = format!(
        "SELECT COUNT(*) AS n_rows, {} AS n_good, {} AS n_bad,\n    COALESCE(MAX(dr_types), 0) AS \
         n_types\n  FROM dr_judged",
        count(GOOD),
        count(BAD),
    );
    let unit = calendar::unit(dialect, plan.job.privacy.unit, plan.job.payments.period);
    let user = unit.map_or("dr_user", |_| "dr_user, dr_unit");
    let people = format!(
        "SELECT COUNT(*) AS n_users\n  FROM (SELECT DISTINCT {user} FROM dr_payments) dr_all"
    );
    [
        Cte::new("dr_counts", "all rows, apart from the levels", counts),
        Cte::new("dr_people", "all privacy units, apart from the levels", people),
    ]
}

/// A row of the result: what it is of, its keys as text, and numbers.
fn row(
    dialect: Dialect,
    (keys, totals): (usize, usize),
    level: &str,
    own_keys: &[String],
    numbers: &[String; 3],
    own_totals: &[String],
    from: &str,
) -> String {
    let text = |value: &str| format!("CAST({value} AS {})", dialect.text_type());
    let null = "NULL".to_owned();
    // In quotes, so that no dialect writes them in capitals.
    let named = |value: String, name: &str| format!("{value} AS {}", dialect.quoted(name));
    let mut columns = vec![
        named(text(&format!("'{ORIGIN}'")), "plan"),
        named(text(&dialect.text(level)), "level"),
    ];
    for at in 0..keys {
        let key = own_keys.get(at).unwrap_or(&null);
        columns.push(named(text(key), &format!("key_{}", at + 1)));
    }
    for (number, name) in numbers.iter().zip(["n_rows", "n_users", "n_first"]) {
        columns.push(named(dialect.integer(number), name));
    }
    for at in 0..totals {
        let total = own_totals.get(at).unwrap_or(&null);
        columns.push(named(dialect.integer(total), &format!("total_{}", at + 1)));
    }
    format!("SELECT\n    {}\n  FROM {from}", columns.join(",\n    "))
}

/// The row of all rows: those that `where` chooses, users, payments; bad rows, whether the session
/// is set as it must be, and the columns of another type.
fn rows_row(dialect: Dialect, width: (usize, usize)) -> String {
    let is_set = format!("CASE WHEN {} THEN 1 ELSE 0 END", dialect.is_set());
    let numbers = ["n_rows", "n_users", "n_good"].map(str::to_owned);
    let totals = ["n_bad".to_owned(), is_set, "n_types".to_owned()];
    row(dialect, width, ROWS, &[], &numbers, &totals, "dr_counts CROSS JOIN dr_people")
}

fn cells_rows(
    dialect: Dialect,
    width: (usize, usize),
    level: &LevelSql,
    planned: &crate::plan::LevelPlan,
) -> String {
    let numbers = ["n_rows", "n_users", "n_first"].map(str::to_owned);
    let totals: Vec<String> = (1..=planned.width()).map(|at| format!("total_{at}")).collect();
    row(dialect, width, &planned.file, level.keys(), &numbers, &totals, &level.result())
}

/// A row for each bin of a survey, or of all of a level.
fn bin_rows(
    dialect: Dialect,
    width: (usize, usize),
    level: &str,
    statistic: String,
    from: &str,
) -> String {
    let keys = [statistic, "dr_bin".to_owned()];
    let numbers = ["n_rows", "n_users", "n_first"].map(str::to_owned);
    row(dialect, width, level, &keys, &numbers, &["total_1".to_owned()], from)
}
