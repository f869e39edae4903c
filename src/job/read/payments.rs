//! The section `[payments]`.

use std::ops::Range;
use std::path::Path;

use chrono::format::{Fixed, Item, StrftimeItems};
use iso_currency::Currency;

use super::Reader;
use super::server::Servers;
use crate::findings;
use crate::job::raw::{Placed, Section};
use crate::job::{
    CsvDialect, Format, PaymentsSource, Period, SqlExpression, TimeKey, Zoneless, money_places,
};
use crate::privacy::Decimal;

/// `[payments]`, and what reports must know of it even if part of it is wrong.
pub(super) struct Payments {
    pub(super) source: Option<PaymentsSource>,
    pub(super) facts: Facts,
}

/// What levels may refer to.
pub(super) struct Facts {
    /// Names of the columns that may be keys.
    pub(super) columns: Vec<String>,
    pub(super) has_merchant: bool,
    pub(super) has_currency_column: bool,
    pub(super) currencies: Vec<Currency>,
    /// Is `columns` there?
    pub(super) known: bool,
    /// Place of `ticket_edges` in the job file, if it states them.
    pub(super) ticket_edges: Option<Range<usize>>,
}

impl Facts {
    /// Of a job without `[payments]`.
    pub(super) const UNKNOWN: Facts = Facts {
        columns: Vec::new(),
        has_merchant: true,
        has_currency_column: false,
        currencies: Vec::new(),
        known: false,
        ticket_edges: None,
    };
}

/// The largest edge of the ticket histogram, in minor units: no payment of one currency is larger.
pub(super) const AMOUNT_MAX: i64 = 1_000_000_000_000;

#[derive(Default)]
struct Columns {
    user: Option<SqlExpression>,
    merchant: Option<SqlExpression>,
    time: Option<(SqlExpression, Option<String>)>,
    amount: Option<SqlExpression>,
    currency: Option<SqlExpression>,
    others: Vec<(String, SqlExpression)>,
}

impl Columns {
    /// All that there are, with their names.
    fn all(&self) -> impl Iterator<Item = (&str, &SqlExpression)> {
        let time = self.time.as_ref().map(|(time, _)| time);
        let own = [
            ("user", self.user.as_ref()),
            ("merchant", self.merchant.as_ref()),
            ("time", time),
            ("amount", self.amount.as_ref()),
            ("currency", self.currency.as_ref()),
        ];
        let own = own.into_iter().filter_map(|(name, column)| Some((name, column?)));
        own.chain(self.others.iter().map(|(name, column)| (name.as_str(), column)))
    }
}

impl Reader<'_> {
    pub(super) fn payments(&self, section: &Section, servers: &Servers) -> Payments {
        let files = section.texts("files");
        let table = self.table(section, servers);
        let files = self.files(section, files, section.has("table"));
        let format = section.text("format").and_then(|f| self.format(f));
        let csv = section.section("csv", "[payments.csv]").map(|s| self.csv(&s));
        self.refuse_csv(section, files.as_deref(), format);
        let filter = section.text("where").and_then(|w| self.sql("where", w));
        let zone = self.zone(section);
        let period = self.period(section);
        let example = "columns = { user = \"...\", merchant = \"...\", time = \"...\", \
                       amount = \"...\" }";
        let columns = section.section("columns", "`columns` of [payments]");
        let columns = section.require("columns", example, columns);
        let complete_columns = columns.is_some();
        let columns = columns.map(|s| self.columns(&s)).unwrap_or_default();
        let currencies = self.currencies(section, columns.currency.is_some());
        let zoneless = self.zoneless(section);
        let stated_format = section.text("time_format").and_then(|f| self.time_format(f));
        let max_bad_millionths = self.max_bad_millionths(section);
        let ticket_edges = self.ticket_edges(section, money_places(&currencies));
        let stated_edges = (!ticket_edges.is_empty() && section.has("ticket_edges"))
            .then(|| section.span_of("ticket_edges"));
        let quarantine = section.text("quarantine").map_or("quarantine".to_owned(), |q| q.value);
        section.finish();
        if let Some(table) = &table {
            filter.iter().for_each(|filter| self.typed(table, "where", filter));
            columns.all().for_each(|(name, column)| self.typed(table, name, column));
        }

        let facts = Facts {
            columns: columns.others.iter().map(|(name, _)| name.clone()).collect(),
            has_merchant: columns.merchant.is_some() || !complete_columns,
            has_currency_column: columns.currency.is_some(),
            currencies: currencies.clone(),
            known: complete_columns,
            ticket_edges: stated_edges,
        };
        let source = || {
            let files = files?;
            let (time, format_in_sql) = columns.time?;
            let span = files.first().map(|f| f.span.start..files[files.len() - 1].span.end);
            Some(PaymentsSource {
                span: span.or(table.as_ref().map(|table| table.span.clone()))?,
                folder: self.folder.to_owned(),
                patterns: files.iter().map(|f| self.path(&f.value)).collect(),
                table,
                format,
                csv: csv.unwrap_or(CsvDialect::DEFAULT),
                csv_at: section.has("csv").then(|| section.span_of("csv")),
                filter,
                user: columns.user?,
                merchant: columns.merchant,
                time,
                time_format: format_in_sql.or(stated_format),
                zoneless,
                amount: columns.amount?,
                currency: columns.currency,
                currencies,
                columns: columns.others,
                ticket_edges,
                period: period?,
                zone: zone?,
                max_bad_millionths,
                quarantine: self.path(&quarantine),
            })
        };
        Payments { source: source(), facts }
    }

    /// The patterns of `files`: at least one, or none where there is a table.
    fn files(
        &self,
        section: &Section,
        files: Option<Vec<Placed<String>>>,
        in_table: bool,
    ) -> Option<Vec<Placed<String>>> {
        if in_table {
            return Some(Vec::new());
        }
        let files = section.require("files", "files = [\"payments/*.parquet\"]", files);
        let rule = "a list of at least one file, pattern or folder";
        self.refuse_empty(section, "files", files.as_ref().map(Vec::len), rule);
        for blank in files.iter().flatten().filter(|file| file.value.trim().is_empty()) {
            let rule = "names of files, patterns or folders";
            let finding =
                findings::value_out_of_range("files", &format!("{:?}", blank.value), rule);
            self.faults.add(finding.at(blank.span.clone()));
        }
        files.filter(|files| !files.is_empty())
    }

    pub(super) fn format(&self, name: Placed<String>) -> Option<Format> {
        let format = match name.value.as_str() {
            "parquet" => Some(Format::Parquet),
            "csv" => Some(Format::Csv),
            "ipc" => Some(Format::Ipc),
            _ => None,
        };
        if format.is_none() {
            let shown = format!("\"{}\"", name.value);
            let rule = "\"parquet\", \"csv\" or \"ipc\"";
            self.faults.add(findings::value_out_of_range("format", &shown, rule).at(name.span));
        }
        format
    }

    fn csv(&self, section: &Section) -> CsvDialect {
        let character = |key, default: Option<u8>| {
            let Some(text) = section.text(key) else { return default };
            match text.value.as_bytes() {
                [] if key == "quote" => None,
                [byte] if byte.is_ascii() => Some(*byte),
                _ => {
                    let shown = format!("{:?}", text.value);
                    let finding = findings::value_out_of_range(key, &shown, "one ASCII character");
                    self.faults.add(finding.at(text.span));
                    default
                }
            }
        };
        let default = CsvDialect::DEFAULT;
        let separator = character("separator", Some(default.separator));
        let quote = character("quote", default.quote);
        let decimal = match section.text("decimal") {
            Some(text) if text.value == "," => ',',
            Some(text) if text.value != "." => {
                let shown = format!("{:?}", text.value);
                let finding = findings::value_out_of_range("decimal", &shown, "\".\" or \",\"");
                self.faults.add(finding.at(text.span));
                '.'
            }
            _ => '.',
        };
        let header = section.boolean("header").unwrap_or(default.header);
        section.finish();
        CsvDialect { separator: separator.unwrap_or(default.separator), quote, header, decimal }
    }

    pub(super) fn sql(&self, key: &str, text: Placed<String>) -> Option<SqlExpression> {
        SqlExpression::parse(key, &text.value, text.span).map_err(|f| self.faults.add(f)).ok()
    }

    fn columns(&self, section: &Section) -> Columns {
        let mut columns = Columns::default();
        let user = section.require("user", "user = \"user_token\"", section.text("user"));
        columns.user = user.and_then(|t| self.sql("user", t));
        columns.merchant = section.text("merchant").and_then(|t| self.sql("merchant", t));
        let time = section.require("time", "time = \"paid_at\"", section.text("time"));
        columns.time = time.and_then(|text| {
            let span = text.span.clone();
            let parsed = SqlExpression::parse_time(&text.value, text.span);
            let (expression, format) = parsed.map_err(|f| self.faults.add(f)).ok()?;
            let format = format.map(|value| self.time_format(Placed { value, span }));
            Some((expression, format.flatten()))
        });
        let amount = section.require("amount", "amount = \"amount\"", section.text("amount"));
        columns.amount = amount.and_then(|t| self.sql("amount", t));
        columns.currency = section.text("currency").and_then(|t| self.sql("currency", t));
        let own = ["user", "merchant", "time", "amount", "currency"];
        for (name, texts) in section.every_entry_but(&own) {
            if TimeKey::ALL.iter().any(|key| key.name() == name.value) {
                self.faults.add(findings::column_name_reserved(&name.value).at(name.span));
                continue;
            }
            let [text] = &texts[..] else {
                let finding = findings::value_type_wrong(&name.value, "a text", "a list");
                self.faults.add(finding.at(name.span));
                continue;
            };
            if let Some(expression) = self.sql(&name.value, text.clone()) {
                columns.others.push((name.value, expression));
            }
        }
        columns
    }

    fn time_format(&self, text: Placed<String>) -> Option<String> {
        let has = |wanted: Item| StrftimeItems::new(&text.value).any(|item| item == wanted);
        let wrong = if has(Item::Error) {
            "made of chrono's marks"
        } else if has(Item::Fixed(Fixed::TimezoneName)) {
            "without `%Z`, as names of zones are not understood: `%z` is for +0800 and the like, and a name \
             that all times have is written as it is, with `times_without_zone`"
        } else {
            return Some(text.value);
        };
        let shown = format!("\"{}\"", text.value);
        self.faults.add(findings::value_out_of_range("time_format", &shown, wrong).at(text.span));
        None
    }

    fn zone(&self, section: &Section) -> Option<chrono_tz::Tz> {
        let example = "timezone = \"Asia/Shanghai\"";
        let name = section.require("timezone", example, section.text("timezone"))?;
        let zone = name.value.parse().ok();
        if zone.is_none() {
            let known: Vec<&str> = chrono_tz::TZ_VARIANTS.iter().map(|tz| tz.name()).collect();
            self.faults.add(findings::timezone_unknown(&name.value, &known).at(name.span));
        }
        zone
    }

    fn period(&self, section: &Section) -> Option<Period> {
        let first = section.date("first_day");
        let first = section.require("first_day", "first_day = 2025-01-01", first);
        let last = section.date("last_day");
        let last = section.require("last_day", "last_day = 2025-03-31", last);
        let (first, last) = (first?, last?);
        let period = Period::new(first.value, last.value);
        if period.is_none() {
            let finding = findings::period_invalid(&first.value, &last.value, Period::DAYS_MAX);
            self.faults.add(finding.at(last.span));
        }
        period
    }

    fn currencies(&self, section: &Section, has_column: bool) -> Vec<Currency> {
        let codes = section.texts("currency");
        let codes = section.require("currency", "currency = \"CNY\"", codes);
        let mut currencies = Vec::new();
        for code in codes.iter().flatten() {
            match Currency::from_code(&code.value) {
                Some(currency) if currencies.contains(&currency) => {
                    let finding = findings::duplicate("the currency", &code.value);
                    self.faults.add(finding.at(code.span.clone()));
                }
                Some(currency) => currencies.push(currency),
                None => {
                    let finding = findings::currency_unknown(&code.value);
                    self.faults.add(finding.at(code.span.clone()));
                }
            }
        }
        let rule = "a list of at least one currency";
        self.refuse_empty(section, "currency", codes.as_ref().map(Vec::len), rule);
        let codes = codes.unwrap_or_default();
        if currencies.len() > 1 && !has_column {
            self.faults.add(findings::currency_column_missing().at(codes[0].span.clone()));
        }
        currencies
    }

    fn zoneless(&self, section: &Section) -> Zoneless {
        match section.text("times_without_zone") {
            Some(text) if text.value == "utc" => Zoneless::Utc,
            Some(text) if text.value != "local" => {
                let shown = format!("\"{}\"", text.value);
                let finding = findings::value_out_of_range(
                    "times_without_zone",
                    &shown,
                    "\"local\" or \"utc\"",
                );
                self.faults.add(finding.at(text.span));
                Zoneless::Local
            }
            _ => Zoneless::Local,
        }
    }

    /// Stated in major units, all with as many decimal places as money has.
    fn ticket_edges(&self, section: &Section, money_places: u32) -> Vec<i64> {
        let minor = |text: &str| {
            let edge = Decimal::parse(text).ok().and_then(|d| d.scaled(money_places));
            edge.and_then(|edge| i64::try_from(edge).ok()).filter(|e| (1..=AMOUNT_MAX).contains(e))
        };
        let default = || PaymentsSource::TICKET_EDGES.into_iter().filter_map(minor).collect();
        let Some(texts) = section.decimals("ticket_edges") else { return default() };
        let edges: Vec<i64> = texts.iter().filter_map(|text| minor(&text.value)).collect();
        let count = 1..=PaymentsSource::TICKET_EDGES_MAX;
        let good = edges.len() == texts.len() && edges.is_sorted_by(|a, b| a < b);
        if !good || !count.contains(&edges.len()) {
            let shown: Vec<&str> = texts.iter().map(|text| text.value.as_str()).collect();
            let shown = format!("[{}]", shown.join(", "));
            let rule = "1 to 31 ascending amounts in major units, each at least a minor unit";
            let finding = findings::value_out_of_range("ticket_edges", &shown, rule);
            self.faults.add(finding.at(section.span_of("ticket_edges")));
        }
        edges
    }

    fn max_bad_millionths(&self, section: &Section) -> u32 {
        let Some(text) = section.decimal("max_bad_share") else { return 10_000 };
        let millionths = Decimal::parse(&text.value).ok().and_then(|d| d.scaled(6));
        match millionths {
            Some(share) if (0..=1_000_000).contains(&share) => share as u32,
            _ => {
                let rule = "a decimal from 0 to 1 with at most six places";
                let finding = findings::value_out_of_range("max_bad_share", &text.value, rule);
                self.faults.add(finding.at(text.span));
                0
            }
        }
    }
}

impl CsvDialect {
    /// RFC 4180 with a header.
    pub const DEFAULT: CsvDialect =
        CsvDialect { separator: b',', quote: Some(b'"'), header: true, decimal: '.' };

    /// The fields of the first line that is not blank, as they are written there.
    pub(crate) fn first_line(&self, text: impl std::io::Read) -> Option<Vec<String>> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(self.separator)
            .quote(self.quote.unwrap_or_default())
            .quoting(self.quote.is_some())
            // A quote that is left open would make all of the file one line.
            .from_reader(text.take(1 << 20));
        let mut line = csv::ByteRecord::new();
        reader.read_byte_record(&mut line).ok()?;
        let field =
            |field| String::from_utf8_lossy(field).trim_start_matches('\u{feff}').to_owned();
        Some(line.iter().map(field).collect())
    }
}

impl Format {
    /// The format that a file's ending tells.
    pub fn of(path: &Path) -> Option<Format> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "parquet" | "pq" => Some(Format::Parquet),
            "csv" | "tsv" | "txt" => Some(Format::Csv),
            "arrow" | "ipc" | "feather" => Some(Format::Ipc),
            _ => None,
        }
    }
}
