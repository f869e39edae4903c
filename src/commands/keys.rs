//! What `plan` says of keys that come from the payments.

use crate::plan::{Discovery, LevelPlan, Plan, Selection};

/// From about how many customers on the keys of a level appear; nothing if its keys are public.
pub(super) fn key_lines(plan: &Plan, place: usize, level: &LevelPlan, wide: usize) -> Vec<String> {
    let mut lines = match &level.selection {
        Selection::Public => return Vec::new(),
        Selection::Threshold { score, cells_max, .. } => {
            let open = (0..level.statistics.len()).any(|row| plan.is_open(place, row));
            let users = match open {
                true => "keys shown".to_owned(),
                false => {
                    let users = score.typical_users(&level.statistics);
                    format!("keys shown from about {users:.0} customers on,")
                }
            };
            vec![format!(
                "{users} by all values together; at most {cells_max} cells of a user count"
            )]
        }
        Selection::Discovered(discovery) => discovered(plan, place, discovery),
    };
    if !level.keys_from.is_empty() {
        let cells = level.always.len();
        lines.push(format!("and {cells} cells whose keys earlier releases have shown"));
    }
    lines.into_iter().map(|line| format!("{:<wide$} {line}", "")).collect()
}

fn discovered(plan: &Plan, place: usize, discovery: &Discovery) -> Vec<String> {
    let (all, most) = (discovery.rounds.len(), discovery.cells_max);
    let Some(last) = discovery.rounds.last() else { return Vec::new() };
    let own = discovery.mu_squared().units() as f64;
    let share = own / (own + plan.measured(place).units() as f64);
    vec![
        format!(
            "keys found before in {all} rounds, for {:.0} % of the price of the level:",
            100.0 * share
        ),
        format!(
            "cells from about {:.0} users on who have no other one left, or {:.0} who have three \
             more; at most {most} cells of a user count in a round",
            last.users(1.0),
            last.users(4.0)
        ),
    ]
}

/// The rounds of each level whose keys are discovered.
pub(super) fn as_json(plan: &Plan) -> Vec<serde_json::Value> {
    let of = |level: &LevelPlan| {
        let discovery = level.discovery()?;
        Some(serde_json::json!({
            "file": format!("{}.parquet", level.file),
            "rounds": discovery.rounds.len(),
            "cells_max": discovery.cells_max,
            "mu_squared_units": discovery.mu_squared().units().to_string(),
        }))
    };
    plan.levels.iter().filter_map(of).collect()
}
