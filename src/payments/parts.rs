//! Parquet files part by part, for when memory is short.
//!
//! polars' stream of all files holds row groups in many places at once and every page of a file
//! that it has mapped. A query for some rows of one row group holds nothing once it is done.

use std::path::PathBuf;
use std::sync::Mutex;

use polars::prelude::{DataFrame, Engine, LazyFrame, PolarsResult};

use super::source::RowGroup;
use super::unread::Unread;
use crate::caught::caught;
use crate::parallel::lock;

/// The stream takes about this much at 100 million payments in row groups of 25 MB, measured.
const STREAM_BYTES: u64 = 832 << 20;

/// While a part is read it stands in memory as pages, as columns, and as columns of chosen rows.
const COPIES: u64 = 3;

/// Fewer rows at once would cost more time than they save memory.
const ROWS_MIN: u64 = 1 << 14;

/// Some rows of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    file: usize,
    first: u64,
    rows: u64,
}

/// The parts that `threads` threads can read in `memory` bytes; `None` if the stream fits too,
/// which is a little quicker.
pub(super) fn parts(files: &[Vec<RowGroup>], memory: u64, threads: usize) -> Option<Vec<Part>> {
    let threads = threads as u64;
    let largest = files.iter().flatten().map(|group| group.bytes).max().unwrap_or(0);
    if memory >= STREAM_BYTES && threads * largest <= memory / 2 {
        return None;
    }
    let part_bytes = memory / (threads * COPIES);
    let mut parts = Vec::new();
    for (file, groups) in files.iter().enumerate() {
        let mut first = 0;
        for group in groups.iter().filter(|group| group.rows > 0) {
            let row_bytes = group.bytes.div_ceil(group.rows).max(1);
            let rows_max = (part_bytes / row_bytes).max(ROWS_MIN);
            // Equal parts: a small one costs as much as a large one.
            let count = group.rows.div_ceil(rows_max);
            let edge = |part| first + group.rows * part / count;
            parts.extend((0..count).map(|part| Part {
                file,
                first: edge(part),
                rows: edge(part + 1) - edge(part),
            }));
            first += group.rows;
        }
    }
    Some(parts)
}

/// Hands out parts, to any thread that asks.
pub(super) struct PartReader<'p, F> {
    paths: &'p [PathBuf],
    /// From a path to a query for all of the file.
    scan: F,
    left: Mutex<Left>,
}

struct Left {
    parts: std::vec::IntoIter<Part>,
    /// The file that was last read, with its footer.
    open: Option<(usize, LazyFrame)>,
}

impl<'p, F: Fn(&PathBuf) -> PolarsResult<LazyFrame>> PartReader<'p, F> {
    pub(super) fn new(paths: &'p [PathBuf], parts: Vec<Part>, scan: F) -> Self {
        let left = Left { parts: parts.into_iter(), open: None };
        PartReader { paths, scan, left: Mutex::new(left) }
    }

    /// The next part, after `choose` has said what of it is wanted; `None` if there is none left.
    pub(super) fn next(
        &self,
        choose: impl Fn(LazyFrame) -> LazyFrame,
    ) -> Option<Result<DataFrame, Unread>> {
        let query = self.query()?;
        let read = caught(|| -> PolarsResult<DataFrame> {
            #[expect(clippy::disallowed_methods, reason = "reads records, in `payments`")]
            let table = choose(query?).collect_with_engine(Engine::Streaming)?;
            // A query without sinks of its own has one table.
            Ok(table.unwrap_single())
        });
        Some(read.ok_or(Unread::Panic).and_then(|read| read.map_err(Unread::Cause)))
    }

    /// The next part, before it is read.
    fn query(&self) -> Option<PolarsResult<LazyFrame>> {
        let mut left = lock(&self.left);
        let part = left.parts.next()?;
        let table = match &left.open {
            Some((file, table)) if *file == part.file => Ok(table.clone()),
            _ => (self.scan)(&self.paths[part.file]).and_then(|mut table| {
                // The footer is read here, once for all parts.
                table.collect_schema()?;
                left.open = Some((part.file, table.clone()));
                Ok(table)
            }),
        };
        Some(table.map(|table| table.slice(part.first as i64, part.rows as u32)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn groups(rows: &[u64], row_bytes: u64) -> Vec<RowGroup> {
        rows.iter().map(|&rows| RowGroup { rows, bytes: rows * row_bytes }).collect()
    }

    #[test]
    fn the_stream_is_for_ample_memory_and_row_groups_that_are_not_large() {
        let small = [groups(&[100_000, 100_000], 100)];
        let large = [groups(&[10_000_000], 100)];
        assert_eq!(parts(&small, GIB, 2), None);
        assert!(parts(&small, GIB / 2, 2).is_some());
        assert!(parts(&large, GIB, 2).is_some());
        assert_eq!(parts(&large, 4 * GIB, 2), None);
        assert!(parts(&large, 4 * GIB, 8).is_some());
    }

    #[test]
    fn parts_cover_all_rows_once_within_memory() {
        let files = [groups(&[1_000_000, 0, 10], 100), vec![], groups(&[70_000], 1_000)];
        for (memory, threads) in [(GIB / 2, 2), (GIB / 8, 3), (GIB / 8, 1), (0, 4)] {
            let parts = parts(&files, memory, threads).expect("memory is short");
            let mut next = [0, 0, 0];
            for part in parts {
                assert_eq!(part.first, next[part.file], "one after the other");
                next[part.file] += part.rows;
                let row_bytes = if part.file == 0 { 100 } else { 1_000 };
                let most = memory / COPIES / threads as u64;
                assert!(part.rows <= ROWS_MIN || part.rows * row_bytes <= most, "{part:?}");
            }
            assert_eq!(next, [1_000_010, 0, 70_000]);
        }
    }
}
