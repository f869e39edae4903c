//! Findings of the ledger.

use std::fmt::Display;
use std::path::Path;

use super::Finding;

/// A term of the ledger that a job states otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Difference<'a> {
    /// The term, as the job file calls it.
    pub name: &'a str,
    /// What the ledger was made with.
    pub kept: &'a str,
    /// What the job states.
    pub stated: &'a str,
}

/// A part of the budget that a job exceeds; the numbers are rounded so that they show it.
#[derive(Clone, Debug)]
pub struct Overrun {
    /// Which part, in words.
    pub part: String,
    /// What the job asks for, in percent of the limit.
    pub asked_percent: String,
    /// What is left, in percent of the limit.
    pub left_percent: String,
    /// What the job asks for, with its symbol.
    pub asked: String,
    /// What is left, with its symbol.
    pub left: String,
    /// The limit.
    pub limit: String,
}

impl Display for Overrun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Overrun { part, asked_percent, left_percent, asked, left, limit } = self;
        write!(
            f,
            "it asks for {asked_percent} % of {part} ({asked} of {limit}), {left_percent} % is left ({left})"
        )
    }
}

/// There is no folder to make the ledger in.
pub fn ledger_folder_missing(path: &Path, folder: &Path) -> Finding {
    Finding::new(
        "ledger-folder-missing",
        format!(
            "cannot make the ledger `{}`: `{}` is not a folder",
            path.display(),
            folder.display()
        ),
    )
    .hint("make the folder, or correct `file` in `[ledger]`; a ledger must outlive every job")
}

/// The file is no ledger, or cannot be read.
pub fn ledger_unreadable(path: &Path, cause: &dyn Display) -> Finding {
    Finding::new(
        "ledger-unreadable",
        format!("cannot read the ledger `{}`: {cause}", path.display()),
    )
    .hint("check `file` in `[ledger]` and its permissions, or restore the ledger from a backup")
}

/// The ledger's path is a link to nothing.
pub fn ledger_link_broken(path: &Path, target: &Path) -> Finding {
    let cause = format!("it is a link to `{}`, where nothing is", target.display());
    ledger_unreadable(path, &cause).hint(
        "correct the link, or put back what it names; a ledger that never was is made by `discretail ledger init`, with \
         its own path in place of the link's",
    )
}

/// The ledger was made by another version of this program.
pub fn ledger_version_unknown(path: &Path, found: i32, known: i32) -> Finding {
    Finding::new(
        "ledger-version-unknown",
        format!("the ledger `{}` has version {found}, this program knows {known}", path.display()),
    )
    .hint("use the discretail that wrote the ledger, or a newer one")
}

/// The ledger cannot be written.
pub fn ledger_not_writable(path: &Path, cause: &dyn Display) -> Finding {
    Finding::new(
        "ledger-not-writable",
        format!("cannot write the ledger `{}`: {cause}", path.display()),
    )
    .hint(
        "make the file and its folder writable (SQLite keeps a journal beside it) and free some \
         disk space, then run again",
    )
}

/// Another process holds the ledger for too long.
pub fn ledger_busy(path: &Path, seconds: u64) -> Finding {
    Finding::new(
        "ledger-busy",
        format!("the ledger `{}` stayed locked for more than {seconds} s", path.display()),
    )
    .hint("find the program that has it open, perhaps an SQLite shell; then run again")
}

/// The ledger is not what was written.
pub fn ledger_chain_broken(path: &Path, place: &str, why: &str) -> Finding {
    Finding::new(
        "ledger-chain-broken",
        format!("the ledger `{}` was altered at {place}: {why}", path.display()),
    )
    .hint(
        "keep the file as evidence and restore the ledger from a backup that holds every release \
         since",
    )
}

/// The ledger's tables, indexes or triggers are not those that it was made with.
pub fn ledger_structure_altered(path: &Path, name: &str) -> Finding {
    let place = format!("its table, index or trigger `{name}`");
    ledger_chain_broken(path, &place, "it is not as made").hint(
        "nothing else may be made in a ledger, not even what `ANALYZE` adds: keep a copy as evidence, then take away \
         what was added, or restore the ledger from a backup that holds every release since",
    )
}

/// The job states other terms than the ledger was made with.
pub fn ledger_terms_differ(path: &Path, differences: &[Difference<'_>]) -> Finding {
    let list: Vec<String> = differences
        .iter()
        .map(|d| format!("{} is `{}` there and `{}` in the job", d.name, d.kept, d.stated))
        .collect();
    Finding::new(
        "ledger-terms-differ",
        format!("the ledger `{}` has other terms: {}", path.display(), list.join("; ")),
    )
    .hint(
        "state the ledger's terms in the job; for other people name another ledger file; a ledger \
         without entries (`ledger show`) has charged nothing, so it may be removed and made anew",
    )
}

/// The job tells users apart by another expression than the ledger's jobs.
pub fn ledger_users_differ(path: &Path, (job, kept): (&str, &str), stated: &str) -> Finding {
    Finding::new(
        "ledger-users-differ",
        format!(
            "the ledger `{}` tells users apart by `{kept}` since job `{job}`, and this job by \
             `{stated}`: one person could be two users, whom no budget protects together",
            path.display()
        ),
    )
    .hint(format!(
        "write the ledger's expression as `user` in `columns`; if both give each person the same \
         token, in every row, say so with `same_user_as = {kept:?}` in `[ledger]`"
    ))
}

/// The job puts payments into periods by another time than the ledger's jobs.
pub fn ledger_times_differ(path: &Path, (job, kept): (&str, &str), stated: &str) -> Finding {
    Finding::new(
        "ledger-times-differ",
        format!(
            "the ledger `{}` reads times as `{kept}` since job `{job}`, and this job as `{stated}`: \
             one payment could be in two periods, which no budget protects together",
            path.display()
        ),
    )
    .hint(format!(
        "read times as the ledger does (`time` in `columns`, `time_format`, `times_without_zone`); \
         if both give each payment the same time, say so with `same_time_as = {kept:?}` in \
         `[ledger]`"
    ))
}

/// The job's id stands for other content.
pub fn job_content_differs(job: &str, path: &Path) -> Finding {
    Finding::new(
        "job-content-differs",
        format!("job `{job}` is in the ledger `{}` with other content or price", path.display()),
    )
    .hint(
        "give the changed job a new `job` id; an id stands for one content. All of the job file \
         counts but comments, the order of keys, the folders `releases` and `quarantine`, the \
         ledger's `file`, and how ε, δ and bounds are spelled",
    )
}

/// A run that stopped has reserved the job's id for other content, or at another price.
pub fn job_reserved_otherwise(job: &str, path: &Path) -> Finding {
    let path = path.display();
    Finding::new(
        "job-content-differs",
        format!("job `{job}` is reserved in the ledger `{path}` with other content or price"),
    )
    .hint(format!(
        "for what is reserved no noise was drawn: if no run of it goes on, on another machine, give it back with \
         `discretail ledger void {path} {job}` and run again; or give the changed job a new `job` id, beside which the \
         old one counts on"
    ))
}

/// The job costs more than what is left, where no run goes on of the jobs `idle`, which count only
/// as they are reserved.
pub fn budget_exceeded(job: &str, path: &Path, overruns: &[Overrun], idle: &[&str]) -> Finding {
    let list: Vec<String> = overruns.iter().map(Overrun::to_string).collect();
    let path = path.display();
    let back = match idle {
        [] => String::new(),
        [one] => format!(
            "; of job `{one}`, which is reserved, no run goes on here: `discretail ledger void {path} {one}` gives \
             that back"
        ),
        more => format!(
            "; of jobs `{}`, which are reserved, no run goes on here: `discretail ledger void {path} JOB` gives that \
             back",
            more.join("`, `")
        ),
    };
    Finding::new(
        "budget-exceeded",
        format!("job `{job}` does not fit the ledger `{path}`: {}", list.join("; ")),
    )
    .hint(format!("lower `epsilon` or `delta` of the job; a ledger's budget never grows{back}"))
}

/// The job costs more than a ledger of its own terms would ever have, so that none is made.
pub fn budget_never_enough(job: &str, path: &Path, overruns: &[Overrun]) -> Finding {
    budget_exceeded(job, path, overruns, &[]).hint(
        "lower `epsilon` or `delta` of the job, or raise `epsilon_max` or `delta_max` of `[ledger]`: \
         no ledger was made yet, so its terms are still open",
    )
}

/// The job has no reservation that this run may spend.
pub fn job_not_reserved(job: &str, path: &Path) -> Finding {
    Finding::new(
        "job-not-reserved",
        format!("job `{job}` is not reserved any more in the ledger `{}`", path.display()),
    )
    .hint("run the job again; this run has drawn no noise")
}

/// Noise may have been drawn for the job, and nothing was published.
pub fn job_spent(job: &str, path: &Path) -> Finding {
    Finding::new(
        "job-spent",
        format!(
            "job `{job}` is spent and not published in the ledger `{}`: a run of it is under way \
             or stopped after it drew noise",
            path.display()
        ),
    )
    .hint(
        "wait for a run under way; if it was run with --out, run it with the same again, where its release may be; \
         else give the job a new `job` id, which is charged again",
    )
}

/// The job is published already.
pub fn job_published(job: &str, path: &Path) -> Finding {
    Finding::new(
        "job-published",
        format!("job `{job}` is published already, says the ledger `{}`", path.display()),
    )
    .hint("run the job again to be shown its release; nothing is charged")
}

/// A release cannot be recorded for a job that has not spent.
pub fn job_not_spent(job: &str, path: &Path) -> Finding {
    Finding::new(
        "job-not-spent",
        format!(
            "job `{job}` is not spent in the ledger `{}`, so it has no release",
            path.display()
        ),
    )
    .hint("run the job again")
}

/// The ledger cannot hold the name of the release folder.
pub fn release_folder_not_text(folder: &Path) -> Finding {
    Finding::new(
        "release-folder-not-text",
        format!("the release folder `{}` has a name that is not UTF-8", folder.display()),
    )
    .hint("choose a folder whose name is plain text")
}

/// There is no ledger to look at.
pub fn ledger_missing(path: &Path) -> Finding {
    Finding::new("ledger-missing", format!("there is no ledger `{}`", path.display()))
        .hint("check the path; `discretail ledger init` or the first run of a job makes one")
}

/// There is something where a ledger should be made.
pub fn ledger_exists(path: &Path) -> Finding {
    Finding::new("ledger-exists", format!("`{}` exists already", path.display()))
        .hint("look at it with `discretail ledger show`; for other people name another file")
}

/// A recipient with two budgets.
pub fn recipient_twice(name: &str) -> Finding {
    Finding::new("recipient-twice", format!("recipient `{name}` is given two budgets"))
        .hint("state one `--recipient` for each name")
}

/// A recipient whose budget is more than that of all together.
pub fn recipient_budget_idle(
    name: &str,
    key: &str,
    own: &dyn Display,
    total: &dyn Display,
) -> Finding {
    let message = format!(
        "recipient `{name}` is given {key} {own}, more than the {total} of all recipients together"
    );
    Finding::new("recipient-budget-idle", message)
        .hint("lower it, or leave it out: the total holds for every recipient")
}

/// The hash that was noted elsewhere is of no row.
pub fn ledger_head_unknown(path: &Path, head: &str) -> Finding {
    Finding::new(
        "ledger-head-unknown",
        format!(
            "no entry of the ledger `{}` has the hash `{head}`: entries were rewritten or cut off \
             since it was noted, or it is of another ledger",
            path.display()
        ),
    )
    .hint(
        "keep the file as evidence and restore the ledger from a backup that holds every release \
         since",
    )
}

/// Another process runs the job.
pub fn job_under_way(job: &str, path: &Path) -> Finding {
    Finding::new(
        "job-under-way",
        format!("another process is running job `{job}` of the ledger `{}`", path.display()),
    )
    .hint("wait until it ends; Ctrl-C stops it and gives back what it reserved")
}

/// There is no reservation that could be voided.
pub fn reservation_missing(job: &str, path: &Path) -> Finding {
    Finding::new(
        "reservation-missing",
        format!("the ledger `{}` has no reservation of job `{job}`", path.display()),
    )
    .hint("`discretail ledger show` lists its jobs and their states")
}
