//! Cells that are pairs: a user is in that of two values if they paid at both.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::sensitivity::{check_composed, check_every_unit, check_surveys, month};
use super::{agree, open, rows};
use crate::fixture::{Market, Row};
use crate::plan::{KeyValue, Plan};

fn market(rows: &[Row]) -> Market {
    let market = Market::with_kinds();
    market.set_payments(rows);
    market
}

/// Cells of single merchants are of use here.
fn plan_of(market: &Market, report: String) -> Plan {
    market.try_plan_with("min_per_cell = 1", &[report]).expect("a plan")
}

/// A report of one level of pairs, with any other keys.
fn report() -> impl Strategy<Value = String> {
    let column = prop::sample::select(vec!["region", "kind", "name"]);
    let others = prop::sample::subsequence(
        vec!["region", "kind", "home_region", "month", "week", "wallet", "hour"],
        0..3,
    );
    let keys = (column, others).prop_flat_map(|(column, others)| {
        let mut keys: Vec<String> =
            others.into_iter().filter(|key| *key != column).map(String::from).collect();
        // A name has one region and one kind, so it makes no pairs there.
        keys.retain(|key| column != "name" || !["region", "kind"].contains(&key.as_str()));
        keys.extend([column.to_owned(), format!("with_{column}")]);
        Just(keys).prop_shuffle()
    });
    (keys, 1u32..6).prop_map(|(keys, customers)| {
        format!(
            "levels = [{keys:?}]\nkeys = \"public\"\ninsights = [\"customers\"]\n\
             bounds = {{ customers = {customers}.25 }}"
        )
    })
}

/// Pairs within a month beside a level of none.
fn monthly() -> Vec<String> {
    vec![
        "insights = [\"customers\"]\nbounds = { customers = 2 }\nkeys = \"public\"\n\
         levels = [[\"month\"], [\"region\", \"with_region\", \"month\"]]"
            .to_owned(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn engines_agree_on_pairs(rows in rows(), report in report(), threads in 1usize..4) {
        let market = market(&rows);
        for report in [report.clone(), open(&report)] {
            agree(&market, &plan_of(&market, report), threads);
        }
    }

    #[test]
    fn engines_agree_on_pairs_within_a_month(rows in rows(), threads in 1usize..4) {
        let market = market(&rows);
        agree(&market, &market.plan_for("user-month", &monthly()), threads);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn users_of_pairs_are_within_the_bound(rows in rows(), report in report()) {
        let market = market(&rows);
        check_every_unit(&market, &plan_of(&market, report), &rows, |row| (row.user, 0));
    }

    #[test]
    fn users_of_pairs_are_in_one_bin_of_a_survey(rows in rows(), report in report()) {
        let market = market(&rows);
        let plan = plan_of(&market, open(&report));
        // Of a single pair the bound is known.
        prop_assume!(!plan.surveys.is_empty());
        check_surveys((&market, &plan), &rows, |row| (row.user, 0), 1);
    }

    #[test]
    fn users_of_pairs_within_a_month_are_within_the_bound(rows in rows()) {
        let market = market(&rows);
        let plan = market.plan_for("user-month", &monthly());
        check_every_unit(&market, &plan, &rows, |row| (row.user, month(row)));
        check_composed(&market, &plan, &rows);
    }
}

/// By pair, a count, of all pairs.
fn counts(plan: &Plan, market: &Market) -> BTreeMap<String, i64> {
    let text = |value: &KeyValue| match value {
        KeyValue::Text(text) => text.to_string(),
        KeyValue::Date(date) => date.to_string(),
        KeyValue::Number(number) => number.to_string(),
    };
    let totals = market.reference(plan);
    assert!(market.local(plan, 2) == totals);
    let grid = plan.levels[0].statistics[0].noise.grid_bits;
    let cells = totals.levels[0].keys.iter().zip(&totals.levels[0].sums[0]);
    cells
        .map(|(key, sum)| (key.iter().map(text).collect::<Vec<_>>().join(" "), sum >> grid))
        .collect()
}

/// Regions of M0 to M9 are R0, R1, R2, R0, ...
#[test]
fn who_paid_at_both_is_in_the_pair() {
    let pay = |user, merchant, day: u32, amount| Row {
        user,
        merchant,
        minute: day * 1440 + 5,
        amount,
        wallet: 0,
    };
    let rows = [
        // In all three regions, in one of them twice.
        pay(0, 0, 1, 100),
        pay(0, 3, 1, 100),
        pay(0, 1, 2, 100),
        pay(0, 2, 3, 100),
        // In two, in one of them with a refund alone.
        pay(1, 0, 1, 100),
        pay(1, 1, 1, -100),
        // In two, but not in one month.
        pay(2, 1, 1, 100),
        pay(2, 2, 40, 100),
        // In one.
        pay(3, 4, 1, 100),
    ];
    let market = market(&rows);
    let report = |levels: &str| {
        format!(
            "levels = [{levels}]\nkeys = \"public\"\ninsights = [\"customers\"]\n\
             bounds = {{ customers = 9 }}"
        )
    };
    let plan = plan_of(&market, report("[\"with_region\", \"region\"]"));
    let expected = [("R1 R0", 2), ("R2 R0", 1), ("R2 R1", 2)];
    let expected = expected.map(|(pair, count)| (pair.to_owned(), count)).into();
    assert_eq!(counts(&plan, &market), expected, "each pair once");
    // Within a month.
    let plan = plan_of(&market, report("[\"region\", \"with_region\", \"quarter\", \"month\"]"));
    let months = counts(&plan, &market);
    let of = |pair: &str| {
        months.iter().filter(|(key, _)| key.starts_with(pair)).map(|(_, n)| n).sum::<i64>()
    };
    assert_eq!([of("R0 R1"), of("R0 R2"), of("R1 R2")], [2, 1, 1]);
    // Kinds within a region: R0 has one only, the others have both.
    let plan = plan_of(&market, report("[\"kind\", \"region\", \"with_kind\"]"));
    assert_eq!(counts(&plan, &market).into_keys().collect::<Vec<_>>(), ["a R1 b", "a R2 b"]);
}

/// The norm of a user who paid at each of k is that of k(k − 1)/2 pairs.
#[test]
fn a_user_of_many_counts_in_all_their_pairs() {
    let pay = |merchant| Row { user: 1, merchant, minute: 5, amount: 100, wallet: 0 };
    let market = market(&(0..10).map(pay).collect::<Vec<Row>>());
    let report = |bound: &str| {
        format!(
            "levels = [[\"name\", \"with_name\"]]\nkeys = \"public\"\n\
             insights = [\"customers\"]\nbounds = {{ customers = \"{bound}\" }}"
        )
    };
    // √45 is 6.7082...
    let whole = counts(&plan_of(&market, report("6.709")), &market);
    assert_eq!((whole.len(), whole.values().sum::<i64>()), (45, 45));
    let scaled = counts(&plan_of(&market, report("6.708")), &market);
    assert_eq!(scaled.values().sum::<i64>(), 0, "each is a little less than one");
}
