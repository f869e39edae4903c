//! The verbs, one file each.

mod audit;
mod check;
mod cut;
mod earlier;
mod keys;
mod known;
mod ledger;
mod memory;
mod plan;
mod predicted;
mod reader;
mod report;
mod reserved;
mod revision;
mod run;
mod sample;
mod trial;
mod verify;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag::register;

use crate::cli::{Cli, Command};
use crate::console;
use crate::error::{Error, Result};
use crate::findings;
use crate::job::{Dialect, Job};
use crate::plan::Plan;

/// Says so, if a dialect's SQL was never run where it is to be run.
fn note_untested(dialect: Option<Dialect>) {
    if let Some(dialect) = dialect.filter(|dialect| !dialect.is_tested()) {
        console::note(&format!(
            "note: the SQL for `{}` was never run against the service, only parsed; compare a job on payments \
             that are made up with the same job on files first",
            dialect.name()
        ));
    }
}

/// What the server of a plan understands, if it has one.
fn dialect_of(plan: &Plan) -> Option<Dialect> {
    Some(plan.job.payments.table.as_ref()?.server.as_ref()?.dialect())
}

/// What a verb's failure needs to be shown.
struct Failure {
    error: Error,
    path: Option<PathBuf>,
    source: String,
    /// Is what `--json` asks for on standard output already?
    told: bool,
}

impl Failure {
    /// In the job file at `path`, whose text is `source`.
    fn in_job(error: Error, path: &Path, source: String) -> Self {
        Failure { error, path: Some(path.to_owned()), source, told: false }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure { error, path: None, source: String::new(), told: false }
    }
}

/// Does what the command line asks, shows what went wrong, and gives the exit code.
pub fn dispatch(cli: Cli) -> ExitCode {
    let outcome = match &cli.command {
        Command::Sample(args) => sample::sample(args),
        Command::Check(args) => check::check(args),
        Command::Plan(args) => plan::plan(args),
        Command::Run(args) => run::run(args),
        Command::Verify(args) => verify::verify(args),
        Command::Audit(args) => audit::audit(args),
        Command::Report(args) => report::report(args),
        Command::Ledger(command) => ledger::ledger(command),
    };
    let Err(failure) = outcome else { return ExitCode::SUCCESS };
    if cli.command.json() && !failure.told {
        console::error_json(&failure.error, &failure.source);
    }
    console::error(&failure.error, failure.path.as_deref(), &failure.source);
    ExitCode::from(failure.error.class().exit_code())
}

/// A job file's plan, and the text that messages quote.
fn read_plan(path: &Path) -> std::result::Result<(Plan, String), Failure> {
    let (source, job) = Job::read(path);
    match job.and_then(Plan::new) {
        Ok(plan) => Ok((plan, source)),
        Err(error) => Err(Failure::in_job(error, path, source)),
    }
}

/// Set by Ctrl-C, by termination and by a terminal that hangs up; but not by what was ignored when
/// the process started, as hanging up is by `nohup`, and Ctrl-C of what a script runs aside.
fn cancel_flag() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let ignored = ignored();
    for signal in [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|s| ignored >> (s - 1) & 1 == 0) {
        register(signal, flag.clone())
            .map_err(|e| Error::environment(findings::signals_refused(&e)))?;
    }
    Ok(flag)
}

/// Which signals the process ignores, the first one in the lowest bit; none where the system does
/// not say: not Linux.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn threads(asked: Option<usize>) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    asked.unwrap_or_else(cores).max(1)
}
