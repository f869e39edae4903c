//! Made-up visits in memory, for twins of other people's payments.

use super::visits::World;
use super::{SampleOptions, Size};
use crate::error::Result;
use crate::sample::rhythm::START_SECONDS;

/// One made-up payment, not yet of any job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visit {
    /// Who pays.
    pub user: u64,
    /// The merchant's number, from 0.
    pub merchant: usize,
    /// Seconds since the first day's start, by the wall clock.
    pub second: i64,
    /// Minor units, of which a major one has 100; refunds negative.
    pub amount: i64,
    /// Small numbers that a user seldom changes, for further columns.
    pub traits: [u8; 2],
}

/// All visits of a sample; the same for the same options.
///
/// # Errors
/// A size is out of range.
pub fn visits(options: &SampleOptions) -> Result<Vec<Visit>> {
    let size = Size::of(options)?;
    let visits = World::new(options.seed, &size).visits(0, 0..size.payments);
    let one = |row: usize| Visit {
        user: visits.user_token[row],
        merchant: visits.merchant[row] as usize,
        second: visits.paid_at[row] / 1_000_000 - START_SECONDS,
        amount: visits.amount_minor[row],
        traits: [visits.wallet[row], visits.institution[row]],
    };
    Ok((0..visits.user_token.len()).map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visits_are_the_same_for_the_same_options_and_lie_in_the_days() {
        let options = SampleOptions {
            payments: 3_000,
            seed: 4,
            users: Some(70),
            merchants: Some(12),
            days: 20,
            threads: 1,
        };
        let all = visits(&options).expect("a sample");
        assert_eq!(all, visits(&options).expect("a sample"));
        assert_eq!(all.len(), 3_000);
        assert!(all.iter().all(|v| (0..20 * 86_400).contains(&v.second) && v.merchant < 12));
        assert!(all.iter().any(|v| v.amount < 0) && all.iter().any(|v| v.amount > 100));
    }
}
