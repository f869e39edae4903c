//! Lifts: the example of `docs/insights.md`, and how near they are to the truth.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::shrink::tests::noise;
use super::{Estimate, Estimates, Values, estimate};
use crate::fixture::{Market, Row};
use crate::job::StatisticKind;
use crate::mechanism::{RunKey, add_noise};
use crate::plan::{CellKey, Earlier, EarlierCells, EarlierValues, KeyValue, Plan};

const PAGE: &str = include_str!("../../docs/insights.md");

/// By the numbers of its merchants, the lift of each pair.
type Lifts = BTreeMap<[usize; 2], Estimate<Option<f64>>>;

/// The names of the merchants M0 to M9 are their categories here.
fn report(bounds: &str) -> String {
    format!(
        "levels = [[], [\"name\"], [\"name\", \"with_name\"]]\nkeys = \"public\"\n\
         insights = [\"customers\", \"lift\"]\nsuppress_above = \"never\"\n{bounds}"
    )
}

fn plan(market: &Market, bounds: &str) -> Plan {
    let changes = [
        (
            "files = [\"merchants.parquet\"]\nticket_groups = \"region\"",
            "files = [\"merchants.parquet\"]\nmin_per_cell = 1",
        ),
        ("epsilon = \"1\"", "epsilon = \"4\""),
    ];
    market.try_plan_changed(&changes, &[report(bounds)]).expect("a plan")
}

fn lifts(plan: &Plan, market: &Market, key: u8) -> Lifts {
    let noisy = add_noise(plan, market.reference(plan), RunKey::frozen([key; 32]), 1);
    let estimates: Estimates = estimate(plan, noisy.expect("draws"), 1);
    let shown = estimates.table(2, 0);
    let table = shown.slices(shown.rows()).get(0);
    let column = table.columns.iter().find(|column| column.name == "lift").expect("asked");
    let Values::Counts(values) = &column.values else { panic!("plain numbers") };
    table.keys.iter().map(|key| pair(key)).zip(values.iter().copied()).collect()
}

fn pair(key: &[KeyValue]) -> [usize; 2] {
    let number = |value: &KeyValue| match value {
        KeyValue::Text(name) => name[1..].parse::<usize>().expect("a number"),
        _ => panic!("a name"),
    };
    [number(&key[0]), number(&key[1])]
}

fn pay(user: usize, merchant: usize) -> Row {
    Row { user: user as u32, merchant: merchant as u32, minute: 5, amount: 100, wallet: 0 }
}

#[test]
fn the_example_of_lifts_is_right() {
    let section = PAGE.split("## `").find(|text| text.starts_with("lift`")).expect("lift");
    let row = |line: &str| {
        let fields: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [user, category, _, _] = fields[..] else { return None };
        let user = ["Ann", "Ben", "Eve", "Joe"].iter().position(|name| *name == user)?;
        Some(pay(user, ["books", "food", "fuel"].iter().position(|name| *name == category)?))
    };
    let rows: Vec<Row> = section.lines().filter_map(row).collect();
    assert_eq!(rows.len(), 7);
    let market = Market::with_kinds();
    market.set_payments(&rows);
    let mut plan = plan(&market, "bounds = { customers = 9 }");
    // With next to no noise.
    for level in &mut plan.levels {
        level.statistics.iter_mut().for_each(|s| s.noise.sigma = 1 << 7);
    }
    let lifts = lifts(&plan, &market, 5);
    let bold = section.split("**").nth(1).expect("an example");
    let expected = bold.split(", ").map(|number| number.parse::<f64>().expect("a number"));
    for (pair, expected) in [[0, 1], [0, 2], [1, 2]].into_iter().zip(expected) {
        let Estimate { interval, unbiased, .. } = lifts[&pair];
        for value in [interval.value, unbiased] {
            let value = value.expect("shown");
            assert!((value - expected).abs() < 0.01 * expected, "{pair:?}: {value} for {expected}");
        }
    }
    // Nobody pays at the others, so there is nothing to divide by.
    assert_eq!(lifts[&[0, 9]].unbiased, None);
    assert_eq!(lifts[&[0, 9]].interval.value, None);
}

/// Users who are likelier than others to pay everywhere, at categories in two groups that go
/// together.
fn crowd(users: usize) -> Vec<Row> {
    crowd_at(users, |_| 0.3)
}

/// With so large a chance to pay at each.
fn crowd_at(users: usize, chance: impl Fn(usize) -> f64) -> Vec<Row> {
    let mut state = 7u64;
    let mut random = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut rows = Vec::new();
    for user in 0..users {
        let (busy, group) = (0.6 + 0.8 * random(), usize::from(random() < 0.5));
        for merchant in 0..10 {
            let likes = if merchant % 2 == group { 1.3 } else { 0.7 };
            if random() < chance(merchant) * busy * likes {
                rows.push(pay(user, merchant));
            }
        }
    }
    rows
}

/// How many users pay at all of these.
fn count(users: &BTreeMap<u32, Vec<usize>>, of: &[usize]) -> f64 {
    users.values().filter(|own| of.iter().all(|m| own.contains(m))).count() as f64
}

fn by_user(rows: &[Row]) -> BTreeMap<u32, Vec<usize>> {
    let mut users: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    rows.iter().for_each(|row| users.entry(row.user).or_default().push(row.merchant as usize));
    users
}

fn truth(rows: &[Row]) -> BTreeMap<[usize; 2], f64> {
    let users = by_user(rows);
    let count = |of: &[usize]| count(&users, of);
    let pairs = (0..10).flat_map(|one| (one + 1..10).map(move |other| [one, other]));
    let all = users.len() as f64;
    pairs.map(|pair| (pair, count(&pair) * all / count(&pair[..1]) / count(&pair[1..]))).collect()
}

/// Estimates are drawn to each other, and intervals hold the truth. Over 20 draws of noise, of
/// which all are the same in each run.
#[test]
fn lifts_are_nearer_to_the_truth_than_noised_values() {
    let rows = crowd(1500);
    let market = Market::with_kinds();
    market.set_payments(&rows);
    let plan = plan(&market, "bounds = { customers = [1, 4, 10] }");
    let truth = truth(&rows);
    let (mut own, mut noised, mut held, mut count) = (0.0, 0.0, 0.0, 0.0);
    for key in 0..20 {
        for (pair, Estimate { interval, unbiased, .. }) in lifts(&plan, &market, key) {
            let [Some(x), Some(low), Some(high), Some(unbiased)] =
                [interval.value, interval.low, interval.high, unbiased]
            else {
                continue;
            };
            assert!(low <= x && x <= high);
            let truth = truth[&pair];
            own += (x - truth).abs();
            noised += (unbiased - truth).abs();
            held += f64::from(u8::from(low <= truth && truth <= high));
            count += 1.0;
        }
    }
    assert!(count > 800.0, "{count} shown");
    assert!(own < 0.85 * noised, "{} for {} of noised values", own / count, noised / count);
    assert!(held / count > 0.93, "{} held", held / count);
}

/// Pairs of earlier releases are judged by the same values as those of this one, so that large ones
/// are not taken for such that go together.
#[test]
fn pairs_of_earlier_releases_help() {
    let rows = crowd_at(1500, |merchant| 0.6 / (1.0 + merchant as f64 / 2.0));
    let market = Market::with_kinds();
    market.set_payments(&rows);
    let mut plan = plan(&market, "bounds = { customers = [1, 4, 10] }");
    let (truth, users) = (truth(&rows), by_user(&rows));
    let error = |plan: &Plan| -> f64 {
        let all = (0..10).flat_map(|key| lifts(plan, &market, key));
        let error = |(pair, found): ([usize; 2], Estimate<Option<f64>>)| {
            found.interval.value.map(|lift| (lift - truth[&pair]).abs())
        };
        all.filter_map(error).sum()
    };
    let alone = error(&plan);
    let sd = plan.levels[2].statistics[0].noise.sd();
    let keys = plan.levels[2].cells.public_keys(&plan.job).expect("public");
    let first = plan.job.payments.period.first();
    let release = |month: usize| {
        let seen = |(place, key): (usize, &CellKey)| {
            count(&users, &pair(key)) + sd * noise(1000 * month + place)
        };
        let values: Vec<f64> = keys.iter().enumerate().map(seen).collect();
        let (sds, shown) = (vec![sd; values.len()], vec![None; values.len()]);
        let values = EarlierValues { values, sds, shown };
        let days = (
            first - chrono::Days::new(120 * month as u64),
            first - chrono::Days::new(120 * month as u64 - 119),
        );
        let statistics = [(StatisticKind::Customers, values)].into();
        let cells = EarlierCells { days, keys: keys.clone(), statistics };
        Earlier { from: (month.to_string(), String::new()), cells: Arc::new(cells) }
    };
    plan.levels[2].earlier = (1..=4).map(release).collect();
    let helped = error(&plan);
    assert!(helped < 0.95 * alone, "{helped} against {alone}");
}
