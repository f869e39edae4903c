//! Databases, by their drivers of ADBC (Arrow Database Connectivity), which are libraries that are
//! loaded while the program runs.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use adbc_core::error::{Error as DriverError, Status};
use adbc_core::options::{AdbcVersion, OptionDatabase, OptionValue};
use adbc_core::{
    CancelHandle, Connection, Database, Driver, LOAD_FLAG_SEARCH_ENV, LOAD_FLAG_SEARCH_SYSTEM,
    LOAD_FLAG_SEARCH_USER, Statement,
};
use adbc_driver_manager::ManagedDriver;
use arrow::array::RecordBatch;
use arrow::error::ArrowError;

use super::Client;
use super::spill::SpillFolder;
use crate::error::{Error, Result};
use crate::findings;
use crate::job::{AdbcServer, Dialect, Setting};

/// How often Ctrl-C is looked for.
const TICK: Duration = Duration::from_millis(50);

/// How long a driver may take to stop a query; then it is left behind, and ends with the process.
const PATIENCE: Duration = Duration::from_secs(5);

/// For a whole query, as that of Spark has; where the price is paid, nothing else ends one.
const DEADLINE: Duration = Duration::from_secs(24 * 3600);

/// A driver, with what it is told.
pub(super) struct Adbc {
    driver: ManagedDriver,
    options: Vec<(OptionDatabase, OptionValue)>,
    /// What the SQL needs of its session.
    settings: &'static [&'static str],
    /// Said besides; a database that does not know it goes on without.
    wish: Option<&'static str>,
    /// As messages name the database.
    shown: String,
    /// Is it a part of this process, without a connection that could break?
    is_inside: bool,
    deadline: Duration,
    /// Where such a database writes what does not fit in memory; gone with the run.
    _spill: Option<SpillFolder>,
    options_span: Range<usize>,
}

impl Adbc {
    /// Loads the driver; connects to nothing.
    pub(super) fn new(server: &AdbcServer, spill_folder: &Path) -> Result<Adbc> {
        let mut options = Vec::new();
        for (name, setting) in &server.options {
            let value = match setting {
                Setting::Stated(value) => value.clone(),
                Setting::Environment(variable) => std::env::var(variable).map_err(|_| {
                    let finding = findings::secret_missing(variable, name);
                    Error::invalid(finding.at(server.options_span.clone()))
                })?,
            };
            options.push((OptionDatabase::from(name.as_str()), value.into()));
        }
        // A file that is not there would be made, and others may have it open.
        if server.dialect == Dialect::DuckDb && !server.options.contains_key(ACCESS) {
            options.insert(0, (OptionDatabase::from(ACCESS), "READ_ONLY".into()));
        }
        let is_inside = server.dialect == Dialect::DuckDb;
        let mut spill = None;
        // By itself it would write payments beside its file, where others may read them.
        if is_inside && !server.options.contains_key(SPILL) {
            let made = SpillFolder::new(spill_folder).map_err(|cause| {
                Error::environment(findings::spill_failed(spill_folder, &cause))
            })?;
            let folder = spill.insert(made).path();
            let folder = folder.display().to_string();
            options.push((OptionDatabase::from(SPILL), folder.into()));
        }
        // It would compile the whole query first, for 10 s and more, and not hear of Ctrl-C
        // meanwhile.
        let wish = (server.dialect == Dialect::PostgreSql).then_some("SET jit = off");
        let shown = format!("the database ({})", server.dialect.name());
        let (driver, deadline) = (load(server)?, DEADLINE);
        let options_span = server.options_span.clone();
        Ok(Adbc {
            driver,
            options,
            settings: server.dialect.settings(),
            wish,
            shown,
            is_inside,
            deadline,
            _spill: spill,
            options_span,
        })
    }
}

/// Whether DuckDB may write.
const ACCESS: &str = "access_mode";

/// Where DuckDB writes what does not fit in memory.
const SPILL: &str = "temp_directory";

fn load(server: &AdbcServer) -> Result<ManagedDriver> {
    let entrypoint = server.entrypoint.as_deref();
    // That of its library is not called as its file.
    let duckdb = (server.dialect == Dialect::DuckDb).then_some("duckdb_adbc_init");
    let entrypoint = entrypoint.or(duckdb).map(str::as_bytes);
    let homes = LOAD_FLAG_SEARCH_ENV | LOAD_FLAG_SEARCH_USER | LOAD_FLAG_SEARCH_SYSTEM;
    let load =
        |version| ManagedDriver::load_from_name(&server.driver, entrypoint, version, homes, None);
    let old = |error: DriverError| {
        tracing::debug!("{error}");
        load(AdbcVersion::V100)
    };
    load(AdbcVersion::V110).or_else(old).map_err(|error| {
        tracing::debug!("{error} {:?}", error.details);
        Error::environment(findings::driver_unusable(&server.driver))
    })
}

/// What the thread of a query tells.
enum Step {
    /// The query is asked for, and can be stopped by this.
    Asked(Box<dyn CancelHandle>),
    Done(std::result::Result<Vec<RecordBatch>, Failed>),
}

/// What failed, and how.
enum Failed {
    Connecting(DriverError),
    Asking(DriverError),
    /// While rows were read; the server can be reached.
    Refused(ArrowError),
    /// While rows were read; the server cannot be reached any more.
    Lost(ArrowError),
}

impl Client for Adbc {
    fn rows(&self, sql: &str, cancelled: &AtomicBool) -> Result<Vec<RecordBatch>> {
        let (tell, heard) = mpsc::channel();
        let (driver, options) = (self.driver.clone(), self.options.clone());
        let (settings, wish, sql) = (self.settings, self.wish, sql.to_owned());
        // Not a thread that is waited for: a driver may wait for a server for ever.
        let work = move || {
            let done = ask((driver, options), (settings, wish), &sql, &tell);
            let _ = tell.send(Step::Done(done));
        };
        std::thread::Builder::new().name("adbc".to_owned()).spawn(work).map_err(|cause| {
            Error::environment(findings::query_failed(&format!("no thread: {cause}")))
        })?;
        let started = Instant::now();
        let (mut query, mut stopped) = (None, None);
        loop {
            match heard.recv_timeout(TICK) {
                Ok(Step::Asked(handle)) => query = Some(handle),
                Ok(Step::Done(done)) => {
                    return done.map_err(|failed| match stopped {
                        Some(_) if started.elapsed() > self.deadline => self.endless(),
                        _ => self.failed(failed),
                    });
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::environment(findings::query_failed("the driver has a bug")));
                }
            }
            let late = started.elapsed() > self.deadline;
            if late || cancelled.load(Ordering::Relaxed) {
                if let Some(query) = query.take() {
                    stop(query);
                }
                if stopped.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                    return Err(if late { self.endless() } else { Error::cancelled() });
                }
            }
        }
    }
}

/// Has a query stopped, from a thread of its own, as that may wait for the server too. Some drivers
/// forget what they are told before the query has begun, so they are told several times.
fn stop(query: Box<dyn CancelHandle>) {
    let work = move || {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Err(error) = query.try_cancel() {
                tracing::debug!("{error}");
            }
            std::thread::sleep(10 * TICK);
        }
    };
    if let Err(error) = std::thread::Builder::new().spawn(work) {
        tracing::debug!("{error}");
    }
}

fn ask(
    (mut driver, options): (ManagedDriver, Vec<(OptionDatabase, OptionValue)>),
    (settings, wish): (&[&str], Option<&str>),
    sql: &str,
    tell: &Sender<Step>,
) -> std::result::Result<Vec<RecordBatch>, Failed> {
    let database = driver.new_database_with_opts(options).map_err(Failed::Connecting)?;
    let mut connection = database.new_connection().map_err(Failed::Connecting)?;
    let mut statement = connection.new_statement().map_err(Failed::Asking)?;
    let mut say =
        |setting: &str| statement.set_sql_query(setting).and_then(|()| statement.execute_update());
    for setting in settings {
        say(setting).map_err(Failed::Asking)?;
    }
    let _ = wish.map(say).transpose().inspect_err(|error| tracing::debug!("{error}"));
    statement.set_sql_query(sql).map_err(Failed::Asking)?;
    // Nobody hears it once the run has ended.
    let _ = tell.send(Step::Asked(statement.get_cancel_handle()));
    let rows = statement.execute().map_err(Failed::Asking)?;
    let rows = rows.collect::<std::result::Result<_, _>>();
    // Drivers do not say why rows break off, and may leave the connection unusable.
    rows.map_err(|error| match database.new_connection() {
        Ok(_) => Failed::Refused(error),
        Err(_) => Failed::Lost(error),
    })
}

impl Adbc {
    fn endless(&self) -> Error {
        Error::environment(findings::query_endless(self.deadline.as_secs()))
    }

    fn failed(&self, failed: Failed) -> Error {
        Error::environment(match failed {
            Failed::Connecting(error) => {
                tracing::debug!("{error}");
                match is_login(&error) {
                    true => findings::login_refused(&self.shown),
                    false if self.is_inside => {
                        findings::database_unopened(&self.shown).at(self.options_span.clone())
                    }
                    false => findings::server_unreachable(&self.shown),
                }
            }
            Failed::Asking(error) => {
                tracing::debug!("{error}");
                match self.is_inside || !is_broken(&error) {
                    true => findings::query_failed(&in_words(&error)),
                    false => findings::server_lost(&self.shown, "the connection broke"),
                }
            }
            Failed::Refused(error) => {
                tracing::debug!("{error}");
                findings::query_failed("the rows broke off")
            }
            Failed::Lost(error) => {
                tracing::debug!("{error}");
                findings::server_lost(&self.shown, "the rows broke off")
            }
        })
    }
}

/// Is it that the user or password is wrong? Most drivers say so in words only.
fn is_login(error: &DriverError) -> bool {
    let words = error.message.to_ascii_lowercase();
    matches!(error.status, Status::Unauthenticated | Status::Unauthorized)
        || sql_state(error).is_some_and(|state| state.starts_with("28"))
        || ["authentication", "password"].iter().any(|word| words.contains(word))
}

/// Is it the connection that failed, or a server that goes down or comes up?
fn is_broken(error: &DriverError) -> bool {
    match sql_state(error) {
        Some(state) => state.starts_with("08") || state.starts_with("57P"),
        None => error.status == Status::IO,
    }
}

/// How a query failed, without what may quote records.
fn in_words(error: &DriverError) -> String {
    let words = match error.status {
        Status::NotFound => "something that it names is not there",
        Status::Unauthenticated | Status::Unauthorized => "the user may not do that",
        Status::Cancelled => "somebody stopped it",
        Status::Timeout => "it took too long",
        // Some drivers say that of whatever the database refuses.
        Status::IO if is_broken(error) => "the connection broke",
        Status::NotImplemented => "the driver cannot do that",
        _ => "the database refuses it",
    };
    sql_state(error).map_or(words.to_owned(), |state| format!("{words} (SQLSTATE {state})"))
}

/// The error's code in the standard of SQL, which tells of no record.
fn sql_state(error: &DriverError) -> Option<String> {
    let letters: String = error.sqlstate.iter().map(|&letter| letter as u8 as char).collect();
    let plain = letters.chars().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase());
    (plain && letters != "00000").then_some(letters)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::TcpListener;

    use super::*;

    static NEVER: AtomicBool = AtomicBool::new(false);

    /// A database that is given up after so long.
    fn hasty(driver: &str, dialect: Dialect, option: (&str, &str), deadline: Duration) -> Adbc {
        let options = [(option.0.to_owned(), Setting::Stated(option.1.to_owned()))];
        let options = BTreeMap::from(options);
        let driver = driver.to_owned();
        let server = AdbcServer {
            driver,
            entrypoint: None,
            options,
            dialect,
            span: 0..1,
            options_span: 2..3,
        };
        let mut adbc = Adbc::new(&server, &std::env::temp_dir()).expect("a driver");
        adbc.deadline = deadline;
        adbc
    }

    fn takes(adbc: &Adbc, sql: &str) -> (&'static str, Duration) {
        let started = Instant::now();
        let error = adbc.rows(sql, &NEVER).expect_err("it has no end");
        (error.findings()[0].code(), started.elapsed())
    }

    #[test]
    #[ignore = "needs DuckDB's library; .ci/run has it"]
    fn a_query_without_an_end_is_stopped_by_the_deadline() {
        let (option, deadline) = (("access_mode", "READ_WRITE"), Duration::from_secs(1));
        let adbc = hasty("duckdb", Dialect::DuckDb, option, deadline);
        let endless = "SELECT COUNT(*) AS n FROM range(1000000000000) t(i) WHERE hash(i) % 7 = 3";
        let (code, took) = takes(&adbc, endless);
        assert_eq!(code, "query-endless");
        assert!(took >= deadline && took < deadline + PATIENCE, "{took:?}");
    }

    #[test]
    #[ignore = "needs PostgreSQL's driver; .ci/run has it"]
    fn a_server_that_never_answers_is_left_behind_at_the_deadline() {
        let silent = TcpListener::bind("127.0.0.1:0").expect("listens");
        let address = silent.local_addr().expect("listens");
        let (uri, deadline) = (format!("postgresql://me@{address}/db"), Duration::from_millis(300));
        let option = ("uri", &*uri);
        let adbc = hasty("adbc_driver_postgresql", Dialect::PostgreSql, option, deadline);
        let (code, took) = takes(&adbc, "SELECT 1");
        assert_eq!(code, "query-endless");
        assert!(took >= deadline + PATIENCE && took < deadline + 2 * PATIENCE, "{took:?}");
    }

    #[test]
    fn broken_connections_are_told_from_refused_queries() {
        let error = |status: Status, state: &[u8; 5]| {
            let mut error = DriverError::with_message_and_status("", status);
            error.sqlstate = state.map(|letter| letter as std::ffi::c_char);
            error
        };
        let none = b"\0\0\0\0\0";
        for (status, state) in [
            (Status::IO, none),
            (Status::IO, b"08006"),
            (Status::Internal, b"08P01"),
            (Status::IO, b"57P01"),
            (Status::IO, b"57P03"),
        ] {
            assert!(is_broken(&error(status, state)), "{status:?}");
            let words = in_words(&error(status, state));
            assert_eq!(words.contains("the connection broke"), status == Status::IO, "{words}");
        }
        for (status, state) in [
            (Status::IO, b"22003"),
            (Status::IO, b"53200"),
            (Status::Cancelled, b"57014"),
            (Status::NotFound, none),
            (Status::Internal, none),
        ] {
            assert!(!is_broken(&error(status, state)), "{status:?}");
            let words = in_words(&error(status, state));
            assert!(!words.contains("the connection broke"), "{words}");
        }
    }
}
