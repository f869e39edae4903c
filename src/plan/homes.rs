//! Where users are at home: keys that are found from all payments of a user.

use super::KeyValue;
use super::cells::{Grouping, merchant_groups};
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
