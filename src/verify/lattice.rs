//! The values: does each noised value lie on the grid of its mechanism, with the standard deviation
//! of its noise, and each estimate in its interval, with the grade of that?
//!
//! Noised counts are shown as they are, so each must be a whole number of grid units. Money is
//! shown in whole minor units: exact where the grid is one minor unit, else rounded, and then its
//! grid cannot be checked. How estimates come from noised values is not done again here.

use std::collections::BTreeMap;
use std::fmt;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, Int32Type, UInt8Type};
use chrono::{Datelike, Days, NaiveDate};

use super::classes;
use super::compared::Comparisons;
use super::discovery;
use super::manifest::{Event, KeySet, Manifest};
use super::merchants;
use super::pairs::Judged;
use super::peers;
use super::score::check_score;
use super::shared::Shared;
use super::table::{Form, Table, VISIT_CLASSES, insight_of, known, values_of};

/// Room for the last digits of floats, beside which the grid is coarse.
pub(super) const CLOSE: f64 = 1e-9;

/// Why an estimate may not be shown.
const REASONS: [&str; 6] = ["error", LOOK_AHEAD, "look-back", "merchants", NO_PERIOD, "peers"];

/// Of those who come again later, where that period is not whole.
const LOOK_AHEAD: &str = "look-ahead";

/// Of growth and indexes, where one of both periods is not whole.
pub(super) const NO_PERIOD: &str = "no-period";

/// Estimates of counts are multiples of one over this.
const PARTS: f64 = 1024.0;

/// How many values were checked, and how.
#[derive(Default)]
pub(super) struct Seen {
    rows: u64,
    on_grid: u64,
    rounded: u64,
    shared: Shared,
    pub(super) pairs: Judged,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Seen { rows, on_grid, rounded, .. } = self;
        write!(
            f,
            "{rows} rows in order; {on_grid} noised values on their grid, estimates in their intervals"
        )?;
        if *rounded > 0 {
            write!(f, "; {rounded} rounded to minor units, so their grid could not be checked")?;
        }
        Ok(())
    }
}

/// A value of a key; those of one column are of one kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum KeyCell {
    Text(String),
    Number(i64),
}

/// Faults by what they are about, each with the first row that has it (0: the whole table).
#[derive(Default)]
pub(super) struct Faults(BTreeMap<String, u64>);

impl Faults {
    pub(super) fn add(&mut self, row: u64, text: String) {
        self.0.entry(text).or_insert(row);
    }
}

/// What is wrong with the values of one table, in all its files, whose columns are as documented.
pub(super) fn faults(
    name: &str,
    files: Vec<Table>,
    manifest: &Manifest,
    seen: &mut Seen,
) -> Vec<String> {
    let Some(set) = manifest.key_set(name) else { return Vec::new() };
    let (mut faults, mut last, mut row) = (Faults::default(), None, 1);
    let mut compared = Comparisons::new(set);
    let batches =
        files.into_iter().zip(0..).flat_map(|(file, part)| file.rows.map(move |b| (part, b)));
    let mut before = 0;
    for (part, batch) in batches {
        // Each file has an order of its own.
        if part != before {
            (before, last) = (part, None);
        }
        let batch = match batch {
            Ok(batch) => batch,
            Err(cause) => return vec![format!("`{name}` cannot be read: {cause}")],
        };
        check_keys(&batch, set.keys.len(), manifest, row, &mut last, &mut faults);
        seen.shared.add(name, &batch, manifest);
        compared.add(&batch);
        seen.pairs.add(name, &batch, manifest, row, &mut faults);
        let rows = batch.num_rows() as u64;
        let (batch, places) = merchants::shown(name, batch, manifest, row, &mut faults);
        for insight in values_of(&batch.schema(), set) {
            let column = Column { batch: &batch, insight: &insight, places: &places };
            column.check(set, manifest, seen, &mut faults);
        }
        if set.keys_from.is_empty() {
            check_score(name, &batch, manifest, row, &mut faults);
        }
        row += rows;
        seen.rows += rows;
    }
    seen.shared.compare(name, manifest, &mut faults);
    compared.check(manifest, &mut faults);
    if let Some(fault) = discovery::row_fault(manifest, name, row - 1) {
        faults.add(0, fault);
    }
    let public = set.selection == "public";
    if row == 1 && public {
        faults.add(0, "it has no rows, though its keys are public".to_owned());
    }
    let text = |(text, row)| match row {
        0 => format!("`{name}`: {text}"),
        row => format!("`{name}` row {row}: {text}"),
    };
    faults.0.into_iter().map(text).collect()
}

// ----------------------------------------------------------------------------------------- keys

/// Rows ascend, no key twice; time keys lie in the period.
fn check_keys(
    batch: &RecordBatch,
    keys: usize,
    manifest: &Manifest,
    first: u64,
    last: &mut Option<Vec<KeyCell>>,
    faults: &mut Faults,
) {
    let schema = batch.schema();
    for row in 0..batch.num_rows() {
        let place = first + row as u64;
        let cells: Vec<KeyCell> = (0..keys).map(|key| key_cell(batch.column(key), row)).collect();
        for (key, cell) in cells.iter().enumerate() {
            let name = schema.field(key).name();
            if let KeyCell::Number(number) = cell
                && !in_period(name, *number, manifest)
            {
                faults.add(place, format!("`{name}` is outside the job's period"));
            }
        }
        if last.as_ref().is_some_and(|last| *last >= cells) {
            faults.add(place, "the row is out of order, or there twice".to_owned());
        }
        *last = Some(cells);
    }
}

pub(super) fn key_cell(column: &dyn Array, row: usize) -> KeyCell {
    match column.data_type() {
        DataType::Date32 => KeyCell::Number(column.as_primitive::<Date32Type>().value(row).into()),
        DataType::UInt8 => KeyCell::Number(column.as_primitive::<UInt8Type>().value(row).into()),
        _ => {
            let column = column.as_dictionary::<Int32Type>();
            let code = column.keys().value(row) as usize;
            KeyCell::Text(column.values().as_string::<i32>().value(code).to_owned())
        }
    }
}

/// Is it a day, or the first day of a week, month or quarter, that holds a day of the period?
fn in_period(key: &str, number: i64, manifest: &Manifest) -> bool {
    let (first, last) = (manifest.job.first_day.0, manifest.job.last_day.0);
    let (day, start) = match key {
        "weekday" => return (1..=7).contains(&number),
        "hour" => return (0..=23).contains(&number),
        "day" => (number, first),
        "week" => {
            let monday = Days::new(first.weekday().num_days_from_monday().into());
            (number, first.checked_sub_days(monday).unwrap_or(first))
        }
        "month" => (number, first.with_day(1).unwrap_or(first)),
        _ => {
            let month = first.month0() / 3 * 3 + 1;
            (number, NaiveDate::from_ymd_opt(first.year(), month, 1).unwrap_or(first))
        }
    };
    let Some(day) = i32::try_from(day).ok().and_then(NaiveDate::from_epoch_days) else {
        return false;
    };
    let begins = match key {
        "week" => day.weekday().num_days_from_monday() == 0,
        "month" => day.day() == 1,
        "quarter" => day.day() == 1 && day.month0() % 3 == 0,
        _ => true,
    };
    begins && start <= day && day <= last
}

// --------------------------------------------------------------------------------------- values

/// An insight's columns in one batch of rows.
pub(super) struct Column<'a> {
    pub(super) batch: &'a RecordBatch,
    pub(super) insight: &'a str,
    /// The numbers of the batch's rows in the table.
    pub(super) places: &'a [u64],
}

impl<'a> Column<'a> {
    pub(super) fn array(&self, suffix: &str) -> &'a dyn Array {
        let at = self.batch.schema().index_of(&format!("{}{suffix}", self.insight));
        &**self.batch.column(at.expect("cannot fail because the schema was checked before"))
    }

    fn floats(&self, suffix: &str) -> &'a [f64] {
        self.array(suffix).as_primitive::<Float64Type>().values()
    }

    /// Counts; `None` if null.
    fn counts(&self, suffix: &str) -> Vec<Option<f64>> {
        self.array(suffix).as_primitive::<Float64Type>().iter().collect()
    }

    /// Minor units; `None` if null.
    fn money(&self, suffix: &str) -> Vec<Option<i128>> {
        self.array(suffix).as_primitive::<Decimal128Type>().iter().collect()
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = (usize, u64)> + use<'a> {
        self.places.iter().copied().enumerate()
    }

    /// Is all of it what it can be, as far as this table tells?
    fn check(&self, set: &KeySet, manifest: &Manifest, seen: &mut Seen, faults: &mut Faults) {
        let name = &set.file;
        let Some((_, needs, form)) = known(self.insight) else { return };
        if set.bands.iter().any(|insight| insight == self.insight) {
            let told = self.array("_band");
            for (_, place) in self.rows().filter(|(row, _)| told.is_valid(*row)) {
                faults
                    .add(place, format!("`{}` is told in bands, and is not hidden", self.insight));
            }
        }
        self.check_estimates(manifest.relative_error_max(name), form, faults);
        let event = |place: usize| manifest.event(name, needs.get(place)?);
        match form {
            Form::Count | Form::Counts => self.check_counts(event(0), seen, faults),
            Form::Money => self.check_money(event(0), seen, faults),
            Form::MoneyPer | Form::Per => {
                let top = self.part(&needs[..1], event(0));
                if let Some(bottom) = self.part(&needs[1..], event(1)) {
                    self.check_ratio((top, bottom), false, faults);
                }
            }
            Form::Rates => {
                let [top, bottom] = classes::rate_of(self.insight);
                let top = self.part(&[top.as_str()], event(0));
                if let Some(bottom) = self.part(&[bottom.as_str()], event(0)) {
                    self.check_ratio((top, bottom), false, faults);
                }
            }
            Form::Quantiles => {
                let payments = self.part(&needs[1..], event(1));
                self.check_quantile(payments.as_ref(), faults);
            }
            Form::Compared => {}
            Form::Above => peers::check_above(self, set, faults),
            Form::Banded(bands) => peers::check_band(self, bands, set, faults),
            Form::Quarters | Form::MoneyQuarters => {
                peers::check_quarter(self, set, faults);
            }
            Form::Balance => {
                // 100 + 100 · (up − down) / all is 100 · (2 · up + flat) / all.
                let [up, flat, down] = classes::classes_of(self.insight);
                let top = self.part(&[up, up, flat], event(0)).map(|part| part.times(100.0));
                if let Some(bottom) = self.part(&[up, flat, down], event(0)) {
                    self.check_ratio((top, bottom), true, faults);
                }
            }
            Form::Share => {
                let top = self.part(&VISIT_CLASSES[1..], event(0));
                if let Some(bottom) = self.part(&VISIT_CLASSES, event(0)) {
                    self.check_ratio((top, bottom), true, faults);
                }
            }
        }
    }

    /// Is each estimate within its interval, and graded by it? Is it shown up to the relative error
    /// that the manifest states, and else a reason?
    fn check_estimates(&self, relative_error_max: Option<f64>, form: Form, faults: &mut Faults) {
        let insight = self.insight;
        let [values, lows, highs] = ["", "_low", "_high"].map(|suffix| self.numbers(suffix));
        let grades = self.array("_grade").as_dictionary::<Int32Type>();
        let names = grades.values().as_string::<i32>();
        let reasons = self.array("_suppressed").as_dictionary::<Int32Type>();
        let reason_names = reasons.values().as_string::<i32>();
        let of_periods = ["_growth", "_growth_year", "_index"].iter().any(|e| insight.ends_with(e))
            || insight.starts_with("diffusion_");
        let of_cohorts = insight_of(insight).starts_with("retention_");
        let known = |reason: &str| {
            REASONS.contains(&reason)
                && (reason != NO_PERIOD || of_periods)
                && (reason != LOOK_AHEAD || of_cohorts)
        };
        for (row, place) in self.rows() {
            let reason = reasons.keys().is_valid(row).then(|| reasons.keys().value(row) as usize);
            if reason.is_some() == values[row].is_some() {
                faults.add(place, format!("`{insight}` and a reason to hide it, or neither"));
            }
            if reason.is_some_and(|code| !known(reason_names.value(code))) {
                faults.add(place, format!("`{insight}` is hidden for a reason that is unknown"));
            }
            let grade = match (values[row], lows[row], highs[row]) {
                (Some(value), Some(low), Some(high)) => {
                    // What is no number fails too.
                    if !(low <= value && value <= high && high < f64::INFINITY) {
                        faults.add(place, format!("`{insight}` is not within its interval"));
                    }
                    if let Some(fault) = outside(insight, form, (low, high)) {
                        faults.add(place, fault);
                    }
                    let relative = form.relative_error([low, value, high]);
                    let limit = relative_error_max.map(|limit| limit * (1.0 + CLOSE));
                    // What is no number fails too.
                    if !limit.is_none_or(|limit| relative <= limit) {
                        let text = "is shown with a larger error than the manifest says";
                        faults.add(place, format!("`{insight}` {text}"));
                    }
                    let limits = [(0.05, "A"), (0.15, "B"), (0.5, "C")];
                    limits.iter().find(|(limit, _)| relative <= *limit).map_or("D", |grade| grade.1)
                }
                (None, None, None) => "D",
                _ => {
                    faults.add(place, format!("`{insight}` lacks a part of its interval"));
                    continue;
                }
            };
            if names.value(grades.keys().value(row) as usize) != grade {
                faults.add(place, format!("`{insight}`'s grade is not that of its interval"));
            }
        }
    }

    fn check_counts(&self, event: Option<&Event>, seen: &mut Seen, faults: &mut Faults) {
        let Some(event) = event else { return };
        let insight = self.insight;
        let grid = event.grid_units_per_unit as f64;
        let (values, sds) = (self.floats("_unbiased"), self.floats("_sd"));
        let (estimates, lows) = (self.counts(""), self.counts("_low"));
        for (row, place) in self.rows() {
            let parts = estimates[row].unwrap_or_default() * PARTS;
            let low = lows[row].unwrap_or_default();
            // What is no number is not within its interval.
            if parts.fract().abs() > 0.0 || parts < 0.0 || low < 0.0 {
                let text = format!("`{insight}` is below zero, or no multiple of 1/{PARTS}");
                faults.add(place, text);
            }
            let scale = event.scale_of(sds[row], 0.0);
            let units = values[row] * grid / scale.unwrap_or(1.0);
            seen.on_grid += 1;
            // Exact: the grid is a power of two. What is no number fails too.
            if !(units.is_finite() && units.fract().abs() <= 0.0) {
                faults.add(place, format!("`{insight}_unbiased` is not on its grid of 1/{grid}"));
            }
            if scale.is_none() {
                faults.add(place, format!("`{insight}_sd` is not that of its noise"));
            }
        }
    }

    fn check_money(&self, event: Option<&Event>, seen: &mut Seen, faults: &mut Faults) {
        let Some(event) = event else { return };
        let insight = self.insight;
        let exact = event.grid_units_per_unit == 1;
        let (values, sds) = (self.money("_unbiased"), self.money("_sd"));
        for (row, place) in self.rows() {
            let (Some(_), Some(shown)) = (values[row], sds[row]) else {
                faults.add(place, format!("`{insight}` is null"));
                continue;
            };
            // Rounded up to minor units.
            let scale = event.scale_of(shown as f64, 1.0);
            let exact = exact && scale == Some(1.0);
            *if exact { &mut seen.on_grid } else { &mut seen.rounded } += 1;
            if scale.is_none() {
                faults.add(place, format!("`{insight}_sd` is not that of its noise"));
            }
        }
    }

    /// Numbers in natural units; `None` if null.
    pub(super) fn numbers(&self, suffix: &str) -> Vec<Option<f64>> {
        let array = self.array(suffix);
        match array.data_type() {
            DataType::Float64 => self.counts(suffix),
            _ => self.money(suffix).iter().map(|m| m.map(|m| m as f64)).collect(),
        }
    }
}

/// What is wrong with an interval that reaches beyond what there can be. Refunds may be more than
/// was paid in the same cell, so their rate has no end.
fn outside(insight: &str, form: Form, (low, high): (f64, f64)) -> Option<String> {
    let (least, most) = match form {
        Form::Money if insight != "sales" => (0.0, f64::INFINITY),
        Form::Per => (0.0, f64::INFINITY),
        Form::Share | Form::Rates => (0.0, 1.0),
        Form::Balance => (0.0, 200.0),
        _ => return None,
    };
    if low < least {
        return Some(format!("`{insight}` may be below {least}, which it cannot be"));
    }
    (high > most).then(|| format!("`{insight}` may be above {most}, which it cannot be"))
}
