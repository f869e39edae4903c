//! What can go wrong between here and a Spark cluster.
//!
//! Spark's own words may quote records, so that they are shown with `-v` only. Its classes of
//! errors and SQLSTATEs are names, and hold no values.

use super::Finding;

/// The hint of all that only Spark's own words explain.
const WORDS: &str = "-v shows what Spark says, which may quote records";

/// A token that everybody on the way could read.
pub fn token_in_the_open(server: &str) -> Finding {
    Finding::new("token-in-the-open", format!("the token would go to {server} unencrypted"))
        .hint("put `/;use_ssl=true` behind the address, or unset the variable")
}

/// A certificate from nobody that this machine trusts, or for another name.
pub fn certificate_untrusted(host: &str, why: &str) -> Finding {
    let text = format!("the certificate of {host} is not trusted: {why}");
    Finding::new("certificate-untrusted", text).hint(
        "if its issuer is your own, name the issuer's certificate in the environment variable \
         SSL_CERT_FILE; else ask who runs the server",
    )
}

/// Something else listens.
pub fn server_foreign(server: &str, ssl: bool) -> Finding {
    let how = if ssl { "with TLS" } else { "without TLS" };
    let text = format!("{server} does not answer as Spark Connect does {how}");
    let hint = if ssl {
        "see that the port is right; if the server has no TLS, leave `use_ssl=true` out"
    } else {
        "see that the port is right; if the server has TLS, put `/;use_ssl=true` behind the address"
    };
    Finding::new("server-foreign", text).hint(format!("{hint}; {WORDS}"))
}

/// A server that takes connections and says nothing.
pub fn server_silent(server: &str, seconds: u64) -> Finding {
    let text = format!("{server} has taken the call and not answered for {seconds} s");
    Finding::new("server-silent", text)
        .hint("it may be starting, or have too much to do: look at it, and try again")
}

/// A server that has not, or does not keep, what the query needs.
pub fn settings_missing(missing: &str) -> Finding {
    let text = format!("the server does not keep what the query needs: {missing}");
    Finding::new("settings-missing", text)
        .hint("use Apache Spark from 4.0 on, or a service that keeps its ANSI rules; Sail does not")
}

/// The connection is gone and does not come back, or the session is.
pub fn server_lost(server: &str, why: &str) -> Finding {
    Finding::new("server-lost", format!("{server} was lost in the middle: {why}"))
        .hint(format!("see that the server runs, and run the job again; {WORDS}"))
}

/// Somebody has stopped the query there.
pub fn query_stopped() -> Finding {
    Finding::new("query-stopped", "somebody has stopped the query on the server")
        .hint("ask who runs the server, and run the job again")
}

/// Rows are missing, or come twice, or cannot be read.
pub fn result_unfit(why: &str) -> Finding {
    Finding::new("result-unfit", format!("the result of the query cannot be used: {why}"))
        .hint(format!("run the job again; {WORDS}"))
}

/// A query without an end.
pub fn query_endless(seconds: u64) -> Finding {
    let text = format!("the query has run for {} hours, and is stopped", seconds / 3600);
    Finding::new("query-endless", text)
        .hint("give the cluster more machines, or the job fewer levels")
}
