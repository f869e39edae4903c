//! The job file as written: a view on its TOML that remembers the place of everything and
//! collects every fault instead of stopping at the first.

use std::cell::RefCell;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::findings::{self, Finding};

/// A value with its place in the job file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// The faults found so far.
#[derive(Default)]
pub(super) struct Faults(RefCell<Vec<Finding>>);

impl Faults {
    pub(super) fn add(&self, finding: Finding) {
        self.0.borrow_mut().push(finding);
    }

    pub(super) fn into_findings(self) -> Vec<Finding> {
        self.0.into_inner()
    }
}

/// One table of the job file. Remembers which keys were asked for, so that [`Section::finish`]
/// can name those that nobody knows.
pub(super) struct Section<'a> {
    name: &'static str,
    table: &'a DeTable<'a>,
    span: Range<usize>,
    faults: &'a Faults,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    pub(super) fn new(
        name: &'static str,
        table: &'a DeTable<'a>,
        span: Range<usize>,
        faults: &'a Faults,
    ) -> Self {
        Section { name, table, span, faults, known: RefCell::default() }
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Where the value of a key is, else the section.
    pub(super) fn span_of(&self, key: &str) -> Range<usize> {
        self.table.get(key).map_or(self.span(), |value| value.span())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    fn get(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.borrow_mut().push(key);
        self.table.get(key)
    }

    fn wrong_type<T>(&self, key: &str, wanted: &str, value: &Spanned<DeValue>) -> Option<T> {
        let found = match value.get_ref() {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.faults.add(findings::value_type_wrong(key, wanted, found).at(value.span()));
        None
    }

    /// `get`, and a finding if the key is missing; `example` is a line to write.
    pub(super) fn require<T>(&self, key: &str, example: &str, value: Option<T>) -> Option<T> {
        if value.is_none() && !self.table.contains_key(key) {
            self.faults.add(findings::key_missing(self.name, key, example).at(self.span()));
        }
        value
    }

    pub(super) fn text(&self, key: &'static str) -> Option<Placed<String>> {
        let value = self.get(key)?;
        match value.get_ref().as_str() {
            Some(text) => Some(placed(text.to_owned(), value)),
            None => self.wrong_type(key, "a text in quotes", value),
        }
    }

    /// A decimal, as text or as a TOML number, exactly as written.
    pub(super) fn decimal(&self, key: &'static str) -> Option<Placed<String>> {
        let value = self.get(key)?;
        let text = decimal_text(value.get_ref()).map(|text| placed(text.to_owned(), value));
        text.or_else(|| self.wrong_type(key, "a decimal such as \"1.5\"", value))
    }

    /// One decimal, or a list of them.
    pub(super) fn decimals(&self, key: &'static str) -> Option<Vec<Placed<String>>> {
        let wanted = "a decimal, or a list with one for each level";
        let value = self.get(key)?;
        let read = |v: &Spanned<DeValue>| {
            let text = decimal_text(v.get_ref()).map(|text| placed(text.to_owned(), v));
            text.or_else(|| self.wrong_type(key, wanted, v))
        };
        match value.get_ref().as_array() {
            Some(array) => array.iter().map(read).collect(),
            None => Some(vec![read(value)?]),
        }
    }

    pub(super) fn boolean(&self, key: &'static str) -> Option<bool> {
        let value = self.get(key)?;
        value.get_ref().as_bool().or_else(|| self.wrong_type(key, "true or false", value))
    }

    pub(super) fn date(&self, key: &'static str) -> Option<Placed<chrono::NaiveDate>> {
        let value = self.get(key)?;
        let date = value
            .get_ref()
            .as_datetime()
            .filter(|d| d.time.is_none() && d.offset.is_none())
            .and_then(|d| d.date)
            .and_then(|d| {
                chrono::NaiveDate::from_ymd_opt(i32::from(d.year), d.month.into(), d.day.into())
            });
        match date {
            Some(date) => Some(placed(date, value)),
            None => self.wrong_type(key, "a date such as 2025-01-31, without quotes", value),
        }
    }

    /// One text, or a list of them.
    pub(super) fn texts(&self, key: &'static str) -> Option<Vec<Placed<String>>> {
        let value = self.get(key)?;
        self.text_list(key, value)
    }

    fn text_list(&self, key: &str, value: &'a Spanned<DeValue<'a>>) -> Option<Vec<Placed<String>>> {
        let wanted = "a text or a list of texts";
        if let Some(text) = value.get_ref().as_str() {
            return Some(vec![placed(text.to_owned(), value)]);
        }
        let Some(array) = value.get_ref().as_array() else {
            return self.wrong_type(key, wanted, value);
        };
        let read = |v: &Spanned<DeValue>| match v.get_ref().as_str() {
            Some(text) => Some(placed(text.to_owned(), v)),
            None => self.wrong_type(key, wanted, v),
        };
        array.iter().map(read).collect()
    }

    /// A list of lists of texts: the levels of a report.
    pub(super) fn text_lists(&self, key: &'static str) -> Option<Vec<Placed<Vec<Placed<String>>>>> {
        let value = self.get(key)?;
        let Some(array) = value.get_ref().as_array() else {
            return self.wrong_type(key, "a list of levels such as [[\"region\"]]", value);
        };
        let read = |v: &'a Spanned<DeValue<'a>>| {
            if !v.get_ref().is_array() {
                return self.wrong_type(key, "a list of keys such as [\"region\", \"week\"]", v);
            }
            Some(placed(self.text_list(key, v)?, v))
        };
        array.iter().map(read).collect()
    }

    /// All entries of this table, each a text or a list of texts: for names chosen by the user.
    pub(super) fn every_entry(&self) -> Vec<(Placed<String>, Vec<Placed<String>>)> {
        self.every_entry_but(&[])
    }

    /// The same without some, which are looked at by their names.
    pub(super) fn every_entry_but(
        &self,
        own: &[&str],
    ) -> Vec<(Placed<String>, Vec<Placed<String>>)> {
        let mut entries = Vec::new();
        for (key, value) in self.table.iter().filter(|(key, _)| !own.contains(&&**key.get_ref())) {
            let name = Placed { value: key.get_ref().to_string(), span: key.span() };
            if let Some(texts) = self.text_list(&name.value, value) {
                entries.push((name, texts));
            }
        }
        entries
    }

    pub(super) fn section(&self, key: &'static str, name: &'static str) -> Option<Section<'a>> {
        let value = self.get(key)?;
        match value.get_ref().as_table() {
            Some(table) => Some(Section::new(name, table, value.span(), self.faults)),
            None => self.wrong_type(key, "a table", value),
        }
    }

    pub(super) fn sections(&self, key: &'static str, name: &'static str) -> Vec<Section<'a>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            return self.wrong_type(key, "a list of tables: [[report]]", value).unwrap_or_default();
        };
        let read = |v: &'a Spanned<DeValue<'a>>| match v.get_ref().as_table() {
            Some(table) => Some(Section::new(name, table, v.span(), self.faults)),
            None => self.wrong_type(key, "a table", v),
        };
        array.iter().filter_map(read).collect()
    }

    /// Names every key that was never asked for.
    pub(super) fn finish(&self) {
        let known = self.known.borrow();
        for key in self.table.keys() {
            if !known.contains(&key.get_ref().as_ref()) {
                let finding = findings::key_unknown(self.name, key.get_ref(), &known);
                self.faults.add(finding.at(key.span()));
            }
        }
    }
}

fn placed<T>(value: T, at: &Spanned<DeValue>) -> Placed<T> {
    Placed { value, span: at.span() }
}

/// A decimal as it is written, whether as a text or as a number.
pub(super) fn decimal_text<'t>(value: &'t DeValue) -> Option<&'t str> {
    match value {
        DeValue::String(text) => Some(text),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str()),
        DeValue::Float(number) => Some(number.as_str()),
        _ => None,
    }
}
