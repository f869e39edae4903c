//! What releases with and without a user tell: bounds on μ and ε from an attacker's scores.

use super::canary::{Curve, Seen};
use super::curve;
use super::law::clopper_pearson;

fn mean_and_variance(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0))
}

/// A lower bound on μ: the difference of means over the common standard deviation, less what chance
/// makes of it. Wrong with probability `alpha`, for normal values.
pub(super) fn mean_difference(with: &[f64], without: &[f64], alpha: f64) -> f64 {
    let ((a, va), (b, vb)) = (mean_and_variance(with), mean_and_variance(without));
    let (n, m) = (with.len() as f64, without.len() as f64);
    let d = (a - b) / f64::max((va + vb) / 2.0, f64::MIN_POSITIVE).sqrt();
    let error = (1.0 / n + 1.0 / m + d * d / (2.0 * (n + m))).sqrt();
    d - curve::quantile(alpha) * error
}

/// Lower bounds on μ and on ε at `delta`, by one threshold that the first half of releases chooses
/// and the second half tries. Wrong with probability `alpha`, whatever the law.
pub(super) fn threshold(with: &[f64], without: &[f64], alpha: f64, delta: f64) -> (f64, f64) {
    let (mut a, second_a) = (with[..with.len() / 2].to_vec(), &with[with.len() / 2..]);
    let (mut b, second_b) = (without[..without.len() / 2].to_vec(), &without[without.len() / 2..]);
    a.sort_by(f64::total_cmp);
    b.sort_by(f64::total_cmp);
    let inside = |p: f64| p.clamp(1e-4, 1.0 - 1e-4);
    let n = a.len() as f64;
    let sd = |p: f64| (p * (1.0 - p) / n).sqrt();
    let worth = |from: f64| {
        let (hit, alarm) = (inside(share(&a, from)), inside(share(&b, from)));
        curve::quantile(inside(alarm + 2.0 * sd(alarm)))
            - curve::quantile(inside(hit - 2.0 * sd(hit)))
    };
    let candidates = (1..200).map(|n| a[n * (a.len() - 1) / 200]);
    let best = candidates.max_by(|x, y| worth(*x).total_cmp(&worth(*y))).unwrap_or(0.0);
    let count = |values: &[f64]| values.iter().filter(|&&v| v >= best).count() as u64;
    let (hit, _) = clopper_pearson(count(second_a), second_a.len() as u64, alpha / 2.0);
    let (_, alarm) = clopper_pearson(count(second_b), second_b.len() as u64, alpha / 2.0);
    let mu = curve::quantile(alarm) - curve::quantile(hit);
    (mu, ((hit - delta) / alarm).ln().max(0.0))
}

/// How many of `with` are found by the threshold that has `rate` of false alarms in `without`, and
/// of how many.
pub(super) fn score_shares(with: &[f64], without: &[f64], rate: f64) -> (u64, u64) {
    let mut sorted = without.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = ((1.0 - rate) * sorted.len() as f64).ceil() as usize;
    let from = sorted.get(at).copied().unwrap_or(f64::INFINITY);
    (with.iter().filter(|&&v| v >= from).count() as u64, with.len() as u64)
}

/// The share of sorted values from `from` on.
fn share(values: &[f64], from: f64) -> f64 {
    (values.len() - values.partition_point(|&v| v < from)) as f64 / values.len() as f64
}

/// The inverse covariance times the difference of means: the best linear look, by Gauss
/// elimination. A millionth is added to the diagonal, so that shared noise shows as very much, not
/// as a division by zero.
pub(super) fn best_direction(with: &[Seen], without: &[Seen]) -> Vec<f64> {
    let width = with.first().map_or(0, Vec::len);
    let means = |seen: &[Seen]| -> Vec<f64> {
        let n = seen.len() as f64;
        (0..width).map(|i| seen.iter().map(|s| f64::from(s[i])).sum::<f64>() / n).collect()
    };
    let (a, b) = (means(with), means(without));
    let mut matrix = vec![vec![0.0; width + 1]; width];
    for (seen, means) in [(with, &a), (without, &b)] {
        let n = (with.len() + without.len()) as f64;
        for one in seen {
            let centred: Vec<f64> = one.iter().zip(means).map(|(&v, m)| f64::from(v) - m).collect();
            for (i, x) in centred.iter().enumerate() {
                matrix[i].iter_mut().zip(&centred).for_each(|(cell, y)| *cell += x * y / n);
            }
        }
    }
    for (i, row) in matrix.iter_mut().enumerate() {
        row[i] += 1e-6;
        row[width] = a[i] - b[i];
    }
    solve(matrix)
}

/// Solves a positive definite system, given with its right side as the last column.
fn solve(mut matrix: Vec<Vec<f64>>) -> Vec<f64> {
    let width = matrix.len();
    for pivot in 0..width {
        let row = matrix[pivot].clone();
        for other in matrix.iter_mut().skip(pivot + 1) {
            let factor = other[pivot] / row[pivot];
            other.iter_mut().zip(&row).for_each(|(cell, own)| *cell -= factor * own);
        }
    }
    let mut solution = vec![0.0; width];
    for at in (0..width).rev() {
        let known: f64 = (at + 1..width).map(|i| matrix[at][i] * solution[i]).sum();
        solution[at] = (matrix[at][width] - known) / matrix[at][at];
    }
    solution
}

/// False and true alarms of thresholds all along the score.
pub(super) fn trade_off(with: &[f64], without: &[f64]) -> Curve {
    let sorted = |values: &[f64]| {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        values
    };
    let (with, without) = (sorted(with), sorted(without));
    let ends = (0..=200).map(|n| without[n * (without.len() - 1) / 200]);
    let mut points: Curve = ends.map(|from| (share(&without, from), share(&with, from))).collect();
    points.push((0.0, 0.0));
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}
