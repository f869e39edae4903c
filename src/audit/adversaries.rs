//! Users who try to move a release further than they may.

use std::sync::Arc;

use super::twin::{DAY, TwinPayment, World};
use crate::job::{LOG_PARTS, StatisticKind, Unit};
use crate::payments::AMOUNT_MAX;
use crate::plan::{Gaussian, Plan};

/// A user, and why they are in the twin.
pub(crate) struct Adversary {
    pub(crate) user: Arc<str>,
    pub(crate) why: String,
    pub(crate) payments: Vec<TwinPayment>,
}

/// Seconds of a day and a bit, so that hours and weekdays change too.
const STRIDE: i64 = DAY + 3_661;
/// The most payments of an adversary at a bound.
const PAYMENTS_MAX: u64 = 20_000;
/// The most days of an adversary who comes daily.
const DAYS_MAX: i64 = 1_000;

/// All adversaries of a plan whose bounds are known; one of them with `most` payments in one cell.
pub(crate) fn adversaries(world: &World, plan: &Plan, most: usize) -> Vec<Adversary> {
    let mut all = Vec::new();
    let mut add = |why: &str, payments: &dyn Fn(&Arc<str>) -> Vec<TwinPayment>| {
        let user: Arc<str> = format!("adversary {why}").into();
        let payments = payments(&user);
        all.push(Adversary { user, why: why.to_owned(), payments });
    };
    let wide = 400.max(world.merchants.len().min(1_000));
    let everywhere = |user: &Arc<str>, amount: &dyn Fn(usize) -> i64| -> Vec<TwinPayment> {
        (0..wide).map(|n| world.pay(user, n, n as i64 * STRIDE, amount(n))).collect()
    };
    add("in every cell with the largest amounts", &|u| everywhere(u, &|_| AMOUNT_MAX));
    add("in every cell with the largest refunds", &|u| everywhere(u, &|_| -AMOUNT_MAX));
    add("in every cell with one minor unit", &|u| everywhere(u, &|_| 1));
    add("in every cell with payments and refunds", &|u| {
        everywhere(u, &|n| if n % 2 == 0 { AMOUNT_MAX } else { -AMOUNT_MAX })
    });
    add("in every cell with other amounts each", &|u| {
        everywhere(u, &|n| (n as i64 + 1).pow(3) - 5_000)
    });
    add("with payments of zero", &|u| everywhere(u, &|_| 0));
    add("with one payment of one minor unit", &|u| vec![world.pay(u, 3, 7_200, 1)]);
    add("with one refund", &|u| vec![world.pay(u, 2, 7_200, -12_345)]);
    add("with amounts that cancel out", &|u| {
        vec![world.pay(u, 1, 60, AMOUNT_MAX), world.pay(u, 1, 61, -AMOUNT_MAX)]
    });
    add("with very many payments in one cell", &|u| {
        (0..most).map(|n| world.pay(u, 0, 60, 100 + (n % 7) as i64)).collect()
    });
    add("with unique keys", &|u| (0..120).map(|n| unique(world, u, n)).collect());
    let daily = |user: &Arc<str>, merchants: usize, amount: i64| -> Vec<TwinPayment> {
        let days = 0..world.days().min(DAYS_MAX);
        let on = |day: i64| world.pay(user, day as usize % merchants, day * DAY + 600, amount);
        days.map(on).collect()
    };
    add("on every day at one merchant", &|u| daily(u, 1, 100));
    add("with a refund on every day at one merchant", &|u| daily(u, 1, -AMOUNT_MAX));
    add("on every day at three merchants in turn", &|u| daily(u, 3, 100));
    add("on the first and the last day", &|u| {
        let last = (world.days() - 1) * DAY;
        (0..40).map(|n| world.pay(u, n / 2, n as i64 % 2 * last + 7_200, 300)).collect()
    });
    add("with more refunds than payments", &|u| {
        let pay = |n: i64| {
            world.pay(u, n as usize / 3, n * STRIDE / 3, if n % 3 == 0 { 9 } else { -90_000 })
        };
        (0..120).map(pay).collect()
    });
    add("with the smallest and the largest tickets in turn", &|u| {
        everywhere(u, &|n| if n % 2 == 0 { 1 } else { AMOUNT_MAX })
    });
    for (level, statistic, why, above) in bounds(plan) {
        add(&why, &|u| at_bound(world, plan, (level, statistic), u, above));
    }
    all
}

/// A payment whose merchant and columns nobody else has, where values are not stated.
fn unique(world: &World, user: &Arc<str>, n: usize) -> TwinPayment {
    let mut payment = world.pay(user, n, n as i64 * STRIDE, 5_000);
    if world.free_merchants {
        payment.merchant = format!("only-here-{n}").into();
    }
    for (value, free) in payment.columns.iter_mut().zip(&world.free_columns) {
        if *free {
            *value = format!("only-here-{n}").into();
        }
    }
    payment
}

/// Each statistic of each level, at its bound and just above it.
fn bounds(plan: &Plan) -> Vec<(usize, usize, String, u64)> {
    let mut all = Vec::new();
    for (level, of) in plan.levels.iter().enumerate() {
        for (statistic, own) in of.statistics.iter().enumerate() {
            for above in [0, 1] {
                let where_ = if above == 0 { "at" } else { "just above" };
                let why = format!("{where_} the bound of {} of {}", own.kind.name(), of.file);
                all.push((level, statistic, why, above));
            }
        }
    }
    all
}

/// Payments that just reach a bound, or go `above` it by one.
fn at_bound(
    world: &World,
    plan: &Plan,
    (level, statistic): (usize, usize),
    user: &Arc<str>,
    above: u64,
) -> Vec<TwinPayment> {
    let statistic = &plan.levels[level].statistics[statistic];
    let (kind, noise) = (statistic.kind, statistic.noise);
    let natural = |grid: u64| grid >> noise.grid_bits;
    let facts = kind.facts();
    match facts.unit {
        // From the last day back, so that there are days before to look back on.
        _ if facts.one_hot || kind == StatisticKind::Cohorts => {
            let cells = (natural(noise.bound.norm()).pow(2) + above).clamp(1, PAYMENTS_MAX);
            let on = |n: u64| world.pay(user, n as usize, -DAY / 2 - n as i64 * STRIDE, 100);
            (0..cells).map(on).collect()
        }
        Unit::Money => money_at_bound(world, noise, user, (facts.signed, kind), above),
        Unit::Log => {
            // As far from any usual ticket as is counted: all small ones, or all large ones.
            let most = (LOG_PARTS * 5 / 2) as u64;
            let count = (natural(noise.bound.norm()) / most + above).clamp(1, PAYMENTS_MAX);
            let amount = if above == 0 { 1 } else { AMOUNT_MAX };
            (0..count).map(|_| world.pay(user, 5, 90_000, amount)).collect()
        }
        // A day counts once, so each is another one.
        Unit::Count => {
            let count = (natural(noise.bound.cell_cap()) + above).clamp(1, PAYMENTS_MAX);
            let apart = if kind == StatisticKind::Visits { DAY } else { 0 };
            (0..count).map(|n| world.pay(user, 5, 90_000 + n as i64 * apart, 100)).collect()
        }
    }
}

/// One cell at the cap. Above it a second one, so that the fit has something to do: with the other
/// sign, where values have signs.
fn money_at_bound(
    world: &World,
    noise: Gaussian,
    user: &Arc<str>,
    (signed, kind): (bool, StatisticKind),
    above: u64,
) -> Vec<TwinPayment> {
    let size = (noise.bound.cell_cap() >> noise.grid_bits) + above;
    let amount = size.min(AMOUNT_MAX as u64) as i64;
    let amount = if kind == StatisticKind::Refunds { -amount } else { amount };
    let second = match (above, signed) {
        (0, _) => 0,
        (_, true) => -amount,
        _ => amount,
    };
    vec![world.pay(user, 5, 90_000, amount), world.pay(user, 6, 200_000, second)]
}

/// Rows without a user: they are bad, and must count for nobody.
pub(crate) fn blanks(world: &World) -> Vec<TwinPayment> {
    let texts: [Option<Arc<str>>; 5] =
        [None, Some("".into()), Some(" ".into()), Some("\t".into()), Some("\u{a0}".into())];
    let blank = |n: usize| {
        let payment = world.pay(&"".into(), n, n as i64 * STRIDE, AMOUNT_MAX);
        TwinPayment { user: texts[n % texts.len()].clone(), ..payment }
    };
    (0..500).map(blank).collect()
}
