//! The payments: the only place that opens records.
//!
//! [`Scan::open`] finds the files and checks their columns; [`Scan::run`] reads them with polars'
//! streaming engine, all at once or part by part, and hands over [`Batch`]es of valid payments. Bad
//! rows go to the quarantine folder. Nothing here is serialisable, and no message shows a value.

mod amount;
mod batch;
mod columns;
mod convert;
mod find;
mod lines;
mod own;
mod parts;
mod progress;
mod quarantine;
mod scan;
mod sinks;
mod sound;
mod source;
#[cfg(test)]
mod tests_rows;
mod unread;

pub use batch::Batch;
pub use own::own_files;
pub use progress::{Progress, ScanControl};
pub use quarantine::Reason;
pub use scan::Scan;

/// One valid payment or refund.
#[derive(Clone)]
pub struct Payment<'a> {
    /// Who pays: the text of the token or number, not blank.
    pub user: &'a str,
    /// Where: id text, not blank; empty if the job has no merchants.
    pub merchant: &'a str,
    /// Hour of the job's period, in local time.
    pub hour: u32,
    /// Minor units (of the job's currency that has most decimal places), refunds negative.
    pub amount: i64,
    /// Values of the plan's columns, then the currency's code if the job has a currency column.
    pub rest: Vec<&'a str>,
}

/// The largest amount, in minor units of its own currency.
pub const AMOUNT_MAX: i64 = 1_000_000_000_000;
