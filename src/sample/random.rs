//! Randomness that can be asked for by place: hashes, and tables that draw with one word.

/// Mixes 64 bits one to one (the finaliser of SplitMix64): distinct inputs stay distinct.
pub(super) fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A hash of two words; for one `key`, distinct `place`s have distinct hashes.
pub(super) fn hash(key: u64, place: u64) -> u64 {
    mix(mix(key) ^ place)
}

/// A word as a number in [0, 1).
pub(super) fn unit_interval(word: u64) -> f64 {
    (word >> 11) as f64 / (1_u64 << 53) as f64
}

/// A word as a whole number below `count`.
pub(super) fn below(count: u64, word: u64) -> u64 {
    ((u128::from(word) * u128::from(count)) >> 64) as u64
}

/// Draws from given weights in constant time (Walker's alias method).
///
/// Unlike `rand_distr`'s it takes a word, so hashed and drawn words serve alike.
pub(super) struct AliasTable {
    columns: Vec<Column>,
}

/// One column: below `own_share` (of 2³²) it stands for itself, else for `other`.
#[derive(Clone)]
struct Column {
    own_share: u32,
    other: u32,
}

impl AliasTable {
    /// `weights` are not negative, and one of them is positive.
    pub(super) fn new(weights: &[f64]) -> Self {
        let scale = weights.len() as f64 / weights.iter().sum::<f64>();
        let mut shares: Vec<f64> = weights.iter().map(|weight| weight * scale).collect();
        let indexes =
            0..u32::try_from(weights.len()).expect("cannot fail because tables are small");
        let mut columns: Vec<Column> =
            indexes.clone().map(|i| Column { own_share: u32::MAX, other: i }).collect();
        let (mut poor, mut rich): (Vec<u32>, Vec<u32>) =
            indexes.partition(|&i| shares[i as usize] < 1.0);
        while let (Some(&low), Some(&high)) = (poor.last(), rich.last()) {
            poor.pop();
            let share = shares[low as usize];
            columns[low as usize] =
                Column { own_share: (share * 4_294_967_296.0) as u32, other: high };
            shares[high as usize] -= 1.0 - share;
            if shares[high as usize] < 1.0 {
                rich.pop();
                poor.push(high);
            }
        }
        AliasTable { columns }
    }

    /// The index that a uniform `word` falls on.
    pub(super) fn pick(&self, word: u64) -> usize {
        let index = ((word >> 32) * self.columns.len() as u64) >> 32;
        let column = &self.columns[index as usize];
        if (word as u32) < column.own_share { index as usize } else { column.other as usize }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alias_table_follows_its_weights() {
        let weights = [0.0, 5.0, 1.0, 0.0, 2.0];
        let table = AliasTable::new(&weights);
        let mut counts = [0_u32; 5];
        for i in 0..80_000 {
            counts[table.pick(mix(i))] += 1;
        }
        // Fixed words, so no false alarms; 4 standard deviations are under 600.
        for (count, weight) in counts.iter().zip(weights) {
            assert!((f64::from(*count) - weight * 10_000.0).abs() < 600.0, "{counts:?}");
        }
        assert_eq!((counts[0], counts[3]), (0, 0));
    }

    #[test]
    fn below_stays_below_and_reaches_both_ends() {
        assert_eq!(below(7, 0), 0);
        assert_eq!(below(7, u64::MAX), 6);
    }

    #[test]
    fn unit_interval_excludes_one() {
        assert!(unit_interval(u64::MAX) < 1.0);
    }
}
