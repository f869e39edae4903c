//! Where users are at home: keys that are found from all payments of a user.

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

/// For each level and each combination of its homes, the sets of merchants where those users pay
/// most; adds to `sets` those that are not there. What is said of them is said, in the main, of
/// these merchants.
pub(super) fn home_sets(levels: &[LevelPlan], sets: &mut Vec<Vec<u32>>) -> OfLevels<Vec<usize>> {
    let mut place_of = |set: Vec<u32>| {
        sets.iter().position(|known| *known == set).unwrap_or_else(|| {
            sets.push(set);
            sets.len() - 1
        })
    };
    let mut of_level = |level: &LevelPlan| {
        let mut combinations = vec![Vec::new()];
        for home in &level.cells.homes {
            let values: Vec<usize> = home.members().into_iter().map(&mut place_of).collect();
            let longer = |combination: &Vec<usize>| {
                let longer = |&value: &usize| [&combination[..], &[value]].concat();
                values.iter().map(longer).collect::<Vec<_>>()
            };
            combinations = combinations.iter().flat_map(longer).collect();
        }
        combinations
    };
    levels.iter().map(&mut of_level).collect()
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
