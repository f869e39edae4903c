//! What the tests share: a workshop folder with data and jobs, and the real binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use polars::prelude::{DataFrame, ParquetReader, ParquetWriter, SerReader};
use tempfile::TempDir;

/// A folder with a job and its data.
pub(crate) struct Workshop {
    pub(crate) folder: TempDir,
}

/// A job on `payments.parquet` with every section, to be changed with [`str::replace`].
pub(crate) const JOB: &str = r#"version   = 1
job       = "test"
recipient = "partner"

[payments]
files     = ["payments.parquet"]
timezone  = "Asia/Shanghai"
first_day = 2025-01-01
last_day  = 2025-01-31
currency  = "CNY"
columns   = { user = "user", merchant = "merchant", time = "time", amount = "amount", wallet = "wallet" }

[merchants]
files = ["merchants.parquet"]

[keys]
wallet = ["alipay", "apple_pay", "card"]

[privacy]
unit    = "user"
epsilon = "1"
delta   = "1e-6"

[ledger]
file        = "ledger.sqlite"
population  = "people"
epsilon_max = "4"
delta_max   = "1e-5"

[[report]]
name     = "market"
levels   = [[], ["region", "week"], ["wallet"]]
keys     = "public"
insights = ["customers", "payments", "sales", "average_ticket"]
bounds   = { customers = "3", payments = "10", sales = "500.00" }

[[report]]
name      = "found"
levels    = [["merchant"], ["wallet", "day"]]
keys      = "private"
cells_max = 8
insights  = ["customers", "sales"]
bounds    = { customers = "2", sales = "300" }
"#;

impl Workshop {
    /// With the registry of [`registry`], the payments of [`payments`] and [`JOB`].
    pub(crate) fn new() -> Self {
        let workshop = Workshop::empty();
        workshop.parquet("merchants.parquet", registry());
        workshop.parquet("payments.parquet", payments());
        workshop.text("job.toml", JOB);
        workshop
    }

    pub(crate) fn empty() -> Self {
        Workshop { folder: TempDir::new().expect("a temporary folder") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    #[expect(clippy::disallowed_methods, reason = "a test's input")]
    pub(crate) fn text(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("writes");
    }

    pub(crate) fn parquet(&self, name: &str, mut table: DataFrame) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("makes folders");
        let file = std::fs::File::create(path).expect("creates");
        ParquetWriter::new(file).finish(&mut table).expect("writes");
    }

    /// Runs the real binary in this folder.
    pub(crate) fn discretail(&self, args: &[&str]) -> Output {
        command(self.folder.path()).args(args).output().expect("starts")
    }

    /// Runs `job.toml` and verifies its release against the ledger.
    pub(crate) fn release(&self) {
        let verify: &[&str] = &["verify", "releases/test", "--ledger", "ledger.sqlite"];
        for args in [&["run", "job.toml"], verify] {
            let output = self.discretail(args);
            assert_eq!(output.status.code(), Some(0), "{}", shown(self, &output));
        }
    }

    /// A table of the job's release.
    pub(crate) fn table(&self, name: &str) -> DataFrame {
        let file = std::fs::File::open(self.path(&format!("releases/test/{name}.parquet")));
        ParquetReader::new(file.unwrap()).finish().unwrap()
    }
}

/// The real binary, to be run in `folder`.
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_discretail"));
    command.current_dir(folder);
    command
}

/// [`JOB`] up to its reports, with so little noise as ε 8 asks for.
pub(crate) fn sharp() -> String {
    let (head, _) = JOB.split_once("[[report]]").expect("reports");
    let head = head.replace("epsilon = \"1\"", "epsilon = \"8\"");
    head.replace("epsilon_max = \"4\"", "epsilon_max = \"16\"")
}

/// A job made of [`JOB`] without the wallets' names, if no level has them.
pub(crate) fn fitted(job: String) -> String {
    let reports = job.split_once("[[report]]").map_or("", |(_, reports)| reports);
    if reports.contains("\"wallet\"") { job } else { job.replace(WALLETS, "") }
}

const WALLETS: &str = "wallet = [\"alipay\", \"apple_pay\", \"card\"]\n";

/// What `check` says of a job that it refuses.
pub(crate) fn refused(workshop: &Workshop, job: &str) -> String {
    workshop.text("job.toml", job);
    let output = workshop.discretail(&["check", "job.toml"]);
    assert_eq!(output.status.code(), Some(2), "{}", shown(workshop, &output));
    shown(workshop, &output).replace("exit: 2\n--- stdout\n--- stderr\n", "")
}

/// Exit code, standard output and standard error as one text, with the folder's name hidden.
pub(crate) fn shown(workshop: &Workshop, output: &Output) -> String {
    let folder = workshop.folder.path().display().to_string();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&folder, "FOLDER");
    format!(
        "exit: {}\n--- stdout\n{}--- stderr\n{}",
        output.status.code().map_or("signal".to_owned(), |code| code.to_string()),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// Four merchants in two regions.
pub(crate) fn registry() -> DataFrame {
    polars::df!(
        "merchant_id" => ["M1", "M2", "M3", "NULL"],
        "region" => ["north", "north", "south", "south"],
        "category" => ["food", "fuel", "food", "books"],
    )
    .expect("a table")
}

/// Payments by card: users, merchants, seconds since 1970 and amounts.
pub(crate) fn paid(rows: Vec<(String, &str, i64, i64)>) -> DataFrame {
    polars::df!(
        "user" => rows.iter().map(|row| row.0.as_str()).collect::<Vec<_>>(),
        "merchant" => rows.iter().map(|row| row.1).collect::<Vec<_>>(),
        "time" => rows.iter().map(|row| row.2).collect::<Vec<_>>(),
        "amount" => rows.iter().map(|row| row.3).collect::<Vec<_>>(),
        "wallet" => vec!["card"; rows.len()],
    )
    .expect("a table")
}

/// Payments of 10.00, one every 200 seconds: users and merchants.
pub(crate) fn paid_in_turn<'m>(rows: impl Iterator<Item = (usize, &'m str)>) -> DataFrame {
    let row = |(n, (user, merchant)): (usize, (usize, &'m str))| {
        (format!("u{user}"), merchant, 1_735_704_000 + 200 * n as i64, 1000)
    };
    paid(rows.enumerate().map(row).collect())
}

/// 1,200 payments of 60 users in January 2025.
pub(crate) fn payments() -> DataFrame {
    // Noon of 1 January in Shanghai.
    payments_from(1_735_704_000)
}

/// The same from a second since 1970 on, one every half hour.
pub(crate) fn payments_from(start: i64) -> DataFrame {
    let rows = 1200usize;
    let users: Vec<String> = (0..rows).map(|i| format!("u{:02}", i * 7 % 60)).collect();
    let merchants: Vec<&str> = (0..rows).map(|i| ["M1", "M2", "M3", "NULL"][i * 5 % 4]).collect();
    let times: Vec<i64> = (0..rows).map(|i| start + 1800 * i as i64).collect();
    let amounts: Vec<i64> =
        (0..rows).map(|i| if i % 50 == 0 { -500 } else { 100 + (i as i64 * 37) % 9000 }).collect();
    let wallets: Vec<&str> = (0..rows).map(|i| ["alipay", "apple_pay", "card"][i % 3]).collect();
    polars::df!(
        "user" => users,
        "merchant" => merchants,
        "time" => times,
        "amount" => amounts,
        "wallet" => wallets,
    )
    .expect("a table")
}
