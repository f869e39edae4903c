//! The section `[merchants]`.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;

use super::Reader;
use super::payments::Facts;
use crate::findings;
use crate::job::raw::{Placed, Section};
use crate::job::{Bands, Dominance, Format, Insight, Key, Registry, Report, money_places};

/// The most that `min_per_cell` can be: what more merchants together could tell is not looked at.
const MIN_PER_CELL_MAX: u32 = 5;

/// Where the table of merchants is and which columns it has.
pub(super) struct RegistryPlace {
    path: PathBuf,
    shown: String,
    span: Range<usize>,
    format: Format,
    id: String,
    pub(super) columns: Vec<String>,
    /// The column by which tickets are alike.
    ticket_groups: Option<Placed<String>>,
    min_per_cell: Option<(u32, Range<usize>)>,
    dominance: Option<Dominance>,
    bands: Option<Bands>,
}

impl Reader<'_> {
    pub(super) fn registry_place(&self, section: &Section, facts: &Facts) -> Option<RegistryPlace> {
        let files = section.texts("files");
        let files = section.require("files", "files = \"merchants.parquet\"", files);
        let id = section.text("id").map_or("merchant_id".to_owned(), |id| id.value);
        let format = section.text("format").and_then(|f| self.format(f));
        let ticket_groups = section.text("ticket_groups");
        let min_per_cell = section.decimal("min_per_cell").and_then(|text| {
            let least = self.whole("min_per_cell", &text, 1, MIN_PER_CELL_MAX)?;
            Some((least, text.span))
        });
        let dominance = self.dominance(section);
        let bands = self.merchant_bands(section, money_places(&facts.currencies));
        section.finish();
        if !facts.has_merchant {
            let example = "columns.merchant = \"merchant_id\"";
            let finding = findings::key_missing("[payments]", "columns.merchant", example);
            self.faults.add(finding.at(section.span()));
        }
        let files = files?;
        let [file] = &files[..] else {
            let finding = findings::registry_invalid("of this job", "must be one file");
            self.faults.add(finding.at(section.span()));
            return None;
        };
        let path = self.path(&file.value);
        let Some(format) = format.or_else(|| Format::of(&path)) else {
            let why = "has an ending that tells no format: add `format`";
            let finding = findings::registry_invalid(&file.value, why);
            self.faults.add(finding.at(file.span.clone()));
            return None;
        };
        match Registry::columns(&path, &file.value, format, &id) {
            Ok(columns) => {
                let (shown, span) = (file.value.clone(), file.span.clone());
                if let Some(name) = ticket_groups.as_ref().filter(|n| !columns.contains(&n.value)) {
                    let known: Vec<&str> = columns.iter().map(String::as_str).collect();
                    let finding = findings::level_key_unknown(&name.value, &known);
                    self.faults.add(finding.at(name.span.clone()));
                    return None;
                }
                let place = RegistryPlace {
                    path,
                    shown,
                    span,
                    format,
                    id,
                    columns,
                    ticket_groups,
                    min_per_cell,
                    dominance,
                    bands,
                };
                Some(place)
            }
            Err(finding) => {
                self.faults.add(finding.at(file.span.clone()));
                None
            }
        }
    }

    pub(super) fn registry(&self, place: RegistryPlace, reports: &[Report]) -> Option<Registry> {
        let keys = reports.iter().flat_map(|r| &r.levels).flat_map(|level| &level.keys);
        let attributes: BTreeSet<String> = keys
            .filter_map(|key| match key {
                Key::MerchantAttribute(name) => Some(name.clone()),
                _ => key.home_of().or(key.pairs_of()).map(str::to_owned),
            })
            .collect();
        let quantiles = |report: &Report| report.insights.contains(&Insight::TicketQuantiles);
        if let Some(name) = place.ticket_groups.as_ref().filter(|_| !reports.iter().any(quantiles))
        {
            let finding = findings::key_idle("ticket_groups", "ticket_quantiles");
            self.faults.add(finding.at(name.span.clone()));
        }
        let RegistryPlace { path, shown, span, format, id, columns, ticket_groups, .. } = place;
        let (min_per_cell, dominance, bands) = (place.min_per_cell, place.dominance, place.bands);
        self.idle_bands(bands.as_ref(), reports);
        let groups = ticket_groups.iter().map(|name| name.value.clone());
        let peers = reports.iter().flat_map(|report| report.peers.0.iter().cloned());
        let peers = peers.filter(|name| columns.contains(name));
        let attributes: BTreeSet<String> =
            attributes.into_iter().chain(groups).chain(peers).collect();
        let attributes: Vec<String> = attributes.into_iter().collect();
        let registry = Registry::read(&path, &shown, format, &id, columns, &attributes)
            .map_err(|finding| self.faults.add(finding.at(span.clone())))
            .ok()?;
        if let Some(name) = &ticket_groups {
            let values: BTreeSet<&String> = registry.attributes[&name.value].iter().collect();
            if values.len() > Registry::TICKET_GROUPS_MAX {
                let rule = "a column with at most 200 values";
                let finding = findings::value_out_of_range("ticket_groups", &name.value, rule);
                self.faults.add(finding.at(name.span.clone()));
                return None;
            }
        }
        let ticket_groups = ticket_groups.map(|name| name.value);
        Some(Registry { ticket_groups, min_per_cell, dominance, bands, span, ..registry })
    }
}
