//! The engine for one machine.
//!
//! One scan turns payments into fixed-width records, scattered into partitions by user; then each
//! partition is sorted by user, and every statistic of every level is fitted and added up from
//! the same records, partition by partition, on all threads.

mod fit;
mod records;
mod totals;

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Engine, ExactTotals};
use crate::error::{Error, Result};
use crate::payments::{Scan, ScanControl};
use crate::plan::Plan;
use fit::{Fitter, LevelIndex};
use records::Records;
use totals::Sums;

/// The engine for one machine.
pub struct Local<'a> {
    /// How it can be watched and stopped.
    pub control: ScanControl<'a>,
    /// Threads for fitting; at least 1.
    pub threads: usize,
}

impl Engine for Local<'_> {
    fn totals(&self, plan: &Plan) -> Result<ExactTotals> {
        let mut records = Records::new(plan)?;
        Scan::open(plan)?.run(self.control, |payment| {
            records.add(payment);
            Ok(())
        })?;
        // records: 256 partitions; all payments of a user in one of them, in any order
        let indexes: Vec<LevelIndex> =
            plan.levels.iter().map(|level| LevelIndex::new(plan, level, &records)).collect();
        let sums = self.fit_partitions(plan, &mut records, &indexes)?;
        // sums: level → statistic → cell → total in grid units
        let levels = sums.into_iter().zip(&indexes).map(|(sums, index)| sums.resolve(index));
        Ok(ExactTotals { levels: levels.collect() })
    }
}

impl Local<'_> {
    /// Sorts and fits all partitions; any thread may take any of them.
    fn fit_partitions(
        &self,
        plan: &Plan,
        records: &mut Records,
        indexes: &[LevelIndex],
    ) -> Result<Vec<Sums>> {
        let partitions = records.take_partitions();
        let partitions: Vec<_> =
            partitions.into_iter().map(|p| std::sync::Mutex::new(Some(p))).collect();
        let next = AtomicUsize::new(0);
        let work = || -> Result<Vec<Sums>> {
            let mut fitter = Fitter::new(plan, indexes);
            while let Some(partition) = partitions.get(next.fetch_add(1, Ordering::Relaxed)) {
                if self.control.cancelled.load(Ordering::Relaxed) {
                    return Err(Error::cancelled());
                }
                let taken = partition.lock().expect("cannot fail because no holder panics").take();
                let mut partition = taken.expect("cannot fail because each is taken once");
                partition.sort_unstable_by_key(|record| record.user);
                for user in partition.chunk_by(|a, b| a.user == b.user) {
                    fitter.add_user(user);
                }
            }
            Ok(fitter.into_sums())
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..self.threads.max(1)).map(|_| scope.spawn(work)).collect();
            let mut merged: Option<Vec<Sums>> = None;
            for worker in workers {
                let sums =
                    worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                merged = Some(match merged {
                    None => sums,
                    Some(all) => all.into_iter().zip(sums).map(|(a, b)| a.merge(b)).collect(),
                });
            }
            Ok(merged.expect("cannot fail because there is at least one thread"))
        })
    }
}
