//! A trial for machines, and as a page of the same look as that of a release.

use serde_json::{Value, json};

use super::{CLASSES, ErrorFigures, Figures, LevelFacts, LevelTried, Spread, Trial, Tried};
use crate::report::{known_insights, page_like};

const PAGE: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("page.js");

/// The page: one file that needs no network.
pub fn page(trial: &Trial) -> String {
    let mut data = as_json(trial);
    data["known"] = known_insights();
    page_like(PAGE, SCRIPT, &data)
}

/// All figures, for machines. Shares are parts of 1, bounds counts or minor units.
pub fn as_json(trial: &Trial) -> Value {
    json!({
        "status": "tried",
        "job": trial.job,
        "files": trial.files,
        "runs": trial.runs,
        "delta": trial.delta.to_string(),
        "money_places": trial.money_places,
        "without_earlier_releases": trial.without_earlier,
        "classes": CLASSES,
        "levels": trial.levels.iter().map(facts).collect::<Vec<_>>(),
        "settings": trial.settings.iter().map(|own| setting(own, &trial.levels)).collect::<Vec<_>>(),
        "skipped": trial.skipped.iter().map(|s| json!({"name": s.name, "why": s.why})).collect::<Vec<_>>(),
    })
}

fn facts(level: &LevelFacts) -> Value {
    let [empty, by_class @ ..] = level.cells;
    json!({
        "level": level.file,
        "selection": level.selection,
        "cells_empty": empty,
        "cells_by_class": by_class,
    })
}

fn setting(setting: &Tried, levels: &[LevelFacts]) -> Value {
    let levels = setting.levels.iter().zip(levels).map(|(tried, facts)| level(tried, facts));
    json!({
        "name": setting.name,
        "epsilon": setting.epsilon,
        "levels": levels.collect::<Vec<_>>(),
    })
}

fn level(tried: &LevelTried, facts: &LevelFacts) -> Value {
    let bounds = tried.bounds.iter().zip(&facts.statistics).map(|(bound, statistic)| {
        json!({
            "statistic": statistic.name(),
            "money": statistic.is_money(),
            "chosen": bound.is_chosen,
            "norm_bound": spread(bound.norm),
            "noise_sd": spread(bound.noise),
        })
    });
    let insights = tried.insights.iter().zip(&facts.insights).map(|(figures, insight)| {
        let mut value = insight_figures(figures);
        value["insight"] = json!(insight.name());
        value
    });
    json!({
        "level": facts.file,
        "bounds": bounds.collect::<Vec<_>>(),
        "keys_shown": tried.keys_shown.and_then(|keys| keys.all).map(spread),
        "keys_shown_by_class": tried.keys_shown.map(|keys| spreads(keys.by_class)),
        "insights": insights.collect::<Vec<_>>(),
    })
}

fn insight_figures(figures: &Figures) -> Value {
    let errors = |errors: ErrorFigures| {
        json!({
            "by_class": spreads(errors.by_class),
            "wape": errors.wape.map(spread),
        })
    };
    json!({
        "estimate": errors(figures.estimate),
        "noised": errors(figures.noised),
        "covered": figures.all_covered.map(spread),
        "covered_by_class": spreads(figures.covered),
        "shown": figures.shown.map(spread),
        "predicted": figures.predicted.map(|predicted| json!({
            "wape_noised": predicted.noised,
            "wape_estimated": predicted.estimated,
        })),
    })
}

fn spreads(all: impl IntoIterator<Item = Option<Spread>>) -> Vec<Value> {
    all.into_iter().map(|one| one.map_or(Value::Null, spread)).collect()
}

fn spread(Spread { middle, least, most }: Spread) -> Value {
    json!({ "middle": middle, "least": least, "most": most })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::MARKS;

    #[test]
    fn the_page_has_each_mark_once_and_in_order_and_loads_nothing() {
        let places: Vec<usize> = MARKS.iter().filter_map(|mark| PAGE.find(mark)).collect();
        assert!(places.len() == MARKS.len() && places.is_sorted());
        for mark in MARKS {
            assert!(PAGE.matches(mark).count() == 1 && !SCRIPT.contains(mark), "{mark}");
        }
        assert!(PAGE.contains("default-src 'none'") && PAGE.contains("ECharts 6.1.0"));
        for part in [PAGE, SCRIPT] {
            for loads in
                [" src=", "url(", "@import", "fetch(", "XMLHttpRequest", "innerHTML", "eval("]
            {
                assert!(!part.contains(loads), "{loads}");
            }
        }
    }
}
