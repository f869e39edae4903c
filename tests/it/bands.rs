//! Bands in place of the values of cells that are hidden for their merchants.

use arrow::array::{Array, RecordBatch};
use arrow::util::display::array_value_to_string;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::common::{Workshop, fitted, refused, shown};
use crate::merchants::workshop;
use crate::shared::table;
use crate::verify::{Copy, names, replaced};

const BANDS: &str = "bands = { payments = [1000, 2000, 5000] }";

fn released(line: &str) -> Workshop {
    let workshop = workshop(line);
    workshop.release();
    workshop
}

/// Of each cell that is told in bands its keys and the band.
fn told(batch: &RecordBatch, keys: usize) -> Vec<String> {
    let text = |column: usize, row| array_value_to_string(batch.column(column), row).unwrap();
    let at = batch.schema().index_of("payments_band").unwrap();
    let rows = (0..batch.num_rows()).filter(|&row| batch.column(at).is_valid(row));
    let name = |row| (0..keys).map(|key| text(key, row)).collect::<Vec<_>>().join("/");
    rows.map(|row| format!("{}: {}", name(row), text(at, row))).collect()
}

#[test]
fn cells_of_few_merchants_are_told_in_bands_and_those_beside_them_are_not() {
    // Fuel in the north is of two merchants, with 1,300 payments. Food, of three with 1,800, is
    // hidden as the region less books would tell of fuel, so it could have what fuel has not. Of
    // 3,100 the edge 1,000 is at most half. All of it is fifty deviations of the noise or more away
    // from the edges, in the next test, too.
    let workshop = released(BANDS);
    let cells = table(&workshop, "market.region-category.parquet");
    assert_eq!(told(&cells, 2), ["north/fuel: 1000 and more"]);
    let values = cells.column_by_name("payments").unwrap();
    assert_eq!(values.null_count(), 2);
    assert_eq!(cells.column_by_name("payments_unbiased").unwrap().null_count(), 2);
    // The same merchants by wallet would tell more together.
    let wallets = table(&workshop, "wallets.category-region-wallet.parquet");
    assert_eq!(told(&wallets, 3), [""; 0]);
    assert!(wallets.column_by_name("customers_band").is_none());
    let manifest = std::fs::read(workshop.path("releases/test/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_snapshot!(serde_json::to_string_pretty(&manifest["merchant_protection"]).unwrap());
    let page = std::fs::read_to_string(workshop.path("releases/test/report.html")).unwrap();
    assert!(page.contains("\"bands\":[\"1000 and more\"]"));
}

#[test]
fn edges_count_that_are_at_most_half_of_what_the_region_tells() {
    // Fuel and food have 3,100, whatever fuel has of it.
    let cells = |line| table(&released(line), "market.region-category.parquet");
    assert_eq!(told(&cells("bands = { payments = [2000, 5000] }"), 2), [""; 0]);
    let one = cells("bands = { payments = [1400, 5000] }");
    assert_eq!(told(&one, 2), ["north/fuel: below 1400"]);
}

#[test]
fn a_plan_says_how_many_groups_may_be_told_in_bands_or_why_none() {
    let line = |least: u32| {
        let workshop = workshop(&format!("min_per_cell = {least}\n{BANDS}"));
        let text = std::fs::read_to_string(workshop.path("job.toml")).unwrap();
        let (market, _) = text.split_once("\n[[report]]\nname     = \"wallets\"").unwrap();
        workshop.text("job.toml", &fitted(market.to_owned()));
        let output = workshop.discretail(&["plan", "job.toml"]);
        assert!(output.status.success(), "{}", shown(&workshop, &output));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().find(|line| line.starts_with("In bands")).expect("a line").to_owned()
    };
    let fuel = line(3);
    assert!(fuel.ends_with("may be told: 1 of these groups."), "{fuel}");
    // Whatever is hidden is so for itself.
    let none = line(4);
    assert!(
        none.contains("0 of these groups. Those of one merchant never are, and others"),
        "{none}"
    );
}

#[test]
fn bands_that_are_not_what_the_manifest_says_are_found() {
    let workshop = released(BANDS);
    let failed = |copy: Copy| {
        let failed = copy.failed(None);
        format!("{}: {}\n", names(&failed), failed.into_values().collect::<Vec<_>>().join("; "))
    };
    let claim = |change: &dyn Fn(&mut Value)| {
        let copy = Copy::of(&workshop);
        copy.manifest(change);
        failed(copy)
    };
    let moved = |from: usize, to: usize| {
        let copy = Copy::of(&workshop);
        copy.table("market.region-category.parquet", |batch| {
            let bands = batch.column_by_name("payments_band").unwrap();
            let places: Vec<u32> = (0..batch.num_rows())
                .map(|row| if row == to { from } else { row } as u32)
                .collect();
            let places = arrow::array::UInt32Array::from(places);
            let bands = arrow::compute::take(bands, &places, None).unwrap();
            replaced(&batch, "payments_band", bands)
        });
        failed(copy)
    };
    // Rows: books, food and fuel of the north, then of the south.
    let texts = [
        claim(&|m| m["merchant_protection"]["bands"]["payments"] = json!(["1000", "1100"])),
        claim(&|m| m["merchant_protection"]["bands"] = json!({})),
        claim(&|m| m["key_sets"][1]["bands"] = json!([])),
        claim(&|m| m["merchant_protection"]["hidden"][0]["in_bands"] = json!([["south", "fuel"]])),
        moved(2, 1),
        moved(2, 3),
    ];
    assert_snapshot!(texts.concat());
}

#[test]
fn bands_that_tell_too_much_or_nothing_are_refused() {
    let check = |line: &str| {
        let workshop = workshop(line);
        let text = std::fs::read_to_string(workshop.path("job.toml")).unwrap();
        refused(&workshop, &text)
    };
    let private = |line: &str| {
        let workshop = workshop(line);
        let text = std::fs::read_to_string(workshop.path("job.toml")).unwrap();
        refused(&workshop, &text.replace("\"public\"", "\"private\""))
    };
    let texts = [
        check("bands = { payments = [1000, 1500] }"),
        check("bands = { payments = [] , visits = [1] }"),
        check("bands = {}"),
        check("bands = { payments = [1000], sales = [1000] }"),
        check("bands = { sales = [1000] }"),
        check("min_per_cell = 1\nbands = { payments = [1000] }"),
        private("bands = { payments = [1000] }"),
    ];
    assert_snapshot!(texts.join("\n"));
}
