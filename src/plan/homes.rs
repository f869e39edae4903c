//! Where users are at home: keys that are found from all payments of a user.

use std::collections::BTreeMap;

use super::cells::{Grouping, merchant_groups};
use super::merchants::OfLevels;
use super::{KeyValue, LevelPlan};
use crate::job::{Job, Key};

/// A key that tells where users are at home.
#[derive(Clone, Debug)]
pub struct HomeKey {
    /// The column of the table of merchants whose values are homes.
    pub attribute: String,
    /// Its values, ascending.
    pub values: Vec<KeyValue>,
    /// The value of each merchant of the table.
    pub value_of: Vec<u32>,
}

impl HomeKey {
    pub(super) fn new(job: &Job, key: &Key) -> Option<HomeKey> {
        let attribute = key.home_of()?.to_owned();
        let column = Key::MerchantAttribute(attribute.clone());
        let Grouping { groups, group_of } = merchant_groups(job.registry.as_ref()?, &[&column]);
        Some(HomeKey { attribute, values: groups.concat(), value_of: group_of })
    }

    /// The merchants of each value, by their places in the table.
    pub(super) fn members(&self) -> Vec<Vec<u32>> {
        let mut members = vec![Vec::new(); self.values.len()];
        for (merchant, &value) in (0..).zip(&self.value_of) {
            members[value as usize].push(merchant);
        }
        members
    }
}

/// Has a user one cell only? There is no other, or there are homes and no other keys.
pub(super) fn one_cell(keys: &[Key], public_cells: Option<u128>) -> bool {
    let alone = !keys.is_empty() && keys.iter().all(|key| matches!(key, Key::Home(_)));
    alone || public_cells == Some(1)
}

/// For each level, each of its keys of homes and each value of that, the set of merchants where
/// those users pay most; adds to `sets` those that are not there. What is said of them is said, in
/// the main, of these merchants.
pub(super) fn home_sets(levels: &[LevelPlan], sets: &mut Vec<Vec<u32>>) -> OfLevels<Vec<usize>> {
    let mut known: BTreeMap<Vec<u32>, usize> = sets.iter().cloned().zip(0..).collect();
    let mut place_of = |set: Vec<u32>| {
        *known.entry(set.clone()).or_insert_with(|| {
            sets.push(set);
            sets.len() - 1
        })
    };
    let mut of_home =
        |home: &HomeKey| home.members().into_iter().map(&mut place_of).collect::<Vec<_>>();
    levels.iter().map(|level| level.cells.homes.iter().map(&mut of_home).collect()).collect()
}

/// Of each combination of a level's homes, in the order of their numbers, are all of its sets
/// known?
pub(super) fn at_home(of_homes: &[Vec<usize>], known: &[bool]) -> Vec<bool> {
    let longer = |combinations: Vec<bool>, values: &Vec<usize>| {
        let with = |is: bool| values.iter().map(move |&set| is && known[set]);
        combinations.into_iter().flat_map(with).collect()
    };
    of_homes.iter().fold(vec![true], longer)
}

#[cfg(test)]
mod tests {
    use crate::fixture::Market;

    #[test]
    fn a_user_has_one_home_so_the_bound_is_known() {
        for selection in ["public", "private"] {
            let report = format!(
                "levels = [[\"home_region\"], [\"home_region\", \"month\"]]\nkeys = \"{selection}\"\n\
                 insights = [\"customers\", \"visits\"]"
            );
            let plan = Market::new(&[]).plan(&[report]);
            let asked: Vec<(usize, usize)> =
                plan.surveys.iter().map(|survey| (survey.level, survey.statistic)).collect();
            // Of visits at home, and of both by month.
            assert_eq!(asked, [(0, 1), (1, 0), (1, 1)]);
            let noise = plan.levels[0].statistics[0].noise;
            assert_eq!(noise.bound.norm(), 1 << noise.grid_bits);
        }
    }

    /// Nothing goes through all combinations before they are known to be few enough.
    #[test]
    fn homes_of_too_many_combinations_are_refused() {
        for (columns, selection, found) in [
            (12, "public", "has 1000000000000 cells, more than 20000000"),
            (25, "public", "has 10000000000000000000000000 cells, more than 20000000"),
            (
                11,
                "private",
                "has 100000000000 combinations of homes and merchants, more than 200000000",
            ),
            (
                25,
                "discovered",
                "has 10000000000000000000000000 combinations of homes and merchants",
            ),
        ] {
            let keys: Vec<String> = (0..columns).map(|at| format!("\"home_c{at}\"")).collect();
            let report = format!(
                "levels = [[{}]]\nkeys = \"{selection}\"\ninsights = [\"customers\"]",
                keys.join(", ")
            );
            let error = Market::with_columns(columns).try_plan(&[report]).expect_err("too many");
            let [finding] = error.findings() else { panic!("{error}") };
            assert_eq!(finding.code(), "cells-too-many");
            assert!(finding.message().contains(found), "{}", finding.message());
        }
    }

    /// What a report asks of errors changes prices, and not what is known of bounds.
    #[test]
    fn jobs_that_ask_for_accuracy_know_the_bound_too() {
        let homes = "levels = [[\"home_region\"]]\nkeys = \"public\"\ninsights = [\"customers\"]";
        let aimed = "levels = [[\"region\"]]\nkeys = \"public\"\ninsights = [\"payments\"]\n\
            error = { payments = \"30%\" }\n[expect]\nusers = \"10000\"\npayments = \"150000\"";
        let mut plan = Market::new(&[]).plan(&[homes, aimed].map(str::to_owned));
        plan.aim().expect("enough budget");
        let asked: Vec<usize> = plan.surveys.iter().map(|survey| survey.level).collect();
        assert_eq!(asked, [1]);
        let customers = plan.levels[0].statistics[0];
        assert_eq!(customers.charge, customers.noise.mu_squared);
        assert_eq!(customers.noise.bound.norm(), 1 << customers.noise.grid_bits);
    }

    /// Of 10,000 users in three regions nearly all are counted, so noise alone is expected.
    #[test]
    fn users_at_home_are_expected_once() {
        let report = "levels = [[\"home_region\"]]\nkeys = \"public\"\n\
            insights = [\"customers\", \"payments\"]\nerror = { customers = \"5%\" }\n\
            [expect]\nusers = \"10000\"\npayments = \"150000\"";
        let mut plan = Market::new(&[]).plan(&[report.to_owned()]);
        let customers = plan.predicted(0, 0).expect("expected");
        assert!((customers.total / 10_000.0 - 1.0).abs() < 1e-9, "{customers:?}");
        assert!(customers.of_cell < 0.01, "{customers:?}");
        plan.aim().expect("within reach");
        let aimed = plan.predicted(0, 0).expect("expected").of_cell;
        assert!(aimed <= 0.05 && aimed > 0.049, "{aimed}");
    }
}
