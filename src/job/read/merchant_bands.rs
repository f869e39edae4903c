//! `bands` of `[merchants]`.

use std::collections::BTreeMap;

use super::Reader;
use super::payments::AMOUNT_MAX;
use crate::findings;
use crate::job::raw::Section;
use crate::job::{Bands, Key, Report, StatisticKind};
use crate::privacy::Decimal;

/// The most edges of the bands of one statistic.
const EDGES_MAX: usize = 12;

impl Reader<'_> {
    /// The bands in which hidden cells may be told.
    pub(super) fn merchant_bands(&self, merchants: &Section, money_places: u32) -> Option<Bands> {
        let section = merchants.section("bands", "[merchants] bands")?;
        let mut edges = BTreeMap::new();
        for kind in Bands::KINDS {
            let Some(texts) = section.decimals(kind.name()) else { continue };
            let places = if kind.is_money() { money_places } else { 0 };
            let edge = |text: &str| {
                let edge = Decimal::parse(text).ok().and_then(|d| d.scaled(places));
                let edge = edge.and_then(|edge| i64::try_from(edge).ok());
                edge.filter(|edge| (1..=AMOUNT_MAX).contains(edge))
            };
            let own: Vec<i64> = texts.iter().filter_map(|text| edge(&text.value)).collect();
            let wide = own.windows(2).all(|pair| pair[1] >= 2 * pair[0]);
            if own.len() != texts.len() || !wide || !(1..=EDGES_MAX).contains(&own.len()) {
                let shown: Vec<&str> = texts.iter().map(|text| text.value.as_str()).collect();
                let shown = format!("[{}]", shown.join(", "));
                let rule = "1 to 12 numbers above zero, each at least twice the one before it";
                let finding = findings::value_out_of_range(kind.name(), &shown, rule);
                self.faults.add(finding.at(section.span_of(kind.name())));
            }
            edges.insert(kind, own);
        }
        section.finish();
        if edges.len() > 1 || section.is_empty() {
            let names: Vec<&str> = edges.keys().map(|kind| kind.name()).collect();
            let shown =
                if names.is_empty() { "{}" } else { &format!("of {}", names.join(" and ")) };
            // Payments and sales of one cell would tell of each other.
            let rule = "edges of one of payments, gross and sales";
            self.faults.add(findings::value_out_of_range("bands", shown, rule).at(section.span()));
        }
        Some(Bands { edges, span: section.span() })
    }

    /// Bands of what no report shows.
    pub(super) fn idle_bands(&self, bands: Option<&Bands>, reports: &[Report]) {
        let Some(bands) = bands else { return };
        // Tables of private keys, homes and pairs have no bands.
        let apart = |key: &Key| key.home_of().is_some() || key.pairs_of().is_some();
        let can = |report: &&Report| {
            report.selection.is_public()
                && report.levels.iter().any(|level| !level.keys.iter().any(apart))
        };
        let shown = |kind: &StatisticKind| {
            let insights = reports.iter().filter(can).flat_map(|report| &report.insights);
            insights.filter_map(|insight| insight.banded()).any(|own| own == *kind)
        };
        for kind in bands.edges.keys().filter(|kind| !shown(kind)) {
            let what = format!(
                "reports with the insight `{}` and public keys, without homes and pairs",
                kind.name()
            );
            let finding = findings::key_idle(&format!("bands.{}", kind.name()), &what);
            self.faults.add(finding.at(bands.span.clone()));
        }
    }
}
