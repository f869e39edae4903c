//! The exact sensitivity of noisy tables: with the noise frozen, data with and without one user
//! differ by that user's contribution and by nothing else.

use std::collections::BTreeMap;

use super::{NoisyTotals, RunKey, add_noise, noise_surveys};
use crate::fixture::{Market, Row, settled};
use crate::plan::{CellKey, Plan, Survey};

fn noisy(market: &Market, plan: &Plan) -> NoisyTotals {
    add_noise(plan, market.local(plan, 2), RunKey::frozen([7; 32]), 2).expect("draws")
}

/// (cell, number of the cell) → noised value of one statistic.
fn table(noisy: &NoisyTotals, level: usize, statistic: usize) -> BTreeMap<(CellKey, usize), i64> {
    let level = &noisy.levels[level];
    let width = (level.values[statistic].len() / level.keys.len().max(1)).max(1);
    let cells = level.keys.iter().zip(level.values[statistic].chunks_exact(width));
    let numbers = cells.flat_map(|(key, numbers)| {
        numbers.iter().enumerate().map(move |(n, &value)| ((key.clone(), n), value))
    });
    numbers.collect()
}

fn rows() -> Vec<Row> {
    let pay = |user, merchant, minute, amount| Row { user, merchant, minute, amount, wallet: 0 };
    let mut rows: Vec<Row> = (0..4_000)
        .map(|n| pay(100 + n % 400, n % 7 % 5, n * 37 % 160_000, i64::from(n % 900) * 11))
        .collect();
    // 0: everywhere with the largest amounts; 1: the same as refunds; 2: ten thousand payments at
    // one place; 3: one cent; 4: alone at its merchant.
    for n in 0..900 {
        rows.push(pay(0, n % 10, n * 190, 1_000_000_000_000));
        rows.push(pay(1, n % 10, n * 190, -1_000_000_000_000));
    }
    rows.extend((0..10_000).map(|n| pay(2, 3, 5, n)));
    rows.extend([pay(3, 2, 0, 1), pay(4, 9, 77, 5_000)]);
    rows
}

#[test]
fn frozen_noise_leaves_the_contribution_of_one_user() {
    let rows = rows();
    let market = Market::new(&rows);
    let rest = "insights = [\"customers\", \"payments\", \"sales\", \"ticket_histogram\"]\n\
                bounds = { customers = 2, payments = 6, sales = \"90.00\", ticket_histogram = 5 }";
    check_noisy_tables(&market, &market.plan(&reports(rest)), &rows);
}

fn reports(rest: &str) -> [String; 2] {
    let public = "levels = [[], [\"region\"], [\"merchant\", \"week\"]]\nkeys = \"public\"";
    let private = "levels = [[\"merchant\"]]\nkeys = \"private\"\ncells_max = 4";
    [format!("{public}\n{rest}"), format!("{private}\n{rest}")]
}

fn check_noisy_tables(market: &Market, plan: &Plan, rows: &[Row]) {
    market.set_payments(rows);
    let all = noisy(market, plan);
    assert!(!all.is_private());
    let (mut changed, mut shown) = (0, 0);
    for user in [0, 1, 2, 3, 4, 100, 101, 250, 499] {
        let (own, others): (Vec<Row>, Vec<Row>) =
            rows.iter().cloned().partition(|row| row.user == user);
        market.set_payments(&others);
        let without = noisy(market, plan);
        market.set_payments(&own);
        let alone = market.local(plan, 1);
        for (place, level) in plan.levels.iter().enumerate() {
            for (statistic, columns) in level.columns().enumerate() {
                let sums = alone.levels[place].sums[statistic].chunks_exact(columns.len());
                let own: BTreeMap<&CellKey, &[i64]> =
                    alone.levels[place].keys.iter().zip(sums).collect();
                let with = table(&all, place, statistic);
                let mut squares = 0;
                for ((key, number), value) in table(&without, place, statistic) {
                    // Private keys that both show; all public ones.
                    let Some(&with) = with.get(&(key.clone(), number)) else { continue };
                    let change = i128::from(with) - i128::from(value);
                    let own = own.get(&key).map_or(0, |numbers| numbers[number]);
                    assert_eq!(change, i128::from(own), "user {user} in {}", level.file);
                    squares += change.unsigned_abs().pow(2);
                    changed += usize::from(change != 0);
                    shown += 1;
                }
                let bound = u128::from(level.statistics[statistic].noise.bound.norm()).pow(2);
                assert!(squares <= bound, "user {user} in {}", level.file);
            }
        }
    }
    assert!(changed > 500 && shown > changed, "{changed} of {shown}");
}

/// The same where the run chooses bounds: surveys first, then tables by the bounds that follow from
/// them, which a next run could have too (`previous`).
#[test]
fn frozen_noise_leaves_the_contribution_of_one_user_to_surveys() {
    let rows = rows();
    let market = Market::new(&rows);
    let rest = "insights = [\"customers\", \"payments\", \"sales\", \"ticket_histogram\"]";
    let plan = market.plan(&reports(rest));
    let noised = |rows: &[Row]| -> Vec<Survey> {
        market.set_payments(rows);
        let exact = settled(&market.engine(2, 3), &plan).0.expect("bounds are open");
        noise_surveys(&plan, exact, &RunKey::frozen([7; 32])).expect("draws")
    };
    let all = noised(&rows);
    let mut changed = 0;
    for user in [0, 1, 2, 3, 4, 100, 499] {
        let (own, others): (Vec<Row>, Vec<Row>) =
            rows.iter().cloned().partition(|row| row.user == user);
        let without = noised(&others);
        market.set_payments(&own);
        let alone = settled(&market.engine(1, 3), &plan).0.expect("bounds are open").surveys;
        for (((all, without), alone), survey) in
            all.iter().zip(&without).zip(&alone).zip(&plan.surveys)
        {
            let pairs = all.histogram.iter().zip(&without.histogram);
            let change: Vec<i64> = pairs.map(|(a, b)| a - b).collect();
            assert_eq!(change, alone.histogram, "user {user}");
            let norm: i64 = change.iter().map(|change| change.abs()).sum();
            assert!(norm as u64 <= survey.histogram.bound.norm(), "user {user}");
            let spread = all.spread.zip(without.spread).map(|(a, b)| a - b);
            assert_eq!(spread, alone.spread, "user {user}");
            let most = survey.spread.map_or(0, |spread| spread.bound.norm());
            assert!(spread.unwrap_or(0) as u64 <= most, "user {user}");
            changed += usize::from(norm > 0);
        }
    }
    assert!(changed > 50, "{changed}");
    check_noisy_tables(&market, &plan.clone().settle(all), &rows);
}
