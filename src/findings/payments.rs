//! Faults of the payments' files. None shows a value of a record.

use std::fmt::Display;
use std::path::Path;

use super::Finding;

/// A pattern that no file matches.
pub fn files_missing(pattern: &Path) -> Finding {
    Finding::new("files-missing", format!("no file matches {}", pattern.display()))
        .hint("relative paths start at the job file's folder; check the spelling and the mount")
}

/// A name or pattern that leads to things, but to no file; `found` is the first of them.
pub fn files_odd(pattern: &Path, found: &Path, what: &str) -> Finding {
    let missing = format!("no file matches {}", pattern.display());
    let message = match pattern == found {
        true => format!("{missing}: it is {what}"),
        false => format!("{missing}: {} is {what}", found.display()),
    };
    Finding::new("files-missing", message).hint("name files, or a folder that has some")
}

/// A pattern that is none.
pub fn pattern_wrong(pattern: &Path, cause: &dyn Display) -> Finding {
    Finding::new("pattern-wrong", format!("{} is not a file pattern: {cause}", pattern.display()))
        .hint("write it with `*`, `**`, `?` or `[...]`")
}

/// A file or folder that cannot be opened.
pub fn file_unreadable(path: &Path, cause: &dyn Display) -> Finding {
    Finding::new("file-unreadable", format!("cannot read {}: {cause}", path.display()))
        .hint("check its permissions, and whether all is mounted")
}

/// A line of a text file that is too long to be held.
pub fn line_too_long(path: &Path, line: usize, mib: usize) -> Finding {
    let place = path.display();
    let message = format!("line {line} of {place} is longer than {mib} MiB");
    Finding::new("line-too-long", message)
        .hint("look whether lines end with a line feed and all is text; leave out columns that the job does not use")
}

/// A file that can be opened but not understood.
pub fn file_damaged(path: &Path, cause: &dyn Display) -> Finding {
    Finding::new("file-damaged", format!("cannot read {}: {cause}", path.display()))
        .hint("write the file again, or state its `format`; -v shows the reader's own words")
}

/// A file that was written to while it was read.
pub fn file_changed(path: &Path) -> Finding {
    Finding::new("file-changed", format!("{} changed while it was read", path.display()))
        .hint("wait until it is written, then run the same command again; nothing is charged")
}

/// A mapped file whose end is gone, or whose disk gives nothing.
pub fn file_cut_short() -> Finding {
    Finding::new(
        "file-cut-short",
        "a file became shorter while it was read, or its disk failed (SIGBUS)",
    )
    .hint("wait until the files are written, then run the same command again; it is never charged twice")
}

/// A file of no bytes.
pub fn file_empty(path: &Path) -> Finding {
    Finding::new("file-empty", format!("{} has no bytes", path.display()))
        .hint("remove it, or wait until it is written")
}

/// Files whose ending tells no format, or several.
pub fn format_unclear(path: &Path) -> Finding {
    Finding::new("format-unclear", format!("cannot tell the format of {}", path.display()))
        .hint("add `format = \"parquet\"`, \"csv\" or \"ipc\" to [payments]")
}

/// A compressed text file, or one whose ending tells no format.
pub fn file_compressed(path: &Path) -> Finding {
    Finding::new("file-compressed", format!("{} is compressed", path.display()))
        .hint("unpack it, or write it as Parquet, which is small in itself")
}

/// Files of different formats.
pub fn formats_mixed(path: &Path) -> Finding {
    Finding::new("formats-mixed", format!("{} has another format than the first", path.display()))
        .hint("name files of one format only")
}

/// A path outside the local file system.
pub fn path_not_local(path: &Path) -> Finding {
    Finding::new("path-not-local", format!("{} is not a local path", path.display()))
        .hint("copy or mount the files")
}

/// Files that cannot be understood, or do not have the same columns.
pub fn payments_unreadable(kind: &str) -> Finding {
    Finding::new("payments-unreadable", format!("the payments cannot be read: {kind}"))
        .hint("run with -v for the reader's own words, which may quote records")
}

/// The system gives no more memory.
pub fn memory_exhausted() -> Finding {
    let text = "the system gave no more memory while the payments were read";
    Finding::new("memory-exhausted", text).hint(
        "nothing is wrong with the files, and nothing is charged: allow the process more (`ulimit -v`), or run it \
         where more is free; --memory and --threads lower what it takes",
    )
}

/// A text file with two columns of one name, which the job uses.
pub fn column_twice(column: &str, path: &Path) -> Finding {
    Finding::new("column-twice", format!("two columns of {} are called `{column}`", path.display()))
        .hint("give one of them another name where the file is written")
}

/// A column that a folder of the job's own path is called after.
pub fn column_above(column: &str) -> Finding {
    let text = format!(
        "the job uses the column `{column}`, and its own path has a folder `{column}=...`, which would be one, too"
    );
    Finding::new("column-twice", text)
        .hint("move the job file out of that folder, and name the files from there")
}

/// Two files that differ in a column; `is_one_field`: a text file's first line has no separator.
pub fn schema_differs(
    path: &Path,
    column: &str,
    found: &str,
    wanted: &str,
    is_one_field: bool,
) -> Finding {
    let path = path.display();
    let hint = match is_one_field {
        false => "run a job for each kind of file, or convert them",
        true => {
            "its first line has no `separator`: is it another there? Then convert the file, or run a job for it"
        }
    };
    Finding::new(
        "schema-differs",
        format!("column `{column}` is {found} in {path}, but {wanted} in the first file"),
    )
    .hint(hint)
}

/// Two files whose enums list different texts, or the same in another order.
pub fn enums_differ(path: &Path, column: &str, same_texts: bool) -> Finding {
    let how = match same_texts {
        true => "with the same texts in another order",
        false => "with other texts",
    };
    Finding::new(
        "schema-differs",
        format!("column `{column}` is an enum in {}, {how} than in the first file", path.display()),
    )
    .hint(
        "write it as text in all files, or as an enum of the same texts in the same order; or run a job for each \
         kind of file",
    )
}

/// A column of a type that the reader does not know, whether or not the job uses it.
pub fn column_unreadable(column: &str, what: &str, path: &Path) -> Finding {
    Finding::new(
        "column-unreadable",
        format!("column `{column}` of {} is {what}, which cannot be read", path.display()),
    )
    .hint("write the files without it, even if the job does not use it, or with it as text")
}

/// A file with a column of such a type that even its name is not known.
pub fn columns_unreadable(what: &str, path: &Path) -> Finding {
    let text = format!("a column of {} is {what}, which cannot be read", path.display());
    Finding::new("column-unreadable", text)
        .hint("write the files without it, even if the job does not use it, or as plain values")
}

/// A file whose folders give other columns than those of the first.
pub fn folders_differ(path: &Path) -> Finding {
    let text = format!(
        "the folders of {} give other columns (`name=value`) than those of the first file",
        path.display()
    );
    Finding::new("schema-differs", text)
        .hint("name files whose folders have the same names and depth, or run a job for each kind")
}

/// A column that an expression names and the files lack.
pub fn column_missing(key: &str, column: &str, columns: &Columns) -> Finding {
    let hint = match columns {
        Columns::Named(names) => super::job::did_you_mean(column, names),
        Columns::OneOfText(separator) => format!(
            "the first line of the first file is one field: is `separator` of `csv` right, which is {separator:?}?"
        ),
        Columns::PerhapsRecord => {
            "the first line does not look like names of columns, so it is not shown; if it is none, \
             add `csv = { header = false }` to [payments] and use `column_1`, `column_2`, ..."
                .to_owned()
        }
        Columns::Numbered => "text without a header has `column_1`, `column_2`, ...".to_owned(),
    };
    Finding::new(
        "column-missing",
        format!("`{key}` names the column `{column}`, which the payments lack"),
    )
    .hint(hint)
}

/// What a message may say of the columns that there are.
pub enum Columns<'a> {
    /// Their names.
    Named(Vec<&'a str>),
    /// A text file with this separator has but one.
    OneOfText(char),
    /// The first line may be a record.
    PerhapsRecord,
    /// There is no first line with names.
    Numbered,
}

/// An expression of a type that its key cannot have.
pub fn column_type_wrong(key: &str, found: &dyn Display, wanted: &str, is_bytes: bool) -> Finding {
    let hint = match is_bytes {
        false => "convert it in SQL, for example CAST(... AS BIGINT) or STRPTIME(..., '%Y-%m-%d')",
        true => {
            "if they are text (UTF-8) by another name, write CAST(... AS VARCHAR); others, such as those of \
             UUIDs, must be written as text where the files are made"
        }
    };
    Finding::new("column-type-wrong", format!("`{key}` is {found}, but must be {wanted}"))
        .hint(hint)
}

/// An expression that polars cannot apply to these columns.
pub fn expression_unfit(key: &str, cause: &dyn Display) -> Finding {
    Finding::new("expression-unfit", format!("`{key}` cannot be computed: {cause}"))
        .hint("convert its parts in SQL, for example CAST(... AS BIGINT)")
}

/// An expression that polars cannot apply to some row.
pub fn expression_failed(key: &str) -> Finding {
    Finding::new(
        "expression-failed",
        format!("`{key}` cannot be computed for some row, and polars does not make it null there"),
    )
    .hint(
        "the files are fine; write it in another way, or a column where the files are made; -v shows polars' own words, \
         which may quote records",
    )
}

/// Times are text and nobody has said how they are written.
pub fn time_format_missing() -> Finding {
    Finding::new(
        "time-format-missing",
        "`time` is text, but the job does not say how it is written",
    )
    .hint("add `time_format = \"%Y-%m-%d %H:%M:%S\"` to [payments]")
}

/// A column of currencies that the job does not map; `path`: the file that has it, if it is not the
/// first.
pub fn currency_not_mapped(column: &str, path: Option<&Path>) -> Finding {
    let which =
        path.map_or("the payments have".to_owned(), |path| format!("{} has", path.display()));
    Finding::new(
        "currency-not-mapped",
        format!("{which} a column `{column}`, so payments may be in several currencies"),
    )
    .hint("add `currency = \"...\"` to `columns`: the job's `currency` picks, a level splits")
}

/// Too many bad rows; `most` is what most of them are bad for.
pub fn bad_rows_too_many(max_share: f64, most: &str, file: &Path) -> Finding {
    // Whole millionths: 0.07 is 7 %, not 7.000000000000001 %.
    let percent = (max_share * 1e6).round() / 1e4;
    Finding::new(
        "bad-rows-too-many",
        format!(
            "more than {percent} % of the rows are bad, which is the limit of `max_bad_share`; most often: {most}"
        ),
    )
    .hint(format!(
        "they are in {}, with a reason each; mend the job or the files, or raise `max_bad_share` in [payments]; \
         nothing is charged",
        file.display()
    ))
}

/// Rows were read, but none is about the job's period and currencies.
pub fn rows_all_left_out(first: &dyn Display, last: &dyn Display) -> Finding {
    Finding::new(
        "rows-all-left-out",
        format!("no row lies between {first} and {last} and has a currency of the job"),
    )
    .hint("check `first_day`, `last_day`, `time` and `currency`; nothing is charged")
}

/// Of the rows that were read, none is sound; of files it is known what most of them are bad for,
/// and where they are.
pub fn rows_all_bad(told: Option<(&str, &Path)>) -> Finding {
    let most = told.map(|(most, _)| format!(", most often: {most}")).unwrap_or_default();
    let hint = match told {
        Some((_, file)) => {
            format!("they are in {}, with a reason each; mend the job or the files", file.display())
        }
        None => "mend the job or the table".to_owned(),
    };
    Finding::new(
        "rows-all-bad",
        format!("no row is sound: all that are not left out are bad{most}"),
    )
    .hint(format!("{hint}; nothing is charged"))
}

/// There are no rows at all, or none that `where` chooses.
pub fn rows_missing(has_where: bool) -> Finding {
    let (message, hint) = match has_where {
        true => ("the payments have no row for which `where` is true", "`files` and `where`"),
        false => ("the payments have no rows", "`files`"),
    };
    Finding::new("rows-missing", message)
        .hint(format!("a release would show noise alone; check {hint}; nothing is charged"))
}

/// The quarantine folder cannot be written.
pub fn quarantine_not_writable(path: &Path, cause: &dyn Display) -> Finding {
    Finding::new(
        "quarantine-not-writable",
        format!("cannot write bad rows to {}: {cause}", path.display()),
    )
    .hint("free some space, or name another folder as `quarantine` in [payments]")
}
