//! The norm bound of one user, and the fit of a user's vector into it (Lemma 1 of
//! `docs/privacy.md`).

use super::units::Sensitivity;

/// The largest L2 norm of one user's vector, and the largest size of one of its cells; both in
/// grid units of one statistic.
///
/// A larger bound scales fewer heavy users down, and the noise grows in proportion to it.
///
/// ```
/// use discretail::privacy::NormBound;
///
/// let bound = NormBound::new(5, 5).expect("0 < cap <= norm");
/// // 100 and 1 are cut to 5 and 1: S = 26, g = 6; then 5·5/6 = 4.2 and 1·5/6 = 0.8, truncated.
/// let capped = [bound.cap(100, 0), bound.cap(1, 0)];
/// let fit = bound.fit(25 + 1);
/// assert_eq!(capped.map(|cell| fit.apply(cell)), [4, 0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NormBound {
    norm: u64,
    cell_cap: u64,
}

impl NormBound {
    /// Bounds stay below this, so that a sum of 2³² squares fits in 128 bits.
    pub const LIMIT: u64 = Sensitivity::LIMIT;

    /// `None` unless 0 < `cell_cap` ≤ `norm` < [`NormBound::LIMIT`].
    pub fn new(norm: u64, cell_cap: u64) -> Option<Self> {
        (0 < cell_cap && cell_cap <= norm && norm < Self::LIMIT)
            .then_some(NormBound { norm, cell_cap })
    }

    /// The bound on the norm, in grid units.
    pub fn norm(self) -> u64 {
        self.norm
    }

    /// How far one user can move the totals (Lemma 2): the bound on the norm.
    pub fn sensitivity(self) -> Sensitivity {
        Sensitivity::new(self.norm).expect("cannot fail because both have the same limits")
    }

    /// The cap on one cell, in grid units.
    pub fn cell_cap(self) -> u64 {
        self.cell_cap
    }

    /// One cell's value in natural units, times 2^`grid_bits`, cut to ± `cell_cap`.
    pub fn cap(self, value: i128, grid_bits: u32) -> i64 {
        if let (Ok(value), Ok(cap), 0..32) =
            (i32::try_from(value), i64::try_from(self.cell_cap), grid_bits)
        {
            // Nearly always, and much quicker; below 2⁶³, so nothing is lost.
            return (i64::from(value) << grid_bits).clamp(-cap, cap);
        }
        let cap = i128::from(self.cell_cap);
        // A value this large is beyond every cap, and shifting it could overflow.
        let value = value.clamp(-cap, cap) << grid_bits;
        value.clamp(-cap, cap) as i64
    }

    /// Is a user left as is whose cells are at most `largest` and have squares that sum to
    /// `squares`, both in natural units? The same as asking [`NormBound::cap`] of each cell and
    /// [`NormBound::fit`] of all, without looking at the cells.
    pub fn keeps(self, largest: u64, squares: u128, grid_bits: u32) -> bool {
        // z = x · 2^g, so z ≤ cap is x ≤ ⌊cap/2^g⌋, and Σz² ≤ C² is Σx² ≤ ⌊C²/4^g⌋.
        let square = u128::from(self.norm) * u128::from(self.norm);
        largest <= self.cell_cap.checked_shr(grid_bits).unwrap_or(0)
            && squares <= square.checked_shr(2 * grid_bits).unwrap_or(0)
    }

    /// What to do with one user's capped cells, whose squares sum to `sum_of_squares`.
    pub fn fit(self, sum_of_squares: u128) -> Fit {
        let square = u128::from(self.norm) * u128::from(self.norm);
        if sum_of_squares <= square {
            Fit::Keep
        } else {
            // ⌈√S⌉ = ⌊√(S−1)⌋ + 1, exactly.
            Fit::Scale { bound: self.norm, norm_up: (sum_of_squares - 1).isqrt() + 1 }
        }
    }
}

/// How one user's cells of one statistic are changed so that their norm is within the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// The vector is within the bound already.
    Keep,
    /// Each cell becomes trunc(z · bound / norm_up).
    Scale {
        /// The norm bound C.
        bound: u64,
        /// g = ⌈√Σz²⌉.
        norm_up: u128,
    },
}

impl Fit {
    /// One cell after the fit; rounds toward zero, so refunds and sales alike only get smaller.
    pub fn apply(self, cell: i64) -> i64 {
        match self {
            Fit::Keep => cell,
            Fit::Scale { bound, norm_up } => {
                let product = u128::from(cell.unsigned_abs()) * u128::from(bound);
                // Nearly always 64 bits are enough, and their division is much quicker.
                let size = match (u64::try_from(product), u64::try_from(norm_up)) {
                    (Ok(product), Ok(norm_up)) => u128::from(product / norm_up),
                    _ => product / norm_up,
                };
                // size ≤ |cell|, so it fits.
                if cell < 0 { -(size as i64) } else { size as i64 }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fitted(cells: &[i128], bound: NormBound, grid_bits: u32) -> Vec<i64> {
        let capped: Vec<i64> = cells.iter().map(|&x| bound.cap(x, grid_bits)).collect();
        let squares = capped.iter().map(|&z| u128::from(z.unsigned_abs()).pow(2)).sum();
        let fit = bound.fit(squares);
        capped.iter().map(|&z| fit.apply(z)).collect()
    }

    fn square_norm(cells: &[i64]) -> u128 {
        cells.iter().map(|&z| u128::from(z.unsigned_abs()).pow(2)).sum()
    }

    proptest! {
        #[test]
        fn fitted_norm_is_within_the_bound_exactly(
            cells in prop::collection::vec(prop_oneof![
                -1_000_000_000_000_000i128..1_000_000_000_000_000,
                -3i128..4,
                Just(i128::MAX), Just(i128::MIN),
            ], 0..40),
            norm in 1u64..NormBound::LIMIT, share in 1u64..1000, grid_bits in 0u32..17,
        ) {
            let cap = (norm / share).max(1);
            let bound = NormBound::new(norm, cap).expect("cannot fail because 0 < cap <= norm");
            let fitted = fitted(&cells, bound, grid_bits);
            prop_assert!(square_norm(&fitted) <= u128::from(norm).pow(2));
            for (&before, &after) in cells.iter().zip(&fitted) {
                prop_assert!(after == 0 || (before < 0) == (after < 0), "a fit never turns a sign");
                prop_assert!(after.unsigned_abs() <= cap);
            }
        }

        #[test]
        fn who_is_kept_can_be_told_from_the_largest_cell_and_the_squares(
            cells in prop::collection::vec(prop_oneof![-9i128..10, -70_000i128..70_000], 0..9),
            norm in prop_oneof![1u64..40, 1u64..100_000], share in 1u64..4, odd in 0u64..9,
            grid_bits in prop_oneof![Just(0u32), 0u32..40, 0u32..4],
        ) {
            let norm = (norm << grid_bits) + odd;
            prop_assume!(norm < NormBound::LIMIT);
            let bound = NormBound::new(norm, (norm / share).max(1)).expect("0 < cap <= norm");
            let sizes = cells.iter().map(|x| x.unsigned_abs());
            let largest = sizes.clone().max().unwrap_or(0) as u64;
            let squares = sizes.map(|x| x * x).sum();
            let same: Vec<i128> = cells.iter().map(|&x| x << grid_bits).collect();
            let fitted = fitted(&cells, bound, grid_bits).into_iter().map(i128::from);
            let is_same = fitted.collect::<Vec<_>>() == same;
            prop_assert_eq!(bound.keeps(largest, squares, grid_bits), is_same);
        }

        #[test]
        fn light_users_are_untouched(cells in prop::collection::vec(-5i128..6, 0..16)) {
            let bound = NormBound::new(20, 20).expect("cannot fail because 0 < cap <= norm");
            let plain: Vec<i64> = cells.iter().map(|&x| x as i64).collect();
            prop_assert_eq!(fitted(&cells, bound, 0), plain);
        }
    }

    #[test]
    fn heavy_users_are_scaled_toward_zero() {
        let bound = NormBound::new(5, 5).expect("cannot fail because 0 < cap <= norm");
        // Caps to (5, -5, 1): norm √51, g = 8; 25/8, -25/8, 5/8, truncated.
        assert_eq!(fitted(&[100, -7, 1], bound, 0), vec![3, -3, 0]);
        assert_eq!(fitted(&[3, 4], bound, 0), vec![3, 4]);
        // Just beyond the bound: with the root rounded down it would be left as it is.
        assert_eq!(fitted(&[5, 1], bound, 0), vec![4, 0]);
    }

    #[test]
    fn no_small_vector_stays_beyond_a_small_bound() {
        for norm in 1..20u64 {
            let bound = NormBound::new(norm, norm).expect("cannot fail because 0 < cap <= norm");
            for (a, b, c) in (0..8000).map(|n: i128| (n % 20, n / 20 % 20, n / 400)) {
                let fitted = fitted(&[a, -b, c], bound, 0);
                assert!(square_norm(&fitted) <= u128::from(norm).pow(2), "{norm} {a} {b} {c}");
            }
        }
    }

    #[test]
    fn bounds_are_validated() {
        for (norm, cap) in [(0, 0), (1, 0), (1, 2), (NormBound::LIMIT, 1)] {
            assert_eq!(NormBound::new(norm, cap), None, "{norm} {cap}");
        }
    }
}
