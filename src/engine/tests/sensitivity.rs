//! Removing any user changes each statistic by at most its bound, as exact integers (Lemma 2).

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{ALL, monthly, newness, open, recency, report, rows};
use crate::engine::ExactTotals;
use crate::fixture::{DAYS, Market, Row, settled};
use crate::job::StatisticKind;
use crate::plan::{CellKey, KeyValue, Plan, Selection};

/// Removes each user in turn and compares the change with the bounds.
fn check_every_user(rows: &[Row], reports: &[String]) {
    let market = Market::new(rows);
    check_every_unit(&market, &market.plan(reports), rows, |row| (row.user, 0));
}

/// Removes each unit in turn, or all of a user's at once: of each survey at most one bin for each
/// unit changes, by one, and the sum of spreads by at most 8 (*Chosen bounds* in
/// `docs/privacy.md`). In L2 norm that is at most so many times the survey's bound.
pub(super) fn check_surveys(
    (market, plan): (&Market, &Plan),
    rows: &[Row],
    removed: fn(&Row) -> (u32, u32),
    units: i64,
) {
    let count = || settled(&market.engine(2, 3), plan).0.expect("bounds are open");
    market.set_payments(rows);
    let all = count();
    for user in rows.iter().map(removed).collect::<BTreeSet<_>>() {
        let others: Vec<Row> = rows.iter().filter(|row| removed(row) != user).cloned().collect();
        market.set_payments(&others);
        let without = count();
        for ((all, without), plan) in all.surveys.iter().zip(&without.surveys).zip(&plan.surveys) {
            let one = 1 << plan.histogram.grid_bits;
            assert_eq!(one as u64, plan.histogram.bound.norm());
            let pairs = all.histogram.iter().zip(&without.histogram);
            let changes: Vec<i64> = pairs.map(|(a, b)| a - b).collect();
            if plan.ticket_groups.is_some() {
                let squares: i128 = changes.iter().map(|&change| i128::from(change).pow(2)).sum();
                let most = (i128::from(units) * i128::from(one)).pow(2);
                assert!(squares <= most, "user {user:?} has more than a norm of 1 in tickets");
                continue;
            }
            assert!(changes.iter().all(|change| change % one == 0 && *change >= 0));
            let gone = changes.iter().sum::<i64>() / one;
            assert!(gone <= units, "user {user:?} was {gone} units");
            if let (Some(a), Some(b), Some(spread)) = (all.spread, without.spread, plan.spread) {
                let range = 0..=gone * spread.bound.norm() as i64;
                assert!(range.contains(&(a - b)), "user {user:?} is spread over {}", a - b);
            }
        }
    }
}

/// The month of a payment, from 0; clocks go forward in the night to 30 March.
pub(super) fn month(row: &Row) -> u32 {
    let day = (row.minute + if row.minute >= 88 * 1440 + 120 { 60 } else { 0 }) / 1440;
    [31, 59, 90].into_iter().filter(|&first| day >= first).count() as u32
}

/// Removes each privacy unit in turn and compares the change with the bounds.
pub(super) fn check_every_unit(
    market: &Market,
    plan: &Plan,
    rows: &[Row],
    unit: fn(&Row) -> (u32, u32),
) {
    market.set_payments(rows);
    // With what is usual of tickets, as any survey may tell it.
    let plan = &settled(&market.engine(2, 3), plan).1;
    let all = market.local(plan, 2);
    let units: BTreeSet<(u32, u32)> = rows.iter().map(unit).collect();
    for user in units {
        let (mine, others): (Vec<Row>, Vec<Row>) =
            rows.iter().cloned().partition(|row| unit(row) == user);
        market.set_payments(&others);
        let without = market.local(plan, 1);
        compare(plan, &all, &without, user);
        // What the removed user changed is what they contribute alone.
        market.set_payments(&mine);
        let alone = market.local(plan, 1);
        for level in 0..plan.levels.len() {
            for statistic in 0..plan.levels[level].statistics.len() {
                let change = change(&all, &without, level, statistic);
                let alone = cells(&alone, level, statistic);
                let nonzero = |map: BTreeMap<(CellKey, usize), i128>| -> BTreeMap<_, i128> {
                    map.into_iter().filter(|&(_, value)| value != 0).collect()
                };
                assert!(nonzero(change) == nonzero(alone), "user {user:?} changed another's part");
            }
        }
    }
}

fn compare(plan: &Plan, all: &ExactTotals, without: &ExactTotals, user: (u32, u32)) {
    for (place, level) in plan.levels.iter().enumerate() {
        for (statistic, plan) in level.statistics.iter().enumerate() {
            let change = change(all, without, place, statistic);
            let squares: u128 = change.values().map(|v| v.unsigned_abs().pow(2)).sum();
            let bound = u128::from(plan.noise.bound.norm()).pow(2);
            assert!(squares <= bound, "user {user:?}, {} of {}", plan.kind.name(), level.file);
        }
        if let Selection::Threshold { cells_max, .. } = level.selection {
            let count = |totals: &ExactTotals| totals.levels[place].keys.len();
            assert!(
                count(all) - count(without) <= cells_max as usize,
                "user {user:?} has more keys"
            );
        }
    }
}

/// A user over all months is within √P or P times the bound, and P times the cells (Lemma 5).
pub(super) fn check_composed(market: &Market, plan: &Plan, rows: &[Row]) {
    let periods = u128::from(plan.unit_periods());
    let users: BTreeSet<u32> = rows.iter().map(|row| row.user).collect();
    market.set_payments(rows);
    let plan = &settled(&market.engine(2, 3), plan).1;
    let all = market.local(plan, 1);
    for user in users {
        let others: Vec<Row> = rows.iter().filter(|row| row.user != user).cloned().collect();
        market.set_payments(&others);
        let without = market.local(plan, 1);
        for (place, level) in plan.levels.iter().enumerate() {
            let within = plan.job.privacy.unit.holds_cells(&level.keys);
            let factor = if within { periods } else { periods * periods };
            for (statistic, plan) in level.statistics.iter().enumerate() {
                let change = change(&all, &without, place, statistic);
                let squares: u128 = change.values().map(|v| v.unsigned_abs().pow(2)).sum();
                assert!(
                    squares <= factor * u128::from(plan.noise.bound.norm()).pow(2),
                    "user {user}"
                );
            }
            if let Selection::Threshold { cells_max, .. } = level.selection {
                let count = |totals: &ExactTotals| totals.levels[place].keys.len() as u128;
                let more = count(&all) - count(&without);
                assert!(more <= periods * u128::from(cells_max), "user {user} has more keys");
            }
        }
    }
}

fn cells(totals: &ExactTotals, level: usize, statistic: usize) -> BTreeMap<(CellKey, usize), i128> {
    let level = &totals.levels[level];
    let width = level.sums[statistic].len() / level.keys.len().max(1);
    let cells = level.keys.iter().zip(level.sums[statistic].chunks_exact(width.max(1)));
    let numbers = cells.flat_map(|(key, numbers)| {
        let numbers = numbers.iter().enumerate();
        numbers.map(move |(bin, &value)| ((key.clone(), bin), i128::from(value)))
    });
    numbers.collect()
}

fn change(
    all: &ExactTotals,
    without: &ExactTotals,
    level: usize,
    statistic: usize,
) -> BTreeMap<(CellKey, usize), i128> {
    let mut change = cells(all, level, statistic);
    for (key, value) in cells(without, level, statistic) {
        *change.entry(key).or_default() -= value;
    }
    change
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn random_users_are_within_the_bound(rows in rows(), report in report()) {
        check_every_user(&rows, &[report]);
    }

    #[test]
    fn users_who_are_new_or_not_are_within_the_bound(rows in rows(), report in newness()) {
        check_every_user(&rows, &[report]);
    }

    #[test]
    fn users_who_were_last_there_are_within_the_bound(rows in rows(), report in recency()) {
        check_every_user(&rows, std::slice::from_ref(&report));
        let market = Market::new(&rows);
        let plan = market.plan(&[open(&report)]);
        // At a level of one cell all bounds are known.
        if !plan.is_settled() {
            check_surveys((&market, &plan), &rows, |row| (row.user, 0), 1);
        }
    }

    #[test]
    fn users_are_in_one_bin_of_a_survey(rows in rows(), report in report()) {
        let market = Market::new(&rows);
        let plan = market.plan(&[open(&report)]);
        check_surveys((&market, &plan), &rows, |row| (row.user, 0), 1);
    }

    #[test]
    fn users_of_cells_with_scales_are_within_the_bound(
        rows in rows(),
        report in report(),
        scales in 0usize..100,
    ) {
        let market = Market::new(&rows);
        let plan = market.plan(std::slice::from_ref(&report)).with_scales(scales);
        check_every_unit(&market, &plan, &rows, |row| (row.user, 0));
        let plan = market.plan(&[open(&report)]).with_scales(scales);
        check_surveys((&market, &plan), &rows, |row| (row.user, 0), 1);
    }

    #[test]
    fn users_within_a_month_are_within_the_bound(rows in rows()) {
        let market = Market::new(&rows);
        let plan = market.plan_for("user-month", &monthly());
        check_every_unit(&market, &plan, &rows, |row| (row.user, month(row)));
        prop_assert_eq!(plan.unit_periods(), 4);
        check_composed(&market, &plan, &rows);
    }

    #[test]
    fn users_who_are_new_or_not_are_in_one_bin_of_a_survey(rows in rows(), report in newness()) {
        let market = Market::new(&rows);
        let plan = market.plan(&[open(&report)]);
        let kind = |level: usize, statistic: usize| plan.levels[level].statistics[statistic].kind;
        let mut kinds = plan.surveys.iter().map(|survey| kind(survey.level, survey.statistic));
        prop_assert!(kinds.any(|kind| kind == StatisticKind::Cohorts));
        check_surveys((&market, &plan), &rows, |row| (row.user, 0), 1);
    }

    #[test]
    fn users_are_within_the_bounds_of_levels_that_reports_share(rows in rows()) {
        let of = |levels: &str, rest: &str| {
            format!("levels = {levels}\nkeys = \"private\"\ncells_max = 3\n{rest}")
        };
        let reports = [
            of("[[\"merchant\", \"week\"]]", "insights = [\"customers\", \"payments\"]\n\
                bounds = { customers = 2, payments = 4 }"),
            of("[[\"week\", \"merchant\"], [\"wallet\"]]", "insights = [\"customers\", \"sales\"]\n\
                bounds = { customers = 2, sales = \"70.00\" }"),
        ];
        let market = Market::new(&rows);
        let plan = market.plan(&reports);
        prop_assert_eq!((plan.levels.len(), plan.levels[0].tables.len()), (2, 2));
        check_every_unit(&market, &plan, &rows, |row| (row.user, 0));
    }
}

proptest! {
    // As many runs as there are users and months, for each case.
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn users_within_a_month_are_in_one_bin_for_each_month(rows in rows()) {
        let market = Market::new(&rows);
        let reports: Vec<String> = monthly().iter().map(|report| open(report)).collect();
        let plan = market.plan_for("user-month", &reports);
        prop_assert_eq!(plan.unit_periods(), 4);
        check_surveys((&market, &plan), &rows, |row| (row.user, month(row)), 1);
        check_surveys((&market, &plan), &rows, |row| (row.user, 0), 4);
    }
}

/// Each unit within a period, and all of a user's (Lemma 5), beside `user-month` above.
fn check_periods(
    unit: &str,
    levels: &str,
    (first, last, periods): (&str, &str, u32),
    of: fn(&Row) -> (u32, u32),
    rows: &[Row],
) {
    let rest = "insights = [\"customers\", \"payments\", \"sales\"]\n\
                bounds = { customers = 2, payments = 5, sales = \"90.00\" }";
    let reports = [
        format!("levels = {levels}\nkeys = \"public\"\n{rest}"),
        format!("levels = {levels}\nkeys = \"private\"\ncells_max = 2\n{rest}"),
        "levels = [[], [\"hour\"]]\nkeys = \"public\"\ninsights = [\"payments\", \"sales\"]\n\
         bounds = { payments = 4, sales = \"70.00\" }"
            .to_owned(),
    ];
    let market = Market::new(rows);
    let changes = [
        ("unit = \"user\"", &*format!("unit = \"{unit}\"")),
        ("2025-01-01", first),
        ("2025-04-30", last),
        ("ticket_groups = \"region\"\n", ""),
    ];
    let plan = market.try_plan_changed(&changes, &reports).expect("a plan");
    assert_eq!(plan.unit_periods(), periods);
    check_every_unit(&market, &plan, rows, of);
    check_composed(&market, &plan, rows);
}

/// Days since 1 January 2025, a Wednesday; clocks go forward in the night to day 88, and back in
/// that to day 298.
fn day(row: &Row) -> u32 {
    let summer = (88 * 1440 + 120..298 * 1440 + 120).contains(&row.minute);
    (row.minute + if summer { 60 } else { 0 }) / 1440
}

/// Three users, of whom the first pays everywhere at all times, from `first` on for 24 days.
fn many(first: u32) -> Vec<Row> {
    let pay = |n: u32| Row {
        user: (n % 5).saturating_sub(2),
        merchant: n * 7 % 10,
        minute: first * 1440 + n * 331 % (24 * 1440),
        amount: if n.is_multiple_of(9) { -700 } else { i64::from(n % 40) * 311 },
        wallet: n % 3,
    };
    (0..600).map(pay).collect()
}

#[test]
fn users_within_days_weeks_quarters_and_years_are_within_the_bound() {
    let days = r#"[["day"], ["merchant", "day"]]"#;
    let january = ("2025-01-01", "2025-01-24", 24);
    check_periods("user-day", days, january, |row| (row.user, day(row)), &many(0));
    let weeks = r#"[["week"], ["wallet", "week"], ["merchant", "day"]]"#;
    let january = ("2025-01-01", "2025-01-24", 4);
    check_periods("user-week", weeks, january, |row| (row.user, (day(row) + 2) / 7), &many(0));
    let quarters = r#"[["quarter"], ["merchant", "month"], ["wallet", "quarter"]]"#;
    let spring = ("2025-03-20", "2025-04-15", 2);
    check_periods("user-quarter", quarters, spring, |row| (row.user, day(row) / 90), &many(78));
    let winter = ("2025-12-20", "2026-01-15", 2);
    check_periods("user-year", quarters, winter, |row| (row.user, day(row) / 365), &many(353));
}

/// Keys that earlier releases have shown are there with and without who alone has payments there,
/// and take no part in what is said of the others (Lemma 4).
#[test]
fn kept_cells_are_there_without_their_only_user() {
    let mut rows: Vec<Row> = many(0).into_iter().filter(|row| row.merchant < 8).collect();
    rows.extend((0..4).map(|n| Row {
        user: 7,
        merchant: [8, 8, 1, 2][n as usize],
        minute: n * 10_000,
        amount: 900,
        wallet: 0,
    }));
    let market = Market::new(&rows);
    let report = "levels = [[\"merchant\"], [\"merchant\", \"month\"]]\nkeys = \"private\"\n\
                  cells_max = 2\ninsights = [\"customers\", \"payments\", \"sales\"]\n\
                  bounds = { customers = 1, payments = 3, sales = \"20.00\" }";
    let mut plan = market.plan(&[report.to_owned()]);
    let kept: BTreeSet<Vec<KeyValue>> =
        ["M8", "M9", "M1"].map(|id| vec![KeyValue::Text(id.into())]).into();
    assert!(plan.levels.iter_mut().all(|level| level.keep(&kept)));
    check_every_unit(&market, &plan, &rows, |row| (row.user, 0));
    for gone in [7, 99] {
        let others: Vec<Row> = rows.iter().filter(|row| row.user != gone).cloned().collect();
        market.set_payments(&others);
        let totals = market.local(&plan, 2);
        for (level, plan) in totals.levels.iter().zip(&plan.levels) {
            assert_eq!(plan.always.len(), if plan.keys.len() == 1 { 3 } else { 12 });
            assert!(plan.always.iter().all(|key| level.keys.contains(key)), "without {gone}");
        }
    }
}

/// All four months of a user in one bin: the factor P² on a survey's price is needed.
#[test]
fn all_months_of_a_user_may_be_in_one_bin() {
    let pay =
        |user, day: u32| Row { user, merchant: 1, minute: day * 1440, amount: 700, wallet: 0 };
    let rows: Vec<Row> =
        [5, 40, 70, 100].into_iter().flat_map(|day| [pay(0, day), pay(1, day)]).collect();
    let market = Market::new(&rows);
    let reports: Vec<String> = monthly().iter().map(|report| open(report)).collect();
    let plan = market.plan_for("user-month", &reports);
    let count = || settled(&market.engine(1, 3), &plan).0.expect("bounds are open").surveys;
    let all = count();
    market.set_payments(&rows.iter().filter(|row| row.user > 0).cloned().collect::<Vec<_>>());
    let mut most = 0;
    for ((all, without), plan) in all.iter().zip(count()).zip(&plan.surveys) {
        if plan.ticket_groups.is_some() {
            continue;
        }
        let pairs = all.histogram.iter().zip(&without.histogram);
        let change: Vec<i64> = pairs.map(|(a, b)| (a - b) >> plan.histogram.grid_bits).collect();
        most = most.max(change.iter().map(|change| change * change).sum());
    }
    assert_eq!(most, 16);
}

#[test]
fn adversarial_users_are_within_the_bound() {
    let pay = |user, merchant, minute, amount| Row { user, merchant, minute, amount, wallet: 0 };
    let largest = 1_000_000_000_000;
    let mut rows = Vec::new();
    // 0: every merchant, every day, most hours; 1: the same as refunds.
    for day in 0..DAYS {
        for merchant in 0..10 {
            rows.push(pay(0, merchant, day * 1440 + 97 * merchant, largest));
            rows.push(pay(1, merchant, day * 1440 + 97 * merchant, -largest));
        }
    }
    // 2: 20,000 payments in one cell; 3: one payment of one cent; 4: nothing but zeros.
    rows.extend((0..20_000).map(|_| pay(2, 3, 60, largest)));
    rows.push(pay(3, 9, 0, 1));
    rows.extend((0..50).map(|i| pay(4, 5, i * 1440, 0)));
    // 5: largest amounts that cancel out; 6: exactly at the cell cap; 7: alone with its keys.
    rows.extend([pay(5, 1, 0, largest), pay(5, 1, 1, -largest), pay(5, 2, 0, largest)]);
    rows.extend((0..10).map(|m| pay(6, m, 600, 10_000)));
    rows.push(Row { wallet: 2, ..pay(7, 8, 119 * 1440, 500) });
    let bounds = "bounds = { customers = 2, payments = 5, sales = \"100.00\", \
                  ticket_histogram = 4, gross = \"100.00\", refunds = 70, visits = 4, \
                  visit_classes = 2 }\n";
    let bounds = format!("{bounds}insights = {ALL}\n");
    let levels = "levels = [[], [\"merchant\"], [\"merchant\", \"day\", \"hour\"], [\"wallet\"]]\n";
    check_every_user(
        &rows,
        &[
            format!("{bounds}{levels}keys = \"public\""),
            format!("{bounds}{levels}keys = \"private\"\ncells_max = 3"),
        ],
    );
}
