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
        Selection::Discovered(discovery) => discovered(discovery),
    };
    if !level.keys_from.is_empty() {
        let cells = level.always.len();
        lines.push(format!("and {cells} cells whose keys earlier releases have shown"));
    }
    lines.into_iter().map(|line| format!("{:<wide$} {line}", "")).collect()
}

fn discovered(discovery: &Discovery) -> Vec<String> {
    let (all, most) = (discovery.rounds.len(), discovery.cells_max);
    let Some(last) = discovery.rounds.last() else { return Vec::new() };
    vec![
        format!(
            "keys found in {all} rounds before, the last of which finds cells from about {:.0} users \
             on",
            last.users(1.0)
        ),
        format!(
            "who have no other cell left, {:.0} with four each; at most {most} cells of a user count",
            last.users(4.0)
        ),
    ]
}
