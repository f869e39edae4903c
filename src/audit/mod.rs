//! The audit: evidence on a job or a release that can be shown to somebody else.
//!
//! It tries to refute what the job claims, on synthetic twins of its payments; the job's own are
//! never opened. `docs/audit.md` says what each check can show, and what none can.

mod adversaries;
mod attacks;
mod bounding;
mod canary;
mod checklist;
mod curve;
mod folder;
mod html;
mod law;
mod lint;
mod noise;
mod one_run;
mod outside;
mod pack;
mod pictures;
mod power;
mod race;
mod replay;
mod rounds;
mod row;
mod side;
mod subject;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_sampler;
#[cfg(test)]
mod tests_sensitivity;
mod twin;

use std::path::{Path, PathBuf};

pub use pack::{place, write};
pub use row::{Row, Verdict};

use crate::error::{Error, Result};
use crate::findings;
use crate::ledger::Report;
use crate::plan::Plan;
use crate::privacy::PrivacyBudget;
use replay::Stage;
use subject::{Program, Replay, Subject};
use twin::Twin;

/// How much is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What is exact: seconds.
    Quick,
    /// With more users, and with what takes many draws of noise: minutes.
    Full,
}

/// How far a user moved a statistic, against its bound: for pictures.
#[derive(Clone, Debug)]
pub struct Point {
    /// The statistic.
    pub what: String,
    /// The user.
    pub why: String,
    /// Norm over bound.
    pub share: f64,
}

/// What an attack found, at a rate of false alarms: for pictures.
#[derive(Clone, Debug)]
pub struct Mark {
    /// The attack.
    pub what: &'static str,
    /// The rate.
    pub alarms: f64,
    /// The share of users that it found.
    pub found: f64,
}

/// What a job claims.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// ε.
    pub epsilon: f64,
    /// δ.
    pub delta: f64,
    /// μ of all noise together.
    pub mu: f64,
    /// The part of δ that thresholds use.
    pub threshold_delta: f64,
}

impl Claim {
    fn of(plan: &Plan) -> Claim {
        let privacy = plan.job.privacy;
        Claim {
            epsilon: privacy.epsilon.value(),
            delta: privacy.delta.value(),
            mu: plan.loss.mu_squared.mu_up().value(),
            threshold_delta: plan.loss.threshold_delta.value(),
        }
    }

    /// The same where a threshold was found in so many releases as that with a rate of false
    /// alarms: its true rate may be larger, but for a chance of `alpha` not more than this allows
    /// for.
    pub(crate) fn ceiling_of_found(self, rate: f64, releases: usize, alpha: f64) -> f64 {
        let alarms = (rate * releases as f64) as u64;
        self.ceiling(law::clopper_pearson(alarms, releases as u64, alpha).1)
    }

    /// The most true alarms of any attack with so many false ones.
    pub(crate) fn ceiling(self, alarms: f64) -> f64 {
        (curve::power_gdp(self.mu, alarms) + self.threshold_delta).min(curve::power(
            self.epsilon,
            self.delta,
            alarms,
        ))
    }
}

/// The evidence on one job or release.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// What was audited: `job NAME` or `release FOLDER`.
    pub subject: String,
    /// What a job claims.
    pub claim: Option<Claim>,
    /// In the order of `docs/audit.md`.
    pub rows: Vec<Row>,
    /// For pictures.
    pub pictures: Pictures,
}

/// What pictures are drawn of.
#[derive(Clone, Debug, Default)]
pub struct Pictures {
    /// How far users moved statistics.
    pub points: Vec<Point>,
    /// Quantiles of the normal law, and of the noise.
    pub quantiles: Vec<(f64, f64)>,
    /// False and true alarms of an attacker.
    pub trade_off: Vec<(f64, f64)>,
    /// Single attacks.
    pub attacks: Vec<Mark>,
}

impl Evidence {
    /// Was nothing refuted?
    pub fn held(&self) -> bool {
        self.rows.iter().all(|row| row.verdict != Verdict::Refuted)
    }
}

/// What is known of a job besides its plan.
pub struct Facts<'a> {
    /// How many users there are, if that is public.
    pub users: Option<u64>,
    /// The job's ledger, if it is there.
    pub ledger: Option<&'a Report>,
    /// What the ledger's jobs may cost together.
    pub budget: PrivacyBudget,
    /// Threads to use.
    pub threads: usize,
    /// This program's file, for what is tried from the outside.
    pub program: Option<PathBuf>,
}

/// Audits a job by its plan.
///
/// # Errors
/// No temporary folder can be made or written, or the engine fails on a twin.
pub fn audit_job(plan: &Plan, facts: &Facts, depth: Depth) -> Result<Evidence> {
    let program = Program { threads: facts.threads, file: facts.program.clone() };
    let mut rows = lint::rows(plan, facts.users, facts.ledger, facts.budget);
    let (tried, pictures) = try_out(&program, plan, depth)?;
    rows.splice(0..0, tried.iter().filter(|row| row.check == "static").cloned());
    rows.extend(tried.into_iter().filter(|row| row.check != "static"));
    rows.extend(checklist::rows(plan));
    Ok(Evidence {
        subject: format!("job {}", plan.job.id),
        claim: Some(Claim::of(plan)),
        rows,
        pictures,
    })
}

/// What is tried on twins.
fn try_out(subject: &dyn Subject, plan: &Plan, depth: Depth) -> Result<(Vec<Row>, Pictures)> {
    let twin = Twin::new(plan)?;
    let stage = Stage::new(subject, &twin, depth)?;
    let mut rows = static_rows(subject, &twin, &stage.all)?;
    let (replays, mut points) = replay::rows(subject, &twin, &stage, depth)?;
    let (bounding, more) = bounding::rows(subject, &twin, &stage, depth)?;
    rows.extend(replays);
    rows.extend(bounding);
    rows.extend(rounds::rows(subject, twin.plan())?);
    points.extend(more);
    let mut pictures = Pictures { points, ..Pictures::default() };
    if depth == Depth::Full {
        let (noise, quantiles) = noise::rows(subject, &stage.all.plan)?;
        let (black_box, trade_off) =
            canary::rows(subject, &twin, &stage.all.plan, canary::RELEASES)?;
        rows.extend(noise.into_iter().chain(black_box));
        rows.extend(one_run::rows(subject, &twin, &stage.all.plan, one_run::SIZE)?);
        let (attacks, marks) = attacks::rows(subject, &twin, &stage, attacks::RELEASES)?;
        rows.extend(attacks);
        rows.extend(side::rows(subject, &twin, &stage)?);
        rows.extend(side::outside(subject, &twin, &stage)?);
        rows.push(race::row(subject, &twin)?);
        (pictures.quantiles, pictures.trade_off) = (quantiles, trade_off);
        pictures.attacks = marks;
    }
    Ok((rows, pictures))
}

/// The release of a replay, checked by `verify` as if it were one.
fn static_rows(subject: &dyn Subject, twin: &Twin, all: &Replay) -> Result<Vec<Row>> {
    let files = subject.files(&all.plan, &all.totals)?;
    let folder = twin.folder().join("replay");
    let failed = |e: std::io::Error| Error::environment(findings::audit_not_writable(&folder, &e));
    std::fs::create_dir(&folder).map_err(failed)?;
    for (name, bytes) in &files {
        let path = folder.join(name);
        // Tables that are partitioned have folders.
        let parent = path.parent().unwrap_or(&folder);
        std::fs::create_dir_all(parent).map_err(failed)?;
        let mut file = std::fs::File::create(&path).map_err(failed)?;
        std::io::Write::write_all(&mut file, bytes).map_err(failed)?;
    }
    folder::replay_rows(&folder)
}

/// Audits a release by its folder, and by its ledger if that is given.
///
/// # Errors
/// Environment: the folder or the ledger cannot be read.
pub fn audit_release(release: &Path, ledger: Option<&Path>) -> Result<Evidence> {
    Ok(Evidence {
        subject: format!("release {}", release.display()),
        claim: None,
        rows: folder::rows(release, ledger)?,
        pictures: Pictures::default(),
    })
}
