//! Attacks of the literature on twins: each with what guessing reaches, what it reaches, and the
//! ceiling that the guarantee sets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::canary::{Canary, Seen};
use super::law::{clopper_pearson, student_low};
use super::power::score_shares;
use super::replay::Stage;
use super::row::{Row, Verdict};
use super::subject::Subject;
use super::twin::{Twin, TwinPayment};
use super::{Claim, Mark, curve};
use crate::error::Result;
use crate::plan::Plan;

/// Releases of each attack, half of them with the user.
pub(super) const RELEASES: usize = 20_000;
/// Releases of the reconstruction.
const RECONSTRUCTED: usize = 40;
/// Users whose presence is asked for at once.
const SECRETS: usize = 60;
/// Chance of a false alarm of each attack's row.
const ALARM: f64 = 0.0005;
/// Rates of false alarms at which attacks are told.
const RATES: [f64; 2] = [0.001, 0.01];

/// All attacks, on so many releases each.
pub(super) fn rows(
    subject: &dyn Subject,
    twin: &Twin,
    stage: &Stage,
    releases: usize,
) -> Result<(Vec<Row>, Vec<Mark>)> {
    let plan = &stage.all.plan;
    let claim = Claim::of(plan);
    let crowd = crowd(stage);
    let (mut rows, mut marks) = (Vec::new(), Vec::new());
    if let Some(heavy) = crowd.values().max_by_key(|own| own.len()) {
        let canary = Canary::of("the busiest of the crowd", subject, twin, plan, heavy)?;
        let seen = canary.releases(subject, releases)?;
        rows.extend(membership(&canary, seen, claim, &mut marks));
    }
    rows.push(reconstruction(subject, twin, plan, &crowd, claim)?);
    let (mall, found) = unicity(&crowd, twin, claim, subject, (plan, releases))?;
    rows.push(mall);
    marks.push(found);
    Ok((rows, marks))
}

type Crowd = BTreeMap<Arc<str>, Vec<TwinPayment>>;

fn crowd(stage: &Stage) -> Crowd {
    let mut users: Crowd = BTreeMap::new();
    for payment in stage.crowd() {
        if let Some(user) = &payment.user {
            users.entry(user.clone()).or_default().push(payment.clone());
        }
    }
    users
}

fn row(what: &str, method: &str, refuted: bool, figure: String, reference: &'static str) -> Row {
    Row {
        check: "attacks",
        what: what.to_owned(),
        method: method.to_owned(),
        verdict: if refuted { Verdict::Refuted } else { Verdict::NotRefuted },
        figure,
        confidence: 1.0 - ALARM,
        reference,
    }
}

/// What an attack reached at a rate of false alarms.
struct Reached {
    rate: f64,
    /// Found, of how many.
    hits: (u64, u64),
    /// The share that may be found at that rate.
    most: f64,
    /// The share that may be found with what chance has made of the threshold.
    most_by_chance: f64,
    /// Is more found than that, chance aside?
    is_beyond: bool,
}

impl Reached {
    fn share(&self) -> f64 {
        self.hits.0 as f64 / self.hits.1 as f64
    }

    fn mark(&self, what: &'static str) -> Mark {
        Mark { what, alarms: self.rate, found: self.share() }
    }

    fn text(&self) -> String {
        format!(
            "at {0:.1} % false alarms guessing finds {0:.1} %, the attack {1:.2} %; at most {2:.2} % may be found, \
             {3:.2} % with what chance may add",
            100.0 * self.rate,
            100.0 * self.share(),
            100.0 * self.most,
            100.0 * self.most_by_chance
        )
    }
}

/// The threshold with this rate of false alarms in `absent`, tried on `present`; a false alarm with
/// probability `alpha` at most, half for the threshold and half for what it finds.
fn reached(claim: Claim, (present, absent): &Pair, rate: f64, alpha: f64) -> Reached {
    let hits = score_shares(present, absent, rate);
    let most_by_chance = claim.ceiling_of_found(rate, absent.len(), alpha / 2.0);
    let is_beyond = clopper_pearson(hits.0, hits.1, alpha / 2.0).0 > most_by_chance;
    Reached { rate, hits, most: claim.ceiling(rate), most_by_chance, is_beyond }
}

/// Scores of releases with what is looked for, and without.
type Pair = (Vec<f64>, Vec<f64>);

/// Releases with and without the user, and two releases each of which the second may be without; in
/// scores.
struct Scores {
    once: Pair,
    twice: Pair,
}

impl Scores {
    /// No release is in two differences, so that all are independent.
    fn new(score: &dyn Fn(&Seen) -> f64, with: &[Seen], without: &[Seen]) -> Scores {
        let scores = |seen: &[Seen]| -> Vec<f64> { seen.iter().map(score).collect() };
        let (with, without) = (scores(with), scores(without));
        let third = with.len() / 3;
        let pairs = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect();
        let gone = pairs(&with[..third], &without[..third]);
        let stayed = pairs(&with[third..2 * third], &with[2 * third..]);
        Scores { once: (with, without), twice: (gone, stayed) }
    }
}

/// Membership by likelihood ratio in one release, and by the difference of two of which the second
/// may be without the user; then both with each pair of levels alone.
fn membership(
    canary: &Canary,
    (with, without): (Vec<Seen>, Vec<Seen>),
    claim: Claim,
    marks: &mut Vec<Mark>,
) -> Vec<Row> {
    let all = Scores::new(&|seen| canary.score(seen, &|_| true), &with, &without);
    let mut told = |what: &'static str, pair: &Pair| {
        let all = RATES.map(|rate| reached(claim, pair, rate, ALARM / 2.0));
        marks.extend(all.iter().map(|reached| reached.mark(what)));
        let refuted = all.iter().any(|reached| reached.is_beyond);
        (all.map(|reached| reached.text()).join("; "), refuted)
    };
    let (figure, refuted) = told("membership", &all.once);
    let first = row(
        "membership inference: whether a user of the crowd is in the data",
        "likelihood ratio, with all other users known; the threshold from half of the releases without the user",
        refuted,
        figure,
        "Carlini et al. 2022, arXiv:2112.03570",
    );
    let (figure, refuted) = told("two releases", &all.twice);
    let second = row(
        "differencing: whether a user left between two releases",
        "differences of two releases of all levels and statistics, weighed by what the user adds to each",
        refuted,
        figure,
        "docs/privacy.md, Theorem 2",
    );
    vec![first, second, level_pairs(canary, claim, &with, &without)]
}

/// The same with two levels only, such as a region less its merchants: all pairs, at 1 % of false
/// alarms.
fn level_pairs(canary: &Canary, claim: Claim, with: &[Seen], without: &[Seen]) -> Row {
    let levels = canary.plan().levels.len();
    let pairs: Vec<(usize, usize)> =
        (0..levels).flat_map(|a| (a..levels).map(move |b| (a, b))).collect();
    let (mut refuted, mut best) = (false, None::<(Reached, String)>);
    for &(a, b) in &pairs {
        let score = |seen: &Seen| canary.score(seen, &|level| level == a || level == b);
        let scores = Scores::new(&score, with, without);
        for (pair, word) in [(scores.once, "one release"), (scores.twice, "two")] {
            let reached = reached(claim, &pair, RATES[1], ALARM / (2 * pairs.len()) as f64);
            refuted |= reached.is_beyond;
            if best.as_ref().is_none_or(|(most, _)| most.share() < reached.share()) {
                let file = |at: usize| &canary.plan().levels[at].file;
                let name = format!("{} and {} of {word}", file(a), file(b));
                best = Some((reached, name));
            }
        }
    }
    let figure = best.map_or_else(String::new, |(reached, name)| {
        format!("{} pairs; the best, {name}: {}", pairs.len(), reached.text())
    });
    row(
        "differencing of levels: whether one level less another tells of a user",
        "the same likelihood ratios over two levels alone, for all pairs of levels, of one release and of two",
        refuted,
        figure,
        "docs/privacy.md, Theorem 1",
    )
}

/// Least squares with box constraints for the presence of many users at once, all payments known.
fn reconstruction(
    subject: &dyn Subject,
    twin: &Twin,
    plan: &Plan,
    crowd: &Crowd,
    claim: Claim,
) -> Result<Row> {
    let users: Vec<&Vec<TwinPayment>> = crowd.values().take(2 * SECRETS).collect();
    let mut right = Vec::new();
    let mut secret = 0x9E37_79B9_7F4A_7C15u64;
    let canaries: Result<Vec<Canary>> =
        users.iter().map(|own| Canary::of("of the crowd", subject, twin, plan, own)).collect();
    let canaries = canaries?;
    let cells = Columns::of(&canaries);
    for _ in 0..RECONSTRUCTED {
        let present: Vec<bool> = users
            .iter()
            .map(|_| {
                secret ^= secret << 13;
                secret ^= secret >> 7;
                secret ^= secret << 17;
                secret & 1 == 1
            })
            .collect();
        let seen = cells.release(subject, &canaries, &present)?;
        let guess = cells.reconstruct(&seen, users.len());
        let own = guess.iter().zip(&present).filter(|(g, p)| (**g > 0.5) == **p).count();
        right.push(own as f64 / users.len() as f64);
    }
    // Of one bit with even odds the best test is right Φ(μ/2) of the time, but for thresholds'
    // delta.
    let most = 1.0 - curve::tail(claim.mu / 2.0) + claim.threshold_delta;
    // Guesses within a release hang together, releases do not: Student's bound on their mean.
    let (mean, low) = student_low(&right, ALARM);
    Ok(row(
        "reconstruction: who of many users is in the data",
        "least squares with box constraints over all noised values, all payments of all users known",
        low > most,
        format!(
            "{} users, {RECONSTRUCTED} releases: guessing is right for 50 %, the attack for {:.1} % (at least {:.1} % \
             by Student's law), at most {:.1} % may be",
            users.len(),
            100.0 * mean,
            100.0 * low,
            100.0 * most
        ),
        "Dinur and Nissim 2003; Dick et al. 2023, arXiv:2211.03128",
    ))
}

/// Noised values of the cells that some users are in, and what each user adds to them, over σ.
struct Columns {
    /// user → (number, what is added)
    signals: Vec<Vec<(usize, f64)>>,
    numbers: usize,
    plan: Plan,
    keys: Vec<Vec<crate::plan::CellKey>>,
}

impl Columns {
    fn of(canaries: &[Canary]) -> Columns {
        let plan = canaries[0].plan().clone();
        let mut keys: Vec<BTreeSet<crate::plan::CellKey>> =
            vec![BTreeSet::new(); plan.levels.len()];
        for canary in canaries {
            for (keys, level) in keys.iter_mut().zip(&canary.with().levels) {
                keys.extend(level.keys.iter().cloned());
            }
        }
        let keys: Vec<Vec<_>> = keys.into_iter().map(|keys| keys.into_iter().collect()).collect();
        let mut columns = Columns { signals: Vec::new(), numbers: 0, plan, keys };
        for canary in canaries {
            let (mut signal, mut first) = (Vec::new(), 0);
            for (place, level) in columns.plan.levels.iter().enumerate() {
                let own = &canary.with().levels[place];
                for (row, statistic) in level.statistics.iter().enumerate() {
                    let (sigma, width) = (statistic.noise.sigma as f64, statistic.width);
                    for (at, key) in own.keys.iter().enumerate() {
                        let found = columns.keys[place].binary_search(key);
                        let cell = found.expect("cannot fail because all keys were gathered");
                        for bin in 0..width {
                            let value = own.sums[row][at * width + bin] as f64 / sigma;
                            if value.abs() > 0.0 {
                                signal.push((first + cell * width + bin, value));
                            }
                        }
                    }
                    first += columns.keys[place].len() * width;
                }
            }
            columns.numbers = first;
            columns.signals.push(signal);
        }
        columns
    }

    /// A release of the users that are present, in standard deviations.
    fn release(
        &self,
        subject: &dyn Subject,
        canaries: &[Canary],
        present: &[bool],
    ) -> Result<Vec<f64>> {
        use crate::engine::{ExactTotals, LevelTotals};
        let mut levels = Vec::new();
        for (place, level) in self.plan.levels.iter().enumerate() {
            let keys = self.keys[place].clone();
            let mut sums: Vec<Vec<i64>> =
                level.statistics.iter().map(|s| vec![0; keys.len() * s.width]).collect();
            for (canary, _) in canaries.iter().zip(present).filter(|(_, present)| **present) {
                let own = &canary.with().levels[place];
                for (row, statistic) in level.statistics.iter().enumerate() {
                    let width = statistic.width;
                    for (at, key) in own.keys.iter().enumerate() {
                        let cell = keys.binary_search(key);
                        let cell = cell.expect("cannot fail because all keys were gathered");
                        for bin in 0..width {
                            sums[row][cell * width + bin] += own.sums[row][at * width + bin];
                        }
                    }
                }
            }
            levels.push(LevelTotals { keys, sums });
        }
        let (noisy, _) = subject.release(&self.plan, ExactTotals { levels }, None)?;
        let mut seen = Vec::with_capacity(self.numbers);
        for (noisy, level) in noisy.levels.iter().zip(&self.plan.levels) {
            for (values, statistic) in noisy.values.iter().zip(&level.statistics) {
                seen.extend(values.iter().map(|&v| v as f64 / statistic.noise.sigma as f64));
            }
        }
        Ok(seen)
    }

    /// Projected gradient: shares of presence between 0 and 1 that fit best.
    fn reconstruct(&self, seen: &[f64], users: usize) -> Vec<f64> {
        let largest: f64 =
            self.signals.iter().map(|s| s.iter().map(|(_, v)| v * v).sum::<f64>()).sum();
        let mut guess = vec![0.5; users];
        for _ in 0..400 {
            let mut rest = seen.to_vec();
            for (signal, share) in self.signals.iter().zip(&guess) {
                signal.iter().for_each(|&(at, value)| rest[at] -= value * share);
            }
            for (signal, share) in self.signals.iter().zip(&mut guess) {
                let slope: f64 = signal.iter().map(|&(at, value)| value * rest[at]).sum();
                *share = (*share + slope / largest).clamp(0.0, 1.0);
            }
        }
        guess
    }
}

/// How many users of the raw twin are alone with p of their purchases (shop and day), and what
/// whoever knows these purchases learns from a release.
fn unicity(
    crowd: &Crowd,
    twin: &Twin,
    claim: Claim,
    subject: &dyn Subject,
    (plan, releases): (&Plan, usize),
) -> Result<(Row, Mark)> {
    let spot = |p: &TwinPayment| (p.merchant.clone(), p.time.div_euclid(86_400));
    let mut visitors: BTreeMap<(Arc<str>, i64), BTreeSet<&Arc<str>>> = BTreeMap::new();
    for (user, payments) in crowd {
        for payment in payments {
            visitors.entry(spot(payment)).or_default().insert(user);
        }
    }
    let mut alone = [(0u64, 0u64); 6];
    let mut known = Vec::new();
    for (number, payments) in crowd.values().enumerate() {
        for p in 1..=6 {
            if payments.len() < p {
                continue;
            }
            // Purchases spread over the user's own.
            let step = payments.len() / p;
            let chosen: Vec<&TwinPayment> =
                (0..p).map(|i| &payments[(i * step + number) % payments.len()]).collect();
            let sets = chosen.iter().map(|payment| &visitors[&spot(payment)]);
            let common = sets.fold(None::<BTreeSet<&Arc<str>>>, |all, set| {
                Some(
                    all.map_or_else(|| set.clone(), |all| all.intersection(set).copied().collect()),
                )
            });
            alone[p - 1].1 += 1;
            alone[p - 1].0 += u64::from(common.is_some_and(|common| common.len() == 1));
            if p == 6 && known.is_empty() {
                known = chosen.into_iter().cloned().collect();
            }
        }
    }
    let shares: Vec<String> = alone
        .iter()
        .filter(|(_, of)| *of > 0)
        .map(|(hits, of)| format!("{:.0} %", 100.0 * *hits as f64 / *of as f64))
        .collect();
    let canary = Canary::of("by six purchases", subject, twin, plan, &known)?;
    let (with, without) = canary.releases(subject, releases)?;
    let scores = Scores::new(&|seen| canary.score(seen, &|_| true), &with, &without).once;
    let reached = reached(claim, &scores, RATES[1], ALARM);
    let mark = reached.mark("six purchases known");
    let row = row(
        "shopping mall: who is alone with a few purchases, in the payments and in the release",
        "users of the twin whose p purchases (shop and day) are nobody else's; then those of one such user \
         looked for in releases",
        reached.is_beyond,
        format!(
            "in the payments {} are alone with 1 to 6 purchases; in the release whoever knows six recognises the \
             user in {:.2} % of cases at 1 % false alarms, guessing in 1 %, at most {:.2} % may be",
            shares.join(", "),
            100.0 * reached.share(),
            100.0 * reached.most
        ),
        "de Montjoye et al., Science 2015, 347:536",
    );
    Ok((row, mark))
}
