//! Every sentence that tells a user what is wrong. One constructor for each code.
//!
//! A finding says what, where, the limit, the value and the next step. It never holds a token, a
//! raw value of a record or an exact count of sensitive rows: errors are outputs too.
//! `docs/errors.md` has a heading for each code; `tests/it/tidy.rs` checks that none is missing.

mod job;
mod ledger;
mod payments;
mod remote;
mod run;
mod sample;
mod spark;
mod sql;

use std::ops::Range;
use std::path::Path;

pub use job::*;
pub use ledger::*;
pub use payments::*;
pub use remote::*;
pub use run::*;
pub use sample::*;
pub use spark::*;
pub use sql::*;

/// A number of things in words: `1 table`, `2 tables`.
pub fn counted(count: usize, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

/// One thing that is wrong: a stable code, a sentence, perhaps a place and a next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    code: &'static str,
    message: String,
    span: Option<Range<usize>>,
    /// Is what stands there a secret, that no message may quote?
    is_secret: bool,
    hint: Option<String>,
}

impl Finding {
    /// `code` is a kebab-case noun with the fault last; `message` one sentence, no full stop.
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Finding { code, message: message.into(), span: None, is_secret: false, hint: None }
    }

    /// The next step, as an imperative.
    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Points at bytes of the job file.
    #[must_use]
    pub fn at(mut self, span: Range<usize>) -> Self {
        self.span = Some(span);
        self
    }

    /// Points at bytes of the job file that no message quotes.
    #[must_use]
    pub fn at_secret(self, span: Range<usize>) -> Self {
        Finding { span: Some(span), is_secret: true, ..self }
    }

    /// Points at nothing if it points at this place, as it is about something that stands for what
    /// is there; with another next step, if one is given.
    #[must_use]
    pub fn but_not_at(self, span: &Range<usize>, hint: Option<&str>) -> Self {
        if self.span.as_ref() != Some(span) {
            return self;
        }
        Finding { span: None, hint: hint.map(str::to_owned).or(self.hint), ..self }
    }

    /// What went wrong when the job's price was paid already.
    #[must_use]
    pub fn when_charged(self, job: &str) -> Self {
        let before = self.hint.map_or(String::new(), |hint| format!("{hint}; "));
        let hint = format!(
            "{before}job `{job}` is charged and makes no other release under this id: a run with a \
             new `job` id is charged again"
        );
        Finding { hint: Some(hint), ..self }
    }

    /// What went wrong when the release was whole in `folder`, and charged.
    #[must_use]
    pub fn when_released(self, folder: &Path) -> Self {
        let before = self.hint.map_or(String::new(), |hint| format!("{hint}; "));
        let folder = folder.display();
        let hint = format!(
            "{before}the release is whole in {folder} and charged: run the job again with `--out \
             {folder}`, which records it and charges nothing"
        );
        Finding { hint: Some(hint), ..self }
    }

    /// The stable code, such as `budget-exceeded`.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What is wrong, in one sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Which bytes of the job file it is about.
    pub fn span(&self) -> Option<Range<usize>> {
        self.span.clone()
    }

    /// Is that a secret, whose line is not shown?
    pub fn is_secret(&self) -> bool {
        self.is_secret
    }

    /// What to do next.
    pub fn next_step(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "error[{}]: {}", self.code, self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}
