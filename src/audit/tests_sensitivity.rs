//! Programs with one planted fault each: the check that is named for it must find it. The faults
//! are in what stands around the stations of a run, so that no build has them. `docs/audit.md` has
//! the table.

use std::collections::BTreeMap;
use std::sync::Mutex;

use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::Int64Type;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::outside::Ran;
use super::replay::Stage;
use super::subject::{Program, Subject};
use super::tests::{plans, refuted};
use super::twin::Twin;
use super::*;
use crate::engine::{Engine, ExactSurveys, ExactTotals, LevelTotals, Settle};
use crate::mechanism::{KnownKey, KnownTotals, add_known_noise};
use crate::plan::{CellKey, Gaussian, Selection, Survey};
use crate::privacy::NormBound;

/// A fault of the engine, the choice of bounds, the threshold or the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    ClipOffByOne,
    CellsOffByOne,
    NoClip,
    RoundsUp,
    RefundsUnclipped,
    Overflow,
    BlankUser,
    RawBounds,
    ThresholdOffByOne,
    OtherOrder,
    CountInManifest,
    CountInFooter,
    RowsByCount,
    /// What the program prints tells of a user.
    CountInLog,
    /// Whether it stops does.
    StopsForUser,
}

struct Mutant {
    program: Program,
    fault: Fault,
    /// What a user adds without any bound, by user and number of payments.
    effects: Mutex<BTreeMap<(String, usize), ExactTotals>>,
}

impl Mutant {
    fn new(fault: Fault) -> Mutant {
        Mutant { program: Program::within(2), fault, effects: Mutex::default() }
    }

    /// The plan by which the engine fits, where it does not do as it should.
    fn bent(&self, plan: &Plan) -> Plan {
        let mut plan = plan.clone();
        for level in &mut plan.levels {
            for statistic in &mut level.statistics {
                let bound = statistic.noise.bound;
                statistic.noise.bound = match self.fault {
                    Fault::ClipOffByOne => NormBound::new(bound.norm() + 1, bound.cell_cap()),
                    Fault::NoClip => NormBound::new(NormBound::LIMIT - 1, NormBound::LIMIT - 1),
                    _ => Some(bound),
                }
                .expect("a bound");
            }
            if let (Fault::CellsOffByOne, Selection::Threshold { cells_max, .. }) =
                (self.fault, &mut level.selection)
            {
                *cells_max += 1;
            }
        }
        plan
    }

    fn run(&self, twin: &Twin, plan: &Plan, settle: Settle) -> Result<(Plan, ExactTotals)> {
        let mut used = plan.clone();
        let engine = self.program.engine(twin, plan);
        let mut bend = |exact| {
            used = settle(exact)?;
            Ok(self.bent(&used))
        };
        let plan = if plan.is_settled() { self.bent(plan) } else { plan.clone() };
        let (_, totals) = engine.totals(&plan, &mut bend)?;
        Ok((used, totals))
    }

    /// Totals user by user, with this fault in what becomes of one user's values.
    fn user_by_user(&self, twin: &Twin, plan: &Plan) -> Result<ExactTotals> {
        let path = twin.plan().job.payments.patterns[0].clone();
        let rows = Rows::read(&path);
        let mut sums: Vec<BTreeMap<CellKey, Vec<Vec<i128>>>> =
            vec![BTreeMap::new(); plan.levels.len()];
        for (user, own) in &rows.users {
            let blank = user.trim().is_empty();
            if blank && self.fault != Fault::BlankUser {
                continue;
            }
            let key = (user.clone(), own.len());
            if !self.effects.lock().expect("whole").contains_key(&key) {
                rows.write(&path, own, blank);
                let free = Mutant::new(Fault::NoClip);
                let (_, totals) = free.run(twin, twin.plan(), &mut |_| Ok(plan.clone()))?;
                self.effects.lock().expect("whole").insert(key.clone(), totals);
            }
            let effects = self.effects.lock().expect("whole");
            for (place, level) in plan.levels.iter().enumerate() {
                let own = &effects[&key].levels[place];
                let mut fitted = Vec::new();
                for (statistic, values) in level.statistics.iter().zip(&own.sums) {
                    fitted.push(if blank {
                        values.clone()
                    } else {
                        self.fit(statistic.noise, values)
                    });
                }
                for (at, cell) in own.keys.iter().enumerate() {
                    let widths = || level.statistics.iter().map(|s| s.width);
                    let zeros = || widths().map(|width| vec![0; width]).collect();
                    let sums = sums[place].entry(cell.clone()).or_insert_with(zeros);
                    for (row, width) in widths().enumerate() {
                        let values = &fitted[row][at * width..][..width];
                        sums[row].iter_mut().zip(values).for_each(|(a, &b)| *a += i128::from(b));
                    }
                }
            }
        }
        rows.write(&path, &(0..rows.batch.num_rows() as u32).collect::<Vec<_>>(), false);
        Ok(totals_of(plan, sums))
    }

    /// One user's values of one statistic, fitted as the fault has it.
    fn fit(&self, noise: Gaussian, values: &[i64]) -> Vec<i64> {
        let (norm, cap) = (i128::from(noise.bound.norm()), i128::from(noise.bound.cell_cap()));
        let wrap = 10_000_000_000i128;
        let capped = |&value: &i64| {
            let value = match self.fault {
                Fault::Overflow => (i128::from(value) + wrap / 2).rem_euclid(wrap) - wrap / 2,
                _ => i128::from(value),
            };
            let free = self.fault == Fault::RefundsUnclipped && value < 0;
            if free { value } else { value.clamp(-cap, cap) }
        };
        let capped: Vec<i128> = values.iter().map(capped).collect();
        let counts = |&&z: &&i128| self.fault != Fault::RefundsUnclipped || z > 0;
        let squares: i128 = capped.iter().filter(counts).map(|z| z * z).sum();
        let root = (squares.max(1) - 1).isqrt() + 1;
        let scaled = |&z: &i128| match self.fault {
            _ if squares <= norm * norm => z,
            Fault::RefundsUnclipped if z < 0 => z,
            Fault::RoundsUp => z.signum() * (z.abs() * norm + root - 1).div_euclid(root),
            _ => z.signum() * (z.abs() * norm).div_euclid(root),
        };
        capped.iter().map(scaled).map(|z| z as i64).collect()
    }
}

fn totals_of(plan: &Plan, sums: Vec<BTreeMap<CellKey, Vec<Vec<i128>>>>) -> ExactTotals {
    let level =
        |(mut sums, level): (BTreeMap<CellKey, Vec<Vec<i128>>>, &crate::plan::LevelPlan)| {
            let keys: Vec<CellKey> = match level.selection {
                Selection::Public => level.cells.public_keys(&plan.job).expect("public"),
                Selection::Threshold { .. } | Selection::Discovered(_) => {
                    sums.keys().cloned().collect()
                }
            };
            let mut columns = vec![Vec::new(); level.statistics.len()];
            for key in &keys {
                let own = sums.remove(key);
                for (row, statistic) in level.statistics.iter().enumerate() {
                    let zeros = vec![0; statistic.width];
                    let numbers = own.as_ref().map_or(&zeros, |own| &own[row]);
                    columns[row].extend(numbers.iter().map(|&n| n as i64));
                }
            }
            LevelTotals { keys, sums: columns }
        };
    ExactTotals { levels: sums.into_iter().zip(&plan.levels).map(level).collect() }
}

/// The payments of a twin, read back.
struct Rows {
    batch: RecordBatch,
    /// Rows by user; blank ones together.
    users: BTreeMap<String, Vec<u32>>,
}

impl Rows {
    fn read(path: &Path) -> Rows {
        let file = std::fs::File::open(path).expect("opens");
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
        let reader = reader.with_batch_size(1 << 30).build().expect("reads");
        let batches: Vec<RecordBatch> = reader.map(|batch| batch.expect("reads")).collect();
        let batch = arrow::compute::concat_batches(&batches[0].schema(), &batches).expect("fits");
        let mut users: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        let column = batch.column(0).as_string::<i32>();
        for row in 0..batch.num_rows() {
            let user = if column.is_null(row) { "" } else { column.value(row).trim() };
            users.entry(user.to_owned()).or_default().push(row as u32);
        }
        assert_eq!(batch.column(3).as_primitive::<Int64Type>().len(), batch.num_rows());
        Rows { batch, users }
    }

    /// Writes some rows back; `blank` ones under a name.
    fn write(&self, path: &Path, rows: &[u32], blank: bool) {
        let rows = UInt32Array::from(rows.to_vec());
        let mut columns: Vec<_> =
            self.batch.columns().iter().map(|c| take(c, &rows, None).expect("takes")).collect();
        if blank {
            let names = vec!["nobody"; rows.len()];
            columns[0] = std::sync::Arc::new(arrow::array::StringArray::from(names));
        }
        let batch = RecordBatch::try_new(self.batch.schema(), columns).expect("fits");
        let file = std::fs::File::create(path).expect("creates");
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
        writer.write(&batch).expect("writes");
        writer.close().expect("closes");
    }
}

impl Subject for Mutant {
    fn totals(&self, twin: &Twin, plan: &Plan, settle: Settle) -> Result<(Plan, ExactTotals)> {
        let (plan, totals) = self.run(twin, plan, settle)?;
        let totals = match self.fault {
            Fault::RoundsUp | Fault::RefundsUnclipped | Fault::Overflow | Fault::BlankUser => {
                self.user_by_user(twin, &plan)?
            }
            _ => totals,
        };
        Ok((plan, totals))
    }

    fn settle(&self, plan: &Plan, surveys: &[Survey], exact: &ExactSurveys) -> Plan {
        let raw = exact.surveys.iter();
        let raw = raw.map(|s| Survey { histogram: s.histogram.clone(), spread: s.spread });
        let surveys = if self.fault == Fault::RawBounds { raw.collect() } else { surveys.to_vec() };
        plan.clone().settle(surveys)
    }

    fn known(&self, plan: &Plan, totals: ExactTotals, key: &KnownKey) -> Result<KnownTotals> {
        let mut plan = plan.clone();
        if self.fault == Fault::ThresholdOffByOne {
            for level in &mut plan.levels {
                if let Selection::Threshold { score, .. } = &mut level.selection {
                    score.threshold -= 1;
                }
            }
        }
        let mut known = add_known_noise(&plan, totals, key, 2)?;
        // Which statistic is first depends on how many private cells there are.
        let cells: usize = known.all.iter().map(|level| level.keys.len()).sum();
        if self.fault == Fault::OtherOrder && cells.is_multiple_of(2) {
            known.calls.rotate_left(1);
        }
        Ok(known)
    }

    fn files(&self, plan: &Plan, totals: &KnownTotals) -> Result<Vec<(String, Vec<u8>)>> {
        let mut files = self.program.files(plan, totals)?;
        for (name, bytes) in &mut files {
            if self.fault == Fault::CountInManifest && name == "manifest.json" {
                bytes.extend(format!("{{\"rows\": {}}}", totals.all[0].keys.len()).bytes());
            }
            if self.fault == Fault::RowsByCount && name.ends_with(".parquet") {
                *bytes = rewritten(bytes, true, None);
            }
            if self.fault == Fault::CountInFooter && name.ends_with(".parquet") {
                *bytes = rewritten(bytes, false, Some(totals.all[0].keys.len()));
            }
        }
        Ok(files)
    }

    /// A program that always releases, unless a fault has it stop, and prints what a fault has it
    /// print.
    fn outside(&self, folder: &Path, _job: &str) -> Result<Option<Ran>> {
        let rows = Rows::read(&folder.join("twin.parquet")).batch.num_rows();
        std::fs::create_dir_all(folder.join("test")).expect("a folder");
        let code = i32::from(self.fault == Fault::StopsForUser && rows.is_multiple_of(2));
        let count = format!("{rows} payments");
        let stderr = if self.fault == Fault::CountInLog { count } else { String::new() };
        let (stdout, seconds, folder) = (String::new(), 0.1, folder.to_owned());
        Ok(Some(Ran { code: Some(code), stdout, stderr, seconds, folder }))
    }

    fn threads(&self) -> usize {
        2
    }
}

/// The table with rows in the order of its first number, or with a count in its footer.
fn rewritten(bytes: &[u8], by_count: bool, count: Option<usize>) -> Vec<u8> {
    let mut file = tempfile::tempfile().expect("a file");
    std::io::Write::write_all(&mut file, bytes).expect("writes");
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
    let Some(batch) = builder.build().expect("reads").next() else {
        return bytes.to_vec();
    };
    let mut batch = batch.expect("reads");
    if by_count {
        let mut columns = batch.columns().iter();
        let first = columns.find(|c| c.data_type().is_floating()).expect("a number");
        let order = arrow::compute::sort_to_indices(first, None, None).expect("sorts");
        let columns = batch.columns().iter().map(|c| take(c, &order, None).expect("takes"));
        batch = RecordBatch::try_new(batch.schema(), columns.collect()).expect("fits");
    }
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("writes");
    if let Some(count) = count {
        let entry = parquet::file::metadata::KeyValue::new("rows".to_owned(), count.to_string());
        writer.append_key_value_metadata(entry);
    }
    writer.close().expect("closes");
    bytes
}

/// Each fault with the beginning of the claim that must be refuted.
const FAULTS: [(Fault, &str); 13] = [
    (Fault::ClipOffByOne, "only the user's own cells differ"),
    (Fault::CellsOffByOne, "what a user adds to a statistic"),
    (Fault::NoClip, "no user moves a statistic further"),
    (Fault::RoundsUp, "no user moves a statistic further"),
    (Fault::RefundsUnclipped, "no user moves a statistic further"),
    (Fault::Overflow, "only the user's own cells differ"),
    (Fault::BlankUser, "payments with a blank user"),
    (Fault::RawBounds, "bounds that the job leaves open"),
    (Fault::ThresholdOffByOne, "a private key is shown from its threshold"),
    (Fault::OtherOrder, "the same measurements are called"),
    (Fault::CountInManifest, "files, footers and the order of rows"),
    (Fault::CountInFooter, "files, footers and the order of rows"),
    (Fault::RowsByCount, "files, footers and the order of rows"),
];

#[test]
fn each_planted_fault_is_found_by_its_check() {
    let plans: BTreeMap<&str, Plan> = plans().into_iter().collect();
    for (fault, claim) in FAULTS {
        let open = [Fault::RawBounds].contains(&fault);
        let plan = &plans[if open { "open" } else { "stated" }];
        let mut rows = refuted(&Mutant::new(fault), plan);
        // A manifest with something behind its end is found by verify before.
        assert!(rows.iter().any(|row| row.what.starts_with(claim)), "{fault:?}: {rows:#?}");
        rows.retain(|row| !row.what.starts_with(claim));
        println!("{fault:?}: {claim}; besides {} others", rows.len());
    }
}

/// A threshold for one cell of a user where four count: found by arithmetic, whatever the twin.
#[test]
fn a_threshold_for_fewer_cells_is_found_by_its_price() {
    let plans: BTreeMap<&str, Plan> = plans().into_iter().collect();
    let mut plan = plans["stated"].clone();
    let market = crate::fixture::Market::new(&[]);
    let one_cell: Vec<String> = crate::audit::tests::reports(1);
    let other = market.plan(&one_cell);
    for (level, other) in plan.levels.iter_mut().zip(&other.levels) {
        if let (Selection::Threshold { score, .. }, Selection::Threshold { score: low, .. }) =
            (&mut level.selection, &other.selection)
        {
            assert!(low.threshold < score.threshold);
            *score = low.clone();
        }
    }
    let rows = refuted(&Program::within(2), &plan);
    assert!(rows.iter().any(|row| row.what.starts_with("epsilon and delta hold")), "{rows:#?}");
}

#[test]
fn an_audit_does_the_same_each_time() {
    let (_, plan) = plans().remove(0);
    let once = || try_out(&Program::within(2), &plan, Depth::Quick).expect("tries").0;
    assert_eq!(once(), once());
}

/// What shows of one user besides the values, and a ledger that grants all.
#[test]
fn faults_of_the_program_show_from_the_outside() {
    let (_, plan) = plans().remove(0);
    let twin = Twin::new(&plan).expect("a folder");
    let stage = Stage::new(&Program::within(2), &twin, Depth::Quick).expect("runs");
    for (fault, shows) in
        [(Fault::OtherOrder, false), (Fault::CountInLog, true), (Fault::StopsForUser, true)]
    {
        let rows = side::outside(&Mutant::new(fault), &twin, &stage).expect("runs");
        let row = rows.iter().find(|row| row.what.starts_with("what the program prints"));
        let refuted = row.expect("a row").verdict == Verdict::Refuted;
        assert_eq!(refuted, shows, "{fault:?}: {rows:#?}");
    }
    let row = race::row(&Mutant::new(Fault::OtherOrder), &twin).expect("runs");
    assert_eq!(row.verdict, Verdict::Refuted, "{row:?}");
}

/// People who are alone are shown by chance only.
#[test]
fn keys_of_lone_people_are_found() {
    let verdict = |shown, people| one_run::hidden("private", shown, people, 4.5e-10).verdict;
    assert_eq!(verdict(0, 100_000), Verdict::NotRefuted);
    assert_eq!(verdict(1, 100_000), Verdict::Refuted);
    // Of 10^9 people alone, 0.45 are expected.
    assert_eq!(verdict(1, 1_000_000_000), Verdict::NotRefuted);
    // Each kind of keys has its own proof.
    for (keys, lemma) in [("private", "Lemma 4"), ("discovered", "Lemma 6")] {
        let row = one_run::hidden(keys, 0, 100_000, 4.5e-10);
        assert!(row.what.contains(keys) && row.reference.contains(lemma), "{row:?}");
    }
}
