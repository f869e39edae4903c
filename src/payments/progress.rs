//! How a run is watched and stopped.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::source::RowGroup;
use crate::error::{Error, Result};

/// How a run can be watched and stopped.
#[derive(Clone, Copy)]
pub struct ScanControl<'a> {
    /// Set to stop soon.
    pub cancelled: &'a AtomicBool,
    /// Called now and then from any thread, and after the last row; for the operator's terminal,
    /// and for a run to see that there is anything to release.
    pub progress: &'a (dyn Fn(Progress) + Sync),
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Bytes of the files.
    Read {
        /// Read so far.
        bytes: u64,
        /// All.
        of: u64,
        /// Are there rows so far, of those that `where` chooses?
        some: bool,
    },
    /// Partitions of the users.
    Fitted {
        /// Done so far.
        partitions: usize,
        /// All.
        of: usize,
    },
}

/// How far the scan is, in bytes of the files.
///
/// Parquet files say how many rows they hold, so a row stands for its share of the bytes; rows
/// that `where` leaves out are counted when the end is reached. Of other files only the end shows.
pub(super) struct Meter<'a> {
    control: ScanControl<'a>,
    rows: AtomicU64,
    bytes_per_row: f64,
    bytes: u64,
}

impl<'a> Meter<'a> {
    pub(super) fn new(
        control: ScanControl<'a>,
        bytes: u64,
        groups: Option<&[Vec<RowGroup>]>,
    ) -> Self {
        let rows = |groups: &[Vec<RowGroup>]| groups.iter().flatten().map(|group| group.rows).sum();
        let rows: Option<u64> = groups.map(rows);
        let bytes_per_row = rows.map_or(0.0, |rows| bytes as f64 / rows.max(1) as f64);
        Meter { control, rows: AtomicU64::new(0), bytes_per_row, bytes }
    }

    pub(super) fn check(&self) -> Result<()> {
        let cancelled = self.control.cancelled.load(Ordering::Relaxed);
        if cancelled { Err(Error::cancelled()) } else { Ok(()) }
    }

    pub(super) fn advance(&self, rows: usize) {
        let rows = self.rows.fetch_add(rows as u64, Ordering::Relaxed) + rows as u64;
        let bytes = (rows as f64 * self.bytes_per_row) as u64;
        let (bytes, of) = (bytes.min(self.bytes), self.bytes);
        (self.control.progress)(Progress::Read { bytes, of, some: rows > 0 });
    }
}
