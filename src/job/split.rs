//! Which levels split the cells of others, and what share of the budget levels get.

use super::{Key, TimeKey};

/// The weight that a job's `1` stands for, so that defaults can be fractions of it.
pub(super) const WEIGHT_UNIT: u32 = 10_000;

/// Of a report's budget, the percentage for levels whose cells another level of it splits: they
/// have few cells with large values, and their totals say how much the bounds have taken from the
/// parts.
const TOTALS_PERCENT: u32 = 10;

/// The weights of a report's levels where the job states none: as if each were 1, but with
/// [`TOTALS_PERCENT`] for all that others split.
pub(super) fn default_weights(levels: &[&[Key]]) -> Vec<u32> {
    let is_split = |coarse: &&[Key]| {
        let finer = |fine: &&[Key]| splits(fine, coarse) && !splits(coarse, fine);
        levels.iter().any(finer)
    };
    let split: Vec<bool> = levels.iter().map(is_split).collect();
    let count = |wanted: bool| split.iter().filter(|&&split| split == wanted).count() as u32;
    let (totals, finest) = (count(true), count(false));
    if totals == 0 {
        return vec![WEIGHT_UNIT; levels.len()];
    }
    let hundredth = WEIGHT_UNIT / 100 * levels.len() as u32;
    let weight = |&split: &bool| match split {
        true => hundredth * TOTALS_PERCENT / totals,
        false => hundredth * (100 - TOTALS_PERCENT) / finest,
    };
    split.iter().map(|split| weight(split).max(1)).collect()
}

/// Does each cell of the level with the keys `fine` lie in one cell of `coarse`?
fn splits(fine: &[Key], coarse: &[Key]) -> bool {
    coarse.iter().all(|key| fine.iter().any(|fine| fine == key || tells(fine, key)))
}

/// Does the value of one key tell that of the other?
fn tells(fine: &Key, coarse: &Key) -> bool {
    use TimeKey::{Day, Month, Quarter, Week, Weekday};
    match (fine, coarse) {
        (Key::Merchant, Key::MerchantAttribute(_)) => true,
        (Key::Time(Day), Key::Time(other)) => matches!(other, Week | Month | Quarter | Weekday),
        (Key::Time(Month), Key::Time(Quarter)) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(name: &str) -> Key {
        Key::MerchantAttribute(name.to_owned())
    }

    #[test]
    fn totals_get_a_tenth() {
        let finest = [attribute("region"), attribute("category"), Key::Time(TimeKey::Week)];
        let levels = [&[], &finest[..1], &finest[..2], &finest];
        assert_eq!(default_weights(&levels), [1333, 1333, 1333, 36_000]);
        assert_eq!(default_weights(&levels[..1]), [10_000]);
    }

    #[test]
    fn levels_side_by_side_get_the_same() {
        let wallet = Key::Column("wallet".to_owned());
        let levels: [&[Key]; 2] = [&[Key::Merchant], std::slice::from_ref(&wallet)];
        assert_eq!(default_weights(&levels), [10_000; 2]);
        // A total of both.
        let levels: [&[Key]; 3] = [&[], &[Key::Merchant], &[wallet]];
        assert_eq!(default_weights(&levels), [3000, 13_500, 13_500]);
    }

    #[test]
    fn some_keys_tell_others() {
        let time = |key| Key::Time(key);
        use TimeKey::{Day, Hour, Month, Quarter, Week};
        for (fine, coarse, expected) in [
            (Key::Merchant, attribute("region"), true),
            (attribute("region"), Key::Merchant, false),
            (time(Day), time(Quarter), true),
            (time(Month), time(Quarter), true),
            // A week may lie in two months.
            (time(Week), time(Month), false),
            (time(Hour), time(Day), false),
        ] {
            assert_eq!(
                splits(std::slice::from_ref(&fine), std::slice::from_ref(&coarse)),
                expected,
                "{fine:?} {coarse:?}"
            );
        }
    }
}
