//! Merchants among others: the examples of `docs/insights.md`, and how often intervals hold the
//! truth.

use std::collections::BTreeMap;

use super::concentration::concentration;
use super::sellers::{Law, Seller};
use super::{Estimate, Estimates, Values, estimate};
use crate::fixture::{Market, Row};
use crate::mechanism::{RunKey, add_noise};
use crate::plan::{CellKey, KeyValue, Plan};

const PAGE: &str = include_str!("../../docs/insights.md");

/// The payments of the page's table of merchants, all in January.
fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for line in PAGE.lines() {
        let fields: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [merchant, region, count] = fields[..] else { continue };
        let merchant = merchant.strip_prefix('M').and_then(|number| number.parse::<u32>().ok());
        let Some((merchant, count)) = merchant.zip(count.parse::<u32>().ok()) else { continue };
        assert_eq!(region, format!("R{}", merchant % 3));
        for n in 0..count {
            let (user, minute) = (rows.len() as u32, n % 28 * 1440 + 600);
            rows.push(Row { user, merchant, minute, amount: 1000, wallet: 0 });
        }
    }
    rows
}

/// The numbers in bold letters under a heading.
fn example(name: &str) -> Vec<f64> {
    let section =
        PAGE.split("## `").find(|text| text.starts_with(&format!("{name}`"))).expect(name);
    let bold = section.rsplit("**").nth(1).expect("an example");
    bold.split(", ").map(|number| number.parse().expect("a number")).collect()
}

const REPORT: &str = "levels = [[\"region\", \"month\"], [\"merchant\", \"month\"]]\nkeys = \"public\"\n\
    peers = \"region\"\npeers_min = 3\nsuppress_above = \"never\"\n\
    bounds = { customers = 1, payments = 1, sales = 10, gross = 10 }\n";

/// With next to no noise.
fn sharp(mut plan: Plan) -> Plan {
    for level in &mut plan.levels {
        level.statistics.iter_mut().for_each(|s| s.noise.sigma = 1 << 7);
    }
    plan
}

type Cells = BTreeMap<CellKey, (Estimate<Option<f64>>, Option<&'static str>)>;

/// A column of a level's table, in counts or major units.
fn column(estimates: &Estimates, level: usize, name: &str) -> Cells {
    let mut cells = BTreeMap::new();
    let shown = estimates.table(level, 0);
    let slices = shown.slices(shown.rows());
    for table in (0..slices.count()).map(|place| slices.get(place)) {
        let column = table.columns.iter().find(|column| column.name == name).expect(name);
        let values: Vec<Estimate<Option<f64>>> = match &column.values {
            Values::Counts(values) | Values::Positions(values) => values.clone(),
            Values::Money(values) => {
                let major = |x: Option<i128>| x.map(|minor| minor as f64 / 100.0);
                let of = |e: &Estimate<Option<i128>>| Estimate {
                    interval: super::Interval {
                        value: major(e.interval.value),
                        low: major(e.interval.low),
                        high: major(e.interval.high),
                    },
                    unbiased: major(e.unbiased),
                    sd: major(e.sd),
                };
                values.iter().map(of).collect()
            }
        };
        let reasons = column.suppressed.iter().map(|reason| reason.map(super::Reason::name));
        cells.extend(table.keys.iter().cloned().zip(values.into_iter().zip(reasons)));
    }
    cells
}

fn january(name: &str) -> CellKey {
    let first = chrono::NaiveDate::from_ymd_opt(2025, 1, 1).expect("a date");
    [KeyValue::Text(name.into()), KeyValue::Date(first)].into()
}

fn estimates(plan: &Plan, market: &Market, check: impl Fn(&Estimates)) {
    let noisy = add_noise(plan, market.reference(plan), RunKey::frozen([5; 32]), 1);
    check(&estimate(plan, noisy.expect("draws"), 1));
}

#[test]
fn examples_are_right() {
    let rows = rows();
    assert_eq!(rows.len(), 1000);
    let market = Market::new(&rows);
    let kinds = ["customers", "payments", "gross", "sales"];
    let names = kinds.map(|kind| {
        format!("\"{kind}\", \"{kind}_concentration\", \"{kind}_rank\", \"{kind}_peer_benchmark\", \"{kind}_above\"")
    });
    let above = "above = { customers = 100, payments = 100, gross = 1000, sales = 1000 }";
    let plan = sharp(market.plan(&[format!("{REPORT}{above}\ninsights = [{}]", names.join(", "))]));
    estimates(&plan, &market, |estimates| {
        for kind in kinds {
            // Each payment is of ten euros.
            let unit = if ["gross", "sales"].contains(&kind) { 10.0 } else { 1.0 };
            let near = |found: Option<f64>, expected: f64, what: &str| {
                let found = found.expect("shown");
                assert!((found - expected).abs() < 4e-3 * expected, "{kind} {what}: {found}");
            };
            let cells = column(estimates, 0, &format!("{kind}_concentration"));
            let (found, _) = cells[&january("R0")];
            let [expected] = example("payments_concentration")[..] else { panic!("one number") };
            near(found.interval.value, expected, "concentration");
            near(found.unbiased, expected, "concentration");
            let (found, _) = column(estimates, 0, &format!("{kind}_above"))[&january("R0")];
            let [expected] = example("payments_above")[..] else { panic!("one number") };
            near(found.interval.value, expected, "above");
            near(found.interval.low, expected, "above");
            near(found.interval.high, expected, "above");
            // Nobody pays in R1.
            assert_eq!(cells[&january("R1")].0.unbiased, None);

            let (found, _) = column(estimates, 1, &format!("{kind}_rank"))[&january("M3")];
            let [expected] = example("payments_rank")[..] else { panic!("one number") };
            near(found.interval.value, expected, "rank");
            near(found.interval.low, expected, "rank");
            near(found.interval.high, expected, "rank");

            let quarters = example("payments_peer_benchmark");
            for (quarter, expected) in ["p25", "p50", "p75"].into_iter().zip(quarters) {
                let name = format!("{kind}_peer_benchmark_{quarter}");
                let cells = column(estimates, 1, &name);
                for merchant in ["M0", "M3", "M6", "M9"] {
                    let (found, _) = cells[&january(merchant)];
                    near(found.interval.value, unit * expected, quarter);
                }
            }
        }
    });
}

#[test]
fn of_too_few_merchants_nothing_is_told() {
    let rows: Vec<Row> = (0..2000)
        .map(|n| Row { user: n, merchant: n % 10, minute: n, amount: 1000, wallet: 0 })
        .collect();
    let market = Market::new(&rows);
    let report = REPORT.replace("peers_min = 3", "peers_min = 4");
    let report =
        report.replace("customers = 1, payments = 1, sales = 10, gross = 10", "payments = 1");
    let insights = "insights = [\"payments_concentration\", \"payments_rank\", \
                    \"payments_peer_benchmark\", \"payments\"]";
    let plan = sharp(market.plan(&[format!("{report}{insights}")]));
    estimates(&plan, &market, |estimates| {
        for (level, name, few, enough) in [
            (0, "payments_concentration", "R1", "R0"),
            (1, "payments_rank", "M1", "M0"),
            (1, "payments_peer_benchmark_p75", "M1", "M0"),
        ] {
            let cells = column(estimates, level, name);
            let (hidden, reason) = cells[&january(few)];
            assert_eq!(reason, Some("peers"), "{name}");
            assert_eq!((hidden.interval.low, hidden.unbiased, hidden.sd), (None, None, None));
            assert_eq!(cells[&january(enough)].1, None, "{name}");
        }
    });
}

/// Uniform in (0, 1), by a generator that needs no state elsewhere.
struct Uniform(u64);

impl Uniform {
    fn next(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bits = (self.0 ^ (self.0 >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        ((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let (a, b) = (self.next(), self.next());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }
}

/// Merchants with values of a normal law around 200 with deviation 60, and what the right model
/// knows of them after noise.
fn sellers(chance: &mut Uniform, count: usize, noise: f64) -> (Vec<f64>, Vec<Seller>) {
    let (centre, spread) = (200.0, 60.0f64);
    let weight = spread.powi(2) / (spread.powi(2) + noise.powi(2));
    let mut truth = Vec::new();
    let mut known = Vec::new();
    for _ in 0..count {
        let value = centre + spread * chance.normal();
        let noisy = value + noise * chance.normal();
        truth.push(value);
        known.push(Seller {
            noisy,
            noise,
            factor: 1.0,
            mean: centre + weight * (noisy - centre),
            sd: weight.sqrt() * noise,
            apart: 0.0,
        });
    }
    (truth, known)
}

/// Of 400 groups or cells, with a false alarm in 1e9 of them if intervals hold the truth 94 in 100
/// times: at most 51 in 400 miss it (binomial, 0.06).
#[test]
fn intervals_hold_the_truth() {
    const GROUPS: usize = 400;
    let mut chance = Uniform(7);
    for (count, noise) in [(5, 10.0), (5, 40.0), (30, 40.0), (100, 80.0)] {
        let mut missed = [0; 6];
        for _ in 0..GROUPS {
            let (truth, known) = sellers(&mut chance, count, noise);
            let law = Law::new(&known);
            let (_, low, high) = law.position(&known[0]);
            let above = truth.iter().filter(|&&other| other > truth[0]).count();
            let place = (above as f64 + 0.5) / count as f64;
            missed[0] += usize::from(!(low..=high).contains(&place));
            let mut sorted = truth.clone();
            sorted.sort_by(f64::total_cmp);
            for (at, part) in [0.25, 0.5, 0.75].into_iter().enumerate() {
                let (_, low, high) = law.quantile(part);
                let value = sorted[(part * count as f64).ceil() as usize - 1];
                missed[1 + at] += usize::from(!(low..=high).contains(&value));
            }
            let sum: f64 = truth.iter().sum();
            let squares: f64 = truth.iter().map(|x| x * x).sum();
            let points = 1e4 * squares / sum.powi(2);
            let found = concentration(&known.iter().collect::<Vec<_>>(), false).interval;
            let holds = found.low.zip(found.high).is_some_and(|(a, b)| (a..=b).contains(&points));
            missed[4] += usize::from(!holds);
            let (_, low, high) = Seller::count_above(&known, 220.0, 0.0);
            let above = truth.iter().filter(|&&value| value > 220.0).count() as f64;
            missed[5] += usize::from(!(low..=high).contains(&above));
        }
        assert!(missed.iter().all(|&missed| missed <= 51), "{count}, {noise}: {missed:?}");
        // `docs/insights.md` says 96 of 100; the seed is fixed.
        assert!(missed[5] <= GROUPS / 25, "{count}, {noise}: {missed:?}");
    }
}

/// Noise adds to squares, and spreads a group: without it each would be far off.
#[test]
fn noise_is_taken_out_again() {
    let (count, noise) = (200, 90.0);
    let mut chance = Uniform(11);
    let (mut raw, mut found) = ([0.0; 2], [0.0; 2]);
    for _ in 0..50 {
        let (truth, known) = sellers(&mut chance, count, noise);
        let points = |values: &mut dyn Iterator<Item = f64>| {
            let (sum, squares) = values.fold((0.0, 0.0), |(s, q), x| (s + x, q + x * x));
            1e4 * squares / f64::powi(sum, 2)
        };
        let exact = points(&mut truth.iter().copied());
        let noised = points(&mut known.iter().map(|s| s.noisy));
        let own = concentration(&known.iter().collect::<Vec<_>>(), false);
        raw[0] += noised - exact;
        found[0] += own.unbiased.expect("strong") - exact;
        let quarter = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values[count / 4 - 1]
        };
        let exact = quarter(truth);
        raw[1] += quarter(known.iter().map(|s| s.noisy).collect()) - exact;
        found[1] += Law::new(&known).quantile(0.25).0 - exact;
    }
    for (raw, found) in raw.into_iter().zip(found) {
        assert!(found.abs() < 0.2 * raw.abs(), "{found} of {raw}");
    }
}

/// At a level that names merchants no concentration is told, and else no rank; and what only one
/// of them needs is measured there alone.
#[test]
fn levels_show_what_they_can() {
    let market = Market::new(&[]);
    let report = "insights = [\"sales_rank\", \"payments_concentration\", \"customers\"]";
    let shown = REPORT.replace(", gross = 10", "");
    let plan = market.plan(&[format!("{shown}{report}")]);
    let names = |level: usize| -> Vec<&str> {
        plan.levels[level].tables[0].insights.iter().map(|insight| insight.name()).collect()
    };
    assert_eq!(names(0), ["customers", "payments_concentration"]);
    assert_eq!(names(1), ["customers", "sales_rank"]);
    let kinds = |level: usize| -> Vec<&str> {
        plan.levels[level].statistics.iter().map(|statistic| statistic.kind.name()).collect()
    };
    assert_eq!(kinds(0), ["customers", "payments"]);
    assert_eq!(kinds(1), ["customers", "payments", "sales"]);
}
