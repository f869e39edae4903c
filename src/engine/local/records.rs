//! Payments as fixed-width records, scattered by user.

use std::collections::HashMap;

use siphasher::sip128::SipHasher24;

use crate::error::{Error, Result};
use crate::findings;
use crate::payments::Payment;
use crate::plan::Plan;

/// Partitions by the top bits of the user's hash.
const PARTITIONS: usize = 256;

/// One payment: 40 bytes.
#[derive(Clone, Copy)]
pub(super) struct Record {
    /// Keyed 128-bit hash of the user. 64 bits would let two users share one bound.
    pub(super) user: [u64; 2],
    /// Minor units.
    pub(super) amount: i64,
    /// Place in the registry or in `merchants`.
    pub(super) merchant: u32,
    /// Hour of the period.
    pub(super) hour: u32,
    /// Place in `rest`.
    pub(super) rest: u32,
}

/// All records, and what their codes stand for.
pub(super) struct Records {
    hasher: SipHasher24,
    has_registry: bool,
    partitions: Vec<Vec<Record>>,
    /// Merchants in the order of their codes, if there is no registry.
    pub(super) merchants: Dictionary,
    /// Values of each column of the plan, then of the currency.
    pub(super) columns: Vec<Dictionary>,
    /// Distinct combinations of codes of `columns`.
    pub(super) rest: Vec<Box<[u32]>>,
    rest_codes: HashMap<Box<[u32]>, u32>,
    scratch: Vec<u32>,
}

impl Records {
    /// A new key for the user hash, from the operating system.
    pub(super) fn new(plan: &Plan) -> Result<Self> {
        let mut key = [0u8; 16];
        getrandom::fill(&mut key)
            .map_err(|e| Error::environment(findings::randomness_missing(&e)))?;
        let source = &plan.job.payments;
        let columns = plan.columns.len() + usize::from(source.currency.is_some());
        Ok(Records {
            hasher: SipHasher24::new_with_key(&key),
            has_registry: plan.job.registry.is_some(),
            partitions: vec![Vec::new(); PARTITIONS],
            merchants: Dictionary::default(),
            columns: vec![Dictionary::default(); columns],
            rest: Vec::new(),
            rest_codes: HashMap::new(),
            scratch: Vec::new(),
        })
    }

    pub(super) fn add(&mut self, payment: Payment<'_>) {
        let hash = self.hasher.hash(payment.user.as_bytes());
        let user = [hash.h1, hash.h2];
        let merchant = if self.has_registry {
            payment.merchant_code
        } else {
            self.merchants.code(payment.merchant)
        };
        let rest = self.rest_code(payment.rest);
        let (amount, hour) = (payment.amount, payment.hour);
        let partition = (user[0] >> 56) as usize;
        self.partitions[partition].push(Record { user, amount, merchant, hour, rest });
    }

    pub(super) fn take_partitions(&mut self) -> Vec<Vec<Record>> {
        std::mem::take(&mut self.partitions)
    }

    fn rest_code(&mut self, values: &[&str]) -> u32 {
        self.scratch.clear();
        self.scratch.extend(
            values.iter().zip(&mut self.columns).map(|(value, dictionary)| dictionary.code(value)),
        );
        if let Some(&code) = self.rest_codes.get(&self.scratch[..]) {
            return code;
        }
        let code = self.rest.len() as u32;
        self.rest.push(self.scratch.as_slice().into());
        self.rest_codes.insert(self.scratch.as_slice().into(), code);
        code
    }
}

/// Codes for texts, in the order in which they come.
#[derive(Clone, Default)]
pub(super) struct Dictionary {
    texts: Vec<std::sync::Arc<str>>,
    codes: HashMap<std::sync::Arc<str>, u32>,
}

impl Dictionary {
    fn code(&mut self, text: &str) -> u32 {
        if let Some(&code) = self.codes.get(text) {
            return code;
        }
        let (code, text): (u32, std::sync::Arc<str>) = (self.texts.len() as u32, text.into());
        self.texts.push(text.clone());
        self.codes.insert(text, code);
        code
    }

    pub(super) fn texts(&self) -> &[std::sync::Arc<str>] {
        &self.texts
    }
}
