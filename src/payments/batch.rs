//! From a table of the job's columns to valid payments, column by column.

use std::collections::HashMap;

use polars::prelude::{
    BooleanChunked, ChunkFilter, Column, DataFrame, NewChunkedArray, PolarsError, PolarsResult,
    StringChunked, UInt8Chunked,
};

use super::Payment;
use super::convert::{AmountColumn, TimeColumn, Verdict, Verdicts};
use super::quarantine::Reason;
use crate::error::{Error, Result};
use crate::job::{Clock, LINE, LineFault, minor_places};
use crate::plan::Plan;

/// Valid payments, column by column; all columns are of one length and none holds a null.
pub struct Batch {
    users: StringChunked,
    merchants: Option<StringChunked>,
    merchant_codes: Vec<u32>,
    hours: Vec<u32>,
    amounts: Vec<i64>,
    rest: Vec<StringChunked>,
}

impl Batch {
    /// How many payments.
    pub fn len(&self) -> usize {
        self.amounts.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.amounts.is_empty()
    }

    /// Who pays: the text of the token or number, not blank.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        texts(&self.users)
    }

    /// Where: id text, not blank; `None` if the job has no merchants.
    pub fn merchants(&self) -> Option<impl Iterator<Item = &str>> {
        self.merchants.as_ref().map(texts)
    }

    /// The merchants' places in the registry; 0 if there is none.
    pub fn merchant_codes(&self) -> &[u32] {
        &self.merchant_codes
    }

    /// Hours of the job's period, in local time.
    pub fn hours(&self) -> &[u32] {
        &self.hours
    }

    /// Minor units (of the job's currency that has most decimal places), refunds negative.
    pub fn amounts(&self) -> &[i64] {
        &self.amounts
    }

    /// The values of one further column: the plan's, and the currency's code if the job has such a
    /// column.
    pub fn rest(&self, column: usize) -> impl Iterator<Item = &str> {
        texts(&self.rest[column])
    }

    /// Payment after payment, for readers that are in no hurry.
    pub fn payments(&self) -> impl Iterator<Item = Payment<'_>> {
        let merchant = |row| self.merchants.as_ref().and_then(|m| m.get(row)).unwrap_or_default();
        (0..self.len()).map(move |row| Payment {
            user: self.users.get(row).unwrap_or_default(),
            merchant: merchant(row),
            hour: self.hours[row],
            amount: self.amounts[row],
            rest: self.rest.iter().map(|r| r.get(row).unwrap_or_default()).collect(),
        })
    }

    fn keep(&mut self, good: &[bool]) -> PolarsResult<()> {
        let mask = BooleanChunked::from_slice("good".into(), good);
        self.users = self.users.filter(&mask)?;
        self.merchants = self.merchants.as_ref().map(|m| m.filter(&mask)).transpose()?;
        self.rest = self.rest.iter().map(|r| r.filter(&mask)).collect::<PolarsResult<_>>()?;
        retain(&mut self.merchant_codes, good);
        retain(&mut self.hours, good);
        retain(&mut self.amounts, good);
        Ok(())
    }
}

fn texts(column: &StringChunked) -> impl Iterator<Item = &str> {
    column.downcast_iter().flat_map(|chunk| chunk.values_iter())
}

fn retain<T>(values: &mut Vec<T>, good: &[bool]) {
    let mut good = good.iter();
    values.retain(|_| good.next().is_some_and(|&good| good));
}

/// What can go wrong with a whole batch.
pub(super) enum Fault {
    Reader(PolarsError),
    Quarantine(Error),
}

/// What is needed to turn rows into payments; shared by all threads.
pub(super) struct Rows<'p> {
    plan: &'p Plan,
    names: &'p [String],
    clock: Clock,
    /// Places by currency code, for rows that say theirs.
    places: HashMap<&'static str, u32>,
    merchant_codes: HashMap<&'p str, u32, foldhash::fast::RandomState>,
}

impl<'p> Rows<'p> {
    pub(super) fn plan(&self) -> &'p Plan {
        self.plan
    }

    pub(super) fn new(plan: &'p Plan, names: &'p [String]) -> Self {
        let source = &plan.job.payments;
        let registry = plan.job.registry.iter();
        Rows {
            plan,
            names,
            clock: Clock::new(source.zone, source.period),
            places: source.currencies.iter().map(|&c| (c.code(), minor_places(c))).collect(),
            merchant_codes: registry
                .flat_map(|r| r.ids.iter().map(String::as_str).zip(0..))
                .collect(),
        }
    }

    /// The valid payments of a table; each bad row goes to `quarantine` with its values as text.
    ///
    /// A row's verdict depends on that row and on public facts alone (Lemma 0 of
    /// `docs/privacy.md`).
    pub(super) fn batch(
        &self,
        frame: &mut DataFrame,
        mut quarantine: impl FnMut(Reason, Vec<String>) -> Result<()>,
    ) -> std::result::Result<Batch, Fault> {
        frame.rechunk_mut();
        let mut verdicts = Verdicts::new(frame.height());
        let mut batch = self.convert(frame, &mut verdicts).map_err(Fault::Reader)?;
        if let Ok(faults) = frame.column(LINE) {
            refuse_lines(faults.u8().map_err(Fault::Reader)?, &mut verdicts);
        }
        let mut good = Vec::new();
        for (row, verdict) in verdicts.rows().iter().enumerate() {
            if let Verdict::Bad(reason) = verdict {
                quarantine(*reason, self.row_as_text(frame, row)).map_err(Fault::Quarantine)?;
            }
            if *verdict != Verdict::Good && good.is_empty() {
                good = vec![true; frame.height()];
            }
            if *verdict != Verdict::Good {
                good[row] = false;
            }
        }
        if !good.is_empty() {
            batch.keep(&good).map_err(Fault::Reader)?;
        }
        Ok(batch)
    }

    /// All rows, the bad ones with zeros.
    fn convert(&self, frame: &DataFrame, verdicts: &mut Verdicts) -> PolarsResult<Batch> {
        let source = &self.plan.job.payments;
        let text = |name: &str| PolarsResult::Ok(frame.column(name)?.str()?.clone());
        let optional = |name: &str, wanted: bool| wanted.then(|| text(name)).transpose();
        let currency: Option<StringChunked> = optional("currency", source.currency.is_some())?;
        let places = currency.as_ref().map(|codes| self.currency_places(codes, verdicts));
        let users: StringChunked = text("user")?;
        refuse_blanks(&users, Reason::UserMissing, verdicts);
        let merchants: Option<StringChunked> = optional("merchant", source.merchant.is_some())?;
        let mut merchant_codes = Vec::new();
        if let Some(merchants) = &merchants {
            refuse_blanks(merchants, Reason::MerchantMissing, verdicts);
            merchant_codes = self.codes(merchants, verdicts);
        }
        let format = source.time_format.as_deref();
        let time = TimeColumn::new(frame.column("time")?, format, source.zoneless)?;
        let hours = time.hours(&self.clock, verdicts);
        let only = minor_places(source.currencies[0]);
        let places_of = |row: usize| places.as_ref().map_or(only, |places| places[row]);
        let amount = AmountColumn::new(frame.column("amount")?, source.csv.decimal)?;
        let mut amounts = amount.minor(places_of, verdicts);
        for (row, amount) in amounts.iter_mut().enumerate() {
            // At most 10¹² · 10⁴.
            *amount *= 10i64.pow(source.money_places() - places_of(row));
        }
        let mut rest = Vec::new();
        for name in &self.plan.columns {
            let column = text(name)?;
            self.refuse_unlisted(name, &column, verdicts);
            rest.push(column);
        }
        rest.extend(currency);
        merchant_codes.resize(amounts.len(), 0);
        Ok(Batch { users, merchants, merchant_codes, hours, amounts, rest })
    }

    /// The decimal places of each row's currency; rows whose currency does not count are left out.
    fn currency_places(&self, codes: &StringChunked, verdicts: &mut Verdicts) -> Vec<u32> {
        let money_places = self.plan.job.payments.money_places();
        let mut places = Vec::with_capacity(codes.len());
        // Most rows have the currency of the row before.
        let mut last = (None, None);
        for (row, code) in codes.iter().enumerate() {
            let code = code.filter(|code| !is_blank(code));
            if last.0 != code {
                last = (code, code.map(|code| self.places.get(code).copied()));
            }
            match last.1 {
                Some(Some(_)) => {}
                Some(None) => verdicts.set(row, Verdict::LeftOut),
                None => verdicts.set(row, Verdict::Bad(Reason::CurrencyMissing)),
            }
            places.push(last.1.flatten().unwrap_or(money_places));
        }
        places
    }

    /// Places in the registry, if there is one.
    fn codes(&self, merchants: &StringChunked, verdicts: &mut Verdicts) -> Vec<u32> {
        if self.plan.job.registry.is_none() {
            return Vec::new();
        }
        verdicts.each(merchants.iter(), Reason::MerchantMissing, |_, id| {
            self.merchant_codes.get(id).copied().ok_or(Reason::MerchantUnknown)
        })
    }

    fn refuse_unlisted(&self, name: &str, column: &StringChunked, verdicts: &mut Verdicts) {
        let listed = self.plan.job.key_sets.get(name);
        for (row, value) in column.iter().enumerate() {
            let Some(value) = value else {
                verdicts.set(row, Verdict::Bad(Reason::KeyMissing));
                continue;
            };
            if listed.is_some_and(|set| set.binary_search_by(|v| v.as_str().cmp(value)).is_err()) {
                verdicts.set(row, Verdict::Bad(Reason::KeyUnknown));
            }
        }
    }

    /// The values of a bad row.
    fn row_as_text(&self, frame: &DataFrame, row: usize) -> Vec<String> {
        let text = |column: Option<&Column>| {
            let value = column.and_then(|c| c.get(row).ok());
            value.map_or(String::new(), |value| value.str_value().into_owned())
        };
        self.names.iter().map(|name| text(frame.column(name).ok())).collect()
    }
}

fn refuse_lines(faults: &UInt8Chunked, verdicts: &mut Verdicts) {
    for (row, code) in faults.iter().enumerate() {
        match code.and_then(LineFault::of) {
            Some(LineFault::Quotes) => verdicts.overrule(row, Reason::LineQuotes),
            Some(LineFault::Long) => verdicts.overrule(row, Reason::LineLong),
            Some(LineFault::NotText) => verdicts.overrule(row, Reason::LineNotText),
            None => {}
        }
    }
}

fn refuse_blanks(texts: &StringChunked, reason: Reason, verdicts: &mut Verdicts) {
    for (row, text) in texts.iter().enumerate() {
        if text.is_none_or(is_blank) {
            verdicts.set(row, Verdict::Bad(reason));
        }
    }
}

fn is_blank(text: &str) -> bool {
    // Most texts start with a letter or digit: no need to look further.
    !text.as_bytes().first().is_some_and(u8::is_ascii_graphic) && text.trim().is_empty()
}
