//! `discretail plan JOB --try FILES`.

use insta::{Settings, assert_snapshot};
use serde_json::Value;

use crate::common::{Workshop, shown};

/// A job on `own`, to be tried on `demo`: other payments at the same merchants.
const JOB: &str = r#"version   = 1
job       = "market"
recipient = "partner"

[payments]
files     = ["own/payments/*.parquet"]
timezone  = "Asia/Shanghai"
first_day = 2025-01-01
last_day  = 2025-01-31
currency  = "CNY"
columns   = { user = "user_token", merchant = "merchant_id", time = "paid_at", amount = "amount", currency = "currency" }

[merchants]
files = ["own/merchants.parquet"]

[expect]
users    = "700"
payments = "20000"
sales    = "2500000"

[privacy]
unit    = "user"
epsilon = "2"
delta   = "1e-6"

[ledger]
file        = "ledger.sqlite"
population  = "people"
epsilon_max = "4"
delta_max   = "1e-5"

[[report]]
name     = "market"
levels   = [["region"], ["merchant", "week"]]
keys     = "public"
insights = ["customers", "sales", "average_ticket"]
bounds   = { customers = [5, 12], payments = [40, 30], sales = [8000, 5000] }

[[report]]
name      = "found"
levels    = [["merchant"]]
keys      = "private"
cells_max = 64
insights  = ["customers"]
"#;

fn workshop() -> Workshop {
    let workshop = Workshop::empty();
    for (folder, payments) in [("own", "3000"), ("demo", "20000")] {
        let args = ["sample", folder, "--payments", payments, "--days", "31", "--users", "700"];
        assert!(workshop.discretail(&args).status.success());
    }
    workshop.text("job.toml", JOB);
    workshop
}

/// Figures are other ones each time.
fn without_figures() -> Settings {
    let mut settings = Settings::clone_current();
    settings
        .add_filter(r"(?m)^((market|found)\.\S+, [a-z_ ]+?) +(-|>?\d+(\.\d)? %).*$", "$1 FIGURES");
    settings.add_filter(r" +\d+\.\d\d( to \d+\.\d\d)?", " BOUND");
    settings
}

fn run(workshop: &Workshop, args: &[&str]) -> String {
    format!("$ discretail {}\n{}", args.join(" "), shown(workshop, &workshop.discretail(args)))
}

/// All that stands in a folder.
fn names(workshop: &Workshop) -> Vec<String> {
    let all = std::fs::read_dir(workshop.folder.path()).unwrap();
    let mut names: Vec<String> =
        all.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_job_is_tried_and_nothing_is_charged_or_released() {
    let workshop = workshop();
    let before = names(&workshop);
    let text = run(&workshop, &["plan", "job.toml", "--try", "demo/payments", "--runs", "2"]);
    let mut after = names(&workshop);
    after.retain(|name| !before.contains(name));
    // Neither ledger nor releases nor quarantine.
    assert_eq!(after, ["market.try.html"]);
    without_figures().bind(|| assert_snapshot!(text));
    // A ledger that is there is not touched.
    assert!(workshop.discretail(&["run", "job.toml", "--accept-useless"]).status.success());
    let ledger = || std::fs::read(workshop.path("ledger.sqlite")).unwrap();
    let (charged, released) = (ledger(), names(&workshop));
    let args = ["plan", "job.toml", "--try", "demo/payments/part-00000.parquet", "--runs", "1"];
    assert!(workshop.discretail(&args).status.success());
    assert!(ledger() == charged && names(&workshop) == released);
    assert_eq!(std::fs::read_dir(workshop.path("releases")).unwrap().count(), 1);
}

#[test]
fn figures_are_told_as_json_and_in_the_page() {
    let workshop = workshop();
    let args = [
        "plan",
        "job.toml",
        "--try",
        "demo/payments",
        "--runs",
        "3",
        "--out",
        "page.html",
        "--json",
    ];
    let output = workshop.discretail(&args);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&workshop, &output));
    let mut told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told.as_object_mut().unwrap().remove("page"), Some("page.html".into()));
    let page = std::fs::read_to_string(workshop.path("page.html")).unwrap();
    let (_, data) = page.split_once("id=\"data\">").unwrap();
    let mut data: Value = serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap();
    // What insights are called, as on the page of a release.
    let known = data.as_object_mut().unwrap().remove("known").unwrap();
    assert_eq!(known["average_ticket"]["title"], "Average ticket");
    assert_eq!(data, told);
    assert_eq!(told["delta"], "1e-6");
    let settings = told["settings"].as_array().unwrap();
    let names: Vec<&str> = settings.iter().map(|s| s["name"].as_str().unwrap()).collect();
    let others = ["epsilon 1", "epsilon 4", "half the bounds", "twice the bounds", "bounds chosen"];
    assert_eq!(names, [&["the job"][..], &others[..]].concat());
    let number = |value: &Value| value.as_f64().unwrap();
    let mut spreads = 0;
    for setting in settings {
        for level in setting["levels"].as_array().unwrap() {
            // A small private key is shown where noise lifts it, and then is no longer covered.
            let is_found = level["level"] == "found.merchant";
            for figures in level["insights"].as_array().unwrap() {
                let (estimate, noised) = (&figures["estimate"], &figures["noised"]);
                let all = [&estimate["wape"], &noised["wape"], &figures["covered"]];
                // Where payments are noise, no noised value has an average ticket.
                for spread in all.into_iter().filter(|spread| !spread.is_null()) {
                    let ends = ["least", "middle", "most"].map(|end| number(&spread[end]));
                    // By chance none may be covered, but some error there always is.
                    let is_error = !std::ptr::eq(spread, &figures["covered"]);
                    let is_there = is_found || !is_error || ends[0] > 0.0;
                    assert!(is_there && ends.is_sorted(), "{figures}");
                    spreads += 1;
                }
                let is_sum = figures["insight"] != "average_ticket";
                let predicted = is_sum && !is_found;
                assert_eq!(figures["predicted"].is_object(), predicted, "{figures}");
            }
        }
    }
    assert!(spreads >= 2 * 7 * settings.len(), "{spreads}");
}

#[test]
fn a_jobs_own_payments_are_refused_by_any_name() {
    let workshop = workshop();
    let own = "own/payments/part-00000.parquet";
    std::fs::copy(workshop.path(own), workshop.path("copy.parquet")).unwrap();
    std::fs::hard_link(workshop.path(own), workshop.path("hard.parquet")).unwrap();
    std::os::unix::fs::symlink(workshop.path("own/payments"), workshop.path("elsewhere")).unwrap();
    let mut texts = String::new();
    for files in
        [&[own][..], &["own/payments"], &["./elsewhere/*"], &["copy.parquet", "hard.parquet"]]
    {
        let args = [&["plan", "job.toml", "--try"][..], files, &["--json"]].concat();
        let output = workshop.discretail(&args);
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        let codes = told["findings"].as_array().unwrap().iter().map(|finding| &finding["code"]);
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(codes.collect::<Vec<_>>(), vec!["trial-payments-own"; files.len()], "{told}");
    }
    // With all that is wrong besides.
    let args = [
        "plan",
        "job.toml",
        "--try",
        "copy.parquet",
        "nowhere.parquet",
        "--out",
        "no/folder/page.html",
    ];
    texts += &run(&workshop, &args);
    texts += &run(&workshop, &["plan", "job.toml", "--try", "job.toml"]);
    workshop.text("job.toml", &JOB.replace("\"user_token\"", "\"person\""));
    texts += &run(&workshop, &["plan", "job.toml", "--try", "demo/payments"]);
    // All merchants are other ones.
    assert!(
        workshop
            .discretail(&["sample", "other", "--payments", "500", "--seed", "7"])
            .status
            .success()
    );
    let fewer = JOB.replace("own/merchants", "few");
    workshop.parquet("few.parquet", crate::common::registry());
    workshop.text("job.toml", &fewer);
    texts += &run(&workshop, &["plan", "job.toml", "--try", "other/payments"]);
    workshop.text("job.toml", JOB);
    texts += &run(&workshop, &["plan", "job.toml", "--runs", "3"]);
    texts += &run(&workshop, &["plan", "job.toml", "--try", "demo/payments", "--runs", "0"]);
    assert!(names(&workshop).iter().all(|name| !name.contains("try") && name != "ledger.sqlite"));
    assert_snapshot!(texts);
}
