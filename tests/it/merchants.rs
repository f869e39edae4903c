//! Merchant protection: what a merchant that knows its own till can find out about another one.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Float64Array, RecordBatch};
use arrow::datatypes::Float64Type;
use arrow::util::display::array_value_to_string;
use insta::assert_snapshot;
use polars::df;
use polars::prelude::{IntoColumn, NamedFrom, ParquetReader, SerReader, Series};
use serde_json::{Value, json};

use crate::common::{JOB, Workshop, fitted, shown};
use crate::shared::table;
use crate::verify::{Copy, names, replaced};

/// Of each merchant its region, category, and payments.
const MERCHANTS: [(&str, &str, usize); 19] = [
    ("north", "fuel", 900),
    ("north", "fuel", 400),
    ("north", "food", 500),
    ("north", "food", 600),
    ("north", "food", 700),
    ("north", "books", 800),
    ("north", "books", 500),
    ("north", "books", 500),
    ("north", "books", 500),
    ("south", "fuel", 300),
    ("south", "fuel", 300),
    ("south", "fuel", 300),
    ("south", "fuel", 300),
    ("south", "food", 300),
    ("south", "food", 300),
    ("south", "food", 300),
    ("south", "books", 300),
    ("south", "books", 300),
    ("south", "books", 300),
];

/// The merchant that attacks, and the one that it asks about: the two of fuel in the north.
const RIVAL: usize = 1;
const OWN: f64 = 900.0;

const REPORTS: &str = r#"
[[report]]
name     = "market"
levels   = [["region"], ["region", "category"]]
keys     = "public"
insights = ["payments"]
bounds   = { payments = "1" }

[[report]]
name     = "wallets"
levels   = [["category", "region", "wallet"]]
keys     = "public"
insights = ["customers", "payments"]
bounds   = { customers = "1", payments = "1" }
"#;

/// A job on these merchants with a line in its section `[merchants]`, and little noise.
pub(crate) fn workshop(line: &str) -> Workshop {
    let workshop = Workshop::empty();
    let ids: Vec<String> = (0..MERCHANTS.len()).map(|m| format!("M{m:02}")).collect();
    let registry = df!(
        "merchant_id" => ids.clone(),
        "region" => MERCHANTS.map(|m| m.0),
        "category" => MERCHANTS.map(|m| m.1),
    );
    workshop.parquet("merchants.parquet", registry.unwrap());
    let rows = ids.iter().zip(MERCHANTS).flat_map(|(id, (_, _, n))| vec![id.clone(); n]);
    let merchants: Vec<String> = rows.collect();
    let count = merchants.len();
    let payments = df!(
        "user" => (0..count).map(|n| format!("u{n}")).collect::<Vec<_>>(),
        "merchant" => merchants,
        "time" => vec![1_736_900_000i64; count],
        "amount" => vec![1000i64; count],
        "wallet" => (0..count).map(|n| ["alipay", "apple_pay", "card"][n % 3]).collect::<Vec<_>>(),
    );
    workshop.parquet("payments.parquet", payments.unwrap());
    let (head, _) = JOB.split_once("[[report]]").unwrap();
    let head = head
        .replace("epsilon = \"1\"", "epsilon = \"4\"")
        .replace("epsilon_max = \"4\"", "epsilon_max = \"8\"")
        .replace(
            "files = [\"merchants.parquet\"]",
            &format!("files = [\"merchants.parquet\"]\n{line}"),
        );
    workshop.text("job.toml", &format!("{head}{REPORTS}"));
    workshop
}

fn released(line: &str) -> Workshop {
    let workshop = workshop(line);
    let output = workshop.discretail(&["run", "job.toml"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
    workshop
}

/// The noised payments of the rows whose keys are these; `None` where one is hidden.
fn payments(batch: &RecordBatch, keys: &[(&str, &str)]) -> Option<f64> {
    let holds = |row: usize| {
        keys.iter().all(|(key, value)| {
            array_value_to_string(batch.column_by_name(key).unwrap(), row).unwrap() == *value
        })
    };
    let values = batch.column_by_name("payments_unbiased").unwrap().as_primitive::<Float64Type>();
    let rows = (0..batch.num_rows()).filter(|&row| holds(row));
    rows.map(|row| values.is_valid(row).then(|| values.value(row))).sum()
}

const FUEL: [(&str, &str); 2] = [("region", "north"), ("category", "fuel")];

#[test]
fn a_merchant_finds_its_rival_by_subtracting_itself_where_nothing_is_promised() {
    let workshop = released("min_per_cell = 1");
    let truth = MERCHANTS[RIVAL].2 as f64;
    // A quarter of that is 16 deviations of the noise or more, which is never.
    let cells = table(&workshop, "market.region-category.parquet");
    let found = payments(&cells, &FUEL).unwrap() - OWN;
    assert!((found - truth).abs() < 0.25 * truth, "{found}");
    // So it does by what is left of the region.
    let regions = table(&workshop, "market.region.parquet");
    let others = ["food", "books"].map(|c| payments(&cells, &[FUEL[0], ("category", c)]).unwrap());
    let found = payments(&regions, &FUEL[..1]).unwrap() - others[0] - others[1] - OWN;
    assert!((found - truth).abs() < 0.25 * truth, "{found}");
}

#[test]
fn the_attack_fails_where_cells_have_three_merchants() {
    let workshop = released("");
    let cells = table(&workshop, "market.region-category.parquet");
    let wallets = table(&workshop, "wallets.category-region-wallet.parquet");
    let regions = table(&workshop, "market.region.parquet");
    for table in [&cells, &wallets] {
        assert_eq!(payments(table, &FUEL), None);
        // Nor by what is left of the region: food is hidden too, as it is smaller than books.
        assert_eq!(payments(table, &[FUEL[0], ("category", "food")]), None);
        assert!(payments(table, &[FUEL[0], ("category", "books")]).is_some());
        assert!(payments(table, &[("region", "south"), ("category", "fuel")]).is_some());
    }
    // What is left of the region holds three merchants more, which blur what is looked for: 2,200
    // payments, a hundred deviations of the noise above the limit.
    let books = payments(&cells, &[FUEL[0], ("category", "books")]).unwrap();
    let left = payments(&regions, &FUEL[..1]).unwrap() - books - OWN;
    assert!(left > 4.0 * MERCHANTS[RIVAL].2 as f64, "{left}");

    let plan = workshop.discretail(&["plan", "job.toml"]);
    let text = shown(&workshop, &plan);
    let line = text.lines().find(|line| line.contains("registered merchants")).unwrap();
    assert_snapshot!(line);
    let bytes = std::fs::read(workshop.path("releases/test/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&bytes).unwrap();
    assert_snapshot!(serde_json::to_string_pretty(&manifest["merchant_protection"]).unwrap());
    let output = workshop.discretail(&["verify", "releases/test", "--ledger", "ledger.sqlite"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
}

/// The two opticians' tickets are of 500.00, all others' of 10.00.
#[test]
fn laws_of_tickets_are_of_three_merchants_or_more() {
    let tickets = |line: &str| {
        let workshop = workshop(&format!("ticket_groups = \"category\"\n{line}"));
        let ids: Vec<String> = (0..MERCHANTS.len()).map(|m| format!("M{m:02}")).collect();
        let category = |m: usize| if m < 2 { "opticians" } else { MERCHANTS[m].1 };
        let categories: Vec<&str> = (0..MERCHANTS.len()).map(category).collect();
        let regions = MERCHANTS.map(|m| m.0);
        let registry =
            df!("merchant_id" => ids, "region" => regions, "category" => categories).unwrap();
        workshop.parquet("merchants.parquet", registry);
        let amounts = (0..MERCHANTS.len())
            .flat_map(|m| vec![if m < 2 { 50_000i64 } else { 1000 }; MERCHANTS[m].2]);
        let file = std::fs::File::open(workshop.path("payments.parquet")).unwrap();
        let mut payments = ParquetReader::new(file).finish().unwrap();
        let amounts = Series::new("amount".into(), amounts.collect::<Vec<_>>());
        payments.with_column(amounts.into_column()).unwrap();
        workshop.parquet("payments.parquet", payments);
        let job = std::fs::read_to_string(workshop.path("job.toml")).unwrap();
        let (head, _) = job.split_once("[[report]]").unwrap();
        let report = "[[report]]\nname = \"sizes\"\nlevels = [[\"category\"]]\nkeys = \"public\"\n\
            insights = [\"ticket_quantiles\"]\n";
        workshop.text("job.toml", &fitted(format!("{head}{report}")));
        let output = workshop.discretail(&["run", "job.toml"]);
        assert!(output.status.success(), "{}", shown(&workshop, &output));
        let output = workshop.discretail(&["verify", "releases/test", "--ledger", "ledger.sqlite"]);
        assert!(output.status.success(), "{}", shown(&workshop, &output));
        let bytes = std::fs::read(workshop.path("releases/test/manifest.json")).unwrap();
        let manifest: Value = serde_json::from_slice(&bytes).unwrap();
        let surveys = manifest["surveys"].as_array().unwrap().iter();
        let mut tickets = surveys.map(|s| &s["mechanisms"][0]).filter(|m| m["counts"] == "tickets");
        let tickets = tickets.next().unwrap();
        let unit = tickets["grid_units_per_unit"].as_f64().unwrap();
        let values = tickets["values"].as_array().unwrap().iter();
        let values: Vec<f64> = values.map(|value| value.as_f64().unwrap() / unit).collect();
        // Four times the natural logarithm of 1000 and of 50000, in minor units.
        values.chunks(64).map(|law| [law[27], law[43]]).collect::<Vec<_>>()
    };
    // All numbers are forty deviations of the noise away from these limits.
    let few = |law: &[f64; 2]| law[0] < 300.0 && law[1] > 1000.0;
    let laws = tickets("min_per_cell = 1");
    assert_eq!((laws.len(), laws.iter().filter(|law| few(law)).count()), (4, 1), "{laws:?}");
    // The opticians, and with them the smallest other category.
    let laws = tickets("");
    let both = laws.iter().filter(|law| law[0] > 500.0 && law[1] > 1000.0).count();
    assert_eq!(
        (laws.len(), laws.iter().filter(|law| few(law)).count(), both),
        (3, 0, 1),
        "{laws:?}"
    );
}

#[test]
fn what_is_hidden_must_be_told_and_what_is_told_hidden() {
    let workshop = released("");
    let failed = |change: &dyn Fn(&Copy)| {
        let copy = Copy::of(&workshop);
        change(&copy);
        let failed = copy.failed(None);
        format!("{}: {}\n", names(&failed), failed.into_values().collect::<Vec<_>>().join("; "))
    };
    let claim = |change: &dyn Fn(&mut Value)| failed(&|copy| copy.manifest(change));
    let texts = [
        failed(&|copy| {
            copy.table("market.region-category.parquet", |batch| {
                // As if the noised values had been left there.
                let values = Float64Array::from_iter_values((0..batch.num_rows()).map(|_| 512.0));
                replaced(&batch, "payments_unbiased", Arc::new(values))
            });
        }),
        claim(&|m| m["merchant_protection"] = Value::Null),
        claim(&|m| m["merchant_protection"]["min_per_cell"] = json!(1)),
        claim(&|m| m["merchant_protection"]["hidden"][0]["values"] = json!([["north", "fuel"]])),
        claim(&|m| m["merchant_protection"]["hidden"][0]["keys"] = json!(["region", "street"])),
    ];
    assert_snapshot!(texts.concat());
}

#[test]
fn jobs_that_cannot_keep_the_promise_are_refused() {
    let check = |line: &str, from: &str, to: &str| {
        let workshop = workshop(line);
        let job = std::fs::read_to_string(workshop.path("job.toml")).unwrap().replace(from, to);
        workshop.text("job.toml", &job);
        let output = workshop.discretail(&["check", "job.toml"]);
        assert_eq!(output.status.code(), Some(2));
        shown(&workshop, &output)
    };
    let texts = [
        check("min_per_cell = 9", "", ""),
        check("min_per_cell = 3", "[\"region\"], ", "[\"merchant\"], "),
        check("min_per_cell = 5", "", ""),
    ];
    assert_snapshot!(texts.join("\n"));
}

#[test]
fn too_many_small_groups_are_refused() {
    let workshop = workshop("min_per_cell = 5");
    let ids: Vec<String> = (0..900).map(|m| format!("M{m:03}")).collect();
    let of = |modulus: usize| (0..900).map(|m| format!("{}", m % modulus)).collect::<Vec<_>>();
    let registry = df!("merchant_id" => ids, "region" => of(30), "category" => of(31));
    workshop.parquet("merchants.parquet", registry.unwrap());
    let job = std::fs::read_to_string(workshop.path("job.toml")).unwrap();
    let job = job.replace("[\"region\", \"category\"]", "[\"category\"]");
    let job = job.replace("[\"category\", \"region\", \"wallet\"]", "[\"category\", \"wallet\"]");
    workshop.text("job.toml", &job);
    let output = workshop.discretail(&["check", "job.toml"]);
    assert_snapshot!(shown(&workshop, &output));
}

#[test]
fn later_estimates_go_by_what_is_shown_of_earlier_ones() {
    let workshop = released("");
    let job = std::fs::read_to_string(workshop.path("job.toml")).unwrap();
    let job = job
        .replace("job       = \"test\"", "job = \"later\"")
        .replace("epsilon = \"4\"", "epsilon = \"0.1\"")
        .replace("first_day = 2025-01-01", "first_day = 2025-01-02")
        .replace("name     = \"market\"", "name     = \"market\"\nprevious = \"test\"");
    workshop.text("later.toml", &job);
    let output = workshop.discretail(&["run", "later.toml"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
    let output = workshop.discretail(&["verify", "releases/later", "--ledger", "ledger.sqlite"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
    let manifest = |job: &str| -> Value {
        let path = workshop.path(&format!("releases/{job}/manifest.json"));
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
    let (first, later) = (manifest("test"), manifest("later"));
    let from = later["estimates_from"].as_array().unwrap();
    assert!(!from.is_empty() && from.iter().all(|entry| entry["job"] == "test"), "{from:?}");
    // What the first hides, the second hides too, and has no values to go by.
    let hidden = &first["merchant_protection"]["hidden"];
    assert!(!hidden.as_array().unwrap().is_empty());
    assert_eq!(&later["merchant_protection"]["hidden"], hidden);
}
