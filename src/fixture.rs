//! Jobs and payments for the tests of several stations.

use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use polars::prelude::{Column, ParquetWriter, df};
use tempfile::TempDir;

use crate::engine::local::Local;
use crate::engine::reference::Reference;
use crate::engine::{Engine, ExactSurveys, ExactTotals};
use crate::job::Job;
use crate::payments::ScanControl;
use crate::plan::{CellKey, Plan, Survey};

/// One payment of the tests.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) user: u32,
    /// Merchants M0 to M9, in regions R0 to R2.
    pub(crate) merchant: u32,
    /// Minutes since the period's start, 1 January 2025 in Berlin.
    pub(crate) minute: u32,
    pub(crate) amount: i64,
    pub(crate) wallet: u32,
}

/// A market: merchants, payments, and jobs on them.
pub(crate) struct Market {
    folder: TempDir,
}

pub(crate) const DAYS: u32 = 120;
static NEVER: AtomicBool = AtomicBool::new(false);

impl Market {
    pub(crate) fn new(rows: &[Row]) -> Self {
        let market = Market { folder: TempDir::new().expect("a temporary folder") };
        let ids: Vec<String> = (0..10).map(|m| format!("M{m}")).collect();
        let regions: Vec<String> = (0..10).map(|m| format!("R{}", m % 3)).collect();
        let mut table = df!("merchant_id" => ids, "region" => regions).expect("a table");
        write(&market.folder.path().join("merchants.parquet"), &mut table);
        market.set_payments(rows);
        market
    }

    /// A market whose table of merchants has more columns: their kind, of which R0 has 4 of a, R1 1
    /// of a and 2 of b, R2 2 of a and 1 of b; and their name.
    pub(crate) fn with_kinds() -> Self {
        let market = Market::new(&[]);
        let ids: Vec<String> = (0..10).map(|m| format!("M{m}")).collect();
        let regions: Vec<String> = (0..10).map(|m| format!("R{}", m % 3)).collect();
        let kinds = ["a", "a", "b", "a", "b", "a", "a", "b", "a", "a"];
        let names = ids.clone();
        let mut table =
            df!("merchant_id" => ids, "region" => regions, "kind" => kinds, "name" => names)
                .expect("a table");
        write(&market.folder.path().join("merchants.parquet"), &mut table);
        market
    }

    /// A market whose table of merchants has so many columns, each with another value for each
    /// merchant: c0, c1 and so on.
    pub(crate) fn with_columns(count: usize) -> Self {
        let market = Market::new(&[]);
        let ids: Vec<String> = (0..10).map(|m| format!("M{m}")).collect();
        let mut table = df!("merchant_id" => &ids, "region" => &ids).expect("a table");
        for column in 0..count {
            let column = Column::new(format!("c{column}").into(), &ids);
            table.with_column(column).expect("as long as the others");
        }
        write(&market.folder.path().join("merchants.parquet"), &mut table);
        market
    }

    /// Plans a job about other days.
    pub(crate) fn plan_days(
        &self,
        first: &str,
        last: &str,
        reports: &[String],
    ) -> crate::error::Result<Plan> {
        let text = text(reports).replace("2025-01-01", first).replace("2025-04-30", last);
        Job::parse(&text, self.folder.path()).and_then(Plan::new)
    }

    /// Plans a job in which some texts stand in place of others.
    pub(crate) fn try_plan_changed(
        &self,
        changes: &[(&str, &str)],
        reports: &[String],
    ) -> crate::error::Result<Plan> {
        let change = |text: String, &(from, to): &(&str, &str)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        };
        let mut text = changes.iter().fold(JOB.to_owned(), change);
        for (place, report) in reports.iter().enumerate() {
            let name = format!("[[report]]\nname = \"r{place}\"\n{report}\n");
            text.write_str(&name).expect("writes to a string");
        }
        if !reports.iter().any(|report| report.contains("\"wallet\"")) {
            text = text.replace(KEYS, "");
        }
        Job::parse(&text, self.folder.path()).and_then(Plan::new)
    }

    /// Plans a job with a line in its section `[merchants]`.
    pub(crate) fn try_plan_with(
        &self,
        merchants: &str,
        reports: &[String],
    ) -> crate::error::Result<Plan> {
        let line = format!("files = [\"merchants.parquet\"]\n{merchants}");
        let text = text(reports).replace("files = [\"merchants.parquet\"]", &line);
        Job::parse(&text, self.folder.path()).and_then(Plan::new)
    }

    pub(crate) fn set_payments(&self, rows: &[Row]) {
        self.write_payments("payments.parquet", rows);
    }

    /// Writes payments to a file of its own; gives its path.
    pub(crate) fn write_payments(&self, name: &str, rows: &[Row]) -> PathBuf {
        // 1 January 2025 in Berlin, in universal time.
        let start = 1_735_686_000i64;
        let mut table = df!(
            "user" => rows.iter().map(|r| format!("user-{}", r.user)).collect::<Vec<_>>(),
            "merchant" => rows.iter().map(|r| format!("M{}", r.merchant)).collect::<Vec<_>>(),
            "time" => rows.iter().map(|r| start + 60 * i64::from(r.minute)).collect::<Vec<_>>(),
            "amount" => rows.iter().map(|r| r.amount).collect::<Vec<_>>(),
            "wallet" => rows.iter().map(|r| format!("w{}", r.wallet)).collect::<Vec<_>>(),
        )
        .expect("a table");
        let path = self.folder.path().join(name);
        write(&path, &mut table);
        path
    }

    /// Plans a job of `reports`, each the text of a `[[report]]` section.
    pub(crate) fn plan(&self, reports: &[String]) -> Plan {
        self.plan_for("user", reports)
    }

    /// The same for another privacy unit.
    pub(crate) fn plan_for(&self, unit: &str, reports: &[String]) -> Plan {
        let planned = self.try_plan_for(unit, reports);
        planned.unwrap_or_else(|error| panic!("{error}\n{reports:?}"))
    }

    /// The same for jobs that may be wrong.
    pub(crate) fn try_plan(&self, reports: &[String]) -> crate::error::Result<Plan> {
        self.try_plan_for("user", reports)
    }

    fn try_plan_for(&self, unit: &str, reports: &[String]) -> crate::error::Result<Plan> {
        let text = text(reports).replace("unit = \"user\"", &format!("unit = \"{unit}\""));
        let job = Job::parse(&text, self.folder.path());
        job.and_then(Plan::new)
    }

    pub(crate) fn local(&self, plan: &Plan, threads: usize) -> ExactTotals {
        totals(&self.engine(threads, Local::PARTITION_BITS), plan)
    }

    /// With the least memory that there can be, so that most records wait on disk.
    pub(crate) fn spilled(&self, plan: &Plan, threads: usize, bits: u32) -> ExactTotals {
        let engine = self.engine(threads, bits);
        totals(&Local { memory: engine.memory_least(plan), ..engine }, plan)
    }

    pub(crate) fn engine(&self, threads: usize, partition_bits: u32) -> Local<'static> {
        Local {
            control: ScanControl { cancelled: &NEVER, progress: &|_| {} },
            threads,
            memory: 1 << 30,
            spill_folder: self.folder.path().to_owned(),
            partition_bits,
        }
    }

    pub(crate) fn reference(&self, plan: &Plan) -> ExactTotals {
        totals(&self.reference_engine(), plan)
    }

    pub(crate) fn reference_engine(&self) -> Reference<'static> {
        Reference { control: ScanControl { cancelled: &NEVER, progress: &|_| {} } }
    }
}

fn totals(engine: &dyn Engine, plan: &Plan) -> ExactTotals {
    settled(engine, plan).2
}

/// What rounds and surveys count, if there are any; the plan with what follows without noise, where
/// rounds find a third of the cells, whichever; and its totals.
pub(crate) fn settled(
    engine: &dyn Engine,
    plan: &Plan,
) -> (Option<ExactSurveys>, Plan, ExactTotals) {
    let (mut asked, mut counts) = (plan.clone(), None);
    let (plan, totals) = engine
        .totals(plan, &mut |exact| {
            let none = || ExactSurveys { surveys: Vec::new(), round: Vec::new() };
            let known = counts.get_or_insert_with(none);
            asked = noiseless(&asked, &exact);
            known.round.extend(exact.round);
            known.surveys.extend(exact.surveys);
            Ok(asked.clone())
        })
        .expect("the payments are good");
    (counts, plan, totals)
}

/// The plan with what follows from what it has asked first, without noise: bounds, or, of a round,
/// a third of its cells, whichever.
pub(crate) fn noiseless(asked: &Plan, exact: &ExactSurveys) -> Plan {
    if asked.is_seeking() {
        let found = exact.round.iter().map(|level| any_third(&level.keys));
        return asked.clone().discover(found.collect());
    }
    let surveys = exact
        .surveys
        .iter()
        .map(|survey| Survey { histogram: survey.histogram.clone(), spread: survey.spread });
    asked.clone().settle(surveys.collect())
}

/// About a third of some cells, by their keys alone.
fn any_third(keys: &[CellKey]) -> Vec<CellKey> {
    let hash = |key: &CellKey| {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        hasher.finish()
    };
    keys.iter().filter(|key| hash(key).is_multiple_of(3)).cloned().collect()
}

/// The job with these reports, without what they do not need: some are drawn with it or without.
fn text(reports: &[String]) -> String {
    let mut text = JOB.to_owned();
    for (place, report) in reports.iter().enumerate() {
        let public = report.contains("keys = \"public\"");
        let lines = report.lines().filter(|line| !(public && line.starts_with("cells_max")));
        let lines: Vec<&str> = lines.collect();
        let name = format!("[[report]]\nname = \"r{place}\"\n{}\n", lines.join("\n"));
        text.write_str(&name).expect("writes to a string");
    }
    without_idle(text, reports)
}

/// Without what no report looks at.
fn without_idle(mut text: String, reports: &[String]) -> String {
    let named = |word: &str| reports.iter().any(|report| report.contains(word));
    for (word, lines) in
        [("ticket_quantiles", "ticket_groups = \"region\"\n"), ("\"wallet\"", KEYS)]
    {
        if !named(word) {
            text = text.replace(lines, "");
        }
    }
    text
}

fn write(path: &Path, table: &mut polars::prelude::DataFrame) {
    let file = std::fs::File::create(path).expect("creates");
    ParquetWriter::new(file).finish(table).expect("writes");
}

/// The part of [`JOB`] that levels by wallet need.
const KEYS: &str = "[keys]\nwallet = [\"w0\", \"w1\", \"w2\"]\n";

const JOB: &str = r#"
version = 1
job = "test"
recipient = "tests"
[payments]
files = ["payments.parquet"]
timezone = "Europe/Berlin"
first_day = 2025-01-01
last_day = 2025-04-30
currency = "EUR"
columns = { user = "user", merchant = "merchant", time = "time", amount = "amount", wallet = "wallet" }
[merchants]
files = ["merchants.parquet"]
ticket_groups = "region"
[keys]
wallet = ["w0", "w1", "w2"]
[privacy]
unit = "user"
epsilon = "1"
delta = "1e-6"
[ledger]
file = "ledger.sqlite"
population = "people"
epsilon_max = "4"
delta_max = "1e-5"
"#;
