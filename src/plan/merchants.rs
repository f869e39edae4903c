//! The second promise: what a release tells of few merchants. Stated in `docs/merchants.md`.
//!
//! Decided from the job and the public table of merchants, before any payment is read; so it says
//! nothing about users, and no merchant's payments can change it.

use std::collections::BTreeMap;

use super::bands::{self, assign_bands};
use super::homes::{at_home, home_sets};
use super::span::Sums;
use super::{KeyValue, LevelPlan, SurveyPlan, TicketPlan, dominance};
use crate::findings::{self, Finding};
use crate::job::{Insight, Job, Key};

/// Registered merchants that a cell has at least, unless the job says else or names merchants.
const LEAST_DEFAULT: u32 = 3;

/// What a job promises its merchants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MerchantProtection {
    /// Whatever is told, alone or together, is about so many registered merchants or more.
    pub least: u32,
    /// Different sets of merchants that cells of the job stand for.
    pub sets: usize,
    /// Those of them with too few merchants.
    pub small: usize,
    /// Those that are hidden besides, as differences would tell of too few.
    pub besides: usize,
}

/// The least number of merchants; 1: no promise.
fn least(job: &Job) -> u32 {
    let Some(registry) = &job.registry else { return 1 };
    let shown = job.reports.iter().flat_map(|report| &report.levels);
    let mut shown = shown.filter(|level| !LevelPlan::is_unshown(job, &level.keys));
    // Under a rule on dominance such levels are refused, not taken for leave.
    let named = registry.dominance.is_none() && shown.any(|level| names(job, &level.keys));
    registry.min_per_cell.as_ref().map_or(if named { 1 } else { LEAST_DEFAULT }, |stated| stated.0)
}

/// Do these keys tell each merchant apart? A column of payments does that has their expression.
fn names(job: &Job, keys: &[Key]) -> bool {
    let source = &job.payments;
    let merchant = source.merchant.as_ref().map(|expression| &expression.normal);
    let same = |name: &String| {
        source.columns.iter().any(|(own, e)| own == name && Some(&e.normal) == merchant)
    };
    let names = |key: &Key| match key {
        Key::Merchant => true,
        Key::Column(name) => same(name),
        _ => false,
    };
    keys.iter().any(names)
}

/// Marks the groups of merchants whose cells are hidden, at each level, and makes groups of tickets
/// coarser that would tell too much; says what cannot be. `None`: no promise is made.
pub(super) fn protect(
    job: &Job,
    levels: &mut [LevelPlan],
    surveys: &mut [SurveyPlan],
    findings: &mut Vec<Finding>,
) -> Option<MerchantProtection> {
    let least = least(job);
    findings.extend(dominance::faults(job, levels));
    findings.extend(bands::idle(job).filter(|_| least < 2));
    let registry = job.registry.as_ref().filter(|_| least > 1)?;
    let named = levels.iter().filter(|level| !level.unshown && names(job, &level.keys));
    let before = findings.len();
    let finding =
        |level: &LevelPlan| findings::merchants_named(&level.file, least).at(level.span.clone());
    findings.extend(named.map(finding));
    if findings.len() > before {
        return None;
    }
    let (mut sets, of_level, wholes) = sets(levels);
    let of_homes = home_sets(levels, &mut sets);
    let rule = registry.dominance.is_some();
    let cells = sets.len();
    // Tickets of all groups together are those of all merchants, whatever the groups are.
    let all: Vec<u32> = (0..registry.ids.len() as u32).collect();
    let asked = surveys.iter().any(|survey| survey.ticket_groups.is_some());
    let all = asked.then(|| {
        sets.iter().position(|set| *set == all).unwrap_or_else(|| {
            sets.push(all);
            cells
        })
    });
    let sums = Sums::new(&sets, registry.ids.len());
    let small: Vec<bool> = (0..sets.len()).map(|set| sums.size(set) < least).collect();
    let mut known: Vec<bool> = small.iter().map(|small| !small).collect();
    if !sums.can_be_searched(&known, least - 1) {
        findings.push(findings::merchants_unclear(least).at(registry.span.clone()));
        return None;
    }
    hide_few(&sums, &mut known, least, all);
    let told = sets.iter().zip(&known).filter(|(_, known)| **known).map(|(set, _)| set.clone());
    pool_tickets(told.collect(), (levels, surveys), (registry.ids.len(), least));
    for level in assign(levels, (&of_level, &wholes, &of_homes), &known) {
        let finding = findings::merchants_too_few(&levels[level].file, least);
        findings.push(finding.at(levels[level].span.clone()));
    }
    bands::columns(job, levels);
    assign_bands(levels, (&sets, &of_level), &known, |set| set.len() < least as usize);
    for level in levels.iter_mut() {
        // Of private keys, the cells themselves are left out. Whether a rule hides any tells of
        // payments.
        let may_hide = level.is_public() && (rule || !level.hidden.is_empty());
        level.tables.iter_mut().for_each(|table| table.may_hide = may_hide);
    }
    let count = |of: &[bool]| of.iter().filter(|&&is| is).count();
    let hidden = cells - count(&known[..cells]);
    let small = count(&small[..cells]);
    Some(MerchantProtection { least, sets: cells, small, besides: hidden - small })
}

/// Hides of the known sets as many as no combination of the others tells of too few merchants, but
/// not the one of `all` merchants.
pub(super) fn hide_few(sums: &Sums, known: &mut [bool], least: u32, all: Option<usize>) {
    while let Some(combination) = sums.breach(known, least - 1) {
        // The one that tells least; of equals the last, which is of the finer level.
        let cells = combination.into_iter().rev().filter(|&set| Some(set) != all);
        let hide = cells.min_by_key(|&set| sums.size(set));
        known[hide.expect("cannot fail because all merchants alone are not too few")] = false;
    }
}

/// Has levels hide the groups whose sets are not known; gives those that show nothing.
pub(super) fn assign(
    levels: &mut [LevelPlan],
    (of_level, wholes, of_homes): (&OfLevels<usize>, &OfLevels<Vec<usize>>, &OfLevels<Vec<usize>>),
    known: &[bool],
) -> Vec<usize> {
    let mut blank = Vec::new();
    for (place, level) in levels.iter_mut().enumerate().filter(|(_, level)| !level.unshown) {
        // A share tells what it is a share of.
        let told = |(&set, whole): (&usize, &Vec<usize>)| {
            known[set] && whole.iter().all(|&whole| known[whole])
        };
        let mut told: Vec<bool> = of_level[place].iter().zip(&wholes[place]).map(told).collect();
        if let Some(pairs) = &level.cells.pairs {
            // Who paid at both tells of either.
            let both = |&(one, other): &(u32, u32)| told[one as usize] && told[other as usize];
            told = pairs.members.iter().map(both).collect();
        }
        let at_home = at_home(&of_homes[place], known).into_iter();
        level.hidden =
            at_home.flat_map(|known| told.iter().map(move |told| !(known && *told))).collect();
        if !level.hidden.contains(&false) && !level.hidden.is_empty() {
            blank.push(place);
        }
        if !level.hidden.contains(&true) {
            level.hidden.clear();
        }
    }
    blank
}

/// Groups of merchants whose tickets are surveyed are sums, too, beside those that are `told`.
/// Those that would tell of too few merchants become one group, with as many more as that one
/// needs.
fn pool_tickets(
    told: Vec<Vec<u32>>,
    (levels, surveys): (&mut [LevelPlan], &mut [SurveyPlan]),
    (merchants, least): (usize, u32),
) {
    let surveyed = || surveys.iter().filter(|survey| survey.ticket_groups.is_some());
    let tickets = surveyed().filter_map(|survey| levels[survey.level].tickets.as_ref());
    // All levels that have groups have those of one attribute.
    let groups = tickets.map(TicketPlan::members).find(|groups| !groups.is_empty());
    let Some(groups) = groups else { return };
    let pooled = pooled(told, &groups, merchants, least);
    for survey in surveys.iter_mut().filter(|survey| survey.ticket_groups.is_some()) {
        let Some(tickets) = &mut levels[survey.level].tickets else { continue };
        if !tickets.members().is_empty() {
            tickets.pool(&pooled);
            survey.ticket_groups = Some(tickets.groups());
        }
    }
}

/// Which groups are to be one.
fn pooled(told: Vec<Vec<u32>>, groups: &[Vec<u32>], merchants: usize, least: u32) -> Vec<bool> {
    let mut pooled: Vec<bool> = groups.iter().map(|group| group.len() < least as usize).collect();
    loop {
        let kept: Vec<usize> = (0..groups.len()).filter(|&group| !pooled[group]).collect();
        let mut sets: Vec<Vec<u32>> = kept.iter().map(|&group| groups[group].clone()).collect();
        let together = groups.iter().zip(&pooled).filter(|(_, pooled)| **pooled);
        let mut rest: Vec<u32> = together.flat_map(|(group, _)| group.clone()).collect();
        rest.sort_unstable();
        sets.extend(Some(rest).filter(|rest| !rest.is_empty()));
        sets.extend(told.iter().cloned());
        let sums = Sums::new(&sets, merchants);
        let known = vec![true; sets.len()];
        if kept.is_empty() || !sums.can_be_searched(&known, least - 1) {
            return vec![true; groups.len()];
        }
        let Some(combination) = sums.breach(&known, least - 1) else { return pooled };
        let size = |group: &usize| groups[*group].len();
        let part = combination.into_iter().filter(|&set| set < kept.len()).map(|set| kept[set]);
        let smallest = part.min_by_key(size).or_else(|| kept.iter().copied().min_by_key(size));
        pooled[smallest.expect("cannot fail because some are kept")] = true;
    }
}

/// The sets of merchants of each group of a level, or those that each group's shares are of.
pub(super) type OfLevels<T> = Vec<Vec<T>>;

/// The different sets of merchants that cells stand for, coarse levels first; for each level those
/// of its groups, and those that shares of each group are of.
pub(super) fn sets(levels: &[LevelPlan]) -> (Vec<Vec<u32>>, OfLevels<usize>, OfLevels<Vec<usize>>) {
    let count = |&at: &usize| levels[at].cells.merchants.as_ref().map_or(0, |g| g.groups.len());
    let mut order: Vec<usize> = (0..levels.len()).filter(|&l| !levels[l].unshown).collect();
    order.sort_by_key(count);
    let (mut known, mut all) = (BTreeMap::new(), Vec::new());
    let mut place_of = |set: Vec<u32>| {
        *known.entry(set.clone()).or_insert_with(|| {
            all.push(set);
            all.len() - 1
        })
    };
    let mut of_level = vec![Vec::new(); levels.len()];
    let mut wholes = vec![Vec::new(); levels.len()];
    for level in order {
        let Some(grouping) = &levels[level].cells.merchants else { continue };
        let mut members = vec![Vec::new(); grouping.groups.len()];
        for (merchant, &group) in (0..).zip(&grouping.group_of) {
            members[group as usize].push(merchant);
        }
        let shared = shared_parts(&levels[level]);
        let mut of_groups = vec![Vec::new(); members.len()];
        for parts in shared {
            let whole = |group: usize| {
                let values = grouping.groups[group].iter().enumerate();
                let rest = values.filter(|(part, _)| !parts.contains(part));
                rest.map(|(_, value)| value.clone()).collect::<Vec<KeyValue>>()
            };
            let mut together: BTreeMap<Vec<KeyValue>, Vec<u32>> = BTreeMap::new();
            for (group, members) in members.iter().enumerate() {
                together.entry(whole(group)).or_default().extend(members);
            }
            for (group, wholes) in of_groups.iter_mut().enumerate() {
                let mut set = together[&whole(group)].clone();
                set.sort_unstable();
                wholes.push(place_of(set));
            }
        }
        wholes[level] = of_groups;
        of_level[level] = members.into_iter().map(&mut place_of).collect();
    }
    (all, of_level, wholes)
}

/// For each table of a level that shares out keys of merchants, the places of these keys among all
/// that tell merchants apart. A lift tells of all values of its key, as a share does.
fn shared_parts(level: &LevelPlan) -> Vec<Vec<usize>> {
    let of_merchants = |key: &Key| matches!(key, Key::Merchant | Key::MerchantAttribute(_));
    let places: Vec<usize> =
        (0..level.keys.len()).filter(|&place| of_merchants(&level.keys[place])).collect();
    let parts = |share_of: &Vec<usize>| -> Vec<usize> {
        (0..places.len()).filter(|&part| share_of.contains(&places[part])).collect()
    };
    let tables = level.tables.iter().map(|table| parts(&table.share_of));
    let mut lifts = level.tables.iter().filter(|table| table.insights.contains(&Insight::Lift));
    let pairs = level.cells.pairs.as_ref().filter(|_| lifts.next().is_some());
    let lifts = pairs.map(|pairs| vec![pairs.place]);
    tables.chain(lifts).filter(|parts| !parts.is_empty()).collect()
}

impl LevelPlan {
    /// Is the cell with this key hidden, as it tells of too few merchants?
    pub fn is_hidden(&self, key: &[KeyValue]) -> bool {
        let group = || self.cells.merchant_group(key);
        !self.hidden.is_empty() && group().is_none_or(|group| self.hidden[group])
    }

    /// Names of the keys that tell homes, of those that tell merchants apart, and of that which
    /// makes pairs; and their values at hidden cells.
    pub fn hidden_groups(&self) -> (Vec<&str>, Vec<Vec<KeyValue>>) {
        let homes = self.keys.iter().filter(|key| matches!(key, Key::Home(_)));
        let of_merchants = |key: &&Key| matches!(key, Key::Merchant | Key::MerchantAttribute(_));
        let paired = self.keys.iter().filter(|key| matches!(key, Key::With(_)));
        let merchants = self.keys.iter().filter(of_merchants);
        let names = homes.chain(merchants).chain(paired).map(Key::name).collect();
        let merchants = self.cells.sellers().into_iter().flatten();
        let groups = (0..self.cells.home_count()).flat_map(|home| {
            let home = self.cells.home_values(home);
            merchants.clone().map(move |merchant| [&home[..], merchant].concat())
        });
        let hidden = groups.zip(&self.hidden).filter(|(_, hidden)| **hidden);
        (names, hidden.map(|(group, _)| group).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::fixture::Market;
    use crate::plan::Plan;

    /// Hidden cells of each level, with ten merchants in regions and kinds of these sizes:
    /// R0: a 4; R1: a 1, b 2; R2: a 2, b 1.
    fn hidden(levels: &str, merchants: &str) -> String {
        let text = format!("levels = {levels}\nkeys = \"public\"\ninsights = [\"payments\"]");
        match Market::with_kinds().try_plan_with(merchants, &[text]) {
            Ok(plan) => shown(&plan),
            Err(error) => error.findings().iter().map(|f| f.message().to_owned() + "\n").collect(),
        }
    }

    fn shown(plan: &Plan) -> String {
        let text = |value: &KeyValue| match value {
            KeyValue::Text(text) => text.to_string(),
            _ => "?".to_owned(),
        };
        let level = |level: &LevelPlan| {
            let (_, groups) = level.hidden_groups();
            let groups: Vec<String> = groups
                .iter()
                .map(|group| group.iter().map(text).collect::<Vec<_>>().join("/"))
                .collect();
            format!("{}: {}\n", level.file, groups.join(" "))
        };
        plan.levels.iter().map(level).collect()
    }

    #[test]
    fn cells_of_few_merchants_are_hidden() {
        // Of R0 all are of one kind, which is shown as the region is.
        let levels = r#"[["region", "kind", "week"]]"#;
        let cells = hidden(levels, "");
        assert_eq!(cells, "r0.region-kind-week: R1/a R1/b R2/a R2/b\n");
        assert_eq!(hidden(levels, "min_per_cell = 2"), "r0.region-kind-week: R1/a R2/b\n");
        assert_eq!(hidden(levels, "min_per_cell = 1"), "r0.region-kind-week: \n");
        assert_eq!(hidden(r#"[["kind"], []]"#, ""), "r0.kind: \nr0.all: \n");
    }

    /// Who pays most in a region of few merchants tells of these merchants.
    #[test]
    fn homes_of_few_merchants_are_hidden() {
        assert_eq!(hidden(r#"[["home_region"]]"#, ""), "r0.home_region: \n");
        assert_eq!(hidden(r#"[["home_region"]]"#, "min_per_cell = 4"), "r0.home_region: R1 R2\n");
        // R0 has four merchants, R1 and R2 three each.
        let flows = hidden(r#"[["region", "home_region"]]"#, "min_per_cell = 4");
        assert_eq!(
            flows,
            "r0.region-home_region: R0/R1 R0/R2 R1/R0 R1/R1 R1/R2 R2/R0 R2/R1 R2/R2\n"
        );
        // A home that is known and a cell tell what is left: R0 of kind a is R0, and R1 is of both.
        let levels = r#"[["home_region", "month"], ["region", "kind"]]"#;
        let cells = hidden(levels, "min_per_cell = 2");
        assert_eq!(cells, "r0.home_region-month: \nr0.region-kind: R1/a R1/b R2/a R2/b\n");
        // A name is a merchant.
        let named = hidden(r#"[["home_name"]]"#, "");
        assert!(named.contains("level r0.home_name would show nothing"), "{named}");
    }

    /// Who paid at both of a pair tells of either's merchants.
    #[test]
    fn pairs_of_few_merchants_are_hidden() {
        let pairs = |keys: &str, least: u32| {
            let text = format!("levels = [{keys}]\nkeys = \"public\"\ninsights = [\"customers\"]");
            let line = format!("min_per_cell = {least}");
            match Market::with_kinds().try_plan_with(&line, &[text]) {
                Ok(plan) => shown(&plan),
                Err(error) => error.findings()[0].message().to_owned(),
            }
        };
        let regions = r#"["with_region", "region"]"#;
        assert_eq!(pairs(regions, 3), "r0.with_region-region: \n");
        // R0 has four merchants and the others three, so each pair has one of too few.
        assert!(pairs(regions, 4).contains("r0.with_region-region would show nothing"));
        // Two of a and one of b in R2, the other way in R1; R0 has no pair.
        let kinds = r#"["region", "kind", "with_kind"]"#;
        assert_eq!(pairs(kinds, 1), "r0.region-kind-with_kind: \n");
        assert!(pairs(kinds, 2).contains("would show nothing"));
    }

    #[test]
    fn a_cell_that_differences_would_tell_hides_another() {
        // Without R1/b, R1 less R1/a would be R1/b: of two merchants, both are hidden.
        let levels = r#"[["region"], ["region", "kind"]]"#;
        assert_eq!(
            hidden(levels, "min_per_cell = 2"),
            "r0.region: \nr0.region-kind: R1/a R1/b R2/a R2/b\n"
        );
        // Kind a less R0/a is R1/a and R2/a: three merchants.
        let levels = r#"[["kind"], ["region", "kind"]]"#;
        assert_eq!(hidden(levels, ""), "r0.kind: \nr0.region-kind: R1/a R1/b R2/a R2/b\n");
        // With at least four, kind a less R0/a tells of three: nothing is left of the finer level.
        let four = hidden(r#"[["kind"], ["region", "kind"]]"#, "min_per_cell = 4");
        assert!(four.contains("level r0.region-kind would show nothing"), "{four}");
    }

    #[test]
    fn other_reports_and_times_are_minded() {
        let market = Market::with_kinds();
        let report = |levels: &str| {
            format!("levels = {levels}\nkeys = \"public\"\ninsights = [\"payments\"]")
        };
        let both = [report(r#"[["region", "week"]]"#), report(r#"[["region", "kind", "month"]]"#)];
        let plan = market.try_plan_with("min_per_cell = 2", &both).expect("a plan");
        assert_eq!(shown(&plan), "r0.region-week: \nr1.region-kind-month: R1/a R1/b R2/a R2/b\n");
        assert_eq!(
            plan.merchants,
            Some(MerchantProtection { least: 2, sets: 7, small: 2, besides: 2 })
        );
    }

    #[test]
    fn levels_that_name_merchants_make_no_promise_unless_asked() {
        let levels = r#"[["merchant"], ["region", "kind"]]"#;
        assert_eq!(hidden(levels, ""), "r0.merchant: \nr0.region-kind: \n");
        let refused = hidden(levels, "min_per_cell = 3");
        assert!(refused.contains("level r0.merchant shows single merchants"), "{refused}");
        // So does a column of payments that is the merchant.
        let wallet = ("wallet = \"wallet\"", "wallet = '\"merchant\"'");
        let report = "levels = [[\"wallet\"], [\"region\", \"kind\"]]\nkeys = \"public\"\n\
                      insights = [\"payments\"]";
        let plan = |files: &str| {
            let files = ("files = [\"merchants.parquet\"]", files);
            let groups = ("ticket_groups = \"region\"\n", "");
            Market::with_kinds().try_plan_changed(&[wallet, files, groups], &[report.to_owned()])
        };
        let named = plan("files = [\"merchants.parquet\"]").expect("a plan");
        assert_eq!(
            (named.merchants, shown(&named)),
            (None, "r0.wallet: \nr0.region-kind: \n".into())
        );
        let refused = plan("files = [\"merchants.parquet\"]\nmin_per_cell = 3").expect_err("names");
        assert!(refused.findings()[0].message().contains("r0.wallet shows single merchants"));
        let refused = hidden(r#"[["region", "kind", "name"]]"#, "");
        assert!(refused.contains("level r0.region-kind-name"), "{refused}");
    }

    /// The groups of tickets, by their regions' numbers, and the hidden cells.
    fn groups(levels: &str, merchants: &str) -> (Vec<Vec<u32>>, String) {
        let text =
            format!("levels = {levels}\nkeys = \"public\"\ninsights = [\"ticket_quantiles\"]");
        let plan = Market::with_kinds().try_plan_with(merchants, &[text]).expect("a plan");
        let tickets = plan.levels[0].tickets.as_ref().expect("asked");
        let survey = plan.surveys.iter().find_map(|survey| survey.ticket_groups);
        assert_eq!(survey, Some(tickets.groups()));
        let regions = tickets.members().into_iter().map(|group| {
            let regions: BTreeSet<u32> = group.iter().map(|merchant| merchant % 3).collect();
            assert_eq!(group.len(), (0..10).filter(|m| regions.contains(&(m % 3))).count());
            regions.into_iter().collect()
        });
        (regions.collect(), shown(&plan))
    }

    #[test]
    fn groups_of_tickets_tell_no_more_than_cells_may() {
        let apart = vec![vec![0], vec![1], vec![2]];
        assert_eq!(groups(r#"[["region"]]"#, "").0, apart);
        // R1 and R2 have three merchants each.
        let (pooled, cells) = groups(r#"[["region"]]"#, "min_per_cell = 4");
        assert_eq!((pooled, &*cells), (vec![vec![0], vec![1, 2]], "r0.region: R1 R2\n"));
        // R1 less R1/b would be R1/a, and R2 less R2/a would be R2/b, of one merchant each.
        let levels = r#"[["region", "kind"]]"#;
        let (pooled, cells) = groups(levels, "min_per_cell = 2");
        assert_eq!(cells, "r0.region-kind: R1/a R2/b\n");
        assert_eq!(pooled, [vec![0], vec![1, 2]]);
        assert_eq!(groups(levels, "min_per_cell = 1").0, apart);
    }

    /// Where groups are one, their tickets are those of all merchants.
    #[test]
    fn tickets_of_all_tell_what_cells_leave_over() {
        let text = |insight: &str| {
            format!("levels = [[\"kind\"]]\nkeys = \"public\"\ninsights = [\"{insight}\"]")
        };
        let plan =
            |insight| Market::with_kinds().try_plan_with("min_per_cell = 4", &[text(insight)]);
        // Kind b, of three merchants, is all without a.
        assert_eq!(shown(&plan("payments").expect("a plan")), "r0.kind: b\n");
        let refused = plan("ticket_quantiles").expect_err("nothing is left");
        assert!(refused.findings()[0].message().contains("r0.kind would show nothing"));
    }

    #[test]
    fn shares_tell_what_they_are_shares_of() {
        let share = |least: u32| {
            let text = "levels = [[\"region\", \"kind\"]]\nkeys = \"public\"\n\
                insights = [\"payments\", \"payments_share\"]\nshare_of = \"kind\"";
            let line = format!("min_per_cell = {least}");
            shown(&Market::with_kinds().try_plan_with(&line, &[text.to_owned()]).expect("a plan"))
        };
        // Without shares R1/b and R2/a are shown, of two merchants each; with them the regions are
        // known, and so are R1/a and R2/b, of one.
        assert_eq!(share(2), "r0.region-kind: R1/a R1/b R2/a R2/b\n");
        let plain = hidden(r#"[["region", "kind"]]"#, "min_per_cell = 2");
        assert_eq!(plain, "r0.region-kind: R1/a R2/b\n");
        // Of four merchants, R1 and R2 are too small to be shared out.
        assert_eq!(share(4), "r0.region-kind: R1/a R1/b R2/a R2/b\n");
    }
}
