//! Quantiles of tickets: the law that is usual in a cell's group, moved by how much dearer or
//! cheaper the cell's payments are.

use super::ratio::{self, Ratios};
use super::{Estimate, Interval, Numbers, View, Z95};
use crate::job::LOG_PARTS;

/// The quantiles that are shown, with the ends of their columns' names.
pub(super) const QUANTILES: [(f64, &str); 5] =
    [(0.10, "p10"), (0.25, "p25"), (0.50, "p50"), (0.75, "p75"), (0.90, "p90")];

/// How much the shape of a cell's law differs from that of its group: relative standard deviation
/// of a quantile at the median, and for each unit of log odds away from it. As seen on real
/// payments.
const SHAPE: (f64, f64) = (0.12, 0.04);

/// The quantiles of some rows, one column each.
///
/// With μ the mean logarithm against what is usual, of the cell and of the group's law, the
/// quantile is exp(q + μ_cell − μ_group) for the law's logarithm q. Of a cell without estimated
/// payments there is none. The interval is that of the noised mean where payments are five standard
/// deviations of their noise, else that of the estimate; with how far q may be off, and how far the
/// cell's law may differ.
pub(super) fn quantiles(view: &View, logs: &Numbers, payments: &Numbers) -> Vec<Ratios> {
    let Some(tickets) = &view.level.tickets else { return Vec::new() };
    let job = &view.plan.job;
    let group = |&row: &usize| tickets.group_of_cell(job, &view.noisy.keys[row]);
    let groups: Vec<usize> = logs.rows.iter().map(group).collect();
    let law = |group: usize, share: f64| {
        let (law, usual) = (tickets.law(group), tickets.usual(group) as f64);
        (law.quantile(share) - law.moments(usual).0) / LOG_PARTS as f64
    };
    let column = |(share, _): (f64, &str)| -> Ratios {
        let shape = SHAPE.0 + SHAPE.1 * (share / (1.0 - share)).ln().abs();
        let doubt = |group: usize| shape.hypot(tickets.law(group).doubt(share) / LOG_PARTS as f64);
        let laws: Vec<(f64, f64)> =
            (0..tickets.groups()).map(|group| (law(group, share), doubt(group))).collect();
        let rows = 0..groups.len();
        rows.map(|row| quantile(laws[groups[row]], (logs, payments), row)).collect()
    };
    QUANTILES.into_iter().map(column).collect()
}

/// One quantile of one row, of a law whose logarithm there is `law`, give or take `shape`.
fn quantile(
    (law, shape): (f64, f64),
    (logs, payments): (&Numbers, &Numbers),
    row: usize,
) -> Estimate<Option<f64>> {
    let parts = LOG_PARTS as f64;
    let noise = (logs.noise(row) / parts, payments.noise(row));
    let noisy = (logs.unbiased(row) / parts, payments.unbiased(row));
    let raw = ratio::fieller((noisy.0, noise.0), (noisy.1, noise.1), 0.0);
    let size = |log: f64| (law + log).clamp(-1.0, 40.0).exp();
    let own = logs.model.rates.get(logs.rows[row]);
    let estimate = own.filter(|_| payments.estimate(row) >= ratio::LEAST).map(|rate| {
        let (mean, sd) = (rate.mean / parts, rate.sd / parts);
        let (low, high) = match raw {
            Some((interval, _)) => (interval.low, interval.high),
            None => (mean - Z95 * sd, mean + Z95 * sd),
        };
        let centre = raw.map_or(mean, |(interval, _)| interval.value);
        let low = centre - (centre - low).hypot(Z95 * shape);
        let high = centre + (high - centre).hypot(Z95 * shape);
        Interval { value: size(mean), low: size(low.min(mean)), high: size(high.max(mean)) }
    });
    let (unbiased, sd) = raw.map(|(i, sd)| (size(i.value), size(i.value) * sd)).unzip();
    ratio::shown(estimate, unbiased, sd)
}

/// The ends of the names of the insight's columns.
pub(super) fn names() -> Vec<String> {
    QUANTILES.iter().map(|(_, name)| (*name).to_owned()).collect()
}
