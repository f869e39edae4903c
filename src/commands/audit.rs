//! `discretail audit JOB|RELEASE`

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::earlier::use_earlier;
use super::plan::terms_of;
use super::{Failure, read_plan, reader, threads};
use crate::audit::{Depth, Evidence, Facts, Row, Verdict, audit_job, audit_release, place, write};
use crate::cli::AuditArgs;
use crate::console::{self, Progress};
use crate::error::Error;
use crate::findings;
use crate::ledger::Report;

/// The table of rows is the result, also when a claim is refuted.
pub(super) fn audit(args: &AuditArgs) -> Result<(), Failure> {
    // A folder without a manifest has nothing that could be refuted.
    let is_release = args.target.join("manifest.json").is_file();
    let (evidence, folder) = match (args.target.is_file(), is_release) {
        (true, _) => job(args)?,
        (_, true) => release(args)?,
        _ => return Err(Error::invalid(findings::audit_target_unknown(&args.target)).into()),
    };
    write(&evidence, &folder)?;
    let folder = folder.canonicalize().unwrap_or(folder);
    let text = match args.json {
        true => as_json(&evidence, &folder).to_string(),
        false => as_text(&evidence),
    };
    console::note(&format!("evidence in {}", folder.display()));
    console::result_of("the evidence is written", &text)?;
    if evidence.held() {
        return Ok(());
    }
    let refuted = evidence.rows.iter().filter(|row| row.verdict == Verdict::Refuted).count();
    let error = Error::refused(findings::audit_refuted(&evidence.subject, refuted));
    Err(Failure { told: true, ..error.into() })
}

fn job(args: &AuditArgs) -> Result<(Evidence, PathBuf), Failure> {
    if args.ledger.is_some() {
        return Err(idle("--ledger", "a release: that of a job is in the job").into());
    }
    reader::limit(args.threads, false)?;
    let (mut plan, source) = read_plan(&args.target)?;
    let fail = |error| Failure::in_job(error, &args.target, source.clone());
    let own = || plan.job.releases.join(format!("{}.audit", plan.job.id));
    let folder = args.out.clone().unwrap_or_else(own);
    place(&folder)?;
    use_earlier(&mut plan).map_err(fail)?;
    let terms = terms_of(&plan).map_err(fail)?;
    let ledger = &plan.job.ledger.file;
    let ledger = if ledger.exists() { Some(Report::read(ledger).map_err(fail)?) } else { None };
    let facts = Facts {
        users: args.users,
        ledger: ledger.as_ref(),
        budget: terms.budget,
        threads: threads(args.threads.map(usize::from)),
        program: std::env::current_exe().ok(),
    };
    let depth = if args.full { Depth::Full } else { Depth::Quick };
    let spinner = Progress::spinner("auditing on synthetic twins".to_owned());
    let evidence = audit_job(&plan, &facts, depth).map_err(fail)?;
    drop(spinner);
    Ok((evidence, folder))
}

fn release(args: &AuditArgs) -> Result<(Evidence, PathBuf), Failure> {
    let given = [
        ("--quick", args.quick),
        ("--full", args.full),
        ("--users", args.users.is_some()),
        ("--threads", args.threads.is_some()),
    ];
    if let Some((argument, _)) = given.into_iter().find(|(_, given)| *given) {
        return Err(idle(argument, "a job").into());
    }
    let folder = args.target.canonicalize().unwrap_or_else(|_| args.target.clone());
    let mut name = folder.into_os_string();
    // Not that of the job's evidence, which stands beside it.
    name.push(".release-audit");
    let folder = args.out.clone().unwrap_or(PathBuf::from(name));
    place(&folder)?;
    Ok((audit_release(&args.target, args.ledger.as_deref())?, folder))
}

/// An argument without effect on this target: who gave it would believe that it was heeded.
fn idle(argument: &str, target: &str) -> Error {
    Error::invalid(findings::audit_argument_idle(argument, target))
}

fn as_text(evidence: &Evidence) -> String {
    let mut lines = vec![evidence.subject.clone()];
    let (asked, tried): (Vec<&Row>, Vec<&Row>) =
        evidence.rows.iter().partition(|row| row.check == "checklist");
    for Row { check, what, verdict, figure, confidence, .. } in tried {
        let at = match verdict {
            Verdict::NotApplicable => String::new(),
            _ if *confidence < 1.0 => format!(" at confidence {confidence}"),
            _ => String::new(),
        };
        lines.push(format!("{check:<13}  {:<14}  {what}{at}", verdict.name()));
        if !figure.is_empty() {
            lines.push(format!("{:<13}  {:<14}  = {figure}", "", ""));
        }
    }
    if !asked.is_empty() {
        let count = asked.len();
        lines.push(format!("checklist      for people      {count} questions are in the evidence"));
    }
    let refuted = evidence.rows.iter().filter(|row| row.verdict == Verdict::Refuted).count();
    lines.push(match refuted {
        0 => "nothing is refuted".to_owned(),
        1 => "1 claim is refuted".to_owned(),
        n => format!("{n} claims are refuted"),
    });
    lines.join("\n")
}

fn as_json(evidence: &Evidence, folder: &Path) -> Value {
    let row = |row: &Row| {
        json!({
            "check": row.check,
            "what": row.what,
            "method": row.method,
            "verdict": row.verdict.name(),
            "figure": row.figure,
            "confidence": row.confidence,
            "reference": row.reference,
        })
    };
    json!({
        "status": if evidence.held() { "not-refuted" } else { "refuted" },
        "subject": evidence.subject,
        "folder": folder.display().to_string(),
        "rows": evidence.rows.iter().map(row).collect::<Vec<Value>>(),
    })
}
