//! The users: how active each is, and what a user likes. Nothing is stored for a single user.

use super::market::{INSTITUTIONS, LARGE_INSTITUTIONS, REGIONS, WALLETS};
use super::random::{AliasTable, below, hash};

/// One user in this many holds a business card.
pub(super) const USERS_FOR_EACH_BUSINESS_CARD: u64 = 1_000;
/// A business card pays this many times as often as other users do.
const BUSINESS_ACTIVITY: f64 = 30.0;
/// Standard deviation of the logarithm of a user's activity.
const ACTIVITY_SIGMA: f64 = 1.2;
/// Strata of one size before the size doubles; each of the most active users is a stratum.
const STRATA_OF_A_SIZE: u64 = 1_024;

/// All users, numbered from the most active to the least, then those with a business card.
///
/// Activity is log-normal: user `r` of `n` has the quantile `1 - (r + ½)/n`. Users of about the
/// same activity share a stratum, so the table grows with the logarithm of `n`; everything else
/// about a user is a hash of the number.
pub(super) struct Users {
    key: u64,
    count: u64,
    strata: Vec<Stratum>,
    activity: AliasTable,
    homes: AliasTable,
    wallets: AliasTable,
    institutions: AliasTable,
    large_institutions: AliasTable,
}

/// Users `first .. first + count` with the same activity.
struct Stratum {
    first: u64,
    count: u64,
}

/// What is known of one user.
pub(super) struct User {
    /// The payer token, unique to the user.
    pub(super) token: u64,
    /// Index of the home region.
    pub(super) home: usize,
    /// Whether this is a business card.
    pub(super) business: bool,
    /// Indexes of the first and second wallet; may be the same.
    pub(super) wallets: [u8; 2],
    /// Indexes of the institutions behind them.
    pub(super) institutions: [u8; 2],
}

impl Users {
    /// `count` users, at least one, all derived from `seed`.
    pub(super) fn new(seed: u64, count: u64) -> Self {
        let cards = count / USERS_FOR_EACH_BUSINESS_CARD;
        let mut strata = Vec::new();
        let mut weights = Vec::new();
        for (first, size, factor) in
            [(0, count - cards, 1.0), (count - cards, cards, BUSINESS_ACTIVITY)]
        {
            for stratum in strata_of(first, size) {
                let middle = (stratum.first - first) as f64 + stratum.count as f64 / 2.0;
                weights.push(factor * stratum.count as f64 * activity(middle / size as f64));
                strata.push(stratum);
            }
        }
        Users {
            key: hash(seed, 1),
            count,
            strata,
            activity: AliasTable::new(&weights),
            homes: AliasTable::new(&REGIONS.map(|region| region.people)),
            wallets: AliasTable::new(&WALLETS.map(|wallet| wallet.users)),
            institutions: AliasTable::new(&zipf(INSTITUTIONS)),
            large_institutions: AliasTable::new(&zipf(LARGE_INSTITUTIONS)),
        }
    }

    /// How many users there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The number of a user, drawn by activity with two uniform words.
    pub(super) fn pick(&self, words: [u64; 2]) -> u64 {
        let stratum = &self.strata[self.activity.pick(words[0])];
        stratum.first + below(stratum.count, words[1])
    }

    /// Everything about user `number`.
    pub(super) fn user(&self, number: u64) -> User {
        let token = hash(self.key, number);
        let trait_word = |place: u64| hash(token, place);
        let wallets = [trait_word(1), trait_word(2)].map(|word| self.wallets.pick(word));
        // Half of the users have a second institution, behind the second wallet.
        let second = if trait_word(3) & 1 == 0 { 4 } else { 5 };
        let institution = |wallet: usize, place: u64| {
            let large = WALLETS[wallet].large_institutions;
            let table = if large { &self.large_institutions } else { &self.institutions };
            table.pick(trait_word(place)) as u8
        };
        User {
            token,
            home: self.homes.pick(trait_word(0)),
            business: number >= self.count - self.count / USERS_FOR_EACH_BUSINESS_CARD,
            wallets: wallets.map(|wallet| wallet as u8),
            institutions: [institution(wallets[0], 4), institution(wallets[1], second)],
        }
    }
}

/// Cuts `count` users into strata, small ones where activity changes fast.
fn strata_of(first: u64, count: u64) -> Vec<Stratum> {
    let mut strata = Vec::new();
    let mut done = 0;
    while done < count {
        let doublings = strata.len() as u64 / STRATA_OF_A_SIZE;
        let size = (1 << doublings).min(count - done);
        strata.push(Stratum { first: first + done, count: size });
        done += size;
    }
    strata
}

/// The activity that a share `above` of users exceeds; `above` in (0, 1).
fn activity(above: f64) -> f64 {
    (ACTIVITY_SIGMA * normal_quantile_above(above)).exp()
}

/// The standard normal quantile exceeded with probability `above`, to within 0.0005
/// (Abramowitz and Stegun, 26.2.23): good enough for a made-up world.
fn normal_quantile_above(above: f64) -> f64 {
    let tail = above.min(1.0 - above);
    let t = (-2.0 * tail.ln()).sqrt();
    let top = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let bottom = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    let quantile = t - top / bottom;
    if above < 0.5 { quantile } else { -quantile }
}

/// Zipf weights: the heavy tail of institutions.
fn zipf(count: usize) -> Vec<f64> {
    (0..count).map(|rank| 1.0 / (rank as f64 + 2.0)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::random::mix;
    use super::*;

    #[test]
    fn strata_cover_every_user_once() {
        for count in [0, 1, 1_023, 1_024, 1_025, 4_000_000] {
            let mut next = 10;
            for stratum in strata_of(10, count) {
                assert_eq!(stratum.first, next);
                next += stratum.count;
            }
            assert_eq!(next, 10 + count);
        }
        assert!(strata_of(0, 1_000_000_000).len() < 25_000);
    }

    #[test]
    fn quantiles_are_those_of_the_normal_law() {
        for (above, quantile) in [(0.5, 0.0), (0.158_655, 1.0), (0.977_25, -2.0), (0.001_35, 3.0)] {
            assert!((normal_quantile_above(above) - quantile).abs() < 0.001, "{above}");
        }
    }

    #[test]
    fn business_cards_are_thirty_times_as_active() {
        let users = Users::new(7, 20_000);
        let draws = 200_000_u32;
        let business = (0..u64::from(draws))
            .filter(|&i| users.user(users.pick([mix(2 * i), mix(2 * i + 1)])).business)
            .count();
        let share = business as f64 / f64::from(draws);
        // 20 of 20,000 users; fixed words, so no false alarms. 20 quantiles of a log-normal law
        // have a smaller mean than the law (1.7 against 2.05), hence the wide interval.
        let expected = 0.001 * 30.0 / (0.999 + 0.001 * 30.0);
        assert!(share > 0.8 * expected && share < 1.1 * expected, "{share} against {expected}");
    }

    #[test]
    fn tokens_are_unique() {
        let users = Users::new(7, 5_000);
        let tokens: BTreeSet<u64> = (0..5_000).map(|number| users.user(number).token).collect();
        assert_eq!(tokens.len(), 5_000);
    }
}
