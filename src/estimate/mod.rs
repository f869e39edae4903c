//! Estimates: what a reader sees, computed from noised statistics alone.
//!
//! Post-processing in the sense of `docs/privacy.md`: nothing here can reach a payment, because
//! [`NoisyTotals`] is all it gets.

mod ratio;

use crate::job::{Insight, StatisticKind};
use crate::mechanism::{NoisyLevel, NoisyTotals};
use crate::plan::{CellKey, Gaussian, LevelPlan, Plan};

/// The tables to release.
///
/// They hold many times what the noised totals take, so they are made a slice at a time.
#[derive(Clone, Debug)]
pub struct Estimates<'p> {
    plan: &'p Plan,
    totals: NoisyTotals,
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
}

/// The values of one insight, by cell.
#[derive(Clone, Debug)]
pub enum Values {
    /// Numbers of users or payments.
    Counts(Vec<Interval<f64>>),
    /// Money in minor units; `None` where the noise drowns it.
    Money(Vec<Option<Interval<i128>>>),
}

/// An estimate with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval<T> {
    /// The estimate.
    pub value: T,
    /// Lower end.
    pub low: T,
    /// Upper end.
    pub high: T,
}

/// Two-sided 95 % quantile of the normal law.
const Z95: f64 = 1.959_963_984_540_054;

/// Rows of one slice.
const SLICE: usize = 1 << 16;

/// Estimates every insight of a plan.
///
/// The intervals cover the noise. They do not cover what the fit takes from heavy users.
pub fn estimate(plan: &Plan, totals: NoisyTotals) -> Estimates<'_> {
    Estimates { plan, totals }
}

impl Estimates<'_> {
    /// Whether the noise is secret; see [`NoisyTotals::is_private`].
    pub fn is_private(&self) -> bool {
        self.totals.is_private()
    }

    /// The table of one level of the plan, slice after slice; at least one, which may be empty.
    pub fn slices(&self, level: usize) -> impl Iterator<Item = Table> {
        let (plan, noisy, level) =
            (self.plan, &self.totals.levels[level], &self.plan.levels[level]);
        // Rows in the order of keys, and of nothing else.
        let mut order: Vec<usize> = (0..noisy.keys.len()).collect();
        order.sort_by(|&a, &b| noisy.keys[a].cmp(&noisy.keys[b]));
        (0..order.len().max(1)).step_by(SLICE).map(move |start| {
            let end = order.len().min(start + SLICE);
            table(plan, level, noisy, &order[start..end])
        })
    }
}

/// The table of some rows of a level.
fn table(plan: &Plan, level: &LevelPlan, noisy: &NoisyLevel, rows: &[usize]) -> Table {
    // One number of a statistic, of every cell.
    let numbers = |kind: StatisticKind, bin: usize| {
        let place = level.position(kind).expect("cannot fail because insights name their needs");
        let (statistic, values) = (level.statistics[place], &noisy.values[place]);
        let values = rows.iter().map(|&row| values[row * statistic.width + bin]);
        (statistic.noise, values.collect::<Vec<i64>>())
    };
    let column = |kind: StatisticKind| numbers(kind, 0);
    let mut columns = Vec::new();
    for &insight in &level.insights {
        let mut add = |name: String, values: Values| columns.push(Column { insight, name, values });
        let name = insight.name().to_owned();
        match insight {
            Insight::Customers => add(name, counts(column(StatisticKind::Customers))),
            Insight::Payments => add(name, counts(column(StatisticKind::Payments))),
            Insight::Sales => add(name, sales(column(StatisticKind::Sales))),
            Insight::AverageTicket => {
                let (sales, payments) = (StatisticKind::Sales, StatisticKind::Payments);
                add(name, ratio::average_ticket(column(sales), column(payments)));
            }
            Insight::TicketHistogram => {
                for (bin, from) in bin_names(plan).enumerate() {
                    let values = counts(numbers(StatisticKind::TicketHistogram, bin));
                    add(format!("{name}_{from}"), values);
                }
            }
        }
    }
    Table { keys: rows.iter().map(|&row| noisy.keys[row].clone()).collect(), columns }
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

fn counts((noise, values): (Gaussian, Vec<i64>)) -> Values {
    let half = Z95 * noise.to_natural(noise.sigma as f64);
    let interval = |grid: i64| {
        let value = noise.to_natural(grid as f64);
        Interval { value, low: value - half, high: value + half }
    };
    Values::Counts(values.into_iter().map(interval).collect())
}

fn sales((noise, values): (Gaussian, Vec<i64>)) -> Values {
    let half = (Z95 * noise.sigma as f64).ceil() as i128;
    let grid = 1i128 << noise.grid_bits;
    let interval = |value: i64| {
        let value = i128::from(value);
        // Rounded to minor units; the interval outward.
        Some(Interval {
            value: (value + grid / 2).div_euclid(grid),
            low: (value - half).div_euclid(grid),
            high: -(-(value + half)).div_euclid(grid),
        })
    };
    Values::Money(values.into_iter().map(interval).collect())
}
