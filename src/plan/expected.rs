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
    // What is not expected itself is about like something that is.
    let kind = match kind {
        StatisticKind::Gross => StatisticKind::Sales,
        StatisticKind::Visits => StatisticKind::Payments,
        StatisticKind::VisitClasses
        | StatisticKind::Recency
        | StatisticKind::NewReturning
        | StatisticKind::Cohorts
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
    let touched = |payments: f64, cells: f64| {
        let touched = cells * (1.0 - (-payments.powf(COME_BACK) / cells).exp());
        touched.clamp(1.0, cells.max(1.0))
    };
    let mut points = Vec::new();
    let (mut shares, mut spreads, mut customers) = (0.0, 0.0, 0.0);
    for step in -30..=30 {
        let z = f64::from(step) / 10.0;
        let share = (-z * z / 2.0).exp();
        let payments = (mean * (WIDTH * z - WIDTH * WIDTH / 2.0).exp()).max(1.0);
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
        StatisticKind::Customers => units * customers / shares,
        StatisticKind::Sales => expect.sales?,
        _ => expect.payments,
    };
    Some((NormLaw::expected(points, spread, doubt), total))
}
