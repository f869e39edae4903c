//! Text files (CSV), block by block: they are read and cut into records on one thread at a time,
//! and made columns of on all.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use polars::prelude::{DataFrame, Engine, IntoLazy, LazyFrame, PolarsResult};

use super::unread::Unread;
use crate::caught::caught;
use crate::job::{CsvDialect, Layout, Marks, Record, without_header};
use crate::parallel::lock;

/// Bytes that are read at once.
const BLOCK: usize = 4 << 20;

/// The most bytes of a line: it is held whole, whatever memory there is.
const LINE_MAX: usize = 64 << 20;

/// Hands out blocks, to any thread that asks.
pub(super) struct LineReader<'p> {
    marks: Marks,
    header: bool,
    left: Mutex<Left<'p>>,
}

struct Left<'p> {
    files: std::vec::IntoIter<(&'p Path, Layout)>,
    open: Option<Open<'p>>,
}

/// A file that is being read.
struct Open<'p> {
    path: &'p Path,
    file: File,
    layout: Arc<Layout>,
    /// The start of a record.
    rest: Vec<u8>,
    is_start: bool,
    header_left: bool,
}

/// Whole records.
struct Block {
    bytes: Vec<u8>,
    records: Vec<Record>,
    layout: Arc<Layout>,
}

impl<'p> LineReader<'p> {
    /// `layouts`: of each of `paths`.
    pub(super) fn new(csv: &CsvDialect, paths: &'p [PathBuf], layouts: Vec<Layout>) -> Self {
        let files: Vec<_> = paths.iter().map(PathBuf::as_path).zip(layouts).collect();
        let left = Mutex::new(Left { files: files.into_iter(), open: None });
        LineReader { marks: Marks::of(csv), header: csv.header, left }
    }

    /// The next block, after `choose` has said what of it is wanted; `None` if there is none left.
    pub(super) fn next(
        &self,
        choose: impl Fn(LazyFrame) -> LazyFrame,
    ) -> Option<Result<DataFrame, Unread>> {
        let block = match self.block()? {
            Ok(block) => block,
            Err(unread) => return Some(Err(unread)),
        };
        let chosen = || -> PolarsResult<DataFrame> {
            let table = self.marks.table(&block.bytes, &block.records, &block.layout)?;
            #[expect(clippy::disallowed_methods, reason = "reads records, in `payments`")]
            let table = choose(table.lazy()).collect_with_engine(Engine::InMemory)?;
            Ok(table.unwrap_single())
        };
        let chosen = caught(chosen).ok_or(Unread::Panic);
        Some(chosen.and_then(|chosen| chosen.map_err(Unread::Cause)))
    }

    fn block(&self) -> Option<Result<Block, Unread>> {
        let mut left = lock(&self.left);
        loop {
            if left.open.is_none() {
                let (path, layout) = left.files.next()?;
                let file = match File::open(path) {
                    Ok(file) => file,
                    Err(cause) => return Some(Err(Unread::File(path.to_owned(), cause))),
                };
                let layout = Arc::new(layout);
                let header_left = self.header;
                let rest = Vec::new();
                left.open = Some(Open { path, file, layout, rest, is_start: true, header_left });
            }
            let open = left.open.as_mut()?;
            match open.block(self.marks) {
                Ok(Some(block)) => return Some(Ok(block)),
                Ok(None) => left.open = None,
                Err(unread) => return Some(Err(unread)),
            }
        }
    }
}

impl Open<'_> {
    /// `None` at the end of the file.
    fn block(&mut self, marks: Marks) -> Result<Option<Block>, Unread> {
        let failed = |cause| Unread::File(self.path.to_owned(), cause);
        let mut bytes = std::mem::take(&mut self.rest);
        loop {
            // Twice as much each time, if a record is longer than that, and one byte too many at
            // most.
            let wanted = bytes.len().max(BLOCK).min(LINE_MAX + 1 - bytes.len());
            let read = (&mut self.file).take(wanted as u64).read_to_end(&mut bytes);
            let is_last = read.map_err(failed)? < wanted;
            if std::mem::take(&mut self.is_start) && bytes.starts_with(b"\xef\xbb\xbf") {
                bytes.drain(..3);
            }
            let mut records = marks.records(&bytes, is_last);
            if self.header_left {
                self.header_left = !without_header(&mut bytes, &mut records);
            }
            if let Some(last) = records.last() {
                self.rest = bytes.split_off(last.end());
                let layout = self.layout.clone();
                return Ok(Some(Block { bytes, records, layout }));
            }
            if is_last {
                return Ok(None);
            }
            if bytes.len() > LINE_MAX {
                let line = self.line(bytes.len()).map_err(failed)?;
                return Err(Unread::Line(self.path.to_owned(), line, LINE_MAX >> 20));
            }
        }
    }

    /// The number of the line that starts so many bytes before what is read next.
    fn line(&self, before: usize) -> std::io::Result<usize> {
        let start = (&self.file).stream_position()?.saturating_sub(before as u64);
        let (mut lines, mut above) = (1, File::open(self.path)?.take(start));
        let mut block = vec![0; BLOCK];
        loop {
            match above.read(&mut block)? {
                0 => return Ok(lines),
                read => lines += block[..read].iter().filter(|&&byte| byte == b'\n').count(),
            }
        }
    }
}
