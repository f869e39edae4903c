//! From tables to batches, on all threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::ScopedJoinHandle;

use polars::prelude::DataFrame;

use super::batch::{Batch, Fault, Rows};
use super::progress::Meter;
use super::quarantine::Quarantine;
use super::scan::unreadable;
use crate::error::Result;

/// Rows of one batch, at most.
const BATCH_ROWS: usize = 1 << 17;

/// Spreads the tables that `next` gives over the sinks; returns how many rows were good.
pub(super) fn take_all<S>(
    next: impl Fn() -> Option<Result<DataFrame>> + Sync,
    rows: &Rows,
    meter: &Meter,
    quarantine: &mut Quarantine,
    sinks: Vec<S>,
) -> Result<u64>
where
    S: FnMut(&Batch) -> Result<()> + Send,
{
    let quarantine = Mutex::new(quarantine);
    let stopped = AtomicBool::new(false);
    let source = &rows.plan().job.payments;
    let work = |mut sink: S| -> Result<u64> {
        let mut good = 0;
        while let Some(table) = next() {
            let table = table?;
            let height = table.height();
            // Tables without rows are a moment to stop, too.
            for first in (0..height.max(1)).step_by(BATCH_ROWS) {
                if stopped.load(Ordering::Relaxed) {
                    return Ok(good);
                }
                meter.check()?;
                let mut piece = table.slice(first as i64, BATCH_ROWS);
                let batch =
                    rows.batch(&mut piece, |reason, values| lock(&quarantine).add(reason, &values));
                let batch = batch.map_err(|fault| match fault {
                    Fault::Reader(cause) => unreadable(&cause, source),
                    Fault::Quarantine(error) => error,
                })?;
                good += batch.len() as u64;
                sink(&batch)?;
            }
            meter.advance(height);
        }
        Ok(good)
    };
    let work = |sink: S| work(sink).inspect_err(|_| stopped.store(true, Ordering::Relaxed));
    let results: Vec<Result<u64>> = std::thread::scope(|scope| {
        let work = &work;
        let workers: Vec<_> =
            sinks.into_iter().map(|sink| scope.spawn(move || work(sink))).collect();
        let join = |worker: ScopedJoinHandle<Result<u64>>| {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        // All are joined before the first error is returned.
        workers.into_iter().map(join).collect()
    });
    // The stream waits for nobody once its receiver is gone.
    drop(next);
    results.into_iter().sum()
}

/// A lock that no holder leaves poisoned: their panic ends the run.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
