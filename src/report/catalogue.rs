//! What the page knows of insights: one line each. Of others it shows name and numbers.

use serde_json::{Map, Value, json};

/// How an insight is read, and so which charts show it: `count`, `money` and `ratio` from zero on (numbers of
/// something, amounts, plain numbers such as visits for each customer); `share` in percent, from zero on;
/// `change` in percent with a sign; `rank`, of which the first is best; `parts`, which is several columns
/// whose names go on with `_` and what each is of.
#[cfg(test)]
const KINDS: [&str; 7] = ["count", "money", "ratio", "share", "change", "rank", "parts"];

/// Name in tables, heading, kind, and what it is.
const INSIGHTS: [(&str, &str, &str, &str); 13] = [
    ("customers", "Customers", "count", "people who paid at least once"),
    ("payments", "Payments", "count", "payments, without refunds"),
    ("gross", "Gross sales", "money", "amounts paid, before refunds"),
    ("refunds", "Refunds", "money", "amounts paid back"),
    ("refund_rate", "Refund rate", "share", "refunds against gross sales"),
    ("sales", "Sales", "money", "amounts paid less refunds"),
    ("average_ticket", "Average ticket", "money", "sales for each payment"),
    ("spend_per_customer", "Spend per customer", "money", "sales for each customer"),
    ("visits", "Visits", "count", "days on which customers paid"),
    ("visits_per_customer", "Visits per customer", "ratio", "days of payment for each customer"),
    ("visit_classes", "Customers by visits", "parts", "customers by number of visits"),
    ("repeat_rate", "Repeat rate", "share", "customers with two or more visits"),
    ("ticket_histogram", "Payments by size", "parts", "payments by amount"),
];

/// By name, in the order of columns.
pub(super) fn known() -> Value {
    let entry = |(name, title, kind, what): &(&str, &str, &str, &str)| {
        let about = json!({"title": title, "kind": kind, "what": what});
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
        for insight in Insight::ALL {
            assert!(names.contains(&insight.name()), "{} has no line", insight.name());
        }
    }
}
