//! Noise that differs between cells, by what an earlier release says of them.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::AsArray;
use arrow::datatypes::Float64Type;
use insta::assert_snapshot;
use serde_json::Value;

use crate::common::{Workshop, shown};
use crate::shared::table_of;

/// A job of four weeks of the sample's payments, from this Monday on.
fn job(name: &str, first_day: &str, last_day: &str, more: &str) -> String {
    format!(
        "version = 1\njob = \"{name}\"\nrecipient = \"partner\"\n\
         [payments]\nfiles = [\"data/payments/*.parquet\"]\ntimezone = \"Asia/Shanghai\"\n\
         first_day = {first_day}\nlast_day = {last_day}\ncurrency = \"CNY\"\n\
         columns = {{ user = \"user_token\", merchant = \"merchant_id\", time = \"paid_at\", amount = \"amount\", \
         currency = \"currency\" }}\n\
         [merchants]\nfiles = [\"data/merchants.parquet\"]\nmin_per_cell = 1\n\
         [privacy]\nunit = \"user\"\nepsilon = \"4\"\ndelta = \"1e-6\"\n\
         [ledger]\nfile = \"ledger.sqlite\"\npopulation = \"people\"\nepsilon_max = \"12\"\ndelta_max = \"1e-5\"\n\
         [[report]]\nname = \"market\"\nlevels = [[], [\"merchant\", \"week\"]]\nkeys = \"public\"\n\
         insights = [\"customers\", \"payments\", \"sales\", \"average_ticket\"]\n{more}\n"
    )
}

fn run(workshop: &Workshop, args: &[&str]) -> String {
    let output = workshop.discretail(args);
    assert!(output.status.success(), "{}", shown(workshop, &output));
    shown(workshop, &output)
}

fn manifest(workshop: &Workshop, job: &str) -> Value {
    let bytes = std::fs::read(workshop.path(&format!("releases/{job}/manifest.json"))).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// By table and statistic.
fn octaves(manifest: &Value) -> BTreeMap<String, u64> {
    let events = manifest["mechanisms"].as_array().unwrap().iter();
    let one = |event: &Value| {
        let name = format!("{} {}", event["file"], event["statistic"]).replace('"', "");
        Some((name, event["octaves_max"].as_u64()?))
    };
    events.filter_map(one).collect()
}

#[test]
fn small_cells_have_less_noise_than_large_ones_in_the_next_release() {
    let workshop = Workshop::empty();
    let sample = ["sample", "data", "--payments", "60000", "--users", "3000", "--merchants", "100"];
    run(&workshop, &sample);
    workshop.text("first.toml", &job("first", "2025-01-06", "2025-02-02", ""));
    let more = "previous = \"latest\"\ncell_scales = 0.5";
    workshop.text("next.toml", &job("next", "2025-02-03", "2025-03-02", more));
    run(&workshop, &["run", "first.toml"]);
    assert!(octaves(&manifest(&workshop, "first")).is_empty());
    let plan = run(&workshop, &["plan", "next.toml"]);
    let line = plan.lines().find(|line| line.starts_with("Noise in")).unwrap();
    // Earlier values are noised, so how many octaves it is differs.
    let line = line.replace(|digit: char| digit.is_ascii_digit(), "N");
    assert_snapshot!(
        line,
        @"Noise in cells of market.merchant-week grows with what they held before, by so many octaves at most: customers by N, payments by N, sales by N (`cell_scales`)."
    );
    // A query by hand takes one look, so it has the bounds of the first, and no scales.
    let types = "table = \"payments\"\ntypes = { user_token = \"text\", merchant_id = \"text\", paid_at = \
                 \"timestamp_tz\", amount = \"decimal\", currency = \"text\" }";
    let table = job("next", "2025-02-03", "2025-03-02", more);
    workshop.text("table.toml", &table.replace("files = [\"data/payments/*.parquet\"]", types));
    let sql = run(&workshop, &["plan", "table.toml", "--sql", "duckdb"]);
    assert!(sql.contains("dr_l2_cut") && !sql.contains("n_scale"), "{sql}");
    run(&workshop, &["run", "next.toml"]);
    let verified = run(&workshop, &["verify", "releases/next", "--ledger", "ledger.sqlite"]);
    assert!(verified.contains("lattice    ok"), "{verified}");

    let own = manifest(&workshop, "next");
    let found = octaves(&own);
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    let of = |kind| format!("market.merchant-week.parquet {kind}");
    assert_eq!(names, ["customers", "payments", "sales"].map(of));
    // They have surveys of their own; the total's bounds are those of the first.
    assert_eq!(own["surveys"].as_array().unwrap().len(), 3);
    let from = own["bounds_from"].as_array().unwrap();
    assert!(from.iter().all(|bound| bound["file"] == "market.all.parquet"), "{from:?}");

    // Each merchant has one deviation in all weeks, by whole octaves below the largest.
    let table = table_of(&workshop, "next", "market.merchant-week.parquet");
    let sds = table.column_by_name("payments_sd").unwrap().as_primitive::<Float64Type>().values();
    let merchants = table.column_by_name("merchant").unwrap();
    let merchants = merchants.as_dictionary::<arrow::datatypes::Int32Type>().keys().values();
    let mut of_merchant: BTreeMap<i32, BTreeSet<u64>> = BTreeMap::new();
    for (merchant, sd) in merchants.iter().zip(sds) {
        of_merchant.entry(*merchant).or_default().insert(sd.to_bits());
    }
    assert!(of_merchant.values().all(|sds| sds.len() == 1));
    let largest = sds.iter().copied().fold(0.0, f64::max);
    let below: BTreeSet<String> = sds.iter().map(|sd| (largest / sd).log2().to_string()).collect();
    let most = found[&of("payments")];
    assert!(most >= 2 && below.contains(&most.to_string()), "{below:?}");
    assert!(below.iter().all(|octaves| octaves.parse::<u64>().unwrap() <= most), "{below:?}");

    // A third release goes on from the second, and takes no bound of what had scales there.
    let march = job("third", "2025-03-03", "2025-03-30", more);
    workshop.text("third.toml", &march);
    run(&workshop, &["run", "third.toml"]);
    run(&workshop, &["verify", "releases/third", "--ledger", "ledger.sqlite"]);
    workshop.text("plain.toml", &march.replace("third", "plain").replace("0.5", "0"));
    run(&workshop, &["run", "plain.toml"]);
    let from = manifest(&workshop, "plain");
    let from = from["bounds_from"].as_array().unwrap();
    assert!(from.len() == 5 && from.iter().all(|bound| bound["job"] == "first"), "{from:?}");
    let plan = workshop.discretail(&["plan", "plain.toml", "--json"]).stdout;
    let plan: Value = serde_json::from_slice(&plan).unwrap();
    let statistics = plan["statistics"].as_array().unwrap();
    assert!(statistics.iter().all(|s| s["octaves_max"].is_null() && s["norm_bound"].is_number()));

    // Noise that no scale explains is found.
    let edit = |octaves: &dyn Fn(&Value) -> Value, change: &dyn Fn(&mut Value)| {
        let mut edited = own.clone();
        for event in edited["mechanisms"].as_array_mut().unwrap() {
            event["octaves_max"] = octaves(event);
        }
        change(&mut edited);
        workshop.text("releases/next/manifest.json", &edited.to_string());
        let output = workshop.discretail(&["verify", "releases/next"]);
        assert_eq!(output.status.code(), Some(1));
        shown(&workshop, &output)
    };
    let said = edit(&|_| Value::Null, &|_| ());
    assert!(said.contains("`payments_sd` is not that of its noise"), "{said}");
    // Nor are scales believed that no plan has: too many octaves, of the total too, whose bounds
    // are those of an earlier release, and without any earlier values.
    let fault = |said: &str| said.matches("cannot have cells whose noise differs").count();
    let as_is = |event: &Value| event["octaves_max"].clone();
    assert_eq!(
        fault(&edit(&|event| if as_is(event).is_null() { Value::Null } else { 9.into() }, &|_| ())),
        3
    );
    assert_eq!(fault(&edit(&|_| 2.into(), &|_| ())), 3);
    assert_eq!(fault(&edit(&as_is, &|m| m["estimates_from"] = serde_json::json!([]))), 3);
}

#[test]
fn scales_are_powers_from_nothing_to_one_and_need_earlier_values() {
    let workshop = Workshop::new();
    run(&workshop, &["sample", "data", "--payments", "1000"]);
    let mut texts = String::new();
    for more in [
        "cell_scales = 0.5",
        "previous = \"latest\"\ncell_scales = 1.5",
        "previous = \"latest\"\ncell_scales = true",
    ] {
        workshop.text("job.toml", &job("first", "2025-01-06", "2025-02-02", more));
        texts += &shown(&workshop, &workshop.discretail(&["check", "job.toml"]));
    }
    assert_snapshot!(texts);
}
