//! The same payments in every supported form give the same exact totals.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use discretail::engine::local::Local;
use discretail::engine::reference::Reference;
use discretail::engine::{Engine, ExactTotals};
use discretail::error::Result;
use discretail::job::Job;
use discretail::payments::ScanControl;
use discretail::plan::Plan;
use polars::prelude::{
    Column, DataFrame, DataType, IntoColumn, IpcWriter, NamedFrom, SerWriter, Series, TimeUnit,
    TimeZone,
};

use crate::common::{JOB, Workshop, payments};

/// The totals by both engines, which must agree, whether memory is ample or short.
fn totals_of(workshop: &Workshop, job: &str) -> Result<ExactTotals> {
    totals_in(workshop.folder.path(), workshop, job)
}

/// The same of a job that is in a folder of its own.
fn totals_in(folder: &Path, workshop: &Workshop, job: &str) -> Result<ExactTotals> {
    let plan = Plan::new(Job::parse(job, folder)?)?;
    let cancelled = AtomicBool::new(false);
    let control = ScanControl { cancelled: &cancelled, progress: &|_| {} };
    let engine = Local {
        control,
        threads: 2,
        memory: 1 << 30,
        spill_folder: workshop.folder.path().to_owned(),
        partition_bits: Local::PARTITION_BITS,
    };
    let in_parts = Local { memory: Local::MEMORY_MIN, ..engine.clone() };
    let totals =
        |engine: &dyn Engine| Ok(engine.totals(&plan, &mut |_| panic!("bounds are stated"))?.1);
    let reference = totals(&Reference { control })?;
    assert!(totals(&engine)? == reference, "the engines differ");
    assert!(totals(&in_parts)? == reference, "files are read part by part");
    Ok(reference)
}

pub(crate) fn totals(workshop: &Workshop, job: &str) -> ExactTotals {
    totals_of(workshop, job).unwrap_or_else(|error| panic!("{error}"))
}

/// The common payments, some of them of -0.01 and 0.00, so that the sign of small amounts counts.
pub(crate) fn rows() -> DataFrame {
    let mut table = payments();
    let amounts = whole(&table, "amount");
    let special = |(i, amount): (usize, i64)| match i % 50 {
        25 => -1,
        26 => 0,
        _ => amount,
    };
    let amounts: Vec<i64> = amounts.into_iter().enumerate().map(special).collect();
    with(&mut table, Series::new("amount".into(), amounts));
    table
}

pub(crate) fn with(table: &mut DataFrame, column: Series) {
    table.with_column(column.into_column()).expect("a column");
}

fn whole(table: &DataFrame, name: &str) -> Vec<i64> {
    table.column(name).unwrap().i64().unwrap().into_no_null_iter().collect()
}

pub(crate) fn text(table: &DataFrame, name: &str) -> Vec<String> {
    let texts = table.column(name).unwrap().str().unwrap();
    texts.iter().map(|text| text.unwrap().to_owned()).collect()
}

/// -1 is -0.01.
fn major(minor: i64, sign: char) -> String {
    let size = minor.unsigned_abs();
    format!("{}{}{sign}{:02}", if minor < 0 { "-" } else { "" }, size / 100, size % 100)
}

pub(crate) fn majors(table: &DataFrame, sign: char) -> Vec<String> {
    whole(table, "amount").into_iter().map(|minor| major(minor, sign)).collect()
}

/// Shanghai is eight hours ahead, without daylight saving.
pub(crate) const SHANGHAI: i64 = 8 * 3600;

fn written(seconds: i64, format: &str) -> String {
    chrono::DateTime::from_timestamp(seconds, 0).unwrap().format(format).to_string()
}

pub(crate) fn times(table: &DataFrame, ahead: i64, format: &str) -> Vec<String> {
    whole(table, "time").into_iter().map(|seconds| written(seconds + ahead, format)).collect()
}

/// A workshop whose payments are `rows` with one column changed.
fn changed(column: Series) -> Workshop {
    let workshop = Workshop::new();
    let mut table = rows();
    with(&mut table, column);
    workshop.parquet("payments.parquet", table);
    workshop
}

pub(crate) fn base() -> ExactTotals {
    let workshop = Workshop::new();
    workshop.parquet("payments.parquet", rows());
    totals(&workshop, JOB)
}

/// [`JOB`] with more lines in `[payments]`.
pub(crate) fn job_with(lines: &str) -> String {
    JOB.replace("[payments]", &format!("[payments]\n{lines}"))
}

#[test]
fn totals_tell_one_cent() {
    let mut amounts = whole(&rows(), "amount");
    amounts[7] += 1;
    let workshop = changed(Series::new("amount".into(), amounts));
    assert!(totals(&workshop, JOB) != base(), "a comparison that cannot fail proves nothing");
}

#[test]
fn users_are_texts_or_whole_numbers_of_any_width() {
    let numbers: Vec<i64> =
        text(&rows(), "user").iter().map(|user| user[1..].parse().unwrap()).collect();
    let base = base();
    for dtype in [
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::UInt8,
        DataType::UInt16,
        DataType::UInt32,
        DataType::UInt64,
    ] {
        let users = Series::new("user".into(), &numbers).cast(&dtype).unwrap();
        assert!(totals(&changed(users), JOB) == base, "{dtype}");
    }
}

#[test]
fn amounts_are_minor_units_decimals_texts_or_floats() {
    let base = base();
    let table = rows();
    let minor = Series::new("amount".into(), whole(&table, "amount"));
    let major = Series::new("amount".into(), majors(&table, '.'));
    for dtype in [DataType::Int16, DataType::Int32, DataType::Int64] {
        assert!(totals(&changed(minor.cast(&dtype).unwrap()), JOB) == base, "{dtype}");
    }
    for dtype in [
        DataType::String,
        DataType::Decimal(9, 2),
        DataType::Decimal(20, 4),
        DataType::Decimal(38, 10),
        DataType::Float64,
        DataType::Float32,
    ] {
        assert!(totals(&changed(major.cast(&dtype).unwrap()), JOB) == base, "{dtype}");
    }
}

#[test]
fn times_are_timestamps_dates_seconds_or_texts() {
    let base = base();
    let seconds = whole(&rows(), "time");
    let stamps = |unit, factor: i64, ahead: i64, zone: Option<TimeZone>| -> Column {
        let ticks: Vec<i64> = seconds.iter().map(|s| (s + ahead) * factor + factor / 2).collect();
        let ticks = Series::new("time".into(), ticks);
        ticks.i64().unwrap().clone().into_datetime(unit, zone).into_column()
    };
    let new_york = TimeZone::opt_try_new(Some("America/New_York")).unwrap();
    for (unit, factor) in [
        (TimeUnit::Milliseconds, 1_000),
        (TimeUnit::Microseconds, 1_000_000),
        (TimeUnit::Nanoseconds, 1_000_000_000),
    ] {
        for (column, line) in [
            (stamps(unit, factor, 0, Some(TimeZone::UTC)), ""),
            (stamps(unit, factor, 0, new_york.clone()), ""),
            (stamps(unit, factor, SHANGHAI, None), ""),
            (stamps(unit, factor, SHANGHAI, None), "times_without_zone = \"local\""),
            (stamps(unit, factor, 0, None), "times_without_zone = \"utc\""),
        ] {
            let name = format!("{} {line}", column.dtype());
            let workshop = changed(column.as_materialized_series().clone());
            assert!(totals(&workshop, &job_with(line)) == base, "{name}");
        }
    }
    let numbers = Series::new("time".into(), &seconds);
    for dtype in [DataType::Int32, DataType::UInt32, DataType::UInt64, DataType::Float64] {
        assert!(totals(&changed(numbers.cast(&dtype).unwrap()), JOB) == base, "{dtype}");
    }
    let days: Vec<i32> = seconds.iter().map(|s| (s + SHANGHAI).div_euclid(86_400) as i32).collect();
    let days = Series::new("time".into(), days).cast(&DataType::Date).unwrap();
    assert!(totals(&changed(days.clone()), JOB) == base, "date");
    let job = JOB.replace("time = \"time\"", "time = \"DATE(time)\"");
    let texts = days.cast(&DataType::String).unwrap();
    let local = stamps(TimeUnit::Microseconds, 1_000_000, SHANGHAI, None);
    for column in [texts, local.as_materialized_series().clone()] {
        assert!(totals(&changed(column.clone()), &job) == base, "DATE of {}", column.dtype());
    }
}

#[test]
fn times_as_text_have_a_format() {
    let base = base();
    let table = rows();
    for (ahead, format, lines) in [
        (SHANGHAI, "%Y-%m-%d %H:%M:%S", ""),
        (SHANGHAI, "%d.%m.%Y %H:%M", "times_without_zone = \"local\""),
        (0, "%Y-%m-%dT%H:%M:%S", "times_without_zone = \"utc\""),
        (0, "%Y-%m-%dT%H:%M:%S%z", ""),
        (SHANGHAI, "%Y%m%d", ""),
        (0, "%s", ""),
    ] {
        let workshop = changed(Series::new("time".into(), times(&table, ahead, format)));
        let job = job_with(&format!("{lines}\ntime_format = \"{format}\""));
        assert!(totals(&workshop, &job) == base, "{format}");
    }
    let german = times(&table, SHANGHAI, "%d.%m.%Y %H:%M");
    let in_sql = r#"time = "to_timestamp(time, '%d.%m.%Y %H:%M')""#;
    let job = JOB.replace("time = \"time\"", in_sql);
    assert!(totals(&changed(Series::new("time".into(), german)), &job) == base, "in SQL");
    let job = JOB.replace("time = \"time\"", "time = \"to_timestamp(time)\"");
    let seconds = Series::new("time".into(), whole(&table, "time"));
    assert!(totals(&changed(seconds), &job) == base, "seconds in SQL");
}

#[test]
fn csv_files_may_be_written_in_many_ways() {
    let base = base();
    let table = rows();
    let (users, merchants, wallets) =
        (text(&table, "user"), text(&table, "merchant"), text(&table, "wallet"));
    for (dialect, separator, quote, header, sign) in [
        ("", ",", "\"", true, '.'),
        ("csv = { separator = \";\", decimal = \",\" }", ";", "\"", true, ','),
        ("csv = { separator = \"\\t\", quote = \"'\" }", "\t", "'", true, '.'),
        ("csv = { separator = \"|\", quote = \"\", header = false }", "|", "", false, '.'),
    ] {
        let times = times(&table, SHANGHAI, "%Y-%m-%d %H:%M:%S");
        let amounts = majors(&table, sign);
        let mut lines = Vec::new();
        if header {
            lines.push(["user", "merchant", "time", "amount", "wallet"].join(separator));
        }
        for row in 0..table.height() {
            // A separator and a quote inside of quotes are part of the text.
            let inner = if quote.is_empty() { "" } else { &format!("{separator}{quote}{quote}") };
            let user = format!("{quote}{}{inner}{quote}", users[row]);
            let amount = format!("{quote}{}{quote}", amounts[row]);
            let fields = [&user, &merchants[row], &times[row], &amount, &wallets[row]];
            lines.push(fields.map(String::as_str).join(separator));
        }
        let workshop = Workshop::new();
        workshop.text("payments.csv", &(lines.join("\r\n") + "\r\n"));
        let mut job = job_with(&format!("{dialect}\ntime_format = \"%Y-%m-%d %H:%M:%S\""));
        job = job.replace("payments.parquet", "payments.csv");
        if !header {
            for (at, name) in ["user", "merchant", "time", "amount", "wallet"].iter().enumerate() {
                let column = format!("{name} = \"column_{}\"", at + 1);
                job = job.replace(&format!("{name} = \"{name}\""), &column);
            }
        }
        assert!(totals(&workshop, &job) == base, "{dialect}");
    }
}

pub(crate) fn ipc(path: &Path, mut table: DataFrame) {
    IpcWriter::new(std::fs::File::create(path).unwrap()).finish(&mut table).unwrap();
}

#[test]
fn ipc_files_are_read() {
    let workshop = Workshop::new();
    ipc(&workshop.path("payments.arrow"), rows());
    assert!(totals(&workshop, &JOB.replace("payments.parquet", "payments.arrow")) == base());
    ipc(&workshop.path("payments.bin"), rows());
    let job = job_with("format = \"ipc\"").replace("payments.parquet", "payments.bin");
    assert!(totals(&workshop, &job) == base(), "a stated format");
}

#[test]
fn several_files_are_one_table() {
    let workshop = Workshop::new();
    for part in 0..3 {
        let table = rows().slice(part * 400, 400);
        workshop.parquet(&format!("parts/a/part-{part}.parquet"), table);
    }
    workshop.parquet("parts/_temporary/part-3.parquet", rows());
    std::fs::create_dir(workshop.path("links")).unwrap();
    for (to, name) in [("../parts/a", "a"), ("../parts/a", "b"), (".", "here")] {
        std::os::unix::fs::symlink(to, workshop.path(&format!("links/{name}"))).unwrap();
    }
    let base = base();
    for files in [
        "\"parts/a/part-*.parquet\"",
        "\"parts/**/*.parquet\"",
        "\"parts/a/part-?.parquet\"",
        "\"parts\"",
        // One file that is found twice is read once, by whatever path.
        "\"parts\", \"parts/a/part-1.parquet\"",
        "\"parts\", \"./parts/a/../a/part-1.parquet\"",
        "\"parts\", \"links\"",
        "\"links\"",
        "\"links/*/*.parquet\", \"parts/**\"",
        "\"*s/**/*\"",
    ] {
        let job = JOB.replace("\"payments.parquet\"", files);
        assert!(totals(&workshop, &job) == base, "{files}");
    }
}

#[test]
fn hive_folders_give_columns() {
    let workshop = Workshop::new();
    let table = rows();
    let wallets = table.column("wallet").unwrap().str().unwrap().clone();
    for wallet in ["alipay", "apple_pay", "card"] {
        let mask = wallets.iter().map(|w| w == Some(wallet)).collect();
        let part = table.filter(&mask).unwrap().drop("wallet").unwrap();
        workshop.parquet(&format!("hive/wallet={wallet}/part.parquet"), part.clone());
        std::fs::create_dir_all(workshop.path(&format!("hive-ipc/wallet={wallet}"))).unwrap();
        ipc(&workshop.path(&format!("hive-ipc/wallet={wallet}/part.arrow")), part);
    }
    let base = base();
    for files in ["hive", "hive-ipc", "hive/*/part.parquet"] {
        let job = JOB.replace("payments.parquet", files);
        assert!(totals(&workshop, &job) == base, "{files}");
    }
}

/// Of other names than the job uses: nothing changes.
#[test]
fn folders_above_the_job_change_nothing() {
    let workshop = Workshop::new();
    workshop.parquet("x=1/payments.parquet", rows());
    workshop.parquet("x=1/region=x/merchants.parquet", crate::common::registry());
    let folder = workshop.path("x=1");
    let job = JOB.replace("merchants.parquet", "region=x/merchants.parquet");
    let totals = totals_in(&folder, &workshop, &job).unwrap_or_else(|e| panic!("{e}"));
    assert!(totals == base());
}

/// A table of merchants is one file, by its name.
#[test]
fn the_table_of_merchants_is_no_pattern() {
    let workshop = Workshop::new();
    workshop.parquet("payments.parquet", rows());
    workshop.parquet("mer[1].parquet", crate::common::registry());
    workshop.parquet("mer1.parquet", crate::common::registry().head(Some(1)));
    assert!(totals(&workshop, &JOB.replace("merchants.parquet", "mer[1].parquet")) == base());
    let quoted = "merchant_id,region,category\r\n\"M1\",north,\"food\"\r\nM2,north,fuel\r\n";
    workshop.text("mer.csv", &format!("\u{feff}{quoted}M3,south,food\r\nNULL,south,books"));
    assert!(totals(&workshop, &JOB.replace("merchants.parquet", "mer.csv")) == base(), "CSV");
}

#[test]
fn yen_have_no_minor_units() {
    let job = JOB.replace("\"CNY\"", "\"JPY\"").replace("500.00", "500");
    let table = rows();
    let yen = whole(&table, "amount");
    let base = totals(&changed(Series::new("amount".into(), &yen)), &job);
    let texts: Vec<String> = yen.iter().map(i64::to_string).collect();
    let texts = Series::new("amount".into(), texts);
    for dtype in
        [DataType::String, DataType::Decimal(20, 0), DataType::Decimal(20, 2), DataType::Float64]
    {
        assert!(totals(&changed(texts.cast(&dtype).unwrap()), &job) == base, "{dtype}");
    }
}

/// Every second payment in yen.
fn two_currencies() -> (DataFrame, Vec<&'static str>) {
    let mut table = rows();
    let codes: Vec<&str> = (0..table.height()).map(|i| ["CNY", "JPY"][i % 2]).collect();
    with(&mut table, Series::new("code".into(), &codes));
    (table, codes)
}

#[test]
fn a_job_picks_one_of_two_currencies() {
    let (table, codes) = two_currencies();
    let yuan = codes.iter().map(|&code| code == "CNY").collect();
    let only = Workshop::new();
    only.parquet("payments.parquet", table.filter(&yuan).unwrap());
    let both = Workshop::new();
    both.parquet("payments.parquet", table);
    let job = JOB.replace("columns   = {", "columns   = { currency = \"code\",");
    assert!(totals(&both, &job) == totals(&only, JOB));
    assert!(totals(&both, &job) != totals(&both, JOB));
}

#[test]
fn a_job_splits_by_currency() {
    let (table, codes) = two_currencies();
    let split = Workshop::new();
    split.parquet("payments.parquet", table.clone());
    let job = JOB
        .replace("columns   = {", "columns   = { currency = \"code\",")
        .replace("currency  = \"CNY\"", "currency  = [\"CNY\", \"JPY\"]")
        .replace("[[], [", "[[\"currency\"], [\"currency\", ")
        .replace("], [\"wallet\"]]", "], [\"wallet\", \"currency\"]]")
        .replace("[[\"merchant\"]", "[[\"currency\", \"merchant\"]")
        .replace("\"day\"]]", "\"day\", \"currency\"]]");
    // The same with yen written in hundredths and the code as a common column.
    let scale = |(amount, code): (i64, &&str)| if *code == "JPY" { amount * 100 } else { amount };
    let amounts = whole(&table, "amount").into_iter().zip(&codes).map(scale).collect::<Vec<_>>();
    let plain = Workshop::new();
    let mut table = table;
    with(&mut table, Series::new("amount".into(), amounts));
    plain.parquet("payments.parquet", table);
    let by_column = job
        .replace("currency  = [\"CNY\", \"JPY\"]", "currency  = \"CNY\"")
        .replace("{ currency = \"code\",", "{ coin = \"code\",")
        .replace("[keys]", "[keys]\ncoin = [\"CNY\", \"JPY\"]")
        .replace("\"currency\"", "\"coin\"");
    assert!(totals(&split, &job) == totals(&plain, &by_column));
}

#[test]
fn hours_follow_daylight_saving_time() {
    // Berlin 2025: 30 March 02:00 becomes 03:00; 26 October 03:00 becomes 02:00.
    for (day, midnight, change, before, after) in [
        ("2025-03-30", 1_743_289_200, 1_743_296_400, 3600, 7200),
        ("2025-10-26", 1_761_429_600, 1_761_440_400, 7200, 3600),
    ] {
        let instants: Vec<i64> = (0..23 * 6).map(|i| midnight + 600 * i).collect();
        let local = |&s: &i64| written(s + if s < change { before } else { after }, "%F %T");
        let walls: Vec<String> = instants.iter().map(local).collect();
        assert!(walls.iter().all(|wall| wall.starts_with(day)), "{walls:?}");
        let mut table = rows().head(Some(instants.len()));
        with(&mut table, Series::new("time".into(), instants));
        let workshop = Workshop::new();
        workshop.parquet("instants.parquet", table.clone());
        with(&mut table, Series::new("time".into(), walls));
        workshop.parquet("walls.parquet", table);
        let job = JOB
            .replace("Asia/Shanghai", "Europe/Berlin")
            .replace("2025-01-01", day)
            .replace("2025-01-31", day)
            .replace("\"week\"]", "\"hour\"]")
            .replace("\"day\"]", "\"hour\"]");
        let instants = totals(&workshop, &job.replace("payments.parquet", "instants.parquet"));
        let job = job.replace("[payments]", "[payments]\ntime_format = \"%F %T\"");
        let walls = totals(&workshop, &job.replace("payments.parquet", "walls.parquet"));
        assert!(instants == walls, "{day}");
    }
}

#[test]
fn where_leaves_rows_out() {
    let mut table = rows();
    let kinds = vec!["sale"; table.height()];
    with(&mut table, Series::new("kind".into(), kinds));
    let mut all = table.clone();
    let kinds: Vec<Option<&str>> =
        (0..table.height()).map(|i| ["void", "test"].get(i % 3).copied()).collect();
    with(&mut table, Series::new("kind".into(), kinds));
    all.vstack_mut(&table).unwrap();
    let workshop = Workshop::new();
    workshop.parquet("payments.parquet", all);
    let job = job_with("where = \"kind = 'sale' AND amount < 1000000\"");
    assert!(totals(&workshop, &job) == base());
}

/// A type guessed from all folders would make 0755 a number, until a folder called HK comes.
#[test]
fn folder_names_stay_text_whatever_other_folders_are_called() {
    let job = JOB.replace("wallet = \"wallet\" }", "wallet = \"branch\" }").replace(
        "wallet = [\"alipay\", \"apple_pay\", \"card\"]",
        "wallet = [\"0755\", \"12\", \"HK\"]",
    );
    let totals_with = |branches: &[&str], folders: bool| {
        let workshop = Workshop::new();
        let table = rows().drop("wallet").unwrap();
        let mut whole: Option<DataFrame> = None;
        for (place, branch) in branches.iter().enumerate() {
            let part = table.slice(100 * place as i64, 100);
            if folders {
                workshop.parquet(&format!("hive/branch={branch}/part.parquet"), part);
                continue;
            }
            let mut part = part;
            with(&mut part, Series::new("branch".into(), vec![*branch; 100]));
            whole = Some(match whole {
                Some(above) => above.vstack(&part).unwrap(),
                None => part,
            });
        }
        if let Some(whole) = whole {
            workshop.parquet("payments.parquet", whole);
        }
        let files = if folders { "hive" } else { "payments.parquet" };
        totals(&workshop, &job.replace("payments.parquet", files))
    };
    for branches in [&["0755", "12"][..], &["0755", "12", "HK"]] {
        assert!(totals_with(branches, true) == totals_with(branches, false), "{branches:?}");
    }
}

/// As in the sample job: files beside the job's folder, with a space in their names.
#[test]
fn paths_may_go_up_and_have_spaces() {
    let workshop = Workshop::new();
    workshop.parquet("all data/payments of 2025.parquet", payments());
    std::fs::create_dir(workshop.path("jobs")).unwrap();
    let job = JOB.replace("\"payments.parquet\"", "\"../all data/payments*.parquet\"");
    let job = job.replace("\"merchants.parquet\"", "\"../merchants.parquet\"");
    workshop.text("jobs/job.toml", &job);
    let output = workshop.discretail(&["run", "jobs/job.toml"]);
    assert!(output.status.success(), "{}", crate::common::shown(&workshop, &output));
}
