//! Estimates: what a reader sees, computed from noised statistics alone.
//!
//! Post-processing in the sense of `docs/privacy.md`: nothing here can reach a payment, because
//! [`NoisyTotals`] is all it gets.

mod ratio;

use crate::job::{Insight, StatisticKind};
use crate::mechanism::{NoisyLevel, NoisyTotals};
use crate::plan::{CellKey, LevelPlan, Plan, StatisticPlan};

/// The tables to release.
#[derive(Clone, Debug)]
pub struct Estimates {
    /// In the order of the plan's levels.
    pub levels: Vec<Table>,
    /// Whether the noise is secret; see [`NoisyTotals::is_private`].
    pub is_private: bool,
}

/// The estimates of one level, in the order of keys.
#[derive(Clone, Debug)]
pub struct Table {
    /// The cells, ascending.
    pub keys: Vec<CellKey>,
    /// An estimate for each insight of the level.
    pub insights: Vec<(Insight, Values)>,
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

/// Estimates every insight of a plan.
///
/// The intervals cover the noise. They do not cover what the fit takes from heavy users.
pub fn estimate(plan: &Plan, totals: NoisyTotals) -> Estimates {
    let is_private = totals.is_private();
    let levels = totals.levels.into_iter().zip(&plan.levels);
    Estimates { is_private, levels: levels.map(|(noisy, level)| table(level, noisy)).collect() }
}

fn table(level: &LevelPlan, noisy: NoisyLevel) -> Table {
    // Rows in the order of keys, and of nothing else.
    let mut order: Vec<usize> = (0..noisy.keys.len()).collect();
    order.sort_by(|&a, &b| noisy.keys[a].cmp(&noisy.keys[b]));
    let column = |kind: StatisticKind| {
        let place = level.position(kind).expect("cannot fail because insights name their needs");
        let values: Vec<i64> = order.iter().map(|&row| noisy.values[place][row]).collect();
        (level.statistics[place], values)
    };
    let values = |insight: Insight| match insight {
        Insight::Customers => counts(column(StatisticKind::Customers)),
        Insight::Payments => counts(column(StatisticKind::Payments)),
        Insight::Sales => sales(column(StatisticKind::Sales)),
        Insight::AverageTicket => {
            ratio::average_ticket(column(StatisticKind::Sales), column(StatisticKind::Payments))
        }
    };
    let insights = level.insights.iter().map(|&insight| (insight, values(insight))).collect();
    Table { keys: order.iter().map(|&row| noisy.keys[row].clone()).collect(), insights }
}

fn counts((plan, values): (StatisticPlan, Vec<i64>)) -> Values {
    let half = Z95 * plan.to_natural(plan.sigma as f64);
    let interval = |grid: i64| {
        let value = plan.to_natural(grid as f64);
        Interval { value, low: value - half, high: value + half }
    };
    Values::Counts(values.into_iter().map(interval).collect())
}

fn sales((plan, values): (StatisticPlan, Vec<i64>)) -> Values {
    let half = (Z95 * plan.sigma as f64).ceil() as i128;
    let grid = 1i128 << plan.grid_bits;
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
