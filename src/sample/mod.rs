//! A made-up payments data set of any size: no real person, merchant or payment is in it.
//!
//! The world (who pays whom, when, how much) is drawn from a seed. Payments are made in chunks,
//! each with its own random stream, so the files are the same to the byte for any number of
//! threads, and memory does not grow with the number of payments.

mod columns;
mod market;
mod merchants;
mod random;
mod rhythm;
mod twin;
mod users;
mod visits;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

pub use twin::{Visit, visits};
use visits::World;
use writer::{Staging, failed};

use crate::error::{Error, Result};
use crate::findings;

/// Most payments of a sample: days of work, and still exact in every count.
const PAYMENTS_MAX: u64 = 100_000_000_000;
/// Most users of a sample.
const USERS_MAX: u64 = 4_000_000_000;
/// Most merchants of a sample: what six digits can number.
const MERCHANTS_MAX: u64 = 999_999;
/// Most days of a sample: three years, for which Spring Festival is known.
const DAYS_MAX: u32 = 1_095;

/// What the sample is to be like. The same options (`threads` aside) give the same bytes.
#[derive(Clone, Debug)]
pub struct SampleOptions {
    /// How many payments.
    pub payments: u64,
    /// Decides everything random.
    pub seed: u64,
    /// How many users there are to pay; `None` means a user for every 25 payments, at least 50.
    pub users: Option<u64>,
    /// How many merchants; `None` means one for every 2,000 payments, at least 100.
    pub merchants: Option<u64>,
    /// How many local days from 2025-01-01 on (Asia/Shanghai); 90 is the first quarter.
    pub days: u32,
    /// How many threads generate; at least one does. No influence on the result.
    pub threads: usize,
}

/// What was written.
#[derive(Clone, Debug)]
pub struct SampleSummary {
    /// How many payments.
    pub payments: u64,
    /// How many users could pay; not every one of them need have done so.
    pub users: u64,
    /// How many merchants are in the registry.
    pub merchants: u64,
    /// Every file: the registry, then the payments.
    pub files: Vec<PathBuf>,
    /// Size of all files together.
    pub bytes: u64,
}

/// The sizes of a world, checked.
struct Size {
    payments: u64,
    users: u64,
    merchants: u64,
    days: u32,
}

/// Writes `merchants.parquet` and `payments/part-*.parquet` into `dir`, all of them or none.
///
/// `dir` must be empty or not exist. `progress` gets the number of payments written so far;
/// when `cancelled` becomes true, the sample is removed and [`Error::cancelled`] returned.
pub fn write_sample(
    dir: &Path,
    options: &SampleOptions,
    progress: &(dyn Fn(u64) + Sync),
    cancelled: &AtomicBool,
) -> Result<SampleSummary> {
    let size = Size::of(options)?;
    let staging = Staging::open(dir)?;
    let world = World::new(options.seed, &size);

    let registry = staging.path("merchants.parquet");
    let file = File::create(&registry).map_err(failed(&registry))?;
    columns::write_registry(file, &world.merchants).map_err(failed(&registry))?;

    let threads = options.threads.max(1);
    let mut names = vec!["merchants.parquet".to_owned()];
    names.extend(writer::write_payments(&staging, &world, &size, threads, progress, cancelled)?);
    let mut bytes = 0;
    for path in names.iter().map(|name| staging.path(name)) {
        bytes += std::fs::metadata(&path).map_err(failed(&path))?.len();
    }
    staging.publish()?;

    let files = names.iter().map(|name| dir.join(name)).collect();
    let Size { payments, users, merchants, .. } = size;
    Ok(SampleSummary { payments, users, merchants, files, bytes })
}

impl Size {
    /// Fills in the defaults; reports every number out of range at once.
    fn of(options: &SampleOptions) -> Result<Self> {
        let payments = options.payments;
        let users = options.users.unwrap_or((payments / 25).max(50));
        let merchants = options.merchants.unwrap_or((payments / 2_000).clamp(100, MERCHANTS_MAX));
        let findings: Vec<_> = [
            ("--payments", payments, PAYMENTS_MAX),
            ("--users", users, USERS_MAX),
            ("--merchants", merchants, MERCHANTS_MAX),
            ("--days", u64::from(options.days), u64::from(DAYS_MAX)),
        ]
        .into_iter()
        .filter(|&(_, value, max)| !(1..=max).contains(&value))
        .map(|(option, value, max)| findings::sample_size_invalid(option, value, max))
        .collect();
        if !findings.is_empty() {
            return Err(Error::invalid_all(findings));
        }
        Ok(Size { payments, users, merchants, days: options.days })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::sync::atomic::{AtomicU64, Ordering};

    use arrow::array::{AsArray, RecordBatch};
    use arrow::datatypes::DataType;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;
    use crate::error::ErrorClass;

    fn options(payments: u64) -> SampleOptions {
        SampleOptions { payments, seed: 5, users: None, merchants: None, days: 90, threads: 2 }
    }

    /// Writes a sample into a new folder, which vanishes with the first value.
    fn sample(options: &SampleOptions) -> (tempfile::TempDir, SampleSummary) {
        let parent = tempfile::tempdir().expect("a folder");
        let summary =
            write_sample(&parent.path().join("out"), options, &|_| (), &AtomicBool::new(false))
                .expect("a sample");
        (parent, summary)
    }

    fn contents(summary: &SampleSummary) -> Vec<Vec<u8>> {
        summary.files.iter().map(|file| fs::read(file).expect("a file")).collect()
    }

    fn read(path: &Path) -> Vec<RecordBatch> {
        let file = File::open(path).expect("a file");
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
        reader.build().expect("a reader").map(|batch| batch.expect("a batch")).collect()
    }

    #[test]
    fn bytes_do_not_depend_on_the_number_of_threads() {
        let options = options(3 * writer::ROW_GROUP_PAYMENTS + 1);
        let results =
            [1, 2, 5].map(|threads| sample(&SampleOptions { threads, ..options.clone() }));
        let [one, two, five] = results.each_ref().map(|(_, summary)| contents(summary));
        assert!(one == two && one == five);
        let other = sample(&SampleOptions { seed: 6, ..options });
        assert!(one != contents(&other.1));
    }

    #[test]
    fn writes_what_the_summary_says_and_nothing_else() {
        let (parent, summary) = sample(&options(1_000));
        assert_eq!((summary.payments, summary.users, summary.merchants), (1_000, 50, 100));
        let rows: usize = read(&summary.files[1]).iter().map(RecordBatch::num_rows).sum();
        assert_eq!(rows, 1_000);
        let mut names: Vec<_> = fs::read_dir(parent.path().join("out"))
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["merchants.parquet", "payments"]);
    }

    #[test]
    fn payments_have_the_columns_of_the_data_sheet() {
        let (_parent, summary) = sample(&options(500));
        let batch = &read(&summary.files[1])[0];
        let schema = batch.schema();
        let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        let expected = [
            "user_token",
            "merchant_id",
            "paid_at",
            "amount",
            "currency",
            "wallet",
            "institution",
            "channel",
            "terminal_region",
        ];
        assert_eq!(names, expected);
        let word = schema.field(1).data_type();
        assert_eq!((word, word), (&DataType::Utf8, schema.field(8).data_type()));
        assert_eq!(schema.field(2).data_type().to_string(), "Timestamp(µs, \"UTC\")");
        assert!(schema.fields().iter().all(|field| !field.is_nullable()));
        let tokens = batch.column(0).as_string::<i32>();
        assert!(tokens.iter().flatten().all(|token| token.len() == 16));
    }

    #[test]
    fn a_merchant_is_listed_once_with_one_category() {
        let (_parent, summary) = sample(&options(500));
        let batch = &read(&summary.files[0])[0];
        let ids: Vec<_> = batch.column(0).as_string::<i32>().iter().flatten().collect();
        assert!(ids.is_sorted());
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 100);
        let category = |row| batch.column(2).as_string::<i32>().value(row);
        let code = |row| batch.column(3).as_string::<i32>().value(row);
        let pairs: BTreeSet<_> = (0..100).map(|row| (category(row), code(row))).collect();
        assert_eq!(pairs.len(), market::CATEGORIES.len());
    }

    #[test]
    fn the_registry_does_not_depend_on_the_payments() {
        let few = sample(&SampleOptions { merchants: Some(120), ..options(100) });
        let many = sample(&SampleOptions { merchants: Some(120), ..options(3_000) });
        assert_eq!(contents(&few.1)[0], contents(&many.1)[0]);
    }

    #[test]
    fn refuses_a_folder_with_something_in_it() {
        let (parent, _) = sample(&options(100));
        let again = write_sample(
            &parent.path().join("out"),
            &options(100),
            &|_| (),
            &AtomicBool::new(false),
        );
        let error = again.expect_err("a refusal");
        assert_eq!(error.class(), ErrorClass::Invalid);
        assert_eq!(error.findings()[0].code(), "sample-folder-not-empty");
    }

    #[test]
    fn names_every_size_out_of_range() {
        let wrong = SampleOptions { users: Some(0), days: 0, ..options(0) };
        let error = write_sample(Path::new("never"), &wrong, &|_| (), &AtomicBool::new(false))
            .expect_err("a refusal");
        assert_eq!(error.findings().len(), 3);
        assert!(!Path::new("never").exists());
    }

    #[test]
    fn leaves_nothing_behind_when_cancelled() {
        let parent = tempfile::tempdir().expect("a folder");
        let (cancelled, seen) = (AtomicBool::new(false), AtomicU64::new(0));
        let progress = |written| {
            seen.store(written, Ordering::Relaxed);
            cancelled.store(true, Ordering::Relaxed);
        };
        let many = options(3 * writer::ROW_GROUP_PAYMENTS);
        let result = write_sample(&parent.path().join("out"), &many, &progress, &cancelled);
        assert_eq!(result.expect_err("cancelled").class(), ErrorClass::Cancelled);
        assert_eq!(seen.into_inner(), writer::ROW_GROUP_PAYMENTS);
        assert_eq!(fs::read_dir(parent.path()).expect("a folder").count(), 0);
    }
}
