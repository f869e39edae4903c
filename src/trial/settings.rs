//! The settings that are tried beside the job's own: few, and each is what a job may say.

use super::{BOUNDS_CHOSEN, Chosen};
use crate::error::Result;
use crate::job::{Bound, Job, Level, StatisticKind};
use crate::plan::{LevelPlan, Plan, Selection};
use crate::privacy::Epsilon;

/// A setting: what it is called, and the job that says so.
pub(super) struct Setting {
    pub(super) name: String,
    pub(super) plan: Plan,
}

/// A setting that cannot be tried.
#[derive(Clone, Debug)]
pub struct Skipped {
    /// What it is called.
    pub name: String,
    /// Why not.
    pub why: String,
}

/// The plan of a job, with the budget by errors where it asks for these.
pub(super) fn plan_of(job: Job) -> Result<Plan> {
    let mut plan = Plan::new(job)?;
    plan.aim()?;
    Ok(plan)
}

/// Half and twice ε; half and twice the bounds; and bounds chosen by the run, where the job states
/// some.
///
/// `chosen` are the bounds by which the job's own setting was tried.
pub(super) fn others(plan: &Plan, chosen: &Chosen) -> (Vec<Setting>, Vec<Skipped>) {
    let job = &plan.job;
    let (mut settings, mut skipped) = (Vec::new(), Vec::new());
    let mut add = |name: String, job: Job| match plan_of(job) {
        Ok(other) if has_shape(&other, plan) => settings.push(Setting { name, plan: other }),
        Ok(_) => {
            let why = "reports would share other levels than they do now".to_owned();
            skipped.push(Skipped { name, why });
        }
        Err(error) => skipped.push(Skipped { name, why: error.findings()[0].message().to_owned() }),
    };
    for factor in [0.5, 2.0] {
        let epsilon = Epsilon::parse(&format!("{:.6}", job.privacy.epsilon.value() * factor));
        if let Ok(epsilon) = epsilon {
            let mut job = job.clone();
            job.privacy.epsilon = epsilon;
            add(format!("epsilon {epsilon}"), job);
        }
    }
    for (name, factor) in [("half the bounds", 0.5), ("twice the bounds", 2.0)] {
        if let Some(job) = scaled(plan, chosen, factor) {
            add(name.to_owned(), job);
        }
    }
    if let Some(job) = open(job) {
        add(BOUNDS_CHOSEN.to_owned(), job);
    }
    (settings, skipped)
}

/// Has a plan the same levels as another one?
fn has_shape(plan: &Plan, other: &Plan) -> bool {
    let shape = |plan: &Plan| -> Vec<_> {
        plan.levels.iter().map(|level| (level.file.clone(), level.keys.clone())).collect()
    };
    shape(plan) == shape(other)
}

/// The job with all bounds left open; `None` if they are.
fn open(job: &Job) -> Option<Job> {
    let (mut job, mut stated) = (job.clone(), false);
    let levels = job.reports.iter_mut().flat_map(|report| &mut report.levels);
    for bound in levels.flat_map(|level| level.bounds.values_mut()) {
        stated |= bound.norm_milli.take().is_some();
    }
    stated.then_some(job)
}

/// The job with bounds stated that are so many times those of its own setting; `None` if none
/// differs.
fn scaled(plan: &Plan, chosen: &Chosen, factor: f64) -> Option<Job> {
    let (mut job, mut differs) = (plan.job.clone(), false);
    for report in &mut job.reports {
        for level in &mut report.levels {
            let same = |plan: &LevelPlan| {
                plan.tables.iter().any(|t| t.report == report.name && t.keys == level.keys)
            };
            let Some(place) = plan.levels.iter().position(same) else { continue };
            differs |= scale(level, (plan, place), chosen, factor);
        }
    }
    differs.then_some(job)
}

/// Scales the bounds of a level; says whether any differs.
fn scale(level: &mut Level, (plan, place): (&Plan, usize), chosen: &Chosen, factor: f64) -> bool {
    let planned = &plan.levels[place];
    let mut differs = false;
    for (&kind, bound) in &mut level.bounds {
        // Its bound is always the run's.
        if kind == StatisticKind::TicketLogs {
            continue;
        }
        let Some(own) = planned.position(kind).and_then(|at| chosen.norm(place, at)) else {
            continue;
        };
        // Less than one count or minor unit is nobody's; a user has no more cells than there are.
        let most = most_norm(plan, planned, kind).max(own);
        let norm = (own * factor).clamp(1.0, most);
        differs |= (norm / own - 1.0).abs() > 0.01;
        // What bounds take is found as with the job's own: where they are open, it always is.
        let surveyed = bound.surveyed || bound.norm_milli.is_none();
        let norm_milli = Some((norm * 1000.0).round() as u64);
        *bound = Bound { norm_milli, surveyed, ..*bound };
    }
    differs
}

/// The most that a norm can be, as far as keys tell.
fn most_norm(plan: &Plan, level: &LevelPlan, kind: StatisticKind) -> f64 {
    let cells = match &level.selection {
        Selection::Public => level.cells.count(&plan.job).map(|cells| cells as f64),
        Selection::Threshold { cells_max, .. } => Some(f64::from(*cells_max)),
        Selection::Discovered(_) if level.round().is_some() => None,
        Selection::Discovered(_) => Some(level.always.len() as f64),
    };
    cells.filter(|_| kind.facts().one_hot).map_or(f64::MAX, f64::sqrt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Market;

    /// The plan of a job with these bounds, and the settings beside it.
    fn settings(bounds: &str) -> (Plan, Vec<Setting>) {
        let market = Market::new(&[]);
        let report = format!(
            "levels = [[], [\"wallet\"]]\nkeys = \"public\"\ninsights = [\"customers\", \"payments\"]\n{bounds}"
        );
        let plan = market.plan(&[report]);
        let mut chosen = Chosen::new(&plan);
        // As if the run had chosen these where the job states none.
        let norms = [[1.0, 20.0], [1.5, 10.0]];
        for (level, own) in norms.iter().enumerate() {
            for (place, &norm) in own.iter().enumerate() {
                let stated = !plan.is_open(level, place);
                let bound = plan.levels[level].statistics[place].noise;
                let bound = bound.to_natural(bound.bound.norm() as f64);
                chosen.add(level, place, if stated { bound } else { norm });
            }
        }
        let (settings, skipped) = others(&plan, &chosen);
        assert!(skipped.is_empty(), "{skipped:?}");
        (plan, settings)
    }

    fn names(bounds: &str) -> Vec<(String, Vec<f64>)> {
        let (_, settings) = settings(bounds);
        let norms = |setting: &Setting| {
            let places = [(0, 0), (0, 1), (1, 0), (1, 1)];
            let noise =
                |(level, at): (usize, usize)| setting.plan.levels[level].statistics[at].noise;
            let norm = |at| noise(at).to_natural(noise(at).bound.norm() as f64);
            let open = |at: (usize, usize)| setting.plan.is_open(at.0, at.1);
            let of = |at| if open(at) { 0.0 } else { (norm(at) * 100.0).round() / 100.0 };
            places.map(of).to_vec()
        };
        settings.iter().map(|setting| (setting.name.clone(), norms(setting))).collect()
    }

    #[test]
    fn open_bounds_are_tried_around_the_chosen_ones() {
        let known = |name: &str, norms: [f64; 4]| (name.to_owned(), norms.to_vec());
        // A user is one customer of the total, and is in three wallets at most.
        assert_eq!(
            names(""),
            [
                known("epsilon 0.5", [1.0, 0.0, 0.0, 0.0]),
                known("epsilon 2", [1.0, 0.0, 0.0, 0.0]),
                known("half the bounds", [1.0, 10.0, 1.0, 5.0]),
                known("twice the bounds", [1.0, 40.0, 1.73, 20.0]),
            ]
        );
    }

    #[test]
    fn stated_bounds_are_scaled_and_left_open() {
        let all = names("bounds = { customers = 2, payments = [30, 4] }");
        let of = |name: &str| all.iter().find(|(own, _)| own == name).map(|(_, norms)| &norms[..]);
        assert_eq!(of("half the bounds"), Some(&[1.0, 15.0, 1.0, 2.0][..]));
        assert_eq!(of("twice the bounds"), Some(&[2.0, 60.0, 2.0, 8.0][..]));
        assert_eq!(of("bounds chosen"), Some(&[1.0, 0.0, 0.0, 0.0][..]));
        assert_eq!(all.len(), 5);
    }

    #[test]
    fn what_bounds_take_is_asked_as_the_job_asks_it() {
        let stated = "bounds = { customers = 2, payments = [30, 4] }\n";
        for bounds in ["", stated, &format!("{stated}survey = true")] {
            let (plan, settings) = settings(bounds);
            let asked = |plan: &Plan| -> Vec<(usize, usize)> {
                plan.surveys.iter().map(|survey| (survey.level, survey.statistic)).collect()
            };
            for Setting { name, plan: other } in &settings {
                let surveys = if name == BOUNDS_CHOSEN { 3 } else { asked(&plan).len() };
                assert_eq!(other.surveys.len(), surveys, "{bounds}: {name}");
                assert!(asked(&plan).iter().all(|at| asked(other).contains(at)), "{name}");
            }
        }
    }
}
