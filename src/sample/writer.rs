//! Generates on all threads, writes row groups in order, publishes whole folders only.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use parquet::errors::ParquetError;
use parquet::file::writer::SerializedFileWriter;
use tempfile::TempDir;

use super::Size;
use super::columns::{Encoder, RowGroup};
use super::visits::World;
use crate::error::{Error, Result};
use crate::findings;

/// Payments in a row group: what one thread makes at a time. Larger means fewer pages to skip
/// for readers, and more memory for each thread here (about 25 MB).
pub(super) const ROW_GROUP_PAYMENTS: u64 = 1 << 18;
/// Row groups in a file, so that a file has about 20 million payments.
const FILE_ROW_GROUPS: u64 = 80;

/// A folder that gets all of its files at the end, or none.
pub(super) struct Staging {
    target: PathBuf,
    made: bool,
    folder: Option<TempDir>,
}

impl Staging {
    /// Refuses a folder with anything in it; makes one that does not exist.
    pub(super) fn open(target: &Path) -> Result<Self> {
        let made = match fs::read_dir(target) {
            Ok(mut entries) => {
                if entries.next().is_some() {
                    return Err(Error::invalid(findings::sample_folder_not_empty(target)));
                }
                false
            }
            Err(cause) if cause.kind() == ErrorKind::NotFound => true,
            Err(cause) => return Err(failed(target)(cause)),
        };
        fs::create_dir_all(target).map_err(failed(target))?;
        let mut staging = Staging { target: target.to_owned(), made, folder: None };
        let folder = tempfile::Builder::new().prefix(".sample-").tempdir_in(target);
        staging.folder = Some(folder.map_err(failed(target))?);
        fs::create_dir(staging.path("payments")).map_err(failed(target))?;
        Ok(staging)
    }

    /// Where to write a file that will be `name` in the folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.as_ref().map_or(&*self.target, TempDir::path).join(name)
    }

    /// Moves everything to its place.
    pub(super) fn publish(mut self) -> Result<()> {
        let names = ["merchants.parquet", "payments"];
        for name in names {
            let place = self.target.join(name);
            if let Err(cause) = fs::rename(self.path(name), &place) {
                // Only the registry can be in its place already. Nothing more can be done.
                let _ = fs::remove_file(self.target.join(names[0]));
                return Err(failed(&place)(cause));
            }
        }
        self.made = false;
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        self.folder = None;
        if self.made {
            // Fails if somebody put a file there meanwhile, and then it had better stay.
            let _ = fs::remove_dir(&self.target);
        }
    }
}

/// Writes all payments and returns the names of the files, relative to the folder.
pub(super) fn write_payments(
    staging: &Staging,
    world: &World,
    size: &Size,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
    cancelled: &AtomicBool,
) -> Result<Vec<String>> {
    let place = staging.path("payments");
    let encoder =
        Encoder::new(world.users.count(), world.merchants.list().len()).map_err(failed(&place))?;
    let chunks = size.payments.div_ceil(ROW_GROUP_PAYMENTS);
    std::thread::scope(|scope| {
        // Lane i brings chunks i, i + threads, ...: in order, and never far ahead.
        let lanes: Vec<Receiver<_>> = (0..threads as u64)
            .map(|first| {
                let (sender, lane) = sync_channel(1);
                let encoder = &encoder;
                let own = (first..chunks).step_by(threads);
                scope.spawn(move || make_row_groups(own, world, size, encoder, &sender, cancelled));
                lane
            })
            .collect();
        let mut files = Files { staging, encoder: &encoder, names: Vec::new(), open: None };
        let mut written = 0;
        for (chunk, lane) in (0..chunks).zip(lanes.iter().cycle()) {
            // A lane ends early only when cancelled; a panic there ends the scope.
            let Ok(group) = lane.recv() else { return Err(Error::cancelled()) };
            let group: RowGroup = group.map_err(failed(&place))?;
            written += group.rows;
            files.append(chunk, group)?;
            progress(written);
            if cancelled.load(Ordering::Relaxed) {
                return Err(Error::cancelled());
            }
        }
        files.finish()
    })
}

/// Makes the row groups of one lane until done, cancelled or not wanted any more.
fn make_row_groups(
    chunks: impl Iterator<Item = u64>,
    world: &World,
    size: &Size,
    encoder: &Encoder,
    lane: &SyncSender<std::result::Result<RowGroup, ParquetError>>,
    cancelled: &AtomicBool,
) {
    for chunk in chunks {
        if cancelled.load(Ordering::Relaxed) {
            return;
        }
        let start = chunk * ROW_GROUP_PAYMENTS;
        let end = (start + ROW_GROUP_PAYMENTS).min(size.payments);
        if lane.send(encoder.encode(world.visits(chunk, start..end))).is_err() {
            return;
        }
    }
}

/// The files of payments, one open at a time.
struct Files<'a> {
    staging: &'a Staging,
    encoder: &'a Encoder,
    names: Vec<String>,
    open: Option<(PathBuf, SerializedFileWriter<File>)>,
}

impl Files<'_> {
    /// Appends the row group of a chunk, in the next file when the last is full.
    fn append(&mut self, chunk: u64, group: RowGroup) -> Result<()> {
        if chunk.is_multiple_of(FILE_ROW_GROUPS) {
            self.close()?;
            self.names.push(format!("payments/part-{:05}.parquet", self.names.len()));
        }
        let (path, mut writer) = match self.open.take() {
            Some(open) => open,
            None => self.create()?,
        };
        group.write_to(&mut writer).map_err(failed(&path))?;
        self.open = Some((path, writer));
        Ok(())
    }

    fn create(&self) -> Result<(PathBuf, SerializedFileWriter<File>)> {
        let name = self.names.last().expect("cannot fail because chunk 0 names the first file");
        let path = self.staging.path(name);
        let file = File::create(&path).map_err(failed(&path))?;
        let writer = self.encoder.file(file).map_err(failed(&path))?;
        Ok((path, writer))
    }

    fn close(&mut self) -> Result<()> {
        let Some((path, writer)) = self.open.take() else { return Ok(()) };
        writer.close().map_err(failed(&path))?;
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<String>> {
        self.close()?;
        Ok(self.names)
    }
}

/// Turns a cause into an error about `path`.
pub(super) fn failed<E: std::fmt::Display>(path: &Path) -> impl Fn(E) -> Error {
    move |cause| Error::environment(findings::sample_write_failed(path, &cause))
}
