//! What the SQL says, without a database; `engine::tests::elsewhere` runs it in real ones.

use sqlparser::dialect::{
    BigQueryDialect, DatabricksDialect, Dialect as Grammar, DuckDbDialect, PostgreSqlDialect,
    SnowflakeDialect,
};
use sqlparser::parser::Parser;

use super::{Dialect, Query};
use crate::fixture::Market;
use crate::plan::{CellKey, KeyValue, Plan};

const TABLE: (&str, &str) = (
    "files = [\"payments.parquet\"]",
    "table = \"lake.payments\"\ntypes = { user = \"text\", merchant = \"text\", time = \"integer\", amount = \
     \"integer\", wallet = \"text\" }",
);

const REPORTS: [&str; 2] = [
    "levels = [[], [\"region\", \"week\"]]\nkeys = \"public\"\ninsights = [\"customers\", \"payments\"]\n\
     bounds = { customers = 2, payments = 9 }",
    "levels = [[\"wallet\", \"month\"]]\nkeys = \"private\"\ncells_max = 3\ninsights = [\"sales\", \
     \"new_customers\", \"visit_classes\", \"ticket_histogram\"]\nbounds = { customers = 2, sales = 900, \
     new_returning = 2, visit_classes = 2, ticket_histogram = 9 }",
];

const OTHERS: [&str; 3] = [
    "levels = [[\"home_region\", \"region\", \"month\", \"weekday\"]]\nkeys = \"private\"\ncells_max = 3\n\
     insights = [\"customers\", \"recency_histogram\"]\nbounds = { customers = 2, recency_histogram = 2 }",
    "levels = [[\"region\", \"with_region\", \"month\"]]\nkeys = \"public\"\ninsights = [\"customers\"]\n\
     bounds = { customers = 2 }",
    "levels = [[\"wallet\", \"month\"]]\nkeys = \"public\"\nlook_back = 30\n\
     insights = [\"new_customers\", \"retention_cohort\"]\n\
     bounds = { new_returning = 2, retention_cohort = 2 }",
];

/// Users who spend more, and others who have no payment where they count.
const CHANGES: &str = "levels = [[\"region\", \"month\"]]\nkeys = \"public\"\nlook_back = 30\n\
    insights = [\"customers\", \"sales\", \"new_customers\", \"diffusion_classes\", \"diffusion_index_year\"]\n\
    bounds = { customers = 2, sales = 900, new_returning = 2, diffusion = 2, diffusion_year = 2 }";

/// Of these, longer than a year.
const LONGER: (&str, &str) = ("last_day = 2025-04-30", "last_day = 2026-03-15");

/// `ticket_groups` needs quantiles.
const GROUPS: (&str, &str) = ("ticket_groups = \"region\"\n", "");

fn plan(changes: &[(&str, &str)], reports: &[&str]) -> Plan {
    let reports: Vec<String> = reports.iter().map(|&report| report.to_owned()).collect();
    let all: Vec<(&str, &str)> = [TABLE, GROUPS].iter().chain(changes).copied().collect();
    Market::new(&[]).try_plan_changed(&all, &reports).expect("a good job")
}

fn grammar(dialect: Dialect) -> Box<dyn Grammar> {
    match dialect {
        Dialect::DuckDb => Box::new(DuckDbDialect {}),
        Dialect::Spark => Box::new(DatabricksDialect {}),
        Dialect::PostgreSql => Box::new(PostgreSqlDialect {}),
        Dialect::Snowflake => Box::new(SnowflakeDialect {}),
        Dialect::BigQuery => Box::new(BigQueryDialect {}),
    }
}

/// The query without what differs from version to version of the tests' job.
fn shown(query: &Query) -> String {
    let digest = query.plan.split_once(':').expect("dialect and digest").1;
    let text = query.text().replace(digest, "[query]");
    let job = text.split_once("job digest ").map(|(_, rest)| rest[..64].to_owned());
    text.replace(&job.expect("the header has it"), "[job]")
}

#[test]
fn files_by_their_path_are_for_spark_alone() {
    let path = ("lake.payments", "parquet.`/lake/a b/*.parquet`");
    let plan = plan(&[path], &REPORTS[..1]);
    for dialect in Dialect::ALL {
        let query = Query::new(&plan, dialect);
        if dialect == Dialect::Spark {
            let query = query.expect("all of it has SQL");
            assert!(query.text().contains("FROM `parquet`.`/lake/a b/*.parquet`"));
        } else {
            let error = query.expect_err("no such files");
            assert_eq!(error.findings()[0].code(), "sql-unsupported", "{}", dialect.name());
        }
    }
}

#[test]
fn every_dialect_says_it_in_its_own_words() {
    let plan = plan(&[], &REPORTS[..1]);
    for dialect in Dialect::ALL {
        let query = Query::new(&plan, dialect).expect("all of it has SQL");
        insta::assert_snapshot!(dialect.name(), shown(&query));
    }
}

#[test]
fn every_dialect_can_be_parsed() {
    let money = ("currency = \"EUR\"", "currency = [\"EUR\", \"JPY\"]");
    let column = ("wallet = \"wallet\" }", "wallet = \"wallet\", currency = \"wallet\" }");
    let of_money = "levels = [[\"merchant\", \"day\", \"currency\"]]\nkeys = \"public\"\n\
                    insights = [\"gross\", \"refunds\", \"visits\", \"sales\"]\n\
                    bounds = { gross = 900, refunds = 90, visits = 5, sales = 1000000000 }";
    let month = ("unit = \"user\"", "unit = \"user-month\"");
    let plans = [
        plan(&[], &REPORTS),
        plan(&[], &OTHERS),
        plan(&[month], &[&REPORTS[0].replace("[], ", "").replace("week", "month")]),
        plan(&[money, column], &[of_money]),
        plan(&[LONGER], &[CHANGES]),
    ];
    for plan in plans {
        for dialect in Dialect::ALL {
            parses(&Query::new(&plan, dialect).expect("all of it has SQL"));
        }
    }
}

fn parses(query: &Query) {
    let name = query.dialect.name();
    // The grammar does not know Spark's word for division.
    let text = query.text().replace(") div (", ") / (");
    let parsed = Parser::parse_sql(&*grammar(query.dialect), &text);
    let parsed = parsed.unwrap_or_else(|e| panic!("{name}: {e}\n{}", query.text()));
    assert_eq!(parsed.len(), 1, "{name}");
}

/// What a job with open bounds asks first: norms of users, and tickets.
#[test]
fn the_first_look_is_said_in_every_dialect() {
    let report = "levels = [[\"region\", \"week\"]]\nkeys = \"public\"\n\
                  insights = [\"customers\", \"sales\", \"ticket_quantiles\"]\n\
                  cell_caps = { sales = 500 }";
    let plan = Market::new(&[]).try_plan_changed(&[TABLE], &[report.to_owned()]).expect("a job");
    for dialect in Dialect::ALL {
        let query = Query::next(&plan, dialect).expect("all of it has SQL");
        parses(&query);
        if dialect == Dialect::DuckDb {
            insta::assert_snapshot!("first_look", shown(&query));
        }
    }
    let settled = Plan { surveys: Vec::new(), ..plan };
    for dialect in Dialect::ALL {
        parses(&Query::new(&settled, dialect).expect("all of it has SQL"));
    }
}

/// What a job asks that looks for keys: rounds, and then the totals of what they have found.
#[test]
fn rounds_and_what_they_find_are_said_in_every_dialect() {
    let report = "levels = [[\"home_region\", \"region\", \"kind\", \"month\"], []]\nkeys = \"discovered\"\n\
                  cells_max = 3\ninsights = [\"customers\"]\nbounds = { customers = 2 }";
    let plan = Market::with_kinds().try_plan_changed(&[TABLE, GROUPS], &[report.to_owned()]);
    let plan = plan.expect("a good job");
    let time = |month: u32| {
        let first = chrono::NaiveDate::from_ymd_opt(2025, month, 1);
        KeyValue::Date(first.expect("a day"))
    };
    let text = |text: &str| KeyValue::Text(text.into());
    let cell = |home: &str, month: u32| -> CellKey {
        Box::new([text(home), text("R0"), text("a"), time(month)])
    };
    // One at all times, one at some of them; and of all payments.
    let found = (1..=4).map(|month| cell("R0", month)).chain([cell("R1", 2), cell("it's", 3)]);
    let next = plan.clone().discover(vec![found.collect(), Vec::new()]);
    let sought = next.clone().discover(vec![Vec::new(), vec![Box::new([])]]);
    let sought = sought.discover(vec![Vec::new(), Vec::new()]);
    let none = plan.clone().discover(vec![Vec::new(), Vec::new()]);
    let none = none.discover(vec![Vec::new(), Vec::new()]).discover(vec![Vec::new(), Vec::new()]);
    assert!(sought.is_settled() && none.is_settled());
    for dialect in Dialect::ALL {
        for (name, plan) in [("round", &next), ("sought", &sought), ("", &plan), ("", &none)] {
            let query = Query::next(plan, dialect).expect("all of it has SQL");
            parses(&query);
            if dialect == Dialect::DuckDb && !name.is_empty() {
                insta::assert_snapshot!(name, shown(&query));
            }
        }
    }
}

/// What rests on more of a user than their payments in a cell.
#[test]
fn homes_pairs_cohorts_and_last_visits_are_said_in_words() {
    let query = Query::new(&plan(&[], &OTHERS), Dialect::DuckDb).expect("all of it has SQL");
    insta::assert_snapshot!("others", shown(&query));
}

/// What users spend against other periods, where they count in cells without payments.
#[test]
fn changes_are_said_in_words() {
    let plan = plan(&[LONGER], &[CHANGES]);
    let query = Query::new(&plan, Dialect::DuckDb).expect("all of it has SQL");
    insta::assert_snapshot!("changes", shown(&query));
    // Of norms, too.
    let open = CHANGES.split_once("bounds").expect("it has bounds").0;
    let plan = self::plan(&[LONGER], &[open]);
    for dialect in Dialect::ALL {
        parses(&Query::next(&plan, dialect).expect("all of it has SQL"));
    }
}

/// Totals are of the whole query: whatever changes the job changes its digest.
#[test]
fn another_job_has_another_query() {
    let query = |changes: &[(&str, &str)], reports: &[&str]| {
        Query::new(&plan(changes, reports), Dialect::DuckDb).expect("all of it has SQL").plan
    };
    let same = query(&[], &REPORTS[..1]);
    assert_eq!(query(&[], &REPORTS[..1]), same);
    for change in [
        ("epsilon = \"1\"", "epsilon = \"0.9\""),
        ("last_day = 2025-04-30", "last_day = 2025-04-29"),
        ("lake.payments", "lake.other"),
        ("recipient = \"tests\"", "recipient = \"others\""),
    ] {
        assert_ne!(query(&[change], &REPORTS[..1]), same, "{change:?}");
    }
    assert_ne!(query(&[], &REPORTS[1..]), same);
    let spark = Query::new(&plan(&[], &REPORTS[..1]), Dialect::Spark).expect("has SQL").plan;
    assert!(spark.starts_with("spark:") && same.starts_with("duckdb:"));
}

#[test]
fn what_has_no_sql_is_told_all_at_once() {
    let report = "levels = [[\"region\"]]\nkeys = \"public\"\n\
                  insights = [\"customers\", \"payments\", \"ticket_quantiles\"]\n\
                  bounds = { customers = 2 }";
    let changes = [
        TABLE,
        ("amount = \"amount\"", "amount = \"amount * 100\""),
        ("time = \"time\"", "time = \"to_timestamp(user, '%Y')\""),
    ];
    let plan = Market::new(&[]).try_plan_changed(&changes, &[report.to_owned()]).expect("a job");
    let error = Query::new(&plan, Dialect::Spark).expect_err("not all has SQL");
    let codes: Vec<&str> = error.findings().iter().map(|finding| finding.code()).collect();
    let wanted = ["bound-open", "bound-open", "sql-unsupported", "sql-unsupported"];
    assert_eq!(codes, wanted, "{error}");
    assert!(error.findings().iter().all(|finding| finding.span().is_some()));
    // Bounds that are stated are not open, if a survey is to tell what they take.
    let asked = "levels = [[\"region\"]]\nkeys = \"public\"\ninsights = [\"customers\", \"payments\"]\n\
                 bounds = { customers = 2, payments = 9 }\nsurvey = true";
    let plan =
        Market::new(&[]).try_plan_changed(&[TABLE, GROUPS], &[asked.to_owned()]).expect("a job");
    let error = Query::new(&plan, Dialect::DuckDb).expect_err("it needs a first look");
    let [finding] = error.findings() else { panic!("{error}") };
    assert_eq!(finding.code(), "bound-open");
    assert!(finding.message().starts_with("`survey = true` at `"), "{error}");
    assert!(Query::next(&plan, Dialect::DuckDb).is_ok());
    let plan = asked.replace("\nsurvey = true", "");
    let plan = Market::new(&[]).try_plan_changed(&[TABLE, GROUPS], &[plan]).expect("a job");
    assert!(Query::new(&plan, Dialect::DuckDb).is_ok());
    // Keys that are looked for are not known at once.
    let sought = asked.replace("\nsurvey = true", "").replace("public", "discovered");
    let plan = Market::new(&[]).try_plan_changed(&[TABLE, GROUPS], &[sought]).expect("a job");
    let error = Query::new(&plan, Dialect::DuckDb).expect_err("it needs several looks");
    let [finding] = error.findings() else { panic!("{error}") };
    assert_eq!(finding.code(), "keys-not-sought");
    assert!(Query::next(&plan, Dialect::DuckDb).is_ok());
    let files = Market::new(&[]).plan(&[REPORTS[0].to_owned()]);
    let error = Query::new(&files, Dialect::Spark).expect_err("it has no table");
    assert_eq!(error.findings()[0].code(), "table-missing");
}
