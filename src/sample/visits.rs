//! One payment after another: who pays whom, how, and how much.

use std::ops::Range;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::StandardNormal;

use super::Size;
use super::market::{CATEGORIES, Category, IN_STORE, ONLINE};
use super::merchants::Merchants;
use super::random::{AliasTable, hash, unit_interval};
use super::rhythm::{Rhythm, SLOT_SECONDS, START_SECONDS};
use super::users::{User, Users};

/// Share of payments that are refunds.
const REFUNDS: f64 = 0.015;
/// Share of payments made with a user's first wallet; the rest with the second.
const FIRST_WALLET: f64 = 0.8;
/// Share of other in-store visits that stay in the home region.
const HOME_VISITS: f64 = 0.85;
/// Favourite merchants of a user in each category, by share of loyal visits.
const FAVOURITES: [f64; 3] = [0.6, 0.25, 0.15];
/// Share of favourites outside the home region.
const DISTANT_FAVOURITES: f64 = 0.08;
/// Factor on the tickets of business cards.
const BUSINESS_TICKETS: f64 = 1.6;

/// Everything payments are drawn from.
pub(super) struct World {
    seed: u64,
    pub(super) users: Users,
    pub(super) merchants: Merchants,
    rhythm: Rhythm,
    favourites: AliasTable,
}

/// Payments by column, in order of time; words are indexes into the lists of the market.
#[derive(Default)]
pub(super) struct Visits {
    pub(super) user_token: Vec<u64>,
    pub(super) merchant: Vec<i32>,
    /// Microseconds since 1970-01-01 UTC.
    pub(super) paid_at: Vec<i64>,
    pub(super) amount_minor: Vec<i64>,
    pub(super) wallet: Vec<u8>,
    pub(super) institution: Vec<u8>,
    pub(super) channel: Vec<u8>,
    pub(super) terminal_region: Vec<u8>,
}

impl World {
    /// The world of a seed and a size.
    pub(super) fn new(seed: u64, size: &Size) -> Self {
        let merchants = Merchants::new(seed, size.merchants as usize);
        let present = (0..CATEGORIES.len()).map(|category| merchants.has(category)).collect();
        World {
            seed,
            users: Users::new(seed, size.users),
            merchants,
            rhythm: Rhythm::new(seed, size.days, size.payments, present),
            favourites: AliasTable::new(&FAVOURITES),
        }
    }

    /// Payments number `wanted`, which are chunk number `chunk`; the same on any thread.
    pub(super) fn visits(&self, chunk: u64, wanted: Range<u64>) -> Visits {
        let mut rng = ChaCha8Rng::seed_from_u64(hash(self.seed, 3));
        rng.set_stream(chunk);
        let mut visits = Visits::with_capacity((wanted.end - wanted.start) as usize);
        let mut seconds = Vec::new();
        for (slot, count) in self.rhythm.slots(wanted) {
            let categories = self.rhythm.categories(slot);
            let slot_start = START_SECONDS + slot as i64 * SLOT_SECONDS;
            seconds.clear();
            seconds.extend((0..count).map(|_| rng.random_range(0..SLOT_SECONDS)));
            seconds.sort_unstable();
            for second in &seconds {
                visits.paid_at.push((slot_start + second) * 1_000_000);
                self.push_visit(categories.pick(rng.random()), &mut rng, &mut visits);
            }
        }
        visits
    }

    /// Draws everything of a payment but its time.
    fn push_visit(&self, category: usize, rng: &mut ChaCha8Rng, visits: &mut Visits) {
        let kind = &CATEGORIES[category];
        let user = self.users.user(self.users.pick([rng.random(), rng.random()]));
        let online = rng.random_bool(kind.online);
        let merchant = self.merchant(category, &user, online, rng);
        let found = &self.merchants.list()[merchant];
        let choice = usize::from(!rng.random_bool(FIRST_WALLET));
        let level = f64::from(found.prices) * if user.business { BUSINESS_TICKETS } else { 1.0 };
        visits.user_token.push(user.token);
        visits.merchant.push(merchant as i32);
        visits.amount_minor.push(amount_minor(kind, level, rng));
        visits.wallet.push(user.wallets[choice]);
        visits.institution.push(user.institutions[choice]);
        visits.channel.push(if online { ONLINE } else { IN_STORE });
        visits.terminal_region.push(if online { user.home as u8 } else { found.region });
    }

    /// Where the user goes: to a favourite, else somewhere by popularity, mostly near home.
    fn merchant(&self, category: usize, user: &User, online: bool, rng: &mut ChaCha8Rng) -> usize {
        let word = rng.random();
        if rng.random_bool(CATEGORIES[category].loyalty) {
            self.favourite(category, user, self.favourites.pick(word))
        } else if !online && rng.random_bool(HOME_VISITS) {
            self.merchants.pick_in_region(category, user.home, word)
        } else {
            self.merchants.pick_nationwide(category, word)
        }
    }

    /// Favourite number `rank` of the user: always the same merchant.
    fn favourite(&self, category: usize, user: &User, rank: usize) -> usize {
        let place = 16 + (category * FAVOURITES.len() + rank) as u64;
        let word = hash(user.token, place);
        let distant = unit_interval(hash(word, 0)) < DISTANT_FAVOURITES;
        if distant {
            self.merchants.pick_nationwide(category, word)
        } else {
            self.merchants.pick_in_region(category, user.home, word)
        }
    }
}

impl Visits {
    fn with_capacity(rows: usize) -> Self {
        Visits {
            user_token: Vec::with_capacity(rows),
            merchant: Vec::with_capacity(rows),
            paid_at: Vec::with_capacity(rows),
            amount_minor: Vec::with_capacity(rows),
            wallet: Vec::with_capacity(rows),
            institution: Vec::with_capacity(rows),
            channel: Vec::with_capacity(rows),
            terminal_region: Vec::with_capacity(rows),
        }
    }
}

/// A log-normal ticket, mostly a round sum; negative for a refund.
fn amount_minor(category: &Category, level: f64, rng: &mut ChaCha8Rng) -> i64 {
    let deviation: f64 = rng.sample(StandardNormal);
    let exact = category.ticket_minor * level * (category.ticket_sigma * deviation).exp();
    let unit = match rng.random_range(0..10) {
        0..5 => 100.0,
        5..8 => 10.0,
        _ => 1.0,
    };
    let ticket = ((exact / unit).round().max(1.0) * unit) as i64;
    if rng.random_bool(REFUNDS) { -ticket } else { ticket }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const PAYMENTS: u64 = 60_000;

    fn world() -> World {
        World::new(11, &Size { payments: PAYMENTS, users: 3_000, merchants: 400, days: 90 })
    }

    fn share(part: usize) -> f64 {
        part as f64 / PAYMENTS as f64
    }

    #[test]
    fn times_are_sorted_inside_the_period_and_inside_opening_hours() {
        let world = world();
        let visits = world.visits(0, 0..PAYMENTS);
        assert!(visits.paid_at.is_sorted());
        for (paid_at, &merchant) in visits.paid_at.iter().zip(&visits.merchant) {
            let local = paid_at / 1_000_000 - START_SECONDS;
            assert!((0..90 * 86_400).contains(&local));
            let category = world.merchants.list()[merchant as usize].category;
            let hour = (local % 86_400 / 3_600) as usize;
            assert!(CATEGORIES[usize::from(category)].hours[hour] > 0);
        }
    }

    #[test]
    fn shares_of_refunds_and_online_payments_are_as_stated() {
        let visits = world().visits(0, 0..PAYMENTS);
        let refunds = share(visits.amount_minor.iter().filter(|&&amount| amount < 0).count());
        let online = share(visits.channel.iter().filter(|&&channel| channel == ONLINE).count());
        // A fixed seed: no false alarms. Five standard deviations are 0.0025 and 0.0056.
        assert!((refunds - REFUNDS).abs() < 0.0025, "{refunds}");
        assert!((online - 0.08).abs() < 0.0056, "{online}");
        assert!(!visits.amount_minor.contains(&0));
    }

    #[test]
    fn terminals_in_store_stand_in_the_region_of_the_merchant() {
        let world = world();
        let visits = world.visits(0, 0..PAYMENTS);
        for row in 0..visits.channel.len() {
            if visits.channel[row] == IN_STORE {
                let merchant = &world.merchants.list()[visits.merchant[row] as usize];
                assert_eq!(visits.terminal_region[row], merchant.region);
            }
        }
    }

    #[test]
    fn a_user_has_at_most_two_institutions_and_comes_back() {
        let visits = world().visits(0, 0..PAYMENTS);
        let mut institutions: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let mut returns: BTreeMap<(u64, i32), u32> = BTreeMap::new();
        for row in 0..visits.user_token.len() {
            let token = visits.user_token[row];
            institutions.entry(token).or_default().push(visits.institution[row]);
            *returns.entry((token, visits.merchant[row])).or_default() += 1;
        }
        for seen in institutions.values_mut() {
            seen.sort_unstable();
            seen.dedup();
            assert!(seen.len() <= 2);
        }
        let repeated: u32 = returns.values().filter(|&&count| count > 1).sum();
        assert!(share(repeated as usize) > 0.4, "{repeated}");
    }
}
