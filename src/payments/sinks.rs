//! From tables to batches, on all threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ScopedJoinHandle;

use polars::prelude::DataFrame;

use super::batch::{Batch, Fault, Rows};
use super::progress::Meter;
use super::quarantine::Quarantine;
use super::unread::unreadable;
use crate::error::Result;
use crate::parallel::lock;

/// Rows of one batch, at most.
const BATCH_ROWS: usize = 1 << 17;

/// How many rows there were.
#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    /// All that `where` chose.
    pub(super) rows: u64,
    /// Those that are valid payments.
    pub(super) good: u64,
}

/// What becomes of the tables that are read.
pub(super) struct Intake<'r, S> {
    /// What turns their rows into payments.
    pub(super) rows: &'r Rows<'r>,
    pub(super) meter: &'r Meter<'r>,
    pub(super) quarantine: &'r mut Quarantine,
    /// What takes batches, each on a thread of its own.
    pub(super) sinks: Vec<S>,
}

impl<S: FnMut(&Batch) -> Result<()> + Send> Intake<'_, S> {
    /// Spreads the tables that `next` gives over the sinks.
    pub(super) fn take_all(
        self,
        next: impl Fn() -> Option<Result<DataFrame>> + Sync,
    ) -> Result<Counts> {
        let Intake { rows, meter, quarantine, sinks } = self;
        let quarantine = Mutex::new(quarantine);
        let stopped = AtomicBool::new(false);
        let source = &rows.plan().job.payments;
        let work = |mut sink: S| -> Result<Counts> {
            let mut counts = Counts::default();
            while let Some(table) = next() {
                let table = table?;
                let height = table.height();
                // Tables without rows are a moment to stop, too.
                for first in (0..height.max(1)).step_by(BATCH_ROWS) {
                    if stopped.load(Ordering::Relaxed) {
                        return Ok(counts);
                    }
                    meter.check()?;
                    let mut piece = table.slice(first as i64, BATCH_ROWS);
                    let batch = rows
                        .batch(&mut piece, |reason, values| lock(&quarantine).add(reason, &values));
                    let batch = batch.map_err(|fault| match fault {
                        Fault::Reader(cause) => unreadable(&cause, source),
                        Fault::Quarantine(error) => error,
                    })?;
                    counts.good += batch.len() as u64;
                    sink(&batch)?;
                }
                counts.rows += height as u64;
                meter.advance(height);
            }
            Ok(counts)
        };
        let work = |sink: S| work(sink).inspect_err(|_| stopped.store(true, Ordering::Relaxed));
        let results: Vec<Result<Counts>> = std::thread::scope(|scope| {
            let work = &work;
            let workers: Vec<_> =
                sinks.into_iter().map(|sink| scope.spawn(move || work(sink))).collect();
            let join = |worker: ScopedJoinHandle<Result<Counts>>| {
                worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            // All are joined before the first error is returned.
            workers.into_iter().map(join).collect()
        });
        // The stream waits for nobody once its receiver is gone.
        drop(next);
        results.into_iter().try_fold(Counts::default(), |all, own| {
            let own = own?;
            Ok(Counts { rows: all.rows + own.rows, good: all.good + own.good })
        })
    }
}
