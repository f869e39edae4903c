//! The merchants: a public registry, and how a visit finds one.

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::StandardNormal;

use super::market::{CATEGORIES, COLOURS, REGIONS, THINGS};
use super::random::{AliasTable, hash};

/// Standard deviation of the logarithm of a merchant's price level.
const PRICE_SIGMA: f64 = 0.25;
/// Flattens the top of the Zipf law, so that no merchant has most of a market.
const ZIPF_SHIFT: f64 = 4.0;

/// One merchant. Nothing here depends on a payment.
pub(super) struct Merchant {
    /// Index of its only category.
    pub(super) category: u8,
    /// Index of its region.
    pub(super) region: u8,
    /// Factor on the tickets of its category.
    pub(super) prices: f32,
    name: [u8; 2],
}

impl Merchant {
    /// A made-up name.
    pub(super) fn name(&self) -> String {
        let [colour, thing] = self.name.map(usize::from);
        let noun = CATEGORIES[usize::from(self.category)].noun;
        format!("{} {} {noun}", COLOURS[colour], THINGS[thing])
    }
}

/// The identifier of merchant `index`; ids sort as indexes do.
pub(super) fn merchant_id(index: usize) -> String {
    format!("M{:06}", index + 1)
}

/// All merchants, and for each category those to choose from in a region and nationwide.
pub(super) struct Merchants {
    list: Vec<Merchant>,
    regional: Vec<Option<Choice>>,
    nationwide: Vec<Option<Choice>>,
}

/// Merchants to choose from by popularity.
struct Choice {
    members: Vec<u32>,
    popularity: AliasTable,
}

impl Merchants {
    /// `count` merchants, all derived from `seed`.
    ///
    /// Popularity is Zipf in a random order; the most popular merchants cover the categories.
    pub(super) fn new(seed: u64, count: usize) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(hash(seed, 2));
        let mut ranks: Vec<usize> = (0..count).collect();
        ranks.shuffle(&mut rng);
        let categories = AliasTable::new(&CATEGORIES.map(|category| category.stores));
        let regions = AliasTable::new(&REGIONS.map(|region| region.people));
        let list: Vec<Merchant> = ranks
            .iter()
            .map(|&rank| {
                let drawn = categories.pick(rng.random());
                let category = if rank < CATEGORIES.len() { rank } else { drawn };
                let region = regions.pick(rng.random());
                let level: f64 = rng.sample(StandardNormal);
                Merchant {
                    category: category as u8,
                    region: region as u8,
                    prices: (REGIONS[region].prices * (PRICE_SIGMA * level).exp()) as f32,
                    name: [rng.random_range(0..16), rng.random_range(0..16)],
                }
            })
            .collect();
        let popularity: Vec<f64> =
            ranks.iter().map(|&rank| 1.0 / (rank as f64 + ZIPF_SHIFT)).collect();
        let cell = |m: &Merchant| usize::from(m.category) * REGIONS.len() + usize::from(m.region);
        let regional = choices(&list, &popularity, CATEGORIES.len() * REGIONS.len(), cell);
        let nationwide = choices(&list, &popularity, CATEGORIES.len(), |m| usize::from(m.category));
        Merchants { list, regional, nationwide }
    }

    /// The merchants in the order of their ids.
    pub(super) fn list(&self) -> &[Merchant] {
        &self.list
    }

    /// Whether the category has a merchant at all.
    pub(super) fn has(&self, category: usize) -> bool {
        self.nationwide[category].is_some()
    }

    /// A merchant of the category anywhere, drawn with a uniform word.
    pub(super) fn pick_nationwide(&self, category: usize, word: u64) -> usize {
        let choice = self.nationwide[category]
            .as_ref()
            .expect("cannot fail because only categories with merchants have visits");
        choice.pick(word)
    }

    /// A merchant of the category in the region, or nationwide where the region has none.
    pub(super) fn pick_in_region(&self, category: usize, region: usize, word: u64) -> usize {
        match &self.regional[category * REGIONS.len() + region] {
            Some(choice) => choice.pick(word),
            None => self.pick_nationwide(category, word),
        }
    }
}

impl Choice {
    fn pick(&self, word: u64) -> usize {
        self.members[self.popularity.pick(word)] as usize
    }
}

/// Sorts merchants into `cells` choices; a cell without merchants has none.
fn choices(
    list: &[Merchant],
    popularity: &[f64],
    cells: usize,
    cell: impl Fn(&Merchant) -> usize,
) -> Vec<Option<Choice>> {
    let mut members: Vec<Vec<u32>> = vec![Vec::new(); cells];
    for (index, merchant) in (0_u32..).zip(list) {
        members[cell(merchant)].push(index);
    }
    let choice = |members: Vec<u32>| {
        let weights: Vec<f64> = members.iter().map(|&index| popularity[index as usize]).collect();
        (!members.is_empty()).then(|| Choice { members, popularity: AliasTable::new(&weights) })
    };
    members.into_iter().map(choice).collect()
}

#[cfg(test)]
mod tests {
    use super::super::random::mix;
    use super::*;

    #[test]
    fn picks_keep_the_category_and_where_possible_the_region() {
        let merchants = Merchants::new(3, 2_000);
        for word in (0..2_000).map(mix) {
            let found = &merchants.list()[merchants.pick_in_region(0, 9, word)];
            assert_eq!((found.category, found.region), (0, 9));
            let found = &merchants.list()[merchants.pick_nationwide(5, word)];
            assert_eq!(found.category, 5);
        }
    }

    #[test]
    fn every_category_has_a_merchant_once_there_are_enough() {
        let merchants = Merchants::new(3, 100);
        assert!((0..CATEGORIES.len()).all(|category| merchants.has(category)));
    }

    #[test]
    fn ids_sort_as_indexes_do() {
        assert_eq!(merchant_id(0), "M000001");
        assert!(merchant_id(99) < merchant_id(100));
    }
}
