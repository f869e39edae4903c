//! Shares, growth and indexes: are they those of the statistics in the same table?

use std::collections::{BTreeMap, HashMap};

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int32Type};
use chrono::{Datelike, Days, Months, NaiveDate};

use super::lattice::{Faults, KeyCell, NO_PERIOD, key_cell};
use super::manifest::{KeySet, Manifest};
use super::table::{COMPARED, Form};

/// Room for sums of floats.
const CLOSE: f64 = 1e-9;

/// Shares, growth and indexes, each with its statistic.
fn ratios() -> impl Iterator<Item = (&'static str, &'static str)> {
    let ratios = COMPARED.into_iter().filter(|(.., form)| *form == Form::Compared);
    ratios.map(|(name, needs, _)| (name, needs[0]))
}

/// The columns of a table that are compared with others, whole: cells look at cells elsewhere.
pub(super) struct Comparisons<'m> {
    set: &'m KeySet,
    keys: Vec<Vec<KeyCell>>,
    columns: BTreeMap<String, Vec<Option<f64>>>,
    /// Columns in whole minor units, which may be rounded.
    money: Vec<String>,
    /// Of comparisons, whether a cell is hidden for want of a period (true) or for its error
    /// (false).
    reasons: BTreeMap<&'static str, Vec<Option<bool>>>,
}

impl<'m> Comparisons<'m> {
    pub(super) fn new(set: &'m KeySet) -> Self {
        let (keys, columns, money) = (Vec::new(), BTreeMap::new(), Vec::new());
        Comparisons { set, keys, columns, money, reasons: BTreeMap::new() }
    }

    /// Keeps the columns that comparisons look at, if the table has any.
    pub(super) fn add(&mut self, batch: &RecordBatch) {
        let asked = ratios().filter(|(name, _)| batch.column_by_name(name).is_some());
        let asked: Vec<_> = asked.collect();
        for (name, _) in &asked {
            let Some(column) = batch.column_by_name(&format!("{name}_suppressed")) else {
                continue;
            };
            let column = column.as_dictionary::<Int32Type>();
            let texts = column.values().as_string::<i32>();
            let reason = |code: Option<i32>| match texts.value(usize::try_from(code?).ok()?) {
                NO_PERIOD => Some(true),
                "error" => Some(false),
                _ => None,
            };
            self.reasons.entry(name).or_default().extend(column.keys().iter().map(reason));
        }
        let asked = asked.into_iter();
        let names: Vec<&str> = asked.flat_map(|(name, needs)| [name, needs]).collect();
        if names.is_empty() {
            return;
        }
        let keys = self.set.keys.len();
        let key = |row| (0..keys).map(|key| key_cell(batch.column(key), row)).collect();
        self.keys.extend((0..batch.num_rows()).map(key));
        let mut done: Vec<String> = Vec::new();
        for name in names.iter().flat_map(|name| ["", "_unbiased"].map(|s| format!("{name}{s}"))) {
            let Some(column) = batch.column_by_name(&name) else { continue };
            if done.contains(&name) {
                continue;
            }
            if *column.data_type() != DataType::Float64 {
                self.money.push(name.clone());
            }
            self.columns.entry(name.clone()).or_default().extend(decimals(column));
            done.push(name);
        }
    }

    pub(super) fn check(&self, manifest: &Manifest, faults: &mut Faults) {
        for (name, needs) in ratios() {
            for suffix in ["", "_unbiased"] {
                let Some(values) = self.columns.get(&format!("{name}{suffix}")) else { continue };
                let of = format!("{needs}{suffix}");
                match name.split_once('_').map(|(_, comparison)| comparison) {
                    Some("share") => {
                        self.check_shares(&format!("{name}{suffix}"), values, &of, faults)
                    }
                    _ => self.check_growth((name, suffix), values, &of, manifest, faults),
                }
            }
            if !name.ends_with("_share") {
                self.check_reasons(name, manifest, faults);
            }
        }
    }

    /// Shares of one whole add up to one, and are parts of it.
    fn check_shares(&self, name: &str, values: &[Option<f64>], of: &str, faults: &mut Faults) {
        if self.set.share_of.is_empty() {
            faults.add(0, format!("`{name}` is a share of what the manifest does not say"));
        }
        let mut wholes: BTreeMap<Vec<&KeyCell>, Vec<usize>> = BTreeMap::new();
        for (row, key) in self.keys.iter().enumerate() {
            let rest = self.set.keys.iter().zip(key);
            let rest = rest.filter(|(key, _)| !self.set.share_of.contains(key));
            wholes.entry(rest.map(|(_, cell)| cell).collect()).or_default().push(row);
        }
        for rows in wholes.values() {
            let shares: Option<f64> = rows.iter().map(|&row| values[row]).sum();
            let size: f64 = rows.iter().filter_map(|&row| values[row]).map(f64::abs).sum();
            if shares.is_some_and(|sum| (sum - 1.0).abs() > CLOSE * size.max(1.0)) {
                faults.add(rows[0] as u64 + 1, format!("`{name}` do not add up to one"));
            }
            let Some(parts) = self.columns.get(of) else { continue };
            let Some(whole) = rows.iter().map(|&row| parts[row]).sum::<Option<f64>>() else {
                continue;
            };
            // Money may be rounded by half a minor unit, in each part.
            let rounded = if self.money.iter().any(|name| name == of) { 0.5 } else { 0.0 };
            for &row in rows {
                let Some((share, part)) = values[row].zip(parts[row]) else { continue };
                let room = rounded * (1.0 + rows.len() as f64 * share.abs());
                if (share * whole - part).abs() > room + CLOSE * (whole.abs() + part.abs()) {
                    faults.add(row as u64 + 1, format!("`{name}` is not its part of the whole"));
                }
            }
        }
    }

    /// Growth and indexes are what a cell has for each unit of another one's.
    fn check_growth(
        &self,
        (name, suffix): (&str, &str),
        values: &[Option<f64>],
        of: &str,
        manifest: &Manifest,
        faults: &mut Faults,
    ) {
        let rows: HashMap<&Vec<KeyCell>, usize> = self.keys.iter().zip(0..).collect();
        let scale = if name.ends_with("_index") { 100.0 } else { 1.0 };
        let rounded = if self.money.iter().any(|name| name == of) { 0.5 } else { 0.0 };
        for (row, value) in values.iter().enumerate() {
            let Some(value) = value else { continue };
            let other = self.other(name, &self.keys[row], manifest);
            let other = other.and_then(|other| rows.get(&other).copied());
            if other.is_none() && (suffix == "_unbiased" || scale > 1.0) {
                let text = format!("`{name}{suffix}` is against a cell that is not in the table");
                faults.add(row as u64 + 1, text);
            }
            let pair = self.columns.get(of).zip(other);
            let pair = pair.and_then(|(of, other)| of[row].zip(of[other]));
            let Some((top, bottom)) = pair else { continue };
            let ratio = value / scale;
            let room = rounded * (1.0 + ratio.abs()) + CLOSE * (top.abs() + bottom.abs());
            if (ratio * bottom - top).abs() > room {
                faults.add(row as u64 + 1, format!("`{name}{suffix}` is not what its cells say"));
            }
        }
    }

    /// Where there is no period to be compared with, that is the reason, and nowhere else. What an
    /// earlier release holds, does not show here.
    fn check_reasons(&self, name: &'static str, manifest: &Manifest, faults: &mut Faults) {
        let rows: HashMap<&Vec<KeyCell>, usize> = self.keys.iter().zip(0..).collect();
        let alone = manifest.estimates_from.is_empty() || name.ends_with("_index");
        for (row, reason) in self.reasons.get(name).into_iter().flatten().enumerate() {
            let other = self.other(name, &self.keys[row], manifest);
            let known = other.is_some_and(|other| rows.contains_key(&other));
            let text = match reason {
                Some(true) if known => "is said to have no period to be compared with, but has one",
                Some(false) if !known && alone => "is hidden for its error in place of its period",
                _ => continue,
            };
            faults.add(row as u64 + 1, format!("`{name}` {text}"));
        }
    }

    /// The key of the cell that one is compared with, if both periods are whole.
    fn other(&self, name: &str, key: &[KeyCell], manifest: &Manifest) -> Option<Vec<KeyCell>> {
        let (place, unit, start, wanted) = wanted(self.set, name, key)?;
        let days = (manifest.job.first_day.0, manifest.job.last_day.0);
        let mut other = key.to_vec();
        other[place] = KeyCell::Number(wanted.to_epoch_days().into());
        (is_whole(unit, start, days) && is_whole(unit, wanted, days)).then_some(other)
    }
}

/// A column of plain numbers, or of money in minor units.
pub(super) fn decimals(column: &ArrayRef) -> Vec<Option<f64>> {
    match column.data_type() {
        DataType::Float64 => column.as_primitive::<Float64Type>().iter().collect(),
        _ => {
            let money = column.as_primitive::<Decimal128Type>();
            money.iter().map(|minor| minor.map(|minor| minor as f64)).collect()
        }
    }
}

/// Of a key with a period its place, the period's name and start, and the start of the one that it
/// is compared with.
pub(super) fn wanted<'s>(
    set: &'s KeySet,
    name: &str,
    key: &[KeyCell],
) -> Option<(usize, &'s str, NaiveDate, NaiveDate)> {
    let known = |name: &String| ["day", "week", "month", "quarter"].contains(&name.as_str());
    let place = set.keys.iter().position(known)?;
    let KeyCell::Number(start) = &key[place] else { return None };
    let start = NaiveDate::from_epoch_days(i32::try_from(*start).ok()?)?;
    let unit = set.keys[place].as_str();
    let wanted = if name.ends_with("_index") {
        begin(unit, set.base.as_ref()?.0)?
    } else if name.ends_with("_growth_year") {
        match unit {
            "day" | "week" => start.checked_sub_days(Days::new(364))?,
            _ => start.checked_sub_months(Months::new(12))?,
        }
    } else {
        begin(unit, start.pred_opt()?)?
    };
    Some((place, unit, start, wanted))
}

/// Does the period that begins then lie within these days? None does that the calendar cuts off.
pub(super) fn is_whole(
    unit: &str,
    start: NaiveDate,
    (first, last): (NaiveDate, NaiveDate),
) -> bool {
    let end = match unit {
        "day" => start.checked_add_days(Days::new(1)),
        "week" => start.checked_add_days(Days::new(7)),
        "month" => start.checked_add_months(Months::new(1)),
        _ => start.checked_add_months(Months::new(3)),
    };
    first <= start && end.is_some_and(|end| end.pred_opt() <= Some(last))
}

/// The first day of the period that holds a day.
fn begin(unit: &str, day: NaiveDate) -> Option<NaiveDate> {
    match unit {
        "day" => Some(day),
        "week" => day.checked_sub_days(Days::new(day.weekday().num_days_from_monday().into())),
        "month" => day.with_day(1),
        _ => day.with_day(1)?.with_month0(day.month0() / 3 * 3),
    }
}
