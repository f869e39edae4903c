//! Bounds that the job leaves open: what is asked of the payments to choose them.
//!
//! A survey is a histogram of the users' norms of one statistic at one level, and how far their
//! payments are spread over cells; both noised and charged (*Chosen bounds* in `docs/privacy.md`).

use super::calibrate::Gaussian;
use super::choice;
use super::most::Most;
use super::retained::{Left, Retained};
use super::since::Since;
use super::{LevelPlan, Plan, Selection, StatisticPlan, TicketPlan};
use crate::job::{Bound, Job, Key, StatisticKind};
use crate::privacy::{MuSquared, NormBound};

/// The survey of one statistic of one level.
#[derive(Clone, Debug)]
pub struct SurveyPlan {
    /// Place of the level in the plan.
    pub level: usize,
    /// Place of the statistic in the level.
    pub statistic: usize,
    /// Users by norm: each is in one bin of [`SurveyPlan::BINS`], or in none.
    pub histogram: Gaussian,
    /// Σ over users of their [`spread`](super::Norms::spread); `None` for what is one-hot without
    /// scales, whose spread is its norm.
    pub spread: Option<Gaussian>,
    /// The job's cap on a user's cells, if any, in thousandths of a unit.
    cell_cap_milli: Option<u64>,
    /// The bound that the job states, if it does, in thousandths of a unit: the survey then tells
    /// only what it takes.
    stated_milli: Option<u64>,
    /// In place of norms, the user's tickets are counted: by group of merchants, so many, and by
    /// their logarithm. Fitted into a norm of 1.
    pub ticket_groups: Option<usize>,
    /// The norm of one count or minor unit on average, where cells have scales.
    pub unit: Option<f64>,
    /// Where they have, what an earlier release says of norms without, for predictions.
    pub plain: Option<Box<SurveyPlan>>,
    /// What came out, once it has.
    pub result: Option<Survey>,
}

/// A survey of an earlier release.
#[derive(Clone, Debug)]
pub struct ReleasedSurvey {
    /// Names of the level's keys, sorted.
    pub keys: Vec<String>,
    /// The statistic's name.
    pub statistic: String,
    /// Grid bits and σ of the histogram.
    pub histogram: (u32, u64),
    /// Grid bits and σ of the spread.
    pub spread: Option<(u32, u64)>,
    /// What came out.
    pub result: Survey,
}

/// Where a bound came from that an earlier release has told.
#[derive(Clone, Debug)]
pub struct Adopted {
    /// What was asked, and what came out.
    pub survey: SurveyPlan,
    /// The job, and the digest of its release's manifest.
    pub from: (String, String),
}

/// What a survey said, noised: anything may be computed from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// By bin, users in grid units.
    pub histogram: Vec<i64>,
    /// Σ of the users' spreads, in grid units.
    pub spread: Option<i64>,
}

impl SurveyPlan {
    /// Half octaves of norms, from 1 on.
    pub const BINS: usize = 64;

    /// The most that one user adds to the sum of spreads.
    pub const SPREAD_MAX: u64 = 8;

    /// The largest number of a cell that counts.
    pub const NUMBER_MAX: u64 = 1 << 50;

    /// Of a statistic's share of μ², what its survey costs: a part of the whole job's, so that
    /// levels of little weight are surveyed too, but neither much nor little of its own.
    pub(super) fn share(own: MuSquared, job: MuSquared) -> MuSquared {
        let units = (job.units() / 200).clamp(own.units() / 100, own.units() / 8);
        MuSquared::from_units(units)
    }

    /// A survey for `share`, or `None` if no noise is enough.
    pub(super) fn new(
        (level, statistic): (usize, usize),
        kind: StatisticKind,
        bound: Bound,
        share: MuSquared,
    ) -> Option<SurveyPlan> {
        let (histogram, spread) = Self::measured(share, !kind.facts().one_hot)?;
        let cell_cap_milli = bound.cell_cap_milli;
        let (ticket_groups, result) = (None, None);
        Some(SurveyPlan {
            level,
            statistic,
            histogram,
            spread,
            cell_cap_milli,
            stated_milli: bound.norm_milli,
            ticket_groups,
            unit: None,
            plain: None,
            result,
        })
    }

    /// The mechanisms of the histogram and, if wanted, of the spread, for `share` together.
    fn measured(share: MuSquared, spread: bool) -> Option<(Gaussian, Option<Gaussian>)> {
        // The histogram needs more than the single number beside it.
        let fifth = MuSquared::from_units(if spread { share.units() / 5 } else { 0 });
        let histogram = Gaussian::new(false, (1000, 1000), share.checked_sub(fifth)?)?;
        let most = Self::SPREAD_MAX * 1000;
        let spread = if spread { Some(Gaussian::new(false, (most, most), fifth)?) } else { None };
        Some((histogram, spread))
    }

    /// A survey of tickets, for an eighth of the share of their statistic.
    pub(super) fn of_tickets(
        (level, statistic): (usize, usize),
        groups: usize,
        own: MuSquared,
    ) -> Option<SurveyPlan> {
        let eighth = MuSquared::from_units(own.units() / 8);
        Some(SurveyPlan {
            level,
            statistic,
            histogram: Gaussian::new(false, (1000, 1000), eighth)?,
            spread: None,
            cell_cap_milli: None,
            stated_milli: None,
            ticket_groups: Some(groups),
            unit: None,
            plain: None,
            result: None,
        })
    }

    /// May the cells of its statistic have scales? The job must state no bound in units of cells.
    pub(super) fn may_be_scaled(&self) -> bool {
        let of_norms = self.ticket_groups.is_none() && self.unit.is_none();
        of_norms && self.is_choice() && self.cell_cap_milli.is_none() && self.result.is_none()
    }

    /// The same survey, for as much, of cells with scales, where one unit has this norm on average:
    /// users' spread is not their norm.
    pub(super) fn scaled(&self, unit: f64) -> Option<SurveyPlan> {
        let (histogram, spread) = Self::measured(self.mu_squared(), true)?;
        Some(SurveyPlan { histogram, spread, unit: Some(unit), ..self.clone() })
    }

    /// Does it choose a bound, and not only tell what a stated one takes?
    pub fn is_choice(&self) -> bool {
        self.stated_milli.is_none()
    }

    /// How many numbers its histogram has.
    pub fn bins(&self) -> usize {
        self.ticket_groups.map_or(Self::BINS, |groups| groups * TicketPlan::BINS)
    }

    /// Its mechanisms, with their names.
    pub fn mechanisms(&self) -> impl Iterator<Item = (&'static str, Gaussian)> {
        let spread = self.spread.map(|spread| ("spread", spread));
        let name = if self.ticket_groups.is_some() { "tickets" } else { "norms" };
        std::iter::once((name, self.histogram)).chain(spread)
    }

    /// What it costs.
    pub fn mu_squared(&self) -> MuSquared {
        MuSquared::from_units(self.mechanisms().map(|(_, m)| m.mu_squared.units()).sum())
    }

    /// Takes the place of what an earlier release has said; `false`, and nothing is changed, if
    /// that cannot be.
    fn take(&mut self, known: &ReleasedSurvey) -> bool {
        let mechanism = |(grid_bits, sigma): (u32, u64), most: u64| {
            let bound = NormBound::new(most << grid_bits, most << grid_bits)?;
            let mu_squared = MuSquared::of_discrete_gaussian_up(bound.sensitivity(), sigma)?;
            Some(Gaussian { grid_bits, bound, sigma, mu_squared })
        };
        let spread = known.spread.and_then(|spread| mechanism(spread, Self::SPREAD_MAX));
        let fits = known.result.histogram.len() == Self::BINS
            && spread.is_some() == self.spread.is_some()
            && known.result.spread.is_some() == self.spread.is_some();
        let Some(histogram) = mechanism(known.histogram, 1).filter(|_| fits) else { return false };
        (self.histogram, self.spread) = (histogram, spread);
        self.result = Some(known.result.clone());
        true
    }

    /// Takes note of what an earlier release has said of norms without scales, unless a later one
    /// has; has it done so?
    fn take_plain(&mut self, known: Option<&ReleasedSurvey>) -> bool {
        let Some(known) = known.filter(|_| self.plain.is_none()) else { return false };
        let spread = self.spread.filter(|_| known.spread.is_some());
        let mut plain = SurveyPlan { unit: None, spread, ..self.clone() };
        self.plain = plain.take(known).then(|| Box::new(plain));
        self.plain.is_some()
    }

    /// A number of a cell after the job's cap on cells, in whole units; and cut to what no payment
    /// alone is, so that all squares fit the numbers of databases.
    pub fn capped(&self, value: i128) -> i128 {
        let cap = self.cell_cap_milli.map_or(Self::NUMBER_MAX, |milli| milli / 1000);
        let cap = i128::from(cap.min(Self::NUMBER_MAX));
        value.clamp(-cap, cap)
    }
}

impl Plan {
    /// Are all bounds known, and all keys that are discovered?
    pub fn is_settled(&self) -> bool {
        !self.is_seeking() && self.surveys.iter().all(|survey| survey.result.is_some())
    }

    /// Is the bound of this statistic of this level still to be chosen?
    pub fn is_open(&self, level: usize, statistic: usize) -> bool {
        let here = |survey: &SurveyPlan| (survey.level, survey.statistic) == (level, statistic);
        let open = |survey: &SurveyPlan| survey.result.is_none() && survey.is_choice();
        self.surveys.iter().any(|survey| here(survey) && open(survey))
    }

    /// Is it not known what the bound of this statistic of this level takes from users, as the job
    /// states it and asks no survey?
    pub fn takes_unknown(&self, level: usize, statistic: usize) -> bool {
        let mut surveys = self.surveys.iter().chain(self.adopted.iter().map(|a| &a.survey));
        let (plan, statistic) = (&self.levels[level], (level, statistic));
        let StatisticPlan { kind, noise, .. } = plan.statistics[statistic.1];
        let norm = noise.to_natural(noise.bound.norm() as f64);
        norm < Most::of(&self.job, plan, kind).norm
            && !surveys.any(|survey| (survey.level, survey.statistic) == statistic)
    }

    /// The release whose survey tells what the bound of this statistic of this level takes, if it
    /// is an earlier one.
    pub fn adopted_from(&self, level: usize, statistic: usize) -> Option<&(String, String)> {
        let here = |s: &SurveyPlan| {
            (s.level, s.statistic) == (level, statistic) && s.ticket_groups.is_none()
        };
        let own = self.surveys.iter().any(|s| here(s) && s.result.is_some());
        let adopted = self.adopted.iter().find(|adopted| here(&adopted.survey));
        adopted.filter(|_| !own).map(|adopted| &adopted.from)
    }

    /// The share of all that users have which the fit leaves: by the statistic's survey, if it has
    /// one, and by what is left in all cells; or, of an earlier release's, by what users have now
    /// against `since` then.
    pub fn retained(
        &self,
        level: usize,
        statistic: usize,
        left: Option<Left>,
        since: Option<Since>,
    ) -> Option<Retained> {
        let known = self.surveys.iter().chain(self.adopted.iter().map(|adopted| &adopted.survey));
        let mut known = known.filter(|survey| survey.result.is_some());
        let here = |s: &&SurveyPlan| (s.level, s.statistic) == (level, statistic);
        let survey = known.find(|s| here(s) && s.ticket_groups.is_none())?;
        let plan = &self.levels[level];
        let StatisticPlan { kind, noise, .. } = plan.statistics[statistic];
        let norms = norms_of(kind, survey, Most::of(&self.job, plan, kind));
        let bound = noise.to_natural(noise.bound.norm() as f64);
        if self.adopted_from(level, statistic).is_some() {
            return Some(norms.retained_since(bound, since));
        }
        // What is left is in units, not at the scales of cells.
        let own = |s: &SurveyPlan| here(&s) && s.unit.is_none();
        let left = left.filter(|_| self.surveys.iter().any(own));
        Some(norms.retained(bound, left))
    }

    /// The plan with the bounds that follow from its surveys, given in the plan's order.
    ///
    /// A function of noised values and public facts. What it costs stays as it was.
    #[must_use]
    pub fn settle(mut self, results: Vec<Survey>) -> Plan {
        for (place, result) in results.into_iter().enumerate() {
            self.surveys[place].result = Some(result);
        }
        let surveys = self.surveys.clone();
        self.choose_bounds(&surveys);
        self
    }

    /// The bounds that follow from surveys that have results.
    ///
    /// From fine levels to coarse ones: where cells of one lie in cells of the other, no user's
    /// norm is less there, so no bound is either.
    fn choose_bounds(&mut self, surveys: &[SurveyPlan]) {
        let mut order: Vec<usize> = (0..self.levels.len()).collect();
        let cells = |level: &usize| self.levels[*level].cells.count(&self.job);
        order.sort_by_key(|level| std::cmp::Reverse(cells(level)));
        for (at, &place) in order.iter().enumerate() {
            let surveys: Vec<&SurveyPlan> = surveys.iter().filter(|s| s.level == place).collect();
            let finer = order[..at].iter().filter(|&&finer| self.together(finer, place));
            let finer = finer.map(|&finer| &self.levels[finer]);
            let level = &self.levels[place];
            let finer = finer.filter(|f| f.splits(level, &self.job));
            // Norms at the scales of cells are other norms.
            let plain =
                |finer: &&LevelPlan, s: &&StatisticPlan| !finer.scales.contains_key(&s.kind);
            let least: Vec<(StatisticKind, f64)> = finer
                .flat_map(|finer| finer.statistics.iter().filter(move |s| plain(&finer, s)))
                .map(|s| (s.kind, s.noise.to_natural(s.noise.bound.norm() as f64)))
                .collect();
            choose_bounds(&self.job, &mut self.levels[place], &surveys, &least);
        }
    }

    /// Takes bounds of a report that are open from the surveys of an earlier release, at levels
    /// with the same keys, in place of surveys of its own; or takes note of them, where cells have
    /// scales. Of how many surveys.
    pub fn adopt(
        &mut self,
        report: &str,
        released: Vec<ReleasedSurvey>,
        from: &(String, String),
    ) -> usize {
        let (mut adopted, mut asked, mut plain) = (Vec::new(), Vec::new(), 0);
        for mut survey in std::mem::take(&mut self.surveys) {
            let level = &mut self.levels[survey.level];
            let mut keys: Vec<&str> = level.keys.iter().map(Key::name).collect();
            keys.sort_unstable();
            let wanted = level.is_of(report);
            let statistic = &mut level.statistics[survey.statistic];
            let same = |known: &&ReleasedSurvey| {
                known.keys == keys && known.statistic == statistic.kind.name()
            };
            let norms = survey.ticket_groups.is_none() && wanted;
            let mut known = released.iter().find(same).filter(|_| norms);
            if survey.unit.is_some() {
                // No earlier release knows norms at these scales.
                plain += usize::from(survey.take_plain(known.take()));
            }
            let own = survey.mu_squared();
            if known.is_none_or(|known| !survey.take(known)) {
                asked.push(survey);
                continue;
            }
            // What its own survey would have cost is for the statistic.
            statistic.charge = MuSquared::from_units(statistic.charge.units() + own.units());
            adopted.push(survey);
        }
        self.surveys = asked;
        let count = adopted.len();
        let adopted = adopted.into_iter().map(|survey| Adopted { survey, from: from.clone() });
        self.adopted.extend(adopted);
        self.choose_adopted();
        count + plain
    }

    /// The bounds that earlier releases tell, for what their statistics may cost.
    pub(super) fn choose_adopted(&mut self) {
        let surveys: Vec<SurveyPlan> = self.adopted.iter().map(|a| a.survey.clone()).collect();
        self.choose_bounds(&surveys);
        for survey in &surveys {
            let statistic = &mut self.levels[survey.level].statistics[survey.statistic];
            statistic.charge = statistic.noise.mu_squared;
        }
        self.loss.mu_squared = self.charged();
    }
}

/// The bounds of a level that follow from surveys that have results, none below `least` of its
/// kind.
fn choose_bounds(
    job: &Job,
    level: &mut LevelPlan,
    surveys: &[&SurveyPlan],
    least: &[(StatisticKind, f64)],
) {
    let cells = shown_cells(job, level, surveys);
    for survey in surveys {
        let statistic = level.statistics[survey.statistic];
        if survey.ticket_groups.is_some() {
            // After payments, which come first.
            let norm = learn_tickets(level, survey);
            level.statistics[survey.statistic].noise = with_norm(survey, &statistic, norm);
            continue;
        }
        if let Some(milli) = survey.stated_milli {
            level.statistics[survey.statistic].noise = with_milli(survey, &statistic, milli);
            continue;
        }
        let most = Most::of(job, level, statistic.kind);
        let norms = norms_of(statistic.kind, survey, most);
        let z = 1.0 / statistic.charge.mu_up().value();
        // Customers of larger cells are fewer.
        let adds_up = |kind: &StatisticKind| *kind == statistic.kind && kind.facts().adds_up;
        let least = least.iter().filter(|(kind, _)| adds_up(kind)).map(|&(_, norm)| norm);
        let numbers = cells * level.told_width(statistic.kind, statistic.width);
        let scales = level.scales.get(&statistic.kind);
        let norm = match scales {
            Some(scales) => choice::norm_bound_of(&norms, z, numbers, scales.sizes()),
            None => {
                let norm = choice::norm_bound(&norms, z, numbers).max(least.fold(0.0, f64::max));
                norm.min(most.norm)
            }
        };
        level.statistics[survey.statistic].noise = with_norm(survey, &statistic, norm);
    }
    level.score_again();
}

/// Has a level learn what is usual of tickets; gives the bound of their logarithms, in their units.
///
/// A user with a norm of n payments has about that many times the spread of a ticket, and less
/// where several payments of a cell are on both sides of what is usual.
fn learn_tickets(level: &mut LevelPlan, survey: &SurveyPlan) -> f64 {
    const SIDES: f64 = 0.8;
    let result = survey.result.as_ref().expect("cannot fail because all are set before");
    let natural = |grid: i64| survey.histogram.to_natural(grid as f64);
    let counts: Vec<f64> = result.histogram.iter().map(|&grid| natural(grid)).collect();
    let payments = level.position(StatisticKind::Payments).map(|at| level.statistics[at].noise);
    let payments = payments.map_or(1.0, |noise| noise.to_natural(noise.bound.norm() as f64));
    let Some(tickets) = &mut level.tickets else { return 1.0 };
    tickets.learn(&counts, natural(survey.histogram.sigma as i64));
    SIDES * payments * tickets.spread()
}

/// What a survey says of the users' norms.
pub(super) fn norms_of(kind: StatisticKind, survey: &SurveyPlan, most: Most) -> choice::NormLaw {
    let result = survey.result.as_ref().expect("cannot fail because all are set before");
    let natural = |m: Gaussian, grid: i64| m.to_natural(grid as f64);
    let histogram = survey.histogram;
    let bins: Vec<f64> = result.histogram.iter().map(|&n| natural(histogram, n)).collect();
    // Of what is 1 in each cell, the spread need not be measured.
    let once = kind.is_of_users() && survey.unit.is_none();
    let measured = survey.spread.zip(result.spread).filter(|_| !once);
    let spread = measured.map(|(m, sum)| (natural(m, sum), natural(m, m.sigma as i64)));
    let sd = natural(histogram, histogram.sigma as i64);
    // Norms of about 4 cells or payments, or of some hundred major units.
    let peak = if kind.is_count() { 4.0 } else { 28.0 };
    let unit = survey.unit.unwrap_or(1.0);
    let expected = choice::Expected {
        peak: peak + 2.0 * libm::log2(unit),
        most: if survey.unit.is_some() { f64::MAX } else { most.norm },
        unit: kind.is_count().then_some(unit),
        spread: most.spread,
    };
    choice::NormLaw::new(&bins, sd, spread, expected)
}

/// About how many cells the level's table will have: those of public keys, or a guess.
fn shown_cells(job: &Job, level: &LevelPlan, surveys: &[&SurveyPlan]) -> f64 {
    if let Some(count) = level.cells.count(job).filter(|_| level.selection == Selection::Public) {
        return count as f64;
    }
    if matches!(level.selection, Selection::Discovered(_)) {
        return (level.always.len() as f64).max(1.0);
    }
    let norms = |survey: &&&SurveyPlan| survey.ticket_groups.is_none();
    let Some(survey) = surveys.iter().find(norms) else { return 1.0 };
    let statistic = &level.statistics[survey.statistic];
    let law = norms_of(statistic.kind, survey, Most::of(job, level, statistic.kind));
    let z = 1.0 / statistic.charge.mu_up().value();
    // A cell is shown from about 6 standard deviations of its customers' noise on; a third of all
    // that users are in lies in such cells.
    let shown_from = 6.0 * z * (law.cells() / law.users()).sqrt();
    (law.cells() / (3.0 * shown_from)).max(1.0)
}

/// The statistic's mechanism with a norm bound in units; smaller if that would leave the grid.
fn with_norm(survey: &SurveyPlan, statistic: &StatisticPlan, norm: f64) -> Gaussian {
    // Between 1 and 2^40 units.
    with_milli(survey, statistic, (norm.clamp(1.0, (1u64 << 40) as f64) * 1000.0) as u64)
}

fn with_milli(survey: &SurveyPlan, statistic: &StatisticPlan, mut milli: u64) -> Gaussian {
    let money = !statistic.kind.is_count();
    loop {
        let cap = survey.cell_cap_milli.map_or(milli, |cap| cap.min(milli));
        match Gaussian::new(money, (milli, cap), statistic.charge) {
            Some(noise) => return noise,
            // The plan has found noise for a norm of 1.
            None => milli = (milli / 2).max(1000),
        }
    }
}
