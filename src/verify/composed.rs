//! What a unit within a period means for all payments of a user, computed anew.

use std::collections::BTreeSet;

use chrono::{Datelike, NaiveDate};

use super::discovery;
use super::manifest::{Composed, Event, Manifest, SurveyEvent};
use super::price::{Accounting, charge, delta_units};

/// Why the guarantee over a user's units is not that of Lemma 5, or is missing.
pub(super) fn faults(manifest: &Manifest) -> Vec<String> {
    let unit = manifest.privacy_unit.unit.split(' ').next().unwrap_or_default();
    let Some(claimed) = &manifest.privacy_unit.composed else {
        // Where δ times the periods is no δ any more, nothing is claimed.
        let one = &manifest.parameters;
        let all = delta_units(&one.delta_units, one.delta)
            .and_then(|units| units.checked_mul(periods(manifest, unit).unwrap_or(1).into()));
        let missing = unit != "user" && all.is_none_or(|all| all < 10u64.pow(18));
        return missing
            .then(|| "nothing is said of a user's periods together".to_owned())
            .into_iter()
            .collect();
    };
    let Some(periods) = periods(manifest, unit) else {
        return vec![format!("this program knows no periods of `{unit}`")];
    };
    let mut faults = Vec::new();
    if claimed.periods != periods {
        faults.push(format!("the job's days have {periods} periods, not {}", claimed.periods));
    }
    let times = |file: &str| {
        let power = if is_within(manifest, file, unit) { 1 } else { 2 };
        u128::from(periods).pow(power)
    };
    let price = |event: &Event| charge(event)?.checked_mul(times(&event.file));
    // All periods of a user may be in one bin.
    let survey = |event: &SurveyEvent| {
        let units: u128 = event.mu_squared_units.parse().ok()?;
        units.checked_mul(u128::from(periods) * u128::from(periods))
    };
    let surveys = manifest.surveys.iter().flat_map(|survey| &survey.mechanisms).map(survey);
    let rounds = discovery::rounds_of_tables(manifest).map(|(file, round)| {
        let units: u128 = round.mu_squared_units.parse().ok()?;
        units.checked_mul(times(file))
    });
    let prices = manifest.mechanisms.iter().map(price).chain(surveys).chain(rounds);
    let sum = { prices }.try_fold(0u128, |sum, price| sum.checked_add(price?));
    let Some(sum) = sum else { return vec!["the periods have no finite price".to_owned()] };
    if claimed.mu_squared_units != sum.to_string() {
        faults.push(format!(
            "over all periods mu^2 is {sum} units, the manifest says {}",
            claimed.mu_squared_units
        ));
    }
    let one = &manifest.parameters;
    for (name, of_one, of_all) in [
        ("delta", (&one.delta_units, one.delta), (&claimed.delta_units, claimed.delta)),
        (
            "the thresholds' delta",
            (&one.threshold_delta_units, one.threshold_delta),
            (&claimed.threshold_delta_units, claimed.threshold_delta),
        ),
    ] {
        if !is_product(periods, of_one, of_all) {
            faults.push(format!("{name} over all periods is not {periods} times that of one"));
        }
    }
    faults.extend(epsilon_fault(manifest, sum, claimed));
    faults.extend(manifest.privacy_unit.in_ledger.iter().flat_map(|all| {
        let units = all.mu_squared_units.parse().unwrap_or_default();
        let less = units < sum || all.periods < periods;
        let why = "the ledger's jobs come to less than this one of them for a user's periods";
        let epsilon = epsilon_fault(manifest, units, all);
        epsilon.into_iter().chain(less.then(|| why.to_owned()))
    }));
    faults
}

fn epsilon_fault(manifest: &Manifest, mu_squared: u128, claimed: &Composed) -> Option<String> {
    let deltas = (claimed.delta, claimed.threshold_delta);
    Accounting::of(manifest)?.epsilon_fault(mu_squared, claimed.epsilon, deltas)
}

/// Is the second δ so many times the first? Each is given in units of 10⁻¹⁸ and as a float.
fn is_product(periods: u32, one: (&String, f64), all: (&String, f64)) -> bool {
    let product = delta_units(one.0, one.1).and_then(|units| units.checked_mul(periods.into()));
    product.is_some() && product == delta_units(all.0, all.1)
}

/// Does a time key keep each cell of a table within one period of the unit?
fn is_within(manifest: &Manifest, file: &str, unit: &str) -> bool {
    let finer: &[&str] = match unit {
        "user-day" => &["day"],
        "user-week" => &["day", "week"],
        "user-month" => &["day", "month"],
        "user-quarter" | "user-year" => &["day", "month", "quarter"],
        _ => &[],
    };
    let set = manifest.key_set(file);
    set.is_some_and(|set| set.keys.iter().any(|key| finer.contains(&key.as_str())))
}

/// How many periods the job's days touch, by names that days of one period share.
fn periods(manifest: &Manifest, unit: &str) -> Option<u32> {
    let name = |day: NaiveDate| match unit {
        "user-day" => Some(day.to_string()),
        "user-week" => Some(day.format("%G-%V").to_string()),
        "user-month" => Some(day.format("%Y-%m").to_string()),
        "user-quarter" => Some(format!("{}-{}", day.year(), day.month().div_ceil(3))),
        "user-year" => Some(day.format("%Y").to_string()),
        _ => None,
    };
    let last = manifest.job.last_day.0;
    let days = manifest.job.first_day.0.iter_days().take_while(|day| *day <= last).take(4000);
    let names: Option<BTreeSet<String>> = days.map(name).collect();
    u32::try_from(names?.len()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privacy::Delta;

    /// Each δ of a job times each number of periods, as the manifest writes them.
    #[test]
    fn products_hold_exactly_over_a_grid() {
        let written = |delta: Delta| (delta.units().to_string(), delta.value());
        let mut products = 0;
        for digits in [1u64, 3, 7, 9_007_199_254_740_993, 9_999_999_999_999_999] {
            for places in 0..16 {
                let Some(units) = digits.checked_mul(10u64.pow(places)) else { continue };
                for periods in [1, 2, 3, 7, 13, 79, 366, 3660] {
                    let one = Delta::from_units(units);
                    let Some(all) = one.times(periods) else { continue };
                    let ((one, one_float), (all, all_float)) = (written(one), written(all));
                    let holds = |units: &String, float| {
                        is_product(periods, (&one, one_float), (units, float))
                    };
                    assert!(holds(&all, all_float), "{one} {periods}");
                    for wrong in [all.parse::<u64>().unwrap() + 1, units * u64::from(periods) - 1] {
                        let (units, float) = written(Delta::from_units(wrong));
                        assert!(!holds(&units, float), "{one} {periods}");
                    }
                    products += 1;
                }
            }
        }
        assert!(products > 300, "{products}");
    }
}
