//! A job on a synthetic twin of its payments.

use std::path::Path;

use polars::prelude::col;

use super::{Format, Job, SqlExpression};

impl Job {
    /// The same job on the payments of one Parquet file with the columns `user`, `merchant`, `time`
    /// (seconds since 1970), `amount` (minor units), `currency` and the job's own, in place of its
    /// files and expressions. Its ledger, quarantine and releases are in `folder`, so that those of
    /// the job are out of reach; it never stops for bad rows.
    #[must_use]
    pub fn on_twin(&self, file: &Path, folder: &Path) -> Job {
        let mut job = self.clone();
        let source = &mut job.payments;
        source.patterns = vec![file.to_owned()];
        source.format = Some(Format::Parquet);
        source.filter = None;
        source.time_format = None;
        source.user = column("user");
        source.time = column("time");
        source.amount = column("amount");
        source.merchant = source.merchant.as_ref().map(|_| column("merchant"));
        source.currency = Some(column("currency"));
        for (name, expression) in &mut source.columns {
            *expression = column(&format!("column {name}"));
        }
        source.max_bad_share = 1.0;
        source.quarantine = folder.join("quarantine");
        job.ledger.file = folder.join("no-ledger.sqlite");
        job.releases = folder.join("no-releases");
        job
    }
}

/// A lone column.
fn column(name: &str) -> SqlExpression {
    SqlExpression { text: name.to_owned(), normal: name.to_owned(), span: 0..0, expr: col(name) }
}
