//! What an audit says: one row a check.

/// What became of a check. There is no word for *proved*: evidence can only fail to refute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was found, at the row's confidence.
    NotRefuted,
    /// A claim does not hold; the row says which.
    Refuted,
    /// Nothing to check, or nothing that a program can see.
    NotApplicable,
}

impl Verdict {
    /// The words in tables.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::NotRefuted => "not refuted",
            Verdict::Refuted => "refuted",
            Verdict::NotApplicable => "not applicable",
        }
    }
}

/// One row of the evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The check, as in `docs/audit.md`.
    pub check: &'static str,
    /// What is claimed, of what.
    pub what: String,
    /// How it was tried.
    pub method: String,
    /// What came out.
    pub verdict: Verdict,
    /// The figures behind it.
    pub figure: String,
    /// The chance that a right program passes; 1 where the check is exact.
    pub confidence: f64,
    /// Where the method or the claim is described.
    pub reference: &'static str,
}

impl Row {
    /// An exact check: refuted if there are faults, of which the first three are told.
    pub(super) fn exact(
        check: &'static str,
        what: &str,
        method: &str,
        faults: &[String],
        figure: String,
        reference: &'static str,
    ) -> Row {
        let verdict = if faults.is_empty() { Verdict::NotRefuted } else { Verdict::Refuted };
        let mut told: Vec<String> = faults.iter().take(3).cloned().collect();
        if faults.len() > told.len() {
            told.push(format!("and {} more", faults.len() - told.len()));
        }
        let figure = if faults.is_empty() { figure } else { told.join("; ") };
        let (what, method) = (what.to_owned(), method.to_owned());
        Row { check, what, method, verdict, figure, confidence: 1.0, reference }
    }

    /// A question that does not arise, or that people must answer.
    pub(super) fn open(check: &'static str, what: &str, figure: &str, from: &'static str) -> Row {
        Row {
            check,
            what: what.to_owned(),
            method: "not for a program to see".to_owned(),
            verdict: Verdict::NotApplicable,
            figure: figure.to_owned(),
            confidence: 1.0,
            reference: from,
        }
    }
}
