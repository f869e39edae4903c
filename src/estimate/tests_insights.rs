//! The examples of `docs/insights.md` are computed by what it says.

use std::collections::BTreeMap;

use crate::engine::{ExactTotals, LevelTotals};
use crate::fixture::{Market, Row, settled};
use crate::job::Insight;
use crate::plan::{LevelPlan, Plan};

const PAGE: &str = include_str!("../../docs/insights.md");

/// The day before the second of March, from the period's first.
const MARCH: u32 = 59;

const USERS: [&str; 4] = ["Ann", "Ben", "Eve", "Joe"];

/// The payments of the page's table, in March: of a month with others before it.
fn rows() -> Vec<Row> {
    let row = |line: &str| {
        let fields: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [user, day, amount] = fields[..] else { return None };
        let (day, amount) = (day.parse::<u32>().ok()?, amount.parse::<f64>().ok()?);
        let user = USERS.iter().position(|name| *name == user)? as u32;
        let amount = (amount * 100.0).round() as i64;
        Some(Row { user, merchant: 0, minute: (MARCH + day) * 1440 + 600, amount, wallet: 0 })
    };
    PAGE.lines().filter_map(row).collect()
}

/// What users of the page have spent in an earlier period, of which this is a day.
fn spent(day: u32) -> impl Iterator<Item = Row> {
    let row = move |line: &str| {
        let fields: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [user, amount] = fields[..] else { return None };
        let user = USERS.iter().position(|name| *name == user)? as u32;
        let amount = (amount.parse::<f64>().ok()? * 100.0).round() as i64;
        Some(Row { user, merchant: 0, minute: day * 1440 + 600, amount, wallet: 0 })
    };
    PAGE.lines().filter_map(row)
}

/// By heading, what the page says of the insight, and the numbers that stand in bold letters.
fn sections() -> BTreeMap<&'static str, (&'static str, Vec<f64>)> {
    let section = |text: &'static str| {
        let (name, text) = text.split_once("`\n").expect("a heading");
        let bold = text.rsplit("**").nth(1).unwrap_or_default();
        let numbers = bold.split(", ").map(|n| n.parse().expect("a number"));
        (name, (text, numbers.collect()))
    };
    PAGE.split("## `").skip(1).map(section).collect()
}

/// One number of a statistic of a level's last month but one, in counts or major units.
fn number(level: &LevelPlan, totals: &LevelTotals, place: usize, part: usize) -> f64 {
    let statistic = &level.statistics[place];
    let cell = totals.keys.len() - 2;
    let natural =
        statistic.noise.to_natural(totals.sums[place][cell * statistic.width + part] as f64);
    if statistic.kind.is_money() { natural / 100.0 } else { natural }
}

/// Tickets by their logarithm, as the survey has counted them.
fn ticket_counts(plan: &Plan) -> Vec<f64> {
    let survey = plan.surveys.iter().find(|survey| survey.ticket_groups.is_some()).expect("asked");
    let result = survey.result.as_ref().expect("settled");
    result.histogram.iter().map(|&grid| survey.histogram.to_natural(grid as f64)).collect()
}

/// The values of an insight by its formula.
fn values(insight: Insight, plan: &Plan, totals: &ExactTotals) -> Vec<f64> {
    let (level, totals) = (&plan.levels[0], &totals.levels[0]);
    let place = |kind| level.position(kind).expect("planned");
    match *insight.statistics() {
        [logs, payments] if insight == Insight::TicketQuantiles => {
            // All payments are in one group and one cell.
            let mut tickets = level.tickets.clone().expect("asked");
            let usual = tickets.usual(0) as f64;
            tickets.learn_exact(&ticket_counts(plan));
            let law = tickets.law(0);
            let mean =
                number(level, totals, place(logs), 0) / number(level, totals, place(payments), 0);
            let size = |share: f64| {
                let log = law.quantile(share) - law.moments(usual).0 + mean;
                (log / 4096.0).exp() / 100.0
            };
            [0.1, 0.25, 0.5, 0.75, 0.9].map(size).to_vec()
        }
        [top, bottom] => {
            vec![number(level, totals, place(top), 0) / number(level, totals, place(bottom), 0)]
        }
        [kind] => {
            let width = level.statistics[place(kind)].width;
            let parts = (0..width).map(|part| number(level, totals, place(kind), part));
            let parts: Vec<f64> = parts.collect();
            match insight {
                Insight::NewCustomers => vec![parts[0]],
                Insight::ReturningCustomers => vec![parts[1]],
                Insight::RetentionRate => parts[1..].iter().map(|part| part / parts[0]).collect(),
                Insight::DiffusionIndex | Insight::DiffusionIndexYear => {
                    let all: f64 = parts.iter().sum();
                    vec![100.0 + 100.0 * (parts[0] - parts[2]) / all]
                }
                Insight::RepeatRate => {
                    vec![parts[1..].iter().sum::<f64>() / parts.iter().sum::<f64>()]
                }
                _ => parts,
            }
        }
        _ => panic!("no formula for {}", insight.name()),
    }
}

#[test]
fn examples_are_right() {
    let mut rows = rows();
    assert_eq!(rows.len(), 6);
    // Ann comes again in the month after; of nothing, as the law of tickets is of all months.
    rows.push(Row { minute: (MARCH + 40) * 1440, amount: 0, ..rows[0].clone() });
    let of_periods = |insight: &Insight| insight.statistics()[0].compares();
    let insights: Vec<Insight> = Insight::ALL.into_iter().filter(|i| !of_periods(i)).collect();
    let names: Vec<String> =
        insights.iter().map(|insight| format!("\"{}\"", insight.name())).collect();
    let bounds = "bounds = { customers = 9, payments = 99, sales = 999, gross = 999, refunds = 99, \
                  visits = 99, visit_classes = 9, recency_histogram = 9, new_returning = 9, retention_cohort = 9, ticket_histogram = 99 }";
    let market = Market::new(&rows);
    let plan = market.plan(&[format!(
        "levels = [[\"month\"]]\nkeys = \"public\"\nlook_back = 30\ninsights = [{}]\n{bounds}",
        names.join(", ")
    )]);
    let (_, plan, totals) = settled(&market.reference_engine(), &plan);
    check(&insights, &plan, &totals);
}

#[test]
fn examples_of_spending_against_another_period_are_right() {
    for (insights, then) in [
        ([Insight::DiffusionClasses, Insight::DiffusionIndex], 365 + MARCH - 10),
        ([Insight::DiffusionClassesYear, Insight::DiffusionIndexYear], MARCH + 10),
    ] {
        // March of the year after.
        let later = |row: Row| Row { minute: row.minute + 365 * 1440, ..row };
        let rows: Vec<Row> = spent(then).chain(rows().into_iter().map(later)).collect();
        assert_eq!(rows.len(), 3 + 6);
        let market = Market::new(&rows);
        let report = format!(
            "levels = [[\"month\"]]\nkeys = \"public\"\ninsights = [\"{}\", \"{}\"]\n\
             bounds = {{ {} = 9 }}",
            insights[0].name(),
            insights[1].name(),
            insights[0].statistics()[0].name()
        );
        let plan = market.plan_days("2025-01-01", "2026-04-30", &[report]).expect("a plan");
        let (_, plan, totals) = settled(&market.reference_engine(), &plan);
        check(&insights, &plan, &totals);
    }
}

/// Is what the page says of these insights what comes out?
fn check(insights: &[Insight], plan: &Plan, totals: &ExactTotals) {
    let sections = sections();
    for &insight in insights {
        let name = insight.name();
        let (text, shown) = sections.get(name).unwrap_or_else(|| panic!("no section on {name}"));
        for kind in insight.statistics() {
            assert!(text.contains(&format!("`{}`", kind.name())), "{name}: its statistics");
        }
        let own = values(insight, plan, totals);
        assert!(!shown.is_empty(), "{name} has no example");
        for (own, shown) in own.iter().zip(shown) {
            assert!(
                (own - shown).abs() < 0.0051_f64.min(own.abs() * 0.001 + 1e-9),
                "{name}: {own}"
            );
        }
    }
}
