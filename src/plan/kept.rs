//! Cells of private keys that are shown whatever their values.

use std::collections::BTreeSet;

use super::{KeyValue, LevelPlan, Plan};
use crate::job::Key;

impl LevelPlan {
    /// Has cells with these values of all keys but time, in the order of the level, always be
    /// shown, at every time of the job. `false`, and nothing is done, if that makes too many cells.
    pub fn keep(&mut self, keys: &BTreeSet<Vec<KeyValue>>) -> bool {
        let times = &self.cells.times.groups;
        if (keys.len() as u128) * (times.len() as u128) > Plan::CELLS_MAX {
            return false;
        }
        for values in keys {
            for time in times {
                let (mut values, mut time) = (values.iter(), time.iter());
                let part = |key: &Key| {
                    let next =
                        if matches!(key, Key::Time(_)) { time.next() } else { values.next() };
                    next.cloned().expect("cannot fail because each key has a value")
                };
                self.always.push(self.keys.iter().map(part).collect());
            }
        }
        self.always.sort();
        self.always.dedup();
        true
    }
}
