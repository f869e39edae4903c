//! What is released against its law, by counts of what the whole path gives: hashes, streams,
//! sampler, measurement.
//!
//! Counts are held against Chernoff's bound: for a binomial count k of n with chance p, the event
//! n · KL(k/n, p) ≥ L has probability at most 2 e^−L, whatever n and p. False alarms: at most 1e-10
//! for each test.

use super::gaussian::{make_opendp, release};
use super::keys::RunKey;
use super::tests_sampler::law;
use crate::plan::{CellKey, KeyValue};

/// Noise of `cells` cells of one statistic of a new run.
fn draw(sigma: u64, cells: usize) -> Vec<i64> {
    let key = RunKey::from_system().expect("random bits").statistic("tests", "noise");
    let mut noise = Vec::with_capacity(cells);
    for part in 0..cells.div_ceil(1 << 16) {
        let cell = |at: usize| -> CellKey {
            let bytes = [part, at >> 8, at & 0xff].map(|n| KeyValue::Number(n as u8));
            bytes.to_vec().into_boxed_slice()
        };
        let keys: Vec<CellKey> = (0..1 << 16).map(cell).collect();
        noise.extend(release(&key, &keys, &vec![0; keys.len()], sigma).expect("draws"));
    }
    noise.truncate(cells);
    noise
}

/// Fails if `count` of `n` is further from the chance `p` than has probability `alarm`.
fn check(count: usize, n: usize, p: f64, alarm: f64, what: &str) {
    let (n, share) = (n as f64, count as f64 / n as f64);
    let term = |a: f64, b: f64| if a > 0.0 { a * (a / b).ln() } else { 0.0 };
    let surprise = n * (term(share, p) + term(1.0 - share, 1.0 - p));
    assert!(surprise < (2.0 / alarm).ln(), "{what}: {count} of {n}, not {}", n * p);
}

#[test]
fn chernoff_checks_see_what_is_wrong() {
    check(5_000, 10_000, 0.5, 1e-10, "half");
    check(0, 10, 1e-3, 1e-10, "rare");
    // 5,400 of 10,000 is 8 standard deviations off.
    for (count, n, p) in [(5_400, 10_000, 0.5), (4_600, 10_000, 0.5), (20, 1_000, 1e-4)] {
        let caught = std::panic::catch_unwind(|| check(count, n, p, 1e-10, "wrong"));
        assert!(caught.is_err(), "{count} of {n}");
    }
}

/// Two million draws for each σ; every integer within 5σ, and the two tails.
#[test]
fn small_sigmas_have_their_probabilities() {
    let sigmas = [1u64, 2, 3, 7, 50];
    let checks: u64 = sigmas.iter().map(|sigma| 2 * 5 * sigma + 3).sum();
    let alarm = 1e-10 / checks as f64;
    for sigma in sigmas {
        let noise = draw(sigma, 2_000_000);
        let (law, most) = (law(sigma), 5 * sigma as i64);
        let mut counts = vec![0; 2 * most as usize + 3];
        for x in &noise {
            counts[(x.clamp(&(-most - 1), &(most + 1)) + most + 1) as usize] += 1;
        }
        for (count, x) in counts.into_iter().zip(-most - 1..) {
            let p = if x.abs() <= most {
                law[&x.into()]
            } else {
                law.range(i128::from(most) + 1..).map(|(_, p)| p).sum()
            };
            check(count, noise.len(), p, alarm, &format!("sigma {sigma}, x = {x}"));
        }
    }
}

/// P[N ≥ z] of the normal law.
fn tail(z: f64) -> f64 {
    libm::erfc(z / std::f64::consts::SQRT_2) / 2.0
}

/// Three million draws for each σ, in 42 bins of a quarter of σ and two tails beyond 5.25σ; how
/// many are beyond 4σ and 5σ; the lowest four bits. The discrete law gives a bin the chance of the
/// normal one up to a part in σ, which is below 1e-9.
#[test]
fn large_sigmas_have_their_bins_tails_and_low_bits() {
    let sigmas = [1u64 << 31, (1 << 40) + 12_345, (1 << 52) - 1];
    let alarm = 1e-10 / (sigmas.len() as f64 * (44.0 + 4.0 + 16.0));
    for sigma in sigmas {
        let noise = draw(sigma, 3_000_000);
        let n = noise.len();
        let scaled: Vec<f64> = noise.iter().map(|&x| x as f64 / sigma as f64).collect();
        let count = |low: f64, high: f64| scaled.iter().filter(|&&z| low <= z && z < high).count();
        let mut bins = vec![0; 44];
        for &z in &scaled {
            bins[((z + 5.5) * 4.0).clamp(0.0, 43.0) as usize] += 1;
        }
        for (bin, count) in bins.into_iter().enumerate() {
            let low = bin as f64 / 4.0 - 5.5;
            let p = match bin {
                0 | 43 => tail(5.25),
                _ => {
                    tail(low.abs().min((low + 0.25).abs()))
                        - tail(low.abs().max((low + 0.25).abs()))
                }
            };
            check(count, n, p, alarm, &format!("sigma {sigma}, from {low}"));
        }
        for z in [4.0, 5.0] {
            check(count(z, 99.0), n, tail(z), alarm, &format!("sigma {sigma}, beyond {z}"));
            check(count(-99.0, -z), n, tail(z), alarm, &format!("sigma {sigma}, below -{z}"));
        }
        for low in 0..16 {
            let count = noise.iter().filter(|x| x.rem_euclid(16) == low).count();
            check(count, n, 1.0 / 16.0, alarm, &format!("sigma {sigma}, ...{low:x}"));
        }
    }
}

/// The largest difference of two empirical distribution functions is, by the inequality of
/// Dvoretzky, Kiefer and Wolfowitz with Massart's constant, above the sum of √(ln(2/a)/2n) with
/// probability at most a for each sample.
#[test]
fn samples_agree_with_opendp() {
    for sigma in [2u64, 40, (1 << 40) + 1] {
        let mut ours = draw(sigma, 1_000_000);
        let zeros = vec![0i64; 40_000];
        let opendp = make_opendp(sigma).expect("a measurement").invoke(&zeros);
        let mut theirs = opendp.expect("opendp draws");
        ours.sort_unstable();
        theirs.sort_unstable();
        let share =
            |all: &[i64], x: i64| all.partition_point(|&y| y <= x) as f64 / all.len() as f64;
        // The difference is largest at a value of either, and by its left limit just before one.
        let largest = ours
            .iter()
            .chain(&theirs)
            .flat_map(|&x| [x - 1, x])
            .map(|x| (share(&ours, x) - share(&theirs, x)).abs())
            .fold(0.0, f64::max);
        let width = |n: usize| ((2.0f64 / (1e-10 / 6.0)).ln() / (2.0 * n as f64)).sqrt();
        let limit = width(ours.len()) + width(theirs.len());
        assert!(largest < limit, "sigma {sigma}: {largest} of {limit}");
    }
}

/// The signs, and which side of the quartiles, of neighbouring cells: 16 cases, whose chances are
/// products.
#[test]
fn neighbouring_cells_are_independent() {
    let sigma = 1u64 << 40;
    let noise = draw(sigma, 2_000_000);
    let class = |x: i64| {
        // 0.6745 is the normal law's upper quartile, to four places: the chances are computed.
        usize::from(x > 0) * 2 + usize::from(x.unsigned_abs() as f64 > 0.6745 * sigma as f64)
    };
    let outer = tail(0.6745);
    let chance = |class: usize| if class % 2 == 1 { outer } else { 0.5 - outer };
    let pairs = noise.len() / 2;
    let mut counts = [0; 16];
    for pair in noise.chunks_exact(2) {
        counts[class(pair[0]) * 4 + class(pair[1])] += 1;
    }
    for (both, count) in counts.into_iter().enumerate() {
        let p = chance(both / 4) * chance(both % 4);
        check(count, pairs, p, 1e-10 / 16.0, &format!("classes {} and {}", both / 4, both % 4));
    }
}

/// What a value costs. Not a test: prints nanoseconds of CPU of this thread.
///
/// `cargo test --release --lib what_a_value_costs -- --ignored --nocapture`
#[test]
#[ignore = "prints figures"]
fn what_a_value_costs() {
    use super::sampler::{Words, discrete_gaussian};
    use std::hint::black_box;
    /// ns on the CPU, from the Linux scheduler.
    fn cpu() -> f64 {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
        text.split(' ').next().and_then(|n| n.parse().ok()).expect("a number")
    }
    fn cost(what: &str, values: usize, work: impl FnOnce()) {
        let before = cpu();
        work();
        println!("{what}: {:.0} ns a value", (cpu() - before) / values as f64);
    }
    struct Counted<W>(W, u64);
    impl<W: Words> Words for Counted<W> {
        const BITS: u32 = W::BITS;
        fn word(&mut self) -> u64 {
            self.1 += 1;
            self.0.word()
        }
    }
    let key =
        RunKey::from_system().expect("random bits").statistic("market.merchant-week", "sales");
    let day = |n: i32| KeyValue::Date(chrono::NaiveDate::from_epoch_days(n).expect("a day"));
    let cell = |n: i32| -> CellKey {
        vec![KeyValue::Text(format!("merchant-{:06}", n % 1000).into()), day(n / 1000)].into()
    };
    let cells: Vec<CellKey> = (0..1 << 20).map(cell).collect();
    let n = cells.len();
    for sigma in [1u64 << 16, (1 << 24) + 1, (1 << 40) + 12_345, (1 << 52) - 1] {
        println!("sigma {sigma}");
        cost("  all: hash, stream, sample, measurement", n, || {
            for cells in cells.chunks(super::CHUNK) {
                black_box(release(&key, cells, &vec![0; cells.len()], sigma).expect("draws"));
            }
        });
        let mut words = Counted(key.seed(&cells[0]).words(), 0);
        cost("  sampler alone, one stream", n, || {
            (0..n).for_each(|_| {
                black_box(discrete_gaussian(&mut words, sigma));
            });
        });
        println!("  words: {:.1} a value", words.1 as f64 / n as f64);
        let zeros = vec![0; 50_000];
        let opendp = make_opendp(sigma).expect("a measurement");
        cost("  OpenDP", zeros.len(), || drop(black_box(opendp.invoke(&zeros))));
    }
    cost("seeds", n, || {
        cells.iter().for_each(|cell| {
            black_box(key.seed(cell));
        })
    });
    let seed = key.seed(&cells[0]);
    cost("first word of a stream", n, || {
        (0..n).for_each(|_| {
            black_box(black_box(&seed).words().word());
        });
    });
    cost("measurements", 1000, || (0..1000).for_each(|_| drop(black_box(make_opendp(1 << 20)))));
}
