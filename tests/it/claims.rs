//! `discretail verify` on manifests of which one thing is not so: each is found for what it is, not
//! only because it disagrees with something else.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, UInt8Array};
use arrow::datatypes::UInt8Type;
use serde_json::{Value, json};

use crate::common::{JOB, Workshop, shown};
use crate::surveys::open;
use crate::verify::{Copy, one_row, replaced};

type Change = fn(&mut Value);

/// A claim, with the check that finds it and a part of what it says.
type Claim = (Change, &'static str, &'static str);

/// Each claim alone is found, with those words.
fn found(workshop: &Workshop, ledger: Option<&Path>, claims: &[Claim]) {
    for (place, (change, check, wanted)) in claims.iter().enumerate() {
        let copy = Copy::of(workshop);
        copy.manifest(change);
        let failed = copy.failed(ledger);
        let said = failed.get(check).map_or("", String::as_str);
        assert!(said.contains(wanted), "{place}, {wanted}: {failed:?}");
    }
}

fn run(workshop: &Workshop, job: &str) {
    workshop.text("job.toml", job);
    let output = workshop.discretail(&["run", "job.toml"]);
    assert!(output.status.success(), "{}", shown(workshop, &output));
}

/// The mechanisms of the first table with private keys.
fn private(manifest: &mut Value) -> impl Iterator<Item = &mut Value> {
    let events = manifest["mechanisms"].as_array_mut().unwrap().iter_mut();
    events.filter(|event| event["file"] == "found.merchant.parquet")
}

/// Changes a field that is a whole number.
fn count(value: &mut Value, change: impl Fn(i64) -> i64) {
    *value = json!(change(value.as_i64().unwrap()));
}

/// Changes a field that is a whole number as text.
fn units(value: &mut Value, change: impl Fn(u128) -> u128) {
    let units: u128 = value.as_str().unwrap().parse().unwrap();
    *value = json!(change(units).to_string());
}

#[test]
fn what_a_manifest_must_not_say_is_found_for_what_it_is() {
    let workshop = Workshop::new();
    run(&workshop, JOB);
    found(
        &workshop,
        None,
        &[
            (|m| m["not_private"] = json!("so"), "manifest", "it is marked as not private"),
            (
                |m| m["unprotected_quantities"] = json!(["rows"]),
                "manifest",
                "quantities left without protection: rows",
            ),
            (
                |m| {
                    let again = m["files"][0].clone();
                    m["files"].as_array_mut().unwrap().push(again);
                },
                "manifest",
                "`files` names a file twice",
            ),
            (
                |m| {
                    let again = m["mechanisms"][0].clone();
                    m["mechanisms"].as_array_mut().unwrap().push(again);
                },
                "manifest",
                "has two mechanisms for one statistic",
            ),
            (
                |m| count(&mut private(m).next().unwrap()["threshold"], |t| t + 1),
                "manifest",
                "has several thresholds",
            ),
            (|m| m["job"]["status"] = json!("late"), "manifest", "neither provisional nor final"),
            (
                |m| m["mechanisms"][0]["grid_units_per_unit"] = json!(65_537),
                "manifest",
                "a mechanism has 65537 grid units a unit",
            ),
            (
                |m| m["mechanisms"][0]["octaves_max"] = json!(1),
                "manifest",
                "cannot have cells whose noise differs by 1 octaves",
            ),
        ],
    );
}

#[test]
fn parameters_that_do_not_go_with_each_other_are_found() {
    let workshop = Workshop::new();
    run(&workshop, JOB);
    found(
        &workshop,
        None,
        &[
            (
                |m| {
                    let norm = m["mechanisms"][0]["norm_bound"].as_i64().unwrap();
                    m["mechanisms"][0]["cell_cap"] = json!(norm + 1);
                },
                "price",
                "the cell cap is not within the norm bound",
            ),
            (
                |m| m["mechanisms"][0]["cell_cap"] = json!(0),
                "price",
                "the cell cap is not within the norm bound",
            ),
            (
                |m| count(&mut m["mechanisms"][0]["sensitivity"], |s| s - 1),
                "price",
                "the sensitivity is not the norm bound",
            ),
            (
                |m| units(&mut m["parameters"]["discreteness_units"], |u| u - 1),
                "price",
                "the grid costs",
            ),
            (|m| m["parameters"]["mu"] = json!(0.1), "price", "`mu` is 0.1"),
            (|m| m["parameters"]["rho"] = json!(0.1), "price", "`rho` is 0.1"),
            (
                |m| m["parameters"]["epsilon_held"] = json!(0.5),
                "guarantee",
                "at epsilon 0.5 the noise needs",
            ),
            (
                |m| private(m).for_each(|event| count(&mut event["cells_max"], |cells| cells + 1)),
                "guarantee",
                "`found.merchant.parquet`: its threshold lets",
            ),
        ],
    );
}

/// Both are small against the noise: 64 grid units where σ has 2¹⁶, and a millionth of ε.
#[test]
fn roundings_and_thresholds_are_part_of_the_guarantee() {
    let workshop = Workshop::new();
    run(&workshop, JOB);
    found(
        &workshop,
        None,
        &[
            // Half of the room for rounding at random.
            (
                |m| {
                    let weights = private(m).map(|event| event["score_weight"].as_i64().unwrap());
                    let room = 32 * weights.sum::<i64>();
                    private(m).for_each(|event| count(&mut event["threshold"], |t| t - room));
                },
                "guarantee",
                "`found.merchant.parquet`: its threshold lets",
            ),
            // What a run states has −2 ln(1 − δ) at most, of which −ln(1 − δ) must be there.
            (
                |m| {
                    let parameters = &mut m["parameters"];
                    let held = parameters["epsilon_held"].as_f64().unwrap();
                    let thresholds = parameters["threshold_delta"].as_f64().unwrap();
                    parameters["epsilon_held"] = json!(held - 1.5 * thresholds);
                },
                "guarantee",
                "the noise needs",
            ),
        ],
    );
    let copy = Copy::of(&workshop);
    copy.manifest(|m| {
        let parameters = &mut m["parameters"];
        let held = parameters["epsilon_held"].as_f64().unwrap();
        let thresholds = parameters["threshold_delta"].as_f64().unwrap();
        parameters["epsilon_held"] = json!(held - 0.5 * thresholds);
    });
    assert!(!copy.failed(None).contains_key("guarantee"));
}

#[test]
fn a_budget_that_the_ledger_has_not_is_found() {
    let workshop = Workshop::new();
    run(&workshop, JOB);
    let ledger = workshop.path("ledger.sqlite");
    let beyond = "that the ledger's jobs have taken is less than this one's, or beyond its limit";
    found(
        &workshop,
        None,
        &[
            (
                |m| {
                    let own = m["parameters"]["mu_squared_units"].clone();
                    m["budget"]["mu_squared_units"] = own;
                    units(&mut m["budget"]["mu_squared_units"], |u| u - 1);
                },
                "guarantee",
                beyond,
            ),
            (
                |m| {
                    let most = m["budget"]["mu_squared_units_max"].clone();
                    m["budget"]["mu_squared_units"] = most;
                    units(&mut m["budget"]["mu_squared_units"], |u| u + 1);
                },
                "guarantee",
                beyond,
            ),
            (
                |m| m["budget"]["threshold_delta_units"] = json!("0"),
                "guarantee",
                "the thresholds' delta that the ledger's jobs have taken is less",
            ),
            (
                |m| {
                    let most = m["budget"]["epsilon_max"].as_f64().unwrap();
                    m["budget"]["epsilon"] = json!(most.next_up());
                },
                "guarantee",
                "the ledger's epsilon or delta so far is none that it can be",
            ),
            (
                |m| m["budget"]["epsilon"] = json!(0.5),
                "guarantee",
                "all jobs of the ledger so far: at epsilon 0.5",
            ),
        ],
    );
    found(
        &workshop,
        Some(&ledger),
        &[
            (
                |m| units(&mut m["budget"]["mu_squared_units_max"], |u| u + 1),
                "ledger",
                "limit of mu^2 in units: ",
            ),
            (
                |m| units(&mut m["budget"]["threshold_delta_units_max"], |u| u + 1),
                "ledger",
                "limit of delta of thresholds in units: ",
            ),
        ],
    );
}

#[test]
fn what_the_ledger_says_otherwise_is_told_one_by_one() {
    let workshop = Workshop::new();
    let job = JOB.replace("unit    = \"user\"", "unit    = \"user-week\"");
    let job = job.replace("[[], [\"region\", \"week\"], [\"wallet\"]]", "[[\"region\", \"week\"]]");
    run(&workshop, &job.replace("[[\"merchant\"], [", "[[\"merchant\", \"day\"], ["));
    found(
        &workshop,
        Some(&workshop.path("ledger.sqlite")),
        &[
            (|m| m["job"]["recipient"] = json!("me"), "ledger", "recipient: partner in"),
            (|m| m["job"]["digest"] = json!("0"), "ledger", "job digest: "),
            (|m| m["job"]["population"] = json!("all"), "ledger", "population: people in"),
            (|m| m["privacy_unit"]["unit"] = json!("user-day"), "ledger", "privacy unit: "),
            (|m| m["privacy_unit"]["user"] = json!("card"), "ledger", "in the ledger, card in"),
            (|m| m["privacy_unit"]["time"] = json!("noon"), "ledger", "in the ledger, noon in"),
            (|m| m["parameters"]["mu_squared_units"] = json!("1"), "ledger", "mu^2 in units: "),
            (
                |m| m["parameters"]["threshold_delta_units"] = json!("1"),
                "ledger",
                "delta of thresholds in units: ",
            ),
            (
                |m| m["privacy_unit"]["composed"]["periods"] = json!(4),
                "ledger",
                "periods of a user: 5 in the ledger, 4 in the manifest",
            ),
            (
                |m| m["privacy_unit"]["composed"]["mu_squared_units"] = json!("1"),
                "ledger",
                "mu^2 of all of them: ",
            ),
            (
                |m| m["job"]["revises"] = json!({ "job": "none", "manifest_sha256": "0" }),
                "ledger",
                "job `none` had not published what it is named for",
            ),
            (
                |m| {
                    m["estimates_from"] = json!([{ "file": "market.region-week.parquet",
                    "job": "none", "manifest_sha256": "0" }])
                },
                "ledger",
                "job `none` had not published what it is named for",
            ),
        ],
    );
}

#[test]
fn surveys_that_no_run_asks_are_found_for_what_they_are() {
    let workshop = Workshop::new();
    run(&workshop, &open());
    // The first one has users of payments, so that it counts norms and spreads.
    let payments = |m: &mut Value| {
        let mut surveys = m["surveys"].as_array().unwrap().iter();
        surveys.position(|survey| survey["mechanisms"].as_array().unwrap().len() == 2).unwrap()
    };
    let place = {
        let copy = Copy::of(&workshop);
        let mut place = 0;
        copy.manifest(|m| place = payments(m));
        place
    };
    let edited = |change: &dyn Fn(&mut Value)| {
        let copy = Copy::of(&workshop);
        copy.manifest(|m| change(&mut m["surveys"][place]["mechanisms"]));
        copy.failed(None)["manifest"].clone()
    };
    let twice = "counts something twice";
    let again = |from: usize| {
        edited(&|mechanisms| {
            let again = mechanisms[from].clone();
            mechanisms.as_array_mut().unwrap().push(again);
        })
    };
    // Next to each other, or with another one between them.
    assert!(again(1).contains(twice) && again(0).contains(twice));
    let grid = edited(&|mechanisms| mechanisms[0]["grid_units_per_unit"] = json!(65_537));
    assert!(grid.contains("a mechanism has 65537 grid units a unit"), "{grid}");
    for (at, moved) in [(0, "a user moves `norms` by 1"), (1, "a user moves `spread` by 8")] {
        let less = edited(&|mechanisms| count(&mut mechanisms[at]["sensitivity"], |s| s / 2));
        assert!(less.contains(moved), "{less}");
        let more = edited(&|mechanisms| {
            mechanisms[at]["values"].as_array_mut().unwrap().push(json!(0));
        });
        assert!(more.contains("values"), "{more}");
    }
    found(
        &workshop,
        None,
        &[
            (
                |m| {
                    let again = m["surveys"][0].clone();
                    m["surveys"].as_array_mut().unwrap().push(again);
                },
                "manifest",
                "a statistic has two surveys",
            ),
            (
                |m| m["surveys"][0]["statistic"] = json!("refunds"),
                "manifest",
                "has a survey, but no mechanism",
            ),
            (|m| m["surveys"] = json!([]), "manifest", "has no survey for its bound"),
        ],
    );
}

/// A key is shown from its threshold on, to the grid unit of its noised customers.
#[test]
fn a_key_that_misses_its_threshold_by_one_unit_is_found() {
    let workshop = Workshop::new();
    run(&workshop, JOB);
    let copy = Copy::of(&workshop);
    let (mut least, mut grid) = (0, 1);
    copy.manifest(|m| {
        let mut of = |statistic: &str| {
            let event = private(m).find(|event| event["statistic"] == statistic).unwrap();
            ["score_weight", "threshold", "grid_units_per_unit"]
                .map(|name| event[name].as_i64().unwrap())
        };
        let ([weight, threshold, own], [of_sales, _, grid_of_sales]) =
            (of("customers"), of("sales"));
        // Sales of none may have been rounded down from half a minor unit.
        let rest = threshold - of_sales * (grid_of_sales / 2);
        (least, grid) = ((rest + weight - 1) / weight, own);
    });
    for (units, is_found) in [(least - 1, true), (least, false)] {
        copy.table("found.merchant.parquet", |batch| {
            let value: ArrayRef = Arc::new(Float64Array::from(vec![units as f64 / grid as f64]));
            replaced(&one_row(&batch), "customers_unbiased", value)
        });
        let failed = copy.failed(None);
        let wanted = "its values together do not reach the threshold";
        let said = failed.get("lattice").is_some_and(|said| said.contains(wanted));
        assert_eq!(said, is_found, "{units} of {least}: {failed:?}");
    }
}

#[test]
fn weekdays_and_hours_that_no_clock_has_are_found() {
    let workshop = Workshop::new();
    run(&workshop, &JOB.replace("[\"region\", \"week\"]", "[\"weekday\", \"hour\"]"));
    let file = "market.weekday-hour.parquet";
    let with = |column: &str, row: fn(usize) -> usize, value: u8| {
        let copy = Copy::of(&workshop);
        copy.table(file, |batch| {
            let numbers = batch.column_by_name(column).unwrap().as_primitive::<UInt8Type>();
            let mut numbers = numbers.values().to_vec();
            let last = row(numbers.len());
            numbers[last] = value;
            replaced(&batch, column, Arc::new(UInt8Array::from(numbers)))
        });
        copy.failed(None)
    };
    // In the order of rows, so that nothing else is wrong with them.
    for (column, row, value) in [
        ("weekday", (|_| 0) as fn(usize) -> usize, 0),
        ("weekday", |rows| rows - 1, 8),
        ("hour", |rows| rows - 1, 24),
    ] {
        let failed = with(column, row, value);
        let wanted = format!("`{column}` is outside the job's period");
        assert!(failed["lattice"].contains(&wanted), "{failed:?}");
    }
    assert!(with("hour", |_| 0, 0).is_empty());
}
