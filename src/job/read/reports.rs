//! The sections `[[report]]`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::Reader;
use super::payments::Facts;
use super::shown::{needed_at, placed_names};
use crate::findings;
use crate::job::raw::{Placed, Section};
use crate::job::split::{WEIGHT_UNIT, default_weights};
use crate::job::{
    Bound, EarlierJob, Insight, Key, Level, PartitionSelection, Percent, Registry, Report,
    StatisticKind, TimeKey, Unit, money_places,
};
use crate::privacy::Decimal;

/// The most cells of one user that count at a level with private keys, unless the job says else.
const CELLS_MAX_DEFAULT: u32 = 256;

/// The relative error above which estimates are not shown, unless the job says else.
const SUPPRESS_ABOVE: &str = "50%";

/// Days before a cell that tell whether a customer is new, unless the job says else.
const LOOK_BACK_DEFAULT: u32 = 90;

/// A bound or cap in thousandths of a unit, with its text; `None`: not stated.
type Stated = Option<(u64, Placed<String>)>;

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
        let selection = self.selection(section);
        let insights = self.insights(section, names.facts.currencies.len());
        let look_back = self.look_back(section);
        let keys_from = self.keys_from(section, selection);
        let earlier = |job: Placed<String>| EarlierJob { job: job.value, span: job.span };
        let previous = section.text("previous").map(earlier);
        let suppress_above = self.suppress_above(section);
        let share_of = section.texts("share_of").map(placed_names);
        let base = section.date("base").map(|base| (base.value, base.span));
        let (peers, peers_min) = self.peers(section, names, lenient);
        let partition_by = self.partition_by(section, lists.as_deref().unwrap_or_default());
        let weights = self.weights(section, lists.as_ref().map_or(0, Vec::len));

        let count = lists.as_ref().map_or(0, Vec::len);
        let needed: BTreeSet<StatisticKind> =
            insights.iter().flatten().flat_map(|i| i.statistics()).copied().collect();
        let private = matches!(selection, Some(PartitionSelection::Private { .. }));
        // The score of private keys rests on customers.
        let needed = needed.into_iter().chain(private.then_some(StatisticKind::Customers));
        let places = money_places(&names.facts.currencies);
        let bounds = self.bounds(section, &needed.collect(), count, places);
        section.finish();

        let mut levels = Some(Vec::new());
        let mut seen = BTreeSet::new();
        for (index, list) in lists?.into_iter().enumerate() {
            let keys = self.level(&list, names, selection, lenient);
            let sorted = keys.as_ref().map(|keys| keys.iter().cloned().collect::<BTreeSet<_>>());
            if let Some(sorted) = sorted.filter(|_| !lenient)
                && !seen.insert(sorted)
            {
                let shown = format!("{:?}", texts_of(&list.value));
                self.faults.add(findings::duplicate("the level", &shown).at(list.span.clone()));
            }
            let bounds = bounds
                .as_ref()
                .map(|all| needed_at(all[index].clone(), keys.as_deref(), insights.as_deref()));
            let level = keys.zip(bounds).map(|(keys, bounds)| Level {
                keys,
                span: list.span.clone(),
                look_back: look_back.unwrap_or(LOOK_BACK_DEFAULT),
                weight: weights.as_ref().map_or(0, |weights| weights[index]),
                bounds,
            });
            levels = levels.zip(level).map(|(mut all, one)| {
                all.push(one);
                all
            });
        }
        let (mut levels, selection, insights) = (levels?, selection?, insights?);
        if weights.is_none() {
            let keys: Vec<&[Key]> = levels.iter().map(|level| &level.keys[..]).collect();
            let weights = default_weights(&keys);
            levels.iter_mut().zip(weights).for_each(|(level, weight)| level.weight = weight);
        }
        Some(Report {
            name: name?,
            levels,
            selection,
            insights,
            share_of,
            peers,
            peers_min,
            partition_by,
            base,
            suppress_above,
            keys_from,
            previous,
        })
    }

    fn look_back(&self, section: &Section) -> Option<u32> {
        let text = section.decimal("look_back");
        text.map_or(Some(LOOK_BACK_DEFAULT), |text| self.whole("look_back", &text, 1, 3660))
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
        if selection == Some(PartitionSelection::Public)
            && let Some(first) = jobs.first()
        {
            let why = "public keys are all shown anyway: leave `keys_from` out";
            self.faults.add(findings::keys_from_unusable(&first.value, why).at(first.span.clone()));
        }
        jobs.into_iter().map(|job| EarlierJob { job: job.value, span: job.span }).collect()
    }

    fn selection(&self, section: &Section) -> Option<PartitionSelection> {
        let keys = section.require("keys", "keys = \"public\"", section.text("keys"));
        let cells_max = section.decimal("cells_max");
        let cells_max = cells_max
            .map_or(Some(CELLS_MAX_DEFAULT), |text| self.whole("cells_max", &text, 1, 1_000_000));
        let keys = keys?;
        match keys.value.as_str() {
            "public" => Some(PartitionSelection::Public),
            "private" => Some(PartitionSelection::Private { cells_max: cells_max? }),
            _ => {
                let shown = format!("\"{}\"", keys.value);
                let rule = "\"public\" or \"private\"";
                self.faults.add(findings::value_out_of_range("keys", &shown, rule).at(keys.span));
                None
            }
        }
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

    /// The stated weights; `None` if there are none.
    fn weights(&self, section: &Section, levels: usize) -> Option<Vec<u32>> {
        let texts = section.decimals("weights")?;
        let read = |text| self.whole("weights", text, 1, 1000).unwrap_or(1) * WEIGHT_UNIT;
        let weights: Vec<u32> = texts.iter().map(read).collect();
        match weights.len() {
            1 => Some(vec![weights[0]; levels]),
            n if n == levels => Some(weights),
            n => {
                let finding = findings::bound_count_wrong("weights", n, levels);
                self.faults.add(finding.at(section_start(&texts)));
                None
            }
        }
    }

    fn insights(&self, section: &Section, currencies: usize) -> Option<Vec<Insight>> {
        let example = "insights = [\"customers\", \"payments\", \"sales\", \"average_ticket\"]";
        let names = section.require("insights", example, section.texts("insights"))?;
        if names.is_empty() {
            let rule = "a list of at least one insight";
            let finding = findings::value_out_of_range("insights", "[]", rule);
            self.faults.add(finding.at(section.span()));
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
                    let why = "tickets of several currencies have no order: pick one";
                    let finding = findings::insight_unusable(&name.value, why);
                    self.faults.add(finding.at(name.span));
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
        if !lenient {
            let mut known: Vec<&str> = TimeKey::ALL.map(TimeKey::name).to_vec();
            known.extend(names.facts.has_merchant.then_some("merchant"));
            known.extend(names.facts.has_currency_column.then_some("currency"));
            known.extend(names.facts.columns.iter().map(String::as_str));
            known.extend(names.attributes.iter().map(String::as_str));
            let finding = findings::level_key_unknown(text, &known);
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

    /// The bounds of each level, as far as stated, for each statistic that is needed.
    fn bounds(
        &self,
        section: &Section,
        needed: &BTreeSet<StatisticKind>,
        levels: usize,
        money_places: u32,
    ) -> Option<Vec<BTreeMap<StatisticKind, Bound>>> {
        let bounds = section.section("bounds", "`bounds`");
        let caps = section.section("cell_caps", "`cell_caps`");
        let mut all = vec![BTreeMap::new(); levels];
        let mut complete = true;
        // Bounds of logarithms follow from those of payments.
        if needed.contains(&StatisticKind::TicketLogs) {
            let bound = Bound::default();
            for level in &mut all {
                level.insert(StatisticKind::TicketLogs, bound);
            }
        }
        let stated = |kind: &StatisticKind| kind.facts().unit != Unit::Log;
        for kind in StatisticKind::ALL.into_iter().filter(stated) {
            let norms = bounds.as_ref().and_then(|s| s.decimals(kind.name()));
            let cell_caps = caps.as_ref().and_then(|s| s.decimals(kind.name()));
            let lists = [(bounds.as_ref(), norms), (caps.as_ref(), cell_caps)];
            let [norms, caps] = lists.map(|(section, texts)| match texts {
                Some(texts) => self.per_level(kind, &texts, levels, money_places),
                // What could not be read has a finding.
                None if section.is_some_and(|s| s.has(kind.name())) => None,
                None => Some(vec![None; levels]),
            });
            let Some((norms, caps)) = norms.zip(caps) else {
                complete = false;
                continue;
            };
            for (level, (norm, cap)) in norms.into_iter().zip(caps).enumerate() {
                let norm = norm.map(|(milli, _)| milli);
                if let (Some(norm), Some((cap, text))) = (norm, &cap)
                    && *cap > norm
                {
                    let rule = "at most the bound of its norm";
                    let finding = findings::bound_invalid(kind.name(), &text.value, rule);
                    self.faults.add(finding.at(text.span.clone()));
                }
                if needed.contains(&kind) {
                    let cell_cap_milli = cap.map(|(milli, _)| milli);
                    all[level].insert(kind, Bound { norm_milli: norm, cell_cap_milli });
                }
            }
        }
        for section in bounds.iter().chain(&caps) {
            section.finish();
        }
        complete.then_some(all)
    }

    /// One value a level, in thousandths of the statistic's unit, with its text.
    fn per_level(
        &self,
        kind: StatisticKind,
        texts: &[Placed<String>],
        levels: usize,
        money_places: u32,
    ) -> Option<Vec<Stated>> {
        let (scale, limit, rule) = match kind.facts().unit {
            Unit::Money => (money_places + 3, 10u64.pow(15), MONEY_RULE),
            Unit::Count | Unit::Log => (3, 10u64.pow(12), COUNT_RULE),
        };
        let read = |text: &Placed<String>| {
            let milli = Decimal::parse(&text.value).ok().and_then(|d| d.scaled(scale));
            let milli = milli.and_then(|m| u64::try_from(m).ok());
            let milli = milli.filter(|m| (1000..=limit).contains(m));
            if milli.is_none() {
                let finding = findings::bound_invalid(kind.name(), &text.value, rule);
                self.faults.add(finding.at(text.span.clone()));
            }
            Some((milli?, text.clone()))
        };
        let values: Vec<_> = texts.iter().map(read).filter(Option::is_some).collect();
        match values.len() {
            n if n < texts.len() => None,
            1 => Some(vec![values[0].clone(); levels]),
            n if n == levels => Some(values),
            n => {
                let finding = findings::bound_count_wrong(kind.name(), n, levels);
                self.faults.add(finding.at(section_start(texts)));
                None
            }
        }
    }
}

const COUNT_RULE: &str = "a decimal from 1 to 1000000000 with at most three places";
const MONEY_RULE: &str = "money in major units, from one minor unit to 10^12 minor units";

pub(super) fn section_start(texts: &[Placed<String>]) -> Range<usize> {
    texts.first().map_or(0..0, |text| text.span.clone())
}

fn texts_of(keys: &[Placed<String>]) -> Vec<&str> {
    keys.iter().map(|key| key.value.as_str()).collect()
}
