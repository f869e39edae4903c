//! The job: what to read, what to protect, what to report.
//!
//! [`Job::read`] is the one door from a file to a [`Job`]. It finds every mistake at once; past
//! it, no stage checks the specification again. Job files carry a version; their keys are
//! documented in `docs/job.md`.

mod bands;
mod calendar;
mod dialect;
mod expect;
mod files;
mod insight;
mod percent;
mod raw;
mod read;
mod registry;
mod server;
mod size;
mod split;
mod sql;
mod statistic;
mod table;
mod text;
mod twin;
mod unit;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

pub use bands::{Bands, Run};
pub use calendar::{Clock, Period, TimeKey};
pub use dialect::Dialect;
pub use expect::Expect;
pub(crate) use files::{
    hive_names, hive_names_above, is_compressed, odd_columns, scan, wide_decimal,
};
pub use insight::{Comparison, Insight};
pub use iso_currency::Currency;
pub use percent::Percent;
pub(crate) use read::secret_lines;
pub use registry::{Dominance, Registry};
pub use server::{AdbcServer, Server, Setting, SparkServer};
pub use sql::SqlExpression;
pub use statistic::{
    CHANGES, Expected, FLAT_PARTS, LOG_CENTRED_MAX, LOG_DIGITS, LOG_PARTS, RECENCY_CLASSES,
    StatisticKind, Unit, VISIT_CLASSES, Width, centred_log, change_class, recency_class,
    recency_names, ticket_log, visit_class,
};
pub use table::{ColumnType, TableSource};
pub(crate) use text::{LINE, Layout, LineFault, Marks, Record, without_header};
pub use unit::PrivacyUnit;

use crate::privacy::{Delta, Epsilon, PrivacyLoss, largest_loss};

/// What names of jobs, recipients and populations must be; a job's is a file's, too.
pub const NAMES: &str = "1 to 64 letters, digits, `-`, `_` or `.`, the first neither `-` nor `.`";

/// Is this such a name?
pub fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=64).contains(&text.len()) && text.chars().all(plain) && !text.starts_with(['.', '-'])
}

/// A valid job.
#[derive(Clone, Debug)]
pub struct Job {
    /// The job's id: its idempotency key in the ledger and the name of the release folder.
    pub id: String,
    /// Who gets the release.
    pub recipient: String,
    /// Whether payments may still be missing.
    pub status: ReleaseStatus,
    /// The earlier job over the same period whose release this one takes the place of.
    pub revises: Option<EarlierJob>,
    /// The folder in which the release folder is made.
    pub releases: PathBuf,
    /// Where the payments are and how to read them.
    pub payments: PaymentsSource,
    /// The public table of merchants.
    pub registry: Option<Registry>,
    /// Stated values of columns, sorted and distinct: public knowledge.
    pub key_sets: BTreeMap<String, Vec<String>>,
    /// What is expected of the payments, from public knowledge.
    pub expect: Option<Expect>,
    /// What one user is promised.
    pub privacy: Privacy,
    /// Where the budget is kept.
    pub ledger: LedgerTerms,
    /// What to report, in the order of the file.
    pub reports: Vec<Report>,
    /// SHA-256 of the job's content (not of its comments and spaces), in hex.
    pub digest: String,
}

impl Job {
    /// The expression by which all jobs of the ledger agree to tell users apart, in normal form.
    pub fn user(&self) -> &str {
        self.ledger.same_user_as.as_deref().unwrap_or(&self.payments.user.normal)
    }

    /// How all jobs of the ledger agree to read times, which tell a user's units apart; `None` if
    /// a unit is all payments of a user.
    pub fn time(&self) -> Option<String> {
        let own = || self.payments.time_as_read();
        let agreed = || self.ledger.same_time_as.clone().unwrap_or_else(own);
        (self.privacy.unit != PrivacyUnit::User).then(agreed)
    }
}

/// What a release's author says of its payments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseStatus {
    /// Some payments, or corrections of them, are expected to come in late.
    Provisional,
    /// All are there.
    Final,
}

impl ReleaseStatus {
    /// The name in job files and manifests.
    pub fn name(self) -> &'static str {
        match self {
            ReleaseStatus::Provisional => "provisional",
            ReleaseStatus::Final => "final",
        }
    }
}

/// Where the payments are and how to read them.
#[derive(Clone, Debug)]
pub struct PaymentsSource {
    /// File names, patterns and folders, relative to the job file's folder; none if there is a
    /// table.
    pub patterns: Vec<PathBuf>,
    /// The table that holds the payments, in place of files.
    pub table: Option<TableSource>,
    /// The job file's folder.
    pub folder: PathBuf,
    /// Place of `files` or `table` in the job file.
    pub span: Range<usize>,
    /// How the files are written; from their ending when not stated.
    pub format: Option<Format>,
    /// How CSV files are written.
    pub csv: CsvDialect,
    /// Place of `csv` in the job file, if it states that.
    pub csv_at: Option<Range<usize>>,
    /// Only rows for which this is true are read.
    pub filter: Option<SqlExpression>,
    /// Who pays.
    pub user: SqlExpression,
    /// Where; needed for merchant keys.
    pub merchant: Option<SqlExpression>,
    /// When.
    pub time: SqlExpression,
    /// `chrono` format of times that are text.
    pub time_format: Option<String>,
    /// What a time without a zone means.
    pub zoneless: Zoneless,
    /// How much.
    pub amount: SqlExpression,
    /// In which currency; `None`: all in the first of `currencies`.
    pub currency: Option<SqlExpression>,
    /// The currencies that count; rows in others are left out.
    pub currencies: Vec<Currency>,
    /// Further columns that levels use as keys, by name.
    pub columns: Vec<(String, SqlExpression)>,
    /// Amounts at which a new bin of the ticket histogram starts, ascending, above zero, in the
    /// smallest minor unit of `currencies`; at most [`PaymentsSource::TICKET_EDGES_MAX`].
    pub ticket_edges: Vec<i64>,
    /// The days that count, in the job's time zone.
    pub period: Period,
    /// The job's time zone.
    pub zone: chrono_tz::Tz,
    /// Share of bad rows above which the job stops, in millionths.
    pub max_bad_millionths: u32,
    /// Folder for bad rows.
    pub quarantine: PathBuf,
}

impl PaymentsSource {
    /// The most edges of the ticket histogram.
    pub const TICKET_EDGES_MAX: usize = 31;

    /// The edges of the ticket histogram when the job states none, in major units: 16 bins.
    pub const TICKET_EDGES: [&str; 15] = [
        "1", "2", "5", "10", "20", "50", "100", "200", "500", "1000", "2000", "5000", "10000",
        "20000", "50000",
    ];

    /// What decides on a payment's time, in normal form: the expression, `utc` if times without a
    /// zone are, and the format of texts. A column's name with a comma stands in quotes.
    pub fn time_as_read(&self) -> String {
        let utc = if self.zoneless == Zoneless::Utc { ", utc" } else { "" };
        let format = self.time_format.iter().map(|format| format!(", format {format}"));
        format!("{}{utc}{}", self.time.normal, format.collect::<String>())
    }

    /// Is more than the job's share of all rows bad?
    pub fn too_many_bad(&self, good: u64, bad: u64) -> bool {
        let (good, bad) = (u128::from(good), u128::from(bad));
        bad * 1_000_000 > u128::from(self.max_bad_millionths) * (good + bad)
    }

    /// [`Self::max_bad_millionths`], for people.
    pub fn max_bad_share(&self) -> f64 {
        f64::from(self.max_bad_millionths) / 1e6
    }

    /// Decimal places of money: those of the currency that has most.
    pub fn money_places(&self) -> u32 {
        money_places(&self.currencies)
    }
}

/// Decimal places of the currency that has most.
fn money_places(currencies: &[Currency]) -> u32 {
    currencies.iter().map(|&c| minor_places(c)).max().unwrap_or(0)
}

/// Decimal places of one currency: 2 for CNY, 0 for JPY.
pub fn minor_places(currency: Currency) -> u32 {
    currency.exponent().unwrap_or(0).into()
}

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// Text with separators; all columns are text.
    Csv,
    /// Arrow IPC file (Feather 2).
    Ipc,
}

/// How CSV files are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvDialect {
    /// Between columns; one ASCII character.
    pub separator: u8,
    /// Around texts; `None`: texts are never quoted.
    pub quote: Option<u8>,
    /// Is the first line a header? If not, columns are `column_1`, `column_2`, ...
    pub header: bool,
    /// The decimal sign, `.` or `,`.
    pub decimal: char,
}

/// What a time without a zone means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zoneless {
    /// The wall clock of the job's time zone.
    Local,
    /// Universal time.
    Utc,
}

/// What one user is promised.
#[derive(Clone, Copy, Debug)]
pub struct Privacy {
    /// Who is protected.
    pub unit: PrivacyUnit,
    /// ε of the whole job.
    pub epsilon: Epsilon,
    /// δ of the whole job.
    pub delta: Delta,
}

impl Privacy {
    /// Does what costs `loss` keep ε and δ?
    pub fn allows(&self, loss: PrivacyLoss) -> bool {
        let most = largest_loss(self.epsilon, self.delta, loss.threshold_delta);
        most.is_some_and(|most| loss.mu_squared <= most)
    }
}

/// Where the budget is kept, and how large it is.
#[derive(Clone, Debug)]
pub struct LedgerTerms {
    /// The SQLite file.
    pub file: PathBuf,
    /// The people whose budget it is.
    pub population: String,
    /// ε that all jobs over this population may cost together.
    pub epsilon_max: Epsilon,
    /// δ that all jobs over this population may cost together.
    pub delta_max: Delta,
    /// The expression of the ledger's other jobs, in normal form, that names the same people as
    /// this job's, says its author.
    pub same_user_as: Option<String>,
    /// How the ledger's other jobs read times (as [`PaymentsSource::time_as_read`] writes it),
    /// which gives each payment the same time as this job's, says its author.
    pub same_time_as: Option<String>,
}

/// One report: levels of the same insights.
#[derive(Clone, Debug)]
pub struct Report {
    /// Name, and start of its file names.
    pub name: String,
    /// Groupings, in the order of the file.
    pub levels: Vec<Level>,
    /// Whether keys are given or found.
    pub selection: PartitionSelection,
    /// What to show.
    pub insights: Vec<Insight>,
    /// Keys over which shares add up to one, with their place in the job file.
    pub share_of: Option<(Vec<String>, Range<usize>)>,
    /// The columns of the table of merchants in which peers are alike, with their place in the job
    /// file; empty if not stated.
    pub peers: (Vec<String>, Range<usize>),
    /// Registered merchants that a group of peers has at least, with the place, if stated.
    pub peers_min: (u32, Option<Range<usize>>),
    /// How much merchants have at least to be counted, by statistic, in counts or minor units; with
    /// its place in the job file.
    pub above: (BTreeMap<StatisticKind, i64>, Range<usize>),
    /// The time key by whose values tables that have it are split into files; `None`: one file a
    /// table.
    pub partition_by: Option<TimeKey>,
    /// A day of the period that is 100 in indexes, with its place in the job file.
    pub base: Option<(chrono::NaiveDate, Range<usize>)>,
    /// Estimates are shown if half their interval is at most this share of them; `None`: always.
    pub suppress_above: Option<Percent>,
    /// Earlier jobs whose keys are shown again, whatever their noised values; of private keys.
    pub keys_from: Vec<EarlierJob>,
    /// The earlier jobs whose surveys tell the bounds that this one leaves open, and whose values
    /// estimates go by; or what stands for the latest that fit, alone.
    pub previous: Vec<EarlierJob>,
    /// Noise of cells is in proportion to this power of what these say of them.
    pub cell_scales: f64,
    /// Place of its `look_back` in the job file, if it states one.
    pub look_back: Option<Range<usize>>,
}

/// An earlier job of the ledger, whose release is used.
#[derive(Clone, Debug)]
pub struct EarlierJob {
    /// Its id in the job's ledger.
    pub job: String,
    /// Place in the job file.
    pub span: Range<usize>,
}

impl EarlierJob {
    /// What stands for the latest releases that fit; no job can have that id.
    pub const LATEST: &str = "latest";

    /// Of so many releases estimates go by the values at most: back to the period a year before,
    /// whether periods are months or four weeks.
    pub const VALUES_MAX: usize = 13;

    /// Does it stand for the latest releases that fit, whatever their jobs' names?
    pub fn is_latest(&self) -> bool {
        self.job == Self::LATEST
    }
}

/// One grouping of a report.
#[derive(Clone, Debug)]
pub struct Level {
    /// The keys, in the order of the file.
    pub keys: Vec<Key>,
    /// Place in the job file.
    pub span: Range<usize>,
    /// How many days before a cell tell whether a customer is new there.
    pub look_back: u32,
    /// Weight in the split of the job's budget, against those of all levels of the job.
    pub weight: u32,
    /// For each needed statistic, its bound.
    pub bounds: BTreeMap<StatisticKind, Bound>,
    /// Of some statistics, how near to the truth they must be.
    pub errors: BTreeMap<StatisticKind, Aim>,
}

/// An expected error that the job asks for.
#[derive(Clone, Debug)]
pub struct Aim {
    /// That of the noised value of a cell of mean size, relative to it.
    pub error: Percent,
    /// Place in the job file.
    pub span: Range<usize>,
}

impl Level {
    /// The name in file names, messages and the manifest: `region-week`, or `all`.
    pub fn name(&self) -> String {
        let names: Vec<&str> = self.keys.iter().map(Key::name).collect();
        if names.is_empty() { "all".to_owned() } else { names.join("-") }
    }
}

/// A bound as far as the job states it, in thousandths of the statistic's unit: a count, or the
/// smallest minor unit of the job's currencies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// Largest norm of one user; `None`: the run chooses it.
    pub norm_milli: Option<u64>,
    /// Largest size of one user's cell, never above a stated norm; `None`: as large as the norm.
    pub cell_cap_milli: Option<u64>,
    /// Does the run ask what a stated norm takes from users?
    pub surveyed: bool,
}

/// Whether the keys that may appear are given or found in the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionSelection {
    /// Every key of the public key set appears, with or without payments.
    Public,
    /// A key appears if its noised values together reach a threshold.
    Private {
        /// The most cells of one user that count.
        cells_max: u32,
    },
    /// A key appears if rounds of their own find it, before anything is measured.
    Discovered {
        /// The most cells of one user that count in a round.
        cells_max: u32,
        /// What the rounds take of a level's part of the budget, below 1.
        share: Percent,
    },
}

impl PartitionSelection {
    /// Are keys given?
    pub fn is_public(self) -> bool {
        self == PartitionSelection::Public
    }
}

/// What a level groups by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The merchant's id.
    Merchant,
    /// A column of the public table of merchants.
    MerchantAttribute(String),
    /// Where a user is at home: `home_` and a column of the table of merchants, whose value is that
    /// of most of the user's payments and refunds; of equals the first.
    Home(String),
    /// `with_` and a column of the table of merchants that is a key too: cells are pairs of its
    /// values, and hold the users who paid at both. The second value of a pair, in the order of
    /// texts.
    With(String),
    /// A part of the local time.
    Time(TimeKey),
    /// A column of the payments.
    Column(String),
    /// The currency code.
    Currency,
}

impl Key {
    /// What the names of keys start with that tell where users are at home.
    pub const HOME: &str = "home_";

    /// What the names of keys start with that make cells of pairs.
    pub const WITH: &str = "with_";

    /// The column of the table of merchants of whose values cells are pairs.
    pub fn pairs_of(&self) -> Option<&str> {
        match self {
            Key::With(name) => name.strip_prefix(Self::WITH),
            _ => None,
        }
    }

    /// The column of the table of merchants by which a user's home is found.
    pub fn home_of(&self) -> Option<&str> {
        match self {
            Key::Home(name) => name.strip_prefix(Self::HOME),
            _ => None,
        }
    }

    /// The name in job files and Parquet columns.
    pub fn name(&self) -> &str {
        match self {
            Key::Merchant => "merchant",
            Key::MerchantAttribute(name)
            | Key::Home(name)
            | Key::With(name)
            | Key::Column(name) => name,
            Key::Time(time) => time.name(),
            Key::Currency => "currency",
        }
    }
}
