//! `discretail plan JOB --try FILES`

use std::path::{Path, PathBuf};

use super::{Failure, cancel_flag, memory, reader, threads};
use crate::cli::PlanArgs;
use crate::console::{self, Progress};
use crate::engine::local::Local;
use crate::error::{Error, Result};
use crate::findings::{Finding, counted};
use crate::job::{Job, StatisticKind};
use crate::payments::ScanControl;
use crate::release;
use crate::trial::{self, CLASSES, Figures, LevelFacts, Options, Ready, Spread, Trial, Tried};

/// Tries the job on other payments than its own; neither reserves nor charges anything.
pub(super) fn try_out(args: &PlanArgs) -> std::result::Result<(), Failure> {
    reader::limit(args.threads, false)?;
    let (source, job) = Job::read(&args.job);
    let tried = job.and_then(|job| on_files(args, &job));
    let (trial, file) = tried.map_err(|error| Failure::in_job(error, &args.job, source))?;
    let name = file.display().to_string();
    let text = if args.json {
        let mut value = trial::as_json(&trial);
        value["page"] = name.into();
        value.to_string()
    } else {
        format!("{}\npage: {name}", as_text(&trial))
    };
    Ok(console::result_of("the page is written", &text)?)
}

fn on_files(args: &PlanArgs, job: &Job) -> Result<(Trial, PathBuf)> {
    let file = args.out.clone().unwrap_or_else(|| format!("{}.try.html", job.id).into());
    let ready = checked(job, &args.tried, &file)?;
    let cancelled = cancel_flag()?;
    let spinner = Progress::spinner("adding up what is true".to_owned());
    let engine = Local {
        control: ScanControl { cancelled: &cancelled, progress: &|_| {} },
        threads: threads(args.threads.map(usize::from)),
        memory: memory::half_of_what_is_free().max(Local::MEMORY_MIN),
        spill_folder: std::env::temp_dir(),
        partition_bits: Local::PARTITION_BITS,
    };
    memory::suffices(&engine, ready.plan())?;
    let watch = |setting: &str, run: u32| {
        spinner.say(format!("{setting}: release {} of {}", run + 1, args.runs))
    };
    let options = Options { runs: args.runs, engine, watch: &watch };
    let trial = ready.try_out(&options)?;
    release::write_page(&file, &trial::page(&trial))?;
    Ok((trial, file))
}

/// All that can be known to be wrong beforehand, at once.
fn checked(job: &Job, files: &[PathBuf], page: &Path) -> Result<Ready> {
    let place = release::place_of_page(page, None).and_then(|()| release::page_fits(page));
    match (Ready::new(job, files), place) {
        (Ok(ready), Ok(())) => Ok(ready),
        (Ok(_), Err(error)) | (Err(error), Ok(())) => Err(error),
        (Err(error), Err(place)) => {
            let all = error.findings().iter().chain(place.findings());
            Err(Error::invalid_all(all.cloned().collect::<Vec<Finding>>()))
        }
    }
}

/// How wide figures are, and the heads of settings.
const WIDE: usize = 9;
const SETTING: usize = 16;

fn as_text(trial: &Trial) -> String {
    let (files, own) = (counted(trial.files, "file"), &trial.settings[0]);
    let mut lines = vec![
        format!(
            "job {} tried on {files} with epsilon {} at delta {}; releases for each setting: {}",
            trial.job, own.epsilon, trial.delta, trial.runs
        ),
        "What is said of these payments is exact and has no protection. Nothing is charged or released."
            .to_owned(),
    ];
    let names = trial.levels.iter().flat_map(names);
    let wide = names.map(|name| name.chars().count()).max().unwrap_or(0).max(24);
    let parts = [
        bound_lines(trial, wide),
        cell_lines(trial, wide),
        size_lines(trial, wide),
        setting_lines(trial, wide),
        notes(trial),
    ];
    for part in parts {
        lines.push(String::new());
        lines.extend(part);
    }
    lines.join("\n")
}

/// What each row of a level is called: its insights, then its keys if they are private.
fn names(level: &LevelFacts) -> impl Iterator<Item = String> {
    let insights = level.insights.iter().map(|insight| insight.name());
    let keys = (!level.is_public).then_some("keys shown");
    insights.chain(keys).map(|name| format!("{}, {name}", level.file))
}

/// The bounds of the job's own setting, and those that the run would choose where it states some.
fn bound_lines(trial: &Trial, wide: usize) -> Vec<String> {
    let shown: Vec<&Tried> = trial
        .settings
        .iter()
        .enumerate()
        .filter(|(place, setting)| *place == 0 || setting.name == trial::BOUNDS_CHOSEN)
        .map(|(_, setting)| setting)
        .collect();
    let heads: String = shown.iter().map(|setting| format!(" {:>24}", setting.name)).collect();
    let mut lines = vec![format!("{:<wide$} {:<18}{heads}", "norm bounds", "statistic")];
    for (place, level) in trial.levels.iter().enumerate() {
        let mut name = &level.file[..];
        for (at, &kind) in level.statistics.iter().enumerate() {
            // That of logarithms is always the run's.
            if kind == StatisticKind::TicketLogs {
                continue;
            }
            let bound = |setting: &&Tried| {
                let norm = setting.levels[place].bounds[at].norm;
                format!(" {:>24}", natural(trial, kind, norm))
            };
            let bounds: String = shown.iter().map(bound).collect();
            lines.push(format!("{name:<wide$} {:<18}{bounds}", kind.name()));
            name = "";
        }
    }
    lines
}

/// A bound as jobs state it, or from where to where it was.
fn natural(trial: &Trial, kind: StatisticKind, norm: Spread) -> String {
    let places = if kind.is_money() { trial.money_places } else { 0 };
    let number = |value: f64| format!("{:.2}", value / 10f64.powi(places as i32));
    let (least, most) = (number(norm.least), number(norm.most));
    if least == most { least } else { format!("{least} to {most}") }
}

/// The heads of classes of sizes.
fn classes() -> String {
    let last = |at: usize| CLASSES.get(at + 1).map(|next| next - 1.0);
    let class = |(at, least): (usize, &f64)| match last(at) {
        Some(last) => format!("{least}-{last}"),
        None => format!("{least}+"),
    };
    CLASSES.iter().enumerate().map(class).map(|head| format!(" {head:>WIDE$}")).collect()
}

/// How many cells there are, by class.
fn cell_lines(trial: &Trial, wide: usize) -> Vec<String> {
    let mut lines = vec![format!(
        "{:<wide$}{} {:>WIDE$} {:>WIDE$}",
        "cells, by exact customers",
        classes(),
        "empty",
        "all"
    )];
    lines.extend(trial.levels.iter().map(|level| {
        let [empty, by_class @ ..] = level.cells;
        let counts: String = by_class.iter().map(|count| format!(" {count:>WIDE$}")).collect();
        let all = by_class.iter().sum::<u64>() + empty;
        format!("{:<wide$}{counts} {empty:>WIDE$} {all:>WIDE$}", level.file)
    }));
    lines
}

/// Errors by size of cells, with the job's own setting.
fn size_lines(trial: &Trial, wide: usize) -> Vec<String> {
    let heads = ["all", "noised", "expected", "in 95 %", "shown"];
    let heads: String = heads.map(|head| format!(" {head:>WIDE$}")).concat();
    let mut lines = vec![format!("{:<wide$}{}{heads}", "the job's errors", classes())];
    let row = |name: String, figures: &[Option<f64>]| {
        let figures: String = figures.iter().map(|&figure| percent(figure, WIDE)).collect();
        format!("{name:<wide$}{figures}")
    };
    let own = trial.settings.iter().take(1).flat_map(|setting| &setting.levels);
    for (level, tried) in trial.levels.iter().zip(own) {
        let mut names = names(level);
        for (figures, name) in tried.insights.iter().zip(names.by_ref()) {
            let Figures { estimate, noised, all_covered, shown, predicted, .. } = figures;
            let expected = predicted.map(|predicted| predicted.estimated);
            let middle = |spread: &Option<Spread>| spread.map(|spread| spread.middle);
            let mut row_figures: Vec<Option<f64>> = estimate.by_class.iter().map(middle).collect();
            row_figures.extend([middle(&estimate.wape), middle(&noised.wape), expected]);
            row_figures.extend([middle(all_covered), middle(shown)]);
            lines.push(row(name, &row_figures));
        }
        if let (Some(keys), Some(name)) = (tried.keys_shown, names.next()) {
            let all = keys.by_class.iter().chain([&keys.all]);
            let shown: Vec<Option<f64>> = all.map(|spread| spread.map(|s| s.middle)).collect();
            lines.push(row(name, &shown));
        }
    }
    lines
}

/// Errors of all cells together, by setting.
fn setting_lines(trial: &Trial, wide: usize) -> Vec<String> {
    let heads = trial.settings.iter().map(|setting| format!(" {:>SETTING$}", setting.name));
    let mut lines = vec![format!("{:<wide$}{}", "all cells", heads.collect::<String>())];
    for (place, level) in trial.levels.iter().enumerate() {
        for (at, name) in names(level).enumerate() {
            let figure = |setting: &Tried| {
                let tried = &setting.levels[place];
                let keys = || tried.keys_shown.and_then(|keys| keys.all);
                let figure = tried.insights.get(at).map_or_else(keys, |f| f.estimate.wape);
                percent(figure.map(|spread| spread.middle), SETTING)
            };
            let figures: String = trial.settings.iter().map(figure).collect();
            lines.push(format!("{name:<wide$}{figures}"));
        }
    }
    lines
}

fn percent(share: Option<f64>, wide: usize) -> String {
    let text = match share {
        None => "-".to_owned(),
        Some(share) if share >= 10.0 => ">999 %".to_owned(),
        Some(share) => format!("{:.1} %", 100.0 * share),
    };
    format!(" {text:>wide$}")
}

fn notes(trial: &Trial) -> Vec<String> {
    let text = "Errors by size: the median of |estimate - truth| against the truth. `all`: the sum of errors against the
sum of values, empty public cells too; `noised`: the same of noised values; `expected`: what `plan` says.
`in 95 %`: intervals that hold the truth. Each figure is the middle of the releases. The page and --json have
errors by size and intervals of all settings, with the least and the most of the releases.";
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if trial.without_earlier {
        let text = "Earlier releases that the job names are left out: they tell of other people than these.";
        lines.push(text.to_owned());
    }
    let skipped = trial.skipped.iter();
    lines.extend(skipped.map(|s| format!("{} could not be tried: {}", s.name, s.why)));
    lines
}
