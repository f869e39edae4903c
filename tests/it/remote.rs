//! Jobs that name who adds up their payments: what is refused before anything is asked. Real
//! databases and clusters are asked by `engine::tests::elsewhere` and `tests/released`.

use std::path::Path;

use insta::assert_snapshot;

use crate::common::{JOB, Workshop, refused, shown};

/// [`JOB`] on a table, with more of `[payments]` and sections of its own.
fn job(engine: &str, sections: &str) -> String {
    let (head, _) = JOB.split_once("[[report]]").unwrap();
    let head = head.replace(
        "files     = [\"payments.parquet\"]",
        &format!(
            "{engine}\ntable     = \"lake.payments\"\ntypes     = {{ user = \"text\", merchant = \"text\", \
             time = \"integer\", amount = \"integer\", wallet = \"text\" }}"
        ),
    );
    head + sections
        + "\n[[report]]\nname = \"market\"\nlevels = [[\"wallet\"]]\nkeys = \"public\"\n\
           insights = [\"customers\"]\nbounds = { customers = 1 }\n"
}

/// The blocks of TOML in a text.
fn blocks(text: &str) -> Vec<&str> {
    let blocks = text.split("```toml\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap_or_default()).collect()
}

#[test]
fn the_jobs_of_the_sources_and_of_the_readme_are_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workshop = Workshop::empty();
    let check = |job: &Path| {
        let output = workshop.discretail(&["check", &job.display().to_string()]);
        assert!(output.status.success(), "{}", shown(&workshop, &output));
    };
    for name in ["market.toml", "duckdb.toml", "spark.toml"] {
        check(&root.join("data/jobs").join(name));
    }
    // The README's job, on files and as it says that one on a table is.
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let [files, table] = blocks(&readme)[..] else { panic!("the README has two jobs") };
    std::fs::copy(root.join("data/merchants.parquet"), workshop.path("merchants.parquet")).unwrap();
    workshop.text("job.toml", files);
    check(&workshop.path("job.toml"));
    let (table, spark) = table.split_once("[spark]").unwrap();
    let from = files.lines().find(|line| line.starts_with("files     = [\"payments/")).unwrap();
    let table = table.trim_start_matches("[payments]\n");
    workshop.text("job.toml", &(files.replace(from, table) + "\n[spark]" + spark));
    check(&workshop.path("job.toml"));
}

const DUCKDB: &str = "[adbc]\ndriver = \"duckdb\"\noptions = { path = \"payments.duckdb\" }";
const SPARK: &str = "[spark]\nurl = \"sc://localhost:15002/;use_ssl=true\"";

#[test]
fn servers_are_named_in_whole_and_hold_no_secret() {
    let workshop = Workshop::new();
    let good = [
        job("engine = \"spark\"", SPARK),
        job("engine = \"spark\"", "[spark]\nurl = \"sc://localhost\""),
        job("engine = \"adbc\"", DUCKDB),
        job(
            "engine = \"adbc\"",
            "[adbc]\ndriver = \"lib/libmine.so\"\ndialect = \"postgresql\"\noptions = { uri = \"env:DATABASE\" }",
        ),
        job(
            "engine = \"adbc\"",
            "[adbc]\ndriver = \"adbc_driver_snowflake\"\nentrypoint = \"Init\"",
        ),
    ];
    for text in good {
        workshop.text("job.toml", &text);
        for verb in ["check", "plan"] {
            let output = workshop.discretail(&[verb, "job.toml"]);
            assert!(output.status.success(), "{}", shown(&workshop, &output));
            // What no test has run is noted.
            let note = shown(&workshop, &output).contains("was never run against the service");
            assert_eq!(note, text.contains("snowflake"), "{text}");
        }
    }
    let wrong = [
        job("engine = \"flink\"", ""),
        job("engine = 1", ""),
        job("engine = \"spark\"", DUCKDB),
        job("engine = \"adbc\"", SPARK),
        job("", &format!("{SPARK}\n{DUCKDB}")),
        job("engine = \"adbc\"", ""),
        job("engine = \"spark\"", "[spark]\n"),
        job("engine = \"spark\"", "[spark]\nurl = \"https://host\"\ntoken = \"abc\""),
        job("engine = \"spark\"", "[spark]\nurl = \"sc://host:15002/;use_ssl=true;token=abc\""),
        job("engine = \"spark\"", "[spark]\nurl = \"sc://host:15002/;x-api-key=abc\""),
        job("engine = \"spark\"", "[spark]\nurl = \"sc://host:15002/;authorization=Bearer abc\""),
        job("engine = \"spark\"", "[spark]\nurl = \"sc://me:abc@host:15002\""),
        job("engine = \"adbc\"", "[adbc]\ndriver = \"mine\""),
        job("engine = \"adbc\"", "[adbc]\ndriver = \"mine\"\ndialect = \"spark\""),
        job(
            "engine = \"adbc\"",
            "[adbc]\ndriver = \"adbc_driver_postgresql\"\n[adbc.options]\nuri = \"postgresql://me:abc@host/db\"\n\
             password = \"abc\"\npwd = \"abc\"\ndsn = \"me:abc@acct/db\"\nmore_of_it = \"password = abc\"\nthreads = [\"1\", \"2\"]\nmore = 1",
        ),
        // On the line of a secret nothing is shown of other mistakes either.
        job(
            "engine = \"adbc\"",
            "[adbc]\ndriver = \"duckdb\"\noptions = { password = \"abc\", threads = [\"1\", \"2\"] }",
        ),
        JOB.replace("timezone", "engine = \"adbc\"\ntimezone"),
        // At once with what else the job says in vain.
        job("engine = \"adbc\"\nquarantine = \"bad\"\nwhere = \"channel = 'shop' AND \\\"a b\\\" = 'x'\"", DUCKDB)
            .replace(", time = \"integer\", amount = \"integer\"", ""),
    ];
    let texts: Vec<String> = wrong.iter().map(|text| refused(&workshop, text)).collect();
    assert!(!texts.join("").contains("abc"), "{texts:?}");
    assert_snapshot!(texts.join("\n"));
}

/// A job at a database, with one line more of its section.
fn wrong_adbc(line: &str) -> String {
    job("engine = \"adbc\"", &format!("[adbc]\ndriver = \"duckdb\"\n{line}"))
}

/// The same at a cluster.
fn wrong_spark(line: &str) -> String {
    job("engine = \"spark\"", &format!("[spark]\n{line}"))
}

/// Wherever in its section a secret stands, and whatever is wrong with the line.
#[test]
fn lines_that_may_hold_a_secret_are_shown_by_no_message() {
    let workshop = Workshop::new();
    let wrong = [
        wrong_adbc("uri = \"postgresql://me:abc@h/db\""),
        wrong_adbc("password = \"abc\""),
        wrong_adbc("options = \"password=abc\""),
        wrong_adbc("options = [\"me:abc@acct/db\"]"),
        wrong_adbc("options.adbc.snowflake.password = \"abc\""),
        wrong_adbc("options = { password = [\"abc\", \"b\"] }"),
        wrong_adbc("options = { password = { value = \"abc\" } }"),
        wrong_adbc("options = { password = 1, passcode = [\n\"abc\", \"b\"] }"),
        wrong_adbc("options = { password = \"\"\"\nabc\"\"\", threads = [\"1\", \"2\"] }"),
        wrong_adbc("options = { uri = \"env:postgresql://me:abc@h/db\", password = \"env:abc!\" }"),
        wrong_adbc(
            "options = { dsn = \"env:abc\", uri = \"env:Abc2abc\", threads = [\"1\", \"2\"] }",
        ),
        wrong_adbc("[adbc.options]\ndsn = \"env:abc\" abc"),
        wrong_adbc("[adbc.options]\npassword = \"abc"),
        wrong_adbc("[adbc.options]\npassword = abc"),
        wrong_adbc("[adbc.options]\npassword = \"abc\" abc"),
        wrong_adbc("[adbc.options]\npassword = \"abc\"\npassword = \"abc\""),
        wrong_adbc("[adbc.options]\npassword = [\n\"abc\"\n\"abc\"]"),
        wrong_adbc("dialect = \"postgresql://me:abc@h/db\""),
        job("engine = \"adbc\"", "[adbc]\ndriver = \"postgresql://me:abc@h/db\""),
        wrong_spark("password = \"abc\""),
        wrong_spark("token = [\"abc\", \"b\"]"),
        wrong_spark("url = [\"sc://me:abc@host\"]"),
        job("engine = \"spark\"", "[spark] token = \"abc\""),
        job("engine = \"adbc\"", "").replace("version ", "adbc = { password = \"abc\" }\nversion "),
        // Elsewhere names are of columns.
        job("engine = \"spark\"", SPARK).replace("types     = {", "types     = { user_token = 1,"),
    ];
    let texts: Vec<String> = wrong.iter().map(|text| refused(&workshop, text)).collect();
    for (job, text) in wrong.iter().zip(&texts) {
        assert!(!text.contains("abc"), "{job}\n{text}");
    }
    assert_snapshot!(texts.join("\n"));
}

/// As builds without the features do; the query itself can be had of them.
#[test]
#[cfg(not(any(feature = "adbc", feature = "spark")))]
fn engines_that_are_not_built_are_refused_with_what_builds_them() {
    let workshop = Workshop::new();
    for (engine, section) in [("adbc", DUCKDB), ("spark", SPARK)] {
        workshop.text("job.toml", &job(&format!("engine = \"{engine}\""), section));
        let output = workshop.discretail(&["run", "job.toml"]);
        assert_eq!(output.status.code(), Some(2));
        let text = shown(&workshop, &output);
        let what = format!(
            "error[engine-not-built]: this program was built without the engine `{engine}`\n"
        );
        assert!(text.contains(&what), "{text}");
        let build = format!("hint: build it with `cargo build --release --features {engine}`; or");
        assert!(text.contains(&build), "{text}");
    }
    assert!(!workshop.path("ledger.sqlite").exists());
    let printed = workshop.discretail(&["plan", "--sql", "duckdb", "job.toml"]);
    assert!(printed.status.success());
}
