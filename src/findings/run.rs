//! Faults while a job runs.

use std::fmt::Display;
use std::path::Path;

use super::Finding;

/// Ctrl-C.
pub fn cancelled() -> Finding {
    Finding::new("cancelled", "stopped by the user; what was written is removed")
        .hint("run the same command to start again")
}

/// A result that standard output does not take; `done` is what the command did before.
pub fn output_not_writable(cause: &dyn Display, done: Option<&str>) -> Finding {
    let text = format!("standard output cannot be written: {cause}");
    let rest = "free some space where it goes, and run the command again";
    Finding::new("output-not-writable", text).hint(match done {
        Some(done) => format!("{done}; only the message about it is lost or cut off"),
        None => format!("what is there may be cut off: {rest}"),
    })
}

/// A panic, which is a mistake of ours. Its message may quote a record, so only its place is shown.
pub fn bug_found(place: &str) -> Finding {
    Finding::new("bug-found", format!("a bug at {place}"))
        .hint("tell us of it; -v shows its message, which may quote records")
}

/// No random numbers from the operating system.
pub fn randomness_missing(cause: &dyn Display) -> Finding {
    Finding::new(
        "randomness-missing",
        format!("the operating system gives no random numbers: {cause}"),
    )
}

/// The memory cannot hold totals, noised values or estimates.
pub fn memory_too_small(limit: u64, least: u64) -> Finding {
    Finding::new(
        "memory-too-small",
        format!("{} MiB of memory are too little for the tables of this job", limit >> 20),
    )
    .hint(format!("allow --memory {}MiB, or use fewer or coarser levels", (least >> 20) + 1))
}

/// The spill file cannot be made, written or read.
pub fn spill_failed(folder: &Path, cause: &dyn Display) -> Finding {
    Finding::new(
        "spill-failed",
        format!("cannot keep what memory does not hold in {}: {cause}", folder.display()),
    )
    .hint("free some space there, name another folder with --spill-dir, or allow more --memory")
}

/// The process cannot start itself again with limits for the reader.
pub fn restart_failed(cause: &dyn Display) -> Finding {
    Finding::new(
        "restart-failed",
        format!("cannot start again with limits for the reader: {cause}"),
    )
    .hint("set POLARS_ROW_GROUP_PREFETCH_SIZE and POLARS_MAX_THREADS to the number of threads")
}

/// More keys than codes.
pub fn keys_too_many() -> Finding {
    Finding::new("keys-too-many", "the columns have more combinations of values than records hold")
        .hint("use fewer columns as keys in one job, or columns with fewer values")
}

/// opendp refused.
pub fn mechanism_failed(cause: &str) -> Finding {
    Finding::new("mechanism-failed", format!("the noise could not be drawn: {cause}"))
        .hint("a run has paid by then: give the job a new id to run it again; plans and audits pay nothing")
}

/// The release folder exists.
pub fn release_exists(folder: &Path) -> Finding {
    Finding::new("release-exists", format!("{} exists already", folder.display()))
        .hint("give the job a new id, or name another folder with --out; --force replaces an empty folder, or a release \
               of a job of this id over other people")
}

/// A release of this very job stands there, and the ledger does not know it.
pub fn release_unknown(job: &str, folder: &Path, ledger: &Path) -> Finding {
    let text = format!(
        "{} holds a release of job `{job}`, which the ledger `{}` does not know to be paid: an older copy of the \
         ledger may have been put back",
        folder.display(),
        ledger.display()
    );
    Finding::new("release-unknown", text).hint(
        "put the newest ledger back (`discretail ledger verify --head` knows it): with an older one noise is drawn \
         twice for one price. If the release was charged to another ledger, name another folder with --out, or move it \
         away yourself",
    )
}

/// What --force would replace is not this job's.
pub fn release_of_others(job: &str, folder: &Path) -> Finding {
    let text = format!(
        "{} is no release of job `{job}`, so --force does not replace it",
        folder.display()
    );
    Finding::new("release-of-others", text)
        .hint("name another folder with --out, or move what is there away yourself")
}

/// The release cannot be written.
pub fn release_not_writable(path: &Path, cause: &dyn Display) -> Finding {
    Finding::new("release-not-writable", format!("cannot write {}: {cause}", path.display()))
        .hint("check the folder's permissions and the free space")
}

/// The disk would be full before the release is written.
pub fn room_missing(folder: &Path, bytes: u64, cause: &dyn Display) -> Finding {
    let mib = bytes.div_ceil(1 << 20);
    Finding::new(
        "room-missing",
        format!("{} has no room for a release of about {mib} MiB: {cause}", folder.display()),
    )
    .hint("free some space, or name another folder with --out; nothing is charged yet")
}

/// The ledger knows a release that is gone.
pub fn release_missing(job: &str, folder: &Path) -> Finding {
    Finding::new(
        "release-missing",
        format!("job `{job}` was released to {}, which is gone or changed", folder.display()),
    )
    .hint(
        "the ledger holds this very path: if the folder was moved, move it back or put a link to it \
         there; else restore it, or give the job a new id and pay again",
    )
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
        format!("ε {epsilon} and δ {delta} leave nothing for jobs"),
    )
    .hint("raise `epsilon_max`, or lower `delta_max`: private keys may take nine tenths of it off epsilon")
}

/// Ctrl-C cannot be caught.
pub fn signals_refused(cause: &dyn Display) -> Finding {
    Finding::new("signals-refused", format!("the system lets nobody catch Ctrl-C: {cause}"))
}

/// What is asked to be written would change a release.
pub fn output_in_release(path: &Path, release: &Path) -> Finding {
    Finding::new(
        "output-in-release",
        format!(
            "{} is in the release {}, which must stay as it is",
            path.display(),
            release.display()
        ),
    )
    .hint("name another place: with a file more or less, `verify` fails")
}

/// What is asked to be written would replace something else.
pub fn output_foreign(path: &Path, what: &str) -> Finding {
    Finding::new(
        "output-foreign",
        format!("{} is there, and is no {what}, so it is not replaced", path.display()),
    )
    .hint("name another place, or move what is there away yourself")
}

/// There is no release to check.
pub fn release_not_there(folder: &Path) -> Finding {
    Finding::new("release-not-there", format!("there is no folder `{}`", folder.display()))
        .hint("give the folder that `run` printed")
}

/// There is a folder, and no release in it.
pub fn release_without_manifest(folder: &Path) -> Finding {
    Finding::new(
        "release-not-there",
        format!("`{}` is no release: it has no manifest.json", folder.display()),
    )
    .hint("give the folder that `run` printed")
}

/// A table or the manifest of a release that cannot be read.
pub fn release_not_readable(folder: &Path, why: &str) -> Finding {
    Finding::new(
        "release-not-readable",
        format!("the release `{}` cannot be read: {why}", folder.display()),
    )
    .hint("`discretail verify` says what is wrong with it; take the copy that was published")
}

/// A release that is not what it claims to be.
pub fn release_not_verified(folder: &Path, failed: &[&str]) -> Finding {
    Finding::new(
        "release-not-verified",
        format!("checks of the release `{}` failed: {}", folder.display(), failed.join(", ")),
    )
    .hint("do not use it; take the copy that was published, or ask who made it")
}

/// The evidence of an audit, or its twins, cannot be written.
pub fn audit_not_writable(path: &Path, cause: &dyn Display) -> Finding {
    Finding::new("audit-not-writable", format!("cannot write {}: {cause}", path.display())).hint(
        "check permissions and free space; twins are in the temporary folder, which TMPDIR names",
    )
}

/// What is to be audited is neither a job nor a release.
pub fn audit_target_unknown(path: &Path) -> Finding {
    let text = format!("{} is neither a job file nor the folder of a release", path.display());
    Finding::new("audit-target-unknown", text)
        .hint("name a job file (TOML), or a folder that `run` has printed")
}

/// An argument that an audit of this kind of target does not heed.
pub fn audit_argument_idle(argument: &str, target: &str) -> Finding {
    let text = format!("`{argument}` is for the audit of {target}");
    Finding::new("audit-argument-idle", text)
        .hint("leave it out; `discretail audit --help` tells which arguments go with a job, and which with a release")
}

/// An audit found a fault.
pub fn audit_refuted(subject: &str, claims: usize) -> Finding {
    let text = match claims {
        1 => format!("the audit of {subject} refutes a claim"),
        n => format!("the audit of {subject} refutes {n} claims"),
    };
    Finding::new("audit-refuted", text).hint(
        "the rows that say `refuted` tell which; do not release before they are mended: terms of a \
             ledger never change, so what is refuted of them needs another ledger",
    )
}

/// Payments to try a job on that are the job's own.
pub fn trial_payments_own(path: &Path) -> Finding {
    let text = format!("{} is one of the job's own payments, or a copy of it", path.display());
    Finding::new("trial-payments-own", text).hint(
        "a trial tells exact values, so try the job on payments that are public or made up, such as those of \
         `discretail sample`",
    )
}
