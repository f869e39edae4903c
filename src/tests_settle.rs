//! Whatever a survey's noised values are, bounds follow from them, and no statistic costs more than
//! it was charged.

use proptest::prelude::*;

use crate::fixture::Market;
use crate::plan::{Plan, Survey};
use crate::privacy::MuSquared;

/// Noised counts have no bounds: noise may take them below zero, and a ledger that was edited
/// anywhere.
fn values() -> impl Strategy<Value = Vec<i64>> {
    let ends = prop::sample::select(vec![i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX]);
    let any = prop_oneof![any::<i64>(), ends.clone(), -(1i64 << 50)..1 << 50];
    let few = prop_oneof![9 => Just(0i64), 1 => any.clone()];
    let like_noise = (-(1i64 << 22)..1 << 22).prop_map(|value| value + (1 << 20));
    prop_oneof![
        prop::collection::vec(any, 97),
        prop::collection::vec(few, 97),
        prop::collection::vec(ends, 97),
        prop::collection::vec(like_noise, 97),
    ]
}

fn plan() -> Plan {
    let all = "[\"customers\", \"payments\", \"sales\", \"ticket_histogram\", \"refunds\", \"visits\", \
               \"visit_classes\", \"ticket_quantiles\", \"gross\"]";
    let reports = [
        ("public", "[[], [\"region\", \"week\"], [\"merchant\"]]"),
        ("private", "[[\"merchant\"]]"),
    ];
    let report = |(keys, levels)| format!("levels = {levels}\nkeys = \"{keys}\"\ninsights = {all}");
    Market::new(&[]).plan(&reports.map(report))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_values_of_surveys_settle_within_what_was_charged(values in values()) {
        let plan = plan();
        prop_assert!(plan.surveys.len() > 20);
        let mut values = values.iter().copied().cycle();
        let results = plan.surveys.iter().map(|survey| Survey {
            histogram: values.by_ref().take(survey.bins()).collect(),
            spread: survey.spread.and_then(|_| values.next()),
        });
        let results = results.collect();
        let settled = plan.clone().settle(results);
        prop_assert_eq!(settled.loss, plan.loss);
        for (level, before) in settled.levels.iter().zip(&plan.levels) {
            for (statistic, before) in level.statistics.iter().zip(&before.statistics) {
                let noise = statistic.noise;
                prop_assert_eq!(statistic.charge, before.charge);
                prop_assert!(noise.mu_squared <= statistic.charge);
                let price = MuSquared::of_discrete_gaussian_up(noise.bound.sensitivity(), noise.sigma);
                prop_assert_eq!(Some(noise.mu_squared), price);
                prop_assert!(noise.bound.cell_cap() <= noise.bound.norm() && noise.sigma >= 1 << 16);
            }
        }
    }
}
