//! The norm of what each user of a twin adds, alone, against the bound: exact integers.

use super::replay::{Stage, thin_out};
use super::row::Row;
use super::subject::Subject;
use super::twin::{Twin, TwinPayment, Unit};
use super::{Depth, Point};
use crate::engine::{ExactSurveys, ExactTotals};
use crate::error::Result;
use crate::plan::{Plan, Selection};
use crate::privacy::NormBound;

/// Every unit of the twin in turn; in a quick audit some of the crowd's.
pub(super) fn rows(
    subject: &dyn Subject,
    twin: &Twin,
    stage: &Stage,
    depth: Depth,
) -> Result<(Vec<Row>, Vec<Point>)> {
    let plan = &stage.all.plan;
    let mut units: Vec<(Unit, Vec<&TwinPayment>)> = stage.units(&twin.world).into_iter().collect();
    if depth == Depth::Quick {
        let mut place = 0;
        units.retain(|((user, _), _)| {
            place += 1;
            user.starts_with("adversary") || place % 3 == 0
        });
    }
    thin_out(&mut units, plan);
    let (mut faults, mut points) = (Vec::new(), Vec::new());
    for ((user, _), payments) in &units {
        twin.write(payments.iter().copied())?;
        let mut asked = twin.plan().clone();
        let (_, totals) = subject.totals(twin, twin.plan(), &mut |exact| {
            if !asked.is_seeking() {
                return Ok(plan.clone());
            }
            measure_round(&asked, &exact, user, &mut faults, &mut points);
            // Nothing is found, so that all rounds see all of the user's cells.
            asked = asked.clone().discover(vec![Vec::new(); exact.round.len()]);
            Ok(if asked.is_seeking() { asked.clone() } else { plan.clone() })
        })?;
        measure(plan, &totals, user, &mut faults, &mut points);
    }
    let count = units.len();
    let most = points.iter().map(|p| p.share).fold(0.0, f64::max);
    let row = Row::exact(
        "bounding",
        "what a user adds to a statistic is within its norm bound, in at most so many private cells",
        "each user of a twin alone through the engine; sum of squares as integers",
        &faults,
        format!("{count} users; the largest norm is {most:.6} of its bound"),
        "docs/privacy.md, Lemma 1",
    );
    Ok((vec![row], points))
}

/// The norm of what one user adds to a round that looks for keys, and in how many cells.
fn measure_round(
    asked: &Plan,
    exact: &ExactSurveys,
    user: &str,
    faults: &mut Vec<String>,
    points: &mut Vec<Point>,
) {
    let seeking = asked.levels.iter().filter_map(|level| Some((level, level.round()?)));
    for ((level, round), totals) in seeking.zip(&exact.round) {
        let most = level.discovery().map_or(0, |discovery| discovery.cells_max as usize);
        let what = format!("a round of {}", level.file);
        if totals.keys.len() > most {
            faults.push(format!("`{user}` has more cells in {what} than count"));
        }
        points.push(norm(&totals.sums[0], round.noise.bound, &what, user, faults));
    }
}

/// The norm of a user's numbers against its bound.
fn norm(sums: &[i64], bound: NormBound, what: &str, user: &str, faults: &mut Vec<String>) -> Point {
    let square = |&sum: &i64| u128::from(sum.unsigned_abs()).pow(2);
    // Totals are below 2⁶³.
    let squares = sums.iter().map(square).fold(0u128, u128::saturating_add);
    let bound = u128::from(bound.norm());
    if squares > bound * bound {
        faults.push(format!("`{user}` is beyond the bound of {what}"));
    }
    let share = (squares as f64).sqrt() / bound as f64;
    Point { what: what.to_owned(), why: user.to_owned(), share }
}

/// The norms of one user's totals.
fn measure(
    plan: &Plan,
    totals: &ExactTotals,
    user: &str,
    faults: &mut Vec<String>,
    points: &mut Vec<Point>,
) {
    for (level, totals) in plan.levels.iter().zip(&totals.levels) {
        if let Selection::Threshold { cells_max, .. } = level.selection {
            let own = totals.keys.iter().filter(|key| level.always.binary_search(key).is_err());
            if own.count() > cells_max as usize {
                faults.push(format!("`{user}` has more cells in {} than count", level.file));
            }
        }
        for (statistic, sums) in level.statistics.iter().zip(&totals.sums) {
            let what = format!("{} of {}", statistic.kind.name(), level.file);
            points.push(norm(sums, statistic.noise.bound, &what, user, faults));
        }
    }
}
