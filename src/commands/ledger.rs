//! `discretail ledger init | show | verify | void`

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use serde_json::{Value, json};

use super::Failure;
use crate::cli::{LedgerCommand, LedgerFileArgs, LedgerInitArgs, LedgerVerifyArgs, LedgerVoidArgs};
use crate::console;
use crate::error::{Error, Result};
use crate::findings;
use crate::job::{LedgerTerms, PrivacyUnit};
use crate::ledger::{
    Account, EntryState, Hold, JobEntry, Ledger, RecipientTerms, Report, Round, Terms, of_delta,
    of_mu_squared,
};
use crate::plan::{Composed, budget_of};
use crate::privacy::{Delta, Epsilon, PrivacyBudget, PrivacyLoss};
use crate::release::{Standing, outside_releases, standing};

pub(super) fn ledger(command: &LedgerCommand) -> std::result::Result<(), Failure> {
    let done = match command {
        LedgerCommand::Init(args) => init(args),
        LedgerCommand::Show(args) => show(args),
        LedgerCommand::Verify(args) => verify(args),
        LedgerCommand::Void(args) => void(args),
    };
    Ok(done?)
}

// ----------------------------------------------------------------------------------------- init

fn init(args: &LedgerInitArgs) -> Result<()> {
    let mut recipients = Vec::new();
    for (name, epsilon, delta) in &args.recipients {
        let beyond = |key: &str, own: &dyn Display, total: &dyn Display| {
            Err(Error::invalid(findings::recipient_budget_idle(name, key, own, total)))
        };
        if epsilon > &args.epsilon_max {
            return beyond("epsilon", epsilon, &args.epsilon_max);
        }
        if delta > &args.delta_max {
            return beyond("delta", delta, &args.delta_max);
        }
        recipients.push(RecipientTerms {
            name: name.clone(),
            epsilon_max: epsilon.to_string(),
            delta_max: delta.to_string(),
            budget: budget(args, *epsilon, *delta)?,
        });
    }
    recipients.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(twice) = recipients.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(Error::invalid(findings::recipient_twice(&twice[0].name)));
    }
    let terms = Terms {
        population: args.population.clone(),
        unit: args.unit.clone(),
        user: None,
        time: None,
        epsilon_max: args.epsilon_max.to_string(),
        delta_max: args.delta_max.to_string(),
        budget: budget(args, args.epsilon_max, args.delta_max)?,
        recipients,
    };
    outside_releases(&args.file)?;
    Ledger::create(&args.file, &terms)?;
    let report = Report::read(&args.file)?;
    let text = if args.json {
        as_json("made", &args.file, &report).to_string()
    } else {
        console::note("made a ledger; a job that states the same `[ledger]` is charged to it");
        args.file.display().to_string()
    };
    console::result_of("the ledger is made", &text)
}

fn budget(args: &LedgerInitArgs, epsilon_max: Epsilon, delta_max: Delta) -> Result<PrivacyBudget> {
    let (file, population) = (args.file.clone(), args.population.clone());
    let (same_user_as, same_time_as) = (None, None);
    let terms =
        LedgerTerms { file, population, epsilon_max, delta_max, same_user_as, same_time_as };
    budget_of(&terms)
        .ok_or_else(|| Error::invalid(findings::ledger_budget_too_small(&epsilon_max, &delta_max)))
}

// ----------------------------------------------------------------------------------------- show

fn show(args: &LedgerFileArgs) -> Result<()> {
    let report = Report::read(&args.file)?;
    console::result(&match args.json {
        true => as_json("shown", &args.file, &report).to_string(),
        false => as_text(&args.file, &report),
    })
}

fn as_text(file: &Path, report: &Report) -> String {
    let terms = &report.terms;
    let mut lines = vec![
        format!("ledger      {}", file.display()),
        format!("population  {}", terms.population),
        format!(
            "guarantee   epsilon {}, delta {} for each {}",
            terms.epsilon_max, terms.delta_max, terms.unit
        ),
    ];
    if let Some(Composed { periods, delta, epsilon, .. }) = within_periods(report) {
        lines.push(format!(
            "so far      epsilon {epsilon:.6}, delta {delta} for all payments of a user, over at \
             most {periods} periods a job"
        ));
    }
    let users = terms.user.as_deref().unwrap_or("as the first job tells them");
    lines.push(format!("users       {users}"));
    lines.extend(terms.time.iter().map(|time| format!("times       {time}")));
    lines.extend([
        format!("neighbours  {}", report.neighbours),
        format!("conversion  {}", report.conversion),
        format!("entries     {}", report.entries()),
        format!("head        {}", report.head()),
        String::new(),
    ]);
    let mut accounts =
        vec![row(&["budget of", "", "limit", "reserved", "spent", "published", "left"])];
    accounts.extend(account_rows("everybody", &report.total));
    for (name, account) in &report.recipients {
        accounts.extend(account_rows(name, account));
    }
    lines.extend(aligned(&accounts, 2));
    lines.push(String::new());
    if report.jobs.is_empty() {
        lines.push("no jobs yet".to_owned());
        return lines.join("\n");
    }
    let standings = standings(report);
    let mut jobs = vec![row(&["job", "recipient", "state", "status", "mu^2", "delta", "release"])];
    for job in &report.jobs {
        let mu_squared = of_mu_squared(job.loss.mu_squared, Round::Up);
        let delta = of_delta(job.loss.threshold_delta);
        let folder = job.folder.as_ref().map(|folder| folder.display().to_string());
        let folder = folder.unwrap_or_default();
        let status = status_of(job, &standings);
        let (recipient, state) = (&job.recipient, job.state.name());
        jobs.push(row(&[&job.id, recipient, state, &status, &mu_squared, &delta, &folder]));
    }
    lines.extend(aligned(&jobs, 4));
    lines.join("\n")
}

/// What the manifests of published releases say of them, as far as they are where they were put.
fn standings<'l>(report: &'l Report) -> BTreeMap<&'l str, Standing> {
    let standing_of = |job: &'l JobEntry| {
        let known = standing(job.folder.as_ref()?, job.release_digest.as_ref()?)?;
        Some((&*job.id, known))
    };
    report.jobs.iter().filter_map(standing_of).collect()
}

/// Provisional or final, and which job has revised it since; nothing of what is not published or
/// not where it was put.
fn status_of(job: &JobEntry, standings: &BTreeMap<&str, Standing>) -> String {
    let revised = |(_, later): &(&&str, &Standing)| later.revises.as_deref() == Some(&job.id);
    match (standings.iter().find(revised), standings.get(&*job.id)) {
        (Some((by, _)), _) => format!("revised by {by}"),
        (None, Some(known)) => known.status.clone(),
        (None, None) => "-".to_owned(),
    }
}

/// What the jobs come to for all payments of a user, where the unit is within a period.
fn within_periods(report: &Report) -> Option<Composed> {
    let within = report.terms.unit != PrivacyUnit::User.name() && !report.jobs.is_empty();
    within.then(|| report.composed()).flatten()
}

/// Two lines: the noise, and the thresholds' δ. What is used is rounded up, limits and what is
/// left down.
fn account_rows(name: &str, account: &Account) -> [Vec<String>; 2] {
    let (tally, none) = (&account.tally, || "-".to_owned());
    let used = [tally.reserved, tally.spent, tally.published];
    let limits = [account.budget, account.left()];
    let line = |name: &str, unit: &str, used: [String; 3], [limit, left]: [String; 2]| {
        let [reserved, spent, published] = used;
        vec![name.to_owned(), unit.to_owned(), limit, reserved, spent, published, left]
    };
    [
        line(
            name,
            "mu^2",
            used.map(|loss| of_mu_squared(loss.mu_squared, Round::Up)),
            limits.map(|b| b.map_or_else(none, |b| of_mu_squared(b.mu_squared, Round::Down))),
        ),
        line(
            "",
            "delta",
            used.map(|loss| of_delta(loss.threshold_delta)),
            limits.map(|b| b.map_or_else(none, |b| of_delta(b.threshold_delta))),
        ),
    ]
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

/// Rows as lines, each column as wide as its widest cell; the first `texts` columns stand left,
/// numbers right, and a last column of texts as it is.
fn aligned(rows: &[Vec<String>], texts: usize) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let line = |row: &Vec<String>| {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = width(column).unwrap_or_default();
            match column {
                _ if column < texts || cell.contains('/') || cell == "release" => {
                    format!("{cell:<width$}")
                }
                _ => format!("{cell:>width$}"),
            }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn as_json(status: &str, file: &Path, report: &Report) -> Value {
    let terms = &report.terms;
    let recipients: Vec<Value> = report
        .recipients
        .iter()
        .map(|(name, account)| {
            let mut value = account_json(account);
            value["recipient"] = json!(name);
            value
        })
        .collect();
    let standings = standings(report);
    let with_status = |job: &JobEntry| {
        let mut value = job_json(job);
        let known = standings.get(&*job.id);
        value["status"] = json!(known.map(|known| &known.status));
        value["revises"] = json!(known.and_then(|known| known.revises.as_ref()));
        value
    };
    let jobs: Vec<Value> = report.jobs.iter().map(with_status).collect();
    json!({
        "status": status,
        "ledger": file.display().to_string(),
        "population": terms.population,
        "unit": terms.unit,
        "user": terms.user,
        "time": terms.time,
        "neighbours": report.neighbours,
        "epsilon_max": terms.epsilon_max,
        "delta_max": terms.delta_max,
        "conversion": report.conversion,
        "entries": report.entries(),
        "head": report.head(),
        "total": account_json(&report.total),
        "all_periods": within_periods(report).map(|composed| json!({
            "periods": composed.periods,
            "mu_squared_units": composed.loss.mu_squared.units().to_string(),
            "epsilon": composed.epsilon,
            "delta": composed.delta.value(),
        })),
        "recipients": recipients,
        "jobs": jobs,
    })
}

/// Units of 2^-60 and of 1e-18, as the ledger counts.
fn loss_json(loss: PrivacyLoss) -> Value {
    json!({
        "mu_squared_units": loss.mu_squared.units().to_string(),
        "threshold_delta_units": loss.threshold_delta.units().to_string(),
    })
}

fn budget_json(budget: PrivacyBudget) -> Value {
    let PrivacyBudget { mu_squared, threshold_delta } = budget;
    loss_json(PrivacyLoss { mu_squared, threshold_delta })
}

fn account_json(account: &Account) -> Value {
    json!({
        "budget": account.budget.map(budget_json),
        "reserved": loss_json(account.tally.reserved),
        "spent": loss_json(account.tally.spent),
        "published": loss_json(account.tally.published),
        "left": account.left().map(budget_json),
    })
}

fn job_json(job: &JobEntry) -> Value {
    let mut value = loss_json(job.loss);
    value["job"] = json!(job.id);
    value["digest"] = json!(job.digest);
    value["recipient"] = json!(job.recipient);
    value["user"] = json!(job.user);
    value["time"] = json!(job.time);
    value["state"] = json!(job.state.name());
    value["folder"] = json!(job.folder.as_ref().map(|folder| folder.display().to_string()));
    value["release_digest"] = json!(job.release_digest);
    value
}

// --------------------------------------------------------------------------------------- verify

fn verify(args: &LedgerVerifyArgs) -> Result<()> {
    let report = Report::verify(&args.file)?;
    let noted = match &args.head {
        None => None,
        Some(head) => Some(
            report
                .place_of(head)
                .ok_or_else(|| Error::refused(findings::ledger_head_unknown(&args.file, head)))?,
        ),
    };
    if args.json {
        let mut value = as_json("valid", &args.file, &report);
        value["noted_entry"] = json!(noted);
        return console::result(&value.to_string());
    }
    let entries = match report.entries() {
        1 => "1 entry".to_owned(),
        entries => format!("{entries} entries"),
    };
    let jobs = findings::counted(report.jobs.len(), "job");
    let head = match noted {
        None => "not checked: without --head, entries cut off at the end do not show".to_owned(),
        Some(0) => "ok: the terms are those that were noted".to_owned(),
        Some(entry) => format!("ok: nothing up to entry {entry} was rewritten or cut off"),
    };
    console::result(&format!(
        "chain    ok: {entries}; each hash covers its row and all before it\n\
         states   ok: {jobs}; each step follows from the one before\n\
         budgets  ok: no sum was ever beyond its limit\n\
         file     ok: tables, triggers and pages are as made\n\
         head     {head}"
    ))
}

// ----------------------------------------------------------------------------------------- void

fn void(args: &LedgerVoidArgs) -> Result<()> {
    let report = Report::read(&args.file)?;
    let job = report.job(&args.job).filter(|job| job.state != EntryState::Voided);
    let Some(job) = job else {
        return Err(Error::refused(findings::reservation_missing(&args.job, &args.file)));
    };
    // A run that is going on has this, however far it is.
    let _hold = Hold::take(&args.file, &args.job)?;
    Ledger::open_to_change(&args.file)?.void(&args.job)?;
    let text = if args.json {
        let mut value = job_json(job);
        value["status"] = json!("voided");
        value["state"] = json!("voided");
        value.to_string()
    } else {
        console::note(
            "a run of it on another machine, if there is one, will stop before it draws noise",
        );
        format!(
            "voided job `{}`: mu^2 {} and delta {} are given back",
            job.id,
            of_mu_squared(job.loss.mu_squared, Round::Down),
            of_delta(job.loss.threshold_delta),
        )
    };
    console::result_of("the reservation is given back", &text)
}
