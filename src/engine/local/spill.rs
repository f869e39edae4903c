//! Blocks of records on disk, in a file without a name.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use lz4::block::{CompressionMode, compress_bound, compress_to_buffer, decompress_to_buffer};

use super::record::Record;
use crate::error::{Error, Result};
use crate::findings;

/// A temporary file that no folder lists: it has mode 0600 and is gone with the process, however
/// that ends.
///
/// A block is written as the users' hashes, which no compression makes smaller, and LZ4 of the
/// other fields, byte by byte of all records: high bytes are mostly zero.
pub(super) struct SpillFile {
    folder: PathBuf,
    file: File,
    end: AtomicU64,
}

/// Where a block is.
pub(super) struct Extent {
    offset: u64,
    packed_bytes: usize,
    records: usize,
}

/// Bytes of a record's hash, and of the rest of it.
const HASH: usize = 16;
const FIELDS: usize = size_of::<Record>() - HASH;

impl SpillFile {
    /// Opens the file at once, so that a folder that cannot be used shows before any work.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let refused = |e| Error::environment(findings::spill_failed(folder, &e));
        let file = tempfile::tempfile_in(folder).map_err(refused)?;
        Ok(SpillFile { folder: folder.to_owned(), file, end: AtomicU64::new(0) })
    }

    pub(super) fn write(&self, block: &[Record]) -> Result<Extent> {
        self.try_write(block).map_err(|e| self.failed(&e))
    }

    /// Replaces the content of `block`.
    pub(super) fn read(&self, extent: &Extent, block: &mut Vec<Record>) -> Result<()> {
        self.try_read(extent, block).map_err(|e| self.failed(&e))
    }

    fn failed(&self, cause: &io::Error) -> Error {
        Error::environment(findings::spill_failed(&self.folder, cause))
    }

    fn try_write(&self, block: &[Record]) -> io::Result<Extent> {
        let mut fields = Vec::with_capacity(block.len() * FIELDS);
        for byte in 0..8 {
            fields.extend(block.iter().map(|r| r.amount.to_le_bytes()[byte]));
        }
        for byte in 0..4 {
            fields.extend(block.iter().map(|r| r.merchant.to_le_bytes()[byte]));
        }
        for byte in 0..4 {
            fields.extend(block.iter().map(|r| r.slot_and_rest.to_le_bytes()[byte]));
        }
        let mut bytes = Vec::with_capacity(size_of_val(block));
        for record in block {
            bytes.extend_from_slice(&record.user[0].to_le_bytes());
            bytes.extend_from_slice(&record.user[1].to_le_bytes());
        }
        let hashes = bytes.len();
        bytes.resize(hashes + compress_bound(fields.len())?, 0);
        let mode = Some(CompressionMode::DEFAULT);
        let packed_bytes = compress_to_buffer(&fields, mode, false, &mut bytes[hashes..])?;
        bytes.truncate(hashes + packed_bytes);
        let offset = self.end.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.file.write_all_at(&bytes, offset)?;
        Ok(Extent { offset, packed_bytes, records: block.len() })
    }

    fn try_read(&self, extent: &Extent, block: &mut Vec<Record>) -> io::Result<()> {
        let count = extent.records;
        let mut bytes = vec![0; count * HASH + extent.packed_bytes];
        self.file.read_exact_at(&mut bytes, extent.offset)?;
        let (hashes, packed) = bytes.split_at(count * HASH);
        let size = i32::try_from(count * FIELDS).map_err(io::Error::other)?;
        let mut fields = vec![0; count * FIELDS];
        let unpacked = decompress_to_buffer(packed, Some(size), &mut fields)?;
        if unpacked != fields.len() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        block.clear();
        block.extend(hashes.chunks_exact(HASH).enumerate().map(|(row, hash)| {
            let byte = |place: usize| fields[place * count + row];
            let half = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| hash[at + i]));
            Record {
                user: [half(0), half(8)],
                amount: i64::from_le_bytes(std::array::from_fn(byte)),
                merchant: u32::from_le_bytes(std::array::from_fn(|i| byte(8 + i))),
                slot_and_rest: u32::from_le_bytes(std::array::from_fn(|i| byte(12 + i))),
            }
        }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record() -> impl Strategy<Value = Record> {
        (any::<[u64; 2]>(), any::<i64>(), any::<u32>(), any::<u32>()).prop_map(
            |(user, amount, merchant, slot_and_rest)| Record {
                user,
                amount,
                merchant,
                slot_and_rest,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(
            blocks in prop::collection::vec(prop::collection::vec(record(), 0..300), 1..5),
        ) {
            let folder = tempfile::tempdir().expect("a folder");
            let file = SpillFile::new(folder.path()).expect("a file");
            let extents: Vec<Extent> =
                blocks.iter().map(|b| file.write(b).expect("writes")).collect();
            let mut read = vec![Record::default()];
            for (block, extent) in blocks.iter().zip(&extents).rev() {
                file.read(extent, &mut read).expect("reads");
                prop_assert_eq!(&read, block);
            }
            prop_assert_eq!(folder.path().read_dir().expect("lists").count(), 0, "no name");
        }
    }
}
