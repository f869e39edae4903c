//! What `plan` says of errors, and the jobs that `run` refuses because noise would drown them.

use serde_json::Value;

use super::plan::widths;
use crate::error::{Error, Result};
use crate::findings;
use crate::plan::{Basis, Plan, Prediction};

/// The table of expected errors.
pub(super) fn lines(plan: &Plan) -> Vec<String> {
    let all = (0..plan.levels.len()).flat_map(|level| {
        (0..plan.levels[level].statistics.len())
            .map(move |place| (level, place, plan.predicted(level, place)))
    });
    let all: Vec<(usize, usize, Option<Prediction>)> = all.collect();
    if all.iter().all(|(_, _, prediction)| prediction.is_none()) {
        let text = "How large errors will be is not known beforehand: `[expect]` or a `previous` release would \
                    tell. Tables tell it of each value.";
        return vec![text.to_owned(), String::new()];
    }
    let (wide, kinds) = widths(plan);
    let mut lines = vec![format!(
        "{:<wide$} {:>10} {:<kinds$} {:>14} {:>14} {:>14} {:>14}",
        "expected error",
        "",
        "statistic",
        "of the total",
        "of a mean cell",
        "noised values",
        "estimates"
    )];
    let percent = |share: f64| match share * 100.0 {
        small if small < 100.0 => format!("{small:.1} %"),
        large => format!("{} %", (large * 10.0).ceil() / 10.0),
    };
    for (level, place, prediction) in &all {
        let name = if *place == 0 { &plan.levels[*level].file[..] } else { "" };
        let statistic = plan.levels[*level].statistics[*place].kind.name();
        if let Some(p) = prediction {
            let [total, cell, noised, estimated] =
                [p.of_total, p.of_cell, p.noised, p.estimated].map(percent);
            lines.push(format!(
                "{name:<wide$} {:>10} {statistic:<kinds$} {total:>14} {cell:>14} {noised:>14} {estimated:>14}",
                ""
            ));
        } else if plan.levels[*level].is_public() {
            lines.push(format!("{name:<wide$} {:>10} {statistic:<kinds$} {:>14}", "", "not known"));
        } else if *place == 0 {
            let keys = plan.levels[*level].selection.name();
            lines.push(format!("{name:<wide$} {:>10} {:<kinds$} {:>14}", keys, "", "not known"));
        }
    }
    let expected = |(_, _, prediction): &(usize, usize, Option<Prediction>)| {
        prediction.is_some_and(|prediction| prediction.basis == Basis::Expected)
    };
    if all.iter().any(expected) {
        let text = "Where no earlier release tells more, these are rough guesses from `[expect]`.";
        lines.push(text.to_owned());
    }
    lines.push(
        "The last two are of all cells together: the sum of errors against the sum of values."
            .to_owned(),
    );
    lines.extend(plan.useless().into_iter().map(|(level, place, prediction)| {
        let statistic = plan.levels[level].statistics[place].kind.name();
        format!(
            "Noise would drown {statistic} of {}: errors of {} of all that it counts. `run` refuses that without \
             --accept-useless.",
            plan.levels[level].file,
            percent(prediction.noised)
        )
    }));
    lines.push(String::new());
    lines
}

/// The prediction of one statistic for machines; null where nothing is known.
pub(super) fn as_json(plan: &Plan, level: usize, statistic: usize) -> Value {
    plan.predicted(level, statistic).map_or(Value::Null, |p| {
        serde_json::json!({
            "basis": p.basis.name(),
            "norm_bound": p.norm_bound,
            "noise_sd": p.noise_sd,
            "total": p.total,
            "of_total": p.of_total,
            "of_mean_cell": p.of_cell,
            "wape_noised": p.noised,
            "wape_estimated": p.estimated,
            "useless": p.noised > 1.0,
        })
    })
}

/// Refuses a plan whose noise would drown a statistic, or notes in it that this is accepted.
///
/// # Errors
/// Invalid: one finding for each such statistic.
pub(super) fn admit(plan: &mut Plan, accept_useless: bool) -> Result<()> {
    let useless = plan.useless();
    if useless.is_empty() || accept_useless {
        plan.accepted = useless;
        return Ok(());
    }
    let finding = |(level, place, prediction): (usize, usize, Prediction)| {
        let statistic = plan.levels[level].statistics[place].kind.name();
        let epsilon = plan.epsilon_of_use(level, place);
        let file = &plan.levels[level].file;
        findings::useless(statistic, file, prediction.noised, epsilon)
            .at(plan.levels[level].span.clone())
    };
    Err(Error::invalid_all(useless.into_iter().map(finding).collect()))
}
