//! The exact sensitivity of noisy tables: with the noise frozen, data with and without one user
//! differ by that user's contribution and by nothing else.

use std::collections::BTreeMap;

use super::{NoisyTotals, RunKey, add_noise};
use crate::fixture::{Market, Row};
use crate::plan::{CellKey, Plan};

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
    let plan = market.plan(&[
        format!("levels = [[], [\"region\"], [\"merchant\", \"week\"]]\nkeys = \"public\"\n{rest}"),
        format!("levels = [[\"merchant\"]]\nkeys = \"private\"\ncells_max = 4\n{rest}"),
    ]);
    let all = noisy(&market, &plan);
    assert!(!all.is_private());
    let (mut changed, mut shown) = (0, 0);
    for user in [0, 1, 2, 3, 4, 100, 101, 250, 499] {
        let (own, others): (Vec<Row>, Vec<Row>) =
            rows.iter().cloned().partition(|row| row.user == user);
        market.set_payments(&others);
        let without = noisy(&market, &plan);
        market.set_payments(&own);
        let alone = market.local(&plan, 1);
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
