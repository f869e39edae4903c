//! What is audited: the functions of a run, in the order of a run. The tests put programs with
//! planted faults in its place (`tests_sensitivity.rs`).

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::outside::{self, Ran};
use super::twin::Twin;
use crate::engine::local::Local;
use crate::engine::{Engine, ExactSurveys, ExactTotals, LevelTotals, Settle};
use crate::error::Result;
use crate::estimate::KnownEstimates;
use crate::mechanism::{
    KnownKey, KnownTotals, NoisyTotals, RunKey, add_known_noise, add_noise, noise_surveys,
    noise_surveys_known, settle_known,
};
use crate::payments::ScanControl;
use crate::plan::{CellKey, Plan, Survey};
use crate::release::render;

/// The stations of a run that touch sensitive values, and what is made of them.
pub(crate) trait Subject: Sync {
    /// Payments to exact totals.
    fn totals(&self, twin: &Twin, plan: &Plan, settle: Settle) -> Result<(Plan, ExactTotals)>;

    /// Noise for what surveys count.
    fn surveys(&self, plan: &Plan, exact: ExactSurveys, key: &KnownKey) -> Result<Vec<Survey>> {
        noise_surveys_known(plan, exact, key)
    }

    /// What a round finds.
    fn find(&self, plan: &Plan, exact: ExactSurveys, key: &KnownKey) -> Result<Plan> {
        settle_known(plan, exact, key, self.threads())
    }

    /// Bounds from surveys.
    fn settle(&self, plan: &Plan, surveys: &[Survey], _exact: &ExactSurveys) -> Plan {
        plan.clone().settle(surveys.to_vec())
    }

    /// Noise for totals, from a known key.
    fn known(&self, plan: &Plan, totals: ExactTotals, key: &KnownKey) -> Result<KnownTotals> {
        add_known_noise(plan, totals, key, self.threads())
    }

    /// Noise for totals, and for what surveys count, from one key that nobody knows, as in a run.
    fn release(
        &self,
        plan: &Plan,
        totals: ExactTotals,
        surveys: Option<ExactSurveys>,
    ) -> Result<(NoisyTotals, Vec<Survey>)> {
        let key = RunKey::from_system()?;
        let surveys = surveys.map(|exact| noise_surveys(plan, exact, &key)).transpose()?;
        Ok((add_noise(plan, totals, key, 1)?, surveys.unwrap_or_default()))
    }

    /// The files of a release.
    fn files(&self, plan: &Plan, totals: &KnownTotals) -> Result<Vec<(String, Vec<u8>)>> {
        render(&KnownEstimates::new(plan, totals, self.threads()))
    }

    /// A process of its own on the job file `job` in `folder`; `None`: there is no program to
    /// start.
    fn outside(&self, _folder: &Path, _job: &str) -> Result<Option<Ran>> {
        Ok(None)
    }

    /// Threads to use.
    fn threads(&self) -> usize;
}

/// The program itself.
pub(crate) struct Program {
    pub(crate) threads: usize,
    /// Its file, for what is tried from the outside.
    pub(crate) file: Option<PathBuf>,
}

static NEVER: AtomicBool = AtomicBool::new(false);

impl Program {
    /// The functions alone.
    pub(crate) fn within(threads: usize) -> Program {
        Program { threads, file: None }
    }

    /// The engine of a run, for a twin.
    pub(crate) fn engine(&self, twin: &Twin, plan: &Plan) -> Local<'static> {
        let engine = Local {
            control: ScanControl { cancelled: &NEVER, progress: &|_| {} },
            threads: self.threads,
            memory: 0,
            spill_folder: twin.folder().to_owned(),
            // Twins are small.
            partition_bits: 2,
        };
        let least = engine.memory_least(plan);
        Local { memory: (2 * least).max(Local::MEMORY_MIN), ..engine }
    }
}

impl Subject for Program {
    fn totals(&self, twin: &Twin, plan: &Plan, settle: Settle) -> Result<(Plan, ExactTotals)> {
        self.engine(twin, plan).totals(plan, settle)
    }

    fn outside(&self, folder: &Path, job: &str) -> Result<Option<Ran>> {
        self.file.as_ref().map(|file| outside::run(file, folder, job, self.threads)).transpose()
    }

    fn threads(&self) -> usize {
        self.threads
    }
}

/// A run on a twin whose noise is known.
pub(crate) struct Replay {
    /// With all bounds.
    pub(crate) plan: Plan,
    /// The same before surveys, after the rounds that find keys.
    pub(crate) asked: Plan,
    pub(crate) surveys: Vec<Survey>,
    pub(crate) totals: KnownTotals,
}

/// The key of all replays.
pub(crate) fn key() -> KnownKey {
    KnownKey::new([0xA5; 32])
}

/// Runs the twin's payments through the subject, as `run` does; with the bounds of `settled`, where
/// given, whatever the surveys say.
pub(crate) fn replay(subject: &dyn Subject, twin: &Twin, settled: Option<&Plan>) -> Result<Replay> {
    let (mut asked, key) = (twin.plan().clone(), key());
    let mut surveys = Vec::new();
    let (plan, exact) = subject.totals(twin, twin.plan(), &mut |exact| {
        if asked.is_seeking() {
            asked = match settled {
                Some(settled) => asked.clone().with_keys_of(settled),
                None => asked.clone().discover(some_of(&exact.round)),
            };
            return Ok(asked.clone());
        }
        let noised = subject.surveys(&asked, exact.clone(), &key)?;
        let own = subject.settle(&asked, &noised, &exact);
        surveys = noised;
        Ok(settled.cloned().unwrap_or(own))
    })?;
    let totals = subject.known(&plan, exact, &key)?;
    Ok(Replay { plan, asked, surveys, totals })
}

/// Every second cell of a round that is left: a twin is so small that its noise would hide them
/// all, and what is measured in discovered cells holds for any of them.
fn some_of(round: &[LevelTotals]) -> Vec<Vec<CellKey>> {
    round.iter().map(|level| level.keys.iter().step_by(2).cloned().collect()).collect()
}
