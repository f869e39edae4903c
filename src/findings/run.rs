//! Faults while a job runs.

use std::fmt::Display;
use std::path::Path;

use super::Finding;

/// Ctrl-C.
pub fn cancelled() -> Finding {
    Finding::new("cancelled", "stopped by the user; what was written is removed")
        .hint("run the same command to start again")
}

/// No random numbers from the operating system.
pub fn randomness_missing(cause: &dyn Display) -> Finding {
    Finding::new(
        "randomness-missing",
        format!("the operating system gives no random numbers: {cause}"),
    )
}

/// opendp refused.
pub fn mechanism_failed(cause: &str) -> Finding {
    Finding::new("mechanism-failed", format!("the noise could not be drawn: {cause}"))
        .hint("the job's budget is spent; give the job a new id to run it again")
}

/// The release folder exists.
pub fn release_exists(folder: &Path) -> Finding {
    Finding::new("release-exists", format!("{} exists already", folder.display()))
        .hint("give the job a new id, name another folder with --out, or overwrite with --force")
}

/// The release cannot be written.
pub fn release_not_writable(path: &Path, cause: &dyn Display) -> Finding {
    Finding::new("release-not-writable", format!("cannot write {}: {cause}", path.display()))
        .hint("check the folder's permissions and the free space")
}

/// The ledger knows a release that is gone.
pub fn release_missing(job: &str, folder: &Path) -> Finding {
    Finding::new(
        "release-missing",
        format!("job `{job}` was released to {}, which is gone or changed", folder.display()),
    )
    .hint("restore the folder, or give the job a new id and pay again")
}

/// A release of the tests.
pub fn release_not_private(job: &str, folder: &Path) -> Finding {
    Finding::new(
        "release-not-private",
        format!("the release of job `{job}` in {} has known noise", folder.display()),
    )
    .hint("remove it; nobody may get it, and the ledger records no such release")
}

/// The ledger's terms leave no budget.
pub fn ledger_budget_too_small(epsilon: &dyn Display, delta: &dyn Display) -> Finding {
    Finding::new(
        "ledger-budget-too-small",
        format!("ε {epsilon} and δ {delta} are too small for a ledger"),
    )
    .hint("raise `epsilon_max` or `delta_max`")
}

/// Ctrl-C cannot be caught.
pub fn signals_refused(cause: &dyn Display) -> Finding {
    Finding::new("signals-refused", format!("the system lets nobody catch Ctrl-C: {cause}"))
}
