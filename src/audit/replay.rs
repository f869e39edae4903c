//! Record and replay (Cebere et al. 2026): a run on a twin, and on the twin without one user, under
//! the same known noise. What differs is what that user does, exactly.

use std::collections::{BTreeMap, BTreeSet};

use super::adversaries::{Adversary, adversaries, blanks};
use super::row::Row;
use super::subject::{Replay, Subject, key, replay};
use super::twin::{Twin, TwinPayment, TwinSize, Unit, World};
use super::{Depth, Point};
use crate::engine::reference::Reference;
use crate::engine::{Engine, ExactTotals, LevelTotals};
use crate::error::Result;
use crate::mechanism::{KnownTotals, NoisyLevel, add_known_noise};
use crate::payments::ScanControl;
use crate::plan::{CellKey, LevelPlan, Plan, Selection, Survey};

const PAPER: &str = "Cebere et al., arXiv:2602.17454; docs/privacy.md, Lemmas 1 and 2";

/// What the replays have found.
#[derive(Default)]
struct Found {
    users: usize,
    calls: usize,
    order: Vec<String>,
    bound: Vec<String>,
    support: Vec<String>,
    surveys: Vec<String>,
    points: Vec<Point>,
}

/// A twin with adversaries in it, and the run on all of it.
pub(super) struct Stage {
    crowd: Vec<TwinPayment>,
    adversaries: Vec<Adversary>,
    pub(super) all: Replay,
}

impl Stage {
    /// Bounds that are open come from a first run on the crowd alone.
    pub(super) fn new(subject: &dyn Subject, twin: &Twin, depth: Depth) -> Result<Stage> {
        let (users, payments) = if depth == Depth::Quick { (300, 6_000) } else { (2_000, 40_000) };
        let crowd = twin.world.crowd(TwinSize { users, payments, seed: 11 })?;
        twin.write(crowd.iter())?;
        let all = replay(subject, twin, None)?;
        let most = if depth == Depth::Quick { 20_000 } else { 1_000_000 };
        let adversaries = adversaries(&twin.world, &all.plan, most);
        let mut stage = Stage { adversaries, crowd, all };
        twin.write(stage.payments())?;
        stage.all = replay(subject, twin, None)?;
        Ok(stage)
    }

    pub(super) fn crowd(&self) -> &[TwinPayment] {
        &self.crowd
    }

    pub(super) fn payments(&self) -> impl Iterator<Item = &TwinPayment> {
        self.crowd.iter().chain(self.adversaries.iter().flat_map(|a| &a.payments))
    }

    /// All units, with their payments.
    pub(super) fn units(&self, world: &World) -> BTreeMap<Unit, Vec<&TwinPayment>> {
        let mut units: BTreeMap<Unit, Vec<&TwinPayment>> = BTreeMap::new();
        for payment in self.payments() {
            if let Some(unit) = world.unit(payment) {
                units.entry(unit).or_default().push(payment);
            }
        }
        units
    }

    /// Of each adversary the unit with most payments, and some of the crowd, each with a reason.
    pub(super) fn removed(&self, world: &World, crowd: usize) -> Vec<(Unit, String)> {
        let units = self.units(world);
        let most = |adversary: &Adversary| {
            let own = units.iter().filter(|((user, _), _)| *user == adversary.user);
            let most = own.max_by_key(|(_, payments)| payments.len())?;
            Some((most.0.clone(), adversary.why.clone()))
        };
        let others =
            units.keys().filter(|(user, _)| self.adversaries.iter().all(|a| a.user != *user));
        let others = others.take(crowd).map(|unit| (unit.clone(), "of the crowd".to_owned()));
        let mut all: Vec<(Unit, String)> =
            self.adversaries.iter().filter_map(most).chain(others).collect();
        thin_out(&mut all, &self.all.plan);
        all
    }
}

/// Numbers of cells that all runs of a check may noise together.
const WORK_MAX: u128 = 60_000_000;

/// Of what costs a run each, as many as a plan of many cells leaves time for; at least eight.
pub(super) fn thin_out<T>(all: &mut Vec<T>, plan: &Plan) {
    let numbers =
        |level: &LevelPlan| level.cells.count(&plan.job).unwrap_or(0) * level.width() as u128;
    let each: u128 = plan.levels.iter().map(numbers).sum::<u128>().max(1);
    let most = ((WORK_MAX / each) as usize).max(8);
    let step = all.len().div_ceil(most).max(1);
    let mut place = 0;
    all.retain(|_| {
        place += 1;
        (place - 1) % step == 0
    });
}

/// All checks of replays.
pub(super) fn rows(
    subject: &dyn Subject,
    twin: &Twin,
    stage: &Stage,
    depth: Depth,
) -> Result<(Vec<Row>, Vec<Point>)> {
    let all = &stage.all;
    let mut found = Found { calls: all.totals.calls.len(), ..Found::default() };
    let noise = noise_of(all)?;
    for (unit, why) in stage.removed(&twin.world, if depth == Depth::Quick { 8 } else { 40 }) {
        let is_own = |p: &&TwinPayment| twin.world.unit(p).as_ref() == Some(&unit);
        twin.write(stage.payments().filter(|p| !is_own(p)))?;
        let without = replay(subject, twin, Some(&all.plan))?;
        twin.write(stage.payments().filter(is_own))?;
        let alone = expected(twin, &all.plan)?;
        compare(&mut found, &why, (all, &without), &noise, &alone);
        found.users += 1;
    }
    let mut rows = found.rows(&all.plan);
    rows.push(blank_row(subject, twin, stage)?);
    rows.push(settled_row(twin.plan(), all));
    rows.push(files_row(subject, all)?);
    rows.extend(threshold_row(subject, all)?);
    Ok((rows, found.points))
}

/// What a user alone contributes, by the engine that is the definition.
struct Expected {
    totals: ExactTotals,
    surveys: Vec<(Vec<i64>, Option<i64>)>,
}

fn expected(twin: &Twin, plan: &Plan) -> Result<Expected> {
    static NEVER: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    let reference = Reference { control: ScanControl { cancelled: &NEVER, progress: &|_| {} } };
    let mut surveys = Vec::new();
    let (_, totals) = reference.totals(twin.plan(), &mut |exact| {
        if !exact.round.is_empty() {
            return Ok(twin.plan().clone().with_keys_of(plan));
        }
        surveys = exact.surveys.into_iter().map(|s| (s.histogram, s.spread)).collect();
        Ok(plan.clone())
    })?;
    Ok(Expected { totals, surveys })
}

/// The noise of every cell of a replay.
fn noise_of(all: &Replay) -> Result<KnownTotals> {
    let zeros = |level: &NoisyLevel| LevelTotals {
        keys: level.keys.clone(),
        sums: level.values.iter().map(|values| vec![0; values.len()]).collect(),
    };
    let totals = ExactTotals { levels: all.totals.all.iter().map(zeros).collect() };
    add_known_noise(&all.plan, totals, &key(), 1)
}

/// By cell, the numbers of one statistic.
fn cells<'a>(
    level: &LevelPlan,
    keys: &'a [CellKey],
    values: &'a [Vec<i64>],
    place: usize,
) -> BTreeMap<&'a CellKey, &'a [i64]> {
    keys.iter().zip(values[place].chunks_exact(level.statistics[place].width)).collect()
}

/// Compares two replays that differ by one user.
fn compare(
    found: &mut Found,
    why: &str,
    (all, without): (&Replay, &Replay),
    noise: &KnownTotals,
    alone: &Expected,
) {
    if all.totals.calls != without.totals.calls {
        found.order.push(format!("without the user {why}, other calls are made"));
    }
    for (place, level) in all.plan.levels.iter().enumerate() {
        let (with, less) = (&all.totals.all[place], &without.totals.all[place]);
        let known: BTreeSet<&CellKey> = less.keys.iter().collect();
        if let Selection::Threshold { cells_max, .. } = level.selection {
            let lone = with.keys.iter().filter(|key| !known.contains(key)).count();
            if lone > cells_max as usize {
                found
                    .bound
                    .push(format!("the user {why} has {lone} cells alone in {}", level.file));
            }
        }
        for (row, statistic) in level.statistics.iter().enumerate() {
            let noise = cells(level, &with.keys, &noise.all[place].values, row);
            let less = cells(level, &less.keys, &less.values, row);
            let own = &alone.totals.levels[place];
            let own = cells(level, &own.keys, &own.sums, row);
            let (mut squares, mut wrong, mut seen) = (0u128, 0, BTreeSet::new());
            for (cell, numbers) in cells(level, &with.keys, &with.values, row) {
                seen.insert(cell);
                // Of a cell that is there with the user only, what is beyond its noise.
                let before = less.get(cell).unwrap_or(&noise[cell]);
                for (at, (&with, &less)) in numbers.iter().zip(*before).enumerate() {
                    let change = i128::from(with) - i128::from(less);
                    let wanted = own.get(cell).map_or(0, |own| own[at]);
                    wrong += usize::from(change != i128::from(wanted));
                    squares = squares.saturating_add(change.unsigned_abs().saturating_pow(2));
                }
            }
            wrong += less.keys().filter(|cell| !seen.contains(*cell)).count();
            let what = format!("{} of {}", statistic.kind.name(), level.file);
            if wrong > 0 {
                found
                    .support
                    .push(format!("the user {why} changes {wrong} cells otherwise: {what}"));
            }
            let bound = u128::from(statistic.noise.bound.norm());
            if squares > bound * bound {
                found.bound.push(format!("the user {why} is beyond the bound: {what}"));
            }
            let share = (squares as f64).sqrt() / bound as f64;
            found.points.push(Point { what, why: why.to_owned(), share });
        }
    }
    compare_surveys(found, why, (all, without), alone);
}

fn compare_surveys(
    found: &mut Found,
    why: &str,
    (all, without): (&Replay, &Replay),
    alone: &Expected,
) {
    let surveys = all.surveys.iter().zip(&without.surveys).zip(&alone.surveys);
    for (((with, less), own), plan) in surveys.zip(&all.plan.surveys) {
        let change: Vec<i64> =
            with.histogram.iter().zip(&less.histogram).map(|(a, b)| a - b).collect();
        let spread = with.spread.zip(less.spread).map(|(a, b)| a - b);
        let squares: u128 = change.iter().map(|c| u128::from(c.unsigned_abs()).pow(2)).sum();
        let beyond = squares > u128::from(plan.histogram.bound.norm()).pow(2)
            || plan.spread.zip(spread).is_some_and(|(m, s)| s.unsigned_abs() > m.bound.norm());
        if beyond {
            found.surveys.push(format!("the user {why} moves a survey further than its bound"));
        } else if change != own.0 || spread != own.1 {
            found.surveys.push(format!("the user {why} changes a survey otherwise than defined"));
        }
    }
}

impl Found {
    fn rows(&self, plan: &Plan) -> Vec<Row> {
        let users = self.users;
        let most = self.points.iter().map(|p| p.share).fold(0.0, f64::max);
        let row = |what: &str, method: &str, faults: &[String], figure: String| {
            Row::exact("replay", what, method, faults, figure, PAPER)
        };
        let mut rows = vec![
            row(
                "the same measurements are called, in the same order, with the same noise",
                "the run on a twin with and without each of some users, adversarial ones among them",
                &self.order,
                format!("{} calls, {users} users removed in turn", self.calls),
            ),
            row(
                "no user moves a statistic further than its declared sensitivity",
                "differences of noised values under the same known noise, squared and added as integers",
                &self.bound,
                format!("{users} users; the furthest came to {:.6} of the bound", most),
            ),
            row(
                "only the user's own cells differ before post-processing, and by what the definition says",
                "the same differences against the reference engine on that user alone",
                &self.support,
                format!("{users} users, {} pairs of user and statistic", self.points.len()),
            ),
        ];
        if !plan.surveys.is_empty() {
            rows.push(row(
                "no user moves a survey further than its bound",
                "differences of noised surveys under the same known noise",
                &self.surveys,
                format!("{users} users, {} surveys", plan.surveys.len()),
            ));
        }
        rows
    }
}

/// Rows without a user must change nothing.
fn blank_row(subject: &dyn Subject, twin: &Twin, stage: &Stage) -> Result<Row> {
    let all = &stage.all;
    let blanks = blanks(&twin.world);
    twin.write(stage.payments().chain(&blanks))?;
    let with = replay(subject, twin, Some(&all.plan))?;
    let same = |(a, b): (&NoisyLevel, &NoisyLevel)| a.keys == b.keys && a.values == b.values;
    let unchanged =
        with.totals.all.iter().zip(&all.totals.all).all(same) && with.surveys == all.surveys;
    let faults: Vec<String> =
        if unchanged { vec![] } else { vec!["they change values".to_owned()] };
    Ok(Row::exact(
        "replay",
        "payments with a blank user count for nobody",
        "the run on the twin with and without such payments",
        &faults,
        format!("{} payments without a user", blanks.len()),
        PAPER,
    ))
}

/// Bounds are a function of noised surveys.
fn settled_row(open: &Plan, all: &Replay) -> Row {
    let (what, method) = (
        "bounds that the job leaves open follow from noised surveys alone",
        "bounds computed again from the noised surveys of the replay",
    );
    if open.surveys.is_empty() {
        let mut row = Row::open("replay", what, "all bounds are known before the run", PAPER);
        row.method = method.to_owned();
        return row;
    }
    let again = all.asked.clone().settle(all.surveys.iter().map(Survey::clone).collect());
    let statistics = |plan: &Plan| -> Vec<_> {
        let of = |level: &LevelPlan| (level.statistics.clone(), level.selection.clone());
        plan.levels.iter().map(of).collect()
    };
    let same = statistics(&again) == statistics(&all.plan);
    let faults = if same { vec![] } else { vec!["the run used other bounds".to_owned()] };
    let figure = format!("{} bounds", open.surveys.len());
    Row::exact("replay", what, method, &faults, figure, "docs/privacy.md, Chosen bounds")
}

/// Files are a function of the noised values that are shown: nothing else reaches them.
fn files_row(subject: &dyn Subject, all: &Replay) -> Result<Row> {
    let made = subject.files(&all.plan, &all.totals)?;
    let program = super::subject::Program::within(1);
    let again = program.files(&all.plan, &all.totals)?;
    let mut faults = Vec::new();
    for (name, bytes) in &made {
        if again.iter().find(|(known, _)| known == name).map(|(_, bytes)| bytes) != Some(bytes) {
            faults.push(format!("`{name}` is not what follows from the noised values"));
        }
    }
    if made.len() != again.len() {
        faults.push("there are other files".to_owned());
    }
    Ok(Row::exact(
        "replay",
        "files, footers and the order of rows follow from noised values alone",
        "the release of the replay made again from its noised values, on one thread",
        &faults,
        format!("{} files, byte for byte", made.len()),
        "docs/privacy.md, Post-processing",
    ))
}

/// A private cell whose score is at its threshold is shown, one that is one below is not.
fn threshold_row(subject: &dyn Subject, all: &Replay) -> Result<Option<Row>> {
    let (mut tried, mut faults) = (0, Vec::new());
    for (place, level) in all.plan.levels.iter().enumerate() {
        let Selection::Threshold { score, .. } = &level.selection else { continue };
        // Any cell that is not shown anyway; its noise is known.
        let keys = &all.totals.all[place].keys;
        let Some(cell) = keys.iter().find(|key| level.always.binary_search(key).is_err()) else {
            continue;
        };
        let step = score.weights.iter().fold(0, |a, &b| gcd(a, b)) as i128;
        let threshold = i128::from(score.threshold);
        let least = threshold.div_euclid(step) * step
            + if threshold.rem_euclid(step) > 0 { step } else { 0 };
        for (wanted, shown) in [(least, true), (least - step, false)] {
            let Some(values) = values_with(&score.weights, wanted) else { continue };
            let is_shown = is_shown(subject, all, place, cell, &values)?;
            tried += 1;
            if is_shown != shown {
                let word = if shown { "not shown at" } else { "shown below" };
                faults.push(format!("a cell of {} is {word} its threshold", level.file));
            }
        }
    }
    let figure = format!("{tried} cells at their threshold or the next score below");
    let row = Row::exact(
        "replay",
        "a private key is shown from its threshold on, and not below",
        "totals chosen so that with the known noise the score is the threshold, or just below",
        &faults,
        figure,
        "docs/privacy.md, Lemma 4",
    );
    Ok((tried > 0).then_some(row))
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Noised values whose weighted sum is `wanted`, by Euclid's algorithm over all weights.
fn values_with(weights: &[u64], wanted: i128) -> Option<Vec<i64>> {
    let mut factors = vec![0i128; weights.len()];
    let mut sum = 0i128;
    for (at, &weight) in weights.iter().enumerate() {
        // sum·a + weight·b = gcd; then factors of before are multiplied with a.
        let (divisor, a, b) = extended(sum, i128::from(weight));
        factors.iter_mut().take(at).for_each(|factor| *factor *= a);
        factors[at] = b;
        sum = divisor;
    }
    if sum == 0 || wanted % sum != 0 {
        return None;
    }
    // The first weighed value takes the bulk, so that none becomes too large.
    let (bulk, &weight) = weights.iter().enumerate().find(|&(_, &weight)| weight > 0)?;
    let weight = i128::from(weight);
    let (whole, rest) = (wanted.div_euclid(weight), wanted.rem_euclid(weight) / sum);
    let mut values: Vec<i128> = factors.iter().map(|factor| factor * rest).collect();
    values[bulk] += whole;
    values.into_iter().map(|value| i64::try_from(value).ok()).collect()
}

/// (g, a, b) with x·a + y·b = g, the greatest common divisor.
fn extended(x: i128, y: i128) -> (i128, i128, i128) {
    if y == 0 {
        return (x, 1, 0);
    }
    let (divisor, a, b) = extended(y, x % y);
    (divisor, b, a - x / y * b)
}

/// Is a cell shown whose noised values are these?
fn is_shown(
    subject: &dyn Subject,
    all: &Replay,
    place: usize,
    cell: &CellKey,
    values: &[i64],
) -> Result<bool> {
    let noise = |totals: ExactTotals| add_known_noise(&all.plan, totals, &key(), 1);
    let one = |sums: &dyn Fn(usize) -> i64| {
        let levels = all.plan.levels.iter().enumerate().map(|(at, level)| {
            let keys = if at == place { vec![cell.clone()] } else { level.always.clone() };
            let column = |(row, s): (usize, &crate::plan::StatisticPlan)| {
                vec![if at == place { sums(row) } else { 0 }; keys.len() * s.width]
            };
            let sums = level.statistics.iter().enumerate().map(column).collect();
            LevelTotals { keys, sums }
        });
        ExactTotals { levels: levels.collect() }
    };
    let noise = noise(one(&|_| 0))?;
    let first = |row: usize| noise.all[place].values[row][0];
    let totals = one(&|row| values[row].saturating_sub(first(row)));
    let known = subject.known(&all.plan, totals, &key())?;
    Ok(!known.shown[place].keys.is_empty())
}
