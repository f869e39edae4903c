//! Bounds, cell caps and weights of a report's levels.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::Reader;
use crate::findings;
use crate::job::raw::{Placed, Section};
use crate::job::split::WEIGHT_UNIT;
use crate::job::{Bound, Insight, StatisticKind, Unit};
use crate::privacy::Decimal;

/// A bound or cap in thousandths of a unit, with its text; `None`: not stated.
type Stated = Option<(u64, Placed<String>)>;

const COUNT_RULE: &str = "a decimal from 1 to 1000000000 with at most three places";
const MONEY_RULE: &str = "money in major units, from one minor unit to 10^12 minor units";

impl Reader<'_> {
    /// The stated weights; `None` if there are none.
    pub(super) fn weights(&self, section: &Section, levels: usize) -> Option<Vec<u32>> {
        let texts = section.decimals("weights")?;
        let read = |text| self.whole("weights", text, 1, 1000).unwrap_or(1) * WEIGHT_UNIT;
        let weights: Vec<u32> = texts.iter().map(read).collect();
        match weights.len() {
            1 => Some(vec![weights[0]; levels]),
            n if n == levels => Some(weights),
            n => {
                let finding = findings::bound_count_wrong("weights", n, levels);
                self.faults.add(finding.at(section.span_of("weights")));
                None
            }
        }
    }

    /// The bounds of each level, as far as stated, for each statistic that is needed.
    pub(super) fn bounds(
        &self,
        section: &Section,
        (needed, all_known): (&BTreeSet<StatisticKind>, bool),
        levels: usize,
        money_places: u32,
    ) -> Option<Vec<BTreeMap<StatisticKind, Bound>>> {
        let bounds = section.section("bounds", "`bounds`");
        let caps = section.section("cell_caps", "`cell_caps`");
        let mut all = vec![BTreeMap::new(); levels];
        let mut complete = true;
        let ask = section.boolean("survey").unwrap_or(false);
        if ask && bounds.is_none() {
            self.idle(section, "survey", "stated bounds");
        }
        // Bounds of logarithms follow from those of payments.
        if needed.contains(&StatisticKind::TicketLogs) {
            let bound = Bound::default();
            for level in &mut all {
                level.insert(StatisticKind::TicketLogs, bound);
            }
        }
        let stated = |kind: &StatisticKind| kind.facts().unit != Unit::Log;
        for kind in StatisticKind::ALL.into_iter().filter(stated) {
            let idle = bounds.iter().chain(&caps).filter(|s| s.has(kind.name()));
            for section in idle.filter(|_| all_known && !needed.contains(&kind)) {
                let insights = Insight::all().filter(|i| i.statistics().contains(&kind)).take(3);
                let insights: Vec<&str> = insights.map(Insight::name).collect();
                self.idle(section, kind.name(), &insights.join(", "));
            }
            let norms = bounds.as_ref().and_then(|s| s.decimals(kind.name()));
            let cell_caps = caps.as_ref().and_then(|s| s.decimals(kind.name()));
            let lists = [(bounds.as_ref(), norms), (caps.as_ref(), cell_caps)];
            let [norms, caps] = lists.map(|(section, texts)| match texts {
                Some(texts) => {
                    let span = section.map_or(0..0, |section| section.span_of(kind.name()));
                    self.per_level(kind, (&texts, span), levels, money_places)
                }
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
                    let surveyed = ask && norm.is_some();
                    let bound = Bound { norm_milli: norm, cell_cap_milli, surveyed };
                    all[level].insert(kind, bound);
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
        (texts, span): (&[Placed<String>], Range<usize>),
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
                self.faults.add(finding.at(span));
                None
            }
        }
    }
}
