//! What the page knows of insights: one line each. Of others it shows name and numbers.

use serde_json::{Map, Value, json};

use crate::job::Insight;

/// How an insight is read, and so which charts show it: `count`, `money` and `ratio` (numbers of
/// something, amounts, plain numbers such as visits for each customer); `share` in percent;
/// `place`, in percent from the top; `points` of a concentration; `parts`, which is several columns
/// whose names go on with `_` and what each is of. All axes begin at zero, but that of a `balance`,
/// which has as much room below 100 as above.
#[cfg(test)]
const KINDS: [&str; 8] =
    ["count", "money", "ratio", "share", "place", "points", "balance", "parts"];

/// Name in tables, heading, kind, and what it is.
const INSIGHTS: [(&str, &str, &str, &str); 56] = [
    ("customers", "Customers", "count", "people with a payment or refund"),
    ("payments", "Payments", "count", "payments, without refunds"),
    ("gross", "Gross sales", "money", "amounts paid, before refunds"),
    ("refunds", "Refunds", "money", "amounts paid back"),
    ("refund_rate", "Refund rate", "share", "refunds against gross sales"),
    ("sales", "Sales", "money", "amounts paid less refunds"),
    ("average_ticket", "Average ticket", "money", "sales for each payment"),
    ("spend_per_customer", "Spend per customer", "money", "sales for each customer"),
    ("visits", "Visits", "count", "days on which customers had a payment or refund"),
    (
        "visits_per_customer",
        "Visits per customer",
        "ratio",
        "days with a payment or refund for each customer",
    ),
    ("visit_classes", "Customers by visits", "parts", "customers by number of visits"),
    ("repeat_rate", "Repeat rate", "share", "of all customers, those with two or more visits"),
    (
        "recency_histogram",
        "Customers by last visit",
        "parts",
        "customers by days since their last visit, when the cell ends",
    ),
    (
        "diffusion_classes",
        "Customers by change of spending",
        "parts",
        "customers of this period or the one before, by whether they spend more or less than then",
    ),
    (
        "diffusion_index",
        "Diffusion index",
        "balance",
        "above 100 more customers spend more than in the period before than spend less; 0 to 200",
    ),
    (
        "diffusion_classes_year",
        "Customers by yearly change of spending",
        "parts",
        "customers of this period or that a year before, by whether they spend more or less than then",
    ),
    (
        "diffusion_index_year",
        "Yearly diffusion index",
        "balance",
        "above 100 more customers spend more than a year before than spend less; 0 to 200",
    ),
    ("new_customers", "New customers", "count", "customers with no payment or refund there before"),
    (
        "returning_customers",
        "Returning customers",
        "count",
        "customers with a payment or refund there before",
    ),
    (
        "retention_cohort",
        "New customers who come again",
        "parts",
        "customers with no payment or refund there before, and those of them who came again so many periods later",
    ),
    (
        "retention_rate",
        "Retention",
        "parts",
        "part of those with no payment or refund there before, who came again so many periods later",
    ),
    ("ticket_quantiles", "Ticket quantiles", "parts", "sizes that so many percent stay below"),
    ("customers_share", "Customers: share", "share", "part of all customers"),
    ("payments_share", "Payments: share", "share", "part of all payments"),
    ("gross_share", "Gross sales: share", "share", "part of all gross sales"),
    ("sales_share", "Sales: share", "share", "part of all sales"),
    ("customers_growth", "Customers: growth", "ratio", "times the period before"),
    ("payments_growth", "Payments: growth", "ratio", "times the period before"),
    ("gross_growth", "Gross sales: growth", "ratio", "times the period before"),
    ("sales_growth", "Sales: growth", "ratio", "times the period before"),
    ("customers_growth_year", "Customers: yearly growth", "ratio", "times a year before"),
    ("payments_growth_year", "Payments: yearly growth", "ratio", "times a year before"),
    ("gross_growth_year", "Gross sales: yearly growth", "ratio", "times a year before"),
    ("sales_growth_year", "Sales: yearly growth", "ratio", "times a year before"),
    ("customers_index", "Customers: index", "ratio", "with the base period as 100"),
    ("payments_index", "Payments: index", "ratio", "with the base period as 100"),
    ("gross_index", "Gross sales: index", "ratio", "with the base period as 100"),
    ("sales_index", "Sales: index", "ratio", "with the base period as 100"),
    (
        "customers_concentration",
        "Customers: concentration",
        "points",
        "on few merchants; 10,000 is one alone",
    ),
    (
        "payments_concentration",
        "Payments: concentration",
        "points",
        "on few merchants; 10,000 is one alone",
    ),
    (
        "gross_concentration",
        "Gross sales: concentration",
        "points",
        "on few merchants; 10,000 is one alone",
    ),
    (
        "sales_concentration",
        "Sales: concentration",
        "points",
        "on few merchants; 10,000 is one alone",
    ),
    ("customers_rank", "Customers: place among peers", "place", "top 0 % is first, 100 % last"),
    ("payments_rank", "Payments: place among peers", "place", "top 0 % is first, 100 % last"),
    ("gross_rank", "Gross sales: place among peers", "place", "top 0 % is first, 100 % last"),
    ("sales_rank", "Sales: place among peers", "place", "top 0 % is first, 100 % last"),
    (
        "customers_peer_benchmark",
        "Customers: peers",
        "parts",
        "a quarter, half, three quarters have less",
    ),
    (
        "payments_peer_benchmark",
        "Payments: peers",
        "parts",
        "a quarter, half, three quarters have less",
    ),
    (
        "gross_peer_benchmark",
        "Gross sales: peers",
        "parts",
        "a quarter, half, three quarters have less",
    ),
    ("sales_peer_benchmark", "Sales: peers", "parts", "a quarter, half, three quarters have less"),
    (
        "customers_above",
        "Merchants by customers",
        "count",
        "registered merchants with at least so many customers",
    ),
    (
        "payments_above",
        "Merchants by payments",
        "count",
        "registered merchants with at least so many payments",
    ),
    (
        "gross_above",
        "Merchants by gross sales",
        "count",
        "registered merchants with at least so much of gross sales",
    ),
    (
        "sales_above",
        "Merchants by sales",
        "count",
        "registered merchants with at least so much of sales",
    ),
    ("ticket_histogram", "Payments by size", "parts", "payments by amount"),
    ("lift", "Lift", "ratio", "customers of both, times what chance would make; 1 is by chance"),
];

/// By name, in the order of columns.
pub(crate) fn known() -> Value {
    let entry = |(name, title, kind, what): &(&str, &str, &str, &str)| {
        let mut about = json!({"title": title, "kind": kind, "what": what});
        if let Some(bands) = Insight::all().find(|i| i.name() == *name).and_then(Insight::bands) {
            // The last one has no end.
            about["bands"] = bands.iter().map(|(to, name)| json!([to, name])).collect();
        }
        if *name == Insight::RetentionRate.name() {
            about["of"] = "share".into();
        }
        ((*name).to_owned(), about)
    };
    Value::Object(INSIGHTS.iter().map(entry).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::{INSIGHTS, KINDS};
    use crate::job::Insight;

    #[test]
    fn kinds_are_known() {
        for (name, _, kind, _) in INSIGHTS {
            assert!(KINDS.contains(&kind), "{name} is of kind `{kind}`");
        }
    }

    #[test]
    fn every_insight_of_jobs_has_a_line() {
        let names: Vec<&str> = INSIGHTS.iter().map(|(name, ..)| *name).collect();
        for insight in Insight::all() {
            assert!(names.contains(&insight.name()), "{} has no line", insight.name());
        }
    }
}
