//! What a job should not ask for, as far as the job file shows it.

use std::collections::BTreeMap;

use super::row::{Row, Verdict};
use crate::job::{PrivacyUnit, StatisticKind};
use crate::ledger::{EntryState, Report};
use crate::plan::{Composed, Plan};
use crate::privacy::{Delta, PrivacyBudget};

/// Above this ε the guarantee says little: at ε = 10 and a false alarm in ten thousand, an attacker
/// may be right every time.
const EPSILON_MAX: f64 = 10.0;
/// δ times users is to be below this: δ = 1/n would allow to publish one of n users.
const SHARE_MAX: f64 = 0.1;
/// More digits than public knowledge of what people spend would have.
const DIGITS_MAX: usize = 3;

const NIST: &str = "NIST SP 800-226";
const PAGE: &str = "docs/audit.md, Lint";

/// All checks of a job file; `users` is how many users there are, if that is public.
pub(super) fn rows(
    plan: &Plan,
    users: Option<u64>,
    ledger: Option<&Report>,
    budget: PrivacyBudget,
) -> Vec<Row> {
    let mut rows = vec![delta(plan.job.privacy.delta, users), epsilon(plan)];
    rows.push(unit(plan));
    rows.push(bounds(plan));
    rows.push(key_sets(plan));
    rows.push(refunds(plan));
    rows.push(left(plan, ledger, budget));
    rows
}

fn row(what: &str, method: &str, faults: &[String], figure: String, from: &'static str) -> Row {
    Row::exact("lint", what, method, faults, figure, from)
}

/// δ is the chance that a user's protection fails altogether, so δ times users must be small.
fn delta(delta: Delta, users: Option<u64>) -> Row {
    let (what, method) = ("delta is far below one over the number of users", "delta times users");
    let Some(users) = users else {
        let most = (SHARE_MAX / delta.value()).floor();
        let figure = format!("delta {delta} is for up to {most:.0} users; state them with --users");
        let mut row = Row::open("lint", what, &figure, NIST);
        row.method = method.to_owned();
        return row;
    };
    let product = delta.value() * users as f64;
    let fault =
        format!("delta {delta} times {users} users is {product}; it should be at most {SHARE_MAX}");
    let faults = if product > SHARE_MAX { vec![fault] } else { Vec::new() };
    row(what, method, &faults, format!("{users} users: {product:.1e}"), NIST)
}

fn epsilon(plan: &Plan) -> Row {
    let own = plan.job.privacy.epsilon.value();
    let most = plan.job.ledger.epsilon_max.value();
    let fault = |name: &str, value: f64| {
        let text = format!("`{name}` is {value}, above {EPSILON_MAX}");
        (value > EPSILON_MAX).then_some(text)
    };
    let faults: Vec<String> =
        [fault("epsilon", own), fault("epsilon_max", most)].into_iter().flatten().collect();
    let ceiling = 100.0 * super::Claim::of(plan).ceiling(0.01);
    row(
        "epsilon of the job and of its ledger is small enough to mean something",
        "against 10, and as the ceiling for an attacker",
        &faults,
        format!("epsilon {own} of {most}: with 1 % false alarms at most {ceiling:.1} % are found"),
        NIST,
    )
}

/// Whoever looks at all periods of a user sees more than one unit of them.
fn unit(plan: &Plan) -> Row {
    let (what, method) = (
        "the unit of privacy is as long as what the releases look back on",
        "epsilon for all of a user's units in the job's period",
    );
    if plan.job.privacy.unit == PrivacyUnit::User {
        return row(what, method, &[], "the unit is the user".to_owned(), NIST);
    }
    let unit = plan.job.privacy.unit.name();
    let Some(all) = Composed::of(plan) else {
        let text = format!("over {} units of {unit} nothing is promised", plan.unit_periods());
        return row(what, method, &[text], String::new(), NIST);
    };
    let text = format!("over {} units of {unit}: epsilon {:.3}", all.periods, all.epsilon);
    let faults = if all.epsilon > EPSILON_MAX { vec![text.clone()] } else { Vec::new() };
    row(what, method, &faults, text, NIST)
}

/// Bounds with many digits look like maxima of records.
fn bounds(plan: &Plan) -> Row {
    let (mut stated, mut faults) = (0, Vec::new());
    for report in &plan.job.reports {
        for level in &report.levels {
            for (kind, bound) in &level.bounds {
                let caps = [("bound", bound.norm_milli), ("cap", bound.cell_cap_milli)];
                for (word, milli) in caps.into_iter().filter_map(|(w, b)| Some((w, b?))) {
                    stated += 1;
                    if digits(milli) > DIGITS_MAX {
                        faults.push(format!(
                            "the {word} of {} of {} {} has {} digits, as values of records have",
                            kind.name(),
                            report.name,
                            level.name(),
                            digits(milli)
                        ));
                    }
                }
            }
        }
    }
    let figure = format!("{stated} stated, {} chosen by the run", plan.surveys.len());
    row(
        "stated bounds and caps do not look as if they came from the payments",
        "digits that count",
        &faults,
        figure,
        PAGE,
    )
}

/// Digits without zeros at the end.
fn digits(mut milli: u64) -> usize {
    while milli > 0 && milli.is_multiple_of(10) {
        milli /= 10;
    }
    milli.to_string().len()
}

fn key_sets(plan: &Plan) -> Row {
    let sets: Vec<String> =
        plan.job.key_sets.iter().map(|(name, set)| format!("{name} ({})", set.len())).collect();
    let registry = plan.job.registry.iter().map(|r| format!("merchants ({})", r.ids.len()));
    let all: Vec<String> = registry.chain(sets).collect();
    let figure = match all.is_empty() {
        true => "the job states no values".to_owned(),
        false => {
            format!("stated: {}; whoever answers for the job confirms their origin", all.join(", "))
        }
    };
    Row::open(
        "lint",
        "stated keys come from public knowledge, not from the payments",
        &figure,
        PAGE,
    )
}

/// A refund of any size moves a cell by the cap or the bound at most; without a cap, by the bound.
fn refunds(plan: &Plan) -> Row {
    // Of each statistic of money the widest cap; `None`: the run chooses it.
    let mut widest: BTreeMap<StatisticKind, Option<f64>> = BTreeMap::new();
    for (place, level) in plan.levels.iter().enumerate() {
        for (row, statistic) in level.statistics.iter().enumerate() {
            if statistic.kind.is_money() {
                let cap = statistic.noise.to_natural(statistic.noise.bound.cell_cap() as f64);
                let cap = (!plan.is_open(place, row)).then_some(cap);
                let known = widest.entry(statistic.kind).or_insert(cap);
                *known = known.zip(cap).map(|(a, b)| a.max(b));
            }
        }
    }
    let what = "refunds are bounded like payments";
    if widest.is_empty() {
        return Row::open("lint", what, "no statistic adds up amounts", PAGE);
    }
    let places = plan.job.payments.money_places() as usize;
    let one = |(kind, cap): (&StatisticKind, &Option<f64>)| match cap {
        Some(cap) => {
            format!("{} by at most {:.places$}", kind.name(), cap / 10f64.powi(places as i32))
        }
        None => format!("{} by no more than the bound that the run chooses", kind.name()),
    };
    let caps: Vec<String> = widest.iter().map(one).collect();
    let figure = format!("in a cell a user moves {}", caps.join(", "));
    let method =
        "the largest cell cap of each statistic of money, which holds on both sides of zero";
    row(what, method, &[], figure, PAGE)
}

/// Does the job fit in what is left, and how many of the same size?
fn left(plan: &Plan, ledger: Option<&Report>, budget: PrivacyBudget) -> Row {
    let (what, method) =
        ("the budget is enough for the plan", "what is left over what the job costs");
    let left = ledger.and_then(|l| l.total.left()).unwrap_or(budget);
    let state = ledger.and_then(|l| l.job(&plan.job.id)).map(|job| job.state);
    let times = left.mu_squared.units() / plan.loss.mu_squared.units().max(1);
    let figure = format!("{times} jobs of this size fit in what is left");
    if let Some(EntryState::Spent | EntryState::Published) = state {
        let mut row = row(what, method, &[], format!("this job is paid; {figure}"), PAGE);
        row.verdict = Verdict::NotRefuted;
        return row;
    }
    let faults =
        if left.allows(plan.loss) { Vec::new() } else { vec!["it does not fit".to_owned()] };
    row(what, method, &faults, figure, PAGE)
}
