//! The section `[expect]`.

use super::Reader;
use crate::findings;
use crate::job::Expect;
use crate::job::raw::{Placed, Section};
use crate::privacy::Decimal;

/// The most that may be expected of users, payments or minor units.
const MOST: i128 = 1_000_000_000_000_000;

impl Reader<'_> {
    pub(super) fn expect(&self, section: &Section, money_places: u32) -> Option<Expect> {
        let text = section.require("users", "users = \"100000\"", section.decimal("users"));
        let users = text.and_then(|text| self.expected("users", &text, 0));
        let text = section.decimal("payments");
        let text = section.require("payments", "payments = \"900000\"", text);
        let payments = text.as_ref().and_then(|text| self.expected("payments", text, 0));
        let text_of_sales = section.decimal("sales");
        let sales = text_of_sales.map(|text| self.expected("sales", &text, money_places));
        section.finish();
        let (users, payments) = (users?, payments?);
        if payments < users {
            let text = text?;
            let rule = "at least as much as `users`, who pay at least once each";
            let finding = findings::value_out_of_range("payments", &text.value, rule);
            self.faults.add(finding.at(text.span));
            return None;
        }
        Some(Expect { users, payments, sales: sales.flatten() })
    }

    fn expected(&self, key: &str, text: &Placed<String>, places: u32) -> Option<f64> {
        let number = Decimal::parse(&text.value).ok().and_then(|d| d.scaled(places));
        let number = number.filter(|n| (1..=MOST).contains(n));
        if number.is_none() {
            let rule = match key {
                "sales" => "money in major units, from one minor unit to 10^15 minor units",
                _ => "a whole number from 1 to 10^15",
            };
            let finding = findings::value_out_of_range(key, &text.value, rule);
            self.faults.add(finding.at(text.span.clone()));
        }
        number.map(|n| n as f64)
    }
}
