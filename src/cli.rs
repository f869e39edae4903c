//! The command line: what can be typed, and the help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::engine::local::Local;

/// Differentially private merchant and market insights from in-store payments.
#[derive(Clone, Debug, Parser)]
#[command(
    version,
    about,
    after_help = "Exit codes: 0 released or valid, 1 refused (budget), 2 invalid job or input, \
                  3 disk or other trouble, 130 stopped with Ctrl-C.\n\
                  Results go to standard output, all else to standard error.\n\n\
                  Try it on made-up data:\n  \
                  discretail sample demo --payments 100000\n  \
                  discretail run data/jobs/market.toml"
)]
pub struct Cli {
    /// Show steps and their durations; the reader's own messages too, which may quote records.
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Make realistic synthetic payments, to try things on.
    ///
    /// Writes DIR/payments/part-*.parquet and DIR/merchants.parquet. The same arguments make the
    /// same files.
    Sample(SampleArgs),
    /// Validate a job file: all mistakes at once, each under its own line.
    ///
    /// Reads the public table of merchants, but no payments, and changes nothing.
    Check(JobArgs),
    /// Show what a job would do: statistics, bounds, noise, price, and the budget left.
    ///
    /// Reads the public table of merchants and the ledger, but no payments, and changes nothing.
    Plan(JobArgs),
    /// Run a job: read the payments, add noise, write the release.
    ///
    /// Prints the folder of the release. The same job again prints the same folder and costs
    /// nothing.
    Run(RunArgs),
}

/// Arguments of `sample`.
#[derive(Clone, Debug, Args)]
pub struct SampleArgs {
    /// Folder to make; must not exist or be empty.
    pub dir: PathBuf,
    /// How many payments.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub payments: u64,
    /// Another seed makes another market.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many users [default: one for 25 payments].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub users: Option<u64>,
    /// How many merchants [default: one for 2000 payments, at least 100].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub merchants: Option<u64>,
    /// How many days from 2025-01-01.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3660))]
    pub days: u32,
    /// Threads [default: all cores].
    #[arg(long)]
    pub threads: Option<usize>,
    /// Print a JSON object in place of text.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `check` and `plan`.
#[derive(Clone, Debug, Args)]
pub struct JobArgs {
    /// The job file (TOML); `docs/job.md` describes its keys.
    pub job: PathBuf,
    /// Print a JSON object in place of text.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// The job file (TOML); `docs/job.md` describes its keys.
    pub job: PathBuf,
    /// Folder of the release [default: the job's id in the job's `releases` folder].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Replace what stands at the release folder. Never draws noise twice for one job.
    #[arg(long)]
    pub force: bool,
    /// Memory for payments and totals, such as 2GiB; what does not fit waits on disk. The process
    /// takes up to 256 MiB more [default: half of what is free].
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub memory: Option<u64>,
    /// Folder for what does not fit in memory, in a file without a name that is gone when the run
    /// ends [default: the system's temporary folder].
    #[arg(long, value_name = "DIR")]
    pub spill_dir: Option<PathBuf>,
    /// Threads of the engine; of the reader too, unless POLARS_MAX_THREADS says else [default: all
    /// cores].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Print a JSON object in place of text.
    #[arg(long)]
    pub json: bool,
}

/// A size in bytes, KiB, MiB, GiB or the like; at least what a run needs.
fn memory(text: &str) -> Result<u64, String> {
    let size = text.parse::<bytesize::ByteSize>()?.as_u64();
    let least = bytesize::ByteSize(Local::MEMORY_MIN);
    if size < Local::MEMORY_MIN { Err(format!("at least {least} are needed")) } else { Ok(size) }
}
