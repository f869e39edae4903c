//! Keys that rounds discover: what one user adds to a round, and to what is measured after.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::sensitivity::{check_composed, check_every_unit, check_surveys, month};
use super::{agree, open, report, rows};
use crate::engine::{ExactSurveys, LevelTotals};
use crate::fixture::{Market, Row, settled};
use crate::plan::{CellKey, KeyValue, Plan};

/// Reports of any kind whose keys are discovered.
fn discovered() -> impl Strategy<Value = String> {
    let own = |report: &str| report.contains("keys = \"private\"");
    report()
        .prop_filter("private", move |r| own(r))
        .prop_map(|r| r.replace("private", "discovered"))
}

/// Flows, in a market with kinds.
fn flows() -> impl Strategy<Value = String> {
    let keys = ["[\"home_region\", \"merchant\"]", "[\"home_kind\", \"week\", \"home_region\"]"];
    (prop::sample::select(keys.to_vec()), 1u32..9).prop_map(|(keys, most)| {
        format!(
            "levels = [{keys}]\nkeys = \"discovered\"\ncells_max = {most}\n\
             insights = [\"customers\", \"payments\"]\nbounds = {{ customers = 2, payments = 5 }}"
        )
    })
}

fn monthly() -> [String; 1] {
    ["levels = [[\"month\"], [\"merchant\", \"day\"], [\"wallet\", \"month\"]]\n\
      keys = \"discovered\"\ncells_max = 2\ninsights = [\"customers\", \"payments\"]\n\
      bounds = { customers = 2, payments = 4 }"
        .to_owned()]
}

/// Removes each unit in turn, or all of a user's at once: a round changes by at most its bound for
/// each unit, and in at most so many cells, whatever was found before.
fn check_rounds(
    (market, plan): (&Market, &Plan),
    rows: &[Row],
    removed: fn(&Row) -> (u32, u32),
    units: u32,
) {
    let mut plan = plan.clone();
    while plan.is_seeking() {
        market.set_payments(rows);
        let all = next(market, &plan);
        for user in rows.iter().map(removed).collect::<BTreeSet<_>>() {
            let others: Vec<Row> = rows.iter().filter(|r| removed(r) != user).cloned().collect();
            market.set_payments(&others);
            let without = next(market, &plan);
            let seeking = plan.levels.iter().filter(|level| level.round().is_some());
            for ((all, without), level) in all.round.iter().zip(&without.round).zip(seeking) {
                let round = level.round().expect("it seeks");
                let mut change = cells(all);
                for (key, value) in cells(without) {
                    *change.entry(key).or_default() -= value;
                }
                change.retain(|_, value| *value != 0);
                let squares: u128 = change.values().map(|v| v.unsigned_abs().pow(2)).sum();
                // Units of a user may meet in a cell, but where it lies within a period.
                let within = plan.job.privacy.unit.holds_cells(&level.keys);
                let factor = if within { units } else { units * units };
                let bound = u128::from(factor) * u128::from(round.noise.bound.norm()).pow(2);
                assert!(squares <= bound, "user {user:?} of {}", level.file);
                let most = units * level.discovery().expect("it seeks").cells_max;
                assert!(change.len() <= most as usize, "user {user:?} has {} cells", change.len());
                assert!(change.keys().all(|key| !level.always.contains(key)), "found before");
                // What the threshold rests on: as much in each of their cells.
                let each: BTreeSet<i128> = change.values().copied().collect();
                assert!(units > 1 || each.len() <= 1, "user {user:?} has {each:?}");
                let known = i128::from(round.each(change.len()));
                assert!(units > 1 || each.iter().all(|each| *each == known));
            }
        }
        // Every second cell is found, so that later rounds have some of them behind them.
        let found = |level: &LevelTotals| level.keys.iter().step_by(2).cloned().collect();
        plan = plan.discover(all.round.iter().map(found).collect());
    }
}

fn cells(level: &LevelTotals) -> BTreeMap<CellKey, i128> {
    level.keys.iter().cloned().zip(level.sums[0].iter().map(|&sum| i128::from(sum))).collect()
}

/// The next round of a plan.
fn next(market: &Market, plan: &Plan) -> ExactSurveys {
    use crate::engine::Engine;
    let mut first = None;
    let stop = || crate::error::Error::invalid(crate::findings::keys_too_many());
    let ended = market.engine(2, 3).totals(plan, &mut |exact| {
        first = Some(exact);
        Err(stop())
    });
    assert!(ended.is_err(), "it was asked");
    first.expect("a round")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn engines_agree_on_what_is_discovered(
        rows in rows(),
        report in discovered(),
        threads in 1usize..4,
    ) {
        let market = Market::new(&rows);
        for report in [report.clone(), open(&report)] {
            agree(&market, &market.plan(&[report]), threads);
        }
    }

    #[test]
    fn engines_agree_on_flows_that_are_discovered(
        rows in rows(),
        report in flows(),
        threads in 1usize..4,
    ) {
        let market = Market::with_kinds();
        market.set_payments(&rows);
        for report in [report.clone(), open(&report)] {
            agree(&market, &market.plan(&[report]), threads);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn users_are_within_the_bound_of_every_round(rows in rows(), report in discovered()) {
        let market = Market::new(&rows);
        let plan = market.plan(&[report]);
        check_rounds((&market, &plan), &rows, |row| (row.user, 0), 1);
    }

    #[test]
    fn users_are_within_the_bounds_of_what_is_measured_in_discovered_cells(
        rows in rows(),
        report in discovered(),
    ) {
        let market = Market::new(&rows);
        check_every_unit(&market, &market.plan(&[report]), &rows, |row| (row.user, 0));
    }

    #[test]
    fn users_of_flows_are_within_the_bound_of_every_round(
        rows in rows(),
        report in flows(),
    ) {
        let market = Market::with_kinds();
        market.set_payments(&rows);
        let plan = market.plan(&[report]);
        check_rounds((&market, &plan), &rows, |row| (row.user, 0), 1);
        check_every_unit(&market, &plan, &rows, |row| (row.user, 0));
    }

    #[test]
    fn users_within_a_month_are_within_the_bound_of_every_round(rows in rows()) {
        let market = Market::new(&rows);
        let plan = market.plan_for("user-month", &monthly());
        check_rounds((&market, &plan), &rows, |row| (row.user, month(row)), 1);
        check_rounds((&market, &plan), &rows, |row| (row.user, 0), plan.unit_periods());
        check_every_unit(&market, &plan, &rows, |row| (row.user, month(row)));
        check_composed(&market, &plan, &rows);
    }
}

/// Surveys look at the cells that were found, and at no others.
#[test]
fn surveys_are_of_discovered_cells() {
    let pay = |n: u32| Row {
        user: n % 4,
        merchant: n % 10,
        minute: n * 7000 % 170_000,
        amount: 500,
        wallet: n % 3,
    };
    let rows: Vec<Row> = (0..120).map(pay).collect();
    let market = Market::new(&rows);
    let plan = market.plan(&["levels = [[\"merchant\"]]\nkeys = \"discovered\"\n\
        insights = [\"customers\", \"payments\"]"
        .to_owned()]);
    let (counts, settled, totals) = settled(&market.engine(2, 3), &plan);
    let found = settled.levels[0].always.len();
    assert!((1..10).contains(&found), "{found}");
    assert_eq!(totals.levels[0].keys, settled.levels[0].always);
    let counts = counts.expect("asked");
    assert_eq!((counts.round.len(), counts.surveys.len()), (3, 2));
    // The norm of customers is the root of the number of found merchants: its square is in a bin.
    let mut known = vec![0; counts.surveys[0].histogram.len()];
    for user in 0..4 {
        let own: BTreeSet<String> =
            rows.iter().filter(|r| r.user == user).map(|r| format!("M{}", r.merchant)).collect();
        let is_found = |own: &&String| {
            let key = KeyValue::Text(own.as_str().into());
            settled.levels[0].always.iter().any(|cell| cell[0] == key)
        };
        if let Some(bin) = own.iter().filter(is_found).count().checked_ilog2() {
            known[bin as usize] += 1i64 << plan.surveys[0].histogram.grid_bits;
        }
    }
    assert_eq!(counts.surveys[0].histogram, known);
    let mut again = settled;
    again.surveys.iter_mut().for_each(|survey| survey.result = None);
    check_surveys((&market, &again), &rows, |row| (row.user, 0), 1);
}
