//! A second look at customers: whoever pays was there, so noised payments say something of them,
//! too. Source: *Estimates* in `docs/privacy.md`.

use super::model::{Model, Report};
use super::panel::Panel;
use super::season::{RATIOS_DIFFER, seasons};
use crate::job::StatisticKind;

/// Noised values, with the standard deviations of their noise; in the order of a panel's cells.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    pub(super) values: Vec<f64>,
    pub(super) sds: Vec<f64>,
}

impl Observed {
    /// Each value times a factor of its own.
    pub(super) fn times(&self, factors: &[f64]) -> Observed {
        let times =
            |values: &[f64]| values.iter().zip(factors).map(|(value, f)| value * f).collect();
        Observed { values: times(&self.values), sds: times(&self.sds) }
    }
}

/// Groups' ratios differ by about a quarter: the variance of that.
const GROUPS_DIFFER: f64 = 0.06;

/// Ratios of cells differ by a tenth at least: the variance of that.
const CELLS_DIFFER: f64 = 0.01;

/// Who is counted may have had refunds only, but few have.
const RATIO_MIN: f64 = 0.5;

/// Payments for each customer, as cells of a group have them.
struct Ratios {
    /// By cell, in the order of the panel's.
    of_cell: Vec<f64>,
    /// Variance of how far those of cells differ from them, relative.
    spread: f64,
    /// How badly they tell payments.
    miss: f64,
}

/// What customers and payments together say of customers; `sizes` is about how many there are.
/// `None` if payments tell nothing.
fn joined(
    panel: &Panel,
    customers: &Observed,
    payments: &Observed,
    sizes: &[f64],
) -> Option<Observed> {
    let plain = vec![0; panel.series()];
    let groupings = std::iter::once(&plain).chain(&panel.groupings);
    let ratios =
        groupings.filter_map(|groups| Ratios::new(panel, groups, customers, payments, sizes));
    let ratios = ratios.min_by(|a, b| a.miss.total_cmp(&b.miss))?;
    let both = |cell: usize| {
        let (ratio, size) = (ratios.of_cell[cell], sizes[cell].max(0.0));
        let differ = ratios.spread * size * size + of_customers(ratio) * size;
        let variances =
            [customers.sds[cell].powi(2), (payments.sds[cell] / ratio).powi(2) + differ];
        let weights = variances.map(|variance| 1.0 / variance);
        let all = weights[0] + weights[1];
        let values = [customers.values[cell], payments.values[cell] / ratio];
        let value = (weights[0] * values[0] + weights[1] * values[1]) / all;
        (value, (1.0 / all).sqrt())
    };
    let (values, sds) = (0..sizes.len()).map(both).unzip();
    Some(Observed { values, sds })
}

/// The relative variance of one customer's payments in a cell, as if their number were geometric.
fn of_customers(ratio: f64) -> f64 {
    (1.0 - 1.0 / ratio).max(0.0)
}

impl Ratios {
    /// Those of groups of series; `None` if the noise hides them.
    fn new(
        panel: &Panel,
        groups: &[u32],
        customers: &Observed,
        payments: &Observed,
        sizes: &[f64],
    ) -> Option<Ratios> {
        let count = groups.iter().max().map_or(0, |&last| last as usize + 1);
        let group_of = groups.iter().enumerate();
        let group_of: Vec<usize> = group_of
            .flat_map(|(series, &group)| panel.range(series).map(move |_| group as usize))
            .collect();
        let noise = |cell: usize, ratio: f64| {
            payments.sds[cell].powi(2) + (ratio * customers.sds[cell]).powi(2)
        };
        // Σ w·customers, Σ w·payments and Σ w, with w by inverse variances: cells of earlier
        // releases have other noise.
        let mut sums = vec![[0.0; 3]; count];
        for (cell, &group) in group_of.iter().enumerate() {
            let weight = 1.0 / noise(cell, 1.0);
            let own = [customers.values[cell], payments.values[cell], 1.0];
            sums[group].iter_mut().zip(own).for_each(|(sum, own)| *sum += weight * own);
        }
        let all = sums.iter().fold([0.0; 3], |all, own| [0, 1, 2].map(|i| all[i] + own[i]));
        if all[0] <= 10.0 * all[2].sqrt() {
            return None;
        }
        let whole = all[1] / all[0];
        if whole < RATIO_MIN {
            return None;
        }
        let of_group = |&[customers, payments, weights]: &[f64; 3]| {
            // Of the group's ratio to `whole`, no less than its variance by noise.
            let variance = weights / customers.powi(2);
            let own = payments / (whole * customers);
            let ratio = whole * (own * GROUPS_DIFFER + variance) / (GROUPS_DIFFER + variance);
            if ratio.is_finite() { ratio.max(RATIO_MIN) } else { whole }
        };
        let of_groups: Vec<f64> = sums.iter().map(of_group).collect();
        let of_cell: Vec<f64> = group_of.iter().map(|&group| of_groups[group]).collect();
        // By moments: of cells the squares of what the ratio misses, beyond noise and chance.
        let [mut beyond, mut sizes_squared, mut weights_squared, mut miss] = [0.0; 4];
        for (cell, &ratio) in of_cell.iter().enumerate() {
            let (noise, size) = (noise(cell, ratio), ratio * sizes[cell].max(0.0));
            let square = (payments.values[cell] - ratio * customers.values[cell]).powi(2);
            let weight = 1.0 / (noise + 0.1 * size * size);
            miss += square * weight;
            beyond += weight.powi(2) * (square - noise - of_customers(ratio) * ratio * size);
            sizes_squared += (weight * size).powi(2);
            weights_squared += weight.powi(2);
        }
        // With a standard deviation on top, as it is found from noised values.
        let spread = (beyond + (2.0 * weights_squared).sqrt()) / sizes_squared;
        let spread = spread.max(CELLS_DIFFER);
        spread.is_finite().then_some(Ratios { of_cell, spread, miss })
    }
}

/// Payments as they would be if all times had as many for each customer: months before may have had
/// more, or what their fits took may be known worse.
fn as_at_all_times(panel: &Panel, payments: &Observed, sizes: &[f64]) -> Observed {
    let sizes: Vec<f64> = sizes.iter().map(|size| size.max(f64::MIN_POSITIVE)).collect();
    let usual = seasons(panel, payments, &sizes, RATIOS_DIFFER);
    let back: Vec<f64> = sizes.iter().zip(usual).map(|(size, usual)| size / usual).collect();
    payments.times(&back)
}

impl Report<'_> {
    /// What customers and payments of a level together say of customers, where `at` is of customers
    /// and the level has payments; `own` is what they say themselves, and `first` what is
    /// estimated by that. Before the correction, in the order of the panel's cells.
    pub(super) fn joined(
        &self,
        panel: &Panel,
        at: (usize, usize),
        (own, first): (&Observed, &[f64]),
        models: &[Vec<Model>],
    ) -> Option<Observed> {
        let payments = self.plan.levels[at.0].position(StatisticKind::Payments)?;
        if self.statistic(at).kind != StatisticKind::Customers {
            return None;
        }
        let factors = |place: usize| {
            let correction = &models[at.0][place].correction;
            self.factors(panel, (at.0, place), correction)
        };
        let mut theirs = self.observed(panel, (at.0, payments)).times(&factors(payments));
        let factors = factors(at.1);
        let sizes: Vec<f64> = panel.cells.iter().map(|&cell| first[cell as usize]).collect();
        if !self.plan.levels[at.0].earlier.is_empty() {
            theirs = as_at_all_times(panel, &theirs, &sizes);
        }
        let both = joined(panel, &own.times(&factors), &theirs, &sizes)?;
        let back: Vec<f64> = factors.iter().map(|factor| 1.0 / factor).collect();
        Some(both.times(&back))
    }
}

#[cfg(test)]
mod tests {
    use super::super::shrink::tests::{error, noise, panel, truth};
    use super::*;

    /// Noise of customers and of payments.
    const SDS: (f64, f64) = (40.0, 60.0);

    /// Customers of two kinds of series, with 1.5 and 3 payments each but for `differ`, with noise;
    /// the error of what is joined, against that of customers alone.
    fn error_of(differ: f64) -> f64 {
        let (panel, truth) = (panel(400, 4), truth(400, 4));
        let count = truth.len();
        let usual = |cell: usize| if (cell / 4).is_multiple_of(2) { 1.5 } else { 3.0 };
        let ratio = |cell: usize| usual(cell) * (1.0 + differ * noise(count + cell / 4));
        let seen = |sd: f64, value: &dyn Fn(usize) -> f64, from: usize| Observed {
            values: (0..count).map(|cell| value(cell) + sd * noise(from + cell)).collect(),
            sds: vec![sd; count],
        };
        let customers = seen(SDS.0, &|cell| truth[cell], 2 * count);
        let payments = seen(SDS.1, &|cell| truth[cell] * ratio(cell), 3 * count);
        let both = joined(&panel, &customers, &payments, &truth).expect("payments tell something");
        // The deviations are those of what it says.
        let off = both.values.iter().zip(&truth).zip(&both.sds);
        let off = off.map(|((value, truth), sd)| ((value - truth) / sd).powi(2)).sum::<f64>();
        assert!((0.7..1.1).contains(&(off / count as f64)), "{differ}: {off} of {count}");
        let own = error(customers.values.into_iter(), &truth);
        error(both.values.into_iter(), &truth) / own
    }

    #[test]
    fn payments_say_as_much_of_customers_as_cells_are_alike() {
        let errors = [0.0, 0.1, 0.3, 0.6].map(error_of);
        assert!(errors.is_sorted() && errors[0] < 0.7 && errors[3] < 1.0, "{errors:?}");
    }

    #[test]
    fn payments_in_the_noise_say_nothing() {
        let panel = panel(50, 4);
        let seen = |from: usize| Observed {
            values: (0..200).map(|cell| 10.0 * noise(from + cell)).collect(),
            sds: vec![10.0; 200],
        };
        assert!(joined(&panel, &seen(0), &seen(200), &[1.0; 200]).is_none());
        let no_series = Panel::of_single_cells(0);
        let none = Observed { values: Vec::new(), sds: Vec::new() };
        assert!(joined(&no_series, &none, &none, &[]).is_none());
    }

    #[test]
    fn an_earlier_release_without_payments_says_what_it_says_alone() {
        let (panel, truth) = (panel(400, 4), truth(400, 4));
        let customers = Observed { values: truth.clone(), sds: vec![5.0; truth.len()] };
        let mut payments = Observed { sds: vec![5.0; truth.len()], ..customers.clone() };
        for cell in (0..truth.len()).step_by(4) {
            (payments.values[cell], payments.sds[cell]) = (0.0, 5e6);
        }
        let both = joined(&panel, &customers, &payments, &truth).expect("the others tell");
        for (cell, exact) in truth.iter().enumerate() {
            let (value, sd) = (both.values[cell], both.sds[cell]);
            assert!((value - exact).abs() < 0.01 * exact, "{cell}: {value}");
            assert_eq!(sd > 4.999, cell.is_multiple_of(4), "{cell}: {sd}");
        }
    }
}
