//! Records scattered by user: in memory while they fit, on disk else.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::record::Record;
use super::spill::{Extent, SpillFile};
use super::stop::Stop;
use crate::error::Result;
use crate::parallel::lock;

/// Records of one block: 64 KiB, which the disk takes gladly.
pub(super) const BLOCK: usize = 2048;

/// Bytes of one block.
pub(super) const BLOCK_BYTES: u64 = (BLOCK * size_of::<Record>()) as u64;

/// All records of a run, or of one partition that is split again.
///
/// A user's records are all in one partition. Full blocks stay in memory until they would take
/// more than the budget; then partition after partition moves to disk, from the last one down,
/// and what comes for it later follows at once.
pub(super) struct Store<'s> {
    partitions: Vec<Mutex<Partition>>,
    /// Which bits of the user's hash name the partition.
    skip: u32,
    bits: u32,
    /// Partitions from here on are on disk, or on their way.
    first_on_disk: AtomicUsize,
    room: &'s Room<'s>,
}

/// Where records can be, for all stores of a run, and until when.
pub(super) struct Room<'c> {
    pub(super) memory: Memory,
    pub(super) spill: SpillFile,
    pub(super) stop: Stop<'c>,
}

/// Bytes of full blocks in memory, of all stores of a run, and how many there may be.
pub(super) struct Memory {
    used: AtomicU64,
    limit: u64,
}

impl Memory {
    pub(super) fn new(limit: u64) -> Self {
        Memory { used: AtomicU64::new(0), limit }
    }

    fn add(&self, blocks: usize) {
        self.used.fetch_add(blocks as u64 * BLOCK_BYTES, Ordering::Relaxed);
    }

    fn free(&self, blocks: usize) {
        self.used.fetch_sub(blocks as u64 * BLOCK_BYTES, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.limit
    }
}

/// All records of some users.
#[derive(Default)]
pub(super) struct Partition {
    blocks: Vec<Vec<Record>>,
    extents: Vec<Extent>,
    on_disk: bool,
    /// How many records.
    pub(super) records: usize,
    /// Has it more than one user? Known only while `records` is not zero.
    pub(super) is_mixed: bool,
    first_user: [u64; 2],
}

impl Partition {
    /// Is a part of it on disk?
    pub(super) fn is_on_disk(&self) -> bool {
        self.on_disk
    }

    fn count(&mut self, block: &[Record]) {
        if self.records == 0
            && let Some(first) = block.first()
        {
            self.first_user = first.user;
        }
        self.records += block.len();
        self.is_mixed = self.is_mixed || block.iter().any(|r| r.user != self.first_user);
    }

    /// Its blocks that are on disk.
    pub(super) fn load(&self, store: &Store) -> Result<Vec<Vec<Record>>> {
        let load = |extent| {
            let mut block = Vec::new();
            store.read(extent, &mut block)?;
            Ok(block)
        };
        self.extents.iter().map(load).collect()
    }

    /// Its blocks that are in memory.
    pub(super) fn blocks(&self) -> &[Vec<Record>] {
        &self.blocks
    }

    /// Shows all its blocks, one by one.
    pub(super) fn each_block(
        &self,
        store: &Store,
        mut show: impl FnMut(&[Record]) -> Result<()>,
    ) -> Result<()> {
        for block in &self.blocks {
            store.check()?;
            show(block)?;
        }
        let mut buffer = Vec::new();
        for extent in &self.extents {
            store.read(extent, &mut buffer)?;
            show(&buffer)?;
        }
        Ok(())
    }

    /// Gives its memory back.
    pub(super) fn free(self, store: &Store) {
        store.room.memory.free(self.blocks.len());
    }
}

impl<'s> Store<'s> {
    /// An empty store of 2^`bits` partitions, by the bits of the user's hash after `skip`.
    pub(super) fn new(skip: u32, bits: u32, room: &'s Room) -> Self {
        let count = 1usize << bits;
        Store {
            partitions: (0..count).map(|_| Mutex::default()).collect(),
            skip,
            bits,
            first_on_disk: AtomicUsize::new(count),
            room,
        }
    }

    /// An empty store for the parts of one partition.
    pub(super) fn of_parts(&self, skip: u32, bits: u32) -> Store<'s> {
        Store::new(skip, bits, self.room)
    }

    /// Bits of the user's hash that are the same within a partition.
    pub(super) fn shared_bits(&self) -> u32 {
        self.skip + self.bits
    }

    /// All partitions, once all records are in.
    pub(super) fn take_partitions(&self) -> Vec<Partition> {
        self.partitions.iter().map(|p| std::mem::take(&mut *lock(p))).collect()
    }

    /// What asks the run to stop.
    pub(super) fn stop(&self) -> &Stop<'_> {
        &self.room.stop
    }

    /// Is there still somebody who wants the records? Asked before every block.
    ///
    /// # Errors
    /// Ctrl-C.
    pub(super) fn check(&self) -> Result<()> {
        self.room.stop.check()
    }

    fn read(&self, extent: &Extent, block: &mut Vec<Record>) -> Result<()> {
        self.check()?;
        self.room.spill.read(extent, block)
    }

    fn write(&self, block: &[Record]) -> Result<Extent> {
        self.check()?;
        self.room.spill.write(block)
    }

    /// Takes a block of one partition; gives an empty one to go on with.
    fn keep(&self, place: usize, mut block: Vec<Record>) -> Result<Vec<Record>> {
        self.check()?;
        let mut partition = lock(&self.partitions[place]);
        partition.count(&block);
        if partition.on_disk {
            // Others need not wait for the disk, should most blocks go to one partition.
            drop(partition);
            let extent = self.write(&block)?;
            lock(&self.partitions[place]).extents.push(extent);
            block.clear();
            return Ok(block);
        }
        partition.blocks.push(block);
        drop(partition);
        self.room.memory.add(1);
        while self.room.memory.is_over() && self.move_one_to_disk()? {}
        Ok(Vec::with_capacity(BLOCK))
    }

    /// Moves the next partition to disk; false if there is none left.
    fn move_one_to_disk(&self) -> Result<bool> {
        let less = |place: usize| place.checked_sub(1);
        let moved = self.first_on_disk.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        let Ok(place) = moved else { return Ok(false) };
        let partition = &self.partitions[place - 1];
        let blocks = {
            let mut partition = lock(partition);
            partition.on_disk = true;
            std::mem::take(&mut partition.blocks)
        };
        for block in blocks {
            let extent = self.write(&block)?;
            lock(partition).extents.push(extent);
            self.room.memory.free(1);
        }
        Ok(true)
    }
}

/// Scatters records into a store; one for each thread.
pub(super) struct Scatter<'s> {
    store: &'s Store<'s>,
    /// For each partition, a block that is not full.
    open: Vec<Vec<Record>>,
}

impl<'s> Scatter<'s> {
    pub(super) fn new(store: &'s Store<'s>) -> Self {
        Scatter { store, open: vec![Vec::new(); store.partitions.len()] }
    }

    /// Bytes that the open blocks of one thread may take.
    pub(super) fn bytes(bits: u32) -> u64 {
        BLOCK_BYTES << bits
    }

    pub(super) fn put(&mut self, record: Record) -> Result<()> {
        let place = record.user_bits(self.store.skip, self.store.bits);
        let block = &mut self.open[place];
        if block.len() == block.capacity() {
            self.make_room(place)?;
        }
        self.open[place].push(record);
        Ok(())
    }

    /// Blocks of small runs stay small.
    fn make_room(&mut self, place: usize) -> Result<()> {
        let block = &mut self.open[place];
        if block.len() < BLOCK {
            block.reserve_exact((block.len() * 7).clamp(32, BLOCK - block.len()));
            return Ok(());
        }
        *block = self.store.keep(place, std::mem::take(block))?;
        Ok(())
    }

    /// Hands over what is left.
    pub(super) fn finish(self) -> Result<()> {
        for (place, block) in self.open.into_iter().enumerate() {
            if !block.is_empty() {
                self.store.keep(place, block)?;
            }
        }
        Ok(())
    }
}
