//! Rounds that find keys: their thresholds and noise, which no release shows. With a known key the
//! least total with which a cell is found tells the noise of that cell.

use super::law::{chi_squared_tail, two_sided};
use super::row::{Row, Verdict};
use super::subject::{Subject, key};
use crate::engine::{ExactSurveys, LevelTotals};
use crate::error::Result;
use crate::plan::{CellKey, KeyValue, LevelPlan, Plan};

/// Cells of each round.
const CELLS: usize = 400;

/// Chance of a false alarm, but that the key is always the same.
const ALARM: f64 = 1e-4;

/// The rounds of a plan that has not been run; none where no keys are discovered.
pub(super) fn rows(subject: &dyn Subject, open: &Plan) -> Result<Vec<Row>> {
    let (mut plan, mut drawn) = (open.clone(), Vec::new());
    while plan.is_seeking() {
        let found = noise_of(subject, &plan)?;
        let seeking = plan.levels.iter().filter(|level| level.round().is_some()).count();
        drawn.extend(found);
        plan = plan.discover(vec![Vec::new(); seeking]);
    }
    if drawn.is_empty() {
        return Ok(Vec::new());
    }
    // The smallest of several chances, as if it were one.
    let pairs = drawn.len() * (drawn.len() - 1) / 2;
    let tests = (2 * drawn.len() + pairs) as f64;
    let own = drawn.iter().flat_map(|values| [mean(values), size(values)]);
    let both = (0..drawn.len()).flat_map(|b| (0..b).map(move |a| (a, b)));
    let both = both.map(|(a, b)| related(&drawn[a], &drawn[b]));
    let p = (own.chain(both).fold(1.0, f64::min) * tests).min(1.0);
    let rounds = drawn.len();
    Ok(vec![Row {
        check: "replay",
        what:
            "a cell is found from its round's threshold on, with the round's noise and no other's"
                .to_owned(),
        method: format!(
            "the least totals with which {CELLS} cells are found, against the threshold: mean and size of the \
             noise, and what the noises of two rounds have in common"
        ),
        verdict: if p < ALARM { Verdict::Refuted } else { Verdict::NotRefuted },
        figure: format!("{rounds} rounds; p = {p:.2e}"),
        confidence: 1.0 - ALARM,
        reference: "docs/privacy.md, Lemma 6",
    }])
}

/// Of the next round of each level the noise of some cells, in standard deviations.
fn noise_of(subject: &dyn Subject, plan: &Plan) -> Result<Vec<Vec<f64>>> {
    let levels: Vec<(usize, Vec<CellKey>)> = plan
        .levels
        .iter()
        .enumerate()
        .filter(|(_, level)| level.round().is_some())
        .map(|(place, level)| (place, cells(level)))
        .collect();
    let round = |place: usize| plan.levels[place].round().expect("cannot fail because it seeks");
    // Beyond 16 deviations of what is found at the threshold without noise.
    let far = |place: usize| 16 * round(place).noise.sigma as i64;
    let range = |place: usize| {
        let threshold = round(place).threshold;
        (threshold - far(place), threshold + far(place))
    };
    let mut ranges: Vec<Vec<(i64, i64)>> =
        levels.iter().map(|(place, cells)| vec![range(*place); cells.len()]).collect();
    // The least total lies above the first of a range, and at most at the second.
    while ranges.iter().flatten().any(|(low, high)| high - low > 1) {
        let middle = |(low, high): &(i64, i64)| low.midpoint(*high);
        let round = levels.iter().zip(&ranges).map(|((_, keys), ranges)| LevelTotals {
            keys: keys.clone(),
            sums: vec![ranges.iter().map(middle).collect()],
        });
        let exact = ExactSurveys { surveys: Vec::new(), round: round.collect() };
        let after = subject.find(plan, exact, &key())?;
        for ((place, keys), ranges) in levels.iter().zip(&mut ranges) {
            let found = &after.levels[*place].always;
            for (cell, range) in keys.iter().zip(ranges) {
                let middle = range.0.midpoint(range.1);
                let is_found = found.binary_search(cell).is_ok();
                if is_found { range.1 = middle } else { range.0 = middle }
            }
        }
    }
    let noise = |(place, ranges): (usize, Vec<(i64, i64)>)| {
        let round = round(place);
        let one = |(_, least)| (round.threshold - least) as f64 / round.noise.sigma as f64;
        ranges.into_iter().map(one).collect()
    };
    Ok(levels.iter().map(|(place, _)| *place).zip(ranges).map(noise).collect())
}

/// Cells that no payment has.
fn cells(level: &LevelPlan) -> Vec<CellKey> {
    let cell = |n: usize| -> CellKey {
        let text = KeyValue::Text(format!("\u{1}round {n:06}").into());
        vec![text; level.keys.len().max(1)].into()
    };
    (0..CELLS).map(cell).collect()
}

fn mean(values: &[f64]) -> f64 {
    two_sided(values.iter().sum::<f64>() / (values.len() as f64).sqrt())
}

fn size(values: &[f64]) -> f64 {
    let squares = values.iter().map(|x| x * x).sum();
    let above = chi_squared_tail(squares, values.len() as f64);
    (2.0 * above.min(1.0 - above)).min(1.0)
}

/// Sums of products of independent values have a deviation of about the root of their number.
fn related(a: &[f64], b: &[f64]) -> f64 {
    let sum: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
    two_sided(sum / (a.len() as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::subject::Program;
    use crate::audit::twin::Twin;
    use crate::engine::{ExactTotals, Settle};
    use crate::fixture::Market;
    use crate::mechanism::{KnownKey, settle_known};
    use crate::plan::Selection;

    /// What is wrong with how cells are found.
    enum Fault {
        Threshold(i64),
        OneStream,
        Sigma,
    }

    struct Mutant(Fault);

    impl Subject for Mutant {
        fn totals(&self, _: &Twin, _: &Plan, _: Settle) -> Result<(Plan, ExactTotals)> {
            panic!("rounds are asked alone")
        }

        fn find(&self, plan: &Plan, exact: ExactSurveys, key: &KnownKey) -> Result<Plan> {
            let mut plan = plan.clone();
            for level in &mut plan.levels {
                let Selection::Discovered(discovery) = &mut level.selection else { continue };
                if matches!(self.0, Fault::OneStream) {
                    // Each round takes itself for the first one.
                    discovery.rounds.retain(|round| round.found.is_none());
                }
                for round in &mut discovery.rounds {
                    match self.0 {
                        Fault::Threshold(less) => round.threshold -= less << round.noise.grid_bits,
                        Fault::Sigma => round.noise.sigma = round.noise.sigma * 7 / 10,
                        Fault::OneStream => {}
                    }
                }
            }
            settle_known(&plan, exact, key, 1)
        }

        fn threads(&self) -> usize {
            1
        }
    }

    fn plan(keys: &str) -> Plan {
        Market::new(&[]).plan(&[format!(
            "levels = [[\"merchant\"], [\"wallet\", \"week\"]]\nkeys = \"{keys}\"\n\
             insights = [\"customers\"]\nbounds = {{ customers = 2 }}"
        )])
    }

    #[test]
    fn rounds_of_the_program_are_not_refuted_and_faults_are() {
        let verdict = |subject: &dyn Subject| {
            let rows = rows(subject, &plan("discovered")).expect("noise");
            assert_eq!(rows.len(), 1);
            assert!(rows[0].figure.starts_with("6 rounds"), "{}", rows[0].figure);
            rows[0].verdict
        };
        assert_eq!(verdict(&Program::within(1)), Verdict::NotRefuted);
        for fault in [Fault::Threshold(5), Fault::OneStream, Fault::Sigma] {
            assert_eq!(verdict(&Mutant(fault)), Verdict::Refuted);
        }
        assert_eq!(rows(&Program::within(1), &plan("private")).expect("nothing").len(), 0);
    }
}
