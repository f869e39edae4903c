//! Keys that earlier releases have shown are shown again.

use insta::assert_snapshot;

use crate::common::{JOB, Workshop, shown};
use crate::shared::table_of;

/// A job with private keys alone, so precise that all merchants and wallets are found.
fn first() -> String {
    let (head, _) = JOB.split_once("[[report]]").unwrap();
    let head = head.replace("\"4\"", "\"20\"").replace("\"1\"", "\"15\"");
    head + "[[report]]\nname = \"found\"\nkeys = \"private\"\ncells_max = 8\n\
            levels = [[\"merchant\", \"week\"], [\"wallet\"]]\ninsights = [\"customers\", \"sales\"]\n\
            bounds = { customers = \"2\", sales = \"300\" }\n"
}

/// A job over other payments with so much noise that no key passes its threshold.
fn second() -> String {
    let job = first().replace("\"test\"", "\"second\"").replace("\"15\"", "\"0.01\"");
    let job = job
        .replace("[\"merchant\", \"week\"], [\"wallet\"]", "[\"merchant\"], [\"day\", \"wallet\"]");
    job.replace("currency  =", "where     = \"merchant <> 'M1'\"\ncurrency  =")
}

fn keys_from(jobs: &str) -> String {
    second().replace("cells_max = 8", &format!("cells_max = 8\nkeys_from = [{jobs}]"))
}

fn run(workshop: &Workshop, args: &[&str]) -> String {
    format!("$ discretail {}\n{}", args.join(" "), shown(workshop, &workshop.discretail(args)))
}

#[test]
fn keys_of_an_earlier_release_are_shown_with_or_without_payments() {
    let workshop = Workshop::new();
    workshop.text("first.toml", &first());
    workshop.text("without.toml", &second().replace("\"second\"", "\"without\""));
    workshop.text("second.toml", &keys_from("\"test\""));
    for job in ["first.toml", "without.toml"] {
        let output = workshop.discretail(&["run", job]);
        assert!(output.status.success(), "{}", shown(&workshop, &output));
    }
    // 60 users spread over four merchants and four weeks: 4.5 deviations of the noise above the
    // threshold in the first week and 6 later, so that some cell is missed in 7 of 10⁶ runs. Without
    // them, some merchant is found in one of 10⁷.
    assert_eq!(table_of(&workshop, "test", "found.merchant-week.parquet").num_rows(), 16);
    assert_eq!(table_of(&workshop, "without", "found.merchant.parquet").num_rows(), 0);
    let mut texts = run(&workshop, &["plan", "second.toml"]);
    texts += &run(&workshop, &["run", "second.toml"]);
    texts += &run(&workshop, &["run", "second.toml"]);
    texts += &run(&workshop, &["verify", "releases/second", "--ledger", "ledger.sqlite"]);
    // M1 has no payments now.
    assert_eq!(table_of(&workshop, "second", "found.merchant.parquet").num_rows(), 4);
    assert_eq!(table_of(&workshop, "second", "found.day-wallet.parquet").num_rows(), 31 * 3);
    assert_snapshot!(texts);
}

#[test]
fn keys_that_cannot_be_used_are_told_before_anything_is_charged() {
    let workshop = Workshop::new();
    workshop.text("first.toml", &first());
    workshop.text("job.toml", &keys_from("\"test\""));
    let mut texts = run(&workshop, &["plan", "job.toml"]);
    assert!(workshop.discretail(&["run", "first.toml"]).status.success());
    workshop.text("job.toml", &keys_from("\"test\", \"unknown\""));
    texts += &run(&workshop, &["run", "job.toml"]);
    let registry = "files = [\"merchants.parquet\"]";
    let other = keys_from("\"test\"").replace("\"merchant\"]", "\"category\"]");
    workshop.text("job.toml", &other.replace(registry, &format!("{registry}\nmin_per_cell = 1")));
    texts += &run(&workshop, &["run", "job.toml"]);
    workshop.text("job.toml", &keys_from("\"test\"").replace("\"private\"", "\"public\""));
    texts += &run(&workshop, &["check", "job.toml"]);
    workshop.text("job.toml", &keys_from("\"test\""));
    workshop.text("releases/test/found.wallet.parquet", "other");
    texts += &run(&workshop, &["run", "job.toml"]);
    workshop.text("releases/test/manifest.json", "{}");
    texts += &run(&workshop, &["run", "job.toml"]);
    assert!(!workshop.path("releases/second").exists());
    assert!(!run(&workshop, &["ledger", "show", "ledger.sqlite"]).contains("second"));
    assert_snapshot!(texts);
}
