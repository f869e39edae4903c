//! `discretail check JOB`

use super::earlier::use_earlier;
use super::{Failure, dialect_of, note_untested, read_plan};
use crate::cli::JobArgs;
use crate::console;
use crate::engine::sql::Query;
use crate::findings::counted;

pub(super) fn check(args: &JobArgs) -> Result<(), Failure> {
    let (mut plan, source) = read_plan(&args.job)?;
    let ready = use_earlier(&mut plan).and_then(|()| Query::check(&plan));
    ready.map_err(|error| Failure::in_job(error, &args.job, source))?;
    note_untested(dialect_of(&plan));
    let statistics: usize = plan.levels.iter().map(|level| level.statistics.len()).sum();
    if args.json {
        let summary = serde_json::json!({
            "status": "valid",
            "job": plan.job.id,
            "digest": plan.job.digest,
            "levels": plan.levels.len(),
            "statistics": statistics,
        });
        console::result(&summary.to_string())?;
    } else {
        let (job, levels) = (&plan.job.id, counted(plan.levels.len(), "level"));
        console::result(&format!(
            "{}: job `{job}` is valid: {levels}, {}",
            args.job.display(),
            counted(statistics, "statistic"),
        ))?;
    }
    Ok(())
}
