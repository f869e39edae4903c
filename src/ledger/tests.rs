//! States, budget, races and terms, on real files.

use std::path::{Path, PathBuf};
use std::sync::Barrier;

use tempfile::TempDir;

use super::*;
use crate::error::ErrorClass;
use crate::privacy::{AllUnits, Delta, MuSquared};

pub(super) fn loss(mu_squared: u128, delta: u64) -> PrivacyLoss {
    PrivacyLoss {
        mu_squared: MuSquared::from_units(mu_squared),
        threshold_delta: Delta::from_units(delta),
    }
}

pub(super) fn terms(mu_squared: u128, delta: u64) -> Terms {
    Terms {
        population: "cny-2025".to_owned(),
        unit: "user".to_owned(),
        user: Some("card".to_owned()),
        time: None,
        epsilon_max: "4".to_owned(),
        delta_max: "1e-8".to_owned(),
        budget: PrivacyBudget {
            mu_squared: MuSquared::from_units(mu_squared),
            threshold_delta: Delta::from_units(delta),
        },
        recipients: Vec::new(),
    }
}

pub(super) fn request<'a>(job: &'a str, content: &'a str, loss: PrivacyLoss) -> Request<'a> {
    let all_units = AllUnits { periods: 3, mu_squared: loss.mu_squared };
    let (recipient, user) = ("partner-bank", "card");
    Request { job, digest: content, recipient, user, time: None, loss, all_units }
}

pub(super) fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    (folder, path)
}

/// The class and code of an error, so that a test asserts more than "it failed".
pub(super) fn code<T: std::fmt::Debug>(result: Result<T>) -> (ErrorClass, &'static str) {
    let error = result.unwrap_err();
    (error.class(), error.findings()[0].code())
}

/// Three jobs: published, voided and spent.
pub(super) fn fill(path: &Path) {
    let mut ledger = Ledger::open_or_create(path, &terms(100, 10)).unwrap();
    for job in ["a", "b", "c"] {
        let reservation = ledger.reserve(&request(job, "content", loss(20, 2))).unwrap();
        assert_eq!(reservation, Reservation::Granted);
    }
    ledger.spend("a").unwrap();
    ledger.publish("a", Path::new("out/a"), "d1").unwrap();
    ledger.void("b").unwrap();
    ledger.spend("c").unwrap();
}

// ---------------------------------------------------------------------------- states and budget

/// Plays the steps left of each arrow on one ledger that the processes `p` and `q` have open, and
/// compares what is right of it: the answer, and the loss counted.
fn check(table: &str) {
    let lines: Vec<&str> = table.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let limits: Vec<u64> = lines[0].split_whitespace().skip(1).map(number).collect();
    let (_folder, path) = folder();
    let open = || Ledger::open_or_create(&path, &terms(limits[0].into(), limits[1])).unwrap();
    let (mut p, mut q) = (open(), open());
    let mut played = vec![tidy(lines[0]), tidy(lines[1])];
    for line in &lines[2..] {
        let words: Vec<&str> =
            line.split('→').next().unwrap_or_default().split_whitespace().collect();
        let ledger = if words[0] == "p" { &mut p } else { &mut q };
        let answer = play(ledger, &words[1..], &open);
        let counted = ledger.spent().unwrap();
        let (mu2, delta) = (counted.mu_squared.units(), counted.threshold_delta.units());
        played.push(format!("{} → {answer} {mu2} {delta}", words.join(" ")));
    }
    let wanted: Vec<String> = lines.iter().map(|line| tidy(line)).collect();
    assert_eq!(played.join("\n"), wanted.join("\n"));
}

fn play(ledger: &mut Ledger, words: &[&str], open: &dyn Fn() -> Ledger) -> String {
    let done = |result: Result<()>, word: &str| match result {
        Ok(()) => word.to_owned(),
        Err(error) => error.findings()[0].code().to_owned(),
    };
    match words {
        ["reserve", job, content, mu2, delta] => {
            let loss = loss(number(mu2).into(), number(delta));
            match ledger.reserve(&request(job, content, loss)) {
                Ok(Reservation::Granted) => "granted".to_owned(),
                Ok(Reservation::Spent { .. }) => "is-spent".to_owned(),
                Ok(Reservation::Published { folder, .. }) => format!("is-in:{}", folder.display()),
                Err(error) => error.findings()[0].code().to_owned(),
            }
        }
        ["earlier", job, content] => match ledger.earlier(&request(job, content, loss(1, 1))) {
            Ok(None) => "none".to_owned(),
            Ok(Some(Reservation::Spent { .. })) => "is-spent".to_owned(),
            Ok(Some(Reservation::Published { folder, .. })) => {
                format!("is-in:{}", folder.display())
            }
            Ok(Some(Reservation::Granted)) => panic!("a look grants nothing"),
            Err(error) => error.findings()[0].code().to_owned(),
        },
        ["spend", job] => done(ledger.spend(job), "spent"),
        ["publish", job, folder] => done(ledger.publish(job, Path::new(folder), "d"), "published"),
        ["void", job] => done(ledger.void(job), "voided"),
        ["reopen"] => {
            *ledger = open();
            "opened".to_owned()
        }
        _ => panic!("no such step: {words:?}"),
    }
}

fn number(word: &str) -> u64 {
    word.parse().unwrap()
}

fn tidy(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_job_goes_one_way() {
    check(
        "
        budget 100 10
        who step     job content  μ²   δ  → answer               μ²   δ
        p   spend    A                    → job-not-reserved      0   0
        p   publish  A   out              → job-not-spent         0   0
        p   void     A                    → job-not-reserved      0   0
        p   reserve  A   a        40   3  → granted              40   3
        p   publish  A   out              → job-not-spent        40   3
        p   spend    A                    → spent                40   3
        p   spend    A                    → job-spent            40   3
        p   void     A                    → job-spent            40   3
        p   reserve  A   a        40   3  → is-spent             40   3
        p   publish  A   out              → published            40   3
        p   publish  A   out              → job-published        40   3
        p   spend    A                    → job-published        40   3
        p   void     A                    → job-published        40   3
        p   reserve  A   a        40   3  → is-in:out            40   3
        ",
    );
}

#[test]
fn the_budget_fits_exactly_or_not_at_all() {
    check(
        "
        budget 100 10
        who step     job content  μ²   δ  → answer               μ²   δ
        p   reserve  A   a        101  0  → budget-exceeded       0   0
        p   reserve  A   a        0   11  → budget-exceeded       0   0
        p   reserve  A   a        60   4  → granted              60   4
        p   reserve  B   b        41   0  → budget-exceeded      60   4
        p   reserve  B   b        0    7  → budget-exceeded      60   4
        p   reserve  B   b        40   6  → granted             100  10
        p   reserve  C   c        1    0  → budget-exceeded     100  10
        p   reserve  C   c        0    1  → budget-exceeded     100  10
        p   reserve  C   c        0    0  → granted             100  10
        p   void     B                    → voided               60   4
        p   reserve  D   d        40   6  → granted             100  10
        p   spend    A                    → spent               100  10
        p   publish  A   out              → published           100  10
        p   reserve  E   e        1    0  → budget-exceeded     100  10
        ",
    );
}

#[test]
fn an_id_stands_for_one_content_until_it_is_voided() {
    check(
        "
        budget 100 10
        who step     job content  μ²   δ  → answer               μ²   δ
        p   reserve  A   a        40   3  → granted              40   3
        p   reserve  A   other    40   3  → job-content-differs  40   3
        p   reserve  A   a        39   3  → job-content-differs  40   3
        p   reserve  A   a        40   2  → job-content-differs  40   3
        p   void     A                    → voided                0   0
        p   void     A                    → job-not-reserved      0   0
        p   spend    A                    → job-not-reserved      0   0
        p   reserve  A   other    50   5  → granted              50   5
        p   spend    A                    → spent                50   5
        p   reserve  A   a        40   3  → job-content-differs  50   5
        p   publish  A   out              → published            50   5
        p   reserve  A   a        40   3  → job-content-differs  50   5
        p   reserve  A   other    49   5  → is-in:out            50   5
        ",
    );
}

/// Whose budget it is taken from is part of what was reserved, whatever the content's digest says.
#[test]
fn a_reservation_is_for_one_recipient() {
    let (_folder, path) = folder();
    let mut ledger = Ledger::open_or_create(&path, &terms(100, 10)).unwrap();
    let own = request("a", "content", loss(20, 2));
    assert_eq!(ledger.reserve(&own).unwrap(), Reservation::Granted);
    let other = ledger.reserve(&Request { recipient: "another-bank", ..own.clone() });
    assert_eq!(code(other), (ErrorClass::Refused, "job-content-differs"));
    assert_eq!(ledger.reserve(&own).unwrap(), Reservation::Granted);
}

#[test]
fn every_state_outlives_its_process() {
    check(
        "
        budget 100 10
        who step     job content  μ²   δ  → answer               μ²   δ
        p   reserve  A   a        40   3  → granted              40   3
        p   reopen                        → opened               40   3
        p   spend    A                    → job-not-reserved     40   3
        p   reserve  A   a        40   3  → granted              40   3
        p   reopen                        → opened               40   3
        p   void     A                    → voided                0   0
        p   reopen                        → opened                0   0
        p   reserve  A   a        40   3  → granted              40   3
        p   spend    A                    → spent                40   3
        p   reopen                        → opened               40   3
        p   reserve  A   a        40   3  → is-spent             40   3
        p   spend    A                    → job-spent            40   3
        p   void     A                    → job-spent            40   3
        p   publish  A   out              → published            40   3
        p   reopen                        → opened               40   3
        p   reserve  A   a        40   3  → is-in:out            40   3
        ",
    );
}

#[test]
fn earlier_tells_of_spent_and_published_jobs_only() {
    check(
        "
        budget 100 10
        who step     job content  μ²   δ  → answer               μ²   δ
        p   earlier  A   a                → none                  0   0
        p   reserve  A   a        40   3  → granted              40   3
        p   earlier  A   a                → none                 40   3
        p   earlier  A   other            → none                 40   3
        p   spend    A                    → spent                40   3
        q   earlier  A   a                → is-spent             40   3
        q   earlier  A   other            → job-content-differs  40   3
        p   publish  A   out              → published            40   3
        q   earlier  A   a                → is-in:out            40   3
        q   earlier  A   other            → job-content-differs  40   3
        p   reserve  B   b        10   0  → granted              50   3
        p   void     B                    → voided               40   3
        q   earlier  B   b                → none                 40   3
        ",
    );
}

#[test]
fn of_two_processes_with_a_grant_one_spends() {
    check(
        "
        budget 100 10
        who step     job content  μ²   δ  → answer               μ²   δ
        p   reserve  A   a        40   3  → granted              40   3
        q   reserve  A   a        40   3  → granted              40   3
        q   spend    A                    → spent                40   3
        p   spend    A                    → job-spent            40   3
        p   void     A                    → job-spent            40   3
        q   publish  A   out              → published            40   3
        p   spend    A                    → job-published        40   3
        ",
    );
}

/// Else `p` could draw the noise of a job that costs 90 and be charged 10.
#[test]
fn a_grant_is_for_one_reservation() {
    check(
        "
        budget 100 10
        who step     job content  μ²   δ  → answer               μ²   δ
        p   reserve  A   a        90   3  → granted              90   3
        q   void     A                    → voided                0   0
        p   spend    A                    → job-not-reserved      0   0
        q   reserve  A   cheap    10   0  → granted              10   0
        p   spend    A                    → job-not-reserved     10   0
        p   void     A                    → job-not-reserved     10   0
        q   spend    A                    → spent                10   0
        ",
    );
}

#[test]
fn left_is_the_budget_without_what_is_counted() {
    let (_folder, path) = folder();
    fill(&path);
    // Of 100 and 10, a (published) and c (spent) count with 20 and 2; b was voided.
    let ledger = Ledger::open(&path, &terms(100, 10)).unwrap().unwrap();
    assert_eq!(ledger.spent().unwrap(), loss(40, 4));
    assert_eq!(ledger.left().unwrap(), terms(60, 6).budget);
}

#[test]
fn a_refusal_over_budget_says_what_is_asked_and_left() {
    let (_folder, path) = folder();
    let half = 1 << 59;
    let terms = terms(half, 1_000_000_000);
    let mut ledger = Ledger::open_or_create(&path, &terms).unwrap();
    ledger.reserve(&request("a", "a", loss(half / 10 * 6, 0))).unwrap();
    let error = ledger.reserve(&request("b", "b", loss(half, 1_000_000_001))).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Refused);
    let text = error.to_string().replace(&path.display().to_string(), "LEDGER");
    assert_eq!(
        text,
        "error[budget-exceeded]: job `b` does not fit the ledger `LEDGER`: it asks for 100 % of \
         the budget for noise (μ² 0.5 of 0.5), 40 % is left (μ² 0.2); it asks for 100.000001 % of \
         the δ for thresholds (δ 1.000000001e-9 of 1e-9), 100 % is left (δ 1e-9)\n\
         hint: lower `epsilon` or `delta` of the job; a ledger's budget never grows; of job `a`, \
         which is reserved, no run goes on here: `discretail ledger void LEDGER a` gives that back"
    );
}

// ---------------------------------------------------------------------------------------- races

/// Runs `work` in as many threads at the same time, each with its number.
fn race<T: Send>(threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(threads);
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|i| {
                let (start, work) = (&start, &work);
                scope.spawn(move || {
                    start.wait();
                    work(i)
                })
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    })
}

#[test]
fn racing_jobs_never_exceed_the_budget() {
    let (_folder, path) = folder();
    let terms = terms(100, 10);
    Ledger::open_or_create(&path, &terms).unwrap();
    let granted = race(8, |i| {
        let job = format!("job-{i}");
        let mut ledger = Ledger::open_or_create(&path, &terms).unwrap();
        match ledger.reserve(&request(&job, "content", loss(30, 0))) {
            Ok(Reservation::Granted) => {
                ledger.spend(&job).unwrap();
                ledger.publish(&job, Path::new(&job), "d").unwrap();
                true
            }
            refused => {
                assert_eq!(code(refused), (ErrorClass::Refused, "budget-exceeded"));
                false
            }
        }
    });
    assert_eq!(granted.into_iter().filter(|won| *won).count(), 3);
    let ledger = Ledger::open(&path, &terms).unwrap().unwrap();
    assert_eq!(ledger.spent().unwrap(), loss(90, 0));
}

#[test]
fn racing_runs_of_one_job_spend_it_once() {
    let (_folder, path) = folder();
    let terms = terms(100, 10);
    Ledger::open_or_create(&path, &terms).unwrap();
    let all_granted = Barrier::new(8);
    let won = race(8, |_| {
        let mut ledger = Ledger::open_or_create(&path, &terms).unwrap();
        ledger.reserve(&request("a", "a", loss(30, 0))).unwrap();
        all_granted.wait();
        match ledger.spend("a") {
            Ok(()) => true,
            lost => {
                assert_eq!(code(lost), (ErrorClass::Refused, "job-spent"));
                assert_eq!(code(ledger.void("a")), (ErrorClass::Refused, "job-spent"));
                false
            }
        }
    });
    assert_eq!(won.into_iter().filter(|won| *won).count(), 1);
}

#[test]
fn racing_creators_agree_on_the_terms_of_one() {
    for _ in 0..10 {
        let (folder, path) = folder();
        let results = race(6, |i| {
            let population = format!("population-{}", i % 2);
            Ledger::open_or_create(&path, &Terms { population, ..terms(100, 10) }).map(|_| i % 2)
        });
        let won: Vec<usize> = results.iter().filter_map(|r| r.as_ref().ok().copied()).collect();
        assert_eq!(won.len(), 3, "{results:?}");
        assert!(won.iter().all(|side| *side == won[0]));
        for lost in results.into_iter().filter(|result| result.is_err()) {
            assert_eq!(code(lost), (ErrorClass::Refused, "ledger-terms-differ"));
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }
}

// ---------------------------------------------------------------------------------------- terms

#[test]
fn other_terms_are_refused_each_by_name() {
    let (_folder, path) = folder();
    Ledger::open_or_create(&path, &terms(100, 10)).unwrap();
    let other = Terms {
        population: "eur-2025".to_owned(),
        unit: "user-month".to_owned(),
        epsilon_max: "5".to_owned(),
        delta_max: "1e-7".to_owned(),
        ..terms(100, 10)
    };
    for error in [
        Ledger::open(&path, &other).unwrap_err(),
        Ledger::open_or_create(&path, &other).unwrap_err(),
    ] {
        assert_eq!(error.class(), ErrorClass::Refused);
        let message = error.findings()[0].message().replace(&path.display().to_string(), "LEDGER");
        assert_eq!(
            message,
            "the ledger `LEDGER` has other terms: population is `cny-2025` there and `eur-2025` \
             in the job; unit is `user` there and `user-month` in the job; epsilon_max is `4` \
             there and `5` in the job; delta_max is `1e-8` there and `1e-7` in the job"
        );
    }
}

#[test]
fn numbers_written_otherwise_are_the_same_terms() {
    let (_folder, path) = folder();
    Ledger::open_or_create(&path, &terms(100, 10)).unwrap();
    let same = Terms {
        epsilon_max: "4.0".to_owned(),
        delta_max: "0.00000001".to_owned(),
        ..terms(100, 10)
    };
    assert!(Ledger::open(&path, &same).unwrap().is_some());
    let close = Terms { epsilon_max: "4.000001".to_owned(), ..terms(100, 10) };
    assert_eq!(code(Ledger::open(&path, &close)), (ErrorClass::Refused, "ledger-terms-differ"));
}

#[test]
fn the_budget_of_the_first_run_stays() {
    let (_folder, path) = folder();
    Ledger::open_or_create(&path, &terms(100, 10)).unwrap();
    let ledger = Ledger::open_or_create(&path, &terms(1000, 1000)).unwrap();
    assert_eq!(ledger.left().unwrap(), terms(100, 10).budget);
}

/// Else one person could be a user of the first job and thirty users of the second (Theorem 2).
#[test]
fn all_jobs_that_count_tell_users_apart_by_one_expression() {
    let (_folder, path) = folder();
    Ledger::create(&path, &Terms { user: None, ..terms(100, 10) }).unwrap();
    let mut ledger = Ledger::open_to_change(&path).unwrap();
    let by_day = |job| Request { user: "card || day", ..request(job, "content", loss(1, 0)) };
    let by_card = |job| request(job, "content", loss(1, 0));
    let differ = (ErrorClass::Refused, "ledger-users-differ");
    assert!(Ledger::open(&path, &terms(100, 10)).unwrap().is_some(), "no job has decided");
    // A slip that was given back decides nothing.
    ledger.reserve(&by_day("slip")).unwrap();
    assert_eq!(code(ledger.reserve(&by_card("a"))), differ);
    assert_eq!(code(Ledger::open(&path, &terms(100, 10))), differ);
    ledger.void("slip").unwrap();
    ledger.reserve(&by_card("a")).unwrap();
    ledger.spend("a").unwrap();
    assert_eq!(code(ledger.reserve(&by_day("slip"))), differ);
    ledger.reserve(&by_card("b")).unwrap();
    assert_eq!(Report::read(&path).unwrap().terms.user.as_deref(), Some("card"));
    let error = ledger.reserve(&by_day("c")).unwrap_err();
    let text = error.to_string().replace(&path.display().to_string(), "LEDGER");
    assert_eq!(
        text,
        "error[ledger-users-differ]: the ledger `LEDGER` tells users apart by `card` since job \
         `a`, and this job by `card || day`: one person could be two users, whom no budget \
         protects together\n\
         hint: write the ledger's expression as `user` in `columns`; if both give each person \
         the same token, in every row, say so with `same_user_as = \"card\"` in `[ledger]`"
    );
}

/// Else one payment could be of January in the first job and of February in the second, and
/// removing one user's January would change both by more than each is charged for.
#[test]
fn all_jobs_that_count_put_payments_into_periods_by_one_time() {
    let (_folder, path) = folder();
    let monthly = |time: &str| Terms {
        unit: "user-month Asia/Shanghai".to_owned(),
        time: Some(time.to_owned()),
        ..terms(100, 10)
    };
    let by = |job, time: &str| {
        let time = Some(time.to_owned());
        Request { time, ..request(job, "content", loss(1, 0)) }
    };
    let differ = (ErrorClass::Refused, "ledger-times-differ");
    let mut ledger = Ledger::open_or_create(&path, &monthly("paid_at")).unwrap();
    ledger.reserve(&by("slip", "settled_at")).unwrap();
    assert_eq!(code(ledger.reserve(&by("a", "paid_at"))), differ);
    assert_eq!(code(Ledger::open(&path, &monthly("paid_at"))), differ);
    ledger.void("slip").unwrap();
    ledger.reserve(&by("a", "paid_at")).unwrap();
    ledger.spend("a").unwrap();
    assert_eq!(code(ledger.reserve(&by("b", "paid_at, utc"))), differ);
    assert_eq!(code(ledger.reserve(&request("b", "content", loss(1, 0)))), differ);
    ledger.reserve(&by("b", "paid_at")).unwrap();
    let report = Report::read(&path).unwrap();
    assert_eq!(report.terms.time.as_deref(), Some("paid_at"));
    assert_eq!(report.job("b").unwrap().time.as_deref(), Some("paid_at"));
}

/// What comes while a job runs hangs on how long it runs, and is in no manifest.
#[test]
fn what_a_job_states_is_as_it_was_when_it_was_reserved() {
    let (_folder, path) = folder();
    let open = || Ledger::open_or_create(&path, &terms(100, 10)).unwrap();
    let (mut own, mut other) = (open(), open());
    other.reserve(&request("before", "content", loss(5, 1))).unwrap();
    other.void("before").unwrap();
    own.reserve(&request("own", "content", loss(20, 2))).unwrap();
    let then = own.report().unwrap();
    other.reserve(&request("before", "content", loss(7, 1))).unwrap();
    other.reserve(&request("after", "content", loss(30, 3))).unwrap();
    let report = own.report_when_reserved("own").unwrap();
    assert_eq!(report.ever_taken(), Some(loss(25, 3)));
    assert_eq!(report.head(), then.head());
    assert_eq!(own.report().unwrap().ever_taken(), Some(loss(57, 6)));
    // No more than there is, however often some of it was given back.
    for job in ["x", "y", "z"] {
        other.reserve(&request(job, "content", loss(35, 4))).unwrap();
        other.void(job).unwrap();
    }
    assert_eq!(own.report().unwrap().ever_taken(), Some(loss(100, 10)));
}

#[test]
fn all_jobs_together_have_the_most_periods_of_one_and_all_their_losses() {
    let (_folder, path) = folder();
    let mut ledger = Ledger::open_or_create(&path, &terms(100, 10)).unwrap();
    for (job, periods, of_all) in [("a", 4, 50), ("b", 2, 7), ("c", 9, 900)] {
        let all_units = AllUnits { periods, mu_squared: MuSquared::from_units(of_all) };
        let request = Request { all_units, ..request(job, "content", loss(5, 1)) };
        assert_eq!(ledger.reserve(&request).unwrap(), Reservation::Granted);
    }
    ledger.void("c").unwrap();
    let report = ledger.report().unwrap();
    // Of one unit μ² is 5 and δ 1 each; δ_max is 1e-8 for each period.
    let composed = report.composed().unwrap();
    assert_eq!((composed.periods, composed.loss), (4, loss(57, 4 + 2)));
    assert_eq!(composed.delta.units(), 40_000_000_000);
    let ever = report.ever_composed().unwrap();
    assert_eq!((ever.periods, ever.loss), (9, loss(957, 4 + 2 + 9)));
    assert_eq!(ever.delta.units(), 90_000_000_000);
}

// ----------------------------------------------------------------------------------- recipients

fn with_recipients(total: u128, recipients: &[(&str, u128, u64)]) -> Terms {
    let recipients = recipients.iter().map(|&(name, mu_squared, delta)| RecipientTerms {
        name: name.to_owned(),
        epsilon_max: "1".to_owned(),
        delta_max: "1e-9".to_owned(),
        budget: terms(mu_squared, delta).budget,
    });
    Terms { recipients: recipients.collect(), ..terms(total, 10) }
}

fn asks<'a>(job: &'a str, recipient: &'a str, mu_squared: u128, delta: u64) -> Request<'a> {
    Request { recipient, ..request(job, "content", loss(mu_squared, delta)) }
}

#[test]
fn a_recipient_is_held_to_its_budget_and_all_to_the_total() {
    let (_folder, path) = folder();
    let terms = with_recipients(100, &[("bank", 30, 2), ("press", 90, 10)]);
    Ledger::create(&path, &terms).unwrap();
    let exists = (ErrorClass::Invalid, "ledger-exists");
    assert_eq!(code(Ledger::create(&path, &terms)), exists);
    let mut ledger = Ledger::open_to_change(&path).unwrap();
    let exceeded = (ErrorClass::Refused, "budget-exceeded");
    // job, recipient, μ², δ: is it granted?
    for (job, recipient, mu_squared, delta, fits) in [
        ("a", "bank", 31, 0, false),
        ("a", "bank", 0, 3, false),
        ("a", "bank", 20, 2, true),
        ("b", "bank", 11, 0, false),
        ("b", "bank", 10, 0, true),
        // Of 100 all have 70 left, whatever 90 the press has.
        ("c", "press", 71, 0, false),
        ("c", "press", 40, 0, true),
        // A recipient without a budget of its own has what is left of the total.
        ("d", "anyone", 31, 0, false),
        ("d", "anyone", 30, 0, true),
        ("e", "press", 1, 0, false),
    ] {
        match ledger.reserve(&asks(job, recipient, mu_squared, delta)) {
            Ok(reservation) => assert_eq!((reservation, fits), (Reservation::Granted, true)),
            refused => assert_eq!((code(refused), fits), (exceeded, false), "{job} {mu_squared}"),
        }
    }
    ledger.spend("a").unwrap();
    ledger.void("b").unwrap();
    let report = Report::read(&path).unwrap();
    let (name, bank) = &report.recipients[1];
    assert_eq!(name, "bank");
    assert_eq!((bank.tally.reserved, bank.tally.spent), (loss(0, 0), loss(20, 2)));
    assert_eq!(bank.left(), Some(with_recipients(10, &[("x", 10, 0)]).recipients[0].budget));
    assert_eq!(ledger.recipient_left("anyone").unwrap(), None);
    assert_eq!(report.total.tally.counted(), loss(90, 2));
    // What a job states knows nothing of recipients; it is the same ledger.
    assert!(Ledger::open(&path, &super::tests::terms(100, 10)).unwrap().is_some());
}

#[test]
fn a_refusal_names_the_recipient_whose_budget_is_used_up() {
    let (_folder, path) = folder();
    Ledger::create(&path, &with_recipients(100, &[("bank", 1, 2)])).unwrap();
    let mut ledger = Ledger::open_to_change(&path).unwrap();
    let error = ledger.reserve(&asks("a", "bank", 2, 0)).unwrap_err();
    let message = error.findings()[0].message();
    assert!(message.contains("of the budget for noise of recipient `bank`"), "{message}");
    assert!(!message.contains("δ"), "{message}");
}

#[test]
fn racing_jobs_of_one_recipient_stay_within_its_budget() {
    let (_folder, path) = folder();
    Ledger::create(&path, &with_recipients(1000, &[("bank", 60, 10)])).unwrap();
    let granted = race(8, |i| {
        let job = format!("job-{i}");
        let mut ledger = Ledger::open_to_change(&path).unwrap();
        ledger.reserve(&asks(&job, "bank", 25, 0)).is_ok()
    });
    assert_eq!(granted.into_iter().filter(|won| *won).count(), 2);
}
