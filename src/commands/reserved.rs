//! What a run that was killed before it paid has left: a reservation of this very job.

use super::earlier::use_earlier;
use super::predicted::admit;
use crate::console;
use crate::error::Result;
use crate::ledger::{EntryState, Hold, Ledger, Report};
use crate::plan::Plan;

/// Gives back what a dead run has reserved for this job, where this run does not take it over; then
/// plans the job anew, as its first run does, and keeps the job to itself. Else changes nothing.
///
/// Nothing was drawn for a reservation, so nothing is owed for it. A run that goes on all the same,
/// unseen on another machine, has lost its grant, and stops before it draws noise.
///
/// # Errors
/// Refused: a run of the job goes on. Else those of planning.
pub(super) fn give_back(plan: &mut Plan, accept_useless: bool) -> Result<Option<Hold>> {
    if !is_stale(plan)? {
        return Ok(None);
    }
    let job = plan.job.clone();
    let hold = Hold::take(&job.ledger.file, &job.id)?;
    // Another run may have taken it further before this one had the job to itself.
    if is_stale(plan)? {
        Ledger::open_to_change(&job.ledger.file)?.void(&job.id)?;
        console::note("what a run that stopped had reserved for this job is given back");
        *plan = Plan::new(job)?;
        use_earlier(plan)?;
        admit(plan, accept_useless)?;
    }
    Ok(Some(hold))
}

/// Is the job reserved with this content, but so that this run must reserve it anew? At another
/// price, as what it takes from earlier releases is not where it was, or is there again; or where
/// it `revises` another one: of two such jobs the one that is reserved later sees the other.
fn is_stale(plan: &Plan) -> Result<bool> {
    let job = &plan.job;
    if !job.ledger.file.exists() {
        return Ok(false);
    }
    let ledger = Report::read(&job.ledger.file)?;
    let own = ledger.job(&job.id).filter(|own| own.state == EntryState::Reserved);
    let own = own.filter(|own| own.digest == job.digest);
    Ok(own.is_some_and(|own| own.loss != plan.loss || job.revises.is_some()))
}
