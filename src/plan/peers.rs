//! Merchants among their peers: which peers a merchant has, and from which level a concentration is
//! computed. Both follow from the job and the public table of merchants.

use std::collections::BTreeMap;

use super::compared::{Fault, fault};
use super::{KeyValue, LevelPlan};
use crate::findings::{self, Finding};
use crate::job::{Comparison, Insight, Job, Key, Level, Registry, Report, StatisticKind};

/// The groups of merchants that are alike.
#[derive(Clone, Debug)]
pub struct PeerGroups {
    /// Columns of the table of merchants that its members have in common.
    pub attributes: Vec<String>,
    /// Registered merchants that a group has at least, to be compared.
    pub least: u32,
    /// Ids, ascending,
    ids: Vec<String>,
    /// with the group of each,
    group_of: Vec<u32>,
    /// and how many each group has.
    sizes: Vec<u32>,
}

impl PeerGroups {
    /// The groups of a report that asks for peers.
    fn new(report: &Report, registry: &Registry) -> Option<PeerGroups> {
        let (attributes, least) = (report.peers.0.clone(), report.peers_min.0);
        let columns: Option<Vec<&Vec<String>>> =
            attributes.iter().map(|name| registry.attributes.get(name)).collect();
        let columns = columns.filter(|columns| !columns.is_empty())?;
        let mut numbers = BTreeMap::new();
        let (mut group_of, mut sizes) = (Vec::new(), Vec::new());
        for merchant in 0..registry.ids.len() {
            let values: Vec<&str> = columns.iter().map(|column| &*column[merchant]).collect();
            let group: u32 = *numbers.entry(values).or_insert_with(|| {
                sizes.push(0);
                sizes.len() as u32 - 1
            });
            sizes[group as usize] += 1;
            group_of.push(group);
        }
        Some(PeerGroups { attributes, least, ids: registry.ids.clone(), group_of, sizes })
    }

    /// The group of a merchant, if it has members enough.
    pub fn group(&self, merchant: &KeyValue) -> Option<u32> {
        let KeyValue::Text(id) = merchant else { return None };
        let place = self.ids.binary_search_by(|known| known.as_str().cmp(id)).ok()?;
        let group = self.group_of[place];
        (self.sizes[group as usize] >= self.least).then_some(group)
    }

    fn largest(&self) -> u32 {
        self.sizes.iter().copied().max().unwrap_or(0)
    }
}

/// How a table compares merchants.
#[derive(Clone, Debug)]
pub struct PeersPlan {
    /// The groups of peers, at levels that name merchants.
    pub groups: Option<PeerGroups>,
    /// Registered merchants that a cell has at least, for its concentration to be told.
    pub least: u32,
    /// The place in the plan of the level that names the merchants of cells.
    pub named: Option<usize>,
}

/// Gives tables what they need to compare merchants.
pub(super) fn plan_peers(job: &Job, levels: &mut [LevelPlan]) {
    let Some(registry) = &job.registry else { return };
    for report in &job.reports {
        let groups = asks(report, Comparison::Rank)
            .or(asks(report, Comparison::Benchmark))
            .and_then(|_| PeerGroups::new(report, registry));
        let of_merchants: Vec<usize> = (0..levels.len())
            .filter(|&level| levels[level].is_of(&report.name))
            .filter(|&level| levels[level].keys.contains(&Key::Merchant))
            .collect();
        for level in 0..levels.len() {
            let own = rest(&levels[level].keys);
            let named = of_merchants.iter().copied().find(|&fine| rest(&levels[fine].keys) == own);
            let tables = levels[level].tables.iter_mut();
            for table in tables.filter(|table| table.report == report.name) {
                let asks = |i: &&Insight| i.compared().is_some_and(|(what, _)| what.needs_peers());
                if table.insights.iter().any(|insight| asks(&insight)) {
                    let groups = groups.clone().filter(|_| table.keys.contains(&Key::Merchant));
                    let named = named.filter(|_| groups.is_none());
                    table.peers = Some(PeersPlan { groups, least: report.peers_min.0, named });
                }
            }
        }
    }
}

/// The keys that do not tell merchants apart, in an order of their own.
fn rest(keys: &[Key]) -> Vec<&Key> {
    let apart = |key: &&Key| matches!(key, Key::Merchant | Key::MerchantAttribute(_));
    let mut rest: Vec<&Key> = keys.iter().filter(|key| !apart(key)).collect();
    rest.sort();
    rest
}

fn asks(report: &Report, wanted: Comparison) -> Option<&Insight> {
    let is = |i: &&Insight| i.compared().is_some_and(|(comparison, _)| comparison == wanted);
    report.insights.iter().find(is)
}

/// What stands against a concentration at a level that names no merchants.
pub(super) fn concentration_fault(job: &Job, report: &Report, level: &Level) -> Fault {
    if let Some(fault) = common_fault(job, report) {
        return Some(fault);
    }
    let own = rest(&level.keys);
    let named = |level: &&Level| level.keys.contains(&Key::Merchant);
    if !report.levels.iter().filter(named).any(|fine| rest(&fine.keys) == own) {
        let mut keys = vec!["\"merchant\"".to_owned()];
        keys.extend(own.iter().map(|key| format!("\"{}\"", key.name())));
        return fault(
            "the report has no level that names the merchants of its cells",
            format!("add the level [{}]", keys.join(", ")),
        );
    }
    let registry = job.registry.as_ref()?;
    let columns: Vec<&str> = level.keys.iter().filter_map(attribute).collect();
    let least = report.peers_min.0;
    let largest = largest(registry, &columns);
    (largest < least).then(|| {
        (
            format!("each of its cells has fewer than {least} registered merchants"),
            coarser(registry, &columns, least, "use fewer keys"),
        )
    })
}

/// What stands against counting the merchants of cells that have so much.
pub(super) fn above_fault(job: &Job, report: &Report, level: &Level, kind: StatisticKind) -> Fault {
    let asked = report.insights.iter().filter_map(|insight| insight.compared());
    let mut kinds = asked.filter(|(what, _)| *what == Comparison::Above).map(|(_, kind)| kind);
    let missing = kinds.find(|kind| !report.above.0.contains_key(kind)).unwrap_or(kind);
    if !report.above.0.contains_key(&missing) {
        let name = missing.name();
        return fault(
            format!("the report does not say how much of {name} merchants must have"),
            format!("add `above = {{ {name} = 100 }}`, or another number"),
        );
    }
    concentration_fault(job, report, level)
}

/// What stands against comparing a merchant with its peers.
pub(super) fn peers_fault(job: &Job, report: &Report) -> Fault {
    if let Some(fault) = common_fault(job, report) {
        return Some(fault);
    }
    let registry = job.registry.as_ref()?;
    if report.peers.0.is_empty() {
        let column = registry.columns.first().map_or("category", String::as_str);
        return fault(
            "the report does not say who a merchant's peers are",
            format!("add `peers = \"{column}\"`, or other columns of the table of merchants"),
        );
    }
    let groups = PeerGroups::new(report, registry)?;
    let names: Vec<&str> = groups.attributes.iter().map(String::as_str).collect();
    (groups.largest() < groups.least).then(|| {
        let why = format!(
            "no group of peers has {} registered merchants, the largest has {}",
            groups.least,
            groups.largest()
        );
        (why, coarser(registry, &names, groups.least, "name fewer columns in `peers`"))
    })
}

fn common_fault(job: &Job, report: &Report) -> Fault {
    if !report.selection.is_public() {
        let why = "merchants that are not shown would be missing among the others";
        return fault(why, "write `keys = \"public\"`");
    }
    if job.registry.is_none() {
        return fault(
            "there is no table of merchants that tells who they are",
            "add [merchants] with a public table of them",
        );
    }
    None
}

/// Of the columns the one that alone has a group large enough, as a thing to do.
fn coarser(registry: &Registry, columns: &[&str], least: u32, otherwise: &str) -> String {
    let alone = columns.iter().find(|column| largest(registry, &[column]) >= least);
    match alone.filter(|_| columns.len() > 1) {
        Some(column) => format!("{otherwise}: `{column}` alone has groups that are large enough"),
        None => format!("{otherwise}, or a lower `peers_min`, of at least 3"),
    }
}

fn attribute(key: &Key) -> Option<&str> {
    match key {
        Key::MerchantAttribute(name) => Some(name),
        _ => None,
    }
}

/// The most merchants that are alike in these columns.
fn largest(registry: &Registry, columns: &[&str]) -> u32 {
    let mut sizes: BTreeMap<Vec<&str>, u32> = BTreeMap::new();
    for merchant in 0..registry.ids.len() {
        let values = columns.iter().filter_map(|name| registry.attributes.get(*name));
        *sizes.entry(values.map(|column| &*column[merchant]).collect()).or_default() += 1;
    }
    sizes.into_values().max().unwrap_or(0)
}

/// Levels of a report that show none of its insights.
pub(super) fn bare(report: &Report, level: &Level) -> Option<Finding> {
    let (first, shown) = (report.insights.first()?, |i: &Insight| i.is_at(&level.keys));
    if report.insights.iter().any(shown) {
        return None;
    }
    let paired = level.keys.iter().any(|key| key.pairs_of().is_some());
    let (why, hint) = if paired {
        ("its cells are pairs, which have customers and lifts only", "add `customers` or `lift`")
    } else if report.insights.contains(&Insight::Lift) {
        (
            "pairs are judged by it, and nothing else is asked of it",
            "add an insight such as `customers`, so that the level shows something",
        )
    } else if level.keys.contains(&Key::Merchant) {
        (
            "it names merchants itself, and nothing else is asked of it",
            "add an insight such as `payments`, so that the level shows something",
        )
    } else {
        (
            "it names no merchant whose peers could be looked at",
            "add the key `merchant`, or put the level in a report without peers",
        )
    };
    Some(findings::insight_unfit(first.name(), &level.name(), why, hint).at(level.span.clone()))
}

/// Comparisons of merchants that no level of a report shows, one of each kind.
pub(super) fn unseen(report: &Report, first: &Level) -> Vec<Finding> {
    let unseen = |wanted: Comparison| {
        let insight = *asks(report, wanted)?;
        let shown = report.levels.iter().any(|level| insight.is_at(&level.keys));
        // Levels that show nothing have findings of their own.
        let alone = report.levels.iter().any(|level| bare(report, level).is_some());
        if shown || alone {
            return None;
        }
        let (why, hint) = match wanted {
            Comparison::Concentration | Comparison::Above => (
                "all levels of the report name merchants",
                "add a level without the key `merchant`",
            ),
            _ => ("no level of the report names merchants", "add a level with the key `merchant`"),
        };
        let finding = findings::insight_unfit(insight.name(), &first.name(), why, hint);
        Some(finding.at(first.span.clone()))
    };
    let of_many = [Comparison::Concentration, Comparison::Above];
    let all = of_many.into_iter().chain([Comparison::Rank, Comparison::Benchmark]);
    all.filter_map(unseen).collect()
}

/// Keys of a report about peers that none of its insights looks at.
pub(super) fn idle(report: &Report) -> Vec<Finding> {
    let of_peers = asks(report, Comparison::Rank).or(asks(report, Comparison::Benchmark));
    let of_many = asks(report, Comparison::Concentration).or(asks(report, Comparison::Above));
    let any = of_peers.or(of_many);
    let names = "sales_rank, sales_peer_benchmark";
    let peers = (!report.peers.0.is_empty() && of_peers.is_none())
        .then(|| findings::key_idle("peers", names).at(report.peers.1.clone()));
    let least = report.peers_min.1.as_ref().filter(|_| any.is_none()).map(|span| {
        let names = format!("{names}, sales_concentration");
        findings::key_idle("peers_min", &names).at(span.clone())
    });
    let counted = |kind: &&StatisticKind| {
        report.insights.contains(&Insight::Compared(Comparison::Above, **kind))
    };
    let above = report.above.0.keys().find(|kind| !counted(kind)).map(|kind| {
        let name = kind.name();
        let what = format!("{name}_above");
        findings::key_idle(&format!("above.{name}"), &what).at(report.above.1.clone())
    });
    peers.into_iter().chain(least).chain(above).collect()
}
