//! Definition of cells: which one a payment is in, and where pairs and homes put it.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{Datelike, NaiveDate, Weekday};

use super::UserCells;
use crate::job::{Job, Key, TimeKey};
use crate::payments::Payment;
use crate::plan::{CellKey, KeyValue, LevelPlan, Plan};

/// The cell of a payment, before homes and pairs are known.
pub(super) fn key_of(plan: &Plan, level: &LevelPlan, payment: &Payment<'_>) -> CellKey {
    let text = |text: &str| KeyValue::Text(Arc::from(text));
    let day = plan.job.payments.period.day(payment.hour / 24);
    let value = |key: &Key| match key {
        Key::Merchant => text(payment.merchant),
        Key::MerchantAttribute(name) => text(attribute_of(&plan.job, name, payment)),
        // Known once all payments are.
        Key::Home(_) | Key::With(_) => text(""),
        Key::Time(time) => time_of(*time, day, payment.hour),
        Key::Column(name) => {
            let at = plan.columns.iter().position(|column| column == name);
            text(payment.rest[at.expect("the plan lists every column")])
        }
        Key::Currency => text(payment.rest[payment.rest.len() - 1]),
    };
    level.keys.iter().map(value).collect()
}

/// A merchant's value of a column of the table of merchants.
pub(super) fn attribute_of<'j>(job: &'j Job, name: &str, payment: &Payment<'_>) -> &'j str {
    let registry = job.registry.as_ref().expect("attributes come from it");
    let at = registry.ids.iter().position(|id| id == payment.merchant);
    &registry.attributes[name][at.expect("unknown merchants are bad rows")]
}

/// Definition of pairs: cells that differ in one attribute of merchants alone, the first of which
/// has the smaller value.
pub(super) fn pair_up(level: &LevelPlan, cells: &mut UserCells) {
    let place = |is: &dyn Fn(&Key) -> bool| level.keys.iter().position(is);
    let Some(with) = place(&|key| key.pairs_of().is_some()) else { return };
    let name = level.keys[with].pairs_of().expect("it is such a key").to_owned();
    let own = place(&|key| *key == Key::MerchantAttribute(name.clone())).expect("it is a key too");
    let mut pairs = UserCells::new();
    for (one, paid) in &*cells {
        for (other, more) in cells.iter().filter(|(other, _)| other[own] > one[own]) {
            let alike = (0..one.len()).all(|place| place == own || one[place] == other[place]);
            if alike {
                let mut key = one.clone();
                key[with] = other[own].clone();
                pairs.insert(key, [&paid[..], more].concat());
            }
        }
    }
    *cells = pairs;
}

/// Definition of homes: of each column the value with most payments and refunds, of equals the
/// first.
pub(super) fn move_home(
    level: &LevelPlan,
    counts: Option<&BTreeMap<String, BTreeMap<String, usize>>>,
    cells: &mut UserCells,
) {
    let home = |attribute: &str| {
        let counts = &counts.expect("a user has payments")[attribute];
        let most = counts.values().max().expect("a user has payments");
        let first = counts.iter().find(|(_, count)| *count == most).expect("one has most");
        KeyValue::Text(Arc::from(first.0.as_str()))
    };
    let place = |mut cell: CellKey| {
        for (value, key) in cell.iter_mut().zip(&level.keys) {
            if let Some(attribute) = key.home_of() {
                *value = home(attribute);
            }
        }
        cell
    };
    let all = std::mem::take(cells).into_iter();
    *cells = all.map(|(cell, paid)| (place(cell), paid)).collect();
}

fn time_of(time: TimeKey, day: NaiveDate, hour: u32) -> KeyValue {
    let first = day.with_day(1).expect("every month has a first day");
    match time {
        TimeKey::Day => KeyValue::Date(day),
        TimeKey::Week => KeyValue::Date(day.week(Weekday::Mon).first_day()),
        TimeKey::Month => KeyValue::Date(first),
        TimeKey::Quarter => {
            let month = [1, 1, 1, 4, 4, 4, 7, 7, 7, 10, 10, 10][day.month0() as usize];
            KeyValue::Date(first.with_month(month).expect("every month has a first day"))
        }
        TimeKey::Weekday => KeyValue::Number(day.weekday() as u8 + 1),
        TimeKey::Hour => KeyValue::Number((hour % 24) as u8),
    }
}
