//! `dominance` of `[merchants]`.

use super::Reader;
use crate::findings;
use crate::job::raw::Section;
use crate::job::{Dominance, Percent, StatisticKind};

/// The most merchants that a rule can be about.
const TOP_MAX: u32 = 5;

/// What merchants can dominate in, as job files write it.
const BY: [StatisticKind; 4] =
    [StatisticKind::Customers, StatisticKind::Payments, StatisticKind::Gross, StatisticKind::Sales];

impl Reader<'_> {
    /// Which merchants have too much of a cell.
    pub(super) fn dominance(&self, merchants: &Section) -> Option<Dominance> {
        let section = merchants.section("dominance", "[merchants] dominance")?;
        let top = section.require("top", "top = 1", section.decimal("top"));
        let top = top.and_then(|text| self.whole("top", &text, 1, TOP_MAX));
        let share = section.require("share", "share = \"50%\"", section.text("share"));
        let share = share.and_then(|text| {
            let share = Percent::parse(&text.value).filter(|share| share.value() < 1.0);
            if share.is_none() {
                let shown = format!("\"{}\"", text.value);
                let rule = "a percentage such as \"50%\", below 100%";
                let finding = findings::value_out_of_range("share", &shown, rule);
                self.faults.add(finding.at(text.span));
            }
            share
        });
        let by = section.require("by", "by = \"payments\"", section.text("by"));
        let by = by.and_then(|text| {
            let by = BY.into_iter().find(|kind| kind.name() == text.value);
            if by.is_none() {
                let shown = format!("\"{}\"", text.value);
                let rule = "one of customers, payments, gross and sales";
                self.faults.add(findings::value_out_of_range("by", &shown, rule).at(text.span));
            }
            by
        });
        section.finish();
        Some(Dominance { top: top?, share: share?, by: by?, span: section.span() })
    }
}
