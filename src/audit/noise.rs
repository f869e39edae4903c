//! The noise of a plan, drawn by itself: its law, its size, and whether any two values have to do
//! with each other. Keys are those of a run: from the operating system, one a release.

use super::curve;
use super::law::{chi_squared_tail, poisson_two_sided, two_sided};
use super::row::{Row, Verdict};
use super::subject::{Subject, key};
use crate::engine::{ExactTotals, LevelTotals};
use crate::error::Result;
use crate::plan::{CellKey, KeyValue, LevelPlan, Plan, Selection, StatisticPlan};

/// Releases that are drawn; their cells are the same.
const RELEASES: usize = 4;
/// Values in all, about.
const DRAWS: usize = 1_200_000;
/// Chance of a false alarm of each test here; there are five.
const ALARM: f64 = 0.001;
/// Bins of equal probability.
const BINS: usize = 64;

const SAMPLER: &str = "docs/privacy.md, Lemma 3; Canonne, Kamath and Steinke 2020";

/// Quantiles of the normal law, and of what was drawn.
pub(super) type Quantiles = Vec<(f64, f64)>;

/// What was drawn: by release and statistic its values, in standard deviations and grid units.
struct Drawn {
    names: Vec<String>,
    sigmas: Vec<f64>,
    /// statistic → release → values
    grid: Vec<Vec<Vec<i64>>>,
}

impl Drawn {
    fn all(&self) -> impl Iterator<Item = f64> {
        let one = |(releases, &sigma): (&Vec<Vec<i64>>, &f64)| {
            let values: Vec<f64> =
                releases.iter().flatten().map(|&value| value as f64 / sigma).collect();
            values
        };
        self.grid.iter().zip(&self.sigmas).flat_map(one)
    }
}

/// All tests of noise, and quantiles of what was drawn against those of the normal law.
pub(super) fn rows(subject: &dyn Subject, plan: &Plan) -> Result<(Vec<Row>, Quantiles)> {
    let drawn = draw(subject, plan)?;
    let rows = vec![
        law(&drawn),
        tails(&drawn),
        sizes(&drawn),
        independence(&drawn),
        duplicates(&drawn),
        same_for_all_totals(subject, plan)?,
    ];
    Ok((rows, quantiles(&drawn)))
}

/// A row of a test with a p-value.
fn tested(what: &str, method: &str, p: f64, figure: String) -> Row {
    let verdict = if p < ALARM { Verdict::Refuted } else { Verdict::NotRefuted };
    Row {
        check: "noise",
        what: what.to_owned(),
        method: method.to_owned(),
        verdict,
        figure: format!("{figure}; p = {p:.2e}"),
        confidence: 1.0 - ALARM,
        reference: SAMPLER,
    }
}

/// The plan with all cells shown, so that no choice of keys is between noise and test.
fn all_public(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    plan.levels.iter_mut().for_each(|level| level.selection = Selection::Public);
    plan
}

/// Totals that are the same in so many cells of each level.
fn constant(plan: &Plan, cells: usize, total: i64) -> ExactTotals {
    let level = |level: &LevelPlan| {
        let cell =
            |n: usize| -> CellKey { Box::new([KeyValue::Text(format!("cell {n:08}").into())]) };
        let column = |s: &StatisticPlan| vec![total; cells * s.width];
        LevelTotals {
            keys: (0..cells).map(cell).collect(),
            sums: level.statistics.iter().map(column).collect(),
        }
    };
    ExactTotals { levels: plan.levels.iter().map(level).collect() }
}

fn draw(subject: &dyn Subject, plan: &Plan) -> Result<Drawn> {
    let plan = all_public(plan);
    let numbers: usize = plan.levels.iter().map(LevelPlan::width).sum();
    let cells = (DRAWS / RELEASES / numbers.max(1)).max(500);
    let statistics = || plan.levels.iter().flat_map(|l| l.statistics.iter().map(move |s| (l, s)));
    let mut drawn = Drawn {
        names: statistics().map(|(l, s)| format!("{} of {}", s.kind.name(), l.file)).collect(),
        sigmas: statistics().map(|(_, s)| s.noise.sigma as f64).collect(),
        grid: vec![Vec::new(); statistics().count()],
    };
    for _ in 0..RELEASES {
        let (noisy, _) = subject.release(&plan, constant(&plan, cells, 0), None)?;
        let values = noisy.levels.into_iter().flat_map(|level| level.values);
        drawn.grid.iter_mut().zip(values).for_each(|(grid, values)| grid.push(values));
    }
    Ok(drawn)
}

/// χ² over bins of equal probability. The bins' ends are grid values, so the law of a bin is Φ at
/// half a step beyond them, to 10^-10.
fn law(drawn: &Drawn) -> Row {
    let mut counts = [0u64; BINS];
    let ends: Vec<f64> = (1..BINS).map(|n| curve::quantile(1.0 - n as f64 / BINS as f64)).collect();
    let mut total = 0u64;
    for value in drawn.all() {
        counts[ends.partition_point(|&end| end < value)] += 1;
        total += 1;
    }
    let expected = total as f64 / BINS as f64;
    let square = |&count: &u64| (count as f64 - expected).powi(2) / expected;
    let statistic: f64 = counts.iter().map(square).sum();
    let p = chi_squared_tail(statistic, (BINS - 1) as f64);
    tested(
        "noise has the law of the discrete Gaussian",
        "chi squared over 64 bins of equal probability, all statistics together in units of their sigma",
        p,
        format!("{total} values, chi^2 = {statistic:.1} of {} degrees", BINS - 1),
    )
}

fn tails(drawn: &Drawn) -> Row {
    let (mut beyond, mut total, mut most) = (0u64, 0u64, 0.0f64);
    for value in drawn.all() {
        beyond += u64::from(value.abs() > 4.0);
        total += 1;
        most = most.max(value.abs());
    }
    let mean = total as f64 * two_sided(4.0);
    tested(
        "noise has its tails beyond four standard deviations",
        "how many values lie there, against the Poisson law",
        poisson_two_sided(beyond, mean),
        format!("{beyond} of {total}, {mean:.1} expected; the largest at {most:.2}"),
    )
}

/// Variance of each statistic by itself, and means.
fn sizes(drawn: &Drawn) -> Row {
    let (mut least, mut worst, mut text) = (1.0f64, 1.0, String::new());
    for ((name, sigma), releases) in drawn.names.iter().zip(&drawn.sigmas).zip(&drawn.grid) {
        let values = releases.iter().flatten().map(|&v| v as f64 / sigma);
        let (n, sum, squares) =
            values.fold((0.0, 0.0, 0.0), |(n, s, q), v| (n + 1.0, s + v, q + v * v));
        let upper = chi_squared_tail(squares, n);
        let of_variance = 2.0 * upper.min(1.0 - upper);
        let of_mean = two_sided(sum / f64::sqrt(n));
        for p in [of_variance, of_mean] {
            if p < least {
                (least, worst) = (p, (squares / n).sqrt());
                text = name.clone();
            }
        }
    }
    let tests = 2 * drawn.names.len();
    let p = (least * tests as f64).min(1.0);
    tested(
        "noise of each statistic has its stated standard deviation and no bias",
        "chi squared of the sum of squares and the normal law of the sum, for each statistic",
        p,
        format!("{tests} tests; the furthest is {text}, at {worst:.4} of its sigma"),
    )
}

/// Correlations of values that must have nothing to do with each other.
fn independence(drawn: &Drawn) -> Row {
    let (mut least, mut tests, mut text) = (1.0f64, 0usize, String::new());
    let mut test = |pairs: &mut dyn Iterator<Item = (f64, f64)>, name: &dyn Fn() -> String| {
        let (mut n, mut product) = (0.0f64, 0.0f64);
        for (a, b) in pairs {
            n += 1.0;
            product += a * b;
        }
        // Products of independent standard values have variance 1; n is large.
        let p = if n > 0.0 { two_sided(product / n.sqrt()) } else { 1.0 };
        tests += 1;
        if p < least {
            (least, text) = (p, format!("{} (correlation {:.4})", name(), product / n));
        }
    };
    let value = |statistic: usize, grid: &i64| *grid as f64 / drawn.sigmas[statistic];
    for (s, releases) in drawn.grid.iter().enumerate() {
        let name = &drawn.names[s];
        for lag in [1, 2, 4_096] {
            let neighbours = releases.iter().flat_map(|values| {
                values.iter().zip(values.iter().skip(lag)).map(|(a, b)| (value(s, a), value(s, b)))
            });
            test(&mut neighbours.into_iter(), &|| format!("{name}, {lag} cells apart"));
        }
        for (first, second) in [(0, 1), (1, 2), (2, 3), (0, 3)] {
            let pairs = releases[first].iter().zip(&releases[second]);
            let mut pairs = pairs.map(|(a, b)| (value(s, a), value(s, b)));
            test(&mut pairs, &|| format!("{name}, two releases"));
        }
        for (t, others) in drawn.grid.iter().enumerate().skip(s + 1) {
            let pairs = releases.iter().flatten().zip(others.iter().flatten());
            let mut pairs = pairs.map(|(a, b)| (value(s, a), value(t, b)));
            test(&mut pairs, &|| format!("{name} and {}", drawn.names[t]));
        }
    }
    tested(
        "noise is independent from cell to cell, statistic to statistic and release to release",
        "correlations of neighbours, of cells on other threads, of all pairs of statistics, of releases",
        (least * tests as f64).min(1.0),
        format!("{tests} correlations; the furthest: {text}"),
    )
}

/// Pairs of equal values, against the birthday bound: more mean that noise was used twice.
fn duplicates(drawn: &Drawn) -> Row {
    let (mut least, mut text, mut pairs_all) = (1.0f64, String::new(), 0u64);
    for ((name, &sigma), releases) in drawn.names.iter().zip(&drawn.sigmas).zip(&drawn.grid) {
        let mut values: Vec<i64> = releases.iter().flatten().copied().collect();
        values.sort_unstable();
        let runs = values.chunk_by(|a, b| a == b).map(|run| run.len() as u64);
        let pairs: u64 = runs.map(|n| n * (n - 1) / 2).sum();
        let n = values.len() as f64;
        // Σ p² and Σ p³ of the law, by the integrals of the normal density.
        let root = std::f64::consts::PI.sqrt();
        let (two, three) =
            (1.0 / (2.0 * root * sigma), 1.0 / (2.0 * root * root * 3f64.sqrt() * sigma * sigma));
        let mean = n * (n - 1.0) / 2.0 * two;
        let variance = mean + n.powi(3) * (three - two * two);
        // Where pairs are few, the Poisson law; else it is too narrow.
        let p = match mean {
            0.0..100.0 => poisson_two_sided(pairs, mean),
            _ => two_sided((pairs as f64 - mean) / variance.sqrt()),
        };
        pairs_all += pairs;
        if p < least {
            (least, text) = (p, format!("{name} has {pairs} equal pairs, {mean:.0} expected"));
        }
    }
    tested(
        "no noise is used twice",
        "pairs of equal values over all cells and releases of a statistic, against the birthday bound",
        (least * drawn.names.len() as f64).min(1.0),
        format!("{pairs_all} pairs; the furthest: {text}"),
    )
}

/// What is added does not depend on what it is added to: floats would lose digits of large totals.
fn same_for_all_totals(subject: &dyn Subject, plan: &Plan) -> Result<Row> {
    let plan = all_public(plan);
    let noise = |total: i64| -> Result<Vec<i128>> {
        let known = subject.known(&plan, constant(&plan, 50, total), &key())?;
        let values = known.all.iter().flat_map(|level| level.values.iter().flatten());
        Ok(values.map(|&value| i128::from(value) - i128::from(total)).collect())
    };
    let zero = noise(0)?;
    let mut faults = Vec::new();
    for total in [1, -1, (1 << 31) + 1, (1 << 53) + 1, (1 << 62) - 1, -(1 << 62)] {
        if noise(total)? != zero {
            faults.push(format!("noise for totals of {total} is another than for zero"));
        }
    }
    Ok(Row::exact(
        "noise",
        "noise does not depend on what it is added to, and lies on the grid",
        "the same known noise added to totals of zero, of one, beyond 53 bits and at the end of 62",
        &faults,
        format!("{} values, six totals each", zero.len()),
        SAMPLER,
    ))
}

/// Of what was drawn some quantiles beside those of the normal law.
fn quantiles(drawn: &Drawn) -> Quantiles {
    let mut values: Vec<f64> = drawn.all().collect();
    values.sort_by(f64::total_cmp);
    let n = values.len();
    let places = (1..200).map(|i| f64::from(i) / 200.0);
    let ends = [1e-5, 1e-4, 1e-3].into_iter().flat_map(|p| [p, 1.0 - p]);
    let mut all: Quantiles = places
        .chain(ends)
        .map(|p| (curve::quantile(1.0 - p), values[((p * n as f64) as usize).min(n - 1)]))
        .collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    all
}
