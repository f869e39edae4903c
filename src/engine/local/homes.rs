//! Where the user at hand is at home: known when all of their payments are in.

use super::record::Record;
use crate::plan::{HomeKey, Plan};

/// For each column of the table of merchants by which some level tells homes, in the order of
/// [`Plan::homes`].
pub(super) struct Homes<'p> {
    tallies: Vec<Tally<'p>>,
    /// The homes of the user at hand, once they are settled.
    places: Vec<u32>,
}

/// How often the user at hand has paid, or been paid back, by value of one column.
struct Tally<'p> {
    /// The value of each merchant.
    value_of: &'p [u32],
    counts: Vec<u64>,
    /// Values that the user has met.
    met: Vec<u32>,
}

impl<'p> Homes<'p> {
    pub(super) fn new(plan: &'p Plan) -> Homes<'p> {
        let tally = |home: &'p HomeKey| Tally {
            value_of: &home.value_of,
            counts: vec![0; home.values.len()],
            met: Vec::new(),
        };
        Homes { tallies: plan.homes().into_iter().map(tally).collect(), places: Vec::new() }
    }

    /// Adds payments and refunds of the user at hand.
    pub(super) fn add(&mut self, records: &[Record]) {
        for Tally { value_of, counts, met } in &mut self.tallies {
            for record in records {
                let value = value_of[record.merchant as usize];
                let count = &mut counts[value as usize];
                if *count == 0 {
                    met.push(value);
                }
                *count += 1;
            }
        }
    }

    /// The user's homes: the values with most of their payments and refunds, of equals the first.
    /// Then forgets the user.
    pub(super) fn settle(&mut self) -> &[u32] {
        self.places.clear();
        for Tally { counts, met, .. } in &mut self.tallies {
            let by_count = |&value: &u32| (counts[value as usize], std::cmp::Reverse(value));
            self.places.push(met.iter().copied().max_by_key(by_count).unwrap_or(0));
            met.drain(..).for_each(|value| counts[value as usize] = 0);
        }
        &self.places
    }
}
