//! `discretail plan JOB`; with `--try` see `trial.rs`

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::path::Path;

use super::earlier::{scale_lines, use_earlier};
use super::keys::key_lines;
use super::known::Known;
use super::{Failure, dialect_of, keys, note_untested, predicted, read_plan, trial};
use crate::cli::PlanArgs;
use crate::console;
use crate::engine::sql::Query;
use crate::error::Error;
use crate::findings::{self, Overrun};
use crate::job::{EarlierJob, Insight, LOG_PARTS, Report as JobReport, Unit};
use crate::ledger::{Ledger, Terms, overruns};
use crate::plan::{
    Adopted, Composed, Earlier, LevelPlan, MerchantProtection, Plan, Selection, StatisticPlan,
    SurveyPlan, budget_of,
};
use crate::privacy::{MuSquared, PrivacyBudget};
use crate::release::Parameters;

pub(super) fn plan(args: &PlanArgs) -> Result<(), Failure> {
    if !args.tried.is_empty() {
        return trial::try_out(args);
    }
    let (mut plan, source) = read_plan(&args.job)?;
    let fail = |error| Failure::in_job(error, &args.job, source.clone());
    use_earlier(&mut plan).map_err(fail)?;
    if let Some(dialect) = args.sql {
        let query = Query::new(&plan, dialect).map_err(fail)?;
        note_untested(Some(dialect));
        return Ok(console::result(query.text().trim_end())?);
    }
    Query::check(&plan).map_err(fail)?;
    note_untested(dialect_of(&plan));
    let terms = terms_of(&plan).map_err(fail)?;
    let ledger = Ledger::open(&plan.job.ledger.file, &terms).map_err(fail)?;
    let own = match &ledger {
        Some(ledger) => ledger.recipient_left(&plan.job.recipient)?,
        None => {
            has_folder(&plan.job.ledger.file)?;
            None
        }
    };
    let known = Known::of(&plan, ledger.as_ref())?;
    let left = ledger.map_or(Ok(terms.budget), |ledger| ledger.left())?;
    let overruns = match known.is_paid() {
        true => Vec::new(),
        false => overruns_of(&plan, (terms.budget, left), own),
    };
    let price = Parameters::new(&plan)?;
    if args.json {
        return Ok(console::result(&as_json(&plan, &price, left, (&overruns, &known)))?);
    }
    let mut text = as_text(&plan, &price, left, terms.budget);
    if let Some((budget, own)) = own {
        let percent = percent(own.mu_squared, budget.mu_squared);
        text +=
            &format!("\nrecipient {}: {percent} % of its own budget is left", plan.job.recipient);
    }
    text += &known.line();
    if !overruns.is_empty() && known == Known::New {
        let list: Vec<String> = overruns.iter().map(Overrun::to_string).collect();
        text += &format!("\nthe job does not fit, and `run` would refuse it: {}", list.join("; "));
    }
    Ok(console::result(&text)?)
}

/// Could the ledger be made?
fn has_folder(ledger: &Path) -> crate::error::Result<()> {
    let folder = ledger.parent().filter(|folder| *folder != Path::new(""));
    match folder.filter(|folder| !folder.is_dir()) {
        Some(folder) => Err(Error::environment(findings::ledger_folder_missing(ledger, folder))),
        None => Ok(()),
    }
}

/// The parts of budgets that the job exceeds: of the population's and of the recipient's, each with
/// what is left.
fn overruns_of(
    plan: &Plan,
    (budget, left): (PrivacyBudget, PrivacyBudget),
    own: Option<(PrivacyBudget, PrivacyBudget)>,
) -> Vec<Overrun> {
    let mut found = overruns("", plan.loss, left, budget);
    if let Some((budget, left)) = own {
        let whose = format!(" of recipient `{}`", plan.job.recipient);
        found.extend(overruns(&whose, plan.loss, left, budget));
    }
    found
}

fn percent(part: MuSquared, whole: MuSquared) -> String {
    format!("{:.2}", 100.0 * part.units() as f64 / whole.units() as f64)
}

/// What the job says of its ledger.
pub(super) fn terms_of(plan: &Plan) -> crate::error::Result<Terms> {
    let stated = &plan.job.ledger;
    let (epsilon, delta) = (stated.epsilon_max, stated.delta_max);
    let budget = budget_of(stated)
        .ok_or_else(|| Error::invalid(findings::ledger_budget_too_small(&epsilon, &delta)))?;
    Ok(Terms {
        population: stated.population.clone(),
        unit: plan.job.privacy.unit.label(plan.job.payments.zone),
        user: Some(plan.job.user().to_owned()),
        time: plan.job.time(),
        epsilon_max: epsilon.to_string(),
        delta_max: delta.to_string(),
        budget,
        recipients: Vec::new(),
    })
}

fn as_text(plan: &Plan, price: &Parameters, left: PrivacyBudget, whole: PrivacyBudget) -> String {
    let (wide, kinds) = widths(plan);
    let job = &plan.job;
    let source = &job.payments;
    let mut lines = vec![
        format!("job {} for {}", job.id, job.recipient),
        format!(
            "guarantee: epsilon {}, delta {}, unit: {}, add or remove all payments of one",
            job.privacy.epsilon,
            job.privacy.delta,
            job.privacy.unit.label(source.zone)
        ),
        format!(
            "payments: {} to {}, {} time, {}",
            source.period.first(),
            source.period.last(),
            source.zone,
            currencies(plan)
        ),
        String::new(),
        format!(
            "{:<wide$} {:>10} {:<kinds$} {:>14} {:>14} {:>14}",
            "level", "cells", "statistic", "norm bound", "cell cap", "noise (sd)"
        ),
    ];
    let levels = plan.levels.iter().enumerate();
    lines.extend(levels.flat_map(|(place, level)| level_lines(plan, place, level, (wide, kinds))));
    lines.push(String::new());
    lines.extend(predicted::lines(plan));
    lines.extend(survey_line(plan));
    lines.extend(unknown_line(plan));
    lines.extend(adopted_lines(plan));
    lines.extend(latest_lines(plan));
    lines.extend(scale_lines(plan));
    lines.extend(merchants_line(plan));
    lines.extend(dominance_line(plan));
    lines.extend(bands_line(plan));
    lines.push(
        "A larger bound scales fewer heavy users down, and its noise grows in proportion."
            .to_owned(),
    );
    lines.extend(price_lines(plan, price, left, whole));
    lines.join("\n")
}

/// The part of the price that goes to finding bounds.
fn survey_line(plan: &Plan) -> Option<String> {
    let units = plan.surveys.iter().map(|survey| survey.mu_squared().units()).sum();
    let share = percent(MuSquared::from_units(units), plan.loss.mu_squared);
    let what = match (plan.surveys.is_empty(), plan.surveys.iter().all(SurveyPlan::is_choice)) {
        (true, _) => return None,
        (_, true) => "Bounds that are open are chosen by the run, from",
        _ => "Bounds that are open are chosen by the run, and what stated ones take is found, from",
    };
    Some(format!("{what} noised histograms of the users' norms: {share} % of the price."))
}

/// Of which statistics nothing will tell what their bounds take.
fn unknown_line(plan: &Plan) -> Option<String> {
    let mut kinds = BTreeSet::new();
    for (at, level) in plan.levels.iter().enumerate() {
        let unknown = |&place: &usize| plan.takes_unknown(at, place);
        let places = (0..level.statistics.len()).filter(unknown);
        kinds.extend(places.map(|place| level.statistics[place].kind));
    }
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    (!names.is_empty()).then(|| {
        format!(
            "What the stated bounds of {} take from heavy users will not be known: intervals do not cover \
             it. `survey = true` asks.",
            names.join(", ")
        )
    })
}

/// What is promised to merchants.
fn merchants_line(plan: &Plan) -> Option<String> {
    let MerchantProtection { least, sets, small, besides } = plan.merchants?;
    Some(format!(
        "Cells of fewer than {least} registered merchants are hidden: {small} of {sets} groups of merchants, \
         and {besides} more whose differences would tell."
    ))
}

/// What the run hides besides, of which nothing is known yet.
fn dominance_line(plan: &Plan) -> Option<String> {
    let (rule, (level, _)) = plan.dominance()?;
    let who = match rule.top {
        1 => "one merchant".to_owned(),
        top => format!("{top} merchants together"),
    };
    let share = format!("{:.4}", 100.0 * rule.share.value());
    let share = share.trim_end_matches('0').trim_end_matches('.');
    Some(format!(
        "The run hides more: cells of which {who} may have more than {share} % of {}, by the noised values of {}, also \
         where noise is too large to tell, and as many besides as their differences need.",
        rule.by.name(),
        plan.levels[level].file
    ))
}

/// What of hidden cells is told all the same.
fn bands_line(plan: &Plan) -> Option<String> {
    let levels =
        plan.levels.iter().filter(|level| level.tables.iter().any(|t| !t.bands.is_empty()));
    let groups: usize =
        levels.filter_map(|level| level.bands.as_ref()).map(|bands| bands.told().count()).sum();
    plan.levels.iter().flat_map(|level| &level.tables).find(|table| !table.bands.is_empty())?;
    let groups = match plan.dominance() {
        Some(_) => "some groups of merchants, as noised values say.".to_owned(),
        None if groups == 0 => "0 of these groups. Those of one merchant never are, and others only if cells beside \
                                them, hidden as well, could have what they have not (docs/merchants.md)."
            .to_owned(),
        None => format!("{groups} of these groups."),
    };
    Some(format!("In bands of the job, in place of values, may be told: {groups}"))
}

/// Where bounds come from that earlier releases have told.
fn adopted_lines(plan: &Plan) -> Vec<String> {
    let jobs = plan.adopted.iter().map(|bound| &bound.from.0);
    let level = |bound: &Adopted| &plan.levels[bound.survey.level];
    let reports = plan.adopted.iter().map(|bound| &level(bound).tables[0].report);
    let pairs: BTreeSet<(&String, &String)> = jobs.zip(reports).collect();
    let line = |(job, report)| {
        format!(
            "Bounds of report {report} that the job leaves open follow from the surveys of job {job}."
        )
    };
    pairs.into_iter().map(line).collect()
}

/// What `previous = "latest"` stands for.
fn latest_lines(plan: &Plan) -> Vec<String> {
    let reports = plan.job.reports.iter();
    let latest = reports.filter(|r| r.previous.iter().any(EarlierJob::is_latest));
    let line = |report: &JobReport| {
        let levels = || plan.levels.iter().filter(|level| level.is_of(&report.name));
        let mut values: Vec<&Earlier> = levels().flat_map(|level| &level.earlier).collect();
        values.sort_by_key(|earlier| (Reverse(earlier.cells.days.0), &earlier.from.0));
        let mut jobs: Vec<&str> = values.iter().map(|earlier| &*earlier.from.0).collect();
        jobs.dedup();
        let bounds = plan.adopted.iter();
        let mut bounds = bounds.filter(|b| plan.levels[b.survey.level].is_of(&report.name));
        match (&jobs[..], bounds.next()) {
            ([], None) => format!("No earlier release fits report {} yet.", report.name),
            ([job], _) => latest_line(report, job),
            ([], Some(bound)) => latest_line(report, &bound.from.0),
            _ => format!(
                "The latest releases that fit report {} are those of jobs {}.",
                report.name,
                jobs.join(", ")
            ),
        }
    };
    latest.map(line).collect()
}

fn latest_line(report: &JobReport, job: &str) -> String {
    format!("The latest release that fits report {} is that of job {job}.", report.name)
}

/// How wide the names of tables are, and those of statistics.
pub(super) fn widths(plan: &Plan) -> (usize, usize) {
    let levels = || plan.levels.iter();
    let files = levels().map(|level| level.file.chars().count());
    let kinds = levels().flat_map(|level| &level.statistics).map(|s| s.kind.name().len());
    (files.max().unwrap_or(0).max(34), kinds.max().unwrap_or(0).max(10))
}

fn level_lines(
    plan: &Plan,
    place: usize,
    level: &LevelPlan,
    (wide, kinds): (usize, usize),
) -> Vec<String> {
    let mut lines = Vec::new();
    let cells = match &level.selection {
        Selection::Public => level.cells.count(&plan.job).map_or(String::new(), |n| n.to_string()),
        selection => selection.name().to_owned(),
    };
    for (row, statistic) in level.statistics.iter().enumerate() {
        let (name, cells) = if row == 0 { (&level.file[..], &cells[..]) } else { ("", "") };
        let shown = |grid: u64| match plan.is_open(place, row) {
            true => "open".to_owned(),
            false => natural(plan, statistic, grid),
        };
        lines.push(format!(
            "{name:<wide$} {cells:>10} {:<kinds$} {:>14} {:>14} {:>14}",
            statistic.kind.name(),
            shown(statistic.noise.bound.norm()),
            shown(statistic.noise.bound.cell_cap()),
            shown(statistic.noise.sigma),
        ));
    }
    if level.unshown {
        lines.push(format!("{:<wide$} not shown: it tells which merchants dominate", ""));
    }
    for table in level.tables[1..].iter().filter(|_| !level.unshown) {
        lines.push(format!("{:<wide$} shown in {} too, at no further price", "", table.file));
    }
    lines.extend(key_lines(plan, place, level, wide));
    lines
}

fn price_lines(
    plan: &Plan,
    price: &Parameters,
    left: PrivacyBudget,
    whole: PrivacyBudget,
) -> Vec<String> {
    let job = &plan.job;
    let composed = Composed::of(plan).map(|composed| {
        let Composed { periods, epsilon, delta, .. } = composed;
        format!(
            "for all payments of a user, over {periods} periods: epsilon {epsilon:.6} at delta \
             {delta}"
        )
    });
    let lines = [
        format!(
            "loss: mu {:.6}, which is epsilon {:.6} at delta {}; as zCDP, by OpenDP: rho {:.6}, \
             epsilon {:.6}",
            price.mu, price.epsilon_held, job.privacy.delta, price.opendp_rho, price.opendp_epsilon,
        ),
        format!(
            "price: {} % of the budget of population {} (epsilon {}, delta {}); {} % is left",
            percent(plan.loss.mu_squared, whole.mu_squared),
            job.ledger.population,
            job.ledger.epsilon_max,
            job.ledger.delta_max,
            percent(left.mu_squared, whole.mu_squared),
        ),
    ];
    composed.into_iter().chain(lines).collect()
}

fn currencies(plan: &Plan) -> String {
    let codes: Vec<&str> = plan.job.payments.currencies.iter().map(|c| c.code()).collect();
    codes.join(", ")
}

/// A number of grid units as a reader thinks of it.
fn natural(plan: &Plan, statistic: &StatisticPlan, grid: u64) -> String {
    let value = statistic.noise.to_natural(grid as f64);
    match statistic.kind.facts().unit {
        Unit::Money => {
            let places = plan.job.payments.money_places();
            format!("{:.*}", places as usize, value / 10f64.powi(places as i32))
        }
        Unit::Log => format!("{:.2}", value / LOG_PARTS as f64),
        Unit::Count => format!("{value:.2}"),
    }
}

fn as_json(
    plan: &Plan,
    price: &Parameters,
    left: PrivacyBudget,
    (overruns, known): (&[Overrun], &Known),
) -> String {
    let mut statistics = Vec::new();
    for (place, level) in plan.levels.iter().enumerate() {
        let insights: BTreeSet<Insight> =
            level.tables.iter().flat_map(|table| &table.insights).copied().collect();
        let insights: Vec<&str> = insights.into_iter().map(Insight::name).collect();
        let also: Vec<String> =
            level.tables[1..].iter().map(|table| format!("{}.parquet", table.file)).collect();
        for (row, statistic) in level.statistics.iter().enumerate() {
            let known = |grid: u64| {
                let natural = statistic.noise.to_natural(grid as f64);
                (!plan.is_open(place, row)).then_some(natural)
            };
            statistics.push(serde_json::json!({
                "file": format!("{}.parquet", level.file),
                "also_in": also,
                "insights": insights,
                "cells": match level.selection {
                    Selection::Public => level.cells.count(&plan.job).map(|n| n.to_string()),
                    Selection::Threshold { .. } | Selection::Discovered(_) => None,
                },
                "statistic": statistic.kind.name(),
                "norm_bound": known(statistic.noise.bound.norm()),
                "cell_cap": known(statistic.noise.bound.cell_cap()),
                "noise_sd": known(statistic.noise.sigma),
                "octaves_max": level.scales.get(&statistic.kind).map(crate::plan::Scales::octaves_max),
                "mu_squared_units": statistic.charge.units().to_string(),
                "predicted": predicted::as_json(plan, place, row),
            }));
        }
    }
    let composed = Composed::of(plan);
    serde_json::json!({
        "job": plan.job.id,
        "digest": plan.job.digest,
        "epsilon": plan.job.privacy.epsilon.value(),
        "delta": plan.job.privacy.delta.value(),
        "mu_squared_units": price.mu_squared_units,
        "discreteness_units": price.discreteness_units,
        "mu": price.mu,
        "rho": price.rho,
        "threshold_delta": price.threshold_delta,
        "epsilon_held": price.epsilon_held,
        "opendp_rho": price.opendp_rho,
        "opendp_epsilon": price.opendp_epsilon,
        "composed_epsilon": composed.map(|c| c.epsilon),
        "composed_delta": composed.map(|c| c.delta.value()),
        "left_mu_squared_units": left.mu_squared.units().to_string(),
        "left_threshold_delta": left.threshold_delta.value(),
        "fits": overruns.is_empty(),
        "exceeds": overruns.iter().map(|overrun| &overrun.part).collect::<Vec<_>>(),
        "state": known.name(),
        "merchants": plan.merchants.map(|merchants| serde_json::json!({
            "min_per_cell": merchants.least,
            "groups": merchants.sets,
            "hidden": merchants.small + merchants.besides,
        })),
        "discoveries": keys::as_json(plan),
        "statistics": statistics,
    })
    .to_string()
}
