//! Cells of which few merchants have most, by noised values of a level that is not shown.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::common::{Workshop, refused, shown};
use crate::merchants::workshop;
use crate::verify::{Copy, names};

/// Two merchants may have 60 % of a cell at most.
const RULE: &str = "dominance = { top = 2, share = \"60%\", by = \"payments\" }";

const JUDGE: &str = r#"
[[report]]
name     = "judge"
levels   = [["merchant"]]
keys     = "public"
insights = ["payments"]
bounds   = { payments = "1" }
"#;

fn job(workshop: &Workshop, more: &str) -> String {
    std::fs::read_to_string(workshop.path("job.toml")).unwrap() + more
}

fn ruled() -> Workshop {
    let workshop = workshop(RULE);
    workshop.text("job.toml", &job(&workshop, JUDGE));
    workshop
}

fn released() -> Workshop {
    let workshop = ruled();
    workshop.release();
    workshop
}

fn manifest(workshop: &Workshop, job: &str) -> Value {
    let path = workshop.path(&format!("releases/{job}/manifest.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn cells_that_two_merchants_dominate_are_hidden_and_who_they_are_is_not_shown() {
    let workshop = released();
    let manifest = manifest(&workshop, "test");
    // Fuel in the north is of two. Of food there two have 72 %, and of food and books in the south
    // two thirds; of books in the north 57 %. That is 25 deviations of the noise or
    // more away from the rule, so chance hides and shows nothing.
    assert_snapshot!(serde_json::to_string_pretty(&manifest["merchant_protection"]).unwrap());
    assert!(!workshop.path("releases/test/judge.merchant.parquet").exists());
    let page = std::fs::read_to_string(workshop.path("releases/test/report.html")).unwrap();
    assert!(page.contains("\"judged_by\"") && !page.contains("M01"));
    let plan = workshop.discretail(&["plan", "job.toml"]);
    let text = shown(&workshop, &plan);
    assert!(text.contains("not shown: it tells which merchants dominate"), "{text}");
}

#[test]
fn later_jobs_find_no_values_of_what_was_not_shown() {
    let workshop = released();
    let later = job(&workshop, "")
        .replace("job       = \"test\"", "job = \"later\"")
        .replace("first_day = 2025-01-01", "first_day = 2025-01-02")
        .replace("name     = ", "previous = \"test\"\nname     = ");
    // Nothing is known of merchants.
    workshop.text("later.toml", &later);
    let text = shown(&workshop, &workshop.discretail(&["check", "later.toml"]));
    assert_eq!(text.matches("it has no table with the same keys").count(), 1, "{text}");
    let judge = "previous = \"test\"\nname     = \"judge\"";
    assert!(later.contains(judge));
    workshop.text("later.toml", &later.replace(judge, "name = \"judge\""));
    let output = workshop.discretail(&["run", "later.toml"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
    let later = manifest(&workshop, "later");
    let from = later["estimates_from"].as_array().unwrap();
    let files: Vec<&str> = from.iter().map(|entry| entry["file"].as_str().unwrap()).collect();
    assert!(files.contains(&"market.region.parquet"), "{files:?}");
    assert!(!files.contains(&"judge.merchant.parquet"), "{files:?}");
}

#[test]
fn rules_that_are_not_what_the_tables_say_are_found() {
    let workshop = released();
    let claim = |change: &dyn Fn(&mut Value)| {
        let copy = Copy::of(&workshop);
        copy.manifest(change);
        let failed = copy.failed(None);
        format!("{}: {}\n", names(&failed), failed.into_values().collect::<Vec<_>>().join("; "))
    };
    let judge = |m: &Value| {
        let sets = m["key_sets"].as_array().unwrap();
        sets.iter().position(|set| set["unshown"] == true).unwrap()
    };
    let texts = [
        claim(&|m| m["merchant_protection"]["dominance"] = Value::Null),
        claim(&|m| m["merchant_protection"]["dominance"]["share"] = json!(1.5)),
        claim(&|m| {
            m["merchant_protection"]["dominance"]["judged_by"] = json!("market.region.parquet");
        }),
        claim(&|m| {
            let at = judge(m);
            m["key_sets"][at]["unshown"] = json!(false);
        }),
        claim(&|m| {
            let rows = m["merchant_protection"]["hidden"][0]["values"].as_array_mut();
            rows.unwrap().pop();
        }),
    ];
    assert_snapshot!(texts.concat());
}

#[test]
fn rules_that_cannot_be_kept_are_refused() {
    let check = |line: &str, more: &str| {
        let workshop = workshop(line);
        let text = job(&workshop, more);
        refused(&workshop, &text)
    };
    let with = |from: &str, to: &str| JUDGE.replace(from, to);
    let texts = [
        check(RULE, ""),
        check(RULE, &with("payments", "customers")),
        check(RULE, &with("\"public\"", "\"private\"")),
        check(&format!("min_per_cell = 1\n{RULE}"), JUDGE),
        check(
            RULE,
            &with("[\"payments\"]", "[\"payments\", \"payments_rank\"]\npeers = \"region\""),
        ),
        check(RULE, &with("[\"payments\"]", "[\"payments\", \"ticket_quantiles\"]")),
        check("dominance = { top = 6, share = \"100%\", by = \"visits\", of = 1 }", JUDGE),
        check("dominance = { top = 1 }", JUDGE),
        {
            // Yuan and yen cannot be added up, payments can.
            let workshop = workshop(&RULE.replace("payments", "sales"));
            let text = job(&workshop, &JUDGE.replace("payments = \"1\"", "sales = \"1\""));
            let text = text
                .replace("currency  = \"CNY\"", "currency = [\"CNY\", \"JPY\"]")
                .replace("wallet = \"wallet\" }", "wallet = \"wallet\", currency = \"wallet\" }")
                .replace("\"payments\"]\nbounds   = { sales", "\"sales\"]\nbounds   = { sales")
                .replace(
                    "[\"region\"], [\"region\", ",
                    "[\"region\", \"currency\"], [\"currency\", \"region\", ",
                )
                .replace("[[\"category\", ", "[[\"currency\", \"category\", ")
                .replace("[[\"merchant\"]]", "[[\"merchant\", \"currency\"]]");
            refused(&workshop, &text)
        },
        {
            // Ranks of no merchant: the report's levels name none.
            let workshop = workshop(RULE);
            let text = job(&workshop, JUDGE).replace(
                "insights = [\"payments\"]\nbounds   = { payments = \"1\" }\n\n[[report]]\nname     = \"wallets\"",
                "insights = [\"payments\", \"payments_rank\"]\npeers = \"region\"\nbounds   = { payments = \"1\" }\n\n[[report]]\nname     = \"wallets\"",
            );
            refused(&workshop, &text)
        },
        {
            // By another name, each shop would be shown.
            let workshop = workshop(RULE);
            let text =
                job(&workshop, JUDGE).replace("wallet = \"wallet\"", "wallet = \"merchant\"");
            refused(&workshop, &text)
        },
    ];
    assert_snapshot!(texts.join("\n"));
}
