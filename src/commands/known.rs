//! What `plan` says of a job that the ledger knows.

use std::path::PathBuf;

use super::run::request;
use crate::error::Error;
use crate::ledger::{EntryState, Ledger, Reservation};
use crate::plan::Plan;

/// What the ledger knows of a job's id.
#[derive(Debug, PartialEq)]
pub(super) enum Known {
    New,
    Reserved,
    Spent,
    Published(PathBuf),
    Differs,
    /// Only reserved, by a run that has not paid yet.
    ReservedOtherwise,
}

impl Known {
    pub(super) fn of(plan: &Plan, ledger: Option<&Ledger>) -> Result<Known, Error> {
        let Some(ledger) = ledger else { return Ok(Known::New) };
        match ledger.earlier(&request(plan)) {
            Err(error) if error.findings()[0].code() == "job-content-differs" => Ok(Known::Differs),
            Err(error) => Err(error),
            Ok(Some(Reservation::Published { folder, .. })) => Ok(Known::Published(folder)),
            Ok(Some(_)) => Ok(Known::Spent),
            Ok(None) => {
                let report = ledger.report()?;
                let own = report.job(&plan.job.id);
                Ok(match own.filter(|job| job.state == EntryState::Reserved) {
                    None => Known::New,
                    Some(job) if job.digest == plan.job.digest => Known::Reserved,
                    Some(_) => Known::ReservedOtherwise,
                })
            }
        }
    }

    /// Would a run be charged nothing more?
    pub(super) fn is_paid(&self) -> bool {
        matches!(self, Known::Reserved | Known::Published(_))
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Known::New => "new",
            Known::Reserved => "reserved",
            Known::Spent => "spent",
            Known::Published(_) => "published",
            Known::Differs | Known::ReservedOtherwise => "content-differs",
        }
    }

    pub(super) fn line(&self) -> String {
        match self {
            Known::New => String::new(),
            Known::Reserved => "\nthe job is reserved: `run` takes that over, or reserves it anew".to_owned(),
            Known::Spent => "\nthe job is spent and not published: `run` would draw no noise again, and publish what is \
                             whole or refuse it (job-spent)"
                .to_owned(),
            Known::Published(folder) => format!(
                "\nthe job is published: `run` would answer with {} and charge nothing",
                folder.display()
            ),
            Known::Differs => "\nthe ledger has this job with other content or price: `run` would refuse it \
                               (job-content-differs); give the changed job a new id"
                .to_owned(),
            Known::ReservedOtherwise => "\nthe ledger has this job reserved with other content: `run` would refuse it \
                                         (job-content-differs); give the changed job a new id, or give back what is \
                                         reserved with `discretail ledger void`"
                .to_owned(),
        }
    }
}
