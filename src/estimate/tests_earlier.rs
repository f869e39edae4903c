//! What values of earlier releases do to estimates.

use std::sync::Arc;

use chrono::Days;

use super::shrink::shrink;
use super::shrink::tests::{error, noise, panel, truth};
use super::tests::{customers, market, nearly_exact, report};
use crate::job::StatisticKind;
use crate::plan::{Earlier, EarlierCells, EarlierValues, Plan};

/// A release so many periods before, whose values have noise of these deviations, as drawn.
pub(super) fn earlier_release(
    plan: &Plan,
    before: u64,
    kind: StatisticKind,
    values: &[f64],
    sd: &dyn Fn(usize) -> f64,
) -> Earlier {
    let cells = 0..values.len();
    let place = |cell: usize| before as usize * 1_000_000 + cell;
    let values = cells.clone().map(|cell| values[cell] + sd(cell) * noise(place(cell))).collect();
    let shown = vec![None; cells.len()];
    let values = EarlierValues { values, sds: cells.map(sd).collect(), shown };
    let period = plan.job.payments.period;
    let first = period.first() - Days::new(before * u64::from(period.days()));
    let days = (first, first + Days::new(u64::from(period.days()) - 1));
    let keys = plan.levels[0].cells.public_keys(&plan.job).expect("public");
    let cells = EarlierCells { days, keys, statistics: [(kind, values)].into() };
    Earlier { from: (format!("before-{before}"), String::new()), cells: Arc::new(cells) }
}

#[test]
fn each_earlier_release_tells_as_much_as_its_noise_lets_it() {
    let market = market();
    let mut plan = market.plan(&[report(r#"[["merchant", "wallet", "weekday"]]"#, "public")]);
    let truth = nearly_exact(&market, &plan);
    let noise = plan.levels[0].statistics[0].noise.sd();
    let of = |plan: &mut Plan, releases: Vec<Earlier>| {
        plan.levels[0].earlier = releases;
        customers(&market, plan)
    };
    let error = |found: &[(f64, f64)], cells: &dyn Fn(usize) -> bool| -> f64 {
        let cells = (0..truth.len()).filter(|&cell| cells(cell));
        cells.map(|cell| (found[cell].0 - truth[cell]).abs()).sum()
    };
    let all = |_: usize| true;
    let same = StatisticKind::Customers;
    let usual = |plan: &Plan, before: u64| earlier_release(plan, before, same, &truth, &|_| noise);
    let none = of(&mut plan, Vec::new());
    let one = usual(&plan, 1);
    let one = of(&mut plan, vec![one]);
    let six: Vec<Earlier> = (1..=6).map(|before| usual(&plan, before)).collect();
    let six = of(&mut plan, six);
    let errors = [&none, &one, &six].map(|found| error(found, &all));
    assert!(errors[1] < errors[0] && errors[2] < 0.8 * errors[1], "{errors:?}");

    // Half of a release's values are sharp, the other half say nothing of theirs.
    let is_sharp = |cell: usize| cell.is_multiple_of(2);
    let half = |cell: usize| if is_sharp(cell) { 1.0 } else { 1e5 };
    let half = earlier_release(&plan, 1, same, &truth, &half);
    let half = of(&mut plan, vec![half]);
    let (sharp, blunt) = (error(&half, &is_sharp), error(&half, &|cell| !is_sharp(cell)));
    let (were_sharp, were_blunt) = (error(&none, &is_sharp), error(&none, &|cell| !is_sharp(cell)));
    assert!(sharp < 0.5 * were_sharp, "{sharp} of {were_sharp}");
    assert!(blunt < 1.05 * were_blunt, "{blunt} of {were_blunt}");

    // One that lacks the statistic tells nothing of it, and nothing of those before it.
    let old = earlier_release(&plan, 2, same, &truth, &|_| noise);
    let blind = earlier_release(&plan, 1, StatisticKind::Visits, &truth, &|_| noise);
    let alone = of(&mut plan, vec![old.clone()]);
    let both = of(&mut plan, vec![blind, old]);
    for ((alone, _), (both, _)) in alone.iter().zip(&both) {
        assert!((alone - both).abs() < 0.1 * noise, "{alone} {both}");
    }
}

/// Months that drift: the more are known, the nearer the last one is, and no less than if those
/// long ago were unknown.
#[test]
fn times_long_ago_do_no_harm_where_series_drift() {
    let (series, months) = (300, 13);
    let sizes = truth(series, 1);
    for (drift, gain) in [(0.0, 0.6), (0.1, 0.9), (0.3, 1.02)] {
        let mut all = Vec::new();
        for (series, size) in sizes.iter().enumerate() {
            let mut level = 0.0;
            for month in 0..months {
                level += drift * noise(1_000_000 + series * months + month);
                all.push(size * f64::exp(level));
            }
        }
        let sd = 30.0;
        let noisy: Vec<f64> =
            all.iter().enumerate().map(|(place, x)| x + sd * noise(place)).collect();
        let error_of = |known: usize| {
            let of = |values: &[f64]| -> Vec<f64> {
                let last = values.chunks(months).flat_map(|own| &own[months - known..]);
                last.copied().collect()
            };
            let seen = of(&noisy);
            let count = seen.len();
            let panel = panel(series, known);
            let found = shrink(&panel, &seen, &vec![sd; count], &vec![1.0; count], 2);
            let last = |values: Vec<f64>| values.into_iter().skip(known - 1).step_by(known);
            let found = last(found.iter().map(|p| p.own.mean).collect());
            error(found, &last(of(&all)).collect::<Vec<f64>>())
        };
        let errors = [1, 2, 4, 13].map(error_of);
        assert!(errors[1] < errors[0], "{drift}: {errors:?}");
        assert!(errors[2] < 1.02 * errors[1], "{drift}: {errors:?}");
        assert!(errors[3] < gain * errors[1], "{drift}: {errors:?}");
    }
}
