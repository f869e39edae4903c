//! Dominance: cells of which few merchants may have more than a share, by noised values alone.
//! Stated in `docs/merchants.md`.
//!
//! The noised values are those of a level that names merchants, which is measured and not shown.
//! What follows from them is post-processing: it costs nothing, and no payment decides but through
//! noise.

use std::collections::{BTreeMap, BTreeSet};

use super::bands::assign_bands;
use super::homes::home_sets;
use super::merchants::{assign, hide_few, sets};
use super::span::Sums;
use super::{LevelPlan, Plan};
use crate::findings::{self, Finding};
use crate::job::{Dominance, Insight, Job, Key};

impl LevelPlan {
    /// Is it measured to judge dominance, and not shown?
    pub(super) fn is_unshown(job: &Job, keys: &[Key]) -> bool {
        let rule = job.registry.as_ref().and_then(|registry| registry.dominance.as_ref());
        rule.is_some() && keys.contains(&Key::Merchant)
    }
}

/// What stands against the job's rule.
pub(super) fn faults(job: &Job, levels: &[LevelPlan]) -> Vec<Finding> {
    let registry = job.registry.as_ref();
    let Some(rule) = registry.and_then(|registry| registry.dominance.as_ref()) else {
        return Vec::new();
    };
    let mut faults = Vec::new();
    let by = rule.by.name();
    if judge(levels, rule).is_none() {
        let why = format!("no level with public keys tells how many {by} each merchant has");
        let hint = format!(
            "add a report with `levels = [[\"merchant\"]]`, `keys = \"public\"` and `insights = [\"{by}\"]`: \
             it is measured, and not shown"
        );
        faults.push(findings::dominance_unfit(&why, &hint).at(rule.span.clone()));
    }
    if rule.by.is_money() && job.payments.currencies.len() > 1 {
        let why = format!("{by} of several currencies cannot be added up");
        let hint = "write `by = \"payments\"`, or one currency in each job";
        faults.push(findings::dominance_unfit(&why, hint).at(rule.span.clone()));
    }
    if let Some((1, span)) = registry.and_then(|registry| registry.min_per_cell.clone()) {
        let why = "`min_per_cell = 1` shows cells of a single merchant, who has all of them";
        let hint = "leave `min_per_cell` out, or set it to 2 or more";
        faults.push(findings::dominance_unfit(why, hint).at(span));
    }
    for level in levels.iter().filter(|level| level.unshown && !level.is_public()) {
        let why =
            format!("level {} names merchants, is not shown and has no public keys", level.file);
        let hint = "write `keys = \"public\"` in its report";
        faults.push(findings::dominance_unfit(&why, hint).at(level.span.clone()));
    }
    faults.extend(levels.iter().filter_map(untold));
    faults
}

/// What a level tells that the rule cannot hide.
fn untold(level: &LevelPlan) -> Option<Finding> {
    let fault =
        |why: &str, hint: &str| Some(findings::dominance_unfit(why, hint).at(level.span.clone()));
    let of_users = |key: &&Key| matches!(key, Key::Home(_) | Key::With(_));
    if let Some(key) = level.keys.iter().find(of_users) {
        let why = format!(
            "level {} has the key `{}`, of whose cells it is not known how much each merchant has",
            level.file,
            key.name()
        );
        return fault(
            &why,
            "put it in a job without `dominance`, for those who may see such cells",
        );
    }
    let told = |insight: &Insight| {
        let of_peers = insight.compared().is_some_and(|(what, _)| what.needs_peers());
        of_peers || *insight == Insight::TicketQuantiles
    };
    let insight = level.tables.iter().flat_map(|table| &table.insights).copied().find(told)?;
    let name = insight.name();
    let why = match insight {
        Insight::TicketQuantiles => format!(
            "`{name}` shows a law of tickets of groups of merchants before it is known who dominates"
        ),
        Insight::Compared(comparison, _) if comparison.is_of_many() => {
            format!("`{name}` is of merchants whose level is not shown")
        }
        _ => format!("`{name}` is told of single merchants, whose level is not shown"),
    };
    fault(&why, "put it in a job without `dominance`, for those who may see single merchants")
}

/// The places of the level and the statistic that tell how much each merchant has: with the fewest
/// cells, as each has noise of its own.
fn judge(levels: &[LevelPlan], rule: &Dominance) -> Option<(usize, usize)> {
    let fit = |(place, level): (usize, &LevelPlan)| {
        let statistic = level.position(rule.by)?;
        (level.unshown && level.is_public()).then_some((place, statistic))
    };
    let times_and_rest = |&(level, _): &(usize, usize)| {
        let cells = &levels[level].cells;
        (cells.times.groups.len(), cells.rest.len())
    };
    levels.iter().enumerate().filter_map(fit).min_by_key(times_and_rest)
}

impl Plan {
    /// The job's rule, with the places of the level and the statistic by which it is judged.
    pub fn dominance(&self) -> Option<(&Dominance, (usize, usize))> {
        let rule = self.job.registry.as_ref()?.dominance.as_ref()?;
        Some((rule, judge(&self.levels, rule)?))
    }

    /// The places of all levels and statistics that tell how much each merchant has at some times,
    /// as the rule asks.
    pub fn dominance_by_time(&self) -> Vec<(usize, usize)> {
        let Some((rule, _)) = self.dominance() else { return Vec::new() };
        let fit = |(place, level): (usize, &LevelPlan)| {
            let timed = level.unshown && level.is_public() && level.cells.times.groups.len() > 1;
            Some((place, level.position(rule.by).filter(|_| timed)?))
        };
        self.levels.iter().enumerate().filter_map(fit).collect()
    }

    /// With cells hidden, too, of which few merchants may have more than the rule's share over the
    /// `whole` period, or surely have it at some of the `times`; and as many more as no combination
    /// of what is shown tells of such merchants.
    pub fn with_dominance(&self, whole: &Turnover, times: &[Turnover]) -> Plan {
        let mut plan = self.clone();
        let (Some((rule, _)), Some(promise)) = (self.dominance(), self.merchants) else {
            return plan;
        };
        let share = rule.share.value();
        let rule = Rule { top: rule.top as usize, share, whole, times, sure: surely(times.len()) };
        let sums = &whole.sums;
        let (mut sets, of_level, wholes) = sets(&plan.levels);
        let of_homes = home_sets(&plan.levels, &mut sets);
        let all = Sums::new(&sets, sums.len());
        let secret = |set: &[u32]| set.len() < promise.least as usize || rule.dominates(set);
        let known = sets.iter().map(|set| !secret(set)).collect();
        let known = Search { all: &all, rule, of_level: &of_level }.hide(known, promise.least);
        assign(&mut plan.levels, (&of_level, &wholes, &of_homes), &known);
        assign_bands(&mut plan.levels, (&sets, &of_level), &known, secret);
        plan
    }
}

/// Noised values of all merchants, in the order of the table of merchants, with the deviation of
/// their noise.
#[derive(Clone, Debug)]
pub struct Turnover {
    /// By merchant.
    pub sums: Vec<f64>,
    /// Of each.
    pub sd: f64,
}

/// When few merchants dominate a set of them.
#[derive(Clone, Copy)]
struct Rule<'s> {
    top: usize,
    share: f64,
    whole: &'s Turnover,
    times: &'s [Turnover],
    /// So many deviations of noise above the share they surely have it, at each of the times.
    sure: f64,
}

/// So many deviations of noise the largest merchants must be below the share: 97.5 % of the normal
/// law.
const SURE: f64 = 1.959_963_984_540_054;

/// So many deviations that noise alone reaches them at one of so many times, of sets of which few
/// just have the share, once in 40 times at most.
fn surely(times: usize) -> f64 {
    // The tail of the normal law is at most e^(−z²/2)/2.
    (2.0 * (20.0 * times.max(1) as f64).ln()).sqrt()
}

impl Rule<'_> {
    /// May the largest have more than the share, as far as noise lets see? Or have they surely at
    /// some time?
    fn dominates(&self, set: &[u32]) -> bool {
        if set.len() <= self.top {
            return true;
        }
        let (excess, sd) = self.excess(set, self.whole);
        let most = excess + SURE * sd;
        // What is no number dominates.
        let surely = |time: &Turnover| {
            let (excess, sd) = self.excess(set, time);
            excess > self.sure * sd
        };
        most > 0.0 || most.is_nan() || self.times.iter().any(surely)
    }

    /// What the largest have beyond the share: below nothing if they do not dominate; with the
    /// deviation of its noise.
    fn excess(&self, set: &[u32], turnover: &Turnover) -> (f64, f64) {
        let value = |&merchant: &u32| turnover.sums[merchant as usize];
        let mut own: Vec<f64> = set.iter().map(value).collect();
        own.sort_by(|a, b| b.total_cmp(a));
        let (largest, rest) = own.split_at(self.top);
        let excess = (1.0 - self.share) * largest.iter().sum::<f64>()
            - self.share * rest.iter().sum::<f64>();
        let squares = (1.0 - self.share).powi(2) * largest.len() as f64
            + self.share.powi(2) * rest.len() as f64;
        (excess, turnover.sd * squares.sqrt())
    }
}

/// Looks for what is told by combinations.
struct Search<'s> {
    all: &'s Sums,
    rule: Rule<'s>,
    of_level: &'s [Vec<usize>],
}

impl Search<'_> {
    /// Which sets can be shown, of those that are `known` so far.
    fn hide(&self, mut known: Vec<bool>, least: u32) -> Vec<bool> {
        let atoms = |atoms: &Vec<u32>| self.rule.dominates(&self.all.members(atoms));
        let sets = (0..known.len()).map(|set| self.all.atoms(set).to_vec());
        let single = (0..self.all.atom_count()).map(|atom| vec![atom]);
        // What must not be told: whole sets, and all that lies in the same sets.
        let secrets: BTreeSet<Vec<u32>> = sets.chain(single).filter(atoms).collect();
        let parts = self.parts(known.len());
        loop {
            if !self.all.can_be_searched(&known, least - 1) {
                // Not all that could be told can be looked at.
                return vec![false; known.len()];
            }
            hide_few(self.all, &mut known, least, None);
            let Some(told) = self.told(&known, &secrets).or_else(|| self.left(&known, &parts))
            else {
                return known;
            };
            // The one that tells least; of equals the last, which is of the finer level.
            let hide = told.into_iter().rev().min_by_key(|&set| self.all.size(set));
            known[hide.expect("cannot fail because nothing follows from nothing")] = false;
        }
    }

    /// The known sets of a combination that is a secret.
    fn told(&self, known: &[bool], secrets: &BTreeSet<Vec<u32>>) -> Option<Vec<usize>> {
        let told = self.all.told(known);
        secrets.iter().filter(|secret| told(secret)).find_map(|s| self.all.made_of(known, s))
    }

    /// The known groups of a level that leave too little of a known set: what is left is dominated.
    fn left(&self, known: &[bool], parts: &[(usize, Vec<usize>)]) -> Option<Vec<usize>> {
        let parts = parts.iter().filter(|(whole, _)| known[*whole]);
        parts
            .map(|(whole, parts)| (whole, parts.iter().copied().filter(|&set| known[set])))
            .find_map(|(whole, parts)| {
                let parts: Vec<usize> = parts.collect();
                let taken: BTreeSet<u32> =
                    parts.iter().flat_map(|&set| self.all.atoms(set)).copied().collect();
                let rest = self.all.atoms(*whole).iter().filter(|atom| !taken.contains(atom));
                let rest: Vec<u32> = rest.copied().collect();
                let told = !parts.is_empty() && !rest.is_empty();
                (told && self.rule.dominates(&self.all.members(&rest))).then_some(parts)
            })
    }

    /// Of each set the groups of each level that lie in it.
    fn parts(&self, sets: usize) -> Vec<(usize, Vec<usize>)> {
        let mut all = Vec::new();
        for groups in self.of_level {
            // Each atom is in one group of a level.
            let atoms = |&set: &usize| self.all.atoms(set).iter().map(move |&atom| (atom, set));
            let group_of: BTreeMap<u32, usize> = groups.iter().flat_map(atoms).collect();
            for whole in 0..sets {
                let mut found: BTreeMap<usize, usize> = BTreeMap::new();
                for group in self.all.atoms(whole).iter().filter_map(|atom| group_of.get(atom)) {
                    *found.entry(*group).or_default() += 1;
                }
                let lies = |&(set, count): &(usize, usize)| {
                    set != whole && count == self.all.atoms(set).len()
                };
                let parts = found.into_iter().filter(lies).map(|(set, _)| set).collect();
                all.push((whole, parts));
            }
        }
        all
    }
}
