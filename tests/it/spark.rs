//! Runs whose payments are in a cluster: what is released and charged, and what is not, whatever
//! happens to the cluster. They need Java and Python with Spark: `.ci/run` installs both.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::{JOB, Workshop, command, shown};
use crate::crash::{events, workshop};

/// A server of `tests/sql/connect.py`, or a TLS proxy before one.
struct Server {
    child: Child,
    port: String,
    /// Its process, or the folder of its certificates.
    more: String,
}

impl Server {
    fn start(args: &[&str]) -> Server {
        let python =
            std::env::var("SQL_PYTHON").expect("SQL_PYTHON names a Python with the engines");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sql/connect.py");
        let mut started = Command::new(python);
        started.arg(script).args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = started.spawn().expect("starts");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        output.read_line(&mut line).expect("answers");
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words.first(), Some(&"ready"), "{line}");
        Server { child, port: words[1].to_owned(), more: words[2].to_owned() }
    }

    fn spark() -> Server {
        Server::start(&["spark", "local[2]", "spark.connect.authenticate.token=open sesame"])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A job on the folder's payments as Spark reads them.
fn on_spark(job: &str, files: &str, table: &str, url: &str) -> String {
    let types = "types = { user = \"text\", merchant = \"text\", time = \"integer\", amount = \"integer\", \
                 wallet = \"text\", user_token = \"text\", merchant_id = \"text\", paid_at = \"timestamp_tz\", \
                 currency = \"text\" }";
    let source = format!("engine = \"spark\"\ntable = \"parquet.`{table}`\"\n{types}");
    assert!(job.contains(files), "{job}");
    format!("{}\n[spark]\nurl = \"{url}\"\n", job.replace(files, &source))
}

fn run(workshop: &Workshop, variables: &[(&str, &str)]) -> Output {
    let mut run = command(workshop.folder.path());
    // Only what a test states: the one who starts it may have a token.
    run.args(["run", "job.toml"]).env_remove(TOKEN.0);
    run.envs(variables.iter().copied()).output().expect("starts")
}

const TOKEN: (&str, &str) = ("DISCRETAIL_SPARK_TOKEN", "open sesame");

#[test]
#[ignore = "needs Spark in SQL_PYTHON, Java and openssl; .ci/run has them"]
fn a_job_on_spark_is_released_once_and_its_server_is_who_it_says() {
    let server = Server::spark();
    let tls = Server::start(&["tls", &server.port]);
    let workshop = Workshop::new();
    let table = workshop.path("payments.parquet").display().to_string();
    let url = format!("sc://localhost:{}/;use_ssl=true", tls.port);
    let files = "files     = [\"payments.parquet\"]";
    workshop.text("job.toml", &on_spark(JOB, files, &table, &url));
    let refused = |variables: &[(&str, &str)], code: &str| {
        let started = Instant::now();
        let output = run(&workshop, variables);
        let said = shown(&workshop, &output);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(&format!("error[{code}]")), "{said}");
        // Eight to connect and thirty for an answer, as docs/spark.md says, and what a busy machine
        // adds; retries would take as many minutes.
        assert!(started.elapsed() < Duration::from_secs(60), "{said}");
        assert!(!workshop.path("ledger.sqlite").exists(), "nothing is reserved");
    };
    refused(&[TOKEN], "certificate-untrusted");
    let issuer = format!("{}/ca.pem", tls.more);
    let trusted = ("SSL_CERT_FILE", issuer.as_str());
    refused(&[trusted], "login-refused");
    refused(&[trusted, ("DISCRETAIL_SPARK_TOKEN", "open barley")], "login-refused");
    let missing = on_spark(JOB, files, "/nowhere/lin", &url);
    workshop.text("job.toml", &missing);
    let output = run(&workshop, &[trusted, TOKEN]);
    let said = shown(&workshop, &output);
    assert!(said.contains("error[table-unreadable]") && said.contains("PATH_NOT_FOUND"), "{said}");
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(!workshop.path("ledger.sqlite").exists(), "nothing is reserved");

    workshop.text("job.toml", &on_spark(JOB, files, &table, &url));
    let output = run(&workshop, &[trusted, TOKEN]);
    assert!(output.status.success(), "{}", shown(&workshop, &output));
    let charged = ["reserved", "spent", "published"];
    assert_eq!(events(&workshop.path("ledger.sqlite"), "test"), charged);
    let manifest = std::fs::read_to_string(workshop.path("releases/test/manifest.json"));
    assert!(manifest.expect("reads").contains(&table));
    let verified = workshop.discretail(&["verify", "releases/test", "--ledger", "ledger.sqlite"]);
    assert!(verified.status.success(), "{}", shown(&workshop, &verified));
    // The server is not asked again.
    drop(server);
    let again = run(&workshop, &[]);
    assert!(again.status.success(), "{}", shown(&workshop, &again));
    assert_eq!(events(&workshop.path("ledger.sqlite"), "test"), charged);
}

/// Starts a long run, and waits until it has reserved its price and its query runs.
fn started(workshop: &Workshop) -> Child {
    let mut long = command(workshop.folder.path());
    long.args(["run", "job.toml"]).envs([TOKEN]).stdout(Stdio::null()).stderr(Stdio::piped());
    let run = long.spawn().expect("starts");
    let (ledger, begun) = (workshop.path("ledger.sqlite"), Instant::now());
    while events(&ledger, "long").is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "no reservation");
        std::thread::sleep(Duration::from_millis(100));
    }
    std::thread::sleep(Duration::from_secs(2));
    run
}

fn send(signal: &str, pid: &str) {
    assert!(Command::new("kill").args([signal, pid]).status().expect("runs").success());
}

#[test]
#[ignore = "needs Spark in SQL_PYTHON and Java; .ci/run has both"]
fn a_run_on_spark_that_is_stopped_costs_nothing() {
    let server = Server::spark();
    let workshop = workshop("2000000");
    crate::crash::job(&workshop, "long", "4");
    let job = std::fs::read_to_string(workshop.path("long.toml")).expect("reads");
    let table = workshop.path("demo/payments").display().to_string();
    let url = format!("sc://localhost:{}", server.port);
    let files = "files     = [\"demo/payments/*.parquet\"]";
    workshop.text("job.toml", &on_spark(&job, files, &table, &url));
    let ledger = workshop.path("ledger.sqlite");

    let run = started(&workshop);
    let stopped = Instant::now();
    send("-INT", &run.id().to_string());
    let output = run.wait_with_output().expect("ends");
    let said = shown(&workshop, &output);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(stopped.elapsed() < Duration::from_secs(60), "{:?}", stopped.elapsed());
    assert_eq!(events(&ledger, "long"), ["reserved", "voided"]);

    let run = started(&workshop);
    send("-9", &server.more);
    let output = run.wait_with_output().expect("ends");
    let said = shown(&workshop, &output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("error[server-lost]"), "{said}");
    assert_eq!(events(&ledger, "long"), ["reserved", "voided", "reserved", "voided"]);
    assert!(!workshop.path("releases/long").exists());
}
