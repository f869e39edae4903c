//! Reports that share levels: whatever insights each of them has, every level is estimated, and
//! those of one report add up.

use proptest::prelude::*;

use super::estimate;
use super::tests::market;
use crate::job::StatisticKind;
use crate::mechanism::{RunKey, add_noise};
use crate::plan::LevelPlan;

const LEVELS: [&str; 6] = [
    "[]",
    "[\"region\"]",
    "[\"week\"]",
    "[\"region\", \"week\"]",
    "[\"merchant\", \"day\"]",
    "[\"wallet\"]",
];

/// With the bounds of what they need.
const INSIGHTS: [(&str, &str); 8] = [
    ("customers", "customers = 4"),
    ("payments", "payments = 12"),
    ("sales", "sales = \"150\""),
    ("gross", "gross = \"150\""),
    ("refunds", "refunds = \"40\""),
    ("visits", "visits = 6"),
    ("visit_classes", "visit_classes = 2"),
    ("ticket_histogram", "ticket_histogram = 12"),
];

fn report() -> impl Strategy<Value = String> {
    let levels = prop::sample::subsequence(LEVELS.to_vec(), 1..=4);
    let insights = prop::sample::subsequence(INSIGHTS.to_vec(), 1..=4);
    (levels, insights).prop_map(|(levels, insights)| {
        let names: Vec<String> = insights.iter().map(|(name, _)| format!("{name:?}")).collect();
        let bounds: Vec<&str> = insights.iter().map(|(_, bound)| *bound).collect();
        format!(
            "levels = [{}]\nkeys = \"public\"\ninsights = [{}]\nbounds = {{ {} }}",
            levels.join(", "),
            names.join(", "),
            bounds.join(", ")
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn reports_that_share_levels_add_up(reports in prop::collection::vec(report(), 2..5)) {
        let market = market();
        let plan = market.plan(&reports);
        let totals = market.local(&plan, 2);
        let noisy = add_noise(&plan, totals, RunKey::frozen([3; 32]), 2).expect("draws");
        let models = estimate(&plan, noisy, 2).models;
        let together = |fine: &LevelPlan, coarse: &LevelPlan| {
            plan.job.reports.iter().any(|report| fine.is_of(&report.name) && coarse.is_of(&report.name))
        };
        for (place, fine) in plan.levels.iter().enumerate() {
            for (at, statistic) in fine.statistics.iter().enumerate() {
                let cells = fine.public_cells(&plan.job) as usize;
                prop_assert_eq!(models[place][at].estimates.len(), cells * statistic.width);
            }
            for (whole, coarse) in plan.levels.iter().enumerate() {
                let Some(cells) = fine.cells_of(coarse, &plan.job) else { continue };
                if whole == place || !together(fine, coarse) {
                    continue;
                }
                for (at, statistic) in fine.statistics.iter().enumerate() {
                    let kind: StatisticKind = statistic.kind;
                    let Some(other) = coarse.position(kind).filter(|_| kind.facts().adds_up) else {
                        continue;
                    };
                    let wanted = &models[whole][other].estimates;
                    let mut sums = vec![0; wanted.len()];
                    for (n, estimate) in models[place][at].estimates.iter().enumerate() {
                        let (cell, bin) = (n / statistic.width, n % statistic.width);
                        sums[cells[cell] as usize * statistic.width + bin] += estimate;
                    }
                    prop_assert_eq!(&sums, wanted, "{} of {} in {}", kind.name(), fine.file, coarse.file);
                }
            }
        }
    }
}
