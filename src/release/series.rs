//! What a release counts, whatever its days: by that, releases that follow one another in time are
//! of one series, and those of other payments are told from them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::digest_of;
use crate::job::{Job, SqlExpression};

/// As a manifest has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    /// The codes of the currencies that count.
    currencies: Vec<String>,
    /// SHA-256 of the expressions in normal form: of `where`, which stands here if there is none
    /// too, and of columns by name. Not of `user`, which is the ledger's, nor of how times are
    /// written.
    sha256: BTreeMap<String, String>,
}

/// The name of what picks payments.
const WHERE: &str = "where";

impl Series {
    /// That of a job.
    pub fn of(job: &Job) -> Series {
        let source = &job.payments;
        let own = [
            ("amount", Some(&source.amount)),
            ("time", Some(&source.time)),
            ("merchant", source.merchant.as_ref()),
            ("currency", source.currency.as_ref()),
        ];
        let own = own.into_iter().filter_map(|(name, sql)| Some((name, sql?)));
        let all = own.chain(source.columns.iter().map(|(name, sql)| (name.as_str(), sql)));
        let digest = |sql: &SqlExpression| digest_of(sql.normal.as_bytes());
        let mut sha256: BTreeMap<String, String> =
            all.map(|(name, sql)| (name.to_owned(), digest(sql))).collect();
        let filter = source.filter.as_ref().map_or("", |filter| &filter.normal);
        sha256.insert(WHERE.to_owned(), digest_of(filter.as_bytes()));
        Series { currencies: codes(job), sha256 }
    }

    /// Why amounts are of no use to a job, if its currencies are others.
    pub fn other_currency(&self, job: &Job) -> Option<String> {
        let own = codes(job);
        let set = |codes: &[String]| codes.iter().cloned().collect::<BTreeSet<_>>();
        let (theirs, ours) = (self.currencies.join(", "), own.join(", "));
        (set(&self.currencies) != set(&own))
            .then(|| format!("its currency is {theirs}, not {ours}"))
    }

    /// What else tells a job from this, if it counts other payments. A column that only one of both
    /// has tells nothing: levels that both have do not look at it.
    pub fn other_payments(&self, job: &Job) -> Option<String> {
        let ours = Series::of(job).sha256;
        let both = self.sha256.iter().filter_map(|(name, own)| Some((name, own, ours.get(name)?)));
        let differ: Vec<String> = both
            .filter(|(_, own, other)| own != other)
            .map(|(name, ..)| format!("`{name}`"))
            .collect();
        let is = if differ.len() > 1 { "are others" } else { "is another" };
        (!differ.is_empty()).then(|| format!("its {} {is}", differ.join(", ")))
    }
}

fn codes(job: &Job) -> Vec<String> {
    job.payments.currencies.iter().map(|currency| currency.code().to_owned()).collect()
}
