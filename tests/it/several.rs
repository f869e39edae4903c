//! Months that take the values of all months before.

use insta::assert_snapshot;
use serde_json::Value;

use discretail::ledger::{Hold, Ledger, Request};
use discretail::privacy::{AllUnits, PrivacyLoss};

use crate::common::{JOB, Workshop, payments_from, refused, shown};

/// Noon of the first day of January to April 2025 in Shanghai, as seconds since 1970, and the
/// month's last day.
const MONTHS: [(i64, &str); 4] = [
    (1_735_704_000, "01-31"),
    (1_738_382_400, "02-28"),
    (1_740_801_600, "03-31"),
    (1_743_480_000, "04-30"),
];

const NAMES: [&str; 4] = ["january", "february", "march", "april"];

/// The job of a month, which goes by these releases.
fn job(month: usize, previous: &str) -> String {
    let (head, _) = JOB.split_once("[[report]]").unwrap();
    let head = head
        .replace("\"test\"", &format!("{:?}", NAMES[month]))
        .replace("2025-01-01", &format!("2025-{:02}-01", month + 1))
        .replace("2025-01-31", &format!("2025-{}", MONTHS[month].1))
        .replace("payments.parquet", &format!("{}.parquet", NAMES[month]))
        .replace("\"4\"", "\"20\"");
    format!(
        "{head}[[report]]\nname = \"market\"\nlevels = [[], [\"wallet\", \"week\"], [\"wallet\"]]\n\
         keys = \"public\"\ninsights = [\"customers\", \"payments\"]\nprevious = {previous}\n"
    )
}

const LATEST: &str = "\"latest\"";

fn workshop() -> Workshop {
    let workshop = Workshop::new();
    for ((start, _), name) in MONTHS.iter().zip(NAMES) {
        workshop.parquet(&format!("{name}.parquet"), payments_from(*start));
    }
    workshop
}

fn run(workshop: &Workshop, job: &str) {
    workshop.text("job.toml", job);
    let output = workshop.discretail(&["run", "job.toml", "--accept-useless"]);
    assert!(output.status.success(), "{}", shown(workshop, &output));
}

/// What `plan` says of the releases that it goes by.
fn planned(workshop: &Workshop, job: &str) -> String {
    workshop.text("job.toml", job);
    let output = workshop.discretail(&["plan", "job.toml"]);
    assert!(output.status.success(), "{}", shown(workshop, &output));
    let text = shown(workshop, &output);
    let lines = text.lines().filter(|l| l.contains("report market"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// The table and the job of each release whose values estimates go by.
fn used(workshop: &Workshop, name: &str) -> Vec<(String, String)> {
    let bytes = std::fs::read(workshop.path(&format!("releases/{name}/manifest.json"))).unwrap();
    let manifest: Value = serde_json::from_slice(&bytes).unwrap();
    let from = manifest["estimates_from"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    from.map(|entry| (text(&entry["file"]), text(&entry["job"]))).collect()
}

fn from(jobs: &[&str]) -> Vec<(String, String)> {
    let files = ["market.all.parquet", "market.wallet-week.parquet", "market.wallet.parquet"];
    let of = |file: &str| {
        jobs.iter().map(|job| (file.to_owned(), (*job).to_owned())).collect::<Vec<_>>()
    };
    files.into_iter().flat_map(of).collect()
}

#[test]
fn a_month_goes_by_all_months_before() {
    let workshop = workshop();
    let mut texts = planned(&workshop, &job(0, LATEST));
    for month in 0..3 {
        run(&workshop, &job(month, LATEST));
    }
    assert!(used(&workshop, "january").is_empty());
    assert_eq!(used(&workshop, "february"), from(&["january"]));
    assert_eq!(used(&workshop, "march"), from(&["february", "january"]));
    let verify = |name: &str| {
        let folder = format!("releases/{name}");
        let output = workshop.discretail(&["verify", &folder, "--ledger", "ledger.sqlite"]);
        assert!(output.status.success(), "{}", shown(&workshop, &output));
    };
    verify("march");
    texts += &planned(&workshop, &job(3, LATEST));

    // A release of February that is published now is no earlier one of March, which is run again.
    let again = job(1, LATEST).replacen("\"february\"", "\"revised\"", 1);
    run(&workshop, &again.replace("recipient =", "revises = \"february\"\nrecipient ="));
    texts += &planned(&workshop, &job(2, LATEST));
    workshop.text("job.toml", &job(2, LATEST));
    let output = workshop.discretail(&["run", "job.toml"]);
    let said = shown(&workshop, &output);
    assert!(output.status.success() && said.contains("was released before"), "{said}");
    // But it is for April, in place of the one that it revises.
    texts += &planned(&workshop, &job(3, LATEST));
    // A folder that is gone is passed over.
    std::fs::remove_dir_all(workshop.path("releases/revised")).unwrap();
    std::fs::remove_dir_all(workshop.path("releases/january")).unwrap();
    run(&workshop, &job(3, LATEST));
    assert_eq!(used(&workshop, "april"), from(&["march", "february"]));
    verify("april");
    assert_snapshot!(texts);
}

/// Whether a run has ended by the time another one begins hangs on its payments.
#[test]
fn a_run_that_goes_on_does_not_decide_what_latest_means() {
    let workshop = workshop();
    run(&workshop, &job(0, LATEST));
    let (ledger, digest) = (workshop.path("ledger.sqlite"), "d".repeat(64));
    let reserve = |job: &str, recipient: &str| {
        let (loss, all_units) = (PrivacyLoss::default(), AllUnits::default());
        let (user, time, digest) = ("user", None, &*digest);
        let request = Request { job, digest, recipient, user, time, loss, all_units };
        Ledger::open_to_change(&ledger).unwrap().reserve(&request).unwrap();
        Hold::take(&ledger, job).unwrap()
    };
    let _of_another = reserve("another", "somebody");
    let under_way = reserve("under-way", "partner");
    workshop.text("job.toml", &job(1, LATEST));
    let output = workshop.discretail(&["check", "job.toml"]);
    // Nothing is wrong with the job: it is to be run again.
    assert_eq!(output.status.code(), Some(1));
    assert_snapshot!(shown(&workshop, &output));
    // By name it does not matter; nor does a run that was killed.
    run(&workshop, &job(1, "\"january\""));
    drop(under_way);
    run(&workshop, &job(2, LATEST));
    assert_eq!(used(&workshop, "march"), from(&["february", "january"]));
}

/// A run that has paid may yet release, so it is waited for as one that reads.
#[test]
fn a_run_that_has_paid_is_waited_for() {
    let workshop = workshop();
    run(&workshop, &job(0, LATEST));
    let (path, digest) = (workshop.path("ledger.sqlite"), "d".repeat(64));
    let (loss, all_units) = (PrivacyLoss::default(), AllUnits::default());
    let (job_id, recipient, user, time, digest) = ("paid", "partner", "user", None, &*digest);
    let mut ledger = Ledger::open_to_change(&path).unwrap();
    let request = Request { job: job_id, digest, recipient, user, time, loss, all_units };
    ledger.reserve(&request).unwrap();
    ledger.spend(job_id).unwrap();
    let under_way = Hold::take(&path, job_id).unwrap();
    workshop.text("job.toml", &job(1, LATEST));
    let code = || workshop.discretail(&["check", "job.toml"]).status.code();
    assert_eq!(code(), Some(1));
    drop(under_way);
    assert_eq!(code(), Some(0));
}

/// What others were given is no part of what this recipient is given, and not for its budget.
#[test]
fn releases_to_others_are_not_gone_by() {
    let workshop = workshop();
    run(&workshop, &job(0, LATEST));
    run(&workshop, &job(1, LATEST).replace("\"partner\"", "\"somebody\""));
    assert!(used(&workshop, "february").is_empty());
    run(&workshop, &job(2, LATEST));
    assert_eq!(used(&workshop, "march"), from(&["january"]));
}

/// By name in any order, as far as each of them can be used.
#[test]
fn months_are_named() {
    let workshop = workshop();
    run(&workshop, &job(0, LATEST));
    run(&workshop, &job(1, LATEST));
    run(&workshop, &job(2, "[\"january\", \"february\"]"));
    assert_eq!(used(&workshop, "march"), from(&["february", "january"]));
    let output = workshop.discretail(&["verify", "releases/march", "--ledger", "ledger.sqlite"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
    let text = job(1, LATEST).replacen("\"february\"", "\"revised\"", 1);
    run(&workshop, &text);
    let unusable = |previous: &str| {
        workshop.text("job.toml", &job(3, previous));
        let output = workshop.discretail(&["plan", "job.toml"]);
        assert_eq!(output.status.code(), Some(2), "{}", shown(&workshop, &output));
        shown(&workshop, &output).replace("exit: 2\n--- stdout\n--- stderr\n", "")
    };
    let mut texts = unusable("[\"march\", \"nobody\", \"april\"]");
    texts += &unusable("[\"revised\", \"march\", \"february\"]");
    std::fs::remove_dir_all(workshop.path("releases/january")).unwrap();
    texts += &unusable("[\"february\",\n  \"january\"]");
    let lists = [
        "[\"march\", \"february\", \"march\"]",
        "[\"latest\", \"march\"]",
        "[]",
        &format!("{:?}", (0..14).map(|n| format!("m{n}")).collect::<Vec<_>>()),
    ];
    for list in lists {
        texts += &refused(&workshop, &job(3, list));
    }
    assert_snapshot!(texts);
}
