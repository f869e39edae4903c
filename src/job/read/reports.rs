//! The sections `[[report]]`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::payments::Facts;
use super::shown::needed_at;
use super::{Reader, earlier_job};
use crate::findings;
use crate::job::raw::{Placed, Section};
use crate::job::split::default_weights;
use crate::job::{
    EarlierJob, Insight, Key, Level, PartitionSelection, Percent, Registry, Report, StatisticKind,
    TimeKey, money_places,
};

/// The most cells of one user that count at a level with private keys, unless the job says else.
const CELLS_MAX_DEFAULT: u32 = 256;

/// What finding keys takes, where they are the finding; see `docs/benchmarks.md`, *Private keys*.
const DISCOVERY_DEFAULT: &str = "75%";

/// The relative error above which estimates are not shown, unless the job says else.
const SUPPRESS_ABOVE: &str = "50%";

/// Days before a cell that tell whether a customer is new, unless the job says else.
const LOOK_BACK_DEFAULT: u32 = 90;

/// The power of an earlier release's values with which noise grows, unless the job says else: with
/// more, estimates of large cells are further off (`docs/benchmarks.md`).
const CELL_SCALES_DEFAULT: f64 = 0.25;

/// What a level's keys are looked up in.
pub(super) struct Names<'a> {
    facts: &'a Facts,
    /// `None`: there is no table of merchants, or it cannot be read.
    pub(super) attributes: &'a [String],
    has_registry: bool,
    key_sets: &'a BTreeMap<String, Placed<Vec<String>>>,
}

impl Reader<'_> {
    pub(super) fn reports(
        &self,
        sections: &[Section],
        facts: &Facts,
        merchants: Option<&Section>,
        key_sets: &BTreeMap<String, Placed<Vec<String>>>,
    ) -> (Option<Vec<Report>>, Option<Registry>) {
        let place = merchants.and_then(|section| self.registry_place(section, facts));
        let attributes = place.as_ref().map_or(&[][..], |place| &place.columns);
        let names = Names { facts, attributes, has_registry: merchants.is_some(), key_sets };
        // Without all columns, unknown keys could be among them: say nothing.
        let registry_failed = merchants.is_some() && place.is_none();
        let lenient = registry_failed || !facts.known;

        let mut seen = BTreeSet::new();
        let mut reports = Some(Vec::new());
        for section in sections {
            let report = self.report(section, &names, lenient);
            if let Some(report) = report.as_ref().filter(|r| !seen.insert(r.name.clone())) {
                let finding = findings::duplicate("the report", &report.name);
                self.faults.add(finding.at(section.span()));
            }
            reports = reports.zip(report).map(|(mut all, one)| {
                all.push(one);
                all
            });
        }
        for (name, set) in key_sets {
            if facts.known && !facts.columns.contains(name) {
                let known: Vec<&str> = facts.columns.iter().map(String::as_str).collect();
                let finding = findings::key_set_unknown(name, &known);
                self.faults.add(finding.at(set.span.clone()));
            }
        }
        let registry = place.and_then(|place| self.registry(place, reports.as_deref()?));
        (reports, registry)
    }

    fn report(&self, section: &Section, names: &Names, lenient: bool) -> Option<Report> {
        let name = self.name(section, "name", "name = \"market\"");
        let example = "levels = [[\"region\"], [\"region\", \"week\"]]";
        let lists = section.require("levels", example, section.text_lists("levels"));
        let rule = "a list of at least one level; `[]` in it is the total";
        self.refuse_empty(section, "levels", lists.as_ref().map(Vec::len), rule);
        let share_of = self.share_of(section);
        let selection = self.selection(section);
        let insights = self.insights(section, names.facts.currencies.len());
        let needed = needed(insights.as_deref().unwrap_or_default(), selection);
        let all_known = insights.is_some() && selection.is_some();
        let idle = all_known && !needed.iter().any(|kind| kind.looks_back());
        let (look_back, look_back_span) = self.look_back(section, idle);
        let keys_from = self.keys_from(section, selection);
        let (previous, cell_scales) = self.earlier_values(section, selection);
        let suppress_above = self.suppress_above(section);
        let base = section.date("base").map(|base| (base.value, base.span));
        let (peers, peers_min) = self.peers(section, names, lenient);
        let places = money_places(&names.facts.currencies);
        let above = self.above(section, places);
        let partition_by = self.partition_by(section, lists.as_deref().unwrap_or_default());
        let count = lists.as_ref().map_or(0, Vec::len);
        let weights = self.weights(section, count);
        let bounds = self.bounds(section, (&needed, all_known), count, places);
        let mut errors = self.errors(section, &needed, selection, count);
        section.finish();

        let mut levels = Some(Vec::new());
        let mut seen = BTreeSet::new();
        for (index, list) in lists?.into_iter().enumerate() {
            let keys = self.level(&list, names, selection, lenient);
            if !lenient {
                self.refuse_twice(&list, keys.as_deref(), &mut seen);
            }
            let bounds = bounds.as_ref().map(|all| all[index].clone());
            let bounds = bounds.map(|all| needed_at(all, keys.as_deref(), insights.as_deref()));
            let level = keys.zip(bounds).map(|(keys, bounds)| Level {
                keys,
                span: list.span.clone(),
                look_back: look_back.unwrap_or(LOOK_BACK_DEFAULT),
                weight: weights.as_ref().map_or(0, |weights| weights[index]),
                bounds,
                errors: std::mem::take(&mut errors[index]),
            });
            levels = levels.zip(level).map(|(mut all, one)| {
                all.push(one);
                all
            });
        }
        let (mut levels, selection, insights) = (levels?, selection?, insights?);
        if weights.is_none() {
            weigh(&mut levels);
        }
        let share_of = share_of.map(|keys| self.share_keys(section, keys, &levels));
        Some(Report {
            name: name?,
            levels,
            selection,
            insights,
            share_of,
            peers,
            peers_min,
            above,
            partition_by,
            base,
            suppress_above,
            keys_from,
            previous,
            cell_scales,
            look_back: look_back_span,
        })
    }

    /// A key that nothing looks at, for all that its author may think.
    pub(super) fn idle(&self, section: &Section, key: &str, what: &str) {
        self.faults.add(findings::key_idle(key, what).at(section.span_of(key)));
    }

    /// A list that must have something in it, with the number of its entries.
    pub(super) fn refuse_empty(
        &self,
        section: &Section,
        key: &str,
        count: Option<usize>,
        rule: &str,
    ) {
        if count == Some(0) {
            let finding = findings::value_out_of_range(key, "[]", rule);
            self.faults.add(finding.at(section.span_of(key)));
        }
    }

    /// The days that tell new customers from returning ones, with their place if stated.
    fn look_back(&self, section: &Section, idle: bool) -> (Option<u32>, Option<Range<usize>>) {
        let Some(text) = section.decimal("look_back") else {
            return (Some(LOOK_BACK_DEFAULT), None);
        };
        if idle {
            self.idle(
                section,
                "look_back",
                "new_customers, returning_customers, retention_cohort and retention_rate",
            );
        }
        (self.whole("look_back", &text, 1, 3660), Some(text.span))
    }

    /// A level whose keys another one has, in whatever order.
    fn refuse_twice(
        &self,
        list: &Placed<Vec<Placed<String>>>,
        keys: Option<&[Key]>,
        seen: &mut BTreeSet<BTreeSet<Key>>,
    ) {
        let sorted = keys.map(|keys| keys.iter().cloned().collect());
        if sorted.is_some_and(|sorted| !seen.insert(sorted)) {
            let shown = format!("{:?}", texts_of(&list.value));
            self.faults.add(findings::duplicate("the level", &shown).at(list.span.clone()));
        }
    }

    /// The keys of what is shared out.
    fn share_of(&self, section: &Section) -> Option<Vec<Placed<String>>> {
        let share_of = section.texts("share_of");
        let rule = "a key of the levels, or a list of at least one";
        self.refuse_empty(section, "share_of", share_of.as_ref().map(Vec::len), rule);
        share_of
    }

    /// What is shared out is a key of some level.
    fn share_keys(
        &self,
        section: &Section,
        keys: Vec<Placed<String>>,
        levels: &[Level],
    ) -> (Vec<String>, Range<usize>) {
        let names: BTreeSet<&str> =
            levels.iter().flat_map(|level| &level.keys).map(Key::name).collect();
        let known: Vec<&str> = names.iter().copied().collect();
        for key in keys.iter().filter(|key| !names.contains(key.value.as_str())) {
            let finding = findings::level_key_unknown(&key.value, &known);
            self.faults.add(finding.at(key.span.clone()));
        }
        let names = keys.into_iter().map(|key| key.value).collect();
        (names, section.span_of("share_of"))
    }

    /// The relative error above which estimates are not shown.
    fn suppress_above(&self, section: &Section) -> Option<Percent> {
        let text = section.text("suppress_above");
        let written = text.as_ref().map_or(SUPPRESS_ABOVE, |text| &text.value);
        let limit = Percent::parse(written);
        if let (None, Some(text)) = (limit, text.filter(|text| text.value != "never")) {
            let shown = format!("\"{}\"", text.value);
            let rule = format!("{}, or \"never\"", Percent::RULE);
            let finding = findings::value_out_of_range("suppress_above", &shown, &rule);
            self.faults.add(finding.at(text.span));
        }
        limit
    }

    fn keys_from(
        &self,
        section: &Section,
        selection: Option<PartitionSelection>,
    ) -> Vec<EarlierJob> {
        let jobs = section.texts("keys_from").unwrap_or_default();
        if selection.is_some_and(PartitionSelection::is_public)
            && let Some(first) = jobs.first()
        {
            self.faults.add(findings::keys_from_public(&first.value).at(first.span.clone()));
        }
        jobs.into_iter().map(earlier_job).collect()
    }

    /// The jobs whose releases tell values and bounds, and the power of these values with which the
    /// noise of cells grows.
    fn earlier_values(
        &self,
        section: &Section,
        selection: Option<PartitionSelection>,
    ) -> (Vec<EarlierJob>, f64) {
        let previous = self.previous(section);
        let discovered = matches!(selection, Some(PartitionSelection::Discovered { .. }));
        if discovered && !previous.is_empty() {
            self.idle(section, "previous", "public or private keys");
        }
        let Some(text) = section.decimal("cell_scales") else {
            return (previous, CELL_SCALES_DEFAULT);
        };
        if previous.is_empty() {
            self.idle(section, "cell_scales", "`previous`");
        }
        let exponent = text.value.parse().ok().filter(|power| (0.0..=1.0).contains(power));
        let exponent = exponent.unwrap_or_else(|| {
            let rule = "a number from 0 (the same noise in all cells) to 1";
            let finding = findings::value_out_of_range("cell_scales", &text.value, rule);
            self.faults.add(finding.at(text.span));
            CELL_SCALES_DEFAULT
        });
        (previous, exponent)
    }

    fn selection(&self, section: &Section) -> Option<PartitionSelection> {
        let keys = section.require("keys", "keys = \"public\"", section.text("keys"));
        let cells_max = section.decimal("cells_max");
        if cells_max.is_some() && keys.as_ref().is_some_and(|keys| keys.value == "public") {
            self.idle(section, "cells_max", "keys of the data");
        }
        let share = self.discovery(section, keys.as_ref().map(|keys| keys.value.as_str()));
        let cells_max = cells_max
            .map_or(Some(CELLS_MAX_DEFAULT), |text| self.whole("cells_max", &text, 1, 1_000_000));
        let keys = keys?;
        match keys.value.as_str() {
            "public" => Some(PartitionSelection::Public),
            "private" => Some(PartitionSelection::Private { cells_max: cells_max? }),
            "discovered" => {
                let (cells_max, share) = (cells_max?, share?);
                Some(PartitionSelection::Discovered { cells_max, share })
            }
            _ => {
                let shown = format!("\"{}\"", keys.value);
                let rule = "\"public\", \"private\" or \"discovered\"";
                self.faults.add(findings::value_out_of_range("keys", &shown, rule).at(keys.span));
                None
            }
        }
    }

    /// What rounds that find keys take of a level's part of the budget.
    fn discovery(&self, section: &Section, keys: Option<&str>) -> Option<Percent> {
        let text = section.text("discovery");
        if text.is_some() && keys.is_some_and(|keys| keys != "discovered") {
            self.idle(section, "discovery", "`keys = \"discovered\"`");
        }
        let written = text.as_ref().map_or(DISCOVERY_DEFAULT, |text| &text.value);
        let share = Percent::parse(written).filter(|share| (0.01..=0.99).contains(&share.value()));
        if let (None, Some(text)) = (share, text) {
            let shown = format!("\"{}\"", text.value);
            let rule = "a percentage from \"1%\" to \"99%\"";
            self.faults.add(findings::value_out_of_range("discovery", &shown, rule).at(text.span));
        }
        share
    }

    pub(super) fn whole(
        &self,
        key: &str,
        text: &Placed<String>,
        low: u32,
        high: u32,
    ) -> Option<u32> {
        let number = text.value.parse().ok().filter(|n| (low..=high).contains(n));
        if number.is_none() {
            let rule = format!("a whole number from {low} to {high}");
            let finding = findings::value_out_of_range(key, &text.value, &rule);
            self.faults.add(finding.at(text.span.clone()));
        }
        number
    }

    fn insights(&self, section: &Section, currencies: usize) -> Option<Vec<Insight>> {
        let example = "insights = [\"customers\", \"payments\", \"sales\", \"average_ticket\"]";
        let names = section.require("insights", example, section.texts("insights"))?;
        if names.is_empty() {
            let rule = "a list of at least one insight";
            self.refuse_empty(section, "insights", Some(0), rule);
            return None;
        }
        let mut insights = BTreeSet::new();
        let mut complete = true;
        for name in names {
            match Insight::all().find(|insight| insight.name() == name.value) {
                Some(insight) if !insights.insert(insight) => {
                    let finding = findings::duplicate("the insight", &name.value);
                    self.faults.add(finding.at(name.span));
                }
                Some(Insight::TicketQuantiles) if currencies > 1 => {
                    self.faults.add(findings::quantiles_of_currencies().at(name.span));
                }
                Some(_) => {}
                None => {
                    let known: Vec<&str> = Insight::all().map(Insight::name).collect();
                    let finding = findings::insight_unknown(&name.value, &known);
                    self.faults.add(finding.at(name.span));
                    complete = false;
                }
            }
        }
        complete.then(|| insights.into_iter().collect())
    }

    fn level(
        &self,
        list: &Placed<Vec<Placed<String>>>,
        names: &Names,
        selection: Option<PartitionSelection>,
        lenient: bool,
    ) -> Option<Vec<Key>> {
        let mut keys: Vec<Key> = Vec::new();
        let mut complete = true;
        for name in &list.value {
            let key = self.key(name, names, lenient);
            if let Some(key) = key.as_ref().filter(|key| keys.contains(key)) {
                let finding = findings::duplicate("the key", key.name());
                self.faults.add(finding.at(name.span.clone()));
            }
            if let (Some(key), Some(PartitionSelection::Public)) = (&key, selection) {
                complete &= self.public_key(key, name, names);
            }
            complete &= key.is_some();
            keys.extend(key);
        }
        let several = names.facts.currencies.len() > 1;
        if complete && several && !keys.contains(&Key::Currency) {
            let shown = format!("{:?}", texts_of(&list.value));
            self.faults.add(findings::currency_not_split(&shown).at(list.span.clone()));
        }
        complete.then_some(keys)
    }

    fn key(&self, name: &Placed<String>, names: &Names, lenient: bool) -> Option<Key> {
        let text = &name.value;
        if names.facts.columns.contains(text) {
            return Some(Key::Column(text.clone()));
        }
        if let Some(time) = TimeKey::ALL.into_iter().find(|time| time.name() == text) {
            return Some(Key::Time(time));
        }
        if text == "merchant" && names.facts.has_merchant {
            return Some(Key::Merchant);
        }
        if text == "currency" && names.facts.has_currency_column {
            return Some(Key::Currency);
        }
        if names.attributes.contains(text) {
            return Some(Key::MerchantAttribute(text.clone()));
        }
        let is_attribute = |column: &str| names.attributes.iter().any(|known| known == column);
        if text.strip_prefix(Key::HOME).is_some_and(is_attribute) {
            return Some(Key::Home(text.clone()));
        }
        if text.strip_prefix(Key::WITH).is_some_and(is_attribute) {
            return Some(Key::With(text.clone()));
        }
        if !lenient {
            let mut known: Vec<&str> = TimeKey::ALL.map(TimeKey::name).to_vec();
            known.extend(names.facts.has_merchant.then_some("merchant"));
            known.extend(names.facts.has_currency_column.then_some("currency"));
            known.extend(names.facts.columns.iter().map(String::as_str));
            known.extend(names.attributes.iter().map(String::as_str));
            // Only to those who have begun to write one.
            let begun = [Key::HOME, Key::WITH].into_iter().filter(|start| text.starts_with(start));
            let more: Vec<String> = begun
                .flat_map(|start| names.attributes.iter().map(move |name| format!("{start}{name}")))
                .collect();
            known.extend(more.iter().map(String::as_str));
            let finding = match names.has_registry {
                true => findings::level_key_unknown(text, &known),
                false => findings::level_key_unregistered(text, &known),
            };
            self.faults.add(finding.at(name.span.clone()));
        }
        None
    }

    /// Is the key's set of values public?
    fn public_key(&self, key: &Key, name: &Placed<String>, names: &Names) -> bool {
        let finding = match key {
            Key::Merchant if !names.has_registry => findings::registry_missing("merchant"),
            Key::Column(column) if !names.key_sets.contains_key(column) => {
                findings::key_set_missing(column)
            }
            _ => return true,
        };
        self.faults.add(finding.at(name.span.clone()));
        false
    }
}

/// Gives levels the weights that they have if the job states none.
fn weigh(levels: &mut [Level]) {
    let keys: Vec<&[Key]> = levels.iter().map(|level| &level.keys[..]).collect();
    let weights = default_weights(&keys);
    levels.iter_mut().zip(weights).for_each(|(level, weight)| level.weight = weight);
}

/// The statistics that a report needs.
fn needed(insights: &[Insight], selection: Option<PartitionSelection>) -> BTreeSet<StatisticKind> {
    let private = selection.is_some_and(|selection| selection != PartitionSelection::Public);
    // The score of private keys rests on customers, and they are what is discovered.
    let score = private.then_some(StatisticKind::Customers);
    insights.iter().flat_map(|insight| insight.statistics()).copied().chain(score).collect()
}

fn texts_of(keys: &[Placed<String>]) -> Vec<&str> {
    keys.iter().map(|key| key.value.as_str()).collect()
}
