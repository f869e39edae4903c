//! What an audit leaves: `audit.parquet`, a row a check, and `audit.html`, to be read by people.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::html::{page, start};
use super::{Evidence, Row};
use crate::error::{Error, Result};
use crate::findings;
use crate::release::{begins_with, outside_releases};

/// Writes the evidence into `folder`, in place of what an audit left there before.
///
/// # Errors
/// The folder cannot be made or written.
pub fn write(evidence: &Evidence, folder: &Path) -> Result<()> {
    let failed =
        |e: &dyn std::fmt::Display| Error::environment(findings::audit_not_writable(folder, &e));
    std::fs::create_dir_all(folder).map_err(|e| failed(&e))?;
    let batch = batch(&evidence.rows).map_err(|e| failed(&e))?;
    put(folder, TABLE, |file| {
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None)?;
        writer.write(&batch)?;
        writer.close()?;
        Ok(())
    })
    .map_err(|e| failed(&e))?;
    let page = page(evidence);
    put(folder, PAGE, |file| file.write_all(page.as_bytes())).map_err(|e| failed(&e))
}

/// The files of an audit.
const TABLE: &str = "audit.parquet";
const PAGE: &str = "audit.html";

/// May evidence be written into `folder`? Asked before long work.
///
/// # Errors
/// Invalid: it is a release, or lies within one, or has files of these names that no audit made.
pub fn place(folder: &Path) -> Result<()> {
    outside_releases(folder)?;
    let foreign = |path: &Path| Error::invalid(findings::output_foreign(path, "part of an audit"));
    let page = folder.join(PAGE);
    if page.is_file() && !begins_with(&page, &[&start()]) {
        return Err(foreign(&page));
    }
    let table = folder.join(TABLE);
    let columns = |file: File| ParquetRecordBatchReaderBuilder::try_new(file).ok();
    let same = |file: ParquetRecordBatchReaderBuilder<File>| {
        batch(&[]).is_ok_and(|own| own.schema().fields() == file.schema().fields())
    };
    if table.is_file() && !File::open(&table).ok().and_then(columns).is_some_and(same) {
        return Err(foreign(&table));
    }
    Ok(())
}

/// Writes a file beside its place and moves it there, so that it is whole or not there.
fn put(
    folder: &Path,
    name: &str,
    content: impl FnOnce(&mut File) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(".audit-").tempfile_in(folder)?;
    content(file.as_file_mut())?;
    file.as_file().sync_all()?;
    let file = file.persist(folder.join(name)).map_err(|e| e.error)?;
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

/// One column a field of [`Row`].
fn batch(rows: &[Row]) -> std::result::Result<RecordBatch, ArrowError> {
    let text = |of: &dyn Fn(&Row) -> String| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(of(row))).collect::<StringArray>())
    };
    let confidence: ArrayRef =
        Arc::new(rows.iter().map(|row| Some(row.confidence)).collect::<Float64Array>());
    RecordBatch::try_from_iter([
        ("check", text(&|row| row.check.to_owned())),
        ("what", text(&|row| row.what.clone())),
        ("method", text(&|row| row.method.clone())),
        ("verdict", text(&|row| row.verdict.name().to_owned())),
        ("figure", text(&|row| row.figure.clone())),
        ("confidence", confidence),
        ("reference", text(&|row| row.reference.to_owned())),
    ])
}
