//! Audits of the program as it is: nothing is refuted, whatever the job.

use super::*;
use crate::fixture::Market;
use crate::plan::budget_of;

/// Reports with stated bounds, and private keys of which `cells_max` of a user count.
pub(super) fn reports(cells_max: u32) -> Vec<String> {
    let rest = "insights = [\"customers\", \"payments\", \"sales\", \"ticket_histogram\"]\n\
                bounds = { customers = 3, payments = 8, sales = \"90.00\", ticket_histogram = 6 }";
    let public =
        "levels = [[], [\"region\", \"week\"], [\"merchant\", \"wallet\"]]\nkeys = \"public\"";
    let private = "levels = [[\"merchant\"], [\"wallet\", \"day\"]]\nkeys = \"private\"";
    vec![format!("{public}\n{rest}"), format!("{private}\ncells_max = {cells_max}\n{rest}")]
}

/// Jobs of all kinds: bounds stated and open, keys public and private, units within periods.
pub(super) fn plans() -> Vec<(&'static str, Plan)> {
    let market = Market::new(&[]);
    let reports = reports(4);
    let open: Vec<String> = reports
        .iter()
        .map(|report| {
            report.lines().filter(|l| !l.starts_with("bounds")).collect::<Vec<_>>().join("\n")
        })
        .collect();
    let monthly = "levels = [[\"month\"], [\"merchant\", \"day\"]]\nkeys = \"public\"";
    let monthly =
        format!("{monthly}\n{}", &reports[0][reports[0].find("insights").expect("has")..]);
    vec![
        ("stated", market.plan(&reports)),
        ("open", market.plan(&open)),
        ("monthly", market.plan_for("user-month", &[monthly])),
        ("insights", market.plan(&insights())),
    ]
}

/// Reports with all insights, of which some look back, some have stated bounds and some private
/// keys.
pub(super) fn insights() -> Vec<String> {
    let all = "insights = [\"customers\", \"payments\", \"gross\", \"refund_rate\", \"sales\", \
               \"spend_per_customer\", \"visits_per_customer\", \"visit_classes\", \"repeat_rate\", \
               \"recency_histogram\", \"ticket_quantiles\", \"ticket_histogram\"]";
    let stated = "bounds = { gross = \"90.00\", refunds = \"40.00\", visits = 6, visit_classes = 2, \
         recency_histogram = 2 }";
    let new = "insights = [\"new_customers\", \"returning_customers\", \"visits\", \"refunds\", \
               \"retention_cohort\", \"diffusion_index\"]";
    vec![
        format!(
            "levels = [[], [\"region\", \"month\"]]\nkeys = \"public\"\n\
             partition_by = \"month\"\n{all}"
        ),
        format!("levels = [[\"merchant\", \"week\"]]\nkeys = \"public\"\nlook_back = 30\n{new}"),
        format!(
            "levels = [[\"wallet\", \"month\"]]\nkeys = \"private\"\ncells_max = 5\n{all}\n{stated}"
        ),
    ]
}

/// Cells that a user's other payments decide on: homes, with public keys and private ones, and
/// pairs.
fn flows() -> Plan {
    let rest = "insights = [\"customers\", \"payments\"]\n\
                bounds = { customers = [2, 1], payments = 5 }";
    let levels = r#"levels = [["home_region", "region", "month"], ["home_region"]]"#;
    let pairs = r#"levels = [["month"], ["region", "month"], ["region", "with_region", "month"]]"#;
    Market::new(&[]).plan(&[
        format!("{levels}\nkeys = \"public\"\n{rest}"),
        format!("{levels}\nkeys = \"private\"\ncells_max = 4\n{rest}"),
        format!(
            "{pairs}\nkeys = \"public\"\ninsights = [\"customers\", \"lift\"]\n\
             bounds = {{ customers = [1, 1, \"1.5\"] }}"
        ),
    ])
}

/// Private keys beside such that rounds discover.
fn keys() -> Plan {
    let rest = "cells_max = 4\ninsights = [\"customers\", \"payments\"]";
    Market::new(&[]).plan(&[
        format!("levels = [[\"wallet\", \"month\"]]\nkeys = \"private\"\n{rest}"),
        format!("levels = [[\"merchant\"], [\"wallet\"]]\nkeys = \"discovered\"\n{rest}"),
    ])
}

/// All that is tried on twins, refuted rows only.
pub(super) fn refuted(subject: &dyn Subject, plan: &Plan) -> Vec<Row> {
    let (rows, _) = try_out(subject, plan, Depth::Quick).expect("the twins are good");
    rows.into_iter().filter(|row| row.verdict == Verdict::Refuted).collect()
}

#[test]
fn nothing_is_refuted_of_the_program_as_it_is() {
    for (name, plan) in plans().into_iter().chain([("flows", flows()), ("keys", keys())]) {
        let (rows, pictures) = try_out(&Program::within(2), &plan, Depth::Quick).expect("tries");
        for row in &rows {
            assert_ne!(row.verdict, Verdict::Refuted, "{name}: {row:?}");
        }
        assert!(rows.len() >= 12, "{}", rows.len());
        // Some come close to the bound, or nothing would have been tried.
        let points = &pictures.points;
        let near = points.iter().filter(|point| point.share > 0.999).count();
        assert!(near > 50, "{name}: {near} of {}", points.len());
        // In each statistic with a bound that is known before, somebody does, whatever it counts;
        // bounds that the run chooses may be beyond all that can be.
        let checked = ["insights", "flows"].contains(&name);
        let levels = plan.levels.iter().enumerate().filter(|_| checked);
        for (place, level) in levels {
            let known = level.statistics.iter().enumerate();
            for (_, statistic) in known.filter(|(row, _)| !plan.is_open(place, *row)) {
                let what = format!("{} of {}", statistic.kind.name(), level.file);
                let own = points.iter().filter(|point| point.what == what);
                let most = own.map(|point| point.share).fold(0.0, f64::max);
                assert!(most > 0.99, "{name}: {what} came to {most}");
            }
        }
    }
}

/// Lint finds what is wrong with a job, and leaves others alone.
#[test]
fn lint_finds_what_a_job_should_not_ask_for() {
    let plan_of = |unit: &str, epsilon: &str, bound: &str| {
        let market = Market::new(&[]);
        let report = format!(
            "levels = [[\"month\"]]\nkeys = \"public\"\ninsights = [\"sales\"]\n\
             bounds = {{ sales = \"{bound}\" }}"
        );
        let mut plan = market.plan_for(unit, &[report]);
        plan.job.privacy.epsilon = crate::privacy::Epsilon::parse(epsilon).expect("valid");
        plan
    };
    let refuted = |plan: &Plan, users| -> Vec<String> {
        let budget = budget_of(&plan.job.ledger).expect("enough");
        let rows = lint::rows(plan, users, None, budget).into_iter();
        rows.filter(|row| row.verdict == Verdict::Refuted).map(|row| row.figure).collect()
    };
    assert_eq!(refuted(&plan_of("user", "1", "90.00"), Some(9_000)), [""; 0]);
    insta::assert_snapshot!(
        [
            refuted(&plan_of("user", "1", "90.00"), Some(2_000_000)),
            refuted(&plan_of("user", "12", "90.00"), None),
            refuted(&plan_of("user", "1", "93.27"), None),
        ]
        .concat()
        .join("\n")
    );
    // All days of a user together, of which each has ε = 4.
    let days = refuted(&plan_of("user-day", "4", "90.00"), None);
    assert!(days.iter().all(|text| text.contains("units of user-day")), "{days:?}");
}

/// The twin of a job as a file is the job: the same statistics, bounds, noise and price.
#[test]
fn the_job_file_of_a_twin_plans_the_same() {
    for (name, plan) in plans().into_iter().chain([("flows", flows()), ("keys", keys())]) {
        let twin = Twin::new(&plan).expect("a folder");
        let folder = twin.apart("apart", [].iter()).expect("writes");
        let text = std::fs::read_to_string(folder.join("job.toml")).expect("reads");
        let job = crate::job::Job::parse(&text, &folder);
        let again =
            Plan::new(job.unwrap_or_else(|e| panic!("{name}: {e}\n{text}"))).expect("plans");
        assert_eq!(again.loss, plan.loss, "{name}");
        assert_eq!(again.surveys.len(), plan.surveys.len(), "{name}");
        for (again, level) in again.levels.iter().zip(&plan.levels) {
            assert_eq!(again.file, level.file, "{name}");
            assert_eq!(again.statistics, level.statistics, "{name}");
            assert_eq!(again.selection, level.selection, "{name}");
            assert_eq!(again.cells.count(&plan.job), level.cells.count(&plan.job), "{name}");
        }
    }
}
