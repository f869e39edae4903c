//! Estimates of whole reports: levels add up, nothing depends on threads, and models help.

use std::collections::BTreeMap;

use super::tests_earlier::earlier_release;
use super::{Column, Estimates, Interval, Table, Values, View, estimate};
use crate::fixture::{DAYS, Market, Row};
use crate::job::StatisticKind;
use crate::mechanism::{RunKey, add_noise};
use crate::plan::{CellKey, KeyValue, Plan};

pub(super) fn market() -> Market {
    // Users come back to a few of ten merchants, of which the first are the largest.
    let row = |n: u32| {
        let user = n % 300;
        let merchant = (user % 10).min(user / 7 % 10).min(n % 11 % 10);
        let amount = i64::from(500 + merchant * 200 + n % 97 * 10)
            * if n.is_multiple_of(41) { -1 } else { 1 };
        Row { user, merchant, minute: n * 7919 % (DAYS * 1440 - 120), amount, wallet: n % 5 % 3 }
    };
    Market::new(&(0..20_000).map(row).collect::<Vec<Row>>())
}

pub(super) fn report(levels: &str, keys: &str) -> String {
    format!(
        "levels = {levels}\nkeys = \"{keys}\"\n\
         insights = [\"customers\", \"payments\", \"sales\", \"average_ticket\", \
         \"ticket_histogram\"]\n\
         bounds = {{ customers = 4, payments = 12, sales = \"150\", ticket_histogram = 12 }}\n\
         suppress_above = \"never\""
    )
}

fn estimates<'p>(market: &Market, plan: &'p Plan, threads: usize) -> Estimates<'p> {
    let totals = market.local(plan, 2);
    let noisy = add_noise(plan, totals, RunKey::frozen([3; 32]), 2).expect("draws");
    estimate(plan, noisy, threads)
}

fn tables(estimates: &Estimates, level: usize) -> Vec<Table> {
    let shown = estimates.table(level, 0);
    let slices = shown.slices(shown.rows());
    (0..slices.count()).map(|place| slices.get(place)).collect()
}

/// The estimates of one column by cell, in parts that are whole numbers.
fn whole(table: &Table, name: &str) -> BTreeMap<CellKey, i128> {
    let column = table.columns.iter().find(|column| column.name == name).expect("is there");
    let values: Vec<i128> = match &column.values {
        Values::Counts(values) | Values::Positions(values) => values
            .iter()
            .map(|e| {
                let parts = e.interval.value.expect("shown") * 1024.0;
                assert!(parts.fract().abs() <= 0.0 && parts >= 0.0, "{name}: {parts}");
                parts as i128
            })
            .collect(),
        Values::Money(values) => values.iter().map(|e| e.interval.value.expect("shown")).collect(),
    };
    table.keys.iter().cloned().zip(values).collect()
}

/// Sums by what `coarse` makes of each key.
fn sums(
    fine: &BTreeMap<CellKey, i128>,
    coarse: impl Fn(&CellKey) -> Vec<KeyValue>,
) -> BTreeMap<CellKey, i128> {
    let mut sums = BTreeMap::new();
    for (key, value) in fine {
        *sums.entry(coarse(key).into()).or_insert(0) += value;
    }
    sums
}

fn region_of(merchant: &KeyValue) -> KeyValue {
    let KeyValue::Text(id) = merchant else { panic!("a merchant") };
    let number: u32 = id[1..].parse().expect("a number");
    KeyValue::Text(format!("R{}", number % 3).into())
}

const ADDITIVE: [&str; 4] =
    ["payments", "sales", "ticket_histogram_from_5", "ticket_histogram_from_20"];

#[test]
fn levels_add_up_to_the_last_digit() {
    let market = market();
    let levels =
        r#"[[], ["region"], ["week"], ["region", "week"], ["merchant", "day"], ["wallet"]]"#;
    // A day is in one week, so merchant and day split all but the wallet.
    let plan = market.plan(&[report(levels, "public")]);
    let estimates = estimates(&market, &plan, 2);
    let table = |level: usize| tables(&estimates, level).remove(0);
    let (all, region, week) = (table(0), table(1), table(2));
    let (both, fine, wallet) = (table(3), table(4), table(5));
    let monday = |day: &KeyValue| {
        let KeyValue::Date(day) = day else { panic!("a day") };
        use chrono::Datelike;
        KeyValue::Date(*day - chrono::Days::new(day.weekday().num_days_from_monday().into()))
    };
    for name in ADDITIVE {
        let fine = whole(&fine, name);
        assert_eq!(whole(&all, name), sums(&fine, |_| vec![]), "{name}");
        assert_eq!(whole(&region, name), sums(&fine, |key| vec![region_of(&key[0])]), "{name}");
        assert_eq!(whole(&week, name), sums(&fine, |key| vec![monday(&key[1])]), "{name}");
        let pair = |key: &CellKey| vec![region_of(&key[0]), monday(&key[1])];
        assert_eq!(whole(&both, name), sums(&fine, pair), "{name}");
        assert_eq!(whole(&all, name), sums(&whole(&wallet, name), |_| vec![]), "{name}");
    }
}

/// Regions are sums of their weeks, and weekdays of their hours: weekdays of regions add up to
/// both, but for rounding to those with fewer cells.
#[test]
fn levels_add_up_to_those_that_others_make() {
    let market = market();
    let levels = r#"[[], ["region"], ["weekday"], ["weekday", "hour"], ["region", "weekday"],
        ["region", "week"]]"#;
    let plan = market.plan(&[report(levels, "public")]);
    let estimates = estimates(&market, &plan, 2);
    let table = |level: usize| tables(&estimates, level).remove(0);
    let (region, weekday, both) = (table(1), table(2), table(4));
    for name in ADDITIVE {
        let fine = whole(&both, name);
        assert_eq!(whole(&weekday, name), sums(&fine, |key| vec![key[1].clone()]), "{name}");
        let made = sums(&fine, |key| vec![key[0].clone()]);
        for (key, sum) in whole(&region, name) {
            assert!((sum - made[&key]).abs() < 30, "{name} {key:?}: {sum} and {}", made[&key]);
        }
    }
}

#[test]
fn estimates_do_not_depend_on_threads() {
    let market = market();
    let levels = r#"[["region"], ["merchant", "week"]]"#;
    let plan = market.plan(&[report(levels, "public"), report(levels, "private")]);
    let shown = |threads: usize| {
        let estimates = estimates(&market, &plan, threads);
        let tables = (0..plan.levels.len()).map(|level| tables(&estimates, level));
        format!("{:?}", tables.collect::<Vec<_>>())
    };
    let one = shown(1);
    assert!(one == shown(2) && one == shown(5));
}

#[test]
fn intervals_hold_their_estimates_and_noised_values_stay() {
    let market = market();
    let levels = r#"[[], ["merchant", "week"], ["merchant", "hour"]]"#;
    let plan = market.plan(&[report(levels, "public"), report(levels, "private")]);
    let totals = market.local(&plan, 2);
    let noisy = add_noise(&plan, totals, RunKey::frozen([3; 32]), 2).expect("draws");
    let estimates = estimate(&plan, noisy.clone(), 2);
    let holds = |Interval { value, low, high }: Interval<Option<f64>>| {
        Some(0.0) <= low && low <= value && value <= high
    };
    for (level, noised) in plan.levels.iter().zip(&noisy.levels) {
        let place = plan.levels.iter().position(|other| other.file == level.file).expect("there");
        let Column { values: Values::Counts(customers), .. } =
            &tables(&estimates, place)[0].columns[0]
        else {
            panic!("customers are counts")
        };
        assert!(customers.iter().all(|e| holds(e.interval)));
        let noise = level.statistics[0].noise;
        let mut shown: Vec<f64> = customers.iter().filter_map(|e| e.unbiased).collect();
        let mut drawn: Vec<f64> =
            noised.values[0].iter().map(|&grid| noise.to_natural(grid as f64)).collect();
        shown.sort_by(f64::total_cmp);
        drawn.sort_by(f64::total_cmp);
        assert_eq!(shown, drawn);
    }
}

/// Mean absolute error of customers by cell: of estimates and of noised values.
fn errors(market: &Market, plan: &Plan) -> (f64, f64) {
    let truth = nearly_exact(market, plan);
    let both = customers(market, plan);
    let error = |of: &dyn Fn(&(f64, f64)) -> f64| -> f64 {
        both.iter().zip(&truth).map(|(both, truth)| (of(both) - truth).abs()).sum::<f64>()
            / truth.len() as f64
    };
    (error(&|both| both.0), error(&|both| both.1))
}

/// Customers by cell: estimates and noised values.
pub(super) fn customers(market: &Market, plan: &Plan) -> Vec<(f64, f64)> {
    let estimates = estimates(market, plan, 2);
    let rows: Vec<usize> = (0..estimates.totals.levels[0].keys.len()).collect();
    let view = View {
        plan,
        level: &plan.levels[0],
        shown: &plan.levels[0].tables[0],
        noisy: &estimates.totals.levels[0],
        models: &estimates.models[0],
    };
    let numbers = view.numbers(StatisticKind::Customers, 0, &rows);
    rows.iter().map(|&row| (numbers.estimate(row), numbers.unbiased(row))).collect()
}

/// Customers with next to no noise.
pub(super) fn nearly_exact(market: &Market, plan: &Plan) -> Vec<f64> {
    let mut sharp = plan.clone();
    sharp.levels[0].statistics.iter_mut().for_each(|statistic| statistic.noise.sigma = 1 << 7);
    let exact = market.local(plan, 2);
    let noisy = add_noise(&sharp, exact, RunKey::frozen([0; 32]), 2).expect("draws");
    let noise = plan.levels[0].statistics[0].noise;
    noisy.levels[0].values[0].iter().map(|&grid| noise.to_natural(grid as f64)).collect()
}

#[test]
fn noised_values_of_cells_with_scales_are_in_units() {
    let market = market();
    let report = report(r#"[["region"], ["merchant", "week"]]"#, "public");
    // Bounds that take nothing.
    let report = report.replace(
        "customers = 4, payments = 12, sales = \"150\"",
        "customers = 40000, payments = 200000, sales = \"40000000\"",
    );
    let plain = market.plan(std::slice::from_ref(&report));
    let exact = market.local(&plain, 2);
    let mut plan = market.plan(&[report]).with_scales(3);
    // Little noise: two customers or payments, where nothing is scaled.
    let statistics = plan.levels.iter_mut().flat_map(|level| &mut level.statistics);
    statistics.filter(|s| s.kind.is_count()).for_each(|s| s.noise.sigma = 2 << s.noise.grid_bits);
    let estimates = estimates(&market, &plan, 2);
    let mut octaves = std::collections::BTreeSet::new();
    let (mut squares, mut count) = (0.0, 0.0);
    for (place, level) in plan.levels.iter().enumerate() {
        let table = tables(&estimates, place).remove(0);
        for (at, statistic) in level.statistics.iter().enumerate().take(3) {
            let noise = plain.levels[place].statistics[at].noise;
            let column = table.columns.iter().find(|c| c.name == statistic.kind.name());
            let (values, sds): (Vec<f64>, Vec<f64>) = match &column.expect("there").values {
                Values::Money(values) => values
                    .iter()
                    .map(|e| (e.unbiased.expect("shown") as f64, e.sd.expect("shown") as f64))
                    .unzip(),
                Values::Counts(values) | Values::Positions(values) => values
                    .iter()
                    .map(|e| (e.unbiased.expect("shown"), e.sd.expect("shown")))
                    .unzip(),
            };
            for ((key, value), sd) in table.keys.iter().zip(values).zip(sds) {
                let cell = exact.levels[place].keys.iter().position(|own| own == key);
                let cell = cell.expect("public");
                let truth = noise.to_natural(exact.levels[place].sums[at][cell] as f64);
                let wanted = level.noise_sd(statistic, cell);
                assert!((sd - wanted).abs() <= 1.0f64.min(0.01 * wanted), "{sd} {wanted}");
                // Money is rounded.
                if statistic.kind.is_count() {
                    squares += ((value - truth) / sd).powi(2);
                    count += 1.0;
                }
                octaves.insert((statistic.noise.sd() / wanted).log2() as i64);
            }
        }
    }
    assert!(octaves.len() > 6, "{octaves:?}");
    // Of so many squares of normal numbers the mean is within 6 deviations of 1: of 10⁹ keys, two
    // are not.
    let off: f64 = (squares / count - 1.0).abs() / f64::sqrt(2.0 / count);
    assert!(off < 6.0, "{squares} of {count}");
}

#[test]
fn models_are_nearer_to_the_truth_than_noised_values() {
    let market = market();
    let plan = market.plan(&[report(r#"[["merchant", "week"]]"#, "public")]);
    let (own, raw) = errors(&market, &plan);
    assert!(own < 0.5 * raw, "{own} against {raw}");
}

#[test]
fn values_of_an_earlier_release_help() {
    let market = market();
    // Without earlier values, cells without time have nothing but each other.
    let mut plan = market.plan(&[report(r#"[["merchant", "wallet"]]"#, "public")]);
    let (alone, _) = errors(&market, &plan);
    let values = nearly_exact(&market, &plan);
    let customers = StatisticKind::Customers;
    plan.levels[0].earlier = vec![earlier_release(&plan, 1, customers, &values, &|_| 1.0)];
    let (helped, _) = errors(&market, &plan);
    assert!(helped < 0.7 * alone, "{helped} against {alone}");
}

/// Merchants of two regions whose usual tickets are far apart, each a little dearer or cheaper.
#[test]
fn quantiles_of_tickets_are_near_the_exact_ones() {
    let usual = |merchant: u32| {
        let region = [1_000.0, 6_000.0, 20_000.0][merchant as usize % 3];
        region * (1.0 + 0.1 * f64::from(merchant / 3))
    };
    // Quantiles of a normal law in steps, so that each merchant's law is the same but for its
    // scale.
    let step = |n: u32| (f64::from(n * 37 % 101) / 100.0 - 0.5) * 1.6;
    let row = |n: u32| {
        let (user, merchant) = (n % 2_000, n / 2_000 % 10);
        let amount = (usual(merchant) * step(n / 10 + merchant * 13).exp()).round() as i64;
        Row { user, merchant, minute: n * 7919 % (DAYS * 1440 - 120), amount, wallet: 0 }
    };
    let rows: Vec<Row> = (0..60_000).map(row).collect();
    let market = Market::new(&rows);
    let plan = market.plan(&["levels = [[\"merchant\"]]\nkeys = \"public\"\n\
         insights = [\"ticket_quantiles\"]\nbounds = { payments = 40 }"
        .to_owned()]);
    let (_, plan, totals) = crate::fixture::settled(&market.engine(1, 4), &plan);
    let noisy = add_noise(&plan, totals, RunKey::frozen([5; 32]), 1).expect("draws");
    let tables = tables(&estimate(&plan, noisy, 1), 0);
    let names: Vec<&str> = tables[0].columns.iter().map(|c| c.name.as_str()).collect();
    let ends = ["p10", "p25", "p50", "p75", "p90"].map(|end| format!("ticket_quantiles_{end}"));
    assert_eq!(names, ends);
    for (column, share) in tables[0].columns.iter().zip([0.1, 0.25, 0.5, 0.75, 0.9]) {
        let Values::Money(values) = &column.values else { panic!("money") };
        for (merchant, estimate) in (0..10).zip(values) {
            let mut own: Vec<i64> =
                rows.iter().filter(|r| r.merchant == merchant).map(|r| r.amount).collect();
            own.sort_unstable();
            let exact = own[(own.len() as f64 * share) as usize] as f64;
            let Interval { value, low, high } = estimate.interval;
            let [value, low, high] = [value, low, high].map(|x| x.expect("shown") as f64);
            let error = (value / exact).ln().abs();
            assert!(error < 0.2, "{} of {merchant}: {value} and not {exact}", column.name);
            assert!(low <= value && value <= high);
            // The raw quantile is near too, as payments are many.
            let raw = estimate.unbiased.expect("many payments") as f64;
            assert!((raw / exact).ln().abs() < 0.25, "{raw} and not {exact}");
        }
    }
}
