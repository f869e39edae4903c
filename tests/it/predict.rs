//! Errors are told before anything is spent, and jobs that noise would drown are refused.

use insta::assert_snapshot;
use serde_json::Value;

use crate::common::{JOB, Workshop, shown};

/// [`JOB`] with public expectations of its payments.
fn expecting(users: u32, payments: u32, sales: &str) -> String {
    let expect =
        format!("[expect]\nusers = {users}\npayments = {payments}\nsales = \"{sales}\"\n\n");
    JOB.replace("[privacy]", &format!("{expect}[privacy]"))
}

fn open(job: &str) -> String {
    job.replace("bounds   = { customers = \"3\", payments = \"10\", sales = \"500.00\" }\n", "")
}

fn run(workshop: &Workshop, args: &[&str]) -> String {
    format!("$ discretail {}\n{}", args.join(" "), shown(workshop, &workshop.discretail(args)))
}

#[test]
fn expected_errors_are_planned() {
    let workshop = Workshop::new();
    let mut texts = String::new();
    let large = expecting(20_000, 400_000, "18000000");
    for job in [&large, &open(&large), &large.replace("sales = \"18000000\"\n", "")] {
        workshop.text("job.toml", job);
        texts += &run(&workshop, &["plan", "job.toml"]);
    }
    assert_snapshot!(texts);
}

#[test]
fn useless_jobs_are_refused_unless_that_is_accepted() {
    let workshop = Workshop::new();
    workshop.text("job.toml", &expecting(60, 1200, "54000"));
    let mut texts = run(&workshop, &["run", "job.toml"]);
    assert!(!workshop.path("ledger.sqlite").exists() && !workshop.path("releases").exists());
    texts += &run(&workshop, &["plan", "job.toml"]);
    texts += &run(&workshop, &["run", "job.toml", "--accept-useless"]);
    // What was released once is answered, with the same words or without.
    texts += &run(&workshop, &["run", "job.toml"]);
    let output = workshop.discretail(&["verify", "releases/test", "--ledger", "ledger.sqlite"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
    let bytes = std::fs::read(workshop.path("releases/test/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&bytes).unwrap();
    texts += &format!("accepted_useless: {:#}\n", manifest["accepted_useless"]);
    assert_snapshot!(texts);
}

/// More ε than the hint says is enough, and less is not.
#[test]
fn the_epsilon_of_the_hint_would_do() {
    let workshop = Workshop::new();
    let job = expecting(60, 1200, "54000").replace("epsilon_max = \"4\"", "epsilon_max = \"20\"");
    let plan = |epsilon: &str| -> Value {
        workshop
            .text("job.toml", &job.replace("epsilon = \"1\"", &format!("epsilon = \"{epsilon}\"")));
        let output = workshop.discretail(&["plan", "job.toml", "--json"]);
        assert!(output.status.success(), "{}", shown(&workshop, &output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    plan("1");
    let refused = shown(&workshop, &workshop.discretail(&["run", "job.toml"]));
    let (_, of_weeks) = refused.split_once("`customers` of market.region-week").unwrap();
    let (_, hint) = of_weeks.split_once("raise `epsilon` to about ").unwrap();
    let epsilon: f64 = hint.split(';').next().unwrap().parse().unwrap();
    let useless = |epsilon: f64| {
        let plan = plan(&format!("{epsilon:.4}"));
        let mut statistics = plan["statistics"].as_array().unwrap().iter();
        let is =
            |s: &&Value| s["file"] == "market.region-week.parquet" && s["statistic"] == "customers";
        statistics.find(is).unwrap()["predicted"]["useless"].as_bool().unwrap()
    };
    assert!(!useless(epsilon + 0.01) && useless(epsilon * 0.8), "{epsilon}");
}

/// What an earlier release has shown tells errors, without `[expect]`.
#[test]
fn an_earlier_release_tells_errors() {
    let workshop = Workshop::new();
    workshop.text("job.toml", &open(JOB));
    assert!(workshop.discretail(&["run", "job.toml"]).status.success());
    let next = open(JOB)
        .replace("\"test\"", "\"next\"")
        .replace("first_day = 2025-01-01", "first_day = 2025-02-01")
        .replace("last_day  = 2025-01-31", "last_day  = 2025-02-28")
        .replace("name     = \"market\"", "name     = \"market\"\nprevious = \"test\"");
    workshop.text("next.toml", &next);
    let output = workshop.discretail(&["plan", "next.toml", "--json"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    for statistic in plan["statistics"].as_array().unwrap() {
        let predicted = &statistic["predicted"];
        if statistic["file"].as_str().unwrap().starts_with("found") {
            assert!(predicted.is_null(), "{statistic}");
            continue;
        }
        assert_eq!(predicted["basis"], "released", "{statistic}");
        assert!(predicted["wape_noised"].as_f64().unwrap() > 0.0, "{statistic}");
        let bounds =
            [&predicted["norm_bound"], &statistic["norm_bound"]].map(|b| b.as_f64().unwrap());
        assert!((bounds[0] / bounds[1] - 1.0).abs() < 0.3, "{statistic}");
    }
}

/// Budget by errors: the plan, and what is refused, with about the ε that would do.
#[test]
fn errors_that_are_asked_for_are_planned_or_refused() {
    let workshop = Workshop::new();
    let large = expecting(20_000, 400_000, "18000000");
    let asking = |error: &str, job: &str| {
        job.replacen("[[report]]\n", &format!("[[report]]\nerror    = {{ {error} }}\n"), 1)
    };
    let mut texts = String::new();
    for error in ["sales = [\"any\", \"40%\", \"any\"]", "payments = \"30%\", sales = \"any\""] {
        workshop.text("job.toml", &asking(error, &large));
        texts += &run(&workshop, &["plan", "job.toml"]);
    }
    // What is planned is what is charged and released.
    workshop.text("job.toml", &asking("sales = [\"any\", \"40%\", \"any\"]", &large));
    let args = ["run", "job.toml", "--accept-useless"];
    assert!(workshop.discretail(&args).status.success());
    let output = workshop.discretail(&["verify", "releases/test", "--ledger", "ledger.sqlite"]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
    std::fs::remove_file(workshop.path("ledger.sqlite")).unwrap();
    let ask = |texts: &mut String, job: &str| {
        workshop.text("job.toml", job);
        texts.push_str(&run(&workshop, &["check", "job.toml"]));
        assert!(!workshop.path("ledger.sqlite").exists());
    };
    // Too dear; more than the bound takes, or than noise on a computer leaves; nothing to tell
    // errors from; private keys; no percentages.
    let little = large.replace("epsilon = \"1\"", "epsilon = \"0.1\"");
    for error in ["customers = \"0.5%\"", "payments = \"2%\", sales = \"3%\""] {
        let job = open(&asking(error, &little));
        ask(&mut texts, &job);
        // What the hint says is enough.
        let (_, hint) = texts.rsplit_once("raise `epsilon` to about ").expect("a hint");
        let epsilon = hint.split(';').next().expect("a number");
        let raised = job.replace("epsilon = \"0.1\"", &format!("epsilon = \"{epsilon}\""));
        workshop.text("job.toml", &raised);
        let output = workshop.discretail(&["check", "job.toml"]);
        assert!(output.status.success(), "{}", shown(&workshop, &output));
    }
    ask(&mut texts, &asking("sales = \"0.01%\"", &large));
    ask(&mut texts, &open(&asking("sales = \"0.0001%\"", &large)));
    ask(&mut texts, &asking("sales = \"5%\"", JOB));
    ask(&mut texts, &asking("sales = \"5%\"", &large.replacen("\"public\"", "\"private\"", 1)));
    ask(&mut texts, &asking("sales = \"5%\", refunds = \"5%\", customers = \"five\"", &large));
    ask(&mut texts, &asking("sales = [\"5%\", \"5%\"], visitors = \"5%\"", &large));
    assert_snapshot!(texts);
}
