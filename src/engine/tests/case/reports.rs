//! Reports of single levels, which need other payments of a user or units within periods.

use proptest::prelude::*;

use super::{report, selection, some_keys};

/// A report that tells who is new, and who of them comes again.
pub(super) fn newness(currencies: bool, registry: bool) -> impl Strategy<Value = String> {
    let keys = if registry { &["wallet", "region", "home_kind"][..] } else { &["wallet"] };
    let times = prop::sample::subsequence(vec!["day", "week", "month", "quarter"], 1..3);
    let settings = (any::<bool>(), 1u32..6, 1u32..50, 1u32..4);
    (some_keys(keys, 2, currencies), times, settings).prop_map(
        |(mut keys, times, (private, cells_max, back, norm))| {
            // Of one key of time, of which a whole one is after another.
            let cohorts = times.len() == 1 && times[0] != "quarter";
            let (insight, bound) = match cohorts {
                true => (", \"retention_cohort\"", format!(", retention_cohort = {norm}")),
                false => ("", String::new()),
            };
            keys.extend(times);
            let selection = selection(private, cells_max);
            format!(
                "levels = [{keys:?}]\n{selection}\nlook_back = {back}\ninsights = [\"customers\", \
                 \"new_customers\", \"returning_customers\"{insight}]\nbounds = {{ customers = 2, \
                 new_returning = 2{bound} }}"
            )
        },
    )
}

/// A report that tells how long ago users were there.
pub(super) fn recency(currencies: bool, registry: bool) -> impl Strategy<Value = String> {
    let all = &["wallet", "hour", "region", "home_region", "merchant"];
    let known = if registry { &all[..] } else { &all[..2] };
    let times = prop::sample::select(vec!["", "month", "quarter", "weekday", "month, weekday"]);
    let settings = (any::<bool>(), 1u32..6, 1u32..4);
    (some_keys(known, 2, currencies), times, settings).prop_map(
        |(mut keys, times, (private, cells_max, norm))| {
            keys.extend(times.split(", ").filter(|time| !time.is_empty()));
            let selection = selection(private, cells_max);
            format!(
                "levels = [{keys:?}]\n{selection}\ninsights = [\"customers\", \"recency_histogram\", \
                 \"visit_classes\"]\nbounds = {{ customers = 3, recency_histogram = {norm}, \
                 visit_classes = 2 }}"
            )
        },
    )
}

/// A report of pairs.
pub(super) fn pairs(currencies: bool) -> impl Strategy<Value = String> {
    let column = prop::sample::select(vec!["region", "kind"]);
    let keys = &["wallet", "month", "week", "hour", "home_region"];
    (column, some_keys(keys, 2, currencies), 1u32..6).prop_flat_map(|(column, keys, customers)| {
        let keys = keys.into_iter().map(str::to_owned);
        let keys: Vec<String> = keys.chain([column.to_owned(), format!("with_{column}")]).collect();
        Just(keys).prop_shuffle().prop_map(move |keys| {
            format!(
                "levels = [{keys:?}]\nkeys = \"public\"\ninsights = [\"customers\"]\n\
                 bounds = {{ customers = {customers}.25 }}"
            )
        })
    })
}

/// Levels within a month, and others that count no users.
pub(super) fn monthly(currencies: bool, registry: bool) -> impl Strategy<Value = String> {
    (any::<bool>(), 1u32..9).prop_map(move |(private, payments)| {
        let more = if currencies { ", \"currency\"" } else { "" };
        let home = if registry { ", \"home_region\"" } else { "" };
        match private {
            true => format!(
                "levels = [[\"month\"{more}], [\"wallet\", \"day\"{home}{more}]]\nkeys = \"private\"\ncells_max = 3\n\
                 insights = [\"customers\", \"payments\"]\nbounds = {{ customers = 2, payments = {payments} }}"
            ),
            false => format!(
                "levels = [[\"wallet\"{more}], [\"hour\"{home}{more}]]\nkeys = \"public\"\ninsights = [\"payments\", \
                 \"sales\"]\nbounds = {{ payments = {payments}, sales = 70 }}"
            ),
        }
    })
}

/// Keys of levels of which some cells are hidden, and in no round.
pub(super) const HIDDEN: &str = "\"region\", \"kind\"";

/// A report of any of these kinds whose keys rounds look for.
pub(super) fn discovered(currencies: bool, registry: bool, unit: &str) -> BoxedStrategy<String> {
    let hidden = (prop::sample::select(vec!["", "month", "home_region"]), 1u32..6);
    let hidden = hidden.prop_map(move |(key, cells_max)| {
        let more = [key, if currencies { "currency" } else { "" }];
        let more = more.iter().filter(|key| !key.is_empty());
        let more: String = more.map(|key| format!(", \"{key}\"")).collect();
        format!(
            "levels = [[{HIDDEN}{more}]]\n{}\ninsights = [\"customers\", \"payments\"]\n\
             bounds = {{ customers = 2, payments = 5 }}",
            selection(true, cells_max)
        )
    });
    let any = match unit {
        "user" => prop_oneof![
            2 => report(currencies, registry),
            1 => newness(currencies, registry),
            1 => recency(currencies, registry),
            u32::from(registry) => hidden,
        ]
        .boxed(),
        _ => monthly(currencies, registry).boxed(),
    };
    let private = any.prop_filter("private", |report| report.contains("private"));
    private.prop_map(|report| report.replace("private", "discovered")).boxed()
}
