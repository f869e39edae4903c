//! Releases of one series follow one another, and those of other payments, or whose place another
//! one has taken, are not among them.

use discretail::ledger::{Ledger, Request};
use discretail::privacy::{AllUnits, Delta, MuSquared, PrivacyLoss};
use serde_json::Value;

use crate::common::{Workshop, shown};
use crate::surveys::{next, open, two_months};

/// Only some of the payments.
const FEW: &str = "[payments]\nwhere = \"wallet = 'card'\"";

fn run(workshop: &Workshop, job: &str) {
    workshop.text("job.toml", job);
    let output = workshop.discretail(&["run", "job.toml", "--accept-useless"]);
    assert!(output.status.success(), "{}", shown(workshop, &output));
}

fn named(job: &str, id: &str) -> String {
    job.replacen("\"test\"", &format!("{id:?}"), 1)
}

/// Of which jobs a job takes values and bounds, with what `plan` remarks and its exit code.
fn taken(workshop: &Workshop, job: &str) -> (Vec<String>, String, Option<i32>) {
    workshop.text("next.toml", job);
    let output = workshop.discretail(&["plan", "next.toml"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let mut jobs: Vec<String> = Vec::new();
    for word in text.split(['`', '\'', '"', ' ', ',', ';', '(', ')', '.', '\n']) {
        if ["all-1", "few-1", "yen-1", "again-1", "old-1"].contains(&word) {
            jobs.push(word.to_owned());
        }
    }
    jobs.sort();
    jobs.dedup();
    (jobs, String::from_utf8(output.stderr).unwrap(), output.status.code())
}

fn after(previous: &str) -> String {
    next().replace("previous = \"test\"", &format!("previous = \"{previous}\""))
}

/// `latest` is of the same payments, and a job that is named with others is told of.
#[test]
fn releases_of_other_payments_are_no_earlier_ones() {
    let workshop = two_months();
    let few = open().replace("[payments]", FEW);
    run(&workshop, &named(&open(), "all-1"));
    run(&workshop, &named(&few, "few-1"));
    let manifest = std::fs::read(workshop.path("releases/few-1/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["series"]["currencies"][0], "CNY");
    // What is counted is told by digests: a job's SQL may be nobody's business.
    assert!(!manifest.to_string().contains("wallet = 'card'"));
    let remark = "passes over 1 release of other payments, the last of them of job";
    let (jobs, said, code) = taken(&workshop, &after("latest"));
    assert_eq!((&*jobs.join(" "), code), ("all-1", Some(0)), "{said}");
    assert!(said.contains(&format!("{remark} `few-1`: its `where` is another")), "{said}");
    let (jobs, said, _) = taken(&workshop, &after("latest").replace("[payments]", FEW));
    assert_eq!(jobs.join(" "), "few-1", "{said}");
    assert!(said.contains(&format!("{remark} `all-1`: its `where` is another")), "{said}");
    // Named, it is used: it may be the same, written otherwise.
    let (jobs, said, code) = taken(&workshop, &after("few-1"));
    assert_eq!((&*jobs.join(" "), code), ("few-1", Some(0)), "{said}");
    let wanted = "names job `few-1`, which may have counted other payments: its `where` is another";
    assert!(said.contains(wanted), "{said}");
    let other = |from: &str, to: &str| {
        let (jobs, said, _) = taken(&workshop, &after("latest").replace(from, to));
        (jobs.join(" "), said)
    };
    let (jobs, said) = other("amount = \"amount\"", "amount = \"amount + 1\"");
    assert!(jobs.is_empty() && said.contains("2 releases of other payments"), "{jobs}: {said}");
    assert!(said.contains("its `amount`, `where` are others"), "{said}");
    // A column more tells of no level that both have.
    let (jobs, said) = other("wallet = \"wallet\" }", "wallet = \"wallet\", shop = \"merchant\" }");
    assert_eq!(jobs, "all-1", "{said}");
    let tokyo = after("latest").replace("[payments]", FEW).replace("Asia/Shanghai", "Asia/Tokyo");
    let (jobs, said, _) = taken(&workshop, &tokyo);
    assert!(jobs.is_empty() && said.contains("its time zone is Asia/Shanghai"), "{jobs:?}: {said}");
}

/// Money of another currency tells nothing, whoever says so.
#[test]
fn releases_in_other_currencies_are_no_earlier_ones() {
    let workshop = two_months();
    run(&workshop, &named(&open().replace("\"CNY\"", "\"EUR\""), "yen-1"));
    let (jobs, said, code) = taken(&workshop, &after("latest"));
    assert_eq!((&*jobs.join(" "), code), ("", Some(0)), "{said}");
    let (_, said, code) = taken(&workshop, &after("yen-1"));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("error[previous-unusable]"), "{said}");
    assert!(said.contains("its currency is EUR, not CNY"), "{said}");
}

/// A release that was revised tells nothing any more, also of levels that the revision has not.
#[test]
fn a_release_that_was_revised_is_no_earlier_one() {
    let workshop = two_months();
    run(&workshop, &named(&open(), "all-1"));
    let again =
        named(&open(), "again-1").replace("recipient =", "revises = \"all-1\"\nrecipient =");
    run(&workshop, &again.replace("[[], [\"region\", \"week\"], [\"wallet\"]]", "[[]]"));
    let (jobs, said, code) = taken(&workshop, &after("latest"));
    assert_eq!((&*jobs.join(" "), code), ("again-1", Some(0)), "{said}");
}

/// What cannot be looked at may be there; what is gone is passed over, and that is said.
#[test]
fn releases_that_are_gone_are_remarked_and_others_are_not_guessed_at() {
    let workshop = two_months();
    run(&workshop, &named(&open(), "all-1"));
    let folder = workshop.path("releases/all-1");
    std::fs::rename(&folder, workshop.path("away")).unwrap();
    let (jobs, said, code) = taken(&workshop, &after("latest"));
    assert_eq!((&*jobs.join(" "), code), ("", Some(0)), "{said}");
    let remark = "passes over 1 release not where the ledger says, the last of them of job `all-1`";
    assert!(said.contains(remark), "{said}");
    // A link to itself, as there is no folder without permission for who may do all.
    std::os::unix::fs::symlink(&folder, &folder).unwrap();
    let (_, said, code) = taken(&workshop, &after("latest"));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("error[previous-unusable]"), "{said}");
}

/// Manifests of before there were series say nothing of them: their releases are used as they were.
#[test]
fn a_manifest_without_a_series_is_used() {
    let workshop = two_months();
    run(&workshop, &named(&open(), "all-1"));
    let path = workshop.path("releases/all-1/manifest.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert!(manifest.as_object_mut().unwrap().remove("series").is_some());
    workshop.text("releases/all-1/manifest.json", &manifest.to_string());
    // A ledger in which it was published so.
    std::fs::remove_file(workshop.path("ledger.sqlite")).unwrap();
    let init = ["ledger", "init", "ledger.sqlite", "--population", "people"];
    let init = [&init[..], &["--epsilon-max", "4", "--delta-max", "1e-5"]].concat();
    assert!(workshop.discretail(&init).status.success());
    let mut ledger = Ledger::open_to_change(&workshop.path("ledger.sqlite")).unwrap();
    let mu_squared = MuSquared::from_units(1 << 50);
    let loss = PrivacyLoss { mu_squared, threshold_delta: Delta::parse("1e-9").unwrap() };
    let all_units = AllUnits { periods: 1, mu_squared };
    let content = "d".repeat(64);
    let (user, recipient) = ("user", "partner");
    let request =
        Request { job: "old-1", digest: &content, recipient, user, time: None, loss, all_units };
    ledger.reserve(&request).unwrap();
    ledger.spend("old-1").unwrap();
    let digest = <sha2::Sha256 as sha2::Digest>::digest(std::fs::read(&path).unwrap());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    ledger.publish("old-1", &workshop.path("releases/all-1"), &digest).unwrap();
    let (jobs, said, code) = taken(&workshop, &after("latest"));
    assert_eq!((&*jobs.join(" "), code), ("old-1", Some(0)), "{said}");
}
