//! The budget that the manifest states: does it hold this release, and is it within its limits?

use super::manifest::{Budget, Manifest};
use super::price::{Accounting, delta_units};
use crate::ledger::Report;

/// What is wrong with the budget, by the manifest alone.
pub(super) fn faults(manifest: &Manifest) -> Vec<String> {
    let Some(budget) = &manifest.budget else { return Vec::new() };
    let whole = |text: &String| text.parse::<u128>().ok();
    let own = &manifest.parameters;
    let mut faults = Vec::new();
    for (what, own, taken, most) in [
        ("mu^2", &own.mu_squared_units, &budget.mu_squared_units, &budget.mu_squared_units_max),
        (
            "the thresholds' delta",
            &own.threshold_delta_units,
            &budget.threshold_delta_units,
            &budget.threshold_delta_units_max,
        ),
    ] {
        let [own, taken, most] = [own, taken, most].map(whole);
        match own.zip(taken).zip(most) {
            Some(((own, taken), most)) if own <= taken && taken <= most => {}
            _ => faults.push(format!(
                "{what} that the ledger's jobs have taken is less than this one's, or beyond its limit"
            )),
        }
    }
    let deltas = delta_units(&budget.delta_max_units, budget.delta_max)
        .and(delta_units(&budget.threshold_delta_units, budget.threshold_delta));
    if deltas.is_none() || budget.epsilon > budget.epsilon_max {
        faults.push("the ledger's epsilon or delta so far is none that it can be".to_owned());
    }
    let taken = whole(&budget.mu_squared_units).unwrap_or(u128::MAX);
    let deltas = (budget.delta_max, budget.threshold_delta);
    faults.extend(
        Accounting::of(manifest)
            .and_then(|accounting| accounting.epsilon_fault(taken, budget.epsilon, deltas))
            .map(|why| format!("all jobs of the ledger so far: {why}")),
    );
    faults
}

/// What the ledger says otherwise of the budget. Jobs that were reserved since, or voided, make a
/// difference to what is taken, so only its limits are compared.
pub(super) fn differences(budget: &Budget, report: &Report) -> Vec<String> {
    let Some(limit) = report.total.budget else { return Vec::new() };
    let kept = [limit.mu_squared.units().to_string(), limit.threshold_delta.units().to_string()];
    let claimed = [&budget.mu_squared_units_max, &budget.threshold_delta_units_max];
    let names = ["mu^2 in units", "delta of thresholds in units"];
    let differs = names.into_iter().zip(kept).zip(claimed).filter(|((_, kept), own)| kept != *own);
    let fault = |((what, kept), claimed)| {
        format!("limit of {what}: {kept} in the ledger, {claimed} in the manifest")
    };
    differs.map(fault).collect()
}
