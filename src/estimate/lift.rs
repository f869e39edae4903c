//! Lifts: users who paid at both of a pair, against how many there would be if who pays at one were
//! no likelier than others to pay at the other.

use std::collections::HashMap;

use super::compared::{Part, parts, ratio};
use super::model::{Model, Report};
use super::ratio::{Ratios, SIGNAL_MIN, range, within};
use super::{Values, View};
use crate::job::{Key, StatisticKind};
use crate::plan::{CellKey, CellSpace, KeyValue, LevelPlan, PairLevels};

/// The lifts of all pairs of a level.
pub(super) struct Lifts(Ratios);

/// What lifts take for each cell of a level of pairs, in bytes.
pub(super) fn bytes(level: &LevelPlan) -> u64 {
    // Of each pair its lift, and what it and both of its values come to.
    let key = CellSpace::key_bytes(level.keys.len());
    level.pairs.as_ref().map_or(0, |_| key + 4 * size_of::<Part>() as u64)
}

impl Lifts {
    /// Looks at all cells of a level of pairs, and at those by which they are judged.
    pub(super) fn new(view: &View, pairs: &PairLevels, singles: &View, whole: &View) -> Lifts {
        let all = |view: &View| -> Vec<Part> {
            let rows: Vec<usize> = (0..view.noisy.keys.len()).collect();
            parts(view, StatisticKind::Customers, &rows)
        };
        let (of_singles, of_whole) = (all(singles), all(whole));
        let judges = Judges::new(pairs, &singles.noisy.keys, &whole.noisy.keys);
        // A share of both doubts would cancel out; that it does not is on the safe side.
        let doubts = [view, singles, singles, whole].map(|v| v.doubt(StatisticKind::Customers));
        let doubt = doubts.iter().fold(0.0, |all: f64, doubt| all.hypot(*doubt));
        let lift = |(own, key): (Part, &CellKey)| {
            let [first, second, all] = judges.of(key);
            let expected = expected(&of_singles[first], &of_singles[second], &of_whole[all]);
            let sd = own.value.1.hypot(doubt * own.value.0.max(own.estimate));
            let own = Part { value: (own.value.0, sd), ..own };
            within(ratio(&own, &expected, (0.0, 0.0), (1.0, range(false))), 0.0, f64::INFINITY)
        };
        Lifts(all(view).into_iter().zip(&view.noisy.keys).map(lift).collect())
    }

    /// Those of some rows.
    pub(super) fn values(&self, rows: &[usize]) -> Values {
        Values::Counts(rows.iter().map(|&row| self.0[row]).collect())
    }
}

/// The cells by which pairs are judged, by key.
pub(super) struct Judges<'k> {
    pairs: &'k PairLevels,
    singles: HashMap<&'k [KeyValue], usize>,
    whole: HashMap<&'k [KeyValue], usize>,
}

impl<'k> Judges<'k> {
    pub(super) fn new(
        pairs: &'k PairLevels,
        singles: &'k [CellKey],
        whole: &'k [CellKey],
    ) -> Judges<'k> {
        let by_key = |keys: &'k [CellKey]| keys.iter().map(|key| &**key).zip(0..).collect();
        Judges { pairs, singles: by_key(singles), whole: by_key(whole) }
    }

    /// The cells of a pair's first value and of its second, and that of all users.
    pub(super) fn of(&self, key: &[KeyValue]) -> [usize; 3] {
        let why = "cannot fail because both levels are public, of the same job";
        let at = |cells: &HashMap<&[KeyValue], usize>, places: &[usize]| {
            let key: Vec<KeyValue> = places.iter().map(|&place| key[place].clone()).collect();
            *cells.get(&*key).expect(why)
        };
        let PairLevels { first, second, rest, .. } = self.pairs;
        [at(&self.singles, first), at(&self.singles, second), at(&self.whole, rest)]
    }
}

/// What the model expects of each cell of a level of pairs: users of both if one said nothing of
/// the other. So it is lifts that are drawn towards each other. Of an earlier release's cell it is
/// what is expected of this one's with the same key but for time. `None` if the level is none of
/// pairs, or the report lacks those by which they are judged.
pub(super) fn unrelated(report: &Report, level: usize, models: &[Vec<Model>]) -> Option<Vec<f64>> {
    let pairs = report.plan.levels[level].pairs.as_ref()?;
    let of = |level: usize| -> Option<Vec<f64>> {
        let place = report.plan.levels[level].position(StatisticKind::Customers)?;
        Some(models[level][place].correction.apply(report.noisy((level, place), 0)))
    };
    let (singles, whole) = (of(pairs.singles)?, of(pairs.whole)?);
    let keys = |level: usize| &report.totals.levels[level].keys[..];
    let judges = Judges::new(pairs, keys(pairs.singles), keys(pairs.whole));
    let one = |key: &CellKey| {
        let [first, second, all] = judges.of(key);
        // Noise may be below zero.
        singles[first].max(1.0) * singles[second].max(1.0) / whole[all].max(1.0)
    };
    let mut expected: Vec<f64> = keys(level).iter().map(one).collect();
    let mean = expected.iter().sum::<f64>() / expected.len().max(1) as f64;
    let plan = &report.plan.levels[level];
    // Sums and numbers of cells by key but for time.
    let mut known: HashMap<Vec<&KeyValue>, (f64, f64)> = HashMap::new();
    if !plan.earlier.is_empty() {
        for (key, expected) in keys(level).iter().zip(&expected) {
            let (sum, count) = known.entry(untimed(plan, key)).or_default();
            (*sum, *count) = (*sum + expected, *count + 1.0);
        }
    }
    for key in plan.earlier.iter().flat_map(|earlier| &earlier.cells.keys) {
        expected.push(known.get(&untimed(plan, key)).map_or(mean, |(sum, count)| sum / count));
    }
    Some(expected)
}

/// A key but for its points in time.
fn untimed<'k>(level: &LevelPlan, key: &'k CellKey) -> Vec<&'k KeyValue> {
    let parts = level.keys.iter().zip(key.iter());
    let dates = |key: &Key| matches!(key, Key::Time(time) if time.has_periods());
    parts.filter(|(key, _)| !dates(key)).map(|(_, value)| value).collect()
}

/// Users of both if one said nothing of the other: the product of both, of all. Its deviation is by
/// the delta method; where one of them is below five deviations of its noise, nothing is known.
fn expected(first: &Part, second: &Part, whole: &Part) -> Part {
    let product = |values: [(f64, f64); 3]| {
        let [one, other, all] = values;
        if values.iter().any(|(value, sd)| *value < SIGNAL_MIN * sd || *value <= 0.0) {
            return (0.0, 1.0);
        }
        let relative = values.iter().fold(0.0, |sum: f64, (value, sd)| sum.hypot(sd / value));
        let value = one.0 * other.0 / all.0;
        (value, relative * value)
    };
    let parts = [first, second, whole];
    let estimate = first.estimate * second.estimate / whole.estimate.max(f64::MIN_POSITIVE);
    Part {
        noisy: product(parts.map(|part| part.noisy)),
        value: product(parts.map(|part| part.value)),
        estimate,
    }
}
