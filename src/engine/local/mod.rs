//! The engine for one machine.
//!
//! One scan turns payments into records of 32 bytes, scattered into partitions by user; then each
//! partition is put into user order, and every statistic of every level is fitted and added up
//! from the same records, partition by partition, on all threads. What does not fit in memory
//! waits on disk. The totals do not depend on threads, partitions, order or memory.

mod cells;
mod changes;
mod discover;
mod extras;
mod fit;
mod homes;
mod partition;
mod record;
mod spill;
mod stop;
mod store;
mod survey;
#[cfg(test)]
mod tests;
mod totals;
mod user;
mod users;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::{Engine, ExactSurveys, ExactTotals, Settle};
use crate::error::{Error, Result};
use crate::findings;
use crate::parallel::lock;
use crate::payments::{Batch, Progress, Scan, ScanControl};
use crate::plan::{LevelPlan, Plan};
use cells::CellFinder;
use discover::Discoverer;
use fit::Fitter;
use partition::{Users, Worker};
use record::{Codes, Encoder};
use spill::SpillFile;
use stop::Stop;
use store::{Memory, Partition, Room, Scatter, Store};
use survey::Surveyor;
use totals::Sums;

/// The engine for one machine.
#[derive(Clone)]
pub struct Local<'a> {
    /// How it can be watched and stopped.
    pub control: ScanControl<'a>,
    /// Threads; at least 1.
    pub threads: usize,
    /// Bytes of memory that records and totals may take.
    pub memory: u64,
    /// Folder for what does not fit.
    pub spill_folder: PathBuf,
    /// Partitions by this many bits of the users' hashes.
    pub partition_bits: u32,
}

impl Local<'_> {
    /// Enough partitions to keep each within the processor's cache at 100 million payments.
    pub const PARTITION_BITS: u32 = 8;

    /// The least memory that a run gets.
    pub const MEMORY_MIN: u64 = 512 << 20;
}

impl Engine for Local<'_> {
    fn totals(&self, plan: &Plan, settle: Settle) -> Result<(Plan, ExactTotals)> {
        let free = self.memory_beside_totals(plan)?;
        // What polars holds while it reads, measured: about this much, whatever the files' size.
        let reader = (free / 8 * 7).min(1 << 30);
        let room = Room {
            memory: Memory::new(free - reader),
            spill: SpillFile::new(&self.spill_folder)?,
            stop: Stop::new(self.control.cancelled),
        };
        let codes = Codes::new(plan)?;
        let store = Store::new(0, self.partition_bits, &room);

        let started = Instant::now();
        self.read(plan, &codes, &store, reader)?;
        tracing::info!("payments read in {:.1} s", started.elapsed().as_secs_f64());
        // store: 2^partition_bits partitions; all payments of a user in one of them, in any order
        let finder = CellFinder::new(plan, &codes)?;
        let work = Work::new(&store, reader / self.threads as u64);
        let mut plan = plan.clone();
        while !plan.is_settled() {
            let started = Instant::now();
            let (what, asked) = match plan.is_seeking() {
                true => ("looked for keys", self.discover(&plan, &finder, &work)?),
                false => ("surveyed", self.survey(&plan, &finder, &work)?),
            };
            tracing::info!("users {what} in {:.1} s", started.elapsed().as_secs_f64());
            plan = settle(asked)?;
            room.stop.ignore();
        }
        let started = Instant::now();
        let sums = self.fit(&plan, &finder, &work)?;
        // sums: level → cell → statistics, totals in grid units
        let levels = sums.into_iter().zip(finder.levels).zip(&plan.levels);
        let levels = levels.map(|((sums, index), level)| {
            let columns = index.asked.columns();
            Ok(sums.resolve(&index, columns, &room.stop)?.with_always(level))
        });
        let totals = ExactTotals { levels: levels.collect::<Result<_>>()? };
        room.stop.check()?;
        tracing::info!("users fitted in {:.1} s", started.elapsed().as_secs_f64());
        Ok((plan, totals))
    }
}

impl Local<'_> {
    /// What public cells, their totals and the open blocks of all threads take, in bytes.
    fn fixed_memory(&self, plan: &Plan) -> u64 {
        let totals = |level: &LevelPlan| Sums::bytes(level, level.public_cells(&plan.job));
        let totals: u64 = plan.levels.iter().map(totals).sum();
        // At the end one thread's totals become whole ones, of 64 bits.
        let copies = self.threads.max(3) as u64;
        let blocks = self.threads as u64 * Scatter::bytes(self.partition_bits);
        copies * totals + plan.key_bytes() + blocks
    }

    /// The least memory with which the engine can do a plan, in bytes.
    pub fn memory_least(&self, plan: &Plan) -> u64 {
        self.fixed_memory(plan) + self.threads as u64 * 4 * store::BLOCK_BYTES
    }

    /// What totals and open blocks leave for all else, in bytes.
    fn memory_beside_totals(&self, plan: &Plan) -> Result<u64> {
        let least = self.memory_least(plan);
        if self.memory < least {
            return Err(Error::invalid(findings::memory_too_small(self.memory, least)));
        }
        Ok(self.memory - self.fixed_memory(plan))
    }

    /// Scatters all payments, read in about `memory` bytes.
    fn read(&self, plan: &Plan, codes: &Codes, store: &Store, memory: u64) -> Result<()> {
        let mut scatters: Vec<_> = (0..self.threads).map(|_| Scatter::new(store)).collect();
        let sink = |scatter| {
            let mut encoder = Encoder::new(codes);
            let scatter: &mut Scatter = scatter;
            move |batch: &Batch| encoder.encode(batch, |record| scatter.put(record))
        };
        let sinks = scatters.iter_mut().map(sink).collect();
        Scan::open(plan)?.run(self.control, memory, sinks)?;
        scatters.into_iter().try_for_each(Scatter::finish)
    }

    /// What the surveys of a plan count.
    fn survey(&self, plan: &Plan, finder: &CellFinder, work: &Work) -> Result<ExactSurveys> {
        let surveyors = self.look(work, || Surveyor::new(plan, finder))?;
        Ok(Surveyor::merge(plan, surveyors))
    }

    /// The next round of each level that has one.
    fn discover(&self, plan: &Plan, finder: &CellFinder, work: &Work) -> Result<ExactSurveys> {
        let discoverers = self.look(work, || Discoverer::new(plan, finder))?;
        let all = merged(discoverers.into_iter().map(Discoverer::into_sums), work)?;
        let seeking = plan.levels.iter().zip(&finder.levels).filter(|(l, _)| l.round().is_some());
        let round = all.into_iter().zip(seeking);
        let round = round.map(|(sums, (_, index))| {
            sums.resolve(index, std::iter::once(0..1), work.store.stop())
        });
        Ok(ExactSurveys { surveys: Vec::new(), round: round.collect::<Result<_>>()? })
    }

    /// Has all threads look at all users, and leaves the partitions as they are.
    fn look<U: Users + Send>(&self, work: &Work, make: impl Fn() -> U + Sync) -> Result<Vec<U>> {
        let each = |worker: &mut Worker<U>, slot: &Mutex<Option<Partition>>| {
            // Nobody else comes to this partition before all are done.
            let partition = lock(slot);
            let partition = partition.as_ref().expect("cannot fail because none is taken yet");
            worker.add(partition, work.store, work.store.shared_bits())
        };
        self.on_all_threads(work, make, each)
    }

    /// Fits all users and adds them up; frees the partitions.
    fn fit(&self, plan: &Plan, finder: &CellFinder, work: &Work) -> Result<Vec<Sums>> {
        let each = |worker: &mut Worker<_>, slot: &Mutex<Option<Partition>>| {
            let partition = lock(slot).take().expect("cannot fail because each is taken once");
            worker.add(&partition, work.store, work.store.shared_bits())?;
            partition.free(work.store);
            Ok(())
        };
        let fitters = self.on_all_threads(work, || Fitter::new(plan, finder), each)?;
        merged(fitters.into_iter().map(Fitter::into_sums), work)
    }

    /// Has all threads take one partition after the other; gives what `make` made for each thread.
    fn on_all_threads<U: Users + Send>(
        &self,
        work: &Work,
        make: impl Fn() -> U + Sync,
        each: impl Fn(&mut Worker<U>, &Mutex<Option<Partition>>) -> Result<()> + Sync,
    ) -> Result<Vec<U>> {
        let next = AtomicUsize::new(0);
        let run = || -> Result<U> {
            let mut worker = Worker::new(make(), work.memory_each);
            while let Some(slot) = work.partitions.get(next.fetch_add(1, Ordering::Relaxed)) {
                work.store.check()?;
                each(&mut worker, slot)
                    .inspect_err(|_| tracing::info!("stopped within a partition"))?;
                let of = work.partitions.len();
                let partitions = next.load(Ordering::Relaxed).min(of);
                (self.control.progress)(Progress::Fitted { partitions, of });
            }
            Ok(worker.into_users())
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads).map(|_| scope.spawn(run)).collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, Result<U>>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            threads.into_iter().map(join).collect()
        })
    }
}

/// The totals of all threads together, level by level.
fn merged(mut each: impl Iterator<Item = Vec<Sums>>, work: &Work) -> Result<Vec<Sums>> {
    let mut all = each.next().expect("cannot fail because there is at least one thread");
    for sums in each {
        for (all, sums) in all.iter_mut().zip(sums) {
            work.store.check()?;
            all.merge(sums)?;
        }
    }
    Ok(all)
}

/// The partitions of a run, for threads to take.
struct Work<'s> {
    store: &'s Store<'s>,
    partitions: Vec<Mutex<Option<Partition>>>,
    /// Bytes in which each thread sorts.
    memory_each: u64,
}

impl<'s> Work<'s> {
    fn new(store: &'s Store<'s>, memory_each: u64) -> Self {
        let mut partitions = store.take_partitions();
        // Those in memory first, to make room; large ones first, so that none comes late alone.
        partitions.sort_by_key(|p| (p.is_on_disk(), std::cmp::Reverse(p.records)));
        let partitions = partitions.into_iter().map(|p| Mutex::new(Some(p))).collect();
        Work { store, partitions, memory_each }
    }
}
