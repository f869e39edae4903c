//! Bands in place of values: which hidden cells may be told in bands. See `docs/merchants.md`.
//!
//! Merchants that lie in the same known sets are *alike*: whatever is known stays true if some of
//! what one of them has is another's. So a hidden cell can have any value of its band, if other
//! hidden cells of alike merchants, of which nothing is told, have as much more or less.

use std::collections::BTreeMap;

use super::LevelPlan;
use super::merchants::OfLevels;
use crate::findings::{self, Finding};
use crate::job::{Insight, Job, Key};

/// Of a level, by group of merchants, who may be told in bands.
#[derive(Clone, Debug)]
pub struct LevelBands {
    roles: Vec<Role>,
    /// Of each class of alike merchants that has bands, the groups that hold what the others may
    /// have; `None`: nothing that is known holds any of them.
    carriers: Vec<Option<Vec<usize>>>,
}

/// What a group of merchants is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Shown, or hidden without a band.
    Plain,
    /// Told in bands, of this class.
    Told(usize),
}

impl LevelBands {
    /// May a group be told in bands? Then with the groups that must have as much as it may have
    /// more; `None`: there need be none.
    pub fn of(&self, group: usize) -> Option<Option<&[usize]>> {
        match self.roles[group] {
            Role::Plain => None,
            Role::Told(class) => Some(self.carriers[class].as_deref()),
        }
    }

    /// The groups that may be told in bands.
    pub fn told(&self) -> impl Iterator<Item = usize> {
        let told = |group: &usize| self.roles[*group] != Role::Plain;
        (0..self.roles.len()).filter(told)
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
    let alike = Alike::new(sets, known);
    let secrets: Vec<usize> =
        (0..sets.len()).filter(|&set| !known[set] && secret(&sets[set])).collect();
    // Each class is told of at one level, so that cells of other times say nothing of it.
    let mut used = vec![false; alike.linked.len()];
    for (level, groups) in levels.iter_mut().zip(of_level) {
        if level.tables.iter().all(|table| table.bands.is_empty()) {
            continue;
        }
        let mut bands = LevelBands { roles: vec![Role::Plain; groups.len()], carriers: Vec::new() };
        for (class, own) in alike.groups(sets, groups) {
            let own = own.filter(|_| !used[class]);
            let Some(own) = own.filter(|own| own.iter().all(|&group| !known[groups[group]])) else {
                continue;
            };
            let is_secret = |group: &usize| secrets.contains(&groups[*group]);
            let (mut told, carriers): (Vec<usize>, Vec<usize>) =
                own.into_iter().partition(is_secret);
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
            told.iter().for_each(|&group| bands.roles[group] = Role::Told(bands.carriers.len()));
            bands.carriers.push(is_linked.then_some(carriers));
        }
        if !bands.carriers.is_empty() {
            level.bands = Some(bands);
        }
    }
}

/// Is one ascending list part of another?
fn is_part(part: &[u32], whole: &[u32]) -> bool {
    part.iter().all(|merchant| whole.binary_search(merchant).is_ok())
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
                    .of(group)
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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Whatever merchants have: some of what a cell that is told in bands has could be that of
        /// cells beside it of which nothing is told, and all that is shown would stay as it is.
        #[test]
        fn what_is_shown_holds_cells_told_in_bands_and_those_beside_them_or_neither(
            sums in prop::collection::vec(1u32..1000, 10),
            (levels, share) in (0usize..5, 40u32..90),
            (top, least) in (1u32..3, 2u32..5),
        ) {
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
                    let carriers = bands.of(group).expect("told");
                    let beside = carriers.unwrap_or_default();
                    prop_assert!(beside.iter().all(|&g| level.hidden[g] && bands.of(g).is_none()));
                    prop_assert_eq!(carriers.is_none(), beside.is_empty());
                    let all = beside.iter().flat_map(|&g| &own[g]).chain(&own[group]);
                    let all: BTreeSet<u32> = all.copied().collect();
                    for set in &shown {
                        let both = set.intersection(&all).count();
                        prop_assert!(both == 0 || carriers.is_some() && both == all.len());
                    }
                    here.extend(all);
                }
                // No other level tells of these.
                prop_assert!(here.is_disjoint(&told_of));
                told_of.extend(here);
            }
        }
    }

    #[test]
    fn a_class_is_told_of_at_one_level() {
        let levels = r#"[["region"], ["region", "week"]]"#;
        let both = told(levels, "min_per_cell = 4");
        assert_eq!(both, "r0.region: R1 beside none\nr0.region: R2 beside none\n");
    }
}
