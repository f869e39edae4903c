//! What public expectations say of the users' norms: a guess, for predictions alone.
//!
//! Written in *Predicted errors* of `docs/accuracy.md`.

use super::choice::NormLaw;
use super::{LevelPlan, Plan};
use crate::job::StatisticKind;

/// Users differ in their numbers of payments as a log-normal law of this deviation.
const WIDTH: f64 = 1.0;

/// Of n payments in many cells, n to this power are in different ones: people come back.
const COME_BACK: f64 = 0.8;

/// Bins of the ticket histogram over which the payments of a user in one cell may be spread.
const BINS_OF_USER: f64 = 4.0;

/// The law of norms and the sum over all cells of a statistic, as far as the job's `[expect]` says.
pub(super) fn expected(
    plan: &Plan,
    level: &LevelPlan,
    kind: StatisticKind,
    doubt: f64,
) -> Option<(NormLaw, f64)> {
    if kind == StatisticKind::Cohorts {
        return cohorts(plan, level, doubt);
    }
    let told = level.told_width(kind, 2) / 2.0;
    // What is not expected itself is about like something that is.
    let kind = match kind {
        StatisticKind::Gross => StatisticKind::Sales,
        StatisticKind::Visits => StatisticKind::Payments,
        StatisticKind::VisitClasses
        | StatisticKind::Recency
        | StatisticKind::NewReturning
        | StatisticKind::Diffusion
        | StatisticKind::DiffusionYear => StatisticKind::Customers,
        StatisticKind::Refunds | StatisticKind::TicketLogs => return None,
        other => other,
    };
    // How many pairs people make is not known beforehand.
    if level.cells.pairs.is_some() {
        return None;
    }
    let expect = plan.job.expect?;
    let cells = level.cells.count(&plan.job)? as f64;
    // Those that a user's payments can be in.
    let cells = if level.one_cell(&plan.job) { 1.0 } else { cells };
    // Units are people, or people within periods, each with a payment at least.
    let periods = f64::from(plan.unit_periods());
    let units = (expect.users * periods).min(expect.payments);
    let within = plan.job.privacy.unit.holds_cells(&level.keys);
    let cells = if within { (cells / periods).max(1.0) } else { cells };
    let mean = expect.payments / units;
    let ticket = match kind {
        StatisticKind::Sales => expect.sales? / expect.payments,
        _ => 1.0,
    };
    let mut points = Vec::new();
    let (mut shares, mut spreads, mut customers) = (0.0, 0.0, 0.0);
    for (payments, share) in users_by_payments(mean) {
        let own = touched(payments, cells);
        let norm = match kind {
            StatisticKind::Customers => own.sqrt(),
            StatisticKind::TicketHistogram => {
                payments / touched(payments, cells * BINS_OF_USER).sqrt()
            }
            // Amounts differ about as much as they are.
            StatisticKind::Sales => ticket * (payments * payments / own + payments).sqrt(),
            _ => payments / own.sqrt(),
        };
        let spread = match kind {
            StatisticKind::Customers => norm,
            _ => ticket * payments / norm,
        };
        points.push((norm, share));
        shares += share;
        spreads += share * spread;
        customers += share * own;
    }
    points.iter_mut().for_each(|(_, share)| *share *= units / shares);
    let spread = (kind != StatisticKind::Customers).then_some(spreads / shares);
    let total = match kind {
        // Of new and returning ones, where the days before tell.
        StatisticKind::Customers => units * customers / shares * told,
        StatisticKind::Sales => expect.sales?,
        _ => expect.payments,
    };
    Some((NormLaw::expected(points, (spread, kind.is_count()), doubt), total))
}

/// Numbers of payments of users, whose mean is given, with shares of them in proportion.
fn users_by_payments(mean: f64) -> impl Iterator<Item = (f64, f64)> {
    (-30..=30).map(move |step| {
        let z = f64::from(step) / 10.0;
        let payments = (mean * (WIDTH * z - WIDTH * WIDTH / 2.0).exp()).max(1.0);
        (payments, (-z * z / 2.0).exp())
    })
}

/// In how many of so many cells the payments of a user are.
fn touched(payments: f64, cells: f64) -> f64 {
    let touched = cells * (1.0 - (-payments.powf(COME_BACK) / cells).exp());
    touched.clamp(1.0, cells.max(1.0))
}

/// The same of cohorts, with users who pay at any time alike: they are new where they have not
/// paid in the days before, and come again where they pay in those of a later period.
fn cohorts(plan: &Plan, level: &LevelPlan, doubt: f64) -> Option<(NormLaw, f64)> {
    let expect = plan.job.expect?;
    let times = level.look_back.as_ref()?.times().max(1) as f64;
    // Cells at one time.
    let cells = level.cells.count(&plan.job)? as f64 / times;
    let days = f64::from(plan.job.payments.period.days());
    let users = expect.users.min(expect.payments);
    let periods = level.cohort_days();
    let (mut points, mut shares, mut total) = (Vec::new(), 0.0, 0.0);
    for (payments, share) in users_by_payments(expect.payments / users) {
        let own = touched(payments, cells);
        // None of so many payments is in some of these days.
        let none = |some: f64, days: f64| (1.0 - some / days).max(0.0).powf(payments / own);
        let new = |(before, length, after): &(f64, f64, Vec<f64>)| {
            // If none is in the days before, they are in the others.
            let others = days - before;
            let none_of = |some: f64| none(some, others);
            let both =
                |later: &f64| 1.0 - none_of(*length) - none_of(*later) + none_of(length + later);
            let again: f64 = after.iter().map(both).sum();
            let new = none(*before, days) * (1.0 - none_of(*length));
            (new, new + none(*before, days) * again)
        };
        let each = periods.iter().map(new);
        let (new, all) = each.fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let (new, all) = (own * new, own * all);
        // How often they are new varies from user to user: of those who are at all, half have less
        // than the mean, and half have more.
        let some = (1.0 - (-new).exp()).max(1e-9);
        for part in [0.6, 1.4] {
            points.push(((all / some * part).max(1.0).sqrt(), share * some / 2.0));
        }
        shares += share;
        total += share * all;
    }
    points.iter_mut().for_each(|(_, share)| *share *= users / shares);
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    Some((NormLaw::expected(points, (None, true), doubt), users * total / shares))
}

#[cfg(test)]
mod tests {
    use crate::fixture::Market;
    use crate::job::StatisticKind;

    /// Users who pay at any time alike, some often and most seldom: counted one by one.
    #[test]
    fn cohorts_are_those_of_users_who_pay_at_any_time() {
        let market = Market::new(&[]);
        let report = "levels = [[\"month\"]]\nkeys = \"public\"\nlook_back = 30\n\
            insights = [\"retention_cohort\"]";
        let mut plan = market.plan(&[report.to_owned()]);
        let users = 4000;
        let expect = |payments: f64| crate::job::Expect { users: 4000.0, payments, sales: None };
        plan.job.expect = Some(expect(40_000.0));
        let kind = StatisticKind::Cohorts;
        let (_, total) = super::expected(&plan, &plan.levels[0], kind, 0.0).expect("expected");
        // January to April 2025: of March and April days before tell, and of February not all.
        let months = [31..59u32, 59..90, 90..120];
        let (mut state, mut counted) = (7u64, 0);
        let mut next = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        let spread: Vec<(f64, f64)> = super::users_by_payments(10.0).collect();
        let all: f64 = spread.iter().map(|(_, share)| share).sum();
        for user in 0..users {
            let mut place = (f64::from(user) + 0.5) / f64::from(users) * all;
            let own = spread.iter().find(|(_, share)| {
                place -= share;
                place <= 0.0
            });
            let payments = own.map_or(1.0, |(payments, _)| *payments).round() as u32;
            let days: Vec<u32> = (0..payments).map(|_| next(120) as u32).collect();
            let pays =
                |days_of: &std::ops::Range<u32>| days.iter().any(|day| days_of.contains(day));
            for (place, month) in months.iter().enumerate() {
                let before = month.start - 30..month.start;
                if pays(month) && !pays(&before) {
                    counted += 1 + months[place + 1..].iter().filter(|month| pays(month)).count();
                }
            }
        }
        assert!((total / counted as f64 - 1.0).abs() < 0.05, "{total} for {counted}");
    }
}
