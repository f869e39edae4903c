//! Ratios and quantiles: are they what other columns of the row make them?

use arrow::datatypes::DataType;

use super::lattice::{CLOSE, Column, Faults};
use super::manifest::Event;
use super::table::QUANTILES;

/// Ratios of noised values are shown only where what they are divided by is this many standard
/// deviations of its noise.
const SIGNAL_MIN: f64 = 5.0;

/// Ratios of estimates are shown where what they are divided by is at least this.
const LEAST: f64 = 0.5;

impl Column<'_> {
    /// A ratio against what is divided and by what, where they are shown in the same row.
    ///
    /// It is there if and only if there is something to divide by. Estimates of shares are none of
    /// other columns, so of them only the noised value is computed again.
    pub(super) fn check_ratio(
        &self,
        (top, bottom): (Option<Part>, Part),
        is_share: bool,
        faults: &mut Faults,
    ) {
        let insight = self.insight;
        let [values, unbiased, sds] = ["", "_unbiased", "_sd"].map(|suffix| self.numbers(suffix));
        let money = matches!(self.array("").data_type(), DataType::Decimal128(..));
        for (row, place) in self.rows() {
            if unbiased[row].is_none() != sds[row].is_none() {
                faults.add(place, format!("`{insight}` lacks a part of its noised value"));
            }
            let (whole, noisy_whole) = (bottom.values[row], bottom.unbiased[row]);
            let limit = SIGNAL_MIN * bottom.noise[row];
            let Some(noisy_whole) = noisy_whole else { continue };
            let near = (noisy_whole - limit).abs() <= bottom.room + CLOSE * limit;
            let nothing = whole.is_some_and(|whole| whole < LEAST);
            if ((noisy_whole < limit) != unbiased[row].is_none() && !near)
                || nothing && values[row].is_some()
            {
                let text =
                    format!("`{insight}` is shown where noise drowns it, or not where it does not");
                faults.add(place, text);
            }
            let Some(top) = &top else { continue };
            let pairs = [
                (values[row].filter(|_| !is_share), top.values[row], whole),
                (unbiased[row], top.unbiased[row], Some(noisy_whole)),
            ];
            for (ratio, part, whole) in pairs {
                let Some(((ratio, part), whole)) = ratio.zip(part).zip(whole) else { continue };
                // All may be rounded to whole minor units.
                let room = if money { 0.5 } else { 0.0 };
                let room = room + (top.room + ratio.abs() * bottom.room) / whole;
                let off = (ratio - part / whole).abs();
                if off > room + CLOSE * ratio.abs().max(CLOSE) || off.is_nan() {
                    faults.add(place, format!("`{insight}` is not the ratio that it should be"));
                }
            }
        }
    }

    /// A quantile: no less than the one before, and there if there are payments to take it of.
    pub(super) fn check_quantile(&self, payments: Option<&Part>, faults: &mut Faults) {
        let insight = self.insight;
        let before = QUANTILES.iter().position(|name| *name == insight).unwrap_or_default();
        let before = before.checked_sub(1).map(|at| Column { insight: QUANTILES[at], ..*self });
        for suffix in ["", "_unbiased"] {
            let Some(before) = &before else { break };
            let pairs = before.numbers(suffix).into_iter().zip(self.numbers(suffix));
            for ((_, place), (less, more)) in self.rows().zip(pairs) {
                if less.zip(more).is_some_and(|(less, more)| less > more) {
                    faults.add(place, format!("`{insight}` is below the quantile before it"));
                }
            }
        }
        let Some(payments) = payments else { return };
        let (values, unbiased) = (self.numbers(""), self.numbers("_unbiased"));
        for (row, place) in self.rows() {
            let drowned =
                payments.unbiased[row].is_some_and(|n| n < SIGNAL_MIN * payments.noise[row]);
            let nothing = payments.values[row].is_some_and(|n| n < LEAST);
            if drowned != unbiased[row].is_none() || nothing && values[row].is_some() {
                let text =
                    format!("`{insight}` is shown where noise drowns it, or not where it does not");
                faults.add(place, text);
            }
        }
    }

    /// The sum of some insights of the same rows, whose statistic is noised by `event`; `None`
    /// unless all are shown.
    pub(super) fn part(&self, insights: &[&str], event: Option<&Event>) -> Option<Part> {
        let event = event?;
        let one = event.sigma as f64 / event.grid_units_per_unit as f64;
        let mut part = Part {
            values: vec![Some(0.0); self.batch.num_rows()],
            unbiased: vec![Some(0.0); self.batch.num_rows()],
            noise: vec![one * (insights.len() as f64).sqrt(); self.batch.num_rows()],
            room: 0.0,
        };
        for &insight in insights {
            self.batch.column_by_name(insight)?;
            let column = Column { insight, ..*self };
            let money = matches!(column.array("").data_type(), DataType::Decimal128(..));
            let rounded = f64::from(money);
            part.room += rounded / 2.0;
            if let ([_], Some(_)) = (insights, event.octaves_max) {
                let scale = |sd: Option<f64>| event.scale_of(sd?, rounded);
                let noise =
                    column.numbers("_sd").into_iter().map(|sd| one * scale(sd).unwrap_or(1.0));
                part.noise = noise.collect();
            }
            for (sums, suffix) in [(&mut part.values, ""), (&mut part.unbiased, "_unbiased")] {
                let numbers = sums.iter_mut().zip(column.numbers(suffix));
                numbers.for_each(|(sum, number)| *sum = sum.zip(number).map(|(a, b)| a + b));
            }
        }
        Some(part)
    }
}

impl Part {
    pub(super) fn times(self, factor: f64) -> Part {
        let all = |values: Vec<Option<f64>>| -> Vec<Option<f64>> {
            values.into_iter().map(|value| value.map(|value| value * factor)).collect()
        };
        let (values, unbiased) = (all(self.values), all(self.unbiased));
        let noise = self.noise.into_iter().map(|noise| noise * factor).collect();
        Part { values, unbiased, noise, room: self.room * factor }
    }
}

/// What a ratio is made of.
pub(super) struct Part {
    /// `None` where one of them is not shown.
    values: Vec<Option<f64>>,
    unbiased: Vec<Option<f64>>,
    /// Standard deviations of the noise of `unbiased`.
    noise: Vec<f64>,
    /// By how much they may be rounded.
    room: f64,
}
