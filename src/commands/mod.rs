//! The verbs, one file each.

mod check;
mod memory;
mod plan;
mod run;
mod sample;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cli::{Cli, Command};
use crate::console;
use crate::error::{Error, Result};
use crate::findings;
use crate::job::Job;
use crate::plan::Plan;

/// What a verb's failure needs to be shown.
struct Failure {
    error: Error,
    path: Option<PathBuf>,
    source: String,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure { error, path: None, source: String::new() }
    }
}

/// Does what the command line asks, shows what went wrong, and gives the exit code.
pub fn dispatch(cli: Cli) -> ExitCode {
    let (json, outcome) = match &cli.command {
        Command::Sample(args) => (args.json, sample::sample(args)),
        Command::Check(args) => (args.json, check::check(args)),
        Command::Plan(args) => (args.json, plan::plan(args)),
        Command::Run(args) => (args.json, run::run(args)),
    };
    let Err(failure) = outcome else { return ExitCode::SUCCESS };
    if json {
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
        Err(error) => Err(Failure { error, path: Some(path.to_owned()), source }),
    }
}

/// Set by Ctrl-C and by termination.
fn cancel_flag() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = flag.clone();
    ctrlc::set_handler(move || set.store(true, Ordering::Relaxed))
        .map_err(|e| Error::environment(findings::signals_refused(&e)))?;
    Ok(flag)
}

fn threads(asked: Option<usize>) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    asked.unwrap_or_else(cores).max(1)
}
