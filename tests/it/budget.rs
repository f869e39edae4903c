//! What a release says of the ledger's budget.

use serde_json::{Value, json};

use crate::common::{JOB, Workshop, shown};
use crate::crash::events;
use crate::verify::{Copy, names};

fn run(workshop: &Workshop, job: &str) -> Value {
    run_as(workshop, job, |text| text)
}

/// The same of a job that is changed.
fn run_as(workshop: &Workshop, job: &str, change: impl Fn(String) -> String) -> Value {
    let text = JOB.replace("job       = \"test\"", &format!("job = \"{job}\""));
    workshop.text("job.toml", &change(text.replace("epsilon = \"1\"", "epsilon = \"0.5\"")));
    let output = workshop.discretail(&["run", "job.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", shown(workshop, &output));
    let path = format!("releases/{job}");
    let output = workshop.discretail(&["verify", &path, "--ledger", "ledger.sqlite"]);
    assert_eq!(output.status.code(), Some(0), "{}", shown(workshop, &output));
    let bytes = std::fs::read(workshop.path(&format!("{path}/manifest.json"))).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn units(value: &Value) -> u128 {
    value.as_str().unwrap().parse().unwrap()
}

#[test]
fn each_release_states_what_all_so_far_have_taken() {
    let workshop = Workshop::new();
    let (first, second) = (run(&workshop, "first"), run(&workshop, "test"));
    for name in ["mu_squared_units", "threshold_delta_units"] {
        let own = units(&first["parameters"][name]);
        assert_eq!(units(&first["budget"][name]), own, "{name}");
        assert_eq!(units(&second["budget"][name]), 2 * own, "{name}");
        let most = units(&second["budget"][&format!("{name}_max")]);
        assert!(2 * own < most, "{name}");
    }
    let epsilon = |manifest: &Value| manifest["budget"]["epsilon"].as_f64().unwrap();
    // By composition, two of 0.5 are more than one and less than their sum.
    assert!(epsilon(&first) < epsilon(&second) && epsilon(&second) < 1.0);
    assert_eq!(second["budget"]["epsilon_max"], json!(4.0));
    let page = std::fs::read_to_string(workshop.path("releases/test/report.html")).unwrap();
    assert!(page.contains("\"mu_squared_units_max\""));
}

/// That a job stopped may tell of payments, so its price counts in what later releases state.
#[test]
fn jobs_that_stopped_count_too() {
    let workshop = Workshop::new();
    let monthly = |text: String| text.replace("unit    = \"user\"", "unit = \"user-month\"");
    let job = JOB.replace("job       = \"test\"", "job = \"stopped\"");
    let nobody = job.replace("timezone", "where = \"wallet = 'none'\"\ntimezone");
    let nobody = monthly(nobody.replace("epsilon = \"1\"", "epsilon = \"0.5\""));
    workshop.text("job.toml", &nobody);
    let output = workshop.discretail(&["run", "job.toml"]);
    assert_eq!(output.status.code(), Some(2), "{}", shown(&workshop, &output));
    assert_eq!(events(&workshop.path("ledger.sqlite"), "stopped"), ["reserved", "voided"]);
    let release = run_as(&workshop, "test", monthly);
    let own = units(&release["parameters"]["mu_squared_units"]);
    assert_eq!(units(&release["budget"]["mu_squared_units"]), 2 * own);
    let unit = &release["privacy_unit"];
    let of_all = units(&unit["composed"]["mu_squared_units"]);
    assert_eq!(units(&unit["in_ledger"]["mu_squared_units"]), 2 * of_all);
}

#[test]
fn budgets_that_cannot_be_are_found() {
    let workshop = Workshop::new();
    run(&workshop, "test");
    let ledger = workshop.path("ledger.sqlite");
    let claim = |name: &str, value: Value| {
        let copy = Copy::of(&workshop);
        copy.manifest(|manifest| manifest["budget"][name] = value);
        let failed = copy.failed(Some(&ledger));
        format!("{}: {}", names(&failed), failed.into_values().collect::<Vec<_>>().join("; "))
    };
    for (name, value, what) in [
        ("mu_squared_units", json!("1"), "is less than this one's, or beyond its limit"),
        ("mu_squared_units_max", json!("1"), "is less than this one's, or beyond its limit"),
        ("mu_squared_units_max", json!("9".repeat(24)), "limit of mu^2 in units"),
        ("epsilon", json!(0.01), "all jobs of the ledger so far: at epsilon 0.01 the noise needs"),
        ("epsilon", json!(4.5), "so far is none that it can be"),
        ("delta_max", json!(1e-4), "so far is none that it can be"),
    ] {
        let found = claim(name, value);
        assert!(found.contains(what), "{name}: {found}");
    }
}
