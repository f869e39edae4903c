//! Payments that are in a table, not in files: `table` and `types` of `[payments]`.

use std::collections::BTreeMap;

use super::Reader;
use super::server::Servers;
use crate::findings;
use crate::job::raw::Section;
use crate::job::{ColumnType, SqlExpression, TableSource};

impl Reader<'_> {
    /// The table, if the job names one. What is about files then means nothing.
    pub(super) fn table(&self, section: &Section, servers: &Servers) -> Option<TableSource> {
        let name = section.text("table");
        let types = section.section("types", "`types` of [payments]");
        let server = self.server(section, servers);
        if !section.has("table") {
            for key in ["types", "engine"] {
                if section.has(key) {
                    self.idle(section, key, "payments in a `table`");
                }
            }
            return None;
        }
        for key in ["files", "format", "csv", "time_format", "quarantine"] {
            if section.has(key) {
                self.idle(section, key, "payments in files, and the job names a `table`");
            }
        }
        let example = "types = { user_token = \"text\", amount = \"integer\" }";
        let types = section.require("types", example, types)?;
        let name = name?;
        let parts = TableSource::parts(&name.value);
        if parts.is_none() {
            let shown = format!("{:?}", name.value);
            let rule = "a name of letters, digits, `_` and `-`, with dots between its parts; of files that \
                        Spark reads, a format and a plain path, as in parquet.`/lake/payments`";
            let finding = findings::value_out_of_range("table", &shown, rule);
            self.faults.add(finding.at(name.span.clone()));
        }
        let (mut known, mut places) = (BTreeMap::new(), BTreeMap::new());
        for (column, texts) in types.every_entry() {
            let kind = match &texts[..] {
                [text] => ColumnType::named(&text.value),
                _ => None,
            };
            if let Some(kind) = kind {
                places.insert(column.value.clone(), column.span);
                known.insert(column.value, kind);
                continue;
            }
            let shown: Vec<&str> = texts.iter().map(|text| text.value.as_str()).collect();
            let rule = ColumnType::ALL.map(ColumnType::name).join(", ");
            let shown = format!("\"{}\"", shown.join(", "));
            let finding = findings::value_out_of_range(&column.value, &shown, &rule);
            self.faults.add(finding.at(column.span));
        }
        let (name, span) = (parts?, name.span);
        Some(TableSource { name, span, types: known, places, server: server? })
    }

    /// Refuses columns of the table that an expression looks at and `types` does not tell of.
    pub(super) fn typed(&self, table: &TableSource, key: &str, expression: &SqlExpression) {
        for column in expression.columns() {
            if !table.types.contains_key(&column) {
                let kind = match key {
                    "time" => ColumnType::Instant,
                    "amount" => ColumnType::Integer,
                    _ => ColumnType::Text,
                };
                let finding = findings::column_untyped(key, &column, kind.name());
                self.faults.add(finding.at(expression.span.clone()));
            }
        }
    }
}
