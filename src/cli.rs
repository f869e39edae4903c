//! The command line: what can be typed, and the help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::engine::local::Local;
use crate::engine::sql::Dialect;
use crate::job::{NAMES, PrivacyUnit, is_name};
use crate::privacy::{Delta, Epsilon};

/// Differentially private merchant and market insights from in-store payments.
#[derive(Clone, Debug, Parser)]
#[command(
    version,
    about,
    after_help = "Exit codes: 0 released or valid, 1 refused (budget, a failed check), 2 invalid job or input, \
                  3 disk, a server or other trouble, 130 stopped with Ctrl-C.\n\
                  Results go to standard output, all else to standard error.\n\n\
                  Try it on the made-up data that come with the sources:\n  \
                  discretail plan data/jobs/market.toml\n  \
                  discretail run data/jobs/market.toml\n\
                  More of them: discretail sample demo --payments 1000000"
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
    /// With --try: shows how far the job's values would be from the truth, on payments that are
    /// public or made up, with its own settings and others. With --sql: prints the query that adds
    /// up the payments where they are, in place of all that.
    Plan(PlanArgs),
    /// Run a job: read the payments, add noise, write the release.
    ///
    /// Prints the folder of the release. The same job again prints the same folder and costs
    /// nothing.
    Run(RunArgs),
    /// Check a release: files, price, tables, and what the ledger says of it.
    ///
    /// Computes the price anew from the manifest, apart from the code that made it. Needs neither
    /// payments nor job file. `docs/verify.md` says what each check shows.
    Verify(VerifyArgs),
    /// Look for faults in a job or a release, and write down what was found.
    ///
    /// Runs a job on synthetic twins of its payments, with and without single users, and computes
    /// its price again; of a release checks the folder. Never opens the job's payments, and charges
    /// nothing. Writes audit.parquet and audit.html. Exit 1 if a claim is refuted. `docs/audit.md`
    /// says what each check can show.
    Audit(AuditArgs),
    /// Make the page of a release anew: `report.html`, one file that needs no network.
    ///
    /// `run` puts it into the release. It is a function of tables and manifest. Tables are checked
    /// against the digests of the manifest first, and the manifest, with --ledger, against that of
    /// the ledger.
    Report(ReportArgs),
    /// Make, show or check a ledger, or give back what a dead run reserved.
    #[command(subcommand)]
    Ledger(LedgerCommand),
}

impl Command {
    /// Is JSON asked for?
    pub fn json(&self) -> bool {
        match self {
            Command::Sample(args) => args.json,
            Command::Check(args) => args.json,
            Command::Plan(args) => args.json,
            Command::Run(args) => args.json,
            Command::Verify(args) => args.json,
            Command::Audit(args) => args.json,
            Command::Report(args) => args.json,
            Command::Ledger(command) => command.json(),
        }
    }
}

/// What can be done with a ledger.
#[derive(Clone, Debug, Subcommand)]
pub enum LedgerCommand {
    /// Make a ledger, with a budget for its population and perhaps for single recipients.
    ///
    /// Population, budgets, unit (user) and neighbour relation (all payments of one user added or
    /// removed) are fixed for ever. Jobs must state the same population and total budget. A
    /// recipient's budget is a limit beside the total, which holds for all recipients together,
    /// since they might put their releases together. Without this verb the first run of a job
    /// makes the ledger, without budgets for recipients.
    Init(LedgerInitArgs),
    /// Show budgets, what is reserved, spent, published and left, and every job.
    Show(LedgerFileArgs),
    /// Check every entry: hashes, states, sums, budgets, and the tables of the file.
    ///
    /// Cutting off the newest entries leaves a ledger that looks whole. So note the head that
    /// `show` prints, keep it elsewhere, and give it back as --head: the check then fails if
    /// anything up to there was rewritten or cut off.
    Verify(LedgerVerifyArgs),
    /// Give back what a job reserved and never spent, as a killed run leaves it.
    ///
    /// Only a reservation can be given back: once a job has spent, its noise may be out. A job
    /// that is being run on this machine is refused; a run elsewhere stops before it draws noise.
    Void(LedgerVoidArgs),
}

impl LedgerCommand {
    /// Is JSON asked for?
    pub fn json(&self) -> bool {
        match self {
            LedgerCommand::Init(args) => args.json,
            LedgerCommand::Show(args) => args.json,
            LedgerCommand::Verify(args) => args.json,
            LedgerCommand::Void(args) => args.json,
        }
    }
}

/// Arguments of `audit`.
#[derive(Clone, Debug, Args)]
pub struct AuditArgs {
    /// A job file (TOML), or the folder of a release.
    pub target: PathBuf,
    /// Of a job: what is exact only, in seconds: the default. Prices, the job's sense, replays,
    /// bounds.
    #[arg(long, conflicts_with = "full")]
    pub quick: bool,
    /// Of a job: with more users, and with what takes many draws of noise: minutes.
    #[arg(long)]
    pub full: bool,
    /// Of a job: how many users there are, if that is public knowledge: delta is held against it.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub users: Option<u64>,
    /// The ledger that a release was charged to; that of a job is in the job.
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
    /// Folder for the evidence [default: that which the job's release has or would have, with
    /// `.audit` at its end; of a release, with `.release-audit`].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Of a job: threads [default: all cores].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Print a JSON object in place of text.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `verify`.
#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    /// The folder of the release.
    pub release: PathBuf,
    /// The ledger that was charged; without it a manifest that was replaced does not show.
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
    /// Print a JSON object in place of text.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `report`.
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// The folder of the release.
    pub release: PathBuf,
    /// The ledger that was charged; without it a manifest that was replaced does not show.
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
    /// Where to write the page; a file that is there is replaced. The release's own page, if it is
    /// lost, is RELEASE/report.html.
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    pub output: PathBuf,
    /// Print a JSON object in place of text.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `ledger init`.
#[derive(Clone, Debug, Args)]
pub struct LedgerInitArgs {
    /// The file to make (SQLite); must not exist.
    pub file: PathBuf,
    /// The people whose budget it is, such as `cny-2025`.
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub population: String,
    /// Epsilon that all jobs may cost together, 0.000001 to 20.
    #[arg(long, value_name = "E", value_parser = epsilon)]
    pub epsilon_max: Epsilon,
    /// Delta that all jobs may cost together, 1e-15 to 0.01.
    #[arg(long, value_name = "D", value_parser = delta)]
    pub delta_max: Delta,
    /// Who is protected: `user`, or a user within a period of a time zone, such as
    /// `user-month Asia/Shanghai`; day, week, month, quarter or year. Jobs state the same `unit`.
    #[arg(long, default_value = "user", value_parser = unit)]
    pub unit: String,
    /// A budget for one recipient; may be given several times.
    #[arg(long = "recipient", value_name = "NAME=E,D", value_parser = recipient)]
    pub recipients: Vec<(String, Epsilon, Delta)>,
    /// Print a JSON object in place of text.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `ledger show`.
#[derive(Clone, Debug, Args)]
pub struct LedgerFileArgs {
    /// The ledger.
    pub file: PathBuf,
    /// Print a JSON object in place of text.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `ledger verify`.
#[derive(Clone, Debug, Args)]
pub struct LedgerVerifyArgs {
    /// The ledger.
    pub file: PathBuf,
    /// A head that was noted before.
    #[arg(long, value_name = "HASH", value_parser = head)]
    pub head: Option<String>,
    /// Print a JSON object in place of text.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `ledger void`.
#[derive(Clone, Debug, Args)]
pub struct LedgerVoidArgs {
    /// The ledger.
    pub file: PathBuf,
    /// The job's id.
    pub job: String,
    /// Print a JSON object in place of text.
    #[arg(long)]
    pub json: bool,
}

/// A name as job files have it.
fn name(text: &str) -> Result<String, String> {
    if is_name(text) { Ok(text.to_owned()) } else { Err(format!("must be {NAMES}")) }
}

/// A row's hash, as `ledger show` prints it.
fn head(text: &str) -> Result<String, String> {
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let ok = text.len() == 64 && text.chars().all(hex);
    let rule = "must be the 64 hexadecimal digits that `ledger show` prints as head";
    if ok { Ok(text.to_owned()) } else { Err(rule.to_owned()) }
}

fn epsilon(text: &str) -> Result<Epsilon, String> {
    Epsilon::parse(text).map_err(|e| e.to_string())
}

fn delta(text: &str) -> Result<Delta, String> {
    Delta::parse(text).map_err(|e| e.to_string())
}

fn recipient(text: &str) -> Result<(String, Epsilon, Delta), String> {
    let parts = text.split_once('=').and_then(|(name, pair)| Some((name, pair.split_once(',')?)));
    let (owner, (e, d)) = parts.ok_or("must be NAME=EPSILON,DELTA")?;
    let part = |of: &'static str| move |e: String| format!("{of} {e}");
    Ok((
        name(owner).map_err(part("the name"))?,
        epsilon(e).map_err(part("epsilon"))?,
        delta(d).map_err(part("delta"))?,
    ))
}

/// Arguments of `sample`.
#[derive(Clone, Debug, Args)]
pub struct SampleArgs {
    /// Folder to make; must not exist or be empty.
    pub dir: PathBuf,
    /// How many payments.
    #[arg(long, default_value_t = 100_000)]
    pub payments: u64,
    /// Another seed makes another market.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many users [default: one for 25 payments].
    #[arg(long)]
    pub users: Option<u64>,
    /// How many merchants [default: one for 2000 payments, at least 100].
    #[arg(long)]
    pub merchants: Option<u64>,
    /// How many days from 2025-01-01.
    #[arg(long, default_value_t = 90)]
    pub days: u32,
    /// Threads [default: all cores].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Print a JSON object in place of text.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `plan`.
#[derive(Clone, Debug, Args)]
// As values of `--try` would end only there.
#[command(override_usage = "discretail plan [OPTIONS] <JOB> [--try <FILES>...]")]
pub struct PlanArgs {
    /// The job file (TOML); `docs/job.md` describes its keys.
    pub job: PathBuf,
    /// Try the job on these files, patterns or folders in place of its own payments, and show exact
    /// errors by size of cells, with a page of charts. Only for payments that are public or made
    /// up: what is shown of them has no protection. The job's own files, and copies, are refused.
    /// Nothing is charged or released. Comes after JOB, as it takes all that follows.
    #[arg(long = "try", value_name = "FILES", num_args = 1..)]
    pub tried: Vec<PathBuf>,
    /// Releases that are tried for each setting.
    #[arg(long, value_name = "N", default_value_t = 5, requires = "tried",
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub runs: u32,
    /// File of the page of charts; one that is there is replaced [default: the job's id with
    /// `.try.html`, in the current folder].
    #[arg(long, value_name = "FILE", requires = "tried")]
    pub out: Option<PathBuf>,
    /// Threads of a trial [default: all cores].
    #[arg(long, requires = "tried", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Print the query that adds up the payments of the job's `table`: duckdb, spark, postgresql;
    /// or snowflake, bigquery, which were never run against these services. `docs/sql.md` says what
    /// to do with it.
    #[arg(long, value_name = "DIALECT", value_parser = dialect,
        conflicts_with_all = ["json", "tried"])]
    pub sql: Option<Dialect>,
    /// Print a JSON object in place of text.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `check`.
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
    /// What the query of `plan --sql` has given, as Parquet: a file, or a folder of files, that
    /// nobody else can read. For jobs whose payments are in a `table`.
    #[arg(long, value_name = "FILE")]
    pub totals: Option<PathBuf>,
    /// Folder of the release [default: the job's id in the job's `releases` folder].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Replace an empty folder, or a release of a job of this id over other people. Never draws
    /// noise twice for one job.
    #[arg(long)]
    pub force: bool,
    /// Run a job although noise is expected to drown some of its statistics, as `plan` shows; the
    /// manifest says so.
    #[arg(long)]
    pub accept_useless: bool,
    /// Memory for payments, totals, noised values and estimates, such as 2GiB, 512MiB at least;
    /// payments that do not fit wait on disk. The process takes up to 256 MiB more [default: half
    /// of what is free].
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub memory: Option<u64>,
    /// Folder for what does not fit in memory, which is gone when the run ends: a file without a
    /// name; of DuckDB, a folder that nobody else may enter [default: the system's temporary
    /// folder].
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

fn dialect(text: &str) -> Result<Dialect, String> {
    let names = || Dialect::ALL.map(Dialect::name).join(", ");
    Dialect::named(text).ok_or_else(|| format!("must be one of {}", names()))
}

/// A privacy unit as ledgers write it.
fn unit(text: &str) -> Result<String, String> {
    let (name, zone) = text.split_once(' ').unwrap_or((text, "UTC"));
    let zone = zone.trim().parse().map_err(|_| format!("no time zone is called `{zone}`"))?;
    let label = PrivacyUnit::named(name).map(|unit| unit.label(zone));
    label.filter(|label| label == text).ok_or_else(|| {
        "write `user`, or a unit and a time zone such as `user-month Asia/Shanghai`".to_owned()
    })
}

/// A size in bytes, KiB, MiB, GiB or the like; at least what a run needs.
fn memory(text: &str) -> Result<u64, String> {
    let size = text.parse::<bytesize::ByteSize>()?.as_u64();
    let least = bytesize::ByteSize(Local::MEMORY_MIN);
    if size < Local::MEMORY_MIN { Err(format!("at least {least} are needed")) } else { Ok(size) }
}
