//! Every engine computes the same integers.

use proptest::prelude::*;

use super::{report, rows};
use crate::fixture::Market;

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
    ) {
        let (rows, shuffled) = rows;
        let market = Market::new(&rows);
        let plan = market.plan(&reports);
        let reference = market.reference(&plan);
        prop_assert!(market.local(&plan, 1) == reference, "one thread");
        market.set_payments(&shuffled);
        let shuffled = market.local_with(&plan, threads, 1 << 30, partition_bits);
        prop_assert!(shuffled == reference, "{} threads, shuffled", threads);
    }
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
