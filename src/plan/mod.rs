//! The plan: which statistics, with which bounds, how much noise, at what price.
//!
//! Made from the job and public facts alone; opens no payments. What the numbers mean and why
//! they suffice is in `docs/privacy.md`.

mod aim;
mod bands;
mod calibrate;
mod cell_times;
mod cells;
mod changes;
mod choice;
mod cohorts;
mod compared;
mod composed;
mod discovery;
mod dominance;
mod earlier;
mod expected;
mod homes;
mod kept;
mod law;
mod look_back;
mod merchants;
mod most;
mod names;
mod norms;
mod pairs;
mod peers;
mod predict;
mod price;
mod recency;
mod retained;
mod scales;
mod score;
mod shared;
mod since;
mod span;
mod spread;
mod survey;
mod tail;
mod tickets;
mod unfitted;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

pub use bands::LevelBands;
pub use calibrate::{Gaussian, budget_of};
use cells::columns_of;
pub use cells::{CellKey, CellSpace, KeyValue};
pub use changes::Changes;
pub use cohorts::{Cohorts, Told};
pub use compared::{period_key, period_of_times};
pub use composed::Composed;
use composed::customers_of_several_periods;
pub use discovery::{Discovery, Round};
pub use dominance::Turnover;
pub use earlier::{Earlier, EarlierCells, EarlierEstimate, EarlierValues};
pub use homes::HomeKey;
pub use look_back::LookBack;
pub use merchants::MerchantProtection;
use merchants::protect;
use names::name_clashes;
pub use names::{BAND_SUFFIX, VALUE_SUFFIXES};
pub use norms::Norms;
pub use pairs::{PairLevels, Pairs};
use peers::plan_peers;
pub use peers::{PeerGroups, PeersPlan};
pub use predict::{Basis, LEFT_MIN, Prediction, between};
pub use recency::Recency;
pub use retained::{Left, Retained};
pub use scales::{EarlierGroup, Scales};
pub use score::Score;
pub use shared::TablePlan;
use shared::{Asked, asked, share_of, threshold_deltas};
pub use since::Since;
pub use survey::{Adopted, ReleasedSurvey, Survey, SurveyPlan};
pub use tickets::{TicketLaw, TicketPlan};

use crate::error::{Error, Result};
use crate::findings;
use crate::job::{Bound, Job, Key, PartitionSelection, Report, StatisticKind, Width};
use crate::privacy::{Delta, MuSquared, PrivacyLoss, largest_loss};

/// Everything that is decided before any payment is read.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The job that is planned.
    pub job: Job,
    /// All levels of all reports, in the order of the job.
    pub levels: Vec<LevelPlan>,
    /// What is asked first, where the job leaves bounds open.
    pub surveys: Vec<SurveyPlan>,
    /// Bounds that earlier releases have told.
    pub adopted: Vec<Adopted>,
    /// What its merchants are promised; `None`: nothing.
    pub merchants: Option<MerchantProtection>,
    /// The job whose release this one takes the place of, and the digest of its manifest.
    pub revises: Option<(String, String)>,
    /// Statistics that noise is expected to drown, and that are run all the same: the places of
    /// level and statistic, with the prediction.
    pub accepted: Vec<(usize, usize, Prediction)>,
    /// What has added the payments up elsewhere: the dialect of its SQL. `None`: this program.
    pub totals_from: Option<&'static str>,
    /// What the job costs; the same before and after its surveys.
    pub loss: PrivacyLoss,
    /// Names of the payments' columns that some level uses as a key, in the order of records.
    pub columns: Vec<String>,
}

/// One level, of one report or of several that ask for the same.
#[derive(Clone, Debug)]
pub struct LevelPlan {
    /// File name of its first table, without ending: the level's name.
    pub file: String,
    /// Place in the job file.
    pub span: Range<usize>,
    /// The keys, in the order of the first table's columns.
    pub keys: Vec<Key>,
    /// What is shown, report by report; at least one.
    pub tables: Vec<TablePlan>,
    /// The cells and how payments find theirs.
    pub cells: CellSpace,
    /// Whether all cells are shown or only those that pass a threshold.
    pub selection: Selection,
    /// What is summed and noised, in the order of [`StatisticKind::ALL`].
    pub statistics: Vec<StatisticPlan>,
    /// Cells of private keys that are shown whatever their values, ascending: earlier releases
    /// have made their keys public, or rounds have found them.
    pub always: Vec<CellKey>,
    /// The earlier jobs, each with the digest of its release's manifest.
    pub keys_from: Vec<(String, String)>,
    /// The levels by which pairs are judged, where cells are pairs and the report has these levels.
    pub pairs: Option<PairLevels>,
    /// What tells new customers from returning ones, where the level does.
    pub look_back: Option<LookBack>,
    /// In which periods new customers are looked for again, where the level has them.
    pub cohorts: Option<Cohorts>,
    /// The classes of days since the last visit, where the level has them.
    pub recency: Option<Recency>,
    /// With which periods what users spend is compared, of each statistic that does so.
    pub changes: BTreeMap<StatisticKind, Changes>,
    /// What is usual of tickets, where the level adds up their logarithms.
    pub tickets: Option<TicketPlan>,
    /// Is it measured to judge dominance, and not shown?
    pub unshown: bool,
    /// Of each group of merchants, with each combination of homes, whether its cells are hidden, as
    /// they tell of too few; empty if none are.
    pub hidden: Vec<bool>,
    /// Which of the hidden cells may be told in bands; `None`: none.
    pub bands: Option<LevelBands>,
    /// What earlier releases said of the same cells, for estimates to go by; the latest first.
    pub earlier: Vec<Earlier>,
    /// Of each statistic whose cells have scales, these.
    pub scales: BTreeMap<StatisticKind, Scales>,
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

    /// Makes the score of private keys anew, for other bounds.
    fn score_again(&mut self) {
        if let Selection::Threshold { score, cells_max, delta } = &mut self.selection {
            *score = Score::new(&self.statistics, *delta, *cells_max);
        }
    }

    /// Does this report show it?
    pub fn is_of(&self, report: &str) -> bool {
        self.tables.iter().any(|table| table.report == report)
    }

    /// Are all its keys public, and all shown?
    pub fn is_public(&self) -> bool {
        self.selection == Selection::Public
    }

    /// How many cells are public: of a level with private keys none.
    pub fn public_cells(&self, job: &Job) -> u64 {
        // At most `Plan::CELLS_MAX`.
        if self.is_public() { self.cells.count(job).unwrap_or(0) as u64 } else { 0 }
    }

    /// Has a user one cell only?
    fn one_cell(&self, job: &Job) -> bool {
        homes::one_cell(&self.keys, self.cells.count(job).filter(|_| self.is_public()))
    }

    /// Does each cell lie in one cell of a coarser level, and have both public keys?
    pub fn splits(&self, coarse: &LevelPlan, job: &Job) -> bool {
        self.is_public() && coarse.is_public() && self.cells.splits(&coarse.cells, job)
    }

    /// Of each cell, in the order of noised totals, the cell of a coarser level in which it lies;
    /// `None` if this level does not split that one, or one of them has private keys.
    pub fn cells_of(&self, coarse: &LevelPlan, job: &Job) -> Option<Vec<u32>> {
        let public = self.is_public() && coarse.is_public();
        public.then(|| self.cells.within(&coarse.cells, job)).flatten()
    }

    /// The values that a key of time has in the job's period, ascending.
    pub fn times(&self, key: &Key) -> Vec<KeyValue> {
        let mut times = self.keys.iter().filter(|key| matches!(key, Key::Time(_)));
        let Some(place) = times.position(|own| own == key) else { return Vec::new() };
        let values = self.cells.times.groups.iter().map(|group| group[place].clone());
        values.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Does it count visits?
    pub fn counts_visits(&self) -> bool {
        use StatisticKind::{Recency, VisitClasses, Visits};
        let visits = |kind| [Visits, VisitClasses, Recency].contains(&kind) || kind.looks_back();
        self.statistics.iter().any(|s| visits(s.kind))
    }

    /// The standard deviation of the noise of a statistic in the cell at a place, in natural units.
    pub fn noise_sd(&self, statistic: &StatisticPlan, cell: usize) -> f64 {
        statistic.noise.sd() * self.scale(statistic.kind, cell)
    }

    /// What grid units of a statistic in the cell at a place are multiplied with, beside the grid.
    pub fn scale(&self, kind: StatisticKind, cell: usize) -> f64 {
        self.scales.get(&kind).map_or(1.0, |scales| scales.scale(cell))
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
    /// Keys that rounds of their own have found.
    Discovered(Discovery),
}

impl Selection {
    /// What job files and manifests call it.
    pub fn name(&self) -> &'static str {
        match self {
            Selection::Public => "public",
            Selection::Threshold { .. } => "private",
            Selection::Discovered(_) => "discovered",
        }
    }
}

/// One statistic of one level: its grid, bound and noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatisticPlan {
    /// What is summed.
    pub kind: StatisticKind,
    /// Numbers in each cell: 1, or the bins of a histogram.
    pub width: usize,
    /// Its mechanism; a stand-in with the norm 1 until a survey has told the bound.
    pub noise: Gaussian,
    /// What is charged: the price of the noise, or all that noise may cost whose bound the run
    /// chooses, as prices must be known before.
    pub charge: MuSquared,
}

impl Plan {
    /// The most public cells of one level.
    pub const CELLS_MAX: u128 = 20_000_000;

    /// The most combinations of homes and merchants of a level whose keys are not public: of each
    /// is known whether it is hidden.
    pub const HOMES_MAX: u128 = 200_000_000;

    /// What the keys of all public cells take, in bytes.
    pub fn key_bytes(&self) -> u64 {
        let of_level = |level: &LevelPlan| {
            level.public_cells(&self.job) * CellSpace::key_bytes(level.keys.len())
        };
        self.levels.iter().map(of_level).sum()
    }

    /// Plans a job.
    ///
    /// # Errors
    /// The budget is too small for the statistics, a level has too many cells, or two outputs
    /// would have the same name.
    pub fn new(job: Job) -> Result<Plan> {
        let mut findings = Vec::new();
        let all = asked(&job);
        let (level_delta, threshold_delta) = threshold_deltas(&job, &all);
        let total = largest_loss(job.privacy.epsilon, job.privacy.delta, threshold_delta);
        let mut too_small = level_delta == Delta::ZERO && all.iter().any(Asked::is_private);
        let mut too_large = false;
        let (mut levels, mut files, mut surveys) = (Vec::new(), BTreeSet::new(), Vec::new());
        for each in &all {
            let Asked { level, tables } = each;
            findings.extend(compared::table_faults(&job, tables, &mut files));
            let report = tables[0].0;
            let cells = CellSpace::new(&job, level);
            findings.extend(pairs::faults(tables, &cells));
            findings.extend(customers_of_several_periods(&job, tables));
            let look_back = LookBack::new(level, &cells);
            let unfit = look_back::unfit(&job, tables, look_back.as_ref());
            let cohorts = Cohorts::new(&job, level, &cells, look_back.as_ref());
            findings.extend(unfit.or_else(|| cohorts::unfit(tables, cohorts.as_ref())));
            let changes = Changes::all(&job, level, &cells);
            findings.extend(changes::unfit(&job, tables, &changes));
            let count = cells.count(&job).filter(|_| report.selection.is_public());
            let too_many = cells.too_many(level, count);
            too_large |= too_many.is_some();
            findings.extend(too_many);
            let one_cell = homes::one_cell(&level.keys, count);
            let (tickets, recency) = (TicketPlan::new(&job, level), Recency::new(level, &cells));
            findings.extend(Recency::unfit(tables, recency.as_ref()));
            let classes = (tickets.as_ref(), recency.as_ref(), cohorts.as_ref());
            let shares =
                share_of(&all, level, total).map(|all| discovery::split(report, level, all));
            let planned = shares.zip(total).and_then(|((rounds, share), total)| {
                let known = |(&kind, &bound)| (kind, known_bound(kind, bound, one_cell));
                let bounds = level.bounds.iter().map(known);
                let own = planned(&job, (levels.len(), classes), bounds, (share, total))?;
                Some((selection(report, (&own.0, rounds), level_delta)?, own))
            });
            let Some((selection, (statistics, asked))) = planned else {
                too_small = true;
                continue;
            };
            surveys.extend(asked);
            let own = LevelPlan::new(&job, each, cells, selection);
            levels.push(LevelPlan {
                look_back,
                cohorts,
                recency,
                changes,
                statistics,
                tickets,
                ..own
            });
        }
        if too_small {
            findings.push(budget_too_small(&job, &all));
        }
        // What follows goes through all cells.
        if too_large {
            return Err(Error::invalid_all(findings));
        }
        let merchants = protect(&job, &mut levels, &mut surveys, &mut findings);
        plan_peers(&job, &mut levels);
        pairs::plan_pairs(&mut levels);
        if !findings.is_empty() {
            return Err(Error::invalid_all(findings));
        }
        Ok(Plan::priced_of(job, (levels, surveys), merchants, threshold_delta))
    }

    /// All mechanisms, those of surveys and of rounds that find keys too.
    pub fn mechanisms(&self) -> impl Iterator<Item = Gaussian> {
        let statistics = self.levels.iter().flat_map(|level| &level.statistics).map(|s| s.noise);
        let surveys = self.surveys.iter().flat_map(SurveyPlan::mechanisms).map(|(_, m)| m);
        let rounds = self.levels.iter().filter_map(LevelPlan::discovery);
        let rounds = rounds.flat_map(|discovery| &discovery.rounds).map(|round| round.noise);
        statistics.chain(surveys).chain(rounds)
    }

    /// The keys by which some level tells where users are at home, each once, by their columns.
    pub fn homes(&self) -> Vec<&HomeKey> {
        let homes = self.levels.iter().flat_map(|level| &level.cells.homes);
        let by_column: BTreeMap<&str, &HomeKey> =
            homes.map(|home| (home.attribute.as_str(), home)).collect();
        by_column.into_values().collect()
    }

    /// Does some level count visits?
    pub fn counts_visits(&self) -> bool {
        self.levels.iter().any(LevelPlan::counts_visits)
    }

    /// The most privacy units of one user: periods of the unit among the job's days.
    pub fn unit_periods(&self) -> u32 {
        unit_periods(&self.job)
    }
}

/// A statistic that may cost `share`, or `None` if no noise is enough.
fn statistic(
    kind: StatisticKind,
    width: usize,
    bound: Bound,
    share: MuSquared,
) -> Option<StatisticPlan> {
    let norm = bound.norm_milli.unwrap_or(1000);
    let cap = bound.cell_cap_milli.map_or(norm, |cap| cap.min(norm));
    let noise = Gaussian::new(!kind.is_count(), (norm, cap), share)?;
    let charge = bound.norm_milli.map_or(share, |_| noise.mu_squared);
    Some(StatisticPlan { kind, width, noise, charge })
}

/// What tells how many numbers the cells of a level have, where the job does not.
type Classes<'p> = (Option<&'p TicketPlan>, Option<&'p Recency>, Option<&'p Cohorts>);

/// The statistics of a level, of which each may cost `share`, and the surveys of those whose bounds
/// are open; `None` if no noise is enough.
fn planned(
    job: &Job,
    (level, (tickets, recency, cohorts)): (usize, Classes),
    bounds: impl Iterator<Item = (StatisticKind, Bound)>,
    (share, total): (MuSquared, MuSquared),
) -> Option<(Vec<StatisticPlan>, Vec<SurveyPlan>)> {
    let (mut statistics, mut surveys) = (Vec::new(), Vec::new());
    for (place, (kind, bound)) in bounds.enumerate() {
        let mut rest = share;
        if bound.norm_milli.is_none() || bound.surveyed {
            let at = (level, place);
            let survey = match kind {
                StatisticKind::TicketLogs => {
                    SurveyPlan::of_tickets(at, tickets.map_or(1, TicketPlan::groups), share)?
                }
                _ => SurveyPlan::new(at, kind, bound, SurveyPlan::share(share, total))?,
            };
            rest = share.checked_sub(survey.mu_squared())?;
            surveys.push(survey);
        }
        let width = match kind.facts().width {
            Width::Fixed(width) => width,
            Width::TicketBins => job.payments.ticket_edges.len() + 1,
            Width::RecencyClasses => recency.map_or(1, Recency::classes),
            Width::Periods => cohorts.map_or(1, Cohorts::width),
        };
        statistics.push(statistic(kind, width, bound, rest)?);
    }
    Some((statistics, surveys))
}

/// The bound; where a user has one cell only, they are one customer, in one class.
fn known_bound(kind: StatisticKind, stated: Bound, one_cell: bool) -> Bound {
    let one = (kind.facts().one_hot && one_cell).then_some(1000);
    // Nothing is taken from one customer.
    let surveyed = stated.surveyed && one.is_none();
    Bound { norm_milli: stated.norm_milli.or(one), surveyed, ..stated }
}

fn budget_too_small(job: &Job, all: &[Asked]) -> findings::Finding {
    let count = all.iter().map(|asked| asked.level.bounds.len()).sum();
    findings::budget_too_small(&job.privacy.epsilon, &job.privacy.delta, count)
}

fn unit_periods(job: &Job) -> u32 {
    job.privacy.unit.periods(job.payments.period).last().map_or(1, |last| last + 1)
}

/// How the keys of a level are chosen; `None` if no noise is enough for its rounds.
fn selection(
    report: &Report,
    (statistics, rounds): (&[StatisticPlan], MuSquared),
    delta: Delta,
) -> Option<Selection> {
    Some(match report.selection {
        PartitionSelection::Public => Selection::Public,
        PartitionSelection::Private { cells_max } => Selection::Threshold {
            score: Score::new(statistics, delta, cells_max),
            cells_max,
            delta,
        },
        PartitionSelection::Discovered { cells_max, .. } => {
            Selection::Discovered(Discovery::new(rounds, delta, cells_max)?)
        }
    })
}
