//! Levels whose cells are pairs: users who paid at both of two categories, say, and lifts.

use std::collections::BTreeMap;

use super::compared::{Fault, fault};
use super::{CellSpace, KeyValue, LevelPlan, Plan};
use crate::findings::{self, Finding};
use crate::job::{Insight, Key, Level, Report};

/// Pairs of groups of merchants that differ in one attribute: in the order of the attribute's
/// values, so each pair once.
#[derive(Clone, Debug)]
pub struct Pairs {
    /// Of each pair the first group's key values, and behind them the second one's value of the
    /// attribute.
    pub groups: Vec<Vec<KeyValue>>,
    /// Of each pair its groups.
    pub members: Vec<(u32, u32)>,
    /// How many there are; of too many the others say nothing.
    pub count: u64,
    /// The attribute's place among the merchant keys.
    pub(super) place: usize,
    /// Of each group its family, those with which it makes pairs; and its place there.
    of_group: Vec<(u32, u32)>,
    /// Of each family how many groups it has, and its first pair.
    families: Vec<(u32, u32)>,
}

/// The levels by which pairs are judged: those with the same other keys.
#[derive(Clone, Debug)]
pub struct PairLevels {
    /// The place in the plan of the level of single values, such as that of categories.
    pub singles: usize,
    /// Of each of its keys, the place of the pair's first value among the keys of the level of
    /// pairs,
    pub first: Vec<usize>,
    /// and that of the second one.
    pub second: Vec<usize>,
    /// The place in the plan of the level without these values, that of all users.
    pub whole: usize,
    /// Of each of its keys the place among those of the level of pairs.
    pub rest: Vec<usize>,
}

impl Pairs {
    /// Of groups that are ascending and differ in the attribute at a place.
    pub(super) fn new(groups: &[Vec<KeyValue>], place: usize) -> Pairs {
        let mut by_family: BTreeMap<Vec<&KeyValue>, Vec<u32>> = BTreeMap::new();
        for (group, values) in (0..).zip(groups) {
            let others = values.iter().enumerate().filter(|(at, _)| *at != place);
            by_family.entry(others.map(|(_, value)| value).collect()).or_default().push(group);
        }
        let of_family = |own: &Vec<u32>| own.len() as u64 * (own.len() as u64 - 1) / 2;
        let count = by_family.values().map(of_family).sum();
        let mut pairs = Pairs {
            groups: Vec::new(),
            members: Vec::new(),
            count,
            place,
            of_group: vec![(0, 0); groups.len()],
            families: Vec::new(),
        };
        if u128::from(count) > Plan::CELLS_MAX {
            return pairs;
        }
        for (family, own) in (0..).zip(by_family.into_values()) {
            pairs.families.push((own.len() as u32, pairs.members.len() as u32));
            for (rank, &group) in own.iter().enumerate() {
                pairs.of_group[group as usize] = (family, rank as u32);
                pairs.members.extend(own[rank + 1..].iter().map(|&other| (group, other)));
            }
        }
        let values = |&(one, other): &(u32, u32)| {
            let second = groups[other as usize][place].clone();
            groups[one as usize].iter().cloned().chain([second]).collect()
        };
        pairs.groups = pairs.members.iter().map(values).collect();
        pairs
    }

    /// The groups with which this one makes pairs, as a number; and its place among them.
    pub fn family(&self, group: u32) -> (u32, u32) {
        self.of_group[group as usize]
    }

    /// The number of the pair of two of a family, from their places in it, the first of which is
    /// the smaller one.
    pub fn number(&self, family: u32, first: u32, second: u32) -> u32 {
        let (count, start) = self.families[family as usize];
        start + first * (2 * count - first - 1) / 2 + (second - first - 1)
    }

    /// The number of the pair of two groups; `None` if they make none.
    pub(super) fn of(&self, one: u32, other: u32) -> Option<u32> {
        let ((family, first), (theirs, second)) = (self.family(one), self.family(other));
        (family == theirs && first < second).then(|| self.number(family, first, second))
    }
}

/// Gives levels of pairs those that they are judged by, where their report has them.
pub(super) fn plan_pairs(levels: &mut [LevelPlan]) {
    for level in 0..levels.len() {
        let keys = &levels[level].keys;
        let Some(with) = keys.iter().position(|key| key.pairs_of().is_some()) else { continue };
        let column = keys[with].pairs_of().unwrap_or_default();
        let Some(own) = keys.iter().position(|key| is_column(key, column)) else { continue };
        let known = |wanted: &dyn Fn(&Key) -> bool| {
            let count = keys.iter().filter(|key| wanted(key)).count();
            let same = |other: &&LevelPlan| {
                let shown = |report: &str| other.is_of(report);
                other.is_public()
                    && other.keys.len() == count
                    && other.keys.iter().all(|key| wanted(key) && keys.contains(key))
                    && levels[level].tables.iter().any(|table| shown(&table.report))
            };
            levels.iter().position(|other| same(&other))
        };
        let singles = known(&|key| *key != keys[with]);
        let whole = known(&|key| *key != keys[with] && *key != keys[own]);
        let Some((singles, whole)) = singles.zip(whole) else { continue };
        let places = |level: usize| -> Vec<usize> {
            let place = |key: &Key| keys.iter().position(|own| own == key);
            levels[level].keys.iter().filter_map(place).collect()
        };
        let (first, rest) = (places(singles), places(whole));
        let second = first.iter().map(|&place| if place == own { with } else { place }).collect();
        levels[level].pairs = Some(PairLevels { singles, first, second, whole, rest });
    }
}

fn is_column(key: &Key, column: &str) -> bool {
    matches!(key, Key::MerchantAttribute(name) if name == column)
}

/// What is wrong with the tables of a level as one of pairs, or with what pairs are asked for.
pub(super) fn faults(tables: &[(&Report, &Level)], cells: &CellSpace) -> Vec<Finding> {
    let faults = |&(report, level): &(&Report, &Level)| {
        let Some(key) = level.keys.iter().find(|key| key.pairs_of().is_some()) else {
            return without_pairs(report, level);
        };
        if let Some((why, hint)) = pair_fault(report, level, key, cells) {
            return Some(findings::pairs_unfit(key.name(), &level.name(), &why, &hint));
        }
        let (why, hint) = lift_fault(report, level)?;
        Some(findings::insight_unfit(Insight::Lift.name(), &level.name(), &why, &hint))
    };
    let placed = |table: &(&Report, &Level)| Some(faults(table)?.at(table.1.span.clone()));
    tables.iter().filter_map(placed).collect()
}

/// Lifts that no level of the report could show, once.
fn without_pairs(report: &Report, level: &Level) -> Option<Finding> {
    let paired = |level: &Level| level.keys.iter().any(|key| key.pairs_of().is_some());
    let first = report.levels.first().is_some_and(|first| first.span == level.span);
    if !first || !report.insights.contains(&Insight::Lift) || report.levels.iter().any(paired) {
        return None;
    }
    let why = "no level of the report is of pairs";
    let hint = "add one such as [\"category\", \"with_category\"], beside [\"category\"] and []";
    Some(findings::insight_unfit(Insight::Lift.name(), &level.name(), why, hint))
}

fn pair_fault(report: &Report, level: &Level, key: &Key, cells: &CellSpace) -> Fault {
    let column = key.pairs_of()?;
    if level.keys.iter().filter(|key| key.pairs_of().is_some()).count() > 1 {
        return fault("it has another key of pairs", "put each into a level of its own");
    }
    if !level.keys.iter().any(|key| is_column(key, column)) {
        let why = format!("the first of each pair is the key `{column}`, which it lacks");
        return fault(why, format!("add the key `{column}` to the level"));
    }
    if !report.selection.is_public() {
        let why = "pairs need to know all values beforehand";
        return fault(why, "write `keys = \"public\"`");
    }
    if cells.pairs.as_ref().is_some_and(|pairs| pairs.count == 0) {
        let why = format!("no two values of `{column}` have the same other keys of merchants");
        return fault(why, "leave the other keys of merchants out");
    }
    None
}

/// What stands against lifts at a level of pairs.
fn lift_fault(report: &Report, level: &Level) -> Fault {
    if !report.insights.contains(&Insight::Lift) {
        return None;
    }
    let column = level.keys.iter().find_map(Key::pairs_of)?;
    let others = |key: &&Key| key.pairs_of().is_none();
    let singles: Vec<&Key> = level.keys.iter().filter(others).collect();
    let whole: Vec<&Key> = singles.iter().copied().filter(|key| !is_column(key, column)).collect();
    let has = |wanted: &[&Key]| {
        let same = |level: &Level| {
            level.keys.len() == wanted.len() && wanted.iter().all(|key| level.keys.contains(key))
        };
        report.levels.iter().any(same)
    };
    let missing: Vec<String> = [&singles, &whole]
        .into_iter()
        .filter(|keys| !has(keys))
        .map(|keys| {
            let names: Vec<String> = keys.iter().map(|k| format!("\"{}\"", k.name())).collect();
            format!("[{}]", names.join(", "))
        })
        .collect();
    if missing.is_empty() {
        return None;
    }
    fault(
        format!("the report has no level of all users, or of those of each `{column}`"),
        format!("add to its levels {}", missing.join(" and ")),
    )
}

#[cfg(test)]
mod tests {
    use crate::fixture::Market;
    use crate::plan::merchants::sets;

    #[test]
    fn lifts_tell_all_users_and_so_all_their_merchants() {
        let wholes = |insights: &str| {
            let levels =
                "[[\"region\"], [\"region\", \"kind\"], [\"region\", \"kind\", \"with_kind\"]]";
            let text = format!("levels = {levels}\nkeys = \"public\"\ninsights = {insights}");
            let plan = Market::with_kinds().try_plan_with("min_per_cell = 1", &[text]);
            let levels = plan.expect("a plan").levels;
            let place = levels.iter().position(|l| l.cells.pairs.is_some()).expect("pairs");
            let (sets, _, mut wholes) = sets(&levels);
            let sizes =
                |wholes: Vec<usize>| wholes.into_iter().map(|set| sets[set].len()).collect();
            wholes.swap_remove(place).into_iter().map(sizes).collect::<Vec<Vec<usize>>>()
        };
        assert!(wholes("[\"customers\"]").iter().all(Vec::is_empty));
        // R0 has four merchants, R1 and R2 have three each, of two kinds.
        assert_eq!(wholes("[\"customers\", \"lift\"]"), [[4], [3], [3], [3], [3]]);
    }
}
