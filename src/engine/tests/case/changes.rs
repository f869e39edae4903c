//! Jobs that compare what users spend in two periods, and payments that are in both.

use proptest::prelude::*;

use super::{Row, some_keys};

/// Longer than a year.
pub(super) const LAST_DAY: &str = "2026-04-30";

/// Payments of which some are a year after the others, and often the same, so that some is flat.
pub(super) fn row() -> impl Strategy<Value = Row> {
    (super::row(), any::<bool>(), 0usize..4).prop_map(|(row, later, amount)| Row {
        second: row.second.map(|second| second + i64::from(later) * 364 * 86_400),
        amount: [row.amount, Some(5_000), Some(5_250), Some(-5_000)][amount],
        ..row
    })
}

/// What else the level counts: insights, bounds and settings.
const OTHERS: [[&str; 3]; 5] = [
    ["", "", ""],
    ["\"customers\", ", "customers = 2, ", ""],
    [
        "\"customers\", \"payments\", \"sales\", \"ticket_histogram\", ",
        "customers = 2, payments = 5, sales = 90, ticket_histogram = 3, ",
        "",
    ],
    [
        "\"new_customers\", \"retention_cohort\", ",
        "new_returning = 2, retention_cohort = 2, ",
        "look_back = 20\n",
    ],
    [
        "\"visit_classes\", \"recency_histogram\", ",
        "visit_classes = 2, recency_histogram = 2, ",
        "",
    ],
];

/// A report that tells who spends more.
pub(super) fn report(currencies: bool, registry: bool) -> impl Strategy<Value = String> {
    let all = &["wallet", "region", "home_kind", "merchant"];
    let keys = some_keys(if registry { all } else { &all[..1] }, 2, currencies);
    // Those of hours are many cells, and cohorts are of one time.
    let time = prop::sample::select(vec!["week", "month", "quarter"]);
    let part = prop::sample::select(vec![None, None, Some("weekday"), Some("hour")]);
    let other = prop::sample::select(OTHERS.to_vec());
    let asked = prop::sample::subsequence(vec!["", "_year"], 1..=2);
    (keys, time, part, other, asked, 1u32..4).prop_map(
        |(mut keys, time, part, [others, bounds, settings], asked, norm)| {
            let part = part.filter(|_| time != "week" && !others.contains("cohort"));
            // Weeks are all over in days that are one class.
            let fits = time != "week" || !others.contains("recency");
            let [others, bounds] = if fits { [others, bounds] } else { ["", ""] };
            keys.push(time);
            keys.extend(part);
            let insights = asked.iter().map(|year| format!("\"diffusion_classes{year}\""));
            let insights = insights.collect::<Vec<_>>().join(", ");
            let norms = asked.iter().map(|year| format!("diffusion{year} = \"{norm}.5\""));
            let norms = norms.collect::<Vec<_>>().join(", ");
            format!(
                "levels = [{keys:?}]\nkeys = \"public\"\n{settings}insights = [{others}{insights}]\n\
                 bounds = {{ {bounds}{norms} }}"
            )
        },
    )
}
