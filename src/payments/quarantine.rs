//! Bad rows: for the operator's eyes, never in a release.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::BufWriter;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::findings;

/// Why a row is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// In a text file, a quote is neither closed nor doubled.
    LineQuotes,
    /// A line of a text file has more fields than the first.
    LineLong,
    /// A line of a text file is not UTF-8.
    LineNotText,
    /// The user is null or blank.
    UserMissing,
    /// The merchant is null or blank.
    MerchantMissing,
    /// The merchant is not in the public table.
    MerchantUnknown,
    /// The time is null or cannot be read.
    TimeUnreadable,
    /// The amount is null or cannot be read exactly.
    AmountUnreadable,
    /// The amount is beyond ±10^12 minor units.
    AmountTooLarge,
    /// The currency is null.
    CurrencyMissing,
    /// A key column is null.
    KeyMissing,
    /// A key column's value is not in the stated key set.
    KeyUnknown,
}

impl Reason {
    /// The words in the quarantine file.
    pub fn text(self) -> &'static str {
        match self {
            Reason::LineQuotes => "a quote in its line is neither closed nor doubled",
            Reason::LineLong => "its line has more fields than the first line",
            Reason::LineNotText => "its line is not UTF-8",
            Reason::UserMissing => "user is null or blank",
            Reason::MerchantMissing => "merchant is null or blank",
            Reason::MerchantUnknown => "merchant is not in the table of merchants",
            Reason::TimeUnreadable => "time is null or cannot be read",
            Reason::AmountUnreadable => "amount is null or not a whole number of minor units",
            Reason::AmountTooLarge => "amount is beyond 10^12 minor units",
            Reason::CurrencyMissing => "currency is null",
            Reason::KeyMissing => "a key column is null",
            Reason::KeyUnknown => "a key column has a value that [keys] does not list",
        }
    }
}

/// The file of bad rows of one job; made when the first one appears.
///
/// Mode 0600, in a folder of mode 0700. Holds at most [`Quarantine::ROWS_MAX`] rows.
pub(super) struct Quarantine {
    folder: PathBuf,
    file: PathBuf,
    names: Vec<String>,
    writer: Option<csv::Writer<BufWriter<File>>>,
    rows: BTreeMap<Reason, u64>,
}

impl Quarantine {
    /// Enough to find the cause; more would only fill the disk.
    const ROWS_MAX: u64 = 100_000;

    /// Removes what an earlier run of the same job left.
    pub(super) fn new(folder: &Path, job: &str, names: Vec<String>) -> Result<Self> {
        let file = folder.join(format!("{job}.csv"));
        match std::fs::remove_file(&file) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::environment(findings::quarantine_not_writable(&file, &e)))
            }
            _ => {
                let folder = folder.to_owned();
                Ok(Quarantine { folder, file, names, writer: None, rows: BTreeMap::new() })
            }
        }
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// How many rows were bad.
    pub(super) fn rows(&self) -> u64 {
        self.rows.values().sum()
    }

    /// What most bad rows are bad for; of equals the first in the order of reasons.
    pub(super) fn most(&self) -> Option<Reason> {
        let reasons = self.rows.iter().rev();
        reasons.max_by_key(|(_, rows)| **rows).map(|(reason, _)| *reason)
    }

    /// Adds a row: its reason and the values of its columns.
    pub(super) fn add(&mut self, reason: Reason, values: &[String]) -> Result<()> {
        *self.rows.entry(reason).or_default() += 1;
        if self.rows() > Self::ROWS_MAX {
            return Ok(());
        }
        let row = std::iter::once(reason.text()).chain(values.iter().map(String::as_str));
        let written = self.writer().and_then(|w| Ok(w.write_record(row)?));
        written.map_err(|e| self.failed(&e))
    }

    /// Flushes the file, if there is one.
    pub(super) fn finish(&mut self) -> Result<()> {
        let flushed = self.writer.as_mut().map_or(Ok(()), csv::Writer::flush);
        flushed.map_err(|e| self.failed(&e))
    }

    fn writer(&mut self) -> std::io::Result<&mut csv::Writer<BufWriter<File>>> {
        if self.writer.is_none() {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
            let file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.file)?;
            let mut writer = csv::Writer::from_writer(BufWriter::new(file));
            writer.write_record(
                std::iter::once("reason").chain(self.names.iter().map(String::as_str)),
            )?;
            self.writer = Some(writer);
        }
        Ok(self.writer.as_mut().expect("cannot fail because it was made above"))
    }

    fn failed(&self, cause: &std::io::Error) -> Error {
        Error::environment(findings::quarantine_not_writable(&self.file, cause))
    }
}
