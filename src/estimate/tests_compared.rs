//! Shares, growth and indexes: the examples of `docs/insights.md`, and how often intervals hold the
//! truth.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Estimate, Estimates, Reason, Values, estimate, memory};
use crate::fixture::{Market, Row};
use crate::job::{Insight, StatisticKind};
use crate::mechanism::{RunKey, add_noise};
use crate::plan::{CellKey, Earlier, EarlierCells, EarlierEstimate, EarlierValues, KeyValue, Plan};

const PAGE: &str = include_str!("../../docs/insights.md");

const MONTHS: [(&str, u32); 2] = [("2025-01", 0), ("2025-02", 31)];

/// The payments of the page's table of wallets and months.
fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for line in PAGE.lines() {
        let fields: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [wallet, month, count] = fields[..] else { continue };
        let wallet = wallet.strip_prefix('w').and_then(|number| number.parse::<u32>().ok());
        let day = MONTHS.iter().find(|(name, _)| *name == month).map(|(_, day)| *day);
        let Some(((wallet, day), count)) = wallet.zip(day).zip(count.parse::<u32>().ok()) else {
            continue;
        };
        for n in 0..count {
            let minute = (day + n % 28) * 1440 + 600;
            let user = rows.len() as u32;
            rows.push(Row { user, merchant: n % 10, minute, amount: 1000, wallet });
        }
    }
    rows
}

/// The number in bold letters under a heading.
fn example(name: &str) -> f64 {
    let section =
        PAGE.split("## `").find(|text| text.starts_with(&format!("{name}`"))).expect(name);
    section.rsplit("**").nth(1).and_then(|text| text.parse().ok()).expect("a number")
}

fn column(estimates: &Estimates, name: &str) -> BTreeMap<CellKey, Estimate<Option<f64>>> {
    let mut cells = BTreeMap::new();
    let shown = estimates.table(0, 0);
    let slices = shown.slices(shown.rows());
    for table in (0..slices.count()).map(|place| slices.get(place)) {
        let column = table.columns.iter().find(|column| column.name == name).expect("is there");
        let Values::Counts(values) = &column.values else { panic!("plain numbers") };
        cells.extend(table.keys.iter().cloned().zip(values.iter().copied()));
    }
    cells
}

fn cell<'c, T>(cells: &'c BTreeMap<CellKey, T>, wallet: &str, month: u32) -> &'c T {
    let date = chrono::NaiveDate::from_ymd_opt(2025, month, 1).expect("a date");
    &cells[&[KeyValue::Text(wallet.into()), KeyValue::Date(date)][..]]
}

fn report(insights: &[&str], levels: &str) -> String {
    let names: Vec<String> = insights.iter().map(|name| format!("\"{name}\"")).collect();
    let bounds = [("customers", 1), ("payments", 1), ("sales", 10), ("gross", 10)];
    let needed = |(kind, _): &(&str, i32)| insights.iter().any(|name| name.starts_with(kind));
    let bounds = bounds.into_iter().filter(needed).map(|(kind, bound)| format!("{kind} = {bound}"));
    let bounds: Vec<String> = bounds.collect();
    format!(
        "levels = {levels}\nkeys = \"public\"\ninsights = [{}]\nshare_of = \"wallet\"\n\
         base = 2025-01-15\nbounds = {{ {} }}\n\
         suppress_above = \"never\"",
        names.join(", "),
        bounds.join(", ")
    )
}

/// With next to no noise.
fn sharp(mut plan: Plan) -> Plan {
    for level in &mut plan.levels {
        level.statistics.iter_mut().for_each(|s| s.noise.sigma = 1 << 7);
    }
    plan
}

#[test]
fn examples_are_right() {
    let rows = rows();
    assert_eq!(rows.len(), 1600);
    let alone =
        |i: &&Insight| i.compared().is_some_and(|(comparison, _)| !comparison.needs_peers());
    let names: Vec<&str> = Insight::COMPARED
        .iter()
        .filter(alone)
        .map(|insight| insight.name())
        .filter(|name| !name.ends_with("_year"))
        .collect();
    let market = Market::new(&rows);
    let plan = sharp(market.plan(&[report(&names, r#"[["wallet", "month"]]"#)]));
    let noisy = add_noise(&plan, market.reference(&plan), RunKey::frozen([5; 32]), 1);
    let estimates = estimate(&plan, noisy.expect("draws"), 1);
    for of in ["customers", "payments", "gross", "sales"] {
        for (comparison, wallet, month) in
            [("share", "w0", 1), ("growth", "w0", 2), ("index", "w1", 2)]
        {
            let expected = example(&format!("payments_{comparison}"));
            let cells = column(&estimates, &format!("{of}_{comparison}"));
            let found = cell(&cells, wallet, month);
            for value in [found.unbiased, found.interval.value] {
                let value = value.expect("shown");
                assert!((value - expected).abs() < 2e-3 * expected, "{of}_{comparison}: {value}");
            }
        }
        // There is no December, and of w2 nothing to divide by.
        let growth = column(&estimates, &format!("{of}_growth"));
        assert_eq!(cell(&growth, "w0", 1).interval.value, None);
        assert_eq!(cell(&growth, "w2", 2).unbiased, None);
        let index = column(&estimates, &format!("{of}_index"));
        let base = cell(&index, "w0", 1).interval;
        assert_eq!((base.low, base.value, base.high), (Some(100.0), Some(100.0), Some(100.0)));
    }
}

#[test]
fn a_year_before_is_found() {
    // January of two years, as in the example.
    let row = |n: u32| {
        let day = if n < 600 { n % 28 } else { 365 + n % 28 };
        Row { user: n, merchant: n % 10, minute: day * 1440 + 600, amount: 1000, wallet: 0 }
    };
    let market = Market::new(&(0..1260).map(row).collect::<Vec<Row>>());
    let text = report(&["payments_growth_year"], r#"[["wallet", "month"]]"#);
    let text = text.replace("share_of = \"wallet\"\nbase = 2025-01-15\n", "");
    let plan = sharp(market.plan_days("2025-01-01", "2026-02-28", &[text]).expect("a plan"));
    let noisy = add_noise(&plan, market.reference(&plan), RunKey::frozen([5; 32]), 1);
    let estimates = estimate(&plan, noisy.expect("draws"), 1);
    let cells = column(&estimates, "payments_growth_year");
    let shown: Vec<f64> = cells.values().filter_map(|estimate| estimate.unbiased).collect();
    let [growth] = shown[..] else {
        panic!("only January 2026 has something a year before: {shown:?}")
    };
    assert!((growth - example("payments_growth_year")).abs() < 2e-3, "{growth}");
}

/// What is not among the job's days may be in the release of the month before, or in that of a year
/// before; of two that hold it, the later one counts.
#[test]
fn earlier_releases_have_periods_to_compare_with() {
    let row = |n: u32| Row {
        user: n,
        merchant: n % 10,
        minute: (n * 7919 % 120) * 1440 + n % 1440,
        amount: 1000,
        wallet: n / 120 % 3,
    };
    let market = Market::new(&(0..24_000).map(row).collect::<Vec<Row>>());
    let text = report(&["payments_growth", "payments_growth_year"], r#"[["wallet", "month"]]"#);
    let text = text.replace("share_of = \"wallet\"\nbase = 2025-01-15", "previous = \"latest\"");
    let mut plan = sharp(market.plan(&[text]));
    let date = |text: &str| -> chrono::NaiveDate { text.parse().expect("a date") };
    let release = |first: &str, last: &str, months: &[&str], value: f64| {
        let wallets = ["w0", "w1", "w2"].map(|wallet| KeyValue::Text(wallet.into()));
        let keys = wallets.iter().flat_map(|wallet| {
            months
                .iter()
                .map(|month| -> CellKey { [wallet.clone(), KeyValue::Date(date(month))].into() })
        });
        let keys: Vec<CellKey> = keys.collect();
        // Noised values are others, which growth must not be against.
        let estimate = EarlierEstimate { value, low: 0.9 * value, high: 1.2 * value };
        let shown = vec![Some(estimate); keys.len()];
        let values = vec![0.8 * value; keys.len()];
        let values = EarlierValues { sds: vec![1.0; values.len()], values, shown };
        let statistics = [(StatisticKind::Payments, values)].into();
        let cells = EarlierCells { days: (date(first), date(last)), keys, statistics };
        Earlier { from: (first.to_owned(), String::new()), cells: Arc::new(cells) }
    };
    plan.levels[0].earlier = vec![
        release("2024-12-01", "2024-12-31", &["2024-12-01"], 500.0),
        // March 2024 is cut.
        release("2024-01-01", "2024-03-30", &["2024-01-01", "2024-02-01", "2024-03-01"], 1000.0),
        release("2023-12-01", "2024-02-29", &["2024-01-01", "2024-02-01"], 4000.0),
    ];
    let noisy = add_noise(&plan, market.reference(&plan), RunKey::frozen([5; 32]), 1);
    let estimates = estimate(&plan, noisy.expect("draws"), 1);
    let growth = column(&estimates, "payments_growth");
    let year = column(&estimates, "payments_growth_year");
    // 200 payments a day in all, a third of each wallet.
    for (month, days, before) in [(1, 31.0, 500.0), (2, 28.0, 200.0 / 3.0 * 31.0)] {
        for wallet in ["w0", "w1", "w2"] {
            let value = cell(&growth, wallet, month).interval.value.expect("shown");
            assert!((value / (200.0 / 3.0 * days / before) - 1.0).abs() < 0.02, "{value}");
            let value = cell(&year, wallet, month).interval.value.expect("shown");
            assert!((value / (200.0 / 3.0 * days / 1000.0) - 1.0).abs() < 0.02, "{value}");
        }
    }
    assert_eq!(cell(&year, "w0", 3).interval.value, None);
}

/// Payments of three months by merchant and wallet: of each cell a few hundred in January, and in
/// the months after anything from half as many to twice as many.
fn three_months() -> (Market, [BTreeMap<CellKey, f64>; 3]) {
    let (mut rows, mut truth) = (Vec::new(), [const { BTreeMap::new() }; 3]);
    for cell in 0..30u32 {
        let (merchant, wallet) = (cell / 3, cell % 3);
        let key: CellKey = [format!("M{merchant}"), format!("w{wallet}")]
            .map(|text| KeyValue::Text(text.into()))
            .into();
        let mut size = 150.0 + 50.0 * f64::from(cell % 7);
        for (month, (first, days)) in [(0, 31), (31, 28), (59, 31)].into_iter().enumerate() {
            for n in 0..size as u32 {
                let (user, minute) = (rows.len() as u32, (first + n % days) * 1440 + 600);
                rows.push(Row { user, merchant, minute, amount: 1000, wallet });
            }
            truth[month].insert(key.clone(), size.trunc());
            size *= 0.5 * 4f64.powf(f64::from((cell * 13 + month as u32 * 7) % 11) / 10.0);
        }
    }
    (Market::new(&rows), truth)
}

const DAYS: [(&str, &str); 3] =
    [("2025-01-01", "2025-01-31"), ("2025-02-01", "2025-02-28"), ("2025-03-01", "2025-03-31")];

/// A month's plan that goes by what these releases have shown, with noise of 25.
fn month_plan(market: &Market, (first, last): (&str, &str), earlier: &[Earlier]) -> Plan {
    let names = ["payments", "customers", "payments_growth", "customers_growth"];
    let text = report(&names, r#"[["merchant", "wallet"]]"#)
        .replace("share_of = \"wallet\"\nbase = 2025-01-15", "previous = \"latest\"")
        .replace("\"never\"", "\"50%\"");
    let mut plan = market.plan_days(first, last, &[text]).expect("a plan");
    plan.levels[0].earlier = earlier.to_vec();
    for statistic in &mut plan.levels[0].statistics {
        let noise = statistic.noise;
        statistic.noise.sigma = (noise.sigma as f64 * 25.0 / noise.sd()) as u64;
    }
    plan
}

/// What later releases read of these estimates, whose fit took nothing.
fn as_released(plan: &Plan, estimates: &Estimates) -> Earlier {
    let keys: Vec<CellKey> = column(estimates, "payments").into_keys().collect();
    let of = |kind: StatisticKind| {
        let cells: Vec<_> = column(estimates, kind.name()).into_values().collect();
        let estimate = |e: &Estimate<Option<f64>>| {
            let (value, low, high) = (e.interval.value?, e.interval.low?, e.interval.high?);
            Some(EarlierEstimate { value, low, high })
        };
        let values = EarlierValues {
            values: cells.iter().map(|e| e.unbiased.expect("public")).collect(),
            sds: cells.iter().map(|e| e.sd.expect("public")).collect(),
            shown: cells.iter().map(estimate).collect(),
        };
        (kind, values)
    };
    let statistics = [StatisticKind::Payments, StatisticKind::Customers].map(of).into();
    let period = plan.job.payments.period;
    let cells = EarlierCells { days: (period.first(), period.last()), keys, statistics };
    Earlier { from: (period.first().to_string(), String::new()), cells: Arc::new(cells) }
}

/// Three releases, each of which goes by those before it: growth in March is what anybody makes of
/// the tables of February and March, and its intervals hold the truth, whatever both estimates have
/// in common.
#[test]
fn growth_is_that_of_what_both_releases_show() {
    let (market, truth) = three_months();
    let (mut held, mut hidden, mut off, mut flat, mut all) = (0u32, 0u32, 0.0, 0.0, 0u32);
    for key in 0..20u8 {
        let mut earlier: Vec<Earlier> = Vec::new();
        for (month, days) in DAYS.into_iter().enumerate() {
            let plan = month_plan(&market, days, &earlier);
            let noise = RunKey::frozen([3 * key + month as u8; 32]);
            let noisy = add_noise(&plan, market.reference(&plan), noise, 1);
            let estimates = estimate(&plan, noisy.expect("draws"), 1);
            for kind in [StatisticKind::Payments, StatisticKind::Customers] {
                let own = column(&estimates, kind.name());
                let growth = column(&estimates, &format!("{}_growth", kind.name()));
                let Some(before) = earlier.first().map(|e| &e.cells.statistics[&kind]) else {
                    assert!(growth.values().all(|e| e.interval.value.is_none()));
                    continue;
                };
                for (place, (key, found)) in growth.iter().enumerate() {
                    assert_eq!((found.unbiased, found.sd), (None, None));
                    let shown = before.shown[place].map(|before| before.value);
                    let (Some(value), Some(low), Some(high)) =
                        (found.interval.value, found.interval.low, found.interval.high)
                    else {
                        hidden += 1;
                        continue;
                    };
                    let shown = own[key].interval.value.expect("shown") / shown.expect("shown");
                    assert!((value - shown).abs() < 1e-12, "{value} {shown}");
                    let truth = truth[month][key] / truth[month - 1][key];
                    held += u32::from(low <= truth && truth <= high);
                    (off, flat) = (off + (value - truth).abs(), flat + (truth - 1.0).abs());
                    all += 1;
                }
            }
            earlier.insert(0, as_released(&plan, &estimates));
        }
    }
    let coverage = f64::from(held) / f64::from(all);
    assert!(all > 1500 && hidden > 20, "{all} {hidden}");
    assert!((0.94..=0.995).contains(&coverage), "{coverage} of {all}, {hidden} hidden");
    assert!(off < 0.8 * flat, "{off} {flat}");
}

/// Levels without a key of time are compared with the period right before the job's own, and no
/// other; nor with cells whose estimates were not shown, or were noise.
#[test]
fn cells_grow_from_the_period_right_before() {
    let (market, _) = three_months();
    let estimates_of = |days: (&str, &str), earlier: &[Earlier]| {
        let plan = sharp(month_plan(&market, days, earlier));
        let noisy = add_noise(&plan, market.reference(&plan), RunKey::frozen([5; 32]), 1);
        let estimates = estimate(&plan, noisy.expect("draws"), 1);
        let shown = estimates.table(0, 0);
        let table = shown.slices(shown.rows()).get(0);
        let growth = table.columns.into_iter().find(|c| c.name == "payments_growth");
        (as_released(&plan, &estimates), growth.expect("asked for"))
    };
    let (january, first) = estimates_of(DAYS[0], &[]);
    let (february, second) = estimates_of(DAYS[1], std::slice::from_ref(&january));
    let (_, third) = estimates_of(DAYS[2], &[february.clone(), january.clone()]);
    for (column, reason) in [(&first, Some(Reason::NoPeriod)), (&second, None), (&third, None)] {
        assert_eq!(column.suppressed, [reason; 30]);
    }
    // As if the folder of February were gone, or January had ended a day earlier.
    let mut short = (*january.cells).clone();
    short.days.1 = short.days.1.pred_opt().expect("a day");
    let short = Earlier { cells: Arc::new(short), ..january.clone() };
    for (days, earlier) in [(DAYS[2], &[january][..]), (DAYS[1], &[short])] {
        let (_, growth) = estimates_of(days, earlier);
        assert_eq!(growth.suppressed, [Some(Reason::NoPeriod); 30]);
    }
    let mut cells = (*february.cells).clone();
    let known = cells.statistics.get_mut(&StatisticKind::Payments).expect("shown");
    known.shown[0] = None;
    known.sds[1] = known.values[1];
    let (_, growth) = estimates_of(DAYS[2], &[Earlier { cells: Arc::new(cells), ..february }]);
    assert_eq!(growth.suppressed[..2], [Some(Reason::Error); 2]);
    assert_eq!(growth.suppressed[2..], [None; 28]);
}

#[test]
fn shares_add_up_and_intervals_hold_the_truth() {
    let row = |n: u32| Row {
        user: n,
        merchant: n % 10,
        minute: (n * 7919 % 120) * 1440 + n % 1440,
        amount: 1000,
        wallet: if n.is_multiple_of(3) {
            1
        } else if n.is_multiple_of(7) {
            2
        } else {
            0
        },
    };
    let market = Market::new(&(0..30_000).map(row).collect::<Vec<Row>>());
    let insights = ["payments_share", "payments_growth", "payments_index"];
    let plan = market.plan(&[report(&insights, r#"[["wallet", "month"]]"#)]);
    let exact = |plan: &Plan| {
        let sharp = sharp(plan.clone());
        let noisy = add_noise(&sharp, market.reference(&sharp), RunKey::frozen([0; 32]), 1);
        let estimates = estimate(&sharp, noisy.expect("draws"), 1);
        insights.map(|name| column(&estimates, name))
    };
    let truth = exact(&plan);
    let (mut held, mut all) = (0, 0);
    for key in 0..60 {
        let noisy = add_noise(&plan, market.reference(&plan), RunKey::frozen([key; 32]), 1);
        let estimates = estimate(&plan, noisy.expect("draws"), 1);
        for (name, truth) in insights.iter().zip(&truth) {
            let found = column(&estimates, name);
            for (cell, estimate) in &found {
                let Some(value) = truth[cell].unbiased else { continue };
                let (Some(low), Some(high)) = (estimate.interval.low, estimate.interval.high)
                else {
                    continue;
                };
                held += u32::from(low - 1e-3 <= value && value <= high + 1e-3);
                all += 1;
            }
            if *name == "payments_share" {
                let sum: f64 = found.values().map(|e| e.interval.value.expect("shown")).sum();
                assert!((sum - 4.0).abs() < 1e-9, "{sum}");
            }
        }
    }
    let coverage = f64::from(held) / f64::from(all);
    assert!(all > 1500 && (0.93..=0.995).contains(&coverage), "{coverage} of {all}");
}

/// Keys of all cells are held once more while growth is written: more than a model takes.
#[test]
fn comparisons_count_as_memory() {
    let market = Market::new(&[]);
    let plan = |insights: &str| {
        market.plan(&[format!(
            "levels = [[\"merchant\", \"wallet\", \"day\"]]\nkeys = \"public\"\n\
             insights = [{insights}]\nbounds = {{ payments = 1 }}"
        )])
    };
    let all = "\"payments\", \"payments_growth\"";
    let (plain, growth) = (memory(&plan("\"payments\"")), memory(&plan(all)));
    let cells = 10 * 3 * 120;
    assert!(growth > plain + 50 * cells, "{growth} {plain}");
    // What earlier releases say is known for as long as the run lasts.
    let mut long = plan("\"payments\"");
    let keys = long.levels[0].cells.public_keys(&long.job).expect("public");
    let days = (long.job.payments.period.first(), long.job.payments.period.last());
    let known = EarlierCells { days, keys, statistics: BTreeMap::new() };
    let from = (String::new(), String::new());
    long.levels[0].earlier = vec![Earlier { from, cells: Arc::new(known) }; 12];
    assert!(memory(&long) > plain + 12 * cells * 300, "{plain}");
}
