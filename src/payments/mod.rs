//! The payments: the only place that opens records.
//!
//! [`Scan::open`] finds the files and checks their columns; [`Scan::run`] reads them with polars'
//! streaming engine, batch by batch, and hands over valid [`Payment`]s. Bad rows go to the
//! quarantine folder. Nothing here is serialisable, and no message shows a value.

mod amount;
mod convert;
mod quarantine;
mod scan;
mod source;

pub use quarantine::Reason;
pub use scan::{Scan, ScanControl};

/// One valid payment or refund.
#[derive(Clone, Copy)]
pub struct Payment<'a> {
    /// Who pays: the text of the token or number, not blank.
    pub user: &'a str,
    /// Where: id text, not blank; empty if the job has no merchants.
    pub merchant: &'a str,
    /// The merchant's place in the registry; 0 if there is none.
    pub merchant_code: u32,
    /// Hour of the job's period, in local time.
    pub hour: u32,
    /// Minor units (of the job's currency that has most decimal places), refunds negative.
    pub amount: i64,
    /// Values of the plan's columns, then the currency's code if the job has a currency column.
    pub rest: &'a [&'a str],
}

/// The largest amount, in minor units of its own currency.
pub const AMOUNT_MAX: i64 = 1_000_000_000_000;
