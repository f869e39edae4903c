//! Noise with one planted fault each: the test that is named for it must find it.

use std::sync::atomic::{AtomicU64, Ordering};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::subject::{Program, Subject, key, replay};
use super::tests::plans;
use super::twin::Twin;
use super::*;
use crate::engine::{Engine, ExactSurveys, ExactTotals, Settle};
use crate::mechanism::{KnownKey, KnownTotals, NoisyTotals, add_known_noise};
use crate::plan::Survey;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// σ in hundredths of what it should be.
    Sigma(u64),
    Reused,
    Clamped,
    Laplace,
    Float,
    SameKey,
}

struct Noise {
    program: Program,
    fault: Fault,
    draws: AtomicU64,
}

impl Noise {
    fn new(fault: Fault) -> Noise {
        Noise { program: Program::within(2), fault, draws: AtomicU64::new(1) }
    }

    fn bent(&self, plan: &Plan) -> Plan {
        let mut plan = plan.clone();
        if let Fault::Sigma(hundredths) = self.fault {
            let statistics = plan.levels.iter_mut().flat_map(|level| &mut level.statistics);
            statistics.for_each(|s| s.noise.sigma = s.noise.sigma * hundredths / 100);
        }
        plan
    }

    /// Noised values of one level, from exact ones and their noise.
    fn spoil(&self, plan: &Plan, exact: &ExactTotals, place: usize, values: &mut [Vec<i64>]) {
        let sums = &exact.levels[place].sums;
        let statistics = &plan.levels[place].statistics;
        let first = statistics[0].noise.sigma as f64;
        let noise: Vec<f64> = values[0].iter().zip(&sums[0]).map(|(v, e)| (v - e) as f64).collect();
        let mut random = ChaCha8Rng::seed_from_u64(self.draws.fetch_add(1, Ordering::Relaxed));
        for ((values, sums), statistic) in values.iter_mut().zip(sums).zip(statistics) {
            let sigma = statistic.noise.sigma as f64;
            for (at, (value, &exact)) in values.iter_mut().zip(sums).enumerate() {
                let own = (*value - exact) as f64;
                *value = match self.fault {
                    Fault::Reused => exact + (noise[at % noise.len()] / first * sigma) as i64,
                    Fault::Clamped => exact + own.clamp(-4.0 * sigma, 4.0 * sigma) as i64,
                    Fault::Float => (exact as f64 + own) as i64,
                    Fault::Laplace => {
                        let word = random.next_u64();
                        let uniform = ((word >> 12) as f64 + 0.5) / (1u64 << 52) as f64;
                        let size = -uniform.ln() * sigma / std::f64::consts::SQRT_2;
                        exact + if word & 1 == 0 { size } else { -size } as i64
                    }
                    _ => *value,
                };
            }
        }
    }
}

impl Subject for Noise {
    fn totals(&self, twin: &Twin, plan: &Plan, settle: Settle) -> Result<(Plan, ExactTotals)> {
        self.program.totals(twin, plan, settle)
    }

    fn known(&self, plan: &Plan, totals: ExactTotals, key: &KnownKey) -> Result<KnownTotals> {
        let mut known = add_known_noise(&self.bent(plan), totals.clone(), key, 1)?;
        for (place, level) in known.all.iter_mut().enumerate() {
            self.spoil(plan, &totals, place, &mut level.values);
        }
        Ok(known)
    }

    fn release(
        &self,
        plan: &Plan,
        totals: ExactTotals,
        surveys: Option<ExactSurveys>,
    ) -> Result<(NoisyTotals, Vec<Survey>)> {
        let plan = self.bent(plan);
        let (mut noisy, surveys) = match self.fault {
            Fault::SameKey => {
                (add_known_noise(&plan, totals.clone(), &key(), 1)?.marked(), Vec::new())
            }
            _ => self.program.release(&plan, totals.clone(), surveys)?,
        };
        for (place, level) in noisy.levels.iter_mut().enumerate() {
            if !level.keys.is_empty() {
                self.spoil(&plan, &totals, place, &mut level.values);
            }
        }
        Ok((noisy, surveys))
    }

    fn threads(&self) -> usize {
        2
    }
}

fn stated() -> Plan {
    plans().remove(0).1
}

fn refuted(rows: Vec<Row>) -> Vec<String> {
    rows.into_iter().filter(|row| row.verdict == Verdict::Refuted).map(|row| row.what).collect()
}

/// The claims that are refuted by rows and, if there are any, by a second run of the same: by
/// chance, each of them with the square of its level.
fn refuted_twice(rows: Vec<Row>, again: &dyn Fn() -> Vec<Row>) -> Vec<String> {
    let first = refuted(rows);
    if first.is_empty() {
        return first;
    }
    let second = refuted(again());
    first.into_iter().filter(|what| second.contains(what)).collect()
}

/// Each fault with the claim of `noise` that must be refuted. False alarms: none could hide a miss.
#[test]
fn each_fault_of_the_noise_is_found_by_its_test() {
    let plan = stated();
    for (fault, claim) in [
        (Fault::Sigma(50), "noise of each statistic has its stated"),
        (Fault::Sigma(71), "noise of each statistic has its stated"),
        (Fault::Sigma(95), "noise of each statistic has its stated"),
        (Fault::Sigma(97), "noise of each statistic has its stated"),
        (Fault::Reused, "noise is independent"),
        (Fault::Clamped, "noise has its tails"),
        (Fault::Laplace, "noise has the law"),
        (Fault::Float, "noise does not depend on what"),
        (Fault::SameKey, "no noise is used twice"),
    ] {
        let found = refuted(noise::rows(&Noise::new(fault), &plan).expect("draws").0);
        assert!(found.iter().any(|what| what.starts_with(claim)), "{fault:?}: {found:?}");
    }
}

/// Large faults show from the outside too, and noise that statistics share with a light user only.
#[test]
fn large_faults_show_in_the_black_box() {
    let plan = stated();
    let twin = Twin::new(&plan).expect("a folder");
    twin.write([].iter()).expect("writes");
    let settled = replay(&Program::within(2), &twin, None).expect("runs").plan;
    // So many releases that what is seen is four deviations or more beyond what an alarm needs: a
    // claim is missed once in 30,000 times at most, and twice in a row once in 10⁸.
    for (fault, releases, claims) in [
        (
            Fault::Sigma(50),
            80_000,
            &["an attacker who knows", "the same without the normal law"][..],
        ),
        (Fault::Sigma(71), 40_000, &["an attacker who knows"]),
        (Fault::Reused, 20_000, &["no combination of statistics"]),
    ] {
        let subject = Noise::new(fault);
        let found = || refuted(canary::rows(&subject, &twin, &settled, releases).expect("draws").0);
        let missed = |found: &[String]| {
            claims.iter().any(|claim| !found.iter().any(|what| what.starts_with(claim)))
        };
        let first = found();
        if missed(&first) {
            let second = found();
            assert!(!missed(&second), "{fault:?}: {first:?}, then {second:?}");
        }
    }
}

/// A run on canaries: the engine on the files that the program would read, and the subject's noise.
fn one_run(subject: &Noise, plan: &Plan, size: [usize; 2]) -> Vec<Row> {
    let twin = Twin::new(plan).expect("a folder");
    let design = one_run::Design::new(plan, size).expect("coins");
    let folder = twin.folder().join("canaries");
    design.write(&folder).expect("writes");
    let job =
        crate::job::Job::parse(&design.job("canaries", "public", one_run::Terms::AMPLE), &folder)
            .expect("a job");
    let own = Plan::new(job).expect("a plan");
    let engine = subject.program.engine(&twin, &own);
    let (_, exact) = engine.totals(&own, &mut |_| Ok(own.clone())).expect("runs");
    let in_sigmas = |values: &[Vec<i64>]| -> Vec<Vec<f32>> {
        let sigmas = own.levels[0].statistics.iter().map(|s| s.noise.sigma as f64);
        let one = |(values, sigma): (&Vec<i64>, f64)| {
            values.iter().map(|&v| (v as f64 / sigma) as f32).collect()
        };
        values.iter().zip(sigmas).map(one).collect()
    };
    // Canaries are at the bounds, and nobody is in the other places.
    let (with, without) = design.seen(0, &own, &in_sigmas(&exact.levels[0].sums));
    assert!(without.iter().flatten().all(|&value| value == 0.0));
    for (at, statistic) in own.levels[0].statistics.iter().enumerate() {
        let bound = statistic.noise.bound.norm() as f64 / statistic.noise.sigma as f64;
        let least = with.iter().map(|seen| f64::from(seen[at]) / bound).fold(f64::MAX, f64::min);
        assert!((0.999..1.001).contains(&least), "{}: {least}", statistic.kind.name());
    }
    let (noisy, _) = subject.release(&own, exact, None).expect("draws");
    one_run::judge(&design, &own, &in_sigmas(&noisy.levels[0].values))
}

/// Whatever statistics the audited job has: a job of canaries that is refused would look like a
/// fault.
#[test]
fn jobs_of_canaries_are_valid() {
    let folder = tempfile::tempdir().expect("a folder");
    let plans = super::tests::plans().into_iter();
    let designs = plans.map(|(name, plan)| (name, one_run::Design::new(&plan, [20, 5])));
    let small = [("small", Ok(one_run::Design::small()))];
    for (name, design) in designs.chain(small) {
        let (design, folder) = (design.expect("coins"), folder.path().join(name));
        design.write(&folder).expect("writes");
        for keys in ["public", "private", "discovered"] {
            let text = design.job("canaries", keys, one_run::Terms::AMPLE);
            let plan = crate::job::Job::parse(&text, &folder).and_then(Plan::new);
            assert!(plan.is_ok(), "{name}, {keys}: {:?}", plan.err());
        }
    }
}

/// Faults of the noise show in one run too, and the noise as it is does not.
#[test]
fn large_faults_show_in_one_run() {
    let market = crate::fixture::Market::new(&[]);
    let plan = market.plan(&super::tests::insights());
    for (fault, claim) in [
        (Fault::None, None),
        (Fault::Sigma(50), Some("in one run of the program")),
        (Fault::Sigma(71), Some("in one run of the program")),
        (Fault::Reused, Some("in one run no combination")),
    ] {
        let run = || one_run(&Noise::new(fault), &plan, [20_000, 8_000]);
        match claim {
            // Three tests at 0.0003, each by two runs: a false alarm once in three million times.
            None => assert_eq!(refuted_twice(run(), &run), Vec::<String>::new()),
            Some(claim) => {
                let found = refuted(run());
                assert!(found.iter().any(|what| what.starts_with(claim)), "{fault:?}: {found:?}");
            }
        }
    }
}

/// How much of ε one run tells with 100,000 canaries: run by hand (`docs/audit.md` has the
/// outcome).
#[test]
#[ignore = "minutes"]
fn one_run_tells_nine_tenths_of_epsilon_nearly_always() {
    let plan = reachable();
    let told = |_| {
        let rows = one_run(&Noise::new(Fault::None), &plan, one_run::SIZE);
        let share = rows[0].figure.rsplit('(').next().and_then(|t| t.split(' ').next());
        share.and_then(|text| text.parse().ok()).expect("a share")
    };
    let mut told: Vec<f64> = (0..50).map(told).collect();
    told.sort_by(f64::total_cmp);
    let reached = told.iter().filter(|&&share| share >= 90.0).count();
    println!("{reached} of {}: {told:?}", told.len());
    // With a chance of 0.99 each, fewer than 45 come up once in 10^6.
    assert!(reached >= 45);
}

/// A job whose bounds a user can reach in every statistic.
fn reachable() -> Plan {
    let levels = "levels = [[\"region\", \"week\"], [\"merchant\", \"wallet\"]]\nkeys = \"public\"";
    let rest = "insights = [\"customers\", \"payments\", \"sales\"]\n\
                bounds = { customers = 3, payments = 8, sales = \"90.00\" }";
    crate::fixture::Market::new(&[]).plan(&[format!("{levels}\n{rest}")])
}

/// 100,000 releases tell about nine tenths of the claimed ε, and no more than all of it.
#[test]
fn the_black_box_reaches_nine_tenths_of_epsilon() {
    let plan = reachable();
    let twin = Twin::new(&plan).expect("a folder");
    twin.write([].iter()).expect("writes");
    let subject = Noise::new(Fault::None);
    let settled = replay(&subject, &twin, None).expect("runs").plan;
    let started = std::time::Instant::now();
    let draw = || canary::rows(&subject, &twin, &settled, canary::RELEASES).expect("draws");
    let (rows, curve) = draw();
    let figure = &rows[0].figure;
    println!(
        "{:.0} s: {figure}\n{}\n{}",
        started.elapsed().as_secs_f64(),
        rows[1].figure,
        rows[2].figure
    );
    let percent = figure.rsplit('(').next().and_then(|text| text.split(' ').next());
    let percent: f64 = percent.expect("a share").parse().expect("a number");
    // About 94 % with a standard deviation of 3.5 %, so below 78 % comes up once in 200,000 runs.
    assert!(percent >= 78.0, "{figure}");
    assert!(curve.len() > 100);
    // Three tests at 0.0003, each by two runs: a false alarm once in three million times.
    assert_eq!(refuted_twice(rows.clone(), &|| draw().0), Vec::<String>::new());
}

/// Alarms in 200 audits of the program as it is: at most what the stated rates allow, by chance one
/// time in a thousand. Rates do not depend on how many releases are looked at, so there are fewer
/// here. Takes half an hour, so it is run by hand (`docs/audit.md` has the outcome).
#[test]
#[ignore = "half an hour"]
fn two_hundred_audits_raise_no_more_alarms_than_stated() {
    let (plan, subject) = (reachable(), Noise::new(Fault::None));
    let twin = Twin::new(&plan).expect("a folder");
    let stage = Stage::new(&subject, &twin, Depth::Quick).expect("runs");
    let settled = &stage.all.plan;
    let mut alarms = Vec::new();
    let mut tests = 0;
    for _ in 0..200 {
        let noise = noise::rows(&subject, settled).expect("draws").0;
        let canary = canary::rows(&subject, &twin, settled, 4_000).expect("draws").0;
        let one_run = one_run(&subject, &plan, [4_000, 800]);
        let attacks = attacks::rows(&subject, &twin, &stage, 2_000).expect("draws").0;
        let rows: Vec<Row> = [noise, canary, one_run, attacks]
            .into_iter()
            .flatten()
            .filter(|row| row.confidence < 1.0)
            .collect();
        tests += rows.len();
        alarms.extend(refuted(rows));
    }
    println!("{} alarms in {tests} tests of 200 audits: {alarms:?}", alarms.len());
    assert_eq!(tests, 200 * 16);
    // Of 5 at 0.001, 6 at 0.0003 and 5 at 0.0005, so 1.9 are expected; P[Poisson(1.86) > 7] =
    // 0.0007.
    assert!(alarms.len() <= 7, "{alarms:?}");
}
