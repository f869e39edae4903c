//! What shows besides the values: whether a run stops, and the form of its files, with and without a user.

use std::collections::BTreeMap;

use parquet::file::reader::{FileReader, SerializedFileReader};

use super::replay::Stage;
use super::row::Row;
use super::subject::{Subject, replay};
use super::twin::{Twin, TwinPayment};
use crate::error::{Error, Result};
use crate::findings;
use crate::plan::Plan;

/// Users that are removed in turn.
const USERS: usize = 12;
const PAGE: &str = "docs/privacy.md, What is not protected";

/// The form of one file: its columns with their types and encodings, and, of public tables, the rows
/// of each row group.
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
            "no user decides whether a run stops",
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
        Row::open(
            "side channels",
            "time and memory of a run tell nothing",
            "not protected: what the operator sees is not for recipients",
            PAGE,
        ),
    ])
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
