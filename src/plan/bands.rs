//! Bands in place of values: which hidden cells may be told in bands. See `docs/merchants.md`.
//!
//! A set of merchants is *known* if a table shows a value of it, and *secret* if it is hidden for
//! itself: too few, or dominated. Merchants that lie in the same known sets are *alike*: whatever
//! is known stays true if some of what one of them has is another's. They are *linked* if some
//! known set holds them: then the sum of all alike ones may be known. One secret group of them may
//! be *told* in a band; the *carriers* beside it are hidden for its sake alone, and have what it
//! has not.

use std::collections::BTreeMap;

use super::merchants::OfLevels;
use super::{LevelPlan, TicketPlan};
use crate::findings::{self, Finding};
use crate::job::{Insight, Job, Key};

/// Of a level, by group of merchants, who may be told in bands.
#[derive(Clone, Debug)]
pub struct LevelBands {
    banded: Vec<Option<Banded>>,
}

/// A group that may be told in bands.
#[derive(Clone, Debug)]
struct Banded {
    /// The groups with which it makes up what a known sum holds; `None`: no known sum holds it.
    beside: Option<Vec<usize>>,
}

impl LevelBands {
    /// May a group be told in bands? Then with the groups of which a known sum tells with it;
    /// `None`: there is no such sum.
    pub fn beside(&self, group: usize) -> Option<Option<&[usize]>> {
        self.banded[group].as_ref().map(|banded| banded.beside.as_deref())
    }

    /// The groups that may be told in bands.
    pub fn told(&self) -> impl Iterator<Item = usize> {
        (0..self.banded.len()).filter(|&group| self.banded[group].is_some())
    }
}

impl LevelPlan {
    /// Do its tables have bands where the job has some? Cells must be public, and of merchants
    /// alone.
    fn can_band(&self) -> bool {
        let apart = |key: &Key| matches!(key, Key::Home(_) | Key::With(_));
        self.is_public() && !self.unshown && !self.keys.iter().any(apart)
    }
}

/// Bands of a job that hides no cells.
pub(super) fn idle(job: &Job) -> Option<Finding> {
    let bands = job.registry.as_ref()?.bands.as_ref()?;
    let what = "cells that are hidden for their merchants (`min_per_cell` of 2 or more)";
    Some(findings::key_idle("bands", what).at(bands.span.clone()))
}

/// Says of which insights tables have bands: a public fact.
pub(super) fn columns(job: &Job, levels: &mut [LevelPlan]) {
    let Some(bands) = job.registry.as_ref().and_then(|registry| registry.bands.as_ref()) else {
        return;
    };
    for level in levels.iter_mut().filter(|level| level.can_band()) {
        for table in &mut level.tables {
            let has = |i: &&Insight| i.banded().is_some_and(|kind| bands.edges.contains_key(&kind));
            table.bands = table.insights.iter().filter(has).copied().collect();
        }
    }
}

/// Says which hidden cells may be told in bands: those of sets that are `secret` for themselves,
/// and not only as others would tell of them.
pub(super) fn assign_bands(
    levels: &mut [LevelPlan],
    (sets, of_level): (&[Vec<u32>], &OfLevels<usize>),
    known: &[bool],
    secret: impl Fn(&[u32]) -> bool,
) {
    levels.iter_mut().for_each(|level| level.bands = None);
    if levels.iter().flat_map(|level| &level.tables).all(|table| table.bands.is_empty()) {
        return;
    }
    let (all, all_known) = with_ticket_groups(levels, sets, known);
    let alike = Alike::new(&all, &all_known);
    let secrets: Vec<usize> =
        (0..sets.len()).filter(|&set| !known[set] && secret(&sets[set])).collect();
    // Each class is told of at one level, so that cells of other times say nothing of it.
    let mut used = vec![false; alike.linked.len()];
    for (level, groups) in levels.iter_mut().zip(of_level) {
        if level.tables.iter().all(|table| table.bands.is_empty()) {
            continue;
        }
        let mut bands = LevelBands { banded: vec![None; groups.len()] };
        for (class, own) in alike.groups(sets, groups) {
            let own = own.filter(|_| !used[class]);
            let Some(own) = own.filter(|own| own.iter().all(|&group| !known[groups[group]])) else {
                continue;
            };
            let is_secret = |group: &usize| secrets.contains(&groups[*group]);
            let (mut told, carriers): (Vec<usize>, Vec<usize>) =
                own.iter().partition(|group| is_secret(group));
            // A band of one merchant would be its own.
            told.retain(|&group| sets[groups[group]].len() > 1);
            let holds = |secret: &usize| {
                let lies = |group: &usize| is_part(&sets[groups[*group]], &sets[*secret]);
                carriers.iter().any(lies)
            };
            let is_linked = alike.linked[class];
            let lacks = carriers.is_empty() || secrets.iter().any(holds);
            if told.is_empty() || is_linked && lacks {
                continue;
            }
            used[class] = true;
            if is_linked {
                // The band of a second one would narrow that of the first.
                told.truncate(1);
            }
            let beside = |group: usize| own.iter().copied().filter(|&g| g != group).collect();
            for group in told {
                bands.banded[group] = Some(Banded { beside: is_linked.then(|| beside(group)) });
            }
        }
        if bands.told().next().is_some() {
            level.bands = Some(bands);
        }
    }
}

/// Is one ascending list part of another?
fn is_part(part: &[u32], whole: &[u32]) -> bool {
    part.iter().all(|merchant| whole.binary_search(merchant).is_ok())
}

/// Sets with those of the groups whose tickets are surveyed, which are known sums, too.
fn with_ticket_groups(
    levels: &[LevelPlan],
    sets: &[Vec<u32>],
    known: &[bool],
) -> (Vec<Vec<u32>>, Vec<bool>) {
    let surveyed = levels.iter().filter_map(|level| level.tickets.as_ref());
    let (mut sets, mut known) = (sets.to_vec(), known.to_vec());
    sets.extend(surveyed.flat_map(TicketPlan::members));
    known.resize(sets.len(), true);
    (sets, known)
}

/// Merchants by the known sets in which they lie.
struct Alike {
    /// By merchant.
    class_of: Vec<usize>,
    /// By class, how many there are, and whether some known set holds them.
    sizes: Vec<usize>,
    linked: Vec<bool>,
}

impl Alike {
    fn new(sets: &[Vec<u32>], known: &[bool]) -> Alike {
        let merchants = sets.iter().flatten().max().map_or(0, |&last| last as usize + 1);
        let mut lies_in = vec![Vec::new(); merchants];
        for (set, members) in sets.iter().enumerate().filter(|(set, _)| known[*set]) {
            members.iter().for_each(|&merchant| lies_in[merchant as usize].push(set));
        }
        let mut classes: BTreeMap<&Vec<usize>, usize> = BTreeMap::new();
        let mut class_of = Vec::with_capacity(merchants);
        for own in &lies_in {
            let next = classes.len();
            class_of.push(*classes.entry(own).or_insert(next));
        }
        let (mut sizes, mut linked) = (vec![0; classes.len()], vec![false; classes.len()]);
        class_of.iter().for_each(|&class| sizes[class] += 1);
        classes.iter().for_each(|(own, &class)| linked[class] = !own.is_empty());
        Alike { class_of, sizes, linked }
    }

    /// Of each class the groups of a level that make it up; `None` if one of them lies in others,
    /// too.
    fn groups(
        &self,
        sets: &[Vec<u32>],
        groups: &[usize],
    ) -> impl Iterator<Item = (usize, Option<Vec<usize>>)> {
        let mut own: Vec<Option<Vec<usize>>> = vec![Some(Vec::new()); self.sizes.len()];
        for (group, &set) in groups.iter().enumerate() {
            let mut classes: Vec<usize> =
                sets[set].iter().map(|&merchant| self.class_of[merchant as usize]).collect();
            classes.sort_unstable();
            classes.dedup();
            for &class in &classes {
                match &mut own[class] {
                    Some(all) if classes.len() == 1 => all.push(group),
                    all => *all = None,
                }
            }
        }
        own.into_iter().enumerate()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use proptest::test_runner::TestRunner;

    use crate::fixture::Market;
    use crate::plan::{KeyValue, LevelPlan, Plan, Turnover};

    /// Of each level the cells that may be told in bands, and those that hold what these may have.
    /// R0: a 4; R1: a 1, b 2; R2: a 2, b 1.
    fn told(levels: &str, line: &str) -> String {
        let report = format!("levels = {levels}\nkeys = \"public\"\ninsights = [\"payments\"]");
        let line = format!("{line}\nbands = {{ payments = [10, 100] }}");
        let plan = Market::with_kinds().try_plan_with(&line, &[report]);
        shown(&plan.unwrap_or_else(|error| panic!("{error}")))
    }

    fn shown(plan: &Plan) -> String {
        let mut all = String::new();
        for level in &plan.levels {
            let Some(bands) = &level.bands else { continue };
            let name = |group: usize| {
                let text = |value: &KeyValue| match value {
                    KeyValue::Text(text) => text.to_string(),
                    _ => "?".to_owned(),
                };
                let sellers = level.cells.sellers().expect("public");
                sellers[group].iter().map(text).collect::<Vec<_>>().join("/")
            };
            for group in bands.told() {
                let carriers = bands
                    .beside(group)
                    .expect("told")
                    .map(|all| all.iter().map(|&group| name(group)).collect::<Vec<_>>().join(" "));
                let carriers = carriers.unwrap_or_else(|| "none".to_owned());
                all += &format!("{}: {} beside {carriers}\n", level.file, name(group));
            }
        }
        all
    }

    #[test]
    fn cells_are_told_in_bands_where_others_may_have_what_they_have_not() {
        let fine = r#"[["region", "kind"]]"#;
        // No sum holds R1/b and R2/a, of two merchants each; R1/a and R2/b are of one.
        let alone = told(fine, "min_per_cell = 3");
        assert_eq!(alone, "r0.region-kind: R1/b beside none\nr0.region-kind: R2/a beside none\n");
        let regions = r#"[["region"], ["region", "kind"]]"#;
        // R1 is three merchants; of its kinds both are small, so nobody could have what one has
        // not.
        assert_eq!(told(regions, "min_per_cell = 3"), "");
        // With the total R1 and R2 would tell of each other.
        assert_eq!(told(r#"[["region"], []]"#, "min_per_cell = 4"), "");
        let both = told(r#"[["region"]]"#, "min_per_cell = 4");
        assert_eq!(both, "r0.region: R1 beside none\nr0.region: R2 beside none\n");
    }

    #[test]
    fn groups_whose_tickets_are_surveyed_are_known_sums() {
        let report = "levels = [[\"region\", \"kind\"]]\nkeys = \"public\"\n\
                      insights = [\"payments\", \"ticket_quantiles\"]";
        let line = "min_per_cell = 3\nbands = { payments = [10, 100] }";
        let plan = Market::with_kinds().try_plan_with(line, &[report.to_owned()]).expect("a plan");
        let (sets, known) = super::with_ticket_groups(&plan.levels, &[vec![1]], &[false]);
        // Those of regions.
        assert_eq!(sets, [vec![1], vec![0, 3, 6, 9], vec![1, 4, 7], vec![2, 5, 8]]);
        assert_eq!(known, [false, true, true, true]);
        // Else R1/b and R2/a are told, as the test above has it.
        assert_eq!(shown(&plan), "");
    }

    /// The merchants of each group of a level.
    fn members(level: &LevelPlan) -> Vec<BTreeSet<u32>> {
        let grouping = level.cells.merchants.as_ref().expect("public");
        let mut members = vec![BTreeSet::new(); grouping.groups.len()];
        for (merchant, &group) in (0..).zip(&grouping.group_of) {
            members[group as usize].insert(merchant);
        }
        members
    }

    /// What a level shows, or hides.
    fn sets(level: &LevelPlan, hidden: bool) -> Vec<BTreeSet<u32>> {
        let all = members(level).into_iter().enumerate();
        let is_hidden = |group: usize| level.hidden.get(group).copied().unwrap_or(false);
        all.filter(|(group, _)| is_hidden(*group) == hidden).map(|(_, set)| set).collect()
    }

    /// Whatever merchants have: some of what a cell that is told in bands has could be that of
    /// cells beside it of which nothing is told, and all that is shown would stay as it is.
    #[test]
    fn what_is_shown_holds_cells_told_in_bands_and_those_beside_them_or_neither() {
        let sums = prop::collection::vec(1u32..1000, 10);
        let cases = (sums, (0usize..5, 40u32..90), (1u32..3, 2u32..5));
        let beside_of = std::cell::Cell::new(0);
        let config = ProptestConfig::with_cases(200);
        let tested =
            TestRunner::new(config).run(&cases, |(sums, (levels, share), (top, least))| {
                let levels = [
                    r#"[["region"]]"#,
                    r#"[["kind"], []]"#,
                    r#"[["region"], ["kind"], []]"#,
                    r#"[["region", "kind"], ["region"]]"#,
                    r#"[["region", "kind"], ["region", "kind", "week"], []]"#,
                ][levels];
                let report = |levels: &str| {
                    format!("levels = {levels}\nkeys = \"public\"\ninsights = [\"payments\"]")
                };
                let line = format!(
                    "min_per_cell = {least}\nbands = {{ payments = [10, 100] }}\n\
                 dominance = {{ top = {top}, share = \"{share}%\", by = \"payments\" }}"
                );
                let reports = [report(levels), report(r#"[["merchant"]]"#)];
                // Of some levels all is hidden, whatever merchants have.
                let Ok(plan) = Market::with_kinds().try_plan_with(&line, &reports) else {
                    return Ok(());
                };
                let sums: Vec<f64> = sums.into_iter().map(f64::from).collect();
                let plan = plan.with_dominance(&Turnover { sums, sd: 1.0 }, &[]);
                let levels = || plan.levels.iter().filter(|level| !level.unshown);
                let shown: Vec<BTreeSet<u32>> =
                    levels().flat_map(|level| sets(level, false)).collect();
                let mut told_of = BTreeSet::new();
                for level in levels() {
                    let (own, Some(bands)) = (members(level), &level.bands) else { continue };
                    let mut here = BTreeSet::new();
                    for group in bands.told() {
                        prop_assert!(level.hidden[group] && own[group].len() > 1);
                        let linked = bands.beside(group).expect("told");
                        let beside = linked.unwrap_or_default();
                        let untold = |g: usize| level.hidden[g] && bands.beside(g).is_none();
                        prop_assert!(beside.iter().all(|&g| untold(g)));
                        prop_assert_eq!(linked.is_none(), beside.is_empty());
                        let all = beside.iter().flat_map(|&g| &own[g]).chain(&own[group]);
                        let all: BTreeSet<u32> = all.copied().collect();
                        for set in &shown {
                            let both = set.intersection(&all).count();
                            prop_assert!(both == 0 || linked.is_some() && both == all.len());
                        }
                        beside_of.set(beside_of.get() + usize::from(linked.is_some()));
                        here.extend(all);
                    }
                    // No other level tells of these.
                    prop_assert!(here.is_disjoint(&told_of));
                    told_of.extend(here);
                }
                Ok(())
            });
        tested.expect("in all cases");
        assert!(beside_of.get() > 0, "none of them has cells beside those that are told");
    }

    #[test]
    fn a_class_is_told_of_at_one_level() {
        let levels = r#"[["region"], ["region", "week"]]"#;
        let both = told(levels, "min_per_cell = 4");
        assert_eq!(both, "r0.region: R1 beside none\nr0.region: R2 beside none\n");
    }
}
