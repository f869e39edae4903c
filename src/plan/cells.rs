//! The cells of a level, and how a payment finds its cell.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{Datelike, NaiveDate};

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

/// The cells of a level as a product of three parts: who sells, when, and the rest.
///
/// A payment's cell is the triple of its groups in each part. The first two are public; the
/// groups of the rest are public where the key set is.
#[derive(Clone, Debug)]
pub struct CellSpace {
    /// Distinct merchant keys, ascending; `None`: no table of merchants, each merchant a group.
    pub merchants: Option<Grouping>,
    /// Distinct time keys, ascending, by hour of the period.
    pub times: Grouping,
    /// Of each key of the level: its part, and its place there.
    layout: Vec<(Part, usize)>,
    /// Names of the columns of the third part (`currency` for the currency).
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
    Merchant,
    Time,
    Rest,
}

impl CellSpace {
    /// The cells of `level`.
    pub(super) fn new(job: &Job, level: &Level) -> CellSpace {
        let (mut merchant_keys, mut time_keys, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        let mut layout = Vec::new();
        for key in &level.keys {
            match key {
                Key::Merchant | Key::MerchantAttribute(_) => {
                    layout.push((Part::Merchant, merchant_keys.len()));
                    merchant_keys.push(key);
                }
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
        CellSpace { merchants, times, layout, rest }
    }

    /// The number of public cells; `None` if the keys are not all public.
    pub fn count(&self, job: &Job) -> Option<u128> {
        let merchants = self.merchants.as_ref()?.groups.len() as u128;
        let times = self.times.groups.len() as u128;
        let rest: Option<u128> =
            self.rest.iter().map(|name| Some(public_values(job, name)?.len() as u128)).product();
        merchants.checked_mul(times)?.checked_mul(rest?)
    }

    /// The combinations of public values of the third part, ascending; `None` if not public.
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

    /// All public keys, merchants first, then times, then the rest; `None` if not all are public.
    pub fn public_keys(&self, job: &Job) -> Option<Vec<CellKey>> {
        let rest = self.public_rest(job)?;
        let mut keys = Vec::new();
        for merchant in &self.merchants.as_ref()?.groups {
            for time in &self.times.groups {
                keys.extend(rest.iter().map(|rest| self.key(merchant, time, rest)));
            }
        }
        Some(keys)
    }

    /// Of each public cell, in the order of [`CellSpace::public_keys`], the cell of a coarser level in
    /// which it lies; `None` if some cell lies in several, or keys are not public.
    pub fn within(&self, coarse: &CellSpace, job: &Job) -> Option<Vec<u32>> {
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
        let (their_times, their_rest) = (coarse.times.groups.len() as u32, theirs.len() as u32);
        let mut cells = Vec::with_capacity(merchants.len() * times.len() * rest.len());
        for &merchant in &merchants {
            for &time in &times {
                let first = (merchant * their_times + time) * their_rest;
                cells.extend(rest.iter().map(|&rest| first + rest));
            }
        }
        Some(cells)
    }

    /// Does [`CellSpace::within`] find a cell of `coarse` for each cell?
    pub fn splits(&self, coarse: &CellSpace, job: &Job) -> bool {
        let merchants = self.merchants.as_ref().zip(coarse.merchants.as_ref());
        merchants.is_some_and(|(own, theirs)| own.within(theirs).is_some())
            && self.times.within(&coarse.times).is_some()
            && coarse.rest.iter().all(|name| self.rest.contains(name))
            && self.rest.iter().all(|name| public_values(job, name).is_some())
    }

    /// The group of merchants in which a cell lies.
    pub(super) fn merchant_group(&self, key: &[KeyValue]) -> Option<usize> {
        let parts = self.layout.iter().zip(key).filter(|((part, _), _)| *part == Part::Merchant);
        let values: Vec<KeyValue> = parts.map(|(_, value)| value.clone()).collect();
        self.merchants.as_ref()?.groups.binary_search(&values).ok()
    }

    /// What a key of so many parts takes, in bytes.
    pub fn key_bytes(parts: usize) -> u64 {
        // The allocator needs some for itself.
        (size_of::<CellKey>() + 16 + parts * size_of::<KeyValue>()) as u64
    }

    /// The key of a cell from the values of its three parts.
    pub fn key(&self, merchant: &[KeyValue], time: &[KeyValue], rest: &[KeyValue]) -> CellKey {
        let value = |&(part, place): &(Part, usize)| match part {
            Part::Merchant => merchant[place].clone(),
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

fn merchant_groups(registry: &Registry, keys: &[&Key]) -> Grouping {
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

#[cfg(test)]
mod tests {
    use crate::fixture::Market;
    use crate::plan::Plan;

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
            let text = |value: &super::KeyValue| format!("{value:?}");
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
