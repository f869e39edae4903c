//! What an error of the server or of the connection means.

use spark_connect_core::SparkError;

use crate::error::Error;
use crate::findings;

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The connection broke, or another call took over the stream: ask for the rest.
    Passing,
    /// The server does not know the query, or has thrown away rows that were not taken yet: run it
    /// anew.
    Forgotten,
    /// The session is gone, and its settings with it.
    SessionLost,
    /// The token is wrong, or missing.
    Unauthenticated,
    /// Somebody has stopped the query on the server.
    Stopped,
    /// The query itself cannot be run.
    Query,
}

/// The codes of gRPC that say what they mean.
const CANCELLED: i32 = 1;
const UNKNOWN: i32 = 2;
const DEADLINE: i32 = 4;
const PERMISSION: i32 = 7;
const INTERNAL: i32 = 13;
const UNAVAILABLE: i32 = 14;
const DATA_LOSS: i32 = 15;
const UNAUTHENTICATED: i32 = 16;

impl Fault {
    pub(super) fn of(cause: &SparkError) -> Fault {
        // Not all servers send the class apart, but all begin the text with it.
        let says =
            |what: &str| cause.error_class == what || cause.message.contains(&format!("[{what}]"));
        let handle =
            |what: &[&str]| what.iter().any(|what| says(&format!("INVALID_HANDLE.{what}")));
        let cursor =
            |what: &[&str]| what.iter().any(|what| says(&format!("INVALID_CURSOR.{what}")));
        if handle(&["OPERATION_NOT_FOUND", "OPERATION_ABANDONED"])
            || cursor(&["POSITION_NOT_FOUND", "POSITION_NOT_AVAILABLE"])
        {
            return Fault::Forgotten;
        }
        if handle(&["SESSION_NOT_FOUND", "SESSION_CLOSED", "SESSION_CHANGED"]) {
            return Fault::SessionLost;
        }
        if cursor(&["DISCONNECTED"]) {
            return Fault::Passing;
        }
        if says("OPERATION_CANCELED") {
            return Fault::Stopped;
        }
        // What the server says of a query has a class; a broken connection has none.
        let plain = cause.error_class.is_empty();
        match cause.grpc_code {
            Some(UNAUTHENTICATED | PERMISSION) => Fault::Unauthenticated,
            Some(UNAVAILABLE) => Fault::Passing,
            Some(CANCELLED | UNKNOWN | DEADLINE | INTERNAL | DATA_LOSS) if plain => Fault::Passing,
            _ => Fault::Query,
        }
    }
}

/// The server's own words: with `-v` only, as they may quote records.
pub(super) fn log(cause: &SparkError) {
    tracing::debug!("Spark says: {}", cause.message);
}

/// What to tell of an error that ends the query.
pub(super) fn error(cause: &SparkError, server: &str) -> Error {
    log(cause);
    Error::environment(match Fault::of(cause) {
        Fault::SessionLost => {
            findings::server_lost(server, "its session is gone, and the settings with it")
        }
        Fault::Stopped => findings::query_stopped(),
        Fault::Unauthenticated => findings::login_refused(server),
        _ => {
            let class = class(cause).unwrap_or("Spark cannot run it");
            let state = state(cause).map(|state| format!(" (SQLSTATE {state})"));
            findings::query_failed(&format!("{class}{}", state.unwrap_or_default()))
        }
    })
}

/// The class of an error: a name from Spark's list, or a class of Java. Nothing else is shown.
fn class(cause: &SparkError) -> Option<&str> {
    let class = cause.error_class.as_str();
    let named = class.starts_with(|c: char| c.is_ascii_alphabetic());
    let word = |c: char| c.is_ascii_alphanumeric() || "._$".contains(c);
    (named && class.len() <= 100 && class.chars().all(word)).then_some(class)
}

fn state(cause: &SparkError) -> Option<String> {
    let state = cause.sql_state.clone()?;
    let fits = state.len() == 5 && state.chars().all(|c| c.is_ascii_alphanumeric());
    fits.then_some(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(code: i32, class: &str, message: &str) -> SparkError {
        let mut cause = SparkError::connect_msg(message);
        cause.grpc_code = Some(code);
        cause.error_class = class.to_owned();
        cause
    }

    #[test]
    fn errors_are_told_apart() {
        let said = |code, class: &str, message: &str| Fault::of(&cause(code, class, message));
        assert_eq!(said(UNAVAILABLE, "", "tcp connect error"), Fault::Passing);
        assert_eq!(said(UNKNOWN, "", "error reading a body from connection"), Fault::Passing);
        assert_eq!(
            said(INTERNAL, "", "[INVALID_CURSOR.DISCONNECTED] The cursor ..."),
            Fault::Passing
        );
        assert_eq!(said(INTERNAL, "INVALID_HANDLE.OPERATION_NOT_FOUND", ""), Fault::Forgotten);
        assert_eq!(
            said(INTERNAL, "java.lang.Exception", "[INVALID_HANDLE.OPERATION_ABANDONED] ..."),
            Fault::Forgotten
        );
        assert_eq!(said(INTERNAL, "INVALID_HANDLE.SESSION_CHANGED", ""), Fault::SessionLost);
        assert_eq!(
            said(UNAUTHENTICATED, "", "Invalid authentication token"),
            Fault::Unauthenticated
        );
        assert_eq!(said(INTERNAL, "OPERATION_CANCELED", ""), Fault::Stopped);
        assert_eq!(said(INTERNAL, "ARITHMETIC_OVERFLOW", "bigint overflow"), Fault::Query);
        assert_eq!(said(3, "", "grpc: received message larger than max"), Fault::Query);
    }

    #[test]
    fn what_ends_a_query_is_told() {
        let said = |code, class: &str| error(&cause(code, class, ""), "Spark").findings()[0].code();
        assert_eq!(said(INTERNAL, "OPERATION_CANCELED"), "query-stopped");
        assert_eq!(said(INTERNAL, "INVALID_HANDLE.SESSION_CLOSED"), "server-lost");
        assert_eq!(said(UNAUTHENTICATED, ""), "login-refused");
        assert_eq!(said(INTERNAL, "ARITHMETIC_OVERFLOW"), "query-failed");
    }

    /// A text that a table's owner can choose must not come out as a class.
    #[test]
    fn only_names_are_shown() {
        for text in ["", "13800138000", "a b", "Lin: 3 payments", &"A".repeat(101)] {
            assert_eq!(class(&cause(INTERNAL, text, "")), None, "{text}");
        }
        assert_eq!(class(&cause(INTERNAL, "DIVIDE_BY_ZERO", "")), Some("DIVIDE_BY_ZERO"));
        let mut with_state = cause(INTERNAL, "PATH_NOT_FOUND", "no file at /lake/lin");
        with_state.sql_state = Some("42K03".to_owned());
        let text = error(&with_state, "Spark").to_string();
        assert!(text.contains("PATH_NOT_FOUND") && text.contains("42K03"), "{text}");
        assert!(!text.contains("/lake/lin"), "{text}");
        with_state.sql_state = Some("lin@x".to_owned());
        assert_eq!(state(&with_state), None);
    }
}
