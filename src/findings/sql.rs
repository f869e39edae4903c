//! Faults of SQL for elsewhere, and of totals that come back.

use std::fmt::Display;
use std::path::Path;

use super::Finding;

/// Whose totals.
#[derive(Clone, Copy, Debug)]
pub enum TotalsOf<'a> {
    /// Those of a file, or of a folder of files.
    File(&'a Path),
    /// Those that this program has asked for, of a table.
    Table(&'a str),
}

impl Display for TotalsOf<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TotalsOf::File(path) => write!(f, "{}", path.display()),
            TotalsOf::Table(table) => write!(f, "what came back of `{table}`"),
        }
    }
}

/// SQL is asked for, but the payments are in files.
pub fn table_missing() -> Finding {
    Finding::new("table-missing", "the job's payments are in files, and SQL reads a table")
        .hint("write `table = \"payments\"` and `types` in place of `files`; the table may be a view of files")
}

/// The payments are in a table, which only its database can add up.
pub fn totals_missing(table: &str) -> Finding {
    Finding::new(
        "totals-missing",
        format!("the payments are in the table `{table}`, and the job names no `engine` that adds them up"),
    )
    .hint(
        "run what `plan --sql` prints there, and give its result: `run --totals FILE`; or name an `engine`, \
         which does both",
    )
}

/// A part of an expression that dialects do not agree on.
pub fn sql_unsupported(key: &str, why: &str) -> Finding {
    Finding::new("sql-unsupported", format!("`{key}` cannot be written for all dialects: {why}"))
        .hint("make a view that has such a column, row by row, and name the view as `table`")
}

/// A column of the table of which the job does not say what it holds.
pub fn column_untyped(key: &str, column: &str, kind: &str) -> Finding {
    let text = format!("`{key}` looks at the column `{column}`, of which `types` says nothing");
    let plain = column.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let shown = if plain { column.to_owned() } else { format!("{column:?}") };
    Finding::new("sql-unsupported", text)
        .hint(format!("add `{shown} = \"{kind}\"`, or what it holds, to `types`"))
}

/// Keys of a level are discovered, which takes several looks at the payments.
pub fn keys_not_sought(level: &str) -> Finding {
    let text = format!(
        "keys of `{level}` are discovered, which needs several looks at the payments, and a query by hand takes one"
    );
    Finding::new("keys-not-sought", text).hint(
        "name an `engine`, whose server is asked as often as needed; or write `keys = \"private\"`, whose keys \
         are found by all noised values together",
    )
}

/// More merchants than a query can list.
pub fn sql_merchants_too_many(found: usize, most: usize) -> Finding {
    Finding::new(
        "sql-merchants-too-many",
        format!("the table of merchants has {found} rows, and a query can list {most}"),
    )
    .hint("give `columns` what you need of merchants, with its values in [keys], and leave [merchants] out")
}

/// A bound that only a first look at the payments would tell.
pub fn bound_open(statistic: &str, level: &str) -> Finding {
    let text = format!("the bound of `{statistic}` at `{level}` is open, and SQL needs all bounds");
    Finding::new("bound-open", text).hint(format!(
        "state `bounds = {{ {statistic} = ... }}` from public knowledge, or take those of an earlier job \
         with `previous`"
    ))
}

/// A survey of what bounds take that are stated.
pub fn survey_asked(level: &str) -> Finding {
    let text = format!(
        "`survey = true` at `{level}` needs a first look at the payments, and a query by hand takes none"
    );
    Finding::new("bound-open", text)
        .hint("leave `survey = true` out of this job: its bounds are stated")
}

/// An insight that rests on a first look at the payments.
pub fn tickets_open(level: &str) -> Finding {
    let text = format!(
        "`ticket_quantiles` at `{level}` needs a first look at the payments, and SQL takes one only"
    );
    Finding::new("bound-open", text).hint("leave `ticket_quantiles` out of this job")
}

/// Others can read the totals.
pub fn totals_not_secret(path: &Path) -> Finding {
    let text =
        format!("{} is as sensitive as the payments, and others may read it", path.display());
    Finding::new("totals-not-secret", text)
        .hint("take their rights away (chmod go=), and find out who has read it meanwhile")
}

/// A file that is not there or cannot be understood.
pub fn totals_unreadable(path: &Path, cause: &dyn Display) -> Finding {
    Finding::new("totals-unreadable", format!("cannot read {}: {cause}", path.display()))
        .hint("give the Parquet file, or the folder of such files, that the query's result was written to")
}

/// Totals of another job, of the job before it was changed, or from another version of this
/// program.
pub fn totals_of_another_plan(path: &Path) -> Finding {
    let text = format!("{} is not the result of this job's query as it is now", path.display());
    Finding::new("totals-of-another-plan", text)
        .hint("print the query again with `plan --sql`, run it, and give its result")
}

/// Totals that contradict themselves or the plan.
pub fn totals_unfit(of: TotalsOf, why: &str) -> Finding {
    Finding::new("totals-unfit", format!("{of} cannot be used: {why}")).hint(match of {
        TotalsOf::File(_) => "run the whole query again, unchanged, and write all of its rows",
        TotalsOf::Table(_) => {
            "run the job again; if it stays, the server loses or repeats work, or the table was changed meanwhile"
        }
    })
}

/// The query ran in a session with other rules than it needs.
pub fn totals_session(of: TotalsOf, settings: &str) -> Finding {
    let text = format!("{of} comes from a session without the settings it needs");
    Finding::new("totals-session", text).hint(match of {
        TotalsOf::File(_) => format!("run the query again after: {settings}"),
        TotalsOf::Table(_) => format!("the server did not take: {settings}"),
    })
}

/// A column of another type than the job says.
pub fn totals_types(of: TotalsOf, column: &str, kind: &str) -> Finding {
    let text =
        format!("the table's column `{column}` is not of the type that `types` says: {kind}");
    let view = "correct `types`, or name a view in which the column is that";
    Finding::new("totals-types", text).hint(match of {
        TotalsOf::File(_) => format!("{view}; then print the query again with `plan --sql`"),
        TotalsOf::Table(_) => view.to_owned(),
    })
}

/// A database whose texts are in another encoding.
pub fn encoding_unfit(table: &str) -> Finding {
    let text = format!("the table `{table}` is in a database of another encoding than UTF-8");
    Finding::new("encoding-unfit", text)
        .hint("copy the table into a database that is made with ENCODING 'UTF8', and name that one")
}

/// Too many bad rows.
pub fn totals_rows_bad(share: f64) -> Finding {
    Finding::new("totals-rows-bad", format!("more than {share} of the table's rows are bad"))
        .hint("look for them with the step `dr_judged` of the query (dr_verdict = 1), or raise `max_bad_share`")
}

/// Totals of a job that this program adds up itself.
pub fn totals_unexpected() -> Finding {
    Finding::new("totals-unexpected", "the job's payments are in files, so it takes no totals")
        .hint("leave --totals out, or name a `table` in place of `files`")
}
