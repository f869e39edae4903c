//! Why payments could not be read, in words that quote no record.

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
            Unread::File(path, cause) => findings::file_unreadable(path, cause),
            Unread::Line(path, line, most) => findings::line_too_long(path, *line, *most),
        };
        Error::invalid(finding.at(source.span.clone()))
    }
}

pub(super) fn unreadable_file(path: &Path, cause: &PolarsError) -> Finding {
    tracing::debug!("{cause}");
    findings::file_damaged(path, &words(cause))
}

/// polars' errors may quote values of records: show their kind only, all with -v.
pub(super) fn unreadable(cause: &PolarsError, source: &PaymentsSource) -> Error {
    tracing::debug!("{cause}");
    Error::invalid(findings::payments_unreadable(&words(cause)).at(source.span.clone()))
}

fn words(cause: &PolarsError) -> String {
    kind_of(cause).unwrap_or_else(|| "a file is damaged or of another format".to_owned())
}

fn kind_of(cause: &PolarsError) -> Option<String> {
    let words = match cause {
        PolarsError::ColumnNotFound(_) => "a column is missing",
        PolarsError::IO { error, .. } => match error.kind() {
            std::io::ErrorKind::Other => "a file is damaged or cut off",
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
