//! Exact samples of the discrete Gaussian: Algorithms 1 to 3 of Canonne, Kamath and Steinke 2020.
//!
//! No float, no big number and no approximation. Every choice is the outcome of coins whose
//! probabilities are ratios of integers below 2⁶⁴, and each coin is decided exactly. Counters (k
//! and v) go up by one for each word drawn, at most, and nobody draws 2⁶⁴ words.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::Rng;

/// Independent uniform words, and the choices that are made of them. The tests enumerate the
/// outcomes of short words, and of the choices.
pub(super) trait Words {
    /// Bits of a word: 1 to 64.
    const BITS: u32;

    /// A number below 2^`BITS`.
    fn word(&mut self) -> u64;

    /// True with probability n/d exactly; n ≤ d, d > 0.
    ///
    /// Compares n/d with a uniform real number R in \[0, 1\] whose digits, to the base 2^BITS, are
    /// drawn until the comparison is decided: after one word but for a chance of 2^−BITS.
    fn coin(&mut self, mut n: u64, d: u64) -> bool {
        loop {
            let digit = self.word();
            // R · 2^BITS is between `digit` and `digit` + 1. No overflow: all are below 2⁶⁴ · 2⁶⁴.
            let (drawn, sought) = (u128::from(digit) * u128::from(d), u128::from(n) << Self::BITS);
            if drawn >= sought {
                return false;
            }
            let rest = sought - drawn;
            if rest >= u128::from(d) {
                return true;
            }
            n = rest as u64; // 0 < rest < d; the digits to come are compared with rest/d
        }
    }

    /// A uniform number below `n`, by rejection; 1 ≤ `n` ≤ 2^BITS and `n` ≤ 2⁶³.
    fn below(&mut self, n: u64) -> u64 {
        let mask = n.next_power_of_two() - 1;
        loop {
            let number = self.word() & mask;
            if number < n {
                return number;
            }
        }
    }

    /// Algorithm 1: true with probability exp(−γ), if each call of `gamma` is true with
    /// probability γ ≤ 1, independently.
    ///
    /// A coin of γ/k is a coin of γ and a coin of 1/k. P[k ends above n] = γⁿ/n!, so
    /// P[k is odd] = Σ (−γ)ⁿ/n!.
    fn exp_coin(&mut self, gamma: impl Fn(&mut Self) -> bool) -> bool {
        let mut k = 1;
        while (k == 1 || self.coin(1, k)) && gamma(self) {
            k += 1;
        }
        k % 2 == 1
    }
}

impl Words for ChaCha20Rng {
    const BITS: u32 = 64;

    fn word(&mut self) -> u64 {
        self.next_u64()
    }
}

/// One sample x of the law with P[x] ∝ exp(−x²/2σ²) on the integers; 1 ≤ `sigma` < 2⁵².
///
/// Units: grid units. Errors: none; the loop ends with probability 1.
pub(super) fn discrete_gaussian<W: Words>(words: &mut W, sigma: u64) -> i128 {
    loop {
        if let Some(sample) = attempt(words, sigma) {
            return sample;
        }
    }
}

/// One round of Algorithm 3 with t = σ: x with probability proportional to exp(−x²/2σ²), or
/// nothing.
///
/// The candidate ±(u + vσ) is one of Algorithm 2: P ∝ exp(−u/σ) · exp(−v). Where that algorithm
/// starts again, so does this one, as it has drawn nothing else yet. The paper has t = ⌊σ⌋ + 1,
/// but its proof holds for every t > 0: exp(−|y|/t) · exp(−(|y| − σ²/t)²/2σ²) is exp(−y²/2σ²) times
/// a constant.
pub(super) fn attempt<W: Words>(words: &mut W, sigma: u64) -> Option<i128> {
    let u = words.below(sigma);
    if !words.exp_coin(|words| words.coin(u, sigma)) {
        return None;
    }
    let mut v = 0;
    while words.exp_coin(|_| true) {
        v += 1;
    }
    let negative = words.coin(1, 2);
    // Zero has one sign, not two.
    if negative && (u, v) == (0, 0) {
        return None;
    }
    // |y| = u + vσ, so ||y| − σ| = wσ + r with 0 ≤ r ≤ σ.
    let (w, r) = if v == 0 { (0, sigma - u) } else { (v - 1, u) };
    // Below 2⁶⁴ · 2⁵² + 2⁵².
    let size = i128::from(v) * i128::from(sigma) + i128::from(u);
    accept(words, w, r, sigma).then_some(if negative { -size } else { size })
}

/// True with probability exp(−(wσ + r)²/2σ²) = exp(−w²/2) · exp(−wr/σ) · exp(−r²/2σ²).
///
/// The paper's way to an exponent above 1: it is a sum of exponents in [0, 1], and the coin is
/// true if a coin of each of them is.
fn accept<W: Words>(words: &mut W, w: u64, r: u64, sigma: u64) -> bool {
    let half = |words: &mut W| words.coin(1, 2);
    let ratio = |words: &mut W| words.coin(r, sigma);
    let square = u128::from(w) * u128::from(w); // below 2¹²⁸
    (0..square).all(|_| words.exp_coin(half))
        && (0..w).all(|_| words.exp_coin(ratio))
        && words.exp_coin(|words| half(words) && ratio(words) && ratio(words))
}
