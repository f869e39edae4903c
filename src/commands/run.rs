//! `discretail run JOB`

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use indicatif::HumanBytes;

use super::earlier::use_earlier;
use super::plan::terms_of;
use super::predicted::admit;
use super::reserved::give_back;
use super::revision::revises_alone;
use super::{Failure, cancel_flag, cut, memory, note_untested, read_plan, reader, threads};
use crate::cli::RunArgs;
use crate::console::{self, Progress};
use crate::engine::given::Given;
use crate::engine::local::Local;
use crate::engine::remote::{Asker, Remote};
use crate::engine::sql::Query;
use crate::engine::{Engine, ExactSurveys, ExactTotals};
use crate::error::{Error, Result};
use crate::estimate::estimate;
use crate::findings;
use crate::job::{Dialect, Job, PrivacyUnit};
use crate::ledger::{Hold, Ledger, Request, Reservation, Terms};
use crate::mechanism::{self, RunKey, add_noise};
use crate::payments::{Progress as Step, Scan, ScanControl};
use crate::plan::Plan;
use crate::privacy::PrivacyLoss;
use crate::release::{self, Draft, InLedger};
use crate::report;

/// What became of a run.
enum Outcome {
    Released(PathBuf),
    ReleasedBefore(PathBuf),
}

pub(super) fn run(args: &RunArgs) -> std::result::Result<(), Failure> {
    reader::limit(args.threads, args.memory.is_some())?;
    cut::end_with_a_message(args.json)?;
    let (mut plan, source) = read_plan(&args.job)?;
    let outcome = run_plan(args, &mut plan);
    let fail = |error| Failure::in_job(error, &args.job, source);
    Ok(show(args, &plan, outcome.map_err(fail)?)?)
}

/// Reserve before reading, spend before noise, publish after the files are on disk.
fn run_plan(args: &RunArgs, plan: &mut Plan) -> Result<Outcome> {
    let cancelled = cancel_flag()?;
    let job = plan.job.clone();
    let folder = args.out.clone().unwrap_or_else(|| job.releases.join(&job.id));
    let folder = std::path::absolute(&folder).unwrap_or(folder);
    if folder.to_str().is_none() {
        return Err(Error::invalid(findings::release_folder_not_text(&folder)));
    }
    if let Some(parent) = folder.parent() {
        release::outside_releases(parent)?;
    }
    let terms = terms_of(plan)?;
    let used = use_earlier(plan).and_then(|()| admit(plan, args.accept_useless));

    if let Some(outcome) = done_before(plan, &terms, &folder, args.force)? {
        return Ok(outcome);
    }
    used?;
    let hold = give_back(plan, args.accept_useless)?;
    revises_alone(plan)?;
    let plan = &*plan;
    if !job.ledger.file.exists() {
        terms.allow(&request(plan), &job.ledger.file)?;
    }
    let engine = engine(args, ScanControl { cancelled: &cancelled, progress: &|_| {} });
    let (work, text) = ready(args, plan, &engine)?;
    let _hold = hold.map_or_else(|| Hold::take(&job.ledger.file, &job.id), Ok)?;
    // What another run did before this one had the job to itself.
    if let Some(known) = earlier(plan, &terms)? {
        return released_before(plan, &terms, known, &folder);
    }

    memory::suffices(&engine, plan)?;
    let mut ledger = Ledger::open_or_create(&job.ledger.file, &terms)?;
    let reservation = ledger.reserve(&request(plan))?;
    if reservation != Reservation::Granted {
        return released_before(plan, &terms, reservation, &folder);
    }
    let alone = revises_alone(plan).and_then(|()| in_ledger(plan, &ledger));
    let fitted = alone.and_then(|in_ledger| {
        Ok((in_ledger, read_and_pay(&work, plan, &folder, &mut ledger, (text, engine.threads))?))
    });
    let (in_ledger, (plan, totals, draft, key)) = match fitted {
        Ok(fitted) => fitted,
        Err(error) => {
            // Where nothing has been drawn, nothing is owed; the ledger voids no entry that is
            // spent. If another process changed it meanwhile, what went wrong here is still what
            // to show.
            let _ = ledger.void(&job.id);
            return Err(error);
        }
    };
    let plan = &plan;
    write(plan, (totals, in_ledger), (draft, key), (args.force, engine.threads))
        .map_err(|error| error.map(|finding| finding.when_charged(&job.id)))?;
    let folder = folder.canonicalize().unwrap_or(folder);
    publish(&mut ledger, &job, plan.loss, &folder)?;
    Ok(Outcome::Released(folder))
}

/// A job that was released before is answered without a look at its payments. `None`: it was not,
/// and its release may be put into `folder`.
fn done_before(plan: &Plan, terms: &Terms, folder: &Path, force: bool) -> Result<Option<Outcome>> {
    let job = &plan.job;
    // A run that was killed while it replaced a release may have left it aside.
    release::sweep(folder);
    // Looked at first: what another run of the job has put there is known to the ledger by now.
    let free = release::may_be_at(folder, job, force);
    match earlier(plan, terms)? {
        Some(published @ Reservation::Published { .. }) => {
            released_before(plan, terms, published, folder).map(Some)
        }
        Some(spent) => {
            let _hold = Hold::take(&job.ledger.file, &job.id)?;
            let known = earlier(plan, terms)?.unwrap_or(spent);
            release::sweep(folder);
            released_before(plan, terms, known, folder).map(Some)
        }
        None => free.map(|()| None),
    }
}

/// Adds the noise and writes the release.
fn write(
    plan: &Plan,
    (totals, in_ledger): (ExactTotals, InLedger),
    (mut draft, key): (Draft, RunKey),
    (force, threads): (bool, usize),
) -> Result<()> {
    // Ctrl-C is not heard any more, as the price is paid: from here on, or, where bounds were open
    // or keys looked for, since before all users were fitted. The rest takes a moment.
    let started = Instant::now();
    let noisy = {
        let _spinner = Progress::spinner("adding noise".to_owned());
        add_noise(plan, totals, key, threads)?
    };
    tracing::info!("noise added in {:.1} s", started.elapsed().as_secs_f64());
    let started = Instant::now();
    let estimates = estimate(plan, noisy, threads);
    tracing::info!("estimated in {:.1} s", started.elapsed().as_secs_f64());
    let started = Instant::now();
    draft.use_room();
    let tables = release::write(&estimates, Some(in_ledger), &draft, threads)?;
    let page = report::page(tables.folder(), &tables.manifest(), threads)?;
    tables.seal(report::FILE, &page)?;
    tracing::info!("release written in {:.1} s", started.elapsed().as_secs_f64());
    draft.publish(force.then_some(&*plan.job.id))
}

fn earlier(plan: &Plan, terms: &Terms) -> Result<Option<Reservation>> {
    let ledger = Ledger::open(&plan.job.ledger.file, terms)?;
    ledger.map_or(Ok(None), |ledger| ledger.earlier(&request(plan)))
}

/// An earlier run of this job got as far as its noise: its release is the answer, if it is whole.
fn released_before(
    plan: &Plan,
    terms: &Terms,
    earlier: Reservation,
    folder: &Path,
) -> Result<Outcome> {
    let job = &plan.job;
    match earlier {
        Reservation::Published { folder, release_digest } => {
            if release::is_complete(&folder, job) != Some(release_digest) {
                return Err(Error::refused(findings::release_missing(&job.id, &folder)));
            }
            Ok(Outcome::ReleasedBefore(folder))
        }
        // The run stopped between the folder's rename and its entry: the price is paid. It is that
        // of the ledger: a plan whose earlier releases are gone since has another one.
        Reservation::Spent { loss } if release::publishable(folder, job, loss).is_ok() => {
            let mut ledger = Ledger::open_or_create(&job.ledger.file, terms)?;
            publish(&mut ledger, job, loss, folder)?;
            Ok(Outcome::ReleasedBefore(folder.to_owned()))
        }
        _ => Err(Error::refused(findings::job_spent(&job.id, &job.ledger.file))),
    }
}

/// What the ledger's jobs come to, this one too; where units are within periods, also for all
/// payments of a user.
fn in_ledger(plan: &Plan, ledger: &Ledger) -> Result<InLedger> {
    let report = ledger.report_when_reserved(&plan.job.id)?;
    let limit = report.total.budget.expect("cannot fail because every ledger has a total");
    let taken = report.ever_taken().expect("cannot fail because every ledger has a total");
    let within = plan.job.privacy.unit != PrivacyUnit::User;
    let composed = if within { report.ever_composed() } else { None };
    Ok(InLedger { taken, limit, composed })
}

/// Where the exact totals come from.
enum Work<'w> {
    Local(&'w Local<'w>),
    Given(Given<'w>),
    Remote(Remote<'w>),
}

/// Is there what can be read? Gives what reads it, and what to say while it does.
fn ready<'w>(
    args: &'w RunArgs,
    plan: &'w Plan,
    engine: &'w Local<'w>,
) -> Result<(Work<'w>, String)> {
    Query::check(plan)?;
    let source = &plan.job.payments;
    let server = source.table.as_ref().and_then(|table| Some((table, table.server.as_ref()?)));
    match (&args.totals, server) {
        (Some(_), _) if source.table.is_none() => {
            Err(Error::invalid(findings::totals_unexpected().at(source.span.clone())))
        }
        (Some(path), _) => Ok((Work::Given(Given { path }), format!("reading {}", path.display()))),
        (None, Some((table, server))) => {
            let asker = Asker {
                cancelled: engine.control.cancelled,
                spill_folder: &engine.spill_folder,
                note: &console::note,
            };
            let remote = Remote::new(table, server, asker)?;
            note_untested(Some(server.dialect()));
            let text = format!("the table {} is added up by {}", table.shown(), server.engine());
            let _spinner = Progress::spinner(format!("asking for the table {}", table.shown()));
            remote.is_there(plan)?;
            Ok((Work::Remote(remote), text))
        }
        (None, None) => {
            let scan = Scan::open(plan)?;
            let text = format!("reading {} (files: {})", HumanBytes(scan.bytes()), scan.files());
            Ok((Work::Local(engine), text))
        }
    }
}

/// Reads the payments, or totals of them, and pays, before the first noise: that of the rounds that
/// find keys, if there are any, else of the surveys, else of the totals.
fn read_and_pay(
    work: &Work,
    plan: &Plan,
    folder: &Path,
    ledger: &mut Ledger,
    (text, threads): (String, usize),
) -> Result<(Plan, ExactTotals, Draft, RunKey)> {
    // Totals from elsewhere say themselves if there were rows.
    let seen = AtomicBool::new(!matches!(work, Work::Local(_)));
    let pay = |ledger: &mut Ledger| -> Result<(Draft, RunKey)> {
        if !seen.load(Ordering::Relaxed) {
            let source = &plan.job.payments;
            let finding = findings::rows_missing(source.filter.is_some());
            return Err(Error::invalid(finding.at(source.span.clone())));
        }
        // A folder that cannot be written, or has no room, must show before the price is paid.
        let mut draft = Draft::beside(folder)?;
        let tables = release::bytes(plan);
        let bytes = tables.saturating_add(report::bytes(tables));
        draft.keep_room(bytes, &release::files(plan, report::FILE))?;
        let ready = (draft, RunKey::from_system()?);
        ledger.spend(&plan.job.id)?;
        Ok(ready)
    };
    let bar = Progress::run(text);
    let progress = |step| {
        if matches!(step, Step::Read { some: true, .. }) {
            seen.store(true, Ordering::Relaxed);
        }
        bar.show(step);
    };
    let mut paid = None;
    let mut asked = plan.clone();
    let mut settle = |exact: ExactSurveys| {
        let (_, key) = match &mut paid {
            Some(paid) => paid,
            None => paid.insert(pay(ledger)?),
        };
        asked = mechanism::settle(&asked, exact, key, threads)?;
        Ok(asked.clone())
    };
    let fitted = match work {
        Work::Given(given) => given.totals(plan, &mut settle),
        Work::Remote(remote) => remote.totals(plan, &mut settle),
        Work::Local(engine) => {
            let control = ScanControl { progress: &progress, ..engine.control };
            Local { control, ..(**engine).clone() }.totals(plan, &mut settle)
        }
    };
    drop(bar);
    if fitted.is_err() && paid.is_some() {
        let asked = match plan.is_seeking() {
            true => "rounds that find keys",
            false => "surveys that choose bounds",
        };
        console::note(&format!("the price was paid before, for the {asked}"));
    }
    let charged = |error: Error| match paid {
        Some(_) => error.map(|finding| finding.when_charged(&plan.job.id)),
        None => error,
    };
    let (plan, totals) = fitted.map_err(charged)?;
    if matches!(work, Work::Given(_)) {
        note_untested(plan.totals_from.and_then(Dialect::named));
    }
    let (draft, key) = paid.map_or_else(|| pay(ledger), Ok)?;
    Ok((plan, totals, draft, key))
}

/// The engine that the command line asks for.
fn engine<'c>(args: &RunArgs, control: ScanControl<'c>) -> Local<'c> {
    let memory = args.memory.unwrap_or_else(memory::half_of_what_is_free);
    Local {
        control,
        threads: threads(args.threads.map(usize::from)),
        memory: memory.max(Local::MEMORY_MIN),
        spill_folder: args.spill_dir.clone().unwrap_or_else(std::env::temp_dir),
        partition_bits: Local::PARTITION_BITS,
    }
}

/// What a run asks of the ledger.
pub(super) fn request(plan: &Plan) -> Request<'_> {
    let job = &plan.job;
    assert!(
        job.privacy.allows(plan.loss),
        "cannot fail because no step of planning takes more than ε and δ allow"
    );
    Request {
        job: &job.id,
        digest: &job.digest,
        recipient: &job.recipient,
        user: job.user(),
        time: job.time(),
        loss: plan.loss,
        all_units: plan.all_units(),
    }
}

/// Records the release in `folder`, which is charged.
fn publish(ledger: &mut Ledger, job: &Job, loss: PrivacyLoss, folder: &Path) -> Result<()> {
    let digest = release::publishable(folder, job, loss)
        .map_err(|error| error.map(|finding| finding.when_charged(&job.id)))?;
    ledger
        .publish(&job.id, folder, &digest)
        .map_err(|error| error.map(|finding| finding.when_released(folder)))
}

fn show(args: &RunArgs, plan: &Plan, outcome: Outcome) -> Result<()> {
    let (folder, status, done) = match outcome {
        Outcome::Released(folder) => (folder, "released", "the release is made and charged"),
        Outcome::ReleasedBefore(folder) => {
            (folder, "released-before", "the release was made before, and nothing is charged")
        }
    };
    let done = format!("{done}: {}", folder.display());
    if args.json {
        let summary = serde_json::json!({
            "status": status,
            "job": plan.job.id,
            "folder": folder.display().to_string(),
        });
        return console::result_of(&done, &summary.to_string());
    }
    let privacy = plan.job.privacy;
    console::note(&match status {
        "released" => format!(
            "released job `{}`: {} with epsilon {} and delta {} for each {}",
            plan.job.id,
            findings::counted(plan.levels.iter().filter(|level| !level.unshown).count(), "table"),
            privacy.epsilon,
            privacy.delta,
            privacy.unit.label(plan.job.payments.zone)
        ),
        _ if is_elsewhere(args, &folder) => format!(
            "job `{}` was released before, to another folder: --out was not used; nothing is charged",
            plan.job.id
        ),
        _ => format!("job `{}` was released before; nothing is charged", plan.job.id),
    });
    console::result_of(&done, &folder.display().to_string())
}

/// Does a release stand in another folder than was asked for?
fn is_elsewhere(args: &RunArgs, folder: &Path) -> bool {
    args.out.as_ref().is_some_and(|out| {
        let out = out.canonicalize().or_else(|_| std::path::absolute(out));
        out.map_or(true, |out| out != folder)
    })
}
