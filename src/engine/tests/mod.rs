//! The engines against each other, and against the bound.

mod agreement;
mod case;
mod changes;
mod discovered;
mod elsewhere;
mod homes;
mod pairs;
mod sensitivity;
mod sought;
mod surveyed;

use proptest::prelude::*;

use super::local::Local;
use crate::fixture::{DAYS, Market, Row, settled};
use crate::plan::Plan;

/// The local engine, with as little memory as it can do with, finds what the reference finds, with
/// bounds that the same key settles.
fn agree(market: &Market, plan: &Plan, threads: usize) {
    let engine = market.engine(threads, 3);
    let local = settled(&Local { memory: engine.memory_least(plan), ..engine }, plan);
    let reference = settled(&market.reference_engine(), plan);
    assert!(local.0 == reference.0, "surveys");
    assert!(local.2 == reference.2, "totals");
}

/// The plan with scales of cells, if any are given.
fn with_scales(plan: Plan, scales: Option<usize>) -> Plan {
    scales.into_iter().fold(plan, Plan::with_scales)
}

/// Amounts from the smallest to the cap, refunds among them.
fn amount() -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => 1i64..20_000,
        2 => -5_000i64..1,
        1 => Just(1_000_000_000_000i64),
        1 => Just(-1_000_000_000_000i64),
    ]
}

fn row() -> impl Strategy<Value = Row> {
    // Few users with many payments and many with few.
    let user = prop_oneof![0u32..3, 0u32..30];
    (user, 0u32..10, 0..DAYS * 1440, amount(), 0u32..3).prop_map(
        |(user, merchant, minute, amount, wallet)| Row {
            user,
            merchant,
            // The hour that daylight saving takes away shifts the last ones out of the period.
            minute: minute.min(DAYS * 1440 - 120),
            amount,
            wallet,
        },
    )
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec(row(), 0..200)
}

/// Insights that need every statistic.
const ALL: &str = "[\"customers\", \"payments\", \"sales\", \"ticket_histogram\", \"gross\", \
                   \"refunds\", \"visits\", \"visit_classes\", \"ticket_quantiles\"]";

/// The same with who is new, where levels have times to tell it.
const TIMED: &str = "[\"customers\", \"visits\", \"new_customers\", \"returning_customers\", \
                     \"retention_cohort\"]";

/// A report of one to three levels with any keys, selection, bounds and caps.
fn report() -> impl Strategy<Value = String> {
    let keys = prop::sample::subsequence(
        vec!["merchant", "region", "week", "month", "weekday", "hour", "wallet"],
        0..4,
    );
    let levels = prop::collection::vec(keys.prop_shuffle(), 1..3).prop_map(|mut levels| {
        levels.sort();
        levels.dedup_by_key(|level| {
            let mut sorted = level.clone();
            sorted.sort_unstable();
            sorted
        });
        if levels.len() == 2 && sorted(&levels[0]) == sorted(&levels[1]) {
            levels.pop();
        }
        levels
    });
    let bounds = (1u32..6, 1u32..30, 1u32..2000);
    (levels, any::<bool>(), 1u32..8, bounds, any::<bool>()).prop_map(
        |(levels, private, cells_max, (customers, payments, sales), capped)| {
            let keys = if private { "private" } else { "public" };
            let caps = if capped {
                let money = sales / 2 + 1;
                format!("cell_caps = {{ payments = 1, sales = \"{money}.5\", gross = {money} }}")
            } else {
                String::new()
            };
            let sales = sales + 2;
            format!(
                "levels = {levels:?}\nkeys = \"{keys}\"\ncells_max = {cells_max}\n\
                 insights = {ALL}\n{caps}\nbounds = {{ customers = {customers}.25, \
                 payments = {payments}, sales = \"{sales}.01\", ticket_histogram = {payments}, \
                 gross = \"{sales}\", refunds = \"{customers}.05\", visits = {payments}, \
                 visit_classes = {customers} }}",
            )
        },
    )
}

/// The report with bounds that the run chooses.
fn open(report: &str) -> String {
    let lines = report.lines().filter(|line| !line.starts_with("bounds = "));
    lines.map(|line| format!("{line}\n")).collect()
}

/// A report of levels that tell who is new, with private keys or public ones.
fn newness() -> impl Strategy<Value = String> {
    let places = prop::sample::subsequence(vec!["merchant", "region", "wallet"], 0..3);
    let time = prop::sample::select(vec!["day", "week", "month"]);
    // Up to 59 days back, so that a month with another one behind it can be known.
    let settings = (any::<bool>(), 1u32..8, 1u32..60, 1u32..5);
    (places, time, settings).prop_map(|(mut keys, time, (private, cells_max, back, norm))| {
        keys.push(time);
        let selection = if private { "private" } else { "public" };
        format!(
            "levels = [{keys:?}]\nkeys = \"{selection}\"\ncells_max = {cells_max}\n\
             look_back = {back}\ninsights = {TIMED}\n\
             bounds = {{ customers = 3, visits = 5, new_returning = {norm}, \
             retention_cohort = {norm} }}"
        )
    })
}

/// A report of levels that tell how long ago users were there, with private keys or public ones.
fn recency() -> impl Strategy<Value = String> {
    let keys = prop::sample::subsequence(vec!["merchant", "region", "wallet", "hour"], 0..4);
    let time = prop::sample::select(vec!["", "month", "quarter", "weekday"]);
    (keys, time, any::<bool>(), 1u32..8, 1u32..5).prop_map(
        |(mut keys, time, private, cells_max, norm)| {
            keys.extend(Some(time).filter(|time| !time.is_empty()));
            let selection = if private { "private" } else { "public" };
            format!(
                "levels = [{keys:?}]\nkeys = \"{selection}\"\ncells_max = {cells_max}\n\
                 insights = [\"customers\", \"recency_histogram\", \"visit_classes\"]\n\
                 bounds = {{ customers = 3, recency_histogram = {norm}, visit_classes = 2 }}"
            )
        },
    )
}

/// Reports for the unit `user-month`: levels within a month, private ones too, and others.
fn monthly() -> Vec<String> {
    let all = &format!(
        "insights = {ALL}\nbounds = {{ customers = 2, payments = 5, sales = \"90.00\", \
         ticket_histogram = 4, gross = 70, refunds = 30, visits = 3, visit_classes = 2 }}\n"
    );
    let levels = "levels = [[\"month\"], [\"merchant\", \"day\"], [\"wallet\", \"month\"]]";
    vec![
        format!("{all}{levels}\nkeys = \"public\""),
        format!("{all}{levels}\nkeys = \"private\"\ncells_max = 2"),
        "insights = [\"payments\", \"sales\"]\nbounds = { payments = 4, sales = \"70.00\" }\n\
         levels = [[], [\"merchant\", \"week\"], [\"hour\"]]\nkeys = \"public\""
            .to_owned(),
    ]
}

fn sorted<'a>(level: &[&'a str]) -> Vec<&'a str> {
    let mut sorted = level.to_vec();
    sorted.sort_unstable();
    sorted
}
