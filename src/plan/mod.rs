//! The plan: which statistics, with which bounds, how much noise, at what price.
//!
//! Made from the job and public facts alone; opens no payments. What the numbers mean and why
//! they suffice is in `docs/privacy.md`.

mod calibrate;
mod cells;
mod composed;
mod score;

use std::collections::BTreeSet;
use std::ops::Range;

pub use calibrate::budget_of;
pub use cells::{CellKey, CellSpace, KeyValue};
pub use composed::Composed;
pub use score::Score;

use crate::error::{Error, Result};
use crate::findings;
use crate::job::{Insight, Job, Key, Level, PartitionSelection, Report, StatisticKind};
use crate::privacy::{Delta, MuSquared, NormBound, PrivacyLoss, largest_loss};

/// Everything that is decided before any payment is read.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The job that is planned.
    pub job: Job,
    /// All levels of all reports, in the order of the job.
    pub levels: Vec<LevelPlan>,
    /// What the job costs.
    pub loss: PrivacyLoss,
    /// Names of the payments' columns that some level uses as a key, in the order of records.
    pub columns: Vec<String>,
}

/// One level of one report.
#[derive(Clone, Debug)]
pub struct LevelPlan {
    /// Name of the report.
    pub report: String,
    /// File name of the table, without ending.
    pub file: String,
    /// The keys, in the order of columns.
    pub keys: Vec<Key>,
    /// What is shown.
    pub insights: Vec<Insight>,
    /// The cells and how payments find theirs.
    pub cells: CellSpace,
    /// Whether all cells are shown or only those that pass a threshold.
    pub selection: Selection,
    /// What is summed and noised, in the order of [`StatisticKind::ALL`].
    pub statistics: Vec<StatisticPlan>,
    /// Cells of private keys that are shown whatever their values, ascending: earlier releases
    /// have made their keys public.
    pub always: Vec<CellKey>,
    /// The earlier jobs, each with the digest of its release's manifest.
    pub keys_from: Vec<(String, String)>,
}

impl LevelPlan {
    /// Numbers in each cell, of all statistics.
    pub fn width(&self) -> usize {
        self.statistics.iter().map(|s| s.width).sum()
    }

    /// For each statistic its places among the numbers of a cell.
    pub fn columns(&self) -> impl Iterator<Item = Range<usize>> {
        self.statistics.iter().scan(0, |end, statistic| {
            *end += statistic.width;
            Some(*end - statistic.width..*end)
        })
    }

    /// Has cells with these values of all keys but time, in the order of the level, always be shown,
    /// at every time of the job. `false`, and nothing is done, if that makes too many cells.
    pub fn keep(&mut self, keys: &BTreeSet<Vec<KeyValue>>) -> bool {
        let times = &self.cells.times.groups;
        if (keys.len() as u128) * (times.len() as u128) > Plan::CELLS_MAX {
            return false;
        }
        for values in keys {
            for time in times {
                let (mut values, mut time) = (values.iter(), time.iter());
                let part = |key: &Key| {
                    let next =
                        if matches!(key, Key::Time(_)) { time.next() } else { values.next() };
                    next.cloned().expect("cannot fail because each key has a value")
                };
                self.always.push(self.keys.iter().map(part).collect());
            }
        }
        self.always.sort();
        self.always.dedup();
        true
    }

    /// The place of a statistic in `statistics`.
    pub fn position(&self, kind: StatisticKind) -> Option<usize> {
        self.statistics.iter().position(|s| s.kind == kind)
    }
}

/// Which cells are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Every public key.
    Public,
    /// Keys whose noised values together reach a threshold (Lemma 4 of `docs/privacy.md`).
    Threshold {
        /// Weights and threshold.
        score: Score,
        /// The most cells of one user that count.
        cells_max: u32,
        /// Probability that a cell of one user alone is shown, over all their cells.
        delta: Delta,
    },
}

/// One statistic of one level: its grid, bound and noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatisticPlan {
    /// What is summed.
    pub kind: StatisticKind,
    /// Numbers in each cell: 1, or the bins of a histogram.
    pub width: usize,
    /// Grid units per count or minor unit, as a power of two.
    pub grid_bits: u32,
    /// One user's norm and cell cap, in grid units.
    pub bound: NormBound,
    /// Standard deviation of the noise, in grid units.
    pub sigma: u64,
    /// bound²/(σ² − 16), rounded up (Lemma 3 of `docs/privacy.md`).
    pub mu_squared: MuSquared,
}

impl StatisticPlan {
    /// Grid units to counts or minor units.
    pub fn to_natural(self, grid: f64) -> f64 {
        grid / (1u64 << self.grid_bits) as f64
    }
}

impl Plan {
    /// The most public cells of one level.
    pub const CELLS_MAX: u128 = 20_000_000;

    /// Plans a job.
    ///
    /// # Errors
    /// The budget is too small for the statistics, a level has too many cells, or two outputs
    /// would have the same name.
    pub fn new(job: Job) -> Result<Plan> {
        let mut findings = Vec::new();
        let private = |r: &Report| matches!(r.selection, PartitionSelection::Private { .. });
        let private_levels: usize =
            job.reports.iter().filter(|r| private(r)).map(|r| r.levels.len()).sum();
        let level_delta = match private_levels as u64 {
            0 => Delta::ZERO,
            n => Delta::from_units(job.privacy.delta.threshold_share().units() / n),
        };
        let threshold_delta = Delta::from_units(level_delta.units() * private_levels as u64);

        let total = largest_loss(job.privacy.epsilon, job.privacy.delta, threshold_delta);
        let weight: u64 = statistics_of(&job).map(|(level, _)| u64::from(level.weight)).sum();
        let count = statistics_of(&job).count();
        let share = |level: &Level| {
            let units = total?.units() / u128::from(weight) * u128::from(level.weight);
            Some(MuSquared::from_units(units))
        };
        let no_threshold = private_levels > 0 && level_delta == Delta::ZERO;
        let (mut levels, mut files, mut too_small) = (Vec::new(), BTreeSet::new(), no_threshold);
        for (report, level) in pairs(&job) {
            findings.extend(name_clashes(report, level, &mut files));
            let cells = CellSpace::new(&job, level);
            findings.extend(customers_of_several_periods(&job, level));
            let public = report.selection == PartitionSelection::Public;
            if let Some(count) = cells.count(&job).filter(|&n| public && n > Self::CELLS_MAX) {
                let finding = findings::cells_too_many(&level.name(), count, Self::CELLS_MAX);
                findings.push(finding.at(level.span.clone()));
            }
            let statistics: Option<Vec<_>> = kinds_of(level)
                .map(|kind| {
                    let width = width_of(&job, kind);
                    calibrate::statistic(kind, width, level.bounds[&kind], share(level)?)
                })
                .collect();
            too_small |= statistics.is_none();
            let Some(statistics) = statistics else { continue };
            levels.push(LevelPlan {
                report: report.name.clone(),
                file: file_name(report, level),
                keys: level.keys.clone(),
                insights: report.insights.clone(),
                selection: selection(report, &statistics, level_delta),
                cells,
                statistics,
                always: Vec::new(),
                keys_from: Vec::new(),
            });
        }
        if too_small {
            let (epsilon, delta) = (job.privacy.epsilon, job.privacy.delta);
            findings.push(findings::budget_too_small(&epsilon, &delta, count));
        }
        if !findings.is_empty() {
            return Err(Error::invalid_all(findings));
        }
        let mu_squared = levels
            .iter()
            .flat_map(|level| &level.statistics)
            .try_fold(MuSquared::default(), |sum, s| sum.checked_add(s.mu_squared))
            .expect("cannot fail because each is at most its share of the total");
        let loss = PrivacyLoss { mu_squared, threshold_delta };
        Ok(Plan { columns: columns_of(&levels), job, levels, loss })
    }

    /// The most privacy units of one user: periods of the unit among the job's days.
    pub fn unit_periods(&self) -> u32 {
        unit_periods(&self.job)
    }
}

fn unit_periods(job: &Job) -> u32 {
    job.privacy.unit.periods(job.payments.period).last().map_or(1, |last| last + 1)
}

/// Customers of cells that span periods of the privacy unit would be units, not users.
fn customers_of_several_periods(job: &Job, level: &Level) -> Option<findings::Finding> {
    let unit = job.privacy.unit;
    let counted = kinds_of(level).any(|kind| kind == StatisticKind::Customers);
    let spans = unit_periods(job) > 1 && !unit.holds_cells(&level.keys);
    let finding = || findings::unit_across_periods(&level.name(), unit.name());
    (counted && spans).then(|| finding().at(level.span.clone()))
}

fn pairs(job: &Job) -> impl Iterator<Item = (&Report, &Level)> {
    job.reports.iter().flat_map(|report| report.levels.iter().map(move |level| (report, level)))
}

fn statistics_of(job: &Job) -> impl Iterator<Item = (&Level, StatisticKind)> {
    pairs(job).flat_map(|(_, level)| kinds_of(level).map(move |kind| (level, kind)))
}

fn kinds_of(level: &Level) -> impl Iterator<Item = StatisticKind> {
    level.bounds.keys().copied()
}

fn width_of(job: &Job, kind: StatisticKind) -> usize {
    match kind {
        StatisticKind::TicketHistogram => job.payments.ticket_edges.len() + 1,
        _ => 1,
    }
}

fn file_name(report: &Report, level: &Level) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    format!("{}.{}", report.name, level.name()).chars().map(plain).collect()
}

/// A level whose file or columns another one has already.
fn name_clashes(
    report: &Report,
    level: &Level,
    files: &mut BTreeSet<String>,
) -> Option<findings::Finding> {
    let file = file_name(report, level);
    let clash = level.keys.iter().find(|key| {
        report.insights.iter().any(|insight| {
            let rest = key.name().strip_prefix(insight.name());
            let histogram = *insight == Insight::TicketHistogram;
            rest.is_some_and(|rest| histogram || ["", "_low", "_high"].contains(&rest))
        })
    });
    if let Some(key) = clash {
        return Some(findings::duplicate("the column", key.name()).at(level.span.clone()));
    }
    let finding = findings::duplicate("the file", &file).at(level.span.clone());
    (!files.insert(file)).then_some(finding)
}

fn selection(report: &Report, statistics: &[StatisticPlan], delta: Delta) -> Selection {
    let PartitionSelection::Private { cells_max } = report.selection else {
        return Selection::Public;
    };
    Selection::Threshold { score: Score::new(statistics, delta, cells_max), cells_max, delta }
}

fn columns_of(levels: &[LevelPlan]) -> Vec<String> {
    let names: BTreeSet<&String> = levels
        .iter()
        .flat_map(|level| &level.keys)
        .filter_map(|key| match key {
            Key::Column(name) => Some(name),
            _ => None,
        })
        .collect();
    names.into_iter().cloned().collect()
}
