//! Payments as records of 32 bytes, and what their codes stand for.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

use siphasher::sip128::SipHasher24;

use crate::error::{Error, Result};
use crate::findings;
use crate::parallel::lock;
use crate::payments::Batch;
use crate::plan::Plan;

/// One payment: 32 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Keyed 128-bit hash of the user. 64 bits would let two users share one bound.
    pub(super) user: [u64; 2],
    /// Minor units.
    pub(super) amount: i64,
    /// Place in the registry or in [`Codes::merchants`].
    pub(super) merchant: u32,
    /// Time slot in the low bits, place in [`Codes::rest`] in the high ones; see [`Slots`].
    pub(super) slot_and_rest: u32,
}

impl Record {
    /// `count` bits of the user's hash after the first `skip`.
    pub(super) fn user_bits(&self, skip: u32, count: u32) -> usize {
        let hash = u128::from(self.user[0]) << 64 | u128::from(self.user[1]);
        if count == 0 { 0 } else { ((hash << skip) >> (128 - count)) as usize }
    }
}

/// A map for short keys in hot loops.
pub(super) type QuickMap<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// The hours of a period, as far as some level tells them apart.
pub(super) struct Slots {
    /// The slot of each hour.
    of_hour: Vec<u32>,
    /// One hour of each slot.
    pub(super) hours: Vec<usize>,
    /// How many bits of a record hold the slot.
    bits: u32,
}

impl Slots {
    fn new(plan: &Plan) -> Self {
        let hours = plan.job.payments.period.days() as usize * 24;
        let (mut known, mut first) = (HashMap::new(), Vec::new());
        // Visits are counted by the day, whatever levels tell apart.
        let day = |hour: usize| if plan.counts_visits() { hour as u32 / 24 } else { 0 };
        let of_hour = (0..hours)
            .map(|hour| {
                let groups = plan.levels.iter().map(|level| level.cells.times.group_of[hour]);
                let groups = groups.chain(std::iter::once(day(hour)));
                *known.entry(groups.collect::<Vec<u32>>()).or_insert_with(|| {
                    first.push(hour);
                    first.len() as u32 - 1
                })
            })
            .collect();
        let bits = usize::BITS - (first.len() - 1).leading_zeros();
        Slots { of_hour, hours: first, bits }
    }

    /// The slot and the place in [`Codes::rest`] of a record.
    pub(super) fn split(&self, record: &Record) -> (usize, usize) {
        let slot = record.slot_and_rest & ((1 << self.bits) - 1);
        (slot as usize, (record.slot_and_rest >> self.bits) as usize)
    }

    /// The day of a record, from the period's first; right only where some level counts visits.
    pub(super) fn day(&self, record: &Record) -> usize {
        self.hours[self.split(record).0] / 24
    }

    /// The other way; `None` if there are more combinations than fit.
    fn join(&self, slot: u32, rest: u32) -> Option<u32> {
        u32::try_from(u64::from(rest) << self.bits | u64::from(slot)).ok()
    }
}

/// What the codes of records stand for. Grows while payments are read, on all threads.
pub(super) struct Codes {
    pub(super) slots: Slots,
    /// Merchants, if there is no registry.
    pub(super) merchants: Interner<str>,
    /// Values of each column of the plan, then of the currency.
    pub(super) columns: Vec<Interner<str>>,
    /// Distinct combinations of codes of `columns`.
    pub(super) rest: Interner<[u32]>,
    has_registry: bool,
    /// The privacy unit's period of each day; `None` if users are protected as a whole.
    unit_of_day: Option<Vec<u32>>,
    /// Tells users apart by a key that nobody knows.
    hasher: SipHasher24,
}

impl Codes {
    /// A new key for the user hash, from the operating system.
    pub(super) fn new(plan: &Plan) -> Result<Self> {
        let mut key = [0u8; 16];
        getrandom::fill(&mut key)
            .map_err(|e| Error::environment(findings::randomness_missing(&e)))?;
        let columns = plan.columns.len() + usize::from(plan.job.payments.currency.is_some());
        Ok(Codes {
            slots: Slots::new(plan),
            merchants: Interner::default(),
            columns: (0..columns).map(|_| Interner::default()).collect(),
            rest: Interner::default(),
            has_registry: plan.job.registry.is_some(),
            unit_of_day: (plan.unit_periods() > 1)
                .then(|| plan.job.privacy.unit.periods(plan.job.payments.period)),
            hasher: SipHasher24::new_with_key(&key),
        })
    }
}

/// Texts, or lists of codes, numbered in the order in which they come.
pub(super) struct Interner<T: ?Sized>(Mutex<Interned<T>>);

struct Interned<T: ?Sized> {
    values: Vec<Arc<T>>,
    codes: QuickMap<Arc<T>, u32>,
}

impl<T: ?Sized> Default for Interner<T> {
    fn default() -> Self {
        Interner(Mutex::new(Interned { values: Vec::new(), codes: QuickMap::default() }))
    }
}

impl<T: ?Sized + Hash + Eq> Interner<T>
where
    for<'a> Arc<T>: From<&'a T>,
{
    fn code(&self, value: &T) -> (Arc<T>, u32) {
        let mut all = lock(&self.0);
        if let Some((value, &code)) = all.codes.get_key_value(value) {
            return (value.clone(), code);
        }
        let (value, code): (Arc<T>, u32) = (value.into(), all.values.len() as u32);
        all.values.push(value.clone());
        all.codes.insert(value.clone(), code);
        (value, code)
    }

    /// All values, in the order of their codes.
    pub(super) fn values(&self) -> Vec<Arc<T>> {
        lock(&self.0).values.clone()
    }
}

/// What one thread remembers of an interner, so that it seldom waits for the others.
struct Cache<'c, T: ?Sized> {
    shared: &'c Interner<T>,
    codes: QuickMap<Arc<T>, u32>,
}

impl<'c, T: ?Sized + Hash + Eq> Cache<'c, T>
where
    for<'a> Arc<T>: From<&'a T>,
{
    fn new(shared: &'c Interner<T>) -> Self {
        Cache { shared, codes: QuickMap::default() }
    }

    fn code(&mut self, value: &T) -> u32 {
        if let Some(&code) = self.codes.get(value) {
            return code;
        }
        let (value, code) = self.shared.code(value);
        self.codes.insert(value, code);
        code
    }
}

/// Turns batches into records; one for each thread.
pub(super) struct Encoder<'c> {
    codes: &'c Codes,
    merchants: Cache<'c, str>,
    columns: Vec<Cache<'c, str>>,
    rest: Cache<'c, [u32]>,
    /// Kept between batches: codes row by row, `columns` numbers a row; then merchants.
    row_codes: Vec<u32>,
    merchant_codes: Vec<u32>,
    /// A unit's period and token, for its hash.
    unit_token: Vec<u8>,
}

impl<'c> Encoder<'c> {
    pub(super) fn new(codes: &'c Codes) -> Self {
        Encoder {
            codes,
            merchants: Cache::new(&codes.merchants),
            columns: codes.columns.iter().map(Cache::new).collect(),
            rest: Cache::new(&codes.rest),
            row_codes: Vec::new(),
            merchant_codes: Vec::new(),
            unit_token: Vec::new(),
        }
    }

    /// Hands over each payment as a record.
    pub(super) fn encode(
        &mut self,
        batch: &Batch,
        mut put: impl FnMut(Record) -> Result<()>,
    ) -> Result<()> {
        let width = self.columns.len();
        self.row_codes.clear();
        self.row_codes.resize(batch.len() * width, 0);
        for (place, column) in self.columns.iter_mut().enumerate() {
            let places = self.row_codes.iter_mut().skip(place).step_by(width);
            let mut code_of = remember_last(|text| column.code(text));
            places.zip(batch.rest(place)).for_each(|(code, text)| *code = code_of(text));
        }
        self.merchant_codes.clear();
        match batch.merchants().filter(|_| !self.codes.has_registry) {
            Some(ids) => self.merchant_codes.extend(ids.map(|id| self.merchants.code(id))),
            None => self.merchant_codes.extend_from_slice(batch.merchant_codes()),
        }
        let slots = &self.codes.slots;
        let mut rest_of = remember_last(|codes| self.rest.code(codes));
        for (row, user) in batch.users().enumerate() {
            let rest = rest_of(&self.row_codes[row * width..][..width]);
            let slot = slots.of_hour[batch.hours()[row] as usize];
            let hash = match &self.codes.unit_of_day {
                None => self.codes.hasher.hash(user.as_bytes()),
                Some(unit_of_day) => {
                    let unit = unit_of_day[batch.hours()[row] as usize / 24];
                    self.unit_token.clear();
                    self.unit_token.extend_from_slice(&unit.to_le_bytes());
                    self.unit_token.extend_from_slice(user.as_bytes());
                    self.codes.hasher.hash(&self.unit_token)
                }
            };
            put(Record {
                user: [hash.h1, hash.h2],
                amount: batch.amounts()[row],
                merchant: self.merchant_codes[row],
                slot_and_rest: slots.join(slot, rest).ok_or_else(keys_too_many)?,
            })?;
        }
        Ok(())
    }
}

/// Of values that often follow on equals, such as currencies: finds only those that do not.
fn remember_last<'v, T: ?Sized + Eq + 'v>(
    mut find: impl FnMut(&'v T) -> u32,
) -> impl FnMut(&'v T) -> u32 {
    let mut last: Option<(&T, u32)> = None;
    move |value| match last {
        Some((same, code)) if same == value => code,
        _ => last.insert((value, find(value))).1,
    }
}

fn keys_too_many() -> Error {
    Error::invalid(findings::keys_too_many())
}
