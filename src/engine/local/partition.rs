//! One partition after the other: all records of a user together, then into the totals.

use super::record::Record;
use super::store::{BLOCK, Partition, Scatter, Store};
use crate::error::Result;

/// Bits of the hash by which a partition that is too large is split again.
const SPLIT_BITS: u32 = 6;

/// Records of a bucket within a partition, about: few users, sorted in no time.
const BUCKET: usize = 32;

/// What is done with users, one after the other; one for each thread.
pub(super) trait Users {
    /// Some payments of the user at hand.
    ///
    /// # Errors
    /// There are more cells than places for them.
    fn add(&mut self, records: &[Record]) -> Result<()>;

    /// That were all of them.
    ///
    /// # Errors
    /// There are more cells than places for them.
    fn finish_user(&mut self) -> Result<()>;
}

/// Puts partitions into user order and hands their users on; one for each thread.
pub(super) struct Worker<U> {
    users: U,
    /// A partition of more records than this is not sorted in memory.
    records_max: usize,
    /// Kept between partitions.
    sorted: Vec<Record>,
}

impl<U: Users> Worker<U> {
    /// One that sorts in `memory` bytes.
    pub(super) fn new(users: U, memory: u64) -> Self {
        // A partition stands in memory twice while it is sorted.
        let records_max = (memory as usize / 2 / size_of::<Record>()).max(BUCKET);
        Worker { users, records_max, sorted: Vec::new() }
    }

    pub(super) fn into_users(self) -> U {
        self.users
    }

    /// Hands on all users of a partition whose hashes share their first `skip` bits.
    pub(super) fn add(&mut self, partition: &Partition, store: &Store, skip: u32) -> Result<()> {
        if partition.records <= self.records_max {
            self.sort(partition, store, skip)?;
            for user in self.sorted.chunk_by(|a, b| a.user == b.user) {
                for block in user.chunks(BLOCK) {
                    store.check()?;
                    self.users.add(block)?;
                }
                self.users.finish_user()?;
            }
            return Ok(());
        }
        if !partition.is_mixed {
            // One user with very many payments: nothing to sort.
            partition.each_block(store, |records| self.users.add(records))?;
            return self.users.finish_user();
        }
        let parts = store.of_parts(skip, SPLIT_BITS);
        let mut scatter = Scatter::new(&parts);
        partition.each_block(store, |records| records.iter().try_for_each(|&r| scatter.put(r)))?;
        scatter.finish()?;
        let (taken, shared) = (parts.take_partitions(), parts.shared_bits());
        for part in taken {
            self.add(&part, &parts, shared)?;
            part.free(&parts);
        }
        Ok(())
    }

    /// Fills `sorted` with the partition's records, each user's next to each other.
    fn sort(&mut self, partition: &Partition, store: &Store, skip: u32) -> Result<()> {
        let bits = (partition.records / BUCKET).max(1).ilog2().min(128 - skip);
        let loaded = partition.load(store)?;
        let blocks = || loaded.iter().chain(partition.blocks());
        let mut ends = vec![0usize; (1 << bits) + 1];
        for block in blocks() {
            store.check()?;
            for record in block {
                ends[record.user_bits(skip, bits) + 1] += 1;
            }
        }
        for bucket in 0..1 << bits {
            ends[bucket + 1] += ends[bucket];
        }
        // ends: for each bucket its start, which moves to its end while records come in
        self.sorted.resize(ends[1 << bits], Record::default());
        for block in blocks() {
            store.check()?;
            for record in block {
                let end = &mut ends[record.user_bits(skip, bits)];
                self.sorted[*end] = *record;
                *end += 1;
            }
        }
        drop(loaded);
        let mut start = 0;
        for &end in &ends[..1 << bits] {
            store.check()?;
            self.sorted[start..end].sort_unstable_by_key(|record| record.user);
            start = end;
        }
        Ok(())
    }
}
