//! The cells of a level, and how a payment finds its cell.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{Datelike, NaiveDate};

use super::{HomeKey, LevelPlan, Pairs, Plan};
use crate::findings::{self, Finding};
use crate::job::{Job, Key, Level, Period, Registry, TimeKey};

/// One value of one key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyValue {
    /// A merchant, attribute, currency or column value.
    Text(Arc<str>),
    /// A day, or the first day of a week, month or quarter.
    Date(NaiveDate),
    /// A weekday or an hour.
    Number(u8),
}

/// The values of a level's keys, in the order of the level.
pub type CellKey = Box<[KeyValue]>;

/// The cells of a level as a product of four parts: where the user is at home, who sells, when, and
/// the rest.
///
/// A payment's cell is the tuple of its groups in each part. Homes are the user's, found from all
/// their payments. All but the rest are public; the groups of the rest are where the key set is.
#[derive(Clone, Debug)]
pub struct CellSpace {
    /// The keys that tell where users are at home; most levels have none.
    pub homes: Vec<HomeKey>,
    /// Distinct merchant keys, ascending; `None`: no table of merchants, each merchant a group.
    pub merchants: Option<Grouping>,
    /// Of which pairs are cells, at levels with a key such as `with_category`.
    pub pairs: Option<Pairs>,
    /// Distinct time keys, ascending, by hour of the period.
    pub times: Grouping,
    /// Of each key of the level: its part, and its place there.
    layout: Vec<(Part, usize)>,
    /// Names of the columns of the last part (`currency` for the currency).
    pub rest: Vec<String>,
}

/// Public values and the group of each of them.
#[derive(Clone, Debug)]
pub struct Grouping {
    /// The key values of each group.
    pub groups: Vec<Vec<KeyValue>>,
    /// The group of each merchant code or hour.
    pub group_of: Vec<u32>,
}

impl Grouping {
    /// Of each group the one of `coarse` in which it lies; `None` if one lies in several.
    fn within(&self, coarse: &Grouping) -> Option<Vec<u32>> {
        let mut found: Vec<Option<u32>> = vec![None; self.groups.len()];
        for (&own, &theirs) in self.group_of.iter().zip(&coarse.group_of) {
            if *found[own as usize].get_or_insert(theirs) != theirs {
                return None;
            }
        }
        // Without a table of merchants there is one group, of no merchant in particular.
        let lone = (coarse.groups.len() == 1).then_some(0);
        found.into_iter().map(|found| found.or(lone)).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Home,
    Merchant,
    With,
    Time,
    Rest,
}

impl CellSpace {
    /// The cells of `level`.
    pub(super) fn new(job: &Job, level: &Level) -> CellSpace {
        let (mut merchant_keys, mut time_keys, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        let (mut homes, mut layout) = (Vec::new(), Vec::new());
        for key in &level.keys {
            match key {
                Key::Home(_) => {
                    layout.push((Part::Home, homes.len()));
                    homes.extend(HomeKey::new(job, key));
                }
                Key::Merchant | Key::MerchantAttribute(_) => {
                    layout.push((Part::Merchant, merchant_keys.len()));
                    merchant_keys.push(key);
                }
                Key::With(_) => layout.push((Part::With, 0)),
                Key::Time(time) => {
                    layout.push((Part::Time, time_keys.len()));
                    time_keys.push(*time);
                }
                Key::Column(_) | Key::Currency => {
                    layout.push((Part::Rest, rest.len()));
                    rest.push(key.name().to_owned());
                }
            }
        }
        let merchants = match &job.registry {
            Some(registry) => Some(merchant_groups(registry, &merchant_keys)),
            None if merchant_keys.is_empty() => {
                Some(Grouping { groups: vec![Vec::new()], group_of: Vec::new() })
            }
            None => None,
        };
        let times = time_groups(job.payments.period, &time_keys);
        let paired = level.keys.iter().find_map(Key::pairs_of);
        let place = paired.and_then(|name| {
            let is = |key: &&Key| matches!(key, Key::MerchantAttribute(own) if own == name);
            merchant_keys.iter().position(is)
        });
        let pairs = place.zip(merchants.as_ref());
        let pairs = pairs.map(|(place, merchants)| Pairs::new(&merchants.groups, place));
        CellSpace { homes, merchants, pairs, times, layout, rest }
    }

    /// The key values of each group of merchants, or of each pair of groups, in the order of cells.
    pub fn sellers(&self) -> Option<&[Vec<KeyValue>]> {
        let groups = self.merchants.as_ref().map(|grouping| &grouping.groups);
        Some(self.pairs.as_ref().map_or(groups?, |pairs| &pairs.groups))
    }

    /// How many combinations of homes there are; `u64::MAX` for more.
    pub fn home_count(&self) -> u64 {
        let values = self.homes.iter().map(|home| home.values.len() as u64);
        values.fold(1, u64::saturating_mul)
    }

    /// Are there more than fit? `count`: of public keys.
    pub(super) fn too_many(&self, level: &Level, count: Option<u128>) -> Option<Finding> {
        let (cells_max, homes_max) = (Plan::CELLS_MAX, Plan::HOMES_MAX);
        let (name, groups) = (level.name(), self.group_count());
        let finding = match count {
            Some(count) if count > cells_max => findings::cells_too_many(&name, count, cells_max),
            None if !self.homes.is_empty() && groups > homes_max => {
                findings::homes_too_many(&name, groups, homes_max)
            }
            _ => return None,
        };
        Some(finding.at(level.span.clone()))
    }

    /// How many combinations of homes and groups of merchants there are, `u128::MAX` for more.
    fn group_count(&self) -> u128 {
        let groups = self.merchants.as_ref().map_or(1, |merchants| merchants.groups.len() as u64);
        let sellers = self.pairs.as_ref().map_or(groups, |pairs| pairs.count);
        let homes = self.homes.iter().map(|home| home.values.len() as u128);
        homes.fold(sellers.into(), u128::saturating_mul)
    }

    /// The values of the combination of homes with this number.
    pub fn home_values(&self, number: u64) -> Vec<KeyValue> {
        let mut rest = number;
        let part = |home: &HomeKey| {
            let count = home.values.len() as u64;
            let value = home.values[(rest % count) as usize].clone();
            rest /= count;
            value
        };
        let mut values: Vec<KeyValue> = self.homes.iter().rev().map(part).collect();
        values.reverse();
        values
    }

    /// The number of a combination of homes, from that of each.
    pub fn home_number(&self, places: impl Iterator<Item = u32>) -> u64 {
        let pairs = self.homes.iter().zip(places);
        pairs.fold(0, |all, (home, place)| all * home.values.len() as u64 + u64::from(place))
    }

    /// The number of public cells, `u128::MAX` for more; `None` if the keys are not all public.
    pub fn count(&self, job: &Job) -> Option<u128> {
        let groups = self.merchants.as_ref()?.groups.len() as u64;
        let merchants = self.pairs.as_ref().map_or(groups, |pairs| pairs.count);
        let mut parts = vec![u128::from(merchants), self.times.groups.len() as u128];
        parts.extend(self.homes.iter().map(|home| home.values.len() as u128));
        for name in &self.rest {
            parts.push(public_values(job, name)?.len() as u128);
        }
        Some(parts.into_iter().fold(1, u128::saturating_mul))
    }

    /// The combinations of public values of the last part, ascending; `None` if not public.
    pub fn public_rest(&self, job: &Job) -> Option<Vec<Vec<KeyValue>>> {
        let mut combinations = vec![Vec::new()];
        for name in &self.rest {
            let values = public_values(job, name)?;
            combinations = combinations
                .into_iter()
                .flat_map(|combination: Vec<KeyValue>| {
                    values.iter().map(move |value| {
                        let mut longer = combination.clone();
                        longer.push(value.clone());
                        longer
                    })
                })
                .collect();
        }
        Some(combinations)
    }

    /// All public keys, homes first, then merchants, then times, then the rest; `None` if not all
    /// are public.
    pub fn public_keys(&self, job: &Job) -> Option<Vec<CellKey>> {
        let rest = self.public_rest(job)?;
        let mut keys = Vec::new();
        for home in 0..self.home_count() {
            let home = self.home_values(home);
            for merchant in self.sellers()? {
                for time in &self.times.groups {
                    keys.extend(rest.iter().map(|rest| self.key(&home, merchant, time, rest)));
                }
            }
        }
        Some(keys)
    }

    /// Of each public cell, in the order of [`CellSpace::public_keys`], the cell of a coarser level
    /// in which it lies; `None` if some cell lies in several, or keys are not public.
    pub fn within(&self, coarse: &CellSpace, job: &Job) -> Option<Vec<u32>> {
        if self.pairs.is_some() || coarse.pairs.is_some() {
            return None;
        }
        let merchants = self.merchants.as_ref()?.within(coarse.merchants.as_ref()?)?;
        let times = self.times.within(&coarse.times)?;
        let (own, theirs) = (self.public_rest(job)?, coarse.public_rest(job)?);
        let places: Option<Vec<usize>> =
            coarse.rest.iter().map(|name| self.rest.iter().position(|own| own == name)).collect();
        let places = places?;
        let rest_of = |values: &Vec<KeyValue>| {
            let part: Vec<KeyValue> = places.iter().map(|&place| values[place].clone()).collect();
            Some(theirs.binary_search(&part).ok()? as u32)
        };
        let rest: Option<Vec<u32>> = own.iter().map(rest_of).collect();
        let rest = rest?;
        let homes = self.homes_within(coarse)?;
        let (their_times, their_rest) = (coarse.times.groups.len() as u32, theirs.len() as u32);
        let their_merchants = coarse.merchants.as_ref()?.groups.len() as u32;
        let mut cells =
            Vec::with_capacity(homes.len() * merchants.len() * times.len() * rest.len());
        for &home in &homes {
            for &merchant in &merchants {
                for &time in &times {
                    let group = home * their_merchants + merchant;
                    let first = (group * their_times + time) * their_rest;
                    cells.extend(rest.iter().map(|&rest| first + rest));
                }
            }
        }
        Some(cells)
    }

    /// Of each combination of homes the one of a coarser level.
    fn homes_within(&self, coarse: &CellSpace) -> Option<Vec<u32>> {
        let place =
            |home: &HomeKey| self.homes.iter().position(|own| own.attribute == home.attribute);
        let places: Vec<usize> = coarse.homes.iter().map(place).collect::<Option<_>>()?;
        let within = |number: u64| {
            let values = self.home_values(number);
            let codes = places.iter().zip(&coarse.homes).map(|(&place, home)| {
                home.values.binary_search(&values[place]).map_or(0, |code| code as u32)
            });
            coarse.home_number(codes) as u32
        };
        Some((0..self.home_count()).map(within).collect())
    }

    /// Does [`CellSpace::within`] find a cell of `coarse` for each cell?
    pub fn splits(&self, coarse: &CellSpace, job: &Job) -> bool {
        let merchants = self.merchants.as_ref().zip(coarse.merchants.as_ref());
        self.pairs.is_none()
            && coarse.pairs.is_none()
            && merchants.is_some_and(|(own, theirs)| own.within(theirs).is_some())
            && self.times.within(&coarse.times).is_some()
            && self.homes_within(coarse).is_some()
            && coarse.rest.iter().all(|name| self.rest.contains(name))
            && self.rest.iter().all(|name| public_values(job, name).is_some())
    }

    /// The combination of homes and the group of merchants, or the pair of groups, in which a cell
    /// lies, as one number.
    pub fn merchant_group(&self, key: &[KeyValue]) -> Option<usize> {
        let values = |wanted: Part| -> Vec<KeyValue> {
            let parts = self.layout.iter().zip(key).filter(|((part, _), _)| *part == wanted);
            parts.map(|(_, value)| value.clone()).collect()
        };
        let groups = &self.merchants.as_ref()?.groups;
        let mut own = values(Part::Merchant);
        let mut merchant = groups.binary_search(&own).ok()?;
        if let Some(pairs) = &self.pairs {
            own[pairs.place] = values(Part::With).pop()?;
            let other = groups.binary_search(&own).ok()?;
            merchant = pairs.of(merchant as u32, other as u32)? as usize;
        }
        let homes = values(Part::Home);
        let places = self
            .homes
            .iter()
            .zip(&homes)
            .map(|(home, value)| Some(home.values.binary_search(value).ok()? as u32));
        let places: Vec<u32> = places.collect::<Option<_>>()?;
        Some(self.home_number(places.into_iter()) as usize * self.sellers()?.len() + merchant)
    }

    /// What a key of so many parts takes, in bytes.
    pub fn key_bytes(parts: usize) -> u64 {
        // The allocator needs some for itself.
        (size_of::<CellKey>() + 16 + parts * size_of::<KeyValue>()) as u64
    }

    /// The key of a cell from the values of its four parts.
    pub fn key(
        &self,
        home: &[KeyValue],
        merchant: &[KeyValue],
        time: &[KeyValue],
        rest: &[KeyValue],
    ) -> CellKey {
        let value = |&(part, place): &(Part, usize)| match part {
            Part::Home => home[place].clone(),
            Part::Merchant => merchant[place].clone(),
            Part::With => merchant[merchant.len() - 1].clone(),
            Part::Time => time[place].clone(),
            Part::Rest => rest[place].clone(),
        };
        self.layout.iter().map(value).collect()
    }
}

/// The stated values of a column, or the job's currencies; ascending.
fn public_values(job: &Job, name: &str) -> Option<Vec<KeyValue>> {
    if let Some(values) = job.key_sets.get(name) {
        return Some(values.iter().map(|v| KeyValue::Text(v.as_str().into())).collect());
    }
    let mut codes: Vec<KeyValue> =
        job.payments.currencies.iter().map(|c| KeyValue::Text(c.code().into())).collect();
    codes.sort();
    (name == "currency").then_some(codes)
}

pub(super) fn merchant_groups(registry: &Registry, keys: &[&Key]) -> Grouping {
    let columns: Vec<&Vec<String>> = keys
        .iter()
        .map(|key| match key {
            Key::MerchantAttribute(name) => &registry.attributes[name],
            _ => &registry.ids,
        })
        .collect();
    group(registry.ids.len(), |merchant| {
        columns.iter().map(|column| KeyValue::Text(column[merchant].as_str().into())).collect()
    })
}

fn time_groups(period: Period, keys: &[TimeKey]) -> Grouping {
    group(period.days() as usize * 24, |hour| {
        let day = period.day((hour / 24) as u32);
        keys.iter().map(|&key| time_value(key, day, (hour % 24) as u8)).collect()
    })
}

fn time_value(key: TimeKey, day: NaiveDate, hour: u8) -> KeyValue {
    match key.start(day) {
        Some(start) => KeyValue::Date(start),
        None if key == TimeKey::Hour => KeyValue::Number(hour),
        None => KeyValue::Number(day.weekday().number_from_monday() as u8),
    }
}

/// Groups 0..count by their values.
fn group(count: usize, mut values: impl FnMut(usize) -> Vec<KeyValue>) -> Grouping {
    let all: Vec<Vec<KeyValue>> = (0..count).map(&mut values).collect();
    let distinct: BTreeMap<&Vec<KeyValue>, u32> = {
        let mut sorted: Vec<&Vec<KeyValue>> = all.iter().collect();
        sorted.sort();
        sorted.dedup();
        sorted.into_iter().zip(0..).collect()
    };
    let group_of = all.iter().map(|values| distinct[values]).collect();
    let groups = distinct.into_keys().cloned().collect();
    Grouping { groups, group_of }
}

/// Names of the payments' columns that some level uses as a key.
pub(super) fn columns_of(levels: &[LevelPlan]) -> Vec<String> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Market;

    fn plan(levels: &str) -> Plan {
        let rest = "keys = \"public\"\ninsights = [\"payments\"]";
        Market::new(&[]).plan(&[format!("levels = {levels}\n{rest}")])
    }

    #[test]
    fn cells_lie_in_those_of_coarser_levels() {
        let plan = plan(r#"[["merchant", "day", "wallet"], ["wallet", "region", "month"], []]"#);
        let [fine, coarse, all] = [0, 1, 2].map(|level| &plan.levels[level]);
        let keys = |level: usize| plan.levels[level].cells.public_keys(&plan.job).expect("public");
        let (fine_keys, coarse_keys) = (keys(0), keys(1));
        let within = fine.cells_of(coarse, &plan.job).expect("splits");
        assert_eq!(within.len(), fine_keys.len());
        for (key, cell) in fine_keys.iter().zip(within) {
            let coarse = &coarse_keys[cell as usize];
            let text = |value: &KeyValue| format!("{value:?}");
            assert_eq!(key[2], coarse[0]);
            let number: u32 = text(&key[0])[7..8].parse().expect("a merchant's number");
            assert!(text(&coarse[1]).contains(&format!("R{}", number % 3)));
            // The same month.
            assert_eq!(text(&key[1])[5..12], text(&coarse[2])[5..12]);
        }
        assert_eq!(fine.cells_of(all, &plan.job), Some(vec![0; fine_keys.len()]));
        assert!(fine.splits(coarse, &plan.job) && !coarse.splits(fine, &plan.job));
    }

    #[test]
    fn flows_lie_in_those_of_their_homes_and_of_where_they_go() {
        let plan = plan(
            r#"[["region", "home_region", "month"], ["home_region"], ["region", "quarter"], ["merchant"]]"#,
        );
        let keys = |level: usize| plan.levels[level].cells.public_keys(&plan.job).expect("public");
        let (flows, homes, regions) = (keys(0), keys(1), keys(2));
        assert_eq!((flows.len(), homes.len(), regions.len()), (3 * 3 * 4, 3, 3 * 2));
        let within = |coarse: usize| plan.levels[0].cells_of(&plan.levels[coarse], &plan.job);
        for (flow, home) in flows.iter().zip(within(1).expect("splits")) {
            assert_eq!(flow[1], homes[home as usize][0]);
        }
        for (flow, region) in flows.iter().zip(within(2).expect("splits")) {
            assert_eq!(flow[0], regions[region as usize][0]);
        }
        // Where somebody is at home says nothing of where they pay.
        assert_eq!(within(3), None);
        assert_eq!(plan.levels[1].cells_of(&plan.levels[2], &plan.job), None);
        assert!(!plan.levels[1].splits(&plan.levels[0], &plan.job));
    }

    /// Forty columns of ten values have 10^40 combinations, which no number of the program holds.
    #[test]
    fn counts_that_no_number_holds_are_too_many() {
        for (columns, cells) in [(20, "100000000000000000000 "), (40, "2^128 or more ")] {
            let names: Vec<String> = (0..columns).map(|at| format!("k{at}")).collect();
            let entries: String =
                names.iter().map(|name| format!(", {name} = \"wallet\"")).collect();
            let values: Vec<String> = (0..10).map(|value| format!("\"{value}\"")).collect();
            let set = |name: &String| format!("{name} = [{}]\n", values.join(", "));
            let sets: String = names.iter().map(set).collect();
            let keys: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
            let report = format!(
                "levels = [[{}]]\nkeys = \"public\"\ninsights = [\"payments\"]",
                keys.join(", ")
            );
            let changes = [
                ("ticket_groups = \"region\"\n", ""),
                (", wallet = \"wallet\"", &*entries),
                ("wallet = [\"w0\", \"w1\", \"w2\"]\n", &*sets),
            ];
            let error = Market::new(&[]).try_plan_changed(&changes, &[report]);
            let error = error.expect_err("too many");
            let [finding] = error.findings() else { panic!("{error}") };
            assert_eq!(finding.code(), "cells-too-many");
            assert!(finding.message().contains(cells), "{}", finding.message());
        }
    }

    #[test]
    fn cells_that_lie_in_several_are_told() {
        // A week may lie in two months, a wallet is with all merchants.
        let plan = plan(r#"[["week"], ["month"], ["wallet"], ["merchant"]]"#);
        for (fine, coarse) in [(0, 1), (1, 0), (2, 3), (3, 2)] {
            let (fine, coarse) = (&plan.levels[fine], &plan.levels[coarse]);
            assert_eq!(fine.cells_of(coarse, &plan.job), None, "{} {}", fine.file, coarse.file);
            assert!(!fine.splits(coarse, &plan.job));
        }
    }
}
