//! Every engine computes the same integers.

use proptest::prelude::*;

use super::{ALL, monthly, newness, open, recency, report, rows, with_scales};
use crate::engine::local::Local;
use crate::engine::{Engine, ExactSurveys};
use crate::error::Result;
use crate::fixture::{Market, Row, settled};
use crate::job::StatisticKind;
use crate::plan::{KeyValue, Plan};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn local_and_reference_agree_to_the_last_unit(
        rows in rows().prop_flat_map(|rows| {
            (Just(rows.clone()), Just(rows).prop_shuffle())
        }),
        reports in prop::collection::vec(report(), 1..3),
        threads in 2usize..5,
        partition_bits in 0u32..10,
        scales in prop::option::of(0usize..100),
    ) {
        let (rows, shuffled) = rows;
        let market = Market::new(&rows);
        let plan = with_scales(market.plan(&reports), scales);
        let reference = market.reference(&plan);
        prop_assert!(market.local(&plan, 1) == reference, "one thread");
        market.set_payments(&shuffled);
        let shuffled = market.spilled(&plan, threads, partition_bits);
        prop_assert!(shuffled == reference, "{} threads, shuffled, spilled", threads);
    }

    #[test]
    fn engines_choose_the_same_bounds(
        rows in rows(),
        reports in prop::collection::vec(report(), 1..3),
        threads in 1usize..4,
        partition_bits in 0u32..10,
        scales in prop::option::of(0usize..100),
    ) {
        let market = Market::new(&rows);
        let open = || {
            let reports: Vec<String> = reports.iter().map(|report| open(report)).collect();
            with_scales(market.plan(&reports), scales)
        };
        let plan = open();
        let engine = market.engine(threads, partition_bits);
        let engine = Local { memory: engine.memory_least(&plan), ..engine };
        let (surveys, plan, totals) = settled(&engine, &plan);
        let reference = settled(&market.reference_engine(), &plan);
        prop_assert!(surveys.is_some(), "asked");
        prop_assert!(reference.0.is_none(), "settled once for all");
        prop_assert!(totals == reference.2);
        prop_assert!(settled(&market.reference_engine(), &open()).0 == surveys);
    }

    #[test]
    fn engines_agree_on_who_is_new_and_who_was_last_there(
        rows in rows(),
        report in prop_oneof![newness(), recency()],
        threads in 1usize..4,
    ) {
        let market = Market::new(&rows);
        for report in [report.clone(), open(&report)] {
            let plan = market.plan(&[report]);
            let engine = market.engine(threads, 3);
            let engine = Local { memory: engine.memory_least(&plan), ..engine };
            let reference = settled(&market.reference_engine(), &plan);
            let local = settled(&engine, &plan);
            prop_assert!(local.0 == reference.0 && local.2 == reference.2);
        }
    }

    #[test]
    fn engines_agree_on_users_within_a_month(rows in rows(), threads in 1usize..4) {
        let market = Market::new(&rows);
        let plan = market.plan_for("user-month", &monthly());
        let reference = market.reference(&plan);
        prop_assert!(market.spilled(&plan, threads, 3) == reference);
    }
}

/// Partitions too large for memory are split again; one of a single user is never sorted. The row
/// group is read in three parts.
#[test]
fn a_user_with_most_of_all_payments_is_no_trouble() {
    let pay = |at: u32, user| Row {
        user,
        merchant: at % 7,
        minute: at * 5 % 170_000,
        amount: i64::from(at) * 37 % 9_000 - 500,
        wallet: at % 3,
    };
    let rows: Vec<Row> =
        (0..40_000).map(|at| pay(at, if at % 4 > 0 { 0 } else { at % 900 })).collect();
    let market = Market::new(&rows);
    let report = |keys: &str| {
        format!(
            "levels = [[], [\"merchant\", \"week\"], [\"wallet\", \"hour\"]]\nkeys = \"{keys}\"\n\
             insights = [\"customers\", \"payments\", \"sales\", \"ticket_histogram\"]\n\
             bounds = {{ customers = 3, payments = 9, sales = \"99.00\", ticket_histogram = 7 }}"
        )
    };
    let plan = market.plan(&[report("public"), report("private")]);
    let reference = market.reference(&plan);
    for (threads, bits) in [(1, 0), (2, 0), (2, 3), (3, 8)] {
        assert!(market.spilled(&plan, threads, bits) == reference, "{threads} threads, {bits}");
    }
    assert!(market.local(&plan, 2) == reference, "in memory");
}

/// Half of all payments are at one merchant, a tenth are of one user.
#[test]
fn a_merchant_with_half_and_a_user_with_a_tenth_of_all_payments_are_no_trouble() {
    let pay = |at: u32| Row {
        user: if at.is_multiple_of(10) { 0 } else { 1 + at * 13 % 700 },
        merchant: if at.is_multiple_of(2) { 7 } else { at % 10 },
        minute: at * 11 % 170_000,
        amount: i64::from(at) * 41 % 9_000 - 500,
        wallet: at % 3,
    };
    let market = Market::new(&(0..30_000).map(pay).collect::<Vec<Row>>());
    let report = |keys: &str| {
        format!(
            "levels = [[\"merchant\"], [\"merchant\", \"week\"]]\nkeys = \"{keys}\"\n\
             insights = {ALL}\nbounds = {{ customers = 3, payments = 9, sales = \"99.00\", \
             ticket_histogram = 7, gross = 90, refunds = 5, visits = 6, visit_classes = 3 }}"
        )
    };
    let plan = market.plan(&[report("public"), report("private")]);
    let reference = market.reference(&plan);
    for (threads, bits) in [(1, 0), (2, 3), (3, 8)] {
        assert!(market.spilled(&plan, threads, bits) == reference, "{threads} threads, {bits}");
        assert!(settled(&market.engine(threads, bits), &plan).2 == reference, "in memory");
    }
}

/// Ten payments of one user in each of four months, a bound of four payments, a grid of 2^16.
#[test]
fn a_user_counts_once_for_each_period_of_the_unit() {
    let pay = |at: u32| Row {
        user: 1,
        merchant: 1,
        minute: (at % 4 * 31 + 5) * 1440 + at,
        amount: 100,
        wallet: 0,
    };
    let market = Market::new(&(0..40).map(pay).collect::<Vec<Row>>());
    for (unit, payments) in [("user", 4), ("user-month", 16), ("user-quarter", 8), ("user-year", 4)]
    {
        let plan = market.plan_for(
            unit,
            &["insights = [\"payments\"]\nlevels = [[]]\n\
             keys = \"public\"\nbounds = { payments = 4 }"
                .to_owned()],
        );
        let grid = 1i64 << plan.levels[0].statistics[0].noise.grid_bits;
        assert_eq!(market.local(&plan, 2).levels[0].sums[0], [payments * grid], "{unit}");
    }
}

fn never(_: ExactSurveys) -> Result<Plan> {
    panic!("all bounds are stated")
}

#[test]
fn too_little_memory_is_told_before_anything_is_read() {
    let market = Market::new(&[]);
    let plan = market.plan(&["levels = [[\"merchant\", \"day\", \"hour\"]]\nkeys = \"public\"\n\
         insights = [\"customers\"]\nbounds = { customers = 1 }"
        .to_owned()]);
    let engine = market.engine(2, 4);
    let memory = engine.memory_least(&plan) - 1;
    let error = Local { memory, ..engine }.totals(&plan, &mut never).expect_err("too little");
    assert_eq!(error.findings()[0].code(), "memory-too-small");
}

#[test]
fn a_missing_spill_folder_is_an_environment_error() {
    let market = Market::new(&[]);
    let plan = market.plan(&["levels = [[]]\nkeys = \"public\"\ninsights = [\"customers\"]\n\
         bounds = { customers = 1 }"
        .to_owned()]);
    let engine = market.engine(1, 4);
    let spill_folder = engine.spill_folder.join("not-there");
    let error = Local { spill_folder, ..engine }.totals(&plan, &mut never).expect_err("no folder");
    assert_eq!(error.findings()[0].code(), "spill-failed");
    assert_eq!(error.class().exit_code(), 3);
}

#[test]
fn no_payments_give_no_cells_but_the_public_ones() {
    let market = Market::new(&[]);
    let report = |keys: &str| {
        format!(
            "levels = [[\"region\"]]\nkeys = \"{keys}\"\ninsights = [\"customers\"]\n\
             bounds = {{ customers = 1 }}"
        )
    };
    let plan = market.plan(&[report("public"), report("private")]);
    let totals = market.local(&plan, 2);
    assert_eq!(totals.levels[0].sums, vec![vec![0; 3]]);
    assert_eq!(totals.levels[1].sums, vec![Vec::<i64>::new()]);
    assert!(totals == market.reference(&plan));
}

/// Cells that are always shown have a zero for each number of a histogram, in both engines.
#[test]
fn cells_that_are_always_shown_have_all_their_numbers() {
    let pay = |wallet, amount| Row { user: 1, merchant: 1, minute: 5, amount, wallet };
    let market = Market::new(&[pay(1, 700), pay(1, 30_000), pay(1, 700)]);
    let mut plan = market.plan(&["levels = [[\"wallet\"]]\nkeys = \"private\"\n\
         insights = [\"payments\", \"ticket_histogram\"]\n\
         bounds = { customers = 1, payments = 9, ticket_histogram = 9 }"
        .to_owned()]);
    let text = |wallet: &str| vec![KeyValue::Text(wallet.into())];
    assert!(plan.levels[0].keep(&["w0", "w1", "w2"].map(text).into()));
    let totals = market.local(&plan, 2);
    assert!(totals == market.reference(&plan));
    assert!(totals == market.spilled(&plan, 2, 3));
    let level = &totals.levels[0];
    let keys: Vec<_> = ["w0", "w1", "w2"].map(|w| text(w).into_boxed_slice()).into();
    assert_eq!(level.keys, keys);
    for (sums, statistic) in level.sums.iter().zip(&plan.levels[0].statistics) {
        let cells: Vec<&[i64]> = sums.chunks_exact(statistic.width).collect();
        assert_eq!(cells.len(), 3, "{}", statistic.kind.name());
        let counted: i64 = cells[1].iter().sum::<i64>() >> statistic.noise.grid_bits;
        assert_eq!(counted, if statistic.kind == StatisticKind::Customers { 1 } else { 3 });
        assert!(cells[0].iter().chain(cells[2]).all(|&number| number == 0));
    }
    assert_eq!(plan.levels[0].statistics.last().expect("a histogram").width, 16);
}

#[test]
fn sensitive_totals_show_nothing_of_themselves() {
    let market = Market::new(&[]);
    let plan = market.plan(&[
        "levels = [[]]\nkeys = \"public\"\ninsights = [\"customers\"]\nbounds = { customers = 1 }"
            .to_owned(),
    ]);
    assert_eq!(format!("{:?}", market.local(&plan, 1)), "ExactTotals(sensitive)");
}

#[test]
fn totals_are_cut_not_refused() {
    use crate::engine::clamp_total;
    for (total, cut) in
        [(0, 0), (-5, -5), ((1 << 62) + 1, 1 << 62), (i128::MAX, 1 << 62), (i128::MIN, -(1 << 62))]
    {
        assert_eq!(clamp_total(total), cut, "{total}");
    }
}
