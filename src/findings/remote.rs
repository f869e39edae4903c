//! Faults of clusters and databases that are asked for totals.
//!
//! What a server says may quote records, so no message here holds it: it is shown with `-v` alone.

use super::Finding;

/// What every hint ends with where the server has said more.
const MORE: &str = "-v shows what it says, which may quote records";

/// A secret in a job file, which many people may read.
pub fn secret_in_job(key: &str, hint: &str) -> Finding {
    Finding::new("secret-in-job", format!("the job file holds a secret in `{key}`")).hint(hint)
}

/// An engine whose section the job lacks.
pub fn engine_section_missing(engine: &str) -> Finding {
    let text = format!("`engine = \"{engine}\"` needs a section `[{engine}]`");
    Finding::new("key-missing", text).hint(match engine {
        "spark" => "add `[spark]` with the server's `url`",
        _ => "add `[adbc]` with its `driver`, and the `options` that it needs",
    })
}

/// An environment variable that the job names.
pub fn secret_missing(variable: &str, key: &str) -> Finding {
    Finding::new(
        "secret-missing",
        format!("the environment variable {variable} is not set, or is not UTF-8"),
    )
    .hint(format!("set it to what `{key}` is to be"))
}

/// A program without what the engine needs.
pub fn engine_not_built(engine: &str) -> Finding {
    Finding::new(
        "engine-not-built",
        format!("this program was built without the engine `{engine}`"),
    )
    .hint(format!(
        "build it with `cargo build --release --features {engine}`; or run what `plan --sql` prints yourself, \
         and give its result with --totals"
    ))
}

/// No library, or none that is a driver.
pub fn driver_unusable(driver: &str) -> Finding {
    Finding::new("driver-unusable", format!("the driver `{driver}` cannot be loaded")).hint(format!(
        "name the path of its library, or put its manifest or library into a folder of ADBC_DRIVER_PATH; \
         {MORE}"
    ))
}

/// No answer, or none that makes a connection.
pub fn server_unreachable(server: &str) -> Finding {
    Finding::new("server-unreachable", format!("there is no connection to {server}"))
        .hint(format!("see that it runs, and that the job has its address; {MORE}"))
}

/// A database in a file, with which no server can be down.
pub fn database_unopened(database: &str) -> Finding {
    Finding::new("server-unreachable", format!("{database} cannot be opened")).hint(format!(
        "see that the file of `options` is there, and that its options are the driver's; {MORE}"
    ))
}

/// A server that does not let this program in.
pub fn login_refused(server: &str) -> Finding {
    Finding::new("login-refused", format!("{server} refuses the user, password or token"))
        .hint(format!("correct them in the environment variables that the job names; {MORE}"))
}

/// The table, or a column of it.
pub fn table_unreadable(table: &str, why: &str) -> Finding {
    Finding::new("table-unreadable", format!("the table `{table}` cannot be read: {why}"))
        .hint(format!("see that it has all columns of the job, and that you may read it; {MORE}"))
}

/// The query of totals did not come to its end.
pub fn query_failed(why: &str) -> Finding {
    Finding::new("query-failed", format!("the query failed: {why}")).hint(MORE)
}
