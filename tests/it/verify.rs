//! `discretail verify`: every edit of a release is found, and by the check that should find it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Date32Array, Decimal128Array, DictionaryArray, Float64Array, RecordBatch,
};
use arrow::compute::{concat_batches, take};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float64Type, Int32Type, Schema,
};
use discretail::ledger::{Ledger, Request};
use discretail::privacy::{AllUnits, PrivacyLoss};
use discretail::verify::{Outcome, verify};
use insta::assert_snapshot;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::common::{JOB, Workshop, shown};

/// A workshop with the release of [`JOB`] in `releases/test`, and of a second job in
/// `releases/other`.
fn released() -> Workshop {
    let workshop = Workshop::new();
    let second = JOB.replace("\"test\"", "\"other\"").replace("[\"wallet\"]]", "[\"category\"]]");
    workshop.text("other.toml", &second);
    for job in ["job.toml", "other.toml"] {
        let output = workshop.discretail(&["run", job]);
        assert!(output.status.success(), "{}", shown(&workshop, &output));
    }
    workshop
}

/// A copy of a release, to be altered.
pub(crate) struct Copy {
    folder: TempDir,
}

impl Copy {
    pub(crate) fn of(workshop: &Workshop) -> Copy {
        Copy::of_job(workshop, "test")
    }

    pub(crate) fn of_job(workshop: &Workshop, job: &str) -> Copy {
        let copy = Copy { folder: TempDir::new().unwrap() };
        for entry in std::fs::read_dir(workshop.path(&format!("releases/{job}"))).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.path(&entry.file_name().to_string_lossy())).unwrap();
        }
        copy
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    #[expect(clippy::disallowed_methods, reason = "an intruder's file need not be durable")]
    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn manifest(&self, change: impl FnOnce(&mut Value)) {
        let bytes = std::fs::read(self.path("manifest.json")).unwrap();
        let mut manifest: Value = serde_json::from_slice(&bytes).unwrap();
        change(&mut manifest);
        self.write("manifest.json", serde_json::to_string_pretty(&manifest).unwrap().as_bytes());
    }

    /// Changes a table's rows, and its digest in the manifest.
    pub(crate) fn table(&self, name: &str, change: impl FnOnce(RecordBatch) -> RecordBatch) {
        let file = std::fs::File::open(self.path(name)).unwrap();
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        let footer = builder.metadata().file_metadata().key_value_metadata().unwrap().clone();
        let created_by = builder.metadata().file_metadata().created_by().unwrap().to_owned();
        let schema = builder.schema().clone();
        let batches: Vec<RecordBatch> = builder.build().unwrap().map(|b| b.unwrap()).collect();
        let batch = change(concat_batches(&schema, &batches).unwrap());
        let ours = footer.into_iter().filter(|e| e.key.starts_with("discretail.")).collect();
        let properties = WriterProperties::builder()
            .set_created_by(created_by)
            .set_key_value_metadata(Some(ours))
            .build();
        let mut bytes = Vec::new();
        let mut writer =
            ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        self.write(name, &bytes);
        let digest: String =
            Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        self.manifest(|manifest| {
            for file in manifest["files"].as_array_mut().unwrap() {
                if file["name"] == name {
                    file["sha256"] = json!(digest);
                }
            }
        });
    }

    /// The names of the checks that fail, with their texts.
    pub(crate) fn failed(&self, ledger: Option<&Path>) -> BTreeMap<&'static str, String> {
        let verification = verify(self.folder.path(), ledger).unwrap();
        let failed = verification.checks.into_iter().filter_map(|check| match check.outcome {
            Outcome::Failed(faults) => Some((check.name, faults.join("; "))),
            _ => None,
        });
        failed.collect()
    }
}

pub(crate) fn names(failed: &BTreeMap<&'static str, String>) -> String {
    failed.keys().copied().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_release_as_it_was_made_holds() {
    let workshop = released();
    let mut texts = String::new();
    for args in [
        &["verify", "releases/test", "--ledger", "ledger.sqlite"][..],
        &["verify", "releases/test"],
        &["verify", "releases/other", "--ledger", "ledger.sqlite", "--json"],
        &["verify", "nowhere"],
        &["verify", "releases/test", "--ledger", "nowhere.sqlite"],
    ] {
        texts += &shown(&workshop, &workshop.discretail(args));
    }
    // The number of private keys is random.
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\d+ rows in order; \d+ values", "N rows in order; M values");
    settings.bind(|| assert_snapshot!(texts));
}

#[test]
fn a_failed_check_is_exit_1_with_a_table() {
    let workshop = released();
    std::fs::remove_file(workshop.path("releases/test/market.all.parquet")).unwrap();
    workshop.text("releases/test/notes.txt", "mine");
    let args = ["verify", "releases/test", "--ledger", "ledger.sqlite"];
    let mut texts = shown(&workshop, &workshop.discretail(&args));
    std::fs::remove_file(workshop.path("releases/test/manifest.json")).unwrap();
    texts += &shown(&workshop, &workshop.discretail(&args));
    texts += &shown(&workshop, &workshop.discretail(&[&args[..], &["--json"]].concat()));
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\d+ rows in order; \d+ values", "N rows in order; M values");
    settings.bind(|| assert_snapshot!(texts));
}

/// Every third byte of the manifest, every thirteenth of each table, some of the page, and the
/// last.
#[test]
fn every_edit_of_one_byte_is_found() {
    let workshop = released();
    let ledger = workshop.path("ledger.sqlite");
    let copy = Copy::of(&workshop);
    assert_eq!(names(&copy.failed(Some(&ledger))), "");
    let (mut files, mut edits) = (Vec::new(), 0);
    for entry in std::fs::read_dir(copy.folder.path()).unwrap() {
        files.push(entry.unwrap().file_name().to_string_lossy().into_owned());
    }
    assert_eq!(files.len(), 7);
    for name in files {
        let bytes = std::fs::read(copy.path(&name)).unwrap();
        let step = match &*name {
            "manifest.json" => 3,
            "report.html" => 49_999,
            _ => 13,
        };
        let places = (0..bytes.len()).step_by(step).chain([bytes.len() - 1]);
        for place in places {
            let mut edited = bytes.clone();
            edited[place] ^= 1;
            copy.write(&name, &edited);
            assert_ne!(names(&copy.failed(Some(&ledger))), "", "{name} at {place}");
            edits += 1;
        }
        for edited in [&bytes[..bytes.len() - 1], &[&bytes[..], b"\n"].concat()] {
            copy.write(&name, edited);
            assert_ne!(names(&copy.failed(Some(&ledger))), "", "{name} of another length");
        }
        copy.write(&name, &bytes);
    }
    eprintln!("{edits} edits of one byte");
    assert!(edits > 2_000, "{edits}");
    assert_eq!(names(&copy.failed(Some(&ledger))), "", "all is back in place");
}

#[test]
fn files_that_are_missing_extra_or_elsewhere_are_found() {
    let workshop = released();
    let ledger = workshop.path("ledger.sqlite");
    type Change = fn(&Copy, &Workshop);
    let cases: [(&str, Change, &str); 7] = [
        (
            "missing",
            |copy, _| std::fs::remove_file(copy.path("market.all.parquet")).unwrap(),
            "files",
        ),
        ("extra", |copy, _| copy.write("report.csv", b"x"), "files"),
        ("hidden", |copy, _| copy.write(".DS_Store", b"x"), "files"),
        ("folder", |copy, _| std::fs::create_dir(copy.path("more")).unwrap(), "files"),
        (
            "renamed",
            |copy, _| {
                let (from, to) = ("market.all.parquet", "market.ALL.parquet");
                std::fs::rename(copy.path(from), copy.path(to)).unwrap();
            },
            "files",
        ),
        (
            "link",
            |copy, workshop| {
                let name = "market.all.parquet";
                std::fs::remove_file(copy.path(name)).unwrap();
                let there = workshop.path("releases/test").join(name);
                std::os::unix::fs::symlink(there, copy.path(name)).unwrap();
            },
            "files",
        ),
        (
            "manifest of another release",
            |copy, workshop| {
                let other = workshop.path("releases/other/manifest.json");
                copy.write("manifest.json", &std::fs::read(other).unwrap());
            },
            "files",
        ),
    ];
    for (name, change, wanted) in cases {
        let copy = Copy::of(&workshop);
        change(&copy, &workshop);
        assert_eq!(names(&copy.failed(Some(&ledger))), wanted, "{name}");
    }
}

/// Units of 2⁻⁶⁰ as the manifest writes them.
fn units(value: &Value) -> u128 {
    value.as_str().unwrap().parse().unwrap()
}

/// Sets μ² of one mechanism, and all sums with it, as a careful forger would.
fn set_price(manifest: &mut Value, place: usize, price: u128) {
    let before = units(&manifest["mechanisms"][place]["mu_squared_units"]);
    let sum = units(&manifest["parameters"]["mu_squared_units"]) - before + price;
    manifest["mechanisms"][place]["mu_squared_units"] = json!(price.to_string());
    manifest["parameters"]["mu_squared_units"] = json!(sum.to_string());
    let value = sum as f64 / 2f64.powi(60);
    manifest["parameters"]["mu"] = json!(value.sqrt());
    manifest["parameters"]["rho"] = json!(value / 2.0);
    // Need not be there.
    manifest["parameters"].as_object_mut().unwrap().remove("discreteness_units");
}

/// Half the norm bound of the first mechanism, which is even.
fn halve_bound(manifest: &mut Value) {
    let event = &mut manifest["mechanisms"][0];
    let half = event["norm_bound"].as_u64().unwrap() / 2;
    for key in ["norm_bound", "cell_cap", "sensitivity"] {
        if event.get(key).is_some() {
            event[key] = json!(half);
        }
    }
}

type ManifestChange = fn(&mut Value);

/// A claim, and the checks that find it without and with the ledger.
const CLAIMS: [(&str, ManifestChange, &str, &str); 17] = [
    (
        "a grid on which every value lies",
        |m| m["mechanisms"][0]["grid_units_per_unit"] = json!(0),
        "manifest",
        "ledger manifest",
    ),
    (
        "a smaller price of one mechanism",
        |m| {
            m["mechanisms"][0]["mu_squared_units"] = {
                let price = units(&m["mechanisms"][0]["mu_squared_units"]) - 1;
                json!(price.to_string())
            }
        },
        "price",
        "ledger price",
    ),
    (
        "a smaller price with its sums",
        |m| set_price(m, 0, 1),
        "footer price",
        "footer ledger price",
    ),
    (
        "a smaller sum",
        |m| m["parameters"]["mu_squared_units"] = json!("1"),
        "price",
        "ledger price",
    ),
    ("another bound", halve_bound, "price", "ledger price"),
    (
        "another bound at its price",
        |m| {
            halve_bound(m);
            // Half the norm costs a quarter, rounded up.
            let price = units(&m["mechanisms"][0]["mu_squared_units"]);
            set_price(m, 0, price.div_ceil(4));
        },
        "footer",
        "footer ledger",
    ),
    (
        "more noise than there is",
        |m| m["mechanisms"][0]["sigma"] = json!(m["mechanisms"][0]["sigma"].as_u64().unwrap() * 2),
        "lattice price",
        "lattice ledger price",
    ),
    (
        "a smaller epsilon",
        |m| m["parameters"]["epsilon"] = json!(0.9),
        "footer guarantee",
        "footer guarantee ledger",
    ),
    (
        "a lower threshold",
        |m| {
            for event in m["mechanisms"].as_array_mut().unwrap().iter_mut().skip(9) {
                event["threshold"] = json!(event["threshold"].as_i64().unwrap() * 9 / 10)
            }
        },
        "guarantee",
        "guarantee ledger",
    ),
    (
        "a lower threshold of one statistic",
        |m| m["mechanisms"][9]["threshold"] = json!(1),
        "guarantee manifest",
        "guarantee ledger manifest",
    ),
    (
        "a larger weight",
        |m| {
            m["mechanisms"][9]["score_weight"] =
                json!(m["mechanisms"][9]["score_weight"].as_i64().unwrap() * 3 / 2)
        },
        "guarantee",
        "guarantee ledger",
    ),
    (
        "a score without a weight",
        |m| m["mechanisms"][9]["score_weight"] = Value::Null,
        "manifest",
        "ledger manifest",
    ),
    (
        "no delta for thresholds",
        |m| {
            m["parameters"]["threshold_delta"] = json!(0.0);
            m["parameters"]["threshold_delta_units"] = json!("0");
        },
        "price",
        "ledger price",
    ),
    (
        "private keys called public",
        |m| m["key_sets"][3]["selection"] = json!("public"),
        "manifest price",
        "ledger manifest price",
    ),
    (
        "a mechanism left out",
        |m| {
            set_price(m, 0, 0);
            m["mechanisms"].as_array_mut().unwrap().remove(0);
        },
        "footer schema",
        "footer ledger schema",
    ),
    (
        "a bound that takes nothing unknown",
        |m| {
            let mut events = m["mechanisms"].as_array_mut().unwrap().iter_mut();
            let event = events.find(|event| event["statistic"] == "payments").unwrap();
            event.as_object_mut().unwrap().remove("takes_unknown").expect("its bound is stated");
        },
        "manifest",
        "ledger manifest",
    ),
    (
        "another mechanism",
        |m| m["mechanisms"][0]["mechanism"] = json!("none"),
        "price",
        "ledger price",
    ),
];

/// Claims in the manifest, each with the checks that find it without and with the ledger. The
/// footers stay, so `footer` finds what they say too.
#[test]
fn false_claims_are_found() {
    let workshop = released();
    let ledger = workshop.path("ledger.sqlite");
    for (name, change, alone, with_ledger) in CLAIMS {
        let copy = Copy::of(&workshop);
        copy.manifest(change);
        for (ledger, wanted) in [(None, alone), (Some(&*ledger), with_ledger)] {
            let mut failed = copy.failed(ledger);
            if name == "private keys called public" {
                // By chance a table has no rows, which public keys cannot have.
                failed.remove("lattice");
            }
            assert_eq!(names(&failed), wanted, "{name}: {failed:?}");
        }
    }
}

/// A column with one value changed.
pub(crate) fn replaced(batch: &RecordBatch, column: &str, array: ArrayRef) -> RecordBatch {
    let at = batch.schema().index_of(column).unwrap();
    let mut columns = batch.columns().to_vec();
    columns[at] = array;
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

pub(crate) fn with_float(batch: &RecordBatch, column: &str, change: fn(f64) -> f64) -> RecordBatch {
    let values = batch.column_by_name(column).unwrap().as_primitive::<Float64Type>();
    let mut values: Vec<Option<f64>> = values.iter().collect();
    values[0] = values[0].map(change);
    replaced(batch, column, Arc::new(Float64Array::from(values)))
}

/// The grade A for all rows, which few users do not give.
fn best_grade(rows: usize) -> ArrayRef {
    Arc::new(std::iter::repeat_n("A", rows).collect::<DictionaryArray<Int32Type>>())
}

fn with_money(batch: &RecordBatch, column: &str, add: i128) -> RecordBatch {
    let array = batch.column_by_name(column).unwrap().as_primitive::<Decimal128Type>();
    let mut values: Vec<Option<i128>> = array.iter().collect();
    values[0] = values[0].map(|value| value + add);
    let array = Decimal128Array::from(values).with_precision_and_scale(27, 2).unwrap();
    replaced(batch, column, Arc::new(array))
}

fn rows(batch: &RecordBatch, order: &[u32]) -> RecordBatch {
    let order = arrow::array::UInt32Array::from(order.to_vec());
    let columns = batch.columns().iter().map(|column| take(column, &order, None).unwrap());
    RecordBatch::try_new(batch.schema(), columns.collect()).unwrap()
}

/// With noise below 2^16 cents the grid is finer than a cent, and the table rounds.
#[test]
fn rounded_money_is_told_and_no_fault() {
    let workshop = Workshop::new();
    for bound in ["22.00", "20.00", "5.00", "0.50", "0.01"] {
        let id = format!("cents-{bound}");
        let job = JOB.replace("sales = \"500.00\"", &format!("sales = \"{bound}\""));
        let job = job.replace("epsilon_max = \"4\"", "epsilon_max = \"20\"");
        workshop.text("job.toml", &job.replace("\"test\"", &format!("\"{id}\"")));
        let output = workshop.discretail(&["run", "job.toml"]);
        assert!(output.status.success(), "{}", shown(&workshop, &output));
        let folder = workshop.path("releases").join(&id);
        let verification = verify(&folder, Some(&workshop.path("ledger.sqlite"))).unwrap();
        assert!(verification.held(), "{bound}: {verification:?}");
        let told = verification.checks.iter().any(|check| {
            matches!(&check.outcome, Outcome::Held(text) if text.contains("14 rounded to minor"))
        });
        assert!(told, "{bound}: {verification:?}");
    }
}

const WEEKLY: &str = "market.region-week.parquet";

type TableChange = fn(RecordBatch) -> RecordBatch;

/// A table, what a forger does to it, and what is found.
const FORGERIES: [(&str, &str, TableChange, &str); 20] = [
    ("nothing", WEEKLY, |b| b, ""),
    (
        "off the grid",
        WEEKLY,
        |b| with_float(&b, "customers_unbiased", |x| x + 1.0 / 131_072.0),
        "`customers_unbiased` is not on its grid of 1/65536",
    ),
    ("no number", WEEKLY, |b| with_float(&b, "payments_unbiased", |_| f64::NAN), "on its grid"),
    ("no estimate", WEEKLY, |b| with_float(&b, "payments", |_| f64::NAN), "within its interval"),
    (
        "a fraction of a customer",
        WEEKLY,
        |b| with_float(&b, "customers", |x| x + 1.0 / 2048.0),
        "no multiple of 1/1024",
    ),
    (
        "an estimate above its interval",
        WEEKLY,
        |b| with_float(&b, "customers", |x| x + 1e9),
        "`customers` is not within its interval",
    ),
    (
        "an interval that begins below zero",
        WEEKLY,
        |b| with_float(&b, "customers_low", |_| -1e-9),
        "`customers` is below zero",
    ),
    (
        "an interval without an end",
        WEEKLY,
        |b| with_float(&b, "customers_high", |_| f64::INFINITY),
        "`customers` is not within its interval",
    ),
    (
        "noise that is less than it was",
        WEEKLY,
        |b| with_float(&b, "customers_sd", |x| x * 0.9),
        "`customers_sd` is not that of its noise",
    ),
    (
        "a better grade",
        WEEKLY,
        |b| replaced(&b, "customers_grade", best_grade(b.num_rows())),
        "`customers`'s grade is not that of its interval",
    ),
    ("money off", WEEKLY, |b| with_money(&b, "sales", 1 << 50), "`sales` is not within"),
    ("less noise", WEEKLY, |b| with_money(&b, "sales_sd", -2), "`sales_sd`"),
    (
        "a dearer average",
        "market.all.parquet",
        |b| with_money(&b, "average_ticket", 3),
        "`average_ticket` is not the ratio that it should be",
    ),
    ("a row twice", WEEKLY, |b| rows(&b, &[0, 0, 1, 2]), "out of order, or there twice"),
    ("other order", WEEKLY, |b| rows(&b, &[1, 0, 2, 3]), "out of order, or there twice"),
    ("no rows", WEEKLY, |b| b.slice(0, 0), "it has no rows"),
    (
        "a week of another year",
        WEEKLY,
        |b| {
            let weeks = b.column_by_name("week").unwrap().as_primitive::<Date32Type>();
            let weeks = weeks.iter().map(|week| week.map(|week| week + 7 * 52));
            replaced(&b, "week", Arc::new(weeks.collect::<Date32Array>()))
        },
        "`week` is outside the job's period",
    ),
    (
        "a Tuesday",
        WEEKLY,
        |b| {
            let weeks = b.column_by_name("week").unwrap().as_primitive::<Date32Type>();
            let weeks = weeks.iter().map(|week| week.map(|week| week + 1));
            replaced(&b, "week", Arc::new(weeks.collect::<Date32Array>()))
        },
        "`week` is outside the job's period",
    ),
    (
        "a count of whole numbers",
        WEEKLY,
        |b| {
            let at = b.schema().index_of("customers").unwrap();
            let mut fields: Vec<Field> =
                b.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
            fields[at] = Field::new("customers", DataType::Int64, true);
            let mut columns = b.columns().to_vec();
            columns[at] = arrow::compute::cast(&columns[at], &DataType::Int64).unwrap();
            RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
        },
        "`customers` is Int64",
    ),
    (
        "a column more",
        WEEKLY,
        |b| {
            let mut fields: Vec<Field> =
                b.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
            fields.push(Field::new("exact_sales", DataType::Float64, false));
            let mut columns = b.columns().to_vec();
            columns.push(Arc::new(Float64Array::from(vec![0.0; b.num_rows()])));
            RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
        },
        "the column `exact_sales` is unknown or out of order",
    ),
];

/// A forger who also mends the digests: what the tables hold must still fit the mechanisms.
#[test]
fn values_that_no_mechanism_makes_are_found() {
    // So little noise that averages are shown: 1,200 payments against a standard deviation of 80,
    // and some 150 a week in each region against 38.
    let workshop = Workshop::new();
    let job = JOB.replace("epsilon = \"1\"", "epsilon = \"4\"");
    let job = job.replace("keys     = \"public\"", "keys = \"public\"\nsuppress_above = \"never\"");
    workshop.text("job.toml", &job.replace("epsilon_max = \"4\"", "epsilon_max = \"8\""));
    let output = workshop.discretail(&["run", "job.toml"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
    for (name, file, change, wanted) in FORGERIES {
        let copy = Copy::of(&workshop);
        copy.table(file, change);
        let failed = copy.failed(None);
        if wanted.is_empty() {
            assert_eq!(names(&failed), "", "{name}");
        } else {
            let texts: Vec<&String> = failed.values().collect();
            assert_eq!(texts.len(), 1, "{name}: {failed:?}");
            assert!(texts[0].contains(wanted), "{name}: {failed:?}");
        }
    }
}

/// Amounts but sales are not below zero, and shares of people are no more than all.
#[test]
fn values_beyond_what_there_can_be_are_found() {
    let workshop = Workshop::new();
    let (head, _) = JOB.split_once("[[report]]").unwrap();
    let head = head.replace("wallet = [\"alipay\", \"apple_pay\", \"card\"]\n", "");
    let report = "[[report]]\nname = \"market\"\nlevels = [[]]\nkeys = \"public\"\nsuppress_above = \"never\"\n\
                  insights = [\"gross\", \"refunds\", \"refund_rate\", \"repeat_rate\", \"sales\"]\n";
    let job = format!("{head}{report}").replace("epsilon_max = \"4\"", "epsilon_max = \"8\"");
    let job = job.replace("epsilon = \"1\"", "epsilon = \"4\"");
    workshop.text("job.toml", &job);
    let output = workshop.discretail(&["run", "job.toml"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
    assert_eq!(names(&Copy::of(&workshop).failed(None)), "");
    for (column, wanted) in [
        ("gross_low", "`gross` may be below 0, which it cannot be"),
        ("refunds_low", "`refunds` may be below 0, which it cannot be"),
        ("refund_rate_low", "`refund_rate` may be below 0, which it cannot be"),
        ("repeat_rate_low", "`repeat_rate` may be below 0, which it cannot be"),
        ("repeat_rate_high", "`repeat_rate` may be above 1, which it cannot be"),
        ("sales_low", ""),
    ] {
        let copy = Copy::of(&workshop);
        copy.table("market.all.parquet", |batch| {
            let found = batch.column_by_name(column).unwrap();
            let by = if column.ends_with("_high") { 1 } else { -1 };
            let moved: ArrayRef = match found.data_type() {
                DataType::Float64 => Arc::new(Float64Array::from(vec![f64::from(2 * by)])),
                _ => {
                    let moved = Decimal128Array::from(vec![i128::from(by)]);
                    Arc::new(moved.with_data_type(found.data_type().clone()))
                }
            };
            replaced(&batch, column, moved)
        });
        let failed = copy.failed(None);
        let said = failed.get("lattice").cloned().unwrap_or_default();
        assert!(said.contains(wanted), "{column}: {failed:?}");
        assert!(!wanted.is_empty() || !said.contains("may be"), "{column}: {failed:?}");
    }
}

/// Reasons for all rows.
fn reasons(rows: usize, reason: Option<&str>) -> ArrayRef {
    Arc::new((0..rows).map(|_| reason).collect::<DictionaryArray<Int32Type>>())
}

/// Estimates are there or a reason why not, and their errors are what the manifest allows.
#[test]
fn suppression_is_what_the_manifest_says() {
    let workshop = Workshop::new();
    // Twenty customers a cell, against noise of hundreds: nothing is shown by day.
    let levels = "levels   = [[\"wallet\", \"day\"]]";
    let job = JOB.replace("levels   = [[], [\"region\", \"week\"], [\"wallet\"]]", levels);
    let job = job.replace("epsilon = \"1\"", "epsilon = \"0.01\"");
    let shown_all =
        job.replace("keys     = \"public\"", "keys = \"public\"\nsuppress_above = \"never\"");
    let daily = "market.wallet-day.parquet";
    for (job, change, wanted) in [
        (&job, None, ""),
        (&shown_all, None, ""),
        (&job, Some(None), "`customers` and a reason to hide it, or neither"),
        (&job, Some(Some("taste")), "`customers` is hidden for a reason that is unknown"),
        // Of growth and indexes, and of who comes again.
        (&job, Some(Some("no-period")), "`customers` is hidden for a reason that is unknown"),
        (&job, Some(Some("look-ahead")), "`customers` is hidden for a reason that is unknown"),
        (&shown_all, Some(Some("error")), "`customers` and a reason to hide it, or neither"),
    ] {
        let id = format!("test-{}-{change:?}", job.contains("never")).replace(['(', ')', '"'], "");
        workshop.text("job.toml", &job.replace("\"test\"", &format!("\"{id}\"")));
        let output = workshop.discretail(&["run", "job.toml", "--out", "releases/test", "--force"]);
        assert!(output.status.success(), "{}", shown(&workshop, &output));
        let copy = Copy::of(&workshop);
        std::fs::remove_dir_all(workshop.path("releases/test")).unwrap();
        if let Some(reason) = change {
            let put = |b: RecordBatch| {
                replaced(&b, "customers_suppressed", reasons(b.num_rows(), reason))
            };
            copy.table(daily, put);
        }
        let failed = copy.failed(None);
        assert_eq!(failed.is_empty(), wanted.is_empty(), "{failed:?}");
        assert!(wanted.is_empty() || failed["lattice"].contains(wanted), "{failed:?}");
        if job.contains("never") && change.is_none() {
            let limit = json!([{ "file": daily, "relative_error_max": 0.1 }]);
            copy.manifest(|manifest| manifest["suppression"] = limit);
            let wanted = "`customers` is shown with a larger error than the manifest says";
            assert!(copy.failed(None)["lattice"].contains(wanted));
        }
    }
}

/// A table as its columns ask, with one row: 100 of each count, no money, the merchant M1.
pub(crate) fn one_row(batch: &RecordBatch) -> RecordBatch {
    let one = |field: &Field| -> ArrayRef {
        match field.data_type() {
            DataType::Float64 => Arc::new(Float64Array::from(vec![100.0])),
            DataType::Decimal128(..) => {
                let zero = Decimal128Array::from(vec![0]);
                Arc::new(zero.with_precision_and_scale(27, 2).unwrap())
            }
            text => {
                let id = arrow::array::StringArray::from(vec!["M1"]);
                arrow::compute::cast(&id, text).unwrap()
            }
        }
    };
    let columns = batch.schema().fields().iter().map(|f| one(f)).collect();
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

/// Keys that did not pass their threshold must not be shown, whatever the digests say.
#[test]
fn a_private_key_below_its_threshold_is_found() {
    let workshop = released();
    let copy = Copy::of(&workshop);
    copy.table("found.merchant.parquet", |batch| {
        // 15 users at each merchant, and a threshold of 154 who spend as is usual, or of 192 by
        // customers alone: nearly all runs show none, so make the row.
        match batch.num_rows() {
            0 => one_row(&batch),
            _ => with_float(&batch, "customers_unbiased", |_| 100.0),
        }
    });
    let failed = copy.failed(None);
    assert!(
        failed["lattice"].contains("its values together do not reach the threshold"),
        "{failed:?}"
    );
}

#[test]
fn what_the_ledger_does_not_confirm_is_found() {
    let workshop = released();
    let copy = Copy::of(&workshop);
    // The release is whole, but of another ledger.
    workshop.text(
        "away.toml",
        &JOB.replace("ledger.sqlite", "away.sqlite").replace("\"test\"", "\"away\""),
    );
    let output = workshop.discretail(&["run", "away.toml"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
    let failed = copy.failed(Some(&workshop.path("away.sqlite")));
    assert!(failed["ledger"].contains("has no job `test`, so nothing was charged"), "{failed:?}");
    // The same job again, in a new ledger: another release.
    let again = Workshop::new();
    assert!(again.discretail(&["run", "job.toml"]).status.success());
    let failed = copy.failed(Some(&again.path("ledger.sqlite")));
    assert!(failed["ledger"].contains("not the one that was released"), "{failed:?}");
    // A ledger that was altered.
    let raw = rusqlite::Connection::open(workshop.path("ledger.sqlite")).unwrap();
    raw.execute_batch("DROP TRIGGER entry_no_update; UPDATE entry SET recipient = 'me'").unwrap();
    let failed = copy.failed(Some(&workshop.path("ledger.sqlite")));
    assert!(failed["ledger"].contains("altered at entry 1"), "{failed:?}");
    // A release of a job that spent and has not published, as a kill leaves it.
    let cut = Workshop::new();
    assert!(cut.discretail(&["run", "job.toml"]).status.success());
    let raw = rusqlite::Connection::open(cut.path("ledger.sqlite")).unwrap();
    raw.execute_batch("DROP TRIGGER entry_no_delete; DELETE FROM entry WHERE event = 'published'")
        .unwrap();
    let trigger = "CREATE TRIGGER entry_no_delete BEFORE DELETE ON entry
BEGIN SELECT RAISE(ABORT, 'entries are never deleted'); END";
    raw.execute_batch(trigger).unwrap();
    let copy = Copy::of(&cut);
    let failed = copy.failed(Some(&cut.path("ledger.sqlite")));
    assert!(failed["ledger"].contains("job `test` is spent and not published"), "{failed:?}");
}

/// A release may rest on keys and bounds of releases that were published before it was reserved.
#[test]
fn releases_that_came_later_are_no_earlier_ones() {
    let workshop = Workshop::new();
    let path = workshop.path("ledger.sqlite");
    let run = |job: &str| {
        workshop.text("job.toml", &JOB.replace("\"test\"", &format!("\"{job}\"")));
        let output = workshop.discretail(&["run", "job.toml"]);
        assert!(output.status.success(), "{}", shown(&workshop, &output));
    };
    run("before");
    // Reserved before the release that is checked, and published after it.
    let (digest, loss) = ("d".repeat(64), PrivacyLoss::default());
    let (recipient, all_units) = ("partner", AllUnits::default());
    let request = Request {
        job: "late",
        digest: &digest,
        recipient,
        user: "user",
        time: None,
        loss,
        all_units,
    };
    let mut ledger = Ledger::open_to_change(&path).unwrap();
    ledger.reserve(&request).unwrap();
    run("test");
    run("after");
    ledger.spend("late").unwrap();
    ledger.publish("late", Path::new("elsewhere"), &"e".repeat(64)).unwrap();
    let manifest =
        |job: &str| std::fs::read(workshop.path("releases").join(job).join("manifest.json"));
    let digest = |job: &str| match manifest(job) {
        Ok(bytes) => Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
        Err(_) => "e".repeat(64),
    };
    for (job, is_earlier) in [("before", true), ("late", false), ("after", false), ("none", false)]
    {
        for place in ["keys", "bounds"] {
            let copy = Copy::of(&workshop);
            let (file, statistic) = ("market.all.parquet", "customers");
            let digest = digest(job);
            let from = json!({ "job": job, "manifest_sha256": digest, "file": file, "statistic": statistic });
            copy.manifest(|m| match place {
                "keys" => m["key_sets"][3]["keys_from"] = json!([from]),
                _ => m["bounds_from"] = json!([from]),
            });
            let failed = copy.failed(Some(&path));
            let found = failed["ledger"].contains(&format!("job `{job}` had not published"));
            assert_eq!(found, !is_earlier, "{place} of {job}: {failed:?}");
        }
    }
    // The very release of that job, and no other of its.
    let copy = Copy::of(&workshop);
    copy.manifest(|m| {
        let (file, digest) = ("market.all.parquet", "e".repeat(64));
        m["bounds_from"] = json!([
            { "job": "before", "manifest_sha256": digest, "file": file, "statistic": "customers" }
        ]);
    });
    assert!(copy.failed(Some(&path))["ledger"].contains("job `before` had not published"));
}

/// δ of 1e-4 a day over 79 days: several numbers of units have the float of their sum.
#[test]
fn large_deltas_of_many_periods_are_no_fault() {
    let workshop = Workshop::new();
    let job = JOB.replace("unit    = \"user\"", "unit    = \"user-day\"");
    let job = job.replace("\"1e-6\"", "\"1e-4\"").replace("\"1e-5\"", "\"1e-3\"");
    let job = job.replace("[[], [\"region\", \"week\"], [\"wallet\"]]", "[[\"region\", \"day\"]]");
    let job = job.replace("[[\"merchant\"], [", "[[\"merchant\", \"day\"], [");
    // Beyond 1000 days δ of 1e-3 comes to nothing, so nothing is claimed of them together.
    for (days, delta) in [(79, "1e-4"), (90, "1e-4"), (1001, "1e-3")] {
        let last =
            chrono::NaiveDate::from_ymd_opt(2025, 1, 1).unwrap() + chrono::Days::new(days - 1);
        let ledger = format!("ledger-{days}.sqlite");
        let job = job.replace("\"1e-4\"", &format!("\"{delta}\""));
        let job = job.replace("2025-01-31", &last.to_string()).replace("ledger.sqlite", &ledger);
        workshop.text("job.toml", &job.replace("\"test\"", &format!("\"days-{days}\"")));
        let output = workshop.discretail(&["run", "job.toml"]);
        assert!(output.status.success(), "{}", shown(&workshop, &output));
        let folder = format!("releases/days-{days}");
        let output = workshop.discretail(&["verify", &folder, "--ledger", &ledger]);
        assert!(output.status.success(), "{}", shown(&workshop, &output));
    }
}

/// Claims about users over all periods, where the unit is within a period.
#[test]
fn false_claims_about_all_periods_are_found() {
    let workshop = Workshop::new();
    let job = JOB.replace("unit    = \"user\"", "unit    = \"user-week\"");
    let job = job.replace("[[], [\"region\", \"week\"], [\"wallet\"]]", "[[\"region\", \"week\"]]");
    workshop.text("job.toml", &job.replace("[[\"merchant\"], [", "[[\"merchant\", \"day\"], ["));
    let output = workshop.discretail(&["run", "job.toml"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
    let ledger = workshop.path("ledger.sqlite");
    assert_eq!(names(&Copy::of(&workshop).failed(Some(&ledger))), "");
    let changes: [(&str, ManifestChange); 11] = [
        ("fewer periods", |m| m["privacy_unit"]["composed"]["periods"] = json!(4)),
        ("a smaller price", |m| {
            m["privacy_unit"]["composed"]["mu_squared_units"] =
                m["parameters"]["mu_squared_units"].clone()
        }),
        ("a smaller epsilon", |m| m["privacy_unit"]["composed"]["epsilon"] = json!(1.0)),
        ("a smaller delta", |m| {
            m["privacy_unit"]["composed"]["delta"] = json!(1e-6);
            m["privacy_unit"]["composed"]["delta_units"] = json!("1000000000000");
        }),
        ("a smaller delta to read", |m| m["privacy_unit"]["composed"]["delta"] = json!(1e-6)),
        ("a smaller part for thresholds", |m| {
            m["privacy_unit"]["composed"]["threshold_delta"] = json!(0.0);
            m["privacy_unit"]["composed"]["threshold_delta_units"] = json!("0");
        }),
        ("a ledger of fewer periods", |m| m["privacy_unit"]["in_ledger"]["periods"] = json!(4)),
        ("a ledger that cost less", |m| {
            m["privacy_unit"]["in_ledger"]["mu_squared_units"] =
                m["parameters"]["mu_squared_units"].clone()
        }),
        ("a smaller epsilon of the ledger", |m| {
            m["privacy_unit"]["in_ledger"]["epsilon"] = json!(1.0)
        }),
        ("nothing said", |m| m["privacy_unit"]["composed"] = Value::Null),
        ("cells of several weeks", |m| m["key_sets"][0]["keys"] = json!(["region"])),
    ];
    for (name, change) in changes {
        let copy = Copy::of(&workshop);
        copy.manifest(change);
        let failed = copy.failed(None);
        assert!(failed.contains_key("guarantee"), "{name}: {failed:?}");
    }
    let copy = Copy::of(&workshop);
    copy.manifest(|m| m["privacy_unit"]["unit"] = json!("user"));
    assert!(copy.failed(None).contains_key("guarantee"));
    let copy = Copy::of(&workshop);
    copy.manifest(|m| m["privacy_unit"]["unit"] = json!("user-week Europe/Berlin"));
    assert!(copy.failed(Some(&ledger))["ledger"].contains("privacy unit"));
}
