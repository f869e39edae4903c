//! Ctrl-C between blocks, and payments that are spread unevenly.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::partition::{Users, Worker};
use super::record::{Codes, Record};
use super::spill::SpillFile;
use super::stop::Stop;
use super::store::{BLOCK, Memory, Partition, Room, Scatter, Store};
use super::{Local, Ordering, Work};
use crate::error::{ErrorClass, Result};
use crate::fixture::{Market, Row};
use crate::payments::{Progress, ScanControl};

/// Runs `test` with a room for `memory` bytes of records.
fn in_room(memory: u64, cancelled: &AtomicBool, test: impl FnOnce(&Room)) {
    let folder = tempfile::tempdir().expect("a folder");
    test(&Room {
        memory: Memory::new(memory),
        spill: SpillFile::new(folder.path()).expect("a file"),
        stop: Stop::new(cancelled),
    });
}

fn record(user: u64) -> Record {
    // Users are told apart, and scattered, by the first bits of what is a hash elsewhere.
    Record { user: [user.wrapping_mul(0x9E37_79B9_7F4A_7C15), user], ..Record::default() }
}

fn fill(store: &Store, records: impl IntoIterator<Item = Record>) {
    let mut scatter = Scatter::new(store);
    records.into_iter().try_for_each(|record| scatter.put(record)).expect("nobody has stopped");
    scatter.finish().expect("nobody has stopped");
}

/// Sets the flag at the first records that it sees.
struct Stopper<'c> {
    cancelled: &'c AtomicBool,
    seen: usize,
}

impl Users for Stopper<'_> {
    fn add(&mut self, records: &[Record]) -> Result<()> {
        self.cancelled.store(true, Ordering::Relaxed);
        self.seen += records.len();
        Ok(())
    }

    fn finish_user(&mut self) -> Result<()> {
        Ok(())
    }
}

#[test]
fn ctrl_c_is_heard_before_the_next_block_of_any_partition() {
    const COUNT: u64 = 10 * BLOCK as u64;
    const AMPLE: u64 = 1 << 30;
    // Users that share a partition; where its records are; whether it is sorted in memory.
    for (users, memory, sorted_in) in [
        (1, AMPLE, AMPLE),
        (1, AMPLE, 0),
        (1, 0, 0),
        (900, AMPLE, AMPLE),
        (900, 0, AMPLE),
        (900, 0, 0),
    ] {
        for is_deaf in [false, true] {
            let cancelled = AtomicBool::new(false);
            in_room(memory, &cancelled, |room| {
                let store = Store::new(0, 0, room);
                fill(&store, (0..COUNT).map(|at| record(at % users)));
                let partition = store.take_partitions().remove(0);
                assert_eq!(partition.is_on_disk(), memory == 0);
                let mut worker = Worker::new(Stopper { cancelled: &cancelled, seen: 0 }, sorted_in);
                if is_deaf {
                    room.stop.ignore();
                }
                let added = worker.add(&partition, &store, store.shared_bits());
                let (seen, case) = (worker.into_users().seen, (users, memory, sorted_in));
                if is_deaf {
                    added.unwrap_or_else(|error| panic!("{case:?}: {error}"));
                    assert_eq!(seen as u64, COUNT, "{case:?}");
                } else {
                    assert_eq!(added.expect_err("stopped").class(), ErrorClass::Cancelled);
                    assert!(seen <= BLOCK, "{case:?}: {seen} records after Ctrl-C");
                }
            });
        }
    }
}

/// The flag is up before a step starts: each step looks at it before its first block.
#[test]
fn no_step_starts_after_ctrl_c() {
    let cancelled = AtomicBool::new(false);
    let is_stopped = |result: Result<()>| {
        assert_eq!(result.expect_err("stopped").class(), ErrorClass::Cancelled);
    };
    in_room(0, &cancelled, |room| {
        let store = Store::new(0, 0, room);
        fill(&store, (0..BLOCK as u64).map(record));
        let on_disk = store.take_partitions().remove(0);
        let mut scatter = Scatter::new(&store);
        scatter.put(record(1)).expect("room for one");
        cancelled.store(true, Ordering::Relaxed);
        is_stopped(scatter.finish());
        is_stopped(on_disk.load(&store).map(drop));
        is_stopped(on_disk.each_block(&store, |_| panic!("a block after Ctrl-C")));
    });
}

/// A user or merchant of the tests below with most payments.
const HEAVY: u32 = 7;

fn rows(count: u32, at_heavy_merchant: impl Fn(u32) -> bool) -> Vec<Row> {
    let row = |at: u32| Row {
        user: at % 400,
        merchant: if at_heavy_merchant(at) { HEAVY } else { at % 10 },
        minute: at * 7 % 170_000,
        amount: i64::from(at) * 37 % 9_000 - 500,
        wallet: at % 3,
    };
    (0..count).map(row).collect()
}

const REPORT: &str = "levels = [[\"merchant\"]]\nkeys = \"public\"\ninsights = [\"customers\"]\n\
                      bounds = { customers = 1 }";

/// The records of each user that is done.
#[derive(Default)]
struct Counter {
    done: Vec<usize>,
    at_hand: usize,
}

impl Users for Counter {
    fn add(&mut self, records: &[Record]) -> Result<()> {
        self.at_hand += records.len();
        Ok(())
    }

    fn finish_user(&mut self) -> Result<()> {
        self.done.push(std::mem::take(&mut self.at_hand));
        Ok(())
    }
}

/// Each block has one user, and the partition two, which must not be taken for one: they would
/// share a bound.
#[test]
fn users_of_whole_blocks_are_told_apart() {
    let never = AtomicBool::new(false);
    for memory in [1 << 30, 0] {
        in_room(memory, &never, |room| {
            let store = Store::new(0, 0, room);
            let block = |user: u64| (0..BLOCK).map(move |_| record(user));
            fill(&store, block(1).chain(block(2)).chain(block(1)));
            let partition = store.take_partitions().remove(0);
            let mut worker = Worker::new(Counter::default(), 0);
            worker.add(&partition, &store, store.shared_bits()).expect("nobody has stopped");
            let mut done = worker.into_users().done;
            done.sort_unstable();
            assert_eq!(done, [BLOCK, 2 * BLOCK], "{memory}");
        });
    }
}

/// Of 64 bits alone two of 100 million users are the same with a chance of 1 in 3,700. Of these 400
/// two share a half by 10^-14.
#[test]
fn users_are_told_apart_by_all_bits_of_their_hash() {
    let market = Market::new(&rows(2_000, |_| false));
    let plan = market.plan(&[REPORT.to_owned()]);
    let never = AtomicBool::new(false);
    in_room(1 << 30, &never, |room| {
        let (codes, store) = (Codes::new(&plan).expect("a key"), Store::new(0, 0, room));
        market.engine(1, 0).read(&plan, &codes, &store, 1 << 30).expect("good payments");
        let partition = store.take_partitions().remove(0);
        let users = || partition.blocks().iter().flatten().map(|record| record.user);
        for half in [0, 1] {
            let halves: BTreeSet<u64> = users().map(|user| user[half]).collect();
            assert_eq!(halves.len(), 400, "half {half}");
        }
    });
}

/// Once the last partition is fitted nothing is paid yet, so Ctrl-C still ends the run.
#[test]
fn ctrl_c_is_heard_after_the_last_partition() {
    let market = Market::new(&rows(5_000, |_| false));
    let plan = market.plan(&[REPORT.to_owned()]);
    let cancelled = AtomicBool::new(false);
    let at_the_end = |step: Progress| {
        if matches!(step, Progress::Fitted { partitions, of } if partitions == of) {
            cancelled.store(true, Ordering::Relaxed);
        }
    };
    let control = ScanControl { cancelled: &cancelled, progress: &at_the_end };
    let engine = Local { control, ..market.engine(1, 3) };
    let totals = super::Engine::totals(&engine, &plan, &mut |_| panic!("no bounds are open"));
    assert_eq!(totals.expect_err("stopped").class(), ErrorClass::Cancelled);
}

/// Payments go to partitions by user, so those at one merchant are spread over all threads.
#[test]
fn a_merchant_with_half_of_all_payments_is_in_all_partitions() {
    let never = AtomicBool::new(false);
    in_room(1 << 30, &never, |room| {
        let store = Store::new(0, 4, room);
        let at = |at: u64| Record { merchant: (at % 2) as u32 * HEAVY, ..record(at / 25) };
        fill(&store, (0..200_000).map(at));
        let largest = store.take_partitions().iter().map(|partition| partition.records).max();
        assert!(largest.is_some_and(|records| records < 200_000 / 16 * 2), "{largest:?}");
    });
}

/// What all threads know of each other.
#[derive(Default)]
struct Board {
    /// Users that are done, in other partitions than the heavy user's.
    others_done: Mutex<usize>,
    change: Condvar,
}

/// Stays with the heavy user until all others are done.
struct Patient<'b> {
    board: &'b Board,
    others: usize,
    at_hand: u64,
    gave_up: bool,
}

const HEAVY_USER: u64 = 0;

fn is_near_heavy(user: u64, bits: u32) -> bool {
    record(user).user_bits(0, bits) == record(HEAVY_USER).user_bits(0, bits)
}

impl Users for Patient<'_> {
    fn add(&mut self, records: &[Record]) -> Result<()> {
        self.at_hand = records[0].user[1];
        if self.at_hand == HEAVY_USER {
            let done = self.board.others_done.lock().expect("nobody panics");
            let waited =
                self.board
                    .change
                    .wait_timeout_while(done, Duration::from_secs(60), |done| *done < self.others);
            self.gave_up |= waited.expect("nobody panics").1.timed_out();
        }
        Ok(())
    }

    fn finish_user(&mut self) -> Result<()> {
        if !is_near_heavy(self.at_hand, 4) {
            *self.board.others_done.lock().expect("nobody panics") += 1;
            self.board.change.notify_all();
        }
        Ok(())
    }
}

/// One thread has the user with a third of all payments from the start; the others do all else
/// meanwhile, whether records are in memory or on disk.
#[test]
fn nobody_waits_for_the_user_with_most_payments() {
    let market = Market::new(&[]);
    let never = AtomicBool::new(false);
    for memory in [1 << 30, 0] {
        in_room(memory, &never, |room| {
            let store = Store::new(0, 4, room);
            let light = (0..40_000).map(|at| record(1 + at % 900));
            fill(&store, light.chain((0..20_000).map(|_| record(HEAVY_USER))));
            let work = Work::new(&store, 1 << 30);
            let first = work.partitions[0].lock().expect("nobody panics");
            let records = first.as_ref().map(|partition: &Partition| partition.records);
            assert!(records.is_some_and(|records| records >= 20_000), "the largest comes first");
            drop(first);
            let others = (1..=900).filter(|&user| !is_near_heavy(user, 4)).count();
            let board = Board::default();
            let make = || Patient { board: &board, others, at_hand: 0, gave_up: false };
            let each = |worker: &mut Worker<Patient>, slot: &Mutex<Option<Partition>>| {
                let partition = slot.lock().expect("nobody panics").take().expect("not yet taken");
                worker.add(&partition, &store, store.shared_bits())
            };
            let done = market.engine(2, 4).on_all_threads(&work, make, each).expect("adds");
            assert!(done.iter().all(|users| !users.gave_up), "others waited for the heavy user");
        });
    }
}
