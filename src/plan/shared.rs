//! Levels that several reports ask for: each is measured once, and shown by all of them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;

use super::names::file_name;
use super::peers::PeersPlan;
use super::{CellSpace, LevelPlan, Plan, Selection};
use crate::job::{EarlierJob, Insight, Job, Key, Level, Percent, Report, StatisticKind};
use crate::privacy::{Delta, MuSquared};

/// A table that shows a level, for one report.
#[derive(Clone, Debug)]
pub struct TablePlan {
    /// Name of the report.
    pub report: String,
    /// File name, without ending.
    pub file: String,
    /// The keys, in the order of columns.
    pub keys: Vec<Key>,
    /// Of each key, its place among the level's.
    pub places: Vec<usize>,
    /// What is shown.
    pub insights: Vec<Insight>,
    /// Places among the level's keys over which shares add up to one.
    pub share_of: Vec<usize>,
    /// How merchants are compared; `None`: they are not.
    pub peers: Option<PeersPlan>,
    /// How much merchants have at least to be counted, by statistic, in counts or minor units.
    pub above: BTreeMap<StatisticKind, i64>,
    /// The place of the time key by whose values it is split into files.
    pub partition: Option<usize>,
    /// A day of the period that is 100 in indexes.
    pub base: Option<NaiveDate>,
    /// Estimates with a larger relative error are not shown.
    pub suppress_above: Option<Percent>,
    /// Those of which cells that are hidden for their merchants may be told in bands.
    pub bands: Vec<Insight>,
    /// Are noised values of some cells hidden too, as they tell of too few merchants?
    pub may_hide: bool,
}

impl TablePlan {
    /// The table of a report's level, of which `keys` are measured.
    pub(super) fn new((report, level): (&Report, &Level), keys: &[Key]) -> TablePlan {
        let place = |key: &Key| keys.iter().position(|own| own == key);
        let why = "cannot fail because levels that are measured together have the same keys";
        let shares = report.share_of.iter().flat_map(|(names, _)| names);
        let share_of = shares.filter_map(|name| keys.iter().find(|key| key.name() == name));
        TablePlan {
            report: report.name.clone(),
            file: file_name(report, level),
            keys: level.keys.clone(),
            places: level.keys.iter().map(|key| place(key).expect(why)).collect(),
            insights: report.insights.iter().copied().filter(|i| i.is_at(&level.keys)).collect(),
            share_of: share_of.map(|key| place(key).expect(why)).collect(),
            peers: None,
            above: report.above.0.clone(),
            partition: report
                .partition_by
                .and_then(|time| level.keys.iter().position(|key| *key == Key::Time(time))),
            base: report.base.as_ref().map(|(base, _)| *base),
            suppress_above: report.suppress_above,
            bands: Vec::new(),
            may_hide: false,
        }
    }

    /// Does it tell who is new?
    pub fn looks_back(&self) -> bool {
        let new = |insight: &Insight| insight.statistics().iter().any(|kind| kind.looks_back());
        self.insights.iter().any(new)
    }
}

/// A level as it is measured, with the reports that ask for it; at least one.
pub(super) struct Asked<'j> {
    pub(super) level: Level,
    pub(super) tables: Vec<(&'j Report, &'j Level)>,
}

impl LevelPlan {
    /// A level without its statistics, and without what follows from others and from payments.
    pub(super) fn new(
        job: &Job,
        Asked { level, tables }: &Asked,
        cells: CellSpace,
        selection: Selection,
    ) -> LevelPlan {
        LevelPlan {
            file: file_name(tables[0].0, level),
            span: level.span.clone(),
            keys: level.keys.clone(),
            tables: tables.iter().map(|&table| TablePlan::new(table, &level.keys)).collect(),
            selection,
            look_back: None,
            cohorts: None,
            recency: None,
            changes: BTreeMap::new(),
            pairs: None,
            cells,
            statistics: Vec::new(),
            always: Vec::new(),
            keys_from: Vec::new(),
            tickets: None,
            unshown: LevelPlan::is_unshown(job, &level.keys),
            hidden: Vec::new(),
            bands: None,
            earlier: Vec::new(),
            scales: BTreeMap::new(),
        }
    }
}

impl<'j> Asked<'j> {
    pub(super) fn is_private(&self) -> bool {
        !self.tables[0].0.selection.is_public()
    }

    /// Is that level the same as this one: the same keys in any order, found in the same way, no
    /// other bounds, and with help of the same earlier jobs?
    fn is_as(&self, report: &Report, level: &Level) -> bool {
        let own = self.tables[0].0;
        let keys = |level: &Level| level.keys.iter().cloned().collect::<BTreeSet<_>>();
        let jobs = |report: &Report| {
            let name = |job: &EarlierJob| job.job.clone();
            let names = |jobs: &[EarlierJob]| jobs.iter().map(name).collect::<BTreeSet<String>>();
            (names(&report.keys_from), names(&report.previous))
        };
        let mut bounds = level.bounds.iter();
        own.name != report.name
            && own.selection == report.selection
            && keys(&self.level) == keys(level)
            && self.level.look_back == level.look_back
            && jobs(own) == jobs(report)
            && own.cell_scales.total_cmp(&report.cell_scales).is_eq()
            && bounds.all(|(kind, bound)| self.level.bounds.get(kind).is_none_or(|b| b == bound))
    }

    fn add(&mut self, report: &'j Report, level: &'j Level) {
        self.level.bounds.extend(&level.bounds);
        self.level.weight = self.level.weight.max(level.weight);
        for (kind, aim) in &level.errors {
            let known = self.level.errors.entry(*kind).or_insert_with(|| aim.clone());
            if aim.error < known.error {
                *known = aim.clone();
            }
        }
        self.tables.push((report, level));
    }
}

/// Of the reports that ask for a level the first one that asks for a statistic, with its level; the
/// first of all, if none does.
pub(super) fn asking<'j>(
    tables: &[(&'j Report, &'j Level)],
    kind: StatisticKind,
) -> (&'j Report, &'j Level) {
    let asks = |(_, level): &&(&Report, &Level)| level.bounds.contains_key(&kind);
    *tables.iter().find(asks).unwrap_or(&tables[0])
}

/// The levels of all reports, in the order of the job, each once.
pub(super) fn asked(job: &Job) -> Vec<Asked<'_>> {
    let mut all: Vec<Asked> = Vec::new();
    for report in &job.reports {
        for level in &report.levels {
            match all.iter_mut().find(|asked| asked.is_as(report, level)) {
                Some(known) => known.add(report, level),
                None => all.push(Asked { level: level.clone(), tables: vec![(report, level)] }),
            }
        }
    }
    all
}

/// What of δ the threshold of each level with private keys may take, and all of them together.
pub(super) fn threshold_deltas(job: &Job, all: &[Asked]) -> (Delta, Delta) {
    let private_levels = all.iter().filter(|asked| asked.is_private()).count() as u64;
    let level_delta = match private_levels {
        0 => Delta::ZERO,
        n => Delta::from_units(job.privacy.delta.threshold_share().units() / n),
    };
    (level_delta, Delta::from_units(level_delta.units() * private_levels))
}

/// Of all that the job may cost what each statistic of a level may, by the weights of all levels.
pub(super) fn share_of(
    all: &[Asked],
    level: &Level,
    total: Option<MuSquared>,
) -> Option<MuSquared> {
    let weight_of = |asked: &Asked| u64::from(asked.level.weight) * asked.level.bounds.len() as u64;
    let weight: u64 = all.iter().map(weight_of).sum();
    // Below 2⁷⁰ · 2²⁴.
    let units = total?.units() * u128::from(level.weight) / u128::from(weight);
    Some(MuSquared::from_units(units))
}

impl Plan {
    /// Places of levels whose estimates are made together: those of one report, and of reports that
    /// share a level.
    pub fn groups(&self) -> Vec<Vec<usize>> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for level in 0..self.levels.len() {
            let meets = |group: &Vec<usize>| group.iter().any(|&other| self.together(other, level));
            let (met, rest): (Vec<_>, Vec<_>) = groups.into_iter().partition(meets);
            let mut joined: Vec<usize> = met.into_iter().flatten().collect();
            joined.push(level);
            joined.sort_unstable();
            groups = rest;
            groups.push(joined);
        }
        groups
    }

    /// Does a report show both levels?
    pub(super) fn together(&self, one: usize, other: usize) -> bool {
        self.levels[one].tables.iter().any(|table| self.levels[other].is_of(&table.report))
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture::Market;
    use crate::job::StatisticKind;

    fn report(levels: &str, insights: &str, more: &str) -> String {
        format!("levels = {levels}\nkeys = \"public\"\ninsights = [{insights}]\n{more}")
    }

    #[test]
    fn a_level_of_two_reports_is_measured_and_priced_once() {
        let market = Market::new(&[]);
        let both = r#""customers", "payments""#;
        let first = report(r#"[[], ["region", "week"]]"#, r#""customers""#, "");
        let second = report(r#"[["week", "region"], ["wallet"]]"#, both, "");
        let plan = market.plan(&[first.clone(), second]);
        let names: Vec<&str> = plan.levels.iter().map(|level| &*level.file).collect();
        assert_eq!(names, ["r0.all", "r0.region-week", "r1.wallet"]);
        let shared = &plan.levels[1];
        let kinds: Vec<StatisticKind> = shared.statistics.iter().map(|s| s.kind).collect();
        assert_eq!(kinds, [StatisticKind::Customers, StatisticKind::Payments]);
        let tables: Vec<(&str, &[usize])> =
            shared.tables.iter().map(|table| (&*table.file, &*table.places)).collect();
        assert_eq!(tables, [("r0.region-week", &[0, 1][..]), ("r1.week-region", &[1, 0])]);
        // The job's budget goes to five statistics, not to six: three reports' noise is that of
        // one.
        assert_eq!(plan.mechanisms().count(), plan.surveys.len() * 2 - 2 + 5);
        let three = market.plan(&[first.clone(), first.clone(), first.clone()]);
        let noise = |plan: &crate::plan::Plan| plan.levels[1].statistics[0].charge;
        assert_eq!(noise(&three), noise(&market.plan(&[first])));
        assert_eq!(plan.groups(), [[0, 1, 2]]);
    }

    #[test]
    fn other_bounds_keys_or_selections_are_measured_apart() {
        let market = Market::new(&[]);
        let open = || report(r#"[["region"]]"#, r#""customers""#, "");
        let bound = report(r#"[["region"]]"#, r#""customers""#, "bounds = { customers = 3 }");
        let private = open().replace("public", "private");
        for other in [bound, private, open().replace("region", "wallet")] {
            let plan = market.plan(&[open(), other]);
            assert_eq!((plan.levels.len(), plan.groups().len()), (2, 2));
        }
        // A third report may share with the first over the head of the second.
        let plan = market.plan(&[open(), open().replace("region", "wallet"), open()]);
        assert_eq!((plan.levels.len(), plan.groups()), (2, vec![vec![0], vec![1]]));
    }

    #[test]
    fn faults_are_those_of_the_report_that_asks() {
        let years = ("2025-04-30", "2026-03-15");
        let weekly = ("unit = \"user\"", "unit = \"user-week\"");
        for (level, insight, change, names) in [
            (r#"["quarter"]"#, "diffusion_index_year", Some(years), "`diffusion_index_year`"),
            (r#"["region"]"#, "diffusion_classes", None, "`diffusion_classes`"),
            (r#"["region"]"#, "returning_customers", None, "`returning_customers`"),
            (r#"["month"]"#, "retention_rate", None, "`retention_rate`"),
            (r#"["week"]"#, "recency_histogram", None, "`recency_histogram`"),
            (r#"["month"]"#, "customers", Some(weekly), "month"),
        ] {
            let market = Market::new(&[]);
            let levels = format!("[{level}]");
            let first = report(&levels, r#""payments""#, "");
            let second = report(&levels, &format!("\"{insight}\""), "");
            let changes = change.into_iter().chain([("ticket_groups = \"region\"\n", "")]);
            let changes: Vec<(&str, &str)> = changes.collect();
            let own = market.try_plan_changed(&changes, std::slice::from_ref(&first));
            let own = own.expect("can show payments").levels.remove(0).span;
            let fault = market.try_plan_changed(&changes, &[first, second]).expect_err("unfit");
            let [finding] = fault.findings() else { panic!("{insight}: {fault}") };
            assert!(finding.message().contains(names), "{insight}: {}", finding.message());
            let at = finding.span().expect("in the job");
            assert!(at.start > own.end, "{insight}: {at:?} and not behind {own:?}");
        }
    }
}
