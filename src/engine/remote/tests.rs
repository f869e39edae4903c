//! What becomes of rows and errors, with a server that is made up;
//! `engine::tests::elsewhere` asks real ones.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};

use super::*;
use crate::engine::ExactSurveys;
use crate::error::ErrorClass;
use crate::fixture::{Market, noiseless};
use crate::job::{Dialect, SparkServer};

/// Gives what it was told to give, and remembers what it was asked.
#[derive(Default)]
struct Scripted {
    answers: RefCell<Vec<Result<Vec<RecordBatch>>>>,
    asked: RefCell<Vec<String>>,
    /// Whether Ctrl-C was heard when it was asked.
    heard: RefCell<Vec<bool>>,
}

impl Client for Rc<Scripted> {
    fn rows(&self, sql: &str, cancelled: &AtomicBool) -> Result<Vec<RecordBatch>> {
        self.asked.borrow_mut().push(sql.to_owned());
        self.heard.borrow_mut().push(cancelled.load(Ordering::Relaxed));
        self.answers.borrow_mut().remove(0)
    }
}

/// A job on a table, at a Spark server whose address is at bytes 3 to 5.
fn plan() -> Plan {
    plan_with("private", "bounds = { customers = 2, payments = 9 }")
}

fn plan_with(keys: &str, bounds: &str) -> Plan {
    let table = (
        "files = [\"payments.parquet\"]",
        "table = \"lake.payments\"\ntypes = { user = \"text\", merchant = \"text\", time = \"integer\", \
         amount = \"integer\", wallet = \"text\" }",
    );
    let report = format!(
        "levels = [[\"wallet\"]]\nkeys = \"{keys}\"\ncells_max = 3\ninsights = [\"payments\"]\n{bounds}"
    );
    let changes = [table, ("ticket_groups = \"region\"\n", "")];
    let plan = Market::new(&[]).try_plan_changed(&changes, &[report]);
    let mut plan = plan.expect("a good job");
    let server = SparkServer { url: "sc://localhost".to_owned(), span: 3..5 };
    let table = plan.job.payments.table.as_mut().expect("it has a table");
    table.server = Some(Server::Spark(server));
    plan
}

/// Rows of a query, each with a level, a key, three counts and three totals.
type Line = (&'static str, Option<&'static str>, [i64; 3], [Option<i64>; 3]);

const GOOD: [Line; 2] = [
    ("rows", None, [5, 2, 4], [Some(0), Some(1), Some(0)]),
    ("r0.wallet", Some("w0"), [4, 2, 2], [Some(2), Some(4), None]),
];

fn batch(query: &Query, lines: &[Line]) -> RecordBatch {
    let level = query.text().contains("'r0.wallet'");
    assert!(level, "{}", query.text());
    let texts = |value: &dyn Fn(&Line) -> Option<String>| -> ArrayRef {
        Arc::new(lines.iter().map(value).collect::<StringArray>())
    };
    let numbers = |value: &dyn Fn(&Line) -> Option<i64>| -> ArrayRef {
        Arc::new(lines.iter().map(value).collect::<Int64Array>())
    };
    let columns: [(&str, ArrayRef); 9] = [
        ("plan", texts(&|_| Some(query.plan.clone()))),
        ("level", texts(&|line| Some(line.0.to_owned()))),
        ("key_1", texts(&|line| line.1.map(str::to_owned))),
        ("n_rows", numbers(&|line| Some(line.2[0]))),
        ("n_users", numbers(&|line| Some(line.2[1]))),
        ("n_first", numbers(&|line| Some(line.2[2]))),
        ("total_1", numbers(&|line| line.3[0])),
        ("total_2", numbers(&|line| line.3[1])),
        ("total_3", numbers(&|line| line.3[2])),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
        .expect("a batch")
}

fn no_surveys(_: ExactSurveys) -> Result<Plan> {
    panic!("all bounds are stated")
}

/// What the engine makes of answers, and what it asked.
fn ask<T>(
    plan: &Plan,
    answers: Vec<Result<Vec<RecordBatch>>>,
    cancelled: bool,
    what: impl FnOnce(&Remote) -> Result<T>,
) -> (Result<T>, Vec<String>) {
    let (outcome, client, _) = ask_in_full(plan, answers, cancelled, what);
    (outcome, client.asked.take())
}

/// The same, with what the user was told.
fn ask_in_full<T>(
    plan: &Plan,
    answers: Vec<Result<Vec<RecordBatch>>>,
    cancelled: bool,
    what: impl FnOnce(&Remote) -> Result<T>,
) -> (Result<T>, Rc<Scripted>, Vec<String>) {
    let table = plan.job.payments.table.as_ref().expect("it has a table");
    let server = table.server.as_ref().expect("it has a server");
    let client = Rc::new(Scripted { answers: answers.into(), ..Scripted::default() });
    let cancelled = AtomicBool::new(cancelled);
    let notes = RefCell::new(Vec::new());
    let note = |text: &str| notes.borrow_mut().push(text.to_owned());
    let asker = Asker { cancelled: &cancelled, spill_folder: Path::new("/"), note: &note };
    let pauses = [Duration::ZERO; 3];
    let remote = Remote { client: Box::new(client.clone()), table, server, asker, pauses };
    let outcome = what(&remote);
    drop(remote);
    (outcome, client, notes.into_inner())
}

fn code<T>(outcome: &Result<T>) -> Option<(ErrorClass, &'static str)> {
    outcome.as_ref().err().map(|error| (error.class(), error.findings()[0].code()))
}

#[test]
fn rows_are_totals_if_they_are_whole_and_of_this_query() {
    let plan = plan();
    let query = Query::new(&plan, Dialect::Spark).expect("it has SQL");
    let totals = |batches: Vec<RecordBatch>| {
        let (outcome, asked) =
            ask(&plan, vec![Ok(batches)], false, |remote| remote.totals(&plan, &mut no_surveys));
        assert_eq!(asked, [query.text()]);
        outcome
    };
    let (plan_used, found) =
        totals(vec![batch(&query, &GOOD[1..]), batch(&query, &[]), batch(&query, &GOOD[..1])])
            .expect("good rows");
    assert_eq!(plan_used.totals_from, Some("spark"));
    assert_eq!(found.levels[0].sums, [[2], [4]]);

    let unfit = Some((ErrorClass::Invalid, "totals-unfit"));
    let mut other = query.clone();
    other.plan = "spark:00".to_owned();
    let cut = batch(&query, &GOOD).project(&[0, 1, 3, 4, 5, 6, 7, 8]).expect("columns");
    let wrong = [
        vec![],
        vec![batch(&query, &[])],
        vec![batch(&query, &GOOD[..1])],
        vec![batch(&query, &GOOD[1..])],
        vec![batch(&query, &GOOD), batch(&query, &GOOD[1..])],
        vec![batch(&query, &GOOD[..1]), batch(&other, &GOOD[1..])],
        vec![batch(&other, &GOOD)],
        vec![cut],
    ];
    for batches in wrong {
        let outcome = totals(batches.clone());
        assert_eq!(code(&outcome), unfit, "{batches:?}");
    }
    let none = ("rows", None, [0, 0, 0], [Some(0), Some(1), Some(0)]);
    let outcome = totals(vec![batch(&query, &[none])]);
    assert_eq!(code(&outcome), Some((ErrorClass::Invalid, "rows-missing")));
    let other = ("rows", None, [5, 2, 4], [Some(0), Some(0), Some(0)]);
    let outcome = totals(vec![batch(&query, &[other, GOOD[1]])]);
    assert_eq!(code(&outcome), Some((ErrorClass::Invalid, "totals-session")));
}

#[test]
fn a_table_is_looked_at_before_it_is_read() {
    let plan = plan();
    let (outcome, asked) = ask(&plan, vec![Ok(vec![])], false, |remote| remote.is_there(&plan));
    assert_eq!(code(&outcome), None);
    assert_eq!(
        asked,
        [
            "SELECT CAST(CASE WHEN typeof(`amount`) NOT LIKE 'tinyint' AND typeof(`amount`) NOT LIKE \
             'smallint' AND typeof(`amount`) NOT LIKE 'int' AND typeof(`amount`) NOT LIKE 'bigint' THEN 1 ELSE 0 END\n      \
             + CASE WHEN typeof(`merchant`) NOT LIKE 'string' THEN 2 ELSE 0 END\n      \
             + CASE WHEN typeof(`time`) NOT LIKE 'tinyint' AND typeof(`time`) NOT LIKE 'smallint' AND \
             typeof(`time`) NOT LIKE 'int' AND typeof(`time`) NOT LIKE 'bigint' THEN 4 ELSE 0 END\n      \
             + CASE WHEN typeof(`user`) NOT LIKE 'string' THEN 8 ELSE 0 END\n      \
             + CASE WHEN typeof(`wallet`) NOT LIKE 'string' THEN 16 ELSE 0 END AS BIGINT) AS dr_types, \
             CAST(CASE WHEN TRUE THEN 0 ELSE 1 END AS BIGINT) AS dr_encoding\n  FROM (SELECT 1 AS dr_one) dr_first \
             LEFT JOIN (SELECT 1 AS dr_look, `amount`, `merchant`, `time`, `user`, `wallet` FROM \
             `lake`.`payments` WHERE 1 = 0) dr_none ON 1 = 1"
        ]
    );
    let told = |types: i64, encoding: i64| {
        let column = |told: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![told])) };
        let columns = [("dr_types", column(types)), ("dr_encoding", column(encoding))];
        let batch = RecordBatch::try_from_iter(columns).expect("a batch");
        ask(&plan, vec![Ok(vec![batch])], false, |remote| remote.is_there(&plan)).0
    };
    assert_eq!(code(&told(0, 0)), None);
    assert_eq!(code(&told(0, 1)), Some((ErrorClass::Invalid, "encoding-unfit")));
    let error = told(1 + 8, 0).expect_err("two columns are other ones");
    let codes: Vec<&str> = error.findings().iter().map(|finding| finding.code()).collect();
    assert_eq!(codes, ["totals-types"; 2], "{error}");
    assert!(error.findings()[1].message().contains("`user`"), "{error}");
    let failed = Error::environment(findings::query_failed("the database refuses it"));
    let (outcome, _) = ask(&plan, vec![Err(failed)], false, |remote| remote.is_there(&plan));
    let error = outcome.expect_err("it fails");
    assert_eq!(error.class(), ErrorClass::Invalid);
    assert_eq!(
        error.findings()[0].message(),
        "the table `lake.payments` cannot be read: the database refuses it"
    );
    let span = plan.job.payments.table.as_ref().map(|table| table.span.clone());
    assert_eq!(error.findings()[0].span(), span);
    let down = Error::environment(findings::server_unreachable("Spark"));
    let (outcome, _) = ask(&plan, vec![Err(down)], false, |remote| remote.is_there(&plan));
    let error = outcome.expect_err("it fails");
    assert_eq!((error.class(), error.findings()[0].span()), (ErrorClass::Environment, Some(3..5)));
}

#[test]
fn ctrl_c_is_no_fault_of_the_server() {
    let plan = plan();
    let failed = || Err(Error::environment(findings::query_failed("somebody stopped it")));
    for answer in [failed(), Ok(vec![])] {
        let (outcome, _) =
            ask(&plan, vec![answer], true, |remote| remote.totals(&plan, &mut no_surveys));
        assert_eq!(code(&outcome), Some((ErrorClass::Cancelled, "cancelled")));
    }
}

/// What surveys of [`GOOD`] say.
fn surveyed(plan: &Plan, query: &Query) -> RecordBatch {
    let kind = |survey: &crate::plan::SurveyPlan| {
        plan.levels[survey.level].statistics[survey.statistic].kind.name().to_owned()
    };
    let kinds: Vec<Option<String>> =
        std::iter::once(None).chain(plan.surveys.iter().map(|survey| Some(kind(survey)))).collect();
    let least = |survey: &crate::plan::SurveyPlan| survey.spread.map_or(0, |g| 2i64 << g.grid_bits);
    let spreads = std::iter::once(0).chain(plan.surveys.iter().map(least));
    let texts = |first: Option<&str>, other: &str| -> ArrayRef {
        let text = |kind: &Option<String>| if kind.is_none() { first } else { Some(other) };
        Arc::new(kinds.iter().map(text).collect::<StringArray>())
    };
    let numbers = |first: Option<i64>, other: Option<i64>| -> ArrayRef {
        let number = |kind: &Option<String>| if kind.is_none() { first } else { other };
        Arc::new(kinds.iter().map(number).collect::<Int64Array>())
    };
    let columns: [(&str, ArrayRef); 10] = [
        ("plan", texts(Some(&query.plan), &query.plan)),
        ("level", texts(Some("rows"), "r0.wallet")),
        ("key_1", Arc::new(kinds.iter().cloned().collect::<StringArray>())),
        ("key_2", texts(None, "1")),
        ("n_rows", numbers(Some(5), Some(4))),
        ("n_users", numbers(Some(2), Some(2))),
        ("n_first", numbers(Some(4), Some(2))),
        ("total_1", Arc::new(spreads.map(Some).collect::<Int64Array>())),
        ("total_2", numbers(Some(1), None)),
        ("total_3", numbers(Some(0), None)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
        .expect("a batch")
}

/// A job that asks several times: what, one after the other, what that says, and the plans by which
/// it is asked, each of which follows from the one before without noise.
struct Looks {
    plans: Vec<Plan>,
    queries: Vec<Query>,
    answers: Vec<RecordBatch>,
    /// Of all answers but the last one.
    known: Vec<ExactSurveys>,
}

impl Looks {
    /// By what a plan asks, and an answer, the next plan.
    fn new(
        plan: Plan,
        answer: impl Fn(&Plan, &Query) -> RecordBatch,
        next: impl Fn(&Plan, &ExactSurveys) -> Plan,
    ) -> Looks {
        let query = |plan: &Plan| Query::next(plan, Dialect::Spark).expect("it has SQL");
        let queries = vec![query(&plan)];
        let mut looks =
            Looks { plans: vec![plan], queries, answers: Vec::new(), known: Vec::new() };
        while let (Some(plan), Some(asked)) = (looks.plans.last(), looks.queries.last()) {
            looks.answers.push(answer(plan, asked));
            if plan.is_settled() {
                break;
            }
            let known = Answer { query: asked, of: TotalsOf::Table("t") };
            let known = known.asked_of(plan, &looks.answers[looks.known.len()..]);
            let known = known.expect("good rows");
            let plan = next(plan, &known);
            looks.queries.push(query(&plan));
            looks.plans.push(plan);
            looks.known.push(known);
        }
        looks
    }

    /// Of a job whose bounds are open: surveys, then totals.
    fn open() -> Looks {
        let answer = |plan: &Plan, query: &Query| match plan.is_settled() {
            true => batch(query, &GOOD),
            false => surveyed(plan, query),
        };
        Looks::new(plan_with("private", ""), answer, noiseless)
    }

    /// Of a job whose keys are discovered and whose bounds are open: three rounds, of which the
    /// first one finds the only cell, then the same.
    fn sought() -> Looks {
        let answer = |plan: &Plan, query: &Query| {
            let Some(round) = plan.levels[0].round() else {
                return match plan.is_settled() {
                    true => batch(query, &GOOD),
                    false => surveyed(plan, query),
                };
            };
            let (users, total) = match plan.levels[0].always.is_empty() {
                true => (2, 2 * round.each(1)),
                false => (0, 0),
            };
            let cell = ("r0.wallet", Some("w0"), [4, users, 2], [Some(total), None, None]);
            batch(query, &[GOOD[0], cell])
        };
        Looks::new(plan_with("discovered", ""), answer, |plan, known| match plan.is_seeking() {
            true => plan.clone().discover(vec![known.round[0].keys.clone()]),
            false => noiseless(plan, known),
        })
    }

    fn answer(&self, at: usize) -> Result<Vec<RecordBatch>> {
        Ok(vec![self.answers[at].clone()])
    }

    /// The plan after what was asked first at a place.
    fn settle(&self, at: usize, exact: &ExactSurveys) -> Plan {
        assert!(*exact == self.known[at]);
        self.plans[at + 1].clone()
    }

    /// What becomes of a run in which all queries before one place are answered, and that one in
    /// these ways, as long as one is not good; then the rest.
    fn check(
        &self,
        at: usize,
        ways: Vec<Result<Vec<RecordBatch>>>,
        wanted: Option<(ErrorClass, &'static str)>,
    ) {
        let (tries, last) = (ways.len(), self.queries.len() - 1);
        let mut answers: Vec<_> = (0..at).map(|at| self.answer(at)).chain(ways).collect();
        if wanted.is_none() {
            answers.extend((at + 1..=last).map(|at| self.answer(at)));
        }
        let mut settled = 0;
        let (outcome, client, notes) = ask_in_full(&self.plans[0], answers, false, |remote| {
            remote.totals(&self.plans[0], &mut |exact| {
                settled += 1;
                Ok(self.settle(settled - 1, &exact))
            })
        });
        assert_eq!(code(&outcome), wanted);
        assert!(client.answers.take().is_empty(), "all of them are taken");
        let again = std::iter::repeat_n(at, tries - 1);
        let end = if wanted.is_none() { last } else { at };
        let asked = (0..=at).chain(again).chain(at + 1..=end);
        let asked: Vec<&str> = asked.map(|at| self.queries[at].text()).collect();
        assert_eq!(client.asked.take(), asked);
        assert_eq!(notes.len(), tries - 1, "{notes:?}");
        let told = |note: &String| {
            note.contains("price is paid")
                && ["lost", "unreachable", "silent"]
                    .iter()
                    .any(|how| note.contains(&format!("(server-{how})")))
        };
        assert!(notes.iter().all(told), "{notes:?}");
        if let Ok((plan, found)) = outcome {
            assert!(plan.is_settled());
            assert_eq!(found.levels[0].sums, [[2], [4]]);
        }
    }
}

/// From the first noise on, a query whose connection is lost is sent again, and the user knows;
/// before it is not, and one whose rows are not whole never is.
#[test]
fn what_is_open_is_asked_for_first() {
    let lost = || Err(Error::environment(findings::server_lost("Spark", "it is gone")));
    let down = || Err(Error::environment(findings::server_unreachable("Spark")));
    let silent = || Err(Error::environment(findings::server_silent("Spark", 30)));
    let torn = || Err(Error::environment(findings::result_unfit("a row is missing")));
    let refused = || Err(Error::environment(findings::query_failed("it is refused")));
    let server_lost = Some((ErrorClass::Environment, "server-lost"));
    let query_failed = Some((ErrorClass::Environment, "query-failed"));
    let result_unfit = Some((ErrorClass::Environment, "result-unfit"));
    let unfit = Some((ErrorClass::Invalid, "totals-unfit"));
    for (looks, count) in [(Looks::open(), 2), (Looks::sought(), 5)] {
        assert_eq!(looks.queries.len(), count);
        for at in 1..count {
            let good = || looks.answer(at);
            let cut = || Ok(vec![looks.answers[at].slice(0, 1)]);
            let other = || Ok(vec![looks.answers[at - 1].clone()]);
            looks.check(at, vec![good()], None);
            looks.check(at, vec![lost(), good()], None);
            looks.check(at, vec![lost(), down(), silent(), good()], None);
            looks.check(at, vec![down(), silent(), lost(), lost()], server_lost);
            // What another try would not change, or single payments could have brought about.
            looks.check(at, vec![cut()], unfit);
            looks.check(at, vec![other()], unfit);
            looks.check(at, vec![Ok(vec![])], unfit);
            looks.check(at, vec![lost(), cut()], unfit);
            looks.check(at, vec![torn()], result_unfit);
            looks.check(at, vec![refused()], query_failed);
            looks.check(at, vec![lost(), refused()], query_failed);
        }
        // Nothing is paid.
        looks.check(0, vec![lost()], server_lost);
        looks.check(0, vec![refused()], query_failed);
        looks.check(0, vec![Ok(vec![])], unfit);
        looks.check(0, vec![Ok(vec![looks.answers[0].slice(0, 1)])], unfit);
    }
}

#[test]
fn ctrl_c_is_not_heard_after_the_price() {
    for looks in [Looks::open(), Looks::sought()] {
        let last = looks.queries.len() - 1;
        let lost = || Err(Error::environment(findings::server_lost("Spark", "it is gone")));
        let answers = (0..last).map(|at| looks.answer(at)).chain([lost(), looks.answer(last)]);
        let mut settled = 0;
        let (outcome, client, _) =
            ask_in_full(&looks.plans[0], answers.collect(), false, |remote| {
                remote.totals(&looks.plans[0], &mut |exact| {
                    remote.asker.cancelled.store(true, Ordering::Relaxed);
                    settled += 1;
                    Ok(looks.settle(settled - 1, &exact))
                })
            });
        assert_eq!(outcome.expect("totals").1.levels[0].sums, [[2], [4]]);
        assert_eq!(client.heard.take(), vec![false; last + 2]);
        // Before the first noise it is.
        let (outcome, asked) = ask(&looks.plans[0], vec![looks.answer(0)], true, |remote| {
            remote.totals(&looks.plans[0], &mut |_| panic!("nothing is paid"))
        });
        assert_eq!(code(&outcome), Some((ErrorClass::Cancelled, "cancelled")));
        assert_eq!(asked.len(), 1);
    }
}
