//! Tables with whatever such tables have in life, and jobs on them.

mod changes;
mod reports;

use std::path::Path;

use polars::prelude::{DataFrame, DataType, ParquetWriter, TimeUnit, TimeZone, df};
use proptest::prelude::*;

use super::amount;
use crate::job::Job;
use crate::plan::Plan;

/// A row of a table, with whatever such rows have in life.
#[derive(Clone, Debug)]
struct Row {
    user: Option<String>,
    merchant: Option<String>,
    /// Seconds since 27 December 2024 in universal time, so that some lie outside every period.
    second: Option<i64>,
    amount: Option<i64>,
    wallet: Option<String>,
    currency: Option<String>,
    channel: Option<String>,
    refund: Option<bool>,
    number: Option<i64>,
}

/// A job on such rows.
#[derive(Clone, Debug)]
pub(super) struct Case {
    rows: Vec<Row>,
    reports: Vec<String>,
    unit: &'static str,
    last_day: &'static str,
    zone: &'static str,
    /// The expressions for `where`, `user` and `wallet`.
    filter: &'static str,
    user: &'static str,
    wallet: &'static str,
    time: &'static str,
    zoneless: &'static str,
    decimal: bool,
    currencies: bool,
    registry: bool,
}

fn text(
    values: &'static [&'static str],
    rare: &'static [&'static str],
) -> BoxedStrategy<Option<String>> {
    let common = prop::sample::select(values).prop_map(|text| Some(text.to_owned()));
    let odd = prop::sample::select(rare).prop_map(|text| Some(text.to_owned()));
    prop_oneof![30 => common, 1 => odd, 1 => Just(None)].boxed()
}

fn row() -> impl Strategy<Value = Row> {
    let user = prop_oneof![
        10 => (0u32..3).prop_map(|user| Some(format!("u{user}"))),
        10 => (0u32..40).prop_map(|user| Some(format!("ünï \u{4e2d}-{user}"))),
        1 => text(&["", " ", "\u{2003}\u{a0}\t", "\u{85}\n", "U1", "u1 ", "u1"], &["\u{200b}", "'", "\\"]),
    ];
    let merchant = text(
        &["M0", "M1", "M2", "M3", "M4", "M5", "M6", "Mé'7\\", "M8", "M9"],
        &["m0", "M99", " "],
    );
    // Many at the very start and end of hours, which are those of days, weeks and months too.
    let second = prop_oneof![
        40 => (0i64..12_000_000).prop_map(Some),
        20 => (0i64..3_300, -1i64..1).prop_map(|(hour, more)| Some(hour * 3600 + more)),
        1 => Just(None),
        1 => Just(Some(-54_000_000_000)),
    ];
    let amount = prop_oneof![
        30 => amount().prop_map(Some),
        1 => Just(None),
        1 => Just(Some(1_000_000_000_001)),
        1 => prop::sample::select(vec![i64::MIN, i64::MIN + 1, i64::MAX]).prop_map(Some),
    ];
    let wallet = text(&["w0", "w1", "wä \"2\"", "W0"], &["", "w9", "w0 "]);
    let currency = text(&["EUR", "EUR", "JPY"], &["USD", "", "eur", " "]);
    let channel = text(&["shop", "kiosk"], &["web", "Shop"]);
    let refund = prop_oneof![5 => Just(Some(false)), 2 => Just(Some(true)), 1 => Just(None)];
    let number = prop_oneof![9 => (-2i64..4).prop_map(Some), 1 => Just(None)];
    (user, merchant, second, amount, wallet, currency, channel, refund, number).prop_map(
        |(user, merchant, second, amount, wallet, currency, channel, refund, number)| Row {
            user,
            merchant,
            second,
            amount,
            wallet,
            currency,
            channel,
            refund,
            number,
        },
    )
}

const INSIGHTS: &str = "[\"customers\", \"payments\", \"sales\", \"ticket_histogram\", \"gross\", \
                        \"refunds\", \"visits\", \"visit_classes\"]";

/// A report of one to three levels.
fn report(currencies: bool, registry: bool) -> impl Strategy<Value = String> {
    let keys = [
        "merchant",
        "wallet",
        "day",
        "week",
        "month",
        "quarter",
        "weekday",
        "hour",
        "region",
        "home_region",
        "home_kind",
    ];
    let known = if registry { 11 } else { 8 };
    let keys = prop::sample::subsequence(keys[..known].to_vec(), 0..4);
    let levels = prop::collection::vec(keys.prop_shuffle(), 1..3);
    let money = prop_oneof![3u64..2000, 3u64..2000, Just(990_000_000u64)];
    let bounds = (1u32..6, 1u32..30, money);
    (levels, any::<bool>(), 1u32..6, bounds, any::<bool>()).prop_map(
        move |(mut levels, private, cells_max, (customers, payments, money), capped)| {
            for level in &mut levels {
                if currencies {
                    level.push("currency");
                }
            }
            let sorted = |level: &Vec<&'static str>| -> Vec<&'static str> {
                let mut sorted = level.clone();
                sorted.sort_unstable();
                sorted
            };
            levels.sort_by_key(&sorted);
            levels.dedup_by_key(|level| sorted(level));
            // Merchants without a table of them are found in the data.
            let private = private || (!registry && levels.iter().flatten().any(|&k| k == "merchant"));
            let keys = selection(private, cells_max);
            let caps = match capped {
                true => format!(
                    "cell_caps = {{ payments = 1, sales = \"{0}.5\", gross = {0} }}\n",
                    money / 2 + 1
                ),
                false => String::new(),
            };
            let customers_bound = format!("customers = {customers}.25, ");
            format!(
                "levels = {levels:?}\n{keys}\ninsights = {INSIGHTS}\n{caps}bounds = {{ {customers_bound}\
                 payments = {payments}, sales = \"{}.01\", ticket_histogram = {payments}, gross = {}, \
                 refunds = \"{customers}.05\", visits = {payments}, visit_classes = {customers} }}",
                money + 2,
                money + 2
            )
        },
    )
}

fn selection(private: bool, cells_max: u32) -> String {
    match private {
        true => format!("keys = \"private\"\ncells_max = {cells_max}"),
        false => "keys = \"public\"".to_owned(),
    }
}

/// Some of these keys, and the currency if there are several.
fn some_keys(
    keys: &'static [&'static str],
    most: usize,
    currencies: bool,
) -> impl Strategy<Value = Vec<&'static str>> {
    let keys = prop::sample::subsequence(keys, 0..=most.min(keys.len()));
    let more = if currencies { Some("currency") } else { None };
    keys.prop_map(move |keys| keys.into_iter().chain(more).collect())
}

/// What jobs ask for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// What a user has in a cell.
    Plain,
    /// Who is new, and who of them comes again.
    New,
    /// Who was last there when.
    Recent,
    /// Who spends more than before.
    Changes,
    /// Pairs of values.
    Pairs,
    /// Units within periods.
    Periods,
    /// Cells that rounds look for.
    Discovered,
}

impl Kind {
    pub(super) const ALL: [Kind; 7] = [
        Kind::Plain,
        Kind::New,
        Kind::Recent,
        Kind::Changes,
        Kind::Pairs,
        Kind::Periods,
        Kind::Discovered,
    ];

    fn reports(self, currencies: bool, registry: bool, unit: &str) -> BoxedStrategy<Vec<String>> {
        let one = |report: BoxedStrategy<String>| report.prop_map(|report| vec![report]).boxed();
        match self {
            Kind::Plain => prop::collection::vec(report(currencies, registry), 1..3).boxed(),
            Kind::New => one(reports::newness(currencies, registry).boxed()),
            Kind::Recent => one(reports::recency(currencies, registry).boxed()),
            Kind::Changes => one(changes::report(currencies, registry).boxed()),
            Kind::Pairs => one(reports::pairs(currencies).boxed()),
            Kind::Periods => {
                let private = unit == "user-month";
                let fits = move |report: &String| private || report.contains("public");
                one(reports::monthly(currencies, registry).prop_filter("private", fits).boxed())
            }
            Kind::Discovered => one(reports::discovered(currencies, registry, unit)),
        }
    }
}

/// A job of any kind that needs one look.
pub(super) fn case() -> impl Strategy<Value = Case> {
    let kinds = Kind::ALL.into_iter().filter(|kind| !matches!(kind, Kind::Discovered));
    prop::sample::select(kinds.collect::<Vec<_>>()).prop_flat_map(case_of)
}

/// A job of some kind.
pub(super) fn case_of(kind: Kind) -> impl Strategy<Value = Case> {
    let zones = ["Europe/Berlin", "Asia/Kathmandu", "America/New_York", "UTC"];
    let times = ["integer", "timestamp", "timestamp_tz", "date"];
    let units = match kind {
        Kind::Periods => {
            vec!["user-day", "user-week", "user-month", "user-month", "user-quarter", "user-year"]
        }
        Kind::Discovered => vec!["user", "user", "user-month"],
        _ => vec!["user"],
    };
    // Pairs are of values of a table of merchants.
    let registry = match kind {
        Kind::Pairs => Just(true).boxed(),
        _ => any::<bool>().boxed(),
    };
    (any::<bool>(), registry, prop::sample::select(units)).prop_flat_map(
        move |(currencies, registry, unit)| {
            let reports = kind.reports(currencies, registry, unit);
            let (row, last_day) = match kind {
                Kind::Changes => (changes::row().boxed(), changes::LAST_DAY),
                _ => (row().boxed(), "2025-04-30"),
            };
            let rows = prop::collection::vec(row, 1..120);
            let settings = (
                prop::sample::select(zones.to_vec()),
                prop::sample::select(times.to_vec()),
                prop::sample::select(vec!["local", "utc"]),
                any::<bool>(),
                prop::sample::select(vec![
                    "channel = 'shop' OR (channel <> 'web' AND refund IS NOT NULL) OR NOT refund",
                    "number BETWEEN -1 AND 2 OR number IS NULL OR channel NOT IN ('web', 'Shop')",
                    "refund OR number <> 3 OR channel IN ('kiosk')",
                    "wallet <> channel OR 'a' = 'A'",
                ]),
                prop::sample::select(vec!["user", "user", "number", "channel || '-' || wallet"]),
                prop::sample::select(vec![
                    "wallet",
                    "wallet",
                    "CASE WHEN number > 1 OR NOT refund THEN 'w0' WHEN number = -1 THEN 'w1' END",
                    "CASE WHEN refund AND channel <> 'Shop' THEN channel ELSE COALESCE(wallet, merchant) END",
                ]),
            );
            (rows, reports, settings).prop_map(
                move |(rows, reports, (zone, time, zoneless, decimal, filter, user, wallet))| {
                    Case {
                        rows,
                        reports,
                        unit,
                        last_day,
                        zone,
                        filter,
                        user,
                        wallet,
                        time,
                        zoneless,
                        decimal,
                        currencies,
                        registry,
                    }
                },
            )
        },
    )
}

impl Case {
    /// The job's text, on files or on a table.
    pub(super) fn text(&self, in_table: bool) -> String {
        let source = match in_table {
            true => format!(
                "table = \"payments\"\ntypes = {{ user = \"text\", merchant = \"text\", time = \"{}\", amount = \
                 \"{}\", wallet = \"text\", currency = \"text\", channel = \"text\", refund = \"boolean\", number = \"integer\" }}",
                self.time,
                if self.decimal { "decimal" } else { "integer" }
            ),
            false => "files = [\"payments.parquet\"]".to_owned(),
        };
        let currency = if self.currencies { "[\"EUR\", \"JPY\"]" } else { "\"EUR\"" };
        let quantiles = self.reports.iter().any(|report| report.contains("ticket_quantiles"));
        let groups = if quantiles { "\nticket_groups = \"region\"" } else { "" };
        // Of some regions and kinds there is one merchant.
        let least = if self.reports[0].contains(reports::HIDDEN) { 2 } else { 1 };
        let merchants = match self.registry {
            true => format!(
                "[merchants]\nfiles = [\"merchants.parquet\"]\nmin_per_cell = {least}{groups}"
            ),
            false => String::new(),
        };
        let named = self.reports.iter().any(|report| report.contains("\"wallet\""));
        let keys = "[keys]\nwallet = [\"w0\", \"w1\", \"wä \\\"2\\\"\"]\n";
        let keys = if named { keys } else { "" };
        let mut text = format!(
            "version = 1\njob = \"test\"\nrecipient = \"tests\"\n[payments]\n{source}\n\
             where = \"{}\"\ntimezone = \"{}\"\ntimes_without_zone = \"{}\"\nfirst_day = 2025-01-01\nlast_day = {}\n\
             currency = {currency}\nmax_bad_share = 1\ncolumns = {{ user = \"{}\", merchant = \"merchant\", \
             time = \"time\", amount = \"CASE WHEN refund THEN -amount ELSE amount END\", currency = \
             \"COALESCE(currency, 'EUR')\", wallet = \"{}\" }}\n{merchants}\n{keys}[privacy]\nunit = \"{}\"\nepsilon = \"1\"\ndelta = \"1e-6\"\n[ledger]\n\
             file = \"ledger.sqlite\"\npopulation = \"people\"\nepsilon_max = \"4\"\ndelta_max = \"1e-5\"\n",
            self.filter, self.zone, self.zoneless, self.last_day, self.user, self.wallet, self.unit
        );
        for (place, report) in self.reports.iter().enumerate() {
            text += &format!("[[report]]\nname = \"r{place}\"\n{report}\n");
        }
        text
    }

    /// The same with bounds that the run chooses, and an insight that always needs that.
    pub(super) fn open(&self) -> Case {
        let (plain, more) = ("\"ticket_histogram\"", "\"ticket_histogram\", \"ticket_quantiles\"");
        // Tickets of several currencies have no order.
        let more = if self.currencies { plain } else { more };
        let open = |report: &String| super::open(report).replace(plain, more);
        Case { reports: self.reports.iter().map(open).collect(), ..self.clone() }
    }

    /// A user with two cells, of which surveys see no more than 2⁵⁰ each: of some four times as
    /// much, and of some more.
    pub(super) fn rich() -> Case {
        let row = |wallet: &str| Row {
            user: Some("u".to_owned()),
            merchant: Some("M0".to_owned()),
            second: Some(5_000_000),
            amount: Some(1_000_000_000_000),
            wallet: Some(wallet.to_owned()),
            currency: Some("EUR".to_owned()),
            channel: Some("shop".to_owned()),
            refund: Some(false),
            number: Some(1),
        };
        let report = "levels = [[\"wallet\"]]\nkeys = \"public\"\ninsights = [\"sales\"]";
        Case {
            rows: [vec![row("w0"); 4_504], vec![row("w1"); 1_127]].concat(),
            reports: vec![report.to_owned()],
            unit: "user",
            last_day: "2025-04-30",
            zone: "UTC",
            filter: "refund OR number <> 3 OR channel IN ('kiosk')",
            user: "user",
            wallet: "wallet",
            time: "integer",
            zoneless: "utc",
            decimal: false,
            currencies: false,
            registry: false,
        }
    }

    /// Users of these names, each with one payment in one cell.
    pub(super) fn of_users(users: &[&str]) -> Case {
        let rich = Case::rich();
        let row = |user: &&str| Row { user: Some((*user).to_owned()), ..rich.rows[0].clone() };
        let report = "levels = [[\"wallet\"]]\nkeys = \"public\"\ninsights = [\"customers\"]\n\
                      bounds = { customers = 1 }";
        let rows = users.iter().map(row).collect();
        Case { rows, reports: vec![report.to_owned()], ..rich }
    }

    pub(super) fn plan(&self, folder: &Path, in_table: bool) -> Plan {
        self.plan_with(folder, in_table, ("", ""))
    }

    /// The plan with a text of its job in place of another.
    pub(super) fn plan_with(&self, folder: &Path, in_table: bool, change: (&str, &str)) -> Plan {
        let text = self.text(in_table).replacen(change.0, change.1, 1);
        let plan = Job::parse(&text, folder).and_then(Plan::new);
        let plan = plan.unwrap_or_else(|error| panic!("{error}\n{text}"));
        // Cells have scales in half of all cases.
        if self.rows.len() % 2 == 1 { plan.with_scales(self.rows.len()) } else { plan }
    }

    pub(super) fn write(&self, folder: &Path) {
        let rows = &self.rows;
        // 27 December 2024.
        let seconds = |row: &Row| row.second.map(|second| 1_735_257_600 + second);
        let mut table = df!(
            "user" => rows.iter().map(|r| r.user.clone()).collect::<Vec<_>>(),
            "merchant" => rows.iter().map(|r| r.merchant.clone()).collect::<Vec<_>>(),
            "time" => rows.iter().map(seconds).collect::<Vec<_>>(),
            "amount" => rows.iter().map(|r| r.amount).collect::<Vec<_>>(),
            "wallet" => rows.iter().map(|r| r.wallet.clone()).collect::<Vec<_>>(),
            "currency" => rows.iter().map(|r| r.currency.clone()).collect::<Vec<_>>(),
            "channel" => rows.iter().map(|r| r.channel.clone()).collect::<Vec<_>>(),
            "refund" => rows.iter().map(|r| r.refund).collect::<Vec<_>>(),
            "number" => rows.iter().map(|r| r.number).collect::<Vec<_>>(),
        )
        .expect("a table");
        let micros = |table: &DataFrame| table.column("time").expect("there") * 1_000_000i64;
        let zone = || TimeZone::opt_try_new(Some("UTC")).expect("a zone");
        let time = match self.time {
            "timestamp" => micros(&table).cast(&DataType::Datetime(TimeUnit::Microseconds, None)),
            "timestamp_tz" => {
                micros(&table).cast(&DataType::Datetime(TimeUnit::Microseconds, zone()))
            }
            "date" => micros(&table)
                .cast(&DataType::Datetime(TimeUnit::Microseconds, None))
                .and_then(|time| time.cast(&DataType::Date)),
            _ => table.column("time").cloned(),
        };
        table.with_column(time.expect("times")).expect("a column");
        if self.decimal {
            // In major units with three places, so that some are no whole number of cents.
            let texts: Vec<Option<String>> = rows.iter().map(|r| r.amount.map(decimal)).collect();
            let texts = polars::prelude::Column::new("amount".into(), texts);
            let decimals = texts.cast(&DataType::Decimal(30, 3)).expect("decimals");
            table.with_column(decimals).expect("a column");
        }
        write(&folder.join("payments.parquet"), &mut table);
        let ids = ["M0", "M1", "M2", "M3", "M4", "M5", "M6", "Mé'7\\", "M8", "M9"];
        let regions = ["R0", "Rß", "it's", "R0", "Rß", "it's", "R0", "Rß", "it's", "R0"];
        let kinds = ["a", "ä", "ä", "b", "a", "ä", "b", "a", "ä", "b"];
        let merchants = df!("merchant_id" => ids, "region" => regions, "kind" => kinds);
        let mut merchants = merchants.expect("a table");
        write(&folder.join("merchants.parquet"), &mut merchants);
    }
}

/// The amount of cents in major units, of which every seventh is no whole number.
fn decimal(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    let size = cents.unsigned_abs();
    format!("{sign}{}.{:02}{}", size / 100, size % 100, if size % 7 == 3 { 5 } else { 0 })
}

fn write(path: &Path, table: &mut DataFrame) {
    let file = std::fs::File::create(path).expect("creates");
    ParquetWriter::new(file).finish(table).expect("writes");
}
