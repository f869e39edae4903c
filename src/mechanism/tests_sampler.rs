//! The sampler against its law: exactly, by enumeration; and what is released, by counts.
//!
//! Counts are held against Chernoff's bound: for a binomial count k of n with chance p, the event
//! n · KL(k/n, p) ≥ L has probability at most 2 e^−L, for every n, p and L.

use std::collections::BTreeMap;

use super::sampler::{Words, attempt};

/// Words from a list. When it ends, any numbers, and `missing` is set.
struct Script<const BITS: u32> {
    words: Vec<u64>,
    read: usize,
    missing: bool,
}

impl<const BITS: u32> Words for Script<BITS> {
    const BITS: u32 = BITS;

    fn word(&mut self) -> u64 {
        self.read += 1;
        self.missing |= self.read > self.words.len();
        let any = (self.read as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - BITS);
        self.words.get(self.read - 1).copied().unwrap_or(any)
    }
}

/// The probability of each outcome over all lists of `length` words, and of those that need
/// longer ones. Exact while `BITS` · `length` ≤ 52: all are multiples of 2^-52.
fn enumerate<const BITS: u32, T: Ord>(
    length: usize,
    outcome: impl Fn(&mut Script<BITS>) -> T,
) -> (BTreeMap<T, f64>, f64) {
    let (mut outcomes, mut undecided, mut lists) = (BTreeMap::new(), 0.0, vec![Vec::new()]);
    while let Some(words) = lists.pop() {
        let mass = 0.5f64.powi(BITS as i32 * words.len() as i32);
        let mut script = Script { words, read: 0, missing: false };
        let result = outcome(&mut script);
        let words = script.words;
        if !script.missing {
            *outcomes.entry(result).or_insert(0.0) += mass;
        } else if words.len() == length {
            undecided += mass;
        } else {
            lists.extend((0..1u64 << BITS).map(|word| {
                let mut longer = words.clone();
                longer.push(word);
                longer
            }));
        }
    }
    (outcomes, undecided)
}

#[test]
fn coins_have_their_probability_exactly() {
    fn check<const BITS: u32>(length: usize) {
        for d in 1..=17u64 {
            for n in 0..=d {
                let (mass, undecided) = enumerate::<BITS, bool>(length, |words| words.coin(n, d));
                let [no, yes] = [false, true].map(|side| mass.get(&side).copied().unwrap_or(0.0));
                // Numbers below 2^40 times 17 are exact as floats.
                let (n, d) = (n as f64, d as f64);
                assert!(yes * d <= n && n <= (yes + undecided) * d, "{n}/{d}: {yes}");
                assert!((no + yes + undecided - 1.0).abs() <= 0.0);
                assert!(undecided <= 0.5f64.powi(BITS as i32 * length as i32));
            }
        }
    }
    check::<1>(40);
    check::<3>(13);
    check::<8>(2);
}

/// The last digit that decides, and the ones beside it, for words and ratios of full size.
#[test]
fn coins_of_long_words_are_decided_at_the_right_digit() {
    let toss = |n: u64, d: u64, words: &[u64]| {
        let mut script = Script::<64> { words: words.to_vec(), read: 0, missing: false };
        let side = script.coin(n, d);
        (!script.missing).then_some((side, script.read))
    };
    for (n, d) in [(1, 3), (2, 3), (5, (1 << 52) - 1), ((1 << 51) + 7, (1 << 52) - 1)] {
        let shifted = u128::from(n) << 64;
        let digit = (shifted / u128::from(d)) as u64;
        let rest = (shifted % u128::from(d)) as u64;
        assert_eq!(toss(n, d, &[digit - 1]), Some((true, 1)));
        assert_eq!(toss(n, d, &[digit + 1]), Some((false, 1)));
        assert_eq!(toss(n, d, &[digit]), None);
        let next = ((u128::from(rest) << 64) / u128::from(d)) as u64;
        assert_eq!(toss(n, d, &[digit, next - 1]), Some((true, 2)));
        assert_eq!(toss(n, d, &[digit, next + 1]), Some((false, 2)));
    }
    for d in [1, 2, u64::MAX] {
        for word in [0, 1, u64::MAX - 1, u64::MAX] {
            assert_eq!(toss(0, d, &[word]), Some((false, 1)));
            assert_eq!(toss(d, d, &[word]), Some((true, 1)));
        }
    }
    // (2^64 - 2)/(2^64 - 1) has the digits 2^64 - 2, 2^64 - 2, ...
    let (n, d) = (u64::MAX - 1, u64::MAX);
    assert_eq!(toss(n, d, &[u64::MAX - 2]), Some((true, 1)));
    assert_eq!(toss(n, d, &[u64::MAX - 1, u64::MAX]), Some((false, 2)));
}

#[test]
fn uniform_numbers_are_uniform_exactly() {
    for n in 1..=16u64 {
        let (mass, undecided) = enumerate::<4, u64>(4, |words| words.below(n));
        assert!(mass.keys().copied().eq(0..n));
        let each = (1.0 - undecided) / n as f64;
        assert!(mass.values().all(|&mass| (mass - each).abs() < 1e-15));
        assert!(undecided < 0.5f64.powi(4), "{n}: {undecided}");
    }
    let mut script = Script::<64> { words: vec![1 << 52, u64::MAX], read: 0, missing: false };
    assert_eq!((script.below((1 << 52) - 1), script.read, script.missing), (0, 1, false));
}

#[test]
fn coins_of_exponentials_have_their_probability() {
    for (n, d) in [(0, 1), (1, 7), (1, 2), (2, 3), (1, 1)] {
        let (mass, undecided) =
            enumerate::<1, bool>(36, |words| words.exp_coin(|words| words.coin(n, d)));
        let expected = (-(n as f64) / d as f64).exp();
        let yes = mass[&true];
        assert!(yes <= expected + 1e-15 && expected <= yes + undecided + 1e-15, "{n}/{d}: {yes}");
        assert!(undecided < 2e-5, "{n}/{d}: {undecided}");
    }
}

/// Outcomes of coins and uniform numbers, with their probability.
#[derive(Default)]
struct Choices {
    made: Vec<u64>,
    read: usize,
    /// The probability of the outcomes in `made`.
    mass: f64,
    /// The probabilities of the outcomes of the choice after these.
    next: Option<Vec<f64>>,
}

impl Choices {
    fn choose(&mut self, masses: Vec<f64>) -> u64 {
        self.read += 1;
        if let Some(&choice) = self.made.get(self.read - 1) {
            self.mass *= masses[choice as usize];
            return choice;
        }
        // Any that is possible, and not always the same, so that loops end.
        let possible: Vec<usize> = (0..masses.len()).filter(|&c| masses[c] > 0.0).collect();
        self.next.get_or_insert(masses);
        possible[self.read * 7 / 3 % possible.len()] as u64
    }

    /// The probability of each outcome over all chains of choices that have more than `least`,
    /// and of the rest together.
    fn enumerate<T: Ord>(
        least: f64,
        outcome: impl Fn(&mut Choices) -> T,
    ) -> (BTreeMap<T, f64>, f64) {
        let (mut outcomes, mut undecided, mut lists) = (BTreeMap::new(), 0.0, vec![Vec::new()]);
        while let Some(made) = lists.pop() {
            let mut choices = Choices { made, mass: 1.0, ..Choices::default() };
            let result = outcome(&mut choices);
            let Choices { made, mass, next, .. } = choices;
            match next {
                None => *outcomes.entry(result).or_insert(0.0) += mass,
                Some(_) if mass <= least => undecided += mass,
                Some(next) => {
                    let possible = (0..).zip(next).filter(|&(_, mass)| mass > 0.0);
                    lists.extend(possible.map(|(choice, _)| [&made[..], &[choice]].concat()));
                }
            }
        }
        (outcomes, undecided)
    }
}

impl Words for Choices {
    const BITS: u32 = 64;

    fn word(&mut self) -> u64 {
        unreachable!("all choices are made here")
    }

    fn coin(&mut self, n: u64, d: u64) -> bool {
        let p = n as f64 / d as f64;
        self.choose(vec![1.0 - p, p]) == 1
    }

    fn below(&mut self, n: u64) -> u64 {
        self.choose(vec![1.0 / n as f64; n as usize])
    }

    fn exp_coin(&mut self, gamma: impl Fn(&mut Self) -> bool) -> bool {
        let (mass, undecided) = Choices::enumerate(0.0, gamma);
        assert!(undecided <= 0.0, "gamma makes a few choices and ends");
        let p = (-mass.get(&true).copied().unwrap_or(0.0)).exp();
        self.choose(vec![1.0 - p, p]) == 1
    }
}

/// P[x] within ten standard deviations.
pub(super) fn law(sigma: u64) -> BTreeMap<i128, f64> {
    let weight = |x: i128| (-((x * x) as f64) / (2.0 * (sigma * sigma) as f64)).exp();
    let most = 10 * i128::from(sigma);
    let total: f64 = (-most..=most).map(weight).sum();
    (-most..=most).map(|x| (x, weight(x) / total)).collect()
}

/// Coins, uniform numbers and exponentials are right by the tests above; this follows what an
/// attempt does with them, along every chain of choices with more than 1e-20.
#[test]
fn attempts_give_the_law_exactly() {
    for sigma in [1, 2, 3, 7, 100] {
        let (mut mass, undecided) = Choices::enumerate(1e-20, |choices| attempt(choices, sigma));
        assert!(undecided < 1e-15, "{sigma}: {undecided}");
        mass.remove(&None);
        let accepted: f64 = mass.values().sum();
        assert!(accepted > 0.4, "{sigma}: {accepted}");
        for (x, p) in law(sigma) {
            let found = mass.get(&Some(x)).copied().unwrap_or(0.0) / accepted;
            assert!((found - p).abs() < 1e-13, "{sigma}: {x} has {found}, not {p}");
        }
    }
}
