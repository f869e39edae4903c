//! From the table to valid payments: what `payments` does with files, in SQL.
//!
//! Each row's verdict depends on that row and on public facts alone (Lemma 0 of `docs/privacy.md`).

use std::collections::BTreeSet;

use super::expression::{Translator, Typed};
use super::{Cte, Dialect, calendar};
use crate::findings::{self, Finding};
use crate::job::{
    Clock, ColumnType, Job, Key, LOG_DIGITS, LOG_PARTS, PaymentsSource, SqlExpression,
    StatisticKind, TableSource, Zoneless, minor_places,
};
use crate::payments::AMOUNT_MAX;
use crate::plan::Plan;

/// What becomes of a row: another time or currency than the job's, a bad row, or a payment.
const LEFT_OUT: u8 = 0;
pub(super) const BAD: u8 = 1;
pub(super) const GOOD: u8 = 2;

/// Writes the steps from the table to payments.
pub(super) struct Rows<'p> {
    plan: &'p Plan,
    dialect: Dialect,
    source: &'p PaymentsSource,
    expressions: Expressions,
    /// The distinct keys of all levels: key `i` is `dr_k{i+1}`.
    keys: Vec<Key>,
    /// Numbers of merchants that levels need, by the columns' names: of each merchant of the
    /// registry one.
    numbers: Vec<(String, Vec<i64>)>,
    /// The columns that the SQL looks at, in the order of the bits of `dr_types`.
    columns: Vec<String>,
}

/// The job's expressions in the dialect.
struct Expressions {
    user: String,
    /// In seconds, and whether they are of universal time.
    time: (String, bool),
    /// Of minor units or of major ones.
    amount: Typed,
    merchant: Option<String>,
    currency: Option<String>,
    /// Those of the plan's columns.
    rest: Vec<String>,
    filter: Option<String>,
}

impl<'p> Rows<'p> {
    /// Translates the job's expressions.
    ///
    /// # Errors
    /// All that is not the same in every dialect.
    pub(super) fn new(
        plan: &'p Plan,
        table: &'p TableSource,
        dialect: Dialect,
        keys: Vec<Key>,
        numbers: Vec<(String, Vec<i64>)>,
    ) -> Result<Rows<'p>, Vec<Finding>> {
        let mut translator = Translator { dialect, table, columns: BTreeSet::new() };
        let expressions = Expressions::new(plan, &mut translator)?;
        let columns = translator.columns.into_iter().collect();
        Ok(Rows { plan, dialect, source: &plan.job.payments, expressions, keys, numbers, columns })
    }

    /// The columns of the table that the SQL looks at.
    pub(super) fn into_columns(self) -> Vec<String> {
        self.columns
    }

    /// The steps, the last of which is `dr_payments`: a row for each valid payment, with `dr_user`,
    /// perhaps `dr_unit`, `dr_day`, `dr_amount` in minor units, and the keys.
    pub(super) fn ctes(&self) -> Vec<Cte> {
        let mut ctes = Vec::new();
        ctes.extend(self.merchants());
        ctes.push(Cte::new(
            "dr_rows",
            "the rows that `where` chooses, as text and numbers",
            self.rows(),
        ));
        ctes.push(Cte::new(
            "dr_timed",
            "seconds of the period by the wall clock, and minor units; NULL where there are none",
            self.timed(),
        ));
        ctes.push(Cte::new(
            "dr_judged",
            "0: of another time or currency; 1: bad; 2: a payment",
            self.judged(),
        ));
        ctes.push(Cte::new("dr_days", "days and hours of payments", self.days()));
        ctes.push(Cte::new("dr_payments", "payments with their keys", self.payments()));
        let homes = self.keys.iter().zip(1..).filter(|(key, _)| key.home_of().is_some());
        ctes.extend(homes.map(|(_, at)| self.home(&format!("dr_k{at}"))));
        ctes
    }

    /// Where each user pays most often, of equals the first.
    fn home(&self, column: &str) -> Cte {
        let user = user(self.plan, self.dialect);
        let by = format!("{user}, {column}");
        let order = format!("n_rows DESC, {} ASC", self.dialect.in_order(column));
        let sql = format!(
            "SELECT {by}\n  FROM (SELECT {by}, ROW_NUMBER() OVER (PARTITION BY {user} ORDER BY {order}) AS \
             n_place\n    FROM (SELECT {by}, COUNT(*) AS n_rows FROM dr_payments GROUP BY {by}) dr_all) \
             dr_placed\n  WHERE n_place = 1"
        );
        Cte::new(
            &home(column),
            "where each user is at home: of most payments, of equals the first",
            sql,
        )
    }

    /// The registry's attributes that levels use.
    fn attributes(&self) -> Vec<&str> {
        let attributes = self.keys.iter().filter_map(|key| match key {
            Key::MerchantAttribute(name) => Some(name.as_str()),
            key => key.home_of(),
        });
        attributes.collect()
    }

    /// The columns of the table of merchants, but their ids.
    fn of_merchants(&self) -> Vec<String> {
        let attributes = (1..=self.attributes().len()).map(|at| format!("dr_a{at}"));
        attributes.chain(self.numbers.iter().map(|(name, _)| name.clone())).collect()
    }

    fn merchants(&self) -> Option<Cte> {
        let registry = self.plan.job.registry.as_ref()?;
        self.expressions.merchant.as_ref()?;
        let attributes = self.attributes();
        let columns: Vec<String> =
            std::iter::once("dr_id".to_owned()).chain(self.of_merchants()).collect();
        let row = |(at, id): (usize, &String)| {
            let values = attributes.iter().map(|&name| &registry.attributes[name][at]);
            let texts = std::iter::once(id).chain(values).map(|text| self.dialect.text(text));
            texts.chain(self.numbers.iter().map(|(_, all)| all[at].to_string())).collect()
        };
        let rows: Vec<Vec<String>> = registry.ids.iter().enumerate().map(row).collect();
        let sql = self.dialect.constants(&columns, &rows);
        Some(Cte::new("dr_merchants", "the job's table of merchants", sql))
    }

    fn rows(&self) -> String {
        let Expressions { user, time, amount, merchant, currency, rest, filter } =
            &self.expressions;
        let mut columns = vec![
            format!("{user} AS dr_user"),
            format!("{} AS dr_time", time.0),
            format!("{} AS dr_amount", amount.sql),
        ];
        columns.extend(merchant.iter().map(|sql| format!("{sql} AS dr_merchant")));
        columns.extend(currency.iter().map(|sql| format!("{sql} AS dr_currency")));
        columns.extend(rest.iter().zip(1..).map(|(sql, at)| format!("{sql} AS dr_c{at}")));
        columns.push(format!("{} AS dr_types", self.other_types()));
        let table = self.table();
        let filter = filter.iter().map(|sql| format!("\n  WHERE {sql}")).collect::<String>();
        format!("SELECT\n    {}\n  FROM {}{filter}", columns.join(",\n    "), table)
    }

    /// The table, as the dialect writes it.
    pub(super) fn table(&self) -> String {
        let parts = self.source.table.iter().flat_map(|table| &table.name);
        let parts: Vec<String> = parts.map(|part| self.dialect.quoted(part)).collect();
        parts.join(".")
    }

    /// A bit for each column that is of another type than the job says.
    pub(super) fn other_types(&self) -> String {
        let table = self.source.table.as_ref().expect("cannot fail because there is a table");
        let bit = |(at, name): (usize, &String)| {
            let test = self.dialect.is_other_type(&self.dialect.quoted(name), table.types[name]);
            format!("CASE WHEN {test} THEN {} ELSE 0 END", 1u64 << at.min(50))
        };
        let bits: Vec<String> = self.columns.iter().enumerate().map(bit).collect();
        if bits.is_empty() { "0".to_owned() } else { bits.join("\n      + ") }
    }

    /// The columns of `dr_rows` that later steps need, each with a comma before it.
    fn others(&self) -> String {
        let mut columns = String::new();
        if self.expressions.merchant.is_some() {
            columns += ", dr_merchant";
        }
        if self.expressions.currency.is_some() {
            columns += ", dr_currency";
        }
        columns +=
            &(1..=self.plan.columns.len()).map(|at| format!(", dr_c{at}")).collect::<String>();
        columns
    }

    fn timed(&self) -> String {
        let clock = Clock::new(self.source.zone, self.source.period);
        let (from, to) = (clock.start() - 2 * 86_400, clock.start() + clock.seconds() + 2 * 86_400);
        let zoned = self.expressions.time.1;
        let local = match clock.offsets() {
            _ if !zoned => "dr_time".to_owned(),
            [(_, only)] => format!("dr_time + ({only})"),
            [(_, first), rest @ ..] => {
                // The last change that is not above the time counts.
                let whens: String = rest
                    .iter()
                    .rev()
                    .map(|(from, offset)| format!(" WHEN dr_time >= {from} THEN ({offset})"))
                    .collect();
                format!("dr_time + CASE{whens} ELSE ({first}) END")
            }
            [] => "dr_time".to_owned(),
        };
        format!(
            "SELECT dr_user, dr_types, dr_time{},\n    CASE WHEN dr_time >= {from} AND dr_time < {to} \
             THEN {local} - ({}) END AS dr_second,\n    {} AS dr_minor\n  FROM dr_rows",
            self.others(),
            clock.start(),
            self.minor()
        )
    }

    /// The amount in the smallest minor unit of the job's currencies; NULL if it is none.
    fn minor(&self) -> String {
        let most = self.source.money_places();
        let with_places = |places: u32| {
            let factor = 10i64.pow(most - places);
            let minor = if self.expressions.amount.kind == Some(ColumnType::Decimal) {
                self.dialect.units("dr_amount", places, AMOUNT_MAX / 10i64.pow(places))
            } else {
                format!(
                    "CASE WHEN dr_amount >= -{AMOUNT_MAX} AND dr_amount <= {AMOUNT_MAX} THEN {} END",
                    self.dialect.integer("dr_amount")
                )
            };
            if factor == 1 { minor } else { format!("({minor}) * {factor}") }
        };
        let mut sql = String::new();
        for &currency in &self.source.currencies {
            let places = minor_places(currency);
            if places != most && self.expressions.currency.is_some() {
                let code = self.dialect.text(currency.code());
                sql += &format!(" WHEN dr_currency = {code} THEN {}", with_places(places));
            }
        }
        let plain = with_places(most);
        if sql.is_empty() { plain } else { format!("CASE{sql} ELSE {plain} END") }
    }

    fn judged(&self) -> String {
        let clock = Clock::new(self.source.zone, self.source.period);
        let job = &self.plan.job;
        let has_registry = job.registry.is_some() && self.expressions.merchant.is_some();
        let seconds = clock.seconds();
        let mut left_out = vec![format!(
            "dr_time IS NOT NULL AND (dr_second IS NULL OR dr_second < 0 OR dr_second >= {seconds})"
        )];
        let blank = |column: &str| self.dialect.is_blank(column);
        let mut bad = vec![
            "dr_time IS NULL".to_owned(),
            "dr_minor IS NULL".to_owned(),
            format!("dr_user IS NULL OR {}", blank("dr_user")),
        ];
        if self.expressions.currency.is_some() {
            let codes = self.source.currencies.iter().map(|c| self.dialect.text(c.code()));
            let codes = codes.collect::<Vec<_>>().join(", ");
            let blank = blank("dr_currency");
            left_out.push(format!(
                "dr_currency IS NOT NULL AND NOT ({blank}) AND dr_currency NOT IN ({codes})"
            ));
            bad.push(format!("dr_currency IS NULL OR {blank}"));
        }
        if has_registry {
            bad.push("dr_id IS NULL".to_owned());
        } else if self.expressions.merchant.is_some() {
            bad.push(format!("dr_merchant IS NULL OR {}", blank("dr_merchant")));
            bad.extend(self.dialect.is_garbled("dr_merchant"));
        }
        for (name, at) in self.plan.columns.iter().zip(1..) {
            match job.key_sets.get(name) {
                Some(values) => bad
                    .push(format!("dr_c{at} IS NULL OR dr_c{at} NOT IN ({})", self.texts(values))),
                None => {
                    bad.push(format!("dr_c{at} IS NULL"));
                    bad.extend(self.dialect.is_garbled(&format!("dr_c{at}")));
                }
            }
        }
        let attributes = if has_registry { self.of_merchants() } else { Vec::new() };
        let attributes: String = attributes.iter().map(|name| format!(", {name}")).collect();
        let join = if has_registry { " LEFT JOIN dr_merchants ON dr_merchant = dr_id" } else { "" };
        format!(
            "SELECT dr_user, dr_types, dr_second, dr_minor{}{attributes},\n    CASE\n      WHEN \
             {}\n      THEN {LEFT_OUT}\n      WHEN {}\n      THEN {BAD}\n      ELSE {GOOD} END AS \
             dr_verdict\n  FROM dr_timed{join}",
            self.others(),
            left_out.join("\n        OR "),
            bad.join("\n        OR "),
        )
    }

    fn texts(&self, values: &[String]) -> String {
        values.iter().map(|text| self.dialect.text(text)).collect::<Vec<_>>().join(", ")
    }

    fn days(&self) -> String {
        let attributes: String =
            self.of_merchants().iter().map(|name| format!(", {name}")).collect();
        let hour = self.dialect.part("dr_second", 3600);
        format!(
            "SELECT dr_user, dr_minor{}{attributes},\n    {} AS dr_day,\n    MOD({hour}, 24) AS \
             dr_hour\n  FROM dr_judged\n  WHERE dr_verdict = {GOOD}",
            self.others(),
            self.dialect.part("dr_second", 86_400),
        )
    }

    fn payments(&self) -> String {
        let job = &self.plan.job;
        let mut columns =
            vec!["dr_user".to_owned(), "dr_minor AS dr_amount".to_owned(), "dr_day".to_owned()];
        let unit = calendar::unit(self.dialect, job.privacy.unit, self.source.period);
        columns.extend(unit.map(|sql| format!("{sql} AS dr_unit")));
        if self.plan.levels.iter().any(|level| level.tickets.is_some()) {
            columns.push(format!("{} AS {LOG}", self.log()));
        }
        columns.extend(self.numbers.iter().map(|(name, _)| name.clone()));
        let mut attribute = 0;
        for (key, at) in self.keys.iter().zip(1..) {
            let sql = match key {
                Key::Merchant => "dr_merchant".to_owned(),
                // Of homes the merchant's value, by which they are found.
                Key::MerchantAttribute(_) | Key::Home(_) => {
                    attribute += 1;
                    self.dialect.by_bytes(&format!("dr_a{attribute}"))
                }
                Key::Time(key) => calendar::number(self.dialect, *key, self.source.period),
                Key::Column(name) => {
                    let place = self.plan.columns.iter().position(|column| column == name);
                    format!("dr_c{}", place.map_or(0, |place| place + 1))
                }
                Key::Currency => "dr_currency".to_owned(),
                // Found from the user's cells.
                Key::With(_) => continue,
            };
            columns.push(format!("{sql} AS dr_k{at}"));
        }
        format!("SELECT\n    {}\n  FROM dr_days", columns.join(",\n    "))
    }

    /// The logarithm of a ticket's first six digits, in [`LOG_PARTS`].
    fn log(&self) -> String {
        let mut digits = format!("CASE WHEN dr_minor < {LOG_DIGITS} THEN dr_minor");
        let mut cut = 10;
        while LOG_DIGITS * cut <= AMOUNT_MAX * 1000 {
            digits += &format!(
                "\n      WHEN dr_minor < {} THEN dr_minor - MOD(dr_minor, {cut})",
                LOG_DIGITS * cut
            );
            cut *= 10;
        }
        digits += &format!(" ELSE dr_minor - MOD(dr_minor, {cut}) END");
        let log = format!("LN({}) * {LOG_PARTS} + 0.5", self.dialect.double(&digits));
        format!(
            "CASE WHEN dr_minor > 0 THEN {} END",
            self.dialect.integer(&format!("FLOOR({log})"))
        )
    }
}

/// The columns that tell users apart.
pub(super) fn user(plan: &Plan, dialect: Dialect) -> String {
    let period = plan.job.payments.period;
    let unit = calendar::unit(dialect, plan.job.privacy.unit, period);
    if unit.is_some() { "dr_user, dr_unit" } else { "dr_user" }.to_owned()
}

/// The step that tells where users are at home, by the merchants' values in a column.
pub(super) fn home(column: &str) -> String {
    column.replace("dr_k", "dr_home")
}

/// The column of tickets' logarithms.
pub(super) const LOG: &str = "dr_log";

/// The column of a merchant's group of tickets at a level.
pub(super) fn group(level: usize) -> String {
    format!("dr_g{}", level + 1)
}

/// The column of a usual ticket's logarithm among a merchant's at a level.
pub(super) fn usual(level: usize) -> String {
    format!("dr_u{}", level + 1)
}

/// The column of what a statistic's numbers are multiplied with among a merchant's at a level.
pub(super) fn scale(level: usize, kind: StatisticKind) -> String {
    format!("dr_s{}_{}", level + 1, kind.name())
}

impl Expressions {
    fn new(plan: &Plan, translator: &mut Translator) -> Result<Self, Vec<Finding>> {
        let mut findings = Vec::new();
        let source = &plan.job.payments;
        let mut keep = |found: Result<String, Finding>| {
            found.unwrap_or_else(|finding| {
                findings.push(finding);
                String::new()
            })
        };
        let user = keep(as_text("user", &source.user, translator, false));
        let merchant = source.merchant.as_ref();
        let merchant = merchant.map(|e| keep(as_text("merchant", e, translator, false)));
        let currency = source.currency.as_ref();
        let currency = currency.map(|e| keep(as_text("currency", e, translator, false)));
        let rest = plan.columns.iter().filter_map(|wanted| {
            let (name, expression) = source.columns.iter().find(|(name, _)| name == wanted)?;
            Some(keep(as_text(name, expression, translator, true)))
        });
        let rest = rest.collect();
        let wanted = [ColumnType::Boolean];
        let filter = source.filter.as_ref().map(|filter| {
            keep(translator.expression("where", filter, &wanted).map(|typed| typed.sql))
        });
        let amount = [ColumnType::Integer, ColumnType::Decimal];
        let amount = translator.expression("amount", &source.amount, &amount);
        let time = time(&plan.job, translator);
        match (amount, time) {
            (Ok(amount), Ok(time)) if findings.is_empty() => {
                Ok(Expressions { user, time, amount, merchant, currency, rest, filter })
            }
            (amount, time) => {
                findings.extend(amount.err().into_iter().chain(time.err()));
                Err(findings)
            }
        }
    }
}

/// Text, or whole numbers and perhaps truths as text, the same only if their bytes are.
fn as_text(
    key: &str,
    expression: &SqlExpression,
    translator: &mut Translator,
    truths: bool,
) -> Result<String, Finding> {
    let all = [ColumnType::Text, ColumnType::Integer, ColumnType::Boolean];
    let typed = translator.expression(key, expression, &all[..2 + usize::from(truths)])?;
    let text = match typed.kind {
        Some(ColumnType::Text) => return Ok(typed.sql),
        Some(ColumnType::Boolean) => {
            format!("CASE WHEN {0} THEN 'true' WHEN NOT ({0}) THEN 'false' END", typed.sql)
        }
        _ => format!("CAST({} AS {})", typed.sql, translator.dialect.text_type()),
    };
    Ok(translator.dialect.by_bytes(&text))
}

/// In seconds, and whether they are of universal time.
fn time(job: &Job, translator: &mut Translator) -> Result<(String, bool), Finding> {
    use ColumnType::{Date, Instant, Integer, Timestamp};
    let source = &job.payments;
    if source.time_format.is_some() {
        let why = "times that are text are read by each dialect in its own way";
        return Err(findings::sql_unsupported("time", why).at(source.time.span.clone()));
    }
    let typed =
        translator.expression("time", &source.time, &[Integer, Timestamp, Instant, Date])?;
    let kind = typed.kind.unwrap_or(Integer);
    let zoned = match kind {
        Timestamp => source.zoneless == Zoneless::Utc,
        Date => false,
        _ => true,
    };
    Ok((translator.dialect.seconds(&typed.sql, kind), zoned))
}
