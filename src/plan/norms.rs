//! A user's norm, as a survey looks at it (*Chosen bounds* in `docs/privacy.md`).

use super::SurveyPlan;

/// One user's values of one statistic at one level, as far as a survey looks at them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Norms {
    /// Σ x², in squares of units.
    squares: u128,
    /// Σ |x|, in units.
    sum: u128,
}

impl Norms {
    /// Adds one number of one cell, in counts or minor units.
    ///
    /// What would overflow is cut: it is beyond all bins.
    pub fn add(&mut self, value: i128) {
        let size = value.unsigned_abs().min(1 << 62);
        self.squares = self.squares.saturating_add(size * size);
        self.sum += size;
    }

    /// The user's bin: norms from 2^(bin/2) to 2^((bin+1)/2); `None` for a norm of zero.
    pub fn bin(self) -> Option<usize> {
        let half_octave = self.squares.checked_ilog2()? as usize;
        Some(half_octave.min(SurveyPlan::BINS - 1))
    }

    /// Σ|x| / ‖x‖₂ in units of 2^-`grid_bits`, rounded down, at most [`SurveyPlan::SPREAD_MAX`]:
    /// the root of the number of cells, where all are equal.
    pub fn spread(self, grid_bits: u32) -> i64 {
        if self.squares == 0 {
            return 0;
        }
        let most = (SurveyPlan::SPREAD_MAX as i64) << grid_bits;
        let norm_up = (self.squares - 1).isqrt() + 1;
        // Σ|x| is below 2⁶² · 2³².
        let ratio = (self.sum << 32) / norm_up;
        let spread = (ratio << grid_bits) >> 32;
        i64::try_from(spread).unwrap_or(most).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn norms(values: &[i128]) -> Norms {
        let mut norms = Norms::default();
        values.iter().for_each(|&value| norms.add(value));
        norms
    }

    #[test]
    fn bins_are_half_octaves_of_the_norm() {
        for (values, bin) in [
            (&[][..], None),
            (&[0, 0], None),
            (&[1], Some(0)),
            (&[1, 0, -1], Some(1)),
            (&[1, 1, 1], Some(1)),
            (&[2], Some(2)),
            (&[-300, 400], Some(17)),
            (&[i128::MAX], Some(63)),
            (&[i128::MIN, i128::MIN, i128::MAX], Some(63)),
        ] {
            assert_eq!(norms(values).bin(), bin, "{values:?}");
        }
        // 250000 is between 2^17 and 2^18.
        assert_eq!(norms(&[511]).bin(), Some(17));
        assert_eq!(norms(&[512]).bin(), Some(18));
    }

    #[test]
    fn spreads_are_roots_of_numbers_of_cells() {
        let natural = |values: &[i128]| norms(values).spread(16) as f64 / 65536.0;
        assert_eq!(norms(&[]).spread(16), 0);
        assert_eq!(norms(&[-7]).spread(16), 1 << 16);
        assert!((natural(&[30_000; 9]) - 3.0).abs() < 1e-4);
        assert!((natural(&[30_000, -40_000]) - 1.4).abs() < 1e-4);
        let most = 8 << 20;
        assert_eq!(norms(&[1; 100]).spread(20), most);
        assert_eq!(norms(&[i128::MAX; 3]).spread(20), 1_816_186);
        // What is rounded is rounded down.
        assert_eq!(norms(&[1, 1]).spread(16), 65_536);
    }
}
