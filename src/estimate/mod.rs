//! Estimates: what a reader sees, computed from noised statistics alone.
//!
//! Post-processing in the sense of `docs/privacy.md`, whose section *Estimates* says what is
//! computed: nothing here can reach a payment, because [`NoisyTotals`] is all it gets.

mod banded;
mod bins;
mod classes;
mod compared;
mod concentration;
mod correction;
mod dominance;
mod earlier;
mod filter;
mod grown;
mod joint;
mod lift;
mod limits;
mod model;
mod numbers;
mod panel;
mod peers;
mod rates;
mod ratio;
mod reconcile;
mod scaled;
mod season;
mod sellers;
mod shrink;
mod suppress;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_compared;
#[cfg(test)]
mod tests_earlier;
#[cfg(test)]
mod tests_insights;
#[cfg(test)]
mod tests_lift;
#[cfg(test)]
mod tests_peers;
#[cfg(test)]
mod tests_shared;
mod tickets;
mod values;

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::job::{CHANGES, Comparison, Insight, Run, StatisticKind, VISIT_CLASSES};
use crate::mechanism::{KnownTotals, NoisyLevel, NoisyTotals};
use crate::plan::{
    CellKey, CellSpace, Cohorts, EarlierValues, KeyValue, LevelPlan, Plan, Recency, TablePlan, Told,
};
use compared::Compared;
use lift::Lifts;
use model::{Model, models};
use numbers::Numbers;
pub use suppress::Reason;
pub use values::{Estimate, Grade, Interval, Values};

/// The tables to release.
///
/// They hold many times what the noised totals and the models take, so they are made a slice at a
/// time.
#[derive(Clone, Debug)]
pub struct Estimates<'p> {
    /// With the cells hidden, too, that noised values say must be.
    plan: Cow<'p, Plan>,
    totals: NoisyTotals,
    /// By level and statistic.
    models: Vec<Vec<Model>>,
}

/// Some rows of the table of one level, in the order of keys.
#[derive(Clone, Debug)]
pub struct Table {
    /// The cells, ascending.
    pub keys: Vec<CellKey>,
    /// The estimates, insight by insight.
    pub columns: Vec<Column>,
}

/// One estimate of every cell.
#[derive(Clone, Debug)]
pub struct Column {
    /// What it estimates.
    pub insight: Insight,
    /// Its name in tables: the insight's, or that of one bin.
    pub name: String,
    /// By cell.
    pub values: Values,
    /// Of each cell why its estimate is not shown; `None`: it is.
    pub suppressed: Vec<Option<Reason>>,
    /// Of each cell the bands in which it is told in place of its value; `None`: the insight has
    /// none.
    pub bands: Option<Vec<Option<Run>>>,
}

/// Two-sided 95 % quantile of the normal law.
const Z95: f64 = 1.959_963_984_540_054;

/// Rows of one slice: with all columns of some twenty insights about 5 MB.
const SLICE: usize = 1 << 11;

/// What the series of a level and the model of one statistic take for each cell while it is found;
/// measured: 130 to 180, and some 40 more where customers are estimated twice (counted).
const MODEL_BYTES: u64 = 256;

/// Estimates every insight of a plan. What comes out does not depend on `threads`.
pub fn estimate(plan: &Plan, totals: NoisyTotals, threads: usize) -> Estimates<'_> {
    let models = models(plan, &totals, threads);
    let judged = dominance::judged(plan, &totals);
    Estimates { plan: judged.map_or(Cow::Borrowed(plan), Cow::Owned), totals, models }
}

/// Estimates from totals with known noise: another type, which no release takes.
#[derive(Debug)]
pub struct KnownEstimates<'p>(Estimates<'p>);

impl<'p> KnownEstimates<'p> {
    /// As [`estimate`] does it.
    pub fn new(plan: &'p Plan, totals: &KnownTotals, threads: usize) -> Self {
        KnownEstimates(estimate(plan, totals.marked(), threads))
    }

    /// Marked as not private.
    pub(crate) fn marked(&self) -> &Estimates<'p> {
        &self.0
    }
}

/// What estimates of public cells take, in bytes: noised values, models, what earlier releases
/// said, and what is needed to find the model of one statistic, or to compare the cells of one
/// table.
pub fn memory(plan: &Plan) -> u64 {
    let cells = |level: &LevelPlan| level.public_cells(&plan.job);
    // Noised values and estimates; of each cell deviations and factors.
    let kept =
        |level: &LevelPlan| cells(level) * (level.width() * 16 + level.statistics.len() * 8) as u64;
    let coarser = |level: &LevelPlan| {
        plan.levels.iter().filter(|coarse| level.splits(coarse, &plan.job)).count() as u64
    };
    let places = |level: &LevelPlan| cells(level) * coarser(level) * size_of::<u32>() as u64;
    let compared = |level: &LevelPlan| {
        let of_tables = level.tables.iter().map(|table| Compared::bytes(level, table));
        of_tables.max().unwrap_or(0) + lift::bytes(level)
    };
    let earlier = |level: &LevelPlan| level.earlier_cells() as u64;
    // Models are found before tables compare cells and merchants.
    let once = |level: &LevelPlan| {
        let compared = cells(level) * (compared(level) + peers::bytes(level));
        compared.max((cells(level) + earlier(level)) * MODEL_BYTES)
    };
    let at_once = plan.levels.iter().map(once).max().unwrap_or(0);
    let known = |level: &LevelPlan| {
        let values = (level.statistics.len() * EarlierValues::BYTES) as u64;
        earlier(level) * (CellSpace::key_bytes(level.keys.len()) + values)
    };
    let all = plan.levels.iter().map(|level| kept(level) + places(level) + known(level));
    all.sum::<u64>() + plan.key_bytes() + at_once
}

impl Estimates<'_> {
    /// Whether the noise is secret; see [`NoisyTotals::is_private`].
    pub fn is_private(&self) -> bool {
        self.totals.is_private()
    }

    /// The plan, with the cells hidden that noised values say must be.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// A table of one level of the plan.
    pub fn table(&self, level: usize, table: usize) -> Shown<'_> {
        let view = self.view(level, table);
        // Rows in the order of keys, and of nothing else.
        let mut rows: Vec<usize> = (0..view.noisy.keys.len()).collect();
        // That a private key is shown tells of its payments.
        if !view.level.is_public() {
            rows.retain(|&row| !view.level.is_hidden(&view.noisy.keys[row]));
        }
        rows.sort_by(|&a, &b| view.parts(a).cmp(view.parts(b)));
        let named = view.shown.peers.as_ref().and_then(|peers| peers.named);
        let named = named.map(|level| self.view(level, 0));
        let compared = Compared::new(&view, named.as_ref());
        let pairs =
            view.level.pairs.as_ref().filter(|_| view.shown.insights.contains(&Insight::Lift));
        let lifts = pairs.map(|pairs| {
            Lifts::new(&view, pairs, &self.view(pairs.singles, 0), &self.view(pairs.whole, 0))
        });
        Shown { view, rows, compared, lifts }
    }

    fn view(&self, level: usize, table: usize) -> View<'_> {
        View {
            plan: &self.plan,
            level: &self.plan.levels[level],
            shown: &self.plan.levels[level].tables[table],
            noisy: &self.totals.levels[level],
            models: &self.models[level],
        }
    }
}

/// A table, before its columns are made.
pub struct Shown<'e> {
    view: View<'e>,
    rows: Vec<usize>,
    compared: Compared,
    lifts: Option<Lifts>,
}

impl Shown<'_> {
    /// Its rows, in the order of keys.
    pub fn rows(&self) -> &[usize] {
        &self.rows
    }

    /// The same by the value of the key at a place.
    pub fn rows_by(&self, place: usize) -> BTreeMap<&KeyValue, Vec<usize>> {
        let place = self.view.shown.places[place];
        let mut rows: BTreeMap<&KeyValue, Vec<usize>> = BTreeMap::new();
        for &row in &self.rows {
            rows.entry(&self.view.noisy.keys[row][place]).or_default().push(row);
        }
        rows
    }

    /// Some of its rows, in slices.
    pub fn slices<'s>(&'s self, rows: &'s [usize]) -> Slices<'s> {
        Slices { shown: self, rows }
    }
}

/// Rows of a table in slices, each of which is made when it is asked for.
pub struct Slices<'s> {
    shown: &'s Shown<'s>,
    rows: &'s [usize],
}

impl Slices<'_> {
    /// How many; at least one, which may be empty.
    pub fn count(&self) -> usize {
        self.rows.len().div_ceil(SLICE).max(1)
    }

    /// The slice at a place.
    pub fn get(&self, place: usize) -> Table {
        let start = place * SLICE;
        let rows = &self.rows[start..self.rows.len().min(start + SLICE)];
        self.shown.view.table(rows, self.shown)
    }
}

/// One level with all that is known of it.
#[derive(Clone, Copy)]
struct View<'e> {
    plan: &'e Plan,
    level: &'e LevelPlan,
    shown: &'e TablePlan,
    noisy: &'e NoisyLevel,
    models: &'e [Model],
}

impl View<'_> {
    /// The key of a row in the order of the table's columns.
    fn parts(&self, row: usize) -> impl Iterator<Item = &KeyValue> {
        self.shown.places.iter().map(move |&place| &self.noisy.keys[row][place])
    }

    /// The table of some rows.
    fn table(&self, rows: &[usize], shown: &Shown) -> Table {
        let mut columns = Vec::new();
        for &insight in &self.shown.insights {
            let parts = part_names((self.plan, self.level), insight);
            let lifts = shown.lifts.as_ref().filter(|_| insight == Insight::Lift);
            let (values, unknown) = match (insight.compared(), lifts) {
                (Some(what), _) => shown.compared.values(self, what, rows),
                (_, Some(lifts)) => (vec![lifts.values(rows)], Vec::new()),
                _ => (self.values(insight, parts.len().max(1), rows), Vec::new()),
            };
            let name = |part: usize| match parts.get(part) {
                Some(part) => format!("{}_{part}", insight.name()),
                None => insight.name().to_owned(),
            };
            let column = |(part, mut values): (usize, Values)| {
                let unknown = match insight.compared() {
                    Some(_) => unknown.clone(),
                    None => self.unknown(insight, part, rows),
                };
                let suppressed = unknown;
                let hidden = (0..values.len()).filter(|&row| suppressed[row].is_some());
                hidden.for_each(|row| values.hide(row));
                Column { insight, name: name(part), values, suppressed, bands: None }
            };
            columns.extend(values.into_iter().enumerate().map(column));
        }
        let hidden = |row: usize| self.level.is_hidden(&self.noisy.keys[rows[row]]);
        for column in &mut columns {
            column.bands = self.bands(column.insight, rows);
            suppress::by_merchants(column, hidden);
            suppress::by_error(column, self.shown.suppress_above);
        }
        let key = |&row: &usize| self.parts(row).cloned().collect();
        Table { keys: rows.iter().map(key).collect(), columns }
    }

    /// Why some rows of a part of an insight tell nothing, whatever their values.
    fn unknown(&self, insight: Insight, part: usize, rows: &[usize]) -> Vec<Option<Reason>> {
        let is_timed = |kind: &&StatisticKind| kind.looks_back() || kind.compares();
        let timed = insight.statistics().iter().find(is_timed);
        let Some(&kind) = timed else { return vec![None; rows.len()] };
        // Rates have none of those who are new.
        let number = if insight == Insight::RetentionRate { part + 1 } else { part };
        let reason = |&row: &usize| match self.level.tells(kind, &self.noisy.keys[row], number) {
            Told::Whole => None,
            Told::NotBefore => Some(Reason::LookBack),
            Told::NotAfter => Some(Reason::LookAhead),
            Told::NoPeriod => Some(Reason::NoPeriod),
        };
        rows.iter().map(reason).collect()
    }

    /// The values of an insight of some rows, for each of its `parts`.
    fn values(&self, insight: Insight, parts: usize, rows: &[usize]) -> Vec<Values> {
        let column = |kind: StatisticKind| self.numbers(kind, 0, rows);
        match *insight.statistics() {
            [logs, payments] if insight == Insight::TicketQuantiles => {
                let quantiles = tickets::quantiles(self, &column(logs), &column(payments));
                quantiles.into_iter().map(ratio::money).collect()
            }
            [visits, customers] if insight == Insight::VisitsPerCustomer => {
                let days = self.level.days_of(rows.iter().map(|&row| &*self.noisy.keys[row]));
                let (visits, customers) = (column(visits), column(customers));
                vec![Values::Counts(ratio::visits_per_customer(&visits, &customers, &days))]
            }
            [top, bottom] => {
                let ratios = ratio::ratio(&column(top), &column(bottom));
                let money = top.is_money() && !bottom.is_money();
                vec![if money { ratio::money(ratios) } else { Values::Counts(ratios) }]
            }
            [kind, ..] if insight == Insight::RepeatRate => {
                let classes = (0..VISIT_CLASSES.len()).map(|bin| self.numbers(kind, bin, rows));
                vec![Values::Counts(ratio::repeat_rate(&classes.collect::<Vec<_>>()))]
            }
            [kind, ..] if insight.is_ratio() && kind.compares() => {
                let classes = [0, 1, 2].map(|bin| self.numbers(kind, bin, rows));
                vec![Values::Counts(ratio::diffusion_index(&classes))]
            }
            [kind, ..] if insight == Insight::RetentionRate => {
                let new = column(kind);
                let rate = |bin| ratio::retention_rate(&self.numbers(kind, bin, rows), &new);
                (1..=parts).map(|bin| Values::Counts(rate(bin))).collect()
            }
            [kind, ..] if insight == Insight::ReturningCustomers => {
                vec![self.numbers(kind, 1, rows).counts()]
            }
            [kind, ..] if kind.is_money() => vec![column(kind).money()],
            [kind, ..] => (0..parts).map(|bin| self.numbers(kind, bin, rows).counts()).collect(),
            [] => Vec::new(),
        }
    }

    /// What is doubtful of all values of a statistic together.
    fn doubt(&self, kind: StatisticKind) -> f64 {
        let place = self.level.position(kind);
        place.map_or(0.0, |place| self.models[place].correction.doubt())
    }
}

/// The ends of the names of an insight's columns, if it has several.
fn part_names((plan, level): (&Plan, &LevelPlan), insight: Insight) -> Vec<String> {
    match insight {
        Insight::TicketHistogram => bin_names(plan).collect(),
        Insight::TicketQuantiles => tickets::names(),
        Insight::VisitClasses => VISIT_CLASSES.iter().map(|(_, name)| (*name).to_owned()).collect(),
        Insight::DiffusionClasses | Insight::DiffusionClassesYear => {
            CHANGES.map(str::to_owned).into()
        }
        Insight::RecencyHistogram => level.recency.iter().flat_map(Recency::names).collect(),
        Insight::RetentionCohort | Insight::RetentionRate => {
            let first = usize::from(insight == Insight::RetentionRate);
            let width = level.cohorts.as_ref().map_or(0, Cohorts::width);
            (first..width).map(|periods| periods.to_string()).collect()
        }
        Insight::Compared(Comparison::Benchmark, _) => peers::names(),
        _ => Vec::new(),
    }
}

/// Where each bin of the ticket histogram starts, in major units: `from_0`, `from_0_50`, `from_5`.
fn bin_names(plan: &Plan) -> impl Iterator<Item = String> {
    let source = &plan.job.payments;
    let unit = 10i64.pow(source.money_places());
    let edges = std::iter::once(&0).chain(&source.ticket_edges);
    edges.map(move |edge| match edge % unit {
        0 => format!("from_{}", edge / unit),
        cents => {
            let places = source.money_places() as usize;
            format!("from_{}_{cents:0places$}", edge / unit)
        }
    })
}
