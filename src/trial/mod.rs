//! A job tried on payments that need no protection: how far its values would be from the truth,
//! with its own settings and with others.
//!
//! The payments are public or made up, says who tries the job; what is told of them is exact.
//! Nothing is reserved, charged or released. `docs/accuracy.md` defines the figures.

mod page;
mod score;
mod settings;
#[cfg(test)]
mod tests;
mod truth;

use std::path::PathBuf;
use std::sync::atomic::Ordering;

pub use page::{as_json, page};
pub use score::Spread;
use score::{Compared, ErrorScore, Score, Scorer, Share};
pub use settings::Skipped;
use settings::{Setting, others, plan_of};
use truth::{Truth, is_tried};

use crate::engine::Engine;
use crate::engine::local::Local;
use crate::error::{Error, Result};
use crate::estimate::{Column, Estimate, Estimates, Interval, Reason, Values, estimate};
use crate::findings;
use crate::job::{Insight, Job, Percent, Report, StatisticKind};
use crate::mechanism::{self, NoisyTotals, RunKey, add_noise};
use crate::payments::{Scan, own_files};
use crate::plan::{LevelPlan, Plan, Prediction, TablePlan};
use crate::privacy::Delta;

/// The first sizes of the classes, by exact customers.
pub const CLASSES: [f64; score::COUNT] = score::CLASSES;

/// What the setting is called that leaves stated bounds to the run.
pub const BOUNDS_CHOSEN: &str = "bounds chosen";

/// What a trial found.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The job's id.
    pub job: String,
    /// Files that it was tried on.
    pub files: usize,
    /// Releases for each setting.
    pub runs: u32,
    /// Of all settings.
    pub delta: Delta,
    /// Decimal places of money, which is in minor units.
    pub money_places: u32,
    /// Are keys, bounds or values of earlier releases left out, which a run would use?
    pub without_earlier: bool,
    /// The levels that were tried, as they are.
    pub levels: Vec<LevelFacts>,
    /// The job's own setting, then others.
    pub settings: Vec<Tried>,
    /// Settings that cannot be.
    pub skipped: Vec<Skipped>,
}

/// A level that was tried.
#[derive(Clone, Debug)]
pub struct LevelFacts {
    /// Its file, without ending.
    pub file: String,
    /// Are all its keys shown?
    pub is_public: bool,
    /// What job files call how its keys are chosen.
    pub selection: &'static str,
    /// Cells by class of size, those of no customers first; hidden ones are left out.
    pub cells: [u64; score::COUNT + 1],
    /// Its statistics.
    pub statistics: Vec<StatisticKind>,
    /// What was tried there.
    pub insights: Vec<Insight>,
}

/// What came out with one setting.
#[derive(Clone, Debug)]
pub struct Tried {
    /// What it is called; `the job` is the job's own.
    pub name: String,
    /// Its ε.
    pub epsilon: f64,
    /// By level.
    pub levels: Vec<LevelTried>,
}

/// One level with one setting.
#[derive(Clone, Debug)]
pub struct LevelTried {
    /// By statistic.
    pub bounds: Vec<BoundFigures>,
    /// Of private keys that hold payments the share that is shown.
    pub keys_shown: Option<KeyFigures>,
    /// By insight.
    pub insights: Vec<Figures>,
}

/// The bound of one statistic with one setting, over the releases; in natural units.
#[derive(Clone, Copy, Debug)]
pub struct BoundFigures {
    /// The norm bound.
    pub norm: Spread,
    /// Did the run choose it?
    pub is_chosen: bool,
    /// Standard deviation of the noise.
    pub noise: Spread,
}

/// How many private keys are shown, over the releases.
#[derive(Clone, Copy, Debug)]
pub struct KeyFigures {
    /// By class.
    pub by_class: [Option<Spread>; score::COUNT],
    /// Of all.
    pub all: Option<Spread>,
}

/// How far one insight is from the truth, over the releases.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Of the estimates.
    pub estimate: ErrorFigures,
    /// Of the noised values.
    pub noised: ErrorFigures,
    /// The share of intervals that hold the truth, by class.
    pub covered: [Option<Spread>; score::COUNT],
    /// The same of all cells.
    pub all_covered: Option<Spread>,
    /// The share of estimates that the job's `suppress_above` shows.
    pub shown: Option<Spread>,
    /// What `plan` expects.
    pub predicted: Option<Prediction>,
}

/// Errors over the releases.
#[derive(Clone, Copy, Debug)]
pub struct ErrorFigures {
    /// Median relative error, by class.
    pub by_class: [Option<Spread>; score::COUNT],
    /// Sum of errors against the sum of values.
    pub wape: Option<Spread>,
}

/// How a job is tried.
pub struct Options<'a> {
    /// Releases for each setting, at least one.
    pub runs: u32,
    /// Reads the files, once for each release whose bounds are open, and can be stopped.
    pub engine: Local<'a>,
    /// Told of each release: the setting, and the number of the release from 0 on.
    pub watch: &'a dyn Fn(&str, u32),
}

/// A job and files to try it on, in which nothing is wrong as far as their columns tell.
pub struct Ready {
    plan: Plan,
    files: usize,
    without_earlier: bool,
    /// By level, of each insight the largest relative error that is shown.
    limits: Vec<Limits>,
}

/// The line of the job that names files names others than those of a trial.
const FILES_HINT: &str = "this is about the files of --try: their paths start at the current folder, and they are \
                          read as [payments] says";

type Limits = Vec<(Insight, Option<Percent>)>;

impl Ready {
    /// Finds the files and checks their columns; reads no rows.
    ///
    /// # Errors
    /// Invalid: all that is wrong with files and columns; and files that are the job's own
    /// payments, whose exact values may not be told.
    pub fn new(job: &Job, files: &[PathBuf]) -> Result<Ready> {
        let tried = job.on_files(files);
        let own = own_files(&job.payments, &tried.payments);
        let mut faults: Vec<_> = own.iter().map(|f| findings::trial_payments_own(f)).collect();
        let mut plan = plan_of(tried)?;
        let files = match Scan::open(&plan) {
            Ok(scan) => scan.files(),
            Err(error) => {
                let place = &job.payments.span;
                let error = error.map(|fault| fault.but_not_at(place, Some(FILES_HINT)));
                faults.extend_from_slice(error.findings());
                0
            }
        };
        if !faults.is_empty() {
            return Err(Error::invalid_all(faults));
        }
        let limits = plan.levels.iter().map(|level| limits(&level.tables)).collect();
        merge_tables(&mut plan);
        let earlier = |report: &Report| !report.previous.is_empty() || !report.keys_from.is_empty();
        let without_earlier = job.reports.iter().any(earlier);
        Ok(Ready { plan, files, without_earlier, limits })
    }

    /// The job's own setting on these files.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Tries the job.
    ///
    /// # Errors
    /// Those of a run until its release is written, or Ctrl-C.
    pub fn try_out(self, options: &Options) -> Result<Trial> {
        let place = self.plan.job.payments.span.clone();
        self.tried(options).map_err(|error| error.map(|fault| fault.but_not_at(&place, None)))
    }

    fn tried(self, options: &Options) -> Result<Trial> {
        let Ready { plan, files, without_earlier, limits } = self;
        let truth = Truth::of(&options.engine, &plan)?;
        let stage = Stage { options, truth: &truth, limits: &limits };
        let own = Setting { name: "the job".to_owned(), plan };
        let (tried, chosen) = stage.tried(&own)?;
        let (others, skipped) = others(&own.plan, &chosen);
        let mut settings = vec![tried];
        for mut setting in others {
            merge_tables(&mut setting.plan);
            settings.push(stage.tried(&setting)?.0);
        }
        let levels = own.plan.levels.iter().zip(&truth.levels).map(|(level, truth)| LevelFacts {
            file: level.file.clone(),
            is_public: level.is_public(),
            selection: level.selection.name(),
            cells: truth.classes(level),
            statistics: level.statistics.iter().map(|s| s.kind).collect(),
            insights: level.tables[0].insights.clone(),
        });
        let levels = levels.collect();
        let (job, runs, delta) = (&own.plan.job, options.runs, own.plan.job.privacy.delta);
        let (job, money_places) = (job.id.clone(), job.payments.money_places());
        let trial = Trial {
            job,
            files,
            runs,
            delta,
            money_places,
            without_earlier,
            levels,
            settings,
            skipped,
        };
        Ok(trial)
    }
}

/// Of each insight that is tried, the largest relative error at which a table shows it; of several
/// tables the first one's.
fn limits(tables: &[TablePlan]) -> Limits {
    let all = tables.iter().flat_map(|t| t.insights.iter().map(|&i| (i, t.suppress_above)));
    let mut limits: Limits = all.filter(|(insight, _)| is_tried(*insight)).collect();
    limits.sort_by_key(|(insight, _)| *insight);
    limits.dedup_by_key(|(insight, _)| *insight);
    limits
}

/// Has the first table of each level show all that is tried there, whatever its error.
fn merge_tables(plan: &mut Plan) {
    for level in &mut plan.levels {
        let insights = limits(&level.tables).into_iter().map(|(insight, _)| insight).collect();
        let table = &mut level.tables[0];
        (table.insights, table.suppress_above, table.peers) = (insights, None, None);
    }
}

/// The norm bounds of several releases, by level and statistic, in natural units.
struct Chosen(Vec<Vec<Vec<f64>>>);

impl Chosen {
    fn new(plan: &Plan) -> Chosen {
        let none = |level: &LevelPlan| vec![Vec::new(); level.statistics.len()];
        Chosen(plan.levels.iter().map(none).collect())
    }

    fn add(&mut self, level: usize, statistic: usize, norm: f64) {
        self.0[level][statistic].push(norm);
    }

    /// That in the middle.
    fn norm(&self, level: usize, statistic: usize) -> Option<f64> {
        Some(self.spread(level, statistic)?.middle)
    }

    fn spread(&self, level: usize, statistic: usize) -> Option<Spread> {
        Spread::of(self.0[level][statistic].iter().copied().map(Some))
    }
}

/// What all settings are tried with.
struct Stage<'a> {
    options: &'a Options<'a>,
    truth: &'a Truth,
    limits: &'a [Limits],
}

/// One level in one release.
struct LevelRun {
    keys_shown: Option<[Share; score::COUNT]>,
    insights: Vec<Score>,
}

impl Stage<'_> {
    fn tried(&self, setting: &Setting) -> Result<(Tried, Chosen)> {
        let open = &setting.plan;
        let (mut chosen, mut runs) = (Chosen::new(open), Vec::new());
        let mut each = |plan: &Plan, noisy: NoisyTotals| {
            for (place, level) in plan.levels.iter().enumerate() {
                for (at, statistic) in level.statistics.iter().enumerate() {
                    let noise = statistic.noise;
                    chosen.add(place, at, noise.to_natural(noise.bound.norm() as f64));
                }
            }
            let estimates = estimate(plan, noisy, self.options.engine.threads);
            let of_level = |place| self.level(plan, &estimates, place);
            runs.push((0..plan.levels.len()).map(of_level).collect::<Vec<LevelRun>>());
        };
        self.releases(setting, &mut each)?;
        let levels = (0..open.levels.len()).map(|place| tried_level(open, place, &chosen, &runs));
        let (name, epsilon) = (setting.name.clone(), open.job.privacy.epsilon.value());
        Ok((Tried { name, epsilon, levels: levels.collect() }, chosen))
    }

    /// Makes noised totals as a run does, again and again.
    fn releases(
        &self,
        Setting { name, plan }: &Setting,
        each: &mut dyn FnMut(&Plan, NoisyTotals),
    ) -> Result<()> {
        let Options { runs, engine, watch } = self.options;
        let mut fitted = None;
        for run in 0..*runs {
            watch(name, run);
            if engine.control.cancelled.load(Ordering::Relaxed) {
                return Err(Error::cancelled());
            }
            let key = RunKey::from_system()?;
            // Bounds that are open are others each time, and so is what users are fitted into.
            let (settled, totals) = match fitted.take().filter(|_| plan.is_settled()) {
                Some(known) => known,
                None => {
                    let mut asked = plan.clone();
                    engine.totals(plan, &mut |exact| {
                        asked = mechanism::settle(&asked, exact, &key, engine.threads)?;
                        Ok(asked.clone())
                    })?
                }
            };
            if plan.is_settled() && run + 1 < *runs {
                fitted = Some((settled.clone(), totals.clone()));
            }
            each(&settled, add_noise(&settled, totals, key, engine.threads)?);
        }
        Ok(())
    }

    /// How far the estimates of a level are from the truth.
    fn level(&self, plan: &Plan, estimates: &Estimates, place: usize) -> LevelRun {
        let (level, truth) = (&plan.levels[place], &self.truth.levels[place]);
        let limits = &self.limits[place];
        let mut scorers = vec![Scorer::default(); limits.len()];
        let table = estimates.table(place, 0);
        let slices = table.slices(table.rows());
        let (mut rows, mut shown) = (table.rows().iter(), vec![false; truth.cells()]);
        for slice in (0..slices.count()).map(|slice| slices.get(slice)) {
            // Of each row its cell. Rows of public levels are places of cells in the plan's order.
            let cells: Vec<Option<usize>> = match level.is_public() {
                true => rows.by_ref().take(slice.keys.len()).copied().map(Some).collect(),
                false => slice.keys.iter().map(|key| truth.find(key)).collect(),
            };
            cells.iter().flatten().for_each(|&cell| shown[cell] = true);
            for (scorer, &(insight, limit)) in scorers.iter_mut().zip(limits) {
                let columns = slice.columns.iter().filter(|column| column.insight == insight);
                for (part, column) in columns.enumerate() {
                    let of = |cell: usize| {
                        Some((truth.value(insight, part, cell)?, truth.customers(cell)))
                    };
                    add(scorer, column, limit, cells.iter().map(|cell| of((*cell)?)));
                }
            }
        }
        let keys = || truth.keys_shown(level, |cell| shown[cell]);
        LevelRun {
            keys_shown: (!level.is_public()).then(keys),
            insights: scorers.into_iter().map(Scorer::score).collect(),
        }
    }
}

/// Adds one column of some rows; `truths` are the true value with its weight, and the customers.
fn add(
    scorer: &mut Scorer,
    column: &Column,
    limit: Option<Percent>,
    truths: impl Iterator<Item = Option<((f64, f64), f64)>>,
) {
    for (row, known) in truths.enumerate() {
        let Some(((truth, weight), customers)) = known else { continue };
        // Hidden whatever the payments are.
        let hidden = [Reason::Merchants, Reason::LookBack, Reason::LookAhead, Reason::NoPeriod];
        if column.suppressed[row].is_some_and(|reason| hidden.contains(&reason)) {
            continue;
        }
        let (estimate, noised) = read(&column.values, row);
        let error = |i: Interval<f64>| (i.high - i.low) / 2.0 / i.value.abs();
        let below = |error: f64| limit.is_none_or(|limit| error <= limit.value());
        let shown = estimate.is_some_and(|estimate| below(error(estimate)));
        scorer.add(&Compared { customers, truth, weight, estimate, noised, shown });
    }
}

/// The estimate with its interval, and the noised value, as far as they are there.
fn read(values: &Values, row: usize) -> (Option<Interval<f64>>, Option<f64>) {
    let whole = |value: Option<f64>, low: Option<f64>, high: Option<f64>| {
        Some(Interval { value: value?, low: low?, high: high? })
    };
    match values {
        Values::Counts(values) | Values::Positions(values) => {
            let Estimate { interval: Interval { value, low, high }, unbiased, .. } = values[row];
            (whole(value, low, high), unbiased)
        }
        Values::Money(values) => {
            let Estimate { interval: Interval { value, low, high }, unbiased, .. } = values[row];
            let float = |money: Option<i128>| money.map(|money| money as f64);
            (whole(float(value), float(low), float(high)), float(unbiased))
        }
    }
}

/// One level over all releases of a setting.
fn tried_level(open: &Plan, place: usize, chosen: &Chosen, runs: &[Vec<LevelRun>]) -> LevelTried {
    let level = &open.levels[place];
    let statistics = level.statistics.iter().enumerate();
    let bounds = statistics.map(|(at, statistic)| {
        let norm = chosen.spread(place, at).expect("cannot fail because there is a release");
        // What it costs is the same with any bound.
        let noise = norm.times(1.0 / statistic.charge.mu_up().value());
        BoundFigures { norm, is_chosen: open.is_open(place, at), noise }
    });
    let own: Vec<&LevelRun> = runs.iter().map(|run| &run[place]).collect();
    let by_class = |of: &dyn Fn(&LevelRun) -> Option<[Option<f64>; score::COUNT]>| {
        std::array::from_fn(|class| Spread::of(own.iter().map(|run| of(run)?[class])))
    };
    let insights = level.tables[0].insights.iter().enumerate().map(|(at, &insight)| {
        let errors = |of: &dyn Fn(&Score) -> ErrorScore| ErrorFigures {
            by_class: by_class(&|run| Some(of(&run.insights[at]).by_class)),
            wape: Spread::of(own.iter().map(|run| of(&run.insights[at]).wape)),
        };
        let of_all = |of: &dyn Fn(&Score) -> Option<f64>| {
            Spread::of(own.iter().map(|run| of(&run.insights[at])))
        };
        Figures {
            estimate: errors(&|score| score.estimate),
            noised: errors(&|score| score.noised),
            covered: by_class(&|run| Some(run.insights[at].covered)),
            all_covered: of_all(&|score| score.all_covered),
            shown: of_all(&|score| score.shown),
            predicted: predicted(open, place, insight),
        }
    });
    let keys_shown = (!level.is_public()).then(|| KeyFigures {
        by_class: by_class(&|run| run.keys_shown.map(|keys| keys.map(Share::value))),
        all: Spread::of(own.iter().map(|run| Share::sum(&run.keys_shown?).value())),
    });
    LevelTried { bounds: bounds.collect(), keys_shown, insights: insights.collect() }
}

/// What the plan expects of an insight that is the sum of one statistic.
fn predicted(plan: &Plan, place: usize, insight: Insight) -> Option<Prediction> {
    let [kind] = *insight.statistics() else { return None };
    // The sum of both its numbers, or of all its classes, says less of one of them.
    let is_sum = insight.name() == kind.name();
    plan.predicted(place, plan.levels[place].position(kind)?).filter(|_| is_sum)
}
