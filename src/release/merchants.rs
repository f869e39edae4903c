//! What the manifest says of merchants: the second promise, and the cells that are hidden for it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::job::{Bands, Comparison, StatisticKind};
use crate::plan::{KeyValue, LevelBands, LevelPlan, PeersPlan, Plan, TablePlan};

/// The second promise (`docs/merchants.md`): public facts, of which no payment decides.
#[derive(Clone, Debug, Serialize)]
pub(super) struct MerchantsEntry {
    /// Whatever is told, alone or together, is about so many registered merchants or more.
    min_per_cell: u32,
    /// By noised values, too: cells are hidden of which few merchants may have too much.
    #[serde(skip_serializing_if = "Option::is_none")]
    dominance: Option<DominanceEntry>,
    hidden: Vec<HiddenEntry>,
    /// By statistic the edges of the bands in which some of these are told, in major units.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    bands: BTreeMap<&'static str, Vec<String>>,
}

#[derive(Clone, Debug, Serialize)]
struct DominanceEntry {
    /// So many merchants
    top: u32,
    /// have at most this share of a cell,
    share: f64,
    /// of this statistic,
    by: &'static str,
    /// by the noised values of this level, which is not shown.
    judged_by: String,
}

/// The cells of a table that are hidden, by its keys that tell merchants apart.
#[derive(Clone, Debug, Serialize)]
struct HiddenEntry {
    file: String,
    keys: Vec<String>,
    values: Vec<Vec<String>>,
    /// Those of them that may be told in bands.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    in_bands: Vec<Vec<String>>,
}

/// How a table compares merchants.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PeersEntry {
    /// Columns of the table of merchants in which peers are alike.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    alike_in: Vec<String>,
    /// Of fewer registered merchants nothing is told.
    min: u32,
    /// The table that names the merchants of this one's cells.
    #[serde(skip_serializing_if = "Option::is_none")]
    merchants_of: Option<String>,
}

impl PeersEntry {
    pub(super) fn new(plan: &Plan, peers: &PeersPlan) -> PeersEntry {
        let groups = peers.groups.as_ref();
        PeersEntry {
            alike_in: groups.map_or_else(Vec::new, |groups| groups.attributes.clone()),
            min: peers.least,
            merchants_of: peers.named.map(|level| format!("{}.parquet", plan.levels[level].file)),
        }
    }
}

impl MerchantsEntry {
    /// `None`: nothing is promised.
    pub(super) fn new(plan: &Plan) -> Option<MerchantsEntry> {
        let min_per_cell = plan.merchants?.least;
        let hidden = plan.levels.iter().flat_map(hidden_cells).collect();
        let dominance = plan.dominance().map(|(rule, (level, _))| DominanceEntry {
            top: rule.top,
            share: rule.share.value(),
            by: rule.by.name(),
            judged_by: format!("{}.parquet", plan.levels[level].file),
        });
        let bands = plan.job.registry.as_ref().and_then(|registry| registry.bands.as_ref());
        let edges = bands.into_iter().flat_map(|bands| &bands.edges);
        let edges = edges.map(|(kind, edges)| {
            let places = if kind.is_money() { plan.job.payments.money_places() } else { 0 };
            let texts = edges.iter().map(|&edge| Bands::edge(edge, places)).collect();
            (kind.name(), texts)
        });
        Some(MerchantsEntry { min_per_cell, dominance, hidden, bands: edges.collect() })
    }
}

fn hidden_cells(level: &LevelPlan) -> impl Iterator<Item = HiddenEntry> {
    let (keys, groups) = level.hidden_groups();
    let sellers = level.cells.sellers().unwrap_or_default();
    let told = level.bands.iter().flat_map(LevelBands::told).map(|group| &sellers[group]);
    let text = |value: &KeyValue| match value {
        KeyValue::Text(text) => text.to_string(),
        other => format!("{other:?}"),
    };
    let texts = |group: &Vec<KeyValue>| group.iter().map(text).collect();
    let values: Vec<Vec<String>> = groups.iter().map(texts).collect();
    let in_bands: Vec<Vec<String>> = told.map(texts).collect();
    let keys: Vec<String> = keys.into_iter().map(str::to_owned).collect();
    let tables = level.tables.iter().filter(|_| !level.hidden.is_empty()).cloned();
    tables.map(move |table| HiddenEntry {
        file: format!("{}.parquet", table.file),
        keys: keys.clone(),
        values: values.clone(),
        in_bands: if table.bands.is_empty() { Vec::new() } else { in_bands.clone() },
    })
}

/// What merchants have at least to be counted, where the table counts them.
pub(super) fn above(plan: &Plan, table: &TablePlan) -> BTreeMap<&'static str, String> {
    let asked = table.insights.iter().filter_map(|insight| insight.compared());
    let asked = asked.filter(|(comparison, _)| *comparison == Comparison::Above);
    let least = |(_, kind): (_, StatisticKind)| {
        let places = if kind.is_money() { plan.job.payments.money_places() } else { 0 };
        Some((kind.name(), Bands::edge(*table.above.get(&kind)?, places)))
    };
    asked.filter_map(least).collect()
}
