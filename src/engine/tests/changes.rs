//! What users spend against another period: within the bound, the same in every engine, and counted
//! where a user is no longer.

use proptest::prelude::*;

use super::sensitivity::{check_every_unit, check_surveys};
use super::{agree, open, row};
use crate::fixture::{Market, Row};
use crate::plan::{KeyValue, Plan};

/// January 2025 to April 2026.
const DAYS: (&str, &str) = ("2025-01-01", "2026-04-30");

/// Payments of which some are a year after the others, so that users have both.
fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (row(), any::<bool>(), 0u32..3).prop_map(|(row, later, amount)| Row {
        minute: row.minute + u32::from(later) * 364 * 1440,
        // Often the same, so that some is flat.
        amount: [row.amount, 5_000, 5_200][amount as usize],
        ..row
    });
    prop::collection::vec(row, 0..150)
}

/// A report of one or two levels that compare periods.
fn report() -> impl Strategy<Value = String> {
    let keys = || {
        let places = vec!["merchant", "region", "wallet", "home_region", "hour"];
        let time = prop::sample::select(vec!["week", "month", "quarter"]);
        (prop::sample::subsequence(places, 0..3), time).prop_map(|(mut keys, time)| {
            keys.push(time);
            keys
        })
    };
    (keys(), 1u32..6, any::<bool>()).prop_map(|(keys, norm, customers)| {
        let (more, bound) =
            if customers { ("\"customers\", ", "customers = 2, ") } else { ("", "") };
        format!(
            "levels = [{keys:?}]\nkeys = \"public\"\n\
             insights = [{more}\"diffusion_classes\", \"diffusion_index_year\"]\n\
             bounds = {{ {bound}diffusion = {norm}, diffusion_year = \"{norm}.5\" }}"
        )
    })
}

fn plan(market: &Market, report: &str) -> Plan {
    market.plan_days(DAYS.0, DAYS.1, &[report.to_owned()]).expect("a plan")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn users_who_spend_more_or_less_are_within_the_bound(rows in rows(), report in report()) {
        let market = Market::new(&rows);
        check_every_unit(&market, &plan(&market, &report), &rows, |row| (row.user, 0));
        let plan = plan(&market, &open(&report));
        check_surveys((&market, &plan), &rows, |row| (row.user, 0), 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn engines_agree_on_who_spends_more_or_less(
        rows in rows(),
        report in report(),
        threads in 1usize..4,
    ) {
        let market = Market::new(&rows);
        for report in [report.clone(), open(&report)] {
            agree(&market, &plan(&market, &report), threads);
        }
    }
}

/// By month of one region, the users of each class.
fn classes(rows: &[Row]) -> Vec<[i64; 3]> {
    let market = Market::new(rows);
    let plan = market.plan(&["levels = [[\"region\", \"month\"]]\nkeys = \"public\"\n\
         insights = [\"diffusion_classes\"]\nbounds = { diffusion = 9 }"
        .to_owned()]);
    let totals = market.local(&plan, 1);
    assert!(totals == market.reference(&plan));
    let level = &totals.levels[0];
    let bits = plan.levels[0].statistics[0].noise.grid_bits;
    let cells = level.keys.iter().zip(level.sums[0].chunks_exact(3));
    let own = cells.filter(|(key, _)| key[0] == KeyValue::Text("R0".into()));
    own.map(|(_, sums)| [0, 1, 2].map(|class| sums[class] >> bits)).collect()
}

/// A user counts in the months before and after which they pay, and moves the others' classes by
/// nothing.
#[test]
fn who_comes_and_who_stays_away_is_counted() {
    let pay = |user, day: u32, amount| Row {
        user,
        merchant: 0,
        minute: day * 1440 + 600,
        amount,
        wallet: 0,
    };
    // The first is there in January alone, the second in February alone, the third always, and
    // spends 5 % less in March; the fourth has all paid back in February.
    let rows = [
        pay(0, 3, 900),
        pay(1, 40, 900),
        pay(2, 3, 1_000),
        pay(2, 40, 1_000),
        pay(2, 70, 950),
        pay(2, 100, 800),
        pay(3, 40, 700),
        pay(3, 41, -700),
        // In another region, which is another cell.
        Row { merchant: 1, ..pay(2, 71, 90_000) },
    ];
    // Of January nothing is known. In March the second is gone; so is the fourth, who had spent
    // nothing in all.
    assert_eq!(classes(&rows), [[0, 0, 0], [1, 2, 1], [0, 2, 1], [0, 0, 1]]);
    let without =
        |user: u32| -> Vec<Row> { rows.iter().filter(|row| row.user != user).cloned().collect() };
    assert_eq!(classes(&without(0)), [[0, 0, 0], [1, 2, 0], [0, 2, 1], [0, 0, 1]]);
    assert_eq!(classes(&without(1)), [[0, 0, 0], [0, 2, 1], [0, 2, 0], [0, 0, 1]]);
    assert_eq!(classes(&without(2)), [[0, 0, 0], [1, 1, 1], [0, 1, 1], [0, 0, 0]]);
    assert_eq!(classes(&without(3)), [[0, 0, 0], [1, 1, 1], [0, 1, 1], [0, 0, 1]]);
}
