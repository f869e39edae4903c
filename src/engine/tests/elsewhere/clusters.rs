//! The same integers from a cluster that the engine `spark` asks, as from the definition.

use super::*;
use crate::engine::given::Answer;
use crate::engine::remote::spark::tests::rows_in_spite_of_settings;
use crate::engine::remote::spark::tests::servers::Server as Started;
use crate::engine::remote::{Asker, Remote};
use crate::findings::TotalsOf;
use crate::job::{Server, SparkServer};

/// Looks at the table, then adds it up.
fn ask(plan: &Plan, settle: Settle) -> Result<ExactTotals> {
    let table = plan.job.payments.table.as_ref().expect("it has a table");
    let server = table.server.as_ref().expect("it has a server");
    let spill_folder = &std::env::temp_dir();
    let remote =
        Remote::new(table, server, Asker { cancelled: &NEVER, spill_folder, note: &|_| {} })?;
    remote.is_there(plan)?;
    remote.totals(plan, settle).map(|(_, totals)| totals)
}

#[test]
#[ignore = "needs Spark in SQL_PYTHON and Java; .ci/run has both"]
fn a_spark_that_is_asked_and_reference_agree_to_the_last_unit() {
    let cluster = Started::cluster();
    let url = format!("sc://localhost:{}", cluster.port);
    // A case takes ten seconds, as Spark compiles each query anew.
    agree(1, &|folder, plan, settle| {
        let path = folder.join("payments.parquet").display().to_string();
        let there = |mut plan: Plan| {
            let table = plan.job.payments.table.as_mut().expect("it has a table");
            table.name = vec!["parquet".to_owned(), path.clone()];
            table.server = Some(Server::Spark(SparkServer { url: url.clone(), span: 0..1 }));
            plan
        };
        Ok(ask(&there(plan.clone()), &mut |exact| settle(exact).map(there)))
    });
}

/// Sail has neither collations nor the rules by which sums that overflow are errors, so it is
/// refused; with what asks for them taken out of the queries, it adds up the same.
#[test]
#[ignore = "needs Sail in SQL_PYTHON; .ci/run has it"]
fn sail_and_reference_agree_but_for_collations_and_ansi_rules() {
    const COLLATION: (&str, &str) = (" COLLATE UTF8_BINARY", "");
    const RULES: (&str, &str) = ("typeof(1 + '1') = 'bigint'", "TRUE");
    let sail = Started::start(&["sail"]);
    let url = format!("sc://localhost:{}", sail.port);
    let rows = |query: &Query, without: &[(&str, &str)]| {
        let sql = without.iter().fold(query.text().to_owned(), |sql, (part, other)| {
            assert!(sql.contains(part), "{part}");
            sql.replace(part, other)
        });
        rows_in_spite_of_settings(&url, &sql)
    };
    let of = TotalsOf::Table("payments");
    agree(3, &|folder, plan, settle| {
        let path = folder.join("payments.parquet").display().to_string();
        let there = |mut plan: Plan| {
            let table = plan.job.payments.table.as_mut().expect("it has a table");
            table.name = vec!["parquet".to_owned(), path.clone()];
            plan
        };
        let mut plan = there(plan.clone());
        while !plan.is_settled() {
            let query = Query::next(&plan, Dialect::Spark).expect("all of it has SQL");
            let rows = rows(&query, &[COLLATION, RULES]).expect("rows");
            let asked = Answer { query: &query, of }.asked_of(&plan, &rows);
            match asked.and_then(&mut *settle) {
                Ok(next) => plan = there(next),
                Err(error) => return Ok(Err(error)),
            }
        }
        let query = Query::new(&plan, Dialect::Spark).expect("all of it has SQL");
        for without in [&[][..], &[COLLATION], &[RULES]] {
            assert!(rows(&query, without).is_err(), "{without:?}");
        }
        let rows = rows(&query, &[COLLATION, RULES]).expect("rows");
        Ok(Answer { query: &query, of }.totals_of(&plan, &rows).map(|(_, totals)| totals))
    });
}

/// Two jobs on the same payments, in files and in a table, that `benches/spark.py --serve` makes.
#[test]
#[ignore = "needs a cluster, and two jobs in SPARK_JOBS; benches/spark.py tells how"]
fn large_jobs_agree() {
    let jobs = std::env::var("SPARK_JOBS").expect("SPARK_JOBS names two jobs");
    let (local, spark) = jobs.split_once(',').expect("two jobs");
    let plan = |path: &str| {
        let text = std::fs::read_to_string(path).expect("a job");
        let folder = Path::new(path).parent().expect("a folder");
        crate::job::Job::parse(&text, folder).and_then(Plan::new).expect("a plan")
    };
    let control = ScanControl { cancelled: &NEVER, progress: &|_| {} };
    let engine = crate::engine::local::Local {
        control,
        threads: 2,
        memory: 1 << 30,
        spill_folder: std::env::temp_dir(),
        partition_bits: crate::engine::local::Local::PARTITION_BITS,
    };
    let (_, wanted) = engine.totals(&plan(local), &mut no_surveys).expect("totals");
    let given = ask(&plan(spark), &mut no_surveys).expect("totals");
    assert!(wanted.levels.iter().all(|level| level.sums.iter().flatten().any(|&sum| sum > 0)));
    assert!(given == wanted, "{}", differing_totals(Some(&given), Some(&wanted)));
}
