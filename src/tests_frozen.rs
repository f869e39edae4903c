//! A release whose noise is known is marked in every file; the ledger and `verify` refuse it.

use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::error::ErrorClass;
use crate::estimate::estimate;
use crate::fixture::Market;
use crate::mechanism::{RunKey, add_noise};
use crate::plan::Plan;
use crate::release::{Draft, publishable, write};
use crate::report;
use crate::verify::{Outcome, verify};

const WARNING: &str = "NOT PRIVATE: the noise was drawn with a known key, so there is no guarantee";

/// Writes a release of a market without payments.
fn release(market: &Market, plan: &Plan, folder: &std::path::Path, key: RunKey) {
    let noisy = add_noise(plan, market.local(plan, 1), key, 1).expect("draws");
    let draft = Draft::beside(folder).expect("a folder");
    let tables = write(plan, &estimate(plan, noisy, 1), None, &draft, 2).expect("writes");
    let page = report::page(tables.folder(), &tables.manifest(), 2).expect("reads");
    tables.seal(report::FILE, &page).expect("writes");
    draft.publish(None).expect("moves");
}

fn failed(folder: &std::path::Path) -> Vec<&'static str> {
    let checks = verify(folder, None).expect("reads").checks.into_iter();
    checks.filter(|c| matches!(c.outcome, Outcome::Failed(_))).map(|c| c.name).collect()
}

#[test]
fn releases_with_known_noise_are_marked_and_refused() {
    let market = Market::new(&[]);
    let plan = market.plan(&["levels = [[], [\"region\"]]\nkeys = \"public\"\n\
         insights = [\"customers\", \"sales\"]\nbounds = { customers = 2, sales = \"9.00\" }"
        .to_owned()]);
    let parent = tempfile::tempdir().expect("a temporary folder");
    let (secret, known) = (parent.path().join("secret"), parent.path().join("known"));
    release(&market, &plan, &secret, RunKey::from_system().expect("random bits"));
    release(&market, &plan, &known, RunKey::frozen([7; 32]));

    assert_eq!(failed(&secret), Vec::<&str>::new());
    publishable(&secret, &plan.job, plan.loss).expect("a release");
    assert_eq!(failed(&known), ["manifest", "footer"]);
    let error = publishable(&known, &plan.job, plan.loss).expect_err("not private");
    assert_eq!(error.class(), ErrorClass::Refused);
    assert_eq!(error.findings()[0].code(), "release-not-private");

    let manifest = std::fs::read_to_string(known.join("manifest.json")).expect("reads");
    let first = format!("{{\n  \"not_private\": \"{WARNING}\",\n  \"manifest_version\": 1,\n");
    assert!(manifest.starts_with(&first), "{manifest}");
    let page = std::fs::read_to_string(known.join(report::FILE)).expect("reads");
    assert!(page.contains(&format!("\"not_private\":\"{WARNING}\"")));
    let mut tables = 0;
    for entry in std::fs::read_dir(&known).expect("lists") {
        let path = entry.expect("lists").path();
        if path.extension().is_some_and(|ending| ending == "parquet") {
            let file = std::fs::File::open(path).expect("opens");
            let reader = SerializedFileReader::new(file).expect("a table");
            let footer = reader.metadata().file_metadata().key_value_metadata().expect("a footer");
            let guarantee = footer.iter().find(|entry| entry.key == "discretail.guarantee");
            let wanted = format!("{{\"not_private\":\"{WARNING}\"}}");
            assert_eq!(guarantee.and_then(|entry| entry.value.as_ref()), Some(&wanted));
            tables += 1;
        }
    }
    assert_eq!(tables, 2);
}
