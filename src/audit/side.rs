//! What shows besides the values: whether a run stops, and the form of its files, with and without
//! a user.

use std::collections::BTreeMap;

use parquet::file::reader::{FileReader, SerializedFileReader};

use super::law::two_sided;
use super::replay::Stage;
use super::row::Row;
use super::subject::{Subject, replay};
use super::twin::{Twin, TwinPayment, Unit};
use crate::error::{Error, Result};
use crate::findings;
use crate::plan::Plan;
use crate::verify::{Outcome, verify};

/// Users that are removed in turn.
const USERS: usize = 12;
const PAGE: &str = "docs/privacy.md, What is not protected";

/// The form of one file: its columns with their types and encodings, and, of public tables, the
/// rows of each row group.
#[derive(Debug, PartialEq, Eq)]
struct Form {
    schema: String,
    footer: Vec<String>,
    rows: Option<Vec<i64>>,
}

/// Compares the files of a run with those of runs without one of some users.
pub(super) fn rows(subject: &dyn Subject, twin: &Twin, stage: &Stage) -> Result<Vec<Row>> {
    let all = &stage.all;
    let files = subject.files(&all.plan, &all.totals)?;
    let forms = forms(&all.plan, &files)?;
    let (mut stopped, mut differ) = (Vec::new(), Vec::new());
    let (mut apart, mut tried) = (0usize, 0);
    for (unit, why) in stage.removed(&twin.world, 0).into_iter().take(USERS) {
        let is_own = |p: &&TwinPayment| twin.world.unit(p).as_ref() == Some(&unit);
        twin.write(stage.payments().filter(|p| !is_own(p)))?;
        tried += 1;
        let without = match replay(subject, twin, Some(&all.plan)) {
            Ok(without) => without,
            Err(error) => {
                stopped.push(format!(
                    "without the user {why} it stops: {}",
                    error.findings()[0].message()
                ));
                continue;
            }
        };
        let others = subject.files(&without.plan, &without.totals)?;
        if self::forms(&without.plan, &others)? != forms {
            differ.push(format!("without the user {why} files have another form"));
        }
        for ((_, one), (_, other)) in files.iter().zip(&others) {
            apart = apart.max(one.len().abs_diff(other.len()));
        }
    }
    Ok(vec![
        Row::exact(
            "side channels",
            "runs stop for none of the users tried",
            "runs with and without adversaries: extreme amounts, refunds, very many payments, unique keys",
            &stopped,
            format!("{tried} users; bad rows beyond the job's limit do stop it"),
            PAGE,
        ),
        Row::exact(
            "side channels",
            "names, columns, types, footers and row groups of files are the same without a user",
            "files of runs with and without adversaries, under the same known noise",
            &differ,
            format!(
                "{tried} users; sizes differ by up to {apart} bytes, which follow from noised values"
            ),
            PAGE,
        ),
    ])
}

/// What one run of the program has shown.
struct Seen {
    code: Option<i32>,
    texts: [String; 2],
    forms: BTreeMap<String, Form>,
    /// All files' names.
    names: Vec<String>,
    bytes: usize,
    seconds: f64,
}

/// The program as a process of its own, on the job as a file: with all users of the twin, and
/// without one.
pub(super) fn outside(subject: &dyn Subject, twin: &Twin, stage: &Stage) -> Result<Vec<Row>> {
    // The one with most payments is in one run only, as writing them takes longer than all else.
    let users: Vec<(Unit, String)> = stage.removed(&twin.world, 0);
    let units = stage.units(&twin.world);
    let most = units.iter().max_by_key(|(_, payments)| payments.len()).map(|(unit, _)| unit);
    let run = |without: &[&Unit]| {
        let left_out =
            |p: &&TwinPayment| twin.world.unit(p).is_none_or(|unit| !without.contains(&&unit));
        seen(subject, twin, stage, &stage.payments().filter(left_out).collect::<Vec<_>>())
    };
    let base: Vec<&Unit> = most.into_iter().collect();
    let Some((ran, faults)) = run(&base)? else {
        let why = "there is no program to start";
        return Ok(vec![Row::open("side channels", SHOWS, why, PAGE)]);
    };
    let step = users.len().div_ceil(OUTSIDE).max(1);
    let few = users
        .iter()
        .step_by(step)
        .map(|(unit, why)| (Some(unit), format!("without the user {why}")));
    let (mut tried, mut differ) = (0, Vec::new());
    for (unit, why) in few.chain([(None, "with the user of most payments".to_owned())]) {
        let without: Vec<&Unit> = match unit {
            Some(unit) => base.iter().copied().chain([unit]).collect(),
            None => Vec::new(),
        };
        tried += 1;
        let other = run(&without)?;
        differ.extend(
            other.and_then(|(other, _)| ran.differs(&other)).map(|what| format!("{why} {what}")),
        );
    }
    // In turn, so that a machine that becomes slower does so for both.
    let ordinary = stage.crowd().iter().find_map(|payment| twin.world.unit(payment));
    let without: Vec<&Unit> = base.iter().copied().chain(&ordinary).collect();
    let (mut with, mut less) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        less.extend(run(&without)?.map(|(seen, _)| seen));
        with.extend(run(&base)?.map(|(seen, _)| seen));
    }
    let seconds = told((&with[..], &less[..]), &|seen| seen.seconds, "s", 2);
    let bytes = told((&with[..], &less[..]), &|seen| seen.bytes as f64, "bytes in all", 0);
    Ok(vec![
        Row::exact(
            "static",
            "a release of the program itself passes every check",
            "the job as a file on made-up payments, run by the program; all checks of verify, with its ledger",
            &faults,
            "exit code 0; manifest, files, price, guarantee, schema, footers, lattice and ledger hold".to_owned(),
            "docs/verify.md",
        ),
        Row::exact(
            "side channels",
            SHOWS,
            "exit codes, standard output and error, names, types, footers and row groups of runs of the program",
            &differ,
            format!("{tried} users, removed in turn; sizes with and without one of the crowd: {bytes}"),
            PAGE,
        ),
        time(&seconds),
    ])
}

/// Not held: what the operator sees is not for recipients.
fn time(seconds: &str) -> Row {
    let what = "how long a run takes tells nothing";
    let figure = format!(
        "not promised, for the operator's eyes only; medians of a run with and without one: {seconds}"
    );
    let method = format!("{PAIRS} runs of the program with and {PAIRS} without one of the crowd");
    Row { method, ..Row::open("side channels", what, &figure, PAGE) }
}

/// Medians of both, and the chance of ranks as far apart.
fn told(
    (with, less): (&[Seen], &[Seen]),
    of: &dyn Fn(&Seen) -> f64,
    unit: &str,
    places: usize,
) -> String {
    let (a, b): (Vec<f64>, Vec<f64>) =
        (with.iter().map(of).collect(), less.iter().map(of).collect());
    let p = rank_sum(&a, &b);
    format!("{:.places$} and {:.places$} {unit} (ranks: p = {p:.2})", median(a), median(b))
}

/// Users that are removed from runs of the program.
const OUTSIDE: usize = 8;
/// Runs with and without one user, whose times are compared.
const PAIRS: usize = 8;
const SHOWS: &str =
    "what the program prints, how it ends and which files it leaves are the same without a user";

/// A run of the program on these payments, and what `verify` finds wrong with its release.
fn seen(
    subject: &dyn Subject,
    twin: &Twin,
    stage: &Stage,
    payments: &[&TwinPayment],
) -> Result<Option<(Seen, Vec<String>)>> {
    let folder = twin.apart("run", payments.iter().copied())?;
    let one = || -> Result<Option<(Seen, Vec<String>)>> {
        let Some(ran) = subject.outside(&folder, "job.toml")? else { return Ok(None) };
        let (mut faults, mut files) = (Vec::new(), Vec::new());
        if ran.code == Some(0) {
            let id = &twin.plan().job.id;
            files = ran.files(id)?;
            let ledger = folder.join("ledger.sqlite");
            let checks = verify(&folder.join(id), Some(&ledger))?.checks.into_iter();
            faults.extend(checks.filter_map(|check| match check.outcome {
                Outcome::Failed(faults) => Some(format!("{}: {}", check.name, faults.join(", "))),
                _ => None,
            }));
        }
        let forms = forms(&stage.all.plan, &files)?;
        faults.extend(ran.fault());
        let seen = Seen {
            code: ran.code,
            texts: [ran.stdout, ran.stderr],
            forms,
            names: files.iter().map(|(name, _)| name.clone()).collect(),
            bytes: files.iter().map(|(_, bytes)| bytes.len()).sum(),
            seconds: ran.seconds,
        };
        Ok(Some((seen, faults)))
    };
    let seen = one();
    let _ = std::fs::remove_dir_all(&folder);
    seen
}

impl Seen {
    fn differs(&self, other: &Seen) -> Option<&'static str> {
        match () {
            () if self.code != other.code => Some("it ends with another exit code"),
            () if self.texts != other.texts => Some("it prints other texts"),
            () if self.names != other.names => Some("it leaves other files"),
            () if self.forms != other.forms => Some("files have another form"),
            () => None,
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The chance of ranks as far apart as these, by the normal law (Mann and Whitney).
fn rank_sum(a: &[f64], b: &[f64]) -> f64 {
    let (n, m) = (a.len() as f64, b.len() as f64);
    let above = |x: f64, y: f64| match x.total_cmp(&y) {
        std::cmp::Ordering::Greater => 1.0,
        std::cmp::Ordering::Equal => 0.5,
        std::cmp::Ordering::Less => 0.0,
    };
    let wins: f64 = a.iter().flat_map(|&x| b.iter().map(move |&y| above(x, y))).sum();
    two_sided((wins - n * m / 2.0) / (n * m * (n + m + 1.0) / 12.0).sqrt())
}

fn forms(plan: &Plan, files: &[(String, Vec<u8>)]) -> Result<BTreeMap<String, Form>> {
    let mut all = BTreeMap::new();
    for (name, bytes) in files {
        if let Some(form) = form(plan, name, bytes)? {
            all.insert(name.clone(), form);
        }
    }
    Ok(all)
}

/// `None`: no table.
fn form(plan: &Plan, name: &str, bytes: &[u8]) -> Result<Option<Form>> {
    // Files of one table may stand in a folder of its name.
    let table = name.split('/').next().and_then(|table| table.strip_suffix(".parquet"));
    let Some(table) = table else { return Ok(None) };
    let failed = |e: &dyn std::fmt::Display| {
        Error::environment(findings::audit_not_writable(std::path::Path::new(name), &e))
    };
    let mut file = tempfile::tempfile().map_err(|e| failed(&e))?;
    std::io::Write::write_all(&mut file, bytes).map_err(|e| failed(&e))?;
    let reader = SerializedFileReader::new(file).map_err(|e| failed(&e))?;
    let metadata = reader.metadata();
    let entries = metadata.file_metadata().key_value_metadata().into_iter().flatten();
    let groups = metadata.row_groups().iter().map(|group| group.num_rows()).collect();
    let shown = plan.levels.iter().find(|level| level.tables.iter().any(|t| t.file == table));
    Ok(Some(Form {
        schema: format!("{:?}", metadata.file_metadata().schema_descr()),
        footer: entries.map(|entry| format!("{} {:?}", entry.key, entry.value)).collect(),
        rows: shown.filter(|level| level.is_public()).map(|_| groups),
    }))
}
