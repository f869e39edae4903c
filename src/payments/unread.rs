//! Why payments could not be read, in words that quote no record.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use polars::prelude::PolarsError;

use crate::error::Error;
use crate::findings::{self, Finding};
use crate::job::PaymentsSource;

/// What stops a reader.
pub(super) enum Unread {
    /// Of a file or an expression.
    Cause(PolarsError),
    /// The reader panicked; polars has no error for some damaged files.
    Panic,
    /// The file, and what the system says.
    File(PathBuf, std::io::Error),
    /// A line, by the file and its number, that is longer than so many MiB.
    Line(PathBuf, usize, usize),
}

impl Unread {
    /// Could an expression be the cause? What is said of files is of files.
    pub(super) fn may_be_of_an_expression(&self) -> bool {
        match self {
            Unread::Cause(cause) => says_utf8(cause) || kind_of(cause).is_none(),
            Unread::Panic => true,
            Unread::File(..) | Unread::Line(..) => false,
        }
    }

    pub(super) fn told(self, source: &PaymentsSource) -> Error {
        let finding = match &self {
            Unread::Cause(cause) => return unreadable(cause, source),
            Unread::Panic => findings::payments_unreadable("the reader failed"),
            Unread::File(_, cause) if cause.kind() == ErrorKind::OutOfMemory => {
                findings::memory_exhausted()
            }
            Unread::File(path, cause) => findings::file_unreadable(path, cause),
            Unread::Line(path, line, most) => findings::line_too_long(path, *line, *most),
        };
        refusal(vec![finding.at(source.span.clone())])
    }
}

/// What findings of files come to: invalid input, unless the machine is what is at fault.
pub(super) fn refusal(findings: Vec<Finding>) -> Error {
    let exhausted = findings::memory_exhausted();
    match findings.iter().any(|finding| finding.code() == exhausted.code()) {
        true => Error::environment(exhausted),
        false => Error::invalid_all(findings),
    }
}

pub(super) fn unreadable_file(path: &Path, cause: &PolarsError) -> Finding {
    tracing::debug!("{cause}");
    if is_out_of_memory(cause) {
        return findings::memory_exhausted();
    }
    findings::file_damaged(path, &words(cause))
}

/// polars' errors may quote values of records: show their kind only, all with -v.
pub(super) fn unreadable(cause: &PolarsError, source: &PaymentsSource) -> Error {
    tracing::debug!("{cause}");
    let finding = match is_out_of_memory(cause) {
        true => findings::memory_exhausted(),
        false => findings::payments_unreadable(&words(cause)),
    };
    refusal(vec![finding.at(source.span.clone())])
}

/// The system's own words, as where a file cannot be mapped: polars has no others.
fn is_out_of_memory(cause: &PolarsError) -> bool {
    match cause {
        PolarsError::IO { error, .. } => error.kind() == ErrorKind::OutOfMemory,
        PolarsError::Context { error, .. } | PolarsError::ExprContext { error, .. } => {
            is_out_of_memory(error)
        }
        _ => false,
    }
}

fn words(cause: &PolarsError) -> String {
    kind_of(cause).unwrap_or_else(|| "a file is damaged or of another format".to_owned())
}

fn kind_of(cause: &PolarsError) -> Option<String> {
    let words = match cause {
        PolarsError::ColumnNotFound(_) => "a column is missing",
        PolarsError::IO { error, .. } => match error.kind() {
            ErrorKind::Other => "a file is damaged or cut off",
            kind => return Some(kind.to_string()),
        },
        PolarsError::SchemaMismatch(_) | PolarsError::SchemaFieldNotFound(_) => {
            "the files' columns differ"
        }
        PolarsError::NoData(_) => "a file has no columns",
        other if says_utf8(other) => "a text is not UTF-8",
        _ => return None,
    };
    Some(words.to_owned())
}

/// Errors of texts are of several kinds, perhaps with a context, and write it in two ways.
fn says_utf8(cause: &PolarsError) -> bool {
    let text = cause.to_string().to_lowercase();
    text.contains("utf-8") || text.contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorClass;
    use crate::fixture::Market;

    fn told(unread: Unread) -> (ErrorClass, &'static str) {
        let report = "levels = [[]]\nkeys = \"public\"\ninsights = [\"customers\"]".to_owned();
        let plan = Market::new(&[]).plan(&[report]);
        let error = unread.told(&plan.job.payments);
        (error.class(), error.findings()[0].code())
    }

    /// Of which nothing in the job or the files can be mended.
    #[test]
    fn memory_that_runs_out_is_no_fault_of_files() {
        let io = || std::io::Error::from_raw_os_error(12);
        let cause = || PolarsError::from(io());
        let within = PolarsError::Context { error: Box::new(cause()), msg: "reading".into() };
        let exhausted = (ErrorClass::Environment, "memory-exhausted");
        for unread in
            [Unread::Cause(cause()), Unread::Cause(within), Unread::File("a.csv".into(), io())]
        {
            assert_eq!(told(unread), exhausted);
        }
        let gone = std::io::Error::from(ErrorKind::NotFound);
        let others = [Unread::Cause(gone.into()), Unread::Panic];
        let invalid = (ErrorClass::Invalid, "payments-unreadable");
        others.into_iter().for_each(|unread| assert_eq!(told(unread), invalid));
        let files = [unreadable_file(Path::new("a.csv"), &cause())].to_vec();
        let found = refusal(files);
        assert_eq!((found.class(), found.findings()[0].code()), exhausted);
    }
}
