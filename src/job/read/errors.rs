//! `error` of a report: how near to the truth values must be.

use std::collections::{BTreeMap, BTreeSet};

use super::Reader;
use crate::findings;
use crate::job::raw::{Placed, Section};
use crate::job::{Aim, PartitionSelection, Percent, StatisticKind, Unit};

/// What stands for a level of which nothing is asked.
const ANY: &str = "any";

impl Reader<'_> {
    /// By level, what is asked of its statistics.
    pub(super) fn errors(
        &self,
        section: &Section,
        needed: &BTreeSet<StatisticKind>,
        selection: Option<PartitionSelection>,
        levels: usize,
    ) -> Vec<BTreeMap<StatisticKind, Aim>> {
        let mut all = vec![BTreeMap::new(); levels];
        let Some(asked) = section.section("error", "`error`") else { return all };
        if selection.is_some_and(|selection| selection != PartitionSelection::Public) {
            let why = "nothing is known beforehand of private keys";
            self.faults.add(findings::error_unusable(why).at(asked.span()));
        }
        let stated = |kind: &StatisticKind| kind.facts().unit != Unit::Log;
        for kind in StatisticKind::ALL.into_iter().filter(stated) {
            let Some(texts) = asked.texts(kind.name()) else { continue };
            if !needed.contains(&kind) {
                let why = format!("no insight of this report needs `{}`", kind.name());
                self.faults.add(findings::error_unusable(&why).at(asked.span_of(kind.name())));
            }
            let aims: Vec<Option<Aim>> = texts.iter().map(|text| self.aim(text)).collect();
            match aims.len() {
                1 => all.iter_mut().for_each(|level| set(level, kind, aims[0].clone())),
                n if n == levels => {
                    all.iter_mut().zip(aims).for_each(|(level, aim)| set(level, kind, aim));
                }
                n => {
                    let finding = findings::bound_count_wrong(kind.name(), n, levels);
                    self.faults.add(finding.at(asked.span_of(kind.name())));
                }
            }
        }
        asked.finish();
        all
    }

    fn aim(&self, text: &Placed<String>) -> Option<Aim> {
        let error = Percent::parse(&text.value);
        if error.is_none() && text.value != ANY {
            let shown = format!("\"{}\"", text.value);
            let rule = format!("{}, or \"{ANY}\"", Percent::RULE);
            let finding = findings::value_out_of_range("error", &shown, &rule);
            self.faults.add(finding.at(text.span.clone()));
        }
        Some(Aim { error: error?, span: text.span.clone() })
    }
}

fn set(level: &mut BTreeMap<StatisticKind, Aim>, kind: StatisticKind, aim: Option<Aim>) {
    level.extend(aim.map(|aim| (kind, aim)));
}
