//! `discretail verify RELEASE`

use serde_json::{Value, json};

use super::Failure;
use crate::cli::VerifyArgs;
use crate::console;
use crate::error::Error;
use crate::findings;
use crate::verify::{Outcome, Verification, verify as check};

/// The table of checks is the result, also when one fails.
pub(super) fn verify(args: &VerifyArgs) -> Result<(), Failure> {
    let verification = check(&args.release, args.ledger.as_deref())?;
    let held = verification.held();
    let text = match args.json {
        true => as_json(&verification).to_string(),
        false => as_text(&verification),
    };
    console::result(&text)?;
    if held {
        return Ok(());
    }
    let failed = verification.checks.iter();
    let failed = failed.filter(|check| matches!(check.outcome, Outcome::Failed(_)));
    let names: Vec<&str> = failed.map(|check| check.name).collect();
    let error = Error::refused(findings::release_not_verified(&args.release, &names));
    Err(Failure { told: true, ..error.into() })
}

fn as_text(verification: &Verification) -> String {
    let mut lines = Vec::new();
    if !verification.job.is_empty() {
        lines.push(format!("job {}", verification.job));
    }
    for check in &verification.checks {
        let (word, texts) = match &check.outcome {
            Outcome::Held(text) => ("ok", std::slice::from_ref(text)),
            Outcome::Failed(texts) => ("failed", &texts[..]),
            Outcome::NotDone(text) => ("not done", std::slice::from_ref(text)),
        };
        for (place, text) in texts.iter().enumerate() {
            let (name, word) = if place == 0 { (check.name, word) } else { ("", "") };
            lines.push(format!("{name:<9}  {word:<8}  {text}"));
        }
    }
    lines.join("\n")
}

fn as_json(verification: &Verification) -> Value {
    let checks: Vec<Value> = verification
        .checks
        .iter()
        .map(|check| match &check.outcome {
            Outcome::Held(text) => json!({"check": check.name, "status": "ok", "text": text}),
            Outcome::NotDone(text) => {
                json!({"check": check.name, "status": "not-done", "text": text})
            }
            Outcome::Failed(faults) => {
                json!({"check": check.name, "status": "failed", "faults": faults})
            }
        })
        .collect();
    let status = if verification.held() { "valid" } else { "refused" };
    json!({"status": status, "checks": checks})
}
