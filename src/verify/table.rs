//! The tables: do they have the columns, types and footers that `docs/schema.md` promises?

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Date32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use super::classes::{self, COHORT, DIFFUSION, DIFFUSION_YEAR, RATE};
use super::manifest::{KeySet, Manifest};
use super::parts::NamedKey;

/// Version of the tables' schema that this program knows.
const SCHEMA_VERSION: &str = "3";

/// What the names of an insight's columns end in.
pub(super) const SUFFIXES: [&str; 7] =
    ["", "_low", "_high", "_grade", "_suppressed", "_unbiased", "_sd"];

/// What the values of an insight are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Numbers of users, payments or days.
    Count,
    /// One such number in each of several columns.
    Counts,
    Money,
    /// Of its first statistic for each unit of the second: money,
    MoneyPer,
    /// or a plain number.
    Per,
    /// All numbers of its statistic but the first, of all of them.
    Share,
    /// Of three numbers by how much more of all the first is than the last; 100 if as much.
    Balance,
    /// In several columns, a number of its statistic for each unit of the first one.
    Rates,
    /// Money in several columns, each no less than the one before.
    Quantiles,
    /// Of its statistic in a cell, for each unit in other cells.
    Compared,
    /// How concentrated a cell is, or where one is among others: with a band.
    Banded(Bands),
    /// How many merchants have so much.
    Above,
    /// The quarters of other cells: counts in several columns,
    Quarters,
    /// or money.
    MoneyQuarters,
}

/// The upper ends of bands with their names; what has several is `unsure`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bands {
    Concentration,
    Rank,
}

impl Bands {
    pub(super) fn ends(self) -> &'static [(f64, &'static str)] {
        match self {
            Bands::Concentration => &[(1e3, "low"), (1.8e3, "moderate"), (1e4, "high")],
            Bands::Rank => {
                &[(0.1, "top 10 %"), (0.25, "top 25 %"), (0.5, "top 50 %"), (1.0, "rest")]
            }
        }
    }

    /// The band of an interval.
    pub(super) fn of(self, low: f64, high: f64) -> &'static str {
        let last = self.ends().len() - 1;
        let band = |end: f64| self.ends().iter().position(|(to, _)| end <= *to).unwrap_or(last);
        if band(low) == band(high) { self.ends()[band(low)].1 } else { "unsure" }
    }
}

impl Form {
    /// Can a noised value be null, as there is nothing to divide by?
    fn is_ratio(self) -> bool {
        !matches!(self, Form::Count | Form::Counts | Form::Money)
    }

    /// Has it several columns?
    fn has_parts(self) -> bool {
        matches!(self, Form::Counts | Form::Rates | Form::Quantiles)
            || matches!(self, Form::Quarters | Form::MoneyQuarters)
    }

    pub(super) fn bands(self) -> Option<Bands> {
        match self {
            Form::Banded(bands) => Some(bands),
            _ => None,
        }
    }

    /// Half the width of an interval, or the part of it between estimate and zero if that is more,
    /// against the estimate; of ranks the width against all ranks.
    pub(super) fn relative_error(self, [low, value, high]: [f64; 3]) -> f64 {
        match self {
            Form::Banded(Bands::Rank) => high - low,
            _ if value < 0.0 => f64::max(high - value, (high - low) / 2.0) / -value,
            _ => f64::max(value - low, (high - low) / 2.0) / value,
        }
    }

    /// How many columns it has, or each part of it.
    fn width(self) -> usize {
        SUFFIXES.len() + usize::from(self.bands().is_some())
    }
}

/// Each insight with the statistics it is computed from, in the order of columns.
pub(super) const INSIGHTS: [(&str, &[&str], Form); 23] = [
    ("customers", &["customers"], Form::Count),
    ("payments", &["payments"], Form::Count),
    ("gross", &["gross"], Form::Money),
    ("refunds", &["refunds"], Form::Money),
    ("refund_rate", &["refunds", "gross"], Form::Per),
    ("sales", &["sales"], Form::Money),
    ("average_ticket", &["sales", "payments"], Form::MoneyPer),
    ("spend_per_customer", &["sales", "customers"], Form::MoneyPer),
    ("new_customers", &["new_returning"], Form::Count),
    ("returning_customers", &["new_returning"], Form::Count),
    ("retention_cohort", &["retention_cohort"], Form::Counts),
    ("retention_rate", &["retention_cohort"], Form::Rates),
    ("visits", &["visits"], Form::Count),
    ("visits_per_customer", &["visits", "customers"], Form::Per),
    ("visit_classes", &["visit_classes"], Form::Counts),
    ("repeat_rate", &["visit_classes"], Form::Share),
    ("recency_histogram", &["recency_histogram"], Form::Counts),
    ("diffusion_classes", &["diffusion"], Form::Counts),
    ("diffusion_index", &["diffusion"], Form::Balance),
    ("diffusion_classes_year", &["diffusion_year"], Form::Counts),
    ("diffusion_index_year", &["diffusion_year"], Form::Balance),
    ("ticket_quantiles", &["ticket_logs", "payments"], Form::Quantiles),
    ("ticket_histogram", &["ticket_histogram"], Form::Counts),
];

/// Those of pairs, in the order of columns after [`INSIGHTS`].
pub(super) const PAIRED: [(&str, &[&str], Form); 1] = [("lift", &["customers"], Form::Compared)];

/// Each insight that compares cells, with its statistic, in the order of columns after [`PAIRED`].
pub(super) const COMPARED: [(&str, &[&str], Form); 32] = [
    ("customers_share", &["customers"], Form::Compared),
    ("payments_share", &["payments"], Form::Compared),
    ("sales_share", &["sales"], Form::Compared),
    ("gross_share", &["gross"], Form::Compared),
    ("customers_growth", &["customers"], Form::Compared),
    ("payments_growth", &["payments"], Form::Compared),
    ("sales_growth", &["sales"], Form::Compared),
    ("gross_growth", &["gross"], Form::Compared),
    ("customers_growth_year", &["customers"], Form::Compared),
    ("payments_growth_year", &["payments"], Form::Compared),
    ("sales_growth_year", &["sales"], Form::Compared),
    ("gross_growth_year", &["gross"], Form::Compared),
    ("customers_index", &["customers"], Form::Compared),
    ("payments_index", &["payments"], Form::Compared),
    ("sales_index", &["sales"], Form::Compared),
    ("gross_index", &["gross"], Form::Compared),
    ("customers_concentration", &["customers"], CONCENTRATION),
    ("payments_concentration", &["payments"], CONCENTRATION),
    ("sales_concentration", &["sales"], CONCENTRATION),
    ("gross_concentration", &["gross"], CONCENTRATION),
    ("customers_rank", &["customers"], RANK),
    ("payments_rank", &["payments"], RANK),
    ("sales_rank", &["sales"], RANK),
    ("gross_rank", &["gross"], RANK),
    ("customers_peer_benchmark", &["customers"], Form::Quarters),
    ("payments_peer_benchmark", &["payments"], Form::Quarters),
    ("sales_peer_benchmark", &["sales"], Form::MoneyQuarters),
    ("gross_peer_benchmark", &["gross"], Form::MoneyQuarters),
    ("customers_above", &["customers"], Form::Above),
    ("payments_above", &["payments"], Form::Above),
    ("sales_above", &["sales"], Form::Above),
    ("gross_above", &["gross"], Form::Above),
];

const CONCENTRATION: Form = Form::Banded(Bands::Concentration);
const RANK: Form = Form::Banded(Bands::Rank);

/// What the columns of quarters end in, in their order.
pub(super) const QUARTERS: [&str; 3] = ["_p25", "_p50", "_p75"];

/// The columns of visit classes, in their order.
pub(super) const VISIT_CLASSES: [&str; 4] =
    ["visit_classes_1", "visit_classes_2", "visit_classes_3_4", "visit_classes_5_up"];

/// The columns of quantiles, in their order.
pub(super) const QUANTILES: [&str; 5] = [
    "ticket_quantiles_p10",
    "ticket_quantiles_p25",
    "ticket_quantiles_p50",
    "ticket_quantiles_p75",
    "ticket_quantiles_p90",
];

/// The insight that a column of values belongs to: its own name, or that of which it is a part.
pub(super) fn insight_of(column: &str) -> &str {
    let bin = column.strip_prefix("ticket_histogram").filter(|rest| rest.starts_with("_from_"));
    let quarter = QUARTERS.iter().find_map(|end| column.strip_suffix(end));
    match column {
        _ if bin.is_some() => "ticket_histogram",
        _ if VISIT_CLASSES.contains(&column) => "visit_classes",
        _ if classes::is_recency(column) => "recency_histogram",
        _ if DIFFUSION.contains(&column) => "diffusion_classes",
        _ if DIFFUSION_YEAR.contains(&column) => "diffusion_classes_year",
        _ if classes::periods(column, COHORT).is_some() => COHORT,
        _ if classes::periods(column, RATE).is_some() => RATE,
        _ if QUANTILES.contains(&column) => "ticket_quantiles",
        _ => quarter.filter(|name| name.ends_with("_peer_benchmark")).unwrap_or(column),
    }
}

/// What is known of the insight that a column of values belongs to.
pub(super) fn known(column: &str) -> Option<(&'static str, &'static [&'static str], Form)> {
    INSIGHTS
        .into_iter()
        .chain(PAIRED)
        .chain(COMPARED)
        .find(|(insight, ..)| *insight == insight_of(column))
}

/// The names of the columns of values, each with that of its interval and the rest behind it.
pub(super) fn values_of(schema: &SchemaRef, set: &KeySet) -> Vec<String> {
    let mut names = Vec::new();
    let mut place = set.keys.len();
    while let Some(field) = schema.fields().get(place) {
        names.push(field.name().clone());
        place += width_of(field.name(), set);
    }
    names
}

/// How many columns there are of a value.
fn width_of(column: &str, set: &KeySet) -> usize {
    let told = set.bands.iter().any(|insight| insight == column);
    known(column).map_or(SUFFIXES.len(), |(.., form)| form.width()) + usize::from(told)
}

/// A file of a table that can be read, with the key that its name tells in its place.
pub(super) struct Table {
    pub(super) schema: SchemaRef,
    pub(super) rows: Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>>>,
    created_by: String,
    footer: Vec<(String, String)>,
}

impl Table {
    pub(super) fn open(path: &Path, key: Option<NamedKey>) -> Result<Table, String> {
        let file = File::open(path).map_err(|e| e.to_string())?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| e.to_string())?;
        let metadata = builder.metadata().file_metadata();
        let footer = metadata.key_value_metadata().into_iter().flatten();
        let footer = footer.filter(|entry| entry.key.starts_with("discretail."));
        let footer = footer.map(|e| (e.key.clone(), e.value.clone().unwrap_or_default())).collect();
        let created_by = metadata.created_by().unwrap_or_default().to_owned();
        let schema = with_key(builder.schema(), key.as_ref());
        let rows = builder.with_batch_size(1 << 16).build().map_err(|e| e.to_string())?;
        let whole = schema.clone();
        let rows = rows.map(move |batch| {
            let batch = batch?;
            let Some((place, _, date)) = &key else { return Ok(batch) };
            let dates = Date32Array::from(vec![date.to_epoch_days(); batch.num_rows()]);
            let mut columns = batch.columns().to_vec();
            columns.insert((*place).min(columns.len()), Arc::new(dates));
            RecordBatch::try_new(whole.clone(), columns)
        });
        Ok(Table { schema, rows: Box::new(rows), created_by, footer })
    }
}

fn with_key(schema: &SchemaRef, key: Option<&NamedKey>) -> SchemaRef {
    let Some((place, name, _)) = key else { return schema.clone() };
    let mut fields = schema.fields().to_vec();
    let field = Field::new(name, DataType::Date32, false);
    fields.insert((*place).min(fields.len()), Arc::new(field));
    Arc::new(Schema::new(fields))
}

/// What of the footer is not what the manifest says.
pub(super) fn footer_faults(name: &str, table: &Table, manifest: &Manifest) -> Vec<String> {
    let mut faults = Vec::new();
    let mut fault = |text: String| faults.push(format!("`{name}`: {text}"));
    let tool = manifest.whole["tool"].as_str().unwrap_or_default();
    if table.created_by != tool {
        fault(format!("written by `{}`, the manifest by `{tool}`", table.created_by));
    }
    let entry = |key: &str| {
        let mut found = table.footer.iter().filter(|(k, _)| k == key).map(|(_, value)| value);
        found.next().filter(|_| found.next().is_none())
    };
    if entry("discretail.schema").map(String::as_str) != Some(SCHEMA_VERSION) {
        fault(format!("`discretail.schema` is not {SCHEMA_VERSION}"));
    }
    let guarantee = entry("discretail.guarantee").and_then(|text| serde_json::from_str(text).ok());
    let Some(Value::Object(guarantee)) = guarantee else {
        fault("`discretail.guarantee` is missing or no JSON".to_owned());
        return faults;
    };
    for key in
        ["tool", "job", "job_digest", "status", "variant", "privacy_unit", "epsilon", "delta"]
    {
        if !guarantee.contains_key(key) {
            fault(format!("the guarantee lacks `{key}`"));
        }
    }
    for (key, value) in &guarantee {
        let place = match key.as_str() {
            "job" => "/job/id".to_owned(),
            "job_digest" => "/job/digest".to_owned(),
            "status" => "/job/status".to_owned(),
            "tool" | "variant" | "privacy_unit" => format!("/{key}"),
            "look_back" => continue,
            // Every number of the price.
            _ => format!("/parameters/{key}"),
        };
        if manifest.whole.pointer(&place) != Some(value) {
            fault(format!("`{key}` of the guarantee is not that of the manifest"));
        }
    }
    let days = manifest.key_set(name).and_then(|set| set.look_back).map(Value::from);
    if guarantee.get("look_back") != days.as_ref() {
        fault("`look_back` of the guarantee is not that of the manifest".to_owned());
    }
    faults
}

/// What of the columns is not as documented, in a file of a table.
pub(super) fn schema_faults(
    (name, file): (&str, &str),
    table: &Table,
    manifest: &Manifest,
) -> Vec<String> {
    let Some(set) = manifest.key_set(name) else { return vec![format!("`{name}` has no keys")] };
    let mut faults = Vec::new();
    let mut fault = |text: String| faults.push(format!("`{file}`: {text}"));
    let fields = table.schema.fields();
    let (keys, values) = fields.split_at(set.keys.len().min(fields.len()));
    for (place, key) in set.keys.iter().enumerate() {
        match keys.get(place) {
            Some(field) if field.name() == key => {
                if let Some(why) = key_fault(field) {
                    fault(why);
                }
            }
            _ => fault(format!("column {} is not the key `{key}`", place + 1)),
        }
    }
    let protection = manifest.merchant_protection.as_ref();
    let rule = protection.is_some_and(|merchants| merchants.dominance.is_some());
    let hides = set.selection == "public" && (rule || manifest.hidden(name).is_some());
    let insights: Vec<_> = INSIGHTS.into_iter().chain(PAIRED).chain(COMPARED).collect();
    let mut last = None;
    let mut rest = values;
    while let Some(first) = rest.first().map(|field| field.name()) {
        let width = width_of(first, set);
        let (columns, others) = rest.split_at(width.min(rest.len()));
        rest = others;
        let at = insights.iter().position(|(insight, ..)| *insight == insight_of(first));
        // Parts of one insight stand next to each other.
        let is_part = insight_of(first) != first;
        let at = at.filter(|&at| insights[at].2.has_parts() == is_part);
        let next = at.filter(|&at| Some(at) > last || (is_part && Some(at) == last));
        last = next.or(last);
        let Some((insight, needs, form)) = next.map(|at| insights[at]) else {
            fault(format!("the column `{first}` is unknown or out of order"));
            break;
        };
        for statistic in needs.iter().filter(|s| manifest.event(name, s).is_none()) {
            fault(format!("`{insight}` needs `{statistic}`, which no mechanism protects"));
        }
        let names: Vec<&str> = columns.iter().map(|field| field.name().as_str()).collect();
        let told = set.bands.iter().any(|own| own == first);
        let band = (told || form.bands().is_some()).then_some("_band");
        let wanted = SUFFIXES.into_iter().chain(band);
        if names != wanted.map(|suffix| format!("{first}{suffix}")).collect::<Vec<_>>() {
            fault(format!("`{first}` lacks its interval, grade, reasons or noised value"));
            continue;
        }
        for why in
            columns.iter().filter_map(|field| value_fault(form, (hides, band.is_some()), field))
        {
            fault(why);
        }
    }
    if values.is_empty() {
        fault("it shows nothing".to_owned());
    }
    if let Some(why) = classes::fault(values) {
        fault(why.to_owned());
    }
    let look_back = ["new_customers", "returning_customers", COHORT, RATE];
    let tells = |name: &String| look_back.contains(&insight_of(name));
    if values.iter().any(|field| tells(field.name())) != set.look_back.is_some() {
        fault("it tells who is new, and not in how many days, or the other way".to_owned());
    }
    faults
}

fn key_fault(field: &Field) -> Option<String> {
    let wanted = match field.name().as_str() {
        "day" | "week" | "month" | "quarter" => DataType::Date32,
        "weekday" | "hour" => DataType::UInt8,
        _ => text(),
    };
    let (key, found) = (field.name(), field.data_type());
    if field.is_nullable() {
        return Some(format!("the key `{key}` may be null"));
    }
    (*found != wanted).then(|| format!("the key `{key}` is {found} and not {wanted}"))
}

fn text() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

fn value_fault(form: Form, (hides, banded): (bool, bool), field: &Field) -> Option<String> {
    for (suffix, nullable, what) in
        [("_grade", false, "grades"), ("_suppressed", true, "reasons"), ("_band", true, "bands")]
    {
        if suffix == "_band" && !banded {
            continue;
        }
        if field.name().ends_with(suffix) {
            let wrong = field.data_type() != &text() || field.is_nullable() != nullable;
            return wrong.then(|| format!("`{}` is no column of {what}", field.name()));
        }
    }
    let money = Form::Quantiles == form || Form::MoneyQuarters == form;
    let money = money || matches!(form, Form::Money | Form::MoneyPer);
    let (name, found) = (field.name(), field.data_type());
    let right = match found {
        DataType::Decimal128(27, 0..=4) => money && field.metadata().contains_key("currency"),
        DataType::Float64 => !money,
        _ => false,
    };
    // What no model has touched is always there, but for averages and cells of few merchants.
    let noised = name.ends_with("_unbiased") || name.ends_with("_sd");
    if field.is_nullable() != (!noised || hides || form.is_ratio()) {
        return Some(format!("`{name}` may be null where it must not, or the other way"));
    }
    (!right).then(|| format!("`{name}` is {found}, or has no currency"))
}

#[cfg(test)]
mod tests {
    use super::{COMPARED, INSIGHTS, PAIRED, VISIT_CLASSES};
    use crate::job::{Insight, StatisticKind};

    /// Written down twice on purpose; this keeps the two from drifting apart.
    #[test]
    fn insights_are_those_of_jobs() {
        let jobs = Insight::ALL.map(|insight| {
            let needs: Vec<&str> =
                insight.statistics().iter().copied().map(StatisticKind::name).collect();
            (insight.name(), needs)
        });
        assert_eq!(INSIGHTS.map(|(name, needs, _)| (name, needs.to_vec())), jobs);
        for (insight, (_, _, form)) in Insight::ALL.into_iter().zip(INSIGHTS) {
            assert_eq!(insight.is_ratio(), form.is_ratio(), "{insight:?}");
            assert_eq!(insight.has_parts(), form.has_parts(), "{insight:?}");
        }
    }

    #[test]
    fn insights_of_pairs_are_those_of_jobs() {
        let jobs = Insight::PAIRED.map(|insight| (insight.name(), insight.statistics()[0].name()));
        assert_eq!(PAIRED.map(|(name, needs, _)| (name, needs[0])), jobs);
        assert!(Insight::PAIRED.iter().all(|i| i.is_ratio() && !i.has_parts()));
    }

    #[test]
    fn comparisons_are_those_of_jobs() {
        let jobs =
            Insight::COMPARED.map(|insight| (insight.name(), insight.statistics()[0].name()));
        assert_eq!(COMPARED.map(|(name, needs, _)| (name, needs[0])), jobs);
        assert!(Insight::COMPARED.iter().all(|insight| insight.is_ratio()));
        for (insight, (_, _, form)) in Insight::COMPARED.into_iter().zip(COMPARED) {
            assert!(form.is_ratio() && insight.has_parts() == form.has_parts(), "{insight:?}");
            let names = |bands: &[(f64, &'static str)]| -> Vec<&str> {
                bands.iter().map(|(_, name)| *name).collect()
            };
            let own = form.bands().map(|bands| names(bands.ends()));
            assert_eq!(insight.bands().map(names), own, "{insight:?}");
        }
    }

    #[test]
    fn classes_are_those_of_jobs() {
        let names = crate::job::VISIT_CLASSES.map(|(_, name)| format!("visit_classes_{name}"));
        assert_eq!(VISIT_CLASSES.map(str::to_owned), names);
    }
}
