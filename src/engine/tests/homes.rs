//! Keys that tell where users are at home: found from all payments of one user, and of nobody else.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::sensitivity::{check_composed, check_every_unit, check_surveys, month};
use super::{ALL, agree, open, rows};
use crate::engine::LevelTotals;
use crate::fixture::{Market, Row};
use crate::plan::{CellKey, KeyValue, Plan};

/// Merchants have a region, a kind and a name.
fn market(rows: &[Row]) -> Market {
    let market = Market::with_kinds();
    market.set_payments(rows);
    market
}

/// A report of one level with one home or two and any other keys.
fn report() -> impl Strategy<Value = String> {
    let homes = prop::sample::subsequence(vec!["home_region", "home_kind"], 1..3);
    let others = prop::sample::subsequence(
        vec!["merchant", "region", "kind", "month", "week", "wallet", "hour"],
        0..3,
    );
    let settings = (any::<bool>(), 1u32..8, 1u32..6, 1u32..30, 1u32..2000);
    let keys = (homes, others)
        .prop_flat_map(|(homes, others)| Just([homes, others].concat()).prop_shuffle());
    (keys, settings).prop_map(|(keys, (private, cells_max, customers, payments, sales))| {
        let selection = if private { "private" } else { "public" };
        format!(
            "levels = [{keys:?}]\nkeys = \"{selection}\"\ncells_max = {cells_max}\ninsights = {ALL}\n\
             bounds = {{ customers = {customers}.25, payments = {payments}, sales = \"{sales}.01\", \
             ticket_histogram = {payments}, gross = \"{sales}\", refunds = {customers}, \
             visits = {payments}, visit_classes = {customers} }}"
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn engines_agree_on_where_users_are_at_home(
        rows in rows(),
        report in report(),
        threads in 1usize..4,
    ) {
        let market = market(&rows);
        for report in [report.clone(), open(&report)] {
            agree(&market, &market.plan(&[report]), threads);
        }
    }

    #[test]
    fn engines_agree_on_homes_within_a_month(rows in rows(), threads in 1usize..4) {
        let market = market(&rows);
        agree(&market, &market.plan_for("user-month", &monthly()), threads);
    }
}

/// Levels with and without homes, public and private ones.
fn monthly() -> Vec<String> {
    let all = "insights = [\"customers\", \"payments\", \"sales\", \"visits\"]\n\
               bounds = { customers = 2, payments = 5, sales = \"90.00\", visits = 3 }\n\
               levels = [[\"month\"], [\"home_region\", \"region\", \"month\"]]";
    ["public", "private"].map(|keys| format!("{all}\nkeys = \"{keys}\"\ncells_max = 2")).into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// What another user pays does not move where one is at home, and all of what moves is theirs.
    #[test]
    fn users_at_home_are_within_the_bound(rows in rows(), report in report()) {
        let market = market(&rows);
        check_every_unit(&market, &market.plan(&[report]), &rows, |row| (row.user, 0));
    }

    #[test]
    fn users_at_home_are_in_one_bin_of_a_survey(rows in rows(), report in report()) {
        let market = market(&rows);
        let plan = market.plan(&[open(&report)]);
        check_surveys((&market, &plan), &rows, |row| (row.user, 0), 1);
    }

    #[test]
    fn users_at_home_within_a_month_are_within_the_bound(rows in rows()) {
        let market = market(&rows);
        let plan = market.plan_for("user-month", &monthly());
        check_every_unit(&market, &plan, &rows, |row| (row.user, month(row)));
        check_composed(&market, &plan, &rows);
    }
}

/// By flow from home to region, a count, where there is any.
fn counts(plan: &Plan, totals: &LevelTotals) -> BTreeMap<String, i64> {
    let text = |value: &KeyValue| match value {
        KeyValue::Text(text) => text.to_string(),
        _ => "no text".to_owned(),
    };
    let grid = plan.levels[0].statistics[0].noise.grid_bits;
    let flow = |key: &CellKey| format!("{} to {}", text(&key[0]), text(&key[1]));
    let cells = totals.keys.iter().zip(&totals.sums[0]);
    cells.map(|(key, sum)| (flow(key), sum >> grid)).filter(|(_, count)| *count > 0).collect()
}

/// Regions of M0 to M9 are R0, R1, R2, R0, ...: counted by payments and refunds, of equals the
/// first.
#[test]
fn home_is_where_most_payments_are() {
    let pay = |user, merchant, amount| Row { user, merchant, minute: 5, amount, wallet: 0 };
    let rows = [
        // Two in R1, at two merchants, and one large one in R0.
        pay(0, 1, 100),
        pay(0, 4, 100),
        pay(0, 0, 90_000),
        // As many in R2 as in R1.
        pay(1, 2, 100),
        pay(1, 1, 100),
        // A payment and its refund in R2, and one payment in R0.
        pay(2, 2, 100),
        pay(2, 2, -100),
        pay(2, 3, 100),
        // Nothing but a refund.
        pay(3, 2, -100),
    ];
    let report = "levels = [[\"home_region\", \"region\"]]\nkeys = \"public\"\n\
                  insights = [\"customers\"]\nbounds = { customers = 3 }";
    let market = market(&rows);
    let plan = market.plan(&[report.to_owned()]);
    let totals = market.local(&plan, 2);
    assert!(totals == market.reference(&plan));
    let level = &totals.levels[0];
    let text = |value: &KeyValue| match value {
        KeyValue::Text(text) => text.to_string(),
        _ => "no text".to_owned(),
    };
    let grid = plan.levels[0].statistics[0].noise.grid_bits;
    let cells = level
        .keys
        .iter()
        .zip(&level.sums[0])
        .map(|(key, sum)| (format!("{} to {}", text(&key[0]), text(&key[1])), sum >> grid));
    let shown: BTreeMap<String, i64> = cells.filter(|(_, count)| *count > 0).collect();
    let expected =
        [("R1 to R0", 1), ("R1 to R1", 2), ("R1 to R2", 1), ("R2 to R0", 1), ("R2 to R2", 2)];
    assert_eq!(shown, expected.map(|(cell, count)| (cell.to_owned(), count)).into());
    assert_eq!(level.keys.len(), 9, "all flows are public");
}

/// The example of `docs/insights.md`.
#[test]
fn the_example_of_flows_is_right() {
    let page = include_str!("../../../docs/insights.md");
    let section =
        page.split("## `").find(|text| text.starts_with("home_region`")).expect("home_region");
    let mut rows = Vec::new();
    for line in section.lines() {
        let fields: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [user, merchant, region, count] = fields[..] else { continue };
        let Some(user) = ["Ann", "Ben", "Eve"].iter().position(|name| *name == user) else {
            continue;
        };
        let merchant: u32 = merchant[1..].parse().expect("a merchant");
        assert_eq!(region, format!("R{merchant}"));
        let pay = Row { user: user as u32, merchant, minute: 5, amount: 100, wallet: 0 };
        rows.extend(vec![pay; count.parse().expect("a number")]);
    }
    assert_eq!(rows.len(), 8);
    let report = "levels = [[\"home_region\", \"region\"]]\nkeys = \"public\"\n\
                  insights = [\"payments\"]\nbounds = { payments = 9 }";
    let market = market(&rows);
    let plan = market.plan(&[report.to_owned()]);
    let shown = counts(&plan, &market.reference(&plan).levels[0]);
    let flows: Vec<&str> = shown.keys().map(String::as_str).collect();
    let numbers: Vec<String> = shown.values().map(i64::to_string).collect();
    let bold = section.split("**").nth(1).expect("an example");
    assert_eq!(numbers.join(", "), bold);
    for flow in flows {
        assert!(section.contains(flow), "{flow}");
    }
}
