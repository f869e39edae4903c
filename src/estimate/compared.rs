//! A cell against others: shares, growth and indexes, by estimates and with Fieller's intervals.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::NaiveDate;

use super::peers::Peers;
use super::ratio::{Ends, LEAST, SIGNAL_MIN, fieller, moved, range, shown, within};
use super::{Estimate, Interval, Reason, Values, View, grown};
use crate::job::{Comparison, Key, Period, StatisticKind, TimeKey};
use crate::plan::{CellSpace, KeyValue, LevelPlan, TablePlan, period_key};

/// What is known of a cell, or of several together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Part {
    /// The noised value with the standard deviation of its noise.
    pub(super) noisy: (f64, f64),
    /// The same with what the fit took put back, as far as it differs between cells.
    pub(super) value: (f64, f64),
    pub(super) estimate: f64,
}

/// What cells of a table are compared with.
pub(super) struct Compared {
    /// All cells, by statistic.
    cells: BTreeMap<StatisticKind, Vec<Part>>,
    /// All cells that differ in the shared keys alone, by their other keys.
    wholes: BTreeMap<StatisticKind, HashMap<Vec<KeyValue>, Part>>,
    /// Rows by key; and those of earlier releases, with the place of the release.
    rows: HashMap<Vec<KeyValue>, usize>,
    earlier: HashMap<Vec<KeyValue>, (usize, usize)>,
    peers: Peers,
}

impl Compared {
    /// What the comparisons of a table take for each cell while it is written, in bytes.
    pub(super) fn bytes(level: &LevelPlan, table: &TablePlan) -> u64 {
        let asked = table.insights.iter().filter_map(|insight| insight.compared());
        let asked: BTreeSet<(Comparison, StatisticKind)> =
            asked.filter(|(comparison, _)| !comparison.needs_peers()).collect();
        let (part, key) = (size_of::<Part>() as u64, size_of::<Vec<KeyValue>>() as u64);
        let key = CellSpace::key_bytes(level.keys.len()) + key;
        // Hash tables are nearly half full at least, and have a byte for each entry besides.
        let map = |value: u64| 2 * (key + value + 1) + value;
        let kinds: BTreeSet<StatisticKind> = asked.iter().map(|(_, kind)| *kind).collect();
        let shares = asked.iter().filter(|(comparison, _)| *comparison == Comparison::Share);
        let shares = shares.count() as u64;
        let others = asked.len() as u64 > shares;
        // Rows by key; and of earlier releases, those of the period before and of the year before.
        let earlier = [Comparison::Growth, Comparison::GrowthYear];
        let earlier = earlier.iter().filter(|c| asked.iter().any(|(own, _)| own == *c)).count();
        let earlier = if level.earlier.is_empty() { 0 } else { earlier as u64 };
        let rows = if others { map(size_of::<usize>() as u64) } else { 0 };
        let earlier = earlier * map(size_of::<(usize, usize)>() as u64);
        kinds.len() as u64 * part + shares * map(part) + rows + earlier
    }

    /// Looks at all cells of the level, if the table compares any, and at those of the level that
    /// names the merchants of its cells.
    pub(super) fn new(view: &View, named: Option<&View>) -> Compared {
        let asked = view.shown.insights.iter().filter_map(|insight| insight.compared());
        let asked: Vec<(Comparison, StatisticKind)> =
            asked.filter(|(comparison, _)| !comparison.needs_peers()).collect();
        let all: Vec<usize> = (0..view.noisy.keys.len()).collect();
        let mut own = Compared {
            cells: BTreeMap::new(),
            wholes: BTreeMap::new(),
            rows: HashMap::new(),
            earlier: HashMap::new(),
            peers: Peers::new(view, named),
        };
        for &(comparison, kind) in &asked {
            let cells = own.cells.entry(kind).or_insert_with(|| parts(view, kind, &all));
            if comparison == Comparison::Share {
                let mut wholes: HashMap<Vec<KeyValue>, Part> = HashMap::new();
                for (row, part) in cells.iter().enumerate() {
                    wholes.entry(others(view, row)).or_default().add(part);
                }
                own.wholes.insert(kind, wholes);
            }
        }
        if asked.iter().any(|(comparison, _)| *comparison != Comparison::Share) {
            own.rows = view.noisy.keys.iter().map(|key| key.to_vec()).zip(0..).collect();
            own.earlier = earlier(view, &asked);
        }
        own
    }

    /// Of some rows what they are to those that they are compared with, for each column, and why a
    /// row is told nothing of it.
    pub(super) fn values(
        &self,
        view: &View,
        (comparison, kind): (Comparison, StatisticKind),
        rows: &[usize],
    ) -> (Vec<Values>, Vec<Option<Reason>>) {
        if comparison.needs_peers() {
            let few = |&row: &usize| self.peers.are_few(row).then_some(Reason::Peers);
            let reasons = rows.iter().map(few).collect();
            return (self.peers.values((comparison, kind), rows), reasons);
        }
        let cells = &self.cells[&kind];
        let signed = kind.facts().signed;
        let value = |&row: &usize| {
            let own = &cells[row];
            match comparison {
                Comparison::Share => {
                    let whole = &self.wholes[&kind][&others(view, row)];
                    let both = (own.noisy.1.powi(2), own.value.1.powi(2));
                    let range = if signed { range(signed) } else { (0.0, 1.0) };
                    let share = ratio(own, whole, both, (1.0, range));
                    (if signed { share } else { within(share, 0.0, 1.0) }, None)
                }
                _ => {
                    let growth = match self.other(view, comparison, row) {
                        Some(Other::Row(other)) => {
                            let same = other == row;
                            let both = (own.noisy.1.powi(2), own.value.1.powi(2));
                            let both = if same { both } else { (0.0, 0.0) };
                            let scale = if comparison == Comparison::Index { 100.0 } else { 1.0 };
                            Some(ratio(own, &cells[other], both, (scale, range(signed))))
                        }
                        Some(Other::Earlier(place)) => against_earlier(view, kind, row, place),
                        None => None,
                    };
                    let Some(growth) = growth else { return (NOTHING, Some(Reason::NoPeriod)) };
                    (if signed { growth } else { within(growth, 0.0, f64::INFINITY) }, None)
                }
            }
        };
        let (values, reasons) = rows.iter().map(value).unzip();
        (vec![Values::Counts(values)], reasons)
    }

    /// The cell that a row is compared with, if it is known and both have whole periods.
    fn other(&self, view: &View, comparison: Comparison, row: usize) -> Option<Other> {
        let key = view.noisy.keys[row].to_vec();
        let Some((place, time)) = period_key(&view.level.keys) else {
            return self.earlier.get(&key).copied().map(Other::Earlier);
        };
        let KeyValue::Date(start) = key[place] else { return None };
        let period = view.plan.job.payments.period;
        if !period.holds(time, start) {
            return None;
        }
        let wanted = match comparison {
            Comparison::GrowthYear => time.year_before(start),
            Comparison::Index => time.start(view.shown.base?),
            _ => time.before(start),
        }?;
        let mut other = key;
        other[place] = KeyValue::Date(wanted);
        if period.holds(time, wanted) {
            return self.rows.get(&other).copied().map(Other::Row);
        }
        let known = self.earlier.get(&other).filter(|_| comparison != Comparison::Index);
        known.copied().map(Other::Earlier)
    }
}

/// The estimate of a row against what an earlier release shows of a cell, as anybody can tell from
/// both tables; `None` if it shows nothing of the statistic.
fn against_earlier(
    view: &View,
    kind: StatisticKind,
    row: usize,
    (release, place): (usize, usize),
) -> Option<Estimate<Option<f64>>> {
    let known = view.level.earlier[release].cells.statistics.get(&kind)?;
    let is_seen = known.values[place] >= SIGNAL_MIN * known.sds[place];
    let before = known.shown[place].filter(|before| is_seen && before.value >= LEAST);
    let growth = before.zip(grown::as_shown(view, kind, row));
    let growth = growth.and_then(|(before, own)| grown::ratio(own, &before));
    // Noised values are those of two fits, which have left other parts.
    Some(shown(growth, None, None))
}

enum Other {
    Row(usize),
    Earlier((usize, usize)),
}

const NOTHING: Estimate<Option<f64>> =
    Estimate { interval: Interval::NOTHING, unbiased: None, sd: None };

/// The cells of earlier releases that some cell of this one may be compared with, each with the
/// place of the latest release that has it: of the periods before that a release holds wholly, or
/// at levels without keys of time all of the one that ends the day before this job begins.
fn earlier(
    view: &View,
    asked: &[(Comparison, StatisticKind)],
) -> HashMap<Vec<KeyValue>, (usize, usize)> {
    let mut found = HashMap::new();
    let period = period_key(&view.level.keys);
    let begins = view.plan.job.payments.period.first();
    let wanted = period.map_or_else(BTreeSet::new, |(_, time)| wanted(view, time, asked));
    for (place, release) in view.level.earlier.iter().enumerate() {
        let (first, last) = release.cells.days;
        let holds = |time: TimeKey, start: NaiveDate| {
            Period::new(first, last).is_some_and(|days| days.holds(time, start))
        };
        let is_known = |key: &[KeyValue]| match period.map(|(part, time)| (&key[part], time)) {
            Some((KeyValue::Date(start), time)) => wanted.contains(start) && holds(time, *start),
            Some(_) => false,
            None => last.succ_opt() == Some(begins),
        };
        for (cell, key) in release.cells.keys.iter().enumerate().filter(|(_, key)| is_known(key)) {
            found.entry(key.to_vec()).or_insert((place, cell));
        }
    }
    found
}

/// The periods that those of a level are compared with.
fn wanted(
    view: &View,
    time: TimeKey,
    asked: &[(Comparison, StatisticKind)],
) -> BTreeSet<NaiveDate> {
    let has = |wanted: Comparison| asked.iter().any(|(comparison, _)| *comparison == wanted);
    let mut all = BTreeSet::new();
    for value in view.level.times(&Key::Time(time)) {
        let KeyValue::Date(start) = value else { continue };
        all.extend(time.before(start).filter(|_| has(Comparison::Growth)));
        all.extend(time.year_before(start).filter(|_| has(Comparison::GrowthYear)));
    }
    all
}

impl Part {
    fn add(&mut self, other: &Part) {
        let both = |a: (f64, f64), b: (f64, f64)| (a.0 + b.0, a.1.hypot(b.1));
        self.noisy = both(self.noisy, other.noisy);
        self.value = both(self.value, other.value);
        self.estimate += other.estimate;
    }
}

pub(super) fn parts(view: &View, kind: StatisticKind, rows: &[usize]) -> Vec<Part> {
    let numbers = view.numbers(kind, 0, rows);
    let part = |row: usize| {
        let noise = numbers.noise(row);
        let (noisy, factor) = (numbers.unbiased(row), numbers.factor(row));
        let (value, estimate) = (noisy * factor, numbers.estimate(row));
        let sd = (noise * factor).hypot(numbers.apart(row) * value.max(estimate));
        Part { noisy: (noisy, noise), value: (value, sd), estimate }
    };
    (0..rows.len()).map(part).collect()
}

/// The key of a row without those over which shares add up.
fn others(view: &View, row: usize) -> Vec<KeyValue> {
    let key = view.noisy.keys[row].iter().enumerate();
    key.filter(|(place, _)| !view.shown.share_of.contains(place)).map(|(_, v)| v.clone()).collect()
}

/// One part for each unit of another: of the estimates, with Fieller's interval; and of the noised
/// values. `both` is the covariance of noised values, and of corrected ones; ratios can be no
/// further than the ends, before they are scaled.
pub(super) fn ratio(
    top: &Part,
    bottom: &Part,
    both: (f64, f64),
    (scale, ends): (f64, Ends),
) -> Estimate<Option<f64>> {
    let noised = fieller(top.noisy, bottom.noisy, both.0);
    let interval = fieller(top.value, bottom.value, both.1)
        .filter(|_| bottom.estimate >= LEAST)
        .map(|(known, _)| {
            let value = top.estimate / bottom.estimate;
            let known = moved(known, ends);
            let (low, high) = (known.low.min(value), known.high.max(value));
            let [value, low, high] = [value, low, high].map(|x| Some(scale * x));
            Interval { value, low, high }
        });
    Estimate {
        interval: interval.unwrap_or(Interval::NOTHING),
        unbiased: noised.map(|(known, _)| scale * known.value),
        sd: noised.map(|(_, sd)| scale * sd),
    }
}
