//! `report.html` and `discretail report`; `tests/released` looks at it in a browser.

use insta::assert_snapshot;
use polars::prelude::{DataFrame, DataType, ParquetReader, SerReader, df};
use serde_json::Value;

use crate::common::{JOB, Workshop, fitted, registry, shown};

const PAGE: &str = "releases/test/report.html";

fn released(job: &str, payments: DataFrame) -> Workshop {
    let workshop = Workshop::empty();
    workshop.parquet("merchants.parquet", registry());
    workshop.parquet("payments.parquet", payments);
    workshop.text("job.toml", job);
    let output = workshop.discretail(&["run", "job.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&workshop, &output));
    workshop
}

fn page(workshop: &Workshop) -> String {
    std::fs::read_to_string(workshop.path(PAGE)).unwrap()
}

/// What the page's own code reads.
pub(crate) fn data(page: &str) -> Value {
    let data = page.split_once("id=\"data\">").unwrap().1;
    serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap()
}

#[test]
fn the_page_is_made_anew_from_the_release_alone() {
    let workshop = released(JOB, crate::common::payments());
    let charged = ["releases/test", "--ledger", "kept.sqlite"];
    std::fs::copy(workshop.path("ledger.sqlite"), workshop.path("kept.sqlite")).unwrap();
    for file in ["payments.parquet", "merchants.parquet", "ledger.sqlite", "job.toml"] {
        std::fs::remove_file(workshop.path(file)).unwrap();
    }
    let report = |args: &[&str]| {
        let args: Vec<&str> = ["report"].iter().chain(args).copied().collect();
        shown(&workshop, &workshop.discretail(&args))
    };
    let mut texts = report(&["releases/test"]);
    assert!(page(&workshop) == std::fs::read_to_string(workshop.path("report.html")).unwrap());
    // That it was made anew somewhere else, or lost, does not matter.
    std::fs::remove_file(workshop.path(PAGE)).unwrap();
    texts += &report(&["releases/test", "--output", PAGE]);
    assert!(page(&workshop) == std::fs::read_to_string(workshop.path("report.html")).unwrap());
    texts += &report(&["releases/test", "--output", "nowhere/report.html"]);
    texts += &report(&["nowhere", "--json"]);
    texts += &report(&charged);
    // Another manifest than that which was published, however well it fits its tables.
    let manifest = std::fs::read_to_string(workshop.path("releases/test/manifest.json")).unwrap();
    workshop.text("releases/test/manifest.json", &manifest.replace("\"partner\"", "\"rival\""));
    texts += &report(&charged);
    texts += &report(&["releases/test"]);
    workshop.text("releases/test/manifest.json", &manifest.replace("\"test\"", "\"other\""));
    texts += &report(&charged);
    workshop.text("releases/test/manifest.json", &manifest);
    let table = workshop.path("releases/test/market.wallet.parquet");
    std::fs::copy(workshop.path("releases/test/market.all.parquet"), &table).unwrap();
    texts += &report(&["releases/test"]);
    workshop.text("releases/test/manifest.json", "{\"files\": 1}");
    texts += &report(&["releases/test"]);
    std::fs::remove_file(workshop.path("releases/test/manifest.json")).unwrap();
    texts += &report(&["releases/test"]);
    assert_snapshot!(texts);
}

#[test]
fn json_tells_the_file() {
    let workshop = released(JOB, crate::common::payments());
    let output = workshop.discretail(&["report", "releases/test", "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["status"], "written");
    let size = std::fs::metadata(workshop.path(told["file"].as_str().unwrap())).unwrap().len();
    assert_eq!(told["bytes"], size);
}

/// What of the manifest a reader should see: each of it has words on the page, which
/// `tests/released` reads in a browser.
#[test]
fn the_page_knows_what_the_manifest_says_of_the_release() {
    let plain = data(&page(&released(JOB, crate::common::payments())));
    assert_eq!(plain["release"]["job"]["status"], "final");
    assert_eq!(plain["release"]["merchants_least"], Value::Null);
    assert_eq!(plain["release"]["useless"], serde_json::json!([]));
    let (head, _) = JOB.split_once("[[report]]").unwrap();
    let job = head
        .replace("recipient = ", "status = \"provisional\"\nrecipient = ")
        .replace("[merchants]\n", "[merchants]\nmin_per_cell = 2\n")
        .replace("[privacy]", "[expect]\nusers = 60\npayments = 1200\n\n[privacy]");
    let report = "[[report]]\nname = \"new\"\nlevels = [[\"week\"], [\"region\", \"week\"]]\n\
                  keys = \"public\"\ninsights = [\"new_customers\", \"customers\"]\nlook_back = 10\n\
                  bounds = { customers = 4, new_returning = 4 }\n";
    let workshop = Workshop::new();
    workshop.text("first.toml", &fitted(format!("{job}{report}")));
    let next = job.replace("\"test\"", "\"next\"\nrevises = \"test\"");
    workshop.text("next.toml", &fitted(format!("{next}{report}")));
    for job in ["first.toml", "next.toml"] {
        let output = workshop.discretail(&["run", job, "--accept-useless"]);
        assert_eq!(output.status.code(), Some(0), "{}", shown(&workshop, &output));
    }
    let output = workshop.discretail(&["verify", "releases/next", "--ledger", "ledger.sqlite"]);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&workshop, &output));
    let page = std::fs::read_to_string(workshop.path("releases/next/report.html")).unwrap();
    let data = data(&page);
    let release = &data["release"];
    assert_eq!(release["job"]["status"], "provisional");
    assert_eq!(release["job"]["revises"]["job"], "test");
    assert_eq!(release["merchants_least"], 2);
    assert_eq!(release["useless"][0]["file"], "new.week.parquet");
    assert_eq!(release["useless"][0]["statistic"], "customers");
    assert_eq!(data["tables"][1]["look_back"], 10);
}

#[test]
fn the_page_knows_of_what_shares_are() {
    let (head, _) = JOB.split_once("[[report]]").unwrap();
    let report = "[[report]]\nname = \"parts\"\nlevels = [[\"wallet\", \"week\"]]\nkeys = \"public\"\n\
                  insights = [\"payments_share\"]\nshare_of = \"wallet\"\n\n[[report]]\nname = \"all\"\n\
                  levels = [[\"week\"]]\nkeys = \"public\"\ninsights = [\"payments\"]\n";
    let data = data(&page(&released(&format!("{head}{report}"), crate::common::payments())));
    let tables = data["tables"].as_array().unwrap();
    let of = |report: &str| &tables.iter().find(|t| t["report"] == report).unwrap()["share_of"];
    assert_eq!(*of("parts"), serde_json::json!(["wallet"]));
    assert_eq!(*of("all"), Value::Null);
}

#[test]
fn the_page_shows_what_the_tables_hold() {
    // Whether or not small cells are shown.
    let never = JOB.replace("[[report]]", "[[report]]\nsuppress_above = \"never\"");
    assert!(shown_values(&never) > 40);
    shown_values(JOB);
}

/// Compares the page with the tables; says how many estimates were shown.
fn shown_values(job: &str) -> usize {
    let workshop = released(job, crate::common::payments());
    let data = data(&page(&workshop));
    let tables = data["tables"].as_array().unwrap();
    assert_eq!(tables.len(), 5);
    let mut seen = 0;
    for table in tables {
        let name = table["file"].as_str().unwrap();
        let file = std::fs::File::open(workshop.path(&format!("releases/test/{name}"))).unwrap();
        let frame = ParquetReader::new(file).finish().unwrap();
        assert_eq!(table["rows"], frame.height());
        for key in table["keys"].as_array().unwrap() {
            let column = frame.column(key["name"].as_str().unwrap()).unwrap();
            let texts = column.cast(&DataType::String).unwrap();
            for row in 0..frame.height() {
                let code = key["codes"][row].as_u64().unwrap() as usize;
                assert_eq!(key["values"][code], texts.str().unwrap().get(row).unwrap());
            }
        }
        for column in table["columns"].as_array().unwrap() {
            let name = column["name"].as_str().unwrap();
            let of = |suffix: &str| {
                let column = frame.column(&format!("{name}{suffix}")).unwrap();
                column.cast(&DataType::Float64).unwrap()
            };
            let (x, low, high) = (of(""), of("_low"), of("_high"));
            for row in 0..frame.height() {
                let of = |column: &polars::prelude::Column| column.f64().unwrap().get(row);
                let shown = |which: &str| column[which][row].as_f64();
                let (Some(x), Some(low), Some(high)) = (of(&x), of(&low), of(&high)) else {
                    assert_eq!(shown("x"), None);
                    let why = frame.column(&format!("{name}_suppressed")).unwrap();
                    let why = why.cast(&DataType::String).unwrap();
                    let code = column["suppressed"][row].as_u64().unwrap() as usize;
                    assert_eq!(column["reasons"][code], why.str().unwrap().get(row).unwrap());
                    continue;
                };
                let step = (high - low) / 100.0 * 1.000_001;
                let near = |which: &str, value: f64| (shown(which).unwrap() - value).abs() <= step;
                assert!(near("x", x) && near("low", low) && near("high", high), "{name} {row}");
                assert!(
                    shown("low").unwrap() <= low + 1e-9 && shown("high").unwrap() >= high - 1e-9
                );
                seen += 1;
            }
        }
    }
    seen
}

#[test]
fn nothing_in_a_release_becomes_markup() {
    let names = ["</script>", "<!--<script>", "NULL", "{b|c} & \"'`${x}", "$&", "/*script*/"];
    let rows = 1200usize;
    let payments = df!(
        "user" => (0..rows).map(|i| format!("u{:02}", i * 7 % 60)).collect::<Vec<String>>(),
        "merchant" => (0..rows).map(|i| ["M1", "M2", "M3", "NULL"][i * 5 % 4]).collect::<Vec<&str>>(),
        "time" => (0..rows).map(|i| 1_735_704_000 + 1800 * i as i64).collect::<Vec<i64>>(),
        "amount" => (0..rows).map(|i| 100 + (i as i64 * 37) % 9000).collect::<Vec<i64>>(),
        "wallet" => (0..rows).map(|i| names[i % 6]).collect::<Vec<&str>>(),
    )
    .unwrap();
    let list: Vec<String> = names.iter().map(|name| format!("'''{name}'''")).collect();
    let keys = format!("wallet = [{}]", list.join(", "));
    let job = JOB.replace("wallet = [\"alipay\", \"apple_pay\", \"card\"]", &keys);
    let page = page(&released(&job, payments));
    let other = self::page(&released(JOB, crate::common::payments()));
    for tag in ["<script", "</script", "<!--", "-->"] {
        assert_eq!(page.matches(tag).count(), other.matches(tag).count(), "{tag}");
    }
    let data = data(&page);
    let wallets = data["tables"].as_array().unwrap().iter().find(|t| t["level"] == "wallet");
    let mut values: Vec<&str> = Vec::new();
    values.extend(
        wallets.unwrap()["keys"][0]["values"].as_array().unwrap().iter().filter_map(Value::as_str),
    );
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    assert_eq!(values, sorted);
}
