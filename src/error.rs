//! What can go wrong, in the four classes that control flow needs.

use crate::findings::Finding;

/// Why a command did not do what was asked, and with it the exit code.
///
/// Branch on this; for people, print the [`Finding`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// Exit 1: well-formed, but not allowed: no budget left, a run that already drew noise.
    Refused,
    /// Exit 2: the job, the arguments or the input are wrong; all mistakes found are listed.
    Invalid,
    /// Exit 3: disk, permissions, a database, or a bug.
    Environment,
    /// Exit 130: the user pressed Ctrl-C.
    Cancelled,
}

impl ErrorClass {
    /// The exit code of a process that ends with an error of this class.
    pub fn exit_code(self) -> u8 {
        match self {
            ErrorClass::Refused => 1,
            ErrorClass::Invalid => 2,
            ErrorClass::Environment => 3,
            ErrorClass::Cancelled => 130,
        }
    }
}

/// An error: its class, and at least one finding that says what, where and what to do next.
#[derive(Clone, Debug)]
pub struct Error {
    class: ErrorClass,
    findings: Vec<Finding>,
}

/// A result whose error can be shown to the user.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A refusal (exit 1).
    pub fn refused(finding: Finding) -> Self {
        Error { class: ErrorClass::Refused, findings: vec![finding] }
    }

    /// Invalid input (exit 2) with one finding.
    pub fn invalid(finding: Finding) -> Self {
        Self::invalid_all(vec![finding])
    }

    /// Invalid input (exit 2) with all its findings; `findings` is not empty.
    pub fn invalid_all(findings: Vec<Finding>) -> Self {
        debug_assert!(!findings.is_empty(), "an error without a finding says nothing");
        Error { class: ErrorClass::Invalid, findings }
    }

    /// Trouble outside the job (exit 3).
    pub fn environment(finding: Finding) -> Self {
        Error { class: ErrorClass::Environment, findings: vec![finding] }
    }

    /// Ctrl-C (exit 130).
    pub fn cancelled() -> Self {
        Error { class: ErrorClass::Cancelled, findings: vec![crate::findings::cancelled()] }
    }

    /// The same with other findings.
    #[must_use]
    pub fn map(self, change: impl FnMut(Finding) -> Finding) -> Self {
        Error { findings: self.findings.into_iter().map(change).collect(), ..self }
    }

    /// The class, for control flow and the exit code.
    pub fn class(&self) -> ErrorClass {
        self.class
    }

    /// What to show.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, finding) in self.findings.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{finding}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
