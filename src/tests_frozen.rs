//! A release whose noise is known is marked in every file; the ledger and `verify` refuse it.

use std::collections::BTreeMap;
use std::ffi::OsString;

use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::engine::Engine;
use crate::error::ErrorClass;
use crate::estimate::estimate;
use crate::fixture::{Market, Row};
use crate::mechanism::{NoisyTotals, RunKey, add_noise, settle};
use crate::plan::Plan;
use crate::release::{Draft, publishable, write};
use crate::report;
use crate::verify::{Outcome, verify};

const WARNING: &str = "NOT PRIVATE: the noise was drawn with a known key, so there is no guarantee";

/// Writes a release of a market's payments.
fn release(market: &Market, plan: &Plan, folder: &std::path::Path, key: RunKey) {
    let noisy = add_noise(plan, market.local(plan, 1), key, 1).expect("draws");
    write_release(plan, noisy, folder);
}

fn write_release(plan: &Plan, noisy: NoisyTotals, folder: &std::path::Path) {
    let draft = Draft::beside(folder).expect("a folder");
    let tables = write(&estimate(plan, noisy, 1), None, &draft, 2).expect("writes");
    let page = report::page(tables.folder(), &tables.manifest(), 2).expect("reads");
    tables.seal(report::FILE, &page).expect("writes");
    draft.publish(None).expect("moves");
}

fn all_files(folder: &std::path::Path) -> BTreeMap<OsString, Vec<u8>> {
    let files = std::fs::read_dir(folder).expect("lists").map(|entry| {
        let path = entry.expect("lists").path();
        let name = path.file_name().expect("a name").to_owned();
        (name, std::fs::read(path).expect("reads"))
    });
    files.collect()
}

fn failed(folder: &std::path::Path) -> Vec<&'static str> {
    let checks = verify(folder, None).expect("reads").checks.into_iter();
    checks.filter(|c| matches!(c.outcome, Outcome::Failed(_))).map(|c| c.name).collect()
}

/// Lemma 4: what users have in cells of their own is shown, or leaves no trace in any file.
#[test]
fn a_lone_cell_that_is_not_shown_changes_no_byte() {
    let pay = |user, merchant, n: u32| Row {
        user,
        merchant,
        minute: n * 211 % 170_000,
        amount: i64::from(n % 90 + 1) * 37,
        wallet: n % 3,
    };
    let others: Vec<Row> = (0..6_000).map(|n| pay(100 + n % 500, n % 7 % 5, n)).collect();
    let lone = (0..40).map(|n| pay(7, 9, n * n));
    let rest = "keys = \"private\"\ncells_max = 8\ninsights = [\"customers\", \"sales\", \"visits\"]\n\
                bounds = { customers = 2, sales = \"90.00\", visits = 4 }";
    let levels =
        ["[[\"merchant\"], [\"merchant\", \"month\"]]", "[[\"merchant\", \"week\", \"wallet\"]]"];
    let market = Market::new(&others);
    let plan = market.plan(&levels.map(|levels| format!("levels = {levels}\n{rest}")));
    let parent = tempfile::tempdir().expect("a temporary folder");
    for key in 0..3 {
        let files = |name: &str, rows: &[Row]| {
            market.set_payments(rows);
            let folder = parent.path().join(format!("{name}-{key}"));
            release(&market, &plan, &folder, RunKey::frozen([key; 32]));
            all_files(&folder)
        };
        let without = files("without", &others);
        let with = files("with", &others.iter().cloned().chain(lone.clone()).collect::<Vec<_>>());
        assert_eq!(without.len(), 5);
        for (name, bytes) in &without {
            assert!(with.get(name) == Some(bytes), "{} differs", name.display());
        }
        // One user more in shown cells does show.
        let shown =
            files("shown", &others.iter().cloned().chain([pay(7, 1, 1)]).collect::<Vec<_>>());
        assert!(shown != without);
    }
}

/// The same where rounds discover the keys: no round after, nor what is measured then, differs.
#[test]
fn a_lone_cell_that_no_round_finds_changes_no_byte() {
    let pay = |user, merchant, n: u32| Row {
        user,
        merchant,
        minute: n * 211 % 170_000,
        amount: i64::from(n % 90 + 1) * 37,
        wallet: n % 3,
    };
    let others: Vec<Row> = (0..6_000).map(|n| pay(100 + n % 500, n % 7 % 5, n)).collect();
    let lone = (0..40).map(|n| pay(7, 9, n * n));
    let levels = ["[[\"merchant\"], [\"merchant\", \"month\"]]", "[[\"merchant\", \"wallet\"]]"];
    let rest = "keys = \"discovered\"\ncells_max = 8\ninsights = [\"customers\", \"sales\"]";
    let market = Market::new(&others);
    let plan = market.plan(&levels.map(|levels| format!("levels = {levels}\n{rest}")));
    let parent = tempfile::tempdir().expect("a temporary folder");
    for seed in 0..3 {
        let (mut found, name) = (Vec::new(), |what: &str| format!("{what}-{seed}"));
        let mut files = |what: &str, rows: &[Row]| {
            market.set_payments(rows);
            let (key, mut asked) = (RunKey::frozen([seed; 32]), plan.clone());
            let (settled, totals) = market
                .engine(2, 3)
                .totals(&plan, &mut |exact| {
                    asked = settle(&asked, exact, &key, 2)?;
                    Ok(asked.clone())
                })
                .expect("the payments are good");
            found.push(settled.levels.iter().map(|l| l.always.len()).collect::<Vec<_>>());
            let noisy = add_noise(&settled, totals, key, 1).expect("draws");
            let folder = parent.path().join(name(what));
            write_release(&settled, noisy, &folder);
            all_files(&folder)
        };
        let without = files("without", &others);
        let with = files("with", &others.iter().cloned().chain(lone.clone()).collect::<Vec<_>>());
        for (name, bytes) in &without {
            assert!(with.get(name) == Some(bytes), "{} differs", name.display());
        }
        let shown =
            files("shown", &others.iter().cloned().chain([pay(7, 1, 1)]).collect::<Vec<_>>());
        assert!(shown != without);
        // Five merchants, and all that is theirs.
        assert_eq!(found[0], [5, 20, 15]);
        assert_eq!(failed(&parent.path().join(name("with"))), ["manifest", "footer"]);
    }
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
